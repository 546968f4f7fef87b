//! What the store has, given back at a start.

use futures_util::StreamExt as _;

use super::record::Record;
use super::record::now_ms;
use super::store::Store;
use super::store::Unavailable;
use crate::backoff::Backoff;

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Bindings that were given.
    pub given: u64,
    /// Bindings that had ended.
    pub ended: u64,
    /// How often it was begun anew, since the store was gone.
    pub failures: u64,
}

/// Gives `take` every binding that has not ended, some of them more than once: the devices may have
/// refreshed it by then, so it stands only where its user has no other of its name. A page is read
/// when `take` is done with the one before, so a receiver without room holds the store up, and
/// memory stays as it is. Where the store goes away, or is not there yet, it begins anew.
pub async fn load<T: Future<Output = ()>>(
    store: &dyn Store,
    mut take: impl FnMut(Record) -> T,
) -> Loaded {
    let mut loaded = Loaded::default();
    let mut backoff = Backoff::default();
    while let Err(unavailable) = once(store, &mut loaded, &mut take).await {
        if loaded.failures == 0 {
            tracing::error!("{unavailable}. Its bindings are given back when it is there");
        }
        loaded.failures += 1;
        tokio::time::sleep(backoff.wait()).await;
        loaded.given = 0;
        loaded.ended = 0;
    }
    loaded
}

async fn once<T: Future<Output = ()>>(
    store: &dyn Store,
    loaded: &mut Loaded,
    take: &mut impl FnMut(Record) -> T,
) -> Result<(), Unavailable> {
    let mut pages = store.load();
    while let Some(page) = pages.next().await {
        for record in page? {
            // It may have ended while those before it found no room.
            if record.expires_ms <= now_ms() {
                loaded.ended += 1;
            } else {
                take(record).await;
                loaded.given += 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
