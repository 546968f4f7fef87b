//! What control and the kernel's sockets count, as rows of a table: name, count, meaning.

use super::OperatorStats;
use super::SocketStats;
use crate::kernel::counts;

/// One of control's own counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlRow {
    /// Its name.
    pub name: &'static str,
    /// How many.
    pub count: u64,
    /// What a person should know about it.
    pub help: &'static str,
}

impl OperatorStats {
    /// Every count. One that is added to the structure does not compile until it has a row.
    #[must_use]
    #[rustfmt::skip]
    pub fn rows(&self) -> Vec<ControlRow> {
        let OperatorStats {
            connections, refused, scrapes, scrapes_refused, captures_lost, networks, tasks_failed, kernel,
        } = *self;
        let row = |name, count, help| ControlRow { name, count, help };
        let mut rows = vec![
            row("connections", connections, "Connections to the operator's socket."),
            row("refused", refused, "Connections of users who may not use it."),
            row("scrapes", scrapes, "Connections to the address for metrics and probes."),
            row("scrapes_refused", scrapes_refused, "Connections to it that were closed unheard, since there were too many."),
            row("captures_lost", captures_lost, "Captured packets that whoever asked for them did not take in time."),
            row("networks", networks, "Changes of links, routes and neighbours handed to the workers."),
            row("tasks_failed", tasks_failed, "Tasks of control that met a bug."),
        ];
        rows.extend(counts::TABLE.iter().map(|info| row(info.name, kernel.get(info.count), info.help)));
        rows
    }
}

impl SocketStats {
    /// Every count: name, count, meaning.
    #[must_use]
    #[rustfmt::skip]
    pub fn rows(&self) -> [(&'static str, u64, &'static str); 6] {
        [
            ("rx_dropped", self.rx_dropped, "Frames dropped for another reason than a full receive ring."),
            ("rx_invalid_descs", self.rx_invalid_descs, "Fill entries that named no frame."),
            ("tx_invalid_descs", self.tx_invalid_descs, "Transmit descriptors that left their frame."),
            ("rx_ring_full", self.rx_ring_full, "Frames dropped because the worker did not take them in time."),
            ("rx_fill_ring_empty_descs", self.rx_fill_ring_empty_descs, "Times the kernel found no frame to receive into."),
            ("tx_ring_empty_descs", self.tx_ring_empty_descs, "Times the kernel found nothing to send."),
        ]
    }
}
