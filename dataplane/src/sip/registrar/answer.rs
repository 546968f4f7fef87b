//! What the 200 to a REGISTER says (RFC 3261 §10.3 step 8).

use super::Registrar;
use super::register::Register;
use super::register::Registered;
use super::require;
use crate::sip::header::HeaderName;
use crate::text::Text;
use crate::tick::Tick;

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

impl Registrar {
    /// Writes the header fields of the 200: all bindings of the address of record with what is left
    /// of their time, each a Contact.
    ///
    /// There is no Date: SHOULD it be there (RFC 3261 §10.3 step 8), the worker has no clock that
    /// tells the time of day.
    pub fn answer(
        &mut self,
        request: &Register<'_, '_>,
        registered: Registered,
        now: Tick,
        text: &mut Text<'_>,
    ) {
        for id in self.bindings.of(request.aor.key).all() {
            let Some(record) = self.bindings.record(id) else {
                continue;
            };
            // A part of a second is one more: what is left is never 0, which would say that it is
            // gone.
            let left = record.expires.since(now).div_ceil(SECOND_NS);
            let left_s = u32::try_from(left).unwrap_or(u32::MAX);
            if left_s > 0 {
                text.push(b"Contact: <");
                text.push(record.uri);
                text.push(b">");
                text.push(record.params);
                text.push(b";expires=");
                text.decimal(left_s);
                text.push(b"\r\n");
            }
        }
        let message = request.message;
        // RFC 3327 §5.3: the path of this REGISTER, in its order. Who has not said that it knows it
        // is not troubled by it.
        let mut path = message.all_of(HeaderName::Path).peekable();
        if path.peek().is_some() && message.supports(require::PATH) {
            path.for_each(|field| text.push(message.text(field.line)));
        }
        if !self.rules.service_route.is_empty() {
            // RFC 3608 §6.3.
            text.push(b"Service-Route: ");
            text.push(self.rules.service_route.as_bytes());
            text.push(b"\r\n");
        }
        if registered.requires_outbound {
            text.push(b"Require: outbound\r\n");
            // RFC 5626 §6: to who has a flow to the registrar itself.
            let is_direct = matches!(message.second_via(), Ok(None));
            if is_direct && self.rules.flow_timer_s > 0 {
                text.push(b"Flow-Timer: ");
                text.decimal(self.rules.flow_timer_s);
                text.push(b"\r\n");
            }
        }
    }
}
