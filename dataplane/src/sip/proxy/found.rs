//! The contacts of a user as bytes: what a worker that keeps them mails to one that calls them, and
//! what a response context keeps of them.
//!
//! ```text
//!   URI len 2 | path len 2 | q 2 | listen 1 | lane 1 | address 16 | port 2 | URI | path      and the next
//! ```

use std::net::Ipv6Addr;
use std::net::SocketAddr;

use crate::ids::ListenIndex;

/// The most bytes of it: what a kept page holds. Contacts beyond that are not called.
pub(crate) const FOUND_LEN_MAX: usize = 4096;

const HEAD_LEN: usize = 2 + 2 + 2 + 1 + 1 + 16 + 2;

/// A contact to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contact<'b> {
    /// Its URI.
    pub uri: &'b [u8],
    /// The Route to it; empty: none.
    pub path: &'b [u8],
    /// Where it is reached.
    pub to: SocketAddr,
    /// From which listen.
    pub listen: ListenIndex,
    /// Those of one lane are flows of one device: they are tried one after the other (RFC 5626 §7).
    pub lane: u8,
    /// How much it is preferred, in thousandths.
    pub q: u16,
}

/// Contacts as bytes, the best first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'b>(pub &'b [u8]);

impl<'b> Found<'b> {
    /// All of them.
    pub fn contacts(self) -> impl Iterator<Item = Contact<'b>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (contact, after) = read(rest)?;
            rest = after;
            Some(contact)
        })
    }
}

fn read(bytes: &[u8]) -> Option<(Contact<'_>, &[u8])> {
    let (&head, rest) = bytes.split_first_chunk::<HEAD_LEN>()?;
    let [a, b, c, d, e, f, listen, lane, address @ .., g, h] = head;
    let [uri_len, path_len, q, port] = [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes);
    let (uri, rest) = rest.split_at_checked(uri_len.into())?;
    let (path, rest) = rest.split_at_checked(path_len.into())?;
    let ip = Ipv6Addr::from(address).to_canonical();
    let contact = Contact {
        uri,
        path,
        to: SocketAddr::new(ip, port),
        listen: ListenIndex(listen),
        lane,
        q,
    };
    Some((contact, rest))
}

/// Writes contacts one after the other.
#[derive(Debug)]
pub(super) struct Writer<'b> {
    room: &'b mut [u8; FOUND_LEN_MAX],
    len: usize,
}

impl<'b> Writer<'b> {
    /// None yet.
    pub fn new(room: &'b mut [u8; FOUND_LEN_MAX]) -> Writer<'b> {
        Writer { room, len: 0 }
    }

    /// One more, if it fits.
    pub fn push(&mut self, contact: &Contact<'_>) {
        let Contact {
            uri,
            path,
            to,
            listen,
            lane,
            q,
        } = contact;
        let (Ok(uri_len), Ok(path_len)) = (u16::try_from(uri.len()), u16::try_from(path.len()))
        else {
            return;
        };
        let end = self.len + HEAD_LEN + uri.len() + path.len();
        let Some(room) = self.room.get_mut(self.len..end) else {
            return;
        };
        let address = match to.ip() {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(ip) => ip.octets(),
        };
        let head = [uri_len, path_len, *q].map(u16::to_be_bytes);
        let port = to.port().to_be_bytes();
        let parts = [
            head.as_flattened(),
            &[listen.0, *lane],
            &address,
            &port,
            uri,
            path,
        ];
        let mut at = 0;
        for part in parts {
            room[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.len = end;
    }

    /// Bytes so far.
    pub const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            texts in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..300), prop::collection::vec(any::<u8>(), 0..300), any::<u16>(), any::<u8>()), 0..20),
        ) {
            let mut room = [0; FOUND_LEN_MAX];
            let mut writer = Writer::new(&mut room);
            let contacts: Vec<_> = texts.iter().map(|(uri, path, q, n)| Contact {
                uri,
                path,
                to: match n % 2 {
                    0 => SocketAddr::from(([10, 0, 0, *n], *q)),
                    _ => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(*n)], *q)),
                },
                listen: ListenIndex(*n),
                lane: n / 2,
                q: *q,
            }).collect();
            for contact in &contacts {
                writer.push(contact);
            }
            let len = writer.len();
            let read: Vec<_> = Found(&room[..len]).contacts().collect();
            let fits = |n: usize| {
                let lens = contacts[..n].iter().map(|c| HEAD_LEN + c.uri.len() + c.path.len());
                lens.sum::<usize>() <= FOUND_LEN_MAX
            };
            if fits(contacts.len()) {
                prop_assert_eq!(&read, &contacts);
            } else {
                prop_assert!(read.iter().all(|contact| contacts.contains(contact)));
            }
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Found(&bytes).contacts().count() <= bytes.len());
        }
    }
}
