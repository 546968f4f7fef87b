//! The media of a call: two legs for each stream, each with a relay port of its own.
//!
//! ```text
//! caller ──► leg of the caller ══► leg of the callee ──► callee
//! caller ◄── leg of the caller ◄══ leg of the callee ◄── callee
//! ```
//!
//! What a party says it receives on is its peer; from there it must also send
//! (RFC 4961), and there goes what arrives on the other party's leg. Who offered and who
//! answered makes no difference to that.
//!
//! A call holds [`Anchor`], which is handles; what they lead to is in [`super::anchors`].

use std::net::IpAddr;
use std::net::SocketAddr;

use super::anchors::Handle;
use super::call::Party;
use super::endpoint::Endpoint;
use super::report::LegReport;
use crate::ids::MediaIndex;
use crate::limits::STREAMS_MAX;
use crate::media::CallRef;
use crate::media::FlowKind;
use crate::media::FlowSpec;
use crate::media::PortPair;
use crate::settings::MediaRange;

/// Where a party receives a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// RTP; `None` where it has said nothing but `c=0.0.0.0` or `::` so far.
    pub rtp: Option<Endpoint>,
    /// RTCP.
    pub rtcp: Option<Endpoint>,
    /// On hold in the way of old, `c=0.0.0.0` or `::` (RFC 3264 §8.4): it gets nothing, and may go
    /// on sending from where it received.
    pub held: bool,
    /// The payload types of its m= line: the bytes of a number with a bit for each.
    pub payload_types: [u8; 16],
    /// It takes RTCP on the RTP port (RFC 5761).
    pub mux: bool,
}

impl Peer {
    /// True where all of its addresses are of the family of `relay`.
    #[must_use]
    pub fn is_of_family(self, relay: IpAddr) -> bool {
        let named = [self.rtp, self.rtcp];
        named
            .iter()
            .flatten()
            .all(|endpoint| endpoint.is_ipv4() == relay.is_ipv4())
    }

    /// What it has become by saying `new`: one on hold keeps where it received.
    #[must_use]
    pub fn after(old: Option<Peer>, new: Option<Peer>) -> Option<Peer> {
        match new {
            Some(new) if new.held => Some(Peer {
                rtp: old.and_then(|old| old.rtp),
                rtcp: old.and_then(|old| old.rtcp),
                ..new
            }),
            new => new,
        }
    }

    /// Where its RTP goes.
    fn destination(&self) -> Option<SocketAddr> {
        self.rtp.filter(|_| !self.held).map(Endpoint::addr)
    }

    /// Where its RTCP goes.
    fn rtcp_destination(&self) -> Option<SocketAddr> {
        self.rtcp.filter(|_| !self.held).map(Endpoint::addr)
    }
}

/// The relay ports towards one party.
#[derive(Debug)]
pub struct Leg {
    /// The media range that they are of.
    pub range: MediaIndex,
    /// The ports.
    pub pair: PortPair,
}

impl Leg {
    /// Our address and port for RTP.
    #[must_use]
    pub fn rtp(&self, ranges: &[MediaRange]) -> SocketAddr {
        SocketAddr::new(ranges[usize::from(self.range.0)].address, self.pair.rtp())
    }

    /// Our address and port for RTCP.
    #[must_use]
    pub fn rtcp(&self, ranges: &[MediaRange]) -> SocketAddr {
        SocketAddr::new(ranges[usize::from(self.range.0)].address, self.pair.rtcp())
    }
}

/// A stream: an m= line and what became of it.
#[derive(Debug)]
pub struct Stream {
    /// The legs, by [`Party`].
    pub legs: [Leg; 2],
    /// The peers, by [`Party`]; `None` where one has not spoken yet, or has rejected.
    pub peers: [Option<Peer>; 2],
    /// True while its flows are open.
    pub open: bool,
    /// True where the peers have changed and the flows not yet.
    pub moved: bool,
}

impl Stream {
    /// One that nobody has spoken of yet.
    #[must_use]
    pub fn new(legs: [Leg; 2]) -> Stream {
        Stream {
            legs,
            peers: [None; 2],
            open: false,
            moved: false,
        }
    }

    /// Takes note of what `party` says.
    pub fn speak(&mut self, party: Party, said: Option<Peer>) {
        let mut peers = self.peers;
        peers[party as usize] = Peer::after(peers[party as usize], said);
        self.restore(peers);
    }

    /// Has the parties receive there.
    pub fn restore(&mut self, peers: [Option<Peer>; 2]) {
        self.moved |= self.peers != peers;
        self.peers = peers;
    }

    /// Gives the four flows of this stream to `open`: from each party, RTP and RTCP.
    pub fn flows(&self, ranges: &[MediaRange], call: CallRef, mut open: impl FnMut(FlowSpec)) {
        for party in [Party::Caller, Party::Callee] {
            let [leg, out] = [party, party.other()].map(|party| &self.legs[party as usize]);
            let sender = self.peers[party as usize].as_ref();
            let receiver = self.peers[party.other() as usize].as_ref();
            let mux = |peer: Option<&Peer>| peer.is_some_and(|peer| peer.mux);
            open(FlowSpec {
                local: leg.rtp(ranges),
                // RFC 5761 §5.1.1: multiplexed where both sides say so.
                kind: match mux(sender) && mux(receiver) {
                    true => FlowKind::RtpAndRtcp,
                    false => FlowKind::Rtp,
                },
                source: sender.and_then(|peer| peer.rtp).map(Endpoint::addr),
                destination: receiver.and_then(Peer::destination),
                relay: out.rtp(ranges),
                payload_types: receiver.map_or(0, |peer| u128::from_le_bytes(peer.payload_types)),
                call,
            });
            open(FlowSpec {
                local: leg.rtcp(ranges),
                kind: FlowKind::Rtcp,
                source: sender.and_then(|peer| peer.rtcp).map(Endpoint::addr),
                destination: receiver.and_then(Peer::rtcp_destination),
                relay: out.rtcp(ranges),
                payload_types: 0,
                call,
            });
        }
    }

    /// Where its flows come in: all four local ports.
    #[must_use]
    pub fn locals(&self, ranges: &[MediaRange]) -> [SocketAddr; 4] {
        let [a, b] = &self.legs;
        [a.rtp(ranges), a.rtcp(ranges), b.rtp(ranges), b.rtcp(ranges)]
    }

    /// What the operator sees: caller's and callee's leg.
    #[must_use]
    pub fn report(&self, ranges: &[MediaRange]) -> [LegReport; 2] {
        [Party::Caller, Party::Callee].map(|party| LegReport {
            relay: self.legs[party as usize].rtp(ranges),
            peer: self.peers[party as usize]
                .as_ref()
                .and_then(Peer::destination),
        })
    }
}

/// A call's media: handles to what it has in the tables.
#[derive(Debug, Default)]
pub struct Anchor {
    /// The streams by the number of their m= line; `None`: not RTP, or rejected from the start.
    pub(super) streams: [Option<Handle>; STREAMS_MAX],
    /// The offers that may still be answered or taken back, the newest first.
    pub(super) offers: Option<Handle>,
    /// What was agreed in early dialogs that do not play now.
    pub(super) early: Option<Handle>,
    /// The callee's tag in the dialog that plays, hashed; 0 while there is none.
    pub(super) tag: u32,
    /// The CSeq of the last INVITE of each party that was answered with a 2xx.
    pub(super) accepted: [Option<u32>; 2],
}

impl Anchor {
    /// True once a 2xx has said which dialog is the call's.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.accepted != [None; 2]
    }
}
