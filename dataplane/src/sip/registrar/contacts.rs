//! What a REGISTER asks for: its contacts, for how long, and the way to them.

use std::num::NonZeroU32;

use super::Refusal;
use super::Rules;
use super::equal::is_same;
use crate::limits::CONTACTS_MAX;
use crate::limits::ROUTE_SET_LEN_MAX;
use crate::limits::ROUTE_SET_MAX;
use crate::sip::header::Address;
use crate::sip::header::HeaderName;
use crate::sip::header::Params;
use crate::sip::message::Message;
use crate::sip::scan::find_control;
use crate::sip::scan::is_name;
use crate::sip::scan::number;
use crate::sip::uri::Uri;
use crate::span::Span;
use crate::text::Text;
use crate::text::TooLong;

/// RFC 3261 §10.2: what an interval that is no number stands for.
const MALFORMED_S: u32 = 3_600;

/// q of a contact that names none: the highest.
const Q_MAX: u16 = 1_000;

/// What a REGISTER asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To be told of the bindings.
    Nothing,
    /// To remove all of them: `Contact: *`.
    Clear,
    /// To add, to change or to remove its contacts.
    Bind,
}

/// The contacts of a REGISTER.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    list: [Contact; CONTACTS_MAX],
    count: usize,
}

impl Contacts {
    /// All of them, in order.
    pub(super) fn all(&self) -> &[Contact] {
        self.list.get(..self.count).unwrap_or(&[])
    }

    /// They are known by their URIs alone.
    pub(super) fn forget_flows(&mut self) {
        for contact in &mut self.list {
            contact.reg_id = None;
        }
    }

    /// Has each binding be named once, now that it is known which are flows. A phone whose address has
    /// changed takes the old one off and puts the new one on in one REGISTER, by the same flow: the
    /// one that lasts counts, wherever it stands.
    ///
    /// One after the other the second would be out of order (RFC 3261 §10.3 step 7): the first has
    /// made a binding with the CSeq that it comes with.
    pub(super) fn settle(&mut self, message: &Message<'_>) -> Result<(), Refusal> {
        let mut kept = 0;
        for at in 0..self.count {
            let contact = self.list[at];
            let mut earlier = self.list[..kept].iter_mut();
            match earlier.find(|other| is_twice(message, other, &contact)) {
                None => {
                    self.list[kept] = contact;
                    kept += 1;
                }
                Some(other) if other.expires_s > 0 && contact.expires_s > 0 => {
                    return Err(Refusal::Twice);
                }
                Some(other) if contact.expires_s > 0 => *other = contact,
                Some(_) => {}
            }
        }
        self.count = kept;
        Ok(())
    }

    /// Whether any of them is to be reached by a flow of its own (RFC 5626 §6).
    pub(super) fn has_flow(&self) -> bool {
        self.all().iter().any(|contact| contact.flow().is_some())
    }
}

/// A value of Contact.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contact {
    /// The URI, without brackets.
    pub(super) uri: Span,
    /// The parameters of the header field.
    params: Span,
    /// Seconds for which it asks; 0: to be removed.
    pub(super) expires_s: u32,
    /// How much it is preferred, in thousandths.
    pub(super) q: u16,
    /// The instance of the user agent, as it was spelled (RFC 5626 §4.1).
    pub(super) instance: Option<Span>,
    /// Which of the instance's flows it is; `None` where there is no instance.
    pub(super) reg_id: Option<NonZeroU32>,
}

impl Contact {
    /// The instance and the number of the flow by which it is to be reached.
    pub(super) fn flow(&self) -> Option<(Span, NonZeroU32)> {
        Some((self.instance?, self.reg_id?))
    }

    fn read(bytes: &[u8], address: &Address, default_s: u32) -> Contact {
        let mut contact = Contact {
            uri: address.uri,
            params: address.params,
            expires_s: default_s,
            q: Q_MAX,
            instance: None,
            reg_id: None,
        };
        for param in address.params(bytes).flatten() {
            let Some(value) = param.value else { continue };
            let text = value.of(bytes);
            match Known::of(param.name.of(bytes)) {
                Some(Known::Expires) => contact.expires_s = seconds(text),
                Some(Known::Q) => contact.q = thousandths(text).unwrap_or(Q_MAX),
                Some(Known::Instance) => contact.instance = Some(value),
                Some(Known::RegId) => contact.reg_id = reg_id(text),
                Some(Known::Gruu) | None => {}
            }
        }
        if contact.instance.is_none() {
            // RFC 5626 §6: a reg-id without an instance is ignored.
            contact.reg_id = None;
        }
        contact
    }

