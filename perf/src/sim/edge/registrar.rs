//! The registrar elsewhere, and who calls the phones from there.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::DOMAIN;
use super::phone::Client;
use super::phone::answer;
use crate::sim::network::Body;
use crate::sim::network::Packet;
use crate::sim::random::Random;
use crate::sim::sip::Draft;
use crate::sim::sip::Sip;
use crate::sim::sip::bracketed;
use crate::sim::sip::host;
use crate::sim::sip::param;

/// How it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// Nothing comes of a request.
    Deaf,
    /// A request is done, and nothing is said.
    Mute,
    /// Everything is refused.
    Refuses,
    /// It is overloaded.
    Busy,
}

/// A contact as it is bound there: what is true.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The contact.
    pub uri: String,
    /// Its parameters but for the interval.
    pub params: String,
    /// The Path of its REGISTER, in brackets.
    pub path: String,
    /// Until when.
    pub until: Tick,
    call_id: String,
    cseq: u32,
}

/// What a call is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// A Path as it was given.
    None,
    /// One of which a character is another.
    Changed,
    /// One of another box.
    Foreign,
    /// One as it was given, by who is not the registrar.
    Stolen,
}

/// The registrar.
#[derive(Debug)]
pub struct Registrar {
    at: SocketAddr,
    /// Who is another trunk's.
    stranger: SocketAddr,
    /// The box, as it sees it.
    edge: SocketAddr,
    moods: Vec<(Tick, Mood)>,
    /// The least and the most that it grants, in seconds.
    bounds: (u32, u32),
    /// It asks for credentials.
    pub challenges: bool,
    /// By user.
    pub users: HashMap<String, Vec<Bound>>,
    /// What it has answered, by branch.
    answered: HashMap<String, Rc<Sip>>,
    calls: Vec<Client>,
    called: u64,
    next: Tick,
    random: Random,
}

impl Registrar {
    /// One with no contacts; `at` is where it is, and who is not it.
    pub fn new(
        (at, stranger): (SocketAddr, SocketAddr),
        edge: SocketAddr,
        moods: Vec<(Tick, Mood)>,
        now: Tick,
        mut random: Random,
    ) -> Registrar {
        Registrar {
            at,
            stranger,
            edge,
            moods,
            bounds: (
                random.pick(&[1, 30, 60]),
                random.pick(&[90, 300, 1_800, 7_200]),
            ),
            challenges: random.happens(500),
            users: HashMap::new(),
            answered: HashMap::new(),
            calls: Vec::new(),
            called: 0,
            next: now.plus_ms(5_000),
            random,
        }
    }

    fn mood(&self, now: Tick) -> Mood {
        let past = self.moods.iter().rev().find(|(at, _)| *at <= now);
        past.map_or(Mood::Well, |(_, mood)| *mood)
    }

    /// When it wants to act.
    pub fn due(&self) -> Tick {
        let calls = self.calls.iter().map(|call| call.due());
        calls.min().unwrap_or(Tick::NEVER).min(self.next)
    }

    /// True while a call is under way.
    pub const fn is_waiting(&self) -> bool {
        !self.calls.is_empty()
    }

    /// A message reaches it.
    pub fn receive(
        &mut self,
        now: Tick,
        packet: &Packet,
        sip: &Rc<Sip>,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        if let Some(status) = sip.status() {
            let is_it = |call: &Client| status >= 200 && call.is_answered_by(sip);
            self.calls.retain(|call| !is_it(call));
            return Ok(());
        }
        let mood = self.mood(now);
        if sip.method() != "REGISTER" || mood == Mood::Deaf {
            return Ok(());
        }
        let known = self.answered.get(sip.branch()).cloned();
        let answer = match known {
            Some(answer) => answer,
            None => {
                let answer = self.answer(now, mood, sip)?;
                self.answered
                    .insert(sip.branch().to_owned(), answer.clone());
                answer
            }
        };
        if mood != Mood::Mute {
            out.push(Packet {
                source: self.at,
                destination: packet.source,
                body: Body::Sip(answer),
                damage: None,
            });
        }
        Ok(())
    }

    fn answer(&mut self, now: Tick, mood: Mood, sip: &Sip) -> Result<Rc<Sip>, String> {
        match mood {
            Mood::Refuses => return answer(sip, "403 Forbidden", &[]),
            Mood::Busy => return answer(sip, "503 Service Unavailable", &[]),
            Mood::Well | Mood::Mute | Mood::Deaf => {}
        }
        if self.challenges && sip.get("Authorization").is_empty() {
            let asks = format!("Digest realm=\"{DOMAIN}\",nonce=\"n\"");
            return answer(sip, "401 Unauthorized", &[("WWW-Authenticate", asks)]);
        }
        if !sip.get("Require").is_empty() {
            let unsupported = sip.get("Require").to_owned();
            return answer(sip, "420 Bad Extension", &[("Unsupported", unsupported)]);
        }
        let user = user_of(sip);
        let bound = self.users.entry(user).or_default();
        bound.retain(|bound| bound.until > now);
        let (call_id, cseq) = (sip.get("Call-ID"), sip.cseq());
        let contacts: Vec<_> = sip.all("Contact").collect();
        let is_star = contacts == ["*"];
        let is_asked =
            |bound: &Bound| is_star || contacts.iter().any(|value| bracketed(value) == bound.uri);
        let mut asked = bound.iter().filter(|bound| is_asked(bound));
        // RFC 3261 §10.3 step 7.
        if asked.any(|bound| bound.call_id == call_id && bound.cseq >= cseq) {
            return answer(sip, "500 Out of Order", &[]);
        }
        let (least_s, most_s) = self.bounds;
        for contact in contacts.iter().filter(|_| !is_star) {
            let asked_s = expires(contact)?;
            if asked_s > 0 && asked_s < least_s {
                let lines = [("Min-Expires", least_s.to_string())];
                return answer(sip, "423 Interval Too Brief", &lines);
            }
        }
        bound.retain(|bound| !is_asked(bound));
        for contact in contacts.iter().filter(|_| !is_star) {
            let granted_s = expires(contact)?.min(most_s);
            if granted_s > 0 {
                bound.push(Bound {
                    uri: bracketed(contact).to_owned(),
                    params: params(contact),
                    path: sip.get("Path").to_owned(),
                    until: now.plus_ms(1_000 * u64::from(granted_s)),
                    call_id: call_id.to_owned(),
                    cseq,
                });
            }
        }
        let mut lines: Vec<_> = bound
            .iter()
            .map(|bound| {
                let left_s = bound.until.since(now) / 1_000_000_000;
                let (uri, params) = (&bound.uri, &bound.params);
                ("Contact", format!("<{uri}>{params};expires={left_s}"))
            })
            .collect();
        lines.push(("Path", sip.get("Path").to_owned()));
        answer(sip, "200 OK", &lines)
    }

