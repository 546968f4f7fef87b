//! The requests of subscribers, between the ledgers of their calls and the guard of the box.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::letters::Told;
use trunkline_dataplane::sip::Id;
use trunkline_dataplane::sip::registrar::Record;
use trunkline_dataplane::tick::Tick;

use super::Fault;
use super::LATE_MS;
use super::Oracle;
use super::Owed;
use super::guard::Claim;
use super::guard::Held;
use super::guard::Standing;
use super::ledger::Asked;
use super::ledger::Ledger;
use super::ledger::Sent;
use super::located;
use super::registrar::Registrar;
use crate::sim::sip::Sip;

/// Whether a request needs no proof, since it is where its sender was when it gave one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtHome {
    Yes,
    /// Only the box knows whether the dialog is still there.
    Perhaps,
    No,
}

impl Oracle {
    /// A new request: where it is a subscriber's, what must become of it is noted and owed. False
    /// where it is not, or needs no proof.
    pub(super) fn is_claim(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        at: usize,
    ) -> bool {
        let at_home = self.at_home(ledger, at);
        self.claims(now, call, ledger, at, at_home)
    }

    fn claims(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        at: usize,
        at_home: AtHome,
    ) -> bool {
        let asked = &ledger.asked[at];
        let request = &asked.request;
        let to_the_box = request.method() == "OPTIONS" && !request.uri().contains('@');
        let is_phone = self.site.is_phone(asked.source.ip());
        let Some(guard) = self.guard.as_mut().filter(|_| is_phone && !to_the_box) else {
            return false;
        };
        if request.method() == "CANCEL" || at_home == AtHome::Yes {
            return false;
        }
        if request.method() == "ACK" {
            // It cannot be challenged: where nobody knows who sends it, it may end here.
            return true;
        }
        let worker = self.site.worker_of(request, self.workers);
        let mut claim = guard.claim(now, self.epoch, (call, at), asked, worker);
        claim.may_pass = at_home == AtHome::Perhaps;
        if claim.is_waiting() {
            guard.waiting.push((call, at));
        }
        let waits = claim.is_right()
            && asked.request.method() == "REGISTER"
            && self.registrar.waits(now, (call, at), guard.patience(now));
        let owed = match claim.is_waiting() {
            false if waits => None,
            false if claim.is_right() && self.searches(now, (call, at), &asked.request) => None,
            false => Some(Owed::TakenUp(at)),
            true if asked.is_invite() => Some(Owed::Trying(at)),
            true => None,
        };
        ledger.asked[at].claim = Some(claim);
        if let Some(owed) = owed {
            self.owe(call, owed);
        }
        true
    }

    /// A copy of a request that was answered without state: it is looked at as if it were new, but
    /// an INVITE is not at home now that it was challenged, since its ACK is to end here.
    pub(super) fn comes_again(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        at: usize,
        source: SocketAddr,
    ) {
        let asked = &mut ledger.asked[at];
        let claim = asked.claim.take();
        let may_be_held = claim.is_some_and(|claim| claim.held == Held::Perhaps);
        (asked.source, asked.at) = (source, now);
        asked.challenge = asked.answer.take().filter(|_| may_be_held);
        // Where its ACK has come, its transaction says nothing any more.
        let may_be_silent = may_be_held && asked.acked.take().is_some();
        let at_home = match (ledger.asked[at].is_invite(), self.at_home(ledger, at)) {
            (true, _) | (_, AtHome::No) => AtHome::No,
            _ => AtHome::Perhaps,
        };
        self.claims(now, call, ledger, at, at_home);
        let asked = &mut ledger.asked[at];
        let claim = asked.claim.as_mut().filter(|_| asked.challenge.is_some());
        if let Some(claim) = claim.filter(|claim| claim.is_waiting()) {
            claim.may_pass = true;
        }
        if may_be_silent {
            self.is_absorbed((call, at));
        }
    }

