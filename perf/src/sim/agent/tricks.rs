//! What few parties do and RFC 3261 allows, and what harms only where the box is wrong.

use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::Agent;
use super::Callee;
use super::Caller;
use super::dialog::Dialog;
use super::dialog::State;
use super::script::Alarm;
use crate::sim::network::Packet;
use crate::sim::plan::Ask;
use crate::sim::sip::Draft;
use crate::sim::sip::Sip;
use crate::sim::sip::host;

/// Of a thousand requests in early dialogs, those that nobody ever answers.
const UNANSWERED: u16 = 150;
/// What the branches begin with under which a switch sends back to the box.
const SWITCHED: &str = "z9hG4bKswitched-";

impl Agent {
    // --- Requests in early dialogs ------------------------------------------------

    /// A phone has begun to ring: what the caller says to it before any answers.
    pub(super) fn talk_early(&mut self, dialog: usize, now: Tick) {
        match self.who.plan.caller {
            // Whichever rings first, this one does not answer.
            Caller::Leaves if !self.dialogs[dialog].remote.ends_with('x') => {
                self.later(now, 1, 1_500, Alarm::Leave(dialog));
            }
            Caller::UpdatesEarly => self.later(now, 1, 2_500, Alarm::UpdateEarly(dialog)),
            _ => {}
        }
    }

    fn is_early(&self, dialog: usize) -> bool {
        let known = self.dialogs.get(dialog);
        known.is_some_and(|known| known.state == State::Early)
    }

    /// RFC 3261 §15: the caller may send BYE in an early dialog, which ends no other.
    pub(super) fn leave(
        &mut self,
        dialog: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        if !self.is_early(dialog) {
            return Ok(());
        }
        self.dialogs[dialog].state = State::Ended;
        let cseq = self.next_cseq(dialog);
        let draft = self.draft("BYE", cseq, Some(dialog));
        self.begin(draft, "", Some(dialog), now, out)
    }

    /// RFC 3311 §5.1: without an offer, since the INVITE's has no answer yet.
    pub(super) fn update_early(
        &mut self,
        dialog: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        if !self.is_early(dialog) {
            return Ok(());
        }
        let cseq = self.next_cseq(dialog);
        let mut draft = self.draft("UPDATE", cseq, Some(dialog));
        // A box that has restarted takes it for a call, which must end.
        draft.push("Supported", "timer");
        draft.push("Session-Expires", "90;refresher=uac");
        self.begin(draft, "", Some(dialog), now, out)
    }

    /// True for a request in an early dialog, to which a proxy's phones are slow to answer.
    pub(super) fn answers_late(&self, dialog: usize, method: &str) -> bool {
        matches!(self.who.plan.caller, Caller::Leaves | Caller::UpdatesEarly)
            && matches!(method, "UPDATE" | "BYE")
            && self.is_early(dialog)
    }

    /// The late answer to it; or to an INVITE of its own.
    pub(super) fn reply(
        &mut self,
        at: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let Some(dialog) = self.servers[at].dialog else {
            return Ok(());
        };
        if self.servers[at].is_invite() {
            return self.respond(at, "486 Busy Here", "", Some(dialog), now, out);
        }
        // The proxy has cancelled the other phones.
        let is_lost = self.is_talking() && self.dialogs[dialog].state == State::Early;
        if self.random.happens(UNANSWERED) {
            return Ok(());
        }
        if is_lost && self.random.happens(500) {
            let gone = "481 Call/Transaction Does Not Exist";
            return self.respond(at, gone, "", Some(dialog), now, out);
        }
        self.respond(at, "200 OK", "", Some(dialog), now, out)
    }

    // --- Another INVITE of the same Call-ID ---------------------------------------

    /// What a proxy before the box does whose first way has failed: the same INVITE by another
    /// branch. It is not merged, since the first has its answer (RFC 3261 §8.2.2.2).
    pub(super) fn call_again(&mut self, now: Tick, out: &mut Vec<Packet>) -> Result<(), String> {
        self.again = true;
        self.dialogs.clear();
        self.invite(now, out)
    }

