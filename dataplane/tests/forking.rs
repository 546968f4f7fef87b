//! A request that goes to several trunks: in parallel, one after the other, and which of their
//! answers the caller gets (RFC 3261 §16.5 to §16.8, §16.10).
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::ACCESS;
use bench::CALLER;
use bench::branch;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::status;
use bench::call::to_caller;
use bench::carriers::ack_of_failure;
use bench::carriers::all_to_caller;
use bench::carriers::answer_of;
use bench::carriers::bench;
use bench::carriers::bench_of;
use bench::carriers::hosts_that_got;
use bench::carriers::one_to;
use bench::carriers::says;
use bench::carriers::settings;
use bench::header;
use bench::invite;
use bench::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::trunks::TrunkCounter;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::limits::BRANCHES_MAX;

/// Two trunks in parallel, a target each.
const PAIR: &[(u16, &[u8])] = &[(500, &[3]), (500, &[4])];
/// One after the other.
const SERIES: &[(u16, &[u8])] = &[(900, &[3]), (100, &[4])];

// --- Parallel ---------------------------------------------------------------------

#[test]
fn a_fork_has_a_branch_ports_and_a_call_for_each_target() {
    let mut bench = bench(PAIR);
    let left = bench.caller(0, &invite("fork", &sdp(CALLER_MEDIA)));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    assert_eq!(status(&to_caller(&left)), "100");
    assert!(a.starts_with("INVITE sip:100@10.77.2.3 SIP/2.0\r\n"));
    assert!(b.starts_with("INVITE sip:100@10.77.2.4 SIP/2.0\r\n"));
    assert_ne!(branch(&a), branch(&b));
    assert_ne!(media_in(&a), media_in(&b));
    assert_eq!(header(&a, "Max-Forwards"), "69");
    assert_eq!(bench.count(Counter::CallsNow), 2);
    assert_eq!(bench.count(Counter::CallsStarted), 1);
    assert_eq!(bench.count(Counter::ContextsNow), 1);
    // A repetition goes nowhere.
    let again = bench.caller(0, &invite("fork", &sdp(CALLER_MEDIA)));
    assert_eq!(again.len(), 1);
    for trunk in [1, 2] {
        let counts = bench.workers[0].trunk_counters().get(TrunkIndex(trunk));
        assert_eq!(counts.get(TrunkCounter::RequestsOut), 1);
    }
}

#[test]
fn both_ring_and_the_first_2xx_wins_and_the_other_is_cancelled() {
    let mut bench = bench(PAIR);
    let left = bench.caller(0, &invite("win", &sdp(CALLER_MEDIA)));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    for (last, sent) in [(3, &a), (4, &b)] {
        let left = says(
            &mut bench,
            last,
            &answer_of(last, sent, "180 Ringing", "", ""),
        );
        let rings = to_caller(&left);
        assert_eq!(status(&rings), "180");
        assert!(header(&rings, "To").ends_with(&format!(";tag=at{last}")));
    }
    let ok = answer_of(4, &b, "200 OK", "", &sdp(CALLEE_MEDIA));
    let left = says(&mut bench, 4, &ok);
    let answered = to_caller(&left);
    assert_eq!(status(&answered), "200");
    let cancel = one_to(&left, 3);
    assert!(cancel.starts_with("CANCEL sip:100@10.77.2.3 SIP/2.0\r\n"));
    assert_eq!(branch(&cancel), branch(&a));
    assert_eq!(bench.count(Counter::ContextsNow), 0);

    // The loser's end is acknowledged by the box and goes no further.
    assert!(says(&mut bench, 3, &answer_of(3, &cancel, "200 OK", "", "")).is_empty());
    let terminated = answer_of(3, &a, "487 Request Terminated", "", "");
    let left = says(&mut bench, 3, &terminated);
    assert!(one_to(&left, 3).starts_with("ACK "));
    assert_eq!(left.len(), 1, "{left:#?}");
    bench.pass_ms(1_000);
    assert_eq!(bench.count(Counter::CallsNow), 1);

    let at_4 = |text: String| text.replace("callee@10.77.2.2", "callee@10.77.2.4");
    let ack = at_4(in_dialog("ACK", "win", "1", "b-ack", &answered));
    assert!(one_to(&bench.caller(0, &ack), 4).starts_with("ACK "));
    let bye = at_4(in_dialog("BYE", "win", "2", "b-bye", &answered));
    let bye = one_to(&bench.caller(0, &bye), 4);
    let left = says(&mut bench, 4, &answer_of(4, &bye, "200 OK", "", ""));
    assert_eq!(status(&to_caller(&left)), "200");
    bench.pass_ms(40_000);
    bench.assert_at_rest();
    let counts = [
        Counter::CallsStarted,
        Counter::CallsAnswered,
        Counter::CallsEnded,
    ];
    assert_eq!(counts.map(|counter| bench.count(counter)), [1, 1, 1]);
    assert_eq!(bench.count(Counter::CallsFailed), 0);
}

