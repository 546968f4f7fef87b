//! What the kernel said, in the words of the engine.

use std::net::IpAddr;

use trunkline_dataplane::ids::InterfaceIndex;
use trunkline_dataplane::route::Link;
use trunkline_dataplane::route::Neighbour;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::route::Out;
use trunkline_dataplane::route::Route;

use super::Dump;
use super::dump::RouteFacts;

/// The part of a dump that decides where a packet goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    links: Vec<Link>,
    addresses: Vec<IpAddr>,
    routes: Vec<Route>,
    neighbours: Vec<Neighbour>,
}

impl Tables {
    /// Takes it out of `dump`; `ifindexes` are the kernel's numbers of our interfaces,
    /// by [`InterfaceIndex`].
    #[must_use]
    pub fn new(dump: &Dump, ifindexes: &[u32]) -> Tables {
        let links = dump.links.iter().filter_map(|link| {
            let index = index(ifindexes, link.ifindex)?;
            let mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);
            Some(Link {
                index,
                mac: link.mac?,
                mtu,
                up: link.up,
            })
        });
        let neighbours = dump.neighbours.iter().filter_map(|neighbour| {
            let interface = index(ifindexes, neighbour.ifindex)?;
            Some(Neighbour {
                interface,
                address: neighbour.address,
                mac: neighbour.mac?,
            })
        });
        Tables {
            links: links.collect(),
            addresses: dump.addresses.clone(),
            routes: dump
                .routes
                .iter()
                .map(|facts| route(facts, ifindexes))
                .collect(),
            neighbours: neighbours.collect(),
        }
    }

    /// The routes, in the kernel's order of prefix lengths.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The neighbours whose link-layer address is known.
    #[must_use]
    pub fn neighbours(&self) -> &[Neighbour] {
        &self.neighbours
    }

    /// The link-layer address of our interface number `interface`.
    #[must_use]
    pub fn mac(&self, interface: usize) -> Option<[u8; 6]> {
        let link = self
            .links
            .iter()
            .find(|link| usize::from(link.index.0) == interface);
        link.map(|link| link.mac)
    }

    /// The snapshot that the workers look things up in.
    #[must_use]
    pub fn network(&self, epoch: u32) -> Network {
        Network::new(
            epoch,
            &self.links,
            &self.addresses,
            &self.routes,
            &self.neighbours,
        )
    }
}

fn route(facts: &RouteFacts, ifindexes: &[u32]) -> Route {
    let out = match facts.hop {
        None => Out::Nowhere,
        Some(hop) => index(ifindexes, hop.ifindex).map_or(Out::Other, Out::Ours),
    };
    Route {
        prefix: facts.destination,
        length: facts.prefix_len,
        gateway: facts.hop.and_then(|hop| hop.gateway),
        out,
        metric: facts.metric,
    }
}

fn index(ifindexes: &[u32], ifindex: u32) -> Option<InterfaceIndex> {
    let at = ifindexes.iter().position(|&ours| ours == ifindex)?;
    u8::try_from(at).ok().map(InterfaceIndex)
}

#[cfg(test)]
mod tests {
    use trunkline_dataplane::route::Unresolved;

    use super::super::dump::Hop;
    use super::super::dump::LinkFacts;
    use super::super::dump::NeighbourFacts;
    use super::*;

    const OURS: [u32; 2] = [7, 5];

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn dump() -> Dump {
        let link = |ifindex, mac| LinkFacts {
            ifindex,
            device: format!("eth{ifindex}"),
            mac,
            mtu: 1500,
            up: true,
            rx_queues_max: 2,
        };
        let to = |prefix, prefix_len, ifindex, gateway: Option<&str>| RouteFacts {
            destination: address(prefix),
            prefix_len,
            metric: 0,
            hop: Some(Hop {
                ifindex,
                gateway: gateway.map(address),
            }),
        };
        let station = |ifindex, ip, mac| NeighbourFacts {
            ifindex,
            address: address(ip),
            mac,
            fixed: false,
        };
        Dump {
            addresses_of: Vec::new(),
            links: vec![
                link(1, Some([0; 6])),
                link(5, Some([2, 0, 0, 0, 0, 5])),
                link(7, Some([2, 0, 0, 0, 0, 7])),
            ],
            addresses: vec![address("10.0.5.1"), address("10.0.7.1")],
            routes: vec![
                to("0.0.0.0", 0, 5, Some("10.0.5.254")),
                to("10.0.5.0", 24, 5, None),
                to("10.0.7.0", 24, 7, None),
                to("192.168.0.0", 16, 9, None),
                RouteFacts {
                    hop: None,
                    ..to("172.16.0.0", 12, 9, None)
                },
            ],
            neighbours: vec![
                station(5, "10.0.5.254", Some([2, 0, 0, 0, 0, 0xfe])),
                station(7, "10.0.7.2", Some([2, 0, 0, 0, 0, 2])),
                station(7, "10.0.7.3", None),
                station(9, "192.168.1.1", Some([2, 0, 0, 0, 0, 9])),
            ],
        }
    }

    #[test]
    fn packets_go_where_the_kernel_would_send_them() {
        let network = Tables::new(&dump(), &OURS).network(3);
        assert_eq!(network.epoch(), 3);
        let hop = network.resolve(address("8.8.8.8")).unwrap();
        assert_eq!(
            (hop.interface, hop.address),
            (InterfaceIndex(1), address("10.0.5.254"))
        );
        assert_eq!(hop.src_mac, [2, 0, 0, 0, 0, 5]);
        let hop = network.resolve(address("10.0.7.2")).unwrap();
        assert_eq!(
            (hop.interface, hop.dst_mac),
            (InterfaceIndex(0), [2, 0, 0, 0, 0, 2])
        );
        let missing = Unresolved::NoNeighbour {
            interface: InterfaceIndex(0),
            address: address("10.0.7.3"),
        };
        assert_eq!(network.resolve(address("10.0.7.3")), Err(missing));
        assert_eq!(
            network.resolve(address("10.0.5.1")),
            Err(Unresolved::OurOwn)
        );
        assert_eq!(
            network.resolve(address("192.168.1.1")),
            Err(Unresolved::OtherInterface)
        );
        assert_eq!(
            network.resolve(address("172.16.9.9")),
            Err(Unresolved::NoRoute)
        );
    }

    #[test]
    fn what_changes_no_packet_changes_no_table() {
        let before = Tables::new(&dump(), &OURS);
        let mut after = dump();
        after.neighbours[3].mac = None;
        after.neighbours[1].fixed = true;
        after.links[0].mtu = 9000;
        assert_eq!(Tables::new(&after, &OURS), before);
        after.neighbours[1].mac = Some([2, 0, 0, 0, 0, 3]);
        assert_ne!(Tables::new(&after, &OURS), before);
    }
}
