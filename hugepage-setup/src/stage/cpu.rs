//! The workers' cores: a report. What is wrong here takes a restart with another kernel
//! command line, or a person who knows what else the machine does.

use crate::cores;
use crate::host::Host;
use crate::row::Row;
use crate::row::State;
use crate::wanted::Wanted;

const DIRECTORY: &str = "/sys/devices/system/cpu";
/// A sleeping worker wakes so much later from a deep idle state: more than a packet of
/// added delay should be.
const IDLE_EXIT_US_MAX: u64 = 50;

/// What the kernel tells of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The core of each worker.
    pub workers: Vec<u32>,
    /// Cores that run.
    pub online: Vec<u32>,
    /// `isolcpus`.
    pub isolated: Vec<u32>,
    /// `nohz_full`.
    pub tickless: Vec<u32>,
    /// `rcu_nocbs`.
    pub without_rcu: Vec<u32>,
    /// Name and exit latency in µs of the deepest idle state that a worker's core may
    /// enter; `None` where the kernel has none.
    pub idle: Option<(String, u64)>,
    /// How the clock of the first worker's core is chosen; `None` where it is fixed.
    pub governor: Option<String>,
    /// Pairs of workers' cores that share one.
    pub siblings: Vec<(u32, u32)>,
}

/// Reads them.
pub fn facts(host: &Host, wanted: &Wanted) -> Facts {
    let list = |name: &str| {
        let text = host.read(&format!("{DIRECTORY}/{name}"));
        cores::list(&text.unwrap_or_default())
    };
    let command_line = host.read("/proc/cmdline").unwrap_or_default();
    let nocbs = command_line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("rcu_nocbs="));
    let workers = wanted.cores_on(host);
    let idle = workers
        .iter()
        .flat_map(|core| idle_states(host, *core))
        .max_by_key(|(_, latency)| *latency);
    let first = workers.first().copied().unwrap_or(0);
    Facts {
        online: list("online"),
        isolated: list("isolated"),
        tickless: list("nohz_full"),
        without_rcu: cores::list(nocbs.unwrap_or_default()),
        idle,
        governor: host.read(&format!("{DIRECTORY}/cpu{first}/cpufreq/scaling_governor")),
        siblings: siblings(host, &workers),
        workers,
    }
}

fn idle_states(host: &Host, core: u32) -> Vec<(String, u64)> {
    let directory = format!("{DIRECTORY}/cpu{core}/cpuidle");
    host.list(&directory)
        .iter()
        .filter_map(|state| {
            let file = |name: &str| format!("{directory}/{state}/{name}");
            let name = host.read(&file("name"))?;
            let is_on = host.read_number(&file("disable")) == Some(0);
            let latency = host.read_number(&file("latency"))?;
            is_on.then_some((name, latency))
        })
        .collect()
}

fn siblings(host: &Host, workers: &[u32]) -> Vec<(u32, u32)> {
    let mut pairs = Vec::new();
    for (position, core) in workers.iter().enumerate() {
        let path = format!("{DIRECTORY}/cpu{core}/topology/thread_siblings_list");
        let shared = cores::list(&host.read(&path).unwrap_or_default());
        let later = workers[position + 1..].iter();
        pairs.extend(
            later
                .filter(|other| *other != core && shared.contains(other))
                .map(|other| (*core, *other)),
        );
    }
    pairs
}

/// Six rows.
pub fn judge(facts: &Facts, wanted: &Wanted) -> Vec<Row> {
    vec![
        judge_count(facts, wanted),
        judge_list(facts, wanted, "isolation", &facts.isolated, "isolcpus"),
        judge_list(facts, wanted, "timer tick", &facts.tickless, "nohz_full"),
        judge_list(
            facts,
            wanted,
            "RCU callbacks",
            &facts.without_rcu,
            "rcu_nocbs",
        ),
        judge_idle(facts, wanted),
        judge_clock(facts),
        judge_siblings(facts),
    ]
}

fn judge_count(facts: &Facts, wanted: &Wanted) -> Row {
    let workers = cores::text(&facts.workers);
    let found = format!("workers on {workers} of {}", cores::text(&facts.online));
    let row = Row::ok("cores", found, format!("{}, one a worker", wanted.workers));
    let mut distinct = facts.workers.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.iter().any(|core| !facts.online.contains(core)) {
        return row.but(State::Bad, "name cores that run: cores = [...]");
    }
    if u32::try_from(distinct.len()) != Ok(wanted.workers) {
        return row.but(State::Bad, "run with fewer workers, or on a larger machine");
    }
    if wanted.busy && distinct.len() == facts.online.len() {
        return row.but(
            State::Bad,
            "a busy worker leaves no time: keep a core for the rest, or poll = \"adaptive\"",
        );
    }
    row
}

/// Whether the workers' cores are among those of a boot parameter. It matters to a busy
/// worker, which is never to be interrupted; one that sleeps gives way in any case.
fn judge_list(facts: &Facts, wanted: &Wanted, item: &str, has: &[u32], parameter: &str) -> Row {
    let workers = cores::text(&facts.workers);
    let found = match (has.is_empty(), parameter) {
        (true, _) => format!("no {parameter}"),
        (false, _) => format!("{parameter}={}", cores::text(has)),
    };
    let item = format!("cores: {item}");
    if !wanted.busy {
        return Row::ok(&item, found, "any, unless poll = \"busy\"");
    }
    let row = Row::ok(&item, found, format!("{workers}, for busy workers"));
    if facts.workers.iter().all(|core| has.contains(core)) {
        return row;
    }
    let value = match parameter {
        "isolcpus" => format!("managed_irq,domain,{workers}"),
        _ => workers,
    };
    row.but(
        State::Warn,
        format!("kernel command line: {parameter}={value}"),
    )
}

