//! Memory for packets and tables: hugepages where there are some.
//!
//! Every page is touched when the mapping is made, so that no packet ever pays
//! for a page fault and a machine without enough memory says so at the start.

use std::io;

use memmap2::MmapMut;
use memmap2::MmapOptions;

/// Bytes in a hugepage of the kind we ask for. 1 GiB pages bring nothing more
/// for the tens of MiB that a worker maps.
pub const HUGEPAGE_LEN: usize = 2 << 20;

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
    memory.chunks_mut(4096).for_each(|page| page[0] = 0);
    Ok(Mapping { memory, pages })
}

#[cfg(test)]
mod tests {
    use super::*;

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
