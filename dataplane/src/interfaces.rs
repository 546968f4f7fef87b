//! Interfaces: a device and a stack of VLAN tags each.
//!
//! Rings belong to devices. Which interface a frame came by, its tags say; by which device
//! and with which tags it leaves, the interface.

use crate::ids::DeviceIndex;
use crate::ids::InterfaceIndex;
use crate::media::ChecksumPolicy;
use crate::settings::InterfaceSettings;
use crate::wire::VlanStack;

/// The interfaces of the box.
#[derive(Debug)]
pub struct Interfaces {
    /// By [`InterfaceIndex`].
    rows: Vec<Row>,
}

/// What the data path needs to know of an interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// Where its frames come and go.
    pub device: DeviceIndex,
    /// Their tags.
    pub vlan: VlanStack,
    /// How the UDP checksum of what arrives there is mended.
    pub checksum: ChecksumPolicy,
}

impl Interfaces {
    /// Takes them as configured.
    #[must_use]
    pub fn new(settings: &[InterfaceSettings]) -> Interfaces {
        let row = |interface: &InterfaceSettings| Row {
            device: interface.device,
            vlan: interface.vlan,
            checksum: interface.checksum,
        };
        Interfaces {
            rows: settings.iter().map(row).collect(),
        }
    }

    /// The interface of `device` whose frames have these tags. There are few: a walk beats a
    /// hash. Where each has a device of its own, interface n is of device n: that one is
    /// looked at first.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // Control refuses more than an index counts.
    pub fn of_frame(&self, device: DeviceIndex, vlan: &VlanStack) -> Option<InterfaceIndex> {
        let is_it = |row: &Row| row.device == device && row.vlan == *vlan;
        if self.rows.get(usize::from(device.0)).is_some_and(is_it) {
            return Some(InterfaceIndex(device.0));
        }
        let at = self.rows.iter().position(is_it)?;
        Some(InterfaceIndex(at as u8))
    }

    /// An interface; one that is not there has no tags.
    #[must_use]
    pub fn get(&self, interface: InterfaceIndex) -> Row {
        let row = self.rows.get(usize::from(interface.0));
        row.copied().unwrap_or_default()
    }

    /// The tags of each, by its index.
    #[must_use]
    pub fn vlans(&self) -> Vec<VlanStack> {
        self.rows.iter().map(|row| row.vlan).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::vlan::TPID_8021AD;

    #[test]
    fn tags_tell_the_interfaces_of_a_device_apart() {
        let stacks = [
            (0, VlanStack::one(10)),
            (0, VlanStack::one(20)),
            (1, VlanStack::NONE),
            (0, VlanStack::two(TPID_8021AD, 10, 20)),
            (1, VlanStack::one(10)),
        ];
        let settings = stacks.map(|(device, vlan)| InterfaceSettings {
            name: String::new(),
            device: DeviceIndex(device),
            vlan,
            checksum: ChecksumPolicy::Auto,
        });
        let interfaces = Interfaces::new(&settings);
        for (index, (device, vlan)) in (0..).zip(stacks) {
            let found = interfaces.of_frame(DeviceIndex(device), &vlan);
            assert_eq!(found, Some(InterfaceIndex(index)));
            assert_eq!(interfaces.get(InterfaceIndex(index)).vlan, vlan);
        }
        assert_eq!(interfaces.of_frame(DeviceIndex(0), &VlanStack::NONE), None);
        assert_eq!(
            interfaces.of_frame(DeviceIndex(1), &VlanStack::one(20)),
            None
        );
        assert_eq!(interfaces.of_frame(DeviceIndex(2), &VlanStack::NONE), None);
    }
}
