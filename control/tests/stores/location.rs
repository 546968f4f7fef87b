//! The location store that several boxes share, in Redis.

mod boxes;
mod full;
mod gone;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use trunkline_control::location::Change;
use trunkline_control::location::Heard;
use trunkline_control::location::Key;
use trunkline_control::location::Record;
use trunkline_control::location::Removal;
use trunkline_control::location::Store as _;
use trunkline_control::location::Unavailable;
use trunkline_control::location::WriteBehind;
use trunkline_control::location::record::now_ms;
use trunkline_control::location::redis::Options;
use trunkline_control::location::redis::REMOVALS_MAX;
use trunkline_control::location::redis::Redis;
use trunkline_control::location::redis::SLACK;
use trunkline_control::location::store::Batch;
use trunkline_control::location::write_behind;

use crate::AT_LAST;
use crate::servers;

const REMEMBER: Duration = Duration::from_secs(7200);

/// A box's store on this server.
fn store(server: &servers::Redis) -> Redis {
    open(server, false)
}

fn open(server: &servers::Redis, is_cluster: bool) -> Redis {
    let options = Options {
        servers: vec![server.url()],
        is_cluster,
        prefix: "location".to_owned(),
        remember: REMEMBER,
    };
    Redis::new(&options).unwrap()
}

/// When it all began.
static BEGIN: LazyLock<u64> = LazyLock::new(now_ms);

/// A binding of alice for an hour, made then by the first REGISTER of its Call-ID.
fn binding(contact: &str) -> Record {
    Record {
        domain: "example.net".to_owned(),
        user: b"alice".to_vec(),
        key: Key::of(contact.as_bytes(), None, None),
        contact: contact.as_bytes().to_vec(),
        parameters: b";methods=\"INVITE\"".to_vec(),
        path: b"<sip:edge.example.net;lr>".to_vec(),
        received: "[2001:db8::7]:5066".parse().unwrap(),
        listen: "access".to_owned(),
        expires_ms: *BEGIN + 3_600_000,
        q: 700,
        cseq: 1,
        call_id: u64::MAX - 1,
        transaction: 1 << 63,
        reg_id: None,
        granted_ms: *BEGIN,
    }
}

/// The end of it, by the next REGISTER of its Call-ID.
fn removal(of: &Record) -> Removal {
    Removal {
        domain: of.domain.clone(),
        user: of.user.clone(),
        key: of.key.clone(),
        cseq: of.cseq + 1,
        call_id: of.call_id,
        granted_ms: of.granted_ms + 1,
    }
}

fn ms(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap()
}

/// How many ms alice's key has to live.
fn ttl(server: &servers::Redis) -> u64 {
    server.run(&["PTTL", KEY]).trim().parse().unwrap()
}

/// The fields of alice's key.
fn fields(server: &servers::Redis) -> Vec<String> {
    let names = server.run(&["HKEYS", KEY]);
    names.lines().map(str::to_owned).collect()
}

fn batch(changes: impl IntoIterator<Item = Change>) -> Batch {
    changes.into_iter().map(Arc::new).collect()
}

