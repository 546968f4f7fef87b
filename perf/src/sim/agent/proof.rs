//! How a subscriber proves who it is (RFC 3261 §22, RFC 7616): its requests show credentials where
//! its phone has a nonce, and are sent anew where they are challenged.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::Agent;
use super::hop_by_hop;
use super::script::Alarm;
use super::transaction::Client;
use crate::sim::network::Packet;
use crate::sim::phone;
use crate::sim::sip::Draft;
use crate::sim::sip::Sip;

/// How often a request is sent anew: others use the phone's nonces meanwhile, and some are stale.
const PROOFS_MAX: u32 = 6;
/// Of a thousand requests, those that show no credentials though the phone has a nonce.
const MODEST: u16 = 300;
/// What some show to somebody else.
const OTHERS: &str =
    "Digest username=\"u\",realm=\"elsewhere.example\",nonce=\"n\",uri=\"sip:e\",response=\"0\"";

impl Agent {
    /// Credentials of a new request, and another port for it.
    pub(super) fn push_proof(&mut self, draft: &mut Draft) {
        let Some(habits) = self.who.plan.subscriber.filter(|_| self.is_caller()) else {
            return;
        };
        if habits.rebinds && !self.clients.iter().any(Client::is_pending) {
            let port = self.random.between(20_000, 39_999);
            self.port = u16::try_from(port).unwrap_or(self.port);
        }
        let is_shy = self.random.happens(MODEST);
        let mut words = draft.start().split(' ').map(str::to_owned);
        let (method, uri) = (words.next().unwrap_or_default(), words.next());
        if habits.has_others {
            draft.push("Proxy-Authorization", OTHERS);
        }
        if let Some(uri) = uri.filter(|_| !is_shy)
            && let Some(value) = self.prove(&method, &uri)
        {
            draft.push(phone::answer_name(&method), value);
        }
    }

    fn prove(&self, method: &str, uri: &str) -> Option<String> {
        let phone = self.who.phone.as_ref()?;
        phone.borrow_mut().prove(method, uri)
    }

    /// A final response to a request: where it is a challenge that can be answered, the request goes
    /// out anew, in the place of the old one.
    pub(super) fn answer_challenge(
        &mut self,
        at: usize,
        sip: &Rc<Sip>,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<bool, String> {
        let client = &self.clients[at];
        let is_challenge = matches!(sip.status(), Some(401 | 407));
        let Some(phone) = self.who.phone.clone().filter(|_| is_challenge) else {
            return Ok(false);
        };
        if client.is_replay || client.cancelled || client.proofs >= PROOFS_MAX {
            return Ok(false);
        }
        let old = client.request.clone();
        let mut challenges = phone::CHALLENGES.iter().flat_map(|name| sip.all(name));
        let is_stale = challenges.any(|challenge| phone::param(challenge, "stale") == Some("true"));
        let was_shown = phone::credentials_in(&old).is_some();
        // RFC 7616 §3.4: the password is not the matter where it is stale.
        if !phone.borrow_mut().learn(sip) || was_shown && !is_stale {
            return Ok(false);
        }
        if old.method() == "INVITE" {
            let ack = hop_by_hop(&old, "ACK", sip.get("To"))?;
            self.send(ack, self.clients[at].source, out);
        }
        let (dialog, proofs) = (self.clients[at].dialog, self.clients[at].proofs + 1);
        let cseq = match dialog {
            Some(dialog) => self.next_cseq(dialog),
            None => old.cseq() + 1,
        };
        let mut draft = again(&old, cseq, &format!("-{proofs}"), false);
        if let Some(value) = self.prove(old.method(), old.uri()) {
            draft.push(phone::answer_name(old.method()), value);
        }
        let request = draft.finish(old.body())?;
        self.send(request.clone(), self.source(), out);
        let mut anew = Client::new(request, dialog, self.source(), now);
        anew.proofs = proofs;
        // The old one stays for its repetitions.
        let old = std::mem::replace(&mut self.clients[at], anew);
        self.clients.push(old);
        Ok(true)
    }

    /// A subscriber that moves does so before its next request in the call, once. The nonces of its phone are
    /// for the old address.
    pub(super) fn move_away(&mut self) {
        let habits = self.who.plan.subscriber.filter(|_| self.is_caller());
        if let Some(habits) = habits.filter(|habits| habits.moves) {
            self.sit_on(habits.next_host());
        }
    }

    fn sit_on(&mut self, host: u8) {
        let ip = match self.who.address.ip() {
            std::net::IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                [a, b, c, host].into()
            }
            std::net::IpAddr::V6(ip) => {
                let mut segments = ip.segments();
                segments[7] = host.into();
                segments.into()
            }
        };
        if ip == self.who.address.ip() {
            return;
        }
        self.who.address = SocketAddr::new(ip, self.who.address.port());
        let phone = self.who.phone.take();
        self.who.phone = phone.map(|phone| Rc::new(RefCell::new(phone.borrow().anew())));
    }

    // --- Somebody who has listened ------------------------------------------------

    /// The MESSAGE of a subscriber has gone through: somebody may have seen it.
    pub(super) fn fear_replay(&mut self, at: usize, now: Tick) -> Result<(), String> {
        if self.clients[at].is_replay {
            return Err("a replayed MESSAGE was taken".to_owned());
        }
        if self
            .who
            .plan
            .subscriber
            .is_some_and(|habits| habits.is_replayed)
        {
            self.later(now, 1, 4_000, Alarm::Replay(at));
        }
        Ok(())
    }

    /// The same request once more by another branch, from the same address or from another.
    pub(super) fn replay(
        &mut self,
        at: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let Some(habits) = self.who.plan.subscriber else {
            return Ok(());
        };
        if self.random.happens(300) {
            self.sit_on(habits.next_host());
        }
        let old = self.clients[at].request.clone();
        let request = again(&old, old.cseq() + 1, "-replay", true).finish(old.body())?;
        self.send(request.clone(), self.source(), out);
        let mut replay = Client::new(request, None, self.source(), now);
        replay.is_replay = true;
        self.clients.push(replay);
        Ok(())
    }
}

/// A request once more, by another branch that ends with `mark`, with or without its credentials for
/// our domain.
fn again(old: &Sip, cseq: u32, mark: &str, with_proof: bool) -> Draft {
    let mut draft = Draft::new(format_args!("{}", old.start()));
    let mut is_first = true;
    for (name, value) in old.headers() {
        match name {
            "Via" if std::mem::take(&mut is_first) => {
                let base = value.split("--").next().unwrap_or(value);
                draft.push(name, format_args!("{base}-{mark}"));
            }
            "CSeq" => draft.push(name, format_args!("{cseq} {}", old.method())),
            "Proxy-Authorization" | "Authorization" if phone::is_ours(value) && !with_proof => {}
            "Content-Length" => {}
            _ => draft.push(name, value),
        }
    }
    draft
}
