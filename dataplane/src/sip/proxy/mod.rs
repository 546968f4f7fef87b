//! The proxy core (RFC 3261 §16): requests, responses and timers in, effects out.
//!
//! Sans-IO: it sees bytes, addresses and the time, and writes what is to be done into
//! [`Effects`]. It owns the transactions, the calls, the kept messages, the worker's
//! slice of the media ports, and one timer for each transaction and call.
//!
//! - `preprocess`: what a request is made before it is looked at
//! - `request`: validation and routing
//! - `auth`: whether a subscriber is who it says it is
//! - `allowance`: how many calls a subscriber may have
//! - `abuse`: sources that are not heard
//! - `parked`: requests that wait for something outside
//! - `register`: REGISTER, answered from memory
//! - `edge`: REGISTER, for a registrar elsewhere, and the flows to its phones
//! - `keepalive`: what keeps the way to who has registered open
//! - `located`, `found`: requests to users of ours
//! - `stored`: contacts that others keep as well
//! - `stateless`: forwarding without state
//! - `dialog`: what belongs to a dialog, and where it goes
//! - `fork`, `targets`: to whom it goes: one, several at once, one after the other
//! - `failover`: what follows when one of them has failed
//! - `forward`: the edits on the way, and the transactions
//! - `bye`: requests of our own within a dialog
//! - `calls`: their beginnings and ends
//! - `hop`: CANCEL, and ACK, which are hop by hop
//! - `response`: what comes back
//! - `context`, `best`: which of several responses goes upstream
//! - `late`: a 2xx that nobody upstream waits for any more
//! - `session`: session timers
//! - `transactions`: their keys, and their ends
//! - `timers`: retransmissions, time-outs, ends
//! - `undelivered`: what ICMP says of requests
//! - `describe`: session descriptions on their way through
//! - `negotiate`: offers and answers, and what becomes of them
//! - `settle`: what becomes of an offer in the end
//! - `merged`: the memory of requests, by which one that comes twice is known
//! - `media`: relay ports and flows
//! - `remember`: what is kept of a dialog
//! - `answer`: what is answered without state
//! - `write`: how messages are written
//! - `levels`: what the operator sees
//! - `memory`: what the tables cost
//! - `refusal`: the memory of refused requests
//! - `audit`: what must hold among all tables between two inputs

mod abuse;
mod again;
mod allowance;
mod answer;
mod audit;
mod auth;
mod best;
mod bye;
mod calls;
mod context;
mod denied;
mod describe;
mod dialog;
mod edge;
mod failover;
mod fork;
mod forward;
mod found;
mod hop;
mod keepalive;
mod late;
mod levels;
mod located;
mod media;
pub mod memory;
mod merged;
mod negotiate;
mod parked;
mod preprocess;
mod refusal;
mod register;
mod remember;
mod request;
mod response;
mod resumed;
mod session;
mod settle;
mod stateless;
mod stored;
mod targets;
mod timers;
mod transactions;
mod undelivered;
mod write;

use std::collections::VecDeque;
use std::net::SocketAddr;

pub use self::audit::Audit;
use self::context::Context;
pub(crate) use self::found::FOUND_LEN_MAX;
use self::merged::Merged;
use self::parked::Parked;
use self::refusal::Refusals;
use self::resumed::Answer;
use self::write::Advertised;
use super::anchors::Anchors;
use super::call::Call;
use super::denials::Denials;
use super::digest::cache::Cache;
use super::digest::ha2::Ha2s;
use super::digest::window::Windows;
use super::edit::Splices;
use super::effects::Effects;
use super::guard::Guard;
use super::identity::Identity;
use super::identity::Kind;
use super::identity::NotOurs;
use super::index::Index;
use super::live::Live;
use super::message::Message;
use super::method::Method;
use super::places::Places;
use super::recent::Recent;
use super::registrar::Journal;
use super::registrar::Registrar;
use super::slab::Slab;
use super::texts::TextStore;
use super::ticket::Tickets;
use super::transaction::Client;
use super::transaction::Server;
use crate::counters::Counter;
use crate::counters::Counters;
use crate::counters::trunks::TrunkCounters;
use crate::frame::KeptSlab;
use crate::ids::ListenIndex;
use crate::ids::WorkerId;
use crate::limits::ASKED;
use crate::limits::DIALOG_BLOCKS_PER_CALL;
use crate::limits::SIP_LEN_MAX;
use crate::media::Ports;
use crate::route::Dial;
use crate::settings::Authentication;
use crate::settings::Domain;
use crate::settings::Listen;
use crate::settings::Location;
use crate::settings::MediaRange;
use crate::settings::SessionTimer;
use crate::settings::Settings;
use crate::sys::memory::bytes;
use crate::sys::memory::queue;
use crate::tick::Tick;
use crate::timer::Wheel;

