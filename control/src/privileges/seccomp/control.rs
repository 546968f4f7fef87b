//! Control's system calls, and those of its helper threads (look-ups that block): files,
//! sockets of the families it speaks, events, time, threads, memory that is not code.
//! Which files it may touch is Landlock's to say.

use super::Call;
use super::bits;
use super::call;
use super::int;
use super::only;
use super::word;

const FILES: &str = "the state file, the operator's socket, /proc, /sys, the user database";
const DESCRIPTORS: &str = "reading, writing and closing what is open";
const SOCKETS: &str =
    "the operator, metrics, netlink, SIP that the kernel delivers, the service manager";
const EVENTS: &str = "the runtime waits for sockets, timers, signals and workers";
const TIME: &str = "clocks and timers";
const THREADS: &str = "helper threads of the runtime, their locks and their end";
const MEMORY: &str = "the allocator, thread stacks, libraries of the user database";
const SELF: &str = "who and where this process is";

/// BPF_MAP_LOOKUP_ELEM, _UPDATE_ELEM, _DELETE_ELEM, _GET_NEXT_KEY, BPF_OBJ_GET_INFO_BY_FD,
/// BPF_MAP_LOOKUP_BATCH, BPF_MAP_UPDATE_BATCH.
const MAPS: &[&[super::Argument]] = &[
    &[int(0, 1)],
    &[int(0, 2)],
    &[int(0, 3)],
    &[int(0, 4)],
    &[int(0, 15)],
    &[int(0, 24)],
    &[int(0, 26)],
];

