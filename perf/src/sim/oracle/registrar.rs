//! The registrar of the box, said once more (RFC 3261 §10.3): which contacts a user has, and what the
//! answer to a REGISTER says of them. One of the simulator names one contact, and so does every other
//! of its Call-ID.
//!
//! Where contacts are kept beyond a restart, each change is told in the step in which it is acknowledged, and
//! what was written is there again once it was given back: until then the box may know it or not.

use std::collections::HashMap;
use std::net::SocketAddr;

use trunkline_dataplane::letters::Told;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::sip::registrar::Record;
use trunkline_dataplane::sip::registrar::Rules;
use trunkline_dataplane::tick::Tick;

use super::LATE_MS;
use super::Oracle;
use super::ledger::Asked;
use super::located::Place;
use crate::sim::phone;
use crate::sim::sip::Sip;
use crate::sim::sip::bracketed;
use crate::sim::sip::param;

/// A contact, while it lasts.
#[derive(Clone, Debug)]
struct Bound {
    uri: String,
    until: Tick,
    /// Where its REGISTER came from.
    to: SocketAddr,
    /// How much it is preferred, in thousandths.
    q: u16,
    /// Since when it is as it is.
    since: Tick,
}

/// A contact that is written, as of the last restart.
#[derive(Debug)]
struct Stored {
    bound: Bound,
    /// When the box was given it back.
    given: Option<Tick>,
    /// It was removed before: then the box need not know it, nor the store that it is gone.
    is_doubtful: bool,
}

/// What is known of a user.
#[derive(Debug, Default)]
struct User {
    bound: Vec<Bound>,
    stored: Vec<Stored>,
    /// What it had until this step.
    past: Vec<(Bound, Tick)>,
    /// The last CSeq of each Call-ID.
    done: Vec<(String, u32)>,
}

/// A change that was acknowledged in this step.
#[derive(Debug)]
struct Change {
    user: String,
    uri: String,
    /// `None`: it was removed.
    until: Option<Tick>,
    received: SocketAddr,
    /// Only the box knows whether there was anything to change.
    is_doubtful: bool,
    is_told: bool,
}

/// Whose contacts the box has.
#[derive(Debug)]
pub(super) struct Registrar {
    users: HashMap<String, User>,
    is_kept: bool,
    /// For other boxes too: what they have written may be on its way.
    is_shared: bool,
    /// When all that was written had been given back.
    loaded: Option<Tick>,
    changes: Vec<Change>,
    /// REGISTERs that may wait for what is written of their user, and until when.
    waiting: Vec<((usize, usize), Tick)>,
}

impl Oracle {
    /// True for a REGISTER that the box itself answers.
    pub(super) fn is_register(&self, asked: &Asked) -> bool {
        asked.request.method() == "REGISTER" && self.site.is_phone(asked.source.ip())
    }
}

