//! The requests of others, and an agent's responses.

use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::Agent;
use super::Callee;
use super::dialog::Dialog;
use super::dialog::State;
use super::script::Alarm;
use super::transaction::Client;
use super::transaction::Server;
use crate::sim::media;
use crate::sim::network::Packet;
use crate::sim::sip::Draft;
use crate::sim::sip::Sip;
use crate::sim::sip::param;

/// How long a phone rings before its voice mail refuses.
const RINGS_MS: u64 = 60_000;

/// So many of a thousand final responses come once more when all is over.
const STRAYS: u16 = 50;

impl Agent {
    pub(super) fn receive_request(
        &mut self,
        now: Tick,
        source: SocketAddr,
        sip: &Rc<Sip>,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let method = sip.method();
        if method == "ACK" {
            return self.receive_ack(now, sip);
        }
        if method == "INVITE" && !self.is_caller() && self.behaviour() == Callee::IsDead {
            return Ok(());
        }
        let known = |server: &Server| {
            server.request.branch() == sip.branch() && server.request.method() == method
        };
        if let Some(at) = self.servers.iter().position(known) {
            self.repeat_response(at, out);
            return Ok(());
        }
        let (to, from) = (sip.to_tag(), sip.from_tag());
        let dialog = self
            .dialogs
            .iter()
            .position(|d| d.local == to && d.remote == from);
        self.servers.push(Server::new(sip.clone(), source, dialog));
        let at = self.servers.len() - 1;
        if method == "CANCEL" {
            return self.receive_cancel(at, now, out);
        }
        if sip.to_tag().is_empty() {
            if method == "INVITE" && at > 0 && self.receive_another(at, now, out)? {
                return Ok(());
            }
            if method == "INVITE" {
                return self.receive_invite(now, sip);
            }
            return self.answer_other(at, now, out);
        }
        let ended = dialog.is_none_or(|at| self.dialogs[at].state == State::Ended);
        if let Some(dialog) = dialog.filter(|&dialog| self.answers_late(dialog, method)) {
            if method == "BYE" {
                self.dialogs[dialog].state = State::Ended;
            }
            self.later(now, 1, 2_500, Alarm::Reply(at));
            return Ok(());
        }
        let Some(dialog) = dialog.filter(|_| !ended || method == "BYE") else {
            return self.respond(
                at,
                "481 Call/Transaction Does Not Exist",
                "",
                None,
                now,
                out,
            );
        };
        match method {
            "INVITE" => self.receive_reinvite(at, dialog, now, out),
            "UPDATE" | "PRACK" => self.receive_update(at, dialog, now, out),
            "BYE" => self.receive_bye(at, dialog, now, out),
            _ => self.respond(at, "200 OK", "", Some(dialog), now, out),
        }
    }

    fn receive_invite(&mut self, now: Tick, sip: &Rc<Sip>) -> Result<(), String> {
        sip.one("Call-ID")?.clone_into(&mut self.call_id);
        match self.behaviour() {
            Callee::IsSlow(ms) => {
                self.begin_dialog("");
                self.later(now, ms.into(), ms.into(), Alarm::Answer(0));
            }
            Callee::IsSlowTwice(ms) => {
                self.begin_dialog("");
                self.begin_dialog("x");
                self.later(now, ms.into(), ms.into(), Alarm::Answer(0));
                self.later(
                    now,
                    u64::from(ms) + 1,
                    u64::from(ms) + 1_500,
                    Alarm::Answer(1),
                );
            }
            Callee::RingsLate(ms) => self.later(now, ms.into(), ms.into(), Alarm::Ring),
            _ => self.later(now, 1, 200, Alarm::Ring),
        }
        Ok(())
    }

    /// A dialog for the INVITE, with a tag that ends with `mark`.
    fn begin_dialog(&mut self, mark: &str) {
        let invite = self.servers[0].request.clone();
        let mut dialog = Dialog::new(format!("{}{mark}", self.tag), invite.from_tag(), 0);
        dialog.learn(&invite);
        if !invite.body().is_empty() {
            dialog.media_to = media::address_in(invite.body()).ok();
            dialog.offered = true;
        }
        self.dialogs.push(dialog);
    }

