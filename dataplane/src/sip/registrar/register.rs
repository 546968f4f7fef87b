//! A REGISTER is applied: all of it, or nothing (RFC 3261 §10.3 step 6 and step 7).
//!
//! What each contact comes to is found out first, and new texts are put away; only when nothing can
//! fail any more is anything changed.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::EVERY;
use super::Registrar;
use super::aor::AddressOfRecord;
use super::binding::Binding;
use super::binding::Lens;
use super::binding::Record;
use super::bindings::Ids;
use super::contacts;
use super::contacts::Asked;
use super::contacts::Contact;
use super::contacts::Contacts;
use super::order::Last;
use super::order::Mark;
use super::order::Stop;
use super::place_of;
use super::plan::Act;
use super::plan::Plan;
use super::refusal::Refusal;
use super::require;
use crate::ids::DomainIndex;
use crate::ids::ListenIndex;
use crate::limits::CONTACT_LEN_MAX;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::slab::Id;
use crate::sip::texts::Chain;
use crate::text::Text;
use crate::tick::Tick;

/// A REGISTER whose sender may register this address of record (RFC 3261 §10.3 step 1, and from step 3 to 5).
#[derive(Clone, Copy, Debug)]
pub struct Register<'r, 'm> {
    /// The request.
    pub message: &'r Message<'m>,
    /// The address of record that its To names.
    pub aor: &'r AddressOfRecord,
    /// The domain of that.
    pub domain: DomainIndex,
    /// Where it came from.
    pub received: SocketAddr,
    /// Where it came to.
    pub listen: ListenIndex,
    /// Stands for its transaction: its repetitions have the same, and no other request has.
    pub transaction: u64,
}

/// What the answer to a REGISTER that was done says beside the bindings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// RFC 5626 §6: the contact is reached by its flow.
    pub requires_outbound: bool,
}

/// What has happened to a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It is new.
    Added,
    /// It lasts longer, and is else as it was.
    Refreshed,
    /// It lasts longer, and is reached another way: by other parameters, another path or address, or,
    /// where it is known by its flow, another URI.
    Moved,
    /// It is gone, since that was asked for, or since its URI is spelled another way now: then it is
    /// added anew a moment later. Or it was to go and is not here, where a store may have it.
    Removed,
    /// It is gone, since its time was over.
    Expired,
}

/// A change to a binding. One REGISTER causes at most [`super::CHANGES_MAX`].
#[derive(Clone, Copy, Debug)]
pub struct Change<'t> {
    /// What has happened.
    pub happened: Happened,
    /// Where it is kept: its timer has the number of the slot. `None` of one that is not.
    pub id: Option<Id>,
    /// The binding as it is now, or was at last.
    pub record: Record<'t>,
}

