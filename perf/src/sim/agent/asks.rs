//! The requests of an agent, and the responses to them.

use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::Agent;
use super::Caller;
use super::dialog::Dialog;
use super::dialog::State;
use super::hop_by_hop;
use super::script::Alarm;
use super::transaction::Client;
use crate::sim::media;
use crate::sim::network::Packet;
use crate::sim::sip::Draft;
use crate::sim::sip::Sip;
use crate::sim::sip::host;
use crate::sim::sip::param;

/// As the box writes its identifiers (RFC 4648 §7, in lower case).
fn base32(bytes: impl AsRef<[u8]>) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 32).unwrap_or('0');
    let bits = bytes
        .as_ref()
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let fives = bits
        .chunks(5)
        .map(|five| five.iter().fold(0, |value, bit| value << 1 | bit));
    fives.map(digit).collect()
}

impl Agent {
    pub(super) fn begin(
        &mut self,
        mut draft: Draft,
        body: &str,
        dialog: Option<usize>,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        self.push_proof(&mut draft);
        let request = draft.finish(body)?;
        self.send(request.clone(), self.source(), out);
        self.clients
            .push(Client::new(request, dialog, self.source(), now));
        Ok(())
    }

    /// The INVITE that begins a call.
    pub(super) fn invite(&mut self, now: Tick, out: &mut Vec<Packet>) -> Result<(), String> {
        let plan = self.who.plan.clone();
        let mut draft = self.draft("INVITE", 1, None);
        if plan.session {
            draft.push("Supported", "timer, 100rel");
            draft.push("Session-Expires", "90;refresher=uac");
        } else if plan.caller != Caller::Bare {
            draft.push("Supported", "100rel");
        }
        let body = if plan.caller == Caller::OffersLate {
            String::new()
        } else {
            draft.push("Content-Type", "application/sdp");
            self.sdp(None, "sendrecv")
        };
        self.begin(draft, &body, None, now, out)
    }

    /// A request that begins nothing.
    pub(super) fn ask(
        &mut self,
        method: &str,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let mut draft = self.draft(method, 1, None);
        let body = if method == "MESSAGE" {
            "what was, is"
        } else {
            ""
        };
        if !body.is_empty() {
            draft.push("Content-Type", "text/plain");
        }
        self.begin(draft, body, None, now, out)
    }

    /// A request of a dialog that never was, by a Route that looks like the box's.
    pub(super) fn ask_forged(&mut self, now: Tick, out: &mut Vec<Packet>) -> Result<(), String> {
        let at = host(self.who.next.ip());
        // The two listens are as they should be; only who has the key knows the rest.
        let cookie = base32(
            [
                &[0, 1, 0, 7, 0, 0, 0, 0][..],
                &self.random.next().to_be_bytes()[..7],
            ]
            .concat(),
        );
        let mut dialog = Dialog::new(self.tag.clone(), "b0", 1);
        dialog.routes.push(format!("<sip:{at};lr;tl={cookie}>"));
        dialog.target = self.number_called();
        dialog.state = State::Ended;
        self.dialogs.push(dialog);
        let draft = self.draft("BYE", 1, Some(0));
        self.begin(draft, "", Some(0), now, out)
    }

    pub(super) fn next_cseq(&mut self, dialog: usize) -> u32 {
        self.dialogs.get_mut(dialog).map_or(1, |dialog| {
            dialog.cseq += 1;
            dialog.cseq
        })
    }

    fn is_confirmed(&self, dialog: usize) -> bool {
        self.dialogs
            .get(dialog)
            .is_some_and(|dialog| dialog.state == State::Confirmed)
    }

    /// True while an INVITE of this dialog is under way, in either direction.
    fn is_inviting(&self, dialog: usize) -> bool {
        let mut clients = self.clients.iter();
        let mut servers = self.servers.iter();
        clients.any(|c| c.dialog == Some(dialog) && c.is_invite() && c.is_pending())
            || servers.any(|s| s.dialog == Some(dialog) && s.is_invite() && !s.acknowledged)
    }

