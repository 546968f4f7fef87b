//! `trunkctl`: the operator's questions, answered by the daemon over its socket.

mod bans;
mod capture;
pub mod client;
pub mod daemon;
mod exit;
mod ladder;
mod media;
mod pages;
pub(crate) mod rates;
mod subscriber;
mod tables;
#[cfg(test)]
mod tests;
mod top;
mod watch;

use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;
use clap_complete::Shell;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::client::ClientError;
use self::client::get;
use self::client::put;
pub use self::tables::Paper;
use crate::api::types;
use crate::config;
use crate::config::Config;
use crate::config::ConfigError;
use crate::metrics::reference;
use crate::percent::encode;
use crate::subscribers::name::Address;

/// Shows what trunklined does.
#[derive(Debug, Parser)]
#[command(name = "trunkctl", version, after_help = exit::text())]
pub struct Arguments {
    /// The daemon's socket
    #[arg(long, global = true, value_name = "PATH", default_value = config::SOCKET)]
    socket: PathBuf,

    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Workers, interfaces, and whether the sums hold
    Status {
        /// Exit with 1 where the box is not ready for traffic, and say why
        #[arg(long)]
        check: bool,
    },
    /// What the box does now, on a screen that is renewed every second
    Top {
        /// Prints one look as text, for scripts
        #[arg(long)]
        once: bool,
    },
    /// Every counter that is not zero, by stage
    Stats {
        /// Those that are zero as well
        #[arg(long)]
        all: bool,
        /// What each grows by in a second, from two looks a second apart
        #[arg(long)]
        rate: bool,
        /// The same again and again, every so many seconds, until interrupted
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
              value_parser = clap::value_parser!(u32).range(1..=3600))]
        watch: Option<u32>,
    },
    /// The calls that are up
    Calls {
        /// Only those that this subscriber has begun, as in bob@example.org
        #[arg(long, value_name = "USER@DOMAIN", conflicts_with = "by_subscriber")]
        subscriber: Option<Address>,
        /// How many each subscriber has begun, and how many it may
        #[arg(long)]
        by_subscriber: bool,
    },
    /// All that is known of one call
    Call {
        /// Its Call-ID
        id: String,
    },
    /// The media flows
    Flows,
    /// How long the stages of a packet's way through a worker take
    Latency,
    /// Who sends most SIP
    Talkers,
    /// Shows a call's SIP as a ladder while it passes, and writes it with the headers of its media into a file
    Capture(capture::CaptureArguments),
    /// Draws the ladder of a pcap file
    Ladder {
        /// The file
        file: PathBuf,
    },
    /// The interfaces: link, modes, addresses, and what XDP did with their frames
    Interfaces,
    /// The workers: how busy they are, and what they own
    Workers,
    /// Where every frame is, and the sums of each worker
    Frames,
    /// The trunks: how they are configured, their calls and requests
    Trunks,
    /// The routes, as the workers look them up
    Routes {
        #[command(subcommand)]
        command: Option<RoutesCommand>,
    },
    /// The neighbours whose link-layer address the workers know
    Neighbours,
    /// The subscribers: who is known by a password
    Subscriber {
        #[command(subcommand)]
        command: subscriber::SubscriberCommand,
    },
    /// What the workers know of subscribers
    Auth {
        #[command(subcommand)]
        command: subscriber::AuthCommand,
    },
    /// The addresses that are banned, because somebody there tries passwords
    Bans {
        #[command(subcommand)]
        command: Option<bans::BansCommand>,
    },
    /// The subscribers who were refused something lately, and why
    Denials,
    /// Where users have registered: all of them, or one
    Registrations {
        /// Whose contacts, as in bob@example.org
        #[arg(value_name = "USER@DOMAIN")]
        of: Option<Address>,
    },
    /// The configuration file
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Every counter there is and what it means; needs no daemon
    Counters {
        /// Only those with this in their name
        word: Option<String>,
        /// As the page of the manual
        #[arg(long, conflicts_with = "word")]
        markdown: bool,
    },
    /// The daemon's log
    Log {
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Prints shell completions, to be put where the shell looks for them
    Completions {
        /// Which shell's
        shell: Shell,
    },
    /// Writes the manual pages of trunkctl and trunklined into a directory
    Man {
        /// The directory
        directory: PathBuf,
    },
    /// The versions of trunkctl and of the daemon
    Version,
}

