//! What was seen, and what is shown of it.

use super::look::Look;
use super::panels;
use crate::cli::client::ClientError;
use crate::cli::rates::Rates;

/// The state of the screen.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The last look, unless there was none yet.
    pub look: Option<Look>,
    /// What grew since the look before it; none after the first.
    pub rates: Option<Rates>,
    /// Why there is no newer look.
    pub lost: Option<String>,
    /// True while nothing new is shown.
    pub is_paused: bool,
    /// Which of [`panels::PAGES`] is shown where there is no room for all.
    pub page: usize,
    /// How many lines of the list of drops are above the panel.
    pub scrolled: usize,
}

/// A drop or a message that was not sent, by its reason.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reason {
    pub name: String,
    pub total: u64,
    /// A second's; none after the first look.
    pub rate: Option<f64>,
}

impl Model {
    /// Takes a new look in, unless paused.
    pub fn see(&mut self, look: Look) {
        if self.is_paused {
            return;
        }
        // After a silence the rate would be that of the silence.
        let before = self.look.take().filter(|_| self.lost.is_none());
        let before = before.filter(|before| before.status.pid == look.status.pid);
        self.rates = before.map(|before| {
            let apart = look.at.duration_since(before.at);
            Rates::between(&before.stats, &look.stats, apart)
        });
        self.lost = None;
        self.look = Some(look);
        self.scroll(0);
    }

    /// The daemon did not answer.
    pub fn lose(&mut self, error: &ClientError) {
        self.lost = Some(error.to_string());
    }

    /// Shows another page, forth or back.
    pub fn turn_page(&mut self, by: isize) {
        let pages = panels::PAGES.len();
        self.page = self.page.saturating_add_signed(by + pages.cast_signed()) % pages;
    }

    /// Scrolls the list of drops; at its ends it stands still.
    pub fn scroll(&mut self, by: i32) {
        let last = self.reasons().len().saturating_sub(1);
        let by = isize::try_from(by).unwrap_or(0);
        self.scrolled = self.scrolled.saturating_add_signed(by).min(last);
    }

    /// A second's growth of the counter of this name; none after the first look.
    pub fn rate(&self, name: &str) -> Option<f64> {
        self.rates.as_ref().map(|rates| rates.get(name))
    }

    /// The total of a worker's counter of this name.
    pub fn total(&self, name: &str) -> u64 {
        let rows = self.look.iter().flat_map(|look| &look.stats.counters);
        rows.filter(|row| row.name == name)
            .map(|row| row.total)
            .sum()
    }

    /// Why frames and messages came to nothing: what grows fastest first.
    pub fn reasons(&self) -> Vec<Reason> {
        let Some(look) = &self.look else {
            return Vec::new();
        };
        let counted = look.stats.counters.iter();
        let counted = counted
            .filter(|row| matches!(row.kind.as_str(), "dropped" | "not sent"))
            .map(|row| (&row.name, row.total));
        let verdicts = look.stats.xdp.iter().flat_map(|xdp| &xdp.verdicts);
        let verdicts = verdicts
            .filter(|row| row.action == "drop")
            .map(|row| (&row.name, row.count));
        let mut reasons: Vec<Reason> = Vec::new();
        for (name, total) in counted.chain(verdicts).filter(|(_, total)| *total > 0) {
            match reasons.iter_mut().find(|reason| reason.name == *name) {
                Some(reason) => reason.total += total,
                None => reasons.push(Reason {
                    name: name.clone(),
                    total,
                    rate: self.rate(name),
                }),
            }
        }
        let lost: u64 = look
            .stats
            .sockets
            .iter()
            .map(|socket| socket.rx_ring_full + socket.rx_dropped)
            .sum();
        if lost > 0 {
            reasons.push(Reason {
                name: "ring full (kernel)".to_owned(),
                total: lost,
                rate: None,
            });
        }
        reasons.sort_by(|a, b| {
            let rate = |reason: &Reason| reason.rate.unwrap_or_default();
            let faster = rate(b).total_cmp(&rate(a));
            faster.then(b.total.cmp(&a.total))
        });
        reasons
    }
}
