//! What a worker counts of each trunk, and of each domain, which has a trunk's place: a small
//! table of its own, with a place for every trunk from the start.
//!
//! Every worker counts the calls that it owns; the sum over the workers is the trunk's.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::ids::TrunkIndex;

/// Everything that is counted of a trunk. The order is that of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // The help text of each stands in TABLE.
pub enum TrunkCounter {
    RequestsIn,
    RequestsOut,
    Failovers,
    Rejected,
    CallsIn,
    CallsInAnswered,
    CallsOut,
    CallsOutAnswered,
    CallsNow,
    AuthGranted,
    AuthFailures,
    Registered,
    RegistrationsRefused,
    ContactsNow,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Which count this row describes.
    pub counter: TrunkCounter,
    /// Its name in every output.
    pub name: &'static str,
    /// True for a level at this moment.
    pub is_gauge: bool,
    /// True for what is counted of domains alone.
    pub is_of_domain: bool,
    /// What a person should know about it, in one sentence.
    pub help: &'static str,
}

const fn row(counter: TrunkCounter, name: &'static str, help: &'static str) -> Info {
    Info {
        counter,
        name,
        is_gauge: matches!(counter, TrunkCounter::CallsNow | TrunkCounter::ContactsNow),
        is_of_domain: counter as u8 > TrunkCounter::CallsNow as u8,
        help,
    }
}

/// The one table.
#[rustfmt::skip]
pub const TABLE: [Info; 14] = [
    row(TrunkCounter::RequestsIn, "requests_in", "Requests taken up from the trunk; repeated ones, ACK and CANCEL are not counted."),
    row(TrunkCounter::RequestsOut, "requests_out", "Requests forwarded to the trunk; repeated ones, ACK and CANCEL are not counted."),
    row(TrunkCounter::Failovers, "failovers", "Requests that a target of the trunk did not take, so that the next target was tried."),
    row(TrunkCounter::Rejected, "rejected", "Requests of the trunk that the box itself answered with a failure."),
    row(TrunkCounter::CallsIn, "calls_in", "Calls that began at the trunk."),
    row(TrunkCounter::CallsInAnswered, "calls_in_answered", "Of these, calls that were answered."),
    row(TrunkCounter::CallsOut, "calls_out", "Calls that were sent to the trunk."),
    row(TrunkCounter::CallsOutAnswered, "calls_out_answered", "Of these, calls that the trunk answered."),
    row(TrunkCounter::CallsNow, "calls_now", "Calls alive in which the trunk is a party."),
    row(TrunkCounter::AuthGranted, "auth_granted", "Requests whose sender has proved to be the user of the domain that it says it is."),
    row(TrunkCounter::AuthFailures, "auth_failures", "Requests with a good nonce and a wrong password, or of a user that the domain does not have."),
    row(TrunkCounter::Registered, "registered", "REGISTERs of the domain's users that were done here, those that only ask and those that end contacts among them."),
    row(TrunkCounter::RegistrationsRefused, "registrations_refused", "REGISTERs of authenticated users of the domain that could not be done as they asked."),
    row(TrunkCounter::ContactsNow, "contacts_now", "Contacts of the domain's users."),
];

/// How many counts a trunk has.
pub const COUNT: usize = TABLE.len();

/// The counts of one trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrunkCounts([u64; COUNT]);

impl TrunkCounts {
    /// The present count.
    #[must_use]
    pub const fn get(&self, counter: TrunkCounter) -> u64 {
        self.0[counter as usize]
    }

    /// Adds all of `other`: the counts of several workers in one.
    pub fn merge(&mut self, other: &TrunkCounts) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// A worker's own counts of every trunk. Which have changed is noted, so that publishing
/// costs what happened and not how many trunks there are.
#[derive(Debug)]
pub struct TrunkCounters {
    counts: Box<[TrunkCounts]>,
    is_changed: Box<[bool]>,
    changed: Vec<u16>,
}

impl TrunkCounters {
    /// All zero, for so many trunks.
    #[must_use]
    pub fn new(trunks: usize) -> TrunkCounters {
        TrunkCounters {
            counts: vec![TrunkCounts::default(); trunks].into_boxed_slice(),
            is_changed: vec![false; trunks].into_boxed_slice(),
            changed: Vec::with_capacity(trunks),
        }
    }

