//! `trunkctl stats --rate` and `--watch`: the counters and how fast they grow.

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use super::Failure;
use super::Paper;
use super::client::get;
use super::pretty;
use super::rates::Rates;
use crate::api::types::Stats;

/// The counters at one moment.
pub(super) struct Look {
    at: Instant,
    stats: Stats,
}

impl Look {
    /// The first of two.
    pub async fn first(socket: &Path) -> Result<Look, Failure> {
        Ok(Look {
            at: Instant::now(),
            stats: get(socket, "/v1/stats").await?,
        })
    }

    /// Looks again after `seconds`, and says what it sees and what has changed.
    pub async fn next(
        self,
        socket: &Path,
        seconds: u32,
        all: bool,
        json: bool,
        paper: Paper,
    ) -> Result<(String, Look), Failure> {
        let due = self.at + Duration::from_secs(seconds.into());
        tokio::time::sleep_until(due.into()).await;
        let next = Look::first(socket).await?;
        let rates = Rates::between(&self.stats, &next.stats, next.at.duration_since(self.at));
        let text = match json {
            true => pretty(&serde_json::json!({ "stats": next.stats, "per_second": rates })),
            false => paper.stats(&next.stats, Some(&rates), all),
        };
        Ok((text, next))
    }
}

/// Shows them again and again; ends where they cannot be had, or no one reads them.
pub(super) async fn stats(
    socket: &Path,
    seconds: u32,
    all: bool,
    json: bool,
    paper: Paper,
) -> Result<String, Failure> {
    let mut look = Look::first(socket).await?;
    let mut out = std::io::stdout();
    let clears = out.is_terminal() && !json;
    loop {
        let (text, next) = look.next(socket, seconds, all, json, paper).await?;
        look = next;
        // To the first place of the screen, and away with what stands there.
        let clear = if clears { "\x1b[H\x1b[2J\x1b[3J" } else { "" };
        let written = write!(out, "{clear}{text}").and_then(|()| out.flush());
        if written.is_err() {
            return Ok(String::new());
        }
    }
}
