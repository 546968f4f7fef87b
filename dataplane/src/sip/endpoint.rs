//! An address and a port in 18 bytes: what each transaction keeps two of.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// A [`SocketAddr`] without flow label and scope, which the core has no use for: IPv4 is kept
/// in the clothes of IPv6. 18 bytes, where a `SocketAddr` has 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    address: [u8; 16],
    port: u16,
}

impl Endpoint {
    /// As the rest of the core has it.
    #[must_use]
    pub const fn addr(self) -> SocketAddr {
        SocketAddr::new(self.ip(), self.port)
    }

    /// Whether its address is IPv4.
    #[must_use]
    pub const fn is_ipv4(self) -> bool {
        matches!(self.address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..])
    }

    /// Its port.
    #[must_use]
    pub const fn port(self) -> u16 {
        self.port
    }

    /// Its address.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // The low bits are an IPv4 address's.
    pub const fn ip(self) -> IpAddr {
        let bits = u128::from_be_bytes(self.address);
        // IPv4-mapped: ::ffff:0:0/96.
        if bits >> 32 == 0xffff {
            IpAddr::V4(Ipv4Addr::from_bits(bits as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
    }

    /// Address and port, as a token holds them.
    #[must_use]
    pub const fn bytes(self) -> [u8; 18] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.address;
        let [q, r] = self.port.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r]
    }

    /// What [`Endpoint::bytes`] has made.
    #[must_use]
    pub const fn of_bytes(bytes: [u8; 18]) -> Endpoint {
        let [address @ .., high, low] = bytes;
        Endpoint {
            address,
            port: u16::from_be_bytes([high, low]),
        }
    }

    /// The same of an IPv4 address, in less.
    #[must_use]
    pub const fn v4_bytes(self) -> [u8; 6] {
        let [.., a, b, c, d, high, low] = self.bytes();
        [a, b, c, d, high, low]
    }

    /// What [`Endpoint::v4_bytes`] has made.
    #[must_use]
    pub const fn of_v4_bytes([a, b, c, d, high, low]: [u8; 6]) -> Endpoint {
        Endpoint {
            address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d],
            port: u16::from_be_bytes([high, low]),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Endpoint {
        let address = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Endpoint {
            address: address.octets(),
            port: addr.port(),
        }
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> SocketAddr {
        endpoint.addr()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.addr(), out)
    }
}

const _: () = assert!(size_of::<Endpoint>() == 18);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_either_family_comes_back() {
        for text in [
            "192.0.2.1:5060",
            "[2001:db8::1]:65535",
            "0.0.0.0:0",
            "[::1]:1",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Endpoint::from(addr).addr(), addr);
            let endpoint = Endpoint::from(addr);
            assert_eq!(endpoint.is_ipv4(), addr.is_ipv4());
            assert_eq!(Endpoint::of_bytes(endpoint.bytes()), endpoint);
            if addr.is_ipv4() {
                assert_eq!(Endpoint::of_v4_bytes(endpoint.v4_bytes()), endpoint);
            }
        }
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:5060".parse().unwrap();
        let plain: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        assert_eq!(Endpoint::from(mapped), Endpoint::from(plain));
    }
}
