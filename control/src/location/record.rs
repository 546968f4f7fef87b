//! A binding as a store keeps it, and a change of one.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;
use std::time::SystemTime;

use trunkline_dataplane::sip::registrar::EVERY;

/// Milliseconds since 1970, which mean the same after a restart and on another box.
pub type UnixMs = u64;

/// What time it is.
#[must_use]
pub fn now_ms() -> UnixMs {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.map_or(0, whole_ms)
}

pub(super) fn whole_ms(time: Duration) -> UnixMs {
    UnixMs::try_from(time.as_millis()).unwrap_or(UnixMs::MAX)
}

/// Names a binding among those of its user: the instance and the reg-id of its contact where it is a
/// flow (RFC 5626 §6), else the contact's URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// The key of the binding to this contact.
    #[must_use]
    pub fn of(contact: &[u8], instance: Option<&[u8]>, reg_id: Option<NonZeroU32>) -> Key {
        let (Some(instance), Some(reg_id)) = (instance, reg_id) else {
            return Key(contact.to_vec());
        };
        // No URI begins with a semicolon.
        let mut key = format!(";reg-id={reg_id};").into_bytes();
        key.extend_from_slice(instance);
        Key(key)
    }

    /// One before which no other comes.
    pub(super) const fn first() -> Key {
        Key(Vec::new())
    }

    /// That of a removal of all that a user has.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.0 == EVERY
    }

    pub(super) fn from_bytes(bytes: Vec<u8>) -> Key {
        Key(bytes)
    }

    /// The instance and the reg-id of a flow; else it is the contact's URI.
    #[must_use]
    pub fn flow(&self) -> Option<(&[u8], NonZeroU32)> {
        let rest = self.0.strip_prefix(b";reg-id=")?;
        let end = rest.iter().position(|&byte| byte == b';')?;
        let reg_id = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        Some((&rest[end + 1..], reg_id))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A binding of an address of record to a contact. Texts are the bytes of the message that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The domain, in lower case.
    pub domain: String,
    /// The user of the address of record.
    pub user: Vec<u8>,
    /// Which of the user's bindings.
    pub key: Key,
    /// The contact's URI with its parameters.
    pub contact: Vec<u8>,
    /// All parameters of the Contact header field value (RFC 5626 §6).
    pub parameters: Vec<u8>,
    /// The values of Path, the topmost first, as those of one header (RFC 3327 §5.3); empty without.
    pub path: Vec<u8>,
    /// Where the REGISTER came from.
    pub received: SocketAddr,
    /// The listen that it came to.
    pub listen: String,
    /// When it ends.
    pub expires_ms: UnixMs,
    /// Its preference in thousandths.
    pub q: u16,
    /// The CSeq of the REGISTER that made or refreshed it.
    pub cseq: u32,
    /// The Call-ID of that, hashed.
    pub call_id: u64,
    /// Its transaction, by which a worker knows it again.
    pub transaction: u64,
    /// Which of the device's flows it is.
    pub reg_id: Option<NonZeroU32>,
    /// When the registrar took it: what orders two REGISTERs of different Call-IDs.
    pub granted_ms: UnixMs,
}

/// The end of a binding before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The domain.
    pub domain: String,
    /// The user.
    pub user: Vec<u8>,
    /// Which of its bindings, or every one.
    pub key: Key,
    /// The CSeq of the REGISTER that ended it.
    pub cseq: u32,
    /// The Call-ID of that, hashed.
    pub call_id: u64,
    /// When the registrar took it.
    pub granted_ms: UnixMs,
}

impl Removal {
    /// Whether it ends a binding as a store has it: within a Call-ID the CSeq says which REGISTER was the later one, else
    /// the time.
    #[must_use]
    pub fn ends(&self, record: &Record) -> bool {
        let is_named = self.key.is_every() || self.key == record.key;
        is_named
            && self.user == record.user
            && self.domain == record.domain
            && match self.call_id == record.call_id {
                true => self.cseq >= record.cseq,
                false => self.granted_ms >= record.granted_ms,
            }
    }
}

/// What became of a binding. One that ends by itself is no change: its record says when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made or refreshed.
    Put(Record),
    /// It was ended.
    Remove(Removal),
}

impl Change {
    /// The domain of its user.
    #[must_use]
    pub fn domain(&self) -> &str {
        match self {
            Change::Put(record) => &record.domain,
            Change::Remove(removal) => &removal.domain,
        }
    }

