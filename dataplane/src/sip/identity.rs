//! The identifiers we put into messages, each of which says what it is and proves
//! that it is ours: the Via branch, the Record-Route cookie, the To tag.
//!
//! They are lower-case base32 of fixed layouts, signed with SipHash-1-3 under keys
//! that never leave the box.
//!
//! ```text
//! branch  z9hG4bK + 32 characters
//!         kind 1 | worker 1 | boot 2 | slot 4 | generation 2 | loop hash 4 | MAC 6
//! cookie  24 characters, 48 or 88 where a party is a subscriber: see [`cookie`]
//! tag     16 characters
//!         boot 2 | MAC 8
//! ```

mod cookie;
mod flow;

use std::cell::Cell;
use std::net::IpAddr;
use std::net::SocketAddr;

pub use self::cookie::Cookie;
pub use self::cookie::CookieText;
pub use self::cookie::Sides;
pub(super) use self::cookie::TEXT_LENS as COOKIE_TEXT_LENS;
pub use self::flow::Flow;
pub use self::flow::FlowText;
use super::base32;
use super::siphash::SipHash;
use super::slab::Id;
use crate::ids::WorkerId;
use crate::settings::Secrets;

/// RFC 3261 §8.1.1.7: what a branch begins with.
pub const MAGIC: &[u8; 7] = b"z9hG4bK";

const BRANCH_LEN: usize = 20;
const BRANCH_TEXT_LEN: usize = MAGIC.len() + 32;
const BRANCH_SIGNED: usize = 14;
const TAG_LEN: usize = 10;

/// A branch as it stands in a Via.
pub type BranchText = [u8; BRANCH_TEXT_LEN];
/// A To tag of ours.
pub type TagText = [u8; 16];

/// Whether a transaction stands behind a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client transaction in the slab.
    Stateful = 0,
    /// Nothing: an ACK to a 2xx, which has no response.
    Ack = 1,
    /// Nothing: a request that went on without state, whose response finds its way by the Via
    /// below. No worker owns it: each makes the same of it.
    Stateless = 2,
}

/// What a branch of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Whether a transaction stands behind it.
    pub kind: Kind,
    /// Who owns that.
    pub worker: WorkerId,
    /// Where it is.
    pub id: Id,
    /// Of the fields that decide where a request goes (RFC 3261 §16.6 step 8).
    pub loop_hash: u32,
}

/// Why a branch is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOurs {
    /// We did not sign it.
    Forged,
    /// An earlier start of this box signed branches of this form; it has no transactions now.
    Stale,
}

/// What is hashed. Under one key each has its own texts and numbers, in the same order every time.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum What {
    /// All of a branch but its MAC.
    Branch,
    /// An address that we advertise.
    Listen,
    /// A dialog and its two sides.
    Cookie,
    /// A request that we answer ourselves.
    ToTag,
    /// A Call-ID.
    CallId,
    /// A request's branch and sent-by.
    Transaction,
    /// A request of an RFC 2543 element.
    OldTransaction,
    /// Call-ID and both tags.
    Dialog,
    /// Call-ID, From tag and CSeq number.
    Echo,
    /// What decides where a request goes.
    Way,
    /// The branch of a request that comes back, and its way.
    Round,
    /// A request that goes on without state.
    Stateless,
    /// The key of an ACK that goes on without state.
    Ack,
    /// A tag.
    Tag,
    /// A 2xx that nobody upstream waits for.
    LateAnswer,
    /// A user of a domain.
    Subscriber,
    /// All of a nonce but its MAC, and its realm.
    Nonce,
    /// The address of who is challenged.
    Source,
    /// The user and the host of an address of record.
    AddressOfRecord,
    /// The instance of a user agent.
    Instance,
    /// The way to a phone.
    Flow,
    /// The address and port of a user agent.
    LiveSource,
    /// A request that uses a nonce.
    NonceUse,
    /// The URI of a contact.
    Contact,
}

impl What {
    /// The end of what is hashed, with a number of 48 bits.
    #[must_use]
    #[inline]
    pub const fn with(self, number: u64) -> u64 {
        self as u64 | number << 8
    }
}

/// Makes our identifiers, and knows them again.
#[derive(Debug)]
pub struct Identity {
    worker: WorkerId,
    boot: u16,
    /// Under the key of this start.
    branch: SipHash,
    /// Under the keys of the cookie: the one in use, and the one before it.
    cookie: [SipHash; 2],
    hash: SipHash,
    /// Each advertised address, hashed under the keys of the cookie: made once for all cookies. A
    /// MAC over what the same secret key has hashed to 64 bits is as hard to forge as one over
    /// the texts, since nobody outside can look for two that are hashed alike.
    listens: Vec<[u64; 2]>,
    /// The branch that was read last: who owns a response is asked before it is taken up.
    last_read: Cell<Option<(BranchText, Branch)>>,
}