#[test]
fn a_2xx_that_crosses_the_cancel_goes_upstream_as_well() {
    let mut bench = bench(PAIR);
    let left = bench.caller(0, &invite("both", &sdp(CALLER_MEDIA)));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(&mut bench, 3, &answer_of(3, &a, "180 Ringing", "", ""));
    says(
        &mut bench,
        4,
        &answer_of(4, &b, "200 OK", "", &sdp(CALLEE_MEDIA)),
    );
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &a, "200 OK", "", &sdp(CALLEE_MEDIA)),
    );
    let second = to_caller(&left);
    assert_eq!(status(&second), "200");
    assert!(header(&second, "To").ends_with(";tag=at3"));
    // Each answer has the relay ports of its own branch, and so has its repetition.
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &b, "200 OK", "", &sdp(CALLEE_MEDIA)),
    );
    assert_ne!(media_in(&to_caller(&left)), media_in(&second));
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &a, "200 OK", "", &sdp(CALLEE_MEDIA)),
    );
    assert_eq!(to_caller(&left), second);
    let counts = [Counter::CallsStarted, Counter::CallsAnswered];
    assert_eq!(counts.map(|counter| bench.count(counter)), [2, 2]);
    // The caller ends the one it does not want.
    let bye = in_dialog("BYE", "both", "2", "b-bye", &second);
    bench.caller(0, &bye.replace("callee@10.77.2.2", "callee@10.77.2.3"));
    bench.pass_ms(40_000);
    assert_eq!(bench.count(Counter::CallsNow), 1);
}

#[test]
fn a_2xx_that_comes_again_after_timer_l_is_no_late_one() {
    let mut bench = bench(PAIR);
    let left = bench.caller(0, &invite("l", ""));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(&mut bench, 3, &answer_of(3, &a, "180 Ringing", "", ""));
    says(&mut bench, 4, &answer_of(4, &b, "200 OK", "", ""));
    bench.pass_ms(2_000);
    let second = answer_of(3, &a, "200 OK", "", "");
    let left = says(&mut bench, 3, &second);
    assert_eq!(status(&to_caller(&left)), "200");
    // The server transaction is over with the first answer's 64·T1, the client's not yet.
    bench.pass_ms(30_500);
    assert!(says(&mut bench, 3, &second).is_empty());
    assert_eq!(bench.count(Counter::LateAnswersEnded), 0);
}

#[test]
fn the_best_of_several_failures_goes_upstream_when_all_have_failed() {
    // What the two say, and what the caller gets.
    let cases = [
        ("404 Not Found", "500 Oops", "404"),
        ("503 Service Unavailable", "486 Busy Here", "486"),
        ("486 Busy Here", "302 Moved Temporarily", "302"),
        ("404 Not Found", "484 Address Incomplete", "484"),
        ("603 Decline", "302 Moved Temporarily", "603"),
        ("503 Service Unavailable", "503 Service Unavailable", "500"),
    ];
    for (n, (first, second, best)) in cases.into_iter().enumerate() {
        let call_id = format!("best-{n}");
        let mut bench = bench(PAIR);
        let left = bench.caller(0, &invite(&call_id, &sdp(CALLER_MEDIA)));
        let (a, b) = (one_to(&left, 3), one_to(&left, 4));
        let left = says(&mut bench, 3, &answer_of(3, &a, first, "", ""));
        assert!(one_to(&left, 3).starts_with("ACK "), "{first}");
        assert!(all_to_caller(&left).is_empty(), "it waits for the other");
        let left = says(&mut bench, 4, &answer_of(4, &b, second, "", ""));
        assert!(one_to(&left, 4).starts_with("ACK "));
        let failed = to_caller(&left);
        assert_eq!(status(&failed), best, "{first}, {second}");
        assert_eq!(failed.matches("Via: ").count(), 1);
        assert!(bench.caller(0, &ack_of_failure(&failed)).is_empty());
        assert_eq!(bench.count(Counter::CallsFailed), 1);
        bench.pass_ms(40_000);
        bench.assert_at_rest();
    }
}

