//! The command line of `trunklined`, which the manual pages are made of as well.

use std::path::PathBuf;

use clap::Parser;

/// A SIP and RTP dataplane on AF_XDP.
#[derive(Debug, Parser)]
#[command(name = "trunklined", version)]
pub struct Arguments {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/trunkline/trunkline.toml"
    )]
    pub config: PathBuf,

    /// Check the configuration and end
    #[arg(long)]
    pub check: bool,

    /// Print the commented default configuration, the reference of every key, and end
    #[arg(long)]
    pub print_default_config: bool,
}
