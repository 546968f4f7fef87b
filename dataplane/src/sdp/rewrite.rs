//! Putting our relay between the two ends of each stream.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use super::Address;
use super::Connection;
use super::STREAMS_MAX;
use super::Session;
use super::Stream;
use super::Unanchored;
use crate::span::Span;
use crate::text::Text;

/// The relay ports that one end is to send a stream to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The relay's address.
    pub address: IpAddr,
    /// The port for RTP; 0 where the stream is to be rejected.
    pub rtp: u16,
    /// The port for RTCP: that for RTP where the two are multiplexed.
    pub rtcp: u16,
}

impl Relay {
    /// That there is none: the stream is rejected (RFC 3264 §6), and its address stays.
    pub const REJECTED: Relay = Relay {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        rtp: 0,
        rtcp: 0,
    };
}

/// Why a body was not rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The new body does not fit the buffer.
    #[error("the rewritten SDP does not fit the buffer")]
    TooLong,
    /// A relay was given for a stream that we cannot stand between.
    #[error("a stream of the SDP cannot be relayed: {0:?}")]
    Unanchored(Unanchored),
}

/// What goes in the place of some bytes.
#[derive(Clone, Copy, Debug)]
enum New {
    Port(u16),
    Address(IpAddr),
    ConnectionLine(IpAddr),
    RtcpLine(u16),
}

/// The session's c= line, and for each stream its port, its c= line, its a=rtcp line's
/// port and address.
const EDITS_MAX: usize = 1 + 4 * STREAMS_MAX;

/// The changes to one body.
struct Edits {
    edits: [Option<(Span, New)>; EDITS_MAX],
    count: usize,
}

impl Edits {
    fn add(&mut self, place: Span, new: New) {
        // EDITS_MAX counts all that the functions below add.
        debug_assert!(self.count < EDITS_MAX);
        if let Some(edit) = self.edits.get_mut(self.count) {
            *edit = Some((place, new));
            self.count += 1;
        }
    }

    /// Puts `relay` in the place of the address that is there.
    fn set(&mut self, old: Connection, relay: IpAddr) {
        if let Some(new) = shown(old.address, relay) {
            self.add(old.place, New::Address(new));
        }
    }
}

/// Writes `body`, which `session` was read from, with `relays` in the place of the ends
/// of its streams: one relay for each stream in order, `None` for a stream to be left as
/// it is. A stream with port 0 stays as it is whatever is given (RFC 3264 §6).
///
/// The address of an old hold, 0.0.0.0, stays (RFC 3264 §8.4), or becomes that of the
/// relay's family: 0.0.0.0 and :: say the same. The session's c= line
/// becomes the relay's address if that is right for every stream that uses it; where it
/// is not, it stays, and each relayed stream gets a c= line of its own. An a=rtcp line
/// appears where RTCP is wanted on another port than the one after RTP's and the two are
/// not multiplexed (RFC 3605 §2.1).
///
/// # Errors
/// See [`RewriteError`]. What `out` holds then is to be thrown away.
pub fn rewrite(
    body: &[u8],
    session: &Session,
    relays: &[Option<Relay>],
    out: &mut [u8],
) -> Result<usize, RewriteError> {
    let mut edits = Edits {
        edits: [None; EDITS_MAX],
        count: 0,
    };
    let shared = shared_address(session, relays);
    if let (Some(connection), Some(address)) = (session.connection, shared) {
        edits.set(connection, address);
    }
    for (stream, relay) in anchored(session, relays) {
        session.endpoint(stream).map_err(RewriteError::Unanchored)?;
        edits.add(stream.port_place, New::Port(relay.rtp));
        if relay == Relay::REJECTED {
            continue;
        }
        match (stream.connection, session.connection) {
            (Some(own), _) => edits.set(own, relay.address),
            (None, Some(session)) if shared.is_none() => {
                if let Some(new) = shown(session.address, relay.address) {
                    let place = Span::empty(stream.connection_at);
                    edits.add(place, New::ConnectionLine(new));
                }
            }
            _ => {}
        }
        add_rtcp(&mut edits, stream, relay);
    }
    write(body, session, &mut edits, out)
}