    /// Counts one.
    #[inline]
    pub fn count(&mut self, trunk: TrunkIndex, counter: TrunkCounter) {
        if let Some(counts) = self.change(trunk) {
            counts.0[counter as usize] += 1;
        }
    }

    /// Sets a level.
    pub fn set(&mut self, trunk: TrunkIndex, counter: TrunkCounter, level: u64) {
        if self.get(trunk).get(counter) != level
            && let Some(counts) = self.change(trunk)
        {
            counts.0[counter as usize] = level;
        }
    }

    fn change(&mut self, trunk: TrunkIndex) -> Option<&mut TrunkCounts> {
        let at = usize::from(trunk.0);
        if !std::mem::replace(self.is_changed.get_mut(at)?, true) {
            // Each trunk stands in it once, so it never grows.
            self.changed.push(trunk.0);
        }
        self.counts.get_mut(at)
    }

    /// A call of these two trunks (caller's and callee's, where they are known) has begun. An
    /// INVITE that goes to several targets is a call to each, though it has come in but once:
    /// that is counted where it comes in.
    pub fn call_began(&mut self, trunks: [Option<TrunkIndex>; 2]) {
        let [caller, callee] = trunks;
        if let Some(caller) = caller {
            self.count(caller, TrunkCounter::CallsNow);
        }
        if let Some(callee) = callee {
            self.count(callee, TrunkCounter::CallsOut);
            if caller != Some(callee) {
                self.count(callee, TrunkCounter::CallsNow);
            }
        }
    }

    /// A call of these two trunks was answered.
    pub fn call_answered(&mut self, trunks: [Option<TrunkIndex>; 2]) {
        let [caller, callee] = trunks;
        if let Some(caller) = caller {
            self.count(caller, TrunkCounter::CallsInAnswered);
        }
        if let Some(callee) = callee {
            self.count(callee, TrunkCounter::CallsOutAnswered);
        }
    }

    /// A call of these two trunks is forgotten.
    pub fn call_gone(&mut self, trunks: [Option<TrunkIndex>; 2]) {
        let [caller, callee] = trunks;
        let callee = callee.filter(|&callee| caller != Some(callee));
        for trunk in [caller, callee].into_iter().flatten() {
            if let Some(counts) = self.change(trunk) {
                let now = &mut counts.0[TrunkCounter::CallsNow as usize];
                debug_assert!(*now > 0, "a call ends that never began");
                *now = now.saturating_sub(1);
            }
        }
    }

    /// The counts of a trunk; all zero for one that there is not.
    #[must_use]
    pub fn get(&self, trunk: TrunkIndex) -> TrunkCounts {
        let counts = self.counts.get(usize::from(trunk.0));
        counts.copied().unwrap_or_default()
    }
}

/// The copy of a worker's counts that other threads may read.
#[derive(Debug)]
pub struct PublishedTrunks(Box<[[AtomicU64; COUNT]]>);

impl PublishedTrunks {
    /// Room for so many trunks.
    #[must_use]
    pub fn new(trunks: usize) -> PublishedTrunks {
        let zero = || [const { AtomicU64::new(0) }; COUNT];
        PublishedTrunks((0..trunks).map(|_| zero()).collect())
    }

    /// Copies those of the worker's counts here that have changed since the last time.
    pub fn publish(&self, counters: &mut TrunkCounters) {
        for trunk in counters.changed.drain(..) {
            let at = usize::from(trunk);
            counters.is_changed[at] = false;
            if let Some(cells) = self.0.get(at) {
                for (cell, count) in cells.iter().zip(counters.counts[at].0) {
                    cell.store(count, Ordering::Relaxed);
                }
            }
        }
    }

