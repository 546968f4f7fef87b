//! Via (RFC 3261 §20.42, §18; RFC 3581).

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use super::header::BadValue;
use super::header::Param;
use super::header::Params;
use super::scan::HOST;
use super::scan::TOKEN;
use super::scan::byte_at;
use super::scan::class_end;
use super::scan::is_name;
use super::scan::is_space;
use super::scan::number16;
use super::scan::skip_space;
use super::scan::token_end;
use crate::span::Span;
use crate::span::offset;
use crate::text::Text;

/// What every branch of RFC 3261 starts with (§8.1.1.7).
pub const BRANCH_COOKIE: &[u8] = b"z9hG4bK";

/// The transport that a Via names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the transport of that name")]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Sctp,
    Ws,
    Wss,
    Other,
}

impl Transport {
    /// The transport of that name, in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Transport {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            3 if is(b"UDP") => Transport::Udp,
            3 if is(b"TCP") => Transport::Tcp,
            3 if is(b"TLS") => Transport::Tls,
            4 if is(b"SCTP") => Transport::Sctp,
            2 if is(b"WS") => Transport::Ws,
            3 if is(b"WSS") => Transport::Wss,
            _ => Transport::Other,
        }
    }
}

/// One value of a Via header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// All of it, from `SIP` to the end of its last parameter.
    pub value: Span,
    /// The transport it was sent over.
    pub transport: Transport,
    /// The host of sent-by; IPv6 in its brackets.
    pub host: Span,
    /// The port of sent-by, if it names one.
    pub port: Option<u16>,
    /// The branch. An RFC 2543 element sends none.
    pub branch: Option<Span>,
    /// The value of `received`.
    pub received: Option<Span>,
    /// `rport`: without a value, or with one.
    pub rport: Option<Option<u16>>,
    /// Where `rport`'s value stands, or where it goes, with its `=` and white space.
    pub rport_value: Span,
    /// The value of `maddr`.
    pub maddr: Option<Span>,
    /// Where the next value in the same header field starts.
    pub next: Option<u16>,
}

impl Via {
    /// Reads the value that starts at `from`; the header field ends at `end`.
    pub(crate) fn read(bytes: &[u8], from: usize, end: usize) -> Result<Via, BadValue> {
        let start = skip_space(bytes, from, end);
        let (transport, sent_by) = sent_protocol(bytes, start, end)?;
        let host = Span::new(sent_by, host_end(bytes, sent_by, end).ok_or(BadValue)?);
        let (port, after) = sent_by_port(bytes, host.end.into(), end)?;
        let mut via = Via {
            value: Span::new(start, after),
            transport,
            host,
            port,
            branch: None,
            received: None,
            rport: None,
            rport_value: Span::default(),
            maddr: None,
            next: None,
        };
        let after = via.plain_params(bytes, after, end);
        if after == end {
            via.value.end = offset(end);
            return Ok(via);
        }
        let mut params = Params::new(bytes, after, end);
        while let Some(param) = params.next() {
            via.note(bytes, param?, params.at())?;
        }
        via.value.end = offset(params.at());
        let comma = skip_space(bytes, params.at(), end);
        if comma < end {
            let next = skip_space(bytes, comma + 1, end);
            if next >= end {
                return Err(BadValue);
            }
            via.next = Some(offset(next));
        }
        Ok(via)
    }

    /// Reads `;rport` and `;branch=` where they come first, as nearly everybody sends them, before
    /// the walk through all that may be sent; says where it ended.
    #[inline]
    fn plain_params(&mut self, bytes: &[u8], from: usize, end: usize) -> usize {
        let mut at = from;
        while let Some(rest) = bytes.get(at..end) {
            if self.branch.is_none() && rest.starts_with(b";branch=") {
                let value = Span::new(at + 8, class_end(bytes, at + 8, end, TOKEN));
                let next = usize::from(value.end);
                if value.is_empty() || (next < end && byte_at(bytes, next) != b';') {
                    break;
                }
                self.branch = Some(value);
                at = next;
            } else if self.rport.is_none() && (rest == b";rport" || rest.starts_with(b";rport;")) {
                self.rport = Some(None);
                self.rport_value = Span::empty(offset(at + 6));
                at += 6;
            } else {
                break;
            }
        }
        at
    }

