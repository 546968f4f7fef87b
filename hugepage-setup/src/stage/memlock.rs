//! The limit of locked memory, to which the kernel charges packet memory.
//!
//! Two things: the limit of whoever runs this, as of a trunklined started from the same
//! shell, and that of the service, which systemd sets.

use crate::host::Host;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;
use crate::stage::capabilities;
use crate::wanted::Wanted;

const SERVICE: &str = "trunklined.service";
/// Where systemd finds units, what comes later wins.
const DIRECTORIES: [&str; 4] = [
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/system",
    "/etc/systemd/system",
];
/// Read after all others that have a number.
pub const DROP_IN: &str = "/etc/systemd/system/trunklined.service.d/90-memlock.conf";

/// A limit of locked memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// None at all.
    Unlimited,
    /// So many bytes.
    Bytes(u64),
    /// It could not be read.
    Unknown,
}

/// What is known of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The soft limit of this process.
    pub here: Limit,
    /// The service's; `None` where there is no such unit.
    pub service: Option<Limit>,
}

/// Reads them.
pub fn facts(host: &Host) -> Facts {
    Facts {
        here: here(host),
        service: service(host),
    }
}

fn here(host: &Host) -> Limit {
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

/// The unit and its drop-ins, as far as they speak of the limit. A unit in a later
/// directory replaces one in an earlier; drop-ins of all directories are added by name.
fn service(host: &Host) -> Option<Limit> {
    let unit = DIRECTORIES
        .iter()
        .rev()
        .find_map(|directory| host.read(&format!("{directory}/{SERVICE}")))?;
    let mut drop_ins: Vec<(String, &str)> = Vec::new();
    for directory in DIRECTORIES {
        for name in host.list(&format!("{directory}/{SERVICE}.d")) {
            drop_ins.retain(|(other, _)| *other != name);
            drop_ins.push((name, directory));
        }
    }
    drop_ins.sort();
    let texts = drop_ins
        .iter()
        .filter(|(name, _)| name.ends_with(".conf"))
        .filter_map(|(name, directory)| host.read(&format!("{directory}/{SERVICE}.d/{name}")));
    let all: Vec<String> = std::iter::once(unit).chain(texts).collect();
    // The capability lifts any limit.
    let is_lifted = all.iter().any(|text| {
        let mut names = values(text, "AmbientCapabilities").flat_map(str::split_whitespace);
        names.any(|name| name == "CAP_IPC_LOCK")
    });
    if is_lifted {
        return Some(Limit::Unlimited);
    }
    let limits = all.iter().flat_map(|text| values(text, "LimitMEMLOCK"));
    // systemd gives a service 8 MiB where nothing is said.
    Some(limits.last().map_or(Limit::Bytes(8 << 20), limit_of))
}

/// The values of a key, in order.
fn values<'a>(unit: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    unit.lines()
        .filter_map(move |line| line.trim().strip_prefix(key)?.strip_prefix('='))
        .map(str::trim)
}

/// What LimitMEMLOCK= takes.
fn limit_of(value: &str) -> Limit {
    // soft:hard
    let soft = value.split(':').next().unwrap_or_default();
    if soft == "infinity" {
        return Limit::Unlimited;
    }
    let digits = soft.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &soft[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Limit::Unknown,
    };
    digits.parse::<u64>().map_or(Limit::Unknown, |number| {
        Limit::Bytes(number.saturating_mul(factor))
    })
}

/// Two rows.
pub fn judge(facts: &Facts, capabilities: &capabilities::Facts, wanted: &Wanted) -> Vec<Row> {
    vec![
        judge_here(&facts.here, capabilities, wanted),
        judge_service(facts.service.as_ref(), wanted),
    ]
}

fn wish(wanted: &Wanted) -> String {
    let needed = wanted.umem_len().div_ceil(1 << 20);
    format!("{needed} MiB, or CAP_IPC_LOCK")
}

fn say(limit: &Limit) -> String {
    match limit {
        Limit::Unlimited => "no limit".to_owned(),
        Limit::Bytes(bytes) => format!("{} KiB", bytes / 1024),
        Limit::Unknown => "limit not readable".to_owned(),
    }
}

/// The kernel does not look at the limit of a process that holds CAP_IPC_LOCK.
fn judge_here(limit: &Limit, capabilities: &capabilities::Facts, wanted: &Wanted) -> Row {
    let needed = wanted.umem_len();
    let found = say(limit);
    if capabilities.may_lock_memory() {
        let found = format!("{found}, CAP_IPC_LOCK held");
        return Row::ok("locked memory", found, wish(wanted));
    }
    let row = Row::ok("locked memory", found, wish(wanted));
    match limit {
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
    }
}

