//! Requests that come together again: forked upstream (RFC 3261 §8.2.2.2), or looped back by somebody
//! behind us (RFC 5393 §4.1).
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::collections::VecDeque;

use bench::Bench;
use bench::Left;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::carriers::ack_of_failure;
use bench::carriers::bench_of;
use bench::carriers::says;
use bench::carriers::settings;
use bench::invite;
use bench::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::ids::TrunkIndex;

#[test]
fn a_request_that_was_forked_before_us_and_merges_here_is_refused() {
    let mut bench = Bench::new(2);
    let first = invite("merged", &sdp(CALLER_MEDIA));
    to_callee(&bench.caller(0, &first));
    let again = first.replacen("z9hG4bKb1", "z9hG4bKb2", 1);
    assert_eq!(status(&to_caller(&bench.caller(0, &again))), "482");
    // To somebody else it is another request.
    let other = again
        .replace("b2", "b3")
        .replace("INVITE sip:100", "INVITE sip:200");
    to_callee(&bench.caller(0, &other));
    assert_eq!(bench.count(Counter::CallsStarted), 2);
}

/// The same request on another branch, as another way upstream would bring it.
fn by_another_way(text: &str) -> String {
    text.replacen("z9hG4bKb1", "z9hG4bKb2", 1)
}

#[test]
fn one_that_has_failed_may_be_tried_again_by_another_way() {
    let mut bench = Bench::new(1);
    let first = invite("again", "");
    let sent = to_callee(&bench.caller(0, &first));
    let left = bench.callee(0, &answer(&sent, "503 Service Unavailable", "", ""));
    let failed = left.iter().find(|left| left.destination == bench::CALLER);
    bench.caller(0, &ack_of_failure(&failed.unwrap().text()));
    let sent = to_callee(&bench.caller(0, &by_another_way(&first)));
    // That one is under way now, and is so while its 2xx may be lost.
    let third = first.replacen("z9hG4bKb1", "z9hG4bKb3", 1);
    assert_eq!(status(&to_caller(&bench.caller(0, &third))), "482");
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    assert_eq!(status(&to_caller(&bench.callee(0, &ok))), "200");
    let fourth = first.replacen("z9hG4bKb1", "z9hG4bKb4", 1);
    assert_eq!(status(&to_caller(&bench.caller(0, &fourth))), "482");
}

/// What the switch behind both carriers does with what it gets: a request goes back to the box with
/// a Via more, a response to where the Via below its own says, which is the box.
fn switched(text: &str, last: u8, nth: usize) -> String {
    let via = text.find("Via: ").unwrap();
    if text.starts_with("SIP/2.0") {
        let end = via + text[via..].find("\r\n").unwrap() + 2;
        return format!("{}{}", &text[..via], &text[end..]);
    }
    let ours = format!("Via: SIP/2.0/UDP 10.77.2.{last};branch=z9hG4bKs{nth}\r\n");
    format!("{}{ours}{}", &text[..via], &text[via..]).replacen(
        &format!("@10.77.2.{last} "),
        "@10.77.2.1 ",
        1,
    )
}

#[test]
fn a_fork_that_a_switch_behind_us_brings_back_is_not_forked_again_and_again() {
    let mut settings = settings(1, &[(1000, &[3]), (500, &[4])]);
    for from in [1, 2] {
        let mut back = settings.routes[0].clone();
        back.from = Some(TrunkIndex(from));
        settings.routes.insert(0, back);
    }
    let mut bench = bench_of(&settings);
    // As many rounds as fit into a datagram with their Vias.
    let looped = request("MESSAGE", "loop", "1", "m1", "", "").replace(": 70", ": 7");
    let mut under_way: VecDeque<Left> = bench.caller(0, &looped).into();
    // The two from us, and inside of each two by each of the two ways.
    let mut rounds = 0;
    while let Some(left) = under_way.pop_front() {
        let text = left.text();
        if left.destination == bench::CALLER {
            assert_eq!(status(&text), "482");
            continue;
        }
        rounds += usize::from(text.starts_with("MESSAGE"));
        assert!(rounds <= 10, "{text}");
        let last = if left.destination.ip().to_string() == "10.77.2.3" {
            3
        } else {
            4
        };
        let more = says(&mut bench, last, &switched(&text, last, rounds));
        under_way.extend(more);
    }
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}
