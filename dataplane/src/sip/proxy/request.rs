//! Requests: validation (RFC 3261 §16.3) and routing (§16.4, §16.5).

use std::net::IpAddr;
use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use super::Step;
use super::forward::Way;
use super::unedited_status;
use crate::counters::Counter;
use crate::counters::trunks::TrunkCounter;
use crate::ids::TrunkIndex;
use crate::sip::call::Party;
use crate::sip::header::HeaderName;
use crate::sip::identity::Sides;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::transaction::Server;
use crate::sip::uri::Host;
use crate::sip::uri::Scheme;
use crate::sip::uri::Uri;
use crate::span::Span;
use crate::text::Text;

/// The parameter of our Record-Route URIs that carries the cookie.
pub(super) const COOKIE_PARAM: &[u8] = b"tl";
/// What an OPTIONS to the box itself is told (RFC 3261 §11.2). A proxy passes all methods.
const OPTIONS_LINES: &[u8] = b"Accept: application/sdp\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, SUBSCRIBE, MESSAGE\r\n\
    Supported: \r\n";

/// An in-dialog request that our cookie proves to be one.
#[derive(Clone, Copy, Debug)]
pub(super) struct InDialog {
    /// The listens of the dialog's two sides.
    pub sides: Sides,
    /// Who sent the request.
    pub from: Party,
    /// How many of the topmost Route values are ours.
    pub routes: usize,
}

impl Proxy {
    /// Takes up a request that is neither ACK nor CANCEL.
    pub(super) fn request(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        let (_, method, _) = message.cseq();
        let key = self.transaction_key(message, method);
        if let Some(id) = self.transactions.get(key) {
            return self.repetition(id, step);
        }
        let Some(trunk) = self.dial.trunk_of(arrival.source.ip()) else {
            return Counter::SipSourceUnknown;
        };
        if let Some(status) = self.refusals.status_of(key, step.now) {
            step.counters.count(Counter::RetransmissionsAbsorbed);
            return self.answer(message, arrival, status, &[], step);
        }
        self.trunks.count(trunk, TrunkCounter::RequestsIn);
        match self.take_up(message, arrival, key, trunk, step) {
            Ok(outcome) => outcome,
            Err(status) => {
                self.trunks.count(trunk, TrunkCounter::Rejected);
                self.refuse(message, arrival, key, status, step)
            }
        }
    }

    /// Validates and forwards a request; the error is the status of the answer.
    fn take_up(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        trunk: TrunkIndex,
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        self.validate(message)?;
        if message.method() == Method::Options && self.is_for_us(message) {
            return Ok(self.answer(message, arrival, 200, OPTIONS_LINES, step));
        }
        if message.max_forwards() == Some(0) {
            return Err(483);
        }
        if self.is_loop(message, arrival) {
            return Err(482);
        }
        match self.in_dialog(message, arrival.source.ip()) {
            Some(dialog) => self.forward_in_dialog(message, arrival, key, dialog, step)?,
            // A To tag without our cookie: no dialog that ever passed here.
            None if message.to_tag().is_some() => return Err(481),
            None => self.forward_new(message, arrival, key, trunk, step)?,
        }
        Ok(Counter::SipForwarded)
    }

    /// Answers a request with a failure. It is remembered where a retransmission might get
    /// another answer, and where the ACK could not be told from one to a 2xx by its To tag.
    fn refuse(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        status: u16,
        step: &mut Step<'_>,
    ) -> Counter {
        let foreign_tag = message.method() == Method::Invite && message.to_tag().is_some();
        if status == 503 || foreign_tag {
            self.refusals.remember(key, status, step.now);
        }
        let mut lines = [0; 512];
        let len = if status == 420 {
            unsupported(message, &mut lines)
        } else {
            0
        };
        self.answer(message, arrival, status, &lines[..len], step)
    }

    /// RFC 3261 §17.2: a repeated request gets the last response again, if there is one.
    fn repetition(&mut self, id: Id, step: &mut Step<'_>) -> Counter {
        step.counters.count(Counter::RetransmissionsAbsorbed);
        if self.servers.get(id).is_some_and(Server::answers_repetition) {
            self.resend_response(id, step);
        }
        Counter::SipAbsorbed
    }

