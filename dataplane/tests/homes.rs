//! Subscribers within dialogs of which the box knows nothing, or nothing more: the cookie says where
//! they are.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::answer;
use bench::call::CONTACT;
use bench::call::of_callee;
use bench::call::only;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::header;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use bench::phone::statuses;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::lab;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::subscriber::Said;

const ALICE: (&str, &str) = ("alice", "wonderland");
/// What a phone behind a NAT says of itself.
const PRIVATE: &str = "sip:alice@192.168.0.2:5071";

/// The box after a restart: another boot and branch key, and the cookie key has been rotated.
fn restarted(mut settings: Settings) -> Bench {
    settings.boot += 1;
    settings.secrets.branch = [9; 16];
    settings.secrets.cookie = [[7; 16], settings.secrets.cookie[0]];
    Bench::of(&settings)
}

/// A request of Alice with the answer to `challenge`, which her store confirms.
fn proved(bench: &mut Bench, text: &str, challenge: &str, nc: u32) -> Vec<bench::Left> {
    let method = text.split(' ').next().unwrap();
    let line = credentials(challenge, Algorithm::Sha256, ALICE, method, nc);
    let left = bench.phone(0, &text.replacen("Call-ID:", &format!("{line}Call-ID:"), 1));
    match bench.asked().first() {
        Some(asked) => bench.said(*asked, Said::Known(ha1s(ALICE.0, ALICE.1))),
        None => left,
    }
}

/// Route and To of a request within the dialog that `ok` made.
fn within(ok: &str) -> String {
    let mut routes: Vec<_> = ok
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    routes.reverse();
    format!("{}To: {}\r\n", routes.concat(), header(ok, "To"))
}

/// A call of Alice's to the trunk: what the trunk got, and the 200 as she got it.
fn call(bench: &mut Bench, call_id: &str) -> (String, String) {
    let challenge = bench.phone_gets(0, &request("INVITE", "alice", call_id, 1, ""));
    let invite = request("INVITE", "alice", call_id, 2, "");
    let sent = to_callee(&proved(bench, &invite, &challenge, 1));
    let left = bench.callee(0, &answer(&sent, "200 OK", CONTACT, ""));
    let ok = left.iter().find(|left| left.destination == PHONE).unwrap();
    let ok = ok.text();
    let ack = request("ACK", "alice", call_id, 2, &within(&ok));
    assert!(to_callee(&bench.phone(0, &ack)).starts_with("ACK"));
    (sent, ok)
}

/// A BYE of the trunk's in the dialog of `sent`.
fn bye_of_trunk(sent: &str) -> String {
    let bye = of_callee("BYE", "1", sent);
    let bye = bye.replace("sip:caller@10.77.1.2 ", &format!("{PRIVATE} "));
    let bye = bye.replace(
        "To: <sip:caller@10.77.1.2>;tag=caller",
        "To: <sip:alice@example.com>;tag=alice",
    );
    bye.replace("From: <sip:100@10.77.1.1>", "From: <sip:100@example.com>")
}

#[test]
fn a_subscriber_is_reached_within_its_dialog_after_a_restart() {
    let (sent, _) = call(&mut Bench::of(&phone::settings(2)), "reached");
    for workers in [1, 3] {
        let mut bench = restarted(phone::settings(workers));
        let left = bench.callee(0, &bye_of_trunk(&sent));
        let bye = only(&left, ACCESS, PHONE);
        assert!(bye.starts_with(&format!("BYE {PRIVATE} ")), "{bye}");
        assert!(!bye.contains("\r\nRoute: "), "{bye}");
        let left = bench.phone(0, &answer(&bye, "200 OK", "", ""));
        assert_eq!(status(&to_callee(&left)), "200");
        bench.pass_ms(40_000);
        bench.assert_at_rest();
    }
}

#[test]
fn a_domain_that_is_gone_has_nobody_to_reach() {
    let (sent, _) = call(&mut Bench::of(&phone::settings(1)), "gone");
    let mut bench = restarted(lab::settings(1));
    let left = bench.callee(0, &bye_of_trunk(&sent));
    assert_eq!(status(&to_callee(&left)), "404");
}

#[test]
fn a_subscriber_ends_its_call_after_a_restart_and_shows_who_it_is_for_all_else() {
    let (_, ok) = call(&mut Bench::of(&phone::settings(1)), "ends");
    let mut bench = restarted(phone::settings(1));
    for method in ["INVITE", "INFO", "UPDATE"] {
        let text = request(method, "alice", "ends", 3, &within(&ok));
        assert_eq!(status(&bench.phone_gets(0, &text)), "407", "{method}");
    }
    let text = request("INFO", "alice", "ends", 4, &within(&ok));
    let challenge = bench.phone_gets(0, &text);
    let text = request("INFO", "alice", "ends", 5, &within(&ok));
    assert!(to_callee(&proved(&mut bench, &text, &challenge, 1)).starts_with("INFO"));
    let bye = request("BYE", "alice", "ends", 6, &within(&ok));
    let bye = to_callee(&bench.phone(0, &bye));
    let left = bench.callee(0, &answer(&bye, "200 OK", "", ""));
    assert_eq!(statuses(&left, PHONE), ["SIP/2.0 200 OK"]);
}

