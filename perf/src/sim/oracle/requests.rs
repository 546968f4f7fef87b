//! Requests: what one that comes obliges the box to, and what may leave as one.

use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::LATE_MS;
use super::Oracle;
use super::Owed;
use super::T1_64_MS;
use super::TIMER_C_MIN_MS;
use super::choice::NO_ANSWER_MS;
use super::edits;
use super::edits::Body;
use super::ledger::Asked;
use super::ledger::Ledger;
use super::ledger::Sent;
use super::located;
use super::responses::is_superseded;
use crate::sim::network::Packet;
use crate::sim::sip::Sip;
use crate::sim::sip::host;
use crate::sim::sip::param;

impl Oracle {
    pub(super) fn request_enters(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        packet: &Packet,
        sip: &Rc<Sip>,
    ) {
        if self.is_stateless(sip) {
            return self.comes_by(now, call, ledger, packet, sip);
        }
        let (branch, method) = (sip.branch(), sip.method());
        let invite = ledger.asked(self.epoch, packet.source, branch, "INVITE");
        if method == "ACK"
            && let Some(invite) = invite
        {
            let asked = &mut ledger.asked[invite];
            if asked.status().is_some_and(|status| status >= 300) {
                asked.acked.get_or_insert(now);
            }
            return;
        }
        if method == "CANCEL"
            && let Some(invite) = invite
        {
            self.cancel_enters(now, call, ledger, invite);
        }
        match ledger.asked(self.epoch, packet.source, branch, method) {
            Some(at) => {
                let asked = &mut ledger.asked[at];
                asked.last_at = now;
                // A box before us makes each copy of an ACK anew, and may have forgotten the
                // call since.
                if method == "ACK" {
                    asked.request = sip.clone();
                }
                if self.is_answered_anew(ledger, at, ledger.asked[at].status()) {
                    self.comes_again(now, call, ledger, at, packet.source);
                } else if method != "INVITE" {
                    self.may_come_again(now, call, ledger, at);
                }
            }
            None => {
                let side = self.site.side_of(packet.source.ip()).unwrap_or(0);
                let at = ledger.ask(now, self.epoch, packet, side, sip, false);
                if self.is_claim(now, call, ledger, at) {
                    return;
                }
                if self.searches(now, (call, at), sip) {
                    return;
                }
                // An ACK without a dialog of ours has no answer.
                if method != "ACK" || ledger.is_ours(sip) {
                    self.owe(call, Owed::TakenUp(at));
                }
            }
        }
    }

    /// RFC 3261 §16.10: what still rings is cancelled at once.
    fn cancel_enters(&mut self, now: Tick, call: usize, ledger: &mut Ledger, invite: usize) {
        let asked = &mut ledger.asked[invite];
        if asked.answer.is_some() || asked.cancelled.is_some() {
            return;
        }
        asked.cancelled = Some(now);
        self.cancel_branches(now, call, ledger, invite);
        self.cancels_waiting(now, call, ledger, invite);
    }

    /// Each branch that has been heard of and has no end must be cancelled (RFC 3261 §16.7
    /// step 10).
    pub(super) fn cancel_branches(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &Ledger,
        asked: usize,
    ) {
        for (at, sent) in ledger.branches(asked) {
            let rings = sent.heard.is_some() && sent.answer.is_none() && sent.cancelled.is_none();
            if rings && sent.lives(now) {
                self.owe(call, Owed::Cancel(at));
            }
        }
    }

