//! What an established call lets happen to itself, and what not.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLER;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::MOVED;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::of_callee;
use bench::call::only;
use bench::call::relayed;
use bench::call::sole;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::invite;
use bench::sdp;
use bench::with_sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::trunks;
use trunkline_dataplane::counters::trunks::TrunkCounts;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::lab;

#[test]
fn a_cookie_in_strange_hands_opens_nothing() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "seen");
    let stranger = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66)), 5060);
    for method in ["INVITE", "BYE", "ACK", "MESSAGE"] {
        let forged = in_dialog(method, "seen", "9", "b-forged", &answered);
        assert!(
            bench.say(0, stranger, ACCESS, &forged).is_empty(),
            "{method}"
        );
    }
    assert_eq!(bench.count(Counter::SipSourceUnknown), 4);
    assert_eq!(bench.count(Counter::CallsNow), 1);
}

#[test]
fn nobody_sends_through_the_box_to_whom_they_like() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "abroad");
    let message = in_dialog("MESSAGE", "abroad", "2", "b2", &answered);
    let abroad = message.replacen("sip:callee@10.77.2.2", "sip:callee@192.0.2.66", 1);
    // The call is known: it goes to the other party, wherever the Request-URI points.
    let left = to_callee(&bench.caller(0, &abroad));
    assert!(left.starts_with("MESSAGE sip:callee@192.0.2.66 "));
}

#[test]
fn a_rejected_re_invite_changes_nothing() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "rejected");
    let at_access = media_in(&answered);
    assert_eq!(
        relayed(&mut bench, CALLER_MEDIA, at_access),
        Some(CALLEE_MEDIA)
    );
    for (cseq, refusal) in [
        ("2", "488 Not Acceptable Here"),
        ("3", "491 Request Pending"),
    ] {
        let invite = in_dialog("INVITE", "rejected", cseq, &format!("b{cseq}"), &answered);
        let sent = to_callee(&bench.caller(0, &with_sdp(&invite, &sdp(MOVED))));
        // Until the answer the offerer sends from where it did.
        assert_eq!(relayed(&mut bench, MOVED, at_access), None);
        assert_eq!(
            relayed(&mut bench, CALLER_MEDIA, at_access),
            Some(CALLEE_MEDIA)
        );
        let refused = answer(&sent, refusal, "", "");
        bench.callee(0, &refused);
        assert_eq!(
            relayed(&mut bench, CALLER_MEDIA, at_access),
            Some(CALLEE_MEDIA)
        );
        assert_eq!(relayed(&mut bench, MOVED, at_access), None);
    }
}

#[test]
fn an_accepted_re_invite_moves_the_media() {
    let mut bench = Bench::new(2);
    let (sent, answered) = establish(&mut bench, 0, "moved");
    let (at_core, at_access) = (media_in(&sent), media_in(&answered));
    let invite = in_dialog("INVITE", "moved", "2", "b2", &answered);
    let sent = to_callee(&bench.caller(0, &with_sdp(&invite, &sdp(MOVED))));
    bench.callee(0, &answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA)));
    assert_eq!(relayed(&mut bench, MOVED, at_access), Some(CALLEE_MEDIA));
    assert_eq!(relayed(&mut bench, CALLEE_MEDIA, at_core), Some(MOVED));
    assert_eq!(relayed(&mut bench, CALLER_MEDIA, at_access), None);
}

#[test]
fn a_hold_of_old_silences_one_way_only() {
    let mut bench = Bench::new(2);
    let (sent, answered) = establish(&mut bench, 0, "hold");
    let (at_core, at_access) = (media_in(&sent), media_in(&answered));
    let invite = in_dialog("INVITE", "hold", "2", "b2", &answered);
    let held = sdp(CALLER_MEDIA).replace("c=IN IP4 10.77.1.2", "c=IN IP4 0.0.0.0");
    let sent = to_callee(&bench.caller(0, &with_sdp(&invite, &held)));
    assert!(sent.contains("c=IN IP4 0.0.0.0"), "{sent}");
    bench.callee(0, &answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA)));
    // Music on hold passes; what the other says does not.
    assert_eq!(
        relayed(&mut bench, CALLER_MEDIA, at_access),
        Some(CALLEE_MEDIA)
    );
    assert_eq!(relayed(&mut bench, CALLEE_MEDIA, at_core), None);
}

#[test]
fn the_sdp_of_an_options_is_no_answer() {
    let mut bench = Bench::new(2);
    let (sent, answered) = establish(&mut bench, 0, "able");
    let (at_core, at_access) = (media_in(&sent), media_in(&answered));
    let options = in_dialog("OPTIONS", "able", "2", "b2", &answered);
    let sent = to_callee(&bench.caller(0, &options));
    let able = sdp(CALLEE_MEDIA).replace("m=audio 7000", "m=audio 0");
    let passed = to_caller(&bench.callee(0, &answer(&sent, "200 OK", CONTACT, &able)));
    assert!(passed.contains("m=audio 0"));
    assert_eq!(
        relayed(&mut bench, CALLER_MEDIA, at_access),
        Some(CALLEE_MEDIA)
    );
    assert_eq!(
        relayed(&mut bench, CALLEE_MEDIA, at_core),
        Some(CALLER_MEDIA)
    );
}

