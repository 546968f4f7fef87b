//! A phone: it registers, is reached, and sometimes does what phones do seldom.

use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::DOMAIN;
use crate::sim::network::Body;
use crate::sim::network::Packet;
use crate::sim::random::Random;
use crate::sim::sip::Draft;
use crate::sim::sip::Sip;
use crate::sim::sip::bracketed;
use crate::sim::sip::host;
use crate::sim::sip::param;

/// RFC 3261 §17.1.2.2.
const T1_MS: u64 = 500;
const T2_MS: u64 = 4_000;
const T1_64_MS: u64 = 32_000;

/// A request that is under way: sent again until its time is over.
#[derive(Debug)]
pub struct Client {
    /// What was sent.
    pub request: Rc<Sip>,
    /// From where.
    pub source: SocketAddr,
    /// To whom.
    to: SocketAddr,
    resend: Tick,
    interval_ms: u64,
    give_up: Tick,
}

impl Client {
    /// One that is sent now.
    pub fn new(
        request: Rc<Sip>,
        (source, to): (SocketAddr, SocketAddr),
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Client {
        let client = Client {
            request,
            source,
            to,
            resend: now.plus_ms(T1_MS),
            interval_ms: T1_MS,
            give_up: now.plus_ms(T1_64_MS),
        };
        client.send(out);
        client
    }

    fn send(&self, out: &mut Vec<Packet>) {
        out.push(Packet {
            source: self.source,
            destination: self.to,
            body: Body::Sip(self.request.clone()),
            damage: None,
        });
    }

    /// When it wants to be fired.
    pub fn due(&self) -> Tick {
        self.resend.min(self.give_up)
    }

    /// Sends again what is due; false where its time is over.
    pub fn fire(&mut self, now: Tick, out: &mut Vec<Packet>) -> bool {
        if now >= self.give_up {
            return false;
        }
        if now >= self.resend {
            self.send(out);
            self.interval_ms = (2 * self.interval_ms).min(T2_MS);
            self.resend = now.plus_ms(self.interval_ms);
        }
        true
    }

    /// True for a response to it.
    pub fn is_answered_by(&self, response: &Sip) -> bool {
        self.request.branch() == response.branch() && self.request.method() == response.method()
    }
}

/// What a REGISTER is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Refresh,
    Prefer,
    Unregister,
    Star,
    Query,
    Require,
}

/// A phone.
#[derive(Debug)]
pub struct Phone {
    /// Which: its Call-IDs begin with it.
    pub number: usize,
    /// Whose it is.
    pub user: String,
    /// Where the box sees it.
    pub at: SocketAddr,
    /// Where it was when it registered last, if its URI says where it is: the contact to take off.
    before: Option<SocketAddr>,
    /// What it says of where it is does not hold.
    is_behind_nat: bool,
    q: u16,
    life: u32,
    cseq: u32,
    asks_s: u32,
    proves: bool,
    last: Act,
    pending: Option<Client>,
    next: Tick,
    random: Random,
}

impl Phone {
    /// One that begins soon.
    pub fn new(number: usize, at: SocketAddr, now: Tick, mut random: Random) -> Phone {
        // Every third one is the second phone of a user.
        let user = format!("u{}", if number % 3 == 2 { number - 1 } else { number });
        Phone {
            number,
            user,
            at,
            before: None,
            is_behind_nat: random.happens(700),
            q: 0,
            life: 0,
            cseq: 0,
            asks_s: random.pick(&[45, 120, 600, 3_600, 3_600]),
            proves: false,
            last: Act::Refresh,
            pending: None,
            next: now.plus_ms(random.between(0, 30_000)),
            random,
        }
    }

    /// When it wants to act.
    pub fn due(&self) -> Tick {
        match &self.pending {
            Some(client) => client.due(),
            None => self.next,
        }
    }

    /// True while it waits for an answer.
    pub const fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Acts; true where it has begun something new. `free` is an address that nobody has, `may_begin`
    /// says whether there is anything left to do.
    pub fn fire(
        &mut self,
        now: Tick,
        registrar: SocketAddr,
        free: SocketAddr,
        may_begin: bool,
        out: &mut Vec<Packet>,
    ) -> Result<bool, String> {
        if let Some(client) = &mut self.pending {
            if !client.fire(now, out) {
                self.pending = None;
                self.soon(now, 20_000);
            }
            return Ok(false);
        }
        if now < self.next || !may_begin {
            return Ok(false);
        }
        let act = match self.random.between(0, 999) {
            0..=59 => {
                self.move_to(free);
                Act::Refresh
            }
            60..=99 => {
                // It begins anew, and has forgotten its dialog.
                (self.life, self.cseq, self.proves) = (self.life + 1, 0, false);
                Act::Refresh
            }
            100..=139 => Act::Unregister,
            140..=159 => Act::Star,
            160..=189 => Act::Query,
            190..=219 => Act::Prefer,
            220..=234 => Act::Require,
            _ => Act::Refresh,
        };
        self.register(act, now, registrar, out)?;
        Ok(true)
    }

