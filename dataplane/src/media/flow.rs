//! A flow: what signalling said of it, and its entry in the table.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;

use super::drop::MediaDrop;
use crate::ids::InterfaceIndex;
use crate::ids::WorkerId;
use crate::route::NextHop;
use crate::wire;
use crate::wire::Ethernet;
use crate::wire::ReadyHeaders;
use crate::wire::VlanStack;
use crate::wire::checksum;
use crate::wire::ethernet;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::udp;

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

const OPEN: u16 = 1 << 0;
const SOURCE: u16 = 1 << 1;
const DESTINATION: u16 = 1 << 2;
const RTP: u16 = 1 << 3;
const RTCP: u16 = 1 << 4;
/// The headers' stations, `egress`, `mtu` and `epoch` are set.
const RESOLVED: u16 = 1 << 5;
/// The source's address is of IPv6 and stands in [`Wide`].
const SOURCE_IPV6: u16 = 1 << 6;
/// It leaves over IPv6: relay and destination stand in [`Wide`].
const OUT_IPV6: u16 = 1 << 7;
/// It leaves with tags, which stand in [`Wide`].
const OUT_TAGGED: u16 = 1 << 8;

/// A flow table entry: two cache lines, the first read for every packet and
/// written seldom, the second written for every packet.
///
/// What has no room here because it is of IPv6 or of a VLAN stands in [`Wide`].
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Flow {
    /// The way out over IPv4; its addresses are the spec's relay and destination. Over
    /// IPv6 its stations and ports alone count.
    pub(super) headers: ReadyHeaders,
    /// Who may send; over IPv6 its port alone counts.
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
    flags: u16,
    pub(super) egress: InterfaceIndex,
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

/// The rest of a flow that IPv6 or a VLAN has a part in: a line of its own, in a table
/// beside the first, so that a packet from IPv4 to IPv4 without tags never touches it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Wide {
    source: Ipv6Addr,
    relay: Ipv6Addr,
    destination: Ipv6Addr,
    /// The tags of the egress.
    vlan: VlanStack,
}

const _: () = assert!(size_of::<Wide>() == 64);