impl Registrar {
    pub fn new(kept: Location) -> Registrar {
        Registrar {
            users: HashMap::new(),
            is_kept: kept != Location::Nowhere,
            is_shared: kept == Location::Shared,
            loaded: None,
            changes: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// The box has forgotten all, but what is written.
    pub fn restarts(&mut self) {
        self.users.clear();
        self.changes.clear();
        self.waiting.clear();
        self.loaded = None;
    }

    pub fn has_stored(&mut self, written: &Record<'_>) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let stored = Stored {
            bound: Bound {
                uri: text(written.uri),
                until: written.expires,
                to: written.received,
                q: written.q,
                since: Tick(0),
            },
            given: None,
            is_doubtful: false,
        };
        let user = self.users.entry(text(written.user)).or_default();
        user.stored.push(stored);
    }

    /// True until all that was written had been given back in an earlier step.
    pub fn is_loading(&self, now: Tick) -> bool {
        self.is_kept && self.loaded.is_none_or(|loaded| loaded == now)
    }

    /// True where a contact of a user is written that lasts.
    pub fn is_stored(&self, user: &str, now: Tick) -> bool {
        let stored = self.users.get(user).map_or(&[][..], |user| &user.stored);
        let mut live = stored.iter().filter(|stored| stored.bound.until > now);
        live.any(|stored| !stored.is_doubtful)
    }

    /// Where a user may be reached by a request that is located in this step; `is_told`: it has waited until the
    /// store had told all that it has of the user.
    pub fn places(&mut self, user: &str, now: Tick, is_told: bool) -> Vec<Place> {
        let Some(user) = self.users.get_mut(user) else {
            return Vec::new();
        };
        user.pass_time(now);
        let place = |bound: &Bound, is_sure| Place {
            uri: bound.uri.clone(),
            to: bound.to,
            q: bound.q,
            is_sure,
        };
        let bound = user.bound.iter();
        let bound = bound.map(|bound| place(bound, bound.since < now));
        let past = user.past.iter().filter(|(bound, _)| bound.until > now);
        let past = past.map(|(bound, _)| place(bound, false));
        let stored = user.stored.iter().map(|stored| {
            let is_there = is_told && stored.given.is_some() && !stored.is_doubtful;
            place(&stored.bound, is_there)
        });
        bound.chain(past).chain(stored).collect()
    }

    pub fn gives_back(&mut self, now: Tick, (user, uri): &(String, String)) {
        let user = self.users.get_mut(user);
        let stored = user.into_iter().flat_map(|user| &mut user.stored);
        for stored in stored.filter(|stored| stored.bound.uri == *uri) {
            stored.given.get_or_insert(now);
        }
    }

    pub fn has_loaded(&mut self, now: Tick) {
        self.loaded.get_or_insert(now);
    }

    /// A REGISTER of who has proved who it is: it may wait until it is known what is written, but not for longer
    /// than any other request. False where it may not.
    pub fn waits(&mut self, now: Tick, who: (usize, usize), until: Tick) -> bool {
        let waits = self.is_loading(now);
        if waits {
            self.ends(who);
            self.waiting.push((who, until));
        }
        waits
    }

    /// It waits no more.
    pub fn ends(&mut self, who: (usize, usize)) {
        self.waiting.retain(|(of, _)| *of != who);
    }

    /// A call is forgotten: one of it that still waits.
    pub fn forget(&mut self, call: usize) -> Result<(), String> {
        let count = self.waiting.len();
        self.waiting.retain(|((of, _), _)| *of != call);
        match self.waiting.len() == count {
            true => Ok(()),
            false => Err("a REGISTER waits for ever".to_owned()),
        }
    }

    /// The step ends: each change has been told as it is now, and nobody waits for too long.
    pub fn settle(&mut self, now: Tick) -> Result<(), (Option<usize>, String)> {
        let changes = std::mem::take(&mut self.changes);
        for (at, change) in changes.iter().enumerate().filter(|_| self.is_kept) {
            let is_same = |later: &Change| later.user == change.user && later.uri == change.uri;
            let is_last = !changes[at + 1..].iter().any(is_same);
            if is_last && !change.is_told && !change.is_doubtful {
                return Err((None, format!("{change:?} is not told")));
            }
        }
        let late = |(_, until): &&(_, Tick)| now > until.plus_ms(LATE_MS);
        match self.waiting.iter().find(late) {
            None => Ok(()),
            Some(((call, _), _)) => Err((
                Some(*call),
                "a REGISTER waits for longer than it may".to_owned(),
            )),
        }
    }

    /// A worker tells of a change.
    pub fn is_told(&mut self, told: Told, record: &Record<'_>) -> Result<(), String> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (user, uri) = (text(record.user), text(record.uri));
        let until = (told == Told::Bound).then_some(record.expires);
        let is_it = |change: &&mut Change| {
            let same = (&change.user, &change.uri, change.until) == (&user, &uri, until);
            same && !change.is_told && (until.is_none() || change.received == record.received)
        };
        // Of several it is the last: a change is told as it is by then.
        let change = self.changes.iter_mut().rev().find(is_it);
        let change = change.ok_or_else(|| format!("{told:?} {uri}, which nobody has changed"))?;
        change.is_told = true;
        if until.is_none()
            && let Some(user) = self.users.get_mut(&user)
        {
            user.stored.retain(|stored| stored.bound.uri != uri);
        }
        Ok(())
    }

    /// Any status with which a REGISTER is judged anew each time that it comes: it is done once.
    pub const fn is_of_each_copy(status: Option<u16>) -> bool {
        matches!(status, Some(200 | 500))
    }

    /// True for a REGISTER by which its contact is bound, none later of its Call-ID having been done.
    pub fn has_done(&self, now: Tick, request: &Sip) -> bool {
        let value = phone::credentials_in(request);
        let name = value.and_then(|value| phone::param(value, "username"));
        let Some(user) = name.and_then(|name| self.users.get(name)) else {
            return false;
        };
        let (call_id, uri) = (request.get("Call-ID"), bracketed(request.get("Contact")));
        let mut done = user.done.iter();
        let mut bound = user.bound.iter();
        request.method() == "REGISTER"
            && done.any(|(of, cseq)| of == call_id && *cseq == request.cseq())
            && bound.any(|bound| bound.uri == uri && bound.until > now)
    }

    /// The answer to a REGISTER of somebody who has proved who it is, that came from `received`. What it says
    /// is done.
    pub fn answers(
        &mut self,
        now: Tick,
        received: SocketAddr,
        request: &Sip,
        sip: &Sip,
    ) -> Result<(), String> {
        let rules = Rules::default();
        let value = phone::credentials_in(request);
        let name = value.and_then(|value| phone::param(value, "username"));
        let name = name.unwrap_or_default().to_owned();
        let is_loading = self.is_loading(now);
        let user = self.users.entry(name.clone()).or_default();
        user.pass_time(now);
        let contact = request.get("Contact");
        let (uri, asked) = (bracketed(contact), param(contact, "expires"));
        let asked_s = asked.and_then(|seconds| seconds.parse().ok());
        let asked_s: u32 = asked_s.unwrap_or(rules.default_s);

        let (call_id, cseq) = (request.get("Call-ID"), request.cseq());
        let before = user.done.iter().find(|(of, _)| of == call_id);
        let before = before.map_or(0, |(_, cseq)| *cseq);
        let is_bound = user.bound.iter().any(|bound| bound.uri == uri);
        let is_full = user.bound.len() + user.stored.len() >= usize::from(rules.contacts_max);
        match sip.status() {
            Some(200) if cseq < before => return Err("though a later one was done".to_owned()),
            Some(200) if cseq == before => {}
            Some(200) => {
                user.done.retain(|(of, _)| of != call_id);
                user.done.push((call_id.to_owned(), cseq));
                let before = user.bound.iter().position(|bound| bound.uri == uri);
                let before = before.map(|at| user.bound.remove(at));
                let q = param(contact, "q").map_or(1_000, thousandths);
                let is_same = |before: &&Bound| (before.to, before.q) == (received, q);
                let since = before
                    .as_ref()
                    .filter(is_same)
                    .map_or(now, |before| before.since);
                user.past.extend(before.map(|before| (before, now)));
                let was_stored = user.stored.iter().any(|stored| stored.bound.uri == uri);
                let until = now.plus_ms(1_000 * u64::from(asked_s.min(rules.max_s)));
                let uri = uri.to_owned();
                let stored = user.stored.iter_mut();
                for stored in stored.filter(|stored| stored.bound.uri == uri) {
                    stored.is_doubtful = true;
                }
                if until > now {
                    let of_it = |stored: &mut Stored| stored.bound.uri == uri;
                    // A call that was located before it in this step may have had what was given back.
                    let given = user
                        .stored
                        .extract_if(.., of_it)
                        .filter(|it| it.given.is_some());
                    user.past.extend(given.map(|it| (it.bound, now)));
                    let uri = uri.clone();
                    user.bound.push(Bound {
                        uri,
                        until,
                        to: received,
                        q,
                        since,
                    });
                }
                // Where the store may have more, the end of what is not known here is told as well.
                if until > now || is_bound || was_stored || is_loading || self.is_shared {
                    self.changes.push(Change {
                        user: name,
                        uri,
                        until: Some(until).filter(|until| *until > now),
                        received,
                        is_doubtful: until == now && !is_bound && !(was_stored && is_loading),
                        is_told: false,
                    });
                }
            }
            // RFC 3261 §10.3 step 7: out of order.
            Some(500) if cseq < before => return Ok(()),
            Some(403) if is_full && !is_bound && asked_s > 0 => return Ok(()),
            _ => return Err("with no reason".to_owned()),
        }
        user.reads(now, sip)
    }
}

impl User {
    /// What has ended is not there, and what was given back in an earlier step is.
    fn pass_time(&mut self, now: Tick) {
        self.bound.retain(|bound| bound.until > now);
        self.stored.retain(|stored| stored.bound.until > now);
        let is_there = |stored: &mut Stored| {
            !stored.is_doubtful && stored.given.is_some_and(|given| given < now)
        };
        let there = self.stored.extract_if(.., is_there);
        self.bound.extend(there.map(|stored| stored.bound));
        self.past.retain(|(_, until)| *until == now);
    }

