//! The transactions of a user agent over UDP (RFC 3261 §17, §13.3.1.4), written apart from
//! the box's so that the two do not share their mistakes.

use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use crate::sim::sip::Sip;

/// RFC 3261 §17.1.1.1.
pub const T1_MS: u64 = 500;
/// The longest interval between two sendings.
pub const T2_MS: u64 = 4_000;
/// How long anything is tried.
pub const T1_64_MS: u64 = 32_000;
/// How long an INVITE may ring before its sender cancels it: longer than a proxy's Timer C.
pub const PATIENCE_MS: u64 = 240_000;

/// Sending again and giving up.
#[derive(Clone, Copy, Debug)]
struct Timers {
    resend: Tick,
    interval_ms: u64,
    cap_ms: u64,
    give_up: Tick,
}

/// What a timer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Send it again.
    Resend,
    /// Nobody answers.
    GiveUp,
    /// It rings for too long: cancel it.
    Impatient,
}

impl Timers {
    const OFF: Timers = Timers {
        resend: Tick::NEVER,
        interval_ms: 0,
        cap_ms: 0,
        give_up: Tick::NEVER,
    };

    fn start(now: Tick, cap_ms: u64) -> Timers {
        Timers {
            resend: now.plus_ms(T1_MS),
            interval_ms: T1_MS,
            cap_ms,
            give_up: now.plus_ms(T1_64_MS),
        }
    }

    fn due(&self) -> Tick {
        self.resend.min(self.give_up)
    }

    fn fire(&mut self, now: Tick) -> Option<Fired> {
        if self.give_up <= now {
            *self = Timers::OFF;
            return Some(Fired::GiveUp);
        }
        if self.resend > now {
            return None;
        }
        self.interval_ms = (self.interval_ms * 2).min(self.cap_ms);
        self.resend = now.plus_ms(self.interval_ms);
        Some(Fired::Resend)
    }
}

/// A request of ours.
#[derive(Clone, Debug)]
pub struct Client {
    /// The request.
    pub request: Rc<Sip>,
    /// The place of its dialog among the agent's, where it is of one.
    pub dialog: Option<usize>,
    /// True once anything was heard.
    pub heard: bool,
    /// Where it is sent from.
    pub source: SocketAddr,
    /// The final status.
    pub status: Option<u16>,
    /// True where none came in time.
    pub gave_up: bool,
    /// True once a CANCEL was sent.
    pub cancelled: bool,
    /// How often it was sent anew because of a challenge.
    pub proofs: u32,
    /// It is somebody else's: a replay.
    pub is_replay: bool,
    /// The ACKs to 2xx by To tag, for their repetitions.
    pub acks: Vec<Rc<Sip>>,
    timers: Timers,
}

impl Client {
    /// A transaction for a request sent now from this address.
    #[must_use]
    pub fn new(request: Rc<Sip>, dialog: Option<usize>, source: SocketAddr, now: Tick) -> Client {
        // Timer A doubles without a cap, Timer E up to T2.
        let cap_ms = if request.method() == "INVITE" {
            T1_64_MS
        } else {
            T2_MS
        };
        Client {
            request,
            dialog,
            heard: false,
            source,
            status: None,
            gave_up: false,
            cancelled: false,
            proofs: 0,
            is_replay: false,
            acks: Vec::new(),
            timers: Timers::start(now, cap_ms),
        }
    }

    /// True for an INVITE.
    #[must_use]
    pub fn is_invite(&self) -> bool {
        self.request.method() == "INVITE"
    }

    /// Takes note of a response; true where it is the first final one.
    pub fn hear(&mut self, status: u16, now: Tick) -> bool {
        self.heard = true;
        if status >= 200 {
            self.timers = Timers::OFF;
            // RFC 3261 §17.1.2.2: the first one ends it, and what comes behind goes no further.
            let is_first = self.status.is_none();
            self.status.get_or_insert(status);
            return is_first;
        }
        if self.status.is_some() {
            return false;
        }
        if self.is_invite() {
            self.timers.resend = Tick::NEVER;
            if !self.cancelled {
                self.timers.give_up = now.plus_ms(PATIENCE_MS);
            }
        } else {
            self.timers.interval_ms = T2_MS;
            self.timers.resend = now.plus_ms(T2_MS);
        }
        false
    }

    /// RFC 3261 §9.1: after a CANCEL the INVITE has 64·T1 to end.
    pub fn cancel(&mut self, now: Tick) {
        self.cancelled = true;
        self.timers.give_up = now.plus_ms(T1_64_MS);
    }

    /// True while no final response has come and it is still waited for.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.status.is_none() && !self.gave_up
    }

    /// When a timer is due.
    #[must_use]
    pub fn due(&self) -> Tick {
        if self.is_pending() {
            self.timers.due()
        } else {
            Tick::NEVER
        }
    }

    /// What is due now.
    pub fn fire(&mut self, now: Tick) -> Option<Fired> {
        let fired = self.timers.fire(now)?;
        if fired == Fired::GiveUp && self.is_invite() && self.heard && !self.cancelled {
            return Some(Fired::Impatient);
        }
        self.gave_up |= fired == Fired::GiveUp;
        Some(fired)
    }
}

/// A request to us.
#[derive(Clone, Debug)]
pub struct Server {
    /// The request.
    pub request: Rc<Sip>,
    /// Who sent it.
    pub source: SocketAddr,
    /// The place of its dialog among the agent's, where it is of one.
    pub dialog: Option<usize>,
    /// The last response.
    pub response: Option<Rc<Sip>>,
    /// True once its ACK came.
    pub acknowledged: bool,
    timers: Timers,
}

impl Server {
    /// A transaction for a request just received.
    #[must_use]
    pub fn new(request: Rc<Sip>, source: SocketAddr, dialog: Option<usize>) -> Server {
        Server {
            request,
            source,
            dialog,
            response: None,
            acknowledged: false,
            timers: Timers::OFF,
        }
    }

    /// True for an INVITE.
    #[must_use]
    pub fn is_invite(&self) -> bool {
        self.request.method() == "INVITE"
    }

    /// The status of the final response, if one was sent.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.response
            .as_ref()?
            .status()
            .filter(|&status| status >= 200)
    }

    /// Sends a response. A final one to INVITE is repeated until its ACK, a reliable
    /// provisional one until its PRACK.
    pub fn respond(&mut self, response: Rc<Sip>, now: Tick) {
        let is_final = response.status().is_some_and(|status| status >= 200);
        self.timers = Timers::OFF;
        if is_final && self.is_invite() {
            self.timers = Timers::start(now, T2_MS);
        } else if !response.get("RSeq").is_empty() {
            self.timers = Timers::start(now, T1_64_MS);
        }
        self.response = Some(response);
    }

    /// True where it gave up on the ACK to a failure.
    #[must_use]
    pub fn is_unacknowledged(&self) -> bool {
        let failed = self.status().is_some_and(|status| status >= 300);
        failed && self.is_invite() && !self.acknowledged
    }

    /// Takes note of the ACK; true where it is the first.
    pub fn acknowledge(&mut self) -> bool {
        self.timers = Timers::OFF;
        !std::mem::replace(&mut self.acknowledged, true)
    }

    /// Stops to repeat a reliable provisional response.
    pub fn hush(&mut self) {
        self.timers = Timers::OFF;
    }

    /// When a timer is due.
    #[must_use]
    pub fn due(&self) -> Tick {
        self.timers.due()
    }

    /// What is due now.
    pub fn fire(&mut self, now: Tick) -> Option<Fired> {
        self.timers.fire(now)
    }
}
