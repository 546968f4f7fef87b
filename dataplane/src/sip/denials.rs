//! What subscribers were last denied, and why: for whoever is asked "why can I not register?".
//!
//! Each subscriber has one entry, written where a request of its name is refused and nowhere else. There
//! are so many: a name that falls on another's place takes it.

use std::net::SocketAddr;

use super::digest::cache::Look;
use super::registrar::Refusal;
use super::subscriber::Subscriber;
use crate::tick::Tick;

/// Denials so far apart are not counted together.
const PAUSE_NS: u64 = 3_600_000_000_000;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The password is wrong.
    Password,
    /// There is no such subscriber.
    Nobody,
    /// The store has no HA1 of it for the algorithm that it proves its password by.
    NoHa1,
    /// The credentials are another's than the user that it says it is.
    Another,
    /// The store gave no answer, or not in time.
    Store,
    /// The registrar will not do what its REGISTER asks for.
    Register(Refusal),
    /// It has begun as many calls as it may.
    Calls,
    /// It has not registered from there at the registrar elsewhere.
    Unregistered,
}

/// What a subscriber was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who the requests said they were from.
    pub who: Subscriber,
    /// Where the last one came from.
    pub source: SocketAddr,
    /// Why it was refused.
    pub why: Why,
    /// How many there were.
    pub count: u32,
    /// When the first of them came.
    pub first: Tick,
    /// When the last did.
    pub last: Tick,
}

/// What a worker knows of one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Dossier {
    /// What the store has told it.
    pub known: Option<Look>,
    /// Calls that it counts towards the limit.
    pub calls: u32,
    /// What was denied here.
    pub denial: Option<Denial>,
}

/// The denials of a worker.
#[derive(Debug)]
pub(super) struct Denials(Box<[Option<Denial>]>);

impl Denials {
    /// Bytes of one.
    pub const ENTRY_LEN: usize = size_of::<Option<Denial>>();

    /// Room for so many.
    pub fn new(capacity: usize) -> Denials {
        Denials(vec![None; capacity].into_boxed_slice())
    }

    /// How many places there are.
    pub const fn places(&self) -> usize {
        self.0.len()
    }

    /// What stands in a place.
    pub fn at(&self, place: usize) -> Option<Denial> {
        self.0.get(place).copied().flatten()
    }

    /// That of the subscriber behind `key`, a keyed hash of it.
    pub fn get(&self, key: u64, who: &Subscriber) -> Option<Denial> {
        let denial = self.at(self.place(key)?)?;
        (denial.who == *who).then_some(denial)
    }

    /// Takes note of one.
    pub fn note(&mut self, key: u64, who: Subscriber, source: SocketAddr, why: Why, now: Tick) {
        let Some(place) = self.place(key) else {
            return;
        };
        let before =
            self.0[place].filter(|denial| denial.who == who && now.since(denial.last) < PAUSE_NS);
        let (count, first) = before.map_or((0, now), |before| (before.count, before.first));
        self.0[place] = Some(Denial {
            who,
            source,
            why,
            count: count.saturating_add(1),
            first,
            last: now,
        });
    }

    fn place(&self, key: u64) -> Option<usize> {
        let places = self.0.len() as u64;
        let place = key.checked_rem(places)?;
        usize::try_from(place).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DomainIndex;
    use crate::sip::subscriber::User;

    fn who(name: &str) -> Subscriber {
        Subscriber {
            domain: DomainIndex(0),
            user: User::new(name.as_bytes()).unwrap(),
        }
    }

    fn source(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 5060))
    }

    #[test]
    fn each_has_its_last_denial_and_how_many_there_were_within_an_hour_of_each_other() {
        let mut denials = Denials::new(4);
        let (bob, minute) = (who("bob"), 60_000);
        denials.note(7, bob, source(1), Why::Password, Tick::ms(0));
        denials.note(7, bob, source(2), Why::Store, Tick::ms(59 * minute));
        let denial = denials.get(7, &bob).unwrap();
        assert_eq!((denial.count, denial.why), (2, Why::Store));
        assert_eq!((denial.first, denial.source), (Tick::ms(0), source(2)));
        denials.note(7, bob, source(1), Why::Nobody, Tick::ms(119 * minute));
        let denial = denials.get(7, &bob).unwrap();
        assert_eq!((denial.count, denial.first), (1, Tick::ms(119 * minute)));
    }

    #[test]
    fn who_falls_on_anothers_place_takes_it_and_is_not_taken_for_that_one() {
        let mut denials = Denials::new(4);
        let (bob, eve) = (who("bob"), who("eve"));
        denials.note(3, bob, source(1), Why::Password, Tick::ms(0));
        assert!(denials.get(7, &eve).is_none());
        denials.note(7, eve, source(2), Why::Nobody, Tick::ms(1));
        assert!(denials.get(3, &bob).is_none());
        assert_eq!(denials.get(7, &eve).unwrap().count, 1);
        assert_eq!((0..5).filter(|&at| denials.at(at).is_some()).count(), 1);
    }

    #[test]
    fn without_room_none_is_kept() {
        let mut denials = Denials::new(0);
        denials.note(3, who("bob"), source(1), Why::Password, Tick::ms(0));
        assert!(denials.get(3, &who("bob")).is_none());
    }
}
