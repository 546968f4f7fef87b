//! Why a REGISTER is not done, and what its sender is told.

use super::require::write_unsupported;
use crate::sip::message::Message;
use crate::text::Text;

/// Why a REGISTER is not done. Nothing of it is (RFC 3261 §10.3 step 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It requires an extension that the registrar does not know (RFC 3261 §8.2.2.3).
    Extension,
    /// A Contact or a Path cannot be read.
    Unreadable,
    /// `*` stands beside another Contact, or without `Expires: 0` (RFC 3261 §10.3 step 6).
    Star,
    /// Two of its contacts are one.
    Twice,
    /// It registers a flow and something else (RFC 5626 §6).
    SeveralFlows,
    /// A contact is SIPS, and something on the way to it is not (RFC 5630 §5.2).
    Insecure,
    /// Its contact or path is longer than what is kept of one.
    TooLong,
    /// The user would have more contacts than one may have.
    TooManyContacts,
    /// A contact is the address of record itself (RFC 5627 §5.1): its calls would loop.
    Loops,
    /// It asks for less than the least interval, which is told (RFC 3261 §10.3 step 7).
    TooBrief {
        /// That, in seconds.
        min_s: u32,
    },
    /// It registers a flow that its first hop does not keep (RFC 5626 §6).
    FirstHop,
    /// A later one of its Call-ID has come before it (RFC 3261 §10.3 step 6 and step 7).
    OutOfOrder,
    /// The table is full.
    Full,
}

impl Refusal {
    /// The status of the answer.
    ///
    /// Too many contacts are a 403 (RFC 3261 §21.4.4): authorization will not help, and repeating it
    /// as it is neither. 503 says that the server is overloaded, which it is not.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Refusal::Unreadable
            | Refusal::Star
            | Refusal::Twice
            | Refusal::SeveralFlows
            | Refusal::Insecure => 400,
            Refusal::TooManyContacts | Refusal::Loops => 403,
            Refusal::Extension => 420,
            Refusal::TooBrief { .. } => 423,
            Refusal::FirstHop => 439,
            Refusal::OutOfOrder => 500,
            Refusal::Full => 503,
            Refusal::TooLong => 513,
        }
    }

    /// The reason phrase: what is wrong with the request; `None`: what the status is called.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Refusal::Unreadable => Some("Unreadable Contact Or Path"),
            Refusal::Star => Some("Contact * Needs Expires 0 And Nothing Beside It"),
            Refusal::Twice => Some("Same Contact Twice"),
            Refusal::SeveralFlows => Some("One Flow At A Time"),
            Refusal::Insecure => Some("SIPS Contact Over A SIP Way"),
            Refusal::TooLong => Some("Contact Or Path Too Long"),
            Refusal::TooManyContacts => Some("Too Many Contacts"),
            Refusal::Loops => Some("Contact Is The Address Of Record"),
            Refusal::OutOfOrder => Some("CSeq Out Of Order"),
            Refusal::Extension | Refusal::TooBrief { .. } | Refusal::FirstHop | Refusal::Full => {
                None
            }
        }
    }

    /// Writes the header fields that the answer to `request` must have.
    pub fn write(self, request: &Message<'_>, text: &mut Text<'_>) {
        match self {
            // RFC 3261 §20.23.
            Refusal::TooBrief { min_s } => {
                text.push(b"Min-Expires: ");
                text.decimal(min_s);
                text.push(b"\r\n");
            }
            Refusal::Extension => write_unsupported(request, text),
            _ => {}
        }
    }
}
