//! All that a worker walks is touched at its start (design rule 7), so that it takes no page fault once it
//! runs: of every allocation that lives then the kernel is asked whether each page is there.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;
use std::sync::Mutex;

use bench::Bench;
use trunkline_dataplane::frame::KeptConfig;
use trunkline_dataplane::lab;
use trunkline_dataplane::settings::Abuse;
use trunkline_dataplane::settings::Capacity;
use trunkline_dataplane::settings::Location;

const PAGE_LEN: usize = 4096;

/// An allocation with a whole page in it.
#[derive(Clone, Copy)]
struct Large {
    address: usize,
    len: usize,
}

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

static LIVING: Mutex<[Option<Large>; 1024]> = Mutex::new([None; 1024]);

/// The system's allocator, noting what lives of what a watched thread has asked for.
struct Noting;

fn note(pointer: *mut u8, len: usize) {
    if len >= PAGE_LEN && IS_WATCHED.get() {
        let address = pointer.addr();
        let mut living = LIVING.lock().unwrap();
        let free = living.iter_mut().find(|place| place.is_none());
        assert!(free.is_some(), "no room for another");
        free.into_iter()
            .for_each(|place| *place = Some(Large { address, len }));
    }
}

#[allow(unsafe_code, reason = "a global allocator is unsafe by its trait")]
// SAFETY: every call goes to the system's allocator as it came; noting touches no heap, since the cell is
// const-initialised and has no destructor, and the mutex guards an array.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is ours.
        let pointer = unsafe { System.alloc(layout) };
        note(pointer, layout.size());
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is ours.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        note(pointer, layout.size());
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if layout.size() >= PAGE_LEN {
            let is_it = |large: &Large| large.address == pointer.addr();
            let mut living = LIVING.lock().unwrap();
            for place in living.iter_mut() {
                *place = place.filter(|large| !is_it(large));
            }
        }
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

/// Runs `what` and gives, with what it has made, the lengths of the allocations that are not there whole
/// and how many of their pages are missing.
fn untouched<T>(what: impl FnOnce() -> T) -> (T, Vec<(usize, usize)>) {
    IS_WATCHED.set(true);
    let made = what();
    IS_WATCHED.set(false);
    let living = *LIVING.lock().unwrap();
    let missing = living.into_iter().flatten().filter_map(|large| {
        let pages = missing_pages(large);
        (pages > 0).then_some((large.len, pages))
    });
    (made, missing.collect())
}

/// How many of the pages that lie within an allocation have no memory.
fn missing_pages(large: Large) -> usize {
    let start = large.address.next_multiple_of(PAGE_LEN);
    let end = (large.address + large.len) / PAGE_LEN * PAGE_LEN;
    let mut is_there = vec![0_u8; end.saturating_sub(start) / PAGE_LEN];
    let len = is_there.len() * PAGE_LEN;
    #[allow(unsafe_code, reason = "mincore(2) is called through libc")]
    // SAFETY: the pages are mapped, and there is a byte of room for each.
    let result = unsafe {
        libc::mincore(
            std::ptr::without_provenance_mut(start),
            len,
            is_there.as_mut_ptr(),
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    is_there.iter().filter(|&&byte| byte & 1 == 0).count()
}

#[test]
fn all_that_workers_walk_is_touched_at_their_start() {
    // Only one test of this file may be watched at a time: there is one.
    let (room, missing) = untouched(|| Vec::<u8>::with_capacity(10 << 20));
    assert!(missing[0].1 > 2_000, "it would be seen: {missing:?}");
    drop(room);

    // Every table that there can be, as large as by default.
    let mut settings = lab::settings(2);
    lab::add_domain(&mut settings);
    settings.location = Location::Own;
    settings.abuse = Abuse::default();
    settings.capacity = Capacity {
        transactions: 131_072,
        calls: 32_768,
        kept: KeptConfig::new(16_384, 64),
        subscribers: 65_536,
        nonces: 65_536,
        tickets: 4_096,
        bindings: 65_536,
    };
    let (mut bench, missing) = untouched(|| Bench::of(&settings));
    assert_eq!(missing, [], "length, and pages without memory");
    bench.turn();
    bench.assert_at_rest();
}
