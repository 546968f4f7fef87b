//! What a caller does that is a subscriber.

use crate::sim::phone;
use crate::sim::phone::Kind;
use crate::sim::random::Random;
use crate::sim::site::PHONES;

/// What a caller does that is a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// What is so of it.
    pub kind: Kind,
    /// Which of its kind it is.
    pub number: usize,
    /// The host that it sits on.
    pub host: u8,
    /// A NAT gives it another port with every request.
    pub rebinds: bool,
    /// It holds, refreshes or hangs up from another address than it has called from.
    pub moves: bool,
    /// Somebody sends its MESSAGE once more as a new request, with the credentials as they were.
    pub is_replayed: bool,
    /// It has credentials for another realm too, which are not the box's.
    pub has_others: bool,
    /// It registers instead of calling.
    pub registers: bool,
    /// It does so again and again.
    pub refreshes: bool,
}

impl Habits {
    /// Draws them for a subscriber of that kind.
    pub fn draw(random: &mut Random, kind: Kind, users: u64) -> Habits {
        let small = |number: u64| u8::try_from(number).unwrap_or(0);
        Habits {
            kind,
            number: usize::try_from(random.between(0, users - 1)).unwrap_or(0),
            host: PHONES.start + small(random.between(0, PHONES.count() as u64 / 2 - 1)),
            rebinds: random.happens(300),
            moves: random.happens(150),
            is_replayed: random.happens(100),
            has_others: random.happens(200),
            registers: random.happens(200),
            refreshes: random.happens(700),
        }
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> String {
        phone::user(self.kind, self.number)
    }

    /// A host that a user may always sit on.
    #[must_use]
    pub fn host_of(number: usize) -> u8 {
        let hosts = PHONES.count() / 2;
        PHONES.start + u8::try_from(number % hosts).unwrap_or(0)
    }

    /// The host that it moves to.
    #[must_use]
    pub fn next_host(&self) -> u8 {
        self.host + u8::try_from(PHONES.count() / 2).unwrap_or(0)
    }
}
