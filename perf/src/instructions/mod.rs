//! How many instructions the SIP engine and the worker take for a scan, a call and a media
//! packet, counted by callgrind: the same on every run and on a noisy machine, so that a
//! gate can hold them.
//!
//! The program runs itself under valgrind, once for each load and length. Only functions
//! named `measured_` are counted, the engine's inputs and the worker's turns, not the scripted
//! agents around them; what the start costs falls out of the difference between two lengths. What is hashed counts as in
//! hardware, see [`hashing`].
//! Figures are those of a release build:
//!
//! ```text
//! cargo run --release -p trunkline-perf -- instructions            # the table
//! cargo run --release -p trunkline-perf -- instructions --check    # against instructions.toml
//! cargo run --release -p trunkline-perf -- profile                 # where they go
//! ```

pub mod crowd;
mod engine;
mod hashing;
mod load;
pub mod stages;
mod subscribers;
pub mod throughput;

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use anyhow::bail;

pub use self::load::Load;
pub use self::load::work;

/// By how much a figure may grow before the gate closes, in per cent.
pub const TOLERANCE_PERCENT: u64 = 5;

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What was counted.
    pub load: Load,
    /// Instructions for one of it.
    pub instructions: u64,
}

/// Counts every load.
///
/// # Errors
/// Where valgrind is missing or its output cannot be read.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    refuse_debug()?;
    let figure = |&load: &Load| -> anyhow::Result<Figure> {
        let [short, long] = load.lengths();
        let difference = collect(load, long)?.saturating_sub(collect(load, short)?);
        Ok(Figure {
            load,
            instructions: difference / (long - short),
        })
    };
    Load::ALL.iter().map(figure).collect()
}

pub(crate) fn refuse_debug() -> anyhow::Result<()> {
    anyhow::ensure!(
        !cfg!(debug_assertions),
        "the figures are those of a release build: cargo run --release -p trunkline-perf -- instructions"
    );
    Ok(())
}

/// Runs this program under callgrind and gives how many instructions the measured functions took.
fn collect(load: Load, count: u64) -> anyhow::Result<u64> {
    if load.hashes() {
        let (instructions, _) = hashing::in_hardware(&profile(load, count)?)?;
        return Ok(instructions);
    }
    let text = callgrind(load, count, Path::new("/dev/null"))?;
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let collected = collected.with_context(|| format!("callgrind said no count:\n{text}"))?;
    collected
        .1
        .trim()
        .parse()
        .context("callgrind's count is no number")
}

/// Runs this program under callgrind and gives its profile.
fn profile(load: Load, count: u64) -> anyhow::Result<String> {
    let name = format!("trunkline-profile-{}-{count}", std::process::id());
    let file = std::env::temp_dir().join(name);
    callgrind(load, count, &file)?;
    let profile = std::fs::read_to_string(&file);
    std::fs::remove_file(&file).with_context(|| format!("{}", file.display()))?;
    profile.with_context(|| format!("{}", file.display()))
}

/// Set where callgrind is to be told when to begin: what is prepared would take it too long.
const LATER: &str = "TRUNKLINE_COUNT_LATER";

/// Has callgrind begin, where it runs this program and was told to wait.
fn begin_to_count() -> anyhow::Result<()> {
    if std::env::var_os(LATER).is_none() {
        return Ok(());
    }
    let own = std::process::id().to_string();
    let status = Command::new("callgrind_control")
        .args(["--instr=on", &own])
        .stdout(std::process::Stdio::null())
        .status()
        .context("callgrind_control cannot be started: it comes with valgrind")?;
    anyhow::ensure!(status.success(), "callgrind_control failed: {status}");
    Ok(())
}

/// Runs this program under callgrind, which writes its profile to `out`; gives what it says.
fn callgrind(load: Load, count: u64, out: &Path) -> anyhow::Result<String> {
    let own = std::env::current_exe()?;
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind");
    if load.prepares_for_long() {
        command.arg("--instr-atstart=no").env(LATER, "1");
    }
    let output = command
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg("--toggle-collect=*measured_*")
        .arg(own)
        .args(["work", load.name(), &count.to_string()])
        .output()
        .context("valgrind cannot be started: install it (apt-get install valgrind)")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("the load {} failed under valgrind:\n{text}", load.name());
    }
    Ok(text)
}

/// The table for a person.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let row = |figure: &Figure| {
        format!(
            "{:<14} {:>10}  {}\n",
            figure.load.name(),
            figure.instructions,
            figure.load.help()
        )
    };
    let head = format!("{:<14} {:>10}\n", "load", "instr.");
    head + &figures.iter().map(row).collect::<String>()
}

/// Compares with the figures in `file`; gives what has grown too much.
///
/// # Errors
/// Where the file cannot be read or lacks a load.
pub fn check(figures: &[Figure], file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let known: toml::Table = text
        .parse()
        .with_context(|| format!("{}", file.display()))?;
    let mut grown = Vec::new();
    for figure in figures {
        let name = figure.load.name();
        let before = known.get(name).and_then(toml::Value::as_integer);
        let before = before.and_then(|before| u64::try_from(before).ok());
        let before =
            before.with_context(|| format!("{} says nothing of {name}", file.display()))?;
        if figure.instructions * 100 > before * (100 + TOLERANCE_PERCENT) {
            grown.push(format!(
                "{name}: {} instructions, were {before}",
                figure.instructions
            ));
        }
    }
    Ok(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_closes_at_five_per_cent() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml");
        let known: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        let figures = |percent: i64| -> Vec<Figure> {
            let grow = |&load: &Load| {
                let before = known[load.name()].as_integer().unwrap();
                Figure {
                    load,
                    instructions: u64::try_from(before * percent / 100).unwrap(),
                }
            };
            Load::ALL.iter().map(grow).collect()
        };
        assert!(check(&figures(104), &file).unwrap().is_empty());
        assert_eq!(check(&figures(106), &file).unwrap().len(), Load::ALL.len());
    }
}
