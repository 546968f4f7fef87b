//! Subscribers: where their HA1s are kept, and how a worker's question comes there and back.
//!
//! A worker knows nothing of stores. It asks ([`trunkline_dataplane::mailbox::Report::Ask`]), goes on
//! with other work, and is told ([`trunkline_dataplane::mailbox::Mail::Said`]), or not in time. The
//! desk asks the [`Store`] for it (`engine/asking.rs`); the operator's socket writes into one that is
//! [`Writable`] (`api/subscribers.rs`).

pub mod name;
pub mod sqlite;

use std::sync::Arc;

pub mod forget;
pub mod guarded;
mod ha1s;
pub mod http;
mod pattern;
pub mod postgres;
pub mod redis;
pub mod remote;
pub mod sharded;

use futures_util::future::BoxFuture;
use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::settings::Domain;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::ha1::Ha1s;
use trunkline_dataplane::sip::subscriber::Subscriber;
use trunkline_dataplane::sip::subscriber::User;

use self::name::Address;

/// A place where subscribers are kept. Of each it has HA1s, never a password.
pub trait Store: std::fmt::Debug + Send + Sync {
    /// What it knows of a user of a domain, both as bytes of a message that may be anything.
    ///
    /// # Errors
    /// [`Unavailable`]: whether there is such a user is not known.
    fn find<'s>(
        &'s self,
        domain: &'s str,
        user: &'s [u8],
    ) -> BoxFuture<'s, Result<Known, Unavailable>>;

    /// Asks each of its servers for a user of `domain` whom it is not likely to have, as for any other: those that
    /// give no good answer, and why. What is opened before it is asked has nothing to say.
    fn check<'s>(&'s self, _domain: &'s str) -> BoxFuture<'s, Vec<Unavailable>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// The same store, where `trunkctl subscriber` may change it.
    fn writable(&self) -> Option<&dyn Writable> {
        None
    }
}

/// A store that the operator fills by `trunkctl subscriber`.
pub trait Writable: Send + Sync {
    /// Adds subscribers, or replaces the HA1s of those who are there: all of them or none.
    ///
    /// # Errors
    /// [`Unavailable`]: none was written.
    fn put(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<Written, Unavailable>>;

    /// Removes a subscriber; false where there is none.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing was removed.
    fn remove(&self, who: Address) -> BoxFuture<'_, Result<bool, Unavailable>>;

    /// A page of the subscribers, in the order of their domains and names.
    ///
    /// # Errors
    /// [`Unavailable`]
    fn list(&self, page: Page) -> BoxFuture<'_, Result<Vec<Entry>, Unavailable>>;
}

/// A subscriber as it is kept.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who.
    pub who: Address,
    /// What the password is proved by.
    pub ha1s: Ha1s,
}

/// What writing has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Subscribers who were not there before.
    pub added: u64,
    /// Those who were.
    pub changed: u64,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Of this domain only.
    pub domain: Option<String>,
    /// Those behind this one.
    pub after: Option<Address>,
    /// So many at most.
    pub limit: u32,
}

/// A store that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{store} gives no answer: {reason}")]
pub struct Unavailable {
    /// Which store, as the operator knows it.
    pub store: String,
    /// What went wrong.
    pub reason: String,
}

/// The configured domains, and where their users are kept.
#[derive(Debug, Default)]
pub struct Directory {
    /// By [`DomainIndex`].
    pub domains: Vec<Domain>,
    /// None where there is no domain.
    pub store: Option<Arc<dyn Store>>,
}

impl Directory {
    /// What is wrong with the servers of its store; `None` where nobody will ever ask it.
    pub async fn check(&self) -> Option<Vec<Unavailable>> {
        let mut ours = self.domains.iter().filter(|it| it.upstream.is_none());
        let (domain, store) = (ours.next()?, self.store.as_ref()?);
        Some(store.check(&domain.name).await)
    }

    /// The domain of this name, in any case.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        let is = |domain: &&Domain| domain.name.eq_ignore_ascii_case(name);
        self.domains.iter().find(is)
    }

    /// Whether there can be such a subscriber: of a configured domain, with all that its challenges
    /// ask for.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, who: &Address, ha1s: &Ha1s) -> Result<(), String> {
        let domain = self
            .domain(&who.domain)
            .ok_or_else(|| self.unknown(&who.domain))?;
        if domain.upstream.is_some() {
            return Err(format!(
                "the registrar of {} is elsewhere: its subscribers are kept there",
                domain.name
            ));
        }
        let lacking: Vec<_> = lacking(domain, ha1s).map(Algorithm::name).collect();
        match lacking.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{who} has no HA1 for {}, by which {} challenges",
                lacking.join(" and "),
                domain.name
            )),
        }
    }

    /// What is to be said of a domain that there is not.
    #[must_use]
    pub fn unknown(&self, name: &str) -> String {
        let all: Vec<_> = self
            .domains
            .iter()
            .map(|domain| domain.name.as_str())
            .collect();
        match all.is_empty() {
            true => format!("no [[domain]] is called \"{name}\", and none is configured"),
            false => format!(
                "no [[domain]] is called \"{name}\"; there are: {}",
                all.join(", ")
            ),
        }
    }

    /// How workers know a subscriber; `None` where the domain is not configured, or nobody can be
    /// called so.
    #[must_use]
    pub fn subscriber(&self, who: &Address) -> Option<Subscriber> {
        let is = |domain: &Domain| domain.name == who.domain;
        let domain = self.domains.iter().position(is)?;
        Some(Subscriber {
            domain: DomainIndex(u8::try_from(domain).ok()?),
            user: User::new(who.user.as_bytes())?,
        })
    }
}

/// The HA1s of a password, for every algorithm (RFC 7616 §3.4.2): a domain may come to offer another
/// one.
#[must_use]
pub fn ha1s_of(who: &Address, password: &str) -> Ha1s {
    let mut ha1s = Ha1s::default();
    for algorithm in Algorithm::ALL {
        // The realm is the domain's name.
        let parts = [who.user.as_str(), who.domain.as_str(), password].map(str::as_bytes);
        ha1s.set(algorithm, algorithm.hash(&parts).bytes());
    }
    ha1s
}

/// What the domain's challenges ask for and `ha1s` has nothing for: with such a subscriber they could
/// no longer be sent (RFC 8760 §2.3 lets a client choose any of them).
pub fn lacking<'d>(domain: &'d Domain, ha1s: &'d Ha1s) -> impl Iterator<Item = Algorithm> + 'd {
    let offered = domain.algorithms.iter().copied();
    offered.filter(|&algorithm| ha1s.get(algorithm).is_none())
}
