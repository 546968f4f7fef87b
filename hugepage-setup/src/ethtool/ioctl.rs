//! SIOCETHTOOL (linux/ethtool.h): driver, hash, indirection, steering rules.
//!
//! Each structure is a buffer of bytes with named offsets. The kernel reads and
//! writes only what the command's structure has, plus as many entries as the count in
//! it says: each function here makes its buffer of just that length.
#![allow(
    unsafe_code,
    reason = "nix has the ioctl's number only; see docs/unsafe.md"
)]

use super::Rule;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::socket;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// ETHTOOL_*.
const GDRVINFO: u32 = 0x03;
const GRXFH: u32 = 0x29;
const SRXFH: u32 = 0x2a;
const GRXCLSRLCNT: u32 = 0x2e;
const GRXCLSRULE: u32 = 0x2f;
const GRXCLSRLALL: u32 = 0x30;
const SRXCLSRLDEL: u32 = 0x31;
const SRXCLSRLINS: u32 = 0x32;
const GRXFHINDIR: u32 = 0x38;
const SRXFHINDIR: u32 = 0x39;

const UDP_V4_FLOW: u32 = 2;
const UDP_V6_FLOW: u32 = 6;
/// In GRXCLSRLCNT's answer: the driver chooses the place of a rule if asked to.
const LOC_SPECIAL: u32 = 0x8000_0000;
const LOC_ANY: u32 = 0xffff_ffff;
/// More rules than any table has; bounds what the kernel may make us allocate.
const RULES_MAX: u32 = 65_536;

/// struct ethtool_drvinfo.
mod drvinfo {
    use super::Range;
    pub(super) const LEN: usize = 196;
    pub(super) const DRIVER: Range<usize> = 4..36;
    pub(super) const VERSION: Range<usize> = 36..68;
    pub(super) const FIRMWARE: Range<usize> = 68..100;
    pub(super) const BUS: Range<usize> = 100..132;
}

/// struct ethtool_rxnfc, with the flow specification inside it.
mod rxnfc {
    use super::Range;
    pub(super) const LEN: usize = 192;
    pub(super) const FLOW_TYPE: Range<usize> = 4..8;
    pub(super) const DATA: Range<usize> = 8..16;
    pub(super) const SPEC_TYPE: Range<usize> = 16..20;
    /// The fields of the packet (h_u) and which of their bits count (m_u).
    pub(super) const VALUES: usize = 20;
    pub(super) const MASKS: usize = 92;
    pub(super) const FIELDS_LEN: usize = 52;
    pub(super) const QUEUE: Range<usize> = 168..176;
    pub(super) const LOCATION: Range<usize> = 176..180;
    pub(super) const RULE_COUNT: Range<usize> = 184..188;
    pub(super) const LOCATIONS: usize = 188;
    /// In VALUES and MASKS: struct ethtool_tcpip4_spec and ethtool_tcpip6_spec.
    pub(super) const IPV4_DESTINATION: Range<usize> = 4..8;
    pub(super) const IPV4_PORT: Range<usize> = 10..12;
    pub(super) const IPV6_DESTINATION: Range<usize> = 16..32;
    pub(super) const IPV6_PORT: Range<usize> = 34..36;
}

nix::ioctl_readwrite_bad!(siocethtool, 0x8946, libc::ifreq);

/// What a device says of its driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// As `ice`.
    pub name: String,
    /// The kernel's release for drivers of its own tree.
    pub version: String,
    /// Empty where there is none.
    pub firmware: String,
    /// As `0000:3b:00.0`; empty for what is not on a bus.
    pub bus: String,
}

/// Asks the driver about itself.
///
/// # Errors
/// ENODEV where there is no such device, EOPNOTSUPP where it has no driver.
pub fn driver(device: &str) -> nix::Result<Driver> {
    let mut info = begin(GDRVINFO, drvinfo::LEN);
    call(device, &mut info)?;
    let text = |field: Range<usize>| {
        let bytes = info[field].split(|byte| *byte == 0).next();
        let text = String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        if text == "N/A" { String::new() } else { text }
    };
    Ok(Driver {
        name: text(drvinfo::DRIVER),
        version: text(drvinfo::VERSION),
        firmware: text(drvinfo::FIRMWARE),
        bus: text(drvinfo::BUS),
    })
}

