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

/// A call.
#[derive(Debug)]
pub struct Call {
    /// Under which it is indexed: Call-ID, the caller's tag, and the listens of the two sides.
    pub key: u64,
    /// How far it has come.
    pub state: CallState,
    /// The server transaction of its first INVITE.
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
