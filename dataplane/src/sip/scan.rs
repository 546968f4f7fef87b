//! The scanner: where lines, names, values and tokens begin and end.
//!
//! What it takes for granted is what real networks send: line ends before the message
//! (RFC 3261 §7.5), folded lines (§7.3.1), white space around the colon, names in any
//! case and in compact form (§7.3.3), UTF-8 in values, a status line without the space
//! after the code.
//!
//! What it does not take: a CR or LF that stands alone, or a NUL that no backslash
//! escapes, before the body. Other elements end a line or a string there, so the message
//! they read is not the one we checked. The grammar has no such bytes (RFC 3261 §25.1),
//! and no stack sends them on purpose.

use super::header::HeaderName;
use super::malformed::Malformed;
use super::method::Method;
use crate::span::Span;

/// The start line (RFC 3261 §7.1, §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A request line.
    Request {
        /// The method.
        method: Method,
        /// The method's name.
        name: Span,
        /// The Request-URI: it has a scheme, no white space and no angle brackets.
        uri: Span,
    },
    /// A status line.
    Response {
        /// From 100 to 699.
        status: u16,
        /// The reason phrase, which may be empty.
        reason: Span,
    },
}

/// A header field as it stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which header field it is.
    pub kind: HeaderName,
    /// The name as it was written.
    pub name: Span,
    /// The value, without white space around it; line ends of folding are inside.
    pub value: Span,
    /// All of its line or lines, with the last CRLF.
    pub line: Span,
}

