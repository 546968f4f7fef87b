//! Interfaces, routes and neighbours.

use serde::Deserialize;
use serde::Serialize;

use super::InterfaceStatus;

/// `GET /v1/interfaces`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interfaces {
    /// Every interface of the configuration.
    pub interfaces: Vec<InterfaceDetail>,
}

/// An interface, its addresses, and what its XDP program did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceDetail {
    /// What `GET /v1/status` says of it.
    #[serde(flatten)]
    pub status: InterfaceStatus,
    /// Its link-layer address; none where it is not there.
    pub mac: Option<String>,
    /// The kernel's addresses of the device.
    pub addresses: Vec<String>,
    /// What the XDP program did; none where its counts cannot be read.
    pub xdp: Option<XdpSums>,
}

/// The frames that an XDP program saw, by what it did with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpSums {
    /// All of them.
    pub seen: u64,
    /// Left to the kernel.
    pub pass: u64,
    /// Dropped.
    pub drop: u64,
    /// Handed to a worker.
    pub redirect: u64,
}

/// `GET /v1/routes`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// The snapshot that this is.
    pub snapshot: Snapshot,
    /// Every route that the workers look up.
    pub routes: Vec<Route>,
}

/// Which state of the kernel's tables the workers go by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its number: one more with each change.
    pub epoch: u32,
    /// The workers that have not been handed it yet.
    pub workers_behind: Vec<u8>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The destination, as in `10.0.0.0/8`.
    pub destination: String,
    /// The router; none where the destination itself is on the link.
    pub gateway: Option<String>,
    /// The interface's name in the configuration; none where it leads elsewhere.
    pub interface: Option<String>,
    /// `interface`, `other` (out of a device that is not configured) or `nowhere`.
    pub leads: String,
    /// The lower wins among equals.
    pub metric: u32,
}

/// `GET /v1/routes/{address}`: the way that a worker would take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The address asked for.
    pub address: String,
    /// The snapshot that it was looked up in.
    pub snapshot: Snapshot,
    /// True where a packet would leave.
    pub reachable: bool,
    /// Why not, in a sentence.
    pub because: Option<String>,
    /// How the counters name that: the end of `sip_...` and `media_...`.
    pub reason: Option<String>,
    /// The interface's name in the configuration.
    pub interface: Option<String>,
    /// The next station: the gateway, or the address itself.
    pub next_hop: Option<String>,
    /// The next station's link-layer address.
    pub mac: Option<String>,
    /// The longest IP packet that can be sent that way, in bytes.
    pub mtu: Option<u32>,
}

/// `GET /v1/neighbours`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// The snapshot that this is.
    pub snapshot: Snapshot,
    /// Every neighbour whose link-layer address is known.
    pub neighbours: Vec<Neighbour>,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The interface's name in the configuration.
    pub interface: String,
    /// Its address.
    pub address: String,
    /// Its link-layer address.
    pub mac: String,
}