    /// RFC 3261 §16.3 but for Max-Forwards and loops; the error is the status of the answer.
    fn validate(&self, message: &Message<'_>) -> Result<(), u16> {
        let uri = message.request_uri().ok_or(400_u16)?;
        match Uri::read(message.bytes(), uri).map_err(|_| 400_u16)?.scheme {
            Scheme::Sip | Scheme::Tel => {}
            // sips: asks for TLS on every hop, which a UDP listen cannot give.
            Scheme::Sips | Scheme::Other => return Err(416),
        }
        if message.has_proxy_require() {
            Err(420)
        } else {
            Ok(())
        }
    }

    /// True where the Request-URI names one of our listens and no user.
    fn is_for_us(&self, message: &Message<'_>) -> bool {
        let uri = message
            .request_uri()
            .and_then(|uri| Uri::read(message.bytes(), uri).ok());
        uri.is_some_and(|uri| uri.user.is_none() && self.our_host(&uri).is_some())
    }

    /// Where the hostport of `uri` stands, if it is a listen's.
    fn our_host(&self, uri: &Uri) -> Option<Span> {
        let host = uri.host?.address()?;
        let address = SocketAddr::new(host, uri.port.unwrap_or(5060));
        let ours = self
            .listens
            .iter()
            .any(|listen| listen.address == address || listen.advertised == address);
        ours.then_some(Span {
            start: uri.host_text.start,
            end: uri.params.start,
        })
    }

    /// The dialog that the topmost Route's cookie proves, and who of its parties sent this.
    /// The cookie is no secret to the parties and to whoever they show it: where the call is
    /// known, `source` must be an address of the party's own trunk.
    pub(super) fn in_dialog(&self, message: &Message<'_>, source: IpAddr) -> Option<InDialog> {
        let to_tag = message.to_tag()?;
        let from_tag = message.from_tag().unwrap_or_default();
        let mut routes = message
            .routes()
            .map_while(Result::ok)
            .map(|route| route.address.uri);
        let cookie = cookie_of(message, routes.next()?)?;
        let read = |tag| self.identity.read_cookie(cookie, message.call_id(), tag);
        let (sides, from) = match read(from_tag) {
            Some(sides) => (sides, Party::Caller),
            None => (read(to_tag)?, Party::Callee),
        };
        // We record two values where the two sides differ, and take both away again.
        let second = routes.next().and_then(|uri| cookie_of(message, uri));
        let routes = if second == Some(cookie) { 2 } else { 1 };
        let call = self
            .find_call(message, from, sides)
            .and_then(|id| self.calls.get(id));
        let known = call.and_then(|call| call.trunks[from as usize]);
        if known.is_some_and(|known| !self.dial.belongs(known, source)) {
            return None;
        }
        Some(InDialog {
            sides,
            from,
            routes,
        })
    }

    /// Where an in-dialog request goes (RFC 3261 §16.4, §16.12), once our Route values are
    /// gone: the next Route value, else the Request-URI. Where that is a name, or an address
    /// of no trunk or that our listen on that side cannot reach, it is where the other party's messages come from: nobody uses the box to
    /// send to whom they like.
    pub(super) fn way_in_dialog(
        &self,
        message: &Message<'_>,
        dialog: InDialog,
        call: Option<Id>,
    ) -> Option<Way> {
        let uri = match message.routes().nth(dialog.routes) {
            Some(route) => route.ok()?.address.uri,
            None => message.request_uri()?,
        };
        let uri = Uri::read(message.bytes(), uri).ok()?;
        let listen = match dialog.from {
            Party::Caller => dialog.sides.callee,
            Party::Callee => dialog.sides.caller,
        };
        let ours = self.listens[usize::from(listen.0)].address;
        let reachable =
            |host: &IpAddr| host.is_ipv4() == ours.is_ipv4() && self.dial.trunk_of(*host).is_some();
        let to = match uri.host.and_then(Host::address).filter(reachable) {
            Some(host) => SocketAddr::new(host, uri.port.unwrap_or(5060)),
            None => self.calls.get(call?)?.parties[dialog.from.other() as usize]?,
        };
        Some(Way {
            to,
            listen,
            routes: dialog.routes,
            our_host: None,
        })
    }

