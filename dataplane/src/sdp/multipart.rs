//! SDP that is one part of a body (RFC 2046 §5.1, RFC 5621).

use super::SdpError;
use crate::sip::header::HeaderName;
use crate::sip::header::Params;
use crate::sip::scan::byte_at;
use crate::sip::scan::next_header;
use crate::span::Span;

/// How many parts of a body are looked at. SDP, ISUP, a location and a few of
/// subscribers' data are what trunks send.
const PARTS_MAX: usize = 8;

/// RFC 2046 §5.1.1: a boundary has no more than 70 characters.
const BOUNDARY_LEN_MAX: usize = 70;

/// What the headers of a body, or of a part of it, say of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Content<'m> {
    /// Content-Type.
    pub kind: Option<&'m [u8]>,
    /// Content-Disposition.
    pub disposition: Option<&'m [u8]>,
    /// Content-Encoding.
    pub encoding: Option<&'m [u8]>,
}

impl Content<'_> {
    /// True for SDP that describes a session: what it is for where nothing is said (RFC 3261
    /// §20.11). Other SDP, as that of an early-session, is neither offer nor answer to us.
    fn is_session(&self) -> bool {
        let is = |value: &[u8], name: &[u8]| {
            if value == name {
                return true;
            }
            let len = memchr::memchr(b';', value).unwrap_or(value.len());
            let value = value.get(..len).unwrap_or(&[]);
            value.trim_ascii().eq_ignore_ascii_case(name)
        };
        let sdp = self.kind.is_some_and(|kind| is(kind, b"application/sdp"));
        sdp && self.disposition.is_none_or(|value| is(value, b"session"))
    }

    /// True where the bytes are not the text itself (RFC 3261 §20.12).
    fn is_encoded(&self) -> bool {
        let plain = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"identity");
        self.encoding.is_some_and(|value| !plain(value))
    }
}

/// Finds the description of a session in a body: all of it where that is SDP, one part of it
/// where it is a multipart, whatever its `handling` (RFC 5621 §4), none otherwise. A multipart
/// inside a multipart is not looked into.
///
/// # Errors
/// [`SdpError::Multipart`] where the parts cannot be told apart, [`SdpError::Part`] where
/// two describe a session, or what does is encoded.
pub fn find(content: &Content<'_>, body: &[u8]) -> Result<Option<Span>, SdpError> {
    if content.is_session() {
        return match content.is_encoded() {
            true => Err(SdpError::Part),
            false => Ok(Some(Span::new(0, body.len()))),
        };
    }
    let content_type = content.kind.unwrap_or_default();
    let media_type = content_type.get(..10).unwrap_or(&[]);
    if !media_type.eq_ignore_ascii_case(b"multipart/") {
        return Ok(None);
    }
    find_part(content_type, body)
}

/// The same in a multipart body. Nearly no body is one, and it needs much of the stack.
#[inline(never)]
fn find_part(content_type: &[u8], body: &[u8]) -> Result<Option<Span>, SdpError> {
    let delimiter = Delimiter::of(content_type).ok_or(SdpError::Multipart)?;
    let mut found = None;
    let mut at = delimiter.next(body, 0).ok_or(SdpError::Multipart)?;
    for _ in 0..PARTS_MAX {
        if at.is_last {
            return Ok(found);
        }
        let next = delimiter.next(body, at.end).ok_or(SdpError::Multipart)?;
        if let Some(content) = sdp_part(body, at.end, next.start)?
            && found.replace(content).is_some()
        {
            return Err(SdpError::Part);
        }
        at = next;
    }
    Err(SdpError::Multipart)
}

/// `--` and the boundary.
struct Delimiter {
    bytes: [u8; BOUNDARY_LEN_MAX + 2],
    len: usize,
}

/// A delimiter line: from the line end before it to the one after it.
#[derive(Clone, Copy)]
struct Found {
    start: usize,
    end: usize,
    is_last: bool,
}

impl Delimiter {
    fn of(content_type: &[u8]) -> Option<Delimiter> {
        let params_at = memchr::memchr(b';', content_type)?;
        let params = Params::new(content_type, params_at, content_type.len());
        let value = params.find(b"boundary")?.value?.of(content_type);
        let value = match value.strip_prefix(b"\"") {
            Some(quoted) => quoted.strip_suffix(b"\"")?,
            None => value,
        };
        // No boundary holds a backslash, so none is an escape.
        if value.is_empty() || value.contains(&b'\\') {
            return None;
        }
        let len = value.len() + 2;
        let mut bytes = [b'-'; BOUNDARY_LEN_MAX + 2];
        bytes.get_mut(2..len)?.copy_from_slice(value);
        Some(Delimiter { bytes, len })
    }

    /// The next delimiter line from `from` on.
    fn next(&self, body: &[u8], from: usize) -> Option<Found> {
        let delimiter = self.bytes.get(..self.len)?;
        let mut at = from;
        loop {
            let start = at + memchr::memmem::find(body.get(at..)?, delimiter)?;
            let after = start + self.len;
            let starts_line = start == 0 || body.get(..start)?.ends_with(b"\r\n");
            if let Some((end, is_last)) = delimiter_end(body, after).filter(|_| starts_line) {
                // RFC 2046 §5.1.1: the line end before it is the delimiter's.
                return Some(Found {
                    start: start.saturating_sub(2).max(from),
                    end,
                    is_last,
                });
            }
            at = start + 1;
        }
    }
}

