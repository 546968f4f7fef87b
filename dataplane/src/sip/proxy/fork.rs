//! Requests that begin something: their targets (RFC 3261 §16.5), and a branch for each that is
//! tried (§16.6). What follows when one has failed is said in [`super::failover`].
//!
//! A request with one target is sent on as it is. One with more gets a response context, whose
//! targets are tried in the order of [`super::targets`]; each INVITE branch is a call of its own,
//! with its own relay ports.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::context::Context;
use super::describe::Described;
use super::forward::Way;
use super::forward::max_breadth;
use super::found::FOUND_LEN_MAX;
use super::found::Found;
use super::targets::Target;
use super::targets::Targets;
use super::write::unedited_status;
use crate::counters::Counter;
use crate::counters::trunks::TrunkCounter;
use crate::ids::TrunkIndex;
use crate::limits::TARGETS_MAX;
use crate::settings::DialRoute;
use crate::sip::call::Party;
use crate::sip::call::Sender;
use crate::sip::identity::Cookie;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::transaction::Branches;
use crate::sip::transaction::Client;
use crate::sip::transaction::ClientState;
use crate::sip::transaction::Marks;
use crate::sip::uri::Uri;
use crate::span::Span;

/// A target that is tried, and for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// The server transaction.
    server: Id,
    /// The trunk that the request came from.
    caller: TrunkIndex,
    target: Target,
    /// The branch's part of the request's Max-Breadth.
    pub breadth: u8,
    /// Of the request.
    pub marks: Marks,
}

impl Proxy {
    /// Sends a request outside of a dialog to where its route says; the error is the status of
    /// the answer where it could not be sent at all.
    pub(super) fn forward_new(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        caller: TrunkIndex,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        // RFC 3261 §16.5: 404 where no route fits, 480 where the route leads nowhere. What phones send
        // goes to their registrar, where no route says otherwise.
        let registrar = || Some(&self.upstream_of(caller)?.1.route);
        let route = self.route_of(message, caller)?.or_else(registrar);
        let route = route.ok_or(404_u16)?;
        let targets = Targets::of(&self.dial, route, max_breadth(message));
        self.forward_to(message, arrival, key, caller, (targets, &[]), step)
    }

    /// Sends a request outside of a dialog to these targets. Where they are contacts of a user, `found`
    /// has them, see [`super::found`].
    pub(super) fn forward_to(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        caller: TrunkIndex,
        (targets, found): (Targets, &[u8]),
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let breadth = max_breadth(message);
        if targets.count() == 0 {
            return Err(480);
        }
        if targets.width() > usize::from(breadth) {
            // RFC 5393 §5.3.3: equal q asks for a parallel fork, so that serial forking is no
            // replacement.
            return Err(440);
        }
        let invite = message.method() == Method::Invite;
        let forks = targets.count() > 1;
        let marks = self.marks(message, arrival);
        let way = (invite || forks).then(|| marks.key());
        let round = way.filter(|_| forks);
        let round = round.and_then(|way| self.round(message, way));
        if way.is_some_and(|way| self.is_served(way))
            || round.is_some_and(|round| self.is_known(round))
        {
            // RFC 3261 §8.2.2.2: an upstream element forked it; one of them is enough. RFC 5393
            // §4.1: nor is it forked again where it comes back.
            return Err(482);
        }
        let server = self.open_server(message, arrival, key, None, step)?;
        for key in way.into_iter().chain(round) {
            self.note_served(key, server);
        }
        if invite {
            self.call_came_in(Some(caller), step);
        }
        let sent = if forks {
            let sent = self.fork(message, arrival, server, caller, (targets, found), step);
            sent.map(Branches::Context)
        } else {
            let attempt = Attempt {
                server,
                caller,
                target: targets.get(0),
                breadth: targets.share(),
                marks,
            };
            let sent = self.branch(message, arrival, attempt, found, step);
            sent.map(Branches::One)
        };
        if sent.is_err() && invite {
            step.counters.count(Counter::CallsFailed);
        }
        self.settle_server(message, arrival, server, sent, step)
    }

