//! Contacts of users that a location store keeps as well: what it gives back, and when it is asked.
//!
//! ```text
//!   at a start: its bindings ─► restored, all of them, and meanwhile
//!   a user without contacts  ─► Seek ─► those it has, restored ─► Sought: who waits goes on
//! ```
//!
//! Until all has been given back a worker cannot say that somebody is not there. A store that other boxes
//! write to is asked after that too: what they have written may be on its way.

use super::Proxy;
use super::Step;
use super::found::FOUND_LEN_MAX;
use super::parked::Answer;
use super::parked::Wait;
use crate::counters::Counter;
use crate::counters::Counters;
use crate::ids::DomainIndex;
use crate::ids::WorkerId;
use crate::letters::LetterSender;
use crate::settings::Location;
use crate::sip::registrar::Record;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::slab::Id;
use crate::sip::subscriber::Subscriber;
use crate::tick::Tick;

impl Proxy {
    /// Which worker this is.
    #[must_use]
    pub const fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Whether the location store may have contacts of an address of record of which there are none here.
    #[must_use]
    pub fn may_be_stored(&self, aor: u64, now: Tick) -> bool {
        let may_have = match self.location {
            Location::Nowhere => false,
            Location::Own => !self.is_loaded,
            Location::Shared => true,
        };
        may_have && self.absent.get(aor, now).is_none()
    }

    /// Whether a REGISTER waits until it is known what the store has of its user: it may remove what has not
    /// come back yet, and is to be told of all contacts. Where too many wait it goes on.
    pub(super) fn waits_for_load(&self, aor: u64, now: Tick) -> bool {
        !self.is_loaded
            && self.registrar.is_unknown(aor)
            && self.may_be_stored(aor, now)
            && !self.tickets.is_full()
    }

    /// To wait for what the store has of a user whose contacts this worker keeps.
    pub(super) fn contacts_wait(&self, domain: DomainIndex, aor: &AddressOfRecord) -> Wait {
        let user = aor.user;
        Wait::Contacts {
            keeper: aor.owner(self.workers),
            aor: aor.key,
            who: Subscriber { domain, user },
        }
    }

    /// The store has a binding. Of several boxes the one at which it was made keeps its NAT open.
    pub fn restore(&mut self, record: &Record<'_>, step: &mut Step<'_>) {
        match self.registrar.restore(record, step.now) {
            Some(id) => {
                step.counters.count(Counter::BindingsRestored);
                match self.location {
                    Location::Shared => {
                        let timer = self.first_binding_timer() + id.slot;
                        self.wheel.arm(timer, record.expires);
                    }
                    Location::Own | Location::Nowhere => self.arm_binding(id.slot, step.now),
                }
                self.note_live(record.received, record.expires, step);
            }
            None if self.registrar.is_full() => step.counters.count(Counter::BindingsUnrestored),
            // It has ended, or the device has been faster.
            None => {}
        }
    }

    /// A binding was removed at another box.
    pub fn withdraw(&mut self, by: &Record<'_>, counters: &mut Counters) {
        if let Some(slot) = self.registrar.withdraw(by) {
            counters.count(Counter::BindingsWithdrawn);
            self.wheel.disarm(self.first_binding_timer() + slot);
        }
    }

    /// How many changes of bindings control is yet to be told.
    #[must_use]
    pub fn bindings_to_tell(&self) -> usize {
        self.journal.waiting()
    }

    /// Tells control the next change of a binding; false where there is none, or no room.
    pub fn tell_binding(&mut self, letters: &mut LetterSender) -> bool {
        self.journal.tell(&mut self.registrar, letters)
    }

    /// The store has told all that it had at the start.
    pub fn loaded(&mut self) {
        self.is_loaded = true;
    }

    /// The store has told all contacts of an address of record; writes them, see [`super::found`].
    pub fn sought(&mut self, aor: u64, now: Tick, room: &mut [u8; FOUND_LEN_MAX]) -> usize {
        let len = self.contacts_of(aor, now, room);
        if len == 0 {
            self.absent.remember(aor, (), now);
        }
        len
    }

    /// A user cannot be located now. Who waits for that goes on by [`Proxy::resume`].
    pub fn unlocated(&mut self, ticket: Id) {
        // Else its deadline answers it.
        let _ = self.note_answer(Answer::Unlocated(ticket));
    }
}
