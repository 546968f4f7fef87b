//! Offer and answer through a whole worker: where media goes after each message, and that saying
//! the same again changes nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::Bench;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::media_in;
use bench::sdp;
use bench::talk::BOTH;
use bench::talk::CALLEES;
use bench::talk::CALLERS;
use bench::talk::RACK;
use bench::talk::RELIABLE;
use bench::talk::Talk;
use bench::talk::Who::Callee;
use bench::talk::Who::Caller;
use bench::talk::sdp2;
use trunkline_dataplane::counters::Counter;

/// The six ways of RFC 6337 table 1 in which an offer can meet its answer, each as a whole
/// call with a second exchange where the first makes room for it.
fn pattern(number: usize) -> Talk {
    let [caller, _, caller_then] = CALLERS.map(sdp);
    let [callee, callee_then, _] = CALLEES.map(sdp);
    let agreed = [Some(CALLERS[0]), Some(CALLEES[0])];
    let moved = [Some(CALLERS[2]), Some(CALLEES[1])];
    let mut talk;
    match number {
        // 1: offer in the INVITE, answer in the 2xx.
        1 => {
            talk = Talk::begin(&caller);
            talk.respond("180 Ringing", "", "");
            assert_eq!(talk.plays(), [None, None]);
            talk.respond("200 OK", "", &callee);
            assert_eq!(talk.plays(), agreed);
            talk.ask(Caller, "ACK", 1, "", "");
        }
        // 2: offer in the 2xx, answer in the ACK.
        2 => {
            talk = Talk::begin("");
            talk.respond("180 Ringing", "", "");
            talk.respond("200 OK", "", &callee);
            assert_eq!(talk.plays(), [None, None]);
            talk.ask(Caller, "ACK", 1, "", &caller);
        }
        // 3: offer in the INVITE, answer in a reliable 183.
        3 => {
            talk = Talk::begin(&caller);
            talk.respond("183 Session Progress", RELIABLE, &callee);
            assert_eq!(talk.plays(), agreed);
            let prack = talk.ask(Caller, "PRACK", 2, RACK, "");
            talk.reply(Callee, &prack, "200 OK", "");
            talk.respond("200 OK", "", "");
            talk.ask(Caller, "ACK", 1, "", "");
        }
        // 4: offer in a reliable 183, answer in the PRACK.
        4 => {
            talk = Talk::begin("");
            talk.respond("183 Session Progress", RELIABLE, &callee);
            assert_eq!(talk.plays(), [None, None]);
            let prack = talk.ask(Caller, "PRACK", 2, RACK, &caller);
            assert_eq!(talk.plays(), agreed);
            talk.reply(Callee, &prack, "200 OK", "");
            talk.respond("200 OK", "", "");
            talk.ask(Caller, "ACK", 1, "", "");
        }
        // 5: after 3, one more offer in the PRACK, answered by its 200.
        5 => {
            talk = Talk::begin(&caller);
            talk.respond("183 Session Progress", RELIABLE, &callee);
            let prack = talk.ask(Caller, "PRACK", 2, RACK, &caller_then);
            assert_eq!(talk.plays(), agreed);
            talk.reply(Callee, &prack, "200 OK", &callee_then);
            assert_eq!(talk.plays(), moved);
            talk.respond("200 OK", "", "");
            talk.ask(Caller, "ACK", 1, "", "");
            assert_eq!(talk.plays(), moved);
            return talk;
        }
        // 6: after 3, an UPDATE of each side in the early dialog.
        _ => {
            talk = Talk::begin(&caller);
            talk.respond("183 Session Progress", RELIABLE, &callee);
            let prack = talk.ask(Caller, "PRACK", 2, RACK, "");
            talk.reply(Callee, &prack, "200 OK", "");
            let update = talk.ask(Callee, "UPDATE", 1, "", &callee_then);
            assert_eq!(talk.plays(), agreed);
            talk.reply(Caller, &update, "200 OK", &caller);
            assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[1])]);
            let update = talk.ask(Caller, "UPDATE", 3, "", &caller_then);
            talk.reply(Callee, &update, "200 OK", &callee_then);
            assert_eq!(talk.plays(), moved);
            talk.respond("200 OK", "", "");
            talk.ask(Caller, "ACK", 1, "", "");
            assert_eq!(talk.plays(), moved);
            return talk;
        }
    }
    assert_eq!(talk.plays(), agreed);
    talk
}

#[test]
fn an_offer_meets_its_answer_in_each_of_the_six_ways() {
    for number in 1..=6 {
        let mut talk = pattern(number);
        assert_eq!(talk.ports(), 2);
        let cseq = 9;
        let bye = talk.ask(Caller, "BYE", cseq, "", "");
        talk.reply(Callee, &bye, "200 OK", "");
        talk.bench.pass_ms(70_000);
        talk.bench.assert_at_rest();
    }
}

