//! Whole messages: responses of our own, and the ACK and CANCEL of an INVITE that we
//! sent.

use std::net::SocketAddr;

use super::header::HeaderName;
use super::malformed::Malformed;
use super::message::Message;
use super::scan;
use super::via::Stamp;
use crate::span::Span;
use crate::text::Text;
use crate::text::TooLong;

/// A response to be built (RFC 3261 §8.2.6).
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The reason phrase; [`reason_phrase`] where there is none.
    pub reason: Option<&'a str>,
    /// The tag that To gets where it has none. A 100 gets none.
    pub to_tag: Option<&'a [u8]>,
    /// Where the request came from, to be written into its top Via; `None` where the
    /// request has been stamped before.
    pub source: Option<SocketAddr>,
    /// More header lines, each with its CRLF.
    pub lines: &'a [u8],
}

impl<'a> Response<'a> {
    /// A response with no more than it must have.
    #[must_use]
    pub const fn new(status: u16) -> Response<'a> {
        Response {
            status,
            reason: None,
            to_tag: None,
            source: None,
            lines: &[],
        }
    }
}

/// Writes the response to `request` that a server of ours gives, without a body.
///
/// RFC 3261 §8.2.6.2: Via in order, From, To, Call-ID and CSeq as they came; To gets a tag
/// where it has none, unless this is a 100. §8.2.6.1: a 100 carries the Timestamp.
/// Record-Route is not copied: none of our own responses makes a dialog.
///
/// # Errors
/// [`TooLong`] when `out` is too short.
pub fn response(
    request: &Message<'_>,
    response: &Response<'_>,
    out: &mut [u8],
) -> Result<usize, TooLong> {
    let mut text = Text::new(out);
    status_line(&mut text, response.status, response.reason);
    let mut top = response
        .source
        .map(|source| request.via().stamp(request.bytes(), source));
    for field in request.lines_of(HeaderName::Via) {
        match (top.take(), response.source) {
            (Some(stamp), Some(source)) => {
                stamped(&mut text, request.bytes(), field.line, stamp, source);
            }
            _ => text.push(request.text(field.line)),
        }
    }
    let copied = |kind| {
        let field = request.field(kind);
        field.map_or(&[][..], |field| request.text(field.line))
    };
    text.push(copied(HeaderName::From));
    to(&mut text, request, response);
    text.push(copied(HeaderName::CallId));
    text.push(copied(HeaderName::Cseq));
    if response.status == 100 {
        let timestamp = request.all_of(HeaderName::Timestamp).next();
        text.push(timestamp.map_or(&[][..], |field| request.text(field.line)));
    }
    text.push(response.lines);
    text.push(b"Content-Length: 0\r\n\r\n");
    text.finish()
}

fn status_line(text: &mut Text<'_>, status: u16, reason: Option<&str>) {
    text.push(b"SIP/2.0 ");
    text.decimal(status.into());
    text.push(b" ");
    text.push(reason.unwrap_or_else(|| reason_phrase(status)).as_bytes());
    text.push(b"\r\n");
}

fn to(text: &mut Text<'_>, request: &Message<'_>, response: &Response<'_>) {
    text.push(b"To: ");
    text.push(request.text(request.to().value));
    if let Some(tag) = response.to_tag
        && response.status > 100
        && request.to_tag().is_none()
    {
        text.push(b";tag=");
        text.push(tag);
    }
    text.push(b"\r\n");
}

/// Writes the line of the top Via with `received` and `rport` in it.
fn stamped(text: &mut Text<'_>, bytes: &[u8], line: Span, stamp: Stamp, source: SocketAddr) {
    let mut at = line.start;
    // The two stand in either order. At the same place, which is the end of the value,
    // rport's comes first: it completes the parameter that is there.
    let rport_first = match (stamp.rport, stamp.received) {
        (Some(rport), Some(received)) => rport.start <= received.start,
        _ => true,
    };
    for rport in [rport_first, !rport_first] {
        let place = if rport { stamp.rport } else { stamp.received };
        let Some(place) = place else { continue };
        text.push(
            Span {
                start: at,
                end: place.start,
            }
            .of(bytes),
        );
        if rport {
            text.push(b"=");
            text.decimal(source.port().into());
        } else {
            text.push(if stamp.received_is_new {
                b";received="
            } else {
                b""
            });
            text.ip(source.ip());
        }
        at = place.end;
    }
    text.push(
        Span {
            start: at,
            end: line.end,
        }
        .of(bytes),
    );
}

