//! The report as Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::runs::Run;
use super::runs::difference;
use super::runs::median;
use super::runs::ratio;
use crate::measure::median::Median;

/// Times of which latency is told, and what they are.
const TIMES: [(&str, &str); 6] = [
    ("request_transit", "a request through the box"),
    ("response_transit", "a response through the box"),
    ("invite_to_180", "INVITE to 180"),
    ("invite_to_final", "INVITE to 200"),
    ("bye_to_200", "BYE to 200"),
    ("register_to_200", "REGISTER to 200, challenge and all"),
];

/// All of it.
pub(super) fn text(runs: &[Run]) -> String {
    let mut text = String::from(HEAD);
    machine(&mut text, runs);
    versions(&mut text, runs);
    cpu(&mut text, runs);
    sustained(&mut text, runs);
    memory(&mut text, runs);
    added(&mut text, runs);
    latency(&mut text, runs);
    text
}

const HEAD: &str = "# SIP: Trunkline beside its peers\n\n\
    Made by `perf/compare sip` and `trunkline-perf report`; the raw figures are in `raw/`. Every candidate\n\
    has one worker on one core, the generator the other; they run in turns, so that a noisy minute\n\
    meets them all. A figure is the median of its turns, in brackets the interval in which the true\n\
    median lies with 95 %, or with less where there were fewer than six turns.\n\n\
    A call is six messages in and six or seven out: INVITE, (100), 180, 200, ACK, BYE, 200, without SDP, since\n\
    the peers relay no media. CPU is that of the process with all its threads and children, system calls\n\
    and the softirqs that ran while it did. On veth the delivery of a frame is charged to who sends\n\
    it: a box pays for what it gives to the generator, and the generator for what it gives to the box. The\n\
    column `machine` has both; the generator polls and burns its own core whatever it does.\n\n\
    Mode `none` is the floor: forwarders that do nothing but send on what they get, on AF_XDP rings and on\n\
    sockets. A candidate called polling never sleeps: its latency is to be looked at, not its CPU time.\n";

fn machine(text: &mut String, runs: &[Run]) {
    let Some(run) = runs.first() else { return };
    let fact = |name: &str| {
        let value = run.figures.pointer(&format!("/machine/{name}"));
        value.map_or(String::new(), |value| value.to_string().replace('"', ""))
    };
    let _ = writeln!(
        text,
        "\nMachine: {}, {} cores, {}, Linux {}, {}. It is shared with others: ratios within a run tell\n\
         more than figures of different runs.",
        fact("processor"),
        fact("cores"),
        fact("memory"),
        fact("kernel"),
        fact("distribution"),
    );
}

fn versions(text: &mut String, runs: &[Run]) {
    let of: BTreeSet<_> = runs
        .iter()
        .map(|run| (run.candidate.as_str(), run.version.as_str()))
        .collect();
    text.push_str("\n| candidate | version |\n|---|---|\n");
    for (candidate, version) in of {
        let _ = writeln!(text, "| {candidate} | {version} |");
    }
}

/// Each candidate, mode and rate at which there are fixed runs.
fn fixed(runs: &[Run]) -> BTreeSet<(&str, u64, &str)> {
    let fixed = runs.iter().filter(|run| run.kind == "fixed");
    fixed
        .map(|run| (run.mode.as_str(), whole(run.rate), run.candidate.as_str()))
        .collect()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates of calls, which are not negative"
)]
fn whole(rate: f64) -> u64 {
    rate as u64
}

#[allow(clippy::cast_precision_loss, reason = "rates of calls")]
fn cpu(text: &mut String, runs: &[Run]) {
    text.push_str(
        "\n## CPU a call\n\n\
         | mode | calls/s | candidate | box, µs | machine, µs | box beside Kamailio |\n\
         |---|---:|---|---:|---:|---:|\n",
    );
    for (mode, rate, candidate) in fixed(runs) {
        let key = (candidate, mode, rate as f64);
        let row = [
            shown(median(runs, key, |run| run.cpu_a_call("box")), 1),
            shown(median(runs, key, |run| run.cpu_a_call("machine")), 1),
            shown(
                ratio(runs, (candidate, "kamailio"), (mode, rate as f64), |run| {
                    run.cpu_a_call("box")
                }),
                2,
            ),
        ];
        let _ = writeln!(
            text,
            "| {mode} | {rate} | {candidate} | {} |",
            row.join(" | ")
        );
    }
    text.push_str("\n![CPU a call](cpu.svg)\n");
}

