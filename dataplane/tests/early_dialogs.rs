//! Early dialogs (RFC 3261 §12.1) of a fork beyond the box: they share the call, one of them becomes
//! it, and what is said in the others is nothing to it from then on.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::CALLER;
use bench::CORE;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::only;
use bench::call::relayed;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::invite;
use bench::sdp;
use bench::with_sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::lab;
use trunkline_dataplane::ring::FakeConfig;

const MOVED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2)), 6100);

/// `text` with the To tag `tag` in the place of the one that [`answer`] gives.
fn tagged(text: &str, tag: &str) -> String {
    text.replace(";tag=callee", &format!(";tag={tag}"))
}

#[test]
fn early_dialogs_share_the_call_and_the_2xx_decides_which_one_it_is() {
    let mut bench = Bench::new(2);
    let sent = to_callee(&bench.caller(0, &invite("forked", &sdp(CALLER_MEDIA))));
    let ringing = answer(&sent, "180 Ringing", CONTACT, "");
    for tag in ["one", "two"] {
        to_caller(&bench.callee(0, &tagged(&ringing, tag)));
    }
    let ok = tagged(&answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA)), "two");
    // In either early dialog the caller's media may be moved.
    let early = to_caller(&bench.callee(0, &tagged(&ringing, "one")));
    let update = in_dialog("UPDATE", "forked", "2", "b2", &early);
    let updated = to_callee(&bench.caller(0, &with_sdp(&update, &sdp(MOVED))));
    assert_ne!(media_in(&updated), MOVED, "it is anchored");
    bench.callee(0, &tagged(&answer(&updated, "200 OK", CONTACT, ""), "one"));

    let answered = to_caller(&bench.callee(0, &ok));
    assert_eq!(bench.count(Counter::CallsAnswered), 1);
    // A BYE of the dialog that was not confirmed is routed and ends nothing of the call.
    let other = in_dialog("BYE", "forked", "3", "b3", &early);
    let passed = to_callee(&bench.caller(0, &other));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
    assert_eq!(bench.count(Counter::CallsEnded), 0);
    let bye = in_dialog("BYE", "forked", "4", "b4", &answered);
    let passed = to_callee(&bench.caller(0, &bye));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn early_dialogs_beyond_those_that_are_kept_are_routed_and_counted() {
    let mut bench = Bench::new(2);
    let sent = to_callee(&bench.caller(0, &invite("many", &sdp(CALLER_MEDIA))));
    let ringing = answer(&sent, "180 Ringing", CONTACT, "");
    for tag in ["1", "2", "3", "4", "5"] {
        to_caller(&bench.callee(0, &tagged(&ringing, tag)));
    }
    assert_eq!(bench.count(Counter::DialogsRefused), 1);
    let fifth = to_caller(&bench.callee(0, &tagged(&ringing, "5")));
    let update = in_dialog("UPDATE", "many", "2", "b2", &fifth);
    to_callee(&bench.caller(0, &update));
    // The confirmed one always finds room.
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(0, &tagged(&ok, "5")));
    let bye = in_dialog("BYE", "many", "3", "b3", &answered);
    let passed = to_callee(&bench.caller(0, &bye));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
    assert_eq!(bench.count(Counter::CallsEnded), 1);
}

#[test]
fn a_call_with_many_early_dialogs_leaves_room_for_the_second_one_of_others() {
    let mut settings = lab::settings(1);
    settings.capacity.calls = 12;
    let network = lab::network(1, 1500, &lab::everybody());
    let mut bench = Bench::with(&settings, FakeConfig::default(), &network);
    for (call_id, tags) in [("many", 4), ("two", 2), ("too", 2)] {
        let text = invite(call_id, &sdp(CALLER_MEDIA)).replacen("bKb1", call_id, 1);
        let sent = to_callee(&bench.caller(0, &text));
        let ringing = answer(&sent, "180 Ringing", CONTACT, "");
        for tag in 0..tags {
            to_caller(&bench.callee(0, &tagged(&ringing, &tag.to_string())));
        }
        assert_eq!(bench.count(Counter::DialogsRefused), 1, "{call_id}");
    }
}

/// A call of which the dialogs `one` and `two` ring: the INVITE as the callee got it, and a
/// response of `two` as the caller got it.
fn ringing(bench: &mut Bench, call_id: &str) -> (String, String) {
    let sent = to_callee(&bench.caller(0, &invite(call_id, &sdp(CALLER_MEDIA))));
    let ringing = answer(&sent, "183 Session Progress", CONTACT, "");
    to_caller(&bench.callee(0, &tagged(&ringing, "one")));
    let two = to_caller(&bench.callee(0, &tagged(&ringing, "two")));
    (sent, two)
}

