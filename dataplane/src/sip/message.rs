//! A message as one pass over its bytes finds it.
//!
//! [`Message::scan`] refuses what would be unsafe to route or to answer: a message that
//! lacks a header field that RFC 3261 §8.1.1 makes mandatory (Max-Forwards apart, which
//! §16.3 lets a proxy supply), that has two where one may stand, or that two elements
//! would read differently. What the proxy only passes on is not looked at. So no accessor
//! of a scanned message fails for want of a field, and none panics.

use super::header::Address;
use super::header::BadValue;
use super::header::HeaderName;
use super::header::ListValue;
use super::malformed::Malformed;
use super::method::Method;
use super::scan;
use super::scan::Header;
use super::scan::Start;
use super::via::Via;
use crate::span::MESSAGE_LEN_MAX;
use crate::span::Span;
use crate::span::offset;

/// A header field that stands at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// All of its line or lines, with the CRLF.
    pub line: Span,
    /// The value.
    pub value: Span,
}

/// A scanned request or response. See the module's page.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    bytes: &'m [u8],
    start: Start,
    headers: Span,
    via_line: Span,
    via: Via,
    from: Address,
    to: Address,
    call_id: Span,
    cseq: Cseq,
    max_forwards: Option<(Field, u8)>,
    content_length: Option<Field>,
    content_type: Option<Span>,
    content_disposition: Option<Span>,
    content_encoding: Option<Span>,
    contact: Option<Header>,
    route_at: Option<u16>,
    record_route_at: Option<u16>,
    has_proxy_require: bool,
}

#[derive(Clone, Copy, Debug)]
struct Cseq {
    number: u32,
    name: Span,
    method: Method,
}

impl<'m> Message<'m> {
    /// Scans a datagram, which holds one message (RFC 3261 §18.3): what follows the body
    /// is cut off, line ends before the start line too.
    ///
    /// Keepalives are to be taken out before, see [`scan::is_keepalive`].
    ///
    /// # Errors
    /// The first reason found why this is no message to act on.
    pub fn scan(datagram: &'m [u8]) -> Result<Message<'m>, Malformed> {
        if datagram.len() > MESSAGE_LEN_MAX {
            return Err(Malformed::TooLong);
        }
        let front = datagram
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'));
        let bytes = front
            .and_then(|front| datagram.get(front..))
            .ok_or(Malformed::Empty)?;
        if scan::is_keepalive(bytes) {
            return Err(Malformed::Empty);
        }
        let (start, headers_at) = scan::start_line(bytes)?;
        let mut found = Found::default();
        let mut at = headers_at;
        while let Some(header) = scan::next_header(bytes, at)? {
            found.note(header)?;
            at = header.line.end.into();
        }
        found.message(bytes, start, Span::new(headers_at, at))
    }

    /// The message's bytes, from the start line to the end of the body. Every span of the
    /// message is one of these bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// The bytes that a span of this message names.
    #[must_use]
    pub fn text(&self, span: Span) -> &'m [u8] {
        span.of(self.bytes)
    }

    /// The start line.
    #[must_use]
    pub const fn start(&self) -> Start {
        self.start
    }

