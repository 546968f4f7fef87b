//! A socket's four rings, and what goes through them.
//!
//! Real sockets and fake ones share it. The bounds of a port:
//!
//! - `fill + rx` frames of a port never exceed the fill ring's length. The fill
//!   ring is at least twice as long as the rx ring, so when the rx ring is full
//!   the kernel still has as many frames to receive into. And it has room for what
//!   the NIC's own ring holds besides: see [`RingLens::new`].
//! - `tx + completion` frames never exceed the tx ring's length. The completion
//!   ring is as long, so it cannot overflow.
//!
//! So a UMEM of Σ (fill + tx) frames and two batches never runs dry, whatever
//! the traffic: see [`frames_needed`].

use super::BATCH;
use super::BusyPoll;
use super::KernelStatistics;
use super::Received;
use super::SocketStatistics;
use super::cursor::Consumer;
use super::cursor::Producer;
use crate::frame::Frame;
use crate::frame::Ledger;
use crate::frame::Pool;
use crate::ids::DeviceIndex;
use crate::ids::Lane;
use crate::ids::QueueId;

/// Lengths of a socket's rings, in entries; each a power of two. The completion
/// ring is as long as the tx ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLens {
    /// Frames that may wait for the worker. What a descheduled worker can miss:
    /// 2,048 is 8 ms at 250 kpps a queue.
    pub rx: u32,
    /// Frames given to the kernel to receive into: at least twice `rx`.
    pub fill: u32,
    /// Frames on their way out.
    pub tx: u32,
}

impl Default for RingLens {
    fn default() -> RingLens {
        RingLens {
            rx: 2048,
            fill: 4096,
            tx: 2048,
        }
    }
}

impl RingLens {
    /// Rings for `rx` frames that may wait for the worker and `tx` that may wait for
    /// the NIC, whose own receive ring has `nic_rx` descriptors. In zero-copy those
    /// hold frames of ours. With the rx ring and the NIC's ring full there is still
    /// one in the fill ring: a driver that finds it dry loses packets, and igb loses
    /// its place (decision 013).
    #[must_use]
    pub fn new(rx: u32, tx: u32, nic_rx: u32) -> RingLens {
        let both = rx.saturating_add(nic_rx).next_power_of_two();
        RingLens {
            rx,
            fill: rx.saturating_mul(2).max(both),
            tx,
        }
    }

    /// What is wrong with them, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let powers = [self.rx, self.fill, self.tx]
            .iter()
            .all(|len| len.is_power_of_two());
        if !powers {
            return Some("a ring's length must be a power of two");
        }
        if self.fill / 2 < self.rx {
            return Some("the fill ring must be at least twice as long as the rx ring");
        }
        None
    }
}

/// How many frames a UMEM needs so that neither receiving nor sending ever
/// waits for one: what the rings can hold, one batch in the worker's hands and
/// as many again for what it originates in a turn.
#[must_use]
pub fn frames_needed(rings: &[RingLens]) -> u32 {
    let batches = u32::try_from(2 * BATCH).unwrap_or(u32::MAX);
    rings.iter().fold(batches, |sum, lens| {
        sum.saturating_add(lens.fill).saturating_add(lens.tx)
    })
}

/// What a port has done since the start, and what became of a wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub rx: u64,
    pub tx: u64,
    pub completed: u64,
    pub refused: u64,
    pub kicks: u64,
    pub kick_errors: u64,
    pub busy_poll: BusyPoll,
}

/// One socket's rings.
#[derive(Debug)]
pub(crate) struct Port {
    pub device: DeviceIndex,
    pub queue: QueueId,
    pub counts: Counts,
    lens: RingLens,
    pub fill: Producer<u64>,
    pub rx: Consumer<libc::xdp_desc>,
    pub tx: Producer<libc::xdp_desc>,
    pub completion: Consumer<u64>,
    /// Frames in the fill ring, in the kernel's hands, or in the rx ring.
    fill_outstanding: u32,
    /// Frames in the tx ring, in the kernel's hands, or in the completion ring.
    tx_outstanding: u32,
    /// True once the kernel has said that the interface is no more. What is in the rings
    /// stays there.
    pub dead: bool,
}

/// The worker's ends of a socket's rings.
#[derive(Debug)]
pub(crate) struct Ends {
    pub fill: Producer<u64>,
    pub rx: Consumer<libc::xdp_desc>,
    pub tx: Producer<libc::xdp_desc>,
    pub completion: Consumer<u64>,
}

impl Port {
    pub(crate) fn new(device: DeviceIndex, queue: QueueId, lens: RingLens, ends: Ends) -> Port {
        let Ends {
            fill,
            rx,
            tx,
            completion,
        } = ends;
        Port {
            device,
            queue,
            counts: Counts::default(),
            lens,
            fill,
            rx,
            tx,
            completion,
            fill_outstanding: 0,
            tx_outstanding: 0,
            dead: false,
        }
    }

