//! The pool: every chunk's place, and the hand-overs between places.
//!
//! Real rings and fake rings share it, so that a test on fake rings exercises
//! the same bookkeeping. Counts are kept here except for the two that only the
//! rings know (how many wait in rx and completion rings): [`Pool::ledger`] is
//! told those. Debug builds also keep a state a chunk and assert each
//! hand-over, which finds a chunk that is handed over twice.

use super::CHUNK_LEN;
use super::FRAME_LEN_MAX;
use super::Frame;
use super::HEADROOM;
use super::Ledger;
use super::Umem;

/// Where a chunk is, as far as the pool can see: `Fill` includes the rx
/// rings, `Tx` the completion rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    Fill,
    Held,
    Tx,
}

/// A worker's chunks.
#[derive(Debug)]
pub struct Pool {
    umem: Umem,
    /// Indexes of the free chunks, the last freed on top: it is the warmest.
    free: Vec<u32>,
    /// Given to fill rings and not yet received.
    fill_count: u32,
    /// Out as tokens.
    held_count: u32,
    /// Given to tx rings and not yet reaped.
    tx_count: u32,
    #[cfg(debug_assertions)]
    places: Vec<Place>,
}

impl Pool {
    /// A pool with every chunk of `umem` free.
    #[must_use]
    pub fn new(umem: Umem) -> Pool {
        let chunks = umem.chunks();
        Pool {
            // The lowest chunk on top, so that the first frames are neighbours.
            free: (0..chunks).rev().collect(),
            fill_count: 0,
            held_count: 0,
            tx_count: 0,
            #[cfg(debug_assertions)]
            places: vec![Place::Free; chunks as usize],
            umem,
        }
    }

    /// The memory behind the frames.
    #[must_use]
    pub fn umem(&self) -> &Umem {
        &self.umem
    }

    /// The memory behind the frames, to change.
    pub fn umem_mut(&mut self) -> &mut Umem {
        &mut self.umem
    }

    /// A frame with `len` bytes in use, behind the headroom. Its bytes are
    /// whatever the chunk held before. None if the pool is empty or `len` is
    /// more than [`FRAME_LEN_MAX`].
    pub fn allocate(&mut self, len: usize) -> Option<Frame> {
        let len = u16::try_from(len)
            .ok()
            .filter(|&len| len <= FRAME_LEN_MAX)?;
        let chunk = self.free.pop()?;
        self.step(chunk, Place::Free, Place::Held);
        self.held_count += 1;
        Some(self.umem.token(chunk, HEADROOM, len))
    }

