//! REGISTER (RFC 3261 §10): answered from memory, on the worker that keeps the contacts of its address
//! of record.
//!
//! None has a transaction but one that has waited. A repetition finds its binding as it has made
//! it, changes nothing, and is answered the same.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::stored::is_told;
use crate::counters::Counter;
use crate::counters::trunks::TrunkCounter;
use crate::ids::DomainIndex;
use crate::settings::Location;
use crate::sip::denials::Why;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::registrar::Change;
use crate::sip::registrar::Happened;
use crate::sip::registrar::Record;
use crate::sip::registrar::Refusal;
use crate::sip::registrar::Register;
use crate::sip::registrar::Registrar;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::uri::Uri;
use crate::text::Text;
use crate::tick::Tick;

impl Proxy {
    /// The address of record that a REGISTER is for, and its domain, where its contacts are kept here, by
    /// ourselves or for a registrar elsewhere. `None` for an address that nobody can have.
    pub(super) fn registers(
        &self,
        message: &Message<'_>,
    ) -> Option<(DomainIndex, Option<AddressOfRecord>)> {
        let (domain, uri) = self.registrar_of(message)?;
        let aor = AddressOfRecord::of(message.bytes(), &uri, self.identity.hash());
        Some((domain, aor))
    }

    /// The domain that a REGISTER is for, where its contacts are kept here, and its To.
    pub(super) fn registrar_of(&self, message: &Message<'_>) -> Option<(DomainIndex, Uri)> {
        if message.method() != Method::Register {
            return None;
        }
        let uri = Uri::read(message.bytes(), message.to().uri).ok()?;
        let domain = self.dial.domain_named(message.text(uri.host_text))?;
        let rules = &self.domains[usize::from(domain.0)];
        let keeps = rules.registrar || rules.upstream.is_some();
        keeps.then_some((domain, uri))
    }

    /// Does what a REGISTER asks for, of whose sender it is known who it is: now, or when it is known what
    /// the location store has of its user.
    pub(super) fn register(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (domain, aor): (DomainIndex, AddressOfRecord),
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        if self.waits_for_load(aor.key, step.now) {
            let trunk = self.domains[usize::from(domain.0)].trunk;
            let wait = self.contacts_wait(domain, &aor);
            return self.park(message, arrival, key, (trunk, Some(domain)), wait, step);
        }
        self.register_now(message, arrival, key, (domain, aor), step)
    }

    /// Does what a REGISTER asks for.
    pub(super) fn register_now(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (domain, aor): (DomainIndex, AddressOfRecord),
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        let request = Register {
            message,
            aor: &aor,
            domain,
            received: arrival.source,
            listen: arrival.listen,
            transaction: key,
        };
        let registered = self.with_changes(step, |registrar, now, tell| {
            registrar.register(&request, now, tell)
        });
        let mut room = std::mem::take(&mut self.scratch);
        let mut text = Text::new(&mut room);
        let (status, reason) = match registered {
            Ok(registered) => {
                self.count_of(domain, TrunkCounter::Registered);
                self.registrar
                    .answer(&request, registered, step.now, &mut text);
                (200, None)
            }
            Err(refusal) => {
                step.counters.count(Counter::RegistrationsRefused);
                self.count_of(domain, TrunkCounter::RegistrationsRefused);
                self.note_denial(message, arrival.source, Why::Register(refusal), step.now);
                if matches!(refusal.status(), 403 | 503) {
                    // Its repetition could else be done, when there is room.
                    let refused = (refusal.status(), refusal.reason());
                    self.refusals.remember_as(key, refused, step.now);
                }
                refusal.write(message, &mut text);
                (refusal.status(), refusal.reason())
            }
        };
        let len = text.finish();
        let outcome = match len {
            Ok(len) => self.answer_as(message, arrival, (status, reason), &room[..len], step),
            Err(_) => Counter::SipTooLong,
        };
        self.scratch = room;
        if matches!(registered, Err(Refusal::Full)) {
            step.counters.count(Counter::BindingsRefused);
        }
        Ok(outcome)
    }

    /// Has the registrar change bindings. Each change sets a timer, is counted, and is to be told to who keeps
    /// bindings as well; who is bound is vouched for, and may keep its NAT open.
    pub(super) fn with_changes<R>(
        &mut self,
        step: &mut Step<'_>,
        change: impl FnOnce(&mut Registrar, Tick, &mut dyn FnMut(Change<'_>)) -> R,
    ) -> R {
        let (first, pace) = (self.first_binding_timer(), self.registrar.pace());
        let (wheel, journal) = (&mut self.wheel, &mut self.journal);
        let (domains, location) = (&self.domains, self.location);
        // What another box has written may be on its way here.
        let may_have_others = !self.is_loaded || location == Location::Shared;
        let is_told = |record: &Record<'_>| is_told(domains, location, record);
        let counters = &mut *step.counters;
        let mut bound = None;
        let changed = change(&mut self.registrar, step.now, &mut |change| {
            let Change {
                happened,
                id,
                record,
            } = change;
            let Some(id) = id else {
                if may_have_others && is_told(&record) && !journal.removed(&record) {
                    counters.count(Counter::BindingsUntold);
                }
                return;
            };
            counters.count(counter_of(happened));
            match happened {
                Happened::Added | Happened::Refreshed | Happened::Moved => {
                    let before = bound.map_or(Tick(0), |(_, until)| until);
                    bound = Some((record.received, record.expires.max(before)));
                    wheel.arm(first + id.slot, pace.next(id.slot, &record, step.now));
                    if is_told(&record) {
                        journal.bound(id);
                    }
                }
                Happened::Removed => {
                    wheel.disarm(first + id.slot);
                    if is_told(&record) && !journal.removed(&record) {
                        counters.count(Counter::BindingsUntold);
                    }
                }
                // Who keeps it elsewhere knows its time.
                Happened::Expired => wheel.disarm(first + id.slot),
            }
        });
        if let Some((source, until)) = bound {
            self.vouch(source.ip(), until, step);
            self.note_live(source, until, step);
        }
        changed
    }

    /// The first of the timers of bindings.
    pub(super) fn first_binding_timer(&self) -> u32 {
        self.clients.capacity()
            + self.servers.capacity()
            + self.calls.capacity()
            + self.tickets.capacity()
    }
}

pub(super) const fn counter_of(happened: Happened) -> Counter {
    match happened {
        Happened::Added => Counter::BindingsAdded,
        Happened::Refreshed => Counter::BindingsRefreshed,
        Happened::Moved => Counter::BindingsMoved,
        Happened::Removed => Counter::BindingsRemoved,
        Happened::Expired => Counter::BindingsExpired,
    }
}
