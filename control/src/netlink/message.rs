//! The kernel's messages, one by one: what each says, as far as it matters to us.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::address::AddressFlags;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::InfoData;
use netlink_packet_route::link::InfoVlan;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::link::LinkInfo;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::link::VlanProtocol;
use netlink_packet_route::neighbour::NeighbourAddress;
use netlink_packet_route::neighbour::NeighbourAttribute;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::route::RouteAddress;
use netlink_packet_route::route::RouteAttribute;
use netlink_packet_route::route::RouteHeader;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::route::RouteNextHopFlags;
use netlink_packet_route::route::RouteType;
use netlink_packet_route::route::RouteVia;

use super::dump::Hop;
use super::dump::LinkFacts;
use super::dump::NeighbourFacts;
use super::dump::RouteFacts;
use super::dump::VlanFacts;

pub(super) fn link(message: &LinkMessage) -> LinkFacts {
    let flags = message.header.flags;
    let mut facts = LinkFacts {
        ifindex: message.header.index,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        rx_queues_max: 1,
        ..LinkFacts::default()
    };
    let mut parent = None;
    let mut tag = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => facts.device.clone_from(name),
            LinkAttribute::Address(mac) => facts.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => facts.mtu = *mtu,
            LinkAttribute::NumRxQueues(count) => facts.rx_queues_max = *count,
            LinkAttribute::Controller(master) => facts.master = Some(*master).filter(|&at| at > 0),
            LinkAttribute::Link(below) => parent = Some(*below),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => facts.kind = Some(kind.to_string()),
                        LinkInfo::Data(InfoData::Vlan(data)) => tag = Some(vlan_tag(data)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if let (Some(parent), Some((tpid, id))) = (parent, tag) {
        facts.vlan = Some(VlanFacts { parent, tpid, id });
    }
    facts
}

fn vlan_tag(data: &[InfoVlan]) -> (u16, u16) {
    let mut tag = (VlanProtocol::Ieee8021Q as u16, 0);
    for part in data {
        match part {
            InfoVlan::Id(id) => tag.1 = *id,
            InfoVlan::Protocol(protocol) => tag.0 = *protocol as u16,
            _ => {}
        }
    }
    tag
}

/// An address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub ifindex: u32,
    pub address: IpAddr,
    /// It may not be used yet.
    pub is_tentative: bool,
    /// Another host has it.
    pub is_duplicate: bool,
}

pub(super) fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut address) = (None, None);
    let mut flags = AddressFlags::empty();
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link Address is the peer's and Local is ours.
            AddressAttribute::Local(found) => local = Some(*found),
            AddressAttribute::Address(found) => address = Some(*found),
            AddressAttribute::Flags(found) => flags = *found,
            _ => {}
        }
    }
    let optimistic = flags.contains(AddressFlags::Optimistic);
    Some(Address {
        ifindex: message.header.index,
        address: local.or(address)?,
        is_tentative: flags.contains(AddressFlags::Tentative) && !optimistic,
        is_duplicate: flags.contains(AddressFlags::Dadfailed),
    })
}

/// Where the parts of a route's message lead, as they come one by one.
#[derive(Default)]
struct Parts {
    destination: Option<IpAddr>,
    ifindex: Option<u32>,
    metric: u32,
    table: u32,
    gateway: Option<IpAddr>,
    /// The first live hop of several.
    multipath: Option<Hop>,
    /// It leads into a tunnel: no way for us.
    is_tunnel: bool,
}

