//! STUN on a SIP port: the keepalive of a user agent behind a NAT (RFC 5626 §3.5.2, §4.4.2).
//!
//! A Binding request gets its own address back (RFC 8489 §7.3.1); all else that looks like STUN is
//! absorbed or dropped by name. The first byte tells it from SIP, whose messages begin with a
//! letter (RFC 7983 §7, RFC 8489 §5: the first two bits are zero).

use std::net::IpAddr;
use std::net::SocketAddr;

/// The fixed value after the length (RFC 8489 §5).
const MAGIC_COOKIE: u32 = 0x2112_a442;
const HEADER_LEN: usize = 20;
/// Longer than every Binding response here: the header, an error code and what was not known.
pub const RESPONSE_LEN_MAX: usize = HEADER_LEN + 8 + 4 + 2 * UNKNOWN_MAX;
/// How many unknown attributes a response names; an even number, so that it needs no padding.
const UNKNOWN_MAX: usize = 8;

// RFC 8489 §18.2: message types.
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
// RFC 8489 §18.3: attributes. Those below 0x8000 must be understood.
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const OPTIONAL: u16 = 0x8000;

/// What is to become of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The response has so many bytes.
    Answer(usize),
    /// A Binding indication: a keepalive that wants no answer.
    Absorb,
    /// Another method, a response, or no STUN at all.
    Drop,
}

/// Whether a datagram on a SIP port is STUN, by its first byte (RFC 7983 §7).
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// Whether a datagram is a Binding request, by its first bytes.
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_LEN && datagram.starts_with(&BINDING_REQUEST.to_be_bytes())
}

/// Reads a datagram from `source` and writes the answer to it, if it gets one.
pub fn answer(datagram: &[u8], source: SocketAddr, out: &mut [u8; RESPONSE_LEN_MAX]) -> Verdict {
    let Some((header, attributes)) = datagram.split_first_chunk::<HEADER_LEN>() else {
        return Verdict::Drop;
    };
    let [t0, t1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
    let (kind, len) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([l0, l1]));
    let cookie = u32::from_be_bytes([c0, c1, c2, c3]);
    // Without the cookie it is RFC 3489's STUN, which no SIP user agent of RFC 5626 sends.
    if cookie != MAGIC_COOKIE || usize::from(len) != attributes.len() || len % 4 != 0 {
        return Verdict::Drop;
    }
    match kind {
        BINDING_REQUEST => {}
        BINDING_INDICATION => return Verdict::Absorb,
        _ => return Verdict::Drop,
    }
    let mut message = Writer { out, len: 0 };
    let Some((unknown, count)) = unknown_attributes(attributes) else {
        return Verdict::Drop;
    };
    if count == 0 {
        message.header(BINDING_SUCCESS, id);
        message.xor_mapped_address(source, id);
    } else {
        // RFC 8489 §6.3.1: unknown attributes that must be understood get a 420.
        message.header(BINDING_ERROR, id);
        message.attribute(ERROR_CODE, &[0, 0, 4, 20]);
        let mut named = [0; 2 * UNKNOWN_MAX];
        for (place, unknown) in named.chunks_exact_mut(2).zip(&unknown[..count]) {
            place.copy_from_slice(&unknown.to_be_bytes());
        }
        message.attribute(UNKNOWN_ATTRIBUTES, &named[..2 * count]);
    }
    Verdict::Answer(message.finish())
}

/// The attributes that must be understood, which none is here, as far as they are named; `None`
/// where they are cut off.
fn unknown_attributes(attributes: &[u8]) -> Option<([u16; UNKNOWN_MAX], usize)> {
    let mut unknown = [0; UNKNOWN_MAX];
    let mut count = 0;
    let mut rest = attributes;
    while !rest.is_empty() {
        let ([t0, t1, l0, l1], values) = rest.split_first_chunk::<4>()?;
        let kind = u16::from_be_bytes([*t0, *t1]);
        // RFC 8489 §14: values are padded to four bytes.
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).next_multiple_of(4);
        rest = values.get(len..)?;
        if kind < OPTIONAL
            && let Some(place) = unknown.get_mut(count)
        {
            *place = kind;
            count += 1;
        }
    }
    Some((unknown, count))
}

/// A message being written. What does not fit is left out: the buffer holds the longest.
struct Writer<'o> {
    out: &'o mut [u8; RESPONSE_LEN_MAX],
    len: usize,
}

