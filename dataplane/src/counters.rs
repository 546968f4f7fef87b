//! The one table of what a worker counts: name, kind and help of each.
//!
//! `trunkctl`, the metrics and the manual all read this table. A worker owns its
//! [`Counters`] as plain integers and copies them to [`Published`] when it keeps
//! house; other threads read only the copy.
//!
//! Two sums hold at rest (see [`Counters::unbalanced`]):
//! what came in = Σ outcomes, and what was to be sent = sent + handed to the kernel + not
//! sent, both by reason.

pub mod trunks;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// What a count means, and in which sum it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A way in: from a ring, a mailbox, the kernel's sockets or ourselves.
    In,
    /// An outcome: it went on to where it was meant to go.
    Forwarded,
    /// An outcome: we answered it ourselves.
    Answered,
    /// An outcome: it had done its work here.
    Absorbed,
    /// An outcome: copied into the mailbox of the worker that owns its call.
    HandedOver,
    /// An outcome: dropped for the reason that the name gives.
    Dropped,
    /// A SIP message that the worker set out to send.
    ToSend,
    /// A SIP message that reached a transmit ring, or a listen of our own.
    Sent,
    /// A SIP message handed to control, to leave by the kernel's socket of its listen, for
    /// the reason that the name gives.
    ByKernel,
    /// A SIP message that was not sent, for the reason that the name gives.
    Unsent,
    /// Something that happened; in no sum.
    Event,
    /// A level at this moment.
    Gauge,
}

impl Kind {
    /// True for the ways in which a frame can end.
    #[must_use]
    pub const fn is_outcome(self) -> bool {
        matches!(
            self,
            Kind::Forwarded | Kind::Answered | Kind::Absorbed | Kind::HandedOver | Kind::Dropped
        )
    }

    /// True for what can become of a SIP message that was to be sent.
    #[must_use]
    pub const fn is_disposal(self) -> bool {
        matches!(self, Kind::Sent | Kind::ByKernel | Kind::Unsent)
    }

    /// What a person calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::In => "in",
            Kind::Forwarded => "forwarded",
            Kind::Answered => "answered",
            Kind::Absorbed => "absorbed",
            Kind::HandedOver => "handed over",
            Kind::Dropped => "dropped",
            Kind::ToSend => "to send",
            Kind::Sent => "sent",
            Kind::ByKernel => "by kernel",
            Kind::Unsent => "not sent",
            Kind::Event => "event",
            Kind::Gauge => "now",
        }
    }
}

/// Where in a worker something is counted: how a person's list is grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Frames between the kernel and the worker.
    Rings,
    /// Headers below SIP and media.
    Network,
    /// Between the threads.
    Mail,
    /// Signalling.
    Sip,
    /// Media.
    Media,
    /// The worker itself.
    Worker,
}

impl Stage {
    /// Every stage, in the order in which a frame meets them.
    pub const ALL: [Stage; 6] = [
        Stage::Rings,
        Stage::Network,
        Stage::Mail,
        Stage::Sip,
        Stage::Media,
        Stage::Worker,
    ];

    /// What a person calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Rings => "rings",
            Stage::Network => "network",
            Stage::Mail => "mail",
            Stage::Sip => "SIP",
            Stage::Media => "media",
            Stage::Worker => "worker",
        }
    }
}

/// How the names of a stage's counters begin; the first that fits decides.
const STAGES: [(&str, Stage); 39] = [
    ("sip_mailbox", Stage::Mail),
    ("mail", Stage::Mail),
    ("kernel", Stage::Mail),
    ("own", Stage::Mail),
    ("flow_mails", Stage::Mail),
    ("reports", Stage::Mail),
    ("question", Stage::Mail),
    ("rx", Stage::Rings),
    ("tx", Stage::Rings),
    ("frames", Stage::Rings),
    ("wire", Stage::Network),
    ("sip", Stage::Sip),
    ("icmp", Stage::Sip),
    ("self", Stage::Sip),
    ("request", Stage::Sip),
    ("response", Stage::Sip),
    ("retransmission", Stage::Sip),
    ("transaction", Stage::Sip),
    ("transport", Stage::Sip),
    ("path_mtu", Stage::Sip),
    ("calls", Stage::Sip),
    ("contexts", Stage::Sip),
    ("late_answers", Stage::Sip),
    ("dialogs", Stage::Sip),
    ("byes", Stage::Sip),
    ("sessions", Stage::Sip),
    ("auth", Stage::Sip),
    ("bans", Stage::Sip),
    ("places", Stage::Sip),
    ("tickets", Stage::Sip),
    ("bindings", Stage::Sip),
    ("registrations", Stage::Sip),
    ("kept", Stage::Sip),
    ("media", Stage::Media),
    ("rtp", Stage::Media),
    ("rtcp", Stage::Media),
    ("flows", Stage::Media),
    ("sdp", Stage::Media),
    ("", Stage::Worker),
];

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Which count this row describes.
    pub counter: Counter,
    /// Its name in every output.
    pub name: &'static str,
    /// What it means for the sums.
    pub kind: Kind,
    /// What a person should know about it, in one sentence.
    pub help: &'static str,
}

