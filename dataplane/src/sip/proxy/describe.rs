//! Session descriptions on their way through: the reader is told our relay ports in the
//! place of the writer's.
//!
//! What is written depends on the ports of each m= line alone, and these stay while a
//! repetition of the message may come: saying the same again gives the same bytes.

use std::net::IpAddr;
use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use super::Step;
use super::forward::Way;
use super::negotiate::Role;
use crate::counters::Counter;
use crate::limits::STREAMS_MAX;
use crate::sdp;
use crate::sdp::Unanchored;
use crate::settings::MediaRange;
use crate::sip::anchor::Leg;
use crate::sip::anchor::Peer;
use crate::sip::call::Party;
use crate::sip::call::Sender;
use crate::sip::edit;
use crate::sip::endpoint::Endpoint;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::span::Span;

/// What a message says of its call's media. It is to be given to `negotiate` or `discard`, by
/// reference all the way: it is large.
#[derive(Debug)]
#[must_use]
pub(super) struct Described {
    /// What it is to the negotiation.
    pub role: Role,
    /// Who says it.
    pub from: Party,
    /// Its CSeq.
    pub cseq: u32,
    /// The callee's tag in it, hashed; 0 where there is none.
    pub tag: u32,
    /// Where its writer receives each stream; `None` where it has no RTP or wants none.
    pub said: [Option<Peer>; STREAMS_MAX],
    /// The ports taken for m= lines that had none.
    pub fresh: [Option<[Leg; 2]>; STREAMS_MAX],
}

impl Described {
    /// That a message says nothing.
    pub const fn nothing(from: Party) -> Described {
        Described {
            role: Role::Nothing,
            from,
            cseq: 0,
            tag: 0,
            said: [None; STREAMS_MAX],
            fresh: [const { None }; STREAMS_MAX],
        }
    }
}

impl Proxy {
    /// Rewrites the session description that `message` carries, if that is an offer or an
    /// answer, and says what it is. Nothing has changed yet but the splices, and ports that
    /// were taken. `described` says nothing before, and where there is an error.
    ///
    /// # Errors
    /// The status of the answer that a request gets: 488 for media we cannot anchor, 503
    /// where no port or no room is left.
    pub(super) fn describe(
        &mut self,
        message: &Message<'_>,
        call: Option<Id>,
        described: &mut Described,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let Some(id) = call.filter(|_| may_negotiate(message)) else {
            return Ok(());
        };
        let done = self.try_describe(message, id, described, step);
        if let Err(status) = done {
            if status == 488 {
                step.counters.count(Counter::SdpUnusable);
            }
            self.discard(described, step);
        }
        done
    }

    /// The same for a response or an ACK: one that cannot be anchored goes on as it is, and its
    /// media stays closed.
    pub(super) fn describe_or_pass(
        &mut self,
        message: &Message<'_>,
        call: Option<Id>,
        described: &mut Described,
        step: &mut Step<'_>,
    ) {
        // The error is the answer that a request would get.
        let _ = self.describe(message, call, described, step);
    }

    /// Sends a request on with its session description anchored, and takes that up.
    pub(super) fn forward_anchored(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        way: Way,
        sender: Option<Sender>,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let call = sender.map(|sender| sender.call);
        let from = sender.map_or(Party::Caller, |sender| sender.party);
        let mut described = Described::nothing(from);
        self.describe(message, call, &mut described, step)?;
        let sent = self.forward(message, arrival, key, way, sender, step);
        match sent {
            Ok(client) => {
                let server = self.clients.get(client).and_then(|client| client.server);
                self.negotiate(&mut described, call, server, step);
            }
            Err(_) => self.discard(&mut described, step),
        }
        sent
    }

    /// Gives back what was taken for a message that does not go on.
    pub(super) fn discard(&mut self, described: &mut Described, step: &mut Step<'_>) {
        described.role = Role::Nothing;
        for legs in &mut described.fresh {
            for leg in legs.take().into_iter().flatten() {
                self.give_back(leg, step);
            }
        }
    }

    fn try_describe(
        &mut self,
        message: &Message<'_>,
        id: Id,
        described: &mut Described,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let content = sdp::Content {
            kind: message.content_type(),
            disposition: message.content_disposition(),
            encoding: message.content_encoding(),
        };
        let part = sdp::find(&content, message.body()).map_err(|_| 488_u16)?;
        if part.is_some() || message.method() == Method::Ack {
            self.see_role(message, id, described);
        }
        let Some(part) = part else {
            described.role = described.role.unsaid();
            return Ok(());
        };
        let body = part.of(message.body());
        let mut session = sdp::Session::default();
        session.read(body).map_err(|_| 488_u16)?;
        let mut relays = [None; sdp::STREAMS_MAX];
        for (number, stream) in session.streams().enumerate() {
            let Some(peer) = peer_of(&session, stream).map_err(|_| 488_u16)? else {
                continue;
            };
            let Some(said) = described.said.get_mut(number) else {
                // RFC 3264 §6: neither side has more streams than a call can have here.
                relays[number] = Some(sdp::Relay::REJECTED);
                continue;
            };
            *said = Some(self.behind_nat(peer));
            relays[number] = self.relay_of(id, number, described, step)?;
        }
        self.look_for_room(id, described, step)?;
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
        Ok(())
    }

