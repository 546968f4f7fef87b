//! In-dialog requests are routed by the cookie in their Route, whatever the box remembers, and
//! by nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::Bench;
use bench::CALLEE;
use bench::CORE;
use bench::Left;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::of_callee;
use bench::call::sole;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::header;
use bench::invite;
use bench::sdp;
use bench::with_sdp;
use trunkline_dataplane::counters::Counter;

#[test]
fn a_dialog_goes_on_after_a_restart_with_another_number_of_workers() {
    let (sent, answered) = establish(&mut Bench::new(2), 0, "survivor");
    for workers in [1, 3] {
        let mut bench = Bench::restarted(workers);
        // A late response of the box that was finds nobody.
        assert!(
            bench
                .callee(0, &answer(&sent, "200 OK", CONTACT, ""))
                .is_empty()
        );
        assert_eq!(bench.count(Counter::SipBranchStale), 1);
        for (cseq, method) in [("2", "INFO"), ("3", "MESSAGE")] {
            let request = in_dialog(method, "survivor", cseq, &format!("b{cseq}"), &answered);
            let passed = to_callee(&bench.caller(0, &request));
            assert!(
                !passed.contains("\r\nRoute: "),
                "both values of ours are gone: {passed}"
            );
            let ok = to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
            assert_eq!(status(&ok), "200");
        }
        let info = of_callee("INFO", "1", &answered);
        to_caller(&bench.callee(0, &info));
        assert_eq!(
            bench.count(Counter::CallsNow),
            0,
            "there is no call in that"
        );
        // A re-INVITE brings the call back, with its media.
        let invite = of_callee("INVITE", "2", &answered);
        let invite = with_sdp(&invite, &sdp(CALLEE_MEDIA));
        let passed = sole(&bench.callee(0, &invite), "INVITE");
        assert_ne!(media_in(&passed), CALLEE_MEDIA);
        let contact = "Contact: <sip:caller@10.77.1.2>\r\n";
        let ok = answer(&passed, "200 OK", contact, &sdp(CALLER_MEDIA));
        let ok = sole(&bench.caller(0, &ok), "SIP/2.0 200");
        assert_ne!(media_in(&ok), CALLER_MEDIA);
        let ack = of_callee("ACK", "2", &answered);
        sole(&bench.callee(0, &ack), "ACK");
        assert_eq!(bench.count(Counter::CallsNow), 1);
        let bye = in_dialog("BYE", "survivor", "9", "b9", &answered);
        let passed = to_callee(&bench.caller(0, &bye));
        to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
        assert_eq!(bench.count(Counter::CallsEnded), 1);
        bench.pass_ms(70_000);
        bench.assert_at_rest();
    }
}

#[test]
fn a_call_that_was_taken_up_again_is_ended_like_any_other() {
    let (_, answered) = establish(&mut Bench::new(1), 0, "adopted");
    let mut bench = Bench::restarted(1);
    let invite = in_dialog("INVITE", "adopted", "7", "b7", &answered);
    let passed = to_callee(&bench.caller(0, &with_sdp(&invite, &sdp(CALLER_MEDIA))));
    let lines = format!("{CONTACT}Session-Expires: 90;refresher=uac\r\n");
    bench.callee(0, &answer(&passed, "200 OK", &lines, &sdp(CALLEE_MEDIA)));
    bench.left.clear();
    bench.now = bench.now.plus_ms(91_000);
    bench.turn();
    let left: Vec<_> = bench.left.drain(..).collect();
    let byes: Vec<_> = left.iter().map(Left::text).collect();
    let [caller, callee] = &byes[..] else {
        panic!("{byes:#?}")
    };
    // Nobody knows how far the callee had counted: the number is the highest.
    assert_eq!(header(caller, "CSeq"), "2147483647 BYE");
    assert_eq!(header(callee, "CSeq"), "8 BYE");
    assert!(callee.starts_with("BYE sip:callee@10.77.2.2 "), "{callee}");
    assert_eq!(header(callee, "To"), "<sip:100@10.77.1.1>;tag=callee");
}

