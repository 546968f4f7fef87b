//! A trunk with several targets: the next is tried when one cannot take a request.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::Bench;
use bench::branch;
use bench::call::CALLER_MEDIA;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::carriers::ack_of_failure;
use bench::carriers::all_to_caller;
use bench::carriers::answer_of;
use bench::carriers::bench;
use bench::carriers::bench_of;
use bench::carriers::host;
use bench::carriers::hosts_that_got;
use bench::carriers::one_to;
use bench::carriers::says;
use bench::carriers::settings;
use bench::carriers::to;
use bench::header;
use bench::invite;
use bench::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::trunks::TrunkCounter;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::undelivered::Undelivered;
use trunkline_dataplane::sip::undelivered::Why;
use trunkline_dataplane::sip::undelivered::read_quote;

/// One trunk of three targets.
const THREE: &[(u16, &[u8])] = &[(1000, &[3, 4, 5])];
/// One of two.
const TWO: &[(u16, &[u8])] = &[(1000, &[3, 4])];

fn failovers(bench: &mut Bench) -> u64 {
    let counts = bench.workers[0].trunk_counters().get(TrunkIndex(1));
    counts.get(TrunkCounter::Failovers)
}

// --- When the next target is tried ---------------------------------------------------

#[test]
fn a_target_of_which_nothing_is_heard_is_left_after_its_time() {
    let mut bench = bench(TWO);
    let left = bench.caller(0, &invite("silent", &sdp(CALLER_MEDIA)));
    let first = one_to(&left, 3);
    let left = bench.pass_ms(1_990);
    assert_eq!(
        hosts_that_got(&left, "INVITE"),
        [3, 3],
        "timer A runs until then"
    );
    let left = bench.pass_ms(20);
    let second = one_to(&left, 4);
    assert!(second.starts_with("INVITE sip:100@10.77.2.4"));
    assert_ne!(branch(&first), branch(&second));
    assert_ne!(media_in(&first), media_in(&second));
    assert_eq!(failovers(&mut bench), 1);
    // The last one has its full time, and only that is sent again.
    let left = bench.pass_ms(31_900);
    assert_eq!(hosts_that_got(&left, "INVITE"), [4; 6]);
    assert!(all_to_caller(&left).is_empty());
    let failed = all_to_caller(&bench.pass_ms(200));
    assert_eq!(status(&failed[0]), "408");
    bench.caller(0, &ack_of_failure(&failed[0]));
    bench.pass_ms(40_000);
    bench.assert_at_rest();
    assert_eq!(bench.count(Counter::CallsFailed), 1);
}

/// Two trunks of equal q and one of a lower.
const PAIR_AND_LAST: &[(u16, &[u8])] = &[(500, &[3]), (500, &[4]), (100, &[5])];

#[test]
fn one_that_is_slow_is_not_given_up_while_another_of_equal_q_rings() {
    let mut bench = bench(PAIR_AND_LAST);
    let left = bench.caller(0, &invite("slow", ""));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    says(&mut bench, 4, &answer_of(4, &b, "180 Ringing", "", ""));
    let left = bench.pass_ms(10_000);
    assert_eq!(
        hosts_that_got(&left, "INVITE"),
        [3, 3, 3, 3],
        "nobody follows it"
    );
    assert_eq!(failovers(&mut bench), 0);
    let left = says(&mut bench, 3, &answer_of(3, &a, "180 Ringing", "", ""));
    assert_eq!(status(&to_caller(&left)), "180");
    assert_eq!(left.len(), 1, "and no CANCEL: {left:#?}");
    let left = says(&mut bench, 3, &answer_of(3, &a, "200 OK", "", ""));
    assert_eq!(hosts_that_got(&left, "CANCEL"), [4]);
}

#[test]
fn one_that_is_slow_is_given_up_when_the_others_of_equal_q_have_failed_or_are_slow_too() {
    let mut bench = bench(PAIR_AND_LAST);
    let left = bench.caller(0, &invite("fails", ""));
    let b = one_to(&left, 4);
    says(&mut bench, 4, &answer_of(4, &b, "180 Ringing", "", ""));
    assert!(to(&bench.pass_ms(3_000), 5).is_empty());
    let left = says(&mut bench, 4, &answer_of(4, &b, "486 Busy Here", "", ""));
    assert_eq!(
        hosts_that_got(&left, "INVITE"),
        [5],
        "its time was over before"
    );
    assert_eq!(failovers(&mut bench), 1);

    let left = bench.caller(0, &invite("mute", "").replace("b1", "b2"));
    assert_eq!(hosts_that_got(&left, "INVITE"), [3, 4]);
    assert!(!tries_last(&bench.pass_ms(1_990)));
    assert!(tries_last(&bench.pass_ms(20)));
}