impl Writer<'_> {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.out.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn header(&mut self, kind: u16, id: [u8; 12]) {
        self.push(&kind.to_be_bytes());
        self.push(&[0; 2]);
        self.push(&MAGIC_COOKIE.to_be_bytes());
        self.push(&id);
    }

    /// RFC 8489 §14: type, length, value, padding.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(value.len()).unwrap_or(0);
        self.push(&kind.to_be_bytes());
        self.push(&len.to_be_bytes());
        self.push(value);
        self.push(&[0; 3][..value.len().next_multiple_of(4) - value.len()]);
    }

    /// RFC 8489 §14.2: the address with the cookie and the transaction's name over it, so that
    /// no NAT on the way back takes it for one to translate.
    fn xor_mapped_address(&mut self, source: SocketAddr, id: [u8; 12]) {
        let [c0, c1, c2, c3] = MAGIC_COOKIE.to_be_bytes();
        let [p0, p1] = source.port().to_be_bytes();
        let mut value = [0; 20];
        let (family, len) = match source.ip() {
            IpAddr::V4(ip) => {
                value[4..8].copy_from_slice(&ip.octets());
                (1, 8)
            }
            IpAddr::V6(ip) => {
                value[4..20].copy_from_slice(&ip.octets());
                (2, 20)
            }
        };
        let over = [c0, c1, c2, c3].into_iter().chain(id);
        for (byte, over) in value[4..].iter_mut().zip(over) {
            *byte ^= over;
        }
        value[1] = family;
        value[2] = p0 ^ c0;
        value[3] = p1 ^ c1;
        self.attribute(XOR_MAPPED_ADDRESS, &value[..len]);
    }

    /// Sets the length, which does not count the header.
    fn finish(self) -> usize {
        let len = u16::try_from(self.len - HEADER_LEN).unwrap_or(0);
        self.out[2..4].copy_from_slice(&len.to_be_bytes());
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 12] = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";

    fn message(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend(ID);
        bytes.extend(attributes);
        bytes
    }

    fn answered(request: &[u8], source: &str) -> Option<Vec<u8>> {
        let mut out = [0; RESPONSE_LEN_MAX];
        match answer(request, source.parse().unwrap(), &mut out) {
            Verdict::Answer(len) => Some(out[..len].to_vec()),
            _ => None,
        }
    }

    /// The attributes of RFC 5769 §2.2 and §2.3, whose transaction has this name.
    #[test]
    fn the_address_is_written_as_in_the_test_vectors_of_rfc_5769() {
        let request = message(BINDING_REQUEST, &[]);
        let v4 = b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43";
        assert_eq!(
            answered(&request, "192.0.2.1:32853"),
            Some(message(BINDING_SUCCESS, v4))
        );
        let v6 = b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        assert_eq!(
            answered(&request, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
            Some(message(BINDING_SUCCESS, v6))
        );
    }

    #[test]
    fn what_need_not_be_understood_is_passed_over_and_all_else_named() {
        // SOFTWARE with three bytes of text, then USERNAME and PRIORITY.
        let optional = b"\x80\x22\x00\x03abc\x00";
        let required = b"\x00\x06\x00\x01u\x00\x00\x00\x00\x24\x00\x04\x00\x00\x00\x01";
        let source = "192.0.2.1:5060";
        let plain = answered(&message(BINDING_REQUEST, optional), source).unwrap();
        assert_eq!(plain[..2], BINDING_SUCCESS.to_be_bytes());
        let refused = answered(
            &message(BINDING_REQUEST, &[&optional[..], required].concat()),
            source,
        );
        let named = b"\x00\x09\x00\x04\x00\x00\x04\x14\x00\x0a\x00\x04\x00\x06\x00\x24";
        assert_eq!(refused, Some(message(BINDING_ERROR, named)));
    }

    #[test]
    fn more_unknown_attributes_than_a_response_names_fit_it() {
        let many = [0, 6, 0, 0].repeat(40);
        let refused = answered(&message(BINDING_REQUEST, &many), "192.0.2.1:5060").unwrap();
        assert_eq!(refused.len(), RESPONSE_LEN_MAX);
        let odd = answered(&message(BINDING_REQUEST, &many[..4]), "192.0.2.1:5060").unwrap();
        assert_eq!(odd.len() % 4, 0);
        assert_eq!(usize::from(odd[3]), odd.len() - HEADER_LEN);
    }

    #[test]
    fn indications_are_absorbed_and_all_else_is_dropped() {
        let verdict = |bytes: &[u8]| {
            answer(
                bytes,
                "192.0.2.1:5060".parse().unwrap(),
                &mut [0; RESPONSE_LEN_MAX],
            )
        };
        assert_eq!(verdict(&message(BINDING_INDICATION, &[])), Verdict::Absorb);
        let request = message(BINDING_REQUEST, b"\x80\x22\x00\x04abcd");
        for len in 0..request.len() {
            assert_eq!(verdict(&request[..len]), Verdict::Drop, "{len}");
        }
        let mut classic = message(BINDING_REQUEST, &[]);
        classic[4] ^= 1;
        assert_eq!(verdict(&classic), Verdict::Drop);
        // A response, another method, an attribute that reaches past the end.
        assert_eq!(verdict(&message(BINDING_SUCCESS, &[])), Verdict::Drop);
        assert_eq!(verdict(&message(0x0003, &[])), Verdict::Drop);
        assert_eq!(
            verdict(&message(BINDING_REQUEST, b"\x80\x22\x00\x05")),
            Verdict::Drop
        );
    }
}
