//! A 2xx to an INVITE for which nobody upstream waits any more: its branch was given up, and the
//! caller has been told something else. We acknowledge it and end its dialog by a BYE, in the
//! caller's place (RFC 3261 §13.2.2.4), so that the callee is not left in a call with nobody.

use std::net::SocketAddr;

use super::Proxy;
use super::Step;
use crate::counters::Counter;
use crate::ids::ListenIndex;
use crate::limits::CSEQ_MAX;
use crate::limits::ROUTE_SET_LEN_MAX;
use crate::sip::call::Party;
use crate::sip::dialog::Record;
use crate::sip::dialog::Request;
use crate::sip::identity::Kind;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::transaction::Late;
use crate::sip::uri::Uri;
use crate::span::Span;

/// How many dialogs of a branch are ended. Whoever answers with ever another tag gets no more
/// transactions of ours for it.
const BYES_MAX: u8 = 8;

impl Proxy {
    /// Acknowledges a 2xx to the first INVITE of a dialog, each time that it comes, and sends a
    /// BYE after the first of each dialog.
    pub(super) fn end_late_answer(
        &mut self,
        client_id: Id,
        repeated: bool,
        message: &Message<'_>,
        step: &mut Step<'_>,
    ) {
        let Some(client) = self.clients.get(client_id) else {
            return;
        };
        let (mut late, listen) = (client.late, client.listen);
        let hop = client.destination.addr();
        if !late.has_come {
            // A re-INVITE's dialog is the parties' own. One that went up in its time and comes again
            // when Timer L is over is the caller's to acknowledge or to end.
            let began = client.sender.and_then(|sender| self.calls.get(sender.call));
            if repeated || began.is_none_or(|call| call.invite != client_id) {
                return;
            }
            // Whatever becomes of the answer, nothing of its call is needed for it.
            self.branch_is_over(client_id, step);
            late.has_come = true;
            self.note_late(client_id, late);
        }
        let (cseq, ..) = message.cseq();
        if cseq == CSEQ_MAX {
            // No BYE could be higher. Who gets no ACK ends the dialog itself (RFC 3261 §13.3.1.4).
            return;
        }
        let to_tag = message.to_tag().unwrap_or_default();
        // RFC 3261 §13.2.2.4: an ACK to a 2xx is no part of the INVITE's transaction.
        let hash = self.identity.hash().text(message.call_id()).text(to_tag);
        let key = hash.finish(What::LateAnswer.with(0));
        let [a, b, c, d, e, f, tag @ ..] = key.to_be_bytes();
        let id = Id::new(u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]));
        // One with another tag is of another callee, behind a proxy that forks.
        let tag = u16::from_be_bytes(tag);
        let has_bye = late.byes == BYES_MAX || late.byes > 0 && late.tag == tag;
        let vacant = self.clients.vacant();
        if vacant.is_none() && !has_bye {
            // Without an ACK the 2xx comes again, and is owed both still.
            step.counters.count(Counter::TransactionsRefused);
            return;
        }
        let mut set = [0; ROUTE_SET_LEN_MAX];
        let Some(dialog) = self.dialog_with(message, &mut set) else {
            return;
        };
        let branch = self.identity.branch(Kind::Ack, id, 0);
        let mut request = Request {
            method: b"ACK",
            cseq,
            to: Party::Callee,
            sent_by: self.advertised(listen).sent_by(),
            branch: &branch,
            lines: &[],
        };
        let acknowledged = self.send_as_caller(&dialog, &request, listen, hop, step);
        let Some(vacant) = vacant.filter(|_| acknowledged.is_some() && !has_bye) else {
            return;
        };
        let branch = self.identity.branch(Kind::Stateful, vacant, 0);
        request.method = b"BYE";
        request.cseq += 1;
        request.branch = &branch;
        let Some(to) = self.send_as_caller(&dialog, &request, listen, hop, step) else {
            return;
        };
        let sent = step.effects.last();
        if sent
            .and_then(|bye| self.open_own(Method::Bye, bye, to, listen, step.now))
            .is_none()
        {
            step.counters.count(Counter::KeptExhausted);
            return;
        }
        step.counters.count(Counter::LateAnswersEnded);
        late.byes += 1;
        late.tag = tag;
        self.note_late(client_id, late);
    }

    fn note_late(&mut self, client: Id, late: Late) {
        if let Some(client) = self.clients.get_mut(client) {
            client.late = late;
        }
    }

    /// The dialog that a 2xx has made, as the caller would know it (RFC 3261 §12.1.2): the Contact, and
    /// the route set beyond the box. `None` where there is no Contact.
    fn dialog_with<'m>(
        &self,
        answer: &Message<'m>,
        set: &'m mut [u8; ROUTE_SET_LEN_MAX],
    ) -> Option<Record<'m>> {
        // Where ours are gone from it, nobody knows which of them lie behind us: an ACK and a BYE
        // without Route are better than none.
        let routes = self.routes_above_ours(answer, None, set);
        let routes = routes.unwrap_or_default();
        let uris = [answer.from(), answer.to()].map(|address| answer.text(address.uri));
        let tags = [answer.from_tag(), answer.to_tag()].map(Option::unwrap_or_default);
        Some(Record {
            call_id: answer.call_id(),
            uris,
            tags,
            targets: [&[], answer.text(answer.contact_uri()?)],
            routes: [&[], routes],
        })
    }

    /// Sends an ACK or a BYE in the dialog of a 2xx as the caller would; where it went: to `hop`,
    /// where its INVITE went, unless the dialog names an address of the same trunk. Who says that it
    /// sent the 2xx proves nothing.
    fn send_as_caller(
        &self,
        dialog: &Record<'_>,
        request: &Request<'_>,
        listen: ListenIndex,
        hop: SocketAddr,
        step: &mut Step<'_>,
    ) -> Option<SocketAddr> {
        let uri = dialog.next_hop(request.to)?;
        let uri = Uri::read(uri, Span::new(0, uri.len())).ok();
        let named = uri.and_then(|uri| self.named_hop(&uri, listen));
        let trunk = self.dial.trunk_of(hop.ip());
        let named = named.filter(|to| trunk.is_some() && self.dial.trunk_of(to.ip()) == trunk);
        let to = named.unwrap_or(hop);
        let len = request.write(dialog, step.effects.room()).ok()?;
        step.effects.send(len, to, listen);
        Some(to)
    }
}
