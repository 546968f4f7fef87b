//! Why the kernel says EPERM, as far as a process can see for itself.
//!
//! bpf(2), AF_XDP and netlink all answer EPERM, whoever forbade it: a missing capability, a
//! bounding set, a user namespace, a seccomp filter, a security module. Each has another
//! remedy, so each is looked for, and what is found is told in a sentence with the remedy.

use std::fmt;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use caps::Capability;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// bpf(2): the XDP program and its maps.
    LoadBpf,
    /// Netlink: the program onto an interface.
    AttachXdp,
    /// socket(AF_XDP) and what is done with it.
    OpenXsk,
    /// bind(2) to a port below `net.ipv4.ip_unprivileged_port_start`.
    BindPort,
}

impl Operation {
    fn capabilities(self) -> &'static [Capability] {
        match self {
            Operation::LoadBpf => &[Capability::CAP_BPF, Capability::CAP_NET_ADMIN],
            Operation::AttachXdp => &[Capability::CAP_NET_ADMIN],
            Operation::OpenXsk => &[Capability::CAP_NET_RAW],
            Operation::BindPort => &[Capability::CAP_NET_BIND_SERVICE],
        }
    }

    fn call(self) -> &'static str {
        match self {
            Operation::LoadBpf => "bpf",
            Operation::AttachXdp => "sendto and sendmsg on netlink",
            Operation::OpenXsk => "socket and bind of AF_XDP",
            Operation::BindPort => "bind",
        }
    }
}

/// What was found, a sentence each, the likeliest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings(pub Vec<String>);

impl fmt::Display for Findings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "What may forbid it here:")?;
        self.0
            .iter()
            .try_for_each(|finding| write!(out, "\n  - {finding}"))
    }
}

/// Looks for what forbids `operation` to this process.
#[must_use]
pub fn why(operation: Operation) -> Findings {
    Facts::read(Path::new("/")).judge(operation)
}

/// What a process can see of its chains.
#[derive(Clone, Debug, Default)]
struct Facts {
    effective: u64,
    bounding: u64,
    no_new_privs: bool,
    /// Filters on this thread.
    filters: Option<u32>,
    /// True where user 0 of this namespace is that of the first, and all others too.
    is_first_user_namespace: bool,
    /// `none`, `integrity` or `confidentiality`.
    lockdown: String,
    /// The security module's label of this process.
    label: String,
}