    /// Calls, and calls again; gives what call begins.
    pub fn fire(
        &mut self,
        now: Tick,
        may_begin: bool,
        foreign: impl Fn(&str) -> String,
        out: &mut Vec<Packet>,
    ) -> Result<Option<(Rc<Sip>, Trick)>, String> {
        self.calls.retain_mut(|call| call.fire(now, out));
        if now < self.next {
            return Ok(None);
        }
        self.next = match may_begin {
            true => now.plus_ms(self.random.between(200, 8_000)),
            false => Tick::NEVER,
        };
        let mut all: Vec<_> = self.users.values().flatten().collect();
        all.retain(|bound| bound.until > now);
        // Not in an order that only this process has.
        all.sort_by(|one, other| one.uri.cmp(&other.uri));
        if all.is_empty() || !may_begin {
            return Ok(None);
        }
        let at = self.random.between(0, all.len() as u64 - 1);
        let bound = all[usize::try_from(at).unwrap_or(0)].clone();
        let trick = match self.random.between(0, 99) {
            0..=7 => Trick::Changed,
            8..=12 => Trick::Foreign,
            13..=17 => Trick::Stolen,
            _ => Trick::None,
        };
        let path = match trick {
            Trick::None | Trick::Stolen => bound.path.clone(),
            Trick::Changed => self.changed(&bound.path),
            Trick::Foreign => foreign(&bound.path),
        };
        let from = match trick {
            Trick::Stolen => self.stranger,
            _ => self.at,
        };
        self.called += 1;
        let (count, method) = (self.called, self.random.pick(&["MESSAGE", "OPTIONS"]));
        // The number of the phone, which its Call-ID begins with.
        let number = bound.call_id.split('-').next().unwrap_or_default();
        let mut draft = Draft::new(format_args!("{method} {} SIP/2.0", bound.uri));
        let (ip, port) = (host(from.ip()), from.port());
        draft.push(
            "Via",
            format_args!("SIP/2.0/UDP {ip}:{port};branch=z9hG4bKcall{count}"),
        );
        draft.push("Max-Forwards", 70);
        draft.push("Route", path);
        draft.push("From", format_args!("<sip:caller@{DOMAIN}>;tag=c{count}"));
        draft.push("To", format_args!("<sip:callee@{DOMAIN}>"));
        draft.push("Call-ID", format_args!("{number}-call{count}"));
        draft.push("CSeq", format_args!("1 {method}"));
        let request = draft.finish("")?;
        let client = Client::new(request.clone(), (from, self.edge), now, out);
        self.calls.push(client);
        Ok(Some((request, trick)))
    }

    /// One character of the token is another.
    fn changed(&mut self, path: &str) -> String {
        let token = token_in(path);
        let at = self.random.between(0, token.len() as u64 - 1);
        let at = usize::try_from(at).unwrap_or(0);
        let mut letters: Vec<_> = token.chars().collect();
        letters[at] = if letters[at] == 'a' { 'b' } else { 'a' };
        path.replace(token, &letters.into_iter().collect::<String>())
    }
}

/// The user that a request is for.
pub fn user_of(sip: &Sip) -> String {
    let rest = bracketed(sip.get("To")).strip_prefix("sip:");
    let user = rest.and_then(|rest| rest.split('@').next());
    user.unwrap_or_default().to_owned()
}

/// The user part of a Path's URI.
pub fn token_in(path: &str) -> &str {
    let rest = bracketed(path).strip_prefix("sip:").unwrap_or_default();
    rest.split('@').next().unwrap_or_default()
}

/// For how long a contact asks; each of a phone's says so.
pub fn expires(contact: &str) -> Result<u32, String> {
    let said = param(contact, "expires").and_then(|said| said.parse().ok());
    said.ok_or_else(|| format!("no interval in {contact}"))
}

/// The parameters of a contact but for the interval.
pub fn params(contact: &str) -> String {
    let params = contact.split_once('>').map_or("", |(_, params)| params);
    let kept = params.split(';').filter(|param| !param.is_empty());
    let kept = kept.filter(|param| !param.starts_with("expires="));
    kept.map(|param| format!(";{param}")).collect()
}
