//! IPv4 without options (RFC 791).

use std::net::Ipv4Addr;

use super::checksum;

/// Length of a header without options: the only one that we take and send.
pub const HEADER_LEN: usize = 20;

/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// Time to live of everything that we send.
pub const TTL: u8 = 64;

const VERSION_4_HEADER_OF_20: u8 = 0x45;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0x00];
const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;

/// An IPv4 header of 20 bytes whose length has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Header<'f>(&'f [u8; HEADER_LEN]);

impl<'f> Header<'f> {
    /// The header at the start of `bytes` and what follows it; `None` if
    /// `bytes` is shorter than a header.
    #[must_use]
    pub fn new_checked(bytes: &'f [u8]) -> Option<(Header<'f>, &'f [u8])> {
        let (header, rest) = bytes.split_first_chunk()?;
        Some((Header(header), rest))
    }

    /// The IP version: anything but 4 is not ours.
    #[must_use]
    pub fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// Length of the header in bytes, options included, as it says itself.
    #[must_use]
    pub fn header_len(self) -> u8 {
        (self.0[0] & 0x0f) * 4
    }

    /// Length of the packet in bytes, header included, as it says itself.
    #[must_use]
    pub fn total_len(self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// True for every fragment, also the first and the last.
    #[must_use]
    pub fn is_fragment(self) -> bool {
        u16::from_be_bytes([self.0[6], self.0[7]]) & MORE_FRAGMENTS_OR_OFFSET != 0
    }

    /// The protocol carried.
    #[must_use]
    pub fn protocol(self) -> u8 {
        self.0[9]
    }

    /// Who sent it.
    #[must_use]
    pub fn source(self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[12], self.0[13], self.0[14], self.0[15])
    }

    /// Whom it is for.
    #[must_use]
    pub fn destination(self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[16], self.0[17], self.0[18], self.0[19])
    }

    /// True if the header checksum holds.
    #[must_use]
    pub fn checksum_ok(self) -> bool {
        checksum::sum(self.0) == 0xffff
    }
}

/// Writes a fresh header for UDP: TTL 64, DF, identification 0 (RFC 6864 §4.1
/// allows it, since an atomic datagram needs none).
pub fn write(
    header: &mut [u8; HEADER_LEN],
    source: Ipv4Addr,
    destination: Ipv4Addr,
    total_len: u16,
) {
    let [l0, l1] = total_len.to_be_bytes();
    let [f0, f1] = DONT_FRAGMENT;
    let [s0, s1, s2, s3] = source.octets();
    let [d0, d1, d2, d3] = destination.octets();
    *header = [
        VERSION_4_HEADER_OF_20,
        0,
        l0,
        l1, //
        0,
        0,
        f0,
        f1, //
        TTL,
        PROTOCOL_UDP,
        0,
        0, //
        s0,
        s1,
        s2,
        s3, //
        d0,
        d1,
        d2,
        d3,
    ];
    let [c0, c1] = (!checksum::sum(header)).to_be_bytes();
    header[10] = c0;
    header[11] = c1;
}
