//! Requests to users of the box (RFC 3261 §16.5): which of their contacts one may reach, said once more.
//!
//! ```text
//!   some are known ──► the best of them, all at once, each where its REGISTER came from (RFC 5626 §5.3)
//!                      when those have failed, the next best of those that there were
//!   nobody is there ─► 480
//!   the location store may know more ─► waits, 5 s at most: it goes on with what that has, 503 where it says
//!                      nothing, 504 where nobody answers; never 480 to who has a contact
//! ```
//!
//! What changes in a step may be looked at before or after a request that comes in it: so what has become of a
//! request is judged when the step ends.

use std::collections::HashMap;
use std::net::SocketAddr;

use trunkline_dataplane::lab::DOMAIN;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::tick::Tick;

use super::Fault;
use super::LATE_MS;
use super::Oracle;
use super::choice::NO_ANSWER_MS;
use super::ledger::Ledger;
use super::ledger::Sent;
use crate::sim::sip::Sip;

/// How long a request waits for where its user is (`[subscribers] deadline`).
const PATIENCE_MS: u64 = 5_000;

/// Where a user may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub uri: String,
    /// Where its REGISTER came from.
    pub to: SocketAddr,
    /// How much it is preferred, in thousandths.
    pub q: u16,
    /// The box knows it, and did before this step.
    pub is_sure: bool,
}

impl Place {
    fn is_of(&self, sent: &Sent) -> bool {
        self.uri == sent.request.uri() && self.to == sent.to
    }
}

/// A request to a user of which nothing has come yet, or in this step.
#[derive(Debug)]
struct Search {
    /// Call and place.
    who: (usize, usize),
    user: String,
    began: Tick,
    /// The box has said so, in this step.
    refused: Option<u16>,
}

/// The requests to users under way.
#[derive(Debug, Default)]
pub(super) struct Searches {
    all: Vec<Search>,
    /// How often the location store was asked for a user and has not answered.
    open: HashMap<String, usize>,
    /// Who was sought in this step, and whether the store said what it has.
    sought: Vec<(String, bool)>,
}

impl Searches {
    /// The box has forgotten all.
    pub fn restarts(&mut self) {
        *self = Searches::default();
    }

    /// A call is forgotten.
    pub fn forget(&mut self, call: usize) {
        self.all.retain(|search| search.who.0 != call);
    }

    /// It is none.
    pub fn ends(&mut self, who: (usize, usize)) {
        self.all.retain(|search| search.who != who);
    }

    pub fn begin(&mut self, now: Tick, who: (usize, usize), user: String) {
        self.ends(who);
        self.all.push(Search {
            who,
            user,
            began: now,
            refused: None,
        });
    }

    fn was_sought(&self, user: &str) -> bool {
        self.sought.iter().any(|(sought, _)| sought == user)
    }

    /// True where the location store was asked for a user of whom it has not said in this step that it cannot be
    /// asked.
    fn is_answered(&self, user: &str) -> bool {
        let mut said = self.sought.iter().filter(|(sought, _)| sought == user);
        said.clone().next().is_some() && said.all(|(_, answered)| *answered)
    }
}

/// The user that a request is to which begins something.
pub(super) fn user_called(request: &Sip) -> Option<&str> {
    let begins = !matches!(request.method(), "ACK" | "CANCEL" | "REGISTER");
    let (user, host) = request.uri().strip_prefix("sip:")?.split_once('@')?;
    let is_to_user = begins && request.to_tag().is_empty() && host == DOMAIN;
    is_to_user.then_some(user)
}

impl Oracle {
    /// True for a request to a user of this box.
    pub(super) fn is_to_user(&self, request: &Sip) -> bool {
        self.site.domain.is_some() && user_called(request).is_some()
    }

    /// A request goes on to where it leads: to a user it is located, now or later. False where it is to none.
    pub(super) fn searches(&mut self, now: Tick, who: (usize, usize), request: &Sip) -> bool {
        let user = user_called(request).filter(|_| self.site.domain.is_some());
        if let Some(user) = user {
            self.located.begin(now, who, user.to_owned());
        }
        user.is_some()
    }

