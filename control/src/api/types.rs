//! What the operator's socket says, as JSON: written by the daemon, read by
//! `trunkctl` and by anyone's programs. Fields are added, never renamed; a reader
//! passes over what it does not know.

mod bans;
mod control;
mod dossier;
mod location;
mod network;
mod subscribers;
mod trunks;
mod workers;

pub use bans::*;
pub use control::ControlRow;
pub use dossier::*;
pub use location::*;
pub use network::*;
use serde::Deserialize;
use serde::Serialize;
pub use subscribers::*;
pub use trunks::*;
pub use workers::*;

use crate::kernel::Counts;

/// `GET /v1/version`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// `trunklined`
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
}

/// `GET /v1/status`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceStatus>,
    /// The sums that must hold.
    pub sums: Vec<Sum>,
    /// The names of sums that could not be made, since a figure of theirs is missing.
    #[serde(default)]
    pub unchecked: Vec<String>,
    /// False where a worker did not answer in time, or an XDP program's counts could not
    /// be read: figures are missing.
    #[serde(default)]
    pub complete: bool,
    /// What each kind of thread may still do.
    #[serde(default)]
    pub confinement: Vec<Confinement>,
    /// Where contacts of users are kept; nothing where there are none, or nothing keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<LocationStatus>,
    /// How it stands with the subscribers' store; nothing where there is none.
    #[serde(default)]
    pub subscribers: Option<SubscribersStatus>,
    /// What the operator should know and may want to change.
    pub warnings: Vec<String>,
}

/// What a kind of thread may do, as the kernel says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// `control` or `worker`.
    pub thread: String,
    /// Its capabilities.
    pub capabilities: Vec<String>,
    /// True where no program that it might start can have more.
    pub no_new_privs: bool,
    /// Whether its system calls are filtered: `on`, `log` or `off`.
    pub seccomp: String,
    /// What holds for files.
    pub files: String,
}

/// A worker at this moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its number.
    pub id: u8,
    /// The core it is pinned to.
    pub core: Option<u16>,
    /// `busy` or `adaptive`.
    pub poll: String,
    /// Share of the last second spent with work, in percent; none before there was one.
    pub busy_percent: Option<f64>,
    /// Calls alive that it owns.
    pub calls: u64,
    /// Transactions alive that it owns.
    pub transactions: u64,
    /// Media flows in its table, which every worker has in full.
    pub flows: u64,
    /// What its frames lie in: `hugepages` or `ordinary pages`.
    pub memory: String,
}

/// An interface at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The kernel's name of its device.
    pub device: String,
    /// The tags of its frames, outer first: `100`, `200.100`; none without.
    #[serde(default)]
    pub vlan: Option<String>,
    /// `up`, `down`, or `gone`: the device is there no more.
    pub link: String,
    /// How the XDP program is attached: `native` or `generic`.
    pub mode: String,
    /// Why it is generic, where the driver refused native.
    #[serde(default)]
    pub mode_because: Option<String>,
    /// How frames cross to the workers: `zero-copy` or `copy`.
    pub frames: String,
    /// Why they are copied, where that was not everyone's wish.
    #[serde(default)]
    pub frames_because: Option<String>,
    /// Who takes frames off the NIC: `active` (the workers, by busy polling), `off` (the
    /// interrupt), `no effect`, `waits for a packet` (of each queue), or on how many queues it is
    /// active.
    #[serde(default)]
    pub busy_poll: String,
    /// Why it is not active, where it was not turned off.
    #[serde(default)]
    pub busy_poll_because: Option<String>,
    /// Its queues, each with a socket.
    pub queues: u32,
    /// The largest packet it takes.
    pub mtu: u32,
}

/// Two figures that must be the same, to the frame, when nothing is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// What is summed, as in "to send = sent + not sent".
    pub name: String,
    /// The left side.
    pub left: u64,
    /// The right side.
    pub right: u64,
    /// Left less right; 0 is exact.
    pub difference: i64,
}

impl Sum {
    /// The sum of this name.
    #[must_use]
    pub fn new(name: impl Into<String>, left: u64, right: u64) -> Sum {
        let difference = i64::try_from(i128::from(left) - i128::from(right)).unwrap_or(i64::MAX);
        Sum {
            name: name.into(),
            left,
            right,
            difference,
        }
    }

    /// True where both sides are the same.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.difference == 0
    }
}

/// `GET /v1/health`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// True while every worker turns.
    pub healthy: bool,
    /// True where traffic may be sent here: healthy, and every link is up.
    pub ready: bool,
    /// Why not, a sentence each.
    pub reasons: Vec<String>,
}

