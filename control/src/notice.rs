//! When the log is told of a server that is gone, and that it is back.

use std::time::Duration;
use std::time::Instant;

/// Of a server that comes and goes it is logged that it is gone at most so often, and that it is back where
/// that was.
const PAUSE: Duration = Duration::from_secs(60);

/// What the log knows of a server.
#[derive(Debug, Default)]
pub struct Notice {
    /// When it was last logged that it is dead.
    at: Option<Instant>,
    /// It is dead, and the log says so.
    is_told: bool,
    /// How often it has died since.
    deaths: u32,
}

impl Notice {
    /// It is dead, now or still; how often it has died, where that is to be logged.
    pub fn dead(&mut self, was_alive: bool, now: Instant) -> Option<u32> {
        self.deaths += u32::from(was_alive);
        let is_recent = |at: Instant| now.duration_since(at) < PAUSE;
        if self.is_told || self.at.is_some_and(is_recent) {
            return None;
        }
        (self.at, self.is_told) = (Some(now), true);
        Some(std::mem::take(&mut self.deaths))
    }

    /// It answers again; whether that is to be logged.
    pub fn back(&mut self) -> bool {
        std::mem::take(&mut self.is_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_server_that_comes_and_goes_the_log_hears_once_a_minute() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut notice = Notice::default();
        assert_eq!(notice.dead(true, at(0)), Some(1));
        assert_eq!(notice.dead(false, at(100)), None, "it still is");
        assert!(notice.back());
        for n in 1..300 {
            assert_eq!(notice.dead(true, at(n * 200)), None);
            assert!(!notice.back(), "nobody was told that it was gone");
        }
        assert_eq!(notice.dead(true, at(60_000)), Some(300));
        assert!(notice.back());
        // Gone again at once, and for good: that is told as soon as it may be.
        assert_eq!(notice.dead(true, at(60_100)), None);
        assert_eq!(notice.dead(false, at(119_999)), None);
        assert_eq!(notice.dead(false, at(120_000)), Some(1));
        assert_eq!(notice.dead(false, at(500_000)), None);
    }
}