#[test]
fn challenges_of_all_branches_are_put_together() {
    let mut bench = bench(&[(500, &[3]), (500, &[4]), (500, &[5])]);
    let left = bench.caller(0, &invite("auth", ""));
    let sent = [3, 4, 5].map(|last| one_to(&left, last));
    let www = "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\"\r\n";
    let proxy = "Proxy-Authenticate: Digest realm=\"b\", nonce=\"2\"\r\n\
        proxy-authenticate: Digest realm=\"c\", nonce=\"3\"\r\n";
    says(
        &mut bench,
        3,
        &answer_of(3, &sent[0], "401 Unauthorized", www, ""),
    );
    says(
        &mut bench,
        5,
        &answer_of(5, &sent[2], "404 Not Found", "", ""),
    );
    let proxy_auth = "407 Proxy Authentication Required";
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &sent[1], proxy_auth, proxy, ""),
    );
    let failed = to_caller(&left);
    assert_eq!(status(&failed), "401");
    for line in www.lines().chain(proxy.lines()) {
        assert_eq!(failed.matches(line).count(), 1, "{line}: {failed}");
    }
    bench.caller(0, &ack_of_failure(&failed));
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_6xx_cancels_the_others_and_goes_upstream_when_they_have_ended() {
    let mut bench = bench(&[(500, &[3]), (500, &[4]), (100, &[5])]);
    let left = bench.caller(0, &invite("decline", ""));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(&mut bench, 3, &answer_of(3, &a, "180 Ringing", "", ""));
    let left = says(&mut bench, 4, &answer_of(4, &b, "603 Decline", "", ""));
    assert_eq!(hosts_that_got(&left, "CANCEL"), [3]);
    assert!(all_to_caller(&left).is_empty());
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &a, "487 Request Terminated", "", ""),
    );
    let failed = to_caller(&left);
    assert_eq!(status(&failed), "603");
    assert!(
        hosts_that_got(&left, "INVITE").is_empty(),
        "nobody else is tried"
    );
    bench.caller(0, &ack_of_failure(&failed));
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_2xx_that_crosses_the_cancel_after_a_6xx_is_what_the_caller_gets() {
    let mut bench = bench(PAIR);
    let left = bench.caller(0, &invite("crossed", ""));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(&mut bench, 3, &answer_of(3, &a, "180 Ringing", "", ""));
    says(
        &mut bench,
        4,
        &answer_of(4, &b, "600 Busy Everywhere", "", ""),
    );
    let left = says(&mut bench, 3, &answer_of(3, &a, "200 OK", "", ""));
    assert_eq!(all_to_caller(&left).len(), 1);
    assert_eq!(status(&to_caller(&left)), "200");
    bench.pass_ms(40_000);
    assert_eq!(bench.count(Counter::TransactionsNow), 0);
}

#[test]
fn more_trunks_than_branches_are_tried_as_branches_end() {
    let targets: Vec<[u8; 1]> = (3..=12).map(|last| [last]).collect();
    let carriers: Vec<(u16, &[u8])> = targets.iter().map(|last| (7, &last[..])).collect();
    let mut bench = bench(&carriers);
    let left = bench.caller(0, &invite("wide", &sdp(CALLER_MEDIA)));
    assert_eq!(hosts_that_got(&left, "INVITE").len(), BRANCHES_MAX);
    let sent = one_to(&left, 3);
    let left = says(&mut bench, 3, &answer_of(3, &sent, "404 Not Found", "", ""));
    assert_eq!(hosts_that_got(&left, "INVITE"), [11]);
    let ok = answer_of(11, &one_to(&left, 11), "200 OK", "", &sdp(CALLEE_MEDIA));
    let left = says(&mut bench, 11, &ok);
    assert_eq!(status(&to_caller(&left)), "200");
    bench.pass_ms(40_000);
    assert_eq!(bench.count(Counter::TransactionsNow), 0);
    assert_eq!(bench.count(Counter::CallsNow), 1);
}

