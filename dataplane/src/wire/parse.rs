//! From a frame to a datagram, or to the reason why not.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::Range;

use super::HEADERS_LEN;
use super::checksum;
use super::ethernet;
use super::ipv4;
use super::udp;

/// The same length in the width of the field that counts it.
const UDP_HEADER_LEN: u16 = 8;
const _: () = assert!(UDP_HEADER_LEN as usize == udp::HEADER_LEN);

/// Why a frame is not a UDP datagram that we can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WireError {
    /// Shorter than Ethernet, IPv4 and UDP headers together.
    TooShort,
    /// The EtherType is not IPv4's.
    NotIpv4,
    /// The EtherType says IPv4, the version field does not.
    IpVersion,
    /// The header is longer (options) or shorter than 20 bytes.
    IpHeaderLength,
    /// The header checksum does not hold.
    IpChecksum,
    /// The total length is longer than the frame, or shorter than its headers.
    IpLength,
    /// A fragment of a datagram.
    Fragment,
    /// The protocol is not UDP.
    NotUdp,
    /// The UDP length is shorter than a header or longer than the packet.
    UdpLength,
    /// The source cannot be a host: 0/8, 127/8, multicast, broadcast, class E.
    SourceNotHost,
}

impl WireError {
    /// Every reason, in the order of its value.
    pub const ALL: [WireError; 10] = [
        WireError::TooShort,
        WireError::NotIpv4,
        WireError::IpVersion,
        WireError::IpHeaderLength,
        WireError::IpChecksum,
        WireError::IpLength,
        WireError::Fragment,
        WireError::NotUdp,
        WireError::UdpLength,
        WireError::SourceNotHost,
    ];

    /// The name of the drop reason.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            WireError::TooShort => "wire_too_short",
            WireError::NotIpv4 => "wire_not_ipv4",
            WireError::IpVersion => "wire_ip_version",
            WireError::IpHeaderLength => "wire_ip_header_length",
            WireError::IpChecksum => "wire_ip_checksum",
            WireError::IpLength => "wire_ip_length",
            WireError::Fragment => "wire_fragment",
            WireError::NotUdp => "wire_not_udp",
            WireError::UdpLength => "wire_udp_length",
            WireError::SourceNotHost => "wire_source_not_host",
        }
    }

    /// What the drop reason means, for the operator.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            WireError::TooShort => "frame shorter than its Ethernet, IPv4 and UDP headers",
            WireError::NotIpv4 => "frame whose EtherType is not IPv4",
            WireError::IpVersion => "IPv4 EtherType, but another IP version",
            WireError::IpHeaderLength => "IPv4 header with options, or shorter than 20 bytes",
            WireError::IpChecksum => "IPv4 header checksum that does not hold",
            WireError::IpLength => "IPv4 total length that the frame does not hold",
            WireError::Fragment => "fragment of an IPv4 datagram",
            WireError::NotUdp => "IPv4 packet that is not UDP",
            WireError::UdpLength => "UDP length that the IPv4 packet does not hold",
            WireError::SourceNotHost => "source address that no host can have",
        }
    }
}

/// What [`parse`] found: who sends, to whom, and how long the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub src: SocketAddr,
    /// Whom it is for: one of our addresses and ports.
    pub dst: SocketAddr,
    payload_len: u16,
    checksum: u16,
}

impl Datagram {
    /// Length of the UDP payload in bytes.
    #[must_use]
    pub fn payload_len(&self) -> u16 {
        self.payload_len
    }

    /// Length of the UDP header and payload in bytes.
    #[must_use]
    pub fn udp_len(&self) -> u16 {
        // parse() took both from one 16-bit field, so the sum fits it again.
        self.payload_len.saturating_add(UDP_HEADER_LEN)
    }

    /// Where in the frame the payload lies.
    #[must_use]
    pub fn payload_range(&self) -> Range<usize> {
        HEADERS_LEN..self.frame_len()
    }

    /// Length of the frame in bytes without padding behind the payload.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        HEADERS_LEN + usize::from(self.payload_len)
    }

    /// The payload in the frame that was parsed; empty for another frame that
    /// is too short to hold it.
    #[must_use]
    pub fn payload<'f>(&self, frame: &'f [u8]) -> &'f [u8] {
        frame.get(self.payload_range()).unwrap_or_default()
    }

    /// The UDP checksum field as it arrived; 0 if the sender made none.
    #[must_use]
    pub fn udp_checksum(&self) -> u16 {
        self.checksum
    }
}

