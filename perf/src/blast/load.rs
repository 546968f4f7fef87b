//! The load: every call that is open, and what becomes of each datagram and each timer.

use std::net::SocketAddr;
use std::time::Duration;

use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::tick::Tick;
use trunkline_dataplane::timer::Wheel;

use super::call::Call;
use super::call::CalleeState;
use super::call::CallerState;
use super::call::Id;
use super::call::Side;
use super::media::Media;
use super::media::MediaOutbox;
use super::pace::Pace;
use super::pace::Rate;
use super::pen::Pen;
use super::phones::Phones;
use super::script::Mix;
use super::script::Script;
use super::script::Times;
use super::speech::Speech;
use super::tally::Failure;
use super::tally::Measure;
use super::tally::Tally;

/// What a load is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Address and port of the callers.
    pub caller: SocketAddr,
    /// Address and port of the callees.
    pub callee: SocketAddr,
    /// Where the callers send: the box.
    pub target: SocketAddr,
    /// The box as the callees reach it: where their media goes over a forwarder.
    pub from: SocketAddr,
    /// Whom they call: the user part of the Request-URI.
    pub number: String,
    /// Tells the Call-IDs of runs apart.
    pub run: u32,
    /// Calls a second.
    pub rate: Rate,
    /// How long calls begin.
    pub time: Duration,
    /// At most so many calls; None for as many as rate and time give.
    pub calls: Option<u64>,
    /// What the calls are about.
    pub mix: Mix,
    /// How long their parts take.
    pub times: Times,
    /// The most calls that are open at once.
    pub seats: u32,
    /// All requests go to `target`, whatever Route and Contact say, and media to where the SDP says
    /// but for the address: for a forwarder that is no proxy.
    pub outbound: bool,
    /// INVITE and 200 describe a media stream.
    pub sdp: bool,
    /// Both ends of a basic call send RTP while they talk.
    pub media: bool,
    /// Users user000000 to so many less one, with passwords pw000000 and on: who registers and who
    /// answers challenges.
    pub users: u32,
    /// How many of them call, again and again; who registers is then one of the others. 0: all do both.
    pub callers: u32,
    /// The domain of the users.
    pub domain: String,
}

impl Plan {
    /// Who calls or registers in the call of that number: the next one of those who do.
    fn user_of(&self, script: Script, number: u64) -> u32 {
        let (first, count) = match (self.callers, script) {
            (0, _) => (0, self.users),
            (callers, Script::Register) => (callers, self.users.saturating_sub(callers)),
            (callers, _) => (0, callers),
        };
        first + u32::try_from(number % u64::from(count.max(1))).unwrap_or(0)
    }
}

/// Where the load puts what it says.
pub trait Outbox: MediaOutbox {
    /// Sends what `write` writes from an end's address to `to`. False if there was no room for it.
    fn send(&mut self, side: Side, to: SocketAddr, write: &mut dyn FnMut(&mut Pen<'_>)) -> bool;
}

/// User agents at work. See the module's page.
#[derive(Debug)]
pub struct Load {
    pub(super) plan: Plan,
    pub(super) speech: Speech,
    pub(super) calls: Vec<Call>,
    /// Entries that no call has, the last one freed on top.
    free: Vec<u32>,
    /// Two timers an entry: the caller's and the callee's.
    wheel: Wheel,
    pace: Pace,
    /// What was counted and measured.
    pub tally: Tally,
    /// The streams of the calls that talk.
    pub media: Media,
    /// What the users' phones know.
    pub phones: Phones,
}

impl Load {
    /// A load whose first call begins at `start`.
    #[must_use]
    pub fn new(plan: Plan, start: Tick) -> Load {
        Load {
            speech: Speech::new(&plan),
            calls: (0..plan.seats).map(|_| Call::vacant(plan.target)).collect(),
            free: (0..plan.seats).rev().collect(),
            wheel: Wheel::new(plan.seats * 2),
            pace: Pace::new(plan.rate, plan.time, plan.calls, start),
            tally: Tally::default(),
            media: Media::new(plan.seats, plan.target, start),
            phones: Phones::default(),
            plan,
        }
    }

    /// Takes up a datagram that came to an end.
    pub fn receive(
        &mut self,
        side: Side,
        source: SocketAddr,
        datagram: &[u8],
        now: Tick,
        out: &mut impl Outbox,
    ) {
        self.tally.counts.received += 1;
        let Ok(message) = Message::scan(datagram) else {
            self.tally.counts.unreadable += 1;
            return;
        };
        match (side, message.status()) {
            (Side::Caller, Some(status)) => self.heard_response(&message, status, now, out),
            (Side::Callee, None) => self.heard_request(&message, source, now, out),
            _ => self.tally.counts.stray += 1,
        }
    }

    /// Begins every call that is due, says again what has had no answer, and sends the media that is
    /// due.
    pub fn fire(&mut self, now: Tick, out: &mut impl Outbox) {
        self.media.fire(now, out);
        while let Some(timer) = self.wheel.expire(now) {
            let id = self.id_of(timer / 2);
            match timer % 2 {
                0 => self.fire_caller(id, now, out),
                _ => self.fire_callee(id, now, out),
            }
        }
        while let Some(due) = self.pace.next_due().filter(|&due| due <= now) {
            self.pace.begin();
            self.tally.took(Measure::Lateness, due, now);
            self.begin(now, out);
        }
    }

    /// When `fire` has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Tick {
        let begin = self.pace.next_due().unwrap_or(Tick(u64::MAX));
        let due = begin.min(self.wheel.next_due());
        match self.plan.media {
            true => due.min(self.media.next_due()),
            false => due,
        }
    }

    /// All calls have begun.
    #[must_use]
    pub fn have_begun(&self) -> bool {
        self.pace.next_due().is_none()
    }

    /// All calls have begun and ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.have_begun() && self.tally.counts.open == 0
    }

