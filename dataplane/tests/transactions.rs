//! The four machines of RFC 3261 §17 with RFC 6026 and RFC 4320 as whole workers on fake rings
//! show them: what is repeated, what is answered, what is silent, and how much memory it takes.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::Bench;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::header;
use bench::invite;
use bench::request;
use bench::sdp;
use std::net::SocketAddr;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::settings::DialRoute;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::method::Method;
use trunkline_dataplane::sip::transaction::CLIENT_LEN;
use trunkline_dataplane::sip::transaction::SERVER_LEN;
use trunkline_dataplane::sip::undelivered::Undelivered;
use trunkline_dataplane::sip::undelivered::Why;

fn message(call_id: &str) -> String {
    request("MESSAGE", call_id, "1", "m1", "", "")
}

#[test]
fn another_request_than_invite_gets_one_100_after_three_and_a_half_seconds() {
    // RFC 4320 §4.1.
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &message("slow")));
    // What comes from below is not passed, be it early or another provisional response.
    for early in ["100 Trying", "183 Session Progress"] {
        assert!(bench.callee(0, &answer(&sent, early, "", "")).is_empty());
    }
    let early = bench.pass_ms(3_400);
    assert!(early.iter().all(|left| left.destination == bench::CALLEE));
    assert!(
        bench.caller(0, &message("slow")).is_empty(),
        "nothing to repeat yet"
    );
    let trying = bench.pass_ms(200);
    let trying = to_caller(&trying);
    assert_eq!(status(&trying), "100");
    assert_eq!(header(&trying, "CSeq"), "1 MESSAGE");
    assert!(!header(&trying, "To").contains("tag="));
    assert_eq!(to_caller(&bench.caller(0, &message("slow"))), trying);
    let more = bench.pass_ms(10_000);
    assert!(more.iter().all(|left| left.destination == bench::CALLEE));
    let ok = to_caller(&bench.callee(0, &answer(&sent, "200 OK", "", "")));
    assert_eq!(status(&ok), "200");
    bench.pass_ms(33_000);
    bench.assert_at_rest();
}

#[test]
fn another_request_than_invite_is_never_told_of_a_time_out() {
    // RFC 4320 §4.2: neither one from below nor our own.
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &message("late")));
    let timed_out = answer(&sent, "408 Request Timeout", "", "");
    assert!(bench.callee(0, &timed_out).is_empty());
    assert!(
        bench.caller(0, &message("late")).is_empty(),
        "a repetition is no new request"
    );
    // Nothing late: what comes afterwards ends here.
    bench.pass_ms(33_000);
    assert!(bench.callee(0, &answer(&sent, "200 OK", "", "")).is_empty());
    assert_eq!(bench.count(Counter::SipStrayResponse), 1);
    bench.assert_at_rest();

    let sent = to_callee(&bench.caller(0, &message("never")));
    let left = bench.pass_ms(33_000);
    let to_caller: Vec<_> = left
        .iter()
        .filter(|left| left.destination == bench::CALLER)
        .map(|left| status(&left.text()).to_owned())
        .collect();
    assert_eq!(to_caller, ["100"]);
    assert!(bench.callee(0, &answer(&sent, "200 OK", "", "")).is_empty());
    bench.assert_at_rest();
}

#[test]
fn a_failure_is_acknowledged_each_time_with_the_same_ack() {
    // RFC 3261 §17.1.1.3, §17.1.1.2 Completed.
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("busy", "")));
    let busy = answer(&sent, "486 Busy Here", "", "");
    // A server may complete our Via; the ACK carries it as we sent it.
    let received = busy.replacen("10.77.2.1;branch", "10.77.2.1;received=10.77.2.1;branch", 1);
    let ack = to_callee(&bench.callee(0, &received));
    let via = sent.lines().find(|line| line.starts_with("Via")).unwrap();
    assert_eq!(
        ack,
        format!(
            "ACK sip:100@10.77.2.2 SIP/2.0\r\n{via}\r\nMax-Forwards: 70\r\n\
             From: <sip:caller@10.77.1.2>;tag=caller\r\nTo: <sip:100@10.77.1.1>;tag=callee\r\n\
             Call-ID: busy\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n"
        )
    );
    let again = bench.callee(0, &busy);
    assert_eq!(again.len(), 1, "it is not passed on twice");
    assert_eq!(to_callee(&again), ack);
    bench.pass_ms(33_000);
    assert!(bench.callee(0, &busy).is_empty(), "Timer D is over");
    bench.assert_at_rest();
}