/// Reads Ethernet II, IPv4 and UDP headers, and checks their lengths against
/// each other and the IPv4 header checksum.
///
/// What follows the IP packet is padding of the link. A UDP length shorter than
/// the IP payload is sound (RFC 768: it counts this datagram's octets), and
/// what follows it is cut, as Linux does. The UDP checksum is not looked at:
/// see [`udp_checksum_ok`].
///
/// # Errors
/// The first thing that is not as it must be.
pub fn parse(frame: &[u8]) -> Result<Datagram, WireError> {
    if frame.len() < HEADERS_LEN {
        return Err(WireError::TooShort);
    }
    let Some((ethernet, rest)) = ethernet::Header::new_checked(frame) else {
        return Err(WireError::TooShort);
    };
    if ethernet.ethertype() != ethernet::ETHERTYPE_IPV4 {
        return Err(WireError::NotIpv4);
    }
    let Some((ip, ip_rest)) = ipv4::Header::new_checked(rest) else {
        return Err(WireError::TooShort);
    };
    check_ip(ip, rest.len())?;
    let Some((udp, _)) = udp::Header::new_checked(ip_rest) else {
        return Err(WireError::TooShort);
    };
    // check_ip() has seen that the total length holds both headers.
    let ip_payload_len = usize::from(ip.total_len()).saturating_sub(ipv4::HEADER_LEN);
    if usize::from(udp.len()) < udp::HEADER_LEN || usize::from(udp.len()) > ip_payload_len {
        return Err(WireError::UdpLength);
    }
    Ok(Datagram {
        src: SocketAddr::new(ip.source().into(), udp.source()),
        dst: SocketAddr::new(ip.destination().into(), udp.destination()),
        payload_len: udp.len() - UDP_HEADER_LEN,
        checksum: udp.checksum(),
    })
}

fn check_ip(ip: ipv4::Header<'_>, available_len: usize) -> Result<(), WireError> {
    if ip.version() != 4 {
        return Err(WireError::IpVersion);
    }
    if usize::from(ip.header_len()) != ipv4::HEADER_LEN {
        return Err(WireError::IpHeaderLength);
    }
    if !ip.checksum_ok() {
        return Err(WireError::IpChecksum);
    }
    let total_len = usize::from(ip.total_len());
    if total_len > available_len || total_len < ipv4::HEADER_LEN + udp::HEADER_LEN {
        return Err(WireError::IpLength);
    }
    if ip.is_fragment() {
        return Err(WireError::Fragment);
    }
    if ip.protocol() != ipv4::PROTOCOL_UDP {
        return Err(WireError::NotUdp);
    }
    // RFC 1122 §3.2.1.3: none of these may be a source. An answer to one of
    // them would reach many, or ourselves.
    if matches!(ip.source().octets()[0], 0 | 127 | 224..=255) {
        return Err(WireError::SourceNotHost);
    }
    Ok(())
}

/// True if the UDP checksum of a parsed frame holds, if there is none (0), or
/// if it is partial.
///
/// A kernel on the same host leaves the checksum to a NIC that a virtual link
/// does not have: the field then holds the folded sum of the pseudo-header
/// alone, and nothing else in the frame says so.
#[must_use]
pub fn udp_checksum_ok(frame: &[u8], datagram: &Datagram) -> bool {
    let stored = datagram.checksum;
    if stored == udp::NO_CHECKSUM {
        return true;
    }
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (datagram.src.ip(), datagram.dst.ip()) else {
        return false;
    };
    let addresses = checksum::pseudo_header_sum(src, dst);
    let pseudo_header = checksum::add(addresses, datagram.udp_len());
    if stored == pseudo_header {
        return true;
    }
    let start = HEADERS_LEN - udp::HEADER_LEN;
    match frame.get(start..datagram.frame_len()) {
        Some(bytes) => checksum::add(pseudo_header, checksum::sum(bytes)) == 0xffff,
        None => false,
    }
}
