//! Attaching to an interface, and letting go of it.
//!
//! The program is attached by netlink, not by a BPF link: it stays when the process dies, SIGKILL
//! included. The sockets die with the process, so what stays behind passes SIP to the kernel and drops
//! media: the box is still reachable. The next start finds its predecessor by name and replaces it.
//!
//! The mode is always named. Without a mode the kernel falls back to generic in silence, and a detach
//! without a mode looks in one place only.
//!
//! An interface can have one program, native or generic, or a dispatcher of somebody else's. We ask
//! before we attach, and every change names the program that it expects to find, so that a race with
//! somebody else ends in an error and never in the loss of their program.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use libbpf_rs::ErrorKind;
use libbpf_rs::ProgramHandle;
use libbpf_rs::Xdp;
use libbpf_rs::XdpFlags;
use libbpf_rs::libbpf_sys;
use nix::errno::Errno;

use crate::PROGRAM_NAME;
use crate::error::AttachError;
use crate::error::DetachError;
use crate::error::OccupantMode;
use crate::message;

/// Where in the kernel the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel has made a packet of the frame.
    Native,
    /// In the network stack, after that: works on every interface, and is slow.
    Generic,
}

impl Mode {
    fn flag(self) -> XdpFlags {
        match self {
            Mode::Native => XdpFlags::DRV_MODE,
            Mode::Generic => XdpFlags::SKB_MODE,
        }
    }

    fn ip_link_keyword(self) -> &'static str {
        match self {
            Mode::Native => "xdpdrv",
            Mode::Generic => "xdpgeneric",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Native => "native",
            Mode::Generic => "generic",
        })
    }
}

/// What the operator asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModeWish {
    /// Native, or generic where the driver refuses native.
    #[default]
    Auto,
    /// Native or not at all.
    Native,
    /// Generic, also where native is possible.
    Generic,
}

/// A program's place on an interface.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) ifindex: u32,
    pub(crate) mode: Mode,
    /// Why it is not native, where native was tried.
    pub(crate) native_refusal: Option<String>,
}

/// The program that an interface runs now.
struct Occupant {
    id: u32,
    mode: OccupantMode,
}

/// Attaches `program` to the interface in the mode wished for. See [`crate::Program::attach`].
pub(crate) fn attach(
    program: BorrowedFd<'_>,
    ifindex: u32,
    wish: ModeWish,
) -> Result<Attachment, AttachError> {
    message::listen();
    let first = match wish {
        ModeWish::Auto | ModeWish::Native => Mode::Native,
        ModeWish::Generic => Mode::Generic,
    };
    let predecessor = find_predecessor(program, ifindex)?;
    match place(program, ifindex, first, predecessor.as_ref()) {
        Ok(()) => Ok(Attachment {
            ifindex,
            mode: first,
            native_refusal: None,
        }),
        // Only a refusal by the driver may fall back: permission, or a program that somebody else
        // attached meanwhile, would be no different in generic mode.
        Err(AttachError::Refused { reason, errno, .. }) if wish == ModeWish::Auto => {
            // If the refused change was a replacement, the predecessor is still there.
            let predecessor = find_predecessor(program, ifindex)?;
            place(program, ifindex, Mode::Generic, predecessor.as_ref())?;
            Ok(Attachment {
                ifindex,
                mode: Mode::Generic,
                native_refusal: Some(format!("{reason} ({errno})")),
            })
        }
        Err(error) => Err(error),
    }
}

/// Takes `program` off its interface. An interface that is gone has nothing attached.
pub(crate) fn detach(program: BorrowedFd<'_>, attachment: &Attachment) -> Result<(), DetachError> {
    message::listen();
    let Attachment { ifindex, mode, .. } = *attachment;
    match set_program(ifindex, None, Some(program), mode) {
        Ok(()) | Err(Errno::ENODEV) => Ok(()),
        // The program that is there is not the one expected, or none is.
        Err(Errno::EEXIST | Errno::ENOENT) => Err(DetachError::Replaced {
            interface: interface_name(ifindex),
        }),
        Err(errno) => Err(DetachError::Kernel {
            interface: interface_name(ifindex),
            keyword: mode.ip_link_keyword(),
            errno,
        }),
    }
}

/// Our own program, left behind by a daemon that died, and the mode it is attached in.
struct Predecessor {
    program: ProgramHandle,
    mode: Mode,
}

/// What is on the interface: nothing, our own predecessor, or a reason to stop. The caller holds a lock
/// that no second daemon shares, so a program with our name is nobody's any more.
fn find_predecessor(
    program: BorrowedFd<'_>,
    ifindex: u32,
) -> Result<Option<Predecessor>, AttachError> {
    let Some(Occupant { id, mode }) = occupant(program, ifindex)? else {
        return Ok(None);
    };
    let interface = interface_name(ifindex);
    let handle = match ProgramHandle::from_prog_id(id) {
        Ok(handle) => handle,
        // It was taken off since we looked.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) => {
            return Err(AttachError::Unidentified {
                interface,
                id,
                mode,
            });
        }
    };
    let own_mode = match mode {
        OccupantMode::Native => Some(Mode::Native),
        OccupantMode::Generic => Some(Mode::Generic),
        OccupantMode::Offload => None,
    };
    match own_mode {
        Some(mode) if handle.name() == PROGRAM_NAME => Ok(Some(Predecessor {
            program: handle,
            mode,
        })),
        _ => Err(AttachError::Occupied {
            interface,
            name: handle.name().to_string_lossy().into_owned(),
            id,
            mode,
        }),
    }
}

