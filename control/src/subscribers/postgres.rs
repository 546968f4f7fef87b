//! Subscribers in a PostgreSQL database, or in several of them.
//!
//! Each server has a pool of connections that are made when they are first needed and kept, with the query
//! prepared once on each. A connection on which a question was not answered is closed: the next question would
//! wait behind that answer.

mod listen;

use std::fmt;
use std::time::Duration;

use deadpool_postgres::Manager;
use deadpool_postgres::ManagerConfig;
use deadpool_postgres::Object;
use deadpool_postgres::Pool;
use deadpool_postgres::PoolError;
use deadpool_postgres::RecyclingMethod;
use futures_util::future::BoxFuture;
use tokio_postgres::Column;
use tokio_postgres::Config;
use tokio_postgres::NoTls;
use tokio_postgres::Row;
use tokio_postgres::config::Host;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::FromSql;
use tokio_postgres::types::ToSql;
use tokio_postgres::types::Type;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::ha1::Ha1s;

use super::guarded::Guarded;
use super::guarded::Server;
use super::guarded::reason;
use super::ha1s;
use super::sharded::Sharded;

pub use self::listen::Channel;

/// The query where none is configured.
pub const QUERY: &str = "SELECT ha1_md5, ha1_sha256, ha1_sha512_256 FROM subscriber \
                         WHERE username = $1 AND domain = $2";

/// The channel where none is configured.
pub const CHANNEL: &str = "trunkline_forget";

/// The store: one server, or several, each with its share of the users ([`super::sharded`]).
pub type Store = Sharded<Guarded<Postgres>>;

/// How the servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A query that gives no row where there is no such user, else one row with one to three columns: the
    /// HA1s of MD5, SHA-256, and SHA-512-256, as text in hexadecimal digits or as `bytea`, `NULL` (or empty)
    /// where there is none. `$1` is the user, `$2` the domain; it may do without the latter.
    pub query: String,
    /// The most connections to one server.
    pub connections: usize,
    /// The longest wait for an answer, that for a connection included.
    pub patience: Duration,
}

/// The store of these servers (`postgres://user:password@host:port/database`).
///
/// # Errors
/// What is wrong with which.
pub fn open(urls: &[String], options: &Options) -> Result<Store, String> {
    let servers = urls.iter().map(|url| {
        let server = Postgres::new(url, options)?;
        Ok(Guarded::new(server, options.patience))
    });
    Sharded::new(servers.collect::<Result<_, String>>()?)
}

/// One server.
pub struct Postgres {
    name: String,
    config: Config,
    pool: Pool,
    query: String,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

impl Postgres {
    fn new(url: &str, options: &Options) -> Result<Postgres, String> {
        let (name, config) = read(url, options.patience)?;
        let manager = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config.clone(), NoTls, manager);
        let pool = Pool::builder(manager).max_size(options.connections.max(1));
        Ok(Postgres {
            pool: pool.build().map_err(reason)?,
            query: options.query.clone(),
            name,
            config,
        })
    }

    async fn look_up(&self, domain: &str, user: &str) -> Result<Known, String> {
        let client = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => reason(error),
            error => error.to_string(),
        })?;
        let client = Lent(Some(client));
        let row = client.find(&self.query, &[&user, &domain]).await?;
        client.give_back();
        match row {
            Some(row) => Ok(Known::Subscriber(ha1s_of(&row)?)),
            None => Ok(Known::Nobody),
        }
    }
}

/// What the URL of a server says, and what the operator knows it by.
fn read(url: &str, patience: Duration) -> Result<(String, Config), String> {
    // What the library says of it has no part of it, and so no password.
    let mut config: Config = url.parse().map_err(reason)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("the URL names no host".to_owned());
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err(
            "TLS is not spoken here: leave sslmode out, and let a proxy beside trunklined speak TLS"
                .to_owned(),
        );
    }
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs()[0].to_string(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    config
        .application_name("trunkline")
        .connect_timeout(patience)
        .tcp_user_timeout(patience);
    Ok((format!("PostgreSQL at {host}:{port}"), config))
}

