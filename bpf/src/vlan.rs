//! The VLAN tags of an interface.

use std::fmt;

/// The VIDs that a VLAN can have: 0 is a priority tag, 4095 is reserved (IEEE 802.1Q §9.6).
pub const VIDS: std::ops::RangeInclusive<u16> = 1..=4094;

// A tag in the program's keys, and its place there: structs.h.
const TAG_PRESENT: u32 = 0x1000;
const TAG_8021AD: u32 = 0x2000;
const OUTER_SHIFT: u32 = 16;

/// How the outer one of two tags is announced. The inner one, and a single one, is always 802.1Q.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OuterTag {
    /// EtherType 0x88a8, the service tag of IEEE 802.1ad.
    Dot1Ad,
    /// EtherType 0x8100, as many switches do.
    Dot1Q,
}

/// The tags that the frames of an interface have. Several interfaces can share a device, each with
/// tags of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum VlanStack {
    /// None.
    #[default]
    Untagged,
    /// One tag with this VID.
    Single(u16),
    /// Two tags.
    Double {
        /// The EtherType of the outer one.
        tag: OuterTag,
        /// The outer VID.
        outer: u16,
        /// The inner VID.
        inner: u16,
    },
}

impl VlanStack {
    /// A VID of the stack that no VLAN can have.
    pub(crate) fn bad_vid(self) -> Option<u16> {
        let vids = match self {
            VlanStack::Untagged => return None,
            VlanStack::Single(vid) => [vid, vid],
            VlanStack::Double { outer, inner, .. } => [outer, inner],
        };
        vids.into_iter().find(|vid| !VIDS.contains(vid))
    }

    /// `stack` of the keys in structs.h. The VIDs must have been looked at.
    pub(crate) fn key(self) -> u32 {
        let tag = |vid: u16| TAG_PRESENT | u32::from(vid);
        match self {
            VlanStack::Untagged => 0,
            VlanStack::Single(vid) => tag(vid) << OUTER_SHIFT,
            VlanStack::Double {
                tag: outer_tag,
                outer,
                inner,
            } => {
                let kind = match outer_tag {
                    OuterTag::Dot1Ad => TAG_8021AD,
                    OuterTag::Dot1Q => 0,
                };
                (tag(outer) | kind) << OUTER_SHIFT | tag(inner)
            }
        }
    }
}

/// As messages say it: "without a tag", "in VLAN 100", "in VLAN 200 (802.1ad) and 100".
impl fmt::Display for VlanStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VlanStack::Untagged => f.write_str("without a tag"),
            VlanStack::Single(vid) => write!(f, "in VLAN {vid}"),
            VlanStack::Double { tag, outer, inner } => {
                let tag = match tag {
                    OuterTag::Dot1Ad => "802.1ad",
                    OuterTag::Dot1Q => "802.1Q",
                };
                write!(f, "in VLAN {outer} ({tag}) and {inner}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_of_the_bits_that_the_c_program_names() {
        for (name, value) in [("TAG_PRESENT", TAG_PRESENT), ("TAG_8021AD", TAG_8021AD)] {
            let define = format!("#define {name} {value:#06x}\n");
            assert!(include_str!("bpf/structs.h").contains(&define), "{define}");
        }
    }

    #[test]
    fn stacks_that_differ_have_different_keys() {
        let mut stacks = vec![VlanStack::Untagged];
        for outer in [1, 7, 4094] {
            stacks.push(VlanStack::Single(outer));
            for inner in [1, 7, 4094] {
                for tag in [OuterTag::Dot1Ad, OuterTag::Dot1Q] {
                    stacks.push(VlanStack::Double { tag, outer, inner });
                }
            }
        }
        let count = stacks.len();
        let mut keys: Vec<u32> = stacks.into_iter().map(VlanStack::key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
        assert_eq!(VlanStack::default().key(), 0);
    }

    #[test]
    fn vids_that_no_vlan_can_have_are_found() {
        let double = |outer, inner| VlanStack::Double {
            tag: OuterTag::Dot1Ad,
            outer,
            inner,
        };
        assert_eq!(VlanStack::Untagged.bad_vid(), None);
        assert_eq!(VlanStack::Single(0).bad_vid(), Some(0));
        assert_eq!(VlanStack::Single(4094).bad_vid(), None);
        assert_eq!(double(1, 4095).bad_vid(), Some(4095));
        assert_eq!(double(5000, 1).bad_vid(), Some(5000));
        assert_eq!(double(1, 1).bad_vid(), None);
    }
}
