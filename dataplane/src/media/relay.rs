//! A packet's way through the relay: look up, check, rewrite in place, count.

use std::net::IpAddr;

use super::demux;
use super::demux::Protocol;
use super::drop::MediaDrop;
use super::flow::Flow;
use super::rtcp;
use super::rtp;
use super::table::FlowTable;
use crate::ids::InterfaceIndex;
use crate::route::Network;
use crate::route::Unresolved;
use crate::wire::Datagram;
use crate::wire::Ethernet;
use crate::wire::IP_HEADERS_LEN;
use crate::wire::checksum;
use crate::wire::fill_udp_checksum;
use crate::wire::udp;

/// How the UDP checksum of relayed media is made. A packet that came without
/// one leaves without one, under every policy.
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
    /// Rewritten in its frame: send the frame's first `frame_len` bytes.
    Forward {
        /// The interface it leaves by.
        interface: InterfaceIndex,
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

/// Why a flow does not forward a packet.
struct Refusal {
    reason: MediaDrop,
    solicit: Option<Solicit>,
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
    /// Relays a packet: `datagram` is what [`crate::wire::parse`] found in
    /// `frame`. `policy` is that of the interface it came in by: whether
    /// checksums are partial is a trait of the link that the packet arrives on.
    pub fn relay(
        &mut self,
        frame: &mut [u8],
        datagram: &Datagram,
        network: &Network,
        policy: ChecksumPolicy,
    ) -> Relayed {
        let Some(flow) = self.open_flow_mut(datagram.dst) else {
            let reason = MediaDrop::PortClosed;
            return Relayed::Drop {
                reason,
                solicit: None,
            };
        };
        let octets = u64::from(datagram.payload_len());
        flow.packets_in += 1;
        flow.octets_in += octets;
        match flow.forward(frame, datagram, network, policy) {
            Ok(()) => {
                flow.packets_out += 1;
                flow.octets_out += octets;
                Relayed::Forward {
                    interface: flow.egress,
                    frame_len: datagram.frame_len(),
                }
            }
            Err(Refusal { reason, solicit }) => {
                flow.drops += 1;
                Relayed::Drop { reason, solicit }
            }
        }
    }

    /// Takes back that a packet was forwarded: its frame found no room on the
    /// transmit ring and was dropped. The flow counts a drop instead.
    pub fn not_sent(&mut self, datagram: &Datagram) {
        if let Some(flow) = self.open_flow_mut(datagram.dst) {
            flow.packets_out = flow.packets_out.saturating_sub(1);
            let octets = u64::from(datagram.payload_len());
            flow.octets_out = flow.octets_out.saturating_sub(octets);
            flow.drops += 1;
        }
    }
}

impl Flow {
    fn forward(
        &mut self,
        frame: &mut [u8],
        datagram: &Datagram,
        network: &Network,
        policy: ChecksumPolicy,
    ) -> Result<(), Refusal> {
        self.check_source(datagram.src)?;
        self.check_payload(datagram.payload(frame))?;
        if !self.has_destination() {
            return Err(MediaDrop::NoDestination.into());
        }
        if !self.is_resolved(network.epoch()) {
            self.resolve(network)?;
        }
        if usize::from(datagram.payload_len()) + IP_HEADERS_LEN > usize::from(self.mtu) {
            return Err(MediaDrop::TooLarge.into());
        }
        self.rewrite(frame, datagram, policy)
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
    fn resolve(&mut self, network: &Network) -> Result<(), Refusal> {
        match network.resolve((*self.headers.dst().ip()).into()) {
            Ok(hop) => {
                self.headers.set_ethernet(&Ethernet {
                    destination: hop.dst_mac,
                    source: hop.src_mac,
                });
                self.egress = hop.interface;
                self.mtu = hop.mtu;
                self.set_resolved(network.epoch());
                Ok(())
            }
            Err(unresolved) => {
                self.set_unresolved();
                Err(refusal(unresolved))
            }
        }
    }

    /// Writes the headers of the way out over those it came with.
    fn rewrite(
        &self,
        frame: &mut [u8],
        datagram: &Datagram,
        policy: ChecksumPolicy,
    ) -> Result<(), Refusal> {
        let arrived = datagram.udp_checksum();
        let in_full = arrived != udp::NO_CHECKSUM
            && match policy {
                ChecksumPolicy::Auto => self.is_partial(datagram),
                ChecksumPolicy::Incremental => false,
                ChecksumPolicy::Full => true,
            };
        let checksum = match arrived {
            udp::NO_CHECKSUM => udp::NO_CHECKSUM,
            _ if in_full => udp::NO_CHECKSUM,
            _ => checksum::udp_form(checksum::update(arrived, self.checksum_delta)),
        };
        if !self.headers.write(frame, datagram.payload_len(), checksum) {
            return Err(MediaDrop::TooShort.into());
        }
        if in_full {
            fill_udp_checksum(frame);
        }
        Ok(())
    }

    fn is_partial(&self, datagram: &Datagram) -> bool {
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