    /// RFC 3261 §10.3 step 8: all of them, with what is left of their time in whole seconds.
    fn reads(&self, now: Tick, sip: &Sip) -> Result<(), String> {
        let left_s = |bound: &Bound| bound.until.since(now).div_ceil(1_000_000_000);
        let line = |bound: &Bound| {
            let preference = match bound.q {
                1_000 => String::new(),
                q => format!(";q=0.{}", q / 100),
            };
            format!("<{}>{preference};expires={}", bound.uri, left_s(bound))
        };
        let mut expected: Vec<_> = self.bound.iter().map(line).collect();
        let mut said: Vec<_> = sip.all("Contact").collect();
        for stored in &self.stored {
            // The box need not know it yet.
            let line = line(&stored.bound);
            if said.contains(&line.as_str()) {
                expected.push(line);
            }
        }
        expected.sort_unstable();
        said.sort_unstable();
        match expected == said {
            true => Ok(()),
            false => Err(format!("it says {said:?}, not {expected:?}")),
        }
    }
}

/// A qvalue (RFC 3261 §25.1) in thousandths.
fn thousandths(q: &str) -> u16 {
    let (whole, part) = q.split_once('.').unwrap_or((q, ""));
    let digits = format!("{whole}{part:0<3}");
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use trunkline_dataplane::ids::DomainIndex;
    use trunkline_dataplane::ids::ListenIndex;

    const NOW: Tick = Tick::ms(5_000);
    const FROM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 100)), 5060);

    fn register(contact: &str, call_id: &str, cseq: u32) -> Sip {
        message(
            "REGISTER sip:example.com SIP/2.0",
            &[contact],
            call_id,
            cseq,
        )
    }

    fn message(start: &str, contacts: &[&str], call_id: &str, cseq: u32) -> Sip {
        let contacts: String = contacts
            .iter()
            .map(|contact| format!("Contact: {contact}\r\n"))
            .collect();
        let text = format!(
            "{start}\r\nVia: v;branch=b\r\nFrom: <sip:u@example.com>;tag=t\r\n\
             To: <sip:u@example.com>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n\
             Authorization: Digest username=\"u\",realm=\"example.com\"\r\n\
             {contacts}Content-Length: 0\r\n\r\n"
        );
        Sip::read(text).unwrap()
    }

    /// Whether the registrar may answer so.
    fn may(registrar: &mut Registrar, request: &Sip, status: u16, contacts: &[&str]) -> bool {
        let answer = message(&format!("SIP/2.0 {status} X"), contacts, "4-c", 1);
        registrar.answers(NOW, FROM, request, &answer).is_ok()
    }

    #[test]
    fn a_contact_is_bound_as_long_as_was_asked_and_no_longer_than_is_granted() {
        let mut registrar = Registrar::new(Location::Nowhere);
        let hour = register("<sip:u@a>;expires=3600", "4-c", 2);
        assert!(!may(&mut registrar, &hour, 200, &[]));
        assert!(may(&mut registrar, &hour, 200, &["<sip:u@a>;expires=3600"]));
        assert!(!may(&mut registrar, &hour, 500, &[]), "nothing later came");
        let day = register("<sip:u@b>;expires=86400", "5-c", 1);
        let both = ["<sip:u@b>;expires=7200", "<sip:u@a>;expires=3600"];
        assert!(may(&mut registrar, &day, 200, &both));
        let gone = register("<sip:u@a>;expires=0", "4-c", 3);
        assert!(may(&mut registrar, &gone, 200, &both[..1]));
        assert!(!may(&mut registrar, &hour, 200, &both));
        assert!(may(&mut registrar, &hour, 500, &[]));
    }

    #[test]
    fn no_more_contacts_are_refused_than_are_too_many() {
        let mut registrar = Registrar::new(Location::Nowhere);
        let mut said = Vec::new();
        for number in 0..10 {
            let contact = format!("<sip:u@{number}>;expires=600");
            said.push(contact.clone());
            let request = register(&contact, &format!("{number}-c"), 1);
            let said: Vec<_> = said.iter().map(String::as_str).collect();
            assert!(!may(&mut registrar, &request, 403, &[]));
            assert!(may(&mut registrar, &request, 200, &said));
        }
        let request = register("<sip:u@10>;expires=600", "10-c", 1);
        assert!(may(&mut registrar, &request, 403, &[]));
    }

    fn key(uri: &str) -> (String, String) {
        ("u".to_owned(), uri.to_owned())
    }

    /// What a worker tells of a contact of the user.
    fn letter(uri: &str, until: Tick) -> Record<'_> {
        Record {
            aor: 1,
            domain: DomainIndex(0),
            user: b"u",
            uri: uri.as_bytes(),
            params: b"",
            path: b"",
            received: FROM,
            listen: ListenIndex(0),
            expires: until,
            taken: NOW,
            q: 1_000,
            call_id: 1,
            cseq: 1,
            transaction: 1,
            reg_id: None,
        }
    }

    #[test]
    fn what_was_written_is_there_again_once_it_was_given_back() {
        let until = NOW.plus_ms(60_000);
        for is_given in [false, true] {
            let mut registrar = Registrar::new(Location::Own);
            registrar.has_stored(&letter("sip:u@a", until));
            if is_given {
                registrar.gives_back(Tick::ms(4_990), &key("sip:u@a"));
            }
            let request = register("<sip:u@b>;expires=60", "5-c", 1);
            let both = ["<sip:u@b>;expires=60", "<sip:u@a>;expires=60"];
            let alone = may(&mut registrar, &request, 200, &both[..1]);
            assert_eq!(alone, !is_given);
            let again = register("<sip:u@b>;expires=60", "5-c", 2);
            assert!(may(&mut registrar, &again, 200, &both), "it may be there");
        }
    }

    #[test]
    fn what_is_given_back_and_registered_anew_in_one_step_may_have_been_called_between_them() {
        let until = NOW.plus_ms(60_000);
        for is_given in [false, true] {
            let mut registrar = Registrar::new(Location::Shared);
            registrar.has_stored(&letter("sip:u@a", until));
            if is_given {
                registrar.gives_back(NOW, &key("sip:u@a"));
            }
            let moved = SocketAddr::new(FROM.ip(), 6_000);
            let request = register("<sip:u@a>;expires=60", "5-c", 1);
            let said = ["<sip:u@a>;expires=60"];
            let answer = message("SIP/2.0 200 X", &said, "4-c", 1);
            assert!(registrar.answers(NOW, moved, &request, &answer).is_ok());
            let mut places = registrar.places("u", NOW, true).into_iter();
            assert!(places.any(|place| place.to == moved));
            assert_eq!(places.any(|place| place.to == FROM), is_given);
        }
    }

    #[test]
    fn each_change_is_told_as_it_was_acknowledged() {
        let until = NOW.plus_ms(60_000);
        let request = register("<sip:u@a>;expires=60", "5-c", 1);
        let mut registrar = Registrar::new(Location::Own);
        let bind = |registrar: &mut Registrar| {
            assert!(may(registrar, &request, 200, &["<sip:u@a>;expires=60"]));
        };
        bind(&mut registrar);
        assert!(registrar.settle(NOW).is_err(), "it was not told");
        registrar.restarts();
        bind(&mut registrar);
        let other = letter("sip:u@a", until.plus_ms(1));
        assert!(registrar.is_told(Told::Bound, &other).is_err());
        let it = letter("sip:u@a", until);
        assert!(registrar.is_told(Told::Bound, &it).is_ok());
        assert!(registrar.is_told(Told::Bound, &it).is_err(), "once");
        assert!(registrar.settle(NOW).is_ok());
        assert!(registrar.is_told(Told::Removed, &it).is_err());
        let gone = register("<sip:u@a>;expires=0", "5-c", 2);
        assert!(may(&mut registrar, &gone, 200, &[]));
        assert!(registrar.is_told(Told::Removed, &it).is_ok());
        assert!(registrar.settle(NOW).is_ok());
    }

    #[test]
    fn the_end_of_what_is_only_written_is_told_while_it_has_not_come_back() {
        let until = NOW.plus_ms(60_000);
        let gone = register("<sip:u@a>;expires=0", "5-c", 2);
        let mut registrar = Registrar::new(Location::Own);
        let it = letter("sip:u@a", until);
        registrar.has_stored(&it);
        assert!(may(&mut registrar, &gone, 200, &[]));
        assert!(registrar.settle(NOW).is_err(), "it was not told");
        registrar.restarts();
        registrar.has_stored(&it);
        assert!(may(&mut registrar, &gone, 200, &[]));
        assert!(registrar.is_told(Told::Removed, &it).is_ok());
        assert!(registrar.settle(NOW).is_ok());
        // What is nowhere may be told, and need not.
        let nobody = register("<sip:u@b>;expires=0", "6-c", 1);
        assert!(may(&mut registrar, &nobody, 200, &[]));
        assert!(registrar.settle(NOW).is_ok());
    }

    #[test]
    fn a_register_waits_for_what_is_written_and_not_for_ever() {
        let mut registrar = Registrar::new(Location::Own);
        let until = NOW.plus_ms(5_000);
        assert!(registrar.waits(NOW, (5, 0), until));
        assert!(registrar.settle(until).is_ok());
        assert!(registrar.settle(until.plus_ms(100)).is_err());
        registrar.ends((5, 0));
        assert!(registrar.settle(until.plus_ms(100)).is_ok());
        registrar.has_loaded(NOW);
        assert!(!registrar.waits(NOW.plus_ms(1), (6, 0), until));
    }
}
