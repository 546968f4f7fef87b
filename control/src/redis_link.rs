//! Connections to Redis, as the stores of subscribers and of bindings have them.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::Client;
use redis::Cmd;
use redis::ErrorKind;
use redis::Msg;
use redis::Pipeline;
use redis::RedisFuture;
use redis::RedisResult;
use redis::Value;
use redis::aio::ConnectionLike;
use redis::aio::MultiplexedConnection;
use redis::aio::PubSubSink;
use redis::aio::PubSubStream;
use redis::cluster_async::ClusterConnection;

/// How long a channel is silent before the server is asked whether it is still there: a subscription
/// that is dead looks like one on which nobody speaks.
const SILENCE: Duration = Duration::from_secs(10);

/// A connection, to a server or to a cluster, that many may use at once.
#[derive(Clone)]
pub enum Link {
    /// To one server.
    Single(MultiplexedConnection),
    /// To all of them.
    Cluster(ClusterConnection),
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Link::Single(connection) => connection.req_packed_command(command),
            Link::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Link::Single(connection) => connection.req_packed_commands(commands, offset, count),
            Link::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Link::Single(connection) => connection.get_db(),
            Link::Cluster(connection) => connection.get_db(),
        }
    }
}

/// What is published on a channel.
pub struct Subscription {
    asking: PubSubSink,
    messages: PubSubStream,
    patience: Duration,
}

impl Subscription {
    /// Subscribes; nothing is missed from then on. `patience` is how long the server may take to answer.
    ///
    /// # Errors
    /// What it says, or that it says nothing.
    pub async fn open(
        client: &Client,
        channel: &str,
        patience: Duration,
    ) -> RedisResult<Subscription> {
        let subscribe = async {
            let mut subscription = client.get_async_pubsub().await?;
            subscription.subscribe(channel).await?;
            Ok(subscription.split())
        };
        let (asking, messages) = within(patience, subscribe).await?;
        Ok(Subscription {
            asking,
            messages,
            patience,
        })
    }

    /// The next message.
    ///
    /// # Errors
    /// There will be none: the server is gone.
    pub async fn next(&mut self) -> RedisResult<Msg> {
        loop {
            match tokio::time::timeout(SILENCE, self.messages.next()).await {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => return Err((ErrorKind::Io, "the connection has ended").into()),
                Err(_) => {
                    within(self.patience, self.asking.ping::<Value>()).await?;
                }
            }
        }
    }
}

/// What `asked` gives, if it does in `time`.
pub async fn within<T>(
    time: Duration,
    asked: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    let answer = tokio::time::timeout(time, asked).await;
    answer.unwrap_or_else(late)
}