/// The letters of `rx-flow-hash` and their bits (RXH_*).
const HASH_FIELDS: [(char, u64); 8] = [
    ('m', 1 << 1),
    ('v', 1 << 2),
    ('t', 1 << 3),
    ('s', 1 << 4),
    ('d', 1 << 5),
    ('f', 1 << 6),
    ('n', 1 << 7),
    ('r', 1 << 31),
];

/// The fields of a UDP packet that choose its queue: `sd` for the addresses, `sdfn`
/// for addresses and ports. `flow` is `udp4` or `udp6`.
///
/// # Errors
/// EOPNOTSUPP where the driver cannot tell.
pub fn udp_hash(device: &str, flow: &str) -> nix::Result<String> {
    let mut request = begin(GRXFH, rxnfc::LEN);
    request[rxnfc::FLOW_TYPE].copy_from_slice(&flow_type(flow)?.to_ne_bytes());
    call(device, &mut request)?;
    Ok(hash_text(number64(&request, rxnfc::DATA)))
}

/// Sets them.
///
/// # Errors
/// EOPNOTSUPP or EINVAL where the hardware cannot hash these.
pub fn set_udp_hash(device: &str, flow: &str, fields: &str) -> nix::Result<()> {
    let mut request = begin(SRXFH, rxnfc::LEN);
    request[rxnfc::FLOW_TYPE].copy_from_slice(&flow_type(flow)?.to_ne_bytes());
    let bits = hash_bits(fields).ok_or(Errno::EINVAL)?;
    request[rxnfc::DATA].copy_from_slice(&bits.to_ne_bytes());
    call(device, &mut request)
}

fn flow_type(flow: &str) -> nix::Result<u32> {
    match flow {
        "udp4" => Ok(UDP_V4_FLOW),
        "udp6" => Ok(UDP_V6_FLOW),
        _ => Err(Errno::EINVAL),
    }
}

fn hash_text(bits: u64) -> String {
    let known = HASH_FIELDS.iter().fold(0, |sum, (_, bit)| sum | bit);
    if bits & !known != 0 {
        // A field that is younger than this table: keep it whole.
        return format!("{bits:#x}");
    }
    HASH_FIELDS
        .iter()
        .filter(|(_, bit)| bits & bit != 0)
        .map(|(letter, _)| letter)
        .collect()
}

fn hash_bits(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    text.chars().try_fold(0, |sum, letter| {
        let (_, bit) = HASH_FIELDS.iter().find(|(known, _)| *known == letter)?;
        Some(sum | bit)
    })
}

/// Which queue each value of the hash goes to.
///
/// # Errors
/// EOPNOTSUPP where the device has no such table.
pub fn spread(device: &str) -> nix::Result<Vec<u32>> {
    let mut request = begin(GRXFHINDIR, 8);
    call(device, &mut request)?;
    let count = number(&request, 4..8).min(RULES_MAX);
    if count == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let mut request = begin(GRXFHINDIR, 8 + 4 * count as usize);
    request[4..8].copy_from_slice(&count.to_ne_bytes());
    call(device, &mut request)?;
    Ok(request[8..]
        .chunks_exact(4)
        .map(|entry| number(entry, 0..4))
        .collect())
}

/// Sets the whole table.
///
/// # Errors
/// EINVAL where it names a queue that is not there, or has another length.
pub fn set_spread(device: &str, table: &[u32]) -> nix::Result<()> {
    let count = u32::try_from(table.len()).map_err(|_| Errno::EINVAL)?;
    let mut request = begin(SRXFHINDIR, 8);
    request[4..8].copy_from_slice(&count.to_ne_bytes());
    for queue in table {
        request.extend_from_slice(&queue.to_ne_bytes());
    }
    call(device, &mut request)
}

/// Whether the device has a table of steering rules at all. It may be switched off by
/// the feature `rx-ntuple-filter`.
pub fn takes_rules(device: &str) -> bool {
    places(device).is_ok()
}

/// Whether the device has this rule.
///
/// # Errors
/// EOPNOTSUPP where it has no rules at all.
pub fn has_rule(device: &str, rule: &Rule) -> nix::Result<bool> {
    let places = places(device)?;
    Ok(place_of(device, &places, rule)?.is_some())
}

