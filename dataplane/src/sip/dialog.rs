//! What is kept of a dialog (RFC 3261 §12), and requests of our own within it.
//!
//! A proxy has no part in a dialog. It keeps what the two user agents keep so that it can end a
//! dead call with a BYE to each of them in the other's name. All of it is text, in one chain
//! of the [`TextStore`]:
//!
//! ```text
//! nine lengths of 2 bytes | Call-ID | URIs | tags | remote targets | route sets
//! ```

use super::call::Party;
use super::header::Address;
use super::scan;
use super::texts::Chain;
use super::texts::TextStore;
use super::uri::Uri;
use crate::limits::DIALOG_LEN_MAX;
use crate::span::Span;
use crate::text::Text;
use crate::text::TooLong;

/// The texts of a record.
const FIELDS: usize = 9;
/// The lengths before them.
const LENGTHS: usize = 2 * FIELDS;

/// A dialog as its messages have told it so far; a text that is not known yet is empty. The
/// pairs are by [`Party`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record<'t> {
    /// The Call-ID.
    pub call_id: &'t [u8],
    /// The URIs of the first INVITE's From and To, without brackets.
    pub uris: [&'t [u8]; 2],
    /// The tags. The caller's is empty where it is an RFC 2543 element.
    pub tags: [&'t [u8]; 2],
    /// The remote targets: the URI of each party's Contact.
    pub targets: [&'t [u8]; 2],
    /// The route set from the box to each party: values of Route with commas between.
    pub routes: [&'t [u8]; 2],
}

impl<'t> Record<'t> {
    /// Keeps the texts; `None` where there is no room, or they are longer in all than
    /// [`DIALOG_LEN_MAX`].
    #[must_use]
    pub fn keep(&self, store: &mut TextStore) -> Option<Chain> {
        let texts = self.texts();
        let mut lengths = [0; LENGTHS];
        let mut len = LENGTHS;
        for (place, text) in lengths.chunks_mut(2).zip(texts) {
            place.copy_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
            len += text.len();
        }
        if len > DIALOG_LEN_MAX {
            return None;
        }
        let [a, b, c, d, e, f, g, h, i] = texts;
        store.put(&[&lengths, a, b, c, d, e, f, g, h, i])
    }

    /// The record in what [`TextStore::read`] gave.
    #[must_use]
    pub fn read(text: &'t [u8]) -> Option<Record<'t>> {
        let (lengths, mut rest) = text.split_at_checked(LENGTHS)?;
        let mut texts = [&[][..]; FIELDS];
        for (text, len) in texts.iter_mut().zip(lengths.chunks_exact(2)) {
            let len = u16::from_be_bytes([len[0], len[1]]);
            (*text, rest) = rest.split_at_checked(len.into())?;
        }
        let [call_id, a, b, c, d, e, f, g, h] = texts;
        Some(Record {
            call_id,
            uris: [a, b],
            tags: [c, d],
            targets: [e, f],
            routes: [g, h],
        })
    }

    /// True once a request can be sent to `party` in the other's name. The 2xx has told the callee's
    /// tag or, where it has none (RFC 3261 §12.1.2), at least its target.
    #[must_use]
    pub fn reaches(&self, party: Party) -> bool {
        let callee = Party::Callee as usize;
        let answered = !(self.tags[callee].is_empty() && self.targets[callee].is_empty());
        answered && !self.call_id.is_empty() && !self.targets[party as usize].is_empty()
    }

    /// The URI of the next hop to `party` (RFC 3261 §8.1.2): its route set's first, else its
    /// remote target.
    #[must_use]
    pub fn next_hop(&self, party: Party) -> Option<&'t [u8]> {
        match routes(self.routes[party as usize]).next() {
            Some(first) => first.map(|route| route.uri),
            None => Some(self.targets[party as usize]),
        }
    }

    fn texts(&self) -> [&'t [u8]; FIELDS] {
        let Record {
            call_id,
            uris: [a, b],
            tags: [c, d],
            targets: [e, f],
            routes: [g, h],
        } = *self;
        [call_id, a, b, c, d, e, f, g, h]
    }
}

/// A request of ours to a party, in the other's name.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a [u8],
    /// Its number (RFC 3261 §12.2.1.1): for BYE one more than the sender's highest, for ACK the
    /// INVITE's.
    pub cseq: u32,
    /// To whom.
    pub to: Party,
    /// Host and port of our Via.
    pub sent_by: &'a [u8],
    /// Its branch.
    pub branch: &'a [u8],
    /// More header lines, each with its CRLF.
    pub lines: &'a [u8],
}

impl Request<'_> {
    /// Writes the request within the dialog of `record` (RFC 3261 §12.2.1.1).
    ///
    /// # Errors
    /// [`TooLong`] when `out` is too short.
    pub fn write(&self, record: &Record<'_>, out: &mut [u8]) -> Result<usize, TooLong> {
        let mut text = Text::new(out);
        let (to, from) = (self.to as usize, self.to.other() as usize);
        let (target, route_set) = (record.targets[to], record.routes[to]);
        let strict = routes(route_set).next().flatten().filter(|first| !first.lr);
        let uri = strict.map_or(target, |first| first.uri);
        for part in [self.method, b" ", uri, b" SIP/2.0\r\n"] {
            text.push(part);
        }
        for part in [
            b"Via: SIP/2.0/UDP ",
            self.sent_by,
            b";branch=",
            self.branch,
            b"\r\nMax-Forwards: 70\r\n",
        ] {
            text.push(part);
        }
        match strict {
            // RFC 3261 §12.2.1.1: the first hop does not know `lr`. It is the Request-URI, and
            // the remote target the last Route.
            Some(first) => {
                text.push(b"Route: ");
                if !first.rest.is_empty() {
                    text.push(first.rest);
                    text.push(b", ");
                }
                text.push(b"<");
                text.push(target);
                text.push(b">\r\n");
            }
            None if route_set.is_empty() => {}
            None => {
                for part in [b"Route: ", route_set, b"\r\n"] {
                    text.push(part);
                }
            }
        }
        for (name, party) in [(&b"From: <"[..], from), (b"To: <", to)] {
            text.push(name);
            text.push(record.uris[party]);
            text.push(b">");
            if !record.tags[party].is_empty() {
                text.push(b";tag=");
                text.push(record.tags[party]);
            }
            text.push(b"\r\n");
        }
        for part in [b"Call-ID: ", record.call_id, b"\r\nCSeq: "] {
            text.push(part);
        }
        text.decimal(self.cseq);
        for part in [b" ", self.method, b"\r\n", self.lines] {
            text.push(part);
        }
        text.push(b"Content-Length: 0\r\n\r\n");
        text.finish()
    }
}

/// A value of a route set.
#[derive(Clone, Copy, Debug)]
struct Hop<'t> {
    uri: &'t [u8],
    lr: bool,
    /// The values after it.
    rest: &'t [u8],
}