// --- Serial -----------------------------------------------------------------------

#[test]
fn a_lower_q_is_tried_when_all_above_have_failed() {
    let mut bench = bench(SERIES);
    let left = bench.caller(0, &invite("serial", &sdp(CALLER_MEDIA)));
    assert_eq!(hosts_that_got(&left, "INVITE"), [3]);
    let first = one_to(&left, 3);
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &first, "486 Busy Here", "", ""),
    );
    assert!(all_to_caller(&left).is_empty());
    assert_eq!(hosts_that_got(&left, "ACK"), [3]);
    let second = one_to(&left, 4);
    assert!(second.starts_with("INVITE sip:100@10.77.2.4 SIP/2.0\r\n"));
    // It is made of the request as it came.
    for name in ["Max-Forwards", "Content-Length", "Contact", "CSeq"] {
        assert_eq!(header(&first, name), header(&second, name), "{name}");
    }
    assert_eq!(first.matches("Via: ").count(), 2);
    assert_eq!(second.matches("Via: ").count(), 2);
    assert_eq!(second.matches("Record-Route: ").count(), 2);
    assert!(second.contains(";rport=5060;branch=z9hG4bKb1;received=10.77.1.2"));
    let ok = answer_of(4, &second, "200 OK", "", &sdp(CALLEE_MEDIA));
    let left = says(&mut bench, 4, &ok);
    assert_eq!(status(&to_caller(&left)), "200");
    assert_eq!(bench.count(Counter::CallsFailed), 0);
}

#[test]
fn another_method_than_invite_is_forked_and_never_cancelled() {
    let mut bench = bench(PAIR);
    let left = bench.caller(0, &request("MESSAGE", "m", "1", "m1", "", ""));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    assert!(all_to_caller(&left).is_empty());
    let left = says(&mut bench, 3, &answer_of(3, &a, "200 OK", "", ""));
    assert_eq!(left.len(), 1, "{left:#?}");
    assert_eq!(status(&to_caller(&left)), "200");
    // Exactly one final response.
    assert!(says(&mut bench, 4, &answer_of(4, &b, "200 OK", "", "")).is_empty());
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn another_method_than_invite_is_answered_in_time_though_a_target_is_dead() {
    let mut bench = bench(PAIR);
    let message = request("MESSAGE", "m", "1", "m1", "", "");
    let left = bench.caller(0, &message);
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(&mut bench, 4, &answer_of(4, &b, "404 Not Found", "", ""));
    // The sender's Timer F began before its request came.
    let left = bench.pass_ms(28_100);
    let finals = all_to_caller(&left);
    let finals: Vec<&str> = finals.iter().map(|text| status(text)).collect();
    assert_eq!(finals, ["100", "404"]);
    assert_eq!(status(&to_caller(&bench.caller(0, &message))), "404");
    assert!(says(&mut bench, 3, &answer_of(3, &a, "200 OK", "", "")).is_empty());
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_408_to_another_method_than_invite_is_not_passed_on() {
    let mut bench = bench(PAIR);
    let options = request("OPTIONS", "o", "1", "o1", "", "");
    let left = bench.caller(0, &options);
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(
        &mut bench,
        3,
        &answer_of(3, &a, "408 Request Timeout", "", ""),
    );
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &b, "408 Request Timeout", "", ""),
    );
    assert!(all_to_caller(&left).is_empty(), "{left:#?}");
    // The caller repeats it as long as it hears nothing: it is the same request still.
    for _ in 0..8 {
        assert!(bench.caller(0, &options).is_empty());
        assert!(bench.pass_ms(4_000).is_empty());
    }
    bench.pass_ms(1_000);
    bench.assert_at_rest();
}

