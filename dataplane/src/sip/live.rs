//! Which sources have a live binding: where a keepalive that asks for an answer gets one.
//!
//! A phone's bindings are kept by the worker of its user, and the NIC gives its keepalives to any. So
//! a source, an address and a port, is known by the worker that its own hash chooses, which is told of
//! it at each REGISTER. A source is known until its last binding would have ended; who unregisters is known as
//! long. Should word of one be lost, or should there be no room, its keepalives have no answer until it
//! registers again, which is what a client without an answer does (RFC 5626 §4.4.2).
//!
//! ```text
//! hash ─► one of two sets of 8, in either:   mark 4 | second of its end 4
//! ```

use crate::sys::memory::table;
use crate::tick::Tick;

/// Cells of a set: a line of the cache.
const WAYS: usize = 8;

/// Cells for four sources. With two sets to choose from hardly one of 10,000 finds both full, should there be as
/// many sources as there is room for.
const CELLS_FOR_FOUR: usize = 5;

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    mark: u32,
    /// 0: nobody.
    until_s: u32,
}

/// The sources that this worker knows.
#[derive(Debug)]
pub struct Live(Box<[[Cell; WAYS]]>);

impl Live {
    /// Bytes of a source.
    pub const SOURCE_LEN: usize = CELLS_FOR_FOUR * size_of::<Cell>() / 4;

    /// Room for so many.
    #[must_use]
    pub fn new(capacity: u32) -> Live {
        let sets = (capacity as usize * CELLS_FOR_FOUR).div_ceil(4 * WAYS);
        Live(table((0..sets.max(1)).map(|_| [Cell::default(); WAYS])))
    }

    /// The source behind `key`, a keyed hash, has a binding until then.
    pub fn note(&mut self, key: u64, until: Tick, now: Tick) {
        let (now_s, until_s) = (seconds(now), seconds(until));
        let (mark, sets) = self.place(key);
        for set in sets {
            let mut cells = self.0[set].iter_mut();
            if let Some(cell) = cells.find(|cell| cell.mark == mark && cell.until_s > 0) {
                cell.until_s = cell.until_s.max(until_s);
                return;
            }
        }
        let free = |set: usize| {
            let cells = self.0[set].iter();
            cells.filter(|cell| cell.until_s <= now_s).count()
        };
        let [one, other] = sets;
        let set = if free(other) > free(one) { other } else { one };
        // Where all are taken the one that ends first gives way.
        if let Some(cell) = self.0[set].iter_mut().min_by_key(|cell| cell.until_s) {
            *cell = Cell { mark, until_s };
        }
    }

    /// Whether the source behind `key` has a binding.
    #[must_use]
    pub fn has(&self, key: u64, now: Tick) -> bool {
        let (mark, sets) = self.place(key);
        let now_s = seconds(now);
        let is = |cell: &Cell| cell.mark == mark && cell.until_s > now_s;
        sets.into_iter().any(|set| self.0[set].iter().any(is))
    }

    /// The mark of a key, and the sets that it may be in. Its high bits have chosen the worker.
    #[allow(clippy::cast_possible_truncation)] // Halves, and less than the table.
    fn place(&self, key: u64) -> (u32, [usize; 2]) {
        let (high, low) = ((key >> 32) as u32, key as u32);
        let scaled = |hash: u32| ((u64::from(hash) * self.0.len() as u64) >> 32) as usize;
        (
            high,
            [scaled(low), scaled(low ^ high.wrapping_mul(0x9e37_79b1))],
        )
    }
}

/// The second in which a moment is, from 1.
fn seconds(at: Tick) -> u32 {
    u32::try_from(at.as_ms() / 1_000 + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(n: u64) -> u64 {
        // SplitMix64.
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    }

    #[test]
    fn a_source_is_known_until_its_last_binding_ends() {
        let mut live = Live::new(16);
        assert!(!live.has(0, Tick(0)), "nobody is known at first");
        live.note(key(1), Tick::ms(60_000), Tick(0));
        live.note(key(1), Tick::ms(90_000), Tick(0));
        live.note(key(1), Tick::ms(70_000), Tick(0));
        assert!(live.has(key(1), Tick::ms(89_000)));
        assert!(!live.has(key(1), Tick::ms(91_000)));
        assert!(!live.has(key(2), Tick(0)));
    }

    #[test]
    fn as_many_as_there_is_room_for_are_known() {
        let count = 100_000;
        let mut live = Live::new(count);
        for round in 0..3 {
            let now = Tick::ms(round * 70_000);
            let until = now.plus_ms(60_000);
            let keys = (0..u64::from(count)).map(|n| key(n + (round << 32)));
            keys.clone().for_each(|key| live.note(key, until, now));
            let known = keys.filter(|&key| live.has(key, now)).count();
            assert!(known > 99_950, "{known}");
        }
    }
}
