//! The edge before somebody else's registrar (RFC 5626 §5): REGISTERs go on to it with a Path of ours
//! (RFC 3327 §5.2), whose URI says by which flow the phone is reached, and its requests come back
//! by that.
//!
//! ```text
//!   REGISTER ─► fresh? ── yes ► 200 from what the registrar has granted
//!                 └─ no ─► Path: <sip:flow@box;lr> ─► registrar ─► 200 ─► noted, its time
//!                                                                       shortened behind a NAT
//!   a request of the registrar's ─► Route: <sip:flow@box;lr> ─► the phone
//! ```
//!
//! Credentials and challenges pass through: passwords are the registrar's business.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::forward::max_breadth;
use super::found::Contact;
use super::found::FOUND_LEN_MAX;
use super::found::Writer;
use super::parked::Wait;
use super::targets::Targets;
use crate::counters::Counter;
use crate::ids::DomainIndex;
use crate::ids::ListenIndex;
use crate::ids::TrunkIndex;
use crate::settings::Domain;
use crate::settings::Upstream;
use crate::sip::denials::Why;
use crate::sip::edit;
use crate::sip::edit::Refused;
use crate::sip::header::HeaderName;
use crate::sip::identity::Flow;
use crate::sip::message::Message;
use crate::sip::registrar;
use crate::sip::registrar::Refusal;
use crate::sip::registrar::Register;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::slab::Id;
use crate::sip::subscriber::Subscriber;
use crate::sip::uri::Uri;
use crate::text::Text;
use crate::tick::Tick;

/// Who has not registered from where it is registers only while no more than one of so many transactions is
/// taken: nobody here asks for its password, nor is it where it says it is, and each of its REGISTERs keeps two
/// for 32 s. The rest is for who has registered.
const STRANGERS_PART: usize = 2;

/// RFC 3261 §21.4.4.
const FORBIDDEN: u16 = 403;
/// RFC 5626 §11.5.
const FLOW_FAILED: u16 = 430;

impl Proxy {
    /// The domain whose users a trunk stands for, and its registrar, where that is elsewhere.
    pub(super) fn upstream_of(&self, trunk: TrunkIndex) -> Option<(DomainIndex, &Upstream)> {
        let domain = self.dial.domain_of(trunk)?;
        let upstream = self.domains.get(usize::from(domain.0))?.upstream.as_ref()?;
        Some((domain, upstream))
    }

    /// Takes up a REGISTER of a phone whose registrar is elsewhere; the error is the status of the
    /// answer.
    pub(super) fn register_upstream(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (trunk, aor): (TrunkIndex, Option<AddressOfRecord>),
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        if let Some(outcome) =
            self.answer_renewed(message, arrival, key, (trunk, aor.as_ref()), step)
        {
            step.counters.count(Counter::RegistersSpared);
            return Ok(outcome);
        }
        let is_at = |aor: &AddressOfRecord| {
            let Arrival { source, listen } = arrival;
            self.registrar.is_at(aor.key, source, listen, step.now)
        };
        let taken = self.servers.count().max(self.clients.count());
        if taken >= self.servers.capacity() as usize / STRANGERS_PART
            && !aor.as_ref().is_some_and(is_at)
        {
            step.counters.count(Counter::TransactionsRefused);
            return Err(503);
        }
        let (domain, upstream) = self.upstream_of(trunk).ok_or(404_u16)?;
        let targets = Targets::of(&self.dial, &upstream.route, max_breadth(message));
        self.forward_to(message, arrival, key, trunk, (targets, &[]), step)?;
        if let Some(aor) = &aor {
            let request = Register {
                message,
                aor,
                domain,
                received: arrival.source,
                listen: arrival.listen,
                transaction: key,
            };
            self.registrar.doubt(&request, step.now);
        }
        step.counters.count(Counter::RegistersForwarded);
        Ok(Counter::SipForwarded)
    }

    /// Answers a REGISTER that the registrar need not see; `None` where it must.
    fn answer_renewed(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (trunk, aor): (TrunkIndex, Option<&AddressOfRecord>),
        step: &mut Step<'_>,
    ) -> Option<Counter> {
        let (domain, upstream) = self.upstream_of(trunk)?;
        let nat_expires_s = upstream.nat_expires_s;
        let request = Register {
            message,
            aor: aor?,
            domain,
            received: arrival.source,
            listen: arrival.listen,
            transaction: key,
        };
        let mut room = std::mem::take(&mut self.scratch);
        let mut text = Text::new(&mut room);
        let is_fresh = self
            .registrar
            .renew(&request, nat_expires_s, step.now, &mut text);
        let len = text.finish().ok().filter(|_| is_fresh);
        let outcome = len.map(|len| self.answer(message, arrival, 200, &room[..len], step));
        self.scratch = room;
        outcome
    }

