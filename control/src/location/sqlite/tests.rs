use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::location::Removal;
use crate::location::record::tests::binding;
use crate::location::record::tests::removal;

mod killed;
mod storm;

fn room() -> (TempDir, PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join(FILE);
    (room, path)
}

fn open(path: &Path) -> Sqlite {
    Opened::open(path).unwrap().serve().unwrap()
}

fn batch(changes: impl IntoIterator<Item = Change>) -> Batch {
    changes.into_iter().map(Arc::new).collect()
}

async fn write(store: &Sqlite, changes: impl IntoIterator<Item = Change>) {
    let written = store.write(batch(changes)).await.unwrap();
    assert_eq!(written, Written::default());
}

async fn all(store: &Sqlite) -> Vec<Record> {
    let pages: Vec<_> = store.load().collect().await;
    let changes = pages.into_iter().flat_map(Result::unwrap);
    changes.filter_map(Change::put).collect()
}

#[tokio::test]
async fn bindings_come_back_as_they_were_after_a_restart() {
    let (_room, path) = room();
    let plain = binding("sip:alice@192.0.2.1:5062;ob");
    let flow = Record {
        user: vec![0xff, 0, b'"'],
        key: Key::of(b"", Some(b"<urn:uuid:1>"), NonZeroU32::new(7)),
        path: Vec::new(),
        parameters: Vec::new(),
        reg_id: NonZeroU32::new(u32::MAX),
        call_id: 0,
        transaction: u64::MAX,
        q: 0,
        cseq: u32::MAX,
        received: "192.0.2.1:65535".parse().unwrap(),
        ..binding("sip:alice@192.0.2.9")
    };
    let store = open(&path);
    write(
        &store,
        [Change::Put(plain.clone()), Change::Put(flow.clone())],
    )
    .await;
    drop(store);
    let store = open(&path);
    assert_eq!(all(&store).await, [plain.clone(), flow.clone()]);
    let found = store.find("example.net", &flow.user).await.unwrap();
    assert_eq!(found, [flow]);
    assert_eq!(store.find("example.net", b"nobody").await.unwrap(), []);
    assert_eq!(store.find("example.org", b"alice").await.unwrap(), []);
    let heard: Vec<_> = store.watch().collect().await;
    assert_eq!(heard, [Heard::Gap], "it is loaded once: nobody else writes");
}

#[tokio::test]
async fn a_refresh_replaces_and_a_removal_removes_one_binding() {
    let (_room, path) = room();
    let store = open(&path);
    let first = binding("sip:alice@192.0.2.1");
    let other = binding("sip:alice@192.0.2.2");
    write(
        &store,
        [Change::Put(first.clone()), Change::Put(other.clone())],
    )
    .await;
    let refreshed = Record {
        parameters: Vec::new(),
        path: b"<sip:other.example.net;lr>".to_vec(),
        received: "192.0.2.200:5099".parse().unwrap(),
        listen: "core".to_owned(),
        expires_ms: first.expires_ms + 9,
        q: 1,
        cseq: 2,
        call_id: 2,
        transaction: 3,
        granted_ms: first.granted_ms + 9,
        ..first.clone()
    };
    write(&store, [Change::Put(refreshed.clone())]).await;
    assert_eq!(all(&store).await, [refreshed.clone(), other.clone()]);
    write(&store, [Change::Remove(removal(&other))]).await;
    assert_eq!(all(&store).await, [refreshed]);
}

#[tokio::test]
async fn a_removal_of_every_binding_leaves_what_was_registered_later() {
    let (_room, path) = room();
    let store = open(&path);
    let of = |contact: &str, cseq, call_id, later: u64| {
        let record = binding(contact);
        Record {
            cseq,
            call_id,
            granted_ms: 1_000_000 + later,
            ..record
        }
    };
    let bob = Record {
        user: b"bob".to_vec(),
        ..of("sip:a@b", 1, 7, 0)
    };
    let put = [
        of("sip:a@b", 1, 7, 0),
        of("sip:c@b", 5, 8, 900),
        of("sip:d@b", 9, 7, 0),
        of("sip:e@b", 1, 8, 1_000),
        bob.clone(),
    ];
    write(&store, put.clone().map(Change::Put)).await;
    let every = Removal {
        key: Key::of(b"*", None, None),
        cseq: 8,
        call_id: 7,
        granted_ms: 1_001_000,
        ..removal(&put[0])
    };
    write(&store, [Change::Remove(every)]).await;
    let [_, _, later, other, _] = put;
    assert_eq!(all(&store).await, [later, other, bob]);
}

#[tokio::test]
async fn a_device_that_moves_keeps_its_flow() {
    let (_room, path) = room();
    let store = open(&path);
    let flow = |contact: &str| Record {
        key: Key::of(b"", Some(b"<urn:uuid:1>"), NonZeroU32::new(1)),
        reg_id: NonZeroU32::new(1),
        ..binding(contact)
    };
    write(&store, [Change::Put(flow("sip:alice@192.0.2.1"))]).await;
    let moved = flow("sip:alice@198.51.100.1");
    write(&store, [Change::Put(moved.clone())]).await;
    assert_eq!(all(&store).await, [moved]);
}

