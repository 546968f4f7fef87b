use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use super::super::flow::CallRef;
use super::super::flow::FlowKind;
use super::super::flow::FlowSpec;
use super::super::relay::GROWTH_MAX;
use super::*;
use crate::ids::InterfaceIndex;
use crate::ids::WorkerId;
use crate::route::Link;
use crate::route::Neighbour;
use crate::route::Out;
use crate::route::Route;
use crate::wire;
use crate::wire::Ethernet;
use crate::wire::VlanStack;

const CORE: InterfaceIndex = InterfaceIndex(1);
const FIRST: &str = "10.77.1.1:20000";
const SECOND: &str = "10.77.2.1:20004";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn spec(local: &str, source: &str, destination: &str, relay: &str, slot: u32) -> FlowSpec {
    FlowSpec {
        local: at(local),
        kind: FlowKind::Rtp,
        source: Some(at(source)),
        destination: Some(at(destination)),
        relay: at(relay),
        payload_types: 1,
        call: CallRef {
            owner: WorkerId(0),
            slot,
            generation: 1,
        },
    }
}

/// The two flows of the figure.
fn flows() -> [FlowSpec; 2] {
    let (first, second) = ("10.77.2.1:20002", "10.77.2.1:20006");
    [
        spec(FIRST, "10.77.1.2:6000", SECOND, first, 1),
        spec(SECOND, first, "10.77.2.2:7000", second, 2),
    ]
}

fn table(specs: &[FlowSpec]) -> FlowTable {
    let range = |third| (IpAddr::V4(Ipv4Addr::new(10, 77, third, 1)), 20_000..=20_099);
    let mut table = FlowTable::new(&[range(1), range(2)], &[]).unwrap();
    for spec in specs {
        let _ = table.open(spec);
    }
    table
}

fn network(knows_callee: bool) -> Network {
    let link = Link {
        index: CORE,
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        up: true,
    };
    let addresses = [1, 2].map(|third| IpAddr::V4(Ipv4Addr::new(10, 77, third, 1)));
    let route = Route {
        prefix: IpAddr::V4(Ipv4Addr::new(10, 77, 2, 0)),
        length: 24,
        gateway: None,
        out: Out::Ours(CORE),
        metric: 0,
    };
    let callee = Neighbour {
        interface: CORE,
        address: at("10.77.2.2:0").ip(),
        mac: [4, 0, 0, 0, 0, 9],
    };
    let neighbours = if knows_callee {
        vec![callee]
    } else {
        Vec::new()
    };
    Network::new(1, &[link], &addresses, &[route], &neighbours)
}

fn frame(src: &str, payload_type: u8) -> Vec<u8> {
    let mut frame = vec![0; wire::HEADERS_LEN];
    frame.extend_from_slice(&[0x80, payload_type, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4]);
    frame.extend_from_slice(&[0xd5; 160]);
    let (stations, tags) = (Ethernet::default(), VlanStack::NONE);
    let len = frame.len() - wire::HEADERS_LEN;
    wire::write_headers(&mut frame, &stations, &tags, at(src), at(FIRST), len).unwrap();
    wire::fill_udp_checksum(&mut frame);
    frame
}

fn relay(
    table: &mut FlowTable,
    frame: &[u8],
    network: &Network,
    policy: ChecksumPolicy,
) -> (Relayed, Vec<u8>) {
    let datagram = wire::parse(frame).unwrap();
    let mut room = vec![0xee; GROWTH_MAX];
    room.extend_from_slice(frame);
    let relayed = table.relay(&mut room, &datagram, network, policy);
    let left = match relayed {
        Relayed::Forward {
            start, frame_len, ..
        } => room[start..start + frame_len].to_vec(),
        Relayed::Drop { .. } => Vec::new(),
    };
    (relayed, left)
}

/// Packets in and out, and drops, of the flow on `local`; octets go with them.
fn counts(table: &FlowTable, local: &str) -> (u64, u64, u64) {
    let report = table.report(at(local)).unwrap();
    assert_eq!(report.octets_in, report.packets_in * 172);
    assert_eq!(report.octets_out, report.packets_out * 172);
    assert_eq!(report.packets_in, report.packets_out + report.drops);
    (report.packets_in, report.packets_out, report.drops)
}

fn drop_of(relayed: Relayed) -> MediaDrop {
    match relayed {
        Relayed::Drop { reason, .. } => reason,
        Relayed::Forward { .. } => panic!("it was forwarded"),
    }
}

