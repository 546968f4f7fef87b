//! Requests that wait for something outside: parked in their server transaction, so that their
//! repetitions end there, each with a ticket and a deadline.
//!
//! Who asks for the same thing holds a ticket of the same question, and the answer serves them one
//! after the other, one an input. An answer that comes too late serves
//! whoever waits for the same user by then, and is remembered by the cache.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::auth::CHALLENGE_LEN_MAX;
use crate::counters::Counter;
use crate::frame::Kept;
use crate::ids::DomainIndex;
use crate::ids::ListenIndex;
use crate::ids::TrunkIndex;
use crate::ids::WorkerId;
use crate::sip::build;
use crate::sip::digest::challenge::Asker;
use crate::sip::digest::nonce::Nonce;
use crate::sip::effects::Locate;
use crate::sip::effects::NonceUse;
use crate::sip::effects::Question;
use crate::sip::endpoint::Endpoint;
use crate::sip::message::Message;
use crate::sip::places::Seek;
use crate::sip::slab::Id;
use crate::sip::subscriber::Subscriber;
use crate::sip::ticket::Taken;
use crate::sip::transaction::Branches;
use crate::sip::transaction::ServerState;
use crate::tick::Tick;

/// RFC 3261 §21.5.5: what was asked gave no answer in time.
const NO_ANSWER: u16 = 504;
/// RFC 3261 §21.5.4: what was asked cannot be asked now.
pub(super) const UNAVAILABLE: u16 = 503;

/// Of so many server transactions one may linger for a request that has waited and was refused here: who knows no
/// password would else take them all, and what is kept of messages. What is refused beyond is
/// told without state.
const REFUSED_PART: u32 = 16;

/// What a request waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// What the store says of this subscriber.
    Store(Subscriber),
    /// What the maker of a nonce says of a use of it.
    Use {
        /// The nonce.
        nonce: Nonce,
        /// Its count.
        nc: u32,
        /// Who has used it, see [`Proxy::used_by`].
        by: u64,
    },
    /// Where a user of a domain is reached, of which the keeper is asked.
    Contacts {
        /// The worker that keeps them.
        keeper: WorkerId,
        /// The key of the address of record.
        aor: u64,
        /// Whose that is.
        who: Subscriber,
    },
    /// Whether its sender has registered from where it comes, of which the keeper of its contacts is
    /// asked.
    Flow {
        /// The worker that keeps them.
        keeper: WorkerId,
        /// The key of the address of record.
        aor: u64,
        /// Whose that is.
        who: Subscriber,
    },
    /// A place among the calls of a subscriber, for which the keeper of their number is asked.
    Place {
        /// The worker that keeps it.
        keeper: WorkerId,
        /// The key of the subscriber's address of record.
        subscriber: u64,
        /// Its domain.
        domain: DomainIndex,
    },
    /// The next moment at which its failure may be told: whole steps after it came.
    Grid,
}

