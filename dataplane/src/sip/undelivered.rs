//! What ICMP says of a request that we sent, and which one that was.
//!
//! An ICMP error quotes the datagram that it is about. What control's sockets are told of it
//! begins where the UDP payload began, and ends after 520 bytes or so (RFC 1812 §4.3.2.3), after
//! 1,200 over IPv6 (RFC 4443 §2.4), or at once where a router quotes no more than RFC 792 asks for.
//! Our branch is in the top Via, near the front: whoever shows it with its MAC has seen the
//! request. Nothing else in the quote is believed.

use std::net::SocketAddr;

use super::header::HeaderName;
use super::identity::Branch;
use super::method::Method;
use super::scan;
use super::scan::LineEnds;
use super::scan::Start;
use super::via::Via;

/// Why a request was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody takes it there: host, network, port or protocol unreachable, or a parameter
    /// problem (RFC 3261 §18.4).
    Unreachable,
    /// It is too large for the way.
    TooLarge,
}

/// A request that was not delivered, as its quoted branch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Our branch, which names the client transaction.
    pub branch: Branch,
    /// The method in the start line: an INVITE shares its branch with its CANCEL and its ACK.
    pub method: Method,
    /// Where the datagram was going.
    pub destination: SocketAddr,
    /// Why it did not get there.
    pub why: Why,
}

/// The method and the top Via's branch of the request whose front is `quoted`. `None` for a
/// response, whose top Via is another element's, and where the quote ends before the branch.
#[must_use]
pub fn read_quote(quoted: &[u8]) -> Option<(Method, &[u8])> {
    let mut ends = LineEnds::new(quoted, 0);
    let (start, mut at) = scan::start_line(quoted, &mut ends).ok()?;
    let Start::Request { method, .. } = start else {
        return None;
    };
    while let Some(header) = scan::header(quoted, at, &mut ends).ok()? {
        if header.kind == HeaderName::Via {
            let (start, end) = (header.value.start.into(), header.value.end.into());
            let via = Via::read(quoted, start, end).ok()?;
            return via.branch.map(|branch| (method, branch.of(quoted)));
        }
        at = header.line.end.into();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"INVITE sip:100@10.77.2.2 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.77.2.1;branch=z9hG4bKours\r\n\
        Via: SIP/2.0/UDP 10.77.1.2;branch=z9hG4bKtheirs\r\n";

    #[test]
    fn the_branch_is_that_of_the_top_via() {
        let ours = Some((Method::Invite, &b"z9hG4bKours"[..]));
        assert_eq!(read_quote(INVITE), ours);
        let later = [b"CANCEL sip:a SIP/2.0\r\nX: y\r\n", &INVITE[34..]].concat();
        assert_eq!(
            read_quote(&later).map(|(method, _)| method),
            Some(Method::Cancel)
        );
    }

    #[test]
    fn a_quote_that_ends_early_names_nothing() {
        // The whole line is needed, and a byte more: it could be folded.
        let whole = memchr::memmem::rfind(INVITE, b"Via").unwrap() + 1;
        assert!(read_quote(&INVITE[..whole]).is_some());
        for len in 0..whole {
            assert_eq!(read_quote(&INVITE[..len]), None, "{len} bytes");
        }
        assert_eq!(
            read_quote(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\nX"),
            None
        );
        assert_eq!(read_quote(b"INVITE sip:a SIP/2.0\r\n\r\n"), None);
    }
}
