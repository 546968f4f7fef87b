//! Giving capabilities up. The kernel keeps them by thread.

use caps::CapSet;
use caps::Capability;
use caps::CapsHashSet;
use caps::errors::CapsError;

/// What control uses after the start: CAP_NET_ADMIN to keep neighbours resolved and to take
/// its XDP programs off, and, before Linux 6.0, CAP_BPF to read the programs' counts where
/// kernel.unprivileged_bpf_disabled is set; since then an open map is enough.
pub(super) fn needed_to_serve() -> Vec<Capability> {
    let release = nix::sys::utsname::uname();
    let release = release
        .as_ref()
        .map_or("", |names| names.release().to_str().unwrap_or_default());
    needed_on(release)
}

fn needed_on(release: &str) -> Vec<Capability> {
    let major = release
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    let mut needed = vec![Capability::CAP_NET_ADMIN];
    if major.is_none_or(|major: u32| major < 6) {
        needed.push(Capability::CAP_BPF);
    }
    needed
}

/// Leaves the calling thread those of `needed` that it has, and no other in any set.
pub(super) fn keep(needed: &[Capability]) -> Result<(), CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    // What it cannot regain by exec(2) either; a unit that leaves CAP_SETPCAP out has bounded
    // the set itself, and no_new_privs says the same of it.
    if held.contains(&Capability::CAP_SETPCAP) {
        caps::raise(None, CapSet::Effective, Capability::CAP_SETPCAP)?;
        caps::clear(None, CapSet::Bounding)?;
    }
    let kept: CapsHashSet = needed
        .iter()
        .copied()
        .filter(|capability| held.contains(capability))
        .collect();
    caps::clear(None, CapSet::Ambient)?;
    // Effective must be within permitted at every moment.
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Inheritable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_want_cap_bpf_for_a_map() {
        assert_eq!(needed_on("6.1.0-28-amd64"), [Capability::CAP_NET_ADMIN]);
        assert_eq!(needed_on("10.0.1"), [Capability::CAP_NET_ADMIN]);
        for old in ["5.18.19", "", "odd"] {
            assert!(needed_on(old).contains(&Capability::CAP_BPF), "{old}");
        }
    }

    #[test]
    fn what_is_kept_is_all_that_is_left() {
        // In a thread of its own: capabilities are a thread's.
        let left = std::thread::spawn(|| {
            let held = caps::read(None, CapSet::Permitted).unwrap();
            keep(&[Capability::CAP_NET_ADMIN]).unwrap();
            let sets = [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable];
            let left = sets.map(|set| caps::read(None, set).unwrap());
            keep(&[]).unwrap();
            assert!(caps::read(None, CapSet::Permitted).unwrap().is_empty());
            (held, left)
        });
        let (held, [effective, permitted, inheritable]) = left.join().unwrap();
        let net_admin = CapsHashSet::from([Capability::CAP_NET_ADMIN]);
        let wanted: CapsHashSet = held.intersection(&net_admin).copied().collect();
        assert_eq!((&effective, &permitted), (&wanted, &wanted));
        assert!(inheritable.is_empty());
    }
}
