//! `trunkctl interfaces`, `routes`, `routes get` and `neighbours`.

use std::fmt::Write as _;

use super::Number;
use super::Paper;
use super::Text;
use super::Word;
use super::known;
use super::number;
use super::plural;
use crate::api::types::Interfaces;
use crate::api::types::Neighbours;
use crate::api::types::Routes;
use crate::api::types::Snapshot;
use crate::api::types::Way;

impl Paper {
    /// `trunkctl interfaces`
    #[must_use]
    pub fn interfaces(self, interfaces: &Interfaces) -> String {
        let columns = [
            Word("name"),
            Word("device"),
            Word("link"),
            Word("XDP"),
            Word("frames"),
            Number("queues"),
            Number("MTU"),
            Word("MAC address"),
        ];
        let all = &interfaces.interfaces;
        let rows = all.iter().map(|interface| {
            let status = &interface.status;
            vec![
                status.name.clone(),
                status.device.clone(),
                status.link.clone(),
                status.mode.clone(),
                status.frames.clone(),
                status.queues.to_string(),
                number(u64::from(status.mtu)),
                known(interface.mac.as_deref()),
            ]
        });
        let mut text = self.table(&columns, rows);
        text += "\nBusy polling by the workers, and the addresses of the device\n";
        let rows = all.iter().map(|interface| {
            let addresses = match interface.addresses.as_slice() {
                [] => "none".to_owned(),
                some => some.join(", "),
            };
            let status = &interface.status;
            vec![status.name.clone(), status.busy_poll.clone(), addresses]
        });
        text += &self.table(
            &[Word("name"), Word("busy polling"), Text("addresses")],
            rows,
        );
        let because = |what: &str, why: &Option<String>, name: &str| {
            let why = why.as_ref()?;
            let text = format!("{name}: {what}, because {why}");
            let lines = super::super::wrapped(&text, 74);
            Some(format!(" - {}\n", lines.join("\n   ")))
        };
        let reasons = all.iter().flat_map(|interface| {
            let status = &interface.status;
            let busy_poll = format!("busy polling {}", status.busy_poll);
            [
                because(
                    &format!("XDP {}", status.mode),
                    &status.mode_because,
                    &status.name,
                ),
                because(
                    &format!("frames {}", status.frames),
                    &status.frames_because,
                    &status.name,
                ),
                because(&busy_poll, &status.busy_poll_because, &status.name),
            ]
        });
        let reasons: String = reasons.flatten().collect();
        if !reasons.is_empty() {
            text += "\nWhy\n";
            text += &reasons;
        }
        text += "\nFrames that the XDP program saw\n";
        let columns = [
            Word("name"),
            Number("seen"),
            Number("to the kernel"),
            Number("dropped"),
            Number("to workers"),
        ];
        let rows = all.iter().map(|interface| {
            let count = |of: Option<u64>| of.map_or_else(|| "unknown".to_owned(), number);
            let xdp = interface.xdp;
            vec![
                interface.status.name.clone(),
                count(xdp.map(|xdp| xdp.seen)),
                count(xdp.map(|xdp| xdp.pass)),
                count(xdp.map(|xdp| xdp.drop)),
                count(xdp.map(|xdp| xdp.redirect)),
            ]
        });
        text + &self.table(&columns, rows)
    }

    /// `trunkctl routes`
    #[must_use]
    pub fn routes(self, routes: &Routes) -> String {
        let columns = [
            Word("destination"),
            Word("gateway"),
            Word("interface"),
            Number("metric"),
        ];
        let rows = routes.routes.iter().map(|route| {
            let leads = match (&route.interface, route.leads.as_str()) {
                (Some(interface), _) => interface.clone(),
                (None, "nowhere") => "nowhere (packets are refused)".to_owned(),
                (None, _) => "another device".to_owned(),
            };
            vec![
                route.destination.clone(),
                known(route.gateway.as_deref()),
                leads,
                route.metric.to_string(),
            ]
        });
        let count = plural(routes.routes.len(), "route");
        let table = match routes.routes.is_empty() {
            true => String::new(),
            false => self.table(&columns, rows) + "\n",
        };
        table + &last_line(&count, &routes.snapshot)
    }

    /// `trunkctl neighbours`
    #[must_use]
    pub fn neighbours(self, neighbours: &Neighbours) -> String {
        let columns = [Word("address"), Word("interface"), Word("MAC address")];
        let rows = neighbours.neighbours.iter().map(|neighbour| {
            vec![
                neighbour.address.clone(),
                neighbour.interface.clone(),
                neighbour.mac.clone(),
            ]
        });
        let count = plural(neighbours.neighbours.len(), "neighbour");
        let table = match neighbours.neighbours.is_empty() {
            true => String::new(),
            false => self.table(&columns, rows) + "\n",
        };
        table + &last_line(&count, &neighbours.snapshot)
    }

    /// `trunkctl routes get ADDRESS`
    #[must_use]
    pub fn way(self, way: &Way) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<10} {value}");
        };
        line("to", &way.address);
        if let Some(interface) = &way.interface {
            line("interface", interface);
        }
        if let Some(next_hop) = &way.next_hop {
            match *next_hop == way.address {
                true => line("next hop", "itself, on the link"),
                false => line("next hop", next_hop),
            }
        }
        if let Some(mac) = &way.mac {
            line("MAC", mac);
        }
        if let Some(mtu) = way.mtu {
            line("MTU", &format!("{} bytes", number(u64::from(mtu))));
        }
        if let Some(because) = &way.because {
            let reason = way.reason.as_deref().unwrap_or_default();
            let because = format!("{because} (counted as sip_{reason} and media_{reason})");
            line(
                "no way",
                &super::super::wrapped(&because, 68).join("\n           "),
            );
        }
        line("snapshot", &epoch(&way.snapshot));
        text
    }
}

fn last_line(count: &str, snapshot: &Snapshot) -> String {
    format!("{count}; snapshot {}\n", epoch(snapshot))
}

/// Which snapshot it is, and who has yet to be handed it.
fn epoch(snapshot: &Snapshot) -> String {
    let epoch = snapshot.epoch;
    match snapshot.workers_behind.as_slice() {
        [] => format!("{epoch}, which every worker has"),
        behind => {
            let behind: Vec<_> = behind.iter().map(u8::to_string).collect();
            format!(
                "{epoch}, which these workers do not have yet: {}",
                behind.join(", ")
            )
        }
    }
}
