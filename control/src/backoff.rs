//! How long to wait before a server that gave no answer is tried again.

use std::time::Duration;

/// The shortest wait. Shorter, and a server that is overloaded is asked by nobody but us; longer, and
/// users wait after a restart that took no time.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// The longest wait: what the return of a server may go unnoticed.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Waits that double, each with up to half of it left to chance: many boxes that lost one server must not
/// come back to it all at once.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    whole: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            whole: WAIT_MIN * 2,
        }
    }
}

impl Backoff {
    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        // A kernel without random numbers makes all waits whole.
        self.wait_by(getrandom::u32().unwrap_or(u32::MAX))
    }

    fn wait_by(&mut self, chance: u32) -> Duration {
        let half = self.whole / 2;
        let wait = half + half.mul_f64(f64::from(chance) / f64::from(u32::MAX));
        self.whole = (self.whole * 2).min(WAIT_MAX);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_the_shortest_to_the_longest() {
        let mut backoff = Backoff::default();
        let shortest: Vec<_> = (0..9).map(|_| backoff.wait_by(0).as_millis()).collect();
        assert_eq!(shortest, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(backoff.wait_by(u32::MAX), WAIT_MAX);
        assert_eq!(Backoff::default().wait_by(u32::MAX), WAIT_MIN * 2);
    }

    #[test]
    fn chance_keeps_two_boxes_apart() {
        let waits: Vec<_> = (0..8).map(|_| Backoff::default().wait()).collect();
        assert!(
            waits
                .iter()
                .all(|wait| (WAIT_MIN..=WAIT_MIN * 2).contains(wait))
        );
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
