//! Which link of the kernel's an interface of ours is.
//!
//! An interface without tags is its device. One with tags is the VLAN that the kernel
//! has on that device (`eth0.100`, for two tags a VLAN on a VLAN): addresses, routes and
//! neighbours are that link's, although its frames come and go by the device's queues.

use super::Dump;
use super::LinkFacts;

/// Where an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device's number.
    pub ifindex: u32,
    /// The tags of its frames, outer first: protocol and identifier.
    pub tags: Vec<(u16, u16)>,
    /// True where no other interface is on that device.
    pub alone: bool,
}

impl Place {
    /// The number of the link whose routes and neighbours are the interface's.
    ///
    /// Where the kernel has no VLAN for the tags, an interface that is alone on its device
    /// takes the device's own: a kernel without VLANs cannot say more. None where it is
    /// not alone: whose they are could not be told.
    #[must_use]
    pub fn link(&self, dump: &Dump) -> Option<u32> {
        self.exact(dump)
            .or_else(|| self.alone.then_some(self.ifindex))
    }

    /// True where the kernel has a link for just these tags.
    #[must_use]
    pub fn is_exact(&self, dump: &Dump) -> bool {
        self.exact(dump).is_some()
    }

    fn exact(&self, dump: &Dump) -> Option<u32> {
        let mut at = self.ifindex;
        for tag in &self.tags {
            let mut links = dump.links.iter();
            at = links.find(|link| carries(link, at, *tag))?.ifindex;
        }
        Some(at)
    }
}

fn carries(link: &LinkFacts, parent: u32, (tpid, id): (u16, u16)) -> bool {
    link.vlan
        .is_some_and(|vlan| (vlan.parent, vlan.tpid, vlan.id) == (parent, tpid, id))
}

#[cfg(test)]
mod tests {
    use super::super::VlanFacts;
    use super::*;

    fn dump() -> Dump {
        let vlan = |ifindex, parent, tpid, id| LinkFacts {
            ifindex,
            vlan: Some(VlanFacts { parent, tpid, id }),
            ..LinkFacts::default()
        };
        Dump {
            links: vec![
                LinkFacts {
                    ifindex: 3,
                    ..LinkFacts::default()
                },
                vlan(7, 3, 0x8100, 100),
                vlan(8, 3, 0x88a8, 200),
                vlan(9, 8, 0x8100, 100),
            ],
            ..Dump::default()
        }
    }

    #[test]
    fn tags_lead_from_the_device_to_its_vlan() {
        let link = |ifindex, tags: &[(u16, u16)], alone| {
            let tags = tags.to_vec();
            Place {
                ifindex,
                tags,
                alone,
            }
            .link(&dump())
        };
        assert_eq!(link(3, &[], false), Some(3));
        assert_eq!(link(3, &[(0x8100, 100)], false), Some(7));
        assert_eq!(link(3, &[(0x88a8, 200), (0x8100, 100)], false), Some(9));
        assert_eq!(link(3, &[(0x8100, 200)], false), None, "another protocol");
        assert_eq!(link(3, &[(0x8100, 4)], true), Some(3), "the device's own");
        assert_eq!(link(4, &[(0x8100, 100)], false), None, "another device");
    }
}
