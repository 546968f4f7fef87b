//! The slab of kept messages: copies that outlive their packet, for
//! retransmission and for parked requests.
//!
//! It owns three classes of slots, of 1, 4 and 64 KiB, all allocated and
//! touched at the start. A message takes a slot of the smallest class it fits
//! in; when that class is full, of the next larger one, **and of no other**: a
//! flood of small messages can eat into the 4 KiB slots but never into the
//! 64 KiB ones. So memory is bounded, and a refusal means that two classes
//! are full.
//!
//! [`Kept`] is the token for a slot, neither `Copy` nor `Clone`: the slot is
//! taken by [`KeptSlab::put`] and given back by [`KeptSlab::release`].

/// The classes, smallest first. A message that fills an MTU of 1500 is the
/// usual one with SDP; UDP carries no more than the largest.
const SLOT_LENS: [usize; 3] = [1 << 10, 4 << 10, 64 << 10];

/// A class of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptClass {
    /// 1 KiB.
    Small,
    /// 4 KiB.
    Medium,
    /// 64 KiB.
    Large,
}

impl KeptClass {
    /// All of them, smallest first.
    pub const ALL: [KeptClass; 3] = [KeptClass::Small, KeptClass::Medium, KeptClass::Large];

    /// Bytes in a slot of this class.
    #[must_use]
    pub fn slot_len(self) -> usize {
        SLOT_LENS[self as usize]
    }
}

/// How many slots each class has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptConfig {
    /// Slots of 1 KiB.
    pub small_count: u32,
    /// Slots of 4 KiB.
    pub medium_count: u32,
    /// Slots of 64 KiB.
    pub large_count: u32,
}

/// How full a class is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptUse {
    /// Slots in all.
    pub slot_count: u32,
    /// Slots taken now.
    pub used_count: u32,
    /// Slots taken now by messages that would have fitted the class below.
    pub borrowed_count: u32,
}

/// A kept message: the claim on its slot.
#[derive(Debug)]
#[must_use = "a kept message that is dropped is a slot lost: release it"]
pub struct Kept {
    slot: u32,
    len: u32,
    class: KeptClass,
    borrowed: bool,
}

impl Kept {
    /// Bytes in the message.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True for the empty message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The class whose slot it takes.
    #[must_use]
    pub fn class(&self) -> KeptClass {
        self.class
    }
}

/// The slots of one class.
#[derive(Debug)]
struct Shelf {
    memory: Vec<u8>,
    free: Vec<u32>,
    occupancy: KeptUse,
}

impl Shelf {
    fn new(slot_len: usize, slot_count: u32) -> Shelf {
        let mut memory = vec![0; slot_len * slot_count as usize];
        // The allocator hands out zero pages that are not there yet. A write of
        // something else than zero makes them so, and is not optimised away.
        memory
            .chunks_mut(4096)
            .for_each(|page: &mut [u8]| page[0] = 1);
        Shelf {
            memory,
            free: (0..slot_count).rev().collect(),
            occupancy: KeptUse {
                slot_count,
                ..KeptUse::default()
            },
        }
    }
}

/// A worker's kept messages.
#[derive(Debug)]
pub struct KeptSlab {
    shelves: [Shelf; 3],
}

