//! The forwarder on AF_XDP rings.

use std::net::SocketAddr;

use anyhow::Context as _;
use trunkline_bpf::Program;
use trunkline_dataplane::frame::Frame;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::Lane;
use trunkline_dataplane::limits::BATCH;
use trunkline_dataplane::ring::Received;
use trunkline_dataplane::ring::Rings as _;
use trunkline_dataplane::ring::Xsk;
use trunkline_dataplane::sys::wake::Wake;
use trunkline_dataplane::wire;
use trunkline_dataplane::wire::VlanStack;

use super::Forwarder;
use super::Side;
use crate::link;

/// The longest sleep: a signal to end is seen after it.
const REST_NS: u64 = 100_000_000;

/// Takes frames off the rings of one side and puts them on those of the other.
#[derive(Debug)]
pub(super) struct OnRings {
    rings: Xsk,
    sides: [Side; 2],
    batch: Vec<Received>,
    forwarded: u64,
    /// Nobody calls: for the place that `wait` has for it.
    wake: Wake,
    /// Attached as long as this lives.
    _programs: Vec<Program>,
}

impl OnRings {
    pub(super) fn open(sides: [Side; 2]) -> anyhow::Result<OnRings> {
        let mut programs = Vec::new();
        for side in &sides {
            let mut program = Program::load(side.link.queues.into())?;
            let untagged = trunkline_bpf::VlanStack::Untagged;
            program.set_address(untagged, side.ours.into(), &[], &[1..=u16::MAX])?;
            program
                .attach(side.link.ifindex, trunkline_bpf::ModeWish::Auto)
                .with_context(|| format!("XDP on {}", side.link.name))?;
            programs.push(program);
        }
        let mut rings = link::rings(&sides.each_ref().map(|side| side.link.clone()))?;
        let wake = Wake::new()?;
        rings.wait_for(&wake)?;
        for socket in rings.sockets() {
            programs[usize::from(socket.device.0)]
                .insert_socket(u32::from(socket.queue.0), socket.fd)?;
        }
        Ok(OnRings {
            rings,
            sides,
            batch: Vec::with_capacity(BATCH),
            forwarded: 0,
            wake,
            _programs: programs,
        })
    }

    /// Gives the frame new headers where it is; `None` where it is none of ours.
    fn rewrite(&mut self, frame: &mut Frame, from: DeviceIndex) -> Option<(DeviceIndex, Lane)> {
        let bytes = self.rings.bytes_mut(frame);
        let datagram = wire::parse(bytes).ok()?;
        let to = DeviceIndex(1 - from.0);
        let out = &self.sides[usize::from(to.0)];
        let src = SocketAddr::new(out.ours.into(), datagram.src().port());
        let dst = SocketAddr::new(out.peer.into(), datagram.dst().port());
        let payload_len = datagram.payload_len().into();
        let len = wire::write_headers(
            bytes,
            &out.stations,
            &VlanStack::NONE,
            src,
            dst,
            payload_len,
        )?;
        wire::fill_udp_checksum(&mut bytes[..len]);
        // What the link padded does not go on.
        frame
            .set_len(len)
            .then_some((to, Lane::of_media(dst.port())))
    }
}

impl Forwarder for OnRings {
    fn turn(&mut self) -> anyhow::Result<bool> {
        let mut batch = std::mem::take(&mut self.batch);
        self.rings.receive(&mut batch);
        let worked = !batch.is_empty();
        for Received { mut frame, device } in batch.drain(..) {
            let Some((to, lane)) = self.rewrite(&mut frame, device) else {
                self.rings.free(frame);
                continue;
            };
            match self.rings.transmit(to, lane, frame) {
                Ok(()) => self.forwarded += 1,
                Err(frame) => self.rings.free(frame),
            }
        }
        self.batch = batch;
        self.rings.flush();
        Ok(worked)
    }

    fn rest(&mut self) {
        self.rings.wait(&self.wake, REST_NS);
    }

    fn forwarded(&self) -> u64 {
        self.forwarded
    }
}
