//! Calls while many others stand: what a call costs must not depend on how many there are.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use trunkline_dataplane::frame::KeptConfig;
use trunkline_dataplane::settings::Capacity;

use super::Load;
use super::collect;
use super::engine::Engine;
use super::engine::invite;
use crate::measure::median::Median;

/// Calls that begin while others stand, and end long after: each of the others ends in its turn, its
/// state by then cold. Signalling alone: half a million calls have more ports than the lab's one address.
pub struct Crowd {
    engine: Engine,
    /// The calls that stand, the eldest first: its number, and the 200 that the caller heard.
    standing: VecDeque<(u64, String)>,
    begun: u64,
}

impl std::fmt::Debug for Crowd {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Crowd of {}", self.standing.len())
    }
}

const FEW: usize = 100;
const MANY: usize = 500_000;

/// Calls a second in a crowd: its transactions linger for 32 s each.
const CROWD_RATE: u64 = 1_000;
/// Calls that begin at one time.
const STEP: u64 = 10;

impl Crowd {
    /// A crowd of calls that stand, and time enough for its transactions to come and go evenly.
    ///
    /// # Errors
    /// Where a message causes something else than it should.
    pub fn new(established: usize) -> anyhow::Result<Crowd> {
        let mut engine = Engine::with(Capacity {
            // Each call has a place for its BYE, beside those that linger.
            transactions: u32::try_from(established + established / 4)? + (1 << 18),
            // A call that has ended stays as long as its transactions.
            calls: u32::try_from(established)? + (1 << 16),
            kept: KeptConfig::new(1 << 17, 4),
            ..Capacity::SMALL
        });
        engine.is_measured = false;
        let mut crowd = Crowd {
            engine,
            standing: VecDeque::new(),
            begun: 0,
        };
        while crowd.standing.len() < established {
            crowd.begin()?;
        }
        // As many calls as the transactions that linger are of.
        for _ in 0..40 * CROWD_RATE {
            crowd.begin()?;
            crowd.end()?;
        }
        crowd.engine.is_measured = true;
        Ok(crowd)
    }

    /// Begins and ends so many calls, and says how long the engine was at it.
    ///
    /// # Errors
    /// Where a message causes something else than it should.
    pub fn turn(&mut self, calls: u64) -> anyhow::Result<Duration> {
        let before = self.engine.busy;
        for _ in 0..calls {
            self.begin()?;
            self.end()?;
        }
        Ok(self.engine.busy - before)
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        let number = self.begun;
        self.begun += 1;
        let ok = self.engine.establish(number, &invite(number, ""), "")?;
        self.standing.push_back((number, ok));
        // A bucket of the wheel is 4 ms: time passes in larger steps.
        match number % STEP {
            0 => self
                .engine
                .pass_to(self.engine.now.plus_ms(STEP * 1_000 / CROWD_RATE)),
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> anyhow::Result<()> {
        match self.standing.pop_front() {
            Some((number, ok)) => self.engine.hang_up(number, &ok),
            None => Ok(()),
        }
    }
}

/// Calls in a turn of the clock.
const TURN: u64 = 2_000;

/// What a call costs among few and among many: the table for a person.
///
/// # Errors
/// Where valgrind is missing, or a call does not go as it should.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub fn table(turns: usize) -> anyhow::Result<String> {
    super::refuse_debug()?;
    let loads = [Load::CrowdFew, Load::CrowdMany];
    let mut crowds = [Crowd::new(FEW)?, Crowd::new(MANY)?];
    // In turns, so that a noisy moment meets both.
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..turns {
        for (crowd, times) in crowds.iter_mut().zip(&mut times) {
            times.push(crowd.turn(TURN)?.as_nanos() as f64 / TURN as f64);
        }
    }
    let ratios: Vec<f64> = times[1]
        .iter()
        .zip(&times[0])
        .map(|(many, few)| many / few)
        .collect();
    drop(crowds);
    let mut text = format!(
        "{:>11} {:>10} {:>10}\n",
        "established", "ns a call", "instr."
    );
    let mut counts = [0.0; 2];
    for at in 0..2 {
        // What leads to them is not counted, so that one length is enough.
        let [_, calls] = loads[at].lengths();
        counts[at] = collect(loads[at], calls)? as f64 / calls as f64;
        let time = Median::of(&times[at]).context("no turn")?;
        let _ = writeln!(
            text,
            "{:>11} {:>10.0} {:>10.0}",
            [FEW, MANY][at],
            time.median,
            counts[at]
        );
    }
    let ratio = Median::of(&ratios).context("no turn")?;
    let _ = writeln!(
        text,
        "{:>11} {:>10.2} {:>10.2}   time: {:.2} to {:.2} with {:.0} %",
        "ratio",
        ratio.median,
        counts[1] / counts[0],
        ratio.low,
        ratio.high,
        ratio.confidence * 100.0,
    );
    Ok(text)
}

/// `count` calls in a crowd of few, or of many.
pub fn work(load: Load, count: u64) -> anyhow::Result<()> {
    let established = if load == Load::CrowdMany { MANY } else { FEW };
    let mut crowd = Crowd::new(established)?;
    super::begin_to_count()?;
    crowd.turn(count).map(drop)
}