/// Everything a worker counts. The order is that of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // The help text of each stands in TABLE.
pub enum Counter {
    Rx,
    MailIn,
    KernelIn,
    OwnIn,

    SipForwarded,
    RtpForwarded,
    RtcpForwarded,
    SipAnswered,
    SipAbsorbed,
    SipParked,
    SipKeepalive,
    SipStunAnswered,
    MailedToOwner,

    WireTooShort,
    WireNotIp,
    WireIpVersion,
    WireIpHeaderLength,
    WireIpChecksum,
    WireIpLength,
    WireFragment,
    WireIpExtension,
    WireNotUdp,
    WireUdpLength,
    WireUdpNoChecksum,
    WireSourceNotHost,
    WireVlan,
    WireNotOurs,
    SipUdpChecksum,
    SipMalformed,
    SipStun,
    SipSourceUnknown,
    SipAuthFlood,
    SipBanned,
    SipOverRate,
    SipSourceOurs,
    SipBranchForged,
    SipBranchStale,
    SipStrayResponse,
    SipStrayAck,
    SipMailboxFull,
    SipTooLong,
    SipNotRoutable,
    MediaPortClosed,
    MediaSourceUnset,
    MediaSourceUnknown,
    MediaTooShort,
    MediaStun,
    MediaZrtp,
    MediaDtls,
    MediaTurnChannel,
    MediaNotRtp,
    MediaPayloadType,
    MediaRtcpOnRtpPort,
    MediaRtpOnRtcpPort,
    MediaNoDestination,
    MediaNoRoute,
    MediaOtherInterface,
    MediaLinkDown,
    MediaNoNeighbour,
    MediaOwnAddress,
    MediaJoinedTwice,
    MediaNotUnicast,
    MediaTooLarge,
    MediaTxFull,

    SipToSend,
    SipSent,
    SipToOwnListen,
    SipNoNeighbour,
    SipOverMtu,
    SipPathMtu,
    SipOtherInterface,
    SipOwnAddress,
    SipNoRoute,
    SipLinkDown,
    SipNotUnicast,
    SipNoFrame,
    SipTxFull,
    SipKernelFull,
    SipOwnFull,

    Requests,
    Responses,
    StatelessRequests,
    StatelessResponses,
    Retransmissions,
    RetransmissionsAbsorbed,
    TransactionTimeouts,
    TransportErrors,
    PathMtuErrors,
    IcmpLate,
    TransactionsRefused,
    CallsStarted,
    CallsAnswered,
    CallsEnded,
    CallsFailed,
    CallsRefused,
    CallsOverLimit,
    DialogsRefused,
    ContextsRefused,
    LateAnswersEnded,
    DialogsUnkept,
    CallsPutDown,
    ByesSent,
    ByesUnsent,
    SessionsExpired,
    SessionsTooSmall,
    FlowsOpened,
    FlowsClosed,
    FlowsClosedWithDrops,
    MediaPortsExhausted,
    OffersRefused,
    KeptExhausted,
    ReportsLost,
    QuestionMailsLost,
    FlowMailsDelayed,
    FlowMailsLost,
    CapturesLost,
    SdpUnusable,
    Turns,
    Sleeps,
    BusyNs,

    AuthChallenges,
    AuthStale,
    AuthGranted,
    AuthFailures,
    AuthReplays,
    AuthQuestions,
    AuthUnavailable,
    BansAdded,
    BansExpired,
    BansRemoved,
    BansSpared,
    BansDisplaced,
    TicketsRefused,
    TicketsLate,
    BindingsAdded,
    BindingsRefreshed,
    BindingsMoved,
    BindingsRemoved,
    BindingsExpired,
    BindingsRefused,
    KeepalivesSent,
    BindingsRestored,
    BindingsUnrestored,
    BindingsWithdrawn,
    BindingsTold,
    BindingsUntold,
    LocationQuestions,
    LocationUnavailable,
    RegistrationsRefused,
    RegistersForwarded,
    RegistersSpared,
    PathsIgnored,
    FlowsForged,
    FlowsFailed,
    UnregisteredRefused,
    TransactionsNow,
    CallsNow,
    ContextsNow,
    TicketsNow,
    BindingsNow,
    BansNow,
    PlacesNow,
    BindingsToTell,
    FlowsNow,
    KeptNow,
    KeptBytesNow,
    FramesTotal,
    FramesFree,
    FramesFill,
    FramesHeld,
    FramesRx,
    FramesTx,
    FramesCompletion,
}

/// How many counters there are.
pub const COUNT: usize = TABLE.len();

