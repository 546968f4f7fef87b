//! Why the relay drops a packet: one name each.

/// The end of a media packet that is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MediaDrop {
    /// No flow is open on the port.
    PortClosed,
    /// The flow does not know yet who may send to it.
    SourceUnset,
    /// A stranger sent to an open port.
    SourceUnknown,
    /// Too short to be RTP or RTCP.
    TooShort,
    /// STUN, which is not relayed.
    Stun,
    /// ZRTP, which is not relayed.
    Zrtp,
    /// DTLS, which is not relayed.
    Dtls,
    /// A TURN channel, which is not relayed.
    TurnChannel,
    /// Not RTP or RTCP version 2, and nothing else that shares a media port.
    NotRtp,
    /// RTP with a payload type that the m= line does not name.
    PayloadType,
    /// RTCP on an RTP port without a=rtcp-mux.
    RtcpOnRtpPort,
    /// RTP on an RTCP port.
    RtpOnRtcpPort,
    /// The other side is on hold, or has not said where it receives.
    NoDestination,
    /// No route to the destination.
    NoRoute,
    /// The route leaves by an interface that we do not drive.
    OtherInterface,
    /// The interface that the route names is down.
    LinkDown,
    /// The next station's address is not known yet; it is asked for.
    NoNeighbour,
    /// The destination is one of this host's own addresses, and no relay port.
    OwnAddress,
    /// The destination is a relay port whose own destination is one of this host's addresses.
    JoinedTwice,
    /// The destination is multicast, broadcast or no host.
    NotUnicast,
    /// Longer than the MTU of the interface that it would leave by.
    TooLarge,
}

impl MediaDrop {
    /// Every reason, in the order of its value.
    pub const ALL: [MediaDrop; 21] = [
        MediaDrop::PortClosed,
        MediaDrop::SourceUnset,
        MediaDrop::SourceUnknown,
        MediaDrop::TooShort,
        MediaDrop::Stun,
        MediaDrop::Zrtp,
        MediaDrop::Dtls,
        MediaDrop::TurnChannel,
        MediaDrop::NotRtp,
        MediaDrop::PayloadType,
        MediaDrop::RtcpOnRtpPort,
        MediaDrop::RtpOnRtcpPort,
        MediaDrop::NoDestination,
        MediaDrop::NoRoute,
        MediaDrop::OtherInterface,
        MediaDrop::LinkDown,
        MediaDrop::NoNeighbour,
        MediaDrop::OwnAddress,
        MediaDrop::JoinedTwice,
        MediaDrop::NotUnicast,
        MediaDrop::TooLarge,
    ];

    /// The name of the drop reason.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            MediaDrop::PortClosed => "media_port_closed",
            MediaDrop::SourceUnset => "media_source_unset",
            MediaDrop::SourceUnknown => "media_source_unknown",
            MediaDrop::TooShort => "media_too_short",
            MediaDrop::Stun => "media_stun",
            MediaDrop::Zrtp => "media_zrtp",
            MediaDrop::Dtls => "media_dtls",
            MediaDrop::TurnChannel => "media_turn_channel",
            MediaDrop::NotRtp => "media_not_rtp",
            MediaDrop::PayloadType => "media_payload_type",
            MediaDrop::RtcpOnRtpPort => "media_rtcp_on_rtp_port",
            MediaDrop::RtpOnRtcpPort => "media_rtp_on_rtcp_port",
            MediaDrop::NoDestination => "media_no_destination",
            MediaDrop::NoRoute => "media_no_route",
            MediaDrop::OtherInterface => "media_other_interface",
            MediaDrop::LinkDown => "media_link_down",
            MediaDrop::NoNeighbour => "media_no_neighbour",
            MediaDrop::OwnAddress => "media_own_address",
            MediaDrop::JoinedTwice => "media_joined_twice",
            MediaDrop::NotUnicast => "media_not_unicast",
            MediaDrop::TooLarge => "media_too_large",
        }
    }

    /// What the drop reason means, for the operator.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            MediaDrop::PortClosed => "media to a relay port on which no call has a flow",
            MediaDrop::SourceUnset => "media before signalling said who sends it",
            MediaDrop::SourceUnknown => "media from another source than signalling said",
            MediaDrop::TooShort => "media packet too short for an RTP or RTCP header",
            MediaDrop::Stun => "STUN on a media port; ICE is not terminated here",
            MediaDrop::Zrtp => "ZRTP on a media port",
            MediaDrop::Dtls => "DTLS on a media port; DTLS-SRTP is not negotiated here",
            MediaDrop::TurnChannel => "TURN channel data on a media port",
            MediaDrop::NotRtp => "media packet that is not RTP or RTCP version 2",
            MediaDrop::PayloadType => "RTP with a payload type that the receiver did not negotiate",
            MediaDrop::RtcpOnRtpPort => "RTCP on an RTP port whose stream does not multiplex",
            MediaDrop::RtpOnRtcpPort => "RTP, or no known RTCP packet type, on an RTCP port",
            MediaDrop::NoDestination => "media to a side on hold, or one that has not answered yet",
            MediaDrop::NoRoute => "no route to the media destination: see `ip route get`",
            MediaDrop::OtherInterface => {
                "the route to the media destination leaves by an interface that is not configured"
            }
            MediaDrop::LinkDown => "the interface towards the media destination is down",
            MediaDrop::NoNeighbour => {
                "next hop's link address not known yet; it is being asked for"
            }
            MediaDrop::OwnAddress => {
                "media destination is one of this host's addresses, and no relay port"
            }
            MediaDrop::JoinedTwice => {
                "media that would pass through three calls of this box: two are joined"
            }
            MediaDrop::NotUnicast => "media destination is multicast, broadcast or no host",
            MediaDrop::TooLarge => "media packet larger than the MTU of the way out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_order() {
        let mut names: Vec<_> = MediaDrop::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MediaDrop::ALL.len());
        let in_order = |(at, reason): (usize, &MediaDrop)| *reason as usize == at;
        assert!(MediaDrop::ALL.iter().enumerate().all(in_order));
    }
}
