//! What a location store tells unasked: all that it has, at a start and after a gap, and what others write there.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::Fuse;
use futures_util::future::FusedFuture as _;
use tokio::sync::mpsc;

use crate::location::Change;
use crate::location::Heard;
use crate::location::Store;
use crate::location::load::Given;
use crate::location::load::load;

/// A pass over the store is followed by no other for so long: a link that comes and goes must not have it read
/// without end.
const APART: Duration = Duration::from_secs(1);

/// What the store tells unasked.
#[derive(Debug)]
pub(super) enum News {
    /// All that it has is told from here on.
    Loading,
    /// It has this.
    Has(Box<Change>),
    /// Another box has written this.
    Changed(Box<Change>),
    /// All is told, and so many bindings were it.
    Loaded(u64),
}

/// Tells what the store has, and what others write there, until nobody wants to know. A pass over the store that is
/// under way is gone through to its end, whatever is missed meanwhile, and is followed by another then: a storm that
/// leaves one gap after the other must not keep any from its end.
pub(super) async fn read(store: Arc<dyn Store>, out: mpsc::Sender<News>) {
    let mut heard = store.watch().fuse();
    let tell = async |news| out.send(news).await.is_ok();
    let pass = async || {
        let give = async |given| {
            let news = match given {
                Given::Begun => News::Loading,
                Given::Has(change) => News::Has(change),
            };
            // Where nobody wants it any more this task has ended.
            tell(news).await;
        };
        let loaded = load(&*store, give).await;
        tell(News::Loaded(loaded.given)).await;
        tokio::time::sleep(APART).await;
    };
    let mut is_due = false;
    let mut under_way = pin!(Fuse::terminated());
    loop {
        if under_way.is_terminated() && std::mem::take(&mut is_due) {
            under_way.set(pass().fuse());
        }
        tokio::select! {
            Some(heard) = heard.next() => match heard {
                Heard::Gap => is_due = true,
                Heard::Changed(change) => if !tell(News::Changed(change)).await {
                    return;
                },
            },
            () = &mut under_way, if !under_way.is_terminated() => {}
            // Who has to be told of an end is told nothing more.
            else => return out.closed().await,
        }
    }
}