/// Puts `program` on the interface in `mode`. A predecessor in the same mode is replaced in one step,
/// one in the other mode is removed first: the kernel does not let the two modes be used at once.
fn place(
    program: BorrowedFd<'_>,
    ifindex: u32,
    mode: Mode,
    predecessor: Option<&Predecessor>,
) -> Result<(), AttachError> {
    let result = match predecessor {
        Some(old) if old.mode == mode => {
            set_program(ifindex, Some(program), Some(old.program.as_fd()), mode)
        }
        Some(old) => set_program(ifindex, None, Some(old.program.as_fd()), old.mode)
            .and_then(|()| set_program(ifindex, Some(program), None, mode)),
        None => set_program(ifindex, Some(program), None, mode),
    };
    result.map_err(|errno| explain(program, ifindex, mode, errno))
}

/// Which sentence an error number of netlink deserves.
fn explain(program: BorrowedFd<'_>, ifindex: u32, mode: Mode, errno: Errno) -> AttachError {
    // What was heard belongs to the failed change, so it is taken before the kernel is asked again.
    let reason = message::heard_from_kernel();
    let interface = interface_name(ifindex);
    match errno {
        Errno::EPERM | Errno::EACCES => AttachError::NotPermitted { interface },
        Errno::ENODEV => AttachError::NoInterface { ifindex },
        // Somebody attached a program between our look and our change: name it.
        Errno::EBUSY | Errno::EEXIST => match find_predecessor(program, ifindex) {
            Err(error) => error,
            Ok(_) => AttachError::Refused {
                interface,
                mode,
                reason,
                errno,
            },
        },
        _ => AttachError::Refused {
            interface,
            mode,
            reason,
            errno,
        },
    }
}

/// The program that the interface runs, if any.
fn occupant(program: BorrowedFd<'_>, ifindex: u32) -> Result<Option<Occupant>, AttachError> {
    let found = Xdp::new(program)
        .query(kernel_index(ifindex)?, XdpFlags::NONE)
        .map_err(|source| match existing_name(ifindex) {
            Some(interface) => AttachError::Query { interface, source },
            None => AttachError::NoInterface { ifindex },
        })?;
    let places = [
        (found.hw_prog_id, OccupantMode::Offload),
        (found.drv_prog_id, OccupantMode::Native),
        (found.skb_prog_id, OccupantMode::Generic),
    ];
    Ok(places
        .into_iter()
        .find(|(id, _)| *id != 0)
        .map(|(id, mode)| Occupant { id, mode }))
}

fn kernel_index(ifindex: u32) -> Result<i32, AttachError> {
    match i32::try_from(ifindex) {
        Ok(index) if index > 0 => Ok(index),
        _ => Err(AttachError::NoInterface { ifindex }),
    }
}

/// The interface's name for a message, or its index where it has none (any more).
pub(crate) fn interface_name(ifindex: u32) -> String {
    existing_name(ifindex).unwrap_or_else(|| format!("interface {ifindex}"))
}

fn existing_name(ifindex: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(ifindex).ok()?;
    // nix gives an empty name, not an error, for an index that is nobody's.
    (!name.is_empty()).then(|| name.to_string_lossy().into_owned())
}

/// One netlink request: put `new` (or nothing) where `expected` (or nothing) is now, in `mode`.
#[allow(
    unsafe_code,
    reason = "libbpf-rs can replace and detach only without naming mode and expected program"
)]
fn set_program(
    ifindex: u32,
    new: Option<BorrowedFd<'_>>,
    expected: Option<BorrowedFd<'_>>,
    mode: Mode,
) -> Result<(), Errno> {
    let index = i32::try_from(ifindex).map_err(|_| Errno::ENODEV)?;
    let mut options = libbpf_sys::bpf_xdp_attach_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_attach_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    let mut flags = mode.flag();
    match expected {
        // libbpf adds XDP_FLAGS_REPLACE: the kernel changes nothing if another program is there.
        Some(program) => options.old_prog_fd = program.as_raw_fd(),
        None => flags |= XdpFlags::UPDATE_IF_NOEXIST,
    }
    let new_fd = new.map_or(-1, |program| program.as_raw_fd());
    // SAFETY: `options` is initialised, its `sz` is its size, and it outlives the call; the kernel checks
    // the index, the flags and both descriptors, which the borrows keep open.
    let result = unsafe { libbpf_sys::bpf_xdp_attach(index, new_fd, flags.bits(), &options) };
    if result < 0 {
        return Err(Errno::from_raw(-result));
    }
    Ok(())
}
