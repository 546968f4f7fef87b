//! The header fields that the pass has met, and what is read of them to make a message.

use super::ListValue;
use super::Message;
use super::list::Lines;
use super::list::list_value;
use crate::limits::CSEQ_MAX;
use crate::sip::header::Address;
use crate::sip::header::BadValue;
use crate::sip::header::Field;
use crate::sip::header::HeaderName;
use crate::sip::malformed::Malformed;
use crate::sip::method::Method;
use crate::sip::scan;
use crate::sip::scan::Header;
use crate::sip::scan::Start;
use crate::sip::via::Via;
use crate::span::Span;

/// Route values that the scan reads: the two that the box records for itself.
pub(super) const ROUTES_READ: usize = 2;

/// What CSeq says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cseq {
    pub(super) number: u32,
    pub(super) name: Span,
    pub(super) method: Method,
}

/// The header fields that the pass has met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    /// The first one of each name; an empty line where there is none.
    first: [Field; HeaderName::PLACES],
    /// The second one of each list, the same way.
    second: [Field; HeaderName::LISTS],
    /// Where the last one of each list ends.
    lists_end: [u16; HeaderName::LISTS],
    /// A bit for each name of which there are more than have a place.
    more: u32,
}

const _: () = assert!((HeaderName::Other as u32) < u32::BITS);

impl Fields {
    /// Takes note of a header field.
    #[inline(always)]
    pub(super) fn note(&mut self, header: Header) -> Result<(), Malformed> {
        let at = header.kind as usize;
        match self.first.get_mut(at) {
            Some(place) if place.line.is_empty() => *place = header.field(),
            Some(_) => self.note_another(header)?,
            None => self.note_more(header.kind)?,
        }
        if let Some(end) = self.lists_end.get_mut(at) {
            *end = header.line.end;
        }
        Ok(())
    }

    /// Takes note of one that is not the first of its name.
    #[inline]
    fn note_another(&mut self, header: Header) -> Result<(), Malformed> {
        match self.second.get_mut(header.kind as usize) {
            Some(place) if place.line.is_empty() => *place = header.field(),
            Some(_) => {}
            None if header.kind.is_single() => return Err(Malformed::Duplicate),
            None => self.more |= 1 << header.kind as u32,
        }
        Ok(())
    }

    /// Takes note that there is one of a name that has no place.
    #[inline]
    fn note_more(&mut self, kind: HeaderName) -> Result<(), Malformed> {
        if kind.is_single() && self.has_more(kind) {
            return Err(Malformed::Duplicate);
        }
        self.more |= 1 << kind as u32;
        Ok(())
    }

    /// Whether there are more of a name than have a place.
    fn has_more(&self, kind: HeaderName) -> bool {
        self.more & 1 << kind as u32 != 0
    }

    /// The first of that name, if there is one.
    #[inline]
    pub(super) fn get(&self, kind: HeaderName) -> Option<Field> {
        let field = self.first.get(kind as usize)?;
        (!field.line.is_empty()).then_some(*field)
    }

    /// The first of a name; an empty line where there is none.
    #[inline]
    pub(super) const fn first(&self, kind: HeaderName) -> Field {
        self.first[kind as usize]
    }

    /// The second of a list; an empty line where there is none.
    pub(super) fn second(&self, list: HeaderName) -> Field {
        self.second.get(list as usize).copied().unwrap_or_default()
    }

    /// Where the last line of a list ends.
    #[inline]
    pub(super) fn list_end(&self, list: HeaderName) -> u16 {
        self.lists_end.get(list as usize).copied().unwrap_or(0)
    }

    /// The message that has these header fields.
    pub(super) fn message<'m>(
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
        if call_id.is_empty() || scan::has_space(bytes, call_id) {
            return Err(Malformed::CallId);
        }
        let from = party(bytes, from).map_err(|_| Malformed::From)?;
        let to = party(bytes, to).map_err(|_| Malformed::To)?;
        let body_len = self.body_len(bytes, usize::from(headers.end) + 2)?;
        let body_end = usize::from(headers.end) + 2 + body_len;
        let (first_routes, first_route_count) = self.first_routes(bytes);
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
            first_routes,
            first_route_count,
        })
    }

    /// The first values of Route, and how many they are: one a line, or both in the first.
    #[inline]
    fn first_routes(&self, bytes: &[u8]) -> ([ListValue; ROUTES_READ], u8) {
        let mut read = [ListValue::default(); ROUTES_READ];
        let [first, second] = &mut read;
        let Some(field) = self.get(HeaderName::Route) else {
            return (read, 0);
        };
        match list_value(bytes, field, field.value.start) {
            Ok(value) => *first = value,
            Err(_) => return (read, 0),
        }
        let (field, at) = match (first.next, self.second(HeaderName::Route)) {
            (Some(next), _) => (field, next),
            (None, field) if field.line.is_empty() => return (read, 1),
            (None, field) => (field, field.value.start),
        };
        match list_value(bytes, field, at) {
            Ok(value) => *second = value,
            Err(_) => return (read, 1),
        }
        (read, 2)
    }

    /// The header fields of a list.
    #[inline]
    pub(super) fn lines_of<'m>(&self, bytes: &'m [u8], list: HeaderName) -> Lines<'m> {
        let first = [self.first(list), self.second(list)];
        Lines::new(bytes, list, first, self.list_end(list))
    }

    /// The header fields of another name, in a message that has these.
    pub(super) fn all_of<'m>(&self, bytes: &'m [u8], kind: HeaderName, all: Span) -> Lines<'m> {
        let first = self.get(kind);
        let start = first.map_or(all.start, |first| first.line.end);
        let end = if self.has_more(kind) { all.end } else { start };
        Lines::of_one(bytes, kind, first, Span { start, end })
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
#[inline(always)]
fn read_cseq(bytes: &[u8], value: Span, start: Start) -> Result<Cseq, Malformed> {
    let (text, end) = (value.of(bytes), usize::from(value.end));
    let len = text.iter().position(|byte| !byte.is_ascii_digit());
    let digits = text.get(..len.unwrap_or(0)).unwrap_or(&[]);
    let number = scan::number(digits, CSEQ_MAX).ok_or(Malformed::Cseq)?;
    let digits_end = usize::from(value.start) + digits.len();
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