    /// The route that fits a request; the error is the status of the answer.
    pub(super) fn route_of(
        &self,
        message: &Message<'_>,
        caller: TrunkIndex,
    ) -> Result<Option<&DialRoute>, u16> {
        let text = message.text(message.request_uri().ok_or(400_u16)?);
        let scheme_len = memchr::memchr(b':', text).map_or(0, |colon| colon + 1);
        let called = text.get(scheme_len..).unwrap_or_default();
        Ok(self.dial.route(caller, called))
    }

    /// Several targets: a response context, and a branch for each of the first.
    fn fork(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        server: Id,
        caller: TrunkIndex,
        (targets, found): (Targets, &[u8]),
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        if self.contexts.is_full() {
            step.counters.count(Counter::ContextsRefused);
            return Err(503);
        }
        // RFC 3261 §16.6 step 1: the processing for each next hop begins with the same request.
        let Some(request) = self.kept.put(message.bytes()) else {
            step.counters.count(Counter::KeptExhausted);
            return Err(503);
        };
        let found = match found {
            [] => None,
            found => match self.kept.put(found) {
                Some(found) => Some(found),
                None => {
                    step.counters.count(Counter::KeptExhausted);
                    self.kept.release(request);
                    return Err(503);
                }
            },
        };
        let context = Context {
            server,
            request,
            found,
            source: arrival.source.into(),
            caller,
            targets,
            best: None,
            challenges: None,
        };
        let Some(id) = self.contexts.insert(context) else {
            return Err(503);
        };
        self.try_targets(message, arrival, id, step);
        let pending = |context: &Context| context.targets.is_pending();
        if self.contexts.get(id).is_some_and(pending) {
            return Ok(id);
        }
        // Not one could be sent: the best of the reasons, and nothing is left.
        let best = self.close_context(id).and_then(|best| best.status);
        Err(best.unwrap_or(500))
    }

    /// Tries all targets that can be tried now.
    pub(super) fn try_targets(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        id: Id,
        step: &mut Step<'_>,
    ) {
        let marks = self.marks(message, arrival);
        let mut room = [0; FOUND_LEN_MAX];
        let found = self
            .contexts
            .get(id)
            .and_then(|context| context.found.as_ref());
        let found = found.map_or(&[][..], |found| self.kept.bytes(found));
        let len = found.len().min(FOUND_LEN_MAX);
        room[..len].copy_from_slice(&found[..len]);
        // Each round tries one of them, or gives it up.
        for _ in 0..TARGETS_MAX {
            let Some(context) = self.contexts.get(id) else {
                return;
            };
            let Some(at) = context.targets.next() else {
                return;
            };
            let attempt = Attempt {
                server: context.server,
                caller: context.caller,
                target: context.targets.get(at),
                breadth: context.targets.share(),
                marks,
            };
            let sent = self.branch(message, arrival, attempt, &room[..len], step);
            let Some(context) = self.contexts.get_mut(id) else {
                return;
            };
            match sent {
                Ok(client) => {
                    context.targets.tried(at, client, attempt.breadth);
                    if context.targets.is_followed(at) {
                        self.hurry(client, attempt.target.trunk, step);
                    }
                }
                Err(status) => {
                    context.targets.end(at);
                    context.targets.end_lane(at);
                    self.add_own_candidate(id, status);
                }
            }
        }
    }

    /// Sends a request to one target: the edits, a client transaction, and for an INVITE a call.
    fn branch(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        attempt: Attempt,
        found: &[u8],
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        if !self.has_room_for_new_work(self.clients.count()) {
            step.counters.count(Counter::TransactionsRefused);
            return Err(503);
        }
        match Found(found).contacts().nth(attempt.target.number.into()) {
            Some(contact) => self.branch_to_contact(message, arrival, attempt, &contact, step),
            None => {
                let way = self.way_to(message, attempt)?;
                self.branch_by(message, arrival, attempt, way, step)
            }
        }
    }

