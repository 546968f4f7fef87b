//! Requests that we send in a dialog in the place of a party, as its user agent client would
//! (RFC 3261 §12.2.1.1): the ACK and the BYE for a dialog that nobody else ends.

use super::uri::Uri;
use crate::span::Span;
use crate::text::Text;
use crate::text::TooLong;

/// How many values of a route set are followed. A dialog with more of them is not ended by us.
pub const ROUTES_MAX: usize = 16;

/// A request inside a dialog. All that is text stands as in the messages that made the dialog.
#[derive(Clone, Copy, Debug)]
pub struct InDialog<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The remote target: the Contact's URI.
    pub target: &'a [u8],
    /// The URIs of the route set, the next hop first.
    pub routes: &'a [&'a [u8]],
    /// Host and port of our Via.
    pub sent_by: &'a [u8],
    /// Its branch.
    pub branch: &'a [u8],
    /// From's value, with the tag of the party in whose place we are.
    pub from: &'a [u8],
    /// To's value, with the tag of the other.
    pub to: &'a [u8],
    /// The Call-ID.
    pub call_id: &'a [u8],
    /// CSeq's number.
    pub cseq: u32,
}

impl InDialog<'_> {
    /// True where the first element of the route set is a strict router: it wants its own URI
    /// in the Request-URI (RFC 3261 §12.2.1.1).
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.routes.first().is_some_and(|route| !is_loose(route))
    }

    /// The URI that says where it goes first: that of the first element of the route set, else
    /// the target.
    #[must_use]
    pub fn next_hop(&self) -> &[u8] {
        self.routes.first().copied().unwrap_or(self.target)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`TooLong`] when `out` is too short.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, TooLong> {
        let mut text = Text::new(out);
        let strict = self.is_strict();
        let uri = if strict { self.next_hop() } else { self.target };
        let via = b" SIP/2.0\r\nVia: SIP/2.0/UDP ";
        for part in [self.method, b" ", uri, via, self.sent_by, b";branch="] {
            text.push(part);
        }
        text.push(self.branch);
        text.push(b"\r\n");
        // RFC 3261 §12.2.1.1: a strict router gets the remote target as the last Route.
        let last = strict.then_some(self.target);
        for route in self.routes.iter().skip(strict.into()).chain(&last) {
            for part in [b"Route: <", *route, b">\r\n"] {
                text.push(part);
            }
        }
        for (name, value) in [
            (&b"Max-Forwards: "[..], &b"70"[..]),
            (b"From: ", self.from),
            (b"To: ", self.to),
            (b"Call-ID: ", self.call_id),
        ] {
            for part in [name, value, b"\r\n"] {
                text.push(part);
            }
        }
        text.push(b"CSeq: ");
        text.decimal(self.cseq);
        for part in [b" ", self.method, b"\r\nContent-Length: 0\r\n\r\n"] {
            text.push(part);
        }
        text.finish()
    }
}

/// True for the URI of a loose router.
fn is_loose(uri: &[u8]) -> bool {
    let read = Uri::read(uri, Span::new(0, uri.len()));
    read.is_ok_and(|parts| parts.has_lr(uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bye(routes: &[&[u8]]) -> String {
        let bye = InDialog {
            method: b"BYE",
            target: b"sip:callee@10.0.0.9:5070",
            routes,
            sent_by: b"10.0.0.1",
            branch: b"z9hG4bKx",
            from: b"<sip:a@b>;tag=1",
            to: b"<sip:c@d>;tag=2",
            call_id: b"id@host",
            cseq: 7,
        };
        let mut out = [0; 600];
        let len = bye.write(&mut out).unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn loose_routers_are_listed_and_the_target_is_the_request_uri() {
        let text = bye(&[b"sip:p1;lr", b"sip:p2;lr"]);
        assert_eq!(
            text,
            "BYE sip:callee@10.0.0.9:5070 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx\r\n\
             Route: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\nMax-Forwards: 70\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: id@host\r\nCSeq: 7 BYE\r\n\
             Content-Length: 0\r\n\r\n"
        );
        assert!(!bye(&[]).contains("Route:"));
    }

    #[test]
    fn a_strict_router_gets_its_own_uri_and_the_target_comes_last() {
        let text = bye(&[b"sip:p1", b"sip:p2;lr"]);
        assert!(text.starts_with("BYE sip:p1 SIP/2.0\r\n"));
        assert!(
            text.contains("\r\nRoute: <sip:p2;lr>\r\nRoute: <sip:callee@10.0.0.9:5070>\r\nMax")
        );
    }
}
