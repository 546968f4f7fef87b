//! The kernel's links, addresses, routes and neighbours as one immutable
//! snapshot: where a frame to an address leaves, and to which station.
//!
//! Invariants: every table is sorted once, when the snapshot is built; a
//! lookup allocates nothing and does three binary searches at most: own
//! addresses, routes, neighbours.

use std::net::IpAddr;

use super::prefixes::Prefixes;
use crate::ids::InterfaceIndex;
use crate::wire::MacAddress;
use crate::wire::ipv6;

/// One of our interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its place in the configuration.
    pub index: InterfaceIndex,
    /// Its station address.
    pub mac: MacAddress,
    /// The longest IP packet that it takes, in bytes.
    pub mtu: u16,
    /// True if it is up and has a carrier.
    pub up: bool,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// Out of an interface that we drive.
    Ours(InterfaceIndex),
    /// Out of an interface of the host that we do not drive.
    Other,
    /// Nowhere: blackhole, unreachable, prohibit, broadcast.
    Nowhere,
}

/// A route. Of a route over several next hops control gives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network; bits beyond `length` do not count.
    pub prefix: IpAddr,
    /// Length of the prefix in bits, 0 to 32 or to 128.
    pub length: u8,
    /// The router, or `None` for a network on the link. It may be of the other family (RFC
    /// 5549), and with IPv6 a link-local address.
    pub gateway: Option<IpAddr>,
    /// Where it leads.
    pub out: Out,
    /// The lower wins among routes of one prefix; of equals the first given.
    pub metric: u32,
}

/// A station on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface behind which it is.
    pub interface: InterfaceIndex,
    /// Its address.
    pub address: IpAddr,
    /// Its station address.
    pub mac: MacAddress,
}

/// All that a frame needs to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface it leaves by.
    pub interface: InterfaceIndex,
    /// That interface's station address.
    pub src_mac: MacAddress,
    /// The next station's address.
    pub dst_mac: MacAddress,
    /// The longest IP packet that the interface takes, in bytes.
    pub mtu: u16,
    /// The next station's address: the gateway, or the destination.
    pub address: IpAddr,
}

/// Why there is no way to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No route, or one that leads nowhere.
    NoRoute,
    /// The way leads out of an interface that we do not drive.
    OtherInterface,
    /// The interface is down, or unknown to this snapshot.
    LinkDown {
        /// The interface that the route names.
        interface: InterfaceIndex,
    },
    /// The next station's address is not known: it must be asked for.
    NoNeighbour {
        /// The interface to ask on.
        interface: InterfaceIndex,
        /// The address to ask for.
        address: IpAddr,
    },
    /// The address is one of this host's.
    OurOwn,
    /// Multicast, broadcast, link-local or no host at all: nothing of ours goes there.
    NotUnicast,
}

/// A snapshot of the network.
#[derive(Clone, Debug)]
pub struct Network {
    epoch: u32,
    /// By interface index.
    links: Vec<Option<Link>>,
    /// This host's addresses, ascending.
    addresses: Vec<IpAddr>,
    ipv4: Prefixes<u32>,
    ipv6: Prefixes<u128>,
    /// Ascending by (interface, address).
    neighbours: Vec<Neighbour>,
}

impl Network {
    /// Builds a snapshot. Called by control: it allocates and sorts.
    ///
    /// `epoch` must differ from that of every snapshot that a worker may still
    /// remember; one more than the last is right. `addresses` are all of the
    /// host's, also those of interfaces that we do not drive. Of links or
    /// neighbours given twice one counts.
    #[must_use]
    pub fn new(
        epoch: u32,
        links: &[Link],
        addresses: &[IpAddr],
        routes: &[Route],
        neighbours: &[Neighbour],
    ) -> Network {
        let mut by_index = Vec::new();
        for link in links {
            let at = usize::from(link.index.0);
            if by_index.len() <= at {
                by_index.resize(at + 1, None);
            }
            if let Some(slot) = by_index.get_mut(at) {
                *slot = Some(*link);
            }
        }
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        let mut neighbours = neighbours.to_vec();
        neighbours.sort_by_key(neighbour_key);
        neighbours.dedup_by_key(|neighbour| neighbour_key(neighbour));
        Network {
            epoch,
            links: by_index,
            addresses,
            ipv4: Prefixes::new(routes),
            ipv6: Prefixes::new(routes),
            neighbours,
        }
    }

    /// The snapshot's number: what was resolved under another one is stale.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// An interface, if the snapshot knows it.
    #[must_use]
    pub fn link(&self, interface: InterfaceIndex) -> Option<&Link> {
        self.links.get(usize::from(interface.0))?.as_ref()
    }

    /// True for one of this host's addresses.
    #[must_use]
    pub fn is_our_own(&self, address: IpAddr) -> bool {
        self.addresses.binary_search(&address).is_ok()
    }

    /// The way to `destination`: by the longest prefix, the lowest metric, and
    /// the neighbour table.
    ///
    /// As in the kernel the longest prefix decides alone: where it leads out
    /// of another interface or nowhere, no shorter one is tried.
    ///
    /// # Errors
    /// Why there is no way; see [`Unresolved`].
    pub fn resolve(&self, destination: IpAddr) -> Result<NextHop, Unresolved> {
        if self.is_our_own(destination) {
            return Err(Unresolved::OurOwn);
        }
        let route = self.route_to(destination)?;
        let interface = match route.out {
            Out::Ours(interface) => interface,
            Out::Other => return Err(Unresolved::OtherInterface),
            Out::Nowhere => return Err(Unresolved::NoRoute),
        };
        let link = match self.link(interface) {
            Some(link) if link.up => link,
            _ => return Err(Unresolved::LinkDown { interface }),
        };
        let address = route.gateway.unwrap_or(destination);
        let dst_mac = self
            .neighbour(interface, address)
            .ok_or(Unresolved::NoNeighbour { interface, address })?;
        Ok(NextHop {
            interface,
            src_mac: link.mac,
            dst_mac,
            mtu: link.mtu,
            address,
        })
    }

    /// The route to an address that a host can have.
    fn route_to(&self, destination: IpAddr) -> Result<&Route, Unresolved> {
        let route = match destination {
            IpAddr::V4(ip) if matches!(ip.octets()[0], 0 | 127 | 224..=255) => {
                return Err(Unresolved::NotUnicast);
            }
            // A link-local address says nothing without its link (RFC 4007 §5).
            IpAddr::V6(ip) if !ipv6::is_host(ip) || ip.is_unicast_link_local() => {
                return Err(Unresolved::NotUnicast);
            }
            IpAddr::V4(ip) => self.ipv4.find(ip.into()),
            IpAddr::V6(ip) => self.ipv6.find(ip.into()),
        };
        route.ok_or(Unresolved::NoRoute)
    }

    fn neighbour(&self, interface: InterfaceIndex, address: IpAddr) -> Option<MacAddress> {
        let key = (interface, address);
        let at = self
            .neighbours
            .binary_search_by_key(&key, neighbour_key)
            .ok()?;
        Some(self.neighbours.get(at)?.mac)
    }
}

fn neighbour_key(neighbour: &Neighbour) -> (InterfaceIndex, IpAddr) {
    (neighbour.interface, neighbour.address)
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
