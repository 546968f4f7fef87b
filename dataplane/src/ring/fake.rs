//! Rings without a kernel: the same ends, pool and ledger as the real ones,
//! over plain memory, with the other end played by the test or the simulator.
//!
//! [`Fake::inject`] is the wire's way in, [`Fake::take_sent`] its way out. As on
//! real rings a frame goes fill → rx → held → tx → completion → free, and what
//! the kernel would drop is dropped here and counted by the kernel's names.
//! Nothing is allocated after [`Fake::new`], so that a test may count the
//! worker's allocations.

use std::io;
use std::iter;

use super::KernelStatistics;
use super::Received;
use super::RingLens;
use super::Rings;
use super::SocketStatistics;
use super::cursor::Consumer;
use super::cursor::Producer;
use super::cursor::Ring;
use super::frames_needed;
use super::port::Ends;
use super::port::Port;
use super::port::Ports;
use crate::frame::CHUNK_LEN;
use crate::frame::Frame;
use crate::frame::HEADROOM;
use crate::frame::Ledger;
use crate::frame::Pool;
use crate::frame::Umem;
use crate::ids::DeviceIndex;
use crate::ids::Lane;
use crate::ids::QueueId;
use crate::sys::epoll::Waiting;
use crate::sys::memory::Hugepages;
use crate::sys::memory::Mapping;
use crate::sys::wake::Wake;

/// What to fake.
#[derive(Clone, Copy, Debug)]
pub struct FakeConfig {
    /// Devices 0 to `devices - 1`.
    pub devices: u8,
    /// Sockets on each; what is injected arrives at the first.
    pub queues: u16,
    /// The queue that the first socket of each device says it is on; the others
    /// follow it.
    pub queue: QueueId,
    /// Chunks in the UMEM; None for as many as the rings need.
    pub frames: Option<u32>,
    /// Every socket's rings.
    pub lens: RingLens,
}

impl Default for FakeConfig {
    /// Two devices with short rings: enough for tests, quick to set up.
    fn default() -> FakeConfig {
        let lens = RingLens {
            rx: 256,
            fill: 512,
            tx: 256,
        };
        FakeConfig {
            devices: 2,
            queues: 1,
            queue: QueueId(0),
            frames: None,
            lens,
        }
    }
}

/// The kernel's ends of a port's rings.
#[derive(Debug)]
struct Nic {
    fill: Consumer<u64>,
    rx: Producer<libc::xdp_desc>,
    /// Frames in the rx ring at most; its memory is as long.
    rx_len: u32,
    tx: Consumer<libc::xdp_desc>,
    completion: Producer<u64>,
    /// Sent, with the completion held back. Never longer than the tx ring.
    delayed: Vec<u64>,
    statistics: KernelStatistics,
}

/// A fake worker's rings.
#[derive(Debug)]
pub struct Fake {
    ports: Ports,
    /// One for each port, in the same order.
    nics: Vec<Nic>,
    /// Ports of each device.
    queues: usize,
    delay_completions: bool,
    refuse_tx: bool,
    /// How many of the next frames sent the driver will drop.
    drop_count: u32,
    sleep: Waiting,
}

impl Fake {
    /// Rings with full fill rings and nothing on its way.
    ///
    /// # Errors
    /// If there is no memory, or the ring lengths do not go together.
    pub fn new(config: FakeConfig) -> io::Result<Fake> {
        if let Some(fault) = config.lens.fault() {
            return Err(io::Error::other(fault));
        }
        let sockets = usize::from(config.devices) * usize::from(config.queues);
        let rings = vec![config.lens; sockets];
        let frames = config.frames.unwrap_or_else(|| frames_needed(&rings));
        let len = frames as usize * usize::from(CHUNK_LEN);
        let mapping = Mapping::new(len, Hugepages::Off).map_err(io::Error::other)?;
        let mut ports = Vec::with_capacity(rings.len());
        let mut nics = Vec::with_capacity(rings.len());
        for device in 0..config.devices {
            for queue in 0..config.queues {
                let queue = QueueId(config.queue.0 + queue);
                let (port, nic) = port(DeviceIndex(device), queue, config.lens)?;
                ports.push(port);
                nics.push(nic);
            }
        }
        let mut fake = Fake {
            ports: Ports::new(Pool::new(Umem::new(mapping)), ports),
            nics,
            queues: usize::from(config.queues),
            delay_completions: false,
            refuse_tx: false,
            drop_count: 0,
            sleep: Waiting::new(iter::empty())?,
        };
        fake.flush();
        Ok(fake)
    }

    // --- The wire's side ---------------------------------------------------

