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
pub use server::Fired as ServerFired;
pub use server::Server;
pub use server::ServerState;

use crate::limits::T1_MS;
use crate::limits::T2_MS;
use crate::tick::Tick;

/// A retransmission timer: A, E or G.
#[derive(Clone, Copy, Debug)]
struct Resend {
    at: Tick,
    interval_ms: u32,
}

impl Resend {
    const OFF: Resend = Resend {
        at: Tick::NEVER,
        interval_ms: 0,
    };

    fn start(now: Tick) -> Resend {
        Resend::every(now, T1_MS)
    }

    #[allow(clippy::cast_possible_truncation)] // At most 64·T1.
    fn every(now: Tick, interval_ms: u64) -> Resend {
        Resend {
            at: now.plus_ms(interval_ms),
            interval_ms: interval_ms as u32,
        }
    }

    /// True where it is due; it is then set to twice the interval, at most `cap_ms`.
    fn fire(&mut self, now: Tick, cap_ms: u64) -> bool {
        if self.at > now {
            return false;
        }
        *self = Resend::every(now, (u64::from(self.interval_ms) * 2).min(cap_ms));
        true
    }
}

/// The interval cap of timers E and G.
const CAP_T2_MS: u64 = T2_MS;
/// Timer A doubles without a cap; Timer B ends it.
const NO_CAP_MS: u64 = u32::MAX as u64;
