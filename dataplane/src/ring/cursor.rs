//! The two ends of a ring shared with the kernel.
//!
//! A ring is memory with a producer index, a consumer index, and a power-of-two
//! array of entries. The indexes run freely and wrap at 2^32.
//! Each end owns one index and reads the other's only when its cached copy no
//! longer suffices, so that the usual case touches no shared cache line.
//!
//! The order that makes an entry visible before its index (the kernel's
//! xsk_queue.h does the mirror image): the producer writes entries, then stores
//! its index with release; the consumer loads that with acquire, then reads
//! entries; it stores its own index with release once it has read them, and the
//! producer loads that with acquire before it writes there again.
#![allow(
    unsafe_code,
    reason = "ring memory is shared with the kernel and read through pointers"
)]

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use memmap2::MmapOptions;
use memmap2::MmapRaw;

/// What a ring holds.
///
/// # Safety
/// Every bit pattern must be a valid value, since the kernel writes them.
pub(crate) unsafe trait Entry: Copy {}

// SAFETY: an integer.
unsafe impl Entry for u64 {}
// SAFETY: a struct of integers.
unsafe impl Entry for libc::xdp_desc {}

/// Where a ring's parts lie within its mapping, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub producer: u64,
    pub consumer: u64,
    pub entries: u64,
}

impl Offsets {
    /// A layout for rings that no kernel shares: one cache line an index.
    const ANONYMOUS: Offsets = Offsets {
        producer: 0,
        consumer: 64,
        entries: 128,
    };

    /// Bytes to map for `entry_count` entries.
    pub(crate) fn ring_len<T: Entry>(&self, entry_count: u32) -> usize {
        let entries = usize::try_from(self.entries).unwrap_or(usize::MAX);
        entries.saturating_add(entry_count as usize * size_of::<T>())
    }
}

/// A ring's memory before its ends are handed out. Each constructor of an end
/// consumes it, so that no end exists twice.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    view: View<T>,
}

/// Checked pointers into a ring's memory, kept alive by it.
struct View<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    entries: NonNull<T>,
    /// Entries less one: the count is a power of two.
    mask: u32,
    memory: Arc<MmapRaw>,
}

// SAFETY: the pointers are into the mapping that `memory` keeps alive. Indexes
// are atomic; an entry is written by the only producer and read by
// the only consumer, in the order that the indexes impose.
unsafe impl<T: Entry> Send for View<T> {}

impl<T: Entry> Ring<T> {
    /// A ring of `entry_count` entries in `memory`. None unless the count is a
    /// power of two and all of it lies in the mapping, aligned.
    pub(crate) fn new(memory: MmapRaw, offsets: Offsets, entry_count: u32) -> Option<Ring<T>> {
        let fits = offsets.ring_len::<T>(entry_count) <= memory.len();
        if !entry_count.is_power_of_two() || !fits {
            return None;
        }
        let index = |offset| part::<AtomicU32>(&memory, offset);
        let view = View {
            producer: index(offsets.producer)?,
            consumer: index(offsets.consumer)?,
            entries: part::<T>(&memory, offsets.entries)?,
            mask: entry_count - 1,
            memory: Arc::new(memory),
        };
        Some(Ring { view })
    }

    /// Both ends of a ring of our own.
    ///
    /// # Errors
    /// If there is no memory, or the count is not a power of two.
    pub(crate) fn pair(entry_count: u32) -> std::io::Result<(Producer<T>, Consumer<T>)> {
        Ring::pair_at(entry_count, 0)
    }

    /// As [`Ring::pair`], with the indexes at `start`.
    fn pair_at(entry_count: u32, start: u32) -> std::io::Result<(Producer<T>, Consumer<T>)> {
        let offsets = Offsets::ANONYMOUS;
        let len = offsets.ring_len::<T>(entry_count);
        let memory = MmapRaw::from(MmapOptions::new().len(len).map_anon()?);
        let ring: Ring<T> = Ring::new(memory, offsets, entry_count)
            .ok_or_else(|| std::io::Error::other("a ring's length must be a power of two"))?;
        ring.view.producer().store(start, Ordering::Relaxed);
        ring.view.consumer().store(start, Ordering::Relaxed);
        let View {
            producer,
            consumer,
            entries,
            mask,
            memory,
        } = ring.view;
        let view = View {
            producer,
            consumer,
            entries,
            mask,
            memory: Arc::clone(&memory),
        };
        let other = View { memory, ..view };
        Ok((
            Ring { view }.into_producer(),
            Ring { view: other }.into_consumer(),
        ))
    }