#[tokio::test]
async fn what_has_ended_is_not_given_and_goes_as_others_come() {
    let (_room, path) = room();
    let store = open(&path);
    let soon = now_ms() + 500;
    let short = |number| {
        let mut record = binding(&format!("sip:{number}@192.0.2.1"));
        record.expires_ms = soon;
        Change::Put(record)
    };
    write(&store, (0..1000).map(short)).await;
    while now_ms() <= soon {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(all(&store).await, []);
    assert_eq!(store.find("example.net", b"alice").await.unwrap(), []);
    let rows = async || {
        let count = |database: &mut Database| {
            let sql = "SELECT count(*) FROM bindings";
            database
                .connection
                .query_row(sql, [], |row| row.get::<_, i64>(0))
        };
        store.thread.ask(count).await.unwrap()
    };
    assert_eq!(rows().await, 1000);
    // Each looks at 256 rows at least: all have been seen after so many.
    for number in 0..6 {
        let living = binding(&format!("sip:{number}@198.51.100.1"));
        write(&store, [Change::Put(living)]).await;
    }
    assert_eq!(rows().await, 6);
    assert_eq!(all(&store).await.len(), 6);
}

#[tokio::test]
async fn a_load_goes_on_page_by_page_while_others_write() {
    let (_room, path) = room();
    let store = open(&path);
    let many = 3 * PAGE + 1;
    let puts = (0..many).map(|number| Change::Put(binding(&format!("sip:{number}@192.0.2.1"))));
    write(&store, puts).await;
    let mut pages = store.load();
    let mut loaded = 0;
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.len() <= PAGE as usize);
        loaded += page.len();
        let late = binding(&format!("sip:late{loaded}@192.0.2.1"));
        tokio::time::timeout(PATIENCE, write(&store, [Change::Put(late)]))
            .await
            .unwrap();
        if loaded >= many as usize {
            return;
        }
    }
    panic!("{loaded} of {many}");
}

#[tokio::test]
async fn who_holds_the_file_delays_a_batch_and_does_not_break_it() {
    let (_room, path) = room();
    let store = open(&path);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let changes = batch([Change::Put(binding("sip:alice@192.0.2.1"))]);
    let error = store.write(changes.clone()).await.unwrap_err();
    assert_eq!(error.store, path.display().to_string());
    assert!(error.reason.contains("locked"), "{error}");
    assert_eq!(all(&store).await, [], "it can be read meanwhile");
    other.execute_batch("ROLLBACK").unwrap();
    store.write(changes).await.unwrap();
    assert_eq!(all(&store).await.len(), 1);
}

#[tokio::test]
async fn a_disk_that_is_full_keeps_what_it_has_and_takes_the_rest_later() {
    let (_room, path) = room();
    let store = open(&path);
    let puts = |count: u32| {
        let binding = |number| Change::Put(binding(&format!("sip:{number}@192.0.2.1")));
        (0..count).map(binding)
    };
    write(&store, puts(10)).await;
    let may_have = async |pages: u32| {
        let limit = move |database: &mut Database| {
            let connection = &database.connection;
            connection.pragma_update(None, "max_page_count", pages)
        };
        store.thread.ask(limit).await.unwrap();
    };
    may_have(1).await;
    let error = store.write(batch(puts(5000))).await.unwrap_err();
    assert!(error.reason.contains("full"), "{error}");
    assert_eq!(all(&store).await.len(), 10, "nothing by halves");
    may_have(1 << 30).await;
    write(&store, puts(5000)).await;
    assert_eq!(all(&store).await.len(), 5000);
}

#[tokio::test]
async fn what_somebody_wrote_by_hand_does_no_harm() {
    let (_room, path) = room();
    let store = open(&path);
    let names = ["a", "b", "c", "d", "e"];
    let puts = names.map(|name| Change::Put(binding(&format!("sip:{name}@b"))));
    write(&store, puts).await;
    let other = Connection::open(&path).unwrap();
    for (set, id) in [
        ("received = 'here'", 1),
        ("cseq = -1", 2),
        ("reg_id = 4294967296", 3),
        ("q = 65535", 4),
        ("granted_ms = -1", 5),
    ] {
        let sql = format!("UPDATE bindings SET {set} WHERE id = {id}");
        assert_eq!(other.execute(&sql, []).unwrap(), 1);
    }
    let left = all(&store).await;
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0].contact[..], left[0].q), (&b"sip:d@b"[..], 1000));
}

