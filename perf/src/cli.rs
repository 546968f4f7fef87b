//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use clap::Args;
use clap::Parser;
use clap::Subcommand;
use trunkline_perf::blast::args::BlastArgs;
use trunkline_perf::flood::args::FloodArgs;
use trunkline_perf::floor::args::FloorArgs;
use trunkline_perf::instructions;
use trunkline_perf::profile;
use trunkline_perf::report;
use trunkline_perf::sim;
use trunkline_perf::sim::Crowd;
use trunkline_perf::sim::Options;
use trunkline_perf::sim::batch;
use trunkline_perf::sim::network::Weather;
use trunkline_perf::sim::plan::Scenarios;

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
    /// Place calls through a box, from both its ends, on AF_XDP, and measure them.
    ///
    /// The callers' and the callees' interface are of this network namespace, the box is behind
    /// both. User agents follow RFC 3261, repetitions included; times are of one clock.
    /// Exit code 1 if a call failed.
    Blast(Box<BlastArgs>),
    /// Send INVITEs, OPTIONS or RTP one way, at any rate, without waiting for an answer.
    ///
    /// By BPF_PROG_TEST_RUN over live frames, paced by the clock.
    Flood(FloodArgs),
    /// Forward datagrams and do nothing else: the floor under every figure.
    ///
    /// What comes to our address on one side goes to the peer on the other, ports and payload as
    /// they are.
    Floor(FloorArgs),
    /// Count instructions for a call and for a media packet, with valgrind.
    Instructions {
        /// Fail where a figure has grown by more than 5 % over the file's.
        #[arg(long)]
        check: bool,
        /// The figures to compare with.
        #[arg(long, default_value = "perf/instructions.toml")]
        file: PathBuf,
    },
    /// Say by stage where the instructions and the time of a call and of a packet go.
    Profile {
        /// Seconds that the time of each load is sampled.
        #[arg(long, default_value_t = 4.0)]
        time: f64,
    },
    /// Say what a call costs while 100 calls stand, and while 500,000 do: in time and in instructions.
    ///
    /// It takes minutes, valgrind and 4 GiB.
    Crowd {
        /// Turns of 2,000 calls of each, which are timed.
        #[arg(long, default_value_t = 15)]
        turns: usize,
    },
    /// Tell how many registrations a second the SIP engine of one worker takes, beside calls.
    Registers {
        /// Turns of 2,000 of each, which are timed.
        #[arg(long, default_value_t = 25)]
        turns: usize,
    },
    /// Make tables and plots of what `perf/compare` measured.
    Report {
        /// Where the raw figures are, and where tables and plots go.
        #[arg(default_value = "perf/report")]
        directory: PathBuf,
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
    /// The seed that all chance comes from: one run, as it was in a batch.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Many seeds instead: FIRST..LAST, the last included.
    #[arg(long, value_name = "FIRST..LAST", value_parser = seeds)]
    seeds: Option<(u64, u64)>,
    /// So many seeds that nobody has seen yet instead; the first is printed.
    #[arg(long, value_name = "COUNT", conflicts_with = "seeds")]
    random: Option<u64>,
    /// Seeds at a time; as many as there are cores if it is not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Calls in a run.
    #[arg(long, default_value_t = 200)]
    calls: usize,
    /// Calls that begin within a second.
    #[arg(long, default_value_t = 17)]
    rate: u64,
    /// Boxes in a row, 1 or 2; drawn from the seed if it is not given, as is all that follows.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    boxes: Option<u8>,
    /// Workers of each box.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=16))]
    workers: Option<u8>,
    /// Restarts of a box.
    #[arg(long)]
    restarts: Option<u8>,
    /// The network.
    #[arg(long, value_enum)]
    weather: Option<Sky>,
    /// The longest IP packet of the links: SIP that is larger leaves by the kernel.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(576..))]
    mtu: u16,
    /// A call whose ladder is to be shown with a failure that is of no call.
    #[arg(long, value_name = "CALL")]
    follow: Option<usize>,
    /// Small tables: calls may end with 503.
    #[arg(long)]
    crowded: bool,
    /// Subscribers alone: those whom the workers know call, others register, while the store answers
    /// late and then not at all. It wants --calls 20500 --rate 500.
    #[arg(long, conflicts_with_all = ["boxes", "restarts", "crowded"])]
    storm: bool,
    /// Subscribers alone: half as many as calls register, and then do so again. A million takes --calls
    /// 2000000 --rate 10000, and some gigabytes.
    #[arg(long, conflicts_with_all = ["boxes", "restarts", "crowded", "storm"])]
    registers: bool,
    /// A box before somebody else's registrar, with phones behind NATs: as many REGISTERs as there were to
    /// be calls.
    #[arg(long, conflicts_with_all = ["boxes", "crowded", "storm", "registers", "follow", "without"])]
    edge: bool,
    /// Scenarios that are not to be drawn.
    #[arg(long, value_enum, value_delimiter = ',')]
    without: Vec<Scenario>,
    /// Draw the ladder of every call.
    #[arg(short, long)]
    verbose: bool,
}

