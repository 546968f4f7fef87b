//! From the bytes of a frame to what it is: media, SIP, or a drop with a name.

use std::net::SocketAddr;

use crate::counters::Counter;
use crate::ids::DeviceIndex;
use crate::ids::InterfaceIndex;
use crate::ids::ListenIndex;
use crate::interfaces::Interfaces;
use crate::media::FlowTable;
use crate::media::MediaDrop;
use crate::media::Slot;
use crate::wire;
use crate::wire::Datagram;
use crate::wire::WireError;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// For a port of a media range, by this interface.
    Media(InterfaceIndex, Slot, Datagram),
    /// For a listen.
    Sip(InterfaceIndex, ListenIndex, Datagram),
    /// Neither.
    Drop(Counter),
}

/// Looks at the headers and the destination of a frame that came by `device`.
#[inline]
#[must_use]
pub fn triage(
    frame: &[u8],
    device: DeviceIndex,
    interfaces: &Interfaces,
    listens: &[SocketAddr],
    flows: &FlowTable,
) -> Verdict {
    let datagram = match wire::parse(frame) {
        Ok(datagram) => datagram,
        Err(error) => return Verdict::Drop(wire_drop(error)),
    };
    // The XDP program has looked at the tags as well, as long as it is of this start.
    let Some(interface) = interfaces.of_frame(device, &datagram.vlan) else {
        return Verdict::Drop(Counter::WireVlan);
    };
    if let Some(slot) = flows.place(datagram.dst()) {
        return Verdict::Media(interface, slot, datagram);
    }
    match listen_at(listens, datagram.dst()) {
        // The sum may be partial where the sender is a kernel at the other end of a
        // virtual link: wire knows that form as well.
        Some(_) if !wire::udp_checksum_ok(frame, &datagram) => {
            Verdict::Drop(Counter::SipUdpChecksum)
        }
        Some(listen) => Verdict::Sip(interface, listen, datagram),
        None => Verdict::Drop(Counter::WireNotOurs),
    }
}

/// The listen with this address. There are few: a walk beats a hash.
#[allow(clippy::cast_possible_truncation)] // Control refuses more listens than an index counts.
fn listen_at(listens: &[SocketAddr], address: SocketAddr) -> Option<ListenIndex> {
    listens
        .iter()
        .position(|&listen| listen == address)
        .map(|at| ListenIndex(at as u8))
}

/// The outcome of a frame that is no datagram for us.
#[must_use]
pub const fn wire_drop(error: WireError) -> Counter {
    match error {
        WireError::TooShort => Counter::WireTooShort,
        WireError::NotIp => Counter::WireNotIp,
        WireError::IpVersion => Counter::WireIpVersion,
        WireError::IpHeaderLength => Counter::WireIpHeaderLength,
        WireError::IpChecksum => Counter::WireIpChecksum,
        WireError::IpLength => Counter::WireIpLength,
        WireError::Fragment => Counter::WireFragment,
        WireError::IpExtension => Counter::WireIpExtension,
        WireError::NotUdp => Counter::WireNotUdp,
        WireError::UdpLength => Counter::WireUdpLength,
        WireError::UdpNoChecksum => Counter::WireUdpNoChecksum,
        WireError::SourceNotHost => Counter::WireSourceNotHost,
    }
}

/// The outcome of a media packet that is not forwarded.
#[must_use]
pub const fn media_drop(reason: MediaDrop) -> Counter {
    match reason {
        MediaDrop::PortClosed => Counter::MediaPortClosed,
        MediaDrop::SourceUnset => Counter::MediaSourceUnset,
        MediaDrop::SourceUnknown => Counter::MediaSourceUnknown,
        MediaDrop::TooShort => Counter::MediaTooShort,
        MediaDrop::Stun => Counter::MediaStun,
        MediaDrop::Zrtp => Counter::MediaZrtp,
        MediaDrop::Dtls => Counter::MediaDtls,
        MediaDrop::TurnChannel => Counter::MediaTurnChannel,
        MediaDrop::NotRtp => Counter::MediaNotRtp,
        MediaDrop::PayloadType => Counter::MediaPayloadType,
        MediaDrop::RtcpOnRtpPort => Counter::MediaRtcpOnRtpPort,
        MediaDrop::RtpOnRtcpPort => Counter::MediaRtpOnRtcpPort,
        MediaDrop::NoDestination => Counter::MediaNoDestination,
        MediaDrop::NoRoute => Counter::MediaNoRoute,
        MediaDrop::OtherInterface => Counter::MediaOtherInterface,
        MediaDrop::LinkDown => Counter::MediaLinkDown,
        MediaDrop::NoNeighbour => Counter::MediaNoNeighbour,
        MediaDrop::OwnAddress => Counter::MediaOwnAddress,
        MediaDrop::JoinedTwice => Counter::MediaJoinedTwice,
        MediaDrop::NotUnicast => Counter::MediaNotUnicast,
        MediaDrop::TooLarge => Counter::MediaTooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_the_counter_of_its_name() {
        for error in WireError::ALL {
            assert_eq!(wire_drop(error).info().name, error.name());
        }
        for reason in MediaDrop::ALL {
            assert_eq!(media_drop(reason).info().name, reason.name());
        }
    }
}