const fn row(counter: Counter, name: &'static str, kind: Kind, help: &'static str) -> Info {
    Info {
        counter,
        name,
        kind,
        help,
    }
}

/// The one table.
#[rustfmt::skip]
pub const TABLE: &[Info] = &[
    row(Counter::Rx, "rx", Kind::In, "Frames taken off the receive rings."),
    row(Counter::MailIn, "mail_in", Kind::In, "SIP messages that another worker received and handed over."),
    row(Counter::KernelIn, "kernel_in", Kind::In, "SIP messages that reached the kernel's sockets and were handed over by control."),
    row(Counter::OwnIn, "own_in", Kind::In, "SIP messages that this worker itself sent to a listen of this box."),

    row(Counter::SipForwarded, "sip_forwarded", Kind::Forwarded, "SIP messages forwarded to their next hop."),
    row(Counter::RtpForwarded, "rtp_forwarded", Kind::Forwarded, "RTP packets rewritten and forwarded."),
    row(Counter::RtcpForwarded, "rtcp_forwarded", Kind::Forwarded, "RTCP packets rewritten and forwarded."),
    row(Counter::SipAnswered, "sip_answered", Kind::Answered, "SIP requests answered by the box itself."),
    row(Counter::SipAbsorbed, "sip_absorbed", Kind::Absorbed, "SIP messages that ended in a transaction here: retransmissions, 100s, ACKs to failures, answers to our CANCEL."),
    row(Counter::SipParked, "sip_parked", Kind::Absorbed, "SIP requests that wait for something outside, each in its transaction."),
    row(Counter::SipKeepalive, "sip_keepalive", Kind::Absorbed, "Keepalives on a SIP port that want no answer: datagrams of nothing but line ends or NULs, and STUN indications."),
    row(Counter::SipStunAnswered, "sip_stun_answered", Kind::Answered, "STUN Binding requests on a SIP port, the keepalives of user agents behind NATs, answered."),
    row(Counter::MailedToOwner, "mailed_to_owner", Kind::HandedOver, "SIP messages copied to the worker that owns their call."),

    row(Counter::WireTooShort, "wire_too_short", Kind::Dropped, "Frame shorter than its Ethernet, IP and UDP headers."),
    row(Counter::WireNotIp, "wire_not_ip", Kind::Dropped, "Frame whose EtherType is neither IPv4 nor IPv6."),
    row(Counter::WireIpVersion, "wire_ip_version", Kind::Dropped, "EtherType of one IP version, header of another."),
    row(Counter::WireIpHeaderLength, "wire_ip_header_length", Kind::Dropped, "IPv4 header with options, or shorter than 20 bytes."),
    row(Counter::WireIpChecksum, "wire_ip_checksum", Kind::Dropped, "IPv4 header checksum that does not hold."),
    row(Counter::WireIpLength, "wire_ip_length", Kind::Dropped, "IP length that the frame does not hold."),
    row(Counter::WireFragment, "wire_fragment", Kind::Dropped, "Fragment of an IP datagram."),
    row(Counter::WireIpExtension, "wire_ip_extension", Kind::Dropped, "IPv6 packet with an extension header."),
    row(Counter::WireNotUdp, "wire_not_udp", Kind::Dropped, "IP packet that is not UDP."),
    row(Counter::WireUdpLength, "wire_udp_length", Kind::Dropped, "UDP length that the IP packet does not hold."),
    row(Counter::WireUdpNoChecksum, "wire_udp_no_checksum", Kind::Dropped, "UDP over IPv6 without a checksum, which RFC 8200 forbids."),
    row(Counter::WireSourceNotHost, "wire_source_not_host", Kind::Dropped, "Source address that no host can have."),
    row(Counter::WireVlan, "wire_vlan", Kind::Dropped, "Frame with VLAN tags, or without, as no interface of the device has them."),
    row(Counter::WireNotOurs, "wire_not_ours", Kind::Dropped, "UDP datagrams to an address and port that are neither a listen nor a media range."),
    row(Counter::SipUdpChecksum, "sip_udp_checksum", Kind::Dropped, "SIP datagrams with a wrong UDP checksum."),
    row(Counter::SipMalformed, "sip_malformed", Kind::Dropped, "Datagrams on a SIP port that are not a SIP message."),
    row(Counter::SipStun, "sip_stun", Kind::Dropped, "Datagrams on a SIP port that look like STUN and are no Binding request, or come from where nobody has registered."),
    row(Counter::SipSourceUnknown, "sip_source_unknown", Kind::Dropped, "Requests from an address that belongs to no trunk."),
    row(Counter::SipAuthFlood, "sip_auth_flood", Kind::Dropped, "SIP request with wrong credentials, while half of all tickets are of such."),
    row(Counter::SipBanned, "sip_banned", Kind::Dropped, "Datagrams on a SIP port from a source that is banned, see `trunkctl bans`."),
    row(Counter::SipOverRate, "sip_over_rate", Kind::Dropped, "Datagrams on a SIP port beyond what is taken from an address that is no trunk and from which nobody is registered."),
    row(Counter::SipSourceOurs, "sip_source_ours", Kind::Dropped, "SIP datagrams off the wire whose source is an address of this host: forged, since what the box sends to itself leaves by no wire."),
    row(Counter::SipBranchForged, "sip_branch_forged", Kind::Dropped, "Responses whose top Via is not one that this box signed."),
    row(Counter::SipBranchStale, "sip_branch_stale", Kind::Dropped, "Responses to a transaction of an earlier start of this box."),
    row(Counter::SipStrayResponse, "sip_stray_response", Kind::Dropped, "Responses whose transaction has ended; RFC 6026 forbids forwarding them."),
    row(Counter::SipStrayAck, "sip_stray_ack", Kind::Dropped, "ACKs that belong to no transaction and no call of ours."),
    row(Counter::SipMailboxFull, "sip_mailbox_full", Kind::Dropped, "SIP messages for another worker whose mailbox was full."),
    row(Counter::SipTooLong, "sip_too_long", Kind::Dropped, "SIP messages that would outgrow a datagram when forwarded."),
    row(Counter::SipNotRoutable, "sip_not_routable", Kind::Dropped, "Responses and ACKs that name no address we could send to."),
    row(Counter::MediaPortClosed, "media_port_closed", Kind::Dropped, "Media to a relay port on which no call has a flow."),
    row(Counter::MediaSourceUnset, "media_source_unset", Kind::Dropped, "Media before signalling said who sends it."),
    row(Counter::MediaSourceUnknown, "media_source_unknown", Kind::Dropped, "Media from another source than signalling said."),
    row(Counter::MediaTooShort, "media_too_short", Kind::Dropped, "Media packet too short for an RTP or RTCP header."),
    row(Counter::MediaStun, "media_stun", Kind::Dropped, "STUN on a media port; ICE is not terminated here."),
    row(Counter::MediaZrtp, "media_zrtp", Kind::Dropped, "ZRTP on a media port."),
    row(Counter::MediaDtls, "media_dtls", Kind::Dropped, "DTLS on a media port; DTLS-SRTP is not negotiated here."),
    row(Counter::MediaTurnChannel, "media_turn_channel", Kind::Dropped, "TURN channel data on a media port."),
    row(Counter::MediaNotRtp, "media_not_rtp", Kind::Dropped, "Media packet that is not RTP or RTCP version 2."),
    row(Counter::MediaPayloadType, "media_payload_type", Kind::Dropped, "RTP with a payload type that the receiver did not negotiate."),
    row(Counter::MediaRtcpOnRtpPort, "media_rtcp_on_rtp_port", Kind::Dropped, "RTCP on an RTP port whose stream does not multiplex."),
    row(Counter::MediaRtpOnRtcpPort, "media_rtp_on_rtcp_port", Kind::Dropped, "RTP, or no known RTCP packet type, on an RTCP port."),
    row(Counter::MediaNoDestination, "media_no_destination", Kind::Dropped, "Media to a side on hold, or one that has not answered yet."),
    row(Counter::MediaNoRoute, "media_no_route", Kind::Dropped, "No route to the media destination: see `ip route get`."),
    row(Counter::MediaOtherInterface, "media_other_interface", Kind::Dropped, "The route to the media destination leaves by an interface that is not configured."),
    row(Counter::MediaLinkDown, "media_link_down", Kind::Dropped, "The interface towards the media destination is down."),
    row(Counter::MediaNoNeighbour, "media_no_neighbour", Kind::Dropped, "Next hop's link address not known yet; it is being asked for."),
    row(Counter::MediaOwnAddress, "media_own_address", Kind::Dropped, "Media destination is one of this host's addresses, and no relay port."),
    row(Counter::MediaJoinedTwice, "media_joined_twice", Kind::Dropped, "Media that would pass through three calls of this box: two are joined."),
    row(Counter::MediaNotUnicast, "media_not_unicast", Kind::Dropped, "Media destination is multicast, broadcast or no host."),
    row(Counter::MediaTooLarge, "media_too_large", Kind::Dropped, "Media packet larger than the MTU of the way out."),
    row(Counter::MediaTxFull, "media_tx_full", Kind::Dropped, "Media packets for which the transmit ring had no room."),

    row(Counter::SipToSend, "sip_to_send", Kind::ToSend, "SIP messages that were to be sent: forwarded, answered, retransmitted or our own."),
    row(Counter::SipSent, "sip_sent", Kind::Sent, "SIP messages put on a transmit ring."),
    row(Counter::SipToOwnListen, "sip_to_own_listen", Kind::Sent, "SIP messages whose next hop is a listen of this box: they come in again without having left."),
    row(Counter::SipNoNeighbour, "sip_no_neighbour", Kind::ByKernel, "SIP messages whose next hop has no known link-layer address yet: the kernel sends them once it has found it."),
    row(Counter::SipOverMtu, "sip_over_mtu", Kind::ByKernel, "SIP messages larger than one packet of the way out: the kernel sends them in fragments."),
    row(Counter::SipPathMtu, "sip_path_mtu", Kind::ByKernel, "SIP messages that a router on the way found too large: the kernel sends them again in fragments."),
    row(Counter::SipOtherInterface, "sip_other_interface", Kind::ByKernel, "SIP messages whose route leaves by an interface that the configuration does not name: the kernel sends them there."),
    row(Counter::SipOwnAddress, "sip_own_address", Kind::ByKernel, "SIP messages to an address of this host that is no listen: the kernel hands them to the program that listens there."),
    row(Counter::SipNoRoute, "sip_no_route", Kind::Unsent, "SIP messages without a route."),
    row(Counter::SipLinkDown, "sip_link_down", Kind::Unsent, "SIP messages whose way out is down."),
    row(Counter::SipNotUnicast, "sip_not_unicast", Kind::Unsent, "SIP messages to an address that is no host's."),
    row(Counter::SipNoFrame, "sip_no_frame", Kind::Unsent, "SIP messages for which no frame was free."),
    row(Counter::SipTxFull, "sip_tx_full", Kind::Unsent, "SIP messages for which the transmit ring had no room."),
    row(Counter::SipKernelFull, "sip_kernel_full", Kind::Unsent, "SIP messages for the kernel to send that found no room on the way to control."),
    row(Counter::SipOwnFull, "sip_own_full", Kind::Unsent, "SIP messages to a listen of this box for which too many waited already."),

    row(Counter::Requests, "requests", Kind::Event, "Well-formed SIP requests taken up by this worker."),
    row(Counter::Responses, "responses", Kind::Event, "SIP responses matched to a transaction, or to a request that went on without state."),
    row(Counter::StatelessRequests, "stateless_requests", Kind::Event, "Requests sent on without state, since their listen or route keeps none."),
    row(Counter::StatelessResponses, "stateless_responses", Kind::Event, "Responses to such requests, sent on."),
    row(Counter::Retransmissions, "retransmissions", Kind::Event, "SIP messages sent again by a timer or for a repeated request."),
    row(Counter::RetransmissionsAbsorbed, "retransmissions_absorbed", Kind::Event, "Repeated SIP requests that were recognised and not forwarded again."),
    row(Counter::TransactionTimeouts, "transaction_timeouts", Kind::Event, "Forwarded requests that no one answered in time."),
    row(Counter::TransportErrors, "transport_errors", Kind::Event, "Forwarded requests given up because ICMP said that nobody takes them; the caller gets a 500 (RFC 3261 §16.9)."),
    row(Counter::PathMtuErrors, "path_mtu_errors", Kind::Event, "Forwarded requests that ICMP said were too large for the way; they are sent again in fragments."),
    row(Counter::IcmpLate, "icmp_late", Kind::Event, "ICMP errors for a request that has been answered meanwhile, was sent elsewhere, or is sent in fragments already: no effect."),
    row(Counter::TransactionsRefused, "transactions_refused", Kind::Event, "Requests refused because the transaction table was full."),
    row(Counter::CallsStarted, "calls_started", Kind::Event, "INVITEs that began a call."),
    row(Counter::CallsAnswered, "calls_answered", Kind::Event, "Calls answered with a 2xx."),
    row(Counter::CallsEnded, "calls_ended", Kind::Event, "Answered calls that ended."),
    row(Counter::CallsFailed, "calls_failed", Kind::Event, "Calls that ended without an answer: busy, cancelled, timed out."),
    row(Counter::CallsRefused, "calls_refused", Kind::Event, "Calls refused because the call table was full."),
    row(Counter::CallsOverLimit, "calls_over_limit", Kind::Event, "INVITEs answered 403 because their subscriber had as many calls as its domain allows."),
    row(Counter::DialogsRefused, "dialogs_refused", Kind::Event, "Dialogs beyond those of a call that are kept, or with the tags of another call's: routed, but no part of the call."),
    row(Counter::ContextsRefused, "contexts_refused", Kind::Event, "Requests with several targets refused because the table of response contexts was full."),
    row(Counter::LateAnswersEnded, "late_answers_ended", Kind::Event, "Answers of a target that had been given up, which the box acknowledged and ended with a BYE."),
    row(Counter::DialogsUnkept, "dialogs_unkept", Kind::Event, "Calls of whose dialog too little could be kept: they go on, but the box cannot end them with a BYE."),
    row(Counter::CallsPutDown, "calls_put_down", Kind::Event, "Calls that the box ended: their session was not refreshed, or they had lasted for 12 hours."),
    row(Counter::ByesSent, "byes_sent", Kind::Event, "BYEs of the box itself, one to each party of a call that it ended."),
    row(Counter::ByesUnsent, "byes_unsent", Kind::Event, "BYEs that the box could not send to a party of a call that it ended."),
    row(Counter::SessionsExpired, "sessions_expired", Kind::Event, "Sessions that were not refreshed in time (RFC 4028): their calls are put down."),
    row(Counter::SessionsTooSmall, "sessions_too_small", Kind::Event, "Requests answered with 422: they asked for a shorter session interval than the least that is set."),
    row(Counter::FlowsOpened, "flows_opened", Kind::Event, "Media flows opened in this worker's table."),
    row(Counter::FlowsClosed, "flows_closed", Kind::Event, "Media flows closed in this worker's table."),
    row(Counter::FlowsClosedWithDrops, "flows_closed_with_drops", Kind::Event, "Closed media flows of which this worker dropped at least one packet."),
    row(Counter::MediaPortsExhausted, "media_ports_exhausted", Kind::Event, "Calls refused because no media port was free."),
    row(Counter::OffersRefused, "offers_refused", Kind::Event, "Offers of media refused because the tables of streams and offers were full, the call had too many unanswered, or their dialog is no part of a call."),
    row(Counter::KeptExhausted, "kept_exhausted", Kind::Event, "Messages that could not be kept for retransmission because the slab was full."),
    row(Counter::ReportsLost, "reports_lost", Kind::Event, "Reports to control that found no room."),
    row(Counter::QuestionMailsLost, "question_mails_lost", Kind::Event, "Questions between workers, and answers, that found the mailbox full: a nonce's use could not be looked up."),
    row(Counter::FlowMailsDelayed, "flow_mails_delayed", Kind::Event, "Flow changes that found another worker's mailbox full and reach it a turn or more later, perhaps after the first packets of their flow."),
    row(Counter::FlowMailsLost, "flow_mails_lost", Kind::Event, "Flow changes that another worker never got, since it did not turn for too long."),
    row(Counter::CapturesLost, "captures_lost", Kind::Event, "Copies of packets for a capture that found no room; the packets themselves went their way."),
    row(Counter::SdpUnusable, "sdp_unusable", Kind::Event, "Offers or answers whose media could not be anchored; requests with one are refused with 488."),
    row(Counter::Turns, "turns", Kind::Event, "Turns of the worker's loop."),
    row(Counter::Sleeps, "sleeps", Kind::Event, "Times the worker slept (adaptive polling)."),
    row(Counter::BusyNs, "busy_ns", Kind::Event, "Nanoseconds spent in turns that found work."),

    row(Counter::AuthChallenges, "auth_challenges", Kind::Event, "Challenges to subscribers: no credentials, credentials that are wrong, or a nonce that is no good any more."),
    row(Counter::AuthStale, "auth_stale", Kind::Event, "Challenges that said that the password was not the matter: the nonce was too old, of an earlier start, of another address, or used before."),
    row(Counter::AuthGranted, "auth_granted", Kind::Event, "Requests whose sender has proved to be the subscriber that it says it is."),
    row(Counter::AuthFailures, "auth_failures", Kind::Event, "Requests with a good nonce and a wrong password, or of a user that does not exist."),
    row(Counter::AuthReplays, "auth_replays", Kind::Event, "Requests with the right password and a nonce count that had been used before: repeated by somebody, or a client that does not count."),
    row(Counter::AuthQuestions, "auth_questions", Kind::Event, "Questions to the store of subscribers, those in the background included."),
    row(Counter::AuthUnavailable, "auth_unavailable", Kind::Event, "Requests answered 503 because the store could not be asked."),
    row(Counter::BansAdded, "bans_added", Kind::Event, "Sources banned: too many failures to authenticate, and no live contact from there."),
    row(Counter::BansExpired, "bans_expired", Kind::Event, "Bans that have ended in their time."),
    row(Counter::BansRemoved, "bans_removed", Kind::Event, "Bans that the operator has lifted."),
    row(Counter::BansSpared, "bans_spared", Kind::Event, "Sources with as many failures as a banned one that were not banned, or no longer, because a contact was registered from there."),
    row(Counter::BansDisplaced, "bans_displaced", Kind::Event, "Bans that ended before their time because there was no room for another one."),
    row(Counter::TicketsRefused, "tickets_refused", Kind::Event, "Requests refused because too many were waiting for something outside."),
    row(Counter::TicketsLate, "tickets_late", Kind::Event, "Requests answered 504 because what they waited for did not come in time."),
    row(Counter::BindingsAdded, "bindings_added", Kind::Event, "Contacts that users have registered, those that were there already not counted."),
    row(Counter::BindingsRefreshed, "bindings_refreshed", Kind::Event, "Contacts that were registered again as they were."),
    row(Counter::BindingsMoved, "bindings_moved", Kind::Event, "Contacts that were registered again from another address, or with other parameters or another path."),
    row(Counter::BindingsRemoved, "bindings_removed", Kind::Event, "Contacts that were unregistered."),
    row(Counter::BindingsExpired, "bindings_expired", Kind::Event, "Contacts that were not registered again in time."),
    row(Counter::BindingsRefused, "bindings_refused", Kind::Event, "REGISTERs refused because the table of contacts was full; or, before a registrar elsewhere, granted there and not known here."),
    row(Counter::KeepalivesSent, "keepalives_sent", Kind::Event, "Keepalives sent to contacts behind NATs."),
    row(Counter::BindingsRestored, "bindings_restored", Kind::Event, "Contacts that the location store has given back, or another box has written there."),
    row(Counter::BindingsUnrestored, "bindings_unrestored", Kind::Event, "Contacts of the location store that found no room here: raise [capacity] bindings."),
    row(Counter::BindingsWithdrawn, "bindings_withdrawn", Kind::Event, "Contacts that were unregistered at another box that shares the location store."),
    row(Counter::BindingsTold, "bindings_told", Kind::Event, "Changes of contacts handed over to be written to the location store."),
    row(Counter::BindingsUntold, "bindings_untold", Kind::Event, "Contacts whose removal could not be handed over, since too many waited: after a restart they are back until their time is over."),
    row(Counter::LocationQuestions, "location_questions", Kind::Event, "Users without contacts here for whom the location store was asked."),
    row(Counter::LocationUnavailable, "location_unavailable", Kind::Event, "Requests to such users that were answered 503 because the location store could not be asked."),
    row(Counter::RegistrationsRefused, "registrations_refused", Kind::Event, "REGISTERs of authenticated users that could not be done as they asked: too brief, out of order, too many contacts, no room."),
    row(Counter::RegistersForwarded, "registers_forwarded", Kind::Event, "REGISTERs sent on, with a Path of ours, to the registrar of their domain elsewhere."),
    row(Counter::RegistersSpared, "registers_spared", Kind::Event, "REGISTERs answered here since the registrar elsewhere had bound their contacts for long enough."),
    row(Counter::PathsIgnored, "paths_ignored", Kind::Event, "2xx to REGISTERs sent on that do not repeat our Path: that registrar will not send calls by it."),
    row(Counter::FlowsForged, "flows_forged", Kind::Event, "Requests of a registrar elsewhere refused with 403: their Route has a flow that we did not sign, or one of another registrar's domain."),
    row(Counter::FlowsFailed, "flows_failed", Kind::Event, "Requests of a registrar elsewhere refused with 430: the domain of their flow is not its own any more."),
    row(Counter::UnregisteredRefused, "unregistered_refused", Kind::Event, "Requests refused with 403 since their sender has not registered from there at the registrar elsewhere."),
    row(Counter::TransactionsNow, "transactions_now", Kind::Gauge, "Transactions alive, lingering ones included."),
    row(Counter::CallsNow, "calls_now", Kind::Gauge, "Calls alive."),
    row(Counter::ContextsNow, "contexts_now", Kind::Gauge, "Requests with several targets that await their final answer."),
    row(Counter::TicketsNow, "tickets_now", Kind::Gauge, "Requests that wait for something outside."),
    row(Counter::BindingsNow, "bindings_now", Kind::Gauge, "Contacts of users."),
    row(Counter::BansNow, "bans_now", Kind::Gauge, "Sources that are banned."),
    row(Counter::PlacesNow, "places_now", Kind::Gauge, "Calls that subscribers have begun, and INVITEs of theirs, which count towards the limit of their domain."),
    row(Counter::BindingsToTell, "bindings_to_tell", Kind::Gauge, "Changes of contacts that wait to be handed over to be written."),
    row(Counter::FlowsNow, "flows_now", Kind::Gauge, "Media flows open in this worker's table."),
    row(Counter::KeptNow, "kept_now", Kind::Gauge, "Messages kept for retransmission."),
    row(Counter::KeptBytesNow, "kept_bytes_now", Kind::Gauge, "Bytes that kept messages take, with what their pieces have to spare."),
    row(Counter::FramesTotal, "frames_total", Kind::Gauge, "Frames of this worker's UMEM."),
    row(Counter::FramesFree, "frames_free", Kind::Gauge, "Frames in the pool."),
    row(Counter::FramesFill, "frames_fill", Kind::Gauge, "Frames given to the kernel to receive into."),
    row(Counter::FramesHeld, "frames_held", Kind::Gauge, "Frames in the worker's hands."),
    row(Counter::FramesRx, "frames_rx", Kind::Gauge, "Frames received and waiting in a receive ring."),
    row(Counter::FramesTx, "frames_tx", Kind::Gauge, "Frames given to the kernel to send."),
    row(Counter::FramesCompletion, "frames_completion", Kind::Gauge, "Frames sent and waiting in a completion ring."),
];

