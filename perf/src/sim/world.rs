//! A whole run: the boxes, the network, the agents, and the checks after every step.
//!
//! - `cast`: who takes part in a call; `called`: the phones of users; `crowd`: where all are subscribers
//! - `answers`: what the store tells the workers; `users`: what the location store does
//! - `wire`: the ends of the network; `outcome`: what a call must have come to

mod answers;
mod called;
mod cast;
mod crowd;
mod outcome;
mod users;
mod wire;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::tick::Tick;

use self::wire::call_of;
use super::Options;
use super::agent::Agent;
use super::boxes::Boxed;
use super::ladder;
use super::ladder::Rung;
use super::location::Location;
use super::network::Body;
use super::network::Network;
use super::network::Packet;
use super::oracle::Fault;
use super::oracle::Oracle;
use super::phone::Phone;
use super::plan::Plan;
use super::profile::Profile;
use super::random::Random;
use super::random::TraceHash;
use super::site::Site;
use super::store::Store;

/// When the first call may begin.
const BEGIN: Tick = Tick::ms(1_000);
/// A call is forgotten when nothing was said in it for so long: the longest of the timers
/// with which a transaction lingers, and a little.
const QUIET_MS: u64 = 40_000;
/// How long after the last call the boxes must be at rest.
const REST_MS: u64 = 60_000;
/// Steps between two audits.
const AUDIT_EVERY: u64 = 1_000;

/// A call that has begun and is not forgotten.
#[derive(Debug)]
struct Call {
    plan: Rc<Plan>,
    agents: Vec<Agent>,
    rungs: Vec<Rung>,
    /// When something was said last.
    last: Tick,
    /// A box has restarted since it began.
    is_cut: bool,
}

impl Call {
    /// Who of its agents sits there.
    fn place(&self, address: IpAddr) -> Option<usize> {
        self.agents
            .iter()
            .position(|agent| agent.who.address.ip() == address)
    }
}

/// A run under way.
#[derive(Debug)]
pub struct World {
    options: Options,
    profile: Profile,
    now: Tick,
    steps: u64,
    boxes: Vec<Boxed>,
    oracles: Vec<Oracle>,
    network: Network,
    store: Store,
    location: Location,
    /// By the user's name.
    phones: HashMap<String, Rc<RefCell<Phone>>>,
    /// By number; what is over is dropped.
    calls: Vec<Option<Box<Call>>>,
    alive: usize,
    /// When agents want to act: call and place among its agents.
    agenda: BinaryHeap<Reverse<(Tick, usize, usize)>>,
    /// When calls are looked at, in order.
    quiet: VecDeque<(Tick, usize)>,
    restarts: VecDeque<(Tick, usize, u8)>,
    random: Random,
    trace: TraceHash,
    /// The ladders of calls that are over, where they are asked for.
    drawn: Option<String>,
    /// That of the call that is followed, once it is over.
    followed: String,
    out: Vec<Packet>,
    left: Vec<(usize, Packet)>,
}

impl World {
    /// Makes the boxes of a seed.
    ///
    /// # Errors
    /// Where they cannot be made.
    pub fn new(options: Options, ladders: bool) -> Result<World, String> {
        let profile = Profile::draw(&options);
        let mut random = Random::part(options.seed, 1);
        let mut boxes = Vec::new();
        for site in &profile.sites {
            boxes.push(Boxed::new(
                *site,
                profile.make,
                profile.workers,
                random.next(),
            )?);
        }
        let oracle = |site: &Site| Oracle::new(*site, profile.workers, options.crowded);
        let mut world = World {
            now: BEGIN,
            steps: 0,
            oracles: profile.sites.iter().map(oracle).collect(),
            boxes,
            network: Network::new(profile.weather, Random::part(options.seed, 2)),
            store: Store::new(profile.moods.clone(), Random::part(options.seed, 5)),
            location: Location::new(
                profile.location_moods.clone(),
                Random::part(options.seed, 7),
            ),
            phones: HashMap::new(),
            calls: Vec::with_capacity(options.calls),
            alive: 0,
            agenda: BinaryHeap::new(),
            quiet: VecDeque::new(),
            restarts: profile.restarts.clone().into(),
            random,
            trace: TraceHash::default(),
            drawn: ladders.then(String::new),
            followed: String::new(),
            out: Vec::new(),
            left: Vec::new(),
            profile,
            options,
        };
        world.warm_up();
        world.begin_location();
        Ok(world)
    }

    /// Steps taken.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The time it is.
    #[must_use]
    pub const fn now(&self) -> Tick {
        self.now
    }

    /// The hash over all that happened.
    #[must_use]
    pub const fn trace(&self) -> TraceHash {
        self.trace
    }

    /// What was drawn for the seed.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The ladders of the calls that are over.
    #[must_use]
    pub fn ladders(&mut self) -> String {
        self.drawn.take().unwrap_or_default()
    }

