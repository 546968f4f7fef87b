//! Calls: just enough of a dialog to count it, to anchor its media and to free that.

use super::anchor::Anchor;
use super::dialog::Record;
use super::endpoint::Endpoint;
use super::identity::Sides;
use super::index::Index;
use super::report::CallReport;
use super::report::CallState;
use super::report::LegReport;
use super::report::ShortText;
use super::slab::Id;
use super::slab::Slab;
use super::texts::BLOCK_TEXT_LEN;
use super::texts::Chain;
use super::texts::TextStore;
use crate::ids::ListenIndex;
use crate::ids::TrunkIndex;
use crate::ids::WorkerId;
use crate::limits::CALL_MS_MAX;
use crate::limits::DIALOG_BLOCKS_PER_CALL;
use crate::limits::STREAMS_MAX;
use crate::tick::Tick;
use crate::timer::Wheel;

/// Which party of a call: the one that sent the first INVITE, or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The one that sent the first INVITE.
    Caller = 0,
    /// The other.
    Callee = 1,
}

impl Party {
    /// The listen on its side.
    #[must_use]
    pub const fn listen(self, sides: Sides) -> ListenIndex {
        match self {
            Party::Caller => sides.caller,
            Party::Callee => sides.callee,
        }
    }

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

    /// True for the mark of one of these.
    #[must_use]
    pub fn are_of(&self, mark: DialogMark) -> bool {
        self.keys().any(|key| DialogMark::of(key) == mark)
    }

    /// Adds one; false where there is no room.
    #[must_use]
    pub fn add(&mut self, key: u64) -> bool {
        let free = self.0.iter_mut().find(|place| **place == 0);
        free.map(|place| *place = key).is_some()
    }

    /// Takes one out.
    pub fn remove(&mut self, key: u64) {
        let found = self.0.iter_mut().filter(|place| **place == key);
        found.for_each(|place| *place = 0);
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

/// The lower half of a dialog's key: which of a call's few dialogs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogMark(u32);

impl DialogMark {
    /// The mark of the dialog with this key.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // It is half of a hash.
    pub const fn of(key: u64) -> DialogMark {
        DialogMark(key as u32)
    }
}

/// Whose request a transaction carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The call.
    pub call: Id,
    /// Which of its parties.
    pub party: Party,
    /// In which dialog; that of a first INVITE is none yet.
    pub dialog: DialogMark,
}

impl Sender {
    /// The caller, with the first INVITE of a call.
    #[must_use]
    pub const fn of_first(call: Id) -> Sender {
        Sender {
            call,
            party: Party::Caller,
            dialog: DialogMark::of(0),
        }
    }
}

/// A call: one branch of an INVITE, and what it leads to. Where the box forks an INVITE each
/// branch is a call of its own, with its own relay ports; one of them may be answered.
#[derive(Debug)]
pub struct Call {
    /// Under which it is indexed.
    pub dialogs: Dialogs,
    /// How far it has come.
    pub state: CallState,
    /// True where it was taken up in the middle of its dialog.
    pub is_adopted: bool,
    /// The client transaction of its first INVITE, or of the request that took it up.
    pub invite: Id,
    /// The listens of its two sides.
    pub sides: Sides,
    /// The trunks of caller and callee; the callee's is not known after a restart.
    pub trunks: [Option<TrunkIndex>; 2],
    /// Where the parties' messages came from last: the next hop where a Contact is a name.
    pub parties: [Option<Endpoint>; 2],
    /// Its media.
    pub anchor: Anchor,
    /// When its INVITE came.
    pub started: Tick,
    /// When it was answered; `Tick::NEVER` before.
    pub answered: Tick,
    /// When its session expires, if that is not refreshed (RFC 4028 §8.2).
    pub expires: Tick,
    /// When its timer is to fire.
    pub due: Tick,
    /// The highest CSeq of each party; 0 where it has sent no request.
    pub cseqs: [u32; 2],
    /// What is kept of its dialog: a [`super::dialog::Record`].
    pub text: Option<Chain>,
    /// The place that it has among the calls of its subscriber, until it ends.
    pub place: Option<Id>,
}

impl Call {
    /// Bytes that a call costs, its media apart: the slot, the timer, its places in the index of
    /// dialogs, and its part of the store of texts.
    pub const LEN: usize = Slab::<Call>::SLOT_LEN
        + Wheel::TIMER_LEN
        + Index::KEY_LEN * 5 / 4
        + DIALOG_BLOCKS_PER_CALL as usize * TextStore::BLOCK_LEN;

    /// One that begins now between these listens, and of which nothing else is known.
    #[must_use]
    pub fn new(sides: Sides, now: Tick) -> Call {
        Call {
            dialogs: Dialogs::default(),
            state: CallState::Calling,
            is_adopted: false,
            // Set once the INVITE has its transaction.
            invite: Id::new(u32::MAX, 0),
            sides,
            trunks: [None; 2],
            parties: [None; 2],
            anchor: Anchor::default(),
            started: now,
            answered: Tick::NEVER,
            expires: Tick::NEVER,
            due: Tick::NEVER,
            cseqs: [0; 2],
            text: None,
            place: None,
        }
    }

    /// Sets when its timer is to fire, once it is established: when its session expires, or when it
    /// has lasted as long as any call may.
    pub fn note_due(&mut self) {
        if self.state == CallState::Established {
            self.due = self.expires.min(self.answered.plus_ms(CALL_MS_MAX));
        }
    }

    /// What the operator sees of it, with what is kept of its dialog and the `legs` of its media.
    #[must_use]
    pub fn report(
        &self,
        record: &Record<'_>,
        worker: WorkerId,
        legs: [Option<[LegReport; 2]>; STREAMS_MAX],
    ) -> CallReport {
        let [from, to] = record.uris;
        CallReport {
            call_id: ShortText::new(record.call_id),
            from: ShortText::new(from),
            to: ShortText::new(to),
            state: self.state,
            started: self.started,
            answered: Some(self.answered).filter(|&at| at != Tick::NEVER),
            worker,
            caller: self.trunks[Party::Caller as usize],
            callee: self.trunks[Party::Callee as usize],
            legs,
        }
    }
}

// An established call whose route sets have 300 bytes in all: 36 of Call-ID, 90 of URIs, 40 of
// tags, 100 of Contacts and 18 of lengths go with them.
const _: () =
    assert!(300 + 36 + 90 + 40 + 100 + 18 <= DIALOG_BLOCKS_PER_CALL as usize * BLOCK_TEXT_LEN);
const _: () = assert!(Call::LEN <= 1024);
