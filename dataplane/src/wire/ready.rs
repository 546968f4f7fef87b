//! The 42 bytes of a flow's way out over IPv4 without tags, made once and copied to every
//! packet.

use std::net::SocketAddrV4;

use super::Ethernet;
use super::HEADERS_LEN;
use super::checksum;
use super::ethernet;
use super::ipv4;
use super::udp;

/// Ethernet, IPv4 and UDP headers of a datagram without payload, ready but for
/// the two lengths and the two checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ReadyHeaders([u8; HEADERS_LEN]);

impl ReadyHeaders {
    /// No headers at all: what a closed flow keeps.
    pub const BLANK: ReadyHeaders = ReadyHeaders([0; HEADERS_LEN]);

    /// Headers from `src` to `dst`; the stations are blank until
    /// [`ReadyHeaders::set_ethernet`].
    #[must_use]
    pub fn new(src: SocketAddrV4, dst: SocketAddrV4) -> ReadyHeaders {
        let mut ethernet_header = [0; ethernet::HEADER_LEN];
        let mut ip_header = [0; ipv4::HEADER_LEN];
        let mut udp_header = [0; udp::HEADER_LEN];
        let blank = Ethernet::default();
        ethernet::write(&mut ethernet_header, &blank, ethernet::ETHERTYPE_IPV4);
        ipv4::write(&mut ip_header, *src.ip(), *dst.ip(), EMPTY_TOTAL_LEN);
        udp::write(&mut udp_header, src.port(), dst.port(), EMPTY_UDP_LEN);
        let mut bytes = [0; HEADERS_LEN];
        let parts = ethernet_header.iter().chain(&ip_header).chain(&udp_header);
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = *part;
        }
        ReadyHeaders(bytes)
    }

    /// Sets the stations that the frame goes between.
    pub fn set_ethernet(&mut self, addresses: &Ethernet) {
        if let Some(header) = self.0.first_chunk_mut() {
            ethernet::write(header, addresses, ethernet::ETHERTYPE_IPV4);
        }
    }

    /// The stations that the frame goes between.
    #[must_use]
    pub fn ethernet(&self) -> Ethernet {
        let &[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = &self.0;
        Ethernet {
            destination: [d0, d1, d2, d3, d4, d5],
            source: [s0, s1, s2, s3, s4, s5],
        }
    }

    /// Where the datagram comes from.
    #[must_use]
    pub fn src(&self) -> SocketAddrV4 {
        let b = &self.0;
        let port = u16::from_be_bytes([b[34], b[35]]);
        SocketAddrV4::new([b[26], b[27], b[28], b[29]].into(), port)
    }

    /// Where the datagram goes.
    #[must_use]
    pub fn dst(&self) -> SocketAddrV4 {
        let b = &self.0;
        let port = u16::from_be_bytes([b[36], b[37]]);
        SocketAddrV4::new([b[30], b[31], b[32], b[33]].into(), port)
    }

    /// Writes the headers before a payload of `payload_len` bytes that starts
    /// at [`HEADERS_LEN`]. `payload_len` is at most
    /// [`super::PAYLOAD_LEN_MAX`], as that of every parsed datagram is.
    ///
    /// Returns false, and writes nothing, if `frame` is shorter than the
    /// headers.
    #[must_use]
    pub fn write(&self, frame: &mut [u8], payload_len: u16, udp_checksum: u16) -> bool {
        let Some(out) = frame.first_chunk_mut::<HEADERS_LEN>() else {
            return false;
        };
        *out = self.0;
        let total_len = EMPTY_TOTAL_LEN.wrapping_add(payload_len);
        let udp_len = EMPTY_UDP_LEN.wrapping_add(payload_len);
        // Only the total length differs from the ready header, by exactly the
        // length of the payload.
        let ready_checksum = u16::from_be_bytes([self.0[24], self.0[25]]);
        let ip_checksum = checksum::update(ready_checksum, payload_len);
        [out[16], out[17]] = total_len.to_be_bytes();
        [out[24], out[25]] = ip_checksum.to_be_bytes();
        [out[38], out[39]] = udp_len.to_be_bytes();
        [out[40], out[41]] = udp_checksum.to_be_bytes();
        true
    }
}

const EMPTY_TOTAL_LEN: u16 = 28;
const EMPTY_UDP_LEN: u16 = 8;
const _: () = assert!(EMPTY_TOTAL_LEN as usize == ipv4::HEADER_LEN + udp::HEADER_LEN);
const _: () = assert!(EMPTY_UDP_LEN as usize == udp::HEADER_LEN);