    /// Appends at most `limit` received frames to `batch`. Their places in the rx
    /// ring are the kernel's again only after the next refill, so that frames in the
    /// worker's hands count as waiting: the fill ring is sized by that.
    ///
    /// # Panics
    /// If the kernel shows more frames than it was given: then one has come twice,
    /// and two packets would share its bytes.
    pub(crate) fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Received>, limit: usize) {
        for _ in 0..limit {
            let Some(descriptor) = self.rx.pop() else {
                break;
            };
            assert!(
                self.fill_outstanding > 0,
                "the kernel has shown a frame twice: report its version and the driver"
            );
            let frame = pool.received(descriptor.addr, descriptor.len);
            self.fill_outstanding -= 1;
            self.counts.rx += 1;
            batch.push(Received {
                frame,
                device: self.device,
            });
        }
    }

    /// Puts the frame on the tx ring, unseen by the kernel until the next flush.
    /// Gives it back if the ring is full.
    pub(crate) fn transmit(&mut self, pool: &mut Pool, frame: Frame) -> Result<(), Frame> {
        // The kernel may complete a frame before it releases its tx entry, so
        // the bound alone does not promise room.
        if self.dead || self.tx_outstanding >= self.lens.tx || !self.tx.has_room() {
            return Err(frame);
        }
        let (addr, len) = pool.submit(frame);
        let pushed = self.tx.push(libc::xdp_desc {
            addr,
            len,
            options: 0,
        });
        assert!(pushed, "tx ring full though it had room");
        self.tx_outstanding += 1;
        self.counts.tx += 1;
        Ok(())
    }

    /// Frees every frame that the kernel has done with.
    pub(crate) fn reap(&mut self, pool: &mut Pool) {
        // At most one ring's length: a kernel that completes while we reap
        // cannot keep us here.
        for _ in 0..self.lens.tx {
            let Some(address) = self.completion.pop() else {
                break;
            };
            pool.complete(address);
            self.tx_outstanding -= 1;
            self.counts.completed += 1;
        }
        self.completion.release();
    }

    /// Gives the kernel frames to receive into, up to the port's bound. The
    /// kernel shows received frames (`xskq_prod_submit`) before it releases the
    /// fill entries that they came from (`__xskq_cons_release` in `xsk_flush`),
    /// so the ring can be full below the bound: the rest is for the next turn.
    pub(crate) fn refill(&mut self, pool: &mut Pool) {
        while self.fill_outstanding < self.lens.fill && self.fill.has_room() {
            let Some(address) = pool.fill() else { break };
            let pushed = self.fill.push(address);
            assert!(pushed, "fill ring full though it had room");
            self.fill_outstanding += 1;
        }
        self.fill.publish();
        self.rx.release();
    }

    /// The port's statistics, given the kernel's part.
    pub(crate) fn statistics(&self, kernel: KernelStatistics) -> SocketStatistics {
        let Counts {
            rx,
            tx,
            completed,
            refused,
            kicks,
            kick_errors,
            busy_poll,
        } = self.counts;
        SocketStatistics {
            device: self.device,
            queue: self.queue,
            kernel,
            rx,
            tx,
            completed,
            refused,
            kicks,
            kick_errors,
            busy_poll,
        }
    }

    /// Frames of which a completion is to come.
    pub(crate) fn awaits_completion(&self) -> bool {
        !self.dead && self.tx_outstanding > 0
    }

    /// Frames that the kernel is to be told of again.
    pub(crate) fn awaits_kick(&self) -> bool {
        !self.dead && self.tx.unconsumed() > 0
    }
}

/// The ports of one device: they stand together.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    first: u16,
    count: u16,
}

/// A worker's ports and the frames that go through them: all that real and fake
/// rings have in common.
#[derive(Debug)]
pub(crate) struct Ports {
    pub pool: Pool,
    pub ports: Vec<Port>,
    /// By the device's index.
    by_device: Vec<Span>,
    /// The port that the next `receive` begins with.
    first: usize,
}