    /// True for one that still waits when its CANCEL comes, for nothing that has come in this step.
    pub(super) fn is_searching(&self, now: Tick, who: (usize, usize)) -> bool {
        let search = self.located.all.iter().find(|search| search.who == who);
        search.is_some_and(|search| search.began < now && !self.located.was_sought(&search.user))
    }

    /// The location store is asked for a user.
    pub fn seeks(&mut self, user: &str) {
        *self.located.open.entry(user.to_owned()).or_default() += 1;
    }

    /// It has told a worker all that it has of a user, or cannot.
    pub fn is_sought(&mut self, user: &str, answered: bool) {
        self.located.sought.push((user.to_owned(), answered));
        if let Some(open) = self.located.open.get_mut(user) {
            *open = open.saturating_sub(1);
        }
    }

    /// The box says that it has found nobody, which is judged when the step ends. False where that is no answer to
    /// this request.
    pub(super) fn finds_nobody(
        &mut self,
        ledger: &Ledger,
        who: (usize, usize),
        status: u16,
    ) -> bool {
        let is_sent = ledger.branches(who.1).next().is_some();
        let mut all = self.located.all.iter_mut();
        let search = all.find(|search| search.who == who && !is_sent);
        match search.filter(|_| matches!(status, 480 | 503 | 504)) {
            Some(search) => {
                search.refused = Some(status);
                true
            }
            None => false,
        }
    }

    /// The step ends: whatever became of a request to a user, it was right, and nobody waits for nothing.
    pub(super) fn settle_searches(&mut self, now: Tick) -> Result<(), Fault> {
        let all = std::mem::take(&mut self.located.all);
        for search in all {
            let fault = |why: String| Fault {
                call: Some(search.who.0),
                why: format!("to {}: {why}", search.user),
            };
            let (call, at) = search.who;
            let Some(mut ledger) = self.calls.remove(&call) else {
                continue;
            };
            let judged = self.judge(now, &search, &mut ledger);
            let is_over = ledger.asked[at].answer.is_some() || ledger.asked[at].found.is_some();
            self.calls.insert(call, ledger);
            judged.map_err(fault)?;
            if !is_over {
                self.located.all.push(search);
            }
        }
        self.has_reason_to_wait()?;
        self.located.sought.clear();
        Ok(())
    }

    fn judge(&mut self, now: Tick, search: &Search, ledger: &mut Ledger) -> Result<(), String> {
        let is_waiting = search.began < now;
        // It has gone on with what the store has.
        let is_told = is_waiting && self.located.is_answered(&search.user);
        let places = self.registrar.places(&search.user, now, is_told);
        let (at, user) = (search.who.1, search.user.as_str());
        let sent: Vec<&Sent> = ledger.branches(at).map(|(_, sent)| sent).collect();
        if !sent.is_empty() {
            if ledger.asked[at].found.is_none() {
                are_best(&places, &sent)?;
                ledger.asked[at].found = Some(places);
            }
            return Ok(());
        }
        let is_known = places.iter().any(|place| place.is_sure);
        let until = search.began.plus_ms(PATIENCE_MS);
        match search.refused {
            Some(480) if is_known => Err(format!("480, though it has {places:?}")),
            Some(480) if self.registrar.is_stored(user, now) => {
                Err("480, though the store has a contact".to_owned())
            }
            Some(503) if is_known => Err(format!("503, though it has {places:?}")),
            Some(503)
                if !self
                    .located
                    .sought
                    .iter()
                    .any(|(of, yes)| of == user && !yes) =>
            {
                Err("503, though the store can be asked".to_owned())
            }
            Some(504) if now < until => Err("504 too early".to_owned()),
            Some(_) => Ok(()),
            None if ledger.asked[at].answer.is_some() => Ok(()),
            None if now > until.plus_ms(LATE_MS) => {
                Err("it waits for longer than it may".to_owned())
            }
            None if is_waiting => Ok(()),
            None => match self.may_be_elsewhere(now, is_known) {
                true => Ok(()),
                false => Err("it was neither answered nor sent on".to_owned()),
            },
        }
    }

    /// Whether the location store may have contacts that the box has not.
    fn may_be_elsewhere(&self, now: Tick, is_known: bool) -> bool {
        match self.site.kept() {
            Location::Nowhere => false,
            Location::Own => self.registrar.is_loading(now),
            Location::Shared => self.registrar.is_loading(now) || !is_known,
        }
    }