/// A route of the main table; the others are the policy rules' business.
pub(super) fn route(message: &RouteMessage) -> Option<RouteFacts> {
    let mut parts = Parts {
        table: u32::from(message.header.table),
        ..Parts::default()
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(destination) => parts.destination = ip(destination),
            RouteAttribute::Encap(_) => parts.is_tunnel = true,
            RouteAttribute::Oif(ifindex) => parts.ifindex = Some(*ifindex),
            RouteAttribute::Priority(metric) => parts.metric = *metric,
            RouteAttribute::Table(table) => parts.table = *table,
            RouteAttribute::MultiPath(hops) => {
                let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
                let live = hops.iter().find(|hop| !hop.flags.intersects(dead));
                parts.multipath = live.map(|hop| Hop {
                    ifindex: hop.interface_index,
                    gateway: hop.attributes.iter().find_map(gateway),
                });
            }
            other => parts.gateway = parts.gateway.or(gateway(other)),
        }
    }
    if parts.table != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return None;
    }
    let direct = parts.ifindex.map(|ifindex| Hop {
        ifindex,
        gateway: parts.gateway,
    });
    let hop = match message.header.kind {
        RouteType::Unicast if parts.is_tunnel => None,
        RouteType::Unicast => direct.or(parts.multipath),
        // A refusal must not be mistaken for a gap through which a shorter route shows.
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => None,
        _ => return None,
    };
    let everywhere = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    Some(RouteFacts {
        destination: parts.destination.unwrap_or(everywhere),
        prefix_len: message.header.destination_prefix_length,
        metric: parts.metric,
        hop,
    })
}

/// A gateway; by RTA_VIA it may be of the other family (RFC 8950, once RFC 5549).
fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