#[test]
fn a_re_invite_that_crossed_a_bye_leaves_nothing() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "crossed");
    let bye = in_dialog("BYE", "crossed", "2", "b2", &answered);
    let bye = to_callee(&bench.caller(0, &bye));
    bench.callee(0, &answer(&bye, "200 OK", "", ""));
    let late = in_dialog("INVITE", "crossed", "3", "b3", &answered);
    let late = to_callee(&bench.caller(0, &with_sdp(&late, &sdp(MOVED))));
    let gone = answer(&late, "481 Call/Transaction Does Not Exist", "", "");
    let left = bench.callee(0, &gone);
    assert!(left.iter().any(|left| left.destination == CALLER));
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_party_that_knows_no_such_dialog_ends_the_call() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "unknown");
    for (cseq, method, ended) in [("2", "NOTIFY", 0), ("3", "UPDATE", 1)] {
        let request = in_dialog(method, "unknown", cseq, &format!("b{cseq}"), &answered);
        let request = to_callee(&bench.caller(0, &request));
        let gone = answer(&request, "481 Call/Transaction Does Not Exist", "", "");
        bench.callee(0, &gone);
        assert_eq!(bench.count(Counter::CallsEnded), ended, "{method}");
    }
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn our_refusal_of_a_re_invite_ends_with_its_ack() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "refused");
    let invite = in_dialog("INVITE", "refused", "2", "b2", &answered);
    let unusable = with_sdp(
        &invite,
        &sdp(MOVED).replace("c=IN IP4 10.77.1.2", "c=IN IP6 ::1"),
    );
    for _ in 0..2 {
        let refused = to_caller(&bench.caller(0, &unusable));
        assert_eq!(status(&refused), "488");
    }
    assert_eq!(
        bench.count(Counter::SdpUnusable),
        1,
        "the repetition is remembered"
    );
    let ack = in_dialog("ACK", "refused", "2", "b2", &answered);
    assert!(
        bench.caller(0, &ack).is_empty(),
        "it must not reach the callee"
    );
}

const ASIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2)), 7100);

#[test]
fn the_other_party_cannot_speak_for_this_one() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "posing");
    // The callee's trunk, with what only the caller says.
    let posing = in_dialog("BYE", "posing", "9", "b9", &answered);
    let left = bench.callee(0, &posing);
    assert_eq!(status(&left[0].text()), "481");
    assert_eq!(bench.count(Counter::CallsNow), 1);
}

#[test]
fn a_rejection_takes_an_early_answer_back_as_well() {
    let mut bench = Bench::new(2);
    let (sent, answered) = establish(&mut bench, 0, "early");
    let (at_core, at_access) = (media_in(&sent), media_in(&answered));
    let invite = in_dialog("INVITE", "early", "2", "b2", &answered);
    let sent = to_callee(&bench.caller(0, &with_sdp(&invite, &sdp(MOVED))));
    bench.callee(
        0,
        &answer(&sent, "183 Session Progress", CONTACT, &sdp(ASIDE)),
    );
    assert_eq!(relayed(&mut bench, MOVED, at_access), Some(ASIDE));
    bench.callee(0, &answer(&sent, "486 Busy Here", "", ""));
    assert_eq!(
        relayed(&mut bench, CALLER_MEDIA, at_access),
        Some(CALLEE_MEDIA)
    );
    assert_eq!(
        relayed(&mut bench, CALLEE_MEDIA, at_core),
        Some(CALLER_MEDIA)
    );
    assert_eq!(relayed(&mut bench, ASIDE, at_core), None);
}

#[test]
fn a_repeated_200_does_not_undo_what_came_after_it() {
    let mut bench = Bench::new(2);
    let (sent, answered) = establish(&mut bench, 0, "repeated");
    let at_access = media_in(&answered);
    let update = in_dialog("UPDATE", "repeated", "2", "b2", &answered);
    let updated = to_callee(&bench.caller(0, &with_sdp(&update, &sdp(CALLER_MEDIA))));
    bench.callee(0, &answer(&updated, "200 OK", CONTACT, &sdp(ASIDE)));
    assert_eq!(relayed(&mut bench, CALLER_MEDIA, at_access), Some(ASIDE));
    let again = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let again = to_caller(&bench.callee(0, &again));
    assert_eq!(media_in(&again), at_access, "it is rewritten all the same");
    assert_eq!(relayed(&mut bench, CALLER_MEDIA, at_access), Some(ASIDE));
}

