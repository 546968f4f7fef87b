//! Contacts of users that a location store keeps as well: what it gives back, and when it is asked.
//!
//! ```text
//!   a user whose contacts may be elsewhere ─► Seek ─► those it has, restored ─► Sought: who waits goes on
//!   at a start, and after a gap: Loading ─► all bindings, restored ─► Loaded: what it has lost is told again
//! ```
//!
//! Until all has been given back a worker knows of nobody that it has all contacts. A store that other boxes
//! write to is asked after that too for who has none here: what they have written may be on its way.

use super::Proxy;
use super::Step;
use super::found::FOUND_LEN_MAX;
use super::parked::Wait;
use super::resumed::Answer;
use crate::counters::Counter;
use crate::counters::Counters;
use crate::ids::DomainIndex;
use crate::ids::WorkerId;
use crate::letters::LetterSender;
use crate::settings::Domain;
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

    /// Whether the location store may have contacts of an address of record that are not here, of which some
    /// are known or none.
    #[must_use]
    pub fn may_be_stored(&self, aor: u64, is_known: bool, now: Tick) -> bool {
        let may_have = match self.location {
            Location::Nowhere => false,
            Location::Own => !self.is_loaded,
            Location::Shared => !self.is_loaded || !is_known,
        };
        may_have && self.asked.get(aor, now).is_none()
    }

    /// Whether a REGISTER waits until it is known what the store has of its user: it may remove what has not
    /// come back yet, and is to be told of all contacts. Where too many wait it goes on.
    pub(super) fn waits_for_load(&self, aor: u64, now: Tick) -> bool {
        !self.is_loaded
            && self.may_be_stored(aor, true, now)
            && !self.tickets.is_full()
            && !self.is_crowded()
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
                self.journal.kept(id.slot);
                step.counters.count(Counter::BindingsRestored);
                match self.location {
                    Location::Shared => {
                        let timer = self.first_binding_timer() + id.slot;
                        self.wheel.arm(timer, record.expires);
                    }
                    Location::Own | Location::Nowhere => self.arm_binding(id.slot, step.now),
                }
                self.vouch(record.received.ip(), record.expires, step);
                self.note_live(record.received, record.expires, step);
            }
            None => match self.registrar.slot_of(record) {
                Some(slot) => self.journal.kept(slot),
                None if self.registrar.is_full() => {
                    step.counters.count(Counter::BindingsUnrestored);
                }
                // It has ended, or the device has been faster.
                None => {}
            },
        }
    }

    /// A binding was removed at another box.
    pub fn withdraw(&mut self, by: &Record<'_>, counters: &mut Counters) {
        let (first, wheel) = (self.first_binding_timer(), &mut self.wheel);
        self.registrar.withdraw(by, |slot| {
            counters.count(Counter::BindingsWithdrawn);
            wheel.disarm(first + slot);
        });
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

    /// The store tells all that it has from here on.
    pub fn loading(&mut self, now: Tick) {
        if self.location == Location::Shared {
            self.journal.begin(now);
        }
    }

    /// The store has told all that it has.
    pub fn loaded(&mut self) {
        self.is_loaded = true;
        self.journal.end();
    }

    /// Has bindings told again that the store had not, or older: it was emptied, or set back. A few at a time;
    /// false where all have been looked at. What other boxes have registered is told too: they may be gone.
    pub fn seek_lost(&mut self) -> bool {
        let domains = &self.domains;
        let is_told = |record: &Record<'_>| is_told(domains, Location::Shared, record);
        self.journal.seek_lost(&mut self.registrar, is_told)
    }

    /// The store has told all contacts of an address of record, or gives no answer; writes those that are
    /// known, see [`super::found`].
    pub fn sought(
        &mut self,
        aor: u64,
        answered: bool,
        now: Tick,
        room: &mut [u8; FOUND_LEN_MAX],
    ) -> usize {
        let len = self.contacts_of(aor, now, room);
        // A store without an answer is not to hold up each call to who is known.
        let is_settled = answered || len > 0;
        if is_settled && self.may_be_stored(aor, len > 0, now) {
            self.asked.remember(aor, (), now);
        }
        len
    }

    /// A user cannot be located now. Who waits for that goes on by [`Proxy::resume`].
    pub fn unlocated(&mut self, ticket: Id) {
        // Else its deadline answers it.
        let _ = self.note_answer(Answer::Unlocated(ticket));
    }
}

/// Whether the location store is told of a binding. A registrar elsewhere has a path by this box: another one is
/// not to spare it the REGISTER that moves the path there.
pub(super) fn is_told(domains: &[Domain], location: Location, record: &Record<'_>) -> bool {
    location != Location::Shared || domains[usize::from(record.domain.0)].upstream.is_none()
}
