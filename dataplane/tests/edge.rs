//! The edge before somebody else's registrar, on whole workers with fake rings: here the callee's
//! trunk is the registrar.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::CORE;
use bench::Left;
use bench::answer;
use bench::call::in_dialog;
use bench::call::only;
use bench::call::status;
use bench::call::to_callee;
use bench::header;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::PRIVATE;
use bench::phone::granted;
use bench::phone::register;
use bench::phone::request;
use bench::phone::to_phone;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::undelivered::Undelivered;
use trunkline_dataplane::sip::undelivered::Why;
use trunkline_dataplane::sip::undelivered::read_quote;

/// Where it would be without one.
const OPEN: &str = "sip:alice@10.77.1.66:5070";

fn bench(workers: u8) -> Bench {
    Bench::of(&phone::before_a_registrar(workers))
}

/// What the registrar is sent, and where the phone is reached: the value of Path.
fn at_registrar(left: &[Left]) -> (String, String) {
    let sent = to_callee(left);
    let path = header(&sent, "Path");
    (sent, path)
}

/// Registers the phone behind its NAT for an hour; the value of Path.
fn registered(bench: &mut Bench) -> String {
    let (sent, path) = at_registrar(&bench.phone(0, &register(1, "")));
    let left = bench.callee(0, &granted(&sent, PRIVATE, 3_600));
    assert_eq!(status(&only(&left, ACCESS, PHONE)), "200");
    path
}

/// Time passes at once: nothing is done in it but what is late then.
fn skip_ms(bench: &mut Bench, ms: u64) {
    bench.now = bench.now.plus_ms(ms);
    bench.turn();
    bench.left.clear();
}

fn went_on(left: &[Left]) -> bool {
    left.iter().any(|left| left.destination == CALLEE)
}

#[test]
fn a_register_goes_on_with_a_path_and_passwords_are_the_registrars_business() {
    for workers in [1, 2] {
        let mut bench = bench(workers);
        let (sent, path) = at_registrar(&bench.phone(0, &register(1, "Expires: 900\r\n")));
        assert!(sent.starts_with("REGISTER sip:100@10.77.2.2 "), "{sent}");
        assert!(
            path.starts_with("<sip:") && path.ends_with("@10.77.2.1;lr>"),
            "{path}"
        );
        assert!(sent.contains("\r\nSupported: path\r\n"));
        assert!(sent.contains(&format!("\r\nContact: <{PRIVATE}>\r\nContent")));
        let asks = "WWW-Authenticate: Digest realm=\"example.com\", nonce=\"abc\"\r\n";
        let asked = answer(&sent, "401 Unauthorized", asks, "");
        let asked = only(&bench.callee(0, &asked), ACCESS, PHONE);
        assert_eq!(
            header(&asked, "WWW-Authenticate"),
            header(asks, "WWW-Authenticate")
        );
        assert_eq!(bench.count(Counter::BindingsNow), 0);
        // Its credentials are of our own domain's realm, and yet not for us.
        let line = "Authorization: Digest username=\"a\", realm=\"example.com\", nonce=\"abc\", uri=\"sip:b\", response=\"0\"\r\n";
        let (sent, again) = at_registrar(&bench.phone(0, &register(2, line)));
        assert!(sent.contains(line), "{sent}");
        assert_eq!(again, path);
        // Another contact of the user is not the phone's, and is not told otherwise.
        let other = "Contact: <sip:alice@198.51.100.1>;expires=3000\r\n";
        let ok = granted(&sent, &format!("{PRIVATE};x=y"), 3_600);
        let ok = ok.replacen("Contact: ", &format!("{other}Contact: "), 1);
        let ok = only(&bench.callee(0, &ok), ACCESS, PHONE);
        assert_eq!(status(&ok), "200");
        assert!(
            ok.contains(other) && ok.contains(&format!("<{PRIVATE};x=y>;expires=60\r\n")),
            "{ok}"
        );
        assert_eq!(bench.count(Counter::BindingsNow), 1);
        assert_eq!(bench.count(Counter::RegistersForwarded), 2);
        assert_eq!(bench.count(Counter::AuthChallenges), 0);
        bench.pass_ms(40_000);
        bench.assert_at_rest();
    }
}

