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
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::MultipleNodeRoutingInfo;
use redis::cluster_routing::RoutingInfo;
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::io::tcp::TcpSettings;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Options;
use super::hearing::Hearing;
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
    /// Whether they tell what others write.
    pub hearing: Hearing,
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
        let nodes: Vec<_> = servers
            .map(|server| Ok(server.into_connection_info()?.set_tcp_settings(tcp())))
            .collect::<RedisResult<_>>()?;
        let clients = nodes.iter().cloned().map(Client::open);
        let clients: Vec<_> = clients.collect::<RedisResult<_>>()?;
        let names = clients.iter();
        let names: Vec<_> = names
            .map(|client| client.get_connection_info().addr().to_string())
            .collect();
        let cluster = options.is_cluster.then(|| {
            ClusterClient::builder(nodes)
                .tcp_settings(tcp())
                .retries(RETRIES)
                .connection_timeout(ANSWER)
                .response_timeout(ANSWER)
                .overall_response_timeout(Some(ANSWER))
                .build()
        });
        Ok(Servers {
            name: format!("Redis {}", names.join(", ")),
            clients,
            hearing: Hearing::default(),
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

/// A connection that is given up says nothing any more. Otherwise the kernel goes on sending what was
/// written on it, and a change arrives after later ones of another connection: a store that was
/// emptied in between does not know that it is the older.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_linger_time(Duration::ZERO)
}

impl Link {
    /// By what each master of a cluster is known, which is another one after its restart; of one server
    /// nothing: who listens to it hears its end.
    pub async fn run_ids(&mut self) -> RedisResult<Vec<String>> {
        let Link::Cluster(cluster) = self else {
            return Ok(Vec::new());
        };
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let answers = all_masters(cluster, info).await?;
        let id_of = |said: Value| -> RedisResult<String> {
            let said: String = redis::from_redis_value(said)?;
            let id = said.lines().find_map(|line| line.strip_prefix("run_id:"));
            Ok(id.unwrap_or_default().trim().to_owned())
        };
        let mut ids = answers
            .into_iter()
            .map(|(_, said)| id_of(said))
            .collect::<RedisResult<Vec<_>>>()?;
        ids.sort();
        Ok(ids)
    }

    /// Where keys are: the masters of a cluster, as `host:port`; else the one server, which has no name.
    pub async fn masters(&mut self) -> RedisResult<Vec<Option<(String, u16)>>> {
        let Link::Cluster(cluster) = self else {
            return Ok(vec![None]);
        };
        let answers = all_masters(cluster, redis::cmd("PING")).await?;
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

/// What each master of a cluster answers, by its `host:port`.
async fn all_masters(
    cluster: &mut ClusterConnection,
    command: Cmd,
) -> RedisResult<Vec<(Value, Value)>> {
    let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    match cluster.route_command(command, everywhere).await? {
        Value::Map(answers) => Ok(answers),
        _ => {
            let kind = ErrorKind::UnexpectedReturnType;
            Err((kind, "the cluster does not say which masters it has").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_was_written_on_a_connection_that_is_given_up_is_not_sent_any_more() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let servers = Servers::new(&Options {
            servers: vec![format!("redis://{}", server.local_addr().unwrap())],
            is_cluster: false,
            prefix: "location".to_owned(),
            remember: Duration::from_secs(3600),
        });
        let servers = servers.unwrap();
        let serve = async {
            let (mut connection, _) = server.accept().await.unwrap();
            let mut room = [0; 4096];
            // Its name and its version, with which a client begins.
            assert!(connection.read(&mut room).await.unwrap() > 0);
            connection.write_all(b"+OK\r\n+OK\r\n").await.unwrap();
            connection
        };
        let (mut connection, link) = tokio::join!(serve, servers.link());
        drop(link.unwrap());
        let late = Err(io::Error::from(io::ErrorKind::TimedOut).into());
        servers.checked::<()>(late).await.unwrap_err();
        // An orderly end would come after all that was written.
        let end = connection.read(&mut [0; 4096]).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
