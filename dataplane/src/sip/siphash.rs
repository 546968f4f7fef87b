//! SipHash-1-3 of a few parts under a secret key: fast for the short texts that a message is
//! told apart by, and nobody who does not know the key can steer it.
//!
//! What is hashed is each part in words of eight bytes, the last of which holds at most six and
//! the part's length. Read from the end, the words tell every part's length: no two lists of as
//! many parts are hashed as the same words. And no word has to be put together from two parts.

#[derive(Clone, Copy)]
struct State([u64; 4]);

impl State {
    #[inline]
    const fn new(key: &[u8; 16]) -> State {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *key;
        let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let high = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
        State([
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline]
    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        d = d.rotate_left(21) ^ a;
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    #[inline]
    const fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    #[inline]
    const fn finish(mut self, len: u64) -> u64 {
        self.word(len << 56);
        self.0[2] ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }
}

/// The hash of `parts`, each shorter than 65,536 bytes.
#[inline]
pub fn hash(key: &[u8; 16], parts: &[&[u8]]) -> u64 {
    debug_assert!(parts.iter().all(|part| part.len() <= usize::from(u16::MAX)));
    let mut state = State::new(key);
    let mut words = 0;
    for part in parts {
        words += absorb(&mut state, part);
    }
    state.finish(words * 8)
}

/// Takes in a part; says how many words that were.
#[inline]
fn absorb(state: &mut State, part: &[u8]) -> u64 {
    let (words, rest) = part.as_chunks::<8>();
    for word in words {
        state.word(u64::from_le_bytes(*word));
    }
    let mut count = words.len() as u64 + 1;
    let mut last = if rest.is_empty() {
        0
    } else {
        last_word(part, rest)
    };
    if rest.len() == 7 {
        // No room for the length.
        state.word(last);
        last = 0;
        count += 1;
    }
    state.word(last | (part.len() as u64) << 48);
    count
}

/// The bytes of `rest`, the end of `part`, as a word. Where the part is long enough it is read
/// at once.
#[inline]
fn last_word(part: &[u8], rest: &[u8]) -> u64 {
    let missing = 64 - 8 * rest.len();
    match part.last_chunk::<8>() {
        Some(end) => u64::from_le_bytes(*end) >> missing,
        None => {
            let bytes = rest.iter().rev();
            bytes.fold(0, |word, byte| word << 8 | u64::from(*byte))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    /// What is hashed, as bytes.
    fn encoded(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend(part);
            // Up to the last two bytes of a word.
            while bytes.len() % 8 != 6 {
                bytes.push(0);
            }
            bytes.extend(u16::try_from(part.len()).unwrap().to_le_bytes());
        }
        bytes
    }

    proptest! {
        #[test]
        fn it_is_siphash_of_parts_and_lengths(
            key in any::<[u8; 16]>(),
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
        ) {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let other = SipHasher13::new_with_key(&key).hash(&encoded(&parts));
            prop_assert_eq!(hash(&key, &slices), other);
        }
    }

    #[test]
    fn parts_are_kept_apart() {
        let of = |parts: &[&[u8]]| hash(&[7; 16], parts);
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"ab", b""]), of(&[b"", b"ab"]));
        assert_ne!(of(&[b"a\0"]), of(&[b"a"]));
        assert_ne!(of(&[b"12345678", b"x"]), of(&[b"12345678x", b""]));
        // The seventh byte after a part looks like the length of a shorter one.
        assert_ne!(of(&[b"abcdef\x06\0", b""]), of(&[b"abcdef", b""]));
    }
}