impl Info {
    /// Where in a worker this is counted; its name says so.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let found = STAGES
            .iter()
            .find(|(beginning, _)| self.name.starts_with(beginning));
        found.map_or(Stage::Worker, |&(_, stage)| stage)
    }
}

impl Counter {
    /// This counter's row.
    #[must_use]
    pub const fn info(self) -> &'static Info {
        &TABLE[self as usize]
    }
}

/// A worker's own counts.
#[derive(Clone, Debug)]
pub struct Counters([u64; COUNT]);

impl Default for Counters {
    fn default() -> Self {
        Counters([0; COUNT])
    }
}

impl Counters {
    /// Counts one.
    #[inline]
    pub fn count(&mut self, counter: Counter) {
        self.0[counter as usize] += 1;
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&mut self, counter: Counter, n: u64) {
        self.0[counter as usize] += n;
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&mut self, counter: Counter, level: u64) {
        self.0[counter as usize] = level;
    }

    /// The present count.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Adds all of `other`: the counts of several workers in one.
    pub fn merge(&mut self, other: &Counters) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The sum over all counters of the kinds that `wanted` picks.
    #[must_use]
    pub fn sum(&self, wanted: impl Fn(Kind) -> bool) -> u64 {
        TABLE
            .iter()
            .filter(|row| wanted(row.kind))
            .map(|row| self.get(row.counter))
            .sum()
    }

