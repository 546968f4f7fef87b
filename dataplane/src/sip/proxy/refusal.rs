//! The memory of refused requests: who was told what.
//!
//! A refused request left no transaction. Its retransmissions must get the same answer
//! even when there is room again, and its ACK and CANCEL must find their end here.

use crate::limits::REFUSALS;
use crate::sip::recent::Recent;
use crate::tick::Tick;

/// Status and reason phrase of a refusal; `None`: what the status is called.
pub(super) type Refused = (u16, Option<&'static str>);

/// Refused transactions, by the key of their server transaction: what each was told.
#[derive(Debug)]
pub(super) struct Refusals(Recent<Refused>);

impl Default for Refusals {
    fn default() -> Self {
        Refusals(Recent::new(REFUSALS))
    }
}

impl Refusals {
    /// Bytes of it.
    pub const LEN: usize = REFUSALS * Recent::<Refused>::CELL_LEN;

    /// Remembers `key` for 64·T1.
    pub fn remember(&mut self, key: u64, status: u16, now: Tick) {
        self.remember_as(key, (status, None), now);
    }

    /// The same with a reason phrase of its own.
    pub fn remember_as(&mut self, key: u64, refused: Refused, now: Tick) {
        self.0.remember(key, refused, now);
    }

    /// What `key` was refused with within 64·T1.
    pub fn answer_of(&self, key: u64, now: Tick) -> Option<Refused> {
        self.0.get(key, now)
    }

    /// The status of that.
    pub fn status_of(&self, key: u64, now: Tick) -> Option<u16> {
        self.answer_of(key, now).map(|(status, _)| status)
    }
}