    fn note(&mut self, bytes: &[u8], param: Param, end: usize) -> Result<(), BadValue> {
        let name = param.name.of(bytes);
        let is = |known: &[u8]| is_name(name, known);
        let twice = match name.len() {
            6 if is(b"branch") => self.branch.replace(filled(bytes, param)?).is_some(),
            8 if is(b"received") => self.received.replace(filled(bytes, param)?).is_some(),
            5 if is(b"maddr") => self.maddr.replace(filled(bytes, param)?).is_some(),
            5 if is(b"rport") => {
                self.rport_value = Span::new(param.name.end.into(), end);
                let port = match param.value {
                    Some(value) => Some(number16(value.of(bytes)).ok_or(BadValue)?),
                    None => None,
                };
                self.rport.replace(port).is_some()
            }
            _ => false,
        };
        // RFC 3261 §7.3.1: a parameter's name stands once.
        if twice { Err(BadValue) } else { Ok(()) }
    }

    /// The sent-by host as an address, if it is one.
    #[must_use]
    pub fn host_ip(&self, bytes: &[u8]) -> Option<IpAddr> {
        address(self.host.of(bytes))
    }

    /// `received` as an address, if it is there and is one.
    #[must_use]
    pub fn received_ip(&self, bytes: &[u8]) -> Option<IpAddr> {
        let text = self.received?.of(bytes);
        address(text).or_else(|| ipv6(text).map(IpAddr::V6))
    }

    /// Whether the branch is one of RFC 3261's, which names a transaction (§17.2.3).
    /// The bare cookie names nothing.
    #[must_use]
    pub fn has_cookie(&self, bytes: &[u8]) -> bool {
        let branch = self.branch.map_or(&[][..], |branch| branch.of(bytes));
        branch.len() > BRANCH_COOKIE.len()
            && branch
                .get(..BRANCH_COOKIE.len())
                .is_some_and(|front| is_name(front, BRANCH_COOKIE))
    }

    /// What a server must write into this Via on receipt from `source`.
    ///
    /// RFC 3261 §18.2.1: `received` where sent-by is a name or another address. RFC 3581
    /// §4: where `rport` is asked for, its value, and `received` always. A `received`
    /// that came with the request is not the sender's to say and is replaced.
    #[must_use]
    pub fn stamp(&self, bytes: &[u8], source: SocketAddr) -> Stamp {
        let needed = self.rport.is_some()
            || self.received.is_some()
            || self.host_ip(bytes) != Some(source.ip());
        Stamp {
            received: needed.then(|| self.received.unwrap_or(Span::empty(self.value.end))),
            received_is_new: self.received.is_none(),
            rport: self.rport.map(|_| self.rport_value),
        }
    }
}

/// Where [`Via::stamp`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Replace this by the source address, `;received=` before it if it is new.
    pub received: Option<Span>,
    /// Whether `received` has to be written with its name.
    pub received_is_new: bool,
    /// Replace this by `=` and the source port.
    pub rport: Option<Span>,
}

fn filled(bytes: &[u8], param: Param) -> Result<Span, BadValue> {
    param
        .value
        .filter(|value| !value.of(bytes).is_empty())
        .ok_or(BadValue)
}

/// An address as a host or a value of `received` writes it. IPv6 stands in brackets, in
/// `received` also without (RFC 5118 §4.5).
pub(crate) fn address(text: &[u8]) -> Option<IpAddr> {
    let inside = text.strip_prefix(b"[");
    match inside {
        Some(inside) => ipv6(inside.strip_suffix(b"]")?).map(IpAddr::V6),
        None => ipv4(text).map(IpAddr::V4),
    }
}

