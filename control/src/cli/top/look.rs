//! One look at the daemon.

use std::path::Path;
use std::time::Instant;

use crate::api::types::Health;
use crate::api::types::Interfaces;
use crate::api::types::Latency;
use crate::api::types::Stats;
use crate::api::types::Status;
use crate::api::types::Talkers;
use crate::cli::client::ClientError;
use crate::cli::client::get;

/// What the daemon said at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub at: Instant,
    pub status: Status,
    pub stats: Stats,
    pub health: Health,
    pub interfaces: Interfaces,
    pub latency: Latency,
    pub talkers: Talkers,
}

impl Look {
    /// Asks for all of it.
    pub async fn take(socket: &Path) -> Result<Look, ClientError> {
        let (status, stats, health, interfaces, latency, talkers) = tokio::try_join!(
            get(socket, "/v1/status"),
            get(socket, "/v1/stats"),
            get(socket, "/v1/health"),
            get(socket, "/v1/interfaces"),
            get(socket, "/v1/latency"),
            get(socket, "/v1/talkers"),
        )?;
        Ok(Look {
            at: Instant::now(),
            status,
            stats,
            health,
            interfaces,
            latency,
            talkers,
        })
    }
}