impl KeptSlab {
    /// Allocates and touches every slot.
    #[must_use]
    pub fn new(config: KeptConfig) -> KeptSlab {
        let KeptConfig {
            small_count,
            medium_count,
            large_count,
        } = config;
        let [small, medium, large] = SLOT_LENS;
        KeptSlab {
            shelves: [
                Shelf::new(small, small_count),
                Shelf::new(medium, medium_count),
                Shelf::new(large, large_count),
            ],
        }
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes_of(config: KeptConfig) -> usize {
        let counts = [config.small_count, config.medium_count, config.large_count];
        let lens = SLOT_LENS.iter().zip(counts);
        lens.map(|(len, count)| (len + size_of::<u32>()) * count as usize)
            .sum()
    }

    /// Copies `message` into a slot. None if it is longer than 64 KiB, or if
    /// its class and the next larger one are full.
    #[must_use]
    pub fn put(&mut self, message: &[u8]) -> Option<Kept> {
        let fitting = SLOT_LENS
            .iter()
            .position(|&slot_len| message.len() <= slot_len)?;
        let len = u32::try_from(message.len()).ok()?;
        for class in KeptClass::ALL.into_iter().skip(fitting).take(2) {
            let shelf = &mut self.shelves[class as usize];
            let Some(slot) = shelf.free.pop() else {
                continue;
            };
            let borrowed = class as usize != fitting;
            shelf.occupancy.used_count += 1;
            shelf.occupancy.borrowed_count += u32::from(borrowed);
            let start = slot as usize * class.slot_len();
            shelf.memory[start..start + message.len()].copy_from_slice(message);
            return Some(Kept {
                slot,
                len,
                class,
                borrowed,
            });
        }
        None
    }

    /// The message.
    #[must_use]
    pub fn bytes(&self, kept: &Kept) -> &[u8] {
        let start = kept.slot as usize * kept.class.slot_len();
        &self.shelves[kept.class as usize].memory[start..start + kept.len()]
    }

    /// Gives the slot back.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "taking the token is the hand-over"
    )]
    pub fn release(&mut self, kept: Kept) {
        let shelf = &mut self.shelves[kept.class as usize];
        shelf.occupancy.used_count -= 1;
        shelf.occupancy.borrowed_count -= u32::from(kept.borrowed);
        shelf.free.push(kept.slot);
    }

    /// How full a class is.
    #[must_use]
    pub fn occupancy(&self, class: KeptClass) -> KeptUse {
        self.shelves[class as usize].occupancy
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TINY: KeptConfig = KeptConfig {
        small_count: 2,
        medium_count: 1,
        large_count: 1,
    };

    #[test]
    fn a_full_class_borrows_from_the_next_and_from_no_other() {
        let mut slab = KeptSlab::new(TINY);
        let kept: Vec<Kept> = (0..3).filter_map(|_| slab.put(b"OPTIONS")).collect();
        let classes: Vec<KeptClass> = kept.iter().map(Kept::class).collect();
        assert_eq!(
            classes,
            [KeptClass::Small, KeptClass::Small, KeptClass::Medium]
        );
        assert!(
            slab.put(b"OPTIONS").is_none(),
            "the 64 KiB slot is not for small messages"
        );
        assert_eq!(slab.occupancy(KeptClass::Medium).borrowed_count, 1);
        assert!(
            slab.put(&[0; 2000])
                .is_some_and(|kept| kept.class() == KeptClass::Large)
        );
    }

    #[test]
    fn the_longest_message_fits_and_a_longer_one_does_not() {
        let mut slab = KeptSlab::new(TINY);
        assert!(slab.put(&[1; 65537]).is_none());
        let kept = slab.put(&[1; 65536]).unwrap();
        assert_eq!(slab.bytes(&kept).len(), 65536);
        let empty = slab.put(&[]).unwrap();
        assert!(slab.bytes(&empty).is_empty() && empty.is_empty());
    }

    proptest! {
        /// Whatever is put and released, every message kept reads as it was put,
        /// the counts are those of the messages kept, and an empty slab takes as
        /// much as a new one.
        #[test]
        fn kept_messages_are_intact_and_counted(
            steps in proptest::collection::vec((any::<bool>(), 0_usize..9000, any::<u8>()), 1..60)
        ) {
            let config = KeptConfig { small_count: 4, medium_count: 3, large_count: 2 };
            let mut slab = KeptSlab::new(config);
            let mut model: Vec<(Kept, Vec<u8>)> = Vec::new();
            for (put, len, byte) in steps {
                if put {
                    let message = vec![byte; len];
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
                for class in KeptClass::ALL {
                    let used = model.iter().filter(|(kept, _)| kept.class() == class).count();
                    let occupancy = slab.occupancy(class);
                    prop_assert_eq!(occupancy.used_count as usize, used);
                    prop_assert!(occupancy.borrowed_count <= occupancy.used_count);
                }
            }
            for (kept, _) in model.drain(..) {
                slab.release(kept);
            }
            let small: Vec<Kept> = (0..9).filter_map(|_| slab.put(b"x")).collect();
            prop_assert_eq!(small.len(), 7);
        }
    }
}
