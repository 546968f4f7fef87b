//! Offer and answer (RFC 3264, RFC 3261 §13.2.1 and §14, RFC 3262 §5, RFC 3311 §5): what each
//! session description is to its call, and what becomes of the media.
//!
//! ```text
//!              offer of                    answer in
//!   INVITE     the caller of this request  a reliable 18x or the 2xx; an unreliable 18x shows it before
//!   UPDATE     its sender                  its 2xx
//!   PRACK      its sender                  its 2xx
//!   reliable 18x, where the INVITE had none    the PRACK
//!   2xx,          where the INVITE had none    the ACK
//! ```
//!
//! An m= line that is new has its flows opened by the offer, and what the offerer says
//! counts at once: there is nothing to go back to. Where a stream was before, nothing moves until
//! the answer: the offerer goes on as before until then (RFC 3264 §8), and an offer that
//! is rejected has changed nothing. What an early answer has moved is taken back if the INVITE
//! fails after all. A description that is neither is a repetition: it is rewritten and
//! moves nothing.
//!
//! Early dialogs of a downstream fork share the ports that the INVITE named: the one that answered last
//! plays, and the 2xx decides.

use super::Proxy;
use super::Step;
use super::describe::Described;
use crate::counters::Counter;
use crate::limits::OFFERS_PER_CALL;
use crate::limits::STREAMS_MAX;
use crate::sip::anchor::Anchor;
use crate::sip::anchor::Stream;
use crate::sip::anchors::Carrier;
use crate::sip::anchors::Handle;
use crate::sip::anchors::Offer;
use crate::sip::anchors::OfferState;
use crate::sip::anchors::Session;
use crate::sip::call::Party;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::report::CallState;
use crate::sip::scan::number;
use crate::sip::slab::Id;

/// What a session description is to its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// There is none, or it repeats what is known.
    Nothing,
    /// An offer.
    Offer(Carrier),
    /// The answer to an offer; one that is not `firm` may still be followed by another.
    Answer { offer: Handle, firm: bool },
    /// An ACK without the answer to the 2xx's offer.
    Declined { offer: Handle },
}

impl Role {
    /// What an ACK is that could have answered and says nothing.
    pub const fn unsaid(self) -> Role {
        match self {
            Role::Answer { offer, .. } => Role::Declined { offer },
            _ => Role::Nothing,
        }
    }
}

impl Proxy {
    /// Sees what the session description of `message` is.
    pub(super) fn see_role(&self, message: &Message<'_>, id: Id, described: &mut Described) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (cseq, ..) = message.cseq();
        described.cseq = cseq;
        described.tag = self.callee_tag(message, described.from);
        let anchor = &call.anchor;
        if anchor.is_decided() && described.tag != anchor.tag {
            // Of another dialog that the first INVITE has begun: this call is not its.
            return;
        }
        described.role = match (message.status(), message.method()) {
            (None, Method::Invite) => Role::Offer(Carrier::Invite),
            (None, Method::Update) => Role::Offer(Carrier::Update),
            // RFC 3262 §5: the answer to a reliable response's offer, or one more offer.
            (None, Method::Prack) => acknowledged(message)
                .and_then(|cseq| self.offer_in_response(anchor, cseq, described))
                .map_or(Role::Offer(Carrier::Prack), answer),
            // RFC 3261 §13.2.2.4: the answer to the 2xx's offer.
            (None, Method::Ack) => self
                .offer_in_response(anchor, cseq, described)
                .map_or(Role::Nothing, answer),
            (Some(101..=299), Method::Invite) => self.role_in_response(message, anchor, described),
            (Some(200..=299), Method::Prack) => {
                self.answered(anchor, Carrier::Prack, described, true)
            }
            (Some(200..=299), Method::Update) => {
                self.answered(anchor, Carrier::Update, described, true)
            }
            _ => Role::Nothing,
        };
    }

