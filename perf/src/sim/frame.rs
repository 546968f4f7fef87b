//! Frames as hosts on the wire build and read them: by etherparse, not by the code under
//! test.

use std::net::IpAddr;
use std::net::SocketAddr;

use etherparse::NetSlice;
use etherparse::PacketBuilder;
use etherparse::SlicedPacket;
use etherparse::TransportSlice;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::InterfaceIndex;
use trunkline_dataplane::lab;

use super::site::Site;

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

/// The frame in which a datagram reaches the box, with the tags of the side that `source` is
/// on.
///
/// # Errors
/// Where it is too long, or between two families.
pub fn build(
    site: &Site,
    source: SocketAddr,
    destination: SocketAddr,
    payload: &[u8],
) -> Result<Vec<u8>, String> {
    let side = site.side_of(source.ip()).unwrap_or(1);
    let mut frame = Vec::with_capacity(payload.len() + 80);
    let stations = PacketBuilder::ethernet2(lab::PEER_MAC, lab::box_mac(interface(side)));
    let ip = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => stations.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => stations.ipv6(from.octets(), to.octets(), 64),
        _ => return Err(format!("from {source} to {destination}")),
    };
    ip.udp(source.port(), destination.port())
        .write(&mut frame, payload)
        .map_err(|error| format!("no frame can be built: {error}"))?;
    let tags = site.tags(side);
    if !tags.is_empty() {
        frame.splice(TAGS_AT..TAGS_AT, tags);
    }
    Ok(frame)
}

/// Where tags stand: behind the two station addresses.
const TAGS_AT: usize = 12;

fn interface(side: usize) -> InterfaceIndex {
    InterfaceIndex(u8::from(side == 1))
}

/// True where one more tag stands at the front.
fn is_tagged(rest: &[u8]) -> bool {
    rest.starts_with(&[0x81, 0]) || rest.starts_with(&[0x88, 0xa8])
}

/// Reads a frame that left the box by `device`, and checks all that a receiver would and
/// what design promises of fresh headers: TTL or hop limit 64, DF, identification and flow
/// label 0, sums that hold. The side is that whose stations and tags it has.
///
/// # Errors
/// What is wrong with it.
pub fn read(site: &Site, device: DeviceIndex, frame: &[u8]) -> Result<(usize, Datagram), String> {
    let side = (0..2).find(|&side| {
        let mac = lab::box_mac(interface(side));
        site.place().device(side) == device
            && frame.starts_with(&lab::PEER_MAC)
            && frame.get(6..12) == Some(&mac)
            && frame
                .get(12..)
                .is_some_and(|rest| rest.starts_with(&site.tags(side)))
            && !is_tagged(frame.get(12 + site.tags(side).len()..).unwrap_or_default())
    });
    let side = side.ok_or("wrong station addresses or tags")?;
    let tags_len = site.tags(side).len();
    let untagged;
    let frame = if tags_len == 0 {
        frame
    } else {
        untagged = [&frame[..TAGS_AT], &frame[TAGS_AT + tags_len..]].concat();
        &untagged
    };
    let packet = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
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
    if len + 14 != frame.len() {
        return Err(format!("{len} bytes of IP in a frame of {}", frame.len()));
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
