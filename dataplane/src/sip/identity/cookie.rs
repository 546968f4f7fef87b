//! The cookie that our Record-Route values carry: how a request within a dialog finds its way,
//! whatever the box remembers.
//!
//! ```text
//! 24 characters   sides 8 | MAC 7
//! 48 characters   sides 8 | homes 2 x (IPv4 address 4 | port 2)  | 0 x 3 | MAC 7
//! 88 characters   sides 8 | homes 2 x (IPv6 address 16 | port 2) | 0 x 4 | MAC 7
//!
//! sides           listen of the caller's side 1 | listen of the callee's side 1 | pass 1 | boot 1 |
//!                 tag of the caller's trunk 2 | tag of the callee's trunk 2
//! ```
//!
//! A trunk is known by its tag. Where a subscriber is nobody has configured: the address that it
//! was heard at, or is called at, is its home in this dialog, and stands in the cookie as a flow token
//! does (RFC 5626 §5.2). Port 0: a party without one.

use super::Identity;
use super::What;
use crate::ids::ListenIndex;
use crate::ids::TrunkTag;
use crate::sip::base32;
use crate::sip::endpoint::Endpoint;

const SIDES_LEN: usize = 8;
const MAC_LEN: usize = 7;
/// The raw lengths: without homes, with IPv4 ones, with others.
const PLAIN_LEN: usize = SIDES_LEN + MAC_LEN;
const V4_LEN: usize = 30;
const V6_LEN: usize = 55;
const V4_HOME_LEN: usize = 6;
const V6_HOME_LEN: usize = 18;

/// How many characters a cookie may have.
pub(in crate::sip) const TEXT_LENS: [usize; 3] =
    [PLAIN_LEN / 5 * 8, V4_LEN / 5 * 8, V6_LEN / 5 * 8];

const TEXT_LEN_MAX: usize = V6_LEN / 5 * 8;

/// A cookie as it stands in a Record-Route.
#[derive(Clone, Copy, Debug)]
pub struct CookieText {
    len: usize,
    text: [u8; TEXT_LEN_MAX],
}

impl CookieText {
    /// Its characters.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

/// The two sides of a dialog and its first way through the box, as the cookie holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// The listen on the caller's side.
    pub caller: ListenIndex,
    /// The listen on the callee's side.
    pub callee: ListenIndex,
    /// How often the dialog's first request had passed the box before: 0 but for a spiral.
    pub pass: u8,
    /// The start of the box in which that was, see [`Identity::boot`].
    pub boot: u8,
    /// The trunks of caller and callee.
    pub trunks: [TrunkTag; 2],
}

impl Sides {
    /// What of them is signed, and tells dialogs apart.
    #[must_use]
    pub const fn bytes(self) -> [u8; SIDES_LEN] {
        let [caller, callee] = self.trunks;
        let ([a, b], [c, d]) = (caller.0.to_be_bytes(), callee.0.to_be_bytes());
        [
            self.caller.0,
            self.callee.0,
            self.pass,
            self.boot,
            a,
            b,
            c,
            d,
        ]
    }

    const fn of_bytes([caller, callee, pass, boot, a, b, c, d]: [u8; SIDES_LEN]) -> Sides {
        Sides {
            caller: ListenIndex(caller),
            callee: ListenIndex(callee),
            pass,
            boot,
            trunks: [
                TrunkTag(u16::from_be_bytes([a, b])),
                TrunkTag(u16::from_be_bytes([c, d])),
            ],
        }
    }
}

/// What a cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The two sides of its dialog.
    pub sides: Sides,
    /// Where caller and callee are, of those that are subscribers.
    pub homes: [Option<Endpoint>; 2],
}

