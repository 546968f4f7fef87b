//! A scripted user agent: one party of one call, as RFC 3261 wants it over UDP.

use std::net::SocketAddr;

use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::tick::Tick;

use super::frame::Datagram;
use super::ladder::Side;
use super::media;
use super::media::Fate;
use super::plan::Plan;
use super::random::Random;
use super::sip::Sip;
use super::sip::bracketed;
use super::sip::host;
use super::sip::param;
use super::sip::tag;
use super::transaction::Client;
use super::transaction::Fired;
use super::transaction::Server;

/// RTP packets that a party sends.
const PACKETS: u16 = 6;

/// What a party has set itself to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    Start,
    Ring,
    Answer,
    Cancel,
    Media(u16),
    Hold,
    Resume,
    HangUp,
    Straggle,
}

/// A party of a call.
#[derive(Clone, Debug)]
pub struct Party {
    lab: Lab,
    /// Where it sits.
    pub side: Side,
    /// The call's number.
    pub number: usize,
    /// What the call is to do.
    pub plan: Plan,
    call_id: String,
    tag: String,
    remote_tag: String,
    cseq: u32,
    routes: Vec<String>,
    target: String,
    /// Where the other's SDP says its media goes: a relay port of the box.
    media_to: Option<SocketAddr>,
    sdp_version: u32,
    clients: Vec<Client>,
    servers: Vec<Server>,
    alarms: Vec<(Tick, Alarm)>,
    /// The earliest of all alarms and timers.
    due: Tick,
    random: Random,
    /// True from the 2xx or its ACK until the BYE.
    pub talking: bool,
    /// True once a BYE was sent or received.
    pub hung_up: bool,
    /// RTP and RTCP packets received.
    pub media_in: u32,
}

impl Party {
    /// The party of call `number` on `side`; the caller begins at `start`.
    #[must_use]
    pub fn new(
        lab: Lab,
        side: Side,
        number: usize,
        plan: Plan,
        start: Tick,
        random: &mut Random,
    ) -> Party {
        let salt = random.next();
        let mut party = Party {
            lab,
            side,
            number,
            plan,
            call_id: String::new(),
            tag: format!("{}{salt:x}", ["a", "b"][side as usize]),
            remote_tag: String::new(),
            cseq: 0,
            routes: Vec::new(),
            target: format!("sip:1{number}@{}", host(lab.host(0, 1))),
            media_to: None,
            sdp_version: 0,
            clients: Vec::new(),
            servers: Vec::new(),
            alarms: Vec::new(),
            due: Tick::NEVER,
            random: Random::new(salt),
            talking: false,
            hung_up: false,
            media_in: 0,
        };
        if side == Side::Caller {
            party.call_id = format!("{number}-{salt:016x}@{}", party.address().ip());
            party.alarms.push((start, Alarm::Start));
            party.look_ahead();
        }
        party
    }

