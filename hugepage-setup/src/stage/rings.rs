//! Sizes of the NIC's own rings.
//!
//! The fill ring holds twice `rings.rx` frames: one half for the AF_XDP receive ring, one
//! for the hardware's. A smaller ring of the hardware loses a burst that the worker could
//! have taken. A larger one is never filled.

use crate::ethtool::Rings;
use crate::links::Link;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;
use crate::wanted::Wanted;

/// One row.
pub fn judge(link: &Link, wanted: &Wanted) -> Vec<Row> {
    let item = format!("{}: rings", link.name);
    let wish = format!("rx {} tx {}, or the most", wanted.ring_rx, wanted.ring_tx);
    let Some(has) = link.rings else {
        let found = if link.is_virtual() {
            format!("does not apply: {} has no rings", link.kind_name())
        } else {
            "the driver does not tell".to_owned()
        };
        return vec![Row::not_applicable(&item, found, wish)];
    };
    let found = format!("{has} of at most rx {} tx {}", has.rx_max, has.tx_max);
    let row = Row::ok(&item, found, wish);
    let to = Rings {
        rx: has.rx.max(wanted.ring_rx.min(has.rx_max)),
        tx: has.tx.max(wanted.ring_tx.min(has.tx_max)),
        ..has
    };
    if to == has {
        return vec![row];
    }
    let step = Step {
        setting: Setting::Rings {
            device: link.name.clone(),
        },
        to: to.to_string(),
    };
    vec![row.needs(State::Warn, vec![step])]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(rx: u32, tx: u32, max: u32) -> String {
        let link = Link {
            name: "eth0".into(),
            rings: Some(Rings {
                rx,
                tx,
                rx_max: max,
                tx_max: max,
            }),
            ..Link::default()
        };
        judge(&link, &Wanted::default()).remove(0).advice
    }

    #[test]
    fn rings_grow_to_what_the_worker_takes_or_to_the_most_there_is() {
        assert_eq!(advice(2048, 2048, 4096), "");
        assert_eq!(advice(512, 512, 4096), "ethtool -G eth0 rx 2048 tx 2048");
        assert_eq!(advice(512, 4096, 4096), "ethtool -G eth0 rx 2048 tx 4096");
        assert_eq!(advice(256, 256, 1024), "ethtool -G eth0 rx 1024 tx 1024");
        assert_eq!(advice(1024, 1024, 1024), "");
    }

    #[test]
    fn on_veth_it_does_not_apply() {
        let link = Link {
            name: "access".into(),
            kind: Some("veth".into()),
            ..Link::default()
        };
        let row = judge(&link, &Wanted::default()).remove(0);
        assert_eq!(row.state, State::NotApplicable);
        assert_eq!(row.found, "does not apply: veth has no rings");
    }
}
