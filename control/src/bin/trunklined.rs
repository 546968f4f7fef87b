//! The daemon: `trunklined --config FILE`.

use std::process::ExitCode;

use clap::Parser as _;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use trunkline_control::cli::daemon::Arguments;
use trunkline_control::config;
use trunkline_control::config::Config;
use trunkline_control::log;
use trunkline_control::start::Started;

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
    log::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(&config));
    // All is down by now; a look-up of a user that hangs must not hold the end up.
    runtime.shutdown_background();
    served
}

/// The signals that are ours, from before the start on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when the daemon is told to end. A hang-up, which many daemons take for a
    /// wish to reload, must not end it.
    async fn end(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("there is no reload yet; restart to change the configuration");
                }
            }
        }
    }
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    // A start that is given up undoes what it has made, as one that fails does.
    // The signal is looked for first: else the start might go on to its next step.
    let started = tokio::select! {
        biased;
        () = signals.end() => {
            tracing::info!("stopped before the start was complete");
            return Ok(());
        }
        started = Started::start(config) => started?,
    };
    started.announce();
    let stop = async move {
        signals.end().await;
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
    for missing in &last.missing {
        tracing::error!("{missing}");
    }
    for name in &last.unchecked {
        tracing::error!("{name}: not checked");
    }
    let broken: Vec<_> = last.broken().map(|sum| sum.name.as_str()).collect();
    anyhow::ensure!(
        broken.is_empty(),
        "the sums do not hold: {}. This is a bug: please report it",
        broken.join("; ")
    );
    anyhow::ensure!(
        last.complete,
        "not every sum could be checked: see the log for what is missing"
    );
    if let Some(reason) = last.ended_by {
        anyhow::bail!(reason);
    }
    tracing::info!("stopped");
    Ok(())
}
