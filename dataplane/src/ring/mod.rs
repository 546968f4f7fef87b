//! The rings: how frames come from the kernel and go back to it.
//!
//! ```text
//!        ┌──────────────────────────── worker ────────────────────────────┐
//!        │ receive ◄─ rx ring          pool           tx ring ◄─ transmit │
//!        │             ▲          ▲          │           │                │
//!        │ flush:      │     reap │          │ refill    │ publish, kick  │
//!        └─────────────┼──────────┼──────────┼───────────┼────────────────┘
//!                      │   completion ring   ▼           ▼
//!                    kernel ◄────────────fill ring     kernel
//! ```
//!
//! It owns the AF_XDP sockets of one worker, one for each queue it owns on
//! each device, and the UMEM that they share. The worker sees [`Rings`]:
//! frames and bytes, no descriptor and no socket. [`Xsk`] is the kernel's rings,
//! [`Fake`] a pair of ends in plain memory for tests and the simulator; the
//! bookkeeping ([`port`]) is common to both.

mod busy_poll;
mod cursor;
mod error;
mod fake;
mod nic;
mod port;
mod socket;
mod syscall;
mod xsk;

#[cfg(test)]
mod fake_test;
#[cfg(test)]
mod veth;
#[cfg(test)]
mod xsk_test;

pub use busy_poll::BusyPoll;
pub use error::RingError;
pub use fake::Fake;
pub use fake::FakeConfig;
pub use nic::nic_rx_descriptors;
pub use nic::nic_strips_vlan_tags;
pub use port::RingLens;
pub use port::frames_needed;
pub use socket::Mode;
pub use socket::SocketConfig;
pub use xsk::ModeWish;
pub use xsk::OpenSocket;
pub use xsk::Xsk;
pub use xsk::XskConfig;

use std::io;

use crate::frame::Frame;
use crate::frame::Ledger;
use crate::ids::DeviceIndex;
use crate::ids::Lane;
use crate::ids::QueueId;
use crate::limits::BATCH;
use crate::sys::wake::Wake;

/// A frame, and the device it came in by: its tags say the interface.
#[derive(Debug)]
pub struct Received {
    /// The frame, now the receiver's.
    pub frame: Frame,
    /// Where it came in.
    pub device: DeviceIndex,
}

/// A worker's rings: its sockets on every device, and its frames.
///
/// A turn is: `receive` once, any number of `allocate`, `transmit` and `free`,
/// then `flush` once.
pub trait Rings {
    /// Appends at most [`BATCH`] received frames to `batch`, and never more than
    /// its spare capacity. Which socket comes first changes from call to call, so
    /// that none starves.
    fn receive(&mut self, batch: &mut Vec<Received>);

    /// The bytes in use of `frame`.
    ///
    /// # Panics
    /// If the frame is of other rings, as do all that take one.
    fn bytes(&self, frame: &Frame) -> &[u8];

    /// The bytes in use of `frame`, to change.
    fn bytes_mut(&mut self, frame: &mut Frame) -> &mut [u8];

    /// The bytes of `source` to read and of `target` to write, at once: for
    /// writing a new message from the pieces of an old one.
    fn pair(&mut self, source: &Frame, target: &mut Frame) -> (&[u8], &mut [u8]);

    /// A frame with `len` bytes in use behind the headroom, contents undefined.
    /// None if the pool is empty or `len` exceeds [`FRAME_LEN_MAX`].
    ///
    /// [`FRAME_LEN_MAX`]: crate::frame::FRAME_LEN_MAX
    fn allocate(&mut self, len: usize) -> Option<Frame>;

    /// Gives the frame back to the pool.
    fn free(&mut self, frame: Frame);

    /// Puts the frame on the transmit ring of one of this worker's sockets on
    /// `device`, to be sent by the next `flush`. Frames with the same `lane`
    /// take the same socket and so leave in their order; lanes are spread over the
    /// sockets.
    ///
    /// # Errors
    /// Gives the frame back if the ring is full or there is no such socket. It
    /// does not go to another ring: there it could overtake those before it.
    fn transmit(&mut self, device: DeviceIndex, lane: Lane, frame: Frame) -> Result<(), Frame>;

    /// The end of a turn: publishes what was transmitted, kicks the sockets that
    /// need it, reaps every completion and refills every fill ring.
    fn flush(&mut self);

    /// Where every frame is.
    fn ledger(&self) -> Ledger;

    /// Hands out each socket's statistics. A system call a socket: for
    /// housekeeping only.
    fn statistics(&mut self, out: &mut dyn FnMut(SocketStatistics));

    /// True if nothing waits in any rx ring.
    fn idle(&self) -> bool;

    /// Has `wake` end a sleep: once, before the first.
    ///
    /// # Errors
    /// What the kernel says to one more descriptor.
    fn wait_for(&mut self, wake: &Wake) -> io::Result<()>;

    /// Sleeps until a socket is readable, `wake` rings or `timeout_ns` passes,
    /// and clears `wake`. To be called after [`Wake::prepare`] and a second
    /// look. Frames still on their way out shorten the sleep.
    fn wait(&mut self, wake: &Wake, timeout_ns: u64);
}

/// What the kernel counts for a socket (XDP_STATISTICS). `rx_dropped`,
/// `rx_ring_full` and `rx_fill_ring_empty_descs` overlap: never add them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStatistics {
    /// Frames dropped for another reason than a full rx ring.
    pub rx_dropped: u64,
    /// Fill entries that named no chunk.
    pub rx_invalid_descs: u64,
    /// Transmit descriptors that left their chunk.
    pub tx_invalid_descs: u64,
    /// Frames dropped because the worker did not take them in time.
    pub rx_ring_full: u64,
    /// Times the kernel found no frame to receive into.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the kernel found nothing to send.
    pub tx_ring_empty_descs: u64,
}

/// What a socket has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// The socket's device.
    pub device: DeviceIndex,
    /// The socket's queue there.
    pub queue: QueueId,
    /// The kernel's own counts.
    pub kernel: KernelStatistics,
    /// Frames received.
    pub rx: u64,
    /// Frames put on the transmit ring.
    pub tx: u64,
    /// Frames the kernel gave back: sent, or refused.
    pub completed: u64,
    /// Frames given back but dropped by the driver: a completion is not a
    /// delivery.
    pub refused: u64,
    /// System calls made to have frames sent.
    pub kicks: u64,
    /// Kicks that failed, because the interface was down or gone.
    pub kick_errors: u64,
    /// Whether the worker drives the queue's NAPI.
    pub busy_poll: BusyPoll,
}
