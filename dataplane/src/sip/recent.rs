//! A memory of what was so for 64·T1: as long as a message may come again (RFC 3261 §17.1.2.2).
//!
//! It is a fixed table. Where a key's cells are taken the oldest is forgotten.

use std::ops::Range;

use crate::limits::T1_64_MS;
use crate::tick::Tick;

/// How many cells a key may be in.
const WAYS: usize = 4;

/// Values by keyed hashes.
#[derive(Debug)]
pub struct Recent<V>(Box<[Cell<V>]>);

#[derive(Clone, Copy, Debug, Default)]
struct Cell<V> {
    key: u64,
    until: Tick,
    value: V,
}

impl<V: Copy + Default> Recent<V> {
    /// Bytes of a value.
    pub const CELL_LEN: usize = size_of::<Cell<V>>();

    /// Room for so many values, of which nothing is remembered.
    pub fn new(capacity: usize) -> Recent<V> {
        let sets = capacity.div_ceil(WAYS).max(1);
        Recent(vec![Cell::default(); sets * WAYS].into_boxed_slice())
    }

    /// Remembers a value for 64·T1, in the place of another one of this key.
    pub fn remember(&mut self, key: u64, value: V, now: Tick) {
        let cells = self.cells_of(key);
        let cells = &mut self.0[cells];
        let same = cells.iter().position(|cell| cell.key == key);
        let place = same.or_else(|| (0..WAYS).min_by_key(|&at| cells[at].until));
        cells[place.unwrap_or(0)] = Cell {
            key,
            until: now.plus_ms(T1_64_MS),
            value,
        };
    }

    /// The value that was remembered last, within 64·T1.
    #[must_use]
    pub fn get(&self, key: u64, now: Tick) -> Option<V> {
        let mut cells = self.0[self.cells_of(key)].iter();
        let found = cells.find(|cell| cell.key == key && cell.until > now);
        found.map(|cell| cell.value)
    }

    #[allow(clippy::cast_possible_truncation)] // Reduced to the table.
    fn cells_of(&self, key: u64) -> Range<usize> {
        let first = key as usize % (self.0.len() / WAYS) * WAYS;
        first..first + WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 64;

    #[test]
    fn a_value_is_remembered_for_64_t1_and_a_newer_one_displaces_the_oldest() {
        let mut recent = Recent::new(CAPACITY);
        recent.remember(7, 503, Tick(0));
        assert_eq!(recent.get(7, Tick::ms(31_999)), Some(503));
        assert_eq!(recent.get(7, Tick::ms(32_000)), None);
        for n in 1..=4 {
            recent.remember(7 + n * (CAPACITY / WAYS) as u64, 488, Tick::ms(n));
        }
        assert_eq!(recent.get(7, Tick::ms(10)), None);
        let last = 7 + 4 * (CAPACITY / WAYS) as u64;
        assert_eq!(recent.get(last, Tick::ms(10)), Some(488));
    }

    #[test]
    fn of_one_key_only_the_last_value_is_remembered() {
        let mut recent = Recent::new(CAPACITY);
        let other = 7 + (CAPACITY / WAYS) as u64;
        recent.remember(other, 9, Tick(0));
        for n in 1..=8 {
            recent.remember(7, n, Tick::ms(n));
        }
        assert_eq!(recent.get(7, Tick::ms(8)), Some(8));
        assert_eq!(recent.get(other, Tick::ms(8)), Some(9));
    }
}
