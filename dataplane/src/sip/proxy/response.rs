//! Responses (RFC 3261 §16.7): to the client transaction, and upstream.

use super::Arrival;
use super::Proxy;
use super::Step;
use crate::counters::Counter;
use crate::limits::CALL_MS_MAX;
use crate::sip::build;
use crate::sip::call::Call;
use crate::sip::call::Party;
use crate::sip::edit;
use crate::sip::identity::NotOurs;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::report::CallState;
use crate::sip::slab::Id;
use crate::sip::transaction::Cancel;
use crate::sip::transaction::ClientState;
use crate::sip::transaction::Heard;

impl Proxy {
    /// Takes up a response whose branch names this worker.
    pub(super) fn response(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        let via = message.via();
        let branch = via.branch.map_or(&[][..], |branch| message.text(branch));
        let id = match self.identity.read_branch(branch) {
            Ok(branch) => branch.id,
            Err(NotOurs::Forged) => return Counter::SipBranchForged,
            Err(NotOurs::Stale) => return Counter::SipBranchStale,
        };
        let Some(id) = self.client_of(id, message.method()) else {
            return Counter::SipStrayResponse;
        };
        let Some(client) = self.clients.get_mut(id) else {
            return Counter::SipStrayResponse;
        };
        let status = message.status().unwrap_or_default();
        step.counters.count(Counter::Responses);
        let heard = client.hear(status, step.now);
        let server = client.server;
        if heard == Heard::ForwardAndAck {
            self.acknowledge_failure(id, message, step);
        }
        let outcome = match heard {
            Heard::Forward | Heard::ForwardAndAck => {
                let outcome = self.forward_response(server, message, arrival, step);
                self.shrink(id);
                outcome
            }
            Heard::Ack => {
                self.resend_request(id, step);
                Counter::SipAbsorbed
            }
            Heard::Absorb => Counter::SipAbsorbed,
        };
        self.arm_client(id);
        let wanted = self.clients.get(id).is_some_and(|client| {
            client.cancel == Cancel::Wanted && client.state == ClientState::Proceeding
        });
        if wanted {
            self.cancel_client(id, step);
        }
        outcome
    }

    /// The client transaction that a response to `method` is for: an INVITE and its CANCEL
    /// share a branch and are told apart by CSeq's method (RFC 3261 §17.1.3).
    pub(super) fn client_of(&self, id: Id, method: Method) -> Option<Id> {
        let client = self.clients.get(id)?;
        match (client.cancel, method) {
            _ if client.method == method => Some(id),
            (Cancel::Sent(cancel), Method::Cancel) => Some(cancel),
            _ => None,
        }
    }

