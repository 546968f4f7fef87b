//! How calls end that nobody ends: session timers (RFC 4028), and the box's own limit.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::Bench;
use bench::CALLEE;
use bench::CALLER;
use bench::Left;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::of_callee;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::header;
use bench::invite;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::lab;
use trunkline_dataplane::limits::CALL_MS_MAX;

/// What leaves when nothing happens for so many seconds; the time between is not turned through.
fn wait_s(bench: &mut Bench, seconds: u64) -> Vec<Left> {
    bench.left.clear();
    bench.now = bench.now.plus_ms(seconds * 1000);
    bench.turn();
    bench.left.drain(..).collect()
}

/// The text with more header lines.
fn with_lines(text: &str, lines: &str) -> String {
    text.replacen("Call-ID: ", &format!("{lines}Call-ID: "), 1)
}

/// A call whose 2xx says what `agreed` does; the 200 as it reached the caller.
fn agree(bench: &mut Bench, call_id: &str, asked: &str, agreed: &str) -> String {
    let invite = with_lines(&invite(call_id, &sdp(CALLER_MEDIA)), asked);
    let sent = to_callee(&bench.caller(0, &invite));
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(0, &with_lines(&ok, agreed)));
    let ack = in_dialog("ACK", call_id, "1", "b-ack", &answered);
    to_callee(&bench.caller(0, &ack));
    answered
}

/// The BYEs that left: to the caller, to the callee.
fn byes(left: &[Left]) -> [String; 2] {
    let found = [CALLER, CALLEE].map(|to| {
        let mut byes = left
            .iter()
            .filter(|left| left.destination == to)
            .map(Left::text)
            .filter(|text| text.starts_with("BYE "));
        (byes.next().unwrap_or_default(), byes.count())
    });
    assert_eq!((found[0].1, found[1].1), (0, 0), "one to each");
    found.map(|(text, _)| text)
}

const REFRESHED: &str = "Require: timer\r\nSession-Expires: 90;refresher=uac\r\n";

