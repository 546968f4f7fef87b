//! Subscribers: what is asked about them, and what becomes of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;

/// How it stands with the subscribers' store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubscribersStatus {
    /// Subscribers who are being looked up.
    pub waiting: u64,
    /// For how long the first of them has been.
    pub oldest_ms: u64,
    /// Stores, or servers of one, that gave no answer in the last five minutes, or none since the start.
    pub troubles: Vec<StoreTrouble>,
}

/// A store that gave no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreTrouble {
    /// Which, as the log calls it.
    pub store: String,
    /// Why, the last time.
    pub reason: String,
    /// How long ago that was.
    pub ago_s: u64,
    /// It has given no good answer since the start.
    pub never: bool,
}

/// What the workers ask of the subscribers' store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreStats {
    /// Questions of workers.
    pub asked: u64,
    /// Look-ups that have ended.
    pub looked_up: u64,
    /// Microseconds that they took, all together.
    pub looked_up_us: u64,
    /// Questions answered.
    pub answered: u64,
    /// Questions to which no answer came.
    pub failed: u64,
    /// Questions that were too many.
    pub refused: u64,
    /// Subscribers whom the workers were told to forget.
    pub forgotten: u64,
    /// Times that they were told to doubt all that they know.
    pub doubted: u64,
    /// Mails for which a worker had no room.
    pub untold: u64,
}

/// `GET /v1/domains`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domains {
    /// Each of them.
    pub domains: Vec<Domain>,
    /// Whether `PUT` and `DELETE /v1/subscribers` change the store.
    pub writable: bool,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// For these algorithms each of its subscribers must have an HA1.
    pub algorithms: Vec<String>,
}

/// `GET /v1/subscribers`: a page of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribers {
    /// In the order of domains and names.
    pub subscribers: Vec<Subscriber>,
    /// What `after` is of the page behind this one, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscriber {
    /// The name.
    pub user: String,
    /// The domain's name.
    pub domain: String,
    /// The algorithms for which there is an HA1.
    pub algorithms: Vec<String>,
}

/// `PUT /v1/subscribers`: to be added, or changed where they are there; all or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribersWish {
    /// 1,000 at most.
    pub subscribers: Vec<SubscriberWish>,
}

/// A subscriber to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriberWish {
    /// The name.
    pub user: String,
    /// The domain's name.
    pub domain: String,
    /// HA1 in hexadecimal digits by the algorithm's name.
    pub ha1: BTreeMap<String, String>,
}

/// What has become of a change of subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Subscribers who were not there before.
    #[serde(default)]
    pub added: u64,
    /// Those who were.
    #[serde(default)]
    pub changed: u64,
    /// Those who are there no more.
    #[serde(default)]
    pub removed: u64,
    /// Those whom the workers ask for anew, at the next request.
    #[serde(default)]
    pub forgotten: u64,
}
