//! The list of all that is counted: for `trunkctl counters`, and for the manual.

use std::fmt::Write as _;

use trunkline_bpf::Action;
use trunkline_dataplane::counters;
use trunkline_dataplane::counters::Stage;
use trunkline_dataplane::counters::trunks;

use super::names;
use crate::api::types::OperatorStats;
use crate::api::types::SocketStats;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// Where it is counted.
    pub stage: &'static str,
    /// Its name in `trunkctl stats`.
    pub name: &'static str,
    /// What it means for the sums.
    pub kind: &'static str,
    /// Its name in `/metrics`.
    pub metric: String,
    /// What a person should know about it.
    pub help: String,
}

/// What the parts of the list are called, in their order.
const STAGES: [(&str, &str); 11] = [
    (
        "XDP",
        "What the XDP program of each interface does with a frame; label `interface`.",
    ),
    (
        "socket",
        "What the kernel counts of each AF_XDP socket; labels `interface`, `queue`, `worker`. The first, the fourth and the fifth overlap: do not add them.",
    ),
    (
        "rings",
        "Frames between the kernel and a worker; label `worker`, as in all that a worker counts.",
    ),
    ("network", "Headers below SIP and media."),
    ("mail", "Between the threads."),
    ("SIP", "Signalling."),
    ("media", "RTP and RTCP."),
    ("worker", "The worker itself."),
    ("trunk", "By trunk, and by domain; label `trunk`."),
    ("domain", "By domain; label `domain`."),
    ("control", "What control counts of itself."),
];

/// Every counter there is.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let mut entries: Vec<_> = trunkline_bpf::TABLE
        .iter()
        .map(|row| Entry {
            stage: "XDP",
            name: row.name,
            kind: action_name(row.action),
            metric: names::of_verdict(row.name).shown(),
            help: format!("{}.", row.help),
        })
        .collect();
    let sockets = SocketStats::default();
    entries.extend(sockets.rows().into_iter().map(|(name, _, help)| Entry {
        stage: "socket",
        name,
        kind: "event",
        metric: names::of_socket(name, help).shown(),
        help: help.to_owned(),
    }));
    for stage in Stage::ALL {
        let rows = counters::TABLE.iter().filter(|row| row.stage() == stage);
        entries.extend(rows.map(|row| Entry {
            stage: stage.name(),
            name: row.name,
            kind: row.kind.name(),
            metric: names::of_counter(row).shown(),
            help: row.help.to_owned(),
        }));
    }
    entries.extend(trunks::TABLE.iter().map(|row| Entry {
        stage: names::whose(row),
        name: row.name,
        kind: if row.is_gauge { "now" } else { "event" },
        metric: names::of_trunk(row).shown(),
        help: row.help.to_owned(),
    }));
    let control = OperatorStats::default().rows();
    entries.extend(control.into_iter().map(|row| Entry {
        stage: "control",
        name: row.name,
        kind: "event",
        metric: names::of_control(row.name, row.help).shown(),
        help: row.help.to_owned(),
    }));
    entries
}

/// What a person calls an action of the XDP program.
pub(crate) fn action_name(action: Action) -> &'static str {
    match action {
        Action::Pass => "pass",
        Action::Drop => "drop",
        Action::Redirect => "redirect",
    }
}

/// The list as `docs/counters.md` holds it.
#[must_use]
pub fn markdown() -> String {
    let entries = entries();
    let mut text = "# Counters\n\n\
        Made by `trunkctl counters --markdown` from the tables in which the counters are defined; do not edit it. A test holds the\n\
        two together. `trunkctl counters WORD` shows those whose name has a word in it.\n\n\
        The kind says what a counter is for the sums: in, and one of the ends of what came in (forwarded, answered, absorbed,\n\
        handed over, dropped); to send, and what became of it (sent, by kernel, not sent); an event is in no sum, and now is a level.\n"
        .to_owned();
    for (stage, about) in STAGES {
        let _ = write!(text, "\n## {stage}\n\n{about}\n\n");
        text += "| name | kind | metric | meaning |\n|---|---|---|---|\n";
        for entry in entries.iter().filter(|entry| entry.stage == stage) {
            let Entry {
                name,
                kind,
                metric,
                help,
                ..
            } = entry;
            let _ = writeln!(text, "| `{name}` | {kind} | `{metric}` | {help} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_part_of_the_list() {
        for entry in entries() {
            assert!(STAGES.iter().any(|(stage, _)| *stage == entry.stage));
            assert!(
                !entry.help.contains('|') && entry.help.ends_with('.'),
                "{}",
                entry.name
            );
        }
        let lines = markdown()
            .lines()
            .filter(|line| line.starts_with("| `"))
            .count();
        assert_eq!(lines, entries().len());
    }

    #[test]
    fn the_manuals_list_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/counters.md");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == markdown(),
            "docs/counters.md is not what the tables say. Make it anew: \
             cargo run -p trunkline-control --bin trunkctl -- counters --markdown > docs/counters.md"
        );
    }
}
