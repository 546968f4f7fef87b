//! Memory for packets and tables: hugepages where there are some.
//!
//! Every page is touched when the mapping is made, so that no packet ever pays
//! for a page fault and a machine without enough memory says so at the start.
#![allow(
    unsafe_code,
    reason = "madvise(2) is called through libc, and getrusage(2) in a test"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;

use memmap2::MmapMut;
use memmap2::MmapOptions;
use rtrb::Consumer;
use rtrb::Producer;
use rtrb::RingBuffer;

/// Bytes in a hugepage of the kind we ask for. 1 GiB pages bring nothing more
/// for the tens of MiB that a worker maps.
pub const HUGEPAGE_LEN: usize = 2 << 20;

/// Bytes in an ordinary page.
const PAGE_LEN: usize = 4096;

/// Bytes of a worker's stack: what it uses with some to spare, an eighth of what the thread has.
const STACK_LEN: usize = 256 << 10;

/// Base-2 logarithm of [`HUGEPAGE_LEN`].
const HUGEPAGE_BITS: u8 = 21;

/// What the configuration wishes for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hugepages {
    /// Hugepages where there are some, ordinary pages with a reason where not.
    #[default]
    Auto,
    /// Hugepages, or no start.
    On,
    /// Ordinary pages.
    Off,
}

/// What a mapping ended up on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pages {
    /// 2 MiB hugepages.
    Huge,
    /// Ordinary pages, as configured.
    Ordinary,
    /// Ordinary pages because there were no hugepages: the sentence says why.
    Fallback(String),
}

/// Why there is no mapping.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Hugepages were demanded and are not there.
    #[error(
        "{pages} hugepages of 2 MiB are not to be had ({source}): raise vm.nr_hugepages, \
         or configure hugepages = \"auto\""
    )]
    NoHugepages {
        /// How many pages were asked for.
        pages: usize,
        /// What mmap(2) said.
        source: io::Error,
    },
    /// Not even ordinary pages.
    #[error("cannot map {len} bytes of memory: {source}")]
    NoMemory {
        /// How many bytes were asked for.
        len: usize,
        /// What mmap(2) said.
        source: io::Error,
    },
}

/// A table that is touched whole, in large pages where the kernel has some to spare: a look-up in
/// half a gigabyte misses the TLB each time, and ordinary pages miss the caches as well for it.
#[must_use]
pub fn table<T>(entries: impl ExactSizeIterator<Item = T>) -> Box<[T]> {
    let mut table = list(entries.len());
    table.extend(entries);
    table.into_boxed_slice()
}

/// Zeroed bytes, as [`table`] has its entries.
#[must_use]
pub fn bytes(len: usize) -> Box<[u8]> {
    let mut bytes = list(len);
    bytes.resize(len, 0);
    bytes.into_boxed_slice()
}

/// Touched room for so many, empty.
#[must_use]
pub fn list<T>(capacity: usize) -> Vec<T> {
    let mut list = Vec::with_capacity(capacity);
    touch(list.spare_capacity_mut());
    list
}

/// Touched room for so many that wait, empty.
#[must_use]
pub fn queue<T>(capacity: usize) -> VecDeque<T> {
    VecDeque::from(list(capacity))
}

/// A ring of touched places: it would else be walked for seconds before the last one has its memory.
#[must_use]
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let (mut producer, consumer) = RingBuffer::new(capacity);
    if let Ok(mut places) = producer.write_chunk_uninit(capacity) {
        // None is committed: the ring stays empty.
        touch(places.as_mut_slices().0);
    }
    (producer, consumer)
}

/// Writes to the pages of this thread's stack that it will go down to.
#[inline(never)]
pub fn touch_stack() {
    black_box(&mut [0_u8; STACK_LEN]);
}

/// Writes to each page of memory that nobody has written to yet.
fn touch<T>(memory: &mut [MaybeUninit<T>]) {
    wish_for_large_pages(memory);
    // Hidden from the compiler, which may else ask for zeroed memory instead, and that comes untouched.
    let memory = black_box(memory);
    let in_a_page = (PAGE_LEN / size_of::<T>().max(1)).max(1);
    for entry in memory.iter_mut().step_by(in_a_page) {
        *entry = MaybeUninit::zeroed();
    }
    if let Some(last) = memory.last_mut() {
        *last = MaybeUninit::zeroed();
    }
    black_box(memory);
}

/// Pages that are yet untouched are made large where the kernel can. It is a wish: what comes of it
/// changes nothing but the speed.
fn wish_for_large_pages<T>(memory: &mut [MaybeUninit<T>]) {
    let range = memory.as_mut_ptr_range();
    // What does not fill a page has neighbours that it does not speak for.
    let start = range.start.addr().next_multiple_of(PAGE_LEN);
    let end = range.end.addr() / PAGE_LEN * PAGE_LEN;
    if end < start + HUGEPAGE_LEN {
        return;
    }
    let start = range.start.with_addr(start);
    // SAFETY: the pages are within memory that is ours alone; the advice changes none of its bytes.
    unsafe { libc::madvise(start.cast(), end - start.addr(), libc::MADV_HUGEPAGE) };
}

