//! One AF_XDP socket: how it is made, bound and kicked.
//!
//! The order is the kernel's: UMEM (first socket only), fill and completion
//! ring, rx and tx ring, bind. The first socket of a worker owns the UMEM and
//! settles its mode; the others join with XDP_SHARED_UMEM and
//! nothing else, each with fill and completion rings of its own.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::BATCH;
use super::BusyPoll;
use super::KernelStatistics;
use super::RingError;
use super::RingLens;
use super::cursor::Entry;
use super::cursor::Offsets;
use super::cursor::Ring;
use super::port::Ends;
use super::port::Port;
use super::syscall;
use super::syscall::RingKind;
use crate::frame::Umem;
use crate::ids::DeviceIndex;
use crate::ids::QueueId;

/// Kicks a turn at most. One is the rule. A driver that drops each frame (EBUSY)
/// ends a kick at every one, so a whole batch of those takes as many; what is
/// still there then is left for the next turn.
const KICKS_MAX: usize = BATCH;

/// How long a start tries again when a queue is busy or no memory may be locked:
/// what a process that has just died owned is released a moment later.
pub(super) const RETRY: Duration = Duration::from_secs(3);

/// How long to wait between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How frames cross the border to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The kernel copies each frame into and out of the UMEM.
    Copy,
    /// The NIC reads and writes the UMEM itself.
    ZeroCopy,
}

/// A socket to open: where, and how long its rings are.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// The device, as the worker knows it.
    pub device: DeviceIndex,
    /// The device, as errors name it.
    pub name: String,
    /// The device, as the kernel knows it.
    pub ifindex: u32,
    /// The queue.
    pub queue: QueueId,
    /// The lengths of its rings.
    pub lens: RingLens,
    /// Whether the worker is to drive the queue's NAPI, where that takes effect.
    pub busy_poll: bool,
}

impl SocketConfig {
    pub(super) fn failed(&self, call: &'static str, source: io::Error) -> RingError {
        let interface = self.name.clone();
        RingError::Call {
            interface,
            queue: self.queue.0,
            call,
            source,
        }
    }
}

/// An AF_XDP socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub fd: OwnedFd,
    pub config: SocketConfig,
}