impl Identity {
    /// For `worker` in this start of the box; `listens` are the advertised addresses.
    #[must_use]
    pub fn new(worker: WorkerId, boot: u16, secrets: &Secrets, listens: &[SocketAddr]) -> Self {
        let cookie = [0, 1].map(|key: usize| SipHash::new(&secrets.cookie[key]));
        let hashed =
            |listen: &SocketAddr| cookie.map(|cookie| address_hash(cookie, *listen, What::Listen));
        Identity {
            worker,
            boot,
            branch: SipHash::new(&secrets.branch),
            cookie,
            hash: SipHash::new(&secrets.hash),
            listens: listens.iter().map(hashed).collect(),
            last_read: Cell::new(None),
        }
    }

    /// The branch of a client transaction of ours, or of a request sent without one.
    #[must_use]
    pub fn branch(&self, kind: Kind, id: Id, loop_hash: u32) -> BranchText {
        let mut raw = [0; BRANCH_LEN];
        raw[0] = kind as u8;
        raw[1] = match kind {
            Kind::Stateful | Kind::Ack => self.worker.0,
            Kind::Stateless => 0,
        };
        raw[2..4].copy_from_slice(&self.boot.to_be_bytes());
        raw[4..8].copy_from_slice(&id.slot.to_be_bytes());
        raw[8..10].copy_from_slice(&id.generation.to_be_bytes());
        raw[10..14].copy_from_slice(&loop_hash.to_be_bytes());
        let mac = self.branch_mac(&raw);
        raw[BRANCH_SIGNED..].copy_from_slice(&mac);
        let mut text = [0; BRANCH_TEXT_LEN];
        text[..MAGIC.len()].copy_from_slice(MAGIC);
        base32::encode(&raw, &mut text[MAGIC.len()..]);
        text
    }

    /// Reads a branch of ours.
    ///
    /// # Errors
    /// [`NotOurs`] where this start of the box did not sign it.
    pub fn read_branch(&self, text: &[u8]) -> Result<Branch, NotOurs> {
        if let Some((known, branch)) = self.last_read.get()
            && known == *text
        {
            return Ok(branch);
        }
        let branch = self.verify_branch(text)?;
        if let Ok(text) = text.try_into() {
            self.last_read.set(Some((text, branch)));
        }
        Ok(branch)
    }

    fn verify_branch(&self, text: &[u8]) -> Result<Branch, NotOurs> {
        let raw: [u8; BRANCH_LEN] = text
            .split_at_checked(MAGIC.len())
            .filter(|(magic, _)| magic.eq_ignore_ascii_case(MAGIC))
            .and_then(|(_, body)| base32::decode(body))
            .ok_or(NotOurs::Forged)?;
        let stale = u16::from_be_bytes([raw[2], raw[3]]) != self.boot;
        if raw[BRANCH_SIGNED..] != self.branch_mac(&raw) {
            // The key is new at each start: an old branch cannot be told from a forged
            // one but by its boot, which decides only the name of the drop.
            return Err(if stale {
                NotOurs::Stale
            } else {
                NotOurs::Forged
            });
        }
        let kind = match raw[0] {
            0 => Kind::Stateful,
            1 => Kind::Ack,
            2 => Kind::Stateless,
            _ => return Err(NotOurs::Forged),
        };
        Ok(Branch {
            kind,
            worker: WorkerId(raw[1]),
            id: Id::new(
                u32::from_be_bytes([raw[4], raw[5], raw[6], raw[7]]),
                u16::from_be_bytes([raw[8], raw[9]]),
            ),
            loop_hash: u32::from_be_bytes([raw[10], raw[11], raw[12], raw[13]]),
        })
    }

    /// This start of the box, as a cookie tells it from others: the one before had another.
    #[must_use]
    pub const fn boot(&self) -> u8 {
        let [_, low] = self.boot.to_be_bytes();
        low
    }

    /// The To tag of an answer of our own to the request with these fields: the same
    /// for its retransmissions, and known again in its ACK (RFC 3261 §8.2.7).
    #[must_use]
    pub fn to_tag(&self, call_id: &[u8], from_tag: &[u8], cseq: u32) -> TagText {
        let mut raw = [0; TAG_LEN];
        raw[..2].copy_from_slice(&self.boot.to_be_bytes());
        let hash = self.branch.text(call_id).text(from_tag);
        let mac = hash.finish(What::ToTag.with(cseq.into()));
        raw[2..].copy_from_slice(&mac.to_be_bytes());
        encode(&raw)
    }

    /// True where `tag` is [`Identity::to_tag`] of these. Nearly no other has its form.
    #[must_use]
    pub fn is_to_tag(&self, tag: &[u8], call_id: &[u8], from_tag: &[u8], cseq: u32) -> bool {
        tag.len() == size_of::<TagText>() && *tag == self.to_tag(call_id, from_tag, cseq)
    }

