//! What somebody tries who wants to call at another's cost, to be called in another's place, or to have
//! nobody call at all.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::answer;
use bench::call::only;
use bench::call::status;
use bench::call::to_callee;
use bench::phone;
use bench::phone::Device;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::request;
use bench::phone::statuses;
use bench::phone::to_user;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::lab;
use trunkline_dataplane::sip::digest::Algorithm;

const ALICE: (&str, &str) = ("alice", "wonderland");
const SHA256: Algorithm = Algorithm::Sha256;

/// Somebody behind the NAT of the phone, who has seen what it sent.
const NEIGHBOUR: SocketAddr = SocketAddr::new(PHONE.ip(), 6666);

/// The last status that left to a destination.
fn last_status(left: &[bench::Left], destination: SocketAddr) -> String {
    statuses(left, destination).pop().unwrap_or_default()
}

/// A request of Alice with the answer to `challenge`.
fn authorized(method: &str, call_id: &str, cseq: u32, challenge: &str, nc: u32) -> String {
    let line = credentials(challenge, SHA256, ALICE, method, nc);
    request(method, ALICE.0, call_id, cseq, &line)
}

/// RFC 7616 §5.5: a digest covers neither the Contact nor the Call-ID.
#[test]
fn a_register_that_was_seen_on_its_way_registers_nobody_else() {
    for workers in [1, 2] {
        let mut bench = Bench::of(&phone::settings(workers));
        let mut phone = Device::new(&mut bench, "alice");
        for lines in ["Expires: 600\r\n", "Expires: 30\r\n", "Expires: 0\r\n"] {
            let seen = phone.register(lines);
            let told = bench.phone_gets(0, &seen);
            let before = bench.count(Counter::BindingsNow);
            let contact = "<sip:mallory@10.77.1.66:6666>";
            let stolen = seen.replace("<sip:alice@10.77.1.66:5070>", contact);
            let stolen = stolen.replace(lines, "Expires: 600\r\n");
            for replayed in [
                stolen.clone(),
                stolen.replace("Call-ID: alice-reg", "Call-ID: other"),
                stolen.replace("REGISTER\r\nContact", "REGISTER\r\nX: y\r\nContact"),
            ] {
                let left = bench.say(0, NEIGHBOUR, ACCESS, &replayed);
                let status = last_status(&left, NEIGHBOUR);
                assert_eq!(bench.count(Counter::BindingsNow), before, "{status}");
            }
            assert_eq!(bench.count(Counter::BindingsMoved), 0);
            // The phone itself is told the same again, or asked once more.
            let again = bench.phone_gets(0, &seen);
            assert!(status(&again) == status(&told) || again.contains("stale=true"));
            bench.pass_ms(40_000);
            bench.say(0, NEIGHBOUR, ACCESS, &stolen);
            assert_eq!(bench.count(Counter::BindingsNow), before);
        }
    }
}

#[test]
fn an_invite_that_was_seen_on_its_way_calls_nobody_else_and_nobody_again() {
    for workers in [1, 2] {
        let mut bench = Bench::of(&phone::settings(workers));
        let _ = Device::asking(&mut bench, "alice");
        let challenge = bench.phone_gets(0, &request("INVITE", "alice", "seen", 1, ""));
        let seen = authorized("INVITE", "seen", 2, &challenge, 1);
        let sent = to_callee(&bench.phone(0, &seen));
        bench.callee(0, &answer(&sent, "486 Busy Here", "", ""));
        let to = format!("To: <sip:100@example.com>;tag={}\r\n", "x");
        bench.phone(0, &request("ACK", "alice", "seen", 2, &to));
        bench.pass_ms(60_000);
        for replayed in [
            seen.clone(),
            seen.replacen("sip:100@10.77.1.1 ", "sip:0900@10.77.1.1 ", 1),
        ] {
            let left = bench.say(0, NEIGHBOUR, ACCESS, &replayed);
            assert_eq!(
                last_status(&left, NEIGHBOUR),
                "SIP/2.0 407 Proxy Authentication Required"
            );
            bench.pass_ms(40_000);
        }
        bench.assert_at_rest();
    }
}

