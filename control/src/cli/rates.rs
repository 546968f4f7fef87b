//! How fast the counters grow: the difference of two looks at them.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::tables::number;
use crate::api::types::CounterRow;
use crate::api::types::Stats;

/// What each counter grew by in a second, by its name.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Rates(HashMap<String, f64>);

impl Rates {
    /// From the look `before` to the one `after`, `apart` from each other. A daemon that was
    /// started anew in between has counted from 0.
    #[must_use]
    pub fn between(before: &Stats, after: &Stats, apart: Duration) -> Rates {
        let known: HashMap<_, _> = totals(before).collect();
        let seconds = apart.as_secs_f64().max(f64::MIN_POSITIVE);
        let rates = totals(after).map(|(name, count)| {
            let before = known.get(&name).copied().unwrap_or(0);
            let more = count.checked_sub(before).unwrap_or(count);
            (name, more as f64 / seconds)
        });
        Rates(rates.collect())
    }

    /// A second's growth of a worker's counter, as text; none for a level.
    #[must_use]
    pub fn of(&self, row: &CounterRow) -> String {
        let rate = self.get(&row.name);
        match (row.kind.as_str(), row.name.ends_with("_ns")) {
            ("now", _) => "-".to_owned(),
            (_, true) => format!("{:.1} %", rate / 1e7),
            (_, false) => per_second(rate),
        }
    }

    /// A second's growth of the counter of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// Every counter's total: workers' by name, XDP's summed over the interfaces.
fn totals(stats: &Stats) -> impl Iterator<Item = (String, u64)> {
    let mut all: HashMap<String, u64> = HashMap::new();
    for row in &stats.counters {
        *all.entry(row.name.clone()).or_default() += row.total;
    }
    for row in stats.xdp.iter().flat_map(|xdp| &xdp.verdicts) {
        *all.entry(row.name.clone()).or_default() += row.count;
    }
    all.into_iter()
}

/// A rate as a person reads it: with a fraction only where it is small.
#[must_use]
pub fn per_second(rate: f64) -> String {
    if rate > 0.0 && rate < 10.0 {
        return format!("{rate:.1}");
    }
    // Rates are neither negative nor endless; a cast saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    number(rate.round() as u64)
}
