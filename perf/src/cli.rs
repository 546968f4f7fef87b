//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use trunkline_perf::instructions;
use trunkline_perf::sim;
use trunkline_perf::sim::Options;
use trunkline_perf::sim::network::Weather;

/// Simulates and measures the Trunkline dataplane.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run calls through the real workers on fake rings, in virtual time.
    ///
    /// Every step is checked: frames conserved, sums exact, each message that leaves held
    /// against what came in. A failure prints seed and step, what was violated, and the
    /// ladder of the call; the same options with --seed replay it.
    Sim(SimArgs),
    /// Count instructions for a call and for a media packet, with valgrind.
    Instructions {
        /// Fail where a figure has grown by more than 5 % over the file's.
        #[arg(long)]
        check: bool,
        /// The figures to compare with.
        #[arg(long, default_value = "perf/instructions.toml")]
        file: PathBuf,
        /// Say by stage where the instructions of the SIP engine go, instead.
        #[arg(long, conflicts_with = "check")]
        stages: bool,
    },
    /// Carry a load: what `instructions` runs under valgrind.
    #[command(hide = true)]
    Work {
        /// Its name.
        load: String,
        /// How many.
        count: u64,
    },
}

#[derive(Clone, Debug, Args)]
struct SimArgs {
    /// The seed that all chance comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Many seeds instead: FIRST..LAST, the last included.
    #[arg(long, value_name = "FIRST..LAST", value_parser = seeds)]
    seeds: Option<(u64, u64)>,
    /// Calls in a run.
    #[arg(long, default_value_t = 24)]
    calls: usize,
    /// Workers.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    workers: u8,
    /// Packets lost, per mille.
    #[arg(long, default_value_t = 0)]
    loss: u16,
    /// Packets delivered twice, per mille.
    #[arg(long, default_value_t = 0)]
    duplicate: u16,
    /// Packets held back behind later ones, per mille.
    #[arg(long, default_value_t = 0)]
    reorder: u16,
    /// SIP messages to the box with a bit turned over, per mille.
    #[arg(long, default_value_t = 0)]
    damage: u16,
    /// The longest delay of a packet, in milliseconds.
    #[arg(long, default_value_t = 20)]
    delay: u64,
    /// The longest IP packet of the links: SIP that is larger leaves by the kernel.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(576..))]
    mtu: u16,
    /// All calls begin within so many milliseconds.
    #[arg(long, default_value_t = 10_000)]
    spread: u64,
    /// Let calls end with 503: for more calls at once than the tables hold.
    #[arg(long)]
    crowded: bool,
    /// Steps after which a run is said not to end.
    #[arg(long, default_value_t = 1_000_000)]
    steps: u64,
    /// Draw the ladder of every call.
    #[arg(short, long)]
    verbose: bool,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let bounds = text
        .split_once("..")
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    bounds
        .filter(|(first, last)| first <= last)
        .ok_or("write it like 1..10000".to_owned())
}

/// Does what the command line says.
///
/// # Errors
/// What could not be done.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Sim(args) => Ok(simulate(&args)),
        Command::Instructions { stages: true, .. } => {
            print!("{}", instructions::stages()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Instructions { check, file, .. } => count_instructions(check.then_some(&file)),
        Command::Work { load, count } => {
            instructions::work(&load, count)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn count_instructions(file: Option<&PathBuf>) -> anyhow::Result<ExitCode> {
    let figures = instructions::measure()?;
    print!("{}", instructions::table(&figures));
    let Some(file) = file else {
        return Ok(ExitCode::SUCCESS);
    };
    let grown = instructions::check(&figures, file)?;
    for line in &grown {
        println!("{line}");
    }
    if grown.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "Make it leaner, or say in the commit why it must cost more and change {}.",
        file.display()
    );
    Ok(ExitCode::FAILURE)
}

fn simulate(args: &SimArgs) -> ExitCode {
    let (first, last) = args.seeds.unwrap_or((args.seed, args.seed));
    let weather = Weather {
        loss: args.loss,
        duplicate: args.duplicate,
        reorder: args.reorder,
        damage: args.damage,
        delay_ms_max: args.delay,
    };
    let mut failed = 0;
    for seed in first..=last {
        let options = Options {
            seed,
            calls: args.calls,
            workers: args.workers,
            lab: None,
            spread_ms: args.spread,
            weather,
            mtu: args.mtu,
            crowded: args.crowded,
            steps_max: args.steps,
        };
        match sim::run(options, args.verbose) {
            Ok(summary) => println!("{}seed {seed}: {}", summary.ladders, summary.line()),
            Err(failure) => {
                println!("{failure}");
                failed += 1;
            }
        }
    }
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{failed} of {} seeds failed", last - first + 1);
    ExitCode::FAILURE
}
