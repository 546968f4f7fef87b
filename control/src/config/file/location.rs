//! The keys that say where the contacts of users are kept.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::File;
use crate::config::section::Section;
use crate::location::redis::Options;

/// What all keys in Redis begin with, unless the configuration says otherwise.
pub(in crate::config) const PREFIX: &str = "location";

/// `[location]`
#[derive(Debug, Default)]
pub(in crate::config) struct Location {
    pub store: StoreKind,
    /// Where that stands.
    pub store_at: Range<usize>,
    /// Whether it does, and is not what is taken without it.
    pub store_is_said: bool,
    pub path: Option<Spanned<PathBuf>>,
    pub redis: Option<Redis>,
}

/// `[location.redis]`
#[derive(Debug)]
pub(in crate::config) struct Redis {
    /// Where its heading stands.
    pub at: Range<usize>,
    pub servers: Vec<Spanned<String>>,
    pub is_cluster: bool,
    pub prefix: Spanned<String>,
}

impl Redis {
    /// What the store is made of, where a lifetime of `max_s` is the longest that is granted.
    pub fn options(&self, max_s: u32) -> Options {
        let servers = self.servers.iter();
        Options {
            servers: servers.map(|server| server.get_ref().clone()).collect(),
            is_cluster: self.is_cluster,
            prefix: self.prefix.get_ref().clone(),
            remember: std::time::Duration::from_secs(max_s.into()),
        }
    }
}

/// Where contacts are kept beside the workers' memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::config) enum StoreKind {
    /// In a file of this box.
    #[default]
    Sqlite,
    /// On the servers of its table.
    Redis,
    /// Nowhere.
    None,
}

const STORES: [(&str, StoreKind); 3] = [
    ("sqlite", StoreKind::Sqlite),
    ("redis", StoreKind::Redis),
    ("none", StoreKind::None),
];

impl File {
    pub(super) fn read_location(&mut self, top: &mut Section<'_>) {
        let Some(mut section) = top.table("location", "[location]") else {
            return;
        };
        let store = section.choice("store", &STORES, StoreKind::Sqlite);
        self.location = Location {
            store_is_said: section.says("store"),
            store_at: store.span(),
            store: store.into_inner(),
            path: section.parsed("path", "the path of a file"),
            redis: section.table("redis", "[location.redis]").map(redis),
        };
        section.finish();
    }
}

fn redis(mut section: Section<'_>) -> Redis {
    let read = Redis {
        at: section.span(),
        servers: section.required_list("servers", "\"redis://user:password@host:port\""),
        is_cluster: section.flag("cluster"),
        prefix: section
            .parsed("prefix", "what all keys begin with")
            .unwrap_or_else(|| Spanned::new(0..0, PREFIX.to_owned())),
    };
    section.finish();
    read
}
