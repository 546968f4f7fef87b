//! Subscribers in Redis, on a server, on several of them, or in a cluster.
//!
//! Each is a hash with the fields `md5`, `sha-256` and `sha-512-256`, as many as there are, each an HA1 in
//! hexadecimal digits: `HSET sub:example.com:alice sha-256 7987c64c…`. One connection to each server carries
//! all questions.

mod subscribe;

use std::fmt;
use std::slice::Chunks;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::future::select_ok;
use redis::AsyncConnectionConfig;
use redis::Client;
use redis::ConnectionAddr;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use tokio::sync::Mutex;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::ha1::Ha1s;

use super::guarded::Guarded;
use super::guarded::Server;
use super::guarded::reason;
use super::ha1s;
use super::pattern::Pattern;
use super::sharded::Sharded;
use crate::redis_link::Link;

pub use self::subscribe::Channel;

/// The key where none is configured.
pub const KEY: &str = "sub:{domain}:{user}";

/// The channel where none is configured.
pub const CHANNEL: &str = "trunkline:forget";

/// The fields, in the order of [`Algorithm::ALL`].
const FIELDS: [&str; 3] = ["md5", "sha-256", "sha-512-256"];

/// How often a cluster is asked again within one question: it may have moved a key, twice where it moves
/// many; a node that is dead is not worth more.
const CLUSTER_RETRIES: u32 = 2;

/// The store: one server or cluster, or several servers, each with its share of the users
/// ([`super::sharded`]).
pub type Store = Sharded<Guarded<Redis>>;

/// How the servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The key of a subscriber, with `{user}` and `{domain}`. A colon or a percent sign of theirs is
    /// percent-encoded in it.
    pub key: String,
    /// The servers are some of the nodes of a cluster, which tells of the others.
    pub is_cluster: bool,
    /// The longest wait for an answer, that for a connection included.
    pub patience: Duration,
}

/// The store of these servers (`redis://user:password@host:port/database`).
///
/// # Errors
/// What is wrong.
pub fn open(urls: &[String], options: &Options) -> Result<Store, String> {
    let servers = apart(urls, options).map(|urls| {
        let server = Redis::new(urls, options)?;
        Ok(Guarded::new(server, options.patience))
    });
    Sharded::new(servers.collect::<Result<_, String>>()?)
}

/// The servers by those that have users of their own: the nodes of a cluster share theirs.
pub(super) fn apart<'u>(urls: &'u [String], options: &Options) -> Chunks<'u, String> {
    urls.chunks(if options.is_cluster {
        urls.len().max(1)
    } else {
        1
    })
}

/// A server, or a cluster of them.
pub struct Redis {
    name: String,
    key: Pattern,
    nodes: Vec<Client>,
    /// Where the nodes are of a cluster.
    cluster: Option<ClusterClient>,
    connecting: AsyncConnectionConfig,
    connection: Mutex<Option<Link>>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

impl Redis {
    fn new(urls: &[String], options: &Options) -> Result<Redis, String> {
        let nodes = clients(urls)?;
        // Half, so that the ping of a cluster can say that none of its nodes answers.
        let patience = options.patience / 2;
        let cluster = ClusterClient::builder(urls.iter().map(String::as_str))
            .retries(CLUSTER_RETRIES)
            .connection_timeout(patience)
            .response_timeout(options.patience);
        let cluster = options.is_cluster.then(|| cluster.build().map_err(reason));
        let kind = if options.is_cluster {
            "Redis cluster"
        } else {
            "Redis"
        };
        Ok(Redis {
            name: format!("{kind} at {}", address(&nodes[0])),
            key: Pattern::new(&options.key)?,
            cluster: cluster.transpose()?,
            nodes,
            connecting: AsyncConnectionConfig::new()
                .set_connection_timeout(Some(patience))
                .set_response_timeout(Some(options.patience)),
            connection: Mutex::default(),
        })
    }

    async fn look_up(&self, domain: &str, user: &str) -> Result<Known, String> {
        let key = self.key.fill(domain, user, encode);
        let mut ask = redis::cmd("HMGET");
        ask.arg(key).arg(&FIELDS);
        let mut connection = self.connection().await?;
        let kept: RedisResult<[Option<Vec<u8>>; 3]> = ask.query_async(&mut connection).await;
        let kept = kept.map_err(reason)?;
        if kept.iter().all(Option::is_none) {
            return Ok(Known::Nobody);
        }
        let mut ha1s = Ha1s::default();
        for (algorithm, digits) in Algorithm::ALL.into_iter().zip(kept) {
            ha1s::set(&mut ha1s, algorithm, &digits.unwrap_or_default())?;
        }
        Ok(Known::Subscriber(ha1s))
    }

