//! Responses to a request that has several targets (RFC 3261 §16.7): what goes upstream at once,
//! and which of the final ones is the best.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::context::Candidate;
use super::context::is_challenge;
use super::undelivered::FLOW_FAILED;
use crate::counters::Counter;
use crate::counters::trunks::TrunkCounter;
use crate::frame::Kept;
use crate::ids::TrunkIndex;
use crate::limits::CHALLENGES_LEN_MAX;
use crate::sip::build;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::transaction::Branches;
use crate::sip::transaction::ClientState;
use crate::text::Text;

/// A response of a branch that has a response context.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfTarget {
    /// The client transaction.
    pub client: Id,
    /// The context.
    pub context: Id,
    /// Its target's place there.
    pub at: usize,
}

impl Proxy {
    /// Takes up a response to a request that has a response context (RFC 3261 §16.7 step 5):
    /// provisional ones but for 100 and any 2xx go upstream at once.
    pub(super) fn context_response(
        &mut self,
        of: OfTarget,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        let status = message.status().unwrap_or_default();
        match status {
            ..=199 => {
                if self.is_abandoned(of) {
                    // It is cancelled now: nobody is told that it rings.
                    return Counter::SipAbsorbed;
                }
                if let Some(context) = self.contexts.get_mut(of.context)
                    && context.is_of_user()
                {
                    // The device has the request: no other flow of it is needed.
                    context.targets.end_lane(of.at);
                }
                self.forward_response(of.client, false, message, arrival, step)
            }
            // RFC 3261 §16.7 step 10: with it the others are over.
            200..=299 => {
                let clients = self.contexts.get(of.context).map(|c| c.targets.clients());
                self.discard_context(of.context);
                let outcome = self.forward_response(of.client, false, message, arrival, step);
                if let Some(clients) = clients {
                    self.cancel_losers(clients, of.client, step);
                }
                outcome
            }
            _ => self.target_failed(of, message, step),
        }
    }

    fn is_abandoned(&self, of: OfTarget) -> bool {
        let context = self.contexts.get(of.context);
        context.is_some_and(|context| context.targets.is_abandoned(of.at))
    }

    /// True where a CANCEL has come for the request of a context.
    fn is_cancelled(&self, context: Id) -> bool {
        let context = self.contexts.get(context);
        let server = context.and_then(|context| self.servers.get(context.server));
        server.is_some_and(|server| server.cancelled)
    }

    /// A target has answered with a failure. It is kept if it is the best so far.
    fn target_failed(
        &mut self,
        of: OfTarget,
        message: &Message<'_>,
        step: &mut Step<'_>,
    ) -> Counter {
        let status = message.status().unwrap_or_default();
        self.branch_is_over(of.client, step);
        let client = self.clients.get(of.client);
        let invite = client.is_some_and(|client| client.method == Method::Invite);
        // What was given up ends by our own CANCEL alone: nobody is told of that who has sent none.
        let by_us = status == 487 && self.is_abandoned(of) && !self.is_cancelled(of.context);
        let fails_over = self.fails_over(of, status);
        // RFC 4320 §4.2: no 408 to others than INVITE.
        if (invite || status != 408) && !by_us && !(fails_over && self.is_replaced(of)) {
            self.add_candidate(of.context, message, step);
        }
        let Some(context) = self.contexts.get_mut(of.context) else {
            return Counter::SipAbsorbed;
        };
        let trunk = context.targets.get(of.at).trunk;
        let abandoned = context.targets.is_abandoned(of.at);
        context.targets.end(of.at);
        if status >= 600 {
            // RFC 3261 §16.7 step 5: no new branches, and the others are cancelled. The answer
            // waits for them: a 2xx may cross.
            self.cancel_targets(of.context, step);
        } else if fails_over && !abandoned {
            self.count_failover(of, trunk);
        } else if !fails_over && (!abandoned || context.is_of_user() && !by_us) {
            context.targets.end_lane(of.at);
        }
        self.go_on(of.context, step);
        // It is that branch's end, whether it has become the answer or not.
        Counter::SipAbsorbed
    }