    fn address(&self) -> SocketAddr {
        self.lab.peer(self.side as usize)
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

    /// True where a request of its own still waits for its end.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.clients.iter().any(Client::is_pending)
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
    pub fn fire(&mut self, now: Tick, out: &mut Vec<Datagram>) -> Result<(), String> {
        for at in 0..self.clients.len() {
            if self.clients[at].due() <= now && self.clients[at].fire(now) == Some(Fired::Resend) {
                let request = self.clients[at].request.clone();
                self.send(&request, out);
            }
        }
        for at in 0..self.servers.len() {
            if self.servers[at].due() > now {
                continue;
            }
            match self.servers[at].fire(now) {
                Some(Fired::Resend) => self.repeat_response(at, out),
                // RFC 3261 §13.3.1.4: a 2xx without an ACK ends the session with a BYE.
                Some(Fired::GiveUp) if self.servers[at].status() == Some(200) => {
                    self.hang_up(now, out);
                }
                _ => {}
            }
        }
        while let Some(at) = self.alarms.iter().position(|&(at, _)| at <= now) {
            let (_, alarm) = self.alarms.remove(at);
            self.ring_alarm(alarm, now, out)?;
        }
        self.look_ahead();
        Ok(())
    }

    fn ring_alarm(
        &mut self,
        alarm: Alarm,
        now: Tick,
        out: &mut Vec<Datagram>,
    ) -> Result<(), String> {
        match alarm {
            Alarm::Start => self.start(now, out),
            Alarm::Ring => self.ring(now, out),
            Alarm::Answer => self.answer(now, out)?,
            Alarm::Cancel => self.cancel(now, out),
            Alarm::Media(number) => self.send_media(number, out),
            Alarm::Hold => self.reinvite("sendonly", now, out),
            Alarm::Resume => self.reinvite("sendrecv", now, out),
            Alarm::HangUp => self.hang_up(now, out),
            Alarm::Straggle => self.send_one(999, Fate::Never, out),
        }
        Ok(())
    }

    fn later(&mut self, now: Tick, low_ms: u64, high_ms: u64, alarm: Alarm) {
        let wait_ms = self.random.between(low_ms, high_ms);
        self.alarms.push((now.plus_ms(wait_ms), alarm));
    }

    // --- Requests of its own --------------------------------------------------

    fn start(&mut self, now: Tick, out: &mut Vec<Datagram>) {
        let method = match self.plan {
            Plan::OptionsBox => {
                self.target = format!("sip:{}", host(self.lab.host(0, 1)));
                "OPTIONS"
            }
            Plan::OptionsThrough => "OPTIONS",
            _ => "INVITE",
        };
        let offer = method == "INVITE" && self.plan != Plan::LateOffer;
        let body = if offer {
            self.sdp("sendrecv")
        } else {
            String::new()
        };
        self.request(method, body, now, out);
    }

    /// Sends a request in its dialog, or the one that begins it.
    fn request(&mut self, method: &str, body: String, now: Tick, out: &mut Vec<Datagram>) {
        self.cseq += 1;
        let request = self.build(method, self.cseq, body);
        self.send(&request, out);
        self.clients.push(Client::new(request, now));
    }

    fn build(&self, method: &str, cseq: u32, body: String) -> Sip {
        let me = self.address();
        let mut sip = Sip::new(format!("{method} {} SIP/2.0", self.target));
        let branch = format!("z9hG4bK-{}-{cseq}-{method}", self.tag);
        sip.push("Via", format!("SIP/2.0/UDP {me};rport;branch={branch}"));
        for route in &self.routes {
            sip.push("Route", route.clone());
        }
        sip.push("Max-Forwards", "70");
        sip.push("From", self.identity(&self.tag, self.side));
        sip.push("To", self.identity(&self.remote_tag, self.side.other()));
        sip.push("Call-ID", self.call_id.clone());
        sip.push("CSeq", format!("{cseq} {method}"));
        if method != "BYE" {
            sip.push("Contact", format!("<sip:{}@{me}>", self.tag));
        }
        sip.push("X-Passes", "as, it ; came");
        if !body.is_empty() {
            sip.push("Content-Type", "application/sdp");
        }
        sip.body = body;
        sip
    }

    fn identity(&self, tag: &str, side: Side) -> String {
        let user = ["caller", "callee"][side as usize];
        let tag = if tag.is_empty() {
            String::new()
        } else {
            format!(";tag={tag}")
        };
        format!("\"{user}; {}\" <sip:{user}@sim.example>{tag}", self.number)
    }

    fn send(&self, message: &Sip, out: &mut Vec<Datagram>) {
        let destination = self.lab.listen(self.side as usize);
        out.push(Datagram {
            source: self.address(),
            destination,
            payload: message.write(),
        });
    }

    fn cancel(&mut self, now: Tick, out: &mut Vec<Datagram>) {
        let Some(invite) = self.clients.first_mut() else {
            return;
        };
        if !invite.is_pending() || invite.cancelled || !invite.heard {
            return;
        }
        invite.cancel(now);
        let cancel = hop_by_hop(&invite.request, "CANCEL", invite.request.get("To"));
        self.send(&cancel, out);
        self.clients.push(Client::new(cancel, now));
    }

    fn reinvite(&mut self, direction: &str, now: Tick, out: &mut Vec<Datagram>) {
        if !self.hung_up {
            let body = self.sdp(direction);
            self.request("INVITE", body, now, out);
        }
    }

    fn hang_up(&mut self, now: Tick, out: &mut Vec<Datagram>) {
        if !self.hung_up {
            self.talking = false;
            self.hung_up = true;
            self.request("BYE", String::new(), now, out);
        }
    }

    // --- Responses ------------------------------------------------------------

    /// Takes a message from the box.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn receive(&mut self, now: Tick, sip: &Sip, out: &mut Vec<Datagram>) -> Result<(), String> {
        let received = match sip.status() {
            Some(status) => self.receive_response(now, status, sip, out),
            None => self.receive_request(now, sip, out),
        };
        self.look_ahead();
        received
    }

