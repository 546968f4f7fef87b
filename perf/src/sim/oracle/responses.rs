//! Responses: what one that comes obliges the box to, and what may leave as one.

use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::LATE_MS;
use super::Oracle;
use super::Owed;
use super::T1_64_MS;
use super::choice;
use super::edits;
use super::edits::Body;
use super::ledger::Ledger;
use super::ledger::Sent;
use super::ledger::is_to;
use super::located;
use super::requests::differ;
use crate::sim::network::Packet;
use crate::sim::plan::Route;
use crate::sim::sip::Sip;

/// The routes with more than one target.
const FORKS: [Route; 5] = [
    Route::Parallel,
    Route::Serial,
    Route::Failover,
    Route::Mixed,
    Route::Last,
];

impl Oracle {
    pub(super) fn response_enters(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        sip: &Rc<Sip>,
    ) {
        let Some(at) = ledger.sent(self.epoch, sip.branch(), sip.method()) else {
            // A stray: if anything of it leaves, nobody has asked for that.
            return;
        };
        let lives = ledger.sent[at].lives(now);
        let same = |known: &&Rc<Sip>| known.bytes() == sip.bytes();
        let accepts = |sip: &Sip| sip.status().is_some_and(|s| (200..300).contains(&s));
        let of_dialog = |known: &Rc<Sip>| accepts(known) && known.to_tag() == sip.to_tag();
        let is_new = accepts(sip) && !ledger.sent[at].came.iter().any(of_dialog);
        if !ledger.sent[at].came.iter().any(|known| same(&known)) {
            ledger.sent[at].came.push(sip.clone());
        }
        let parent = ledger.sent[at].parent;
        if parent.is_some_and(|at| ledger.asked[at].stateless) {
            // RFC 3261 §16.11: each copy, however late.
            return self.owe(call, Owed::Back(at, sip.clone()));
        }
        if ledger.sent[at].is_invite() {
            self.invite_answered(now, call, ledger, at, sip, lives, is_new);
        } else {
            self.other_answered(now, call, ledger, at, sip, lives);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn invite_answered(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        at: usize,
        sip: &Rc<Sip>,
        lives: bool,
        is_new: bool,
    ) {
        let status = sip.status().unwrap_or_default();
        let sent = &mut ledger.sent[at];
        let Some(parent) = sent.parent else { return };
        let before = sent.status();
        if status < 200 {
            if before.is_some() || !lives {
                return;
            }
            sent.first_heard.get_or_insert(now);
            if status > 100 || sent.heard.is_none() {
                sent.heard = Some(now);
            }
            let asked = &ledger.asked[parent];
            let unwanted = asked.answer.is_some() || asked.cancelled.is_some();
            if unwanted && ledger.sent[at].cancelled.is_none() {
                self.owe(call, Owed::Cancel(at));
            }
            let asked = &ledger.asked[parent];
            let wanted = !is_superseded(ledger, at);
            if status > 100 && asked.answer.is_none() && wanted {
                self.owe(call, Owed::Up(parent, sip.clone()));
            }
            return;
        }
        if before.is_none() {
            sent.answer = Some((sip.clone(), now));
            sent.late = !lives;
            self.paid(call, |owed| matches!(owed, Owed::Cancel(a) if *a == at));
        }
        // At the edge of its time it may be taken up or not.
        if !lives {
            return;
        }
        let (asked, sent) = (&ledger.asked[parent], &ledger.sent[at]);
        match (before, status) {
            (None | Some(200..=299), 200..=299) => {
                let upstream = asked.answer.as_ref();
                let is_open = upstream.is_none_or(|(answer, at)| {
                    let accepted = answer.status().is_some_and(|status| status < 300);
                    accepted && now.plus_ms(LATE_MS) < at.plus_ms(T1_64_MS)
                });
                let refused = upstream.is_some_and(|(answer, _)| answer.status() >= Some(300));
                if is_open {
                    self.owe(call, Owed::Up(parent, sip.clone()));
                } else if refused && is_new {
                    self.owe(call, Owed::Bye(at, sip.to_tag().to_owned()));
                }
            }
            (None, _) => {
                self.owe(call, Owed::Ack(at));
                // Where a branch was given up long ago the final response may have gone.
                let all_over = ledger.branches(parent).all(|(_, sent)| sent.has_ended());
                if all_over && asked.answer.is_none() {
                    self.owe(call, Owed::Decision(parent));
                }
            }
            (Some(300..), 300..) if sent.ack.is_some() => self.owe(call, Owed::Ack(at)),
            _ => {}
        }
    }

    /// ICMP says that a request has found nobody (RFC 3261 §16.9): as if a 503 had come, for an
    /// INVITE that nobody has answered yet, and for others until their final response.
    pub(super) fn undelivered(&mut self, now: Tick, destination: SocketAddr, sip: &Sip) {
        let Some((call, ledger)) = sip
            .call()
            .and_then(|call| Some((call, self.calls.get_mut(&call)?)))
        else {
            return;
        };
        let at = ledger.sent(self.epoch, sip.branch(), sip.method());
        let Some(at) = at.filter(|_| sip.status().is_none()) else {
            return;
        };
        let sent = &mut ledger.sent[at];
        let waits = !(sent.has_ended() || sent.is_invite() && sent.first_heard.is_some());
        // At the edge of its time it may be over.
        if sent.to != destination || !waits || !sent.lives(now) {
            return;
        }
        sent.unreachable = Some(now);
        let Some(parent) = sent.parent else { return };
        let asked = &ledger.asked[parent];
        let late = !asked.is_invite() && now.plus_ms(LATE_MS) >= asked.at.plus_ms(T1_64_MS);
        let all_over = ledger.branches(parent).all(|(_, sent)| sent.has_ended());
        if all_over && asked.answer.is_none() && !asked.stateless && !late {
            self.owe(call, Owed::Decision(parent));
        }
    }

    fn other_answered(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        at: usize,
        sip: &Rc<Sip>,
        lives: bool,
    ) {
        let status = sip.status().unwrap_or_default();
        let sent = &mut ledger.sent[at];
        if status < 200 || sent.answer.is_some() {
            return;
        }
        sent.answer = Some((sip.clone(), now));
        if !lives {
            return;
        }
        let Some(parent) = sent.parent else { return };
        let asked = &ledger.asked[parent];
        // RFC 4320 §4.2: a 408 is of no use to anybody, nor is what comes after 64·T1.
        let late = now.plus_ms(LATE_MS) >= asked.at.plus_ms(T1_64_MS);
        if asked.answer.is_some() || status == 408 || late {
            return;
        }
        let forks = FORKS.iter().any(|&route| is_to(&asked.request, route))
            || self.is_to_user(&asked.request);
        if !forks && status != 503 || status < 300 {
            self.owe(call, Owed::Up(parent, sip.clone()));
        } else if ledger.branches(parent).all(|(_, sent)| sent.has_ended()) {
            self.owe(call, Owed::Decision(parent));
        }
    }

    pub(super) fn response_leaves(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        packet: &Packet,
        sip: &Rc<Sip>,
    ) -> Result<(), String> {
        let status = sip.status().unwrap_or_default();
        let asked = ledger.asked(self.epoch, packet.destination, sip.branch(), sip.method());
        let at = asked.ok_or("a response to what nobody asked")?;
        let side = self
            .site
            .side_of(packet.destination.ip())
            .ok_or("to nowhere")?;
        let asked = &ledger.asked[at];
        if packet.destination != asked.source {
            return Err(format!(
                "to {}, the request came from {}",
                packet.destination, asked.source
            ));
        }
        edits::stamped(asked.source, asked.request.get("Via"), sip.get("Via"))?;
        if !sip.all("Via").skip(1).eq(asked.request.all("Via").skip(1)) {
            return Err("the Vias below are not the request's".to_owned());
        }
        for name in ["From", "Call-ID"] {
            if sip.one(name) != asked.request.one(name) {
                return Err(format!("{name} is not the request's"));
            }
        }
        if asked.stateless {
            return self.goes_back(call, ledger, at, sip, side);
        }
        self.paid(call, |owed| match owed {
            Owed::TakenUp(a) | Owed::Cancelled(a) => *a == at && status >= 200,
            Owed::Trying(a) => *a == at,
            Owed::Up(a, response) => *a == at && is_passed(response, sip),
            Owed::Decision(a) => *a == at && status >= 200,
            _ => false,
        });
        let came: Vec<_> = ledger
            .branches(at)
            .flat_map(|(_, sent)| sent.came.iter().map(move |came| (sent.passes, came)))
            .filter(|(_, came)| is_passed(came, sip))
            .collect();
        let checked = came.iter().map(|(passes, came)| {
            let further =
                asked.answer.is_some() || ledger.is_over(self.epoch) || ledger.is_second(sip);
            edits::passed_back(&self.site, came, sip, side, *passes, Body::relayed(further))
        });
        let passed = checked.reduce(Result::or);
        let is_own = passed.is_none();
        let asked_tag = asked.request.to_tag().to_owned();
        let repeats = |(before, _): &(Rc<Sip>, Tick)| before.bytes() == sip.bytes();
        match passed {
            Some(passed) => passed?,
            None if asked.answer.as_ref().is_some_and(repeats) => {}
            None if self.says_again((call, at), ledger, sip) => {}
            None if self.may_answer(now, call, ledger, at, sip)? => {}
            None if self.finds_nobody(ledger, (call, at), status) => {}
            None => choice::own_response(ledger, at, sip, &self.site, self.crowded, now)?,
        }
        if sip.method() == "CANCEL" {
            return Ok(());
        }
        if is_own && status > 100 {
            own_tag(ledger, at, sip)?;
            // RFC 3261 §19.3: nobody who knows one knows another.
            let tag = sip.to_tag().to_owned();
            if asked_tag.is_empty() && *self.tags.entry(tag).or_insert(call) != call {
                return Err(format!("To tag {} was given to another call", sip.to_tag()));
            }
        }
        if is_own && self.is_answered_anew(ledger, at, Some(status)) {
            Self::note_answer(ledger, at, sip, now);
            return Ok(());
        }
        self.in_sequence(now, call, ledger, at, sip)
    }

    /// A failure went up: a 2xx that came in the same moment was looked at after it, and has to be
    /// ended.
    fn too_late(&mut self, call: usize, ledger: &Ledger, asked: usize) {
        for (of, owed) in &mut self.owed {
            let Owed::Up(up, response) = owed else {
                continue;
            };
            if *of != call || *up != asked || response.status() >= Some(300) {
                continue;
            }
            let gave = |sent: &Sent| {
                let answer = sent.answer.as_ref();
                answer.is_some_and(|(answer, _)| answer.bytes() == response.bytes())
            };
            let branch = ledger.branches(asked).find(|(_, sent)| gave(sent));
            if let Some((sent, _)) = branch {
                *owed = Owed::Bye(sent, response.to_tag().to_owned());
            }
        }
    }

    /// One final response, or 2xx to INVITE; nothing provisional behind it; nothing by itself
    /// after its time.
    fn in_sequence(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        at: usize,
        sip: &Rc<Sip>,
    ) -> Result<(), String> {
        let status = sip.status().unwrap_or_default();
        let asked = &ledger.asked[at];
        let invite = asked.is_invite();
        let Some((before, first_at)) = asked.answer.clone() else {
            if status < 200 {
                return Ok(());
            }
            // Full tables may refuse a further branch.
            let refused = self.crowded && matches!(status, 500 | 503);
            if status >= 300 && !refused {
                located::have_failed(ledger, at, sip)?;
                choice::best(ledger, at, sip, now)?;
            }
            ledger.asked[at].answer = Some((sip.clone(), now));
            // What came in the same moment may have been looked at after this.
            let second = |response: &Sip| !invite || response.status() < Some(200);
            self.paid(
                call,
                |owed| matches!(owed, Owed::Up(a, r) if *a == at && second(r)),
            );
            if status >= 300 {
                self.too_late(call, ledger, at);
            }
            if invite {
                self.cancel_branches(now, call, ledger, at);
            }
            return Ok(());
        };
        if status < 200 {
            return Err(format!("after {}", before.name()));
        }
        let accepted = invite && before.status().is_some_and(|status| status < 300);
        if accepted && status < 300 {
            return if now > first_at.plus_ms(T1_64_MS + LATE_MS) {
                Err("a 2xx after Timer L".to_owned())
            } else {
                Ok(())
            };
        }
        if before.bytes() != sip.bytes() {
            return Err(differ(before.text(), sip.text()));
        }
        let asked = &ledger.asked[at];
        if now > first_at.plus_ms(T1_64_MS + LATE_MS) && asked.last_at != now {
            return Err(format!(
                "repeated {} ms after it was sent first",
                now.since(first_at) / 1_000_000
            ));
        }
        // What was refused without a transaction is refused again when a copy comes late.
        let is_asked_again = asked.last_at == now && ledger.branches(at).next().is_none();
        if asked.acked.is_some_and(|acked| acked < now) && !is_asked_again {
            return Err("repeated after its ACK".to_owned());
        }
        if !invite && asked.last_at != now {
            return Err("repeated though nobody has asked again".to_owned());
        }
        Ok(())
    }
}

/// True where `left` may be `came` on its way back.
fn is_passed(came: &Sip, left: &Sip) -> bool {
    came.start() == left.start()
        && came.get("To") == left.get("To")
        && came.get("CSeq") == left.get("CSeq")
        && came.get("RSeq") == left.get("RSeq")
}

/// True where the box has gone on to a further target since it sent this.
pub(super) fn is_superseded(ledger: &Ledger, at: usize) -> bool {
    let (parent, since) = (ledger.sent[at].parent, ledger.sent[at].at);
    ledger
        .sent
        .iter()
        .any(|other| other.parent == parent && other.at > since)
}

/// RFC 3261 §8.2.6.2: the same To tag in all that the box itself says to a request; none that
/// another request got.
fn own_tag(ledger: &mut Ledger, at: usize, sip: &Sip) -> Result<(), String> {
    let tag = sip.to_tag();
    if tag.is_empty() || !sip.body().is_empty() {
        return Err("a body, or no To tag, in an answer of the box".to_owned());
    }
    if !ledger.asked[at].request.to_tag().is_empty() {
        return Ok(());
    }
    let known = &mut ledger.asked[at].own_tag;
    match known {
        Some(known) if known != tag => Err(format!("To tag {tag} after {known}")),
        Some(_) => Ok(()),
        None => {
            *known = Some(tag.to_owned());
            Ok(())
        }
    }
}
