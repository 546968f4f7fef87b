//! What the process may do: asked for with its reason before a start, explained where the
//! kernel says no, and given up once it serves.
//!
//! | thread | capabilities | system calls | files |
//! |---|---|---|---|
//! | worker | none | `seccomp/worker.rs` | none: it opens no file |
//! | control and its helpers | CAP_NET_ADMIN | `seccomp/control.rs` | `landlock.rs` |
//!
//! All three bind a thread and those that it starts, so each worker gives up its own when it
//! begins, and control when all of them have begun. What is in force is then read back from
//! the kernel (`in_force.rs`) and shown by `trunkctl status`: nothing is taken on trust.

mod capabilities;
pub mod diagnosis;
mod in_force;
mod landlock;
pub mod needed;
mod seccomp;

use std::path::Path;

use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;

pub use in_force::Thread;
pub use seccomp::Refusal;

/// What the configuration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// All of it.
    #[default]
    On,
    /// No file and no system call is refused; a call that would be is logged by the kernel.
    Log,
    /// Capabilities are given up, and that is all.
    Off,
}

/// Why what the process no longer needs cannot be given up.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// capset(2) or prctl(2).
    #[error("cannot give capabilities up: {0}. Please report it with `uname -r`")]
    Capabilities(#[from] caps::errors::CapsError),
    /// The filters.
    #[error(
        "cannot filter system calls: {0}. The kernel needs CONFIG_SECCOMP_FILTER; confinement = \"off\" does without"
    )]
    Seccomp(#[from] seccompiler::Error),
    /// The handler or the mask of signals.
    #[error("cannot set up signals: {0}")]
    Signals(#[from] std::io::Error),
    /// Landlock.
    #[error(
        "cannot confine the files: {0}. Please report it with `uname -r`; confinement = \"off\" does without"
    )]
    Landlock(#[from] ::landlock::RulesetError),
}

/// How a worker's thread is confined: made before the workers start.
#[derive(Clone, Debug)]
pub struct WorkerConfinement {
    filters: Option<seccomp::Filters>,
}

impl WorkerConfinement {
    /// As `wish` says. A call that a filter refuses is explained from now on.
    ///
    /// # Errors
    /// A filter that cannot be made, or no handler for it.
    pub fn new(wish: Wish) -> Result<WorkerConfinement, ConfineError> {
        trunkline_dataplane::sys::refused::explain(seccomp::name)?;
        let filters = refusal(wish).map(seccomp::Filters::worker).transpose()?;
        Ok(WorkerConfinement { filters })
    }

    /// Confines the calling thread, for good: no capability, no signal but those that it
    /// causes itself, no system call beyond its list.
    ///
    /// # Errors
    /// What the kernel does not do.
    pub fn apply(&self) -> Result<(), ConfineError> {
        // Signals of the process are control's: no handler of the runtime's runs here.
        let mut signals = SigSet::all();
        for own in [
            Signal::SIGSYS,
            Signal::SIGABRT,
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGILL,
            Signal::SIGFPE,
            Signal::SIGTRAP,
        ] {
            signals.remove(own);
        }
        signals.thread_block().map_err(std::io::Error::from)?;
        capabilities::keep(&[])?;
        nix::sys::prctl::set_no_new_privs().map_err(std::io::Error::from)?;
        if let Some(filters) = &self.filters {
            filters.apply()?;
        }
        Ok(())
    }
}

/// Confines control's thread, and with it those that it starts from now on, to writing in the
/// directories `writes`. Gives what became of the files.
///
/// # Errors
/// What the kernel does not do.
pub fn confine_control(
    wish: Wish,
    writes: &[&Path],
    socket: &Path,
) -> Result<String, ConfineError> {
    capabilities::keep(&capabilities::needed_to_serve())?;
    nix::sys::prctl::set_no_new_privs().map_err(std::io::Error::from)?;
    let files = match wish {
        Wish::On => landlock::confine(&landlock::Places { writes, socket })?,
        Wish::Log | Wish::Off => "open: by configuration".to_owned(),
    };
    if let Some(refusal) = refusal(wish) {
        seccomp::Filters::control(refusal)?.apply()?;
    }
    Ok(files)
}

fn refusal(wish: Wish) -> Option<Refusal> {
    match wish {
        Wish::On => Some(Refusal::Enforce),
        Wish::Log => Some(Refusal::Log),
        Wish::Off => None,
    }
}

/// What is in force, a row for each kind of thread, as the kernel says it. `files` is what
/// [`confine_control`] gave.
#[must_use]
pub fn in_force(wish: Wish, files: &str) -> Vec<Thread> {
    in_force::read(Path::new("/proc/self/task"), wish, files)
}