impl Registrar {
    /// Applies a REGISTER, and tells every change to a binding while it makes it.
    ///
    /// # Errors
    /// [`Refusal`]: then nothing has changed, but that bindings whose time was over are gone.
    pub fn register(
        &mut self,
        request: &Register<'_, '_>,
        now: Tick,
        mut tell: impl FnMut(Change<'_>),
    ) -> Result<Registered, Refusal> {
        let tell = &mut tell;
        let message = request.message;
        if !require::is_supported(message) {
            return Err(Refusal::Extension);
        }
        let mut contacts = Contacts::default();
        let asked = contacts::read(message, &self.rules, &mut contacts)?;
        let registered = judge_flows(message, &mut contacts)?;
        contacts.settle(message)?;
        let ids = self.live(request.aor.key, now, tell);
        let mark = self.mark(request);
        let done = match asked {
            Asked::Nothing => Ok(()),
            _ if ids.all().any(|id| self.has_made(mark, id)) => Ok(()),
            Asked::Clear => self.clear(request, mark, &ids, now, tell),
            Asked::Bind => self.bind(request, mark, contacts.all(), &ids, now, tell),
        };
        match done {
            Ok(()) | Err(Stop::Repeated) => Ok(registered),
            Err(Stop::Refused(refusal)) => Err(refusal),
        }
    }

    pub(super) fn mark(&self, request: &Register<'_, '_>) -> Mark {
        let hash = self.hash.text(request.message.call_id());
        let (cseq, ..) = request.message.cseq();
        Mark {
            call_id: hash.finish(What::CallId.with(0)),
            last: Last {
                cseq,
                transaction: request.transaction,
            },
        }
    }

    /// The bindings of an address of record that have not ended; those that have are taken out.
    pub(super) fn live(&mut self, aor: u64, now: Tick, tell: &mut impl FnMut(Change<'_>)) -> Ids {
        let ids = self.bindings.of(aor);
        let mut has_ended = false;
        for id in ids.all() {
            has_ended |= self.expire(id.slot, now, &mut *tell).is_none();
        }
        if has_ended {
            self.bindings.of(aor)
        } else {
            ids
        }
    }

    /// RFC 3261 §10.3 step 6: `Contact: *`.
    fn clear(
        &mut self,
        request: &Register<'_, '_>,
        mark: Mark,
        ids: &Ids,
        now: Tick,
        tell: &mut impl FnMut(Change<'_>),
    ) -> Result<(), Stop> {
        let aor = request.aor.key;
        for id in ids.all() {
            self.in_order(aor, mark, Some(id), now)?;
        }
        let is_new = self.in_order(aor, mark, None, now).is_ok();
        for id in ids.all() {
            self.remove(id, mark, now, tell);
        }
        if is_new {
            self.tell_absent((EVERY, &[], None), request, mark, now, tell);
        }
        self.remember(aor, mark, now);
        Ok(())
    }

    /// Tells that a contact was to go which is not here: a store that said nothing may have it.
    fn tell_absent(
        &mut self,
        (uri, params, reg_id): (&[u8], &[u8], Option<NonZeroU32>),
        request: &Register<'_, '_>,
        mark: Mark,
        now: Tick,
        tell: &mut impl FnMut(Change<'_>),
    ) {
        let record = Record {
            aor: request.aor.key,
            domain: request.domain,
            user: request.aor.user.name(),
            uri,
            params,
            path: &[],
            received: request.received,
            listen: request.listen,
            expires: now,
            taken: now,
            q: 0,
            call_id: mark.call_id,
            cseq: mark.last.cseq,
            transaction: mark.last.transaction,
            reg_id,
        };
        // Nor does what was read of it before come back.
        self.removed
            .remember(place_of(&record, &self.hash), now, now);
        tell(Change {
            happened: Happened::Removed,
            id: None,
            record,
        });
    }

    /// RFC 3261 §10.3 step 7.
    fn bind(
        &mut self,
        request: &Register<'_, '_>,
        mark: Mark,
        contacts: &[Contact],
        ids: &Ids,
        now: Tick,
        tell: &mut impl FnMut(Change<'_>),
    ) -> Result<(), Stop> {
        let mut plan = Plan::default();
        if let Err(stop) = self.plan(request, mark, contacts, ids, now, &mut plan) {
            self.give_up(plan);
            return Err(stop);
        }
        // These first, so that there is room for those that are added.
        let surplus = self.surplus(&plan, ids);
        for (act, contact) in plan.iter().zip(contacts) {
            match act {
                Act::Remove(id) => self.remove(*id, mark, now, tell),
                Act::RemoveAbsent => self.remove_absent(contact, request, mark, now, tell),
                Act::Nothing | Act::Add(..) | Act::Refresh(_) | Act::Rewrite(..) => {}
            }
        }
        for _ in 0..surplus {
            if let Some(id) = self.oldest(&plan, ids) {
                self.remove(id, mark, now, tell);
            }
        }
        let mut is_sorted = true;
        for (act, contact) in plan.into_iter().zip(contacts) {
            is_sorted &= self.carry_out(act, contact, request, mark, now, tell);
        }
        if !is_sorted {
            self.bindings.sort(request.aor.key);
        }
        if surplus > 0 || contacts.iter().any(|contact| contact.expires_s == 0) {
            self.remember(request.aor.key, mark, now);
        }
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        id: Id,
        by: Mark,
        now: Tick,
        tell: &mut impl FnMut(Change<'_>),
    ) {
        self.supersede(id, by, now);
        self.tell_removed(id, self.later(id, by), now, tell);
        self.bindings.remove(id);
    }

    fn remove_absent(
        &mut self,
        contact: &Contact,
        request: &Register<'_, '_>,
        mark: Mark,
        now: Tick,
        tell: &mut impl FnMut(Change<'_>),
    ) {
        let uri = request.message.text(contact.uri);
        let mut room = [0; CONTACT_LEN_MAX];
        let mut params = Text::new(&mut room);
        contact.write_params(request.message.bytes(), &mut params);
        // One that is longer was never bound.
        if let Ok(len) = params.finish()
            && uri.len() + len <= CONTACT_LEN_MAX
        {
            let named = (uri, &room[..len], contact.reg_id);
            self.tell_absent(named, request, mark, now, tell);
        }
    }

    /// Tells that a binding is gone, and which REGISTER has removed it: who keeps it elsewhere puts that in
    /// order with others.
    fn tell_removed(&mut self, id: Id, by: Mark, now: Tick, tell: &mut impl FnMut(Change<'_>)) {
        if let Some(record) = self.bindings.record(id) {
            let record = Record {
                call_id: by.call_id,
                cseq: by.last.cseq,
                transaction: by.last.transaction,
                taken: now,
                ..record
            };
            let place = place_of(&record, &self.hash);
            self.removed.remember(place, now, now);
            let happened = Happened::Removed;
            tell(Change {
                happened,
                id: Some(id),
                record,
            });
        }
    }

    /// Does what a contact comes to, but for removing. False where the order of q may be another
    /// now.
    pub(super) fn carry_out(
        &mut self,
        act: Act,
        contact: &Contact,
        request: &Register<'_, '_>,
        mark: Mark,
        now: Tick,
        tell: &mut impl FnMut(Change<'_>),
    ) -> bool {
        match act {
            Act::Nothing | Act::Remove(_) | Act::RemoveAbsent => true,
            Act::Refresh(id) => {
                self.supersede(id, mark, now);
                let (happened, is_sorted) = self.refresh(id, contact, request, mark, now);
                self.tell(id, happened, tell);
                is_sorted
            }
            Act::Rewrite(id, text, lens) => {
                self.supersede(id, mark, now);
                let uri = request.message.text(contact.uri);
                let is_known = contact.flow().is_some() || self.bindings.spells(id, uri);
                if !is_known {
                    // Who keeps it elsewhere knows it by its URI.
                    self.tell_removed(id, mark, now, tell);
                }
                let binding = self.binding(text, lens, contact, request, mark, now);
                self.bindings.put(Some(id), binding);
                let happened = if is_known {
                    Happened::Moved
                } else {
                    Happened::Added
                };
                self.tell(id, happened, tell);
                false
            }
            Act::Add(text, lens) => {
                let binding = self.binding(text, lens, contact, request, mark, now);
                if let Some(id) = self.bindings.put(None, binding) {
                    self.tell(id, Happened::Added, tell);
                }
                false
            }
        }
    }

    /// The binding that a contact asks for.
    fn binding(
        &self,
        text: Chain,
        lens: Lens,
        contact: &Contact,
        request: &Register<'_, '_>,
        mark: Mark,
        now: Tick,
    ) -> Binding {
        let instance = contact.instance.map(|span| request.message.text(span));
        Binding {
            aor: request.aor.key,
            call_id: mark.call_id,
            transaction: mark.last.transaction,
            instance: instance.map_or(0, |instance| self.instance(instance)),
            expires: until(contact, now),
            taken: now,
            next: None,
            text,
            cseq: mark.last.cseq,
            reg_id: contact.reg_id,
            lens,
            q: contact.q,
            received: request.received.into(),
            listen: request.listen,
            domain: request.domain,
        }
    }

    /// Has a binding with the same texts last longer; also whether it keeps its place in the order
    /// of q.
    fn refresh(
        &mut self,
        id: Id,
        contact: &Contact,
        request: &Register<'_, '_>,
        mark: Mark,
        now: Tick,
    ) -> (Happened, bool) {
        let expires = until(contact, now);
        let Some(binding) = self.bindings.slab.get_mut(id) else {
            return (Happened::Refreshed, true);
        };
        let (received, listen) = (request.received.into(), request.listen);
        let happened = if binding.received == received && binding.listen == listen {
            Happened::Refreshed
        } else {
            // RFC 5626 §6: what tells its flow is updated.
            Happened::Moved
        };
        let is_sorted = binding.q == contact.q;
        binding.call_id = mark.call_id;
        binding.transaction = mark.last.transaction;
        binding.cseq = mark.last.cseq;
        binding.expires = expires;
        binding.taken = now;
        binding.q = contact.q;
        binding.received = received;
        binding.listen = listen;
        (happened, is_sorted)
    }

    /// Tells a change to a binding.
    pub(super) fn tell(&mut self, id: Id, happened: Happened, tell: &mut impl FnMut(Change<'_>)) {
        if let Some(record) = self.bindings.record(id) {
            tell(Change {
                happened,
                id: Some(id),
                record,
            });
        }
    }
}

/// Until when a contact is bound that is asked for now.
fn until(contact: &Contact, now: Tick) -> Tick {
    now.plus_ms(u64::from(contact.expires_s) * 1_000)
}

/// RFC 5626 §6: flows are registered only where the first hop keeps them.
fn judge_flows(message: &Message<'_>, contacts: &mut Contacts) -> Result<Registered, Refusal> {
    if !contacts.has_flow() {
        return Ok(Registered::default());
    }
    let requires_outbound = message.supports(require::OUTBOUND);
    if contacts::keeps_flow(message) {
        return Ok(Registered { requires_outbound });
    }
    if requires_outbound {
        return Err(Refusal::FirstHop);
    }
    contacts.forget_flows();
    Ok(Registered::default())
}
