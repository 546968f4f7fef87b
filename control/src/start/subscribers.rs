//! The subscribers' store: opened before anything is touched, and served once control is confined.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::config::StoreConfig;
use crate::subscribers::Directory;
use crate::subscribers::Store;
use crate::subscribers::sqlite::Opened;
use crate::subscribers::sqlite::SqliteError;

/// What was opened; nothing where there is no domain.
#[derive(Debug)]
pub(super) struct Prepared(Option<Opened>);

/// Opens what `config` names.
pub(super) fn prepare(config: &Config) -> Result<Prepared, SqliteError> {
    if config.domains.is_empty() {
        return Ok(Prepared(None));
    }
    let StoreConfig::Sqlite { path } = &config.store;
    Opened::open(path).map(Some).map(Prepared)
}

impl Prepared {
    /// Starts the store's thread, which is confined as the calling one is.
    pub fn serve(self, config: &Config) -> io::Result<Directory> {
        let store = self.0.map(Opened::serve).transpose()?;
        Ok(Directory {
            domains: config.domains.clone(),
            store: store.map(|store| Arc::new(store) as Arc<dyn Store>),
        })
    }
}

/// The directories in which control writes: SQLite has a log beside its file.
pub(super) fn writes(config: &Config) -> Vec<&Path> {
    let StoreConfig::Sqlite { path } = &config.store;
    let store = path.parent().filter(|_| !config.domains.is_empty());
    [Some(config.state.as_path()), store]
        .into_iter()
        .flatten()
        .collect()
}
