//! What surrounds the calls of a seed: boxes, labs, workers, weather, restarts.

use std::fmt;

use trunkline_dataplane::frame::KeptConfig;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::lab::Side;
use trunkline_dataplane::settings::Authentication;
use trunkline_dataplane::settings::Capacity;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::sip::digest::cache::Lifetimes;
use trunkline_dataplane::tick::Tick;
use trunkline_dataplane::wire::VlanStack;
use trunkline_dataplane::wire::vlan::TPID_8021AD;

use super::Crowd;
use super::Options;
use super::boxes::Make;
use super::network::Weather;
use super::random::Random;
use super::site::Site;
use super::site::sites;
use super::store::Mood;
use super::store::Moods;

/// What was drawn for a seed, or asked for.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Where the boxes stand.
    pub sites: Vec<Site>,
    /// How many workers each has at first.
    pub workers: u8,
    /// How they are made.
    pub make: Make,
    /// The network.
    pub weather: Weather,
    /// When which box restarts, and with how many workers.
    pub restarts: Vec<(Tick, usize, u8)>,
    /// How the store of subscribers does, and since when.
    pub moods: Moods,
    /// How the location store does.
    pub location_moods: Moods,
}

impl Profile {
    /// True where the listens keep no state.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        self.sites.iter().any(|site| site.stateless)
    }

    /// Draws what is not asked for. Chance of its own: what is drawn for the calls does not
    /// depend on it.
    #[must_use]
    pub fn draw(options: &Options) -> Profile {
        let mut random = Random::part(options.seed, 3);
        let drawn = if random.happens(400) { 2 } else { 1 };
        let boxes = match options.crowd {
            Some(_) => 1,
            None => options.boxes.unwrap_or(drawn),
        };
        let labs: Vec<Lab> = (0..boxes).map(|_| draw_lab(&mut random)).collect();
        let drawn = random.pick(&[1, 2, 2, 4]);
        let workers = options.workers.unwrap_or(drawn);
        let weather = match random.between(0, 9) {
            0..=2 => Weather::FAIR,
            3..=6 => Weather::BAD,
            _ => Weather::WORST,
        };
        let restarts = options
            .restarts
            .unwrap_or_else(|| random.pick(&[0, 0, 1, 3]));
        // Who was known would have to be learned anew.
        let restarts = if options.crowd.is_some() { 0 } else { restarts };
        let mut times: Vec<(Tick, usize, u8)> = (0..restarts)
            .map(|_| {
                let at = Tick::ms(1_000 + random.between(0, options.spread_ms));
                let number = usize::try_from(random.between(0, u64::from(boxes) - 1)).unwrap_or(0);
                (at, number, u8::try_from(random.between(1, 4)).unwrap_or(1))
            })
            .collect();
        times.sort_unstable();
        let session_s = match options.scenarios.sessions {
            true => random.pick(&[0, 0, 90, 1_800]),
            false => 0,
        };
        let capacity = match options {
            Options {
                crowd: Some(Crowd::Storm),
                ..
            } => STORM,
            Options {
                crowd: Some(Crowd::Registers),
                ..
            } => registers(options.calls, workers),
            Options { crowded: true, .. } => SCARCE,
            _ => ample(workers),
        };
        // Without state there is no Record-Route, and a box in between would have to know all
        // parties.
        let stateless = options.scenarios.stateless && boxes == 1 && random.happens(120);
        let stateless = stateless && options.crowd.is_none();
        let mut random = Random::part(options.seed, 4);
        let has_domain = options.scenarios.subscribers && !options.crowded && random.happens(700);
        let domain = match options.crowd {
            Some(_) => Some(Authentication::default()),
            None => has_domain.then(|| draw_authentication(&mut random)),
        };
        // In the worst of weathers so many calls would need more relay ports than the lab has.
        let weather = match options.crowd {
            Some(_) => random.pick(&[Weather::FAIR, Weather::BAD]),
            None => weather,
        };
        let moods = match options.crowd {
            Some(Crowd::Storm) => Moods(STORM_MOODS.to_vec()),
            Some(Crowd::Registers) => Moods::default(),
            None => draw_moods(&mut random, options.spread_ms),
        };
        // What is drawn above does not depend on this.
        let mut random = Random::part(options.seed, 6);
        let location = match options.crowd {
            Some(_) => Location::Nowhere,
            None => random.pick(&[
                Location::Nowhere,
                Location::Own,
                Location::Own,
                Location::Shared,
            ]),
        };
        let location_moods = draw_moods(&mut random, options.spread_ms);
        let mut sites = sites(&labs, session_s, stateless, domain);
        sites[0].location = location;
        if options.crowd.is_some() {
            sites.iter_mut().for_each(|site| site.relay = STORM_RELAY);
        }
        Profile {
            sites,
            workers,
            make: Make {
                capacity,
                mtu: options.mtu,
            },
            weather: options.weather.unwrap_or(weather),
            restarts: times,
            moods,
            location_moods,
        }
    }
}

