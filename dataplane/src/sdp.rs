//! Find and rewrite the lines of an SDP body that name where media goes: `c=`, `m=` and
//! `a=rtcp` (RFC 8866, RFC 3264, RFC 3605).
//!
//! [`parse`] notes offsets into the body and copies nothing. [`Session::endpoint`] says of
//! each stream where its media is wanted, or why we cannot stand between. [`rewrite`] puts
//! relay addresses and ports in the place of the ones that are there; every other byte
//! goes out as it came in. [`find`] tells which part of a body is SDP.
//!
//! What else a writer says of addresses stays: `o=`, which names a session and no place,
//! and ICE's candidates. The address in c= and m= is then none of them, so that a reader
//! of ICE either speaks as to any peer (a=ice-mismatch) or takes our relay for one more candidate
//! (RFC 8839 §4.2.5). `a=rtcp-mux` stays as well: where both say it, RTCP comes on the port for
//! RTP, and what a=rtcp names is not used (RFC 5761 §5.1.1).
#![forbid(unsafe_code)]

mod multipart;
mod rewrite;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::str::FromStr;

pub use self::multipart::Content;
pub use self::multipart::find;
pub use self::rewrite::Relay;
pub use self::rewrite::RewriteError;
pub use self::rewrite::rewrite;
use crate::sip::scan::number;
use crate::sip::scan::number16;
use crate::span::MESSAGE_LEN_MAX;
use crate::span::Span;
use crate::span::offset;

/// How many streams one session has at most, rejected ones counted. Audio, video, a
/// shared screen and a few that were rejected before (RFC 3264 §8.2 keeps their m= lines
/// for ever) are five or six; a body with more is refused.
pub const STREAMS_MAX: usize = 8;

/// Why a body is no session description that we can stand between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It does not start with `v=0`.
    #[error("the body does not start with v=0")]
    Version,
    /// A line is no `x=..`, or holds a lone CR or a NUL.
    #[error("a line of the SDP is not of the form x=value")]
    Line,
    /// An m= line cannot be read.
    #[error("an m= line of the SDP cannot be read")]
    Media,
    /// A c= line cannot be read, there are two in one section, or a stream has none.
    #[error("a stream of the SDP lacks one c= line that can be read")]
    Connection,
    /// An a=rtcp line cannot be read, or there are two in one section.
    #[error("an a=rtcp line of the SDP cannot be read")]
    Rtcp,
    /// More than [`STREAMS_MAX`] m= lines, or a body longer than a message.
    #[error("the SDP describes more streams than we take")]
    TooMany,
    /// A multipart body cannot be read.
    #[error("the multipart body cannot be read")]
    Multipart,
    /// Two parts of a body describe a session, or what does is encoded.
    #[error("the body holds no single session description in plain text")]
    Part,
}

/// What a c= or a=rtcp line says for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unicast address. 0.0.0.0 is a hold of RFC 2543 (RFC 3264 §8.4), and we take :: for
    /// the same.
    Ip(IpAddr),
    /// A name.
    Name,
    /// A multicast address, or one with a TTL or a count.
    Multicast,
}

/// An address, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The address.
    pub address: Address,
    /// Address type and address: `IP4 192.0.2.1`, `IP6 2001:db8::1`.
    pub place: Span,
}

/// Which way media flows, as the writer of the SDP sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// From the writer only.
    SendOnly,
    /// To the writer only.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `audio`.
    Audio,
    /// `video`.
    Video,
    /// Anything else.
    Other,
}

/// An a=rtcp line (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// The port.
    pub port: u16,
    /// Where the port stands.
    pub port_place: Span,
    /// The address, where the line has one.
    pub connection: Option<Connection>,
}

/// One m= line and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What it carries.
    pub media: Media,
    /// The port for RTP; 0 for a stream that is rejected or gone (RFC 3264 §6).
    pub port: u16,
    /// Where the port stands.
    pub port_place: Span,
    /// How many ports the m= line asks for; 1 where it does not say.
    pub port_count: u32,
    /// The transport protocol, such as `RTP/AVP`.
    pub proto: Span,
    /// Whether it is RTP over UDP, in the clear or not.
    pub is_rtp: bool,
    /// The payload types of RTP, a bit each; none where it is not RTP.
    pub payload_types: u128,
    /// Its own c= line.
    pub connection: Option<Connection>,
    /// Its a=rtcp line.
    pub rtcp: Option<Rtcp>,
    /// Whether it has a=rtcp-mux (RFC 5761).
    pub rtcp_mux: bool,
    /// Its own direction.
    pub direction: Option<Direction>,
    /// Where a c= line goes that is to be added: behind m= and i=.
    connection_at: u16,
    /// The end of its last line.
    end: u16,
}

