//! Forwarding without state (RFC 3261 §16.11) on whole workers with fake rings.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::CALLER;
use bench::CORE;
use bench::answer;
use bench::branch;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::header;
use bench::invite;
use bench::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::lab;
use trunkline_dataplane::settings::Settings;

/// Both listens keep no state.
fn settings_without_state(workers: u8) -> Settings {
    let mut settings = lab::settings(workers);
    for listen in &mut settings.listens {
        listen.stateless = true;
    }
    settings
}

fn bench_without_state(workers: u8) -> Bench {
    Bench::of(&settings_without_state(workers))
}

/// The only message that left, to the callee.
fn sent_on(bench: &mut Bench, worker: usize, text: &str) -> String {
    let left = bench.caller(worker, text);
    assert_eq!(left.len(), 1, "no 100, and nothing else: {left:#?}");
    to_callee(&left)
}

#[test]
fn an_invite_goes_on_as_it_is_and_nothing_is_kept() {
    let mut bench = bench_without_state(1);
    let said = invite("plain", &sdp(CALLER_MEDIA));
    let sent = sent_on(&mut bench, 0, &said);
    let via = "Via: SIP/2.0/UDP 10.77.1.2;rport";
    assert_eq!(
        sent,
        said.replacen("sip:100@10.77.1.1 ", "sip:100@10.77.2.2 ", 1)
            .replacen(
                &format!("{via};branch=z9hG4bKb1"),
                &format!(
                    "Via: SIP/2.0/UDP 10.77.2.1;branch={}\r\n\
                     {via}=5060;branch=z9hG4bKb1;received=10.77.1.2",
                    branch(&sent)
                ),
                1
            )
            .replacen("Max-Forwards: 70", "Max-Forwards: 69\r\nMax-Breadth: 60", 1),
        "no Record-Route, and the caller's own media address"
    );
    // A response of any kind goes by the next Via, the 100 too, as often as it comes.
    for what in [
        "100 Trying",
        "180 Ringing",
        "486 Busy Here",
        "486 Busy Here",
    ] {
        let said = answer(&sent, what, CONTACT, "");
        let back = to_caller(&bench.callee(0, &said));
        let top = said.lines().find(|line| line.starts_with("Via")).unwrap();
        assert_eq!(back, said.replacen(&format!("{top}\r\n"), "", 1));
    }
    assert_eq!(bench.count(Counter::StatelessRequests), 1);
    assert_eq!(bench.count(Counter::StatelessResponses), 4);
    assert!(bench.pass_ms(40_000).is_empty(), "we repeat nothing");
    bench.assert_at_rest();
}

#[test]
fn repetition_cancel_and_ack_take_the_way_and_the_branch_of_their_invite_at_any_worker() {
    let mut bench = bench_without_state(2);
    let said = invite("same", "");
    let sent = sent_on(&mut bench, 0, &said);
    for worker in [0, 1] {
        assert_eq!(sent_on(&mut bench, worker, &said), sent);
        let cancel = request("CANCEL", "same", "1", "b1", "", "");
        let cancel = sent_on(&mut bench, worker, &cancel);
        assert!(cancel.starts_with("CANCEL sip:100@10.77.2.2 "));
        assert_eq!(branch(&cancel), branch(&sent));
        let ok = answer(&cancel, "200 OK", "", "");
        assert_eq!(status(&to_caller(&bench.callee(1 - worker, &ok))), "200");
        let busy = answer(&sent, "487 Request Terminated", "", "");
        let busy = to_caller(&bench.callee(worker, &busy));
        let to = format!("To: {}\r\n", header(&busy, "To"));
        let ack = request("ACK", "same", "1", "b1", &to, "");
        let ack = sent_on(&mut bench, worker, &ack);
        assert_eq!(branch(&ack), branch(&sent));
    }
    assert_eq!(bench.count(Counter::MailedToOwner), 0, "no worker owns it");
    // Another transaction has another branch.
    let other = request("INVITE", "same", "2", "b2", "", "");
    assert_ne!(branch(&sent_on(&mut bench, 0, &other)), branch(&sent));
    bench.assert_at_rest();
}

#[test]
fn a_response_goes_nowhere_but_where_its_request_came_from() {
    let mut bench = bench_without_state(1);
    let sent = sent_on(&mut bench, 0, &invite("true", ""));
    let ok = answer(&sent, "200 OK", CONTACT, "");
    for (old, new) in [
        ("received=10.77.1.2", "received=10.77.2.2"),
        ("rport=5060", "rport=5061"),
        ("branch=z9hG4bKb1", "branch=z9hG4bKb2"),
        ("Call-ID: true", "Call-ID: false"),
    ] {
        let forged = ok.replacen(old, new, 1);
        assert_ne!(forged, ok);
        assert!(bench.callee(0, &forged).is_empty(), "{new}");
    }
    assert_eq!(bench.count(Counter::SipBranchForged), 4);
    let without = ok.replacen("Via: SIP/2.0/UDP 10.77.1.2", "X: 10.77.1.2", 1);
    assert!(bench.callee(0, &without).is_empty());
    assert_eq!(bench.count(Counter::SipStrayResponse), 1);
    assert_eq!(status(&to_caller(&bench.callee(0, &ok))), "200");
}

