//! Frames as hosts on the wire build and read them: by etherparse, not by the code under
//! test.

use std::net::IpAddr;
use std::net::SocketAddr;

use etherparse::NetSlice;
use etherparse::PacketBuilder;
use etherparse::SlicedPacket;
use etherparse::TransportSlice;
use trunkline_dataplane::ids::InterfaceIndex;
use trunkline_dataplane::lab;

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

/// The interface of the box on whose link `address` is.
#[must_use]
pub fn link_of(address: IpAddr) -> InterfaceIndex {
    InterfaceIndex(if octets(address)[2] == 1 { 0 } else { 1 })
}

fn octets(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => [0; 4],
    }
}

/// The frame in which `datagram` reaches the box.
///
/// # Errors
/// Where it is too long.
pub fn build(datagram: &Datagram) -> Result<Vec<u8>, String> {
    let Datagram {
        source,
        destination,
        payload,
    } = datagram;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(lab::PEER_MAC, lab::box_mac(link_of(source.ip())))
        .ipv4(octets(source.ip()), octets(destination.ip()), 64)
        .udp(source.port(), destination.port())
        .write(&mut frame, payload)
        .map_err(|error| format!("no frame can be built: {error}"))?;
    Ok(frame)
}

/// Reads a frame that left the box by `interface`, and checks all that a receiver would and
/// what design promises of fresh headers: TTL 64, DF, identification 0, sums that hold.
///
/// # Errors
/// What is wrong with it.
pub fn read(interface: InterfaceIndex, frame: &[u8]) -> Result<Datagram, String> {
    let packet = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
    let (Some(NetSlice::Ipv4(net)), Some(TransportSlice::Udp(udp))) =
        (packet.net, packet.transport)
    else {
        return Err("not UDP over IPv4".to_owned());
    };
    let stations = [lab::PEER_MAC, lab::box_mac(interface)].concat();
    if frame.get(..12) != Some(&stations[..]) {
        return Err("wrong station addresses".to_owned());
    }
    let ip = net.header().to_header();
    if ip.calc_header_checksum() != ip.header_checksum {
        return Err(format!("IP checksum {:04x}", ip.header_checksum));
    }
    if (ip.time_to_live, ip.dont_fragment, ip.identification) != (64, true, 0) {
        return Err(format!("not a fresh IP header: {ip:?}"));
    }
    if usize::from(ip.total_len) + 14 != frame.len() {
        return Err(format!(
            "{} bytes of IP in a frame of {}",
            ip.total_len,
            frame.len()
        ));
    }
    let header = udp.to_header();
    let sum = header.calc_checksum_ipv4(&ip, udp.payload());
    if sum != Ok(header.checksum) {
        return Err(format!(
            "UDP checksum {:04x}, should be {sum:04x?}",
            header.checksum
        ));
    }
    let address = |ip: [u8; 4], port| SocketAddr::new(ip.into(), port);
    Ok(Datagram {
        source: address(ip.source, header.source_port),
        destination: address(ip.destination, header.destination_port),
        payload: udp.payload().to_vec(),
    })
}