#[test]
fn a_packet_passes_both_flows_at_once_with_a_sum_that_holds() {
    for policy in [
        ChecksumPolicy::Auto,
        ChecksumPolicy::Incremental,
        ChecksumPolicy::Full,
    ] {
        let mut table = table(&flows());
        let sent = frame("10.77.1.2:6000", 0);
        let (relayed, left) = relay(&mut table, &sent, &network(true), policy);
        assert!(matches!(
            relayed,
            Relayed::Forward {
                interface: CORE,
                ..
            }
        ));
        let datagram = wire::parse(&left).unwrap();
        assert_eq!(
            (datagram.src(), datagram.dst()),
            (at("10.77.2.1:20006"), at("10.77.2.2:7000"))
        );
        assert!(wire::udp_checksum_ok(&left, &datagram));
        assert_eq!(datagram.payload(&left), &sent[wire::HEADERS_LEN..]);
        assert_eq!(counts(&table, FIRST), (1, 1, 0));
        assert_eq!(counts(&table, SECOND), (1, 1, 0));
        // Taken back where the transmit ring had no room: the second did not send it.
        table.not_sent(&wire::parse(&sent).unwrap());
        assert_eq!(
            (counts(&table, FIRST), counts(&table, SECOND)),
            ((1, 1, 0), (1, 0, 1))
        );
    }
}

#[test]
fn a_partial_sum_is_completed_a_damaged_one_stays_and_none_stays_none() {
    let whole = frame("10.77.1.2:6000", 0);
    let sum_at = wire::HEADERS_LEN - 2..wire::HEADERS_LEN;
    let with_sum = |sum: u16| {
        let mut frame = whole.clone();
        frame[sum_at.clone()].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    let (source, local) = (at("10.77.1.2:0").ip(), at(FIRST).ip());
    let addresses = checksum::pseudo_header_sum_of(source, local).unwrap();
    let partial = with_sum(checksum::add(addresses, 180));
    let right = u16::from_be_bytes([whole[sum_at.start], whole[sum_at.start + 1]]);
    let left_of = |frame: &[u8], policy| {
        let left = relay(&mut table(&flows()), frame, &network(true), policy).1;
        let datagram = wire::parse(&left).unwrap();
        (
            datagram.udp_checksum(),
            wire::udp_checksum_ok(&left, &datagram),
        )
    };
    let (auto, incremental) = (ChecksumPolicy::Auto, ChecksumPolicy::Incremental);
    let good = left_of(&whole, auto).0;
    assert_eq!(left_of(&partial, auto), (good, true));
    assert!(!left_of(&with_sum(right ^ 0x0101), incremental).1);
    assert_eq!(left_of(&with_sum(0), auto).0, 0);
}

#[test]
fn what_the_second_flow_refuses_is_its_drop() {
    let [first, second] = flows();
    let mut strangers = second;
    strangers.source = Some(at("10.77.2.2:7000"));
    let mut others = second;
    others.payload_types = 1 << 8;
    let cases = [
        (strangers, true, MediaDrop::SourceUnknown),
        (others, true, MediaDrop::PayloadType),
        (second, false, MediaDrop::NoNeighbour),
    ];
    for (second, knows_callee, reason) in cases {
        let mut table = table(&[first, second]);
        let sent = frame("10.77.1.2:6000", 0);
        let (relayed, _) = relay(
            &mut table,
            &sent,
            &network(knows_callee),
            ChecksumPolicy::Auto,
        );
        assert_eq!(drop_of(relayed), reason);
        assert_eq!(
            (counts(&table, FIRST), counts(&table, SECOND)),
            ((1, 1, 0), (1, 0, 1))
        );
    }
}

#[test]
fn a_closed_port_another_address_of_ours_and_a_third_flow_have_their_names() {
    let [first, second] = flows();
    let sent = frame("10.77.1.2:6000", 0);
    let relayed = |specs: &[FlowSpec]| {
        let mut table = table(specs);
        let (relayed, _) = relay(&mut table, &sent, &network(true), ChecksumPolicy::Auto);
        (drop_of(relayed), counts(&table, FIRST))
    };
    assert_eq!(relayed(&[first]), (MediaDrop::PortClosed, (1, 0, 1)));
    let mut elsewhere = first;
    elsewhere.destination = Some(at("10.77.2.1:9"));
    assert_eq!(relayed(&[elsewhere]), (MediaDrop::OwnAddress, (1, 0, 1)));
    // Flows that lead to each other, and one that leads to itself, are no loop.
    let mut back = second;
    back.destination = Some(at(FIRST));
    assert_eq!(relayed(&[first, back]), (MediaDrop::JoinedTwice, (1, 1, 0)));
    let mut itself = first;
    itself.destination = Some(at(FIRST));
    assert_eq!(
        drop_of(
            relay(
                &mut table(&[itself]),
                &sent,
                &network(true),
                ChecksumPolicy::Auto
            )
            .0
        ),
        MediaDrop::SourceUnknown
    );
}