/// Adds or removes a rule; nothing happens where it is, or is not, there.
///
/// # Errors
/// EOPNOTSUPP or EINVAL where the hardware has no such rules, ENOSPC where its table
/// is full.
pub fn set_rule(device: &str, rule: &Rule, on: bool) -> nix::Result<()> {
    let places = places(device)?;
    let place = place_of(device, &places, rule)?;
    match (place, on) {
        (None, true) => {
            let free = places.free().ok_or(Errno::ENOSPC)?;
            let mut request = specification(rule);
            request[0..4].copy_from_slice(&SRXCLSRLINS.to_ne_bytes());
            request[rxnfc::LOCATION].copy_from_slice(&free.to_ne_bytes());
            call(device, &mut request)
        }
        (Some(place), false) => {
            let mut request = begin(SRXCLSRLDEL, rxnfc::LEN);
            request[rxnfc::LOCATION].copy_from_slice(&place.to_ne_bytes());
            call(device, &mut request)
        }
        _ => Ok(()),
    }
}

/// The table of rules of a device.
struct Places {
    used: Vec<u32>,
    table_len: u32,
    /// The driver chooses.
    special: bool,
}

impl Places {
    /// Where a new rule goes. The driver's choice, else the last free place: the first
    /// ones win over others, and are left to the operator's own rules.
    fn free(&self) -> Option<u32> {
        if self.special {
            return Some(LOC_ANY);
        }
        (0..self.table_len)
            .rev()
            .find(|place| !self.used.contains(place))
    }
}

fn places(device: &str) -> nix::Result<Places> {
    let mut request = begin(GRXCLSRLCNT, rxnfc::LEN);
    call(device, &mut request)?;
    let count = number(&request, rxnfc::RULE_COUNT).min(RULES_MAX);
    let special = number64(&request, rxnfc::DATA) & u64::from(LOC_SPECIAL) != 0;
    let len = rxnfc::LEN.max(rxnfc::LOCATIONS + 4 * count as usize);
    let mut request = begin(GRXCLSRLALL, len);
    request[rxnfc::RULE_COUNT].copy_from_slice(&count.to_ne_bytes());
    call(device, &mut request)?;
    let used = request[rxnfc::LOCATIONS..]
        .chunks_exact(4)
        .take(count as usize)
        .map(|place| number(place, 0..4))
        .collect();
    let table_len = u32::try_from(number64(&request, rxnfc::DATA)).unwrap_or(0);
    Ok(Places {
        used,
        table_len: table_len.min(RULES_MAX),
        special,
    })
}

fn place_of(device: &str, places: &Places, rule: &Rule) -> nix::Result<Option<u32>> {
    let ours = specification(rule);
    for place in &places.used {
        let mut request = begin(GRXCLSRULE, rxnfc::LEN);
        request[rxnfc::LOCATION].copy_from_slice(&place.to_ne_bytes());
        call(device, &mut request)?;
        if is_same(&request, &ours) {
            return Ok(Some(*place));
        }
    }
    Ok(None)
}

/// Whether two specifications steer the same packets to the same queue. Drivers
/// differ in what they leave in the fields that do not count.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    let kind = |request: &[u8]| number(request, rxnfc::SPEC_TYPE);
    let masks = |request: &[u8]| request[rxnfc::MASKS..][..rxnfc::FIELDS_LEN].to_vec();
    let counts = |request: &[u8]| -> Vec<u8> {
        let values = &request[rxnfc::VALUES..][..rxnfc::FIELDS_LEN];
        let masked = values.iter().zip(masks(right));
        masked.map(|(value, mask)| value & mask).collect()
    };
    kind(left) == kind(right)
        && masks(left) == masks(right)
        && counts(left) == counts(right)
        && left[rxnfc::QUEUE] == right[rxnfc::QUEUE]
}

/// The request that adds a rule, but for its command and its place.
fn specification(rule: &Rule) -> Vec<u8> {
    let mut request = begin(0, rxnfc::LEN);
    let (kind, address, destination, port) = match rule.to.ip() {
        IpAddr::V4(ip) => (
            UDP_V4_FLOW,
            ip.octets().to_vec(),
            rxnfc::IPV4_DESTINATION,
            rxnfc::IPV4_PORT,
        ),
        IpAddr::V6(ip) => (
            UDP_V6_FLOW,
            ip.octets().to_vec(),
            rxnfc::IPV6_DESTINATION,
            rxnfc::IPV6_PORT,
        ),
    };
    request[rxnfc::SPEC_TYPE].copy_from_slice(&kind.to_ne_bytes());
    let values = &mut request[rxnfc::VALUES..];
    values[destination.clone()].copy_from_slice(&address);
    values[port.clone()].copy_from_slice(&rule.to.port().to_be_bytes());
    let masks = &mut request[rxnfc::MASKS..];
    masks[destination].fill(0xff);
    masks[port].fill(0xff);
    request[rxnfc::QUEUE].copy_from_slice(&u64::from(rule.queue).to_ne_bytes());
    request
}

