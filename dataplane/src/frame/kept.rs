//! The slab of kept messages: copies that outlive their packet, for
//! retransmission and for parked requests.
//!
//! Messages of up to 4 KiB share pages of 4 KiB. A page is cut in halves, and a half
//! again, down to 256 bytes, until a message fits its piece with less than a half of it to
//! spare; when a piece is given back and its other half is free, the two become one again.
//! So no share of small and large has to be guessed, and a page is whole again as soon as
//! nothing lies in it. Longer messages take a slot of 64 KiB, **which no shorter one can**: a
//! flood of small messages never displaces a large one. All of it is allocated and
//! touched at the start.
//!
//! ```text
//!   page  │ 256 │ 256 │    512    │         1 KiB         │             2 KiB              │
//! ```
//!
//! [`Kept`] is the token for a piece, neither `Copy` nor `Clone`: it is
//! taken by [`KeptSlab::put`] and given back by [`KeptSlab::release`].

use crate::sys::memory::bytes;
use crate::sys::memory::table;

/// The smallest piece: what an ACK needs, see `sip::build::ack_head`.
const BLOCK_LEN: usize = 256;
/// How many times a page is halved: 4 KiB to 256 bytes.
const ORDERS: usize = 5;
/// The longest message of a page. One that fills an MTU of 1500 is the usual one with SDP.
pub const PAGE_LEN: usize = BLOCK_LEN << (ORDERS - 1);
const BLOCKS_PER_PAGE: u32 = 1 << (ORDERS - 1);
/// UDP carries no more.
pub const LARGE_LEN: usize = 64 << 10;
/// No block.
const NONE: u32 = u32::MAX;

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptConfig {
    /// Pages of 4 KiB.
    pub page_count: u32,
    /// Slots of 64 KiB.
    pub large_count: u32,
}

impl KeptConfig {
    /// So many pages and slots.
    #[must_use]
    pub const fn new(page_count: u32, large_count: u32) -> KeptConfig {
        KeptConfig {
            page_count,
            large_count,
        }
    }
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptUse {
    /// Messages kept now.
    pub message_count: u32,
    /// Bytes of the pages in all.
    pub page_bytes: u64,
    /// Bytes of the pages that messages take, with what their pieces have to spare.
    pub page_bytes_used: u64,
    /// Slots of 64 KiB in all.
    pub large_count: u32,
    /// Those taken now.
    pub large_used: u32,
}

impl KeptUse {
    /// Bytes that kept messages take, with what their pieces have to spare.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.page_bytes_used + u64::from(self.large_used) * LARGE_LEN as u64
    }
}

/// A kept message: the claim on its piece.
#[derive(Debug)]
#[must_use = "a kept message that is dropped is a piece lost: release it"]
pub struct Kept {
    /// The first block, or the number of the slot.
    at: u32,
    len: u16,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Page,
    Large,
}

const _: () = assert!(size_of::<Option<Kept>>() == 8);

impl Kept {
    /// Bytes in the message.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// True for the empty message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn room(&self) -> usize {
        match self.place {
            Place::Page => BLOCK_LEN << order_of(self.len()),
            Place::Large => LARGE_LEN,
        }
    }
}

/// What is known of a block of 256 bytes: where a free piece begins, its neighbours among
/// the free pieces of its size.
#[derive(Clone, Copy, Debug)]
struct Block {
    next: u32,
    prev: u32,
    /// The order of the free piece that begins here.
    free: Option<u8>,
}

impl Block {
    /// No free piece begins here.
    const TAKEN: Block = Block {
        next: NONE,
        prev: NONE,
        free: None,
    };
}

/// A worker's kept messages.
#[derive(Debug)]
pub struct KeptSlab {
    pages: Box<[u8]>,
    blocks: Box<[Block]>,
    /// The first free piece of each order.
    free: [u32; ORDERS],
    large: Box<[u8]>,
    large_free: Vec<u32>,
    occupancy: KeptUse,
}