impl SimArgs {
    const fn crowd(&self) -> Option<Crowd> {
        match (self.storm, self.registers) {
            (true, _) => Some(Crowd::Storm),
            (_, true) => Some(Crowd::Registers),
            _ => None,
        }
    }
}

/// What a call may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// Routes with more than one target.
    Forks,
    /// Stateless routes.
    Stateless,
    /// Reliable provisional responses, UPDATE and glare.
    Offers,
    /// Session timers, and parties that die.
    Sessions,
    /// What few parties do, and what harms only where the box is wrong.
    Tricks,
    /// Callers of no trunk, who prove who they are.
    Subscribers,
}

/// How bad the network is.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Sky {
    /// Nothing but a delay.
    Fair,
    /// 3 % lost.
    Bad,
    /// 30 % lost, 10 % twice, 10 % late.
    Worst,
}

impl Sky {
    const fn weather(self) -> Weather {
        match self {
            Sky::Fair => Weather::FAIR,
            Sky::Bad => Weather::BAD,
            Sky::Worst => Weather::WORST,
        }
    }
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
        Command::Blast(args) => args.run(),
        Command::Flood(args) => args.run(),
        Command::Floor(args) => args.run(),
        Command::Sim(args) => Ok(simulate(&args)),
        Command::Profile { time } => {
            print!("{}", profile::tables(time.clamp(0.1, 600.0))?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Registers { turns } => {
            let turns = turns.clamp(1, 1_000);
            print!("{}", instructions::throughput::table(turns)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Crowd { turns } => {
            print!("{}", instructions::crowd::table(turns.clamp(1, 1_000))?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Instructions { check, file } => count_instructions(check.then_some(&file)),
        Command::Report { directory } => {
            print!("{}", report::write(&directory)?);
            Ok(ExitCode::SUCCESS)
        }
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
    let options = Options {
        seed: args.seed,
        calls: args.calls,
        spread_ms: args.calls as u64 * 1_000 / args.rate.max(1),
        boxes: args.boxes,
        workers: args.workers,
        weather: args.weather.map(Sky::weather),
        restarts: args.restarts,
        mtu: args.mtu,
        crowded: args.crowded,
        crowd: args.crowd(),
        edge: args.edge,
        follow: args.follow,
        scenarios: Scenarios {
            forks: !args.without.contains(&Scenario::Forks),
            stateless: !args.without.contains(&Scenario::Stateless),
            offers: !args.without.contains(&Scenario::Offers),
            sessions: !args.without.contains(&Scenario::Sessions),
            tricks: !args.without.contains(&Scenario::Tricks),
            subscribers: !args.without.contains(&Scenario::Subscribers),
        },
        ..Options::default()
    };
    let fresh = |count: u64| {
        // Nothing is drawn from it but where to begin; the seeds replay.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let first = u64::from(since.subsec_nanos()) << 20 | since.as_secs() & 0xf_ffff;
        println!("fresh seeds {first}..{}", first + count - 1);
        (first, first + count - 1)
    };
    let Some((first, last)) = args.seeds.or_else(|| args.random.map(fresh)) else {
        return match sim::run(options, args.verbose) {
            Ok(summary) => {
                println!("{}seed {}: {}", summary.ladders, args.seed, summary.line());
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
        };
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores);
    let total = batch::run(first..=last, options, jobs, &|seed, ended| match ended {
        Ok(summary) if args.verbose => println!("seed {seed}: {}", summary.line()),
        Ok(_) => {}
        Err(failure) => println!("{failure}"),
    });
    println!("{}", total.line());
    if total.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
