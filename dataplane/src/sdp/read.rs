//! Reading a session description, line by line.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::Address;
use super::Connection;
use super::Direction;
use super::Media;
use super::Rtcp;
use super::SdpError;
use super::Session;
use super::Stream;
use crate::sip::scan::byte_at;
use crate::sip::scan::find_control;
use crate::sip::scan::is_name;
use crate::sip::scan::number;
use crate::sip::scan::number16;
use crate::sip::via::ipv4;
use crate::span::MESSAGE_LEN_MAX;
use crate::span::Span;
use crate::span::offset;

/// Reads a session description. What it says beyond where media goes is not looked at.
///
/// # Errors
/// The first reason found why it is none to act on.
pub fn parse(body: &[u8]) -> Result<Session, SdpError> {
    let mut session = Session::default();
    session.read(body)?;
    Ok(session)
}

impl Session {
    /// Reads what [`parse`] does where the session lies: it is large to be handed around. It must
    /// be empty, and is worth nothing after an error.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn read(&mut self, body: &[u8]) -> Result<(), SdpError> {
        if body.len() > MESSAGE_LEN_MAX {
            return Err(SdpError::TooMany);
        }
        let first = next_line(body, 0)?.ok_or(SdpError::Version)?;
        if (first.letter, first.value.of(body)) != (b'v', b"0") {
            return Err(SdpError::Version);
        }
        self.lf_only = first.end == first.value.end + 1;
        let mut at = first.end;
        while let Some(line) = next_line(body, at.into())? {
            self.note(body, line)?;
            at = line.end;
        }
        let homeless = |stream: &Stream| stream.port != 0 && self.connection_of(stream).is_none();
        if self.streams().any(homeless) {
            return Err(SdpError::Connection);
        }
        Ok(())
    }
}

/// A line, `x=value`.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// What stands before the `=`.
    letter: u8,
    /// What stands behind it, without the line end.
    value: Span,
    /// Where the next line starts.
    end: u16,
}

/// Reads the line at `at`; `None` at the end. Empty lines at the end are no lines: some
/// phones send one.
#[inline(always)]
fn next_line(body: &[u8], at: usize) -> Result<Option<Line>, SdpError> {
    let letter = byte_at(body, at);
    if !letter.is_ascii_lowercase() || byte_at(body, at + 1) != b'=' {
        let mut rest = body.get(at..).unwrap_or(&[]).iter();
        let ended = rest.all(|byte| matches!(byte, b'\r' | b'\n'));
        return if ended { Ok(None) } else { Err(SdpError::Line) };
    }
    let mut end = at + 2;
    loop {
        end = find_control(body, end, body.len());
        let next = match body.get(end..).unwrap_or(&[]) {
            [b'\r', b'\n', ..] => end + 2,
            [b'\n', ..] => end + 1,
            [] => end,
            // Some take a lone CR for a line end, and some stop at a NUL.
            [b'\r' | 0, ..] => return Err(SdpError::Line),
            [..] => {
                end += 1;
                continue;
            }
        };
        return Ok(Some(Line {
            letter,
            value: Span::new(at + 2, end),
            end: offset(next),
        }));
    }
}

impl Session {
    #[inline]
    fn note(&mut self, body: &[u8], line: Line) -> Result<(), SdpError> {
        if line.letter == b'm' {
            let slot = self
                .streams
                .get_mut(self.stream_count)
                .ok_or(SdpError::TooMany)?;
            *slot = Some(media_line(body, line)?);
            self.stream_count += 1;
            return Ok(());
        }
        let stream = match self.stream_count.checked_sub(1) {
            Some(last) => self.streams.get_mut(last).and_then(Option::as_mut),
            None => None,
        };
        match stream {
            Some(stream) => stream.note(body, line),
            None => self.note_above(body, line),
        }
    }

