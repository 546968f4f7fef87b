//! Where the instructions and the time of a call and of a media packet go, by stage.
//!
//! Instructions are callgrind's, exact. Time is sampled: the same load runs as it is, a signal asks
//! 1,000 times a second where the program is, and each sample counts for the innermost file of the
//! dataplane that is on the stack. What the scripted peers do is left out of both. The rings are fake: what the
//! kernel does to a frame is not in it, see `floor` and the accounts of `blast`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;

use crate::instructions;
use crate::instructions::Load;
use crate::instructions::stages;

/// What is told of.
const LOADS: [Load; 4] = [
    Load::EngineCall,
    Load::Call,
    Load::Rtp,
    Load::Retransmission,
];

const SAMPLES_A_SECOND: i32 = 1_000;

/// What only functions that are measured have in their name.
const MEASURED: &str = "measured_";

/// Where the time of a load goes.
#[derive(Clone, Debug, Default)]
struct Times {
    /// Samples by stage.
    stages: BTreeMap<&'static str, u64>,
    /// All of them.
    samples: u64,
    /// Nanoseconds of one of the load.
    each_ns: f64,
}

/// The tables for a person.
///
/// # Errors
/// Where valgrind is missing, or the program cannot be sampled.
pub fn tables(seconds: f64) -> anyhow::Result<String> {
    instructions::refuse_debug()?;
    let mut text = String::new();
    for load in LOADS {
        let rows = stages::of(load)?;
        let times = sample(load, Duration::from_secs_f64(seconds))?;
        text += &table(load, &rows, &times);
    }
    Ok(text)
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn table(load: Load, rows: &[(&str, u64)], times: &Times) -> String {
    let all: u64 = rows.iter().map(|(_, instructions)| instructions).sum();
    let mut text = format!(
        "{}: {}\n{:<14} {:>10} {:>6} {:>10} {:>6}\n",
        load.name(),
        load.help(),
        "stage",
        "instr.",
        "",
        "ns",
        ""
    );
    let mut row = |name: &str, instructions: u64, share: f64| {
        let _ = writeln!(
            text,
            "{name:<14} {instructions:>10} {:>4.0} % {:>10.0} {:>4.0} %",
            instructions as f64 * 100.0 / all.max(1) as f64,
            times.each_ns * share,
            share * 100.0,
        );
    };
    for &(stage, instructions) in rows {
        let samples = times.stages.get(stage).copied().unwrap_or(0);
        let share = samples as f64 / times.samples.max(1) as f64;
        if instructions > 0 || samples > 0 {
            row(stage, instructions, share);
        }
    }
    row("all", all, 1.0);
    text.push('\n');
    text
}

/// Runs a load for about `time`, and asks again and again where it is.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts far below 2^52"
)]
fn sample(load: Load, time: Duration) -> anyhow::Result<Times> {
    let [short, long] = load.lengths();
    let began = Instant::now();
    instructions::work(load.name(), long)?;
    let each = began.elapsed().as_secs_f64() / long as f64;
    // Whole batches, as the lengths are.
    let count = ((time.as_secs_f64() / each) as u64).max(long) / short * short;
    let guard = pprof::ProfilerGuardBuilder::default()
        .frequency(SAMPLES_A_SECOND)
        .build()
        .context("the profiler")?;
    let began = Instant::now();
    instructions::work(load.name(), count)?;
    let took = began.elapsed();
    let report = guard.report().build().context("the profile")?;
    let mut times = Times::default();
    let mut everything = 0;
    for (frames, &samples) in &report.data {
        let samples = u64::try_from(samples).unwrap_or(0);
        everything += samples;
        let symbols = || frames.frames.iter().flatten();
        if !symbols().any(|symbol| symbol.name().contains(MEASURED)) {
            continue;
        }
        times.samples += samples;
        let stage = symbols().find_map(|symbol| {
            let file = symbol.filename.as_ref()?;
            stages::stage_of(file.to_str()?)
        });
        *times.stages.entry(stage.unwrap_or("proxy")).or_default() += samples;
    }
    anyhow::ensure!(
        everything > 0,
        "no sample was taken: is another profiler at work?"
    );
    let measured = times.samples as f64 / everything as f64;
    times.each_ns = took.as_nanos() as f64 * measured / count as f64;
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_instructions_and_time_side_by_side() {
        let times = Times {
            stages: BTreeMap::from([("scan", 30), ("edit", 10)]),
            samples: 40,
            each_ns: 2_000.0,
        };
        let text = table(
            Load::Call,
            &[("scan", 900), ("edit", 100), ("mail", 0)],
            &times,
        );
        assert!(
            text.contains("scan                  900   90 %       1500   75 %"),
            "{text}"
        );
        assert!(
            text.contains("edit                  100   10 %        500   25 %"),
            "{text}"
        );
        assert!(
            text.contains("all                  1000  100 %       2000  100 %"),
            "{text}"
        );
        assert!(!text.contains("mail"), "{text}");
    }
}