    /// What is wrong with the sums, or `None` where they hold to the frame.
    #[must_use]
    pub fn unbalanced(&self) -> Option<Unbalanced> {
        let came_in = self.sum(|kind| kind == Kind::In);
        let ended = self.sum(Kind::is_outcome);
        let to_send = self.sum(|kind| kind == Kind::ToSend);
        let disposed = self.sum(Kind::is_disposal);
        let frames_total = self.get(Counter::FramesTotal);
        let frames_found = [
            Counter::FramesFree,
            Counter::FramesFill,
            Counter::FramesHeld,
            Counter::FramesRx,
            Counter::FramesTx,
            Counter::FramesCompletion,
        ]
        .into_iter()
        .map(|counter| self.get(counter))
        .sum();
        let sums = Unbalanced {
            came_in,
            ended,
            to_send,
            disposed,
            frames_total,
            frames_found,
        };
        (came_in != ended || to_send != disposed || frames_total != frames_found).then_some(sums)
    }
}

/// Sums that should agree and do not: a bug of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced {
    /// Frames and messages that came in.
    pub came_in: u64,
    /// Σ outcomes.
    pub ended: u64,
    /// SIP messages to be sent.
    pub to_send: u64,
    /// SIP messages sent, handed to the kernel, or not sent by reason.
    pub disposed: u64,
    /// Frames there are.
    pub frames_total: u64,
    /// Frames found in pool, rings and hands.
    pub frames_found: u64,
}

