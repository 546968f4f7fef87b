//! What the tests of the XDP program share: running it over a frame without a NIC, an AF_XDP socket, and
//! network namespaces that vanish with the thread that made them.

#![allow(
    unsafe_code,
    reason = "BPF_PROG_TEST_RUN by descriptor, and raw system calls that concern one thread"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "lengths of C structs, far below the limit"
)]
#![allow(clippy::expect_used, reason = "what a test expects, it says")]
#![allow(dead_code, reason = "each test file uses a part of this")]

pub mod fixtures;
pub mod frames;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use libbpf_rs::libbpf_sys;
use nix::sched::CloneFlags;
use nix::sched::setns;
use nix::sched::unshare;
use trunkline_bpf::Action;
use trunkline_bpf::Program;

/// BPF_PROG_TEST_RUN refuses frames shorter than an Ethernet header.
const TEST_RUN_LEN_MIN: usize = 14;

/// Metadata that is put before a shorter frame, to be above that length all the same.
const META_LEN: usize = 32;

/// These tests load BPF and make namespaces. They do not skip: a green run must mean that they ran.
pub fn require_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "the tests of trunkline-bpf need root: use `sudo scripts/test`"
    );
}

pub fn load(queues: u32) -> Program {
    require_root();
    Program::load(queues).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs the program once over a frame and says what it returned.
pub fn run(program: &Program, frame: &[u8]) -> Action {
    if frame.len() < TEST_RUN_LEN_MIN {
        return run_short(program, frame);
    }
    test_run(program, frame, None, 1).0
}

/// Newer kernels measure the frame without its metadata, but let a part of it lie in a second buffer,
/// where the program does not see it; older ones know no second buffer.
fn run_short(program: &Program, frame: &[u8]) -> Action {
    let mut buffer = vec![0; META_LEN];
    buffer.extend_from_slice(frame);
    let mut context = libbpf_sys::xdp_md {
        data: META_LEN as u32,
        data_end: u32::try_from(buffer.len()).expect("a short frame"),
        ..Default::default()
    };
    if let Ok((action, _)) = try_test_run(program, &buffer, Some(&mut context), 1) {
        return action;
    }
    buffer.resize(META_LEN + TEST_RUN_LEN_MIN, 0);
    test_run(program, &buffer, Some(&mut context), 1).0
}

/// As [`run`], as if the frame came in on a receive queue of an interface that is up.
pub fn run_on_queue(program: &Program, frame: &[u8], ifindex: u32, queue: u32) -> Action {
    let mut context = libbpf_sys::xdp_md {
        data_end: u32::try_from(frame.len()).expect("a frame"),
        ingress_ifindex: ifindex,
        rx_queue_index: queue,
        ..Default::default()
    };
    test_run(program, frame, Some(&mut context), 1).0
}

/// Runs the program `repeat` times over a frame and gives the mean time.
pub fn measure(program: &Program, frame: &[u8], repeat: i32) -> Duration {
    test_run(program, frame, None, repeat).1
}

fn test_run(
    program: &Program,
    data: &[u8],
    context: Option<&mut libbpf_sys::xdp_md>,
    repeat: i32,
) -> (Action, Duration) {
    try_test_run(program, data, context, repeat)
        .unwrap_or_else(|error| panic!("BPF_PROG_TEST_RUN: {error}"))
}

fn try_test_run(
    program: &Program,
    data: &[u8],
    context: Option<&mut libbpf_sys::xdp_md>,
    repeat: i32,
) -> io::Result<(Action, Duration)> {
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as u64,
        data_in: data.as_ptr().cast(),
        data_size_in: u32::try_from(data.len()).expect("a frame"),
        repeat,
        ..Default::default()
    };
    if let Some(context) = context {
        options.ctx_in = std::ptr::from_mut(context).cast();
        options.ctx_size_in = size_of::<libbpf_sys::xdp_md>() as u32;
    }
    let fd = program.as_fd().as_raw_fd();
    // SAFETY: the pointers and lengths in `options` are those of live borrows, and `sz` is its size.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(fd, &mut options) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    let action = match options.retval {
        libbpf_sys::XDP_PASS => Action::Pass,
        libbpf_sys::XDP_DROP => Action::Drop,
        libbpf_sys::XDP_REDIRECT => Action::Redirect,
        other => panic!("the program returned {other}"),
    };
    Ok((action, Duration::from_nanos(u64::from(options.duration))))
}

/// An AF_XDP socket. The socket map takes it without UMEM, rings or bind: enough for a verdict.
pub fn xdp_socket() -> OwnedFd {
    // SAFETY: socket(2) takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(
        fd >= 0,
        "socket(AF_XDP): {}. Has the kernel CONFIG_XDP_SOCKETS?",
        io::Error::last_os_error()
    );
    // SAFETY: socket(2) has just given us this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A program that passes everything, under a name of somebody else's.
