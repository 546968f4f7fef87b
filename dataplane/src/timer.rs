//! A hashed timer wheel over a fixed set of timers.
//!
//! Each timer is known by its number, `0..timers`, and is armed at most once. A
//! timer sits in the bucket of its due tick modulo the wheel; one that is due in a
//! later round stays where it is when the wheel passes. Arming and disarming touch
//! two neighbours and a bitmap; nothing is allocated after start.

use crate::sys::memory::table;
use crate::tick::Tick;

/// Nanoseconds a bucket, as a power of two: 4.2 ms.
const BUCKET_SHIFT: u32 = 22;
/// Buckets of the wheel: one round is 34 s, longer than Timer B.
const BUCKETS: usize = 8192;
/// No timer.
const NONE: u32 = u32::MAX;
/// In no bucket.
const UNARMED: u32 = u32::MAX - 1;
/// The furthest that a timer can be due, so that its bucket's number may wrap: 52 days. What is
/// due later fires then, and its owner arms it anew.
const AHEAD_MAX: u64 = 1 << 30;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When it fires, in buckets since the clock's start; it wraps after 208 days.
    due: u32,
    next: u32,
    /// [`NONE`] at the head of a bucket, [`UNARMED`] where the timer is in none.
    prev: u32,
}

impl Entry {
    const UNARMED: Entry = Entry {
        due: 0,
        next: NONE,
        prev: UNARMED,
    };
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32]>,
    /// A bit for each bucket that holds a timer.
    occupied: Box<[u64]>,
    /// A bit for each word of `occupied` that is not zero.
    words: u128,
    entries: Box<[Entry]>,
    /// The bucket being visited: all before it have been.
    position: u64,
    /// The entry to look at next in that bucket; `NONE`: begin at its head.
    resume: u32,
    resuming: bool,
}

impl Wheel {
    /// Bytes that a timer costs.
    pub const TIMER_LEN: usize = size_of::<Entry>();
    /// Bytes of the buckets.
    pub const BUCKETS_LEN: usize = BUCKETS * size_of::<u32>() + BUCKETS / 8;

    /// A wheel for the timers `0..timers`, none armed.
    #[must_use]
    pub fn new(timers: u32) -> Wheel {
        Wheel {
            heads: vec![NONE; BUCKETS].into_boxed_slice(),
            occupied: vec![0; WORDS].into_boxed_slice(),
            words: 0,
            entries: table((0..timers).map(|_| Entry::UNARMED)),
            position: 0,
            resume: NONE,
            resuming: false,
        }
    }

    /// Arms `timer` to fire at `due` or up to one bucket later; one that is armed already is
    /// moved. What is due in more than 52 days fires before its time.
    pub fn arm(&mut self, timer: u32, due: Tick) {
        self.disarm(timer);
        // Never in the bucket being visited, whose end may have been passed already.
        let due = due.0.div_ceil(1 << BUCKET_SHIFT);
        let due = due.clamp(self.position + 1, self.position + AHEAD_MAX);
        let bucket = bucket_of(due);
        let head = self.heads[bucket];
        self.entries[timer as usize] = Entry {
            due: wrapped(due),
            next: head,
            prev: NONE,
        };
        if head != NONE {
            self.entries[head as usize].prev = timer;
        }
        self.heads[bucket] = timer;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
        self.words |= 1 << (bucket / 64);
    }

