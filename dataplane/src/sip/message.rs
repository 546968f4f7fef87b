//! A message as one pass over its bytes finds it.
//!
//! [`Message::scan`] refuses what would be unsafe to route or to answer: a message that
//! lacks a header field that RFC 3261 §8.1.1 makes mandatory (Max-Forwards apart, which
//! §16.3 lets a proxy supply), that has two where one may stand, or that two elements
//! would read differently. What the proxy only passes on is not looked at. So no accessor
//! of a scanned message fails for want of a field, and none panics.

use super::header::Address;
use super::header::BadValue;
pub use super::header::Field;
use super::header::HeaderName;
use super::malformed::Malformed;
use super::method::Method;
use super::scan;
use super::scan::Header;
use super::scan::Start;
use super::via::Via;
use crate::span::MESSAGE_LEN_MAX;
use crate::span::Span;
use crate::span::offset;

/// A scanned request or response. See the module's page.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    bytes: &'m [u8],
    start: Start,
    headers: Span,
    fields: Fields,
    via: Via,
    from: Address,
    to: Address,
    cseq: Cseq,
    max_forwards: Option<u8>,
    /// The first values of Route: all that there are, for most requests of a dialog.
    first_routes: [Option<ListValue>; ROUTES_READ],
}

/// Route values that the scan reads: the two that the box records for itself.
const ROUTES_READ: usize = 2;

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
        let mut fields = Fields::default();
        let mut at = headers_at;
        while let Some(header) = scan::next_header(bytes, at)? {
            fields.note(header)?;
            at = header.line.end.into();
        }
        fields.message(bytes, start, Span::new(headers_at, at))
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
        self.fields.first[HeaderName::Via as usize].line
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
            return from_next(next, self.via_line().end);
        }
        let below = self.headers_in(HeaderName::Via).nth(1);
        below.map_or(Ok(None), |header| {
            from_next(header.value.start, header.value.end)
        })
    }

    /// The values of Via from the top one down, across lines and commas, up to one that cannot
    /// be read.
    pub fn vias(&self) -> impl Iterator<Item = Via> + use<'m> {
        let bytes = self.bytes;
        let mut fields = self.headers_in(HeaderName::Via).skip(1);
        let top = (self.via, self.via_line().end);
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
        self.text(self.fields.value(HeaderName::CallId))
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
    pub const fn max_forwards(&self) -> Option<u8> {
        self.max_forwards
    }

    /// Where Max-Forwards stands.
    #[must_use]
    pub fn max_forwards_field(&self) -> Option<Field> {
        self.field(HeaderName::MaxForwards)
    }

    /// Max-Breadth (RFC 5393 §5.3), if it is there and is a number.
    #[must_use]
    pub fn max_breadth(&self) -> Option<u32> {
        scan::number(self.text(self.max_breadth_field()?.value), u32::MAX)
    }

    /// Where Max-Breadth stands.
    #[must_use]
    pub fn max_breadth_field(&self) -> Option<Field> {
        self.field(HeaderName::MaxBreadth)
    }

    /// Where Content-Length stands. What it says is the length of [`Message::body`].
    #[must_use]
    pub fn content_length_field(&self) -> Option<Field> {
        self.field(HeaderName::ContentLength)
    }

    /// Content-Type, if it is there.
    #[must_use]
    pub fn content_type(&self) -> Option<&'m [u8]> {
        self.field(HeaderName::ContentType)
            .map(|field| self.text(field.value))
    }

    /// Content-Disposition, if it is there (RFC 3261 §20.11).
    #[must_use]
    pub fn content_disposition(&self) -> Option<&'m [u8]> {
        self.field(HeaderName::ContentDisposition)
            .map(|field| self.text(field.value))
    }

    /// Content-Encoding, if it is there (RFC 3261 §20.12).
    #[must_use]
    pub fn content_encoding(&self) -> Option<&'m [u8]> {
        self.field(HeaderName::ContentEncoding)
            .map(|field| self.text(field.value))
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
    pub fn has_proxy_require(&self) -> bool {
        self.field(HeaderName::ProxyRequire).is_some()
    }

    /// The URI of the first Contact; `None` where there is none, where it is `*`, and
    /// where it cannot be read.
    #[must_use]
    pub fn contact_uri(&self) -> Option<Span> {
        let field = self.field(HeaderName::Contact)?;
        list_value(self.bytes, field, field.value.start)
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
            end: self.headers.end,
        }
    }

    /// The first header field of that name, which the scan has noted; none of
    /// [`HeaderName::Other`].
    #[must_use]
    #[inline]
    pub fn field(&self, kind: HeaderName) -> Option<Field> {
        self.fields.get(kind)
    }

    /// The header fields of a list, which is Via, Route or Record-Route.
    pub(crate) fn headers_in(&self, list: HeaderName) -> impl Iterator<Item = Header> + use<'m> {
        let lines = self.fields.lines(list);
        let headers = Headers {
            bytes: self.bytes,
            at: lines.start,
            end: lines.end,
        };
        headers.filter(move |header| header.kind == list)
    }

    /// The values of Route in order, across lines and commas.
    #[must_use]
    pub fn routes(&self) -> List<'m> {
        List {
            known: self.first_routes,
            known_at: 0,
            ..self.list(HeaderName::Route)
        }
    }

    /// The values of Record-Route in order, across lines and commas.
    #[must_use]
    pub fn record_routes(&self) -> List<'m> {
        self.list(HeaderName::RecordRoute)
    }

    fn list(&self, kind: HeaderName) -> List<'m> {
        List::new(self.bytes, kind, self.fields.lines(kind))
    }
}