    /// Writes the parameters that are kept: all but the interval, which is the registrar's, and what
    /// only a registrar may say (RFC 5627 §5.1).
    pub(super) fn write_params(&self, bytes: &[u8], text: &mut Text<'_>) {
        let params = Params::new(bytes, self.params.start.into(), self.params.end.into());
        for param in params.flatten() {
            let name = param.name.of(bytes);
            if matches!(Known::of(name), Some(Known::Expires | Known::Gruu)) {
                continue;
            }
            text.push(b";");
            text.push(name);
            if let Some(value) = param.value {
                text.push(b"=");
                push_unfolded(text, value.of(bytes));
            }
        }
    }
}

/// The parameters of a Contact that a registrar knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Q,
    Expires,
    RegId,
    Instance,
    Gruu,
}

impl Known {
    fn of(name: &[u8]) -> Option<Known> {
        let is = |known: &[u8]| is_name(name, known);
        match name.len() {
            1 if is(b"q") => Some(Known::Q),
            6 if is(b"reg-id") => Some(Known::RegId),
            7 if is(b"expires") => Some(Known::Expires),
            8 if is(b"pub-gruu") => Some(Known::Gruu),
            9 if is(b"temp-gruu") => Some(Known::Gruu),
            13 if is(b"+sip.instance") => Some(Known::Instance),
            _ => None,
        }
    }
}

/// The instance that parameters name, which were kept of a Contact.
pub(super) fn instance_of(params: &[u8]) -> Option<&[u8]> {
    let mut all = Params::new(params, 0, params.len()).flatten();
    let found = all.find(|param| Known::of(param.name.of(params)) == Some(Known::Instance))?;
    Some(found.value?.of(params))
}

/// Reads what a REGISTER asks for (RFC 3261 §10.3 step 6 and step 7), as far as it can be judged without
/// the bindings that are there. `contacts` is empty before.
pub(super) fn read(
    message: &Message<'_>,
    rules: &Rules,
    contacts: &mut Contacts,
) -> Result<Asked, Refusal> {
    let Some(first) = message.field(HeaderName::Contact) else {
        return Ok(Asked::Nothing);
    };
    let expires = message.field(HeaderName::Expires);
    let expires_s = expires.map(|expires| seconds(message.text(expires.value)));
    if message.text(first.value) == b"*" {
        // RFC 3261 §10.3 step 6: nothing beside it, and Expires is there and 0.
        let is_alone = message.all_of(HeaderName::Contact).nth(1).is_none();
        return match (is_alone, expires_s) {
            (true, Some(0)) => Ok(Asked::Clear),
            _ => Err(Refusal::Star),
        };
    }
    let default_s = expires_s.unwrap_or(rules.default_s);
    for value in message.contacts() {
        let value = value.map_err(|_| Refusal::Unreadable)?;
        let place = contacts.list.get_mut(contacts.count);
        let place = place.ok_or(Refusal::TooManyContacts)?;
        *place = Contact::read(message.bytes(), &value.address, default_s);
        // RFC 3261 §10.3 step 7: less than was asked for may be granted.
        place.expires_s = place.expires_s.min(rules.max_s);
        contacts.count += 1;
    }
    judge(message, contacts.all(), rules)?;
    Ok(Asked::Bind)
}

fn judge(message: &Message<'_>, contacts: &[Contact], rules: &Rules) -> Result<(), Refusal> {
    // RFC 3261 §10.3 step 7: never what lasts for an hour or longer, however high the least is.
    let least_s = rules.min_s.min(3_600);
    if contacts
        .iter()
        .any(|contact| (1..least_s).contains(&contact.expires_s))
    {
        return Err(Refusal::TooBrief { min_s: rules.min_s });
    }
    let lasting = || contacts.iter().filter(|contact| contact.expires_s > 0);
    // RFC 5626 §6: one flow is registered at a time.
    if contacts.len() > 1 && lasting().count() > 1 && lasting().any(|it| it.flow().is_some()) {
        return Err(Refusal::SeveralFlows);
    }
    let is_sips = |contact: &Contact| starts_with_sips(message.text(contact.uri));
    if lasting().any(is_sips) && !is_secure(message) {
        return Err(Refusal::Insecure);
    }
    Ok(())
}

/// Whether two contacts are of the same binding.
fn is_twice(message: &Message<'_>, one: &Contact, other: &Contact) -> bool {
    match (one.flow(), other.flow()) {
        (Some((one, flow)), Some((other, of))) => {
            flow == of && message.text(one) == message.text(other)
        }
        (None, None) => is_same(message.text(one.uri), message.text(other.uri)),
        _ => false,
    }
}

/// The values of Path, as one (RFC 3327 §5.3); empty where there is none.
pub(super) fn path<'p>(
    message: &Message<'_>,
    room: &'p mut [u8; ROUTE_SET_LEN_MAX],
) -> Result<&'p [u8], Refusal> {
    let mut text = Text::new(room);
    for (at, value) in message.paths().enumerate() {
        let value = value.map_err(|_| Refusal::Unreadable)?;
        Uri::read(message.bytes(), value.address.uri).map_err(|_| Refusal::Unreadable)?;
        if at == ROUTE_SET_MAX {
            return Err(Refusal::TooLong);
        }
        if at > 0 {
            text.push(b", ");
        }
        push_unfolded(&mut text, message.text(value.address.value));
    }
    let len = text.finish().map_err(|TooLong| Refusal::TooLong)?;
    Ok(&room[..len])
}

