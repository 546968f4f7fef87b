//! The extensions of SIP that the registrar knows (RFC 3261 §8.2.2.3, §10.3 step 2).

use crate::sip::header;
use crate::sip::header::HeaderName;
use crate::sip::message::Message;
use crate::text::Text;

/// RFC 5626 §11.4.
pub(super) const OUTBOUND: &[u8] = b"outbound";
/// RFC 3327 §4.
pub(super) const PATH: &[u8] = b"path";

/// Whether a 2xx to REGISTER says that the contact is reached by its flow (RFC 5626 §6).
pub(super) fn requires_outbound(response: &Message<'_>) -> bool {
    let mut lines = response.all_of(HeaderName::Require);
    lines.any(|line| header::lists(response.text(line.value), OUTBOUND))
}

/// Whether all that a request requires is known.
pub(super) fn is_supported(message: &Message<'_>) -> bool {
    message.field(HeaderName::Require).is_none() || unknown(message).next().is_none()
}

/// Writes which of it is not.
pub(super) fn write_unsupported(message: &Message<'_>, text: &mut Text<'_>) {
    for option in unknown(message) {
        text.push(b"Unsupported: ");
        text.push(option);
        text.push(b"\r\n");
    }
}

fn unknown<'m>(message: &Message<'m>) -> impl Iterator<Item = &'m [u8]> {
    let bytes = message.bytes();
    let lines = message.all_of(HeaderName::Require);
    let options = lines.flat_map(move |line| header::options(line.value.of(bytes)));
    options.filter(|option| {
        let is = |known: &[u8]| option.eq_ignore_ascii_case(known);
        !option.is_empty() && !is(PATH) && !is(OUTBOUND)
    })
}
