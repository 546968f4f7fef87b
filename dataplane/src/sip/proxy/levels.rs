//! What the operator sees: levels, counts, calls.

use super::Proxy;
use super::media;
use crate::counters::Counter;
use crate::counters::Counters;
use crate::counters::trunks::TrunkCounter;
use crate::counters::trunks::TrunkCounters;
use crate::ids::DomainIndex;
use crate::limits::DIALOG_LEN_MAX;
use crate::media::CallRef;
use crate::sip::dialog::Record;
use crate::sip::registrar::Record as Bound;
use crate::sip::report::CallReport;
use crate::tick::Tick;

impl Proxy {
    /// Copies the levels of tables into `counters`.
    pub fn gauge(&self, counters: &mut Counters) {
        counters.set(
            Counter::TransactionsNow,
            (self.servers.count() + self.clients.count()) as u64,
        );
        counters.set(Counter::CallsNow, self.calls.count() as u64);
        counters.set(Counter::ContextsNow, self.contexts.count() as u64);
        counters.set(Counter::TicketsNow, self.tickets.count() as u64);
        counters.set(Counter::BindingsNow, self.registrar.count() as u64);
        counters.set(Counter::BansNow, self.guard.count());
        counters.set(Counter::PlacesNow, self.places.sum());
        counters.set(Counter::BindingsToTell, self.bindings_to_tell() as u64);
        let kept = self.kept.occupancy();
        counters.set(Counter::KeptNow, kept.message_count.into());
        counters.set(Counter::KeptBytesNow, kept.bytes());
    }

    /// What was counted of each trunk.
    #[must_use]
    pub fn trunk_counters(&self) -> &TrunkCounters {
        &self.trunks
    }

    /// The same, to be published.
    pub fn trunk_counters_mut(&mut self) -> &mut TrunkCounters {
        for (domain, rules) in (0..).map(DomainIndex).zip(&self.domains) {
            let contacts = self.registrar.count_of(domain).into();
            self.trunks
                .set(rules.trunk, TrunkCounter::ContactsNow, contacts);
        }
        &mut self.trunks
    }

    /// The call in `slot`, if there is one.
    #[must_use]
    pub fn call_report(&self, slot: u32) -> Option<CallReport> {
        let call = self.calls.get(self.calls.tenant(slot)?)?;
        let mut room = [0; DIALOG_LEN_MAX];
        let text = call.text.as_ref();
        let text = text.map_or(&[][..], |text| self.texts.read(text, &mut room));
        let record = Record::read(text).unwrap_or_default();
        Some(call.report(&record, self.worker, self.legs(call)))
    }

    /// The call in `slot` and how its flows name it, if there is one.
    #[must_use]
    pub fn call_in(&self, slot: u32) -> Option<(CallRef, CallReport)> {
        let id = self.calls.tenant(slot)?;
        Some((media::call_ref(self.worker, id), self.call_report(slot)?))
    }

    /// How many slots there are for calls.
    #[must_use]
    pub fn call_slots(&self) -> usize {
        self.calls.capacity() as usize
    }

    /// The binding in `slot`, if there is one.
    pub fn binding_in(&mut self, slot: u32) -> Option<Bound<'_>> {
        self.registrar.tenant(slot)
    }

    /// How many slots there are for bindings.
    #[must_use]
    pub fn binding_slots(&self) -> usize {
        self.registrar.capacity() as usize
    }

    /// Pairs of media ports that calls hold now.
    #[must_use]
    pub fn ports_in_use(&self) -> usize {
        self.ports
            .iter()
            .map(|ports| ports.counts(Tick(0)).in_use)
            .sum()
    }
}
