//! CANCEL and ACK: what is answered or absorbed hop by hop.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::describe::Described;
use crate::counters::Counter;
use crate::ids::TrunkIndex;
use crate::sip::build;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::transaction::Branches;
use crate::sip::transaction::Cancel;
use crate::sip::transaction::Client;
use crate::sip::transaction::ClientState;
use crate::sip::transaction::ServerState;

impl Proxy {
    /// An ACK ends a failed INVITE here (RFC 3261 §17.2.1), or goes on to who sent the 2xx.
    pub(super) fn ack(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        trunk: TrunkIndex,
        step: &mut Step<'_>,
    ) -> Counter {
        let key = self.transaction_key(message, Method::Invite, trunk);
        if let Some(id) = self.transactions.get(key) {
            if self.acknowledge(id, step) {
                return Counter::SipAbsorbed;
            }
        } else if self.refusals.status_of(key, step.now).is_some() || self.is_ours(message) {
            return Counter::SipAbsorbed;
        }
        // An ACK cannot be challenged.
        let dialog = self.in_dialog(message, arrival.source.ip());
        let Some(dialog) = dialog.filter(|dialog| dialog.is_proved) else {
            let followed = self.follow_stateless(message, arrival, trunk, step);
            return followed.unwrap_or(Counter::SipStrayAck);
        };
        if message.max_forwards() == Some(0) {
            return Counter::SipNotRoutable;
        }
        let call = self.dialogs.get(dialog.key);
        let Some(way) = self.way_in_dialog(message, arrival, dialog, call) else {
            return Counter::SipNotRoutable;
        };
        // The ACK carries the answer where the 2xx carried the offer. One that cannot be
        // anchored goes on as it is: there is no response to an ACK.
        let mut described = Described::nothing(dialog.from);
        self.describe_or_pass(message, call, &mut described, step);
        let outcome = self.forward_ack(message, arrival, key, way, step);
        self.negotiate(&mut described, call, None, step);
        outcome
    }

    /// True where the ACK was for a failure that this transaction sent.
    fn acknowledge(&mut self, id: Id, step: &mut Step<'_>) -> bool {
        let Some(server) = self.servers.get_mut(id) else {
            return false;
        };
        if !server.acknowledge(step.now) {
            return false;
        }
        let response = server.response.take();
        self.release(response);
        self.arm_server(id);
        true
    }

    /// True where To carries the tag of an answer of our own: the ACK has found its end.
    fn is_ours(&self, message: &Message<'_>) -> bool {
        let (cseq, ..) = message.cseq();
        let from_tag = message.from_tag().unwrap_or_default();
        message.to_tag().is_some_and(|tag| {
            self.identity
                .is_to_tag(tag, message.call_id(), from_tag, cseq)
        })
    }

    /// RFC 3261 §16.10: a CANCEL is answered here and makes us cancel what we sent on.
    pub(super) fn cancel(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        trunk: TrunkIndex,
        step: &mut Step<'_>,
    ) -> Counter {
        let key = self.transaction_key(message, Method::Invite, trunk);
        if self.refusals.status_of(key, step.now).is_some() {
            return Counter::SipAbsorbed;
        }
        // RFC 3261 §22.1: it cannot be challenged, and is taken from the hop that has sent the INVITE. The callee
        // has seen the caller's branch as well.
        let is_subscriber = self.dial.domain_of(trunk).is_some();
        let invite = self
            .transactions
            .get(key)
            .and_then(|id| self.servers.get_mut(id))
            .filter(|invite| !is_subscriber || invite.reply_to.addr().ip() == arrival.source.ip());
        let Some(invite) = invite else {
            // RFC 3261 §16.10 would have us send it on, without state, whatever it cancels. Only
            // what went on without state has a branch that it could meet below.
            let followed = self.follow_stateless(message, arrival, trunk, step);
            return followed.unwrap_or_else(|| self.answer(message, arrival, 481, &[], step));
        };
        let pending = invite.state == ServerState::Proceeding;
        let branches = invite.branches;
        invite.cancelled |= pending;
        // Its retransmission finds the INVITE again and gets the same: no state is kept.
        let outcome = self.answer(message, arrival, 200, &[], step);
        if pending {
            match branches {
                Branches::None => {}
                Branches::One(client) => self.cancel_client(client, step),
                Branches::Context(id) => self.cancel_targets(id, step),
                Branches::Parked(ticket) => self.cancel_parked(ticket, step),
            }
        }
        outcome
    }

    /// Cancels a client transaction now, or as soon as a provisional response comes
    /// (RFC 3261 §9.1).
    pub(super) fn cancel_client(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        // RFC 3261 §9.1: only an INVITE takes long enough.
        if client.method != Method::Invite
            || !client.is_pending()
            || matches!(client.cancel, Cancel::Sent(_))
        {
            return;
        }
        // Until one is sent: the next response tries again, or Timer C ends it.
        client.cancel = Cancel::Wanted;
        if client.state == ClientState::Proceeding {
            self.send_cancel(id, step);
        }
    }

    fn send_cancel(&mut self, id: Id, step: &mut Step<'_>) {
        if self.clients.is_full() {
            step.counters.count(Counter::TransactionsRefused);
            return;
        }
        let Some(invite) = self.clients.get(id) else {
            return;
        };
        let (to, listen, marks) = (invite.destination, invite.listen, invite.marks);
        let Some(kept) = invite.message.as_ref() else {
            return;
        };
        let Ok(sent) = Message::scan(self.kept.bytes(kept)) else {
            return;
        };
        let Ok(len) = build::cancel(&sent, step.effects.room()) else {
            return;
        };
        let bytes = step.effects.send(len, to.addr(), listen);
        let Some(kept) = self.kept.put(bytes) else {
            step.counters.count(Counter::KeptExhausted);
            return;
        };
        let client = Client::new(Method::Cancel, marks, to, listen, kept, step.now);
        let Some(cancel) = self.clients.insert(client) else {
            return;
        };
        self.arm_client(cancel);
        if let Some(invite) = self.clients.get_mut(id) {
            invite.cancelled(cancel, step.now);
        }
        self.arm_client(id);
    }
}
