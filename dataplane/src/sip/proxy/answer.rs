//! What the box answers itself and without state, and where answers go.

use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use super::Step;
use crate::counters::Counter;
use crate::ids::TrunkIndex;
use crate::sip::build;
use crate::sip::malformed::Malformed;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::stun;

impl Proxy {
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

    /// Answers STUN from a trunk, or from where a user has registered: the keepalive of a user agent
    /// behind a NAT (RFC 5626 §4.4.2).
    pub fn stun(&mut self, datagram: &[u8], arrival: Arrival, step: &mut Step<'_>) -> Counter {
        let is_trunk = self.dial.trunk_of(arrival.source.ip()).is_some();
        if !is_trunk && !self.is_live(arrival.source, step.now) {
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

    /// Answers a request ourselves and without state: its retransmissions get the same
    /// (RFC 3261 §8.2.7). `lines` are more header lines.
    pub(super) fn answer(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        status: u16,
        lines: &[u8],
        step: &mut Step<'_>,
    ) -> Counter {
        self.answer_as(message, arrival, (status, None), lines, step)
    }

    /// The same with a reason phrase of its own.
    pub(super) fn answer_as(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        (status, reason): (u16, Option<&str>),
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
            reason,
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

    /// Where the response to a request goes (RFC 3261 §18.2.2, RFC 3581 §4): to where it came
    /// from, and to the port it came from if it asked for that, else to the one it names. What
    /// we sent to ourselves is answered to the listen it left by: its Via names an advertised
    /// port, which may be that of a NAT before us. Nor is the port that a phone behind a NAT names
    /// one of its NAT's: it is answered as if it had asked for it.
    pub(super) fn reply_to(&self, message: &Message<'_>, source: SocketAddr) -> SocketAddr {
        let via = message.via();
        let is_natted = || {
            let said = via.host_ip(message.bytes());
            said.is_some_and(|said| said != source.ip())
                && self.dial.trunk_of(source.ip()).is_none()
        };
        let port = if via.rport.is_some() || self.is_listen(source) || is_natted() {
            source.port()
        } else {
            via.port.unwrap_or(5060)
        };
        SocketAddr::new(source.ip(), port)
    }

    /// A request as if it had come from where its sender is heard: a phone that names the address it
    /// sends from with another port, and does not ask to be answered there (RFC 3581 §3), listens on
    /// that one alone. Before a registrar elsewhere only the source says who a phone is, so that it
    /// is what it is.
    pub(super) fn heard_at(
        &self,
        message: &Message<'_>,
        arrival: Arrival,
        trunk: TrunkIndex,
    ) -> Arrival {
        if self.dial.domain_of(trunk).is_none() || self.upstream_of(trunk).is_some() {
            return arrival;
        }
        Arrival {
            source: self.reply_to(message, arrival.source),
            ..arrival
        }
    }

    /// True for the address of a listen: what comes from there we sent ourselves.
    pub(super) fn is_listen(&self, source: SocketAddr) -> bool {
        self.listens.iter().any(|listen| listen.address == source)
    }
}
