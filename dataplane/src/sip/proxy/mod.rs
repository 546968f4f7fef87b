//! The proxy core (RFC 3261 §16): requests, responses and timers in, effects out.
//!
//! Sans-IO: it sees bytes, addresses and the time, and writes what is to be done into
//! [`Effects`]. It owns the transactions, the calls, the kept messages, the worker's
//! slice of the media ports, and one timer for each transaction and call.
//!
//! - `preprocess`: what a request is made before it is looked at
//! - `request`: validation and routing
//! - `stateless`: forwarding without state
//! - `dialog`: what belongs to a dialog, and where it goes
//! - `fork`, `targets`: to whom it goes: one, several at once, one after the other
//! - `forward`: the edits on the way, and the transactions
//! - `bye`: requests of our own within a dialog
//! - `calls`: their beginnings and ends
//! - `hop`: CANCEL, and ACK, which are hop by hop
//! - `response`: what comes back
//! - `context`, `best`: which of several responses goes upstream
//! - `late`: a 2xx that nobody upstream waits for any more
//! - `session`: session timers
//! - `timers`: retransmissions, time-outs, ends
//! - `undelivered`: what ICMP says of requests
//! - `describe`: session descriptions on their way through
//! - `negotiate`: offers and answers, and what becomes of them
//! - `settle`: what becomes of an offer in the end
//! - `merged`: the memory of INVITEs, by which one that comes twice is known
//! - `media`: relay ports and flows
//! - `remember`: what is kept of a dialog
//! - `memory`: what the tables cost
//! - `refusal`: the memory of refused requests
//! - `audit`: what must hold among all tables between two inputs

mod audit;
mod best;
mod bye;
mod calls;
mod context;
mod describe;
mod dialog;
mod fork;
mod forward;
mod hop;
mod late;
mod media;
pub mod memory;
mod merged;
mod negotiate;
mod preprocess;
mod refusal;
mod remember;
mod request;
mod response;
mod session;
mod settle;
mod stateless;
mod targets;
mod timers;
mod undelivered;

use std::net::IpAddr;
use std::net::SocketAddr;

pub use self::audit::Audit;
use self::context::Context;
use self::merged::Merged;
use self::refusal::Refusals;
use super::anchors::Anchors;
use super::build;
use super::call::Call;
use super::dialog::Record;
use super::edit::Refused;
use super::edit::Splices;
use super::effects::Effects;
use super::identity::Identity;
use super::identity::Kind;
use super::identity::NotOurs;
use super::index::Index;
use super::malformed::Malformed;
use super::message::Message;
use super::method::Method;
use super::report::CallReport;
use super::slab::Id;
use super::slab::Slab;
use super::texts::TextStore;
use super::transaction::Branches;
use super::transaction::Client;
use super::transaction::Server;
use crate::counters::Counter;
use crate::counters::Counters;
use crate::counters::trunks::TrunkCounters;
use crate::frame::KeptSlab;
use crate::ids::ListenIndex;
use crate::ids::WorkerId;
use crate::limits::DIALOG_BLOCKS_PER_CALL;
use crate::limits::DIALOG_LEN_MAX;
use crate::limits::SIP_LEN_MAX;
use crate::media::CallRef;
use crate::media::Ports;
use crate::route::Dial;
use crate::settings::Listen;
use crate::settings::MediaRange;
use crate::settings::SessionTimer;
use crate::settings::Settings;
use crate::stun;
use crate::text::Text;
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

/// What a timer belongs to. Timers are numbered clients first, then servers, then calls.
#[derive(Clone, Copy, Debug)]
enum Timer {
    Client(u32),
    Server(u32),
    Call(u32),
}

/// The proxy core of one worker.
#[derive(Debug)]
pub struct Proxy {
    worker: WorkerId,
    workers: u8,
    identity: Identity,
    dial: Dial,
    listens: Vec<Listen>,
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
    splices: Box<Splices>,
    /// A message being made of another that we made.
    scratch: Box<[u8]>,
    /// A kept message that is taken up again, while it is.
    request: Box<[u8]>,
    /// A request as preprocessing has it.
    changed: Box<[u8]>,
}

