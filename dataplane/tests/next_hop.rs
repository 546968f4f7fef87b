//! Where a request of a dialog goes: to its other party's trunk, and nowhere else that somebody
//! has the box send it.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::Bench;
use bench::CORE;
use bench::Left;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::in_dialog;
use bench::call::of_callee;
use bench::call::only;
use bench::call::status;
use bench::call::to_caller;
use bench::carriers;
use bench::carriers::host;
use bench::carriers::hosts_that_got;
use bench::carriers::one_to;
use bench::carriers::says;
use bench::header;
use bench::invite;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::trunks::TrunkCounter;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::settings::Settings;

/// A box with two carriers, at 2 and at 3; calls go to the first.
fn settings() -> Settings {
    let mut settings = carriers::settings(1, &[(1000, &[2]), (500, &[3])]);
    settings.routes[0].to.truncate(1);
    settings
}

/// The same box after a restart, with another carrier before these in its configuration.
fn restarted() -> Bench {
    let mut settings = settings();
    settings.boot += 1;
    settings.secrets.branch = [9; 16];
    let mut new = settings.trunks[1].clone();
    new.name = "new".to_owned();
    new.targets = vec![host(4)];
    new.sources = vec![(host(4).ip(), 32)];
    settings.trunks.insert(1, new);
    carriers::bench_of(&settings)
}

/// The 200 that the caller gets of the first carrier, whose callee is at `contact`.
fn establish(bench: &mut Bench, contact: &str) -> String {
    let sent = bench.caller(0, &invite("far", &sdp(CALLER_MEDIA)));
    let lines = format!("Contact: <{contact}>\r\n");
    let ok = answer(&one_to(&sent, 2), "200 OK", &lines, &sdp(CALLEE_MEDIA));
    to_caller(&says(bench, 2, &ok))
}

/// A request of the caller in that dialog to `target`.
fn request_to(target: &str, method: &str, cseq: &str, answered: &str) -> String {
    let branch = format!("b{cseq}{method}");
    let text = in_dialog(method, "far", cseq, &branch, answered);
    text.replacen("sip:callee@10.77.2.2", target, 1)
}

fn gone_to(left: &[Left]) -> SocketAddr {
    let [only] = left else { panic!("{left:#?}") };
    only.destination
}

#[test]
fn another_trunks_address_is_not_followed() {
    let elsewhere = "sip:premium@10.77.2.3";
    let mut bench = carriers::bench_of(&settings());
    let answered = establish(&mut bench, "sip:callee@10.77.2.2");
    for (cseq, method) in [("2", "INVITE"), ("3", "MESSAGE"), ("4", "ACK")] {
        let known = request_to(elsewhere, method, cseq, &answered);
        let invented = known
            .replacen("tag=callee", "tag=nobody", 1)
            .replacen("z9hG4bK", "z9hG4bKx", 1);
        for request in [known, invented] {
            let left = bench.caller(0, &request);
            assert_eq!(hosts_that_got(&left, method), [2], "{left:#?}");
        }
    }
    // Nor when nothing is known of the call.
    let left = restarted().caller(0, &request_to(elsewhere, "INVITE", "2", &answered));
    assert_eq!(hosts_that_got(&left, "INVITE"), [2], "{left:#?}");
}

#[test]
fn a_callee_may_be_at_another_trunks_address() {
    let mut bench = carriers::bench_of(&settings());
    let answered = establish(&mut bench, "sip:callee@10.77.2.3:5070");
    let ack = request_to("sip:callee@10.77.2.3:5070", "ACK", "1", &answered);
    let left = bench.caller(0, &ack);
    let there = SocketAddr::new(host(3).ip(), 5070);
    assert_eq!(gone_to(&left), there);
    // At one of no trunk it is not.
    let info = request_to("sip:callee@10.77.2.9", "INFO", "2", &answered);
    assert_eq!(gone_to(&bench.caller(0, &info)), host(2));
}

