//! Which counts of a nonce have been used (RFC 7616 §3.4.5, `nc`): a request that is replayed
//! authenticates nobody.
//!
//! A request that has used the highest count may come again: it may have been answered without a transaction.
//! A window knows it by no more than its branch, which whoever has seen it can write above another request:
//! so it is told apart from a first use, and who asked says whether the request is the same.
//!
//! A window begins with the first right answer to a nonce and remembers the highest count and the 64
//! below it: over UDP they overtake each other. There are so many windows and no more; the eldest gives
//! way. A nonce that is as old as one whose window gave way has no window any more or never had one, and
//! nobody can tell: it counts as forgotten, and its client is challenged anew.

use crate::sip::index::Index;
use crate::sip::slab::Id;

use super::nonce::Nonce;

/// Counts below the highest that are told apart.
const WIDTH: u32 = 64;

#[derive(Clone, Copy, Debug)]
struct Window {
    key: u64,
    time_s: u32,
    highest: u32,
    /// The transaction of who has used that.
    transaction: u64,
    /// Bit n: the count n below the highest has been used.
    used: u64,
}

/// What a use of a nonce is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The first of this count.
    First,
    /// One more by the transaction that has used the highest count.
    Again,
    /// One of a count that has been used, or is too far behind to know.
    Replayed,
    /// Of a nonce whose window may have given way.
    Forgotten,
}

/// The windows of the nonces that a worker made.
#[derive(Debug)]
pub struct Windows {
    /// A ring: the next one to give way is at `next`.
    windows: Box<[Option<Window>]>,
    next: usize,
    index: Index,
    /// A nonce that is no younger than this and has no window is forgotten.
    horizon_s: Option<u32>,
}

impl Windows {
    /// Bytes of a window.
    pub const WINDOW_LEN: usize = size_of::<Option<Window>>() + Index::KEY_LEN;

    /// Room for so many.
    #[must_use]
    pub fn new(capacity: u32) -> Windows {
        Windows {
            windows: vec![None; capacity.max(1) as usize].into_boxed_slice(),
            next: 0,
            index: Index::new(capacity.max(1)),
            horizon_s: None,
        }
    }

    /// Takes note of a use of `nonce` by a client that knows the password, in a request that is
    /// known from others by `transaction`.
    pub fn note(&mut self, nonce: &Nonce, nc: u32, transaction: u64) -> Use {
        if let Some(id) = self.index.get(nonce.key)
            && let Some(window) = &mut self.windows[id.slot as usize]
        {
            return window.note(nc, transaction);
        }
        if self
            .horizon_s
            .is_some_and(|horizon| nonce.time_s <= horizon)
        {
            return Use::Forgotten;
        }
        self.open(nonce, nc, transaction);
        Use::First
    }

    #[allow(clippy::cast_possible_truncation, reason = "less than the capacity")]
    fn open(&mut self, nonce: &Nonce, nc: u32, transaction: u64) {
        let id = Id::new(self.next as u32, 0);
        let window = Window {
            key: nonce.key,
            time_s: nonce.time_s,
            highest: nc,
            transaction,
            used: 1,
        };
        if let Some(eldest) = self.windows[self.next].replace(window) {
            self.index.remove(eldest.key, id);
            self.horizon_s = self.horizon_s.max(Some(eldest.time_s));
        }
        self.index.insert(nonce.key, id);
        self.next = (self.next + 1) % self.windows.len();
    }
}

impl Window {
    fn note(&mut self, nc: u32, transaction: u64) -> Use {
        if let Some(ahead) = nc.checked_sub(self.highest).filter(|&ahead| ahead > 0) {
            self.used = self.used.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = nc;
            self.transaction = transaction;
            return Use::First;
        }
        if nc == self.highest && transaction == self.transaction {
            return Use::Again;
        }
        let behind = self.highest - nc;
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        if behind >= WIDTH || self.used & bit != 0 {
            return Use::Replayed;
        }
        self.used |= bit;
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn nonce(key: u64, time_s: u32) -> Nonce {
        Nonce {
            worker: WorkerId(0),
            key: key.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            time_s,
        }
    }

    #[test]
    fn counts_may_overtake_each_other_and_come_once() {
        let mut windows = Windows::new(4);
        let nonce = nonce(1, 10);
        for (transaction, (nc, expected)) in (0..).zip([
            (1, Use::First),
            (1, Use::Replayed),
            (3, Use::First),
            (2, Use::First),
            (2, Use::Replayed),
            (200, Use::First),
            (136, Use::Replayed),
            (137, Use::First),
            (u32::MAX, Use::First),
            (0, Use::Replayed),
        ]) {
            assert_eq!(windows.note(&nonce, nc, transaction), expected, "{nc}");
        }
    }

    #[test]
    fn a_repetition_is_neither_new_nor_a_replay() {
        let mut windows = Windows::new(4);
        let nonce = nonce(1, 10);
        for (nc, transaction, expected) in [
            (1, 7, Use::First),
            (1, 7, Use::Again),
            (1, 8, Use::Replayed),
            (2, 8, Use::First),
            (2, 8, Use::Again),
            (1, 7, Use::Replayed),
        ] {
            assert_eq!(windows.note(&nonce, nc, transaction), expected);
        }
    }

    #[test]
    fn a_window_that_gave_way_lets_no_replay_through() {
        let mut windows = Windows::new(2);
        assert_eq!(windows.note(&nonce(1, 10), 1, 10), Use::First);
        assert_eq!(windows.note(&nonce(2, 20), 1, 20), Use::First);
        assert_eq!(windows.note(&nonce(3, 30), 1, 30), Use::First);
        assert_eq!(windows.note(&nonce(1, 10), 1, 0), Use::Forgotten);
        assert_eq!(windows.note(&nonce(4, 9), 1, 9), Use::Forgotten);
        assert_eq!(windows.note(&nonce(2, 20), 1, 0), Use::Replayed);
        assert_eq!(windows.note(&nonce(5, 11), 1, 11), Use::First);
    }

    proptest! {
        #[test]
        fn no_count_is_accepted_twice(
            uses in prop::collection::vec((0_u64..6, 0_u32..200), 0..400),
        ) {
            let mut windows = Windows::new(3);
            let mut accepted = HashSet::new();
            for (transaction, (key, nc)) in (0..).zip(uses) {
                let time_s = u32::try_from(key).unwrap();
                if windows.note(&nonce(key, time_s), nc, transaction) == Use::First {
                    prop_assert!(accepted.insert((key, nc)), "{key} {nc}");
                }
            }
        }
    }
}
