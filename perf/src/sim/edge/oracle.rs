//! What the box may do between phones and registrar, said once more and independently.
//!
//! Each REGISTER goes on once and unchanged but for the way back, or is answered from what the registrar
//! has granted: only as long as that is true there, by the way by which it was granted, for half of its
//! time, and then always. Each call by a Path reaches the flow from which its phone registered, and no other.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::registrar::Bound;
use super::registrar::Registrar;
use super::registrar::Trick;
use super::registrar::expires;
use super::registrar::params;
use super::registrar::token_in;
use super::registrar::user_of;
use crate::sim::network::Body;
use crate::sim::network::Packet;
use crate::sim::oracle::Fault;
use crate::sim::sip::Sip;
use crate::sim::sip::bracketed;
use crate::sim::sip::host;
use crate::sim::sip::param;
use crate::sim::site::Site;

/// A second, in nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;
/// For how long a transaction lingers, or is tried.
const T1_64_MS: u64 = 32_000;
/// What is near a limit may be seen on either side of it.
const NEAR_NS: u64 = SECOND_NS;

/// A request that has reached the box.
#[derive(Debug)]
struct Asked {
    request: Rc<Sip>,
    source: SocketAddr,
    /// When it came first, or went on, and when it came last.
    first: Tick,
    at: Tick,
    /// How it went on.
    sent: Option<Rc<Sip>>,
    /// To whom.
    to: SocketAddr,
    /// The final response that has gone back.
    answer: Option<Rc<Sip>>,
}

/// What the box knows to be granted.
#[derive(Debug)]
struct Noted {
    user: String,
    uri: String,
    params: String,
    source: SocketAddr,
    call_id: String,
    cseq: u32,
    at: Tick,
    granted_s: u32,
    /// A REGISTER has gone on that may change it.
    is_doubtful: bool,
}

impl Noted {
    fn until(&self) -> Tick {
        self.at.plus_ms(1_000 * u64::from(self.granted_s))
    }
}

/// What must leave before the step ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owed {
    /// Something for this request, by its branch: it goes on, or is answered.
    TakenUp(String),
    /// This response, by the branch with which the request went on.
    Back(String),
}

/// The oracle.
#[derive(Debug)]
pub struct Oracle {
    site: Site,
    nat_expires_s: u32,
    registrar: SocketAddr,
    /// By the branch of their sender.
    asked: HashMap<String, Asked>,
    /// The branch of its sender, by that with which a request went on.
    sent: HashMap<String, String>,
    /// Responses that have come, by the branch of what they answer.
    heard: HashMap<String, Rc<Sip>>,
    noted: Vec<Noted>,
    /// When a REGISTER of a user went on last that may take a contact away.
    taken: HashMap<String, Tick>,
    /// From where the phone registered to which a token leads; for ever.
    tokens: HashMap<String, SocketAddr>,
    /// What calls are by, by their branch.
    calls: HashMap<String, Trick>,
    owed: Vec<(Option<usize>, Owed)>,
    /// SIP messages that left.
    pub sip_count: u64,
}

impl Oracle {
    /// One that knows where the box stands.
    pub fn new(site: Site, nat_expires_s: u32, registrar: SocketAddr) -> Oracle {
        Oracle {
            site,
            nat_expires_s,
            registrar,
            asked: HashMap::new(),
            sent: HashMap::new(),
            heard: HashMap::new(),
            noted: Vec::new(),
            taken: HashMap::new(),
            tokens: HashMap::new(),
            calls: HashMap::new(),
            owed: Vec::new(),
            sip_count: 0,
        }
    }

    /// The box has forgotten everything but the keys of its tokens.
    pub fn restarts(&mut self) {
        self.asked.clear();
        self.sent.clear();
        self.heard.clear();
        self.noted.clear();
        self.taken.clear();
        self.owed.clear();
    }

    /// A call is made.
    pub fn is_called(&mut self, request: &Sip, trick: Trick) {
        self.calls.insert(request.branch().to_owned(), trick);
    }