#[test]
fn what_crosses_the_end_of_a_call_finds_its_way() {
    let mut bench = Bench::of(&phone::settings(1));
    let (sent, ok) = call(&mut bench, "crossed");
    let bye = only(&bench.callee(0, &bye_of_trunk(&sent)), ACCESS, PHONE);
    bench.phone(0, &answer(&bye, "200 OK", "", ""));
    bench.pass_ms(33_000);
    assert_eq!(bench.count(Counter::CallsNow), 0);
    // Alice's own BYE, and the ACK to a 200 that was repeated.
    for method in ["ACK", "BYE"] {
        let text = request(method, "alice", "crossed", 2, &within(&ok));
        assert!(to_callee(&bench.phone(0, &text)).starts_with(method));
    }
    let late = bye_of_trunk(&sent)
        .replace("calleeBYE", "late")
        .replace("callee1BYE", "callee2BYE");
    let bye = only(&bench.callee(0, &late), ACCESS, PHONE);
    let gone = answer(&bye, "481 Call/Transaction Does Not Exist", "", "");
    assert_eq!(status(&to_callee(&bench.phone(0, &gone))), "481");
    assert_eq!(bench.count(Counter::SipStrayAck), 0);
}

#[test]
fn a_cookie_proves_nobody_elsewhere() {
    let (_, ok) = call(&mut Bench::of(&phone::settings(1)), "seen");
    let mut bench = restarted(phone::settings(1));
    let thief: SocketAddr = "10.77.1.67:5070".parse().unwrap();
    let bye = request("BYE", "alice", "seen", 3, &within(&ok));
    let left = bench.say(0, thief, ACCESS, &bye);
    assert!(statuses(&left, CALLEE).is_empty(), "not without proof");
    assert_eq!(bench.count(Counter::AuthChallenges), 1);
    let ack = request("ACK", "alice", "seen", 2, &within(&ok));
    assert!(bench.say(0, thief, ACCESS, &ack).is_empty());
    assert_eq!(bench.count(Counter::SipStrayAck), 1);
}

#[test]
fn of_two_phones_that_answer_each_gets_its_ack_and_its_bye() {
    let mut bench = Bench::of(&phone::settings(1));
    let second: SocketAddr = "10.77.1.66:5099".parse().unwrap();
    let phones = [(PHONE, "one"), (second, "two")];
    let challenge = bench.phone_gets(0, &request("REGISTER", "alice", "reg", 1, ""));
    for ((at, name), nc) in phones.into_iter().zip(1..) {
        let line = credentials(&challenge, Algorithm::Sha256, ALICE, "REGISTER", nc);
        let text = request("REGISTER", "alice", &format!("reg-{name}"), 2, &line);
        let private = format!("sip:{name}@192.168.0.2");
        let text = text.replace("sip:alice@10.77.1.66:5070", &private);
        bench.say(0, at, ACCESS, &text);
        if let Some(asked) = bench.asked().first() {
            bench.said(*asked, Said::Known(ha1s(ALICE.0, ALICE.1)));
        }
    }
    let invite = bench::request("INVITE", "both", "1", "both", "", "");
    let invite = invite.replacen("sip:100@10.77.1.1 ", "sip:alice@example.com ", 1);
    let left = bench.caller(0, &invite);
    let sent = phones.map(|(at, _)| only(&left, ACCESS, at));
    let answered: Vec<_> = (phones.iter().zip(&sent))
        .map(|((at, name), sent)| {
            let contact = format!("Contact: <sip:{name}@192.168.0.2>\r\n");
            let ok =
                answer(sent, "200 OK", &contact, "").replace("tag=callee", &format!("tag={name}"));
            to_caller(&bench.say(0, *at, ACCESS, &ok))
        })
        .collect();
    for ((at, name), ok) in phones.iter().zip(&answered) {
        for (method, cseq) in [("ACK", "1"), ("BYE", "2")] {
            let branch = format!("{name}{method}");
            let text = bench::call::in_dialog(method, "both", cseq, &branch, ok);
            let text = text.replacen(
                "sip:callee@10.77.2.2",
                &format!("sip:{name}@192.168.0.2"),
                1,
            );
            let sent = only(&bench.caller(0, &text), ACCESS, *at);
            assert!(sent.starts_with(&format!("{method} sip:{name}@")), "{sent}");
        }
    }
    assert_eq!(bench.count(Counter::SipNotRoutable), 0);
}

