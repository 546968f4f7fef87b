//! Messages of nearly 64 KiB, which come and go by the kernel.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::CALLER;
use bench::CORE;
use bench::Left;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::carriers;
use bench::carriers::ack_of_failure;
use bench::carriers::answer_of;
use bench::carriers::host;
use bench::carriers::one_to;
use bench::carriers::says;
use bench::header;
use bench::invite;
use bench::padded;
use bench::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::frame::KeptConfig;
use trunkline_dataplane::lab;
use trunkline_dataplane::limits::SIP_LEN_MAX;
use trunkline_dataplane::ring::FakeConfig;

/// A session description that is `len` bytes long.
fn long_sdp(address: SocketAddr, len: usize) -> String {
    let mut text = sdp(address);
    while text.len() < len {
        let more = (len - text.len()).clamp(8, 1000);
        text.push_str(&format!("a=x:{}\r\n", "y".repeat(more - 6)));
    }
    text
}

#[test]
fn an_offer_and_an_answer_of_nearly_64_kib_pass_with_their_media_anchored() {
    let mut bench = Bench::new(2);
    let call_id = bench.call_id_of(1);
    let offer = invite(&call_id, &long_sdp(CALLER_MEDIA, 64_600));
    // Control hands it to the wrong worker: the owner gets it all the same.
    let left = bench.by_socket(0, CALLER, 0, offer.as_bytes());
    assert_eq!(status(&to_caller(&left)), "100");
    let sent = to_callee(&bench.by_kernel());
    assert!(sent.len() > 65_000, "{}", sent.len());
    let relay = media_in(&sent);
    assert_eq!(relay.ip(), CORE.ip());
    let tail = |text: &str| text[text.find("a=x:").unwrap()..].to_owned();
    assert_eq!(tail(&sent), tail(&offer));

    let ok = answer(&sent, "200 OK", CONTACT, &long_sdp(CALLEE_MEDIA, 64_600));
    assert!(bench.by_socket(1, CALLEE, 1, ok.as_bytes()).is_empty());
    let answered = to_caller(&bench.by_kernel());
    assert_eq!(media_in(&answered).ip(), ACCESS.ip());
    assert_eq!(tail(&answered), tail(&ok));
    let ack = in_dialog("ACK", &call_id, "1", "b2", &answered);
    to_callee(&bench.caller(0, &ack));
    assert_eq!(bench.count(Counter::CallsAnswered), 1);
}

