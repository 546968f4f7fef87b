//! Searching sixteen bytes at a time: where a line or a URI ends. Most of a scan is this.
//!
//! A chunk of sixteen bytes gives a mask with a bit for each byte that is sought, the first
//! byte's lowest.

use wide::u8x16;

/// The first place from `from` whose byte `sought` marks, at most `end`.
#[inline]
pub fn find(bytes: &[u8], from: usize, end: usize, sought: impl Fn(&[u8; 16]) -> u32) -> usize {
    let mut at = from;
    while at < end {
        // What follows `end` may be looked at as well: it is cut off below.
        let marks = match bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(chunk) => sought(chunk),
            None => sought(&last(bytes, at)),
        };
        if marks != 0 {
            return end.min(at + marks.trailing_zeros() as usize);
        }
        at += 16;
    }
    end
}

/// The bytes from `at`, which are less than sixteen, filled up with NULs.
#[cold]
fn last(bytes: &[u8], at: usize) -> [u8; 16] {
    let mut chunk = [0; 16];
    let rest = bytes.get(at..).unwrap_or(&[]);
    for (to, from) in chunk.iter_mut().zip(rest) {
        *to = *from;
    }
    chunk
}

/// Marks the bytes up to CR: NUL, LF and CR among them, and others that hardly ever come, but
/// for the tab.
#[inline]
pub fn controls(chunk: &[u8; 16]) -> u32 {
    up_to(u8x16::new(*chunk), b'\r').to_bitmask()
}

/// Marks the bytes that are `byte`.
#[inline]
pub fn equal(chunk: &[u8; 16], byte: u8) -> u32 {
    u8x16::new(*chunk).simd_eq(u8x16::splat(byte)).to_bitmask()
}

/// Marks the bytes up to the space: white space and control characters.
#[inline]
pub fn spaces(chunk: &[u8; 16]) -> u32 {
    up_to(u8x16::new(*chunk), b' ').to_bitmask()
}

/// Marks the bytes that cannot stand in a URI, see [`super::scan::IN_URI`].
#[inline]
pub fn not_in_uri(chunk: &[u8; 16]) -> u32 {
    let bytes = u8x16::new(*chunk);
    let is = |bytes: u8x16, byte| bytes.simd_eq(u8x16::splat(byte));
    // `<` and `>` differ in this bit only.
    let bracket = is(bytes | u8x16::splat(b'<' ^ b'>'), b'>');
    let other = is(bytes, b'"') | is(bytes, 0x7f);
    (up_to(bytes, b' ') | bracket | other).to_bitmask()
}

#[inline]
fn up_to(bytes: u8x16, last: u8) -> u8x16 {
    bytes.min(u8x16::splat(last)).simd_eq(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::scan::IN_URI;
    use crate::sip::scan::is;
    use proptest::prelude::*;

    #[test]
    fn every_byte_is_marked_as_its_class_says() {
        for byte in 0..=u8::MAX {
            for at in 0..16 {
                let mut chunk = [b'a'; 16];
                chunk[at] = byte;
                let marks = |sought: bool| u32::from(sought) << at;
                assert_eq!(controls(&chunk), marks(byte <= b'\r'), "{byte:#x}");
                assert_eq!(equal(&chunk, b'@'), marks(byte == b'@'), "{byte:#x}");
                assert_eq!(spaces(&chunk), marks(byte <= b' '), "{byte:#x}");
                assert_eq!(not_in_uri(&chunk), marks(!is(byte, IN_URI)), "{byte:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_place_within_bounds_is_found(
            bytes in prop::collection::vec(prop::sample::select(&b"aaaaaaaaaaaaaaaaaaaa\r"[..]), 0..80),
            from in 0..80_usize,
            end in 0..80_usize,
        ) {
            let end = end.min(bytes.len());
            let from = from.min(end);
            let first = bytes[from..end].iter().position(|byte| *byte == b'\r');
            let found = find(&bytes, from, end, controls);
            prop_assert_eq!(found, first.map_or(end, |at| from + at));
        }
    }
}
