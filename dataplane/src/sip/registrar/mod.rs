//! The registrar of a worker (RFC 3261 §10.3): which contacts an address of record has.
//!
//! ```text
//!   REGISTER ─► contacts ─► plan ─► changes, one by one ─► answer
//!               what it     what comes     told to the      all that is bound now
//!               asks for    of each        caller
//! ```
//!
//! - [`aor`]: addresses of record in their canonical form
//! - `contacts`: what a REGISTER asks for
//! - `equal`, `escape`: whether two URIs are the same
//! - `binding`, `bindings`: what is kept, and the table that keeps it
//! - `order`: which REGISTER counts, where several come in any order
//! - `plan`, `register`: a REGISTER is applied, all or nothing
//! - `journal`, `letter`: what others are told of it
//! - `answer`, `refusal`, `require`: what its sender is told
//! - `granted`: what a registrar elsewhere has granted
//! - `pace`: when NATs on the way to it are kept open
//!
//! Time is an argument, and all memory is taken at the start. Who may register what has been found
//! out before (RFC 3261 §10.3 step 1, and from step 3 to 5). Each change to a binding is told while it is made:
//! the caller has the timers, and whoever keeps the bindings elsewhere.

mod answer;
pub mod aor;
mod binding;
mod bindings;
mod contacts;
mod equal;
mod escape;
mod granted;
mod journal;
mod letter;
mod order;
mod pace;
mod plan;
mod refusal;
mod register;
mod require;

pub use self::binding::Record;
pub use self::granted::shorten;
pub use self::journal::Journal;
pub use self::letter::LETTER_LEN_MAX;
pub use self::letter::Letter;
pub use self::pace::Pace;
pub use self::refusal::Refusal;
pub use self::register::Change;
pub use self::register::Happened;
pub use self::register::Register;
pub use self::register::Registered;

use std::net::IpAddr;

use self::binding::Binding;
use self::binding::Lens;
use self::bindings::Bindings;
use self::bindings::Ids;
use self::order::Last;
use super::identity::What;
use super::recent::Recent;
use super::siphash::SipHash;
use super::slab::Id;
use super::subscriber::USER_LEN_MAX;
use crate::ids::DomainIndex;
use crate::limits::CONTACT_LEN_MAX;
use crate::limits::CONTACTS_MAX;
use crate::limits::REGISTERS_UNDONE;
use crate::tick::Tick;

/// Changes that one REGISTER can cause: each binding there is may have ended, and each contact that
/// it names may be removed and added anew.
pub const CHANGES_MAX: usize = 3 * CONTACTS_MAX;

/// What the registrar grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The least interval, in seconds: less than that is refused, if it is less than an hour too.
    pub min_s: u32,
    /// The longest one: more is cut down to it.
    pub max_s: u32,
    /// The interval of who names none.
    pub default_s: u32,
    /// Contacts of an address of record; at most [`CONTACTS_MAX`].
    pub contacts_max: u8,
    /// One more takes the place of the one that was registered longest ago, instead of being refused.
    pub replaces_oldest: bool,
    /// The value of Service-Route (RFC 3608); empty: none.
    pub service_route: String,
    /// Seconds between two keepalives to a binding behind a NAT; 0: none are sent.
    pub keepalive_s: u32,
    /// Seconds that clients are told to send theirs within (RFC 5626 §4.4); 0: they are told nothing.
    pub flow_timer_s: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            min_s: 60,
            max_s: 7_200,
            default_s: 3_600,
            contacts_max: 10,
            replaces_oldest: false,
            service_route: String::new(),
            keepalive_s: 0,
            flow_timer_s: 0,
        }
    }
}

/// Names, in what is told of a removal, every contact of its user (RFC 3261 §10.2.2).
pub const EVERY: &[u8] = b"*";

/// The registrar.
#[derive(Debug)]
pub struct Registrar {
    rules: Rules,
    hash: SipHash,
    bindings: Bindings,
    /// The last REGISTER of a Call-ID whose bindings are not its own any more.
    undone: Recent<Last>,
    /// When a contact was removed.
    removed: Recent<Tick>,
    /// A contact as it will be kept.
    room: Box<[u8; USER_LEN_MAX + CONTACT_LEN_MAX]>,
}

impl Registrar {
    /// Bytes that a binding costs, with its texts, its place in the index and its timer.
    pub const BINDING_LEN: usize = Bindings::BINDING_LEN;
    /// Bytes of what there is once.
    pub const ONCE_LEN: usize = REGISTERS_UNDONE
        * (Recent::<Last>::CELL_LEN + Recent::<Tick>::CELL_LEN)
        + size_of::<[u8; USER_LEN_MAX + CONTACT_LEN_MAX]>()
        + size_of::<[u8; bindings::TEXTS_LEN_MAX]>()
        + size_of::<[u32; bindings::DOMAINS]>();

