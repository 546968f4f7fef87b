//! The loads of a whole worker, calls between two scripted agents and media packets of an
//! open call, and a list of all loads.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::post;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::ring::Fake;
use trunkline_dataplane::ring::FakeConfig;
use trunkline_dataplane::settings::Abuse;
use trunkline_dataplane::settings::Capacity;
use trunkline_dataplane::sys::wake::Wake;
use trunkline_dataplane::tick::Tick;
use trunkline_dataplane::worker::Worker;

use super::crowd;
use super::engine;
use super::subscribers;
use crate::sim::agent::Agent;
use crate::sim::agent::Who;
use crate::sim::frame;
use crate::sim::frame::Datagram;
use crate::sim::media;
use crate::sim::media::Fate;
use crate::sim::network::Packet;
use crate::sim::plan::Plan;
use crate::sim::random::Random;
use crate::sim::sip::Sip;
use crate::sim::site::Site;

/// What can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Scans of an INVITE.
    Scan,
    /// Calls through the SIP engine alone.
    EngineCall,
    /// Retransmissions of an INVITE.
    Retransmission,
    /// Challenges to subscribers.
    Challenge,
    /// Requests of a known subscriber.
    LetIn,
    /// Registrations of a known subscriber.
    Register,
    /// Calls, from INVITE to the end of their timers.
    Call,
    /// RTP packets, in batches.
    Rtp,
    /// RTP packets, one a turn.
    RtpAlone,
    /// Turns without work.
    Turn,
    /// Calls through the engine while a hundred stand.
    CrowdFew,
    /// Calls through the engine while half a million stand.
    CrowdMany,
}

/// Packets of a batch.
const BATCH: u64 = 32;

impl Load {
    /// All that are gated; a crowd takes minutes.
    pub const ALL: [Load; 10] = [
        Load::Scan,
        Load::EngineCall,
        Load::Retransmission,
        Load::Challenge,
        Load::LetIn,
        Load::Register,
        Load::Call,
        Load::Rtp,
        Load::RtpAlone,
        Load::Turn,
    ];

    /// Its name in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Load::Scan => "scan",
            Load::EngineCall => "engine_call",
            Load::Retransmission => "retransmission",
            Load::Challenge => "challenge",
            Load::LetIn => "let_in",
            Load::Register => "register",
            Load::Call => "call",
            Load::Rtp => "rtp",
            Load::RtpAlone => "rtp_alone",
            Load::Turn => "turn",
            Load::CrowdFew => "crowd_few",
            Load::CrowdMany => "crowd_many",
        }
    }

    /// What it is, for a person.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Load::Scan => "an INVITE of 700 bytes scanned",
            Load::EngineCall => {
                "a call through the SIP engine alone: six messages in, seven out, all timers"
            }
            Load::Retransmission => "an INVITE that came again, answered with the 100 again",
            Load::Challenge => "a REGISTER without credentials, challenged by two algorithms",
            Load::LetIn => {
                "a MESSAGE of a known subscriber, verified by SHA-256, sent on, and its 200"
            }
            Load::Register => "a contact registered again, verified by SHA-256, and its 200",
            Load::Call => {
                "a call: INVITE 100 180 200 ACK BYE 200, SDP both ways, 4 flows, all timers"
            }
            Load::Rtp => "a relayed G.711 packet, 32 a turn, on fake rings",
            Load::RtpAlone => "the same, one a turn",
            Load::Turn => "a turn without work",
            Load::CrowdFew => "a call without SDP through the engine while 100 stand",
            Load::CrowdMany => "the same while 500,000 stand",
        }
    }

    /// True where half a million calls are to stand first.
    pub(crate) const fn prepares_for_long(self) -> bool {
        matches!(self, Load::CrowdFew | Load::CrowdMany)
    }

    /// True where passwords are verified.
    pub(crate) const fn hashes(self) -> bool {
        matches!(self, Load::LetIn | Load::Register)
    }

    /// The two lengths whose difference is counted.
    pub(crate) const fn lengths(self) -> [u64; 2] {
        match self {
            Load::Scan | Load::Retransmission | Load::Challenge => [1_000, 3_000],
            Load::EngineCall | Load::Call | Load::LetIn | Load::Register => [400, 600],
            Load::Rtp | Load::RtpAlone => [3_200, 9_600],
            Load::Turn => [1_000, 3_000],
            Load::CrowdFew | Load::CrowdMany => [0, 500],
        }
    }
}

