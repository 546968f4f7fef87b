//! Requests that go on, since what they waited for is known, see [`super::parked`].

use super::Proxy;
use super::Step;
use super::auth::Judgement;
use super::auth::Progress;
use super::found::Contact;
use super::found::FOUND_LEN_MAX;
use super::found::Found;
use super::parked::Next;
use super::parked::Parked;
use super::parked::Reply;
use super::parked::UNAVAILABLE;
use super::parked::Wait;
use crate::counters::Counter;
use crate::frame::Kept;
use crate::sip::denials::Why;
use crate::sip::digest::window::Use;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::places::Granted;
use crate::sip::places::Seek;
use crate::sip::slab::Id;
use crate::sip::subscriber::Said;
use crate::sip::subscriber::Subscriber;
use crate::tick::Tick;

/// What has come of a question.
#[derive(Debug)]
pub(super) enum Answer {
    /// The store has said this, for all who hold a ticket of the question.
    Said(Id, Said),
    /// The use of a nonce was this, for who holds the ticket.
    Used(Id, Use),
    /// The user is reached so, see [`super::found`]; or not at all.
    Located(Id, Option<Kept>),
    /// A place was sought, and this is what became of it.
    Placed(Seek, Granted),
    /// Whether the user is reached cannot be said.
    Unlocated(Id),
}

impl Proxy {
    /// The store has answered. Who waited for it goes on by [`Proxy::resume`]: what it says of a user serves
    /// whoever waits for that, though those who had asked for it may have given up since. That it cannot be
    /// asked is for those who did alone.
    pub fn said(&mut self, question: Option<Id>, who: &Subscriber, said: Said, now: Tick) {
        let waiting = match said {
            Said::Known(known) => {
                let key = self.subscriber_key(who);
                self.subscribers.keep(key, known.primed(), now);
                self.tickets.question(key)
            }
            Said::Unavailable => question,
        };
        if let Some(question) = waiting {
            let _ = self.note_answer(Answer::Said(question, said));
        }
    }

    /// The maker of a nonce has answered. Who waited for it goes on by [`Proxy::resume`].
    pub fn used(&mut self, ticket: Id, used: Use) {
        let _ = self.note_answer(Answer::Used(ticket, used));
    }

    /// No more than there are tickets can be of use: those beyond meet their deadline.
    pub(super) fn note_answer(&mut self, answer: Answer) -> Result<(), Answer> {
        if self.answers.len() == self.answers.capacity() {
            return Err(answer);
        }
        self.answers.push_back(answer);
        Ok(())
    }

    /// One request that waited goes on; false where none can.
    pub fn resume(&mut self, step: &mut Step<'_>) -> bool {
        while let Some(answer) = self.answers.pop_front() {
            match answer {
                Answer::Said(question, said) => {
                    if let Some((ticket, parked)) = self.tickets.serve(question) {
                        // There may be others.
                        self.answers.push_front(answer);
                        self.ticket_taken(ticket, &parked);
                        self.carry_on_with(parked, said, step);
                        return true;
                    }
                }
                Answer::Used(ticket, used) => {
                    if let Some(parked) = self.take_ticket(ticket) {
                        self.carry_on(parked, Progress::Used(used), step);
                        return true;
                    }
                }
                Answer::Placed(of, granted) => match self.take_ticket(of.ticket) {
                    Some(parked) => {
                        self.carry_on_placed(parked, &of, granted, step);
                        return true;
                    }
                    // It was cancelled, or its time is up.
                    None => self.decline(&of, granted),
                },
                Answer::Located(ticket, found) => {
                    let parked = self.take_ticket(ticket);
                    let goes_on = parked.is_some();
                    if let Some(parked) = parked {
                        self.carry_on_to(parked, found.as_ref(), step);
                    }
                    self.release(found);
                    if goes_on {
                        return true;
                    }
                }
                Answer::Unlocated(ticket) => {
                    if let Some(parked) = self.take_ticket(ticket) {
                        step.counters.count(Counter::LocationUnavailable);
                        self.carry_on_without(parked, UNAVAILABLE, step);
                        return true;
                    }
                }
            }
        }
        false
    }

