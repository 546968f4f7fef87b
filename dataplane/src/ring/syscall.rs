//! The system calls of an AF_XDP socket, one function each, with the kernel's
//! names (net/xdp/xsk.c). Errors are the kernel's errno; what they mean to the
//! operator is said in `error.rs`.
#![allow(
    unsafe_code,
    reason = "libc has the structs and constants of AF_XDP, but no safe calls"
)]

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd as _;
use std::os::fd::OwnedFd;
use std::ptr;

use libc::c_int;
use memmap2::MmapOptions;
use memmap2::MmapRaw;

use crate::frame::CHUNK_LEN;
use crate::frame::Umem;

/// Since Linux 6.17, and not in libc yet.
const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

/// Since Linux 5.11; libc has the other two.
const SO_BUSY_POLL_BUDGET: c_int = 70;

/// socket(AF_XDP). Needs CAP_NET_RAW.
pub(super) fn socket() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// XDP_UMEM_REG: the memory that this socket, and those that share it, receive
/// into and send from. The kernel pins its pages: they stay until the last of
/// the sockets is closed, even if the mapping goes first. It writes only into
/// chunks that [`Pool`](crate::frame::Pool) has given to a ring, for which no
/// token and so no slice exists.
pub(super) fn register_umem(fd: BorrowedFd<'_>, umem: &Umem) -> io::Result<()> {
    let (address, len) = umem.region();
    let registration = libc::xdp_umem_reg {
        addr: address as u64,
        len,
        chunk_size: u32::from(CHUNK_LEN),
        // The kernel adds its own XDP_PACKET_HEADROOM, which is all we want.
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    set(fd, libc::XDP_UMEM_REG, &registration)
}

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RingKind {
    Fill,
    Completion,
    Rx,
    Tx,
}

impl RingKind {
    fn option(self) -> c_int {
        match self {
            RingKind::Fill => libc::XDP_UMEM_FILL_RING,
            RingKind::Completion => libc::XDP_UMEM_COMPLETION_RING,
            RingKind::Rx => libc::XDP_RX_RING,
            RingKind::Tx => libc::XDP_TX_RING,
        }
    }

    fn page_offset(self) -> u64 {
        match self {
            RingKind::Fill => libc::XDP_UMEM_PGOFF_FILL_RING,
            RingKind::Completion => libc::XDP_UMEM_PGOFF_COMPLETION_RING,
            RingKind::Rx => libc::XDP_PGOFF_RX_RING.unsigned_abs(),
            RingKind::Tx => libc::XDP_PGOFF_TX_RING.unsigned_abs(),
        }
    }
}

/// Makes a ring of `entry_count` entries.
pub(super) fn make_ring(fd: BorrowedFd<'_>, kind: RingKind, entry_count: u32) -> io::Result<()> {
    set(fd, kind.option(), &entry_count)
}

/// XDP_MMAP_OFFSETS: where each ring's parts lie within its mapping.
pub(super) fn mmap_offsets(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    let empty = || libc::xdp_ring_offset {
        producer: 0,
        consumer: 0,
        desc: 0,
        flags: 0,
    };
    let mut offsets = libc::xdp_mmap_offsets {
        rx: empty(),
        tx: empty(),
        fr: empty(),
        cr: empty(),
    };
    get(fd, libc::XDP_MMAP_OFFSETS, &mut offsets)?;
    Ok(offsets)
}

/// mmap(2) of a ring.
pub(super) fn map_ring(fd: BorrowedFd<'_>, kind: RingKind, len: usize) -> io::Result<MmapRaw> {
    MmapOptions::new()
        .offset(kind.page_offset())
        .len(len)
        .populate()
        // The probe is for files that grow; this is not one.
        .no_probe_handle()
        .map_raw(&fd)
}

/// bind(2) to a queue of an interface. `shared` is the socket whose UMEM this one
/// uses; `flags` are then imposed by that one, and must be XDP_SHARED_UMEM alone.
pub(super) fn bind(
    fd: BorrowedFd<'_>,
    ifindex: u32,
    queue: u16,
    flags: u16,
    shared: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let shared = shared.map_or(0, |fd| fd.as_raw_fd().unsigned_abs());
    let address = libc::sockaddr_xdp {
        sxdp_family: u16::try_from(libc::AF_XDP).unwrap_or_default(),
        sxdp_flags: flags,
        sxdp_ifindex: ifindex,
        sxdp_queue_id: u32::from(queue),
        sxdp_shared_umem_fd: shared,
    };
    // SAFETY: the address outlives the call, and the length is its own.
    check(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            struct_len(&address),
        )
    })
}