    /// Disarms `timer`; nothing happens where it is not armed.
    pub fn disarm(&mut self, timer: u32) {
        let Entry { due, next, prev } = self.entries[timer as usize];
        if prev == UNARMED {
            return;
        }
        let bucket = bucket_of(due.into());
        if prev == NONE {
            self.heads[bucket] = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if self.heads[bucket] == NONE {
            let word = &mut self.occupied[bucket / 64];
            *word &= !(1 << (bucket % 64));
            if *word == 0 {
                self.words &= !(1 << (bucket / 64));
            }
        }
        if self.resume == timer {
            self.resume = next;
        }
        self.entries[timer as usize] = Entry::UNARMED;
    }

    /// True while `timer` is armed.
    #[must_use]
    pub fn is_armed(&self, timer: u32) -> bool {
        self.entries
            .get(timer as usize)
            .is_some_and(|entry| entry.prev != UNARMED)
    }

    /// Every timer that is armed.
    pub fn armed(&self) -> impl Iterator<Item = u32> {
        (0..)
            .zip(&self.entries)
            .filter_map(|(timer, entry)| (entry.prev != UNARMED).then_some(timer))
    }

    /// Disarms and gives one timer that is due at `now`; `None` when there is none left.
    pub fn expire(&mut self, now: Tick) -> Option<u32> {
        let now = now.0 >> BUCKET_SHIFT;
        // After a long pause every bucket is visited once, not once a round.
        if now.saturating_sub(self.position) >= BUCKETS as u64 {
            self.position = now + 1 - BUCKETS as u64;
            self.resuming = false;
        }
        while self.position <= now {
            let bucket = bucket_of(self.position);
            let mut timer = if self.resuming {
                self.resume
            } else {
                self.heads[bucket]
            };
            while timer != NONE {
                let entry = self.entries[timer as usize];
                // How long ago it was due: more than half of the circle is ahead.
                if wrapped(self.position).wrapping_sub(entry.due) < 1 << 31 {
                    self.resuming = true;
                    self.resume = entry.next;
                    self.disarm(timer);
                    return Some(timer);
                }
                timer = entry.next;
            }
            self.resuming = false;
            self.resume = NONE;
            if self.position == now {
                break;
            }
            self.position = self.next_occupied(self.position + 1).min(now);
        }
        None
    }

    /// The earliest tick at which a timer might be due; `Tick::NEVER` where none is armed.
    #[must_use]
    pub fn next_due(&self) -> Tick {
        // The bucket at the position has been visited to its end, unless it was left half-way:
        // what is in it is due in a later round.
        let from = if self.resuming {
            self.position
        } else {
            self.position + 1
        };
        let next = self.next_occupied(from);
        if next == u64::MAX {
            Tick::NEVER
        } else {
            Tick(next << BUCKET_SHIFT)
        }
    }

    /// The first bucket number from `from` on, within a round, that holds a timer.
    #[allow(clippy::cast_possible_truncation)] // Less than the bitmap's words.
    fn next_occupied(&self, from: u64) -> u64 {
        let first = bucket_of(from) / 64;
        let base = from - from % 64;
        let here = self.occupied[first] & (u64::MAX << (from % 64));
        if here != 0 {
            return base + u64::from(here.trailing_zeros());
        }
        if self.words == 0 {
            return u64::MAX;
        }
        // How many words on; the last one of a round is the first again, up to `from`.
        let step = self.words.rotate_right(first as u32 + 1).trailing_zeros() + 1;
        let word = self.occupied[(first + step as usize) % WORDS];
        base + u64::from(step) * 64 + u64::from(word.trailing_zeros())
    }
}

/// Words of the bitmap of buckets.
const WORDS: usize = BUCKETS / 64;
const _: () = assert!(WORDS == u128::BITS as usize);

#[allow(clippy::cast_possible_truncation)] // That is what it is for.
const fn wrapped(due: u64) -> u32 {
    due as u32
}

#[allow(clippy::cast_possible_truncation)] // Less than BUCKETS.
const fn bucket_of(due: u64) -> usize {
    (due % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const BUCKET_NS: u64 = 1 << BUCKET_SHIFT;

    #[test]
    fn a_timer_fires_once_and_not_before_its_time() {
        let mut wheel = Wheel::new(4);
        wheel.arm(2, Tick::ms(500));
        assert_eq!(wheel.expire(Tick::ms(499)), None);
        assert!(wheel.is_armed(2) && wheel.armed().eq([2]));
        assert_eq!(wheel.expire(Tick(500_000_000 + BUCKET_NS)), Some(2));
        assert_eq!(wheel.expire(Tick::ms(100_000)), None);
        assert_eq!(wheel.next_due(), Tick::NEVER);
        assert!(!wheel.is_armed(2));
    }

    #[test]
    fn a_timer_of_a_later_round_waits_for_it() {
        let mut wheel = Wheel::new(2);
        wheel.arm(0, Tick::ms(181_000));
        let mut now = 0;
        while now < 181_000 {
            assert_eq!(wheel.expire(Tick::ms(now)), None, "at {now} ms");
            now += 250;
        }
        assert_eq!(wheel.expire(Tick::ms(181_005)), Some(0));
    }

    #[test]
    fn a_timer_fires_across_the_wrap_of_its_bucket_number_and_a_far_one_not_at_once() {
        let mut wheel = Wheel::new(2);
        let start = Tick((1 << (32 + BUCKET_SHIFT)) - 10 * BUCKET_NS);
        assert_eq!(wheel.expire(start), None);
        wheel.arm(0, start.plus_ms(100));
        wheel.arm(1, Tick::NEVER);
        assert_eq!(wheel.expire(start.plus_ms(99)), None);
        assert_eq!(wheel.expire(start.plus_ms(105)), Some(0));
        assert_eq!(wheel.expire(start.plus_ms(40 * 86_400_000)), None);
        assert_eq!(wheel.expire(start.plus_ms(60 * 86_400_000)), Some(1));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_map(
            steps in prop::collection::vec((0u32..32, 0u64..90_000, 0u64..2_000, any::<bool>()), 1..200),
        ) {
            let mut wheel = Wheel::new(32);
            let mut naive: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0;
            for (timer, delay, pass, disarm) in steps {
                if disarm {
                    wheel.disarm(timer);
                    naive.remove(&timer);
                } else {
                    wheel.arm(timer, Tick::ms(now + delay));
                    naive.insert(timer, Tick::ms(now + delay).0);
                }
                now += pass;
                let now = Tick::ms(now);
                let soonest = naive.values().min().map_or(u64::MAX, |&due| due);
                prop_assert!(
                    wheel.next_due().0 <= soonest.saturating_add(BUCKET_NS),
                    "sleeps past a timer"
                );
                while let Some(fired) = wheel.expire(now) {
                    let due = naive.remove(&fired);
                    prop_assert!(due.is_some_and(|due| due <= now.0), "{fired} fired early or twice");
                }
                prop_assert!(
                    naive.values().all(|&due| due + BUCKET_NS > now.0),
                    "a timer is late: {naive:?} at {now:?}"
                );
            }
        }
    }
}
