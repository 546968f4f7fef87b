//! A box: its workers on fake rings, and the checks on them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::ids::QueueId;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::kernel::kernel_rings;
use trunkline_dataplane::letters::Told;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::media::CallRef;
use trunkline_dataplane::post;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::ring::FakeConfig;
use trunkline_dataplane::ring::Rings as _;
use trunkline_dataplane::settings::Capacity;
use trunkline_dataplane::sip::effects::Locate;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::identity::Kind;
use trunkline_dataplane::sip::registrar::LETTER_LEN_MAX;
use trunkline_dataplane::sip::undelivered::Undelivered;
use trunkline_dataplane::sip::undelivered::Why;
use trunkline_dataplane::sip::undelivered::read_quote;
use trunkline_dataplane::sys::wake::Wake;
use trunkline_dataplane::tick::Tick;
use trunkline_dataplane::wire;
use trunkline_dataplane::worker::Worker;

use super::frame;
use super::frame::Datagram;
use super::location::Kept;
use super::location::Word;
use super::network;
use super::network::Body;
use super::network::Packet;
use super::random::Random;
use super::random::TraceHash;
use super::rings::Left;
use super::rings::Ordered;
use super::sip::Sip;
use super::site::Site;
use super::store::Answer;
use super::store::Question;

/// Turns of all workers in a step, after which they are said to run in circles.
const ROUNDS_MAX: usize = 64;

/// How a box is made.
#[derive(Clone, Copy, Debug)]
pub struct Make {
    /// How large a worker's tables are.
    pub capacity: Capacity,
    /// The longest IP packet of both links, in bytes.
    pub mtu: u16,
}

/// A box.
#[derive(Debug)]
pub struct Boxed {
    /// Where it stands.
    pub site: Site,
    make: Make,
    workers: Vec<Worker<Ordered>>,
    posts: Vec<ControlPost>,
    boot: u16,
    rss: u64,
    /// What the workers of earlier starts have counted.
    before: Counters,
    /// What they have asked the store since somebody looked.
    pub asked: Vec<Question>,
    /// What they have asked the location store, and by whom.
    pub sought: Vec<(usize, Locate)>,
    /// What they have told of contacts.
    pub told: Vec<(Told, Kept)>,
    /// True where something has come that no turn has seen.
    is_touched: bool,
}