/// Dotted decimal, no octet with a leading zero: some read that as octal.
pub(crate) fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut address, mut rest) = (0, text);
    for dots in 0..4 {
        if dots > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let octet;
        (octet, rest) = front_octet(rest)?;
        address = address << 8 | octet;
    }
    rest.is_empty().then(|| Ipv4Addr::from_bits(address))
}

/// The octet that the digits at the front of `text` say, and what follows them.
#[inline]
fn front_octet(text: &[u8]) -> Option<(u32, &[u8])> {
    let digit = |byte: &u8| u32::from(byte.wrapping_sub(b'0'));
    let (octet, rest) = match text {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
            (digit(a) * 100 + digit(b) * 10 + digit(c), rest)
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', rest @ ..] => (digit(a) * 10 + digit(b), rest),
        [a @ b'0'..=b'9', rest @ ..] => (digit(a), rest),
        _ => return None,
    };
    (octet <= 255).then_some((octet, rest))
}

/// IPv6 without brackets. The grammar of RFC 3261 §25.1 allows for a third colon before an
/// IPv4 address at the end, which RFC 5118 §4.10 has us tolerate.
fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    let text = core::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (front, back) = text.split_once(":::")?;
    let mut spelled = [0; IPV6_TEXT_LEN_MAX];
    let mut out = Text::new(&mut spelled);
    for part in [front, "::", back] {
        out.push(part.as_bytes());
    }
    let len = out.finish().ok()?;
    let address = core::str::from_utf8(spelled.get(..len)?).ok()?;
    back.parse::<Ipv4Addr>().ok().and(address.parse().ok())
}

/// Six groups of four digits, the colons, and an IPv4 address.
const IPV6_TEXT_LEN_MAX: usize = 45;

/// Reads `SIP / 2.0 / transport LWS`: the transport, and where sent-by starts.
fn sent_protocol(bytes: &[u8], start: usize, end: usize) -> Result<(Transport, usize), BadValue> {
    // What nearly everybody sends, before the walk through all that may be sent.
    if bytes
        .get(start..end)
        .is_some_and(|value| value.starts_with(b"SIP/2.0/UDP "))
    {
        return Ok((Transport::Udp, skip_space(bytes, start + 12, end)));
    }
    let name_end = token_end(bytes, start);
    let version_at = slash(bytes, name_end, end)?;
    let version_end = token_end(bytes, version_at);
    let transport_at = slash(bytes, version_end, end)?;
    let transport_end = token_end(bytes, transport_at);
    let name = Span::new(start, name_end).of(bytes);
    let version = Span::new(version_at, version_end).of(bytes);
    let transport = Span::new(transport_at, transport_end);
    let sip = name.eq_ignore_ascii_case(b"SIP") && version == b"2.0";
    if !sip || transport.is_empty() || !is_space(byte_at(bytes, transport_end)) {
        return Err(BadValue);
    }
    Ok((
        Transport::of(transport.of(bytes)),
        skip_space(bytes, transport_end, end),
    ))
}

/// One past a `/` and the white space around it.
fn slash(bytes: &[u8], at: usize, end: usize) -> Result<usize, BadValue> {
    let at = skip_space(bytes, at, end);
    if at < end && byte_at(bytes, at) == b'/' {
        Ok(skip_space(bytes, at + 1, end))
    } else {
        Err(BadValue)
    }
}

/// The end of the host that starts at `from`: a name, an IPv4 address or an IPv6
/// address in brackets.
#[inline]
pub(crate) fn host_end(bytes: &[u8], from: usize, end: usize) -> Option<usize> {
    match byte_at(bytes, from) {
        b'[' => ipv6_end(bytes, from, end),
        _ => Some(class_end(bytes, from, end, HOST)).filter(|host_end| *host_end > from),
    }
}

fn ipv6_end(bytes: &[u8], from: usize, end: usize) -> Option<usize> {
    let inside = bytes.get(from + 1..end)?;
    let address = inside.get(..memchr::memchr(b']', inside)?)?;
    let literal = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let valid = !address.is_empty() && address.iter().all(literal);
    valid.then_some(from + address.len() + 2)
}

