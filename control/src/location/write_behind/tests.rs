use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::stream::BoxStream;
use proptest::prelude::*;

use super::*;
use crate::location::record::Record;
use crate::location::record::tests::binding;
use crate::location::record::tests::removal;
use crate::location::store::Heard;

/// The `cseq`th REGISTER of a contact.
fn change(contact: &str, cseq: u32) -> Change {
    Change::Put(Record {
        cseq,
        ..binding(contact)
    })
}

fn cseq(change: &Change) -> u32 {
    match change {
        Change::Put(record) => record.cseq,
        Change::Remove(removal) => removal.cseq,
    }
}

fn put(waiting: &mut Waiting, change: Change, now: Instant) {
    waiting.put(Arc::new(change), now);
}

fn cseqs(batch: &[(Number, Place)]) -> Vec<u32> {
    batch.iter().map(|(_, place)| cseq(&place.change)).collect()
}

#[test]
fn changes_of_one_binding_become_the_last_of_them_in_the_place_of_the_first() {
    let mut waiting = Waiting::new(10);
    let begin = Instant::now();
    for (contact, cseq) in [("sip:a@b", 1), ("sip:c@b", 2), ("sip:a@b", 3)] {
        put(&mut waiting, change(contact, cseq), begin);
    }
    let mut other = binding("sip:a@b");
    other.user = b"bob".to_vec();
    other.cseq = 4;
    put(&mut waiting, Change::Put(other), begin);
    let just_before = begin + LINGER - Duration::from_millis(1);
    assert!(waiting.take(just_before).is_none(), "others may come");
    let batch = waiting.take(begin + LINGER).unwrap();
    assert_eq!(cseqs(&batch), [3, 2, 4]);
    assert_eq!(waiting.figures.overtaken, 1);
    assert!(waiting.take(begin + LINGER * 9).is_none());
}

#[test]
fn a_full_batch_goes_at_once_and_the_rest_later() {
    let mut waiting = Waiting::new(BATCH * 2);
    let begin = Instant::now();
    for number in 0..BATCH + 1 {
        put(&mut waiting, change(&format!("sip:{number}@b"), 1), begin);
    }
    assert_eq!(waiting.take(begin).unwrap().len(), BATCH);
    waiting.written(Written::default());
    assert!(waiting.take(begin).is_none());
    waiting.stopping = true;
    assert_eq!(waiting.take(begin).unwrap().len(), 1, "no others will come");
}

#[test]
fn a_batch_that_failed_waits_as_before_but_for_what_came_meanwhile() {
    let mut waiting = Waiting::new(10);
    let begin = Instant::now();
    put(&mut waiting, change("sip:a@b", 1), begin);
    put(&mut waiting, change("sip:c@b", 2), begin + LINGER / 2);
    let batch = waiting.take(begin + LINGER).unwrap();
    assert_eq!(waiting.oldest(), Some(begin), "it is not written yet");
    let record = binding("sip:a@b");
    put(
        &mut waiting,
        Change::Remove(removal(&Record { cseq: 8, ..record })),
        begin + LINGER,
    );
    waiting.put_back(batch);
    assert_eq!(waiting.oldest(), Some(begin));
    let batch = waiting.take(begin + LINGER).unwrap();
    assert_eq!(cseqs(&batch), [9, 2]);
    assert!(matches!(*batch[0].1.change, Change::Remove(_)));
    assert!(waiting.queue.is_empty() && waiting.places.is_empty());
}

#[test]
fn a_users_removals_are_found_among_those_of_others() {
    let mut waiting = Waiting::new(100);
    let now = Instant::now();
    for (user, domain) in [
        ("alice", "example.net"),
        ("alice", "example.ne"),
        ("alic", "example.net"),
        ("alicf", "example.net"),
        ("alice", "example.neu"),
    ] {
        for contact in ["", "sip:a@b", "sip:c@b"] {
            let mut end = removal(&binding(contact));
            end.user = user.as_bytes().to_vec();
            end.domain = domain.to_owned();
            put(&mut waiting, Change::Remove(end), now);
        }
        put(&mut waiting, change("sip:still@b", 1), now);
    }
    let ends: Vec<_> = waiting.removals_of("example.net", b"alice").collect();
    assert_eq!(ends.len(), 3);
    let is_hers = |end: &&Removal| end.user == b"alice" && end.domain == "example.net";
    assert!(ends.iter().all(is_hers));
    assert_eq!(waiting.removals_of("example.org", b"alice").count(), 0);
}

