//! The connection: to one server, or to a cluster of them.

use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::Client;
use redis::Cmd;
use redis::ErrorKind;
use redis::IntoConnectionInfo as _;
use redis::RedisResult;
use redis::Value;
use redis::cluster::ClusterClient;
use redis::cluster_routing::MultipleNodeRoutingInfo;
use redis::cluster_routing::RoutingInfo;
use redis::cluster_routing::SingleNodeRoutingInfo;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Options;
use crate::redis_link::Link;
use crate::redis_link::within;

/// How long a server has to answer. One in the same building does in less than a millisecond; one
/// that has not by now is as good as gone.
pub(super) const ANSWER: Duration = Duration::from_secs(1);

/// How often a cluster is asked again for one command: it may have moved the key.
const RETRIES: u32 = 2;

/// For so long after it could not be reached nobody else tries: each would wait as long.
const REFUSED: Duration = Duration::from_millis(500);

/// The servers, and the connection to them where there is one.
pub(super) struct Servers {
    /// As the operator knows them, without passwords.
    pub name: String,
    /// One by one.
    pub clients: Vec<Client>,
    cluster: Option<ClusterClient>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    refused: Option<(Instant, redis::RedisError)>,
}

impl std::fmt::Debug for Servers {
    /// Without passwords.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.name)
    }
}

impl Servers {
    /// Reads the addresses; nothing is connected yet.
    pub fn new(options: &Options) -> RedisResult<Servers> {
        if options.servers.is_empty() {
            let kind = ErrorKind::InvalidClientConfig;
            return Err((kind, "no server is named").into());
        }
        let servers = options.servers.iter().map(String::as_str);
        let clients: Vec<_> = servers
            .clone()
            .map(Client::open)
            .collect::<RedisResult<_>>()?;
        let names = clients.iter();
        let names: Vec<_> = names
            .map(|client| client.get_connection_info().addr().to_string())
            .collect();
        let nodes: Vec<_> = servers
            .map(|server| server.into_connection_info())
            .collect::<RedisResult<_>>()?;
        let cluster = options.is_cluster.then(|| {
            ClusterClient::builder(nodes)
                .retries(RETRIES)
                .connection_timeout(ANSWER)
                .response_timeout(ANSWER)
                .overall_response_timeout(Some(ANSWER))
                .build()
        });
        Ok(Servers {
            name: format!("Redis {}", names.join(", ")),
            clients,
            cluster: cluster.transpose()?,
            state: Mutex::default(),
        })
    }

    /// The connection; made where there is none.
    pub async fn link(&self) -> RedisResult<Link> {
        let mut state = self.state.lock().await;
        if let Some(link) = &state.link {
            return Ok(link.clone());
        }
        if let Some((when, error)) = &state.refused
            && when.elapsed() < REFUSED
        {
            return Err(error.clone());
        }
        match self.connect().await {
            Ok(link) => {
                state.link = Some(link.clone());
                state.refused = None;
                Ok(link)
            }
            Err(error) => {
                state.refused = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> RedisResult<Link> {
        if let Some(cluster) = &self.cluster {
            // It asks one node for the others, and connects to them.
            let connection = within(ANSWER * 2, cluster.get_async_connection());
            return Ok(Link::Cluster(connection.await?));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER))
            .set_response_timeout(Some(ANSWER));
        let mut refused = None;
        for client in &self.clients {
            match client
                .get_multiplexed_async_connection_with_config(&config)
                .await
            {
                Ok(connection) => return Ok(Link::Single(connection)),
                Err(error) => refused = Some(error),
            }
        }
        let none = || (ErrorKind::InvalidClientConfig, "no server is named").into();
        Err(refused.unwrap_or_else(none))
    }

    /// Gives `result`, and the connection up where that says that it is broken.
    pub async fn checked<T>(&self, result: RedisResult<T>) -> RedisResult<T> {
        if let Err(error) = &result
            && (error.is_unrecoverable_error() || error.is_timeout() || error.is_io_error())
        {
            self.state.lock().await.link = None;
        }
        result
    }
}

impl Link {
    /// Where keys are: the masters of a cluster, as `host:port`; else the one server, which has no name.
    pub async fn masters(&mut self) -> RedisResult<Vec<Option<(String, u16)>>> {
        let Link::Cluster(cluster) = self else {
            return Ok(vec![None]);
        };
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answers = cluster
            .route_command(redis::cmd("PING"), everywhere)
            .await?;
        let Value::Map(answers) = answers else {
            let kind = ErrorKind::UnexpectedReturnType;
            return Err((kind, "the cluster does not say which masters it has").into());
        };
        answers
            .into_iter()
            .map(|(master, _)| {
                let master: String = redis::from_redis_value(master)?;
                let (host, port) = master.rsplit_once(':').unwrap_or((&master, ""));
                let port = port
                    .parse()
                    .map_err(|_| (ErrorKind::UnexpectedReturnType, "a master has no port"))?;
                Ok(Some((host.to_owned(), port)))
            })
            .collect()
    }

    /// Asks one of [`Link::masters`].
    pub async fn ask(
        &mut self,
        master: Option<&(String, u16)>,
        command: Cmd,
    ) -> RedisResult<Value> {
        match (self, master) {
            (Link::Cluster(cluster), Some((host, port))) => {
                let (host, port) = (host.clone(), *port);
                let there = SingleNodeRoutingInfo::ByAddress { host, port };
                cluster
                    .route_command(command, RoutingInfo::SingleNode(there))
                    .await
            }
            (link, _) => command.query_async(link).await,
        }
    }
}
