//! Keepalives of who has registered (RFC 5626 §4.4, §5.4): which are answered, and those that the
//! box sends itself.

use std::net::SocketAddr;

use super::Arrival;
use super::Owner;
use super::Proxy;
use super::Step;
use super::register::counter_of;
use super::request::OPTIONS_LINES;
use crate::counters::Counter;
use crate::sip::effects::Heard;
use crate::sip::message::Message;
use crate::stun;
use crate::tick::Tick;

/// What is sent to keep a NAT open: what phones send themselves over UDP, and drop unread where
/// it comes from others. Nobody answers it.
const KEEPALIVE: &[u8] = b"\r\n\r\n";

impl Proxy {
    /// Who is to take up a datagram that looks like STUN. Only what may have an answer is mailed.
    #[must_use]
    pub fn stun_owner(&self, datagram: &[u8], arrival: Arrival) -> Owner {
        let source = arrival.source;
        if !stun::is_request(datagram) || self.dial.trunk_of(source.ip()).is_some() {
            return Owner::Mine;
        }
        let (_, owner) = self.identity.live_source(source, self.workers);
        self.owned_by(owner)
    }

    /// Who is to take up a request that names nobody we know. A PBX that registers asks by OPTIONS
    /// whether the box is there, From itself, and calls nowhere without an answer.
    pub(super) fn ping_owner(&self, message: &Message<'_>, arrival: Arrival) -> Owner {
        if !self.asks_for_us(message) {
            return Owner::Nobody(Counter::SipSourceUnknown);
        }
        let (_, owner) = self.identity.live_source(arrival.source, self.workers);
        self.owned_by(owner)
    }

    /// Answers such a request, where somebody has registered from its source.
    pub(super) fn ping(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        if !self.asks_for_us(message) || !self.is_live(arrival.source, step.now) {
            return Counter::SipSourceUnknown;
        }
        self.answer(message, arrival, 200, OPTIONS_LINES, step)
    }

    /// Whether a source that this worker owns has a binding.
    pub(super) fn is_live(&self, source: SocketAddr, now: Tick) -> bool {
        let (key, _) = self.identity.live_source(source, self.workers);
        self.live.has(key, now)
    }

    /// A binding of `source` lasts until then: whoever owns the source is told.
    pub(super) fn note_live(&mut self, source: SocketAddr, until: Tick, step: &mut Step<'_>) {
        if self.dial.trunk_of(source.ip()).is_some() {
            return;
        }
        let (flow, owner) = self.identity.live_source(source, self.workers);
        let heard = Heard { flow, until };
        if owner == self.worker {
            self.heard(heard, step.now);
        } else {
            step.effects.tell_heard(owner, heard);
        }
    }

    /// A source that this worker owns has a binding.
    pub fn heard(&mut self, heard: Heard, now: Tick) {
        self.live.note(heard.flow, heard.until, now);
    }

    /// Arms the timer of a binding: for its end, or for the next keepalive before that.
    pub(super) fn arm_binding(&mut self, slot: u32, now: Tick) {
        let (timer, pace) = (self.first_binding_timer() + slot, self.registrar.pace());
        if let Some(record) = self.registrar.tenant(slot) {
            self.wheel.arm(timer, pace.next(slot, &record, now));
        }
    }

    /// The time of a binding is over, or was when its timer was set, or a keepalive is due.
    pub(super) fn fire_binding(&mut self, slot: u32, step: &mut Step<'_>) {
        let counters = &mut *step.counters;
        let lasts = self.registrar.expire(slot, step.now, |change| {
            counters.count(counter_of(change.happened));
        });
        if lasts.is_none() {
            return;
        }
        let pace = self.registrar.pace();
        let tenant = self.registrar.tenant(slot);
        if let Some(record) = tenant.filter(|record| pace.keeps(record)) {
            step.effects
                .send_copy(KEEPALIVE, record.received, record.listen);
            step.counters.count(Counter::KeepalivesSent);
        }
        self.arm_binding(slot, step.now);
    }
}