    fn receive_response(
        &mut self,
        now: Tick,
        status: u16,
        sip: &Sip,
        out: &mut Vec<Datagram>,
    ) -> Result<(), String> {
        let branch = param(sip.get("Via"), "branch").unwrap_or_default();
        let method = sip.method();
        let found = |client: &Client| client.branch == branch && client.method == method;
        let at = self.clients.iter().position(found);
        let at = at.ok_or(format!("{} to no request of this party", sip.name()))?;
        let first = self.clients[at].hear(status, now);
        if method != "INVITE" {
            if first && method == "BYE" && self.plan != Plan::Bare {
                self.later(now, 1_000, 3_000, Alarm::Straggle);
            }
            return Ok(());
        }
        match status {
            100..=199 => self.hear_progress(now, status, sip, out),
            200..=299 => self.hear_answer(at, first, now, sip, out),
            _ => {
                // RFC 3261 §17.1.1.3.
                let ack = hop_by_hop(&self.clients[at].request, "ACK", sip.get("To"));
                self.send(&ack, out);
                if first && at > 0 && self.talking {
                    // The re-INVITE failed, the call goes on as it was.
                    self.later(now, 100, 500, Alarm::HangUp);
                }
                Ok(())
            }
        }
    }

    fn hear_progress(
        &mut self,
        now: Tick,
        status: u16,
        sip: &Sip,
        out: &mut Vec<Datagram>,
    ) -> Result<(), String> {
        if !sip.body.is_empty() {
            self.media_to = Some(media::address_in(&sip.body)?);
        }
        match (self.plan, status) {
            (Plan::EarlyCancel, _) => self.cancel(now, out),
            (Plan::Cancel, 101..) => self.later(now, 0, 2_000, Alarm::Cancel),
            // The callee answers 100 ms after it rings.
            (Plan::CancelRace, 101..) => self.later(now, 80, 120, Alarm::Cancel),
            _ => {}
        }
        Ok(())
    }

    fn hear_answer(
        &mut self,
        at: usize,
        first: bool,
        now: Tick,
        sip: &Sip,
        out: &mut Vec<Datagram>,
    ) -> Result<(), String> {
        if let Some(ack) = self.clients[at].ack.clone() {
            self.send(&ack, out);
            return Ok(());
        }
        if self.remote_tag.is_empty() {
            tag(sip.get("To"))
                .ok_or("a 200 without To tag")?
                .clone_into(&mut self.remote_tag);
            self.routes = sip.all("Record-Route").map(str::to_owned).collect();
            self.routes.reverse();
        }
        bracketed(sip.one("Contact")?).clone_into(&mut self.target);
        self.media_to = Some(media::address_in(&sip.body)?);
        let (number, _) = self.clients[at].request.cseq()?;
        let late = self.plan == Plan::LateOffer;
        let body = if late {
            self.sdp("sendrecv")
        } else {
            String::new()
        };
        let ack = self.build("ACK", number, body);
        self.send(&ack, out);
        self.clients[at].ack = Some(ack);
        if first {
            self.established(at, now, out);
        }
        Ok(())
    }

    fn established(&mut self, at: usize, now: Tick, out: &mut Vec<Datagram>) {
        if self.clients[0].cancelled {
            // The answer crossed the CANCEL.
            self.hang_up(now, out);
            return;
        }
        match (self.plan, at) {
            (_, 0) => {
                self.talking = true;
                self.schedule_media(now);
                match self.plan {
                    Plan::Hold => self.later(now, 500, 1_500, Alarm::Hold),
                    Plan::CalleeHangsUp => {}
                    Plan::BothHangUp => self.alarms.push((now.plus_ms(1_000), Alarm::HangUp)),
                    _ => self.later(now, 400, 3_000, Alarm::HangUp),
                }
            }
            (Plan::Hold, 1) => self.later(now, 200, 900, Alarm::Resume),
            _ => {
                self.schedule_media(now);
                self.later(now, 400, 2_000, Alarm::HangUp);
            }
        }
    }

    // --- Requests of the other's -----------------------------------------------

