//! The subscribers' store: opened before anything is touched, and served once control is confined.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::config::LocationConfig;
use crate::config::StoreConfig;
use crate::engine::Request;
use crate::subscribers::Directory;
use crate::subscribers::Store;
use crate::subscribers::forget::Forget;
use crate::subscribers::name::Address;
use crate::subscribers::remote::Source;
use crate::subscribers::sqlite::Opened;
use crate::subscribers::sqlite::SqliteError;

/// Changes that were told and not yet passed on. A server that tells more of them waits.
const CHANGES: usize = 64;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The embedded one.
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
    /// One on servers elsewhere.
    #[error("[subscribers]: {0}")]
    Remote(String),
}

/// What was opened; nothing where there is no domain, or the registrar of each is elsewhere.
#[derive(Debug)]
pub(super) enum Prepared {
    Nothing,
    Sqlite(Opened),
    Remote(Arc<dyn Store>, Vec<Source>),
}

/// Opens what `config` names.
pub(super) fn prepare(config: &Config) -> Result<Prepared, StoreError> {
    if !config.has_subscribers() {
        return Ok(Prepared::Nothing);
    }
    Ok(match &config.store {
        StoreConfig::Sqlite { path } => Prepared::Sqlite(Opened::open(path)?),
        StoreConfig::Remote(remote) => Prepared::Remote(
            remote.open().map_err(StoreError::Remote)?,
            remote.sources().map_err(StoreError::Remote)?,
        ),
    })
}

impl Prepared {
    /// Starts the store's thread, which is confined as the calling one is.
    pub fn serve(self, config: &Config) -> io::Result<(Arc<Directory>, Changes)> {
        let (store, sources) = match self {
            Prepared::Nothing => (None, Vec::new()),
            Prepared::Sqlite(opened) => {
                let store: Arc<dyn Store> = Arc::new(opened.serve()?);
                (Some(store), Vec::new())
            }
            Prepared::Remote(store, sources) => (Some(store), sources),
        };
        let directory = Arc::new(Directory {
            domains: config.domains.clone(),
            store,
        });
        let changes = Changes {
            sources,
            directory: Arc::clone(&directory),
        };
        Ok((directory, changes))
    }
}

/// What the store's servers tell of changes.
#[derive(Debug)]
pub(super) struct Changes {
    sources: Vec<Source>,
    directory: Arc<Directory>,
}

impl Changes {
    /// The domains, and the store.
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// Has the desk tell the workers.
    pub async fn run(self, desk: mpsc::Sender<Request>) {
        let (out, mut changes) = mpsc::channel(CHANGES);
        let mut listening = JoinSet::new();
        for source in self.sources {
            listening.spawn(source.follow(out.clone()));
        }
        drop(out);
        while let Some(forget) = changes.recv().await {
            let request = match forget {
                Forget::All => Request::Doubt,
                Forget::One { domain, user } => {
                    // Servers may have other domains as well.
                    let who = self.directory.subscriber(&Address { domain, user });
                    Request::Forget(who.into_iter().collect())
                }
            };
            if desk.send(request).await.is_err() {
                return;
            }
        }
    }
}

/// Asks the servers of the store before a user does, and those that give no good answer again until all of them have
/// done so once. It holds nothing up.
pub(super) async fn check(directory: Arc<Directory>, desk: mpsc::Sender<Request>) {
    let mut backoff = Backoff::default();
    while let Some(unwell) = directory.check().await {
        let all_are_well = unwell.is_empty();
        if desk.send(Request::Unwell(unwell)).await.is_err() || all_are_well {
            return;
        }
        tokio::time::sleep(backoff.wait()).await;
    }
}

/// The directories in which control writes: SQLite has a log beside its file.
pub(super) fn writes(config: &Config) -> Vec<&Path> {
    let store = match &config.store {
        StoreConfig::Sqlite { path } => path.parent().filter(|_| config.has_subscribers()),
        StoreConfig::Remote(_) => None,
    };
    let location = match &config.location {
        LocationConfig::Sqlite { path } => path.parent(),
        LocationConfig::Nowhere | LocationConfig::Redis(_) => None,
    };
    [Some(config.state.as_path()), store, location]
        .into_iter()
        .flatten()
        .collect()
}
