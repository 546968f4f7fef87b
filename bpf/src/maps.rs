//! The program's maps, typed: our addresses, the workers' sockets and the counters.
//!
//! The layouts are those of `src/bpf/structs.h`. All of this runs on the control thread, at start and
//! when somebody asks for figures: each call is one or more system calls.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use libbpf_rs::ErrorKind;
use libbpf_rs::MapCore;
use libbpf_rs::MapFlags;
use libbpf_rs::MapHandle;

use crate::error::MapError;
use crate::verdict::SEEN_INDEX;
use crate::verdict::VERDICT_COUNT;
use crate::verdict::Verdicts;
use crate::vlan::VlanStack;

/// SIP ports that one address can have: `SIP_PORTS_MAX` of structs.h. Each costs every media packet
/// a compare.
pub const SIP_PORTS_MAX: usize = 8;

/// Media ranges that one address can have: `MEDIA_RANGES_MAX` of structs.h.
pub const MEDIA_RANGES_MAX: usize = 4;

/// Addresses of one family that an interface's program can know, each counted once for every
/// [`VlanStack`] it is ours under: `ADDRESSES_MAX` of structs.h. Room for some 400 KB.
pub const ADDRESSES_MAX: usize = 4096;

/// [`VlanStack`]s that a program can know: `STACKS_MAX` of structs.h.
pub const STACKS_MAX: usize = 256;

/// Bytes of `struct address`: sixteen 16-bit ports.
const ADDRESS_LEN: usize = 2 * SIP_PORTS_MAX + 4 * MEDIA_RANGES_MAX;

/// Handles of one program's maps; they keep the maps alive.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) xsks: MapHandle,
    pub(crate) addresses_ipv4: MapHandle,
    pub(crate) addresses_ipv6: MapHandle,
    pub(crate) stacks: MapHandle,
    pub(crate) verdicts: MapHandle,
}

impl Maps {
    /// Writes what is ours at an address under these tags, in one step, over what was there.
    pub(crate) fn set_address(
        &self,
        stack: VlanStack,
        address: IpAddr,
        sip_ports: &[u16],
        media_ports: &[RangeInclusive<u16>],
    ) -> Result<(), MapError> {
        if let Some(vid) = stack.bad_vid() {
            return Err(MapError::BadVid { vid });
        }
        let value = encode_address(address, sip_ports, media_ports)?;
        self.insert_stack(stack)?;
        let key = stack.key().to_ne_bytes();
        // The octets in the order of the wire are the address in network byte order.
        let result = match address {
            IpAddr::V4(ipv4) => {
                let key = [&ipv4.octets()[..], &key].concat();
                self.addresses_ipv4.update(&key, &value, MapFlags::ANY)
            }
            IpAddr::V6(ipv6) => {
                let key = [&ipv6.octets()[..], &key].concat();
                self.addresses_ipv6.update(&key, &value, MapFlags::ANY)
            }
        };
        result.map_err(|source| match source.kind() {
            ErrorKind::TooBig => MapError::AddressesFull { address, stack },
            _ => MapError::Kernel {
                what: format!("set the ports of {address} {stack}"),
                source,
            },
        })
    }

    /// The program need not be told that it may look at frames without tags.
    fn insert_stack(&self, stack: VlanStack) -> Result<(), MapError> {
        if stack == VlanStack::Untagged {
            return Ok(());
        }
        self.stacks
            .update(&stack.key().to_ne_bytes(), &[1], MapFlags::ANY)
            .map_err(|source| match source.kind() {
                ErrorKind::TooBig => MapError::StacksFull { stack },
                _ => MapError::Kernel {
                    what: format!("tell the XDP program of frames {stack}"),
                    source,
                },
            })
    }

    pub(crate) fn insert_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), MapError> {
        self.check_queue(queue)?;
        self.xsks
            .update(
                &queue.to_ne_bytes(),
                &socket.as_raw_fd().to_ne_bytes(),
                MapFlags::ANY,
            )
            .map_err(|source| MapError::Kernel {
                what: format!("give queue {queue} its AF_XDP socket"),
                source,
            })
    }

    pub(crate) fn remove_socket(&self, queue: u32) -> Result<(), MapError> {
        self.check_queue(queue)?;
        match self.xsks.delete(&queue.to_ne_bytes()) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(MapError::Kernel {
                what: format!("take the AF_XDP socket from queue {queue}"),
                source,
            }),
            // Nothing there: the entry went when its socket was closed.
            _ => Ok(()),
        }
    }

    fn check_queue(&self, queue: u32) -> Result<(), MapError> {
        let queues = self.xsks.max_entries();
        if queue < queues {
            return Ok(());
        }
        Err(MapError::NoQueue { queue, queues })
    }

    pub(crate) fn verdicts(&self) -> Result<Verdicts, MapError> {
        let mut counts = [0; VERDICT_COUNT];
        for (index, count) in (0_u32..).zip(&mut counts) {
            *count = self.counter(index)?;
        }
        let seen = self.counter(SEEN_INDEX)?;
        Ok(Verdicts::new(counts, seen))
    }

    /// One counter, summed over all possible CPUs, also those that are offline now.
    fn counter(&self, index: u32) -> Result<u64, MapError> {
        let per_cpu = self
            .verdicts
            .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| MapError::Kernel {
                what: format!("read counter {index} of the XDP program"),
                source,
            })?;
        Ok(per_cpu
            .iter()
            .flatten()
            .filter_map(|value| value.as_slice().try_into().ok())
            .map(u64::from_ne_bytes)
            .sum())
    }
}

