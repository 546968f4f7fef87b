//! Which queue a flow falls on (receive side scaling).
//!
//! A trunk is often one address: if the hash takes addresses only, as several drivers do
//! for UDP by default, all its media falls on one queue and one worker. With the ports in it
//! the streams spread. Fragments without ports go to the kernel anyway. A symmetric key is not
//! needed: every worker knows every flow.

use crate::links::Link;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;

/// Source and destination address, source and destination port.
const FIELDS: &str = "sdfn";
const FLOWS: [&str; 2] = ["udp4", "udp6"];

/// One row.
pub fn judge(link: &Link) -> Vec<Row> {
    let item = format!("{}: RSS", link.name);
    let wish = "UDP by addresses and ports, all queues alike";
    let queues = link.rx_queues();
    if queues == 1 {
        return vec![Row::ok(&item, "one queue", wish)];
    }
    let hashes = || FLOWS.iter().zip(&link.udp_hash);
    // A driver without a hash may say so by an empty one.
    let has_hash = hashes().any(|(_, hash)| hash.as_ref().is_some_and(|hash| !hash.is_empty()));
    if !has_hash && link.spread.is_none() {
        let found = if link.is_virtual() {
            format!("does not apply: {} has no hash", link.kind_name())
        } else {
            "no hash of its own: the hypervisor spreads, if there is one".to_owned()
        };
        return vec![Row::not_applicable(&item, found, wish)];
    }

    let mut found = Vec::new();
    let mut steps = Vec::new();
    for (flow, hash) in hashes() {
        let Some(hash) = hash else { continue };
        found.push(format!(
            "{flow} {}",
            if hash.is_empty() { "none" } else { hash }
        ));
        if FIELDS.chars().any(|field| !hash.contains(field)) {
            let setting = Setting::UdpHash {
                device: link.name.clone(),
                flow: (*flow).to_owned(),
            };
            steps.push(Step {
                setting,
                to: FIELDS.to_owned(),
            });
        }
    }
    if let Some(table) = &link.spread {
        if is_even(table, queues) {
            found.push(format!("even over {queues} queues"));
        } else {
            found.push(format!("uneven over {queues} queues"));
            steps.push(even(link, table.len(), queues));
        }
    }
    let row = Row::ok(&item, found.join(", "), wish);
    vec![if steps.is_empty() {
        row
    } else {
        row.needs(State::Warn, steps)
    }]
}

/// Whether no queue has more than one entry more than another.
fn is_even(table: &[u32], queues: u32) -> bool {
    let count = |queue: u32| table.iter().filter(|entry| **entry == queue).count();
    let counts: Vec<usize> = (0..queues).map(count).collect();
    let (least, most) = (counts.iter().min(), counts.iter().max());
    counts.iter().sum::<usize>() == table.len()
        && least
            .zip(most)
            .is_some_and(|(least, most)| most - least <= 1)
}

fn even(link: &Link, len: usize, queues: u32) -> Step {
    let table: Vec<String> = (0..queues.max(1))
        .cycle()
        .take(len)
        .map(|queue| queue.to_string())
        .collect();
    Step {
        setting: Setting::Spread {
            device: link.name.clone(),
        },
        to: table.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethtool::Channels;

    fn nic(hash: [Option<&str>; 2], spread: Option<&[u32]>) -> Link {
        Link {
            name: "eth0".into(),
            driver: Some("ice".into()),
            channels: Some(Channels {
                combined: 2,
                combined_max: 8,
                ..Channels::default()
            }),
            udp_hash: hash.map(|hash| hash.map(str::to_owned)),
            spread: spread.map(<[u32]>::to_vec),
            ..Link::default()
        }
    }

    #[test]
    fn ports_belong_into_the_hash() {
        let row = judge(&nic([Some("sd"), Some("sdfn")], Some(&[0, 1, 0, 1]))).remove(0);
        assert_eq!(row.state, State::Warn);
        assert_eq!(row.found, "udp4 sd, udp6 sdfn, even over 2 queues");
        assert_eq!(row.advice, "ethtool -N eth0 rx-flow-hash udp4 sdfn");
    }

    #[test]
    fn an_uneven_table_is_made_even() {
        for table in [&[0, 0, 0, 1][..], &[0, 0, 0, 0], &[0, 1, 2, 3]] {
            let row = judge(&nic([Some("sdfn"), None], Some(table))).remove(0);
            assert_eq!(row.advice, "ethtool -X eth0 equal 2", "{table:?}");
            assert_eq!(row.steps[0].to, "0 1 0 1");
        }
        let any_order = nic([Some("sdfn"), None], Some(&[1, 1, 0, 0]));
        assert_eq!(judge(&any_order)[0].state, State::Ok);
    }

    #[test]
    fn a_virtio_net_without_a_hash_is_spread_by_its_hypervisor() {
        let row = judge(&nic([Some(""), Some("")], None)).remove(0);
        assert_eq!(row.state, State::NotApplicable);
    }

    #[test]
    fn on_veth_it_does_not_apply_and_one_queue_needs_none() {
        let veth = Link {
            driver: None,
            kind: Some("veth".into()),
            ..nic([None, None], None)
        };
        assert_eq!(judge(&veth)[0].state, State::NotApplicable);
        let one = Link {
            allocated: (1, 1),
            channels: None,
            ..veth
        };
        assert_eq!(judge(&one)[0].state, State::Ok);
    }
}
