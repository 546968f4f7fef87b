//! A disk that is full.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use trunkline_control::location::sqlite::FILE;
use trunkline_control::location::sqlite::Opened;

use super::gone::OPTIONS;
use super::gone::register;
use super::gone::until;
use super::*;

#[tokio::test]
#[ignore = "needs root, and a mount namespace of its own: perf/e2e/stores.sh"]
async fn what_a_full_disk_does_not_take_waits_and_none_is_lost() {
    let room = tempfile::tempdir().unwrap();
    let mut mount = Command::new("mount");
    let mount = mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]);
    assert!(mount.arg(room.path()).status().unwrap().success());
    let path = room.path().join(FILE);
    let store = Arc::new(Opened::open(&path).unwrap().serve().unwrap());
    let write_behind = WriteBehind::start(Arc::clone(&store) as _, OPTIONS);
    for user in 0..500 {
        write_behind.put(register(user, 1));
    }
    until("the first are written", || {
        write_behind.figures().waiting == 0
    })
    .await;
    let filler = room.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    for user in 400..3000 {
        write_behind.put(register(user, 2));
    }
    until("it is noticed", || write_behind.figures().failures > 1).await;
    let gone = write_behind.figures().gone.unwrap();
    assert!(gone.contains("full"), "{gone}");
    let found = store.find("example.net", b"450").await.unwrap();
    assert_eq!(found[0].cseq, 1, "it can be read meanwhile");
    fs::remove_file(&filler).unwrap();
    until("all are written", || write_behind.figures().waiting == 0).await;
    assert_eq!(write_behind.figures().lost, 0);
    let pages: Vec<_> = store.load().collect().await;
    let records = pages.into_iter().flat_map(Result::unwrap);
    let cseqs: Vec<_> = records
        .filter_map(Change::put)
        .map(|put| put.cseq)
        .collect();
    assert_eq!(
        (cseqs.len(), cseqs.iter().sum::<u32>()),
        (3000, 400 + 2 * 2600)
    );
    drop((write_behind, store));
    // The store's thread may still have it.
    let umount = Command::new("umount")
        .arg("--lazy")
        .arg(room.path())
        .status();
    assert!(umount.unwrap().success());
}
