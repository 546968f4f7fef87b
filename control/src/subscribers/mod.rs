//! Subscribers: where their HA1s are kept, and how a worker's question comes there and back.
//!
//! A worker knows nothing of stores. It asks ([`trunkline_dataplane::mailbox::Report::Ask`]), goes on
//! with other work, and is told ([`trunkline_dataplane::mailbox::Mail::Said`]), or not in time.

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
use trunkline_dataplane::sip::digest::cache::Known;

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
}

/// A store that gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("{store} gives no answer: {reason}")]
pub struct Unavailable {
    /// Which store, as the operator knows it.
    pub store: String,
    /// What went wrong.
    pub reason: String,
}