impl Wide {
    pub(super) const BLANK: Wide = Wide {
        source: Ipv6Addr::UNSPECIFIED,
        relay: Ipv6Addr::UNSPECIFIED,
        destination: Ipv6Addr::UNSPECIFIED,
        vlan: VlanStack::NONE,
    };
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
    /// packet resolves the way out. A destination of another family than the relay address
    /// is none: nothing can go from the one to the other.
    pub(super) fn set(&mut self, wide: &mut Wide, spec: &FlowSpec) {
        let kind = match spec.kind {
            FlowKind::Rtp => RTP,
            FlowKind::Rtcp => RTCP,
            FlowKind::RtpAndRtcp => RTP | RTCP,
        };
        let destination = spec
            .destination
            .filter(|destination| destination.is_ipv4() == spec.relay.is_ipv4());
        self.flags = OPEN | kind;
        *wide = Wide::BLANK;
        if spec.source.is_some() {
            self.flags |= SOURCE;
        }
        if destination.is_some() {
            self.flags |= DESTINATION;
        }
        let source = spec.source.unwrap_or(nowhere(spec.local));
        let destination = destination.unwrap_or(nowhere(spec.relay));
        self.source = narrow(source);
        if let IpAddr::V6(address) = source.ip() {
            self.flags |= SOURCE_IPV6;
            wide.source = address;
        }
        self.headers = ReadyHeaders::new(narrow(spec.relay), narrow(destination));
        if let (IpAddr::V6(relay), IpAddr::V6(destination)) = (spec.relay.ip(), destination.ip()) {
            self.flags |= OUT_IPV6;
            (wide.relay, wide.destination) = (relay, destination);
        }
        self.pseudo_header_sum =
            checksum::pseudo_header_sum_of(source.ip(), spec.local.ip()).unwrap_or_default();
        self.checksum_delta = checksum::delta(
            addresses_sum(source, spec.local),
            addresses_sum(spec.relay, destination),
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
    pub(super) fn check_source(&self, wide: &Wide, src: SocketAddr) -> Result<(), MediaDrop> {
        if self.flags & SOURCE == 0 {
            return Err(MediaDrop::SourceUnset);
        }
        let is_source = match src {
            SocketAddr::V4(src) => self.flags & SOURCE_IPV6 == 0 && self.source == src,
            SocketAddr::V6(src) => {
                self.flags & SOURCE_IPV6 != 0
                    && self.source.port() == src.port()
                    && wide.source == *src.ip()
            }
        };
        if is_source {
            Ok(())
        } else {
            Err(MediaDrop::SourceUnknown)
        }
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

    /// True if a way out has been resolved, under whichever snapshot.
    pub(super) fn has_egress(&self) -> bool {
        self.flags & RESOLVED != 0
    }

    /// Takes the way out that was found under the snapshot `epoch`, and the tags there.
    pub(super) fn set_resolved(
        &mut self,
        wide: &mut Wide,
        hop: &NextHop,
        vlan: VlanStack,
        epoch: u32,
    ) {
        self.headers.set_ethernet(&Ethernet {
            destination: hop.dst_mac,
            source: hop.src_mac,
        });
        self.egress = hop.interface;
        self.mtu = hop.mtu;
        self.flags |= RESOLVED;
        self.flags &= !OUT_TAGGED;
        if !vlan.is_empty() {
            self.flags |= OUT_TAGGED;
        }
        wide.vlan = vlan;
        self.epoch = epoch;
    }

    pub(super) fn set_unresolved(&mut self) {
        self.flags &= !RESOLVED;
    }

    /// True where it leaves over IPv6.
    pub(super) fn leaves_by_ipv6(&self) -> bool {
        self.flags & OUT_IPV6 != 0
    }

    /// IP and UDP headers of the way out in bytes.
    pub(super) fn ip_headers_len(&self) -> usize {
        let ip = match self.leaves_by_ipv6() {
            false => ipv4::HEADER_LEN,
            true => ipv6::HEADER_LEN,
        };
        ip + udp::HEADER_LEN
    }

    /// All headers of the way out in bytes.
    pub(super) fn headers_len(&self, wide: &Wide) -> usize {
        let tags = match self.flags & OUT_TAGGED != 0 {
            false => 0,
            true => wide.vlan.len(),
        };
        ethernet::HEADER_LEN + tags + self.ip_headers_len()
    }

    /// True where it leaves over IPv4 without tags: its ready headers are all of its headers.
    pub(super) fn leaves_plain(&self) -> bool {
        self.flags & (OUT_IPV6 | OUT_TAGGED) == 0
    }

    /// Writes the headers of a way out that is not plain at the start of `frame`, where the
    /// payload stands behind [`Flow::headers_len`] already. False, and nothing is written,
    /// where they do not fit.
    #[must_use]
    #[inline(never)]
    pub(super) fn write_wide_headers(
        &self,
        wide: &Wide,
        frame: &mut [u8],
        payload_len: u16,
        udp_checksum: u16,
    ) -> bool {
        let (relay, destination) = self.way_out(wide);
        let ethernet = self.headers.ethernet();
        let len = usize::from(payload_len);
        if wire::write_headers(frame, &ethernet, &wide.vlan, relay, destination, len).is_none() {
            return false;
        }
        wire::set_udp_checksum(frame, self.headers_len(wide), udp_checksum);
        true
    }

    /// Our relay address and the destination.
    pub(super) fn way_out(&self, wide: &Wide) -> (SocketAddr, SocketAddr) {
        let (relay, destination) = (self.headers.src(), self.headers.dst());
        if !self.leaves_by_ipv6() {
            return (relay.into(), destination.into());
        }
        (
            SocketAddr::new(wide.relay.into(), relay.port()),
            SocketAddr::new(wide.destination.into(), destination.port()),
        )
    }

    fn source(&self, wide: &Wide) -> SocketAddr {
        match self.flags & SOURCE_IPV6 != 0 {
            false => self.source.into(),
            true => SocketAddr::new(wide.source.into(), self.source.port()),
        }
    }

    /// The flow as it stands on the port `local`.
    pub(super) fn report(&self, wide: &Wide, local: SocketAddr) -> FlowReport {
        let (relay, destination) = self.way_out(wide);
        let kind = match (self.takes_rtp(), self.takes_rtcp()) {
            (true, true) => FlowKind::RtpAndRtcp,
            (true, false) => FlowKind::Rtp,
            (false, _) => FlowKind::Rtcp,
        };
        FlowReport {
            spec: FlowSpec {
                local,
                kind,
                source: (self.flags & SOURCE != 0).then(|| self.source(wide)),
                destination: self.has_destination().then_some(destination),
                relay,
                payload_types: self.payload_types,
                call: self.call(),
            },
            egress: self.has_egress().then_some(self.egress),
            packets_in: self.packets_in,
            octets_in: self.octets_in,
            packets_out: self.packets_out,
            octets_out: self.octets_out,
            drops: self.drops,
        }
    }
}

/// The part of an address that [`Flow`] itself holds.
fn narrow(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, address.port()),
    }
}

/// No address, of the family of `like`.
fn nowhere(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => NOWHERE.into(),
        SocketAddr::V6(_) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    }
}

/// The part of the UDP checksum that a pair of addresses and ports makes. The pseudo-headers
/// of IPv4 and IPv6 differ in nothing else (RFC 8200 §8.1).
fn addresses_sum(src: SocketAddr, dst: SocketAddr) -> u16 {
    let ports = checksum::add(src.port(), dst.port());
    let addresses = checksum::pseudo_header_sum_of(src.ip(), dst.ip());
    checksum::add(addresses.unwrap_or_default(), ports)
}
