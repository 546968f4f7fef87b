//! A packet's way through the relay: look up, check, rewrite in place, count.

use std::net::IpAddr;
use std::net::SocketAddr;

use super::demux;
use super::demux::Protocol;
use super::drop::MediaDrop;
use super::flow::Flow;
use super::flow::Wide;
use super::rtcp;
use super::rtp;
use super::table::FlowTable;
use super::table::Slot;
use crate::ids::InterfaceIndex;
use crate::route::Network;
use crate::route::Unresolved;
use crate::wire::Datagram;
use crate::wire::HEADERS_LEN;
use crate::wire::HEADERS_LEN_MAX;
use crate::wire::VlanStack;
use crate::wire::checksum;
use crate::wire::fill_udp_checksum;
use crate::wire::udp;

/// How the UDP checksum of relayed media is made. A packet that came without one leaves
/// without one under every policy, except to IPv6, where it is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumPolicy {
    /// Incremental, but a partial checksum is computed in full.
    ///
    /// Partial: a kernel behind a virtual link left the sum to a NIC that is
    /// not there, and the field holds the pseudo-header's folded sum. One
    /// complete checksum in 65,535 looks like that by chance and is computed
    /// in full as well, which is right for every packet that was not damaged.
    #[default]
    Auto,
    /// Mended by what changed (RFC 1624): a damaged packet stays detectably
    /// damaged. Right on a NIC.
    Incremental,
    /// Computed anew: a damaged packet is blessed.
    Full,
}

/// By how much the headers of a packet can grow on its way: from IPv4 without tags to IPv6
/// with two. So much room stands before the frame that [`FlowTable::relay`] is given.
pub const GROWTH_MAX: usize = HEADERS_LEN_MAX - HEADERS_LEN;

/// An address to ask for: the neighbour table does not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicit {
    /// The interface to ask on.
    pub interface: InterfaceIndex,
    /// The address to ask for: the gateway, or the destination on the link.
    pub address: IpAddr,
}

/// What became of a media packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Relayed {
    /// Rewritten in its frame, around a payload that stays where it is.
    Forward {
        /// The interface it leaves by.
        interface: InterfaceIndex,
        /// Where the frame now starts in the bytes given: at most at [`GROWTH_MAX`] where its
        /// headers have grown, behind it where they have shrunk.
        start: usize,
        /// Length of the frame in bytes; padding it arrived with is cut.
        frame_len: usize,
    },
    /// Not forwarded; the frame's bytes are as they were.
    Drop {
        /// Why.
        reason: MediaDrop,
        /// With [`MediaDrop::NoNeighbour`]: whom to ask for.
        solicit: Option<Solicit>,
    },
}

const CLOSED: Relayed = Relayed::Drop {
    reason: MediaDrop::PortClosed,
    solicit: None,
};

/// Why a flow does not forward a packet.
pub(super) struct Refusal {
    pub reason: MediaDrop,
    pub solicit: Option<Solicit>,
}

impl From<MediaDrop> for Refusal {
    fn from(reason: MediaDrop) -> Refusal {
        Refusal {
            reason,
            solicit: None,
        }
    }
}

impl FlowTable {
    /// Relays a packet: `datagram` is what [`crate::wire::parse`] found in the frame that
    /// starts at [`GROWTH_MAX`] of `room`. `policy` is that of the interface it came in by:
    /// whether checksums are partial is a trait of the link that the packet arrives on.
    pub fn relay(
        &mut self,
        room: &mut [u8],
        datagram: &Datagram,
        network: &Network,
        policy: ChecksumPolicy,
    ) -> Relayed {
        match self.place(datagram.dst()) {
            Some(slot) => self.relay_at(slot, room, datagram, network, policy),
            None => CLOSED,
        }
    }