/// RFC 3261 §22.1: a CANCEL cannot be challenged, and is taken from where the INVITE came from.
#[test]
fn nobody_elsewhere_cancels_a_call() {
    let mut bench = Bench::of(&phone::settings(1));
    let _ = Device::asking(&mut bench, "alice");
    let challenge = bench.phone_gets(0, &request("INVITE", "alice", "c", 1, ""));
    let invite = authorized("INVITE", "c", 2, &challenge, 1);
    let sent = to_callee(&bench.phone(0, &invite));
    bench.callee(0, &answer(&sent, "180 Ringing", "", ""));
    let cancel =
        request("CANCEL", "alice", "c", 2, "").replace("z9hG4bKcCANCEL2", "z9hG4bKcINVITE2");
    let elsewhere = SocketAddr::new(lab::STRANGERS[1], 5070);
    let left = bench.say(0, elsewhere, ACCESS, &cancel);
    assert!(left.iter().all(|left| left.destination != CALLEE));
    let left = bench.phone(0, &cancel);
    assert!(
        left.iter()
            .any(|left| left.destination == CALLEE && left.text().starts_with("CANCEL "))
    );
}

/// A subscriber says in its Contact that it is at the address of a trunk.
#[test]
fn a_subscriber_sends_no_callers_to_a_trunk() {
    let mut bench = Bench::of(&phone::settings(1));
    let _ = Device::new(&mut bench, "mallory");
    let left = bench.caller(0, &to_user("INVITE", "mallory", "lure"));
    let invite = only(&left, ACCESS, PHONE);
    let contact = "Contact: <sip:0900@10.77.2.2:5060>\r\n";
    let left = bench.phone(0, &answer(&invite, "200 OK", contact, ""));
    let ok = left
        .iter()
        .find(|left| left.destination == bench::CALLER)
        .unwrap()
        .text();
    let ack = bench::call::in_dialog("ACK", "lure", "1", "lured", &ok);
    let left = bench.caller(0, &ack);
    assert!(only(&left, ACCESS, PHONE).starts_with("ACK sip:callee@10.77.2.2 "));
}

/// RFC 3325 §5.
#[test]
fn a_subscriber_asserts_nobodys_identity() {
    let mut bench = Bench::of(&phone::settings(1));
    let _ = Device::asking(&mut bench, "alice");
    let challenge = bench.phone_gets(0, &request("INVITE", "alice", "id", 1, ""));
    let line = credentials(&challenge, SHA256, ALICE, "INVITE", 1);
    let lines =
        "P-Asserted-Identity: <sip:boss@example.com>\r\np-asserted-identity : <tel:+112>\r\n";
    let invite = request("INVITE", "alice", "id", 2, &format!("{line}{lines}"));
    let sent = to_callee(&bench.phone(0, &invite));
    assert!(
        !sent.to_ascii_lowercase().contains("p-asserted-identity"),
        "{sent}"
    );
}

/// Names that nobody has keep the store busy: who calls needs a ticket as well.
#[test]
fn a_store_that_is_asked_for_strangers_leaves_room_for_calls() {
    let mut settings = phone::settings(1);
    settings.domains[0].calls = 2;
    settings.capacity.tickets = 32;
    let mut bench = Bench::of(&settings);
    let _ = Device::asking(&mut bench, "alice");
    let challenge = bench.phone_gets(0, &request("REGISTER", "nobody", "n", 1, ""));
    for n in 0..100 {
        let user = format!("nobody{n}");
        let line = credentials(&challenge, SHA256, (&user, "x"), "REGISTER", 1);
        bench.phone(0, &request("REGISTER", &user, &user, 2, &line));
    }
    let challenge = bench.phone_gets(0, &request("INVITE", "alice", "call", 1, ""));
    let left = bench.phone(0, &authorized("INVITE", "call", 2, &challenge, 1));
    assert_eq!(statuses(&left, PHONE), ["SIP/2.0 100 Trying"]);
}