    /// What the description in a response to INVITE is.
    fn role_in_response(
        &self,
        message: &Message<'_>,
        anchor: &Anchor,
        described: &Described,
    ) -> Role {
        if anchor.accepted[described.from.other() as usize] >= Some(described.cseq) {
            // A 2xx that is repeated, or what it has overtaken.
            return Role::Nothing;
        }
        let last = message.status() >= Some(200);
        let firm = last || is_reliable(message);
        match self.answered(anchor, Carrier::Invite, described, firm) {
            Role::Nothing => {}
            answer => return answer,
        }
        if self.find(anchor, Carrier::Invite, described).is_some() {
            return Role::Nothing;
        }
        // RFC 3261 §13.2.1, RFC 3262 §5: the INVITE had no offer, so this is one.
        match self.said_before(anchor, described) {
            Some((_, offer)) if offer.state != OfferState::Open => Role::Nothing,
            _ => Role::Offer(Carrier::Response),
        }
    }

    /// The answer to an offer of `carrier`, unless it has had its answer in this dialog.
    fn answered(
        &self,
        anchor: &Anchor,
        carrier: Carrier,
        described: &Described,
        firm: bool,
    ) -> Role {
        let Some((handle, offer)) = self.find(anchor, carrier, described) else {
            return Role::Nothing;
        };
        let state = if anchor.tag == described.tag {
            offer.state
        } else {
            let mut early = self.anchors.early(anchor);
            let known = early.find(|(_, session)| session.tag == described.tag);
            known.map_or(OfferState::Open, |(_, session)| session.state)
        };
        match state {
            OfferState::Answered => Role::Nothing,
            OfferState::Open | OfferState::Previewed => Role::Answer {
                offer: handle,
                firm,
            },
        }
    }

