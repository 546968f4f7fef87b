//! Header fields: their names, and the forms that several of them share: parameters,
//! addresses, lists.

use super::scan::DISPLAY;
use super::scan::PLAIN;
use super::scan::TOKEN;
use super::scan::byte_at;
use super::scan::class_end;
use super::scan::is;
use super::scan::is_name;
use super::scan::quote_or_backslash;
use super::scan::skip_space;
use super::scan::uri_end;
use crate::span::Span;

/// The header fields that the proxy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the header field of that name")]
pub enum HeaderName {
    // Those whose last line is noted as well come first, see `HeaderName::LISTS`.
    Via,
    Route,
    RecordRoute,
    From,
    To,
    CallId,
    Cseq,
    Contact,
    MaxForwards,
    ContentLength,
    ContentType,
    ContentEncoding,
    ContentDisposition,
    Require,
    ProxyRequire,
    Supported,
    Expires,
    SessionExpires,
    MinSe,
    Authorization,
    // Of these, which hardly ever come, a message knows only whether there are any, see
    // `HeaderName::PLACES`.
    MaxBreadth,
    Path,
    AssertedIdentity,
    Timestamp,
    ProxyAuthorization,
    Other,
}

impl HeaderName {
    /// Of how many of them, from the first on, a message knows the place.
    pub(crate) const PLACES: usize = HeaderName::MaxBreadth as usize;
    /// How many of them, from the first on, are lists whose lines a proxy walks through.
    pub(crate) const LISTS: usize = HeaderName::RecordRoute as usize + 1;

    /// Whether a message may have it only once and a second one would be read differently by
    /// different elements.
    #[inline]
    pub(crate) const fn is_single(self) -> bool {
        matches!(
            self,
            HeaderName::From
                | HeaderName::To
                | HeaderName::CallId
                | HeaderName::Cseq
                | HeaderName::MaxForwards
                | HeaderName::MaxBreadth
                | HeaderName::ContentLength
                | HeaderName::ContentType
        )
    }

    /// The header field of that name, in any case, long or compact (RFC 3261 §7.3.3,
    /// §20).
    #[must_use]
    pub fn of(name: &[u8]) -> HeaderName {
        let is = |long: &[u8]| name.eq_ignore_ascii_case(long);
        match name.len() {
            1 => HeaderName::of_compact(byte_at(name, 0)),
            2 if is(b"To") => HeaderName::To,
            3 if is(b"Via") => HeaderName::Via,
            4 if is(b"From") => HeaderName::From,
            4 if is(b"CSeq") => HeaderName::Cseq,
            4 if is(b"Path") => HeaderName::Path,
            5 if is(b"Route") => HeaderName::Route,
            6 if is(b"Min-SE") => HeaderName::MinSe,
            7 if is(b"Call-ID") => HeaderName::CallId,
            7 if is(b"Contact") => HeaderName::Contact,
            7 if is(b"Require") => HeaderName::Require,
            7 if is(b"Expires") => HeaderName::Expires,
            9 if is(b"Supported") => HeaderName::Supported,
            9 if is(b"Timestamp") => HeaderName::Timestamp,
            11 if is(b"Max-Breadth") => HeaderName::MaxBreadth,
            12 if is(b"Max-Forwards") => HeaderName::MaxForwards,
            12 if is(b"Content-Type") => HeaderName::ContentType,
            12 if is(b"Record-Route") => HeaderName::RecordRoute,
            13 if is(b"Proxy-Require") => HeaderName::ProxyRequire,
            13 if is(b"Authorization") => HeaderName::Authorization,
            14 if is(b"Content-Length") => HeaderName::ContentLength,
            15 if is(b"Session-Expires") => HeaderName::SessionExpires,
            16 if is(b"Content-Encoding") => HeaderName::ContentEncoding,
            19 if is(b"Content-Disposition") => HeaderName::ContentDisposition,
            19 if is(b"Proxy-Authorization") => HeaderName::ProxyAuthorization,
            19 if is(b"P-Asserted-Identity") => HeaderName::AssertedIdentity,
            _ => HeaderName::Other,
        }
    }

