//! The callee's end: what is answered to each request.

use std::net::SocketAddr;
use std::time::Duration;

use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::method::Method;
use trunkline_dataplane::tick::Tick;

use super::call::CalleeState;
use super::call::GIVE_UP_NS;
use super::call::Id;
use super::call::Side;
use super::call::T2_NS;
use super::call::after;
use super::call::wait_ns;
use super::load::Load;
use super::load::Outbox;
use super::media;
use super::script::Script;
use super::speech;
use super::tally::Failure;
use super::tally::Measure;

impl Load {
    /// A request to the callee.
    pub(super) fn heard_request(
        &mut self,
        message: &Message<'_>,
        source: SocketAddr,
        now: Tick,
        out: &mut impl Outbox,
    ) {
        let Some(id) = self.open_call(message) else {
            return self.heard_request_of_none(message, source, out);
        };
        match message.method() {
            Method::Invite => self.heard_invite(id, message, source, now, out),
            Method::Ack => self.heard_ack(id, message, now),
            Method::Bye => self.heard_bye(id, message, source, now, out),
            Method::Cancel => {
                self.answer(200, id, message, source, out);
                if self.calls[id.seat as usize].callee.state == CalleeState::Ringing {
                    self.respond(id, 487, now, out);
                }
            }
            Method::Options => self.answer(200, id, message, source, out),
            _ => self.answer(405, id, message, source, out),
        }
    }

    /// A request of no call, or of one that is over: a repetition whose answer was lost is answered
    /// as it was, without state.
    fn heard_request_of_none(
        &mut self,
        message: &Message<'_>,
        source: SocketAddr,
        out: &mut impl Outbox,
    ) {
        self.tally.counts.stray += 1;
        let id = Id::read(message.call_id());
        let nobody = Id {
            seat: 0,
            generation: 0,
        };
        match (message.method(), id) {
            (Method::Ack, _) => {}
            (Method::Bye | Method::Cancel, Some(id)) => self.answer(200, id, message, source, out),
            (Method::Options, _) => {
                self.answer(200, nobody, message, source, out);
            }
            _ => self.answer(481, nobody, message, source, out),
        }
    }

    fn heard_invite(
        &mut self,
        id: Id,
        message: &Message<'_>,
        source: SocketAddr,
        now: Tick,
        out: &mut impl Outbox,
    ) {
        let (cseq, ..) = message.cseq();
        let call = &mut self.calls[id.seat as usize];
        let since = call.caller.since;
        let (script, callee) = (call.script, &mut call.callee);
        if cseq <= callee.cseq {
            self.tally.counts.heard_again += 1;
            if callee.cseq == cseq && callee.status > 0 && callee.state != CalleeState::Over {
                self.respond_again(id, out);
            }
            return;
        }
        let within = message.to_tag().is_some();
        if within != matches!(callee.state, CalleeState::Talking | CalleeState::Answered) {
            return self.answer(481, id, message, source, out);
        }
        callee.cseq = cseq;
        callee.tagged = within;
        callee.holding = memchr::memmem::find(message.body(), b"a=inactive").is_some();
        callee.media = media::wanted_at(message.body());
        callee.reply_to = source;
        callee.echo.clear();
        speech::echo(message, |line| callee.echo.extend_from_slice(line));
        self.tally.took(Measure::RequestTransit, since, now);
        match script {
            _ if within => self.respond(id, 200, now, out),
            Script::Busy => self.respond(id, 486, now, out),
            _ => {
                self.respond(id, 180, now, out);
                let ring = self.plan.times.ring;
                if Load::gives_up(script) {
                    let patience = ring + 2 * Duration::from_nanos(GIVE_UP_NS);
                    self.arm(id, Side::Callee, after(now, patience));
                } else if ring.is_zero() {
                    self.respond(id, 200, now, out);
                } else {
                    self.arm(id, Side::Callee, after(now, ring));
                }
            }
        }
    }

    fn heard_ack(&mut self, id: Id, message: &Message<'_>, now: Tick) {
        let (cseq, ..) = message.cseq();
        let call = &mut self.calls[id.seat as usize];
        let acked = call.caller.acked;
        match call.callee.state {
            CalleeState::Answered if cseq == call.callee.cseq => {
                call.callee.state = CalleeState::Talking;
                self.tally.took(Measure::RequestTransit, acked, now);
                self.disarm(id, Side::Callee);
            }
            CalleeState::Refused if cseq == call.callee.cseq => {
                call.callee.state = CalleeState::Over;
                self.leave(id);
            }
            _ => self.tally.counts.heard_again += 1,
        }
    }

    fn heard_bye(
        &mut self,
        id: Id,
        message: &Message<'_>,
        source: SocketAddr,
        now: Tick,
        out: &mut impl Outbox,
    ) {
        self.answer(200, id, message, source, out);
        let call = &mut self.calls[id.seat as usize];
        if call.callee.state == CalleeState::Over {
            self.tally.counts.heard_again += 1;
            return;
        }
        call.callee.state = CalleeState::Over;
        let since = call.caller.since;
        self.tally.took(Measure::RequestTransit, since, now);
        self.disarm(id, Side::Callee);
        self.leave(id);
    }

    /// The callee's timer: it answers, or says a final response again until its ACK comes
    /// (RFC 3261 §13.3.1.4, Timers G and H).
    pub(super) fn fire_callee(&mut self, id: Id, now: Tick, out: &mut impl Outbox) {
        let Some(call) = self.call(id) else { return };
        match call.callee.state {
            CalleeState::Ringing if Load::gives_up(call.script) => self.fail(id, Failure::NoAnswer),
            CalleeState::Ringing => self.respond(id, 200, now, out),
            CalleeState::Answered | CalleeState::Refused => {
                let end = Tick(call.callee.since.0 + GIVE_UP_NS);
                if now >= end {
                    return self.fail(id, Failure::AckTimeout);
                }
                call.callee.tries += 1;
                let next = Tick(now.0 + wait_ns(call.callee.tries, Some(T2_NS)));
                self.tally.counts.repeated += 1;
                self.tally.counts.repeated_in_calls += 1;
                self.respond_again(id, out);
                self.arm(id, Side::Callee, next.min(end));
            }
            CalleeState::Idle | CalleeState::Talking | CalleeState::Over => {}
        }
    }

    /// Says a response to the INVITE for the first time.
    fn respond(&mut self, id: Id, status: u16, now: Tick, out: &mut impl Outbox) {
        let callee = &mut self.calls[id.seat as usize].callee;
        callee.status = status;
        callee.tries = 0;
        callee.since = now;
        callee.state = match status {
            180 => {
                callee.rang = now;
                CalleeState::Ringing
            }
            200 => CalleeState::Answered,
            _ => CalleeState::Refused,
        };
        self.respond_again(id, out);
        if status >= 200 {
            self.arm(id, Side::Callee, Tick(now.0 + wait_ns(0, None)));
        }
    }

    fn respond_again(&mut self, id: Id, out: &mut impl Outbox) {
        let callee = &self.calls[id.seat as usize].callee;
        let (to, status) = (callee.reply_to, callee.status);
        self.say(Side::Callee, to, out, &mut |speech, calls, pen| {
            speech.response(pen, status, id, &calls[id.seat as usize]);
        });
    }

    /// Answers a request by itself.
    fn answer(
        &mut self,
        status: u16,
        id: Id,
        message: &Message<'_>,
        source: SocketAddr,
        out: &mut impl Outbox,
    ) {
        self.say(Side::Callee, source, out, &mut |_, _, pen| {
            speech::response_to(pen, status, message, id);
        });
    }
}
