//! The daemon: `trunklined --config FILE`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tracing_subscriber::EnvFilter;
use trunkline_control::config;
use trunkline_control::config::Config;
use trunkline_control::start::Started;

/// A SIP and RTP dataplane on AF_XDP.
#[derive(Debug, Parser)]
#[command(name = "trunklined", version)]
struct Arguments {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/trunkline/trunkline.toml"
    )]
    config: PathBuf,

    /// Check the configuration and end
    #[arg(long)]
    check: bool,

    /// Print the commented default configuration, the reference of every key, and end
    #[arg(long)]
    print_default_config: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.print_default_config {
        print!("{}", config::DEFAULT);
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config)?;
    if arguments.check {
        println!("{}: good", arguments.config.display());
        return Ok(());
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(&config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    // Before the start, so that a signal during it ends in order too.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let started = Started::start(config).await?;
    started.announce();
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    };
    let last = started.serve(stop).await?;
    for sum in &last.sums {
        let verdict = if sum.is_exact() {
            "exact".to_owned()
        } else {
            format!("OFF BY {}", sum.difference)
        };
        tracing::info!("{}: {} = {}: {verdict}", sum.name, sum.left, sum.right);
    }
    let broken: Vec<_> = last.broken().map(|sum| sum.name.as_str()).collect();
    anyhow::ensure!(
        broken.is_empty(),
        "the sums do not hold: {}. This is a bug: please report it",
        broken.join("; ")
    );
    tracing::info!("stopped");
    Ok(())
}
