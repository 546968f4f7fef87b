//! The ethtool family of generic netlink (linux/ethtool_netlink.h).

use super::Channels;
use super::Feature;
use super::Rings;
use crate::netlink::NLA_F_NESTED;
use crate::netlink::Netlink;
use crate::netlink::attributes;
use crate::netlink::find;
use crate::netlink::generic_attributes;
use crate::netlink::generic_header;
use crate::netlink::put;
use crate::netlink::to_string;
use crate::netlink::to_u32;
use nix::errno::Errno;

/// ETHTOOL_MSG_*.
const FEATURES_GET: u8 = 11;
const FEATURES_SET: u8 = 12;
const RINGS_GET: u8 = 15;
const RINGS_SET: u8 = 16;
const CHANNELS_GET: u8 = 17;
const CHANNELS_SET: u8 = 18;

/// Attribute 1 of each message; inside it, the device's name.
const HEADER: u16 = 1;
const HEADER_DEV_NAME: u16 = 2;

/// ETHTOOL_A_FEATURES_*.
const FEATURES_HW: u16 = 2;
const FEATURES_WANTED: u16 = 3;
const FEATURES_ACTIVE: u16 = 4;
const FEATURES_NOCHANGE: u16 = 5;

/// ETHTOOL_A_BITSET_BITS, ETHTOOL_A_BITSET_BITS_BIT, ETHTOOL_A_BITSET_BIT_*.
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// The queues of a device.
///
/// # Errors
/// EOPNOTSUPP where the driver cannot tell, ENODEV where there is none.
pub fn channels(device: &str) -> nix::Result<Channels> {
    let answer = ask(CHANNELS_GET, device, &[])?;
    // ETHTOOL_A_CHANNELS_*: 2 to 5 are the maxima of rx, tx, other and combined, 6 to
    // 9 what is in use.
    let number = |kind: u16| find(&answer, kind).and_then(to_u32).unwrap_or(0);
    Ok(Channels {
        rx_max: number(2),
        tx_max: number(3),
        combined_max: number(5),
        rx: number(6),
        tx: number(7),
        combined: number(9),
    })
}

/// Sets the counts that are named, `rx`, `tx` or `combined`.
///
/// # Errors
/// The kernel's word: EINVAL where it is more than the device has, EBUSY where an
/// AF_XDP socket is on a queue that would go.
pub fn set_channels(device: &str, counts: &[(String, u32)]) -> nix::Result<()> {
    let kinds = [("rx", 6), ("tx", 7), ("combined", 9)];
    set(CHANNELS_SET, device, &kinds, counts)
}

/// The ring sizes of a device.
///
/// # Errors
/// As [`channels`].
pub fn rings(device: &str) -> nix::Result<Rings> {
    let answer = ask(RINGS_GET, device, &[])?;
    // ETHTOOL_A_RINGS_*: 2 to 5 are the maxima of rx, mini, jumbo and tx, 6 to 9 what
    // is in use.
    let number = |kind: u16| find(&answer, kind).and_then(to_u32).unwrap_or(0);
    Ok(Rings {
        rx_max: number(2),
        tx_max: number(5),
        rx: number(6),
        tx: number(9),
    })
}

/// Sets the sizes that are named, `rx` or `tx`.
///
/// # Errors
/// As [`set_channels`].
pub fn set_rings(device: &str, sizes: &[(String, u32)]) -> nix::Result<()> {
    set(RINGS_SET, device, &[("rx", 6), ("tx", 9)], sizes)
}

/// Every feature that the kernel knows.
///
/// # Errors
/// ENODEV where there is no such device.
pub fn features(device: &str) -> nix::Result<Vec<Feature>> {
    let answer = ask(FEATURES_GET, device, &[])?;
    let listed = |kind: u16| bits(find(&answer, kind).unwrap_or(&[]));
    let active: Vec<(String, bool)> = listed(FEATURES_ACTIVE);
    let fixed: Vec<(String, bool)> = listed(FEATURES_NOCHANGE);
    let has = |list: &[(String, bool)], name: &str| list.iter().any(|(other, _)| other == name);
    Ok(listed(FEATURES_HW)
        .into_iter()
        .map(|(name, can)| Feature {
            active: has(&active, &name),
            switchable: can && !has(&fixed, &name),
            name,
        })
        .collect())
}

