//! Indexes that never share a type, so that none can stand in for another.

use std::net::IpAddr;
use std::net::SocketAddr;

/// A network device that interfaces are of: several may share one and differ in their tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIndex(pub u8);

/// A configured interface, by its place in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(pub u8);

/// A receive and transmit queue of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u16);

/// A worker thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u8);

/// A configured SIP listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenIndex(pub u8);

/// A configured media range: one relay address and its UDP ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaIndex(pub u8);

/// A configured trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrunkIndex(pub u16);

/// A trunk by its name, hashed: what a message may say of it, which outlives its place in the
/// configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrunkTag(pub u16);

impl TrunkTag {
    /// The tag of a name: FNV-1a, folded. It stands in messages, so that it stays as it is.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // That is the folding.
    pub fn of(name: &str) -> TrunkTag {
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        TrunkTag((hash >> 16) as u16 ^ hash as u16)
    }
}

/// A configured domain, whose subscribers are known by their passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainIndex(pub u8);

/// A core of the machine, as the kernel numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u16);

/// What must leave in its order: the packets of a flow, the messages to a peer. A
/// worker's sockets on a device share the lanes among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u16);

impl Lane {
    /// The lane of a relay port: RTP's and RTCP's of one stream are the same.
    #[must_use]
    pub fn of_media(port: u16) -> Lane {
        Lane(port >> 1)
    }

    /// The lane of all that goes to this peer.
    #[must_use]
    pub fn of_peer(peer: impl Into<SocketAddr>) -> Lane {
        let peer = peer.into();
        let address = match peer.ip() {
            IpAddr::V4(address) => u32::from(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h] = address.segments();
                (u32::from(a ^ c ^ e ^ g) << 16) | u32::from(b ^ d ^ f ^ h)
            }
        };
        let [a, b, c, d] = address.to_be_bytes();
        Lane(u16::from_be_bytes([a ^ c, b ^ d]) ^ peer.port())
    }

    /// Which of `count` sockets carries it. Neighbouring lanes are far apart: ports
    /// are given out one after the other.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // Less than `count`.
    pub fn of(self, count: u16) -> u16 {
        // Fibonacci hashing: the upper half of the product is well mixed, and scaling it
        // down takes no division.
        let mixed = u32::from(self.0).wrapping_mul(0x9e37_79b1) >> 16;
        ((mixed * u32::from(count)) >> 16) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_shared_evenly_and_every_socket_has_some() {
        for count in 1..=16_u16 {
            let mut lanes = vec![0_u32; usize::from(count)];
            for port in (20_000..25_000).step_by(2) {
                lanes[usize::from(Lane::of_media(port).of(count))] += 1;
            }
            let fair = 2_500 / u32::from(count);
            for share in lanes {
                assert!(share > fair * 9 / 10 && share < fair * 11 / 10 + 2);
            }
        }
    }

    #[test]
    fn a_stream_and_a_peer_keep_their_lane() {
        assert_eq!(Lane::of_media(20_000), Lane::of_media(20_001));
        assert_ne!(Lane::of_media(20_000), Lane::of_media(20_002));
        let peer: SocketAddr = "[2001:db8::2]:5060".parse().unwrap();
        let other: SocketAddr = "[2001:db8::3]:5060".parse().unwrap();
        assert_eq!(Lane::of_peer(peer), Lane::of_peer(peer));
        assert_ne!(Lane::of_peer(peer), Lane::of_peer(other));
    }
}
