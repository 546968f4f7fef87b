//! `hugepage-setup`: is this host ready for Trunkline, and make it so.
//!
//! Exit code 0: all is well; 1: something is to be done, or failed; 2: the command line was
//! not understood.

use anyhow::Context;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use std::io::ErrorKind;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use trunkline_host::apply;
use trunkline_host::book::Book;
use trunkline_host::change::Change;
use trunkline_host::change::Outcome;
use trunkline_host::change::all_well;
use trunkline_host::config;
use trunkline_host::examine;
use trunkline_host::host::Host;
use trunkline_host::report;
use trunkline_host::report::Found;
use trunkline_host::row::State;
use trunkline_host::stage;
use trunkline_host::stage::Stage;
use trunkline_host::undo;
use trunkline_host::wanted::PortRange;
use trunkline_host::wanted::Wanted;

/// Where the daemon's configuration is, if nothing else is said.
const CONFIG: &str = "/etc/trunkline/trunkline.toml";

/// Prepares a host for Trunkline: looks, changes, and puts back what it found.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = stages_help())]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What apply would find to do, a line each; exit code 1 if there is something.
    ///
    /// The fields of a line are divided by tabs: state, stage, item, found, wanted, what to do.
    Check {
        #[command(flatten)]
        stages: Stages,
        #[command(flatten)]
        asked: Asked,
    },
    /// Brings the host to what is wanted, and notes what it found.
    Apply {
        #[command(flatten)]
        stages: Stages,
        #[command(flatten)]
        asked: Asked,
        #[command(flatten)]
        changing: Changing,
    },
    /// Puts back what apply found, where nobody has changed it since.
    Undo {
        #[command(flatten)]
        stages: Stages,
        #[command(flatten)]
        changing: Changing,
        /// JSON instead of text.
        #[arg(long)]
        json: bool,
    },
    /// One table of what this host can and cannot do, and what to do about it.
    ///
    /// Exit code 1 if Trunkline would not run, or would lose traffic.
    Doctor {
        #[command(flatten)]
        asked: Asked,
    },
}

#[derive(Debug, Args)]
struct Stages {
    /// Only these stages; all where none is named.
    #[arg(value_name = "STAGE")]
    stages: Vec<Stage>,
}

impl Stages {
    fn or_all(self) -> Vec<Stage> {
        if self.stages.is_empty() {
            return stage::ALL.iter().map(|(stage, _, _)| *stage).collect();
        }
        self.stages
    }
}

#[derive(Debug, Args)]
struct Changing {
    /// Only print the commands.
    #[arg(long)]
    dry_run: bool,
    /// Where what was found is kept. Nobody else may write that directory.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/lib/trunkline-host/host.json"
    )]
    state: PathBuf,
}

/// What Trunkline is to run with. The options go before the configuration.
#[derive(Debug, Args)]
struct Asked {
    /// The configuration of trunklined; /etc/trunkline/trunkline.toml is taken if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A network device that is to carry calls; give it once for each.
    #[arg(long = "interface", value_name = "DEVICE")]
    interfaces: Vec<String>,
    /// Worker threads.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: Option<u32>,
    /// The core of each worker, as 2,3.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cores: Vec<u32>,
    /// Workers never sleep: poll = "busy".
    #[arg(long)]
    busy: bool,
    /// A SIP address, as 192.0.2.1:5060; give it once for each.
    #[arg(long = "listen", value_name = "ADDRESS:PORT")]
    listens: Vec<SocketAddr>,
    /// UDP ports of a media relay, as 20000-29999; give it once for each range.
    #[arg(long, value_name = "FIRST-LAST")]
    media_ports: Vec<PortRange>,
    /// Packet memory of one worker, in MiB: `umem.frames` of the configuration × 2,048 bytes.
    /// Without it, as much as its rings need.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    umem_mib: Option<u32>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Asked {
    /// What is wanted, and where that was read.
    fn wanted(&self) -> anyhow::Result<(Wanted, String)> {
        let config = match &self.config {
            Some(path) => Some(path.as_path()),
            None => Some(Path::new(CONFIG)).filter(|path| path.exists()),
        };
        let (mut wanted, source) = match config {
            Some(path) => (config::read(path)?, path.display().to_string()),
            None => (Wanted::default(), "the command line".to_owned()),
        };
        if !self.interfaces.is_empty() {
            wanted.interfaces.clone_from(&self.interfaces);
        }
        if !self.cores.is_empty() {
            wanted.cores.clone_from(&self.cores);
        }
        if !self.listens.is_empty() {
            wanted.listens.clone_from(&self.listens);
        }
        if !self.media_ports.is_empty() {
            wanted.media_ports.clone_from(&self.media_ports);
        }
        wanted.workers = self.workers.unwrap_or(wanted.workers);
        wanted.busy |= self.busy;
        if let Some(umem_mib) = self.umem_mib {
            wanted.frames = Some(u64::from(umem_mib) * 512);
        }
        Ok((wanted, source))
    }
}

