//! The network between the parties and the box: it delays, loses, repeats, reorders and
//! damages, all by chance from the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::tick::Tick;

use super::frame::Datagram;
use super::random::Random;

/// How bad it is; rates are per mille of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Lost.
    pub loss: u16,
    /// Delivered twice.
    pub duplicate: u16,
    /// Held back behind later ones.
    pub reorder: u16,
    /// One bit of a SIP message to the box turned over.
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
}

/// Something that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A frame at the box.
    AtBox {
        /// By which device.
        device: DeviceIndex,
        /// The frame.
        frame: Vec<u8>,
        /// What it was before any damage.
        datagram: Datagram,
        /// True where a bit was turned over.
        damaged: bool,
    },
    /// A datagram at a party.
    AtParty(Datagram),
}

#[derive(Debug)]
struct Entry {
    at: Tick,
    number: u64,
    what: Arrival,
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
    pub fn new(weather: Weather, seed: u64) -> Network {
        Network {
            weather,
            random: Random::new(seed),
            queue: BinaryHeap::new(),
            count: 0,
        }
    }

    /// Sends; says what became of it: nothing of note, `lost`, `twice`, `damaged`.
    pub fn send(&mut self, now: Tick, mut what: Arrival) -> &'static str {
        let weather = self.weather;
        if self.random.happens(weather.loss) {
            return "lost";
        }
        let mut fate = "";
        if let Arrival::AtBox {
            frame,
            datagram,
            damaged,
            ..
        } = &mut what
        {
            let sip = datagram.destination.port() == 5060;
            if sip && self.random.happens(weather.damage) {
                *damaged = true;
                fate = "damaged";
                self.damage(frame);
            }
        }
        if self.random.happens(weather.duplicate) {
            fate = "twice";
            let at = self.arrival(now);
            self.push(at, what.clone());
        }
        let at = self.arrival(now);
        self.push(at, what);
        fate
    }

    /// Turns a bit over behind the station addresses, which nothing protects in a frame
    /// without its check sequence.
    fn damage(&mut self, frame: &mut [u8]) {
        let last = frame.len() as u64 - 1;
        let at = self.random.between(14, last);
        let bit = self.random.between(0, 7);
        if let Some(byte) = usize::try_from(at).ok().and_then(|at| frame.get_mut(at)) {
            *byte ^= 1 << bit;
        }
    }

    fn arrival(&mut self, now: Tick) -> Tick {
        let mut delay_us = self
            .random
            .between(50, 50 + self.weather.delay_ms_max * 1_000);
        if self.random.happens(self.weather.reorder) {
            delay_us += self.random.between(1_000, 80_000);
        }
        Tick(now.0 + delay_us * 1_000)
    }

    fn push(&mut self, at: Tick, what: Arrival) {
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
    pub fn take(&mut self, now: Tick) -> Option<Arrival> {
        if self.due() > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry.what)
    }
}