/// Private zeroed memory, touched.
#[derive(Debug)]
pub struct Mapping {
    memory: MmapMut,
    pages: Pages,
}

impl Mapping {
    /// Maps at least `len` bytes, as `wish` says.
    ///
    /// # Errors
    /// [`MemoryError::NoHugepages`] only where they are demanded,
    /// [`MemoryError::NoMemory`] if there is no memory at all.
    pub fn new(len: usize, wish: Hugepages) -> Result<Mapping, MemoryError> {
        if wish == Hugepages::Off {
            return ordinary(len, Pages::Ordinary);
        }
        let pages = len.max(1).div_ceil(HUGEPAGE_LEN);
        let huge = MmapOptions::new()
            .len(pages * HUGEPAGE_LEN)
            .huge(Some(HUGEPAGE_BITS))
            .populate()
            .map_anon();
        match huge {
            Ok(memory) => Ok(Mapping {
                memory,
                pages: Pages::Huge,
            }),
            Err(source) if wish == Hugepages::On => Err(MemoryError::NoHugepages { pages, source }),
            Err(source) => {
                let reason = format!("{pages} hugepages of 2 MiB are not to be had: {source}");
                ordinary(len, Pages::Fallback(reason))
            }
        }
    }

    /// What the memory is made of.
    #[must_use]
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// The memory itself.
    #[must_use]
    pub fn into_memory(self) -> MmapMut {
        self.memory
    }
}

fn ordinary(len: usize, pages: Pages) -> Result<Mapping, MemoryError> {
    let mut memory = MmapOptions::new()
        .len(len.max(1))
        .populate()
        .map_anon()
        .map_err(|source| MemoryError::NoMemory { len, source })?;
    // MAP_POPULATE gives up in silence when memory is short; writing does not.
    memory.chunks_mut(PAGE_LEN).for_each(|page| page[0] = 0);
    Ok(Mapping { memory, pages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_entries_whatever_its_length() {
        for len in [0_u32, 1, 511, 300_000, 3_000_000] {
            let table = table((0..len).map(u64::from));
            assert_eq!(table.len(), len as usize);
            assert!((0..).zip(&table).all(|(at, &entry)| at == entry));
        }
    }

    #[test]
    fn a_stack_that_was_touched_has_its_pages() {
        /// How many page faults this thread has taken.
        fn faults() -> i64 {
            // SAFETY: it is made of integers alone.
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            // SAFETY: the call writes to this structure alone.
            let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
            assert_eq!(result, 0);
            usage.ru_minflt
        }
        #[inline(never)]
        fn go_down() {
            black_box(&mut [1_u8; STACK_LEN / 2]);
        }
        let thread = std::thread::spawn(|| {
            faults();
            touch_stack();
            let before = faults();
            go_down();
            faults() - before
        });
        let taken = thread.join().unwrap();
        assert!(taken <= 2, "{taken} page faults");
    }

    #[test]
    fn a_ring_is_empty_and_has_all_its_places() {
        let (mut producer, mut consumer) = ring::<[u64; 100]>(1_000);
        for round in 0..3 {
            assert!(consumer.is_empty());
            (0..1_000).for_each(|n| producer.push([n + round; 100]).unwrap());
            assert!(producer.is_full());
            assert!((0..1_000).all(|n| consumer.pop() == Ok([n + round; 100])));
        }
        assert_eq!(ring::<u8>(0).0.slots(), 0);
    }

    #[test]
    fn ordinary_pages_when_hugepages_are_off() {
        let mapping = Mapping::new(5000, Hugepages::Off).unwrap();
        assert_eq!(*mapping.pages(), Pages::Ordinary);
        assert_eq!(mapping.into_memory().len(), 5000);
    }

    #[test]
    fn more_hugepages_than_any_machine_has_falls_back_with_a_reason_or_refuses() {
        // 1 PiB: the reservation fails at mmap(2), before anything is touched.
        let len = 1 << 50;
        let error = Mapping::new(len, Hugepages::On).unwrap_err().to_string();
        assert!(error.contains("vm.nr_hugepages"), "{error}");
        let error = Mapping::new(len, Hugepages::Auto).unwrap_err();
        assert!(matches!(error, MemoryError::NoMemory { .. }), "{error}");
    }

    #[test]
    fn auto_says_what_it_ended_up_on() {
        let mapping = Mapping::new(1 << 20, Hugepages::Auto).unwrap();
        match mapping.pages() {
            Pages::Huge => assert_eq!(mapping.memory.len() % HUGEPAGE_LEN, 0),
            Pages::Fallback(reason) => assert!(reason.contains("hugepages"), "{reason}"),
            Pages::Ordinary => panic!("auto is not off"),
        }
    }
}