#[test]
fn an_update_takes_a_call_up_again_too() {
    let (_, answered) = establish(&mut Bench::new(1), 0, "updated");
    let mut bench = Bench::restarted(1);
    let update = in_dialog("UPDATE", "updated", "7", "b7", &answered);
    let passed = to_callee(&bench.caller(0, &with_sdp(&update, &sdp(CALLER_MEDIA))));
    assert_ne!(media_in(&passed), CALLER_MEDIA, "its offer is anchored");
    let ok = answer(&passed, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    assert_ne!(media_in(&to_caller(&bench.callee(0, &ok))), CALLEE_MEDIA);
    assert_eq!(bench.count(Counter::CallsAnswered), 1);
    let bye = in_dialog("BYE", "updated", "8", "b8", &answered);
    let passed = to_callee(&bench.caller(0, &bye));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", "", "")));
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_bye_ends_a_call_that_was_taken_up_again_and_not_yet_answered() {
    let (_, answered) = establish(&mut Bench::new(1), 0, "unheard");
    let mut bench = Bench::restarted(1);
    let invite = in_dialog("INVITE", "unheard", "7", "b7", &answered);
    let passed = to_callee(&bench.caller(0, &with_sdp(&invite, &sdp(CALLER_MEDIA))));
    // Its 2xx is lost, the callee hangs up, and the 2xx comes once more.
    let bye = to_caller(&bench.callee(0, &of_callee("BYE", "1", &answered)));
    to_callee(&bench.caller(0, &answer(&bye, "200 OK", "", "")));
    let ok = answer(&passed, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    bench.callee(0, &ok);
    assert_eq!(bench.count(Counter::CallsAnswered), 0);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn an_update_behind_a_bye_does_not_take_a_call_up_again() {
    let (_, answered) = establish(&mut Bench::new(1), 0, "overtaken");
    let mut bench = Bench::restarted(1);
    let bye = in_dialog("BYE", "overtaken", "8", "b8", &answered);
    let bye = to_callee(&bench.caller(0, &bye));
    let update = in_dialog("UPDATE", "overtaken", "7", "b7", &answered);
    let update = to_callee(&bench.caller(0, &update));
    to_caller(&bench.callee(0, &answer(&update, "200 OK", CONTACT, "")));
    to_caller(&bench.callee(0, &answer(&bye, "200 OK", "", "")));
    assert_eq!(bench.count(Counter::CallsNow), 0);
}

/// The request with another cookie in its Routes.
fn with_cookie(request: &str, change: impl Fn(&str) -> String) -> String {
    let at = request.find(";tl=").unwrap() + 4;
    let cookie = &request[at..at + 24];
    request.replace(cookie, &change(cookie))
}

#[test]
fn without_a_valid_cookie_a_to_tag_opens_nothing() {
    let mut bench = Bench::new(2);
    let (_, answered) = establish(&mut bench, 0, "mine");
    let (_, other) = establish(&mut bench, 0, "theirs");
    let cookie_at = other.find(";tl=").unwrap() + 4;
    let theirs = &other[cookie_at..cookie_at + 24];
    let flip = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(bytes).unwrap()
    };
    let forgeries: [&dyn Fn(&str) -> String; 7] = [
        &|_| theirs.to_owned(),
        // The listens, the pass, the boot, the trunks, the MAC.
        &|cookie| flip(cookie, 0),
        &|cookie| flip(cookie, 3),
        &|cookie| flip(cookie, 5),
        &|cookie| flip(cookie, 9),
        &|cookie| flip(cookie, 23),
        &|_| "0".repeat(24),
    ];
    for (n, forge) in forgeries.iter().enumerate() {
        for method in ["BYE", "INVITE", "INFO"] {
            let request = in_dialog(method, "mine", "2", &format!("f{n}{method}"), &answered);
            let left = bench.caller(0, &with_cookie(&request, forge));
            assert_eq!(status(&to_caller(&left)), "481", "forgery {n}, {method}");
        }
        let ack = in_dialog("ACK", "mine", "1", &format!("f{n}"), &answered);
        assert!(bench.caller(0, &with_cookie(&ack, forge)).is_empty());
    }
    assert_eq!(bench.count(Counter::SipStrayAck), 7);
    // Neither does a Route that only names us, nor none.
    let bye = in_dialog("BYE", "mine", "2", "none", &answered);
    let named = with_cookie(&bye, |_| String::new()).replace(";tl=", "");
    let bare: String = named
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("Route: "))
        .collect();
    for (n, request) in [named, bare].iter().enumerate() {
        let request = request.replacen("z9hG4bKnone", &format!("z9hG4bKnone{n}"), 1);
        assert_eq!(status(&to_caller(&bench.caller(0, &request))), "481");
    }
    // The right cookie in a dialog with another caller's tag.
    let posed = bye
        .replace("tag=caller", "tag=reller")
        .replacen("bKnone", "bKposed", 1);
    assert_eq!(status(&to_caller(&bench.caller(0, &posed))), "481");
    assert_eq!(bench.count(Counter::CallsNow), 2);
    assert_eq!(bench.count(Counter::CallsEnded), 0);
}

#[test]
fn a_cookie_without_a_to_tag_is_a_route_like_any_other() {
    let mut bench = Bench::new(1);
    let (_, answered) = establish(&mut bench, 0, "first");
    // A new INVITE with the Route of an old dialog: it goes where a new one goes.
    let routes: String = in_dialog("INVITE", "x", "1", "x", &answered)
        .split_inclusive("\r\n")
        .filter(|line| line.starts_with("Route: "))
        .collect();
    let text = invite("second", &sdp(CALLER_MEDIA))
        .replacen("Call-ID: ", &format!("{routes}Call-ID: "), 1)
        .replacen("z9hG4bKb1", "z9hG4bKsecond", 1);
    let sent = to_callee(&bench.caller(0, &text));
    assert!(sent.starts_with("INVITE sip:100@10.77.2.2 "), "{sent}");
    assert!(!sent.contains("\r\nRoute: "), "{sent}");
}

#[test]
fn a_cookie_without_a_to_tag_opens_no_way_past_the_routes() {
    let mut bench = Bench::new(1);
    let (_, answered) = establish(&mut bench, 0, "again");
    let bye = in_dialog("BYE", "again", "2", "bbye", &answered);
    let sent = to_callee(&bench.caller(0, &bye));
    bench.callee(0, &answer(&sent, "200 OK", "", ""));
    bench.pass_ms(40_000);
    // The same Call-ID and tag once more, to an address that no route leads to.
    let routes: String = bye
        .split_inclusive("\r\n")
        .filter(|line| line.starts_with("Route: "))
        .collect();
    let text = invite("again", &sdp(CALLER_MEDIA))
        .replacen("Call-ID: ", &format!("{routes}Call-ID: "), 1)
        .replacen(
            "INVITE sip:100@10.77.1.1",
            "INVITE sip:premium@10.77.1.2",
            1,
        )
        .replacen("z9hG4bKb1", "z9hG4bKagain", 1);
    let left = bench.caller(0, &text);
    let sent = to_callee(&left);
    assert!(
        sent.starts_with("INVITE "),
        "its route leads to the callee: {sent}"
    );
}

#[test]
fn a_subscription_is_routed_by_its_cookie_and_is_no_call() {
    let mut bench = Bench::new(2);
    let subscribe = bench::request("SUBSCRIBE", "watch", "1", "b1", "Event: presence\r\n", "");
    let sent = to_callee(&bench.caller(0, &subscribe));
    assert!(sent.contains(";tl="), "it is record-routed: {sent}");
    // RFC 6665: the NOTIFY may overtake the 2xx.
    let notify = of_callee("NOTIFY", "1", &sent);
    let passed = to_caller(&bench.callee(0, &notify));
    to_callee(&bench.caller(0, &answer(&passed, "200 OK", "", "")));
    let accepted = to_caller(&bench.callee(0, &answer(&sent, "202 Accepted", CONTACT, "")));
    let refresh = in_dialog("SUBSCRIBE", "watch", "2", "b2", &accepted);
    let passed = to_callee(&bench.caller(0, &refresh));
    to_caller(&bench.callee(0, &answer(&passed, "200 OK", CONTACT, "")));
    // And after a restart.
    let mut bench = Bench::restarted(3);
    let notify = of_callee("NOTIFY", "2", &accepted);
    to_caller(&bench.callee(0, &notify));
    assert_eq!(bench.count(Counter::CallsStarted), 0);
}

#[test]
fn an_ack_to_a_2xx_follows_its_route_set() {
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("far", &sdp(CALLER_MEDIA))));
    // The callee is behind a proxy that record-routes, on another port of that host.
    let ok = answer(
        &sent,
        "200 OK",
        "Contact: <sip:callee@198.51.100.7>\r\n",
        "",
    )
    .replacen(
        "Record-Route: ",
        "Record-Route: <sip:10.77.2.2:5070;lr>\r\nRecord-Route: ",
        1,
    );
    let answered = to_caller(&bench.callee(0, &ok));
    let ack = in_dialog("ACK", "far", "1", "b-ack", &answered).replacen(
        "sip:callee@10.77.2.2",
        "sip:callee@198.51.100.7",
        1,
    );
    let left = bench.caller(0, &ack);
    let [only] = &left[..] else {
        panic!("{left:#?}")
    };
    assert_eq!((only.source, only.destination.port()), (CORE, 5070));
    assert_eq!(only.destination.ip(), CALLEE.ip());
    assert!(only.text().starts_with("ACK sip:callee@198.51.100.7 "));
    assert_eq!(header(&only.text(), "Route"), "<sip:10.77.2.2:5070;lr>");
}
