//! The small box that whole-worker tests, fuzz targets and the simulator run: two
//! interfaces, a listen and a media range on each, a trunk behind each that calls the other.
//!
//! ```text
//!   caller 10.77.1.2 ── access 10.77.1.1 [box] core 10.77.2.1 ── callee 10.77.2.2
//! ```
//!
//! Each side may as well be of IPv6 (2001:db8:77:1::1 and so on) and behind VLAN tags: see
//! [`Lab`]. The constants and functions beside it are those of the plain lab.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use crate::ids::DeviceIndex;
use crate::ids::InterfaceIndex;
use crate::ids::ListenIndex;
use crate::ids::MediaIndex;
use crate::ids::TrunkIndex;
use crate::media::ChecksumPolicy;
use crate::route::Link;
use crate::route::Neighbour;
use crate::route::Network;
use crate::route::Out;
use crate::route::Route;
use crate::settings::Abuse;
use crate::settings::Authentication;
use crate::settings::Capacity;
use crate::settings::Choice;
use crate::settings::DialRoute;
use crate::settings::Domain;
use crate::settings::Failover;
use crate::settings::InterfaceSettings;
use crate::settings::Listen;
use crate::settings::Location;
use crate::settings::MediaRange;
use crate::settings::Secrets;
use crate::settings::SessionTimer;
use crate::settings::Settings;
use crate::settings::Trunk;
use crate::sip::digest::Algorithm;
use crate::sip::registrar::Rules;
use crate::wire::VlanStack;

/// The box's address and SIP listen on each interface; media uses the same address.
pub const LISTENS: [SocketAddr; 2] = [Lab::PLAIN.listen(0), Lab::PLAIN.listen(1)];
/// The peer behind each interface: caller, callee.
pub const PEERS: [SocketAddr; 2] = [Lab::PLAIN.peer(0), Lab::PLAIN.peer(1)];
/// Somebody else on the link of each interface.
pub const STRANGERS: [IpAddr; 2] = [Lab::PLAIN.stranger(0), Lab::PLAIN.stranger(1)];
/// First and last media port of each interface's range.
pub const MEDIA_PORTS: [(u16, u16); 2] = [(20_000, 23_999), (30_000, 33_999)];
/// The station address of every host that is not the box.
pub const PEER_MAC: [u8; 6] = [4, 0, 0, 0, 0, 9];

/// The station address of the box on an interface.
#[must_use]
pub const fn box_mac(interface: InterfaceIndex) -> [u8; 6] {
    [2, 0, 0, 0, 0, interface.0]
}

/// One side of a lab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Its addresses are of IPv6.
    pub ipv6: bool,
    /// The tags of its interface.
    pub vlan: VlanStack,
}

/// A lab: what the access side and the core side are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lab {
    /// By interface.
    pub sides: [Side; 2],
    /// Both sides are of one device, and differ in their tags.
    pub shared: bool,
}

impl Lab {
    /// IPv4 without tags on both sides.
    pub const PLAIN: Lab = Lab {
        sides: [Side {
            ipv6: false,
            vlan: VlanStack::NONE,
        }; 2],
        shared: false,
    };