impl Proxy {
    /// Allocates and touches everything.
    #[must_use]
    pub fn new(worker: WorkerId, settings: &Settings) -> Proxy {
        let capacity = settings.capacity;
        let advertised = settings
            .listens
            .iter()
            .map(|listen| listen.advertised)
            .collect();
        Proxy {
            worker,
            workers: settings.workers,
            identity: Identity::new(worker, settings.boot, settings.secrets.clone(), advertised),
            dial: Dial::new(settings.trunks.clone(), settings.routes.clone()),
            listens: settings.listens.clone(),
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
            wheel: Wheel::new(capacity.transactions * 2 + capacity.calls),
            splices: Box::default(),
            scratch: vec![0; SIP_LEN_MAX].into_boxed_slice(),
            request: vec![0; SIP_LEN_MAX].into_boxed_slice(),
            changed: vec![0; SIP_LEN_MAX].into_boxed_slice(),
        }
    }

    /// Who owns the call or transaction of `message`. A request from an address of no trunk
    /// is nobody's: it costs no mail.
    #[must_use]
    pub fn owner(&self, message: &Message<'_>, arrival: Arrival) -> Owner {
        let owner = if message.is_request() {
            if self.dial.trunk_of(arrival.source.ip()).is_none() {
                return Owner::Nobody(Counter::SipSourceUnknown);
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
        match message.method() {
            Method::Ack => self.ack(message, arrival, step),
            Method::Cancel => self.cancel(message, arrival, step),
            _ => self.request(message, arrival, step),
        }
    }

    /// Answers a datagram that is no good message, if it came from a trunk and can be answered.
    pub fn malformed(
        &mut self,
        datagram: &[u8],
        why: Malformed,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        if self.dial.trunk_of(arrival.source.ip()).is_none() {
            return Counter::SipMalformed;
        }
        match build::refusal(datagram, why, step.effects.room()) {
            Ok(Some(len)) => {
                step.effects.send(len, arrival.source, arrival.listen);
                Counter::SipAnswered
            }
            _ => Counter::SipMalformed,
        }
    }

    /// Answers STUN from a trunk: the keepalive of a user agent behind a NAT (RFC 5626 §4.4.2).
    pub fn stun(&mut self, datagram: &[u8], arrival: Arrival, step: &mut Step<'_>) -> Counter {
        if self.dial.trunk_of(arrival.source.ip()).is_none() {
            return Counter::SipStun;
        }
        let mut response = [0; stun::RESPONSE_LEN_MAX];
        match stun::answer(datagram, arrival.source, &mut response) {
            stun::Verdict::Answer(len) => {
                step.effects
                    .send_copy(&response[..len], arrival.source, arrival.listen);
                Counter::SipStunAnswered
            }
            stun::Verdict::Absorb => Counter::SipKeepalive,
            stun::Verdict::Drop => Counter::SipStun,
        }
    }

    /// The refusal of a request that could not even be mailed to its owner: a 503 without
    /// state, that its retransmission may yet escape.
    pub fn refuse_unowned(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        // The ACK to the refusal of a re-INVITE could not be told from one to a 2xx.
        let in_dialog = message.to_tag().is_some();
        if !message.is_request() || message.method() == Method::Ack || in_dialog {
            return Counter::SipMailboxFull;
        }
        self.answer(message, arrival, 503, &[], step)
    }

    /// Copies the levels of tables into `counters`.
    pub fn gauge(&self, counters: &mut Counters) {
        counters.set(
            Counter::TransactionsNow,
            (self.servers.count() + self.clients.count()) as u64,
        );
        counters.set(Counter::CallsNow, self.calls.count() as u64);
        counters.set(Counter::ContextsNow, self.contexts.count() as u64);
        let kept = self.kept.occupancy();
        counters.set(Counter::KeptNow, kept.message_count.into());
        counters.set(Counter::KeptBytesNow, kept.bytes());
    }

    /// What was counted of each trunk.
    #[must_use]
    pub fn trunk_counters(&self) -> &TrunkCounters {
        &self.trunks
    }

    /// The same, to be published.
    pub fn trunk_counters_mut(&mut self) -> &mut TrunkCounters {
        &mut self.trunks
    }

    /// The call in `slot`, if there is one.
    #[must_use]
    pub fn call_report(&self, slot: u32) -> Option<CallReport> {
        let call = self.calls.get(self.calls.tenant(slot)?)?;
        let mut room = [0; DIALOG_LEN_MAX];
        let text = call.text.as_ref();
        let text = text.map_or(&[][..], |text| self.texts.read(text, &mut room));
        let record = Record::read(text).unwrap_or_default();
        Some(call.report(&record, self.worker, self.legs(call)))
    }

    /// The call in `slot` and how its flows name it, if there is one.
    #[must_use]
    pub fn call_in(&self, slot: u32) -> Option<(CallRef, CallReport)> {
        let id = self.calls.tenant(slot)?;
        Some((media::call_ref(self.worker, id), self.call_report(slot)?))
    }

    /// How many slots there are for calls.
    #[must_use]
    pub fn call_slots(&self) -> usize {
        self.calls.capacity() as usize
    }

    /// Pairs of media ports that calls hold now.
    #[must_use]
    pub fn ports_in_use(&self) -> usize {
        self.ports
            .iter()
            .map(|ports| ports.counts(Tick(0)).in_use)
            .sum()
    }

    /// Answers a request ourselves and without state: its retransmissions get the same
    /// (RFC 3261 §8.2.7). `lines` are more header lines.
    fn answer(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        status: u16,
        lines: &[u8],
        step: &mut Step<'_>,
    ) -> Counter {
        let (cseq, ..) = message.cseq();
        let from_tag = message.from_tag().unwrap_or_default();
        let tag = self.identity.to_tag(message.call_id(), from_tag, cseq);
        let response = build::Response {
            to_tag: Some(&tag),
            source: Some(arrival.source),
            lines,
            ..build::Response::new(status)
        };
        match build::response(message, &response, step.effects.room()) {
            Ok(len) => {
                let to = self.reply_to(message, arrival.source);
                step.effects.send(len, to, arrival.listen);
                Counter::SipAnswered
            }
            Err(_) => Counter::SipTooLong,
        }
    }

    /// Sends the response kept by a server transaction again.
    fn resend_response(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        if let Some(kept) = &server.response {
            step.effects
                .send_copy(self.kept.bytes(kept), server.reply_to.addr(), server.listen);
            step.counters.count(Counter::Retransmissions);
        }
    }

    /// Sends what a client transaction keeps, the request or the ACK, again.
    fn resend_request(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        if let Some(kept) = &client.message {
            let bytes = self.kept.bytes(kept);
            step.effects
                .send_copy(bytes, client.destination.addr(), client.listen);
            if client.by_kernel {
                step.effects.last_by_kernel();
            }
            step.counters.count(Counter::Retransmissions);
        }
    }

    /// The key of a request's server transaction (RFC 3261 §17.2.3). ACK and CANCEL ask
    /// with the INVITE's.
    fn transaction_key(&self, message: &Message<'_>, method: &[u8]) -> u64 {
        let via = message.via();
        if via.has_cookie(message.bytes()) {
            let branch = via.branch.map_or(&[][..], |branch| message.text(branch));
            let port = via.port.unwrap_or(5060).to_be_bytes();
            // A branch is compared without regard to case (§7.3.1); one that changes its
            // case between retransmissions is not worth the copy.
            return self
                .identity
                .hash(&[b"t", branch, message.text(via.host), &port, method]);
        }
        // An RFC 2543 element: Request-URI, From tag, Call-ID, CSeq number, top Via. Its
        // ACK carries the To tag of our response, so that cannot be part of the key.
        let uri = message
            .request_uri()
            .map_or(&[][..], |uri| message.text(uri));
        let (cseq, ..) = message.cseq();
        self.identity.hash(&[
            b"2543",
            uri,
            message.from_tag().unwrap_or_default(),
            message.call_id(),
            &cseq.to_be_bytes(),
            message.text(via.value),
            method,
        ])
    }

    /// Arms the timer of a client transaction anew.
    fn arm_client(&mut self, id: Id) {
        if let Some(client) = self.clients.get(id) {
            self.wheel.arm(id.slot, client.due());
        }
    }

    /// Arms the timer of a server transaction anew.
    fn arm_server(&mut self, id: Id) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let timer = self.clients.capacity() + id.slot;
        match server.due() {
            Tick::NEVER => self.wheel.disarm(timer),
            due => self.wheel.arm(timer, due),
        }
    }

    /// Arms the timer of a call anew.
    fn arm_call(&mut self, id: Id) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let timer = self.clients.capacity() + self.servers.capacity() + id.slot;
        match call.due {
            Tick::NEVER => self.wheel.disarm(timer),
            due => self.wheel.arm(timer, due),
        }
    }

