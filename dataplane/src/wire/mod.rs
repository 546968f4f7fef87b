//! Ethernet, IPv4 and UDP on the wire: what a frame must be to be ours, and
//! the 42 bytes that we put before a payload.
//!
//! ```text
//!   0            14                34        42
//!   ┌────────────┬─────────────────┬─────────┬───────────── ─ ─ ┐┄┄┄┄┄┄┄┄┄┐
//!   │ Ethernet II│ IPv4, no options│   UDP   │     payload      │ padding ┊
//!   └────────────┴─────────────────┴─────────┴───────────── ─ ─ ┘┄┄┄┄┄┄┄┄┄┘
//!   └──────── HEADERS_LEN ─────────┴─────────┘                  └ frame_len()
//! ```
//!
//! A [`Datagram`] exists only for a frame that [`parse`] found sound, so the
//! payload of one always starts at [`HEADERS_LEN`]. VLAN tags, IPv6, options
//! and fragments are refused by name.

#![forbid(unsafe_code)]

pub mod checksum;
pub mod ethernet;
pub mod ipv4;
pub mod udp;

mod parse;
mod ready;
mod write;

pub use ethernet::Ethernet;
pub use ethernet::MacAddress;
pub use parse::Datagram;
pub use parse::WireError;
pub use parse::parse;
pub use parse::udp_checksum_ok;
pub use ready::ReadyHeaders;
pub use write::fill_udp_checksum;
pub use write::write_headers;

/// Ethernet II, IPv4 without options and UDP: what stands before a payload.
pub const HEADERS_LEN: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN + udp::HEADER_LEN;

/// IPv4 and UDP headers: what a payload adds to the size of an IP packet.
pub const IP_HEADERS_LEN: usize = ipv4::HEADER_LEN + udp::HEADER_LEN;

/// The longest UDP payload that IPv4 can carry without options.
pub const PAYLOAD_LEN_MAX: usize = u16::MAX as usize - IP_HEADERS_LEN;

#[cfg(test)]
mod tests;