/// What goes with an input: the time, and where its effects and counts go.
#[derive(Debug)]
pub struct Step<'a> {
    /// Now.
    pub now: Tick,
    /// What it causes.
    pub effects: &'a mut Effects,
    /// What it counts.
    pub counters: &'a mut Counters,
}

/// Where a message came from.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Who sent it.
    pub source: SocketAddr,
    /// On which listen it arrived.
    pub listen: ListenIndex,
}

/// Who is to take a message up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This worker: [`Proxy::receive`].
    Mine,
    /// Another worker, by mail.
    Other(WorkerId),
    /// Nobody: it ends with this outcome.
    Nobody(Counter),
}

/// What a timer belongs to. Timers are numbered clients first, then servers, then calls,
/// then tickets, then bindings.
#[derive(Clone, Copy, Debug)]
enum Timer {
    Client(u32),
    Server(u32),
    Call(u32),
    Ticket(u32),
    Binding(u32),
}

/// The proxy core of one worker.
#[derive(Debug)]
pub struct Proxy {
    worker: WorkerId,
    workers: u8,
    identity: Identity,
    dial: Dial,
    listens: Vec<Listen>,
    /// What they are called in what we write.
    advertised: Vec<Advertised>,
    media: Vec<MediaRange>,
    servers: Slab<Server>,
    clients: Slab<Client>,
    calls: Slab<Call>,
    anchors: Anchors,
    contexts: Slab<Context>,
    /// Server transactions by branch, sent-by and method.
    transactions: Index,
    /// Calls by Call-ID, both tags and the listens of the two sides.
    dialogs: Index,
    /// How many of these there are besides one for each call.
    dialogs_extra: u32,
    merged: Merged,
    texts: TextStore,
    session: SessionTimer,
    kept: KeptSlab,
    /// A slice of each media range, by [`crate::ids::MediaIndex`].
    ports: Vec<Ports>,
    refusals: Refusals,
    trunks: TrunkCounters,
    wheel: Wheel,
    domains: Vec<Domain>,
    authentication: Authentication,
    /// What the store said of subscribers.
    subscribers: Cache,
    ha2s: Ha2s,
    /// Of the nonces that this worker made.
    windows: Windows,
    /// Of the last nonce.
    nonce_serial: u32,
    tickets: Tickets<Parked>,
    /// Those of requests whose failure is yet to be told.
    failures_waiting: u32,
    /// Those of requests that may wait for long, these among them.
    long_waiting: u32,
    /// Server transactions of requests that have waited and were refused.
    refused_lingering: u32,
    registrar: Registrar,
    guard: Guard,
    /// What subscribers were last denied.
    denials: Denials,
    places: Places,
    /// Where users have registered, of the sources that this worker owns.
    live: Live,
    /// What control is to be told of it.
    journal: Journal,
    location: Location,
    /// The location store has told all that it had at the start.
    is_loaded: bool,
    /// Addresses of record of which it has told all that it has.
    asked: Recent<()>,
    /// What has come of questions, for those who still wait for it.
    answers: VecDeque<Answer>,
    splices: Box<Splices>,
    /// A message being made of another that we made.
    scratch: Box<[u8]>,
    /// A kept message that is taken up again, while it is.
    request: Box<[u8]>,
    /// A request as preprocessing has it.
    changed: Box<[u8]>,
    /// A request made one to a contact.
    retargeted: Box<[u8]>,
}

