//! What was counted, and how long things took.

use std::time::Duration;

use hdrhistogram::Histogram;
use trunkline_dataplane::tick::Tick;

use super::script::Script;

/// A time that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A request from the caller's ring to the callee's.
    RequestTransit,
    /// A response from the callee's ring to the caller's.
    ResponseTransit,
    /// INVITE to the first provisional response, of whomever.
    FirstResponse,
    /// INVITE to 180.
    Ringing,
    /// INVITE to the final response.
    Final,
    /// BYE to its response.
    Bye,
    /// REGISTER to its response, 401 or 200.
    Register,
    /// A user's first REGISTER to the 200, challenges and what was said again between them.
    Registration,
    /// How much later than planned a call began: the generator's own lateness.
    Lateness,
}

impl Measure {
    /// All of them.
    pub const ALL: [Measure; 9] = [
        Measure::RequestTransit,
        Measure::ResponseTransit,
        Measure::FirstResponse,
        Measure::Ringing,
        Measure::Final,
        Measure::Bye,
        Measure::Register,
        Measure::Registration,
        Measure::Lateness,
    ];

    /// As the report calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Measure::RequestTransit => "request_transit",
            Measure::ResponseTransit => "response_transit",
            Measure::FirstResponse => "invite_to_first_response",
            Measure::Ringing => "invite_to_180",
            Measure::Final => "invite_to_final",
            Measure::Bye => "bye_to_200",
            Measure::Register => "register_to_response",
            Measure::Registration => "register_to_200",
            Measure::Lateness => "lateness",
        }
    }
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Timer B: no response to the INVITE.
    InviteTimeout,
    /// A provisional response, but no final one in time.
    NoAnswer,
    /// A final response that the script does not have.
    Refused,
    /// Timer F: no response to BYE, CANCEL or a re-INVITE.
    RequestTimeout,
    /// No ACK to a 2xx within 64·T1.
    AckTimeout,
    /// What came is not what the RFC allows here: no Contact, a wrong tag.
    Wrong,
}

impl Failure {
    /// All of them.
    pub const ALL: [Failure; 6] = [
        Failure::InviteTimeout,
        Failure::NoAnswer,
        Failure::Refused,
        Failure::RequestTimeout,
        Failure::AckTimeout,
        Failure::Wrong,
    ];

    /// As the report calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Failure::InviteTimeout => "invite_timeout",
            Failure::NoAnswer => "no_answer",
            Failure::Refused => "refused",
            Failure::RequestTimeout => "request_timeout",
            Failure::AckTimeout => "ack_timeout",
            Failure::Wrong => "wrong",
        }
    }
}

/// Counts of a run. All but `open` only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that began.
    pub begun: u64,
    /// Calls that could not begin, since all seats were taken.
    pub no_seat: u64,
    /// Calls that ended as their script says, by script.
    pub completed: [u64; Script::ALL.len()],
    /// Calls that failed, by reason.
    pub failed: [u64; Failure::ALL.len()],
    /// Final responses that made a call fail, by their class: 3xx to 6xx.
    pub refused: [u64; 4],
    /// Challenges that were answered.
    pub challenged: u64,
    /// Datagrams sent, repetitions among them.
    pub sent: u64,
    /// Datagrams received.
    pub received: u64,
    /// Datagrams that there was no room for in the ring.
    pub unsent: u64,
    /// Requests and responses said again, since no answer came.
    pub repeated: u64,
    /// Of these, in calls: not of a registration.
    pub repeated_in_calls: u64,
    /// Messages that came again.
    pub heard_again: u64,
    /// Messages that belong to no call of this run, or to none any more.
    pub stray: u64,
    /// What is no SIP message.
    pub unreadable: u64,
    /// Calls under way now.
    pub open: u64,
    /// The most that were under way at once.
    pub open_most: u64,
}

impl Counts {
    /// Calls that ended well.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.completed.iter().sum()
    }

    /// Calls that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.iter().sum()
    }
}

/// Counts and times of a run.
#[derive(Debug)]
pub struct Tally {
    /// What was counted.
    pub counts: Counts,
    times: [Histogram<u64>; Measure::ALL.len()],
}

/// The longest time that is told apart from longer ones.
const LONGEST_NS: u64 = 60_000_000_000;

/// A histogram of nanoseconds, three digits exact.
pub(super) fn histogram() -> Histogram<u64> {
    // Within the bounds of the library, so that the fallback is never taken.
    Histogram::new_with_bounds(1, LONGEST_NS, 3)
        .unwrap_or_else(|_| unreachable!("bounds that the library takes"))
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            counts: Counts::default(),
            times: std::array::from_fn(|_| histogram()),
        }
    }
}

impl Tally {
    /// Notes that something took from `since` to `now`.
    pub fn took(&mut self, what: Measure, since: Tick, now: Tick) {
        self.times[what as usize].saturating_record(now.since(since));
    }

    /// The times of a kind, in nanoseconds.
    #[must_use]
    pub fn times(&self, what: Measure) -> &Histogram<u64> {
        &self.times[what as usize]
    }

    /// The time that a share of the samples did not exceed, 0.5 for the median.
    #[must_use]
    pub fn quantile(&self, what: Measure, share: f64) -> Duration {
        Duration::from_nanos(self.times(what).value_at_quantile(share))
    }

    /// Forgets times and counts but those of calls that are open: the warm-up is over.
    pub fn reset(&mut self) {
        for times in &mut self.times {
            times.reset();
        }
        let open = self.counts.open;
        self.counts = Counts {
            open,
            open_most: open,
            ..Counts::default()
        };
    }
}