#[test]
fn a_well_known_port_of_others_is_not_written_to() {
    let mut settings = settings();
    settings.session.expires_s = 90;
    let mut bench = carriers::bench_of(&settings);
    let contact = "sip:callee@10.77.2.2:53";
    let sent = bench.caller(0, &invite("far", &sdp(CALLER_MEDIA)));
    let lines = format!("Contact: <{contact}>\r\nSession-Expires: 90;refresher=uac\r\n");
    let ok = answer(&one_to(&sent, 2), "200 OK", &lines, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&says(&mut bench, 2, &ok));
    let ack = request_to(contact, "ACK", "1", &answered);
    assert_eq!(gone_to(&bench.caller(0, &ack)), host(2));
    // Neither is it by the box itself.
    bench.now = bench.now.plus_ms(91_000);
    bench.turn();
    let left: Vec<_> = bench.left.drain(..).collect();
    let bye = only(&left, CORE, host(2));
    assert!(bye.starts_with("BYE sip:callee@10.77.2.2:53 "), "{bye}");
}

#[test]
fn after_a_restart_a_party_with_a_name_is_at_its_trunks_target() {
    let mut bench = carriers::bench_of(&settings());
    let answered = establish(&mut bench, "sip:callee@phone.example.com");
    let mut bench = restarted();
    let info = request_to("sip:callee@phone.example.com", "INFO", "2", &answered);
    assert_eq!(gone_to(&bench.caller(0, &info)), host(2));
    // So is the caller.
    let info = of_callee("INFO", "1", &answered);
    let info = info.replacen("INFO sip:caller@10.77.1.2", "INFO sip:caller@pbx", 1);
    to_caller(&says(&mut bench, 2, &info));
}

#[test]
fn after_a_restart_a_party_speaks_from_its_own_trunk() {
    let mut bench = carriers::bench_of(&settings());
    let answered = establish(&mut bench, "sip:callee@10.77.2.2");
    let mut bench = restarted();
    let info = of_callee("INFO", "1", &answered);
    let refused = only(&says(&mut bench, 3, &info), CORE, host(3));
    assert_eq!(status(&refused), "481");
    let info = of_callee("INFO", "2", &answered);
    to_caller(&says(&mut bench, 2, &info));
}

#[test]
fn a_callees_own_call_with_the_same_names_is_another() {
    // Both trunks are on the core, and whoever calls reaches the second.
    let mut settings = settings();
    settings.routes[0].from = None;
    settings.routes[0].to[0].trunk = TrunkIndex(2);
    let mut bench = carriers::bench_of(&settings);
    let of_core = |text: &str, last: u8| {
        text.replace("10.77.1.2", &format!("10.77.2.{last}"))
            .replace("10.77.1.1", "10.77.2.1")
    };
    let call = |bench: &mut Bench, last: u8, branch: &str| {
        let text = of_core(&invite("far", &sdp(CALLEE_MEDIA)), last);
        let text = text.replacen("z9hG4bKb1", branch, 1);
        let left = says(bench, last, &text);
        let mut sent = left.iter().map(Left::text);
        sent.rfind(|text| text.starts_with("INVITE")).unwrap()
    };
    let sent = call(&mut bench, 2, "z9hG4bKfirst");
    let contact = "Contact: <sip:callee@10.77.2.3>\r\n";
    let ok = answer(&sent, "200 OK", contact, &sdp(CALLEE_MEDIA));
    let answered = only(&says(&mut bench, 3, &ok), CORE, host(2));
    // The callee calls somebody with the caller's Call-ID and tag, and gives itself the same tag.
    let own = call(&mut bench, 3, "z9hG4bKsecond");
    says(&mut bench, 3, &answer(&own, "180 Ringing", contact, ""));
    assert_eq!(bench.count(Counter::CallsNow), 2);

    let bye = of_core(
        &request_to("sip:callee@10.77.2.3", "BYE", "2", &answered),
        2,
    );
    let passed = one_to(&says(&mut bench, 2, &bye), 3);
    says(&mut bench, 3, &answer(&passed, "200 OK", "", ""));
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    assert_eq!(header(&passed, "Call-ID"), "far");
}

