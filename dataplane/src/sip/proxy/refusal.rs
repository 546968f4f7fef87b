//! The memory of refused requests: a fixed table of who was told what.
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
pub(super) struct Refusals(Box<[Refusal]>);

/// A key, until when it is remembered, and the status it was answered.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    key: u64,
    until: Tick,
    status: u16,
}

impl Default for Refusals {
    fn default() -> Self {
        let nobody = Refusal {
            key: 0,
            until: Tick(0),
            status: 0,
        };
        Refusals(vec![nobody; REFUSALS].into_boxed_slice())
    }
}

impl Refusals {
    /// Bytes of it.
    pub const LEN: usize = REFUSALS * size_of::<Refusal>();

    /// Remembers `key` for 64·T1. Where its cells are taken the oldest is forgotten.
    pub fn remember(&mut self, key: u64, status: u16, now: Tick) {
        let cells = self.cells(key);
        if let Some(cell) = cells.iter_mut().min_by_key(|cell| cell.until) {
            *cell = Refusal {
                key,
                until: now.plus_ms(T1_64_MS),
                status,
            };
        }
    }

    /// The status that `key` was refused with within 64·T1.
    pub fn status_of(&mut self, key: u64, now: Tick) -> Option<u16> {
        let known = |cell: &&mut Refusal| cell.key == key && cell.until > now;
        self.cells(key)
            .iter_mut()
            .find(known)
            .map(|cell| cell.status)
    }

    #[allow(clippy::cast_possible_truncation)] // Reduced to the table.
    fn cells(&mut self, key: u64) -> &mut [Refusal] {
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
        refusals.remember(7, 503, Tick(0));
        assert_eq!(refusals.status_of(7, Tick::ms(31_999)), Some(503));
        assert_eq!(refusals.status_of(7, Tick::ms(32_000)), None);
        for n in 1..=4 {
            refusals.remember(7 + n * (REFUSALS / WAYS) as u64, 488, Tick::ms(n));
        }
        assert_eq!(refusals.status_of(7, Tick::ms(10)), None);
        let last = 7 + 4 * (REFUSALS / WAYS) as u64;
        assert_eq!(refusals.status_of(last, Tick::ms(10)), Some(488));
    }
}