    fn begin(&mut self, now: Tick, out: &mut impl Outbox) {
        let number = self.pace.begun() - 1;
        let Some(seat) = self.free.pop() else {
            self.tally.counts.no_seat += 1;
            return;
        };
        let script = self.plan.mix.of(number);
        let call = &mut self.calls[seat as usize];
        call.generation = call.generation.wrapping_add(1);
        call.open = true;
        call.settled = false;
        call.script = script;
        call.callee.state = CalleeState::Idle;
        call.callee.cseq = 0;
        call.caller.confirmed = false;
        call.caller.cseq = 1;
        call.caller.held = 0;
        call.caller.challenges = 0;
        call.caller.authorization.clear();
        call.user = self.plan.user_of(script, number);
        call.caller.hop = self.plan.target;
        let counts = &mut self.tally.counts;
        counts.begun += 1;
        counts.open += 1;
        counts.open_most = counts.open_most.max(counts.open);
        self.open(self.id_of(seat), now, out);
    }

    /// The entry's call, if it is open and not another's by now.
    pub(super) fn call(&mut self, id: Id) -> Option<&mut Call> {
        let call = self.calls.get_mut(id.seat as usize)?;
        (call.open && call.generation == id.generation).then_some(call)
    }

    /// The call that a message is of: `None` where it is of no call that is open.
    pub(super) fn open_call(&mut self, message: &Message<'_>) -> Option<Id> {
        let id = Id::read(message.call_id())?;
        self.call(id)?;
        Some(id)
    }

    fn id_of(&self, seat: u32) -> Id {
        let generation = self.calls[seat as usize].generation;
        Id { seat, generation }
    }

    pub(super) fn arm(&mut self, id: Id, side: Side, due: Tick) {
        self.wheel.arm(id.seat * 2 + side as u32, due);
    }

    pub(super) fn disarm(&mut self, id: Id, side: Side) {
        self.wheel.disarm(id.seat * 2 + side as u32);
    }

    /// The call ended for the caller as its script says; the callee may still wait for an ACK.
    pub(super) fn complete(&mut self, id: Id) {
        let call = &mut self.calls[id.seat as usize];
        call.caller.state = CallerState::Over;
        if !std::mem::replace(&mut call.settled, true) {
            self.tally.counts.completed[call.script as usize] += 1;
        }
        self.disarm(id, Side::Caller);
        self.leave(id);
    }

    /// The call failed: both ends forget it.
    pub(super) fn fail(&mut self, id: Id, why: Failure) {
        let call = &mut self.calls[id.seat as usize];
        call.caller.state = CallerState::Over;
        call.callee.state = CalleeState::Over;
        if !std::mem::replace(&mut call.settled, true) {
            self.tally.counts.failed[why as usize] += 1;
        }
        self.leave(id);
    }

    /// Gives the entry back if both ends are done with it.
    pub(super) fn leave(&mut self, id: Id) {
        let call = &mut self.calls[id.seat as usize];
        if call.open && call.is_over() {
            call.open = false;
            if self.plan.media {
                self.media.end(id);
            }
            self.disarm(id, Side::Caller);
            self.disarm(id, Side::Callee);
            self.free.push(id.seat);
            self.tally.counts.open -= 1;
        }
    }

    /// Says something, and counts it.
    pub(super) fn say(
        &mut self,
        side: Side,
        to: SocketAddr,
        out: &mut impl Outbox,
        write: &mut dyn FnMut(&Speech, &[Call], &mut Pen<'_>),
    ) {
        let (speech, calls) = (&self.speech, &*self.calls);
        if out.send(side, to, &mut |pen| write(speech, calls, pen)) {
            self.tally.counts.sent += 1;
        } else {
            self.tally.counts.unsent += 1;
        }
    }

    /// True for the scripts that have the caller give up.
    pub(super) fn gives_up(script: Script) -> bool {
        script == Script::Cancel
    }
}