#[test]
fn a_session_that_is_not_refreshed_is_ended_at_both_sides() {
    let mut bench = Bench::new(1);
    let asked = "Supported: timer\r\nSession-Expires: 90\r\n";
    let answered = agree(&mut bench, "expires", asked, REFRESHED);
    assert_eq!(header(&answered, "Session-Expires"), "90;refresher=uac");
    wait_s(&mut bench, 80);
    let update = in_dialog("UPDATE", "expires", "2", "b2", &answered);
    let sent = to_callee(&bench.caller(0, &with_lines(&update, asked)));
    bench.callee(
        0,
        &answer(&sent, "200 OK", &format!("{CONTACT}{REFRESHED}"), ""),
    );
    // The 2xx of the UPDATE has set it anew.
    assert!(byes(&wait_s(&mut bench, 85)).iter().all(String::is_empty));
    let [to_caller, to_callee] = byes(&wait_s(&mut bench, 6));
    assert!(
        to_caller.starts_with("BYE sip:caller@10.77.1.2 SIP/2.0\r\n"),
        "{to_caller}"
    );
    assert!(
        to_callee.starts_with("BYE sip:callee@10.77.2.2 SIP/2.0\r\n"),
        "{to_callee}"
    );
    assert_eq!(header(&to_caller, "CSeq"), "1 BYE");
    assert_eq!(header(&to_callee, "CSeq"), "3 BYE");
    assert_eq!(header(&to_caller, "From"), "<sip:100@10.77.1.1>;tag=callee");
    assert_eq!(
        header(&to_caller, "To"),
        "<sip:caller@10.77.1.2>;tag=caller"
    );
    assert_eq!(
        header(&to_callee, "From"),
        "<sip:caller@10.77.1.2>;tag=caller"
    );
    assert_eq!(header(&to_callee, "Call-ID"), "expires");
    for (counter, count) in [
        (Counter::SessionsExpired, 1),
        (Counter::CallsPutDown, 1),
        (Counter::CallsEnded, 1),
        (Counter::ByesSent, 2),
    ] {
        assert_eq!(bench.count(counter), count, "{counter:?}");
    }
    // One answers, the other is dead: the BYE is repeated until Timer F.
    assert!(
        bench
            .caller(0, &answer(&to_caller, "200 OK", "", ""))
            .is_empty()
    );
    let again = bench.pass_ms(33_000);
    assert_eq!(
        again.len(),
        10,
        "{:?}",
        again.iter().map(Left::text).collect::<Vec<_>>()
    );
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_bye_of_ours_follows_route_sets_targets_and_numbers() {
    let mut bench = Bench::new(1);
    let near = "Record-Route: <sip:10.77.1.2:5060;lr;n=1>, <sip:p2.example;lr>\r\n";
    let text = with_lines(&invite("routes", &sdp(CALLER_MEDIA)), near).replacen(
        "CSeq: 1 ",
        "CSeq: 41 ",
        1,
    );
    let sent = to_callee(&bench.caller(0, &text));
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let far = "Record-Route: <sip:p4.example;lr>\r\nRecord-Route: \"P3\" <sip:10.77.2.2;lr>\r\nRecord-Route: ";
    let ok = ok.replacen("Record-Route: ", far, 1);
    let ok = with_lines(&ok, "Session-Expires: 90;refresher=uas\r\n");
    let answered = to_caller(&bench.callee(0, &ok));
    // The callee moves: its re-INVITE has another Contact.
    let routes: Vec<_> = answered
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .filter(|route| route.contains(";tl="))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    let moved = format!(
        "INVITE sip:caller@10.77.1.2 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.77.2.2;branch=z9hG4bKmoved\r\n{}\
         From: <sip:100@10.77.1.1>;tag=callee\r\nTo: <sip:caller@10.77.1.2>;tag=caller\r\n\
         Call-ID: routes\r\nCSeq: 900 INVITE\r\nContact: <sip:callee@10.77.2.2:5066>\r\n\
         Content-Length: 0\r\n\r\n",
        routes.concat()
    );
    let passed = to_caller(&bench.callee(0, &moved));
    let ok = answer(
        &passed,
        "200 OK",
        "Contact: <sip:caller@10.77.1.2:5077>\r\n",
        "",
    );
    to_callee(&bench.caller(0, &with_lines(&ok, "Session-Expires: 90;refresher=uas\r\n")));
    let [to_caller, to_callee] = byes(&wait_s(&mut bench, 91));
    assert!(
        to_caller.starts_with("BYE sip:caller@10.77.1.2:5077 "),
        "{to_caller}"
    );
    assert_eq!(
        header(&to_caller, "Route"),
        "<sip:10.77.1.2:5060;lr;n=1>, <sip:p2.example;lr>"
    );
    assert_eq!(header(&to_caller, "CSeq"), "901 BYE");
    assert!(
        to_callee.starts_with("BYE sip:callee@10.77.2.2:5066 "),
        "{to_callee}"
    );
    assert_eq!(
        header(&to_callee, "Route"),
        "\"P3\" <sip:10.77.2.2;lr>, <sip:p4.example;lr>"
    );
    assert_eq!(header(&to_callee, "CSeq"), "42 BYE");
}

#[test]
fn a_timer_is_asked_for_where_nobody_does_and_the_answer_is_completed() {
    let mut settings = lab::settings(1);
    settings.session.expires_s = 600;
    let mut bench = Bench::of(&settings);
    for (call_id, asked, agreed) in [
        ("neither", "", ""),
        (
            "caller",
            "Supported: 100rel, timer\r\n",
            "600;refresher=uac",
        ),
    ] {
        let text = with_lines(&invite(call_id, &sdp(CALLER_MEDIA)), asked).replacen(
            "z9hG4bKb1",
            &format!("z9hG4bK{call_id}"),
            1,
        );
        let sent = to_callee(&bench.caller(0, &text));
        assert_eq!(header(&sent, "Session-Expires"), "600");
        let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
        let answered = to_caller(&bench.callee(0, &ok));
        assert_eq!(header(&answered, "Session-Expires"), agreed, "{call_id}");
        assert_eq!(header(&answered, "Require") == "timer", !agreed.is_empty());
        let again = to_caller(&bench.callee(0, &ok));
        assert_eq!(again, answered, "a repeated 200 is completed alike");
    }
    wait_s(&mut bench, 601);
    assert_eq!(
        bench.count(Counter::SessionsExpired),
        1,
        "there is one session timer"
    );
    assert_eq!(bench.count(Counter::ByesSent), 2);
}

#[test]
fn too_short_an_interval_is_refused_with_the_least() {
    let mut settings = lab::settings(1);
    settings.session.min_s = 120;
    let mut bench = Bench::of(&settings);
    let asked = "Supported: timer\r\nSession-Expires: 100\r\n";
    let text = with_lines(&invite("short", &sdp(CALLER_MEDIA)), asked);
    for _ in 0..2 {
        let refused = to_caller(&bench.caller(0, &text));
        assert_eq!(status(&refused), "422");
        assert_eq!(header(&refused, "Min-SE"), "120");
    }
    assert_eq!(bench.count(Counter::SessionsTooSmall), 2);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_2xx_without_session_expires_turns_the_timer_off() {
    let mut bench = Bench::new(1);
    let asked = "Supported: timer\r\nSession-Expires: 90\r\n";
    let answered = agree(&mut bench, "off", asked, REFRESHED);
    let update = in_dialog("UPDATE", "off", "2", "b2", &answered);
    let sent = to_callee(&bench.caller(0, &update));
    bench.callee(0, &answer(&sent, "200 OK", CONTACT, ""));
    wait_s(&mut bench, 100);
    assert_eq!(bench.count(Counter::SessionsExpired), 0);
    assert_eq!(bench.count(Counter::CallsNow), 1);
}

#[test]
fn a_call_that_lasts_too_long_is_put_down() {
    let mut bench = Bench::new(1);
    establish(&mut bench, 0, "endless");
    let [to_caller, to_callee] = byes(&wait_s(&mut bench, CALL_MS_MAX / 1000 + 1));
    assert!(to_caller.contains("Longest duration"), "{to_caller}");
    assert!(to_callee.contains("Longest duration"));
    assert_eq!(bench.count(Counter::SessionsExpired), 0);
    assert_eq!(bench.count(Counter::CallsPutDown), 1);
}

#[test]
fn without_room_for_its_byes_a_call_waits() {
    let mut settings = lab::settings(1);
    settings.capacity.transactions = 4;
    let mut bench = Bench::of(&settings);
    agree(&mut bench, "waits", "", REFRESHED);
    bench.pass_ms(89_000);
    // Three clients more: one is still free.
    for n in 0..2 {
        let text = bench::request("OPTIONS", "full", "1", &format!("b-full{n}"), "", "");
        bench.caller(0, &text);
    }
    assert_eq!(bench.count(Counter::CallsPutDown), 0);
    let left = bench.pass_ms(40_000);
    assert_eq!(bench.count(Counter::ByesSent), 2);
    assert_eq!(byes(&left[left.len() - 2..]).len(), 2);
}

#[test]
fn a_dialog_that_finds_no_room_is_freed_without_a_bye() {
    let mut settings = lab::settings(1);
    settings.capacity.calls = 1;
    let mut bench = Bench::of(&settings);
    let long = format!("Contact: <sip:{}@10.77.2.2>\r\n", "x".repeat(700));
    let text = invite("unkept", &sdp(CALLER_MEDIA));
    let sent = to_callee(&bench.caller(0, &text));
    let ok = answer(&sent, "200 OK", &long, &sdp(CALLEE_MEDIA));
    bench.callee(0, &with_lines(&ok, "Session-Expires: 90;refresher=uas\r\n"));
    assert_eq!(bench.count(Counter::DialogsUnkept), 1);
    wait_s(&mut bench, 91);
    assert_eq!(bench.count(Counter::ByesUnsent), 2);
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn the_2xx_of_another_fork_changes_nothing_of_the_dialog() {
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("forked", &sdp(CALLER_MEDIA))));
    for (tag, contact, expires) in [("one", "first", "90"), ("two", "second", "7200")] {
        let lines = format!(
            "Contact: <sip:{contact}@10.77.2.2>\r\nSession-Expires: {expires};refresher=uac\r\n"
        );
        let ok = answer(&sent, "200 OK", &lines, &sdp(CALLEE_MEDIA));
        to_caller(&bench.callee(0, &ok.replacen("tag=callee", &format!("tag={tag}"), 1)));
    }
    let [_, to_callee] = byes(&wait_s(&mut bench, 91));
    assert!(
        to_callee.starts_with("BYE sip:first@10.77.2.2 "),
        "{to_callee}"
    );
    assert!(header(&to_callee, "To").ends_with(";tag=one"));
}

#[test]
fn a_party_whose_route_set_was_not_kept_gets_no_bye_past_it() {
    let mut bench = Bench::new(1);
    let routes: String = (0..17)
        .map(|n| format!("Record-Route: <sip:10.77.1.2;lr;n={n}>\r\n"))
        .collect();
    let text = with_lines(&invite("routed", &sdp(CALLER_MEDIA)), &routes);
    let sent = to_callee(&bench.caller(0, &text));
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(0, &ok));
    // Its UPDATE, which those proxies have seen, names its target once more.
    let answered = answered.replace(&routes, "");
    let update = in_dialog("UPDATE", "routed", "2", "b2", &answered);
    let sent = to_callee(&bench.caller(0, &update));
    let ok = answer(&sent, "200 OK", &format!("{CONTACT}{REFRESHED}"), "");
    bench.callee(0, &ok);
    let [to_caller, to_callee] = byes(&wait_s(&mut bench, 91));
    assert_eq!(to_caller, "");
    assert!(to_callee.starts_with("BYE sip:callee@10.77.2.2 "));
    assert_eq!(bench.count(Counter::ByesUnsent), 1);
    assert_eq!(bench.count(Counter::CallsPutDown), 1);
}

