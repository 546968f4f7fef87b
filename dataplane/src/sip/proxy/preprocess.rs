//! What a request is made before it is looked at (RFC 3261 §16.4): the Request-URI that a strict
//! router put into Route comes back, and a maddr that names us goes.

use super::Arrival;
use super::Proxy;
use super::Step;
use super::dialog::cookie_of;
use crate::counters::Counter;
use crate::sip::message::Message;
use crate::sip::strict;
use crate::sip::uri::Uri;
use crate::sip::via::address;
use crate::span::Span;

impl Proxy {
    /// Takes up a request, as it is or as RFC 3261 §16.4 has it.
    pub(super) fn preprocess(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Counter {
        if !self.change(message, arrival) {
            self.splices.clear();
            return self.take(message, arrival, step);
        }
        // Out of ourselves while it is being read: nothing is allocated for what stays.
        let mut room = std::mem::take(&mut self.changed);
        let len = self.splices.write(message.bytes(), &mut room);
        self.splices.clear();
        let changed = len.ok().and_then(|len| Message::scan(&room[..len]).ok());
        let outcome = match changed {
            Some(changed) => self.take(&changed, arrival, step),
            None => Counter::SipTooLong,
        };
        self.changed = room;
        outcome
    }

    /// Collects what is to be changed; false where nothing is. The error of an edit leaves the
    /// request as it is: what is wrong with it is seen later.
    fn change(&mut self, message: &Message<'_>, arrival: Arrival) -> bool {
        let Some(span) = message.request_uri() else {
            return false;
        };
        // Nearly no Request-URI has one of the parameters in question, and many have none.
        if memchr::memchr(b';', message.text(span)).is_none() {
            return false;
        }
        let Ok(uri) = Uri::read(message.bytes(), span) else {
            return false;
        };
        if cookie_of(message, span).is_some() && self.our_host(&uri).is_some() {
            return strict::unwind(message, &mut self.splices).unwrap_or(false);
        }
        self.strip_maddr(message, arrival, &uri).unwrap_or(false)
    }

    /// RFC 3261 §16.4: a maddr that is ours goes, and with it a port that is not the default one
    /// and the transport, where the request came by these.
    fn strip_maddr(&mut self, message: &Message<'_>, arrival: Arrival, uri: &Uri) -> Option<bool> {
        let bytes = message.bytes();
        let maddr = uri.param(bytes, b"maddr")?;
        let maddr_ip = address(maddr.value?.of(bytes))?;
        let listen = &self.listens[usize::from(arrival.listen.0)];
        let port = uri.port.unwrap_or(5060);
        let ours = [listen.address, listen.advertised]
            .iter()
            .any(|ours| ours.ip() == maddr_ip && ours.port() == port);
        let transport = uri.param(bytes, b"transport");
        let by_udp = |value: Span| value.of(bytes).eq_ignore_ascii_case(b"UDP");
        let by_this = transport.is_none_or(|param| param.value.is_some_and(by_udp));
        if !ours || !by_this {
            return Some(false);
        }
        for param in [Some(maddr), transport].into_iter().flatten() {
            let end = param.value.map_or(param.name.end, |value| value.end);
            // The semicolon before it goes as well.
            let start = param.name.start.saturating_sub(1);
            self.splices.remove(Span { start, end }).ok()?;
        }
        if port != 5060 {
            let (start, end) = (uri.host_text.end, uri.params.start);
            self.splices.remove(Span { start, end }).ok()?;
        }
        Some(true)
    }
}