    /// The method: a request's own, or the one that a response's CSeq names.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.cseq.method
    }

    /// Whether it is a request.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// A response's status code.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// A request's Request-URI.
    #[must_use]
    pub const fn request_uri(&self) -> Option<Span> {
        match self.start {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// The header lines: from the first to the empty line, which is not in it.
    #[must_use]
    pub const fn header_block(&self) -> Span {
        self.headers
    }

    /// The top Via.
    #[must_use]
    pub const fn via(&self) -> Via {
        self.via
    }

    /// All of the line or lines in which the top Via stands, alone or with others.
    #[must_use]
    pub const fn via_line(&self) -> Span {
        self.via_line
    }

    /// The Via below the top one: where a response goes once ours is gone.
    ///
    /// # Errors
    /// [`Malformed::Via`] where there is one that cannot be read.
    pub fn second_via(&self) -> Result<Option<Via>, Malformed> {
        let from_next = |at: u16, end: u16| {
            Via::read(self.bytes, at.into(), end.into())
                .map(Some)
                .map_err(|_| Malformed::Via)
        };
        if let Some(next) = self.via.next {
            return from_next(next, self.via_line.end);
        }
        let below = self
            .headers_from(self.via_line.end)
            .find(|h| h.kind == HeaderName::Via);
        below.map_or(Ok(None), |header| {
            from_next(header.value.start, header.value.end)
        })
    }

    /// The values of Via from the top one down, across lines and commas, up to one that cannot
    /// be read.
    pub fn vias(&self) -> impl Iterator<Item = Via> + use<'m> {
        let bytes = self.bytes;
        let mut fields = self
            .headers_from(self.via_line.end)
            .filter(|header| header.kind == HeaderName::Via);
        let top = (self.via, self.via_line.end);
        let values = std::iter::successors(Some(top), move |&(via, end)| {
            let (at, end) = match via.next {
                Some(next) => (next, end),
                None => fields
                    .next()
                    .map(|field| (field.value.start, field.value.end))?,
            };
            Some((Via::read(bytes, at.into(), end.into()).ok()?, end))
        });
        values.map(|(via, _)| via)
    }

    /// From.
    #[must_use]
    pub const fn from(&self) -> Address {
        self.from
    }

    /// To.
    #[must_use]
    pub const fn to(&self) -> Address {
        self.to
    }

    /// From's tag. An RFC 2543 element sends none.
    #[must_use]
    pub fn from_tag(&self) -> Option<&'m [u8]> {
        self.from.tag.map(|tag| self.text(tag))
    }

    /// To's tag: none outside of a dialog.
    #[must_use]
    pub fn to_tag(&self) -> Option<&'m [u8]> {
        self.to.tag.map(|tag| self.text(tag))
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &'m [u8] {
        self.text(self.call_id)
    }

    /// CSeq: the number, the method's name, the method.
    #[must_use]
    pub fn cseq(&self) -> (u32, &'m [u8], Method) {
        (
            self.cseq.number,
            self.text(self.cseq.name),
            self.cseq.method,
        )
    }

    /// Max-Forwards, if it is there.
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        self.max_forwards.map(|(_, number)| number)
    }

    /// Where Max-Forwards stands.
    #[must_use]
    pub fn max_forwards_field(&self) -> Option<Field> {
        self.max_forwards.map(|(field, _)| field)
    }

    /// Where Content-Length stands. What it says is the length of [`Message::body`].
    #[must_use]
    pub const fn content_length_field(&self) -> Option<Field> {
        self.content_length
    }

    /// Content-Type, if it is there.
    #[must_use]
    pub fn content_type(&self) -> Option<&'m [u8]> {
        self.content_type.map(|value| self.text(value))
    }

    /// Content-Disposition, if it is there (RFC 3261 §20.11).
    #[must_use]
    pub fn content_disposition(&self) -> Option<&'m [u8]> {
        self.content_disposition.map(|value| self.text(value))
    }

    /// Content-Encoding, if it is there (RFC 3261 §20.12).
    #[must_use]
    pub fn content_encoding(&self) -> Option<&'m [u8]> {
        self.content_encoding.map(|value| self.text(value))
    }

    /// The body: as many bytes as Content-Length says, all that came where there is
    /// none (RFC 3261 §18.3).
    #[must_use]
    pub fn body(&self) -> &'m [u8] {
        self.text(self.body_span())
    }

    /// Where the body stands.
    #[must_use]
    pub fn body_span(&self) -> Span {
        Span {
            start: self.headers.end.saturating_add(2),
            end: offset(self.bytes.len()),
        }
    }

    /// Whether Proxy-Require is there (RFC 3261 §16.3, step 5).
    #[must_use]
    pub const fn has_proxy_require(&self) -> bool {
        self.has_proxy_require
    }

    /// The URI of the first Contact; `None` where there is none, where it is `*`, and
    /// where it cannot be read.
    #[must_use]
    pub fn contact_uri(&self) -> Option<Span> {
        let header = self.contact?;
        list_value(self.bytes, &header, header.value.start)
            .ok()
            .map(|value| value.address.uri)
    }

    /// Every header field, in order.
    #[must_use]
    pub fn headers(&self) -> Headers<'m> {
        self.headers_from(self.headers.start)
    }

    /// The header fields from the one that starts at `at`.
    pub(crate) fn headers_from(&self, at: u16) -> Headers<'m> {
        Headers {
            bytes: self.bytes,
            at,
        }
    }

    /// The first header field of that name.
    #[must_use]
    pub fn header(&self, kind: HeaderName) -> Option<Header> {
        self.headers().find(|header| header.kind == kind)
    }

    /// The values of Route in order, across lines and commas.
    #[must_use]
    pub fn routes(&self) -> List<'m> {
        self.list(HeaderName::Route, self.route_at)
    }

    /// The values of Record-Route in order, across lines and commas.
    #[must_use]
    pub fn record_routes(&self) -> List<'m> {
        self.list(HeaderName::RecordRoute, self.record_route_at)
    }

    /// Where the first Record-Route header field starts.
    pub(crate) const fn record_route_at(&self) -> Option<u16> {
        self.record_route_at
    }

    fn list(&self, kind: HeaderName, first: Option<u16>) -> List<'m> {
        // Where there is no such header field there is nothing to walk through.
        let at = first.unwrap_or(self.headers.end);
        List {
            kind,
            headers: self.headers_from(at),
            within: None,
        }
    }
}

