//! Texts that outlive their message: chains of small blocks in a fixed store.
//!
//! ```text
//! Chain { first, len } ─► [ next | 124 bytes ] ─► [ next | 124 bytes ] ─► ...
//! ```
//!
//! All blocks are allocated and touched at start. A text that finds no room is refused whole,
//! and whoever wanted it kept goes on without. [`Chain`] is the token for a text, neither
//! `Copy` nor `Clone`: taken by [`TextStore::put`], given back by [`TextStore::release`].

use std::num::NonZeroU32;

use crate::sys::memory::table;

/// Bytes of text in a block. With 128 bytes for a block half of one is lost a text; smaller
/// ones lose less to the end and more to the links.
pub const BLOCK_TEXT_LEN: usize = 124;

/// A piece of a text.
#[derive(Clone, Debug)]
struct Block {
    /// The block after this one, of a text or of the free ones; one more than its place.
    next: Option<NonZeroU32>,
    text: [u8; BLOCK_TEXT_LEN],
}

/// A kept text: the claim on its blocks.
#[derive(Debug)]
#[must_use = "a chain that is dropped is blocks lost: release it"]
pub struct Chain {
    first: NonZeroU32,
    len: u16,
}

impl Chain {
    /// How many blocks it has.
    #[must_use]
    pub const fn block_count(&self) -> usize {
        (self.len as usize).div_ceil(BLOCK_TEXT_LEN)
    }
}

/// The store.
#[derive(Debug)]
pub struct TextStore {
    blocks: Box<[Block]>,
    free: Option<NonZeroU32>,
    used_count: u32,
}

impl TextStore {
    /// Allocates and touches so many blocks.
    #[must_use]
    pub fn new(block_count: u32) -> TextStore {
        let blocks = (0..block_count).map(|at| Block {
            next: NonZeroU32::new(at),
            text: [0; BLOCK_TEXT_LEN],
        });
        TextStore {
            blocks: table(blocks),
            free: NonZeroU32::new(block_count),
            used_count: 0,
        }
    }

    /// Keeps the text that `parts` are in a row. `None` where there are too few blocks, and for
    /// the empty text.
    #[must_use]
    pub fn put(&mut self, parts: &[&[u8]]) -> Option<Chain> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let block_count = len.div_ceil(BLOCK_TEXT_LEN);
        if block_count > self.blocks.len() - self.used_count as usize {
            return None;
        }
        let chain = Chain {
            first: self.free?,
            len: u16::try_from(len).ok().filter(|&len| len > 0)?,
        };
        let mut at = place(chain.first);
        let mut filled = 0;
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                if filled == BLOCK_TEXT_LEN {
                    at = place(self.blocks[at].next?);
                    filled = 0;
                }
                let taken = rest.len().min(BLOCK_TEXT_LEN - filled);
                let (now, later) = rest.split_at(taken);
                self.blocks[at].text[filled..filled + taken].copy_from_slice(now);
                filled += taken;
                rest = later;
            }
        }
        self.free = self.blocks[at].next.take();
        self.used_count += u32::try_from(block_count).unwrap_or(u32::MAX);
        Some(chain)
    }

    /// Copies a text to the front of `out`, as much as there is room.
    pub fn read<'o>(&self, chain: &Chain, out: &'o mut [u8]) -> &'o [u8] {
        let len = usize::from(chain.len).min(out.len());
        let mut next = Some(chain.first);
        for piece in out[..len].chunks_mut(BLOCK_TEXT_LEN) {
            let Some(block) = next.and_then(|next| self.blocks.get(place(next))) else {
                break;
            };
            piece.copy_from_slice(&block.text[..piece.len()]);
            next = block.next;
        }
        &out[..len]
    }

    /// Gives a text's blocks back.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "taking the token is the hand-over"
    )]
    pub fn release(&mut self, chain: Chain) {
        let mut last = place(chain.first);
        self.used_count -= 1;
        while let Some(next) = self.blocks[last].next {
            last = place(next);
            self.used_count -= 1;
        }
        self.blocks[last].next = self.free;
        self.free = Some(chain.first);
    }

    /// Bytes that a block takes.
    pub const BLOCK_LEN: usize = size_of::<Block>();

    /// Blocks that texts take now.
    #[must_use]
    pub const fn used_count(&self) -> u32 {
        self.used_count
    }

    /// Blocks in all.
    #[must_use]
    pub const fn block_count(&self) -> usize {
        self.blocks.len()
    }
}

const fn place(link: NonZeroU32) -> usize {
    link.get() as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_without_room_is_refused_whole() {
        let mut store = TextStore::new(3);
        let long = [7; 2 * BLOCK_TEXT_LEN];
        let kept = store.put(&[&long]).unwrap();
        assert!(store.put(&[&long]).is_none());
        assert_eq!(store.used_count(), 2);
        let short = store.put(&[b"short"]).unwrap();
        assert!(store.put(&[b"x"]).is_none());
        store.release(kept);
        store.release(short);
        assert!(store.put(&[&[1; 3 * BLOCK_TEXT_LEN]]).is_some());
    }

    proptest! {
        /// Whatever is put and released, every text kept reads as it was put, and the blocks
        /// in use are those of the texts kept.
        #[test]
        fn texts_are_intact_and_counted(
            steps in prop::collection::vec((any::<bool>(), 0_usize..600, any::<u8>()), 1..60)
        ) {
            let mut store = TextStore::new(20);
            let mut model: Vec<(Chain, Vec<u8>)> = Vec::new();
            for (put, len, byte) in steps {
                if put {
                    let text: Vec<u8> = (0..len).map(|at| byte ^ at as u8).collect();
                    let (front, back) = text.split_at(len / 3);
                    if let Some(chain) = store.put(&[front, back]) {
                        model.push((chain, text));
                    }
                } else if !model.is_empty() {
                    let (chain, _) = model.swap_remove(usize::from(byte) % model.len());
                    store.release(chain);
                }
                let mut room = [0; 1000];
                for (chain, text) in &model {
                    prop_assert_eq!(store.read(chain, &mut room), text.as_slice());
                }
                let blocks: usize = model.iter().map(|(_, text)| text.len().div_ceil(124)).sum();
                prop_assert_eq!(store.used_count() as usize, blocks);
            }
        }
    }
}
