//! Frames by another implementation, for tests: etherparse builds and reads them.

use std::net::IpAddr;
use std::net::SocketAddr;

use etherparse::LinkExtSlice;
use etherparse::NetSlice;
use etherparse::PacketBuilder;
use etherparse::SlicedPacket;
use etherparse::TransportSlice;
use etherparse::VlanId;

use super::Ethernet;
use super::VlanStack;

/// A frame with complete checksums. The outer TPID of two tags is that of 802.1ad.
pub(crate) fn build(
    ethernet: &Ethernet,
    vlan: &VlanStack,
    src: SocketAddr,
    dst: SocketAddr,
    payload: &[u8],
) -> Vec<u8> {
    let id = |id| VlanId::try_new(id).unwrap();
    let stations = PacketBuilder::ethernet2(ethernet.source, ethernet.destination);
    let mut frame = Vec::new();
    let udp = match vlan.ids().collect::<Vec<_>>()[..] {
        [] => match (src.ip(), dst.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => stations.ipv4(a.octets(), b.octets(), 17),
            (IpAddr::V6(a), IpAddr::V6(b)) => stations.ipv6(a.octets(), b.octets(), 17),
            _ => panic!("two families"),
        },
        ref tags => {
            let tagged = match *tags {
                [one] => stations.single_vlan(id(one)),
                [outer, inner] => stations.double_vlan(id(outer), id(inner)),
                _ => panic!("too many tags"),
            };
            match (src.ip(), dst.ip()) {
                (IpAddr::V4(a), IpAddr::V4(b)) => tagged.ipv4(a.octets(), b.octets(), 17),
                (IpAddr::V6(a), IpAddr::V6(b)) => tagged.ipv6(a.octets(), b.octets(), 17),
                _ => panic!("two families"),
            }
        }
    };
    udp.udp(src.port(), dst.port())
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// What a frame says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub ethernet: Ethernet,
    /// TPID's place is not told: the identifiers, outer first.
    pub vlan_ids: Vec<u16>,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub payload: Vec<u8>,
    pub udp_checksum: u16,
    /// The UDP checksum is complete and right.
    pub right: bool,
}

/// Reads a frame of ours, and checks all that is fixed in it: TTL or hop limit 64, DF, no
/// identification, flow label or traffic class, priority 0, the lengths, the IPv4 checksum.
pub(crate) fn read(frame: &[u8]) -> Read {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let mut vlan_ids = Vec::new();
    let mut headers_len = 14;
    for extension in &packet.link_exts {
        let LinkExtSlice::Vlan(tag) = extension else {
            panic!("not a tag: {extension:?}")
        };
        let tag = tag.to_header();
        assert_eq!(tag.pcp.value(), 0);
        assert!(!tag.drop_eligible_indicator);
        vlan_ids.push(tag.vlan_id.value());
        headers_len += 4;
    }
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        panic!("not UDP: {packet:?}");
    };
    let header = udp.to_header();
    let (src, dst, right): (IpAddr, IpAddr, _) = match &packet.net {
        Some(NetSlice::Ipv4(net)) => {
            let ip = net.header().to_header();
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            let fresh = (ip.time_to_live, ip.dont_fragment, ip.identification);
            assert_eq!(fresh, (64, true, 0));
            assert_eq!(usize::from(ip.total_len), frame.len() - headers_len);
            let right = header.calc_checksum_ipv4(&ip, udp.payload()).unwrap();
            (ip.source.into(), ip.destination.into(), right)
        }
        Some(NetSlice::Ipv6(net)) => {
            let ip = net.header().to_header();
            assert_eq!((ip.hop_limit, ip.traffic_class), (64, 0));
            assert_eq!(ip.flow_label.value(), 0);
            assert_eq!(
                usize::from(ip.payload_length),
                frame.len() - headers_len - 40
            );
            let right = header.calc_checksum_ipv6(&ip, udp.payload()).unwrap();
            (ip.source.into(), ip.destination.into(), right)
        }
        other => panic!("not IP: {other:?}"),
    };
    let link = packet.link.unwrap().to_header().unwrap();
    let link = link.ethernet2().unwrap();
    Read {
        ethernet: Ethernet {
            destination: link.destination,
            source: link.source,
        },
        vlan_ids,
        src: SocketAddr::new(src, header.source_port),
        dst: SocketAddr::new(dst, header.destination_port),
        payload: udp.payload().to_vec(),
        udp_checksum: header.checksum,
        right: header.checksum == right,
    }
}

/// Tags of every kind, as etherparse can build them.
pub(crate) const STACKS: [VlanStack; 3] = [
    VlanStack::NONE,
    VlanStack::one(100),
    VlanStack::two(super::vlan::TPID_8021AD, 200, 4094),
];