    fn move_to(&mut self, free: SocketAddr) {
        if !self.is_behind_nat {
            self.before.get_or_insert(self.at);
        }
        self.at = match self.random.happens(500) {
            true => free,
            // Another port of its NAT.
            false => SocketAddr::new(self.at.ip(), free.port()),
        };
    }

    fn uri(&self, at: SocketAddr) -> String {
        let at = match (self.is_behind_nat, self.number) {
            (false, _) => at,
            (true, number) => SocketAddr::new(
                [192, 168, 0, 2].into(),
                5_000 + u16::try_from(number).unwrap_or(0),
            ),
        };
        let (user, ip) = (&self.user, host(at.ip()));
        format!("sip:{user}@{ip}:{}", at.port())
    }

    fn register(
        &mut self,
        act: Act,
        now: Tick,
        registrar: SocketAddr,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        (self.last, self.cseq) = (act, self.cseq + 1);
        let (number, life, cseq) = (self.number, self.life, self.cseq);
        let (user, via) = (&self.user, host(self.at.ip()));
        let mut draft = Draft::new(format_args!("REGISTER sip:{DOMAIN} SIP/2.0"));
        let via_port = self.at.port();
        draft.push(
            "Via",
            format_args!("SIP/2.0/UDP {via}:{via_port};rport;branch=z9hG4bK{number}x{life}x{cseq}"),
        );
        draft.push("Max-Forwards", 70);
        draft.push("From", format_args!("<sip:{user}@{DOMAIN}>;tag=p{number}"));
        draft.push("To", format_args!("<sip:{user}@{DOMAIN}>"));
        draft.push("Call-ID", format_args!("{number}-{life}"));
        draft.push("CSeq", format_args!("{cseq} REGISTER"));
        if act == Act::Require {
            draft.push("Require", "gin");
        }
        if self.proves {
            draft.push("Authorization", "Digest username=\"u\",response=\"0\"");
        }
        let uri = self.uri(self.at);
        match act {
            Act::Refresh | Act::Prefer | Act::Require => {
                if act == Act::Prefer {
                    self.q = self.random.pick(&[0, 3, 7]);
                }
                let q = match self.q {
                    0 => String::new(),
                    q => format!(";q=0.{q}"),
                };
                if let Some(before) = self.before.filter(|before| *before != self.at) {
                    draft.push("Contact", format_args!("<{}>;expires=0", self.uri(before)));
                }
                draft.push(
                    "Contact",
                    format_args!("<{uri}>{q};expires={}", self.asks_s),
                );
            }
            Act::Unregister => draft.push("Contact", format_args!("<{uri}>;expires=0")),
            Act::Star => {
                draft.push("Contact", "*");
                draft.push("Expires", 0);
            }
            Act::Query => {}
        }
        let request = draft.finish("")?;
        self.pending = Some(Client::new(request, (self.at, registrar), now, out));
        Ok(())
    }

    fn soon(&mut self, now: Tick, most_ms: u64) {
        self.next = now.plus_ms(self.random.between(500, most_ms));
    }

    /// A message reaches it.
    pub fn receive(
        &mut self,
        now: Tick,
        packet: &Packet,
        sip: &Rc<Sip>,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let Some(status) = sip.status() else {
            out.push(Packet {
                source: self.at,
                destination: packet.source,
                body: Body::Sip(answer(sip, "200 OK", &[])?),
                damage: None,
            });
            return Ok(());
        };
        let pending = self.pending.as_ref();
        let is_awaited = pending.is_some_and(|client| client.is_answered_by(sip));
        if !is_awaited || status < 200 {
            return Ok(());
        }
        self.pending = None;
        match status {
            200..=299 if self.last == Act::Refresh || self.last == Act::Prefer => {
                self.before = None;
                let uri = self.uri(self.at);
                let mut contacts = sip.all("Contact");
                let own = contacts.find(|contact| bracketed(contact) == uri);
                let told = own.and_then(|own| param(own, "expires")?.parse::<u64>().ok());
                let told_s = told.ok_or("it is not told until when it is registered")?;
                // Some come too late, most come in time.
                let part = self.random.between(300, 1_030);
                self.next = now.plus_ms((told_s * part).max(1_000));
            }
            401 => {
                self.proves = true;
                self.next = now;
            }
            423 => {
                let least = sip.get("Min-Expires").parse();
                self.asks_s = least.map_err(|_| "423 without Min-Expires")?;
                self.soon(now, 2_000);
            }
            _ => self.soon(now, 15_000),
        }
        Ok(())
    }
}

/// The answer to a request, with these lines.
pub fn answer(request: &Sip, status: &str, lines: &[(&str, String)]) -> Result<Rc<Sip>, String> {
    let mut draft = Draft::new(format_args!("SIP/2.0 {status}"));
    for via in request.all("Via") {
        draft.push("Via", via);
    }
    draft.push("From", request.get("From"));
    draft.push("To", format_args!("{};tag=uas", request.get("To")));
    draft.push("Call-ID", request.get("Call-ID"));
    draft.push("CSeq", request.get("CSeq"));
    for (name, value) in lines {
        draft.push(name, value);
    }
    draft.finish("")
}
