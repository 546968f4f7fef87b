//! How many calls each subscriber has begun that are not over, and whether there may be one more.
//!
//! ```text
//!   INVITE ─► the worker of its Call-ID ─── seeks a place ───► the subscriber's keeper counts
//!                    │ holds it as long as ◄──── granted ──── one more, or says that there
//!                    │ INVITE or a call lasts                 are enough
//!                    └─ gives it back ───────────────────────► one less
//! ```
//!
//! A subscriber's calls are of several workers, by their Call-IDs; their number is kept by the worker that
//! its address of record hashes to, which alone says yes: of any number of INVITEs at the same moment no
//! more than allowed begin calls. A place is held by the server transaction of the INVITE until
//! that is answered, and by each call that it has begun until that ends. Whoever is the last gives it
//! back, and nobody else does. All of it begins anew with the box, as the calls do.

use std::collections::VecDeque;

use super::index::Index;
use super::slab::Id;
use super::slab::Slab;
use crate::ids::DomainIndex;
use crate::ids::WorkerId;
use crate::sys::memory::queue;

/// A place that is sought for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seek {
    /// Who is to be told.
    pub asker: WorkerId,
    /// The asker's ticket.
    pub ticket: Id,
    /// Who counts.
    pub keeper: WorkerId,
    /// The key of the subscriber's address of record.
    pub subscriber: u64,
    /// Its domain, which says how many it may have.
    pub domain: DomainIndex,
}

/// What becomes of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It is theirs.
    Yes,
    /// The subscriber has as many calls as it may have.
    No,
    /// There is no room to count.
    Full,
}

/// What workers tell each other of calls of subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceWord {
    /// May there be one more? To the keeper.
    Seek(Seek),
    /// So, in answer.
    Granted(Seek, Granted),
    /// The subscriber of this key has one less. To the keeper.
    Back(u64),
}

/// A place that a call here has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) subscriber: u64,
    pub(super) keeper: WorkerId,
    /// The server transaction of the INVITE.
    pub(super) server: Id,
    /// Calls of its branches that have not ended.
    pub(super) calls: u16,
}

/// A place to be given back to another worker: its keeper, and the subscriber's key.
pub type Back = (WorkerId, u64);

/// The places of a worker's calls, and the numbers that it keeps.
#[derive(Debug)]
pub(super) struct Places {
    places: Slab<Place>,
    back: VecDeque<Back>,
    /// By subscriber: an [`Id`] whose slot is the number.
    numbers: Index,
    numbered: u32,
    sum: u64,
}

impl Places {
    /// Bytes that a place costs, with what its keeper keeps.
    pub const PLACE_LEN: usize = Slab::<Place>::SLOT_LEN + size_of::<Back>() + Index::KEY_LEN;

    /// Room for so many.
    pub fn new(capacity: u32) -> Places {
        Places {
            places: Slab::new(capacity),
            back: queue(capacity as usize),
            numbers: Index::new(capacity),
            numbered: 0,
            sum: 0,
        }
    }

    /// Counts one more call of a subscriber that is kept here, where that may be.
    pub fn take(&mut self, subscriber: u64, max: u16) -> Granted {
        let number = match self.numbers.get(subscriber) {
            Some(id) if id.slot >= u32::from(max) => return Granted::No,
            Some(id) => id.slot + 1,
            None if self.numbered == self.places.capacity() => return Granted::Full,
            None => {
                self.numbered += 1;
                1
            }
        };
        self.numbers.insert(subscriber, Id::new(number, 0));
        self.sum += 1;
        Granted::Yes
    }

    /// Counts one less.
    pub fn give_back(&mut self, subscriber: u64) {
        let Some(id) = self.numbers.get(subscriber) else {
            debug_assert!(false, "a place that nobody had");
            return;
        };
        self.sum -= 1;
        if id.slot > 1 {
            self.numbers.insert(subscriber, Id::new(id.slot - 1, 0));
        } else {
            self.numbers.remove(subscriber, id);
            self.numbered -= 1;
        }
    }

    /// How many calls of a subscriber are counted here.
    pub fn count_of(&self, subscriber: u64) -> u32 {
        self.numbers.get(subscriber).map_or(0, |id| id.slot)
    }

    /// How many calls are counted here.
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Holds a place; `None` where there is no room, and it is to be given back.
    pub fn hold(&mut self, place: Place) -> Option<Id> {
        let room = self.places.capacity() as usize - self.places.count();
        if self.back.len() >= room {
            return None;
        }
        self.places.insert(place)
    }

    pub fn get(&self, id: Id) -> Option<&Place> {
        self.places.get(id)
    }

    pub fn get_mut(&mut self, id: Id) -> Option<&mut Place> {
        self.places.get_mut(id)
    }

    /// All that are held.
    pub fn held(&self) -> impl Iterator<Item = (Id, &Place)> {
        self.places.tenants()
    }

    /// Holds a place no longer.
    pub fn release(&mut self, id: Id) -> Option<Place> {
        self.places.remove(id)
    }

    /// Notes a place to be given back to another worker; false where there is no room.
    pub fn note_back(&mut self, back: Back) -> bool {
        let fits = self.back.len() < self.back.capacity();
        if fits {
            self.back.push_back(back);
        }
        fits
    }

    /// The next one of them.
    pub fn next_back(&mut self) -> Option<Back> {
        self.back.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn numbers_are_counted_one_by_one_and_never_beyond_what_may_be(
            steps in prop::collection::vec((1_u64..7, any::<bool>()), 0..300),
        ) {
            let mut places = Places::new(4);
            let mut naive: HashMap<u64, u16> = HashMap::new();
            for (subscriber, takes) in steps {
                let subscriber = subscriber << 60;
                let has = naive.get(&subscriber).copied().unwrap_or(0);
                if takes {
                    let expected = match has {
                        3 => Granted::No,
                        0 if naive.len() == 4 => Granted::Full,
                        _ => Granted::Yes,
                    };
                    prop_assert_eq!(places.take(subscriber, 3), expected);
                    if expected == Granted::Yes {
                        naive.insert(subscriber, has + 1);
                    }
                } else if has > 0 {
                    places.give_back(subscriber);
                    naive.insert(subscriber, has - 1);
                    naive.retain(|_, number| *number > 0);
                }
                prop_assert_eq!(places.sum(), naive.values().map(|&n| u64::from(n)).sum::<u64>());
            }
        }
    }
}
