//! What a NIC's own receive ring holds: ETHTOOL_GRINGPARAM (linux/ethtool.h).
#![allow(unsafe_code, reason = "libc has no safe ioctl")]

use std::os::fd::AsRawFd as _;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::socket;

const ETHTOOL_GRINGPARAM: u32 = 0x10;

/// struct ethtool_ringparam: nine numbers, the command and rx_pending among them.
type RingParam = [u32; 9];
const RX_PENDING: usize = 5;

/// The descriptors of each receive ring of the device, as `ethtool -g` says. None
/// where it has none of its own (a veth), or does not tell.
#[must_use]
pub fn nic_rx_descriptors(device: &str) -> Option<u32> {
    let family = AddressFamily::Inet;
    let socket = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
    let mut rings: RingParam = [0; 9];
    rings[0] = ETHTOOL_GRINGPARAM;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: (&raw mut rings).cast(),
        },
    };
    // One byte stays 0: the name's end.
    if device.len() >= libc::IFNAMSIZ {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the request and the numbers that it points to outlive the call, and
    // the kernel writes a struct ethtool_ringparam, which is as long as they are.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    (result == 0 && rings[RX_PENDING] > 0).then_some(rings[RX_PENDING])
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_a_ring_has_none() {
        assert_eq!(nic_rx_descriptors("lo"), None);
        assert_eq!(nic_rx_descriptors("no such device"), None);
        assert_eq!(nic_rx_descriptors("a name that is too long"), None);
    }
}
