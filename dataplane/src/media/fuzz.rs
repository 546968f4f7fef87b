//! What must hold for any bytes that arrive as a frame on a media port.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use super::CallRef;
use super::ChecksumPolicy;
use super::FlowKind;
use super::FlowSpec;
use super::FlowTable;
use super::Relayed;
use crate::ids::InterfaceIndex;
use crate::route::Link;
use crate::route::Neighbour;
use crate::route::Network;
use crate::route::Out;
use crate::route::Route;
use crate::wire;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1)), 20_000);
const RELAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 1)), 20_002);
const CALLEE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2)), 7_000);

/// Takes `bytes` as a frame: first as they are, then with headers that bring
/// their rest to an open port, under each checksum policy.
///
/// # Panics
/// If a relayed frame is not sound, a dropped one was touched, or a flow's
/// counters do not add up.
pub fn frame(bytes: &[u8]) {
    relay_each(bytes);
    let mut framed = bytes.to_vec();
    let payload_len = bytes.len().saturating_sub(wire::HEADERS_LEN);
    let ethernet = wire::Ethernet::default();
    if wire::write_headers(&mut framed, &ethernet, CALLEE, LOCAL, payload_len).is_some() {
        // The checksum stays what the bytes say: right, wrong or none.
        framed[40..42].copy_from_slice(&bytes[40..42]);
        relay_each(&framed);
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
        for kind in [FlowKind::Rtp, FlowKind::Rtcp, FlowKind::RtpAndRtcp] {
            relay_one(bytes, &datagram, policy, kind, was_right);
        }
    }
}

fn relay_one(
    bytes: &[u8],
    datagram: &wire::Datagram,
    policy: ChecksumPolicy,
    kind: FlowKind,
    was_right: bool,
) {
    let Some((mut table, spec)) = table_for(datagram.src, kind) else {
        return;
    };
    let mut frame = bytes.to_vec();
    let (sent, drops) = match table.relay(&mut frame, datagram, &network(), policy) {
        Relayed::Forward { frame_len, .. } => {
            let sent = &frame[..frame_len];
            let Ok(leaving) = wire::parse(sent) else {
                panic!("a relayed frame does not parse");
            };
            assert_eq!((leaving.src, leaving.dst), (RELAY, CALLEE));
            assert_eq!(leaving.payload(sent), datagram.payload(bytes));
            assert_eq!(leaving.udp_checksum() == 0, datagram.udp_checksum() == 0);
            // Incremental alone cannot mend a partial sum.
            if was_right && policy != ChecksumPolicy::Incremental {
                assert!(wire::udp_checksum_ok(sent, &leaving));
            }
            (1, 0)
        }
        Relayed::Drop { .. } => {
            assert_eq!(frame, bytes);
            (0, 1)
        }
    };
    let Some(report) = table.close(spec.local, spec.call) else {
        panic!("the flow is gone");
    };
    if datagram.dst == LOCAL {
        assert_eq!(
            (report.packets_in, report.packets_out, report.drops),
            (1, sent, drops)
        );
    } else {
        assert_eq!((report.packets_in, sent), (0, 0));
    }
}

fn table_for(source: SocketAddr, kind: FlowKind) -> Option<(FlowTable, FlowSpec)> {
    let mut table = FlowTable::new(&[(LOCAL.ip(), 20_000..=20_003)]).ok()?;
    let spec = FlowSpec {
        local: LOCAL,
        kind,
        source: Some(source),
        destination: Some(CALLEE),
        relay: RELAY,
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
    let prefix = IpAddr::V4(Ipv4Addr::new(10, 77, 2, 0));
    let route = Route {
        prefix,
        length: 24,
        gateway: None,
        out: Out::Ours(index),
        metric: 0,
    };
    let mac = [2, 0, 0, 0, 0, 2];
    let neighbour = Neighbour {
        interface: index,
        address: CALLEE.ip(),
        mac,
    };
    let addresses = [LOCAL.ip(), RELAY.ip()];
    Network::new(1, &[link], &addresses, &[route], &[neighbour])
}
