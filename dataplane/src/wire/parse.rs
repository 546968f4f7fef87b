//! From a frame to a datagram, or to the reason why not.

use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::ops::Range;

use super::HEADERS_LEN;
use super::HEADERS_LEN_MAX;
use super::checksum;
use super::ethernet;
use super::ipv4;
use super::ipv6;
use super::udp;
use super::vlan::VlanStack;

/// The same length in the width of the field that counts it.
const UDP_HEADER_LEN: u16 = 8;
const _: () = assert!(UDP_HEADER_LEN as usize == udp::HEADER_LEN);

/// Why a frame is not a UDP datagram that we can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WireError {
    /// Shorter than the headers that it announces.
    TooShort,
    /// The EtherType is neither IPv4's nor IPv6's.
    NotIp,
    /// The EtherType says one IP version, the version field another.
    IpVersion,
    /// The IPv4 header is longer (options) or shorter than 20 bytes.
    IpHeaderLength,
    /// The IPv4 header checksum does not hold.
    IpChecksum,
    /// The IP length is longer than the frame, or shorter than its headers.
    IpLength,
    /// A fragment of a datagram.
    Fragment,
    /// An IPv6 extension header other than the fragment's.
    IpExtension,
    /// The protocol is not UDP.
    NotUdp,
    /// The UDP length is shorter than a header or longer than the packet.
    UdpLength,
    /// No UDP checksum over IPv6 (RFC 8200 §8.1).
    UdpNoChecksum,
    /// The source cannot be a host: 0/8, 127/8, multicast, broadcast, class E; ::, ::1,
    /// multicast, IPv4-mapped.
    SourceNotHost,
}

impl WireError {
    /// Every reason, in the order of its value.
    pub const ALL: [WireError; 12] = [
        WireError::TooShort,
        WireError::NotIp,
        WireError::IpVersion,
        WireError::IpHeaderLength,
        WireError::IpChecksum,
        WireError::IpLength,
        WireError::Fragment,
        WireError::IpExtension,
        WireError::NotUdp,
        WireError::UdpLength,
        WireError::UdpNoChecksum,
        WireError::SourceNotHost,
    ];

    /// The name of the drop reason.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            WireError::TooShort => "wire_too_short",
            WireError::NotIp => "wire_not_ip",
            WireError::IpVersion => "wire_ip_version",
            WireError::IpHeaderLength => "wire_ip_header_length",
            WireError::IpChecksum => "wire_ip_checksum",
            WireError::IpLength => "wire_ip_length",
            WireError::Fragment => "wire_fragment",
            WireError::IpExtension => "wire_ip_extension",
            WireError::NotUdp => "wire_not_udp",
            WireError::UdpLength => "wire_udp_length",
            WireError::UdpNoChecksum => "wire_udp_no_checksum",
            WireError::SourceNotHost => "wire_source_not_host",
        }
    }

    /// What the drop reason means, for the operator.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            WireError::TooShort => "frame shorter than its Ethernet, IP and UDP headers",
            WireError::NotIp => "frame whose EtherType is neither IPv4 nor IPv6",
            WireError::IpVersion => "EtherType of one IP version, header of another",
            WireError::IpHeaderLength => "IPv4 header with options, or shorter than 20 bytes",
            WireError::IpChecksum => "IPv4 header checksum that does not hold",
            WireError::IpLength => "IP length that the frame does not hold",
            WireError::Fragment => "fragment of an IP datagram",
            WireError::IpExtension => "IPv6 packet with an extension header",
            WireError::NotUdp => "IP packet that is not UDP",
            WireError::UdpLength => "UDP length that the IP packet does not hold",
            WireError::UdpNoChecksum => "UDP over IPv6 without a checksum",
            WireError::SourceNotHost => "source address that no host can have",
        }
    }
}

/// What [`parse`] found: who sends, to whom, behind which tags, and where the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    addresses: Addresses,
    /// The tags that the frame came with.
    pub vlan: VlanStack,
    headers_len: u8,
    payload_len: u16,
    checksum: u16,
}

/// Source and destination, without what [`SocketAddr`] says of a scope: a datagram is copied
/// on its way to a verdict, and half as large that costs half as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    V4([SocketAddrV4; 2]),
    V6([(Ipv6Addr, u16); 2]),
}

impl Datagram {
    /// Who sent it.
    #[inline]
    #[must_use]
    pub fn src(&self) -> SocketAddr {
        match self.addresses {
            Addresses::V4([src, _]) => src.into(),
            Addresses::V6([(ip, port), _]) => SocketAddr::new(ip.into(), port),
        }
    }

    /// Whom it is for: one of our addresses and ports.
    #[inline]
    #[must_use]
    pub fn dst(&self) -> SocketAddr {
        match self.addresses {
            Addresses::V4([_, dst]) => dst.into(),
            Addresses::V6([_, (ip, port)]) => SocketAddr::new(ip.into(), port),
        }
    }

    /// Length of what stands before the payload in bytes.
    #[must_use]
    pub fn headers_len(&self) -> usize {
        usize::from(self.headers_len)
    }

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
        self.headers_len()..self.frame_len()
    }

    /// Length of the frame in bytes without padding behind the payload.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.headers_len() + usize::from(self.payload_len)
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

