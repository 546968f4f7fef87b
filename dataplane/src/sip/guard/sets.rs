//! What is known of sources: a fixed table, of which a look-up touches one cache line.
//!
//! A source has its place in one set of four. Where that is full whoever ranks lowest gives way: what
//! that means is its owner's.

use super::source::Source;
use crate::sip::identity::What;
use crate::sip::siphash::SipHash;
use crate::sys::memory::table;

/// Sources of a set: with eight bytes of each it fills a cache line.
const WAYS: usize = 4;
const EMPTY: u64 = 0;

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Set<V> {
    keys: [u64; WAYS],
    values: [V; WAYS],
}

/// A table of values of sources.
#[derive(Debug)]
pub(super) struct Sets<V> {
    sets: Box<[Set<V>]>,
    hash: SipHash,
    count: usize,
}

impl<V: Copy + Default> Sets<V> {
    /// Bytes that a source costs.
    pub const ENTRY_LEN: usize = {
        assert!(size_of::<Set<V>>() == 64, "a set is a cache line");
        size_of::<Set<V>>() / WAYS
    };

    /// Room for so many; `hash` is the beginning of a keyed hash, so that nobody can choose a set.
    pub fn new(capacity: u32, hash: SipHash) -> Sets<V> {
        let _ = Self::ENTRY_LEN;
        let sets = (capacity as usize).div_ceil(WAYS).max(1);
        Sets {
            sets: table((0..sets).map(|_| Set {
                keys: [EMPTY; WAYS],
                values: [V::default(); WAYS],
            })),
            hash,
            count: 0,
        }
    }

    /// How many sources it knows.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// How many places it has.
    pub const fn places(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// What is known of a source, and its place.
    #[inline]
    pub fn find(&mut self, source: Source) -> Option<(usize, &mut V)> {
        let (first, key) = (self.set_of(source), source.key());
        let set = &mut self.sets[first];
        let way = set.keys.iter().position(|&there| there == key)?;
        Some((first * WAYS + way, &mut set.values[way]))
    }

    /// Enters a source, or changes what is known of it; also gives its place, and who gave way.
    pub fn put(
        &mut self,
        source: Source,
        value: V,
        rank: impl Fn(&V) -> u64,
    ) -> (usize, Option<Source>) {
        let (first, key) = (self.set_of(source), source.key());
        let set = &mut self.sets[first];
        let same = set.keys.iter().position(|&there| there == key);
        let free = || set.keys.iter().position(|&there| there == EMPTY);
        let lowest = || (0..WAYS).min_by_key(|&way| (rank(&set.values[way]), set.keys[way]));
        let way = same.or_else(free).or_else(lowest).unwrap_or(0);
        let before = std::mem::replace(&mut set.keys[way], key);
        set.values[way] = value;
        self.count += usize::from(before == EMPTY);
        let displaced = (before != EMPTY && before != key).then_some(Source::of_key(before));
        (first * WAYS + way, displaced)
    }

    /// Forgets a source; false where it did not know it.
    pub fn remove(&mut self, source: Source) -> bool {
        let (first, key) = (self.set_of(source), source.key());
        let set = &mut self.sets[first];
        let Some(way) = set.keys.iter().position(|&there| there == key) else {
            return false;
        };
        set.keys[way] = EMPTY;
        self.count -= 1;
        true
    }

    /// Who is in a place.
    pub fn at(&self, place: usize) -> Option<(Source, V)> {
        let set = self.sets.get(place / WAYS)?;
        let key = set.keys[place % WAYS];
        (key != EMPTY).then_some((Source::of_key(key), set.values[place % WAYS]))
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "less than the sets")]
    fn set_of(&self, source: Source) -> usize {
        let hash = self.hash.word(source.key()).finish(What::Source.with(0));
        ((u128::from(hash) * self.sets.len() as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn source(n: u8) -> Source {
        Source::of(std::net::Ipv4Addr::new(10, 0, 0, n).into())
    }

    #[test]
    fn a_set_has_four_places_and_the_lowest_gives_way() {
        let mut sets: Sets<u64> = Sets::new(4, SipHash::new(&[1; 16]));
        for n in 1..=4 {
            assert_eq!(sets.put(source(n), u64::from(n), |&value| value).1, None);
        }
        assert_eq!((sets.count(), sets.places()), (4, 4));
        let (_, displaced) = sets.put(source(5), 0, |&value| value);
        assert_eq!(displaced, Some(source(1)));
        assert!(sets.find(source(1)).is_none());
        assert_eq!(sets.find(source(5)).map(|(_, value)| *value), Some(0));
        assert!(sets.remove(source(5)) && !sets.remove(source(5)));
        assert_eq!(sets.count(), 3);
    }

    proptest! {
        #[test]
        fn what_it_finds_was_put_last_and_only_who_ranks_low_is_lost(
            steps in prop::collection::vec((any::<u8>(), 0_u64..100, 0_u8..4), 0..400),
        ) {
            let mut sets = Sets::new(64, SipHash::new(&[1; 16]));
            let mut naive: HashMap<Source, u64> = HashMap::new();
            for (n, value, what) in steps {
                let source = source(n);
                match what {
                    0 => prop_assert_eq!(sets.remove(source), naive.remove(&source).is_some()),
                    1 => {
                        let found = sets.find(source).map(|(_, value)| *value);
                        prop_assert_eq!(found, naive.get(&source).copied());
                    }
                    _ => {
                        let (place, displaced) = sets.put(source, value, |&value| value);
                        prop_assert_eq!(sets.at(place), Some((source, value)));
                        if let Some(displaced) = displaced {
                            let rank = naive.remove(&displaced).unwrap();
                            let first = place / WAYS * WAYS;
                            for other in (first..first + WAYS).filter(|&other| other != place) {
                                prop_assert!(sets.at(other).unwrap().1 >= rank);
                            }
                        }
                        naive.insert(source, value);
                    }
                }
                prop_assert_eq!(sets.count(), naive.len());
            }
        }
    }
}