impl Facts {
    fn read(root: &Path) -> Facts {
        let read = |path: &str| -> String {
            let path: PathBuf = root.join(path);
            fs::read_to_string(path).unwrap_or_default()
        };
        let status = read("proc/self/status");
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.map(str::trim)
        };
        let set = |key| value(key).and_then(|set| u64::from_str_radix(set, 16).ok());
        let is_filtered = value("Seccomp:") == Some("2");
        let filters = value("Seccomp_filters:").and_then(|count| count.parse().ok());
        let map = read("proc/self/uid_map");
        let lockdown = read("sys/kernel/security/lockdown");
        let chosen = lockdown
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        let label = read("proc/self/attr/current");
        Facts {
            effective: set("CapEff:").unwrap_or(0),
            bounding: set("CapBnd:").unwrap_or(u64::MAX),
            no_new_privs: value("NoNewPrivs:") == Some("1"),
            filters: is_filtered.then_some(filters.unwrap_or(1)),
            is_first_user_namespace: map.split_whitespace().eq(["0", "0", "4294967295"]),
            lockdown: chosen.map_or_else(String::new, |(chosen, _)| chosen.to_owned()),
            label: label.trim_matches(['\0', '\n', ' ']).to_owned(),
        }
    }

    fn judge(&self, operation: Operation) -> Findings {
        let mut findings: Vec<_> = operation
            .capabilities()
            .iter()
            .filter_map(|&capability| self.judge_capability(capability))
            .collect();
        if !self.is_first_user_namespace {
            findings.push(
                "this is a user namespace, and capabilities in one count for little with XDP and bpf(2): run in the host's \
                 (PrivateUsers=no in a unit, no rootless container)"
                    .to_owned(),
            );
        }
        if let Some(filters) = self.filters {
            let (plural, call) = (if filters == 1 { "" } else { "s" }, operation.call());
            findings.push(format!(
                "{filters} seccomp filter{plural} stood on this process before it began, and may refuse {call}: in a unit \
                 SystemCallFilter=@system-service bpf, in a container another profile (--security-opt seccomp=...)"
            ));
        }
        if self.lockdown == "confidentiality" && operation == Operation::LoadBpf {
            findings.push(
                "the kernel is locked down for confidentiality: boot with lockdown=integrity, or without"
                    .to_owned(),
            );
        }
        if !self.label.is_empty() && !self.label.starts_with("unconfined") {
            findings.push(format!(
                "a security module confines this process as \"{}\": its refusals stand in `dmesg` or `ausearch -m avc`",
                self.label
            ));
        }
        if findings.is_empty() {
            findings.push(
                "nothing that a process can see of itself: look at `dmesg` for a security module's refusal"
                    .to_owned(),
            );
        }
        Findings(findings)
    }

    fn judge_capability(&self, capability: Capability) -> Option<String> {
        let has = |set: u64| set & capability.bitmask() != 0;
        // CAP_SYS_ADMIN stands for CAP_BPF.
        let admin = capability == Capability::CAP_BPF
            && self.effective & Capability::CAP_SYS_ADMIN.bitmask() != 0;
        if has(self.effective) || admin {
            return None;
        }
        if !has(self.bounding) {
            return Some(format!(
                "{capability} is missing and cannot be had in here, since the bounding set lacks it: in a container \
                 --cap-add={}, in a unit CapabilityBoundingSet={capability} and AmbientCapabilities={capability}",
                capability.to_string().trim_start_matches("CAP_")
            ));
        }
        let sudo = if self.no_new_privs {
            "; sudo and file capabilities give nothing here, since no_new_privs is set"
        } else {
            ""
        };
        Some(format!(
            "{capability} is missing: start as root, or in a unit AmbientCapabilities={capability}{sudo}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box's /proc and /sys as `files` have them.
    fn facts(files: &[(&str, &str)]) -> Facts {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Facts::read(root.path())
    }

    const ALL: &str =
        "CapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n";
    const NONE: &str =
        "CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\nSeccomp:\t0\n";
    const FIRST: (&str, &str) = ("proc/self/uid_map", "         0          0 4294967295\n");

    fn said(files: &[(&str, &str)], operation: Operation) -> Vec<String> {
        facts(files).judge(operation).0
    }

    #[test]
    fn a_missing_capability_is_named_with_its_remedy() {
        let said = said(&[FIRST, ("proc/self/status", NONE)], Operation::LoadBpf);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("CAP_BPF is missing: start as root"));
        assert!(said[1].contains("AmbientCapabilities=CAP_NET_ADMIN"));
    }

    #[test]
    fn a_bounding_set_is_told_from_a_capability_that_was_not_given() {
        let status = NONE.replace("000001ffffffffff", "00000000a80425fb");
        let said = said(&[FIRST, ("proc/self/status", &status)], Operation::LoadBpf);
        assert!(said[0].contains("--cap-add=BPF"), "{said:?}");
    }

    #[test]
    fn sys_admin_stands_for_bpf_and_nothing_else() {
        // CAP_SYS_ADMIN alone.
        let status = NONE.replace("CapEff:\t0000000000000000", "CapEff:\t0000000000200000");
        let said = said(&[FIRST, ("proc/self/status", &status)], Operation::LoadBpf);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("CAP_NET_ADMIN"));
    }

    #[test]
    fn a_filter_a_namespace_lockdown_and_a_module_are_found() {
        let filtered = ALL.replace("Seccomp:\t0", "Seccomp:\t2\nSeccomp_filters:\t3");
        let found = said(
            &[
                ("proc/self/uid_map", "0 100000 65536\n"),
                ("proc/self/status", &filtered),
                (
                    "sys/kernel/security/lockdown",
                    "none integrity [confidentiality]\n",
                ),
                ("proc/self/attr/current", "docker-default (enforce)\n"),
            ],
            Operation::LoadBpf,
        );
        let words = [
            "user namespace",
            "3 seccomp filters",
            "lockdown=integrity",
            "docker-default",
        ];
        assert_eq!(found.len(), words.len(), "{found:?}");
        for (finding, word) in found.iter().zip(words) {
            assert!(finding.contains(word), "{finding}");
        }
    }

    #[test]
    fn no_new_privs_is_said_where_it_stands_in_the_way() {
        let status = NONE.replace("NoNewPrivs:\t0", "NoNewPrivs:\t1");
        let said = said(&[FIRST, ("proc/self/status", &status)], Operation::OpenXsk);
        assert!(said[0].contains("no_new_privs"), "{said:?}");
    }

    #[test]
    fn where_nothing_is_found_that_is_said() {
        let found = said(
            &[
                FIRST,
                ("proc/self/status", ALL),
                ("proc/self/attr/current", "unconfined\n"),
            ],
            Operation::OpenXsk,
        );
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("nothing that a process can see"),
            "{found:?}"
        );
    }
}