// --- Max-Breadth (RFC 5393) ------------------------------------------------------------

/// What the targets of a fork are told, where the request says `breadth`.
fn breadths(carriers: &[(u16, &[u8])], breadth: &str) -> Vec<String> {
    let mut bench = bench(carriers);
    let text = invite("wide", "").replace("CSeq:", &format!("{breadth}CSeq:"));
    let left = bench.caller(0, &text);
    let sent = left.iter().map(bench::Left::text);
    let sent = sent.filter(|text| text.starts_with("INVITE "));
    sent.map(|text| {
        assert_eq!(text.matches("Max-Breadth: ").count(), 1);
        header(&text, "Max-Breadth")
    })
    .collect()
}

#[test]
fn the_breadth_of_a_request_is_divided_among_its_branches() {
    assert_eq!(breadths(PAIR, ""), ["30", "30"]);
    assert_eq!(breadths(PAIR, "Max-Breadth: 5\r\n"), ["2", "3"]);
    assert_eq!(breadths(PAIR, "Max-Breadth: 99999999999\r\n"), ["30", "30"]);
    assert_eq!(breadths(&[(1, &[3])], "Max-Breadth: 61\r\n"), ["60"]);
    assert_eq!(breadths(&[(1, &[3])], "Max-Breadth: 7\r\n"), ["7"]);
    // The second one in series is left its part, since both may be under way at once.
    assert_eq!(breadths(&[(1, &[3, 4])], "Max-Breadth: 2\r\n"), ["1"]);
}

#[test]
fn a_breadth_that_does_not_suffice_is_told() {
    let mut bench = bench(PAIR);
    for (n, breadth) in ["1", "0"].into_iter().enumerate() {
        let text = request("INVITE", &format!("n{n}"), "1", &format!("n{n}"), "", "");
        let text = text.replace("CSeq:", &format!("Max-Breadth: {breadth}\r\nCSeq:"));
        let failed = to_caller(&bench.caller(0, &text));
        assert!(failed.starts_with("SIP/2.0 440 Max-Breadth Exceeded\r\n"));
    }
    bench.assert_at_rest();
}

#[test]
fn a_breadth_of_one_goes_to_one_after_the_other_and_none_is_left_early() {
    let mut bench = bench(&[(1, &[3, 4])]);
    let text = invite("narrow", "").replace("CSeq:", "Max-Breadth: 1\r\nCSeq:");
    let left = bench.caller(0, &text);
    assert_eq!(header(&one_to(&left, 3), "Max-Breadth"), "1");
    let left = bench.pass_ms(31_900);
    assert_eq!(hosts_that_got(&left, "INVITE"), [3; 6]);
    let left = bench.pass_ms(200);
    assert_eq!(header(&one_to(&left, 4), "Max-Breadth"), "1");
}

// --- CANCEL and Timer C --------------------------------------------------------------

#[test]
fn a_cancel_ends_every_branch_and_nobody_else_is_tried() {
    let mut bench = bench(&[(500, &[3]), (500, &[4]), (100, &[5])]);
    let left = bench.caller(0, &invite("cancel", ""));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(&mut bench, 3, &answer_of(3, &a, "180 Ringing", "", ""));
    let left = bench.caller(0, &request("CANCEL", "cancel", "1", "b1", "", ""));
    assert_eq!(status(&to_caller(&left)), "200");
    assert_eq!(hosts_that_got(&left, "CANCEL"), [3]);
    // The other is cancelled as soon as it speaks.
    let left = says(&mut bench, 4, &answer_of(4, &b, "100 Trying", "", ""));
    assert_eq!(hosts_that_got(&left, "CANCEL"), [4]);
    says(
        &mut bench,
        3,
        &answer_of(3, &a, "487 Request Terminated", "", ""),
    );
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &b, "487 Request Terminated", "", ""),
    );
    let failed = to_caller(&left);
    assert_eq!(status(&failed), "487");
    assert!(hosts_that_got(&left, "INVITE").is_empty());
    bench.caller(0, &ack_of_failure(&failed));
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_cancel_that_crosses_a_2xx_changes_nothing() {
    let mut bench = bench(PAIR);
    let left = bench.caller(0, &invite("glare", ""));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(&mut bench, 3, &answer_of(3, &a, "180 Ringing", "", ""));
    says(&mut bench, 4, &answer_of(4, &b, "180 Ringing", "", ""));
    bench.caller(0, &request("CANCEL", "glare", "1", "b1", "", ""));
    let left = says(&mut bench, 3, &answer_of(3, &a, "200 OK", "", ""));
    assert_eq!(status(&to_caller(&left)), "200");
    // A late CANCEL finds the INVITE answered.
    let left = bench.caller(0, &request("CANCEL", "glare", "1", "b1", "", ""));
    assert_eq!(status(&to_caller(&left)), "200");
    assert!(hosts_that_got(&left, "CANCEL").is_empty());
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &b, "487 Request Terminated", "", ""),
    );
    assert_eq!(hosts_that_got(&left, "ACK"), [4]);
    assert!(all_to_caller(&left).is_empty());
}

