//! What the fuzz targets check. They are plain functions, so that the corpora are replayed
//! as ordinary tests by a stable compiler.

mod frame;
mod input;
mod register;
mod stored;
mod tokens;

pub use frame::frame;
pub use register::register;
pub use tokens::tokens;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use crate::sdp;
use crate::sdp::Relay;
use crate::sdp::Session;
use crate::sip::build;
use crate::sip::build::Response;
use crate::sip::edit;
use crate::sip::edit::Splices;
use crate::sip::message::Message;
use crate::sip::scan::is_keepalive;
use crate::sip::uri::Uri;
use crate::span::Span;

/// Scans a datagram. A message that the scanner takes must name only bytes of its own,
/// come out unchanged without a change, and be a message again after the changes that a
/// proxy makes and in the response to it.
pub fn scan(datagram: &[u8]) {
    let mut out = vec![0; 2 * datagram.len() + 1_024];
    let message = match Message::scan(datagram) {
        Ok(message) => message,
        Err(reason) => {
            if let Ok(Some(len)) = build::refusal(datagram, reason, &mut out) {
                assert!(out[..len].starts_with(b"SIP/2.0 "));
            }
            return;
        }
    };
    assert!(!is_keepalive(datagram));
    within_bounds(&message);
    let mut splices = Splices::new();
    assert_eq!(
        splices.write(message.bytes(), &mut out),
        Ok(message.bytes().len())
    );
    assert_eq!(&out[..message.bytes().len()], message.bytes());
    if message.is_request() {
        forwarded(&message, &mut splices, &mut out);
        answered(&message, &mut out);
    } else {
        returned(&message, &mut splices, &mut out);
    }
}

fn inside(message: &Message<'_>, span: Span) {
    assert!(span.start <= span.end, "{span:?}");
    assert!(usize::from(span.end) <= message.bytes().len(), "{span:?}");
}

fn within_bounds(message: &Message<'_>) {
    let mut line_end = message.header_block().start;
    for header in message.headers() {
        assert_eq!(header.line.start, line_end);
        line_end = header.line.end;
        let name = header.name(message.bytes());
        assert!(header.line.start <= name.start && name.end < header.line.end);
        assert!(name.end <= header.value.start && header.value.end <= header.line.end);
        assert!(message.text(header.line).ends_with(b"\r\n"));
    }
    assert_eq!(line_end, message.header_block().end);
    assert_eq!(usize::from(message.body_span().end), message.bytes().len());
    let via = message.via();
    let values = [
        Some(via.value),
        Some(via.host),
        via.branch,
        via.received,
        via.maddr,
    ];
    for span in values.into_iter().flatten() {
        inside(message, span);
    }
    for address in [message.from(), message.to()] {
        inside(message, address.value);
        inside(message, address.uri);
        let _ = Uri::read(message.bytes(), address.uri);
    }
    for span in [message.request_uri(), message.contact_uri()]
        .into_iter()
        .flatten()
    {
        inside(message, span);
        let _ = Uri::read(message.bytes(), span);
    }
    for value in message.routes().chain(message.record_routes()).flatten() {
        inside(message, value.address.value);
        inside(message, value.field.line);
    }
    let _ = message.second_via();
}