/// Bytes that the transactions of `bench` take: tables and kept messages.
fn transaction_bytes(bench: &mut Bench, requests: usize) -> usize {
    let kept = usize::try_from(bench.count(Counter::KeptBytesNow)).unwrap();
    assert_eq!(
        bench.count(Counter::TransactionsNow),
        2 * requests as u64,
        "a server and a client transaction each"
    );
    requests * (SERVER_LEN + CLIENT_LEN) + kept
}

#[test]
fn an_invite_takes_four_kib_in_flight_one_with_a_stored_final_and_256_bytes_without() {
    let mut bench = Bench::new(1);
    let body = format!("{}a=x:{}\r\n", sdp(CALLER_MEDIA), "x".repeat(400));
    let sent = to_callee(&bench.caller(0, &invite("busy", &body)));
    assert!((900..1_024).contains(&sent.len()), "{}", sent.len());
    let in_flight = transaction_bytes(&mut bench, 1);
    assert!(in_flight <= 4_096, "{in_flight} bytes in flight");

    bench.callee(0, &answer(&sent, "486 Busy Here", "", ""));
    let failed = transaction_bytes(&mut bench, 1);
    assert!(failed <= 1_024, "{failed} bytes with a stored final");

    bench.pass_ms(60_000);
    bench.assert_at_rest();
    let sent = to_callee(&bench.caller(0, &invite("answered", &body)));
    bench.callee(0, &answer(&sent, "180 Ringing", "", ""));
    bench.callee(0, &answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA)));
    let accepted = transaction_bytes(&mut bench, 1);
    assert!(accepted <= 256, "{accepted} bytes that only linger");
}

#[test]
fn a_cancel_that_comes_twice_or_late_is_answered_and_cancels_once() {
    // RFC 3261 §9.2, §16.10.
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("cancel", "")));
    bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, ""));
    let cancel = request("CANCEL", "cancel", "1", "b1", "", "");
    let left = bench.caller(0, &cancel);
    let ok = only_to_caller(&left);
    assert_eq!(status(&ok), "200");
    assert!(to_callee(&left).starts_with("CANCEL "));
    assert_eq!(
        to_caller(&bench.caller(0, &cancel)),
        ok,
        "and no second one goes on"
    );
    let left = bench.callee(0, &answer(&sent, "487 Request Terminated", "", ""));
    assert_eq!(status(&to_caller(&left)), "487");
    assert_eq!(to_caller(&bench.caller(0, &cancel)), ok, "late");
    let to = format!("To: {}\r\n", header(&to_caller(&left), "To"));
    bench.caller(0, &request("ACK", "cancel", "1", "b1", &to, ""));
    bench.pass_ms(40_000);
    let gone = to_caller(&bench.caller(0, &cancel));
    assert_eq!(status(&gone), "481");
    bench.assert_at_rest();
}

#[test]
fn a_cancel_from_another_address_of_the_trunk_is_its_own() {
    // RFC 3261 §9.2: it is matched as any request of the transaction.
    let mut settings = lab::settings(1);
    let other = lab::STRANGERS[0];
    settings.trunks[0].sources.push((other, 32));
    let mut bench = Bench::of(&settings);
    let sent = to_callee(&bench.caller(0, &invite("pair", "")));
    bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, ""));
    let cancel = request("CANCEL", "pair", "1", "b1", "", "");
    let left = bench.say(0, SocketAddr::new(other, 5060), bench::ACCESS, &cancel);
    assert!(to_callee(&left).starts_with("CANCEL "));
}

