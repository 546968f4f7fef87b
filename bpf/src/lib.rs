//! The XDP program of an interface: loading, attaching, its maps and its counters.
//!
//! The program itself is C, in `src/bpf/`. It looks at each frame that the interface receives and
//! gives it one [`Verdict`]: SIP and media for us go to the AF_XDP socket of the receive queue,
//! everything else to the kernel.
//!
//! ```text
//!   frame -> seen += 1 -> VLAN tags, at most two: whose address it is depends on them
//!                      -> ARP, other, truncated, malformed ------------------> kernel
//!                      -> IPv4, IPv6: one look-up of (tags, destination)
//!                           not there ---------------------------------------> kernel
//!                           options, fragment, ICMP, TCP, other, UDP port ---> kernel
//!                           SIP port ----> `xsks`[queue], or the kernel
//!                           media port --> `xsks`[queue], or an end
//! ```
//!
//! Invariants: each frame adds one to `seen` and one to exactly one verdict; a verdict's [`Action`] is
//! what the program returned; nothing that the configuration does not name is kept from the kernel.
//!
//! One [`Program`] a device, each with maps of its own. Calls are system calls: they belong on the
//! control thread, in the network namespace of the interface.

mod attach;
mod error;
mod maps;
mod message;
mod verdict;
mod vlan;

use std::ffi::OsStr;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use libbpf_rs::ErrorKind;
use libbpf_rs::MapCore;
use libbpf_rs::MapHandle;
use libbpf_rs::Object;
use libbpf_rs::ObjectBuilder;

pub use crate::attach::Mode;
pub use crate::attach::ModeWish;
pub use crate::error::AttachError;
pub use crate::error::DetachError;
pub use crate::error::LoadError;
pub use crate::error::MapError;
pub use crate::error::OccupantMode;
pub use crate::maps::ADDRESSES_MAX;
pub use crate::maps::MEDIA_RANGES_MAX;
pub use crate::maps::SIP_PORTS_MAX;
pub use crate::maps::STACKS_MAX;
pub use crate::verdict::Action;
pub use crate::verdict::Explanation;
pub use crate::verdict::TABLE;
pub use crate::verdict::VERDICT_COUNT;
pub use crate::verdict::Verdict;
pub use crate::verdict::Verdicts;
pub use crate::vlan::OuterTag;
pub use crate::vlan::VIDS;
pub use crate::vlan::VlanStack;

use crate::attach::Attachment;
use crate::maps::Maps;

/// The program's name in the kernel (`bpftool prog`), and how a predecessor's is recognised. The kernel
/// keeps 15 bytes of a name.
pub const PROGRAM_NAME: &str = "trunkline_xdp";

/// More receive queues than any NIC has; a bound against nonsense, since the socket map is allocated
/// in full.
pub const QUEUES_MAX: u32 = 4096;

/// What build.rs compiled.
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/trunkline.bpf.o"));

/// A loaded XDP program with its maps. It detaches itself when it is dropped.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    maps: Maps,
    attachment: Option<Attachment>,
}

impl Program {
    /// Loads the program for an interface that can have `queues` receive queues, 1 to [`QUEUES_MAX`].
    /// Take every possible queue, not those in use now: some drivers deliver to queues beyond
    /// `ethtool -L combined` once XDP is attached.
    ///
    /// CAP_BPF and CAP_NET_ADMIN suffice. With CAP_PERFMON as well, which root has, the verifier leaves
    /// the Spectre barriers out, and a packet costs 22 ns instead of 56.
    ///
    /// # Errors
    ///
    /// [`LoadError::NotPermitted`] without CAP_BPF and CAP_NET_ADMIN; [`LoadError::Refused`] with the
    /// end of the verifier's log.
    pub fn load(queues: u32) -> Result<Program, LoadError> {
        if queues == 0 || queues > QUEUES_MAX {
            return Err(LoadError::Queues { queues });
        }
        message::listen();
        let object = load_object(queues).map_err(|source| {
            let detail = message::heard();
            // The verifier says EACCES of a program that it does not like, and leaves a log.
            let verifier_spoke = detail.contains("PROG LOAD LOG");
            match source.kind() {
                ErrorKind::PermissionDenied if !verifier_spoke => {
                    LoadError::NotPermitted { detail }
                }
                _ => LoadError::Refused { source, detail },
            }
        })?;
        // Handles of our own: the object, and with it libbpf's bookkeeping, can go.
        Ok(Program {
            fd: program_fd(&object)?,
            maps: Maps {
                xsks: map(&object, "xsks")?,
                addresses_ipv4: map(&object, "addresses_ipv4")?,
                addresses_ipv6: map(&object, "addresses_ipv6")?,
                stacks: map(&object, "stacks")?,
                verdicts: map(&object, "verdicts")?,
            },
            attachment: None,
        })
    }