impl Ports {
    pub(crate) fn new(pool: Pool, ports: Vec<Port>) -> Ports {
        let mut by_device = vec![Span::default(); 256];
        for (index, port) in (0..).zip(&ports) {
            let span = &mut by_device[usize::from(port.device.0)];
            if span.count == 0 {
                span.first = index;
            }
            assert!(
                span.first + span.count == index,
                "the sockets of a device must be named together"
            );
            span.count += 1;
        }
        Ports {
            pool,
            ports,
            by_device,
            first: 0,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Port> {
        self.ports.iter_mut()
    }

    pub(crate) fn receive(&mut self, batch: &mut Vec<Received>) {
        let mut limit = BATCH.min(batch.capacity() - batch.len());
        let (before, after) = self.ports.split_at_mut(self.first);
        for port in after.iter_mut().chain(before) {
            let count = batch.len();
            port.receive(&mut self.pool, batch, limit);
            limit -= batch.len() - count;
        }
        // The next port is first next time: under any load each has a whole
        // batch to itself once in as many turns as there are ports.
        self.first = if self.first + 1 < self.ports.len() {
            self.first + 1
        } else {
            0
        };
    }

    pub(crate) fn transmit(
        &mut self,
        device: DeviceIndex,
        lane: Lane,
        frame: Frame,
    ) -> Result<(), Frame> {
        let Span { first, count } = self.by_device[usize::from(device.0)];
        let index = match count {
            0 => return Err(frame),
            1 => first,
            _ => first + lane.of(count),
        };
        self.ports[usize::from(index)].transmit(&mut self.pool, frame)
    }

    /// Reaps every port before it refills any: the frames that one has sent are
    /// there for all to receive into.
    pub(crate) fn reap_and_refill(&mut self) {
        for port in &mut self.ports {
            port.reap(&mut self.pool);
        }
        for port in &mut self.ports {
            port.refill(&mut self.pool);
        }
    }

    pub(crate) fn ledger(&self) -> Ledger {
        let rx = self.ports.iter().map(|port| port.rx.waiting()).sum();
        let completion = self
            .ports
            .iter()
            .map(|port| port.completion.waiting())
            .sum();
        self.pool.ledger(rx, completion)
    }

    pub(crate) fn idle(&self) -> bool {
        self.ports.iter().all(|port| port.rx.waiting() == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Ring;
    use super::*;
    use crate::frame::CHUNK_LEN;
    use crate::frame::Umem;
    use crate::sys::memory::Hugepages;
    use crate::sys::memory::Mapping;

    /// A port whose rings have four entries, the rx ring eight, its pool, and the
    /// kernel's ends of the fill and the rx ring.
    fn port() -> (Port, Pool, Consumer<u64>, Producer<libc::xdp_desc>) {
        let lens = RingLens {
            rx: 4,
            fill: 4,
            tx: 4,
        };
        let mapping = Mapping::new(8 * usize::from(CHUNK_LEN), Hugepages::Off).unwrap();
        let mut pool = Pool::new(Umem::new(mapping));
        let (fill, kernel_fill) = Ring::pair(4).unwrap();
        let (kernel_rx, rx) = Ring::pair(8).unwrap();
        let (tx, _kernel_tx) = Ring::pair(4).unwrap();
        let (_kernel_completion, completion) = Ring::pair(4).unwrap();
        let ends = Ends {
            fill,
            rx,
            tx,
            completion,
        };
        let mut port = Port::new(DeviceIndex(0), QueueId(0), lens, ends);
        port.refill(&mut pool);
        (port, pool, kernel_fill, kernel_rx)
    }

    fn descriptor(addr: u64) -> libc::xdp_desc {
        libc::xdp_desc {
            addr,
            len: 60,
            options: 0,
        }
    }

    #[test]
    fn a_fill_ring_released_later_than_the_frames_are_shown_is_filled_later() {
        let (mut port, mut pool, mut kernel_fill, mut kernel_rx) = port();

        // As xsk_flush() does it: the frame is shown, its fill entry not yet released.
        let addr = kernel_fill.pop().unwrap();
        assert!(kernel_rx.push(descriptor(addr)));
        kernel_rx.publish();
        let mut batch = Vec::with_capacity(1);
        port.receive(&mut pool, &mut batch, 1);
        assert_eq!(batch.len(), 1);
        port.refill(&mut pool);
        assert_eq!(kernel_fill.waiting(), 3);
        assert!(pool.ledger(0, 0).balanced());

        kernel_fill.release();
        port.refill(&mut pool);
        assert_eq!(kernel_fill.waiting(), 4);
    }

    #[test]
    fn the_fill_ring_outlasts_a_full_rx_ring_and_a_full_nic() {
        for (rx, nic_rx, fill) in [
            (2048, 0, 4096),
            (2048, 256, 4096),
            (2048, 2048, 4096),
            (2048, 4096, 8192),
            (64, 256, 512),
            (64, 0, 128),
        ] {
            let lens = RingLens::new(rx, 2048, nic_rx);
            assert_eq!(lens.fill, fill, "{rx} {nic_rx}");
            assert_eq!(lens.fault(), None);
        }
    }

    #[test]
    #[should_panic(expected = "the kernel has shown a frame twice")]
    fn more_frames_than_were_given_end_the_worker() {
        let (mut port, mut pool, mut kernel_fill, mut kernel_rx) = port();
        let mut batch = Vec::with_capacity(5);
        let addrs: Vec<_> = (0..4).map(|_| kernel_fill.pop().unwrap()).collect();
        for addr in addrs.iter().chain(&addrs[..1]) {
            assert!(kernel_rx.push(descriptor(*addr)));
            kernel_rx.publish();
            port.receive(&mut pool, &mut batch, 1);
        }
    }
}