#[test]
fn a_second_registrar_is_asked_by_the_same_path_where_the_first_one_cannot() {
    let mut settings = phone::before_a_registrar(1);
    let second = SocketAddr::new(lab::STRANGERS[1], 5060);
    settings.trunks[1].targets.push(second);
    let mut bench = Bench::of(&settings);
    let (sent, path) = at_registrar(&bench.phone(0, &register(1, "")));
    let busy = answer(&sent, "503 Service Unavailable", "", "");
    let sent = only(&bench.callee(0, &busy), CORE, second);
    assert_eq!(header(&sent, "Path"), path);
    let left = bench.say(0, second, CORE, &granted(&sent, PRIVATE, 3_600));
    assert_eq!(status(&only(&left, ACCESS, PHONE)), "200");
    assert!(
        bench
            .phone(0, &register(2, ""))
            .iter()
            .all(|left| left.destination == PHONE)
    );
    // Either of them calls by it.
    let left = bench.say(
        0,
        second,
        CORE,
        &to_phone("MESSAGE", "by-second", &path, ""),
    );
    assert!(only(&left, ACCESS, PHONE).starts_with("MESSAGE "));
}

#[test]
fn a_phone_without_a_nat_is_told_what_it_was_granted() {
    let mut bench = bench(1);
    let (sent, _) = at_registrar(&bench.phone(0, &request("REGISTER", "alice", "reg", 1, "")));
    let ok = only(
        &bench.callee(0, &granted(&sent, OPEN, 1_800)),
        ACCESS,
        PHONE,
    );
    assert_eq!(header(&ok, "Contact"), format!("<{OPEN}>;expires=1800"));
    assert_eq!(bench.count(Counter::PathsIgnored), 0);
}

/// RFC 3261 §10.2.1.1: what all contacts are told, and what one is.
#[test]
fn a_time_that_is_told_for_all_contacts_is_shortened_for_that_of_the_phone() {
    for (said, told) in [
        ("Expires: 3600\r\n", ";expires=60"),
        ("Expires: 50\r\n", ""),
        ("", ";expires=60"),
    ] {
        let mut bench = bench(1);
        let (sent, path) = at_registrar(&bench.phone(0, &register(1, "")));
        let lines = format!("Contact: <{PRIVATE}>\r\n{said}Path: {path}\r\n");
        let ok = bench.callee(0, &answer(&sent, "200 OK", &lines, ""));
        let ok = only(&ok, ACCESS, PHONE);
        assert_eq!(header(&ok, "Contact"), format!("<{PRIVATE}>{told}"));
    }
}

#[test]
fn a_registrar_that_knows_nothing_of_path_is_counted() {
    let mut bench = bench(1);
    let (sent, _) = at_registrar(&bench.phone(0, &register(1, "")));
    bench.callee(
        0,
        &answer(&sent, "200 OK", &format!("Contact: <{PRIVATE}>\r\n"), ""),
    );
    assert_eq!(bench.count(Counter::PathsIgnored), 1);
}

