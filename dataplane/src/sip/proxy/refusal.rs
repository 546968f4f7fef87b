//! The memory of refused requests: a fixed table of who was told 503.
//!
//! A refused request left no transaction. Its retransmissions must get the same answer
//! even when there is room again, and its ACK and CANCEL must find their end here.

use crate::limits::REFUSALS;
use crate::limits::T1_64_MS;
use crate::tick::Tick;

/// How many cells a key may be in.
const WAYS: usize = 4;

/// Refused transactions, by the key of their server transaction.
#[derive(Debug)]
pub(super) struct Refusals(Box<[(u64, Tick)]>);

impl Default for Refusals {
    fn default() -> Self {
        Refusals(vec![(0, Tick(0)); REFUSALS].into_boxed_slice())
    }
}

impl Refusals {
    /// Remembers `key` for 64·T1. Where its cells are taken the oldest is forgotten.
    pub fn remember(&mut self, key: u64, now: Tick) {
        let cells = self.cells(key);
        if let Some(cell) = cells.iter_mut().min_by_key(|cell| cell.1) {
            *cell = (key, now.plus_ms(T1_64_MS));
        }
    }

    /// True where `key` was refused within 64·T1.
    pub fn knows(&mut self, key: u64, now: Tick) -> bool {
        self.cells(key)
            .iter()
            .any(|&(other, until)| other == key && until > now)
    }

    #[allow(clippy::cast_possible_truncation)] // Reduced to the table.
    fn cells(&mut self, key: u64) -> &mut [(u64, Tick)] {
        let first = key as usize % (REFUSALS / WAYS) * WAYS;
        &mut self.0[first..first + WAYS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_remembered_for_64_t1_and_a_newer_one_displaces_the_oldest() {
        let mut refusals = Refusals::default();
        refusals.remember(7, Tick(0));
        assert!(refusals.knows(7, Tick::ms(31_999)) && !refusals.knows(7, Tick::ms(32_000)));
        for n in 1..=4 {
            refusals.remember(7 + n * (REFUSALS / WAYS) as u64, Tick::ms(n));
        }
        assert!(!refusals.knows(7, Tick::ms(10)));
        assert!(refusals.knows(7 + 4 * (REFUSALS / WAYS) as u64, Tick::ms(10)));
    }
}