    /// True for a final response that lets the next target of the same lane be tried: of a trunk as it is
    /// configured, of a device one that says that its flow is dead. RFC 5626 §7: any other is the device's own.
    fn fails_over(&self, of: OfTarget, status: u16) -> bool {
        let Some(context) = self.contexts.get(of.context) else {
            return false;
        };
        if context.is_of_user() {
            return matches!(status, 408 | FLOW_FAILED);
        }
        let trunk = self.dial.trunk(context.targets.get(of.at).trunk);
        trunk.is_some_and(|trunk| trunk.failover.codes.contains(&status))
    }

    /// True for a flow of a device that another one is tried in place of: what is wrong with it the caller is not
    /// told.
    fn is_replaced(&self, of: OfTarget) -> bool {
        let context = self.contexts.get(of.context);
        context.is_some_and(|context| context.is_of_user() && context.targets.is_replaced(of.at))
    }

    /// A target could not take the request: its time is up, or ICMP says that nobody is there
    /// (RFC 3261 §16.9). `said` is what its trunk is taken to have said if it was the last; where
    /// its time is up that is a 408, if it is anything.
    pub(super) fn target_unreachable(
        &mut self,
        of: OfTarget,
        said: Option<u16>,
        step: &mut Step<'_>,
    ) {
        self.branch_is_over(of.client, step);
        let client = self.clients.get(of.client);
        let was_heard = client.is_some_and(|client| client.state != ClientState::Calling);
        let server = self.contexts.get(of.context).map(|context| context.server);
        let said = said.filter(|_| !self.is_cancelled(of.context));
        let said = said.or_else(|| self.timed_out_status(server?));
        let Some(context) = self.contexts.get_mut(of.context) else {
            return;
        };
        let trunk = context.targets.get(of.at).trunk;
        let abandoned = context.targets.is_abandoned(of.at);
        context.targets.end(of.at);
        if was_heard && context.is_of_user() {
            // The flow was not dead.
            context.targets.end_lane(of.at);
        }
        if !abandoned {
            // RFC 3261 §16.6 step 7: only where the ordered set is exhausted.
            let exhausted = !context.targets.lane_waits(of.at);
            self.count_failover(of, trunk);
            if let Some(said) = said.filter(|_| exhausted) {
                self.add_own_candidate(of.context, said);
            }
        }
        self.go_on(of.context, step);
    }

    /// Counts that another target is tried, since one of `trunk` has failed.
    fn count_failover(&mut self, of: OfTarget, trunk: TrunkIndex) {
        let context = self.contexts.get(of.context);
        if context.is_some_and(|context| self.may_follow(context, of.at)) {
            self.trunks.count(trunk, TrunkCounter::Failovers);
        }
    }

    /// Adds a response of the box itself to a context.
    pub(super) fn add_own_candidate(&mut self, id: Id, status: u16) {
        let own = Candidate {
            status,
            response: None,
        };
        self.replace_best(id, own);
    }

    /// Adds a response to a context (RFC 3261 §16.7 step 4): kept where it is the best so far,
    /// for its challenges only where it is another 401 or 407.
    fn add_candidate(&mut self, id: Id, message: &Message<'_>, step: &mut Step<'_>) {
        let status = message.status().unwrap_or_default();
        let Some(context) = self.contexts.get(id) else {
            return;
        };
        if !context.is_better(status) {
            if is_challenge(status) {
                self.add_challenges(id, message, step);
            }
            return;
        }
        let response = self.kept.put(message.bytes());
        let mut status = status;
        if response.is_none() {
            // Its status is remembered: the answer is then one of our own with it, but for a 503,
            // which would be true of that hop alone (RFC 3261 §16.7 step 6).
            step.counters.count(Counter::KeptExhausted);
            status = if status == 503 { 500 } else { status };
        }
        self.replace_best(id, Candidate { status, response });
    }

