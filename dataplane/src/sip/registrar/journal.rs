//! Changes of bindings that control is yet to be told, so that they outlive the box.
//!
//! ```text
//!   bound ───► the slots, each once ─┐  as they are by then
//!   removed ─► letters ──────────────┴─► the ring to control
//! ```
//!
//! A store that has told all that it has may have lost some: those slots that it has not named since it began are
//! told again, a few a turn.
//!
//! A ring that is full holds nobody up and loses nothing: what has changed is told as it is when there is
//! room, and once, however often it has changed. A removed binding is not there any more, so a letter of
//! it is kept. Those go first: what is bound anew in its place is told after it.

use std::collections::VecDeque;
use std::ops::Range;

use super::Record;
use super::Registrar;
use super::letter::LETTER_LEN_MAX;
use crate::letters::LetterReceiver;
use crate::letters::LetterSender;
use crate::letters::Told;
use crate::letters::letters;
use crate::limits::LOST_PER_TURN;
use crate::limits::REMOVALS_UNTOLD;
use crate::limits::REMOVALS_UNTOLD_BYTES;
use crate::sip::slab::Id;
use crate::sys::memory::queue;
use crate::sys::memory::table;
use crate::tick::Tick;

/// Which changes are yet to be told.
#[derive(Debug)]
pub struct Journal {
    /// Slots of bindings, those first that have waited longest.
    changed: VecDeque<u32>,
    /// By slot: it is among these.
    is_waiting: Box<[bool]>,
    /// By slot: the pass over the store in which it last had the binding as it is here.
    kept: Box<[u8]>,
    /// Which pass it is, and when it began; `None` before the first.
    pass: u8,
    begun: Option<Tick>,
    /// The slots that are yet to be looked at for what that pass has not found.
    unseen: Range<usize>,
    removed_in: LetterSender,
    removed: LetterReceiver,
}

impl Journal {
    /// Bytes for each binding.
    pub const BINDING_LEN: usize = size_of::<u32>() + size_of::<bool>() + size_of::<u8>();

    /// For so many bindings. Where nothing keeps them, `None`, nothing is told.
    #[must_use]
    pub fn new(bindings: Option<u32>) -> Journal {
        let (room, bytes) = match bindings {
            Some(_) => (REMOVALS_UNTOLD, REMOVALS_UNTOLD_BYTES),
            None => (0, 0),
        };
        let (removed_in, removed) = letters(room, bytes);
        let bindings = bindings.unwrap_or(0) as usize;
        Journal {
            changed: queue(bindings),
            is_waiting: table((0..bindings).map(|_| false)),
            kept: table((0..bindings).map(|_| 0)),
            pass: 0,
            begun: None,
            unseen: 0..0,
            removed_in,
            removed,
        }
    }

    /// True where nothing is to be told of anything.
    const fn is_off(&self) -> bool {
        self.is_waiting.is_empty()
    }

    /// A binding was made or refreshed.
    pub fn bound(&mut self, id: Id) {
        if let Some(is_waiting) = self.is_waiting.get_mut(id.slot as usize)
            && !std::mem::replace(is_waiting, true)
        {
            self.changed.push_back(id.slot);
        }
    }

    /// A binding was removed; false where that cannot be told, since so many wait.
    #[must_use]
    pub fn removed(&mut self, record: &Record<'_>) -> bool {
        // Its key is all that is of interest, and that may be in its parameters.
        let record = Record {
            path: &[],
            ..*record
        };
        self.is_off() || self.removed_in.post(Told::Removed, &record)
    }

    /// The store tells all that it has, from its beginning.
    pub fn begin(&mut self, now: Tick) {
        // Of 256 passes ago nothing is left: what no pass has found since was told again.
        self.pass = self.pass.wrapping_add(1);
        self.begun = Some(now);
        self.unseen = 0..0;
    }

    /// It has the binding in a slot as it is here.
    pub fn kept(&mut self, slot: u32) {
        if let Some(kept) = self.kept.get_mut(slot as usize) {
            *kept = self.pass;
        }
    }

    /// It has told all; nothing where no pass was begun.
    pub fn end(&mut self) {
        if self.begun.is_some() {
            self.unseen = 0..self.kept.len();
        }
    }

    /// Looks for what the store has not named, in some slots; false where all were looked at. What was registered
    /// since it began is on its way there.
    pub fn seek_lost(
        &mut self,
        registrar: &mut Registrar,
        is_told: impl Fn(&Record<'_>) -> bool,
    ) -> bool {
        let some = self.unseen.start..self.unseen.end.min(self.unseen.start + LOST_PER_TURN);
        self.unseen.start = some.end;
        for slot in some.clone() {
            let slot_number = u32::try_from(slot).unwrap_or(u32::MAX);
            if self.kept[slot] != self.pass
                && !self.is_waiting[slot]
                && let Some(record) = registrar.tenant(slot_number)
                && self.begun.is_some_and(|begun| record.taken < begun)
                && is_told(&record)
            {
                self.is_waiting[slot] = true;
                self.changed.push_back(slot_number);
            }
        }
        !some.is_empty()
    }

    /// How many changes are to be told.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.changed.len() + self.removed.waiting()
    }

    /// Tells the next one; false where there is none, or no room.
    pub fn tell(&mut self, registrar: &mut Registrar, out: &mut LetterSender) -> bool {
        if let Some(len) = self.removed.next_len() {
            if !out.has_room(len) {
                return false;
            }
            let mut room = [0; LETTER_LEN_MAX];
            let removed = self.removed.take(&mut room);
            return removed.is_some_and(|(told, record)| out.post(told, &record));
        }
        while out.has_room_for_any()
            && let Some(slot) = self.changed.pop_front()
        {
            self.is_waiting[slot as usize] = false;
            // Its time may be over by now.
            if let Some(record) = registrar.tenant(slot) {
                return out.post(Told::Bound, &record);
            }
        }
        false
    }
}