    pub(super) fn request_leaves(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        packet: &Packet,
        sip: &Rc<Sip>,
    ) -> Result<(), String> {
        let (branch, method) = (sip.branch().to_owned(), sip.method());
        let side = self
            .site
            .side_of(packet.destination.ip())
            .ok_or("to nowhere")?;
        let listen = host(self.site.address(side));
        let via = sip.get("Via");
        if via != format!("SIP/2.0/UDP {listen};branch={branch}") || !is_our_branch(&branch) {
            return Err(format!("top Via is {via}"));
        }
        let known = ledger.sent(self.epoch, &branch, method);
        let stateful = |&at: &usize| {
            let parent = ledger.sent[at].parent;
            !parent.is_some_and(|at| ledger.asked[at].stateless)
        };
        if let Some(at) = known.filter(stateful) {
            return self.repeated(now, ledger, at, packet, sip);
        }
        let passes = sip
            .all("Via")
            .take_while(|via| self.is_own_via(via))
            .count();
        let Some(below) = sip.all("Via").nth(passes) else {
            return self.own_request(now, call, ledger, packet, sip, &branch);
        };
        let came = param(below, "branch").unwrap_or_default();
        let asked = ledger.asked.iter().rposition(|asked| {
            asked.epoch == self.epoch
                && asked.request.branch() == came
                && asked.request.method() == method
        });
        let at = asked.ok_or("nobody sent this request")?;
        if ledger.asked[at].stateless {
            return self.goes_by(now, call, ledger, at, packet, sip, passes);
        }
        self.may_pass(now, call, ledger, at)?;
        let asked = &ledger.asked[at];
        let dialog_begins = method == "INVITE" && sip.to_tag().is_empty();
        if !dialog_begins && !sip.to_tag().is_empty() && !ledger.is_ours(&asked.request) {
            return Err("a Route that the box never gave has opened the way".to_owned());
        }
        // What leaves by two devices in the same moment is seen in their order.
        if let Some((answer, at)) = &asked.answer
            && *at < now
        {
            return Err(format!("sent on after {}", answer.name()));
        }
        if asked.cancelled.is_some() && asked.cancelled != Some(now) && asked.is_invite() {
            return Err("a new branch after CANCEL".to_owned());
        }
        self.forks_no_loop(ledger, at)?;
        located::goes_on(ledger, at, now, (sip.uri(), packet.destination))?;
        edits::forwarded(
            &self.site,
            asked,
            sip,
            side,
            passes,
            Body::relayed(
                ledger.is_over(self.epoch) || ledger.is_second(sip) || ledger.has_failed(sip),
            ),
        )?;
        for route in sip.all("Record-Route") {
            if !ledger.recorded.iter().any(|known| known == route) {
                ledger.recorded.push(route.to_owned());
            }
        }
        self.paid(
            call,
            |owed| matches!(owed, Owed::TakenUp(a) | Owed::Decision(a) if *a == at),
        );
        ledger
            .sent
            .push(sent(self.epoch, now, packet, sip, Some(at), passes));
        Ok(())
    }

    /// RFC 5393 §4.1: what goes to a further target has not come the same way before, as its Vias
    /// would say.
    fn forks_no_loop(&self, ledger: &Ledger, at: usize) -> Result<(), String> {
        let asked = &ledger.asked[at];
        let request = &asked.request;
        let is_further = ledger.branches(at).next().is_some();
        if !is_further || !request.all("Via").any(|via| self.is_own_via(via)) {
            return Ok(());
        }
        let has_passed = |branch: &str| {
            let mut vias = request.all("Via").skip(1);
            vias.any(|via| param(via, "branch") == Some(branch))
        };
        // What left an earlier start of the box alone is nothing that this one knows by its branches.
        let has_left = |other: &Asked| {
            let mut vias = other
                .request
                .all("Via")
                .filter_map(|via| param(via, "branch"));
            vias.any(|branch| ledger.sent(self.epoch, branch, request.method()).is_some())
        };
        let is_same = |other: &Asked| {
            other.epoch == asked.epoch
                && has_left(other)
                && has_passed(other.request.branch())
                && other.source == asked.source
                && other.request.uri() == request.uri()
                && other.request.get("CSeq") == request.get("CSeq")
                && other.request.from_tag() == request.from_tag()
        };
        match ledger.asked[..at].iter().any(is_same) {
            true => Err("forked, though it loops".to_owned()),
            false => Ok(()),
        }
    }

    /// True where a branch may be cancelled (RFC 3261 §9.1, §16.7 step 10, §16.8): the caller
    /// has cancelled, another branch has decided the call, it rings for too long, or another
    /// target has been tried in its place.
    fn is_unwanted(ledger: &Ledger, at: usize, now: Tick) -> bool {
        let sent = &ledger.sent[at];
        let Some(parent) = sent.parent else {
            return false;
        };
        let asked = &ledger.asked[parent];
        let decides = |status: u16| !(300..600).contains(&status);
        let decided = |(_, other): (usize, &Sent)| other.status().is_some_and(decides);
        asked.cancelled.is_some()
            || asked.answer.is_some()
            || ledger.branches(parent).any(decided)
            || now.plus_ms(LATE_MS) >= sent.at.plus_ms(TIMER_C_MIN_MS)
            || is_superseded(ledger, at)
    }

    fn is_own_via(&self, via: &str) -> bool {
        let branch = param(via, "branch").unwrap_or_default();
        let by = via
            .strip_prefix("SIP/2.0/UDP ")
            .and_then(|rest| rest.split(';').next());
        let own = [0, 1].map(|side| host(self.site.address(side)));
        is_our_branch(branch) && by.is_some_and(|by| own.iter().any(|own| own == by))
    }

