//! Offers that come to nothing: what a rejection, a failure or silence takes back.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
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

#[test]
fn a_rejected_offer_changes_nothing_whoever_made_it_and_however_far_it_had_come() {
    let early = [
        "",
        "SIP/2.0 183 Session Progress",
        "SIP/2.0 183 Session Progress\r\nRequire: 100rel\r\nRSeq: 7",
    ];
    for (who, other, at, back) in [
        (Caller, Callee, CALLERS[1], CALLEES[1]),
        (Callee, Caller, CALLEES[1], CALLERS[1]),
    ] {
        for method in ["INVITE", "UPDATE"] {
            for status in [
                "300 Multiple",
                "408 Late",
                "487 Gone",
                "488 No",
                "491 Pending",
                "500 No",
                "603 No",
            ] {
                for early in &early[..if method == "INVITE" { 3 } else { 1 }] {
                    let mut talk = Talk::established();
                    // An m= line that is new, and one that has moved.
                    let heard = talk.ask(who, method, 5, "", &sdp2(at, 6400));
                    assert_eq!(talk.ports(), 4);
                    assert_eq!(talk.plays(), BOTH, "until the answer nothing moves");
                    if let Some(early) = early.strip_prefix("SIP/2.0 ") {
                        talk.reply(other, &heard, early, &sdp2(back, 7400));
                        assert_ne!(talk.plays(), BOTH, "{early}");
                    }
                    if method == "UPDATE" && status.starts_with("408") {
                        // RFC 4320 §4.2: it ends here, and takes back the offer all the same.
                        let late = bench::answer(&heard, status, "", "");
                        assert!(talk.says(other, &late).is_empty());
                    } else {
                        talk.reply(other, &heard, status, "");
                    }
                    assert_eq!(talk.plays(), BOTH, "{who:?} {method} {status} {early}");
                    assert_eq!(talk.ports(), 2);
                }
            }
        }
    }
}

#[test]
fn an_offer_that_nobody_answers_in_time_is_taken_back() {
    let mut talk = Talk::established();
    talk.ask(Caller, "UPDATE", 5, "", &sdp2(CALLERS[1], 6400));
    assert_eq!(talk.ports(), 4);
    talk.bench.pass_ms(40_000);
    assert_eq!(talk.ports(), 2);
    assert_eq!(talk.plays(), BOTH);
}

#[test]
fn what_was_agreed_inside_a_re_invite_is_taken_back_with_it() {
    let mut talk = Talk::established();
    let invite = talk.ask(Caller, "INVITE", 5, "", &sdp(CALLERS[1]));
    talk.reply(
        Callee,
        &invite,
        &format!("183 On\r\n{}", RELIABLE.trim_end()),
        &sdp(CALLEES[1]),
    );
    let prack = talk.ask(Caller, "PRACK", 6, "RAck: 7 5 INVITE\r\n", "");
    talk.reply(Callee, &prack, "200 OK", "");
    let update = talk.ask(Callee, "UPDATE", 1, "", &sdp(CALLEES[2]));
    talk.reply(Caller, &update, "200 OK", &sdp(CALLERS[2]));
    assert_eq!(talk.plays(), [Some(CALLERS[2]), Some(CALLEES[2])]);
    talk.reply(Callee, &invite, "486 Busy Here", "");
    assert_eq!(talk.plays(), BOTH);
}

#[test]
fn a_prack_that_fails_takes_back_its_offer_or_its_answer() {
    // An offer.
    let mut talk = Talk::begin(&sdp(CALLER_MEDIA));
    talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEE_MEDIA));
    let prack = talk.ask(Caller, "PRACK", 2, RACK, &sdp2(CALLERS[1], 6400));
    assert_eq!(talk.ports(), 4);
    talk.reply(Callee, &prack, "488 Not Acceptable Here", "");
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 2));

    // An answer, which the PRACK with credentials says again.
    let mut talk = Talk::begin("");
    talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEE_MEDIA));
    let prack = talk.ask(Caller, "PRACK", 2, RACK, &sdp(CALLER_MEDIA));
    assert_eq!(talk.plays(), BOTH);
    talk.reply(Callee, &prack, "407 Who Are You", "");
    assert_eq!(talk.plays(), [None, None]);
    let prack = talk.ask(Caller, "PRACK", 3, RACK, &sdp(CALLER_MEDIA));
    assert_eq!(talk.plays(), BOTH);
    talk.reply(Callee, &prack, "200 OK", "");
    talk.respond("200 OK", "", "");
    assert_eq!(talk.plays(), BOTH);
}

#[test]
fn offers_that_cross_are_each_rejected_and_change_nothing() {
    let mut talk = Talk::established();
    let of_caller = talk.ask(Caller, "INVITE", 5, "", &sdp(CALLERS[1]));
    let of_callee = talk.ask(Callee, "INVITE", 1, "", &sdp(CALLEES[1]));
    talk.reply(Callee, &of_caller, "491 Request Pending", "");
    talk.reply(Caller, &of_callee, "491 Request Pending", "");
    assert_eq!(talk.plays(), BOTH);
    let again = talk.ask(Callee, "INVITE", 2, "", &sdp(CALLEES[1]));
    talk.reply(Caller, &again, "200 OK", &sdp(CALLERS[1]));
    assert_eq!(talk.plays(), [Some(CALLERS[1]), Some(CALLEES[1])]);
}