/// The counts of trunk `index`, in the order of their table, over all workers.
fn trunk(bench: &Bench, index: u16) -> Vec<u64> {
    let mut all = TrunkCounts::default();
    for worker in &bench.workers {
        all.merge(&worker.trunk_counters().get(TrunkIndex(index)));
    }
    let rows = trunks::TABLE.iter().filter(|row| !row.is_of_domain);
    rows.map(|row| all.get(row.counter)).collect()
}

#[test]
fn each_trunk_has_its_own_counts() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "counted");
    // requests in, out, failovers, rejected; calls in, answered, out, answered, now
    assert_eq!(trunk(&bench, 0), [1, 0, 0, 0, 1, 1, 0, 0, 1]);
    assert_eq!(trunk(&bench, 1), [0, 1, 0, 0, 0, 0, 1, 1, 1]);
    let message = in_dialog("MESSAGE", "unknown", "2", "b-481", &answered);
    bench.caller(1, &message);
    let bye = in_dialog("BYE", "counted", "2", "b-bye", &answered);
    let sent = to_callee(&bench.caller(0, &bye));
    bench.callee(0, &answer(&sent, "200 OK", "", ""));
    assert_eq!(trunk(&bench, 0)[..4], [3, 0, 0, 1]);
    assert_eq!(trunk(&bench, 1)[..4], [0, 2, 0, 0]);
    // Its media may pass for a moment yet; then it is gone.
    assert_eq!((trunk(&bench, 0)[8], trunk(&bench, 1)[8]), (1, 1));
    bench.pass_ms(1000);
    assert_eq!((trunk(&bench, 0)[8], trunk(&bench, 1)[8]), (0, 0));
}

#[test]
fn a_spiral_over_the_same_listen_is_two_calls() {
    let mut settings = lab::settings(1);
    // Whatever comes from the caller's trunk goes back there.
    settings.routes[0].to[0].trunk = TrunkIndex(0);
    let mut bench = Bench::of(&settings);
    let out = sole(
        &bench.caller(0, &invite("spiral", &sdp(CALLER_MEDIA))),
        "INVITE",
    );
    // A proxy there sends it on to another number, by the box.
    let via = "Via: SIP/2.0/UDP 10.77.1.2;branch=z9hG4bKproxy\r\n";
    let back = out
        .replacen("INVITE sip:100", "INVITE sip:200", 1)
        .replacen("Via: ", &format!("{via}Via: "), 1)
        .replacen(
            "Record-Route: ",
            "Record-Route: <sip:10.77.1.2;lr>\r\nRecord-Route: ",
            1,
        );
    let sent = sole(&bench.caller(0, &back), "INVITE");
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let inner = only(&bench.caller(0, &ok), ACCESS, CALLER);
    let inner = inner.replacen(via, "", 1);
    let answered = only(&bench.caller(0, &inner), ACCESS, CALLER);
    assert_eq!(bench.count(Counter::CallsAnswered), 2);
    let bye = in_dialog("BYE", "spiral", "2", "b-bye", &answered);
    let bye = bye.replacen("sip:callee@10.77.2.2", "sip:callee@10.77.1.2", 1);
    let first = only(&bench.caller(0, &bye), ACCESS, CALLER);
    assert!(
        first.contains("\r\nRoute: <sip:10.77.1.2;lr>\r\n"),
        "{first}"
    );
    // The proxy takes its own Route away.
    let second = first
        .replacen("Route: <sip:10.77.1.2;lr>\r\n", "", 1)
        .replacen("Via: ", &format!("{}Via: ", via.replace("proxy", "p2")), 1);
    let last = only(&bench.caller(0, &second), ACCESS, CALLER);
    assert!(!last.contains("\r\nRoute: "), "{last}");
    let ok = only(
        &bench.caller(0, &answer(&last, "200 OK", "", "")),
        ACCESS,
        CALLER,
    );
    let ok = ok.replacen(&via.replace("proxy", "p2"), "", 1);
    only(&bench.caller(0, &ok), ACCESS, CALLER);
    assert_eq!(bench.count(Counter::CallsEnded), 2);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_callee_of_rfc_2543_without_a_tag_has_a_dialog_too() {
    let mut bench = Bench::new(2);
    let untagged = |text: &str| text.replace(";tag=callee", "");
    let sent = to_callee(&bench.caller(0, &invite("old", &sdp(CALLER_MEDIA))));
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(0, &untagged(&ok)));
    let at_access = media_in(&answered);
    let again = in_dialog("INVITE", "old", "2", "b2", &answered);
    let sent = sole(&bench.caller(0, &with_sdp(&again, &sdp(MOVED))), "INVITE");
    assert!(!sent.contains("Record-Route"), "it is no new one: {sent}");
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    bench.callee(0, &untagged(&ok));
    assert_eq!(relayed(&mut bench, MOVED, at_access), Some(CALLEE_MEDIA));
    let bye = of_callee("BYE", "1", &answered).replacen(";tag=callee", "", 1);
    let passed = to_caller(&bench.callee(0, &bye));
    to_callee(&bench.caller(0, &answer(&passed, "200 OK", "", "")));
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}
