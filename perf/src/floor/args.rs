//! The options of `trunkline-perf floor`.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;

use clap::Args;
use clap::ValueEnum;
use trunkline_dataplane::ids::CoreId;
use trunkline_dataplane::sys::affinity;

use super::Forwarder;
use super::Side;
use super::redirect::InXdp;
use super::rings::OnRings;
use super::sockets::OnSockets;
use crate::link::Link;
use crate::stop::Stop;

/// How the forwarder takes and sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// AF_XDP in copy mode.
    Rings,
    /// XDP_REDIRECT.
    Xdp,
    /// recvmmsg and sendmmsg.
    Sockets,
}

/// See the command's help.
#[derive(Clone, Debug, Args)]
pub struct FloorArgs {
    /// How it takes and sends.
    #[arg(value_enum)]
    kind: Kind,
    /// One side: interface, our address there, the peer's, like access=10.77.1.1,10.77.1.2.
    #[arg(long, value_name = "INTERFACE=OURS,PEER", value_parser = side)]
    a: (String, Ipv4Addr, Ipv4Addr),
    /// The other side.
    #[arg(long, value_name = "INTERFACE=OURS,PEER", value_parser = side)]
    b: (String, Ipv4Addr, Ipv4Addr),
    /// The ports that are forwarded; the sockets alone need to know.
    #[arg(long, default_value = "5060", value_delimiter = ',')]
    ports: Vec<u16>,
    /// End after so many seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    time: u64,
    /// Sleep until something comes, rather than turn on; sockets always do.
    #[arg(long)]
    sleep: bool,
    /// The core to run on.
    #[arg(long)]
    core: Option<u16>,
}

fn side(text: &str) -> Result<(String, Ipv4Addr, Ipv4Addr), String> {
    let parts = text.split_once('=').and_then(|(interface, addresses)| {
        let (ours, peer) = addresses.split_once(',')?;
        let (ours, peer) = (ours.parse().ok()?, peer.parse().ok()?);
        Some((interface.to_owned(), ours, peer))
    });
    parts.ok_or_else(|| "write it like access=10.77.1.1,10.77.1.2".to_owned())
}

impl FloorArgs {
    /// Forwards until the time is over.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(core) = self.core {
            affinity::pin(CoreId(core))?;
        }
        let side = |(interface, ours, peer): &(String, Ipv4Addr, Ipv4Addr)| {
            let link = Link::find(interface)?;
            let stations = link.stations(IpAddr::V4(*peer))?;
            anyhow::Ok(Side {
                link,
                ours: *ours,
                peer: *peer,
                stations,
            })
        };
        let sides = [side(&self.a)?, side(&self.b)?];
        let mut forwarder: Box<dyn Forwarder> = match self.kind {
            Kind::Rings => Box::new(OnRings::open(sides)?),
            Kind::Xdp => Box::new(InXdp::open(&sides)?),
            Kind::Sockets => Box::new(OnSockets::open(sides, &self.ports)?),
        };
        println!("forwarding for {} s", self.time);
        let stop = Stop::listen()?;
        let end = Instant::now() + Duration::from_secs(self.time);
        while !stop.asked() && Instant::now() < end {
            if !forwarder.turn()? && self.sleep {
                forwarder.rest();
            }
        }
        println!("{} datagrams forwarded", forwarder.forwarded());
        Ok(ExitCode::SUCCESS)
    }
}
