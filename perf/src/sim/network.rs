//! The network: it delays, loses, repeats, reorders and damages, all by chance from the
//! seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::random::Random;
use super::sip::Sip;

/// How bad it is; rates are per mille of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Lost.
    pub loss: u16,
    /// Delivered twice.
    pub duplicate: u16,
    /// Held back behind later ones.
    pub reorder: u16,
    /// One bit of a SIP message to a box turned over.
    pub damage: u16,
    /// The longest delay of a packet that is not held back.
    pub delay_ms_max: u64,
}

impl Weather {
    /// Nothing but a delay.
    pub const FAIR: Weather = Weather {
        loss: 0,
        duplicate: 0,
        reorder: 0,
        damage: 0,
        delay_ms_max: 20,
    };
    /// As on a bad day.
    pub const BAD: Weather = Weather {
        loss: 30,
        duplicate: 20,
        reorder: 30,
        damage: 5,
        delay_ms_max: 40,
    };
    /// A third of all is lost, a tenth comes twice, a tenth comes late.
    pub const WORST: Weather = Weather {
        loss: 300,
        duplicate: 100,
        reorder: 100,
        damage: 5,
        delay_ms_max: 60,
    };

    /// True where nothing happens to a packet but a delay.
    #[must_use]
    pub const fn is_fair(&self) -> bool {
        self.loss == 0 && self.damage == 0
    }
}

/// What is in a datagram.
#[derive(Clone, Debug)]
pub enum Body {
    /// A message that reads.
    Sip(Rc<Sip>),
    /// Anything else.
    Raw(Rc<[u8]>),
    /// What ICMP quotes: this message of the box has reached a closed port.
    Unreachable(Rc<Sip>),
}

impl Body {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Body::Sip(sip) | Body::Unreachable(sip) => sip.bytes(),
            Body::Raw(bytes) => bytes,
        }
    }
}

/// A datagram under way.
#[derive(Clone, Debug)]
pub struct Packet {
    /// From whom.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// What.
    pub body: Body,
    /// The bit of the frame that was turned over, if one was: by chance, to be reduced to the
    /// payload's length.
    pub damage: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    at: Tick,
    number: u64,
    what: Packet,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What became of a packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing of note.
    Once,
    /// It is delivered twice.
    Twice,
    /// It arrives nowhere.
    Lost,
    /// A bit of it is turned over.
    Damaged,
}

/// What is under way.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    random: Random,
    queue: BinaryHeap<Reverse<Entry>>,
    count: u64,
}

impl Network {
    /// A network with nothing under way.
    #[must_use]
    pub fn new(weather: Weather, random: Random) -> Network {
        Network {
            weather,
            random,
            queue: BinaryHeap::new(),
            count: 0,
        }
    }

    /// Sends; `to_box` may be damaged. Says what became of it.
    pub fn send(&mut self, now: Tick, mut what: Packet, to_box: bool) -> Sent {
        let weather = self.weather;
        if self.random.happens(weather.loss) {
            return Sent::Lost;
        }
        let mut fate = Sent::Once;
        let sip = matches!(what.body, Body::Sip(_));
        if to_box && sip && self.random.happens(weather.damage) {
            what.damage = Some(self.random.next());
            fate = Sent::Damaged;
        }
        if self.random.happens(weather.duplicate) {
            fate = Sent::Twice;
            let at = self.arrival(now);
            self.push(at, what.clone());
        }
        let at = self.arrival(now);
        self.push(at, what);
        fate
    }

    fn arrival(&mut self, now: Tick) -> Tick {
        let longest_us = 50 + self.weather.delay_ms_max * 1_000;
        let mut delay_us = self.random.between(50, longest_us);
        if self.random.happens(self.weather.reorder) {
            delay_us += self.random.between(1_000, 80_000);
        }
        Tick(now.0 + delay_us * 1_000)
    }

    fn push(&mut self, at: Tick, what: Packet) {
        self.count += 1;
        self.queue.push(Reverse(Entry {
            at,
            number: self.count,
            what,
        }));
    }

    /// When the next thing arrives.
    #[must_use]
    pub fn due(&self) -> Tick {
        self.queue
            .peek()
            .map_or(Tick::NEVER, |Reverse(entry)| entry.at)
    }

    /// Takes what has arrived.
    pub fn take(&mut self, now: Tick) -> Option<Packet> {
        if self.due() > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry.what)
    }
}

/// Turns a bit over in the last `len` bytes, which the UDP checksum protects.
pub fn damage(frame: &mut [u8], len: usize, chance: u64) {
    let start = frame.len().saturating_sub(len);
    let at = usize::try_from(chance >> 8)
        .unwrap_or(0)
        .checked_rem(len)
        .unwrap_or(0);
    if let Some(byte) = frame.get_mut(start + at) {
        *byte ^= 1 << (chance & 7);
    }
}
