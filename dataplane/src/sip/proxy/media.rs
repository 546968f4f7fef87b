//! Offers and answers on their way through: the receiver is told our relay ports, the
//! flows are told the sender's.

use std::net::IpAddr;
use std::net::SocketAddr;

use super::Proxy;
use super::Step;
use crate::counters::Counter;
use crate::ids::MediaIndex;
use crate::ids::WorkerId;
use crate::limits::PORT_QUARANTINE_MS;
use crate::limits::STREAMS_MAX;
use crate::media::CallRef;
use crate::media::FlowChange;
use crate::media::Ports;
use crate::media::ports;
use crate::sdp;
use crate::sdp::Unanchored;
use crate::settings::MediaRange;
use crate::settings::Settings;
use crate::sip::anchor::Leg;
use crate::sip::anchor::Peer;
use crate::sip::anchor::Peers;
use crate::sip::anchor::Stream;
use crate::sip::call::Offer;
use crate::sip::call::Party;
use crate::sip::edit;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::span::Span;

/// This worker's slice of each media range.
pub(super) fn pools(worker: WorkerId, settings: &Settings) -> Vec<Ports> {
    let slice = |range: &MediaRange| {
        Ports::new(
            ports::slice(&range.ports, worker, settings.workers),
            PORT_QUARANTINE_MS,
        )
    };
    settings.media.iter().map(slice).collect()
}

impl Proxy {
    /// Rewrites the SDP that `message` carries, if that is an offer or an answer, and opens
    /// or changes its flows where it `moves` them. Saying the same again changes nothing;
    /// where it cannot be done nothing is changed.
    ///
    /// # Errors
    /// The status of the answer that a request gets: 488 for media we cannot anchor, 503
    /// where no port is free.
    pub(super) fn anchor(
        &mut self,
        message: &Message<'_>,
        call: Option<Id>,
        from: Party,
        moves: bool,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let Some(id) = call else { return Ok(()) };
        if !negotiates(message) {
            return Ok(());
        }
        let mut fresh = [const { None }; STREAMS_MAX];
        let done = self.try_anchor(message, id, from, &mut fresh, step);
        match done {
            Ok(Some(said)) if moves => self.set_peers(id, from, &said, &mut fresh, step),
            Err(488) => step.counters.count(Counter::SdpUnusable),
            _ => {}
        }
        // What was not put to use.
        for leg in fresh.into_iter().flatten().flat_map(|stream| stream.legs) {
            self.give_back(leg, step);
        }
        done.map(|_| ())
    }

    /// Rewrites the SDP, if there is any, and gives what it says.
    fn try_anchor(
        &mut self,
        message: &Message<'_>,
        id: Id,
        from: Party,
        fresh: &mut [Option<Stream>; STREAMS_MAX],
        step: &mut Step<'_>,
    ) -> Result<Option<[Said; STREAMS_MAX]>, u16> {
        let content_type = message.content_type().unwrap_or_default();
        let Some(part) = sdp::find(content_type, message.body()).map_err(|_| 488_u16)? else {
            return Ok(None);
        };
        let body = part.of(message.body());
        let session = sdp::parse(body).map_err(|_| 488_u16)?;
        let mut said = [Said::NotRtp; STREAMS_MAX];
        let mut relays = [None; sdp::STREAMS_MAX];
        for (number, stream) in session.streams().enumerate() {
            let peer = peer_of(&session, stream).map_err(|_| 488_u16)?;
            let peer = self.behind_nat(peer);
            match (said.get_mut(number), peer) {
                (Some(place), _) => *place = peer,
                // RFC 3264 §8.2: a line that is dead stays, and needs no place.
                (None, Said::Peer(_)) => return Err(488),
                (None, _) => continue,
            }
            if matches!(peer, Said::Peer(_)) {
                relays[number] = self.relay_of(id, number, from, &mut fresh[number], step)?;
            }
            let leg = self.leg_of(id, number, from, &fresh[number]);
            if let (Said::Peer(peer), Some(leg)) = (peer, leg)
                && !peer.is_of_family(leg.address)
            {
                // Our relay on this side cannot send there.
                return Err(488);
            }
        }
        let relays = &relays[..session.stream_count()];
        let len = sdp::rewrite(body, &session, relays, &mut self.scratch).map_err(|_| 488_u16)?;
        let start = message.body_span().start;
        let part = Span {
            start: start + part.start,
            end: start + part.end,
        };
        if edit::set_body_part(message, &mut self.splices, part, &self.scratch[..len]).is_err() {
            // Half of it may be there.
            self.splices.clear();
            return Err(513);
        }
        Ok(Some(said))
    }

