//! What a call remembers of its dialog (RFC 3261 §12): enough to end it in the parties' names.
//!
//! The caller's side is told by the INVITE: its Contact, and the Record-Route values that were
//! there before ours. The callee's side is told by the 2xx: its tag, its Contact, and the
//! Record-Route values above ours. Where there is no room the call goes on without: the box
//! can then count it and free its media, but not end it.

use super::Proxy;
use super::Step;
use super::calls::UNKNOWN_CSEQ;
use super::dialog::InDialog;
use super::dialog::cookie_of;
use crate::counters::Counter;
use crate::limits::DIALOG_LEN_MAX;
use crate::limits::ROUTE_SET_LEN_MAX;
use crate::limits::ROUTE_SET_MAX;
use crate::sip::call::Party;
use crate::sip::dialog;
use crate::sip::dialog::Record;
use crate::sip::header::HeaderName;
use crate::sip::identity::Sides;
use crate::sip::message::Message;
use crate::sip::slab::Id;
use crate::sip::texts::Chain;
use crate::span::Span;

/// Room for a route set.
type RouteSet = [u8; ROUTE_SET_LEN_MAX];

impl Proxy {
    /// Keeps what the INVITE of `from` tells: the first of its dialog, or where `within` says so
    /// one of a dialog that began before this start of the box.
    pub(super) fn remember_invite(
        &mut self,
        message: &Message<'_>,
        from: Party,
        within: Option<InDialog>,
        step: &mut Step<'_>,
    ) -> Option<Chain> {
        let mut record = Record {
            call_id: message.call_id(),
            ..Record::default()
        };
        let sender = (message.from(), message.from_tag());
        let receiver = (message.to(), message.to_tag());
        for (party, (address, tag)) in [(from, sender), (from.other(), receiver)] {
            record.uris[party as usize] = message.text(address.uri);
            record.tags[party as usize] = tag.unwrap_or_default();
        }
        let mut near: RouteSet = [0; ROUTE_SET_LEN_MAX];
        let mut far: RouteSet;
        // RFC 3261 §12.1.1: the route set of a UAS has the order of the Record-Route.
        let values = message.record_routes().map_while(Result::ok);
        let set = route_set(message, values.map(|v| v.address.value), false, &mut near);
        // RFC 3261 §16.6 step 4: the proxies on its way need not say in the midst of a dialog that
        // they stay on it.
        let is_told =
            |set: &&[u8]| within.is_none() || !set.is_empty() || message.vias().nth(1).is_none();
        if let Some(set) = set.filter(is_told) {
            record.routes[from as usize] = set;
            record.targets[from as usize] = contact(message);
        }
        if let Some(within) = within {
            far = [0; ROUTE_SET_LEN_MAX];
            // What is left of the request's Routes behind ours leads to the other party.
            let values = message.routes().map_while(Result::ok).skip(within.routes);
            let to = from.other() as usize;
            if let Some(set) = route_set(message, values.map(|v| v.address.value), false, &mut far)
            {
                record.routes[to] = set;
                record.targets[to] = message
                    .request_uri()
                    .map_or(&[][..], |uri| message.text(uri));
            }
        }
        let kept = record.keep(&mut self.texts);
        if kept.is_none() {
            step.counters.count(Counter::DialogsUnkept);
        }
        kept
    }

