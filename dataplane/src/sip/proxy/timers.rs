//! Timers: retransmissions, time-outs, and the ends of transactions and calls.

use super::Proxy;
use super::Step;
use super::Timer;
use crate::counters::Counter;
use crate::sip::build;
use crate::sip::edit;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::report::CallState;
use crate::sip::slab::Id;
use crate::sip::transaction::Branches;
use crate::sip::transaction::Cancel;
use crate::sip::transaction::Client;
use crate::sip::transaction::ClientFired;
use crate::sip::transaction::ServerFired;
use crate::sip::transaction::ServerState;
use crate::tick::Tick;

/// RFC 3261 §16.8: no final response came in time.
const TIMED_OUT: u16 = 408;

impl Proxy {
    /// When a timer may be due next; `Tick::NEVER` where none is armed.
    #[must_use]
    pub fn next_due(&self) -> Tick {
        if !self.answers.is_empty() {
            return Tick(0);
        }
        self.wheel.next_due()
    }

    /// Fires one timer that is due; false where none is.
    pub fn fire(&mut self, step: &mut Step<'_>) -> bool {
        debug_assert!(
            step.effects.is_empty(),
            "the effects of the last input are still there"
        );
        let Some(timer) = self.wheel.expire(step.now) else {
            return false;
        };
        self.splices.clear();
        match self.timer(timer) {
            Timer::Client(slot) => {
                if let Some(id) = self.clients.tenant(slot) {
                    self.fire_client(id, step);
                }
            }
            Timer::Server(slot) => {
                if let Some(id) = self.servers.tenant(slot) {
                    self.fire_server(id, step);
                }
            }
            Timer::Call(slot) => {
                if let Some(id) = self.calls.tenant(slot) {
                    self.fire_call(id, step);
                }
            }
            Timer::Ticket(slot) => {
                if let Some(ticket) = self.tickets.tenant(slot) {
                    self.fire_ticket(ticket, step);
                }
            }
            Timer::Binding(slot) => self.fire_binding(slot, step),
        }
        true
    }

    pub(super) fn timer(&self, number: u32) -> Timer {
        type Kind = fn(u32) -> Timer;
        let kinds: [(u32, Kind); 4] = [
            (self.clients.capacity(), Timer::Client),
            (self.servers.capacity(), Timer::Server),
            (self.calls.capacity(), Timer::Call),
            (self.tickets.capacity(), Timer::Ticket),
        ];
        let mut slot = number;
        for (count, kind) in kinds {
            if slot < count {
                return kind(slot);
            }
            slot -= count;
        }
        Timer::Binding(slot)
    }

    /// Arms the timer of a client transaction anew.
    pub(super) fn arm_client(&mut self, id: Id) {
        if let Some(client) = self.clients.get(id) {
            self.wheel.arm(id.slot, client.due());
        }
    }

