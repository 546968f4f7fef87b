//! The life of a call: begun by an INVITE, or adopted after a restart, and ended.

use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use super::Step;
use super::dialog::InDialog;
use super::forward::Way;
use crate::counters::Counter;
use crate::ids::TrunkIndex;
use crate::limits::MEDIA_GRACE_MS;
use crate::sip::anchor::Anchor;
use crate::sip::call::Call;
use crate::sip::call::Party;
use crate::sip::identity::Sides;
use crate::sip::message::Message;
use crate::sip::report::CallState;
use crate::sip::report::ShortText;
use crate::sip::slab::Id;
use crate::tick::Tick;

impl Proxy {
    /// The call that an in-dialog message of `from` belongs to.
    pub(super) fn find_call(&self, message: &Message<'_>, from: Party, sides: Sides) -> Option<Id> {
        let tag = match from {
            Party::Caller => message.from_tag(),
            Party::Callee => message.to_tag(),
        };
        self.dialogs
            .get(self.call_key(message.call_id(), tag.unwrap_or_default(), sides))
    }

    /// A call for the first INVITE of a dialog.
    pub(super) fn begin_call(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        trunks: [TrunkIndex; 2],
        way: Way,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let sides = Sides {
            caller: arrival.listen,
            callee: way.listen,
        };
        if self.find_call(message, Party::Caller, sides).is_some() {
            // Another branch of an INVITE that an upstream element forked (RFC 3261
            // §8.2.2.2), or one in a loop: one is enough.
            return Err(482);
        }
        let parties = [Some(arrival.source), Some(way.to)];
        self.enter_call(
            message,
            Party::Caller,
            sides,
            trunks.map(Some),
            parties,
            step,
        )
    }

    /// A call for a re-INVITE of a dialog that began before this start of the box, so that
    /// its media can be anchored again.
    pub(super) fn adopt_call(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        dialog: InDialog,
        to: SocketAddr,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let mut parties = [Some(to); 2];
        parties[dialog.from as usize] = Some(arrival.source);
        let trunks = parties.map(|party| self.dial.trunk_of(party?.ip()));
        self.enter_call(message, dialog.from, dialog.sides, trunks, parties, step)
    }

    /// Enters a call for an INVITE of `from`.
    fn enter_call(
        &mut self,
        message: &Message<'_>,
        from: Party,
        sides: Sides,
        trunks: [Option<TrunkIndex>; 2],
        parties: [Option<SocketAddr>; 2],
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let (caller_tag, caller, callee) = match from {
            Party::Caller => (message.from_tag(), message.from(), message.to()),
            Party::Callee => (message.to_tag(), message.to(), message.from()),
        };
        let key = self.call_key(message.call_id(), caller_tag.unwrap_or_default(), sides);
        let call = Call {
            key,
            state: CallState::Calling,
            // Set once the INVITE has its transaction.
            invite: Id::new(u32::MAX, 0),
            sides,
            trunks,
            parties,
            anchor: Anchor::default(),
            started: step.now,
            answered: None,
            due: Tick::NEVER,
            call_id: ShortText::new(message.call_id()),
            from: ShortText::new(message.text(caller.uri)),
            to: ShortText::new(message.text(callee.uri)),
        };
        let Some(id) = self.calls.insert(call) else {
            step.counters.count(Counter::CallsRefused);
            return Err(503);
        };
        self.dialogs.insert(key, id);
        self.trunks.call_began(trunks);
        step.counters.count(Counter::CallsStarted);
        Ok(id)
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
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        call.state = CallState::Ended;
        call.due = now.plus_ms(MEDIA_GRACE_MS);
        let key = call.key;
        // A new call may have the same Call-ID and tag from now on.
        self.dialogs.remove(key, id);
        self.arm_call(id);
    }

    /// Forgets a call: its flows are closed and its ports rest.
    pub(super) fn forget_call(&mut self, id: Id, step: &mut Step<'_>) {
        self.close_media(id, step);
        if let Some(call) = self.calls.remove(id) {
            let timer = self.clients.capacity() + self.servers.capacity() + id.slot;
            self.wheel.disarm(timer);
            self.dialogs.remove(call.key, id);
            self.trunks.call_gone(call.trunks);
        }
    }
}
