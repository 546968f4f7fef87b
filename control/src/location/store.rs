//! What a location store does.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::record::Change;
use super::record::Record;
pub use crate::subscribers::Unavailable;

/// Changes that are written together, one of a binding.
pub type Batch = Vec<Arc<Change>>;

/// A place where bindings outlive the box, and where other boxes find them.
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Writes all of a batch, each change whole or not at all. When it says that it has, they outlive
    /// the box. What was written by a batch that failed may be written again.
    ///
    /// # Errors
    /// [`Unavailable`]: some may have been written.
    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<Written, Unavailable>>;

    /// Finds out whether it would take a change, by one that leaves nothing.
    ///
    /// # Errors
    /// [`Unavailable`]: it would not.
    fn check(&self) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// All that it has, in pages of some hundreds: the next is read when it is asked for. A binding
    /// that changes meanwhile may come as it was, as it is, or twice; one that has ended may come. Removals
    /// come where others may have made them.
    fn load(&self) -> BoxStream<'_, Result<Vec<Change>, Unavailable>>;

    /// The bindings of a user that have not ended.
    ///
    /// # Errors
    /// [`Unavailable`]: whether there are any is not known.
    fn find<'s>(
        &'s self,
        domain: &'s str,
        user: &'s [u8],
    ) -> BoxFuture<'s, Result<Vec<Record>, Unavailable>>;

    /// What is to be known of the store, from now on. First of all a [`Heard::Gap`], when nothing that
    /// others write can be missed any more; it ends where there are no others. It must be read
    /// steadily, and where it is not there is another gap.
    fn watch(&self) -> BoxStream<'static, Heard>;

    /// Why nothing is heard of it now.
    fn silent(&self) -> Option<String> {
        None
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Changes that were older than what the store had: another box's stands.
    pub stale: usize,
    /// Changes that the store will never take.
    pub refused: usize,
}

/// What is heard of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Another box has written this.
    Changed(Box<Change>),
    /// What it has must be loaded: nothing is known yet, something may have been missed, or the store has
    /// lost something.
    Gap,
}