/// `struct address` of structs.h, or why these ports cannot be one.
fn encode_address(
    address: IpAddr,
    sip_ports: &[u16],
    media_ports: &[RangeInclusive<u16>],
) -> Result<[u8; ADDRESS_LEN], MapError> {
    if sip_ports.len() > SIP_PORTS_MAX {
        let count = sip_ports.len();
        return Err(MapError::TooManySipPorts { address, count });
    }
    if media_ports.len() > MEDIA_RANGES_MAX {
        let count = media_ports.len();
        return Err(MapError::TooManyMediaRanges { address, count });
    }

    let mut ports = [0_u16; ADDRESS_LEN / 2];
    let (sip_slots, media_slots) = ports.split_at_mut(SIP_PORTS_MAX);
    for (slot, &port) in sip_slots.iter_mut().zip(sip_ports) {
        check_ports(address, port, port)?;
        *slot = port;
    }
    for (slot, range) in media_slots.chunks_exact_mut(2).zip(media_ports) {
        check_ports(address, *range.start(), *range.end())?;
        slot.copy_from_slice(&[*range.start(), *range.end()]);
    }

    let mut value = [0; ADDRESS_LEN];
    for (bytes, port) in value.chunks_exact_mut(2).zip(ports) {
        bytes.copy_from_slice(&port.to_ne_bytes());
    }
    Ok(value)
}

/// Port 0 would mark a slot as unused, and an empty range would never match: both are mistakes.
fn check_ports(address: IpAddr, min: u16, max: u16) -> Result<(), MapError> {
    if min == 0 || max < min {
        return Err(MapError::BadPorts { address, min, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn number_in_c(name: &str) -> usize {
        let define = format!("#define {name} ");
        include_str!("bpf/structs.h")
            .lines()
            .find_map(|line| line.strip_prefix(&define))
            .and_then(|value| value.parse().ok())
            .expect("the bound's definition")
    }

    #[test]
    fn the_bounds_are_those_of_the_c_program() {
        assert_eq!(number_in_c("SIP_PORTS_MAX"), SIP_PORTS_MAX);
        assert_eq!(number_in_c("MEDIA_RANGES_MAX"), MEDIA_RANGES_MAX);
        assert_eq!(number_in_c("ADDRESSES_MAX"), ADDRESSES_MAX);
        assert_eq!(number_in_c("STACKS_MAX"), STACKS_MAX);
    }

    #[test]
    fn ports_fill_their_slots_and_the_rest_stays_zero() {
        let value = encode_address(ADDRESS, &[5060, 5080], &[10000..=19999]).expect("encodes");
        let ports: Vec<u16> = value
            .chunks_exact(2)
            .map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]))
            .collect();
        assert_eq!(
            ports,
            [5060, 5080, 0, 0, 0, 0, 0, 0, 10000, 19999, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn one_port_or_range_too_many_is_refused() {
        let sip_ports: Vec<u16> = (5060..5069).collect();
        assert!(encode_address(ADDRESS, &sip_ports[..8], &[]).is_ok());
        assert!(matches!(
            encode_address(ADDRESS, &sip_ports, &[]),
            Err(MapError::TooManySipPorts { count: 9, .. })
        ));
        let ranges: Vec<_> = (1..=5).map(|n| n * 1000..=n * 1000 + 9).collect();
        assert!(encode_address(ADDRESS, &[], &ranges[..4]).is_ok());
        assert!(matches!(
            encode_address(ADDRESS, &[], &ranges),
            Err(MapError::TooManyMediaRanges { count: 5, .. })
        ));
    }

    #[test]
    fn port_zero_and_reversed_ranges_are_refused() {
        assert!(encode_address(ADDRESS, &[0], &[]).is_err());
        assert!(encode_address(ADDRESS, &[], &[0..=9]).is_err());
        #[allow(clippy::reversed_empty_ranges, reason = "the mistake under test")]
        let reversed = 2000..=1000;
        let error = encode_address(ADDRESS, &[], &[reversed]).expect_err("reversed");
        assert!(error.to_string().contains("2000 to 1000"), "{error}");
        assert!(encode_address(ADDRESS, &[], &[65535..=65535]).is_ok());
    }
}