#[test]
fn nobody_is_given_up_where_another_can_be_tried_anyhow() {
    // RFC 5393 §5.3.3: there is Max-Breadth for three branches, and none for a fourth.
    let mut bench = bench(&[(500, &[3, 4]), (500, &[5, 6]), (500, &[7, 8])]);
    let narrow = invite("narrow", "").replace("CSeq:", "Max-Breadth: 3\r\nCSeq:");
    let left = bench.caller(0, &narrow);
    let last = one_to(&left, 7);
    says(&mut bench, 7, &answer_of(7, &last, "100 Trying", "", ""));
    let left = bench.pass_ms(3_000);
    assert_eq!(left.len(), 4, "two are sent again: {left:#?}");
    let unavailable = answer_of(7, &last, "503 Service Unavailable", "", "");
    let left = says(&mut bench, 7, &unavailable);
    assert_eq!(hosts_that_got(&left, "INVITE"), [8]);
    let mut again = hosts_that_got(&bench.pass_ms(600), "INVITE");
    again.sort_unstable();
    assert_eq!(again, [3, 5, 8]);
}

/// True where the last trunk is tried for the second call.
fn tries_last(left: &[bench::Left]) -> bool {
    let sent = to(left, 5);
    sent.iter().any(|text| header(text, "Call-ID") == "mute")
}

#[test]
fn a_100_is_an_answer() {
    let mut bench = bench(TWO);
    let left = bench.caller(0, &invite("trying", ""));
    let sent = one_to(&left, 3);
    bench.pass_ms(1_500);
    assert!(says(&mut bench, 3, &answer_of(3, &sent, "100 Trying", "", "")).is_empty());
    assert!(bench.pass_ms(60_000).is_empty());
    assert_eq!(failovers(&mut bench), 0);
}

#[test]
fn a_503_leads_to_the_next_target_and_a_486_is_the_trunks_answer() {
    let mut bench = bench(THREE);
    let left = bench.caller(0, &invite("busy", ""));
    let sent = one_to(&left, 3);
    let unavailable = answer_of(
        3,
        &sent,
        "503 Service Unavailable",
        "Retry-After: 60\r\n",
        "",
    );
    let left = says(&mut bench, 3, &unavailable);
    assert_eq!(hosts_that_got(&left, "ACK"), [3]);
    let second = one_to(&left, 4);
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &second, "486 Busy Here", "", ""),
    );
    assert!(hosts_that_got(&left, "INVITE").is_empty());
    assert_eq!(status(&to_caller(&left)), "486");
    assert_eq!(failovers(&mut bench), 1);
    // A repeated 503 is acknowledged again and starts nothing.
    let left = says(&mut bench, 3, &unavailable);
    assert_eq!((left.len(), hosts_that_got(&left, "ACK")), (1, vec![3]));
}

#[test]
fn the_codes_that_lead_on_are_the_trunks_own() {
    let mut settings = settings(1, TWO);
    settings.trunks[1].failover.codes = vec![480];
    let mut bench = bench_of(&settings);
    let left = bench.caller(0, &invite("codes", ""));
    let sent = one_to(&left, 3);
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &sent, "480 Temporarily Unavailable", "", ""),
    );
    let second = one_to(&left, 4);
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &second, "480 Temporarily Unavailable", "", ""),
    );
    assert_eq!(status(&to_caller(&left)), "480");

    let left = bench.caller(0, &invite("codes-2", "").replace("b1", "b2"));
    let sent = one_to(&left, 3);
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &sent, "503 Service Unavailable", "", ""),
    );
    assert_eq!(status(&to_caller(&left)), "500");
}

#[test]
fn a_refusal_of_our_own_is_a_503_however_many_targets_there_are() {
    let mut settings = settings(1, TWO);
    settings.capacity.calls = 1;
    let mut bench = bench_of(&settings);
    bench.caller(0, &invite("full", ""));
    // The call of the silent one is still there: the next one finds no room for its own.
    let failed = all_to_caller(&bench.pass_ms(2_010));
    assert_eq!(status(&failed[0]), "503");
    assert_eq!(bench.count(Counter::CallsRefused), 1);
}

/// ICMP says that a request did not get there; what leaves because of it.
fn unreachable(bench: &mut Bench, last: u8, sent: &str) -> Vec<bench::Left> {
    let settings = trunkline_dataplane::lab::settings(1);
    let listens = settings.listens.iter().map(|listen| listen.advertised);
    let worker = trunkline_dataplane::ids::WorkerId(0);
    let identity = Identity::new(
        worker,
        settings.boot,
        &settings.secrets,
        &listens.collect::<Vec<_>>(),
    );
    let (method, quoted) = read_quote(sent.as_bytes()).unwrap();
    let what = Undelivered {
        branch: identity.read_branch(quoted).unwrap(),
        method,
        destination: host(last),
        why: Why::Unreachable,
    };
    assert!(bench.posts[0].mail.post_undelivered(what));
    bench.left.clear();
    bench.turn();
    bench.left.drain(..).collect()
}

