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

/// The header fields of one name.
#[derive(Clone, Debug)]
pub(crate) struct Lines<'m> {
    kind: HeaderName,
    /// The first ones, which the scan has noted; an empty line where there is none.
    first: [Field; 2],
    /// How many of these have been given.
    given: usize,
    /// What follows them.
    headers: Headers<'m>,
}

impl<'m> Lines<'m> {
    /// Those that begin with `first` and end at `end`.
    #[inline]
    pub(super) fn new(bytes: &'m [u8], kind: HeaderName, first: [Field; 2], end: u16) -> Lines<'m> {
        // Without a second one nothing follows.
        let start = match first[1].line {
            line if line.is_empty() => end,
            line => line.end,
        };
        Lines {
            kind,
            first,
            given: 0,
            headers: Headers::new(bytes, Span { start, end }),
        }
    }

    /// Those of a name of which at most the first has been noted. The others stand in `rest`.
    pub(super) fn of_one(
        bytes: &'m [u8],
        kind: HeaderName,
        first: Option<Field>,
        rest: Span,
    ) -> Lines<'m> {
        Lines {
            kind,
            first: [Field::default(), first.unwrap_or_default()],
            given: if first.is_some() { 1 } else { 2 },
            headers: Headers::new(bytes, rest),
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        if let Some(field) = self.first.get(self.given) {
            self.given += 1;
            return Some(*field).filter(|field| !field.line.is_empty());
        }
        let kind = self.kind;
        let next = self.headers.find(|header| header.kind == kind)?;
        Some(next.field())
    }
}

/// The values of a header field that lists addresses. The first value that cannot be
/// read is an error and the last item.
#[derive(Clone, Debug)]
pub struct List<'m> {
    lines: Lines<'m>,
    /// The header field being read, and where its next value starts.
    within: Option<(Field, u16)>,
    /// The next values, as far as they have been read before.
    known: &'m [ListValue],
}

impl<'m> List<'m> {
    /// The values in `lines`, of which the first have been read before. They stand in the first
    /// two header fields.
    #[inline]
    pub(super) fn new(lines: Lines<'m>, known: &'m [ListValue]) -> List<'m> {
        List {
            lines,
            within: None,
            known,
        }
    }

    /// A value that has been read before.
    #[inline]
    fn known(&mut self) -> Option<&'m ListValue> {
        let (value, rest) = self.known.split_first()?;
        self.known = rest;
        let in_first = value.field.line.start == self.lines.first[0].line.start;
        self.lines.given = if in_first { 1 } else { 2 };
        self.within = value.next.map(|next| (value.field, next));
        Some(value)
    }

    /// Reads the next value.
    fn read(&mut self) -> Option<Result<ListValue, Malformed>> {
        let (field, at) = match self.within.take() {
            Some(within) => within,
            None => {
                let field = self.lines.next()?;
                (field, field.value.start)
            }
        };
        let value = list_value(self.lines.headers.bytes, field, at);
        match value {
            Ok(value) => self.within = value.next.map(|next| (field, next)),
            Err(_) => {
                // Past the last line: what follows cannot be told apart.
                self.lines.given = self.lines.first.len();
                self.lines.headers.at = self.lines.headers.end;
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
            Some(known) => Some(Ok(*known)),
            None => self.read(),
        }
    }

    /// What has been read before is passed by without a look.
    #[inline]
    fn nth(&mut self, count: usize) -> Option<Result<ListValue, Malformed>> {
        for _ in 0..count {
            if self.known().is_none() {
                self.read()?.ok();
            }
        }
        self.next()
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