/// What a proxy does to a request must leave a request that says what it must.
fn forwarded(message: &Message<'_>, splices: &mut Splices, out: &mut [u8]) {
    let source = SocketAddr::from(([198, 51, 100, 7], 4_321));
    let changed = edit::insert_via(message, splices, b"192.0.2.1", b"z9hG4bKfuzz")
        .and_then(|()| edit::stamp_via(message, splices, source))
        .and_then(|()| edit::set_max_forwards(message, splices, 69))
        .and_then(|()| edit::insert_record_routes(message, splices, &[[b"sip:192.0.2.1", b";lr"]]))
        .and_then(|()| edit::set_body(message, splices, b"new"));
    assert_eq!(changed, Ok(()));
    let len = splices.write(message.bytes(), out);
    let Ok(len) = len else { return };
    let Ok(next) = Message::scan(&out[..len]) else {
        panic!(
            "the changed message is none: {:?}",
            Message::scan(&out[..len]).err()
        );
    };
    assert_eq!(next.text(next.via().host), b"192.0.2.1");
    let below = next.second_via();
    let Ok(Some(below)) = below else {
        panic!("the old top Via is gone: {below:?}")
    };
    assert_eq!(next.text(below.host), message.text(message.via().host));
    assert!(below.rport.is_none_or(|port| port == Some(source.port())));
    if below.rport.is_some() || message.via().host_ip(message.bytes()) != Some(source.ip()) {
        assert_eq!(below.received_ip(next.bytes()), Some(source.ip()));
    }
    assert_eq!(next.max_forwards(), Some(69));
    assert_eq!(next.body(), b"new");
    assert_eq!(
        next.record_routes().count(),
        message.record_routes().count() + 1
    );
    assert_eq!(next.call_id(), message.call_id());
    assert_eq!(next.cseq(), message.cseq());
    routes_removed(message, splices, out);
}

fn routes_removed(message: &Message<'_>, splices: &mut Splices, out: &mut [u8]) {
    let before = message.routes().count();
    splices.clear();
    if edit::remove_routes(message, splices, 1).is_err() {
        return;
    }
    let Ok(len) = splices.write(message.bytes(), out) else {
        return;
    };
    let next = Message::scan(&out[..len]).map(|next| next.routes().count());
    assert_eq!(next, Ok(before.saturating_sub(1)));
}

/// A response of ours can be read, and names the same transaction.
fn answered(message: &Message<'_>, out: &mut [u8]) {
    let source = Some(SocketAddr::from(([198, 51, 100, 7], 4_321)));
    let answer = Response {
        to_tag: Some(b"ours"),
        source,
        ..Response::new(486)
    };
    let Ok(len) = build::response(message, &answer, out) else {
        return;
    };
    let Ok(answer) = Message::scan(&out[..len]) else {
        panic!(
            "the response is none: {:?}",
            Message::scan(&out[..len]).err()
        );
    };
    assert_eq!(answer.status(), Some(486));
    assert_eq!(answer.cseq(), message.cseq());
    assert_eq!(answer.to_tag(), message.to_tag().or(Some(b"ours")));
    let branch = |message: &Message<'_>| message.via().branch.map(|span| span.len());
    assert_eq!(branch(&answer), branch(message));
    let mut cancel = vec![0; message.bytes().len() + 512];
    let Ok(len) = build::cancel(message, &mut cancel) else {
        return;
    };
    let cancel = Message::scan(&cancel[..len]);
    assert_eq!(cancel.map(|cancel| cancel.cseq().0), Ok(message.cseq().0));
}

/// A response without its top Via has the one below it on top.
fn returned(message: &Message<'_>, splices: &mut Splices, out: &mut [u8]) {
    let Ok(Some(below)) = message.second_via() else {
        return;
    };
    let host = message.text(below.host);
    assert_eq!(edit::pop_via(message, splices), Ok(()));
    let Ok(len) = splices.write(message.bytes(), out) else {
        return;
    };
    let next = Message::scan(&out[..len]);
    assert_eq!(
        next.map(|next| next.text(next.via().host).to_vec()),
        Ok(host.to_vec())
    );
}

/// Reads a body as SDP and as parts of which one is. What is read must name only bytes of
/// its own; rewriting must give every relayed stream its relay, leave the others where
/// they were, and keep every other byte.
pub fn sdp(body: &[u8]) {
    let content = sdp::Content {
        kind: Some(b"multipart/mixed;boundary=b"),
        ..sdp::Content::default()
    };
    if let Ok(Some(part)) = sdp::find(&content, body) {
        assert!(part.start <= part.end && usize::from(part.end) <= body.len());
        parsed(part.of(body));
    }
    parsed(body);
}

