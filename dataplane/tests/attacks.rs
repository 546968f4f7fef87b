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

/// Two domains, each with an Alice of her own password; the second is `OTHER`.
fn with_two_domains() -> Bench {
    let mut settings = phone::settings(1);
    lab::add_domain(&mut settings);
    settings.routes.pop();
    settings.domains[1].name = OTHER.to_owned();
    let mut bench = Bench::of(&settings);
    let _ = Device::asking(&mut bench, "alice");
    bench
}

const OTHER: &str = "example.org";

/// A user of one domain is nobody in another, though both have one of that name.
#[test]
fn who_is_of_one_domain_speaks_for_nobody_in_another() {
    let mut bench = with_two_domains();
    for method in ["REGISTER", "INVITE", "MESSAGE"] {
        let plain = request(method, "alice", &format!("plain{method}"), 1, "");
        let challenge = bench.phone_gets(0, &plain);
        let line = credentials(&challenge, SHA256, ALICE, method, 1);
        let own = request(method, "alice", &format!("x{method}"), 2, &line);
        // Of a realm that does not ask; and with its own, in which that nonce was not given.
        for line in [line.clone(), line.replace("example.com", OTHER)] {
            let text = own.replace(&credentials(&challenge, SHA256, ALICE, method, 1), &line);
            let place = if method == "REGISTER" {
                "To: "
            } else {
                "From: "
            };
            let named = format!("{place}<sip:alice@example.com>");
            let text = text.replace(&named, &named.replace("example.com", OTHER));
            assert!(text.contains(OTHER), "{text}");
            let told = last_status(&bench.phone(0, &text), PHONE);
            assert!(told.contains(" 40"), "{method} {told}");
            assert_eq!(bench.asked().len(), 0, "{method}");
        }
        assert_eq!(bench.count(Counter::BindingsNow), 0, "{method}");
        assert!(left_to_callee(&mut bench).is_empty());
    }
}

fn left_to_callee(bench: &mut Bench) -> Vec<bench::Left> {
    let left = bench.pass_ms(1_000);
    left.into_iter()
        .filter(|left| left.destination == CALLEE)
        .collect()
}

/// RFC 7616 §3.4: each of these is an answer to no challenge, or one that was used.
#[test]
fn credentials_that_bend_the_rules_prove_nothing() {
    let mut bench = Bench::of(&phone::settings(1));
    let _ = Device::asking(&mut bench, "alice");
    let plain = request("MESSAGE", "alice", "plain", 1, "");
    let challenge = bench.phone_gets(0, &plain);
    let tells = |bench: &mut Bench, n: u32, line: &str| {
        let text = request("MESSAGE", "alice", &format!("bent{n}"), n, line);
        let mut left = bench.phone(0, &text);
        left.extend(bench.pass_ms(600));
        let call_id = format!("Call-ID: bent{n}\r\n");
        let is_it = |left: &bench::Left| left.text().contains(&call_id);
        let goes_on = left
            .iter()
            .any(|left| left.destination == CALLEE && is_it(left));
        (goes_on, last_status(&left, PHONE))
    };
    let good = |nc| credentials(&challenge, SHA256, ALICE, "MESSAGE", nc);
    let line = good(5);
    for (n, bent) in (0..).zip([
        line.replace("qop=auth,", "qop=auth-int,"),
        line.replace("qop=auth,", ""),
        line.replace("username=\"alice\"", "username=\"al\\ice\""),
        line.replace("username=\"alice\"", "username*=UTF-8''alice"),
        line.replace(
            "username=\"alice\"",
            "username=\"alice\", username*=UTF-8''alice",
        ),
        line.replace("nc=00000005", "nc=000000005"),
        line.replace("nc=00000005", "nc=-0000005"),
        line.replace("nc=00000005", "nc=00000006"),
        line.replace("algorithm=SHA-256", "algorithm=SHA-256-sess"),
        line.replace("algorithm=SHA-256", "algorithm=MD5"),
        line.replace("nonce=\"", "nonce=\"0"),
        line.replace("realm=\"example.com\"", "realm=\"EXAMPLE.com\""),
        line.replace("realm=\"example.com\",", ""),
    ]) {
        let (goes_on, told) = tells(&mut bench, n, &bent);
        assert!(!goes_on && told.contains(" 40"), "{bent} {told}");
    }
    // One that cannot be read beside one that is right; a nonce counts from 0, at the most, and does not turn over.
    let broken = "Proxy-Authorization: Digest username=\"bob\r\n";
    for (n, line, goes_on) in [
        (50, good(0), true),
        (51, good(0), false),
        (52, format!("{broken}{}", good(1)), true),
        (53, format!("{}{}", good(u32::MAX), good(1)), true),
        (54, good(0), false),
        (55, good(1), false),
        (56, good(2), false),
        (57, good(u32::MAX), false),
        (58, good(u32::MAX - 64), false),
        (59, good(u32::MAX - 63), true),
        (60, good(u32::MAX - 63), false),
    ] {
        assert_eq!(tells(&mut bench, n, &line).0, goes_on, "{n} {line}");
    }
}

/// Whoever sends with another's address makes the box send to that: not much more than it was sent.
#[test]
fn a_challenge_is_not_many_times_as_long_as_what_it_answers() {
    let mut settings = phone::settings(1);
    settings.domains[0].algorithms = Algorithm::ALL.to_vec();
    let mut bench = Bench::of(&settings);
    for method in ["REGISTER", "INVITE", "OPTIONS"] {
        let shortest = format!(
            "{method} sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1\r\nf:<sip:a@example.com>;tag=1\r\n\
             t:<sip:a@example.com>\r\ni:1\r\nCSeq:1 {method}\r\nMax-Forwards:1\r\n\r\n"
        );
        let left = bench.say(0, NEIGHBOUR, ACCESS, &shortest);
        let sent: usize = left.iter().map(|left| left.payload.len()).sum();
        println!("{method}: {} in, {sent} out", shortest.len());
        assert_eq!(left.len(), 1);
        assert!(sent < 4 * shortest.len(), "{}", left[0].text());
    }
}
