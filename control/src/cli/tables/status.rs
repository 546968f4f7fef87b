//! `trunkctl status`.

use std::fmt::Write as _;

use super::Number;
use super::Paper;
use super::Text;
use super::Word;
use super::duration;
use super::missing;
use super::number;
use crate::api::types::Confinement;
use crate::api::types::LocationStatus;
use crate::api::types::Status;
use crate::api::types::SubscribersStatus;

impl Paper {
    /// `trunkctl status`
    #[must_use]
    pub fn status(self, status: &Status) -> String {
        let up = duration(status.uptime_s as f64);
        let mut text = format!(
            "trunklined {}, process {}, up {up}\n\nWorkers\n",
            status.version, status.pid
        );
        let columns = [
            Number("worker"),
            Number("core"),
            Word("poll"),
            Number("busy"),
            Number("calls"),
            Number("transactions"),
            Number("flows"),
            Word("frames in"),
        ];
        text += &self.table(
            &columns,
            status.workers.iter().map(|worker| {
                vec![
                    worker.id.to_string(),
                    super::core(worker.core),
                    worker.poll.clone(),
                    super::busy(worker.busy_percent),
                    number(worker.calls),
                    number(worker.transactions),
                    number(worker.flows),
                    worker.memory.clone(),
                ]
            }),
        );
        text += "\nInterfaces\n";
        let columns = [
            Word("name"),
            Word("device"),
            Word("link"),
            Word("XDP"),
            Word("frames"),
            Number("queues"),
            Number("MTU"),
        ];
        text += &self.table(
            &columns,
            status.interfaces.iter().map(|interface| {
                vec![
                    interface.name.clone(),
                    interface.device.clone(),
                    interface.link.clone(),
                    interface.mode.clone(),
                    interface.frames.clone(),
                    interface.queues.to_string(),
                    number(u64::from(interface.mtu)),
                ]
            }),
        );
        if let Some(location) = &status.location {
            text += &registrations(location);
        }
        if let Some(store) = &status.subscribers {
            text += &subscribers(store);
        }
        text += &self.confinement(&status.confinement);
        text += &self.sums(&status.sums, &status.unchecked);
        text += missing(status.complete);
        if !status.warnings.is_empty() {
            text += "\nWarnings\n";
            for warning in &status.warnings {
                let _ = writeln!(text, " - {warning}");
            }
        }
        text
    }

    fn confinement(self, threads: &[Confinement]) -> String {
        // An older daemon does not say.
        if threads.is_empty() {
            return String::new();
        }
        let columns = [
            Word("threads"),
            Text("capabilities"),
            Word("seccomp"),
            Text("files"),
        ];
        let rows = threads.iter().map(|thread| {
            let capabilities = match thread.capabilities.as_slice() {
                [] => "none".to_owned(),
                held => held.join(" "),
            };
            vec![
                thread.thread.clone(),
                capabilities,
                thread.seccomp.clone(),
                thread.files.clone(),
            ]
        });
        format!("\nConfinement\n{}", self.table(&columns, rows))
    }
}

/// A sentence: how many users' contacts there are, and how it stands with their store.
fn registrations(location: &LocationStatus) -> String {
    let LocationStatus {
        store,
        contacts,
        loaded,
        waiting,
        oldest_ms,
        gone,
        silent,
    } = location;
    let mut text = format!(
        "\nRegistrations: {} contacts, kept in {store}",
        number(*contacts)
    );
    if !loaded {
        text += ", which is still being read";
    }
    if *waiting > 0 {
        let since = duration(*oldest_ms as f64 / 1000.0);
        let _ = write!(
            text,
            "; {} changes wait to be written, for {since}",
            number(*waiting)
        );
    }
    if let Some(gone) = gone {
        let _ = write!(text, "\n  it takes none: {gone}");
    }
    if let Some(silent) = silent {
        let _ = write!(text, "\n  it does not tell where users are: {silent}");
    }
    text + "\n"
}

/// A sentence: whether the subscribers' store answers.
fn subscribers(store: &SubscribersStatus) -> String {
    let mut text = match store.waiting {
        0 => "Subscribers: nobody is being looked up".to_owned(),
        waiting => {
            let since = duration(store.oldest_ms as f64 / 1000.0);
            format!(
                "Subscribers: {} are being looked up, the first for {since}",
                number(waiting)
            )
        }
    };
    for trouble in &store.troubles {
        let (store, reason) = (&trouble.store, &trouble.reason);
        let ago = duration(trouble.ago_s as f64);
        let what = match trouble.never {
            true => "has given no good answer since the start, the last time",
            false => "gave no answer",
        };
        let _ = write!(text, "\n  {store} {what} {ago} ago: {reason}");
    }
    text + "\n"
}
