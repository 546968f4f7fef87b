//! What the workers sample of their turns, gathered once a second: how long each stage
//! takes, and who sends most.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;

use hdrhistogram::Histogram;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::samples::STAGES;
use trunkline_dataplane::samples::Samples;
use trunkline_dataplane::samples::histogram;

use crate::api::types::Latency;
use crate::api::types::LatencyRow;
use crate::api::types::Percentiles;
use crate::api::types::Talker;
use crate::api::types::Talkers;

/// Seconds that "recent" figures reach back.
pub const RECENT_S: usize = 10;

/// Talkers that are shown.
const TALKERS_SHOWN: usize = 20;

/// After so many seconds without its set a worker is lent a new one: the old one was freed
/// where its report found no room.
const GIVEN_UP_S: u32 = 10;

/// The samples of all workers.
#[derive(Debug)]
pub struct Sampling {
    /// By worker: the empty set to lend it next; none while it has both.
    spare: Vec<Option<Box<Samples>>>,
    /// By worker: seconds for which it has had both.
    away_s: Vec<u32>,
    recent: VecDeque<Second>,
    total: Vec<Histogram<u64>>,
}

#[derive(Debug, Default)]
struct Second {
    stages: Vec<Histogram<u64>>,
    /// Messages, and those of them that were dropped.
    talkers: HashMap<IpAddr, (u64, u64)>,
}

fn histograms() -> Vec<Histogram<u64>> {
    STAGES.iter().map(|_| histogram()).collect()
}

impl Sampling {
    /// No samples yet of so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Sampling {
        Sampling {
            spare: (0..workers).map(|_| Some(Box::default())).collect(),
            away_s: vec![0; workers],
            recent: VecDeque::new(),
            total: histograms(),
        }
    }

    /// A second has passed: asks every worker for what it has sampled.
    pub fn ask(&mut self, posts: &mut [ControlPost]) {
        self.recent.push_back(Second {
            stages: histograms(),
            talkers: HashMap::new(),
        });
        if self.recent.len() > RECENT_S {
            self.recent.pop_front();
        }
        for ((spare, away_s), post) in self.spare.iter_mut().zip(&mut self.away_s).zip(posts) {
            *away_s = if spare.is_some() { 0 } else { *away_s + 1 };
            if *away_s > GIVEN_UP_S {
                *spare = Some(Box::default());
            }
            if let Some(empty) = spare.take()
                && let Err(Mail::Samples(empty)) = post.mail.post(Mail::Samples(empty))
            {
                *spare = Some(empty);
            }
            post.wake.ring();
        }
    }

    /// Takes what a worker has sampled.
    pub fn take(&mut self, worker: usize, mut samples: Box<Samples>) {
        let Some(second) = self.recent.back_mut() else {
            return;
        };
        for (row, (recent, total)) in STAGES
            .iter()
            .zip(second.stages.iter_mut().zip(&mut self.total))
        {
            let sampled = samples.histogram(row.stage);
            // All have the same bounds, so one goes into the other.
            let _ = recent.add(sampled);
            let _ = total.add(sampled);
        }
        for talker in samples.talkers() {
            let (messages, dropped) = second.talkers.entry(talker.address).or_default();
            *messages += u64::from(talker.messages);
            *dropped += u64::from(talker.dropped);
        }
        samples.clear();
        if let Some(spare) = self.spare.get_mut(worker) {
            *spare = Some(samples);
        }
    }

    /// How long the stages took.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let row = |(at, row): (usize, &trunkline_dataplane::samples::StageInfo)| {
            let mut recent = histogram();
            for second in &self.recent {
                let _ = recent.add(&second.stages[at]);
            }
            LatencyRow {
                stage: row.name.to_owned(),
                help: row.help.to_owned(),
                recent: percentiles(&recent),
                since_start: percentiles(&self.total[at]),
            }
        };
        Latency {
            recent_s: RECENT_S as u64,
            stages: STAGES.iter().enumerate().map(row).collect(),
        }
    }

    /// Who sent most SIP of late.
    #[must_use]
    pub fn talkers(&self) -> Talkers {
        let mut all: HashMap<IpAddr, (u64, u64)> = HashMap::new();
        for (address, (messages, dropped)) in self.recent.iter().flat_map(|s| &s.talkers) {
            let sum = all.entry(*address).or_default();
            sum.0 += messages;
            sum.1 += dropped;
        }
        let messages_total: u64 = all.values().map(|(messages, _)| messages).sum();
        let share = |of: u64| of as f64 * 100.0 / messages_total.max(1) as f64;
        let mut talkers: Vec<_> = all
            .into_iter()
            .map(|(address, (messages, dropped))| Talker {
                address: address.to_string(),
                messages,
                dropped,
                share_percent: share(messages),
            })
            .collect();
        talkers.sort_by(|a, b| (b.messages, &a.address).cmp(&(a.messages, &b.address)));
        talkers.truncate(TALKERS_SHOWN);
        Talkers {
            recent_s: RECENT_S as u64,
            talkers,
        }
    }
}