/// Whether the flow by which a REGISTER came is the one by which its user agent is reached: it came
/// from there without a proxy, or by one that keeps the flow (RFC 5626 §6).
pub(super) fn keeps_flow(message: &Message<'_>) -> bool {
    if matches!(message.second_via(), Ok(None)) {
        return true;
    }
    let first = message.paths().next().and_then(Result::ok);
    let uri = first.and_then(|value| Uri::read(message.bytes(), value.address.uri).ok());
    uri.is_some_and(|uri| uri.param(message.bytes(), b"ob").is_some())
}

/// RFC 5630 §5.2: a contact of SIPS only where all on the way to it is.
fn is_secure(message: &Message<'_>) -> bool {
    let is_sips = |uri: Span| starts_with_sips(message.text(uri));
    message.request_uri().is_some_and(is_sips)
        && message
            .contacts()
            .flatten()
            .all(|value| is_sips(value.address.uri))
        && message
            .paths()
            .flatten()
            .all(|value| is_sips(value.address.uri))
}

fn starts_with_sips(uri: &[u8]) -> bool {
    uri.first_chunk::<5>()
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
}

/// Appends a text in which folding becomes spaces: what is kept stands in other messages' lines.
fn push_unfolded(text: &mut Text<'_>, part: &[u8]) {
    let mut rest = part;
    loop {
        let fold = find_control(rest, 0, rest.len());
        let (plain, folded) = rest.split_at(fold.min(rest.len()));
        text.push(plain);
        let Some((_, after)) = folded.split_first() else {
            return;
        };
        text.push(b" ");
        rest = after;
    }
}

/// RFC 3261 §10.2: seconds; what is more than 2^32-1 is that, and what is no number is an hour.
pub(super) fn seconds(text: &[u8]) -> u32 {
    match number(text, u32::MAX) {
        Some(seconds) => seconds,
        None if !text.is_empty() && text.iter().all(u8::is_ascii_digit) => u32::MAX,
        None => MALFORMED_S,
    }
}

/// RFC 3261 §25.1: `0.` or `1.` and up to three digits, of which those of 1 are zeros.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, digits) = match text.split_first()? {
        (whole @ (b'0' | b'1'), []) => (whole, &[][..]),
        (whole @ (b'0' | b'1'), [b'.', digits @ ..]) if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut q = u16::from(whole - b'0');
    for at in 0..3 {
        let digit = digits.get(at).map_or(0, |digit| digit.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        q = q * 10 + u16::from(digit);
    }
    (q <= Q_MAX).then_some(q)
}

/// RFC 5626 §10: from 1 to 2^31-1. Another one is none.
fn reg_id(text: &[u8]) -> Option<NonZeroU32> {
    number(text, u32::MAX >> 1).and_then(NonZeroU32::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_numbers_from_0_to_1() {
        for (text, q) in [
            ("1", 1000),
            ("0", 0),
            ("0.", 0),
            ("1.", 1000),
            ("0.5", 500),
            ("0.05", 50),
            ("0.123", 123),
            ("1.000", 1000),
        ] {
            assert_eq!(thousandths(text.as_bytes()), Some(q), "{text}");
        }
        for text in [
            "", ".5", "2", "1.1", "0.1234", "0.x", "-1", "1.001", "01", "\"1\"",
        ] {
            assert_eq!(thousandths(text.as_bytes()), None, "{text}");
        }
    }

    /// RFC 3261 §10.2.
    #[test]
    fn an_interval_that_is_no_number_is_an_hour_and_a_large_one_is_large() {
        for (text, known) in [
            ("0", 0),
            ("0060", 60),
            ("4294967295", u32::MAX),
            ("4294967296", u32::MAX),
            ("99999999999999999999999999", u32::MAX),
            ("-1", 3_600),
            ("", 3_600),
            ("\"60\"", 3_600),
            ("60s", 3_600),
        ] {
            assert_eq!(seconds(text.as_bytes()), known, "{text}");
        }
    }

    #[test]
    fn a_reg_id_is_positive_and_below_2_to_31() {
        assert_eq!(reg_id(b"1"), NonZeroU32::new(1));
        assert_eq!(reg_id(b"2147483647"), NonZeroU32::new(2_147_483_647));
        for text in ["0", "2147483648", "", "x", "-1"] {
            assert_eq!(reg_id(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn folding_and_tabs_become_spaces() {
        let mut room = [0; 64];
        let mut text = Text::new(&mut room);
        push_unfolded(&mut text, b"a\r\n\tb\r\n c");
        let len = text.finish().unwrap();
        assert_eq!(&room[..len], b"a   b   c");
    }
}