    fn replace_best(&mut self, id: Id, candidate: Candidate) {
        let Some(context) = self.contexts.get_mut(id) else {
            return;
        };
        let old = if context.is_better(candidate.status) {
            context.best.replace(candidate)
        } else {
            Some(candidate)
        };
        self.release(old.and_then(|old| old.response));
    }

    /// RFC 3261 §16.7 step 7: the challenges of all 401s and 407s are told.
    fn add_challenges(&mut self, id: Id, message: &Message<'_>, step: &mut Step<'_>) {
        let Some(context) = self.contexts.get_mut(id) else {
            return;
        };
        let old = context.challenges.take();
        let mut room = [0; CHALLENGES_LEN_MAX];
        let mut text = Text::new(&mut room);
        text.push(old.as_ref().map_or(&[], |old| self.kept.bytes(old)));
        for header in message
            .headers()
            .filter(|h| challenges(message.text(h.name(message.bytes()))))
        {
            text.push(message.text(header.line));
        }
        // Where there are too many those that were there remain.
        let Ok(len) = text.finish() else {
            context.challenges = old;
            return;
        };
        self.release(old);
        let kept = self.kept.put(&room[..len]);
        if kept.is_none() {
            step.counters.count(Counter::KeptExhausted);
        }
        if let Some(context) = self.contexts.get_mut(id) {
            context.challenges = kept;
        }
    }

    /// Every branch has ended: the best response goes upstream (RFC 3261 §16.7 step 6).
    pub(super) fn finish(&mut self, id: Id, step: &mut Step<'_>) {
        let mut room = std::mem::take(&mut self.request);
        let request = self.copy_request(id, &mut room);
        let server = self.contexts.get(id).map(|context| context.server);
        let best = self.close_context(id);
        if let (Some(server), Some(best)) = (server, best) {
            self.answer_with(server, best, request, &mut room, step);
        }
        self.request = room;
    }

    /// Answers with the best response that there is, where there is one, though a target may yet
    /// say something: later nobody would hear of it (RFC 4320 §4.2).
    pub(super) fn finish_in_time(&mut self, id: Id, step: &mut Step<'_>) {
        if self
            .contexts
            .get(id)
            .is_some_and(|context| context.best.is_some())
        {
            self.finish(id, step);
        }
    }

    /// Answers 100 while targets are being tried.
    pub(super) fn still_trying(&mut self, id: Id, server: Id, step: &mut Step<'_>) {
        let mut room = std::mem::take(&mut self.request);
        if let Some((len, arrival)) = self.copy_request(id, &mut room)
            && let Ok(request) = Message::scan(&room[..len])
        {
            self.answer_of_own(server, &request, arrival, 100, step);
        }
        self.request = room;
    }

    fn answer_with(
        &mut self,
        server_id: Id,
        best: Best,
        request: Option<(usize, Arrival)>,
        room: &mut [u8],
        step: &mut Step<'_>,
    ) {
        let Some(server) = self.servers.get(server_id) else {
            self.release(best.response);
            self.release(best.challenges);
            return;
        };
        if server.invite {
            step.counters.count(Counter::CallsFailed);
        }
        let answered = match best.response {
            Some(kept) => {
                let len = self.copy_out(kept, room);
                let more = best.challenges.as_ref();
                let more = more.filter(|_| best.status.is_some_and(is_challenge));
                Message::scan(&room[..len])
                    .is_ok_and(|message| self.pass_up(server_id, &message, more, step))
            }
            None => {
                let status = best.status.or_else(|| self.timed_out_status(server_id));
                // Where nothing is to be told the transaction ends in silence, as by a 408.
                let status = status.unwrap_or(408);
                request.is_some_and(|(len, arrival)| {
                    Message::scan(&room[..len]).is_ok_and(|request| {
                        self.answer_of_own(server_id, &request, arrival, status, step)
                    })
                })
            }
        };
        self.release(best.challenges);
        if !answered {
            self.end_server(server_id);
        }
    }

