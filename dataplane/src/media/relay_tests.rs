use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use etherparse::NetSlice;
use etherparse::SlicedPacket;
use etherparse::TransportSlice;
use proptest::prelude::*;

use super::super::flow::CallRef;
use super::super::flow::FlowKind;
use super::super::flow::FlowSpec;
use super::*;
use crate::ids::WorkerId;
use crate::route::Link;
use crate::route::Neighbour;
use crate::route::Out;
use crate::route::Route;
use crate::wire;
use crate::wire::Ethernet;

const ACCESS: InterfaceIndex = InterfaceIndex(0);
const CORE: InterfaceIndex = InterfaceIndex(1);
const POLICIES: [ChecksumPolicy; 3] = [
    ChecksumPolicy::Auto,
    ChecksumPolicy::Incremental,
    ChecksumPolicy::Full,
];

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn caller() -> SocketAddr {
    at("10.77.1.2:6000")
}

fn callee() -> SocketAddr {
    at("10.77.2.2:7000")
}

/// The flow caller → access:20000 ⇒ core:20002 → callee, PCMU and PCMA.
fn spec() -> FlowSpec {
    FlowSpec {
        local: at("10.77.1.1:20000"),
        kind: FlowKind::Rtp,
        source: Some(caller()),
        destination: Some(callee()),
        relay: at("10.77.2.1:20002"),
        payload_types: 1 << 0 | 1 << 8,
        call: CallRef {
            owner: WorkerId(0),
            slot: 5,
            generation: 9,
        },
    }
}

/// The lab's network; the callee answers to the station `callee_mac`.
fn network(epoch: u32, callee_mac: Option<u8>) -> Network {
    let link = |index: InterfaceIndex| Link {
        index,
        mac: [2, 0, 0, 0, 0, index.0],
        mtu: 1500,
        up: true,
    };
    let route = |third, index| Route {
        prefix: IpAddr::V4(Ipv4Addr::new(10, 77, third, 0)),
        length: 24,
        gateway: None,
        out: Out::Ours(index),
        metric: 0,
    };
    let neighbour = |last| Neighbour {
        interface: CORE,
        address: callee().ip(),
        mac: [4, 0, 0, 0, 0, last],
    };
    let neighbours: Vec<_> = callee_mac.map(neighbour).into_iter().collect();
    let addresses = [
        IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1)),
        IpAddr::V4(Ipv4Addr::new(10, 77, 2, 1)),
    ];
    let routes = [route(1, ACCESS), route(2, CORE)];
    Network::new(
        epoch,
        &[link(ACCESS), link(CORE)],
        &addresses,
        &routes,
        &neighbours,
    )
}

fn table_with(spec: &FlowSpec) -> FlowTable {
    let ranges = [
        (IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1)), 20_000..=20_099),
        (IpAddr::V4(Ipv4Addr::new(10, 77, 2, 1)), 20_000..=20_099),
    ];
    let mut table = FlowTable::new(&ranges, &[]).unwrap();
    let _ = table.open(spec);
    table
}

/// A frame with a complete UDP checksum.
fn frame_of(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0u8; wire::HEADERS_LEN];
    frame.extend_from_slice(payload);
    let (stations, tags) = (Ethernet::default(), VlanStack::NONE);
    let _ = wire::write_headers(&mut frame, &stations, &tags, src, dst, payload.len()).unwrap();
    wire::fill_udp_checksum(&mut frame);
    frame
}