/// Has the dialog `one` become the call, with these lines in its 200; what the caller gets.
fn confirm_one(bench: &mut Bench, sent: &str, lines: &str) -> String {
    let lines = format!("{CONTACT}{lines}");
    let ok = answer(sent, "200 OK", &lines, &sdp(CALLEE_MEDIA));
    to_caller(&bench.callee(0, &tagged(&ok, "one")))
}

/// The call ends as calls do, by a BYE in the dialog of `answered`.
fn hangs_up(bench: &mut Bench, call_id: &str, answered: &str) {
    assert_eq!(bench.count(Counter::CallsEnded), 0, "{call_id}");
    let bye = in_dialog("BYE", call_id, "9", "b-bye", answered);
    let passed = to_callee(&bench.caller(0, &bye));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
    assert_eq!(bench.count(Counter::CallsEnded), 1, "{call_id}");
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_bye_in_an_early_dialog_that_has_lost_ends_nothing() {
    for answers in [true, false] {
        let mut bench = Bench::new(1);
        let (sent, two) = ringing(&mut bench, "bye");
        let bye = to_callee(&bench.caller(0, &in_dialog("BYE", "bye", "2", "b2", &two)));
        let answered = confirm_one(&mut bench, &sent, "");
        if answers {
            to_caller(&bench.callee(0, &answer(&bye, "200 OK", "", "")));
        } else {
            bench.pass_ms(33_000);
        }
        let at_access = media_in(&answered);
        assert_eq!(
            relayed(&mut bench, CALLER_MEDIA, at_access),
            Some(CALLEE_MEDIA)
        );
        hangs_up(&mut bench, "bye", &answered);
    }
}

#[test]
fn an_early_dialog_that_is_gone_is_nothing_to_the_call() {
    let mut bench = Bench::new(1);
    let (sent, two) = ringing(&mut bench, "gone");
    let update = to_callee(&bench.caller(0, &in_dialog("UPDATE", "gone", "2", "b2", &two)));
    let answered = confirm_one(&mut bench, &sent, "");
    // Who forked the INVITE has cancelled it there.
    let gone = answer(&update, "481 Call/Transaction Does Not Exist", "", "");
    to_caller(&bench.callee(0, &gone));
    hangs_up(&mut bench, "gone", &answered);
}

#[test]
fn an_early_dialog_that_has_lost_sets_no_session_timer() {
    let mut bench = Bench::new(1);
    let (sent, two) = ringing(&mut bench, "timer");
    let update = to_callee(&bench.caller(0, &in_dialog("UPDATE", "timer", "2", "b2", &two)));
    let answered = confirm_one(&mut bench, &sent, "");
    let lines = format!("{CONTACT}Session-Expires: 90;refresher=uac\r\n");
    to_caller(&bench.callee(0, &answer(&update, "200 OK", &lines, "")));
    bench.now = bench.now.plus_ms(100_000);
    bench.turn();
    hangs_up(&mut bench, "timer", &answered);
}

#[test]
fn an_early_dialog_that_has_lost_neither_ends_a_session_timer_nor_moves_the_target() {
    let mut bench = Bench::new(1);
    let (sent, two) = ringing(&mut bench, "watch");
    let update = to_callee(&bench.caller(0, &in_dialog("UPDATE", "watch", "2", "b2", &two)));
    confirm_one(&mut bench, &sent, "Session-Expires: 90;refresher=uac\r\n");
    let other = "Contact: <sip:other@10.77.2.2:5070>\r\n";
    to_caller(&bench.callee(0, &answer(&update, "200 OK", other, "")));
    bench.left.clear();
    bench.now = bench.now.plus_ms(100_000);
    bench.turn();
    let left: Vec<_> = bench.left.drain(..).collect();
    let bye = only(&left, CORE, CALLEE);
    assert!(bye.starts_with("BYE sip:callee@10.77.2.2 "), "{bye}");
}

#[test]
fn an_update_in_an_early_dialog_begins_no_call() {
    let mut bench = Bench::new(1);
    let (sent, two) = ringing(&mut bench, "lost");
    let answered = confirm_one(&mut bench, &sent, "");
    let update = in_dialog("UPDATE", "lost", "2", "b2", &two);
    let passed = to_callee(&bench.caller(0, &update));
    let lines = format!("{CONTACT}Session-Expires: 90;refresher=uac\r\n");
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", &lines, "")));
    assert_eq!(bench.count(Counter::CallsNow), 1);
    // Its media would pass the box by.
    let update = in_dialog("UPDATE", "lost", "3", "b3", &two);
    let refused = to_caller(&bench.caller(0, &with_sdp(&update, &sdp(MOVED))));
    assert_eq!(status(&refused), "503");
    let prack = in_dialog("PRACK", "lost", "4", "b4", &two);
    let prack = prack.replacen("Call-ID", "RAck: 1 1 INVITE\r\nCall-ID", 1);
    let refused = to_caller(&bench.caller(0, &with_sdp(&prack, &sdp(MOVED))));
    assert_eq!(status(&refused), "503");
    assert_eq!(bench.count(Counter::OffersRefused), 2);
    bench.left.clear();
    bench.now = bench.now.plus_ms(100_000);
    bench.turn();
    assert!(bench.left.is_empty(), "nobody is hung up on");
    hangs_up(&mut bench, "lost", &answered);
}

#[test]
fn the_dialog_of_a_second_200_is_taken_up_by_its_re_invite() {
    let mut bench = Bench::new(1);
    let (sent, _) = ringing(&mut bench, "second");
    let one = confirm_one(&mut bench, &sent, "");
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let two = to_caller(&bench.callee(0, &tagged(&ok, "two")));
    // The caller keeps the second.
    hangs_up(&mut bench, "second", &one);
    let again = in_dialog("INVITE", "second", "10", "b10", &two);
    let passed = to_callee(&bench.caller(0, &with_sdp(&again, &sdp(MOVED))));
    let ok = answer(&passed, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(0, &ok));
    let at_access = media_in(&answered);
    assert_eq!(relayed(&mut bench, MOVED, at_access), Some(CALLEE_MEDIA));
    assert_eq!(bench.count(Counter::CallsNow), 1);
}

#[test]
fn the_first_call_keeps_its_tags() {
    let mut bench = Bench::new(1);
    let (_, answered) = establish(&mut bench, 0, "twice");
    // Another call of the same names, to somebody else, whose callee takes the same tag.
    let other = invite("twice", &sdp(MOVED))
        .replace("sip:100@", "sip:200@")
        .replacen("CSeq: 1 ", "CSeq: 2 ", 1)
        .replacen("z9hG4bKb1", "z9hG4bKb2", 1);
    let sent = to_callee(&bench.caller(0, &other));
    to_caller(&bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, "")));
    assert_eq!(bench.count(Counter::DialogsRefused), 1);
    let bye = in_dialog("BYE", "twice", "3", "b-bye", &answered);
    let passed = to_callee(&bench.caller(0, &bye));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
    assert_eq!(bench.count(Counter::CallsEnded), 1);
}

