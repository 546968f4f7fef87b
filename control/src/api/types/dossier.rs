//! What is known of one subscriber, and what subscribers were denied.

use std::net::SocketAddr;

use serde::Deserialize;
use serde::Serialize;

use super::Ban;
use super::Registration;

/// `GET /v1/subscribers/{address}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dossier {
    /// The user.
    pub user: String,
    /// The domain's name.
    pub domain: String,
    /// What the store says of it, asked just now; nothing where passwords are not asked for here.
    pub stored: Option<Stored>,
    /// By worker: what it has been told of it, and believes.
    pub workers: Vec<Believed>,
    /// Calls that it has begun.
    pub calls: u64,
    /// So many may there be; 0 for any number.
    pub calls_max: u16,
    /// What it was last denied.
    pub denial: Option<Denial>,
    /// Its contacts.
    pub registrations: Vec<Registration>,
    /// Bans of where these are, and of where the denied request came from.
    pub bans: Vec<Ban>,
    /// False where a worker did not answer in time.
    pub complete: bool,
}

/// What the store says of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// `known`, `unknown`, or `no answer`.
    pub answer: String,
    /// The algorithms for which there is an HA1.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// Those of the domain's for which there is none.
    #[serde(default)]
    pub lacking: Vec<String>,
    /// Why there is no answer.
    #[serde(default)]
    pub error: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// What a worker believes of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Believed {
    /// The worker.
    pub worker: u8,
    /// `known`, `unknown`, or `nothing`: then it asks the store at the next request.
    pub belief: String,
    /// How long ago the store has said so.
    #[serde(default)]
    pub since_s: u64,
    /// How long it is believed yet.
    #[serde(default)]
    pub expires_in_s: u64,
    /// How long ago it last had the right password here.
    #[serde(default)]
    pub proved_s: Option<u64>,
}

/// `GET /v1/denials`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denials {
    /// By subscriber, who was denied most first.
    pub denials: Vec<Denial>,
    /// False where a worker did not answer in time.
    pub complete: bool,
}

/// What a subscriber was denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The user.
    pub user: String,
    /// The domain's name.
    pub domain: String,
    /// Requests of its name that were refused, each within an hour of the one before.
    pub count: u64,
    /// How long ago the first of them was.
    pub since_s: u64,
    /// How long ago the last.
    pub last_s: u64,
    /// Where that came from.
    pub source: SocketAddr,
    /// Why it was refused, for a program: `password`, `nobody`, `no_ha1`, `another_user`, `store`,
    /// `register`, `calls`, `unregistered`.
    pub reason: String,
    /// The same for a person.
    pub because: String,
}
