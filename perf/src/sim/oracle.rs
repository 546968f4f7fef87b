//! What a proxy and a relay must do, said once more and independently: it sees every
//! datagram that reaches the box and every one that leaves it.

use std::collections::HashMap;
use std::collections::VecDeque;

use trunkline_dataplane::lab;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::tick::Tick;

use super::frame::Datagram;
use super::ladder::Side;
use super::media;
use super::media::Fate;
use super::sip::Sip;
use super::sip::bracketed;
use super::sip::host;
use super::sip::param;
use super::sip::tag;

/// Media may pass for so long after the BYE was answered: the grace of the box, a bucket of
/// its timer wheel, and how late the simulator turns it.
const GRACE_MS: u64 = 500 + 5 + 5;

/// Message of a party: call, CSeq, status (0: a request), side.
type Key = (usize, String, u16, Side);

/// What left towards one branch.
#[derive(Debug, Default)]
struct History {
    /// The final response, if one left.
    last: Option<(u16, Vec<u8>)>,
}

/// The oracle.
#[derive(Debug, Default)]
pub struct Oracle {
    lab: Lab,
    entered: HashMap<Key, Sip>,
    /// Requests that left, by the branch of our Via.
    requests: HashMap<String, Vec<u8>>,
    /// Responses that left, by side, branch and CSeq.
    responses: HashMap<(Side, String, String), History>,
    /// Media that entered and has not left, in order, by call, side and port parity.
    media: HashMap<(usize, Side, u16), VecDeque<Vec<u8>>>,
    /// Media that must leave before the step ends.
    owed: Vec<(usize, Vec<u8>)>,
    /// INVITEs that must get a first response before the step ends: call, CSeq, side.
    unheard: Vec<(usize, String, Side)>,
    /// When a BYE of the call was first answered.
    ended: HashMap<usize, Tick>,
    /// Media packets that left.
    pub media_count: u64,
    /// SIP messages that left.
    pub sip_count: u64,
}

/// What left was wrong: the call it is about, and why.
#[derive(Debug)]
pub struct Fault {
    /// The call's number, where it is known.
    pub call: Option<usize>,
    /// What is wrong.
    pub why: String,
}

impl Oracle {
    /// One that knows what stands around the box.
    #[must_use]
    pub fn new(lab: Lab) -> Oracle {
        Oracle {
            lab,
            ..Oracle::default()
        }
    }

    /// A datagram reaches the box.
    pub fn enters(&mut self, side: Side, datagram: &Datagram) {
        if datagram.destination.port() == 5060 {
            if let Ok(sip) = Sip::read(&datagram.payload)
                && let Some(key) = key(&sip, side)
            {
                let (call, cseq, status, _) = key.clone();
                let request = status == 0 && sip.method() == "INVITE";
                if self.entered.insert(key, sip).is_none() && request {
                    self.unheard.push((call, cseq, side));
                }
            }
            return;
        }
        let Some(label) = media::read(&datagram.payload) else {
            return;
        };
        let parity = datagram.destination.port() & 1;
        let queue = self.media.entry((label.call, side, parity)).or_default();
        queue.push_back(datagram.payload.clone());
        if label.fate == Fate::Passes {
            self.owed.push((label.call, datagram.payload.clone()));
        }
    }

