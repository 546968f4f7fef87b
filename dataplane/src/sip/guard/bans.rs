//! Which sources are not heard, until when.
//!
//! Every worker has the same bans, since each may meet any source. Where there is no room for one more
//! the ban that ends soonest of its set gives way.

use super::sets::Sets;
use super::source::Source;
use crate::sip::siphash::SipHash;
use crate::sys::memory::table;

#[derive(Clone, Copy, Debug, Default)]
struct Ban {
    until_s: u32,
    /// Here, since it began.
    dropped: u32,
}

/// A ban, as one worker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanReport {
    /// Who is not heard.
    pub source: Source,
    /// Until when, in seconds of the box's clock.
    pub until_s: u32,
    /// The failures that led to it.
    pub failures: u16,
    /// Datagrams that this worker has dropped since it began.
    pub dropped: u32,
}

/// The bans.
#[derive(Debug)]
pub(super) struct Bans {
    table: Sets<Ban>,
    /// By place: what is needed only for the operator.
    failures: Box<[u16]>,
    /// Where the next sweep goes on.
    hand: usize,
}

/// Places that a sweep looks at.
const SWEPT: usize = 256;

impl Bans {
    /// Bytes of a ban.
    pub const BAN_LEN: usize = Sets::<Ban>::ENTRY_LEN + size_of::<u16>();

    pub fn new(capacity: u32, hash: SipHash) -> Bans {
        let sets = Sets::new(capacity, hash);
        Bans {
            failures: table((0..sets.places()).map(|_| 0)),
            table: sets,
            hand: 0,
        }
    }

    /// How many there are, those among them that have ended and were not swept out yet.
    pub const fn count(&self) -> usize {
        self.table.count()
    }

    /// Whether a source is banned.
    pub fn has(&mut self, source: Source, now_s: u32) -> bool {
        let found = self.table.find(source);
        found.is_some_and(|(_, ban)| ban.until_s > now_s)
    }

    /// Takes note of a datagram of a source that is dropped.
    pub fn note_drop(&mut self, source: Source) {
        if let Some((_, ban)) = self.table.find(source) {
            ban.dropped = ban.dropped.saturating_add(1);
        }
    }

    /// Bans a source; gives who is heard again in its place.
    pub fn add(&mut self, source: Source, until_s: u32, failures: u16) -> Option<Source> {
        let ban = Ban {
            until_s,
            dropped: 0,
        };
        let (place, displaced) = self.table.put(source, ban, |ban| ban.until_s.into());
        self.failures[place] = failures;
        displaced
    }

    /// Lifts a ban; false where there is none.
    pub fn lift(&mut self, source: Source) -> bool {
        self.table.remove(source)
    }

    /// Takes out some of those that have ended; how many.
    pub fn sweep(&mut self, now_s: u32) -> u64 {
        let mut ended = 0;
        for _ in 0..SWEPT.min(self.table.places()) {
            self.hand = (self.hand + 1) % self.table.places();
            if let Some((source, ban)) = self.table.at(self.hand)
                && ban.until_s <= now_s
            {
                ended += u64::from(self.table.remove(source));
            }
        }
        ended
    }

    /// The ban in a place.
    pub fn report(&self, place: usize) -> Option<BanReport> {
        let (source, Ban { until_s, dropped }) = self.table.at(place)?;
        Some(BanReport {
            source,
            until_s,
            failures: self.failures[place],
            dropped,
        })
    }

    pub const fn places(&self) -> usize {
        self.table.places()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u16) -> Source {
        let [high, low] = n.to_be_bytes();
        Source::of(std::net::Ipv4Addr::new(10, 0, high, low).into())
    }

    #[test]
    fn a_ban_ends_is_swept_out_and_counts_what_it_has_dropped() {
        let mut bans = Bans::new(64, SipHash::new(&[1; 16]));
        assert_eq!(bans.add(source(1), 100, 9), None);
        assert!(bans.has(source(1), 99) && !bans.has(source(1), 100) && !bans.has(source(2), 1));
        bans.note_drop(source(1));
        bans.note_drop(source(2));
        let reports: Vec<_> = (0..bans.places())
            .filter_map(|at| bans.report(at))
            .collect();
        let expected = BanReport {
            source: source(1),
            until_s: 100,
            failures: 9,
            dropped: 1,
        };
        assert_eq!(reports, [expected]);
        assert_eq!(bans.sweep(99), 0);
        assert_eq!((bans.sweep(100), bans.count()), (1, 0));
        bans.add(source(1), 200, 9);
        assert!(bans.lift(source(1)) && !bans.lift(source(1)) && !bans.has(source(1), 1));
    }

    #[test]
    fn there_are_so_many_and_those_that_end_soonest_give_way() {
        let mut bans = Bans::new(64, SipHash::new(&[1; 16]));
        let displaced = (0..500).filter_map(|n| bans.add(source(n), 1_000 + u32::from(n), 1));
        let displaced: Vec<_> = displaced.collect();
        assert_eq!((bans.count(), displaced.len()), (64, 500 - 64));
        // In each set the four that were banned last are left.
        let mut sets = vec![Vec::new(); 16];
        for place in 0..bans.places() {
            sets[place / 4].push(bans.report(place).unwrap().until_s);
        }
        let mut again = Bans::new(64, SipHash::new(&[1; 16]));
        let mut all = vec![Vec::new(); 16];
        for n in 0..500 {
            again.add(source(n), 1_000 + u32::from(n), 1);
            let placed =
                (0..64).find(|&at| again.report(at).is_some_and(|ban| ban.source == source(n)));
            all[placed.unwrap() / 4].push(1_000 + u32::from(n));
        }
        for (kept, all) in sets.iter_mut().zip(all) {
            kept.sort_unstable();
            assert_eq!(kept[..], all[all.len() - 4..]);
        }
    }
}
