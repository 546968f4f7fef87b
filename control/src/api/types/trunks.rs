//! Trunks.

use serde::Deserialize;
use serde::Serialize;

/// `GET /v1/trunks`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trunks {
    /// Every trunk of the configuration.
    pub trunks: Vec<Trunk>,
}

/// A trunk, as configured, and its counts over all workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// It stands for a domain, and its users.
    #[serde(default)]
    pub is_domain: bool,
    /// Networks from which its requests come.
    pub sources: Vec<String>,
    /// Where requests to it are sent, in the order in which they are tried; none: it only calls.
    pub targets: Vec<String>,
    /// The listen from which we speak to it.
    pub listen: String,
    /// The media range on its side.
    pub media: String,
    /// Its counts, by name, in the order of their table.
    pub counts: Vec<TrunkCount>,
}

/// One count of a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkCount {
    /// Its name.
    pub name: String,
    /// What a person should know about it.
    pub help: String,
    /// The sum over the workers.
    pub total: u64,
}

impl Trunk {
    /// The count of this name; 0 where there is none.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        let found = self.counts.iter().find(|count| count.name == name);
        found.map_or(0, |count| count.total)
    }
}