    /// A host of a side; `last` ends its address.
    #[must_use]
    pub const fn host(&self, side: usize, last: u8) -> IpAddr {
        let ipv6 = self.sides[side & 1].ipv6;
        match (ipv6, side & 1) {
            (false, 0) => IpAddr::V4(Ipv4Addr::new(10, 77, 1, last)),
            (false, _) => IpAddr::V4(Ipv4Addr::new(10, 77, 2, last)),
            (true, 0) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x77, 1, 0, 0, 0, last as u16)),
            (true, _) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x77, 2, 0, 0, 0, last as u16)),
        }
    }

    /// The box's SIP listen on a side.
    #[must_use]
    pub const fn listen(&self, side: usize) -> SocketAddr {
        SocketAddr::new(self.host(side, 1), 5060)
    }

    /// The peer on a side.
    #[must_use]
    pub const fn peer(&self, side: usize) -> SocketAddr {
        SocketAddr::new(self.host(side, 2), 5060)
    }

    /// Somebody else on a side.
    #[must_use]
    pub const fn stranger(&self, side: usize) -> IpAddr {
        self.host(side, 66)
    }

    /// The peers and the strangers: all that the network usually knows.
    #[must_use]
    pub const fn everybody(&self) -> [IpAddr; 4] {
        [
            self.host(0, 2),
            self.host(1, 2),
            self.stranger(0),
            self.stranger(1),
        ]
    }

    /// The device of a side.
    #[must_use]
    pub const fn device(&self, side: usize) -> DeviceIndex {
        self.place().device(side)
    }

    /// The side that an address is of.
    #[must_use]
    pub fn side_of(&self, address: IpAddr) -> Option<usize> {
        (0..2).find(|&side| same_network(self.host(side, 1), address))
    }

    /// Where its box stands.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place {
            addresses: [self.host(0, 1), self.host(1, 1)],
            vlans: [self.sides[0].vlan, self.sides[1].vlan],
            shared: self.shared,
        }
    }

    /// The settings for so many workers, with small tables.
    #[must_use]
    pub fn settings(&self, workers: u8) -> Settings {
        let mut settings = self.place().settings(workers);
        let names = ["caller", "callee"];
        settings.trunks = (0..2)
            .map(|side| {
                let peer = self.peer(side.into());
                let source = (peer.ip(), prefix_len(peer.ip()));
                trunk(names[usize::from(side)], side, vec![source], vec![peer])
            })
            .collect();
        settings.routes = vec![route(0, None, &[(1, 1000)]), route(1, None, &[(0, 1000)])];
        settings
    }

    /// The links and routes, and as neighbours whom `knows` names.
    #[must_use]
    pub fn network(&self, epoch: u32, mtu: u16, knows: &[IpAddr]) -> Network {
        let knows = knows
            .iter()
            .filter_map(|&address| Some((self.side_of(address)?, address)));
        self.place().network(epoch, mtu, knows)
    }
}

/// Where a box stands: on two networks.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its address on either side.
    pub addresses: [IpAddr; 2],
    /// The tags of its interfaces.
    pub vlans: [VlanStack; 2],
    /// Both sides are of one device, and differ in their tags.
    pub shared: bool,
}

impl Place {
    /// Its SIP listen on a side.
    #[must_use]
    pub const fn listen(&self, side: usize) -> SocketAddr {
        SocketAddr::new(self.addresses[side & 1], 5060)
    }

    /// The device of a side.
    #[must_use]
    pub const fn device(&self, side: usize) -> DeviceIndex {
        DeviceIndex(if self.shared || side == 0 { 0 } else { 1 })
    }

    /// The settings for so many workers, with small tables, without trunks and routes.
    #[must_use]
    pub fn settings(&self, workers: u8) -> Settings {
        let names = ["access", "core"].map(str::to_owned);
        Settings {
            workers,
            boot: 7,
            interfaces: (0..2)
                .map(|side| InterfaceSettings {
                    name: names[side].clone(),
                    device: self.device(side),
                    vlan: self.vlans[side],
                    checksum: ChecksumPolicy::Auto,
                })
                .collect(),
            listens: (0..2)
                .map(|side| Listen {
                    name: names[side].clone(),
                    address: self.listen(side),
                    advertised: self.listen(side),
                    stateless: false,
                })
                .collect(),
            media: (0..2)
                .map(|side| MediaRange {
                    name: names[side].clone(),
                    address: self.addresses[side],
                    advertised: self.addresses[side],
                    ports: MEDIA_PORTS[side].0..=MEDIA_PORTS[side].1,
                })
                .collect(),
            trunks: Vec::new(),
            routes: Vec::new(),
            domains: Vec::new(),
            authentication: Authentication::default(),
            // Who tests bans and rates says so.
            abuse: Abuse {
                failures: 0,
                requests_per_s: 0,
                ..Abuse::default()
            },
            registrar: Rules::default(),
            location: Location::default(),
            // Who tests session timers says so.
            session: SessionTimer {
                expires_s: 0,
                ..SessionTimer::default()
            },
            secrets: Secrets {
                branch: [1; 16],
                cookie: [[2; 16], [3; 16]],
                hash: [4; 16],
            },
            capacity: Capacity {
                transactions: 512,
                calls: 128,
                kept: crate::frame::KeptConfig::new(512, 4),
                ..Capacity::SMALL
            },
        }
    }