/// Carries `count` of the load named `name`.
///
/// # Errors
/// Where there is no such load, or it does not run as it should.
pub fn work(name: &str, count: u64) -> anyhow::Result<()> {
    let crowds = [Load::CrowdFew, Load::CrowdMany];
    let mut loads = Load::ALL.into_iter().chain(crowds);
    let load = loads.find(|load| load.name() == name);
    let load = load.with_context(|| format!("{name} is no load"))?;
    match load {
        Load::Scan => engine::scan(count),
        Load::EngineCall => engine::calls(count),
        Load::Retransmission => engine::retransmissions(count),
        Load::Challenge => subscribers::challenges(count),
        Load::LetIn => subscribers::let_in(count),
        Load::Register => subscribers::registers(count),
        Load::CrowdFew | Load::CrowdMany => crowd::work(load, count),
        load => on_worker(load, count),
    }
}

fn on_worker(load: Load, count: u64) -> anyhow::Result<()> {
    let mut bench = Bench::new()?;
    match load {
        Load::Scan
        | Load::EngineCall
        | Load::Retransmission
        | Load::Challenge
        | Load::LetIn
        | Load::Register
        | Load::CrowdFew
        | Load::CrowdMany => Ok(()),
        Load::Call => (0..count).try_for_each(|number| bench.call(number)),
        Load::Rtp => bench.media(count, BATCH),
        Load::RtpAlone => bench.media(count, 1),
        Load::Turn => {
            (0..count).for_each(|_| bench.turn());
            Ok(())
        }
    }
}

/// One turn of the worker: all that is counted.
#[inline(never)]
fn measured_turn(worker: &mut Worker<Fake>, now: Tick) -> bool {
    std::hint::black_box(worker.turn(now))
}

struct Bench {
    worker: Worker<Fake>,
    /// Keeps the other ends of the mailboxes.
    _post: ControlPost,
    now: Tick,
    sent: Vec<Datagram>,
    random: Random,
}

impl Bench {
    fn new() -> anyhow::Result<Bench> {
        let mut settings = lab::settings(1);
        settings.abuse = Abuse::default();
        settings.capacity = Capacity::SMALL;
        let control = Arc::new(Wake::new()?);
        let (mut posts, mut ends) = post::connect(1, settings.trunks.len(), &control)?;
        let rings = Fake::new(FakeConfig::default())?;
        let network = Box::new(lab::network(1, 1500, &lab::everybody()));
        let post = posts.pop().context("no post")?;
        Ok(Bench {
            worker: Worker::new(WorkerId(0), &settings, rings, network, post)?,
            _post: ends.pop().context("no post")?,
            now: Tick::ms(1_000),
            sent: Vec::new(),
            random: Random::new(1),
        })
    }

    fn inject(&mut self, source: SocketAddr, to: SocketAddr, payload: &[u8]) -> anyhow::Result<()> {
        let bytes = frame::build(&Site::PLAIN, source, to, payload).map_err(anyhow::Error::msg)?;
        let side = Site::PLAIN.side_of(source.ip()).unwrap_or(0);
        let device = Site::PLAIN.place().device(side);
        let taken = self.worker.rings_mut().inject(device, &bytes);
        anyhow::ensure!(taken, "the rings are full");
        Ok(())
    }

