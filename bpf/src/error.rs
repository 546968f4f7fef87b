//! What can go wrong, each with what the operator does next.

use std::fmt;
use std::net::IpAddr;

use crate::Mode;
use crate::VlanStack;
use crate::maps::ADDRESSES_MAX;
use crate::maps::MEDIA_RANGES_MAX;
use crate::maps::SIP_PORTS_MAX;
use crate::maps::STACKS_MAX;
use crate::vlan::VIDS;

/// What to look at when the kernel says EPERM; the same for loading and for attaching.
const PRIVILEGES: &str = "run as root or with CAP_BPF and CAP_NET_ADMIN; \
    if it has these, see whether a seccomp filter or a container forbids bpf(2), \
    and whether /sys/kernel/security/lockdown says [confidentiality]";

/// The XDP program could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// EPERM: a capability is missing, or bpf(2) is forbidden.
    #[error("the kernel does not let this process load the XDP program: {PRIVILEGES} ({detail})")]
    NotPermitted {
        /// What libbpf and the kernel said.
        detail: String,
    },
    /// No socket map of that size.
    #[error(
        "{queues} receive queues: the interface must have between 1 and {max}; \
         see `ethtool -l`",
        max = crate::QUEUES_MAX
    )]
    Queues {
        /// What was asked for.
        queues: u32,
    },
    /// The verifier, or an older kernel, refused the program.
    #[error(
        "the kernel refused the XDP program ({source}): it needs Linux 5.18 or newer with \
         AF_XDP; if `uname -r` is newer than that, report this with the text below\n{detail}"
    )]
    Refused {
        /// What libbpf returned.
        source: libbpf_rs::Error,
        /// The end of the verifier's log.
        detail: String,
    },
    /// The embedded object is not the one this crate was written for.
    #[error("the XDP object in this executable has no {what}: build it again from clean sources")]
    Incomplete {
        /// The map or program that is not there.
        what: &'static str,
    },
}

/// The program could not be attached to the interface.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// EPERM: a capability is missing.
    #[error("the kernel does not let this process attach XDP to {interface}: {PRIVILEGES}")]
    NotPermitted {
        /// Name or index of the interface.
        interface: String,
    },
    /// No such interface in this network namespace.
    #[error(
        "there is no interface with index {ifindex} in this network namespace: \
         compare with `ip link`"
    )]
    NoInterface {
        /// What was asked for.
        ifindex: u32,
    },
    /// This very program is attached somewhere already.
    #[error("this program is already attached to {interface}: one loaded program an interface")]
    Already {
        /// Where it is.
        interface: String,
    },
    /// Another program is there.
    #[error(
        "{interface} already runs another XDP program, `{name}` (id {id}, {mode} mode): find out who \
         owns it with `bpftool net show dev {interface}` and `bpftool prog show id {id}`; once you \
         are sure that it may go, `ip link set dev {interface} {off} off`",
        off = mode.ip_link_keyword()
    )]
    Occupied {
        /// Name of the interface.
        interface: String,
        /// The other program's name, at most 15 bytes.
        name: String,
        /// The other program's id.
        id: u32,
        /// How it is attached.
        mode: OccupantMode,
    },
    /// A program is there, and this process may not ask which.
    #[error(
        "{interface} already runs an XDP program (id {id}, {mode} mode), and this process may not see \
         whether it is its own predecessor's: that takes CAP_SYS_ADMIN. See `bpftool prog show id \
         {id}`; if it is `{own}` and no other daemon runs, `ip link set dev {interface} {off} off`",
        own = crate::PROGRAM_NAME,
        off = mode.ip_link_keyword()
    )]
    Unidentified {
        /// Name of the interface.
        interface: String,
        /// The program's id.
        id: u32,
        /// How it is attached.
        mode: OccupantMode,
    },
    /// The driver or the kernel refused the mode.
    #[error(
        "{interface} does not take an XDP program in {mode} mode: {reason} ({errno}){}",
        refusal_advice(*mode)
    )]
    Refused {
        /// Name of the interface.
        interface: String,
        /// The mode that was tried.
        mode: Mode,
        /// What the driver said, or "no further message".
        reason: String,
        /// The error number as text.
        errno: nix::errno::Errno,
    },
    /// The kernel could not be asked what is attached.
    #[error("cannot ask the kernel what runs on {interface}: {source}")]
    Query {
        /// Name of the interface.
        interface: String,
        /// What netlink returned.
        source: libbpf_rs::Error,
    },
}

