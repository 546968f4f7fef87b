//! The streams of a call: they come and go, hold, turn into something else, and what is not
//! a stream passes.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::media_in;
use bench::sdp;
use bench::talk::BOTH;
use bench::talk::CALLEES;
use bench::talk::CALLERS;
use bench::talk::Talk;
use bench::talk::Who::Callee;
use bench::talk::Who::Caller;
use bench::talk::access;
use bench::talk::core;
use bench::talk::lines;
use bench::talk::sdp2;
use bench::with_sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::limits::STREAMS_MAX;

#[test]
fn a_stream_comes_and_goes() {
    // Rejected from the start: its ports are free again.
    let mut talk = Talk::begin(&sdp2(CALLER_MEDIA, 6400));
    assert_eq!(talk.ports(), 4);
    let heard = talk.respond("200 OK", "", &sdp2(CALLEE_MEDIA, 0));
    talk.ask(Caller, "ACK", 1, "", "");
    assert_eq!((lines(&heard)[1], talk.ports(), talk.plays()), (0, 2, BOTH));

    // RFC 3264 §8.1: its line may be taken up again.
    let invite = talk.ask(Callee, "INVITE", 1, "", &sdp2(CALLEE_MEDIA, 7400));
    let asked = lines(&invite)[1];
    let ok = talk.reply(Caller, &invite, "200 OK", &sdp2(CALLER_MEDIA, 6400));
    talk.ask(Callee, "ACK", 1, "", "");
    let (at_access, at_core) = (
        relay(bench::ACCESS, asked),
        relay(bench::CORE, lines(&ok)[1]),
    );
    assert_eq!(talk.relayed(&[access(6400)], at_access), Some(core(7400)));
    assert_eq!(talk.relayed(&[core(7400)], at_core), Some(access(6400)));

    // RFC 3264 §8.2: and ended again, while the other stream goes on.
    let invite = talk.ask(Caller, "INVITE", 5, "", &sdp2(CALLER_MEDIA, 0));
    assert_eq!(talk.relayed(&[access(6400)], at_access), Some(core(7400)));
    talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEE_MEDIA, 0));
    talk.ask(Caller, "ACK", 5, "", "");
    assert_eq!(talk.relayed(&[access(6400)], at_access), None);
    assert_eq!(talk.relayed(&[core(7400)], at_core), None);
    assert_eq!(talk.plays(), BOTH);

    // And once more by the other one.
    let update = talk.ask(Caller, "UPDATE", 6, "", &sdp2(CALLER_MEDIA, 6500));
    assert_eq!(lines(&update)[1], at_core.port());
    talk.reply(Callee, &update, "200 OK", &sdp2(CALLEE_MEDIA, 7500));
    assert_eq!(talk.relayed(&[access(6500)], at_access), Some(core(7500)));
    let bye = talk.ask(Caller, "BYE", 7, "", "");
    talk.reply(Callee, &bye, "200 OK", "");
    talk.bench.pass_ms(70_000);
    talk.bench.assert_at_rest();
}

fn relay(listen: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(listen.ip(), port)
}

#[test]
fn more_streams_than_a_call_can_have_are_rejected_and_the_others_pass() {
    let many = |port: u16| {
        let more: Vec<_> = (1..=4)
            .map(|n| format!("m=video {} RTP/AVP 31\r\n", port + 2 * n))
            .collect();
        sdp(access(port)) + &more.concat()
    };
    let mut talk = Talk::begin(&many(6000));
    let ports = lines(&talk.invite);
    assert_eq!(ports.len(), STREAMS_MAX + 1);
    assert!(ports[..STREAMS_MAX].iter().all(|port| *port != 0));
    assert_eq!(ports[STREAMS_MAX], 0);
    assert_eq!(talk.ports(), 2 * STREAMS_MAX);
    let rejected = format!(
        "{}{}",
        sdp(CALLEE_MEDIA),
        "m=video 0 RTP/AVP 31\r\n".repeat(4)
    );
    talk.respond("200 OK", "", &rejected);
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 2));
}