    /// A request that leaves once more (RFC 3261 §17.1): timers A and E, and no longer than
    /// 64·T1; not once anything final was heard, an INVITE not once anything was.
    pub(super) fn repeated(
        &self,
        now: Tick,
        ledger: &mut Ledger,
        at: usize,
        packet: &Packet,
        sip: &Sip,
    ) -> Result<(), String> {
        let parent = ledger.sent[at].parent;
        let asked = parent.and_then(|at| ledger.asked.get(at));
        let fresh = asked.is_some_and(|asked| asked.last_at == now);
        let is_over = ledger.is_over(self.epoch) || ledger.is_second(sip);
        // A copy of an ACK goes to where the other party has spoken from since.
        let has_moved = sip.method() == "ACK"
            && ledger.asked.iter().any(|asked| {
                let is_later = asked.epoch == self.epoch && asked.last_at >= ledger.sent[at].at;
                is_later && asked.source == packet.destination
            });
        let sent = &mut ledger.sent[at];
        if let Some(asked) = asked.filter(|_| is_over && sip.method() == "ACK") {
            // The answer in a late one is for relays that are closed.
            let side = self.site.side_of(packet.destination.ip()).unwrap_or(0);
            return edits::forwarded(&self.site, asked, sip, side, sent.passes, Body::MayPass);
        }
        let is_elsewhere = sent.to != packet.destination && !has_moved;
        if sent.request.bytes() != sip.bytes() || is_elsewhere {
            return Err(differ(sent.request.text(), sip.text()));
        }
        sent.times += 1;
        if sip.method() == "ACK" {
            // Each copy that comes goes on, and nothing else does; one of the box's own is for
            // each copy of a late 2xx.
            return if fresh || parent.is_none() {
                Ok(())
            } else {
                Err("repeated by itself".to_owned())
            };
        }
        let invite = sent.is_invite();
        let most = if invite { 7 } else { 11 };
        if sent.times > most || now > sent.at.plus_ms(T1_64_MS + LATE_MS) {
            return Err(format!(
                "sent {} times in {} ms",
                sent.times,
                now.since(sent.at) / 1_000_000
            ));
        }
        let heard = sent
            .heard
            .filter(|_| invite)
            .or(sent.answered_at())
            .or(sent.unreachable);
        if heard.is_some_and(|heard| heard < now) {
            return Err("repeated though it was answered".to_owned());
        }
        Ok(())
    }

    /// CANCEL, the ACK to a failure (RFC 3261 §9.1, §17.1.1.3), and what ends a 2xx that nobody
    /// waits for any more, or a dead call.
    fn own_request(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        packet: &Packet,
        sip: &Rc<Sip>,
        branch: &str,
    ) -> Result<(), String> {
        let Some(at) = ledger.sent(self.epoch, branch, "INVITE") else {
            return self.own_ending(now, call, ledger, packet, sip);
        };
        let sent = &ledger.sent[at];
        hop_by_hop(&sent.request, sip)?;
        if packet.destination != sent.to {
            return Err(format!(
                "to {}, the INVITE went to {}",
                packet.destination, sent.to
            ));
        }
        match sip.method() {
            "ACK" => {
                let answer = sent.answer.as_ref().map(|(answer, _)| answer);
                let failed = answer.filter(|a| a.status().is_some_and(|status| status >= 300));
                let failed = failed.ok_or("it acknowledges no failure")?;
                if failed.get("To") != sip.get("To") {
                    return Err("To is not the failure's".to_owned());
                }
                if let Some(before) = &sent.ack
                    && before.bytes() != sip.bytes()
                {
                    return Err(differ(before.text(), sip.text()));
                }
                ledger.sent[at].ack = Some(sip.clone());
                self.paid(call, |owed| matches!(owed, Owed::Ack(a) if *a == at));
            }
            "CANCEL" => {
                if sip.get("To") != sent.request.get("To") {
                    return Err("To is not the INVITE's".to_owned());
                }
                if !Self::is_unwanted(ledger, at, now) {
                    return Err("a CANCEL that nobody wanted".to_owned());
                }
                if sent.heard.is_none() {
                    return Err("a CANCEL before anything was heard".to_owned());
                }
                if sent.answer.as_ref().is_some_and(|(_, at)| *at < now) {
                    return Err("a CANCEL after the final response".to_owned());
                }
                ledger.sent[at].cancelled = Some(now);
                ledger
                    .sent
                    .push(self::sent(self.epoch, now, packet, sip, None, 1));
                let passed_over = is_passed_over(ledger, at, now);
                self.paid(call, |owed| match owed {
                    Owed::Cancel(a) => *a == at,
                    Owed::Up(_, response) => {
                        let rings = response.status() < Some(200);
                        passed_over && rings && response.branch() == branch
                    }
                    _ => false,
                });
            }
            other => return Err(format!("{other} with the branch of an INVITE")),
        }
        Ok(())
    }