    fn receive_request(
        &mut self,
        now: Tick,
        sip: &Sip,
        out: &mut Vec<Datagram>,
    ) -> Result<(), String> {
        let branch = param(sip.get("Via"), "branch").unwrap_or_default();
        let method = sip.method().to_owned();
        if method == "ACK" {
            return self.receive_ack(now, branch, sip);
        }
        if method == "INVITE" && self.plan == Plan::Silent {
            return Ok(());
        }
        let known = |server: &Server| server.branch == branch && server.request.method() == method;
        if let Some(at) = self.servers.iter().position(known) {
            self.repeat_response(at, out);
            return Ok(());
        }
        self.servers.push(Server::new(sip.clone()));
        let at = self.servers.len() - 1;
        match (method.as_str(), tag(sip.get("To")).is_some()) {
            ("INVITE", false) => self.receive_invite(now, sip)?,
            ("INVITE", true) => {
                let direction = if sip.body.contains("a=sendonly") {
                    "recvonly"
                } else {
                    "sendrecv"
                };
                self.media_to = Some(media::address_in(&sip.body)?);
                let body = self.sdp(direction);
                self.respond(at, "200 OK", body, now, out);
            }
            ("CANCEL", _) => self.receive_cancel(at, now, out),
            ("BYE", _) => {
                self.talking = false;
                self.hung_up = true;
                self.servers.iter_mut().for_each(|server| {
                    server.acknowledge();
                });
                self.respond(at, "200 OK", String::new(), now, out);
            }
            _ => self.respond(at, "200 OK", String::new(), now, out),
        }
        Ok(())
    }

    fn receive_invite(&mut self, now: Tick, sip: &Sip) -> Result<(), String> {
        sip.one("Call-ID")?.clone_into(&mut self.call_id);
        tag(sip.get("From"))
            .ok_or("an INVITE without From tag")?
            .clone_into(&mut self.remote_tag);
        bracketed(sip.one("Contact")?).clone_into(&mut self.target);
        self.routes = sip.all("Record-Route").map(str::to_owned).collect();
        if !sip.body.is_empty() {
            self.media_to = Some(media::address_in(&sip.body)?);
        }
        self.later(now, 1, 200, Alarm::Ring);
        Ok(())
    }

    fn receive_cancel(&mut self, at: usize, now: Tick, out: &mut Vec<Datagram>) {
        let branch = self.servers[at].branch.clone();
        let invite = |s: &Server| s.branch == branch && s.request.method() == "INVITE";
        let Some(invite) = self.servers.iter().position(invite) else {
            self.respond(
                at,
                "481 Call/Transaction Does Not Exist",
                String::new(),
                now,
                out,
            );
            return;
        };
        self.respond(at, "200 OK", String::new(), now, out);
        if self.servers[invite].status().is_none() {
            self.respond(invite, "487 Request Terminated", String::new(), now, out);
        }
    }

    fn receive_ack(&mut self, now: Tick, branch: &str, sip: &Sip) -> Result<(), String> {
        let (number, _) = sip.cseq()?;
        let answered = |server: &Server| {
            let same = server.request.cseq() == Ok((number, "INVITE"));
            same && match server.status() {
                Some(200) => true,
                Some(_) => server.branch == branch,
                None => false,
            }
        };
        let at = self.servers.iter().position(answered);
        let at = at.ok_or("an ACK to nothing that this party answered")?;
        let first = self.servers[at].acknowledge();
        if self.servers[at].status() != Some(200) || !first || self.hung_up {
            return Ok(());
        }
        if !sip.body.is_empty() {
            self.media_to = Some(media::address_in(&sip.body)?);
        }
        self.talking = true;
        self.schedule_media(now);
        match self.plan {
            Plan::CalleeHangsUp => self.later(now, 400, 3_000, Alarm::HangUp),
            Plan::BothHangUp => self.alarms.push((now.plus_ms(980), Alarm::HangUp)),
            _ => {}
        }
        Ok(())
    }

    fn ring(&mut self, now: Tick, out: &mut Vec<Datagram>) {
        if self.servers[0].status().is_some() {
            return;
        }
        if self.plan == Plan::OptionsThrough {
            return;
        }
        let (line, body) = match self.plan {
            Plan::EarlyMedia => ("183 Session Progress", self.sdp("sendrecv")),
            _ => ("180 Ringing", String::new()),
        };
        self.respond(0, line, body, now, out);
        match self.plan {
            Plan::Cancel | Plan::EarlyCancel => {}
            Plan::CancelRace => self.later(now, 100, 100, Alarm::Answer),
            _ => self.later(now, 1, 2_500, Alarm::Answer),
        }
    }

    fn answer(&mut self, now: Tick, out: &mut Vec<Datagram>) -> Result<(), String> {
        if self
            .servers
            .first()
            .ok_or("nothing to answer")?
            .status()
            .is_some()
        {
            return Ok(());
        }
        if let Plan::Refused(status) = self.plan {
            self.respond(0, &format!("{status} No"), String::new(), now, out);
        } else {
            let body = self.sdp("sendrecv");
            self.respond(0, "200 OK", body, now, out);
        }
        Ok(())
    }

