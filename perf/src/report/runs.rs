//! The runs of a comparison.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use crate::measure::median::Median;

/// A run of the generator against one candidate.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Run {
    /// `fixed` for a rate that all candidates carry, `ladder` for a rung of the search.
    pub(super) kind: String,
    pub(super) candidate: String,
    /// What exactly that is.
    #[serde(default)]
    pub(super) version: String,
    pub(super) mode: String,
    /// Calls a second.
    pub(super) rate: f64,
    pub(super) turn: u32,
    /// What the generator told.
    #[serde(flatten)]
    pub(super) figures: Value,
}

impl Run {
    /// The number at a JSON pointer.
    pub(super) fn number(&self, at: &str) -> Option<f64> {
        self.figures.pointer(at)?.as_f64()
    }

    /// CPU time that a process or the machine used, microseconds a call.
    pub(super) fn cpu_a_call(&self, who: &str) -> Option<f64> {
        self.number(&format!("/window/cpu/{who}/us_a_call"))
    }

    /// A share of a time, in microseconds.
    pub(super) fn time(&self, what: &str, share: &str) -> Option<f64> {
        Some(self.number(&format!("/times_ns/{what}/{share}"))? / 1e3)
    }

    /// Calls that failed or did not end.
    pub(super) fn failed(&self) -> f64 {
        self.sum("/calls/failed") + self.number("/calls/open_at_end").unwrap_or(0.0)
    }

    /// Calls that went as they should, of every kind.
    pub(super) fn completed(&self) -> f64 {
        self.sum("/calls/completed")
    }

    /// The sum of the numbers in the object at a JSON pointer.
    fn sum(&self, at: &str) -> f64 {
        let object = self.figures.pointer(at).and_then(Value::as_object);
        let values = object.into_iter().flat_map(|object| object.values());
        values.filter_map(Value::as_f64).sum()
    }

    /// Nothing failed, and nothing had to be said again.
    pub(super) fn is_clean(&self) -> bool {
        self.failed() == 0.0
            && self.number("/messages/repeated") == Some(0.0)
            && self.number("/generator/no_seat") == Some(0.0)
    }

    /// Why the generator itself was the limit; empty where it was not.
    pub(super) fn generator_limits(&self) -> Vec<&str> {
        let why = self.figures.pointer("/generator/why");
        let why = why.and_then(Value::as_array);
        why.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }
}

/// Reads every run in a directory, in the order of their names.
pub(super) fn read(directory: &Path) -> anyhow::Result<Vec<Run>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let text = fs::read_to_string(path)?;
            serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
        })
        .collect()
}

/// The median of a figure over the fixed runs of a candidate at a rate.
pub(super) fn median(
    runs: &[Run],
    (candidate, mode, rate): (&str, &str, f64),
    figure: impl Fn(&Run) -> Option<f64>,
) -> Option<Median> {
    let samples: Vec<_> = runs
        .iter()
        .filter(|run| run.kind == "fixed" && run.candidate == candidate && run.mode == mode)
        .filter(|run| run.rate.total_cmp(&rate).is_eq())
        .filter_map(figure)
        .collect();
    Median::of(&samples)
}

/// The median of the ratio of two candidates, turn by turn.
pub(super) fn ratio(
    runs: &[Run],
    (first, second): (&str, &str),
    (mode, rate): (&str, f64),
    figure: impl Fn(&Run) -> Option<f64>,
) -> Option<Median> {
    pairs(runs, (first, mode), (second, mode), rate, figure, |a, b| {
        a / b
    })
}

/// The median of what a candidate in a mode has more than another, turn by turn.
pub(super) fn difference(
    runs: &[Run],
    first: (&str, &str),
    second: (&str, &str),
    rate: f64,
    figure: impl Fn(&Run) -> Option<f64>,
) -> Option<Median> {
    pairs(runs, first, second, rate, figure, |a, b| a - b)
}

fn pairs(
    runs: &[Run],
    first: (&str, &str),
    second: (&str, &str),
    rate: f64,
    figure: impl Fn(&Run) -> Option<f64>,
    compare: impl Fn(f64, f64) -> f64,
) -> Option<Median> {
    let of = |(candidate, mode): (&str, &str), turn: u32| {
        let mut fixed = runs.iter().filter(|run| run.kind == "fixed");
        let run = fixed.find(|run| {
            run.candidate == candidate
                && run.mode == mode
                && run.rate.total_cmp(&rate).is_eq()
                && run.turn == turn
        });
        figure(run?)
    };
    let turns = runs.iter().map(|run| run.turn).max()?;
    let samples: Vec<_> = (1..=turns)
        .filter_map(|turn| Some(compare(of(first, turn)?, of(second, turn)?)))
        .collect();
    Median::of(&samples)
}