impl Server for Postgres {
    fn name(&self) -> &str {
        &self.name
    }

    fn ask<'s>(&'s self, domain: &'s str, user: &'s str) -> BoxFuture<'s, Result<Known, String>> {
        Box::pin(self.look_up(domain, user))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            // Those that are idle may be as dead as the one that was not answered.
            drop(self.pool.retain(|_, _| false));
            let (client, connection) = match self.config.connect(NoTls).await {
                Ok(connected) => connected,
                // It is well, and all that it has are in use.
                Err(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => {
                    return Ok(());
                }
                Err(error) => return Err(reason(error)),
            };
            tokio::select! {
                pinged = client.simple_query("") => pinged.map(drop).map_err(reason),
                ended = connection => Err(ended.map_or_else(reason, |()| "it hung up".to_owned())),
            }
        })
    }
}

/// A connection of the pool: closed, unless it is given back.
struct Lent(Option<Object>);

impl Lent {
    async fn find(
        &self,
        query: &str,
        names: &[&(dyn ToSql + Sync); 2],
    ) -> Result<Option<Row>, String> {
        let Some(client) = &self.0 else {
            return Ok(None);
        };
        let statement = client.prepare_cached(query).await.map_err(reason)?;
        fit(statement.columns())?;
        // A query for the domains of one database does not ask for the domain.
        let asked = statement.params().len().clamp(1, names.len());
        let row = client.query_opt(&statement, &names[..asked]).await;
        row.map_err(reason)
    }

    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

/// Whether these are HA1s, as far as can be said without one: it shows before there is a user.
fn fit(columns: &[Column]) -> Result<(), String> {
    if !(1..=Algorithm::ALL.len()).contains(&columns.len()) {
        return Err(format!(
            "the query gives {} columns; one to three are known",
            columns.len()
        ));
    }
    let is_known = |of: &Type| *of == Type::BYTEA || <&str as FromSql>::accepts(of);
    match columns.iter().find(|column| !is_known(column.type_())) {
        Some(odd) => Err(format!(
            "the column \"{}\" of the query is {}, which is neither text nor bytea",
            odd.name(),
            odd.type_()
        )),
        None => Ok(()),
    }
}

fn ha1s_of(row: &Row) -> Result<Ha1s, String> {
    let mut ha1s = Ha1s::default();
    for (at, algorithm) in (0..row.len()).zip(Algorithm::ALL) {
        if *row.columns()[at].type_() != Type::BYTEA {
            let digits: Option<&str> = row.try_get(at).map_err(reason)?;
            ha1s::set(&mut ha1s, algorithm, digits.unwrap_or_default().as_bytes())?;
            continue;
        }
        let bytes: Option<&[u8]> = row.try_get(at).map_err(reason)?;
        match bytes.unwrap_or_default() {
            ha1 if ha1.len() == algorithm.hash_len() => ha1s.set(algorithm, ha1),
            digits => ha1s::set(&mut ha1s, algorithm, digits)?,
        }
    }
    Ok(ha1s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_host_and_port_and_not_by_its_password() {
        let patience = Duration::from_secs(1);
        let name = |url| read(url, patience).map(|(name, _)| name);
        let plain = name("postgres://sip:secret@db1.example:5433/sip");
        assert_eq!(plain.unwrap(), "PostgreSQL at db1.example:5433");
        let socket = name("host=/run/postgresql user=sip password=secret");
        assert_eq!(socket.unwrap(), "PostgreSQL at /run/postgresql:5432");
        for wrong in [
            "postgres://sip:secret@db1.example:port/sip",
            "postgres://sip:secret@db1.example/sip?what=secret",
            "postgres:///sip",
            "postgres://sip:secret@db1.example/sip?sslmode=require",
        ] {
            let error = name(wrong).unwrap_err();
            assert!(!error.is_empty() && !error.contains("secret"), "{error}");
        }
    }
}
