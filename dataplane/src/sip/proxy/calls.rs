//! The life of a call: begun by an INVITE, or adopted after a restart, and ended.
//!
//! A call is found by the dialogs that its INVITE has led to (RFC 3261 §12): Call-ID, both tags,
//! and the listens of its two sides. A message with another tag is of another dialog, and
//! neither moves nor ends this one.

use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use super::Step;
use super::dialog::InDialog;
use super::forward::Way;
use crate::counters::Counter;
use crate::counters::trunks::TrunkCounter;
use crate::ids::TrunkIndex;
use crate::limits::CSEQ_MAX;
use crate::limits::MEDIA_GRACE_MS;
use crate::sip::call::Call;
use crate::sip::call::Party;
use crate::sip::call::Sender;
use crate::sip::identity::Sides;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::report::CallState;
use crate::sip::slab::Id;
use crate::tick::Tick;

/// What a party's CSeq number is taken to be where the call began before this start of the box:
/// so that a BYE, the last request of all, has the highest there is.
pub(super) const UNKNOWN_CSEQ: u32 = CSEQ_MAX - 1;

impl Proxy {
    /// The key of the dialog of a message of `from`, that passes between these listens. One that
    /// comes through the box twice (RFC 3261 §6, a spiral) is two calls here, each with its
    /// own relay.
    pub(super) fn dialog_of(&self, message: &Message<'_>, from: Party, sides: Sides) -> u64 {
        let [caller, callee] = tags_by_party(message, from);
        let hash = self.identity.hash().text(message.call_id());
        let hash = hash.text(caller).text(callee);
        let hash = hash.word(u64::from_be_bytes(sides.bytes()));
        let key = hash.finish(What::Dialog.with(0));
        // 0 is no dialog.
        key.max(1)
    }

    /// A call for a branch of the first INVITE of a dialog, which goes the way of `way`. Each
    /// branch that is tried is one.
    pub(super) fn begin_call(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        trunks: [TrunkIndex; 2],
        way: Way,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let sides = self.sides_of(message, [arrival.listen, way.listen], trunks);
        let call = Call {
            parties: [Some(arrival.source.into()), Some(way.to.into())],
            trunks: trunks.map(Some),
            ..Call::new(sides, step.now)
        };
        self.enter_call(message, Party::Caller, None, call, step)
    }

    /// A call for a re-INVITE or UPDATE of a dialog that is no part of one, so that its media can be
    /// anchored again: it began before this start of the box, or its 2xx was the second to an
    /// INVITE. It is established once the request has its 2xx.
    pub(super) fn adopt_call(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        dialog: InDialog,
        to: SocketAddr,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let mut parties = [to; 2];
        parties[dialog.from as usize] = arrival.source;
        let trunks = [Party::Caller, Party::Callee].map(|party| {
            let tag = dialog.sides.trunks[party as usize];
            let trunk = self.dial.trunk_with(tag, parties[party as usize].ip());
            trunk.or_else(|| self.dial.domain_with(tag))
        });
        let call = Call {
            parties: parties.map(|party| Some(party.into())),
            trunks,
            // What the sender's is, its request says.
            cseqs: [UNKNOWN_CSEQ; 2],
            is_adopted: true,
            ..Call::new(dialog.sides, step.now)
        };
        let id = self.enter_call(message, dialog.from, Some(dialog), call, step)?;
        self.enter_dialog(id, message, dialog.from, step);
        self.call_came_in(trunks[Party::Caller as usize], step);
        Ok(id)
    }

    /// Counts an INVITE that begins a call, however many targets it goes to.
    pub(super) fn call_came_in(&mut self, caller: Option<TrunkIndex>, step: &mut Step<'_>) {
        step.counters.count(Counter::CallsStarted);
        if let Some(caller) = caller {
            self.trunks.count(caller, TrunkCounter::CallsIn);
        }
    }

    /// Enters a call for an INVITE of `from`; `within` where its dialog began before this start
    /// of the box.
    fn enter_call(
        &mut self,
        message: &Message<'_>,
        from: Party,
        within: Option<InDialog>,
        mut call: Call,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        if self.calls.is_full() {
            step.counters.count(Counter::CallsRefused);
            return Err(503);
        }
        let (cseq, ..) = message.cseq();
        call.cseqs[from as usize] = cseq;
        call.text = self.remember_invite(message, from, within, step);
        let trunks = call.trunks;
        let id = self.calls.insert(call).ok_or(503_u16)?;
        self.trunks.call_began(trunks);
        Ok(id)
    }

