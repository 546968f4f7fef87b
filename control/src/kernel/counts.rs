//! The one table of what control counts at the kernel's sockets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

/// Everything that is counted. The order is that of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The help text of each stands in TABLE.
pub enum Count {
    Datagrams,
    Dropped,
    Overflowed,
    Truncated,
    Sent,
    RefusedBusy,
    RefusedTooLarge,
    RefusedUnreachable,
    RefusedOther,
    IcmpErrors,
    IcmpTold,
    IcmpIgnored,
    IcmpUnidentified,
    IcmpForged,
    IcmpDropped,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Which count this row describes.
    pub count: Count,
    /// Its name in every output.
    pub name: &'static str,
    /// What a person should know about it, in one sentence.
    pub help: &'static str,
}

const fn row(count: Count, name: &'static str, help: &'static str) -> Info {
    Info { count, name, help }
}

/// The one table.
#[rustfmt::skip]
pub const TABLE: [Info; 15] = [
    row(Count::Datagrams, "kernel_datagrams", "Datagrams that reached the kernel's sockets."),
    row(Count::Dropped, "kernel_dropped", "Of these, dropped because the worker's mailbox was full."),
    row(Count::Overflowed, "kernel_overflowed", "Datagrams that the kernel dropped because a socket's buffer was full."),
    row(Count::Truncated, "kernel_truncated", "Datagrams longer than UDP allows, which were not taken."),
    row(Count::Sent, "kernel_sent", "SIP messages that the kernel took to send for a worker."),
    row(Count::RefusedBusy, "kernel_refused_busy", "SIP messages that the kernel had no buffer for: too many wait for neighbours."),
    row(Count::RefusedTooLarge, "kernel_refused_too_large", "SIP messages too large for the kernel to send even in fragments."),
    row(Count::RefusedUnreachable, "kernel_refused_unreachable", "SIP messages that the kernel knows no way for: see `ip route get`."),
    row(Count::RefusedOther, "kernel_refused_other", "SIP messages that the kernel refused for another reason, which the log names at level debug."),
    row(Count::IcmpErrors, "icmp_errors", "ICMP errors for what was sent from the listens."),
    row(Count::IcmpTold, "icmp_told", "Of these, told to the worker whose request it was."),
    row(Count::IcmpIgnored, "icmp_ignored", "Of these, of kinds that do not end a request (RFC 3261 §18.4)."),
    row(Count::IcmpUnidentified, "icmp_unidentified", "Of these, for a response, or quoting too little to tell the request."),
    row(Count::IcmpForged, "icmp_forged", "Of these, quoting a branch that this start of the box did not sign."),
    row(Count::IcmpDropped, "icmp_dropped", "Of these, dropped because the worker's mailbox was full."),
];

/// The counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Value>", into = "BTreeMap<String, u64>")]
pub struct Counts([u64; TABLE.len()]);

impl Counts {
    /// Counts one.
    pub fn count(&mut self, count: Count) {
        self.0[count as usize] += 1;
    }

    /// Sets a count that is kept elsewhere.
    pub fn set(&mut self, count: Count, total: u64) {
        self.0[count as usize] = total;
    }

    /// The present count.
    #[must_use]
    pub const fn get(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// What became of the messages that the workers handed over.
    #[must_use]
    pub fn disposed(&self) -> u64 {
        [
            Count::Sent,
            Count::RefusedBusy,
            Count::RefusedTooLarge,
            Count::RefusedUnreachable,
            Count::RefusedOther,
        ]
        .into_iter()
        .map(|count| self.get(count))
        .sum()
    }
}

impl From<Counts> for BTreeMap<String, u64> {
    fn from(counts: Counts) -> Self {
        let named = |row: &Info| (row.name.to_owned(), counts.get(row.count));
        TABLE.iter().map(named).collect()
    }
}

impl From<BTreeMap<String, Value>> for Counts {
    /// Names that are not in the table, of another version say, are left out.
    fn from(named: BTreeMap<String, Value>) -> Self {
        let mut counts = Counts::default();
        for row in &TABLE {
            let total = named.get(row.name).and_then(Value::as_u64);
            counts.set(row.count, total.unwrap_or_default());
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_written_and_read_by_name() {
        let mut counts = Counts::default();
        counts.count(Count::IcmpForged);
        let text = serde_json::to_string(&counts).unwrap();
        assert!(text.contains("\"icmp_forged\":1"), "{text}");
        assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), counts);
        assert_eq!(
            serde_json::from_str::<Counts>("{\"x\":\"y\"}").unwrap(),
            Counts::default()
        );
    }

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_names_are_unique() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.count as usize, index, "{}", row.name);
            assert!(row.help.ends_with('.'));
            assert_eq!(
                TABLE.iter().filter(|other| other.name == row.name).count(),
                1
            );
        }
    }
}
