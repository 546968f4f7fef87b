//! Ethernet, VLAN tags, IPv4, IPv6 and UDP on the wire: what a frame must be to be ours, and
//! what we put before a payload.
//!
//! ```text
//!   0            14       18       22                42 or 62  50 or 70
//!   ┌────────────┬────────┬────────┬─────────────────┬─────────┬──────── ─ ─ ┐┄┄┄┄┄┄┄┄┄┐
//!   │ Ethernet II│  tag   │  tag   │ IPv4, no options│   UDP   │   payload   │ padding ┊
//!   │            │ if any │ if any │ or IPv6         │         │             │         ┊
//!   └────────────┴────────┴────────┴─────────────────┴─────────┴──────── ─ ─ ┘┄┄┄┄┄┄┄┄┄┘
//!   └─────────────── headers_len() ────────────────────────────┘             └ frame_len()
//! ```
//!
//! A [`Datagram`] exists only for a frame that [`parse`] found sound, and knows where its
//! payload starts. IPv4 options, IPv6 extension headers and fragments are refused by name.

#![forbid(unsafe_code)]

pub mod checksum;
pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod udp;
pub mod vlan;

mod parse;
mod ready;
mod write;

use std::net::IpAddr;

pub use ethernet::Ethernet;
pub use ethernet::MacAddress;
pub use parse::Datagram;
pub use parse::WireError;
pub use parse::parse;
pub use parse::udp_checksum_ok;
pub use ready::ReadyHeaders;
pub use vlan::VlanStack;
pub use write::fill_udp_checksum;
pub use write::set_udp_checksum;
pub use write::write_headers;

/// Ethernet II, IPv4 without options and UDP: the shortest that stands before a payload.
pub const HEADERS_LEN: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN + udp::HEADER_LEN;

/// Ethernet II, two tags, IPv6 and UDP: the longest.
pub const HEADERS_LEN_MAX: usize =
    ethernet::HEADER_LEN + vlan::TAGS_MAX * vlan::TAG_LEN + ipv6::HEADER_LEN + udp::HEADER_LEN;

/// The longest UDP payload that IPv4 can carry without options.
pub const PAYLOAD_LEN_MAX: usize = u16::MAX as usize - ipv4::HEADER_LEN - udp::HEADER_LEN;

/// IP and UDP headers to an address: what a payload adds to the size of an IP packet.
#[must_use]
pub const fn ip_headers_len(to: IpAddr) -> usize {
    udp::HEADER_LEN
        + match to {
            IpAddr::V4(_) => ipv4::HEADER_LEN,
            IpAddr::V6(_) => ipv6::HEADER_LEN,
        }
}

/// All that stands before a payload to an address behind these tags.
#[must_use]
pub const fn headers_len(vlan: &VlanStack, to: IpAddr) -> usize {
    ethernet::HEADER_LEN + vlan.len() + ip_headers_len(to)
}

#[cfg(test)]
mod family_tests;
#[cfg(test)]
pub(crate) mod oracle;
#[cfg(test)]
mod tests;
