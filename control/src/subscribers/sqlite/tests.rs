//! The store over real files.

use std::os::unix::fs::PermissionsExt as _;

use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::ha1::Ha1s;

use super::*;

fn entry(who: &str, password: &str) -> Entry {
    let who: Address = who.parse().unwrap();
    let ha1s = crate::subscribers::ha1s_of(&who, password);
    Entry { who, ha1s }
}

fn room() -> (tempfile::TempDir, PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("subscribers.db");
    (room, path)
}

fn store(path: &Path) -> Sqlite {
    Opened::open(path).unwrap().serve().unwrap()
}

async fn knows(store: &Sqlite, who: &str, password: &str) -> Option<bool> {
    let entry = entry(who, password);
    let found = store.find(&entry.who.domain, entry.who.user.as_bytes());
    match found.await.unwrap() {
        Known::Nobody => None,
        Known::Subscriber(ha1s) => Some(Algorithm::ALL.into_iter().all(|algorithm| {
            let (ours, its) = (entry.ha1s.get(algorithm), ha1s.get(algorithm));
            ours.unwrap().is(&its.unwrap())
        })),
    }
}

#[tokio::test]
async fn what_is_put_is_found_until_it_is_removed_and_after_a_restart() {
    let (_room, path) = room();
    let one = store(&path);
    assert_eq!(knows(&one, "bob@example.org", "secret").await, None);
    let both = vec![
        entry("bob@example.org", "secret"),
        entry("al@example.org", "x"),
    ];
    let written = one.put(both).await.unwrap();
    assert_eq!((written.added, written.changed), (2, 0));
    assert_eq!(knows(&one, "bob@example.org", "secret").await, Some(true));
    assert_eq!(knows(&one, "bob@example.org", "Secret").await, Some(false));
    // The same user of another domain, and of other letters, is somebody else.
    assert_eq!(knows(&one, "bob@example.com", "secret").await, None);
    assert_eq!(knows(&one, "Bob@example.org", "secret").await, None);
    let changed = one
        .put(vec![entry("bob@example.org", "new")])
        .await
        .unwrap();
    assert_eq!((changed.added, changed.changed), (0, 1));
    drop(one);
    let again = store(&path);
    assert_eq!(knows(&again, "bob@example.org", "new").await, Some(true));
    let bob: Address = "bob@example.org".parse().unwrap();
    assert!(again.remove(bob.clone()).await.unwrap());
    assert!(!again.remove(bob).await.unwrap());
    assert_eq!(knows(&again, "bob@example.org", "new").await, None);
    assert_eq!(knows(&again, "al@example.org", "x").await, Some(true));
}

#[tokio::test]
async fn a_subscriber_has_the_ha1s_that_it_was_given_and_no_others() {
    let (_room, path) = room();
    let store = store(&path);
    let mut entry = entry("bob@example.org", "secret");
    let md5 = entry.ha1s.get(Algorithm::Md5).unwrap();
    store.put(vec![entry.clone()]).await.unwrap();
    entry.ha1s = Ha1s::default();
    entry.ha1s.set(Algorithm::Md5, md5.bytes());
    store.put(vec![entry]).await.unwrap();
    let found = store.find("example.org", b"bob").await.unwrap();
    let Known::Subscriber(ha1s) = found else {
        panic!("he is there")
    };
    assert!(ha1s.get(Algorithm::Md5).unwrap().is(&md5));
    assert!(ha1s.get(Algorithm::Sha256).is_none() && ha1s.get(Algorithm::Sha512T256).is_none());
}

#[tokio::test]
async fn a_list_comes_in_pages_of_all_or_of_one_domain() {
    let (_room, path) = room();
    let store = store(&path);
    let names = ["b@b.org", "a@b.org", "z@a.org", "c@b.org", "a@c.org"];
    let all = names.map(|name| entry(name, "x")).to_vec();
    store.put(all).await.unwrap();
    let listed = async |domain: Option<&str>, limit| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let domain = domain.map(str::to_owned);
            let page = Page {
                domain,
                after: after.clone(),
                limit,
            };
            let page = store.list(page).await.unwrap();
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else {
                return names;
            };
            after = Some(last.who.clone());
            names.extend(page.iter().map(|entry| entry.who.to_string()));
        }
    };
    let sorted = ["z@a.org", "a@b.org", "b@b.org", "c@b.org", "a@c.org"];
    for limit in [1, 2, 5, 100] {
        assert_eq!(listed(None, limit).await, sorted);
        assert_eq!(listed(Some("b.org"), limit).await, sorted[1..4]);
        assert!(listed(Some("d.org"), limit).await.is_empty());
    }
}

