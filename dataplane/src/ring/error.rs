//! Why the rings did not open, and what to do about it.

use std::io;

use crate::sys::memory::MemoryError;

/// Why the rings did not open. Each sentence tells the operator what to do next.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// No socket was asked for.
    #[error("a worker without a queue: configure no more workers than an interface has queues")]
    NoSockets,
    /// Ring lengths that do not go together.
    #[error("{interface} queue {queue}: {fault}")]
    RingLens {
        /// The interface's name.
        interface: String,
        /// Its queue.
        queue: u16,
        /// What is wrong with them.
        fault: &'static str,
    },
    /// The UMEM is too small for its rings.
    #[error(
        "a UMEM of {frames} frames is too small for these rings: give it {needed} or more (`umem.frames`)"
    )]
    TooFewFrames {
        /// As configured.
        frames: u32,
        /// What the rings can hold, and two batches.
        needed: u32,
    },
    /// No memory, or no hugepages where they are demanded.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Nothing to sleep by.
    #[error("no epoll or timer for a worker: {0}: raise the limit of open files (LimitNOFILE)")]
    Waiting(io::Error),
    /// The kernel has no AF_XDP.
    #[error("this kernel has no AF_XDP sockets: it needs CONFIG_XDP_SOCKETS (Linux 5.11 or later)")]
    NoAfXdp,
    /// EPERM.
    #[error(
        "no permission to open an AF_XDP socket: start as root, or with the capabilities \
         CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF"
    )]
    NoPermission,
    /// ENOBUFS from the registration of the UMEM.
    #[error(
        "the kernel refuses to lock a UMEM of {len} bytes: raise RLIMIT_MEMLOCK \
         (LimitMEMLOCK=infinity) or add the capability CAP_IPC_LOCK"
    )]
    Memlock {
        /// The UMEM's length.
        len: u64,
    },
    /// ENODEV from bind.
    #[error("there is no interface {interface} (index {ifindex}): see `ip link`")]
    NoInterface {
        /// The name, as configured.
        interface: String,
        /// The index that it was looked up as.
        ifindex: u32,
    },
    /// ENETDOWN from bind.
    #[error("{interface} is down: `ip link set {interface} up`")]
    InterfaceDown {
        /// The interface's name.
        interface: String,
    },
    /// EINVAL from bind in copy mode.
    #[error(
        "{interface} has no queue {queue}, or it cannot carry AF_XDP: \
         `ethtool -l {interface}` shows its queues"
    )]
    NoQueue {
        /// The interface's name.
        interface: String,
        /// The queue asked for.
        queue: u16,
    },
    /// EBUSY from bind, for as long as we tried.
    #[error(
        "{interface} queue {queue} belongs to another AF_XDP socket: `ss --xdp -p` shows whose; \
         stop that process"
    )]
    QueueTaken {
        /// The interface's name.
        interface: String,
        /// Its queue.
        queue: u16,
    },
    /// The driver takes no zero-copy socket where one is demanded.
    #[error(
        "{interface} queue {queue} refuses zero-copy ({source}): configure zero_copy = \"auto\" or \"off\""
    )]
    ZeroCopyRefused {
        /// The interface's name.
        interface: String,
        /// Its queue.
        queue: u16,
        /// What bind(2) said.
        source: io::Error,
    },
    /// Anything else.
    #[error("{interface} queue {queue}: {call} failed: {source}")]
    Call {
        /// The interface's name.
        interface: String,
        /// Its queue.
        queue: u16,
        /// What failed.
        call: &'static str,
        /// What it said.
        source: io::Error,
    },
}