/// Reads Ethernet II, VLAN tags, IP and UDP headers, and checks their lengths against
/// each other and the IPv4 header checksum.
///
/// What follows the IP packet is padding of the link. A UDP length shorter than
/// the IP payload is sound (RFC 768: it counts this datagram's octets), and
/// what follows it is cut, as Linux does. The UDP checksum is not looked at, but that over
/// IPv6 there must be one: see [`udp_checksum_ok`]. Whether the tags are ones that we serve
/// is for the caller to say.
///
/// # Errors
/// The first thing that is not as it must be.
// Inline, as what it calls for untagged IPv4 is: the datagram is then made where it is wanted.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Datagram, WireError> {
    if frame.len() < HEADERS_LEN {
        return Err(WireError::TooShort);
    }
    let &[high, low] = frame
        .get(ethernet::HEADER_LEN - 2..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(WireError::TooShort)?;
    match u16::from_be_bytes([high, low]) {
        ethernet::ETHERTYPE_IPV4 => parse_ipv4(frame, VlanStack::NONE),
        _ => parse_other(frame),
    }
}

#[inline(never)]
fn parse_other(frame: &[u8]) -> Result<Datagram, WireError> {
    let (vlan, ethertype) = VlanStack::read(frame).ok_or(WireError::TooShort)?;
    match ethertype {
        ethernet::ETHERTYPE_IPV4 => parse_ipv4(frame, vlan),
        ethernet::ETHERTYPE_IPV6 => parse_ipv6(frame, vlan),
        _ => Err(WireError::NotIp),
    }
}

#[inline(always)]
fn parse_ipv4(frame: &[u8], vlan: VlanStack) -> Result<Datagram, WireError> {
    let ip_at = ethernet::HEADER_LEN + vlan.len();
    let packet = frame.get(ip_at..).ok_or(WireError::TooShort)?;
    let (ip, rest) = ipv4::Header::new_checked(packet).ok_or(WireError::TooShort)?;
    check_ipv4(ip, packet.len())?;
    let (udp, _) = udp::Header::new_checked(rest).ok_or(WireError::TooShort)?;
    // check_ipv4() has seen that the total length holds both headers.
    let ip_payload_len = usize::from(ip.total_len()).saturating_sub(ipv4::HEADER_LEN);
    check_udp(udp, ip_payload_len)?;
    Ok(Datagram {
        addresses: Addresses::V4([
            SocketAddrV4::new(ip.source(), udp.source()),
            SocketAddrV4::new(ip.destination(), udp.destination()),
        ]),
        vlan,
        headers_len: headers_len(ip_at + ipv4::HEADER_LEN),
        payload_len: udp.len() - UDP_HEADER_LEN,
        checksum: udp.checksum(),
    })
}

fn parse_ipv6(frame: &[u8], vlan: VlanStack) -> Result<Datagram, WireError> {
    let ip_at = ethernet::HEADER_LEN + vlan.len();
    let packet = frame.get(ip_at..).ok_or(WireError::TooShort)?;
    let (ip, rest) = ipv6::Header::new_checked(packet).ok_or(WireError::TooShort)?;
    check_ipv6(ip, rest.len())?;
    let (udp, _) = udp::Header::new_checked(rest).ok_or(WireError::TooShort)?;
    check_udp(udp, ip.payload_len().into())?;
    if udp.checksum() == udp::NO_CHECKSUM {
        return Err(WireError::UdpNoChecksum);
    }
    Ok(Datagram {
        addresses: Addresses::V6([
            (ip.source(), udp.source()),
            (ip.destination(), udp.destination()),
        ]),
        vlan,
        headers_len: headers_len(ip_at + ipv6::HEADER_LEN),
        payload_len: udp.len() - UDP_HEADER_LEN,
        checksum: udp.checksum(),
    })
}

/// At most [`HEADERS_LEN_MAX`].
#[allow(clippy::cast_possible_truncation)] // At most 70.
const fn headers_len(udp_at: usize) -> u8 {
    (udp_at + udp::HEADER_LEN) as u8
}

const _: () = assert!(HEADERS_LEN_MAX <= u8::MAX as usize);

#[inline(always)]
fn check_ipv4(ip: ipv4::Header<'_>, available_len: usize) -> Result<(), WireError> {
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

fn check_ipv6(ip: ipv6::Header<'_>, available_len: usize) -> Result<(), WireError> {
    if ip.version() != 6 {
        return Err(WireError::IpVersion);
    }
    if ip.is_fragment() {
        return Err(WireError::Fragment);
    }
    if ip.has_extension() {
        return Err(WireError::IpExtension);
    }
    if !ip.carries_udp() {
        return Err(WireError::NotUdp);
    }
    let payload_len = usize::from(ip.payload_len());
    // A jumbogram says 0 and has an extension header: it does not come here.
    if payload_len > available_len || payload_len < udp::HEADER_LEN {
        return Err(WireError::IpLength);
    }
    // RFC 4291 §2.5, §2.7: none of these may be a source.
    if !ipv6::is_host(ip.source()) {
        return Err(WireError::SourceNotHost);
    }
    Ok(())
}

#[inline(always)]
fn check_udp(udp: udp::Header<'_>, ip_payload_len: usize) -> Result<(), WireError> {
    let len = usize::from(udp.len());
    if len < udp::HEADER_LEN || len > ip_payload_len {
        return Err(WireError::UdpLength);
    }
    Ok(())
}

/// True if the UDP checksum of a parsed frame holds, if there is none (0, which only IPv4
/// allows), or if it is partial.
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
    let Some(addresses) = checksum::pseudo_header_sum_of(datagram.src().ip(), datagram.dst().ip())
    else {
        return false;
    };
    let pseudo_header = checksum::add(addresses, datagram.udp_len());
    if stored == pseudo_header {
        return true;
    }
    let start = datagram.headers_len() - udp::HEADER_LEN;
    match frame.get(start..datagram.frame_len()) {
        Some(bytes) => checksum::add(pseudo_header, checksum::sum(bytes)) == 0xffff,
        None => false,
    }
}