/// Switches one feature. The kernel says nothing where it stays as it was: read it
/// again.
///
/// # Errors
/// The kernel's word.
pub fn set_feature(device: &str, name: &str, on: bool) -> nix::Result<()> {
    let mut text = name.as_bytes().to_vec();
    text.push(0);
    let mut bit = Vec::new();
    put(&mut bit, BIT_NAME, &text);
    if on {
        put(&mut bit, BIT_VALUE, &[]);
    }
    let mut list = Vec::new();
    put(&mut list, BITS_BIT | NLA_F_NESTED, &bit);
    let mut bitset = Vec::new();
    put(&mut bitset, BITSET_BITS | NLA_F_NESTED, &list);
    let mut body = Vec::new();
    put(&mut body, FEATURES_WANTED | NLA_F_NESTED, &bitset);
    ask(FEATURES_SET, device, &body).map(|_| ())
}

/// The bits that a bitset lists by name, and whether each is set.
fn bits(bitset: &[u8]) -> Vec<(String, bool)> {
    attributes(find(bitset, BITSET_BITS).unwrap_or(&[]))
        .filter(|(kind, _)| *kind == BITS_BIT)
        .filter_map(|(_, bit)| {
            let name = find(bit, BIT_NAME).and_then(to_string)?;
            Some((name, find(bit, BIT_VALUE).is_some()))
        })
        .collect()
}

fn set(
    command: u8,
    device: &str,
    kinds: &[(&str, u16)],
    values: &[(String, u32)],
) -> nix::Result<()> {
    let mut body = Vec::new();
    for (name, value) in values {
        let (_, kind) = kinds
            .iter()
            .find(|(known, _)| known == name)
            .ok_or(Errno::EINVAL)?;
        put(&mut body, *kind, &value.to_ne_bytes());
    }
    ask(command, device, &body).map(|_| ())
}

/// The attributes of the answer; none where the kernel only acknowledges.
fn ask(command: u8, device: &str, more: &[u8]) -> nix::Result<Vec<u8>> {
    let mut netlink = Netlink::generic()?;
    // A kernel without the family cannot tell.
    let family = netlink.family("ethtool").map_err(|errno| match errno {
        Errno::ENOENT => Errno::EOPNOTSUPP,
        other => other,
    })?;
    let mut name = device.as_bytes().to_vec();
    name.push(0);
    let mut header = Vec::new();
    put(&mut header, HEADER_DEV_NAME, &name);
    let mut body = generic_header(command);
    put(&mut body, HEADER | NLA_F_NESTED, &header);
    body.extend_from_slice(more);
    let answers = netlink.ask(family, 0, &body)?;
    let first = answers.first().map(Vec::as_slice).unwrap_or_default();
    Ok(generic_attributes(first).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_features_and_some_are_fixed() {
        let features = features("lo").unwrap();
        let find = |name: &str| {
            let found = features.iter().find(|feature| feature.name == name);
            found.unwrap_or_else(|| panic!("no {name} in {features:?}"))
        };
        assert!(!find("rx-lro").active);
        assert!(!find("rx-vlan-hw-parse").switchable);
        // NETIF_F_SG: lo sends and receives in one piece of memory.
        assert!(find("tx-scatter-gather").active);
    }

    #[test]
    fn what_a_device_lacks_has_an_error_of_its_own() {
        assert_eq!(rings("lo"), Err(Errno::EOPNOTSUPP));
        assert_eq!(channels("no-such-device"), Err(Errno::ENODEV));
    }

    #[test]
    fn a_bitset_that_is_none_lists_nothing() {
        assert!(bits(&[]).is_empty());
        assert!(bits(&[9, 0, 3, 0, 1]).is_empty());
    }
}
