//! Header fields one after the other, and the values of those that list addresses.

use super::fields::ROUTES_READ;
use crate::sip::header::Address;
use crate::sip::header::BadValue;
use crate::sip::header::Field;
use crate::sip::header::HeaderName;
use crate::sip::malformed::Malformed;
use crate::sip::scan;
use crate::sip::scan::Header;
use crate::span::Span;
use crate::span::offset;

/// The header fields of a scanned message.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'m> {
    bytes: &'m [u8],
    at: u16,
    end: u16,
}

impl<'m> Headers<'m> {
    /// The header fields in `lines`.
    #[inline]
    pub(super) fn new(bytes: &'m [u8], lines: Span) -> Headers<'m> {
        Headers {
            bytes,
            at: lines.start,
            end: lines.end,
        }
    }
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
    pub(super) fn new(bytes: &'m [u8], kind: HeaderName, lines: Span) -> List<'m> {
        List {
            kind,
            headers: Headers::new(bytes, lines),
            within: None,
            known: [None; ROUTES_READ],
            known_at: 0,
        }
    }

    /// The same, of which the first have been read before.
    pub(super) fn with_known(self, known: [Option<ListValue>; ROUTES_READ]) -> List<'m> {
        List { known, ..self }
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
pub(super) fn list_value(bytes: &[u8], field: Field, at: u16) -> Result<ListValue, BadValue> {
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
