//! Frames as hosts on the wire build and read them: by etherparse, not by the code under
//! test.

use std::net::IpAddr;
use std::net::SocketAddr;

use etherparse::NetSlice;
use etherparse::PacketBuilder;
use etherparse::SlicedPacket;
use etherparse::TransportSlice;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::lab;
use trunkline_dataplane::lab::Lab;

use super::ladder::Side;

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// From whom.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// What.
    pub payload: Vec<u8>,
}

/// The side whose network `address` is of; the callee's where it is of none.
#[must_use]
pub fn side_of(lab: &Lab, address: IpAddr) -> Side {
    match lab.side_of(address) {
        Some(0) => Side::Caller,
        _ => Side::Callee,
    }
}

/// The frame in which `datagram` reaches the box, with the tags of its side.
///
/// # Errors
/// Where it is too long, or between two families.
pub fn build(lab: &Lab, datagram: &Datagram) -> Result<Vec<u8>, String> {
    let Datagram {
        source,
        destination,
        payload,
    } = datagram;
    let side = side_of(lab, source.ip());
    let mut frame = Vec::new();
    let stations = PacketBuilder::ethernet2(lab::PEER_MAC, lab::box_mac(side.interface()));
    let ip = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => stations.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => stations.ipv6(from.octets(), to.octets(), 64),
        _ => return Err(format!("from {source} to {destination}")),
    };
    ip.udp(source.port(), destination.port())
        .write(&mut frame, payload)
        .map_err(|error| format!("no frame can be built: {error}"))?;
    frame.splice(TAGS_AT..TAGS_AT, tags_of(lab, side));
    Ok(frame)
}

/// Where tags stand: behind the two station addresses.
const TAGS_AT: usize = 12;

fn tags_of(lab: &Lab, side: Side) -> Vec<u8> {
    let vlan = lab.sides[side as usize].vlan;
    vlan.bytes().into_iter().take(vlan.len()).collect()
}

/// Reads a frame that left the box by `device`, and checks all that a receiver would and
/// what design promises of fresh headers: TTL or hop limit 64, DF, identification and flow
/// label 0, sums that hold. The side is that whose stations and tags it has.
///
/// # Errors
/// What is wrong with it.
pub fn read(lab: &Lab, device: DeviceIndex, frame: &[u8]) -> Result<(Side, Datagram), String> {
    let side = [Side::Caller, Side::Callee].into_iter().find(|&side| {
        let stations = [lab::PEER_MAC, lab::box_mac(side.interface())].concat();
        let front = [stations, tags_of(lab, side)].concat();
        lab.device(side as usize) == device && frame.starts_with(&front)
    });
    let side = side.ok_or("wrong station addresses or tags")?;
    let mut untagged = frame.to_vec();
    untagged.drain(TAGS_AT..TAGS_AT + tags_of(lab, side).len());
    let packet = SlicedPacket::from_ethernet(&untagged).map_err(|error| error.to_string())?;
    let Some(TransportSlice::Udp(udp)) = packet.transport else {
        return Err("not UDP".to_owned());
    };
    let header = udp.to_header();
    let (source, destination, len, sum) = match packet.net {
        Some(NetSlice::Ipv4(net)) => {
            let ip = net.header().to_header();
            if ip.calc_header_checksum() != ip.header_checksum {
                return Err(format!("IP checksum {:04x}", ip.header_checksum));
            }
            if (ip.time_to_live, ip.dont_fragment, ip.identification) != (64, true, 0) {
                return Err(format!("not a fresh IP header: {ip:?}"));
            }
            let sum = header.calc_checksum_ipv4(&ip, udp.payload());
            let len = usize::from(ip.total_len);
            (
                IpAddr::from(ip.source),
                IpAddr::from(ip.destination),
                len,
                sum,
            )
        }
        Some(NetSlice::Ipv6(net)) => {
            let ip = net.header().to_header();
            if (ip.hop_limit, ip.traffic_class, ip.flow_label.value()) != (64, 0, 0) {
                return Err(format!("not a fresh IP header: {ip:?}"));
            }
            let sum = header.calc_checksum_ipv6(&ip, udp.payload());
            let len = 40 + usize::from(ip.payload_length);
            (
                IpAddr::from(ip.source),
                IpAddr::from(ip.destination),
                len,
                sum,
            )
        }
        _ => return Err("not IP".to_owned()),
    };
    if len + 14 != untagged.len() {
        return Err(format!(
            "{len} bytes of IP in a frame of {}",
            untagged.len()
        ));
    }
    if sum != Ok(header.checksum) {
        return Err(format!(
            "UDP checksum {:04x}, should be {sum:04x?}",
            header.checksum
        ));
    }
    let datagram = Datagram {
        source: SocketAddr::new(source, header.source_port),
        destination: SocketAddr::new(destination, header.destination_port),
        payload: udp.payload().to_vec(),
    };
    Ok((side, datagram))
}
