//! Whether the box is alive and ready: what `/healthz` and `/readyz` say.

use std::time::Duration;
use std::time::Instant;

use trunkline_dataplane::ids::WorkerId;

use super::Desk;
use crate::api::types::Health;

/// How long a worker may go without a turn. It turns ten times a second even when it
/// sleeps: one that has not turned for so long is stuck, or its core is taken. Shorter, and
/// a machine that is suspended for a moment looks broken.
pub const TURN_MAX: Duration = Duration::from_secs(5);

/// When each worker was last seen to turn.
#[derive(Debug)]
pub struct Turning {
    /// By worker: its turns, and when they were last more than before.
    seen: Vec<(u64, Instant)>,
}

impl Turning {
    /// So many workers, which have just started.
    #[must_use]
    pub fn new(workers: usize, now: Instant) -> Turning {
        Turning {
            seen: vec![(0, now); workers],
        }
    }

    /// Takes note of each worker's `turns` so far.
    pub fn look(&mut self, turns: impl IntoIterator<Item = u64>, now: Instant) {
        for (seen, turns) in self.seen.iter_mut().zip(turns) {
            if seen.0 != turns {
                *seen = (turns, now);
            }
        }
    }

    /// How long it is that `worker` was last seen to turn.
    pub fn since(&self, worker: usize, now: Instant) -> Duration {
        let seen = self.seen.get(worker);
        seen.map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at))
    }

    /// The workers that have not turned for [`TURN_MAX`], and for how long they have not.
    pub fn stuck(&self, now: Instant) -> impl Iterator<Item = (WorkerId, Duration)> + '_ {
        (0..).zip(&self.seen).filter_map(move |(worker, (_, at))| {
            let idle = now.saturating_duration_since(*at);
            (idle >= TURN_MAX).then_some((WorkerId(worker), idle))
        })
    }
}

/// What a task that is no more means for the box.
pub(super) fn failed(name: &str) -> String {
    format!("the task \"{name}\" has met a bug and ended: restart trunklined when it suits you")
}

impl Desk {
    /// Whether every worker turns, every device is as at the start, every link up, and every
    /// task beside the desk at its work.
    pub(super) fn health(&self, now: Instant) -> Health {
        let stuck = self.turning.stuck(now);
        let unhealthy: Vec<_> = stuck
            .map(|(worker, idle)| {
                format!(
                    "worker {} has not turned for {} s",
                    worker.0,
                    idle.as_secs()
                )
            })
            .collect();
        let links = (0..).zip(&self.facts.interfaces).zip(&self.links);
        let is_down = |at: usize, up: bool| !up && !self.devices.is_gone(at);
        let down = links.filter(|((at, _), (up, _))| is_down(*at, *up));
        let down = down.map(|((_, interface), _)| {
            format!(
                "the link of {} ({}) is down",
                interface.name, interface.device
            )
        });
        let mut unready: Vec<_> = unhealthy.iter().cloned().chain(down).collect();
        unready.extend(self.devices.reasons(&self.facts));
        // Calls go on without it, by tables that may be old, or without those of one listen.
        unready.extend(self.failed.iter().copied().map(failed));
        Health {
            healthy: unhealthy.is_empty(),
            ready: unready.is_empty(),
            reasons: unready,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_stuck_when_its_turns_stand_still() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let stuck = |turning: &Turning, now| {
            let found: Vec<_> = turning.stuck(now).map(|(worker, _)| worker.0).collect();
            found
        };
        let mut turning = Turning::new(2, start);
        turning.look([7, 7], at(1));
        assert!(stuck(&turning, at(5)).is_empty());
        turning.look([8, 7], at(5));
        assert_eq!(stuck(&turning, at(6)), [1]);
        turning.look([8, 8], at(7));
        assert!(stuck(&turning, at(9)).is_empty());
        assert_eq!(stuck(&turning, at(12)), [0, 1]);
    }
}
