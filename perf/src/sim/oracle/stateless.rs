//! Forwarding without state (RFC 3261 §16.11): each copy of a message goes on, at once and once,
//! and nothing else happens.

use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use super::Oracle;
use super::Owed;
use super::edits;
use super::edits::Body;
use super::ledger::Ledger;
use super::ledger::is_to;
use super::requests::sent;
use crate::sim::network::Packet;
use crate::sim::plan::Route;
use crate::sim::sip::Sip;

impl Oracle {
    /// True for a request that the box keeps no state for, nor answers itself.
    pub(super) fn is_stateless(&self, request: &Sip) -> bool {
        let to_the_box = request.method() == "OPTIONS" && !request.uri().contains('@');
        self.site.stateless && !to_the_box || is_to(request, Route::Stateless)
    }

    /// A copy of a request comes.
    pub(super) fn comes_by(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        packet: &Packet,
        sip: &Rc<Sip>,
    ) {
        let known = ledger.asked(self.epoch, packet.source, sip.branch(), sip.method());
        let side = self.site.side_of(packet.source.ip()).unwrap_or(0);
        let at = known.unwrap_or_else(|| ledger.ask(now, self.epoch, packet, side, sip, true));
        // A box before us makes each copy of an ACK anew.
        ledger.asked[at].request = sip.clone();
        // The box itself has said 482, and takes the ACK to that.
        if sip.method() != "ACK" || !is_to(sip, Route::Loop) {
            self.owe(call, Owed::On(at));
        }
    }

    /// Takes a debt off, if there is one.
    fn pay(&mut self, call: usize, is_it: impl Fn(&Owed) -> bool) -> bool {
        let at = self
            .owed
            .iter()
            .position(|(of, owed)| *of == call && is_it(owed));
        at.map(|at| self.owed.swap_remove(at)).is_some()
    }

    /// A copy of a request leaves.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn goes_by(
        &mut self,
        now: Tick,
        call: usize,
        ledger: &mut Ledger,
        at: usize,
        packet: &Packet,
        sip: &Rc<Sip>,
        passes: usize,
    ) -> Result<(), String> {
        if !self.pay(call, |owed| matches!(owed, Owed::On(a) if *a == at)) {
            return Err("sent on more often than it came".to_owned());
        }
        let side = self.site.side_of(packet.destination.ip()).unwrap_or(0);
        edits::forwarded(&self.site, &ledger.asked[at], sip, side, passes, Body::Same)?;
        // The branch is a function of the request: a repetition has it, and so have the CANCEL and
        // the ACK to a failure, which go the same way.
        let came = ledger.asked[at].request.branch();
        for before in &ledger.sent {
            let parent = before.parent.map(|at| &ledger.asked[at]);
            let is_kin = before.epoch == self.epoch
                && parent.is_some_and(|asked| asked.request.branch() == came);
            if is_kin && before.request.branch() != sip.branch() {
                let other = before.request.branch();
                return Err(format!("branch {} after {other}", sip.branch()));
            }
            if is_kin && before.to != packet.destination {
                return Err(format!("to {} after {}", packet.destination, before.to));
            }
        }
        if ledger
            .sent(self.epoch, sip.branch(), sip.method())
            .is_none()
        {
            let epoch = self.epoch;
            ledger
                .sent
                .push(sent(epoch, now, packet, sip, Some(at), passes));
        }
        Ok(())
    }

    /// A response leaves to who sent a request without state.
    pub(super) fn goes_back(
        &mut self,
        call: usize,
        ledger: &Ledger,
        at: usize,
        sip: &Sip,
        side: usize,
    ) -> Result<(), String> {
        let site = self.site;
        let mut why = "nobody gave this answer".to_owned();
        let passed = self.owed.iter().position(|(of, owed)| {
            let Owed::Back(sent, came) = owed else {
                return false;
            };
            let Some(sent) = ledger.sent.get(*sent).filter(|_| *of == call) else {
                return false;
            };
            if sent.parent != Some(at) {
                return false;
            }
            let passed = edits::passed_back(&site, came, sip, side, sent.passes, Body::Same);
            passed.map_err(|wrong| why = wrong).is_ok()
        });
        if let Some(passed) = passed {
            self.owed.swap_remove(passed);
            return Ok(());
        }
        let loops = is_to(&ledger.asked[at].request, Route::Loop) && sip.status() == Some(482);
        if loops && self.pay(call, |owed| matches!(owed, Owed::On(a) if *a == at)) {
            return Ok(());
        }
        Err(why)
    }
}