    /// Ends a client transaction.
    fn end_client(&mut self, id: Id) {
        if let Some(client) = self.clients.remove(id) {
            self.wheel.disarm(id.slot);
            self.release(client.message);
        }
    }

    /// Ends a server transaction.
    fn end_server(&mut self, id: Id) {
        if let Some(server) = self.servers.remove(id) {
            self.wheel.disarm(self.clients.capacity() + id.slot);
            self.transactions.remove(server.key, id);
            if let Branches::Context(context) = server.branches {
                self.discard_context(context);
            }
            self.release(server.response);
        }
    }

    fn release(&mut self, kept: Option<crate::frame::Kept>) {
        if let Some(kept) = kept {
            self.kept.release(kept);
        }
    }

    /// Where the response to a request goes (RFC 3261 §18.2.2, RFC 3581 §4): to where it came
    /// from, and to the port it came from if it asked for that, else to the one it names. What
    /// we sent to ourselves is answered to the listen it left by: its Via names an advertised
    /// port, which may be that of a NAT before us.
    fn reply_to(&self, message: &Message<'_>, source: SocketAddr) -> SocketAddr {
        let via = message.via();
        let port = if via.rport.is_some() || self.is_listen(source) {
            source.port()
        } else {
            via.port.unwrap_or(5060)
        };
        SocketAddr::new(source.ip(), port)
    }