    /// The header field whose name `line` starts with, spelled as the RFCs spell it and
    /// followed by a colon, and the name's length. Nearly every line that comes is spelled
    /// so, and comparing a few words is cheaper than walking through the name.
    #[inline(always)]
    pub(crate) fn spelled(line: &[u8]) -> Option<(HeaderName, usize)> {
        let found = match line.first()? {
            b'V' if line.starts_with(b"Via:") => (HeaderName::Via, 3),
            b'F' if line.starts_with(b"From:") => (HeaderName::From, 4),
            b'T' if line.starts_with(b"To:") => (HeaderName::To, 2),
            b'M' if line.starts_with(b"Max-Forwards:") => (HeaderName::MaxForwards, 12),
            b'M' if line.starts_with(b"Max-Breadth:") => (HeaderName::MaxBreadth, 11),
            b'R' if line.starts_with(b"Route:") => (HeaderName::Route, 5),
            b'R' if line.starts_with(b"Record-Route:") => (HeaderName::RecordRoute, 12),
            b'C' if line.starts_with(b"CSeq:") => (HeaderName::Cseq, 4),
            b'C' if line.starts_with(b"Call-ID:") => (HeaderName::CallId, 7),
            b'C' if line.starts_with(b"Contact:") => (HeaderName::Contact, 7),
            b'C' if line.starts_with(b"Content-Length:") => (HeaderName::ContentLength, 14),
            b'C' if line.starts_with(b"Content-Type:") => (HeaderName::ContentType, 12),
            b'E' if line.starts_with(b"Expires:") => (HeaderName::Expires, 7),
            b'U' if line.starts_with(b"User-Agent:") => (HeaderName::Other, 10),
            b'A' if line.starts_with(b"Allow:") => (HeaderName::Other, 5),
            b'A' if line.starts_with(b"Authorization:") => (HeaderName::Authorization, 13),
            b'S' if line.starts_with(b"Supported:") => (HeaderName::Supported, 9),
            b'P' if line.starts_with(b"P-Asserted-Identity:") => (HeaderName::AssertedIdentity, 19),
            b'P' if line.starts_with(b"Proxy-Authorization:") => {
                (HeaderName::ProxyAuthorization, 19)
            }
            _ => return None,
        };
        Some(found)
    }

    fn of_compact(letter: u8) -> HeaderName {
        match letter.to_ascii_lowercase() {
            b'c' => HeaderName::ContentType,
            b'e' => HeaderName::ContentEncoding,
            b'f' => HeaderName::From,
            b'i' => HeaderName::CallId,
            b'k' => HeaderName::Supported,
            b'l' => HeaderName::ContentLength,
            b'm' => HeaderName::Contact,
            b't' => HeaderName::To,
            b'v' => HeaderName::Via,
            // RFC 4028 §4.
            b'x' => HeaderName::SessionExpires,
            _ => HeaderName::Other,
        }
    }
}

/// A header field where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// All of its line or lines, with the CRLF.
    pub line: Span,
    /// The value.
    pub value: Span,
}

/// The option tags of a Supported or Require header field (RFC 3261 §20.32, §20.37).
pub(crate) fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether the option tags of `value` have this one among them, in any case.
pub(crate) fn lists(value: &[u8], option: &[u8]) -> bool {
    options(value).any(|tag| tag.eq_ignore_ascii_case(option))
}

/// A value that does not follow its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadValue;

/// A parameter: `;name` or `;name=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// The name.
    pub name: Span,
    /// The value; a quoted string with its quotes. May be empty.
    pub value: Option<Span>,
}

/// The parameters that follow a value, up to its end or the comma after it.
#[derive(Clone, Copy, Debug)]
pub struct Params<'m> {
    bytes: &'m [u8],
    at: usize,
    end: usize,
}

impl<'m> Params<'m> {
    /// The parameters from `at`, where a `;` is expected, up to `end`.
    pub(crate) fn new(bytes: &'m [u8], at: usize, end: usize) -> Params<'m> {
        Params { bytes, at, end }
    }

    /// Where the last parameter ended; white space after it not counted.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The parameter of that name, in any case; the first if there are several.
    #[must_use]
    pub fn find(mut self, name: &[u8]) -> Option<Param> {
        let bytes = self.bytes;
        self.find_map(|param| {
            param
                .ok()
                .filter(|p| p.name.of(bytes).eq_ignore_ascii_case(name))
        })
    }

    #[inline]
    fn param(&mut self, name_at: usize) -> Result<Param, BadValue> {
        let (bytes, end) = (self.bytes, self.end);
        let name = Span::new(name_at, class_end(bytes, name_at, end, TOKEN));
        if name.is_empty() {
            return Err(BadValue);
        }
        self.at = name.end.into();
        let equals = skip_space(bytes, self.at, end);
        if equals >= end || byte_at(bytes, equals) != b'=' {
            return Ok(Param { name, value: None });
        }
        let value_at = skip_space(bytes, equals + 1, end);
        let mut value_end = class_end(bytes, value_at, end, TOKEN);
        if value_end == value_at && value_at < end && byte_at(bytes, value_at) == b'"' {
            value_end = quoted_end(bytes, value_at, end).ok_or(BadValue)?;
        } else if value_end < end && is(byte_at(bytes, value_end), PLAIN) {
            value_end = class_end(bytes, value_end, end, PLAIN);
        }
        self.at = value_end;
        Ok(Param {
            name,
            value: Some(Span::new(value_at, value_end)),
        })
    }
}

impl Iterator for Params<'_> {
    type Item = Result<Param, BadValue>;

