//! Searching sixteen bytes at a time: where a line or a URI ends. Most of a scan is this.
//!
//! A chunk of sixteen bytes gives a mask with a bit for each byte that is sought, the first
//! byte's lowest.

use wide::u8x16;

/// The first place from `from` whose byte `sought` marks, at most `end`.
#[inline]
pub fn find(bytes: &[u8], from: usize, end: usize, sought: impl Fn(&[u8; 16]) -> u32) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        // What follows `end` may be looked at as well: it is cut off.
        let marks = sought(chunk);
        if marks != 0 {
            return end.min(at + marks.trailing_zeros() as usize);
        }
        at += 16;
        if at >= end {
            return end;
        }
    }
    if at >= end {
        return end;
    }
    // Less than sixteen are left: those before them are looked at again.
    let marks = match bytes.last_chunk::<16>() {
        Some(chunk) => sought(chunk) >> (at + 16 - bytes.len()),
        None => sought(&filled(bytes.get(at..).unwrap_or(&[]))),
    };
    end.min(at + marks.trailing_zeros() as usize)
}

/// Marks of the control characters among the sixty-four bytes from `at` on, see [`controls`].
#[inline]
pub fn controls_from(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or(&[]);
    match rest.first_chunk::<64>() {
        Some(chunk) => controls_of(chunk),
        None => controls_of_last(bytes, rest),
    }
}

/// The same where less than sixty-four are left.
fn controls_of_last(bytes: &[u8], rest: &[u8]) -> u64 {
    match bytes.last_chunk::<64>() {
        // Those before them are looked at again.
        Some(chunk) if !rest.is_empty() => controls_of(chunk) >> (64 - rest.len()),
        _ => controls_of(&filled(rest)),
    }
}

#[inline]
fn controls_of(chunk: &[u8; 64]) -> u64 {
    let (quarters, _) = chunk.as_chunks::<16>();
    let mut marks = 0;
    for (number, quarter) in quarters.iter().enumerate() {
        marks |= u64::from(controls(quarter)) << (16 * number);
    }
    marks
}

/// A chunk that begins with `bytes`, which are less, and goes on with spaces.
#[cold]
fn filled<const LEN: usize>(bytes: &[u8]) -> [u8; LEN] {
    let mut chunk = [b' '; LEN];
    for (to, from) in chunk.iter_mut().zip(bytes) {
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
    // Without this bit `"` is a space and `>` a `<`, and nothing else becomes either.
    let most = bytes & u8x16::splat(!0b10);
    (up_to(most, b' ') | is(most, b'<') | is(bytes, 0x7f)).to_bitmask()
}

/// Marks the bytes that are neither letters nor digits, `-` nor `.`: what ends nearly every
/// token and host.
#[inline]
pub fn not_in_word(chunk: &[u8; 16]) -> u32 {
    let bytes = u8x16::new(*chunk);
    let within = |bytes: u8x16, first, last| up_to(bytes - u8x16::splat(first), last - first);
    // The bit that makes a capital letter a small one.
    let letter = within(bytes | u8x16::splat(0x20), b'a', b'z');
    let word = letter | within(bytes, b'0', b'9') | within(bytes, b'-', b'.');
    word.to_bitmask() ^ 0xffff
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
                let word = byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
                assert_eq!(not_in_word(&chunk), marks(!word), "{byte:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_place_within_bounds_is_found(
            bytes in prop::collection::vec(prop::sample::select(&b"aaaaaaaaaaaaaaaaaaaa\r"[..]), 0..100),
            from in 0..100_usize,
            end in 0..100_usize,
        ) {
            let end = end.min(bytes.len());
            let from = from.min(end);
            let first = bytes[from..end].iter().position(|byte| *byte == b'\r');
            let found = find(&bytes, from, end, controls);
            prop_assert_eq!(found, first.map_or(end, |at| from + at));
            let marks = controls_from(&bytes, from);
            let next = bytes[from..].iter().take(64).enumerate();
            let known = next.fold(0, |marks, (at, byte)| marks | u64::from(*byte == b'\r') << at);
            prop_assert_eq!(marks, known);
        }
    }
}
