//! Nonces (RFC 7616 §3.3): each says by itself which worker made it, in which start of the box, when
//! and for whom, and a MAC says that this is true. Nothing is kept of one until it has been used
//! rightly, see [`super::window`].
//!
//! ```text
//! worker 1 | boot 2 | time 4 | serial 3 | source 4 | MAC 6       20 bytes, 32 characters
//! ```
//!
//! The MAC covers the realm as well. Its key outlives a start, so that a nonce of an earlier one is
//! known for what it is: its owner is asked again, and is no attacker.

use std::net::IpAddr;

use crate::ids::WorkerId;
use crate::sip::base32;
use crate::sip::identity::Identity;
use crate::sip::identity::What;
use crate::sip::siphash::SipHash;
use crate::tick::Tick;

const RAW_LEN: usize = 20;
const SIGNED_LEN: usize = 14;
/// Characters of a nonce.
pub const TEXT_LEN: usize = 32;

/// A nonce as text.
pub type Text = [u8; TEXT_LEN];

/// What a nonce that a client answered is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ours, for this source and realm, and not too old.
    Good(Nonce),
    /// Ours, and too old, of an earlier start, or made for another source: the client is told that
    /// its password was not the matter (RFC 7616 §3.3, `stale`).
    Stale,
    /// Not ours, or not for this realm.
    Forged,
}

/// A nonce of this start of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce {
    /// The worker that made it and keeps the counts of its uses.
    pub worker: WorkerId,
    /// Under which it keeps them: no two nonces have the same.
    pub key: u64,
    /// Seconds of the box's clock when it was made.
    pub time_s: u32,
}

/// A new nonce. `serial` differs from that of every other of this second.
#[must_use]
pub fn make(identity: &Identity, realm: &[u8], source: IpAddr, serial: u32, now: Tick) -> Text {
    let [signer, _] = identity.signers();
    let mut raw = [0; RAW_LEN];
    raw[0] = identity.worker().0;
    raw[1..3].copy_from_slice(&identity.whole_boot().to_be_bytes());
    raw[3..7].copy_from_slice(&seconds(now).to_be_bytes());
    raw[7..10].copy_from_slice(&serial.to_be_bytes()[1..]);
    raw[10..14].copy_from_slice(&source_hash(signer, source));
    let (mac, _) = mac(signer, &raw, realm);
    raw[SIGNED_LEN..].copy_from_slice(&mac);
    let mut text = [0; TEXT_LEN];
    base32::encode(&raw, &mut text);
    text
}

/// What the nonce is that `source` answered; good for `lifetime_s` seconds.
#[must_use]
pub fn read(
    identity: &Identity,
    text: &[u8],
    realm: &[u8],
    source: IpAddr,
    lifetime_s: u32,
    now: Tick,
) -> Verdict {
    let Some(raw) = base32::decode::<RAW_LEN>(text) else {
        return Verdict::Forged;
    };
    let [worker, boot_high, boot_low, a, b, c, d, ..] = raw;
    for signer in identity.signers() {
        let (expected, key) = mac(signer, &raw, realm);
        if raw[SIGNED_LEN..] != expected {
            continue;
        }
        let time_s = u32::from_be_bytes([a, b, c, d]);
        let is_of_now = u16::from_be_bytes([boot_high, boot_low]) == identity.whole_boot()
            && seconds(now).wrapping_sub(time_s) <= lifetime_s
            && raw[10..14] == source_hash(signer, source);
        return match is_of_now {
            true => Verdict::Good(Nonce {
                worker: WorkerId(worker),
                key,
                time_s,
            }),
            false => Verdict::Stale,
        };
    }
    Verdict::Forged
}

/// The MAC, and a key from the whole of the hash that it is the beginning of.
fn mac(signer: SipHash, raw: &[u8; RAW_LEN], realm: &[u8]) -> ([u8; RAW_LEN - SIGNED_LEN], u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, ..] = *raw;
    let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let second = u64::from_be_bytes([0, 0, i, j, k, l, m, n]);
    let hash = signer.text(realm).word(first);
    let hash = hash.finish(What::Nonce.with(second));
    let [mac @ .., _, _] = hash.to_be_bytes();
    // An index has its keys in the order of their high bits, which nobody is to see: the 48 that the MAC
    // tells go to the end.
    (mac, hash.rotate_right(16))
}