    /// The same by a way that is known. There is room.
    pub(super) fn branch_by(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        attempt: Attempt,
        way: Way,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let Attempt {
            server,
            caller,
            target,
            ..
        } = attempt;
        self.splices.clear();
        if message.method() == Method::Register {
            self.insert_path(message, arrival, caller, way.listen)
                .map_err(unedited_status)?;
        }
        if makes_dialogs(message.method()) {
            let trunks = [caller, target.trunk];
            let cookie = Cookie {
                sides: self.sides_of(message, [arrival.listen, way.listen], trunks),
                homes: self.homes(trunks, [arrival.source, way.to]),
            };
            self.record_route(message, &cookie)
                .map_err(unedited_status)?;
        }
        if message.method() != Method::Invite {
            let client = self.send_branch(message, arrival, way, server, None, step)?;
            self.trunks.count(target.trunk, TrunkCounter::RequestsOut);
            return Ok(client);
        }
        let asked = self.ask_session(message, step)?;
        let call = self.begin_call(message, arrival, [caller, target.trunk], way, step)?;
        self.enter_place(call, server);
        let party = Party::Caller;
        let sender = Some(Sender::of_first(call));
        let mut described = Described::nothing(party);
        let sent = match self.describe(message, Some(call), &mut described, step) {
            Ok(()) => {
                let sent = self.send_branch(message, arrival, way, server, sender, step);
                match sent {
                    Ok(_) => self.negotiate(&mut described, Some(call), Some(server), step),
                    Err(_) => self.discard(&mut described, step),
                }
                sent
            }
            Err(status) => Err(status),
        };
        match sent {
            Ok(client) => {
                self.remember_asked(client, asked);
                if let Some(call) = self.calls.get_mut(call) {
                    call.invite = client;
                }
                self.trunks.count(target.trunk, TrunkCounter::RequestsOut);
            }
            Err(_) => self.forget_call(call, step),
        }
        sent
    }

    /// The way to a target. A Request-URI that names us is made the target's (RFC 3261 §16.6
    /// step 2). Any other stays, and the request goes to the target all the same: that is the
    /// local policy of RFC 3261 §16.6 step 7.
    fn way_to(&self, message: &Message<'_>, attempt: Attempt) -> Result<Way, u16> {
        let target = attempt.target;
        let uri = message.request_uri().ok_or(400_u16)?;
        let parts = Uri::read(message.bytes(), uri).map_err(|_| 400_u16)?;
        let trunk = self.dial.trunk(target.trunk).ok_or(480_u16)?;
        let to = trunk.targets.get(usize::from(target.number));
        Ok(Way {
            to: *to.ok_or(480_u16)?,
            listen: trunk.listen,
            routes: self.our_preloaded_routes(message),
            our_host: self.our_host(&parts),
            breadth: attempt.breadth,
            marks: attempt.marks,
        })
    }

    /// Has no more targets be tried and cancels all that are (RFC 3261 §16.7 step 5, §16.10): the
    /// answer waits until they have ended.
    pub(super) fn cancel_targets(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(context) = self.contexts.get_mut(id) else {
            return;
        };
        context.targets.seal();
        let clients = context.targets.clients();
        for client in clients.into_iter().flatten() {
            self.cancel_client(client, step);
        }
    }

    /// Cancels the branches that have lost: the request is answered (RFC 3261 §16.7 step 10). One
    /// of which nothing was heard is sent no more.
    pub(super) fn cancel_losers(
        &mut self,
        clients: [Option<Id>; TARGETS_MAX],
        winner: Id,
        step: &mut Step<'_>,
    ) {
        for id in clients.into_iter().flatten().filter(|&id| id != winner) {
            let client = self.clients.get(id);
            let rings = |client: &Client| {
                client.method == Method::Invite && client.state == ClientState::Proceeding
            };
            if client.is_some_and(rings) {
                self.cancel_client(id, step);
            } else if client.is_some_and(Client::is_pending) {
                self.abandon(id);
            }
        }
    }

    /// RFC 3261 §16.4: Route values that name us, put there by a client that was told to.
    pub(super) fn our_preloaded_routes(&self, message: &Message<'_>) -> usize {
        let names_us = |uri: Span| {
            let uri = Uri::read(message.bytes(), uri).ok();
            uri.is_some_and(|uri| self.our_host(&uri).is_some())
        };
        let values = message.routes().map_while(Result::ok);
        values
            .take(2)
            .take_while(|route| names_us(route.address.uri))
            .count()
    }
}

/// True for the methods whose 2xx makes a dialog: we stay on its path (RFC 3261 §16.6 step 4).
const fn makes_dialogs(method: Method) -> bool {
    matches!(method, Method::Invite | Method::Subscribe | Method::Refer)
}
