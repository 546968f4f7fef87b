//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), read where somebody asks.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use super::header::BadValue;
use super::header::Param;
use super::header::Params;
use super::scan::byte_at;
use super::scan::find_byte;
use super::scan::number16;
use super::via::address;
use super::via::host_end;
use crate::span::Span;

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip`.
    Sip,
    /// `sips`.
    Sips,
    /// `tel`.
    Tel,
    /// Another one. Of such a URI only the scheme is read.
    Other,
}

/// The host of a SIP URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// A name, to be compared in any case.
    Name(Span),
}

impl Host {
    /// The address, if it is one. IPv4 in the clothes of IPv6 is IPv4.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Host::V4(address) => Some(address.into()),
            Host::V6(address) => Some(address.to_canonical()),
            Host::Name(_) => None,
        }
    }
}

/// The parts of a URI. The spans are of the bytes that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part without its password, escapes and all; the number of a tel URI.
    pub user: Option<Span>,
    /// The host; none in a tel URI and where the scheme is another.
    pub host: Option<Host>,
    /// Where the host stands, IPv6 with its brackets; empty where there is none.
    pub host_text: Span,
    /// The port, if the URI names one.
    pub port: Option<u16>,
    /// The parameters, from the first `;`.
    pub params: Span,
    /// The headers, after the `?` (RFC 3261 §19.1.1).
    pub headers: Option<Span>,
}

impl Uri {
    /// Reads the URI at `span` of `bytes`.
    ///
    /// # Errors
    /// [`BadValue`] where a part does not follow its grammar. Escapes are not looked at.
    pub fn read(bytes: &[u8], span: Span) -> Result<Uri, BadValue> {
        let text = span.of(bytes);
        let start = usize::from(span.start);
        // What nearly everybody sends, before all that may be sent.
        if text.starts_with(b"sip:") {
            return sip(bytes, Scheme::Sip, Span::new(start + 4, span.end.into()));
        }
        let colon = memchr::memchr(b':', text).ok_or(BadValue)?;
        let scheme = scheme(text.get(..colon).unwrap_or(&[]))?;
        let rest = Span::new(start + colon + 1, span.end.into());
        match scheme {
            Scheme::Sip | Scheme::Sips => sip(bytes, scheme, rest),
            Scheme::Tel => tel(bytes, rest),
            Scheme::Other => Ok(Uri::bare(scheme, rest)),
        }
    }

    fn bare(scheme: Scheme, rest: Span) -> Uri {
        Uri {
            scheme,
            user: None,
            host: None,
            host_text: Span::empty(rest.end),
            port: None,
            params: Span::empty(rest.end),
            headers: None,
        }
    }

    /// The parameter of that name, in any case.
    #[must_use]
    pub fn param(&self, bytes: &[u8], name: &[u8]) -> Option<Param> {
        Params::new(bytes, self.params.start.into(), self.params.end.into()).find(name)
    }

    /// Whether it is a loose router's (RFC 3261 §16.12). `lr=on` is the same.
    #[must_use]
    pub fn has_lr(&self, bytes: &[u8]) -> bool {
        self.param(bytes, b"lr").is_some()
    }

    /// The value of `transport`, if it is there.
    #[must_use]
    pub fn transport<'m>(&self, bytes: &'m [u8]) -> Option<&'m [u8]> {
        self.param(bytes, b"transport")?
            .value
            .map(|value| value.of(bytes))
    }
}

/// RFC 3261 §19.1.1: schemes are known in any case.
fn scheme(name: &[u8]) -> Result<Scheme, BadValue> {
    let known = |scheme: &[u8]| name.eq_ignore_ascii_case(scheme);
    let odd = |b: &u8| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    match name.first() {
        Some(first) if first.is_ascii_alphabetic() && !name.iter().any(odd) => {}
        _ => return Err(BadValue),
    }
    Ok(match name.len() {
        3 if known(b"sip") => Scheme::Sip,
        4 if known(b"sips") => Scheme::Sips,
        3 if known(b"tel") => Scheme::Tel,
        _ => Scheme::Other,
    })
}

/// Reads `[userinfo@]host[:port][;params][?headers]`.
fn sip(bytes: &[u8], scheme: Scheme, rest: Span) -> Result<Uri, BadValue> {
    let (start, end) = (usize::from(rest.start), usize::from(rest.end));
    // A user part may hold `;` and `?`, but an `@` only as an escape: the first one ends
    // it (RFC 3261 §25.1).
    let at_sign = find_byte(bytes, start, end, b'@');
    let (user, host_at) = if at_sign < end {
        let user = Span::new(start, find_byte(bytes, start, at_sign, b':'));
        if user.is_empty() {
            return Err(BadValue);
        }
        (Some(user), at_sign + 1)
    } else {
        (None, start)
    };
    let host_text = Span::new(host_at, host_end(bytes, host_at, end).ok_or(BadValue)?);
    let host = host(bytes, host_text)?;
    let (port, at) = port(bytes, host_text.end.into(), end)?;
    let (params, headers) = tail(bytes, at, end)?;
    Ok(Uri {
        scheme,
        user,
        host: Some(host),
        host_text,
        port,
        params,
        headers,
    })
}

/// Reads a port, if there is one, and says where it ends.
fn port(bytes: &[u8], at: usize, end: usize) -> Result<(Option<u16>, usize), BadValue> {
    if at >= end || byte_at(bytes, at) != b':' {
        return Ok((None, at));
    }
    let digits = bytes.get(at + 1..end).unwrap_or(&[]);
    let len = digits.iter().position(|b| !b.is_ascii_digit());
    let len = len.unwrap_or(digits.len());
    let port = number16(digits.get(..len).unwrap_or(&[])).filter(|port| *port != 0);
    Ok((Some(port.ok_or(BadValue)?), at + 1 + len))
}

/// Reads a number and its parameters (RFC 3966 §3).
fn tel(bytes: &[u8], rest: Span) -> Result<Uri, BadValue> {
    let mut uri = Uri::bare(Scheme::Tel, rest);
    let text = rest.of(bytes);
    let len = memchr::memchr(b';', text).unwrap_or(text.len());
    if len == 0 {
        return Err(BadValue);
    }
    let start = usize::from(rest.start);
    uri.user = Some(Span::new(start, start + len));
    uri.params = Span::new(start + len, rest.end.into());
    Ok(uri)
}

/// Reads parameters and headers.
fn tail(bytes: &[u8], at: usize, end: usize) -> Result<(Span, Option<Span>), BadValue> {
    if at >= end {
        return Ok((Span::new(at, end), None));
    }
    let params_end = find_byte(bytes, at, end, b'?');
    let params = Span::new(at, params_end);
    let headers = (params_end < end).then(|| Span::new(params_end + 1, end));
    match byte_at(params.of(bytes), 0) {
        b';' | 0 => Ok((params, headers)),
        _ => Err(BadValue),
    }
}

fn host(bytes: &[u8], text: Span) -> Result<Host, BadValue> {
    match address(text.of(bytes)) {
        Some(IpAddr::V4(address)) => return Ok(Host::V4(address)),
        Some(IpAddr::V6(address)) => return Ok(Host::V6(address)),
        None if byte_at(bytes, text.start.into()) == b'[' => return Err(BadValue),
        None => {}
    }
    // RFC 3261 §25.1: the last label of a name starts with a letter, so 192.0.2.300 and
    // 010.0.0.1 are neither a name nor an address.
    let name = text.of(bytes);
    let name = name.strip_suffix(b".").unwrap_or(name);
    let label = name.rsplit(|byte| *byte == b'.').next().unwrap_or(&[]);
    let is_name = label.iter().any(|byte| !byte.is_ascii_digit());
    if is_name {
        Ok(Host::Name(text))
    } else {
        Err(BadValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Uri, BadValue> {
        Uri::read(text.as_bytes(), Span::new(0, text.len()))
    }

    #[test]
    fn a_sip_uri_is_read_with_all_its_parts() {
        let text = "SIPS:alice:secret@[2001:db8::9]:5070;transport=TCP;LR?subject=x";
        let uri = read(text).unwrap();
        let bytes = text.as_bytes();
        assert_eq!(uri.scheme, Scheme::Sips);
        assert_eq!(uri.user.unwrap().of(bytes), b"alice");
        assert_eq!(uri.host, Some(Host::V6("2001:db8::9".parse().unwrap())));
        assert_eq!(uri.host_text.of(bytes), b"[2001:db8::9]");
        assert_eq!(uri.port, Some(5070));
        assert_eq!(uri.transport(bytes), Some(&b"TCP"[..]));
        assert!(uri.has_lr(bytes));
        assert_eq!(uri.headers.unwrap().of(bytes), b"subject=x");
        assert_eq!(uri.param(bytes, b"x"), None);
    }

    #[test]
    fn users_may_hold_what_looks_like_parameters() {
        let text = "sip:user;par=u%40example.net@example.com";
        let uri = read(text).unwrap();
        assert_eq!(
            uri.user.unwrap().of(text.as_bytes()),
            b"user;par=u%40example.net"
        );
        assert!(matches!(uri.host, Some(Host::Name(_))));
        assert!(uri.params.is_empty());
    }

    #[test]
    fn tel_and_other_schemes_have_no_host() {
        let text = "tel:+1-201-555;phone-context=x";
        let uri = read(text).unwrap();
        assert_eq!(uri.user.unwrap().of(text.as_bytes()), b"+1-201-555");
        assert_eq!((uri.scheme, uri.host), (Scheme::Tel, None));
        assert!(uri.param(text.as_bytes(), b"Phone-Context").is_some());
        assert_eq!(read("soap.beep://x:y").unwrap().scheme, Scheme::Other);
    }

    #[test]
    fn addresses_are_told_from_names() {
        assert_eq!(
            read("sip:192.0.2.1").unwrap().host,
            Some(Host::V4([192, 0, 2, 1].into()))
        );
        assert!(matches!(
            read("sip:1.2.3.4x").unwrap().host,
            Some(Host::Name(_))
        ));
        assert!(matches!(
            read("sip:a_b.example.").unwrap().host,
            Some(Host::Name(_))
        ));
    }

    #[test]
    fn uris_that_cannot_be_routed_are_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            ":a",
            "sip:@h",
            "sip:a@",
            "sip:a@b@c",
            "sip:a@h:",
            "sip:a@h:x",
            "sip:a@h:0",
            "sip:a@h:70000",
            "sip:a@h:1x",
            "sip:a@[::1",
            "sip:a@[::g]",
            "sip:a@h/x",
            "sip:192.0.2.300",
            "sip:10",
            "tel:",
            "1p:x",
            "sip:a@[1:2]",
        ] {
            assert_eq!(read(text), Err(BadValue), "{text}");
        }
    }
}