    /// The phone rings, or the call is refused.
    pub(super) fn ring_bell(&mut self, now: Tick, out: &mut Vec<Packet>) -> Result<(), String> {
        if self.servers[0].status().is_some() {
            return Ok(());
        }
        self.begin_dialog("");
        let behaviour = self.behaviour();
        match behaviour {
            Callee::SendsEarly => {
                let body = self.sdp(Some(0), "sendrecv");
                self.respond(0, "183 Session Progress", &body, Some(0), now, out)?;
            }
            Callee::IsReliable => {
                let body = self.sdp(Some(0), "sendrecv");
                return self.respond(0, "183 Session Progress", &body, Some(0), now, out);
            }
            _ => self.respond(0, "180 Ringing", "", Some(0), now, out)?,
        }
        match behaviour {
            Callee::Rings => self.alarms.push((now.plus_ms(RINGS_MS), Alarm::Answer(0))),
            Callee::Insists => self.later(now, 3_000, 6_000, Alarm::Answer(0)),
            Callee::Forks(phones) => {
                for phone in 1..usize::from(phones) {
                    self.begin_dialog(&"x".repeat(phone));
                    self.respond(0, "180 Ringing", "", Some(phone), now, out)?;
                }
                self.later(now, 1, 2_500, Alarm::Answer(usize::from(phones) - 1));
            }
            Callee::ForksTwice => {
                self.begin_dialog("x");
                self.respond(0, "180 Ringing", "", Some(1), now, out)?;
                self.later(now, 1, 2_500, Alarm::Answer(1));
                self.later(now, 1, 2_500, Alarm::Answer(0));
            }
            _ => self.later(now, 1, 2_500, Alarm::Answer(0)),
        }
        Ok(())
    }

    /// The callee's final response in a dialog.
    pub(super) fn answer(
        &mut self,
        dialog: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let twice = matches!(
            self.behaviour(),
            Callee::ForksTwice | Callee::IsSlowTwice(_)
        );
        if self.servers[0]
            .status()
            .is_some_and(|status| status != 200 || !twice)
        {
            return Ok(());
        }
        match self.behaviour() {
            Callee::Refuses(status) => {
                let line = format!("{status} No");
                self.respond(0, &line, "", Some(dialog), now, out)
            }
            Callee::Rings => {
                // Half of them ring on, for Timer C to end.
                if self.random.happens(500) {
                    return self.respond(0, "480 Away", "", Some(dialog), now, out);
                }
                Ok(())
            }
            _ => {
                // The second phone repeats its own 2xx.
                let mut at = 0;
                if self.servers[0].status().is_some() {
                    let invite = self.servers[0].request.clone();
                    let source = self.servers[0].source;
                    self.servers.push(Server::new(invite, source, Some(dialog)));
                    at = self.servers.len() - 1;
                }
                self.dialogs[dialog].state = State::Confirmed;
                let body = if self.dialogs[dialog].agreed {
                    String::new()
                } else {
                    self.sdp(Some(dialog), "sendrecv")
                };
                self.respond(at, "200 OK", &body, Some(dialog), now, out)
            }
        }
    }

    fn receive_cancel(
        &mut self,
        at: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let branch = self.servers[at].request.branch();
        let is_invite = |s: &Server| s.is_invite() && s.request.branch() == branch;
        let Some(invite) = self.servers.iter().position(is_invite) else {
            return self.respond(
                at,
                "481 Call/Transaction Does Not Exist",
                "",
                None,
                now,
                out,
            );
        };
        self.respond(at, "200 OK", "", None, now, out)?;
        let insists = matches!(self.behaviour(), Callee::Insists) && !self.is_caller();
        if self.servers[invite].status().is_some() || insists {
            return Ok(());
        }
        let dialog = (!self.dialogs.is_empty()).then_some(0);
        self.respond(invite, "487 Request Terminated", "", dialog, now, out)?;
        for dialog in &mut self.dialogs {
            dialog.state = State::Ended;
        }
        Ok(())
    }

