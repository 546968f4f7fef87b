//! The running engine, as control has it in hand.
//!
//! Everything that control knows of the workers is in one [`Desk`] on the control
//! thread: their mailboxes, the XDP programs, the questions under way. The operator's
//! socket, the netlink mirror and the kernel's sockets are tasks beside it that speak
//! to it over bounded channels. So nothing here is locked.

mod asking;
mod captures;
mod desk;
mod devices;
mod health;
mod kernel;
mod locating;
mod pace;
mod queries;
mod reports;
mod sampling;
#[cfg(test)]
pub(crate) mod tests;
mod view;
mod workers;

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

pub use captures::Packet;
pub use captures::TooMany;
pub use captures::Wish;
pub use desk::Desk;
pub use desk::Final;
use devices::Devices;
pub use health::TURN_MAX;
pub use health::Turning;
pub use kernel::Kernel;
pub use locating::Location;
pub use locating::Names;
pub use queries::Answers;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::sip::guard::Source;
use trunkline_dataplane::sip::proxy::memory::Table;
use trunkline_dataplane::sip::subscriber::Subscriber;
use trunkline_dataplane::wire::VlanStack;
pub use view::dossier::Said;
pub use workers::WorkerError;
pub use workers::Workers;

use crate::api::types;
use crate::config::BusyPollWish;
use crate::kernel::socket::IcmpError;
use crate::metrics::scrape::Scrape;
use crate::netlink::Tables;
use crate::privileges::Thread;
use crate::subscribers::Directory;
use crate::subscribers::Unavailable;

/// What does not change while the engine runs.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// By worker.
    pub workers: Vec<WorkerFacts>,
    /// By interface.
    pub interfaces: Vec<InterfaceFacts>,
    /// By [`trunkline_dataplane::ids::TrunkIndex`].
    pub trunks: Vec<TrunkFacts>,
    /// Who we know we shall send to: their next hops are kept resolved.
    pub peers: Vec<IpAddr>,
    /// Seeds the hash that gives a Call-ID its owner.
    pub hash_key: [u8; 16],
    /// Seconds of a ban.
    pub ban_s: u32,
    /// What each worker's tables cost.
    pub tables: Vec<Table>,
    /// What each kind of thread may still do.
    pub confinement: Vec<Thread>,
    /// What the operator should know and may want to change.
    pub warnings: Vec<String>,
}

impl Facts {
    /// By device: the names of its interfaces, and the first of them.
    #[must_use]
    pub fn devices(&self) -> Vec<(String, &InterfaceFacts)> {
        let mut devices: Vec<(String, &InterfaceFacts)> = Vec::new();
        for interface in &self.interfaces {
            let at = usize::from(interface.device_index.0);
            match devices.get_mut(at) {
                Some((names, _)) => {
                    names.push('+');
                    names.push_str(&interface.name);
                }
                None => devices.push((interface.name.clone(), interface)),
            }
        }
        devices
    }
}

/// What does not change of a worker.
#[derive(Clone, Debug)]
pub struct WorkerFacts {
    /// The core it is pinned to.
    pub core: Option<u16>,
    /// `busy` or `adaptive`.
    pub poll: &'static str,
    /// What its frames lie in.
    pub memory: String,
}

/// What does not change of an interface.
#[derive(Clone, Debug, Default)]
pub struct InterfaceFacts {
    /// Its name in the configuration.
    pub name: String,
    /// The kernel's name of its device.
    pub device: String,
    /// Which device that is.
    pub device_index: DeviceIndex,
    /// The tags of its frames.
    pub vlan: VlanStack,
    /// The kernel's number.
    pub ifindex: u32,
    /// `native` or `generic`.
    pub mode: String,
    /// Why it is generic, where the driver refused.
    pub mode_because: Option<String>,
    /// `zero-copy` or `copy`.
    pub frames: String,
    /// Why they are copied, where that was not everyone's wish.
    pub frames_because: Option<String>,
    /// What the configuration says of busy polling.
    pub busy_poll: BusyPollWish,
    /// Why there is none, where it was not turned off.
    pub busy_poll_because: Option<String>,
    /// Its queues.
    pub queues: u32,
}

/// What does not change of a trunk: its configuration, for a person to read.
#[derive(Clone, Debug, Default)]
pub struct TrunkFacts {
    /// Its name.
    pub name: String,
    /// Networks from which its requests come.
    pub sources: Vec<String>,
    /// Where requests to it are sent.
    pub targets: Vec<String>,
    /// The listen's name.
    pub listen: String,
    /// The media range's name.
    pub media: String,
    /// Where it stands for a domain: how many calls each of its users may have begun at once; 0: any number.
    pub calls_of_each: Option<u16>,
}