    /// The connection that all share; made where there is none, by one of those who need it.
    async fn connection(&self) -> Result<Link, String> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let made = match &self.cluster {
            Some(cluster) => {
                let made = cluster.get_async_connection().await;
                Link::Cluster(made.map_err(reason)?)
            }
            None => Link::Single(self.connect(&self.nodes[0]).await?),
        };
        *kept = Some(made.clone());
        Ok(made)
    }

    async fn connect(&self, node: &Client) -> Result<MultiplexedConnection, String> {
        let made = node.get_multiplexed_async_connection_with_config(&self.connecting);
        made.await.map_err(reason)
    }

    /// Finds out whether a server answers, and does without the connection that there is where it does not.
    /// A cluster lives as long as any of its nodes: that some of its users wait for a dead one must not keep
    /// the others out, and what it does about the dead one is its own affair.
    async fn ping_any(&self) -> Result<(), String> {
        let pings = self.nodes.iter().map(|node| {
            let ping = async move {
                let mut connection = self.connect(node).await?;
                let pong: RedisResult<()> = redis::cmd("PING").query_async(&mut connection).await;
                pong.map_err(reason)?;
                Ok(connection)
            };
            ping.boxed()
        });
        let answered: Result<(MultiplexedConnection, _), String> = select_ok(pings).await;
        match (answered, &self.cluster) {
            (Ok((made, _)), None) => {
                *self.connection.lock().await = Some(Link::Single(made));
                Ok(())
            }
            (Ok(_), Some(_)) => Ok(()),
            (Err(reason), _) => {
                *self.connection.lock().await = None;
                Err(reason)
            }
        }
    }
}

/// At least one.
fn clients(urls: &[String]) -> Result<Vec<Client>, String> {
    if urls.is_empty() {
        return Err("there is no server".to_owned());
    }
    // What the library says of a URL has no part of it, and so no password.
    let client = |url: &String| Client::open(url.as_str()).map_err(reason);
    urls.iter().map(client).collect()
}

fn address(node: &Client) -> &ConnectionAddr {
    node.get_connection_info().addr()
}

impl Server for Redis {
    fn name(&self) -> &str {
        &self.name
    }

    fn ask<'s>(&'s self, domain: &'s str, user: &'s str) -> BoxFuture<'s, Result<Known, String>> {
        Box::pin(self.look_up(domain, user))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.ping_any())
    }
}

/// A name as a part of a key, of which a colon ends another part.
fn encode(name: &str) -> String {
    name.replace('%', "%25").replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: fn() -> Options = || Options {
        key: KEY.to_owned(),
        is_cluster: false,
        patience: Duration::from_secs(1),
    };

    #[test]
    fn a_server_is_known_by_its_host_and_port_and_not_by_its_password() {
        let name =
            |url: &str| open(&[url.to_owned()], &OPTIONS()).map(|store| format!("{store:?}"));
        let said = name("redis://sip:secret@cache1.example:6380/1").unwrap();
        assert!(said.contains("Redis at cache1.example:6380"), "{said}");
        assert!(!said.contains("secret"), "{said}");
        for wrong in [
            "redis://sip:secret@cache1.example:port",
            "http://sip:secret@cache1.example",
            "rediss://sip:secret@cache1.example",
            "",
        ] {
            let error = name(wrong).unwrap_err();
            assert!(!error.is_empty() && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn several_servers_share_the_users_or_are_one_cluster() {
        let urls = ["redis://127.0.0.1:1", "redis://127.0.0.1:2"].map(str::to_owned);
        let said = format!("{:?}", open(&urls, &OPTIONS()).unwrap());
        assert!(said.contains("Redis at 127.0.0.1:1") && said.contains("Redis at 127.0.0.1:2"));
        let options = Options {
            is_cluster: true,
            ..OPTIONS()
        };
        let said = format!("{:?}", open(&urls, &options).unwrap());
        assert!(said.contains("Redis cluster at 127.0.0.1:1"), "{said}");
        assert!(!said.contains("127.0.0.1:2"), "{said}");
        assert!(open(&[], &options).is_err() && open(&[], &OPTIONS()).is_err());
    }

    #[test]
    fn a_name_is_one_part_of_a_key() {
        let key = |user: &str| Pattern::new(KEY).unwrap().fill("a.example", user, encode);
        assert_eq!(key("alice"), "sub:a.example:alice");
        assert_eq!(key("+49 30 o'brien"), "sub:a.example:+49 30 o'brien");
        // Neither another's key, nor two users with one.
        assert_eq!(key("bob:bindings"), "sub:a.example:bob%3Abindings");
        assert_eq!(key("bob%3Abindings"), "sub:a.example:bob%253Abindings");
        assert_eq!(key("{domain}*?[a]"), "sub:a.example:{domain}*?[a]");
    }
}
