//! An audit of the core: what must hold among all its tables between two inputs.
//!
//! For tests, the simulator and the fuzzers: it walks every table, and it allocates.
//!
//! - No state without a timer: each transaction and call has one that is armed, or is owned
//!   by one that has.
//! - An index and what it points into agree, both ways.
//! - A response context belongs to a request that awaits its final response.
//! - The kept messages in use are those that somebody holds, and so are the media ports, the
//!   streams and the offers.
//! - No timer is armed for nobody.

use std::net::SocketAddr;

use super::Proxy;
use super::Timer;
use super::media::call_ref;
use super::resumed::Answer;
use crate::frame::Kept;
use crate::ids::DomainIndex;
use crate::media::CallRef;
use crate::sip::call::Call;
use crate::sip::index::Index;
use crate::sip::report::CallState;
use crate::sip::slab::Id;
use crate::sip::texts::Chain;
use crate::sip::transaction::Branches;
use crate::sip::transaction::Client;
use crate::sip::transaction::Server;
use crate::sip::transaction::ServerState;

/// What an audit saw, to be held against other workers' tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// The local address of every flow that the calls here have, and the call. Each must be
    /// open at every worker, and no other.
    pub flows: Vec<(SocketAddr, CallRef)>,
    /// The Call-ID of every call, ended ones among them.
    pub calls: Vec<String>,
}

impl Proxy {
    /// Walks all tables.
    ///
    /// # Errors
    /// The first thing that does not hold: a bug of ours.
    pub fn audit(&self) -> Result<Audit, String> {
        self.audit_timers()?;
        self.audit_contexts()?;
        self.audit_indices()?;
        self.audit_kept()?;
        self.audit_anchors()?;
        self.audit_ports()?;
        self.audit_texts()?;
        self.audit_places()?;
        self.audit_bindings()?;
        let (mut flows, mut calls) = (Vec::new(), Vec::new());
        for (id, call) in self.calls.tenants() {
            let streams = self.anchors.streams(&call.anchor);
            let locals = streams
                .filter(|stream| stream.open)
                .flat_map(|stream| stream.locals(&self.media));
            let report = self.call_report(id.slot);
            calls.extend(report.map(|report| report.call_id.display()));
            flows.extend(locals.map(|local| (local, call_ref(self.worker, id))));
        }
        Ok(Audit { flows, calls })
    }

    /// The bindings of all domains are all bindings.
    fn audit_bindings(&self) -> Result<(), String> {
        let domains = (0..).map(DomainIndex).take(self.domains.len());
        let of_domains: u64 = domains
            .map(|it| u64::from(self.registrar.count_of(it)))
            .sum();
        let all = self.registrar.count() as u64;
        match of_domains == all {
            true => Ok(()),
            false => Err(format!("{all} bindings, and {of_domains} of all domains")),
        }
    }

    /// Everything has a timer, and every timer has somebody.
    fn audit_timers(&self) -> Result<(), String> {
        let (clients, servers) = (self.clients.capacity(), self.servers.capacity());
        for (id, client) in self.clients.tenants() {
            if !self.wheel.is_armed(id.slot) {
                return Err(format!("no timer for {id:?} {client:?}"));
            }
        }
        for (id, server) in self.servers.tenants() {
            if !self.wheel.is_armed(clients + id.slot) && !self.is_owned(server) {
                return Err(format!("no timer for {id:?} {server:?}"));
            }
        }
        for (id, call) in self.calls.tenants() {
            let armed = self.wheel.is_armed(clients + servers + id.slot);
            if !armed && !self.is_setting_up(call) {
                return Err(format!("no timer for {id:?} {:?}", call.state));
            }
        }
        for timer in self.wheel.armed() {
            let is_somebodys = match self.timer(timer) {
                Timer::Client(slot) => self.clients.tenant(slot).is_some(),
                Timer::Server(slot) => self.servers.tenant(slot).is_some(),
                Timer::Call(slot) => self.calls.tenant(slot).is_some(),
                Timer::Ticket(slot) => self.tickets.tenant(slot).is_some(),
                Timer::Binding(slot) => self.registrar.due(slot).is_some(),
            };
            if !is_somebodys {
                return Err(format!("armed for nobody: {:?}", self.timer(timer)));
            }
        }
        Ok(())
    }

    /// True where a client transaction, which always has a timer, will answer the server
    /// transaction and so arm its timer.
    fn is_owned(&self, server: &Server) -> bool {
        let is_pending = |id: Id| self.clients.get(id).is_some_and(Client::is_pending);
        match server.branches {
            Branches::None => false,
            Branches::One(id) => is_pending(id),
            // A ticket has a timer of its own.
            Branches::Parked(ticket) => self.tickets.get(ticket).is_some(),
            Branches::Context(id) => {
                let context = self.contexts.get(id);
                let clients = context.map(|context| context.targets.clients());
                clients.is_some_and(|clients| clients.into_iter().flatten().any(is_pending))
            }
        }
    }

    /// True for a call whose first INVITE is under way still: its transaction ends it.
    fn is_setting_up(&self, call: &Call) -> bool {
        let under_way = matches!(call.state, CallState::Calling | CallState::Early);
        under_way && self.clients.get(call.invite).is_some()
    }

    /// Every response context is that of a request which has no final response yet.
    fn audit_contexts(&self) -> Result<(), String> {
        for (id, context) in self.contexts.tenants() {
            let server = self.servers.get(context.server);
            let is_of = |server: &Server| {
                server.branches == Branches::Context(id) && server.state == ServerState::Proceeding
            };
            if !server.is_some_and(is_of) || !self.is_waiting(context) {
                return Err(format!("a context of nobody: {id:?} {context:?}"));
            }
        }
        Ok(())
    }

