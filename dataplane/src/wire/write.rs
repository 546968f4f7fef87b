//! Fresh headers before a payload that already stands in its frame.

use std::net::IpAddr;
use std::net::SocketAddr;

use super::HEADERS_LEN;
use super::IP_HEADERS_LEN;
use super::PAYLOAD_LEN_MAX;
use super::checksum;
use super::ethernet;
use super::ethernet::Ethernet;
use super::ipv4;
use super::udp;

const IP_START: usize = ethernet::HEADER_LEN;
const UDP_START: usize = IP_START + ipv4::HEADER_LEN;

/// Writes the 42 bytes before a payload of `payload_len` bytes that starts at
/// [`HEADERS_LEN`]: TTL 64, DF, identification 0, both lengths and the IPv4
/// checksum. The UDP checksum is left at 0 (none): see [`fill_udp_checksum`].
///
/// Returns the length of the frame, or `None`, and writes nothing, if `frame`
/// does not hold the payload, no datagram can, or an address is not of IPv4.
#[must_use]
pub fn write_headers(
    frame: &mut [u8],
    ethernet: &Ethernet,
    src: SocketAddr,
    dst: SocketAddr,
    payload_len: usize,
) -> Option<usize> {
    if payload_len > PAYLOAD_LEN_MAX || frame.len() < HEADERS_LEN + payload_len {
        return None;
    }
    let total_len = u16::try_from(IP_HEADERS_LEN + payload_len).ok()?;
    let udp_len = u16::try_from(udp::HEADER_LEN + payload_len).ok()?;
    let (IpAddr::V4(src_ip), IpAddr::V4(dst_ip)) = (src.ip(), dst.ip()) else {
        return None;
    };
    let (ethernet_header, rest) = frame.split_first_chunk_mut()?;
    let (ip_header, rest) = rest.split_first_chunk_mut()?;
    let udp_header = rest.first_chunk_mut()?;
    ethernet::write(ethernet_header, ethernet);
    ipv4::write(ip_header, src_ip, dst_ip, total_len);
    udp::write(udp_header, src.port(), dst.port(), udp_len);
    Some(HEADERS_LEN + payload_len)
}

/// Computes the UDP checksum of a frame with the headers of
/// [`write_headers`], in full, and stores it; a sum of 0 is sent as 0xffff.
///
/// Does nothing to a frame that is shorter than its UDP length says.
pub fn fill_udp_checksum(frame: &mut [u8]) {
    let Some((ip, _)) = frame.get(IP_START..).and_then(ipv4::Header::new_checked) else {
        return;
    };
    let Some((udp, _)) = frame.get(UDP_START..).and_then(udp::Header::new_checked) else {
        return;
    };
    let (udp_len, old) = (udp.len(), udp.checksum());
    let addresses = checksum::pseudo_header_sum(ip.source(), ip.destination());
    let Some(bytes) = frame.get(UDP_START..UDP_START + usize::from(udp_len)) else {
        return;
    };
    // The field itself must count as 0: what it holds is taken out again.
    let segment = checksum::delta(old, checksum::sum(bytes));
    let checksum = !checksum::add(checksum::add(addresses, udp_len), segment);
    if let Some(field) = frame.get_mut(HEADERS_LEN - 2..HEADERS_LEN) {
        field.copy_from_slice(&checksum::udp_form(checksum).to_be_bytes());
    }
}
