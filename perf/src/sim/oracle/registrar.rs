//! The registrar of the box, said once more (RFC 3261 §10.3): which contacts a user has, and what the
//! answer to a REGISTER says of them. One of the simulator names one contact, and so does every other
//! of its Call-ID.

use std::collections::HashMap;

use trunkline_dataplane::sip::registrar::Rules;
use trunkline_dataplane::tick::Tick;

use super::Oracle;
use super::ledger::Asked;
use crate::sim::phone;
use crate::sim::sip::Sip;
use crate::sim::sip::bracketed;
use crate::sim::sip::param;

/// A contact, while it lasts.
#[derive(Debug)]
struct Bound {
    uri: String,
    until: Tick,
}

/// What is known of a user.
#[derive(Debug, Default)]
struct User {
    bound: Vec<Bound>,
    /// The last CSeq of each Call-ID.
    done: Vec<(String, u32)>,
}

/// Whose contacts the box has.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    users: HashMap<String, User>,
}

impl Oracle {
    /// True for a REGISTER that the box itself answers.
    pub(super) fn is_register(&self, asked: &Asked) -> bool {
        asked.request.method() == "REGISTER" && self.site.is_phone(asked.source.ip())
    }
}

impl Registrar {
    /// The box has kept them in memory.
    pub fn restarts(&mut self) {
        self.users.clear();
    }

    /// Any status with which a REGISTER is judged anew each time that it comes: it is done once.
    pub const fn is_of_each_copy(status: Option<u16>) -> bool {
        matches!(status, Some(200 | 500))
    }

    /// The answer to a REGISTER of somebody who has proved who it is. What it says is done.
    pub fn answers(&mut self, now: Tick, request: &Sip, sip: &Sip) -> Result<(), String> {
        let rules = Rules::default();
        let value = phone::credentials_in(request);
        let name = value.and_then(|value| phone::param(value, "username"));
        let user = self.users.entry(name.unwrap_or_default().to_owned());
        let user = user.or_default();
        user.bound.retain(|bound| bound.until > now);
        let contact = request.get("Contact");
        let (uri, asked) = (bracketed(contact), param(contact, "expires"));
        let asked_s = asked.and_then(|seconds| seconds.parse().ok());
        let asked_s: u32 = asked_s.unwrap_or(rules.default_s);

        let (call_id, cseq) = (request.get("Call-ID"), request.cseq());
        let before = user.done.iter().find(|(of, _)| of == call_id);
        let before = before.map_or(0, |(_, cseq)| *cseq);
        let is_bound = user.bound.iter().any(|bound| bound.uri == uri);
        let is_full = user.bound.len() >= usize::from(rules.contacts_max);
        match sip.status() {
            Some(200) if cseq < before => return Err("though a later one was done".to_owned()),
            Some(200) if cseq == before => {}
            Some(200) => {
                user.done.retain(|(of, _)| of != call_id);
                user.done.push((call_id.to_owned(), cseq));
                user.bound.retain(|bound| bound.uri != uri);
                let until = now.plus_ms(1_000 * u64::from(asked_s.min(rules.max_s)));
                if until > now {
                    let uri = uri.to_owned();
                    user.bound.push(Bound { uri, until });
                }
            }
            // RFC 3261 §10.3 step 7: out of order.
            Some(500) if cseq < before => return Ok(()),
            Some(403) if is_full && !is_bound && asked_s > 0 => return Ok(()),
            _ => return Err("with no reason".to_owned()),
        }
        user.reads(now, sip)
    }
}

impl User {
    /// RFC 3261 §10.3 step 8: all of them, with what is left of their time in whole seconds.
    fn reads(&self, now: Tick, sip: &Sip) -> Result<(), String> {
        let left_s = |bound: &Bound| bound.until.since(now).div_ceil(1_000_000_000);
        let line = |bound: &Bound| format!("<{}>;expires={}", bound.uri, left_s(bound));
        let mut expected: Vec<_> = self.bound.iter().map(line).collect();
        let mut said: Vec<_> = sip.all("Contact").collect();
        expected.sort_unstable();
        said.sort_unstable();
        match expected == said {
            true => Ok(()),
            false => Err(format!("it says {said:?}, not {expected:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Tick = Tick::ms(5_000);

    fn register(contact: &str, call_id: &str, cseq: u32) -> Sip {
        message(
            "REGISTER sip:example.com SIP/2.0",
            &[contact],
            call_id,
            cseq,
        )
    }

    fn message(start: &str, contacts: &[&str], call_id: &str, cseq: u32) -> Sip {
        let contacts: String = contacts
            .iter()
            .map(|contact| format!("Contact: {contact}\r\n"))
            .collect();
        let text = format!(
            "{start}\r\nVia: v;branch=b\r\nFrom: <sip:u@example.com>;tag=t\r\n\
             To: <sip:u@example.com>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n\
             Authorization: Digest username=\"u\",realm=\"example.com\"\r\n\
             {contacts}Content-Length: 0\r\n\r\n"
        );
        Sip::read(text).unwrap()
    }

    /// Whether the registrar may answer so.
    fn may(registrar: &mut Registrar, request: &Sip, status: u16, contacts: &[&str]) -> bool {
        let answer = message(&format!("SIP/2.0 {status} X"), contacts, "4-c", 1);
        registrar.answers(NOW, request, &answer).is_ok()
    }

    #[test]
    fn a_contact_is_bound_as_long_as_was_asked_and_no_longer_than_is_granted() {
        let mut registrar = Registrar::default();
        let hour = register("<sip:u@a>;expires=3600", "4-c", 2);
        assert!(!may(&mut registrar, &hour, 200, &[]));
        assert!(may(&mut registrar, &hour, 200, &["<sip:u@a>;expires=3600"]));
        assert!(!may(&mut registrar, &hour, 500, &[]), "nothing later came");
        let day = register("<sip:u@b>;expires=86400", "5-c", 1);
        let both = ["<sip:u@b>;expires=7200", "<sip:u@a>;expires=3600"];
        assert!(may(&mut registrar, &day, 200, &both));
        let gone = register("<sip:u@a>;expires=0", "4-c", 3);
        assert!(may(&mut registrar, &gone, 200, &both[..1]));
        assert!(!may(&mut registrar, &hour, 200, &both));
        assert!(may(&mut registrar, &hour, 500, &[]));
    }

    #[test]
    fn no_more_contacts_are_refused_than_are_too_many() {
        let mut registrar = Registrar::default();
        let mut said = Vec::new();
        for number in 0..10 {
            let contact = format!("<sip:u@{number}>;expires=600");
            said.push(contact.clone());
            let request = register(&contact, &format!("{number}-c"), 1);
            let said: Vec<_> = said.iter().map(String::as_str).collect();
            assert!(!may(&mut registrar, &request, 403, &[]));
            assert!(may(&mut registrar, &request, 200, &said));
        }
        let request = register("<sip:u@10>;expires=600", "10-c", 1);
        assert!(may(&mut registrar, &request, 403, &[]));
    }
}
