//! A run: the box, the phones, the registrar, the network between them, and the checks after each step.

use std::collections::VecDeque;
use std::net::SocketAddr;

use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::frame::KeptConfig;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::settings::Authentication;
use trunkline_dataplane::settings::Capacity;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::tick::Tick;

use super::oracle::Oracle;
use super::phone::Phone;
use super::registrar::Mood;
use super::registrar::Registrar;
use super::registrar::token_in;
use crate::sim::Failure;
use crate::sim::Options;
use crate::sim::Summary;
use crate::sim::boxes::Boxed;
use crate::sim::boxes::Make;
use crate::sim::network::Body;
use crate::sim::network::Network;
use crate::sim::network::Packet;
use crate::sim::network::Sent;
use crate::sim::network::Weather;
use crate::sim::oracle::Fault;
use crate::sim::profile::draw_lab;
use crate::sim::random::Random;
use crate::sim::random::TraceHash;
use crate::sim::site::CALLEE;
use crate::sim::site::PHONES;
use crate::sim::site::Site;
use crate::sim::site::sites;

/// When it begins.
const BEGIN: Tick = Tick::ms(1_000);
/// What lingers of a transaction is gone after so long, and a little.
const REST_MS: u64 = 60_000;
/// Steps between two audits.
const AUDIT_EVERY: u64 = 1_000;
/// How much of what was said is kept, and shown.
const KEPT: usize = 20_000;
const SHOWN: usize = 60;
/// Within so long the registrar's moods change, and the box restarts.
const TROUBLE_MS: u64 = 3_600_000;

/// Tables for the phones of a run, and all that lingers of what they say.
const CAPACITY: Capacity = Capacity {
    transactions: 4_096,
    kept: KeptConfig::new(4_096, 4),
    ..Capacity::SMALL
};

/// A run under way.
#[derive(Debug)]
pub struct World {
    options: Options,
    profile: String,
    now: Tick,
    steps: u64,
    boxed: Boxed,
    oracle: Oracle,
    network: Network,
    phones: Vec<Phone>,
    registrar: Registrar,
    foreign: [Identity; 2],
    /// REGISTERs that have begun.
    begun: usize,
    /// When the last one did.
    last: Tick,
    restarts: VecDeque<(Tick, u8)>,
    random: Random,
    trace: TraceHash,
    said: VecDeque<(Option<usize>, String)>,
    out: Vec<Packet>,
    left: Vec<(usize, Packet)>,
}

impl World {
    /// Draws what the seed says.
    ///
    /// # Errors
    /// Where the box cannot be made.
    pub fn new(options: Options) -> Result<World, String> {
        let mut random = Random::part(options.seed, 8);
        let nat_expires_s = random.pick(&[15, 30, 60, 120]);
        let drawn = random.pick(&[1, 2, 2, 4]);
        let workers = options.workers.unwrap_or(drawn);
        let drawn = random.pick(&[Weather::FAIR, Weather::BAD, Weather::BAD, Weather::WORST]);
        let weather = options.weather.unwrap_or(drawn);
        let drawn = random.pick(&[0, 0, 1, 3]);
        let mut restarts: Vec<_> = (0..options.restarts.unwrap_or(drawn))
            .map(|_| {
                let at = BEGIN.plus_ms(random.between(0, TROUBLE_MS));
                (at, random.pick(&[1, 2, 3, 4]))
            })
            .collect();
        restarts.sort_unstable();
        let lab: Lab = draw_lab(&mut random);
        let site = Site {
            nat_expires_s: Some(nat_expires_s),
            ..sites(&[lab], 0, false, Some(Authentication::default()))[0]
        };
        let make = Make {
            capacity: CAPACITY,
            mtu: options.mtu,
        };
        let boxed = Boxed::new(site, make, workers, random.next())?;
        let settings = site.settings(workers, 0, CAPACITY);
        let listens = [site.listen(0), site.listen(1)];
        let mut others = settings.secrets.clone();
        others.cookie = [[98; 16], [99; 16]];
        let identity = |secrets| Identity::new(WorkerId(0), 0, secrets, &listens);
        let at = |last| SocketAddr::new(site.nets[1].host(last), 5060);
        let moods = draw_moods(&mut random);
        let troubled = moods.len() > 1;
        let registrar = Registrar::new(
            (at(CALLEE), at(CALLEE + 1)),
            listens[1],
            moods,
            BEGIN,
            Random::part(options.seed, 9),
        );
        let phones = 4 + options.calls.min(3_000) / 150;
        let mut world = World {
            profile: format!(
                "an edge of {workers} workers, {} restarts, {phones} phones, per mille {} lost, NATs \
                 of {nat_expires_s} s{}",
                restarts.len(),
                weather.loss,
                match troubled {
                    true => ", a registrar with moods",
                    false => "",
                }
            ),
            now: BEGIN,
            steps: 0,
            boxed,
            oracle: Oracle::new(site, nat_expires_s, at(CALLEE)),
            network: Network::new(weather, Random::part(options.seed, 10)),
            phones: Vec::new(),
            registrar,
            foreign: [identity(&settings.secrets), identity(&others)],
            begun: 0,
            last: BEGIN,
            restarts: restarts.into(),
            random,
            trace: TraceHash::default(),
            said: VecDeque::new(),
            out: Vec::new(),
            left: Vec::new(),
            options,
        };
        for number in 0..phones {
            let at = world.free();
            let chance = Random::part(options.seed, 100 + number as u64);
            world.phones.push(Phone::new(number, at, BEGIN, chance));
        }
        Ok(world)
    }

