//! IPv6 without extension headers (RFC 8200).

use std::net::Ipv6Addr;

use super::ipv4::PROTOCOL_UDP;

/// Length of the header.
pub const HEADER_LEN: usize = 40;

/// Hop limit of everything that we send.
pub const HOP_LIMIT: u8 = 64;

const NEXT_HEADER_FRAGMENT: u8 = 44;

/// Hop-by-hop options, routing, ESP, AH, destination options, mobility, HIP, shim6 (IANA's
/// list of extension header types), the fragment header left out.
const EXTENSION_HEADERS: [u8; 8] = [0, 43, 50, 51, 60, 135, 139, 140];

/// An IPv6 header whose length has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Header<'f>(&'f [u8; HEADER_LEN]);

impl<'f> Header<'f> {
    /// The header at the start of `bytes` and what follows it; `None` if `bytes` is shorter
    /// than a header.
    #[must_use]
    pub fn new_checked(bytes: &'f [u8]) -> Option<(Header<'f>, &'f [u8])> {
        let (header, rest) = bytes.split_first_chunk()?;
        Some((Header(header), rest))
    }

    /// The IP version: anything but 6 is not ours.
    #[must_use]
    pub fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// Length of what follows the header in bytes, as it says itself.
    #[must_use]
    pub fn payload_len(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// True if what follows is UDP.
    #[must_use]
    pub fn carries_udp(self) -> bool {
        self.0[6] == PROTOCOL_UDP
    }

    /// True for every fragment.
    #[must_use]
    pub fn is_fragment(self) -> bool {
        self.0[6] == NEXT_HEADER_FRAGMENT
    }

    /// True if an extension header follows.
    #[must_use]
    pub fn has_extension(self) -> bool {
        EXTENSION_HEADERS.contains(&self.0[6])
    }

    /// Who sent it.
    #[must_use]
    pub fn source(self) -> Ipv6Addr {
        address(self.0, 8)
    }

    /// Whom it is for.
    #[must_use]
    pub fn destination(self) -> Ipv6Addr {
        address(self.0, 24)
    }
}

fn address(header: &[u8; HEADER_LEN], at: usize) -> Ipv6Addr {
    let octets: Option<&[u8; 16]> = header.get(at..).and_then(<[u8]>::first_chunk);
    octets.map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets))
}

/// Writes a header for UDP: traffic class and flow label 0, hop limit 64.
pub fn write(
    header: &mut [u8; HEADER_LEN],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    payload_len: u16,
) {
    let [l0, l1] = payload_len.to_be_bytes();
    let (first, addresses) = header.split_at_mut(8);
    let (sources, destinations) = addresses.split_at_mut(16);
    first.copy_from_slice(&[0x60, 0, 0, 0, l0, l1, PROTOCOL_UDP, HOP_LIMIT]);
    sources.copy_from_slice(&source.octets());
    destinations.copy_from_slice(&destination.octets());
}

/// True for an address that a host can send from to others: not unspecified, loopback,
/// multicast, nor IPv4 in the clothes of IPv6 (RFC 4291 §2.5).
#[must_use]
pub fn is_host(address: Ipv6Addr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && address.to_ipv4_mapped().is_none()
}
