//! A subscriber's calls are as many as its domain allows: an INVITE that begins one more waits for a
//! place, see [`crate::sip::places`].

use super::Proxy;
use super::Step;
use super::auth::identity_uri;
use super::parked::Next;
use super::parked::Parked;
use super::parked::Reply;
use super::parked::UNAVAILABLE;
use super::parked::Wait;
use super::resumed::Answer;
use crate::counters::Counter;
use crate::ids::TrunkIndex;
use crate::ids::WorkerId;
use crate::sip::denials::Why;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::places::Back;
use crate::sip::places::Granted;
use crate::sip::places::Place;
use crate::sip::places::Seek;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::slab::Id;
use crate::sip::transaction::ServerState;
use crate::sip::uri::Uri;

impl Proxy {
    /// What a request of a subscriber must wait for: an INVITE that begins a call, where their number
    /// is limited.
    pub(super) fn needs_place(&self, message: &Message<'_>, caller: TrunkIndex) -> Option<Wait> {
        let domain = self.dial.domain_of(caller)?;
        let is_limited = self.domains[usize::from(domain.0)].calls > 0;
        if !is_limited || message.method() != Method::Invite || message.to_tag().is_some() {
            return None;
        }
        let uri = Uri::read(message.bytes(), identity_uri(message)).ok()?;
        let aor = AddressOfRecord::of(message.bytes(), &uri, self.identity.hash())?;
        Some(Wait::Place {
            keeper: aor.owner(self.workers),
            subscriber: aor.key,
            domain,
        })
    }

    /// Another worker seeks a place, or this one.
    pub fn take_place(&mut self, of: &Seek) -> Granted {
        let max = self.domains[usize::from(of.domain.0)].calls;
        self.places.take(of.subscriber, max)
    }

    /// The keeper has answered. Who waited goes on by [`Proxy::resume`].
    pub fn placed(&mut self, of: Seek, granted: Granted) {
        if self.note_answer(Answer::Placed(of, granted)).is_err() {
            self.decline(&of, granted);
        }
    }

    /// A place that nobody waits for any more.
    pub(super) fn decline(&mut self, of: &Seek, granted: Granted) {
        if granted == Granted::Yes {
            self.give_place_back(of.keeper, of.subscriber);
        }
    }

    /// A place is given back by another worker.
    pub fn place_back(&mut self, subscriber: u64) {
        self.places.give_back(subscriber);
    }

    /// The next place that is to be given back to another worker.
    pub fn next_place_back(&mut self) -> Option<Back> {
        self.places.next_back()
    }

    /// That could not be told now.
    pub fn return_place(&mut self, back: Back) {
        let _ = self.places.note_back(back);
    }

    /// A call that waited for its place begins, or does not.
    pub(super) fn carry_on_placed(
        &mut self,
        parked: Parked,
        of: &Seek,
        granted: Granted,
        step: &mut Step<'_>,
    ) {
        let granted = match granted {
            Granted::Yes if !self.hold_place(parked.server(), of) => Granted::Full,
            other => other,
        };
        self.go_on_placed(parked, granted, step);
    }

    /// A call has its place, or gets none.
    fn go_on_placed(&mut self, parked: Parked, granted: Granted, step: &mut Step<'_>) {
        self.with_parked(parked, step, |proxy, message, key, parked, step| {
            let arrival = parked.arrival();
            match granted {
                Granted::Yes => {}
                Granted::No => {
                    step.counters.count(Counter::CallsOverLimit);
                    proxy.note_denial(message, arrival.source, Why::Calls, step.now);
                    // RFC 3261 §21.4.4: to try again is of no use, and no other server is better.
                    return Next::Reply(Reply::Status(403));
                }
                Granted::Full => {
                    step.counters.count(Counter::CallsRefused);
                    return Next::Reply(Reply::Status(UNAVAILABLE));
                }
            }
            let dialog = proxy.in_dialog(message, arrival.source.ip());
            match proxy.send_up(message, arrival, key, parked.trunk, dialog, step) {
                Ok(_) => Next::Nothing,
                Err(status) => Next::Reply(Reply::Status(status)),
            }
        });
    }

    /// Holds a place for an INVITE; false where there is no room.
    fn hold_place(&mut self, server: Id, of: &Seek) -> bool {
        let place = Place {
            subscriber: of.subscriber,
            keeper: of.keeper,
            server,
            calls: 0,
        };
        let id = self.places.hold(place);
        match (id, self.servers.get_mut(server)) {
            (Some(id), Some(server)) => server.place = Some(id),
            (id, _) => {
                if let Some(id) = id {
                    let _ = self.places.release(id);
                }
                self.give_place_back(of.keeper, of.subscriber);
                return false;
            }
        }
        true
    }

    /// A call has begun for this INVITE: it has its place as well.
    pub(super) fn enter_place(&mut self, call: Id, server: Id) {
        let place = self.servers.get(server).and_then(|server| server.place);
        if let Some(id) = place
            && let Some(place) = self.places.get_mut(id)
            && let Some(call) = self.calls.get_mut(call)
        {
            place.calls += 1;
            call.place = Some(id);
        }
    }

    /// A call has ended.
    pub(super) fn leave_place(&mut self, call: Id) {
        let call = self.calls.get_mut(call);
        if let Some(id) = call.and_then(|call| call.place.take()) {
            if let Some(place) = self.places.get_mut(id) {
                place.calls -= 1;
            }
            self.check_place(Some(id));
        }
    }

    /// Gives a place back that neither its INVITE nor a call has any more.
    pub(super) fn check_place(&mut self, id: Option<Id>) {
        let Some(id) = id else { return };
        if !self.is_held(id)
            && let Some(place) = self.places.release(id)
        {
            self.give_place_back(place.keeper, place.subscriber);
        }
    }

    /// Whether an INVITE or a call has a place.
    pub(super) fn is_held(&self, id: Id) -> bool {
        let Some(place) = self.places.get(id) else {
            return false;
        };
        let waits = self.servers.get(place.server).is_some_and(|server| {
            server.place == Some(id) && server.state == ServerState::Proceeding
        });
        waits || place.calls > 0
    }

    fn give_place_back(&mut self, keeper: WorkerId, subscriber: u64) {
        if keeper == self.worker {
            self.places.give_back(subscriber);
        } else {
            let fits = self.places.note_back((keeper, subscriber));
            debug_assert!(fits, "more places are given back than there are");
        }
    }
}