/// XDP_MAX_TX_SKB_BUDGET: how many frames one kick sends in copy mode, 32 unless
/// set. Fails on kernels that lack it, and outside 32 to the tx ring's length.
pub(super) fn set_tx_budget(fd: BorrowedFd<'_>, budget: u32) -> io::Result<()> {
    set(fd, XDP_MAX_TX_SKB_BUDGET, &budget)
}

/// XDP_OPTIONS: true if the socket ended up in zero-copy mode.
pub(super) fn is_zero_copy(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut options = libc::xdp_options { flags: 0 };
    get(fd, libc::XDP_OPTIONS, &mut options)?;
    Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// XDP_STATISTICS.
pub(super) fn statistics(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_statistics> {
    let mut statistics = libc::xdp_statistics {
        rx_dropped: 0,
        rx_invalid_descs: 0,
        tx_invalid_descs: 0,
        rx_ring_full: 0,
        rx_fill_ring_empty_descs: 0,
        tx_ring_empty_descs: 0,
    };
    get(fd, libc::XDP_STATISTICS, &mut statistics)?;
    Ok(statistics)
}

/// SO_PREFER_BUSY_POLL, SO_BUSY_POLL and SO_BUSY_POLL_BUDGET: this socket's own calls
/// are to run the driver's poll, for so many microseconds and frames. Needs
/// CAP_NET_ADMIN.
pub(super) fn prefer_busy_poll(fd: BorrowedFd<'_>, us: u32, budget: u32) -> io::Result<()> {
    set_at(fd, libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL, &1_u32)?;
    set_at(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &us)?;
    set_at(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget)
}

/// SO_INCOMING_NAPI_ID: the NAPI that serves the socket's queue; 0 is none known.
pub(super) fn napi_id(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut id = 0_u32;
    get_at(fd, libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID, &mut id)?;
    Ok(id)
}

/// sendto(2) of nothing: has the kernel look at the tx ring.
pub(super) fn kick_tx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no buffer, no address.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            ptr::null(),
            0,
            libc::MSG_DONTWAIT,
            ptr::null(),
            0,
        )
    };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// recvfrom(2) of nothing: has the driver poll the queue's NAPI.
pub(super) fn poll_napi(fd: BorrowedFd<'_>) -> io::Result<()> {
    let nowhere = ptr::null_mut();
    // SAFETY: no buffer, no address.
    let received = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            nowhere,
            0,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if received < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn set<T>(fd: BorrowedFd<'_>, option: c_int, value: &T) -> io::Result<()> {
    set_at(fd, libc::SOL_XDP, option, value)
}

fn set_at<T>(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let pointer = ptr::from_ref(value).cast();
    // SAFETY: the value outlives the call, and the length is its own.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer, struct_len(value)) })
}

/// A kernel older than the struct fills its beginning; the rest stays as it was.
fn get<T: Copy>(fd: BorrowedFd<'_>, option: c_int, value: &mut T) -> io::Result<()> {
    get_at(fd, libc::SOL_XDP, option, value)
}

fn get_at<T: Copy>(
    fd: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &mut T,
) -> io::Result<()> {
    let mut len = struct_len(value);
    let pointer = ptr::from_mut(value).cast();
    // SAFETY: the kernel writes at most `len` bytes, which is the value's length;
    // every T here is an integer or a struct of them, so whatever it writes is valid.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, pointer, &raw mut len) })
}

fn struct_len<T>(_: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