    /// Nothing need come of this copy.
    fn is_absorbed(&mut self, (call, at): (usize, usize)) {
        self.paid(
            call,
            |owed| matches!(owed, Owed::TakenUp(a) | Owed::Trying(a) if *a == at),
        );
        self.located.ends((call, at));
        self.ends_waiting((call, at));
    }

    /// Something has come of it.
    fn ends_waiting(&mut self, who: (usize, usize)) {
        if let Some(guard) = &mut self.guard {
            guard.waiting.retain(|waiting| *waiting != who);
        }
        self.registrar.ends(who);
    }

    /// True where a transaction says once more what it said to the copy before: so it has waited.
    pub(super) fn says_again(
        &mut self,
        who: (usize, usize),
        ledger: &mut Ledger,
        sip: &Sip,
    ) -> bool {
        let asked = &mut ledger.asked[who.1];
        let before = asked
            .challenge
            .take_if(|(before, _)| before.bytes() == sip.bytes());
        let Some(before) = before else { return false };
        asked.answer = Some(before);
        if let Some(claim) = &mut asked.claim {
            claim.held = Held::Yes;
        }
        self.ends_waiting(who);
        true
    }

    /// A copy of a request of which somebody has said something that is nobody's to know (RFC 4320 §4.2):
    /// the box may have forgotten it since, and look at it as if it were new.
    pub(super) fn may_come_again(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        at: usize,
    ) {
        let asked = &ledger.asked[at];
        let came_to_nothing = ledger.branches(at).any(|(_, sent)| sent.has_ended());
        if asked.claim.is_none() || asked.answer.is_some() || !came_to_nothing {
            return;
        }
        let worker = self.site.worker_of(&asked.request, self.workers);
        let Some(guard) = &mut self.guard else { return };
        let mut claim = guard.claim(now, self.epoch, (call, at), asked, worker);
        claim.may_pass = true;
        if claim.is_waiting() {
            guard.waiting.push((call, at));
        }
        ledger.asked[at].claim = Some(claim);
    }

    /// The box asks nobody again who speaks from where it was last heard in this dialog.
    fn at_home(&self, ledger: &Ledger, at: usize) -> AtHome {
        let asked = &ledger.asked[at];
        if asked.request.to_tag().is_empty() || !ledger.is_ours(&asked.request) {
            return AtHome::No;
        }
        let ip = asked.source.ip();
        // What is no part of a call, as after a restart, is taken up by these alone; of others nothing is left.
        let takes_up = |(other, before): (usize, &Asked)| {
            before.epoch == self.epoch
                && matches!(before.request.method(), "INVITE" | "UPDATE")
                && ledger.branches(other).next().is_some()
        };
        let is_taken_up = ledger.asked.iter().enumerate().any(takes_up);
        // A copy may come after what was granted since.
        let others = ledger.asked.iter().enumerate();
        let granted = others.filter(|(other, before)| {
            *other != at
                && before.request.from_tag() == asked.request.from_tag()
                && before.epoch == self.epoch
                && self.site.is_phone(before.source.ip())
                // Without a claim these may pass by the cookie alone, and leave nothing.
                && (before.claim.is_some() || !matches!(before.request.method(), "ACK" | "BYE"))
                && ledger.branches(*other).next().is_some()
        });
        let granted = granted.filter(|_| is_taken_up);
        let granted: Vec<_> = granted.map(|(_, before)| before.source.ip()).collect();
        let mut before = ledger.asked[..at].iter();
        let is_over = before.any(|before| before.request.method() == "BYE")
            || ledger.is_second(&asked.request)
            || ledger.has_failed(&asked.request);
        // The phone of a user is where its call has reached it.
        let is_callee = |sent: &&Sent| {
            let is_caller = sent.request.from_tag() == asked.request.from_tag();
            sent.is_invite() && sent.to.ip() == ip && !is_caller
        };
        if let Some(sent) = ledger.sent.iter().find(is_callee) {
            let ends = matches!(asked.request.method(), "ACK" | "BYE");
            // The box itself has ended what was answered too late.
            let is_ended = ledger.sent.iter().any(|sent| {
                let is_own = sent.parent.is_none() && sent.request.method() == "BYE";
                is_own && sent.request.to_tag() == asked.request.from_tag()
            });
            return match sent.epoch == self.epoch && !is_over && !is_ended {
                true => AtHome::Yes,
                false if ends || ledger.sent.iter().any(|sent| self.refreshes_at(sent, ip)) => {
                    AtHome::Perhaps
                }
                false => AtHome::No,
            };
        }
        let was_last = granted.last().is_none_or(|last| *last == ip);
        let is_last = was_last && !granted.is_empty();
        if is_last && !is_over {
            return AtHome::Yes;
        }
        // Where the call is not known the cookie says where it began, which is enough to end it.
        let began = ledger.began_at(&asked.request, ip);
        let ends = matches!(asked.request.method(), "ACK" | "BYE");
        if ends && began && was_last {
            return AtHome::Yes;
        }
        // The other party may have had the call taken up again.
        let is_called = ledger.sent.iter().any(|sent| self.refreshes_at(sent, ip));
        match granted.contains(&ip) || began && (ends || is_called) {
            true => AtHome::Perhaps,
            false => AtHome::No,
        }
    }

