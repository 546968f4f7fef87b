//! The one source of chance: everything that a run draws follows from its seed.
//!
//! Ours (splitmix64), so that a seed replays the same run whatever a library changes.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A stream of its own for part `number` of what `seed` begins.
    #[must_use]
    pub const fn part(seed: u64, number: u64) -> Random {
        let mut random = Random(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let first = random.next();
        Random(first)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// One of them.
    ///
    /// # Panics
    /// Where there is none.
    pub const fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        #[allow(clippy::cast_possible_truncation)] // Less than their number.
        let at = self.between(0, all.len() as u64 - 1) as usize;
        all[at]
    }

    /// True `per_mille` times of a thousand.
    pub const fn happens(&mut self, per_mille: u16) -> bool {
        self.between(0, 999) < per_mille as u64
    }
}

/// A hash over everything that happened: two runs of a seed must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHash(pub u64);

impl Default for TraceHash {
    fn default() -> TraceHash {
        TraceHash(0xcbf2_9ce4_8422_2325)
    }
}

impl TraceHash {
    /// Takes `bytes` in, eight at a time.
    pub fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    /// Takes a number in.
    pub const fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_length_count() {
        let hash = |bytes: &[u8]| {
            let mut hash = TraceHash::default();
            hash.add(bytes);
            hash.0
        };
        let all: Vec<u64> = [&b"abcdefgh"[..], b"abcdefgi", b"abcdefgh\0", b"", b"\0"]
            .into_iter()
            .map(hash)
            .collect();
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one));
        }
    }
}
