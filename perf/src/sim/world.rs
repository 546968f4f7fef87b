//! A whole run: the workers, the network, the parties, and the checks after every step.

use std::sync::Arc;

use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::QueueId;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::limits::SIP_LEN_MAX;
use trunkline_dataplane::post;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::ring::Fake;
use trunkline_dataplane::ring::FakeConfig;
use trunkline_dataplane::ring::Rings as _;
use trunkline_dataplane::sys::wake::Wake;
use trunkline_dataplane::tick::Tick;
use trunkline_dataplane::wire::VlanStack;
use trunkline_dataplane::wire::vlan::TPID_8021AD;
use trunkline_dataplane::worker::Worker;

use super::Options;
use super::frame;
use super::frame::Datagram;
use super::frame::side_of;
use super::ladder::Rung;
use super::ladder::Side;
use super::media;
use super::network::Arrival;
use super::network::Network;
use super::oracle::Fault;
use super::oracle::Oracle;
use super::party::Party;
use super::plan::Plan;
use super::random::Random;
use super::random::TraceHash;
use super::sip::Sip;

/// How long after the last word of the parties the box must be at rest: Timer H, J, L or M
/// and a little.
const REST_MS: u64 = 40_000;
/// The longest that a box may wait for a callee that fell silent under loss: Timer C, then
/// 64·T1 for the CANCEL.
const REST_MS_LOSSY: u64 = 181_000 + 32_000 + REST_MS;
/// Turns of all workers in a step, after which they are said to run in circles.
const ROUNDS_MAX: usize = 64;

/// A run under way.
#[derive(Debug)]
pub struct World {
    options: Options,
    lab: Lab,
    now: Tick,
    steps: u64,
    workers: Vec<Worker<Fake>>,
    posts: Vec<ControlPost>,
    network: Network,
    parties: Vec<[Party; 2]>,
    oracle: Oracle,
    rungs: Vec<Vec<Rung>>,
    random: Random,
    rss: u64,
    trace: TraceHash,
    last_word: Tick,
}

