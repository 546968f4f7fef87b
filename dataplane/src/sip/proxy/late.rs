//! A 2xx to an INVITE for which nobody upstream waits any more: its branch was given up, and the
//! caller has been told something else. We acknowledge it and end its dialog by a BYE, in the
//! caller's place (RFC 3261 §13.2.2.4), so that the callee is not left in a call with nobody.

use std::net::SocketAddr;

use super::Proxy;
use super::Step;
use super::dialog::cookie_of;
use crate::counters::Counter;
use crate::ids::ListenIndex;
use crate::limits::CSEQ_MAX;
use crate::sip::identity::Kind;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::transaction::Late;
use crate::sip::uac::InDialog;
use crate::sip::uac::ROUTES_MAX;
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
        let branch = self.identity.branch(Kind::Ack, id, 0);
        let ack = (Method::Ack, &branch[..]);
        let acknowledged = self.send_as_caller(message, ack, listen, hop, step);
        let Some(vacant) = vacant.filter(|_| acknowledged.is_some() && !has_bye) else {
            return;
        };
        let branch = self.identity.branch(Kind::Stateful, vacant, 0);
        let bye = (Method::Bye, &branch[..]);
        let Some(to) = self.send_as_caller(message, bye, listen, hop, step) else {
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

    /// Sends an ACK or a BYE in the dialog of a 2xx as the caller would; where it went: to `hop`,
    /// where its INVITE went, unless the dialog names an address of the same trunk. Who says that it
    /// sent the 2xx proves nothing.
    fn send_as_caller(
        &mut self,
        answer: &Message<'_>,
        (method, branch): (Method, &[u8]),
        listen: ListenIndex,
        hop: SocketAddr,
        step: &mut Step<'_>,
    ) -> Option<SocketAddr> {
        let target = answer.text(answer.contact_uri()?);
        let (routes, route_count) = self.routes_beyond_us(answer)?;
        let (cseq, ..) = answer.cseq();
        let bye = method == Method::Bye;
        let request = InDialog {
            method: if bye { b"BYE" } else { b"ACK" },
            target,
            routes: &routes[..route_count],
            sent_by: self.advertised(listen).sent_by(),
            branch,
            from: answer.text(answer.from().value),
            to: answer.text(answer.to().value),
            call_id: answer.call_id(),
            cseq: cseq + u32::from(bye),
        };
        let uri = request.next_hop();
        let uri = Uri::read(uri, Span::new(0, uri.len())).ok();
        let named = uri.and_then(|uri| self.named_hop(&uri, listen));
        let trunk = self.dial.trunk_of(hop.ip());
        let named = named.filter(|to| self.dial.trunk_of(to.ip()) == trunk);
        let to = named.unwrap_or(hop);
        let len = request.write(step.effects.room()).ok()?;
        step.effects.send(len, to, listen);
        Some(to)
    }

    /// The route set beyond the box, the next hop first: the Record-Route values of a response
    /// that stand above ours, from the last to the first (RFC 3261 §12.1.2). `None` where there
    /// are more than we follow.
    fn routes_beyond_us<'m>(
        &self,
        answer: &Message<'m>,
    ) -> Option<([&'m [u8]; ROUTES_MAX], usize)> {
        let mut routes = [&[][..]; ROUTES_MAX];
        let mut count = 0;
        let tag = answer.from_tag().unwrap_or_default();
        for value in answer.record_routes().map_while(Result::ok) {
            let uri = value.address.uri;
            let ours = cookie_of(answer, uri)
                .and_then(|cookie| self.identity.read_cookie(cookie, answer.call_id(), tag));
            if ours.is_some() {
                break;
            }
            *routes.get_mut(count)? = answer.text(uri);
            count += 1;
        }
        routes[..count].reverse();
        Some((routes, count))
    }
}
