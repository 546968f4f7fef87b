//! What is said of a system call that a thread's seccomp filter does not let pass.
//!
//! A filter that kills says so in the kernel's log, where an operator of the box may not
//! look and a container's never can. So our filters trap instead: the kernel sends SIGSYS
//! to the thread, and the handler here names the thread and the call, and ends the process.
//! Where libc has blocked every signal, as it does while it makes a thread or a process, no
//! handler can run: the kernel ends the process at once, by SIGSYS.
#![allow(
    unsafe_code,
    reason = "sigaction(2), prctl(2), write(2) and abort(3) in a signal handler, and what siginfo_t holds for SIGSYS"
)]

use std::ffi::c_int;
use std::ffi::c_void;
use std::io;
use std::sync::OnceLock;

use nix::sys::signal::SaFlags;
use nix::sys::signal::SigAction;
use nix::sys::signal::SigHandler;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;

/// `si_code` of a SIGSYS that comes from a filter (asm-generic/siginfo.h).
const SYS_SECCOMP: c_int = 1;

/// The beginning of `siginfo_t`, as the kernel fills it for SIGSYS.
#[repr(C)]
struct Sigsys {
    signo: c_int,
    errno: c_int,
    code: c_int,
    address: *const c_void,
    call: c_int,
    arch: u32,
}

/// Gives a system call's name. It runs in a signal handler: it must not allocate or lock.
pub type Name = fn(i64) -> Option<&'static str>;

static NAME: OnceLock<Name> = OnceLock::new();

/// From now on a system call that a filter traps ends the process with a sentence on
/// standard error; `name` gives the call's name.
///
/// # Errors
/// What sigaction(2) says.
pub fn explain(name: Name) -> io::Result<()> {
    // A second start in this process explains as the first did.
    let _ = NAME.set(name);
    let handler = SigHandler::SigAction(on_sigsys);
    let flags = SaFlags::SA_ONSTACK | SaFlags::SA_SIGINFO;
    let action = SigAction::new(handler, flags, SigSet::empty());
    // SAFETY: the handler calls only what signal-safety(7) lists, and reads an initialised
    // static.
    unsafe { nix::sys::signal::sigaction(Signal::SIGSYS, &action) }?;
    Ok(())
}

extern "C" fn on_sigsys(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a siginfo_t, which is longer than `Sigsys`
    // and as aligned; every field is an integer or a pointer that is not followed.
    let info = unsafe { info.cast::<Sigsys>().read() };
    let mut thread = [0_u8; 16];
    // SAFETY: PR_GET_NAME writes 16 bytes, NUL included, and the buffer has them.
    unsafe { libc::prctl(libc::PR_GET_NAME, thread.as_mut_ptr()) };
    let mut line = Line::default();
    if info.code == SYS_SECCOMP {
        say(&mut line, &thread, i64::from(info.call));
    } else {
        line.text("trunklined: somebody sent SIGSYS\n");
    }
    let said = line.bytes();
    // SAFETY: the bytes outlive the call. There is nothing to be done about an error.
    unsafe { libc::write(libc::STDERR_FILENO, said.as_ptr().cast(), said.len()) };
    // SAFETY: always sound; listed as safe in a handler.
    unsafe { libc::abort() };
}

fn say(line: &mut Line, thread: &[u8], call: i64) {
    let len = thread.iter().position(|&byte| byte == 0);
    line.text("trunklined: thread \"");
    line.push(&thread[..len.unwrap_or(thread.len())]);
    line.text("\" asked for the system call ");
    if let Some(name) = NAME.get().and_then(|name| name(call)) {
        line.text(name);
        line.text(", number ");
    }
    line.number(call);
    line.text(
        ", which its seccomp filter does not let pass. This is a bug, or somebody has taken the thread over: \
         trunklined ends. Please report it; with confinement = \"log\" the call is logged by the kernel and passes\n",
    );
}

/// A line that is put together without allocating; what does not fit is cut off.
struct Line {
    buffer: [u8; 400],
    len: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            buffer: [0; 400],
            len: 0,
        }
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(place) = self.buffer.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.push(text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        if number < 0 {
            self.text("-");
        }
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            // Below ten: one digit.
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(thread: &[u8], call: i64) -> String {
        let mut line = Line::default();
        say(&mut line, thread, call);
        String::from_utf8(line.bytes().to_vec()).unwrap()
    }

    #[test]
    fn thread_and_call_are_named() {
        let said = said(b"worker-0\0\0\0\0\0\0\0\0", 4711);
        assert!(
            said.starts_with(
                "trunklined: thread \"worker-0\" asked for the system call 4711, which"
            ),
            "{said}"
        );
        assert!(said.ends_with("passes\n"), "it fits: {said}");
    }

    #[test]
    fn numbers_are_written_out() {
        for number in [0, 7, 10, 1234, -1, i64::MIN, i64::MAX] {
            let mut line = Line::default();
            line.number(number);
            assert_eq!(line.bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_off() {
        let mut line = Line::default();
        line.push(&[b'x'; 500]);
        line.number(1);
        assert_eq!(line.bytes().len(), 400);
    }

    #[test]
    fn the_layout_is_the_kernels() {
        // asm-generic/siginfo.h on a 64-bit machine: the union begins at byte 16.
        assert_eq!(std::mem::offset_of!(Sigsys, address), 16);
        assert_eq!(std::mem::offset_of!(Sigsys, call), 24);
        assert!(size_of::<Sigsys>() <= size_of::<libc::siginfo_t>());
    }
}
