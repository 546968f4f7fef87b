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
