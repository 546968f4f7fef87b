//! What the store said of subscribers: their HA1s, or that there is no such subscriber.
//!
//! Both are believed for a time of their own. An entry that is in use is asked for again before its
//! time is over, so that no call waits for a subscriber who was known a moment ago; one that was not
//! used since is left to end. There are so many entries and no more.
//!
//! ```text
//!   the store said it ─► porch, an eighth ─ a right password ─► house, the rest
//! ```
//!
//! Whoever guesses names or passwords gets no further than the porch, and pushes out nobody but others there. In
//! the house a new one takes the place of one that has proved who it is longer ago than others.

use super::ha1::Ha1s;
use super::ha1::Primed;
use crate::sip::index::Index;
use crate::sip::slab::Id;
use crate::tick::Tick;

/// How long what the store said is believed, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// HA1s.
    pub known_ms: u64,
    /// That there is no such subscriber.
    pub unknown_ms: u64,
}

/// What is known of a subscriber: as the store says it, or [`Primed`].
#[derive(Clone, Copy, Debug)]
pub enum Known<H = Ha1s> {
    /// These HA1s.
    Subscriber(H),
    /// There is none of that name.
    Nobody,
}

impl Known {
    /// As a worker keeps it.
    #[must_use]
    pub fn primed(self) -> Known<Primed> {
        match self {
            Known::Subscriber(ha1s) => Known::Subscriber(ha1s.into()),
            Known::Nobody => Known::Nobody,
        }
    }
}

/// What a look-up found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// What the store said.
    pub known: Known<Primed>,
    /// It will not be believed much longer: ask again, and go on with it meanwhile. Said once.
    pub ask_again: bool,
}

/// What is known, for who only looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// What the store said.
    pub known: Known<Primed>,
    /// When.
    pub kept: Tick,
    /// Until when that is believed.
    pub expires: Tick,
    /// When its subscriber last had the right password here.
    pub proved: Option<Tick>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u64,
    known: Known<Primed>,
    kept: Tick,
    expires: Tick,
    /// From here on it is asked for again when it is used.
    ask_from: Tick,
    /// That has been done.
    is_asked: bool,
    /// When its subscriber last had the right password.
    proved: Tick,
}

/// How many entries are looked at for one to give way.
const LOOKED_AT: usize = 8;

/// Of so many entries one is in the porch.
const PORCH_PART: u32 = 8;

/// A fixed room for entries.
#[derive(Debug)]
struct Area {
    entries: Box<[Option<Entry>]>,
    free: Vec<u32>,
    /// From where one is looked for that gives way.
    hand: usize,
}

impl Area {
    fn new(capacity: u32) -> Area {
        Area {
            entries: vec![None; capacity as usize].into_boxed_slice(),
            free: (0..capacity).rev().collect(),
            hand: 0,
        }
    }

    fn take(&mut self, slot: u32) -> Option<Entry> {
        let taken = self.entries.get_mut(slot as usize)?.take();
        self.free.extend(taken.map(|_| slot));
        taken
    }

    /// The entry that gives way for a new one: none where a place is free, else of a few one that is
    /// over, or that was proved or kept before the others.
    fn gives_way(&mut self, now: Tick) -> Option<u32> {
        let len = self.entries.len();
        if !self.free.is_empty() || len == 0 {
            return None;
        }
        let (entries, hand) = (&self.entries, self.hand);
        let looked_at = (0..LOOKED_AT).map(|step| (hand + step) % len);
        let age = |&at: &usize| match &entries[at] {
            Some(entry) if entry.expires > now => (entry.proved, entry.kept),
            _ => (Tick(0), Tick(0)),
        };
        let oldest = looked_at.min_by_key(age)?;
        self.hand = (hand + LOOKED_AT) % len;
        u32::try_from(oldest).ok()
    }

    fn put(&mut self, entry: Entry) -> Option<u32> {
        let slot = self.free.pop()?;
        self.entries[slot as usize] = Some(entry);
        Some(slot)
    }
}