fn sustained(text: &mut String, runs: &[Run]) {
    let ladder: Vec<_> = runs.iter().filter(|run| run.kind == "ladder").collect();
    let climbers: BTreeSet<_> = ladder
        .iter()
        .map(|run| (run.mode.as_str(), run.candidate.as_str()))
        .collect();
    if climbers.is_empty() {
        return;
    }
    text.push_str(
        "\n## Highest rate sustained\n\n\
         Without a failure and without a repetition, each rate longer than Timer J where there are transactions. A call\n\
         of mode `register` is a registration with its challenge.\n\n\
         | mode | candidate | sustained, calls/s | the box's core busy | CPU a call, µs | next tried | what happened there |\n\
         |---|---|---:|---:|---:|---:|---|\n",
    );
    for (mode, candidate) in climbers {
        let mut rungs: Vec<_> = ladder
            .iter()
            .filter(|run| run.mode == mode && run.candidate == candidate)
            .collect();
        rungs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let best = rungs.iter().take_while(|run| run.is_clean()).last();
        let next = rungs.iter().find(|run| !run.is_clean());
        let busy = best.and_then(|run| {
            let used = run.number("/window/cpu/box/seconds")?;
            Some(used / run.number("/window/seconds")? * 100.0)
        });
        let cpu = best.and_then(|run| run.cpu_a_call("box"));
        let _ = writeln!(
            text,
            "| {mode} | {candidate} | {} | {} | {} | {} | {} |",
            best.map_or("none".to_owned(), |run| run.rate.to_string()),
            busy.map_or(String::new(), |busy| format!("{busy:.0} %")),
            cpu.map_or(String::new(), |cpu| format!("{cpu:.1}")),
            next.map_or(String::new(), |run| run.rate.to_string()),
            next.map_or("the ladder ended".to_owned(), |run| what_happened(run)),
        );
    }
    text.push_str("\n![What is carried](carried.svg)\n");
}

fn memory(text: &mut String, runs: &[Run]) {
    let rows: Vec<_> = runs.iter().filter(|run| run.kind == "memory").collect();
    if rows.is_empty() {
        return;
    }
    text.push_str(
        "\n## Memory a call in flight\n\n\
         5,000 calls that ring, without SDP: what the candidate's own books show more than before them. Kamailio: shared\n\
         memory with what its allocator adds. Trunkline: entries of its tables and kept messages with what their pieces have\n\
         to spare; it reserves its tables at start.\n\n\
         | candidate | bytes a call |\n|---|---:|\n",
    );
    for run in rows {
        let bytes = run.number("/memory/bytes_a_call");
        let bytes = bytes.map_or(String::new(), |bytes| format!("{bytes:.0}"));
        let _ = writeln!(text, "| {} | {bytes} |", run.candidate);
    }
}

/// What the box adds to a message above the forwarder that polls as it does.
#[allow(clippy::cast_precision_loss, reason = "rates of calls")]
fn added(text: &mut String, runs: &[Run]) {
    let (floor, candidate) = ("floor-rings-polling", "trunkline-polling");
    let polling = fixed(runs);
    let mut rows = polling
        .iter()
        .filter(|(_, _, who)| *who == candidate)
        .peekable();
    if rows.peek().is_none() {
        return;
    }
    text.push_str(
        "\n## Time added above the bare forwarder, µs\n\n\
         Both poll without pause: Trunkline's time of a message through the box less that of a forwarder on the same rings, turn\n\
         by turn.\n\n\
         | message | calls/s | p50 | p90 | p99 |\n|---|---:|---:|---:|---:|\n",
    );
    for &(mode, rate, _) in rows {
        for (what, meaning) in &TIMES[..2] {
            let row = ["p50", "p90", "p99"].map(|share| {
                let more = difference(
                    runs,
                    (candidate, mode),
                    (floor, "none"),
                    rate as f64,
                    |run| run.time(what, share),
                );
                shown(more, 1)
            });
            let _ = writeln!(text, "| {meaning} | {rate} | {} |", row.join(" | "));
        }
    }
}

fn what_happened(run: &Run) -> String {
    let mut text = format!(
        "{} failed, {} said again",
        run.failed(),
        run.number("/messages/repeated").unwrap_or(0.0)
    );
    let limits = run.generator_limits();
    if !limits.is_empty() {
        let _ = write!(text, "; the generator: {}", limits.join(", "));
    }
    text
}