#[test]
fn an_ack_to_the_second_2xx_of_a_subscribers_call_goes_on() {
    let mut bench = Bench::of(&phone::settings(1));
    let (sent, ok) = call(&mut bench, "forked");
    // Somebody beyond the trunk has forked it.
    let other = answer(&sent, "200 OK", CONTACT, "").replace("tag=callee", "tag=other");
    let left = bench.callee(0, &other);
    assert_eq!(statuses(&left, PHONE), ["SIP/2.0 200 OK"]);
    let within = within(&ok).replace("tag=callee", "tag=other");
    let ack = request("ACK", "alice", "forked", 2, &within);
    assert!(to_callee(&bench.phone(0, &ack)).starts_with("ACK"));
    let bye = request("BYE", "alice", "forked", 3, &within);
    assert!(to_callee(&bench.phone(0, &bye)).starts_with("BYE"));
    assert_eq!(bench.count(Counter::CallsNow), 1, "the first one goes on");
}

#[test]
fn a_phone_that_moves_within_its_call_is_followed_once_it_has_proved_itself() {
    let mut bench = Bench::of(&phone::settings(1));
    let (sent, ok) = call(&mut bench, "moves");
    let moved: SocketAddr = "10.77.1.2:5070".parse().unwrap();
    let moved = SocketAddr::new("10.77.1.67".parse().unwrap(), moved.port());
    let invite = request("INVITE", "alice", "moves", 3, &within(&ok));
    bench.say(0, moved, ACCESS, &invite);
    let challenge = sent_by_kernel(&mut bench);
    assert_eq!(status(&challenge), "407");
    let line = credentials(&challenge, Algorithm::Sha256, ALICE, "INVITE", 1);
    let invite = request(
        "INVITE",
        "alice",
        "moves",
        4,
        &format!("{line}{}", within(&ok)),
    );
    let again = to_callee(&bench.say(0, moved, ACCESS, &invite));
    assert!(again.starts_with("INVITE "));
    bench.callee(0, &answer(&again, "200 OK", CONTACT, ""));
    let ack = request("ACK", "alice", "moves", 4, &within(&ok));
    let left = bench.say(0, moved, ACCESS, &ack);
    assert!(
        to_callee(&left).starts_with("ACK "),
        "it is known there now"
    );
    bench.by_kernel();
    // Another user, though with a password and all that stands in the dialog, takes no call away.
    let thief: SocketAddr = "10.77.1.68:5070".parse().unwrap();
    let mallory = |cseq, line: &str| {
        let more = format!("{line}{}", within(&ok));
        let text = request("INFO", "mallory", "moves", cseq, &more);
        text.replace("tag=mallory", "tag=alice")
    };
    bench.say(0, thief, ACCESS, &mallory(9, ""));
    let challenge = sent_by_kernel(&mut bench);
    let who = ("mallory", "evil");
    let line = credentials(&challenge, Algorithm::Sha256, who, "INFO", 1);
    bench.say(0, thief, ACCESS, &mallory(10, &line));
    let asked = bench.asked();
    bench.said(asked[0], Said::Known(ha1s(who.0, who.1)));
    bench.callee(0, &bye_of_trunk(&sent));
    let bye = bench.by_kernel().pop().unwrap();
    assert!(bye.text().starts_with("BYE "));
    assert_eq!(bye.destination, moved);
}

/// Its server transaction ends first: it waited for the store, and the trunk has as long as ever to answer.
#[test]
fn a_bye_that_waited_ends_its_call_whatever_becomes_of_it() {
    for answered in [
        None,
        Some("200 OK"),
        Some("481 Call/Transaction Does Not Exist"),
    ] {
        let mut settings = phone::settings(1);
        settings.authentication.lifetimes.known_ms = 1_000;
        let mut bench = Bench::of(&settings);
        let (_, ok) = call(&mut bench, "waits");
        bench.pass_ms(1_500);
        let moved: SocketAddr = "10.77.1.67:5070".parse().unwrap();
        let bye = |cseq, line: &str| {
            request(
                "BYE",
                "alice",
                "waits",
                cseq,
                &format!("{line}{}", within(&ok)),
            )
        };
        bench.say(0, moved, ACCESS, &bye(3, ""));
        let challenge = sent_by_kernel(&mut bench);
        let line = credentials(&challenge, Algorithm::Sha256, ALICE, "BYE", 1);
        bench.say(0, moved, ACCESS, &bye(4, &line));
        let asked = bench.asked();
        bench.pass_ms(3_000);
        let left = bench.said(asked[0], Said::Known(ha1s(ALICE.0, ALICE.1)));
        let sent = to_callee(&left);
        assert!(sent.starts_with("BYE "));
        bench.pass_ms(31_000);
        assert_eq!(bench.count(Counter::CallsNow), 1);
        if let Some(answered) = answered {
            let left = bench.callee(0, &answer(&sent, answered, "", ""));
            assert!(left.is_empty(), "who sent it has given up");
        }
        bench.pass_ms(40_000);
        bench.assert_at_rest();
    }
}

/// What the kernel is to send to a host that has no neighbour entry here.
fn sent_by_kernel(bench: &mut Bench) -> String {
    let sent = bench.by_kernel();
    sent.last().map(bench::Left::text).unwrap_or_default()
}
