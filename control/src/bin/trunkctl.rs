//! The operator's tool: `trunkctl --help`.

use std::process::ExitCode;

use clap::Parser as _;
use trunkline_control::cli;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(cli::run(&arguments)),
        Err(error) => {
            eprintln!("trunkctl: {error}");
            ExitCode::FAILURE
        }
    }
}