/// The address without its port: behind a NAT that changes with every request.
fn source_hash(signer: SipHash, source: IpAddr) -> [u8; 4] {
    let bits = match source {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    #[allow(clippy::cast_possible_truncation, reason = "its halves")]
    let hash = signer.word((bits >> 64) as u64).word(bits as u64);
    let [source @ .., _, _, _, _] = hash.finish(What::Source.with(0)).to_be_bytes();
    source
}

#[allow(clippy::cast_possible_truncation, reason = "it wraps after 136 years")]
fn seconds(now: Tick) -> u32 {
    (now.0 / 1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab;
    use crate::settings::Secrets;
    use proptest::prelude::*;

    const REALM: &[u8] = b"example.com";

    fn identity(worker: u8, boot: u16, cookie: [u8; 2]) -> Identity {
        let secrets = Secrets {
            branch: [1; 16],
            cookie: cookie.map(|key| [key; 16]),
            hash: [4; 16],
        };
        Identity::new(WorkerId(worker), boot, &secrets, &lab::LISTENS)
    }

    fn at(seconds: u64) -> Tick {
        Tick::ms(seconds * 1_000)
    }

    #[test]
    fn a_nonce_is_good_for_its_source_realm_and_time_on_every_worker() {
        let (maker, other) = (identity(3, 7, [2, 3]), identity(0, 7, [2, 3]));
        let source = lab::PEERS[0].ip();
        let text = make(&maker, REALM, source, 9, at(100));
        let read = |realm: &[u8], source, now| read(&other, &text, realm, source, 300, at(now));
        let Verdict::Good(nonce) = read(REALM, source, 400) else {
            panic!("it is good");
        };
        assert_eq!((nonce.worker, nonce.time_s), (WorkerId(3), 100));
        assert_eq!(read(REALM, source, 401), Verdict::Stale);
        assert_eq!(read(REALM, lab::PEERS[1].ip(), 100), Verdict::Stale);
        assert_eq!(read(b"example.org", source, 100), Verdict::Forged);
    }

    #[test]
    fn a_nonce_of_an_earlier_start_or_key_is_known_for_what_it_is() {
        let source = lab::PEERS[0].ip();
        let text = make(&identity(0, 7, [2, 3]), REALM, source, 1, at(100));
        let of = |boot, keys| read(&identity(0, boot, keys), &text, REALM, source, 300, at(100));
        assert_eq!(of(8, [2, 3]), Verdict::Stale);
        assert!(matches!(of(7, [5, 2]), Verdict::Good(_)), "the key before");
        assert_eq!(of(7, [5, 6]), Verdict::Forged);
    }

    #[test]
    fn no_two_nonces_of_a_second_are_the_same() {
        let maker = identity(0, 1, [2, 3]);
        let of = |serial| make(&maker, REALM, lab::PEERS[0].ip(), serial, at(5));
        assert_ne!(of(1), of(2));
    }

    /// Who sees nonces could else choose those whose windows are found one behind the other.
    #[test]
    fn a_nonce_does_not_tell_where_its_window_is_found() {
        let maker = identity(0, 1, [2, 3]);
        let source = lab::PEERS[0].ip();
        for serial in 0..100 {
            let text = make(&maker, REALM, source, serial, at(5));
            let raw: [u8; RAW_LEN] = base32::decode(&text).unwrap();
            let Verdict::Good(nonce) = read(&maker, &text, REALM, source, 300, at(5)) else {
                panic!("it is good");
            };
            let told = &nonce.key.to_be_bytes()[2..];
            assert_eq!(
                told,
                &raw[SIGNED_LEN..],
                "in front of it is what is not told"
            );
        }
    }

    proptest! {
        #[test]
        fn a_changed_nonce_is_forged(place in 0..TEXT_LEN, character in prop::sample::select(b"0123456789abcdefghijklmnopqrstuv".to_vec())) {
            let maker = identity(0, 1, [2, 3]);
            let source = lab::PEERS[0].ip();
            let mut text = make(&maker, REALM, source, 1, at(5));
            prop_assume!(text[place] != character);
            text[place] = character;
            prop_assert_eq!(read(&maker, &text, REALM, source, 300, at(5)), Verdict::Forged);
        }
    }
}
