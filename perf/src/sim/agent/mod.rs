//! A scripted user agent: one party of one call, as RFC 3261 wants it over UDP, and as
//! troublesome as that allows.
//!
//! - `dialog`: what it knows of a dialog
//! - `transaction`: sending again and giving up
//! - `asks`: its own requests, and the responses to them
//! - `answers`: the requests of others
//! - `script`: what it does when its alarms ring
//! - `proof`: how a subscriber proves who it is
//! - `register`: where it wants to be called
//! - `speech`: its media
//! - `tricks`: what few do, and what harms only where the box is wrong

mod answers;
mod asks;
pub mod dialog;
mod proof;
mod register;
mod script;
mod speech;
pub mod transaction;
mod tricks;

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::lab::DOMAIN;
use trunkline_dataplane::tick::Tick;

use self::dialog::Dialog;
use self::dialog::State;
use self::script::Alarm;
use self::transaction::Client;
use self::transaction::Fired;
use self::transaction::Server;
use super::media;
use super::network::Body;
use super::network::Packet;
use super::phone;
use super::phone::Kind;
use super::phone::Phone;
use super::plan::Callee;
use super::plan::Caller;
use super::plan::Plan;
use super::plan::Route;
use super::random::Random;
use super::sip::Draft;
use super::sip::Sip;
use super::sip::host;
use super::site::BEHIND_NAT;

/// Who an agent is.
#[derive(Clone, Debug)]
pub struct Who {
    /// The call's number.
    pub call: usize,
    /// The caller is 0, the callees follow.
    pub number: u8,
    /// Where it sits.
    pub address: SocketAddr,
    /// The listen of the box that it speaks to.
    pub next: SocketAddr,
    /// What the call is to do.
    pub plan: Rc<Plan>,
    /// The phone of a caller that is a subscriber. It may be in other calls too.
    pub phone: Option<Rc<RefCell<Phone>>>,
}

impl Who {
    /// Where it says that it is: behind a NAT it knows no better.
    #[must_use]
    pub fn named(&self) -> SocketAddr {
        let private: IpAddr = match self.address.ip() {
            IpAddr::V4(ip) if ip.octets()[3] >= BEHIND_NAT => [192, 168, 0, ip.octets()[3]].into(),
            IpAddr::V6(ip) if ip.segments()[7] >= BEHIND_NAT.into() => {
                [0xfd00, 0, 0, 0, 0, 0, 0, ip.segments()[7]].into()
            }
            _ => return self.address,
        };
        SocketAddr::new(private, 5060)
    }
}

/// A party of a call.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Who it is.
    pub who: Who,
    call_id: String,
    tag: String,
    /// Its dialogs, in the order in which they began.
    pub dialogs: Vec<Dialog>,
    clients: Vec<Client>,
    servers: Vec<Server>,
    alarms: Vec<(Tick, Alarm)>,
    due: Tick,
    /// When the call began.
    start: Tick,
    random: Random,
    /// The port that a NAT gives it now.
    port: u16,
    reinvited: bool,
    /// It has made its call once more.
    again: bool,
    /// When a BYE of it was answered last, or it answered one.
    hung_up: Tick,
    /// True once it says and hears nothing any more.
    pub is_dead: bool,
    /// A box has restarted since the call began.
    pub is_cut: bool,
    /// RTP and RTCP packets received.
    pub media_in: u32,
}

impl Agent {
    /// An agent of a call that begins at `start`.
    #[must_use]
    pub fn new(who: Who, start: Tick, mut random: Random) -> Agent {
        let salt = random.next();
        let mut agent = Agent {
            call_id: String::new(),
            tag: format!("{}{salt:x}", if who.number == 0 { 'a' } else { 'b' }),
            dialogs: Vec::new(),
            clients: Vec::new(),
            servers: Vec::new(),
            alarms: Vec::new(),
            due: Tick::NEVER,
            start,
            random,
            port: who.address.port(),
            reinvited: false,
            again: false,
            hung_up: Tick(0),
            is_dead: false,
            is_cut: false,
            media_in: 0,
            who,
        };
        if agent.is_caller() {
            agent.call_id = format!("{}-{salt:016x}@{}", agent.who.call, agent.who.address.ip());
            agent.alarms.push((start, Alarm::Start));
            agent.look_ahead();
        }
        agent
    }

    fn is_caller(&self) -> bool {
        self.who.number == 0
    }

    fn behaviour(&self) -> Callee {
        let number = usize::from(self.who.number.saturating_sub(1));
        self.who
            .plan
            .callees
            .get(number)
            .copied()
            .unwrap_or(Callee::Answers)
    }

    /// When it wants to do something.
    #[must_use]
    pub const fn due(&self) -> Tick {
        self.due
    }