/// The header fields of a scanned message.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'m> {
    bytes: &'m [u8],
    at: u16,
}

impl Iterator for Headers<'_> {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        // The scan has seen every line: an error is the end, as the empty line is.
        let header = scan::next_header(self.bytes, self.at.into())
            .ok()
            .flatten()?;
        self.at = header.line.end;
        Some(header)
    }
}

/// The values of a header field that lists addresses. The first value that cannot be
/// read is an error and the last item.
#[derive(Clone, Copy, Debug)]
pub struct List<'m> {
    kind: HeaderName,
    headers: Headers<'m>,
    /// The header field being read, and where its next value starts.
    within: Option<(Header, u16)>,
}

impl Iterator for List<'_> {
    type Item = Result<ListValue, Malformed>;

    fn next(&mut self) -> Option<Result<ListValue, Malformed>> {
        let kind = self.kind;
        let (header, at) = match self.within.take() {
            Some(within) => within,
            None => {
                let header = self.headers.find(|header| header.kind == kind)?;
                (header, header.value.start)
            }
        };
        let value = list_value(self.headers.bytes, &header, at);
        match value {
            Ok(value) => self.within = value.next.map(|next| (header, next)),
            // Past the last line: what follows cannot be told apart.
            Err(_) => self.headers.at = u16::MAX,
        }
        Some(value.map_err(|_| Malformed::Route))
    }
}

/// Reads the value that starts at `at` in a header field that lists addresses.
fn list_value(bytes: &[u8], header: &Header, at: u16) -> Result<ListValue, BadValue> {
    let end = usize::from(header.value.end);
    let address = Address::read(bytes, at.into(), end, true)?;
    let comma = scan::skip_space(bytes, address.value.end.into(), end);
    let next = if comma < end {
        Some(scan::skip_space(bytes, comma + 1, end))
    } else {
        None
    };
    if next.is_some_and(|next| next >= end) {
        return Err(BadValue);
    }
    let first = at == header.value.start;
    Ok(ListValue {
        address,
        line: header.line,
        next: next.map(offset),
        first,
    })
}

/// What the pass has met so far.
#[derive(Default)]
struct Found {
    via: Option<Header>,
    from: Option<Header>,
    to: Option<Header>,
    call_id: Option<Header>,
    cseq: Option<Header>,
    max_forwards: Option<Header>,
    content_length: Option<Header>,
    content_type: Option<Header>,
    content_disposition: Option<Span>,
    content_encoding: Option<Span>,
    contact: Option<Header>,
    route_at: Option<u16>,
    record_route_at: Option<u16>,
    has_proxy_require: bool,
}

impl Found {
    fn note(&mut self, header: Header) -> Result<(), Malformed> {
        match header.kind {
            HeaderName::Via => {
                self.via.get_or_insert(header);
            }
            HeaderName::Contact => {
                self.contact.get_or_insert(header);
            }
            HeaderName::Route => {
                self.route_at.get_or_insert(header.line.start);
            }
            HeaderName::RecordRoute => {
                self.record_route_at.get_or_insert(header.line.start);
            }
            HeaderName::ProxyRequire => self.has_proxy_require = true,
            HeaderName::ContentDisposition => {
                self.content_disposition.get_or_insert(header.value);
            }
            HeaderName::ContentEncoding => {
                self.content_encoding.get_or_insert(header.value);
            }
            _ => return self.note_single(header),
        }
        Ok(())
    }

