//! A binding: one contact of an address of record.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::contacts::instance_of;
use super::order::Last;
use super::order::Mark;
use crate::ids::DomainIndex;
use crate::ids::ListenIndex;
use crate::sip::endpoint::Endpoint;
use crate::sip::slab::Id;
use crate::sip::texts::Chain;
use crate::tick::Tick;

/// A binding as anybody outside sees it, and as a store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'t> {
    /// The key of its address of record, see [`super::aor`].
    pub aor: u64,
    /// The domain of its user.
    pub domain: DomainIndex,
    /// Its user.
    pub user: &'t [u8],
    /// The URI of the contact.
    pub uri: &'t [u8],
    /// The parameters of its Contact, each with its `;`, as the user agent sent them.
    pub params: &'t [u8],
    /// The values of Path, as one (RFC 3327 §5.3): the route to it. Empty where there is none.
    pub path: &'t [u8],
    /// Where its REGISTER came from: where it is reached if there is no path. Behind a NAT that is
    /// not where its URI says (RFC 3581 §4).
    pub received: SocketAddr,
    /// Where its REGISTER came to: from where it is reached (RFC 5626 §7).
    pub listen: ListenIndex,
    /// When it ends.
    pub expires: Tick,
    /// When it was made, or refreshed last.
    pub taken: Tick,
    /// How much it is preferred, in thousandths.
    pub q: u16,
    /// The Call-ID of its last REGISTER, hashed.
    pub call_id: u64,
    /// The CSeq of that.
    pub cseq: u32,
    /// The transaction of that, as the caller knows it again.
    pub transaction: u64,
    /// Which flow of its instance it is (RFC 5626 §6); `None` where it is known by its URI.
    pub reg_id: Option<NonZeroU32>,
}

impl<'t> Record<'t> {
    /// The instance of its user agent, with its quotes (RFC 5626 §4.1).
    #[must_use]
    pub fn instance(&self) -> Option<&'t [u8]> {
        instance_of(self.params)
    }
}

/// A binding as it is kept. What is text stands in the store of texts, in a row.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) aor: u64,
    pub(super) call_id: u64,
    pub(super) transaction: u64,
    /// The instance, hashed; 0: none.
    pub(super) instance: u64,
    pub(super) expires: Tick,
    pub(super) taken: Tick,
    /// The next best of the same address of record.
    pub(super) next: Option<Id>,
    pub(super) text: Chain,
    pub(super) cseq: u32,
    pub(super) reg_id: Option<NonZeroU32>,
    pub(super) lens: Lens,
    pub(super) q: u16,
    pub(super) received: Endpoint,
    pub(super) listen: ListenIndex,
    pub(super) domain: DomainIndex,
}

/// How long the texts of a binding are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lens {
    pub(super) user: u8,
    pub(super) uri: u16,
    pub(super) params: u16,
    pub(super) path: u16,
}

impl Lens {
    /// Those of these texts, where `kept` is user, URI and parameters in a row.
    pub(super) fn of(user: &[u8], uri: &[u8], kept: &[u8], path: &[u8]) -> Option<Lens> {
        let params = kept.len().checked_sub(user.len() + uri.len())?;
        Some(Lens {
            user: u8::try_from(user.len()).ok()?,
            uri: u16::try_from(uri.len()).ok()?,
            params: u16::try_from(params).ok()?,
            path: u16::try_from(path.len()).ok()?,
        })
    }

    /// The texts, of which there are so many bytes each.
    pub(super) fn split(self, texts: &[u8]) -> [&[u8]; 4] {
        let mut rest = texts;
        let lens = [self.user.into(), self.uri, self.params, self.path];
        lens.map(|len| {
            let (text, after) = rest.split_at(usize::from(len).min(rest.len()));
            rest = after;
            text
        })
    }
}

impl Binding {
    /// A binding that is in no list; its instance and its texts are as said.
    pub(super) fn of(record: &Record<'_>, instance: u64, text: Chain, lens: Lens) -> Binding {
        Binding {
            aor: record.aor,
            call_id: record.call_id,
            transaction: record.transaction,
            instance,
            expires: record.expires,
            taken: record.taken,
            next: None,
            text,
            cseq: record.cseq,
            reg_id: record.reg_id,
            lens,
            q: record.q,
            received: record.received.into(),
            listen: record.listen,
            domain: record.domain,
        }
    }

    /// Whether its REGISTER came before that of a record, perhaps at another box: within a Call-ID the CSeq
    /// says so, else the time.
    pub(super) fn is_before(&self, record: &Record<'_>) -> bool {
        match self.call_id == record.call_id {
            true => self.cseq < record.cseq,
            false => self.taken < record.taken,
        }
    }

    /// Whether both are of one flow (RFC 5626 §6).
    pub(super) const fn is_flow(&self, instance: u64, reg_id: NonZeroU32) -> bool {
        match self.reg_id {
            Some(own) => own.get() == reg_id.get() && self.instance == instance,
            None => false,
        }
    }

    /// How long ago it was registered, among those of its address of record, where it is the `nth`: the less,
    /// the later.
    pub(super) fn age(&self, nth: usize) -> (Reverse<Tick>, usize) {
        (Reverse(self.taken), nth)
    }

    /// The REGISTER that made it, or refreshed it last.
    pub(super) const fn mark(&self) -> Mark {
        Mark {
            call_id: self.call_id,
            last: Last {
                cseq: self.cseq,
                transaction: self.transaction,
            },
        }
    }

    /// The binding as it is seen, its texts being `texts`.
    pub(super) fn record<'t>(&self, texts: &'t [u8]) -> Record<'t> {
        let [user, uri, params, path] = self.lens.split(texts);
        Record {
            aor: self.aor,
            domain: self.domain,
            user,
            uri,
            params,
            path,
            received: self.received.addr(),
            listen: self.listen,
            expires: self.expires,
            taken: self.taken,
            q: self.q,
            call_id: self.call_id,
            cseq: self.cseq,
            transaction: self.transaction,
            reg_id: self.reg_id,
        }
    }
}