/// Writes the response to a request that the scanner refused, as far as it can be read:
/// the lines that a response repeats, each as it came. `None` where there is nobody to
/// answer: the datagram is a response or an ACK, or has no request line, or its headers
/// lack a Via, a From, a To, a Call-ID or a CSeq.
///
/// # Errors
/// [`TooLong`] when `out` is too short.
pub fn refusal(
    datagram: &[u8],
    malformed: Malformed,
    out: &mut [u8],
) -> Result<Option<usize>, TooLong> {
    let front = datagram
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'));
    let bytes = front.and_then(|front| datagram.get(front..)).unwrap_or(&[]);
    let Some(line_len) = memchr::memchr(b'\n', bytes) else {
        return Ok(None);
    };
    let method = bytes.get(..scan::token_end(bytes, 0)).unwrap_or(&[]);
    let is_response = bytes
        .get(..4)
        .is_some_and(|b| b.eq_ignore_ascii_case(b"SIP/"));
    if is_response || method.is_empty() || method == b"ACK" {
        return Ok(None);
    }
    let mut text = Text::new(out);
    status_line(&mut text, malformed.status(), None);
    let mut at = line_len + 1;
    let mut met = [false; 5];
    while let Ok(Some(header)) = scan::next_header(bytes, at) {
        let index = match header.kind {
            HeaderName::Via => 0,
            HeaderName::From => 1,
            HeaderName::To => 2,
            HeaderName::CallId => 3,
            HeaderName::Cseq => 4,
            _ => 5,
        };
        if let Some(met) = met.get_mut(index) {
            if index == 0 || !*met {
                text.push(header.line.of(bytes));
            }
            *met = true;
        }
        at = header.line.end.into();
    }
    text.push(b"Content-Length: 0\r\n\r\n");
    let len = text.finish()?;
    Ok(met.into_iter().all(|met| met).then_some(len))
}

/// Writes the front of the ACK for a failure of `invite`, which is the INVITE as we sent it:
/// what no response repeats (RFC 3261 §17.1.1.3). Its Request-URI, its top Via as the one
/// Via, its Routes. It is all that has to be kept of the INVITE.
///
/// # Errors
/// [`TooLong`] when `out` is too short.
pub fn ack_head(invite: &Message<'_>, out: &mut [u8]) -> Result<usize, TooLong> {
    let mut text = Text::new(out);
    head(&mut text, invite, b"ACK");
    text.finish()
}

/// Writes the ACK for `response`, a final one other than 2xx, behind what [`ack_head`] wrote:
/// From, To, Call-ID and the number of CSeq as the response has them (RFC 3261 §17.1.1.3). It
/// came with our branch, and all but To it repeats from the INVITE (§8.2.6.2).
///
/// # Errors
/// [`TooLong`] when `out` is too short.
pub fn ack(head: &[u8], response: &Message<'_>, out: &mut [u8]) -> Result<usize, TooLong> {
    let mut text = Text::new(out);
    text.push(head);
    tail(&mut text, response, b"ACK");
    text.finish()
}

/// Writes the CANCEL of `invite`, which is the INVITE as we sent it (RFC 3261 §9.1).
///
/// # Errors
/// [`TooLong`] when `out` is too short.
pub fn cancel(invite: &Message<'_>, out: &mut [u8]) -> Result<usize, TooLong> {
    let mut text = Text::new(out);
    head(&mut text, invite, b"CANCEL");
    tail(&mut text, invite, b"CANCEL");
    text.finish()
}

/// The front of a request that goes where its INVITE went, and names its transaction.
fn head(text: &mut Text<'_>, invite: &Message<'_>, method: &[u8]) {
    let uri = invite.request_uri().unwrap_or_default();
    for part in [
        method,
        b" ",
        invite.text(uri),
        b" SIP/2.0\r\nVia: ",
        invite.text(invite.via().value),
        b"\r\n",
    ] {
        text.push(part);
    }
    for field in invite.lines_of(HeaderName::Route) {
        text.push(invite.text(field.line));
    }
}

/// The rest of it, with the fields of the INVITE or of a response to it.
fn tail(text: &mut Text<'_>, source: &Message<'_>, method: &[u8]) {
    let (number, ..) = source.cseq();
    text.push(b"Max-Forwards: 70\r\n");
    let values = [
        (&b"From: "[..], source.text(source.from().value)),
        (b"To: ", source.text(source.to().value)),
        (b"Call-ID: ", source.call_id()),
    ];
    for (name, value) in values {
        text.push(name);
        text.push(value);
        text.push(b"\r\n");
    }
    text.push(b"CSeq: ");
    text.decimal(number);
    for part in [b" ", method, b"\r\nContent-Length: 0\r\n\r\n"] {
        text.push(part);
    }
}

/// The reason phrase of a status code (RFC 3261 §21); that of its class where the code is
/// not one of the RFC's.
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        430 => "Flow Failed",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        493 => "Undecipherable",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => match status / 100 {
            1 => "Session Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