    /// What a request is answered to which nobody answers: 408 (RFC 3261 §16.7 step 6), where it
    /// was cancelled 487. Others than INVITE get nothing (RFC 4320 §4.2).
    fn timed_out_status(&self, server: Id) -> Option<u16> {
        let server = self.servers.get(server).filter(|server| server.invite)?;
        Some(if server.cancelled { 487 } else { 408 })
    }

    /// Sends the best response upstream, with the challenges of others; false where it cannot be
    /// sent.
    fn pass_up(
        &mut self,
        server: Id,
        message: &Message<'_>,
        challenges: Option<&Kept>,
        step: &mut Step<'_>,
    ) -> bool {
        let status = message.status().unwrap_or_default();
        if !self.respond(server, status, step) {
            return true;
        }
        let mut lines = [0; CHALLENGES_LEN_MAX];
        let bytes = challenges.map_or(&[][..], |kept| self.kept.bytes(kept));
        let lines = &mut lines[..bytes.len().min(CHALLENGES_LEN_MAX)];
        lines.copy_from_slice(&bytes[..lines.len()]);
        self.splices.clear();
        self.write_upstream(server, message, lines, step).is_some()
    }

    /// Takes a kept message out.
    fn copy_out(&mut self, kept: Kept, room: &mut [u8]) -> usize {
        let bytes = self.kept.bytes(&kept);
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.kept.release(kept);
        len
    }

    /// Answers a forwarded request with a response of our own; false where none can be made.
    fn answer_of_own(
        &mut self,
        server_id: Id,
        request: &Message<'_>,
        arrival: Arrival,
        status: u16,
        step: &mut Step<'_>,
    ) -> bool {
        let (cseq, ..) = request.cseq();
        let from_tag = request.from_tag().unwrap_or_default();
        let tag = self.identity.to_tag(request.call_id(), from_tag, cseq);
        let response = build::Response {
            to_tag: Some(&tag),
            source: Some(arrival.source),
            ..build::Response::new(status)
        };
        if !self.respond(server_id, status, step) {
            return true;
        }
        let Some(server) = self.servers.get_mut(server_id) else {
            return true;
        };
        let Ok(len) = build::response(request, &response, step.effects.room()) else {
            return false;
        };
        let sent = step
            .effects
            .send(len, server.reply_to.addr(), server.listen);
        let old = std::mem::replace(&mut server.response, self.kept.put(sent));
        self.release(old);
        true
    }

    /// Closes a context whose request is answered otherwise.
    pub(super) fn discard_context(&mut self, id: Id) {
        if let Some(best) = self.close_context(id) {
            self.release(best.response);
            self.release(best.challenges);
        }
    }

    /// Closes a context, since its request is answered or will be now; what was best in it.
    pub(super) fn close_context(&mut self, id: Id) -> Option<Best> {
        let context = self.contexts.remove(id)?;
        self.kept.release(context.request);
        self.release(context.found);
        if let Some(server) = self.servers.get_mut(context.server) {
            server.branches = Branches::None;
        }
        Some(Best {
            status: context.best.as_ref().map(|best| best.status),
            response: context.best.and_then(|best| best.response),
            challenges: context.challenges,
        })
    }
}

/// What a context came to.
#[derive(Debug)]
pub(super) struct Best {
    /// The best status; `None` where there was none.
    pub status: Option<u16>,
    /// The response that has it; `None` where it is our own.
    pub response: Option<Kept>,
    /// Challenges of others.
    pub challenges: Option<Kept>,
}

/// True for the header fields that carry a challenge (RFC 3261 §20.27, §20.44).
fn challenges(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"WWW-Authenticate")
        || name.eq_ignore_ascii_case(b"Proxy-Authenticate")
}
