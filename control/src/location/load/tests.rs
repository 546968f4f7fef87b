use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::stream::BoxStream;

use super::*;
use crate::location::record::tests::binding;
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
    fn page(&self, number: u32) -> Result<Vec<Record>, Unavailable> {
        if number == 1 && self.loads.load(Ordering::Relaxed) == 1 {
            return Err(Unavailable {
                store: "the script".to_owned(),
                reason: "it is gone".to_owned(),
            });
        }
        self.pages.fetch_add(1, Ordering::Relaxed);
        let mut ended = binding(&format!("sip:{number}.ended@b"));
        ended.expires_ms = now_ms();
        Ok(vec![binding(&format!("sip:{number}@b")), ended])
    }
}

impl Store for Leaving {
    fn write(&self, _: Batch) -> BoxFuture<'_, Result<Written, Unavailable>> {
        async { Ok(Written::default()) }.boxed()
    }

    fn load(&self) -> BoxStream<'_, Result<Vec<Record>, Unavailable>> {
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
    let loaded = load(&store, |record| {
        given.push(record.contact);
        std::future::ready(())
    })
    .await;
    let expected = Loaded {
        given: 3,
        ended: 3,
        failures: 1,
    };
    assert_eq!(loaded, expected);
    assert_eq!(given, [&b"sip:0@b"[..], b"sip:0@b", b"sip:1@b", b"sip:2@b"]);
}

#[tokio::test]
async fn a_receiver_without_room_holds_the_store_up() {
    let store = Leaving::default();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let mut loading = std::pin::pin!(load(&store, async |record| {
        sender.send(record).await.unwrap();
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