    /// The producing end of a ring whose consumer is the kernel.
    pub(crate) fn into_producer(self) -> Producer<T> {
        let local = self.view.producer().load(Ordering::Relaxed);
        let consumer_seen = self.view.consumer().load(Ordering::Acquire);
        Producer {
            view: self.view,
            local,
            published: local,
            consumer_seen,
        }
    }

    /// The consuming end of a ring whose producer is the kernel.
    pub(crate) fn into_consumer(self) -> Consumer<T> {
        let local = self.view.consumer().load(Ordering::Relaxed);
        let producer_seen = self.view.producer().load(Ordering::Acquire);
        Consumer {
            view: self.view,
            local,
            released: local,
            producer_seen,
        }
    }
}

/// A pointer to a `U` at `offset`, if there is one whole and aligned.
fn part<U>(memory: &MmapRaw, offset: u64) -> Option<NonNull<U>> {
    let offset = usize::try_from(offset).ok()?;
    if offset.checked_add(size_of::<U>())? > memory.len() {
        return None;
    }
    // SAFETY: the offset lies in the mapping.
    let pointer = unsafe { memory.as_mut_ptr().add(offset) }.cast::<U>();
    NonNull::new(pointer).filter(|pointer| pointer.is_aligned())
}

impl<T: Entry> View<T> {
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: checked by Ring::new() to be an aligned u32 in the mapping,
        // which `memory` keeps alive; everyone accesses it atomically.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as producer().
        unsafe { self.consumer.as_ref() }
    }

    fn entry(&self, index: u32) -> *mut T {
        // SAFETY: the mask keeps it within the array, which Ring::new() has
        // checked to lie in the mapping.
        unsafe { self.entries.as_ptr().add((index & self.mask) as usize) }
    }
}

/// The end that writes entries.
pub(crate) struct Producer<T> {
    view: View<T>,
    /// The next entry to write.
    local: u32,
    /// What the other end has been shown.
    published: u32,
    consumer_seen: u32,
}

impl<T: Entry> Producer<T> {
    /// True if an entry can be written now.
    #[must_use]
    pub(crate) fn has_room(&mut self) -> bool {
        if self.local.wrapping_sub(self.consumer_seen) > self.view.mask {
            self.consumer_seen = self.view.consumer().load(Ordering::Acquire);
        }
        self.local.wrapping_sub(self.consumer_seen) <= self.view.mask
    }

    /// Writes an entry, unseen by the other end until [`Producer::publish`].
    /// False if the ring is full.
    #[must_use]
    pub(crate) fn push(&mut self, entry: T) -> bool {
        if !self.has_room() {
            return false;
        }
        // SAFETY: entry() is in the mapping. The consumer has released this
        // entry (its index, loaded with acquire, is less than a ring behind) and
        // does not look at it before publish().
        unsafe { self.view.entry(self.local).write(entry) };
        self.local = self.local.wrapping_add(1);
        true
    }

    /// Shows the other end what has been written.
    pub(crate) fn publish(&mut self) {
        if self.published != self.local {
            self.published = self.local;
            self.view.producer().store(self.local, Ordering::Release);
        }
    }

    /// Entries that the other end has been shown and has not taken yet.
    pub(crate) fn unconsumed(&self) -> u32 {
        self.published
            .wrapping_sub(self.view.consumer().load(Ordering::Relaxed))
    }
}

/// The end that reads entries.
pub(crate) struct Consumer<T> {
    view: View<T>,
    /// The next entry to read.
    local: u32,
    /// What the other end has been given back.
    released: u32,
    producer_seen: u32,
}