    /// A request goes on to a user whose contacts are known now, or from one.
    fn carry_on_to(&mut self, parked: Parked, found: Option<&Kept>, step: &mut Step<'_>) {
        let mut room = [0; FOUND_LEN_MAX];
        let bytes = found.map_or(&[][..], |found| self.kept.bytes(found));
        let len = bytes.len().min(FOUND_LEN_MAX);
        room[..len].copy_from_slice(&bytes[..len]);
        self.with_parked(parked, step, |proxy, message, key, parked, step| {
            let (arrival, trunk, found) = (parked.arrival(), parked.trunk, &room[..len]);
            let sent = match parked.wait {
                Wait::Contacts { .. } if message.method() == Method::Register => {
                    return proxy.register_parked(message, parked, key, step);
                }
                Wait::Contacts { who, .. } => {
                    let from = (trunk, who.domain);
                    let sent = proxy.forward_found(message, arrival, key, from, found, step);
                    sent.map(|()| Counter::SipForwarded)
                }
                Wait::Flow { .. } => {
                    let is_it = |contact: Contact<'_>| {
                        contact.to == arrival.source && contact.listen == arrival.listen
                    };
                    let from = (trunk, Found(found).contacts().any(is_it));
                    proxy.go_on_registered(message, arrival, key, from, step)
                }
                Wait::Store(_) | Wait::Use { .. } | Wait::Place { .. } | Wait::Grid => Err(500),
            };
            match sent {
                Ok(_) => Next::Nothing,
                Err(status) => Next::Reply(Reply::Status(status)),
            }
        });
    }

    /// A request goes on of whose user it cannot be said how it is reached: what registers does so from memory.
    pub(super) fn carry_on_without(&mut self, parked: Parked, status: u16, step: &mut Step<'_>) {
        self.with_parked(parked, step, |proxy, message, key, parked, step| {
            if message.method() == Method::Register {
                return proxy.register_parked(message, parked, key, step);
            }
            Next::Reply(Reply::Status(status))
        });
    }

    fn register_parked(
        &mut self,
        message: &Message<'_>,
        parked: &Parked,
        key: u64,
        step: &mut Step<'_>,
    ) -> Next {
        let Some((domain, Some(aor))) = self.registers(message) else {
            return Next::Reply(Reply::Status(500));
        };
        match self.register_now(message, parked.arrival(), key, (domain, aor), step) {
            Ok(_) => Next::Nothing,
            Err(status) => Next::Reply(Reply::Status(status)),
        }
    }

    fn carry_on_with(&mut self, parked: Parked, said: Said, step: &mut Step<'_>) {
        match said {
            Said::Known(known) => self.carry_on(parked, Progress::Said(known), step),
            Said::Unavailable => {
                step.counters.count(Counter::AuthUnavailable);
                self.answer_without_store(parked, UNAVAILABLE, step);
            }
        }
    }

    /// A request that waited is judged once more, with what is known now.
    fn carry_on(&mut self, parked: Parked, progress: Progress, step: &mut Step<'_>) {
        self.with_parked(parked, step, |proxy, message, key, parked, step| {
            let arrival = parked.arrival();
            let Some(domain) = parked.domain else {
                return Next::Reply(Reply::Status(500));
            };
            // As of when it came: its nonce was good then.
            let claim = match proxy.claim(message, arrival, domain, parked.began) {
                Ok(claim) => claim,
                Err(_) => return Next::Reply(Reply::Challenge { stale: true }),
            };
            match proxy.judge(message, arrival, key, &claim, progress, step) {
                Judgement::True => {
                    match proxy.admitted(message, arrival, key, (parked.trunk, &claim), step) {
                        Ok(_) => Next::Nothing,
                        Err(status) => Next::Reply(Reply::Status(status)),
                    }
                }
                Judgement::Waits(wait) => Next::Wait(wait),
                Judgement::False(why) => {
                    proxy.failed(message, arrival.source, why, step);
                    Next::Wait(Wait::Grid)
                }
                Judgement::Stale => Next::Reply(Reply::Challenge { stale: true }),
            }
        });
    }

    /// Answers a request of somebody of whom the store has said nothing.
    pub(super) fn answer_without_store(
        &mut self,
        parked: Parked,
        status: u16,
        step: &mut Step<'_>,
    ) {
        self.with_parked(parked, step, |proxy, message, _, parked, step| {
            proxy.note_denial(message, parked.arrival().source, Why::Store, step.now);
            Next::Reply(Reply::Status(status))
        });
    }
}