impl World {
    /// Makes the box and the calls of a seed.
    ///
    /// # Errors
    /// Where the box cannot be made.
    pub fn new(options: Options) -> Result<World, String> {
        let mut random = Random::new(options.seed);
        let lab = options.lab.unwrap_or_else(|| lab_of(options.seed));
        let (workers, posts) = make_workers(&options, &lab)?;
        let parties: Vec<[Party; 2]> = (0..options.calls)
            .map(|number| {
                let plan = Plan::draw(&mut random);
                let start = Tick::ms(1_000 + random.between(0, options.spread_ms));
                [Side::Caller, Side::Callee]
                    .map(|side| Party::new(lab, side, number, plan, start, &mut random))
            })
            .collect();
        Ok(World {
            now: Tick::ms(1_000),
            steps: 0,
            workers,
            posts,
            network: Network::new(options.weather, random.next()),
            rungs: vec![Vec::new(); options.calls],
            parties,
            oracle: Oracle::new(lab),
            lab,
            rss: random.next(),
            random,
            trace: TraceHash::default(),
            last_word: Tick(0),
            options,
        })
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

    /// What was said in a call.
    #[must_use]
    pub fn rungs(&self, call: usize) -> &[Rung] {
        self.rungs.get(call).map_or(&[], Vec::as_slice)
    }

    /// What a call was to do.
    #[must_use]
    pub fn plan(&self, call: usize) -> Option<Plan> {
        self.parties.get(call).map(|[caller, _]| caller.plan)
    }

    /// SIP and media packets that the box sent.
    #[must_use]
    pub const fn sent(&self) -> (u64, u64) {
        (self.oracle.sip_count, self.oracle.media_count)
    }

    /// Goes on to the next thing that happens; false where nothing will.
    ///
    /// # Errors
    /// What was violated.
    pub fn step(&mut self) -> Result<bool, Fault> {
        let Some(due) = self.next_due() else {
            return Ok(false);
        };
        self.steps += 1;
        // Nobody is punctual: what comes within a few milliseconds comes as one batch.
        self.now = Tick(self.now.max(due).0 + self.random.between(0, 3_000_000));
        let mut out = Vec::new();
        while let Some(arrival) = self.network.take(self.now) {
            self.arrive(arrival, &mut out)?;
        }
        for number in 0..self.parties.len() {
            for side in [0, 1] {
                let party = &mut self.parties[number][side];
                if party.due() <= self.now {
                    party.fire(self.now, &mut out).map_err(about(number))?;
                }
            }
        }
        self.send_all(out)?;
        self.turn_workers()?;
        self.oracle.settle()?;
        self.check_sums()?;
        Ok(true)
    }

    /// When something happens next, among parties, network and timers of the box.
    fn next_due(&self) -> Option<Tick> {
        let parties = self.parties.iter().flatten().map(Party::due).min();
        let outside = parties.unwrap_or(Tick::NEVER).min(self.network.due());
        let box_due = self
            .workers
            .iter()
            .map(Worker::next_due)
            .min()
            .unwrap_or(Tick::NEVER);
        // The wheel's bucket may hold only timers of later rounds: look again a bucket on.
        let box_due = if box_due <= self.now {
            self.now.plus_ms(5)
        } else {
            box_due
        };
        let due = outside.min(box_due);
        let over = outside == Tick::NEVER && self.now > self.last_word.plus_ms(REST_MS_LOSSY);
        (due != Tick::NEVER && !over).then_some(due)
    }

    // --- The network's ends -----------------------------------------------------

    fn arrive(&mut self, arrival: Arrival, out: &mut Vec<Datagram>) -> Result<(), Fault> {
        match arrival {
            Arrival::AtBox {
                device,
                frame,
                datagram,
                damaged,
            } => {
                self.trace.add(&frame);
                let worker = self.worker_for(&datagram);
                let taken = self.workers[worker].rings_mut().inject(device, &frame);
                if taken && !damaged {
                    let side = side_of(&self.lab, datagram.source.ip());
                    self.oracle.enters(side, &datagram);
                }
                Ok(())
            }
            Arrival::AtParty(datagram) => self.arrive_at_party(&datagram, out),
        }
    }

    fn arrive_at_party(
        &mut self,
        datagram: &Datagram,
        out: &mut Vec<Datagram>,
    ) -> Result<(), Fault> {
        let side = side_of(&self.lab, datagram.destination.ip());
        if datagram.destination.port() != 5060 {
            let Some(label) = media::read(&datagram.payload) else {
                return Ok(());
            };
            let party = self.party(label.call, side)?;
            return party.receive_media(datagram).map_err(about(label.call));
        }
        let sip = Sip::read(&datagram.payload).map_err(|why| Fault { call: None, why })?;
        let call = sip.call().ok_or_else(|| Fault {
            call: None,
            why: "no call".to_owned(),
        })?;
        let now = self.now;
        self.party(call, side)?
            .receive(now, &sip, out)
            .map_err(about(call))
    }

    fn party(&mut self, call: usize, side: Side) -> Result<&mut Party, Fault> {
        let parties = self.parties.get_mut(call);
        let party = parties.map(|parties| &mut parties[side as usize]);
        party.ok_or(Fault {
            call: None,
            why: format!("there is no call {call}"),
        })
    }

    /// What the parties said goes into the network.
    fn send_all(&mut self, out: Vec<Datagram>) -> Result<(), Fault> {
        for datagram in out {
            self.last_word = self.now;
            let side = side_of(&self.lab, datagram.source.ip());
            let sip = (datagram.destination.port() == 5060)
                .then(|| Sip::read(&datagram.payload))
                .transpose()
                .map_err(|why| Fault {
                    call: None,
                    why: format!("a party sent no SIP: {why}"),
                })?;
            let frame =
                frame::build(&self.lab, &datagram).map_err(|why| Fault { call: None, why })?;
            let arrival = Arrival::AtBox {
                device: self.lab.device(side as usize),
                frame,
                datagram,
                damaged: false,
            };
            let fate = self.network.send(self.now, arrival);
            if let Some(sip) = sip {
                self.draw(&sip, side, false, fate);
            }
        }
        Ok(())
    }

    fn draw(&mut self, sip: &Sip, side: Side, by_box: bool, fate: &'static str) {
        let at = self.now;
        if let Some(rungs) = sip.call().and_then(|call| self.rungs.get_mut(call)) {
            rungs.push(Rung {
                at,
                side,
                by_box,
                name: sip.name(),
                fate,
            });
        }
    }

    /// RSS: by the 5-tuple, so that all signalling of a side lands on one worker.
    fn worker_for(&self, datagram: &Datagram) -> usize {
        let mut hash = TraceHash(self.rss);
        for address in [datagram.source, datagram.destination] {
            hash.add(address.ip().to_string().as_bytes());
            hash.add(&address.port().to_be_bytes());
        }
        usize::try_from(hash.0 >> 33).unwrap_or(0) % self.workers.len()
    }

    // --- The box ----------------------------------------------------------------

    /// Turns the workers, each time in another order, until none finds work.
    fn turn_workers(&mut self) -> Result<(), Fault> {
        for _ in 0..ROUNDS_MAX {
            let first = usize::try_from(self.random.between(0, 255)).unwrap_or(0);
            let mut worked = false;
            for at in 0..self.workers.len() {
                let at = (first + at) % self.workers.len();
                worked |= self.workers[at].turn(self.now);
                self.take_sent(at)?;
            }
            if !worked {
                return Ok(());
            }
        }
        Err(Fault {
            call: None,
            why: format!("the workers still work after {ROUNDS_MAX} turns"),
        })
    }

    fn take_sent(&mut self, worker: usize) -> Result<(), Fault> {
        let mut sent: Vec<(DeviceIndex, Vec<u8>)> = Vec::new();
        self.workers[worker]
            .rings_mut()
            .take_sent(&mut |device, bytes| sent.push((device, bytes.to_vec())));
        for (device, bytes) in sent {
            self.trace.add(&self.now.0.to_be_bytes());
            self.trace.add(&bytes);
            let read = frame::read(&self.lab, device, &bytes);
            let (side, datagram) = read.map_err(|why| Fault {
                call: None,
                why: format!("a frame left: {why}"),
            })?;
            self.leave(side, datagram)?;
        }
        self.take_sent_by_kernel(worker)
    }

    /// What the kernel is to send for a worker: it does, in fragments where it must.
    fn take_sent_by_kernel(&mut self, worker: usize) -> Result<(), Fault> {
        let mut room = vec![0; SIP_LEN_MAX];
        while let Some((send, message)) = self.posts[worker].kernel.take(&mut room) {
            self.trace.add(&self.now.0.to_be_bytes());
            self.trace.add(message);
            let datagram = Datagram {
                source: self.lab.listen(usize::from(send.listen.0)),
                destination: send.to,
                payload: message.to_vec(),
            };
            let side = side_of(&self.lab, send.to.ip());
            self.leave(side, datagram)?;
        }
        Ok(())
    }

    fn leave(&mut self, side: Side, datagram: Datagram) -> Result<(), Fault> {
        let sip = (datagram.source.port() == 5060).then(|| Sip::read(&datagram.payload));
        let seen = self.oracle.leaves(self.now, side, &datagram);
        let fate = self.network.send(self.now, Arrival::AtParty(datagram));
        if let Some(Ok(sip)) = sip {
            self.draw(&sip, side, true, fate);
        }
        seen
    }

    /// Both sums of each worker, and the conservation of its frames.
    fn check_sums(&mut self) -> Result<(), Fault> {
        for (number, worker) in self.workers.iter_mut().enumerate() {
            let fault = |what: String| Fault {
                call: None,
                why: format!("worker {number}: {what}"),
            };
            let ledger = worker.rings_mut().ledger();
            if !ledger.balanced() {
                return Err(fault(format!("frames are lost: {ledger}")));
            }
            if let Some(sums) = worker.counters().unbalanced() {
                return Err(fault(format!("the sums do not hold: {sums:?}")));
            }
        }
        Ok(())
    }

    // --- The end ----------------------------------------------------------------

    /// All is said: the box must be as it was, and each call must have come to what it was
    /// to come to.
    ///
    /// # Errors
    /// What is left, or did not happen.
    pub fn finish(&mut self) -> Result<Counters, Fault> {
        let rest_ms = if self.options.weather.loss == 0 {
            REST_MS
        } else {
            REST_MS_LOSSY
        };
        if self.now > self.last_word.plus_ms(rest_ms) {
            let why = format!("the box was not at rest {rest_ms} ms after the last word");
            return Err(Fault { call: None, why });
        }
        let mut total = Counters::default();
        for number in 0..self.workers.len() {
            let worker = &mut self.workers[number];
            worker.turn(self.now);
            let fault = |what: String| Fault {
                call: None,
                why: format!("worker {number}: {what}"),
            };
            let ledger = worker.rings_mut().ledger();
            if !ledger.at_rest() {
                return Err(fault(format!("frames are not at rest: {ledger}")));
            }
            if worker.ports_in_use() != 0 {
                return Err(fault(format!(
                    "{} media ports are in use",
                    worker.ports_in_use()
                )));
            }
            let counters = worker.counters();
            for gauge in [
                Counter::TransactionsNow,
                Counter::CallsNow,
                Counter::FlowsNow,
                Counter::KeptNow,
            ] {
                if counters.get(gauge) != 0 {
                    return Err(fault(format!(
                        "{} is {} at rest",
                        gauge.info().name,
                        counters.get(gauge)
                    )));
                }
            }
            total.merge(counters);
        }
        for post in &mut self.posts {
            while post.reports.pop().is_ok() {}
        }
        for [caller, callee] in &self.parties {
            check_outcome(caller, callee, &self.options).map_err(about(caller.number))?;
        }
        Ok(total)
    }
}

fn make_workers(
    options: &Options,
    lab: &Lab,
) -> Result<(Vec<Worker<Fake>>, Vec<ControlPost>), String> {
    let settings = lab.settings(options.workers);
    let control = Arc::new(Wake::new().map_err(|error| error.to_string())?);
    let (posts, ends) = post::connect(options.workers, settings.trunks.len(), &control)
        .map_err(|error| error.to_string())?;
    let mut workers = Vec::new();
    for (id, post) in (0..options.workers).zip(posts) {
        let config = FakeConfig {
            queue: QueueId(u16::from(id)),
            ..FakeConfig::default()
        };
        let rings = Fake::new(config).map_err(|error| error.to_string())?;
        let network = Box::new(lab.network(1, options.mtu, &lab.everybody()));
        let worker = Worker::new(WorkerId(id), &settings, rings, network, post);
        workers.push(worker.map_err(|error| error.to_string())?);
    }
    Ok((workers, ends))
}

/// Half of the seeds run in the plain lab, the others with IPv6 or tags on either side, and
/// some of those with both sides on one device.
fn lab_of(seed: u64) -> Lab {
    // Chance of its own: what is drawn for the calls does not depend on the lab.
    let mut random = Random::new(seed ^ 0x6c61_6273);
    if random.between(0, 1) == 0 {
        return Lab::PLAIN;
    }
    let mut side = || lab::Side {
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

fn about(call: usize) -> impl Fn(String) -> Fault {
    move |why| Fault {
        call: Some(call),
        why,
    }
}

/// What a call must have come to. Where packets are lost some end otherwise, and may.
fn check_outcome(caller: &Party, callee: &Party, options: &Options) -> Result<(), String> {
    if caller.is_waiting() || callee.is_waiting() {
        return Err("a request still waits for its end".to_owned());
    }
    // The box is the next hop: of ten repetitions one gets through in any weather simulated.
    if callee.lacks_an_ack() {
        return Err("the callee's failure was never acknowledged".to_owned());
    }
    let weather = options.weather;
    let plan = caller.plan;
    let expected: &[u16] = match plan {
        Plan::Refused(status) => &[status],
        Plan::Cancel | Plan::EarlyCancel => &[487],
        Plan::CancelRace => &[487, 200],
        Plan::Silent => &[408],
        _ => &[200],
    };
    let outcome = caller.outcome();
    if options.crowded && outcome == Some(503) {
        return Ok(());
    }
    if weather.loss == 0 && weather.damage == 0 {
        if !outcome.is_some_and(|status| expected.contains(&status)) {
            return Err(format!("{plan:?} ended with {outcome:?}"));
        }
        if plan.is_answered() && !(caller.hung_up && callee.hung_up) {
            return Err(format!("{plan:?} was not hung up on both sides"));
        }
        if plan.is_answered() && (caller.media_in == 0 || callee.media_in == 0) {
            return Err(format!("{plan:?} went without media"));
        }
    }
    Ok(())
}
