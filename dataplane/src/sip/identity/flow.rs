//! Flow tokens (RFC 5626 §5.2): by which way a phone is reached, in the Path URI of its REGISTER.
//!
//! ```text
//! token   48 characters
//!         listen 1 | spare 1 | tag of its domain 2 | port 2 | address 16 | MAC 8
//! ```
//!
//! It needs no memory, and outlives a restart as the key of the cookie does.

use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use super::Identity;
use super::What;
use crate::ids::ListenIndex;
use crate::ids::TrunkTag;
use crate::sip::base32;

const SIGNED_LEN: usize = 22;
const MAC_LEN: usize = 8;

/// A flow as it stands in the user part of a URI.
pub type FlowText = [u8; 48];

/// The way between a phone and the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the phone's REGISTER came to.
    pub listen: ListenIndex,
    /// The domain of its user.
    pub domain: TrunkTag,
    /// Where it came from, as the box saw it.
    pub phone: SocketAddr,
}

impl Flow {
    fn bytes(self) -> [u8; SIGNED_LEN] {
        let mut raw = [0; SIGNED_LEN];
        raw[0] = self.listen.0;
        raw[2..4].copy_from_slice(&self.domain.0.to_be_bytes());
        raw[4..6].copy_from_slice(&self.phone.port().to_be_bytes());
        let ip = match self.phone.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        raw[6..].copy_from_slice(&ip.octets());
        raw
    }

    fn of_bytes(raw: &[u8; SIGNED_LEN]) -> Flow {
        let &[listen, _, a, b, c, d, ref address @ ..] = raw;
        let ip = Ipv6Addr::from(*address).to_canonical();
        Flow {
            listen: ListenIndex(listen),
            domain: TrunkTag(u16::from_be_bytes([a, b])),
            phone: SocketAddr::new(ip, u16::from_be_bytes([c, d])),
        }
    }
}

impl Identity {
    /// The token of a flow.
    #[must_use]
    pub fn flow(&self, flow: Flow) -> FlowText {
        let mut raw = [0; SIGNED_LEN + MAC_LEN];
        let signed = flow.bytes();
        raw[..SIGNED_LEN].copy_from_slice(&signed);
        raw[SIGNED_LEN..].copy_from_slice(&self.flow_mac(0, &signed, flow.listen));
        let mut text = [0; size_of::<FlowText>()];
        base32::encode(&raw, &mut text);
        text
    }

    /// Reads a flow token. It is ours only with the address that its listen advertised.
    #[must_use]
    pub fn read_flow(&self, text: &[u8]) -> Option<Flow> {
        let raw: [u8; SIGNED_LEN + MAC_LEN] = base32::decode(text)?;
        let (signed, mac) = raw.split_first_chunk()?;
        let flow = Flow::of_bytes(signed);
        if usize::from(flow.listen.0) >= self.listens.len() {
            return None;
        }
        let mut keys = 0..self.cookie.len();
        let signed = keys.any(|key| *mac == self.flow_mac(key, signed, flow.listen));
        signed.then_some(flow)
    }

    fn flow_mac(&self, key: usize, raw: &[u8; SIGNED_LEN], listen: ListenIndex) -> [u8; MAC_LEN] {
        let listen = self.listens[usize::from(listen.0)][key];
        let hash = self.cookie[key].text(raw).word(listen);
        hash.finish(What::Flow.with(0)).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;
    use crate::settings::Secrets;
    use proptest::prelude::*;

    fn identity(cookie: [u8; 2], listens: &[&str]) -> Identity {
        let secrets = Secrets {
            branch: [1; 16],
            cookie: cookie.map(|key| [key; 16]),
            hash: [4; 16],
        };
        let listens: Vec<_> = listens.iter().map(|text| text.parse().unwrap()).collect();
        Identity::new(WorkerId(0), 7, &secrets, &listens)
    }

    const LISTENS: [&str; 2] = ["10.77.1.1:5060", "[2001:db8::1]:5060"];

    fn flow(phone: &str) -> Flow {
        Flow {
            listen: ListenIndex(1),
            domain: TrunkTag(0x1234),
            phone: phone.parse().unwrap(),
        }
    }

    #[test]
    fn a_flow_is_read_in_either_case_and_with_the_key_before() {
        for phone in ["192.0.2.7:61000", "[2001:db8::7]:5060"] {
            let text = identity([2, 3], &LISTENS).flow(flow(phone));
            let read = |identity: Identity, text: &[u8]| identity.read_flow(text);
            assert_eq!(read(identity([2, 3], &LISTENS), &text), Some(flow(phone)));
            let upper = text.to_ascii_uppercase();
            assert_eq!(read(identity([5, 2], &LISTENS), &upper), Some(flow(phone)));
            assert_eq!(read(identity([6, 5], &LISTENS), &text), None);
            // Another box, or this one with its listens changed.
            let moved = ["10.77.1.1:5060", "[2001:db8::2]:5060"];
            assert_eq!(read(identity([2, 3], &moved), &text), None);
            assert_eq!(read(identity([2, 3], &LISTENS[..1]), &text), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_changed_is_not_ours(at in 0_usize..48, to in 0_usize..32) {
            let identity = identity([2, 3], &LISTENS);
            let text = identity.flow(flow("192.0.2.7:61000"));
            let mut changed = text;
            changed[at] = b"0123456789abcdefghijklmnopqrstuv"[to];
            prop_assert!(changed == text || identity.read_flow(&changed).is_none());
        }

        #[test]
        fn any_text_is_read(text in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(identity([2, 3], &LISTENS).read_flow(&text).is_none());
        }
    }
}
