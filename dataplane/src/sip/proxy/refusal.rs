//! The memory of refused requests: who was told what.
//!
//! A refused request left no transaction. Its retransmissions must get the same answer
//! even when there is room again, and its ACK and CANCEL must find their end here.

use crate::limits::REFUSALS;
use crate::sip::recent::Recent;
use crate::tick::Tick;

/// Refused transactions, by the key of their server transaction: the status that each was answered.
#[derive(Debug)]
pub(super) struct Refusals(Recent<u16>);

impl Default for Refusals {
    fn default() -> Self {
        Refusals(Recent::new(REFUSALS))
    }
}

impl Refusals {
    /// Bytes of it.
    pub const LEN: usize = REFUSALS * Recent::<u16>::CELL_LEN;

    /// Remembers `key` for 64·T1.
    pub fn remember(&mut self, key: u64, status: u16, now: Tick) {
        self.0.remember(key, status, now);
    }

    /// The status that `key` was refused with within 64·T1.
    pub fn status_of(&self, key: u64, now: Tick) -> Option<u16> {
        self.0.get(key, now)
    }
}