/// The values of a route set; `None` for one that cannot be read, which is the last.
fn routes(text: &[u8]) -> impl Iterator<Item = Option<Hop<'_>>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let hop = hop(rest);
        rest = hop.map_or(&[], |hop| hop.rest);
        Some(hop)
    })
}

fn hop(text: &[u8]) -> Option<Hop<'_>> {
    let address = Address::read(text, 0, text.len(), true).ok()?;
    let comma = scan::skip_space(text, address.value.end.into(), text.len());
    let next = scan::skip_space(text, (comma + 1).min(text.len()), text.len());
    Some(Hop {
        uri: address.uri.of(text),
        lr: Uri::read(text, address.uri).is_ok_and(|uri| uri.has_lr(text)),
        rest: text.get(next..).unwrap_or(&[]),
    })
}

/// Writes values of Record-Route as a route set: in their order, or the last first.
///
/// # Errors
/// [`TooLong`] when `out` is too short.
pub fn route_set(
    bytes: &[u8],
    values: &[Span],
    last_first: bool,
    out: &mut [u8],
) -> Result<usize, TooLong> {
    let mut text = Text::new(out);
    for nth in 0..values.len() {
        if nth > 0 {
            text.push(b", ");
        }
        let at = match last_first {
            true => values.len() - 1 - nth,
            false => nth,
        };
        text.push(values[at].of(bytes));
    }
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Record<'_> = Record {
        call_id: b"c1",
        uris: [b"sip:a@x", b"tel:+1"],
        tags: [b"ta", b"tb"],
        targets: [b"sip:a@10.0.0.1:5070", b"sip:b@10.0.0.2"],
        routes: [b"", b"<sip:10.0.0.7;lr>, <sip:10.0.0.8;lr>"],
    };

    fn written(record: &Record<'_>, to: Party) -> String {
        let request = Request {
            method: b"BYE",
            cseq: 7,
            to,
            sent_by: b"10.0.0.9",
            branch: b"z9hG4bKx",
            lines: b"",
        };
        let mut out = [0; 1000];
        let len = request.write(record, &mut out).unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn a_record_comes_back_whole() {
        let mut store = TextStore::new(4);
        let chain = WHOLE.keep(&mut store).unwrap();
        let mut room = [0; DIALOG_LEN_MAX];
        assert_eq!(Record::read(store.read(&chain, &mut room)), Some(WHOLE));
        assert!(WHOLE.reaches(Party::Caller) && WHOLE.reaches(Party::Callee));
        let targets = [WHOLE.targets[0], b""];
        let one_way = Record { targets, ..WHOLE };
        assert!(one_way.reaches(Party::Caller) && !one_way.reaches(Party::Callee));
        let tags = [WHOLE.tags[0], b""];
        let untagged = Record { tags, ..WHOLE };
        assert!(untagged.reaches(Party::Caller) && untagged.reaches(Party::Callee));
        let early = Record { tags, ..one_way };
        assert!(!early.reaches(Party::Caller) && !early.reaches(Party::Callee));
        let long = [b'x'; DIALOG_LEN_MAX];
        assert!(
            Record {
                call_id: &long,
                ..WHOLE
            }
            .keep(&mut store)
            .is_none()
        );
    }

    #[test]
    fn a_request_names_each_party_in_its_place_and_follows_the_route_set() {
        assert_eq!(
            written(&WHOLE, Party::Callee),
            "BYE sip:b@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\n\
             Max-Forwards: 70\r\nRoute: <sip:10.0.0.7;lr>, <sip:10.0.0.8;lr>\r\n\
             From: <sip:a@x>;tag=ta\r\nTo: <tel:+1>;tag=tb\r\nCall-ID: c1\r\nCSeq: 7 BYE\r\n\
             Content-Length: 0\r\n\r\n"
        );
        assert_eq!(
            written(&WHOLE, Party::Caller),
            "BYE sip:a@10.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\n\
             Max-Forwards: 70\r\nFrom: <tel:+1>;tag=tb\r\nTo: <sip:a@x>;tag=ta\r\n\
             Call-ID: c1\r\nCSeq: 7 BYE\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(WHOLE.next_hop(Party::Callee), Some(&b"sip:10.0.0.7;lr"[..]));
        assert_eq!(WHOLE.next_hop(Party::Caller), Some(WHOLE.targets[0]));
    }

    #[test]
    fn a_strict_router_is_the_request_uri() {
        let routes = [&b""[..], b"<sip:10.0.0.7>,<sip:10.0.0.8;lr>"];
        let text = written(&Record { routes, ..WHOLE }, Party::Callee);
        assert!(text.starts_with("BYE sip:10.0.0.7 SIP/2.0\r\n"), "{text}");
        assert!(text.contains("\r\nRoute: <sip:10.0.0.8;lr>, <sip:b@10.0.0.2>\r\n"));
        let routes = [&b""[..], b"<sip:10.0.0.7>"];
        let text = written(&Record { routes, ..WHOLE }, Party::Callee);
        assert!(text.contains("\r\nRoute: <sip:b@10.0.0.2>\r\n"), "{text}");
    }
}