    /// Room for so many bindings. `hash` is the beginning of a keyed hash, the same over restarts for
    /// as long as what a store keeps is to be known again.
    #[must_use]
    pub fn new(capacity: u32, rules: Rules, hash: SipHash) -> Registrar {
        Registrar {
            rules,
            hash,
            bindings: Bindings::new(capacity),
            undone: Recent::new(REGISTERS_UNDONE),
            removed: Recent::new(REGISTERS_UNDONE),
            room: Box::new([0; USER_LEN_MAX + CONTACT_LEN_MAX]),
        }
    }

    /// How often NATs are kept open.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace::of(self.rules.keepalive_s)
    }

    /// When the binding in a slot ends; `None` where there is none.
    #[must_use]
    pub fn due(&self, slot: u32) -> Option<Tick> {
        let id = self.bindings.slab.tenant(slot)?;
        self.bindings.slab.get(id).map(|binding| binding.expires)
    }

    /// Where the live binding in a slot was registered from; `None` where there is none.
    #[must_use]
    pub fn received_from(&self, slot: u32, now: Tick) -> Option<IpAddr> {
        let id = self.bindings.slab.tenant(slot)?;
        let binding = self.bindings.slab.get(id)?;
        (binding.expires > now).then(|| binding.received.ip())
    }

    /// Takes out the binding in a slot if its time is over, and tells so; else says when it will be.
    pub fn expire(
        &mut self,
        slot: u32,
        now: Tick,
        mut tell: impl FnMut(Change<'_>),
    ) -> Option<Tick> {
        let due = self.due(slot)?;
        if due > now {
            return Some(due);
        }
        let id = self.bindings.slab.tenant(slot)?;
        self.forget(id, now);
        self.tell(id, Happened::Expired, &mut tell);
        self.bindings.remove(id);
        None
    }

    /// Gives every target that a request to an address of record may be sent to, each with the number of its
    /// lane: the targets of one lane are tried one after the other.
    ///
    /// RFC 5626 §7: of several of one instance the one that was registered last, for each the best first. After
    /// all of them the other flows of the same instances, of each the one that was registered last first.
    pub fn targets(&mut self, aor: u64, now: Tick, mut each: impl FnMut(u8, Record<'_>)) {
        let ids = self.bindings.of(aor);
        let mut firsts = [0; CONTACTS_MAX];
        let mut lanes = 0;
        for (at, id) in ids.all().enumerate() {
            if self.is_first(&ids, at, id, now)
                && let Some(record) = self.bindings.record(id)
            {
                firsts[usize::from(lanes)] = at;
                each(lanes, record);
                lanes += 1;
            }
        }
        if usize::from(lanes) == ids.count() {
            return;
        }
        for (lane, mut at) in (0..lanes).zip(firsts) {
            while let Some((next, id)) = self.next_flow(&ids, at, now) {
                if let Some(record) = self.bindings.record(id) {
                    each(lane, record);
                }
                at = next;
            }
        }
    }

    /// Whether no other of its instance was registered later.
    fn is_first(&self, ids: &Ids, at: usize, id: Id, now: Tick) -> bool {
        let live = |id| self.bindings.slab.get(id).filter(|it| it.expires > now);
        let Some(binding) = live(id) else {
            return false;
        };
        let is_later = |(other_at, other): (usize, Id)| {
            let same = live(other).filter(|other| other.instance == binding.instance);
            same.is_some_and(|other| other.age(other_at) < binding.age(at))
        };
        binding.instance == 0 || !ids.all().enumerate().any(is_later)
    }

    /// The flow of the same instance that was registered last before the one at `at`, if that is a flow; and its
    /// place. What is known by its URI is none: it may be where the device has been.
    fn next_flow(&self, ids: &Ids, at: usize, now: Tick) -> Option<(usize, Id)> {
        let flow = |id| {
            let binding = self.bindings.slab.get(id)?;
            let is_flow = binding.instance != 0 && binding.reg_id.is_some();
            (is_flow && binding.expires > now).then_some(binding)
        };
        let of = flow(ids.get(at)?)?;
        let earlier = ids.all().enumerate().filter_map(|(nth, id)| {
            let other = flow(id).filter(|other| other.instance == of.instance)?;
            let age = other.age(nth);
            (age > of.age(at)).then_some((age, nth, id))
        });
        let (_, nth, id) = earlier.min_by_key(|&(age, ..)| age)?;
        Some((nth, id))
    }

    /// A binding, if it is still there.
    pub fn record(&mut self, id: Id) -> Option<Record<'_>> {
        self.bindings.record(id)
    }

    /// Whoever is in a slot: to look through all of them, a few at a time.
    pub fn tenant(&mut self, slot: u32) -> Option<Record<'_>> {
        let id = self.bindings.slab.tenant(slot)?;
        self.bindings.record(id)
    }

    /// Puts in a binding that a store has kept; its timer is to be armed. `None` where it has ended,
    /// where there is no room for it, where the same contact is there and was registered later, and where
    /// a text has what no line of a message has: it will stand in one.
    pub fn restore(&mut self, record: &Record<'_>, now: Tick) -> Option<Id> {
        let lens = Lens {
            user: u8::try_from(record.user.len()).ok()?,
            uri: u16::try_from(record.uri.len()).ok()?,
            params: u16::try_from(record.params.len()).ok()?,
            path: u16::try_from(record.path.len()).ok()?,
        };
        let parts = [record.user, record.uri, record.params, record.path];
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if record.expires <= now || len > bindings::TEXTS_LEN_MAX || !is_of_lines(&parts) {
            return None;
        }
        let ids = self.bindings.of(record.aor);
        let instance = record.instance().map_or(0, |text| self.instance(text));
        let found = self.of_record(&ids, record, instance);
        // What was removed while the store was read does not come back, nor what another Call-ID had made
        // of the same contact before.
        let undone = self.undone.get(record.aor ^ record.call_id, now);
        let is_gone = |name: &Record<'_>| {
            let removed = self.removed.get(place_of(name, &self.hash), now);
            removed.is_some_and(|at| at >= record.taken)
        };
        let every = Record {
            uri: EVERY,
            reg_id: None,
            ..*record
        };
        if undone.is_some_and(|last| last.cseq >= record.cseq) || is_gone(record) || is_gone(&every)
        {
            return None;
        }
        let there = found.and_then(|id| self.bindings.slab.get(id));
        if there.is_some_and(|there| there.expires > now && !there.is_before(record)) {
            return None;
        }
        if found.is_none() && (ids.count() == CONTACTS_MAX || self.bindings.free_count() == 0) {
            return None;
        }
        let text = self.bindings.texts.put(&parts)?;
        let id = self
            .bindings
            .put(found, Binding::of(record, instance, text, lens))?;
        self.bindings.sort(record.aor);
        Some(id)
    }

    /// Takes out the binding that a REGISTER has removed elsewhere, or every one, unless a later one has changed it
    /// since. Gives each slot that is free now.
    pub fn withdraw(&mut self, by: &Record<'_>, mut each: impl FnMut(u32)) {
        let ids = self.bindings.of(by.aor);
        let named = match by.uri == EVERY {
            true => None,
            false => {
                let instance = by.instance().map_or(0, |text| self.instance(text));
                let Some(id) = self.of_record(&ids, by, instance) else {
                    return;
                };
                Some(id)
            }
        };
        for id in ids.all().filter(|id| named.is_none_or(|it| it == *id)) {
            let binding = self.bindings.slab.get(id);
            if binding.is_some_and(|binding| binding.is_before(by)) {
                self.bindings.remove(id);
                each(id.slot);
            }
        }
    }

    /// The slot of the binding that was made by the REGISTER of a record; `None` where a record is of none here.
    pub fn slot_of(&mut self, record: &Record<'_>) -> Option<u32> {
        let ids = self.bindings.of(record.aor);
        let instance = record.instance().map_or(0, |text| self.instance(text));
        let id = self.of_record(&ids, record, instance)?;
        let there = self.bindings.slab.get(id)?;
        (there.call_id == record.call_id && there.cseq == record.cseq).then_some(id.slot)
    }

    /// The binding among these that a record is of.
    fn of_record(&mut self, ids: &Ids, record: &Record<'_>, instance: u64) -> Option<Id> {
        ids.all().find(|&id| match record.reg_id {
            Some(reg_id) => self.bindings.is_flow(id, instance, reg_id),
            None => self.bindings.has_uri(id, record.uri),
        })
    }

    /// True where another binding finds no room, or may not.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let (used, blocks) = self.blocks();
        self.bindings.free_count() == 0 || used as usize >= blocks
    }

    /// How many bindings the users of a domain have.
    #[must_use]
    pub fn count_of(&self, domain: DomainIndex) -> u32 {
        self.bindings.count_of(domain)
    }

    /// How many bindings there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.bindings.slab.count()
    }

    /// Blocks of text that they take, and how many there are.
    #[must_use]
    pub fn blocks(&self) -> (u32, usize) {
        let texts = &self.bindings.texts;
        (texts.used_count(), texts.block_count())
    }

    /// How many there can be.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.bindings.slab.capacity()
    }

    /// An instance as bindings know it; never 0.
    fn instance(&self, instance: &[u8]) -> u64 {
        let hash = self.hash.text(instance);
        hash.finish(What::Instance.with(0)).max(1)
    }
}

/// What a contact of an address of record is known by, whoever registers it (RFC 5626 §6), hashed.
fn place_of(record: &Record<'_>, hash: &SipHash) -> u64 {
    let place = match (record.instance(), record.reg_id) {
        (Some(instance), Some(reg_id)) => {
            let number = What::Instance.with(u64::from(reg_id.get()));
            hash.text(instance).finish(number)
        }
        _ => hash.text(record.uri).finish(What::Contact.with(0)),
    };
    record.aor ^ place
}

/// Whether these texts can stand in lines of a message: a line end in one would begin another.
fn is_of_lines(texts: &[&[u8]]) -> bool {
    let is_of_a_line = |text: &&[u8]| memchr::memchr3(b'\r', b'\n', 0, text).is_none();
    texts.iter().all(is_of_a_line)
}

#[cfg(test)]
mod tests;