    /// A message reaches the box undamaged.
    pub fn enters(&mut self, now: Tick, packet: &Packet) {
        let Body::Sip(sip) = &packet.body else { return };
        let branch = sip.branch().to_owned();
        if sip.status().is_some() {
            let of = self.sent.get(&branch).and_then(|of| self.asked.get(of));
            if of.is_some_and(|asked| asked.answer.is_none() && packet.source == asked.to) {
                self.heard.insert(branch.clone(), sip.clone());
                self.owed.push((sip.call(), Owed::Back(branch)));
            }
            return;
        }
        let lingers = |asked: &Asked| now < asked.at.plus_ms(T1_64_MS);
        if !self.asked.get(&branch).is_some_and(lingers) {
            self.asked.remove(&branch);
        }
        let asked = self.asked.entry(branch.clone()).or_insert_with(|| Asked {
            request: sip.clone(),
            source: packet.source,
            first: now,
            at: now,
            sent: None,
            to: packet.source,
            answer: None,
        });
        asked.at = now;
        if asked.sent.is_none() {
            self.owed.push((sip.call(), Owed::TakenUp(branch)));
        }
    }

    /// A message leaves the box.
    pub fn leaves(
        &mut self,
        now: Tick,
        side: usize,
        packet: &Packet,
        registrar: &Registrar,
    ) -> Result<(), Fault> {
        let Body::Sip(sip) = &packet.body else {
            return Err(Fault::general("what is no SIP left the box"));
        };
        self.sip_count += 1;
        let seen = match (packet.source == self.site.listen(side), sip.status()) {
            (false, _) => Err(format!("from {}", packet.source)),
            (true, Some(status)) => self.response_leaves(now, packet, sip, status, registrar),
            (true, None) => self.request_leaves(now, side, packet, sip),
        };
        seen.map_err(|why| Fault {
            call: sip.call(),
            why: format!("{} to {}: {why}", sip.name(), packet.destination),
        })
    }

    fn pay(&mut self, paid: &Owed) {
        self.owed.retain(|(_, owed)| owed != paid);
    }

    /// The step ends: nothing may be owed.
    pub fn settle(&mut self) -> Result<(), Fault> {
        match self.owed.pop() {
            None => Ok(()),
            Some((call, owed)) => Err(Fault {
                call,
                why: format!("nothing came of it: {owed:?}"),
            }),
        }
    }

    // --- Requests -----------------------------------------------------------------

    fn request_leaves(
        &mut self,
        now: Tick,
        side: usize,
        packet: &Packet,
        sip: &Rc<Sip>,
    ) -> Result<(), String> {
        let of = sip.all("Via").nth(1).and_then(|via| param(via, "branch"));
        let of = of.unwrap_or_default().to_owned();
        let asked = self.asked.get(&of).ok_or("nobody has asked for it")?;
        if let Some(sent) = &asked.sent {
            return match (sent.text() == sip.text(), asked.to == packet.destination) {
                (true, true) => Ok(()),
                _ => Err("it went on otherwise before".to_owned()),
            };
        }
        let request = asked.request.clone();
        let source = asked.source;
        let added = match sip.method() {
            "REGISTER" => self.register_goes_on(now, side, packet, sip, (&request, source))?,
            _ => self.call_goes_on(packet, sip, &request, &of)?,
        };
        goes_on_as_it_came(sip, &request, source, &added)?;
        self.sent.insert(sip.branch().to_owned(), of.clone());
        self.pay(&Owed::TakenUp(of.clone()));
        if let Some(asked) = self.asked.get_mut(&of) {
            (asked.sent, asked.to) = (Some(sip.clone()), packet.destination);
            // What was answered before was no longer true by the time that it came again.
            (asked.answer, asked.first) = (None, now);
        }
        Ok(())
    }

