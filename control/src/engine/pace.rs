//! How busy the workers are: what they counted in the last second.

use std::time::Duration;
use std::time::Instant;

use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;

/// Over how long the pace is taken.
pub const WINDOW: Duration = Duration::from_secs(1);

/// What a worker did in the last window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Share of the time spent in turns that found work, in percent.
    pub busy_percent: f64,
    /// Turns a second.
    pub turns_per_s: f64,
    /// Times a second that it went to sleep.
    pub sleeps_per_s: f64,
}

/// The pace of each worker.
#[derive(Debug)]
pub struct Paces {
    since: Instant,
    before: Vec<Counters>,
    /// By worker; none before there was a window.
    last: Vec<Option<Pace>>,
}

impl Paces {
    /// So many workers, which have just started.
    pub fn new(workers: usize, now: Instant) -> Paces {
        Paces {
            since: now,
            before: vec![Counters::default(); workers],
            last: vec![None; workers],
        }
    }

    /// Takes the pace anew where a window has passed; true where it has.
    pub fn look(&mut self, counters: impl FnOnce() -> Vec<Counters>, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        if passed < WINDOW {
            return false;
        }
        let after = counters();
        for ((before, after), last) in self.before.iter().zip(&after).zip(&mut self.last) {
            let more = |counter| after.get(counter).saturating_sub(before.get(counter)) as f64;
            let busy = more(Counter::BusyNs) / passed.as_nanos() as f64;
            *last = Some(Pace {
                busy_percent: (busy * 100.0).min(100.0),
                turns_per_s: more(Counter::Turns) / passed.as_secs_f64(),
                sleeps_per_s: more(Counter::Sleeps) / passed.as_secs_f64(),
            });
        }
        self.before = after;
        self.since = now;
        true
    }

    /// By worker; none before there was a window.
    pub fn last(&self) -> &[Option<Pace>] {
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_what_came_in_a_window() {
        let start = Instant::now();
        let mut paces = Paces::new(1, start);
        let counted = |busy_ns, turns, sleeps| {
            let mut counters = Counters::default();
            counters.add(Counter::BusyNs, busy_ns);
            counters.add(Counter::Turns, turns);
            counters.add(Counter::Sleeps, sleeps);
            vec![counters]
        };
        let early = start + Duration::from_millis(500);
        assert!(!paces.look(|| unreachable!(), early));
        assert_eq!(paces.last(), [None]);
        let first = start + Duration::from_secs(2);
        assert!(paces.look(|| counted(1_000_000_000, 20, 10), first));
        let pace = paces.last()[0].unwrap();
        assert_eq!((pace.turns_per_s, pace.sleeps_per_s), (10.0, 5.0));
        assert!((pace.busy_percent - 50.0).abs() < 0.1);
        // A worker that publishes late must not look busier than a second.
        let second = first + Duration::from_secs(1);
        assert!(paces.look(|| counted(4_000_000_000, 21, 10), second));
        assert!((paces.last()[0].unwrap().busy_percent - 100.0).abs() < f64::EPSILON);
    }
}