#[test]
fn a_hold_passes_in_either_way_of_saying_it() {
    let mut talk = Talk::established();
    // RFC 3264 §8.4: by a direction. What is sent all the same passes.
    for (cseq, direction, back) in [
        (5, "sendonly", "recvonly"),
        (6, "inactive", "inactive"),
        (7, "sendrecv", "sendrecv"),
    ] {
        let held = format!("{}a={direction}\r\n", sdp(CALLER_MEDIA));
        let invite = talk.ask(Caller, "INVITE", cseq, "", &held);
        assert!(invite.ends_with(&format!("a={direction}\r\n")));
        talk.reply(
            Callee,
            &invite,
            "200 OK",
            &format!("{}a={back}\r\n", sdp(CALLEE_MEDIA)),
        );
        talk.ask(Caller, "ACK", cseq, "", "");
        assert_eq!(talk.plays(), BOTH);
    }
    // By 0.0.0.0, and back.
    let held = sdp(CALLER_MEDIA).replace("c=IN IP4 10.77.1.2", "c=IN IP4 0.0.0.0");
    let at_core = talk.at_core;
    let invite = talk.ask(Caller, "INVITE", 8, "", &held);
    talk.at_core = at_core;
    talk.reply(Callee, &invite, "200 OK", &sdp(CALLEE_MEDIA));
    assert_eq!(talk.plays(), [None, Some(CALLEE_MEDIA)]);
    // Rejected while it holds: it goes on holding.
    let invite = talk.ask(Caller, "INVITE", 9, "", &sdp(CALLERS[1]));
    talk.reply(Callee, &invite, "488 No", "");
    assert_eq!(talk.plays(), [None, Some(CALLEE_MEDIA)]);
    let invite = talk.ask(Caller, "INVITE", 10, "", &sdp(CALLER_MEDIA));
    talk.reply(Callee, &invite, "200 OK", &sdp(CALLEE_MEDIA));
    assert_eq!(talk.plays(), BOTH);
}

#[test]
fn sdp_that_describes_no_session_passes_as_it_is() {
    let mut talk = Talk::established();
    let other = with_disposition(
        &talk.request(Caller, "INVITE", 5, "", &sdp(CALLERS[1])),
        "early-session",
    );
    let heard = talk.heard(Caller, &other);
    assert!(heard.contains("m=audio 6100 "), "{heard}");
    let content = "Content-Type: multipart/mixed;boundary=b\r\n";
    let body = format!(
        "--b\r\nContent-Type: application/isup\r\nContent-Disposition: signal;handling=optional\r\n\r\n\u{1}\r\n\
         --b\r\nContent-Type: application/sdp\r\nContent-Disposition: session;handling=optional\r\n\r\n{}\r\n--b--\r\n",
        sdp(CALLERS[1])
    );
    let message = with_sdp(&talk.request(Caller, "UPDATE", 6, "", ""), &body);
    let message = message.replacen("Content-Type: application/sdp\r\n", content, 1);
    let heard = talk.heard(Caller, &message);
    assert_eq!(Some(media_in(&heard)), talk.at_core);
    assert!(heard.contains("\r\n\u{1}\r\n--b\r\n"), "{heard}");
    talk.reply(Callee, &heard, "200 OK", &sdp(CALLEES[1]));
    assert_eq!(talk.plays(), [Some(CALLERS[1]), Some(CALLEES[1])]);
}

fn with_disposition(message: &str, disposition: &str) -> String {
    let line = format!("Content-Disposition: {disposition}\r\nContent-Type: ");
    message.replacen("Content-Type: ", &line, 1)
}

#[test]
fn an_answer_that_cannot_be_anchored_passes_with_its_media_closed() {
    let mut talk = Talk::begin(&sdp(CALLER_MEDIA));
    let nowhere = sdp(CALLEE_MEDIA).replace("IP4 10.77.2.2\r\nt", "IP4 phone.example.com\r\nt");
    let response = answer(&talk.invite, "200 OK", CONTACT, &nowhere);
    talk.dialog = talk.says(Callee, &response).remove(0);
    assert!(talk.dialog.contains("c=IN IP4 phone.example.com"));
    assert_eq!(talk.bench.count(Counter::SdpUnusable), 1);
    talk.ask(Caller, "ACK", 1, "", "");
    assert_eq!(talk.plays(), [None, None]);
    // The next exchange opens it.
    let update = talk.ask(Caller, "UPDATE", 2, "", &sdp(CALLER_MEDIA));
    talk.reply(Callee, &update, "200 OK", &sdp(CALLEE_MEDIA));
    assert_eq!(talk.plays(), BOTH);
    let bye = talk.ask(Caller, "BYE", 3, "", "");
    talk.reply(Callee, &bye, "200 OK", "");
    talk.bench.pass_ms(70_000);
    talk.bench.assert_at_rest();
}

#[test]
fn speech_turns_into_fax_and_back() {
    let mut talk = Talk::established();
    let fax = |at: SocketAddr| {
        sdp(at)
            .replace("RTP/AVP 8", "udptl t38")
            .replace("m=audio", "m=image")
    };
    let invite = talk.ask(Callee, "INVITE", 1, "", &fax(CALLEES[1]));
    assert!(invite.contains("m=image 7100 udptl t38"), "it goes past us");
    assert_eq!(talk.plays(), BOTH);
    talk.reply(Caller, &invite, "200 OK", &fax(CALLERS[1]));
    talk.ask(Callee, "ACK", 1, "", "");
    assert_eq!(talk.plays(), [None, None]);
    let invite = talk.ask(Callee, "INVITE", 2, "", &sdp(CALLEE_MEDIA));
    talk.reply(Caller, &invite, "200 OK", &sdp(CALLER_MEDIA));
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 2));
}
