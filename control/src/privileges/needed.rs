//! What the kernel must allow us to start, asked before anything is touched.

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
            writeln!(out, "  {:<20} {}", missing.capability, missing.reason)?;
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

/// What is to be started, as far as privileges go.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Bytes of frames that all workers lock. The kernel holds them together against the
    /// limit, whichever socket they belong to.
    pub umem_len: u64,
    /// The lowest port of a listen.
    pub port_min: u16,
}

/// What anyone may do here.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// RLIMIT_MEMLOCK, bytes.
    memlock_len: u64,
    /// net.ipv4.ip_unprivileged_port_start
    port_min: u16,
}

/// Looks whether this process may do what it must. Gives a warning where something is
/// missing that a start can do without.
///
/// # Errors
/// Everything that is missing.
pub fn check(start: Start) -> Result<Option<String>, MissingPrivileges> {
    let memlock = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK);
    let port = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let port = port.ok().and_then(|port| port.trim().parse().ok());
    let limits = Limits {
        memlock_len: memlock.map_or(0, |(soft, _)| soft),
        port_min: port.unwrap_or(1024),
    };
    judge(start, limits, |capability| {
        caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
    })
}

fn judge(
    start: Start,
    limits: Limits,
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
            has(Capability::CAP_IPC_LOCK) || start.umem_len <= limits.memlock_len,
        ),
        (
            "CAP_NET_BIND_SERVICE",
            "to listen on a port that is reserved to the system's services",
            has(Capability::CAP_NET_BIND_SERVICE) || start.port_min >= limits.port_min,
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

    const START: Start = Start {
        umem_len: 1 << 30,
        port_min: 5060,
    };
    const LIMITS: Limits = Limits {
        memlock_len: 0,
        port_min: 1024,
    };

    #[test]
    fn nothing_is_missing_where_all_is_there() {
        assert_eq!(judge(START, LIMITS, |_| true), Ok(None));
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        let low = Start {
            port_min: 506,
            ..START
        };
        let missing = judge(low, LIMITS, |_| false).unwrap_err();
        insta::assert_snapshot!(missing);
    }

    #[test]
    fn without_an_administrators_capability_it_starts_and_warns() {
        let warning = judge(START, LIMITS, |capability| {
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
        let limits = Limits {
            memlock_len: 8192,
            ..LIMITS
        };
        let start = |umem_len| Start { umem_len, ..START };
        assert_eq!(judge(start(4096), limits, has), Ok(None));
        assert_eq!(
            judge(start(8193), limits, has).unwrap_err().0[0].capability,
            "CAP_IPC_LOCK"
        );
    }
}
