//! What each counter is called in Prometheus' words: `trunkline_`, base units, and
//! `_total` at the end of what only grows.

use trunkline_dataplane::counters;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Kind;
use trunkline_dataplane::counters::trunks;

/// A metric: one name, one help text, and samples told apart by labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, without the `_total` of one that only grows.
    pub name: String,
    /// True where it is a level, and not a count.
    pub is_gauge: bool,
    /// What it means.
    pub help: String,
    /// The label and its value that tell this counter from others of the same name.
    pub label: Option<(&'static str, &'static str)>,
    /// By what the count is divided to be in base units.
    pub divisor: u64,
}

impl Metric {
    /// The name with its ending and its label, as one asks for it.
    #[must_use]
    pub fn shown(&self) -> String {
        let total = if self.is_gauge { "" } else { "_total" };
        let label = self.label.map_or_else(String::new, |(label, value)| {
            format!("{{{label}=\"{value}\"}}")
        });
        format!("{}{total}{label}", self.name)
    }
}

/// A worker's counter.
#[must_use]
pub fn of_counter(row: &'static counters::Info) -> Metric {
    let by_reason = |name: &str, help: &str| Metric {
        name: name.to_owned(),
        is_gauge: false,
        help: help.to_owned(),
        label: Some(("reason", row.name)),
        divisor: 1,
    };
    match row.kind {
        Kind::Dropped => {
            return by_reason(
                "trunkline_dropped",
                "Frames and messages that a worker dropped, by reason.",
            );
        }
        Kind::Unsent => {
            return by_reason(
                "trunkline_sip_unsent",
                "SIP messages that a worker could not send, by reason.",
            );
        }
        Kind::ByKernel => {
            return by_reason(
                "trunkline_sip_by_kernel",
                "SIP messages that a worker had the kernel send, by reason.",
            );
        }
        _ => {}
    }
    let is_gauge = row.kind == Kind::Gauge;
    let place = row.name.strip_prefix("frames_").filter(|_| is_gauge);
    match place {
        Some("total") => named("umem_frames", true, row.help),
        Some(place) => Metric {
            label: Some(("place", place)),
            ..named(
                "frames",
                true,
                "Frames of a worker's UMEM, by where they are.",
            )
        },
        // "now" is what a gauge says anyway.
        None if is_gauge => named(
            row.name.strip_suffix("_now").unwrap_or(row.name),
            true,
            row.help,
        ),
        None if row.counter == Counter::BusyNs => Metric {
            divisor: 1_000_000_000,
            ..named(
                "busy_seconds",
                false,
                "Seconds spent in turns that found work.",
            )
        },
        None => named(row.name, false, row.help),
    }
}

/// A trunk's counter, or a domain's.
#[must_use]
pub fn of_trunk(row: &trunks::Info) -> Metric {
    let name = row.name.strip_suffix("_now").unwrap_or(row.name);
    let whose = whose(row);
    named(&format!("{whose}_{name}"), row.is_gauge, row.help)
}

/// Of what a row of the trunks' table counts: the label that tells which.
#[must_use]
pub const fn whose(row: &trunks::Info) -> &'static str {
    match row.is_of_domain {
        true => "domain",
        false => "trunk",
    }
}

/// What control counts of itself.
#[must_use]
pub fn of_control(name: &str, help: &str) -> Metric {
    named(&format!("control_{name}"), false, help)
}

/// What the kernel counts of an AF_XDP socket.
#[must_use]
pub fn of_socket(name: &str, help: &str) -> Metric {
    named(&format!("socket_{name}"), false, help)
}

/// A frame's verdict in the XDP program.
#[must_use]
pub fn of_verdict(verdict: &'static str) -> Metric {
    Metric {
        label: Some(("verdict", verdict)),
        ..named(
            "xdp_frames",
            false,
            "Frames that the XDP program of an interface saw, by what it did with them and why.",
        )
    }
}

/// A metric of this name, with `trunkline_` before it.
pub(super) fn named(name: &str, is_gauge: bool, help: &str) -> Metric {
    Metric {
        name: format!("trunkline_{name}"),
        is_gauge,
        help: help.to_owned(),
        label: None,
        divisor: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(counter: Counter) -> String {
        of_counter(counter.info()).shown()
    }

    #[test]
    fn names_follow_the_conventions() {
        assert_eq!(shown(Counter::Rx), "trunkline_rx_total");
        assert_eq!(shown(Counter::CallsNow), "trunkline_calls");
        assert_eq!(shown(Counter::BusyNs), "trunkline_busy_seconds_total");
        assert_eq!(
            shown(Counter::SipMalformed),
            "trunkline_dropped_total{reason=\"sip_malformed\"}"
        );
        assert_eq!(
            shown(Counter::SipOverMtu),
            "trunkline_sip_by_kernel_total{reason=\"sip_over_mtu\"}"
        );
        assert_eq!(
            shown(Counter::FramesFill),
            "trunkline_frames{place=\"fill\"}"
        );
        assert_eq!(shown(Counter::FramesTotal), "trunkline_umem_frames");
        // Where two counters share a name, labels tell them apart and the help is one.
        let mut seen = std::collections::HashMap::new();
        for row in counters::TABLE {
            let metric = of_counter(row);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(metric.name.chars().all(plain), "{}", metric.name);
            assert!(!metric.name.ends_with("_total"), "{}", metric.name);
            let before = seen.insert(metric.name.clone(), metric.clone());
            if let Some(before) = before {
                assert_ne!(before.label, metric.label, "{}", metric.name);
                assert_eq!(before.help, metric.help);
                assert_eq!(before.is_gauge, metric.is_gauge);
            }
        }
    }
}