    pub(super) fn reinvite(
        &mut self,
        dialog: usize,
        direction: &str,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        if !self.is_confirmed(dialog) || self.is_inviting(dialog) {
            return Ok(());
        }
        self.move_away();
        let cseq = self.next_cseq(dialog);
        let mut draft = self.draft("INVITE", cseq, Some(dialog));
        self.push_session(&mut draft, dialog);
        draft.push("Content-Type", "application/sdp");
        let body = self.sdp(Some(dialog), direction);
        self.begin(draft, &body, Some(dialog), now, out)
    }

    /// RFC 4028 §7.4: each refresh says it again.
    fn push_session(&self, draft: &mut Draft, dialog: usize) {
        let session = self.dialogs.get(dialog).and_then(|dialog| dialog.session);
        if let Some((interval_ms, ours)) = session {
            let refresher = if ours { "uac" } else { "uas" };
            draft.push("Supported", "timer");
            draft.push(
                "Session-Expires",
                format_args!("{};refresher={refresher}", interval_ms / 1_000),
            );
        }
    }

    pub(super) fn update(
        &mut self,
        dialog: usize,
        offer: bool,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        if !self.is_confirmed(dialog) || self.is_inviting(dialog) {
            return Ok(());
        }
        self.move_away();
        let cseq = self.next_cseq(dialog);
        let mut draft = self.draft("UPDATE", cseq, Some(dialog));
        self.push_session(&mut draft, dialog);
        let mut body = String::new();
        if offer {
            draft.push("Content-Type", "application/sdp");
            body = self.sdp(Some(dialog), "sendrecv");
        }
        self.begin(draft, &body, Some(dialog), now, out)
    }

    pub(super) fn hang_up(
        &mut self,
        dialog: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let Some(known) = self
            .dialogs
            .get_mut(dialog)
            .filter(|d| d.state == State::Confirmed)
        else {
            return Ok(());
        };
        known.state = State::Ended;
        self.move_away();
        let cseq = self.next_cseq(dialog);
        let draft = self.draft("BYE", cseq, Some(dialog));
        self.begin(draft, "", Some(dialog), now, out)
    }

    /// CANCEL, where there is something to cancel (RFC 3261 §9.1).
    pub(super) fn cancel_client(
        &mut self,
        at: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let Some(invite) = self.clients.get_mut(at).filter(|client| client.is_invite()) else {
            return Ok(());
        };
        if !invite.is_pending() || invite.cancelled {
            return Ok(());
        }
        if !invite.heard {
            self.later(now, 200, 200, Alarm::Cancel);
            return Ok(());
        }
        invite.cancel(now);
        let cancel = hop_by_hop(&invite.request, "CANCEL", invite.request.get("To"))?;
        let source = invite.source;
        self.send(cancel.clone(), source, out);
        self.clients.push(Client::new(cancel, None, source, now));
        Ok(())
    }

    /// No answer came to a request.
    pub(super) fn give_up(
        &mut self,
        at: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let client = &self.clients[at];
        // RFC 3261 §12.2.1.2: as if a 408 had come.
        let ends = matches!(client.request.method(), "INVITE" | "UPDATE");
        if let Some(dialog) = client.dialog.filter(|_| ends) {
            self.hang_up(dialog, now, out)?;
        }
        Ok(())
    }

    // --- Responses ----------------------------------------------------------------

