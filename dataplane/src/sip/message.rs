//! A message as one pass over its bytes finds it.
//!
//! [`Message::scan`] refuses what would be unsafe to route or to answer: a message that
//! lacks a header field that RFC 3261 §8.1.1 makes mandatory (Max-Forwards apart, which
//! §16.3 lets a proxy supply), that has two where one may stand, or that two elements
//! would read differently. What the proxy only passes on is not looked at. So no accessor
//! of a scanned message fails for want of a field, and none panics.

mod fields;
mod list;

use self::fields::Cseq;
use self::fields::Fields;
pub use self::list::Headers;
use self::list::Lines;
pub use self::list::List;
pub use self::list::ListValue;
use self::list::list_value;
use super::header;
use super::header::Address;
pub use super::header::Field;
use super::header::HeaderName;
use super::malformed::Malformed;
use super::method::Method;
use super::scan;
use super::scan::LineEnds;
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
    first_routes: [ListValue; fields::ROUTES_READ],
    first_route_count: u8,
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
        let mut ends = LineEnds::new(bytes, 0);
        let (start, headers_at) = scan::start_line(bytes, &mut ends)?;
        let mut fields = Fields::default();
        let mut at = headers_at;
        while let Some(header) = scan::header(bytes, at, &mut ends)? {
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
        self.fields.first(HeaderName::Via).line
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
        let below = self.fields.second(HeaderName::Via);
        if below.line.is_empty() {
            return Ok(None);
        }
        from_next(below.value.start, below.value.end)
    }

    /// The values of Via from the top one down, across lines and commas, up to one that cannot
    /// be read.
    pub fn vias(&self) -> impl Iterator<Item = Via> + use<'m> {
        let bytes = self.bytes;
        let mut fields = self.lines_of(HeaderName::Via).skip(1);
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
        self.text(self.fields.first(HeaderName::CallId).value)
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
        self.all_of(HeaderName::MaxBreadth).next()
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

    /// The lines of a header field that the scan does not note, in order. It has no compact form.
    pub fn lines_named(&self, name: &'static [u8]) -> impl Iterator<Item = scan::Header> + use<'m> {
        let bytes = self.bytes;
        let others = self.headers();
        others
            .filter(|header| header.kind == HeaderName::Other)
            .filter(move |header| header.name(bytes).of(bytes).eq_ignore_ascii_case(name))
    }

    /// Their values.
    pub fn values_of(&self, name: &'static [u8]) -> impl Iterator<Item = Span> + use<'m> {
        self.lines_named(name).map(|header| header.value)
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
        let end = self.headers.end;
        Headers::new(self.bytes, Span { start: at, end })
    }

    /// The first header field of that name, whose place the scan has noted; none of the names from
    /// [`HeaderName::MaxBreadth`] on.
    #[must_use]
    #[inline]
    pub fn field(&self, kind: HeaderName) -> Option<Field> {
        self.fields.get(kind)
    }

    /// The end of the last line of a list, which is Via, Route or Record-Route.
    pub(crate) fn list_end(&self, list: HeaderName) -> u16 {
        self.fields.list_end(list)
    }

    /// The header fields of a list, which is Via, Route or Record-Route.
    #[inline]
    pub(crate) fn lines_of(&self, list: HeaderName) -> Lines<'m> {
        self.fields.lines_of(self.bytes, list)
    }

    /// The header fields of any other name. There is a pass over them only where there are more than
    /// the scan has noted the place of.
    pub(crate) fn all_of(&self, kind: HeaderName) -> Lines<'m> {
        self.fields.all_of(self.bytes, kind, self.headers)
    }

    /// The values of Route in order, across lines and commas.
    #[must_use]
    #[inline]
    pub fn routes(&self) -> List<'_> {
        let known = self.first_routes.get(..self.first_route_count.into());
        List::new(self.lines_of(HeaderName::Route), known.unwrap_or(&[]))
    }

    /// The values of Record-Route in order, across lines and commas.
    #[must_use]
    pub fn record_routes(&self) -> List<'m> {
        List::new(self.lines_of(HeaderName::RecordRoute), &[])
    }

    /// The values of Contact in order, across lines and commas. `*` is none that can be read.
    #[must_use]
    pub fn contacts(&self) -> List<'m> {
        List::new(self.all_of(HeaderName::Contact), &[])
    }

    /// The values of Path (RFC 3327 §4) in order, across lines and commas.
    #[must_use]
    pub fn paths(&self) -> List<'m> {
        List::new(self.all_of(HeaderName::Path), &[])
    }

    /// Whether Supported lists this option tag (RFC 3261 §20.37).
    #[must_use]
    pub fn supports(&self, option: &[u8]) -> bool {
        let mut lines = self.all_of(HeaderName::Supported);
        lines.any(|line| header::lists(self.text(line.value), option))
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
