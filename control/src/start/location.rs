//! The location store: opened before anything is touched, and served once control is confined.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::config::LocationConfig;
use crate::engine::Location;
use crate::location::Store;
use crate::location::redis::OptionsError;
use crate::location::redis::Redis;
use crate::location::sqlite::OpenError;
use crate::location::sqlite::Opened;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// The embedded one.
    #[error(transparent)]
    Sqlite(#[from] OpenError),
    /// One on servers elsewhere.
    #[error("[location]: {0}")]
    Redis(#[from] OptionsError),
}

/// What was opened.
#[derive(Debug)]
pub(super) enum Prepared {
    Nowhere,
    Sqlite(Opened),
    Redis(Redis),
}

/// Opens what `config` names. Servers elsewhere need not be there: users are found and registered without
/// them.
pub(super) fn prepare(config: &Config) -> Result<Prepared, LocationError> {
    Ok(match &config.location {
        LocationConfig::Nowhere => Prepared::Nowhere,
        LocationConfig::Sqlite { path } => Prepared::Sqlite(Opened::open(path)?),
        LocationConfig::Redis(options) => Prepared::Redis(Redis::new(options)?),
    })
}

impl Prepared {
    /// Starts the store's thread, which is confined as the calling one is.
    pub fn serve(self, config: &Config) -> io::Result<Option<Location>> {
        let (name, store): (String, Arc<dyn Store>) = match (self, &config.location) {
            (Prepared::Sqlite(opened), LocationConfig::Sqlite { path }) => {
                (path.display().to_string(), Arc::new(opened.serve()?))
            }
            (Prepared::Redis(redis), _) => ("redis".to_owned(), Arc::new(redis)),
            _ => return Ok(None),
        };
        let workers = usize::from(config.workers);
        Ok(Some(Location {
            name,
            store,
            bindings: workers * config.capacity.bindings as usize,
            patience: Duration::from_millis(config.authentication.deadline_ms / 2),
        }))
    }
}
