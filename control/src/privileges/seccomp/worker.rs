//! A worker's system calls: the rings, the wake-up, its end, and a crash that can speak.

use super::Call;
use super::bits;
use super::call;
use super::int;
use super::only;
use super::word;

/// The length of what an eventfd takes and gives.
const EVENT_LEN: u64 = 8;

/// What a worker may do.
pub(super) const ALLOWED: &[Call] = &[
    // The rings and the wake-up.
    only(
        libc::SYS_sendto,
        "sendto",
        &[&[word(1, 0), word(2, 0), word(4, 0)]],
        "has the kernel look at a transmit ring: no buffer, no address, so nothing can be sent by it",
    ),
    only(
        libc::SYS_recvfrom,
        "recvfrom",
        &[&[word(1, 0), word(2, 0), word(4, 0)]],
        "has the driver look at a fill ring: no buffer, so nothing can be read by it",
    ),
    #[cfg(target_arch = "x86_64")]
    call(
        libc::SYS_epoll_wait,
        "epoll_wait",
        "sleeps until a frame, mail or a timer comes",
    ),
    call(
        libc::SYS_epoll_pwait,
        "epoll_pwait",
        "the same, where libc does it by this call",
    ),
    call(
        libc::SYS_timerfd_settime,
        "timerfd_settime",
        "sets the alarm that ends its sleep when a timer is due",
    ),
    only(
        libc::SYS_read,
        "read",
        &[&[word(2, EVENT_LEN)]],
        "empties its eventfd when it wakes",
    ),
    only(
        libc::SYS_write,
        "write",
        &[&[word(2, EVENT_LEN)], &[int(0, libc::STDERR_FILENO)]],
        "wakes another thread by its eventfd; says on standard error what broke",
    ),
    only(
        libc::SYS_writev,
        "writev",
        &[&[int(0, libc::STDERR_FILENO)]],
        "the same, where the standard library writes in pieces",
    ),
    only(
        libc::SYS_getsockopt,
        "getsockopt",
        &[&[int(1, libc::SOL_XDP)]],
        "reads the kernel's counts of its sockets (XDP_STATISTICS)",
    ),
    call(
        libc::SYS_clock_gettime,
        "clock_gettime",
        "reads the clock where the vDSO cannot",
    ),
    call(
        libc::SYS_restart_syscall,
        "restart_syscall",
        "goes on with a wait that a debugger or SIGSTOP interrupted",
    ),
    // Memory: it allocates nothing while it serves, but it frees at its end, and a panic
    // allocates.
    only(
        libc::SYS_mmap,
        "mmap",
        &[&[
            bits(2, libc::PROT_EXEC, 0),
            bits(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS),
        ]],
        "the allocator's, for a panic's message: never a file, never code",
    ),
    only(
        libc::SYS_mprotect,
        "mprotect",
        &[&[bits(2, libc::PROT_EXEC, 0)]],
        "the allocator's, as it grows its arena; never to make code of it",
    ),
    call(
        libc::SYS_munmap,
        "munmap",
        "gives rings, UMEM and tables back at its end",
    ),
    call(
        libc::SYS_madvise,
        "madvise",
        "gives its stack and the allocator's arena back at its end",
    ),
    call(
        libc::SYS_brk,
        "brk",
        "the allocator's, as it gives memory back",
    ),
    call(libc::SYS_close, "close", "closes its sockets at its end"),
    only(
        libc::SYS_fcntl,
        "fcntl",
        &[&[int(1, libc::F_GETFD)]],
        "a debug build looks whether what it closes is open",
    ),
    // Threads.
    call(
        libc::SYS_futex,
        "futex",
        "tells control that it has started, and its joiner that it has ended; the allocator's locks",
    ),
    call(
        libc::SYS_rt_sigprocmask,
        "rt_sigprocmask",
        "libc blocks signals while a thread ends, and while the process aborts",
    ),
    call(
        libc::SYS_rt_sigreturn,
        "rt_sigreturn",
        "returns from a signal's handler",
    ),
    only(
        libc::SYS_rt_sigaction,
        "rt_sigaction",
        &[&[int(0, libc::SIGABRT)]],
        "abort(3) falls back on the signal's default",
    ),
    call(
        libc::SYS_sigaltstack,
        "sigaltstack",
        "the standard library takes its overflow stack off a thread that ends",
    ),
    call(libc::SYS_exit, "exit", "ends the thread"),
    // A crash that can speak.
    call(
        libc::SYS_getpid,
        "getpid",
        "abort(3) sends its signal to this process",
    ),
    call(libc::SYS_gettid, "gettid", "and to this thread of it"),
    only(
        libc::SYS_tgkill,
        "tgkill",
        &[&[int(2, libc::SIGABRT)]],
        "abort(3): the one signal that it may send",
    ),
    only(
        libc::SYS_prctl,
        "prctl",
        &[&[int(0, libc::PR_GET_NAME)]],
        "its name, for the sentence about a refused call",
    ),
];

/// What a worker asks for only to tell a crash better, as RUST_BACKTRACE has it look into
/// the executable. It gets EACCES, does without, and the crash is told all the same.
pub(super) const REFUSED: &[Call] = &[
    call(
        libc::SYS_openat,
        "openat",
        "the executable and its map, for a backtrace",
    ),
    call(
        libc::SYS_readlinkat,
        "readlinkat",
        "the executable's path, for a backtrace",
    ),
    #[cfg(target_arch = "x86_64")]
    call(
        libc::SYS_readlink,
        "readlink",
        "the executable's path, for a backtrace",
    ),
    call(
        libc::SYS_getcwd,
        "getcwd",
        "the directory to which a backtrace's paths are relative",
    ),
    call(libc::SYS_statx, "statx", "a file's length, for a backtrace"),
    call(
        libc::SYS_newfstatat,
        "newfstatat",
        "the same, by another call",
    ),
];