/// Where the writer of a session description wants a stream's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// RTP goes here. The address is 0.0.0.0 or :: in a hold of RFC 2543.
    pub rtp: SocketAddr,
    /// RTCP goes here, unless both sides agree on rtcp-mux: what a=rtcp says, or else
    /// the next port.
    pub rtcp: SocketAddr,
}

/// Why we cannot stand between the ends of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanchored {
    /// Its port is 0: there is no media.
    Rejected,
    /// It is not RTP over UDP.
    NotRtp,
    /// Its address is a name.
    Name,
    /// Its address is multicast.
    Multicast,
    /// It asks for more than one pair of ports.
    PortCount,
}

/// A session description, as offsets into its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    streams: [Option<Stream>; STREAMS_MAX],
    stream_count: usize,
    /// The c= line above all streams.
    pub connection: Option<Connection>,
    /// The direction above all streams.
    pub direction: Option<Direction>,
    /// Whether its lines end in LF alone, which RFC 8866 §5 asks readers to take.
    lf_only: bool,
}

impl Session {
    /// The streams, in order.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().flatten()
    }

    /// How many streams there are, rejected ones counted.
    #[must_use]
    pub const fn stream_count(&self) -> usize {
        self.stream_count
    }

    /// The address of a stream: its own, or the session's.
    #[must_use]
    pub fn connection_of(&self, stream: &Stream) -> Option<Connection> {
        stream.connection.or(self.connection)
    }

    /// The direction of a stream: its own, or the session's, or both ways (RFC 8866
    /// §6.7).
    #[must_use]
    pub fn direction_of(&self, stream: &Stream) -> Direction {
        stream.direction.or(self.direction).unwrap_or_default()
    }

    /// Where the writer wants a stream's media.
    ///
    /// # Errors
    /// Why we cannot stand between.
    pub fn endpoint(&self, stream: &Stream) -> Result<Endpoint, Unanchored> {
        if stream.port == 0 {
            return Err(Unanchored::Rejected);
        }
        if !stream.is_rtp {
            return Err(Unanchored::NotRtp);
        }
        if stream.port_count != 1 {
            return Err(Unanchored::PortCount);
        }
        // A stream without any c= line has not passed `parse`.
        let rtp = ip(self
            .connection_of(stream)
            .map_or(Address::Name, |c| c.address))?;
        let (rtcp, rtcp_port) = match stream.rtcp {
            Some(Rtcp {
                port,
                connection: Some(own),
                ..
            }) => (ip(own.address)?, port),
            Some(Rtcp { port, .. }) => (rtp, port),
            None => (rtp, stream.port.saturating_add(1)),
        };
        Ok(Endpoint {
            rtp: SocketAddr::new(rtp, stream.port),
            rtcp: SocketAddr::new(rtcp, rtcp_port),
        })
    }
}

fn ip(address: Address) -> Result<IpAddr, Unanchored> {
    match address {
        Address::Ip(address) => Ok(address),
        Address::Name => Err(Unanchored::Name),
        Address::Multicast => Err(Unanchored::Multicast),
    }
}

/// Reads a session description. What it says beyond where media goes is not looked at.
///
/// # Errors
/// The first reason found why it is none to act on.
pub fn parse(body: &[u8]) -> Result<Session, SdpError> {
    if body.len() > MESSAGE_LEN_MAX {
        return Err(SdpError::TooMany);
    }
    let first = next_line(body, 0)?.ok_or(SdpError::Version)?;
    if first.text.of(body) != b"v=0" {
        return Err(SdpError::Version);
    }
    let mut session = Session {
        streams: [None; STREAMS_MAX],
        stream_count: 0,
        connection: None,
        direction: None,
        lf_only: usize::from(first.end) == usize::from(first.text.end) + 1,
    };
    let mut at = first.end;
    while let Some(line) = next_line(body, at.into())? {
        session.note(body, line)?;
        at = line.end;
    }
    let homeless = |stream: &Stream| stream.port != 0 && session.connection_of(stream).is_none();
    if session.streams().any(homeless) {
        return Err(SdpError::Connection);
    }
    Ok(session)
}

/// A line: its text without the line end, and where the next one starts.
#[derive(Clone, Copy, Debug)]
struct Line {
    text: Span,
    end: u16,
}