    /// What a party says, but where it names a relay port of ours as the world sees it, by the
    /// range's advertised address, with the address that the port has here: the flows of two
    /// calls of the box join there, and media to ourselves never leaves.
    fn behind_nat(&self, said: Said) -> Said {
        let ours = |at: SocketAddr| {
            let named = |address: fn(&MediaRange) -> IpAddr| {
                self.media
                    .iter()
                    .find(|range| address(range) == at.ip() && range.ports.contains(&at.port()))
            };
            // What one range has as its own another may advertise.
            named(|range| range.address)
                .or_else(|| named(|range| range.advertised))
                .map_or(at, |range| SocketAddr::new(range.address, at.port()))
        };
        match said {
            Said::Peer(peer) => Said::Peer(Peer {
                rtp: peer.rtp.map(ours),
                rtcp: peer.rtcp.map(ours),
                ..peer
            }),
            other => other,
        }
    }

    /// What the other party is told of a stream. Where there are no ports for it yet they are
    /// taken, into `fresh`.
    fn relay_of(
        &mut self,
        id: Id,
        number: usize,
        from: Party,
        fresh: &mut Option<Stream>,
        step: &mut Step<'_>,
    ) -> Result<Option<sdp::Relay>, u16> {
        let Some(call) = self.calls.get(id) else {
            return Ok(None);
        };
        if call.anchor.streams[number].is_none() {
            // Where a party's trunk is not known, after a restart, there is no range for it.
            let [Some(caller), Some(callee)] = call.trunks else {
                return Ok(None);
            };
            let ranges = [caller, callee].map(|trunk| self.dial.trunk(trunk).map(|t| t.media));
            let [Some(caller), Some(callee)] = ranges else {
                return Ok(None);
            };
            *fresh = Some(self.new_stream([caller, callee], step)?);
        }
        let leg = self.leg_of(id, number, from.other(), fresh);
        Ok(leg.map(|leg| sdp::Relay {
            address: self.media[usize::from(leg.range.0)].advertised,
            rtp: leg.pair.rtp(),
            rtcp: leg.pair.rtcp(),
        }))
    }

