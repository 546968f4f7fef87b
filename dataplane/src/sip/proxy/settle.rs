//! The end of an offer: what it changed stands, or is taken back (RFC 3261 §14.1, RFC 3264 §8).

use super::Proxy;
use super::Step;
use crate::limits::STREAMS_MAX;
use crate::sip::anchors::Carrier;
use crate::sip::anchors::Handle;
use crate::sip::anchors::Offer;
use crate::sip::anchors::OfferState;
use crate::sip::anchors::Peers;
use crate::sip::call::Party;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;

impl Proxy {
    /// Takes note of a final response to the request of `server`, whether it carried an offer
    /// or not: what it offered or answered stands, or is taken back.
    pub(super) fn conclude(
        &mut self,
        message: &Message<'_>,
        call: Option<Id>,
        from: Party,
        server: Id,
        step: &mut Step<'_>,
    ) {
        let (Some(id), Some(status)) = (call, message.status()) else {
            return;
        };
        match (status, message.method()) {
            (..=199, _) => return,
            (300.., _) => return self.take_back(id, server, step),
            (_, Method::Invite) => self.accept(id, message, from, step),
            (_, Method::Prack | Method::Update) => self.settle_all(id, server, step),
            _ => return,
        }
        self.move_flows(id, step);
    }

    /// The 2xx to an INVITE: its dialog is the call's, and its offer is settled. One that the 2xx
    /// itself has made waits for the ACK.
    fn accept(&mut self, id: Id, message: &Message<'_>, from: Party, step: &mut Step<'_>) {
        let tag = self.callee_tag(message, from);
        let (cseq, ..) = message.cseq();
        let asker = from.other();
        let Some(call) = self.calls.get(id) else {
            return;
        };
        if call.anchor.accepted[asker as usize] >= Some(cseq) {
            return;
        }
        self.play(id, tag);
        while let Some(offer) = self.concluded(id, |offer| {
            let waits = offer.carrier == Carrier::Response
                && offer.state == OfferState::Open
                && offer.tag == tag;
            (offer.asker(), offer.cseq) == (asker, cseq)
                && matches!(offer.carrier, Carrier::Invite | Carrier::Response)
                && !waits
        }) {
            self.settle(id, offer, step);
        }
        if let Some(call) = self.calls.get_mut(id) {
            call.anchor.accepted[asker as usize] = Some(cseq);
            self.anchors.forget_early(&mut call.anchor);
        }
    }

    /// Settles the offer that the request of `server` carried; what it answered stands.
    fn settle_all(&mut self, id: Id, server: Id, step: &mut Step<'_>) {
        let carried = |offer: &Offer| offer.server == server;
        while let Some(offer) = self.concluded(id, carried) {
            self.settle(id, offer, step);
        }
        let answered = |offer: &Offer| offer.answered_in == Some(server);
        if let Some(offer) = self
            .concluded(id, answered)
            .and_then(|offer| self.anchors.offer_mut(offer))
        {
            offer.answered_in = None;
        }
    }

    /// The newest of a call's offers that is so.
    fn concluded(&self, id: Id, is_so: impl Fn(&Offer) -> bool) -> Option<Handle> {
        let call = self.calls.get(id)?;
        let mut offers = self.anchors.offers(&call.anchor);
        offers
            .find(|(_, offer)| is_so(offer))
            .map(|(handle, _)| handle)
    }

    /// An offer that has been answered is agreed: a stream that either side has rejected is
    /// closed (RFC 3264 §6, §8.2). One that was not answered has come to nothing.
    pub(super) fn settle(&mut self, id: Id, handle: Handle, step: &mut Step<'_>) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let Some((offer, before)) = self.anchors.take_offer(&mut call.anchor, handle) else {
            return;
        };
        if offer.state == OfferState::Open {
            // The first INVITE's streams stay: nobody has said that they are not wanted.
            if call.anchor.is_decided() || offer.carrier != Carrier::Invite {
                self.undo(id, &offer, &before, step);
            }
            return;
        }
        for number in 0..STREAMS_MAX {
            let Some(call) = self.calls.get(id) else {
                return;
            };
            let stream = self.anchors.stream_mut(&call.anchor, number);
            let Some(stream) = stream.filter(|stream| stream.peers.contains(&None)) else {
                continue;
            };
            if offer.is_fresh(number) && offer.carrier != Carrier::Response {
                self.drop_stream(id, number, step);
            } else {
                stream.restore([None; 2]);
            }
        }
    }

    /// RFC 3261 §14.1: what a request that has failed offered, or its responses, changes nothing;
    /// what it answered is not answered yet. The first INVITE of a call fails with its call.
    pub(super) fn take_back(&mut self, id: Id, server: Id, step: &mut Step<'_>) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        // In a call that was taken up again others than its first may fail while that one waits.
        let first = self.clients.get(call.invite);
        let first = first.is_some_and(|first| first.server == Some(server));
        let carried = |offer: &Offer| {
            let of_invite = matches!(offer.carrier, Carrier::Invite | Carrier::Response);
            offer.server == server && !(first && of_invite)
        };
        while let Some(handle) = self.concluded(id, carried) {
            let Some(call) = self.calls.get_mut(id) else {
                return;
            };
            let Some((offer, before)) = self.anchors.take_offer(&mut call.anchor, handle) else {
                return;
            };
            self.undo(id, &offer, &before, step);
        }
        let answered = |offer: &Offer| offer.answered_in == Some(server);
        if let Some(handle) = self.concluded(id, answered) {
            self.unanswer(id, handle);
        }
        self.move_flows(id, step);
    }

    /// Undoes an offer that is gone: `before` is what it put aside.
    fn undo(&mut self, id: Id, offer: &Offer, before: &Peers, step: &mut Step<'_>) {
        for (number, before) in before.iter().enumerate() {
            let Some(call) = self.calls.get(id) else {
                return;
            };
            let Some(stream) = self.anchors.stream_mut(&call.anchor, number) else {
                continue;
            };
            if !offer.is_fresh(number) {
                if offer.state != OfferState::Open {
                    stream.restore(*before);
                }
            } else if offer.carrier == Carrier::Response {
                // The 2xx comes again until its ACK does, and names these ports.
                stream.restore([None; 2]);
            } else {
                self.drop_stream(id, number, step);
            }
        }
    }

    /// The PRACK that answered an offer has failed: the offer waits for its answer again.
    fn unanswer(&mut self, id: Id, handle: Handle) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let (anchor, anchors) = (&call.anchor, &mut self.anchors);
        let Some(offer) = anchors.offer_mut(handle) else {
            return;
        };
        offer.state = OfferState::Open;
        offer.answered_in = None;
        let (by, fresh, aside) = (offer.by, offer.fresh, offer.session);
        for number in 0..STREAMS_MAX {
            let is_fresh = fresh & (1 << number) != 0;
            let Some(mut peers) = anchors.stream(anchor, number).map(|stream| stream.peers) else {
                continue;
            };
            let aside = aside.and_then(|aside| anchors.session_mut(aside));
            if let Some(aside) = aside.filter(|_| !is_fresh) {
                std::mem::swap(&mut peers, &mut aside.peers[number]);
            } else {
                peers[by.other() as usize] = None;
            }
            if let Some(stream) = anchors.stream_mut(anchor, number) {
                stream.restore(peers);
            }
        }
    }
}
