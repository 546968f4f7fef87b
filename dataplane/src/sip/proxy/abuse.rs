//! Sources that are not heard, because somebody there tries passwords, or sends too much.

use std::net::IpAddr;
use std::net::SocketAddr;

use super::Proxy;
use super::Step;
use crate::counters::Counter;
use crate::counters::Counters;
use crate::limits::BINDINGS_PER_TURN;
use crate::sip::denials::Why;
use crate::sip::guard::BanReport;
use crate::sip::guard::Source;
use crate::sip::guard::Word;
use crate::sip::message::Message;
use crate::tick::Tick;

impl Proxy {
    /// The outcome of a datagram that came from `address`, where it is not to be looked at.
    #[inline]
    pub fn turned_away(&mut self, address: IpAddr, now: Tick) -> Option<Counter> {
        let source = Source::of(address);
        let is_banned = self.guard.is_banned(source, now);
        if !is_banned && !self.guard.limits_rates() || self.is_trunk(address) {
            return None;
        }
        if is_banned {
            self.guard.note_drop(source);
            return Some(Counter::SipBanned);
        }
        let is_over = self.guard.is_over_rate(source, now);
        is_over.then_some(Counter::SipOverRate)
    }

    /// A trunk may be among the addresses of a source that is banned.
    fn is_trunk(&self, address: IpAddr) -> bool {
        self.dial.trunk_of(address).is_some()
    }

    /// Somebody at this source has answered our nonce with a wrong password, or as nobody.
    pub(super) fn failed(
        &mut self,
        message: &Message<'_>,
        source: SocketAddr,
        why: Why,
        step: &mut Step<'_>,
    ) {
        self.note_denial(message, source, why, step.now);
        if !self.is_trunk(source.ip()) {
            self.guard.failed(Source::of(source.ip()), step);
        }
    }

    /// Somebody has registered from this address until then.
    pub(super) fn vouch(&mut self, address: IpAddr, until: Tick, step: &mut Step<'_>) {
        self.guard.vouch(Source::of(address), until, step);
    }

    /// What another worker, or control, tells of a source.
    pub fn hear(&mut self, word: Word, step: &mut Step<'_>) {
        self.guard.hear(word, step);
    }

    /// True while bindings are to be looked through for those of a source.
    #[must_use]
    pub const fn has_walk(&self) -> bool {
        self.guard.has_walk()
    }

    /// Looks through some of them.
    pub fn walk(&mut self, step: &mut Step<'_>) {
        let (registrar, now) = (&self.registrar, step.now);
        let from = |slot| registrar.received_from(slot, now).map(Source::of);
        self.guard
            .walk(registrar.capacity(), BINDINGS_PER_TURN, from, step);
    }

    /// Takes out bans that have ended, a bounded number.
    pub fn sweep(&mut self, now: Tick, counters: &mut Counters) {
        counters.add(Counter::BansExpired, self.guard.sweep(now));
    }

    /// The ban in a place of their table.
    #[must_use]
    pub fn ban_report(&self, place: u32) -> Option<BanReport> {
        self.guard.report(place as usize)
    }

    /// How many places there are for bans.
    #[must_use]
    pub const fn ban_slots(&self) -> usize {
        self.guard.places()
    }
}
