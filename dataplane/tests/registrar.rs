//! REGISTER and calls to who has registered, on whole workers with fake rings.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLER;
use bench::Left;
use bench::answer;
use bench::call::only;
use bench::call::status;
use bench::call::to_caller;
use bench::header;
use bench::phone;
use bench::phone::Device;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use bench::phone::to_user;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::trunks::TrunkCounter;
use trunkline_dataplane::counters::trunks::TrunkCounts;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::subscriber::Said;

const ALICE: (&str, &str) = ("alice", "wonderland");

fn bench(workers: u8) -> Bench {
    Bench::of(&phone::settings(workers))
}

fn to_phone(left: &[Left]) -> String {
    only(left, ACCESS, PHONE)
}

#[test]
fn a_phone_registers_refreshes_and_unregisters() {
    let mut bench = bench(1);
    let mut phone = Device::new(&mut bench, "alice");
    let refresh = phone.register("Expires: 900\r\n");
    let ok = bench.phone_gets(0, &refresh);
    assert_eq!(status(&ok), "200");
    assert_eq!(
        header(&ok, "Contact"),
        "<sip:alice@10.77.1.66:5070>;expires=900"
    );
    assert!(bench.asked().is_empty());
    // A repetition has no transaction to find, changes nothing, and reads the same.
    assert_eq!(bench.phone_gets(0, &refresh), ok);
    assert_eq!(bench.count(Counter::BindingsAdded), 1);
    assert_eq!(bench.count(Counter::BindingsRefreshed), 1);
    assert_eq!(bench.count(Counter::AuthReplays), 0);
    let query = phone
        .register("")
        .replace("Contact: <sip:alice@10.77.1.66:5070>\r\n", "");
    assert!(header(&bench.phone_gets(0, &query), "Contact").contains("expires=900"));
    let brief = bench.phone_gets(0, &phone.register("Expires: 30\r\n"));
    assert_eq!(
        (status(&brief), header(&brief, "Min-Expires").as_str()),
        ("423", "60")
    );
    let gone = bench.phone_gets(0, &phone.register("Expires: 0\r\n"));
    assert_eq!(
        (status(&gone), header(&gone, "Contact").as_str()),
        ("200", "")
    );
    assert_eq!(bench.count(Counter::BindingsNow), 0);
    assert_eq!(bench.count(Counter::BindingsRemoved), 1);
    assert_eq!(bench.count(Counter::RegistrationsRefused), 1);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

/// RFC 3261 §17.2.2: also where its sender has used a higher count of its nonce since.
#[test]
fn a_register_that_comes_again_behind_a_later_one_is_answered_as_before() {
    let mut bench = bench(1);
    let mut phone = Device::new(&mut bench, "alice");
    let first = phone.register("Expires: 900\r\n");
    assert_eq!(status(&bench.phone_gets(0, &first)), "200");
    let at = |text: &str, user: &str, port: u16| {
        let contact = format!("<sip:{user}@10.77.1.66:{port}>");
        text.replace("<sip:alice@10.77.1.66:5070>", &contact)
    };
    let second = at(&phone.register(""), "alice", 5099);
    assert_eq!(status(&bench.phone_gets(0, &second)), "200");
    assert_eq!(status(&bench.phone_gets(0, &first)), "200");
    assert_eq!(bench.count(Counter::AuthReplays), 0);
    let stolen = bench.phone_gets(0, &at(&first, "mallory", 5070));
    assert!(!stolen.contains("mallory"), "{stolen}");
    let gone = phone.register("Expires: 0\r\n");
    assert_eq!(status(&bench.phone_gets(0, &gone)), "200");
    assert_eq!(status(&bench.phone_gets(0, &first)), "401", "it was undone");
    assert_eq!(bench.count(Counter::AuthReplays), 1);
    assert_eq!(bench.count(Counter::BindingsNow), 1);
}

/// What is counted of the domain of all phones: REGISTERs done and refused, proofs and failures, contacts.
fn of_domain(bench: &Bench) -> [u64; 5] {
    let domain = phone::settings(1).domains[0].trunk;
    let mut all = TrunkCounts::default();
    for worker in &bench.workers {
        all.merge(&worker.trunk_counters().get(domain));
    }
    [
        TrunkCounter::Registered,
        TrunkCounter::RegistrationsRefused,
        TrunkCounter::AuthGranted,
        TrunkCounter::AuthFailures,
        TrunkCounter::ContactsNow,
    ]
    .map(|counter| all.get(counter))
}

#[test]
fn what_the_users_of_a_domain_do_is_counted_by_it() {
    let mut bench = bench(1);
    let mut phone = Device::new(&mut bench, "alice");
    bench.pass_ms(1_000);
    assert_eq!(of_domain(&bench), [1, 0, 1, 0, 1]);
    let brief = bench.phone_gets(0, &phone.register("Expires: 30\r\n"));
    assert_eq!(status(&brief), "423");
    bench.phone_gets(0, &phone.register("Expires: 0\r\n"));
    bench.pass_ms(1_000);
    assert_eq!(of_domain(&bench), [2, 1, 3, 0, 0]);
    let mut wrong = phone.register("");
    let digit = wrong.find("response=\"").unwrap() + "response=\"".len();
    let other = if wrong[digit..].starts_with('0') {
        "1"
    } else {
        "0"
    };
    wrong.replace_range(digit..=digit, other);
    bench.phone(0, &wrong);
    bench.pass_ms(1_000);
    assert_eq!(of_domain(&bench), [2, 1, 3, 1, 0]);
}

#[test]
fn a_phone_that_moves_is_called_where_it_is_now() {
    let mut bench = bench(1);
    let mut phone = Device::new(&mut bench, "alice");
    // Its NAT has given it another port.
    let moved: SocketAddr = "10.77.1.66:6001".parse().unwrap();
    bench.say(0, moved, ACCESS, &phone.register(""));
    assert_eq!(bench.count(Counter::BindingsMoved), 1);
    let left = bench.caller(0, &to_user("MESSAGE", "alice", "moved"));
    assert!(only(&left, ACCESS, moved).starts_with("MESSAGE "));
}

#[test]
fn a_full_table_refuses_new_contacts_and_keeps_the_old() {
    let mut settings = phone::settings(1);
    settings.capacity.bindings = 1;
    let mut bench = Bench::of(&settings);
    let mut phone = Device::new(&mut bench, "alice");
    let second = phone
        .register("")
        .replace("alice@10.77.1.66:5070", "alice@10.77.1.66:5099");
    assert_eq!(status(&bench.phone_gets(0, &second)), "503");
    assert_eq!(bench.count(Counter::BindingsRefused), 1);
    assert_eq!(status(&bench.phone_gets(0, &phone.register(""))), "200");
    assert_eq!(bench.count(Counter::BindingsNow), 1);
}

/// RFC 3261 §17.2.2: the same, with its reason, and still so when there is room.
#[test]
fn a_refusal_is_repeated_as_it_was() {
    let mut bench = bench(1);
    let mut phone = Device::new(&mut bench, "alice");
    let bind = |phone: &mut Device, number: u32, lines: &str| {
        let contact = format!("<sip:alice@10.77.1.66:{number}>");
        let register = phone.register(lines);
        register.replace("<sip:alice@10.77.1.66:5070>", &contact)
    };
    for number in 1..10 {
        let ok = bench.phone_gets(0, &bind(&mut phone, number, ""));
        assert_eq!(status(&ok), "200");
    }
    let one_more = bind(&mut phone, 10, "");
    let refused = bench.phone_gets(0, &one_more);
    assert!(refused.starts_with("SIP/2.0 403 Too Many Contacts\r\n"));
    assert_eq!(bench.phone_gets(0, &one_more), refused);
    let gone = bench.phone_gets(0, &bind(&mut phone, 1, "Expires: 0\r\n"));
    assert_eq!(status(&gone), "200");
    assert_eq!(bench.phone_gets(0, &one_more), refused);
}

#[test]
fn what_is_not_refreshed_ends() {
    let mut bench = bench(1);
    Device::new(&mut bench, "alice");
    bench.pass_ms(599_000);
    assert_eq!(bench.count(Counter::BindingsNow), 1);
    bench.pass_ms(2_000);
    assert_eq!(bench.count(Counter::BindingsNow), 0);
    assert_eq!(bench.count(Counter::BindingsExpired), 1);
    bench.assert_at_rest();
}

#[test]
fn a_call_reaches_the_phone_where_its_register_came_from() {
    for workers in [1, 2] {
        let mut bench = bench(workers);
        // Behind a NAT: its Contact is nowhere.
        let challenge = bench.phone_gets(0, &request("REGISTER", "alice", "reg", 1, ""));
        let line = credentials(&challenge, Algorithm::Sha256, ALICE, "REGISTER", 1);
        let private = "sip:alice@192.168.0.2:5071;ob";
        let register = request("REGISTER", "alice", "reg", 2, &line);
        let register = register.replace("sip:alice@10.77.1.66:5070", private);
        bench.phone(0, &register);
        let asked = bench.asked();
        bench.said(asked[0], Said::Known(ha1s(ALICE.0, ALICE.1)));
        // At either worker, of which one keeps her contacts.
        for call in 0..4 {
            let call_id = format!("to-alice-{call}");
            let left = bench.caller(0, &to_user("INVITE", "alice", &call_id));
            let sent = to_phone(&left);
            assert!(
                sent.starts_with(&format!("INVITE {private} SIP/2.0\r\n")),
                "{sent}"
            );
            let ok = answer(&sent, "200 OK", &format!("Contact: <{private}>\r\n"), "");
            let ok = to_caller(&bench.phone(0, &ok));
            assert_eq!(status(&ok), "200");
            let bye = bench::call::in_dialog("BYE", &call_id, "2", &format!("bye-{call}"), &ok);
            let bye = bye.replacen("sip:callee@10.77.2.2", private, 1);
            let left = bench.caller(0, &bye);
            let bye = to_phone(&left);
            assert_eq!(
                status(&to_caller(&bench.phone(0, &answer(&bye, "200 OK", "", "")))),
                "200"
            );
        }
        assert_eq!(bench.count(Counter::TicketsNow), 0);
        bench.pass_ms(70_000);
        assert_eq!(bench.count(Counter::KeptNow), 0);
    }
}

#[test]
fn who_has_not_registered_is_not_there() {
    for workers in [1, 2] {
        let mut bench = bench(workers);
        let left = bench.caller(0, &to_user("INVITE", "bob", "to-nobody"));
        let told: Vec<_> = left.iter().map(Left::text).collect();
        assert_eq!(status(told.last().unwrap()), "480", "{told:#?}");
    }
}

/// RFC 3261 §17.2: a repetition gets the answer that was lost, though the user has registered since.
#[test]
fn who_was_not_there_is_not_called_by_a_repetition() {
    for method in ["INVITE", "MESSAGE"] {
        let mut bench = bench(1);
        let text = to_user(method, "alice", "too-early");
        let gone = to_caller(&bench.caller(0, &text));
        assert_eq!(status(&gone), "480");
        Device::new(&mut bench, "alice");
        assert_eq!(to_caller(&bench.caller(0, &text)), gone);
        let later = to_user(method, "alice", "later");
        assert!(to_phone(&bench.caller(0, &later)).starts_with(method));
    }
}

#[test]
fn several_phones_of_a_user_ring_at_once_and_one_answers() {
    let mut bench = bench(1);
    let mut phone = Device::new(&mut bench, "alice");
    let second: SocketAddr = "10.77.1.66:5099".parse().unwrap();
    let register = phone
        .register("")
        .replace("alice@10.77.1.66:5070", "alice@10.77.1.66:5099");
    let register = register.replace("Call-ID: reg", "Call-ID: reg2");
    bench.say(0, second, ACCESS, &register);
    assert_eq!(bench.count(Counter::BindingsNow), 2);
    let left = bench.caller(0, &to_user("INVITE", "alice", "both"));
    let (first, other) = (only(&left, ACCESS, PHONE), only(&left, ACCESS, second));
    bench.say(0, second, ACCESS, &answer(&other, "180 Ringing", "", ""));
    let ok = answer(
        &first,
        "200 OK",
        "Contact: <sip:alice@10.77.1.66:5070>\r\n",
        "",
    );
    let left = bench.phone(0, &ok);
    assert_eq!(status(&to_caller(&left)), "200");
    assert!(only(&left, ACCESS, second).starts_with("CANCEL "));
}

#[test]
fn a_path_is_the_route_to_the_phone() {
    let mut bench = bench(1);
    let mut phone = Device::new(&mut bench, "alice");
    bench.phone(0, &phone.register("Expires: 0\r\n"));
    // An edge proxy, which is a trunk, brings it.
    let path = "Path: <sip:10.77.1.2:5060;lr>\r\nSupported: path\r\n";
    let register = phone.register(path);
    let line = header(&register, "Authorization");
    let challenge = bench.caller(
        0,
        &register.replace(&format!("Authorization: {line}\r\n"), ""),
    );
    let challenge = to_caller(&challenge);
    assert_eq!(status(&challenge), "401", "a proxy vouches for nobody");
    let line = credentials(&challenge, Algorithm::Sha256, ALICE, "REGISTER", 1);
    let register = request("REGISTER", "alice", "edge", 9, &format!("{line}{path}"));
    let ok = to_caller(&bench.caller(0, &register));
    assert_eq!(status(&ok), "200");
    assert!(ok.contains("\r\nPath: <sip:10.77.1.2:5060;lr>\r\n"));
    let from = bench.callee(0, &to_user("MESSAGE", "alice", "by-path"));
    let sent = only(&from, ACCESS, CALLER);
    assert!(
        sent.starts_with("MESSAGE sip:alice@10.77.1.66:5070 "),
        "{sent}"
    );
    assert_eq!(header(&sent, "Route"), "<sip:10.77.1.2:5060;lr>");
}
