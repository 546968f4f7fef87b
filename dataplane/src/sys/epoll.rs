//! Where a worker sleeps: one epoll(7) over its sockets, its wake-up and its alarm.
//!
//! poll(2) asks every descriptor before a sleep and after it; epoll knows which of them has
//! something. For a worker that sleeps between messages that is a twentieth of what a call costs.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;

use nix::sys::epoll::Epoll;
use nix::sys::epoll::EpollCreateFlags;
use nix::sys::epoll::EpollEvent;
use nix::sys::epoll::EpollFlags;
use nix::sys::epoll::EpollTimeout;

use super::alarm::Alarm;
use super::clock;
use super::wake::Wake;
use crate::tick::Tick;

/// What an event is of.
const SOCKET: u64 = 0;
const ALARM: u64 = 1;
const WAKE: u64 = 2;

/// Events taken at once. Which sockets have something the rings say better: of these only the
/// wake-up's is looked at, and one that is left out comes again.
const EVENTS: usize = 8;

/// What a worker waits for.
#[derive(Debug)]
pub(crate) struct Waiting {
    epoll: Epoll,
    alarm: Alarm,
}

impl Waiting {
    /// For these sockets and an alarm.
    ///
    /// # Errors
    /// No more file descriptors, no memory.
    pub(crate) fn new<'s>(sockets: impl Iterator<Item = BorrowedFd<'s>>) -> io::Result<Waiting> {
        let waiting = Waiting {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            alarm: Alarm::new()?,
        };
        for socket in sockets {
            waiting.add(socket, SOCKET)?;
        }
        waiting.add(waiting.alarm.as_fd(), ALARM)?;
        Ok(waiting)
    }

    /// For this wake-up as well.
    ///
    /// # Errors
    /// No memory; a wake-up that is waited for already.
    pub(crate) fn add_wake(&self, wake: &Wake) -> io::Result<()> {
        self.add(wake.as_fd(), WAKE)
    }

    fn add(&self, fd: BorrowedFd<'_>, what: u64) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, what);
        Ok(self.epoll.add(fd, event)?)
    }

    /// Sleeps until there is something or the time has passed, and clears `wake`. A signal or an
    /// error ends it early, as any spurious wake-up: callers look at what there is.
    pub(crate) fn sleep(&mut self, wake: &Wake, timeout_ns: u64) {
        let now = clock::now();
        let due = Tick(now.0.saturating_add(timeout_ns));
        let timeout = match self.alarm.set(now, due) {
            Ok(()) => EpollTimeout::NONE,
            // A timer that cannot be set is no reason to sleep too long.
            Err(_) => EpollTimeout::try_from(timeout_ns / 1_000_000).unwrap_or(EpollTimeout::ZERO),
        };
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        wake.awake(events[..count].iter().any(|event| event.data() == WAKE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    const LONG_NS: u64 = 3_600_000_000_000;

    #[test]
    fn a_socket_a_ring_and_the_time_each_end_a_sleep() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let wake = Wake::new().unwrap();
        let mut waiting = Waiting::new([near.as_fd()].into_iter()).unwrap();
        waiting.add_wake(&wake).unwrap();

        let before = clock::now();
        waiting.sleep(&wake, 2_000_000);
        assert!(clock::now().since(before) >= 2_000_000);

        for _ in 0..2 {
            wake.prepare();
            wake.ring();
            waiting.sleep(&wake, LONG_NS);
        }

        far.write_all(b"x").unwrap();
        waiting.sleep(&wake, LONG_NS);
    }
}