/// Whether a datagram is a keepalive: nothing, or nothing but line ends (RFC 5626
/// §3.5.1), or the NULs that some phones send. It is to be absorbed, not scanned.
#[must_use]
pub fn is_keepalive(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// The byte at `index`, NUL past the end. NUL is no byte of any token, so a scan that
/// stops at what it does not know stops there too.
pub(crate) fn byte_at(bytes: &[u8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap_or(0)
}

/// Whether a byte may stand in a token (RFC 3261 §25.1).
pub(crate) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-.!%*_+`'~";
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
};

/// White space as it may stand inside a value: folding is white space.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The end of the token that starts at `from`; `from` where there is none.
pub(crate) fn token_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while is_token(byte_at(bytes, at)) {
        at += 1;
    }
    at
}

/// The first byte from `from` that is no white space, at most `end`.
pub(crate) fn skip_space(bytes: &[u8], from: usize, end: usize) -> usize {
    let mut at = from;
    while at < end && is_space(byte_at(bytes, at)) {
        at += 1;
    }
    at
}

/// One past the last byte before `end` that is no white space, at least `start`.
pub(crate) fn trim_end(bytes: &[u8], start: usize, end: usize) -> usize {
    let mut at = end;
    while at > start && is_space(byte_at(bytes, at - 1)) {
        at -= 1;
    }
    at
}

/// The number that `digits` spell; `None` where there is another byte, no digit, or more
/// than `max`. Leading zeros are taken: `Max-Forwards: 0068`.
pub(crate) fn number(digits: &[u8], max: u32) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    let mut number = 0_u32;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u32::from(digit))?;
    }
    (number <= max).then_some(number)
}

/// A number that fits 16 bits: a UDP port, for one.
pub(crate) fn number16(digits: &[u8]) -> Option<u16> {
    number(digits, u32::from(u16::MAX)).and_then(|number| u16::try_from(number).ok())
}

/// The index of the CR of the next CRLF.
fn line_end(bytes: &[u8], from: usize) -> Result<usize, Malformed> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..).unwrap_or(&[]);
        at += memchr::memchr3(b'\r', b'\n', 0, rest).ok_or(Malformed::Unended)?;
        match (byte_at(bytes, at), bytes.get(at + 1)) {
            (b'\r', Some(b'\n')) => return Ok(at),
            (b'\r', None) => return Err(Malformed::Unended),
            // RFC 3261 §25.1: the one place for a NUL is a quoted-pair.
            (0, _) if at > from && byte_at(bytes, at - 1) == b'\\' => at += 1,
            _ => return Err(Malformed::LineEnd),
        }
    }
}

/// Reads the start line at the front of `bytes`, and says where the headers begin.
pub(crate) fn start_line(bytes: &[u8]) -> Result<(Start, usize), Malformed> {
    let end = line_end(bytes, 0)?;
    let line = bytes.get(..end).unwrap_or(&[]);
    let start = match line.first_chunk::<4>() {
        Some(front) if front.eq_ignore_ascii_case(b"SIP/") => status_line(line)?,
        _ => request_line(line)?,
    };
    Ok((start, end + 2))
}

/// RFC 3261 §7.1: Method SP Request-URI SP SIP-Version, single spaces and no others.
fn request_line(line: &[u8]) -> Result<Start, Malformed> {
    let name = Span::new(0, token_end(line, 0));
    let uri_at = usize::from(name.end) + 1;
    let rest = line.get(uri_at..).unwrap_or(&[]);
    if name.is_empty() || byte_at(line, name.end.into()) != b' ' {
        return Err(Malformed::StartLine);
    }
    let uri_len = memchr::memchr(b' ', rest).ok_or(Malformed::StartLine)?;
    let uri = Span::new(uri_at, uri_at + uri_len);
    version(rest.get(uri_len + 1..).unwrap_or(&[]))?;
    if !is_request_uri(uri.of(line)) {
        return Err(Malformed::StartLine);
    }
    Ok(Start::Request {
        method: Method::of(name.of(line)),
        name,
        uri,
    })
}

/// RFC 3261 §7.2: SIP-Version SP Status-Code SP Reason-Phrase.
fn status_line(line: &[u8]) -> Result<Start, Malformed> {
    let version_len = memchr::memchr(b' ', line).ok_or(Malformed::StartLine)?;
    version(line.get(..version_len).unwrap_or(&[]))?;
    let code_end = version_len + 4;
    let status = line
        .get(version_len + 1..code_end)
        .and_then(|code| number(code, 699));
    let status = status
        .and_then(|status| u16::try_from(status).ok())
        .filter(|code| *code >= 100);
    let reason_at = match line.get(code_end) {
        None => code_end,
        Some(b' ') => code_end + 1,
        Some(_) => return Err(Malformed::StartLine),
    };
    let status = status.ok_or(Malformed::StartLine)?;
    Ok(Start::Response {
        status,
        reason: Span::new(reason_at, line.len()),
    })
}

/// RFC 3261 §7.1: SIP/2.0, in any case. Another number is another version of SIP; any
/// other text is no version.
fn version(text: &[u8]) -> Result<(), Malformed> {
    if text.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    let number = match text.split_first_chunk::<4>() {
        Some((front, number)) if front.eq_ignore_ascii_case(b"SIP/") => number,
        _ => return Err(Malformed::StartLine),
    };
    let other = !number.is_empty() && number.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    Err(if other {
        Malformed::Version
    } else {
        Malformed::StartLine
    })
}

/// Whether a Request-URI has a scheme and no byte that no URI has. Its parts are looked
/// at by who needs them ([`super::uri::Uri`]).
fn is_request_uri(uri: &[u8]) -> bool {
    if !uri.first().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    let scheme = uri
        .iter()
        .position(|b| !b.is_ascii_alphanumeric() && !b"+-.".contains(b));
    let odd = |byte: &u8| *byte <= b' ' || matches!(byte, b'<' | b'>' | b'"' | 0x7f);
    scheme.is_some_and(|at| byte_at(uri, at) == b':') && !uri.iter().any(odd)
}

/// Reads the header at `at`: `None` at the empty line that ends the headers.
pub(crate) fn next_header(bytes: &[u8], at: usize) -> Result<Option<Header>, Malformed> {
    let name_end = token_end(bytes, at);
    if name_end == at {
        return match (byte_at(bytes, at), byte_at(bytes, at + 1)) {
            (b'\r', b'\n') => Ok(None),
            _ if at + 1 >= bytes.len() => Err(Malformed::Unended),
            (b'\r' | b'\n' | 0, _) => Err(Malformed::LineEnd),
            _ => Err(Malformed::HeaderLine),
        };
    }
    let mut colon = name_end;
    while matches!(byte_at(bytes, colon), b' ' | b'\t') {
        colon += 1;
    }
    match bytes.get(colon) {
        Some(b':') => {}
        Some(_) => return Err(Malformed::HeaderLine),
        None => return Err(Malformed::Unended),
    }
    let mut end = line_end(bytes, colon + 1)?;
    // RFC 3261 §7.3.1: a line that starts with white space continues the one before.
    while matches!(byte_at(bytes, end + 2), b' ' | b'\t') {
        end = line_end(bytes, end + 2)?;
    }
    let value_at = skip_space(bytes, colon + 1, end);
    let name = Span::new(at, name_end);
    Ok(Some(Header {
        kind: HeaderName::of(name.of(bytes)),
        name,
        value: Span::new(value_at, trim_end(bytes, value_at, end)),
        line: Span::new(at, end + 2),
    }))
}
