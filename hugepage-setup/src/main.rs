//! `hugepage-setup`: is this host ready for Trunkline, and what is to be changed?
//!
//! It looks and says; it changes nothing. Exit code 0: nothing is bad; 1:
//! something is; 2: the command line was not understood.

use anyhow::Context;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use std::io::ErrorKind;
use std::io::Write;
use std::process::ExitCode;
use trunkline_host::examine;
use trunkline_host::host::Host;
use trunkline_host::report;
use trunkline_host::wanted::PortRange;
use trunkline_host::wanted::Wanted;

/// Says whether this host is ready for Trunkline, and what to change.
///
/// Nothing is changed. Exit code 0: ready; 1: something is bad; 2: usage.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// One line a finding, fields divided by tabs: state, item, found, wanted, what to do.
    Check(Asked),
    /// One table, with what to do about each line that is not right.
    Doctor(Asked),
}

#[derive(Debug, Args)]
struct Asked {
    /// An interface that is to carry calls; give it once for each.
    #[arg(long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,
    /// Worker threads.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: u32,
    /// UDP ports of a media relay, as 20000-29999; give it once for each range.
    #[arg(long, value_name = "FIRST-LAST")]
    media_ports: Vec<PortRange>,
    /// Packet memory of one worker, in MiB: `umem.frames` of the configuration × 2,048 bytes.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65536))]
    umem_mib: u32,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let (asked, show): (Asked, fn(&[_]) -> String) = match Command::parse().verb {
        Verb::Check(asked) => (asked, report::lines),
        Verb::Doctor(asked) => (asked, report::table),
    };
    let wanted = Wanted {
        interfaces: asked.interfaces,
        workers: asked.workers,
        media_ports: asked.media_ports,
        umem_mib: asked.umem_mib,
    };
    let rows = examine(&Host::here(), &wanted);
    let text = if asked.json {
        report::json(&rows).context("JSON")?
    } else {
        show(&rows)
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough, as head, is no failure of ours.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if report::is_ready(&rows) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
