//! A flow: what signalling said of it, and its entry in the table.

use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;

use super::drop::MediaDrop;
use crate::ids::InterfaceIndex;
use crate::ids::WorkerId;
use crate::wire::ReadyHeaders;
use crate::wire::checksum;

/// The call that a flow belongs to: a slot of its owner's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CallRef {
    /// The worker that owns the call.
    pub owner: WorkerId,
    /// The slot in the owner's table.
    pub slot: u32,
    /// Tells the calls apart that had the slot one after the other.
    pub generation: u32,
}

/// What may pass through a relay port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKind {
    /// RTP alone.
    Rtp,
    /// RTCP alone.
    Rtcp,
    /// Both on one port: a=rtcp-mux (RFC 5761).
    RtpAndRtcp,
}

/// One direction of a media stream through one relay port, as signalling
/// said. The call's owner mails it to every worker before the message leaves
/// that names the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSpec {
    /// Our relay address and port that it arrives on: the key.
    pub local: SocketAddr,
    /// What may pass.
    pub kind: FlowKind,
    /// Who may send to it; `None`: not known yet, nobody.
    pub source: Option<SocketAddr>,
    /// Where it goes; `None`: on hold, or not known yet.
    pub destination: Option<SocketAddr>,
    /// Our relay address and port that it leaves from.
    pub relay: SocketAddr,
    /// Bit n set: RTP payload type n is in the receiver's m= line.
    pub payload_types: u128,
    /// The call it belongs to.
    pub call: CallRef,
}

/// A change of the flow table, on every worker.
#[derive(Clone, Copy, Debug)]
pub enum FlowChange {
    /// Open a flow, or change an open one.
    Open(FlowSpec),
    /// Close a flow.
    Close {
        /// Our relay port.
        local: SocketAddr,
        /// The call that opened it; a later owner of the port is left alone.
        call: CallRef,
    },
}

/// A flow as this worker has seen it. Octets are those of UDP payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowReport {
    /// What signalling said.
    pub spec: FlowSpec,
    /// The interface it leaves by, if a packet has been forwarded since the
    /// flow was opened or updated.
    pub egress: Option<InterfaceIndex>,
    /// Packets that arrived on the port while it was open.
    pub packets_in: u64,
    /// Their octets.
    pub octets_in: u64,
    /// Packets forwarded.
    pub packets_out: u64,
    /// Their octets.
    pub octets_out: u64,
    /// Packets dropped; each also counts under its [`MediaDrop`].
    pub drops: u64,
}

const OPEN: u8 = 1 << 0;
const SOURCE: u8 = 1 << 1;
const DESTINATION: u8 = 1 << 2;
const RTP: u8 = 1 << 3;
const RTCP: u8 = 1 << 4;
/// The headers' stations, `egress`, `mtu` and `epoch` are set.
const RESOLVED: u8 = 1 << 5;

/// A flow table entry: two cache lines, the first read for every packet and
/// written seldom, the second written for every packet.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Flow {
    /// The way out; its addresses are the spec's relay and destination.
    pub(super) headers: ReadyHeaders,
    source: SocketAddrV4,
    /// The network snapshot that the way out was resolved under.
    epoch: u32,
    /// How the UDP checksum changes from source and local to relay and
    /// destination.
    pub(super) checksum_delta: u16,
    /// Sum of the arriving pseudo-header without its length: what a partial
    /// checksum is told by.
    pub(super) pseudo_header_sum: u16,
    /// The longest IP packet that the egress takes.
    pub(super) mtu: u16,
    pub(super) egress: InterfaceIndex,
    flags: u8,
    owner: WorkerId,

    // ---- second cache line ----
    payload_types: u128,
    slot: u32,
    generation: u32,
    pub(super) packets_in: u64,
    pub(super) octets_in: u64,
    pub(super) packets_out: u64,
    pub(super) octets_out: u64,
    pub(super) drops: u64,
}

const _: () = assert!(size_of::<Flow>() == 128);
const _: () = assert!(std::mem::offset_of!(Flow, payload_types) == 64);

const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

impl Flow {
    pub(super) const CLOSED: Flow = Flow {
        headers: ReadyHeaders::BLANK,
        source: NOWHERE,
        epoch: 0,
        checksum_delta: 0,
        pseudo_header_sum: 0,
        mtu: 0,
        egress: InterfaceIndex(0),
        flags: 0,
        owner: WorkerId(0),
        payload_types: 0,
        slot: 0,
        generation: 0,
        packets_in: 0,
        octets_in: 0,
        packets_out: 0,
        octets_out: 0,
        drops: 0,
    };