/// `GET /v1/log`, and the answer to `PUT /v1/log`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// What is logged now.
    pub filter: String,
    /// What was configured at start.
    pub configured: String,
}

/// `PUT /v1/log`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogWish {
    /// What is to be logged; "default" is what was configured.
    pub filter: String,
}

/// `GET /v1/stats`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// What the workers count.
    pub counters: Vec<CounterRow>,
    /// What the XDP programs count, by interface.
    pub xdp: Vec<XdpStats>,
    /// What the kernel counts of each AF_XDP socket.
    pub sockets: Vec<SocketStats>,
    /// What the operator's socket counts.
    pub operator: OperatorStats,
    /// How long the stages took.
    #[serde(default)]
    pub latency: Latency,
    /// What the tables of SIP cost each worker; they are allocated at its start.
    #[serde(default)]
    pub memory: Vec<TableRow>,
    /// The sums that must hold.
    pub sums: Vec<Sum>,
    /// The names of sums that could not be made, since a figure of theirs is missing.
    #[serde(default)]
    pub unchecked: Vec<String>,
    /// False where a worker did not answer in time, or an XDP program's counts could not
    /// be read: figures are missing.
    #[serde(default)]
    pub complete: bool,
}

/// One of the workers' counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRow {
    /// Its name.
    pub name: String,
    /// Where it is counted: `rings`, `network`, `mail`, `SIP`, `media` or `worker`.
    #[serde(default)]
    pub stage: String,
    /// What it means for the sums: `in`, `forwarded`, `dropped`, ...
    pub kind: String,
    /// What a person should know about it.
    pub help: String,
    /// The sum over the workers.
    pub total: u64,
    /// Each worker's, by its number.
    pub workers: Vec<u64>,
}

/// A table of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRow {
    /// Its name.
    pub name: String,
    /// Entries in all.
    pub entries: u64,
    /// Bytes that one costs, with its timer and its places in indices.
    pub entry_bytes: u64,
    /// Bytes of all of it.
    pub bytes: u64,
    /// What a person should know about it.
    pub help: String,
}

/// What an XDP program counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpStats {
    /// The interface's name in the configuration.
    pub interface: String,
    /// Frames that the program saw.
    pub seen: u64,
    /// What it did with them.
    pub verdicts: Vec<VerdictRow>,
}

/// One verdict of an XDP program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRow {
    /// Its name.
    pub name: String,
    /// `pass`, `drop` or `redirect`.
    pub action: String,
    /// What a person should know about it.
    pub help: String,
    /// How often.
    pub count: u64,
}

/// What the kernel counts of an AF_XDP socket (XDP_STATISTICS). The first, the fourth
/// and the fifth overlap: do not add them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketStats {
    /// The interface's name in the configuration.
    pub interface: String,
    /// The queue.
    pub queue: u16,
    /// The worker that owns it.
    pub worker: u8,
    /// Frames dropped for another reason than a full receive ring.
    pub rx_dropped: u64,
    /// Fill entries that named no frame.
    pub rx_invalid_descs: u64,
    /// Transmit descriptors that left their frame.
    pub tx_invalid_descs: u64,
    /// Frames dropped because the worker did not take them in time.
    pub rx_ring_full: u64,
    /// Times the kernel found no frame to receive into.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the kernel found nothing to send.
    pub tx_ring_empty_descs: u64,
    /// Frames that the worker received by it.
    #[serde(default)]
    pub received: u64,
    /// Frames that the worker put on its transmit ring.
    #[serde(default)]
    pub sent: u64,
    /// Of these, those that the driver gave back unsent.
    #[serde(default)]
    pub refused: u64,
    /// System calls to have frames sent.
    #[serde(default)]
    pub kicks: u64,
    /// System calls that failed, because the interface was down or gone.
    #[serde(default)]
    pub kick_errors: u64,
}

/// What the operator's socket and control itself count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorStats {
    /// Connections taken.
    pub connections: u64,
    /// Connections closed because the peer may not use the socket.
    pub refused: u64,
    /// Connections to the address for metrics and probes.
    #[serde(default)]
    pub scrapes: u64,
    /// Connections to it that were closed unheard.
    #[serde(default)]
    pub scrapes_refused: u64,
    /// Captured packets that whoever asked for them did not take in time.
    #[serde(default)]
    pub captures_lost: u64,
    /// Network snapshots handed to the workers.
    pub networks: u64,
    /// Tasks of control that met a bug.
    #[serde(default)]
    pub tasks_failed: u64,
    /// What the workers ask of the subscribers' store.
    #[serde(default)]
    pub store: StoreStats,
    /// What goes to the location store and comes from it.
    #[serde(default)]
    pub location: LocationStats,
    /// What is counted at the kernel's sockets of the listens, each under its own name.
    #[serde(flatten)]
    pub kernel: Counts,
}