#[test]
fn a_request_without_a_to_tag_does_not_follow_a_callees_contact_elsewhere() {
    let mut bench = carriers::bench_of(&settings());
    let sent = bench.caller(0, &invite("far", &sdp(CALLER_MEDIA)));
    let lines = "Contact: <sip:premium@10.77.2.3>\r\n";
    let ok = answer(&one_to(&sent, 2), "200 OK", lines, &sdp(CALLEE_MEDIA));
    // RFC 3261 §12.1.2: its dialog has no tag on this side.
    let ok = ok.replacen(";tag=callee", "", 1);
    let answered = to_caller(&says(&mut bench, 2, &ok));
    for (cseq, method) in [("2", "INVITE"), ("3", "MESSAGE")] {
        let request = request_to("sip:premium@10.77.2.3", method, cseq, &answered);
        let left = bench.caller(0, &request);
        assert_eq!(hosts_that_got(&left, method), [2], "to others it is new");
    }
}

#[test]
fn a_party_speaks_from_where_it_has_said_it_is() {
    let mut bench = carriers::bench_of(&settings());
    let answered = establish(&mut bench, "sip:callee@10.77.2.3");
    to_caller(&says(&mut bench, 3, &of_callee("INFO", "1", &answered)));
    // What it does not name itself does not go there.
    let info = request_to("sip:callee@phone.example.com", "INFO", "2", &answered);
    assert_eq!(gone_to(&bench.caller(0, &info)), host(2));
    to_caller(&says(&mut bench, 3, &of_callee("BYE", "2", &answered)));
    // But from nowhere else.
    let mut bench = carriers::bench_of(&settings());
    let answered = establish(&mut bench, "sip:callee@10.77.2.2");
    let refused = only(
        &says(&mut bench, 3, &of_callee("BYE", "1", &answered)),
        CORE,
        host(3),
    );
    assert_eq!(status(&refused), "481");
}

#[test]
fn a_responses_source_is_believed_if_it_is_its_partys() {
    let mut bench = carriers::bench_of(&settings());
    let name = "sip:callee@phone.example.com";
    let sent = bench.caller(0, &invite("far", &sdp(CALLER_MEDIA)));
    let lines = format!("Contact: <{name}>\r\n");
    let ok = answer(&one_to(&sent, 2), "200 OK", &lines, &sdp(CALLEE_MEDIA));
    // From another trunk: whoever has seen the branch can say so.
    let answered = to_caller(&says(&mut bench, 3, &ok));
    let info = request_to(name, "INFO", "2", &answered);
    assert_eq!(gone_to(&bench.caller(0, &info)), host(2));
}

#[test]
fn a_caller_of_rfc_2543_without_a_tag_is_reached_by_its_callee() {
    let mut bench = carriers::bench_of(&settings());
    let text = invite("far", &sdp(CALLER_MEDIA)).replacen(";tag=caller", "", 1);
    let sent = bench.caller(0, &text);
    let contact = "Contact: <sip:callee@10.77.2.2>\r\n";
    let ok = answer(&one_to(&sent, 2), "200 OK", contact, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&says(&mut bench, 2, &ok));
    let bye = of_callee("BYE", "1", &answered).replacen(";tag=caller", "", 1);
    let passed = to_caller(&says(&mut bench, 2, &bye));
    bench.caller(0, &answer(&passed, "200 OK", "", ""));
    assert_eq!(bench.count(Counter::CallsEnded), 1);
}

#[test]
fn a_call_that_is_taken_up_again_has_the_trunks_of_its_dialog() {
    // The second carrier's target is an address that the first has among its sources.
    let shared = |mut settings: Settings| {
        let first = settings.trunks.len() - 2;
        settings.trunks[first].sources.push((host(3).ip(), 32));
        settings.trunks[first + 1].sources.clear();
        settings.routes[0].to[0].trunk = TrunkIndex(2);
        settings
    };
    let mut bench = carriers::bench_of(&shared(settings()));
    let sent = bench.caller(0, &invite("far", &sdp(CALLER_MEDIA)));
    let contact = "Contact: <sip:callee@10.77.2.3>\r\n";
    let ok = answer(&one_to(&sent, 3), "200 OK", contact, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&says(&mut bench, 3, &ok));
    let mut again = shared(settings());
    again.boot += 1;
    let mut bench = carriers::bench_of(&again);
    let invite = request_to("sip:callee@10.77.2.3", "INVITE", "2", &answered);
    one_to(&bench.caller(0, &invite), 3);
    let counts = bench.workers[0].trunk_counters();
    let now = [0, 1, 2].map(|trunk| counts.get(TrunkIndex(trunk)).get(TrunkCounter::CallsNow));
    assert_eq!(now, [1, 0, 1]);
}