    /// Finds what is due next, once something has changed.
    fn look_ahead(&mut self) {
        let alarms = self.alarms.iter().map(|&(at, _)| at);
        let clients = self.clients.iter().map(Client::due);
        let servers = self.servers.iter().map(Server::due);
        let due = alarms.chain(clients).chain(servers).min();
        self.due = due.unwrap_or(Tick::NEVER);
    }

    /// The final status of its first request; `None` where it gave up on it.
    #[must_use]
    pub fn outcome(&self) -> Option<u16> {
        self.clients.first()?.status
    }

    /// True while a dialog is confirmed.
    #[must_use]
    pub fn is_talking(&self) -> bool {
        self.dialogs
            .iter()
            .any(|dialog| dialog.state == State::Confirmed)
    }

    /// True once somebody has acknowledged its answer.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.servers.iter().any(|server| server.acknowledged)
    }

    /// True where it had a dialog and has none left.
    #[must_use]
    pub fn has_hung_up(&self) -> bool {
        !self.dialogs.is_empty()
            && self
                .dialogs
                .iter()
                .all(|dialog| dialog.state == State::Ended)
    }

    /// True where a request of its own still waits for its end.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.is_dead && self.clients.iter().any(Client::is_pending)
    }

    /// True where a failure that it sent was never acknowledged.
    #[must_use]
    pub fn lacks_an_ack(&self) -> bool {
        self.servers.iter().any(Server::is_unacknowledged)
    }

    /// Does all that is due.
    ///
    /// # Errors
    /// What the box did wrong.
    pub fn fire(&mut self, now: Tick, out: &mut Vec<Packet>) -> Result<(), String> {
        for at in 0..self.clients.len() {
            if self.clients[at].due() > now {
                continue;
            }
            match self.clients[at].fire(now) {
                Some(Fired::Resend) => {
                    let client = &self.clients[at];
                    self.send(client.request.clone(), client.source, out);
                }
                Some(Fired::Impatient) => self.cancel_client(at, now, out)?,
                Some(Fired::GiveUp) => self.give_up(at, now, out)?,
                None => {}
            }
        }
        for at in 0..self.servers.len() {
            if self.servers[at].due() > now {
                continue;
            }
            match self.servers[at].fire(now) {
                Some(Fired::Resend) => self.repeat_response(at, out),
                Some(_) => self.lacks_answer(at, now, out)?,
                None => {}
            }
        }
        while let Some(at) = self.alarms.iter().position(|&(at, _)| at <= now) {
            let (_, alarm) = self.alarms.swap_remove(at);
            self.ring(alarm, now, out)?;
        }
        self.look_ahead();
        Ok(())
    }

    fn later(&mut self, now: Tick, low_ms: u64, high_ms: u64, alarm: Alarm) {
        let wait_ms = self.random.between(low_ms, high_ms);
        self.alarms.push((now.plus_ms(wait_ms), alarm));
    }

    /// True where nothing listens on its port, and its host says so.
    #[must_use]
    pub fn is_closed(&self, now: Tick) -> bool {
        let plan = &self.who.plan;
        let is_dead = match self.behaviour() {
            _ if self.is_caller() => false,
            Callee::IsClosed(ms) => return now < self.start.plus_ms(ms.into()),
            Callee::IsDead => !matches!(plan.caller, Caller::Asks(_)),
            _ => false,
        };
        plan.icmp && (is_dead || self.is_dead)
    }

    /// Falls silent for ever.
    fn die(&mut self) {
        self.is_dead = true;
        self.alarms.clear();
        self.clients.clear();
        self.servers.clear();
    }

    /// Takes a message from the box.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn receive(
        &mut self,
        now: Tick,
        source: SocketAddr,
        sip: &Rc<Sip>,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        if self.is_dead {
            return Ok(());
        }
        if source != self.who.next && !self.who.plan.stateless {
            return Err(format!("{} from {source}", sip.name()));
        }
        match sip.status() {
            _ if self.sends_back(sip) => self.send_back(source, sip, out)?,
            Some(status) => self.receive_response(now, status, sip, out)?,
            None => self.receive_request(now, source, sip, out)?,
        }
        self.look_ahead();
        Ok(())
    }

    // --- What all its messages have ----------------------------------------------

    /// Sends a request to its next hop: the box, but for a dialog that no proxy wanted to see
    /// the rest of. Where the listens keep no state the box is asked all the same.
    fn send(&self, request: Rc<Sip>, source: SocketAddr, out: &mut Vec<Packet>) {
        let direct = self.who.plan.route == Route::Stateless && !request.to_tag().is_empty();
        let contact = || request.uri().split_once('@')?.1.parse().ok();
        let to = direct.then(contact).flatten();
        let to = to.unwrap_or(self.who.next);
        out.push(packet(source, to, request));
    }

    /// Where its messages come from.
    fn source(&self) -> SocketAddr {
        SocketAddr::new(self.who.address.ip(), self.port)
    }

    fn send_to(&self, destination: SocketAddr, message: Rc<Sip>, out: &mut Vec<Packet>) {
        out.push(packet(self.source(), destination, message));
    }

    /// The front of a request: of a dialog, or of none.
    fn draft(&self, method: &str, cseq: u32, dialog: Option<usize>) -> Draft {
        let me = self.who.named();
        let known = dialog.and_then(|at| self.dialogs.get(at));
        let registers = self.registers(method);
        let uri = match known {
            Some(dialog) => dialog.target.clone(),
            None if registers => Self::registrar(),
            None => self.number_called(),
        };
        let mut draft = Draft::new(format_args!("{method} {uri} SIP/2.0"));
        let fork = dialog.unwrap_or(0);
        let mark = if self.again { "-again" } else { "" };
        let branch = format_args!("z9hG4bK-{}-{fork}-{cseq}-{method}{mark}", self.tag).to_string();
        draft.push(
            "Via",
            format_args!("SIP/2.0/UDP {me};rport;branch={branch}"),
        );
        for route in known.map_or(&[][..], |dialog| &dialog.routes) {
            draft.push("Route", route);
        }
        // A faulty box might double what comes back each time.
        let hops = if method == "MESSAGE" { 12 } else { 70 };
        draft.push("Max-Forwards", hops);
        let (local, remote) = known.map_or((self.tag.as_str(), ""), |dialog| {
            (dialog.local.as_str(), dialog.remote.as_str())
        });
        draft.push("From", self.identity(local, self.is_caller()));
        let to_itself = registers || !self.is_caller();
        draft.push("To", self.identity(remote, to_itself));
        draft.push("Call-ID", &self.call_id);
        draft.push("CSeq", format_args!("{cseq} {method}"));
        if method != "BYE" && !registers {
            draft.push("Contact", format_args!("<sip:{}@{me}>", self.tag));
        }
        draft.push("X-Passes", "as, it ; came");
        draft
    }

    fn number_called(&self) -> String {
        let digit = self.who.plan.route.digit();
        let at = host(self.who.next.ip());
        match self.who.plan.caller {
            _ if let Some(called) = self.who.plan.called => {
                format!("sip:{}@{DOMAIN}", phone::user(Kind::Called, called.number))
            }
            Caller::Asks(super::plan::Ask::Box) => format!("sip:{at}"),
            _ => format!("sip:{digit}{}@{at}", self.who.call),
        }
    }

    fn identity(&self, tag: &str, of_caller: bool) -> String {
        let user = if of_caller { "caller" } else { "callee" };
        let mark = if tag.is_empty() { "" } else { ";tag=" };
        let uri = match self.who.plan.subscriber.filter(|_| of_caller) {
            Some(habits) => format!("{}@{DOMAIN}", habits.user()),
            None if let Some(called) = self.who.plan.called.filter(|_| !of_caller) => {
                format!("{}@{DOMAIN}", phone::user(Kind::Called, called.number))
            }
            None => format!("{user}@sim.example"),
        };
        format!("\"{user}; {}\" <sip:{uri}>{mark}{tag}", self.who.call)
    }

    /// A session description of ours for a dialog.
    fn sdp(&mut self, dialog: Option<usize>, direction: &str) -> String {
        let version = match dialog.and_then(|at| self.dialogs.get_mut(at)) {
            Some(dialog) => {
                dialog.version += 1;
                dialog.version
            }
            None => 0,
        };
        media::sdp(self.media_address(), version, direction)
    }

    /// Where it takes its media.
    #[must_use]
    pub fn media_address(&self) -> SocketAddr {
        media::address_of(self.who.address.ip(), self.who.call)
    }
}

fn packet(source: SocketAddr, destination: SocketAddr, message: Rc<Sip>) -> Packet {
    Packet {
        source,
        destination,
        body: Body::Sip(message),
        damage: None,
    }
}

/// The CANCEL of an INVITE, or the ACK to its failure: same URI, Via, Route, From, Call-ID.
fn hop_by_hop(invite: &Sip, method: &str, to: &str) -> Result<Rc<Sip>, String> {
    let mut draft = Draft::new(format_args!("{method} {} SIP/2.0", invite.uri()));
    draft.push("Via", invite.get("Via"));
    for route in invite.all("Route") {
        draft.push("Route", route);
    }
    draft.push("Max-Forwards", 70);
    draft.push("From", invite.get("From"));
    draft.push("To", to);
    draft.push("Call-ID", invite.get("Call-ID"));
    draft.push("CSeq", format_args!("{} {method}", invite.cseq()));
    draft.finish("")
}

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => out.write_str("the caller"),
            number => write!(out, "callee {}", number - 1),
        }
    }
}