    /// What a call that is not over was to do, and what was said in it.
    #[must_use]
    pub fn describe(&self, call: usize) -> String {
        self.calls
            .get(call)
            .and_then(Option::as_ref)
            .map_or_else(String::new, |known| {
                format!(
                    "call {call}: {:?}\n{}",
                    known.plan,
                    ladder::draw(&known.rungs)
                )
            })
    }

    /// The ladder of the call that is followed, once it is over.
    #[must_use]
    pub fn followed(&self) -> &str {
        &self.followed
    }

    /// SIP and media packets that the boxes sent.
    #[must_use]
    pub fn sent(&self) -> (u64, u64) {
        let sip = self.oracles.iter().map(|oracle| oracle.sip_count).sum();
        let media = self.oracles.iter().map(Oracle::media_count).sum();
        (sip, media)
    }

    /// Goes on to the next thing that happens; false where nothing will.
    ///
    /// # Errors
    /// What was violated.
    pub fn step(&mut self) -> Result<bool, Fault> {
        if self.calls.len() == self.options.calls && self.alive == 0 {
            return Ok(false);
        }
        let due = self.next_due();
        self.steps += 1;
        // Nobody is punctual: what comes within a few milliseconds comes as one batch.
        self.now = Tick(self.now.max(due).0 + self.random.between(0, 3_000_000));
        self.restart_boxes()?;
        self.answer_questions();
        self.tell_locations();
        let mut arrived = Vec::new();
        while let Some(packet) = self.network.take(self.now) {
            arrived.push(packet);
        }
        // A worker reads its mail, which ICMP errors are, before it looks at its frames.
        arrived.sort_by_key(|packet| !matches!(packet.body, Body::Unreachable(_)));
        for packet in &arrived {
            self.arrive(packet)?;
        }
        self.begin_calls();
        self.fire_agents()?;
        self.turn_boxes()?;
        for oracle in &mut self.oracles {
            oracle.check_waiting(self.now)?;
        }
        if self.steps.is_multiple_of(AUDIT_EVERY) {
            self.each_box(|boxed| boxed.audit())?;
        }
        self.forget_calls()?;
        Ok(true)
    }

    /// When something happens next, among agents, network and timers of the boxes.
    fn next_due(&self) -> Tick {
        let agents = self
            .agenda
            .peek()
            .map_or(Tick::NEVER, |Reverse((at, ..))| *at);
        let begin = if self.calls.len() < self.options.calls {
            self.begins(self.calls.len())
        } else {
            Tick::NEVER
        };
        let quiet = self.quiet.front().map_or(Tick::NEVER, |(at, _)| *at);
        let restart = self.restarts.front().map_or(Tick::NEVER, |(at, ..)| *at);
        let boxes = self.boxes.iter().map(|boxed| boxed.due(self.now)).min();
        let outside = agents
            .min(self.network.due())
            .min(begin)
            .min(quiet)
            .min(restart)
            .min(self.store.due())
            .min(self.location.due());
        outside.min(boxes.unwrap_or(Tick::NEVER))
    }

    /// When a call begins.
    fn begins(&self, number: usize) -> Tick {
        let spread_us = self.options.spread_ms * 1_000;
        let (number, calls) = (number as u64, self.options.calls.max(1) as u64);
        Tick(BEGIN.0 + spread_us * number / calls * 1_000)
    }

    fn fire_agents(&mut self) -> Result<(), Fault> {
        while let Some(&Reverse((at, number, place))) = self.agenda.peek() {
            if at > self.now {
                break;
            }
            self.agenda.pop();
            let Some(call) = self.calls.get_mut(number).and_then(Option::as_mut) else {
                continue;
            };
            let agent = &mut call.agents[place];
            // It has changed its mind since.
            if agent.due() != at && agent.due() > self.now {
                continue;
            }
            let fired = agent.fire(self.now, &mut self.out);
            fired.map_err(about(number))?;
            self.note(number, place);
            self.send_all(Some(number))?;
        }
        Ok(())
    }

    /// An agent has acted: when it wants to act next.
    fn note(&mut self, number: usize, place: usize) {
        if let Some(call) = self.calls.get_mut(number).and_then(Option::as_mut) {
            call.last = self.now;
            let due = call.agents[place].due();
            if due != Tick::NEVER {
                self.agenda.push(Reverse((due, number, place)));
            }
        }
    }

    // --- The boxes --------------------------------------------------------------

