//! The worker: one pinned thread, its rings, its calls, its copy of every flow.
//!
//! A turn reads top-down: take the batch, then the mail, then look at each frame, act,
//! fire timers, push. Mail is read after the batch was taken, so that no packet that a
//! message caused can meet a worker that does not know its flow.

use std::net::SocketAddr;

use crate::capture::Captures;
use crate::capture::Direction;
use crate::counters::Counter;
use crate::counters::Counters;
use crate::counters::Kind;
use crate::counters::trunks::TrunkCounters;
use crate::frame::Frame;
use crate::ids::InterfaceIndex;
use crate::ids::Lane;
use crate::ids::WorkerId;
use crate::interfaces::Interfaces;
use crate::limits::BATCH;
use crate::limits::DATAGRAM_LEN_MAX;
use crate::limits::HOUSEKEEPING_NS;
use crate::limits::RESUMED_PER_TURN;
use crate::limits::SLEEP_NS_MAX;
use crate::limits::SPIN_NS;
use crate::limits::TIMERS_PER_TURN;
use crate::media::CallRef;
use crate::media::FlowTable;
use crate::media::GROWTH_MAX;
use crate::media::RangeError;
use crate::media::Relayed;
use crate::media::Slot;
use crate::media::rtcp;
use crate::post::WorkerPost;
use crate::ring::Received;
use crate::ring::Rings;
use crate::route::Network;
use crate::samples::Stage;
use crate::samples::Stopwatch;
use crate::settings::Settings;
use crate::sip::effects::Effects;
use crate::sip::proxy::Arrival;
use crate::sip::proxy::Audit;
use crate::sip::proxy::Proxy;
use crate::sip::proxy::Step;
use crate::sys::clock;
use crate::sys::memory::bytes;
use crate::sys::memory::list;
use crate::sys::memory::touch_stack;
use crate::tick::Tick;
use crate::triage::Verdict;
use crate::triage::media_drop;
use crate::triage::triage;
use crate::wire::Datagram;

mod act;
mod capture;
mod egress;
mod location;
mod mail;
mod operator;
mod sip;

use self::operator::Operator;

/// How a worker waits for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// It never sleeps: for a core of its own.
    Busy,
    /// It spins for a moment, then sleeps until a frame, mail or a timer wakes it.
    Adaptive,
    /// It sleeps as soon as there is no work: for a core that others need.
    Interrupt,
}

impl Poll {
    /// How long it spins without work before it sleeps; `None` where it never does.
    const fn spin_ns(self) -> Option<u64> {
        match self {
            Poll::Busy => None,
            Poll::Adaptive => Some(SPIN_NS),
            Poll::Interrupt => Some(0),
        }
    }
}

/// A worker over real rings or fake ones.
#[derive(Debug)]
pub struct Worker<R: Rings> {
    listens: Vec<SocketAddr>,
    advertised: Vec<SocketAddr>,
    interfaces: Interfaces,
    rings: R,
    batch: Vec<Received>,
    proxy: Proxy,
    flows: FlowTable,
    network: Box<Network>,
    post: WorkerPost,
    effects: Effects,
    counters: Counters,
    /// The bytes of the mail being read.
    letter: Box<[u8]>,
    operator: Operator,
    stopwatch: Stopwatch,
    kept_house: Tick,
    stopped: bool,
}

impl<R: Rings> Worker<R> {
    /// Allocates and touches everything; from here on nothing is allocated.
    ///
    /// # Errors
    /// Media ranges that overlap or are too many.
    pub fn new(
        id: WorkerId,
        settings: &Settings,
        rings: R,
        network: Box<Network>,
        post: WorkerPost,
    ) -> Result<Worker<R>, RangeError> {
        let ranges: Vec<_> = settings
            .media
            .iter()
            .map(|range| (range.address, range.ports.clone()))
            .collect();
        let interfaces = Interfaces::new(&settings.interfaces);
        Ok(Worker {
            listens: settings
                .listens
                .iter()
                .map(|listen| listen.address)
                .collect(),
            advertised: settings
                .listens
                .iter()
                .map(|listen| listen.advertised)
                .collect(),
            rings,
            batch: list(BATCH),
            proxy: Proxy::new(id, settings),
            flows: FlowTable::new(&ranges, &interfaces.vlans())?,
            interfaces,
            network,
            post,
            effects: Effects::default(),
            counters: Counters::default(),
            letter: bytes(DATAGRAM_LEN_MAX),
            operator: Operator::default(),
            stopwatch: Stopwatch::default(),
            kept_house: Tick(0),
            stopped: false,
        })
    }

