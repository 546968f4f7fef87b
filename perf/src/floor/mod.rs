//! The bare forwarders that bound what is possible: what a box on this machine costs that does
//! nothing but take a datagram on one interface and send it on by the other.
//!
//! Each does the same: a datagram to our address on one interface goes to the peer behind the
//! other, from our address there; ports and payload stay. IPv4 without tags, as the lab has it.
//!
//! - [`rings`]: AF_XDP in copy mode, with the rings that the worker has.
//! - [`redirect`]: XDP, without leaving the kernel.
//! - [`sockets`]: recvmmsg(2) and sendmmsg(2) on UDP sockets, as a proxy of the old kind.

pub mod args;
mod redirect;
mod rings;
mod sockets;

use std::net::Ipv4Addr;

use trunkline_dataplane::wire::Ethernet;

use crate::link::Link;

/// One side of a forwarder.
#[derive(Clone, Debug)]
pub struct Side {
    /// The interface.
    pub link: Link,
    /// Our address there.
    pub ours: Ipv4Addr,
    /// The peer's.
    pub peer: Ipv4Addr,
    /// From us to the peer.
    pub stations: Ethernet,
}

/// What forwards.
trait Forwarder {
    /// One turn; false where there was nothing to do.
    fn turn(&mut self) -> anyhow::Result<bool>;

    /// Sleeps until there may be something to do.
    fn rest(&mut self);

    /// Datagrams that were sent on so far.
    fn forwarded(&self) -> u64;
}
