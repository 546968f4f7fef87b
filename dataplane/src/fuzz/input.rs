//! A fuzzer's bytes as what they stand for. Past the end all is zero.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// What is left of them.
pub(super) struct Input<'b>(pub(super) &'b [u8]);

impl<'b> Input<'b> {
    /// The next ones, if there are as many.
    pub(super) fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (next, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*next)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.next().map_or(0, |[byte]| byte)
    }

    pub(super) fn number(&mut self) -> u16 {
        self.next().map_or(0, u16::from_be_bytes)
    }

    /// A length, and so many bytes or all that there are.
    pub(super) fn text(&mut self) -> &'b [u8] {
        let len = usize::from(self.number()).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        text
    }

    /// Port and address, which is one of IPv4 where its family is even.
    pub(super) fn address(&mut self) -> SocketAddr {
        let (port, family) = (self.number(), self.byte());
        let ip = match family % 2 {
            0 => IpAddr::V4(Ipv4Addr::from(self.next::<4>().unwrap_or_default())),
            _ => IpAddr::V6(Ipv6Addr::from(self.next::<16>().unwrap_or_default())),
        };
        SocketAddr::new(ip.to_canonical(), port)
    }
}
