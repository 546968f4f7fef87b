//! Pinning a worker to its core.

use crate::ids::CoreId;

/// The core is not one that this process may run on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot pin to core {}: the process may run on cores {allowed:?}; configure one of those, \
     or widen its cpuset", core.0
)]
pub struct PinError {
    /// The core asked for.
    pub core: CoreId,
    /// The cores that are allowed.
    pub allowed: Vec<u16>,
}

/// The cores this process may run on, in the kernel's numbering.
#[must_use]
pub fn cores() -> Vec<CoreId> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    ids.iter()
        .filter_map(|id| u16::try_from(id.id).ok())
        .map(CoreId)
        .collect()
}

/// Pins the calling thread to `core`.
///
/// # Errors
/// If the process may not run there.
pub fn pin(core: CoreId) -> Result<(), PinError> {
    // Asked first, since a refusal by the kernel does not say which cores there are.
    let allowed = cores();
    let id = core_affinity::CoreId {
        id: usize::from(core.0),
    };
    if allowed.contains(&core) && core_affinity::set_for_current(id) {
        return Ok(());
    }
    Err(PinError {
        core,
        allowed: allowed.iter().map(|core| core.0).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_pins_to_a_core_it_has_and_to_no_other() {
        // In a thread of its own: the test runner's threads stay free.
        let pinned = std::thread::spawn(|| {
            let core = *cores().last().unwrap();
            pin(core).unwrap();
            assert_eq!(cores(), vec![core]);
            pin(CoreId(u16::MAX)).unwrap_err().to_string()
        });
        let error = pinned.join().unwrap();
        assert!(error.contains("core 65535"), "{error}");
    }
}