    /// Takes over what signalling said; the counters go on, and the next
    /// packet resolves the way out.
    pub(super) fn set(&mut self, spec: &FlowSpec) {
        let kind = match spec.kind {
            FlowKind::Rtp => RTP,
            FlowKind::Rtcp => RTCP,
            FlowKind::RtpAndRtcp => RTP | RTCP,
        };
        let source = spec.source.map_or(NOWHERE, v4);
        let destination = spec.destination.map_or(NOWHERE, v4);
        let (local, relay) = (v4(spec.local), v4(spec.relay));
        self.flags = OPEN | kind;
        if spec.source.is_some() {
            self.flags |= SOURCE;
        }
        if spec.destination.is_some() {
            self.flags |= DESTINATION;
        }
        self.headers = ReadyHeaders::new(relay, destination);
        self.source = source;
        self.pseudo_header_sum = checksum::pseudo_header_sum(*source.ip(), *local.ip());
        self.checksum_delta = checksum::delta(
            addresses_sum(source, local),
            addresses_sum(relay, destination),
        );
        self.payload_types = spec.payload_types;
        self.owner = spec.call.owner;
        self.slot = spec.call.slot;
        self.generation = spec.call.generation;
    }

    pub(super) fn is_open(&self) -> bool {
        self.flags & OPEN != 0
    }

    pub(super) fn call(&self) -> CallRef {
        CallRef {
            owner: self.owner,
            slot: self.slot,
            generation: self.generation,
        }
    }

    /// Whether a packet from `src` may pass.
    pub(super) fn check_source(&self, src: SocketAddr) -> Result<(), MediaDrop> {
        if self.flags & SOURCE == 0 {
            return Err(MediaDrop::SourceUnset);
        }
        if SocketAddr::V4(self.source) != src {
            return Err(MediaDrop::SourceUnknown);
        }
        Ok(())
    }

    pub(super) fn takes_rtp(&self) -> bool {
        self.flags & RTP != 0
    }

    pub(super) fn takes_rtcp(&self) -> bool {
        self.flags & RTCP != 0
    }

    /// Whether the receiver negotiated `payload_type`, 0 to 127.
    pub(super) fn negotiated(&self, payload_type: u8) -> bool {
        self.payload_types >> (payload_type & 0x7f) & 1 != 0
    }

    pub(super) fn has_destination(&self) -> bool {
        self.flags & DESTINATION != 0
    }

    /// True if the way out was resolved under the snapshot `epoch`.
    pub(super) fn is_resolved(&self, epoch: u32) -> bool {
        self.flags & RESOLVED != 0 && self.epoch == epoch
    }

    pub(super) fn set_resolved(&mut self, epoch: u32) {
        self.flags |= RESOLVED;
        self.epoch = epoch;
    }

    pub(super) fn set_unresolved(&mut self) {
        self.flags &= !RESOLVED;
    }

    /// The flow as it stands on the port `local`.
    pub(super) fn report(&self, local: SocketAddr) -> FlowReport {
        let kind = match (self.takes_rtp(), self.takes_rtcp()) {
            (true, true) => FlowKind::RtpAndRtcp,
            (true, false) => FlowKind::Rtp,
            (false, _) => FlowKind::Rtcp,
        };
        FlowReport {
            spec: FlowSpec {
                local,
                kind,
                source: (self.flags & SOURCE != 0).then_some(SocketAddr::V4(self.source)),
                destination: self
                    .has_destination()
                    .then(|| SocketAddr::V4(self.headers.dst())),
                relay: SocketAddr::V4(self.headers.src()),
                payload_types: self.payload_types,
                call: self.call(),
            },
            egress: (self.flags & RESOLVED != 0).then_some(self.egress),
            packets_in: self.packets_in,
            octets_in: self.octets_in,
            packets_out: self.packets_out,
            octets_out: self.octets_out,
            drops: self.drops,
        }
    }
}

/// Control refuses addresses of IPv6, and the proxy an SDP with one: none comes here.
fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => NOWHERE,
    }
}

/// The part of the UDP checksum that a pair of addresses and ports makes.
fn addresses_sum(src: SocketAddrV4, dst: SocketAddrV4) -> u16 {
    let ports = checksum::add(src.port(), dst.port());
    checksum::add(checksum::pseudo_header_sum(*src.ip(), *dst.ip()), ports)
}
