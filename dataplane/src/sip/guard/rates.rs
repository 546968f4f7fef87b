//! How often a source is heard that nobody is registered from.
//!
//! A source has a bucket of tokens, kept as one moment: when it will be full again (the generic cell rate
//! algorithm). Who has been silent for long enough is as good as unknown, so a table in which the
//! fullest bucket gives way forgets nobody who matters. A source that is registered from is heard
//! whatever it sends, as long as there is room to remember it.

use super::sets::Sets;
use super::source::Source;
use crate::sip::siphash::SipHash;
use crate::tick::Tick;

/// The buckets.
#[derive(Debug)]
pub(super) struct Rates {
    /// When the bucket of a source is full again.
    full: Sets<u64>,
    /// Until when a source has a contact.
    vouched: Sets<u64>,
    /// Nanoseconds of a token; 0: there is no limit.
    token_ns: u64,
    /// Of all tokens that a bucket has but one.
    ahead_ns: u64,
}

impl Rates {
    /// Bytes of a source in either table.
    pub const ENTRY_LEN: usize = Sets::<u64>::ENTRY_LEN;

    /// Room for so many sources, each heard `per_s` times a second and `burst` times at once.
    pub fn new(capacity: u32, hash: SipHash, per_s: u32, burst: u32) -> Rates {
        let token_ns = 1_000_000_000_u64.checked_div(per_s.into()).unwrap_or(0);
        Rates {
            full: Sets::new(capacity, hash),
            vouched: Sets::new(capacity, hash),
            token_ns,
            ahead_ns: token_ns * u64::from(burst.saturating_sub(1)),
        }
    }

    /// Whether there is a limit at all.
    pub const fn are_limited(&self) -> bool {
        self.token_ns > 0
    }

    /// A datagram has come from a source: takes a token, and says whether there was none.
    pub fn is_over(&mut self, source: Source, now: Tick) -> bool {
        let full = self.full.find(source).map_or(0, |(_, full)| *full);
        let full = full.max(now.0);
        if full - now.0 > self.ahead_ns {
            let until = self.vouched.find(source).map_or(0, |(_, until)| *until);
            return until <= now.0;
        }
        let _ = self.full.put(source, full + self.token_ns, |&full| full);
        false
    }

    /// Until when a contact is known to be registered from a source.
    pub fn vouched_until(&mut self, source: Source) -> Tick {
        Tick(self.vouched.find(source).map_or(0, |(_, until)| *until))
    }

    /// A contact was registered from a source until then.
    pub fn vouch(&mut self, source: Source, until: Tick) {
        let Tick(known) = self.vouched_until(source);
        // Whoever is registered for the shortest time gives way.
        let _ = self.vouched.put(source, known.max(until.0), |&until| until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn source(n: u8) -> Source {
        Source::of(std::net::Ipv4Addr::new(10, 0, 0, n).into())
    }

    fn rates(capacity: u32) -> Rates {
        Rates::new(capacity, SipHash::new(&[1; 16]), 10, 5)
    }

    #[test]
    fn a_source_has_a_burst_then_its_rate_and_others_have_their_own() {
        let mut rates = rates(64);
        let heard = |rates: &mut Rates, n, ms| {
            let all = (0..100).filter(|_| !rates.is_over(source(n), Tick::ms(ms)));
            all.count()
        };
        assert_eq!(heard(&mut rates, 1, 1_000), 5);
        assert_eq!(heard(&mut rates, 1, 1_099), 0);
        assert_eq!(heard(&mut rates, 1, 1_100), 1);
        assert_eq!(heard(&mut rates, 2, 1_100), 5);
        assert_eq!(heard(&mut rates, 1, 1_400), 3);
        assert_eq!(heard(&mut rates, 1, 9_000), 5);
        rates.vouch(source(1), Tick::ms(10_000));
        rates.vouch(source(1), Tick::ms(9_500));
        assert_eq!(heard(&mut rates, 1, 9_999), 100);
        assert_eq!(heard(&mut rates, 1, 10_000), 0);
    }

    proptest! {
        #[test]
        fn nobody_is_heard_more_often_than_allowed_nor_less(
            steps in prop::collection::vec((0_u8..12, 0_u64..400), 0..600),
        ) {
            let mut rates = rates(4_096);
            let mut heard: HashMap<u8, Vec<u64>> = HashMap::new();
            let mut tokens: HashMap<u8, (f64, u64)> = HashMap::new();
            let mut now_ms = 1_000;
            for (n, pause_ms) in steps {
                now_ms += pause_ms / 8;
                // Five tokens at most, one more every 100 ms.
                let (left, at_ms) = tokens.get(&n).copied().unwrap_or((5.0, now_ms));
                #[allow(clippy::cast_precision_loss, reason = "minutes")]
                let left = (left + (now_ms - at_ms) as f64 / 100.0).min(5.0);
                let is_over = rates.is_over(source(n), Tick::ms(now_ms));
                prop_assert_eq!(is_over, left < 1.0 - 1e-6, "{} at {}", left, now_ms);
                let left = if is_over { left } else { left - 1.0 };
                tokens.insert(n, (left, now_ms));
                if !is_over {
                    heard.entry(n).or_default().push(now_ms);
                }
            }
            for times in heard.values() {
                for (at, first) in times.iter().enumerate() {
                    let within = times[at..].iter().filter(|&&last| last < first + 1_000);
                    prop_assert!(within.count() <= 15);
                }
            }
        }
    }

    #[test]
    fn a_full_table_forgets_whose_bucket_is_fullest() {
        let mut rates = rates(4);
        while !rates.is_over(source(1), Tick::ms(1_000)) {}
        for n in 2..200 {
            assert!(!rates.is_over(source(n), Tick::ms(1_000)));
            assert!(rates.is_over(source(1), Tick::ms(1_000)));
        }
    }
}