impl Cookie {
    /// All of it, and room for the MAC behind.
    fn write<const N: usize, const HOME: usize>(
        &self,
        home: impl Fn(Endpoint) -> [u8; HOME],
    ) -> [u8; N] {
        let mut raw = [0; N];
        raw[..SIDES_LEN].copy_from_slice(&self.sides.bytes());
        let homes = raw[SIDES_LEN..].chunks_exact_mut(HOME);
        for (place, known) in homes.zip(self.homes) {
            if let Some(known) = known {
                place.copy_from_slice(&home(known));
            }
        }
        raw
    }

    fn read<const HOME: usize>(
        raw: &[u8],
        home: impl Fn([u8; HOME]) -> Endpoint,
    ) -> Option<Cookie> {
        let (sides, homes) = raw.split_first_chunk()?;
        let (homes, _) = homes.as_chunks::<HOME>();
        let [caller, callee, ..] = *homes else {
            return None;
        };
        let home = |raw| Some(home(raw)).filter(|home| home.port() != 0);
        Some(Cookie {
            sides: Sides::of_bytes(*sides),
            homes: [home(caller), home(callee)],
        })
    }
}

impl Identity {
    /// The cookie of a dialog whose first request came with this Call-ID and From tag.
    #[must_use]
    pub fn cookie(&self, call_id: &[u8], caller_tag: &[u8], cookie: &Cookie) -> CookieText {
        let mut homes = cookie.homes.iter().flatten().peekable();
        let mut text = CookieText {
            len: 0,
            text: [0; TEXT_LEN_MAX],
        };
        let mut sign = |raw: &mut [u8]| {
            let (signed, mac) = raw.split_at_mut(raw.len() - MAC_LEN);
            mac.copy_from_slice(&self.cookie_mac(0, call_id, caller_tag, cookie.sides, signed));
            text.len = raw.len() / 5 * 8;
            base32::encode(raw, &mut text.text[..text.len]);
        };
        if homes.peek().is_none() {
            let mut raw = [0; PLAIN_LEN];
            raw[..SIDES_LEN].copy_from_slice(&cookie.sides.bytes());
            sign(&mut raw);
        } else if homes.all(|home| home.is_ipv4()) {
            sign(&mut cookie.write::<V4_LEN, V4_HOME_LEN>(Endpoint::v4_bytes));
        } else {
            sign(&mut cookie.write::<V6_LEN, V6_HOME_LEN>(Endpoint::bytes));
        }
        text
    }

    /// Reads a cookie. It is ours only for this Call-ID, these listens, and the tag of the caller.
    #[must_use]
    pub fn read_cookie(&self, text: &[u8], call_id: &[u8], caller_tag: &[u8]) -> Option<Cookie> {
        match text.len() {
            len if len == TEXT_LENS[0] => {
                let raw: [u8; PLAIN_LEN] = base32::decode(text)?;
                let sides = Sides::of_bytes(*raw.first_chunk()?);
                let homes = [None; 2];
                self.verify(Cookie { sides, homes }, &raw, call_id, caller_tag)
            }
            len if len == TEXT_LENS[1] => {
                let raw: [u8; V4_LEN] = base32::decode(text)?;
                let cookie = Cookie::read(&raw[..V4_LEN - MAC_LEN], Endpoint::of_v4_bytes)?;
                self.verify(cookie, &raw, call_id, caller_tag)
            }
            _ => {
                let raw: [u8; V6_LEN] = base32::decode(text)?;
                let cookie = Cookie::read(&raw[..V6_LEN - MAC_LEN], Endpoint::of_bytes)?;
                self.verify(cookie, &raw, call_id, caller_tag)
            }
        }
    }

    fn verify(&self, cookie: Cookie, raw: &[u8], call_id: &[u8], tag: &[u8]) -> Option<Cookie> {
        let sides = cookie.sides;
        let known = |listen: ListenIndex| usize::from(listen.0) < self.listens.len();
        if !known(sides.caller) || !known(sides.callee) {
            return None;
        }
        let (signed, mac) = raw.split_at(raw.len() - MAC_LEN);
        let mac_by = |key| self.cookie_mac(key, call_id, tag, sides, signed);
        let is_signed = (0..self.cookie.len()).any(|key| *mac == mac_by(key));
        is_signed.then_some(cookie)
    }

