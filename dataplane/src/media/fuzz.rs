//! What must hold for any bytes that arrive as a frame on a media port.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use super::CallRef;
use super::ChecksumPolicy;
use super::FlowKind;
use super::FlowSpec;
use super::FlowTable;
use super::GROWTH_MAX;
use super::Relayed;
use crate::ids::InterfaceIndex;
use crate::route::Link;
use crate::route::Neighbour;
use crate::route::Network;
use crate::route::Out;
use crate::route::Route;
use crate::wire;
use crate::wire::VlanStack;
use crate::wire::vlan::TPID_8021AD;

const fn v4(third: u8, last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, third, last))
}

const fn v6(third: u16, last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x77, third, 0, 0, 0, last))
}

/// By family.
const LOCALS: [SocketAddr; 2] = [
    SocketAddr::new(v4(1, 1), 20_000),
    SocketAddr::new(v6(1, 1), 20_000),
];
const RELAYS: [SocketAddr; 2] = [
    SocketAddr::new(v4(2, 1), 20_002),
    SocketAddr::new(v6(2, 1), 20_002),
];
const CALLEES: [SocketAddr; 2] = [
    SocketAddr::new(v4(2, 2), 7_000),
    SocketAddr::new(v6(2, 2), 7_000),
];
const VLANS: [VlanStack; 3] = [
    VlanStack::NONE,
    VlanStack::one(100),
    VlanStack::two(TPID_8021AD, 200, 100),
];

/// Takes `bytes` as a frame: first as they are, then with headers of both IP versions and
/// of none to two tags that bring their rest to an open port, under each checksum policy,
/// each with each way out.
///
/// # Panics
/// If a relayed frame is not sound, a dropped one was touched, or a flow's
/// counters do not add up.
pub fn frame(bytes: &[u8]) {
    relay_each(bytes);
    for (local, callee) in LOCALS.into_iter().zip(CALLEES) {
        for vlan in VLANS {
            let headers_len = wire::headers_len(&vlan, local.ip());
            let payload_len = bytes.len().saturating_sub(headers_len);
            let mut framed = bytes.to_vec();
            let ethernet = wire::Ethernet::default();
            if wire::write_headers(&mut framed, &ethernet, &vlan, callee, local, payload_len)
                .is_some()
            {
                // The checksum stays what the bytes say: right, wrong or none.
                let field = headers_len - 2..headers_len;
                framed[field.clone()].copy_from_slice(&bytes[field]);
                relay_each(&framed);
            }
        }
    }
}

fn relay_each(bytes: &[u8]) {
    let Ok(datagram) = wire::parse(bytes) else {
        return;
    };
    assert!(datagram.frame_len() <= bytes.len());
    let was_right = wire::udp_checksum_ok(bytes, &datagram);
    let policies = [
        ChecksumPolicy::Auto,
        ChecksumPolicy::Incremental,
        ChecksumPolicy::Full,
    ];
    for policy in policies {
        for (kind, family, vlan) in [
            (FlowKind::Rtp, 0, VLANS[0]),
            (FlowKind::Rtp, 1, VLANS[2]),
            (FlowKind::Rtcp, 0, VLANS[1]),
            (FlowKind::RtpAndRtcp, 1, VLANS[0]),
        ] {
            let way = Way { kind, family, vlan };
            relay_one(bytes, &datagram, policy, way, was_right);
        }
    }
}

/// What a flow takes, and how it leaves.
#[derive(Clone, Copy)]
struct Way {
    kind: FlowKind,
    family: usize,
    vlan: VlanStack,
}

fn relay_one(
    bytes: &[u8],
    datagram: &wire::Datagram,
    policy: ChecksumPolicy,
    way: Way,
    was_right: bool,
) {
    let Some((mut table, spec)) = table_for(datagram.src(), way) else {
        return;
    };
    let mut room = vec![0xee; GROWTH_MAX];
    room.extend_from_slice(bytes);
    let before = room.clone();
    let (sent, drops) = match table.relay(&mut room, datagram, &network(), policy) {
        Relayed::Forward {
            start, frame_len, ..
        } => {
            let sent = &room[start..start + frame_len];
            let Ok(leaving) = wire::parse(sent) else {
                panic!("a relayed frame does not parse");
            };
            assert_eq!(
                (leaving.src(), leaving.dst()),
                (RELAYS[way.family], CALLEES[way.family])
            );
            assert_eq!(leaving.vlan, way.vlan);
            assert_eq!(leaving.payload(sent), datagram.payload(bytes));
            let absent = datagram.udp_checksum() == 0;
            assert_eq!(leaving.udp_checksum() == 0, absent && way.family == 0);
            // Incremental alone cannot mend a partial sum.
            if was_right && (absent || policy != ChecksumPolicy::Incremental) {
                assert!(wire::udp_checksum_ok(sent, &leaving));
            }
            (1, 0)
        }
        Relayed::Drop { .. } => {
            assert_eq!(room, before);
            (0, 1)
        }
    };
    let Some(report) = table.close(spec.local, spec.call) else {
        panic!("the flow is gone");
    };
    assert_eq!(report.spec, spec);
    if datagram.dst() == spec.local {
        assert_eq!(
            (report.packets_in, report.packets_out, report.drops),
            (1, sent, drops)
        );
    } else {
        assert_eq!((report.packets_in, sent), (0, 0));
    }
}

fn table_for(source: SocketAddr, way: Way) -> Option<(FlowTable, FlowSpec)> {
    let ranges = LOCALS.map(|local| (local.ip(), 20_000..=20_003));
    let mut table = FlowTable::new(&ranges, &[way.vlan]).ok()?;
    let spec = FlowSpec {
        local: LOCALS[usize::from(source.is_ipv6())],
        kind: way.kind,
        source: Some(source),
        destination: Some(CALLEES[way.family]),
        relay: RELAYS[way.family],
        payload_types: u128::MAX >> 8,
        call: CallRef::default(),
    };
    let _ = table.open(&spec);
    Some((table, spec))
}

fn network() -> Network {
    let index = InterfaceIndex(0);
    let link = Link {
        index,
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        up: true,
    };
    let routes = [(v4(2, 0), 24), (v6(2, 0), 64)].map(|(prefix, length)| Route {
        prefix,
        length,
        gateway: None,
        out: Out::Ours(index),
        metric: 0,
    });
    let neighbours = CALLEES.map(|callee| Neighbour {
        interface: index,
        address: callee.ip(),
        mac: [2, 0, 0, 0, 0, 2],
    });
    let addresses = [LOCALS, RELAYS].concat();
    let addresses: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
    Network::new(1, &[link], &addresses, &routes, &neighbours)
}
