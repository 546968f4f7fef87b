//! A fixed set of slots with generations: what our identifiers point into.

use crate::sys::memory::table;

/// A slot of a slab and which tenant of it is meant. 8 bytes, with or without an `Option`
/// around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// The slot.
    pub slot: u32,
    /// Counts the slot's tenants; an old identifier finds nothing.
    pub generation: u16,
    niche: Niche,
}

/// Has one value only: the compiler keeps `None` in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
enum Niche {
    Here,
}

impl Id {
    /// That tenant of that slot.
    #[must_use]
    pub const fn new(slot: u32, generation: u16) -> Id {
        Id {
            slot,
            generation,
            niche: Niche::Here,
        }
    }
}

const _: () = assert!(size_of::<Option<Id>>() == 8);

#[derive(Debug)]
struct Slot<T> {
    generation: u16,
    value: Option<T>,
}

/// At most `capacity` values, allocated and touched at start.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Box<[Slot<T>]>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// Bytes that a value costs: its slot, and the slot's place among the free ones.
    pub const SLOT_LEN: usize = size_of::<Slot<T>>() + size_of::<u32>();

    /// An empty slab.
    #[must_use]
    pub fn new(capacity: u32) -> Slab<T> {
        Slab {
            slots: table((0..capacity).map(|_| Slot {
                generation: 0,
                value: None,
            })),
            free: (0..capacity).rev().collect(),
        }
    }

    /// Puts `value` into a free slot; `None` where there is none.
    pub fn insert(&mut self, value: T) -> Option<Id> {
        let slot = self.free.pop()?;
        let entry = &mut self.slots[slot as usize];
        entry.value = Some(value);
        Some(Id::new(slot, entry.generation))
    }

    /// The identifier that the next value will get; `None` where there is no free slot.
    #[must_use]
    pub fn vacant(&self) -> Option<Id> {
        let &slot = self.free.last()?;
        Some(Id::new(slot, self.slots[slot as usize].generation))
    }

    /// The value of `id`, if it is still there.
    #[must_use]
    pub fn get(&self, id: Id) -> Option<&T> {
        let entry = self.slots.get(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.value.as_ref()
        } else {
            None
        }
    }

    /// The value of `id`, if it is still there.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    /// Takes the value of `id` out; the slot's next tenant gets another generation.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(value)
    }

    /// The identifier of whoever lives in `slot` now.
    #[must_use]
    pub fn tenant(&self, slot: u32) -> Option<Id> {
        let entry = self.slots.get(slot as usize)?;
        entry
            .value
            .as_ref()
            .map(|_| Id::new(slot, entry.generation))
    }

    /// Everybody who lives in it now, by slot.
    pub fn tenants(&self) -> impl Iterator<Item = (Id, &T)> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(slot, entry)| {
            let id = Id::new(slot, entry.generation);
            Some((id, entry.value.as_ref()?))
        })
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True where no slot is free.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// How many slots there are.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // Made from a u32.
    pub fn capacity(&self) -> u32 {
        self.slots.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_identifier_finds_nothing() {
        let mut slab = Slab::new(1);
        let old = slab.insert('a').unwrap();
        assert!(slab.is_full() && slab.insert('b').is_none());
        assert_eq!(slab.remove(old), Some('a'));
        let new = slab.insert('c').unwrap();
        assert_eq!(new.slot, old.slot);
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get(new), Some(&'c'));
        assert_eq!(slab.tenant(0), Some(new));
        assert_eq!(slab.tenants().collect::<Vec<_>>(), [(new, &'c')]);
    }
}