/// What the server answers. On a busy machine it may be late, and after its restart the connections of before are
/// dead, which the first question finds out.
async fn answer<T>(ask: impl AsyncFn() -> Result<T, Unavailable>) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(began.elapsed() < AT_LAST, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Writes, and gives how many changes were stale.
async fn write(store: &Redis, changes: impl IntoIterator<Item = Change>) -> usize {
    let batch = batch(changes);
    let written = answer(async || store.write(batch.clone()).await).await;
    assert_eq!(written.refused, 0);
    written.stale
}

async fn alice(store: &Redis) -> Vec<Record> {
    answer(async || store.find("example.net", b"alice").await).await
}

/// All that is given, removals too.
async fn given(store: &Redis) -> Vec<Change> {
    let load = async || -> Result<Vec<_>, _> {
        let pages: Vec<_> = store.load().collect().await;
        pages.into_iter().collect()
    };
    let pages: Vec<Vec<Change>> = answer(load).await;
    pages.concat()
}

async fn all(store: &Redis) -> Vec<Record> {
    given(store)
        .await
        .into_iter()
        .filter_map(Change::put)
        .collect()
}

const CONTACT: &str = "sip:alice@192.0.2.1";
const KEY: &str = "location:{alice@example.net}";

/// The binding by its `cseq`th REGISTER, `later` ms after the beginning.
fn registered(cseq: u32, later: u64) -> Record {
    let record = binding(CONTACT);
    Record {
        cseq,
        granted_ms: record.granted_ms + later,
        ..record
    }
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn bindings_are_found_by_their_user_and_loaded_all() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    assert_eq!(alice(&store).await, []);
    let flow = Record {
        key: Key::of(b"", Some(b"<urn:uuid:1>"), NonZeroU32::new(1)),
        reg_id: NonZeroU32::new(1),
        ..binding("sip:alice@192.0.2.2")
    };
    let of_alice = [binding(CONTACT), flow];
    assert_eq!(write(&store, of_alice.clone().map(Change::Put)).await, 0);
    let others = (0..1000u32).map(|number| Record {
        // A name may look like a part of the key.
        user: format!("}}{{@{number}").into_bytes(),
        ..binding(CONTACT)
    });
    let others: Vec<_> = others.collect();
    assert_eq!(
        write(&store, others.iter().cloned().map(Change::Put)).await,
        0
    );
    let mut found = alice(&store).await;
    found.sort_by_key(|record| record.key.clone());
    let mut expected = of_alice.to_vec();
    expected.sort_by_key(|record| record.key.clone());
    assert_eq!(found, expected);
    let of = others[7].clone();
    assert_eq!(store.find(&of.domain, &of.user).await.unwrap(), [of]);
    let by_name = |records: Vec<Record>| -> BTreeMap<_, _> {
        let named = records
            .into_iter()
            .map(|record| ((record.user.clone(), record.key.clone()), record));
        named.collect()
    };
    let loaded = by_name(all(&store).await);
    assert_eq!(loaded, by_name([expected, others].concat()));
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn an_older_register_of_a_call_id_never_replaces_a_later_one() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    let fifth = registered(5, 0);
    assert_eq!(write(&store, [Change::Put(fifth.clone())]).await, 0);
    // Its box's clock is ahead.
    assert_eq!(write(&store, [Change::Put(registered(4, 60_000))]).await, 1);
    assert_eq!(
        write(&store, [Change::Remove(removal(&registered(3, 0)))]).await,
        1
    );
    assert_eq!(alice(&store).await, std::slice::from_ref(&fifth));
    // A batch that failed is written again.
    assert_eq!(write(&store, [Change::Put(fifth.clone())]).await, 0);
    assert_eq!(alice(&store).await, [fifth]);
    let sixth = Record {
        granted_ms: 1,
        ..registered(6, 0)
    };
    assert_eq!(write(&store, [Change::Put(sixth.clone())]).await, 0);
    assert_eq!(alice(&store).await, [sixth]);
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn between_call_ids_the_time_decides() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    let another = |cseq, later| Record {
        call_id: u64::MAX,
        ..registered(cseq, later)
    };
    assert_eq!(write(&store, [Change::Put(registered(900, 1000))]).await, 0);
    assert_eq!(write(&store, [Change::Put(another(901, 999))]).await, 1);
    assert_eq!(write(&store, [Change::Put(another(1, 1001))]).await, 0);
    assert_eq!(alice(&store).await, [another(1, 1001)]);
    assert_eq!(
        write(
            &store,
            [Change::Remove(removal(&registered(950, 1000 - 1)))]
        )
        .await,
        1
    );
    assert_eq!(
        write(&store, [Change::Remove(removal(&registered(950, 1001)))]).await,
        0
    );
    assert_eq!(alice(&store).await, []);
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_removal_is_not_undone_by_what_was_before_it() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    // The removal comes first: the other box was cut off.
    assert_eq!(
        write(&store, [Change::Remove(removal(&registered(5, 10)))]).await,
        0
    );
    for before in [5, 6] {
        let put = Change::Put(registered(before, 10));
        assert_eq!(write(&store, [put]).await, 1, "{before}");
    }
    let other_call = Record {
        call_id: u64::MAX,
        ..registered(9, 10)
    };
    assert_eq!(write(&store, [Change::Put(other_call)]).await, 1);
    assert_eq!(alice(&store).await, []);
    assert_eq!(all(&store).await, []);
    // It is remembered as long as a binding can live, and no longer.
    let left = ttl(&server);
    let most = ms(REMEMBER + SLACK) + 100;
    assert!((ms(REMEMBER)..most).contains(&left), "{left}");
    // The device begins anew, also its CSeq.
    let anew = registered(1, 5000);
    assert_eq!(write(&store, [Change::Put(anew.clone())]).await, 0);
    assert_eq!(alice(&store).await, [anew]);
}

/// Who ends all contacts need not know which there are.
#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_removal_of_every_binding_ends_those_that_were_before_it_and_no_other() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    let of = |contact: &str, cseq, later: u64, call_id| Record {
        call_id,
        key: Key::of(contact.as_bytes(), None, None),
        contact: contact.as_bytes().to_vec(),
        ..registered(cseq, later)
    };
    let before = [of("sip:a@b", 1, 0, 7), of("sip:c@b", 5, 900, 8)];
    let after = [of("sip:d@b", 9, 0, 7), of("sip:e@b", 1, 1_100, 8)];
    let bob = Record {
        user: b"bob".to_vec(),
        ..before[0].clone()
    };
    let all_of_them = before.iter().chain(&after).chain([&bob]);
    write(&store, all_of_them.cloned().map(Change::Put)).await;
    let every = Removal {
        key: Key::of(b"*", None, None),
        call_id: 7,
        granted_ms: *BEGIN + 1_000,
        ..removal(&registered(7, 0))
    };
    let mut heard = open(&server, false).watch();
    assert_eq!(heard.next().await, Some(Heard::Gap));
    assert_eq!(write(&store, [Change::Remove(every.clone())]).await, 0);
    assert_eq!(
        heard.next().await,
        Some(Heard::Changed(Box::new(Change::Remove(every.clone()))))
    );
    let mut left = alice(&store).await;
    left.sort_by_key(|record| record.key.clone());
    assert_eq!(left, after);
    assert_eq!(
        store.find("example.net", b"bob").await.unwrap(),
        std::slice::from_ref(&bob)
    );
    // A box that was cut off writes what was before it, and finds the removal among all that there is.
    assert_eq!(write(&store, before.map(Change::Put)).await, 2);
    let changes = given(&store).await;
    assert!(changes.contains(&Change::Remove(every)), "{changes:?}");
    // The device begins anew.
    let anew = of("sip:a@b", 1, 5_000, 9);
    assert_eq!(write(&store, [Change::Put(anew.clone())]).await, 0);
    assert!(alice(&store).await.contains(&anew));
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn the_key_lives_as_long_as_the_longest_binding_and_fields_go_when_they_have_ended() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    let for_ms = |contact: &str, time: u64| {
        let record = binding(contact);
        Change::Put(Record {
            expires_ms: record.granted_ms + time,
            ..record
        })
    };
    write(&store, [for_ms("sip:long@b", 600_000)]).await;
    write(&store, [for_ms("sip:short@b", 1)]).await;
    let left = ttl(&server);
    let slack = ms(SLACK);
    assert!((600_000..=600_000 + slack).contains(&left), "{left}");
    tokio::time::sleep(Duration::from_millis(5)).await;
    let found = alice(&store).await;
    assert_eq!(found.len(), 1, "what has ended is not given");
    // One that ended before the slack goes with the next write; one within it stays.
    let mut old = binding("sip:old@b");
    old.expires_ms = now_ms() - slack - 1;
    write(&store, [Change::Put(old)]).await;
    assert_eq!(fields(&server).len(), 2);
    // Shorter than before: the longest that is left decides.
    let Change::Put(shorter) = for_ms("sip:long@b", 10_000) else {
        panic!("a binding");
    };
    let refreshed = Record { cseq: 2, ..shorter };
    write(&store, [Change::Put(refreshed)]).await;
    let left = ttl(&server);
    assert!((10_000..=10_000 + slack).contains(&left), "{left}");
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn one_who_ends_bindings_without_pause_does_not_fill_the_memory() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    for number in 0..100 {
        let mut record = binding(&format!("sip:{number}@b"));
        record.granted_ms += number;
        write(&store, [Change::Remove(removal(&record))]).await;
    }
    let fields = fields(&server);
    assert_eq!(fields.len(), REMOVALS_MAX);
    assert!(fields.contains(&"sip:99@b".to_owned()), "{fields:?}");
    assert!(!fields.contains(&"sip:10@b".to_owned()), "{fields:?}");
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn what_is_not_ours_harms_nobody_else() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    let bob = Record {
        user: b"bob".to_vec(),
        ..binding(CONTACT)
    };
    server.run(&["SET", KEY, "a string"]);
    let both = batch([binding(CONTACT), bob.clone()].map(Change::Put));
    let written = store.write(both).await.unwrap();
    assert_eq!((written.stale, written.refused), (0, 1));
    assert_eq!(all(&store).await, [bob]);
    server.run(&["DEL", KEY]);
    for damaged in [
        "",
        "P",
        "not ours at all, and longer than the front of a value",
    ] {
        server.run(&["HSET", KEY, CONTACT, damaged, "x", damaged]);
        assert_eq!(alice(&store).await, []);
        assert_eq!(write(&store, [Change::Put(binding(CONTACT))]).await, 0);
        assert_eq!(alice(&store).await.len(), 1);
        assert_eq!(fields(&server).len(), 1, "{damaged}");
    }
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn scripts_that_a_server_has_forgotten_are_loaded_again() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    write(&store, [Change::Put(registered(1, 0))]).await;
    server.run(&["SCRIPT", "FLUSH"]);
    write(&store, [Change::Put(registered(2, 0))]).await;
    assert_eq!(alice(&store).await[0].cseq, 2);
}
