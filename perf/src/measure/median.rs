//! The median of samples, and how sure one can be of it.

/// A median and the bounds of its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    /// The median.
    pub median: f64,
    /// The true median is above this.
    pub low: f64,
    /// The true median is below this.
    pub high: f64,
    /// How many samples there were.
    pub count: usize,
    /// How sure the interval is, 0.95 or more; less where there are fewer than six samples.
    pub confidence: f64,
}

/// The confidence that is asked for.
const CONFIDENCE: f64 = 0.95;

impl Median {
    /// Of samples in any order; `None` where there are none. The interval is that of order
    /// statistics: it supposes nothing of the samples but that they are independent.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Median> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let (first, last) = (*sorted.first()?, *sorted.last()?);
        let median = match count % 2 {
            0 => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
            _ => sorted[count / 2],
        };
        // The widest interval, then narrower ones while they are sure enough.
        let (mut low, mut high) = (first, last);
        let mut confidence = certainty(count, 0);
        for cut in 1..=(count - 1) / 2 {
            let narrower = certainty(count, cut);
            if narrower < CONFIDENCE {
                break;
            }
            (low, high) = (sorted[cut], sorted[count - 1 - cut]);
            confidence = narrower;
        }
        Some(Median {
            median,
            low,
            high,
            count,
            confidence,
        })
    }
}

/// How sure it is that the true median lies between the smallest and the largest of `count` samples,
/// after `cut` more have been taken off at each end: 1 - 2·P(Bin(count, ½) ≤ cut).
fn certainty(count: usize, cut: usize) -> f64 {
    let mut term = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut tail = 0.0;
    for k in 0..=cut {
        tail += term;
        #[allow(clippy::cast_precision_loss, reason = "counts of samples")]
        let next = (count - k) as f64 / (k + 1) as f64;
        term *= next;
    }
    1.0 - 2.0 * tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_samples_leave_out_one_at_each_end() {
        let samples = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 4.0, 5.0];
        let median = Median::of(&samples).unwrap();
        assert_eq!((median.median, median.low, median.high), (5.0, 2.0, 8.0));
        // Tables of order statistics: 96.1 %.
        assert!((median.confidence - 0.9609).abs() < 1e-4);
    }

    #[test]
    fn few_samples_are_less_sure_and_say_so() {
        let median = Median::of(&[2.0, 1.0]).unwrap();
        assert_eq!((median.median, median.low, median.high), (1.5, 1.0, 2.0));
        assert!((median.confidence - 0.5).abs() < 1e-9);
        assert_eq!(Median::of(&[3.0]).unwrap().confidence, 0.0);
        assert_eq!(Median::of(&[]), None);
    }

    #[test]
    fn one_wild_sample_moves_nothing_far() {
        let mut samples: Vec<_> = (0..21).map(f64::from).collect();
        let quiet = Median::of(&samples).unwrap();
        samples[20] = 1e9;
        assert_eq!(Median::of(&samples).unwrap(), quiet);
        assert_eq!((quiet.low, quiet.high), (5.0, 15.0));
    }
}
