//! All that a store has is given: at a start, and where changes may have been missed.

use futures_util::StreamExt as _;

use super::record::Change;
use super::record::now_ms;
use super::store::Store;
use super::store::Unavailable;
use crate::backoff::Backoff;

/// What is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// From here on, all of it.
    Begun,
    /// This it has.
    Has(Box<Change>),
}

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

/// Gives `take` every binding that has not ended, some of them more than once, and removals: the devices
/// may have refreshed it by then, so it stands only where its user has no other of its name. A page is read
/// when `take` is done with the one before, so a receiver without room holds the store up, and
/// memory stays as it is. Where the store goes away, or is not there yet, it begins anew.
pub async fn load<T: Future<Output = ()>>(
    store: &dyn Store,
    mut take: impl FnMut(Given) -> T,
) -> Loaded {
    let mut failures = 0;
    let mut backoff = Backoff::default();
    loop {
        take(Given::Begun).await;
        match once(store, &mut take).await {
            Ok(loaded) => return Loaded { failures, ..loaded },
            Err(unavailable) if failures == 0 => {
                tracing::error!("{unavailable}. Its bindings are given back when it is there");
            }
            Err(_) => {}
        }
        failures += 1;
        tokio::time::sleep(backoff.wait()).await;
    }
}

async fn once<T: Future<Output = ()>>(
    store: &dyn Store,
    take: &mut impl FnMut(Given) -> T,
) -> Result<Loaded, Unavailable> {
    let mut loaded = Loaded::default();
    let mut pages = store.load();
    while let Some(page) = pages.next().await {
        for change in page? {
            // It may have ended while those before it found no room.
            match &change {
                Change::Put(record) if record.expires_ms <= now_ms() => {
                    loaded.ended += 1;
                    continue;
                }
                Change::Put(_) => loaded.given += 1,
                Change::Remove(_) => {}
            }
            take(Given::Has(Box::new(change))).await;
        }
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests;