    /// What a party says, but where it names a relay port of ours as the world sees it, by the
    /// range's advertised address, with the address that the port has here: the flows of two
    /// calls of the box join there, and media to ourselves never leaves.
    fn behind_nat(&self, said: Peer) -> Peer {
        let is_ours = |at: &Endpoint| {
            let mut ranges = self.media.iter();
            ranges.any(|range| range.ports.contains(&at.port()))
        };
        // Nearly nobody names a port of ours.
        if ![said.rtp, said.rtcp].iter().flatten().any(is_ours) {
            return said;
        }
        let ours = |at: Endpoint| {
            let at = at.addr();
            let named = |address: fn(&MediaRange) -> IpAddr| {
                self.media
                    .iter()
                    .find(|range| address(range) == at.ip() && range.ports.contains(&at.port()))
            };
            // What one range has as its own another may advertise.
            named(|range| range.address)
                .or_else(|| named(|range| range.advertised))
                .map_or(at, |range| SocketAddr::new(range.address, at.port()))
                .into()
        };
        Peer {
            rtp: said.rtp.map(ours),
            rtcp: said.rtcp.map(ours),
            ..said
        }
    }

    /// What the other party is told of a stream. Where it has no ports yet they are taken, if
    /// the message may ask for some.
    fn relay_of(
        &mut self,
        id: Id,
        number: usize,
        described: &mut Described,
        step: &mut Step<'_>,
    ) -> Result<Option<sdp::Relay>, u16> {
        let Some(call) = self.calls.get(id) else {
            return Ok(None);
        };
        let known = self.anchors.stream(&call.anchor, number);
        if known.is_none() && matches!(described.role, Role::Offer(_)) {
            // Where a party's trunk is not known, after a restart, there is no range for it.
            let [Some(caller), Some(callee)] = call.trunks else {
                return Ok(None);
            };
            let ranges = [caller, callee].map(|trunk| self.dial.trunk(trunk).map(|t| t.media));
            let [Some(caller), Some(callee)] = ranges else {
                return Ok(None);
            };
            described.fresh[number] = Some(self.take_legs([caller, callee], step)?);
        }
        let Some(call) = self.calls.get(id) else {
            return Ok(None);
        };
        let known = self.anchors.stream(&call.anchor, number);
        let fresh = described.fresh[number].as_ref();
        let Some(legs) = fresh.or_else(|| known.map(|stream| &stream.legs)) else {
            return Ok(None);
        };
        let [own, other] = [described.from, described.from.other()]
            .map(|party| &legs[party as usize])
            .map(|leg| (&self.media[usize::from(leg.range.0)], &leg.pair));
        let (range, _) = own;
        if described.said[number].is_some_and(|peer| !peer.is_of_family(range.address)) {
            // Our relay on this side cannot send there.
            return Err(488);
        }
        let (range, pair) = other;
        Ok(Some(sdp::Relay {
            address: range.advertised,
            rtp: pair.rtp(),
            rtcp: pair.rtcp(),
        }))
    }
}

/// True for the messages that carry an offer or an answer (RFC 3261 §13.2.1, RFC 3262 §5,
/// RFC 3311 §5). The SDP of others says what a party could do, not what it does.
fn may_negotiate(message: &Message<'_>) -> bool {
    let methods = [Method::Invite, Method::Ack, Method::Prack, Method::Update];
    methods.contains(&message.method()) && message.status().is_none_or(|status| status < 300)
}

/// Where the writer wants a stream; `None` where its port is 0, and where it is not RTP: T.38
/// and the like go past us for now.
fn peer_of(session: &sdp::Session, stream: &sdp::Stream) -> Result<Option<Peer>, Unanchored> {
    let endpoint = match session.endpoint(stream) {
        Ok(endpoint) => endpoint,
        Err(Unanchored::Rejected | Unanchored::NotRtp) => return Ok(None),
        Err(other) => return Err(other),
    };
    // RFC 3264 §8.4: 0.0.0.0 is the hold of old, and :: the same over IPv6.
    let reachable = |at: &SocketAddr| !at.ip().is_unspecified();
    Ok(Some(Peer {
        rtp: Some(endpoint.rtp).filter(reachable).map(Endpoint::from),
        rtcp: Some(endpoint.rtcp).filter(reachable).map(Endpoint::from),
        held: !reachable(&endpoint.rtp),
        payload_types: stream.payload_types.to_le_bytes(),
        mux: stream.rtcp_mux,
    }))
}

const _: () = assert!(STREAMS_MAX <= sdp::STREAMS_MAX);
