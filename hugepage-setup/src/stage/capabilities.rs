//! Capabilities that this process holds, and why Trunkline needs each.

use crate::host::Host;
use crate::row::Row;
use crate::row::State;

/// Bits of the kernel's capability sets (linux/capability.h).
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const IPC_LOCK: u32 = 14;
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;

/// The effective set of this process; `None` if it could not be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    effective: Option<u64>,
}

impl Facts {
    fn has(&self, bit: u32) -> bool {
        self.effective.is_some_and(|set| set >> bit & 1 == 1)
    }

    /// Whether locked memory is not limited for us.
    pub fn may_lock_memory(&self) -> bool {
        self.has(IPC_LOCK)
    }
}

/// Reads the effective set. A child inherits it from root, not from a user's
/// shell: run the check as the daemon will run.
pub fn facts(host: &Host) -> Facts {
    let effective = host.read("/proc/self/status").and_then(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    Facts { effective }
}

/// One row a capability.
pub fn judge(facts: &Facts) -> Vec<Row> {
    let bpf = if !facts.has(BPF) && facts.has(SYS_ADMIN) {
        Row::ok(
            "CAP_BPF",
            "held, as CAP_SYS_ADMIN",
            "to load the XDP program and its maps",
        )
    } else {
        one(
            facts,
            "CAP_BPF",
            BPF,
            State::Bad,
            "to load the XDP program and its maps",
        )
    };
    vec![
        one(
            facts,
            "CAP_NET_ADMIN",
            NET_ADMIN,
            State::Bad,
            "to attach XDP and watch neighbours",
        ),
        one(
            facts,
            "CAP_NET_RAW",
            NET_RAW,
            State::Bad,
            "to open AF_XDP sockets",
        ),
        bpf,
        // Without it the memory limit decides, which has a row of its own.
        one(
            facts,
            "CAP_IPC_LOCK",
            IPC_LOCK,
            State::Warn,
            "to lock memory beyond RLIMIT_MEMLOCK",
        ),
        // Without it a start after a crash asks for a hand: it must not take a stranger's
        // program off.
        one(
            facts,
            "CAP_SYS_ADMIN",
            SYS_ADMIN,
            State::Warn,
            "to know its own XDP program again after a crash",
        ),
    ]
}

fn one(facts: &Facts, name: &str, bit: u32, without: State, reason: &str) -> Row {
    if facts.effective.is_none() {
        return Row::ok(name, "not readable", reason).but(State::NotApplicable, "");
    }
    if facts.has(bit) {
        return Row::ok(name, "held", reason);
    }
    let capability = name.to_lowercase();
    let advice = format!(
        "run as root, or with systemd: AmbientCapabilities={}",
        capability.to_uppercase()
    );
    Row::ok(name, "not held by this process", reason).but(without, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;

    fn states(set: &str) -> Vec<State> {
        let status = format!("Name:\tcat\nCapPrm:\t0\nCapEff:\t{set}\nCapBnd:\t0\n");
        let tree = Tree::new(&[("/proc/self/status", &status)]);
        judge(&facts(&tree.host()))
            .iter()
            .map(|row| row.state)
            .collect()
    }

    #[test]
    fn root_holds_them_all() {
        assert_eq!(states("000001ffffffffff"), [State::Ok; 5]);
    }

    #[test]
    fn a_user_holds_none() {
        assert_eq!(
            states("0000000000000000"),
            [State::Bad, State::Bad, State::Bad, State::Warn, State::Warn]
        );
    }

    #[test]
    fn sys_admin_stands_for_bpf() {
        let set = format!("{:016x}", 1u64 << SYS_ADMIN);
        assert_eq!(
            states(&set),
            [State::Bad, State::Bad, State::Ok, State::Warn, State::Ok]
        );
    }

    #[test]
    fn without_proc_nothing_is_claimed() {
        let rows = judge(&facts(&Tree::new(&[]).host()));
        assert!(rows.iter().all(|row| row.state == State::NotApplicable));
    }
}
