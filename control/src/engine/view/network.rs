//! Interfaces, routes and neighbours, as the workers go by them.

use std::net::IpAddr;

use trunkline_bpf::Action;
use trunkline_bpf::Verdicts;
use trunkline_dataplane::ids::InterfaceIndex;
use trunkline_dataplane::route::Out;
use trunkline_dataplane::route::Unresolved;
use trunkline_dataplane::wire::MacAddress;

use super::Snapshot;
use crate::api::types;
use crate::engine::Answers;
use crate::engine::Desk;
use crate::engine::Facts;
use crate::netlink::Tables;

/// What is known of the interfaces before the workers have told of their sockets.
pub(crate) struct Interfaces {
    snapshot: Snapshot,
    macs: Vec<Option<MacAddress>>,
    addresses: Vec<Vec<IpAddr>>,
}

impl Interfaces {
    pub fn of(desk: &Desk) -> Interfaces {
        let count = desk.facts.interfaces.len();
        Interfaces {
            snapshot: Snapshot::of(desk),
            macs: (0..count).map(|at| desk.tables.mac(at)).collect(),
            addresses: desk.addresses.clone(),
        }
    }

    /// Every interface with its addresses and what its XDP program did.
    pub fn tell(&self, sockets: &Answers) -> types::Interfaces {
        let rows = self.snapshot.interfaces(sockets).into_iter().enumerate();
        let verdicts = |at: usize| {
            let device = self.snapshot.facts.interfaces.get(at)?.device_index;
            let verdicts = self.snapshot.verdicts.get(usize::from(device.0))?;
            verdicts.as_ref().ok()
        };
        let addresses = |at: usize| self.addresses.get(at).into_iter().flatten();
        let interfaces = rows.map(|(at, status)| types::InterfaceDetail {
            status,
            mac: self.macs.get(at).copied().flatten().map(mac),
            addresses: addresses(at).map(IpAddr::to_string).collect(),
            xdp: verdicts(at).map(xdp_sums),
        });
        types::Interfaces {
            interfaces: interfaces.collect(),
        }
    }
}

fn xdp_sums(verdicts: &Verdicts) -> types::XdpSums {
    types::XdpSums {
        seen: verdicts.seen(),
        pass: verdicts.total(Action::Pass),
        drop: verdicts.total(Action::Drop),
        redirect: verdicts.total(Action::Redirect),
    }
}

/// Which snapshot of the kernel's tables the workers have.
pub(crate) fn snapshot(desk: &Desk) -> types::Snapshot {
    let untold = (0..).zip(&desk.untold);
    let behind = untold.filter_map(|(worker, untold)| untold.then_some(worker));
    types::Snapshot {
        epoch: desk.epoch,
        workers_behind: behind.collect(),
    }
}

/// Every route. A full table of the Internet takes a while: this is not for the control
/// thread.
pub(crate) fn routes(tables: &Tables, facts: &Facts, snapshot: types::Snapshot) -> types::Routes {
    let routes = tables.routes().iter().map(|route| {
        let (leads, interface) = match route.out {
            Out::Ours(interface) => ("interface", Some(name(facts, interface))),
            Out::Other => ("other", None),
            Out::Nowhere => ("nowhere", None),
        };
        types::Route {
            destination: format!("{}/{}", route.prefix, route.length),
            gateway: route.gateway.map(|gateway| gateway.to_string()),
            interface,
            leads: leads.to_owned(),
            metric: route.metric,
        }
    });
    types::Routes {
        snapshot,
        routes: routes.collect(),
    }
}

/// Every neighbour; as [`routes`].
pub(crate) fn neighbours(
    tables: &Tables,
    facts: &Facts,
    snapshot: types::Snapshot,
) -> types::Neighbours {
    let neighbours = tables
        .neighbours()
        .iter()
        .map(|neighbour| types::Neighbour {
            interface: name(facts, neighbour.interface),
            address: neighbour.address.to_string(),
            mac: mac(neighbour.mac),
        });
    types::Neighbours {
        snapshot,
        neighbours: neighbours.collect(),
    }
}

/// The way to `address` that a worker would take: its own look-up, in its own snapshot.
pub(crate) fn way(desk: &Desk, address: IpAddr) -> types::Way {
    let mut way = types::Way {
        address: address.to_string(),
        snapshot: snapshot(desk),
        reachable: false,
        because: None,
        reason: None,
        interface: None,
        next_hop: None,
        mac: None,
        mtu: None,
    };
    match desk.network.resolve(address) {
        Ok(hop) => {
            way.reachable = true;
            way.interface = Some(name(&desk.facts, hop.interface));
            way.next_hop = Some(hop.address.to_string());
            way.mac = Some(mac(hop.dst_mac));
            way.mtu = Some(u32::from(hop.mtu));
        }
        Err(unresolved) => {
            let (reason, because) = why_not(&desk.facts, address, unresolved);
            way.reason = Some(reason.to_owned());
            way.because = Some(because);
            match unresolved {
                Unresolved::LinkDown { interface } => {
                    way.interface = Some(name(&desk.facts, interface));
                }
                Unresolved::NoNeighbour { interface, address } => {
                    way.interface = Some(name(&desk.facts, interface));
                    way.next_hop = Some(address.to_string());
                }
                _ => {}
            }
        }
    }
    way
}

/// How the counters end that count it, and what an operator can do about it.
fn why_not(facts: &Facts, address: IpAddr, unresolved: Unresolved) -> (&'static str, String) {
    match unresolved {
        Unresolved::NoRoute => (
            "no_route",
            format!("no route leads there: see `ip route get {address}`"),
        ),
        Unresolved::OtherInterface => (
            "other_interface",
            format!(
                "the route leaves by a device that is no [[interface]] here: see `ip route get {address}`"
            ),
        ),
        Unresolved::LinkDown { interface } => (
            "link_down",
            format!(
                "interface {} is down: see `ip link`",
                name(facts, interface)
            ),
        ),
        Unresolved::NoNeighbour { interface, address } => (
            "no_neighbour",
            format!(
                "the link-layer address of {address} on {} is not known; it is asked for when there is something to send: see \
                 `ip neigh show {address}`",
                name(facts, interface)
            ),
        ),
        Unresolved::OurOwn => ("own_address", "the address is this host's own".to_owned()),
        Unresolved::NotUnicast => ("not_unicast", "no single host has that address".to_owned()),
    }
}

fn name(facts: &Facts, interface: InterfaceIndex) -> String {
    let found = facts.interfaces.get(usize::from(interface.0));
    found.map_or_else(String::new, |facts| facts.name.clone())
}

fn mac(address: MacAddress) -> String {
    let [a, b, c, d, e, f] = address;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