#[test]
fn timer_c_cancels_a_branch_that_rings_for_too_long_and_the_next_is_tried() {
    let mut bench = bench(SERIES);
    let left = bench.caller(0, &invite("ring", ""));
    let a = one_to(&left, 3);
    says(&mut bench, 3, &answer_of(3, &a, "180 Ringing", "", ""));
    bench.pass_ms(100_000);
    // RFC 3261 §16.7 step 2: it runs anew.
    says(
        &mut bench,
        3,
        &answer_of(3, &a, "183 Session Progress", "", ""),
    );
    let left = bench.pass_ms(180_000);
    assert!(left.is_empty(), "{left:#?}");
    let left = bench.pass_ms(1_100);
    assert_eq!(hosts_that_got(&left, "CANCEL"), [3]);
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &a, "487 Request Terminated", "", ""),
    );
    assert_eq!(hosts_that_got(&left, "INVITE"), [4]);
}

#[test]
fn where_timer_c_gets_no_answer_the_caller_is_told_408() {
    let mut bench = bench(PAIR);
    let left = bench.caller(0, &invite("dead", ""));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(&mut bench, 3, &answer_of(3, &a, "180 Ringing", "", ""));
    says(
        &mut bench,
        4,
        &answer_of(4, &b, "503 Service Unavailable", "", ""),
    );
    let left = bench.pass_ms(181_100);
    assert_eq!(hosts_that_got(&left, "CANCEL")[0], 3);
    let left = bench.pass_ms(32_100);
    let failed = all_to_caller(&left);
    assert_eq!(status(&failed[0]), "408", "{failed:#?}");
    bench.caller(0, &ack_of_failure(&failed[0]));
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

// --- Bounds -------------------------------------------------------------------------

#[test]
fn where_there_is_no_response_context_left_a_request_is_refused() {
    let mut settings = settings(1, PAIR);
    settings.capacity.calls = 4;
    let mut bench = bench_of(&settings);
    // 4 / 4 + 16 contexts.
    for n in 0..17 {
        let text = request("OPTIONS", &format!("o{n}"), "1", &format!("o{n}"), "", "");
        assert_eq!(hosts_that_got(&bench.caller(0, &text), "OPTIONS"), [3, 4]);
    }
    let text = request("OPTIONS", "last", "1", "last", "", "");
    let left = bench.say(0, CALLER, ACCESS, &text);
    assert_eq!(status(&to_caller(&left)), "503");
    assert_eq!(bench.count(Counter::ContextsRefused), 1);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn an_offer_that_cannot_be_anchored_is_refused_once() {
    let mut bench = bench(PAIR);
    let body = sdp(CALLER_MEDIA).replace("c=IN IP4 10.77.1.2", "c=IN IP4 somewhere.example");
    let left = bench.caller(0, &invite("no-media", &body));
    assert_eq!(left.len(), 1);
    assert_eq!(status(&to_caller(&left)), "488");
    let counts = [Counter::CallsStarted, Counter::CallsFailed];
    assert_eq!(counts.map(|counter| bench.count(counter)), [1, 1]);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}
