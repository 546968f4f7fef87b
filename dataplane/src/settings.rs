//! What control hands a worker at start: the configuration, resolved.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::frame::KeptConfig;
use crate::ids::DeviceIndex;
use crate::ids::ListenIndex;
use crate::ids::MediaIndex;
use crate::ids::TrunkIndex;
use crate::media::ChecksumPolicy;
use crate::sip::digest::Algorithm;
use crate::sip::digest::cache::Lifetimes;
use crate::sip::registrar::Rules;
use crate::wire::VlanStack;

/// Everything that a worker knows from its start; the same for each of them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many workers there are; a power of two is not asked for.
    pub workers: u8,
    /// Which start of the box this is; responses to an earlier one are stale.
    pub boot: u16,
    /// The interfaces, by [`crate::ids::InterfaceIndex`].
    pub interfaces: Vec<InterfaceSettings>,
    /// The SIP listens, by [`ListenIndex`].
    pub listens: Vec<Listen>,
    /// The media ranges, by [`MediaIndex`].
    pub media: Vec<MediaRange>,
    /// The trunks, by [`TrunkIndex`].
    pub trunks: Vec<Trunk>,
    /// The routes, in the order in which they are tried.
    pub routes: Vec<DialRoute>,
    /// The domains, by [`crate::ids::DomainIndex`].
    pub domains: Vec<Domain>,
    /// How subscribers are told from those who only say so.
    pub authentication: Authentication,
    /// What is done against those who try passwords.
    pub abuse: Abuse,
    /// What is granted to who registers.
    pub registrar: Rules,
    /// Where contacts are kept beside.
    pub location: Location,
    /// How long a session lasts without a refresh.
    pub session: SessionTimer,
    /// The keys that make our identifiers hard to forge.
    pub secrets: Secrets,
    /// How large the tables are.
    pub capacity: Capacity,
}

/// What the data path needs to know of an interface.
#[derive(Clone, Debug)]
pub struct InterfaceSettings {
    /// Its name in the configuration.
    pub name: String,
    /// The device that its frames come and leave by.
    pub device: DeviceIndex,
    /// The tags of its frames, by which it differs from the others of its device.
    pub vlan: VlanStack,
    /// How the UDP checksum of a relayed packet is mended.
    pub checksum: ChecksumPolicy,
}

/// A SIP address that the box answers on.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Its name in the configuration.
    pub name: String,
    /// Where messages arrive and leave from.
    pub address: SocketAddr,
    /// What Via and Record-Route say.
    pub advertised: SocketAddr,
    /// Requests that come here go on without state (RFC 3261 §16.11).
    pub stateless: bool,
}

/// A relay address and its UDP ports.
#[derive(Clone, Debug)]
pub struct MediaRange {
    /// Its name in the configuration.
    pub name: String,
    /// Where media arrives and leaves from.
    pub address: IpAddr,
    /// What the SDP says.
    pub advertised: IpAddr,
    /// First and last port; starts even and ends odd.
    pub ports: RangeInclusive<u16>,
}

/// A peer known by its addresses.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// Its name in the configuration.
    pub name: String,
    /// Networks from which its requests come: address and prefix length.
    pub sources: Vec<(IpAddr, u8)>,
    /// Where requests to it are sent, each when the one before has failed; none: it only
    /// calls.
    pub targets: Vec<SocketAddr>,
    /// When a target has failed.
    pub failover: Failover,
    /// The listen from which we speak to it.
    pub listen: ListenIndex,
    /// The media range on its side.
    pub media: MediaIndex,
}

/// A domain: whoever says to be of it proves that by a password (RFC 3261 §22).
#[derive(Clone, Debug)]
pub struct Domain {
    /// The host of its users' addresses, and the realm of its challenges. In lower case.
    pub name: String,
    /// Its users as a party to calls: a trunk of the same name without sources and targets. Its listen
    /// and its media are those on their side.
    pub trunk: TrunkIndex,
    /// The algorithms of a challenge, the preferred one first. For each of them every subscriber of the
    /// domain has an HA1 (RFC 8760 §2.4).
    pub algorithms: Vec<Algorithm>,
    /// The contacts of its users are kept here (RFC 3261 §10): else a REGISTER goes where a route says.
    pub registrar: bool,
    /// Calls that each of its users may have begun at once; 0: as many as there is room for.
    pub calls: u16,
    /// Its registrar is elsewhere, and the box the edge before it (RFC 5626 §5): then `registrar` is
    /// not set, and the registrar asks for passwords.
    pub upstream: Option<Upstream>,
    /// They are kept by another box, which shares its location store: calls to its users go there all the same.
    pub located: bool,
}

/// A registrar elsewhere, and what the box does for its users by itself.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The way to it: one trunk, which is the only one that may send by a flow.
    pub route: DialRoute,
    /// Seconds for which a phone behind a NAT is told that it is registered.
    pub nat_expires_s: u32,
    /// Requests of who has not registered by here go on to it as well.
    pub passes_unregistered: bool,
}