    fn next(&mut self) -> Option<Result<Param, BadValue>> {
        let at = skip_space(self.bytes, self.at, self.end);
        if at >= self.end || byte_at(self.bytes, at) == b',' {
            return None;
        }
        let param = if byte_at(self.bytes, at) == b';' {
            self.param(skip_space(self.bytes, at + 1, self.end))
        } else {
            Err(BadValue)
        };
        if param.is_err() {
            // What follows cannot be told apart: the error is the last item.
            self.at = self.end;
        }
        Some(param)
    }
}

/// One past the closing quote of the quoted string that opens at `open`.
pub(crate) fn quoted_end(bytes: &[u8], open: usize, end: usize) -> Option<usize> {
    let mut at = open + 1;
    while at < end {
        at = quote_or_backslash(bytes, at, end);
        if at < end && byte_at(bytes, at) == b'"' {
            return Some(at + 1);
        }
        // What a backslash escapes ends nothing.
        at += 2;
    }
    None
}

/// A name-addr or addr-spec with its parameters (RFC 3261 §20.10, §25.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// All of it: display name, URI, parameters.
    pub value: Span,
    /// The URI, without angle brackets.
    pub uri: Span,
    /// The header field's parameters, from the first `;`.
    pub params: Span,
    /// The value of the parameter `tag` (RFC 3261 §19.3).
    pub tag: Option<Span>,
}

impl Address {
    /// Reads one address in `from..end` of `bytes`, which ends there or, in a `list`, at a
    /// comma. A tag is a token and stands once.
    ///
    /// A display name without quotes may hold any byte but `"`, `;`, `:` and `,`: more than the
    /// tokens of the grammar, since nobody reads the rest differently. A comma is another value's
    /// beginning to some, and a proxy must not pass that on (RFC 4475 §3.1.2.15).
    pub(crate) fn read(
        bytes: &[u8],
        from: usize,
        end: usize,
        list: bool,
    ) -> Result<Address, BadValue> {
        let from = skip_space(bytes, from, end);
        let (uri, after) = match opening(bytes, from, end)? {
            Some(open) => bracketed(bytes, open, end)?,
            None => {
                // RFC 3261 §20.10: without brackets, parameters are the header field's.
                let uri_end = class_end(bytes, from, end, PLAIN);
                (Span::new(from, uri_end), uri_end)
            }
        };
        if uri.is_empty() {
            return Err(BadValue);
        }
        // What nearly everybody sends, before the walk through all that may be sent.
        let tag = lone_tag(bytes, after, end);
        if after == end || tag.is_some() {
            return Ok(Address {
                value: Span::new(from, end),
                uri,
                params: Span::new(after, end),
                tag,
            });
        }
        let mut tag = None;
        let mut params = Params::new(bytes, after, end);
        for param in params.by_ref() {
            let param = param?;
            let name = param.name.of(bytes);
            if name.len() != 3 || !is_name(name, b"tag") {
                continue;
            }
            let value = param
                .value
                .filter(|value| is_token(bytes, *value))
                .ok_or(BadValue)?;
            if tag.replace(value).is_some() {
                return Err(BadValue);
            }
        }
        let value_end = params.at();
        if !list && skip_space(bytes, value_end, end) < end {
            return Err(BadValue);
        }
        let (value, params) = (Span::new(from, value_end), Span::new(after, value_end));
        Ok(Address {
            value,
            uri,
            params,
            tag,
        })
    }

    /// The parameters.
    #[must_use]
    pub fn params<'m>(&self, bytes: &'m [u8]) -> Params<'m> {
        Params::new(bytes, self.params.start.into(), self.params.end.into())
    }
}

/// The tag where it is all that follows the URI, up to the end.
#[inline]
fn lone_tag(bytes: &[u8], after: usize, end: usize) -> Option<Span> {
    let is_tag = bytes.get(after..end)?.starts_with(b";tag=");
    let tag = Span::new(after + 5, end);
    (is_tag && is_token(bytes, tag)).then_some(tag)
}

