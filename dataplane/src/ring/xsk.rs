//! A worker's rings over AF_XDP sockets.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::BusyPoll;
use super::Received;
use super::RingError;
use super::Rings;
use super::SocketStatistics;
use super::frames_needed;
use super::port::Port;
use super::port::Ports;
use super::socket::Mode;
use super::socket::RETRY;
use super::socket::Socket;
use super::socket::SocketConfig;
use crate::frame::CHUNK_LEN;
use crate::frame::Frame;
use crate::frame::Ledger;
use crate::frame::Pool;
use crate::frame::Umem;
use crate::ids::DeviceIndex;
use crate::ids::Lane;
use crate::ids::QueueId;
use crate::limits::BATCH;
use crate::sys::epoll::Waiting;
use crate::sys::memory::Hugepages;
use crate::sys::memory::Mapping;
use crate::sys::memory::Pages;
use crate::sys::wake::Wake;

/// The longest sleep while the kernel has not taken a frame from a tx ring: the
/// next flush must kick it again. Shorter spins, longer delays a frame.
const UNSENT_WAIT_NS: u64 = 1_000_000;

/// Frames in an rx ring with which its NAPI is not polled for more.
const RX_ENOUGH: u32 = 64;

const _: () = assert!(RX_ENOUGH as usize == BATCH);

/// The longest sleep while a completion is due. Nothing waits for the frame (the
/// UMEM has enough), so this only keeps the ledger's view fresh.
const UNCOMPLETED_WAIT_NS: u64 = 20_000_000;

/// Which mode the configuration wishes for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeWish {
    /// Zero-copy if every socket takes it, else copy for all, saying who refused.
    #[default]
    Auto,
    /// Copy.
    Copy,
    /// Zero-copy, or no start.
    ZeroCopy,
}

/// A worker's rings, to be opened.
#[derive(Clone, Debug)]
pub struct XskConfig {
    /// Its sockets, one for each queue it owns. The first owns the UMEM.
    pub sockets: Vec<SocketConfig>,
    /// Chunks in the UMEM; None for as many as the rings need.
    pub frames: Option<u32>,
    /// What the UMEM is to be made of.
    pub hugepages: Hugepages,
    /// Copy or zero-copy.
    pub mode: ModeWish,
}

/// A worker's AF_XDP sockets and their UMEM.
#[derive(Debug)]
pub struct Xsk {
    /// One for each port, in the same order. Closed before the UMEM is unmapped.
    sockets: Vec<Socket>,
    ports: Ports,
    mode: Mode,
    zero_copy_refusal: Option<String>,
    pages: Pages,
    /// Sockets whose NAPI we drive.
    driven: usize,
    /// Sockets of which the first frame will say whether we can.
    waiting: usize,
    sleep: Waiting,
}

/// A socket, as the XSKMAP wants to know it.
#[derive(Clone, Copy, Debug)]
pub struct OpenSocket<'a> {
    /// The device, as the worker knows it.
    pub device: DeviceIndex,
    /// The device, as the kernel knows it.
    pub ifindex: u32,
    /// The queue: the key in the device's XSKMAP.
    pub queue: QueueId,
    /// Whether the worker drives its NAPI.
    pub busy_poll: BusyPoll,
    /// The socket: the value there.
    pub fd: BorrowedFd<'a>,
}

impl Xsk {
    /// Opens and binds every socket and fills its fill ring. From here on the
    /// sockets receive what an XDP program redirects to them.
    ///
    /// # Errors
    /// What stands in the way, and what to do about it: see [`RingError`].
    /// Nothing stays open.
    pub fn open(config: &XskConfig) -> Result<Xsk, RingError> {
        let mapping = map_umem(config)?;
        let pages = mapping.pages().clone();
        let umem = Umem::new(mapping);
        let mut zero_copy_refusal = None;
        let opened = match config.mode {
            ModeWish::Copy => open_sockets(config, &umem, Mode::Copy),
            ModeWish::ZeroCopy => open_sockets(config, &umem, Mode::ZeroCopy),
            // The same memory for both tries: the kernel lets go of the first
            // UMEM's pages a moment after its sockets, and there may not be
            // hugepages for two.
            ModeWish::Auto => match open_sockets(config, &umem, Mode::ZeroCopy) {
                Err(RingError::ZeroCopyRefused {
                    interface,
                    queue,
                    source,
                }) => {
                    let refusal = format!("{interface} queue {queue} refuses zero-copy: {source}");
                    zero_copy_refusal = Some(refusal);
                    open_sockets(config, &umem, Mode::Copy)
                }
                other => other,
            },
        };
        let (sockets, ports) = opened?;
        let mode = sockets.first().ok_or(RingError::NoSockets)?.mode()?;
        let sleep = Waiting::new(sockets.iter().map(|socket| socket.fd.as_fd()));
        let sleep = sleep.map_err(RingError::Waiting)?;
        let ports = Ports::new(Pool::new(umem), ports);
        let mut xsk = Xsk {
            sockets,
            ports,
            mode,
            zero_copy_refusal,
            pages,
            driven: 0,
            waiting: 0,
            sleep,
        };
        for (socket, port) in xsk.sockets.iter().zip(xsk.ports.iter_mut()) {
            port.counts.busy_poll = socket.ask_busy_poll()?;
        }
        xsk.count_busy_polls();
        xsk.flush();
        Ok(xsk)
    }

