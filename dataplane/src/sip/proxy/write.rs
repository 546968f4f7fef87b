//! How messages are written: with the splices collected so far, and our address as they have it.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::Range;

use super::Proxy;
use super::dialog::COOKIE_PARAM;
use crate::counters::Counter;
use crate::ids::ListenIndex;
use crate::sip::edit::Refused;
use crate::sip::effects::Effects;
use crate::sip::message::Message;
use crate::text::Text;

impl Proxy {
    /// What Via and Record-Route say for a listen.
    pub(super) fn advertised(&self, listen: ListenIndex) -> &Advertised {
        &self.advertised[usize::from(listen.0)]
    }

    /// Writes the message with the splices collected so far and sends it.
    pub(super) fn send_spliced<'e>(
        &self,
        message: &Message<'_>,
        to: SocketAddr,
        listen: ListenIndex,
        effects: &'e mut Effects,
    ) -> Result<&'e [u8], Counter> {
        match self.splices.write(message.bytes(), effects.room()) {
            Ok(len) => Ok(effects.send(len, to, listen)),
            Err(_) => Err(Counter::SipTooLong),
        }
    }
}

/// Brackets, 39 digits and colons, a colon and 5 digits: the longest address and port.
pub(super) const SENT_BY_LEN: usize = 47;

/// Writes `address` as Via's sent-by or a URI's hostport: IPv6 in brackets (RFC 3261
/// §25.1), without the port where it is 5060.
pub(super) fn sent_by(address: SocketAddr, out: &mut [u8; SENT_BY_LEN]) -> usize {
    let mut text = Text::new(out);
    match address.ip() {
        IpAddr::V4(ip) => text.ipv4(ip),
        ip @ IpAddr::V6(_) => {
            text.push(b"[");
            text.ip(ip);
            text.push(b"]");
        }
    }
    if address.port() != 5060 {
        text.push(b":");
        text.decimal(address.port().into());
    }
    // It is long enough for every address.
    text.finish().unwrap_or(0)
}

/// How a listen stands in what we write, made once: its Record-Route URI up to the cookie, in
/// which its sent-by is.
#[derive(Debug)]
pub(super) struct Advertised {
    uri: Box<[u8]>,
    sent_by: Range<usize>,
}

impl Advertised {
    /// For this address.
    pub fn new(address: SocketAddr) -> Advertised {
        let mut host = [0; SENT_BY_LEN];
        let host_len = sent_by(address, &mut host);
        let uri = [b"sip:", &host[..host_len], b";lr;", COOKIE_PARAM, b"="].concat();
        Advertised {
            uri: uri.into_boxed_slice(),
            sent_by: 4..4 + host_len,
        }
    }

    /// Host and port, as in a Via.
    pub fn sent_by(&self) -> &[u8] {
        &self.uri[self.sent_by.clone()]
    }

    /// A Record-Route URI but for the cookie at its end.
    pub fn record_route(&self) -> &[u8] {
        &self.uri
    }
}

/// The status of the answer to a request that could not be edited (RFC 3261 §21.5.7).
pub(super) const fn unedited_status(refused: Refused) -> u16 {
    match refused {
        Refused::Full => 513,
        Refused::Overlap | Refused::Malformed(_) => 500,
    }
}

/// The outcome of a message that could not be edited.
pub(super) const fn unedited(_: Refused) -> Counter {
    Counter::SipTooLong
}
