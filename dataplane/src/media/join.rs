//! A media peer that is a relay port of our own: two calls of the box, one behind the other.
//!
//! ```text
//!   caller ─► access:20000 ══ first flow ══► core:20002
//!                                              core:20004 ══ second flow ══► core:20006 ─► callee
//! ```
//!
//! A call that comes back to the box, through a proxy that leaves the SDP alone or through a
//! listen of ours, is two calls here, and the media of the first goes to a port of the second.
//! No frame to ourselves ever leaves: the packet passes both flows at once and is rewritten once,
//! from what it came with to what the second sends. Both count it, and the second checks it as
//! if it had come off the wire. One join is made; a third flow is not looked at, so that
//! flows which lead to each other are no loop.

use std::net::SocketAddr;

use super::drop::MediaDrop;
use super::flow::CallRef;
use super::relay::Arrival;
use super::relay::ChecksumPolicy;
use super::relay::Refusal;
use super::relay::Relayed;
use super::relay::Way;
use super::relay::start_of;
use super::table::FlowTable;
use crate::route::Network;
use crate::wire::Datagram;
use crate::wire::checksum;
use crate::wire::udp;

impl FlowTable {
    /// Passes a packet, which the flow on its port sends to an address of ours, through the
    /// flow there.
    #[cold]
    pub(super) fn join(
        &mut self,
        room: &mut [u8],
        datagram: &Datagram,
        network: &Network,
        policy: ChecksumPolicy,
    ) -> Relayed {
        let octets = u64::from(datagram.payload_len());
        let dropped = |reason| Relayed::Drop {
            reason,
            solicit: None,
        };
        let Some((first, wide, _)) = self.open_entry_mut(datagram.dst()) else {
            return dropped(MediaDrop::PortClosed);
        };
        let (src, destination) = first.way_out(wide);
        let arrived = datagram.udp_checksum();
        let arrival = Arrival {
            src,
            checksum: match arrived {
                udp::NO_CHECKSUM => udp::NO_CHECKSUM,
                _ => checksum::udp_form(checksum::update(arrived, first.checksum_delta)),
            },
            is_partial: first.is_partial(datagram),
        };
        let is_relay = self.covers(destination);
        let is_open = is_relay && self.call_on(destination).is_some();
        if let Some((first, ..)) = self.open_entry_mut(datagram.dst()) {
            if is_open {
                first.packets_out += 1;
                first.octets_out += octets;
            } else {
                first.drops += 1;
            }
        }
        let Some((second, wide, vlans)) = self.open_entry_mut(destination) else {
            return dropped(match is_relay {
                true => MediaDrop::PortClosed,
                false => MediaDrop::OwnAddress,
            });
        };
        second.packets_in += 1;
        second.octets_in += octets;
        let way = Way { network, vlans };
        match second.pass(wide, room, datagram, arrival, way, policy) {
            Ok(headers_len) => {
                second.packets_out += 1;
                second.octets_out += octets;
                Relayed::Forward {
                    interface: second.egress,
                    start: start_of(datagram, headers_len),
                    frame_len: headers_len + usize::from(datagram.payload_len()),
                }
            }
            Err(Refusal { reason, solicit }) => {
                second.drops += 1;
                let reason = match reason {
                    MediaDrop::OwnAddress => MediaDrop::JoinedTwice,
                    reason => reason,
                };
                Relayed::Drop { reason, solicit }
            }
        }
    }

    /// The call of the flow on `local`, and that of the flow which sends what arrives there:
    /// the same, or another where the two are joined.
    #[must_use]
    pub fn calls_on(&mut self, local: SocketAddr) -> Option<[CallRef; 2]> {
        let first = self.call_on(local)?;
        let last = self.last_of(local);
        Some([first, self.call_on(last).unwrap_or(first)])
    }

    /// The port of the flow that sends what arrives on `local`: that one, or the one that it
    /// is joined to.
    pub(super) fn last_of(&mut self, local: SocketAddr) -> SocketAddr {
        let Some((flow, wide, _)) = self.open_entry_mut(local) else {
            return local;
        };
        let (has_egress, (_, destination)) = (flow.has_egress(), flow.way_out(wide));
        if has_egress || !self.covers(destination) {
            local
        } else {
            destination
        }
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