    /// Takes note of the dialog that `message` of a request of `from`, or a response to one,
    /// makes or is in (RFC 3261 §12.1).
    pub(super) fn enter_dialog(
        &mut self,
        id: Id,
        message: &Message<'_>,
        from: Party,
        step: &mut Step<'_>,
    ) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let key = self.dialog_of(message, from, call.sides);
        let extra_max = extra_dialogs(self.calls.capacity());
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if call.dialogs.contains(key) {
            return;
        }
        if !self.leave_dialog_to(key, id, step) {
            step.counters.count(Counter::DialogsRefused);
            return;
        }
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let before = call.dialogs;
        if !call.dialogs.add(key) {
            step.counters.count(Counter::DialogsRefused);
            return;
        }
        let extra = self.dialogs_extra + call.dialogs.extra_count() - before.extra_count();
        // A second dialog may take the last of them, a third leaves some to others.
        let share = if before.extra_count() == 0 { 1 } else { 2 };
        if extra > extra_max / share {
            call.dialogs = before;
            step.counters.count(Counter::DialogsRefused);
            return;
        }
        self.dialogs_extra = extra;
        self.dialogs.insert(key, id);
    }

    /// Has the call that has this dialog leave it to the call `id`, which has come to the same tags;
    /// false where it keeps it.
    fn leave_dialog_to(&mut self, key: u64, id: Id, step: &mut Step<'_>) -> bool {
        let Some(holder) = self.dialogs.get(key) else {
            return true;
        };
        let state = self.calls.get(id).map(|call| call.state);
        let Some(call) = self.calls.get_mut(holder) else {
            return true;
        };
        if call.is_adopted {
            // It was taken up before its time.
            self.end_by_bye(holder, step);
            return true;
        }
        let rings = matches!(call.state, CallState::Calling | CallState::Early);
        if !rings || state != Some(CallState::Established) {
            return false;
        }
        let before = call.dialogs.extra_count();
        call.dialogs.remove(key);
        self.dialogs_extra -= before - call.dialogs.extra_count();
        self.dialogs.remove(key, holder);
        true
    }

    /// Of the early dialogs of a call the one of this 2xx to a request of `from` is confirmed;
    /// what becomes of the others is the user agents' business (RFC 3261 §13.2.2.4).
    pub(super) fn confirm_dialog(
        &mut self,
        id: Id,
        message: &Message<'_>,
        from: Party,
        step: &mut Step<'_>,
    ) {
        self.leave_dialogs(id);
        self.enter_dialog(id, message, from, step);
        let has_one = |call: &Call| call.dialogs.keys().next().is_some();
        if !self.calls.get(id).is_some_and(has_one) {
            // To the parties it is the dialog of another call, which ends it.
            self.hang_up(id, step);
        }
    }

    fn leave_dialogs(&mut self, id: Id) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let dialogs = std::mem::take(&mut call.dialogs);
        self.dialogs_extra -= dialogs.extra_count();
        for key in dialogs.keys() {
            self.dialogs.remove(key, id);
        }
    }

    /// What a response of the other party to `sender`'s request means for their call. `client`
    /// is the transaction of the request.
    pub(super) fn note_response(
        &mut self,
        client: Id,
        sender: Sender,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) {
        let status = message.status().unwrap_or_default();
        let id = sender.call;
        if !self.is_of_call(client, sender) {
            return;
        }
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let other = sender.party.other() as usize;
        let trunk = call.sides.trunks[other];
        if self.dial.trunk_with(trunk, arrival.source.ip()).is_some() {
            call.parties[other] = Some(arrival.source.into());
        }
        let waiting = matches!(call.state, CallState::Calling | CallState::Early);
        let is_first = waiting && call.invite == client;
        match (message.method(), status) {
            // RFC 3261 §12.1: a provisional response with a To tag makes an early dialog.
            (Method::Invite, 101..=199) if is_first && message.to_tag().is_some() => {
                call.state = CallState::Early;
                self.enter_dialog(id, message, sender.party, step);
            }
            (_, 200..=299) if is_first => {
                call.state = CallState::Established;
                call.answered = step.now;
                call.note_due();
                step.counters.count(Counter::CallsAnswered);
                self.trunks.call_answered(call.trunks);
                self.arm_call(id);
                self.confirm_dialog(id, message, sender.party, step);
                self.remember_answer(id, message, sender.party.other(), step);
            }
            (_, 300..) if is_first => {
                step.counters.count(Counter::CallsFailed);
                self.end_call(id, step.now);
            }
            // RFC 3261 §12.2.1.2: the 2xx to a target refresh request refreshes the target too. One
            // more to the first INVITE is a repetition, or of another dialog.
            (Method::Invite | Method::Update, 200..=299) if call.invite != client => {
                self.remember_target(id, message, sender.party.other(), step);
            }
            // RFC 3261 §12.2.1.2: the other party knows no such dialog, so that there is nobody
            // to send a BYE to. Of other methods it may be a subscription or a reliable
            // response that it does not know. After a 408 the other party may be there yet:
            // it is the sender who ends the dialog then, with a BYE that comes by here.
            (Method::Invite | Method::Update, 481) => self.hang_up(id, step),
            // RFC 3261 §15.1.1: a BYE ends the dialog whatever the answer to it is; a
            // challenge is not yet the end.
            (Method::Bye, 200..) if !matches!(status, 401 | 407) => self.end_by_bye(id, step),
            _ => {}
        }
    }

    /// What it means for its call that a request gets no answer but ours.
    pub(super) fn note_given_up(&mut self, client_id: Id, step: &mut Step<'_>) {
        let Some(client) = self.clients.get(client_id) else {
            return;
        };
        let (method, Some(sender)) = (client.method, client.sender) else {
            return;
        };
        if let Some(server) = client.server {
            self.take_back(sender.call, server, step);
        }
        if !self.is_of_call(client_id, sender) {
            return;
        }
        let Some(call) = self.calls.get(sender.call) else {
            return;
        };
        let waiting = matches!(call.state, CallState::Calling | CallState::Early);
        if waiting && call.invite == client_id {
            step.counters.count(Counter::CallsFailed);
            self.end_call(sender.call, step.now);
        } else if method == Method::Bye {
            // RFC 3261 §15.1.1: it has ended the dialog for its sender.
            self.end_by_bye(sender.call, step);
        }
    }

    /// True where the request of `client` began its call, or is in one of its dialogs. It may have been
    /// in an early one, and another has been confirmed since: what becomes of it is nothing
    /// to the call (RFC 3261 §12).
    pub(super) fn is_of_call(&self, client: Id, sender: Sender) -> bool {
        let call = self.calls.get(sender.call);
        call.is_some_and(|call| call.invite == client || call.dialogs.are_of(sender.dialog))
    }

    /// Ends a call whose dialog a BYE has ended. One of an early dialog leaves the INVITE to its
    /// 487, and the call with it (RFC 3261 §15.1.2); a call that was taken up again is that
    /// dialog, whether its first request here has been answered or not.
    pub(super) fn end_by_bye(&mut self, id: Id, step: &mut Step<'_>) {
        let waits = |call: &Call| matches!(call.state, CallState::Calling | CallState::Early);
        let unanswered = |call: &Call| call.is_adopted && waits(call);
        if self.calls.get(id).is_some_and(unanswered) {
            step.counters.count(Counter::CallsFailed);
            self.end_call(id, step.now);
        } else {
            self.hang_up(id, step);
        }
    }

    /// Ends a call that was answered.
    pub(super) fn hang_up(&mut self, id: Id, step: &mut Step<'_>) {
        if self
            .calls
            .get(id)
            .is_some_and(|call| call.state == CallState::Established)
        {
            step.counters.count(Counter::CallsEnded);
            self.end_call(id, step.now);
        }
    }

    /// Ends a call; its media may still pass for a moment.
    pub(super) fn end_call(&mut self, id: Id, now: Tick) {
        // A new call may have the same Call-ID and tags from now on.
        self.leave_dialogs(id);
        if let Some(call) = self.calls.get_mut(id) {
            call.state = CallState::Ended;
            call.due = now.plus_ms(MEDIA_GRACE_MS);
            self.arm_call(id);
        }
        self.leave_place(id);
    }

    /// Forgets a call: its flows are closed and its ports rest.
    pub(super) fn forget_call(&mut self, id: Id, step: &mut Step<'_>) {
        self.close_media(id, step);
        self.leave_dialogs(id);
        self.leave_place(id);
        if let Some(mut call) = self.calls.remove(id) {
            if let Some(text) = call.text.take() {
                self.texts.release(text);
            }
            let timer = self.clients.capacity() + self.servers.capacity() + id.slot;
            self.wheel.disarm(timer);
            self.trunks.call_gone(call.trunks);
        }
    }
}

/// How many dialogs there may be besides one for each of so many calls.
pub(super) const fn extra_dialogs(calls: u32) -> u32 {
    calls / 4 + 1
}

/// The tags of a request of `from`, or of a response to one: the caller's, the callee's.
fn tags_by_party<'m>(message: &Message<'m>, from: Party) -> [&'m [u8]; 2] {
    let (sender, receiver) = (message.from_tag(), message.to_tag());
    let tags = match from {
        Party::Caller => [sender, receiver],
        Party::Callee => [receiver, sender],
    };
    tags.map(Option::unwrap_or_default)
}