#[test]
fn what_finds_no_room_is_counted_and_what_waits_goes_on() {
    let mut waiting = Waiting::new(2);
    let begin = Instant::now();
    for (contact, cseq) in [
        ("sip:a@b", 1),
        ("sip:c@b", 2),
        ("sip:d@b", 3),
        ("sip:a@b", 4),
    ] {
        put(&mut waiting, change(contact, cseq), begin);
    }
    assert_eq!((waiting.figures.lost, waiting.figures.overtaken), (1, 1));
    let batch = waiting.take(begin + LINGER).unwrap();
    assert_eq!(cseqs(&batch), [4, 2]);
    put(&mut waiting, change("sip:d@b", 5), begin);
    assert_eq!(
        waiting.figures.lost, 2,
        "what is being written may come back"
    );
    waiting.written(Written::default());
    put(&mut waiting, change("sip:d@b", 6), begin);
    assert_eq!(waiting.figures.lost, 2);
}

/// What may happen to the queue.
#[derive(Clone, Debug)]
enum Event {
    Put(u8),
    Take,
    Written,
    Failed,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..6u8).prop_map(Event::Put),
        2 => Just(Event::Take),
        1 => Just(Event::Written),
        1 => Just(Event::Failed),
    ];
    proptest::collection::vec(event, 0..200)
}

proptest! {
    #[test]
    fn the_store_ends_up_with_the_last_change_of_each_binding(events in events()) {
        let mut waiting = Waiting::new(100);
        let mut store: BTreeMap<Key, u32> = BTreeMap::new();
        let mut last: BTreeMap<Key, u32> = BTreeMap::new();
        let mut under_way = None;
        let mut now = Instant::now();
        let end = [Event::Written, Event::Take, Event::Written];
        let mut puts = 0;
        for event in events.into_iter().chain(end) {
            now += LINGER;
            match event {
                Event::Put(contact) => {
                    puts += 1;
                    let mut change = change(&format!("sip:{contact}@b"), puts);
                    if puts % 3 == 0 && let Change::Put(record) = &change {
                        change = Change::Remove(Removal { cseq: puts, ..removal(record) });
                    }
                    last.insert(change.key().clone(), puts);
                    put(&mut waiting, change, now);
                }
                Event::Take => if under_way.is_none() {
                    under_way = waiting.take(now);
                },
                Event::Written => if let Some(batch) = under_way.take() {
                    for (_, place) in &batch {
                        let cseq = cseq(&place.change);
                        let before = store.insert(place.change.key().clone(), cseq);
                        prop_assert!(before.is_none_or(|before| before < cseq));
                    }
                    waiting.written(Written::default());
                },
                Event::Failed => if let Some(batch) = under_way.take() {
                    waiting.put_back(batch);
                },
            }
            prop_assert_eq!(waiting.queue.len(), waiting.places.len());
            let removals = waiting.all().filter_map(Change::removal);
            prop_assert_eq!(waiting.removals, removals.count());
            // Wherever it stands, an end that the store does not know is known here.
            let ends: Vec<_> = waiting.removals_of("example.net", b"alice").collect();
            prop_assert_eq!(waiting.removals, ends.len());
            for (key, cseq) in last.iter().filter(|(_, cseq)| *cseq % 3 == 0) {
                let is_waiting = ends.iter().any(|end| end.key == *key && end.cseq == *cseq);
                prop_assert_eq!(is_waiting, store.get(key) != Some(cseq));
            }
        }
        prop_assert_eq!(store, last);
        prop_assert!(waiting.oldest().is_none());
        let figures = &waiting.figures;
        prop_assert_eq!(figures.written + figures.overtaken, u64::from(puts));
    }
}

/// A store that is there or not, as the test says.
#[derive(Debug, Default)]
struct Scripted {
    is_gone: AtomicBool,
    checks: AtomicUsize,
    bindings: Mutex<BTreeMap<Key, u32>>,
}

impl Scripted {
    fn gone(gone: bool) -> Arc<Scripted> {
        let store = Scripted::default();
        store.is_gone.store(gone, Ordering::Relaxed);
        Arc::new(store)
    }
}

