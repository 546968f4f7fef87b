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

use super::header::Field;
use super::header::HeaderName;
use super::malformed::Malformed;
use super::method::Method;
use super::sixteen;
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
    /// The value, without white space around it; line ends of folding are inside.
    pub value: Span,
    /// All of its line or lines, with the last CRLF.
    pub line: Span,
}

impl Header {
    /// Where the name stands, as it was written.
    #[must_use]
    pub fn name(&self, bytes: &[u8]) -> Span {
        let start = self.line.start.into();
        Span::new(start, token_end(bytes, start))
    }

    /// Where it stands.
    #[must_use]
    pub const fn field(&self) -> Field {
        Field {
            line: self.line,
            value: self.value,
        }
    }
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

/// The byte may stand in a token (RFC 3261 §25.1).
pub(crate) const TOKEN: u8 = 1;
/// The byte may stand in a URI: any but white space, control characters, quotes and angle
/// brackets. UTF-8 is taken, though a URI would escape it.
pub(crate) const IN_URI: u8 = 2;
/// The byte may stand in a parameter's unquoted value, or in an addr-spec without
/// brackets: any but white space, `;`, `,`, quotes and angle brackets.
pub(crate) const PLAIN: u8 = 4;
/// The byte may stand in a host's name or IPv4 address. Underscores may not, and do.
pub(crate) const HOST: u8 = 8;
/// The byte is white space as it may stand inside a value: folding is white space.
pub(crate) const SPACE: u8 = 16;
/// The byte may stand in a display name without quotes: any but `"`, `<`, `>`, `:`, `;`
/// and `,`.
pub(crate) const DISPLAY: u8 = 32;

/// The classes of every byte. NUL is in none, see [`byte_at`].
const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = u8::MAX;
    while byte > 0 {
        table[byte as usize] = classes(byte);
        byte -= 1;
    }
    table
};

const fn classes(byte: u8) -> u8 {
    let word = byte.is_ascii_alphanumeric();
    let token = word
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+')
        || matches!(byte, b'`' | b'\'' | b'~');
    let host = word || matches!(byte, b'-' | b'.' | b'_');
    let space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let bracket = matches!(byte, b'<' | b'>' | b'"');
    let uri = byte > b' ' && byte != 0x7f && !bracket;
    let plain = !space && !bracket && !matches!(byte, b';' | b',');
    let display = !bracket && !matches!(byte, b':' | b';' | b',');
    let mut classes = if token { TOKEN } else { 0 };
    classes |= if uri { IN_URI } else { 0 };
    classes |= if plain { PLAIN } else { 0 };
    classes |= if host { HOST } else { 0 };
    classes |= if space { SPACE } else { 0 };
    classes | if display { DISPLAY } else { 0 }
}

/// Whether a byte is of a class.
pub(crate) const fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// The first place from `from` whose byte is not of the class, at most `end`.
#[inline]
pub(crate) fn class_end(bytes: &[u8], from: usize, end: usize, class: u8) -> usize {
    let run = bytes.get(from..end).unwrap_or(&[]);
    let mut rest = run;
    // Four at a time: most of what a scan costs is walking through tokens and URIs.
    while let Some(([a, b, c, d], after)) = rest.split_first_chunk::<4>() {
        let of = |byte: &u8| CLASSES[usize::from(*byte)];
        if of(a) & of(b) & of(c) & of(d) & class == 0 {
            break;
        }
        rest = after;
    }
    let tail = rest
        .iter()
        .position(|byte| !is(*byte, class))
        .unwrap_or(rest.len());
    from + run.len() - rest.len() + tail
}

/// Whether a byte is white space.
pub(crate) const fn is_space(byte: u8) -> bool {
    is(byte, SPACE)
}

/// The end of the token that starts at `from`; `from` where there is none.
pub(crate) fn token_end(bytes: &[u8], from: usize) -> usize {
    class_end(bytes, from, bytes.len(), TOKEN)
}

/// The first byte from `from` that is no white space, at most `end`.
#[inline]
pub(crate) fn skip_space(bytes: &[u8], from: usize, end: usize) -> usize {
    let mut at = from;
    while at < end && is_space(byte_at(bytes, at)) {
        at += 1;
    }
    at
}

/// One past the last byte before `end` that is no white space, at least `start`.
#[inline]
pub(crate) fn trim_end(bytes: &[u8], start: usize, end: usize) -> usize {
    let mut at = end;
    while at > start && is_space(byte_at(bytes, at - 1)) {
        at -= 1;
    }
    at
}