    /// The links and routes, and as neighbours whom `knows` names, by side.
    #[must_use]
    pub fn network(
        &self,
        epoch: u32,
        mtu: u16,
        knows: impl Iterator<Item = (usize, IpAddr)>,
    ) -> Network {
        let interfaces = [InterfaceIndex(0), InterfaceIndex(1)];
        let links = interfaces.map(|index| Link {
            index,
            mac: box_mac(index),
            mtu,
            up: true,
        });
        let routes = interfaces.map(|index| {
            let prefix = self.addresses[usize::from(index.0)];
            Route {
                prefix,
                length: prefix_len(prefix),
                gateway: None,
                out: Out::Ours(index),
                metric: 0,
            }
        });
        let neighbours: Vec<_> = knows
            .map(|(side, address)| Neighbour {
                interface: interfaces[side & 1],
                address,
                mac: PEER_MAC,
            })
            .collect();
        Network::new(epoch, &links, &self.addresses, &routes, &neighbours)
    }
}

/// A trunk of `side`.
#[must_use]
pub fn trunk(name: &str, side: u8, sources: Vec<(IpAddr, u8)>, targets: Vec<SocketAddr>) -> Trunk {
    Trunk {
        name: name.to_owned(),
        sources,
        targets,
        failover: Failover::default(),
        listen: ListenIndex(side),
        media: MediaIndex(side),
    }
}

/// A route from a trunk, for numbers that begin with `prefix`, to others with their q in
/// thousandths.
#[must_use]
pub fn route(from: u16, prefix: Option<&str>, to: &[(u16, u16)]) -> DialRoute {
    let choice = |&(trunk, q): &(u16, u16)| Choice {
        trunk: TrunkIndex(trunk),
        q,
    };
    DialRoute {
        from: Some(TrunkIndex(from)),
        prefix: prefix.map(str::to_owned),
        to: to.iter().map(choice).collect(),
        stateless: false,
    }
}

/// The domain of [`add_domain`].
pub const DOMAIN: &str = "example.com";

/// Adds a domain of subscribers on the access side, whose calls go to the last trunk; MD5 is the
/// second choice of its algorithms.
#[allow(clippy::cast_possible_truncation, reason = "few trunks")]
pub fn add_domain(settings: &mut Settings) {
    let trunk = TrunkIndex(settings.trunks.len() as u16);
    let last = trunk.0.saturating_sub(1);
    // Of the networks only the peers are trunks.
    let sources = settings
        .trunks
        .iter_mut()
        .flat_map(|trunk| &mut trunk.sources);
    sources.for_each(|(peer, len)| *len = if peer.is_ipv4() { 32 } else { 128 });
    settings.trunks.push(Trunk {
        name: DOMAIN.to_owned(),
        sources: Vec::new(),
        targets: Vec::new(),
        failover: Failover::default(),
        listen: ListenIndex(0),
        media: MediaIndex(0),
    });
    settings.domains.push(Domain {
        name: DOMAIN.to_owned(),
        trunk,
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        registrar: true,
        upstream: None,
        // Who tests limits says so.
        calls: 0,
        located: false,
    });
    settings.routes.push(route(trunk.0, None, &[(last, 1000)]));
}

/// The settings of the plain lab for so many workers, with small tables.
#[must_use]
pub fn settings(workers: u8) -> Settings {
    Lab::PLAIN.settings(workers)
}

/// The links and routes of the plain lab, and as neighbours whom `knows` names.
#[must_use]
pub fn network(epoch: u32, mtu: u16, knows: &[IpAddr]) -> Network {
    Lab::PLAIN.network(epoch, mtu, knows)
}

/// The peers and the strangers of the plain lab.
#[must_use]
pub fn everybody() -> [IpAddr; 4] {
    Lab::PLAIN.everybody()
}

const fn prefix_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 24 } else { 64 }
}

fn same_network(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.segments()[..4] == b.segments()[..4],
        _ => false,
    }
}
