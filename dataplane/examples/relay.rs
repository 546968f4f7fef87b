//! Instructions a relayed packet: parse, look up, check, rewrite.
//!
//! ```text
//! cargo build --release -p trunkline-dataplane --example relay
//! valgrind --tool=callgrind relay 0 auto        # set-up alone
//! valgrind --tool=callgrind relay 100000 auto   # less set-up, by 100,000
//! ```
//!
//! G.711, 20 ms: frames of 214 bytes over 1,000 open flows. Each frame is
//! restored from its template before it is relayed, a copy of 214 bytes that
//! the figure holds; policy `copy` measures that alone.

use std::hint::black_box;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::media::CallRef;
use trunkline_dataplane::media::ChecksumPolicy;
use trunkline_dataplane::media::FlowKind;
use trunkline_dataplane::media::FlowSpec;
use trunkline_dataplane::media::FlowTable;
use trunkline_dataplane::media::GROWTH_MAX;
use trunkline_dataplane::media::Relayed;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::wire;

const ACCESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1));
const CORE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 2, 1));
const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2));
const CALLEE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2));
const FLOW_COUNT: u16 = 1_000;
const PORTS: std::ops::RangeInclusive<u16> = 20_000..=29_999;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let packets: u64 = arguments
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100_000);
    let policy = match arguments.next().as_deref() {
        None | Some("auto") => Some(ChecksumPolicy::Auto),
        Some("incremental") => Some(ChecksumPolicy::Incremental),
        Some("full") => Some(ChecksumPolicy::Full),
        Some("copy") => None,
        Some(other) => {
            eprintln!("{other} is no policy: auto, incremental, full or copy");
            std::process::exit(2);
        }
    };
    let Ok(mut table) = FlowTable::new(&[(ACCESS, PORTS), (CORE, PORTS)], &[]) else {
        eprintln!("the media ranges do not make a table");
        std::process::exit(1);
    };
    let templates: Vec<[u8; GROWTH_MAX + 214]> =
        (0..FLOW_COUNT).map(|at| open(&mut table, at)).collect();
    let network = lab::network(1, 1500, &lab::everybody());
    let mut forwarded = 0u64;
    for (template, _) in templates.iter().cycle().zip(0..packets) {
        let mut room = *template;
        if let Some(policy) = policy {
            forwarded += relay(&mut table, &mut room, &network, policy);
        }
        black_box(&mut room);
    }
    println!("{packets} packets, {forwarded} forwarded");
}

fn relay(table: &mut FlowTable, room: &mut [u8], network: &Network, policy: ChecksumPolicy) -> u64 {
    let Ok(datagram) = wire::parse(&room[GROWTH_MAX..]) else {
        return 0;
    };
    match table.relay(room, &datagram, network, policy) {
        Relayed::Forward { .. } => 1,
        Relayed::Drop { .. } => 0,
    }
}

/// Opens a flow and makes a frame for it, behind room for its headers to grow.
fn open(table: &mut FlowTable, at: u16) -> [u8; GROWTH_MAX + 214] {
    let source = SocketAddr::new(CALLER, 30_000 + 2 * at);
    let spec = FlowSpec {
        local: SocketAddr::new(ACCESS, 20_000 + 2 * at),
        kind: FlowKind::Rtp,
        source: Some(source),
        destination: Some(SocketAddr::new(CALLEE, 40_000 + 2 * at)),
        relay: SocketAddr::new(CORE, 20_000 + 2 * at),
        payload_types: 1 << 8,
        call: CallRef {
            owner: WorkerId(0),
            slot: u32::from(at),
            generation: 1,
        },
    };
    let _ = table.open(&spec);
    let mut room = [0xd5; GROWTH_MAX + 214];
    let frame = &mut room[GROWTH_MAX..];
    frame[42..54].copy_from_slice(&[0x80, 8, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4]);
    let ethernet = wire::Ethernet::default();
    let tags = wire::VlanStack::NONE;
    let _ = wire::write_headers(frame, &ethernet, &tags, source, spec.local, 172);
    wire::fill_udp_checksum(frame);
    room
}
