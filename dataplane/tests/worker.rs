//! Whole workers on fake rings: what leaves, byte for byte, and how each bad thing ends by
//! its name.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLER;
use bench::CORE;
use bench::answer;
use bench::branch;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::rtp;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::header;
use bench::invite;
use bench::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::frame::KeptConfig;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::lab;
use trunkline_dataplane::ring::FakeConfig;
use trunkline_dataplane::ring::RingLens;
use trunkline_dataplane::settings::Capacity;

// --- A basic call, byte for byte ---------------------------------------------

#[test]
fn a_call_through_two_workers_leaves_byte_for_byte() {
    let mut bench = Bench::new(2);
    // All signalling lands on worker 0, and worker 1 owns the call.
    let call_id = bench.call_id_of(1);
    let left = bench.caller(0, &invite(&call_id, &sdp(CALLER_MEDIA)));
    assert!(
        left.iter().all(|left| left.worker == 1),
        "the owner answers: {left:#?}"
    );
    let via = "SIP/2.0/UDP 10.77.1.2;rport=5060;branch=z9hG4bKb1;received=10.77.1.2";
    let common = "From: <sip:caller@10.77.1.2>;tag=caller\r\nTo: <sip:100@10.77.1.1>";
    assert_eq!(
        to_caller(&left),
        format!(
            "SIP/2.0 100 Trying\r\nVia: {via}\r\n{common}\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        )
    );
    let forwarded = to_callee(&left);
    let relay = media_in(&forwarded);
    let ours = branch(&forwarded);
    let cookie = header(&forwarded, "Record-Route");
    let cookie = cookie.split("tl=").nth(1).unwrap().trim_end_matches('>');
    assert_eq!(cookie.len(), 24);
    let body = sdp(relay).replace("o=- 1 1 IN IP4 10.77.2.1", "o=- 1 1 IN IP4 10.77.1.2");
    assert_eq!(
        forwarded,
        format!(
            "INVITE sip:100@10.77.2.2 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 10.77.2.1;branch={ours}\r\n\
             Via: {via}\r\n\
             Record-Route: <sip:10.77.2.1;lr;tl={cookie}>\r\n\
             Record-Route: <sip:10.77.1.1;lr;tl={cookie}>\r\n\
             Max-Forwards: 69\r\nMax-Breadth: 60\r\n{common}\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:caller@10.77.1.2>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    );
    assert_eq!(relay.ip(), CORE.ip());

    let ringing = answer(&forwarded, "180 Ringing", CONTACT, "");
    let back = to_caller(&bench.callee(0, &ringing));
    let top = format!("Via: SIP/2.0/UDP 10.77.2.1;branch={ours}\r\n");
    assert_eq!(back, ringing.replace(&top, ""));

    let ok = answer(&forwarded, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let back = to_caller(&bench.callee(0, &ok));
    let relay_to_caller = media_in(&back);
    assert_eq!(relay_to_caller.ip(), ACCESS.ip());
    let old = format!("m=audio {} ", CALLEE_MEDIA.port());
    let new = format!("m=audio {} ", relay_to_caller.port());
    let length = |body: &str| format!("Content-Length: {}", body.len());
    let body = sdp(CALLEE_MEDIA)
        .replace(&old, &new)
        .replace("c=IN IP4 10.77.2.2", "c=IN IP4 10.77.1.1");
    let expected = ok.replace(&top, "").replace(&sdp(CALLEE_MEDIA), &body);
    assert_eq!(
        back,
        expected.replace(&length(&sdp(CALLEE_MEDIA)), &length(&body))
    );

    // The ACK and the BYE follow the Record-Route; ours is taken away from them.
    for (method, cseq) in [("ACK", "1"), ("BYE", "2")] {
        let said = in_dialog(method, &call_id, cseq, "b2", &back);
        let left = to_callee(&bench.caller(0, &said));
        let ours = branch(&left);
        let routes: String = said
            .split_inclusive("\r\n")
            .filter(|line| line.starts_with("Route: "))
            .collect();
        assert_eq!(routes.lines().count(), 2);
        let expected = said
            .replace(&routes, "")
            .replace("Max-Forwards: 70", "Max-Forwards: 69\r\nMax-Breadth: 60")
            .replace(
                "Via: SIP/2.0/UDP 10.77.1.2;rport;branch=z9hG4bKb2",
                &format!(
                    "Via: SIP/2.0/UDP 10.77.2.1;branch={ours}\r\nVia: SIP/2.0/UDP \
                     10.77.1.2;rport=5060;branch=z9hG4bKb2;received=10.77.1.2"
                ),
            );
        assert_eq!(left, expected);
        if method == "BYE" {
            let back = to_caller(&bench.callee(0, &answer(&left, "200 OK", "", "")));
            assert_eq!(
                (status(&back), header(&back, "CSeq").as_str()),
                ("200", "2 BYE")
            );
        }
    }
    assert_eq!(
        bench.count(Counter::MailedToOwner),
        bench.count(Counter::MailIn)
    );
    assert!(
        bench.count(Counter::MailIn) >= 6,
        "responses too arrived at the wrong worker"
    );
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn the_callee_hangs_up_with_two_routes_and_reaches_the_caller() {
    let mut bench = Bench::new(2);
    let (sent, _) = establish(&mut bench, 0, "hang-up");
    let routes: String = sent
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    let bye = format!(
        "BYE sip:caller@10.77.1.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.77.2.2;branch=z9hG4bKcc\r\n\
         {routes}Max-Forwards: 70\r\nFrom: <sip:100@10.77.1.1>;tag=callee\r\n\
         To: <sip:caller@10.77.1.2>;tag=caller\r\nCall-ID: hang-up\r\nCSeq: 1 BYE\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let left = to_caller(&bench.callee(1, &bye));
    // RFC 3261 §18.2.1: without rport, and with the right address in Via, nothing is added.
    assert!(left.contains("Via: SIP/2.0/UDP 10.77.1.1;branch=") && !left.contains("Route:"));
    assert!(
        left.contains("Via: SIP/2.0/UDP 10.77.2.2;branch=z9hG4bKcc\r\n"),
        "{left}"
    );
    let ok = answer(&left, "200 OK", "", "");
    assert_eq!(status(&to_callee(&bench.caller(1, &ok))), "200");
    assert_eq!(bench.count(Counter::CallsEnded), 1);
}

// --- What the box answers itself ----------------------------------------------

#[test]
fn options_to_the_box_are_answered_and_to_others_forwarded() {
    let mut bench = Bench::new(2);
    let text = request("OPTIONS", "o1", "1", "o1", "", "")
        .replace("sip:100@10.77.1.1 SIP", "sip:10.77.1.1 SIP");
    let left = bench.caller(0, &text);
    assert_eq!(left.len(), 1);
    let back = to_caller(&left);
    assert_eq!(status(&back), "200");
    assert!(header(&back, "Allow").contains("INVITE") && header(&back, "To").contains(";tag="));
    assert_eq!(
        bench.count(Counter::TransactionsNow),
        0,
        "no state is kept for it"
    );
    let through = to_callee(&bench.caller(0, &request("OPTIONS", "o2", "1", "o2", "", "")));
    assert!(through.starts_with("OPTIONS sip:100@10.77.2.2 SIP/2.0\r\n"));
}

#[test]
fn a_request_without_hops_or_with_an_unknown_scheme_is_refused() {
    let mut bench = Bench::new(1);
    let no_hops = invite("h", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(status(&to_caller(&bench.caller(0, &no_hops))), "483");
    let sips = invite("s", "").replacen("sip:100", "sips:100", 1);
    assert_eq!(status(&to_caller(&bench.caller(0, &sips))), "416");
    let require = invite("r", "").replace("CSeq:", "Proxy-Require: foo\r\nCSeq:");
    let back = to_caller(&bench.caller(0, &require));
    assert_eq!(
        (status(&back), header(&back, "Unsupported").as_str()),
        ("420", "foo")
    );
    bench.assert_at_rest();
}

#[test]
fn a_to_tag_without_our_cookie_is_no_dialog() {
    let mut bench = Bench::new(2);
    let more = "To: <sip:100@10.77.1.1>;tag=x\r\n";
    let left = bench.caller(0, &request("BYE", "lost", "2", "b9", more, ""));
    assert_eq!(status(&to_caller(&left)), "481");
    let forged =
        "Route: <sip:10.77.1.1;lr;tl=aaaaaaaaaaaaaaaa>\r\nTo: <sip:100@10.77.1.1>;tag=x\r\n";
    let left = bench.caller(0, &request("BYE", "lost", "3", "b10", forged, ""));
    assert_eq!(status(&to_caller(&left)), "481");
    // An ACK gets no answer, whatever it is.
    let left = bench.caller(0, &request("ACK", "lost", "3", "b11", forged, ""));
    assert!(left.is_empty());
    assert_eq!(bench.count(Counter::SipStrayAck), 1);
}

#[test]
fn an_unknown_source_gets_nothing_and_is_counted() {
    let mut bench = Bench::new(2);
    let stranger = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 5060);
    for message in [invite("u", ""), "no SIP at all\r\n\r\n".to_owned()] {
        assert!(bench.say(0, stranger, ACCESS, &message).is_empty());
    }
    assert_eq!(bench.count(Counter::SipSourceUnknown), 1);
    assert_eq!(bench.count(Counter::SipMalformed), 1);
    bench.assert_at_rest();
}

#[test]
fn a_malformed_request_from_a_trunk_is_answered_400() {
    let mut bench = Bench::new(1);
    let lying = invite("m", "").replace("Content-Length: 0", "Content-Length: 10");
    let left = bench.caller(0, &lying);
    assert_eq!(status(&to_caller(&left)), "400");
    assert!(bench.caller(0, "\r\n\r\n").is_empty());
    assert_eq!(bench.count(Counter::SipKeepalive), 1);
}

// --- Transactions ---------------------------------------------------------------

#[test]
fn a_repeated_invite_is_absorbed_and_gets_its_100_again() {
    let mut bench = Bench::new(2);
    let invite = invite("again", "");
    let first = to_caller(&bench.caller(0, &invite));
    let left = bench.caller(0, &invite);
    assert_eq!(left.len(), 1, "nothing goes on: {left:#?}");
    assert_eq!(to_caller(&left), first);
    assert_eq!(bench.count(Counter::RetransmissionsAbsorbed), 1);
    // The callee's 180 takes the place of the 100.
    assert_eq!(bench.count(Counter::Retransmissions), 1);
}

#[test]
fn an_unanswered_invite_is_sent_seven_times_and_ends_in_408() {
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("silent", "")));
    let left = bench.pass_ms(31_900);
    assert_eq!(left.len(), 6);
    assert!(left.iter().all(|left| left.text() == sent));
    let failed = to_caller(&bench.pass_ms(200));
    assert_eq!(status(&failed), "408");
    let ack = request(
        "ACK",
        "silent",
        "1",
        "b1",
        &format!("To: {}\r\n", header(&failed, "To")),
        "",
    );
    assert!(bench.caller(0, &ack).is_empty());
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_busy_callee_is_acknowledged_by_the_box_and_the_caller_by_itself() {
    let mut bench = Bench::new(2);
    let sent = to_callee(&bench.caller(0, &invite("busy", &sdp(CALLER_MEDIA))));
    let busy = answer(&sent, "486 Busy Here", "", "");
    let left = bench.callee(0, &busy);
    let ack = to_callee(&left);
    assert_eq!(
        ack,
        format!(
            "ACK sip:100@10.77.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.77.2.1;branch={}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:caller@10.77.1.2>;tag=caller\r\n\
             To: <sip:100@10.77.1.1>;tag=callee\r\nCall-ID: busy\r\nCSeq: 1 ACK\r\n\
             Content-Length: 0\r\n\r\n",
            branch(&sent)
        )
    );
    let back = to_caller(&left);
    assert_eq!(status(&back), "486");
    // Until the caller's ACK comes, Timer G repeats it.
    assert_eq!(to_caller(&bench.pass_ms(600)), back);
    let theirs = request(
        "ACK",
        "busy",
        "1",
        "b1",
        "To: <sip:100@10.77.1.1>;tag=callee\r\n",
        "",
    );
    assert!(bench.caller(0, &theirs).is_empty(), "it ends here");
    assert!(bench.pass_ms(5_000).is_empty());
    // A late repetition of the 486 is acknowledged again.
    assert_eq!(to_callee(&bench.callee(0, &busy)), ack);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_cancel_is_answered_and_sent_on_once_the_callee_has_spoken() {
    let mut bench = Bench::new(2);
    let sent = to_callee(&bench.caller(0, &invite("cancel", "")));
    let cancel = request("CANCEL", "cancel", "1", "b1", "", "");
    let left = bench.caller(0, &cancel);
    assert_eq!(status(&to_caller(&left)), "200");
    assert_eq!(left.len(), 1, "nothing was heard of the callee yet");
    let left = bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, ""));
    let on = to_callee(&left);
    assert!(on.starts_with("CANCEL sip:100@10.77.2.2 SIP/2.0\r\n"));
    assert_eq!(branch(&on), branch(&sent));
    assert!(bench.callee(0, &answer(&on, "200 OK", "", "")).is_empty());
    let left = bench.callee(0, &answer(&sent, "487 Request Terminated", "", ""));
    assert_eq!(status(&to_caller(&left)), "487");
    assert!(to_callee(&left).starts_with("ACK "));
    let ack = request(
        "ACK",
        "cancel",
        "1",
        "b1",
        "To: <sip:100@10.77.1.1>;tag=callee\r\n",
        "",
    );
    assert!(bench.caller(0, &ack).is_empty());
    assert_eq!(bench.count(Counter::CallsFailed), 1);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_cancel_of_nothing_or_by_another_trunk_cancels_nothing() {
    let mut bench = Bench::new(2);
    let cancel = request("CANCEL", "none", "1", "b1", "", "");
    assert_eq!(status(&to_caller(&bench.caller(0, &cancel))), "481");
    let sent = to_callee(&bench.caller(0, &invite("mine", "")));
    bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, ""));
    let left = bench.callee(0, &request("CANCEL", "mine", "1", "b1", "", ""));
    assert_eq!(status(&to_callee(&left)), "481");
    assert_eq!(left.len(), 1);
}

#[test]
fn forged_stale_and_stray_responses_end_by_their_names() {
    let mut bench = Bench::new(2);
    let sent = to_callee(&bench.caller(0, &invite("branches", "")));
    let good = answer(&sent, "180 Ringing", CONTACT, "");
    let ours = branch(&sent);
    let flip = |at: usize| {
        let mut forged = ours.clone().into_bytes();
        forged[at] = if forged[at] == b'a' { b'b' } else { b'a' };
        good.replace(&ours, std::str::from_utf8(&forged).unwrap())
    };
    assert!(bench.callee(0, &flip(30)).is_empty());
    assert_eq!(bench.count(Counter::SipBranchForged), 1);
    // Characters 10 and 11 carry the boot.
    assert!(bench.callee(0, &flip(11)).is_empty());
    assert_eq!(bench.count(Counter::SipBranchStale), 1);
    // A good one is still taken, in any case.
    let upper = good.replace(&ours, &ours.to_uppercase().replace("Z9HG4BK", "z9hG4bK"));
    assert_eq!(status(&to_caller(&bench.callee(1, &upper))), "180");
    bench.callee(0, &answer(&sent, "486 Busy Here", "", ""));
    bench.pass_ms(40_000);
    assert!(bench.callee(0, &good).is_empty());
    assert_eq!(bench.count(Counter::SipStrayResponse), 1);
    bench.assert_at_rest();
}

// --- Media ----------------------------------------------------------------------

#[test]
fn media_passes_on_every_worker_and_a_strangers_does_not() {
    let mut bench = Bench::new(2);
    let (sent, answered) = establish(&mut bench, 0, "media");
    let (at_core, at_access) = (media_in(&sent), media_in(&answered));
    for worker in [0, 1] {
        bench.arrives(worker, CALLER_MEDIA, at_access, &rtp(8));
        bench.turn();
        let left = bench.left.pop_front().unwrap();
        assert_eq!((left.source, left.destination), (at_core, CALLEE_MEDIA));
        assert_eq!((left.payload, left.worker), (rtp(8), worker));
        bench.arrives(worker, CALLEE_MEDIA, at_core, &rtp(8));
        bench.turn();
        let left = bench.left.pop_front().unwrap();
        assert_eq!((left.source, left.destination), (at_access, CALLER_MEDIA));
    }
    let stranger = SocketAddr::new(lab::STRANGERS[0], CALLER_MEDIA.port());
    bench.arrives(0, stranger, at_access, &rtp(8));
    bench.arrives(0, CALLER_MEDIA, at_access, &rtp(96));
    bench.turn();
    assert!(bench.left.is_empty());
    assert_eq!(bench.count(Counter::MediaSourceUnknown), 1);
    assert_eq!(bench.count(Counter::MediaPayloadType), 1);
    assert_eq!(
        bench.count(Counter::FlowsNow),
        8,
        "four flows on each worker"
    );

    let bye = in_dialog("BYE", "media", "2", "b3", &answered);
    let bye = to_callee(&bench.caller(0, &bye));
    bench.callee(0, &answer(&bye, "200 OK", "", ""));
    bench.pass_ms(600);
    bench.arrives(1, CALLER_MEDIA, at_access, &rtp(8));
    bench.turn();
    assert!(bench.left.is_empty());
    assert_eq!(bench.count(Counter::MediaPortClosed), 1);
    assert_eq!(bench.count(Counter::FlowsNow), 0);
}

// --- Too much, too large, nowhere -------------------------------------------------

#[test]
fn a_full_table_refuses_with_503_and_remembers_it() {
    let mut settings = lab::settings(1);
    settings.capacity = Capacity {
        transactions: 4,
        calls: 2,
        kept: KeptConfig::new(8, 1),
        ..Capacity::SMALL
    };
    let mut bench = Bench::of(&settings);
    for n in ["1", "2"] {
        let text = invite(n, "").replace("z9hG4bKb1", &format!("z9hG4bKn{n}"));
        to_callee(&bench.caller(0, &text));
    }
    let third = invite("3", "").replace("z9hG4bKb1", "z9hG4bKn3");
    let refused = to_caller(&bench.caller(0, &third));
    assert_eq!(status(&refused), "503");
    assert!(!refused.contains("Retry-After"));
    // Its repetition gets the same, its CANCEL and its ACK find their end.
    assert_eq!(to_caller(&bench.caller(0, &third)), refused);
    let to = format!("To: {}\r\n", header(&refused, "To"));
    for (method, to) in [("CANCEL", ""), ("ACK", to.as_str())] {
        assert!(
            bench
                .caller(0, &request(method, "3", "1", "n3", to, ""))
                .is_empty()
        );
    }
    // When there is room again the repetition is still refused, and a new call is not.
    bench.pass_ms(31_000);
    assert_eq!(to_caller(&bench.caller(0, &third)), refused);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
    to_callee(&bench.caller(0, &invite("4", "")));
}

#[test]
fn the_bye_of_every_call_finds_room_in_a_full_table() {
    let mut settings = lab::settings(1);
    settings.capacity = Capacity {
        transactions: 6,
        calls: 4,
        kept: KeptConfig::new(16, 1),
        ..Capacity::SMALL
    };
    let mut bench = Bench::of(&settings);
    let (_, answered) = establish(&mut bench, 0, "first");
    let mut refused = false;
    for n in 0..6 {
        let text = request("OPTIONS", "flood", &n.to_string(), &format!("f{n}"), "", "");
        refused |= bench
            .caller(0, &text)
            .iter()
            .any(|left| status(&left.text()) == "503");
    }
    assert!(refused);
    let bye = to_callee(&bench.caller(0, &in_dialog("BYE", "first", "2", "b3", &answered)));
    assert_eq!(
        status(&to_caller(
            &bench.callee(0, &answer(&bye, "200 OK", "", ""))
        )),
        "200"
    );
}

#[test]
fn tiny_rings_drop_by_name_and_the_sums_stay_exact() {
    let lens = RingLens {
        rx: 2,
        fill: 4,
        tx: 2,
    };
    let config = FakeConfig {
        lens,
        frames: Some(13),
        ..FakeConfig::default()
    };
    let network = lab::network(1, 1500, &lab::everybody());
    let mut bench = Bench::with(&lab::settings(2), config, &network);
    let (_, answered) = establish(&mut bench, 0, "tiny");
    // The kernel's side is slow: nothing completes.
    for worker in &mut bench.workers {
        use trunkline_dataplane::ring::Rings as _;
        worker.rings_mut().delay_completions(true);
        assert!(worker.rings_mut().ledger().balanced());
    }
    let at_access = media_in(&answered);
    for _ in 0..20 {
        bench.arrives(0, CALLER_MEDIA, at_access, &rtp(8));
        bench.turn();
        bench.caller(
            0,
            &request("OPTIONS", "tiny-options", "1", "t", "", "")
                .replace("sip:100@10.77.1.1 SIP", "sip:10.77.1.1 SIP"),
        );
    }
    let not_sent = bench.count(Counter::SipNoFrame) + bench.count(Counter::SipTxFull);
    assert!(not_sent > 10 && bench.count(Counter::MediaTxFull) > 10);
    for worker in &mut bench.workers {
        worker.rings_mut().delay_completions(false);
    }
    bench.turn();
    bench.arrives(0, CALLER_MEDIA, at_access, &rtp(8));
    bench.turn();
    assert_eq!(bench.left.len(), 1, "it goes on when the ring drains");
}

/// Two workers with two queues of each interface: calls pass, media is spread over the
/// queues, and each flow's packets leave in their order.
#[test]
fn more_queues_than_workers_share_what_leaves() {
    use trunkline_dataplane::ring::Rings as _;
    let config = FakeConfig {
        queues: 2,
        ..FakeConfig::default()
    };
    let network = lab::network(1, 1500, &lab::everybody());
    let mut bench = Bench::with(&lab::settings(2), config, &network);
    for call in 0..8 {
        let offer = invite(&format!("spread-{call}"), &sdp(CALLER_MEDIA))
            .replace("z9hG4bKb1", &format!("z9hG4bKb{call}"));
        let sent = to_callee(&bench.caller(0, &offer));
        let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
        let answered = to_caller(&bench.callee(0, &ok));
        let at_access = media_in(&answered);
        for sequence in 0..10 {
            let mut packet = rtp(8);
            packet[3] = sequence;
            bench.arrives(0, CALLER_MEDIA, at_access, &packet);
        }
        bench.turn();
        let left = bench.left.drain(..).map(|left| left.payload[3]);
        assert!(left.eq(0..10), "call {call}");
    }
    let mut sent = Vec::new();
    bench.workers[0].rings_mut().statistics(&mut |socket| {
        if socket.device.0 == 1 {
            sent.push(socket.tx);
        }
    });
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|&tx| tx >= 10), "{sent:?}");
}

#[test]
fn a_damaged_sip_datagram_and_a_foreign_port_are_dropped_by_name() {
    let mut bench = Bench::new(1);
    let mut frame = bench::frame(CALLER, ACCESS, invite("sum", "").as_bytes());
    *frame.last_mut().unwrap() ^= 1;
    let elsewhere = bench::frame(CALLER, SocketAddr::new(ACCESS.ip(), 5061), b"x");
    for frame in [&frame[..], &elsewhere, &frame[..40], &[0; 13]] {
        bench.workers[0].rings_mut().inject(DeviceIndex(0), frame);
        bench.turn();
    }
    assert_eq!(bench.count(Counter::SipUdpChecksum), 1);
    assert_eq!(bench.count(Counter::WireNotOurs), 1);
    assert!(bench.count(Counter::WireTooShort) >= 1);
    assert_eq!(bench.count(Counter::Rx), 4);
    bench.assert_at_rest();
}

#[test]
fn a_full_mailbox_refuses_requests_and_drops_responses_by_name() {
    let mut bench = Bench::new(2);
    let call_id = bench.call_id_of(1);
    let text = invite(&call_id, "");
    // Worker 1 does not turn; its mailbox fills.
    let mut refusals = 0;
    while bench.workers[0].counters().get(Counter::SipAnswered) == 0 {
        bench.arrives(0, CALLER, ACCESS, text.as_bytes());
        bench.workers[0].turn(bench.now);
        bench.workers[0]
            .rings_mut()
            .take_sent(&mut |_, _| refusals += 1);
    }
    assert_eq!(refusals, 1);
    let mailed = bench.workers[0].counters().get(Counter::MailedToOwner);
    assert!(mailed > 1_000);
    let ack = request("ACK", &call_id, "1", "b1", "", "");
    bench.arrives(0, CALLER, ACCESS, ack.as_bytes());
    bench.workers[0].turn(bench.now);
    assert_eq!(bench.workers[0].counters().get(Counter::SipMailboxFull), 1);
    bench.turn();
    assert_eq!(bench.count(Counter::MailIn), mailed);
    assert_eq!(bench.count(Counter::CallsStarted), 1, "all are one INVITE");
}
