//! What trunklined never asks for once it serves, and an intruder would: another program,
//! another process's memory, code in the kernel, another view of the system.

use super::Argument;
use super::Call;
use super::bits;
use super::call;
use super::int;
use super::only;

const fn hostile(number: libc::c_long, name: &'static str) -> Call {
    call(number, name, "no part of the daemon's service")
}

/// TIOCSTI and TIOCLINUX put keys into a terminal that another reads.
const TERMINAL: &[&[Argument]] = &[&[int(1, 0x5412)], &[int(1, 0x541c)]];

const CALLS: &[Call] = &[
    hostile(libc::SYS_execve, "execve"),
    hostile(libc::SYS_execveat, "execveat"),
    only(
        libc::SYS_clone,
        "clone",
        &[&[bits(0, libc::CLONE_THREAD, 0)]],
        "a process; a thread is asked for with CLONE_THREAD",
    ),
    hostile(libc::SYS_ptrace, "ptrace"),
    hostile(libc::SYS_process_vm_readv, "process_vm_readv"),
    hostile(libc::SYS_process_vm_writev, "process_vm_writev"),
    hostile(libc::SYS_pidfd_getfd, "pidfd_getfd"),
    hostile(libc::SYS_kcmp, "kcmp"),
    hostile(libc::SYS_init_module, "init_module"),
    hostile(libc::SYS_finit_module, "finit_module"),
    hostile(libc::SYS_delete_module, "delete_module"),
    hostile(libc::SYS_kexec_load, "kexec_load"),
    hostile(libc::SYS_kexec_file_load, "kexec_file_load"),
    hostile(libc::SYS_reboot, "reboot"),
    hostile(libc::SYS_perf_event_open, "perf_event_open"),
    hostile(libc::SYS_userfaultfd, "userfaultfd"),
    hostile(libc::SYS_mount, "mount"),
    hostile(libc::SYS_umount2, "umount2"),
    hostile(libc::SYS_move_mount, "move_mount"),
    hostile(libc::SYS_open_tree, "open_tree"),
    hostile(libc::SYS_fsopen, "fsopen"),
    hostile(libc::SYS_fsmount, "fsmount"),
    hostile(libc::SYS_pivot_root, "pivot_root"),
    hostile(libc::SYS_chroot, "chroot"),
    hostile(libc::SYS_open_by_handle_at, "open_by_handle_at"),
    hostile(libc::SYS_unshare, "unshare"),
    hostile(libc::SYS_setns, "setns"),
    hostile(libc::SYS_personality, "personality"),
    hostile(libc::SYS_swapon, "swapon"),
    hostile(libc::SYS_swapoff, "swapoff"),
    hostile(libc::SYS_settimeofday, "settimeofday"),
    hostile(libc::SYS_clock_settime, "clock_settime"),
    hostile(libc::SYS_add_key, "add_key"),
    hostile(libc::SYS_request_key, "request_key"),
    hostile(libc::SYS_keyctl, "keyctl"),
    hostile(libc::SYS_setuid, "setuid"),
    hostile(libc::SYS_setgid, "setgid"),
    hostile(libc::SYS_setresuid, "setresuid"),
    hostile(libc::SYS_setresgid, "setresgid"),
    hostile(libc::SYS_setgroups, "setgroups"),
    hostile(libc::SYS_capset, "capset"),
    only(
        libc::SYS_ioctl,
        "ioctl",
        TERMINAL,
        "types on the operator's terminal",
    ),
    only(
        libc::SYS_bpf,
        "bpf",
        // BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_RAW_TRACEPOINT_OPEN, BPF_LINK_CREATE.
        &[&[int(0, 5)], &[int(0, 8)], &[int(0, 17)], &[int(0, 28)]],
        "another program in the kernel",
    ),
];

#[cfg(target_arch = "x86_64")]
const OLD: &[Call] = &[
    hostile(libc::SYS_fork, "fork"),
    hostile(libc::SYS_vfork, "vfork"),
    hostile(libc::SYS_iopl, "iopl"),
    hostile(libc::SYS_ioperm, "ioperm"),
    hostile(libc::SYS_modify_ldt, "modify_ldt"),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Call] = &[];

pub(super) fn calls() -> impl Iterator<Item = &'static Call> {
    CALLS.iter().chain(OLD)
}
