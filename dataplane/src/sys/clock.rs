//! The box's monotonic clock. The worker reads it once a batch and passes the
//! [`Tick`] on: nothing below the worker reads a clock.
#![allow(
    unsafe_code,
    reason = "clock_gettime has no safe form that gives the clock's own epoch"
)]

use crate::tick::Tick;

/// Now, on CLOCK_MONOTONIC: the same clock on every thread and in the kernel's
/// own stamps. Answered by the vDSO, without a system call.
#[must_use]
pub fn now() -> Tick {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec to write to. The call cannot fail for this
    // clock and a valid pointer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Tick(seconds * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_and_never_goes_back() {
        let start = now();
        let mut last = start;
        while last == start {
            let next = now();
            assert!(next >= last);
            last = next;
        }
        assert!(start > Tick(0));
    }
}