    /// Its user.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        match self {
            Change::Put(record) => &record.user,
            Change::Remove(removal) => &removal.user,
        }
    }

    /// What was made or refreshed.
    #[must_use]
    pub fn put(self) -> Option<Record> {
        match self {
            Change::Put(record) => Some(record),
            Change::Remove(_) => None,
        }
    }

    /// That it was ended.
    #[must_use]
    pub const fn removal(&self) -> Option<&Removal> {
        match self {
            Change::Put(_) => None,
            Change::Remove(removal) => Some(removal),
        }
    }

    /// The binding among those of its user.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Change::Put(record) => &record.key,
            Change::Remove(removal) => &removal.key,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A binding of alice for an hour, made now by the first REGISTER of a Call-ID of its own.
    pub(crate) fn binding(contact: &str) -> Record {
        let now = now_ms();
        Record {
            domain: "example.net".to_owned(),
            user: b"alice".to_vec(),
            key: Key::of(contact.as_bytes(), None, None),
            contact: contact.as_bytes().to_vec(),
            parameters: b";methods=\"INVITE\"".to_vec(),
            path: b"<sip:edge.example.net;lr>".to_vec(),
            received: "[2001:db8::7]:5066".parse().unwrap(),
            listen: "access".to_owned(),
            expires_ms: now + 3_600_000,
            q: 700,
            cseq: 1,
            call_id: u64::MAX - 1,
            transaction: 1 << 63,
            reg_id: None,
            granted_ms: now,
        }
    }

    /// The end of it, by the next REGISTER of its Call-ID.
    pub(crate) fn removal(of: &Record) -> Removal {
        Removal {
            domain: of.domain.clone(),
            user: of.user.clone(),
            key: of.key.clone(),
            cseq: of.cseq + 1,
            call_id: of.call_id,
            granted_ms: of.granted_ms + 1,
        }
    }

    #[test]
    fn a_removal_ends_what_was_registered_before_it_and_nothing_else() {
        let record = binding("sip:a@b");
        let end = removal(&record);
        assert!(end.ends(&record));
        let later = |cseq, granted_ms, call_id| Record {
            cseq,
            granted_ms: record.granted_ms + granted_ms,
            call_id,
            ..record.clone()
        };
        // It ends one of its own CSeq: that put it out, out of order.
        for (cseq, granted_ms, ended) in [(2, 9, true), (3, 0, false)] {
            assert_eq!(end.ends(&later(cseq, granted_ms, record.call_id)), ended);
        }
        for (cseq, granted_ms, ended) in [(9, 1, true), (1, 2, false)] {
            assert_eq!(end.ends(&later(cseq, granted_ms, 7)), ended);
        }
        let others = [
            Record {
                user: b"bob".to_vec(),
                ..record.clone()
            },
            Record {
                domain: "example.org".to_owned(),
                ..record.clone()
            },
            binding("sip:other@b"),
        ];
        assert!(!others.iter().any(|record| end.ends(record)));
        let every = Removal {
            key: Key::of(b"*", None, None),
            ..end
        };
        let ended = [&record, &others[0], &others[1], &others[2]].map(|record| every.ends(record));
        assert_eq!(ended, [true, false, false, true]);
    }

    #[test]
    fn a_binding_is_named_by_its_flow_only_where_all_of_it_is_known() {
        let of = |instance: Option<&str>, reg_id| {
            Key::of(
                b"sip:a@b",
                instance.map(str::as_bytes),
                NonZeroU32::new(reg_id),
            )
        };
        let by_contact = of(None, 0);
        assert_eq!(by_contact.bytes(), b"sip:a@b");
        assert_eq!(of(Some("<urn:uuid:1>"), 0), by_contact);
        assert_eq!(of(None, 1), by_contact);
        let flow = of(Some("<urn:uuid:1>"), 1);
        assert_ne!(flow, by_contact);
        assert_ne!(flow, of(Some("<urn:uuid:1>"), 2));
        assert_ne!(flow, of(Some("<urn:uuid:2>"), 1));
        assert_eq!(
            flow.flow(),
            NonZeroU32::new(1).map(|reg_id| (&b"<urn:uuid:1>"[..], reg_id))
        );
        assert_eq!(by_contact.flow(), None);
        assert_eq!(Key(b";reg-id=x;y".to_vec()).flow(), None);
        let moved = Key::of(
            b"sip:a@elsewhere",
            Some(b"<urn:uuid:1>"),
            NonZeroU32::new(1),
        );
        assert_eq!(flow, moved, "a device may move");
    }
}