/// One past the line end of a delimiter line, and whether it is the last: its boundary
/// ends at `after`.
fn delimiter_end(body: &[u8], after: usize) -> Option<(usize, bool)> {
    let is_last = byte_at(body, after) == b'-' && byte_at(body, after + 1) == b'-';
    if is_last {
        return Some((after + 2, true));
    }
    let mut at = after;
    while matches!(byte_at(body, at), b' ' | b'\t') {
        at += 1;
    }
    let ended = byte_at(body, at) == b'\r' && byte_at(body, at + 1) == b'\n';
    ended.then_some((at + 2, false))
}

/// The content of the part in `start..end`, if it is SDP.
fn sdp_part(body: &[u8], start: usize, end: usize) -> Result<Option<Span>, SdpError> {
    // The empty line after the headers may share its line end with the delimiter.
    let part = body.get(..(end + 2).min(body.len())).unwrap_or(&[]);
    let (mut at, mut content, mut encoded) = (start, Content::default(), false);
    while let Some(header) = next_header(part, at).map_err(|_| SdpError::Multipart)? {
        let value = header.value.of(part);
        let name = header.name(part).of(part);
        match header.kind {
            HeaderName::ContentType => content.kind = Some(value),
            HeaderName::ContentDisposition => content.disposition = Some(value),
            HeaderName::ContentEncoding => content.encoding = Some(value),
            _ if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") => {
                let plain: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
                encoded = !plain.iter().any(|plain| value.eq_ignore_ascii_case(plain));
            }
            _ => {}
        }
        at = header.line.end.into();
    }
    let (sdp, encoded) = (content.is_session(), encoded || content.is_encoded());
    let content_at = at + 2;
    match (sdp, encoded) {
        (true, true) => Err(SdpError::Part),
        (true, false) if content_at <= end => Ok(Some(Span::new(content_at, end))),
        (true, false) => Err(SdpError::Multipart),
        (false, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &[u8] = b"multipart/mixed;boundary=\"b 1\"";

    fn found(content_type: &[u8], body: &str) -> Result<Option<String>, SdpError> {
        let content = Content {
            kind: Some(content_type),
            ..Content::default()
        };
        let span = find(&content, body.as_bytes())?;
        Ok(span.map(|span| body[span.range()].to_owned()))
    }

    #[test]
    fn a_body_that_is_sdp_is_found_whole() {
        assert_eq!(
            found(b"Application/SDP ; x=y", "v=0"),
            Ok(Some("v=0".to_owned()))
        );
        assert_eq!(found(b"application/sdpx", "v=0"), Ok(None));
        assert_eq!(found(b"", ""), Ok(None));
    }

    #[test]
    fn the_sdp_part_is_found_without_the_line_end_before_its_delimiter() {
        let body = "preamble\r\n--b 1\r\nContent-Type: application/isup\r\n\r\n\x01--b 1\r\n\
            \r\n--b 1  \r\nc:\r\n application/sdp\r\nContent-Disposition: session\r\n\r\n\
            v=0\r\ns=--b 1\r\n--b 1--\r\nafter";
        assert_eq!(found(TYPE, body), Ok(Some("v=0\r\ns=--b 1".to_owned())));
        let none = "--b 1\r\n\r\ntext\r\n--b 1--";
        assert_eq!(found(TYPE, none), Ok(None));
    }

    #[test]
    fn sdp_that_describes_no_session_is_passed_by() {
        let whole = |disposition: &'static str, encoding: Option<&'static str>| {
            let content = Content {
                kind: Some(b"application/sdp"),
                disposition: Some(disposition.as_bytes()),
                encoding: encoding.map(str::as_bytes),
            };
            find(&content, b"v=0").map(|found| found.is_some())
        };
        assert_eq!(whole("Session ;handling=optional", None), Ok(true));
        assert_eq!(whole("early-session", None), Ok(false));
        assert_eq!(whole("render", Some("gzip")), Ok(false));
        assert_eq!(whole("session", Some("identity")), Ok(true));
        assert_eq!(whole("session", Some("gzip")), Err(SdpError::Part));

        let part = |disposition: &str, text: &str| {
            format!(
                "--b 1\r\nContent-Type: application/sdp\r\n\
                 Content-Disposition: {disposition}\r\n\r\n{text}\r\n"
            )
        };
        let body = part("early-session", "v=1") + &part("session;handling=optional", "v=0");
        assert_eq!(
            found(TYPE, &format!("{body}--b 1--")),
            Ok(Some("v=0".to_owned()))
        );
    }

    #[test]
    fn two_sdp_parts_and_an_encoded_one_are_refused() {
        let part = "--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n";
        assert_eq!(
            found(TYPE, &format!("{part}{part}--b 1--")),
            Err(SdpError::Part)
        );
        let encoded = part.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n");
        assert_eq!(
            found(TYPE, &format!("{encoded}--b 1--")),
            Err(SdpError::Part)
        );
    }

    #[test]
    fn parts_that_cannot_be_told_apart_are_refused() {
        let part = "--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n";
        let headless = "--b 1\r\nno header\r\n--b 1--".to_owned();
        for body in [String::new(), part.to_owned(), part.repeat(20), headless] {
            assert!(found(TYPE, &body).is_err(), "{body}");
        }
        for content_type in [&b"multipart/mixed"[..], b"multipart/mixed;boundary=\"\""] {
            assert_eq!(found(content_type, part), Err(SdpError::Multipart));
        }
    }
}