fn add_rtcp(edits: &mut Edits, stream: &Stream, relay: Relay) {
    match stream.rtcp {
        Some(rtcp) => {
            edits.add(rtcp.port_place, New::Port(relay.rtcp));
            if let Some(connection) = rtcp.connection {
                edits.set(connection, relay.address);
            }
        }
        None if !stream.rtcp_mux && relay.rtcp != relay.rtp.saturating_add(1) => {
            edits.add(Span::empty(stream.end), New::RtcpLine(relay.rtcp));
        }
        None => {}
    }
}

/// What the reader is shown for `old` where its media goes to `relay`; `None` where that is
/// what it says already.
fn shown(old: Address, relay: IpAddr) -> Option<IpAddr> {
    match (old, relay) {
        (Address::Ip(old), relay) if !old.is_unspecified() => Some(relay),
        (Address::Ip(IpAddr::V4(_)), IpAddr::V6(_)) => Some(Ipv6Addr::UNSPECIFIED.into()),
        (Address::Ip(IpAddr::V6(_)), IpAddr::V4(_)) => Some(Ipv4Addr::UNSPECIFIED.into()),
        (Address::Ip(_), _) => None,
        (Address::Name | Address::Multicast, relay) => Some(relay),
    }
}

/// The address type, and the space behind it (RFC 8866 §5.7).
const fn family(address: IpAddr) -> &'static [u8] {
    match address {
        IpAddr::V4(_) => b"IP4 ",
        IpAddr::V6(_) => b"IP6 ",
    }
}

/// The live streams that have a relay.
fn anchored<'s>(
    session: &'s Session,
    relays: &'s [Option<Relay>],
) -> impl Iterator<Item = (&'s Stream, Relay)> {
    let live = session
        .streams()
        .zip(relays)
        .filter(|(stream, _)| stream.port != 0);
    live.filter_map(|(stream, relay)| relay.map(|relay| (stream, relay)))
}

/// The address that the session's c= line may say: that of the relays of all streams
/// that use the line, or, where none does, of all streams.
fn shared_address(session: &Session, relays: &[Option<Relay>]) -> Option<IpAddr> {
    let relays = relays.iter().copied().chain(core::iter::repeat(None));
    let live = || {
        session
            .streams()
            .zip(relays.clone())
            .filter(|(stream, relay)| stream.port != 0 && *relay != Some(Relay::REJECTED))
    };
    let used = live().any(|(stream, _)| stream.connection.is_none());
    let mut addresses = live()
        .filter(|(stream, _)| !used || stream.connection.is_none())
        .map(|(_, relay)| relay.map(|relay| relay.address));
    let first = addresses.next()??;
    addresses
        .all(|address| address == Some(first))
        .then_some(first)
}

fn write(
    body: &[u8],
    session: &Session,
    edits: &mut Edits,
    out: &mut [u8],
) -> Result<usize, RewriteError> {
    let edits = edits.edits.get_mut(..edits.count).unwrap_or(&mut []);
    // Two lines added at one place are a c= and an a=rtcp line, in that order.
    edits.sort_unstable_by_key(|edit| {
        edit.map(|(place, new)| (place.start, matches!(new, New::RtcpLine(_))))
    });
    let mut text = Text::new(out);
    let line_end: &[u8] = if session.lf_only { b"\n" } else { b"\r\n" };
    let mut at = 0;
    for (place, new) in edits.iter().flatten() {
        text.push_part(body, at.into(), place.start.into());
        at = place.end;
        match *new {
            New::Port(port) => text.decimal(port.into()),
            New::Address(address) => {
                text.push(family(address));
                text.ip(address);
            }
            New::ConnectionLine(_) | New::RtcpLine(_) => {
                added_line(&mut text, body, *place, *new, line_end);
            }
        }
    }
    text.push(body.get(usize::from(at)..).unwrap_or(&[]));
    text.finish().map_err(|_| RewriteError::TooLong)
}

/// A new line behind another one, which lacks its line end where it is the last of the
/// body.
fn added_line(text: &mut Text<'_>, body: &[u8], place: Span, new: New, line_end: &[u8]) {
    let before = Span {
        start: 0,
        end: place.start,
    }
    .of(body);
    let unended = !before.ends_with(b"\n");
    if unended {
        text.push(line_end);
    }
    match new {
        New::ConnectionLine(address) => {
            text.push(b"c=IN ");
            text.push(family(address));
            text.ip(address);
        }
        New::RtcpLine(port) | New::Port(port) => {
            text.push(b"a=rtcp:");
            text.decimal(port.into());
        }
        New::Address(_) => {}
    }
    if !unended {
        text.push(line_end);
    }
}