fn rtp(payload_type: u8) -> Vec<u8> {
    let mut payload = vec![0x80, payload_type, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
    payload.extend_from_slice(&[0xd5; 160]);
    payload
}

fn relay_with(
    table: &mut FlowTable,
    frame: &mut Vec<u8>,
    network: &Network,
    policy: ChecksumPolicy,
) -> Relayed {
    let datagram = wire::parse(frame).unwrap();
    let mut room = vec![0xee; GROWTH_MAX];
    room.extend_from_slice(frame);
    let relayed = table.relay(&mut room, &datagram, network, policy);
    *frame = match relayed {
        Relayed::Forward {
            start, frame_len, ..
        } => room[start..start + frame_len].to_vec(),
        Relayed::Drop { .. } => room[GROWTH_MAX..].to_vec(),
    };
    relayed
}

/// Relays one payload from `src` through a fresh table.
fn relay_payload(spec: &FlowSpec, src: SocketAddr, payload: &[u8]) -> Relayed {
    let mut table = table_with(spec);
    let mut frame = frame_of(src, spec.local, payload);
    relay_with(
        &mut table,
        &mut frame,
        &network(1, Some(2)),
        ChecksumPolicy::Auto,
    )
}

fn dropped(reason: MediaDrop) -> Relayed {
    Relayed::Drop {
        reason,
        solicit: None,
    }
}

fn is_forwarded(relayed: Relayed) -> bool {
    matches!(
        relayed,
        Relayed::Forward {
            interface: CORE,
            ..
        }
    )
}

/// What the frame says of itself, by another implementation: source,
/// destination, payload, and whether the UDP checksum is complete and right.
fn sliced(frame: &[u8]) -> (SocketAddr, SocketAddr, Vec<u8>, bool) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (packet.net, packet.transport)
    else {
        panic!("not UDP over IPv4");
    };
    let header = ip.header().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(
        (
            header.time_to_live,
            header.dont_fragment,
            header.identification
        ),
        (64, true, 0)
    );
    assert_eq!(usize::from(header.total_len), frame.len() - 14);
    assert_eq!(usize::from(udp.length()), frame.len() - 34);
    let right = udp
        .to_header()
        .calc_checksum_ipv4(&header, udp.payload())
        .unwrap();
    let src = SocketAddr::new(ip.header().source_addr().into(), udp.source_port());
    let dst = SocketAddr::new(
        ip.header().destination_addr().into(),
        udp.destination_port(),
    );
    (src, dst, udp.payload().to_vec(), udp.checksum() == right)
}