    /// An address that no phone has: several are behind one NAT.
    fn free(&mut self) -> SocketAddr {
        loop {
            let last = self
                .random
                .between(PHONES.start.into(), u64::from(PHONES.start) + 7);
            let port = self.random.between(10_000, 30_000);
            let ip = self.boxed.site.nets[0].host(u8::try_from(last).unwrap_or(PHONES.start));
            let at = SocketAddr::new(ip, u16::try_from(port).unwrap_or(10_000));
            if self.phones.iter().all(|phone| phone.at != at) {
                return at;
            }
        }
    }

    const fn may_begin(&self) -> bool {
        self.begun < self.options.calls
    }

    /// Goes on to the next thing that happens; false where nothing will.
    ///
    /// # Errors
    /// What was violated.
    pub fn step(&mut self) -> Result<bool, Fault> {
        let waits = self.phones.iter().any(Phone::is_waiting) || self.registrar.is_waiting();
        if !self.may_begin() && !waits && self.network.due() == Tick::NEVER {
            return Ok(false);
        }
        let phones = self.phones.iter();
        let phones = phones.filter(|phone| self.may_begin() || phone.is_waiting());
        let restart = self.restarts.front().map_or(Tick::NEVER, |(at, _)| *at);
        let due = phones.map(Phone::due).min().unwrap_or(Tick::NEVER);
        let due = due
            .min(self.registrar.due())
            .min(self.network.due())
            .min(restart)
            .min(self.boxed.due(self.now));
        self.steps += 1;
        self.now = Tick(self.now.max(due).0 + self.random.between(0, 3_000_000));
        self.restart()?;
        while let Some(packet) = self.network.take(self.now) {
            self.arrive(&packet)?;
        }
        self.fire()?;
        self.turn()?;
        if self.steps.is_multiple_of(AUDIT_EVERY) {
            self.boxed.audit().map_err(Fault::general)?;
        }
        if self.steps > self.options.steps_max {
            return Err(Fault::general("it does not end"));
        }
        Ok(true)
    }

    fn restart(&mut self) -> Result<(), Fault> {
        while let Some(&(at, workers)) = self.restarts.front() {
            if at > self.now {
                break;
            }
            self.restarts.pop_front();
            self.boxed.restart(workers).map_err(Fault::general)?;
            self.oracle.restarts();
            self.trace.word(at.0);
            self.said
                .push_back((None, format!("{} the box restarts", self.now.as_ms())));
        }
        Ok(())
    }

    fn arrive(&mut self, packet: &Packet) -> Result<(), Fault> {
        let to = packet.destination;
        let site = self.boxed.site;
        if (0..2).any(|side| site.listen(side) == to) {
            let taken = self.boxed.inject(packet, &mut self.trace);
            if taken.map_err(Fault::general)? {
                self.oracle.enters(self.now, packet);
            }
            return Ok(());
        }
        let Body::Sip(sip) = &packet.body else {
            return Ok(());
        };
        let heard = if site.side_of(to.ip()) == Some(1) {
            self.registrar.receive(self.now, packet, sip, &mut self.out)
        } else if let Some(phone) = self.phones.iter_mut().find(|phone| phone.at == to) {
            phone.receive(self.now, packet, sip, &mut self.out)
        } else {
            // Its NAT knows nobody by that port any more.
            Ok(())
        };
        let call = sip.call();
        heard.map_err(|why| Fault { call, why })?;
        self.send_all();
        Ok(())
    }