    /// What is added to a REGISTER.
    fn register_goes_on(
        &mut self,
        now: Tick,
        side: usize,
        packet: &Packet,
        sip: &Sip,
        (request, source): (&Sip, SocketAddr),
    ) -> Result<Vec<String>, String> {
        if packet.destination != self.registrar {
            return Err("it is for the registrar".to_owned());
        }
        if self.is_spared(now, request, source) {
            return Err("it was granted not long ago".to_owned());
        }
        let path = sip.get("Path");
        let token = token_in(path).to_owned();
        let at = host(self.site.address(side));
        if path != format!("<sip:{token}@{at};lr>") {
            return Err(format!("Path: {path}"));
        }
        let known = *self.tokens.entry(token).or_insert(source);
        if known != source {
            return Err(format!("its token is that of {known}, not of {source}"));
        }
        // What it asks for may be done there before anything is heard of it.
        let user = user_of(request);
        let is_star = request.get("Contact") == "*";
        let is_named = |noted: &Noted| {
            let mut contacts = request.all("Contact");
            noted.user == user && (is_star || contacts.any(|it| bracketed(it) == noted.uri))
        };
        let noted = self.noted.iter_mut().filter(|noted| is_named(noted));
        noted.for_each(|noted| noted.is_doubtful = true);
        if is_star || request.all("Contact").any(|it| expires(it) == Ok(0)) {
            self.taken.insert(user, now);
        }
        Ok(vec![format!("Path: {path}"), "Supported: path".to_owned()])
    }

    /// True where a REGISTER is one that the registrar need not see.
    fn is_spared(&self, now: Tick, request: &Sip, source: SocketAddr) -> bool {
        let mut contacts = request.all("Contact");
        let user = user_of(request);
        let is_known = |contact: &str| {
            let is_it = |noted: &&Noted| noted.user == user && noted.uri == bracketed(contact);
            let Some(noted) = self.noted.iter().find(is_it) else {
                return false;
            };
            let half_ns = u64::from(noted.granted_s) * SECOND_NS / 2;
            !noted.is_doubtful
                && noted.source == source
                && noted.call_id == request.get("Call-ID")
                && noted.cseq < request.cseq()
                && noted.params == params(contact)
                && expires(contact).is_ok_and(|asked_s| asked_s > 0)
                && now.since(noted.at) + NEAR_NS < half_ns
        };
        let has_any = !request.get("Contact").is_empty();
        has_any && request.get("Require").is_empty() && contacts.all(is_known)
    }

    /// Nothing is added to a call.
    fn call_goes_on(
        &self,
        packet: &Packet,
        sip: &Sip,
        request: &Sip,
        of: &str,
    ) -> Result<Vec<String>, String> {
        let trick = self.calls.get(of).ok_or("nobody has called")?;
        let side = self.site.side_of(packet.destination.ip());
        let token = token_in(request.get("Route"));
        match trick {
            Trick::None => {
                let to = self.tokens.get(token).ok_or("nobody has that token")?;
                if *to != packet.destination {
                    return Err(format!("it is for {to}"));
                }
                if sip.uri() != request.uri() {
                    return Err(format!("it calls {}", sip.uri()));
                }
                Ok(Vec::new())
            }
            // It takes the way of all requests of another trunk, which is to the callers' side.
            Trick::Stolen if !self.tokens.values().any(|at| *at == packet.destination) => {
                Ok(Vec::new())
            }
            _ => Err(format!("{trick:?} on side {side:?}")),
        }
    }

    // --- Responses ----------------------------------------------------------------

    fn response_leaves(
        &mut self,
        now: Tick,
        packet: &Packet,
        sip: &Rc<Sip>,
        status: u16,
        registrar: &Registrar,
    ) -> Result<(), String> {
        let branch = sip.branch().to_owned();
        let asked = self.asked.get(&branch).ok_or("nobody has asked")?;
        if asked.source != packet.destination {
            return Err(format!("{} has asked", asked.source));
        }
        if status == 100 {
            // RFC 4320 §4.1: once its sender repeats it every 4 s only.
            let is_late = now >= asked.first.plus_ms(3_400) && asked.answer.is_none();
            return match is_late && asked.sent.is_some() {
                true => Ok(()),
                false => Err("nobody has waited for long".to_owned()),
            };
        }
        if let Some(answer) = &asked.answer
            && asked.sent.is_some()
        {
            return match answer.text() == sip.text() {
                true => Ok(()),
                false => Err("it was answered otherwise before".to_owned()),
            };
        }
        let (request, source, since) = (asked.request.clone(), asked.source, asked.first);
        match asked.sent.clone() {
            Some(sent) => {
                let heard = self.heard.get(sent.branch()).cloned();
                let heard = heard.ok_or("nobody has answered")?;
                self.goes_back((since, now), &sent, (&request, source), &heard, sip)?;
                self.pay(&Owed::Back(sent.branch().to_owned()));
            }
            None if request.method() == "REGISTER" => {
                self.is_true(now, (&request, source), sip, status, registrar)?;
            }
            None => {
                let trick = self.calls.get(&branch).ok_or("nobody has called")?;
                if (*trick, status) != (Trick::Changed, 403)
                    && (*trick, status) != (Trick::Foreign, 403)
                {
                    return Err(format!("it is called by {trick:?}"));
                }
            }
        }
        self.pay(&Owed::TakenUp(branch.clone()));
        if let Some(asked) = self.asked.get_mut(&branch) {
            asked.answer = Some(sip.clone());
        }
        Ok(())
    }