    /// Adds what the 2xx of `party` to the first INVITE tells.
    pub(super) fn remember_answer(
        &mut self,
        id: Id,
        message: &Message<'_>,
        party: Party,
        step: &mut Step<'_>,
    ) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (sides, is_first) = (call.sides, !call.is_adopted);
        let mut set: RouteSet = [0; ROUTE_SET_LEN_MAX];
        let set = self.routes_above_ours(message, Some(sides), &mut set);
        let mut room = [0; DIALOG_LEN_MAX];
        self.rewrite(id, &mut room, step, |record| {
            let at = party as usize;
            if is_first {
                record.tags[at] = message.to_tag().unwrap_or_default();
                record.routes[at] = set.unwrap_or_default();
                // Without its route set the way to it is not known.
                record.targets[at] = set.map_or(&[], |_| contact(message));
            } else if !record.targets[at].is_empty() {
                record.targets[at] = contact(message);
            }
        });
    }

    /// RFC 3261 §12.2.1.2, §12.2.2: an INVITE or UPDATE of `party`, or its 2xx to one, says where
    /// it is reached from now on, if the way to it is known.
    pub(super) fn remember_target(
        &mut self,
        id: Id,
        message: &Message<'_>,
        party: Party,
        step: &mut Step<'_>,
    ) {
        let target = contact(message);
        if target.is_empty() {
            return;
        }
        let mut room = [0; DIALOG_LEN_MAX];
        self.rewrite(id, &mut room, step, |record| {
            let known = &mut record.targets[party as usize];
            if !known.is_empty() {
                *known = target;
            }
        });
    }

    /// Gives what is remembered of a dialog to `change`, and keeps it changed.
    fn rewrite<'t>(
        &mut self,
        id: Id,
        room: &'t mut [u8; DIALOG_LEN_MAX],
        step: &mut Step<'_>,
        change: impl FnOnce(&mut Record<'t>),
    ) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let Some(chain) = call.text.as_ref() else {
            return;
        };
        let text = self.texts.read(chain, room);
        let Some(before) = Record::read(text) else {
            return;
        };
        let mut record = before;
        change(&mut record);
        if record == before {
            return;
        }
        match record.keep(&mut self.texts) {
            Some(kept) => {
                if let Some(old) = call.text.replace(kept) {
                    self.texts.release(old);
                }
            }
            None => step.counters.count(Counter::DialogsUnkept),
        }
    }

    /// Takes note of the number of an in-dialog request of `party`.
    pub(super) fn remember_cseq(&mut self, id: Id, message: &Message<'_>, party: Party) {
        let (cseq, ..) = message.cseq();
        if let Some(call) = self.calls.get_mut(id) {
            let highest = &mut call.cseqs[party as usize];
            *highest = match *highest {
                UNKNOWN_CSEQ => cseq,
                known => cseq.max(known),
            };
        }
    }

    /// The route set to the UAS of a response, whose Record-Route values above ours it is
    /// (RFC 3261 §12.1.2: a UAC has it in reverse order). Ours are those of `sides`, or the
    /// topmost ones. `None` where they are not there, or there is no room.
    pub(super) fn routes_above_ours<'s>(
        &self,
        message: &Message<'_>,
        sides: Option<Sides>,
        set: &'s mut RouteSet,
    ) -> Option<&'s [u8]> {
        let caller_tag = message.from_tag().unwrap_or_default();
        let is_ours = |uri: Span| {
            let Some(cookie) = cookie_of(message, uri) else {
                return false;
            };
            let read = self
                .identity
                .read_cookie(cookie, message.call_id(), caller_tag);
            read.is_some_and(|read| sides.is_none_or(|sides| sides == read.sides))
        };
        let values = || message.record_routes().map_while(Result::ok);
        let above = values().position(|value| is_ours(value.address.uri));
        // A UAS that copies no Record-Route at all is reached without.
        let above = match above {
            None if message.field(HeaderName::RecordRoute).is_some() => return None,
            above => above.unwrap_or(0),
        };
        let values = values().take(above).map(|value| value.address.value);
        route_set(message, values, true, set)
    }
}

/// The URI of the first Contact; empty where there is none.
pub(super) fn contact<'m>(message: &Message<'m>) -> &'m [u8] {
    let contact = message.contact_uri();
    contact.map_or(&[], |uri| message.text(uri))
}

/// Writes values of Record-Route or Route as a route set; `None` where they are too many or too
/// long.
fn route_set<'s>(
    message: &Message<'_>,
    values: impl Iterator<Item = Span>,
    last_first: bool,
    set: &'s mut RouteSet,
) -> Option<&'s [u8]> {
    let mut spans = [Span::default(); ROUTE_SET_MAX];
    let mut count = 0;
    for value in values {
        *spans.get_mut(count)? = value;
        count += 1;
    }
    let len = dialog::route_set(message.bytes(), &spans[..count], last_first, set).ok()?;
    Some(&set[..len])
}