    /// The leg of `party` in a stream: one just made, or the call's.
    fn leg_of<'l>(
        &'l self,
        id: Id,
        number: usize,
        party: Party,
        fresh: &'l Option<Stream>,
    ) -> Option<&'l Leg> {
        let known = || self.calls.get(id)?.anchor.streams.get(number)?.as_ref();
        let stream = fresh.as_ref().or_else(known)?;
        Some(&stream.legs[party as usize])
    }

    /// Takes note of where `from` receives each stream, and has the flows follow.
    fn set_peers(
        &mut self,
        id: Id,
        from: Party,
        said: &[Said; STREAMS_MAX],
        fresh: &mut [Option<Stream>; STREAMS_MAX],
        step: &mut Step<'_>,
    ) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        for (number, said) in said.iter().enumerate() {
            let place = &mut call.anchor.streams[number];
            let is_new = fresh[number].is_some();
            if is_new {
                *place = fresh[number].take();
            }
            let (Some(stream), said) = (place.as_mut(), *said) else {
                continue;
            };
            let old = stream.peers[from as usize];
            let new = match said {
                Said::NotRtp => continue,
                Said::Rejected => None,
                Said::Peer(peer) if peer.held => Some(Peer {
                    rtp: old.and_then(|old| old.rtp),
                    rtcp: old.and_then(|old| old.rtcp),
                    ..peer
                }),
                Said::Peer(peer) => Some(peer),
            };
            if is_new || old != new {
                stream.peers[from as usize] = new;
                for spec in stream.flows(call_ref(self.worker, id)) {
                    step.effects.flow(FlowChange::Open(spec));
                }
            }
        }
    }

    /// Where both parties receive each stream now.
    pub(super) fn peers_of(&self, call: Option<Id>) -> Peers {
        let call = call.and_then(|id| self.calls.get(id));
        call.map_or([[None; 2]; STREAMS_MAX], |call| call.anchor.peers())
    }

    /// Has the parties receive where they did `before`, as far as it is still as `after`
    /// (RFC 3261 §14.1: a rejected offer changes nothing).
    pub(super) fn restore_peers(
        &mut self,
        id: Id,
        before: &Peers,
        after: &Peers,
        step: &mut Step<'_>,
    ) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        for (number, stream) in call.anchor.streams.iter_mut().enumerate() {
            let Some(stream) = stream else { continue };
            let now = stream.peers;
            for party in [Party::Caller as usize, Party::Callee as usize] {
                if now[party] == after[number][party] {
                    stream.peers[party] = before[number][party];
                }
            }
            if stream.peers != now {
                for spec in stream.flows(call_ref(self.worker, id)) {
                    step.effects.flow(FlowChange::Open(spec));
                }
            }
        }
    }

    /// Remembers what to go back to if the INVITE or UPDATE of `server` is rejected. Where an
    /// offer of this party is pending still, that is what was before both.
    pub(super) fn note_offer(&mut self, id: Id, party: Party, server: Id, before: &Peers) {
        if let Some(call) = self.calls.get_mut(id) {
            let after = call.anchor.peers();
            let offer = &mut call.offers[party as usize];
            let before = offer.map_or(*before, |pending| pending.before);
            *offer = Some(Offer {
                server,
                before,
                after,
            });
        }
    }

    /// A response of `server` may have moved the answerer: that is taken back as well.
    pub(super) fn note_answer(&mut self, call: Option<Id>, server: Id) {
        let Some(call) = call.and_then(|id| self.calls.get_mut(id)) else {
            return;
        };
        let after = call.anchor.peers();
        for offer in call.offers.iter_mut().flatten() {
            if offer.server == server {
                offer.after = after;
            }
        }
    }

    /// The request of `server` has been answered: its offer stands, or is taken back.
    pub(super) fn settle_offer(&mut self, id: Id, server: Id, status: u16, step: &mut Step<'_>) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let pending = |offer: &&mut Option<Offer>| offer.is_some_and(|o| o.server == server);
        let Some(place) = call.offers.iter_mut().find(pending) else {
            return;
        };
        if status < 200 {
            return;
        }
        if let Some(Offer { before, after, .. }) = place.take().filter(|_| status >= 300) {
            self.restore_peers(id, &before, &after, step);
        }
    }

    /// A stream with a pair of ports on each side.
    fn new_stream(&mut self, ranges: [MediaIndex; 2], step: &mut Step<'_>) -> Result<Stream, u16> {
        let mut take = |range: MediaIndex| {
            let pair = self.ports.get_mut(usize::from(range.0))?.take(step.now)?;
            Some(Leg {
                range,
                address: self.media[usize::from(range.0)].address,
                pair,
            })
        };
        let legs = match (take(ranges[0]), take(ranges[1])) {
            (Some(caller), Some(callee)) => [caller, callee],
            (caller, callee) => {
                step.counters.count(Counter::MediaPortsExhausted);
                for leg in [caller, callee].into_iter().flatten() {
                    self.give_back(leg, step);
                }
                return Err(503);
            }
        };
        Ok(Stream {
            legs,
            peers: [None; 2],
        })
    }

    fn give_back(&mut self, leg: Leg, step: &Step<'_>) {
        let returned = self.ports[usize::from(leg.range.0)].release(leg.pair, step.now);
        debug_assert!(
            returned.is_ok(),
            "a port was not of the slice that it came from"
        );
    }

    /// Closes a call's flows and lets its ports rest.
    pub(super) fn close_media(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let streams = std::mem::take(&mut call.anchor.streams);
        let call = call_ref(self.worker, id);
        for stream in streams.into_iter().flatten() {
            for local in stream.locals() {
                step.effects.flow(FlowChange::Close { local, call });
            }
            for leg in stream.legs {
                self.give_back(leg, step);
            }
        }
    }
}

/// True for the messages that carry an offer or an answer (RFC 3261 §13.2.1, RFC 3262 §5,
/// RFC 3311 §5). The SDP of others says what a party could do, not what it does.
fn negotiates(message: &Message<'_>) -> bool {
    let methods = [Method::Invite, Method::Ack, Method::Prack, Method::Update];
    methods.contains(&message.method()) && message.status().is_none_or(|status| status < 300)
}

/// What a party says of a stream.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// Not RTP: T.38 and the like go past us for now.
    NotRtp,
    /// Port 0.
    Rejected,
    /// Where it wants it.
    Peer(Peer),
}

fn peer_of(session: &sdp::Session, stream: &sdp::Stream) -> Result<Said, Unanchored> {
    let endpoint = match session.endpoint(stream) {
        Ok(endpoint) => endpoint,
        Err(Unanchored::Rejected) => return Ok(Said::Rejected),
        Err(Unanchored::NotRtp) => return Ok(Said::NotRtp),
        Err(other) => return Err(other),
    };
    // RFC 3264 §8.4: 0.0.0.0 is the hold of old, and :: the same over IPv6.
    let reachable = |at: &SocketAddr| !at.ip().is_unspecified();
    Ok(Said::Peer(Peer {
        rtp: Some(endpoint.rtp).filter(reachable),
        rtcp: Some(endpoint.rtcp).filter(reachable),
        held: !reachable(&endpoint.rtp),
        payload_types: stream.payload_types,
        mux: stream.rtcp_mux,
    }))
}

pub(super) fn call_ref(owner: WorkerId, id: Id) -> CallRef {
    CallRef {
        owner,
        slot: id.slot,
        generation: u32::from(id.generation),
    }
}

const _: () = assert!(STREAMS_MAX <= sdp::STREAMS_MAX);