    /// A response of another goes back as it came, but for the interval of a phone behind a NAT.
    fn goes_back(
        &mut self,
        (since, now): (Tick, Tick),
        sent: &Sip,
        (request, source): (&Sip, SocketAddr),
        heard: &Sip,
        sip: &Sip,
    ) -> Result<(), String> {
        let mut expected = lines(heard);
        expected.remove(0);
        let said = lines(sip);
        let is_granted = sip.method() == "REGISTER" && sip.status() == Some(200);
        for line in expected.iter_mut().filter(|_| is_granted) {
            let Some(contact) = line.strip_prefix("Contact: ") else {
                continue;
            };
            let mut own = request.all("Contact");
            let is_own = own.any(|own| bracketed(own) == bracketed(contact));
            let granted_s = expires(contact)?;
            let told_s = self.told_s(bracketed(contact), source, granted_s);
            if is_own && told_s < granted_s {
                let (uri, params) = (bracketed(contact), params(contact));
                *line = format!("Contact: <{uri}>{params};expires={told_s}");
            }
        }
        // RFC 3261 §16.7 step 6: a 503 says that the box is overloaded.
        let start = match heard.status() {
            Some(503) => "SIP/2.0 500 Server Internal Error",
            _ => heard.start(),
        };
        if (start, &expected) != (sip.start(), &said) {
            return Err(format!("{said:?}, not {expected:?}"));
        }
        if is_granted {
            self.note((since, now), (request, source), heard)?;
        }
        match sent.method() == request.method() {
            true => Ok(()),
            false => Err("it is of another".to_owned()),
        }
    }

    /// What a phone is told: of a contact that is not where it came from, no more than keeps a NAT open.
    fn told_s(&self, uri: &str, source: SocketAddr, left_s: u32) -> u32 {
        let said = uri.rsplit('@').next().and_then(|at| at.parse().ok());
        match said == Some(source) {
            true => left_s,
            false => left_s.min(self.nat_expires_s),
        }
    }

    /// The registrar has granted what went on to it at `since`, and the phone is told so.
    fn note(
        &mut self,
        (since, now): (Tick, Tick),
        (request, source): (&Sip, SocketAddr),
        heard: &Sip,
    ) -> Result<(), String> {
        let user = user_of(request);
        let (call_id, cseq) = (request.get("Call-ID"), request.cseq());
        let taken = self.taken.get(&user).copied();
        if request.get("Contact") == "*" {
            self.noted.retain(|noted| noted.user != user);
            return Ok(());
        }
        for contact in request.all("Contact") {
            let uri = bracketed(contact);
            let is_it = |noted: &Noted| noted.user == user && noted.uri == uri;
            let is_later = |it: &Noted| is_it(it) && it.call_id == call_id && it.cseq > cseq;
            if self.noted.iter().any(is_later) {
                // The answer to an earlier one, come late.
                continue;
            }
            self.noted.retain(|noted| !is_it(noted));
            let mut granted = heard.all("Contact");
            let Some(granted) = granted.find(|it| bracketed(it) == uri) else {
                continue;
            };
            self.noted.push(Noted {
                user: user.clone(),
                uri: uri.to_owned(),
                params: params(contact),
                source,
                call_id: call_id.to_owned(),
                cseq,
                at: since,
                granted_s: expires(granted)?,
                is_doubtful: taken.is_some_and(|at| now < at.plus_ms(T1_64_MS + 100)),
            });
        }
        Ok(())
    }

