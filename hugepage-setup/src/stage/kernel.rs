//! The kernel itself: its version, lockdown and the BPF compiler.

use crate::host::Host;
use crate::row::Row;
use crate::row::State;

/// The oldest kernel that is supported: 5.18 brings bpf_xdp_get_buff_len, which
/// the XDP program asks instead of comparing pointers, so that loading it takes
/// no CAP_PERFMON. Shared UMEMs (5.10), BPF memory that is not charged to
/// RLIMIT_MEMLOCK and SO_PREFER_BUSY_POLL (5.11) are older.
pub const VERSION_MIN: Version = (5, 18);

/// What is known of the kernel; `None` is what could not be read.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// As `uname -r` has it.
    pub release: Option<String>,
    /// The mode in force: none, integrity or confidentiality.
    pub lockdown: Option<String>,
    /// net.core.bpf_jit_enable: 0 is off.
    pub bpf_jit: Option<u64>,
}

/// Reads them.
pub fn facts(host: &Host) -> Facts {
    Facts {
        release: host.read("/proc/sys/kernel/osrelease"),
        lockdown: host
            .read("/sys/kernel/security/lockdown")
            .and_then(|text| in_brackets(&text)),
        bpf_jit: host.read_number("/proc/sys/net/core/bpf_jit_enable"),
    }
}

/// The chosen word of `none [integrity] confidentiality`.
fn in_brackets(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    let (word, _) = rest.split_once(']')?;
    Some(word.to_owned())
}

/// The first two numbers of a release.
pub type Version = (u32, u32);

/// The first two numbers of `6.1.0-18-amd64`.
pub fn version(release: &str) -> Option<Version> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Three rows: version, BPF compiler, lockdown.
pub fn judge(facts: &Facts) -> Vec<Row> {
    vec![
        judge_version(facts),
        judge_jit(facts),
        judge_lockdown(facts),
    ]
}

fn judge_version(facts: &Facts) -> Row {
    let wanted = format!("{}.{} or newer", VERSION_MIN.0, VERSION_MIN.1);
    let release = facts.release.as_deref().unwrap_or("not readable");
    let row = Row::ok("kernel", release, wanted);
    match version(release) {
        Some(version) if version >= VERSION_MIN => row,
        Some(_) => row.but(
            State::Bad,
            "boot a newer kernel; on Debian: apt-get install linux-image-amd64 && reboot",
        ),
        None => row.but(State::NotApplicable, "/proc is needed to see the version"),
    }
}

fn judge_jit(facts: &Facts) -> Row {
    let row = |found: &str| Row::ok("BPF compiler", found, "on");
    match facts.bpf_jit {
        Some(0) => row("off").but(State::Warn, "sysctl -w net.core.bpf_jit_enable=1"),
        Some(_) => row("on"),
        // A kernel built with BPF_JIT_ALWAYS_ON may hide it from others than
        // root, and a namespace other than the first does not have it.
        None => row("not readable here").but(State::NotApplicable, ""),
    }
}

fn judge_lockdown(facts: &Facts) -> Row {
    let row = |found: &str| Row::ok("lockdown", found, "none or integrity");
    match facts.lockdown.as_deref() {
        Some(mode @ "confidentiality") => row(mode).but(
            State::Warn,
            "XDP and AF_XDP work, tracing tools do not; boot with lockdown=integrity to use them",
        ),
        Some(mode) => row(mode),
        None => row("not visible: securityfs is not mounted").but(State::NotApplicable, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;

    #[test]
    fn a_debian_12_host_is_right() {
        let tree = Tree::new(&[
            ("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
            (
                "/sys/kernel/security/lockdown",
                "none [integrity] confidentiality\n",
            ),
            ("/proc/sys/net/core/bpf_jit_enable", "1\n"),
        ]);
        let rows = judge(&facts(&tree.host()));
        assert!(rows.iter().all(|row| row.state == State::Ok), "{rows:?}");
        assert_eq!(rows[2].found, "integrity");
    }

    #[test]
    fn an_old_kernel_is_bad() {
        for (release, state) in [
            ("5.17.9", State::Bad),
            ("4.19.0", State::Bad),
            ("5.18.0-rc1", State::Ok),
            ("6.18.44", State::Ok),
            ("10.0", State::Ok),
            ("strange", State::NotApplicable),
        ] {
            let facts = Facts {
                release: Some(release.to_owned()),
                ..Facts::default()
            };
            assert_eq!(judge(&facts)[0].state, state, "{release}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_neither_right_nor_wrong() {
        let rows = judge(&facts(&Tree::new(&[]).host()));
        assert!(
            rows.iter().all(|row| row.state == State::NotApplicable),
            "{rows:?}"
        );
    }

    #[test]
    fn interpreted_bpf_and_confidentiality_are_warned_about() {
        let facts = Facts {
            release: None,
            lockdown: Some("confidentiality".to_owned()),
            bpf_jit: Some(0),
        };
        let rows = judge(&facts);
        assert_eq!(rows[1].state, State::Warn);
        assert_eq!(rows[1].advice, "sysctl -w net.core.bpf_jit_enable=1");
        assert_eq!(rows[2].state, State::Warn);
    }
}
