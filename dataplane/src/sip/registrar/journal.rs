//! Changes of bindings that control is yet to be told, so that they outlive the box.
//!
//! ```text
//!   bound ───► the slots, each once ─┐  as they are by then
//!   removed ─► letters ──────────────┴─► the ring to control
//! ```
//!
//! A ring that is full holds nobody up and loses nothing: what has changed is told as it is when there is
//! room, and once, however often it has changed. A removed binding is not there any more, so a letter of
//! it is kept. Those go first: what is bound anew in its place is told after it.

use std::collections::VecDeque;

use super::Record;
use super::Registrar;
use super::letter::LETTER_LEN_MAX;
use crate::letters::LetterReceiver;
use crate::letters::LetterSender;
use crate::letters::Told;
use crate::letters::letters;
use crate::limits::REMOVALS_UNTOLD;
use crate::limits::REMOVALS_UNTOLD_BYTES;
use crate::sip::slab::Id;

/// Which changes are yet to be told.
#[derive(Debug)]
pub struct Journal {
    /// Slots of bindings, those first that have waited longest.
    changed: VecDeque<u32>,
    /// By slot: it is among these.
    is_waiting: Box<[bool]>,
    removed_in: LetterSender,
    removed: LetterReceiver,
}

impl Journal {
    /// Bytes for each binding.
    pub const BINDING_LEN: usize = size_of::<u32>() + size_of::<bool>();

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
            changed: touched(bindings),
            is_waiting: vec![false; bindings].into_boxed_slice(),
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

/// Room for so many slots, touched as all memory is at the start.
fn touched(slots: usize) -> VecDeque<u32> {
    let mut room = VecDeque::from(vec![u32::MAX; slots]);
    room.clear();
    room
}