/// The copy of a worker's counts that other threads may read.
///
/// One writer stores with relaxed order, so readers see each count whole, though
/// not all of the same moment; at rest they are.
#[derive(Debug)]
pub struct Published([AtomicU64; COUNT]);

impl Default for Published {
    fn default() -> Self {
        Published([const { AtomicU64::new(0) }; COUNT])
    }
}

impl Published {
    /// Copies the worker's counts here.
    pub fn publish(&self, counters: &Counters) {
        for (cell, count) in self.0.iter().zip(counters.0) {
            cell.store(count, Ordering::Relaxed);
        }
    }

    /// Reads them.
    #[must_use]
    pub fn read(&self) -> Counters {
        let mut counters = Counters::default();
        for (count, cell) in counters.0.iter_mut().zip(&self.0) {
            *count = cell.load(Ordering::Relaxed);
        }
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(
                row.counter as usize, index,
                "{} stands in the wrong row",
                row.name
            );
        }
    }

    #[test]
    fn names_are_unique_and_help_is_a_sentence() {
        let mut names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COUNT);
        assert!(TABLE.iter().all(|row| row.help.ends_with('.')));
    }

    #[test]
    fn a_name_says_its_stage() {
        let stage = |counter: Counter| counter.info().stage();
        assert_eq!(stage(Counter::SipMailboxFull), Stage::Mail);
        assert_eq!(stage(Counter::SipNoRoute), Stage::Sip);
        assert_eq!(stage(Counter::BusyNs), Stage::Worker);
        for stage in Stage::ALL {
            let has = TABLE.iter().filter(|row| row.stage() == stage).count();
            assert!(has >= 3, "{}: {has}", stage.name());
        }
    }

    #[test]
    fn an_uncounted_frame_shows() {
        let mut counters = Counters::default();
        counters.count(Counter::Rx);
        assert!(counters.unbalanced().is_some());
        counters.count(Counter::RtpForwarded);
        assert_eq!(counters.unbalanced(), None);
        counters.count(Counter::SipToSend);
        assert!(counters.unbalanced().is_some());
    }
}