    fn refreshes_at(&self, sent: &Sent, ip: IpAddr) -> bool {
        let refreshes = matches!(sent.request.method(), "INVITE" | "UPDATE");
        sent.epoch == self.epoch && sent.to.ip() == ip && refreshes
    }

    /// True for a request that `status` answers without state: each copy of it is looked at anew. So is
    /// one that is challenged having never waited, and a REGISTER of who has proved who it is.
    pub(super) fn is_answered_anew(&self, ledger: &Ledger, at: usize, status: Option<u16>) -> bool {
        let asked = &ledger.asked[at];
        if self.is_register(asked) && Registrar::is_of_each_copy(status) {
            return true;
        }
        let is_at_once = asked.claim.as_ref().is_none_or(|claim| {
            let standing = claim.standing;
            let at_once = match standing {
                Standing::Challenged { .. } => true,
                Standing::Right => !claim.is_elsewhere,
                _ => false,
            };
            claim.question.is_none() && claim.held != Held::Yes && at_once
        });
        is_at_once
            && self.site.is_phone(asked.source.ip())
            && matches!(status, Some(401 | 407))
            && ledger.branches(at).next().is_none()
    }

    /// A request is sent on: it must have been proved.
    pub(super) fn may_pass(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &Ledger,
        at: usize,
    ) -> Result<(), String> {
        // Another request that came in this step may have proved where its sender is now.
        let came_now = ledger.asked[at].at == now;
        let is_at_home = came_now && self.at_home(ledger, at) != AtHome::No;
        let (Some(guard), Some(claim)) = (&mut self.guard, &ledger.asked[at].claim) else {
            return Ok(());
        };
        let is_challenged = matches!(claim.standing, Standing::Challenged { .. });
        if is_challenged && is_at_home {
            return Ok(());
        }
        guard.waiting.retain(|waiting| *waiting != (call, at));
        guard.passes(claim, (call, at))
    }

    /// An answer of the box's own to a request that it has not sent on; true where it needs no other
    /// reason.
    pub(super) fn may_answer(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &Ledger,
        at: usize,
        sip: &Sip,
    ) -> Result<bool, String> {
        let asked = &ledger.asked[at];
        let is_phone = self.site.is_phone(asked.source.ip());
        let Some(guard) = self.guard.as_mut().filter(|_| is_phone) else {
            return Ok(false);
        };
        let Some(claim) = &asked.claim else {
            // It was at home in a dialog that has ended in the same step.
            let request = &asked.request;
            let is_gone = !request.to_tag().is_empty()
                && (ledger.is_over(self.epoch)
                    || ledger.is_second(request)
                    || ledger.has_failed(request));
            if is_gone && matches!(sip.status(), Some(401 | 407)) {
                let maker = self.site.worker_of(request, self.workers);
                let claim = guard.claim(now, self.epoch, (call, at), asked, maker);
                let stale = matches!(claim.standing, Standing::Challenged { stale: true });
                guard.challenges(now, (self.epoch, maker), asked, sip, stale)?;
                return Ok(true);
            }
            return Ok(false);
        };
        let is_new = ledger.branches(at).next().is_none();
        if !is_new && !claim.may_pass || sip.status() == Some(100) {
            return Ok(false);
        }
        guard.waiting.retain(|waiting| *waiting != (call, at));
        self.registrar.ends((call, at));
        let is_explained = guard.answers(now, self.epoch, (call, at), asked, claim, sip)?;
        let is_refused = sip.status() == Some(401) && claim.is_right();
        if is_refused && self.registrar.has_done(now, &asked.request) {
            return Err("challenged, though it was done when it came before".to_owned());
        }
        if !is_explained && self.is_register(asked) {
            self.registrar
                .answers(now, asked.source, &asked.request, sip)?;
            return Ok(true);
        }
        Ok(is_explained)
    }

