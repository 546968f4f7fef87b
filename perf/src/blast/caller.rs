//! The caller's end: INVITE, ACK, CANCEL, BYE, and what is heard in answer.

use std::net::SocketAddr;

use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::method::Method;
use trunkline_dataplane::sip::uri::Uri;
use trunkline_dataplane::span::Span;
use trunkline_dataplane::tick::Tick;

use super::call::CallerState;
use super::call::GIVE_UP_NS;
use super::call::Id;
use super::call::Side;
use super::call::T2_NS;
use super::call::after;
use super::call::wait_ns;
use super::digest;
use super::digest::Credentials;
use super::load::Load;
use super::load::Outbox;
use super::media;
use super::script::Script;
use super::speech::Ask;
use super::tally::Failure;
use super::tally::Measure;

/// Record-Route values of a route set.
const ROUTES_MAX: usize = 16;

/// Challenges that a caller answers: one of each proxy on the way, and a stale nonce.
const CHALLENGES_MAX: u8 = 3;

/// Re-INVITEs of a held call: on hold, and back.
const HOLDS: u8 = 2;

impl Load {
    /// Says the first request of a call, or a registration.
    pub(super) fn open(&mut self, id: Id, now: Tick, out: &mut impl Outbox) {
        if self.calls[id.seat as usize].script != Script::Register {
            return self.invite(id, now, out);
        }
        let call = &mut self.calls[id.seat as usize];
        let register = ("REGISTER", self.speech.uri("REGISTER"));
        let known = self.phones.authorize(call.user, register, id.generation);
        call.caller.authorization = known.unwrap_or_default();
        call.caller.begun = now;
        self.register(id, now, out);
    }

    /// Says REGISTER, with the credentials that there are.
    fn register(&mut self, id: Id, now: Tick, out: &mut impl Outbox) {
        self.calls[id.seat as usize].caller.state = CallerState::Calling;
        self.ask_first(id, Ask::Register, now, out);
    }

    /// Says INVITE: a new call's, or a re-INVITE.
    pub(super) fn invite(&mut self, id: Id, now: Tick, out: &mut impl Outbox) {
        let caller = &mut self.calls[id.seat as usize].caller;
        caller.state = CallerState::Calling;
        caller.heard = 0;
        self.ask_first(id, Ask::Invite, now, out);
    }

    /// Says a request for the first time.
    fn ask_first(&mut self, id: Id, ask: Ask<'_>, now: Tick, out: &mut impl Outbox) {
        let caller = &mut self.calls[id.seat as usize].caller;
        caller.tries = 0;
        caller.since = now;
        self.ask(id, ask, out);
        self.arm(id, Side::Caller, Tick(now.0 + wait_ns(0, None)));
    }

    fn ask(&mut self, id: Id, ask: Ask<'_>, out: &mut impl Outbox) {
        let hop = self.calls[id.seat as usize].caller.hop;
        self.say(Side::Caller, hop, out, &mut |speech, calls, pen| {
            speech.request(pen, ask, id, &calls[id.seat as usize]);
        });
    }