    /// Puts our Path into a REGISTER whose sender is a phone of a domain with its registrar elsewhere,
    /// and which leaves to it from `listen`.
    ///
    /// The phone need not know of Path, and few do: that it is supported is said for it.
    pub(super) fn insert_path(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        sender: TrunkIndex,
        listen: ListenIndex,
    ) -> Result<(), Refused> {
        if self.upstream_of(sender).is_none() {
            return Ok(());
        }
        let token = self.identity.flow(Flow {
            listen: arrival.listen,
            domain: self.dial.tag(sender),
            phone: arrival.source,
        });
        // RFC 5626 §5.1: the first hop of a phone that asks for it, and no other one.
        let is_first = matches!(message.second_via(), Ok(None));
        let end: &[u8] = match is_first && asks_for_flow(message) {
            true => b";lr;ob>\r\n",
            false => b";lr>\r\n",
        };
        let supported: &[u8] = match message.supports(b"path") {
            true => b"",
            false => b"Supported: path\r\n",
        };
        let host = self.advertised[usize::from(listen.0)].sent_by();
        let pieces = [b"Path: <sip:", &token[..], b"@", host, end, supported];
        edit::insert_path(message, &mut self.splices, &pieces)
    }

    /// The registrar has answered a REGISTER with 2xx, which is about to go to the phone: takes note
    /// of what it has granted, and collects what the phone is to be told otherwise.
    pub(super) fn note_granted(
        &mut self,
        client: Id,
        server: Id,
        response: &Message<'_>,
        step: &mut Step<'_>,
    ) {
        let Some(client) = self.clients.get(client) else {
            return;
        };
        let Some(sent) = client.message.as_ref() else {
            return;
        };
        let since = client.began();
        let mut room = std::mem::take(&mut self.scratch);
        let bytes = self.kept.bytes(sent);
        let len = bytes.len();
        room[..len].copy_from_slice(bytes);
        // It was scanned when it came.
        if let Ok(request) = Message::scan(&room[..len]) {
            let _ = self.note_granted_to(&request, since, server, response, step);
        }
        self.scratch = room;
    }

    /// The same with the REGISTER as it was sent at `since`; `None` where it is of no phone of ours.
    fn note_granted_to(
        &mut self,
        request: &Message<'_>,
        since: Tick,
        server: Id,
        response: &Message<'_>,
        step: &mut Step<'_>,
    ) -> Option<()> {
        let server = self.servers.get(server)?;
        let (transaction, sender) = (server.key, server.reply_to.addr().ip());
        let path = request.paths().next()?.ok()?;
        let uri = Uri::read(request.bytes(), path.address.uri).ok()?;
        let flow = self.identity.read_flow(request.text(uri.user?))?;
        // Who brings a Path of ours that another has shown him is not that one.
        if flow.phone.ip() != sender || self.dial.trunk_of(sender).is_some() {
            return None;
        }
        let trunk = self.dial.domain_with(flow.domain)?;
        let (domain, upstream) = self.upstream_of(trunk)?;
        let nat_expires_s = upstream.nat_expires_s;
        let (registered, aor) = self.registers(request)?;
        let aor = aor.filter(|_| registered == domain)?;
        let request = Register {
            message: request,
            aor: &aor,
            domain,
            received: flow.phone,
            listen: flow.listen,
            transaction,
        };
        let noted = self.with_changes(step, |registrar, now, tell| {
            registrar.note_granted(&request, response, (since, now), tell)
        });
        if matches!(noted, Err(Refusal::Full)) {
            step.counters.count(Counter::BindingsRefused);
        }
        if response.all_of(HeaderName::Path).next().is_none() {
            step.counters.count(Counter::PathsIgnored);
        }
        // What does not fit goes as it came, and the NAT may close.
        registrar::shorten(&request, response, nat_expires_s, &mut self.splices).ok()
    }