    fn turn(&mut self) {
        measured_turn(&mut self.worker, self.now);
        let sent = &mut self.sent;
        self.worker.rings_mut().take_sent(&mut |device, bytes| {
            let read = frame::read(&Site::PLAIN, device, bytes);
            sent.extend(read.map(|(_, datagram)| datagram));
        });
    }

    /// Lets time pass; the worker turns whenever a timer is due.
    fn pass_to(&mut self, end: Tick) {
        while self.now < end {
            // A bucket of the wheel may hold only timers of a later round: look at the next.
            let due = self.worker.next_due().max(Tick(self.now.0 + 4_200_000));
            self.now = due.min(end);
            if due <= end {
                self.turn();
            }
        }
    }

    /// A call from its INVITE to the answer to its BYE, both parties in one place.
    fn call(&mut self, number: u64) -> anyhow::Result<()> {
        let begin = self.now;
        let mut parties = self.parties(usize::try_from(number)?);
        let ended = |parties: &[Agent; 2]| {
            parties
                .iter()
                .all(|party| party.has_hung_up() && !party.is_waiting())
        };
        while !ended(&parties) {
            let due = parties.iter().map(Agent::due).min().unwrap_or(Tick::NEVER);
            anyhow::ensure!(due < begin.plus_ms(60_000), "call {number} does not end");
            self.pass_to(due);
            self.exchange(&mut parties)?;
        }
        Ok(())
    }

    /// Carries messages back and forth until both parties wait.
    fn exchange(&mut self, parties: &mut [Agent; 2]) -> anyhow::Result<()> {
        let mut out = Vec::new();
        for party in &mut *parties {
            if party.due() <= self.now {
                party.fire(self.now, &mut out).map_err(anyhow::Error::msg)?;
            }
        }
        while !out.is_empty() {
            for packet in std::mem::take(&mut out) {
                let Packet {
                    source,
                    destination,
                    body,
                    ..
                } = packet;
                self.inject(source, destination, body.bytes())?;
                self.turn();
            }
            for datagram in std::mem::take(&mut self.sent) {
                let side = Site::PLAIN.side_of(datagram.destination.ip()).unwrap_or(0);
                let sip = String::from_utf8(datagram.payload).map_err(anyhow::Error::msg)?;
                let sip = Rc::new(Sip::read(sip).map_err(anyhow::Error::msg)?);
                let heard = parties[side].receive(self.now, datagram.source, &sip, &mut out);
                heard.map_err(anyhow::Error::msg)?;
            }
        }
        Ok(())
    }

    fn parties(&mut self, call: usize) -> [Agent; 2] {
        let plan = Rc::new(Plan::BARE);
        [0, 1].map(|side: u8| {
            let at = usize::from(side);
            let who = Who {
                call,
                number: side,
                address: lab::PEERS[at],
                next: lab::LISTENS[at],
                plan: plan.clone(),
                phone: None,
            };
            Agent::new(who, self.now, Random::new(self.random.next()))
        })
    }

    /// Opens a call by hand and sends `count` RTP packets of its caller.
    fn media(&mut self, count: u64, batch: u64) -> anyhow::Result<()> {
        let mut parties = self.parties(0);
        while !parties[1].is_acknowledged() {
            let due = parties.iter().map(Agent::due).min().unwrap_or(Tick::NEVER);
            self.pass_to(due);
            self.exchange(&mut parties)?;
        }
        let relay = SocketAddr::new(lab::LISTENS[0].ip(), lab::MEDIA_PORTS[0].0);
        let payload = media::rtp(Fate::Passes, 0, 0, 1);
        let source = parties[0].media_address();
        for _ in 0..count / batch {
            for _ in 0..batch {
                self.inject(source, relay, &payload)?;
            }
            self.turn();
            let relayed = std::mem::take(&mut self.sent).len();
            anyhow::ensure!(
                relayed as u64 == batch,
                "{relayed} of {batch} packets were relayed"
            );
        }
        Ok(())
    }
}
