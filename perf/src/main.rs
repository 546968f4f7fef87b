//! `trunkline-perf`: simulate and measure.

use clap::Parser as _;

mod cli;

fn main() -> anyhow::Result<std::process::ExitCode> {
    cli::run(cli::Cli::parse())
}