    /// The flow that a request outside of a dialog is to take, if its Route names one; the error is
    /// the status of the answer (RFC 5626 §5.3.1).
    pub(super) fn flow_of(
        &self,
        message: &Message<'_>,
        sender: TrunkIndex,
        step: &mut Step<'_>,
    ) -> Result<Option<Flow>, u16> {
        let is_its = |domain: &Domain| domain.upstream.as_ref().is_some_and(|it| it.is(sender));
        if !self.domains.iter().any(is_its) {
            return Ok(None);
        }
        let Some(Ok(route)) = message.routes().next() else {
            return Ok(None);
        };
        let uri = Uri::read(message.bytes(), route.address.uri).ok();
        let uri = uri.filter(|uri| self.our_host(uri).is_some());
        let Some(token) = uri.and_then(|uri| uri.user) else {
            return Ok(None);
        };
        let token = message.text(token);
        let flow = self.identity.read_flow(token);
        let trunk = flow.and_then(|flow| self.dial.domain_with(flow.domain));
        let upstream = trunk.and_then(|trunk| self.upstream_of(trunk));
        match (flow, upstream) {
            (Some(flow), Some((_, upstream))) if upstream.is(sender) => Ok(Some(flow)),
            (Some(_), None) => {
                step.counters.count(Counter::FlowsFailed);
                Err(FLOW_FAILED)
            }
            _ => {
                step.counters.count(Counter::FlowsForged);
                Err(FORBIDDEN)
            }
        }
    }

    /// Sends a request to a phone by its flow: what its Request-URI says is how the phone is called,
    /// not where it is.
    pub(super) fn forward_by_flow(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        caller: TrunkIndex,
        flow: Flow,
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        let trunk = self.dial.domain_with(flow.domain);
        let domain = trunk.and_then(|trunk| self.dial.domain_of(trunk));
        let domain = domain.ok_or(FLOW_FAILED)?;
        let uri = message.request_uri().ok_or(400_u16)?;
        let mut room = [0; FOUND_LEN_MAX];
        let mut found = Writer::new(&mut room);
        found.push(&Contact {
            uri: message.text(uri),
            path: &[],
            to: flow.phone,
            listen: flow.listen,
            lane: 0,
            q: 1_000,
        });
        let len = found.len();
        if len == 0 {
            return Err(414);
        }
        let from = (caller, domain);
        self.forward_found(message, arrival, key, from, &room[..len], step)?;
        Ok(Counter::SipForwarded)
    }

    /// Takes up a request of a phone whose registrar is elsewhere and asks for passwords: it goes on
    /// from where its user has registered; the error is the status of the answer.
    pub(super) fn admit_registered(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        trunk: TrunkIndex,
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        let (domain, upstream) = self.upstream_of(trunk).ok_or(FORBIDDEN)?;
        let dialog = self.in_dialog(message, arrival.source.ip());
        if upstream.passes_unregistered && dialog.is_none() {
            return self.send_up(message, arrival, key, trunk, None, step);
        }
        let bytes = message.bytes();
        let from = Uri::read(bytes, message.from().uri).ok();
        let aor = from.and_then(|uri| AddressOfRecord::of(bytes, &uri, self.identity.hash()));
        let aor = aor.ok_or(FORBIDDEN)?;
        let keeper = aor.owner(self.workers);
        if keeper != self.worker {
            let wait = Wait::Flow {
                keeper,
                aor: aor.key,
                who: Subscriber {
                    domain,
                    user: aor.user,
                },
            };
            return self.park(message, arrival, key, (trunk, Some(domain)), wait, step);
        }
        let Arrival { source, listen } = arrival;
        let is_registered = self.registrar.is_at(aor.key, source, listen, step.now);
        self.go_on_registered(message, arrival, key, (trunk, is_registered), step)
    }

    /// A request of a phone of which it is known now whether its user has registered from there.
    pub(super) fn go_on_registered(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        (trunk, is_registered): (TrunkIndex, bool),
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        if !is_registered {
            step.counters.count(Counter::UnregisteredRefused);
            self.note_denial(message, arrival.source, Why::Unregistered, step.now);
            return Err(FORBIDDEN);
        }
        if let Some(wait) = self.needs_place(message, trunk) {
            let domain = self.dial.domain_of(trunk);
            return self.park(message, arrival, key, (trunk, domain), wait, step);
        }
        let dialog = self.in_dialog(message, arrival.source.ip());
        self.send_up(message, arrival, key, trunk, dialog, step)
    }
}

impl Upstream {
    /// Whether a trunk is that of the registrar.
    fn is(&self, trunk: TrunkIndex) -> bool {
        self.route.to.iter().any(|choice| choice.trunk == trunk)
    }
}

/// Whether a REGISTER asks for a contact to be reached by its flow (RFC 5626 §4.2).
fn asks_for_flow(message: &Message<'_>) -> bool {
    let mut contacts = message.contacts().flatten();
    contacts.any(|value| {
        let params = value.address.params(message.bytes());
        params.find(b"reg-id").is_some()
    })
}
