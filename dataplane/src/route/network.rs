//! The kernel's links, addresses, routes and neighbours as one immutable
//! snapshot: where a frame to an address leaves, and to which station.
//!
//! Invariants: every table is sorted once, when the snapshot is built; a
//! lookup allocates nothing and does three binary searches at most: own
//! addresses, routes, neighbours.
//!
//! Routes are kept as disjoint ranges of addresses in ascending order, each
//! with the route that wins in it. n prefixes make 2n + 1 ranges at most, 8
//! bytes each, and the longest match is one binary search: 18 steps for
//! 100,000 routes. Building sorts the routes: n·log n.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use crate::ids::InterfaceIndex;
use crate::wire::MacAddress;

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

/// An IPv4 route. Of a route over several next hops control gives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network; bits beyond `length` do not count.
    pub prefix: IpAddr,
    /// Length of the prefix in bits, 0 to 32.
    pub length: u8,
    /// The router, or `None` for a network on the link.
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
    /// Its IPv4 address.
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
    /// The next station's IPv4 address: the gateway, or the destination.
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
    /// Multicast, broadcast or no host at all: nothing of ours goes there.
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
    /// Disjoint ranges that cover all addresses, ascending by first.
    ranges: Vec<Range>,
    /// The routes that the ranges point to.
    routes: Vec<Route>,
    /// Ascending by (interface, address).
    neighbours: Vec<Neighbour>,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    first: u32,
    /// Index into the routes, or `NO_ROUTE`.
    route: u32,
}

const NO_ROUTE: u32 = u32::MAX;

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
        let routes = best_routes(routes);
        Network {
            epoch,
            links: by_index,
            addresses,
            ranges: flatten(&routes),
            routes,
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
        let IpAddr::V4(ip) = destination else {
            return Err(Unresolved::NoRoute);
        };
        if matches!(ip.octets()[0], 0 | 127 | 224..=255) {
            return Err(Unresolved::NotUnicast);
        }
        let route = self.route_to(ip).ok_or(Unresolved::NoRoute)?;
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

    fn route_to(&self, destination: Ipv4Addr) -> Option<&Route> {
        let destination = u32::from(destination);
        let after = self
            .ranges
            .partition_point(|range| range.first <= destination);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        self.routes.get(usize::try_from(range.route).ok()?)
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

/// First and last address of a route's prefix.
fn bounds(route: &Route) -> (u32, u32) {
    let host_bits = u32::MAX.checked_shr(u32::from(route.length)).unwrap_or(0);
    let prefix = match route.prefix {
        IpAddr::V4(prefix) => prefix.into(),
        IpAddr::V6(_) => 0,
    };
    let first = prefix & !host_bits;
    (first, first | host_bits)
}

/// One route a prefix, outer prefixes before those inside them.
fn best_routes(routes: &[Route]) -> Vec<Route> {
    let mut best: Vec<Route> = routes
        .iter()
        .filter(|route| route.prefix.is_ipv4() && route.length <= 32)
        .copied()
        .collect();
    // A stable sort, so that of equal metrics the first given stays first.
    best.sort_by_key(|route| (bounds(route).0, route.length, route.metric));
    best.dedup_by_key(|route| (bounds(route).0, route.length));
    best
}

/// Cuts nested prefixes into disjoint ranges. `routes` come from
/// [`best_routes`].
fn flatten(routes: &[Route]) -> Vec<Range> {
    let mut ranges = vec![Range {
        first: 0,
        route: NO_ROUTE,
    }];
    // The prefixes that hold the present address, outermost first.
    let mut open: Vec<(u32, u32)> = Vec::new();
    for (index, route) in (0u32..).zip(routes) {
        let (first, last) = bounds(route);
        close_before(first, &mut open, &mut ranges);
        begin(&mut ranges, first, index);
        open.push((last, index));
    }
    while let Some((last, _)) = open.pop() {
        // Beyond the last address there is nothing to begin.
        if let Some(next) = last.checked_add(1) {
            begin(&mut ranges, next, innermost(&open));
        }
    }
    ranges
}

/// Ends every open prefix whose last address lies before `first`.
fn close_before(first: u32, open: &mut Vec<(u32, u32)>, ranges: &mut Vec<Range>) {
    while let Some(&(last, _)) = open.last() {
        if last >= first {
            return;
        }
        open.pop();
        begin(ranges, last + 1, innermost(open));
    }
}

fn innermost(open: &[(u32, u32)]) -> u32 {
    open.last().map_or(NO_ROUTE, |&(_, route)| route)
}

/// Begins a range; one that began at the same address is replaced.
fn begin(ranges: &mut Vec<Range>, first: u32, route: u32) {
    match ranges.last_mut() {
        Some(last) if last.first == first => last.route = route,
        Some(last) if last.route == route => {}
        _ => ranges.push(Range { first, route }),
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