#[test]
fn a_call_that_was_taken_up_too_early_makes_room_for_the_one_that_it_is() {
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("soon", &sdp(CALLER_MEDIA))));
    let ringing = answer(&sent, "180 Ringing", CONTACT, "");
    for tag in ["1", "2", "3", "4"] {
        to_caller(&bench.callee(0, &tagged(&ringing, tag)));
    }
    let fifth = to_caller(&bench.callee(0, &tagged(&ringing, "5")));
    // A re-INVITE has no place in an early dialog.
    let again = in_dialog("INVITE", "soon", "2", "b2", &fifth);
    let passed = to_callee(&bench.caller(0, &with_sdp(&again, &sdp(MOVED))));
    let ok = answer(&passed, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    only(&bench.callee(0, &ok), ACCESS, CALLER);
    assert_eq!(bench.count(Counter::CallsNow), 2);
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(0, &tagged(&ok, "5")));
    bench.pass_ms(1_000);
    assert_eq!(bench.count(Counter::CallsNow), 1);
    let bye = in_dialog("BYE", "soon", "9", "b9", &answered);
    let passed = to_callee(&bench.caller(0, &bye));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn calls_that_ring_leave_room_for_one_that_was_taken_up_again_by_an_update() {
    let (_, answered) = establish(&mut Bench::new(1), 0, "held");
    let mut settings = lab::settings(1);
    settings.boot += 1;
    // Seven sessions can be put aside, three of them by answered calls alone.
    settings.capacity.calls = 24;
    let network = lab::network(1, 1500, &lab::everybody());
    let mut bench = Bench::with(&settings, FakeConfig::default(), &network);
    let update = |bench: &mut Bench, cseq: &str| {
        let update = in_dialog("UPDATE", "held", cseq, &format!("b{cseq}"), &answered);
        let passed = to_callee(&bench.caller(0, &with_sdp(&update, &sdp(CALLER_MEDIA))));
        let ok = answer(&passed, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
        to_caller(&bench.callee(0, &ok));
    };
    update(&mut bench, "2");
    for n in 0..6 {
        let call_id = format!("rings{n}");
        let text = invite(&call_id, &sdp(CALLER_MEDIA)).replacen("bKb1", &call_id, 1);
        let sent = to_callee(&bench.caller(0, &text));
        let early = answer(&sent, "183 Session Progress", CONTACT, &sdp(CALLEE_MEDIA));
        for tag in ["one", "two"] {
            to_caller(&bench.callee(0, &tagged(&early, tag)));
        }
    }
    update(&mut bench, "3");
    assert_eq!(bench.count(Counter::OffersRefused), 0);
}