    fn fire(&mut self) -> Result<(), Fault> {
        let listen = self.boxed.site.listen(0);
        for at in 0..self.phones.len() {
            if self.phones[at].due() > self.now {
                continue;
            }
            let (free, may_begin) = (self.free(), self.may_begin());
            let phone = &mut self.phones[at];
            let call = Some(phone.number);
            let begun = phone.fire(self.now, listen, free, may_begin, &mut self.out);
            if begun.map_err(|why| Fault { call, why })? {
                (self.begun, self.last) = (self.begun + 1, self.now);
            }
            self.send_all();
        }
        if self.registrar.due() <= self.now {
            let may_begin = self.may_begin();
            let [own, other] = &self.foreign;
            let foreign = |path: &str| {
                let token = token_in(path);
                let flow = own.read_flow(token.as_bytes());
                let made = flow.map(|flow| other.flow(flow)).unwrap_or([b'0'; _]);
                path.replace(token, &String::from_utf8_lossy(&made))
            };
            let called = self
                .registrar
                .fire(self.now, may_begin, foreign, &mut self.out)
                .map_err(Fault::general)?;
            if let Some((request, trick)) = called {
                self.oracle.is_called(&request, trick);
            }
            self.send_all();
        }
        Ok(())
    }

    fn send_all(&mut self) {
        for packet in std::mem::take(&mut self.out) {
            self.send(packet, true);
        }
    }

    fn send(&mut self, packet: Packet, to_box: bool) {
        let (from, to) = (packet.source, packet.destination);
        let sip = match &packet.body {
            Body::Sip(sip) => sip.clone(),
            _ => return,
        };
        let fate = self.network.send(self.now, packet, to_box);
        let fate = match fate {
            Sent::Once => "",
            Sent::Twice => " twice",
            Sent::Lost => " lost",
            Sent::Damaged => " damaged",
        };
        let (name, cseq, at) = (sip.name(), sip.cseq(), self.now.as_ms());
        let contacts: Vec<_> = sip.all("Contact").collect();
        let line = format!("{at} {from} -> {to} {name} {cseq} {contacts:?}{fate}");
        self.said.push_back((sip.call(), line));
        if self.said.len() > KEPT {
            self.said.pop_front();
        }
    }

    fn turn(&mut self) -> Result<(), Fault> {
        if !self.boxed.wants(self.now) {
            return Ok(());
        }
        let mut left = std::mem::take(&mut self.left);
        let turned = self
            .boxed
            .turn(self.now, &mut self.random, &mut self.trace, &mut left);
        for (side, packet) in left.drain(..) {
            let seen = self.oracle.leaves(self.now, side, &packet, &self.registrar);
            self.send(packet, false);
            seen?;
        }
        self.left = left;
        turned.map_err(Fault::general)?;
        self.oracle.settle()?;
        self.boxed.check_sums().map_err(Fault::general)
    }

    /// All is said: the box must be as it was.
    ///
    /// # Errors
    /// What is left.
    pub fn finish(&mut self) -> Result<Counters, Fault> {
        let end = self.now.plus_ms(REST_MS);
        while self.now < end {
            let due = self.boxed.due(self.now);
            self.now = due.max(self.now.plus_ms(1)).min(end);
            self.turn()?;
        }
        self.boxed.check_rest().map_err(Fault::general)?;
        Ok(self.boxed.counters())
    }

    /// What a run came to.
    pub fn summary(&self, counters: Counters) -> Summary {
        let spared = counters.get(Counter::RegistersSpared);
        let forwarded = counters.get(Counter::RegistersForwarded);
        Summary {
            profile: format!("{}, {spared} spared and {forwarded} not", self.profile),
            steps: self.steps,
            virtual_ms: self.now.as_ms(),
            sent: (self.oracle.sip_count, 0),
            trace: self.trace.0,
            counters,
            ladders: String::new(),
        }
    }

    /// What was violated, with what was last said by the phone concerned.
    pub fn failure(&self, fault: &Fault) -> Failure {
        let of_it = |(call, _): &&(Option<usize>, String)| {
            call.is_none() || fault.call.is_none() || *call == fault.call
        };
        let lines: Vec<_> = self.said.iter().filter(of_it).collect();
        let lines = &lines[lines.len().saturating_sub(SHOWN)..];
        Failure {
            seed: self.options.seed,
            profile: self.profile.clone(),
            step: self.steps,
            why: format!("at {} us: {fault}", self.now.0 / 1_000),
            ladder: lines.iter().map(|(_, line)| format!("{line}\n")).collect(),
        }
    }
}

/// Half of the registrars are always well.
fn draw_moods(random: &mut Random) -> Vec<(Tick, Mood)> {
    let mut moods = vec![(BEGIN, Mood::Well)];
    if random.happens(500) {
        return moods;
    }
    let mut at = BEGIN;
    while at < BEGIN.plus_ms(TROUBLE_MS) {
        at = at.plus_ms(random.between(10_000, 400_000));
        let mood = random.pick(&[
            Mood::Deaf,
            Mood::Mute,
            Mood::Mute,
            Mood::Refuses,
            Mood::Busy,
        ]);
        moods.push((at, mood));
        at = at.plus_ms(random.between(1_000, 60_000));
        moods.push((at, Mood::Well));
    }
    moods
}
