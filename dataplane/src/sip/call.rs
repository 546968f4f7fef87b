//! Calls: just enough of a dialog to count it, to anchor its media and to free that.

use std::net::SocketAddr;

use super::anchor::Anchor;
use super::identity::Sides;
use super::report::CallReport;
use super::report::CallState;
use super::report::LegReport;
use super::report::ShortText;
use super::slab::Id;
use crate::ids::TrunkIndex;
use crate::ids::WorkerId;
use crate::limits::STREAMS_MAX;
use crate::tick::Tick;

/// Which party of a call: the one that sent the first INVITE, or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The one that sent the first INVITE.
    Caller = 0,
    /// The other.
    Callee = 1,
}

impl Party {
    /// The other party.
    #[must_use]
    pub const fn other(self) -> Party {
        match self {
            Party::Caller => Party::Callee,
            Party::Callee => Party::Caller,
        }
    }
}

/// Dialogs that one branch of an INVITE may have at once: more than one where somebody beyond
/// the box forks it, and several answer provisionally (RFC 3261 §12.1). Those above are routed
/// by their cookie like any other, but are no part of the call.
pub const EARLY_DIALOGS_MAX: usize = 4;

/// The dialogs of a call, as keys of the index: the early ones, then the one that was
/// confirmed. 0: none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dialogs([u64; EARLY_DIALOGS_MAX]);

impl Dialogs {
    /// True for one of these.
    #[must_use]
    pub fn contains(&self, key: u64) -> bool {
        self.0.contains(&key)
    }

    /// Adds one; false where there is no room.
    #[must_use]
    pub fn add(&mut self, key: u64) -> bool {
        let free = self.0.iter_mut().find(|place| **place == 0);
        free.map(|place| *place = key).is_some()
    }

    /// How many there are besides one, which each call has room for.
    #[must_use]
    pub fn extra_count(&self) -> u32 {
        let count = self.0.iter().filter(|&&key| key != 0).count();
        u32::try_from(count.saturating_sub(1)).unwrap_or(0)
    }

    /// All of them.
    pub fn keys(&self) -> impl Iterator<Item = u64> + use<> {
        self.0.into_iter().filter(|&key| key != 0)
    }
}

/// Whose request a transaction carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The call.
    pub call: Id,
    /// Which of its parties.
    pub party: Party,
}

/// A call: one branch of an INVITE, and what it leads to. Where the box forks an INVITE each
/// branch is a call of its own, with its own relay ports; one of them may be answered.
#[derive(Debug)]
pub struct Call {
    /// Under which it is indexed.
    pub dialogs: Dialogs,
    /// How far it has come.
    pub state: CallState,
    /// The client transaction of its first INVITE.
    pub invite: Id,
    /// The listens of its two sides.
    pub sides: Sides,
    /// The trunks of caller and callee; the callee's is not known after a restart.
    pub trunks: [Option<TrunkIndex>; 2],
    /// Where the parties' messages came from last: the next hop where a Contact is a name.
    pub parties: [Option<SocketAddr>; 2],
    /// Its media.
    pub anchor: Anchor,
    /// When its INVITE came.
    pub started: Tick,
    /// When it was answered.
    pub answered: Option<Tick>,
    /// When its timer is to fire.
    pub due: Tick,
    /// The Call-ID, for the operator.
    pub call_id: ShortText<128>,
    /// From's URI, for the operator.
    pub from: ShortText<96>,
    /// To's URI, for the operator.
    pub to: ShortText<96>,
}

impl Call {
    /// What the operator sees of it, with the `legs` of its media.
    #[must_use]
    pub fn report(
        &self,
        worker: WorkerId,
        legs: [Option<[LegReport; 2]>; STREAMS_MAX],
    ) -> CallReport {
        CallReport {
            call_id: self.call_id,
            from: self.from,
            to: self.to,
            state: self.state,
            started: self.started,
            answered: self.answered,
            worker,
            caller: self.trunks[Party::Caller as usize],
            callee: self.trunks[Party::Callee as usize],
            legs,
        }
    }
}
