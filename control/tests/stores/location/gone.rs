//! A store that hangs, dies, and comes back.

use super::*;

pub const OPTIONS: write_behind::Options = write_behind::Options {
    waiting_max: 10_000,
};

pub fn register(user: u32, cseq: u32) -> Change {
    Change::Put(Record {
        user: user.to_string().into_bytes(),
        cseq,
        ..binding(CONTACT)
    })
}

/// Waits until it is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + AT_LAST;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// By user, the CSeq that the store has.
async fn cseqs(server: &servers::Redis) -> BTreeMap<Vec<u8>, u32> {
    let records = all(&store(server)).await.into_iter();
    records.map(|record| (record.user, record.cseq)).collect()
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn what_came_while_the_server_hung_is_written_when_it_goes_on() {
    let server = servers::Redis::new(false);
    let write_behind = WriteBehind::start(Arc::new(store(&server)), OPTIONS);
    for user in 0..1000 {
        write_behind.put(register(user, 1));
    }
    until("the first are written", || {
        write_behind.figures().waiting == 0
    })
    .await;
    server.process().stop();
    for cseq in 2..4 {
        for user in 0..1500 {
            write_behind.put(register(user, cseq));
        }
        let failures = write_behind.figures().failures;
        until("it is noticed", || {
            write_behind.figures().failures > failures
        })
        .await;
    }
    let figures = write_behind.figures();
    assert_eq!(figures.waiting, 1500, "{figures:?}");
    assert!(figures.oldest > Duration::from_secs(1), "{figures:?}");
    let gone = figures.gone.unwrap();
    assert!(
        gone.contains(&format!("127.0.0.1:{}", server.port)),
        "{gone}"
    );
    server.process().go_on();
    until("all are written", || write_behind.figures().waiting == 0).await;
    let cseqs = cseqs(&server).await;
    assert_eq!(cseqs.len(), 1500);
    assert!(cseqs.values().all(|&cseq| cseq == 3));
    let figures = write_behind.figures();
    assert_eq!((figures.lost, figures.gone), (0, None));
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn what_came_while_the_server_was_dead_is_written_when_it_is_back() {
    let mut server = servers::Redis::new(false);
    let write_behind = WriteBehind::start(Arc::new(store(&server)), OPTIONS);
    for user in 0..1000 {
        write_behind.put(register(user, 1));
    }
    until("the first are written", || {
        write_behind.figures().waiting == 0
    })
    .await;
    server.end();
    for user in 500..2000 {
        write_behind.put(register(user, 2));
    }
    until("it is noticed", || write_behind.figures().gone.is_some()).await;
    assert_eq!(write_behind.figures().waiting, 1500);
    server.start();
    until("all are written", || write_behind.figures().waiting == 0).await;
    let cseqs = cseqs(&server).await;
    assert_eq!(cseqs.len(), 2000);
    let refreshed = cseqs.values().filter(|&&cseq| cseq == 2).count();
    assert_eq!(
        refreshed, 1500,
        "and what was acknowledged before the kill is there"
    );
}

/// Its memory is full, or its disk: it takes nothing, and whoever reads it finds who has gone.
#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_removal_that_the_server_does_not_take_is_known_meanwhile_and_written_then() {
    let server = servers::Redis::new(false);
    let (ours, others) = (Arc::new(store(&server)), store(&server));
    let record = registered(1, 0);
    write(&ours, [Change::Put(record.clone())]).await;
    server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let write_behind = WriteBehind::start(Arc::clone(&ours) as _, OPTIONS);
    assert!(!write_behind.has_ended(&record));
    write_behind.put(Change::Remove(removal(&record)));
    for failures in 0..3 {
        assert!(write_behind.has_ended(&record));
        assert_eq!(alice(&ours).await, std::slice::from_ref(&record));
        until("it is tried", || write_behind.figures().failures > failures).await;
    }
    server.run(&["CONFIG", "SET", "maxmemory", "0"]);
    until("it is written", || write_behind.figures().waiting == 0).await;
    assert!(!write_behind.has_ended(&record), "the store knows itself");
    assert_eq!(alice(&others).await, []);
    // Who has not heard of it does not bring it back.
    assert_eq!(write(&others, [Change::Put(record)]).await, 1);
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_write_that_was_held_up_does_not_undo_a_later_one() {
    let server = servers::Redis::new(false);
    let (ours, others) = (store(&server), store(&server));
    write(&ours, [register(1, 1)]).await;
    write(&others, [register(1, 1)]).await;
    // The server has read nothing of it when we give up; it does all of it later.
    server.process().stop();
    let held_up = ours.write(batch([register(1, 2)]));
    let overtaking = others.write(batch([register(1, 3)]));
    let (held_up, overtaking) = tokio::join!(held_up, overtaking);
    assert!(held_up.is_err() && overtaking.is_err());
    server.process().go_on();
    write(&others, [register(1, 3)]).await;
    assert_eq!(
        write(&ours, [register(1, 2)]).await,
        1,
        "its batch is tried again"
    );
    assert_eq!(cseqs(&server).await.into_values().collect::<Vec<_>>(), [3]);
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn nobody_waits_longer_for_a_server_that_others_have_waited_for() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    server.process().stop();
    let begin = Instant::now();
    let looks = (0..100).map(async |_| store.find("example.net", b"alice").await);
    let found = join_all(looks).await;
    assert!(found.iter().all(Result::is_err));
    // One after the other they would wait for a hundred seconds.
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    server.process().go_on();
    assert_eq!(alice(&store).await, []);
}