/// What the tasks beside it ask of the [`Desk`].
#[derive(Debug)]
pub enum Request {
    /// `GET /v1/status`
    Status(oneshot::Sender<types::Status>),
    /// `GET /v1/stats`
    Stats(oneshot::Sender<types::Stats>),
    /// `GET /v1/calls`: all of them, or those that this subscriber has begun.
    Calls(Option<String>, oneshot::Sender<types::Calls>),
    /// `GET /v1/calls/{id}`: none of that Call-ID, or not all workers answered.
    Call(String, oneshot::Sender<Result<types::Call, NoCall>>),
    /// `GET /v1/flows`
    Flows(oneshot::Sender<types::Flows>),
    /// `GET /metrics`
    Scrape(oneshot::Sender<Box<Scrape>>),
    /// Someone came to the address for metrics.
    Scraper {
        /// True where there was room.
        admitted: bool,
    },
    /// `GET /v1/interfaces`
    Interfaces(oneshot::Sender<types::Interfaces>),
    /// `GET /v1/workers`
    Workers(oneshot::Sender<types::Workers>),
    /// `GET /v1/frames`
    Frames(oneshot::Sender<types::Frames>),
    /// `GET /v1/trunks`
    Trunks(oneshot::Sender<types::Trunks>),
    /// `GET /v1/routes`
    Routes(oneshot::Sender<types::Routes>),
    /// `GET /v1/routes/{address}`
    Way(IpAddr, oneshot::Sender<types::Way>),
    /// `GET /v1/neighbours`
    Neighbours(oneshot::Sender<types::Neighbours>),
    /// `GET /v1/health`, `/healthz`, `/readyz`
    Health(oneshot::Sender<types::Health>),
    /// `GET /v1/capture`
    Capture(
        Wish,
        oneshot::Sender<Result<mpsc::Receiver<Packet>, TooMany>>,
    ),
    /// `GET /v1/latency`
    Latency(oneshot::Sender<types::Latency>),
    /// `GET /v1/talkers`
    Talkers(oneshot::Sender<types::Talkers>),
    /// `GET /v1/bans`
    Bans(oneshot::Sender<types::Bans>),
    /// This source is to be heard again.
    Pardon(Source),
    /// `GET /v1/registrations`, of all users or of this one in this domain; nothing where the domain is not
    /// ours or nobody can be called so.
    Registrations(
        Option<(String, String)>,
        oneshot::Sender<Option<types::Registrations>>,
    ),
    /// What the workers know of a subscriber, who is called so.
    Dossier(Subscriber, oneshot::Sender<Said>),
    /// `GET /v1/denials`
    Denials(oneshot::Sender<types::Denials>),
    /// The domains and their store, for who changes subscribers.
    Directory(oneshot::Sender<Arc<Directory>>),
    /// These subscribers were changed, or are to be asked for anew.
    Forget(Vec<Subscriber>),
    /// Any subscriber may have been changed.
    Doubt,
    /// These servers of the subscribers' store give no good answer yet.
    Unwell(Vec<Unavailable>),
    /// Someone came to the operator's socket.
    Visitor {
        /// True where it may use it.
        admitted: bool,
    },
    /// The kernel's tables have changed.
    Mirror(Mirrored),
    /// How many receive queues each interface has in use, where that is known.
    Queues(Vec<Option<u32>>),
    /// A datagram reached one of the kernel's sockets.
    Datagram {
        /// Which listen's.
        listen: ListenIndex,
        /// Who sent it.
        source: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A datagram was longer than UDP allows.
    Truncated,
    /// ICMP says that something sent from a listen did not arrive.
    IcmpError {
        /// What it says.
        error: IcmpError,
        /// What it quotes of the message.
        quoted: Vec<u8>,
    },
    /// Something that the operator should know from now on.
    Warning(String),
    /// A task beside the desk has panicked.
    TaskFailed(&'static str),
}

/// Why a call is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCall {
    /// There is none of that Call-ID.
    Unknown,
    /// A worker did not answer in time; it may have it.
    Incomplete,
}

/// The kernel's tables, as the netlink mirror last saw them.
#[derive(Clone, Debug, Default)]
pub struct Mirrored {
    /// What decides where packets go.
    pub tables: Tables,
    /// By interface: up with a carrier, and the MTU.
    pub links: Vec<(bool, u32)>,
    /// By interface: its addresses.
    pub addresses: Vec<Vec<IpAddr>>,
    /// By interface: the number of the link whose routes and neighbours are its; 0 for none.
    pub ifindexes: Vec<u32>,
    /// By interface: its device is there no more.
    pub gone: Vec<bool>,
    /// True where a start would find every device fit for use, and the addresses.
    pub fit: bool,
}