    /// Over `signed`, which begins with `sides`.
    fn cookie_mac(
        &self,
        key: usize,
        call_id: &[u8],
        tag: &[u8],
        sides: Sides,
        signed: &[u8],
    ) -> [u8; MAC_LEN] {
        let listen = |index: ListenIndex| self.listens[usize::from(index.0)][key];
        let hash = self.cookie[key].text(call_id).text(tag);
        let hash = hash.word(listen(sides.caller)).word(listen(sides.callee));
        let mut hash = hash.word(u64::from_be_bytes(sides.bytes()));
        let homes = &signed[SIDES_LEN..];
        if !homes.is_empty() {
            hash = hash.text(homes);
        }
        let [first @ .., _] = hash
            .finish(What::Cookie.with(homes.len() as u64))
            .to_be_bytes();
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;
    use crate::settings::Secrets;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn identity_of(boot: u16, cookie: [u8; 2]) -> Identity {
        let secrets = Secrets {
            branch: [1; 16],
            cookie: cookie.map(|key| [key; 16]),
            hash: [4; 16],
        };
        let listens = ["10.77.1.1:5060", "10.77.2.1:5060"].map(|at| at.parse().unwrap());
        Identity::new(WorkerId(1), boot, &secrets, &listens)
    }

    fn cookie(homes: [Option<&str>; 2]) -> Cookie {
        Cookie {
            sides: Sides {
                caller: ListenIndex(0),
                callee: ListenIndex(1),
                pass: 0,
                boot: 9,
                trunks: [TrunkTag(0x1234), TrunkTag(0xfedc)],
            },
            homes: homes.map(|home| Some(home?.parse::<SocketAddr>().unwrap().into())),
        }
    }

    const V4: Option<&str> = Some("192.0.2.7:61234");
    const V6: Option<&str> = Some("[2001:db8::7]:5060");

    #[test]
    fn a_cookie_is_good_for_its_dialog_only_and_with_the_key_before() {
        let identity = identity_of(9, [2, 3]);
        for (homes, len) in [
            ([None, None], 24),
            ([V4, None], 48),
            ([None, V4], 48),
            ([V4, V4], 48),
            ([V6, None], 88),
            ([V4, V6], 88),
        ] {
            let cookie = cookie(homes);
            let text = identity.cookie(b"call", b"tag", &cookie);
            let text = text.bytes();
            assert_eq!(text.len(), len);
            assert_eq!(identity.read_cookie(text, b"call", b"tag"), Some(cookie));
            assert_eq!(identity.read_cookie(text, b"call", b"gat"), None);
            assert_eq!(identity.read_cookie(text, b"lcal", b"tag"), None);
            let rotated = identity_of(11, [5, 2]);
            assert_eq!(rotated.read_cookie(text, b"call", b"tag"), Some(cookie));
            let rotated = identity_of(12, [6, 5]);
            assert_eq!(rotated.read_cookie(text, b"call", b"tag"), None);
        }
    }

    #[test]
    fn none_of_its_characters_can_be_changed() {
        let identity = identity_of(9, [2, 3]);
        for homes in [[None, None], [V4, V4], [V6, V4]] {
            let text = identity.cookie(b"call", b"tag", &cookie(homes));
            for at in 0..text.bytes().len() {
                let mut changed = text.bytes().to_vec();
                changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
                assert_eq!(identity.read_cookie(&changed, b"call", b"tag"), None);
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_ours(text in "[0-9a-v]{24}|[0-9a-v]{48}|[0-9a-v]{88}") {
            let identity = identity_of(9, [2, 3]);
            prop_assert!(identity.read_cookie(text.as_bytes(), b"call", b"tag").is_none());
        }
    }
}