    /// Reads those of every trunk.
    pub fn read(&self) -> impl Iterator<Item = TrunkCounts> + '_ {
        self.0
            .iter()
            .map(|cells| TrunkCounts(std::array::from_fn(|at| cells[at].load(Ordering::Relaxed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.counter as usize, index, "{}", row.name);
            assert!(row.help.ends_with('.'));
        }
    }

    #[test]
    fn a_call_between_two_trunks_and_one_that_comes_back_to_its_own() {
        let (a, b) = (TrunkIndex(0), TrunkIndex(1));
        let mut counters = TrunkCounters::new(2);
        counters.call_began([Some(a), Some(b)]);
        counters.call_began([Some(a), Some(a)]);
        counters.call_began([Some(b), None]);
        for trunk in [a, a, b] {
            counters.count(trunk, TrunkCounter::CallsIn);
        }
        counters.call_answered([Some(a), Some(b)]);
        let of = |counters: &TrunkCounters, trunk| {
            let counts = counters.get(trunk);
            [
                TrunkCounter::CallsIn,
                TrunkCounter::CallsInAnswered,
                TrunkCounter::CallsOut,
                TrunkCounter::CallsOutAnswered,
                TrunkCounter::CallsNow,
            ]
            .map(|counter| counts.get(counter))
        };
        assert_eq!(of(&counters, a), [2, 1, 1, 0, 2]);
        assert_eq!(of(&counters, b), [1, 0, 1, 1, 2]);
        // Another target of the first call.
        counters.call_began([Some(a), Some(b)]);
        assert_eq!(of(&counters, a), [2, 1, 1, 0, 3]);
        assert_eq!(of(&counters, b), [1, 0, 2, 1, 3]);
        for _ in 0..2 {
            counters.call_gone([Some(a), Some(b)]);
        }
        counters.call_gone([Some(a), Some(a)]);
        counters.call_gone([Some(b), None]);
        assert_eq!(of(&counters, a), [2, 1, 1, 0, 0]);
        assert_eq!(of(&counters, b), [1, 0, 2, 1, 0]);
    }

    #[test]
    fn a_level_that_stays_is_not_published_anew() {
        let mut counters = TrunkCounters::new(2);
        let set = |counters: &mut TrunkCounters, level| {
            counters.set(TrunkIndex(1), TrunkCounter::ContactsNow, level);
            counters.changed.len()
        };
        assert_eq!(set(&mut counters, 0), 0);
        assert_eq!(set(&mut counters, 3), 1);
        let published = PublishedTrunks::new(2);
        published.publish(&mut counters);
        assert_eq!(set(&mut counters, 3), 0);
        let contacts = |counts: TrunkCounts| counts.get(TrunkCounter::ContactsNow);
        assert_eq!(published.read().map(contacts).collect::<Vec<_>>(), [0, 3]);
        // Of one that there is not nothing is said.
        counters.set(TrunkIndex(2), TrunkCounter::ContactsNow, 1);
        assert_eq!(counters.changed.len(), 0);
    }

    #[test]
    fn what_is_published_is_what_was_counted() {
        let mut counters = TrunkCounters::new(3);
        counters.count(TrunkIndex(2), TrunkCounter::Rejected);
        counters.count(TrunkIndex(3), TrunkCounter::Rejected);
        let published = PublishedTrunks::new(3);
        published.publish(&mut counters);
        let read: Vec<_> = published.read().collect();
        assert_eq!(read[2].get(TrunkCounter::Rejected), 1);
        assert_eq!(read[..2], [TrunkCounts::default(); 2]);
        let mut sum = TrunkCounts::default();
        read.iter().for_each(|counts| sum.merge(counts));
        assert_eq!(sum, read[2]);
        for _ in 0..2 {
            counters.count(TrunkIndex(2), TrunkCounter::Rejected);
        }
        published.publish(&mut counters);
        let read = published.read().nth(2);
        assert_eq!(read, Some(counters.get(TrunkIndex(2))));
    }
}
