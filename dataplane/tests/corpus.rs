//! Replays the corpora of the fuzz targets. What a fuzzer once found stays found.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::Path;

use trunkline_dataplane::fuzz;

/// Calls `target` with every file of a folder, and with every beginning of it: a datagram
/// may be cut anywhere.
fn replay(folder: &str, target: fn(&[u8])) {
    replay_some(folder, 1, target);
}

/// The same with every so many bytes less.
fn replay_some(folder: &str, step: usize, target: fn(&[u8])) {
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
        for len in (0..=bytes.len()).rev().step_by(step) {
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
fn the_registrars_corpus_holds() {
    replay("../fuzz/corpus/register", fuzz::register);
    replay("tests/torture/rfc4475", fuzz::register);
}

#[test]
fn the_sdp_corpus_holds() {
    replay("../fuzz/corpus/sdp", fuzz::sdp);
}

/// Some of its files make a whole worker.
#[test]
fn the_tokens_corpus_holds() {
    replay_some("../fuzz/corpus/tokens", 7, fuzz::tokens);
}

/// A whole worker an input is slow: the files as they are, some of their beginnings, and
/// some damage that is the same in every run.
#[test]
fn the_frame_corpus_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frame");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 40);
    let mut chance = 1u32;
    for path in files {
        println!("{}", path.display());
        let bytes = std::fs::read(&path).unwrap();
        fuzz::frame(&bytes);
        for len in (0..bytes.len()).step_by(97) {
            fuzz::frame(&bytes[..len]);
        }
        for _ in 0..12 {
            let mut damaged = bytes.clone();
            for _ in 0..3 {
                chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (chance >> 8) as usize % damaged.len();
                damaged[at] ^= 1 << (chance >> 29);
            }
            fuzz::frame(&damaged);
        }
    }
}
