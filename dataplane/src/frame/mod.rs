//! Frames: who owns which, and where their bytes are.
//!
//! A worker's packet memory (the UMEM) is cut into chunks of [`CHUNK_LEN`]
//! bytes. Each chunk is, at every moment, in exactly one place:
//!
//! ```text
//!            fill ring      rx ring       worker        tx ring     completion ring
//!   free ──────► fill ─────────► rx ─────────► held ─────────► tx ─────────► completion ─┐
//!    ▲  └───────────────────────────────────────▲ │                                      │
//!    │            allocate                        │ free                                 │
//!    └────────────────────────────────────────────┴──────────────────────────────────────┘
//! ```
//!
//! A [`Frame`] is the token for a chunk in `held`, and the only way to its
//! bytes. It is neither `Copy` nor `Clone`, so moving it is the hand-over: who
//! gives it to a ring has lost it. [`Ledger`] counts the places, and their sum
//! never changes (design rule 6).
//!
//! Messages that must outlive their packet are copied into [`KeptSlab`], so
//! that a chunk is never held for longer than a turn.

mod kept;
mod ledger;
mod pool;
mod umem;

pub use kept::Kept;
pub use kept::KeptConfig;
pub use kept::KeptSlab;
pub use kept::KeptUse;
pub use ledger::Ledger;
pub use pool::Pool;
pub use umem::Umem;

/// Bytes in a chunk. A page holds two, and an Ethernet frame of MTU 1500 with
/// two VLAN tags fits behind the headroom; larger MTUs need larger chunks.
pub const CHUNK_LEN: u16 = 2048;

/// Bytes kept free before a frame that we make, and the kernel's own
/// `XDP_PACKET_HEADROOM` before a frame that it received. A VLAN tag (4) and
/// the growth from IPv4 to IPv6 (20) fit with much to spare.
pub const HEADROOM: u16 = 256;

/// The longest frame that starts behind the headroom.
pub const FRAME_LEN_MAX: u16 = CHUNK_LEN - HEADROOM;

/// A UMEM chunk that this thread owns, and the bytes of it in use.
///
/// It must go back to the rings it came from, by `transmit` or `free`: dropping
/// it instead leaks its chunk until the process ends, which the ledger shows as
/// a frame held at rest.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is dropped is a chunk lost: transmit or free it"]
pub struct Frame {
    /// The UMEM's tag in the upper 8 bits, the chunk's index below.
    chunk: u32,
    /// Where the bytes in use begin, within the chunk.
    start: u16,
    /// How many bytes are in use. `start + len <= CHUNK_LEN` always.
    len: u16,
}

impl Frame {
    /// Bytes in use.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// True if no byte is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Unused bytes before the frame.
    #[must_use]
    pub fn headroom(&self) -> usize {
        usize::from(self.start)
    }

    /// Unused bytes behind the frame.
    #[must_use]
    pub fn tailroom(&self) -> usize {
        usize::from(CHUNK_LEN - self.start - self.len)
    }

    /// Sets the bytes in use to `len`, counted from the frame's start. The
    /// bytes gained, if any, are whatever the chunk held before.
    ///
    /// False, and no change, if the chunk ends before that.
    #[must_use]
    pub fn set_len(&mut self, len: usize) -> bool {
        match u16::try_from(len) {
            Ok(len) if len <= CHUNK_LEN - self.start => {
                self.len = len;
                true
            }
            _ => false,
        }
    }

    /// Moves the frame's start `count` bytes towards the chunk's start, so that a
    /// longer header fits before the same payload.
    ///
    /// False, and no change, if the headroom is shorter than that.
    #[must_use]
    pub fn grow_front(&mut self, count: usize) -> bool {
        match u16::try_from(count) {
            Ok(count) if count <= self.start => {
                self.start -= count;
                self.len += count;
                true
            }
            _ => false,
        }
    }

    /// Takes `count` bytes off the frame's front, into the headroom.
    ///
    /// False, and no change, if the frame is shorter than that.
    #[must_use]
    pub fn shrink_front(&mut self, count: usize) -> bool {
        match u16::try_from(count) {
            Ok(count) if count <= self.len => {
                self.start += count;
                self.len -= count;
                true
            }
            _ => false,
        }
    }
}

// The worker moves frames by the batch: eight bytes is one register.
const _: () = assert!(size_of::<Frame>() == 8);
const _: () = assert!(4096 % CHUNK_LEN == 0);