    // --- The store ----------------------------------------------------------------

    /// The store's answer reaches a worker. `exists` is whether there is such a user, and `None` that
    /// the store cannot be asked.
    pub fn hears(
        &mut self,
        now: Tick,
        (worker, user): (usize, &str),
        question: Option<Id>,
        exists: Option<bool>,
    ) {
        let Some(guard) = &mut self.guard else { return };
        let key = (worker, user.to_owned());
        guard.hears(now, key.clone(), exists);
        // Whoever waits is served by what is said of the user, though another had asked for it, or
        // nobody; that nobody knows is told those who have asked.
        let open = guard.open.get(&key).copied();
        let Some(question) = open.filter(|_| exists.is_some() || open == question) else {
            return;
        };
        guard.open.remove(&key);
        for (call, at) in guard.waiting.clone() {
            let Some(ledger) = self.calls.get_mut(&call) else {
                continue;
            };
            // A copy of what was sent on may end in its transaction, if that is still there.
            let was_sent = ledger.branches(at).next().is_some();
            let claim = ledger.asked[at].claim.as_mut();
            let Some(claim) = claim.filter(|claim| claim.waits_for(worker, user, Some(question)))
            else {
                continue;
            };
            guard.resume(now, claim, exists);
            let until = guard.patience(now);
            let may_register = claim.is_right() && ledger.asked[at].request.method() == "REGISTER";
            let is_decided = ledger.asked[at]
                .claim
                .as_ref()
                .is_some_and(|it| !it.is_waiting());
            let waits = may_register && self.registrar.waits(now, (call, at), until);
            let goes_on = claim_is_right(ledger, at);
            let user = located::user_called(&ledger.asked[at].request).filter(|_| goes_on);
            if let Some(user) = user.filter(|_| is_decided && !was_sent) {
                self.located.begin(now, (call, at), user.to_owned());
            } else if is_decided && !was_sent && !waits {
                self.owed.push((call, Owed::TakenUp(at)));
            }
        }
    }

    /// The location store has these of its users at a restart.
    pub fn has_stored(&mut self, written: &Record<'_>) {
        self.registrar.has_stored(written);
    }

    /// A contact is given back to the box.
    pub fn gives_back(&mut self, now: Tick, key: &(String, String)) {
        self.registrar.gives_back(now, key);
    }

    /// All has been given back.
    pub fn has_loaded(&mut self, now: Tick) {
        self.registrar.has_loaded(now);
    }

    /// A worker tells of a contact.
    ///
    /// # Errors
    /// Where nothing of the kind has happened.
    pub fn is_told(&mut self, told: Told, record: &Record<'_>) -> Result<(), Fault> {
        self.registrar.is_told(told, record).map_err(Fault::general)
    }