    /// The same, where the place of its port's flow is known.
    pub fn relay_at(
        &mut self,
        slot: Slot,
        room: &mut [u8],
        datagram: &Datagram,
        network: &Network,
        policy: ChecksumPolicy,
    ) -> Relayed {
        let Some((flow, wide, vlans)) = self.open_entry_at(slot) else {
            return CLOSED;
        };
        let octets = u64::from(datagram.payload_len());
        flow.packets_in += 1;
        flow.octets_in += octets;
        let way = Way { network, vlans };
        match flow.forward(wide, room, datagram, way, policy) {
            Ok(headers_len) => {
                flow.packets_out += 1;
                flow.octets_out += octets;
                Relayed::Forward {
                    interface: flow.egress,
                    start: start_of(datagram, headers_len),
                    frame_len: headers_len + usize::from(datagram.payload_len()),
                }
            }
            // It may be a relay port of ours.
            Err(Refusal {
                reason: MediaDrop::OwnAddress,
                ..
            }) => self.join(room, datagram, network, policy),
            Err(Refusal { reason, solicit }) => {
                flow.drops += 1;
                Relayed::Drop { reason, solicit }
            }
        }
    }

    /// Takes back that a packet was forwarded: its frame found no room on the
    /// transmit ring and was dropped. The flow counts a drop instead.
    pub fn not_sent(&mut self, datagram: &Datagram) {
        let last = self.last_of(datagram.dst());
        if let Some((flow, ..)) = self.open_entry_mut(last) {
            flow.packets_out = flow.packets_out.saturating_sub(1);
            let octets = u64::from(datagram.payload_len());
            flow.octets_out = flow.octets_out.saturating_sub(octets);
            flow.drops += 1;
        }
    }
}

/// What a way out is looked up in.
#[derive(Clone, Copy)]
pub(super) struct Way<'w> {
    pub network: &'w Network,
    /// The tags of each interface.
    pub vlans: &'w [VlanStack],
}

/// A packet as it comes to a flow: off the wire, or out of another flow.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    /// Who sends it.
    pub src: SocketAddr,
    /// Its UDP checksum, as it would stand here.
    pub checksum: u16,
    /// Whether that is only the pseudo-header's sum.
    pub is_partial: bool,
}

/// Where a frame starts whose headers of `headers_len` bytes end where the payload begins.
pub(super) fn start_of(datagram: &Datagram, headers_len: usize) -> usize {
    // No headers are longer than the shortest and the growth.
    (GROWTH_MAX + datagram.headers_len()).saturating_sub(headers_len)
}

impl Flow {
    /// Takes a packet off the wire. Gives the length of the headers of the way out.
    #[inline(always)]
    fn forward(
        &mut self,
        wide: &mut Wide,
        room: &mut [u8],
        datagram: &Datagram,
        way: Way<'_>,
        policy: ChecksumPolicy,
    ) -> Result<usize, Refusal> {
        let arrival = Arrival {
            src: datagram.src(),
            checksum: datagram.udp_checksum(),
            is_partial: policy == ChecksumPolicy::Auto && self.is_partial(datagram),
        };
        self.pass(wide, room, datagram, arrival, way, policy)
    }

    /// Gives the length of the headers of the way out.
    #[inline(always)]
    pub(super) fn pass(
        &mut self,
        wide: &mut Wide,
        room: &mut [u8],
        datagram: &Datagram,
        arrival: Arrival,
        way: Way<'_>,
        policy: ChecksumPolicy,
    ) -> Result<usize, Refusal> {
        self.check_source(wide, arrival.src)?;
        self.check_payload(datagram.payload(room.get(GROWTH_MAX..).unwrap_or_default()))?;
        if !self.has_destination() {
            return Err(MediaDrop::NoDestination.into());
        }
        if !self.is_resolved(way.network.epoch()) {
            self.resolve(wide, way)?;
        }
        if usize::from(datagram.payload_len()) + self.ip_headers_len() > usize::from(self.mtu) {
            return Err(MediaDrop::TooLarge.into());
        }
        self.rewrite(wide, room, datagram, arrival, policy)
    }

    /// Whether the payload is what the m= line negotiated.
    fn check_payload(&self, payload: &[u8]) -> Result<(), MediaDrop> {
        let &[first, second, ..] = payload else {
            return Err(MediaDrop::TooShort);
        };
        if demux::protocol(first) != Protocol::Rtp {
            return Err(not_rtp(first));
        }
        let rtcp_type = rtcp::is_packet_type(second);
        // RFC 5761 §4: on a port of both the second byte decides.
        if self.takes_rtcp() && (rtcp_type || !self.takes_rtp()) {
            return match (rtcp_type, payload.len() < rtcp::PACKET_LEN_MIN) {
                (false, _) => Err(MediaDrop::RtpOnRtcpPort),
                (true, true) => Err(MediaDrop::TooShort),
                (true, false) => Ok(()),
            };
        }
        // On a port of RTP alone the payload types 64 to 95 are lawful, so
        // that RTCP is told only by not having been negotiated.
        if !self.negotiated(second & 0x7f) {
            return Err(match rtcp_type {
                true => MediaDrop::RtcpOnRtpPort,
                false => MediaDrop::PayloadType,
            });
        }
        if payload.len() < rtp::HEADER_LEN {
            return Err(MediaDrop::TooShort);
        }
        Ok(())
    }

