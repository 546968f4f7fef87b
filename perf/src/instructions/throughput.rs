//! How many registrations a second the SIP engine of one worker takes, beside calls in the same run.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;

use super::engine;
use super::subscribers;
use crate::measure::median::Median;

/// Of each kind in a turn.
const TURN: u64 = 2_000;

/// Carries so many of a kind, and says how long the engine was at it.
type Run = fn(u64) -> anyhow::Result<Duration>;

/// The table for a person.
///
/// # Errors
/// Where something is not answered as it should be.
#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub fn table(turns: usize) -> anyhow::Result<String> {
    super::refuse_debug()?;
    let kinds: [(&str, Run); 3] = [
        ("REGISTERs challenged", subscribers::time_challenges),
        ("REGISTERs let in", subscribers::time_registers),
        ("calls", engine::time_calls),
    ];
    // In turns, so that a noisy moment meets all.
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..turns {
        for ((_, run), times) in kinds.iter().zip(&mut times) {
            times.push(run(TURN)?.as_nanos() as f64 / TURN as f64);
        }
    }
    let calls: Vec<f64> = times[2].clone();
    let mut text = format!(
        "{:<22} {:>10} {:>10} {:>12}\n",
        "", "ns each", "a second", "of a call"
    );
    for ((name, _), times) in kinds.iter().zip(&times) {
        let ratios: Vec<f64> = times
            .iter()
            .zip(&calls)
            .map(|(one, call)| one / call)
            .collect();
        let time = Median::of(times).context("no turn")?;
        let ratio = Median::of(&ratios).context("no turn")?;
        let _ = writeln!(
            text,
            "{name:<22} {:>10.0} {:>10.0} {:>12.3}",
            time.median,
            1e9 / time.median,
            ratio.median
        );
    }
    Ok(text)
}