impl Line {
    /// The value: what stands behind `x=`.
    fn value(self) -> Span {
        Span {
            start: self.text.start.saturating_add(2),
            end: self.text.end,
        }
    }
}

/// Reads the line at `at`; `None` at the end. Empty lines at the end are no lines: some
/// phones send one.
fn next_line(body: &[u8], at: usize) -> Result<Option<Line>, SdpError> {
    let rest = body.get(at..).unwrap_or(&[]);
    if rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return Ok(None);
    }
    let (text, len) = match memchr::memchr(b'\n', rest) {
        Some(len) => {
            let line = rest.get(..len).unwrap_or(&[]);
            (line.strip_suffix(b"\r").unwrap_or(line), len + 1)
        }
        None => (rest, rest.len()),
    };
    let named = text.first().is_some_and(u8::is_ascii_lowercase) && text.get(1) == Some(&b'=');
    if !named || memchr::memchr2(b'\r', 0, text).is_some() {
        return Err(SdpError::Line);
    }
    Ok(Some(Line {
        text: Span::new(at, at + text.len()),
        end: offset(at + len),
    }))
}

impl Session {
    fn note(&mut self, body: &[u8], line: Line) -> Result<(), SdpError> {
        let value = line.value();
        let letter = line.text.of(body).first().copied().unwrap_or(0);
        if letter == b'm' {
            let slot = self
                .streams
                .get_mut(self.stream_count)
                .ok_or(SdpError::TooMany)?;
            *slot = Some(media_line(body, value, line.end)?);
            self.stream_count += 1;
            return Ok(());
        }
        let stream = match self.stream_count.checked_sub(1) {
            Some(last) => self.streams.get_mut(last).and_then(Option::as_mut),
            None => None,
        };
        let Some(stream) = stream else {
            return self.note_session(body, letter, value);
        };
        stream.end = line.end;
        match letter {
            b'i' => stream.connection_at = line.end,
            b'c' => once(
                &mut stream.connection,
                connection(body, value)?,
                SdpError::Connection,
            )?,
            b'a' => stream.note_attribute(body, value)?,
            _ => {}
        }
        Ok(())
    }

