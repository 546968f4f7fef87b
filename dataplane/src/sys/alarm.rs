//! The alarm that ends a sleep when a timer is due.
//!
//! A timeout of poll(2) is set anew at each sleep and taken back at its end. In a guest each of
//! the two is an exit to the hypervisor, and together they were a third of what a call cost a
//! worker that sleeps between messages. An alarm stays set over many sleeps: one for each bucket
//! of the timer wheel rather than one for each message.

use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sys::timerfd::ClockId;
use nix::sys::timerfd::Expiration;
use nix::sys::timerfd::TimerFd;
use nix::sys::timerfd::TimerFlags;
use nix::sys::timerfd::TimerSetTimeFlags;

use crate::tick::Tick;

/// Readable from a time on.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    /// When it goes off, or went off.
    due: Tick,
}

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// What timerfd_create(2) says: no more file descriptors.
    pub(super) fn new() -> io::Result<Alarm> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Alarm {
            timer: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?,
            due: Tick(0),
        })
    }

    /// Has it go off at `due` at the latest. If it is set to an earlier time that lies ahead, it
    /// stays: whoever it wakes too early sleeps again.
    ///
    /// # Errors
    /// What timerfd_settime(2) says.
    pub(super) fn set(&mut self, now: Tick, due: Tick) -> io::Result<()> {
        if now < self.due && self.due <= due {
            return Ok(());
        }
        // Zero would disarm it; an alarm that is due goes off at once.
        let at = Expiration::OneShot(Duration::from_nanos(due.0.max(1)).into());
        self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.due = due;
        Ok(())
    }

    /// Readable when it has gone off, until it is set again.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;
    use nix::poll::PollFd;
    use nix::poll::PollFlags;
    use nix::poll::PollTimeout;
    use nix::poll::poll;

    fn sleep(alarm: &Alarm) -> Tick {
        let flags = PollFlags::POLLIN;
        poll(&mut [PollFd::new(alarm.as_fd(), flags)], PollTimeout::NONE).unwrap();
        clock::now()
    }

    #[test]
    fn it_goes_off_when_it_is_due_and_not_before() {
        let mut alarm = Alarm::new().unwrap();
        for ms in [3, 0, 2] {
            let now = clock::now();
            let due = now.plus_ms(ms);
            alarm.set(now, due).unwrap();
            assert!(sleep(&alarm) >= due);
        }
    }

    #[test]
    fn it_is_set_to_an_earlier_time_and_left_for_a_later_one() {
        let mut alarm = Alarm::new().unwrap();
        let now = clock::now();
        alarm.set(now, now.plus_ms(3_600_000)).unwrap();
        alarm.set(now, now.plus_ms(5)).unwrap();
        alarm.set(now, now.plus_ms(3_600_000)).unwrap();
        assert_eq!(alarm.due, now.plus_ms(5));
        let woken = sleep(&alarm);
        assert!(woken >= now.plus_ms(5) && woken < now.plus_ms(3_000_000));
    }
}
