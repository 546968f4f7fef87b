//! The forwarder in XDP: the program is src/bpf/forward.bpf.c.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Context as _;
use libbpf_rs::MapCore as _;
use libbpf_rs::MapFlags;
use libbpf_rs::Object;
use libbpf_rs::ObjectBuilder;
use libbpf_rs::Xdp;
use libbpf_rs::XdpFlags;

use super::Forwarder;
use super::Side;

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/forward.bpf.o"));

/// The program on both interfaces, as long as this lives.
#[derive(Debug)]
pub(super) struct InXdp {
    object: Object,
    attached: Vec<i32>,
}

impl InXdp {
    pub(super) fn open(sides: &[Side; 2]) -> anyhow::Result<InXdp> {
        let object = ObjectBuilder::default()
            .open_memory(OBJECT)?
            .load()
            .context("loading the XDP forwarder")?;
        let mut forwarder = InXdp {
            object,
            attached: Vec::new(),
        };
        forwarder.set_ways(sides)?;
        for side in sides {
            let ifindex = i32::try_from(side.link.ifindex)?;
            let programs = forwarder.object.progs();
            let mut programs = programs.filter(|program| program.name() == "perf_forward");
            let program = programs.next().context("the XDP forwarder")?;
            Xdp::new(program.as_fd())
                .attach(ifindex, XdpFlags::DRV_MODE)
                .with_context(|| format!("XDP on {}", side.link.name))?;
            forwarder.attached.push(ifindex);
        }
        Ok(forwarder)
    }

    fn set_ways(&self, sides: &[Side; 2]) -> anyhow::Result<()> {
        let ways = self.object.maps().find(|map| map.name() == "ways");
        let ways = ways.context("the map of the XDP forwarder")?;
        for (side, other) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
            let key = side.link.ifindex.to_ne_bytes();
            ways.update(&key, &way(side, other), MapFlags::ANY)?;
        }
        Ok(())
    }
}

impl Drop for InXdp {
    fn drop(&mut self) {
        for &ifindex in &self.attached {
            let mut programs = self.object.progs();
            if let Some(program) = programs.find(|program| program.name() == "perf_forward") {
                // Nobody is left to tell.
                let _ = Xdp::new(program.as_fd()).detach(ifindex, XdpFlags::DRV_MODE);
            }
        }
    }
}

/// `struct way` of forward.bpf.c: what a frame from `side` becomes on its way out by `other`.
fn way(side: &Side, other: &Side) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    bytes.extend(other.stations.destination);
    bytes.extend(other.stations.source);
    bytes.extend(side.ours.octets());
    bytes.extend(other.ours.octets());
    bytes.extend(other.peer.octets());
    bytes.extend(other.link.ifindex.to_ne_bytes());
    bytes
}

impl Forwarder for InXdp {
    fn turn(&mut self) -> anyhow::Result<bool> {
        // The kernel does it all.
        std::thread::sleep(Duration::from_millis(100));
        Ok(true)
    }

    fn rest(&mut self) {}

    fn forwarded(&self) -> u64 {
        0
    }
}
