//! What the store said of subscribers: their HA1s, or that there is no such subscriber.
//!
//! Both are believed for a time of their own. An entry that is in use is asked for again before its
//! time is over, so that no call waits for a subscriber who was known a moment ago; one that was not
//! used since is left to end. There are so many entries and no more: a new one takes the place of one that
//! was not used lately.

use super::Algorithm;
use super::Hash;
use crate::sip::index::Index;
use crate::sip::slab::Id;
use crate::tick::Tick;

/// The HA1s of a subscriber, one for each algorithm that the store has one of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ha1s {
    md5: Option<[u8; 16]>,
    sha256: Option<[u8; 32]>,
    sha512t256: Option<[u8; 32]>,
}

impl Ha1s {
    /// Sets the HA1 of an algorithm; one that is not of its length is none.
    pub fn set(&mut self, algorithm: Algorithm, ha1: &[u8]) {
        match algorithm {
            Algorithm::Md5 => self.md5 = ha1.try_into().ok(),
            Algorithm::Sha256 => self.sha256 = ha1.try_into().ok(),
            Algorithm::Sha512T256 => self.sha512t256 = ha1.try_into().ok(),
        }
    }

    /// The HA1 of an algorithm.
    #[must_use]
    pub fn get(&self, algorithm: Algorithm) -> Option<Hash> {
        match algorithm {
            Algorithm::Md5 => self.md5.map(|ha1| Hash::new(&ha1)),
            Algorithm::Sha256 => self.sha256.map(|ha1| Hash::new(&ha1)),
            Algorithm::Sha512T256 => self.sha512t256.map(|ha1| Hash::new(&ha1)),
        }
    }
}

/// How long what the store said is believed, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// HA1s.
    pub known_ms: u64,
    /// That there is no such subscriber.
    pub unknown_ms: u64,
}

/// What is known of a subscriber.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// These HA1s.
    Subscriber(Ha1s),
    /// There is none of that name.
    Nobody,
}

/// What a look-up found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// What the store said.
    pub known: Known,
    /// It will not be believed much longer: ask again, and go on with it meanwhile. Said once.
    pub ask_again: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u64,
    known: Known,
    kept: Tick,
    expires: Tick,
    /// From here on it is asked for again when it is used.
    ask_from: Tick,
    /// That has been done.
    is_asked: bool,
    /// Used since the hand passed.
    is_used: bool,
}

/// How many entries are looked at for one to give way.
const LOOKED_AT: usize = 8;

/// The cache of a worker.
#[derive(Debug)]
pub struct Cache {
    entries: Box<[Option<Entry>]>,
    index: Index,
    /// Where the next place is looked for.
    hand: usize,
    lifetimes: Lifetimes,
    /// What was kept before may not be true any more.
    doubted: Tick,
}

impl Cache {
    /// Bytes of an entry.
    pub const ENTRY_LEN: usize = size_of::<Option<Entry>>() + Index::KEY_LEN;

    /// Room for so many subscribers.
    #[must_use]
    pub fn new(capacity: u32, lifetimes: Lifetimes) -> Cache {
        let capacity = capacity.max(1);
        Cache {
            entries: vec![None; capacity as usize].into_boxed_slice(),
            index: Index::new(capacity),
            hand: 0,
            lifetimes,
            doubted: Tick(0),
        }
    }

    /// What is known of the subscriber behind `key`, a keyed hash of user and domain.
    pub fn find(&mut self, key: u64, now: Tick) -> Option<Found> {
        let id = self.index.get(key)?;
        let entry = self.entries[id.slot as usize].as_mut()?;
        let is_doubted = entry.kept < self.doubted;
        let is_over = is_doubted && self.doubted.plus_ms(self.lifetimes.unknown_ms) <= now;
        if entry.expires <= now || is_over {
            return None;
        }
        entry.is_used = true;
        let ask_again = !entry.is_asked && (is_doubted || entry.ask_from <= now);
        entry.is_asked |= ask_again;
        Some(Found {
            known: entry.known,
            ask_again,
        })
    }

    /// Takes note of what the store said.
    pub fn keep(&mut self, key: u64, known: Known, now: Tick) {
        let lifetime_ms = match known {
            Known::Subscriber(_) => self.lifetimes.known_ms,
            Known::Nobody => self.lifetimes.unknown_ms,
        };
        let entry = Entry {
            key,
            known,
            kept: now,
            expires: now.plus_ms(lifetime_ms),
            ask_from: match known {
                Known::Subscriber(_) => now.plus_ms(lifetime_ms / 4 * 3),
                // It costs one look-up a lifetime, and nobody who is nobody is in a hurry.
                Known::Nobody => Tick::NEVER,
            },
            is_asked: false,
            is_used: false,
        };
        let slot = match self.index.get(key) {
            Some(id) => id.slot as usize,
            None => self.make_room(now),
        };
        self.entries[slot] = Some(entry);
        #[allow(clippy::cast_possible_truncation, reason = "less than the capacity")]
        self.index.insert(key, Id::new(slot as u32, 0));
    }

    /// Forgets a subscriber: the store has changed.
    pub fn forget(&mut self, key: u64) {
        if let Some(id) = self.index.get(key) {
            self.entries[id.slot as usize] = None;
            self.index.remove(key, id);
        }
    }

