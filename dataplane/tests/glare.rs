//! Requests of a dialog that cross on the way: the call and its media end up right.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use bench::Bench;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::MOVED;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::of_callee;
use bench::call::relayed;
use bench::call::sole;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::invite;
use bench::sdp;
use bench::with_sdp;
use trunkline_dataplane::counters::Counter;

const ASIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2)), 7100);

fn end_by_caller(bench: &mut Bench, answered: &str) {
    let call_id = bench::header(answered, "Call-ID");
    let bye = in_dialog("BYE", &call_id, "99", "b99", answered);
    let passed = to_callee(&bench.caller(0, &bye));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
}

#[test]
fn re_invites_that_cross_are_both_refused_and_nothing_has_moved() {
    let mut bench = Bench::new(2);
    let (sent, answered) = establish(&mut bench, 0, "glare");
    let (at_core, at_access) = (media_in(&sent), media_in(&answered));
    let down = in_dialog("INVITE", "glare", "2", "b2", &answered);
    let down = sole(&bench.caller(0, &with_sdp(&down, &sdp(MOVED))), "INVITE");
    let up = with_sdp(&of_callee("INVITE", "1", &answered), &sdp(ASIDE));
    let up = sole(&bench.callee(0, &up), "INVITE");
    // RFC 3261 §14.2: each has a re-INVITE of its own under way.
    let pending = |request: &str| answer(request, "491 Request Pending", "", "");
    assert_eq!(
        status(&sole(&bench.callee(0, &pending(&down)), "SIP/2.0 491")),
        "491"
    );
    assert_eq!(
        status(&sole(&bench.caller(0, &pending(&up)), "SIP/2.0 491")),
        "491"
    );
    assert_eq!(
        relayed(&mut bench, CALLER_MEDIA, at_access),
        Some(CALLEE_MEDIA)
    );
    assert_eq!(
        relayed(&mut bench, CALLEE_MEDIA, at_core),
        Some(CALLER_MEDIA)
    );
    assert_eq!(relayed(&mut bench, MOVED, at_access), None);
    assert_eq!(relayed(&mut bench, ASIDE, at_core), None);
    // One tries again and is answered.
    let again = in_dialog("INVITE", "glare", "3", "b3", &answered);
    let again = sole(&bench.caller(0, &with_sdp(&again, &sdp(MOVED))), "INVITE");
    bench.callee(0, &answer(&again, "200 OK", CONTACT, &sdp(CALLEE_MEDIA)));
    assert_eq!(relayed(&mut bench, MOVED, at_access), Some(CALLEE_MEDIA));
    end_by_caller(&mut bench, &answered);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn byes_that_cross_end_the_call_once() {
    for late in ["200 OK", "481 Call/Transaction Does Not Exist"] {
        let mut bench = Bench::new(2);
        let (_, answered) = establish(&mut bench, 0, "byes");
        let down = in_dialog("BYE", "byes", "2", "b2", &answered);
        let down = to_callee(&bench.caller(0, &down));
        let up = of_callee("BYE", "1", &answered);
        let up = to_caller(&bench.callee(0, &up));
        to_caller(&bench.callee(0, &answer(&down, late, "", "")));
        to_callee(&bench.caller(0, &answer(&up, late, "", "")));
        assert_eq!(bench.count(Counter::CallsEnded), 1);
        bench.pass_ms(70_000);
        bench.assert_at_rest();
    }
}

#[test]
fn a_bye_that_crosses_the_200_of_a_re_invite_wins() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "wins");
    let down = in_dialog("INVITE", "wins", "2", "b2", &answered);
    let down = sole(&bench.caller(0, &with_sdp(&down, &sdp(MOVED))), "INVITE");
    let up = to_caller(&bench.callee(0, &of_callee("BYE", "1", &answered)));
    to_callee(&bench.caller(0, &answer(&up, "200 OK", "", "")));
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    // After the media's moment of grace nothing opens it again.
    bench.pass_ms(1_000);
    let ok = answer(&down, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    assert_eq!(status(&to_caller(&bench.callee(0, &ok))), "200");
    assert_eq!(bench.count(Counter::FlowsNow), 0);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_200_that_crosses_a_cancel_is_a_call_that_the_caller_ends() {
    let mut bench = Bench::new(2);
    let text = invite("race", &sdp(CALLER_MEDIA));
    let sent = to_callee(&bench.caller(0, &text));
    to_caller(&bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, "")));
    let cancel = bench::request("CANCEL", "race", "1", "b1", "", "");
    let left = bench.caller(0, &cancel);
    let cancel = sole(&left, "CANCEL");
    assert_eq!(status(&to_caller(&left)), "200");
    let answered =
        to_caller(&bench.callee(0, &answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA))));
    assert!(
        bench
            .callee(
                0,
                &answer(&cancel, "481 Call/Transaction Does Not Exist", "", "")
            )
            .is_empty()
    );
    assert_eq!(bench.count(Counter::CallsAnswered), 1);
    let ack = in_dialog("ACK", "race", "1", "b-ack", &answered);
    to_callee(&bench.caller(0, &ack));
    end_by_caller(&mut bench, &answered);
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    assert_eq!(bench.count(Counter::CallsFailed), 0);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_bye_in_an_early_dialog_leaves_the_invite_to_its_487() {
    let mut bench = Bench::new(2);
    let sent = to_callee(&bench.caller(0, &invite("early", &sdp(CALLER_MEDIA))));
    let ringing = to_caller(&bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, "")));
    // RFC 3261 §15: the caller may, the callee must not.
    let bye = in_dialog("BYE", "early", "2", "b2", &ringing);
    let passed = to_callee(&bench.caller(0, &bye));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
    let gone = answer(&sent, "487 Request Terminated", "", "");
    assert_eq!(status(&sole(&bench.callee(0, &gone), "SIP/2.0 487")), "487");
    let counts = [
        Counter::CallsStarted,
        Counter::CallsFailed,
        Counter::CallsEnded,
    ];
    assert_eq!(counts.map(|counter| bench.count(counter)), [1, 1, 0]);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_re_invite_in_an_early_dialog_is_routed_and_is_not_the_calls_first() {
    let mut bench = Bench::new(2);
    let sent = to_callee(&bench.caller(0, &invite("eager", &sdp(CALLER_MEDIA))));
    let ringing = to_caller(&bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, "")));
    let eager = in_dialog("INVITE", "eager", "2", "b2", &ringing);
    let passed = sole(&bench.caller(0, &eager), "INVITE");
    let refused = answer(
        &passed,
        "500 Server Internal Error",
        "Retry-After: 5\r\n",
        "",
    );
    assert_eq!(
        status(&sole(&bench.callee(0, &refused), "SIP/2.0 500")),
        "500"
    );
    assert_eq!(
        bench.count(Counter::CallsFailed),
        0,
        "the first INVITE still rings"
    );
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(0, &ok));
    assert_eq!(bench.count(Counter::CallsAnswered), 1);
    end_by_caller(&mut bench, &answered);
    assert_eq!(bench.count(Counter::CallsEnded), 1);
}