#[test]
fn an_icmp_error_leads_to_the_next_target_at_once() {
    let mut bench = bench(TWO);
    let left = bench.caller(0, &invite("icmp", ""));
    let left = unreachable(&mut bench, 3, &one_to(&left, 3));
    let second = one_to(&left, 4);
    assert!(all_to_caller(&left).is_empty());
    assert_eq!(failovers(&mut bench), 1);
    let left = unreachable(&mut bench, 4, &second);
    let failed = to_caller(&left);
    assert_eq!(status(&failed), "500");
    bench.caller(0, &ack_of_failure(&failed));
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn an_icmp_error_after_a_cancel_is_a_487() {
    let mut bench = bench(TWO);
    let left = bench.caller(0, &invite("cancelled", ""));
    bench.caller(0, &request("CANCEL", "cancelled", "1", "b1", "", ""));
    let left = unreachable(&mut bench, 3, &one_to(&left, 3));
    assert_eq!(status(&to_caller(&left)), "487");
}

#[test]
fn another_method_fails_over_as_well() {
    let mut bench = bench(TWO);
    let left = bench.caller(0, &request("OPTIONS", "o", "1", "o1", "", ""));
    let first = one_to(&left, 3);
    let left = bench.pass_ms(2_010);
    let second = to(&left, 4)[0].clone();
    assert!(second.starts_with("OPTIONS "));
    // Whoever answers first has answered.
    let left = says(&mut bench, 3, &answer_of(3, &first, "200 OK", "", ""));
    assert_eq!(status(&to_caller(&left)), "200");
    assert!(
        says(
            &mut bench,
            4,
            &answer_of(4, &second, "404 Not Found", "", "")
        )
        .is_empty()
    );
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn who_was_given_up_may_yet_answer_another_method_where_the_next_says_408() {
    for said in ["200 OK", "482 Loop Detected", "408 Request Timeout"] {
        let mut bench = bench(TWO);
        let message = request("MESSAGE", "m", "1", "m1", "", "");
        let first = one_to(&bench.caller(0, &message), 3);
        let second = one_to(&bench.pass_ms(2_010), 4);
        let timeout = answer_of(4, &second, "408 Request Timeout", "", "");
        assert!(says(&mut bench, 4, &timeout).is_empty());
        assert!(bench.caller(0, &message).is_empty(), "not delivered again");
        let left = says(&mut bench, 3, &answer_of(3, &first, said, "", ""));
        let told = all_to_caller(&left);
        let told: Vec<&str> = told.iter().map(|text| status(text)).collect();
        let expected = said.get(..3).filter(|&said| said != "408");
        assert_eq!(told, Vec::from_iter(expected));
        assert!(hosts_that_got(&bench.caller(0, &message), "MESSAGE").is_empty());
        bench.pass_ms(40_000);
        bench.assert_at_rest();
    }
}

#[test]
fn a_request_of_a_dialog_does_not_fail_over() {
    let mut settings = trunkline_dataplane::lab::settings(1);
    let second = host(4);
    settings.trunks[1].targets.push(second);
    let mut bench = bench_of(&settings);
    let (_, answered) = establish(&mut bench, 0, "dialog");
    let bye = bench.caller(0, &in_dialog("BYE", "dialog", "2", "b-bye", &answered));
    let sent = to_callee(&bye);
    assert!(to(&bench.pass_ms(5_000), 4).is_empty());
    let unavailable = bench::answer(&sent, "503 Service Unavailable", "", "");
    let left = bench.callee(0, &unavailable);
    assert!(to(&left, 4).is_empty());
    assert_eq!(status(&to_caller(&left)), "500", "not as it is");
}

#[test]
fn a_503_of_a_single_target_becomes_a_500_and_keeps_the_rest() {
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("alone", "")));
    let lines = "Reason: Q.850;cause=42\r\n";
    let left = bench.callee(
        0,
        &bench::answer(&sent, "503 Service Unavailable", lines, ""),
    );
    let failed = to_caller(&left);
    assert!(failed.starts_with("SIP/2.0 500 Server Internal Error\r\nVia: "));
    assert_eq!(header(&failed, "Reason"), "Q.850;cause=42");
}

#[test]
fn a_cancel_leaves_nobody_to_be_tried_and_gives_the_silent_one_its_full_time() {
    let mut bench = bench(TWO);
    bench.caller(0, &invite("cancel", ""));
    let left = bench.caller(0, &request("CANCEL", "cancel", "1", "b1", "", ""));
    assert_eq!(left.len(), 1);
    let left = bench.pass_ms(31_900);
    assert_eq!(hosts_that_got(&left, "INVITE"), [3; 6]);
    let failed = all_to_caller(&bench.pass_ms(200));
    assert_eq!(status(&failed[0]), "487");
    bench.caller(0, &ack_of_failure(&failed[0]));
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}