fn refusal_advice(mode: Mode) -> &'static str {
    match mode {
        Mode::Native => {
            "; change what the driver asks for (often a smaller MTU, no LRO or more queues), \
             or allow generic mode, which is slower"
        }
        Mode::Generic => "",
    }
}

/// The mode in which somebody's program is attached: hardware offload is possible there too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OccupantMode {
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
    /// On the card.
    Offload,
}

impl OccupantMode {
    /// The word of `ip link set dev X WORD off` that removes a program from this mode.
    fn ip_link_keyword(self) -> &'static str {
        match self {
            OccupantMode::Native => "xdpdrv",
            OccupantMode::Generic => "xdpgeneric",
            OccupantMode::Offload => "xdpoffload",
        }
    }
}

impl fmt::Display for OccupantMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OccupantMode::Native => "native",
            OccupantMode::Generic => "generic",
            OccupantMode::Offload => "offload",
        })
    }
}

/// The program could not be taken off the interface.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetachError {
    /// Somebody put another program in our place, and it was left alone.
    #[error(
        "another program has taken ours' place on {interface}, and is left there: \
         see `bpftool net show dev {interface}`"
    )]
    Replaced {
        /// Name of the interface.
        interface: String,
    },
    /// The kernel refused.
    #[error(
        "the XDP program could not be taken off {interface} ({errno}): \
         `ip link set dev {interface} {keyword} off` removes it"
    )]
    Kernel {
        /// Name of the interface.
        interface: String,
        /// The word for the mode in iproute2.
        keyword: &'static str,
        /// What the kernel returned.
        errno: nix::errno::Errno,
    },
}

/// A map could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// More SIP ports at one address than the program compares.
    #[error("{address} has {count} SIP ports: at most {SIP_PORTS_MAX} can be listened on")]
    TooManySipPorts {
        /// The address.
        address: IpAddr,
        /// What was asked for.
        count: usize,
    },
    /// More media ranges at one address than the program compares.
    #[error(
        "{address} has {count} media ranges: at most {MEDIA_RANGES_MAX}; join neighbouring ones"
    )]
    TooManyMediaRanges {
        /// The address.
        address: IpAddr,
        /// What was asked for.
        count: usize,
    },
    /// A range from high to low, or port 0.
    #[error("{address}: ports {min} to {max} are not a range of UDP ports between 1 and 65535")]
    BadPorts {
        /// The address.
        address: IpAddr,
        /// First port.
        min: u16,
        /// Last port.
        max: u16,
    },
    /// A VID that no VLAN can have.
    #[error("VLAN {vid}: a VID is a number from {} to {}", VIDS.start(), VIDS.end())]
    BadVid {
        /// What was asked for.
        vid: u16,
    },
    /// The table of tag stacks is full.
    #[error(
        "no room for addresses {stack}: an interface's frames can be told apart by at most \
         {STACKS_MAX} kinds of VLAN tags"
    )]
    StacksFull {
        /// The one too many.
        stack: VlanStack,
    },
    /// The table of addresses is full.
    #[error(
        "no room for {address} {stack}: an interface can have {ADDRESSES_MAX} IPv4 and as many IPv6 \
         addresses of ours, each counted in every VLAN it is in"
    )]
    AddressesFull {
        /// The one too many.
        address: IpAddr,
        /// Where it was to be ours.
        stack: VlanStack,
    },
    /// The queue is beyond the size that the program was loaded with.
    #[error("queue {queue} does not exist: the program was loaded for {queues} receive queues")]
    NoQueue {
        /// What was asked for.
        queue: u32,
        /// What there is.
        queues: u32,
    },
    /// Anything else; a file descriptor that is not an AF_XDP socket gives EOPNOTSUPP.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel returned.
        source: libbpf_rs::Error,
    },
}
