//! The keys of the stores on servers elsewhere, a table for each kind of them.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;

use crate::config::section::Section;
use crate::subscribers::http;
use crate::subscribers::postgres;
use crate::subscribers::redis;
use crate::subscribers::remote::Protocol;
use crate::subscribers::remote::Remote;

/// `[subscribers.postgres]`, `[subscribers.redis]` or `[subscribers.http]`
#[derive(Debug)]
pub(in crate::config) struct Elsewhere {
    /// Where its heading stands.
    pub at: Range<usize>,
    pub servers: Vec<Spanned<String>>,
    pub protocol: Protocol,
    /// Where the servers tell of changes; nowhere where it is empty.
    pub channel: Option<Spanned<String>>,
}

impl Elsewhere {
    /// What the store is made of.
    pub fn remote(&self) -> Remote {
        let channel = self
            .channel
            .as_ref()
            .map(|channel| channel.get_ref().clone());
        let default = match &self.protocol {
            Protocol::Postgres(_) => Some(postgres::CHANNEL),
            Protocol::Redis(_) => Some(redis::CHANNEL),
            Protocol::Http(_) => None,
        };
        Remote {
            servers: self
                .servers
                .iter()
                .map(|url| url.get_ref().clone())
                .collect(),
            protocol: self.protocol.clone(),
            channel: channel
                .or_else(|| default.map(str::to_owned))
                .filter(|channel| !channel.is_empty()),
        }
    }
}

/// Text that names the user.
struct OfUser(String);

/// A query that asks for the user: without that it would find the same for all.
struct Query(String);

impl FromStr for Query {
    type Err = ();

    fn from_str(text: &str) -> Result<Query, ()> {
        text.contains("$1")
            .then(|| Query(text.to_owned()))
            .ok_or(())
    }
}

impl FromStr for OfUser {
    type Err = ();

    fn from_str(text: &str) -> Result<OfUser, ()> {
        text.contains("{user}")
            .then(|| OfUser(text.to_owned()))
            .ok_or(())
    }
}

pub(super) fn postgres(mut section: Section<'_>) -> Elsewhere {
    let query = section.parsed("query", "a query of SQL with the user in it, as $1");
    let query = query.map_or_else(
        || postgres::QUERY.to_owned(),
        |query: Spanned<Query>| query.into_inner().0,
    );
    let read = Elsewhere {
        at: section.span(),
        servers: servers(
            &mut section,
            "\"postgres://user:password@host:port/database\"",
        ),
        protocol: Protocol::Postgres(postgres::Options {
            query,
            connections: connections(&mut section),
            patience: patience(&mut section),
        }),
        channel: channel(&mut section),
    };
    section.finish();
    read
}

pub(super) fn redis(mut section: Section<'_>) -> Elsewhere {
    let key = section.parsed(
        "key",
        "a key with the user in it, as \"sub:{domain}:{user}\"",
    );
    let key = key.map_or_else(
        || redis::KEY.to_owned(),
        |key: Spanned<OfUser>| key.into_inner().0,
    );
    let read = Elsewhere {
        at: section.span(),
        servers: servers(&mut section, "\"redis://user:password@host:port/database\""),
        protocol: Protocol::Redis(redis::Options {
            key,
            is_cluster: section.flag("cluster"),
            patience: patience(&mut section),
        }),
        channel: channel(&mut section),
    };
    section.finish();
    read
}

pub(super) fn http(mut section: Section<'_>) -> Elsewhere {
    let read = Elsewhere {
        at: section.span(),
        servers: servers(&mut section, "\"http://host:port/path/{domain}/{user}\""),
        protocol: Protocol::Http(http::Options {
            connections: connections(&mut section),
            patience: patience(&mut section),
        }),
        channel: None,
    };
    section.finish();
    read
}

fn servers(section: &mut Section<'_>, expected: &str) -> Vec<Spanned<String>> {
    section.required_list("servers", expected)
}

fn connections(section: &mut Section<'_>) -> usize {
    *section.integer("connections", 1..=1000, 8).get_ref() as usize
}

fn patience(section: &mut Section<'_>) -> Duration {
    let timeout_ms = *section.integer("timeout_ms", 10..=30_000, 2000).get_ref();
    Duration::from_millis(u64::from(timeout_ms))
}

fn channel(section: &mut Section<'_>) -> Option<Spanned<String>> {
    section.parsed("channel", "the name of a channel, or \"\" for none")
}
