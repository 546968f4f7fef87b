//! What a registrar elsewhere has granted, before which the box is an edge: kept as if it had been
//! granted here, it tells for how long a refresh need not go on.
//!
//! ```text
//!   granted ──────────── half of its time ──────────── end
//!            answered here        goes on to the registrar
//! ```
//!
//! Time is counted from when the REGISTER went on: whenever its answer comes, no more had been granted
//! before. From then until it is answered the registrar may have done what it asks, or not: what it
//! names is not answered for in between, however the answer is lost.

use std::net::SocketAddr;

use super::Register;
use super::Registrar;
use super::Rules;
use super::contacts;
use super::contacts::Asked;
use super::contacts::Contact;
use super::contacts::Contacts;
use super::equal::is_same;
use super::order::Mark;
use super::plan::Act;
use super::refusal::Refusal;
use super::register::Change;
use super::require;
use crate::ids::ListenIndex;
use crate::limits::CONTACTS_MAX;
use crate::sip::edit;
use crate::sip::edit::Splices;
use crate::sip::header::HeaderName;
use crate::sip::message::Message;
use crate::sip::slab::Id;
use crate::sip::uri::Host;
use crate::sip::uri::Uri;
use crate::span::Span;
use crate::text::Text;
use crate::tick::Tick;

/// What may be asked for is the other registrar's to say.
const ANY: Rules = Rules {
    min_s: 0,
    max_s: u32::MAX,
    default_s: 3_600,
    contacts_max: u8::MAX,
    replaces_oldest: false,
    service_route: String::new(),
    keepalive_s: 0,
    flow_timer_s: 0,
};

/// The Call-ID, hashed, that no REGISTER has.
const NOBODY: u64 = 0;

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