/// The cache of a worker.
#[derive(Debug)]
pub struct Cache {
    /// The porch and the house. An [`Id`] has the place in one of them, and as generation which.
    areas: [Area; 2],
    index: Index,
    lifetimes: Lifetimes,
    /// What was kept before may not be true any more.
    doubted: Tick,
}

const PORCH: u16 = 0;
const HOUSE: u16 = 1;

impl Cache {
    /// Bytes of an entry.
    pub const ENTRY_LEN: usize = size_of::<Option<Entry>>() + size_of::<u32>() + Index::KEY_LEN;

    /// Room for so many subscribers.
    #[must_use]
    pub fn new(capacity: u32, lifetimes: Lifetimes) -> Cache {
        let capacity = capacity.max(2);
        let porch = (capacity / PORCH_PART).max(1);
        Cache {
            areas: [Area::new(porch), Area::new(capacity - porch)],
            index: Index::new(capacity),
            lifetimes,
            doubted: Tick(0),
        }
    }

    fn entry(&mut self, id: Id) -> Option<&mut Entry> {
        let area = self.areas.get_mut(usize::from(id.generation))?;
        area.entries.get_mut(id.slot as usize)?.as_mut()
    }

    /// What is known of the subscriber behind `key`, with no effect on it.
    #[must_use]
    pub fn look(&self, key: u64, now: Tick) -> Option<Look> {
        let id = self.index.get(key)?;
        let area = self.areas.get(usize::from(id.generation))?;
        let entry = area.entries.get(id.slot as usize)?.as_ref()?;
        let doubted_until = self.doubted.plus_ms(self.lifetimes.unknown_ms);
        let expires = match entry.kept < self.doubted {
            true => entry.expires.min(doubted_until),
            false => entry.expires,
        };
        (expires > now).then_some(Look {
            known: entry.known,
            kept: entry.kept,
            expires,
            proved: (entry.proved > Tick(0)).then_some(entry.proved),
        })
    }

    /// What is known of the subscriber behind `key`, a keyed hash of user and domain.
    pub fn find(&mut self, key: u64, now: Tick) -> Option<Found> {
        let (doubted, unknown_ms) = (self.doubted, self.lifetimes.unknown_ms);
        let id = self.index.get(key)?;
        let entry = self.entry(id)?;
        let is_doubted = entry.kept < doubted;
        let is_over = is_doubted && doubted.plus_ms(unknown_ms) <= now;
        if entry.expires <= now || is_over {
            return None;
        }
        let ask_again = !entry.is_asked && (is_doubted || entry.ask_from <= now);
        entry.is_asked |= ask_again;
        Some(Found {
            known: entry.known,
            ask_again,
        })
    }

    /// Takes note of what the store said.
    pub fn keep(&mut self, key: u64, known: Known<Primed>, now: Tick) {
        let lifetime_ms = match known {
            Known::Subscriber(_) => self.lifetimes.known_ms,
            Known::Nobody => self.lifetimes.unknown_ms,
        };
        let entry = Entry {
            key,
            known,
            kept: now,
            expires: now.plus_ms(lifetime_ms),
            ask_from: match known {
                Known::Subscriber(_) => now.plus_ms(lifetime_ms / 4 * 3),
                // It costs one look-up a lifetime, and nobody who is nobody is in a hurry.
                Known::Nobody => Tick::NEVER,
            },
            is_asked: false,
            proved: Tick(0),
        };
        match self.index.get(key) {
            Some(id) => {
                if let Some(there) = self.entry(id) {
                    let proved = there.proved;
                    *there = Entry { proved, ..entry };
                }
            }
            None => self.put(PORCH, entry, now),
        }
    }

    /// The subscriber behind `key` has had the right password.
    pub fn prove(&mut self, key: u64, now: Tick) {
        let Some(id) = self.index.get(key) else {
            return;
        };
        if let Some(entry) = self.entry(id) {
            entry.proved = now;
        }
        if id.generation == PORCH
            && let Some(entry) = self.areas[usize::from(PORCH)].take(id.slot)
        {
            self.index.remove(key, id);
            self.put(HOUSE, entry, now);
        }
    }

