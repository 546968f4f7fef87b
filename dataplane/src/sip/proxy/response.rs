//! Responses (RFC 3261 §16.7): to the client transaction, and upstream.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::describe::Described;
use super::session::refreshes;
use crate::counters::Counter;
use crate::sip::build;
use crate::sip::call::Call;
use crate::sip::call::Party;
use crate::sip::call::Sender;
use crate::sip::edit;
use crate::sip::identity::Branch;
use crate::sip::identity::Kind;
use crate::sip::identity::NotOurs;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::report::CallState;
use crate::sip::slab::Id;
use crate::sip::transaction::Cancel;
use crate::sip::transaction::Client;
use crate::sip::transaction::ClientState;
use crate::sip::transaction::Heard;
use crate::sip::transaction::ServerState;
use crate::span::Span;

/// What stands in the place of a 503's first line.
const NOT_503: &[u8] = b"SIP/2.0 500 Server Internal Error\r\n";

/// How a response went upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// With all that was to be changed.
    Whole,
    /// As it came but for our Via: the rest did not fit.
    Bare,
}

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
        let branch = match self.identity.read_branch(branch) {
            Ok(branch) if branch.kind == Kind::Stateless => {
                return self.stateless_response(message, branch, step);
            }
            Ok(branch) => branch,
            Err(NotOurs::Forged) => return Counter::SipBranchForged,
            Err(NotOurs::Stale) => return Counter::SipBranchStale,
        };
        let Some(id) = self.client_of(branch, message.method()) else {
            return Counter::SipStrayResponse;
        };
        let echo = self.echo(message);
        let Some(client) = self.clients.get_mut(id) else {
            return Counter::SipStrayResponse;
        };
        // RFC 3261 §8.2.6.2: it repeats Call-ID, From and CSeq. What does not would speak of another
        // call than its branch.
        if !client.marks.has_echo(echo) {
            return Counter::SipStrayResponse;
        }
        // RFC 3261 §18.1.2: a response whose top Via is not as we wrote it is not for us.
        let listen = usize::from(client.listen.0);
        let said = message.bytes().get(via.host.start.into()..);
        let said = said.and_then(|said| said.strip_prefix(self.advertised[listen].sent_by()));
        if said.and_then(<[u8]>::first) != Some(&b';') {
            // Others may spell an address in another way.
            let sent_by = self.listens[listen].advertised;
            if via.port.unwrap_or(5060) != sent_by.port()
                || via.host_ip(message.bytes()) != Some(sent_by.ip())
            {
                return Counter::SipStrayResponse;
            }
        }
        let status = message.status().unwrap_or_default();
        step.counters.count(Counter::Responses);
        // A repeated 2xx moves nothing: a newer offer may have been answered since.
        let repeated = client.state == ClientState::Accepted;
        let heard = client.hear(status, step.now);
        if heard == Heard::ForwardAndAck {
            self.acknowledge_failure(id, message, step);
        }
        let outcome = match heard {
            Heard::Forward | Heard::ForwardAndAck => {
                let outcome = match self.of_target(id) {
                    Some(of) => self.context_response(of, message, arrival, step),
                    None => self.forward_response(id, repeated, message, arrival, step),
                };
                self.shrink(id);
                outcome
            }
            Heard::Ack => {
                step.counters.count(Counter::Retransmissions);
                self.send_ack(id, message, step);
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
    pub(super) fn client_of(&self, branch: Branch, method: Method) -> Option<Id> {
        let client = self.clients.get(branch.id)?;
        if client.marks.loop_hash != branch.loop_hash {
            return None;
        }
        match (client.cancel, method) {
            _ if client.method == method => Some(branch.id),
            (Cancel::Sent(cancel), Method::Cancel) => Some(cancel),
            _ => None,
        }
    }

    /// RFC 3261 §17.1.1.3: the ACK to a failure is ours to send, and what has to be kept for it
    /// takes the place of the INVITE.
    fn acknowledge_failure(&mut self, id: Id, response: &Message<'_>, step: &mut Step<'_>) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let Some(kept) = client.message.take() else {
            return;
        };
        let built = Message::scan(self.kept.bytes(&kept))
            .ok()
            .and_then(|invite| build::ack_head(&invite, &mut self.scratch).ok());
        self.kept.release(kept);
        client.message = built.and_then(|len| self.kept.put(&self.scratch[..len]));
        self.send_ack(id, response, step);
    }

    /// Acknowledges a failure, each time that it comes.
    fn send_ack(&self, id: Id, response: &Message<'_>, step: &mut Step<'_>) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let Some(head) = client.message.as_ref() else {
            return;
        };
        let head = self.kept.bytes(head);
        if let Ok(len) = build::ack(head, response, step.effects.room()) {
            step.effects
                .send(len, client.destination.addr(), client.listen);
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

    /// Takes a response upstream: what it means for the call, its SDP anchored (RFC 3261 §16.7
    /// step 9).
    pub(super) fn forward_response(
        &mut self,
        client: Id,
        repeated: bool,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        let status = message.status().unwrap_or_default();
        let Some(&Client { server, sender, .. }) = self.clients.get(client) else {
            return Counter::SipStrayResponse;
        };
        let Some(id) = server else {
            // To a request of our own.
            return Counter::SipAbsorbed;
        };
        let state = self.servers.get(id).map(|server| server.state);
        // RFC 4320 §4.2: a 408 to another request than INVITE ends its transaction in silence.
        let silent = status == 408 && message.method() != Method::Invite;
        let silent = silent && state == Some(ServerState::Proceeding);
        if !self.respond(id, status, step) && !silent {
            return self.unwanted(client, repeated, message, step);
        }
        if state == Some(ServerState::Accepted) && !repeated {
            // A second branch is answered: one call more.
            let call = sender.and_then(|sender| self.calls.get(sender.call));
            self.call_came_in(call.and_then(|call| call.trunks[0]), step);
        }
        if let Some(sender) = sender {
            self.note_response(client, sender, message, arrival, step);
        }
        // One that cannot be anchored goes on as it is; its media stays closed.
        let call = sender.map(|sender| sender.call);
        let from = sender.map_or(Party::Callee, |sender| sender.party.other());
        let mut described = Described::nothing(from);
        self.describe_or_pass(message, call, &mut described, step);
        self.negotiate(&mut described, call, Some(id), step);
        self.conclude(message, call, from, id, step);
        if silent {
            return Counter::SipAbsorbed;
        }
        if message.method() == Method::Register && (200..300).contains(&status) {
            self.note_granted(client, id, message, step);
        }
        let refreshed =
            sender.filter(|_| (200..300).contains(&status) && refreshes(message.method()));
        if let Some(sender) = refreshed {
            self.agree_session(client, sender, message, repeated, step);
        }
        match (self.write_upstream(id, message, &[], step), refreshed) {
            (Some(Written::Whole), _) | (Some(Written::Bare), None) => Counter::SipForwarded,
            (Some(Written::Bare), Some(sender)) => {
                self.unwatch_session(sender.call);
                Counter::SipForwarded
            }
            (None, _) => Counter::SipTooLong,
        }
    }

    /// Takes note that a response with this status goes upstream; false where none may.
    /// Whatever becomes of the message, the transaction ends in its time.
    pub(super) fn respond(&mut self, id: Id, status: u16, step: &Step<'_>) -> bool {
        let Some(server) = self.servers.get_mut(id) else {
            return false;
        };
        let may = server.respond(status, step.now);
        let place = server.place;
        self.arm_server(id);
        self.check_place(place);
        may
    }

    /// Sends a response upstream: our Via gone (RFC 3261 §16.7 step 3), `lines` added below the
    /// others. The splices so far are kept. Where all that does not fit it goes without the rest:
    /// a final response must not be lost (step 6), and shorter by our Via it always fits.
    pub(super) fn write_upstream(
        &mut self,
        id: Id,
        message: &Message<'_>,
        lines: &[u8],
        step: &mut Step<'_>,
    ) -> Option<Written> {
        let server = self.servers.get(id)?;
        let (to, listen, invite) = (server.reply_to.addr(), server.listen, server.invite);
        let room = step.effects.room();
        let (written, len) = match self.edit_upstream(message, lines, room) {
            Some(len) => (Written::Whole, len),
            None => {
                self.splices.clear();
                (Written::Bare, self.edit_upstream(message, &[], room)?)
            }
        };
        let sent = step.effects.send(len, to, listen);
        // A 2xx to INVITE is repeated by who sent it (RFC 6026 §7.1).
        let is_2xx = matches!(message.status(), Some(200..=299));
        let kept = if invite && is_2xx {
            None
        } else {
            self.kept.put(sent)
        };
        if let Some(server) = self.servers.get_mut(id) {
            let old = std::mem::replace(&mut server.response, kept);
            self.release(old);
        }
        Some(written)
    }

    /// Writes a response as it goes upstream; its length, if it fits.
    fn edit_upstream(
        &mut self,
        message: &Message<'_>,
        lines: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let headers = message.header_block();
        edit::pop_via(message, &mut self.splices).ok()?;
        self.splices.insert(headers.end, lines).ok()?;
        // RFC 3261 §16.7 step 6: that hop is overloaded, which does not say that we are.
        if message.status() == Some(503) {
            let start_line = Span {
                start: 0,
                end: headers.start,
            };
            self.splices.replace(start_line, NOT_503).ok()?;
        }
        self.splices.write(message.bytes(), out).ok()
    }

    /// A response to a request that has been answered otherwise, or long ago.
    fn unwanted(
        &mut self,
        client: Id,
        repeated: bool,
        message: &Message<'_>,
        step: &mut Step<'_>,
    ) -> Counter {
        match message.status().unwrap_or_default() {
            ..=199 => {}
            200..=299 if message.method() == Method::Invite => {
                self.end_late_answer(client, repeated, message, step);
            }
            _ => self.is_too_late(client, step),
        }
        Counter::SipAbsorbed
    }

    /// What came, or that nothing did, is of no use any more to who sent the request. Where that is no INVITE
    /// its sender has given up (RFC 3261 §17.1.2.2): it had waited here before it was sent on.
    pub(super) fn is_too_late(&mut self, client: Id, step: &mut Step<'_>) {
        match self.clients.get(client).map(|client| client.method) {
            Some(Method::Invite) => self.branch_is_over(client, step),
            _ => self.note_given_up(client, step),
        }
    }

    /// A branch of an INVITE has come to nothing, while others may yet be answered: so has its
    /// call.
    pub(super) fn branch_is_over(&mut self, client: Id, step: &Step<'_>) {
        let sender = self.clients.get(client).and_then(|client| client.sender);
        let Some(Sender { call: id, .. }) = sender else {
            return;
        };
        let begun_by_it = |call: &Call| {
            call.invite == client && matches!(call.state, CallState::Calling | CallState::Early)
        };
        if self.calls.get(id).is_some_and(begun_by_it) {
            self.end_call(id, step.now);
        }
    }
}
