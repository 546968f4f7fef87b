//! Keyed hash to slot: a fixed open-addressed table.
//!
//! Keys are 64 bits of a SipHash with a secret key, so that two requests collide
//! once in 2^64 and nobody can make them: equal keys are taken to be equal things.

use super::slab::Id;

const EMPTY: u64 = 0;

/// A table of at most `capacity` keys at a load of one half.
#[derive(Debug)]
pub struct Index {
    cells: Box<[(u64, Id)]>,
    mask: usize,
}

impl Index {
    /// An empty table.
    #[must_use]
    pub fn new(capacity: u32) -> Index {
        let cells = (capacity as usize * 2).next_power_of_two().max(2);
        let nobody = Id {
            slot: 0,
            generation: 0,
        };
        Index {
            cells: vec![(EMPTY, nobody); cells].into_boxed_slice(),
            mask: cells - 1,
        }
    }

    /// Enters `key`; the caller keeps the number of keys within the capacity.
    pub fn insert(&mut self, key: u64, id: Id) {
        let key = nonzero(key);
        let mut at = self.home(key);
        while self.cells[at].0 != EMPTY && self.cells[at].0 != key {
            at = (at + 1) & self.mask;
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
            at = (at + 1) & self.mask;
        }
        None
    }

    /// Removes `key` if it still stands for `id`.
    pub fn remove(&mut self, key: u64, id: Id) {
        let key = nonzero(key);
        let mut at = self.home(key);
        while self.cells[at].0 != key {
            if self.cells[at].0 == EMPTY {
                return;
            }
            at = (at + 1) & self.mask;
        }
        if self.cells[at].1 != id {
            return;
        }
        // Close the gap: whoever was pushed past it moves up.
        let mut gap = at;
        let mut next = (gap + 1) & self.mask;
        while self.cells[next].0 != EMPTY {
            let home = self.home(self.cells[next].0);
            let pushed = next.wrapping_sub(home) & self.mask;
            if pushed >= (next.wrapping_sub(gap) & self.mask) {
                self.cells[gap] = self.cells[next];
                gap = next;
            }
            next = (next + 1) & self.mask;
        }
        self.cells[gap].0 = EMPTY;
    }

    #[allow(clippy::cast_possible_truncation)] // Masked to the table.
    const fn home(&self, key: u64) -> usize {
        key as usize & self.mask
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
                let key = (key % 5) | (key << 32);
                if insert && naive.len() < 32 {
                    let id = Id { slot: step as u32, generation: 0 };
                    index.insert(key, id);
                    naive.insert(nonzero(key), id);
                } else if let Some(id) = naive.remove(&nonzero(key)) {
                    index.remove(key, id);
                }
                for (&key, &id) in &naive {
                    prop_assert_eq!(index.get(key), Some(id));
                }
                prop_assert_eq!(index.get(key).is_some(), naive.contains_key(&nonzero(key)));
            }
        }
    }
}