    /// Says what is ours at an address in frames with these VLAN tags: its SIP ports and its media ranges,
    /// both ends included. It takes the place of what was said of this address and these tags before, in
    /// one step. SIP goes first where a port is in both. An address without any port counts as ours in
    /// the verdicts, and is the kernel's. Frames under tags that were never named are another VLAN's.
    ///
    /// # Errors
    ///
    /// More than [`SIP_PORTS_MAX`] ports or [`MEDIA_RANGES_MAX`] ranges, port 0, an empty range, a VID
    /// outside [`VIDS`], or one address or stack more than [`ADDRESSES_MAX`] and [`STACKS_MAX`].
    pub fn set_address(
        &self,
        stack: VlanStack,
        address: IpAddr,
        sip_ports: &[u16],
        media_ports: &[RangeInclusive<u16>],
    ) -> Result<(), MapError> {
        self.maps
            .set_address(stack, address, sip_ports, media_ports)
    }

    /// Gives a queue's SIP and media to an AF_XDP socket. The socket must be bound to this queue of this
    /// interface by the time packets arrive; the entry goes when the socket is closed.
    ///
    /// # Errors
    ///
    /// A queue beyond those loaded for, or a descriptor that is not an AF_XDP socket.
    pub fn insert_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), MapError> {
        self.maps.insert_socket(queue, socket)
    }

    /// Takes a queue's socket away: SIP goes to the kernel from now on, media ends. A queue without a
    /// socket is left as it is.
    ///
    /// # Errors
    ///
    /// A queue beyond those loaded for.
    pub fn remove_socket(&self, queue: u32) -> Result<(), MapError> {
        self.maps.remove_socket(queue)
    }

    /// The counters since the program was loaded.
    ///
    /// # Errors
    ///
    /// [`MapError::Kernel`] if bpf(2) is refused, for example after privileges were dropped.
    pub fn verdicts(&self) -> Result<Verdicts, MapError> {
        self.maps.verdicts()
    }

    /// Attaches to an interface of this thread's network namespace and says in which mode. Fill the
    /// addresses first, so that no packet of ours meets a program that does not know it. The link may go
    /// down for some seconds (igb), so attach before the sockets are bound.
    ///
    /// A program with our name that is already there is a dead predecessor's and is replaced: the
    /// caller must hold a lock that keeps a second daemon from living.
    ///
    /// # Errors
    ///
    /// [`AttachError::Occupied`] if somebody else's program is there; [`AttachError::Refused`] if the
    /// driver does not take the mode and the wish allows no other.
    pub fn attach(&mut self, ifindex: u32, wish: ModeWish) -> Result<Mode, AttachError> {
        if let Some(attachment) = &self.attachment {
            return Err(AttachError::Already {
                interface: attach::interface_name(attachment.ifindex),
            });
        }
        let attachment = attach::attach(self.fd.as_fd(), ifindex, wish)?;
        let mode = attachment.mode;
        self.attachment = Some(attachment);
        Ok(mode)
    }

    /// The mode in which the program is attached now.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.attachment.as_ref().map(|attachment| attachment.mode)
    }

    /// Where [`ModeWish::Auto`] fell back to generic: what the driver said against native mode.
    #[must_use]
    pub fn native_refusal(&self) -> Option<&str> {
        self.attachment
            .as_ref()
            .and_then(|attachment| attachment.native_refusal.as_deref())
    }

    /// Takes the program off its interface, and says from which mode; `None` if it was not attached.
    /// Call it on a thread in the interface's network namespace. Whatever comes of it, the program
    /// counts as not attached afterwards.
    ///
    /// # Errors
    ///
    /// [`DetachError::Replaced`] if somebody else's program has taken its place: that one stays.
    pub fn detach(&mut self) -> Result<Option<Mode>, DetachError> {
        let Some(attachment) = self.attachment.take() else {
            return Ok(None);
        };
        attach::detach(self.fd.as_fd(), &attachment)?;
        Ok(Some(attachment.mode))
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nobody is left to tell. Who wants to know calls detach().
        let _ = self.detach();
    }
}

fn load_object(queues: u32) -> libbpf_rs::Result<Object> {
    let mut object = ObjectBuilder::default().open_memory(OBJECT)?;
    for mut map in object.maps_mut() {
        if map.name() == OsStr::new("xsks") {
            map.set_max_entries(queues)?;
        }
    }
    object.load()
}

fn program_fd(object: &Object) -> Result<OwnedFd, LoadError> {
    object
        .progs()
        .find(|program| program.name() == PROGRAM_NAME)
        .and_then(|program| program.as_fd().try_clone_to_owned().ok())
        .ok_or(LoadError::Incomplete { what: PROGRAM_NAME })
}

fn map(object: &Object, name: &'static str) -> Result<MapHandle, LoadError> {
    object
        .maps()
        .find(|map| map.name() == name)
        .and_then(|map| MapHandle::try_from(&map).ok())
        .ok_or(LoadError::Incomplete { what: name })
}