const CALLS: &[Call] = &[
    call(libc::SYS_openat, "openat", FILES),
    call(libc::SYS_newfstatat, "newfstatat", FILES),
    call(libc::SYS_statx, "statx", FILES),
    call(libc::SYS_fstat, "fstat", FILES),
    call(libc::SYS_statfs, "statfs", FILES),
    call(libc::SYS_fstatfs, "fstatfs", FILES),
    call(libc::SYS_faccessat, "faccessat", FILES),
    call(libc::SYS_faccessat2, "faccessat2", FILES),
    call(libc::SYS_readlinkat, "readlinkat", FILES),
    call(libc::SYS_getdents64, "getdents64", FILES),
    call(libc::SYS_getcwd, "getcwd", FILES),
    call(libc::SYS_unlinkat, "unlinkat", FILES),
    call(libc::SYS_renameat, "renameat", FILES),
    call(libc::SYS_renameat2, "renameat2", FILES),
    call(libc::SYS_mkdirat, "mkdirat", FILES),
    call(libc::SYS_fchmod, "fchmod", FILES),
    call(libc::SYS_fchmodat, "fchmodat", FILES),
    call(libc::SYS_fchown, "fchown", FILES),
    call(libc::SYS_fchownat, "fchownat", FILES),
    call(libc::SYS_ftruncate, "ftruncate", FILES),
    call(libc::SYS_fallocate, "fallocate", FILES),
    call(libc::SYS_fsync, "fsync", FILES),
    call(libc::SYS_fdatasync, "fdatasync", FILES),
    call(libc::SYS_flock, "flock", FILES),
    call(libc::SYS_read, "read", DESCRIPTORS),
    call(libc::SYS_readv, "readv", DESCRIPTORS),
    call(libc::SYS_pread64, "pread64", DESCRIPTORS),
    call(libc::SYS_write, "write", DESCRIPTORS),
    call(libc::SYS_writev, "writev", DESCRIPTORS),
    call(libc::SYS_pwrite64, "pwrite64", DESCRIPTORS),
    call(libc::SYS_lseek, "lseek", DESCRIPTORS),
    call(libc::SYS_close, "close", DESCRIPTORS),
    call(libc::SYS_fcntl, "fcntl", DESCRIPTORS),
    call(libc::SYS_dup, "dup", DESCRIPTORS),
    call(libc::SYS_dup3, "dup3", DESCRIPTORS),
    call(
        libc::SYS_ioctl,
        "ioctl",
        "non-blocking descriptors; what a device's queues and driver are",
    ),
    only(
        libc::SYS_socket,
        "socket",
        &[
            &[int(0, libc::AF_UNIX)],
            &[int(0, libc::AF_INET)],
            &[int(0, libc::AF_INET6)],
            &[int(0, libc::AF_NETLINK)],
        ],
        SOCKETS,
    ),
    only(
        libc::SYS_socketpair,
        "socketpair",
        &[&[int(0, libc::AF_UNIX)]],
        "the runtime's own pipes",
    ),
    call(libc::SYS_bind, "bind", SOCKETS),
    call(libc::SYS_listen, "listen", SOCKETS),
    call(libc::SYS_accept, "accept", SOCKETS),
    call(libc::SYS_accept4, "accept4", SOCKETS),
    call(libc::SYS_connect, "connect", SOCKETS),
    call(libc::SYS_shutdown, "shutdown", SOCKETS),
    call(libc::SYS_getsockname, "getsockname", SOCKETS),
    call(libc::SYS_getpeername, "getpeername", SOCKETS),
    call(libc::SYS_getsockopt, "getsockopt", SOCKETS),
    call(libc::SYS_setsockopt, "setsockopt", SOCKETS),
    call(libc::SYS_sendto, "sendto", SOCKETS),
    call(libc::SYS_sendmsg, "sendmsg", SOCKETS),
    call(libc::SYS_sendmmsg, "sendmmsg", SOCKETS),
    call(libc::SYS_recvfrom, "recvfrom", SOCKETS),
    call(libc::SYS_recvmsg, "recvmsg", SOCKETS),
    call(libc::SYS_recvmmsg, "recvmmsg", SOCKETS),
    call(libc::SYS_epoll_create1, "epoll_create1", EVENTS),
    call(libc::SYS_epoll_ctl, "epoll_ctl", EVENTS),
    call(libc::SYS_epoll_pwait, "epoll_pwait", EVENTS),
    call(libc::SYS_epoll_pwait2, "epoll_pwait2", EVENTS),
    call(libc::SYS_ppoll, "ppoll", EVENTS),
    call(libc::SYS_pselect6, "pselect6", EVENTS),
    call(libc::SYS_eventfd2, "eventfd2", EVENTS),
    call(libc::SYS_pipe2, "pipe2", EVENTS),
    call(libc::SYS_timerfd_create, "timerfd_create", EVENTS),
    call(libc::SYS_timerfd_settime, "timerfd_settime", EVENTS),
    call(libc::SYS_restart_syscall, "restart_syscall", EVENTS),
    call(libc::SYS_clock_gettime, "clock_gettime", TIME),
    call(libc::SYS_clock_getres, "clock_getres", TIME),
    call(libc::SYS_clock_nanosleep, "clock_nanosleep", TIME),
    call(libc::SYS_nanosleep, "nanosleep", TIME),
    call(libc::SYS_gettimeofday, "gettimeofday", TIME),
    // A process would be one without CLONE_THREAD: `intruder` has that. clone3(2) hides its
    // flags from a filter; libc takes clone(2) where it gets ENOSYS.
    call(libc::SYS_clone, "clone", THREADS),
    call(libc::SYS_set_robust_list, "set_robust_list", THREADS),
    call(libc::SYS_rseq, "rseq", THREADS),
    call(libc::SYS_futex, "futex", THREADS),
    call(libc::SYS_membarrier, "membarrier", THREADS),
    call(libc::SYS_sched_yield, "sched_yield", THREADS),
    call(libc::SYS_sched_getaffinity, "sched_getaffinity", THREADS),
    call(libc::SYS_rt_sigaction, "rt_sigaction", THREADS),
    call(libc::SYS_rt_sigprocmask, "rt_sigprocmask", THREADS),
    call(libc::SYS_rt_sigreturn, "rt_sigreturn", THREADS),
    call(libc::SYS_sigaltstack, "sigaltstack", THREADS),
    call(libc::SYS_exit, "exit", THREADS),
    call(libc::SYS_exit_group, "exit_group", THREADS),
    only(
        libc::SYS_tgkill,
        "tgkill",
        &[&[int(2, libc::SIGABRT)]],
        "abort(3): the one signal that it may send",
    ),
    only(
        libc::SYS_mmap,
        "mmap",
        // Writable or executable, never both.
        &[
            &[bits(2, libc::PROT_EXEC, 0)],
            &[bits(2, libc::PROT_WRITE, 0)],
        ],
        MEMORY,
    ),
    only(
        libc::SYS_mprotect,
        "mprotect",
        &[&[bits(2, libc::PROT_EXEC, 0)]],
        MEMORY,
    ),
    call(libc::SYS_munmap, "munmap", MEMORY),
    call(libc::SYS_mremap, "mremap", MEMORY),
    call(libc::SYS_madvise, "madvise", MEMORY),
    call(libc::SYS_brk, "brk", MEMORY),
    call(libc::SYS_getrandom, "getrandom", "keys of hash tables"),
    only(
        libc::SYS_bpf,
        "bpf",
        MAPS,
        "reads the XDP programs' counts and changes their maps; a program is `intruder`'s",
    ),
    only(
        libc::SYS_prctl,
        "prctl",
        &[
            &[int(0, libc::PR_SET_NAME)],
            &[int(0, libc::PR_GET_NAME)],
            &[int(0, libc::PR_SET_VMA)],
            &[int(0, libc::PR_GET_NO_NEW_PRIVS)],
        ],
        "names of threads and of memory",
    ),
    only(
        libc::SYS_prlimit64,
        "prlimit64",
        &[&[int(0, 0), word(2, 0)]],
        "reads its own limits",
    ),
    call(libc::SYS_getrusage, "getrusage", SELF),
    call(libc::SYS_sysinfo, "sysinfo", SELF),
    call(libc::SYS_uname, "uname", SELF),
    call(libc::SYS_getpid, "getpid", SELF),
    call(libc::SYS_gettid, "gettid", SELF),
    call(libc::SYS_getppid, "getppid", SELF),
    call(libc::SYS_getuid, "getuid", SELF),
    call(libc::SYS_geteuid, "geteuid", SELF),
    call(libc::SYS_getgid, "getgid", SELF),
    call(libc::SYS_getegid, "getegid", SELF),
    call(libc::SYS_getgroups, "getgroups", SELF),
    call(libc::SYS_getresuid, "getresuid", SELF),
    call(libc::SYS_getresgid, "getresgid", SELF),
    call(libc::SYS_capget, "capget", SELF),
    call(libc::SYS_getcpu, "getcpu", SELF),
    // The last filter that is put on this thread comes after this one.
    only(
        libc::SYS_seccomp,
        "seccomp",
        &[&[int(0, 1)]],
        "a stricter filter: none can be taken off",
    ),
];

/// Calls that other architectures have newer forms of only.
#[cfg(target_arch = "x86_64")]
const OLD: &[Call] = &[
    call(libc::SYS_open, "open", FILES),
    call(libc::SYS_stat, "stat", FILES),
    call(libc::SYS_lstat, "lstat", FILES),
    call(libc::SYS_access, "access", FILES),
    call(libc::SYS_readlink, "readlink", FILES),
    call(libc::SYS_unlink, "unlink", FILES),
    call(libc::SYS_rename, "rename", FILES),
    call(libc::SYS_mkdir, "mkdir", FILES),
    call(libc::SYS_chmod, "chmod", FILES),
    call(libc::SYS_chown, "chown", FILES),
    call(libc::SYS_dup2, "dup2", DESCRIPTORS),
    call(libc::SYS_poll, "poll", EVENTS),
    call(libc::SYS_select, "select", EVENTS),
    call(libc::SYS_epoll_wait, "epoll_wait", EVENTS),
    call(libc::SYS_time, "time", TIME),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Call] = &[];

pub(super) fn allowed() -> impl Iterator<Item = &'static Call> {
    CALLS.iter().chain(OLD)
}