    /// A line above all streams.
    fn note_above(&mut self, body: &[u8], line: Line) -> Result<(), SdpError> {
        match line.letter {
            b'c' => once(
                &mut self.connection,
                connection(line.value.of(body), line.value.start)?,
                SdpError::Connection,
            ),
            b'a' => {
                self.direction = direction(line.value.of(body)).or(self.direction);
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
    /// A line below its m= line.
    fn note(&mut self, body: &[u8], line: Line) -> Result<(), SdpError> {
        self.end = line.end;
        let (value, start) = (line.value.of(body), line.value.start);
        match line.letter {
            b'i' => self.connection_at = line.end,
            b'c' => once(
                &mut self.connection,
                connection(value, start)?,
                SdpError::Connection,
            )?,
            b'a' => return self.note_attribute(value, start),
            _ => {}
        }
        Ok(())
    }

    fn note_attribute(&mut self, text: &[u8], start: u16) -> Result<(), SdpError> {
        if let Some(value) = text.strip_prefix(b"rtcp:") {
            let value = rtcp(value, start.saturating_add(5))?;
            return once(&mut self.rtcp, value, SdpError::Rtcp);
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
    rest: &'b [u8],
    /// Where the rest stands in the body.
    at: u16,
}

impl<'b> Iterator for Words<'b> {
    type Item = (&'b [u8], Span);

    #[inline]
    fn next(&mut self) -> Option<(&'b [u8], Span)> {
        let start = self.rest.iter().position(|byte| *byte != b' ')?;
        let word = self.rest.get(start..)?;
        let len = word.iter().position(|byte| *byte == b' ');
        let (word, rest) = word.split_at_checked(len.unwrap_or(word.len()))?;
        let at = usize::from(self.at) + start;
        let place = Span::new(at, at + word.len());
        (self.rest, self.at) = (rest, place.end);
        Some((word, place))
    }
}

/// Reads `<media> <port>[/<count>] <proto> <fmt> ..` (RFC 8866 §5.14).
fn media_line(body: &[u8], line: Line) -> Result<Stream, SdpError> {
    let mut words = Words {
        rest: line.value.of(body),
        at: line.value.start,
    };
    let mut word = || words.next().ok_or(SdpError::Media);
    let ((media, _), (ports, ports_place), (proto, proto_place)) = (word()?, word()?, word()?);
    let port_len = ports.iter().position(|byte| *byte == b'/');
    let (port, count) = match port_len.and_then(|len| ports.split_at_checked(len)) {
        Some((port, count)) => (port, number(count.get(1..).unwrap_or(&[]), u32::MAX)),
        None => (ports, Some(1)),
    };
    let is_rtp = is_rtp(proto);
    let payload_types = if is_rtp { payload_types(words)? } else { 0 };
    Ok(Stream {
        media: match media {
            b"audio" => Media::Audio,
            b"video" => Media::Video,
            _ => Media::Other,
        },
        port: number16(port).ok_or(SdpError::Media)?,
        port_place: Span {
            start: ports_place.start,
            end: ports_place.start + offset(port.len()),
        },
        port_count: count.ok_or(SdpError::Media)?,
        proto: proto_place,
        is_rtp,
        payload_types,
        connection: None,
        rtcp: None,
        rtcp_mux: false,
        direction: None,
        connection_at: line.end,
        end: line.end,
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
    known.iter().any(|known| is_name(proto, known))
}

fn payload_types(words: Words<'_>) -> Result<u128, SdpError> {
    let mut types = 0;
    for (word, _) in words {
        types |= 1_u128 << number(word, 127).ok_or(SdpError::Media)?;
    }
    if types == 0 {
        Err(SdpError::Media)
    } else {
        Ok(types)
    }
}

/// Reads `<nettype> <addrtype> <address>` (RFC 8866 §5.7), which starts at `at` of the body.
fn connection(value: &[u8], at: u16) -> Result<Connection, SdpError> {
    // What nearly everybody sends, before all that may be sent.
    if let Some(address) = value.strip_prefix(b"IN IP4 ").and_then(ipv4) {
        return Ok(Connection {
            address: unicast(address.into()),
            place: Span {
                start: at + 3,
                end: at + offset(value.len()),
            },
        });
    }
    let mut words = Words { rest: value, at };
    let mut word = || words.next().ok_or(SdpError::Connection);
    let ((net, _), (kind, kind_place), (text, text_place)) = (word()?, word()?, word()?);
    if !is_name(net, b"IN") || words.next().is_some() {
        return Err(SdpError::Connection);
    }
    let address = match kind {
        kind if is_name(kind, b"IP4") => address::<Ipv4Addr>(text),
        kind if is_name(kind, b"IP6") => address::<Ipv6Addr>(text),
        _ => None,
    };
    Ok(Connection {
        address: address.ok_or(SdpError::Connection)?,
        place: Span {
            start: kind_place.start,
            end: text_place.end,
        },
    })
}

/// Reads an address of the family `A`. IPv4 in the clothes of IPv6 is IPv4.
fn address<A: FromStr + Into<IpAddr>>(text: &[u8]) -> Option<Address> {
    let text = core::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse::<A>() {
        return Some(unicast(address.into().to_canonical()));
    }
    if let Some((address, _)) = text.split_once('/') {
        return address.parse::<A>().ok().map(|_| Address::Multicast);
    }
    // What is all digits and dots is an address that somebody got wrong.
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_name = text.bytes().all(name) && text.bytes().any(|b| b.is_ascii_alphabetic());
    is_name.then_some(Address::Name)
}

fn unicast(address: IpAddr) -> Address {
    if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Address::Multicast
    } else {
        Address::Ip(address)
    }
}

/// Reads `<port> [<nettype> <addrtype> <address>]` (RFC 3605 §2.1), which starts at `at` of the
/// body.
fn rtcp(value: &[u8], at: u16) -> Result<Rtcp, SdpError> {
    let mut words = Words { rest: value, at };
    let (port, port_place) = words.next().ok_or(SdpError::Rtcp)?;
    let port = number16(port).ok_or(SdpError::Rtcp)?;
    let (rest, rest_at) = (words.rest, words.at);
    let connection = match words.next() {
        Some(_) => Some(connection(rest, rest_at).map_err(|_| SdpError::Rtcp)?),
        None => None,
    };
    Ok(Rtcp {
        port,
        port_place,
        connection,
    })
}
