//! The small box that whole-worker tests, fuzz targets and the simulator run: two
//! interfaces, a listen and a media range on each, a trunk behind each that calls the other.
//!
//! ```text
//!   caller 10.77.1.2 ── access 10.77.1.1 [box] core 10.77.2.1 ── callee 10.77.2.2
//! ```

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

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
use crate::settings::Capacity;
use crate::settings::DialRoute;
use crate::settings::InterfaceSettings;
use crate::settings::Listen;
use crate::settings::MediaRange;
use crate::settings::Secrets;
use crate::settings::Settings;
use crate::settings::Trunk;

/// The box's address and SIP listen on each interface; media uses the same address.
pub const LISTENS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1)), 5060),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 1)), 5060),
];
/// The peer behind each interface: caller, callee.
pub const PEERS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2)), 5060),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2)), 5060),
];
/// Somebody else on the link of each interface.
pub const STRANGERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 77, 1, 66)),
    IpAddr::V4(Ipv4Addr::new(10, 77, 2, 66)),
];
/// First and last media port of each interface's range.
pub const MEDIA_PORTS: [(u16, u16); 2] = [(20_000, 23_999), (30_000, 33_999)];
/// The station address of every host that is not the box.
pub const PEER_MAC: [u8; 6] = [4, 0, 0, 0, 0, 9];

/// The station address of the box on an interface.
#[must_use]
pub const fn box_mac(interface: InterfaceIndex) -> [u8; 6] {
    [2, 0, 0, 0, 0, interface.0]
}

/// The settings for so many workers, with small tables.
#[must_use]
pub fn settings(workers: u8) -> Settings {
    let trunk = |side: u8| {
        let peer = PEERS[usize::from(side)];
        Trunk {
            name: ["caller", "callee"][usize::from(side)].to_owned(),
            sources: vec![(peer.ip(), 24)],
            target: Some(peer),
            listen: ListenIndex(side),
            media: MediaIndex(side),
        }
    };
    let route = |from, to| DialRoute {
        from: Some(TrunkIndex(from)),
        prefix: None,
        to: TrunkIndex(to),
    };
    let names = ["access", "core"].map(str::to_owned);
    Settings {
        workers,
        boot: 7,
        interfaces: names
            .iter()
            .map(|name| InterfaceSettings {
                name: name.clone(),
                checksum: ChecksumPolicy::Auto,
            })
            .collect(),
        listens: names
            .iter()
            .zip(LISTENS)
            .map(|(name, address)| Listen {
                name: name.clone(),
                address,
                advertised: address,
            })
            .collect(),
        media: names
            .iter()
            .zip(LISTENS)
            .zip(MEDIA_PORTS)
            .map(|((name, listen), (first, last))| MediaRange {
                name: name.clone(),
                address: listen.ip(),
                advertised: listen.ip(),
                ports: first..=last,
            })
            .collect(),
        trunks: vec![trunk(0), trunk(1)],
        routes: vec![route(0, 1), route(1, 0)],
        secrets: Secrets {
            branch: [1; 16],
            cookie: [[2; 16], [3; 16]],
            hash: [4; 16],
        },
        capacity: Capacity {
            transactions: 512,
            calls: 128,
            kept: [1024, 128, 4],
        },
    }
}

/// The links and routes, and as neighbours whom `knows` names.
#[must_use]
pub fn network(epoch: u32, mtu: u16, knows: &[IpAddr]) -> Network {
    let interfaces = [InterfaceIndex(0), InterfaceIndex(1)];
    let side = |index: InterfaceIndex| LISTENS[usize::from(index.0)];
    let links = interfaces.map(|index| Link {
        index,
        mac: box_mac(index),
        mtu,
        up: true,
    });
    let routes = interfaces.map(|index| Route {
        prefix: side(index).ip(),
        length: 24,
        gateway: None,
        out: Out::Ours(index),
        metric: 0,
    });
    let neighbours: Vec<_> = knows
        .iter()
        .flat_map(|&address| {
            interfaces
                .into_iter()
                .filter(move |&index| same_link(side(index).ip(), address))
                .map(move |interface| Neighbour {
                    interface,
                    address,
                    mac: PEER_MAC,
                })
        })
        .collect();
    Network::new(
        epoch,
        &links,
        &LISTENS.map(|listen| listen.ip()),
        &routes,
        &neighbours,
    )
}

/// True where both are of one interface's network.
fn same_link(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        _ => false,
    }
}

/// The peers and the strangers: all that the network usually knows.
#[must_use]
pub fn everybody() -> [IpAddr; 4] {
    [PEERS[0].ip(), PEERS[1].ip(), STRANGERS[0], STRANGERS[1]]
}
