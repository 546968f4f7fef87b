//! Places in a message: offsets, never copies.

/// The longest message there is: a UDP datagram's payload over IPv4, in bytes.
pub const MESSAGE_LEN_MAX: usize = 65_507;

/// A range of bytes of the message that it was found in.
///
/// A span means nothing without its message. Taken of another one it names other
/// bytes, or none: it never panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u16,
    /// One past the last byte.
    pub end: u16,
}

impl Span {
    /// The bytes from `start` up to `end`, both within a message.
    #[must_use]
    #[inline]
    pub fn new(start: usize, end: usize) -> Span {
        Span {
            start: offset(start),
            end: offset(end),
        }
    }

    /// No bytes, at `at`.
    #[must_use]
    pub const fn empty(at: u16) -> Span {
        Span { start: at, end: at }
    }

    /// The bytes of `bytes` that this span names; none where it reaches past the end.
    #[must_use]
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or(&[])
    }

    /// As a range of indexes.
    #[must_use]
    #[inline]
    pub fn range(self) -> core::ops::Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(self) -> u16 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// An index as an offset. Whoever makes spans has refused what is longer than
/// [`MESSAGE_LEN_MAX`] before.
#[inline]
#[allow(
    clippy::cast_possible_truncation,
    reason = "a message is shorter than 65,536 bytes"
)]
pub(crate) fn offset(index: usize) -> u16 {
    debug_assert!(index <= usize::from(u16::MAX));
    index as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_another_message_is_empty_and_not_a_panic() {
        assert_eq!(Span::new(2, 4).of(b"abcdef"), b"cd");
        assert_eq!(Span::new(2, 9).of(b"abcdef"), b"");
        assert_eq!(Span::new(4, 2).of(b"abcdef"), b"");
        assert_eq!(Span::new(4, 2).len(), 0);
    }
}
