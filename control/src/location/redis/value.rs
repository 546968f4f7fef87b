//! A binding as the value of a field, and the removal of one, which is remembered for a while.
//!
//! ```text
//! 'P' or 'R', granted_ms: u64, until_ms: u64, cseq: u32, call_id: u64    what write.lua compares
//! of 'P': transaction: u64, q: u16, reg_id: u32, contact, parameters, path, received, listen
//! ```
//!
//! Numbers are big-endian; a text is its length as a u16 and its bytes. A `reg_id` of 0 is none
//! (RFC 5626 §10).

use std::num::NonZeroU32;

use crate::location::record::Change;
use crate::location::record::Key;
use crate::location::record::Record;
use crate::location::record::Removal;
use crate::location::record::UnixMs;

const PUT: u8 = b'P';
const REMOVE: u8 = b'R';

/// The value for a change. A removal is remembered until `remember_ms` after it. None where a text
/// is longer than any message.
pub fn encode(change: &Change, remember_ms: UnixMs) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(256);
    match change {
        Change::Put(record) => {
            let times = [record.granted_ms, record.expires_ms];
            front(&mut value, PUT, times, record.cseq, record.call_id);
            value.extend(record.transaction.to_be_bytes());
            value.extend(record.q.to_be_bytes());
            let reg_id = record.reg_id.map_or(0, NonZeroU32::get);
            value.extend(reg_id.to_be_bytes());
            let received = record.received.to_string();
            for part in [
                &record.contact,
                &record.parameters,
                &record.path,
                received.as_bytes(),
                record.listen.as_bytes(),
            ] {
                text(&mut value, part)?;
            }
        }
        Change::Remove(removal) => {
            let until = removal.granted_ms.saturating_add(remember_ms);
            let times = [removal.granted_ms, until];
            front(&mut value, REMOVE, times, removal.cseq, removal.call_id);
        }
    }
    Some(value)
}

fn front(value: &mut Vec<u8>, kind: u8, times: [UnixMs; 2], cseq: u32, call_id: u64) {
    value.push(kind);
    value.extend(times.into_iter().flat_map(UnixMs::to_be_bytes));
    value.extend(cseq.to_be_bytes());
    value.extend(call_id.to_be_bytes());
}

fn text(value: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    let len = u16::try_from(text.len()).ok()?;
    value.extend(len.to_be_bytes());
    value.extend(text);
    Some(())
}

/// What a field of a user's hash says; none where it is nothing of ours.
pub fn decode(domain: &str, user: &[u8], field: &[u8], value: &[u8]) -> Option<Change> {
    let mut rest = Reader(value);
    let kind = rest.number::<1>()?[0];
    let granted_ms = UnixMs::from_be_bytes(rest.number()?);
    let until_ms = UnixMs::from_be_bytes(rest.number()?);
    let cseq = u32::from_be_bytes(rest.number()?);
    let call_id = u64::from_be_bytes(rest.number()?);
    let (domain, user) = (domain.to_owned(), user.to_vec());
    let key = Key::from_bytes(field.to_vec());
    let change = match kind {
        PUT => {
            let transaction = u64::from_be_bytes(rest.number()?);
            let q = u16::from_be_bytes(rest.number()?);
            let reg_id = NonZeroU32::new(u32::from_be_bytes(rest.number()?));
            Change::Put(Record {
                domain,
                user,
                key,
                contact: rest.text()?,
                parameters: rest.text()?,
                path: rest.text()?,
                received: std::str::from_utf8(&rest.text()?).ok()?.parse().ok()?,
                listen: String::from_utf8(rest.text()?).ok()?,
                expires_ms: until_ms,
                q: q.min(1000),
                cseq,
                call_id,
                transaction,
                reg_id,
                granted_ms,
            })
        }
        REMOVE => Change::Remove(Removal {
            domain,
            user,
            key,
            cseq,
            call_id,
            granted_ms,
        }),
        _ => return None,
    };
    rest.0.is_empty().then_some(change)
}

/// What is still to be read. Also of what write.lua publishes.
pub struct Reader<'v>(pub &'v [u8]);

impl Reader<'_> {
    pub fn number<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*number)
    }

    pub fn text(&mut self) -> Option<Vec<u8>> {
        let len = u16::from_be_bytes(self.number()?);
        let (text, rest) = self.0.split_at_checked(len.into())?;
        self.0 = rest;
        Some(text.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::location::record::tests::binding;
    use crate::location::record::tests::removal;

    fn some_binding() -> impl Strategy<Value = Record> {
        let text = || proptest::collection::vec(any::<u8>(), 0..40);
        let texts = (text(), text(), text(), text(), text());
        let numbers = (0..=1000u16, any::<u32>(), any::<u32>());
        let words = any::<[u64; 4]>();
        let received = any::<(std::net::IpAddr, u16)>();
        (texts, numbers, words, received).prop_map(|(texts, numbers, words, received)| Record {
            domain: "example.net".to_owned(),
            user: texts.0,
            key: Key::from_bytes(texts.1),
            contact: texts.2,
            parameters: texts.3,
            path: texts.4,
            received: received.into(),
            listen: "access".to_owned(),
            expires_ms: words[0],
            q: numbers.0,
            cseq: numbers.1,
            call_id: words[1],
            transaction: words[2],
            reg_id: NonZeroU32::new(numbers.2),
            granted_ms: words[3],
        })
    }

    fn again(change: &Change, value: &[u8]) -> Option<Change> {
        decode(change.domain(), change.user(), change.key().bytes(), value)
    }

    proptest! {
        #[test]
        fn a_binding_comes_back_as_it_was(record in some_binding()) {
            let before = Record { cseq: record.cseq / 2, granted_ms: record.granted_ms / 2, ..record.clone() };
            for change in [Change::Remove(removal(&before)), Change::Put(record)] {
                let value = encode(&change, 1000).unwrap();
                prop_assert_eq!(again(&change, &value), Some(change));
            }
        }

        #[test]
        fn what_is_damaged_is_nothing_or_another_change(
            record in some_binding(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let change = Change::Put(record);
            let mut value = encode(&change, 0).unwrap();
            let at = at.index(value.len());
            prop_assert_eq!(again(&change, &value[..at]), None);
            value.push(byte);
            prop_assert_eq!(again(&change, &value), None);
            value.pop();
            value[at] = byte;
            // Whatever it is, it does not panic, and it is of this user and field.
            if let Some(other) = again(&change, &value) {
                prop_assert_eq!(other.key(), change.key());
            }
        }

        #[test]
        fn any_bytes_are_read(
            kind in prop::sample::select(vec![PUT, REMOVE]), rest in proptest::collection::vec(0..4u8, 28..90)
        ) {
            // Small bytes are lengths of texts that are there.
            let value = [&[kind], &rest[..]].concat();
            if let Some(change) = decode("example.net", b"alice", b"sip:a@b", &value) {
                prop_assert_eq!(change.put().is_some(), kind == PUT);
            }
        }
    }

    #[test]
    fn a_text_longer_than_any_message_has_no_value() {
        let mut record = binding("sip:a@192.0.2.1");
        record.path = vec![b'p'; 65_535];
        assert!(encode(&Change::Put(record.clone()), 0).is_some());
        record.path.push(b'p');
        assert!(encode(&Change::Put(record), 0).is_none());
    }
}