    /// The mode that all sockets are in, as the kernel reports it.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// In copy mode though zero-copy was wished for: who refused it, and why.
    #[must_use]
    pub fn zero_copy_refusal(&self) -> Option<&str> {
        self.zero_copy_refusal.as_deref()
    }

    /// What the UMEM is made of.
    #[must_use]
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// The sockets, to be entered into the XSKMAP of their device.
    pub fn sockets(&self) -> impl Iterator<Item = OpenSocket<'_>> {
        self.sockets
            .iter()
            .zip(self.ports.iter())
            .map(|(socket, port)| {
                let SocketConfig {
                    device,
                    ifindex,
                    queue,
                    ..
                } = socket.config;
                OpenSocket {
                    device,
                    ifindex,
                    queue,
                    busy_poll: port.counts.busy_poll,
                    fd: socket.fd.as_fd(),
                }
            })
    }

    fn count_busy_polls(&mut self) {
        let count = |wanted| {
            let ports = self.ports.iter();
            ports.filter(|port| port.counts.busy_poll == wanted).count()
        };
        (self.driven, self.waiting) = (count(BusyPoll::Active), count(BusyPoll::Waiting));
    }

    /// Has the drivers poll the NAPIs that are ours to drive. A ring that holds a
    /// batch needs none: the worker has enough to do.
    fn drive(&mut self) {
        for (socket, port) in self.sockets.iter().zip(self.ports.iter_mut()) {
            if port.counts.busy_poll == BusyPoll::Active && port.rx.waiting() < RX_ENOUGH {
                socket.drive(port);
            }
        }
    }

    /// Looks what the first frame has said of the sockets that wait for it.
    fn look_for_napis(&mut self) {
        for (socket, port) in self.sockets.iter().zip(self.ports.iter_mut()) {
            if port.counts.busy_poll == BusyPoll::Waiting && port.counts.rx > 0 {
                port.counts.busy_poll = BusyPoll::look_again(socket.fd.as_fd());
            }
        }
        self.count_busy_polls();
    }
}

/// Opens and binds every socket in `mode`, the first as the UMEM's owner.
fn open_sockets(
    config: &XskConfig,
    umem: &Umem,
    mode: Mode,
) -> Result<(Vec<Socket>, Vec<Port>), RingError> {
    let deadline = Instant::now() + RETRY;
    let mut sockets: Vec<Socket> = Vec::with_capacity(config.sockets.len());
    let mut ports = Vec::with_capacity(config.sockets.len());
    for socket_config in &config.sockets {
        let SocketConfig {
            device,
            queue,
            lens,
            ..
        } = *socket_config;
        let socket = Socket::new(socket_config)?;
        let owner = sockets.first().map(|owner| owner.fd.as_fd());
        if owner.is_none() {
            socket.register(umem, deadline)?;
        }
        let ends = socket.rings()?;
        socket.bind(mode, owner, deadline)?;
        ports.push(Port::new(device, queue, lens, ends));
        sockets.push(socket);
    }
    Ok((sockets, ports))
}

/// Checks the configuration's numbers and maps the memory.
fn map_umem(config: &XskConfig) -> Result<Mapping, RingError> {
    if config.sockets.is_empty() {
        return Err(RingError::NoSockets);
    }
    for socket in &config.sockets {
        if let Some(fault) = socket.lens.fault() {
            let interface = socket.name.clone();
            return Err(RingError::RingLens {
                interface,
                queue: socket.queue.0,
                fault,
            });
        }
    }
    let lens: Vec<_> = config.sockets.iter().map(|socket| socket.lens).collect();
    let needed = frames_needed(&lens);
    let frames = config.frames.unwrap_or(needed);
    if frames < needed {
        return Err(RingError::TooFewFrames { frames, needed });
    }
    Ok(Mapping::new(
        frames as usize * usize::from(CHUNK_LEN),
        config.hugepages,
    )?)
}

impl Rings for Xsk {
    fn receive(&mut self, batch: &mut Vec<Received>) {
        if self.driven > 0 {
            self.drive();
        }
        self.ports.receive(batch);
        if self.waiting > 0 {
            self.look_for_napis();
        }
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
        self.ports.transmit(device, lane, frame)
    }

    fn flush(&mut self) {
        for (socket, port) in self.sockets.iter().zip(self.ports.iter_mut()) {
            port.tx.publish();
            socket.kick(port, self.mode);
        }
        self.ports.reap_and_refill();
    }

    fn ledger(&self) -> Ledger {
        self.ports.ledger()
    }

    fn statistics(&mut self, out: &mut dyn FnMut(SocketStatistics)) {
        for (socket, port) in self.sockets.iter().zip(self.ports.iter()) {
            out(port.statistics(socket.statistics()));
        }
    }

    fn idle(&self) -> bool {
        self.ports.idle()
    }

    fn wait_for(&mut self, wake: &Wake) -> io::Result<()> {
        self.sleep.add_wake(wake)
    }

    fn wait(&mut self, wake: &Wake, timeout_ns: u64) {
        let timeout_ns = if self.ports.iter().any(Port::awaits_kick) {
            timeout_ns.min(UNSENT_WAIT_NS)
        } else if self.ports.iter().any(Port::awaits_completion) {
            timeout_ns.min(UNCOMPLETED_WAIT_NS)
        } else {
            timeout_ns
        };
        self.sleep.sleep(wake, timeout_ns);
    }
}