#[test]
fn a_request_that_would_outgrow_a_datagram_is_answered_513() {
    let mut bench = Bench::new(1);
    let whole = padded(&invite("whole", ""), SIP_LEN_MAX);
    assert_eq!(whole.len(), SIP_LEN_MAX);
    let left = bench.by_socket(0, CALLER, 0, whole.as_bytes());
    assert_eq!(status(&to_caller(&left)), "513");
    let body = padded(
        &invite("body", &long_sdp(CALLER_MEDIA, 64_000)),
        SIP_LEN_MAX,
    );
    let left = bench.by_socket(0, CALLER, 0, body.as_bytes());
    assert_eq!(status(&to_caller(&left)), "513");
    // IPv6 carries 20 bytes more than any message may have.
    let more = padded(&invite("more", ""), SIP_LEN_MAX + 20);
    let left = bench.by_socket(0, CALLER, 0, more.as_bytes());
    assert_eq!(status(&to_caller(&left)), "513");
    let sum = bench.count(Counter::SipAnswered);
    assert_eq!((sum, bench.count(Counter::KernelIn)), (3, 3));
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

/// Two trunks in parallel.
const PAIR: &[(u16, &[u8])] = &[(500, &[3]), (500, &[4])];

/// A host of the core says something long.
fn says_long(bench: &mut Bench, last: u8, text: &str) -> Vec<Left> {
    bench.by_socket(0, host(last), 1, text.as_bytes())
}

#[test]
fn challenges_that_do_not_fit_do_not_cost_the_caller_its_answer() {
    // RFC 3261 §16.7 step 6: there is a final response, whatever step 7 would add to it.
    let mut bench = carriers::bench(PAIR);
    let left = bench.caller(0, &invite("auth", ""));
    let (a, b) = (one_to(&left, 3), one_to(&left, 4));
    let www = "WWW-Authenticate: Digest realm=\"a\"\r\n";
    let best = answer_of(3, &a, "401 Unauthorized", www, "");
    let best = padded(&best, SIP_LEN_MAX);
    says_long(&mut bench, 3, &best);
    let proxy = format!(
        "Proxy-Authenticate: Digest realm=\"{}\"\r\n",
        "b".repeat(400)
    );
    says(
        &mut bench,
        4,
        &answer_of(4, &b, "407 Proxy Authentication Required", &proxy, ""),
    );
    let failed = to_caller(&bench.by_kernel());
    assert_eq!(status(&failed), "401");
    assert_eq!(failed.matches("-Authenticate: ").count(), 1);
    assert_eq!(header(&failed, "Via").matches("z9hG4bKb1").count(), 1);
    bench.caller(0, &ack_of_failure(&failed));
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_503_too_long_to_be_kept_is_a_500_as_well() {
    let mut settings = carriers::settings(1, PAIR);
    settings.capacity.kept = KeptConfig::new(64, 0);
    let mut bench = carriers::bench_of(&settings);
    let left = bench.caller(0, &invite("busy", ""));
    let sent = [3, 4].map(|last| one_to(&left, last));
    let mut failed = Vec::new();
    for (last, sent) in [3, 4].into_iter().zip(&sent) {
        let unavailable = answer_of(last, sent, "503 Service Unavailable", "", "");
        failed = says_long(&mut bench, last, &padded(&unavailable, 30_000));
    }
    let failed = failed.iter().find(|left| left.destination == CALLER);
    assert_eq!(status(&failed.expect("an answer").text()), "500");
    assert_eq!(
        bench.count(Counter::KeptExhausted),
        1,
        "the first is the best"
    );
}

/// Four streams, each with an address of its own.
fn four_streams(address: &str, port: u16) -> String {
    let stream = format!("m=audio {port} RTP/AVP 8\r\nc=IN IP4 {address}\r\n");
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nt=0 0\r\n{}",
        stream.repeat(4)
    )
}

#[test]
fn a_2xx_that_does_not_fit_goes_as_it_came_and_its_session_is_nobodys_to_refresh() {
    let mut settings = lab::settings(1);
    settings.session.expires_s = 3_600;
    let network = lab::network(1, 1500, &lab::everybody());
    let supports = "Supported: timer\r\n";
    let offer = four_streams("10.77.1.2", 6000);
    let invite = request("INVITE", "whole", "1", "b1", supports, &offer);
    let told = "Session-Expires: 3600;refresher=uac\r\n";
    for fits in [true, false] {
        let mut bench = Bench::with(&settings, FakeConfig::default(), &network);
        let sent = to_callee(&bench.caller(0, &invite));
        let ok = answer(&sent, "200 OK", CONTACT, &four_streams("1.1.1.1", 8));
        let len = if fits { SIP_LEN_MAX - 100 } else { SIP_LEN_MAX };
        bench.by_socket(0, CALLEE, 1, padded(&ok, len).as_bytes());
        let answered = to_caller(&bench.by_kernel());
        assert_eq!(status(&answered), "200");
        let is_bare = answered.contains("c=IN IP4 1.1.1.1\r\n");
        assert_eq!((answered.contains(told), is_bare), (fits, !fits));
        bench.now = bench.now.plus_ms(4_000_000);
        bench.turn();
        // The one that nobody refreshes, though it was told to, is ended at both sides.
        let byes = bench
            .left
            .iter()
            .filter(|left| left.text().starts_with("BYE"));
        assert_eq!(byes.count(), if fits { 2 } else { 0 });
    }
}