    fn forward_in_dialog(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        dialog: InDialog,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let mut call = self.find_call(message, dialog.from, dialog.sides);
        let way = self.way_in_dialog(message, dialog, call).ok_or(404_u16)?;
        let adopts = call.is_none() && message.method() == Method::Invite;
        if adopts {
            call = Some(self.adopt_call(message, arrival, dialog, way.to, step)?);
        }
        // What comes from ourselves says nothing of where a party is.
        let moved = Some(arrival.source).filter(|source| !self.is_listen(*source));
        if let Some(call) = call.and_then(|id| self.calls.get_mut(id)) {
            let party = &mut call.parties[dialog.from as usize];
            *party = moved.or(*party);
        }
        let before = self.peers_of(call);
        let sent = self
            .anchor(message, call, dialog.from, true, step)
            .and_then(|()| self.forward(message, arrival, key, way, call, step));
        if sent.is_ok() {
            self.count_out(call, dialog.from.other(), way);
        }
        let Some(id) = call else {
            return sent.map(|_| ());
        };
        match sent {
            Ok(server) if adopts => {
                if let Some(call) = self.calls.get_mut(id) {
                    call.invite = server;
                }
            }
            Ok(server) if matches!(message.method(), Method::Invite | Method::Update) => {
                self.note_offer(id, dialog.from, server, &before);
            }
            Ok(_) => {}
            Err(_) if adopts => {
                step.counters.count(Counter::CallsFailed);
                self.forget_call(id, step);
            }
            // RFC 3261 §15.1.1: it ends the dialog for its sender though it goes nowhere.
            Err(_) if message.method() == Method::Bye => self.hang_up(id, step),
            Err(_) => {
                let after = self.peers_of(call);
                self.restore_peers(id, &before, &after, step);
            }
        }
        sent.map(|_| ())
    }

    /// Counts a request of a dialog for the trunk that it went to.
    fn count_out(&mut self, call: Option<Id>, to: Party, way: Way) {
        let call = call.and_then(|id| self.calls.get(id));
        let trunk = call.and_then(|call| call.trunks[to as usize]);
        if let Some(trunk) = trunk.or_else(|| self.dial.trunk_of(way.to.ip())) {
            self.trunks.count(trunk, TrunkCounter::RequestsOut);
        }
    }

    fn forward_new(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        caller: TrunkIndex,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let uri = message.request_uri().ok_or(400_u16)?;
        let parts = Uri::read(message.bytes(), uri).map_err(|_| 400_u16)?;
        let text = message.text(uri);
        let scheme_len = memchr::memchr(b':', text).map_or(0, |colon| colon + 1);
        let callee = self
            .dial
            .route(caller, text.get(scheme_len..).unwrap_or_default());
        let callee = callee
            .and_then(|route| route.to.first())
            .ok_or(404_u16)?
            .trunk;
        let trunk = self.dial.trunk(callee).ok_or(404_u16)?;
        let way = Way {
            to: *trunk.targets.first().ok_or(404_u16)?,
            listen: trunk.listen,
            routes: self.our_preloaded_routes(message),
            our_host: self.our_host(&parts),
        };
        if matches!(
            message.method(),
            Method::Invite | Method::Subscribe | Method::Refer
        ) {
            let sides = Sides {
                caller: arrival.listen,
                callee: way.listen,
            };
            self.record_route(message, sides).map_err(unedited_status)?;
        }
        if message.method() != Method::Invite {
            self.forward(message, arrival, key, way, None, step)?;
            self.trunks.count(callee, TrunkCounter::RequestsOut);
            return Ok(());
        }
        let call = self.begin_call(message, arrival, [caller, callee], way, step)?;
        let sent = self
            .anchor(message, Some(call), Party::Caller, true, step)
            .and_then(|()| self.forward(message, arrival, key, way, Some(call), step));
        match sent {
            Ok(server) => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.invite = server;
                }
                self.trunks.count(callee, TrunkCounter::RequestsOut);
                Ok(())
            }
            Err(status) => {
                step.counters.count(Counter::CallsFailed);
                self.forget_call(call, step);
                Err(status)
            }
        }
    }

    /// RFC 3261 §16.4: Route values that name us, put there by a client that was told to.
    fn our_preloaded_routes(&self, message: &Message<'_>) -> usize {
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

/// The cookie in a Route value's URI.
fn cookie_of<'m>(message: &Message<'m>, uri: Span) -> Option<&'m [u8]> {
    let uri = Uri::read(message.bytes(), uri).ok()?;
    let cookie = uri.param(message.bytes(), COOKIE_PARAM)?.value?;
    Some(message.text(cookie))
}

/// RFC 3261 §16.3 step 5: the answer to Proxy-Require names what we do not support, which
/// is all of it.
fn unsupported(message: &Message<'_>, lines: &mut [u8]) -> usize {
    let mut text = Text::new(lines);
    for header in message
        .headers()
        .filter(|header| header.kind == HeaderName::ProxyRequire)
    {
        text.push(b"Unsupported: ");
        text.push(message.text(header.value));
        text.push(b"\r\n");
    }
    text.finish().unwrap_or(0)
}
