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

use std::net::IpAddr;
use std::net::SocketAddr;

use super::call::Party;
use super::report::LegReport;
use crate::ids::MediaIndex;
use crate::limits::STREAMS_MAX;
use crate::media::CallRef;
use crate::media::FlowKind;
use crate::media::FlowSpec;
use crate::media::PortPair;

/// Where a party receives a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// RTP; `None` where it has said nothing but `c=0.0.0.0` or `::` so far.
    pub rtp: Option<SocketAddr>,
    /// RTCP.
    pub rtcp: Option<SocketAddr>,
    /// On hold in the way of old, `c=0.0.0.0` or `::` (RFC 3264 §8.4): it gets nothing, and may go
    /// on sending from where it received.
    pub held: bool,
    /// The payload types of its m= line.
    pub payload_types: u128,
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
            .all(|address| address.is_ipv4() == relay.is_ipv4())
    }

    /// Where its RTP goes.
    fn destination(self) -> Option<SocketAddr> {
        self.rtp.filter(|_| !self.held)
    }
}

/// The relay ports towards one party.
#[derive(Debug)]
pub struct Leg {
    /// The media range that they are of.
    pub range: MediaIndex,
    /// Its address.
    pub address: IpAddr,
    /// The ports.
    pub pair: PortPair,
}

/// A stream: an m= line and what became of it.
#[derive(Debug)]
pub struct Stream {
    /// The legs, by [`Party`].
    pub legs: [Leg; 2],
    /// The peers, by [`Party`]; `None` where one has not spoken yet, or has rejected.
    pub peers: [Option<Peer>; 2],
}

/// The streams of a call, by the number of their m= line.
#[derive(Debug, Default)]
pub struct Anchor {
    /// `None`: not an RTP stream, or rejected from the start.
    pub streams: [Option<Stream>; STREAMS_MAX],
}

/// Where both parties receive each stream, by the number of its m= line and by [`Party`].
pub type Peers = [[Option<Peer>; 2]; STREAMS_MAX];

impl Anchor {
    /// Where both parties receive each stream now.
    #[must_use]
    pub fn peers(&self) -> Peers {
        self.streams
            .each_ref()
            .map(|stream| stream.as_ref().map_or([None; 2], |stream| stream.peers))
    }

    /// What the operator sees: caller's and callee's leg of each stream.
    #[must_use]
    pub fn legs(&self) -> [Option<[LegReport; 2]>; STREAMS_MAX] {
        self.streams.each_ref().map(|stream| {
            let stream = stream.as_ref()?;
            Some([Party::Caller, Party::Callee].map(|party| LegReport {
                relay: stream.legs[party as usize].rtp(),
                peer: stream.peers[party as usize].and_then(Peer::destination),
            }))
        })
    }
}

impl Leg {
    /// Our address and port for RTP.
    #[must_use]
    pub fn rtp(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.pair.rtp())
    }

    /// Our address and port for RTCP.
    #[must_use]
    pub fn rtcp(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.pair.rtcp())
    }
}

impl Stream {
    /// The four flows of this stream: from each party, RTP and RTCP.
    #[must_use]
    pub fn flows(&self, call: CallRef) -> [FlowSpec; 4] {
        let [a, b] = self.from(Party::Caller, call);
        let [c, d] = self.from(Party::Callee, call);
        [a, b, c, d]
    }

    /// Where its flows come in: all four local ports.
    #[must_use]
    pub fn locals(&self) -> [SocketAddr; 4] {
        let [a, b] = &self.legs;
        [a.rtp(), a.rtcp(), b.rtp(), b.rtcp()]
    }

    fn from(&self, party: Party, call: CallRef) -> [FlowSpec; 2] {
        let (leg, out) = (
            &self.legs[party as usize],
            &self.legs[party.other() as usize],
        );
        let (sender, receiver) = (
            self.peers[party as usize],
            self.peers[party.other() as usize],
        );
        let mux = |peer: Option<Peer>| peer.is_some_and(|peer| peer.mux);
        let rtp = FlowSpec {
            local: leg.rtp(),
            kind: match mux(sender) && mux(receiver) {
                true => FlowKind::RtpAndRtcp,
                false => FlowKind::Rtp,
            },
            source: sender.and_then(|peer| peer.rtp),
            destination: receiver.and_then(Peer::destination),
            relay: out.rtp(),
            payload_types: receiver.map_or(0, |peer| peer.payload_types),
            call,
        };
        let rtcp = FlowSpec {
            local: leg.rtcp(),
            kind: FlowKind::Rtcp,
            source: sender.and_then(|peer| peer.rtcp),
            destination: receiver
                .filter(|peer| !peer.held)
                .and_then(|peer| peer.rtcp),
            relay: out.rtcp(),
            payload_types: 0,
            call,
        };
        [rtp, rtcp]
    }
}
