//! What control and the kernel's sockets count, as rows of a table: name, count, meaning.

use super::LocationStats;
use super::OperatorStats;
use super::SocketStats;
use super::StoreStats;
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

impl StoreStats {
    /// Every count.
    #[rustfmt::skip]
    fn rows(&self) -> [ControlRow; 9] {
        let StoreStats {
            asked, looked_up, looked_up_us, answered, failed, refused, forgotten, doubted, untold,
        } = *self;
        let row = |name, count, help| ControlRow { name, count, help };
        [
            row("subscribers_asked", asked, "Workers' questions about subscribers: answered + failed + refused + those that wait."),
            row("subscribers_looked_up", looked_up, "Look-ups at the subscribers' store that have ended: who is asked about by several workers at once is looked up once."),
            row("subscribers_looked_up_us", looked_up_us, "Microseconds that these look-ups took, all together."),
            row("subscribers_answered", answered, "Questions that the subscribers' store has answered."),
            row("subscribers_failed", failed, "Questions that it did not answer in time, or could not."),
            row("subscribers_refused", refused, "Questions that it was not asked, since too many were under way."),
            row("subscribers_forgotten", forgotten, "Subscribers who were changed, or forgotten by `trunkctl auth forget`."),
            row("subscribers_doubted", doubted, "Times that the workers were told to doubt all that they know of subscribers: they ask anew for whom they need, and go on meanwhile."),
            row("subscribers_untold", untold, "Answers and changes that a stuck worker had no room for."),
        ]
    }
}

impl LocationStats {
    /// Every count.
    #[rustfmt::skip]
    fn rows(&self) -> [ControlRow; 13] {
        let LocationStats {
            sought, found, failed, not_sought, given_back, not_ours, untold, written, overtaken, stale, refused, lost, failures,
        } = *self;
        let row = |name, count, help| ControlRow { name, count, help };
        [
            row("location_sought", sought, "Workers' questions for the contacts of users of whom they have none."),
            row("location_found", found, "Users looked for whose contacts the location store had."),
            row("location_failed", failed, "Users looked for of whom the location store said nothing in time."),
            row("location_not_sought", not_sought, "Questions that the location store was not asked, since too many were under way."),
            row("location_given_back", given_back, "Contacts that the location store has given, at a start or when it was asked, and that others have written."),
            row("location_not_ours", not_ours, "Contacts in the location store of domains that are not configured."),
            row("location_untold", untold, "Answers that a stuck worker had no room for."),
            row("location_written", written, "Changes of contacts that the location store has taken."),
            row("location_overtaken", overtaken, "Changes that needed not be written: a later one of the same contact came while they waited."),
            row("location_stale", stale, "Changes that were older than what another box had written."),
            row("location_refused", refused, "Changes that the location store will never take: see the log."),
            row("location_lost", lost, "Changes that found no room to wait for the location store."),
            row("location_failures", failures, "Batches of changes that the location store did not take, and that wait."),
        ]
    }
}

impl OperatorStats {
    /// Every count. One that is added to the structure does not compile until it has a row.
    #[must_use]
    #[rustfmt::skip]
    pub fn rows(&self) -> Vec<ControlRow> {
        let OperatorStats {
            connections, refused, scrapes, scrapes_refused, captures_lost, networks, tasks_failed, store, location, kernel,
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
        rows.extend(store.rows());
        rows.extend(location.rows());
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