impl Proxy {
    /// Allocates and touches everything.
    #[must_use]
    pub fn new(worker: WorkerId, settings: &Settings) -> Proxy {
        let capacity = settings.capacity;
        let advertised: Vec<_> = settings
            .listens
            .iter()
            .map(|listen| listen.advertised)
            .collect();
        let identity = Identity::new(worker, settings.boot, &settings.secrets, &advertised);
        Proxy {
            worker,
            workers: settings.workers,
            registrar: Registrar::new(
                capacity.bindings,
                settings.registrar.clone(),
                identity.hash(),
            ),
            places: Places::new(places(settings)),
            guard: Guard::new(
                worker,
                settings.workers,
                identity.hash(),
                settings.abuse,
                !settings.domains.is_empty(),
            ),
            denials: Denials::new(denied::denials(settings)),
            journal: Journal::new(match settings.location {
                Location::Nowhere => None,
                Location::Own | Location::Shared => Some(capacity.bindings),
            }),
            location: settings.location,
            is_loaded: false,
            asked: Recent::new(ASKED),
            identity,
            dial: Dial::new(
                settings.trunks.clone(),
                settings.routes.clone(),
                &settings.domains,
            ),
            listens: settings.listens.clone(),
            advertised: advertised.into_iter().map(Advertised::new).collect(),
            media: settings.media.clone(),
            servers: Slab::new(capacity.transactions),
            clients: Slab::new(capacity.transactions),
            calls: Slab::new(capacity.calls),
            anchors: Anchors::new(capacity.calls),
            contexts: Slab::new(contexts(capacity.calls)),
            transactions: Index::new(capacity.transactions),
            dialogs: Index::new(capacity.calls + calls::extra_dialogs(capacity.calls)),
            dialogs_extra: 0,
            merged: Merged::new(capacity.transactions),
            session: settings.session,
            texts: TextStore::new(capacity.calls.saturating_mul(DIALOG_BLOCKS_PER_CALL)),
            kept: KeptSlab::new(capacity.kept),
            ports: media::pools(worker, settings),
            refusals: Refusals::default(),
            trunks: TrunkCounters::new(settings.trunks.len()),
            wheel: Wheel::new(
                capacity.transactions * 2 + capacity.calls + capacity.tickets + capacity.bindings,
            ),
            live: Live::new(capacity.bindings),
            domains: settings.domains.clone(),
            authentication: settings.authentication,
            ha2s: Ha2s::default(),
            subscribers: Cache::new(capacity.subscribers, settings.authentication.lifetimes),
            windows: Windows::new(capacity.nonces),
            nonce_serial: 0,
            tickets: Tickets::new(capacity.tickets),
            failures_waiting: 0,
            long_waiting: 0,
            refused_lingering: 0,
            answers: queue(capacity.tickets as usize),
            splices: Box::default(),
            scratch: bytes(SIP_LEN_MAX),
            request: bytes(SIP_LEN_MAX),
            changed: bytes(SIP_LEN_MAX),
            retargeted: bytes(SIP_LEN_MAX),
        }
    }

    /// Who owns the call or transaction of `message`. A request of no trunk and of no domain is
    /// nobody's: it costs no mail.
    #[must_use]
    pub fn owner(&self, message: &Message<'_>, arrival: Arrival) -> Owner {
        let owner = if message.is_request() {
            // Whoever it is from: it names a domain of ours.
            if let Some((_, Some(aor))) = self.registers(message) {
                return self.owned_by(aor.owner(self.workers));
            }
            if self.sender_of(message, arrival).is_none() {
                return self.ping_owner(message, arrival);
            }
            if self.is_stateless(message, arrival) {
                return Owner::Mine;
            }
            self.identity.owner(message.call_id(), self.workers)
        } else {
            let via = message.via();
            let branch = via.branch.map_or(&[][..], |branch| message.text(branch));
            match self.identity.read_branch(branch) {
                Ok(branch) => match branch.kind {
                    Kind::Stateful => branch.worker,
                    Kind::Stateless => return Owner::Mine,
                    Kind::Ack => return Owner::Nobody(Counter::SipStrayResponse),
                },
                Err(NotOurs::Stale) => return Owner::Nobody(Counter::SipBranchStale),
                Err(NotOurs::Forged) => return Owner::Nobody(Counter::SipBranchForged),
            }
        };
        self.owned_by(owner)
    }

    fn owned_by(&self, owner: WorkerId) -> Owner {
        if owner == self.worker {
            Owner::Mine
        } else {
            Owner::Other(owner)
        }
    }

    /// Takes up a message that this worker owns, and says how it ended.
    pub fn receive(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        debug_assert!(
            step.effects.is_empty(),
            "the effects of the last input are still there"
        );
        self.splices.clear();
        if !message.is_request() {
            return self.response(message, arrival, step);
        }
        step.counters.count(Counter::Requests);
        self.preprocess(message, arrival, step)
    }

    /// Takes up a request, preprocessed.
    fn take(&mut self, message: &Message<'_>, arrival: Arrival, step: &mut Step<'_>) -> Counter {
        let Some(trunk) = self.sender_of(message, arrival) else {
            return self.ping(message, arrival, step);
        };
        let arrival = self.heard_at(message, arrival, trunk);
        match message.method() {
            Method::Ack => self.ack(message, arrival, trunk, step),
            Method::Cancel => self.cancel(message, arrival, trunk, step),
            _ => self.request(message, arrival, trunk, step),
        }
    }
}

/// How many response contexts there are for so many calls: a call needs one until it is
/// answered, and only where its request has several targets.
const fn contexts(calls: u32) -> u32 {
    calls / 4 + 16
}

/// How many places there are for calls of subscribers.
fn places(settings: &Settings) -> u32 {
    let is_limited = settings.domains.iter().any(|domain| domain.calls > 0);
    if is_limited {
        settings.capacity.calls
    } else {
        1
    }
}
