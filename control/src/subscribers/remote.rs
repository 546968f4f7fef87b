//! The stores on servers elsewhere, as the configuration names them.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Store;
use super::forget::Forget;
use super::http;
use super::postgres;
use super::redis;

/// A store elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its servers.
    pub servers: Vec<String>,
    /// What is spoken to them.
    pub protocol: Protocol,
    /// Where they tell of changes, if they do.
    pub channel: Option<String>,
}

/// How a store is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// PostgreSQL's.
    Postgres(postgres::Options),
    /// Redis'.
    Redis(redis::Options),
    /// HTTP.
    Http(http::Options),
}

impl fmt::Debug for Remote {
    /// Without the URLs: there are passwords in them.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.servers.len();
        write!(
            out,
            "{count} servers, {:?}, {:?}",
            self.protocol, self.channel
        )
    }
}

/// Where servers tell of changes.
#[derive(Debug)]
pub enum Source {
    /// A channel of PostgreSQL's.
    Postgres(Box<postgres::Channel>),
    /// A channel of Redis'.
    Redis(redis::Channel),
}

impl Source {
    /// Tells `out` what to forget, for as long as someone listens to it.
    pub async fn follow(self, out: mpsc::Sender<Forget>) {
        match self {
            Source::Postgres(channel) => channel.follow(out).await,
            Source::Redis(channel) => channel.follow(out).await,
        }
    }
}

impl Remote {
    /// The store. Nothing is connected before it is asked for.
    ///
    /// # Errors
    /// What is wrong with the servers.
    pub fn open(&self) -> Result<Arc<dyn Store>, String> {
        Ok(match &self.protocol {
            Protocol::Postgres(options) => Arc::new(postgres::open(&self.servers, options)?),
            Protocol::Redis(options) => Arc::new(redis::open(&self.servers, options)?),
            Protocol::Http(options) => Arc::new(http::open(&self.servers, options)?),
        })
    }

    /// Its sources of changes: each server tells of its own users, a cluster of all.
    ///
    /// # Errors
    /// What is wrong with the channel.
    pub fn sources(&self) -> Result<Vec<Source>, String> {
        let Some(channel) = &self.channel else {
            return Ok(Vec::new());
        };
        match &self.protocol {
            Protocol::Postgres(options) => {
                let channel = |url| postgres::Channel::new(url, channel, options.patience);
                let channels = self.servers.iter().map(|url| channel(url));
                channels
                    .map(|c| Ok(Source::Postgres(Box::new(c?))))
                    .collect()
            }
            Protocol::Redis(options) => {
                let channel = |urls| redis::Channel::new(urls, channel, options.patience);
                let channels = redis::apart(&self.servers, options).map(channel);
                channels.map(|c| c.map(Source::Redis)).collect()
            }
            Protocol::Http(_) => Err("an HTTP endpoint tells of no changes".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn remote(protocol: Protocol, servers: &[&str]) -> Remote {
        Remote {
            servers: servers.iter().map(|&url| url.to_owned()).collect(),
            protocol,
            channel: Some("changes".to_owned()),
        }
    }

    fn redis(is_cluster: bool) -> Protocol {
        Protocol::Redis(redis::Options {
            key: redis::KEY.to_owned(),
            is_cluster,
            patience: Duration::from_secs(1),
        })
    }

    #[test]
    fn each_server_is_listened_to_and_a_cluster_once() {
        let urls = ["redis://:secret@127.0.0.1:1", "redis://:secret@127.0.0.1:2"];
        let sources = |is_cluster| remote(redis(is_cluster), &urls).sources().unwrap().len();
        assert_eq!((sources(false), sources(true)), (2, 1));
        let silent = Remote {
            channel: None,
            ..remote(redis(false), &urls)
        };
        assert!(silent.sources().unwrap().is_empty());
        assert!(silent.open().is_ok());
        let postgres = Protocol::Postgres(postgres::Options {
            query: postgres::QUERY.to_owned(),
            connections: 1,
            patience: Duration::from_secs(1),
        });
        let urls = [
            "postgres://sip:secret@db1/sip",
            "postgres://sip:secret@db2/sip",
        ];
        let postgres = remote(postgres, &urls);
        assert_eq!(postgres.sources().unwrap().len(), 2);
        assert!(!format!("{postgres:?}").contains("secret"));
        let http = Protocol::Http(http::Options {
            connections: 1,
            patience: Duration::from_secs(1),
        });
        let http = remote(http, &["http://10.0.0.1/{user}"]);
        assert!(http.open().is_ok() && http.sources().is_err());
    }
}
