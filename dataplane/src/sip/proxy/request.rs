//! Requests: validation (RFC 3261 §16.3), and whether they begin something.

use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use super::Step;
use super::dialog::InDialog;
use super::refusal::Refused;
use crate::counters::Counter;
use crate::counters::trunks::TrunkCounter;
use crate::ids::DomainIndex;
use crate::ids::TrunkIndex;
use crate::sip::header::HeaderName;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::slab::Id;
use crate::sip::transaction::Server;
use crate::sip::uri::Scheme;
use crate::sip::uri::Uri;
use crate::span::Span;
use crate::text::Text;

/// What an OPTIONS to the box itself is told (RFC 3261 §11.2). A proxy passes all methods.
pub(super) const OPTIONS_LINES: &[u8] = b"Accept: application/sdp\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, SUBSCRIBE, MESSAGE\r\n\
    Supported: \r\n";

impl Proxy {
    /// Takes up a request that is neither ACK nor CANCEL.
    pub(super) fn request(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        trunk: TrunkIndex,
        step: &mut Step<'_>,
    ) -> Counter {
        let key = self.transaction_key(message, message.method(), trunk);
        if let Some(id) = self.transactions.get(key) {
            return self.repetition(id, step);
        }
        let refused = self.refusals.answer_of(key, step.now);
        let was_challenged = matches!(refused, Some((401 | 407, _)));
        if let Some(refused) = refused.filter(|_| !was_challenged) {
            step.counters.count(Counter::RetransmissionsAbsorbed);
            return self.tell_refused(message, arrival, refused, step);
        }
        self.trunks.count(trunk, TrunkCounter::RequestsIn);
        match self.take_up(message, arrival, key, trunk, was_challenged, step) {
            Ok(outcome) => outcome,
            Err(status) => {
                self.trunks.count(trunk, TrunkCounter::Rejected);
                self.refuse(message, arrival, key, trunk, status, step)
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
        was_challenged: bool,
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        let request_uri = self.validate(message)?;
        // RFC 3261 §16.3 step 3 lets us answer any OPTIONS at its last hop; RFC 4475 §3.3.11 would
        // rather see the 483, and whoever asks for us names us.
        if self.asks_for_us(message) {
            return Ok(self.answer(message, arrival, 200, OPTIONS_LINES, step));
        }
        if message.max_forwards() == Some(0) {
            return Err(483);
        }
        if self.is_loop(message, arrival) {
            return Err(482);
        }
        let is_phone = self.upstream_of(trunk).is_some();
        match self.registrar_of(message) {
            Some((domain, _)) if self.domains[usize::from(domain.0)].registrar => {
                if self.is_for_another(message, &request_uri, domain) {
                    return Err(404);
                }
                // Who registers says so by a password, whichever proxy it comes by.
                return self.admit(message, arrival, key, (trunk, domain), step);
            }
            Some((domain, uri)) if is_phone && self.dial.domain_of(trunk) == Some(domain) => {
                let aor = AddressOfRecord::of(message.bytes(), &uri, self.identity.hash());
                return self.register_upstream(message, arrival, key, (trunk, aor), step);
            }
            _ => {}
        }
        let dialog = self.in_dialog(message, arrival.source.ip());
        if let Some(domain) = self.dial.domain_of(trunk)
            && (was_challenged || !dialog.is_some_and(|dialog| dialog.is_proved))
        {
            if is_phone {
                return self.admit_registered(message, arrival, key, trunk, step);
            }
            return self.admit(message, arrival, key, (trunk, domain), step);
        }
        self.send_up(message, arrival, key, trunk, dialog, step)
    }

    /// Sends a request on of which it is known who sent it.
    pub(super) fn send_up(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        trunk: TrunkIndex,
        dialog: Option<InDialog>,
        step: &mut Step<'_>,
    ) -> Result<Counter, u16> {
        match dialog {
            Some(dialog) => self.forward_in_dialog(message, arrival, key, dialog, step)?,
            None if message.to_tag().is_none()
                && let Some(flow) = self.flow_of(message, trunk, step)? =>
            {
                return self.forward_by_flow(message, arrival, key, trunk, flow, step);
            }
            None if let Some((domain, aor)) = self.called(message)
                && message.to_tag().is_none() =>
            {
                let aor = aor.ok_or(404_u16)?;
                return self.locate(message, arrival, key, trunk, (domain, aor), step);
            }
            None if let Some(way) = self.stateless_way(message, arrival, trunk)? => {
                return Ok(self.forward_stateless(message, arrival, way, step));
            }
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
        trunk: TrunkIndex,
        status: u16,
        step: &mut Step<'_>,
    ) -> Counter {
        let foreign_tag = message.method() == Method::Invite && message.to_tag().is_some();
        // The call that was in the way, or whose media could not be anchored, may be forgotten
        // before this request is repeated no more, and who was not there may have registered. What a subscriber has authenticated is a replay
        // when it comes again.
        let of_subscriber = self.dial.domain_of(trunk).is_some();
        if matches!(status, 480 | 482 | 488 | 503) || foreign_tag || of_subscriber {
            self.refusals.remember(key, status, step.now);
        }
        self.tell_refused(message, arrival, (status, None), step)
    }

    /// Answers a request that is refused, for the first time or again.
    fn tell_refused(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        refused: Refused,
        step: &mut Step<'_>,
    ) -> Counter {
        let mut lines = [0; 512];
        let len = match refused.0 {
            420 => unsupported(message, &mut lines),
            422 => self.least_session(&mut lines),
            _ => 0,
        };
        self.answer_as(message, arrival, refused, &lines[..len], step)
    }

    /// RFC 3261 §17.2: a repeated request gets the last response again, if there is one.
    fn repetition(&mut self, id: Id, step: &mut Step<'_>) -> Counter {
        step.counters.count(Counter::RetransmissionsAbsorbed);
        if self.servers.get(id).is_some_and(Server::answers_repetition) {
            self.resend_response(id, step);
        }
        Counter::SipAbsorbed
    }

    /// RFC 3261 §16.3 but for Max-Forwards and loops: gives the Request-URI, or the status of the
    /// answer.
    fn validate(&self, message: &Message<'_>) -> Result<Uri, u16> {
        let uri = message.request_uri().ok_or(400_u16)?;
        let parts = Uri::read(message.bytes(), uri).map_err(|_| 400_u16)?;
        // RFC 3261 §19.1.1: not in a Request-URI, nor may we pass them on (RFC 4475 §3.1.2.11).
        if parts.headers.is_some() {
            return Err(400);
        }
        match parts.scheme {
            Scheme::Sip | Scheme::Tel => {}
            // sips: asks for TLS on every hop, which a UDP listen cannot give.
            Scheme::Sips | Scheme::Other => return Err(416),
        }
        if message.has_proxy_require() {
            Err(420)
        } else {
            Ok(parts)
        }
    }

    /// True for an OPTIONS to the box itself: its Request-URI names one of our listens, or a domain
    /// whose registrar we are, and no user (RFC 3261 §11.1).
    pub(super) fn asks_for_us(&self, message: &Message<'_>) -> bool {
        if message.method() != Method::Options {
            return false;
        }
        let uri = message
            .request_uri()
            .and_then(|uri| Uri::read(message.bytes(), uri).ok());
        let is_ours = |uri: &Uri| {
            let domain = self.dial.domain_named(message.text(uri.host_text));
            let is_registrar = |domain: DomainIndex| self.domains[usize::from(domain.0)].registrar;
            self.our_host(uri).is_some() || domain.is_some_and(is_registrar)
        };
        uri.is_some_and(|uri| uri.user.is_none() && is_ours(&uri))
    }

    /// True for a REGISTER that is sent to another of our domains than the one it is for (RFC 3261
    /// §10.3 step 5). Other hosts may be names of the box.
    fn is_for_another(&self, message: &Message<'_>, uri: &Uri, domain: DomainIndex) -> bool {
        let named = self.dial.domain_named(message.text(uri.host_text));
        named.is_some_and(|named| named != domain)
    }

    /// Where the hostport of `uri` stands, if it is a listen's.
    pub(super) fn our_host(&self, uri: &Uri) -> Option<Span> {
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