impl Boxed {
    /// A box with empty tables.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn new(site: Site, make: Make, workers: u8, rss: u64) -> Result<Boxed, String> {
        let mut made = Boxed {
            site,
            make,
            workers: Vec::new(),
            posts: Vec::new(),
            boot: 0,
            rss,
            before: Counters::default(),
            asked: Vec::new(),
            sought: Vec::new(),
            told: Vec::new(),
            is_touched: false,
        };
        made.start(workers)?;
        Ok(made)
    }

    /// Ends in the middle of anything, and begins anew with so many workers.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn restart(&mut self, workers: u8) -> Result<(), String> {
        self.before = self.counters();
        self.start(workers)
    }

    fn start(&mut self, workers: u8) -> Result<(), String> {
        self.boot += 1;
        let settings = self.site.settings(workers, self.boot, self.make.capacity);
        let control = Arc::new(Wake::new().map_err(|error| error.to_string())?);
        let (posts, ends) = post::connect(workers, settings.trunks.len(), &control)
            .map_err(|error| error.to_string())?;
        self.workers.clear();
        self.asked.clear();
        self.sought.clear();
        self.told.clear();
        self.posts.clear();
        for (id, (post, mut end)) in (0..workers).zip(posts.into_iter().zip(ends)) {
            let config = FakeConfig {
                queue: QueueId(u16::from(id)),
                ..FakeConfig::default()
            };
            // The rings take it in control's place.
            let kernel = std::mem::replace(&mut end.kernel, kernel_rings(1, 1).1);
            let rings = Ordered::new(config, kernel).map_err(|error| error.to_string())?;
            let network = Box::new(self.site.network(self.make.mtu));
            let worker = Worker::new(WorkerId(id), &settings, rings, network, post);
            self.workers
                .push(worker.map_err(|error| error.to_string())?);
            self.posts.push(end);
        }
        Ok(())
    }

    /// How many workers it has.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// What its workers have counted, those of earlier starts included.
    pub fn counters(&mut self) -> Counters {
        let mut total = self.before.clone();
        for worker in &mut self.workers {
            total.merge(worker.counters());
        }
        total
    }

    /// When one of its workers wants to turn; a moment after `now` where it is due and was
    /// turned already, since the wheel's bucket may hold only timers of later rounds.
    #[must_use]
    pub fn due(&self, now: Tick) -> Tick {
        let due = self
            .workers
            .iter()
            .map(Worker::next_due)
            .min()
            .unwrap_or(Tick::NEVER);
        if due <= now { now.plus_ms(5) } else { due }
    }

    /// True where it has something to do.
    #[must_use]
    pub fn wants(&self, now: Tick) -> bool {
        self.is_touched || self.workers.iter().any(|worker| worker.next_due() <= now)
    }

    /// A datagram arrives; true where the box must take it up: there was room for it in the
    /// rings, and it is not damaged.
    ///
    /// # Errors
    /// Where no frame can be made of it.
    pub fn inject(&mut self, packet: &Packet, trace: &mut TraceHash) -> Result<bool, String> {
        let payload = packet.body.bytes();
        if matches!(packet.body, Body::Unreachable(_)) {
            trace.add(payload);
            self.undelivered(packet.source, payload);
            return Ok(true);
        }
        let mut bytes = frame::build(&self.site, packet.source, packet.destination, payload)?;
        let mut intact = true;
        if let Some(chance) = packet.damage {
            network::damage(&mut bytes, payload.len(), chance);
            // One checksum in 65,536 is what a virtual link leaves unfinished: no box can see the
            // damage, so there is none (it is a bit, turned back).
            intact = wire::parse(&bytes).is_ok_and(|seen| wire::udp_checksum_ok(&bytes, &seen));
            if intact {
                network::damage(&mut bytes, payload.len(), chance);
            }
        }
        trace.add(&bytes);
        let side = self.site.side_of(packet.source.ip()).unwrap_or(0);
        let worker = self.worker_for(packet.source, packet.destination);
        self.is_touched = true;
        let taken = self.workers[worker]
            .rings_mut()
            .inject(self.site.place().device(side), &bytes);
        Ok(taken && intact)
    }

    /// ICMP quotes the front of a message that has not reached `destination`: what control makes
    /// of that.
    fn undelivered(&mut self, destination: SocketAddr, message: &[u8]) {
        let quoted = message
            .len()
            .min(if destination.is_ipv4() { 520 } else { 1_200 });
        let Some((method, branch)) = read_quote(&message[..quoted]) else {
            return;
        };
        let settings = self.site.settings(1, self.boot, self.make.capacity);
        let identity = Identity::new(WorkerId(0), self.boot, &settings.secrets, &[]);
        let Ok(branch) = identity.read_branch(branch) else {
            return;
        };
        let post = self.posts.get_mut(usize::from(branch.worker.0));
        if let Some(post) = post.filter(|_| branch.kind == Kind::Stateful) {
            self.is_touched |= post.mail.post_undelivered(Undelivered {
                branch,
                method,
                destination,
                why: Why::Unreachable,
            });
        }
    }

    /// The store answers a worker; false where its mailbox is full.
    pub fn answer(&mut self, answer: &Answer) -> bool {
        let Some(post) = self.posts.get_mut(answer.to.worker) else {
            return true;
        };
        let mail = Mail::Said {
            question: answer.to.question,
            who: answer.to.who,
            said: answer.said,
        };
        self.is_touched = true;
        post.mail.post(mail).is_ok()
    }

    /// The location store has something to say; false where a mailbox has no room for it.
    pub fn locate(&mut self, word: &Word) -> bool {
        self.is_touched = true;
        match word {
            Word::Bound(kept) => {
                let hash = self.site.place().settings(1).secrets.hash;
                let workers = u8::try_from(self.workers.len()).unwrap_or(1);
                let keeper = kept.keeper(&hash, workers);
                let mail = &mut self.posts[keeper].mail;
                mail.post_binding(Mail::Bound, &kept.record())
            }
            &Word::Sought(worker, of, answered) => {
                let mail = &mut self.posts[worker].mail;
                mail.post(Mail::Sought { of, answered }).is_ok()
            }
            Word::Loaded => {
                let mut posts = self.posts.iter_mut();
                posts.all(|post| post.mail.post(Mail::Loaded).is_ok())
            }
        }
    }

    /// RSS: by the 5-tuple, so that all signalling between two hosts lands on one worker.
    fn worker_for(&self, source: SocketAddr, destination: SocketAddr) -> usize {
        let mut hash = TraceHash(self.rss);
        for address in [source, destination] {
            match address.ip() {
                std::net::IpAddr::V4(ip) => hash.add(&ip.octets()),
                std::net::IpAddr::V6(ip) => hash.add(&ip.octets()),
            }
            hash.word(address.port().into());
        }
        usize::try_from(hash.0 >> 33).unwrap_or(0) % self.workers.len()
    }

    /// Turns the workers, each time in another order, until none finds work; gives what left,
    /// and to which side.
    ///
    /// # Errors
    /// Where they do not come to rest, or something leaves that no receiver would take.
    pub fn turn(
        &mut self,
        now: Tick,
        random: &mut Random,
        trace: &mut TraceHash,
        out: &mut Vec<(usize, Packet)>,
    ) -> Result<(), String> {
        self.is_touched = false;
        for _ in 0..ROUNDS_MAX {
            let first = usize::try_from(random.between(0, 255)).unwrap_or(0);
            let mut worked = false;
            for at in 0..self.workers.len() {
                let at = (first + at) % self.workers.len();
                if self.workers[at].turn(now) {
                    worked = true;
                    self.take_sent(at, now, trace, out)?;
                }
            }
            if !worked {
                return Ok(());
            }
        }
        Err(format!("the workers still work after {ROUNDS_MAX} turns"))
    }

    fn take_sent(
        &mut self,
        worker: usize,
        now: Tick,
        trace: &mut TraceHash,
        out: &mut Vec<(usize, Packet)>,
    ) -> Result<(), String> {
        let site = self.site;
        for left in self.workers[worker].rings_mut().take_left()? {
            trace.word(now.0);
            out.push(match left {
                Left::Frame(device, bytes) => {
                    trace.add(&bytes);
                    let read = frame::read(&site, device, &bytes);
                    read.and_then(|(side, datagram)| Ok((side, packet_of(datagram)?)))
                        .map_err(|why| format!("a frame left: {why}"))?
                }
                // The kernel does, in fragments where it must.
                Left::Message(send, message) => {
                    trace.add(&message);
                    let datagram = Datagram {
                        source: site.listen(usize::from(send.listen.0)),
                        destination: send.to,
                        payload: message,
                    };
                    let side = site.side_of(send.to.ip());
                    let side = side.ok_or("the kernel sends to nowhere")?;
                    (side, packet_of(datagram)?)
                }
            });
        }
        while let Ok(report) = self.posts[worker].reports.pop() {
            match report {
                Report::Ask { question, who } => self.asked.push(Question {
                    worker,
                    question,
                    who,
                }),
                Report::Seek(of) => self.sought.push((worker, of)),
                _ => continue,
            }
            trace.word(now.0);
        }
        let mut room = [0; LETTER_LEN_MAX];
        while let Some((told, record)) = self.posts[worker].letters.take(&mut room) {
            trace.word(record.expires.0);
            let kept = Kept::of(&record).ok_or("a letter that is too long")?;
            self.told.push((told, kept));
        }
        Ok(())
    }

    // --- The checks ---------------------------------------------------------------

    /// Both sums of each worker, and the conservation of its frames.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_sums(&mut self) -> Result<(), String> {
        for (number, worker) in self.workers.iter_mut().enumerate() {
            let ledger = worker.rings_mut().ledger();
            if !ledger.balanced() {
                return Err(format!("worker {number}: frames are lost: {ledger}"));
            }
            if let Some(sums) = worker.counters().unbalanced() {
                return Err(format!("worker {number}: the sums do not hold: {sums:?}"));
            }
        }
        Ok(())
    }

    /// All tables of all workers, and what they have of each other: every flow of a call is
    /// open at every worker, and no other.
    ///
    /// # Errors
    /// What does not hold.
    pub fn audit(&self) -> Result<(), String> {
        let mut owned = Vec::new();
        for (number, worker) in self.workers.iter().enumerate() {
            let audit = worker
                .audit()
                .map_err(|why| format!("worker {number}: {why}"))?;
            owned.extend(audit.flows.into_iter().map(flow));
        }
        owned.sort_unstable();
        for (number, worker) in self.workers.iter().enumerate() {
            let mut open: Vec<_> = worker.flow_slots().map(flow).collect();
            open.sort_unstable();
            if let Some(odd) = first_difference(&open, &owned) {
                let (open, owned) = (open.len(), owned.len());
                return Err(format!(
                    "worker {number}: {open} flows are open, calls have {owned}: {odd:?}"
                ));
            }
        }
        Ok(())
    }

    /// Nothing is left of any call.
    ///
    /// # Errors
    /// What is.
    pub fn check_rest(&mut self) -> Result<(), String> {
        self.audit()?;
        for worker in &self.workers {
            if let Some(call) = worker.audit()?.calls.first() {
                return Err(format!("call {call} is still there"));
            }
        }
        for (number, worker) in self.workers.iter_mut().enumerate() {
            let ledger = worker.rings_mut().ledger();
            if !ledger.at_rest() {
                return Err(format!("worker {number}: frames are not at rest: {ledger}"));
            }
            if worker.ports_in_use() != 0 {
                let count = worker.ports_in_use();
                return Err(format!("worker {number}: {count} media ports are in use"));
            }
            let counters = worker.counters();
            for gauge in [
                Counter::TransactionsNow,
                Counter::CallsNow,
                Counter::FlowsNow,
                Counter::KeptNow,
                Counter::TicketsNow,
                Counter::ContextsNow,
            ] {
                let (name, level) = (gauge.info().name, counters.get(gauge));
                if level != 0 {
                    return Err(format!("worker {number}: {name} is {level} at rest"));
                }
            }
        }
        Ok(())
    }
}

type Flow = (SocketAddr, u8, u32, u32);

fn flow((local, call): (SocketAddr, CallRef)) -> Flow {
    (local, call.owner.0, call.slot, call.generation)
}

fn first_difference<'f>(open: &'f [Flow], owned: &'f [Flow]) -> Option<&'f Flow> {
    let odd = open.iter().zip(owned).find(|(open, owned)| open != owned);
    let rest = open.get(owned.len()).or_else(|| owned.get(open.len()));
    odd.map(|(open, _)| open).or(rest)
}

fn packet_of(datagram: Datagram) -> Result<Packet, String> {
    let body = if datagram.source.port() == 5060 {
        let text = String::from_utf8(datagram.payload).map_err(|error| error.to_string())?;
        Body::Sip(Rc::new(Sip::read(text)?))
    } else {
        Body::Raw(datagram.payload.into())
    };
    Ok(Packet {
        source: datagram.source,
        destination: datagram.destination,
        body,
        damage: None,
    })
}