    /// Header fields that stand at most once.
    fn note_single(&mut self, header: Header) -> Result<(), Malformed> {
        let field = match header.kind {
            HeaderName::From => &mut self.from,
            HeaderName::To => &mut self.to,
            HeaderName::CallId => &mut self.call_id,
            HeaderName::Cseq => &mut self.cseq,
            HeaderName::MaxForwards => &mut self.max_forwards,
            HeaderName::ContentLength => &mut self.content_length,
            HeaderName::ContentType => &mut self.content_type,
            _ => return Ok(()),
        };
        if field.replace(header).is_some() {
            Err(Malformed::Duplicate)
        } else {
            Ok(())
        }
    }

    fn message<'m>(
        &self,
        bytes: &'m [u8],
        start: Start,
        headers: Span,
    ) -> Result<Message<'m>, Malformed> {
        let via = self.via.ok_or(Malformed::MissingVia)?;
        let from = self.from.ok_or(Malformed::MissingFrom)?;
        let to = self.to.ok_or(Malformed::MissingTo)?;
        let call_id = self.call_id.ok_or(Malformed::MissingCallId)?.value;
        let cseq = self.cseq.ok_or(Malformed::MissingCseq)?.value;
        if call_id.is_empty() || call_id.of(bytes).iter().any(|b| scan::is_space(*b)) {
            return Err(Malformed::CallId);
        }
        let from = party(bytes, from.value).map_err(|_| Malformed::From)?;
        let to = party(bytes, to.value).map_err(|_| Malformed::To)?;
        let body_len = self.body_len(bytes, usize::from(headers.end) + 2)?;
        let body_end = usize::from(headers.end) + 2 + body_len;
        Ok(Message {
            bytes: bytes.get(..body_end).ok_or(Malformed::ContentLength)?,
            start,
            headers,
            via_line: via.line,
            via: Via::read(bytes, via.value.start.into(), via.value.end.into())
                .map_err(|_| Malformed::Via)?,
            from,
            to,
            call_id,
            cseq: read_cseq(bytes, cseq, start)?,
            max_forwards: self.max_forwards(bytes)?,
            content_length: self.content_length.map(field),
            content_type: self.content_type.map(|header| header.value),
            content_disposition: self.content_disposition,
            content_encoding: self.content_encoding,
            contact: self.contact,
            route_at: self.route_at,
            record_route_at: self.record_route_at,
            has_proxy_require: self.has_proxy_require,
        })
    }

    fn max_forwards(&self, bytes: &[u8]) -> Result<Option<(Field, u8)>, Malformed> {
        let Some(header) = self.max_forwards else {
            return Ok(None);
        };
        let number = scan::number(header.value.of(bytes), u8::MAX.into());
        let number = number.and_then(|number| u8::try_from(number).ok());
        Ok(Some((field(header), number.ok_or(Malformed::MaxForwards)?)))
    }

    /// RFC 3261 §18.3: over UDP a Content-Length that promises more than came is an
    /// error, and what came beyond it is discarded.
    fn body_len(&self, bytes: &[u8], body_at: usize) -> Result<usize, Malformed> {
        let came = bytes.len().saturating_sub(body_at);
        let Some(header) = self.content_length else {
            return Ok(came);
        };
        let said = scan::number(header.value.of(bytes), u32::MAX);
        let said = said.ok_or(Malformed::ContentLength)? as usize;
        if said > came {
            Err(Malformed::ContentLength)
        } else {
            Ok(said)
        }
    }
}

fn field(header: Header) -> Field {
    Field {
        line: header.line,
        value: header.value,
    }
}

/// Reads From or To.
fn party(bytes: &[u8], value: Span) -> Result<Address, BadValue> {
    Address::read(bytes, value.start.into(), value.end.into(), false)
}

/// RFC 3261 §8.1.1.5: a number below 2^31, white space, the request's method.
fn read_cseq(bytes: &[u8], value: Span, start: Start) -> Result<Cseq, Malformed> {
    let digits = Span::new(
        value.start.into(),
        scan::token_end(bytes, value.start.into()),
    );
    let number = scan::number(digits.of(bytes), (1 << 31) - 1).ok_or(Malformed::Cseq)?;
    let name_at = scan::skip_space(bytes, digits.end.into(), value.end.into());
    let name = Span::new(name_at, scan::token_end(bytes, name_at));
    if name_at == usize::from(digits.end) || name.is_empty() || name.end != value.end {
        return Err(Malformed::Cseq);
    }
    match start {
        Start::Request { name: asked, .. } if asked.of(bytes) != name.of(bytes) => {
            Err(Malformed::CseqMethod)
        }
        _ => Ok(Cseq {
            number,
            name,
            method: Method::of(name.of(bytes)),
        }),
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
