//! The transactions of RFC 3261 §17 with RFC 6026: four machines as plain states.
//!
//! A machine is told what happened and says what to do; sending, storing and arming
//! timers is the proxy's. Each has one moment at which it wants to be woken
//! ([`Server::due`], [`Client::due`]), so each has one timer in the wheel.

mod client;
mod server;

pub use client::Cancel;
pub use client::Client;
pub use client::ClientState;
pub use client::Fired as ClientFired;
pub use client::Heard;
pub use client::Late;
pub use client::Marks;
pub use server::Branches;
pub use server::Fired as ServerFired;
pub use server::Server;
pub use server::ServerState;

use super::index::Index;
use super::slab::Slab;
use crate::limits::T1_64_MS;
use crate::limits::T1_MS;
use crate::limits::T2_MS;
use crate::tick::Tick;
use crate::timer::Wheel;

/// The two moments of a transaction, in ms since it began and so in half of a [`Tick`]: the next
/// retransmission (timers A, E and G), and the end. Packed, so that it has no padding.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(2))]
struct Timers {
    began: Tick,
    resend_ms: u32,
    end_ms: u32,
    interval_ms: u16,
}

/// A moment that never comes.
const OFF: u32 = u32::MAX;

impl Timers {
    /// None runs.
    const fn new(now: Tick) -> Timers {
        Timers {
            began: now,
            resend_ms: OFF,
            end_ms: OFF,
            interval_ms: 0,
        }
    }

    /// Retransmits `interval_ms` from now on.
    fn resend_in(&mut self, interval_ms: u16, now: Tick) {
        self.resend_ms = self.after(interval_ms.into(), now);
        self.interval_ms = interval_ms;
    }

    /// Retransmits `ms` after the beginning.
    const fn resend_at_age(&mut self, ms: u32) {
        self.resend_ms = ms;
    }

    /// Stops the retransmissions.
    const fn stop_resending(&mut self) {
        self.resend_ms = OFF;
    }

    /// Ends `ms` from now on.
    fn end_in(&mut self, ms: u64, now: Tick) {
        self.end_ms = self.after(ms, now);
    }

    /// Ends `ms` after the beginning.
    const fn end_at_age(&mut self, ms: u32) {
        self.end_ms = ms;
    }

    fn has_ended(&self, now: Tick) -> bool {
        self.is_at_age(self.end_ms, now)
    }

    /// True from `ms` after the beginning on.
    fn is_at_age(&self, ms: u32, now: Tick) -> bool {
        self.tick(ms) <= now
    }

    /// True where a retransmission is due; the next is then set to twice the interval, at
    /// most `cap_ms`.
    fn resends(&mut self, now: Tick, cap_ms: u16) -> bool {
        if self.tick(self.resend_ms) > now {
            return false;
        }
        self.resend_in(self.interval_ms.saturating_mul(2).min(cap_ms), now);
        true
    }

    /// The earlier of the two.
    fn due(&self) -> Tick {
        self.tick({ self.resend_ms }.min(self.end_ms))
    }

    fn tick(&self, ms: u32) -> Tick {
        match ms {
            OFF => Tick::NEVER,
            ms => { self.began }.plus_ms(ms.into()),
        }
    }

    /// The first whole millisecond since the beginning that is `ms` or more away.
    fn after(&self, ms: u64, now: Tick) -> u32 {
        let passed_ms = now.since(self.began).div_ceil(1_000_000);
        u32::try_from(passed_ms + ms).map_or(OFF - 1, |at| at.min(OFF - 1))
    }
}

/// The first interval of timers A, E and G.
#[allow(clippy::cast_possible_truncation)] // 500.
const T1: u16 = T1_MS as u16;
/// The interval cap of timers E and G.
#[allow(clippy::cast_possible_truncation)] // 4,000.
const T2: u16 = T2_MS as u16;
/// Timer A doubles without a cap (RFC 3261 §17.1.1.2); Timer B ends it.
const NO_CAP: u16 = u16::MAX;
/// Timers B and F.
#[allow(clippy::cast_possible_truncation)] // 32,000.
const T1_64: u32 = T1_64_MS as u32;

const _: () = assert!(T1_64_MS * 2 < u16::MAX as u64);
const _: () = assert!(size_of::<Timers>() == 18);

/// Bytes that a transaction of ours costs beside its kept messages: the slot, the timer in the
/// wheel, and for a server transaction its key.
pub const SERVER_LEN: usize = Slab::<Server>::SLOT_LEN + Wheel::TIMER_LEN + Index::KEY_LEN;
/// The same of a client transaction.
pub const CLIENT_LEN: usize = Slab::<Client>::SLOT_LEN + Wheel::TIMER_LEN;

// A forwarded request that only lingers has no kept message: it costs this much.
const _: () = assert!(SERVER_LEN + CLIENT_LEN <= 256);
