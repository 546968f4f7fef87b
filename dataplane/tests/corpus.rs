//! Replays the corpora of the fuzz targets. What a fuzzer once found stays found.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;

use trunkline_dataplane::fuzz;

/// Calls `target` with every file of a folder, and with every beginning of it: a datagram
/// may be cut anywhere.
fn replay(folder: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with('.') {
            continue;
        }
        // A failing input is named by the last line before the panic.
        println!("{}", path.display());
        let bytes = std::fs::read(&path).unwrap();
        for len in 0..=bytes.len() {
            target(&bytes[..len]);
        }
        count += 1;
    }
    assert!(count > 20, "{} holds only {count} files", folder.display());
}

#[test]
fn the_scanners_corpus_holds() {
    replay("../fuzz/corpus/scan", fuzz::scan);
}

#[test]
fn the_torture_messages_hold() {
    replay("tests/torture/rfc4475", fuzz::scan);
}

#[test]
fn the_sdp_corpus_holds() {
    replay("../fuzz/corpus/sdp", fuzz::sdp);
}