/// The one message that left for the caller, among others for the callee.
fn only_to_caller(left: &[bench::Left]) -> String {
    let found: Vec<_> = left
        .iter()
        .filter(|left| left.destination == bench::CALLER)
        .collect();
    assert_eq!(found.len(), 1, "{left:#?}");
    found[0].text()
}

/// The message as an element of RFC 2543 would send it.
fn old(text: &str) -> String {
    text.replace(";branch=z9hG4bKb1", "")
}

#[test]
fn an_element_of_rfc_2543_is_matched_without_a_branch() {
    // RFC 3261 §17.2.3.
    let mut bench = Bench::new(1);
    let said = old(&invite("old", ""));
    let sent = to_callee(&bench.caller(0, &said));
    let again = to_caller(&bench.caller(0, &said));
    assert_eq!(status(&again), "100", "absorbed");
    bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, ""));
    let cancel = old(&request("CANCEL", "old", "1", "b1", "", ""));
    let left = bench.caller(0, &cancel);
    assert!(to_callee(&left).starts_with("CANCEL "));
    let left = bench.callee(0, &answer(&sent, "487 Request Terminated", "", ""));
    let to = format!("To: {}\r\n", header(&to_caller(&left), "To"));
    let ack = old(&request("ACK", "old", "1", "b1", &to, ""));
    assert!(bench.caller(0, &ack).is_empty());
    let left = bench.pass_ms(5_100);
    assert!(
        left.iter().all(|left| left.destination != bench::CALLER),
        "Timer G is off"
    );
    // Another CSeq is another transaction.
    let next = old(&request("INVITE", "old", "2", "b1", "", ""));
    to_callee(&bench.caller(0, &next));
}

/// One worker in the plain lab with a second trunk on the caller's side, which may call as well.
fn with_a_rival() -> Bench {
    let mut settings = lab::settings(1);
    let mut rival = settings.trunks[0].clone();
    rival.sources = vec![(RIVAL.ip(), 32)];
    rival.targets = vec![RIVAL];
    settings.trunks.push(rival);
    settings.routes.push(DialRoute {
        from: None,
        ..settings.routes[0].clone()
    });
    Bench::of(&settings)
}

/// The peer of the second trunk.
const RIVAL: SocketAddr = SocketAddr::new(lab::STRANGERS[0], 5060);

#[test]
fn nobody_takes_the_place_of_another_trunks_transaction_by_its_branch_and_sent_by() {
    // RFC 3261 §17.2.3: of another client the same branch is another transaction.
    for of_2543 in [false, true] {
        let said = |text: String| if of_2543 { old(&text) } else { text };
        let mut bench = with_a_rival();
        let begins = said(invite("guessed", ""));
        let stolen = bench.say(0, RIVAL, bench::ACCESS, &begins);
        assert_eq!(stolen.len(), 2, "it is as good as any: {stolen:#?}");
        // The trunk whose branch it is comes later, and is heard all the same.
        let left = bench.caller(0, &begins);
        let sent = left.iter().find(|left| left.destination == bench::CALLEE);
        let sent = sent.expect("the INVITE goes on").text();
        let failed = only_to_caller(&bench.callee(0, &answer(&sent, "486 Busy Here", "", "")));

        // The rival acknowledges what it has not got, which stops no Timer G.
        let to = format!("To: {}\r\n", header(&failed, "To"));
        let ack = said(request("ACK", "guessed", "1", "b1", &to, ""));
        bench.say(0, RIVAL, bench::ACCESS, &ack);
        assert_eq!(only_to_caller(&bench.pass_ms(600)), failed);
        bench.caller(0, &ack);
        let quiet = bench.pass_ms(4_000);
        assert!(quiet.iter().all(|left| left.destination != bench::CALLER));
    }
}