fn parsed(body: &[u8]) {
    let Ok(session) = sdp::parse(body) else {
        return;
    };
    let mut out = vec![0; body.len() + 4_096];
    assert_eq!(sdp::rewrite(body, &session, &[], &mut out), Ok(body.len()));
    assert_eq!(&out[..body.len()], body);
    for (mixed, ipv6) in [(false, false), (true, false), (false, true), (true, true)] {
        let relays = relays(&session, mixed, ipv6);
        let len = sdp::rewrite(body, &session, &relays, &mut out);
        let Ok(len) = len else {
            panic!("not rewritten: {len:?}")
        };
        assert_eq!(
            sdp::rewrite(body, &session, &relays, &mut vec![0; len]),
            Ok(len)
        );
        relayed(body, &session, &out[..len], &relays);
    }
}

/// A relay for every stream that takes one; for every other one of them, on two
/// addresses, where `mixed` is set; over IPv6 where `ipv6` is.
fn relays(session: &Session, mixed: bool, ipv6: bool) -> Vec<Option<Relay>> {
    let mut relays = Vec::new();
    for (index, stream) in (0_u8..).zip(session.streams()) {
        let rtp = 30_000 + 10 * u16::from(index);
        let rtcp = if stream.rtcp_mux {
            rtp
        } else {
            rtp + 1 + u16::from(index % 3)
        };
        let last = if mixed { index % 3 } else { 1 };
        let relay = Relay {
            address: relay_address(last, ipv6),
            rtp,
            rtcp,
        };
        let taken = session.endpoint(stream).is_ok() && last != 0;
        relays.push(taken.then_some(relay));
    }
    relays
}

fn relay_address(last: u8, ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into()
    } else {
        Ipv4Addr::new(203, 0, 113, last).into()
    }
}

fn relayed(old_body: &[u8], old: &Session, body: &[u8], relays: &[Option<Relay>]) {
    let Ok(new) = sdp::parse(body) else {
        panic!("the rewritten body is none: {:?}", sdp::parse(body).err());
    };
    assert_eq!(new.stream_count(), old.stream_count());
    for ((before, after), relay) in old.streams().zip(new.streams()).zip(relays) {
        let (before_end, after_end) = (old.endpoint(before), new.endpoint(after));
        let Some(relay) = relay else {
            assert_eq!(before_end.is_ok(), after_end.is_ok());
            if after.port != 0 {
                assert_eq!(before_end, after_end);
            }
            continue;
        };
        let (Ok(before_end), Ok(after_end)) = (before_end, after_end) else {
            panic!("{before_end:?} has become {after_end:?}");
        };
        assert_eq!(after_end.rtp.port(), relay.rtp);
        assert_eq!(
            after_end.rtcp.port() == relay.rtcp,
            !after.rtcp_mux || after.rtcp.is_some()
        );
        for (before, after) in [
            (before_end.rtp, after_end.rtp),
            (before_end.rtcp, after_end.rtcp),
        ] {
            if before.ip().is_unspecified() {
                assert!(after.ip().is_unspecified());
                assert_eq!(after.is_ipv4(), relay.address.is_ipv4());
            } else {
                assert_eq!(after.ip(), relay.address);
            }
        }
    }
    let old_lines: Vec<_> = kept_lines(old_body).collect();
    let new_lines: Vec<_> = kept_lines(body).collect();
    assert_eq!(old_lines, new_lines);
}

/// The lines without those that a rewrite may add or change; of m= lines all but the
/// port.
fn kept_lines(body: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let lines = body
        .split(|byte| *byte == b'\n')
        .map(|line| line.trim_ascii_end());
    let lines = lines.filter(|line| !line.starts_with(b"c=") && !line.starts_with(b"a=rtcp:"));
    lines.filter(|line| !line.is_empty()).map(|line| {
        let Some(media) = line.strip_prefix(b"m=") else {
            return line.to_vec();
        };
        // A space may stand before the first word, too.
        let words = media
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty());
        let kept = words
            .enumerate()
            .filter(|(index, _)| *index != 1)
            .map(|(_, word)| word);
        kept.collect::<Vec<_>>().join(&b' ')
    })
}
