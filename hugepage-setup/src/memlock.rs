//! The limit of locked memory, to which the kernel charges packet memory.

use crate::capabilities;
use crate::host::Host;
use crate::row::Row;
use crate::row::State;
use crate::wanted::Wanted;

/// RLIMIT_MEMLOCK of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// None at all.
    Unlimited,
    /// So many bytes.
    Bytes(u64),
    /// /proc could not be read.
    Unknown,
}

/// Reads the soft limit.
pub fn facts(host: &Host) -> Limit {
    let soft = host.read("/proc/self/limits").and_then(|limits| {
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max locked memory"))?;
        line.split_whitespace().next().map(str::to_owned)
    });
    match soft.as_deref() {
        Some("unlimited") => Limit::Unlimited,
        Some(digits) => digits.parse().map_or(Limit::Unknown, Limit::Bytes),
        None => Limit::Unknown,
    }
}

/// One row. The kernel does not look at the limit of a process that holds
/// CAP_IPC_LOCK.
pub fn judge(limit: &Limit, capabilities: &capabilities::Facts, wanted: &Wanted) -> Vec<Row> {
    let needed = wanted.umem_len();
    let wish = format!("{} MiB, or CAP_IPC_LOCK", needed.div_ceil(1 << 20));
    let found = match limit {
        Limit::Unlimited => "no limit".to_owned(),
        Limit::Bytes(bytes) => format!("{} KiB", bytes / 1024),
        Limit::Unknown => "limit not readable".to_owned(),
    };
    if capabilities.may_lock_memory() {
        return vec![Row::ok(
            "locked memory",
            format!("{found}, CAP_IPC_LOCK held"),
            wish,
        )];
    }
    let row = Row::ok("locked memory", found, wish);
    vec![match limit {
        Limit::Unlimited => row,
        Limit::Bytes(bytes) if *bytes >= needed => row,
        Limit::Bytes(_) => row.but(
            State::Bad,
            format!(
                "run as root, or: ulimit -l {} (systemd: LimitMEMLOCK=infinity)",
                needed / 1024
            ),
        ),
        Limit::Unknown => row.but(State::NotApplicable, ""),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 524288               files
Max locked memory         8388608              8388608              bytes
Max address space         unlimited            unlimited            bytes
";

    fn wanted(umem_mib: u32) -> Wanted {
        Wanted {
            interfaces: vec![],
            workers: 2,
            media_ports: vec![],
            umem_mib,
        }
    }

    fn capabilities(set: &str) -> capabilities::Facts {
        let status = format!("CapEff:\t{set}\n");
        capabilities::facts(&Tree::new(&[("/proc/self/status", &status)]).host())
    }

    #[test]
    fn the_soft_limit_is_read() {
        let tree = Tree::new(&[("/proc/self/limits", LIMITS)]);
        assert_eq!(facts(&tree.host()), Limit::Bytes(8 << 20));
        let unlimited = LIMITS.replace("8388608  ", "unlimited");
        let tree = Tree::new(&[("/proc/self/limits", &unlimited)]);
        assert_eq!(facts(&tree.host()), Limit::Unlimited);
        assert_eq!(facts(&Tree::new(&[]).host()), Limit::Unknown);
    }

    #[test]
    fn the_packet_memory_of_all_workers_must_fit() {
        let none = capabilities("0");
        let limit = Limit::Bytes(8 << 20);
        assert_eq!(judge(&limit, &none, &wanted(4))[0].state, State::Ok);
        let row = judge(&limit, &none, &wanted(16)).remove(0);
        assert_eq!(row.state, State::Bad);
        assert!(row.advice.contains("ulimit -l 32768"), "{}", row.advice);
        assert_eq!(
            judge(&Limit::Unlimited, &none, &wanted(16))[0].state,
            State::Ok
        );
    }

    #[test]
    fn the_capability_lifts_the_limit() {
        let held = capabilities("0000000000004000");
        assert_eq!(
            judge(&Limit::Bytes(0), &held, &wanted(16))[0].state,
            State::Ok
        );
    }
}
