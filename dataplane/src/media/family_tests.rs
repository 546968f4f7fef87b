//! The relay between all pairs of {IPv4, IPv6} × {no tag, one, two}, against another
//! implementation.

use std::net::IpAddr;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::flow::CallRef;
use super::flow::FlowKind;
use super::*;
use crate::ids::InterfaceIndex;
use crate::route::Link;
use crate::route::Neighbour;
use crate::route::Network;
use crate::route::Out;
use crate::route::Route;
use crate::wire;
use crate::wire::Ethernet;
use crate::wire::VlanStack;
use crate::wire::checksum;
use crate::wire::oracle;
use crate::wire::oracle::STACKS;

const CORE: InterfaceIndex = InterfaceIndex(1);
const POLICIES: [ChecksumPolicy; 3] = [
    ChecksumPolicy::Auto,
    ChecksumPolicy::Incremental,
    ChecksumPolicy::Full,
];
const MTU: u16 = 1500;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn local(ipv6: bool) -> SocketAddr {
    at(["10.77.1.1:20000", "[2001:db8:77:1::1]:20000"][usize::from(ipv6)])
}

/// A network where everything is behind one gateway a family.
fn network() -> Network {
    let link = Link {
        index: CORE,
        mac: [2; 6],
        mtu: MTU,
        up: true,
    };
    let gateways = ["121.0.0.1", "fe80::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
    let routes = gateways.map(|gateway| Route {
        prefix: match gateway.is_ipv4() {
            true => IpAddr::from([0; 4]),
            false => IpAddr::from([0; 16]),
        },
        length: 0,
        gateway: Some(gateway),
        out: Out::Ours(CORE),
        metric: 0,
    });
    let neighbours = gateways.map(|address| Neighbour {
        interface: CORE,
        address,
        mac: [4; 6],
    });
    Network::new(1, &[link], &[], &routes, &neighbours)
}

fn spec(source: SocketAddr, relay: SocketAddr, destination: SocketAddr) -> FlowSpec {
    FlowSpec {
        local: local(source.is_ipv6()),
        kind: FlowKind::Rtp,
        source: Some(source),
        destination: Some(destination),
        relay,
        payload_types: 1 << 8,
        call: CallRef::default(),
    }
}

fn table(spec: &FlowSpec, egress: VlanStack) -> FlowTable {
    let ranges = [false, true].map(|ipv6| (local(ipv6).ip(), 20_000..=20_003));
    let mut table = FlowTable::new(&ranges, &[VlanStack::one(7), egress]).unwrap();
    assert_eq!(table.open(spec), Opened::New);
    table
}

fn rtp(len: usize) -> Vec<u8> {
    let mut payload = vec![0x80, 8, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
    payload.resize(len, 0xd5);
    payload
}

/// The frame as it leaves, or why it does not.
fn relayed(
    table: &mut FlowTable,
    frame: &[u8],
    policy: ChecksumPolicy,
) -> Result<Vec<u8>, MediaDrop> {
    let datagram = wire::parse(frame).unwrap();
    let mut room = vec![0xee; GROWTH_MAX];
    room.extend_from_slice(frame);
    let before = room.clone();
    match table.relay(&mut room, &datagram, &network(), policy) {
        Relayed::Forward {
            interface,
            start,
            frame_len,
        } => {
            assert_eq!(interface, CORE);
            let after = room.split_off(start + frame_len);
            assert_eq!(after, before[start + frame_len..], "padding is left alone");
            Ok(room.split_off(start))
        }
        Relayed::Drop { reason, .. } => {
            assert_eq!(room, before, "a dropped packet was touched");
            Err(reason)
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Arriving {
    Complete,
    Partial,
    Absent,
}

fn arrive(frame: &mut [u8], arriving: Arriving) {
    let datagram = wire::parse(frame).unwrap();
    let addresses = checksum::pseudo_header_sum_of(datagram.src().ip(), datagram.dst().ip());
    let field = match arriving {
        Arriving::Complete => return,
        Arriving::Partial => checksum::add(addresses.unwrap(), datagram.udp_len()),
        Arriving::Absent => 0,
    };
    wire::set_udp_checksum(frame, datagram.headers_len(), field);
}

fn host(ipv6: bool) -> impl Strategy<Value = SocketAddr> {
    (any::<[u8; 15]>(), any::<u16>()).prop_map(move |(low, port)| {
        let mut octets = [0x20; 16];
        octets[1..].copy_from_slice(&low);
        let ip = match ipv6 {
            true => octets.into(),
            false => [9, low[0], low[1], low[2]].into(),
        };
        SocketAddr::new(ip, port)
    })
}

/// Source, relay and destination: relay and destination are of one family.
fn way() -> impl Strategy<Value = [SocketAddr; 3]> {
    (any::<bool>(), any::<bool>()).prop_flat_map(|(from, to)| [host(from), host(to), host(to)])
}

proptest! {
    #[test]
    fn every_relayed_frame_is_sound(
        [source, relay, destination] in way(),
        payload in prop::collection::vec(any::<u8>(), 12..300),
        policy in prop::sample::select(&POLICIES[..]),
        (came, leaves) in (prop::sample::select(&STACKS[..]), prop::sample::select(&STACKS[..])),
        arriving in prop::sample::select(
            &[Arriving::Complete, Arriving::Partial, Arriving::Absent][..]),
        padding in 0usize..20,
    ) {
        prop_assume!(source.is_ipv4() || !matches!(arriving, Arriving::Absent));
        let mut payload = payload;
        payload[..2].copy_from_slice(&[0x80, 8]);
        let spec = spec(source, relay, destination);
        let mut table = table(&spec, leaves);
        let mut frame = oracle::build(&Ethernet::default(), &came, source, spec.local, &payload);
        arrive(&mut frame, arriving);
        frame.resize(frame.len() + padding, 0xcc);
        let sent = relayed(&mut table, &frame, policy).unwrap();
        let read = oracle::read(&sent);
        prop_assert_eq!((read.src, read.dst, read.payload), (relay, destination, payload));
        prop_assert_eq!(read.vlan_ids, leaves.ids().collect::<Vec<_>>());
        let stations = Ethernet { destination: [4; 6], source: [2; 6] };
        prop_assert_eq!(read.ethernet, stations);
        prop_assert_eq!(wire::parse(&sent).unwrap().vlan, leaves);
        match (arriving, policy) {
            (Arriving::Absent, _) if destination.is_ipv4() => prop_assert_eq!(read.udp_checksum, 0),
            // Incremental is for links where no partial sum arrives.
            (Arriving::Partial, ChecksumPolicy::Incremental) => {}
            _ => prop_assert!(read.right),
        }
        let report = table.report(spec.local).unwrap();
        prop_assert_eq!(report.spec, spec);
        prop_assert_eq!((report.packets_in, report.packets_out, report.drops), (1, 1, 0));
    }

    #[test]
    fn damage_shows_on_the_other_side_too(
        [source, relay, destination] in way(), bit in 0usize..8 * 160,
    ) {
        let spec = spec(source, relay, destination);
        for policy in POLICIES {
            let mut table = table(&spec, VlanStack::NONE);
            let mut frame =
                oracle::build(&Ethernet::default(), &VlanStack::NONE, source, spec.local, &rtp(172));
            let at = frame.len() - 160 + bit / 8;
            frame[at] ^= 1 << (bit % 8);
            let sent = relayed(&mut table, &frame, policy).unwrap();
            // One in 65,535 looks partial and is computed anew.
            let blessed = oracle::read(&sent).right;
            prop_assert!(!blessed || policy != ChecksumPolicy::Incremental);
            prop_assert!(blessed || policy != ChecksumPolicy::Full);
        }
    }
}

#[test]
fn the_source_is_compared_whole_in_either_family() {
    let (relay, destination) = (at("10.77.2.1:20002"), at("10.77.2.2:7000"));
    let source = at("[2001:db8:77:1::2]:6000");
    let spec = spec(source, relay, destination);
    for stranger in [
        "[2001:db8:77:1::3]:6000",
        "[2001:db8:77:1::2]:6001",
        "[3001:db8:77:1::2]:6000",
    ] {
        let mut table = table(&spec, VlanStack::NONE);
        let tags = VlanStack::NONE;
        let frame = oracle::build(
            &Ethernet::default(),
            &tags,
            at(stranger),
            spec.local,
            &rtp(172),
        );
        let found = relayed(&mut table, &frame, ChecksumPolicy::Auto);
        assert_eq!(found, Err(MediaDrop::SourceUnknown), "{stranger}");
    }
}

#[test]
fn the_mtu_is_that_of_the_packet_as_it_leaves() {
    let source = at("10.77.1.2:6000");
    let v4 = (at("10.77.2.1:20002"), at("10.77.2.2:7000"), 28);
    let v6 = (at("[2001:db8::1]:20002"), at("[2001:db8::2]:7000"), 48);
    for (relay, destination, headers_len) in [v4, v6] {
        for vlan in STACKS {
            let spec = spec(source, relay, destination);
            let mut table = table(&spec, vlan);
            let longest = usize::from(MTU) - headers_len;
            for (len, fits) in [(longest, true), (longest + 1, false)] {
                let tags = VlanStack::NONE;
                let payload = rtp(len);
                let frame =
                    oracle::build(&Ethernet::default(), &tags, source, spec.local, &payload);
                let found = relayed(&mut table, &frame, ChecksumPolicy::Auto);
                match fits {
                    true => assert_eq!(oracle::read(&found.unwrap()).payload, payload),
                    false => assert_eq!(found, Err(MediaDrop::TooLarge)),
                }
            }
        }
    }
}

#[test]
fn a_destination_of_another_family_than_the_relay_is_none() {
    let spec = spec(
        at("10.77.1.2:6000"),
        at("10.77.2.1:20002"),
        at("[2001:db8::2]:7000"),
    );
    let mut table = table(&spec, VlanStack::NONE);
    let tags = VlanStack::NONE;
    let frame = oracle::build(
        &Ethernet::default(),
        &tags,
        at("10.77.1.2:6000"),
        spec.local,
        &rtp(172),
    );
    let found = relayed(&mut table, &frame, ChecksumPolicy::Auto);
    assert_eq!(found, Err(MediaDrop::NoDestination));
}

#[test]
fn an_update_may_change_the_family_of_the_way_out() {
    let source = at("10.77.1.2:6000");
    let four = spec(source, at("10.77.2.1:20002"), at("10.77.2.2:7000"));
    let six = spec(source, at("[2001:db8::1]:20002"), at("[2001:db8::2]:7000"));
    let mut table = table(&four, VlanStack::one(5));
    for spec in [six, four, six] {
        assert_eq!(table.open(&spec), Opened::Updated);
        let frame = oracle::build(
            &Ethernet::default(),
            &VlanStack::NONE,
            source,
            spec.local,
            &rtp(172),
        );
        let sent = relayed(&mut table, &frame, ChecksumPolicy::Auto).unwrap();
        let read = oracle::read(&sent);
        assert_eq!((Some(read.dst), read.src), (spec.destination, spec.relay));
        assert!(read.right);
    }
    assert_eq!(table.report(four.local).unwrap().packets_out, 3);
}
