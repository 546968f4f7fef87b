//! The generator's interfaces: AF_XDP in copy mode, an address on each, and the box behind them.
//!
//! Both interfaces are of one network namespace and one UMEM. The kernel keeps ARP and neighbour
//! discovery; the XDP program that the box itself uses gives the ends' ports to the rings.

use std::net::IpAddr;
use std::net::SocketAddr;

use anyhow::Context as _;
use anyhow::bail;
use trunkline_bpf::Program;
use trunkline_dataplane::frame::FRAME_LEN_MAX;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::Lane;
use trunkline_dataplane::limits::BATCH;
use trunkline_dataplane::ring::Received;
use trunkline_dataplane::ring::Rings as _;
use trunkline_dataplane::ring::Xsk;
use trunkline_dataplane::wire;
use trunkline_dataplane::wire::Ethernet;
use trunkline_dataplane::wire::VlanStack;

use super::call::Side;
use super::load::Outbox;
use super::media::MediaOutbox;
use super::pen::Pen;
use super::speech::MEDIA_PORT_FIRST;
use super::speech::media_port;
use crate::link;
use crate::link::Link;

/// An interface, and who lives there.
#[derive(Clone, Debug)]
pub struct EndConfig {
    /// The interface's name.
    pub interface: String,
    /// The address and port of its user agents.
    pub address: SocketAddr,
    /// The box, as this end reaches it.
    pub neighbour: IpAddr,
}

#[derive(Debug)]
struct End {
    address: SocketAddr,
    stations: Ethernet,
}

/// The rings of both ends.
#[derive(Debug)]
pub struct Port {
    rings: Xsk,
    ends: [End; 2],
    batch: Vec<Received>,
    /// What the kernel had counted as missed and as refused when it was asked last.
    lost: (u64, u64),
    /// Attached as long as this lives.
    _programs: Vec<Program>,
}

impl Port {
    /// Opens the rings of the caller's interface and of the callee's, and learns the stations.
    ///
    /// # Errors
    /// An interface that is not there or refuses, or a box that does not say where it is.
    pub fn open(caller: &EndConfig, callee: &EndConfig) -> anyhow::Result<Port> {
        let configs = [caller, callee];
        let mut links = Vec::new();
        let mut programs = Vec::new();
        let mut ends = Vec::new();
        for config in configs {
            let link = Link::find(&config.interface)?;
            let mut program = Program::load(link.queues.into())?;
            program.set_address(
                trunkline_bpf::VlanStack::Untagged,
                config.address.ip(),
                &[config.address.port()],
                &[MEDIA_PORT_FIRST..=u16::MAX],
            )?;
            program
                .attach(link.ifindex, trunkline_bpf::ModeWish::Auto)
                .with_context(|| format!("XDP on {}", link.name))?;
            programs.push(program);
            ends.push(End {
                address: config.address,
                stations: link.stations(config.neighbour)?,
            });
            links.push(link);
        }
        let rings = link::rings(&links)?;
        for socket in rings.sockets() {
            programs[usize::from(socket.device.0)]
                .insert_socket(u32::from(socket.queue.0), socket.fd)?;
        }
        let Ok(ends) = ends.try_into() else {
            bail!("there are two ends");
        };
        Ok(Port {
            rings,
            ends,
            batch: Vec::with_capacity(BATCH),
            lost: (0, 0),
            _programs: programs,
        })
    }

    /// Takes a batch off the rings and gives each datagram to `take`, copied into `letter` so that an
    /// answer can be written at once. True if there was any.
    pub fn receive(
        &mut self,
        letter: &mut [u8],
        mut take: impl FnMut(&mut Port, Side, SocketAddr, SocketAddr, &[u8]),
    ) -> bool {
        let mut batch = std::mem::take(&mut self.batch);
        self.rings.receive(&mut batch);
        let worked = !batch.is_empty();
        for Received { frame, device } in batch.drain(..) {
            let bytes = self.rings.bytes(&frame);
            let heard = wire::parse(bytes).ok().and_then(|datagram| {
                let payload = datagram.payload(bytes);
                let room = letter.get_mut(..payload.len())?;
                room.copy_from_slice(payload);
                Some((datagram.src(), datagram.dst(), payload.len()))
            });
            self.rings.free(frame);
            let side = match device.0 {
                0 => Side::Caller,
                _ => Side::Callee,
            };
            if let Some((source, to, len)) = heard {
                take(self, side, source, to, &letter[..len]);
            }
        }
        self.batch = batch;
        worked
    }

    /// Sends what has been put on the rings.
    pub fn flush(&mut self) {
        self.rings.flush();
    }

    /// Frames that the kernel had no room for in a receive ring, and those the driver refused to
    /// send, since it was asked last.
    pub fn lost(&mut self) -> (u64, u64) {
        let (mut missed, mut refused) = (0, 0);
        self.rings.statistics(&mut |statistics| {
            missed += statistics.kernel.rx_ring_full + statistics.kernel.rx_dropped;
            refused += statistics.refused;
        });
        let (missed_before, refused_before) = std::mem::replace(&mut self.lost, (missed, refused));
        (missed - missed_before, refused - refused_before)
    }

    /// Puts a datagram from `port` of an end on its ring.
    fn send_from(
        &mut self,
        side: Side,
        port: u16,
        to: SocketAddr,
        write: &mut dyn FnMut(&mut Pen<'_>),
    ) -> bool {
        let end = &self.ends[side as usize];
        let from = SocketAddr::new(end.address.ip(), port);
        let stations = end.stations;
        let Some(mut frame) = self.rings.allocate(usize::from(FRAME_LEN_MAX)) else {
            return false;
        };
        let bytes = self.rings.bytes_mut(&mut frame);
        let start = wire::headers_len(&VlanStack::NONE, to.ip());
        let mut pen = Pen::new(&mut bytes[start..]);
        write(&mut pen);
        let written = pen.done().and_then(|len| {
            let none = &VlanStack::NONE;
            let len = wire::write_headers(bytes, &stations, none, from, to, len)?;
            wire::fill_udp_checksum(&mut bytes[..len]);
            Some(len)
        });
        let fits = written.is_some_and(|len| frame.set_len(len));
        if !fits {
            self.rings.free(frame);
            return false;
        }
        let lane = Lane::of_peer(to);
        match self.rings.transmit(DeviceIndex(side as u8), lane, frame) {
            Ok(()) => true,
            Err(frame) => {
                self.rings.free(frame);
                false
            }
        }
    }
}

impl MediaOutbox for Port {
    fn send_media(
        &mut self,
        side: Side,
        seat: u32,
        to: SocketAddr,
        write: &mut dyn FnMut(&mut Pen<'_>),
    ) -> bool {
        self.send_from(side, media_port(seat), to, write)
    }
}

impl Outbox for Port {
    fn send(&mut self, side: Side, to: SocketAddr, write: &mut dyn FnMut(&mut Pen<'_>)) -> bool {
        let port = self.ends[side as usize].address.port();
        self.send_from(side, port, to, write)
    }
}