fn judge_idle(facts: &Facts, wanted: &Wanted) -> Row {
    let item = "cores: idle states";
    let wish = format!("awake within {IDLE_EXIT_US_MAX} µs");
    let Some((name, latency)) = &facts.idle else {
        return Row::not_applicable(item, "none here: a guest, or idle=poll", wish);
    };
    let row = Row::ok(item, format!("down to {name}, {latency} µs to wake"), wish);
    if *latency <= IDLE_EXIT_US_MAX || wanted.busy {
        return row;
    }
    let workers = cores::text(&facts.workers);
    row.but(
        State::Warn,
        format!("cpupower -c {workers} idle-set -D {IDLE_EXIT_US_MAX}"),
    )
}

fn judge_clock(facts: &Facts) -> Row {
    let item = "cores: clock";
    let wish = "governor performance";
    let Some(governor) = &facts.governor else {
        return Row::not_applicable(item, "not governed from here", wish);
    };
    let row = Row::ok(item, format!("governor {governor}"), wish);
    if governor == "performance" {
        return row;
    }
    let workers = cores::text(&facts.workers);
    row.but(
        State::Warn,
        format!("cpupower -c {workers} frequency-set -g performance"),
    )
}

fn judge_siblings(facts: &Facts) -> Row {
    let item = "cores: siblings";
    let wish = "no two workers on one physical core";
    let Some((left, right)) = facts.siblings.first() else {
        return Row::ok(item, "no worker shares its core with another", wish);
    };
    let found = format!("{left} and {right} share a physical core");
    let advice = "name others: lscpu -e shows them; cores = [...] in the configuration";
    Row::ok(item, found, wish).but(State::Warn, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;

    fn states(facts: &Facts, busy: bool) -> Vec<State> {
        let wanted = Wanted {
            busy,
            ..Wanted::default()
        };
        judge(facts, &wanted).iter().map(|row| row.state).collect()
    }

    fn tree() -> Tree {
        Tree::new(&[
            ("/proc/self/status", "Cpus_allowed_list:\t0-3\n"),
            ("/proc/cmdline", "quiet rcu_nocbs=2-3\n"),
            ("/sys/devices/system/cpu/online", "0-3\n"),
            ("/sys/devices/system/cpu/isolated", "\n"),
            ("/sys/devices/system/cpu/nohz_full", "(null)\n"),
            ("/sys/devices/system/cpu/cpu2/cpuidle/state0/name", "C1\n"),
            ("/sys/devices/system/cpu/cpu2/cpuidle/state0/disable", "0\n"),
            ("/sys/devices/system/cpu/cpu2/cpuidle/state0/latency", "2\n"),
            ("/sys/devices/system/cpu/cpu2/cpuidle/state1/name", "C6\n"),
            ("/sys/devices/system/cpu/cpu2/cpuidle/state1/disable", "0\n"),
            (
                "/sys/devices/system/cpu/cpu2/cpuidle/state1/latency",
                "133\n",
            ),
            (
                "/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor",
                "powersave\n",
            ),
            (
                "/sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
                "2-3\n",
            ),
        ])
    }

    #[test]
    fn everything_is_read_and_what_matters_is_warned_about() {
        let wanted = Wanted {
            cores: vec![2, 3],
            ..Wanted::default()
        };
        let facts = facts(&tree().host(), &wanted);
        assert_eq!(facts.idle, Some(("C6".to_owned(), 133)));
        assert_eq!(facts.siblings, [(2, 3)]);
        use State::Ok;
        use State::Warn;
        assert_eq!(states(&facts, false), [Ok, Ok, Ok, Ok, Warn, Warn, Warn]);
        // A busy worker never sleeps, but must not be interrupted.
        assert_eq!(states(&facts, true), [Ok, Warn, Warn, Ok, Ok, Warn, Warn]);
        let rows = judge(
            &facts,
            &Wanted {
                busy: true,
                ..wanted
            },
        );
        assert_eq!(
            rows[1].advice,
            "kernel command line: isolcpus=managed_irq,domain,2-3"
        );
    }

    #[test]
    fn there_must_be_a_core_for_each_worker_and_one_more_for_a_busy_one() {
        let facts = |workers: &[u32], online: &[u32]| Facts {
            workers: workers.to_vec(),
            online: online.to_vec(),
            ..Facts::default()
        };
        assert_eq!(states(&facts(&[0, 1], &[0, 1]), false)[0], State::Ok);
        assert_eq!(states(&facts(&[0, 1], &[0, 1]), true)[0], State::Bad);
        assert_eq!(states(&facts(&[0, 1], &[0, 1, 2]), true)[0], State::Ok);
        assert_eq!(states(&facts(&[0], &[0]), false)[0], State::Bad);
        assert_eq!(states(&facts(&[1, 1], &[0, 1]), false)[0], State::Bad);
        assert_eq!(states(&facts(&[0, 9], &[0, 1]), false)[0], State::Bad);
    }
}
