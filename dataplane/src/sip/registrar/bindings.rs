//! The table of bindings: fixed, by address of record, each one's contacts in a list, the best first.
//!
//! ```text
//! key ─► index ─► Binding ─► Binding ─► ..       q: 1000, 1000, 500, ..
//!                   └► texts: user | uri | params | path
//! ```

use std::num::NonZeroU32;

use super::binding::Binding;
use super::binding::Lens;
use super::binding::Record;
use super::equal::is_same;
use crate::ids::DomainIndex;
use crate::limits::CONTACT_LEN_MAX;
use crate::limits::CONTACTS_MAX;
use crate::limits::ROUTE_SET_LEN_MAX;
use crate::sip::index::Index;
use crate::sip::slab::Id;
use crate::sip::slab::Slab;
use crate::sip::subscriber::USER_LEN_MAX;
use crate::sip::texts::TextStore;
use crate::timer::Wheel;

/// The longest texts of a binding.
pub(super) const TEXTS_LEN_MAX: usize = USER_LEN_MAX + CONTACT_LEN_MAX + ROUTE_SET_LEN_MAX;

/// A [`DomainIndex`] numbers so many.
pub(super) const DOMAINS: usize = u8::MAX as usize + 1;

/// Blocks of text for every four bindings. One takes the user and 80 bytes of contact; two take the
/// parameters of RFC 5626 as well, or a short path. Bindings with less lend to bindings with more.
const BLOCKS_PER_FOUR: u32 = 7;

/// The bindings of an address of record, the best first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ids {
    list: [Option<Id>; CONTACTS_MAX],
    count: usize,
}

impl Ids {
    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = Id> + use<> {
        self.list.into_iter().take(self.count).flatten()
    }

