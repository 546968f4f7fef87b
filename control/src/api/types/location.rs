//! The location store: how it stands with it, and what goes there and comes back.

use std::net::SocketAddr;

use serde::Deserialize;
use serde::Serialize;

/// How it stands with the location store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocationStatus {
    /// Its file, or what it is.
    pub store: String,
    /// Contacts of users that the workers have.
    pub contacts: u64,
    /// It has given back all that it had at the start.
    pub loaded: bool,
    /// Changes that are yet to be written.
    pub waiting: u64,
    /// For how long the oldest of them has waited.
    pub oldest_ms: u64,
    /// Why it takes none; nothing when it has taken the last.
    pub gone: Option<String>,
    /// Why it does not tell what it has and what other boxes write.
    pub silent: Option<String>,
}

/// `GET /v1/registrations`, `/v1/registrations/{address}`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Registrations {
    /// Each contact, in the order of users and of q.
    pub registrations: Vec<Registration>,
    /// False where a worker did not answer in time: there may be more.
    pub complete: bool,
}

/// A contact that a user has registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The user.
    pub user: String,
    /// The domain.
    pub domain: String,
    /// The contact's URI.
    pub contact: String,
    /// The parameters of the Contact.
    pub parameters: String,
    /// The route to it; empty where there is none.
    pub path: String,
    /// Where its REGISTER came from.
    pub received: SocketAddr,
    /// The listen that it came to.
    pub listen: String,
    /// In how many seconds it ends.
    pub expires_s: u64,
    /// How much it is preferred.
    pub q: f64,
    /// The worker that keeps it.
    pub worker: u8,
}

/// What goes to the location store and comes from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocationStats {
    /// Questions of workers for users.
    pub sought: u64,
    /// Users looked for who had contacts there.
    pub found: u64,
    /// Users looked for of whom the store said nothing.
    pub failed: u64,
    /// Questions that were too many.
    pub not_sought: u64,
    /// Contacts given to the workers.
    pub given_back: u64,
    /// Contacts of domains that are not ours.
    pub not_ours: u64,
    /// Mails for which a worker had no room.
    pub untold: u64,
    /// Changes that the store has taken.
    pub written: u64,
    /// Changes that a later one of the same contact overtook.
    pub overtaken: u64,
    /// Changes that were older than what another box has written.
    pub stale: u64,
    /// Changes that the store will never take.
    pub refused: u64,
    /// Changes that found no room to wait.
    pub lost: u64,
    /// Batches that the store did not take.
    pub failures: u64,
}