    /// A datagram leaves the box towards `side`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn leaves(&mut self, now: Tick, side: Side, datagram: &Datagram) -> Result<(), Fault> {
        if datagram.source.port() != 5060 {
            let call = media::read(&datagram.payload).map(|label| label.call);
            return self
                .media_leaves(now, side, datagram)
                .map_err(|why| Fault { call, why });
        }
        let sip = Sip::read(&datagram.payload).map_err(|why| Fault { call: None, why })?;
        let fault = |why| Fault {
            call: sip.call(),
            why,
        };
        self.sip_leaves(now, side, datagram, &sip)
            .map_err(|why| fault(format!("{}: {why}", sip.name())))
    }

    /// The step ends: nothing may be owed.
    ///
    /// # Errors
    /// The packet that did not come out.
    pub fn settle(&mut self) -> Result<(), Fault> {
        if let Some((call, ..)) = self.unheard.pop() {
            let why = "an INVITE got no response at once".to_owned();
            return Err(Fault {
                call: Some(call),
                why,
            });
        }
        match self.owed.pop() {
            None => Ok(()),
            Some((call, payload)) => {
                let text = String::from_utf8_lossy(payload.get(12..24).unwrap_or_default());
                Err(Fault {
                    call: Some(call),
                    why: format!("media was not forwarded: {text}"),
                })
            }
        }
    }

    // --- Media ------------------------------------------------------------------

    fn media_leaves(&mut self, now: Tick, side: Side, datagram: &Datagram) -> Result<(), String> {
        self.media_count += 1;
        let (first, last) = lab::MEDIA_PORTS[side as usize];
        let relay = datagram.source;
        if relay.ip() != self.lab.host(side as usize, 1) || !(first..=last).contains(&relay.port())
        {
            return Err(format!("media from {relay}, which is no relay port"));
        }
        let label = media::read(&datagram.payload).ok_or("media that nobody sent")?;
        if label.fate == Fate::Never {
            return Err("media that must not pass has passed".to_owned());
        }
        if label.side != side.other() {
            return Err("media came back to its side".to_owned());
        }
        let parity = relay.port() & 1;
        let named = media::address_of(&self.lab, side, label.call);
        let expected = std::net::SocketAddr::new(named.ip(), named.port() + parity);
        if datagram.destination != expected {
            return Err(format!("media to {}, not {expected}", datagram.destination));
        }
        if let Some(&ended) = self.ended.get(&label.call)
            && now > ended.plus_ms(GRACE_MS)
        {
            return Err("media after the call's end".to_owned());
        }
        let queue = self
            .media
            .entry((label.call, label.side, parity))
            .or_default();
        let at = queue
            .iter()
            .position(|payload| *payload == datagram.payload);
        let at = at.ok_or("media changed, repeated or out of its order")?;
        queue.drain(..=at);
        if let Some(at) = self
            .owed
            .iter()
            .position(|(_, payload)| *payload == datagram.payload)
        {
            self.owed.remove(at);
        }
        Ok(())
    }

    // --- SIP --------------------------------------------------------------------

    fn sip_leaves(
        &mut self,
        now: Tick,
        side: Side,
        datagram: &Datagram,
        sip: &Sip,
    ) -> Result<(), String> {
        self.sip_count += 1;
        if datagram.source != self.lab.listen(side as usize) {
            return Err(format!("from {}", datagram.source));
        }
        if datagram.destination != self.lab.peer(side as usize) {
            return Err(format!("to {}", datagram.destination));
        }
        match sip.status() {
            None => self.request_leaves(side, datagram, sip),
            Some(status) => self.response_leaves(now, side, status, datagram, sip),
        }
    }

    fn request_leaves(&mut self, side: Side, datagram: &Datagram, sip: &Sip) -> Result<(), String> {
        let via = sip.one("Via")?;
        let listen = host(self.lab.host(side as usize, 1));
        let branch = param(via, "branch").unwrap_or_default();
        if via != format!("SIP/2.0/UDP {listen};branch={branch}") || !is_our_branch(branch) {
            return Err(format!("top Via is {via}"));
        }
        let method = sip.method();
        let came = (
            sip.call().ok_or("no call")?,
            sip.get("CSeq").to_owned(),
            0,
            side.other(),
        );
        let came = self.entered.get(&came);
        // The box has forgotten a call that is over: the answer in a late ACK to it goes on
        // as it came.
        let over = sip
            .call()
            .is_some_and(|call| self.ended.contains_key(&call));
        if over
            && method == "ACK"
            && came.is_some_and(|came| !came.body.is_empty() && came.body == sip.body)
        {
            return Ok(());
        }
        let key = format!("{branch} {method}");
        if let Some(before) = self.requests.get(&key) {
            // The forwarded ACK of a repeated ACK has the same branch and is the same.
            return same(before, &datagram.payload);
        }
        if sip.all("Via").count() == 1 {
            self.our_own_request(branch, sip)?;
        } else {
            forwarded(
                &self.lab,
                came.ok_or("nobody sent this request")?,
                sip,
                side,
            )?;
        }
        self.requests.insert(key, datagram.payload.clone());
        Ok(())
    }

    /// A CANCEL or the ACK to a failure (RFC 3261 §9.1, §17.1.1.3).
    fn our_own_request(&self, branch: &str, sip: &Sip) -> Result<(), String> {
        if !matches!(sip.method(), "CANCEL" | "ACK") {
            return Err("a request without the sender's Via".to_owned());
        }
        let invite = self.requests.get(&format!("{branch} INVITE"));
        let invite = Sip::read(invite.ok_or("it follows no INVITE")?)?;
        for name in ["From", "Call-ID", "Via"] {
            if sip.one(name) != invite.one(name) {
                return Err(format!("{name} is not the INVITE's"));
            }
        }
        if sip.method() == "CANCEL" && sip.get("To") != invite.get("To") {
            return Err("To is not the INVITE's".to_owned());
        }
        if sip.uri() != invite.uri() || sip.cseq()?.0 != invite.cseq()?.0 {
            return Err("URI or CSeq is not the INVITE's".to_owned());
        }
        Ok(())
    }

    fn response_leaves(
        &mut self,
        now: Tick,
        side: Side,
        status: u16,
        datagram: &Datagram,
        sip: &Sip,
    ) -> Result<(), String> {
        let cseq = sip.get("CSeq").to_owned();
        let call = sip.call().ok_or("no call")?;
        let asked = self.entered.get(&(call, cseq.clone(), 0, side));
        let asked = asked.ok_or("a response to what nobody asked")?;
        if sip.all("Via").count() != 1 {
            return Err("not exactly one Via".to_owned());
        }
        stamped(&self.lab, asked.get("Via"), sip.get("Via"), side)?;
        for name in ["From", "Call-ID"] {
            if sip.one(name) != asked.one(name) {
                return Err(format!("{name} is not the request's"));
            }
        }
        self.unheard
            .retain(|(c, s, from)| (*c, s, *from) != (call, &cseq, side));
        let came = self
            .entered
            .get(&(call, cseq.clone(), status, side.other()));
        match came {
            Some(came) if came.all("Via").count() == 2 => passed_back(&self.lab, came, sip, side)?,
            _ => our_own_response(status, sip)?,
        }
        if sip.method() == "CANCEL" {
            // Answered without state: once the INVITE is forgotten, 5 s after its ACK, a
            // repetition of the CANCEL gets 481 where the first got 200.
            return Ok(());
        }
        let branch = param(sip.get("Via"), "branch")
            .unwrap_or_default()
            .to_owned();
        let history = self.responses.entry((side, branch, cseq)).or_default();
        history.take(status, &datagram.payload)?;
        if sip.method() == "BYE" && status >= 200 {
            self.ended.entry(call).or_insert(now);
        }
        Ok(())
    }
}