fn judge_service(limit: Option<&Limit>, wanted: &Wanted) -> Row {
    let item = "locked memory, service";
    let Some(limit) = limit else {
        let found = format!("does not apply: no {SERVICE} here");
        return Row::not_applicable(item, found, wish(wanted));
    };
    let row = Row::ok(item, say(limit), wish(wanted));
    match limit {
        Limit::Unlimited => row,
        Limit::Bytes(bytes) if *bytes >= wanted.umem_len() => row,
        Limit::Bytes(_) | Limit::Unknown => {
            let step = Step {
                setting: Setting::Text {
                    path: DROP_IN.to_owned(),
                },
                to: "[Service]\nLimitMEMLOCK=infinity".to_owned(),
            };
            row.needs(State::Bad, vec![step])
        }
    }
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

    fn wanted(umem_mib: u64) -> Wanted {
        Wanted {
            frames: Some(umem_mib * 512),
            ..Wanted::default()
        }
    }

    fn capabilities(set: &str) -> capabilities::Facts {
        let status = format!("CapEff:\t{set}\n");
        capabilities::facts(&Tree::new(&[("/proc/self/status", &status)]).host())
    }

    #[test]
    fn the_soft_limit_is_read() {
        let tree = Tree::new(&[("/proc/self/limits", LIMITS)]);
        assert_eq!(here(&tree.host()), Limit::Bytes(8 << 20));
        let unlimited = LIMITS.replace("8388608  ", "unlimited");
        let tree = Tree::new(&[("/proc/self/limits", &unlimited)]);
        assert_eq!(here(&tree.host()), Limit::Unlimited);
        assert_eq!(here(&Tree::new(&[]).host()), Limit::Unknown);
    }

    #[test]
    fn the_packet_memory_of_all_workers_must_fit() {
        let none = capabilities("0");
        let limit = Limit::Bytes(8 << 20);
        assert_eq!(judge_here(&limit, &none, &wanted(4)).state, State::Ok);
        let row = judge_here(&limit, &none, &wanted(16));
        assert_eq!(row.state, State::Bad);
        assert!(row.advice.contains("ulimit -l 32768"), "{}", row.advice);
        assert_eq!(
            judge_here(&Limit::Unlimited, &none, &wanted(16)).state,
            State::Ok
        );
    }

    #[test]
    fn the_capability_lifts_the_limit() {
        let held = capabilities("0000000000004000");
        assert_eq!(
            judge_here(&Limit::Bytes(0), &held, &wanted(16)).state,
            State::Ok
        );
    }

    const UNIT: &str = "/lib/systemd/system/trunklined.service";
    const LATER: &str = "/etc/systemd/system/trunklined.service.d/10-site.conf";

    fn service_limit(files: &[(&str, &str)]) -> Option<Limit> {
        service(&Tree::new(files).host())
    }

    #[test]
    fn the_service_has_what_its_unit_and_the_last_drop_in_say() {
        assert_eq!(service_limit(&[]), None);
        let bytes = |files: &[(&str, &str)]| service_limit(files).unwrap();
        assert_eq!(bytes(&[(UNIT, "[Service]\n")]), Limit::Bytes(8 << 20));
        let unit = (UNIT, "[Service]\nLimitMEMLOCK=64M\n");
        assert_eq!(bytes(&[unit]), Limit::Bytes(64 << 20));
        let later = (LATER, "[Service]\nLimitMEMLOCK=infinity\n");
        assert_eq!(bytes(&[unit, later]), Limit::Unlimited);
        let capability = (
            UNIT,
            "[Service]\nAmbientCapabilities=CAP_BPF CAP_IPC_LOCK\n",
        );
        assert_eq!(bytes(&[capability]), Limit::Unlimited);
        let small = (LATER, "[Service]\nLimitMEMLOCK=8M:16M\n");
        assert_eq!(bytes(&[unit, small]), Limit::Bytes(8 << 20));
        assert_eq!(bytes(&[capability, small]), Limit::Unlimited);
    }

    #[test]
    fn too_small_a_service_gets_a_drop_in_of_ours() {
        let small = judge_service(Some(&Limit::Bytes(8 << 20)), &wanted(16));
        assert_eq!(small.state, State::Bad);
        assert_eq!(
            small.advice,
            "install -D /dev/null /etc/systemd/system/trunklined.service.d/90-memlock.conf; \
             printf '[Service]\\nLimitMEMLOCK=infinity\\n' \
             > /etc/systemd/system/trunklined.service.d/90-memlock.conf; systemctl daemon-reload"
        );
        let none = judge_service(None, &wanted(16));
        assert_eq!(none.state, State::NotApplicable);
    }
}