    /// The beginning of a keyed hash that nobody outside can steer. Its end says by [`What`] of
    /// what it is.
    #[must_use]
    #[inline]
    pub const fn hash(&self) -> SipHash {
        self.hash
    }

    /// The beginnings of what is signed for longer than a start: under the key in use, and under
    /// the one before it.
    pub(super) const fn signers(&self) -> [SipHash; 2] {
        self.cookie
    }

    /// Whose identifiers it makes.
    pub(super) const fn worker(&self) -> WorkerId {
        self.worker
    }

    /// The start of the box that it is of.
    pub(super) const fn whole_boot(&self) -> u16 {
        self.boot
    }

    /// The worker that owns the call with this Call-ID.
    #[must_use]
    pub fn owner(&self, call_id: &[u8], workers: u8) -> WorkerId {
        owner_by(self.hash, call_id, workers)
    }

    /// The key of a user agent's address and port, and the worker that knows whether it has a
    /// binding.
    #[must_use]
    pub fn live_source(&self, source: SocketAddr, workers: u8) -> (u64, WorkerId) {
        let key = address_hash(self.hash, source, What::LiveSource);
        (key, chosen(key, workers))
    }

    fn branch_mac(&self, raw: &[u8; BRANCH_LEN]) -> [u8; 6] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, ..] = *raw;
        let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let second = u64::from_be_bytes([0, 0, i, j, k, l, m, n]);
        let hash = self.branch.word(first).finish(What::Branch.with(second));
        let [mac @ .., _, _] = hash.to_be_bytes();
        mac
    }
}

/// The worker that owns the call with this Call-ID.
#[must_use]
pub fn owner(key: &[u8; 16], call_id: &[u8], workers: u8) -> WorkerId {
    owner_by(SipHash::new(key), call_id, workers)
}

fn owner_by(hash: SipHash, call_id: &[u8], workers: u8) -> WorkerId {
    chosen(hash.text(call_id).finish(What::CallId.with(0)), workers)
}

/// The high bits of a hash choose the worker, the low bits the place in its tables.
#[allow(clippy::cast_possible_truncation)] // Less than `workers`.
const fn chosen(hash: u64, workers: u8) -> WorkerId {
    WorkerId((((hash >> 32) * workers as u64) >> 32) as u8)
}

fn address_hash(hash: SipHash, address: SocketAddr, what: What) -> u64 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let [high, low] = [ip.to_bits() >> 64, ip.to_bits() & u128::from(u64::MAX)];
    #[allow(clippy::cast_possible_truncation)] // Its halves.
    let hash = hash.word(high as u64).word(low as u64);
    hash.finish(what.with(address.port().into()))
}

fn encode(raw: &[u8; 10]) -> [u8; 16] {
    let mut text = [0; 16];
    base32::encode(raw, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;

    fn identity(boot: u16, branch: u8) -> Identity {
        identity_of(boot, branch, [2, 3])
    }

    fn identity_of(boot: u16, branch: u8, cookie: [u8; 2]) -> Identity {
        let secrets = Secrets {
            branch: [branch; 16],
            cookie: cookie.map(|key| [key; 16]),
            hash: [4; 16],
        };
        let listen = |n| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, n, 1)), 5060);
        Identity::new(WorkerId(1), boot, &secrets, &[listen(1), listen(2)])
    }

    const ID: Id = Id::new(123_456, 7);

    #[test]
    fn a_branch_comes_back_in_either_case() {
        let identity = identity(9, 1);
        let text = identity.branch(Kind::Stateful, ID, 0xdead_beef);
        let branch = identity.read_branch(&text.to_ascii_uppercase()).unwrap();
        assert_eq!(
            (branch.id, branch.loop_hash, branch.worker),
            (ID, 0xdead_beef, WorkerId(1))
        );
    }

    #[test]
    fn a_branch_of_another_start_is_stale_and_a_changed_one_forged() {
        let text = identity(9, 1).branch(Kind::Stateful, ID, 0);
        assert_eq!(identity(10, 2).read_branch(&text), Err(NotOurs::Stale));
        let mut changed = text;
        changed[20] = if changed[20] == b'a' { b'b' } else { b'a' };
        assert_eq!(identity(9, 1).read_branch(&changed), Err(NotOurs::Forged));
        assert_eq!(identity(9, 1).read_branch(b"z9hG4bK"), Err(NotOurs::Forged));
    }

    #[test]
    fn owners_are_spread_over_all_workers() {
        let mut calls = [0; 3];
        for n in 0..3000u32 {
            calls[usize::from(owner(&[4; 16], &n.to_be_bytes(), 3).0)] += 1;
        }
        assert!(calls.iter().all(|&n| (850..1150).contains(&n)), "{calls:?}");
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_ours(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let identity = identity(9, 1);
            prop_assert!(identity.read_branch(&text).is_err());
            prop_assert!(identity.read_cookie(&text, b"call", b"tag").is_none());
        }
    }
}