    /// Puts an entry where there was none of its key.
    fn put(&mut self, area: u16, entry: Entry, now: Tick) {
        let room = &mut self.areas[usize::from(area)];
        if let Some(slot) = room.gives_way(now)
            && let Some(gone) = room.take(slot)
        {
            self.index.remove(gone.key, Id::new(slot, area));
        }
        if let Some(slot) = room.put(entry) {
            self.index.insert(entry.key, Id::new(slot, area));
        }
    }

    /// Forgets a subscriber: the store has changed.
    pub fn forget(&mut self, key: u64) {
        if let Some(id) = self.index.get(key) {
            self.areas[usize::from(id.generation)].take(id.slot);
            self.index.remove(key, id);
        }
    }

    /// What is known of any subscriber may not be true any more: each is asked for again when it is
    /// used, and believed meanwhile, or nobody would be known for a while and the store be asked for
    /// all of them at once. What nobody has confirmed is believed no longer than that somebody is
    /// unknown.
    pub fn doubt(&mut self, now: Tick) {
        self.doubted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::digest::Algorithm;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const LIFETIMES: Lifetimes = Lifetimes {
        known_ms: 4_000,
        unknown_ms: 1_000,
    };

    fn subscriber(byte: u8) -> Known<Primed> {
        let mut ha1s = Ha1s::default();
        ha1s.set(Algorithm::Md5, &[byte; 16]);
        Known::Subscriber(ha1s).primed()
    }

    fn md5_of(found: Option<Found>) -> Option<u8> {
        match found?.known {
            Known::Subscriber(ha1s) => Some(ha1s.md5()?[0]),
            Known::Nobody => None,
        }
    }

    #[test]
    fn each_kind_is_believed_for_its_own_time_and_asked_for_again_once_if_used() {
        let mut cache = Cache::new(16, LIFETIMES);
        cache.keep(1 << 60, subscriber(7), Tick::ms(0));
        cache.keep(2 << 60, Known::Nobody, Tick::ms(0));
        let mut ask = |ms| {
            cache
                .find(1 << 60, Tick::ms(ms))
                .map(|found| found.ask_again)
        };
        assert_eq!(ask(2_999), Some(false));
        assert_eq!(ask(3_000), Some(true));
        assert_eq!(ask(3_001), Some(false));
        assert_eq!(ask(4_000), None);
        let nobody = |cache: &mut Cache, ms| cache.find(2 << 60, Tick::ms(ms)).is_some();
        assert!(nobody(&mut cache, 999) && !nobody(&mut cache, 1_000));
        cache.keep(1 << 60, subscriber(8), Tick::ms(5_000));
        assert_eq!(md5_of(cache.find(1 << 60, Tick::ms(5_000))), Some(8));
        cache.forget(1 << 60);
        assert!(cache.find(1 << 60, Tick::ms(5_000)).is_none());
    }

    #[test]
    fn what_is_doubted_is_asked_for_again_and_not_believed_for_long() {
        let mut cache = Cache::new(16, LIFETIMES);
        for key in [1, 2] {
            cache.keep(key << 60, subscriber(7), Tick::ms(0));
        }
        cache.doubt(Tick::ms(100));
        let mut ask = |key: u64, ms| {
            cache
                .find(key << 60, Tick::ms(ms))
                .map(|found| found.ask_again)
        };
        assert_eq!(ask(1, 100), Some(true));
        assert_eq!(ask(1, 101), Some(false));
        assert_eq!(ask(2, 1_099), Some(true));
        assert_eq!(ask(2, 1_100), None);
        cache.keep(1 << 60, subscriber(8), Tick::ms(1_100));
        assert_eq!(md5_of(cache.find(1 << 60, Tick::ms(1_200))), Some(8));
    }

    #[test]
    fn a_look_says_until_when_it_is_believed_and_asks_for_nothing() {
        let mut cache = Cache::new(16, LIFETIMES);
        cache.keep(1 << 60, subscriber(7), Tick::ms(1));
        let look = cache.look(1 << 60, Tick::ms(3_500)).unwrap();
        assert_eq!((look.kept, look.expires), (Tick::ms(1), Tick::ms(4_001)));
        assert_eq!(look.proved, None);
        let found = cache.find(1 << 60, Tick::ms(3_500)).unwrap();
        assert!(found.ask_again, "the look has not asked");
        cache.prove(1 << 60, Tick::ms(3_600));
        let look = cache.look(1 << 60, Tick::ms(3_600)).unwrap();
        assert_eq!(look.proved, Some(Tick::ms(3_600)));
        cache.doubt(Tick::ms(100));
        assert!(cache.look(1 << 60, Tick::ms(1_099)).is_some());
        assert!(
            cache.look(1 << 60, Tick::ms(1_100)).is_none(),
            "as for who asks"
        );
        assert!(cache.find(1 << 60, Tick::ms(1_100)).is_none());
        assert!(cache.look(2 << 60, Tick::ms(0)).is_none());
    }

    const fn key_of(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
    }

    #[test]
    fn whoever_guesses_pushes_out_no_subscriber() {
        let mut cache = Cache::new(64, LIFETIMES);
        for n in 0..56 {
            cache.keep(key_of(n), subscriber(1), Tick::ms(0));
            cache.prove(key_of(n), Tick::ms(0));
        }
        for n in 1_000..9_000 {
            let known = if n % 2 == 0 {
                subscriber(2)
            } else {
                Known::Nobody
            };
            cache.keep(key_of(n), known, Tick::ms(1));
            assert!(cache.find(key_of(n), Tick::ms(1)).is_some(), "it is told");
        }
        for n in 0..56 {
            assert!(cache.find(key_of(n), Tick::ms(2)).is_some(), "{n}");
        }
    }

    #[test]
    fn who_is_in_use_stays_while_there_is_a_place_and_then_the_longest_unused_goes() {
        let mut cache = Cache::new(64, LIFETIMES);
        let enter = |cache: &mut Cache, n, ms| {
            cache.keep(key_of(n), subscriber(1), Tick::ms(ms));
            cache.prove(key_of(n), Tick::ms(ms));
        };
        for n in 0..56 {
            enter(&mut cache, n, 0);
            assert!((0..=n).all(|n| cache.find(key_of(n), Tick::ms(0)).is_some()));
        }
        // All have proved themselves again but eight, in different places.
        let stale = |n: u64| n % 8 == 3;
        for n in (0..56).filter(|&n| !stale(n)) {
            cache.prove(key_of(n), Tick::ms(10));
        }
        for n in 100..107 {
            enter(&mut cache, n, 20);
        }
        for n in 0..56 {
            assert_eq!(
                cache.find(key_of(n), Tick::ms(20)).is_none(),
                stale(n),
                "{n}"
            );
        }
        assert!((100..107).all(|n| cache.find(key_of(n), Tick::ms(20)).is_some()));
    }

    #[test]
    fn an_ha1_that_is_too_short_is_none() {
        let mut ha1s = Ha1s::default();
        ha1s.set(Algorithm::Sha256, &[1; 16]);
        assert!(ha1s.get(Algorithm::Sha256).is_none());
    }

    proptest! {
        #[test]
        fn what_it_finds_was_kept_last(
            steps in prop::collection::vec((0_u64..12, 0_u8..4, any::<u8>()), 0..300),
        ) {
            let mut cache = Cache::new(12, LIFETIMES);
            let mut kept = HashMap::new();
            for (key, what, byte) in steps {
                let key = key_of(key);
                match what {
                    0 => {
                        cache.keep(key, subscriber(byte), Tick::ms(0));
                        kept.insert(key, byte);
                    }
                    1 => {
                        cache.forget(key);
                        kept.remove(&key);
                    }
                    2 => cache.prove(key, Tick::ms(byte.into())),
                    _ => {
                        let found = md5_of(cache.find(key, Tick::ms(1)));
                        prop_assert!(found.is_none() || found == kept.get(&key).copied());
                    }
                }
            }
        }
    }
}
