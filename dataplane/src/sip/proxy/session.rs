//! Session timers (RFC 4028 §8): asked for in session refresh requests, noted in their 2xx.

use super::Proxy;
use super::Step;
use super::write::unedited_status;
use crate::counters::Counter;
use crate::sip::call::Sender;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::session;
use crate::sip::session::Asked;
use crate::sip::session::Unasked;
use crate::sip::slab::Id;
use crate::text::Text;
use crate::tick::Tick;

/// True for the requests that refresh a session (RFC 4028 §3).
pub(super) fn refreshes(method: Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

impl Proxy {
    /// Has a session refresh request ask for a session timer; what is to be remembered of it
    /// with its client transaction.
    ///
    /// # Errors
    /// The status of the answer.
    pub(super) fn ask_session(
        &mut self,
        message: &Message<'_>,
        step: &mut Step<'_>,
    ) -> Result<Asked, u16> {
        match session::ask(message, self.session, &mut self.splices) {
            Ok(asked) => Ok(asked),
            Err(Unasked::TooSmall) => {
                step.counters.count(Counter::SessionsTooSmall);
                Err(422)
            }
            Err(Unasked::Unedited(refused)) => Err(unedited_status(refused)),
        }
    }

    /// Remembers it for the duration of the transaction (RFC 4028 §8.1).
    pub(super) fn remember_asked(&mut self, client: Id, asked: Asked) {
        if let Some(client) = self.clients.get_mut(client) {
            client.asked = asked;
        }
    }

    /// What a 422 says besides (RFC 4028 §8.1).
    pub(super) fn least_session(&self, lines: &mut [u8]) -> usize {
        let mut text = Text::new(lines);
        text.push(b"Min-SE: ");
        text.decimal(self.session.min_s);
        text.push(b"\r\n");
        text.finish().unwrap_or(0)
    }

    /// Completes the 2xx to `sender`'s session refresh request, which `client` carried, and unless
    /// it is a repetition, or of another dialog, computes anew when the session expires
    /// (RFC 4028 §8.2).
    pub(super) fn agree_session(
        &mut self,
        client: Id,
        sender: Sender,
        message: &Message<'_>,
        repeated: bool,
        step: &Step<'_>,
    ) {
        let asked = self.clients.get(client).map(|client| client.asked);
        let asked = asked.unwrap_or_default();
        // Where the response takes no more changes it goes on as it is, and so does the session.
        let Ok(interval) = session::agree(message, asked, &mut self.splices) else {
            return;
        };
        if repeated || !self.is_of_call(client, sender) {
            return;
        }
        let Some(call) = self.calls.get_mut(sender.call) else {
            return;
        };
        call.expires = interval.map_or(Tick::NEVER, |interval_s| {
            step.now.plus_ms(u64::from(interval_s) * 1000)
        });
        call.note_due();
        self.arm_call(sender.call);
    }

    /// Whoever was to refresh a session has not been told so: its end is not waited for.
    pub(super) fn unwatch_session(&mut self, id: Id) {
        if let Some(call) = self.calls.get_mut(id) {
            call.expires = Tick::NEVER;
            call.note_due();
            self.arm_call(id);
        }
    }
}