/// The header fields of a scanned message.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'m> {
    bytes: &'m [u8],
    at: u16,
    end: u16,
}

impl Iterator for Headers<'_> {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        if self.at >= self.end {
            return None;
        }
        // The scan has seen every line: an error is the end, as the empty line is.
        let header = scan::next_header(self.bytes, self.at.into())
            .ok()
            .flatten()?;
        self.at = header.line.end;
        Some(header)
    }
}

/// One value of a header field that may list several, such as Route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListValue {
    /// The address.
    pub address: Address,
    /// The header field that it stands in, with all its values.
    pub field: Field,
    /// Where the value after it in the same header field starts.
    pub next: Option<u16>,
}

impl ListValue {
    /// Whether it is the first value of its header field.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.address.value.start == self.field.value.start
    }
}

/// The values of a header field that lists addresses. The first value that cannot be
/// read is an error and the last item.
#[derive(Clone, Copy, Debug)]
pub struct List<'m> {
    kind: HeaderName,
    headers: Headers<'m>,
    /// The header field being read, and where its next value starts.
    within: Option<(Field, u16)>,
    /// The first values, as far as they have been read before.
    known: [Option<ListValue>; ROUTES_READ],
    /// How many of these have been given.
    known_at: usize,
}

impl<'m> List<'m> {
    /// The values in `lines`, none of them read.
    fn new(bytes: &'m [u8], kind: HeaderName, lines: Span) -> List<'m> {
        let headers = Headers {
            bytes,
            at: lines.start,
            end: lines.end,
        };
        List {
            kind,
            headers,
            within: None,
            known: [None; ROUTES_READ],
            known_at: 0,
        }
    }

    /// A value that has been read before.
    fn known(&mut self) -> Option<ListValue> {
        let value = (*self.known.get(self.known_at)?)?;
        self.known_at += 1;
        self.headers.at = value.field.line.end;
        self.within = value.next.map(|next| (value.field, next));
        Some(value)
    }
}

impl Iterator for List<'_> {
    type Item = Result<ListValue, Malformed>;

    fn next(&mut self) -> Option<Result<ListValue, Malformed>> {
        if let Some(known) = self.known() {
            return Some(Ok(known));
        }
        let kind = self.kind;
        let (field, at) = match self.within.take() {
            Some(within) => within,
            None => {
                let header = self.headers.find(|header| header.kind == kind)?;
                (header.field(), header.value.start)
            }
        };
        let value = list_value(self.headers.bytes, field, at);
        match value {
            Ok(value) => self.within = value.next.map(|next| (field, next)),
            // Past the last line: what follows cannot be told apart.
            Err(_) => self.headers.at = self.headers.end,
        }
        Some(value.map_err(|_| Malformed::Route))
    }
}

/// Reads the value that starts at `at` in a header field that lists addresses.
fn list_value(bytes: &[u8], field: Field, at: u16) -> Result<ListValue, BadValue> {
    let end = usize::from(field.value.end);
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
    Ok(ListValue {
        address,
        field,
        next: next.map(offset),
    })
}

/// The header fields that the pass has met.
#[derive(Clone, Copy, Debug)]
struct Fields {
    /// The first one of each name; an empty line where there is none.
    first: [Field; HeaderName::COUNT],
    /// Where the last one of each list ends.
    lists_end: [u16; HeaderName::LISTS],
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            first: [Field::default(); HeaderName::COUNT],
            lists_end: [0; HeaderName::LISTS],
        }
    }
}