    /// Says a request again, or gives up after 64·T1 (Timers A and B, E and F).
    fn ask_again(
        &mut self,
        id: Id,
        (ask, most, why): (Ask<'_>, Option<u64>, Failure),
        now: Tick,
        out: &mut impl Outbox,
    ) {
        let call = &mut self.calls[id.seat as usize];
        let (caller, script) = (&mut call.caller, call.script);
        let end = Tick(caller.since.0 + GIVE_UP_NS);
        if now >= end {
            return self.fail(id, why);
        }
        caller.tries += 1;
        let next = Tick(now.0 + wait_ns(caller.tries, most));
        self.tally.counts.repeated += 1;
        self.tally.counts.repeated_in_calls += u64::from(script != Script::Register);
        self.ask(id, ask, out);
        self.arm(id, Side::Caller, next.min(end));
    }

    /// The caller's timer.
    pub(super) fn fire_caller(&mut self, id: Id, now: Tick, out: &mut impl Outbox) {
        let Some(call) = self.call(id) else { return };
        let within = call.caller.confirmed;
        let script = call.script;
        match call.caller.state {
            CallerState::Calling if script == Script::Register => {
                let give_up = (Ask::Register, Some(T2_NS), Failure::RequestTimeout);
                self.ask_again(id, give_up, now, out);
            }
            CallerState::Calling => {
                let why = match within {
                    true => Failure::RequestTimeout,
                    false => Failure::InviteTimeout,
                };
                self.ask_again(id, (Ask::Invite, None, why), now, out);
            }
            CallerState::Proceeding if Load::gives_up(script) && !within => {
                self.calls[id.seat as usize].caller.state = CallerState::Cancelling;
                self.ask_first(id, Ask::Cancel, now, out);
            }
            CallerState::Cancelling => {
                let give_up = (Ask::Cancel, Some(T2_NS), Failure::RequestTimeout);
                self.ask_again(id, give_up, now, out);
            }
            CallerState::Proceeding | CallerState::Cancelled => self.fail(id, Failure::NoAnswer),
            CallerState::Talking => self.go_on(id, now, out),
            CallerState::Ending => {
                let give_up = (Ask::Bye, Some(T2_NS), Failure::RequestTimeout);
                self.ask_again(id, give_up, now, out);
            }
            CallerState::Over => {}
        }
    }

    /// The next part of the call: hold, take up again, BYE.
    fn go_on(&mut self, id: Id, now: Tick, out: &mut impl Outbox) {
        let call = &mut self.calls[id.seat as usize];
        call.caller.cseq += 1;
        if call.script == Script::Hold && call.caller.held < HOLDS {
            return self.invite(id, now, out);
        }
        call.caller.state = CallerState::Ending;
        if self.plan.media {
            self.media.silence(id);
        }
        self.ask_first(id, Ask::Bye, now, out);
    }

    /// The dialog stands and is quiet until the next part begins.
    fn talk(&mut self, id: Id, now: Tick, out: &mut impl Outbox) {
        let call = &mut self.calls[id.seat as usize];
        call.caller.state = CallerState::Talking;
        let parts = match call.script {
            Script::Hold => u32::from(HOLDS) + 1,
            _ => 1,
        };
        let part = self.plan.times.talk / parts;
        if part.is_zero() {
            return self.go_on(id, now, out);
        }
        self.arm(id, Side::Caller, after(now, part));
    }

    /// A response to the caller.
    pub(super) fn heard_response(
        &mut self,
        message: &Message<'_>,
        status: u16,
        now: Tick,
        out: &mut impl Outbox,
    ) {
        let Some(id) = self.open_call(message) else {
            self.tally.counts.stray += 1;
            return;
        };
        let (cseq, _, method) = message.cseq();
        let caller = &self.calls[id.seat as usize].caller;
        let current = cseq == caller.cseq;
        match method {
            Method::Invite if current => self.heard_of_invite(id, message, status, now, out),
            // A 2xx that comes again after the call has gone on gets its ACK again.
            Method::Invite if status / 100 == 2 && caller.confirmed => {
                self.tally.counts.heard_again += 1;
                self.ask(id, Ask::Ack(cseq), out);
            }
            Method::Register if current && status >= 200 => {
                self.heard_of_register(id, message, status, now, out);
            }
            Method::Bye if current && caller.state == CallerState::Ending => {
                self.heard_of_bye(id, status, now);
            }
            Method::Cancel if caller.state == CallerState::Cancelling && status >= 200 => {
                self.calls[id.seat as usize].caller.state = CallerState::Cancelled;
                self.arm(id, Side::Caller, Tick(now.0 + GIVE_UP_NS));
            }
            _ => self.tally.counts.heard_again += 1,
        }
    }

    fn heard_of_invite(
        &mut self,
        id: Id,
        message: &Message<'_>,
        status: u16,
        now: Tick,
        out: &mut impl Outbox,
    ) {
        let call = &mut self.calls[id.seat as usize];
        let (state, since) = (call.caller.state, call.caller.since);
        let waits = matches!(
            state,
            CallerState::Calling
                | CallerState::Proceeding
                | CallerState::Cancelling
                | CallerState::Cancelled
        );
        if !waits {
            return self.heard_final_again(id, message, status, out);
        }
        let within = call.caller.confirmed;
        if status < 200 {
            let first = call.caller.heard == 0;
            let rings = status == 180 && call.caller.heard < 180;
            let rang = call.callee.rang;
            call.caller.heard = call.caller.heard.max(status);
            if first {
                self.tally.took(Measure::FirstResponse, since, now);
            }
            if rings && !within {
                self.tally.took(Measure::Ringing, since, now);
                self.tally.took(Measure::ResponseTransit, rang, now);
            }
            if first && state == CallerState::Calling {
                let call = &mut self.calls[id.seat as usize];
                call.caller.state = CallerState::Proceeding;
                let patience = match Load::gives_up(call.script) && !within {
                    true => self.plan.times.ring,
                    false => self.plan.times.ring + std::time::Duration::from_nanos(GIVE_UP_NS),
                };
                self.arm(id, Side::Caller, after(now, patience));
            }
            return;
        }
        if !within && matches!(state, CallerState::Calling | CallerState::Proceeding) {
            self.tally.took(Measure::Final, since, now);
        }
        if status >= 300 {
            return self.heard_refusal(id, message, status, now, out);
        }
        let answered = self.calls[id.seat as usize].callee.since;
        self.tally.took(Measure::ResponseTransit, answered, now);
        if !self.confirm(id, message) {
            return self.fail(id, Failure::Wrong);
        }
        let caller = &mut self.calls[id.seat as usize].caller;
        caller.acked = now;
        let cseq = caller.cseq;
        self.ask(id, Ask::Ack(cseq), out);
        if self.plan.media {
            self.begin_media(id, now);
        }
        self.talk(id, now, out);
    }

    /// Both ends of a basic call know where the other wants its media: they talk.
    fn begin_media(&mut self, id: Id, now: Tick) {
        let call = &self.calls[id.seat as usize];
        let wanted = (call.caller.media, call.callee.media);
        if let (Script::Basic, (Some(mut callee), Some(mut caller))) = (call.script, wanted) {
            if self.plan.outbound {
                // Nobody has put the forwarder's addresses into the SDP.
                callee.set_ip(self.plan.target.ip());
                caller.set_ip(self.plan.from.ip());
            }
            self.media.begin(id, [callee, caller], now);
        }
    }

    /// A final response after the first one: an ACK for each (RFC 3261 §13.2.2.4, §17.1.1.2).
    fn heard_final_again(
        &mut self,
        id: Id,
        message: &Message<'_>,
        status: u16,
        out: &mut impl Outbox,
    ) {
        self.tally.counts.heard_again += 1;
        if status >= 300 {
            self.ask(id, Ask::AckRefusal(message.text(message.to().value)), out);
        } else if status >= 200 {
            self.ask(id, Ask::Ack(message.cseq().0), out);
        }
    }

    fn heard_refusal(
        &mut self,
        id: Id,
        message: &Message<'_>,
        status: u16,
        now: Tick,
        out: &mut impl Outbox,
    ) {
        self.ask(id, Ask::AckRefusal(message.text(message.to().value)), out);
        if self.authorize(id, message, status, "INVITE") {
            return self.invite(id, now, out);
        }
        let script = self.calls[id.seat as usize].script;
        match (script, status) {
            (Script::Busy, 486) | (Script::Cancel, 487) => self.complete(id),
            _ => self.refuse(id, status),
        }
    }

    /// The call fails by a final response.
    fn refuse(&mut self, id: Id, status: u16) {
        let class = usize::from(status / 100).clamp(3, 6) - 3;
        self.tally.counts.refused[class] += 1;
        self.fail(id, Failure::Refused);
    }

    fn heard_of_register(
        &mut self,
        id: Id,
        message: &Message<'_>,
        status: u16,
        now: Tick,
        out: &mut impl Outbox,
    ) {
        let caller = &self.calls[id.seat as usize].caller;
        if caller.state != CallerState::Calling {
            self.tally.counts.heard_again += 1;
            return;
        }
        self.tally.took(Measure::Register, caller.since, now);
        if self.authorize(id, message, status, "REGISTER") {
            return self.register(id, now, out);
        }
        match status {
            200..300 => {
                let call = &self.calls[id.seat as usize];
                self.tally
                    .took(Measure::Registration, call.caller.begun, now);
                self.phones.registered(call.user, now);
                self.complete(id);
            }
            _ => self.refuse(id, status),
        }
    }

    /// Makes the answer to a challenge; false where there is none to make, or where so many were
    /// made already that they are not believed.
    fn authorize(&mut self, id: Id, message: &Message<'_>, status: u16, method: &str) -> bool {
        let call = &mut self.calls[id.seat as usize];
        if !matches!(status, 401 | 407) || call.caller.challenges >= CHALLENGES_MAX {
            return false;
        }
        let credentials = Credentials::of(call.user);
        let uri = self.speech.uri(method);
        let answered = digest::answered(message, &credentials, (method, uri), id.generation);
        let Some((challenge, answer)) = answered else {
            return false;
        };
        if method == "REGISTER" {
            self.phones.challenged(call.user, challenge);
        }
        call.caller.authorization = answer;
        call.caller.challenges += 1;
        call.caller.cseq += 1;
        self.tally.counts.challenged += 1;
        true
    }

    fn heard_of_bye(&mut self, id: Id, status: u16, now: Tick) {
        if status < 200 {
            return;
        }
        let since = self.calls[id.seat as usize].caller.since;
        self.tally.took(Measure::Bye, since, now);
        match status {
            200..300 => self.complete(id),
            _ => self.refuse(id, status),
        }
    }

    /// Takes the dialog from a 2xx (RFC 3261 §12.1.2): remote target, route set, next hop. False where
    /// it is not the one that the callee made.
    fn confirm(&mut self, id: Id, message: &Message<'_>) -> bool {
        let tag = message.to_tag().and_then(|tag| tag.strip_prefix(b"d"));
        if tag.and_then(Id::read) != Some(id) {
            return false;
        }
        let call = &mut self.calls[id.seat as usize];
        let caller = &mut call.caller;
        let Some(contact) = message.contact_uri() else {
            return false;
        };
        caller.media = media::wanted_at(message.body());
        caller.target.clear();
        caller.target.extend_from_slice(message.text(contact));
        if caller.confirmed {
            caller.held += 1;
            return true;
        }
        let mut values = [Span::default(); ROUTES_MAX];
        let mut count = 0;
        let mut first = contact;
        for value in message.record_routes() {
            let (Ok(value), true) = (value, count < ROUTES_MAX) else {
                return false;
            };
            values[count] = value.address.value;
            first = value.address.uri;
            count += 1;
        }
        caller.routes.clear();
        for &value in values[..count].iter().rev() {
            caller.routes.extend_from_slice(b"Route: ");
            caller.routes.extend_from_slice(message.text(value));
            caller.routes.extend_from_slice(b"\r\n");
        }
        let Some(hop) = hop(message.bytes(), first) else {
            return false;
        };
        if !self.plan.outbound {
            caller.hop = hop;
        }
        caller.confirmed = true;
        true
    }
}

/// The address that a URI names: the generator asks no DNS.
fn hop(bytes: &[u8], uri: Span) -> Option<SocketAddr> {
    let uri = Uri::read(bytes, uri).ok()?;
    let address = uri.host?.address()?;
    Some(SocketAddr::new(address, uri.port.unwrap_or(5060)))
}