    pub(super) fn receive_response(
        &mut self,
        now: Tick,
        status: u16,
        sip: &Rc<Sip>,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let (branch, method) = (sip.branch(), sip.method());
        let found = |client: &Client| {
            client.request.branch() == branch && client.request.method() == method
        };
        let at = self.clients.iter().position(found);
        let at = at.ok_or_else(|| format!("{} to no request of this party", sip.name()))?;
        let first = self.clients[at].hear(status, now);
        if first && self.answer_challenge(at, sip, now, out)? {
            return Ok(());
        }
        match (method, status) {
            ("INVITE", 101..=199) => self.hear_progress(at, sip, now, out)?,
            ("INVITE", 100) => {}
            ("INVITE", 200..=299) => self.hear_answer(at, sip, now, out)?,
            ("INVITE", _) => self.hear_failure(at, first, sip, now, out)?,
            ("UPDATE", 200..=299) if first => {
                self.hear_session(at, sip, now);
            }
            // RFC 3261 §12.2.1.2.
            ("UPDATE" | "PRACK", 408 | 481) if first => {
                if let Some(dialog) = self.clients[at].dialog {
                    self.hang_up(dialog, now, out)?;
                }
            }
            ("MESSAGE", 200..=299) if first => self.fear_replay(at, now)?,
            ("REGISTER", 200..=299) if first => self.hear_registered(now),
            ("BYE", 200..) if first && self.who.plan.packets > 0 => {
                self.hung_up = now;
                if let Some(dialog) = self.clients[at].dialog {
                    self.later(now, 1_000, 3_000, Alarm::Straggle(dialog));
                }
            }
            _ => {}
        }
        if self.who.plan.caller == Caller::CancelsEarly && method == "INVITE" && status < 200 {
            self.cancel_client(at, now, out)?;
        }
        Ok(())
    }

    /// The dialog of a response to an INVITE: the re-INVITE's, or by its To tag.
    fn dialog_of(&mut self, at: usize, sip: &Sip) -> Result<usize, String> {
        if let Some(dialog) = self.clients[at].dialog {
            return Ok(dialog);
        }
        let tag = sip.to_tag();
        if tag.is_empty() {
            return Err(format!("{} without To tag", sip.name()));
        }
        if let Some(known) = self.dialogs.iter().position(|dialog| dialog.remote == tag) {
            return Ok(known);
        }
        let cseq = self.clients[at].request.cseq();
        let mut dialog = Dialog::new(self.tag.clone(), tag, cseq);
        dialog.learn(sip);
        self.dialogs.push(dialog);
        Ok(self.dialogs.len() - 1)
    }

    fn hear_progress(
        &mut self,
        at: usize,
        sip: &Rc<Sip>,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        if self.clients[at].status.is_some() {
            return Ok(());
        }
        let known = self.dialogs.len();
        let dialog = self.dialog_of(at, sip)?;
        if dialog == known {
            self.talk_early(dialog, now);
        }
        if !sip.body().is_empty() {
            self.dialogs[dialog].media_to = Some(media::address_in(sip.body())?);
        }
        let rseq = sip.get("RSeq");
        if rseq.is_empty() || self.dialogs[dialog].agreed {
            return Ok(());
        }
        // RFC 3262 §4; once, as our callees send one reliable response.
        self.dialogs[dialog].agreed = true;
        let invite = self.clients[at].request.clone();
        let cseq = self.next_cseq(dialog);
        let mut draft = self.draft("PRACK", cseq, Some(dialog));
        draft.push("RAck", format_args!("{rseq} {} INVITE", invite.cseq()));
        let mut body = String::new();
        if invite.body().is_empty() {
            draft.push("Content-Type", "application/sdp");
            body = self.sdp(Some(dialog), "sendrecv");
        }
        self.begin(draft, &body, Some(dialog), now, out)
    }

    fn hear_answer(
        &mut self,
        at: usize,
        sip: &Rc<Sip>,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let dialog = self.dialog_of(at, sip)?;
        let source = self.clients[at].source;
        let known = |ack: &&Rc<Sip>| ack.to_tag() == sip.to_tag();
        if let Some(ack) = self.clients[at].acks.iter().find(known).cloned() {
            self.send(ack, source, out);
            return Ok(());
        }
        let begins = self.clients[at].dialog.is_none();
        if begins {
            self.dialogs[dialog].learn(sip);
        } else {
            self.dialogs[dialog].retarget(sip);
        }
        if !sip.body().is_empty() {
            self.dialogs[dialog].media_to = Some(media::address_in(sip.body())?);
        }
        let invite = self.clients[at].request.clone();
        let mut draft = self.draft("ACK", invite.cseq(), Some(dialog));
        // RFC 3261 §22.1: the credentials are those of the INVITE.
        for credentials in invite.all("Proxy-Authorization") {
            draft.push("Proxy-Authorization", credentials);
        }
        let mut body = String::new();
        if invite.body().is_empty() && !self.dialogs[dialog].agreed {
            draft.push("Content-Type", "application/sdp");
            body = self.sdp(Some(dialog), "sendrecv");
        }
        let ack = draft.finish(&body)?;
        self.send(ack.clone(), source, out);
        self.clients[at].acks.push(ack);
        if begins && self.dialogs[dialog].state == State::Early {
            self.confirm(at, dialog, now, out)?;
        }
        self.hear_session(at, sip, now);
        if !begins {
            self.after_reinvite(dialog, now);
        }
        Ok(())
    }

