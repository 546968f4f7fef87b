//! The options of `trunkline-perf flood`.

use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::ValueEnum;
use trunkline_dataplane::ids::CoreId;
use trunkline_dataplane::sys::affinity;
use trunkline_dataplane::wire;
use trunkline_dataplane::wire::VlanStack;

use super::HEADERS_LEN;
use super::Plan;
use super::letter::Letter;
use crate::link::Link;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// INVITEs, each of a call of its own.
    Invite,
    /// OPTIONS.
    Options,
    /// G.711 packets of --flows streams.
    Rtp,
}

/// See the command's help.
#[derive(Clone, Debug, Args)]
pub struct FloodArgs {
    /// What is said.
    #[arg(value_enum)]
    what: What,
    /// The interface that it leaves by.
    #[arg(long)]
    interface: String,
    /// From this address and port on.
    #[arg(long, value_name = "ADDRESS")]
    from: SocketAddrV4,
    /// To this address and port on.
    #[arg(long, value_name = "ADDRESS")]
    to: SocketAddrV4,
    /// Frames a second.
    #[arg(long, default_value_t = 100_000.0, value_parser = rate)]
    rate: f64,
    /// Seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    time: u64,
    /// Streams that take turns, each two ports above the one before.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    flows: u32,
    /// Whom a request names.
    #[arg(long, default_value = "sip:15550100@10.77.2.2:5060")]
    uri: String,
    /// The core to run on.
    #[arg(long)]
    core: Option<u16>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| (1.0..=20_000_000.0).contains(rate))
        .ok_or("frames a second, up to 20000000".to_owned())
}

impl FloodArgs {
    /// Floods, and says how much left.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(core) = self.core {
            affinity::pin(CoreId(core))?;
        }
        let link = Link::find(&self.interface)?;
        let stations = link.stations((*self.to.ip()).into())?;
        let letter = match self.what {
            What::Invite => Letter::request("INVITE", self.from, &self.uri),
            What::Options => Letter::request("OPTIONS", self.from, &self.uri),
            What::Rtp => Letter::rtp(),
        };
        let mut frame = vec![0; HEADERS_LEN + letter.payload.len()];
        let none = &VlanStack::NONE;
        let (from, to) = (self.from.into(), self.to.into());
        let len = letter.payload.len();
        anyhow::ensure!(
            wire::write_headers(&mut frame, &stations, none, from, to, len).is_some(),
            "the frame has no headers"
        );
        let mut headers = [0; HEADERS_LEN];
        headers.copy_from_slice(&frame[..HEADERS_LEN]);
        let flows = match self.what {
            What::Rtp => self.flows,
            _ => 1,
        };
        let outcome = super::run(&Plan {
            rate: self.rate,
            time: Duration::from_secs(self.time),
            ifindex: link.ifindex,
            flows,
            first_source: self.from.port(),
            first_destination: self.to.port(),
            headers,
            letter,
        })?;
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let rate = outcome.sent as f64 / outcome.seconds.max(1e-9);
        println!(
            "{} frames in {:.3} s: {rate:.0} a second of {:.0} asked for; {} more than 1 ms late",
            outcome.sent, outcome.seconds, self.rate, outcome.late
        );
        Ok(ExitCode::SUCCESS)
    }
}