/// The port after sent-by's host, if there is one, and where the parameters start.
fn sent_by_port(bytes: &[u8], at: usize, end: usize) -> Result<(Option<u16>, usize), BadValue> {
    let colon = skip_space(bytes, at, end);
    if colon >= end || byte_at(bytes, colon) != b':' {
        return Ok((None, at));
    }
    let digits = skip_space(bytes, colon + 1, end);
    let mut after = digits;
    let mut port = 0_u32;
    while after < end && byte_at(bytes, after).is_ascii_digit() {
        // It stays above what is checked below once it is.
        port = (port * 10 + u32::from(byte_at(bytes, after) - b'0')).min(1 << 16);
        after += 1;
    }
    // What follows it, if it is more of a token, is no parameter and refused as such.
    let port = u16::try_from(port).ok().filter(|port| *port != 0);
    Ok((Some(port.ok_or(BadValue)?), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Via, BadValue> {
        Via::read(text.as_bytes(), 0, text.len())
    }

    #[test]
    fn a_via_is_read_with_all_its_parts() {
        let text = "SIP/2.0/UDP [2001:db8::1]:5070;branch=z9hG4bKx;rport;received=192.0.2.9";
        let via = read(text).unwrap();
        let of = |span: Span| &text[span.range()];
        assert_eq!(via.transport, Transport::Udp);
        assert_eq!(of(via.host), "[2001:db8::1]");
        assert_eq!(
            via.host_ip(text.as_bytes()),
            Some("2001:db8::1".parse().unwrap())
        );
        assert_eq!(via.port, Some(5070));
        assert_eq!(via.branch.map(of), Some("z9hG4bKx"));
        assert_eq!(via.received.map(of), Some("192.0.2.9"));
        assert_eq!(via.rport, Some(None));
        assert_eq!(of(via.value), text);
        assert_eq!(via.next, None);
    }

    #[test]
    fn folding_and_spaces_are_read_and_the_next_value_is_found() {
        let text = "SIP  / 2.0  / TCP     spindle.example.com   : 5061 ;\r\n  branch  =   b1  ,\r\n SIP / 2.0 / UDP  192.0.2.1   ; branch=\r\n z2";
        let first = read(text).unwrap();
        assert_eq!(first.port, Some(5061));
        assert_eq!(&text[first.branch.unwrap().range()], "b1");
        let second = Via::read(text.as_bytes(), first.next.unwrap().into(), text.len()).unwrap();
        assert_eq!(&text[second.host.range()], "192.0.2.1");
        assert_eq!(&text[second.branch.unwrap().range()], "z2");
        assert_eq!(second.next, None);
    }

    #[test]
    fn a_via_that_two_readers_would_read_differently_is_refused() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDPh",
            "SIP/2.0/ h",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:0",
            "SIP/2.0/UDP h:65536",
            "SIP/2.0/UDP h:5x",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP []",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP h,",
            "SIP/2.0/UDP h;",
            "SIP/2.0/UDP h;;branch=1",
            "SIP/2.0/UDP h;branch",
            "SIP/2.0/UDP h;branch=",
            "SIP/2.0/UDP h;branch=1;Branch=2",
            "SIP/2.0/UDP h;rport=x",
            "SIP/2.0/UDP h;received=1;received=2",
            "SIP/2.0/UDP h;x=\"a",
        ] {
            assert_eq!(read(text), Err(BadValue), "{text}");
        }
    }

    #[test]
    fn the_bare_cookie_names_no_transaction() {
        for (branch, cookie) in [("z9hG4bK", false), ("z9hG4bKa", true), ("1z9hG4bKa", false)] {
            let text = format!("SIP/2.0/UDP h;branch={branch}");
            assert_eq!(read(&text).unwrap().has_cookie(text.as_bytes()), cookie);
        }
    }
}