#[test]
fn nobody_else_can_read_the_file_and_a_commit_is_synced() {
    let (_room, path) = room();
    let mut database = Database::open(&path).unwrap();
    database
        .write(&batch([Change::Put(binding("sip:alice@192.0.2.1"))]), 0)
        .unwrap();
    for beside in ["", "-wal", "-shm"] {
        let file = format!("{}{beside}", path.display());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{file}");
    }
    let asked = |pragma: &str| -> String {
        let connection = &database.connection;
        let value: rusqlite::types::Value = connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .unwrap();
        format!("{value:?}")
    };
    assert_eq!(asked("journal_mode"), "Text(\"wal\")");
    // 2: the log is synced with each commit, not only when it is copied into the file.
    assert_eq!(asked("synchronous"), "Integer(2)");
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_stays() {
    let (room, path) = room();
    let refusal = || Opened::open(&path).unwrap_err().to_string();
    fs::write(
        &path,
        "not a database, but long enough to be taken for one".repeat(20),
    )
    .unwrap();
    let said = refusal();
    assert!(
        said.contains("cannot be used") && said.contains("move it away"),
        "{said}"
    );
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .starts_with("not a database")
    );
    fs::remove_file(&path).unwrap();
    drop(open(&path));
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 2).unwrap();
    drop(other);
    assert!(refusal().contains("has version 2, and this daemon knows 1"));
    let nowhere = room.path().join("nowhere").join(FILE);
    let said = Opened::open(&nowhere).unwrap_err().to_string();
    assert!(
        said.contains("cannot open") && said.contains("`state`"),
        "{said}"
    );
}

/// After a night without power: none is given, each page is short work, and the file is rid of them by and by.
#[tokio::test]
async fn a_file_of_bindings_that_have_ended_holds_nobody_up() {
    let (_room, path) = room();
    let store = open(&path);
    let ended = |number: u32| Record {
        granted_ms: 1,
        expires_ms: 2,
        ..binding(&format!("sip:{number}@192.0.2.1"))
    };
    let many = 10 * PAGE;
    let lives = binding("sip:lives@192.0.2.1");
    // They have ended by the clock of those who read, not by that of who writes.
    let all_of = (0..many).map(|number| Change::Put(ended(number)));
    let written = batch(all_of.chain([Change::Put(lives.clone())]));
    let write_then = move |database: &mut Database| database.write(&written, 1);
    store.thread.ask(write_then).await.unwrap();
    let pages: Vec<_> = store.load().map(Result::unwrap).collect().await;
    assert_eq!(pages.len(), 11, "a page is so many rows, whatever they are");
    assert_eq!(pages.concat(), [Change::Put(lives.clone())]);
    for cseq in 0..14 {
        let refreshed = Record {
            cseq,
            ..lives.clone()
        };
        write(&store, [Change::Put(refreshed)]).await;
    }
    let count = |database: &mut Database| {
        let sql = "SELECT count(*) FROM bindings";
        let connection = &database.connection;
        connection.query_row(sql, [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(store.thread.ask(count).await.unwrap(), 1);
}

/// Weeks of refreshes: neither the file nor its log grows.
#[tokio::test]
async fn refreshes_without_end_take_no_more_room() {
    let (_room, path) = room();
    let store = open(&path);
    let round = |cseq: u32| {
        (0..500).map(move |number| {
            let record = binding(&format!("sip:{number}@192.0.2.1"));
            Change::Put(Record { cseq, ..record })
        })
    };
    let len_of = |beside: &str| {
        let file = format!("{}{beside}", path.display());
        fs::metadata(file).unwrap().len()
    };
    let mut logged = 0;
    for cseq in 0..100 {
        write(&store, round(cseq)).await;
        // Every other device goes and comes again.
        let removed = round(cseq).step_by(2).filter_map(Change::put);
        write(
            &store,
            removed.map(|record| Change::Remove(removal(&record))),
        )
        .await;
        logged = logged.max(len_of("-wal"));
    }
    assert!((100_000..8 << 20).contains(&logged), "{logged}");
    // Some 300 bytes a binding.
    assert!((100_000..400_000).contains(&len_of("")), "{}", len_of(""));
}

/// What the disk has spoilt is said, with what to do, and what can be read is given.
#[tokio::test]
async fn a_page_that_is_damaged_is_said_and_those_before_it_are_given() {
    let (_room, path) = room();
    let store = open(&path);
    let puts = (0..5000).map(|number| Change::Put(binding(&format!("sip:{number}@192.0.2.1"))));
    write(&store, puts).await;
    let move_into_file = |database: &mut Database| {
        let connection = &database.connection;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    };
    store.thread.ask(move_into_file).await.unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    // From the middle on, but for the end.
    let (from, to) = (bytes.len() / 2, bytes.len() - 65_536);
    bytes[from..to].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let store = open(&path);
    let pages: Vec<_> = store.load().collect().await;
    let given: usize = pages.iter().flatten().map(Vec::len).sum();
    assert!((500..4500).contains(&given), "{given}");
    let error = pages.into_iter().find_map(Result::err).unwrap().to_string();
    assert!(
        error.contains(&path.display().to_string()) && error.contains("move it away with its -wal"),
        "{error}"
    );
}