/// The store answers after 2 s, then for 30 s not at all, then as before.
const STORM_MOODS: [(Tick, Mood); 3] = [
    (Tick::ms(3_000), Mood::Slow),
    (Tick::ms(8_000), Mood::Stopped),
    (Tick::ms(38_000), Mood::Quick),
];

/// Relay ports for as many calls, those that rest after a call included.
const STORM_RELAY: [(u16, u16); 2] = [(10_000, 39_999); 2];

/// Tables for 400 calls a second, each with all that lingers of it. Of the transactions one in 16
/// lingers for who is refused, and that must be all: a copy of what is refused without one is judged anew.
const STORM: Capacity = Capacity {
    transactions: 131_072,
    calls: 16_384,
    kept: KeptConfig::new(32_768, 4),
    subscribers: 32_768,
    nonces: 32_768,
    tickets: 8_192,
    bindings: 16_384,
};

/// Tables in which each user has a contact and a nonce, and is known; a worker may have a few more of
/// them than others.
fn registers(calls: usize, workers: u8) -> Capacity {
    let users = u32::try_from(calls.div_ceil(2)).unwrap_or(u32::MAX);
    let share = users / u32::from(workers);
    let most = share + share / 16 + 1_024;
    Capacity {
        bindings: most,
        subscribers: 2 * most,
        nonces: 2 * most,
        ..ample(workers)
    }
}

/// Half of the domains believe for a short time, so that subscribers are asked for again.
fn draw_authentication(random: &mut Random) -> Authentication {
    let common = Authentication::default();
    match random.happens(500) {
        true => common,
        false => Authentication {
            nonce_s: 20,
            lifetimes: Lifetimes {
                known_ms: 8_000,
                unknown_ms: 3_000,
            },
            ..common
        },
    }
}

fn draw_moods(random: &mut Random, spread_ms: u64) -> Moods {
    let quick = Mood::Quick;
    let mut moods = Vec::new();
    let mut at_ms = 1_000;
    while at_ms < 1_000 + spread_ms {
        let mood = random.pick(&[
            quick,
            quick,
            quick,
            quick,
            quick,
            Mood::Slow,
            Mood::Stopped,
            Mood::Unavailable,
        ]);
        moods.push((Tick::ms(at_ms), mood));
        at_ms += match mood {
            Mood::Stopped => random.between(500, 12_000),
            _ => random.between(500, 5_000),
        };
    }
    moods.push((Tick::ms(at_ms), quick));
    Moods(moods)
}

/// Tables that a burst of calls fills.
const SCARCE: Capacity = Capacity {
    transactions: 512,
    calls: 128,
    kept: KeptConfig::new(1_024, 4),
    ..Capacity::SMALL
};

/// Tables for all calls of a run, less for each worker where there are more.
const fn ample(workers: u8) -> Capacity {
    let share = match workers {
        1 => 8_192,
        2 => 6_144,
        _ => 4_096,
    };
    Capacity {
        transactions: share,
        calls: share / 4,
        kept: KeptConfig::new(share, 4),
        nonces: share,
        tickets: share / 4,
        ..Capacity::SMALL
    }
}

/// Half of the boxes stand in the plain lab, the others have IPv6 or tags on either side, and
/// some of those both sides on one device.
pub(super) fn draw_lab(random: &mut Random) -> Lab {
    if random.between(0, 1) == 0 {
        return Lab::PLAIN;
    }
    let mut side = || Side {
        ipv6: random.between(0, 1) == 1,
        vlan: match random.between(0, 3) {
            0 => VlanStack::one(100),
            1 => VlanStack::one(200),
            2 => VlanStack::two(TPID_8021AD, 200, 100),
            _ => VlanStack::NONE,
        },
    };
    let sides = [side(), side()];
    Lab {
        sides,
        shared: sides[0].vlan != sides[1].vlan && random.between(0, 1) == 1,
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Weather {
            loss,
            duplicate,
            reorder,
            damage,
            delay_ms_max,
        } = self.weather;
        let (boxes, workers) = (self.sites.len(), self.workers);
        write!(
            out,
            "{boxes} boxes of {workers} workers, {} restarts, per mille {loss} lost {duplicate} \
             twice {reorder} late {damage} damaged, up to {delay_ms_max} ms{}",
            self.restarts.len(),
            match (self.is_stateless(), self.sites[0].domain) {
                (true, _) => ", without state",
                (false, Some(_)) => ", with subscribers",
                (false, None) => "",
            }
        )?;
        match self.sites[0].kept() {
            Location::Nowhere => Ok(()),
            Location::Own => out.write_str(" who are kept"),
            Location::Shared => out.write_str(" who are kept for others too"),
        }
    }
}