impl History {
    /// One final response, or 2xx to INVITE; nothing provisional behind it.
    fn take(&mut self, status: u16, bytes: &[u8]) -> Result<(), String> {
        match &self.last {
            None if status >= 200 => {
                self.last = Some((status, bytes.to_vec()));
                Ok(())
            }
            None => Ok(()),
            Some((last, _)) if *last != status => Err(format!("after {last} to the same request")),
            Some((_, before)) => same(before, bytes),
        }
    }
}

fn key(sip: &Sip, side: Side) -> Option<Key> {
    Some((
        sip.call()?,
        sip.get("CSeq").to_owned(),
        sip.status().unwrap_or(0),
        side,
    ))
}

fn same(before: &[u8], now: &[u8]) -> Result<(), String> {
    if before == now {
        return Ok(());
    }
    let [before, now] = [before, now].map(String::from_utf8_lossy);
    Err(format!(
        "repeated, but not the same:\n{before}\n-- now --\n{now}"
    ))
}

fn is_our_branch(branch: &str) -> bool {
    let base32 = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    branch
        .strip_prefix("z9hG4bK")
        .is_some_and(|rest| rest.len() == 32 && rest.chars().all(base32))
}

/// RFC 3261 §18.2.1, RFC 3581 §4: `received` and `rport` in the Via of who asked, all else
/// as it was.
fn stamped(lab: &Lab, came: &str, left: &str, asker: Side) -> Result<(), String> {
    let source = lab.peer(asker as usize);
    let (received, rport) = (source.ip().to_string(), source.port().to_string());
    if param(left, "received") != Some(&received) || param(left, "rport") != Some(&rport) {
        return Err(format!("no source in {left}"));
    }
    let bare = left
        .replace(&format!(";received={received}"), "")
        .replace(&format!("rport={rport}"), "rport");
    if bare == came {
        Ok(())
    } else {
        Err(format!("Via was {came} and is {left}"))
    }
}