    /// A worker asks the store.
    ///
    /// # Errors
    /// Where it has no reason to.
    pub fn asks(
        &mut self,
        now: Tick,
        (worker, user): (usize, &str),
        question: Option<Id>,
    ) -> Result<(), Fault> {
        let fault = |why: &str| Fault::general(format!("worker {worker} of {user}: {why}"));
        let Some(guard) = &mut self.guard else {
            return Err(fault("it asks, and has no domain"));
        };
        let key = (worker, user.to_owned());
        // A request that came in the step in which the worker was told may have been looked at before.
        let told = guard.hears_now(now, &key);
        let Some(question) = question else {
            return match told && came_now(&self.calls, now, &key) {
                true => Ok(()),
                false => guard.refreshes(now, &key).map_err(|why| fault(&why)),
            };
        };
        let before = guard.open.insert(key.clone(), question);
        let mut has_reason = false;
        for (call, at) in &guard.waiting {
            let ledger = self.calls.get_mut(call);
            let claim = ledger.and_then(|ledger| ledger.asked[*at].claim.as_mut());
            let Some(claim) = claim else { continue };
            // A copy may end in the transaction of what it repeats: then it holds no ticket.
            let waits = claim.waits_for(worker, user, before) && !claim.may_pass;
            if before.is_some() && waits && claim.due() > now {
                return Err(fault("asked again before there was an answer"));
            }
            if claim.waits_for(worker, user, None) {
                claim.question = Some(question);
                has_reason = true;
            }
        }
        has_reason |= told && came_now(&self.calls, now, &key);
        match has_reason {
            true => Ok(()),
            false => Err(fault("asked though nobody waits")),
        }
    }

    /// The step ends: whoever waits waits for something, and nobody for too long.
    ///
    /// # Errors
    /// Who does.
    pub fn check_waiting(&mut self, now: Tick) -> Result<(), Fault> {
        let Some(guard) = &mut self.guard else {
            return Ok(());
        };
        guard.settle().map_err(Fault::general)?;
        let settled = self.registrar.settle(now);
        settled.map_err(|(call, why)| Fault { call, why })?;
        self.settle_searches(now)?;
        let Some(guard) = &mut self.guard else {
            return Ok(());
        };
        for (call, at) in &guard.waiting {
            let ledger = self.calls.get_mut(call);
            let asked = ledger.map(|ledger| &mut ledger.asked[*at]);
            let Some((claim, request)) =
                asked.and_then(|asked| Some((asked.claim.as_mut()?, asked.request.clone())))
            else {
                continue;
            };
            let fault = |why: &str| Fault {
                call: Some(*call),
                why: format!("{} of a subscriber: {why}", request.name()),
            };
            if claim.standing == Standing::Waits && claim.question.is_none() {
                claim.question = guard.open.get(&claim.key()).copied();
                if claim.question.is_none() && !claim.may_pass {
                    return Err(fault("waits, and the store was not asked"));
                }
            }
            if now > claim.due().plus_ms(LATE_MS) && !claim.may_pass {
                return Err(fault("waits for longer than it may"));
            }
        }
        Ok(())
    }

    /// A CANCEL of a request that waits: it ends at once (RFC 3261 §9.2).
    pub(super) fn cancels_waiting(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &Ledger,
        invite: usize,
    ) {
        let claim = ledger.asked[invite].claim.as_ref();
        let waits = claim.is_some_and(|claim| claim.is_waiting() && !claim.may_pass);
        if waits || self.is_searching(now, (call, invite)) {
            self.owe(call, Owed::Cancelled(invite));
        }
    }

    /// A first answer without state: each copy has its own.
    pub(super) fn note_answer(ledger: &mut Ledger, at: usize, sip: &Rc<Sip>, now: Tick) {
        ledger.asked[at].answer.get_or_insert((sip.clone(), now));
    }
}

fn claim_is_right(ledger: &Ledger, at: usize) -> bool {
    let claim = ledger.asked[at].claim.as_ref();
    claim.is_some_and(Claim::is_right)
}

/// True where a request came in this step for which a worker may have asked before it was told.
fn came_now(calls: &HashMap<usize, Ledger>, now: Tick, key: &(usize, String)) -> bool {
    let asked = calls.values().flat_map(|ledger| &ledger.asked);
    let mut claims = asked.filter_map(|asked| asked.claim.as_ref());
    claims.any(|claim| claim.came_now(now, key))
}