fn stages_help() -> String {
    let lines = stage::ALL.map(|(_, name, about)| format!("  {name:<14}{about}\n"));
    format!(
        "Stages:\n{}\nExit code 0: all is well; 1: something is to be done, or failed; 2: usage.",
        lines.concat()
    )
}

fn main() -> ExitCode {
    match run(Command::parse().verb) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("hugepage-setup: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Whether all is well.
fn run(verb: Verb) -> anyhow::Result<bool> {
    let host = Host::here();
    Ok(match verb {
        Verb::Check { stages, asked } => {
            let (wanted, _) = asked.wanted()?;
            let rows = examine(&host, &wanted, &stages.or_all());
            if asked.json {
                print(&report::json(&rows)?)?;
            } else {
                print(&report::lines(&rows))?;
            }
            report::is_ready(&rows) && report::is_applied(&rows)
        }
        Verb::Doctor { asked } => {
            let (wanted, source) = asked.wanted()?;
            let mut rows = examine(&host, &wanted, &Stages { stages: vec![] }.or_all());
            report::by_interface(&mut rows, &wanted.interfaces);
            if asked.json {
                print(&report::json(&rows)?)?;
            } else {
                print(&report::table(&title(&wanted, &source), &rows))?;
            }
            report::is_ready(&rows)
        }
        Verb::Apply {
            stages,
            asked,
            changing,
        } => {
            let (wanted, _) = asked.wanted()?;
            apply_verb(&host, &wanted, &stages.or_all(), &changing, asked.json)?
        }
        Verb::Undo {
            stages,
            changing,
            json,
        } => undo_verb(&host, &stages.stages, &changing, json)?,
    })
}

fn title(wanted: &Wanted, source: &str) -> String {
    let interfaces = match wanted.interfaces.as_slice() {
        [] => "no interface named".to_owned(),
        names => names.join(", "),
    };
    let poll = if wanted.busy { "busy" } else { "adaptive" };
    format!(
        "This host for {} workers ({poll}) on {interfaces}\nas wanted by {source}",
        wanted.workers
    )
}

fn apply_verb(
    host: &Host,
    wanted: &Wanted,
    stages: &[Stage],
    changing: &Changing,
    json: bool,
) -> anyhow::Result<bool> {
    if changing.dry_run {
        let book = Book::look(host, &changing.state)?;
        return show(&apply::plan(host, wanted, stages, &book), &[], json);
    }
    let mut book = Book::open(host, &changing.state)?;
    let mut say = speaker(json);
    let changes = apply::apply(host, wanted, stages, &mut book, &mut say)?;
    let rows = examine(host, wanted, stages);
    let bad: Vec<Found> = rows
        .into_iter()
        .filter(|(_, row)| row.state == State::Bad && row.steps.is_empty())
        .collect();
    show(&changes, &bad, json)
}

fn undo_verb(
    host: &Host,
    stages: &[Stage],
    changing: &Changing,
    json: bool,
) -> anyhow::Result<bool> {
    // Where nothing was changed there is nothing to write either.
    if changing.dry_run || !changing.state.exists() {
        let book = Book::look(host, &changing.state)?;
        return show(&undo::plan(host, stages, &book), &[], json);
    }
    let mut book = Book::open(host, &changing.state)?;
    let changes = undo::undo(host, stages, &mut book, &mut speaker(json))?;
    show(&changes, &[], json)
}

/// Prints each line at once, so that the last one names the command that hangs.
fn speaker(json: bool) -> impl FnMut(&str) {
    move |line| {
        if !json {
            // What cannot be printed must not stop the work half-way.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}

/// The end of `apply` and `undo`; whether all is well.
fn show(changes: &[Change], bad: &[Found], json: bool) -> anyhow::Result<bool> {
    let is_well = all_well(changes) && bad.is_empty();
    if json {
        print(&report::json_changes(changes, bad).context("JSON")?)?;
        return Ok(is_well);
    }
    let count = |outcome| {
        let with = changes.iter().filter(|change| change.outcome == outcome);
        with.count()
    };
    let mut text = String::new();
    for change in changes {
        if change.outcome == Outcome::Planned {
            text += &format!("RUN:  {}\n", change.command);
        }
    }
    for (_, row) in bad {
        text += &format!("BAD:  {}: {}; {}\n", row.item, row.found, row.advice);
    }
    let planned = count(Outcome::Planned);
    if planned > 0 {
        text += &format!("{planned} to change; nothing was changed.\n");
    } else {
        text += &format!(
            "{} changed, {} left, {} failed.\n",
            count(Outcome::Changed),
            count(Outcome::Left) + count(Outcome::DoesNotApply),
            count(Outcome::Failed)
        );
    }
    print(&text)?;
    Ok(is_well)
}

fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough, as head, is no failure of ours.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