#[test]
fn after_a_restart_who_is_behind_a_proxy_gets_no_bye_past_it() {
    for (via, unsent) in [("", 0), ("Via: SIP/2.0/UDP p2;branch=z9hG4bKp2\r\n", 1)] {
        let (_, answered) = establish(&mut Bench::new(1), 0, "behind");
        let mut bench = Bench::restarted(1);
        let again = in_dialog("INVITE", "behind", "7", "b7", &answered);
        let again = again.replacen("Max-Forwards", &format!("{via}Max-Forwards"), 1);
        let sent = to_callee(&bench.caller(0, &again));
        let lines = format!("{CONTACT}{REFRESHED}");
        bench.callee(0, &answer(&sent, "200 OK", &lines, ""));
        let [to_caller, to_callee] = byes(&wait_s(&mut bench, 91));
        assert_eq!(to_caller.is_empty(), unsent == 1, "{to_caller}");
        assert_eq!(header(&to_callee, "CSeq"), "8 BYE");
        assert_eq!(bench.count(Counter::ByesUnsent), unsent);
    }
}

#[test]
fn the_numbers_of_our_byes_stay_below_2_31() {
    let mut bench = Bench::new(1);
    let highest = |text: &str| text.replacen("CSeq: 1 ", "CSeq: 2147483647 ", 1);
    let text = highest(&invite("highest", &sdp(CALLER_MEDIA)));
    let sent = to_callee(&bench.caller(0, &text));
    let lines = format!("{CONTACT}{REFRESHED}");
    bench.callee(0, &answer(&sent, "200 OK", &lines, &sdp(CALLEE_MEDIA)));
    let [to_caller, to_callee] = byes(&wait_s(&mut bench, 91));
    assert_eq!(header(&to_caller, "CSeq"), "1 BYE");
    assert_eq!(to_callee, "", "it would have no number");
    assert_eq!(bench.count(Counter::ByesUnsent), 1);
}

#[test]
fn after_a_restart_a_partys_numbers_are_known_once_it_has_spoken() {
    let (_, answered) = establish(&mut Bench::new(1), 0, "counted");
    let mut bench = Bench::restarted(1);
    let again = in_dialog("INVITE", "counted", "7", "b7", &answered);
    let sent = to_callee(&bench.caller(0, &again));
    let lines = format!("{CONTACT}{REFRESHED}");
    bench.callee(0, &answer(&sent, "200 OK", &lines, ""));
    to_caller(&bench.callee(0, &of_callee("INFO", "500", &answered)));
    let [to_caller, to_callee] = byes(&wait_s(&mut bench, 91));
    assert_eq!(header(&to_caller, "CSeq"), "501 BYE");
    assert_eq!(header(&to_callee, "CSeq"), "8 BYE");
}