impl Registrar {
    /// Takes note of what another registrar has answered with 2xx to a REGISTER that went on to it at
    /// `since`. Each change to a binding is told.
    ///
    /// # Errors
    /// [`Refusal`] where a contact finds no room here: it is bound, but not known.
    pub fn note_granted(
        &mut self,
        request: &Register<'_, '_>,
        response: &Message<'_>,
        (since, now): (Tick, Tick),
        mut tell: impl FnMut(Change<'_>),
    ) -> Result<(), Refusal> {
        let tell = &mut tell;
        let mut contacts = Contacts::default();
        let asked = contacts::read(request.message, &ANY, &mut contacts)?;
        if !require::requires_outbound(response) {
            contacts.forget_flows();
        }
        contacts.settle(request.message)?;
        let ids = self.live(request.aor.key, now, tell);
        let mut mark = self.mark(request);
        if response.lines_named(b"Service-Route").next().is_some() {
            // RFC 3608 §5: each answer must say it, and it is not kept: no REGISTER is a refresh.
            mark.call_id = NOBODY;
        }
        if self.removed.get(request.aor.key, now).is_some() {
            // The registrar may do the one before the other, whichever went on first.
            mark.call_id = NOBODY;
        }
        let mut noted = Ok(());
        match asked {
            Asked::Nothing => {}
            Asked::Clear => ids.all().for_each(|id| self.remove(id, mark, now, tell)),
            Asked::Bind => {
                for contact in contacts.all() {
                    let found = self.find(request.message, contact, &ids);
                    // A response may be late as well.
                    if found.is_some_and(|id| self.is_later(id, mark)) {
                        continue;
                    }
                    let granted_s = granted_s(request.message, response, contact);
                    let mut contact = *contact;
                    contact.expires_s = granted_s.unwrap_or(0);
                    let done =
                        self.note_contact(request, mark, &contact, found, (since, now), tell);
                    noted = noted.and(done);
                }
                self.bindings.sort(request.aor.key);
            }
        }
        noted
    }

    fn note_contact(
        &mut self,
        request: &Register<'_, '_>,
        mark: Mark,
        contact: &Contact,
        found: Option<Id>,
        (since, now): (Tick, Tick),
        tell: &mut impl FnMut(Change<'_>),
    ) -> Result<(), Refusal> {
        if since.plus_ms(1_000 * u64::from(contact.expires_s)) <= now {
            if let Some(id) = found {
                self.remove(id, mark, now, tell);
            }
            return Ok(());
        }
        // The way to it is its flow: nobody is called here by a path.
        let act = self.put(request, contact, &[], found)?;
        let is_full = self.bindings.free_count() == 0
            || self.bindings.of(request.aor.key).count() == CONTACTS_MAX;
        match act {
            Act::Add(text, _) if is_full => {
                self.bindings.texts.release(text);
                return Err(Refusal::Full);
            }
            act => _ = self.carry_out(act, contact, request, mark, since, tell),
        }
        Ok(())
    }

    /// A REGISTER goes on to another registrar: what it may change there is answered for no longer. As long
    /// as one is tried that takes contacts away, nothing that is granted to the user is relied on.
    pub fn doubt(&mut self, request: &Register<'_, '_>, now: Tick) {
        let (aor, message) = (request.aor.key, request.message);
        let mut contacts = Contacts::default();
        let asked = contacts::read(message, &ANY, &mut contacts);
        let ids = self.bindings.of(aor);
        let takes = match asked {
            Ok(Asked::Nothing) => false,
            Ok(Asked::Bind) => contacts.all().iter().any(|it| it.expires_s == 0),
            Ok(Asked::Clear) | Err(_) => true,
        };
        if takes {
            self.removed.remember(aor, now, now);
        }
        if asked != Ok(Asked::Bind) {
            let all = ids.all().filter(|_| takes);
            return all.for_each(|id| self.doubt_binding(id));
        }
        // Whether it knows them by their flows or by their URIs is the registrar's to say.
        for _ in 0..2 {
            for contact in contacts.all() {
                if let Some(id) = self.find(message, contact, &ids) {
                    self.doubt_binding(id);
                }
            }
            contacts.forget_flows();
        }
    }

    /// No REGISTER is a refresh of it until it is granted anew.
    fn doubt_binding(&mut self, id: Id) {
        if let Some(binding) = self.bindings.slab.get_mut(id) {
            binding.call_id = NOBODY;
        }
    }

    fn is_later(&self, id: Id, than: Mark) -> bool {
        let binding = self.bindings.slab.get(id);
        binding.is_some_and(|it| it.call_id == than.call_id && it.cseq > than.last.cseq)
    }

    /// Answers a REGISTER that asks for nothing but what another registrar has granted, for at least
    /// as long as it has been bound since: writes the header fields of the 200. False where that
    /// registrar must be asked.
    ///
    /// Nothing is granted by it: the bindings end when they would have. All of its contacts must be
    /// bound by an earlier REGISTER of its Call-ID that came the same way, and be spelled as then.
    pub fn renew(
        &mut self,
        request: &Register<'_, '_>,
        nat_expires_s: u32,
        now: Tick,
        text: &mut Text<'_>,
    ) -> bool {
        let message = request.message;
        let mut contacts = Contacts::default();
        if message.field(HeaderName::Require).is_some()
            || contacts::read(message, &ANY, &mut contacts) != Ok(Asked::Bind)
        {
            return false;
        }
        let ids = self.bindings.of(request.aor.key);
        let by_flow = |id| {
            let binding = self.bindings.slab.get(id);
            binding.is_some_and(|binding| binding.reg_id.is_some())
        };
        let requires_outbound = ids.all().any(by_flow);
        if !requires_outbound {
            contacts.forget_flows();
        }
        if contacts.settle(message).is_err() {
            return false;
        }
        let mark = self.mark(request);
        let mut bound = [None; CONTACTS_MAX];
        for (contact, place) in contacts.all().iter().zip(&mut bound) {
            let found = self.find(message, contact, &ids);
            let fresh = found.filter(|&id| self.is_fresh(id, contact, request, mark, now));
            if fresh.is_none() {
                return false;
            }
            *place = fresh;
        }
        for (contact, id) in contacts.all().iter().zip(bound.into_iter().flatten()) {
            let Some(binding) = self.bindings.slab.get_mut(id) else {
                continue;
            };
            binding.cseq = mark.last.cseq;
            binding.transaction = mark.last.transaction;
            let left = binding.expires.since(now) / SECOND_NS;
            let left_s = u32::try_from(left).unwrap_or(u32::MAX);
            let told_s = match is_behind_nat(request, contact) {
                true => left_s.min(nat_expires_s),
                false => left_s,
            };
            text.push(b"Contact: <");
            text.push(message.text(contact.uri));
            text.push(b">");
            contact.write_params(message.bytes(), text);
            text.push(b";expires=");
            text.decimal(told_s);
            text.push(b"\r\n");
        }
        if requires_outbound {
            text.push(b"Require: outbound\r\n");
        }
        true
    }

    /// Whether a contact is bound as a REGISTER asks for it, and has more than half of its time.
    fn is_fresh(
        &mut self,
        id: Id,
        contact: &Contact,
        request: &Register<'_, '_>,
        mark: Mark,
        now: Tick,
    ) -> bool {
        let Some(binding) = self.bindings.slab.get(id) else {
            return false;
        };
        let left = binding.expires.since(now);
        let is_bound = contact.expires_s > 0
            && left > SECOND_NS
            && left > binding.expires.since(binding.taken) / 2
            && binding.received.addr() == request.received
            && binding.listen == request.listen
            && binding.call_id == mark.call_id
            && binding.call_id != NOBODY
            && (binding.cseq < mark.last.cseq || binding.mark() == mark);
        is_bound && self.is_spelled(id, contact, request)
    }

    fn is_spelled(&mut self, id: Id, contact: &Contact, request: &Register<'_, '_>) -> bool {
        match self.put(request, contact, &[], Some(id)) {
            Ok(Act::Add(text, _) | Act::Rewrite(_, text, _)) => {
                self.bindings.texts.release(text);
                false
            }
            Ok(Act::Refresh(_)) => true,
            Ok(Act::Nothing | Act::Remove(_) | Act::RemoveAbsent) | Err(_) => false,
        }
    }

    /// Whether an address of record has a binding by this way: its phone is who it says it is, as far
    /// as who registered from there was asked.
    #[must_use]
    pub fn is_at(&self, aor: u64, received: SocketAddr, listen: ListenIndex, now: Tick) -> bool {
        let mut bindings = self.bindings.of(aor).all();
        bindings.any(|id| {
            let binding = self.bindings.slab.get(id);
            binding.is_some_and(|it| {
                it.expires > now && it.received.addr() == received && it.listen == listen
            })
        })
    }
}

/// Has a phone behind a NAT be told by a 2xx to its REGISTER that it is registered for so long at
/// most: its REGISTERs keep the NAT open.
///
/// # Errors
/// As [`Splices::splice`].
pub fn shorten(
    request: &Register<'_, '_>,
    response: &Message<'_>,
    nat_expires_s: u32,
    splices: &mut Splices,
) -> Result<(), edit::Refused> {
    let mut own = Contacts::default();
    if contacts::read(request.message, &ANY, &mut own) != Ok(Asked::Bind) {
        return Ok(());
    }
    let bytes = response.bytes();
    for value in response.contacts().flatten() {
        let is_own = |contact: &&Contact| {
            let uri = request.message.text(contact.uri);
            is_same(uri, response.text(value.address.uri))
        };
        let Some(own) = own.all().iter().find(is_own) else {
            continue;
        };
        let granted_s = granted_s(request.message, response, own).unwrap_or(0);
        if granted_s <= nat_expires_s || !is_behind_nat(request, own) {
            continue;
        }
        let param = value.address.params(bytes).find(b"expires");
        match param.and_then(|param| param.value) {
            Some(said) => splices.splice(said, |text| text.decimal(nat_expires_s))?,
            None => splices.splice(Span::empty(value.address.value.end), |text| {
                text.push(b";expires=");
                text.decimal(nat_expires_s);
            })?,
        }
    }
    Ok(())
}

/// Whether a contact is not where its REGISTER came from.
fn is_behind_nat(request: &Register<'_, '_>, contact: &Contact) -> bool {
    let uri = Uri::read(request.message.bytes(), contact.uri).ok();
    let said = uri.and_then(|uri| Some((uri.host.and_then(Host::address)?, uri.port)));
    let received = request.received;
    said.is_none_or(|(host, port)| (host, port.unwrap_or(5060)) != (received.ip(), received.port()))
}

/// For how long a contact has been bound, if it is among those of a 2xx (RFC 3261 §10.3 step 8).
fn granted_s(request: &Message<'_>, response: &Message<'_>, contact: &Contact) -> Option<u32> {
    let uri = request.text(contact.uri);
    let mut values = response.contacts().flatten();
    let own = values.find(|value| is_same(uri, response.text(value.address.uri)))?;
    let param = own.address.params(response.bytes()).find(b"expires");
    let field = response.field(HeaderName::Expires).map(|field| field.value);
    let said = param.and_then(|param| param.value).or(field);
    Some(said.map_or(contact.expires_s, |span| {
        contacts::seconds(response.text(span))
    }))
}