    /// Whoever waits does so for a question of its own.
    fn has_reason_to_wait(&self) -> Result<(), Fault> {
        for search in &self.located.all {
            let same = |other: &&Search| other.user == search.user;
            let waiting = self.located.all.iter().filter(same).count();
            let open = self.located.open.get(&search.user).copied();
            if waiting > open.unwrap_or(0) {
                return Err(Fault {
                    call: Some(search.who.0),
                    why: format!("{waiting} wait for {}, and {open:?} answers", search.user),
                });
            }
        }
        Ok(())
    }
}

/// RFC 3261 §16.6: the contacts that are preferred most, each once.
fn are_best(places: &[Place], sent: &[&Sent]) -> Result<(), String> {
    let mut qs: Vec<u16> = places.iter().map(|place| place.q).collect();
    qs.dedup();
    let is_right = |&q: &u16| {
        let is_place = |sent: &&Sent| places.iter().any(|it| it.q == q && it.is_of(sent));
        let is_called = |place: &Place| sent.iter().any(|sent| sent.request.uri() == place.uri);
        let sure = || places.iter().filter(|place| place.is_sure);
        sent.iter().all(is_place)
            && sure().all(|place| place.q < q || place.q == q && is_called(place))
    };
    let uri = |at: usize| sent[at].request.uri();
    let is_twice = (1..sent.len()).any(|at| (0..at).any(|before| uri(before) == uri(at)));
    if !is_twice && qs.iter().any(is_right) {
        return Ok(());
    }
    let sent: Vec<_> = sent.iter().map(|it| (it.request.uri(), it.to)).collect();
    Err(format!("sent to {sent:?}, with {places:?}"))
}

/// A further contact is tried: one of those that there were, since all that are preferred to it have failed,
/// or have been silent for too long (RFC 3261 §16.6).
pub(super) fn goes_on(
    ledger: &Ledger,
    at: usize,
    now: Tick,
    (uri, to): (&str, SocketAddr),
) -> Result<(), String> {
    let Some(places) = &ledger.asked[at].found else {
        return Ok(());
    };
    let branches = || ledger.branches(at).map(|(_, sent)| sent);
    let place = places
        .iter()
        .find(|place| place.uri == uri && place.to == to);
    let place = place.ok_or_else(|| format!("sent to {uri} at {to}, with {places:?}"))?;
    let is_tried = |uri: &str| branches().any(|sent| sent.request.uri() == uri);
    if is_tried(uri) {
        return Err(format!("{uri} is tried again"));
    }
    let is_better = |other: &&Place| other.is_sure && other.q > place.q;
    if let Some(other) = places
        .iter()
        .filter(is_better)
        .find(|it| !is_tried(&it.uri))
    {
        return Err(format!("{uri} before {}", other.uri));
    }
    let soon = now.plus_ms(LATE_MS);
    let has_failed = |sent: &Sent| {
        let is_silent = sent
            .first_heard
            .is_none_or(|heard| heard.plus_ms(LATE_MS) >= now);
        sent.has_ended()
            || sent.is_over(soon)
            || sent.cancelled.is_some()
            || is_silent && soon >= sent.at.plus_ms(NO_ANSWER_MS)
    };
    let is_preferred = |sent: &Sent| {
        let mut before = places.iter().filter(|it| it.is_of(sent));
        before.all(|it| it.q > place.q)
    };
    match branches().find(|sent| is_preferred(sent) && !has_failed(sent)) {
        Some(sent) => Err(format!("{uri} while {} has not failed", sent.to)),
        None => Ok(()),
    }
}