#[inline]
fn is_token(bytes: &[u8], value: Span) -> bool {
    let end = value.end.into();
    !value.is_empty() && class_end(bytes, value.start.into(), end, TOKEN) == end
}

/// Where the `<` of a name-addr stands; `None` for an addr-spec.
fn opening(bytes: &[u8], from: usize, end: usize) -> Result<Option<usize>, BadValue> {
    if byte_at(bytes, from) == b'<' && from < end {
        return Ok(Some(from));
    }
    if byte_at(bytes, from) == b'"' {
        let quoted = quoted_end(bytes, from, end).ok_or(BadValue)?;
        let open = skip_space(bytes, quoted, end);
        let found = open < end && byte_at(bytes, open) == b'<';
        return if found { Ok(Some(open)) } else { Err(BadValue) };
    }
    let at = class_end(bytes, from, end, DISPLAY);
    match byte_at(bytes, at) {
        b'<' if at < end => Ok(Some(at)),
        // A colon is a scheme's: this is an addr-spec.
        b':' if at < end => Ok(None),
        _ => Err(BadValue),
    }
}

/// The URI in the brackets that open at `open`, and where the text after them begins.
///
/// Spaces inside the brackets are wrong and are sent all the same (RFC 4475 §3.1.2.14).
fn bracketed(bytes: &[u8], open: usize, end: usize) -> Result<(Span, usize), BadValue> {
    let uri_at = skip_space(bytes, open + 1, end);
    let uri_end = uri_end(bytes, uri_at, end);
    let close = skip_space(bytes, uri_end, end);
    if close < end && byte_at(bytes, close) == b'>' {
        Ok((Span::new(uri_at, uri_end), close + 1))
    } else {
        Err(BadValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<(&str, Option<&str>), BadValue> {
        let bytes = text.as_bytes();
        let address = Address::read(bytes, 0, bytes.len(), false)?;
        Ok((
            &text[address.uri.range()],
            address.tag.map(|tag| &text[tag.range()]),
        ))
    }

    #[test]
    fn names_are_known_in_any_case_and_in_compact_form() {
        assert_eq!(HeaderName::of(b"cALL-id"), HeaderName::CallId);
        assert_eq!(HeaderName::of(b"I"), HeaderName::CallId);
        assert_eq!(HeaderName::of(b"Calling"), HeaderName::Other);
        assert_eq!(HeaderName::of(b"s"), HeaderName::Other);
        assert_eq!(HeaderName::of(b""), HeaderName::Other);
    }

    #[test]
    fn addresses_are_read_with_and_without_brackets() {
        assert_eq!(address("sip:a@b"), Ok(("sip:a@b", None)));
        assert_eq!(address("sip:a@b;tag=1"), Ok(("sip:a@b", Some("1"))));
        assert_eq!(
            address("<sip:a@b;tag=x>;tag=1"),
            Ok(("sip:a@b;tag=x", Some("1")))
        );
        assert_eq!(
            address("\"A \\\" <sip:x>\" <sip:a@b>"),
            Ok(("sip:a@b", None))
        );
        assert_eq!(
            address("Bell (A.) < sip:a@b > ;\r\n TAG\t= 1"),
            Ok(("sip:a@b", Some("1")))
        );
        assert_eq!(
            address("caller<sip:a@b>;x;y=\"a;tag=2\""),
            Ok(("sip:a@b", None))
        );
        assert_eq!(address("<tel:+1>;tag=a.b"), Ok(("tel:+1", Some("a.b"))));
    }

    #[test]
    fn addresses_that_two_readers_would_read_differently_are_refused() {
        for text in [
            "",
            "<>",
            "sip",
            "\"A <sip:a@b>",
            "\"A\" sip:a@b",
            "<sip:a@b",
            "<sip:a@b>x",
            "<sip:a b>",
            "<sip:a@b>;",
            "<sip:a@b>;;tag=1",
            "<sip:a@b>;tag",
            "<sip:a@b>;tag=",
            "<sip:a@b>;tag=\"1\"",
            "<sip:a@b>;tag=1;tag=2",
            "<sip:a@b>;tag=1, <sip:c@d>",
            "a\"b <sip:a@b>",
            "Bell, A. <sip:a@b>",
            "sip:a@b;tag=<sip:c@d>",
            "<sip:a\u{1a}@b>",
            "sip:a\u{1a}@b",
            "sip:a@b\u{7f}",
            "<sip:a@b>;x=\u{1}",
        ] {
            assert_eq!(address(text), Err(BadValue), "{text}");
        }
    }
}
