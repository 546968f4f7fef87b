//! Asking the kernel for all of its tables.

use std::collections::HashSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::link::LinkMessage;
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
use rtnetlink::Handle;

use super::NetlinkError;

/// What the kernel said, in IPv4's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Every link.
    pub links: Vec<LinkFacts>,
    /// Every address of the box.
    pub addresses: Vec<IpAddr>,
    /// The same by link: the kernel's number, and the address.
    pub addresses_of: Vec<(u32, IpAddr)>,
    /// Every route of the main table.
    pub routes: Vec<RouteFacts>,
    /// Every neighbour that has an address.
    pub neighbours: Vec<NeighbourFacts>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// The kernel's number for it.
    pub ifindex: u32,
    /// The kernel's name for it.
    pub device: String,
    /// Its link-layer address, where it has one of Ethernet's length.
    pub mac: Option<[u8; 6]>,
    /// The largest packet, without the Ethernet header.
    pub mtu: u32,
    /// True where it is up and has a carrier.
    pub up: bool,
    /// How many receive queues it can have at most.
    pub rx_queues_max: u32,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFacts {
    /// The first address of the destination.
    pub destination: IpAddr,
    /// How many of its bits count.
    pub prefix_len: u8,
    /// The lower wins among equals.
    pub metric: u32,
    /// Where packets go; `None`: they are refused.
    pub hop: Option<Hop>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The link.
    pub ifindex: u32,
    /// The router there; `None`: the destination itself is there.
    pub gateway: Option<IpAddr>,
}

/// A neighbour, as the kernel names it: its link's number and its address.
pub type NeighbourKey = (u32, IpAddr);

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourFacts {
    /// The link.
    pub ifindex: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its link-layer address, where one is known that may be used.
    pub mac: Option<[u8; 6]>,
    /// True where an administrator set it: it needs no resolving.
    pub fixed: bool,
}

impl Dump {
    /// Asks the kernel for everything.
    ///
    /// # Errors
    /// The kernel refused one of the questions.
    pub async fn take(handle: &Handle) -> Result<Dump, NetlinkError> {
        let refused = |what| move |error| NetlinkError::Refused { what, error };
        let links: Vec<_> = handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(refused("links"))?;
        let addresses: Vec<_> = handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(refused("addresses"))?;
        let mut question = RouteMessage::default();
        question.header.address_family = AddressFamily::Inet;
        let routes: Vec<_> = handle
            .route()
            .get(question)
            .execute()
            .try_collect()
            .await
            .map_err(refused("routes"))?;
        let mut dump = Dump {
            links: links.iter().map(link).collect(),
            addresses: addresses.iter().filter_map(address).collect(),
            addresses_of: addresses
                .iter()
                .filter_map(|message| Some((message.header.index, address(message)?)))
                .collect(),
            routes: routes.iter().filter_map(route).collect(),
            neighbours: neighbours(handle).await?,
        };
        // The kernel's order means nothing, and two dumps are to be compared.
        dump.links.sort_by_key(|link| link.ifindex);
        dump.addresses.sort_unstable();
        dump.addresses_of.sort_unstable();
        dump.routes
            .sort_by_key(|route| (route.prefix_len, route.destination, route.metric));
        dump.neighbours
            .sort_by_key(|neighbour| (neighbour.ifindex, neighbour.address));
        Ok(dump)
    }

    /// The link that the kernel calls `device`.
    #[must_use]
    pub fn link(&self, device: &str) -> Option<&LinkFacts> {
        self.links.iter().find(|link| link.device == device)
    }

    /// The neighbours that an administrator has set: not ours to touch.
    #[must_use]
    pub fn fixed(&self) -> HashSet<NeighbourKey> {
        fixed(&self.neighbours)
    }
}

/// Asks for the neighbours alone.
pub(super) async fn neighbours(handle: &Handle) -> Result<Vec<NeighbourFacts>, NetlinkError> {
    let question = handle
        .neighbours()
        .get()
        .set_address_family(AddressFamily::Inet);
    let neighbours: Vec<_> =
        question
            .execute()
            .try_collect()
            .await
            .map_err(|error| NetlinkError::Refused {
                what: "neighbours",
                error,
            })?;
    Ok(neighbours.iter().filter_map(neighbour).collect())
}

/// Those of `neighbours` that an administrator has set.
pub(super) fn fixed(neighbours: &[NeighbourFacts]) -> HashSet<NeighbourKey> {
    neighbours
        .iter()
        .filter(|neighbour| neighbour.fixed)
        .map(|neighbour| (neighbour.ifindex, neighbour.address))
        .collect()
}

fn link(message: &LinkMessage) -> LinkFacts {
    let flags = message.header.flags;
    let mut facts = LinkFacts {
        ifindex: message.header.index,
        device: String::new(),
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        rx_queues_max: 1,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => facts.device.clone_from(name),
            LinkAttribute::Address(mac) => facts.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => facts.mtu = *mtu,
            LinkAttribute::NumRxQueues(count) => facts.rx_queues_max = *count,
            _ => {}
        }
    }
    facts
}

fn address(message: &AddressMessage) -> Option<IpAddr> {
    // On a point-to-point link Address is the peer's and Local is ours.
    let local = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
    local.or_else(|| {
        message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
    })
}

/// Where the parts of a route's message lead, as they come one by one.
#[derive(Default)]
struct Parts {
    destination: Option<IpAddr>,
    gateway: Option<IpAddr>,
    ifindex: Option<u32>,
    metric: u32,
    table: u32,
    /// The first live hop of several.
    multipath: Option<Hop>,
    /// A gateway that is not IPv4: no way for us.
    foreign: bool,
}

fn route(message: &RouteMessage) -> Option<RouteFacts> {
    let mut parts = Parts {
        table: u32::from(message.header.table),
        ..Parts::default()
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                parts.destination = Some((*address).into())
            }
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
                parts.gateway = Some((*address).into())
            }
            RouteAttribute::Via(_) | RouteAttribute::Encap(_) => parts.foreign = true,
            RouteAttribute::Oif(ifindex) => parts.ifindex = Some(*ifindex),
            RouteAttribute::Priority(metric) => parts.metric = *metric,
            RouteAttribute::Table(table) => parts.table = *table,
            RouteAttribute::MultiPath(hops) => {
                let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
                let live = hops.iter().find(|hop| !hop.flags.intersects(dead));
                parts.multipath = live.map(|hop| Hop {
                    ifindex: hop.interface_index,
                    gateway: hop.attributes.iter().find_map(|attribute| match attribute {
                        RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
                            Some((*address).into())
                        }
                        _ => None,
                    }),
                });
            }
            _ => {}
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
        RouteType::Unicast if parts.foreign => None,
        RouteType::Unicast => direct.or(parts.multipath),
        // A refusal must not be mistaken for a gap through which a shorter route shows.
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => None,
        _ => return None,
    };
    Some(RouteFacts {
        destination: parts
            .destination
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        prefix_len: message.header.destination_prefix_length,
        metric: parts.metric,
        hop,
    })
}

fn neighbour(message: &NeighbourMessage) -> Option<NeighbourFacts> {
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
                address = Some((*found).into())
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    Some(NeighbourFacts {
        ifindex: message.header.ifindex,
        address: address?,
        mac: mac.filter(|_| usable),
        fixed: matches!(state, NeighbourState::Permanent | NeighbourState::Noarp),
    })
}

#[cfg(test)]
mod tests {
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