impl KeptSlab {
    /// Allocates and touches everything.
    #[must_use]
    pub fn new(config: KeptConfig) -> KeptSlab {
        let KeptConfig {
            page_count,
            large_count,
        } = config;
        let block_count = page_count * BLOCKS_PER_PAGE;
        let mut slab = KeptSlab {
            pages: bytes(page_count as usize * PAGE_LEN),
            blocks: table((0..block_count).map(|_| Block::TAKEN)),
            free: [NONE; ORDERS],
            large: bytes(large_count as usize * LARGE_LEN),
            large_free: (0..large_count).rev().collect(),
            occupancy: KeptUse {
                page_bytes: u64::from(page_count) * PAGE_LEN as u64,
                large_count,
                ..KeptUse::default()
            },
        };
        for page in (0..page_count).rev() {
            slab.push(page * BLOCKS_PER_PAGE, ORDERS - 1);
        }
        slab
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes_of(config: KeptConfig) -> usize {
        let block_count = (config.page_count * BLOCKS_PER_PAGE) as usize;
        block_count * (BLOCK_LEN + size_of::<Block>())
            + config.large_count as usize * (LARGE_LEN + size_of::<u32>())
    }

    /// Copies `message` into the smallest piece that holds it. None if it is longer than a UDP
    /// datagram, or if there is no such piece.
    #[must_use]
    pub fn put(&mut self, message: &[u8]) -> Option<Kept> {
        let len = u16::try_from(message.len()).ok()?;
        let kept = if message.len() <= PAGE_LEN {
            let order = order_of(message.len());
            let at = self.cut(order)?;
            self.occupancy.page_bytes_used += (BLOCK_LEN << order) as u64;
            Kept {
                at,
                len,
                place: Place::Page,
            }
        } else {
            let at = self.large_free.pop()?;
            self.occupancy.large_used += 1;
            Kept {
                at,
                len,
                place: Place::Large,
            }
        };
        self.occupancy.message_count += 1;
        let (memory, start) = match kept.place {
            Place::Page => (&mut self.pages, kept.at as usize * BLOCK_LEN),
            Place::Large => (&mut self.large, kept.at as usize * LARGE_LEN),
        };
        memory[start..start + message.len()].copy_from_slice(message);
        Some(kept)
    }

    /// The message.
    #[must_use]
    pub fn bytes(&self, kept: &Kept) -> &[u8] {
        let (memory, start) = match kept.place {
            Place::Page => (&self.pages, kept.at as usize * BLOCK_LEN),
            Place::Large => (&self.large, kept.at as usize * LARGE_LEN),
        };
        &memory[start..start + kept.len()]
    }

    /// Gives the piece back.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "taking the token is the hand-over"
    )]
    pub fn release(&mut self, kept: Kept) {
        self.occupancy.message_count -= 1;
        match kept.place {
            Place::Page => {
                self.occupancy.page_bytes_used -= kept.room() as u64;
                self.join(kept.at, order_of(kept.len()));
            }
            Place::Large => {
                self.occupancy.large_used -= 1;
                self.large_free.push(kept.at);
            }
        }
    }

    /// How full it is.
    #[must_use]
    pub fn occupancy(&self) -> KeptUse {
        self.occupancy
    }

    /// Takes a piece of that order, cut from the smallest that is free.
    fn cut(&mut self, order: usize) -> Option<u32> {
        let from = (order..ORDERS).find(|&from| self.free[from] != NONE)?;
        let at = self.free[from];
        self.unlink(at, from);
        for half in (order..from).rev() {
            self.push(at + (1 << half), half);
        }
        Some(at)
    }

    /// Gives a piece of that order back, joined with its other half as long as that is free.
    fn join(&mut self, mut at: u32, mut order: usize) {
        while order < ORDERS - 1 {
            let other = at ^ (1 << order);
            if self.blocks[other as usize].free.map(usize::from) != Some(order) {
                break;
            }
            self.unlink(other, order);
            at &= !(1 << order);
            order += 1;
        }
        self.push(at, order);
    }

    #[allow(clippy::cast_possible_truncation)] // Less than ORDERS.
    fn push(&mut self, at: u32, order: usize) {
        let next = std::mem::replace(&mut self.free[order], at);
        self.blocks[at as usize] = Block {
            next,
            prev: NONE,
            free: Some(order as u8),
        };
        if next != NONE {
            self.blocks[next as usize].prev = at;
        }
    }

    fn unlink(&mut self, at: u32, order: usize) {
        let Block { next, prev, .. } = self.blocks[at as usize];
        if prev == NONE {
            self.free[order] = next;
        } else {
            self.blocks[prev as usize].next = next;
        }
        if next != NONE {
            self.blocks[next as usize].prev = prev;
        }
        self.blocks[at as usize] = Block::TAKEN;
    }
}

