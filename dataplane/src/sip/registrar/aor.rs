//! Addresses of record in their canonical form: under what a registrar keeps the contacts of a user,
//! and by what the worker is found that does.

use super::escape::characters;
use crate::ids::WorkerId;
use crate::sip::identity::What;
use crate::sip::siphash::SipHash;
use crate::sip::subscriber::USER_LEN_MAX;
use crate::sip::subscriber::User;
use crate::sip::uri::Scheme;
use crate::sip::uri::Uri;

/// The longest host of an address of record: no name in DNS is longer.
const HOST_LEN_MAX: usize = 253;

/// An address of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressOfRecord {
    /// Stands for it: addresses that are the same have the same key.
    pub key: u64,
    /// Its user, escapes undone.
    pub user: User,
}

impl AddressOfRecord {
    /// The address of record that a URI of `bytes` spells: To of a REGISTER, or the Request-URI of a
    /// request to one of our users. `None` where it is no SIP or SIPS URI, names no user, or one
    /// whose name nobody can have: too long, or with a control character in it.
    ///
    /// RFC 3261 §10.3 step 5: without any URI parameter, escapes undone. Its host is compared in any
    /// case (§19.1.4). SIP and SIPS are one (RFC 5630 §5.2). The port and the password are left out
    /// too: a user of a domain has one address, whichever port a phone has been told to send to.
    #[must_use]
    pub fn of(bytes: &[u8], uri: &Uri, hash: SipHash) -> Option<AddressOfRecord> {
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return None;
        }
        let mut room = [0; USER_LEN_MAX];
        let name = unescaped(uri.user?.of(bytes), &mut room)?;
        // A bit for bit fold: of names this short it is a few instructions, where a search is many.
        let has_control = |sum, byte: &u8| sum | byte.is_ascii_control();
        if name.iter().fold(false, has_control) {
            return None;
        }
        let mut room = [0; HOST_LEN_MAX];
        let host = uri.host_text.of(bytes);
        if host.len() > HOST_LEN_MAX {
            return None;
        }
        AddressOfRecord::named(name, lower(host, &mut room), hash)
    }

    /// The address of record of this user, escapes undone, in a domain in lower case.
    #[must_use]
    pub fn named(user: &[u8], domain: &[u8], hash: SipHash) -> Option<AddressOfRecord> {
        let key = hash.text(user).text(domain);
        Some(AddressOfRecord {
            key: key.finish(What::AddressOfRecord.with(0)),
            user: User::new(user)?,
        })
    }

    /// The user that such a URI names.
    #[must_use]
    pub fn user_of(bytes: &[u8], uri: &Uri) -> Option<User> {
        AddressOfRecord::of(bytes, uri, SipHash::new(&[0; 16])).map(|aor| aor.user)
    }

    /// The same, where the workers' tables are made from this key.
    #[must_use]
    pub fn keyed(user: &[u8], domain: &[u8], key: &[u8; 16]) -> Option<AddressOfRecord> {
        AddressOfRecord::named(user, domain, SipHash::new(key))
    }

    /// The worker that keeps its contacts.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // Less than `workers`.
    pub const fn owner(&self, workers: u8) -> WorkerId {
        // The low bits choose the worker: by the high ones its tables find a place, and would
        // else use but their share of them.
        let low = self.key & 0xffff_ffff;
        WorkerId(((low * workers as u64) >> 32) as u8)
    }
}

/// A host in lower case.
fn lower<'h>(host: &'h [u8], room: &'h mut [u8; HOST_LEN_MAX]) -> &'h [u8] {
    match room.get_mut(..host.len()) {
        Some(lower)
            if host
                .iter()
                .fold(false, |sum, byte| sum | byte.is_ascii_uppercase()) =>
        {
            lower.copy_from_slice(host);
            lower.make_ascii_lowercase();
            lower
        }
        _ => host,
    }
}

/// A name without its escapes; `None` where it does not fit, or has a `%` that begins no escape.
fn unescaped<'n>(text: &'n [u8], room: &'n mut [u8; USER_LEN_MAX]) -> Option<&'n [u8]> {
    if !text.contains(&b'%') {
        return Some(text);
    }
    let mut len = 0;
    for character in characters(text) {
        if character.byte == b'%' && !character.is_escaped {
            return None;
        }
        *room.get_mut(len)? = character.byte;
        len += 1;
    }
    room.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    const HASH: SipHash = SipHash::new(&[7; 16]);

    fn aor(text: &str) -> Option<AddressOfRecord> {
        let uri = Uri::read(text.as_bytes(), Span::new(0, text.len())).unwrap();
        AddressOfRecord::of(text.as_bytes(), &uri, HASH)
    }

    fn key(text: &str) -> u64 {
        aor(text).unwrap().key
    }

    #[test]
    fn one_address_has_one_key_however_it_is_spelled() {
        let known = key("sip:alice@atlanta.example");
        for same in [
            "sip:alice@AtLanTa.Example",
            "SIP:%61lic%65@atlanta.example",
            "sips:alice@atlanta.example",
            "sip:alice@atlanta.example;user=phone;lr",
            "sip:alice@atlanta.example?Subject=x",
            "sip:alice@atlanta.example:5070",
            "sip:alice:secret@atlanta.example",
        ] {
            assert_eq!(key(same), known, "{same}");
        }
        for other in [
            "sip:Alice@atlanta.example",
            "sip:alic@eatlanta.example",
            "sip:alice@atlanta.exampl",
            "sip:alice%20@atlanta.example",
        ] {
            assert_ne!(key(other), known, "{other}");
        }
    }

    #[test]
    fn an_address_is_known_by_its_parts() {
        let named = AddressOfRecord::named(b"+1 (2)@x", b"example.com", HASH);
        assert_eq!(named, aor("sip:+1%20(2)%40x@Example.com"));
        assert_eq!(AddressOfRecord::named(b"", b"example.com", HASH), None);
    }

    #[test]
    fn the_user_is_without_its_escapes() {
        let user = |text: &str| aor(text).unwrap().user;
        let known = User::new(b"+1 (2)@x").unwrap();
        assert_eq!(user("sip:+1%20(2)%40x@h;x=y"), known);
        let at_most = format!("sip:{}@h", "%41".repeat(USER_LEN_MAX));
        assert_eq!(user(&at_most).name(), [b'A'; USER_LEN_MAX]);
    }

    #[test]
    fn what_can_be_nobodys_address_is_none() {
        let long = "a".repeat(USER_LEN_MAX + 1);
        let host = "b".repeat(HOST_LEN_MAX + 1);
        for text in [
            "sip:example.com",
            "tel:+12015550123",
            "mailto:a@b",
            "sip:a%00@h",
            "sip:a%0d%0a@h",
            "sip:a%7f@h",
            "sip:a%4@h",
            "sip:100%@h",
            "sip:a%zz@h",
            &format!("sip:{long}@h"),
            &format!("sip:%61{long}@h"),
            &format!("sip:a@{host}"),
        ] {
            assert_eq!(aor(text), None, "{text}");
        }
    }

    /// What one worker keeps fills all of its tables, not only a part of their cells.
    #[test]
    fn the_owner_says_nothing_of_the_place_in_a_table() {
        let mut places = [[0; 4]; 2];
        for n in 0..4_000 {
            let aor = aor(&format!("sip:{n}@example.com")).unwrap();
            let quarter = usize::try_from(aor.key >> 62).unwrap();
            places[usize::from(aor.owner(2).0)][quarter] += 1;
        }
        let counts = places.as_flattened();
        assert!(counts.iter().all(|n| (400..600).contains(n)), "{places:?}");
    }
}