#[derive(Debug, Subcommand)]
enum RoutesCommand {
    /// The way that a worker would take to an address; exits with 1 where there is none
    Get {
        /// The address
        address: IpAddr,
    },
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Shows what is logged, or sets it until the daemon ends
    Level {
        /// off, error, warn, info, debug or trace; levels for parts of the program after it, as in
        /// info,trunkline_control::netlink=debug; or default
        filter: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Says what is wrong with a configuration file; needs no daemon and no root
    Check {
        /// The file
        file: PathBuf,
    },
}

/// Does what the arguments say: prints the answer, or on standard error why there is none.
pub async fn run(arguments: &Arguments) -> ExitCode {
    let paper = Paper { fit: true };
    match answer(arguments, paper).await {
        Ok(text) => printed(&text, ExitCode::SUCCESS),
        Err(Failure::Said(text)) => printed(&text, ExitCode::FAILURE),
        Err(Failure::Error(error)) => {
            complain(format_args!("trunkctl: {error}"));
            exit::of(&error)
        }
        Err(Failure::Read { path, error }) => {
            complain(format_args!(
                "trunkctl: cannot read {}: {error}",
                path.display()
            ));
            ExitCode::FAILURE
        }
        Err(Failure::Usage(text)) => {
            complain(format_args!("trunkctl: {text}"));
            ExitCode::from(2)
        }
        Err(Failure::Terminal(error)) => {
            complain(format_args!("trunkctl: the terminal: {error}"));
            ExitCode::FAILURE
        }
        Err(Failure::Write { path, error }) => {
            complain(format_args!(
                "trunkctl: cannot write to {}: {error}",
                path.display()
            ));
            exit::of_io(&error)
        }
    }
}

/// Says on standard error why there is no answer, without a panic where nobody reads it.
fn complain(text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints without a panic where the reader (`| head`) has gone.
fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints the answer, and gives its exit code: that of a failure where it could not be written.
fn printed(text: &str, code: ExitCode) -> ExitCode {
    match print(text) {
        Ok(()) => code,
        Err(error) => {
            complain(format_args!(
                "trunkctl: cannot write to standard output: {error}"
            ));
            exit::of_io(&error)
        }
    }
}

/// How a command fails.
enum Failure {
    /// Its answer is that something is wrong.
    Said(String),
    /// There is no answer.
    Error(ClientError),
    /// What was asked for cannot be done so.
    Usage(String),
    /// The terminal does not do what it should.
    Terminal(std::io::Error),
    /// A file could not be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: String,
    },
    /// A file could not be written.
    Write {
        /// Which, or in which directory.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Error(error)
    }
}

async fn answer(arguments: &Arguments, paper: Paper) -> Result<String, Failure> {
    let Arguments {
        socket,
        json,
        command,
    } = arguments;
    let json = *json;
    match command {
        Command::Status { check: true } => health(socket, json).await,
        Command::Status { check: false } => {
            show(socket, "/v1/status", json, |status: &types::Status| {
                paper.status(status)
            })
            .await
        }
        Command::Top { .. } if json => Err(Failure::Usage(
            "top has no JSON: take `trunkctl stats --rate --json`".to_owned(),
        )),
        Command::Top { once: true } => top::once(socket).await,
        Command::Top { once: false } => top::run(socket).await,
        Command::Stats {
            watch: Some(seconds),
            all,
            ..
        } => watch::stats(socket, *seconds, *all, json, paper).await,
        Command::Stats {
            rate: true, all, ..
        } => {
            let look = watch::Look::first(socket).await?;
            let (text, _) = look.next(socket, 1, *all, json, paper).await?;
            Ok(text)
        }
        Command::Stats { all, .. } => {
            show(socket, "/v1/stats", json, |stats: &types::Stats| {
                paper.stats(stats, None, *all)
            })
            .await
        }
        Command::Calls {
            subscriber,
            by_subscriber,
        } => {
            let path = match subscriber {
                None => "/v1/calls".to_owned(),
                Some(of) => format!("/v1/calls?subscriber={}", encode(&of.to_string())),
            };
            show(
                socket,
                &path,
                json,
                |calls: &types::Calls| match by_subscriber {
                    true => paper.callers(calls),
                    false => paper.calls(calls),
                },
            )
            .await
        }
        Command::Call { id } => {
            let path = format!("/v1/calls/{}", encode(id));
            show(socket, &path, json, |call: &types::Call| paper.call(call)).await
        }
        Command::Flows => {
            show(socket, "/v1/flows", json, |flows: &types::Flows| {
                paper.flows(flows)
            })
            .await
        }
        Command::Latency => {
            show(socket, "/v1/latency", json, |latency: &types::Latency| {
                paper.latency(latency)
            })
            .await
        }
        Command::Talkers => {
            show(socket, "/v1/talkers", json, |talkers: &types::Talkers| {
                paper.talkers(talkers)
            })
            .await
        }
        Command::Capture(wish) => capture::capture(socket, wish).await,
        Command::Ladder { file } => capture::ladder(file),
        Command::Interfaces => {
            show(socket, "/v1/interfaces", json, |all| paper.interfaces(all)).await
        }
        Command::Workers => show(socket, "/v1/workers", json, |all| paper.workers(all)).await,
        Command::Frames => show(socket, "/v1/frames", json, |all| paper.frames(all)).await,
        Command::Trunks => show(socket, "/v1/trunks", json, |all| paper.trunks(all)).await,
        Command::Routes { command: None } => {
            show(socket, "/v1/routes", json, |all| paper.routes(all)).await
        }
        Command::Routes {
            command: Some(RoutesCommand::Get { address }),
        } => way(socket, *address, json, paper).await,
        Command::Neighbours => {
            show(socket, "/v1/neighbours", json, |all| paper.neighbours(all)).await
        }
        Command::Subscriber { command } => {
            subscriber::subscriber(socket, command, json, paper).await
        }
        Command::Auth { command } => subscriber::auth(socket, command, json).await,
        Command::Denials => show(socket, "/v1/denials", json, |all| paper.denials(all)).await,
        Command::Bans { command: None } => {
            show(socket, "/v1/bans", json, |all| paper.bans(all)).await
        }
        Command::Bans {
            command: Some(bans::BansCommand::Remove { address }),
        } => bans::remove(socket, *address, json).await,
        Command::Registrations { of } => {
            let path = match of {
                None => "/v1/registrations".to_owned(),
                Some(of) => format!("/v1/registrations/{}", encode(&of.to_string())),
            };
            show(socket, &path, json, |all| {
                paper.registrations(all, of.as_ref())
            })
            .await
        }
        Command::Config {
            command: ConfigCommand::Check { file },
        } => check(file, json),
        Command::Counters { markdown: true, .. } => Ok(reference::markdown()),
        Command::Counters { word, .. } => counters(word.as_deref(), json, paper),
        Command::Log {
            command: LogCommand::Level { filter },
        } => log_level(socket, filter.as_deref(), json).await,
        Command::Completions { shell } => Ok(pages::completions(*shell)),
        Command::Man { directory } => man(directory),
        Command::Version => Ok(version(socket, json).await),
    }
}

async fn show<T: DeserializeOwned + Serialize>(
    socket: &Path,
    path: &str,
    json: bool,
    table: impl FnOnce(&T) -> String,
) -> Result<String, Failure> {
    let answer: T = get(socket, path).await?;
    Ok(if json {
        pretty(&answer)
    } else {
        table(&answer)
    })
}

/// The way to an address; where there is none, that is the answer's failure.
async fn way(socket: &Path, address: IpAddr, json: bool, paper: Paper) -> Result<String, Failure> {
    let way: types::Way = get(socket, &format!("/v1/routes/{address}")).await?;
    let text = match json {
        true => pretty(&way),
        false => paper.way(&way),
    };
    if way.reachable {
        Ok(text)
    } else {
        Err(Failure::Said(text))
    }
}

/// Whether the box is ready for traffic; where not, that is the answer's failure.
async fn health(socket: &Path, json: bool) -> Result<String, Failure> {
    let health: types::Health = get(socket, "/v1/health").await?;
    let text = match (json, health.ready) {
        (true, _) => pretty(&health),
        (false, true) => "ready\n".to_owned(),
        (false, false) => format!("not ready: {}\n", health.reasons.join("; ")),
    };
    if health.ready {
        Ok(text)
    } else {
        Err(Failure::Said(text))
    }
}

async fn log_level(socket: &Path, filter: Option<&str>, json: bool) -> Result<String, Failure> {
    let log: types::Log = match filter {
        None => get(socket, "/v1/log").await?,
        Some(filter) => {
            let filter = filter.to_owned();
            put(socket, "/v1/log", &types::LogWish { filter }).await?
        }
    };
    if json {
        return Ok(pretty(&log));
    }
    let types::Log { filter, configured } = log;
    Ok(if filter == configured {
        format!("{filter}, as configured\n")
    } else {
        format!(
            "{filter}; configured is {configured}, which is back after a restart or by: trunkctl log level default\n"
        )
    })
}

/// The counters with `word` in their name; none is the answer's failure.
fn counters(word: Option<&str>, json: bool, paper: Paper) -> Result<String, Failure> {
    let mut entries = reference::entries();
    if let Some(word) = word {
        entries.retain(|entry| entry.name.contains(word) || entry.metric.contains(word));
    }
    if entries.is_empty() && !json {
        let word = word.unwrap_or_default();
        return Err(Failure::Said(format!(
            "no counter has \"{word}\" in its name\n"
        )));
    }
    Ok(match json {
        true => pretty(&entries),
        false => paper.reference(&entries),
    })
}

fn man(directory: &Path) -> Result<String, Failure> {
    let written = pages::man(directory).map_err(|error| Failure::Write {
        path: directory.to_owned(),
        error,
    })?;
    let lines = written.iter().map(|file| format!("{}\n", file.display()));
    Ok(lines.collect())
}

fn check(file: &Path, json: bool) -> Result<String, Failure> {
    let error = match Config::load(file) {
        Ok(_) if json => return Ok(pretty(&serde_json::json!({ "good": true, "errors": [] }))),
        Ok(_) => return Ok(format!("{}: good\n", file.display())),
        Err(error) => error,
    };
    if !json {
        return Err(Failure::Said(format!("{error}\n")));
    }
    let errors = match &error {
        ConfigError::Wrong(problems) => serde_json::json!(problems.found().collect::<Vec<_>>()),
        ConfigError::Unreadable { .. } => serde_json::json!([{ "message": error.to_string() }]),
    };
    Err(Failure::Said(pretty(
        &serde_json::json!({ "good": false, "errors": errors }),
    )))
}

async fn version(socket: &Path, json: bool) -> String {
    let ours = env!("CARGO_PKG_VERSION");
    let daemon = get::<types::Version>(socket, "/v1/version").await;
    if json {
        let daemon = daemon.ok();
        return pretty(&serde_json::json!({ "trunkctl": ours, "trunklined": daemon }));
    }
    match daemon {
        Ok(daemon) => format!(
            "trunkctl   {ours}\n{} {}, process {}\n",
            daemon.name, daemon.version, daemon.pid
        ),
        Err(error) => format!("trunkctl   {ours}\ntrunklined unknown: {error}\n"),
    }
}

fn pretty<T: Serialize>(value: &T) -> String {
    // What was just read or made as JSON can be written as JSON.
    serde_json::to_string_pretty(value).map_or_else(|_| String::new(), |text| text + "\n")
}

/// `text` in lines of `width` characters at most, broken at blanks; a word that is longer
/// has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
