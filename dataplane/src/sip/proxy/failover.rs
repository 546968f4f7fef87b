//! What follows when a target has failed, or nothing is heard of it: the next one is tried, and
//! where there is none the request is answered.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::best::OfTarget;
use super::context::Context;
use crate::counters::trunks::TrunkCounter;
use crate::ids::TrunkIndex;
use crate::limits::TARGETS_MAX;
use crate::sip::message::Message;
use crate::sip::slab::Id;
use crate::sip::transaction::Branches;
use crate::sip::transaction::Client;

impl Proxy {
    /// Has a branch be given up where nothing at all is heard of its target for as long as its
    /// trunk says.
    pub(super) fn hurry(&mut self, client: Id, trunk: TrunkIndex, step: &Step<'_>) {
        let no_answer_ms = self.dial.trunk(trunk).map(|t| t.failover.no_answer_ms);
        if let (Some(client), Some(ms)) = (self.clients.get_mut(client), no_answer_ms) {
            client.hurry(ms, step.now);
        }
        self.arm_client(client);
    }

    /// Nothing was heard of a target in its short time: the next one is tried, now or when there
    /// is one that may be.
    pub(super) fn no_answer(&mut self, client_id: Id, step: &mut Step<'_>) {
        if let Some(client) = self.clients.get_mut(client_id) {
            client.overrun();
        }
        self.arm_client(client_id);
        if let Some(of) = self.of_target(client_id) {
            self.go_on(of.context, step);
        }
    }

    /// True where another target of a context would be tried if this one were given up now.
    pub(super) fn may_follow(&self, context: &Context, at: usize) -> bool {
        let is_overdue = |id| self.clients.get(id).is_some_and(Client::is_overdue);
        context.targets.may_follow(at, is_overdue)
    }

    /// Gives up targets of which nothing was heard in their short time, as many as it takes for
    /// another to be tried. Their branches live on, silent: a late answer is not lost.
    fn leave_overdue(&mut self, id: Id) {
        for at in 0..TARGETS_MAX {
            let Some(context) = self.contexts.get(id) else {
                return;
            };
            if context.targets.next().is_some() {
                return;
            }
            let client_id = context.targets.pending(at);
            let client = client_id.and_then(|client| self.clients.get(client));
            if !client.is_some_and(Client::is_overdue) || !self.may_follow(context, at) {
                continue;
            }
            let trunk = context.targets.get(at).trunk;
            self.trunks.count(trunk, TrunkCounter::Failovers);
            if let Some(context) = self.contexts.get_mut(id) {
                context.targets.abandon(at);
            }
            if let Some(client) = client_id {
                self.abandon(client);
            }
        }
    }

    /// Sends a request no more that has not been heard of. An INVITE is cancelled as soon as an
    /// answer comes (RFC 3261 §9.1).
    pub(super) fn abandon(&mut self, client: Id) {
        if let Some(client) = self.clients.get_mut(client) {
            client.abandon();
        }
        self.arm_client(client);
    }

    /// The response context of a branch that awaits its final response, and its target there
    /// (RFC 3261 §16.7 step 1).
    pub(super) fn of_target(&self, client: Id) -> Option<OfTarget> {
        let server = self.servers.get(self.clients.get(client)?.server?)?;
        let Branches::Context(context) = server.branches else {
            return None;
        };
        let at = self.contexts.get(context)?.targets.of_client(client)?;
        Some(OfTarget {
            client,
            context,
            at,
        })
    }

    /// A target has come to its end: those that follow are tried, and where there are none the
    /// request is answered.
    pub(super) fn go_on(&mut self, id: Id, step: &mut Step<'_>) {
        let next = |context: &Context| context.targets.next().is_some();
        // Each round settles one of them at least.
        for _ in 0..TARGETS_MAX {
            self.leave_overdue(id);
            if !self.contexts.get(id).is_some_and(next) {
                break;
            }
            self.try_again(id, step);
        }
        let context = self.contexts.get(id);
        if !context.is_some_and(|context| self.is_waiting(context)) {
            self.finish(id, step);
        }
    }

    /// True while a context waits for a target: for one that is being tried, and for one that was given
    /// up where nobody else has said what could be told, which for others than INVITE a 408 is not
    /// (RFC 4320 §4.2).
    pub(super) fn is_waiting(&self, context: &Context) -> bool {
        let server = self.servers.get(context.server);
        let is_silent = context.best.is_none() && server.is_some_and(|server| !server.invite);
        let lives = || context.targets.clients().iter().any(Option::is_some);
        context.targets.is_pending() || is_silent && lives()
    }

    /// Tries the targets that follow, with the request as it came.
    fn try_again(&mut self, id: Id, step: &mut Step<'_>) {
        let mut room = std::mem::take(&mut self.request);
        if let Some((len, arrival)) = self.copy_request(id, &mut room)
            && let Ok(message) = Message::scan(&room[..len])
        {
            self.try_targets(&message, arrival, id, step);
        }
        self.request = room;
    }

    /// Copies the request of a context to `room`; its length, and from where it came.
    pub(super) fn copy_request(&self, id: Id, room: &mut [u8]) -> Option<(usize, Arrival)> {
        let context = self.contexts.get(id)?;
        let bytes = self.kept.bytes(&context.request);
        room.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let arrival = Arrival {
            source: context.source.addr(),
            listen: self.servers.get(context.server)?.listen,
        };
        Some((bytes.len(), arrival))
    }
}
