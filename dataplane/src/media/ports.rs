//! A worker's slice of a media range: which relay ports are free.
//!
//! Ports are given in pairs, RTP on the even one and RTCP on the next
//! (RFC 3550 §11). A pair that comes back waits a quarantine before it is given
//! again, so that late packets of the old call do not meet the new one. Pairs
//! are given in the order they came back, the longest rested first.
//!
//! Invariant: ready + quarantined + in use = total. A [`PortPair`] can neither
//! be copied nor made outside, so a pair is given to one call at a time; one
//! that is never released shows as in use.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::ids::WorkerId;
use crate::tick::Tick;

/// Two consecutive relay ports that a call owns. Moving it is the hand-over.
#[derive(Debug, PartialEq, Eq)]
pub struct PortPair {
    rtp: u16,
}

impl PortPair {
    /// The even port, for RTP.
    #[must_use]
    pub fn rtp(&self) -> u16 {
        self.rtp
    }

    /// The odd port, for RTCP.
    #[must_use]
    pub fn rtcp(&self) -> u16 {
        self.rtp | 1
    }
}

/// Consecutive pairs of a media range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The first RTP port; even.
    pub first: u16,
    /// How many pairs.
    pub pair_count: u16,
}

/// The pairs of `range` that belong to one of `workers` workers. The slices of
/// all of them are disjoint and hold every pair whose two ports lie in the
/// range; their sizes differ by one at most.
#[must_use]
pub fn slice(range: &RangeInclusive<u16>, worker: WorkerId, workers: u8) -> Slice {
    let first = u32::from(*range.start()).next_multiple_of(2);
    let end = u32::from(*range.end()) + 1;
    let pair_count = end.saturating_sub(first) / 2;
    let (worker, workers) = (u32::from(worker.0), u32::from(workers));
    let bound = |worker: u32| {
        let share = pair_count.saturating_mul(worker);
        share.checked_div(workers).unwrap_or(0).min(pair_count)
    };
    let (from, to) = (bound(worker), bound(worker + 1));
    // Both fit: an RTP port is below 65,536 and there are 32,768 pairs at most.
    Slice {
        first: u16::try_from(first + 2 * from).unwrap_or(0),
        pair_count: u16::try_from(to - from).unwrap_or(0),
    }
}

/// How the pairs of a slice are spread at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// All pairs of the slice.
    pub total: usize,
    /// Free, and rested.
    pub ready: usize,
    /// Free, but not given before their quarantine ends.
    pub quarantined: usize,
    /// Given and not released: at rest, one for each leg's stream.
    pub in_use: usize,
}

/// The free pairs of a worker's slice.
#[derive(Debug)]
pub struct Ports {
    slice: Slice,
    quarantine_ms: u64,
    /// RTP port and the tick from which it may be given; ticks ascend.
    free: VecDeque<(u16, Tick)>,
}

impl Ports {
    /// Bytes that a pair costs.
    pub const PAIR_LEN: usize = size_of::<(u16, Tick)>();

    /// All pairs of `slice` free and rested. Allocates once.
    #[must_use]
    pub fn new(slice: Slice, quarantine_ms: u64) -> Ports {
        let all = (0..slice.pair_count).map(|at| (slice.first + 2 * at, Tick(0)));
        Ports {
            slice,
            quarantine_ms,
            free: all.collect(),
        }
    }

    /// The pair that has rested longest; `None` if all are in use or in
    /// quarantine.
    pub fn take(&mut self, now: Tick) -> Option<PortPair> {
        let &(rtp, ready_at) = self.free.front()?;
        if ready_at > now {
            return None;
        }
        self.free.pop_front();
        Some(PortPair { rtp })
    }

    /// Takes a pair back into quarantine. `now` never goes back.
    ///
    /// # Errors
    /// Gives back a pair that is not of this slice.
    pub fn release(&mut self, pair: PortPair, now: Tick) -> Result<(), PortPair> {
        let offset = pair.rtp.wrapping_sub(self.slice.first) / 2;
        if offset >= self.slice.pair_count {
            return Err(pair);
        }
        debug_assert!(self.free.len() < usize::from(self.slice.pair_count));
        self.free
            .push_back((pair.rtp, now.plus_ms(self.quarantine_ms)));
        Ok(())
    }

    /// Counts at `now`; for housekeeping, one binary search.
    #[must_use]
    pub fn counts(&self, now: Tick) -> PortCounts {
        let total = usize::from(self.slice.pair_count);
        let ready = self.free.partition_point(|&(_, ready_at)| ready_at <= now);
        PortCounts {
            total,
            ready,
            quarantined: self.free.len() - ready,
            in_use: total.saturating_sub(self.free.len()),
        }
    }
}

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