    /// An answer of the box's own to a REGISTER: it says what is true at the registrar.
    fn is_true(
        &mut self,
        now: Tick,
        (request, source): (&Sip, SocketAddr),
        sip: &Sip,
        status: u16,
        registrar: &Registrar,
    ) -> Result<(), String> {
        if status != 200 {
            return Err("it is the registrar's to say".to_owned());
        }
        let user = user_of(request);
        let contacts: Vec<_> = request.all("Contact").collect();
        let said: Vec<_> = sip.all("Contact").collect();
        if contacts.is_empty() || contacts.len() != said.len() {
            return Err(format!("it says {said:?} to {contacts:?}"));
        }
        for (contact, said) in contacts.into_iter().zip(said) {
            let uri = bracketed(contact);
            let told_s = expires(said)?;
            let is_there = |bound: &&Bound| bound.uri == uri && bound.until > now;
            let users = registrar.users.get(&user);
            let bound = users.and_then(|bound| bound.iter().find(is_there));
            let bound = bound.ok_or_else(|| format!("{uri} is not bound"))?;
            if self.tokens.get(token_in(&bound.path)) != Some(&source) {
                return Err(format!("{uri} is bound by another flow"));
            }
            let as_it_is = (bound.params.clone(), params(contact), params(said));
            if as_it_is.0 != as_it_is.1 || as_it_is.1 != as_it_is.2 {
                return Err(format!("{as_it_is:?} differ"));
            }
            let is_it = |noted: &&mut Noted| noted.user == user && noted.uri == uri;
            let noted = self.noted.iter_mut().find(is_it);
            let noted = noted.ok_or_else(|| format!("{uri} was not granted here"))?;
            if (noted.source, noted.call_id.as_str()) != (source, request.get("Call-ID"))
                || request.cseq() < noted.cseq
            {
                return Err(format!("{uri} was granted to {noted:?}"));
            }
            let half_ns = u64::from(noted.granted_s) * SECOND_NS / 2;
            if now.since(noted.at) > half_ns + NEAR_NS {
                return Err(format!("{uri} was granted too long ago: {noted:?}"));
            }
            noted.cseq = request.cseq();
            let left_s = noted.until().since(now) / SECOND_NS;
            let left_s = u32::try_from(left_s).unwrap_or(u32::MAX);
            if told_s != self.told_s(uri, source, left_s) {
                return Err(format!("{uri} has {left_s} s left, and it says {told_s}"));
            }
            let ends = now.plus_ms(1_000 * u64::from(told_s));
            if ends > Tick(bound.until.0 + NEAR_NS) {
                return Err(format!(
                    "{uri} is bound for {} ms, and it says {told_s} s",
                    bound.until.since(now) / 1_000_000
                ));
            }
        }
        Ok(())
    }
}

/// Name and value of all header lines, in order.
fn lines(sip: &Sip) -> Vec<String> {
    let headers = sip.headers();
    headers
        .map(|(name, value)| format!("{name}: {value}"))
        .collect()
}

/// A request is as it came but for our Via, what the sender's says of where it came from, Max-Forwards,
/// the Route that we were, and what is `added`.
fn goes_on_as_it_came(
    sip: &Sip,
    request: &Sip,
    source: SocketAddr,
    added: &[String],
) -> Result<(), String> {
    let mut said = lines(sip);
    said.remove(0);
    for line in added {
        let at = said.iter().position(|said| said == line);
        said.remove(at.ok_or_else(|| format!("without {line}"))?);
    }
    // RFC 5393 §5.3.3: said where nobody has.
    said.retain(|line| line != "Max-Breadth: 60");
    let via = said.remove(0);
    let branch = param(&via, "branch");
    let received = param(&via, "received").is_none_or(|ip| ip == source.ip().to_string());
    let rport = param(&via, "rport").is_none_or(|port| port == source.port().to_string());
    if branch != Some(request.branch()) || !received || !rport {
        return Err(format!("{via} of {source}"));
    }
    let mut expected = lines(request);
    expected.remove(0);
    expected.retain(|line| !line.starts_with("Route: "));
    for line in &mut expected {
        if line == "Max-Forwards: 70" {
            "Max-Forwards: 69".clone_into(line);
        }
    }
    match expected == said && sip.body() == request.body() {
        true => Ok(()),
        false => Err(format!("{said:?}, not {expected:?}")),
    }
}
