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
/// brackets: any that may stand in a URI but `;` and `,`. Such a URI is sent on between brackets.
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
    let plain = uri && !matches!(byte, b';' | b',');
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

/// The first place from `from` whose byte is not of the class, at most `end`. Letters, digits,
/// `-` and `.` are of every class but [`SPACE`], which this does not look for.
#[inline]
pub(crate) fn class_end(bytes: &[u8], from: usize, end: usize, class: u8) -> usize {
    debug_assert!(class & SPACE == 0);
    let mut at = from;
    loop {
        at = sixteen::find(bytes, at, end, sixteen::not_in_word);
        if at >= end || !is(byte_at(bytes, at), class) {
            return at;
        }
        at += 1;
    }
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
    if byte_at(bytes, from) > b' ' {
        return from;
    }
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
#[inline]
pub(crate) fn number(digits: &[u8], max: u32) -> Option<u32> {
    let mut number = 0_u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        // It stays above what any number may be once it is.
        if digit > 9 || number > u64::from(u32::MAX) {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    let number = u32::try_from(number).ok()?;
    (number <= max && !digits.is_empty()).then_some(number)
}

/// A number that fits 16 bits: a UDP port, for one.
pub(crate) fn number16(digits: &[u8]) -> Option<u16> {
    number(digits, u32::from(u16::MAX)).and_then(|number| u16::try_from(number).ok())
}

/// Finds the line ends of a message, one after the other, sixty-four bytes at a time.
#[derive(Debug)]
pub(crate) struct LineEnds<'m> {
    bytes: &'m [u8],
    /// Where the bytes begin that `marks` are of.
    marked_at: usize,
    /// The control characters among them that have not been looked at.
    marks: u64,
    /// What follows the last line end: the next line.
    rest: &'m [u8],
}

impl<'m> LineEnds<'m> {
    /// Those from `at` on, where a line begins.
    #[inline]
    pub(crate) fn new(bytes: &'m [u8], at: usize) -> LineEnds<'m> {
        LineEnds {
            bytes,
            marked_at: at,
            marks: sixteen::controls_from(bytes, at),
            rest: bytes.get(at..).unwrap_or(&[]),
        }
    }

    /// The index of the CR of the first CRLF from `from` on, and the byte behind it. There must
    /// be one: the shortest that can follow is the empty line that ends the headers. Where the
    /// last one was found is before `from`.
    #[inline(always)]
    fn next(&mut self, from: usize) -> Result<(usize, u8), Malformed> {
        loop {
            while self.marks == 0 {
                self.marked_at += 64;
                if self.marked_at >= self.bytes.len() {
                    return Err(Malformed::Unended);
                }
                self.marks = sixteen::controls_from(self.bytes, self.marked_at);
            }
            let mark = self.marks.trailing_zeros();
            let at = self.marked_at + mark as usize;
            if at >= from
                && let Some([b'\r', b'\n', rest @ ..]) = self.bytes.get(at..)
                && let Some(next) = rest.first()
            {
                self.marks &= !(0b11 << mark);
                self.rest = rest;
                return Ok((at, *next));
            }
            self.marks &= self.marks - 1;
            if at >= from {
                pass(self.bytes, at, from)?;
            }
        }
    }
}

/// Whether the control character at `at` ends no line and may stand in one, which starts before
/// `from`.
#[cold]
fn pass(bytes: &[u8], at: usize, from: usize) -> Result<(), Malformed> {
    match bytes.get(at..).unwrap_or(&[]) {
        [b'\r', b'\n'] | [b'\r'] => Err(Malformed::Unended),
        // RFC 3261 §25.1: the one place for a NUL is a quoted-pair.
        [0, ..] if at > from && byte_at(bytes, at - 1) == b'\\' => Ok(()),
        [b'\r' | b'\n' | 0, ..] => Err(Malformed::LineEnd),
        _ => Ok(()),
    }
}

/// The first place from `from` whose byte may not stand in a URI, at most `end`.
#[inline]
pub(crate) fn uri_end(bytes: &[u8], from: usize, end: usize) -> usize {
    sixteen::find(bytes, from, end, sixteen::not_in_uri)
}

/// The first control character from `from`, at most `end`; the tab is none.
#[inline]
pub(crate) fn find_control(bytes: &[u8], from: usize, end: usize) -> usize {
    sixteen::find(bytes, from, end, sixteen::controls)
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

/// Whether there is white space in `span`.
#[inline]
pub(crate) fn has_space(bytes: &[u8], span: Span) -> bool {
    let (mut at, end) = (usize::from(span.start), usize::from(span.end));
    loop {
        at = sixteen::find(bytes, at, end, sixteen::spaces);
        if at >= end || is_space(byte_at(bytes, at)) {
            return at < end;
        }
        // A control character of another kind.
        at += 1;
    }
}

/// Reads the start line at the front of `bytes`, and says where the headers begin.
pub(crate) fn start_line(
    bytes: &[u8],
    ends: &mut LineEnds<'_>,
) -> Result<(Start, usize), Malformed> {
    let (end, _) = ends.next(0)?;
    let line = bytes.get(..end).unwrap_or(&[]);
    let start = match line.first_chunk::<4>() {
        Some(b"SIP/") => status_line(line)?,
        Some(front) if front.eq_ignore_ascii_case(b"SIP/") => status_line(line)?,
        _ => request_line(bytes, end)?,
    };
    Ok((start, end + 2))
}

/// RFC 3261 §7.1: Method SP Request-URI SP SIP-Version, single spaces and no others.
fn request_line(bytes: &[u8], end: usize) -> Result<Start, Malformed> {
    let name_end = class_end(bytes, 0, end, TOKEN);
    let uri_end = uri_end(bytes, name_end + 1, end);
    let spaces = (byte_at(bytes, name_end), byte_at(bytes, uri_end));
    if name_end == 0 || spaces != (b' ', b' ') {
        return Err(Malformed::StartLine);
    }
    version(bytes.get(uri_end + 1..end).unwrap_or(&[]))?;
    let (name, uri) = (Span::new(0, name_end), Span::new(name_end + 1, uri_end));
    if !has_scheme(uri.of(bytes)) {
        return Err(Malformed::StartLine);
    }
    Ok(Start::Request {
        method: Method::of(name.of(bytes)),
        name,
        uri,
    })
}

/// RFC 3261 §7.2: SIP-Version SP Status-Code SP Reason-Phrase.
fn status_line(line: &[u8]) -> Result<Start, Malformed> {
    let version_len = match line.starts_with(b"SIP/2.0 ") {
        true => 7,
        false => {
            let len = memchr::memchr(b' ', line).ok_or(Malformed::StartLine)?;
            version(line.get(..len).unwrap_or(&[]))?;
            len
        }
    };
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
pub(crate) fn next_header(bytes: &[u8], at: usize) -> Result<Option<Header>, Malformed> {
    header(bytes, at, &mut LineEnds::new(bytes, at))
}

/// The same, where `ends` has found the line end before `at` last. All of a message's header
/// fields are read by this in one loop, and it is inlined so that what they have in common stays
/// in registers.
#[inline(always)]
pub(crate) fn header(
    bytes: &[u8],
    at: usize,
    ends: &mut LineEnds<'_>,
) -> Result<Option<Header>, Malformed> {
    let (kind, colon) = match HeaderName::spelled(ends.rest) {
        Some((kind, len)) => (kind, at + len),
        None if ends.rest.starts_with(b"\r\n") => return Ok(None),
        None => odd_name(bytes, at)?,
    };
    let (mut end, mut next) = ends.next(colon + 1)?;
    // RFC 3261 §7.3.1: a line that starts with white space continues the one before.
    while matches!(next, b' ' | b'\t') {
        (end, next) = ends.next(end + 2)?;
    }
    Ok(Some(Header {
        kind,
        value: trimmed(bytes, colon + 1, end),
        line: Span::new(at, end + 2),
    }))
}

/// The header field whose name at `at` is not spelled as the RFCs spell those that come most,
/// and the colon after it.
fn odd_name(bytes: &[u8], at: usize) -> Result<(HeaderName, usize), Malformed> {
    let (name_end, colon) = header_name(bytes, at)?;
    Ok((HeaderName::of(Span::new(at, name_end).of(bytes)), colon))
}

/// What stands in `from..end` but for the white space around it.
#[inline(always)]
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