/// A request to a user has failed: all of its contacts were tried, unless somebody has decided for all of them.
pub(super) fn have_failed(ledger: &Ledger, at: usize, sip: &Sip) -> Result<(), String> {
    let asked = &ledger.asked[at];
    let (Some(places), None) = (&asked.found, asked.cancelled) else {
        return Ok(());
    };
    let is_final = sip.status() >= Some(600);
    let is_tried = |place: &Place| {
        let mut branches = ledger.branches(at);
        branches.any(|(_, sent)| sent.request.uri() == place.uri)
    };
    let sure = places.iter().filter(|place| place.is_sure && !is_final);
    match sure.clone().find(|place| !is_tried(place)) {
        Some(place) => Err(format!("though {} was not tried", place.uri)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::network::Body;
    use crate::sim::network::Packet;
    use crate::sim::oracle::requests::sent;
    use crate::sim::sip::Draft;
    use std::rc::Rc;

    const NOW: Tick = Tick::ms(1_000);

    fn place(host: u8, q: u16, is_sure: bool) -> Place {
        Place {
            uri: format!("sip:u@192.168.0.{host}"),
            to: ([10, 77, 1, host], 5060).into(),
            q,
            is_sure,
        }
    }

    fn message(start: &str) -> Rc<Sip> {
        let mut draft = Draft::new(format_args!("{start}"));
        draft.push("Via", "SIP/2.0/UDP 10.77.1.1;branch=b");
        draft.push("From", "<sip:a@b>;tag=a");
        draft.push("To", "<sip:u@example.com>");
        draft.push("Call-ID", "4-c");
        draft.push("CSeq", "1 INVITE");
        draft.finish("").unwrap()
    }

    fn packet(sip: &Rc<Sip>, to: SocketAddr) -> Packet {
        Packet {
            source: ([10, 77, 1, 1], 5060).into(),
            destination: to,
            body: Body::Sip(sip.clone()),
            damage: None,
        }
    }

    fn branch(place: &Place) -> Sent {
        let invite = message(&format!("INVITE {} SIP/2.0", place.uri));
        sent(1, NOW, &packet(&invite, place.to), &invite, Some(0), 1)
    }

    #[test]
    fn the_best_contacts_are_called_all_of_them_and_where_they_are() {
        let [a, b, c] = [(1, 1_000), (2, 1_000), (3, 500)].map(|(host, q)| place(host, q, true));
        let new = place(4, 1_000, false);
        let elsewhere = Place {
            to: b.to,
            ..a.clone()
        };
        let places = [a.clone(), b.clone(), c.clone(), new.clone()];
        let may = |of: &[&Place]| {
            let sent: Vec<_> = of.iter().map(|place| branch(place)).collect();
            are_best(&places, &sent.iter().collect::<Vec<_>>()).is_ok()
        };
        assert!(may(&[&a, &b]) && may(&[&b, &new, &a]));
        assert!(!may(&[&a]), "not all");
        assert!(!may(&[&new]), "not all");
        assert!(!may(&[&a, &b, &c]), "one that is preferred less");
        assert!(!may(&[&c]), "the wrong one");
        assert!(!may(&[&elsewhere, &b]), "where another is");
        assert!(!may(&[&a, &b, &b]), "one twice");
    }

    #[test]
    fn the_next_best_are_called_once_the_best_have_failed() {
        let [a, b] = [(1, 1_000), (2, 500)].map(|(host, q)| place(host, q, true));
        let mut ledger = Ledger::default();
        let invite = message("INVITE sip:u@example.com SIP/2.0");
        let at = ledger.ask(NOW, 1, &packet(&invite, a.to), 0, &invite, false);
        ledger.asked[at].found = Some(vec![a.clone(), b.clone()]);
        ledger.sent.push(branch(&a));
        let next = |ledger: &Ledger, place: &Place| {
            goes_on(ledger, at, NOW.plus_ms(1), (&place.uri, place.to)).is_ok()
        };
        let failure = message("SIP/2.0 486 Busy Here");
        assert!(!next(&ledger, &b), "it may yet answer");
        ledger.sent[0].answer = Some((failure.clone(), NOW));
        assert!(next(&ledger, &b));
        assert!(!next(&ledger, &a), "again");
        let elsewhere = Place {
            to: a.to,
            ..b.clone()
        };
        assert!(!next(&ledger, &elsewhere));
        assert!(have_failed(&ledger, at, &failure).is_err(), "one is left");
        let declined = message("SIP/2.0 603 Decline");
        assert!(have_failed(&ledger, at, &declined).is_ok());
        ledger.sent.push(branch(&b));
        assert!(have_failed(&ledger, at, &failure).is_ok());
    }
}
