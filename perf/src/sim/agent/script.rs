//! What an agent does when its alarms ring.

use trunkline_dataplane::tick::Tick;

use super::Agent;
use super::Callee;
use super::State;
use super::register;
use crate::sim::network::Packet;
use crate::sim::plan::Ask;
use crate::sim::plan::Caller;

/// What an agent has set itself to do; the number is that of a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The caller begins.
    Start,
    /// The callee rings.
    Ring,
    /// The callee gives its final response, in this dialog.
    Answer(usize),
    /// The caller cancels.
    Cancel,
    /// An RTP packet.
    Media(usize, u16),
    /// A re-INVITE that holds.
    Hold(usize),
    /// A re-INVITE that resumes, or that meets another.
    Resume(usize),
    /// An UPDATE with an offer.
    Update(usize),
    /// The session is refreshed (RFC 4028 §7.2).
    Refresh(usize),
    /// The session might have expired.
    Expire(usize),
    /// BYE.
    HangUp(usize),
    /// A packet after the end.
    Straggle(usize),
    /// A final response once more, long after its transaction.
    Stray(usize),
    /// It falls silent.
    Die,
    /// BYE in an early dialog.
    Leave(usize),
    /// UPDATE in an early dialog.
    UpdateEarly(usize),
    /// The INVITE once more.
    Again,
    /// The INVITE that takes the dialog's tags.
    Steal(usize),
    /// The credentials of an earlier request, in a new one.
    Replay(usize),
    /// A REGISTER for so many seconds.
    Register(u32),
    /// The late answer to what was asked in an early dialog, or to what it has asked itself.
    Reply(usize),
}

impl Agent {
    pub(super) fn ring(
        &mut self,
        alarm: Alarm,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        match alarm {
            Alarm::Start => self.start(now, out)?,
            Alarm::Ring => self.ring_bell(now, out)?,
            Alarm::Answer(dialog) => self.answer(dialog, now, out)?,
            Alarm::Cancel => self.cancel_client(0, now, out)?,
            Alarm::Media(dialog, number) => self.send_media(dialog, number, out),
            Alarm::Hold(dialog) => self.reinvite(dialog, "sendonly", now, out)?,
            Alarm::Resume(dialog) => self.reinvite(dialog, "sendrecv", now, out)?,
            Alarm::Update(dialog) => self.update(dialog, true, now, out)?,
            Alarm::Refresh(dialog) => self.refresh(dialog, now, out)?,
            Alarm::Expire(dialog) => self.expire(dialog, now, out)?,
            Alarm::HangUp(dialog) => self.hang_up(dialog, now, out)?,
            Alarm::Straggle(dialog) => self.straggle(dialog, now, out),
            Alarm::Stray(server) => self.repeat_response(server, out),
            Alarm::Die => self.die(),
            Alarm::Leave(dialog) => self.leave(dialog, now, out)?,
            Alarm::UpdateEarly(dialog) => self.update_early(dialog, now, out)?,
            Alarm::Again => self.call_again(now, out)?,
            Alarm::Steal(dialog) => self.steal(dialog, now, out)?,
            Alarm::Register(seconds) => self.register(seconds, now, out)?,
            Alarm::Replay(client) => self.replay(client, now, out)?,
            Alarm::Reply(server) => self.reply(server, now, out)?,
        }
        Ok(())
    }

    fn start(&mut self, now: Tick, out: &mut Vec<Packet>) -> Result<(), String> {
        let plan = self.who.plan.clone();
        match plan.caller {
            Caller::Asks(Ask::Box | Ask::Options) => self.ask("OPTIONS", now, out),
            Caller::Asks(Ask::Message) => self.ask("MESSAGE", now, out),
            Caller::Asks(Ask::Register) if plan.subscriber.is_some() => {
                self.register(register::FIRST_S, now, out)
            }
            Caller::Asks(Ask::Register) => self.ask("REGISTER", now, out),
            Caller::Asks(Ask::Forged) => self.ask_forged(now, out),
            Caller::Cancels(ms) => {
                self.later(now, ms.into(), ms.into(), Alarm::Cancel);
                self.invite(now, out)
            }
            _ => self.invite(now, out),
        }
    }

