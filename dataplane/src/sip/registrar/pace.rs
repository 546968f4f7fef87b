//! When the bindings behind NATs get their keepalives: each once an interval, all of them spread over
//! it, whichever have registered at the same moment.

use super::Record;
use crate::sip::uri::Host;
use crate::sip::uri::Uri;
use crate::span::Span;
use crate::tick::Tick;

/// Nanoseconds of a millisecond.
const MS_NS: u64 = 1_000_000;

/// How often keepalives are sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// 0: never.
    interval_ms: u64,
}

impl Pace {
    /// Every so many seconds; 0: never.
    #[must_use]
    pub fn of(interval_s: u32) -> Pace {
        Pace {
            interval_ms: u64::from(interval_s) * 1_000,
        }
    }

    /// Whether a binding gets any.
    #[must_use]
    pub fn keeps(self, record: &Record<'_>) -> bool {
        self.interval_ms > 0 && record.is_behind_nat()
    }

    /// When the timer of the binding in this slot is to fire next: for a keepalive, or at its end.
    #[must_use]
    pub fn next(self, slot: u32, record: &Record<'_>, now: Tick) -> Tick {
        if !self.keeps(record) {
            return record.expires;
        }
        // Slots in a row are as far from one another as can be, however many there are.
        let share = u64::from(slot.wrapping_mul(0x9e37_79b9));
        let phase_ms = (share * self.interval_ms) >> 32;
        let round_ns = self.interval_ms * MS_NS;
        let into_ns = (now.0 + round_ns - phase_ms * MS_NS) % round_ns;
        Tick(now.0 + round_ns - into_ns).min(record.expires)
    }
}

impl Record<'_> {
    /// True where its contact is not the address that its REGISTER came from, and no proxy is on
    /// the way to it, which would keep that open.
    #[must_use]
    pub fn is_behind_nat(&self) -> bool {
        let uri = Uri::read(self.uri, Span::new(0, self.uri.len())).ok();
        let named = uri.and_then(|uri| {
            let host = uri.host.and_then(Host::address)?;
            Some((host, uri.port.unwrap_or(5060)))
        });
        self.path.is_empty() && named != Some((self.received.ip(), self.received.port()))
    }
}