    /// ACK and BYE of the box itself (RFC 3261 §16.7 step 10, RFC 4028 §8): only in a dialog
    /// whose 2xx came by here.
    fn own_ending(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        packet: &Packet,
        sip: &Rc<Sip>,
    ) -> Result<(), String> {
        if !matches!(sip.method(), "ACK" | "BYE") {
            return Err("a request without the sender's Via".to_owned());
        }
        let tags = [sip.from_tag(), sip.to_tag()];
        // Since a restart the box takes an UPDATE for the sign of a call.
        let is_unknown = !ledger.has_begun(self.epoch);
        let is_dialog = |response: &Rc<Sip>| {
            let theirs = [response.from_tag(), response.to_tag()];
            response.status().is_some_and(|s| (200..300).contains(&s))
                && (response.method() == "INVITE" || is_unknown && response.method() == "UPDATE")
                && (theirs == tags || theirs == [tags[1], tags[0]])
        };
        // After a restart the 2xx may be unknown to the box, but not to us.
        let dialog = ledger.sent.iter().find_map(|sent| {
            let answer = sent.came.iter().find(|came| is_dialog(came))?;
            Some((sent.parent, answer))
        });
        let (parent, answer) = dialog.ok_or("it ends no dialog that was answered here")?;
        // Of several late phones each is told again that nobody waits for it.
        let refused = parent.is_some_and(|at| ledger.asked[at].status() >= Some(300));
        let to_callee = answer.to_tag() == tags[1];
        if to_callee && sip.method() == "BYE" && sip.cseq() <= answer.cseq() {
            return Err(format!("CSeq {} after {}", sip.cseq(), answer.cseq()));
        }
        let tag = sip.to_tag().to_owned();
        let is_late = |(of, owed): &(usize, Owed)| {
            *of == call && matches!(owed, Owed::Bye(_, late) if *late == tag)
        };
        if sip.method() == "BYE" && !refused && !self.owed.iter().any(is_late) {
            ledger.has_expired(tags, now)?;
        }
        let epoch = self.epoch;
        ledger.sent.push(sent(epoch, now, packet, sip, None, 1));
        if sip.method() == "BYE" {
            self.paid(
                call,
                |owed| matches!(owed, Owed::Bye(_, late) if *late == tag),
            );
        }
        Ok(())
    }
}

pub(super) fn sent(
    epoch: u16,
    now: Tick,
    packet: &Packet,
    sip: &Rc<Sip>,
    parent: Option<usize>,
    passes: usize,
) -> Sent {
    Sent {
        epoch,
        to: packet.destination,
        request: sip.clone(),
        parent,
        passes,
        at: now,
        times: 1,
        heard: None,
        first_heard: None,
        answer: None,
        unreachable: None,
        late: false,
        came: Vec::new(),
        cancelled: None,
        ack: None,
    }
}

/// True where the box may have gone on past a silent target in the step in which that target is
/// heard at last: what was looked at first is not said. Where it was given up before, it is
/// cancelled now (RFC 3261 §9.1), and nobody need be told that it rings.
fn is_passed_over(ledger: &Ledger, at: usize, now: Tick) -> bool {
    let sent = &ledger.sent[at];
    let was_silent = sent.first_heard == Some(now) && now >= sent.at.plus_ms(NO_ANSWER_MS);
    was_silent && is_superseded(ledger, at)
}

/// What a request that is hop by hop has of its INVITE.
fn hop_by_hop(invite: &Sip, sip: &Sip) -> Result<(), String> {
    for name in ["From", "Call-ID", "Via"] {
        if sip.one(name) != invite.one(name) {
            return Err(format!("{name} is not the INVITE's"));
        }
    }
    if sip.uri() != invite.uri() || sip.cseq() != invite.cseq() {
        return Err("URI or CSeq is not the INVITE's".to_owned());
    }
    if !sip.all("Route").eq(invite.all("Route")) {
        return Err("Route is not the INVITE's".to_owned());
    }
    Ok(())
}

pub(super) fn differ(before: &str, now: &str) -> String {
    format!("repeated, but not the same:\n{before}\n-- now --\n{now}")
}

fn is_our_branch(branch: &str) -> bool {
    let base32 = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    let rest = branch.strip_prefix("z9hG4bK");
    rest.is_some_and(|rest| rest.len() == 32 && rest.chars().all(base32))
}