    /// The slow path: looks the way out up again. Bounded, no allocation.
    #[cold]
    fn resolve(&mut self, wide: &mut Wide, way: Way<'_>) -> Result<(), Refusal> {
        let (_, destination) = self.way_out(wide);
        match way.network.resolve(destination.ip()) {
            Ok(hop) => {
                let vlan = way.vlans.get(usize::from(hop.interface.0));
                let vlan = vlan.copied().unwrap_or_default();
                self.set_resolved(wide, &hop, vlan, way.network.epoch());
                Ok(())
            }
            Err(unresolved) => {
                self.set_unresolved();
                Err(refusal(unresolved))
            }
        }
    }

    /// Writes the headers of the way out over those it came with, and into the room before
    /// them where they are longer.
    #[inline(always)]
    fn rewrite(
        &self,
        wide: &Wide,
        room: &mut [u8],
        datagram: &Datagram,
        arrival: Arrival,
        policy: ChecksumPolicy,
    ) -> Result<usize, Refusal> {
        let arrived = arrival.checksum;
        let in_full = match policy {
            // RFC 8200 §8.1: over IPv6 there must be one, so it cannot stay away.
            _ if arrived == udp::NO_CHECKSUM => self.leaves_by_ipv6(),
            ChecksumPolicy::Auto => arrival.is_partial,
            ChecksumPolicy::Incremental => false,
            ChecksumPolicy::Full => true,
        };
        let checksum = match arrived {
            udp::NO_CHECKSUM => udp::NO_CHECKSUM,
            _ if in_full => udp::NO_CHECKSUM,
            _ => checksum::udp_form(checksum::update(arrived, self.checksum_delta)),
        };
        // Most packets leave over IPv4 without tags: known lengths, and one copy.
        let headers_len = match self.leaves_plain() {
            true => HEADERS_LEN,
            false => self.headers_len(wide),
        };
        let frame = room.get_mut(start_of(datagram, headers_len)..);
        let frame = frame.unwrap_or_default();
        let payload_len = datagram.payload_len();
        let written = match self.leaves_plain() {
            true => self.headers.write(frame, payload_len, checksum),
            false => self.write_wide_headers(wide, frame, payload_len, checksum),
        };
        if !written {
            return Err(MediaDrop::TooShort.into());
        }
        if in_full {
            fill_udp_checksum(frame);
        }
        Ok(headers_len)
    }

    pub(super) fn is_partial(&self, datagram: &Datagram) -> bool {
        datagram.udp_checksum() == checksum::add(self.pseudo_header_sum, datagram.udp_len())
    }
}

#[cold]
fn not_rtp(first: u8) -> MediaDrop {
    match demux::protocol(first) {
        Protocol::Stun => MediaDrop::Stun,
        Protocol::Zrtp => MediaDrop::Zrtp,
        Protocol::Dtls => MediaDrop::Dtls,
        Protocol::TurnChannel => MediaDrop::TurnChannel,
        Protocol::Rtp | Protocol::Unknown => MediaDrop::NotRtp,
    }
}

#[cold]
fn refusal(unresolved: Unresolved) -> Refusal {
    match unresolved {
        Unresolved::NoRoute => MediaDrop::NoRoute.into(),
        Unresolved::OtherInterface => MediaDrop::OtherInterface.into(),
        Unresolved::LinkDown { .. } => MediaDrop::LinkDown.into(),
        Unresolved::OurOwn => MediaDrop::OwnAddress.into(),
        Unresolved::NotUnicast => MediaDrop::NotUnicast.into(),
        Unresolved::NoNeighbour { interface, address } => Refusal {
            reason: MediaDrop::NoNeighbour,
            solicit: Some(Solicit { interface, address }),
        },
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