pub fn foreign_program() -> OwnedFd {
    // r0 = XDP_PASS; exit
    let instructions = [
        libbpf_sys::bpf_insn {
            code: 0xb7,
            imm: 2,
            ..Default::default()
        },
        libbpf_sys::bpf_insn {
            code: 0x95,
            ..Default::default()
        },
    ];
    // SAFETY: the strings end in NUL, and the pointer and count are those of a live array.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_XDP,
            c"somebody_else".as_ptr(),
            c"GPL".as_ptr(),
            instructions.as_ptr(),
            instructions.len() as u64,
            std::ptr::null_mut(),
        )
    };
    assert!(fd >= 0, "bpf_prog_load: {}", io::Error::last_os_error());
    // SAFETY: bpf_prog_load has just given us this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Attaches a program in the way of `ip link`: with nothing that detaches it.
pub fn attach_and_leave(program: BorrowedFd<'_>, ifindex: u32, flags: u32) {
    let index = i32::try_from(ifindex).expect("an interface index");
    // SAFETY: no options are passed; the descriptor is open.
    let result =
        unsafe { libbpf_sys::bpf_xdp_attach(index, program.as_raw_fd(), flags, std::ptr::null()) };
    assert_eq!(
        result,
        0,
        "bpf_xdp_attach: {}",
        io::Error::from_raw_os_error(-result)
    );
}

/// Which programs an interface runs: (native, generic) ids, 0 for none.
pub fn attached(ifindex: u32) -> (u32, u32) {
    let index = i32::try_from(ifindex).expect("an interface index");
    let mut options = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as u64,
        ..Default::default()
    };
    // SAFETY: `options` is initialised and `sz` is its size.
    let result = unsafe { libbpf_sys::bpf_xdp_query(index, 0, &mut options) };
    assert_eq!(
        result,
        0,
        "bpf_xdp_query: {}",
        io::Error::from_raw_os_error(-result)
    );
    (options.drv_prog_id, options.skb_prog_id)
}

/// Runs a test on a thread with a network namespace of its own. Nothing has a name, so nothing can
/// clash; when the thread ends, also by a panic or a kill, the namespace and all in it are gone.
pub fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    require_root();
    let result = thread::scope(|scope| {
        scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
                ip("link set lo up");
                test()
            })
            .join()
    });
    match result {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A second network namespace, which the thread can visit. It goes with the test.
pub struct Peer {
    home: File,
    namespace: File,
}

impl Peer {
    /// Makes the namespace; the calling thread stays where it is.
    pub fn new() -> Peer {
        let current = || File::open("/proc/thread-self/ns/net").expect("this thread's namespace");
        let home = current();
        unshare(CloneFlags::CLONE_NEWNET).expect("a second network namespace");
        let peer = Peer {
            namespace: current(),
            home,
        };
        ip("link set lo up");
        setns(&peer.home, CloneFlags::CLONE_NEWNET).expect("back home");
        peer
    }

    /// A path by which another process finds the namespace.
    pub fn path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.namespace.as_raw_fd()
        )
    }

    /// Runs `visit` in the namespace and comes back. A panic ends the thread and both namespaces.
    pub fn visit<T>(&self, visit: impl FnOnce() -> T) -> T {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("the peer's namespace");
        let value = visit();
        setns(&self.home, CloneFlags::CLONE_NEWNET).expect("back home");
        value
    }
}

/// Runs `ip` in this thread's namespace.
pub fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("ip of the package iproute2");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub fn ifindex(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect("the interface")
}

/// A veth pair `near` and `far` with two queues each, both up, in this thread's namespace.
pub fn veth_pair() {
    let queues = "numtxqueues 2 numrxqueues 2";
    ip(&format!(
        "link add name near {queues} type veth peer name far {queues}"
    ));
    ip("link set near up");
    ip("link set far up");
}

/// Sends a frame as it stands, out of an interface of this thread's namespace.
pub fn send_frame(ifindex: u32, frame: &[u8]) {
    // SAFETY: socket(2) takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "socket: {}", io::Error::last_os_error());
    // SAFETY: socket(2) has just given us this descriptor.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zeroes is a valid value of this struct of integers.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = i32::try_from(ifindex).expect("an interface index");
    // SAFETY: both pointers are to live borrows, with their lengths.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    assert_eq!(usize::try_from(sent).ok(), Some(frame.len()));
}

/// This thread loses every capability and stays so. Other threads keep theirs: the raw system call,
/// unlike the one of the C library, concerns one thread.
pub fn become_nobody() {
    // SAFETY: setresuid takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
    assert_eq!(result, 0, "setresuid: {}", io::Error::last_os_error());
}

pub const CAP_NET_ADMIN: u32 = 12;
pub const CAP_NET_RAW: u32 = 13;
pub const CAP_BPF: u32 = 39;

/// This thread keeps only these capabilities. Other threads keep theirs.
pub fn keep_capabilities(kept: &[u32]) {
    /// `struct __user_cap_data_struct` of linux/capability.h.
    #[repr(C)]
    #[derive(Default)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    /// _LINUX_CAPABILITY_VERSION_3, and 0 for this thread.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    let mut data = [Data::default(), Data::default()];
    for number in kept {
        let word = &mut data[(number / 32) as usize];
        word.effective |= 1 << (number % 32);
        word.permitted |= 1 << (number % 32);
    }
    // SAFETY: version 3 reads a header of two words and two of these structures.
    let result = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) };
    assert_eq!(result, 0, "capset: {}", io::Error::last_os_error());
}