/// `GET /v1/calls`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// Every call; with `?subscriber=USER@DOMAIN` those that it has begun.
    pub calls: Vec<Call>,
    /// Who has begun how many of them, most first.
    #[serde(default)]
    pub subscribers: Vec<SubscriberCalls>,
    /// False where a worker did not answer in time: there may be more.
    pub complete: bool,
}

/// How many calls a subscriber has begun that are not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriberCalls {
    /// As in `alice@example.com`.
    pub subscriber: String,
    /// How many.
    pub calls: usize,
    /// How many it may have begun at once; none: any number.
    pub calls_max: Option<u16>,
}

/// A call; with `GET /v1/calls/{id}` its flows as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The Call-ID.
    pub id: String,
    /// The URI of From.
    pub from: String,
    /// The URI of To.
    pub to: String,
    /// `calling`, `early`, `established` or `ended`.
    pub state: String,
    /// Seconds since its INVITE.
    pub age_s: f64,
    /// Seconds since it was answered.
    pub talk_s: Option<f64>,
    /// The worker that owns it.
    pub worker: u8,
    /// The subscriber that began it, where one did.
    #[serde(default)]
    pub subscriber: Option<String>,
    /// The trunk that called.
    pub caller: Option<String>,
    /// The trunk that was called.
    pub callee: Option<String>,
    /// Its media streams.
    pub streams: Vec<Stream>,
}

/// A media stream of a call: the caller's side and the callee's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The caller's side.
    pub caller: Leg,
    /// The callee's side.
    pub callee: Leg,
}

/// One side of a media stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// Our relay port on that side, for RTP.
    pub relay: String,
    /// Where that side wants its media; none: on hold, or not known yet.
    pub peer: Option<String>,
    /// The flows that come in by the relay port and the one above it.
    pub flows: Vec<Flow>,
}

/// `GET /v1/flows`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// Every flow, its counts summed over the workers.
    pub flows: Vec<Flow>,
    /// False where a worker did not answer in time: there may be more.
    pub complete: bool,
}

/// One direction of a media stream through one relay port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The port it comes in by.
    pub local: String,
    /// `rtp`, `rtcp` or `rtp+rtcp`.
    pub kind: String,
    /// Who may send to it; none: no one yet.
    pub source: Option<String>,
    /// Where it goes; none: nowhere yet, or on hold.
    pub destination: Option<String>,
    /// The port it leaves by.
    pub relay: String,
    /// The worker that owns its call.
    pub owner: u8,
    /// Packets that came in.
    pub packets_in: u64,
    /// Packets forwarded.
    pub packets_out: u64,
    /// Packets dropped; in = out + dropped.
    pub packets_dropped: u64,
    /// Bytes of UDP payload forwarded.
    pub octets_out: u64,
}

/// What goes with a status other than 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong, in a sentence.
    pub error: String,
    /// True where it is the path that is wrong, and not what it names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_such_path: bool,
}

/// `GET /v1/latency`: how long the stages of a packet's way through a worker take, sampled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many seconds "recent" reaches back.
    pub recent_s: u64,
    /// By stage, in the order in which packets pass them.
    pub stages: Vec<LatencyRow>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyRow {
    /// Its name.
    pub stage: String,
    /// What is timed.
    pub help: String,
    /// Of late.
    pub recent: Percentiles,
    /// Since the daemon started.
    pub since_start: Percentiles,
}

/// How long something took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Of how many.
    pub samples: u64,
    /// Half of them took no longer.
    pub p50_us: f64,
    /// Nine in ten.
    pub p90_us: f64,
    /// 99 in 100.
    pub p99_us: f64,
    /// 999 in 1,000.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// `GET /v1/talkers`: who sent most SIP of late, sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Talkers {
    /// How many seconds it reaches back.
    pub recent_s: u64,
    /// Most first.
    pub talkers: Vec<Talker>,
}

/// A source of SIP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Talker {
    /// Its address.
    pub address: String,
    /// Messages in the sample.
    pub messages: u64,
    /// Those of them that were dropped.
    pub dropped: u64,
    /// Its share of the sampled messages.
    pub share_percent: f64,
}