#[allow(clippy::cast_precision_loss, reason = "rates of calls")]
fn latency(text: &mut String, runs: &[Run]) {
    text.push_str("\n## Latency, µs\n");
    for (what, meaning) in TIMES {
        let _ = write!(
            text,
            "\n### {meaning}\n\n\
             | mode | calls/s | candidate | p50 | p90 | p99 | p99.9 |\n\
             |---|---:|---|---:|---:|---:|---:|\n"
        );
        for (mode, rate, candidate) in fixed(runs) {
            let row = ["p50", "p90", "p99", "p999"].map(|share| {
                let key = (candidate, mode, rate as f64);
                median(runs, key, |run| run.time(what, share))
            });
            if row.iter().all(Option::is_none) {
                continue;
            }
            let row = row.map(|it| shown(it, 0));
            let _ = writeln!(
                text,
                "| {mode} | {rate} | {candidate} | {} |",
                row.join(" | ")
            );
        }
    }
    text.push_str("\n![Latency](latency.svg)\n");
}

/// `12.3 [11.9, 13.0]`, or nothing.
fn shown(median: Option<Median>, digits: usize) -> String {
    let Some(Median {
        median, low, high, ..
    }) = median
    else {
        return "–".to_owned();
    };
    format!("{median:.digits$} [{low:.digits$}, {high:.digits$}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kind: &str, candidate: &str, rate: f64, turn: u32, us: f64, repeated: u64) -> Run {
        let text = serde_json::json!({
            "kind": kind, "candidate": candidate, "version": "1.2", "mode": "stateful", "rate": rate, "turn": turn,
            "machine": {"processor": "P", "cores": 2},
            "window": {"seconds": 10.0, "cpu": {"box": {"seconds": 5.0, "us_a_call": us},
                                                "machine": {"us_a_call": us * 2.0}}},
            "calls": {"failed": {"no_answer": 0}, "open_at_end": 0},
            "messages": {"repeated": repeated},
            "times_ns": {"invite_to_180": {"p50": 168_000, "p90": 1, "p99": 1, "p999": 1}},
            "generator": {"no_seat": 0, "why": if repeated > 0 { vec!["busy"] } else { vec![] }},
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_report_has_medians_ratios_and_where_the_ladder_ended() {
        let mut runs = Vec::new();
        for turn in 1..=3 {
            let noise = f64::from(turn);
            runs.push(run("fixed", "trunkline", 1000.0, turn, 10.0 + noise, 0));
            runs.push(run(
                "fixed",
                "kamailio",
                1000.0,
                turn,
                100.0 + 10.0 * noise,
                0,
            ));
        }
        for (candidate, mode, ns) in [
            ("trunkline-polling", "stateful", 19_000),
            ("floor-rings-polling", "none", 7_000),
        ] {
            let mut polling = run("fixed", candidate, 1000.0, 1, 100.0, 0);
            polling.mode = mode.to_owned();
            polling.figures["times_ns"]["request_transit"] =
                serde_json::json!({"p50": ns, "p90": ns, "p99": ns, "p999": ns});
            runs.push(polling);
        }
        let mut memory = run("memory", "kamailio", 1000.0, 1, 100.0, 0);
        memory.figures["memory"] = serde_json::json!({"bytes_a_call": 15_700.4});
        runs.push(memory);
        runs.push(run("ladder", "kamailio", 1000.0, 1, 100.0, 0));
        runs.push(run("ladder", "kamailio", 6500.0, 1, 100.0, 0));
        runs.push(run("ladder", "kamailio", 8000.0, 1, 100.0, 7));
        let text = text(&runs);
        assert!(text.contains("| stateful | 1000 | trunkline | 12.0 [11.0, 13.0] | 24.0 [22.0, 26.0] | 0.10 [0.10, 0.10] |"), "{text}");
        assert!(text.contains("| kamailio | 15700 |"), "{text}");
        assert!(text.contains("| kamailio | 1.2 |"), "{text}");
        let added =
            "| a request through the box | 1000 | 12.0 [12.0, 12.0] | 12.0 [12.0, 12.0] | 12.0";
        assert!(text.contains(added), "{text}");
        assert!(
            text.contains("| stateful | 1000 | kamailio | 120.0"),
            "{text}"
        );
        assert!(
            text.contains(
                "| stateful | kamailio | 6500 | 50 % | 100.0 | 8000 | 0 failed, 7 said again; the generator: busy |"
            ),
            "{text}"
        );
        assert!(
            text.contains("| stateful | 1000 | trunkline | 168 [168, 168] |"),
            "{text}"
        );
    }
}