    /// Indices and slabs agree.
    fn audit_indices(&self) -> Result<(), String> {
        for (id, server) in self.servers.tenants() {
            if self.transactions.get(server.key) != Some(id) {
                return Err(format!("not in the index: {id:?} {server:?}"));
            }
        }
        let refused = self.servers.tenants();
        let refused = refused.filter(|(_, server)| server.is_refused).count();
        if refused != self.refused_lingering as usize {
            let known = self.refused_lingering;
            return Err(format!("{refused} transactions are refused, {known} known"));
        }
        let key_of = |id| self.servers.get(id).map(|server| server.key);
        none_dangles(&self.transactions, key_of)?;
        for (id, call) in self.calls.tenants() {
            let keys = call.dialogs.keys().count();
            if call.state == CallState::Ended && keys > 0 {
                return Err(format!("an ended call has dialogs: {id:?}"));
            }
        }
        for (key, id) in self.dialogs.entries() {
            let has = |call: &Call| call.dialogs.contains(key);
            if !self.calls.get(id).is_some_and(has) {
                return Err(format!(
                    "{key:x} stands for {id:?}, which has no such dialog"
                ));
            }
        }
        Ok(())
    }

    /// The pieces in use are those of the tokens held.
    fn audit_kept(&self) -> Result<(), String> {
        let requests = self.clients.tenants().map(|(_, client)| &client.message);
        let responses = self.servers.tenants().map(|(_, server)| &server.response);
        let of_contexts = self.contexts.tenants().flat_map(|(_, context)| {
            let best = context
                .best
                .as_ref()
                .and_then(|best| best.response.as_ref());
            let challenges = context.challenges.as_ref();
            [
                Some(&context.request),
                context.found.as_ref(),
                best,
                challenges,
            ]
        });
        let of_transactions = requests.chain(responses).map(Option::as_ref);
        let parked = self.tickets.holders();
        let parked = parked.map(|(_, parked)| Some(&parked.request));
        let located = self.answers.iter().map(|answer| match answer {
            Answer::Located(_, found) => found.as_ref(),
            Answer::Said(..) | Answer::Used(..) | Answer::Placed(..) | Answer::Unlocated(_) => None,
        });
        let held = of_transactions
            .chain(of_contexts)
            .chain(parked)
            .chain(located);
        let held: Vec<&Kept> = held.flatten().collect();
        let bytes: usize = held.iter().map(|kept| kept.room()).sum();
        let held = (held.len() as u64, bytes as u64);
        let used = self.kept.occupancy();
        let used = (u64::from(used.message_count), used.bytes());
        if held == used {
            Ok(())
        } else {
            Err(format!(
                "{used:?} kept messages and their bytes in use, {held:?} held"
            ))
        }
    }

    /// Every stream, offer and session put aside is a call's.
    fn audit_anchors(&self) -> Result<(), String> {
        let held = self.calls.tenants();
        let held: usize = held.map(|(_, call)| self.anchors.held(&call.anchor)).sum();
        let there = self.anchors.count();
        if held == there {
            Ok(())
        } else {
            Err(format!("{there} streams and offers, {held} held by calls"))
        }
    }

    /// The blocks of text in use are those of the calls.
    fn audit_texts(&self) -> Result<(), String> {
        let texts = self
            .calls
            .tenants()
            .filter_map(|(_, call)| call.text.as_ref());
        let held: usize = texts.map(Chain::block_count).sum();
        let used = self.texts.used_count();
        if held == used as usize {
            Ok(())
        } else {
            Err(format!(
                "{used} blocks of text in use, {held} held by calls"
            ))
        }
    }

    /// Every place is of an INVITE that is not answered, or of calls; and every such call has one.
    fn audit_places(&self) -> Result<(), String> {
        for (id, place) in self.places.held() {
            let calls = self.calls.tenants();
            let calls = calls.filter(|(_, call)| call.place == Some(id)).count();
            if !self.is_held(id) || calls != usize::from(place.calls) {
                return Err(format!("{calls} calls have {id:?} {place:?}"));
            }
        }
        for (id, call) in self.calls.tenants() {
            let is_gone = |place: Id| self.places.get(place).is_none();
            let has_ended = call.state == CallState::Ended;
            if call.place.is_some_and(|place| is_gone(place) || has_ended) {
                return Err(format!("{id:?} has a place that is nobody's"));
            }
        }
        Ok(())
    }

    /// The pairs of ports in use are those of the calls.
    fn audit_ports(&self) -> Result<(), String> {
        let streams = self.calls.tenants();
        let streams = streams.flat_map(|(_, call)| self.anchors.streams(&call.anchor));
        let (held, used) = (2 * streams.count(), self.ports_in_use());
        if held == used {
            Ok(())
        } else {
            Err(format!(
                "{used} pairs of ports in use, {held} held by calls"
            ))
        }
    }
}

/// Every entry stands for somebody who is entered under that key.
fn none_dangles(index: &Index, key_of: impl Fn(Id) -> Option<u64>) -> Result<(), String> {
    for (key, id) in index.entries() {
        if key_of(id).map(|key| key.max(1)) != Some(key) {
            return Err(format!("{key:x} stands for {id:?}, who is not there"));
        }
    }
    Ok(())
}