    /// The offer that the request had which `described` answers.
    fn find<'a>(
        &'a self,
        anchor: &Anchor,
        carrier: Carrier,
        described: &Described,
    ) -> Option<(Handle, &'a Offer)> {
        let asker = described.from.other();
        self.anchors.offers(anchor).find(|(_, offer)| {
            (offer.carrier, offer.by, offer.cseq) == (carrier, asker, described.cseq)
        })
    }

    /// The open offer in a response to the INVITE of that CSeq, which `described` answers.
    fn offer_in_response(
        &self,
        anchor: &Anchor,
        cseq: u32,
        described: &Described,
    ) -> Option<Handle> {
        let mut offers = self.anchors.offers(anchor);
        let found = offers.find(|(_, offer)| {
            offer.state == OfferState::Open
                && (offer.carrier, offer.by) == (Carrier::Response, described.from.other())
                && (offer.cseq, offer.tag) == (cseq, described.tag)
        });
        found.map(|(handle, _)| handle)
    }

    /// The callee's tag in a message of `from`, hashed; 0 where there is none.
    #[allow(clippy::cast_possible_truncation)] // 32 bits of a hash.
    pub(super) fn callee_tag(&self, message: &Message<'_>, from: Party) -> u32 {
        let tag = if message.is_request() == (from == Party::Caller) {
            message.to_tag()
        } else {
            message.from_tag()
        };
        tag.map_or(0, |tag| {
            (self.identity.hash().text(tag).finish(What::Tag.with(0)) as u32).max(1)
        })
    }

    /// Refuses an offer that cannot be remembered.
    pub(super) fn look_for_room(
        &self,
        id: Id,
        described: &Described,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let Some(call) = self.calls.get(id) else {
            return Ok(());
        };
        let Role::Offer(carrier) = described.role else {
            return Ok(());
        };
        let anchor = &call.anchor;
        let fresh = described.fresh.iter().flatten().count();
        let known = self.repeated(anchor, carrier, described);
        let own = known.and_then(|known| self.anchors.offer(known));
        let mut streams = anchor.streams.iter().enumerate();
        let moves = streams.any(|(number, stream)| {
            stream.is_some() && !own.is_some_and(|own| own.is_fresh(number))
        });
        // One that was taken up by an UPDATE has had no 2xx to INVITE here.
        let answered = anchor.is_decided() || call.state == CallState::Established;
        let replaced = known.or_else(|| self.overtaken(anchor));
        let pending = self.anchors.offers(anchor).count();
        let status = if pending >= OFFERS_PER_CALL && replaced.is_none() {
            // RFC 3311 §5.2: what a party says to one more offer while one is unanswered.
            500
        } else if !self.anchors.has_room(answered, fresh, moves, replaced) {
            503
        } else {
            return Ok(());
        };
        step.counters.count(Counter::OffersRefused);
        Err(status)
    }

    /// The offer of this response to INVITE, if it was made before.
    fn said_before<'a>(
        &'a self,
        anchor: &Anchor,
        described: &Described,
    ) -> Option<(Handle, &'a Offer)> {
        self.anchors.offers(anchor).find(|(_, offer)| {
            offer.carrier == Carrier::Response
                && (offer.by, offer.cseq, offer.tag)
                    == (described.from, described.cseq, described.tag)
        })
    }

    /// The open offer that an offer of `carrier` says again: it takes its place.
    fn repeated(&self, anchor: &Anchor, carrier: Carrier, described: &Described) -> Option<Handle> {
        let known = self.said_before(anchor, described);
        let known = known.filter(|(_, offer)| offer.state == OfferState::Open);
        known
            .filter(|_| carrier == Carrier::Response)
            .map(|(handle, _)| handle)
    }

    /// Where a call has as many offers as it may have, the oldest one of a 2xx whose ACK has not
    /// come: the parties have long gone on.
    fn overtaken(&self, anchor: &Anchor) -> Option<Handle> {
        if self.anchors.offers(anchor).count() < OFFERS_PER_CALL {
            return None;
        }
        let offers = self.anchors.offers(anchor).filter(|(_, offer)| {
            offer.carrier == Carrier::Response
                && offer.state == OfferState::Open
                && anchor.accepted[offer.asker() as usize] >= Some(offer.cseq)
        });
        offers.last().map(|(handle, _)| handle)
    }

    /// Takes an offer or an answer up, now that its message goes on. `server` is the
    /// transaction of its request; an ACK has none.
    pub(super) fn negotiate(
        &mut self,
        described: &mut Described,
        call: Option<Id>,
        server: Option<Id>,
        step: &mut Step<'_>,
    ) {
        // Ports are taken only for an offer.
        let (Some(id), true) = (call, described.role != Role::Nothing) else {
            return;
        };
        match (described.role, server) {
            (Role::Offer(carrier), Some(server)) => {
                let anchor = self.calls.get(id).map(|call| &call.anchor);
                let known = anchor.and_then(|at| self.repeated(at, carrier, described));
                let old = anchor.and_then(|anchor| self.overtaken(anchor));
                if let Some(old) = old.filter(|_| known.is_none()) {
                    self.settle(id, old, step);
                }
                self.offer(id, carrier, server, known, described);
            }
            (Role::Declined { offer }, _) => self.settle(id, offer, step),
            (Role::Answer { offer, firm }, _) => {
                self.answer_offer(id, offer, firm, described);
                let entry = self.anchors.offer_mut(offer);
                if let Some(entry) = entry.filter(|entry| entry.carrier == Carrier::Response) {
                    entry.answered_in = server;
                    if server.is_none() {
                        self.settle(id, offer, step);
                    }
                }
            }
            _ => self.discard(described, step),
        }
        self.move_flows(id, step);
    }

    /// Enters an offer, in the place of `known` where it says that one again.
    fn offer(
        &mut self,
        id: Id,
        carrier: Carrier,
        server: Id,
        known: Option<Handle>,
        described: &mut Described,
    ) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let (anchor, anchors) = (&mut call.anchor, &mut self.anchors);
        if carrier == Carrier::Response && anchor.tag == 0 {
            anchor.tag = described.tag;
        }
        let mut offer = match known.and_then(|known| anchors.take_offer(anchor, known)) {
            Some((mut old, _)) => {
                old.session = None;
                old
            }
            None => Offer::new(
                described.from,
                carrier,
                described.cseq,
                server,
                described.tag,
            ),
        };
        let mut asked = [[None; 2]; STREAMS_MAX];
        let mut moves = false;
        let said = described.said.iter().zip(&mut described.fresh);
        for (number, (&said, fresh)) in said.enumerate() {
            if let Some(legs) = fresh.take() {
                anchors.put_stream(anchor, number, Stream::new(legs));
                offer.fresh |= 1 << number;
            }
            if !offer.is_fresh(number) {
                asked[number][offer.by as usize] = said;
                moves |= anchor.streams[number].is_some();
            } else if let Some(stream) = anchors.stream_mut(anchor, number) {
                stream.speak(offer.by, said);
            }
        }
        if moves {
            offer.session = anchors.put_session(Session::new(asked, 0, OfferState::Open));
        }
        anchors.put_offer(anchor, offer);
    }

    /// Has the media go as offer and answer say.
    fn answer_offer(&mut self, id: Id, handle: Handle, firm: bool, described: &Described) {
        self.play(id, described.tag);
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (anchor, anchors) = (&call.anchor, &mut self.anchors);
        let Some(offer) = anchors.offer_mut(handle) else {
            return;
        };
        let first = offer.state == OfferState::Open;
        offer.state = if firm {
            OfferState::Answered
        } else {
            OfferState::Previewed
        };
        let (by, fresh, aside) = (offer.by, offer.fresh, offer.session);
        for (number, &said) in described.said.iter().enumerate() {
            let is_fresh = fresh & (1 << number) != 0;
            let before = anchors.stream(anchor, number).map(|stream| stream.peers);
            let aside = aside.and_then(|aside| anchors.session_mut(aside));
            // What was asked for takes the place of what was before it, and the other way round.
            let asked = aside.filter(|_| first && !is_fresh).map(|aside| {
                std::mem::replace(&mut aside.peers[number], before.unwrap_or_default())
            });
            let Some(stream) = anchors.stream_mut(anchor, number) else {
                continue;
            };
            if let Some(asked) = asked {
                stream.speak(by, asked[by as usize]);
            }
            stream.speak(by.other(), said);
        }
    }

    /// Has the early dialog of that tag play: what was agreed in the one that does is put aside.
    pub(super) fn play(&mut self, id: Id, tag: u32) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let (anchor, anchors) = (&mut call.anchor, &mut self.anchors);
        let played = std::mem::replace(&mut anchor.tag, tag);
        if played == tag || played == 0 || anchor.is_decided() {
            return;
        }
        let invite = anchors
            .offers(anchor)
            .find(|(_, offer)| offer.carrier == Carrier::Invite)
            .map(|(handle, offer)| (handle, offer.by.other(), offer.state));
        let state = invite.map_or(OfferState::Open, |(.., state)| state);
        let aside = Session::new(anchors.peers(anchor), played, state);
        // Where there is no room, what was agreed there is lost: its 2xx says it again.
        let _ = anchors.put_early(anchor, aside);
        let known = anchors.early(anchor).find(|(_, early)| early.tag == tag);
        let known = known.map(|(_, early)| (early.peers, early.state));
        let mut peers = anchors.peers(anchor);
        if let Some((handle, answerer, _)) = invite {
            // It has not answered the INVITE yet.
            for peers in &mut peers {
                peers[answerer as usize] = None;
            }
            if let Some(invite) = anchors.offer_mut(handle) {
                invite.state = known.map_or(OfferState::Open, |(_, state)| state);
            }
        }
        let peers = known.map_or(peers, |(peers, _)| peers);
        anchors.set_peers(anchor, &peers);
    }
}

const fn answer(offer: Handle) -> Role {
    Role::Answer { offer, firm: true }
}

/// RFC 3262 §3: a provisional response that is acknowledged by a PRACK has an RSeq.
fn is_reliable(message: &Message<'_>) -> bool {
    value_of(message, b"RSeq").is_some()
}

/// The CSeq of the INVITE whose reliable response a PRACK acknowledges (RFC 3262 §7.2).
fn acknowledged(message: &Message<'_>) -> Option<u32> {
    let value = value_of(message, b"RAck")?;
    let mut words = value
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    let cseq = words.nth(1)?;
    number(cseq, u32::MAX)
}

fn value_of<'m>(message: &Message<'m>, name: &[u8]) -> Option<&'m [u8]> {
    let mut headers = message.headers();
    let header = headers.find(|header| {
        message
            .text(header.name(message.bytes()))
            .eq_ignore_ascii_case(name)
    })?;
    Some(message.text(header.value))
}
