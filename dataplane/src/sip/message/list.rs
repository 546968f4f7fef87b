//! Header fields one after the other, and the values of those that list addresses.

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug)]
pub struct List<'m> {
    kind: HeaderName,
    /// The first header fields of that name; an empty line where there is none.
    fields: [Field; 2],
    /// How many of these have been begun.
    fields_begun: usize,
    /// What follows them.
    headers: Headers<'m>,
    /// The header field being read, and where its next value starts.
    within: Option<(Field, u16)>,
    /// The next values, as far as they have been read before.
    known: &'m [ListValue],
}

impl<'m> List<'m> {
    /// The values in the header fields that begin with `fields` and end at `end`.
    #[inline]
    pub(super) fn new(bytes: &'m [u8], kind: HeaderName, fields: [Field; 2], end: u16) -> List<'m> {
        // Without a second one nothing follows.
        let start = match fields[1].line {
            line if line.is_empty() => end,
            line => line.end,
        };
        List {
            kind,
            fields,
            fields_begun: 0,
            headers: Headers::new(bytes, Span { start, end }),
            within: None,
            known: &[],
        }
    }

    /// The same, of which the first have been read before. They stand in the first two header
    /// fields.
    #[inline]
    pub(super) fn with_known(self, known: &'m [ListValue]) -> List<'m> {
        List { known, ..self }
    }

    /// A value that has been read before.
    #[inline]
    fn known(&mut self) -> Option<ListValue> {
        let (value, rest) = self.known.split_first()?;
        self.known = rest;
        self.fields_begun = if value.field == self.fields[0] { 1 } else { 2 };
        self.within = value.next.map(|next| (value.field, next));
        Some(*value)
    }

    /// The next header field of the list.
    fn field(&mut self) -> Option<Field> {
        if let Some(field) = self.fields.get(self.fields_begun) {
            self.fields_begun += 1;
            return Some(*field).filter(|field| !field.line.is_empty());
        }
        let kind = self.kind;
        let next = self.headers.find(|header| header.kind == kind)?;
        Some(next.field())
    }

    /// Reads the next value.
    fn read(&mut self) -> Option<Result<ListValue, Malformed>> {
        let (field, at) = match self.within.take() {
            Some(within) => within,
            None => {
                let field = self.field()?;
                (field, field.value.start)
            }
        };
        let value = list_value(self.headers.bytes, field, at);
        match value {
            Ok(value) => self.within = value.next.map(|next| (field, next)),
            Err(_) => {
                // Past the last line: what follows cannot be told apart.
                self.fields_begun = self.fields.len();
                self.headers.at = self.headers.end;
            }
        }
        Some(value.map_err(|_| Malformed::Route))
    }
}

impl Iterator for List<'_> {
    type Item = Result<ListValue, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Result<ListValue, Malformed>> {
        match self.known() {
            Some(known) => Some(Ok(known)),
            None => self.read(),
        }
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
