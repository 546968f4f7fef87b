//! The internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Every value here is a 16-bit one's complement sum read as a big-endian
//! number, not complemented unless its name says checksum. A sum that covers
//! one byte other than zero is never 0: what would be 0 comes out as 0xffff.
//! UDP needs exactly that, since it keeps 0 for "no checksum" (RFC 768).

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use super::ipv4::PROTOCOL_UDP;

/// One's complement sum of `bytes` as big-endian 16-bit words; an odd last
/// byte is padded with zero.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    // The sum may be taken over native words of any width and swapped once at
    // the end (RFC 1071 §2 B). 65,535 bytes in words of 32 bits cannot
    // overflow 64 bits.
    let mut total = 0u64;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        if let &[a, b, c, d] = word {
            total += u64::from(u32::from_ne_bytes([a, b, c, d]));
        }
    }
    total += match *words.remainder() {
        [a] => u64::from(u32::from_ne_bytes([a, 0, 0, 0])),
        [a, b] => u64::from(u32::from_ne_bytes([a, b, 0, 0])),
        [a, b, c] => u64::from(u32::from_ne_bytes([a, b, c, 0])),
        _ => 0,
    };
    u16::from_be(fold(total))
}

/// One's complement sum of two sums.
#[must_use]
pub const fn add(a: u16, b: u16) -> u16 {
    let total = a as u32 + b as u32;
    (((total & 0xffff) + (total >> 16)) & 0xffff) as u16
}

/// Sum of the IPv4 pseudo-header of UDP, the length left out (RFC 768).
///
/// The length is left out so that the rest can be kept ready for a flow: add
/// it with [`add`].
#[must_use]
pub fn pseudo_header_sum(source: Ipv4Addr, destination: Ipv4Addr) -> u16 {
    let addresses = u64::from(u32::from(source)) + u64::from(u32::from(destination));
    fold(addresses + u64::from(PROTOCOL_UDP))
}

/// Sum of the IPv6 pseudo-header of UDP, the length left out (RFC 8200 §8.1).
///
/// The length has 32 bits there; that of a datagram without extension headers fits 16.
#[must_use]
pub fn pseudo_header_sum6(source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    let addresses = add(sum(&source.octets()), sum(&destination.octets()));
    add(addresses, u16::from(PROTOCOL_UDP))
}

/// Sum of the pseudo-header of UDP between two addresses of one family, the length left
/// out; `None` where the families differ.
#[must_use]
pub fn pseudo_header_sum_of(source: IpAddr, destination: IpAddr) -> Option<u16> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Some(pseudo_header_sum(source, destination))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some(pseudo_header_sum6(source, destination))
        }
        _ => None,
    }
}

/// How a checksum changes when the bytes that sum to `old` become bytes that
/// sum to `new`: to be used with [`update`].
#[must_use]
pub const fn delta(old: u16, new: u16) -> u16 {
    add(!old, new)
}

/// Equation 3 of RFC 1624: HC' = ~(~HC + ~m + m'), where `delta` is ~m + m'.
///
/// A corrupt packet stays detectably corrupt: the error is carried over.
#[must_use]
pub const fn update(checksum: u16, delta: u16) -> u16 {
    !add(!checksum, delta)
}

/// What UDP sends for a computed checksum: 0 is sent as 0xffff (RFC 768).
#[must_use]
pub const fn udp_form(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

const fn fold(total: u64) -> u16 {
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff) + (total >> 16);
    let total = (total & 0xffff) + (total >> 16);
    (((total & 0xffff) + (total >> 16)) & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            total += u32::from(u16::from_be_bytes([pair[0], low]));
            total = (total & 0xffff) + (total >> 16);
        }
        u16::try_from(total).unwrap()
    }

    #[test]
    fn sums_the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes), 0xddf2);
    }

    #[test]
    fn updates_the_example_of_rfc_1624() {
        assert_eq!(update(0xdd2f, delta(0x5555, 0x3285)), 0x0000);
    }

    #[test]
    fn folds_the_largest_total() {
        assert_eq!(sum(&[0xff; 65_535]), naive(&[0xff; 65_535]));
        assert_eq!(fold(u64::MAX), 0xffff);
    }

    proptest! {
        #[test]
        fn equals_the_naive_sum(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(sum(&bytes), naive(&bytes));
        }

        #[test]
        fn incremental_equals_full(
            mut bytes in proptest::collection::vec(any::<u8>(), 12..200),
            new in any::<[u8; 6]>(),
        ) {
            bytes[11] |= 1; // the protocol byte of the pseudo-header: a sum is never 0
            let before = !sum(&bytes);
            let old_sum = sum(&bytes[..6]);
            bytes[..6].copy_from_slice(&new);
            let after = update(udp_form(before), delta(old_sum, sum(&new)));
            prop_assert_eq!(udp_form(after), udp_form(!sum(&bytes)));
        }

        #[test]
        fn pseudo_header_equals_its_bytes(src in any::<u32>(), dst in any::<u32>(), len in 8u16..) {
            let mut bytes = [0u8; 12];
            bytes[..4].copy_from_slice(&src.to_be_bytes());
            bytes[4..8].copy_from_slice(&dst.to_be_bytes());
            bytes[9] = PROTOCOL_UDP;
            bytes[10..].copy_from_slice(&len.to_be_bytes());
            let folded = pseudo_header_sum(src.into(), dst.into());
            prop_assert_eq!(add(folded, len), naive(&bytes));
        }
    }
}
