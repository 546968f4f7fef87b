//! Captures and samples over whole workers: what the operator sees of a call.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::ACCESS;
use bench::Bench;
use bench::CALLER;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::rtp;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::invite;
use bench::sdp;
use trunkline_dataplane::capture::Captured;
use trunkline_dataplane::capture::Direction;
use trunkline_dataplane::capture::Layer;
use trunkline_dataplane::capture::Order;
use trunkline_dataplane::capture::Wanted;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::limits::CAPTURE_MEDIA_SNAP;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Origin;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::mailbox::SipMail;
use trunkline_dataplane::samples::Samples;
use trunkline_dataplane::samples::Stage;
use trunkline_dataplane::sip::ShortText;

fn begin(bench: &mut Bench, wanted: Wanted, media: bool) {
    let until = bench.now.plus_ms(60_000);
    for post in &mut bench.posts {
        let order = Order {
            id: 1,
            slot: 0,
            wanted,
            media,
            until,
        };
        post.mail.post(Mail::Capture(Box::new(order))).unwrap();
    }
    bench.turn();
}

/// What was captured by all workers, oldest first.
fn captured(bench: &mut Bench) -> Vec<(Captured, Vec<u8>)> {
    let mut all = Vec::new();
    for post in &mut bench.posts {
        let mut bytes = Vec::new();
        while let Some(captured) = post.captured.take(&mut bytes) {
            all.push((captured, bytes.clone()));
        }
    }
    all.sort_by_key(|(captured, _)| captured.at);
    all
}

/// The first line of each SIP message, and which way it went.
fn lines(packets: &[(Captured, Vec<u8>)]) -> Vec<String> {
    let line = |(captured, bytes): &(Captured, Vec<u8>)| {
        // Behind Ethernet, IPv4 and UDP.
        let text = String::from_utf8_lossy(bytes.get(42..)?).into_owned();
        let line = text.lines().next()?.to_owned();
        let way = match captured.direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        Some(format!("{way} {line}"))
    };
    packets.iter().filter_map(line).collect()
}

#[test]
fn a_calls_sip_is_seen_once_each_way_whichever_worker_received_it() {
    for owner in 0..2 {
        let mut bench = Bench::new(2);
        let call_id = bench.call_id_of(owner);
        begin(
            &mut bench,
            Wanted::CallId(ShortText::new(call_id.as_bytes())),
            false,
        );
        establish(&mut bench, 0, &call_id);
        let other = format!("{call_id}-other");
        bench.caller(0, &invite(&other, &sdp(CALLER_MEDIA)));
        let seen = lines(&captured(&mut bench));
        let mut expected = vec![
            "in INVITE sip:100@10.77.1.1 SIP/2.0",
            "out SIP/2.0 100 Trying",
            "out INVITE sip:100@10.77.2.2 SIP/2.0",
            "in SIP/2.0 200 OK",
            "out SIP/2.0 200 OK",
            "in ACK sip:callee@10.77.2.2 SIP/2.0",
            "out ACK sip:callee@10.77.2.2 SIP/2.0",
        ];
        let mut sorted = seen.clone();
        sorted.sort();
        expected.sort_unstable();
        assert_eq!(sorted, expected, "owner {owner}: {seen:#?}");
        assert_eq!(bench.count(Counter::CapturesLost), 0);
    }
}

#[test]
fn a_users_media_is_seen_from_the_first_packet_on_every_worker() {
    let mut bench = Bench::new(3);
    let call_id = bench.call_id_of(1);
    begin(&mut bench, Wanted::User(ShortText::new(b"100")), true);
    let sent = to_callee(&bench.caller(0, &invite(&call_id, &sdp(CALLER_MEDIA))));
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(0, &ok));
    captured(&mut bench);
    let relay = media_in(&answered);
    for worker in 0..3 {
        bench.arrives(worker, CALLER_MEDIA, relay, &rtp(8));
    }
    bench.turn();
    let packets = captured(&mut bench);
    assert_eq!(packets.len(), 6, "in and out, on three workers");
    for (packet, bytes) in &packets {
        assert_eq!(bytes.len(), CAPTURE_MEDIA_SNAP, "the headers, no speech");
        assert_eq!(packet.wire_len, 14 + 20 + 8 + 172);
        assert!(matches!(packet.layer, Layer::Frame(_)));
    }
    let outs = packets
        .iter()
        .filter(|(p, _)| p.direction == Direction::Out);
    assert_eq!(outs.count(), 3);
}