    /// An INVITE of the call's that is not the first: it is answered as the first was, or
    /// refused where it has the tags of a dialog. False where the first has no answer.
    pub(super) fn receive_another(
        &mut self,
        at: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<bool, String> {
        let stolen = self.behaviour() == Callee::Steals
            && self.dialogs.first().map(|dialog| dialog.remote.as_str())
                == Some(self.servers[at].request.from_tag())
            && self.servers[at].request.cseq() == STOLEN_CSEQ;
        if stolen {
            self.respond(at, "180 Ringing", "", Some(0), now, out)?;
            self.later(now, 4_000, 6_000, Alarm::Reply(at));
            return Ok(true);
        }
        let Some(status) = self.servers[0].status() else {
            return Ok(false);
        };
        let line = match status {
            300.. => format!("{status} No"),
            _ => "486 Busy Here".to_owned(),
        };
        let dialog = (!self.dialogs.is_empty()).then_some(0);
        self.respond(at, &line, "", dialog, now, out)?;
        Ok(true)
    }

    /// The INVITE with the tags of a dialog of others.
    pub(super) fn steal(
        &mut self,
        dialog: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let theirs = self.dialogs[dialog].remote.clone();
        // It stands for the caller's, so that nothing comes of its end.
        let mut own = Dialog::new(theirs, "", STOLEN_CSEQ);
        own.target = self.number_called();
        own.state = State::Ended;
        self.dialogs.push(own);
        let own = self.dialogs.len() - 1;
        let mut draft = self.draft("INVITE", STOLEN_CSEQ, Some(own));
        draft.push("Content-Type", "application/sdp");
        let body = self.sdp(None, "sendrecv");
        self.begin(draft, &body, Some(own), now, out)
    }

    // --- Others than INVITE -------------------------------------------------------

    /// The answer to a request that begins nothing; several are asked at once or in turn.
    pub(super) fn answer_other(
        &mut self,
        at: usize,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        match self.behaviour() {
            Callee::Refuses(status) if self.who.plan.route.forks() => {
                self.respond(at, &format!("{status} No"), "", None, now, out)
            }
            Callee::IsDead if self.who.plan.route.forks() => Ok(()),
            _ => self.respond(at, "200 OK", "", None, now, out),
        }
    }

    /// True for what a switch sends back to the box, and the responses to that.
    pub(super) fn sends_back(&self, sip: &Sip) -> bool {
        self.behaviour() == Callee::SendsBack
            && self.who.number > 0
            && self.who.plan.caller == Caller::Asks(Ask::Message)
            && sip.method() == "MESSAGE"
    }

    /// A proxy without state: it knows nobody of the number called but the box.
    pub(super) fn send_back(
        &mut self,
        source: SocketAddr,
        sip: &Rc<Sip>,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let is_response = sip.status().is_some();
        let hops: u32 = sip.get("Max-Forwards").parse().unwrap_or(70);
        let mut draft = if is_response {
            Draft::new(format_args!("{}", sip.start()))
        } else if hops == 0 {
            Draft::new(format_args!("SIP/2.0 483 Too Many Hops"))
        } else {
            let user = sip.uri().split('@').next().unwrap_or_default();
            let mut draft =
                Draft::new(format_args!("MESSAGE {user}@{} SIP/2.0", host(source.ip())));
            let (me, below) = (self.who.address, sip.branch());
            draft.push(
                "Via",
                format_args!("SIP/2.0/UDP {me};branch={SWITCHED}{below}"),
            );
            draft
        };
        let passes_on = !is_response && hops > 0;
        let mut is_own_via = is_response;
        for (name, value) in sip.headers() {
            match name {
                "Via" if std::mem::take(&mut is_own_via) => {}
                "Max-Forwards" if passes_on => draft.push(name, hops - 1),
                "Max-Forwards" | "Content-Length" => {}
                "To" if !is_response && hops == 0 => {
                    draft.push(name, format_args!("{value};tag={}", self.tag));
                }
                _ => draft.push(name, value),
            }
        }
        let body = if is_response || passes_on {
            sip.body()
        } else {
            ""
        };
        let message = draft.finish(body)?;
        self.send_to(source, message, out);
        Ok(())
    }
}

/// Higher than any of the dialog's own.
const STOLEN_CSEQ: u32 = 700;