    fn note_session(&mut self, body: &[u8], letter: u8, value: Span) -> Result<(), SdpError> {
        match letter {
            b'c' => once(
                &mut self.connection,
                connection(body, value)?,
                SdpError::Connection,
            ),
            b'a' => {
                self.direction = direction(value.of(body)).or(self.direction);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Two lines that say where a stream goes say two things: readers would differ.
fn once<T>(slot: &mut Option<T>, value: T, twice: SdpError) -> Result<(), SdpError> {
    if slot.replace(value).is_some() {
        Err(twice)
    } else {
        Ok(())
    }
}

impl Stream {
    fn note_attribute(&mut self, body: &[u8], value: Span) -> Result<(), SdpError> {
        let text = value.of(body);
        if text.starts_with(b"rtcp:") {
            let value = Span {
                start: value.start.saturating_add(5),
                end: value.end,
            };
            return once(&mut self.rtcp, rtcp(body, value)?, SdpError::Rtcp);
        }
        if text == b"rtcp-mux" {
            self.rtcp_mux = true;
        }
        self.direction = direction(text).or(self.direction);
        Ok(())
    }
}

fn direction(attribute: &[u8]) -> Option<Direction> {
    match attribute {
        b"sendrecv" => Some(Direction::SendRecv),
        b"sendonly" => Some(Direction::SendOnly),
        b"recvonly" => Some(Direction::RecvOnly),
        b"inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// The words of a value, which single spaces part (RFC 8866 §9). More spaces are taken.
struct Words<'b> {
    body: &'b [u8],
    rest: Span,
}

impl Iterator for Words<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let text = self.rest.of(self.body);
        let start = text.iter().position(|byte| *byte != b' ')?;
        let word = text.get(start..).unwrap_or(&[]);
        let len = memchr::memchr(b' ', word).unwrap_or(word.len());
        let at = usize::from(self.rest.start) + start;
        self.rest.start = offset(at + len);
        Some(Span::new(at, at + len))
    }
}

/// Reads `<media> <port>[/<count>] <proto> <fmt> ..` (RFC 8866 §5.14).
fn media_line(body: &[u8], value: Span, line_end: u16) -> Result<Stream, SdpError> {
    let mut words = Words { body, rest: value };
    let mut word = || words.next().ok_or(SdpError::Media);
    let (media, ports, proto) = (word()?, word()?, word()?);
    let port_len = memchr::memchr(b'/', ports.of(body));
    let port_end = port_len.map_or(usize::from(ports.end), |len| usize::from(ports.start) + len);
    let port_place = Span::new(ports.start.into(), port_end);
    let count = match port_len {
        Some(_) => number(Span::new(port_end + 1, ports.end.into()).of(body), u32::MAX),
        None => Some(1),
    };
    let is_rtp = is_rtp(proto.of(body));
    let payload_types = if is_rtp {
        payload_types(body, words)?
    } else {
        0
    };
    Ok(Stream {
        media: match media.of(body) {
            b"audio" => Media::Audio,
            b"video" => Media::Video,
            _ => Media::Other,
        },
        port: number16(port_place.of(body)).ok_or(SdpError::Media)?,
        port_place,
        port_count: count.ok_or(SdpError::Media)?,
        proto,
        is_rtp,
        payload_types,
        connection: None,
        rtcp: None,
        rtcp_mux: false,
        direction: None,
        connection_at: line_end,
        end: line_end,
    })
}

/// RTP over UDP: RFC 3551, RFC 4585, RFC 3711, RFC 5124, RFC 5764.
fn is_rtp(proto: &[u8]) -> bool {
    let known: [&[u8]; 6] = [
        b"RTP/AVP",
        b"RTP/AVPF",
        b"RTP/SAVP",
        b"RTP/SAVPF",
        b"UDP/TLS/RTP/SAVP",
        b"UDP/TLS/RTP/SAVPF",
    ];
    known.iter().any(|known| proto.eq_ignore_ascii_case(known))
}

fn payload_types(body: &[u8], words: Words<'_>) -> Result<u128, SdpError> {
    let mut types = 0;
    for word in words {
        types |= 1_u128 << number(word.of(body), 127).ok_or(SdpError::Media)?;
    }
    if types == 0 {
        Err(SdpError::Media)
    } else {
        Ok(types)
    }
}

/// Reads `<nettype> <addrtype> <address>` (RFC 8866 §5.7).
fn connection(body: &[u8], value: Span) -> Result<Connection, SdpError> {
    let mut words = Words { body, rest: value };
    let mut word = || words.next().ok_or(SdpError::Connection);
    let (net, kind, text) = (word()?, word()?, word()?);
    if !net.of(body).eq_ignore_ascii_case(b"IN") || words.next().is_some() {
        return Err(SdpError::Connection);
    }
    let place = Span {
        start: kind.start,
        end: text.end,
    };
    let address = match kind.of(body) {
        kind if kind.eq_ignore_ascii_case(b"IP4") => address::<Ipv4Addr>(text.of(body)),
        kind if kind.eq_ignore_ascii_case(b"IP6") => address::<Ipv6Addr>(text.of(body)),
        _ => None,
    };
    Ok(Connection {
        address: address.ok_or(SdpError::Connection)?,
        place,
    })
}

/// Reads an address of the family `A`. IPv4 in the clothes of IPv6 is IPv4.
fn address<A: FromStr + Into<IpAddr>>(text: &[u8]) -> Option<Address> {
    let text = core::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<A>() {
        let address = address.into().to_canonical();
        let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
        return Some(if address.is_multicast() || broadcast {
            Address::Multicast
        } else {
            Address::Ip(address)
        });
    }
    if let Some((address, _)) = text.split_once('/') {
        return address.parse::<A>().ok().map(|_| Address::Multicast);
    }
    // What is all digits and dots is an address that somebody got wrong.
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_name = text.bytes().all(name) && text.bytes().any(|b| b.is_ascii_alphabetic());
    is_name.then_some(Address::Name)
}

/// Reads `<port> [<nettype> <addrtype> <address>]` (RFC 3605 §2.1).
fn rtcp(body: &[u8], value: Span) -> Result<Rtcp, SdpError> {
    let mut words = Words { body, rest: value };
    let port_place = words.next().ok_or(SdpError::Rtcp)?;
    let port = number16(port_place.of(body)).ok_or(SdpError::Rtcp)?;
    let rest = words.rest;
    let connection = match words.next() {
        Some(_) => Some(connection(body, rest).map_err(|_| SdpError::Rtcp)?),
        None => None,
    };
    Ok(Rtcp {
        port,
        port_place,
        connection,
    })
}

#[cfg(test)]
mod tests;
