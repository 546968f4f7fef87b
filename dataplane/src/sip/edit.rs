//! Changing a message by splices: all that is not named goes out as it came in.
//!
//! [`Splices`] collects changes to one message; [`Splices::write`] writes the changed
//! message elsewhere. The functions below it are the changes that a proxy makes (RFC 3261
//! §16.6, §16.7, §18.2.1). Changes at the same place are written in the order in which
//! they were asked for.

use std::net::SocketAddr;

use super::header::HeaderName;
use super::malformed::Malformed;
use super::message::Message;
use crate::span::Span;
use crate::text::Text;
use crate::text::TooLong;

/// How many changes one message takes. A forwarded INVITE with anchored media takes about
/// ten; more are for what a trunk adds or removes.
pub const SPLICES_MAX: usize = 32;

/// How much new text the changes hold in all, in bytes. A session description is rewritten
/// as one text, and the largest message may be nearly all of it: what this does not hold would
/// not fit a message. Unused text costs no more than its memory.
pub const TEXT_LEN_MAX: usize = u16::MAX as usize;

/// Why a change was not taken. The changes so far are unharmed, but a message without the
/// refused one must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are [`SPLICES_MAX`] changes, or [`TEXT_LEN_MAX`] bytes of text.
    #[error("the message needs more changes than one message takes")]
    Full,
    /// It touches bytes that another change removes.
    #[error("two changes touch the same bytes")]
    Overlap,
    /// The message cannot be read where the change goes.
    #[error("the message cannot be changed: {0}")]
    Malformed(#[from] Malformed),
}

#[derive(Clone, Copy, Debug, Default)]
struct Splice {
    removed: Span,
    text: Span,
}

/// Changes to one message, in order of place. Made once and used again and again.
#[derive(Debug)]
pub struct Splices {
    splices: [Splice; SPLICES_MAX],
    count: usize,
    text: [u8; TEXT_LEN_MAX],
    text_len: usize,
}

impl Default for Splices {
    fn default() -> Splices {
        Splices::new()
    }
}

impl Splices {
    /// No changes.
    #[must_use]
    pub const fn new() -> Splices {
        const NONE: Splice = Splice {
            removed: Span::empty(0),
            text: Span::empty(0),
        };
        Splices {
            splices: [NONE; SPLICES_MAX],
            count: 0,
            text: [0; TEXT_LEN_MAX],
            text_len: 0,
        }
    }

    /// Forgets all changes, for the next message.
    pub fn clear(&mut self) {
        self.count = 0;
        self.text_len = 0;
    }

