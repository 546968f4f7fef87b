//! The wake-up: how a worker that has nothing to do sleeps without missing
//! anything, and without costing a producer a system call when it does not.
//!
//! ```text
//!   consumer (a worker)                      producer (a worker, control)
//!   asleep = true                            publish the message
//!   fence                                    fence
//!   look again at rings and mailboxes        if asleep: write the eventfd
//!   epoll(7): sockets, eventfd, alarm
//!   asleep = false, drain the eventfd
//! ```
//!
//! The two fences make it safe, see [`super::asleep`].
#![allow(unsafe_code, reason = "eventfd(2) is called through libc")]

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd as _;
use std::os::fd::OwnedFd;

use super::asleep::Asleep;

/// One worker's wake-up, shared by an `Arc` made at start: the worker sleeps by
/// it, everyone who writes to its mailboxes wakes by it.
#[derive(Debug)]
pub struct Wake {
    asleep: Asleep,
    event: File,
}

impl Wake {
    /// Makes the eventfd.
    ///
    /// # Errors
    /// What eventfd(2) says: no more file descriptors.
    pub fn new() -> io::Result<Wake> {
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Wake {
            asleep: Asleep::default(),
            event: File::from(fd),
        })
    }

    /// Consumer: announces sleep. Look at every ring and mailbox **after** this,
    /// then either `Rings::wait` or [`Wake::cancel`].
    pub fn prepare(&self) {
        self.asleep.announce();
    }

    /// Consumer: there was something after all.
    pub fn cancel(&self) {
        self.asleep.retract();
    }

    /// Consumer: awake again; clears the flag, and the event if it fired.
    pub(crate) fn awake(&self, fired: bool) {
        self.asleep.retract();
        if fired {
            let mut count = [0; 8];
            // An error is EAGAIN: the event had been read before.
            let _ = (&self.event).read(&mut count);
        }
    }

    /// Producer, after publishing to the worker's mailbox: wakes it if it
    /// sleeps. Costs a fence if not, a system call if so.
    pub fn ring(&self) {
        if self.asleep.wanted() {
            // An error is EAGAIN: the count is at its limit, so it has fired.
            let _ = (&self.event).write(&1_u64.to_ne_bytes());
        }
    }
}

/// What the consumer waits for: readable when the event has fired. One that sleeps in a runtime of
/// its own reads the eight bytes itself, and announces sleep once, by [`Wake::prepare`]: then every
/// ring is an event.
impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering;

    use nix::poll::PollFd;
    use nix::poll::PollFlags;
    use nix::poll::PollTimeout;
    use nix::poll::poll;

    use super::*;

    /// Whether the event fires within the time.
    fn fires(wake: &Wake, timeout: PollTimeout) -> bool {
        let mut entries = [PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
        poll(&mut entries, timeout).is_ok_and(|ready| ready > 0)
    }

    fn fired(wake: &Wake) -> bool {
        fires(wake, PollTimeout::ZERO)
    }

    #[test]
    fn the_event_is_written_only_while_the_consumer_sleeps() {
        let wake = Wake::new().unwrap();
        wake.ring();
        assert!(!fired(&wake), "nobody sleeps");
        wake.prepare();
        wake.ring();
        wake.ring();
        assert!(fired(&wake));
        wake.awake(true);
        assert!(!fired(&wake), "drained");
        wake.prepare();
        wake.cancel();
        wake.ring();
        assert!(!fired(&wake), "the sleep was cancelled");
    }

    /// A consumer that sleeps for ever whenever it sees nothing must still see
    /// every message. A lost wake-up hangs the test.
    #[test]
    fn no_message_is_slept_through() {
        const COUNT: u64 = 20_000;
        let wake = Arc::new(Wake::new().unwrap());
        let mail = Arc::new(AtomicU64::new(0));
        let producer = {
            let (wake, mail) = (Arc::clone(&wake), Arc::clone(&mail));
            std::thread::spawn(move || {
                for _ in 0..COUNT {
                    mail.fetch_add(1, Ordering::Relaxed);
                    wake.ring();
                }
            })
        };
        let mut seen = 0;
        while seen < COUNT {
            wake.prepare();
            if mail.load(Ordering::Relaxed) > seen {
                wake.cancel();
            } else {
                let fired = fires(&wake, PollTimeout::NONE);
                wake.awake(fired);
            }
            seen = mail.load(Ordering::Relaxed);
        }
        producer.join().unwrap();
    }
}