/// Where the contacts of users are kept beside the workers' memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Location {
    /// Nowhere: they end with the process.
    #[default]
    Nowhere,
    /// In a store of this box's: they are given back at a start, and from then on the workers know all.
    Own,
    /// In a store that other boxes write to as well.
    Shared,
}

/// How subscribers are told from those who only say so.
#[derive(Clone, Copy, Debug)]
pub struct Authentication {
    /// Seconds for which a nonce is good.
    pub nonce_s: u32,
    /// How long the worker believes what the store said.
    pub lifetimes: Lifetimes,
    /// Milliseconds after which a request that waits for the store is answered without it. Less than
    /// Timer F, or nobody would hear the answer.
    pub deadline_ms: u64,
    /// Milliseconds from one moment to the next at which failures are answered: how long it took to
    /// find a failure tells nobody why it is one.
    pub failure_grid_ms: u64,
}

impl Default for Authentication {
    fn default() -> Authentication {
        Authentication {
            nonce_s: 300,
            lifetimes: Lifetimes {
                known_ms: 600_000,
                unknown_ms: 60_000,
            },
            deadline_ms: 5_000,
            failure_grid_ms: 500,
        }
    }
}

/// What is done against those who try passwords, or send too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abuse {
    /// So many failures to authenticate, with nonces of ours, and a source is not heard any more; 0: it
    /// is heard whatever it does.
    pub failures: u16,
    /// Seconds within which they count.
    pub within_s: u32,
    /// Seconds for which it is not heard.
    pub ban_s: u32,
    /// Datagrams a second that each worker takes from a source that is no trunk, and from which nobody
    /// is registered; 0: any number.
    pub requests_per_s: u32,
    /// How many of them may come at once.
    pub burst: u32,
}

impl Default for Abuse {
    fn default() -> Abuse {
        Abuse {
            failures: 10,
            within_s: 60,
            ban_s: 600,
            requests_per_s: 100,
            burst: 1_000,
        }
    }
}

/// When a target has failed, so that the next one is tried. Where a time-out or an ICMP error
/// ends its transaction it has failed in any case.
#[derive(Clone, Debug)]
pub struct Failover {
    /// The final responses that say so, as 503.
    pub codes: Vec<u16>,
    /// Nothing at all was heard of it for so many milliseconds.
    pub no_answer_ms: u64,
}

impl Default for Failover {
    fn default() -> Failover {
        Failover {
            codes: vec![503],
            no_answer_ms: 2_000,
        }
    }
}

/// Session timers (RFC 4028 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// The Session-Expires in seconds that an INVITE gets which asks for none; 0: none.
    pub expires_s: u32,
    /// The least that the box agrees to, in seconds: Min-SE, and 422 for less. At least 90.
    pub min_s: u32,
}

impl Default for SessionTimer {
    fn default() -> SessionTimer {
        SessionTimer {
            expires_s: 1_800,
            min_s: 90,
        }
    }
}

/// A trunk of a route, and how much it is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The trunk.
    pub trunk: TrunkIndex,
    /// From 0 to 1000: q of RFC 3261 §16.6 in thousandths. Equal ones are tried in parallel,
    /// lower ones when all higher ones have failed.
    pub q: u16,
}

/// Which requests go to which trunk.
#[derive(Clone, Debug)]
pub struct DialRoute {
    /// Only requests from this trunk; `None`: from any.
    pub from: Option<TrunkIndex>,
    /// Only requests whose Request-URI, without its scheme, begins so; `None`: any.
    pub prefix: Option<String>,
    /// The trunks that they are sent to, the most preferred first.
    pub to: Vec<Choice>,
    /// They go on without state (RFC 3261 §16.11), to the first trunk's first target.
    pub stateless: bool,
}

/// The keys that make our identifiers hard to forge.
#[derive(Clone)]
pub struct Secrets {
    /// Signs the Via branch; new at each start.
    pub branch: [u8; 16],
    /// Signs the Record-Route cookie and our To tags: the key in use, and the one before it.
    pub cookie: [[u8; 16]; 2],
    /// Seeds the hash that gives a Call-ID its owner and the tables their order.
    pub hash: [u8; 16],
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secrets(..)")
    }
}

/// How large a worker's tables are. Each is allocated and touched at start.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Transactions alive at once, lingering ones included; a call at its start takes two.
    pub transactions: u32,
    /// Calls alive at once.
    pub calls: u32,
    /// Kept messages.
    pub kept: KeptConfig,
    /// Subscribers of whom the worker knows what the store said.
    pub subscribers: u32,
    /// Nonces of which it knows the uses: one for each device that authenticates.
    pub nonces: u32,
    /// Requests that wait for something outside at once.
    pub tickets: u32,
    /// Contacts of users.
    pub bindings: u32,
}

impl Capacity {
    /// For tests and small labs.
    pub const SMALL: Capacity = Capacity {
        transactions: 4096,
        calls: 1024,
        kept: KeptConfig::new(2048, 4),
        subscribers: 1024,
        nonces: 1024,
        tickets: 256,
        bindings: 1024,
    };
}