    /// RFC 3261 §13.2.2.4: the first dialog stays, any other ends with BYE, and so does the one
    /// whose 2xx has crossed a CANCEL.
    fn confirm(
        &mut self,
        at: usize,
        dialog: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        self.dialogs[dialog].state = State::Confirmed;
        let confirmed = |dialog: &&Dialog| dialog.state != State::Early;
        let is_first = self.dialogs.iter().filter(confirmed).count() == 1;
        if self.clients[at].cancelled || !is_first {
            return self.hang_up(dialog, now, out);
        }
        self.play(dialog, now);
        Ok(())
    }

    fn after_reinvite(&mut self, dialog: usize, now: Tick) {
        if self.who.plan.caller != Caller::Holds || !self.is_caller() || self.who.plan.session {
            return;
        }
        if std::mem::replace(&mut self.reinvited, true) {
            self.schedule_media(dialog, now);
            self.later(now, 400, 2_000, Alarm::HangUp(dialog));
        } else {
            self.later(now, 200, 900, Alarm::Resume(dialog));
        }
    }

    fn hear_failure(
        &mut self,
        at: usize,
        first: bool,
        sip: &Rc<Sip>,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        // RFC 3261 §17.1.1.3.
        let ack = hop_by_hop(&self.clients[at].request, "ACK", sip.get("To"))?;
        self.send(ack, self.clients[at].source, out);
        if !first {
            return Ok(());
        }
        match (self.clients[at].dialog, sip.status()) {
            (None, _) => {
                let early = self.dialogs.iter_mut().filter(|d| d.state == State::Early);
                early.for_each(|dialog| dialog.state = State::Ended);
                if self.who.plan.caller == Caller::TriesAgain && !self.again {
                    self.later(now, 100, 4_500, Alarm::Again);
                }
            }
            // RFC 3261 §14.1: try again, the owner of the Call-ID later.
            (Some(dialog), Some(491)) => {
                let (low, high) = if self.is_caller() {
                    (2_100, 4_000)
                } else {
                    (0, 2_000)
                };
                self.later(now, low, high, Alarm::Resume(dialog));
            }
            (Some(dialog), Some(408 | 481)) => self.hang_up(dialog, now, out)?,
            // The re-INVITE failed, the call goes on as it was.
            (Some(dialog), _) => self.later(now, 100, 500, Alarm::HangUp(dialog)),
        }
        Ok(())
    }

    /// RFC 4028 §7.2.
    fn hear_session(&mut self, at: usize, sip: &Sip, now: Tick) {
        let value = sip.get("Session-Expires");
        let interval = value
            .split(';')
            .next()
            .and_then(|seconds| seconds.trim().parse::<u64>().ok());
        let dialog = self.clients[at].dialog;
        let by_tag = || {
            self.dialogs
                .iter()
                .position(|dialog| dialog.remote == sip.to_tag())
        };
        let Some((dialog, seconds)) = dialog.or_else(by_tag).zip(interval) else {
            return;
        };
        let ours = param(value, "refresher") == Some("uac");
        if let Some(known) = self.dialogs.get_mut(dialog) {
            known.session = Some((seconds * 1_000, ours));
        }
        self.schedule_session(dialog, now);
    }
}
