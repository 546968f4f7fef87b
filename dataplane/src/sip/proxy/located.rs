//! Requests to users of ours (RFC 3261 §16.5): their targets are the contacts that they have
//! registered, which the worker knows that keeps them.
//!
//! ```text
//!   mine ─────────► the contacts ─► targets, by q ─► a branch for each that is tried
//!   another's ────► waits ─ mail ─► the contacts ─┤
//!   nobody's ─────► waits ─ [`super::stored`] ─────┘
//! ```

use super::Arrival;
use super::Proxy;
use super::Step;
use super::fork::Attempt;
use super::forward::Way;
use super::forward::max_breadth;
use super::found::Contact;
use super::found::FOUND_LEN_MAX;
use super::found::Found;
use super::found::Writer;
use super::resumed::Answer;
use super::targets::Targets;
use super::write::unedited_status;
use crate::counters::Counter;
use crate::counters::Counters;
use crate::ids::DomainIndex;
use crate::ids::TrunkIndex;
use crate::limits::ROUTE_SET_LEN_MAX;
use crate::sip::edit;
use crate::sip::header::HeaderName;
use crate::sip::message::Message;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::slab::Id;
use crate::sip::uri::Uri;
use crate::span::Span;
use crate::text::Text;
use crate::tick::Tick;

impl Proxy {
    /// The address of record that a request is for, and its domain, where its contacts are kept, here or by another box.
    /// `None` inside for an address that nobody can have.
    pub(super) fn called(
        &self,
        message: &Message<'_>,
    ) -> Option<(DomainIndex, Option<AddressOfRecord>)> {
        let uri = Uri::read(message.bytes(), message.request_uri()?).ok()?;
        let domain = self.dial.domain_named(message.text(uri.host_text))?;
        let rules = &self.domains[usize::from(domain.0)];
        (rules.registrar || rules.located).then(|| {
            let aor = AddressOfRecord::of(message.bytes(), &uri, self.identity.hash());
            (domain, aor)
        })
    }

    /// Sends a request to a user of ours on, now or when its contacts are known.
    pub(super) fn locate(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        caller: TrunkIndex,
        (domain, aor): (DomainIndex, AddressOfRecord),
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        let keeper = aor.owner(self.workers);
        if keeper == self.worker {
            let mut room = [0; FOUND_LEN_MAX];
            let len = self.contacts_of(aor.key, step.now, &mut room);
            // Where too many wait already, those that are known do.
            let waits = !self.tickets.is_full() || len == 0;
            if !waits || !self.may_be_stored(aor.key, len > 0, step.now) {
                let found = &room[..len];
                self.forward_found(message, arrival, key, (caller, domain), found, step)?;
                return Ok(Counter::SipForwarded);
            }
        }
        let wait = self.contacts_wait(domain, &aor);
        let domain = self.dial.domain_of(caller);
        self.park(message, arrival, key, (caller, domain), wait, step)
    }

    /// Writes the contacts of an address of record that this worker keeps, see [`Found`].
    pub fn contacts_of(&mut self, aor: u64, now: Tick, room: &mut [u8; FOUND_LEN_MAX]) -> usize {
        let mut writer = Writer::new(room);
        self.registrar.targets(aor, now, |lane, record| {
            writer.push(&Contact {
                uri: record.uri,
                path: record.path,
                to: record.received,
                listen: record.listen,
                lane,
                q: record.q,
            });
        });
        writer.len()
    }

    /// The keeper of contacts has answered. Who waited for them goes on by [`Proxy::resume`].
    pub fn located(&mut self, ticket: Id, found: &[u8], counters: &mut Counters) {
        let kept = match found {
            [] => None,
            found => match self.kept.put(found) {
                // Its deadline answers it.
                None => return counters.count(Counter::KeptExhausted),
                kept => kept,
            },
        };
        if let Err(Answer::Located(_, Some(kept))) = self.note_answer(Answer::Located(ticket, kept))
        {
            self.kept.release(kept);
        }
    }

    /// Sends a request on to the contacts of a user; the error is the status of the answer.
    pub(super) fn forward_found(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (caller, domain): (TrunkIndex, DomainIndex),
        found: &[u8],
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let trunk = self.domains[usize::from(domain.0)].trunk;
        let contacts = Found(found).contacts();
        let targets = Targets::of_contacts(
            trunk,
            contacts.map(|contact| (contact.lane, contact.q)),
            max_breadth(message),
        );
        self.forward_to(message, arrival, key, caller, (targets, found), step)
    }

    /// Sends a request to a contact: its URI becomes the Request-URI (RFC 3261 §16.6 step 2), the path
    /// to it goes on top of the Routes (RFC 3327 §5.3), and it leaves to where its REGISTER came from
    /// (RFC 5626 §5.3).
    pub(super) fn branch_to_contact(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        attempt: Attempt,
        contact: &Contact<'_>,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let routes = self.our_preloaded_routes(message);
        self.splices.clear();
        let uri = for_request(contact.uri);
        edit::set_request_uri(message, &mut self.splices, &uri).map_err(unedited_status)?;
        if !contact.path.is_empty() {
            let mut room = [0; ROUTE_SET_LEN_MAX + 16];
            let mut text = Text::new(&mut room);
            text.push(b"Route: ");
            text.push(contact.path);
            text.push(b"\r\n");
            let len = text.finish().map_err(|_| 513_u16)?;
            let first = message.field(HeaderName::Route);
            let at = first.map_or(message.via_line().end, |first| first.line.start);
            self.splices.insert(at, &room[..len]).map_err(|_| 513_u16)?;
        }
        edit::remove_routes(message, &mut self.splices, routes).map_err(unedited_status)?;
        let mut room = std::mem::take(&mut self.retargeted);
        let len = self.splices.write(message.bytes(), &mut room);
        let changed = len.ok().and_then(|len| Message::scan(&room[..len]).ok());
        let sent = match changed {
            Some(changed) => {
                let way = Way {
                    to: contact.to,
                    listen: contact.listen,
                    routes: 0,
                    our_host: None,
                    breadth: attempt.breadth,
                    marks: attempt.marks,
                };
                self.branch_by(&changed, arrival, attempt, way, step)
            }
            None => Err(513),
        };
        self.retargeted = room;
        sent
    }
}

/// What of a contact's URI may stand in a Request-URI: neither a method nor headers (RFC 3261 §16.6
/// step 2, §19.1.1).
fn for_request(uri: &[u8]) -> [&[u8]; 2] {
    let Ok(parts) = Uri::read(uri, Span::new(0, uri.len())) else {
        return [uri, &[]];
    };
    let end = match parts.headers {
        Some(headers) => usize::from(headers.start).saturating_sub(1),
        None => uri.len(),
    };
    let pieces = parts.param(uri, b"method").and_then(|param| {
        let name = usize::from(param.name.start).saturating_sub(1);
        let after = usize::from(param.value.unwrap_or(param.name).end);
        Some([uri.get(..name)?, uri.get(after..end)?])
    });
    pieces.unwrap_or([uri.get(..end).unwrap_or(uri), &[]])
}
