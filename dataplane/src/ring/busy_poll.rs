//! Preferred busy polling: the worker itself has the driver take frames off the
//! NIC, and the NIC's interrupt stays off for as long as it does.
//!
//! Three options of the socket ask for it. They take effect only where the kernel
//! knows which NAPI serves the queue: then SO_INCOMING_NAPI_ID is not 0, and a
//! recvfrom(2) or sendto(2) of nothing runs the driver's poll on the worker's core.
//! From Linux 6.14 on the kernel says so at bind(2), for zero-copy sockets of
//! drivers that link their queues to their NAPIs; before, when the first frame
//! arrives. Elsewhere (veth, copy mode) the options are taken and do nothing.
//!
//! The interrupt stays off only if the device's napi_defer_hard_irqs and
//! gro_flush_timeout are set: see Documentation/networking/napi.rst of the kernel.

use std::io;
use std::os::fd::BorrowedFd;

use super::syscall;
use crate::limits::BATCH;

/// SO_BUSY_POLL: how long a socket may busy poll, in microseconds. A call that does
/// not block polls once, whatever it says; it only has to be more than 0.
const BUSY_POLL_US: u32 = 20;

/// Whether busy polling takes effect on a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BusyPoll {
    /// It was not asked for.
    #[default]
    Off,
    /// It was asked for; this kernel says with the first frame whether it does.
    Waiting,
    /// The worker drives the queue's NAPI.
    Active,
    /// It was asked for, and the kernel knows no NAPI for this queue.
    NoEffect,
}

impl BusyPoll {
    /// Asks for it on a bound socket.
    pub(super) fn ask(fd: BorrowedFd<'_>) -> io::Result<BusyPoll> {
        syscall::prefer_busy_poll(fd, BUSY_POLL_US, u32::try_from(BATCH).unwrap_or(64))?;
        let settled = is_said_at_bind(&nix::sys::utsname::uname()?.release().to_string_lossy());
        Ok(BusyPoll::of(syscall::napi_id(fd)?, settled))
    }

    /// The same socket after its first frame.
    pub(super) fn look_again(fd: BorrowedFd<'_>) -> BusyPoll {
        BusyPoll::of(syscall::napi_id(fd).unwrap_or(0), true)
    }

    fn of(napi_id: u32, settled: bool) -> BusyPoll {
        match (napi_id, settled) {
            (0, true) => BusyPoll::NoEffect,
            (0, false) => BusyPoll::Waiting,
            _ => BusyPoll::Active,
        }
    }
}

/// True for kernels whose bind(2) finds the queue's NAPI (5ef44b3cb43b, "xsk: Bring
/// back busy polling support"). On those no frame will change what it says.
fn is_said_at_bind(release: &str) -> bool {
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0_u32));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (6, 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_napi_means_depends_on_the_kernel() {
        for (release, said) in [
            ("6.18.44-fc-v669", true),
            ("6.14.0", true),
            ("6.1.0-37-amd64", false),
            ("5.18", false),
            ("7.0-rc1", true),
            ("", false),
        ] {
            assert_eq!(is_said_at_bind(release), said, "{release}");
        }
        assert_eq!(BusyPoll::of(0, true), BusyPoll::NoEffect);
        assert_eq!(BusyPoll::of(0, false), BusyPoll::Waiting);
        assert_eq!(BusyPoll::of(8193, false), BusyPoll::Active);
    }
}