impl Socket {
    /// An unbound socket.
    pub(super) fn new(config: &SocketConfig) -> Result<Socket, RingError> {
        let fd = syscall::socket().map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => RingError::NoPermission,
            Some(libc::EAFNOSUPPORT) => RingError::NoAfXdp,
            _ => config.failed("socket(AF_XDP)", source),
        })?;
        Ok(Socket {
            fd,
            config: config.clone(),
        })
    }

    /// Registers the UMEM: this socket is the first of its worker. ENOBUFS is
    /// tried again until `deadline`, since a UMEM whose sockets have just been
    /// closed counts as locked memory for a moment longer.
    pub(super) fn register(&self, umem: &Umem, deadline: Instant) -> Result<(), RingError> {
        let register = || syscall::register_umem(self.fd.as_fd(), umem);
        retry(libc::ENOBUFS, deadline, register).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOBUFS) => RingError::Memlock {
                len: umem.region().1,
            },
            Some(libc::EPERM) => RingError::NoPermission,
            _ => self.config.failed("XDP_UMEM_REG", source),
        })
    }

    /// Makes and maps the four rings.
    pub(super) fn rings(&self) -> Result<Ends, RingError> {
        let fd = self.fd.as_fd();
        let RingLens { rx, fill, tx } = self.config.lens;
        let make = |kind, len| {
            let made = syscall::make_ring(fd, kind, len);
            made.map_err(|source| self.config.failed("making a ring", source))
        };
        make(RingKind::Fill, fill)?;
        make(RingKind::Completion, tx)?;
        make(RingKind::Rx, rx)?;
        make(RingKind::Tx, tx)?;
        let at = syscall::mmap_offsets(fd)
            .map_err(|source| self.config.failed("XDP_MMAP_OFFSETS", source))?;
        Ok(Ends {
            fill: self.map(RingKind::Fill, &at.fr, fill)?.into_producer(),
            completion: self.map(RingKind::Completion, &at.cr, tx)?.into_consumer(),
            rx: self.map(RingKind::Rx, &at.rx, rx)?.into_consumer(),
            tx: self.map(RingKind::Tx, &at.tx, tx)?.into_producer(),
        })
    }

    fn map<T: Entry>(
        &self,
        kind: RingKind,
        at: &libc::xdp_ring_offset,
        entry_count: u32,
    ) -> Result<Ring<T>, RingError> {
        let libc::xdp_ring_offset {
            producer,
            consumer,
            desc: entries,
            ..
        } = *at;
        let offsets = Offsets {
            producer,
            consumer,
            entries,
        };
        let len = offsets.ring_len::<T>(entry_count);
        let memory = syscall::map_ring(self.fd.as_fd(), kind, len)
            .map_err(|source| self.config.failed("mapping a ring", source))?;
        Ring::new(memory, offsets, entry_count).ok_or_else(|| {
            self.config.failed(
                "mapping a ring",
                io::Error::other("it does not fit its mapping"),
            )
        })
    }

    /// Binds to the queue: with `mode` as the first socket of its UMEM, or to
    /// the UMEM of `owner`. EBUSY is tried again until `deadline`.
    pub(super) fn bind(
        &self,
        mode: Mode,
        owner: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> Result<(), RingError> {
        let flags = match (owner, mode) {
            (Some(_), _) => libc::XDP_SHARED_UMEM,
            (None, Mode::Copy) => libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP,
            // With need_wakeup a driver that finds the rx ring full waits, and shows
            // a frame again that the kernel has freed: decision 013.
            (None, Mode::ZeroCopy) => libc::XDP_ZEROCOPY,
        };
        let SocketConfig { ifindex, queue, .. } = self.config;
        let bind = || syscall::bind(self.fd.as_fd(), ifindex, queue.0, flags, owner);
        retry(libc::EBUSY, deadline, bind).map_err(|source| self.bind_error(mode, source))?;
        if mode == Mode::Copy {
            // One kick then sends all there is. Kernels without it send 32 a
            // kick, and take more kicks: nothing is lost by its failure.
            let _ = syscall::set_tx_budget(self.fd.as_fd(), self.config.lens.tx);
        }
        Ok(())
    }

    fn bind_error(&self, mode: Mode, source: io::Error) -> RingError {
        let interface = self.config.name.clone();
        let queue = self.config.queue.0;
        match source.raw_os_error() {
            Some(libc::ENODEV) => RingError::NoInterface {
                interface,
                ifindex: self.config.ifindex,
            },
            Some(libc::ENETDOWN) => RingError::InterfaceDown { interface },
            Some(libc::EBUSY) => RingError::QueueTaken { interface, queue },
            Some(libc::EPERM) => RingError::NoPermission,
            // Drivers differ in how they refuse: EOPNOTSUPP, EINVAL (this queue,
            // these ring lengths, this MTU), ENOMEM.
            _ if mode == Mode::ZeroCopy => RingError::ZeroCopyRefused {
                interface,
                queue,
                source,
            },
            Some(libc::EINVAL) => RingError::NoQueue { interface, queue },
            _ => self.config.failed("bind", source),
        }
    }

    /// Asks for busy polling, where the configuration does, and says what came of it.
    pub(super) fn ask_busy_poll(&self) -> Result<BusyPoll, RingError> {
        if !self.config.busy_poll {
            return Ok(BusyPoll::Off);
        }
        BusyPoll::ask(self.fd.as_fd())
            .map_err(|source| self.config.failed("SO_PREFER_BUSY_POLL", source))
    }

    /// Has the driver poll its NAPI, and look at the fill ring with it.
    pub(super) fn drive(&self, port: &mut Port) {
        if !port.dead && syscall::poll_napi(self.fd.as_fd()).is_err() {
            port.counts.kick_errors += 1;
        }
    }

    /// The mode that the kernel says it is in.
    pub(super) fn mode(&self) -> Result<Mode, RingError> {
        match syscall::is_zero_copy(self.fd.as_fd()) {
            Ok(true) => Ok(Mode::ZeroCopy),
            Ok(false) => Ok(Mode::Copy),
            Err(source) => Err(self.config.failed("XDP_OPTIONS", source)),
        }
    }

    /// What the kernel counted; zeros if it will not say.
    pub(super) fn statistics(&self) -> KernelStatistics {
        let Ok(kernel) = syscall::statistics(self.fd.as_fd()) else {
            return KernelStatistics::default();
        };
        KernelStatistics {
            rx_dropped: kernel.rx_dropped,
            rx_invalid_descs: kernel.rx_invalid_descs,
            tx_invalid_descs: kernel.tx_invalid_descs,
            rx_ring_full: kernel.rx_ring_full,
            rx_fill_ring_empty_descs: kernel.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: kernel.tx_ring_empty_descs,
        }
    }

    /// Has the kernel send what is on the tx ring, with as few kicks as drain it.
    pub(super) fn kick(&self, port: &mut Port, mode: Mode) {
        for _ in 0..KICKS_MAX {
            let unsent = port.tx.unconsumed();
            if unsent == 0 || port.dead {
                return;
            }
            port.counts.kicks += 1;
            if let Err(error) = syscall::kick_tx(self.fd.as_fd()) {
                match error.raw_os_error() {
                    // One frame was completed but dropped by the driver.
                    Some(libc::EBUSY) => port.counts.refused += 1,
                    // The budget is used up, or the driver's queue or the socket's
                    // buffer is full: whether to go on now shows below.
                    Some(libc::EAGAIN | libc::ENOBUFS) => {}
                    // The interface is gone, and this socket with it.
                    Some(libc::ENXIO) => {
                        port.counts.kick_errors += 1;
                        port.dead = true;
                        return;
                    }
                    // ENETDOWN: the interface is down. The frames stay on the ring,
                    // which fills; it will come back.
                    _ => {
                        port.counts.kick_errors += 1;
                        return;
                    }
                }
            }
            // Zero-copy sends later, in the driver's own time.
            if mode == Mode::ZeroCopy || port.tx.unconsumed() == unsent {
                return;
            }
        }
    }
}

/// Calls again as long as it fails with `errno` and `deadline` has not passed.
fn retry(errno: i32, deadline: Instant, call: impl Fn() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(error) if error.raw_os_error() == Some(errno) && Instant::now() < deadline => {
                thread::sleep(RETRY_PAUSE);
            }
            result => return result,
        }
    }
}
