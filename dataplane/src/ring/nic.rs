//! What a NIC says of itself: the length of its receive ring, and whether it takes VLAN
//! tags out of frames (linux/ethtool.h).
#![allow(unsafe_code, reason = "libc has no safe ioctl")]

use std::os::fd::AsRawFd as _;

use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::socket;

const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// struct ethtool_ringparam: nine numbers, the command and rx_pending among them.
type RingParam = [u32; 9];
const RX_PENDING: usize = 5;

/// The descriptors of each receive ring of the device, as `ethtool -g` says. None
/// where it has none of its own (a veth), or does not tell.
#[must_use]
pub fn nic_rx_descriptors(device: &str) -> Option<u32> {
    let mut rings: RingParam = [0; 9];
    rings[0] = ETHTOOL_GRINGPARAM;
    (ethtool(device, &mut rings) && rings[RX_PENDING] > 0).then_some(rings[RX_PENDING])
}

/// True where the NIC takes VLAN tags out of the frames that it receives (rx-vlan-offload):
/// an XDP program then takes a tagged frame for an untagged one.
#[must_use]
pub fn nic_strips_vlan_tags(device: &str) -> bool {
    let mut flags = [ETHTOOL_GFLAGS, 0];
    ethtool(device, &mut flags) && flags[1] & ETH_FLAG_RXVLAN != 0
}

/// Asks the driver what the first number says, which is a command whose struct is these
/// numbers; false where it does not tell.
fn ethtool<const N: usize>(device: &str, numbers: &mut [u32; N]) -> bool {
    let family = AddressFamily::Inet;
    let Ok(socket) = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None) else {
        return false;
    };
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: numbers.as_mut_ptr().cast(),
        },
    };
    // One byte stays 0: the name's end.
    if device.len() >= libc::IFNAMSIZ {
        return false;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the request and the numbers that it points to outlive the call, and the
    // kernel writes the struct of the command, which each caller's array is as long as.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_a_ring_has_none() {
        assert_eq!(nic_rx_descriptors("lo"), None);
        assert_eq!(nic_rx_descriptors("no such device"), None);
        assert_eq!(nic_rx_descriptors("a name that is too long"), None);
        assert!(!nic_strips_vlan_tags("lo") && !nic_strips_vlan_tags("no such device"));
    }
}
