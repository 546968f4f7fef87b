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
        // Several interfaces may be of one device.
        let links = (0..).zip(ifindexes).filter_map(|(index, ifindex)| {
            let link = dump.links.iter().find(|link| link.ifindex == *ifindex)?;
            let mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);
            Some(Link {
                index: InterfaceIndex(index),
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
            ..LinkFacts::default()
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
            ..Dump::default()
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

    /// A router by its link-local address, as router advertisements name it, also for IPv4.
    #[test]
    fn link_local_routers_are_next_hops_of_either_family() {
        let mut dump = dump();
        let router = Some(address("fe80::1"));
        let via = |ifindex| {
            Some(Hop {
                ifindex,
                gateway: router,
            })
        };
        dump.routes.push(RouteFacts {
            destination: address("::"),
            prefix_len: 0,
            metric: 1024,
            hop: via(7),
        });
        dump.routes.push(RouteFacts {
            destination: address("198.51.100.0"),
            prefix_len: 24,
            metric: 0,
            hop: via(5),
        });
        for ifindex in [5, 7] {
            dump.neighbours.push(NeighbourFacts {
                ifindex,
                address: address("fe80::1"),
                mac: Some([2, 0, 0, 0, 1, u8::try_from(ifindex).unwrap()]),
                fixed: false,
            });
        }
        let network = Tables::new(&dump, &OURS).network(1);
        let six = network.resolve(address("2001:db8::5")).unwrap();
        assert_eq!((six.interface, six.dst_mac[5]), (InterfaceIndex(0), 7));
        let four = network.resolve(address("198.51.100.9")).unwrap();
        assert_eq!((four.interface, four.dst_mac[5]), (InterfaceIndex(1), 5));
        assert_eq!(four.address, address("fe80::1"));
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