#[test]
fn forwards_from_the_relay_to_the_destination() {
    let mut table = table_with(&spec());
    let mut frame = frame_of(caller(), spec().local, &rtp(8));
    let relayed = relay_with(
        &mut table,
        &mut frame,
        &network(1, Some(2)),
        ChecksumPolicy::Auto,
    );
    assert_eq!(
        relayed,
        Relayed::Forward {
            interface: CORE,
            start: GROWTH_MAX,
            frame_len: 214
        }
    );
    assert_eq!(sliced(&frame), (spec().relay, callee(), rtp(8), true));
    assert_eq!(frame[..12], [4, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
}

#[test]
fn cuts_the_padding_of_the_link() {
    let mut spec = spec();
    spec.kind = FlowKind::Rtcp;
    let mut table = table_with(&spec);
    let mut frame = frame_of(caller(), spec.local, &[0x80, 201, 0, 1, 1, 2, 3, 4]);
    frame.resize(60, 0xee);
    let relayed = relay_with(
        &mut table,
        &mut frame,
        &network(1, Some(2)),
        ChecksumPolicy::Full,
    );
    assert_eq!(
        relayed,
        Relayed::Forward {
            interface: CORE,
            start: GROWTH_MAX,
            frame_len: 50
        }
    );
    assert!(sliced(&frame[..50]).3);
}

#[test]
fn a_closed_port_takes_nothing() {
    let mut other = spec();
    other.local = at("10.77.1.1:20002");
    let mut table = table_with(&other);
    let mut frame = frame_of(caller(), spec().local, &rtp(8));
    let before = frame.clone();
    let relayed = relay_with(
        &mut table,
        &mut frame,
        &network(1, Some(2)),
        ChecksumPolicy::Auto,
    );
    assert_eq!(relayed, dropped(MediaDrop::PortClosed));
    assert_eq!(frame, before);
    table.close(other.local, other.call).unwrap();
    let mut frame = frame_of(caller(), other.local, &rtp(8));
    let relayed = relay_with(
        &mut table,
        &mut frame,
        &network(1, Some(2)),
        ChecksumPolicy::Auto,
    );
    assert_eq!(relayed, dropped(MediaDrop::PortClosed));
}

#[test]
fn a_stranger_is_dropped_and_counted() {
    for stranger in ["10.77.1.2:6001", "10.77.1.3:6000"] {
        let mut table = table_with(&spec());
        let mut frame = frame_of(at(stranger), spec().local, &rtp(8));
        let relayed = relay_with(
            &mut table,
            &mut frame,
            &network(1, Some(2)),
            ChecksumPolicy::Auto,
        );
        assert_eq!(relayed, dropped(MediaDrop::SourceUnknown));
        let report = table.report(spec().local).unwrap();
        assert_eq!(
            (report.packets_in, report.packets_out, report.drops),
            (1, 0, 1)
        );
    }
    let mut unset = spec();
    unset.source = None;
    for sender in [caller(), at("10.0.0.1:0")] {
        assert_eq!(
            relay_payload(&unset, sender, &rtp(8)),
            dropped(MediaDrop::SourceUnset)
        );
    }
}

#[test]
fn other_protocols_have_their_own_names() {
    let with_first = |first| {
        let mut payload = rtp(8);
        payload[0] = first;
        relay_payload(&spec(), caller(), &payload)
    };
    assert_eq!(with_first(0), dropped(MediaDrop::Stun));
    assert_eq!(with_first(19), dropped(MediaDrop::Zrtp));
    assert_eq!(with_first(22), dropped(MediaDrop::Dtls));
    assert_eq!(with_first(0x40), dropped(MediaDrop::TurnChannel));
    assert_eq!(with_first(0x50), dropped(MediaDrop::NotRtp));
    assert_eq!(with_first(0xc0), dropped(MediaDrop::NotRtp));
    assert!(is_forwarded(with_first(0xbf)));
    for payload in [&[][..], &[0x80], &rtp(8)[..11]] {
        assert_eq!(
            relay_payload(&spec(), caller(), payload),
            dropped(MediaDrop::TooShort)
        );
    }
}

#[test]
fn only_negotiated_payload_types_pass() {
    for payload_type in 0..128 {
        for marker in [0, 0x80] {
            let relayed = relay_payload(&spec(), caller(), &rtp(payload_type | marker));
            let negotiated = matches!(payload_type, 0 | 8);
            assert_eq!(is_forwarded(relayed), negotiated, "type {payload_type}");
        }
    }
    assert_eq!(
        relay_payload(&spec(), caller(), &rtp(101)),
        dropped(MediaDrop::PayloadType)
    );
}

#[test]
fn rtcp_passes_where_it_belongs() {
    let rtcp = [0x80, 201, 0, 1, 1, 2, 3, 4];
    let on = |kind, payload: &[u8]| {
        let mut spec = spec();
        spec.kind = kind;
        relay_payload(&spec, caller(), payload)
    };
    assert_eq!(on(FlowKind::Rtp, &rtcp), dropped(MediaDrop::RtcpOnRtpPort));
    assert!(is_forwarded(on(FlowKind::Rtcp, &rtcp)));
    assert!(is_forwarded(on(FlowKind::RtpAndRtcp, &rtcp)));
    assert!(is_forwarded(on(FlowKind::RtpAndRtcp, &rtp(0x88))));
    assert_eq!(
        on(FlowKind::RtpAndRtcp, &rtp(9)),
        dropped(MediaDrop::PayloadType)
    );
    assert_eq!(
        on(FlowKind::Rtcp, &rtp(8)),
        dropped(MediaDrop::RtpOnRtcpPort)
    );
    assert_eq!(on(FlowKind::Rtcp, &rtcp[..7]), dropped(MediaDrop::TooShort));
}

#[test]
fn rtp_that_looks_like_rtcp_passes_where_it_was_negotiated() {
    let mut spec = spec();
    spec.payload_types = 1 << 72;
    assert!(is_forwarded(relay_payload(&spec, caller(), &rtp(200))));
}

#[test]
fn on_hold_nothing_passes() {
    let mut spec = spec();
    spec.destination = None;
    assert_eq!(
        relay_payload(&spec, caller(), &rtp(8)),
        dropped(MediaDrop::NoDestination)
    );
}

#[test]
fn no_way_out_has_its_own_names() {
    let to = |destination| {
        let mut spec = spec();
        spec.destination = Some(at(destination));
        relay_payload(&spec, caller(), &rtp(8))
    };
    assert_eq!(to("10.77.1.1:7000"), dropped(MediaDrop::OwnAddress));
    assert_eq!(to("239.0.0.1:7000"), dropped(MediaDrop::NotUnicast));
    assert_eq!(to("192.0.2.1:7000"), dropped(MediaDrop::NoRoute));
    let solicit = Some(Solicit {
        interface: CORE,
        address: IpAddr::V4(Ipv4Addr::new(10, 77, 2, 9)),
    });
    let reason = MediaDrop::NoNeighbour;
    assert_eq!(to("10.77.2.9:7000"), Relayed::Drop { reason, solicit });
}

#[test]
fn what_the_mtu_does_not_hold_is_dropped() {
    let mut payload = rtp(8);
    payload.resize(1472, 0);
    assert!(is_forwarded(relay_payload(&spec(), caller(), &payload)));
    payload.push(0);
    assert_eq!(
        relay_payload(&spec(), caller(), &payload),
        dropped(MediaDrop::TooLarge)
    );
}

#[test]
fn a_new_snapshot_rebuilds_the_header() {
    let mut table = table_with(&spec());
    let mut relay_under = |network: &Network| {
        let mut frame = frame_of(caller(), spec().local, &rtp(8));
        let relayed = relay_with(&mut table, &mut frame, network, ChecksumPolicy::Auto);
        (is_forwarded(relayed), frame[5])
    };
    assert_eq!(relay_under(&network(1, Some(2))), (true, 2));
    // Under one epoch the way out is remembered, whatever the snapshot holds.
    assert_eq!(relay_under(&network(1, Some(3))), (true, 2));
    assert_eq!(relay_under(&network(2, Some(3))), (true, 3));
    assert!(!relay_under(&network(3, None)).0);
    assert!(!relay_under(&network(3, None)).0);
    assert_eq!(relay_under(&network(4, Some(4))), (true, 4));
    assert!(!relay_under(&network(5, None)).0);
    assert_eq!(table.report(spec().local).unwrap().egress, None);
}

#[test]
fn an_update_takes_effect_at_once_and_keeps_the_counters() {
    let mut table = table_with(&spec());
    let network = network(1, Some(2));
    let mut frame = frame_of(caller(), spec().local, &rtp(8));
    assert!(is_forwarded(relay_with(
        &mut table,
        &mut frame,
        &network,
        ChecksumPolicy::Auto
    )));
    let mut update = spec();
    update.destination = Some(at("10.77.2.2:9000"));
    update.source = Some(at("10.77.1.2:6666"));
    let _ = table.open(&update);
    let mut frame = frame_of(at("10.77.1.2:6666"), spec().local, &rtp(8));
    assert!(is_forwarded(relay_with(
        &mut table,
        &mut frame,
        &network,
        ChecksumPolicy::Auto
    )));
    assert_eq!(
        sliced(&frame),
        (spec().relay, at("10.77.2.2:9000"), rtp(8), true)
    );
    let report = table.close(update.local, update.call).unwrap();
    assert_eq!(
        (report.packets_in, report.packets_out, report.drops),
        (2, 2, 0)
    );
    assert_eq!((report.octets_in, report.octets_out), (344, 344));
}

#[test]
fn a_packet_that_found_no_room_counts_as_dropped() {
    let mut table = table_with(&spec());
    let mut frame = frame_of(caller(), spec().local, &rtp(8));
    let datagram = wire::parse(&frame).unwrap();
    let _ = relay_with(
        &mut table,
        &mut frame,
        &network(1, Some(2)),
        ChecksumPolicy::Auto,
    );
    table.not_sent(&datagram);
    let report = table.report(spec().local).unwrap();
    assert_eq!(
        (report.packets_in, report.packets_out, report.drops),
        (1, 0, 1)
    );
    assert_eq!((report.octets_in, report.octets_out), (172, 0));
}

#[test]
fn a_damaged_packet_stays_damaged_unless_computed_in_full() {
    for policy in POLICIES {
        let mut table = table_with(&spec());
        let mut frame = frame_of(caller(), spec().local, &rtp(8));
        frame[100] ^= 0x10;
        assert!(is_forwarded(relay_with(
            &mut table,
            &mut frame,
            &network(1, Some(2)),
            policy
        )));
        assert_eq!(sliced(&frame).3, policy == ChecksumPolicy::Full);
    }
}

fn host() -> impl Strategy<Value = SocketAddr> {
    (1u8..120, any::<[u8; 3]>(), any::<u16>()).prop_map(|(a, [b, c, d], port)| {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
    })
}

/// A network where everything is behind one gateway.
fn behind_gateway() -> Network {
    let gateway = IpAddr::V4(Ipv4Addr::new(121, 0, 0, 1));
    let link = Link {
        index: CORE,
        mac: [2; 6],
        mtu: 9000,
        up: true,
    };
    let route = Route {
        prefix: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        length: 0,
        gateway: Some(gateway),
        out: Out::Ours(CORE),
        metric: 0,
    };
    let neighbour = Neighbour {
        interface: CORE,
        address: gateway,
        mac: [4; 6],
    };
    Network::new(1, &[link], &[], &[route], &[neighbour])
}

#[derive(Clone, Copy, Debug)]
enum Arriving {
    Complete,
    Partial,
    Absent,
}

fn arrive(frame: &mut [u8], arriving: Arriving) {
    let datagram = wire::parse(frame).unwrap();
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (datagram.src().ip(), datagram.dst().ip()) else {
        panic!("not IPv4")
    };
    let addresses = checksum::pseudo_header_sum(src, dst);
    let field = match arriving {
        Arriving::Complete => return,
        Arriving::Partial => checksum::add(addresses, datagram.udp_len()),
        Arriving::Absent => 0,
    };
    frame[40..42].copy_from_slice(&field.to_be_bytes());
}

proptest! {
    #[test]
    fn every_relayed_frame_is_sound(
        source in host(), destination in host(), relay in host(),
        payload in proptest::collection::vec(any::<u8>(), 12..300),
        policy in proptest::sample::select(&POLICIES[..]),
        arriving in proptest::sample::select(
            &[Arriving::Complete, Arriving::Partial, Arriving::Absent][..]),
    ) {
        let mut payload = payload;
        payload[..2].copy_from_slice(&[0x80, 8]);
        let mut spec = spec();
        spec.source = Some(source);
        spec.destination = Some(destination);
        spec.relay = relay;
        let mut table = table_with(&spec);
        let mut frame = frame_of(source, spec.local, &payload);
        arrive(&mut frame, arriving);
        let relayed = relay_with(&mut table, &mut frame, &behind_gateway(), policy);
        prop_assert!(is_forwarded(relayed));
        let (src, dst, sent, right) = sliced(&frame);
        prop_assert_eq!((src, dst, sent), (relay, destination, payload));
        match (arriving, policy) {
            (Arriving::Absent, _) => prop_assert_eq!(&frame[40..42], &[0, 0]),
            // Incremental is for links where no partial sum arrives.
            (Arriving::Partial, ChecksumPolicy::Incremental) => {}
            _ => prop_assert!(right),
        }
    }

    #[test]
    fn a_computed_zero_is_sent_as_all_ones(
        policy in proptest::sample::select(&POLICIES[..]), seed in any::<[u8; 158]>(),
    ) {
        // The last word is chosen so that the checksum of the packet that
        // leaves comes out as zero.
        let mut payload = rtp(8);
        payload[12..170].copy_from_slice(&seed);
        payload[170..172].fill(0);
        let sent = frame_of(spec().relay, callee(), &payload);
        payload[170..172].copy_from_slice(&sent[40..42]);
        let mut table = table_with(&spec());
        let mut frame = frame_of(caller(), spec().local, &payload);
        prop_assert!(is_forwarded(relay_with(&mut table, &mut frame, &network(1, Some(2)), policy)));
        prop_assert_eq!(&frame[40..42], &[0xff, 0xff]);
    }

    #[test]
    fn counters_are_conserved(
        packets in proptest::collection::vec(
            (0u8..4, any::<u8>(), any::<u8>(), 0usize..40, any::<bool>()), 0..60),
    ) {
        let mut table = table_with(&spec());
        let network = network(1, Some(2));
        let (mut forwarded, mut dropped) = (0, 0);
        for (sender, first, second, len, likely) in packets {
            let mut payload = vec![first, second];
            if likely {
                payload = vec![0x80, second & 8];
            }
            payload.resize(payload.len() + len, 0);
            let src = if sender == 0 { at("10.77.1.9:6000") } else { caller() };
            let mut frame = frame_of(src, spec().local, &payload);
            match relay_with(&mut table, &mut frame, &network, ChecksumPolicy::Auto) {
                Relayed::Forward { .. } => forwarded += 1,
                Relayed::Drop { .. } => dropped += 1,
            }
        }
        let report = table.close(spec().local, spec().call).unwrap();
        prop_assert_eq!((report.packets_out, report.drops), (forwarded, dropped));
        prop_assert_eq!(report.packets_in, forwarded + dropped);
        prop_assert!(report.octets_out <= report.octets_in);
    }

    #[test]
    fn random_payloads_never_panic(
        payload in proptest::collection::vec(any::<u8>(), 0..64), kind in 0usize..3,
    ) {
        let mut spec = spec();
        spec.kind = [FlowKind::Rtp, FlowKind::Rtcp, FlowKind::RtpAndRtcp][kind];
        let _ = relay_payload(&spec, caller(), &payload);
    }

    #[test]
    fn random_frames_keep_every_promise(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        super::super::fuzz::frame(&bytes);
    }
}
