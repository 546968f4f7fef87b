//! SipHash-1-3 of short texts and numbers under a secret key: fast for what a message is told
//! apart by, and nobody who does not know the key can steer it.
//!
//! A text is taken in as words of eight bytes, the last of which holds at most six and the
//! text's length; so no word has to be put together from two texts. A number is a word. The
//! last seven bytes say what was hashed. Two inputs that say the same there have as many texts and
//! numbers in the same order, and read from the end their words tell every text's length: no two
//! inputs are hashed as the same words.

/// What has been taken in so far. All of it is inlined, so that it stays in registers from the
/// first text to the end.
#[derive(Clone, Copy)]
pub struct SipHash {
    state: [u64; 4],
    words: u64,
}

impl std::fmt::Debug for SipHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SipHash(..)")
    }
}

impl SipHash {
    /// Nothing, under this key.
    #[must_use]
    pub const fn new(key: &[u8; 16]) -> SipHash {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *key;
        let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let high = u64::from_le_bytes([i, j, k, l, m, n, o, p]);
        let state = [
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ];
        SipHash { state, words: 0 }
    }

    /// A text shorter than 65,536 bytes.
    #[must_use]
    #[inline(always)]
    pub fn text(mut self, text: &[u8]) -> SipHash {
        debug_assert!(text.len() <= usize::from(u16::MAX));
        let (words, rest) = text.as_chunks::<8>();
        for word in words {
            self.absorb(u64::from_le_bytes(*word));
        }
        self.words += words.len() as u64 + 1;
        let mut last = last_word(text, rest);
        if rest.len() == 7 {
            // No room for the length.
            self.absorb(last);
            self.words += 1;
            last = 0;
        }
        self.absorb(last | (text.len() as u64) << 48);
        self
    }

    /// A number.
    #[must_use]
    #[inline(always)]
    pub const fn word(mut self, word: u64) -> SipHash {
        self.absorb(word);
        self.words += 1;
        self
    }

    /// The hash. `end` says what was hashed, in 56 bits.
    #[must_use]
    #[inline(always)]
    pub const fn finish(mut self, end: u64) -> u64 {
        debug_assert!(end >> 56 == 0);
        self.absorb((self.words * 8 + 7) << 56 | end);
        self.state[2] ^= 0xff;
        self.round();
        self.round();
        self.round();
        let [a, b, c, d] = self.state;
        a ^ b ^ c ^ d
    }

    #[inline(always)]
    const fn absorb(&mut self, word: u64) {
        self.state[3] ^= word;
        self.round();
        self.state[0] ^= word;
    }

    #[inline(always)]
    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.state;
        a = a.wrapping_add(b);
        c = c.wrapping_add(d);
        b = b.rotate_left(13) ^ a;
        d = d.rotate_left(16) ^ c;
        a = a.rotate_left(32).wrapping_add(d);
        c = c.wrapping_add(b);
        d = d.rotate_left(21) ^ a;
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.state = [a, b, c, d];
    }
}

/// The bytes of `rest`, the end of `text` in less than a word, as a word: read at once or in
/// pieces that overlap.
#[inline(always)]
fn last_word(text: &[u8], rest: &[u8]) -> u64 {
    if let Some(end) = text.last_chunk::<8>() {
        // In two steps: by 64 bits at once nothing can be shifted.
        return u64::from_le_bytes(*end) >> 8 >> (56 - 8 * rest.len());
    }
    match (rest.first_chunk::<4>(), rest.last_chunk::<4>(), rest) {
        (Some(first), Some(last), _) => {
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last << (8 * (rest.len() - 4))
        }
        (.., &[first, second, third]) => u64::from(u32::from_le_bytes([first, second, third, 0])),
        (.., &[first, second]) => u64::from(u16::from_le_bytes([first, second])),
        (.., &[first]) => first.into(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    /// What is hashed, as bytes.
    fn encoded(texts: &[Vec<u8>], numbers: &[u64], end: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in texts {
            bytes.extend(text);
            // Up to the last two bytes of a word.
            while bytes.len() % 8 != 6 {
                bytes.push(0);
            }
            bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        }
        for number in numbers {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(&end.to_le_bytes()[..7]);
        bytes
    }

    proptest! {
        #[test]
        fn it_is_siphash_of_texts_with_their_lengths_and_numbers(
            key in any::<[u8; 16]>(),
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
            numbers in prop::collection::vec(any::<u64>(), 0..4),
            end in 0..1_u64 << 56,
        ) {
            let hash = texts.iter().fold(SipHash::new(&key), |hash, text| hash.text(text));
            let hash = numbers.iter().fold(hash, |hash, number| hash.word(*number));
            let other = SipHasher13::new_with_key(&key).hash(&encoded(&texts, &numbers, end));
            prop_assert_eq!(hash.finish(end), other);
        }
    }

    #[test]
    fn texts_are_kept_apart() {
        let of = |texts: &[&[u8]]| {
            let hash = SipHash::new(&[7; 16]);
            texts
                .iter()
                .fold(hash, |hash, text| hash.text(text))
                .finish(0)
        };
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"ab", b""]), of(&[b"", b"ab"]));
        assert_ne!(of(&[b"a\0"]), of(&[b"a"]));
        assert_ne!(of(&[b"12345678", b"x"]), of(&[b"12345678x", b""]));
        // The seventh byte after a text looks like the length of a shorter one.
        assert_ne!(of(&[b"abcdef\x06\0", b""]), of(&[b"abcdef", b""]));
    }
}
