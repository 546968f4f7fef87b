//! The UMEM: the memory that packets are received into and sent from.
//!
//! It owns the mapping and turns [`Frame`] tokens into slices. The invariant
//! that makes the slices sound: **a `Frame` exists only for a chunk that the
//! kernel does not own, and at most one exists for a chunk.** [`Pool`] alone
//! makes and unmakes them, at the hand-overs.
//!
//! [`Pool`]: super::Pool
#![allow(
    unsafe_code,
    reason = "chunks are shared with the kernel, so no slice may span them all"
)]

use std::slice;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use memmap2::MmapRaw;

use super::CHUNK_LEN;
use super::Frame;
use crate::sys::memory::Mapping;

/// Bits of [`Frame::chunk`] that hold the index; the UMEM's tag is above them.
const INDEX_BITS: u32 = 24;

/// The most chunks a UMEM can have: 32 GiB of them.
pub(super) const CHUNKS_MAX: u32 = 1 << INDEX_BITS;

/// The tag of the next UMEM. Tags repeat after 256 of them, far more than a
/// process has workers.
static TAG_NEXT: AtomicU32 = AtomicU32::new(0);

/// A worker's packet memory, cut into chunks of [`CHUNK_LEN`] bytes.
#[derive(Debug)]
pub struct Umem {
    memory: MmapRaw,
    chunks: u32,
    /// This UMEM's tag, in place above the index. A frame of another UMEM (two
    /// workers on one thread, as in the simulator) is refused by it.
    tag: u32,
}

impl Umem {
    /// Cuts `mapping` into chunks; a rest shorter than a chunk is left unused.
    #[must_use]
    pub fn new(mapping: Mapping) -> Umem {
        let memory = MmapRaw::from(mapping.into_memory());
        let chunks = memory.len() / usize::from(CHUNK_LEN);
        let chunks = u32::try_from(chunks).unwrap_or(u32::MAX).min(CHUNKS_MAX);
        let tag = TAG_NEXT.fetch_add(1, Ordering::Relaxed) << INDEX_BITS;
        Umem {
            memory,
            chunks,
            tag,
        }
    }

    /// How many chunks there are.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// The bytes in use of `frame`.
    ///
    /// # Panics
    /// If the frame is of another UMEM, as do all accessors here.
    #[must_use]
    pub fn bytes(&self, frame: &Frame) -> &[u8] {
        let start = self.offset(frame);
        // SAFETY: offset() has checked that the range lies in the mapping, which
        // lives as long as `self`. The token says that the kernel does not own
        // the chunk; a writer here needs `&mut self`, which this borrow forbids.
        unsafe { slice::from_raw_parts(self.memory.as_ptr().add(start), frame.len()) }
    }

    /// The bytes in use of `frame`, to change.
    #[must_use]
    pub fn bytes_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        let start = self.offset(frame);
        // SAFETY: as in bytes(), and `&mut self` forbids every other slice.
        unsafe { slice::from_raw_parts_mut(self.memory.as_mut_ptr().add(start), frame.len()) }
    }

    /// The bytes of `source` to read and of `target` to write, at once.
    #[must_use]
    pub fn pair(&mut self, source: &Frame, target: &mut Frame) -> (&[u8], &mut [u8]) {
        let from = self.offset(source);
        let to = self.offset(target);
        assert!(source.chunk != target.chunk, "two frames share a chunk");
        let memory = self.memory.as_mut_ptr();
        // SAFETY: as in bytes_mut(). The two chunks differ, and a frame never
        // leaves its chunk, so the slices are disjoint.
        unsafe {
            let source = slice::from_raw_parts(memory.add(from), source.len());
            let target = slice::from_raw_parts_mut(memory.add(to), target.len());
            (source, target)
        }
    }

    /// Where the mapping begins, and its length in whole chunks: what the
    /// kernel is told at registration.
    pub(crate) fn region(&self) -> (*mut u8, u64) {
        let len = u64::from(self.chunks) * u64::from(CHUNK_LEN);
        (self.memory.as_mut_ptr(), len)
    }

    /// What the fake rings' kernel reads at a descriptor; None outside the UMEM.
    pub(crate) fn read_as_kernel(&self, address: u64, len: u32) -> Option<&[u8]> {
        let range = self.descriptor_range(address, len)?;
        // SAFETY: the range lies in the mapping. Whoever writes the chunk needs
        // `&mut self`, and there is no real kernel behind a fake ring.
        Some(unsafe { slice::from_raw_parts(self.memory.as_ptr().add(range), len as usize) })
    }

    /// What the fake rings' kernel receives into; None outside the UMEM.
    pub(crate) fn write_as_kernel(&mut self, address: u64, len: u32) -> Option<&mut [u8]> {
        let range = self.descriptor_range(address, len)?;
        let memory = self.memory.as_mut_ptr();
        // SAFETY: as in read_as_kernel(), and `&mut self` forbids other slices.
        Some(unsafe { slice::from_raw_parts_mut(memory.add(range), len as usize) })
    }

    /// The token for `chunk`, with `len` bytes in use from `start`.
    pub(super) fn token(&self, chunk: u32, start: u16, len: u16) -> Frame {
        debug_assert!(chunk < self.chunks && start <= CHUNK_LEN && len <= CHUNK_LEN - start);
        Frame {
            chunk: self.tag | chunk,
            start,
            len,
        }
    }

    /// The chunk of `frame`.
    pub(super) fn chunk_of(&self, frame: &Frame) -> u32 {
        assert!(
            frame.chunk & !(CHUNKS_MAX - 1) == self.tag,
            "a frame of another UMEM"
        );
        frame.chunk & (CHUNKS_MAX - 1)
    }

    /// The frame's place in the mapping. `start + len <= CHUNK_LEN` is the
    /// token's own invariant; index and tag are checked here.
    fn offset(&self, frame: &Frame) -> usize {
        let chunk = self.chunk_of(frame);
        assert!(chunk < self.chunks, "a frame beyond its UMEM");
        chunk as usize * usize::from(CHUNK_LEN) + usize::from(frame.start)
    }

    fn descriptor_range(&self, address: u64, len: u32) -> Option<usize> {
        let within = address % u64::from(CHUNK_LEN) + u64::from(len) <= u64::from(CHUNK_LEN);
        let known = address / u64::from(CHUNK_LEN) < u64::from(self.chunks);
        if within && known {
            usize::try_from(address).ok()
        } else {
            None
        }
    }
}
