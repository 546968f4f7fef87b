//! Offloads that blind XDP or break what it sees.
//!
//! Merged segments are no frames of the wire, so LRO and GRO of the hardware go. GRO of the
//! kernel works on what XDP has left and stays; the far side of a veth even needs it.
//! Where interfaces have VLANs, a tag that the NIC has stripped is invisible to the
//! program, and one that the NIC filters never arrives, unless the kernel has the VLAN too.

use crate::links::Link;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;
use crate::wanted::Wanted;

/// Must be off on every interface, and how bad it is if not.
const ALWAYS: [(&str, State); 4] = [
    // Drivers refuse native XDP with it, or hand over segments that are larger than a chunk.
    ("rx-lro", State::Bad),
    // Drivers suspend it while XDP is attached, as far as is known.
    ("rx-gro-hw", State::Warn),
    // The frame check sequence would be four bytes that no header tells of.
    ("rx-fcs", State::Warn),
    // Damaged frames.
    ("rx-all", State::Warn),
];

/// Must be off where there are tags.
const TAGGED: [(&str, State); 4] = [
    ("rx-vlan-hw-parse", State::Bad),
    ("rx-vlan-stag-hw-parse", State::Bad),
    ("rx-vlan-filter", State::Warn),
    ("rx-vlan-stag-filter", State::Warn),
];

/// One row, and one more where there are VLANs.
pub fn judge(link: &Link, wanted: &Wanted) -> Vec<Row> {
    let mut rows = vec![judge_list(
        link,
        "offloads",
        &ALWAYS,
        "no merging of frames",
    )];
    let item = format!("{}: VLAN offload", link.name);
    rows.push(if wanted.vlans.contains(&link.name) {
        judge_list(link, "VLAN offload", &TAGGED, "off: XDP must see the tags")
    } else {
        let parses = link
            .feature("rx-vlan-hw-parse")
            .is_some_and(|feature| feature.active);
        let found = if parses {
            "tags are taken out of the frame"
        } else {
            "tags are left in the frame"
        };
        Row::ok(&item, found, "any: no VLAN is configured")
    });
    rows
}

fn judge_list(link: &Link, what: &str, list: &[(&str, State)], wish: &str) -> Row {
    let item = format!("{}: {what}", link.name);
    if link.features.is_empty() {
        return Row::not_applicable(&item, "the driver does not tell", wish);
    }
    let hurting: Vec<_> = list
        .iter()
        .filter_map(|(name, state)| Some((link.feature(name)?, *state)))
        .filter(|(feature, _)| feature.active)
        .collect();
    let Some(state) = worst(hurting.iter().map(|(_, state)| *state)) else {
        return Row::ok(&item, "none that hurts", wish);
    };
    let names = |switchable: bool| -> Vec<&str> {
        let chosen = hurting
            .iter()
            .filter(|(feature, _)| feature.switchable == switchable);
        chosen.map(|(feature, _)| feature.name.as_str()).collect()
    };
    let (fixed, switchable) = (names(false), names(true));
    let all: Vec<&str> = switchable.iter().chain(&fixed).copied().collect();
    let row = Row::ok(&item, format!("on: {}", all.join(", ")), wish);
    if switchable.is_empty() {
        let advice = format!(
            "the driver does not let it be switched off: {}. Take another interface, or traffic \
             without it",
            fixed.join(", ")
        );
        return row.but(state, advice);
    }
    let steps = switchable.iter().map(|feature| Step {
        setting: Setting::feature(&link.name, feature),
        to: "off".to_owned(),
    });
    row.needs(state, steps.collect())
}

fn worst(states: impl Iterator<Item = State>) -> Option<State> {
    states.fold(None, |worst, state| match (worst, state) {
        (Some(State::Bad), _) | (_, State::Bad) => Some(State::Bad),
        _ => Some(state),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethtool::Feature;

    fn link(features: &[(&str, bool, bool)]) -> Link {
        let feature = |(name, active, switchable): &(&str, bool, bool)| Feature {
            name: (*name).to_owned(),
            active: *active,
            switchable: *switchable,
        };
        Link {
            name: "eth0".into(),
            features: features.iter().map(feature).collect(),
            ..Link::default()
        }
    }

    fn tagged() -> Wanted {
        Wanted {
            vlans: vec!["eth0".to_owned()],
            ..Wanted::default()
        }
    }

    #[test]
    fn merging_is_switched_off_and_gro_of_the_kernel_stays() {
        let nic = link(&[
            ("rx-gro", true, true),
            ("rx-lro", true, true),
            ("rx-gro-hw", true, true),
            ("rx-fcs", false, true),
        ]);
        let row = judge(&nic, &Wanted::default()).remove(0);
        assert_eq!(row.state, State::Bad);
        assert_eq!(
            row.advice,
            "ethtool -K eth0 rx-lro off; ethtool -K eth0 rx-gro-hw off"
        );
    }

    #[test]
    fn stripping_of_tags_matters_only_where_there_are_vlans() {
        let nic = link(&[
            ("rx-vlan-hw-parse", true, true),
            ("rx-vlan-filter", true, false),
        ]);
        let plain = judge(&nic, &Wanted::default()).remove(1);
        assert_eq!(plain.state, State::Ok);
        let row = judge(&nic, &tagged()).remove(1);
        assert_eq!(
            (row.state, row.found.as_str(), row.advice.as_str()),
            (
                State::Bad,
                "on: rx-vlan-hw-parse, rx-vlan-filter",
                "ethtool -K eth0 rx-vlan-hw-parse off"
            )
        );
    }

    #[test]
    fn what_cannot_be_switched_is_said_so() {
        let nic = link(&[("rx-lro", true, false)]);
        let row = judge(&nic, &Wanted::default()).remove(0);
        assert!(row.steps.is_empty());
        assert!(row.advice.contains("rx-lro"), "{}", row.advice);
    }
}
