//! Base32 with extended hex alphabet, lower-case and without padding (RFC 4648 §7): how our
//! identifiers are written. Only whole groups: 5 bytes are 8 characters.

/// The characters of the values 0 to 31.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// No value: the byte is no character of the alphabet.
const NONE: u8 = 0xff;

/// The value of every byte. Upper case is read as lower case: an element that folds the case
/// of a branch may do so (RFC 3261 §7.3.1).
const VALUES: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut value = 0;
    while value < 32 {
        let character = ALPHABET[value as usize];
        table[character as usize] = value;
        table[character.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    table
};

/// Writes `raw` into `text`, which is 8/5 as long.
pub fn encode(raw: &[u8], text: &mut [u8]) {
    debug_assert!(raw.len().is_multiple_of(5) && text.len() * 5 == raw.len() * 8);
    let (raw, _) = raw.as_chunks::<5>();
    let (text, _) = text.as_chunks_mut::<8>();
    for (&[a, b, c, d, e], text) in raw.iter().zip(text) {
        let bits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        let mut shift = 40;
        for character in text {
            shift -= 5;
            let [.., last] = (bits >> shift).to_be_bytes();
            *character = ALPHABET[usize::from(last & 31)];
        }
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
    let mut all = 0;
    for (group, room) in groups.iter().zip(room) {
        let mut bits = 0;
        for character in group {
            let value = VALUES[usize::from(*character)];
            all |= value;
            bits = bits << 5 | u64::from(value & 31);
        }
        let [_, _, _, bytes @ ..] = bits.to_be_bytes();
        *room = bytes;
    }
    (all < 32).then_some(raw)
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
