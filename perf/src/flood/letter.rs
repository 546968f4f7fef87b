//! What a flood says: a payload, and where in it the numbers stand that make each frame another.

use std::net::SocketAddrV4;

/// How a number is written, as flood.bpf.c has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The frame's number as eight hexadecimal digits.
    HexNumber = 0,
    /// RTP's sequence number.
    WordSequence = 1,
    /// RTP's timestamp.
    LongTimestamp = 2,
    /// RTP's SSRC: the flow.
    LongFlow = 3,
}

/// A payload with places.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) payload: Vec<u8>,
    pub(super) places: Vec<(u32, Kind)>,
}

/// Stands where a number is to be.
const MARK: &[u8] = b"!!!!!!!!";

impl Letter {
    /// A G.711 packet of 20 ms.
    pub(super) fn rtp() -> Letter {
        let mut payload = vec![0xd5; 172];
        payload[..12].fill(0);
        payload[0] = 0x80;
        Letter {
            payload,
            places: vec![
                (2, Kind::WordSequence),
                (4, Kind::LongTimestamp),
                (8, Kind::LongFlow),
            ],
        }
    }

    /// A request outside a dialog, each of a transaction, a call and a tag of its own.
    pub(super) fn request(method: &str, from: SocketAddrV4, to: &str) -> Letter {
        let mark = "!!!!!!!!";
        Letter::marked(format!(
            "{method} {to} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {from};branch=z9hG4bKf{mark}\r\n\
             Max-Forwards: 70\r\n\
             From: \"Flood\" <sip:flood@{from}>;tag=f{mark}\r\n\
             To: <{to}>\r\n\
             Call-ID: f{mark}@{from}\r\n\
             CSeq: 1 {method}\r\n\
             Contact: <sip:flood@{from}>\r\n\
             User-Agent: trunkline-perf\r\n\
             Content-Length: 0\r\n\r\n"
        ))
    }

    fn marked(text: String) -> Letter {
        let payload = text.into_bytes();
        let marks = memchr::memmem::find_iter(&payload, MARK);
        let places = marks
            .filter_map(|at| Some((u32::try_from(at).ok()?, Kind::HexNumber)))
            .collect();
        Letter { payload, places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_dataplane::sip::message::Message;

    #[test]
    fn a_request_is_one_and_has_three_numbers() {
        let from = "10.77.1.2:5060".parse().unwrap();
        let letter = Letter::request("INVITE", from, "sip:1@10.77.2.2");
        assert_eq!(letter.places.len(), 3);
        let message = Message::scan(&letter.payload).unwrap();
        assert_eq!(message.call_id(), b"f!!!!!!!!@10.77.1.2:5060");
    }

    #[test]
    fn rtp_has_its_fields_where_rfc_3550_has_them() {
        let letter = Letter::rtp();
        assert_eq!(letter.payload.len(), 12 + 160);
        assert_eq!(
            letter
                .places
                .iter()
                .map(|place| place.0)
                .collect::<Vec<_>>(),
            [2, 4, 8]
        );
    }
}
