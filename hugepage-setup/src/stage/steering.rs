//! Steering rules (ntuple): the SIP of each listen goes to a queue that is known.
//!
//! A trunk's signalling is one 5-tuple, so without a rule the hash puts all of it on any one
//! queue, perhaps that of another busy trunk. Listen i goes to queue i mod workers: so they
//! share the workers evenly, and it is known where to look. The call's owner is chosen
//! by its Call-ID in any case.

use crate::book::Record;
use crate::ethtool;
use crate::ethtool::Rule;
use crate::links::Link;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;
use crate::wanted::Wanted;

/// The switch that must be on before a driver takes rules.
const SWITCH: &str = "rx-ntuple-filter";

/// No rule.
const OFF: &str = "off";

/// Drivers whose rules match Ethernet headers alone.
const ETHERNET_ONLY: [&str; 2] = ["igb", "igc"];

/// Each rule that is wanted, and whether it is there.
pub fn facts(link: &Link, wanted: &Wanted) -> Vec<(Rule, bool)> {
    let there = |rule| ethtool::has_rule(&link.name, &rule).unwrap_or(false);
    let rules = rules(link, wanted);
    rules.map(|rule| (rule, there(rule))).collect()
}

fn rules(link: &Link, wanted: &Wanted) -> impl Iterator<Item = Rule> {
    let queues = wanted.workers.min(link.rx_queues()).max(1);
    let queues = (0..queues).cycle().zip(&wanted.listens);
    queues.map(|(queue, to)| Rule { to: *to, queue })
}

/// Takes away the rules that an earlier `apply` added and that are no longer wanted: the
/// first rule that matches wins, so an old one would keep a listen on its old queue. The
/// records of other settings are passed over. Where no listen is named nothing is known of what is
/// wanted.
pub fn obsolete<'a>(
    link: &Link,
    wanted: &Wanted,
    records: impl Iterator<Item = &'a Record>,
) -> Vec<Step> {
    let is_wanted = |text: &str| rules(link, wanted).any(|rule| rule.to_string() == text);
    let is_obsolete = |record: &&Record| match &record.setting {
        Setting::Rule { device, rule } => {
            *device == link.name
                && record.found == OFF
                && record.set != OFF
                && !wanted.listens.is_empty()
                && !is_wanted(rule)
        }
        _ => false,
    };
    let off = |record: &Record| Step {
        setting: record.setting.clone(),
        to: OFF.to_owned(),
    };
    records.filter(is_obsolete).map(off).collect()
}

