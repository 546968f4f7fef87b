//! Keyed hash to slot: a fixed open-addressed table.
//!
//! Keys are 64 bits of a SipHash with a secret key, so that two requests collide
//! once in 2^64 and nobody can make them: equal keys are taken to be equal things.
//!
//! A key's home is its high bits scaled to the table, whose size need then be no power of
//! two: a table has two cells for each key, not up to four.

use super::slab::Id;
use crate::sys::memory::table;

const EMPTY: u64 = 0;

/// A load of one half: a look-up ends after one or two cells.
const CELLS_PER_KEY: usize = 2;

/// A table of at most `capacity` keys at a load of one half.
#[derive(Debug)]
pub struct Index {
    cells: Box<[(u64, Id)]>,
}

impl Index {
    /// Bytes that a key costs.
    pub const KEY_LEN: usize = CELLS_PER_KEY * size_of::<(u64, Id)>();

    /// An empty table.
    #[must_use]
    pub fn new(capacity: u32) -> Index {
        let cells = (capacity as usize * CELLS_PER_KEY).max(2);
        Index {
            cells: table((0..cells).map(|_| (EMPTY, Id::new(0, 0)))),
        }
    }

    /// Enters `key`; the caller keeps the number of keys within the capacity.
    pub fn insert(&mut self, key: u64, id: Id) {
        let key = nonzero(key);
        let mut at = self.home(key);
        while self.cells[at].0 != EMPTY && self.cells[at].0 != key {
            at = self.after(at);
        }
        self.cells[at] = (key, id);
    }

    /// What stands under `key`.
    #[must_use]
    pub fn get(&self, key: u64) -> Option<Id> {
        let key = nonzero(key);
        let mut at = self.home(key);
        while self.cells[at].0 != EMPTY {
            if self.cells[at].0 == key {
                return Some(self.cells[at].1);
            }
            at = self.after(at);
        }
        None
    }

    /// Every key, as it was entered but for 0, and what stands under it.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Id)> {
        self.cells.iter().copied().filter(|&(key, _)| key != EMPTY)
    }

    /// Removes `key` if it still stands for `id`.
    pub fn remove(&mut self, key: u64, id: Id) {
        let key = nonzero(key);
        let mut at = self.home(key);
        while self.cells[at].0 != key {
            if self.cells[at].0 == EMPTY {
                return;
            }
            at = self.after(at);
        }
        if self.cells[at].1 != id {
            return;
        }
        // Close the gap: whoever was pushed past it moves up.
        let mut gap = at;
        let mut next = self.after(gap);
        while self.cells[next].0 != EMPTY {
            let home = self.home(self.cells[next].0);
            if self.distance(home, next) >= self.distance(gap, next) {
                self.cells[gap] = self.cells[next];
                gap = next;
            }
            next = self.after(next);
        }
        self.cells[gap].0 = EMPTY;
    }

    #[allow(clippy::cast_possible_truncation)] // Less than the table's cells.
    const fn home(&self, key: u64) -> usize {
        ((key as u128 * self.cells.len() as u128) >> 64) as usize
    }

    const fn after(&self, at: usize) -> usize {
        if at + 1 == self.cells.len() {
            0
        } else {
            at + 1
        }
    }

    /// How many cells behind `from` lies `to`.
    const fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.cells.len() - from
        }
    }
}

const fn nonzero(key: u64) -> u64 {
    if key == EMPTY { 1 } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn it_agrees_with_a_hash_map(steps in prop::collection::vec((0u64..40, any::<bool>()), 0..400)) {
            let mut index = Index::new(32);
            let mut naive = HashMap::new();
            for (step, (key, insert)) in steps.into_iter().enumerate() {
                // Few homes, so that runs collide and wrap.
                let key = ((key % 5) * (u64::MAX / 4)) ^ key;
                if insert && naive.len() < 32 {
                    let id = Id::new(step as u32, 0);
                    index.insert(key, id);
                    naive.insert(nonzero(key), id);
                } else if let Some(id) = naive.remove(&nonzero(key)) {
                    index.remove(key, id);
                }
                for (&key, &id) in &naive {
                    prop_assert_eq!(index.get(key), Some(id));
                }
                let mut entries: Vec<_> = index.entries().collect();
                let mut expected: Vec<_> = naive.iter().map(|(&key, &id)| (key, id)).collect();
                entries.sort_by_key(|&(key, _)| key);
                expected.sort_by_key(|&(key, _)| key);
                prop_assert_eq!(entries, expected);
                prop_assert_eq!(index.get(key).is_some(), naive.contains_key(&nonzero(key)));
            }
        }
    }
}