    /// Arms the timer of a server transaction anew.
    pub(super) fn arm_server(&mut self, id: Id) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let timer = self.clients.capacity() + id.slot;
        match server.due() {
            Tick::NEVER => self.wheel.disarm(timer),
            due => self.wheel.arm(timer, due),
        }
    }

    /// Arms the timer of a call anew.
    pub(super) fn arm_call(&mut self, id: Id) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let timer = self.clients.capacity() + self.servers.capacity() + id.slot;
        match call.due {
            Tick::NEVER => self.wheel.disarm(timer),
            due => self.wheel.arm(timer, due),
        }
    }

    /// Sends the response kept by a server transaction again.
    pub(super) fn resend_response(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        if let Some(kept) = &server.response {
            step.effects
                .send_copy(self.kept.bytes(kept), server.reply_to.addr(), server.listen);
            step.counters.count(Counter::Retransmissions);
        }
    }

    /// Sends what a client transaction keeps, the request or the ACK, again.
    pub(super) fn resend_request(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        if let Some(kept) = &client.message {
            let bytes = self.kept.bytes(kept);
            step.effects
                .send_copy(bytes, client.destination.addr(), client.listen);
            if client.by_kernel {
                step.effects.last_by_kernel();
            }
            step.counters.count(Counter::Retransmissions);
        }
    }

    fn fire_client(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        match client.fire(step.now) {
            ClientFired::Nothing => self.arm_client(id),
            ClientFired::Resend => {
                self.resend_request(id, step);
                self.arm_client(id);
            }
            ClientFired::Unheard => self.no_answer(id, step),
            ClientFired::TimedOut => {
                step.counters.count(Counter::TransactionTimeouts);
                self.give_up(id, TIMED_OUT, step);
                self.end_client(id);
            }
            ClientFired::Cancel => {
                self.cancel_client(id, step);
                // Where no CANCEL could be made, the INVITE ends all the same.
                let sent = |client: &Client| matches!(client.cancel, Cancel::Sent(_));
                if !self.clients.get(id).is_some_and(sent) {
                    step.counters.count(Counter::TransactionTimeouts);
                    self.give_up(id, TIMED_OUT, step);
                    self.end_client(id);
                }
            }
            ClientFired::End => {
                // A late 2xx may not have been ended for want of room: its call ends all the same.
                self.branch_is_over(id, step);
                self.end_client(id);
            }
        }
    }

    /// No final response will come. The request is answered with `status`, an INVITE that was
    /// cancelled with 487 (RFC 3261 §16.7 step 6, §9.1). Where only the time is up, others than
    /// INVITE get nothing (RFC 4320 §4.2).
    pub(super) fn give_up(&mut self, client_id: Id, status: u16, step: &mut Step<'_>) {
        let Some(client) = self.clients.get(client_id) else {
            return;
        };
        let Some(server_id) = client.server else {
            return;
        };
        let method = client.method;
        if let Some(of) = self.of_target(client_id) {
            // Without any answer it is a 408, to what was cancelled a 487, and nothing to others
            // than INVITE.
            let said = Some(status).filter(|&status| status != TIMED_OUT);
            self.target_unreachable(of, said, step);
            return;
        }
        let server = self.servers.get(server_id);
        let Some(server) = server.filter(|s| s.state == ServerState::Proceeding) else {
            self.is_too_late(client_id, step);
            return;
        };
        let cancelled = server.cancelled;
        self.note_given_up(client_id, step);
        if method == Method::Invite {
            self.fail_upstream(
                client_id,
                server_id,
                if cancelled { 487 } else { status },
                step,
            );
        } else if status == TIMED_OUT {
            self.end_server(server_id);
        } else {
            self.fail_upstream(client_id, server_id, status, step);
        }
    }

    /// Answers an INVITE that we sent on, and gives up its server transaction where no
    /// answer can be made.
    fn fail_upstream(&mut self, client: Id, server: Id, status: u16, step: &mut Step<'_>) {
        if self.answer_upstream(client, server, status, step).is_none() {
            self.end_server(server);
        }
    }

    /// The answer is made from the message as sent, whose Vias below ours are those of the
    /// request.
    fn answer_upstream(
        &mut self,
        client: Id,
        server: Id,
        status: u16,
        step: &mut Step<'_>,
    ) -> Option<()> {
        let kept = self.clients.get(client)?.message.as_ref()?;
        let sent = Message::scan(self.kept.bytes(kept)).ok()?;
        let (cseq, ..) = sent.cseq();
        let from_tag = sent.from_tag().unwrap_or_default();
        let tag = self.identity.to_tag(sent.call_id(), from_tag, cseq);
        let response = build::Response {
            to_tag: Some(&tag),
            ..build::Response::new(status)
        };
        let len = build::response(&sent, &response, &mut self.scratch).ok()?;
        let response = Message::scan(&self.scratch[..len]).ok()?;
        edit::pop_via(&response, &mut self.splices).ok()?;
        let entry = self.servers.get_mut(server)?;
        let may = entry.respond(status, step.now);
        let place = entry.place;
        if !may {
            self.check_place(place);
            return Some(());
        }
        let len = self
            .splices
            .write(response.bytes(), step.effects.room())
            .ok()?;
        let sent = step.effects.send(len, entry.reply_to.addr(), entry.listen);
        let old = std::mem::replace(&mut entry.response, self.kept.put(sent));
        self.release(old);
        self.arm_server(server);
        self.check_place(place);
        Some(())
    }

    fn fire_server(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        match server.fire(step.now) {
            ServerFired::Nothing => self.arm_server(id),
            ServerFired::Resend => {
                self.resend_response(id, step);
                self.arm_server(id);
            }
            ServerFired::Trying => {
                // RFC 4320 §4.1: a 100 so late, and no other provisional response.
                match self.servers.get(id).map(|server| server.branches) {
                    Some(Branches::One(client)) => {
                        self.answer_upstream(client, id, 100, step);
                    }
                    Some(Branches::Context(context)) => self.still_trying(context, id, step),
                    Some(Branches::Parked(ticket)) => self.still_parked(ticket, step),
                    Some(Branches::None) | None => {}
                }
                self.arm_server(id);
            }
            ServerFired::LastMoment => {
                if let Some(Branches::Context(context)) = self.servers.get(id).map(|s| s.branches) {
                    self.finish_in_time(context, step);
                }
                self.arm_server(id);
            }
            ServerFired::End => self.end_server(id),
        }
    }

    fn fire_call(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        if call.due > step.now {
            self.arm_call(id);
        } else if call.state == CallState::Ended {
            self.forget_call(id, step);
        } else {
            self.put_down(id, step);
        }
    }
}