/// One row.
pub fn judge(link: &Link, wanted: &Wanted, rules: &[(Rule, bool)]) -> Vec<Row> {
    let item = format!("{}: steering", link.name);
    let wish = "a rule for each SIP listen";
    let switch = link.feature(SWITCH);
    let can = switch.map_or(link.takes_rules, |switch| {
        switch.active || switch.switchable
    });
    let is_by_address = link
        .driver_name()
        .is_some_and(|name| !ETHERNET_ONLY.contains(&name));
    if !can || !is_by_address {
        let found = if link.is_virtual() {
            format!("does not apply: {} has no steering", link.kind_name())
        } else {
            "the driver has no rules by address and port".to_owned()
        };
        return vec![Row::not_applicable(&item, found, wish)];
    }
    if wanted.listens.is_empty() {
        let row = Row::not_applicable(&item, "no SIP listen named", wish);
        return vec![Row {
            advice: "name them with --config, or --listen 192.0.2.1:5060".to_owned(),
            ..row
        }];
    }
    if link.rx_queues() == 1 {
        return vec![Row::ok(&item, "one queue", wish)];
    }
    let there = rules.iter().filter(|(_, there)| *there).count();
    let row = Row::ok(&item, format!("{there} of {}", rules.len()), wish);
    if there == rules.len() {
        return vec![row];
    }
    let is_off = switch.is_some_and(|switch| !switch.active && switch.switchable);
    let on = is_off.then(|| Step {
        setting: Setting::feature(&link.name, SWITCH),
        to: "on".to_owned(),
    });
    let missing = rules.iter().filter(|(_, there)| !there);
    let add = missing.map(|(rule, _)| Step {
        setting: Setting::Rule {
            device: link.name.clone(),
            rule: rule.to_string(),
        },
        to: "on".to_owned(),
    });
    vec![row.needs(State::Warn, on.into_iter().chain(add).collect())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethtool::Channels;
    use crate::ethtool::Feature;
    use crate::stage::Stage;

    fn nic(active: bool) -> Link {
        Link {
            name: "eth0".into(),
            driver: Some("ice".into()),
            channels: Some(Channels {
                combined: 4,
                combined_max: 8,
                ..Channels::default()
            }),
            features: vec![Feature {
                name: SWITCH.to_owned(),
                active,
                switchable: true,
            }],
            takes_rules: active,
            ..Link::default()
        }
    }

    fn wanted() -> Wanted {
        let listens = ["192.0.2.1:5060", "[2001:db8::1]:5060", "192.0.2.9:5060"];
        Wanted {
            listens: listens.map(|listen| listen.parse().unwrap()).to_vec(),
            ..Wanted::default()
        }
    }

    #[test]
    fn each_listen_gets_the_queue_of_a_worker() {
        let rules = facts(&nic(true), &wanted());
        let row = judge(&nic(true), &wanted(), &rules).remove(0);
        assert_eq!(row.found, "0 of 3");
        assert_eq!(
            row.advice,
            "ethtool -N eth0 flow-type udp4 dst-ip 192.0.2.1 dst-port 5060 action 0; \
             ethtool -N eth0 flow-type udp6 dst-ip 2001:db8::1 dst-port 5060 action 1; \
             ethtool -N eth0 flow-type udp4 dst-ip 192.0.2.9 dst-port 5060 action 0"
        );
    }

    #[test]
    fn our_own_rules_that_are_no_longer_wanted_go() {
        let rule = |device: &str, to: &str, queue: u32| Setting::Rule {
            device: device.to_owned(),
            rule: Rule {
                to: to.parse().unwrap(),
                queue,
            }
            .to_string(),
        };
        let record = |setting: Setting, found: &str, set: &str| Record {
            stage: Stage::Steering,
            setting,
            found: found.to_owned(),
            set: set.to_owned(),
            boot: String::new(),
            namespace: None,
        };
        let moved = rule("eth0", "192.0.2.1:5060", 3);
        let gone = rule("eth0", "192.0.2.77:5060", 0);
        let records = [
            record(moved.clone(), "off", "on"),
            record(gone.clone(), "off", "on"),
            // Still wanted.
            record(rule("eth0", "192.0.2.1:5060", 0), "off", "on"),
            // It was there before us, it is off already, another device, another setting.
            record(rule("eth0", "192.0.2.78:5060", 0), "on", "on"),
            record(rule("eth0", "192.0.2.79:5060", 0), "off", "off"),
            record(rule("eth1", "192.0.2.80:5060", 0), "off", "on"),
            record(Setting::feature("eth0", SWITCH), "off", "on"),
        ];
        let off = |setting: &Setting| Step {
            setting: setting.clone(),
            to: "off".to_owned(),
        };
        let steps = obsolete(&nic(true), &wanted(), records.iter());
        assert_eq!(steps, [off(&moved), off(&gone)]);
        let nothing = Wanted::default();
        assert!(obsolete(&nic(true), &nothing, records.iter()).is_empty());
    }

    #[test]
    fn the_switch_comes_first_and_what_is_there_is_left() {
        let mut rules = facts(&nic(false), &wanted());
        rules[0].1 = true;
        rules[1].1 = true;
        let row = judge(&nic(false), &wanted(), &rules).remove(0);
        let commands: Vec<String> = row.steps.iter().map(Step::command).collect();
        assert_eq!(
            commands,
            [
                "ethtool -K eth0 rx-ntuple-filter on",
                "ethtool -N eth0 flow-type udp4 dst-ip 192.0.2.9 dst-port 5060 action 0"
            ]
        );
        rules[2].1 = true;
        assert_eq!(judge(&nic(false), &wanted(), &rules)[0].state, State::Ok);
    }

    #[test]
    fn a_switch_that_is_fixed_off_or_rules_by_ethernet_are_of_no_use() {
        let mut fixed = nic(false);
        fixed.features[0].switchable = false;
        fixed.takes_rules = true;
        let igb = Link {
            driver: Some("igb".into()),
            ..nic(true)
        };
        for link in [fixed, igb] {
            let row = judge(&link, &wanted(), &facts(&link, &wanted())).remove(0);
            assert_eq!(row.state, State::NotApplicable);
        }
    }

    #[test]
    fn on_veth_it_does_not_apply() {
        let veth = Link {
            driver: None,
            kind: Some("veth".into()),
            features: vec![],
            takes_rules: false,
            ..nic(false)
        };
        let row = judge(&veth, &wanted(), &[]).remove(0);
        assert_eq!(row.found, "does not apply: veth has no steering");
    }
}