/// Whether a name is `known`, in any case. Names mostly come as the RFCs spell them.
#[inline]
pub(crate) fn is_name(name: &[u8], known: &[u8]) -> bool {
    name == known || name.eq_ignore_ascii_case(known)
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

/// The index of the CR of the next CRLF, and the byte after its LF. There must be one:
/// the shortest that can follow is the empty line that ends the headers.
#[inline]
fn line_end(bytes: &[u8], from: usize) -> Result<(usize, u8), Malformed> {
    let mut at = from;
    loop {
        at = sixteen::find(bytes, at, bytes.len(), sixteen::controls);
        if let Some([b'\r', b'\n', next]) = bytes.get(at..at + 3) {
            return Ok((at, *next));
        }
        match bytes.get(at..).unwrap_or(&[]) {
            [b'\r', b'\n'] | [b'\r'] | [] => return Err(Malformed::Unended),
            // RFC 3261 §25.1: the one place for a NUL is a quoted-pair.
            [0, ..] if at > from && byte_at(bytes, at - 1) == b'\\' => at += 1,
            [b'\r' | b'\n' | 0, ..] => return Err(Malformed::LineEnd),
            _ => at += 1,
        }
    }
}

/// The first place from `from` whose byte may not stand in a URI, at most `end`.
#[inline]
pub(crate) fn uri_end(bytes: &[u8], from: usize, end: usize) -> usize {
    sixteen::find(bytes, from, end, sixteen::not_in_uri)
}

/// The first place of `byte` from `from`, at most `end`.
#[inline]
pub(crate) fn find_byte(bytes: &[u8], from: usize, end: usize, byte: u8) -> usize {
    sixteen::find(bytes, from, end, |chunk| sixteen::equal(chunk, byte))
}

/// The first `"` or backslash from `from`, at most `end`.
#[inline]
pub(crate) fn quote_or_backslash(bytes: &[u8], from: usize, end: usize) -> usize {
    let sought = |chunk: &[u8; 16]| sixteen::equal(chunk, b'"') | sixteen::equal(chunk, b'\\');
    sixteen::find(bytes, from, end, sought)
}

/// Whether there is white space in `text`.
#[inline]
pub(crate) fn has_space(text: &[u8]) -> bool {
    let mut at = 0;
    loop {
        at = sixteen::find(text, at, text.len(), sixteen::spaces);
        match text.get(at) {
            None => return false,
            Some(byte) if is_space(*byte) => return true,
            // A control character of another kind.
            Some(_) => at += 1,
        }
    }
}

/// Reads the start line at the front of `bytes`, and says where the headers begin.
pub(crate) fn start_line(bytes: &[u8]) -> Result<(Start, usize), Malformed> {
    let (end, _) = line_end(bytes, 0)?;
    let line = bytes.get(..end).unwrap_or(&[]);
    let start = match line.first_chunk::<4>() {
        Some(front) if front.eq_ignore_ascii_case(b"SIP/") => status_line(line)?,
        _ => request_line(line)?,
    };
    Ok((start, end + 2))
}

/// RFC 3261 §7.1: Method SP Request-URI SP SIP-Version, single spaces and no others.
fn request_line(line: &[u8]) -> Result<Start, Malformed> {
    let name_end = token_end(line, 0);
    let uri_end = uri_end(line, name_end + 1, line.len());
    let spaces = (byte_at(line, name_end), byte_at(line, uri_end));
    if name_end == 0 || spaces != (b' ', b' ') {
        return Err(Malformed::StartLine);
    }
    version(line.get(uri_end + 1..).unwrap_or(&[]))?;
    let (name, uri) = (Span::new(0, name_end), Span::new(name_end + 1, uri_end));
    if !has_scheme(uri.of(line)) {
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
    if text == b"SIP/2.0" || text.eq_ignore_ascii_case(b"SIP/2.0") {
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

/// Whether a Request-URI has a scheme. Its other parts are looked at by who needs them
/// ([`super::uri::Uri`]).
fn has_scheme(uri: &[u8]) -> bool {
    if uri.starts_with(b"sip:") {
        return true;
    }
    let len = uri
        .iter()
        .position(|b| !b.is_ascii_alphanumeric() && !b"+-.".contains(b));
    uri.first().is_some_and(u8::is_ascii_alphabetic)
        && len.is_some_and(|len| byte_at(uri, len) == b':')
}

/// Reads the header at `at`: `None` at the empty line that ends the headers.
#[inline]
pub(crate) fn next_header(bytes: &[u8], at: usize) -> Result<Option<Header>, Malformed> {
    let rest = bytes.get(at..).unwrap_or(&[]);
    let (kind, colon) = match HeaderName::spelled(rest) {
        Some((kind, len)) => (kind, at + len),
        None if rest.starts_with(b"\r\n") => return Ok(None),
        None => {
            let (name_end, colon) = header_name(bytes, at)?;
            let kind = HeaderName::of(Span::new(at, name_end).of(bytes));
            (kind, colon)
        }
    };
    let (mut end, mut next) = line_end(bytes, colon + 1)?;
    // RFC 3261 §7.3.1: a line that starts with white space continues the one before.
    while matches!(next, b' ' | b'\t') {
        (end, next) = line_end(bytes, end + 2)?;
    }
    Ok(Some(Header {
        kind,
        value: trimmed(bytes, colon + 1, end),
        line: Span::new(at, end + 2),
    }))
}

/// What stands in `from..end` but for the white space around it.
#[inline]
fn trimmed(bytes: &[u8], from: usize, end: usize) -> Span {
    match bytes.get(from..end) {
        // What nearly everybody sends.
        Some([b' ', first, .., last]) if *first > b' ' && *last > b' ' => Span::new(from + 1, end),
        _ => {
            let start = skip_space(bytes, from, end);
            Span::new(start, trim_end(bytes, start, end))
        }
    }
}

/// The end of the name at `at`, and the colon after it.
fn header_name(bytes: &[u8], at: usize) -> Result<(usize, usize), Malformed> {
    let name_end = token_end(bytes, at);
    let mut colon = name_end;
    while matches!(byte_at(bytes, colon), b' ' | b'\t') {
        colon += 1;
    }
    match bytes.get(colon) {
        Some(b':') if name_end > at => Ok((name_end, colon)),
        None => Err(Malformed::Unended),
        Some(b'\r') if colon + 1 == bytes.len() => Err(Malformed::Unended),
        Some(b'\r' | b'\n' | 0) if name_end == at => Err(Malformed::LineEnd),
        Some(_) => Err(Malformed::HeaderLine),
    }
}