    fn receive_reinvite(
        &mut self,
        at: usize,
        dialog: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        // RFC 3261 §14.2.
        let ours = |c: &Client| c.dialog == Some(dialog) && c.is_invite() && c.is_pending();
        if self.clients.iter().any(ours) {
            return self.respond(at, "491 Request Pending", "", Some(dialog), now, out);
        }
        let request = self.servers[at].request.clone();
        let direction = match request.body().contains("a=sendonly") {
            true => "recvonly",
            false => "sendrecv",
        };
        let known = &mut self.dialogs[dialog];
        known.media_to = Some(media::address_in(request.body())?);
        known.retarget(&request);
        let body = self.sdp(Some(dialog), direction);
        self.respond(at, "200 OK", &body, Some(dialog), now, out)
    }

    /// UPDATE and PRACK.
    fn receive_update(
        &mut self,
        at: usize,
        dialog: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let request = self.servers[at].request.clone();
        let mut body = String::new();
        if !request.body().is_empty() {
            self.dialogs[dialog].media_to = Some(media::address_in(request.body())?);
            // In PRACK it is the answer to what the 183 offered.
            if request.method() == "UPDATE" {
                body = self.sdp(Some(dialog), "sendrecv");
            }
        }
        if request.method() == "PRACK" {
            self.dialogs[dialog].agreed = true;
            if let Some(invite) = self.servers.first_mut().filter(|s| s.status().is_none()) {
                invite.hush();
                self.later(now, 100, 2_000, Alarm::Answer(dialog));
            }
        }
        self.respond(at, "200 OK", &body, Some(dialog), now, out)
    }

    fn receive_bye(
        &mut self,
        at: usize,
        dialog: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        self.dialogs[dialog].state = State::Ended;
        self.hung_up = now;
        // RFC 3261 §15.1.2: whatever is pending ends, a 2xx is repeated no more.
        for server in self
            .servers
            .iter_mut()
            .filter(|server| server.dialog == Some(dialog))
        {
            if server.status() == Some(200) {
                server.acknowledge();
            }
        }
        self.respond(at, "200 OK", "", Some(dialog), now, out)
    }

    fn receive_ack(&mut self, now: Tick, sip: &Sip) -> Result<(), String> {
        let same = |server: &Server| server.is_invite() && server.request.cseq() == sip.cseq();
        let failed = |server: &Server| {
            let failed = server.status().is_some_and(|status| status >= 300);
            failed && same(server) && server.request.branch() == sip.branch()
        };
        let accepted = |server: &Server| {
            let to = server.response.as_ref().map(|response| response.to_tag());
            server.status() == Some(200) && same(server) && to == Some(sip.to_tag())
        };
        let mut servers = self.servers.iter();
        let at = servers.position(failed);
        let Some(at) = at.or_else(|| self.servers.iter().position(accepted)) else {
            // A box that has restarted cannot tell the ACK to a failure of before from one
            // to a 2xx, and sends it on. The failure may have been its own: then nobody was asked.
            let asked = |server: &Server| server.is_invite() && server.request.cseq() == sip.cseq();
            let of_dialog = |dialog: &Dialog| dialog.remote == sip.from_tag();
            let is_strayed = self.is_cut && self.dialogs.iter().any(of_dialog);
            return match is_strayed || self.servers.iter().any(asked) {
                true => Ok(()),
                false => Err("an ACK to nothing that this party was asked".to_owned()),
            };
        };
        let first = self.servers[at].acknowledge();
        let Some(dialog) = self.servers[at].dialog else {
            return Ok(());
        };
        if self.servers[at].status() != Some(200) || !first {
            return Ok(());
        }
        if !sip.body().is_empty() {
            self.dialogs[dialog].media_to = Some(media::address_in(sip.body())?);
        }
        let begins = self.servers[at].request.to_tag().is_empty();
        if begins && self.dialogs[dialog].state == State::Confirmed {
            self.play_along(dialog, now);
        }
        Ok(())
    }