    /// A frame arrives on `device`. False if it is dropped, as the kernel
    /// would: no frame to receive into, the rx ring full, the frame longer than a
    /// chunk holds, or no such device.
    pub fn inject(&mut self, device: DeviceIndex, bytes: &[u8]) -> bool {
        let first = usize::from(device.0) * self.queues;
        let Some(nic) = self.nics.get_mut(first) else {
            return false;
        };
        let room = usize::from(CHUNK_LEN - HEADROOM);
        let Some(len) = u32::try_from(bytes.len())
            .ok()
            .filter(|_| bytes.len() <= room)
        else {
            nic.statistics.rx_dropped += 1;
            return false;
        };
        if nic.rx.unconsumed() >= nic.rx_len {
            nic.statistics.rx_ring_full += 1;
            return false;
        }
        let Some(address) = nic.fill.pop() else {
            nic.statistics.rx_fill_ring_empty_descs += 1;
            return false;
        };
        nic.fill.release();
        let addr = address + u64::from(HEADROOM);
        if let Some(chunk) = self.ports.pool.umem_mut().write_as_kernel(addr, len) {
            chunk.copy_from_slice(bytes);
        }
        // unconsumed() has said that there is room.
        let pushed = nic.rx.push(libc::xdp_desc {
            addr,
            len,
            options: 0,
        });
        nic.rx.publish();
        pushed
    }

    /// Sends what the worker has flushed: shows each frame to `seen` in the
    /// order of its port, and completes it.
    pub fn take_sent(&mut self, seen: &mut dyn FnMut(DeviceIndex, &[u8])) {
        let Ports { pool, ports, .. } = &mut self.ports;
        for (port, nic) in ports.iter_mut().zip(&mut self.nics) {
            while let Some(descriptor) = nic.tx.pop() {
                match pool.umem().read_as_kernel(descriptor.addr, descriptor.len) {
                    None => nic.statistics.tx_invalid_descs += 1,
                    Some(_) if self.drop_count > 0 => {
                        self.drop_count -= 1;
                        port.counts.refused += 1;
                    }
                    Some(bytes) => seen(port.device, bytes),
                }
                nic.delayed.push(descriptor.addr);
            }
            nic.tx.release();
            if !self.delay_completions {
                nic.complete();
            }
        }
    }

    /// Holds back completions from now on, or lets go all that are held.
    pub fn delay_completions(&mut self, delay: bool) {
        self.delay_completions = delay;
        if !delay {
            self.nics.iter_mut().for_each(Nic::complete);
        }
    }

    /// From now on `transmit` finds every ring full, or no longer.
    pub fn refuse_transmit(&mut self, refuse: bool) {
        self.refuse_tx = refuse;
    }

    /// The driver will drop the next `count` frames: completed, counted as
    /// refused, never seen.
    pub fn drop_next(&mut self, count: u32) {
        self.drop_count = count;
    }
}

/// A port of the fake, and its other ends.
fn port(device: DeviceIndex, queue: QueueId, lens: RingLens) -> io::Result<(Port, Nic)> {
    let (fill, nic_fill) = Ring::pair(lens.fill)?;
    let (nic_rx, rx) = Ring::pair(lens.rx)?;
    let (tx, nic_tx) = Ring::pair(lens.tx)?;
    let (nic_completion, completion) = Ring::pair(lens.tx)?;
    let port = Port::new(
        device,
        queue,
        lens,
        Ends {
            fill,
            rx,
            tx,
            completion,
        },
    );
    let nic = Nic {
        fill: nic_fill,
        rx: nic_rx,
        rx_len: lens.rx,
        tx: nic_tx,
        completion: nic_completion,
        delayed: Vec::with_capacity(lens.tx as usize),
        statistics: KernelStatistics::default(),
    };
    Ok((port, nic))
}

impl Nic {
    /// Completes whatever is held back.
    fn complete(&mut self) {
        for address in self.delayed.drain(..) {
            let pushed = self.completion.push(address);
            assert!(pushed, "completion ring full below its bound");
        }
        self.completion.publish();
    }
}

// --- The worker's side -----------------------------------------------------

impl Rings for Fake {
    fn receive(&mut self, batch: &mut Vec<Received>) {
        self.ports.receive(batch);
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        self.ports.pool.umem().bytes(frame)
    }

    fn bytes_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.ports.pool.umem_mut().bytes_mut(frame)
    }

    fn pair(&mut self, source: &Frame, target: &mut Frame) -> (&[u8], &mut [u8]) {
        self.ports.pool.umem_mut().pair(source, target)
    }

    fn allocate(&mut self, len: usize) -> Option<Frame> {
        self.ports.pool.allocate(len)
    }

    fn free(&mut self, frame: Frame) {
        self.ports.pool.free(frame);
    }

    fn transmit(&mut self, device: DeviceIndex, lane: Lane, frame: Frame) -> Result<(), Frame> {
        if self.refuse_tx {
            return Err(frame);
        }
        self.ports.transmit(device, lane, frame)
    }

    fn flush(&mut self) {
        self.ports.iter_mut().for_each(|port| port.tx.publish());
        self.ports.reap_and_refill();
    }

    fn ledger(&self) -> Ledger {
        self.ports.ledger()
    }

    fn statistics(&mut self, out: &mut dyn FnMut(SocketStatistics)) {
        for (port, nic) in self.ports.iter().zip(&self.nics) {
            out(port.statistics(nic.statistics));
        }
    }

    fn idle(&self) -> bool {
        self.ports.idle()
    }

    fn wait_for(&mut self, wake: &Wake) -> io::Result<()> {
        self.sleep.add_wake(wake)
    }

    fn wait(&mut self, wake: &Wake, timeout_ns: u64) {
        // Nothing arrives while we sleep: the wire is this very thread's.
        let timeout_ns = if self.idle() { timeout_ns } else { 0 };
        self.sleep.sleep(wake, timeout_ns);
    }
}