/// RFC 3261 §16.6: what a request must look like behind the box.
fn forwarded(lab: &Lab, came: &Sip, left: &Sip, side: Side) -> Result<(), String> {
    let mut vias = left.all("Via").skip(1);
    stamped(
        lab,
        came.get("Via"),
        vias.next().unwrap_or_default(),
        side.other(),
    )?;
    if left.get("Max-Forwards") != "69" {
        return Err(format!("Max-Forwards {}", left.get("Max-Forwards")));
    }
    let dialog_begins = left.method() == "INVITE" && tag(left.get("To")).is_none();
    // The parties know no other Route than the two values that are ours.
    if let Some(route) = left.all("Route").next() {
        return Err(format!("Route: {route} is left"));
    }
    let routes: Vec<&str> = left.all("Record-Route").collect();
    let expected_routes = if dialog_begins { 2 } else { 0 };
    if routes.len() != expected_routes {
        return Err(format!("Record-Route: {routes:?}"));
    }
    // The value of the callee's side on top, and the same cookie in both.
    for (route, listen) in routes
        .iter()
        .zip([lab.listen(side as usize), lab.listen(side.other() as usize)])
    {
        let cookie = param(bracketed(route), "tl").unwrap_or_default();
        if *route != format!("<sip:{};lr;tl={cookie}>", host(listen.ip())) || cookie.len() != 16 {
            return Err(format!("Record-Route: {routes:?}"));
        }
    }
    let theirs = host(lab.host(side.other() as usize, 1));
    let next = host(lab.host(side as usize, 2));
    let uri = if tag(left.get("To")).is_none() {
        came.uri().replace(&theirs, &next)
    } else {
        came.uri().to_owned()
    };
    if left.uri() != uri {
        return Err(format!("Request-URI {}, not {uri}", left.uri()));
    }
    let changes = ["Via", "Max-Forwards", "Record-Route", "Route"];
    untouched(lab, came, left, side, &changes)
}

/// RFC 3261 §16.7: what a response must look like in front of the box.
fn passed_back(lab: &Lab, came: &Sip, left: &Sip, side: Side) -> Result<(), String> {
    if came.start != left.start {
        return Err(format!("{:?} became {:?}", came.start, left.start));
    }
    if came.all("Via").nth(1) != Some(left.get("Via")) {
        return Err("the Via below ours is not the one on top".to_owned());
    }
    untouched(lab, came, left, side, &["Via"])
}

/// All headers but those in `changes` are as they came, in their order; so is the body, but
/// for the addresses of its media, which are ours.
fn untouched(
    lab: &Lab,
    came: &Sip,
    left: &Sip,
    side: Side,
    changes: &[&str],
) -> Result<(), String> {
    let rest = |sip: &Sip| -> Vec<(String, String)> {
        sip.headers
            .iter()
            .filter(|(name, _)| !changes.contains(&name.as_str()))
            .cloned()
            .collect()
    };
    if rest(came) != rest(left) {
        return Err(format!("headers {:?} became {:?}", rest(came), rest(left)));
    }
    if came.body.is_empty() && left.body.is_empty() {
        return Ok(());
    }
    let relay = media::address_in(&left.body)?;
    let (first, last) = lab::MEDIA_PORTS[side as usize];
    let ours = relay.ip() == lab.host(side as usize, 1);
    if !ours || !(first..=last).contains(&relay.port()) || relay.port() % 2 != 0 {
        return Err(format!("the SDP names {relay}"));
    }
    if media::rewritten(&came.body, &left.body)? != left.body {
        return Err(format!("SDP was\n{}\nand is\n{}", came.body, left.body));
    }
    Ok(())
}

/// The answers that the box may give itself when nobody else gave them.
fn our_own_response(status: u16, sip: &Sip) -> Result<(), String> {
    let allowed = match sip.method() {
        "INVITE" => matches!(status, 100 | 408 | 487 | 503),
        "CANCEL" => matches!(status, 200 | 481),
        "OPTIONS" => matches!(status, 200 | 503),
        _ => false,
    };
    if !allowed {
        return Err("nobody gave this answer".to_owned());
    }
    if !sip.body.is_empty() || (tag(sip.get("To")).is_none() && status != 100) {
        return Err("a body, or no To tag, in an answer of the box".to_owned());
    }
    Ok(())
}
