use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::stream::BoxStream;

use super::*;
use crate::location::record::Record;
use crate::location::record::tests::binding;
use crate::location::record::tests::removal;
use crate::location::store::Batch;
use crate::location::store::Heard;
use crate::location::store::Written;

/// A store that goes away after a page of its first load.
#[derive(Debug, Default)]
struct Leaving {
    loads: AtomicU32,
    pages: AtomicU32,
}

impl Leaving {
    fn page(&self, number: u32) -> Result<Vec<Change>, Unavailable> {
        if number == 1 && self.loads.load(Ordering::Relaxed) == 1 {
            return Err(Unavailable {
                store: "the script".to_owned(),
                reason: "it is gone".to_owned(),
            });
        }
        self.pages.fetch_add(1, Ordering::Relaxed);
        let mut ended = binding(&format!("sip:{number}.ended@b"));
        ended.expires_ms = now_ms();
        let lives = binding(&format!("sip:{number}@b"));
        let end = Change::Remove(removal(&lives));
        Ok(vec![Change::Put(lives), Change::Put(ended), end])
    }
}

impl Store for Leaving {
    fn write(&self, _: Batch) -> BoxFuture<'_, Result<Written, Unavailable>> {
        async { Ok(Written::default()) }.boxed()
    }

    fn load(&self) -> BoxStream<'_, Result<Vec<Change>, Unavailable>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        stream::iter(0..3).map(|number| self.page(number)).boxed()
    }

    fn find<'s>(
        &'s self,
        _: &'s str,
        _: &'s [u8],
    ) -> BoxFuture<'s, Result<Vec<Record>, Unavailable>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn watch(&self) -> BoxStream<'static, Heard> {
        stream::empty().boxed()
    }
}

#[tokio::test]
async fn all_that_lives_is_given_though_the_store_goes_away_meanwhile() {
    let store = Leaving::default();
    let mut given = Vec::new();
    let loaded = load(&store, |what| {
        given.push(match what {
            Given::Begun => "begun".to_owned(),
            Given::Has(change) => {
                let (is_put, key) = (matches!(*change, Change::Put(_)), change.key());
                let key = String::from_utf8_lossy(key.bytes());
                format!("{}{key}", if is_put { "" } else { "no " })
            }
        });
        std::future::ready(())
    })
    .await;
    let expected = Loaded {
        given: 3,
        ended: 3,
        failures: 1,
    };
    assert_eq!(loaded, expected);
    let page = |n| [format!("sip:{n}@b"), format!("no sip:{n}@b")];
    let begun = || vec!["begun".to_owned()];
    let all = [
        begun(),
        page(0).into(),
        begun(),
        page(0).into(),
        page(1).into(),
        page(2).into(),
    ];
    assert_eq!(given, all.concat());
}

#[tokio::test]
async fn a_receiver_without_room_holds_the_store_up() {
    let store = Leaving::default();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
    let mut loading = std::pin::pin!(load(&store, async |given| {
        if let Given::Has(change) = given {
            sender.send(change).await.unwrap();
        }
    }));
    let wait = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(wait, &mut loading).await.is_err());
    // The first page of each load: the second's binding waits for room.
    assert_eq!(store.pages.load(Ordering::Relaxed), 2);
    let drained = async { while receiver.recv().await.is_some() {} };
    tokio::select! {
        loaded = &mut loading => assert_eq!(loaded.given, 3),
        () = drained => panic!("the sender lives"),
    }
}