    /// The ACK, or the PRACK, never came.
    pub(super) fn lacks_answer(
        &mut self,
        at: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        match (self.servers[at].status(), self.servers[at].dialog) {
            // RFC 3261 §13.3.1.4: a 2xx without an ACK ends the session with a BYE.
            (Some(200), Some(dialog)) => self.hang_up(dialog, now, out),
            // RFC 3262 §3.
            (None, dialog) => self.respond(at, "500 No PRACK", "", dialog, now, out),
            _ => Ok(()),
        }
    }

    pub(super) fn respond(
        &mut self,
        at: usize,
        line: &str,
        body: &str,
        dialog: Option<usize>,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let request = self.servers[at].request.clone();
        let status = line
            .get(..3)
            .and_then(|status| status.parse::<u16>().ok())
            .unwrap_or(500);
        let tag = dialog
            .and_then(|at| self.dialogs.get(at))
            .map_or(&self.tag, |d| &d.local);
        let mut draft = Draft::new(format_args!("SIP/2.0 {line}"));
        for (name, value) in request.headers() {
            match name {
                "To" if request.to_tag().is_empty() => {
                    draft.push("To", format_args!("{value};tag={tag}"));
                }
                "Via" | "From" | "To" | "Call-ID" | "CSeq" => draft.push(name, value),
                "Record-Route" if status < 300 => draft.push(name, value),
                _ => {}
            }
        }
        draft.push(
            "Contact",
            format_args!("<sip:{}@{}>", self.tag, self.who.named()),
        );
        match status {
            401 => draft.push(
                "WWW-Authenticate",
                format_args!("Digest realm=\"{}\", nonce=\"w\"", self.who.number),
            ),
            407 => draft.push(
                "Proxy-Authenticate",
                format_args!("Digest realm=\"{}\", nonce=\"p\"", self.who.number),
            ),
            183 if self.behaviour() == Callee::IsReliable => {
                draft.push("Require", "100rel");
                draft.push("RSeq", 7);
            }
            200 => self.push_agreement(&request, dialog, &mut draft, now),
            _ => {}
        }
        draft.push("X-Passes", "back; as it came");
        if !body.is_empty() {
            draft.push("Content-Type", "application/sdp");
        }
        let response = draft.finish(body)?;
        if status >= 200 && request.method() == "INVITE" && self.random.happens(STRAYS) {
            self.later(now, 36_000, 39_000, Alarm::Stray(at));
        }
        self.servers[at].dialog = dialog;
        self.servers[at].respond(response, now);
        self.repeat_response(at, out);
        Ok(())
    }

    /// RFC 4028 §9: what a 2xx says of the session.
    fn push_agreement(
        &mut self,
        request: &Sip,
        dialog: Option<usize>,
        draft: &mut Draft,
        now: Tick,
    ) {
        let value = request.get("Session-Expires");
        let asked = value
            .split(';')
            .next()
            .and_then(|seconds| seconds.trim().parse::<u64>().ok());
        let Some((dialog, seconds)) = dialog.zip(asked) else {
            return;
        };
        let they_can = request
            .all("Supported")
            .any(|value| value.contains("timer"));
        let we = !they_can || param(value, "refresher") == Some("uas");
        if they_can {
            draft.push("Require", "timer");
        }
        let refresher = if we { "uas" } else { "uac" };
        draft.push(
            "Session-Expires",
            format_args!("{seconds};refresher={refresher}"),
        );
        if let Some(known) = self.dialogs.get_mut(dialog) {
            known.session = Some((seconds * 1_000, we));
        }
        self.schedule_session(dialog, now);
    }

    pub(super) fn repeat_response(&self, at: usize, out: &mut Vec<Packet>) {
        if let Some(response) = &self.servers[at].response {
            self.send_to(self.servers[at].source, response.clone(), out);
        }
    }
}
