//! Memory for packets and tables: hugepages where there are some.
//!
//! Every page is touched when the mapping is made, so that no packet ever pays
//! for a page fault and a machine without enough memory says so at the start.
#![allow(unsafe_code, reason = "madvise(2) is called through libc")]

use std::io;
use std::mem::MaybeUninit;

use memmap2::MmapMut;
use memmap2::MmapOptions;

/// Bytes in a hugepage of the kind we ask for. 1 GiB pages bring nothing more
/// for the tens of MiB that a worker maps.
pub const HUGEPAGE_LEN: usize = 2 << 20;

/// Bytes in an ordinary page.
const PAGE_LEN: usize = 4096;

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
    let mut table = Vec::with_capacity(entries.len());
    wish_for_large_pages(table.spare_capacity_mut());
    table.extend(entries);
    table.into_boxed_slice()
}

/// Zeroed bytes, as [`table`] has its entries.
#[must_use]
pub fn bytes(len: usize) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(len);
    wish_for_large_pages(bytes.spare_capacity_mut());
    bytes.resize(len, 0);
    bytes.into_boxed_slice()
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