impl Store for Scripted {
    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<Written, Unavailable>> {
        async move {
            if self.is_gone.load(Ordering::Relaxed) {
                return Err(Unavailable {
                    store: "the script".to_owned(),
                    reason: "it is gone".to_owned(),
                });
            }
            let mut bindings = self.bindings.lock().unwrap();
            bindings.extend(
                batch
                    .iter()
                    .map(|change| (change.key().clone(), cseq(change))),
            );
            Ok(Written {
                stale: 1,
                refused: 1,
            })
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        self.write(Batch::new())
            .map(|taken| taken.map(drop))
            .boxed()
    }

    fn load(&self) -> BoxStream<'_, Result<Vec<Change>, Unavailable>> {
        stream::empty().boxed()
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

/// Waits until it is so, for 10 s at most.
async fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "it does not come to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const OPTIONS: Options = Options { waiting_max: 1000 };

#[tokio::test]
async fn a_change_is_written_soon_after_it_came() {
    let store = Scripted::gone(false);
    let write_behind = WriteBehind::start(Arc::clone(&store) as Arc<dyn Store>, OPTIONS);
    for round in 1..=2 {
        for number in 0..3 {
            write_behind.put(change(&format!("sip:{number}@b"), round));
        }
        assert_eq!(write_behind.figures().waiting, 3);
        until(|| write_behind.figures().waiting == 0).await;
        let written: Vec<_> = store.bindings.lock().unwrap().values().copied().collect();
        assert_eq!(written, [round; 3]);
        let expected = Figures {
            written: u64::from(round),
            stale: u64::from(round),
            refused: u64::from(round),
            ..Figures::default()
        };
        assert_eq!(write_behind.figures(), expected);
    }
}

#[tokio::test]
async fn while_the_store_is_gone_all_waits_and_then_is_written() {
    let store = Scripted::gone(true);
    let write_behind = WriteBehind::start(Arc::clone(&store) as Arc<dyn Store>, OPTIONS);
    for number in 0..500 {
        write_behind.put(change(&format!("sip:{number}@b"), 1));
    }
    until(|| write_behind.figures().failures > 1).await;
    write_behind.put(change("sip:0@b", 2));
    let figures = write_behind.figures();
    assert_eq!(figures.waiting, 500);
    assert!(figures.oldest >= LINGER, "{figures:?}");
    let gone = figures.gone.unwrap();
    assert_eq!(gone, "the script gives no answer: it is gone");
    store.is_gone.store(false, Ordering::Relaxed);
    let figures = write_behind.stop(Duration::from_secs(10)).await;
    assert_eq!((figures.waiting, figures.gone), (0, None));
    let bindings = store.bindings.lock().unwrap();
    assert_eq!(bindings.len(), 500);
    assert_eq!(bindings[change("sip:0@b", 1).key()], 2);
}

#[tokio::test]
async fn an_end_writes_what_waits_and_waits_no_longer_than_it_may() {
    let store = Scripted::gone(false);
    let write_behind = WriteBehind::start(Arc::clone(&store) as Arc<dyn Store>, OPTIONS);
    write_behind.put(change("sip:a@b", 1));
    let figures = write_behind.stop(Duration::from_secs(10)).await;
    assert_eq!(figures.waiting, 0);
    assert_eq!(store.bindings.lock().unwrap().len(), 1);

    let write_behind = WriteBehind::start(Scripted::gone(true), OPTIONS);
    write_behind.put(change("sip:a@b", 1));
    let begin = Instant::now();
    let figures = write_behind.stop(Duration::from_millis(300)).await;
    assert_eq!(figures.waiting, 1, "and says what is lost");
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn that_a_store_takes_nothing_is_known_before_there_is_a_change() {
    let store = Scripted::gone(true);
    let write_behind = WriteBehind::start(Arc::clone(&store) as Arc<dyn Store>, OPTIONS);
    until(|| write_behind.figures().gone.is_some()).await;
    assert_eq!(write_behind.figures().failures, 0, "no batch was lost");
    store.is_gone.store(false, Ordering::Relaxed);
    until(|| write_behind.figures().gone.is_none()).await;
    let checks = store.checks.load(Ordering::Relaxed);
    write_behind.put(change("sip:a@b", 1));
    until(|| write_behind.figures().waiting == 0).await;
    assert_eq!(store.checks.load(Ordering::Relaxed), checks, "it is known");

    // And an end does not wait for one that there is not.
    let write_behind = WriteBehind::start(Scripted::gone(true), OPTIONS);
    until(|| write_behind.figures().gone.is_some()).await;
    let begin = Instant::now();
    write_behind.stop(Duration::from_secs(10)).await;
    assert!(begin.elapsed() < Duration::from_secs(2));
}