    fn respond(&mut self, at: usize, line: &str, body: String, now: Tick, out: &mut Vec<Datagram>) {
        let request = &self.servers[at].request;
        let mut response = Sip::new(format!("SIP/2.0 {line}"));
        for (name, value) in &request.headers {
            match name.as_str() {
                "To" if tag(value).is_none() => {
                    response.push("To", format!("{value};tag={}", self.tag));
                }
                "Via" | "From" | "To" | "Call-ID" | "CSeq" | "Record-Route" => {
                    response.push(name, value.clone());
                }
                _ => {}
            }
        }
        response.push("Contact", format!("<sip:{}@{}>", self.tag, self.address()));
        response.push("X-Passes", "back; as it came");
        if !body.is_empty() {
            response.push("Content-Type", "application/sdp");
        }
        response.body = body;
        self.servers[at].respond(response, now);
        self.repeat_response(at, out);
    }

    fn repeat_response(&self, at: usize, out: &mut Vec<Datagram>) {
        if let Some(response) = &self.servers[at].response {
            self.send(response, out);
        }
    }

    // --- Media ------------------------------------------------------------------

    fn sdp(&mut self, direction: &str) -> String {
        self.sdp_version += 1;
        media::sdp(self.media_address(), self.sdp_version, direction)
    }

    /// Where this party takes its media.
    #[must_use]
    pub fn media_address(&self) -> SocketAddr {
        media::address_of(&self.lab, self.side, self.number)
    }

    fn schedule_media(&mut self, now: Tick) {
        if self.plan == Plan::Bare {
            return;
        }
        // A late answer may still be under way when media that follows it arrives.
        let late = self.plan == Plan::LateOffer && self.side == Side::Caller;
        let begin_ms = if late { 200 } else { 0 };
        for number in 0..PACKETS {
            let at = now.plus_ms(begin_ms + 20 * u64::from(number));
            self.alarms.push((at, Alarm::Media(number)));
        }
    }

    fn send_media(&mut self, number: u16, out: &mut Vec<Datagram>) {
        if !self.talking {
            return;
        }
        let late = self.plan == Plan::LateOffer && self.side == Side::Caller;
        let fate = if late { Fate::Perhaps } else { Fate::Passes };
        self.send_one(number, fate, out);
        if number == 0 {
            self.send_stranger(out);
        }
        if number + 1 == PACKETS {
            self.send_rtcp(fate, out);
        }
    }

    fn send_one(&self, number: u16, fate: Fate, out: &mut Vec<Datagram>) {
        let Some(destination) = self.media_to else {
            return;
        };
        let payload = media::rtp(fate, self.number, self.side, number);
        out.push(Datagram {
            source: self.media_address(),
            destination,
            payload,
        });
    }

    fn send_rtcp(&self, fate: Fate, out: &mut Vec<Datagram>) {
        let Some(to) = self.media_to else { return };
        let above = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
        let payload = media::rtcp(fate, self.number, self.side);
        let source = above(self.media_address());
        out.push(Datagram {
            source,
            destination: above(to),
            payload,
        });
    }

    /// Somebody else, who knows the relay port and sends to it.
    fn send_stranger(&self, out: &mut Vec<Datagram>) {
        let Some(destination) = self.media_to else {
            return;
        };
        let address = self.lab.stranger(self.side as usize);
        let source = SocketAddr::new(address, self.media_address().port());
        let payload = media::rtp(Fate::Never, self.number, self.side, 0);
        out.push(Datagram {
            source,
            destination,
            payload,
        });
    }

    /// Takes a media packet from the box.
    ///
    /// # Errors
    /// Where it does not come from the relay port that signalling named.
    pub fn receive_media(&mut self, datagram: &Datagram) -> Result<(), String> {
        self.media_in += 1;
        let Some(named) = self.media_to else {
            return Ok(());
        };
        let odd = datagram.destination.port() & 1;
        let expected = SocketAddr::new(named.ip(), named.port() + odd);
        if datagram.source != expected {
            return Err(format!("media from {}, not {expected}", datagram.source));
        }
        Ok(())
    }
}

/// The CANCEL of an INVITE, or the ACK to its failure: same URI, Via, Route, From, Call-ID.
fn hop_by_hop(invite: &Sip, method: &str, to: &str) -> Sip {
    let mut sip = Sip::new(format!("{method} {} SIP/2.0", invite.uri()));
    sip.push("Via", invite.get("Via"));
    for route in invite.all("Route") {
        sip.push("Route", route);
    }
    sip.push("Max-Forwards", "70");
    sip.push("From", invite.get("From"));
    sip.push("To", to);
    sip.push("Call-ID", invite.get("Call-ID"));
    let (number, _) = invite.cseq().unwrap_or_default();
    sip.push("CSeq", format!("{number} {method}"));
    sip
}