    /// The dialog is confirmed on the caller's side: what the plan says comes now.
    pub(super) fn play(&mut self, dialog: usize, now: Tick) {
        let plan = self.who.plan.clone();
        self.schedule_media(dialog, now);
        if plan.session && plan.caller != Caller::Dies {
            self.later(now, 100_000, 140_000, Alarm::HangUp(dialog));
            return;
        }
        match plan.caller {
            Caller::Holds => self.later(now, 500, 1_500, Alarm::Hold(dialog)),
            Caller::Updates => {
                self.later(now, 200, 900, Alarm::Update(dialog));
                self.later(now, 2_000, 4_000, Alarm::HangUp(dialog));
            }
            Caller::Glares => {
                self.alarms
                    .push((now.plus_ms(1_000), Alarm::Resume(dialog)));
                self.later(now, 9_000, 12_000, Alarm::HangUp(dialog));
            }
            // It must not depend on the other alone: the BYE may be lost for good.
            Caller::Listens => self.later(now, 40_000, 60_000, Alarm::HangUp(dialog)),
            Caller::Races => self
                .alarms
                .push((now.plus_ms(1_000), Alarm::HangUp(dialog))),
            Caller::Dies => self.later(now, 200, 2_000, Alarm::Die),
            // Longer than a request is tried, and than the session that an UPDATE has asked for.
            Caller::Leaves | Caller::UpdatesEarly if self.random.happens(400) => {
                self.later(now, 100_000, 130_000, Alarm::HangUp(dialog));
            }
            _ => self.later(now, 400, 3_000, Alarm::HangUp(dialog)),
        }
    }

    /// The same on the callee's side, once the ACK has come.
    pub(super) fn play_along(&mut self, dialog: usize, now: Tick) {
        let plan = self.who.plan.clone();
        self.schedule_media(dialog, now);
        match plan.caller {
            Caller::Listens => self.later(now, 400, 3_000, Alarm::HangUp(dialog)),
            Caller::Races if !plan.session => {
                self.alarms.push((now.plus_ms(980), Alarm::HangUp(dialog)));
            }
            Caller::Glares if !plan.session => {
                self.alarms.push((now.plus_ms(980), Alarm::Resume(dialog)));
            }
            _ => {}
        }
        if self.behaviour() == Callee::Steals {
            self.later(now, 50, 300, Alarm::Steal(dialog));
        }
        // Whatever becomes of the other, nobody talks for ever.
        let is_long = plan.session || matches!(plan.caller, Caller::Leaves | Caller::UpdatesEarly);
        let longest_ms = if is_long { 200_000 } else { 70_000 };
        self.alarms
            .push((now.plus_ms(longest_ms), Alarm::HangUp(dialog)));
    }

    /// Takes note of how long the session lasts from now.
    pub(super) fn schedule_session(&mut self, dialog: usize, now: Tick) {
        let Some(known) = self.dialogs.get_mut(dialog) else {
            return;
        };
        let Some((interval_ms, ours)) = known.session else {
            return;
        };
        known.expires = now.plus_ms(interval_ms);
        let alarm = if ours {
            (now.plus_ms(interval_ms / 2), Alarm::Refresh(dialog))
        } else {
            // RFC 4028 §10: BYE a third, at most 32 s, before it expires.
            let early_ms = (interval_ms / 3).min(32_000);
            (now.plus_ms(interval_ms - early_ms), Alarm::Expire(dialog))
        };
        let kind = std::mem::discriminant(&alarm.1);
        self.alarms
            .retain(|(_, other)| std::mem::discriminant(other) != kind);
        self.alarms.push(alarm);
    }

    fn refresh(&mut self, dialog: usize, now: Tick, out: &mut Vec<Packet>) -> Result<(), String> {
        let confirmed = self
            .dialogs
            .get(dialog)
            .is_some_and(|known| known.state == State::Confirmed);
        if !confirmed {
            return Ok(());
        }
        if self.random.happens(500) {
            self.update(dialog, false, now, out)
        } else {
            self.reinvite(dialog, "sendrecv", now, out)
        }
    }

    fn expire(&mut self, dialog: usize, now: Tick, out: &mut Vec<Packet>) -> Result<(), String> {
        self.hang_up(dialog, now, out)
    }
}