impl Wait {
    /// Whether it may take longer than another worker takes for its word.
    const fn is_long(self) -> bool {
        match self {
            Wait::Store(_) | Wait::Contacts { .. } | Wait::Flow { .. } | Wait::Grid => true,
            Wait::Use { .. } | Wait::Place { .. } => false,
        }
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Parked {
    server: Id,
    pub(super) request: Kept,
    source: Endpoint,
    listen: ListenIndex,
    pub(super) trunk: TrunkIndex,
    /// Whose subscriber its sender says it is.
    pub(super) domain: Option<DomainIndex>,
    /// When it came.
    pub(super) began: Tick,
    /// It came while few failures waited to be told: its own will be told too.
    is_owed: bool,
    pub(super) due: Tick,
    pub(super) wait: Wait,
}

impl Proxy {
    /// Has a request wait that came just now; the error is the status of the answer.
    pub(super) fn park(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (trunk, domain): (TrunkIndex, Option<DomainIndex>),
        wait: Wait,
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        // Whoever is known and whoever is not are refused alike: else a flood would tell them apart.
        if self.tickets.is_full() || wait.is_long() && self.is_crowded() {
            step.counters.count(Counter::TicketsRefused);
            return Err(UNAVAILABLE);
        }
        let is_owed = !self.is_flooded();
        if matches!(wait, Wait::Grid) && !is_owed {
            // Whoever tries so many passwords is not owed an answer. An INVITE has a 100, as where the store is
            // asked first.
            if let Some((len, to)) = self.write_100(message, arrival, step) {
                step.effects.send(len, to, arrival.listen);
            }
            return Ok(Counter::SipAuthFlood);
        }
        let server = self.open_server(message, arrival, key, None, step)?;
        let Some(request) = self.kept.put(message.bytes()) else {
            step.counters.count(Counter::KeptExhausted);
            self.end_server(server);
            return Err(UNAVAILABLE);
        };
        self.try_100(message, arrival, server, step);
        let parked = Parked {
            server,
            request,
            source: arrival.source.into(),
            listen: arrival.listen,
            trunk,
            domain,
            began: step.now,
            is_owed,
            due: self.deadline(wait, step.now, step.now),
            wait,
        };
        self.wait(parked, key, step);
        Ok(Counter::SipParked)
    }

    /// True where so many failures wait to be told that what waits for answers needs the rest.
    fn is_flooded(&self) -> bool {
        self.failures_waiting >= self.tickets.capacity() / 2
    }

    /// True where so many wait for what may take long that those who wait for another worker's word need
    /// the rest: whoever names users whom nobody knows would else keep those who are known from calling.
    pub(super) fn is_crowded(&self) -> bool {
        let capacity = self.tickets.capacity();
        self.long_waiting >= capacity - capacity / 4
    }

    /// Until when a request that came at `began` waits for this.
    fn deadline(&self, wait: Wait, began: Tick, now: Tick) -> Tick {
        match wait {
            Wait::Store(_)
            | Wait::Use { .. }
            | Wait::Contacts { .. }
            | Wait::Flow { .. }
            | Wait::Place { .. } => began.plus_ms(self.authentication.deadline_ms),
            Wait::Grid => {
                // From when it came, or what the store took would show in who crosses a moment
                // of the clock.
                let grid_ns = self.authentication.failure_grid_ms.max(1) * 1_000_000;
                let steps = now.since(began) / grid_ns + 1;
                Tick(began.0.saturating_add(steps.saturating_mul(grid_ns)))
            }
        }
    }

    /// Gives a ticket to a request with a server transaction, and asks what nobody has asked yet. It
    /// was seen before that there is one left.
    fn wait(&mut self, parked: Parked, key: u64, step: &mut Step<'_>) {
        let (server, wait, due) = (parked.server, parked.wait, parked.due);
        let of = match wait {
            Wait::Store(who) => self.subscriber_key(&who),
            // Nobody else waits for the same.
            Wait::Use { .. }
            | Wait::Contacts { .. }
            | Wait::Flow { .. }
            | Wait::Place { .. }
            | Wait::Grid => key,
        };
        let taken = match self.tickets.take(of, parked) {
            Ok(taken) => taken,
            Err(parked) => {
                self.kept.release(parked.request);
                self.end_server(server);
                return;
            }
        };
        let ticket = taken.ticket();
        self.long_waiting += u32::from(wait.is_long());
        if let Some(server) = self.servers.get_mut(server) {
            server.branches = Branches::Parked(ticket);
        }
        self.wheel.arm(self.ticket_timer(ticket.slot), due);
        match (wait, taken) {
            (Wait::Store(who), Taken::Ask { question, .. }) => {
                self.ask_store(Some(question), who, step);
            }
            (Wait::Store(_), Taken::Joined { .. }) => {}
            (Wait::Use { nonce, nc, by }, _) => step.effects.ask(Question::Nonce {
                maker: nonce.worker,
                of: NonceUse {
                    asker: self.worker,
                    ticket,
                    nonce,
                    nc,
                    transaction: by,
                },
            }),
            (Wait::Contacts { keeper, aor, who } | Wait::Flow { keeper, aor, who }, _) => {
                let of = Locate {
                    asker: self.worker,
                    ticket,
                    aor,
                    who,
                };
                step.effects.ask(match keeper == self.worker {
                    true => Question::Seek(of),
                    false => Question::Contacts { keeper, of },
                });
            }
            (
                Wait::Place {
                    keeper,
                    subscriber,
                    domain,
                },
                _,
            ) => {
                let of = Seek {
                    asker: self.worker,
                    ticket,
                    keeper,
                    subscriber,
                    domain,
                };
                if keeper == self.worker {
                    let granted = self.take_place(&of);
                    self.placed(of, granted);
                } else {
                    step.effects.ask(Question::Place(of));
                }
            }
            (Wait::Grid, _) => self.failures_waiting += 1,
        }
    }

    /// Takes a ticket back.
    pub(super) fn take_ticket(&mut self, ticket: Id) -> Option<Parked> {
        let parked = self.tickets.give_back(ticket)?;
        self.ticket_taken(ticket, &parked);
        Some(parked)
    }

    pub(super) fn ticket_taken(&mut self, ticket: Id, parked: &Parked) {
        self.wheel.disarm(self.ticket_timer(ticket.slot));
        self.long_waiting -= u32::from(parked.wait.is_long());
        self.failures_waiting -= u32::from(matches!(parked.wait, Wait::Grid));
    }

    /// The request of a ticket waits no more: its transaction ends.
    pub(super) fn discard_ticket(&mut self, ticket: Id) {
        if let Some(parked) = self.take_ticket(ticket) {
            self.kept.release(parked.request);
        }
    }

    /// A ticket's time is up.
    pub(super) fn fire_ticket(&mut self, ticket: Id, step: &mut Step<'_>) {
        let Some(parked) = self.take_ticket(ticket) else {
            return;
        };
        let reply = match parked.wait {
            Wait::Grid => Reply::Challenge { stale: false },
            Wait::Contacts { .. } => {
                step.counters.count(Counter::TicketsLate);
                return self.carry_on_without(parked, NO_ANSWER, step);
            }
            Wait::Store(_) => {
                step.counters.count(Counter::TicketsLate);
                return self.answer_without_store(parked, NO_ANSWER, step);
            }
            Wait::Use { .. } | Wait::Flow { .. } | Wait::Place { .. } => {
                step.counters.count(Counter::TicketsLate);
                Reply::Status(NO_ANSWER)
            }
        };
        self.answer_parked(parked, reply, step);
    }

    /// A CANCEL has come for a request that waits (RFC 3261 §16.10, §9.2).
    pub(super) fn cancel_parked(&mut self, ticket: Id, step: &mut Step<'_>) {
        if let Some(parked) = self.take_ticket(ticket) {
            self.answer_parked(parked, Reply::Status(487), step);
        }
    }

    /// RFC 4320 §4.1: a 100 to a request that waits for long.
    pub(super) fn still_parked(&mut self, ticket: Id, step: &mut Step<'_>) {
        let Some(parked) = self.tickets.get(ticket) else {
            return;
        };
        let (server, source) = (parked.server, parked.source.addr());
        let Ok(message) = Message::scan(self.kept.bytes(&parked.request)) else {
            return;
        };
        let response = build::Response {
            source: Some(source),
            ..build::Response::new(100)
        };
        let Ok(len) = build::response(&message, &response, step.effects.room()) else {
            return;
        };
        let Some(entry) = self.servers.get(server) else {
            return;
        };
        step.effects.send(len, entry.reply_to.addr(), entry.listen);
    }

    pub(super) fn answer_parked(&mut self, parked: Parked, reply: Reply, step: &mut Step<'_>) {
        self.with_parked(parked, step, |_, _, _, _, _| Next::Reply(reply));
    }

    /// Reads a request that waited once more, has `judge` say what is next, and does that.
    pub(super) fn with_parked(
        &mut self,
        mut parked: Parked,
        step: &mut Step<'_>,
        judge: impl FnOnce(&mut Proxy, &Message<'_>, u64, &Parked, &mut Step<'_>) -> Next,
    ) {
        self.splices.clear();
        let mut room = std::mem::take(&mut self.request);
        let bytes = self.kept.bytes(&parked.request);
        let len = bytes.len();
        room[..len].copy_from_slice(bytes);
        let Some(key) = self.servers.get(parked.server).map(|server| server.key) else {
            self.kept.release(parked.request);
            self.request = room;
            return;
        };
        // It was scanned when it came.
        if let Ok(message) = Message::scan(&room[..len]) {
            let next = judge(self, &message, key, &parked, step);
            match next {
                Next::Nothing => {
                    // Answered or sent on without state, and not waiting for something else.
                    let of = self.servers.get(parked.server).map(|entry| entry.branches);
                    if let Some(Branches::Parked(ticket)) = of
                        && self.tickets.get(ticket).is_none()
                    {
                        self.end_server(parked.server);
                    }
                    self.kept.release(parked.request);
                }
                Next::Reply(reply) => {
                    self.reply(&message, key, &parked, reply, step);
                    self.kept.release(parked.request);
                }
                Next::Wait(Wait::Grid) if !parked.is_owed => {
                    // As where nobody had to be asked.
                    self.end_server(parked.server);
                    self.kept.release(parked.request);
                }
                Next::Wait(wait) => {
                    parked.due = self.deadline(wait, parked.began, step.now);
                    parked.wait = wait;
                    self.wait(parked, key, step);
                }
            }
        }
        self.request = room;
    }

    /// Answers a request that waited, by a transaction: it has had a 100, so that it is not
    /// repeated.
    fn reply(
        &mut self,
        message: &Message<'_>,
        key: u64,
        parked: &Parked,
        reply: Reply,
        step: &mut Step<'_>,
    ) {
        let arrival = parked.arrival();
        let mut room = [0; CHALLENGE_LEN_MAX];
        let (status, lines) = match (reply, parked.domain) {
            (Reply::Challenge { stale }, Some(domain)) => {
                let method = message.method();
                let lines = self.challenge(method, arrival, domain, stale, &mut room, step);
                (Asker::of(method).status(), lines)
            }
            (Reply::Challenge { .. }, None) => (403, &[][..]),
            (Reply::Status(status), _) => (status, &[][..]),
        };
        // Where it went on and could not be sent its transaction has ended.
        let server = match self.open_server(message, arrival, key, None, step) {
            Ok(server) => server,
            Err(_) => {
                self.refusals.remember(key, status, step.now);
                self.answer(message, arrival, status, lines, step);
                return;
            }
        };
        self.answer(message, arrival, status, lines, step);
        if self.refused_lingering >= self.servers.capacity() / REFUSED_PART {
            self.refusals.remember(key, status, step.now);
            self.end_server(server);
            return;
        }
        let sent = step.effects.last().and_then(|bytes| self.kept.put(bytes));
        let Some(entry) = self.servers.get_mut(server) else {
            return;
        };
        entry.branches = Branches::None;
        if !std::mem::replace(&mut entry.is_refused, true) {
            self.refused_lingering += 1;
        }
        // RFC 3261 §17.2.1: Timer G and H, or J.
        if entry.state == ServerState::Proceeding && entry.respond(status, step.now) {
            let old = std::mem::replace(&mut entry.response, sent);
            self.release(old);
        } else {
            self.release(sent);
        }
        self.arm_server(server);
        let place = self.servers.get(server).and_then(|entry| entry.place);
        self.check_place(place);
    }

    fn ticket_timer(&self, slot: u32) -> u32 {
        self.clients.capacity() + self.servers.capacity() + self.calls.capacity() + slot
    }
}

impl Parked {
    /// Its server transaction.
    pub(super) const fn server(&self) -> Id {
        self.server
    }

    pub(super) const fn arrival(&self) -> Arrival {
        Arrival {
            source: self.source.addr(),
            listen: self.listen,
        }
    }
}

/// What a request that waited is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Challenge { stale: bool },
    Status(u16),
}

/// What becomes of a request that waited.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// It went on.
    Nothing,
    Reply(Reply),
    Wait(Wait),
}