fn begin(command: u32, len: usize) -> Vec<u8> {
    let mut request = vec![0; len];
    request[0..4].copy_from_slice(&command.to_ne_bytes());
    request
}

fn number(bytes: &[u8], at: Range<usize>) -> u32 {
    bytes
        .get(at)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}

fn number64(bytes: &[u8], at: Range<usize>) -> u64 {
    bytes
        .get(at)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_ne_bytes)
}

fn call(device: &str, request: &mut [u8]) -> nix::Result<()> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut name = [0; libc::IFNAMSIZ];
    if device.len() >= name.len() {
        return Err(Errno::ENODEV);
    }
    for (to, from) in name.iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    let mut ifreq = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_data: request.as_mut_ptr().cast(),
        },
    };
    // SAFETY: ifreq and the buffer it points to outlive the call. The kernel writes no
    // more than the structure of the command and the entries that its count announces;
    // all callers are in this file and make the buffer of that length.
    unsafe { siocethtool(socket.as_raw_fd(), &raw mut ifreq) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_fields_are_letters_and_younger_ones_are_kept() {
        for text in ["sd", "sdfn", "vsdfn", "r", "0x1f0"] {
            let bits = hash_bits(text).unwrap();
            assert_eq!(hash_text(bits), text);
        }
        assert_eq!(hash_text(0xf0), "sdfn");
        assert_eq!(hash_bits("xyz"), None);
    }

    #[test]
    fn a_rule_is_laid_out_as_the_kernel_has_it() {
        let rule = Rule {
            to: "192.0.2.1:5060".parse().unwrap(),
            queue: 3,
        };
        let request = specification(&rule);
        assert_eq!(request.len(), 192);
        assert_eq!(&request[24..28], [192, 0, 2, 1]);
        assert_eq!(&request[30..32], [0x13, 0xc4]);
        assert_eq!(&request[96..100], [255; 4]);
        assert_eq!(&request[102..104], [255; 2]);
        assert_eq!(request[168], 3);
        // What ethtool 6.1 itself sends for the same over IPv6.
        let ipv6 = specification(&Rule {
            to: "[2001:db8::1]:5060".parse().unwrap(),
            queue: 3,
        });
        assert_eq!(ipv6[16], 6);
        assert_eq!((&ipv6[36..40], ipv6[51]), (&[0x20, 1, 0x0d, 0xb8][..], 1));
        assert_eq!(&ipv6[54..56], [0x13, 0xc4]);
        assert!(ipv6[108..124].iter().all(|byte| *byte == 255));
        assert_eq!(&ipv6[124..128], [0, 0, 255, 255]);
        let mut other = request.clone();
        // What does not count may be anything.
        other[20] = 9;
        assert!(is_same(&other, &request));
        other[27] = 2;
        assert!(!is_same(&other, &request));
        let wider = {
            let mut wider = request.clone();
            wider[102] = 0;
            wider
        };
        assert!(!is_same(&wider, &request));
    }

    #[test]
    fn a_new_rule_goes_to_the_last_free_place() {
        let places = |used: &[u32], special| Places {
            used: used.to_vec(),
            table_len: 4,
            special,
        };
        assert_eq!(places(&[3, 0], false).free(), Some(2));
        assert_eq!(places(&[0, 1, 2, 3], false).free(), None);
        assert_eq!(places(&[], true).free(), Some(LOC_ANY));
    }

    #[test]
    fn the_loopback_has_no_driver_to_ask() {
        assert_eq!(spread("lo"), Err(Errno::EOPNOTSUPP));
        assert_eq!(udp_hash("lo", "udp4"), Err(Errno::EOPNOTSUPP));
        assert_eq!(driver("no-such-device"), Err(Errno::ENODEV));
        assert_eq!(driver("a-name-that-is-too-long"), Err(Errno::ENODEV));
    }
}