    /// How many changes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts the text that `fill` writes in place of `removed`, which may be empty.
    ///
    /// # Errors
    /// [`Refused::Full`] and [`Refused::Overlap`].
    pub fn splice(
        &mut self,
        removed: Span,
        fill: impl FnOnce(&mut Text<'_>),
    ) -> Result<(), Refused> {
        let place = self.place(removed)?;
        let mut text = Text::new(self.text.get_mut(self.text_len..).unwrap_or(&mut []));
        fill(&mut text);
        let text_end = self.text_len + text.finish().map_err(|_| Refused::Full)?;
        let splice = Splice {
            removed,
            text: Span::new(self.text_len, text_end),
        };
        let room = self.splices.get_mut(place..=self.count);
        let room = room.ok_or(Refused::Full)?;
        if room.len() > 1 {
            room.rotate_right(1);
        }
        if let Some(first) = room.first_mut() {
            *first = splice;
        }
        self.count += 1;
        self.text_len = text_end;
        Ok(())
    }

    /// Inserts text before the byte at `at`.
    ///
    /// # Errors
    /// As [`Splices::splice`].
    pub fn insert(&mut self, at: u16, text: &[u8]) -> Result<(), Refused> {
        if text.is_empty() {
            return Ok(());
        }
        self.splice(Span::empty(at), |out| out.push(text))
    }

    /// Removes bytes.
    ///
    /// # Errors
    /// As [`Splices::splice`].
    pub fn remove(&mut self, removed: Span) -> Result<(), Refused> {
        self.splice(removed, |_| {})
    }

    /// Puts text in the place of bytes.
    ///
    /// # Errors
    /// As [`Splices::splice`].
    pub fn replace(&mut self, removed: Span, text: &[u8]) -> Result<(), Refused> {
        self.splice(removed, |out| out.push(text))
    }

    /// Where a change goes: behind those at the same place, before those after it.
    #[inline]
    fn place(&self, removed: Span) -> Result<usize, Refused> {
        let taken = self.splices.get(..self.count).unwrap_or(&[]);
        let mut place = taken.len();
        // Most changes are made from the front to the back, so that what is after is little.
        for splice in taken.iter().rev() {
            if splice.removed.start <= removed.start {
                break;
            }
            if splice.removed.start < removed.end {
                return Err(Refused::Overlap);
            }
            place -= 1;
        }
        let before = taken.get(..place).unwrap_or(&[]);
        for splice in before.iter().rev() {
            let is_removal = !splice.removed.is_empty();
            let twice = splice.removed.start == removed.start && !removed.is_empty();
            let starts_inside =
                splice.removed.start < removed.start && removed.start < splice.removed.end;
            if is_removal && (twice || starts_inside) {
                return Err(Refused::Overlap);
            }
            // Those that remove something follow one another: none further up reaches here.
            if is_removal && splice.removed.start < removed.start {
                break;
            }
        }
        Ok(place)
    }

    /// Writes `source` with the changes made, and says how long it is.
    ///
    /// Changes that lie past the end of `source`, which are those of another message,
    /// append their text at its end.
    ///
    /// # Errors
    /// [`TooLong`] when `out` is too short. What it holds then is to be thrown away.
    pub fn write(&self, source: &[u8], out: &mut [u8]) -> Result<usize, TooLong> {
        let mut text = Text::new(out);
        let mut at = 0;
        for splice in self.splices.iter().take(self.count) {
            let start = usize::from(splice.removed.start).clamp(at, source.len());
            text.push_part(source, at, start);
            let Span { start: from, end } = splice.text;
            text.push_part(&self.text, from.into(), end.into());
            at = usize::from(splice.removed.end).clamp(start, source.len());
        }
        text.push(source.get(at..).unwrap_or(&[]));
        text.finish()
    }
}

/// Puts our Via above all others (RFC 3261 §16.6 step 8). `sent_by` is host and, where it
/// is not 5060, port.
///
/// # Errors
/// As [`Splices::splice`].
pub fn insert_via(
    message: &Message<'_>,
    splices: &mut Splices,
    sent_by: &[u8],
    branch: &[u8],
) -> Result<(), Refused> {
    splices.splice(Span::empty(message.via_line().start), |out| {
        for part in [b"Via: SIP/2.0/UDP ", sent_by, b";branch=", branch, b"\r\n"] {
            out.push(part);
        }
    })
}

/// Writes where a request came from into its top Via: `received` and `rport` (RFC 3261
/// §18.2.1, RFC 3581 §4).
///
/// # Errors
/// As [`Splices::splice`].
pub fn stamp_via(
    message: &Message<'_>,
    splices: &mut Splices,
    source: SocketAddr,
) -> Result<(), Refused> {
    let stamp = message.via().stamp(message.bytes(), source);
    if let Some(rport) = stamp.rport {
        splices.splice(rport, |out| {
            out.push(b"=");
            out.decimal(source.port().into());
        })?;
    }
    if let Some(received) = stamp.received {
        splices.splice(received, |out| {
            if stamp.received_is_new {
                out.push(b";received=");
            }
            out.ip(source.ip());
        })?;
    }
    Ok(())
}

/// Takes the top Via away: its line, or the value where others stand in the same line
/// (RFC 3261 §16.7 step 3).
///
/// # Errors
/// As [`Splices::splice`].
pub fn pop_via(message: &Message<'_>, splices: &mut Splices) -> Result<(), Refused> {
    let via = message.via();
    match via.next {
        Some(next) => splices.remove(Span {
            start: via.value.start,
            end: next,
        }),
        None => splices.remove(message.via_line()),
    }
}

/// Sets Max-Forwards, below the Vias where there was none (RFC 3261 §16.6 step 3).
///
/// # Errors
/// As [`Splices::splice`].
pub fn set_max_forwards(
    message: &Message<'_>,
    splices: &mut Splices,
    max_forwards: u8,
) -> Result<(), Refused> {
    match message.max_forwards_field() {
        Some(field) => splices.splice(field.value, |out| out.decimal(max_forwards.into())),
        None => splices.splice(Span::empty(below_vias(message)), |out| {
            out.push(b"Max-Forwards: ");
            out.decimal(max_forwards.into());
            out.push(b"\r\n");
        }),
    }
}

/// Sets Max-Breadth, below Max-Forwards where there was none (RFC 5393 §5.3.3). One that says
/// so already stays as it came.
///
/// # Errors
/// As [`Splices::splice`].
pub fn set_max_breadth(
    message: &Message<'_>,
    splices: &mut Splices,
    max_breadth: u8,
) -> Result<(), Refused> {
    if message.max_breadth() == Some(max_breadth.into()) {
        return Ok(());
    }
    if let Some(field) = message.max_breadth_field() {
        return splices.splice(field.value, |out| out.decimal(max_breadth.into()));
    }
    let at = match message.max_forwards_field() {
        Some(field) => field.line.end,
        None => below_vias(message),
    };
    splices.splice(Span::empty(at), |out| {
        out.push(b"Max-Breadth: ");
        out.decimal(max_breadth.into());
        out.push(b"\r\n");
    })
}

/// Sets Max-Forwards and Max-Breadth, in one piece where the one is there and the other is not:
/// what nearly every request is.
///
/// # Errors
/// As [`Splices::splice`].
pub fn set_limits(
    message: &Message<'_>,
    splices: &mut Splices,
    max_forwards: u8,
    max_breadth: u8,
) -> Result<(), Refused> {
    match (message.max_forwards_field(), message.max_breadth_field()) {
        (Some(field), None) => {
            let Span { start, .. } = field.value;
            let Span { end, .. } = field.line;
            splices.splice(Span { start, end }, |out| {
                out.decimal(max_forwards.into());
                out.push(b"\r\nMax-Breadth: ");
                out.decimal(max_breadth.into());
                out.push(b"\r\n");
            })
        }
        _ => {
            set_max_forwards(message, splices, max_forwards)?;
            set_max_breadth(message, splices, max_breadth)
        }
    }
}

/// Replaces the Request-URI (RFC 3261 §16.6 step 2), which is given in pieces. A response has none
/// and stays as it is.
///
/// # Errors
/// As [`Splices::splice`].
pub fn set_request_uri(
    message: &Message<'_>,
    splices: &mut Splices,
    uri: &[&[u8]],
) -> Result<(), Refused> {
    match message.request_uri() {
        Some(old) => splices.splice(old, |out| uri.iter().for_each(|piece| out.push(piece))),
        None => Ok(()),
    }
}

/// Puts Record-Route values above those that are there, below the Vias where there are
/// none (RFC 3261 §16.6 step 4). Each URI, which is given in two pieces, goes in
/// brackets, on a line of its own, the first on top.
///
/// # Errors
/// As [`Splices::splice`].
pub fn insert_record_routes(
    message: &Message<'_>,
    splices: &mut Splices,
    uris: &[[&[u8]; 2]],
) -> Result<(), Refused> {
    let at = message
        .field(HeaderName::RecordRoute)
        .map_or_else(|| below_vias(message), |field| field.line.start);
    splices.splice(Span::empty(at), |out| {
        for [front, end] in uris {
            for part in [b"Record-Route: <", *front, *end, b">\r\n"] {
                out.push(part);
            }
        }
    })
}

/// Puts lines above those of Path, below the Vias where there are none (RFC 3327 §5.2). They are given
/// in pieces.
///
/// # Errors
/// As [`Splices::splice`].
pub fn insert_path(
    message: &Message<'_>,
    splices: &mut Splices,
    pieces: &[&[u8]],
) -> Result<(), Refused> {
    let first = message.all_of(HeaderName::Path).next();
    let at = first.map_or_else(|| below_vias(message), |field| field.line.start);
    splices.splice(Span::empty(at), |out| {
        pieces.iter().for_each(|piece| out.push(piece));
    })
}

/// Takes the first `count` values of Route away, lines and all where none is left in them
/// (RFC 3261 §16.4). Fewer values than that are all taken.
///
/// # Errors
/// As [`Splices::splice`]; [`Malformed::Route`] where one cannot be read.
pub fn remove_routes(
    message: &Message<'_>,
    splices: &mut Splices,
    count: usize,
) -> Result<(), Refused> {
    let mut line_values_at = 0;
    // Lines that follow one another go in one piece.
    let mut lines = Span::default();
    for route in message.routes().take(count).enumerate() {
        let (index, route) = (route.0, route.1?);
        if route.is_first() {
            line_values_at = route.address.value.start;
        }
        let line = route.field.line;
        match route.next {
            None if lines.end == line.start => lines.end = line.end,
            None => {
                if !lines.is_empty() {
                    splices.remove(lines)?;
                }
                lines = line;
            }
            Some(next) if index + 1 == count => {
                splices.remove(Span {
                    start: line_values_at,
                    end: next,
                })?;
            }
            Some(_) => {}
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    splices.remove(lines)
}

/// Replaces the body and says its length in Content-Length, which is added where there
/// was none.
///
/// # Errors
/// As [`Splices::splice`].
pub fn set_body(message: &Message<'_>, splices: &mut Splices, body: &[u8]) -> Result<(), Refused> {
    set_body_part(message, splices, message.body_span(), body)
}

/// Replaces a part of the body, the SDP of a multipart body for one. `part` is a span of
/// the message.
///
/// # Errors
/// As [`Splices::splice`].
pub fn set_body_part(
    message: &Message<'_>,
    splices: &mut Splices,
    part: Span,
    text: &[u8],
) -> Result<(), Refused> {
    let kept = message.body_span().len().saturating_sub(part.len());
    let len = u32::from(kept).saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
    match message.content_length_field() {
        Some(field) => splices.splice(field.value, |out| out.decimal(len))?,
        None => splices.splice(Span::empty(message.header_block().end), |out| {
            out.push(b"Content-Length: ");
            out.decimal(len);
            out.push(b"\r\n");
        })?,
    }
    splices.replace(part, text)
}

/// Adds a tag to To where it has none (RFC 3261 §8.2.6.2).
///
/// # Errors
/// As [`Splices::splice`].
pub fn add_to_tag(message: &Message<'_>, splices: &mut Splices, tag: &[u8]) -> Result<(), Refused> {
    if message.to_tag().is_some() {
        return Ok(());
    }
    splices.splice(Span::empty(message.to().value.end), |out| {
        out.push(b";tag=");
        out.push(tag);
    })
}

/// The end of the Via lines that follow the top one without another line between.
fn below_vias(message: &Message<'_>) -> u16 {
    let top = message.via_line();
    if message.list_end(HeaderName::Via) == top.end {
        return top.end;
    }
    let vias = message
        .headers_from(top.end)
        .take_while(|header| header.kind == HeaderName::Via);
    vias.last().map_or(top.end, |header| header.line.end)
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
