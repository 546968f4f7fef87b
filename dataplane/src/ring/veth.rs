//! For the tests of real rings: a network namespace with veth pairs, packet
//! sockets at the far ends, and the smallest XDP program that redirects.
//!
//! The namespace is anonymous and belongs to the test's thread, so the kernel
//! takes it away with the thread, however that ends.
#![allow(
    unsafe_code,
    reason = "bpf(2) and AF_PACKET are called through libc, in tests only"
)]

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::mem;
use std::os::fd::AsRawFd as _;
use std::os::fd::FromRawFd as _;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::thread;

use nix::sched::CloneFlags;
use nix::sched::unshare;

use super::OpenSocket;

/// Runs `test` in a thread with a network namespace of its own. Without root it
/// says so and does nothing.
pub(super) fn in_own_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("SKIPPED: a network namespace needs root: {error}");
            return;
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command in the thread's namespace.
pub(super) fn run(command: &str) {
    let mut words = command.split_whitespace();
    let status = Command::new(words.next().unwrap())
        .args(words)
        .status()
        .unwrap();
    assert!(status.success(), "{command}: {status}");
}

/// Gives up root, in this thread alone.
pub(super) fn become_nobody() {
    const NOBODY: libc::c_long = 65534;
    // SAFETY: the call takes no pointer. The raw system call changes this thread
    // only, where the libc function would change them all.
    let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    assert!(changed == 0, "{}", io::Error::last_os_error());
}

/// A veth pair with two queues, up and silent; gives the indexes of both ends.
pub(super) fn veth(near: &str, far: &str) -> (u32, u32) {
    let queues = "numtxqueues 2 numrxqueues 2";
    run(&format!(
        "ip link add {near} {queues} type veth peer name {far} {queues}"
    ));
    for name in [near, far] {
        // No router solicitations: the tests count frames.
        run(&format!("ip link set {name} addrgenmode none"));
        run(&format!("ip link set {name} up"));
    }
    let index = |name| nix::net::if_::if_nametoindex(name).unwrap();
    (index(near), index(far))
}

/// What is plugged in at the far end of a veth pair.
pub(super) struct Peer(File);

impl Peer {
    pub(super) fn new(ifindex: u32) -> Peer {
        let protocol = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
        // SAFETY: the call takes no pointer.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(protocol)) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the descriptor is new, and nobody else's.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: a struct of integers.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_protocol = protocol;
        address.sll_ifindex = i32::try_from(ifindex).unwrap();
        let len = u32::try_from(size_of_val(&address)).unwrap();
        // SAFETY: the address outlives the call, and the length is its own.
        let bound = unsafe { libc::bind(fd, (&raw const address).cast(), len) };
        assert!(bound == 0, "{}", io::Error::last_os_error());
        // The default buffer loses a burst of some hundred frames.
        nix::sys::socket::setsockopt(&file, nix::sys::socket::sockopt::RcvBufForce, &(4 << 20))
            .unwrap();
        let timeout = nix::sys::time::TimeVal::new(0, 100_000);
        nix::sys::socket::setsockopt(&file, nix::sys::socket::sockopt::ReceiveTimeout, &timeout)
            .unwrap();
        Peer(file)
    }

    pub(super) fn send(&self, frame: &[u8]) {
        (&self.0).write_all(frame).unwrap();
    }

    /// The next frame, waited for as long as the timeout allows.
    pub(super) fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        let len = (&self.0).read(&mut buffer).ok()?;
        Some(buffer[..len].to_vec())
    }
}

/// A UDP frame from a port of its own, so that the kernel spreads frames over
/// the queues.
pub(super) fn udp_frame(port: u16) -> Vec<u8> {
    let payload = port.to_be_bytes();
    let builder = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(port, 5060);
    let mut frame = Vec::new();
    builder.write(&mut frame, &payload).unwrap();
    frame
}

/// An XDP program that redirects every frame to its queue's socket, attached to
/// an interface for as long as this lives.
pub(super) struct Program {
    map: OwnedFd,
    _link: OwnedFd,
}

impl Program {
    pub(super) fn attach(ifindex: u32) -> Program {
        const BPF_MAP_CREATE: i32 = 0;
        const BPF_PROG_LOAD: i32 = 5;
        const BPF_LINK_CREATE: i32 = 28;
        const BPF_MAP_TYPE_XSKMAP: u32 = 17;
        const BPF_PROG_TYPE_XDP: u32 = 6;
        const BPF_XDP: u32 = 37;
        const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

        let map = bpf(BPF_MAP_CREATE, &[BPF_MAP_TYPE_XSKMAP, 4, 4, 64]);
        let map_fd = map.as_raw_fd().unsigned_abs();
        // return bpf_redirect_map(&map, ctx->rx_queue_index, XDP_PASS)
        let instructions: [[u32; 2]; 6] = [
            [0x0010_1261, 0],      // r2 = *(u32 *)(r1 + 16)
            [0x0000_1118, map_fd], // r1 = map
            [0, 0],
            [0x0000_03b7, 2],  // r3 = XDP_PASS
            [0x0000_0085, 51], // call bpf_redirect_map
            [0x0000_0095, 0],  // exit
        ];
        let licence = c"GPL";
        let [code_low, code_high] = halves(instructions.as_ptr() as u64);
        let [licence_low, licence_high] = halves(licence.as_ptr() as u64);
        let attributes = [
            BPF_PROG_TYPE_XDP,
            6,
            code_low,
            code_high,
            licence_low,
            licence_high,
        ];
        let program = bpf(BPF_PROG_LOAD, &attributes);
        let program_fd = program.as_raw_fd().unsigned_abs();
        let link = bpf(
            BPF_LINK_CREATE,
            &[program_fd, ifindex, BPF_XDP, XDP_FLAGS_DRV_MODE],
        );
        Program { map, _link: link }
    }

    /// Enters the socket under its queue.
    pub(super) fn redirect_to(&self, socket: &OpenSocket<'_>) {
        const BPF_MAP_UPDATE_ELEM: i32 = 2;
        let key = u32::from(socket.queue.0);
        let value = socket.fd.as_raw_fd();
        let [key_low, key_high] = halves((&raw const key) as u64);
        let [value_low, value_high] = halves((&raw const value) as u64);
        let map_fd = self.map.as_raw_fd().unsigned_abs();
        let attributes = [map_fd, 0, key_low, key_high, value_low, value_high, 0, 0];
        assert!(
            bpf_call(BPF_MAP_UPDATE_ELEM, &attributes) == 0,
            "{}",
            io::Error::last_os_error()
        );
    }
}

/// The two words of a 64-bit attribute, on a little-endian machine.
fn halves(value: u64) -> [u32; 2] {
    let low = u32::try_from(value & 0xffff_ffff).unwrap();
    [low, u32::try_from(value >> 32).unwrap()]
}

/// bpf(2) for commands that give a descriptor.
fn bpf(command: i32, attributes: &[u32]) -> OwnedFd {
    let fd = bpf_call(command, attributes);
    assert!(fd >= 0, "bpf({command}): {}", io::Error::last_os_error());
    // SAFETY: the descriptor is new, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()) }
}

fn bpf_call(command: i32, attributes: &[u32]) -> libc::c_long {
    let mut union = [0_u32; 32];
    union[..attributes.len()].copy_from_slice(attributes);
    // SAFETY: the attributes outlive the call, as does what they point to: each
    // caller keeps it on its stack.
    unsafe { libc::syscall(libc::SYS_bpf, command, union.as_ptr(), size_of_val(&union)) }
}
