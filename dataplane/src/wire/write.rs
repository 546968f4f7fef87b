//! Fresh headers before a payload that already stands in its frame.

use std::net::SocketAddr;

use super::HEADERS_LEN_MAX;
use super::PAYLOAD_LEN_MAX;
use super::checksum;
use super::ethernet;
use super::ethernet::Ethernet;
use super::headers_len;
use super::ipv4;
use super::ipv6;
use super::udp;
use super::vlan::VlanStack;

const STATIONS_LEN: usize = ethernet::HEADER_LEN - 2;

/// Writes what stands before a payload of `payload_len` bytes that starts at
/// [`headers_len`] of `vlan` and `dst`: the tags, TTL or hop limit 64, DF, identification
/// and flow label 0, the lengths and the IPv4 checksum. The UDP checksum is left at 0 (none,
/// which IPv6 forbids): see [`fill_udp_checksum`] and [`set_udp_checksum`].
///
/// Returns the length of the frame, or `None`, and writes nothing, if `frame` does not hold
/// the payload, no datagram can, or the two addresses are not of one family.
#[must_use]
pub fn write_headers(
    frame: &mut [u8],
    ethernet: &Ethernet,
    vlan: &VlanStack,
    src: SocketAddr,
    dst: SocketAddr,
    payload_len: usize,
) -> Option<usize> {
    let start = headers_len(vlan, dst.ip());
    if payload_len > PAYLOAD_LEN_MAX || frame.len() < start + payload_len {
        return None;
    }
    let udp_len = u16::try_from(udp::HEADER_LEN + payload_len).ok()?;
    let mut headers = [0; HEADERS_LEN_MAX];
    let (before_ip, ip_and_udp) = headers.split_at_mut(ethernet::HEADER_LEN + vlan.len());
    let udp_header = match (src, dst) {
        (SocketAddr::V4(src), SocketAddr::V4(dst)) => {
            ethernet_and_tags(before_ip, ethernet, vlan, ethernet::ETHERTYPE_IPV4)?;
            let (ip, rest) = ip_and_udp.split_first_chunk_mut()?;
            let total_len = u16::try_from(ipv4::HEADER_LEN).ok()? + udp_len;
            ipv4::write(ip, *src.ip(), *dst.ip(), total_len);
            rest.first_chunk_mut()?
        }
        (SocketAddr::V6(src), SocketAddr::V6(dst)) => {
            ethernet_and_tags(before_ip, ethernet, vlan, ethernet::ETHERTYPE_IPV6)?;
            let (ip, rest) = ip_and_udp.split_first_chunk_mut()?;
            ipv6::write(ip, *src.ip(), *dst.ip(), udp_len);
            rest.first_chunk_mut()?
        }
        _ => return None,
    };
    udp::write(udp_header, src.port(), dst.port(), udp_len);
    frame
        .get_mut(..start)?
        .copy_from_slice(headers.get(..start)?);
    Some(start + payload_len)
}

fn ethernet_and_tags(
    out: &mut [u8],
    ethernet: &Ethernet,
    vlan: &VlanStack,
    ethertype: u16,
) -> Option<()> {
    let mut untagged = [0; ethernet::HEADER_LEN];
    ethernet::write(&mut untagged, ethernet, ethertype);
    let (stations, kind) = untagged.split_at(STATIONS_LEN);
    let (out_stations, rest) = out.split_at_mut_checked(STATIONS_LEN)?;
    let (out_tags, out_kind) = rest.split_at_mut_checked(vlan.len())?;
    out_stations.copy_from_slice(stations);
    out_tags.copy_from_slice(vlan.bytes().get(..vlan.len())?);
    out_kind.copy_from_slice(kind);
    Some(())
}

/// Stores the UDP checksum of a frame whose payload starts at `headers_len`.
pub fn set_udp_checksum(frame: &mut [u8], headers_len: usize, checksum: u16) {
    if let Some(field) = frame.get_mut(headers_len.saturating_sub(2)..headers_len) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Computes the UDP checksum of a frame with headers of ours, in full, and stores it; a sum
/// of 0 is sent as 0xffff.
///
/// Does nothing to a frame that is shorter than its UDP length says.
pub fn fill_udp_checksum(frame: &mut [u8]) {
    let Some((start, addresses)) = udp_in(frame) else {
        return;
    };
    let Some((udp, _)) = frame.get(start..).and_then(udp::Header::new_checked) else {
        return;
    };
    let (udp_len, old) = (udp.len(), udp.checksum());
    let Some(bytes) = frame.get(start..start + usize::from(udp_len)) else {
        return;
    };
    // The field itself must count as 0: what it holds is taken out again.
    let segment = checksum::delta(old, checksum::sum(bytes));
    let checksum = !checksum::add(checksum::add(addresses, udp_len), segment);
    let headers_len = start + udp::HEADER_LEN;
    set_udp_checksum(frame, headers_len, checksum::udp_form(checksum));
}

/// Where the UDP header of a frame starts, and the sum of its pseudo-header without length.
fn udp_in(frame: &[u8]) -> Option<(usize, u16)> {
    let (vlan, ethertype) = VlanStack::read(frame)?;
    let ip_at = ethernet::HEADER_LEN + vlan.len();
    let ip = frame.get(ip_at..)?;
    match ethertype {
        ethernet::ETHERTYPE_IPV4 => {
            let (ip, _) = ipv4::Header::new_checked(ip)?;
            let sum = checksum::pseudo_header_sum(ip.source(), ip.destination());
            Some((ip_at + ipv4::HEADER_LEN, sum))
        }
        ethernet::ETHERTYPE_IPV6 => {
            let (ip, _) = ipv6::Header::new_checked(ip)?;
            let sum = checksum::pseudo_header_sum6(ip.source(), ip.destination());
            Some((ip_at + ipv6::HEADER_LEN, sum))
        }
        _ => None,
    }
}
