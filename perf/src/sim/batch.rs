//! Many seeds, over the cores of the machine.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;

use super::Failure;
use super::Options;
use super::Summary;

/// Failures after which no further seed is begun.
const FAILURES_MAX: usize = 8;

/// What a batch came to.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// Seeds that held.
    pub seeds: u64,
    /// Calls begun by the agents.
    pub calls: u64,
    /// Steps taken.
    pub steps: u64,
    /// SIP messages and media packets that the boxes sent.
    pub sent: (u64, u64),
    /// What the workers counted.
    pub counters: Counters,
    /// What was violated, by seed.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub took: Duration,
}

impl Total {
    /// One line for a person.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{} seeds held, {} failed: {} calls, {} answered, {} steps, {} SIP and {} media packets sent in {:.1} s",
            self.seeds,
            self.failures.len(),
            self.calls,
            self.counters.get(Counter::CallsAnswered),
            self.steps,
            self.sent.0,
            self.sent.1,
            self.took.as_secs_f64()
        )
    }

    fn add(&mut self, options: &Options, summary: &Summary) {
        self.seeds += 1;
        self.calls += options.calls as u64;
        self.steps += summary.steps;
        self.sent.0 += summary.sent.0;
        self.sent.1 += summary.sent.1;
        self.counters.merge(&summary.counters);
    }
}

/// Is told how a seed ended.
pub type Seen<'s> = dyn Fn(u64, &Result<Summary, Box<Failure>>) + Sync + 's;

/// Runs every seed, on so many threads; `seen` is told of each as it ends.
pub fn run(seeds: RangeInclusive<u64>, options: Options, jobs: usize, seen: &Seen<'_>) -> Total {
    let begun = Instant::now();
    let next = AtomicU64::new(*seeds.start());
    let total = Mutex::new(Total::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let failed = total
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .failures
                .len();
            if seed > *seeds.end() || failed >= FAILURES_MAX {
                return;
            }
            let options = Options { seed, ..options };
            let ended = super::run(options, false);
            seen(seed, &ended);
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            match ended {
                Ok(summary) => total.add(&options, &summary),
                Err(failure) => total.failures.push(*failure),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.failures.sort_by_key(|failure| failure.seed);
    total.took = begun.elapsed();
    total
}
