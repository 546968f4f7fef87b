//! How messages are written: with the splices collected so far, and our address as they have it.

use std::net::IpAddr;
use std::net::SocketAddr;

use super::Proxy;
use crate::counters::Counter;
use crate::ids::ListenIndex;
use crate::sip::edit::Refused;
use crate::sip::effects::Effects;
use crate::sip::message::Message;
use crate::text::Text;

impl Proxy {
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
