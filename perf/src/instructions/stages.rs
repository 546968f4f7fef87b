//! Where the instructions of a load go: callgrind's profile, summed by what a file is about.
//!
//! Much is inlined, so that functions say little; but callgrind notes of each instruction the
//! file it was written in. What a library does is counted where it was asked for.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::Load;
use super::profile;

/// A stage, and how the files of it begin, below `dataplane/src/`. The first that fits counts.
const STAGES: [(&str, &[&str]); 18] = [
    ("ring", &["ring"]),
    ("mail", &["mailbox", "post"]),
    (
        "triage",
        &["triage", "interfaces", "wire/parse", "wire/vlan", "stun"],
    ),
    (
        "scan",
        &[
            "sip/scan",
            "sip/sixteen",
            "sip/message",
            "sip/fields",
            "sip/lists",
            "sip/header",
            "sip/via",
            "sip/method",
            "sip/uri",
        ],
    ),
    ("identity", &["sip/identity", "sip/siphash", "sip/base32"]),
    (
        "transaction",
        &[
            "sip/transaction",
            "sip/index",
            "sip/slab",
            "sip/endpoint",
            "sip/proxy/refusal",
            "sip/proxy/hop",
        ],
    ),
    ("timers", &["timer", "tick", "sip/proxy/timers"]),
    ("sdp", &["sdp", "sip/anchor", "sip/proxy/media"]),
    ("relay", &["media"]),
    (
        "dialogs",
        &[
            "sip/call",
            "sip/dialog",
            "sip/session",
            "sip/texts",
            "sip/uac",
            "sip/report",
            "sip/proxy/calls",
            "sip/proxy/remember",
            "sip/proxy/session",
            "sip/proxy/dialog",
        ],
    ),
    ("edit", &["sip/edit", "sip/proxy/forward", "text", "span"]),
    ("build", &["sip/build"]),
    ("frames", &["frame"]),
    ("effects", &["sip/effects"]),
    ("counters", &["counters", "samples"]),
    (
        "send",
        &["wire", "worker/egress", "worker/act", "route/network"],
    ),
    ("turn", &["worker"]),
    ("proxy", &[""]),
];

/// How many instructions of one of `load` each stage takes, most first.
///
/// # Errors
/// Where valgrind is missing or its output cannot be read.
pub fn of(load: Load) -> anyhow::Result<Vec<(&'static str, u64)>> {
    let [short, long] = load.lengths();
    let [before, after] = [sums(&profile(load, short)?)?, sums(&profile(load, long)?)?];
    let mut rows: Vec<_> = STAGES
        .iter()
        .map(|(stage, _)| {
            let of = |sums: &BTreeMap<&str, u64>| sums.get(stage).copied().unwrap_or(0);
            let more = of(&after).saturating_sub(of(&before));
            (*stage, more / (long - short))
        })
        .collect();
    rows.sort_by_key(|(_, instructions)| std::cmp::Reverse(*instructions));
    Ok(rows)
}

/// The stage of a file; `None` for those of libraries.
pub fn stage_of(file: &str) -> Option<&'static str> {
    // The functions that are measured stand in this crate.
    let ours = file.split_once("dataplane/src/");
    let (_, path) = ours.or_else(|| file.split_once("perf/src/instructions/"))?;
    let fits = |(_, beginnings): &&(&str, &[&str])| {
        beginnings
            .iter()
            .any(|beginning| path.starts_with(beginning))
    };
    STAGES.iter().find(fits).map(|(stage, _)| *stage)
}

/// Reads a profile: each stage's instructions.
fn sums(profile: &str) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let mut sums = BTreeMap::new();
    let mut files = Names::default();
    let mut functions = Names::default();
    // Of the function being read, of the text that is inlined there, and of the one it calls.
    let (mut home, mut here, mut callee) = (None, None, None);
    let mut is_call = false;
    for line in profile.lines() {
        if let Some((key, value)) = line.split_once('=') {
            match key {
                "fl" => {
                    home = stage_of(&files.read(value)?);
                    here = home;
                }
                "fi" | "fe" => here = stage_of(&files.read(value)?),
                "cfi" | "cfl" => callee = stage_of(&files.read(value)?),
                "fn" => {
                    functions.read(value)?;
                    here = home;
                    callee = home;
                }
                "cfn" => {
                    functions.read(value)?;
                }
                "calls" => is_call = true,
                _ => {}
            }
            continue;
        }
        let mut words = line.split(' ');
        let is_cost = line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c));
        let (true, Some(_), Some(cost)) = (is_cost, words.next(), words.next()) else {
            continue;
        };
        let cost: u64 = cost.parse().context("a cost is no number")?;
        // A call of ours counts where it is defined; of a library, where it is called.
        let counts = !is_call || callee.is_none();
        if counts && let Some(stage) = home.and(here.or(home)) {
            *sums.entry(stage).or_default() += cost;
        }
        if is_call {
            is_call = false;
            callee = home;
        }
    }
    Ok(sums)
}

/// Names as callgrind writes them: in full once, by number afterwards.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    pub(super) fn read(&mut self, text: &str) -> anyhow::Result<String> {
        let (number, name) = match text.split_once(' ') {
            Some((number, name)) => (number, Some(name)),
            None => (text, None),
        };
        if let Some(name) = name {
            self.0.insert(number.to_owned(), name.to_owned());
        }
        let known = self.0.get(number);
        known
            .cloned()
            .with_context(|| format!("{text} has no name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inlined_and_what_libraries_do_counts_where_it_was_asked_for() {
        let profile = "fl=(1) /x/dataplane/src/sip/build.rs\nfn=(1) build\n10 100\n\
            fi=(2) /x/dataplane/src/text.rs\n+3 20\nfi=(3) /rustc/core/slice.rs\n5 7\n\
            fe=(1)\ncfi=(4) /libc/memcpy.S\ncfn=(2) memcpy\ncalls=2 1\n12 50\n\
            cfi=(2)\ncfn=(3) push\ncalls=1 9\n14 1000\n\n\
            fl=(4)\nfn=(2)\n1 50\n\nfl=(2)\nfn=(3)\n9 1000\n";
        let sums = sums(profile).unwrap();
        assert_eq!(sums.get("build"), Some(&157));
        assert_eq!(sums.get("edit"), Some(&1_020));
        assert_eq!(sums.len(), 2);
    }
}