    /// Turns until control says stop. The last counts are published before it returns.
    pub fn run(mut self, poll: Poll) {
        touch_stack();
        let mut now = clock::now();
        let mut idle_since = now;
        let spin_ns = poll.spin_ns();
        while !self.stopped {
            let worked = self.turn(now);
            let after = clock::now();
            if worked {
                self.counters.add(Counter::BusyNs, after.since(now));
                idle_since = after;
            } else if spin_ns.is_some_and(|spin_ns| after.since(idle_since) >= spin_ns) {
                self.sleep(after);
                idle_since = clock::now();
            } else {
                std::hint::spin_loop();
            }
            now = clock::now().max(after);
        }
        while self.tell_bindings() {} // It was acknowledged.
        self.publish();
    }

    /// One turn; false where there was nothing to do.
    pub fn turn(&mut self, now: Tick) -> bool {
        self.counters.count(Counter::Turns);
        let mut batch = std::mem::take(&mut self.batch);
        self.rings.receive(&mut batch);
        let mut worked = !batch.is_empty();
        if worked || self.post.has_mail() {
            self.stopwatch.begin(now);
        }
        worked |= self.read_mail(now);
        for received in batch.drain(..) {
            self.take_up(received, now);
        }
        self.batch = batch;
        worked |= self.resume(now);
        worked |= self.fire_timers(now);
        worked |= self.pay_debts(now);
        worked |= self.answer_operator(now);
        worked |= self.proxy.seek_lost();
        worked |= self.tell_bindings();
        worked |= self.post.tap.is_on() && self.seek_captured_calls();
        self.post.flush();
        self.rings.flush();
        self.stopwatch.end();
        if now.since(self.kept_house) >= HOUSEKEEPING_NS {
            self.kept_house = now;
            self.end_captures(now);
            self.proxy.sweep(now, &mut self.counters);
            self.publish();
        }
        worked
    }

    /// When the worker wants to turn again without being woken.
    #[must_use]
    pub fn next_due(&self) -> Tick {
        self.proxy.next_due()
    }

    /// The rings, for tests and the simulator.
    pub fn rings_mut(&mut self) -> &mut R {
        &mut self.rings
    }

    /// Pairs of media ports that calls hold now: none at rest.
    #[must_use]
    pub fn ports_in_use(&self) -> usize {
        self.proxy.ports_in_use()
    }

    /// Walks all tables of the SIP core.
    ///
    /// # Errors
    /// What does not hold, see [`Proxy::audit`].
    pub fn audit(&self) -> Result<Audit, String> {
        self.proxy.audit()
    }

    /// The local address of every flow that is open here, and its call.
    pub fn flow_slots(&self) -> impl Iterator<Item = (SocketAddr, CallRef)> {
        let reports = self.flows.reports(0, self.flows.slot_count());
        reports.map(|report| (report.spec.local, report.spec.call))
    }

    /// The counts of each trunk as they are now.
    #[must_use]
    pub fn trunk_counters(&self) -> &TrunkCounters {
        self.proxy.trunk_counters()
    }

    /// The counts as they are now.
    pub fn counters(&mut self) -> &Counters {
        self.gauge();
        &self.counters
    }

    /// What a frame is decides what becomes of it; each ends in one outcome.
    fn take_up(&mut self, received: Received, now: Tick) {
        let Received { frame, device } = received;
        self.counters.count(Counter::Rx);
        let bytes = self.rings.bytes(&frame);
        match triage(bytes, device, &self.interfaces, &self.listens, &self.flows) {
            Verdict::Media(interface, slot, datagram) => {
                self.stopwatch.start();
                self.relay(frame, (interface, slot), &datagram, now);
                self.stopwatch.lap(Stage::MediaRelay);
                self.stopwatch.media();
            }
            Verdict::Sip(interface, listen, datagram) => {
                let arrival = Arrival {
                    source: datagram.src(),
                    listen,
                };
                let outcome = match self.turned_away(arrival.source.ip(), now) {
                    Some(outcome) => outcome,
                    None => self.take_up_sip(&frame, interface, &datagram, arrival, now),
                };
                let dropped = outcome.info().kind == Kind::Dropped;
                self.stopwatch.heard(arrival.source.ip(), dropped);
                // What is handed over goes on at its owner's.
                if outcome != Counter::MailedToOwner {
                    self.stopwatch.sip();
                }
                self.counters.count(outcome);
                self.rings.free(frame);
            }
            Verdict::Drop(reason) => {
                self.counters.count(reason);
                self.rings.free(frame);
            }
        }
    }

