//! Base32 with extended hex alphabet, lower-case and without padding (RFC 4648 §7): how our
//! identifiers are written. Only whole groups: 5 bytes are 8 characters, in one word.

/// A byte in each byte of a word.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The top bit of each byte of `bytes` that is at least `least`; both are below 128.
const fn at_least(bytes: u64, least: u8) -> u64 {
    (bytes + each(128 - least)) & each(128)
}

/// From a digit's character to the first letter's, less the ten values between.
const TO_LETTERS: u64 = (b'a' - b'0' - 10) as u64;

/// The characters of forty bits, the first in the highest byte. Eight values of five bits are
/// taken apart and made characters all at once.
const fn characters(bits: u64) -> u64 {
    let halves = (bits & 0xff_fff0_0000) << 12 | bits & 0xf_ffff;
    let quarters = (halves & 0x000f_fc00_000f_fc00) << 6 | halves & 0x0000_03ff_0000_03ff;
    let values = (quarters & 0x03e0_03e0_03e0_03e0) << 3 | quarters & each16(0x1f);
    let letters = at_least(values, 10) >> 7;
    values + each(b'0') + letters * TO_LETTERS
}

/// The forty bits that eight characters stand for; `None` where one is none of the alphabet.
/// Upper case is read as lower case: an element that folds the case of a branch may do so
/// (RFC 3261 §7.3.1).
const fn bits(characters: u64) -> Option<u64> {
    if characters & each(128) != 0 {
        return None;
    }
    let digits = at_least(characters, b'0') & !at_least(characters, b'9' + 1);
    let lower = characters | each(b'a' - b'A');
    let letters = at_least(lower, b'a') & !at_least(lower, b'v' + 1);
    if digits | letters != each(128) {
        return None;
    }
    let values = lower - each(b'0') - (letters >> 7) * TO_LETTERS;
    let quarters = (values & each16(0x1f00)) >> 3 | values & each16(0x1f);
    let halves = (quarters & 0x03ff_0000_03ff_0000) >> 6 | quarters & 0x0000_03ff_0000_03ff;
    Some((halves & 0x000f_ffff_0000_0000) >> 12 | halves & 0xf_ffff)
}

/// Two bytes in each pair of bytes of a word.
const fn each16(pair: u16) -> u64 {
    0x0001_0001_0001_0001 * pair as u64
}

/// Writes `raw` into `text`, which is 8/5 as long.
pub fn encode(raw: &[u8], text: &mut [u8]) {
    debug_assert!(raw.len().is_multiple_of(5) && text.len() * 5 == raw.len() * 8);
    let (raw, _) = raw.as_chunks::<5>();
    let (text, _) = text.as_chunks_mut::<8>();
    for (&[a, b, c, d, e], text) in raw.iter().zip(text) {
        let bits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        *text = characters(bits).to_be_bytes();
    }
}

/// Reads all of `text`; `None` where it is not as long as `N` bytes are, or where there is a
/// byte that is none of the alphabet.
pub fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (groups, rest) = text.as_chunks::<8>();
    if groups.len() * 5 != N || !rest.is_empty() {
        return None;
    }
    let mut raw = [0; N];
    let (room, _) = raw.as_chunks_mut::<5>();
    for (group, room) in groups.iter().zip(room) {
        let [_, _, _, bytes @ ..] = bits(u64::from_be_bytes(*group))?.to_be_bytes();
        *room = bytes;
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE32_DNSSEC;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_writes_what_another_base32_writes(raw in any::<[u8; 20]>()) {
            let mut text = [0; 32];
            encode(&raw, &mut text);
            prop_assert_eq!(text.to_vec(), BASE32_DNSSEC.encode(&raw).into_bytes());
            prop_assert_eq!(decode::<20>(&text), Some(raw));
            prop_assert_eq!(decode::<20>(&text.to_ascii_uppercase()), Some(raw));
        }

        #[test]
        fn it_reads_what_another_base32_reads(
            text in "[0-9a-vA-V]{16}",
            at in 0..16_usize,
            byte in any::<u8>(),
        ) {
            let mut text = text.into_bytes();
            text[at] = byte;
            let other = BASE32_DNSSEC.decode(&text).ok();
            prop_assert_eq!(decode::<10>(&text).map(|raw| raw.to_vec()), other);
        }
    }

    #[test]
    fn a_text_of_another_length_is_refused() {
        for len in [0, 8, 15, 17, 24] {
            assert_eq!(decode::<10>(&vec![b'0'; len]), None);
        }
    }
}