    /// Gives the frame's chunk back.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "taking the token is the hand-over"
    )]
    pub fn free(&mut self, frame: Frame) {
        let chunk = self.umem.chunk_of(&frame);
        self.step(chunk, Place::Held, Place::Free);
        self.held_count -= 1;
        self.free.push(chunk);
    }

    /// Takes a free chunk for a fill ring: its UMEM address. None if there is none.
    pub(crate) fn fill(&mut self) -> Option<u64> {
        let chunk = self.free.pop()?;
        self.step(chunk, Place::Free, Place::Fill);
        self.fill_count += 1;
        Some(u64::from(chunk) * u64::from(CHUNK_LEN))
    }

    /// The token for a descriptor taken from an rx ring.
    ///
    /// # Panics
    /// If the descriptor does not lie within one chunk of the UMEM: then the
    /// kernel's idea of this memory is not ours, and no byte of it can be
    /// trusted. No packet can cause it.
    pub(crate) fn received(&mut self, address: u64, len: u32) -> Frame {
        let (chunk, start) = self.split(address);
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        assert!(
            len <= CHUNK_LEN - start,
            "rx descriptor {address:#x}+{len} leaves its chunk"
        );
        self.step(chunk, Place::Fill, Place::Held);
        self.fill_count -= 1;
        self.held_count += 1;
        self.umem.token(chunk, start, len)
    }

    /// Turns the token into a descriptor for a tx ring: UMEM address and length.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "taking the token is the hand-over"
    )]
    pub(crate) fn submit(&mut self, frame: Frame) -> (u64, u32) {
        let chunk = self.umem.chunk_of(&frame);
        self.step(chunk, Place::Held, Place::Tx);
        self.held_count -= 1;
        self.tx_count += 1;
        let address = u64::from(chunk) * u64::from(CHUNK_LEN) + u64::from(frame.start);
        (address, u32::from(frame.len))
    }

    /// Frees the chunk of an address taken from a completion ring.
    ///
    /// # Panics
    /// If the address lies outside the UMEM, as [`Pool::received`].
    pub(crate) fn complete(&mut self, address: u64) {
        let (chunk, _) = self.split(address);
        self.step(chunk, Place::Tx, Place::Free);
        self.tx_count -= 1;
        self.free.push(chunk);
    }

    /// The ledger, given how many frames wait in rx and in completion rings.
    pub(crate) fn ledger(&self, rx: u32, completion: u32) -> Ledger {
        Ledger {
            total: self.umem.chunks(),
            free: u32::try_from(self.free.len()).unwrap_or(u32::MAX),
            fill: self.fill_count.saturating_sub(rx),
            rx,
            held: self.held_count,
            tx: self.tx_count.saturating_sub(completion),
            completion,
        }
    }

    /// The chunk of a kernel's address, and the offset within it.
    fn split(&self, address: u64) -> (u32, u16) {
        let chunk = u32::try_from(address / u64::from(CHUNK_LEN)).unwrap_or(u32::MAX);
        assert!(
            chunk < self.umem.chunks(),
            "descriptor {address:#x} outside the UMEM"
        );
        let start = address % u64::from(CHUNK_LEN);
        // The remainder is below CHUNK_LEN, a u16.
        (chunk, u16::try_from(start).unwrap_or(CHUNK_LEN))
    }

    /// Moves a chunk from one place to another; debug builds assert that it was there.
    fn step(&mut self, chunk: u32, from: Place, to: Place) {
        #[cfg(debug_assertions)]
        {
            let place = &mut self.places[chunk as usize];
            assert!(
                *place == from,
                "chunk {chunk} goes {from:?} -> {to:?} but is {place:?}"
            );
            *place = to;
        }
        #[cfg(not(debug_assertions))]
        let _ = (chunk, from, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory::Hugepages;
    use crate::sys::memory::Mapping;

    fn pool(chunks: u16) -> Pool {
        let len = usize::from(chunks) * usize::from(CHUNK_LEN);
        Pool::new(Umem::new(Mapping::new(len, Hugepages::Off).unwrap()))
    }

    #[test]
    fn frames_have_headroom_and_the_bytes_that_were_asked_for() {
        let mut pool = pool(2);
        let frame = pool.allocate(60).unwrap();
        assert_eq!(
            (frame.len(), frame.headroom(), frame.tailroom()),
            (60, 256, 1732)
        );
        let longest = pool.allocate(usize::from(FRAME_LEN_MAX)).unwrap();
        assert_eq!(longest.tailroom(), 0);
        assert!(pool.allocate(60).is_none(), "the pool is empty");
        pool.free(frame);
        assert!(pool.allocate(usize::from(FRAME_LEN_MAX) + 1).is_none());
        assert!(pool.allocate(usize::MAX).is_none());
        pool.free(longest);
        assert!(pool.ledger(0, 0).at_rest());
    }

    #[test]
    fn a_frame_stays_within_its_chunk_however_it_is_stretched() {
        let mut pool = pool(1);
        let mut frame = pool.allocate(100).unwrap();
        pool.umem_mut().bytes_mut(&mut frame).fill(7);
        assert!(frame.grow_front(20) && frame.len() == 120 && frame.headroom() == 236);
        assert!(!frame.grow_front(237) && !frame.grow_front(usize::MAX));
        assert!(frame.shrink_front(20));
        assert_eq!(pool.umem().bytes(&frame), [7; 100], "back where it was");
        assert!(!frame.shrink_front(101));
        assert!(frame.shrink_front(100) && frame.is_empty());
        assert!(frame.grow_front(356) && frame.headroom() == 0);
        assert!(frame.set_len(2048) && !frame.set_len(2049));
        assert_eq!(pool.umem().bytes(&frame).len(), 2048);
        pool.free(frame);
    }

    #[test]
    fn one_frame_is_read_while_another_is_written() {
        let mut pool = pool(2);
        let mut source = pool.allocate(4).unwrap();
        let mut target = pool.allocate(4).unwrap();
        pool.umem_mut()
            .bytes_mut(&mut source)
            .copy_from_slice(b"ping");
        let (from, to) = pool.umem_mut().pair(&source, &mut target);
        to.copy_from_slice(from);
        assert_eq!(pool.umem().bytes(&target), b"ping");
        pool.free(source);
        pool.free(target);
    }

    #[test]
    #[should_panic(expected = "a frame of another UMEM")]
    fn a_frame_of_another_worker_is_refused() {
        let (mut ours, theirs) = (pool(1), pool(1));
        let frame = ours.allocate(1).unwrap();
        let _ = theirs.umem().bytes(&frame);
    }

    #[test]
    #[should_panic(expected = "leaves its chunk")]
    fn a_descriptor_that_leaves_its_chunk_is_a_crash() {
        let mut pool = pool(2);
        let address = pool.fill().unwrap();
        let _ = pool.received(address + 256, 1793);
    }

    #[test]
    #[should_panic(expected = "outside the UMEM")]
    fn a_completion_outside_the_umem_is_a_crash() {
        pool(2).complete(4096);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "goes Fill -> Held but is Held")]
    fn a_chunk_that_is_handed_over_twice_is_found() {
        let mut pool = pool(2);
        let _ = pool.fill();
        let address = pool.fill().unwrap();
        let _frame = pool.received(address, 60);
        let _again = pool.received(address, 60);
    }
}