fn percentiles(of: &Histogram<u64>) -> Percentiles {
    let us = |ns: u64| ns as f64 / 1000.0;
    let at = |quantile| us(of.value_at_quantile(quantile));
    Percentiles {
        samples: of.len(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: us(of.max()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trunkline_dataplane::post;
    use trunkline_dataplane::samples::Stage;
    use trunkline_dataplane::sys::wake::Wake;

    use super::*;

    fn lent(posts: &mut [post::WorkerPost], worker: usize) -> Option<Box<Samples>> {
        match posts[worker].inboxes.last_mut().unwrap().take() {
            Some(Mail::Samples(samples)) => Some(samples),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn samples_of_all_workers_are_summed_and_old_ones_leave_the_recent() {
        let wake = Arc::new(Wake::new().unwrap());
        let (mut workers, mut posts) = post::connect(2, 0, &wake).unwrap();
        let mut sampling = Sampling::new(2);
        let loud: IpAddr = "192.0.2.7".parse().unwrap();
        sampling.ask(&mut posts);
        for worker in 0..2 {
            let mut samples = lent(&mut workers, worker).unwrap();
            samples.record(Stage::SipScan, 1000 * (worker as u64 + 1), 1);
            samples.heard(loud, worker == 1);
            sampling.take(worker, samples);
        }
        let latency = sampling.latency();
        let scan = &latency.stages[Stage::SipScan as usize];
        assert_eq!((scan.stage.as_str(), scan.recent.samples), ("sip_scan", 2));
        assert!((scan.recent.p50_us - 1.0).abs() < 0.02, "{scan:?}");
        assert!((scan.recent.max_us - 2.0).abs() < 0.03, "{scan:?}");
        let talkers = sampling.talkers().talkers;
        assert_eq!((talkers[0].messages, talkers[0].dropped), (2, 1));
        assert!((talkers[0].share_percent - 100.0).abs() < 1e-9);
        for _ in 0..RECENT_S {
            sampling.ask(&mut posts);
            for worker in 0..2 {
                let samples = lent(&mut workers, worker).unwrap();
                assert!(
                    samples.histogram(Stage::SipScan).is_empty(),
                    "it is cleared"
                );
                sampling.take(worker, samples);
            }
        }
        let scan = &sampling.latency().stages[Stage::SipScan as usize];
        assert_eq!((scan.recent.samples, scan.since_start.samples), (0, 2));
        assert!(sampling.talkers().talkers.is_empty());
    }

    #[test]
    fn a_set_that_never_came_back_is_replaced() {
        let wake = Arc::new(Wake::new().unwrap());
        let (mut workers, mut posts) = post::connect(1, 0, &wake).unwrap();
        let mut sampling = Sampling::new(1);
        sampling.ask(&mut posts);
        drop(lent(&mut workers, 0).unwrap());
        let asked = (1..).find(|_| {
            sampling.ask(&mut posts);
            lent(&mut workers, 0).is_some()
        });
        assert_eq!(asked, Some(GIVEN_UP_S + 1));
    }
}