#[test]
fn what_is_wrong_is_answered_without_state_as_well() {
    let mut bench = bench_without_state(1);
    for (old, new, expected) in [
        ("Max-Forwards: 70", "Max-Forwards: 0", "483"),
        ("sip:100@10.77.1.1 ", "sips:100@10.77.1.1 ", "416"),
        (
            "Max-Forwards: 70",
            "Max-Forwards: 70\r\nProxy-Require: x",
            "420",
        ),
    ] {
        let text = invite("wrong", "").replacen(old, new, 1);
        let refused = to_caller(&bench.caller(0, &text));
        assert_eq!(status(&refused), expected);
        // Its ACK ends here: it was never sent on.
        let to = format!("To: {}\r\n", header(&refused, "To"));
        let ack = request("ACK", "wrong", "1", "b1", &to, "");
        assert!(bench.caller(0, &ack).is_empty());
    }
    let cancel = request("CANCEL", "wrong", "1", "b1", "", "");
    let cancel = cancel.replacen("Max-Forwards: 70", "Max-Forwards: 0", 1);
    assert_eq!(status(&to_caller(&bench.caller(0, &cancel))), "483");
    assert_eq!(bench.count(Counter::StatelessRequests), 0);
    bench.assert_at_rest();
}

#[test]
fn a_request_of_a_dialog_goes_to_the_trunk_that_it_names() {
    let mut settings = settings_without_state(1);
    // From the caller's trunk to the callee's, and none back.
    settings.routes.truncate(1);
    let mut bench = Bench::of(&settings);
    let to = "To: <sip:100@10.77.1.1>;tag=callee\r\n";
    // The caller's BYE names the callee's Contact, on another port than the trunk's target.
    let bye = request("BYE", "named", "2", "b2", to, "");
    let bye = bye.replacen("sip:100@10.77.1.1 ", "sip:callee@10.77.2.2:5080 ", 1);
    let left = bench.caller(0, &bye);
    assert_eq!((left[0].source, left[0].destination.port()), (CORE, 5080));
    // No route leads from the callee to the caller: only what is of a dialog goes there.
    let back = bye.replacen("sip:callee@10.77.2.2:5080 ", "sip:caller@10.77.1.2 ", 1);
    let left = bench.say(0, CALLEE, CORE, &back);
    assert_eq!((left[0].source, left[0].destination), (ACCESS, CALLER));
    let new = back.replacen(";tag=callee", "", 1);
    let left = bench.say(0, CALLEE, CORE, &new);
    assert_eq!(left.len(), 1);
    assert_eq!(status(&left[0].text()), "404");
    // A stranger's address is nobody's trunk.
    let away = back.replacen("sip:caller@10.77.1.2 ", "sip:caller@192.0.2.9 ", 1);
    let left = bench.say(0, CALLEE, CORE, &away);
    assert_eq!(status(&left[0].text()), "404");
    bench.assert_at_rest();
}

#[test]
fn a_route_may_keep_no_state_where_the_listen_does() {
    let mut settings = lab::settings(2);
    let mut plain = settings.routes[0].clone();
    plain.prefix = Some("200".to_owned());
    plain.stateless = true;
    settings.routes.insert(0, plain);
    let mut bench = Bench::of(&settings);
    let text = invite("by-route", "").replace("100@", "200@");
    let owner = bench.owner("by-route");
    let sent = sent_on(&mut bench, owner, &text);
    // The response comes to whichever worker.
    let ok = answer(&sent, "486 Busy Here", "", "");
    assert_eq!(status(&to_caller(&bench.callee(1 - owner, &ok))), "486");
    let cancel = request("CANCEL", "by-route", "1", "b1", "", "").replace("100@", "200@");
    let cancel = sent_on(&mut bench, owner, &cancel);
    assert_eq!(branch(&cancel), branch(&sent));
    assert_eq!(bench.count(Counter::TransactionsNow), 0);
    // The other route keeps state, and so does its CANCEL.
    let left = bench.caller(owner, &invite("with-state", ""));
    assert_eq!(left.len(), 2, "a 100 as well");
    let cancel = request("CANCEL", "never-seen", "1", "b9", "", "");
    assert_eq!(status(&to_caller(&bench.caller(0, &cancel))), "481");
}