    /// What is known of any subscriber may not be true any more: each is asked for again when it is
    /// used, and believed meanwhile, or nobody would be known for a while and the store be asked for
    /// all of them at once. What nobody has confirmed is believed no longer than that somebody is
    /// unknown.
    pub fn doubt(&mut self, now: Tick) {
        self.doubted = now;
    }

    /// A place for a new entry: a free one, or that of one that was not used since the hand last
    /// passed; after a few looks whichever is next.
    fn make_room(&mut self, now: Tick) -> usize {
        let mut place = self.hand;
        for _ in 0..LOOKED_AT {
            place = self.hand;
            self.hand = (self.hand + 1) % self.entries.len();
            match &mut self.entries[place] {
                Some(entry) if entry.is_used && entry.expires > now => entry.is_used = false,
                _ => break,
            }
        }
        if let Some(entry) = self.entries[place].take() {
            #[allow(clippy::cast_possible_truncation, reason = "less than the capacity")]
            self.index.remove(entry.key, Id::new(place as u32, 0));
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const LIFETIMES: Lifetimes = Lifetimes {
        known_ms: 4_000,
        unknown_ms: 1_000,
    };

    fn subscriber(byte: u8) -> Known {
        let mut ha1s = Ha1s::default();
        ha1s.set(Algorithm::Md5, &[byte; 16]);
        Known::Subscriber(ha1s)
    }

    fn md5_of(found: Option<Found>) -> Option<u8> {
        match found?.known {
            Known::Subscriber(ha1s) => Some(ha1s.get(Algorithm::Md5)?.bytes()[0]),
            Known::Nobody => None,
        }
    }

    #[test]
    fn each_kind_is_believed_for_its_own_time_and_asked_for_again_once_if_used() {
        let mut cache = Cache::new(4, LIFETIMES);
        cache.keep(1 << 60, subscriber(7), Tick::ms(0));
        cache.keep(2 << 60, Known::Nobody, Tick::ms(0));
        let mut ask = |ms| {
            cache
                .find(1 << 60, Tick::ms(ms))
                .map(|found| found.ask_again)
        };
        assert_eq!(ask(2_999), Some(false));
        assert_eq!(ask(3_000), Some(true));
        assert_eq!(ask(3_001), Some(false));
        assert_eq!(ask(4_000), None);
        let nobody = |cache: &mut Cache, ms| cache.find(2 << 60, Tick::ms(ms)).is_some();
        assert!(nobody(&mut cache, 999) && !nobody(&mut cache, 1_000));
        cache.keep(1 << 60, subscriber(8), Tick::ms(5_000));
        assert_eq!(md5_of(cache.find(1 << 60, Tick::ms(5_000))), Some(8));
        cache.forget(1 << 60);
        assert!(cache.find(1 << 60, Tick::ms(5_000)).is_none());
    }

    #[test]
    fn what_is_doubted_is_asked_for_again_and_not_believed_for_long() {
        let mut cache = Cache::new(4, LIFETIMES);
        for key in [1, 2] {
            cache.keep(key << 60, subscriber(7), Tick::ms(0));
        }
        cache.doubt(Tick::ms(100));
        let mut ask = |key: u64, ms| {
            cache
                .find(key << 60, Tick::ms(ms))
                .map(|found| found.ask_again)
        };
        assert_eq!(ask(1, 100), Some(true));
        assert_eq!(ask(1, 101), Some(false));
        assert_eq!(ask(2, 1_099), Some(true));
        assert_eq!(ask(2, 1_100), None);
        cache.keep(1 << 60, subscriber(8), Tick::ms(1_100));
        assert_eq!(md5_of(cache.find(1 << 60, Tick::ms(1_200))), Some(8));
    }

    #[test]
    fn one_that_is_used_outlives_those_that_are_not() {
        let mut cache = Cache::new(4, LIFETIMES);
        for key in 1..=40_u64 {
            cache.find(1 << 58, Tick::ms(0));
            cache.keep(key << 58, subscriber(1), Tick::ms(0));
        }
        assert!(cache.find(1 << 58, Tick::ms(0)).is_some());
    }

    #[test]
    fn an_ha1_that_is_too_short_is_none() {
        let mut ha1s = Ha1s::default();
        ha1s.set(Algorithm::Sha256, &[1; 16]);
        assert!(ha1s.get(Algorithm::Sha256).is_none());
    }

    proptest! {
        #[test]
        fn what_it_finds_was_kept_last(
            steps in prop::collection::vec((0_u64..12, 0_u8..3, any::<u8>()), 0..300),
        ) {
            let mut cache = Cache::new(5, LIFETIMES);
            let mut kept = HashMap::new();
            for (key, what, byte) in steps {
                let key = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                match what {
                    0 => {
                        cache.keep(key, subscriber(byte), Tick::ms(0));
                        kept.insert(key, byte);
                    }
                    1 => {
                        cache.forget(key);
                        kept.remove(&key);
                    }
                    _ => {
                        let found = md5_of(cache.find(key, Tick::ms(1)));
                        prop_assert!(found.is_none() || found == kept.get(&key).copied());
                    }
                }
            }
        }
    }
}