#[test]
fn the_refusal_of_another_trunks_request_is_nobody_elses() {
    let mut bench = with_a_rival();
    let nowhere = sdp(CALLER_MEDIA).replace("c=IN IP4 10.77.1.2", "c=IN IP4 somewhere.example");
    let refused = bench.say(0, RIVAL, bench::ACCESS, &invite("refused", &nowhere));
    assert_eq!(status(&refused[0].text()), "488");
    to_callee(&bench.caller(0, &invite("refused", &sdp(CALLER_MEDIA))));
}

#[test]
fn what_does_not_repeat_its_request_is_no_response_to_it() {
    // RFC 3261 §8.2.6.2. Whoever has a branch of ours may write below it what he likes.
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("asked", "")));
    let rings = answer(&sent, "180 Ringing", CONTACT, "");
    for (nth, (is, other)) in [
        ("Call-ID: asked", "Call-ID: other"),
        (";tag=caller", ";tag=other"),
        ("CSeq: 1 INVITE", "CSeq: 2 INVITE"),
    ]
    .iter()
    .enumerate()
    {
        let forged = rings.replacen(is, other, 1);
        assert_ne!(forged, rings);
        assert!(bench.callee(0, &forged).is_empty(), "{other}");
        assert_eq!(bench.count(Counter::SipStrayResponse), nth as u64 + 1);
    }
    assert_eq!(status(&to_caller(&bench.callee(0, &rings))), "180");
}

#[test]
fn a_branch_of_an_earlier_tenant_of_the_slot_is_nobodys() {
    // A slot has had as many tenants as there are generations: all but the loop hash is the same.
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("new", "")));
    let settings = lab::settings(1);
    let listens = lab::LISTENS.to_vec();
    let identity = Identity::new(WorkerId(0), settings.boot, &settings.secrets, &listens);
    let branch = bench::branch(&sent);
    let mut old = identity.read_branch(branch.as_bytes()).unwrap();
    old.loop_hash ^= 1;
    let text = identity.branch(old.kind, old.id, old.loop_hash);
    let text = String::from_utf8(text.to_vec()).unwrap();
    let late = answer(&sent, "486 Busy Here", "", "").replacen(&branch, &text, 1);
    assert!(bench.callee(0, &late).is_empty());
    assert_eq!(bench.count(Counter::SipStrayResponse), 1);
    // Nor does ICMP end the one for the other.
    let what = Undelivered {
        branch: old,
        method: Method::Invite,
        destination: bench::CALLEE,
        why: Why::Unreachable,
    };
    assert!(bench.posts[0].mail.post_undelivered(what));
    bench.left.clear();
    bench.turn();
    assert!(bench.left.is_empty());
    assert_eq!(bench.count(Counter::IcmpLate), 1);
}

#[test]
fn requests_of_calls_find_room_where_new_work_is_refused() {
    let mut settings = lab::settings(1);
    settings.capacity.transactions = 16;
    let mut bench = Bench::of(&settings);
    let (_, answered) = establish(&mut bench, 0, "known");
    // Whatever is of no call is new work, a BYE too.
    for method in ["OPTIONS", "BYE"] {
        let refused = (0..16).any(|n| {
            let branch = format!("{method}{n}");
            let text = request(method, "flood", &n.to_string(), &branch, "", "");
            let left = bench.caller(0, &text);
            left.iter().any(|left| status(&left.text()) == "503")
        });
        assert!(refused, "{method}");
    }
    let of_call = |method, cseq| in_dialog(method, "known", cseq, &format!("b{cseq}"), &answered);
    for cseq in ["2", "3"] {
        to_callee(&bench.caller(0, &of_call("UPDATE", cseq)));
    }
    // They leave a place for the BYE of their call.
    let update = bench.caller(0, &of_call("UPDATE", "4"));
    assert_eq!(status(&to_caller(&update)), "503");
    to_callee(&bench.caller(0, &of_call("BYE", "5")));
    let another = bench.caller(0, &of_call("BYE", "6"));
    assert_eq!(status(&to_caller(&another)), "503", "one for each call");
}