impl Fields {
    #[inline]
    fn note(&mut self, header: Header) -> Result<(), Malformed> {
        if let Some(end) = self.lists_end.get_mut(header.kind as usize) {
            *end = header.line.end;
        }
        match self.first.get_mut(header.kind as usize) {
            Some(place) if place.line.is_empty() => *place = header.field(),
            _ if header.kind.is_single() => return Err(Malformed::Duplicate),
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn get(&self, kind: HeaderName) -> Option<Field> {
        let field = self.first.get(kind as usize)?;
        let found = !field.line.is_empty() && kind != HeaderName::Other;
        found.then_some(*field)
    }

    /// The value of a header field that is there.
    #[inline]
    const fn value(&self, kind: HeaderName) -> Span {
        self.first[kind as usize].value
    }

    fn lines(&self, list: HeaderName) -> Span {
        Span {
            start: self.first[list as usize].line.start,
            end: self.lists_end.get(list as usize).copied().unwrap_or(0),
        }
    }

    fn message<'m>(
        self,
        bytes: &'m [u8],
        start: Start,
        headers: Span,
    ) -> Result<Message<'m>, Malformed> {
        let value = |kind, missing| match self.get(kind) {
            Some(field) => Ok(field.value),
            None => Err(missing),
        };
        let via = value(HeaderName::Via, Malformed::MissingVia)?;
        let from = value(HeaderName::From, Malformed::MissingFrom)?;
        let to = value(HeaderName::To, Malformed::MissingTo)?;
        let call_id = value(HeaderName::CallId, Malformed::MissingCallId)?;
        let cseq = value(HeaderName::Cseq, Malformed::MissingCseq)?;
        if call_id.is_empty() || scan::has_space(call_id.of(bytes)) {
            return Err(Malformed::CallId);
        }
        let from = party(bytes, from).map_err(|_| Malformed::From)?;
        let to = party(bytes, to).map_err(|_| Malformed::To)?;
        let body_len = self.body_len(bytes, usize::from(headers.end) + 2)?;
        let body_end = usize::from(headers.end) + 2 + body_len;
        Ok(Message {
            bytes: bytes.get(..body_end).ok_or(Malformed::ContentLength)?,
            start,
            headers,
            fields: self,
            via: Via::read(bytes, via.start.into(), via.end.into()).map_err(|_| Malformed::Via)?,
            from,
            to,
            cseq: read_cseq(bytes, cseq, start)?,
            max_forwards: self.max_forwards(bytes)?,
            first_routes: self.first_routes(bytes),
        })
    }

    fn first_routes(&self, bytes: &[u8]) -> [Option<ListValue>; ROUTES_READ] {
        let mut read = [None; ROUTES_READ];
        let lines = self.lines(HeaderName::Route);
        if !lines.is_empty() {
            let values = List::new(bytes, HeaderName::Route, lines);
            for (place, value) in read.iter_mut().zip(values.map_while(Result::ok)) {
                *place = Some(value);
            }
        }
        read
    }

    fn max_forwards(&self, bytes: &[u8]) -> Result<Option<u8>, Malformed> {
        let Some(field) = self.get(HeaderName::MaxForwards) else {
            return Ok(None);
        };
        let number = scan::number(field.value.of(bytes), u8::MAX.into());
        let number = number.and_then(|number| u8::try_from(number).ok());
        Ok(Some(number.ok_or(Malformed::MaxForwards)?))
    }

    /// RFC 3261 §18.3: over UDP a Content-Length that promises more than came is an
    /// error, and what came beyond it is discarded.
    fn body_len(&self, bytes: &[u8], body_at: usize) -> Result<usize, Malformed> {
        let came = bytes.len().saturating_sub(body_at);
        let Some(field) = self.get(HeaderName::ContentLength) else {
            return Ok(came);
        };
        let said = scan::number(field.value.of(bytes), u32::MAX);
        let said = said.ok_or(Malformed::ContentLength)? as usize;
        if said > came {
            Err(Malformed::ContentLength)
        } else {
            Ok(said)
        }
    }
}

/// Reads From or To.
fn party(bytes: &[u8], value: Span) -> Result<Address, BadValue> {
    Address::read(bytes, value.start.into(), value.end.into(), false)
}

/// RFC 3261 §8.1.1.5: a number below 2^31, white space, the request's method.
fn read_cseq(bytes: &[u8], value: Span, start: Start) -> Result<Cseq, Malformed> {
    let (from, end) = (usize::from(value.start), usize::from(value.end));
    let mut digits_end = from;
    while digits_end < end && scan::byte_at(bytes, digits_end).is_ascii_digit() {
        digits_end += 1;
    }
    let number = scan::number(Span::new(from, digits_end).of(bytes), (1 << 31) - 1);
    let number = number.ok_or(Malformed::Cseq)?;
    let name_at = scan::skip_space(bytes, digits_end, end);
    let name = Span::new(name_at, end);
    if name_at == digits_end || name.is_empty() {
        return Err(Malformed::Cseq);
    }
    if let Start::Request {
        method,
        name: asked,
        ..
    } = start
        && asked.of(bytes) == name.of(bytes)
    {
        return Ok(Cseq {
            number,
            name,
            method,
        });
    }
    if scan::token_end(bytes, name_at) != end {
        return Err(Malformed::Cseq);
    }
    match start {
        Start::Request {
            method: Method::Other,
            ..
        } => Err(Malformed::CseqUnknownMethod),
        Start::Request { .. } => Err(Malformed::CseqMethod),
        Start::Response { .. } => Ok(Cseq {
            number,
            name,
            method: Method::of(name.of(bytes)),
        }),
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