pub(super) fn neighbour(message: &NeighbourMessage) -> Option<NeighbourFacts> {
    let state = message.header.state;
    let usable = matches!(
        state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp
    );
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => {
                address = Some(IpAddr::from(*found))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => {
                address = Some(IpAddr::from(*found))
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    Some(NeighbourFacts {
        ifindex: message.header.ifindex,
        // The kernel keeps entries for multicast groups as well.
        address: address.filter(|address| !address.is_multicast())?,
        mac: mac.filter(|_| usable),
        fixed: matches!(state, NeighbourState::Permanent | NeighbourState::Noarp),
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::InfoKind;
    use netlink_packet_route::route::RouteNextHop;

    use super::*;

    fn message(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = kind;
        message.header.destination_prefix_length = 24;
        message.attributes = attributes;
        message
    }

    fn inet(text: &str) -> RouteAddress {
        RouteAddress::Inet(text.parse().unwrap())
    }

    #[test]
    fn a_route_through_a_gateway() {
        let attributes = vec![
            RouteAttribute::Destination(inet("10.1.2.0")),
            RouteAttribute::Gateway(inet("10.0.0.1")),
            RouteAttribute::Oif(7),
            RouteAttribute::Priority(100),
        ];
        let facts = route(&message(RouteType::Unicast, attributes)).unwrap();
        let gateway = Some("10.0.0.1".parse().unwrap());
        assert_eq!(
            facts.hop,
            Some(Hop {
                ifindex: 7,
                gateway
            })
        );
        assert_eq!((facts.prefix_len, facts.metric), (24, 100));
    }

    #[test]
    fn routes_of_ipv6_and_gateways_of_the_other_family() {
        let six = |text: &str| RouteAddress::Inet6(text.parse().unwrap());
        let mut default = message(
            RouteType::Unicast,
            vec![
                RouteAttribute::Gateway(six("fe80::1")),
                RouteAttribute::Oif(7),
                RouteAttribute::Priority(1024),
            ],
        );
        default.header.address_family = AddressFamily::Inet6;
        default.header.destination_prefix_length = 0;
        let facts = route(&default).unwrap();
        assert_eq!(facts.destination, "::".parse::<IpAddr>().unwrap());
        let router = Hop {
            ifindex: 7,
            gateway: Some("fe80::1".parse().unwrap()),
        };
        assert_eq!(facts.hop, Some(router));

        let via = RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap()));
        let to = RouteAttribute::Destination(inet("10.1.2.0"));
        let single = vec![to.clone(), via.clone(), RouteAttribute::Oif(7)];
        let facts = route(&message(RouteType::Unicast, single)).unwrap();
        assert_eq!(facts.hop, Some(router));
        let mut hop = RouteNextHop::default();
        hop.interface_index = 7;
        hop.attributes = vec![via];
        let several = vec![to, RouteAttribute::MultiPath(vec![hop])];
        let facts = route(&message(RouteType::Unicast, several)).unwrap();
        assert_eq!(facts.hop, Some(router));
    }

    #[test]
    fn an_address_that_another_host_has_is_known_as_such() {
        let mut message = AddressMessage::default();
        message.header.index = 3;
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        let mut with = |flags| {
            message.attributes = vec![
                AddressAttribute::Address(six),
                AddressAttribute::Flags(flags),
            ];
            let own = address(&message).unwrap();
            (own.is_tentative, own.is_duplicate)
        };
        assert_eq!(with(AddressFlags::Permanent), (false, false));
        assert_eq!(with(AddressFlags::Tentative), (true, false));
        let optimistic = AddressFlags::Tentative | AddressFlags::Optimistic;
        assert_eq!(with(optimistic), (false, false));
        assert_eq!(
            with(AddressFlags::Tentative | AddressFlags::Dadfailed),
            (true, true)
        );
        let peer = "10.0.0.2".parse().unwrap();
        let ours = "10.0.0.1".parse().unwrap();
        message.attributes = vec![
            AddressAttribute::Address(peer),
            AddressAttribute::Local(ours),
        ];
        assert_eq!(address(&message).unwrap().address, ours);
    }

    #[test]
    fn what_a_link_is_and_whose() {
        let mut message = LinkMessage::default();
        message.header.index = 9;
        message.attributes = vec![
            LinkAttribute::IfName("eth0.100".to_owned()),
            LinkAttribute::Link(3),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(vec![
                    InfoVlan::Id(100),
                    InfoVlan::Protocol(VlanProtocol::Ieee8021Ad),
                ])),
            ]),
        ];
        let facts = link(&message);
        assert_eq!(facts.kind.as_deref(), Some("vlan"));
        let (parent, tpid, id) = (3, 0x88a8, 100);
        assert_eq!(facts.vlan, Some(VlanFacts { parent, tpid, id }));
        message.attributes = vec![
            LinkAttribute::IfName("eth0".to_owned()),
            LinkAttribute::Controller(12),
        ];
        assert_eq!(link(&message).master, Some(12));
    }

    #[test]
    fn refusals_stay_and_other_tables_go() {
        let destination = RouteAttribute::Destination(inet("10.1.2.0"));
        for kind in [
            RouteType::BlackHole,
            RouteType::Unreachable,
            RouteType::Prohibit,
        ] {
            assert_eq!(
                route(&message(kind, vec![destination.clone()]))
                    .unwrap()
                    .hop,
                None
            );
        }
        assert_eq!(
            route(&message(RouteType::Local, vec![destination.clone()])),
            None
        );
        let other = vec![destination, RouteAttribute::Table(1000)];
        assert_eq!(route(&message(RouteType::Unicast, other)), None);
    }

    #[test]
    fn the_first_live_hop_of_several_is_taken() {
        let hop = |ifindex, flags| {
            let mut hop = RouteNextHop::default();
            hop.interface_index = ifindex;
            hop.flags = flags;
            hop
        };
        let hops = vec![
            hop(3, RouteNextHopFlags::Dead),
            hop(4, RouteNextHopFlags::empty()),
        ];
        let attributes = vec![
            RouteAttribute::Destination(inet("10.1.2.0")),
            RouteAttribute::MultiPath(hops),
        ];
        let facts = route(&message(RouteType::Unicast, attributes)).unwrap();
        assert_eq!(
            facts.hop,
            Some(Hop {
                ifindex: 4,
                gateway: None
            })
        );
    }

    #[test]
    fn a_failed_neighbour_has_no_address_to_use() {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 3;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet("10.0.0.1".parse().unwrap())),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
        ];
        for (state, usable) in [
            (NeighbourState::Reachable, true),
            (NeighbourState::Stale, true),
            (NeighbourState::Delay, true),
            (NeighbourState::Probe, true),
            (NeighbourState::Permanent, true),
            (NeighbourState::Noarp, true),
            (NeighbourState::Failed, false),
            (NeighbourState::Incomplete, false),
            (NeighbourState::None, false),
        ] {
            message.header.state = state;
            assert_eq!(
                neighbour(&message).unwrap().mac.is_some(),
                usable,
                "{state:?}"
            );
        }
    }
}