    /// RFC 3261 §17.1.1.3: the ACK to a failure is ours to send, and takes the place of the
    /// INVITE among the kept messages.
    fn acknowledge_failure(&mut self, id: Id, response: &Message<'_>, step: &mut Step<'_>) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let (to, listen) = (client.destination, client.listen);
        let Some(kept) = client.message.take() else {
            return;
        };
        let room = step.effects.room();
        let built = Message::scan(self.kept.bytes(&kept))
            .ok()
            .and_then(|invite| build::ack(&invite, response, room).ok());
        self.kept.release(kept);
        let Some(len) = built else { return };
        let ack = self.kept.put(step.effects.send(len, to.addr(), listen));
        if let Some(client) = self.clients.get_mut(id) {
            client.message = ack;
        }
    }

    /// Gives back the request of a transaction that only lingers now.
    fn shrink(&mut self, id: Id) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let lingers = match client.state {
            ClientState::Accepted => true,
            ClientState::Completed => client.method != Method::Invite,
            ClientState::Calling | ClientState::Proceeding => false,
        };
        if lingers {
            let request = client.message.take();
            self.release(request);
        }
    }

    /// Sends a response upstream: our Via gone, its SDP anchored (RFC 3261 §16.7 steps 3 to 9).
    fn forward_response(
        &mut self,
        server: Option<Id>,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        let status = message.status().unwrap_or_default();
        let Some(id) = server else {
            return Counter::SipAbsorbed;
        };
        let Some(server) = self.servers.get_mut(id) else {
            return Counter::SipStrayResponse;
        };
        if !server.respond(status, step.now) {
            return Counter::SipAbsorbed;
        }
        // Whatever becomes of the message, the transaction ends in its time.
        let (to, listen, call, invite) =
            (server.reply_to, server.listen, server.call, server.invite);
        self.arm_server(id);
        let from = self.answering_party(call, message);
        self.note_response(id, call, message, from, arrival, step);
        let described = self.describe_or_pass(message, call, from, step);
        self.negotiate(described, call, Some(id), step);
        self.conclude(message, call, from, id, step);
        if edit::pop_via(message, &mut self.splices).is_err() {
            return Counter::SipNotRoutable;
        }
        let sent = match self.splices.write(message.bytes(), step.effects.room()) {
            Ok(len) => step.effects.send(len, to.addr(), listen),
            Err(_) => return Counter::SipTooLong,
        };
        // A 2xx to INVITE is repeated by who sent it (RFC 6026 §7.1).
        let kept = if invite && (200..300).contains(&status) {
            None
        } else {
            self.kept.put(sent)
        };
        if let Some(server) = self.servers.get_mut(id) {
            let old = std::mem::replace(&mut server.response, kept);
            self.release(old);
        }
        Counter::SipForwarded
    }

    /// Who answers: the request came from the party whose tag is in From.
    fn answering_party(&self, call: Option<Id>, message: &Message<'_>) -> Party {
        let caller_tag = message.from_tag().unwrap_or_default();
        let began_by =
            |call: &Call| call.key == self.call_key(message.call_id(), caller_tag, call.sides);
        let asked_by_caller = call.and_then(|id| self.calls.get(id)).is_none_or(began_by);
        if asked_by_caller {
            Party::Callee
        } else {
            Party::Caller
        }
    }

    /// What a response means for its call.
    fn note_response(
        &mut self,
        server: Id,
        call_id: Option<Id>,
        message: &Message<'_>,
        from: Party,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) {
        let status = message.status().unwrap_or_default();
        let Some(id) = call_id else { return };
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if self.dial.trunk_of(arrival.source.ip()).is_some() {
            call.parties[from as usize] = Some(arrival.source);
        }
        let waiting = matches!(call.state, CallState::Calling | CallState::Early);
        match (message.method(), status) {
            (Method::Invite, 101..=199) if waiting && message.to_tag().is_some() => {
                call.state = CallState::Early;
            }
            (Method::Invite, 200..=299) if waiting && call.invite == server => {
                call.state = CallState::Established;
                call.answered = Some(step.now);
                call.due = step.now.plus_ms(CALL_MS_MAX);
                step.counters.count(Counter::CallsAnswered);
                self.trunks.call_answered(call.trunks);
                self.arm_call(id);
            }
            (Method::Invite, 300..) if waiting && call.invite == server => {
                step.counters.count(Counter::CallsFailed);
                self.end_call(id, step.now);
            }
            // RFC 3261 §12.2.1.2: the other party knows no such dialog, or is gone. Of other
            // methods it may be a subscription or a reliable response that it does not know.
            (Method::Invite | Method::Update, 408 | 481)
                if call.state == CallState::Established =>
            {
                self.hang_up(id, step);
            }
            // RFC 3261 §15.1.1: a BYE ends the dialog whatever the answer to it is; a
            // challenge is not yet the end.
            (Method::Bye, 200..)
                if call.state == CallState::Established && !matches!(status, 401 | 407) =>
            {
                step.counters.count(Counter::CallsEnded);
                self.end_call(id, step.now);
            }
            _ => {}
        }
    }
}