/// The order of the smallest piece that holds `len` bytes of a page.
const fn order_of(len: usize) -> usize {
    let blocks = len.div_ceil(BLOCK_LEN);
    if blocks <= 1 {
        0
    } else {
        (usize::BITS - (blocks - 1).leading_zeros()) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TINY: KeptConfig = KeptConfig::new(2, 1);

    #[test]
    fn a_message_takes_the_smallest_piece_that_holds_it() {
        let mut slab = KeptSlab::new(TINY);
        for (len, room) in [
            (0, 256),
            (256, 256),
            (257, 512),
            (900, 1024),
            (1025, 2048),
            (4096, 4096),
            (4097, 65536),
            (65535, 65536),
        ] {
            let kept = slab.put(&vec![7; len]).unwrap();
            assert_eq!((kept.room(), slab.bytes(&kept).len()), (room, len));
            slab.release(kept);
        }
        assert!(slab.put(&[1; 65536]).is_none());
    }

    #[test]
    fn small_messages_fill_the_pages_and_leave_the_large_slots() {
        let mut slab = KeptSlab::new(TINY);
        let small: Vec<Kept> = std::iter::from_fn(|| slab.put(b"OPTIONS")).collect();
        assert_eq!(small.len(), 32);
        assert_eq!(slab.occupancy().page_bytes_used, 2 * 4096);
        let large = slab.put(&[0; 5000]).unwrap();
        assert!(slab.put(&[0; 5000]).is_none());
        for kept in small {
            slab.release(kept);
        }
        let pages: Vec<Kept> = std::iter::from_fn(|| slab.put(&[0; 4096])).collect();
        assert_eq!(pages.len(), 2, "pieces given back are pages again");
        slab.release(large);
    }

    proptest! {
        /// Whatever is put and released, every message kept reads as it was put, the
        /// counts are those of the messages kept, and an empty slab takes as much as a new one.
        #[test]
        fn kept_messages_are_intact_and_counted(
            steps in proptest::collection::vec((any::<bool>(), 0_usize..6000, any::<u8>()), 1..80)
        ) {
            let mut slab = KeptSlab::new(KeptConfig::new(4, 2));
            let mut model: Vec<(Kept, Vec<u8>)> = Vec::new();
            for (put, len, byte) in steps {
                if put {
                    // Small ones more often, so that pages are cut.
                    let message = vec![byte; len / (1 + usize::from(byte % 16))];
                    if let Some(kept) = slab.put(&message) {
                        model.push((kept, message));
                    }
                } else if !model.is_empty() {
                    let (kept, _) = model.swap_remove(usize::from(byte) % model.len());
                    slab.release(kept);
                }
                for (kept, message) in &model {
                    prop_assert_eq!(slab.bytes(kept), message.as_slice());
                }
                let occupancy = slab.occupancy();
                prop_assert_eq!(occupancy.message_count as usize, model.len());
                let rooms = model.iter().map(|(kept, _)| kept.room());
                let paged: usize = rooms.clone().filter(|&room| room <= PAGE_LEN).sum();
                prop_assert_eq!(occupancy.page_bytes_used, paged as u64);
                prop_assert_eq!(occupancy.large_used as usize, rooms.filter(|&room| room > PAGE_LEN).count());
            }
            for (kept, _) in model.drain(..) {
                slab.release(kept);
            }
            let pages: Vec<Kept> = std::iter::from_fn(|| slab.put(&[0; 4000])).collect();
            prop_assert_eq!(pages.len(), 4);
        }
    }
}
