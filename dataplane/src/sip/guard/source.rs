//! Who is held to what comes from an address.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// An IPv4 address, or the first 64 bits of an IPv6 address: a host has all the others, and may send
/// each request from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(u64);

/// Multicast as IPv6 has it: nothing comes from there.
const IPV4: u64 = 0xffff_ffff << 32;

impl Source {
    /// The source of what comes from this address.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "its first half")]
    pub const fn of(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(ip) => Source(IPV4 | ip.to_bits() as u64),
            IpAddr::V6(ip) => Source((ip.to_bits() >> 64) as u64),
        }
    }

    /// Its addresses: the first of them, and how many bits they have in common.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "its second half")]
    pub const fn network(self) -> (IpAddr, u8) {
        if self.0 & IPV4 == IPV4 {
            (IpAddr::V4(Ipv4Addr::from_bits(self.0 as u32)), 32)
        } else {
            let first = Ipv6Addr::from_bits((self.0 as u128) << 64);
            (IpAddr::V6(first), 64)
        }
    }

    /// As a table has it; never 0.
    #[must_use]
    pub(super) const fn key(self) -> u64 {
        // 0 would be ::/64, where the unspecified and the loopback address are.
        if self.0 == 0 { 1 } else { self.0 }
    }

    pub(super) const fn of_key(key: u64) -> Source {
        Source(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv4_address_stands_alone_and_an_ipv6_address_for_its_network() {
        assert_ne!(of("10.77.1.2"), of("10.77.1.3"));
        assert_eq!(of("10.77.1.2"), of("::ffff:10.77.1.2"));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::4"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        for (address, first, len) in [
            ("10.77.1.2", "10.77.1.2", 32),
            ("2001:db8:1:2::3", "2001:db8:1:2::", 64),
        ] {
            assert_eq!(of(address).network(), (first.parse().unwrap(), len));
        }
        assert_ne!(of("::").key(), 0);
    }
}