/// A call that changes its streams again and again.
fn changing() -> Talk {
    let mut talk = Talk::established();
    let update = talk.ask(Callee, "UPDATE", 1, "", &sdp2(CALLEES[1], 7400));
    talk.reply(Caller, &update, "200 OK", &sdp2(CALLERS[1], 6400));
    let invite = talk.ask(Caller, "INVITE", 5, "", "");
    talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[2], 7400));
    talk.ask(Caller, "ACK", 5, "", &sdp2(CALLERS[2], 0));
    let invite = talk.ask(Caller, "INVITE", 6, "", &sdp2(CALLERS[0], 0));
    talk.reply(Callee, &invite, "183 On", &sdp2(CALLEES[0], 0));
    talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 0));
    talk.ask(Caller, "ACK", 6, "", "");
    let invite = talk.ask(Callee, "INVITE", 2, "", &sdp(CALLEES[2]));
    talk.reply(Caller, &invite, "200 OK", &sdp(CALLERS[2]));
    talk.ask(Callee, "ACK", 2, "", "");
    talk
}

/// Every message said so far again, in order, after each message of the call: what goes on
/// is to the byte what went on before, and no media moves.
#[test]
fn saying_the_same_again_says_the_same_and_moves_nothing() {
    let calls = (1..=6).map(pattern).chain([changing()]);
    for (number, whole) in (1..).zip(calls.map(|talk| talk.said)) {
        for until in 1..=whole.len() {
            let mut talk = Talk::new();
            for (who, message, heard) in &whole[..until] {
                assert_eq!(talk.says(*who, message), *heard, "the same call again");
                let last = &heard[0];
                if last.contains("m=audio ") {
                    let port = Some(media_in(last));
                    let relay = if *who == Caller {
                        &mut talk.at_core
                    } else {
                        &mut talk.at_access
                    };
                    *relay = port;
                }
            }
            let plays = talk.plays();
            for (who, message, heard) in &whole[..until] {
                let again = talk.says(*who, message);
                let first_line = message.lines().next().unwrap();
                assert!(
                    again.is_empty() || again == *heard,
                    "{number}: {first_line}"
                );
                assert_eq!(talk.plays(), plays, "{number}: {first_line}");
            }
        }
    }
}

#[test]
fn after_a_restart_the_next_offer_anchors_the_media_again() {
    for method in ["UPDATE", "INVITE"] {
        let mut talk = Talk::established();
        talk.bench = Bench::restarted(1);
        assert_eq!(talk.plays(), [None, None]);
        let request = talk.ask(Callee, method, 1, "", &sdp(CALLEE_MEDIA));
        talk.reply(Caller, &request, "200 OK", &sdp(CALLER_MEDIA));
        assert_eq!((talk.plays(), talk.ports()), (BOTH, 2));
        let invite = talk.ask(Caller, "INVITE", 5, "", &sdp2(CALLERS[1], 6400));
        talk.reply(Callee, &invite, "183 On", &sdp2(CALLEES[1], 7400));
        assert_eq!(talk.plays(), [Some(CALLERS[1]), Some(CALLEES[1])]);
        talk.reply(Callee, &invite, "488 No", "");
        assert_eq!((talk.plays(), talk.ports()), (BOTH, 2), "{method}");
    }
}

#[test]
fn after_a_restart_re_invites_that_are_refused_leave_nothing_while_the_first_waits() {
    for method in ["UPDATE", "INVITE"] {
        let mut talk = Talk::established();
        talk.bench = Bench::restarted(1);
        let first = talk.ask(Caller, method, 5, "", &sdp(CALLER_MEDIA));
        for cseq in 1..10 {
            // RFC 3261 §14.2: the caller has one of its own under way.
            let invite = talk.ask(Callee, "INVITE", cseq, "", &sdp2(CALLEES[1], 7400));
            assert_eq!(talk.ports(), 4);
            talk.reply(Caller, &invite, "491 Request Pending", "");
            assert_eq!(talk.ports(), 2, "{method} {cseq}");
        }
        assert_eq!(talk.bench.count(Counter::OffersRefused), 0);
        talk.reply(Callee, &first, "200 OK", &sdp(CALLEE_MEDIA));
        assert_eq!((talk.plays(), talk.ports()), (BOTH, 2), "{method}");
    }
}

#[test]
fn an_offer_in_a_200_counts_once_the_ack_has_answered_it() {
    let mut talk = Talk::established();
    // The caller asks for an offer, and then does not answer it.
    let invite = talk.ask(Caller, "INVITE", 5, "", "");
    let ok = talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 7400));
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 4));
    talk.ask(Caller, "ACK", 5, "", "");
    assert_eq!(talk.plays(), BOTH);
    // The 200 may come again, and says the same.
    assert_eq!(
        talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 7400)),
        ok
    );
    assert_eq!(talk.plays(), BOTH);
    // Another one that it does answer.
    let invite = talk.ask(Caller, "INVITE", 6, "", "");
    talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 7400));
    talk.ask(Caller, "ACK", 6, "", &sdp2(CALLERS[1], 0));
    assert_eq!(talk.plays(), [Some(CALLERS[1]), Some(CALLEES[1])]);
}

#[test]
fn acks_that_never_come_keep_no_offer_from_being_made() {
    let mut talk = Talk::established();
    for cseq in 5..15 {
        let invite = talk.ask(Caller, "INVITE", cseq, "", "");
        talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 7400));
        if cseq % 2 == 0 {
            talk.ask(Caller, "ACK", cseq, "", "");
        }
    }
    assert_eq!(talk.bench.count(Counter::OffersRefused), 0);
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 4));
    talk.ask(Caller, "ACK", 14, "", &sdp2(CALLERS[1], 0));
    assert_eq!(talk.plays(), BOTH, "an ACK that declined stays so");
}