    /// True for the address of a listen: what comes from there we sent ourselves.
    fn is_listen(&self, source: SocketAddr) -> bool {
        self.listens.iter().any(|listen| listen.address == source)
    }

    /// Writes the message with the splices collected so far and sends it.
    fn send_spliced<'e>(
        &self,
        message: &Message<'_>,
        to: SocketAddr,
        listen: ListenIndex,
        effects: &'e mut Effects,
    ) -> Result<&'e [u8], Counter> {
        match self.splices.write(message.bytes(), effects.room()) {
            Ok(len) => Ok(effects.send(len, to, listen)),
            Err(_) => Err(Counter::SipTooLong),
        }
    }
}

/// How many response contexts there are for so many calls: a call needs one until it is
/// answered, and only where its request has several targets.
const fn contexts(calls: u32) -> u32 {
    calls / 4 + 16
}

/// Brackets, 39 digits and colons, a colon and 5 digits: the longest address and port.
const SENT_BY_LEN: usize = 47;

/// Writes `address` as Via's sent-by or a URI's hostport: IPv6 in brackets (RFC 3261
/// §25.1), without the port where it is 5060.
fn sent_by(address: SocketAddr, out: &mut [u8; SENT_BY_LEN]) -> usize {
    let mut text = Text::new(out);
    match address.ip() {
        IpAddr::V4(ip) => text.ipv4(ip),
        ip @ IpAddr::V6(_) => {
            text.push(b"[");
            text.ip(ip);
            text.push(b"]");
        }
    }
    if address.port() != 5060 {
        text.push(b":");
        text.decimal(address.port().into());
    }
    // It is long enough for every address.
    text.finish().unwrap_or(0)
}

/// The status of the answer to a request that could not be edited (RFC 3261 §21.5.7).
const fn unedited_status(refused: Refused) -> u16 {
    match refused {
        Refused::Full => 513,
        Refused::Overlap | Refused::Malformed(_) => 500,
    }
}

/// The outcome of a message that could not be edited.
const fn unedited(_: Refused) -> Counter {
    Counter::SipTooLong
}