#[test]
fn the_media_of_a_call_that_was_up_before_is_found() {
    // The owner that turns first tells the others before they have read their own order.
    for owner in 0..2 {
        let mut bench = Bench::new(2);
        let call_id = bench.call_id_of(owner);
        let (_, answered) = establish(&mut bench, 0, &call_id);
        begin(
            &mut bench,
            Wanted::CallId(ShortText::new(call_id.as_bytes())),
            true,
        );
        let relay = media_in(&answered);
        for worker in 0..2 {
            bench.arrives(worker, CALLER_MEDIA, relay, &rtp(8));
        }
        bench.turn();
        assert_eq!(captured(&mut bench).len(), 4);
    }
}

#[test]
fn what_came_over_the_kernel_is_seen_as_a_datagram() {
    let mut bench = Bench::new(1);
    let call_id = "kernel-1";
    begin(
        &mut bench,
        Wanted::CallId(ShortText::new(call_id.as_bytes())),
        true,
    );
    let message = invite(call_id, &sdp(CALLER_MEDIA));
    let mail = SipMail {
        source: CALLER,
        listen: trunkline_dataplane::ids::ListenIndex(0),
        len: 0,
        origin: Origin::Kernel,
    };
    assert!(bench.posts[0].mail.post_sip(mail, message.as_bytes()));
    bench.turn();
    let (first, bytes) = captured(&mut bench).remove(0);
    let expected = Layer::Datagram {
        source: CALLER,
        destination: ACCESS,
    };
    assert_eq!((first.layer, first.direction), (expected, Direction::In));
    assert_eq!(bytes, message.as_bytes());
}

#[test]
fn a_capture_ends_by_order_and_by_its_time_and_then_costs_nothing_more() {
    let mut bench = Bench::new(2);
    let wanted = Wanted::User(ShortText::new(b"100"));
    begin(&mut bench, wanted, true);
    for post in &mut bench.posts {
        post.mail.post(Mail::CaptureEnd { id: 1 }).unwrap();
    }
    bench.turn();
    let over = |bench: &mut Bench| {
        let reports = bench.reports();
        reports
            .iter()
            .filter(|report| matches!(report, Report::CaptureOver(_)))
            .count()
    };
    assert_eq!(over(&mut bench), 2);
    begin(&mut bench, wanted, true);
    bench.pass_ms(60_100);
    assert_eq!(over(&mut bench), 2);
    let call_id = bench.call_id_of(1);
    establish(&mut bench, 0, &call_id);
    assert!(captured(&mut bench).is_empty());
}

#[test]
fn copies_that_find_no_room_are_counted_and_their_packets_go_on() {
    let mut bench = Bench::new(1);
    let call_id = bench.call_id_of(0);
    begin(
        &mut bench,
        Wanted::CallId(ShortText::new(call_id.as_bytes())),
        true,
    );
    let (_, answered) = establish(&mut bench, 0, &call_id);
    let relay = media_in(&answered);
    let sent = 10_000;
    for _ in 0..sent {
        bench.arrives(0, CALLER_MEDIA, relay, &rtp(8));
        bench.turn();
    }
    assert_eq!(bench.count(Counter::RtpForwarded), sent);
    let lost = bench.count(Counter::CapturesLost);
    let kept = captured(&mut bench).len() as u64;
    // Seven of SIP before.
    assert_eq!(kept + lost, 2 * sent + 7);
    assert!(lost > 0);
    to_callee(&bench.caller(0, &in_dialog("BYE", &call_id, "2", "b9", &answered)));
    assert_eq!(captured(&mut bench).len(), 2);
}

#[test]
fn samples_tell_the_stages_of_a_call_and_who_sent_it() {
    let mut bench = Bench::new(1);
    let call_id = bench.call_id_of(0);
    let (_, answered) = establish(&mut bench, 0, &call_id);
    bench.pass_ms(5);
    bench.arrives(0, CALLER_MEDIA, media_in(&answered), &rtp(8));
    bench.turn();
    bench.posts[0]
        .mail
        .post(Mail::Samples(Box::default()))
        .unwrap();
    bench.turn();
    let reports = bench.reports();
    let samples: &Samples = reports
        .iter()
        .find_map(|report| match report {
            Report::Samples(samples) => Some(&**samples),
            _ => None,
        })
        .unwrap();
    // The bench's clock stands still, so one turn in many is sampled; the first is.
    for stage in [
        Stage::SipScan,
        Stage::SipProxy,
        Stage::SipSend,
        Stage::SipAdded,
    ] {
        assert!(!samples.histogram(stage).is_empty(), "{stage:?}");
    }
    assert_eq!(samples.histogram(Stage::MediaRelay).len(), 1);
    assert_eq!(samples.histogram(Stage::MediaAdded).len(), 1);
    assert!(samples.histogram(Stage::MediaRelay).max() < 1_000_000_000);
    let talker = samples.talkers().next().unwrap();
    assert_eq!((talker.address, talker.dropped), (CALLER.ip(), 0));
}
