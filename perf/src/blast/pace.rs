//! When calls begin: at a rate that stands or ramps, by the clock and not by what came back.

use std::time::Duration;

use trunkline_dataplane::tick::Tick;

/// A rate over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Calls a second at the beginning.
    pub from: f64,
    /// Calls a second at the end.
    pub to: f64,
}

impl Rate {
    /// A rate that stands.
    #[must_use]
    pub const fn steady(rate: f64) -> Rate {
        Rate {
            from: rate,
            to: rate,
        }
    }
}

impl std::str::FromStr for Rate {
    type Err = String;

    /// Reads `1000`, or `100..5000` for a ramp over the whole time.
    fn from_str(text: &str) -> Result<Rate, String> {
        let number = |text: &str| {
            let rate = text.parse().ok();
            rate.filter(|rate: &f64| rate.is_finite() && (0.0..=10_000_000.0).contains(rate))
        };
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        match (number(from), number(to)) {
            (Some(from), Some(to)) if from + to > 0.0 => Ok(Rate { from, to }),
            _ => Err("write calls a second like 1000, or a ramp like 100..5000".to_owned()),
        }
    }
}

/// Says which beginnings are due.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    start: Tick,
    seconds: f64,
    /// How many have begun.
    begun: u64,
    /// How many are to begin in all.
    total: u64,
}

impl Pace {
    /// Beginnings at `rate` for `time` from `start` on, at most `most`.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count that is not negative; what is beyond u64 saturates"
    )]
    pub fn new(rate: Rate, time: Duration, most: Option<u64>, start: Tick) -> Pace {
        let seconds = time.as_secs_f64();
        let total = ((rate.from + rate.to) / 2.0 * seconds).round() as u64;
        Pace {
            rate,
            start,
            seconds,
            begun: 0,
            total: most.map_or(total, |most| total.min(most)),
        }
    }

    /// When the next one is due; `None` when all have begun.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts far below 2^52, times that are not negative"
    )]
    pub fn next_due(&self) -> Option<Tick> {
        if self.begun >= self.total {
            return None;
        }
        let Rate { from, to } = self.rate;
        let count = self.begun as f64;
        // count = from * t + slope / 2 * t²
        let slope = (to - from) / self.seconds;
        let t = if slope.abs() < f64::EPSILON {
            count / from
        } else {
            ((from * from + 2.0 * slope * count).max(0.0).sqrt() - from) / slope
        };
        Some(Tick(self.start.0 + (t * 1e9) as u64))
    }

    /// One has begun.
    pub fn begin(&mut self) {
        self.begun += 1;
    }

    /// How many have begun.
    #[must_use]
    pub const fn begun(&self) -> u64 {
        self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(rate: &str, seconds: u64, most: Option<u64>) -> Vec<u64> {
        let rate = rate.parse().unwrap();
        let mut pace = Pace::new(rate, Duration::from_secs(seconds), most, Tick(1_000));
        let mut dues = Vec::new();
        while let Some(due) = pace.next_due() {
            dues.push(due.0);
            pace.begin();
        }
        dues
    }

    #[test]
    fn a_rate_that_stands_is_even() {
        let dues = dues("4", 2, None);
        let expected: Vec<_> = (0..8).map(|n| 1_000 + n * 250_000_000).collect();
        assert_eq!(dues, expected);
    }

    #[test]
    fn a_ramp_grows_to_its_end() {
        let dues = dues("0..100", 10, None);
        assert_eq!(dues.len(), 500);
        let within = |from: u64, to: u64| {
            let range = from * 1_000_000_000..to * 1_000_000_000;
            dues.iter().filter(|due| range.contains(due)).count()
        };
        assert_eq!(within(0, 5), 125);
        assert!((94..=96).contains(&within(9, 10)));
    }

    #[test]
    fn there_are_no_more_than_were_asked_for() {
        assert_eq!(dues("1000", 60, Some(3)).len(), 3);
        assert!("0".parse::<Rate>().is_err());
        assert!("many".parse::<Rate>().is_err());
        assert!("-5..10".parse::<Rate>().is_err());
    }
}