    fn restart_boxes(&mut self) -> Result<(), Fault> {
        while let Some(&(at, number, workers)) = self.restarts.front() {
            if at > self.now {
                break;
            }
            self.restarts.pop_front();
            self.boxes[number]
                .restart(workers)
                .map_err(Fault::general)?;
            for (at, oracle) in self.oracles.iter_mut().enumerate() {
                if at == number {
                    oracle.restarts(self.now, workers);
                } else {
                    oracle.neighbour_restarts();
                }
            }
            if number == 0 {
                self.store.forget();
                self.begin_location();
            }
            self.trace.word(at.0);
            for call in self.calls.iter_mut().flatten() {
                call.is_cut = true;
                call.agents.iter_mut().for_each(|agent| agent.is_cut = true);
            }
        }
        Ok(())
    }

    fn turn_boxes(&mut self) -> Result<(), Fault> {
        for at in 0..self.boxes.len() {
            if !self.boxes[at].wants(self.now) {
                continue;
            }
            let mut left = std::mem::take(&mut self.left);
            let turned =
                self.boxes[at].turn(self.now, &mut self.random, &mut self.trace, &mut left);
            for (side, packet) in left.drain(..) {
                let number = call_of(&packet);
                let seen = self.oracles[at].leaves(self.now, side, &packet);
                let to_box = self.box_at(packet.destination.ip()).is_some();
                if let Some(call) = number.and_then(|n| self.calls.get_mut(n)?.as_mut()) {
                    call.last = self.now;
                }
                self.send(packet, number, to_box);
                seen.map_err(|fault| in_box(at, &fault))?;
            }
            self.left = left;
            turned.map_err(|why| in_box(at, &Fault::general(why)))?;
            self.take_questions(at)?;
            self.take_locations(at)?;
            self.oracles[at]
                .check_waiting(self.now)
                .map_err(|fault| in_box(at, &fault))?;
            self.oracles[at]
                .settle()
                .map_err(|fault| in_box(at, &fault))?;
            let sums = self.boxes[at].check_sums();
            sums.map_err(|why| in_box(at, &Fault::general(why)))?;
        }
        Ok(())
    }

    fn each_box(&mut self, check: impl Fn(&mut Boxed) -> Result<(), String>) -> Result<(), Fault> {
        for (at, boxed) in self.boxes.iter_mut().enumerate() {
            check(boxed).map_err(|why| in_box(at, &Fault::general(why)))?;
        }
        Ok(())
    }

    // --- The ends ---------------------------------------------------------------

    /// Looks at calls in which nothing has been said for long.
    fn forget_calls(&mut self) -> Result<(), Fault> {
        while let Some(&(at, number)) = self.quiet.front() {
            if at > self.now {
                break;
            }
            self.quiet.pop_front();
            let Some(call) = self.calls[number].as_ref() else {
                continue;
            };
            let busy = call.agents.iter().any(|agent| agent.due() != Tick::NEVER);
            let quiet = self
                .oracles
                .iter()
                .all(|oracle| oracle.is_quiet(number, self.now));
            let since = call.last.plus_ms(QUIET_MS);
            if busy || !quiet || since > self.now {
                // Looked at in order: not before any that was put back earlier.
                let again = since.max(self.now.plus_ms(5_000));
                let at = self.quiet.partition_point(|(at, _)| *at <= again);
                self.quiet.insert(at, (again, number));
                continue;
            }
            for at in 0..self.oracles.len() {
                self.oracles[at]
                    .forget(number)
                    .map_err(|fault| in_box(at, &fault))?;
            }
            self.check_outcome(call).map_err(about(number))?;
            if self.options.follow == Some(number) {
                self.followed = self.describe(number);
            }
            if let Some(drawn) = &mut self.drawn {
                drawn.push_str(&format!(
                    "call {number}: {:?}\n{}",
                    call.plan,
                    ladder::draw(&call.rungs)
                ));
            }
            self.calls[number] = None;
            self.alive -= 1;
        }
        Ok(())
    }

    /// All is said: the boxes must be as they were.
    ///
    /// # Errors
    /// What is left.
    pub fn finish(&mut self) -> Result<Counters, Fault> {
        let end = self.now.plus_ms(REST_MS);
        while self.now < end {
            self.answer_questions();
            self.tell_locations();
            let due = self.boxes.iter().map(|boxed| boxed.due(self.now)).min();
            let due = due.unwrap_or(Tick::NEVER).min(self.location.due());
            self.now = due.max(self.now.plus_ms(1)).min(end);
            self.turn_boxes()?;
        }
        self.each_box(Boxed::check_rest)?;
        let mut total = Counters::default();
        for boxed in &mut self.boxes {
            total.merge(&boxed.counters());
        }
        Ok(total)
    }
}

fn in_box(at: usize, fault: &Fault) -> Fault {
    let name = if at == 0 { 'A' } else { 'B' };
    Fault {
        call: fault.call,
        why: format!("box {name}: {fault}"),
    }
}

fn about(call: usize) -> impl Fn(String) -> Fault {
    move |why| Fault {
        call: Some(call),
        why,
    }
}