#[test]
fn the_first_hop_says_so_to_who_asks_for_it_and_no_other() {
    let mut bench = bench(1);
    let outbound = |cseq, via: &str| {
        let flow = format!("<{PRIVATE}>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"");
        let text = register(cseq, "Supported: path, outbound\r\n");
        let text = text.replace(&format!("<{PRIVATE}>"), &flow);
        text.replacen("Max-Forwards", &format!("{via}Max-Forwards"), 1)
    };
    let (sent, path) = at_registrar(&bench.phone(0, &outbound(1, "")));
    assert!(path.ends_with("@10.77.2.1;lr;ob>"), "{path}");
    assert!(!sent.contains("Supported: path\r\n"));
    let flow = format!("{PRIVATE}>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"");
    let ok = granted(&sent, &flow, 600).replace("\">;exp", "\";exp");
    let ok = ok.replacen("Path", "Require: outbound\r\nPath", 1);
    let ok = only(&bench.callee(0, &ok), ACCESS, PHONE);
    assert!(header(&ok, "Contact").ends_with(";expires=60"), "{ok}");
    // What is answered here says so as well.
    let ok = only(&bench.phone(0, &outbound(2, "")), ACCESS, PHONE);
    assert_eq!(
        (status(&ok), header(&ok, "Require").as_str()),
        ("200", "outbound")
    );
    assert!(header(&ok, "Contact").contains(";reg-id=1;"), "{ok}");
    let via =
        "Via: SIP/2.0/UDP 192.168.0.2:5071;branch=z9hG4bKbelow\r\nPath: <sip:192.168.0.1;lr>\r\n";
    let (sent, path) = at_registrar(
        &bench.phone(
            0,
            &outbound(1, via)
                .replace("regREGISTER", "other")
                .replace("Call-ID: reg", "Call-ID: other"),
        ),
    );
    assert!(path.ends_with("@10.77.2.1;lr>"), "{path}");
    let paths: Vec<_> = sent
        .lines()
        .filter(|line| line.starts_with("Path: "))
        .collect();
    assert_eq!(paths[1], "Path: <sip:192.168.0.1;lr>", "ours is above");
}

#[test]
fn a_call_of_the_registrar_reaches_the_phone_by_its_flow() {
    for workers in [1, 2] {
        let mut bench = bench(workers);
        let path = registered(&mut bench);
        for call in 0..4 {
            let call_id = format!("to-alice-{call}");
            let media: SocketAddr = "10.77.2.2:40000".parse().unwrap();
            let left = bench.callee(0, &to_phone("INVITE", &call_id, &path, &sdp(media)));
            let sent = only(&left, ACCESS, PHONE);
            assert!(
                sent.starts_with(&format!("INVITE {PRIVATE} SIP/2.0\r\n")),
                "{sent}"
            );
            assert_eq!(header(&sent, "Route"), "");
            assert!(
                sent.contains("c=IN IP4 10.77.1.1\r\n"),
                "media is anchored: {sent}"
            );
            let ok = answer(&sent, "200 OK", &format!("Contact: <{PRIVATE}>\r\n"), "");
            let ok = to_callee(&bench.phone(0, &ok));
            assert_eq!(status(&ok), "200");
            // RFC 5626 §5.3.1: what follows takes the same flow.
            let bye = in_dialog("BYE", &call_id, "2", &format!("bye-{call}"), &ok);
            let bye = bye.replacen("sip:callee@10.77.2.2", PRIVATE, 1);
            let left = bench.callee(0, &bye);
            assert!(only(&left, ACCESS, PHONE).starts_with(&format!("BYE {PRIVATE} ")));
        }
        assert_eq!(bench.count(Counter::FlowsForged), 0);
        bench.pass_ms(70_000);
        assert_eq!(bench.count(Counter::KeptNow), 0);
    }
}

#[test]
fn a_flow_is_as_good_after_a_restart_and_no_good_when_it_is_changed() {
    let path = registered(&mut bench(1));
    let mut restarted = phone::before_a_registrar(1);
    restarted.boot += 1;
    restarted.secrets.cookie = [[7; 16], restarted.secrets.cookie[0]];
    let mut bench = Bench::of(&restarted);
    let left = bench.callee(0, &to_phone("OPTIONS", "before", &path, ""));
    assert!(only(&left, ACCESS, PHONE).starts_with("OPTIONS "));
    let refused = |bench: &mut Bench, path: &str, call_id: &str| {
        let left = bench.callee(0, &to_phone("OPTIONS", call_id, path, ""));
        status(&only(&left, CORE, CALLEE)).to_owned()
    };
    let at = path.find('@').unwrap();
    let last = if path[..at].ends_with('0') { "1" } else { "0" };
    let changed = format!("{}{last}{}", &path[..at - 1], &path[at..]);
    assert_eq!(refused(&mut bench, &changed, "changed"), "403");
    let shorter = format!("{}{}", &path[..at - 8], &path[at..]);
    assert_eq!(refused(&mut bench, &shorter, "shorter"), "403");
    assert_eq!(bench.count(Counter::FlowsForged), 2);
    // It is of a domain that there is no more.
    let mut renamed = phone::before_a_registrar(1);
    let trunk = usize::from(renamed.domains[0].trunk.0);
    renamed.domains[0].name = "example.net".to_owned();
    renamed.trunks[trunk].name = "example.net".to_owned();
    let mut bench = Bench::of(&renamed);
    assert_eq!(refused(&mut bench, &path, "renamed"), "430");
    assert_eq!(bench.count(Counter::FlowsFailed), 1);
}

#[test]
fn a_flow_behind_which_nobody_is_left_has_failed() {
    let mut bench = bench(1);
    let path = registered(&mut bench);
    let left = bench.callee(0, &to_phone("INVITE", "gone", &path, ""));
    let sent = only(&left, ACCESS, PHONE);
    let settings = phone::before_a_registrar(1);
    let identity = Identity::new(WorkerId(0), settings.boot, &settings.secrets, &[]);
    let (method, branch) = read_quote(sent.as_bytes()).unwrap();
    let what = Undelivered {
        branch: identity.read_branch(branch).unwrap(),
        method,
        destination: PHONE,
        why: Why::Unreachable,
    };
    assert!(bench.posts[0].mail.post_undelivered(what));
    bench.left.clear();
    bench.turn();
    let left: Vec<_> = bench.left.drain(..).collect();
    assert!(to_callee(&left).starts_with("SIP/2.0 430 Flow Failed\r\n"));
}

#[test]
fn a_flow_is_the_registrars_alone() {
    let mut bench = bench(1);
    let path = registered(&mut bench);
    // Another trunk's request takes the way of all its requests.
    let left = bench.caller(0, &to_phone("MESSAGE", "by-another", &path, ""));
    assert!(left.iter().all(|left| left.destination != PHONE));
    // So does a phone's, whose Route it may be (RFC 5626 §5.3.2).
    let route = format!("Route: {path}\r\n");
    let left = bench.phone(0, &request("MESSAGE", "alice", "by-itself", 1, &route));
    assert_eq!(header(&to_callee(&left), "Route"), "");
    // Who is a trunk brings a REGISTER with the Path of a phone: nothing is noted of it.
    let mut with_route = phone::before_a_registrar(1);
    with_route.trunks[0].targets.clear();
    let mut bench = Bench::of(&with_route);
    let stolen = register(9, &format!("Path: {path}\r\nSupported: path\r\n"));
    let sent = to_callee(&bench.caller(0, &stolen));
    assert_eq!(header(&sent, "Path"), path);
    bench.callee(0, &granted(&sent, PRIVATE, 3_600));
    assert_eq!(bench.count(Counter::BindingsNow), 0);
}

#[test]
fn a_refresh_is_answered_here_for_half_of_what_was_granted() {
    let mut bench = bench(1);
    registered(&mut bench);
    let mut cseq = 1;
    // Each minute one, as the phone is told, for an hour.
    let mut forwarded = 0;
    for _ in 0..60 {
        skip_ms(&mut bench, 60_000);
        cseq += 1;
        let left = bench.phone(0, &register(cseq, "Expires: 3600\r\n"));
        if went_on(&left) {
            forwarded += 1;
            let (sent, _) = at_registrar(&left);
            bench.callee(0, &granted(&sent, PRIVATE, 3_600));
            continue;
        }
        let ok = only(&left, ACCESS, PHONE);
        assert_eq!(status(&ok), "200");
        assert_eq!(header(&ok, "Contact"), format!("<{PRIVATE}>;expires=60"));
        assert_eq!(header(&ok, "CSeq"), format!("{cseq} REGISTER"));
    }
    assert_eq!(forwarded, 2);
    assert_eq!(bench.count(Counter::RegistersSpared), 58);
    assert_eq!(bench.count(Counter::BindingsNow), 1);
    assert_eq!(bench.count(Counter::BindingsExpired), 0);
}

#[test]
fn only_a_refresh_of_what_was_granted_is_answered_here() {
    type Change = fn(String) -> String;
    let changes: [(&str, bool, Change); 8] = [
        ("another contact", true, |text| text.replace("5071", "5072")),
        ("one contact more", false, |text| {
            text.replace("Content-Length", "Contact: <sip:b@c>\r\nContent-Length")
        }),
        ("other parameters", false, |text| {
            text.replace(&format!("<{PRIVATE}>"), &format!("<{PRIVATE}>;q=0.5"))
        }),
        ("another dialog", false, |text| {
            text.replace("Call-ID: reg", "Call-ID: ger")
        }),
        ("no later than it", false, |text| {
            text.replace("CSeq: 5 ", "CSeq: 1 ")
                .replace("REGISTER5", "again")
        }),
        ("no contact", true, |text| {
            text.replace(&format!("Contact: <{PRIVATE}>\r\n"), "")
        }),
        ("an extension", false, |text| {
            text.replace("Content-Length", "Require: gin\r\nContent-Length")
        }),
        ("another user", true, |text| {
            text.replace("To: <sip:alice", "To: <sip:bob")
        }),
    ];
    for (name, is_as_it_was, change) in changes {
        let mut bench = bench(1);
        registered(&mut bench);
        assert!(went_on(&bench.phone(0, &change(register(5, "")))), "{name}");
        assert_eq!(bench.count(Counter::RegistersSpared), 0, "{name}");
        // What it asks of the contact may be done there, though nothing is heard of it.
        let next = bench.phone(0, &register(6, ""));
        assert_eq!(went_on(&next), !is_as_it_was, "{name}");
        if !is_as_it_was {
            let (sent, _) = at_registrar(&next);
            bench.callee(0, &granted(&sent, PRIVATE, 3_600));
            assert!(!went_on(&bench.phone(0, &register(7, ""))), "{name}");
        }
    }
    // From another port: another way.
    let mut bench = bench(1);
    registered(&mut bench);
    let moved = SocketAddr::new(PHONE.ip(), 6_001);
    assert!(went_on(&bench.say(0, moved, ACCESS, &register(5, ""))));
    assert_eq!(bench.count(Counter::RegistersForwarded), 2);
}

/// The registrar has taken the contact away, and its answer is lost.
#[test]
fn nobody_is_told_that_he_is_registered_who_has_asked_to_be_no_more() {
    let ends: [fn(String) -> String; 2] = [
        |text| text.replace(&format!("<{PRIVATE}>"), &format!("<{PRIVATE}>;expires=0")),
        |text| text.replace(&format!("<{PRIVATE}>"), "*\r\nExpires: 0"),
    ];
    for end in ends {
        let mut bench = bench(1);
        registered(&mut bench);
        assert!(went_on(&bench.phone(0, &end(register(2, "")))));
        skip_ms(&mut bench, 40_000);
        assert!(went_on(&bench.phone(0, &register(3, ""))));
        assert_eq!(bench.count(Counter::RegistersSpared), 0);
    }
}

/// Of two that are under way it is not known which one the registrar does first.
#[test]
fn what_is_granted_while_contacts_are_taken_away_is_not_relied_on() {
    let mut bench = bench(1);
    let (first, _) = at_registrar(&bench.phone(0, &register(1, "")));
    let star = register(1, "")
        .replace(&format!("<{PRIVATE}>"), "*\r\nExpires: 0")
        .replace("regREGISTER1", "other1")
        .replace("Call-ID: reg", "Call-ID: other");
    let (star, _) = at_registrar(&bench.phone(0, &star));
    bench.callee(0, &answer(&star, "200 OK", "", ""));
    bench.callee(0, &granted(&first, PRIVATE, 3_600));
    assert!(went_on(&bench.phone(0, &register(2, ""))));
    assert_eq!(bench.count(Counter::RegistersSpared), 0);
}

/// The registrar has counted since it had the request, however late its answer is.
#[test]
fn what_is_granted_is_counted_from_when_it_was_asked_for() {
    let mut bench = bench(1);
    let open = |cseq| request("REGISTER", "alice", "reg", cseq, "");
    let (sent, _) = at_registrar(&bench.phone(0, &open(1)));
    skip_ms(&mut bench, 20_000);
    bench.callee(0, &granted(&sent, OPEN, 60));
    skip_ms(&mut bench, 5_000);
    let ok = only(&bench.phone(0, &open(2)), ACCESS, PHONE);
    assert_eq!(header(&ok, "Contact"), format!("<{OPEN}>;expires=35"));
    skip_ms(&mut bench, 5_000);
    assert!(went_on(&bench.phone(0, &open(3))));
}

/// RFC 3608 §5: who is told no Service-Route has none any more.
#[test]
fn a_registrar_that_says_more_than_is_kept_is_asked_each_time() {
    let mut bench = bench(1);
    for cseq in 1..4 {
        let (sent, _) = at_registrar(&bench.phone(0, &register(cseq, "")));
        let ok = granted(&sent, PRIVATE, 3_600);
        let ok = ok.replacen("Path", "Service-Route: <sip:core;lr>\r\nPath", 1);
        let ok = only(&bench.callee(0, &ok), ACCESS, PHONE);
        assert_eq!(header(&ok, "Service-Route"), "<sip:core;lr>");
    }
    assert_eq!(bench.count(Counter::BindingsNow), 1);
    assert_eq!(bench.count(Counter::RegistersSpared), 0);
}

#[test]
fn who_unregisters_is_gone_when_the_registrar_says_so() {
    for contact in ["*".to_owned(), format!("<{PRIVATE}>")] {
        let mut bench = bench(1);
        registered(&mut bench);
        let gone = register(2, "Expires: 0\r\n").replace(&format!("<{PRIVATE}>"), &contact);
        let (sent, _) = at_registrar(&bench.phone(0, &gone));
        assert_eq!(bench.count(Counter::BindingsNow), 1);
        let ok = bench.callee(0, &answer(&sent, "200 OK", "", ""));
        assert_eq!(status(&only(&ok, ACCESS, PHONE)), "200");
        assert_eq!(bench.count(Counter::BindingsNow), 0);
        assert!(went_on(&bench.phone(0, &register(3, ""))));
    }
}

#[test]
fn a_registrar_that_is_gone_is_not_spoken_for_for_longer_than_it_said() {
    let mut bench = bench(1);
    registered(&mut bench);
    skip_ms(&mut bench, 1_810_000);
    for cseq in 2..30 {
        assert!(went_on(&bench.phone(0, &register(cseq, ""))));
        skip_ms(&mut bench, 62_000);
    }
    assert_eq!(bench.count(Counter::BindingsExpired), 0);
    skip_ms(&mut bench, 200_000);
    assert_eq!(bench.count(Counter::BindingsExpired), 1);
    bench.assert_at_rest();
}

#[test]
fn a_registered_phone_calls_and_its_registrar_asks_who_it_is() {
    for workers in [1, 2] {
        let mut bench = bench(workers);
        for call in 0..4 {
            let early = request("INVITE", "alice", &format!("early-{call}"), 1, "");
            let left = bench.phone(0, &early);
            let last = left.iter().rfind(|left| left.destination == PHONE).unwrap();
            assert_eq!(status(&last.text()), "403");
            assert!(!went_on(&left));
        }
        assert_eq!(bench.count(Counter::UnregisteredRefused), 4);
        registered(&mut bench);
        for call in 0..4 {
            let call_id = format!("call-{call}");
            let left = bench.phone(0, &request("INVITE", "alice", &call_id, 1, ""));
            let sent = to_callee(&left);
            let asks = "Proxy-Authenticate: Digest realm=\"example.com\", nonce=\"n\"\r\n";
            let asked = answer(&sent, "407 Proxy Authentication Required", asks, "");
            let asked = only(&bench.callee(0, &asked), ACCESS, PHONE);
            assert_eq!(
                header(&asked, "Proxy-Authenticate"),
                header(asks, "Proxy-Authenticate")
            );
            let line = "Proxy-Authorization: Digest username=\"a\", realm=\"example.com\", nonce=\"n\", uri=\"sip:b\", response=\"0\"\r\n";
            let left = bench.phone(0, &request("INVITE", "alice", &call_id, 2, line));
            assert!(to_callee(&left).contains(line));
        }
        // From another port there may be somebody else.
        let other = SocketAddr::new(PHONE.ip(), 6_001);
        let left = bench.say(
            0,
            other,
            ACCESS,
            &request("INVITE", "alice", "other", 1, ""),
        );
        assert!(!went_on(&left));
        assert_eq!(bench.count(Counter::UnregisteredRefused), 5);
        assert_eq!(bench.count(Counter::AuthChallenges), 0);
    }
}

#[test]
fn the_nat_of_a_phone_is_kept_open_by_keepalives_as_well() {
    let mut settings = phone::before_a_registrar(1);
    settings.registrar.keepalive_s = 30;
    let mut bench = Bench::of(&settings);
    registered(&mut bench);
    let left = bench.pass_ms(61_000);
    let to_phone = left.iter().filter(|left| left.destination == PHONE);
    let pings: Vec<_> = to_phone.map(|left| left.payload.clone()).collect();
    assert_eq!(pings, vec![b"\r\n\r\n".to_vec(); pings.len()]);
    assert!((1..=3).contains(&pings.len()), "{}", pings.len());
}

#[test]
fn a_phone_has_as_many_calls_as_its_domain_allows() {
    for workers in [1, 2] {
        let mut settings = phone::before_a_registrar(workers);
        settings.domains[0].calls = 2;
        let mut bench = Bench::of(&settings);
        registered(&mut bench);
        for (call, goes_on) in [(0, true), (1, true), (2, false), (3, false)] {
            let call_id = format!("call-{call}");
            let left = bench.phone(0, &request("INVITE", "alice", &call_id, 1, ""));
            assert_eq!(went_on(&left), goes_on, "{call}");
        }
        assert_eq!(bench.count(Counter::CallsOverLimit), 2);
        assert_eq!(bench.count(Counter::UnregisteredRefused), 0);
    }
}

#[test]
fn who_has_not_registered_passes_where_that_is_said() {
    let mut settings = phone::before_a_registrar(1);
    settings.domains[0]
        .upstream
        .as_mut()
        .unwrap()
        .passes_unregistered = true;
    let mut bench = Bench::of(&settings);
    assert!(went_on(
        &bench.phone(0, &request("INVITE", "alice", "early", 1, ""))
    ));
    assert_eq!(bench.count(Counter::UnregisteredRefused), 0);
}

#[test]
fn a_route_says_otherwise_where_phones_call() {
    let mut settings = phone::before_a_registrar(1);
    let domain = settings.domains[0].trunk;
    settings
        .routes
        .push(lab::route(domain.0, Some("100@"), &[(0, 1000)]));
    let mut bench = Bench::of(&settings);
    registered(&mut bench);
    let left = bench.phone(0, &request("MESSAGE", "alice", "routed", 1, ""));
    assert!(only(&left, ACCESS, bench::CALLER).starts_with("MESSAGE "));
    assert_eq!(TrunkIndex(0), settings.routes.last().unwrap().to[0].trunk);
}

#[test]
fn what_finds_no_room_is_counted_and_goes_on_all_the_same() {
    let mut settings = phone::before_a_registrar(1);
    settings.capacity.bindings = 1;
    let mut bench = Bench::of(&settings);
    registered(&mut bench);
    let bob = register(1, "")
        .replace("alice", "bob")
        .replace("regREGISTER1", "bob1")
        .replace("Call-ID: reg", "Call-ID: bob");
    let (sent, _) = at_registrar(&bench.phone(0, &bob));
    let bound = PRIVATE.replace("alice", "bob");
    let ok = only(
        &bench.callee(0, &granted(&sent, &bound, 3_600)),
        ACCESS,
        PHONE,
    );
    assert_eq!(header(&ok, "Contact"), format!("<{bound}>;expires=60"));
    assert_eq!(bench.count(Counter::BindingsRefused), 1);
    let (next, _) = at_registrar(&bench.phone(
        0,
        &bob.replace("CSeq: 1 ", "CSeq: 2 ").replace("bob1", "bob2"),
    ));
    assert!(next.starts_with("REGISTER "));
}
