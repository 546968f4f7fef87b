//! What the kernel must allow us, asked before anything is touched.

use caps::CapSet;
use caps::Capability;

/// A capability that is missing, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub capability: &'static str,
    /// What we would have used it for.
    pub reason: &'static str,
}

/// Everything that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPrivileges(pub Vec<Missing>);

impl std::fmt::Display for MissingPrivileges {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            out,
            "trunklined may not do what it must. Start it as root, or give it these capabilities:"
        )?;
        for missing in &self.0 {
            writeln!(out, "  {:<14} {}", missing.capability, missing.reason)?;
        }
        let names: Vec<_> = self.0.iter().map(|missing| missing.capability).collect();
        write!(
            out,
            "In a systemd unit: AmbientCapabilities={}",
            names.join(" ")
        )
    }
}

impl std::error::Error for MissingPrivileges {}

/// Looks whether this process may do what it must with `umem_len` bytes of frames. Gives
/// a warning where something is missing that a start can do without.
///
/// # Errors
/// Everything that is missing.
pub fn check(umem_len: u64) -> Result<Option<String>, MissingPrivileges> {
    let memlock = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK);
    let memlock_len = memlock.map_or(0, |(soft, _)| soft);
    judge(umem_len, memlock_len, |capability| {
        caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
    })
}

fn judge(
    umem_len: u64,
    memlock_len: u64,
    has: impl Fn(Capability) -> bool,
) -> Result<Option<String>, MissingPrivileges> {
    let admin = has(Capability::CAP_SYS_ADMIN);
    let wanted = [
        (
            "CAP_NET_ADMIN",
            "to attach the XDP program and to keep neighbours resolved",
            has(Capability::CAP_NET_ADMIN),
        ),
        (
            "CAP_NET_RAW",
            "to open AF_XDP sockets",
            has(Capability::CAP_NET_RAW),
        ),
        (
            "CAP_BPF",
            "to load the XDP program and its maps",
            has(Capability::CAP_BPF) || admin,
        ),
        (
            "CAP_IPC_LOCK",
            "to lock the frames in memory: they are larger than RLIMIT_MEMLOCK allows",
            has(Capability::CAP_IPC_LOCK) || umem_len <= memlock_len,
        ),
    ];
    let mut missing: Vec<_> = wanted
        .into_iter()
        .filter(|(_, _, there)| !there)
        .map(|(capability, reason, _)| Missing { capability, reason })
        .collect();
    if missing.is_empty() {
        return Ok((!admin).then(|| {
            "without CAP_SYS_ADMIN a start after a crash cannot know its predecessor's XDP program again, and refuses: give \
             it (in a systemd unit: AmbientCapabilities=CAP_SYS_ADMIN), or be ready for: ip link set DEV xdp off"
                .to_owned()
        }));
    }
    if !admin {
        missing.push(Missing {
            capability: "CAP_SYS_ADMIN",
            reason: "to know its own XDP program again after a crash (it starts without, and warns)",
        });
    }
    Err(MissingPrivileges(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_where_all_is_there() {
        assert_eq!(judge(1 << 30, 0, |_| true), Ok(None));
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        let missing = judge(1 << 30, 1 << 20, |_| false).unwrap_err();
        insta::assert_snapshot!(missing);
    }

    #[test]
    fn without_an_administrators_capability_it_starts_and_warns() {
        let warning = judge(1 << 30, 0, |capability| {
            capability != Capability::CAP_SYS_ADMIN
        });
        let warning = warning.unwrap().unwrap();
        assert!(warning.starts_with("without CAP_SYS_ADMIN"), "{warning}");
    }

    #[test]
    fn a_small_umem_needs_no_lock_and_an_administrator_no_bpf() {
        let has = |capability| {
            matches!(
                capability,
                Capability::CAP_SYS_ADMIN | Capability::CAP_NET_ADMIN | Capability::CAP_NET_RAW
            )
        };
        assert_eq!(judge(4096, 8192, has), Ok(None));
        assert_eq!(
            judge(8193, 8192, has).unwrap_err().0[0].capability,
            "CAP_IPC_LOCK"
        );
    }
}
