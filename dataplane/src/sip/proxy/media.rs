//! Offers and answers on their way through: the receiver is told our relay ports, the
//! flows are told the sender's.

use std::net::SocketAddrV4;

use super::Proxy;
use super::Step;
use crate::counters::Counter;
use crate::ids::MediaIndex;
use crate::ids::WorkerId;
use crate::limits::PORT_QUARANTINE_MS;
use crate::limits::STREAMS_MAX;
use crate::media::CallRef;
use crate::media::Ports;
use crate::media::ports;
use crate::sdp;
use crate::sdp::Unanchored;
use crate::settings::Settings;
use crate::sip::anchor::Leg;
use crate::sip::anchor::Peer;
use crate::sip::anchor::Stream;
use crate::sip::call::Party;
use crate::sip::edit;
use crate::sip::effects::FlowChange;
use crate::sip::message::Message;
use crate::sip::slab::Id;
use crate::span::Span;

/// This worker's slice of each media range.
pub(super) fn pools(worker: WorkerId, settings: &Settings) -> Vec<Ports> {
    let slice = |range: &crate::settings::MediaRange| {
        Ports::new(
            ports::slice(&range.ports, worker, settings.workers),
            PORT_QUARANTINE_MS,
        )
    };
    settings.media.iter().map(slice).collect()
}

impl Proxy {
    /// Rewrites the SDP that `message` carries, if it does, and opens or changes its flows.
    /// Saying the same again changes nothing.
    ///
    /// # Errors
    /// The status of the answer that a request gets: 488 for media we cannot anchor, 503
    /// where no port is free.
    pub(super) fn anchor(
        &mut self,
        message: &Message<'_>,
        call: Option<Id>,
        from: Party,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let Some(id) = call else { return Ok(()) };
        let content_type = message.content_type().unwrap_or_default();
        let unusable = |step: &mut Step<'_>| {
            step.counters.count(Counter::SdpUnusable);
            488_u16
        };
        let Some(part) = sdp::find(content_type, message.body()).map_err(|_| unusable(step))?
        else {
            return Ok(());
        };
        let body = part.of(message.body());
        let session = sdp::parse(body).map_err(|_| unusable(step))?;
        let mut relays = [None; sdp::STREAMS_MAX];
        for (number, stream) in session.streams().enumerate() {
            let peer = peer_of(&session, stream).map_err(|_| unusable(step))?;
            relays[number] = match peer {
                Said::NotRtp => None,
                Said::Rejected => self.anchor_stream(id, number, None, from, step)?,
                Said::Peer(peer) => self.anchor_stream(id, number, Some(peer), from, step)?,
            };
        }
        let relays = &relays[..session.stream_count()];
        let len =
            sdp::rewrite(body, &session, relays, &mut self.scratch).map_err(|_| unusable(step))?;
        let start = message.body_span().start;
        let part = Span {
            start: start + part.start,
            end: start + part.end,
        };
        edit::set_body_part(message, &mut self.splices, part, &self.scratch[..len])
            .map_err(|_| 513_u16)
    }

    /// Takes note of where `from` receives a stream, and gives what the other is told.
    fn anchor_stream(
        &mut self,
        id: Id,
        number: usize,
        peer: Option<Peer>,
        from: Party,
        step: &mut Step<'_>,
    ) -> Result<Option<sdp::Relay>, u16> {
        let Some(call) = self.calls.get(id) else {
            return Ok(None);
        };
        let known = call.anchor.streams.get(number).ok_or(488_u16)?.is_some();
        if !known {
            // Where a party's trunk is not known, after a restart, there is no range for it.
            let [Some(caller), Some(callee)] = call.trunks else {
                return Ok(None);
            };
            if peer.is_none() {
                return Ok(None);
            }
            let ranges = [caller, callee].map(|trunk| self.dial.trunk(trunk).map(|t| t.media));
            let [Some(caller), Some(callee)] = ranges else {
                return Ok(None);
            };
            let stream = self.new_stream([caller, callee], step)?;
            if let Some(call) = self.calls.get_mut(id) {
                call.anchor.streams[number] = Some(stream);
            }
        }
        let Some(call) = self.calls.get_mut(id) else {
            return Ok(None);
        };
        let Some(stream) = call.anchor.streams[number].as_mut() else {
            return Ok(None);
        };
        if !known || stream.peers[from as usize] != peer {
            stream.peers[from as usize] = peer;
            for spec in stream.flows(call_ref(self.worker, id)) {
                step.effects.flow(FlowChange::Open(spec));
            }
        }
        let leg = &stream.legs[from.other() as usize];
        Ok(peer.map(|_| sdp::Relay {
            address: self.media[usize::from(leg.range.0)].advertised,
            rtp: leg.pair.rtp(),
            rtcp: leg.pair.rtcp(),
        }))
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

/// What a party says of a stream.
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
    // RFC 3264 §8.4: 0.0.0.0 is the hold of old.
    let reachable = |at: &SocketAddrV4| !at.ip().is_unspecified();
    Ok(Said::Peer(Peer {
        rtp: Some(endpoint.rtp).filter(reachable),
        rtcp: Some(endpoint.rtcp).filter(reachable),
        payload_types: stream.payload_types,
        mux: stream.rtcp_mux,
    }))
}

fn call_ref(owner: WorkerId, id: Id) -> CallRef {
    CallRef {
        owner,
        slot: id.slot,
        generation: u32::from(id.generation),
    }
}

const _: () = assert!(STREAMS_MAX <= sdp::STREAMS_MAX);