    /// The one in this place.
    pub(super) fn get(&self, at: usize) -> Option<Id> {
        *self.list.get(at)?
    }

    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    fn push(&mut self, id: Id) {
        if let Some(place) = self.list.get_mut(self.count) {
            *place = Some(id);
            self.count += 1;
        }
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Bindings {
    pub(super) slab: Slab<Binding>,
    index: Index,
    /// By [`DomainIndex`]: how many bindings its users have.
    of_domain: Box<[u32; DOMAINS]>,
    pub(super) texts: TextStore,
    room: Box<[u8; TEXTS_LEN_MAX]>,
}

impl Bindings {
    /// Bytes that a binding costs, with its share of the texts, its place in the index and its timer.
    pub(super) const BINDING_LEN: usize = Slab::<Binding>::SLOT_LEN
        + Index::KEY_LEN
        + Wheel::TIMER_LEN
        + BLOCKS_PER_FOUR as usize * TextStore::BLOCK_LEN / 4;

    /// Room for so many.
    pub(super) fn new(capacity: u32) -> Bindings {
        let blocks = u64::from(capacity) * u64::from(BLOCKS_PER_FOUR) / 4;
        Bindings {
            slab: Slab::new(capacity),
            index: Index::new(capacity),
            of_domain: Box::new([0; DOMAINS]),
            texts: TextStore::new(u32::try_from(blocks).unwrap_or(u32::MAX)),
            room: Box::new([0; TEXTS_LEN_MAX]),
        }
    }

    /// Those of an address of record, those that have ended and have not been taken out yet among
    /// them.
    pub(super) fn of(&self, aor: u64) -> Ids {
        let mut ids = Ids::default();
        let mut next = self.index.get(aor);
        while let Some(id) = next {
            let Some(binding) = self.slab.get(id) else {
                break;
            };
            ids.push(id);
            next = binding.next;
        }
        ids
    }

    /// The binding as it is seen.
    pub(super) fn record(&mut self, id: Id) -> Option<Record<'_>> {
        let binding = self.slab.get(id)?;
        let texts = self.texts.read(&binding.text, &mut self.room[..]);
        Some(binding.record(texts))
    }

    /// How many more there may be.
    pub(super) fn free_count(&self) -> usize {
        self.slab.capacity() as usize - self.slab.count()
    }

    /// How many the users of a domain have.
    pub(super) fn count_of(&self, domain: DomainIndex) -> u32 {
        self.of_domain[usize::from(domain.0)]
    }

    /// Puts a binding in the place of another, or else at the front of its list; see
    /// [`Bindings::sort`]. Where there is no room, which the caller has looked for, it is lost.
    pub(super) fn put(&mut self, place: Option<Id>, binding: Binding) -> Option<Id> {
        if let Some(there) = place.and_then(|id| self.slab.get_mut(id)) {
            let next = there.next;
            debug_assert_eq!(
                there.domain, binding.domain,
                "an address of record is of one domain"
            );
            let old = std::mem::replace(there, Binding { next, ..binding });
            self.texts.release(old.text);
            return place;
        }
        let Some(id) = self.slab.vacant() else {
            self.texts.release(binding.text);
            return None;
        };
        let aor = binding.aor;
        self.of_domain[usize::from(binding.domain.0)] += 1;
        self.slab.insert(Binding {
            next: self.index.get(aor),
            ..binding
        });
        self.index.insert(aor, id);
        Some(id)
    }

    /// Whether a binding is of this flow (RFC 5626 §6).
    pub(super) fn is_flow(&self, id: Id, instance: u64, reg_id: NonZeroU32) -> bool {
        let binding = self.slab.get(id);
        binding.is_some_and(|binding| binding.is_flow(instance, reg_id))
    }

    /// Whether a binding is known by its URI, and that is this one (RFC 3261 §19.1.4).
    pub(super) fn has_uri(&mut self, id: Id, uri: &[u8]) -> bool {
        let is_by_uri = |binding: &Binding| binding.reg_id.is_none();
        self.slab.get(id).is_some_and(is_by_uri)
            && self.uri(id).is_some_and(|own| is_same(own, uri))
    }

    /// Whether the URI of its contact is spelled so.
    pub(super) fn spells(&mut self, id: Id, uri: &[u8]) -> bool {
        self.uri(id) == Some(uri)
    }

    fn uri(&mut self, id: Id) -> Option<&[u8]> {
        let binding = self.slab.get(id)?;
        let from = usize::from(binding.lens.user);
        let end = from + usize::from(binding.lens.uri);
        let room = self.room.get_mut(..end)?;
        self.texts.read(&binding.text, room).get(from..)
    }

    /// Whether the texts of a binding are these: `kept` is user, URI and parameters in a row.
    pub(super) fn has_texts(&mut self, id: Id, lens: Lens, kept: &[u8], path: &[u8]) -> bool {
        let Some(binding) = self.slab.get(id).filter(|binding| binding.lens == lens) else {
            return false;
        };
        let texts = self.texts.read(&binding.text, &mut self.room[..]);
        texts.strip_prefix(kept) == Some(path)
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, id: Id) {
        let Some(binding) = self.slab.remove(id) else {
            return;
        };
        self.of_domain[usize::from(binding.domain.0)] -= 1;
        if self.index.get(binding.aor) == Some(id) {
            match binding.next {
                Some(next) => self.index.insert(binding.aor, next),
                None => self.index.remove(binding.aor, id),
            }
        } else {
            self.unlink(&binding, id);
        }
        self.texts.release(binding.text);
    }

    /// Takes one out of its list that is not the first there.
    fn unlink(&mut self, binding: &Binding, id: Id) {
        let mut at = self.index.get(binding.aor);
        while let Some(previous) = at.and_then(|at| self.slab.get_mut(at)) {
            if previous.next == Some(id) {
                previous.next = binding.next;
                return;
            }
            at = previous.next;
        }
    }

    /// Brings the list of an address of record into the order of q. Equal ones stay as they are: the
    /// newest first.
    pub(super) fn sort(&mut self, aor: u64) {
        let ids = self.of(aor);
        let q = |id: Option<Id>| id.and_then(|id| self.slab.get(id)).map(|binding| binding.q);
        let mut list = ids.list;
        let list = &mut list[..ids.count];
        // Few, and nearly in order.
        for end in 1..list.len() {
            let mut at = end;
            while at > 0 && q(list[at]) > q(list[at - 1]) {
                list.swap(at - 1, at);
                at -= 1;
            }
        }
        let mut next = None;
        for id in list.iter().rev().flatten() {
            if let Some(binding) = self.slab.get_mut(*id) {
                binding.next = next;
            }
            next = Some(*id);
        }
        if let Some(first) = next {
            self.index.insert(aor, first);
        }
    }
}