#[tokio::test]
async fn names_that_may_be_anything_find_nobody_and_change_nothing() {
    let (_room, path) = room();
    let store = store(&path);
    store
        .put(vec![entry("bob@example.org", "x")])
        .await
        .unwrap();
    for user in [
        &b"\xff\xfe"[..],
        b"bob'; DROP TABLE subscribers; --",
        b"bo%",
        b"b\0b",
        b"",
    ] {
        let found = store.find("example.org", user).await.unwrap();
        assert!(matches!(found, Known::Nobody), "{user:?}");
    }
    assert_eq!(knows(&store, "bob@example.org", "x").await, Some(true));
}

#[test]
fn the_file_is_its_owners_alone_and_one_that_is_not_is_refused() {
    let (_room, path) = room();
    drop(Opened::open(&path).unwrap());
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    mode(0o640);
    drop(Opened::open(&path).unwrap());
    mode(0o644);
    let error = Opened::open(&path).unwrap_err();
    assert!(
        matches!(error, SqliteError::Permissions { mode: 0o644, .. }),
        "{error}"
    );
}

#[test]
fn a_file_that_was_just_made_is_locked_as_any_other() {
    let (_room, path) = room();
    let _opened = Opened::open(&path).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let ours = format!(" {} ", std::process::id());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let is_ours = |lock: &str| lock.contains(&ours) && lock.contains(&format!(":{inode} "));
    assert!(locks.lines().any(is_ours), "{inode}: {locks}");
}

#[test]
fn files_that_are_not_ours_are_refused_by_name() {
    let (room, path) = room();
    fs::write(&path, "x".repeat(4096)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let error = Opened::open(&path).unwrap_err();
    assert!(matches!(error, SqliteError::Sqlite { .. }), "{error}");
    assert!(error.to_string().contains("subscribers.db"), "{error}");

    let later = room.path().join("later.db");
    drop(Opened::open(&later).unwrap());
    let connection = rusqlite::Connection::open(&later).unwrap();
    connection.pragma_update(None, "user_version", 7).unwrap();
    drop(connection);
    let error = Opened::open(&later).unwrap_err();
    assert!(
        matches!(error, SqliteError::Version { version: 7, .. }),
        "{error}"
    );

    let nowhere = room.path().join("none/subscribers.db");
    let error = Opened::open(&nowhere).unwrap_err();
    assert!(
        matches!(error, SqliteError::Io { what: "make", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_batch_of_which_one_cannot_be_written_writes_none() {
    let (_room, path) = room();
    let store = store(&path);
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER no BEFORE INSERT ON subscribers WHEN NEW.user = 'no' \
             BEGIN SELECT RAISE(ABORT, 'not this one'); END;",
        )
        .unwrap();
    let batch = vec![entry("yes@example.org", "x"), entry("no@example.org", "x")];
    let error = store.put(batch).await.unwrap_err();
    assert!(error.to_string().contains("not this one"), "{error}");
    assert_eq!(knows(&store, "yes@example.org", "x").await, None);
}

#[tokio::test]
async fn a_store_that_hangs_says_so_once_its_queue_is_full() {
    let (_room, path) = room();
    let opened = Opened::open(&path).unwrap();
    // No thread: nothing is ever done.
    let (jobs, _to_do) = crossbeam_channel::bounded(2);
    let store = Sqlite {
        jobs,
        path: opened.path,
    };
    let [_first, _second] = [b"a", b"b"].map(|user| store.find("example.org", user));
    let error = store.find("example.org", b"c").await.unwrap_err();
    assert!(error.to_string().contains("too many wait"), "{error}");
}

#[tokio::test]
async fn whom_nobody_waits_for_is_passed_over() {
    let (_room, path) = room();
    let mut table = Opened::open(&path).unwrap().table;
    table.put(&[entry("bob@example.org", "x")]).unwrap();
    let (jobs, to_do) = crossbeam_channel::bounded(2);
    let store = Sqlite { jobs, path };
    let bob: Address = "bob@example.org".parse().unwrap();
    drop(store.remove(bob));
    let found = store.find("example.org", b"bob");
    thread::spawn(move || work(table, &to_do));
    assert!(matches!(found.await.unwrap(), Known::Subscriber(_)));
}