impl<T: Entry> Consumer<T> {
    /// Reads an entry, which stays the reader's until [`Consumer::release`].
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.local == self.producer_seen {
            self.producer_seen = self.view.producer().load(Ordering::Acquire);
            if self.local == self.producer_seen {
                return None;
            }
        }
        // SAFETY: entry() is in the mapping. The producer has published this
        // entry (its index, loaded with acquire, is beyond it) and does not write
        // it before release(); any bits are a valid T.
        let entry = unsafe { self.view.entry(self.local).read() };
        self.local = self.local.wrapping_add(1);
        Some(entry)
    }

    /// Gives the other end back what has been read.
    pub(crate) fn release(&mut self) {
        if self.released != self.local {
            self.released = self.local;
            self.view.consumer().store(self.local, Ordering::Release);
        }
    }

    /// Entries waiting to be read.
    pub(crate) fn waiting(&self) -> u32 {
        self.view
            .producer()
            .load(Ordering::Relaxed)
            .wrapping_sub(self.local)
    }
}

impl<T> fmt::Debug for View<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} entries in {} bytes",
            u64::from(self.mask) + 1,
            self.memory.len()
        )
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Producer at {} (published {})",
            self.local, self.published
        )
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Consumer at {} (released {})",
            self.local, self.released
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_that_is_no_power_of_two_or_does_not_fit_is_no_ring() {
        assert!(Ring::<u64>::pair(48).is_err());
        assert!(Ring::<u64>::pair(0).is_err());
        let memory = MmapRaw::from(MmapOptions::new().len(128 + 64 * 8 - 1).map_anon().unwrap());
        assert!(Ring::<u64>::new(memory, Offsets::ANONYMOUS, 64).is_none());
        let memory = MmapRaw::from(MmapOptions::new().len(4096).map_anon().unwrap());
        let crooked = Offsets {
            entries: 129,
            ..Offsets::ANONYMOUS
        };
        assert!(Ring::<u64>::new(memory, crooked, 64).is_none());
    }

    /// The acquire and release of the indexes, on two cores: every entry arrives
    /// whole and in order, while the indexes wrap.
    #[test]
    fn entries_cross_threads_whole_and_in_order() {
        const COUNT: u64 = 200_000;
        let (mut producer, mut consumer) =
            Ring::<libc::xdp_desc>::pair_at(64, u32::MAX - 1000).unwrap();
        let thread = std::thread::spawn(move || {
            let mut next = 0;
            while next < COUNT {
                let len = u32::try_from(next & 0xffff).unwrap();
                let entry = libc::xdp_desc {
                    addr: next,
                    len,
                    options: !len,
                };
                if producer.push(entry) {
                    next += 1;
                } else {
                    producer.publish();
                    std::thread::yield_now();
                }
            }
            producer.publish();
        });
        for expected in 0..COUNT {
            let entry = loop {
                match consumer.pop() {
                    Some(entry) => break entry,
                    None => {
                        consumer.release();
                        std::thread::yield_now();
                    }
                }
            };
            let len = u32::try_from(expected & 0xffff).unwrap();
            assert_eq!(
                (entry.addr, entry.len, entry.options),
                (expected, len, !len)
            );
        }
        thread.join().unwrap();
        assert!(consumer.pop().is_none());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push,
        Publish,
        Pop,
        Release,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Push),
            1 => Just(Step::Publish),
            4 => Just(Step::Pop),
            1 => Just(Step::Release),
        ]
    }

    proptest! {
        /// Against a model of three queues, on both sides of the index's wrap.
        #[test]
        fn the_two_ends_agree_with_a_queue(
            before_wrap in 0_u32..40,
            steps in proptest::collection::vec(step(), 1..400),
        ) {
            const LEN: usize = 8;
            let start = u32::MAX - before_wrap;
            let (mut producer, mut consumer) = Ring::<u64>::pair_at(8, start).unwrap();
            let mut written = VecDeque::new();
            let mut published = VecDeque::new();
            let mut read_count = 0;
            let mut next = 0_u64;
            for step in steps {
                match step {
                    Step::Push => {
                        let room = written.len() + published.len() + read_count < LEN;
                        prop_assert_eq!(producer.push(next), room);
                        if room {
                            written.push_back(next);
                            next += 1;
                        }
                    }
                    Step::Publish => {
                        producer.publish();
                        published.append(&mut written);
                    }
                    Step::Pop => {
                        let expected = published.pop_front();
                        read_count += usize::from(expected.is_some());
                        prop_assert_eq!(consumer.pop(), expected);
                    }
                    Step::Release => {
                        consumer.release();
                        read_count = 0;
                    }
                }
                prop_assert_eq!(consumer.waiting() as usize, published.len());
                prop_assert_eq!(producer.unconsumed() as usize, published.len() + read_count);
            }
        }
    }
}