    /// Rewrites a media packet where it is and sends the same frame on.
    fn relay(
        &mut self,
        mut frame: Frame,
        (from, slot): (InterfaceIndex, Slot),
        datagram: &Datagram,
        now: Tick,
    ) {
        let captures = if self.post.tap.takes_media() {
            self.capture_media(&frame, from, datagram, now)
        } else {
            Captures::default()
        };
        let checksum = self.interfaces.get(from).checksum;
        // The kernel leaves far more than that before each frame.
        if !frame.grow_front(GROWTH_MAX) {
            self.counters.count(Counter::MediaTooLarge);
            self.rings.free(frame);
            return;
        }
        let room = self.rings.bytes_mut(&mut frame);
        let network = &self.network;
        match self.flows.relay_at(slot, room, datagram, network, checksum) {
            Relayed::Forward {
                interface,
                start,
                frame_len,
            } => {
                let is_rtcp = room
                    .get(GROWTH_MAX + datagram.headers_len() + 1)
                    .is_some_and(|&b| rtcp::is_packet_type(b));
                // Padding that it came with does not go on.
                let _ = frame.shrink_front(start) && frame.set_len(frame_len);
                if !captures.is_empty() {
                    self.copy_media(captures, Direction::Out, &frame, interface, now);
                }
                let lane = Lane::of_media(datagram.dst().port());
                let device = self.interfaces.get(interface).device;
                match self.rings.transmit(device, lane, frame) {
                    Ok(()) if is_rtcp => self.counters.count(Counter::RtcpForwarded),
                    Ok(()) => self.counters.count(Counter::RtpForwarded),
                    Err(frame) => {
                        self.flows.not_sent(datagram);
                        self.counters.count(Counter::MediaTxFull);
                        self.rings.free(frame);
                    }
                }
            }
            Relayed::Drop { reason, solicit } => {
                self.counters.count(media_drop(reason));
                self.rings.free(frame);
                if let Some(solicit) = solicit {
                    self.solicit(solicit.interface, solicit.address);
                }
            }
        }
    }

    /// Has requests go on that have waited for what is known now, a bounded number a turn.
    fn resume(&mut self, now: Tick) -> bool {
        for resumed in 0..RESUMED_PER_TURN {
            let mut step = Step {
                now,
                effects: &mut self.effects,
                counters: &mut self.counters,
            };
            if !self.proxy.resume(&mut step) {
                return resumed > 0;
            }
            self.carry_out(now);
        }
        true
    }

    /// Fires the timers that are due, a bounded number a turn.
    fn fire_timers(&mut self, now: Tick) -> bool {
        for fired in 0..TIMERS_PER_TURN {
            let mut step = Step {
                now,
                effects: &mut self.effects,
                counters: &mut self.counters,
            };
            if !self.proxy.fire(&mut step) {
                return fired > 0;
            }
            self.carry_out(now);
        }
        true
    }

    /// Sleeps until there is something to do, unless there is already.
    fn sleep(&mut self, now: Tick) {
        self.publish();
        let until_due = self.proxy.next_due().since(now);
        if until_due == 0 || self.post.has_backlog() || self.operator.is_busy() {
            return;
        }
        self.post.wake.prepare();
        // Whoever wrote before the flag was up did not wake us: look again.
        if !self.rings.idle() || self.post.has_mail() {
            self.post.wake.cancel();
            return;
        }
        self.counters.count(Counter::Sleeps);
        self.rings
            .wait(&self.post.wake, until_due.min(SLEEP_NS_MAX));
    }

    fn publish(&mut self) {
        self.gauge();
        self.post.published.publish(&self.counters);
        self.post
            .published_trunks
            .publish(self.proxy.trunk_counters_mut());
    }

    fn gauge(&mut self) {
        self.proxy.gauge(&mut self.counters);
        self.counters
            .set(Counter::FlowsNow, self.flows.open_count() as u64);
        let ledger = self.rings.ledger();
        for (counter, frames) in [
            (Counter::FramesTotal, ledger.total),
            (Counter::FramesFree, ledger.free),
            (Counter::FramesFill, ledger.fill),
            (Counter::FramesHeld, ledger.held),
            (Counter::FramesRx, ledger.rx),
            (Counter::FramesTx, ledger.tx),
            (Counter::FramesCompletion, ledger.completion),
        ] {
            self.counters.set(counter, u64::from(frames));
        }
    }
}
