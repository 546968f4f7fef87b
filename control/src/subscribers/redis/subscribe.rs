//! Redis tells of changes on a channel: `PUBLISH trunkline:forget alice@example.com`, from whoever changed
//! the subscriber. A cluster passes it on to all of its nodes, so any of them will do.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Client;
use tokio::sync::mpsc;

use crate::redis_link::Subscription;
use crate::subscribers::forget;
use crate::subscribers::forget::Forget;
use crate::subscribers::forget::Source;
use crate::subscribers::guarded::reason;

/// A channel of a server, or of the nodes of a cluster.
pub struct Channel {
    name: String,
    nodes: Vec<Client>,
    /// Which of them is asked next.
    next: AtomicUsize,
    channel: String,
    patience: Duration,
}

impl fmt::Debug for Channel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

impl Channel {
    /// The channel of this name of the servers at `urls`.
    ///
    /// # Errors
    /// What is wrong with a URL, or that there is none.
    pub fn new(urls: &[String], channel: &str, patience: Duration) -> Result<Channel, String> {
        let nodes = super::clients(urls)?;
        Ok(Channel {
            name: format!("Redis at {}", super::address(&nodes[0])),
            nodes,
            next: AtomicUsize::new(0),
            channel: channel.to_owned(),
            patience,
        })
    }

    /// Tells `out` what to forget, for as long as someone listens to it.
    pub async fn follow(self, out: mpsc::Sender<Forget>) {
        forget::follow(&self, &out).await;
    }

    async fn hear(&self, out: &mpsc::Sender<Forget>) -> Result<Infallible, String> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.nodes.len();
        let node = &self.nodes[next];
        let subscription = Subscription::open(node, &self.channel, self.patience).await;
        let mut subscription = subscription.map_err(reason)?;
        forget::send(Forget::All, out).await?;
        loop {
            let told = subscription.next().await.map_err(reason)?;
            let told = String::from_utf8_lossy(told.get_payload_bytes());
            forget::tell(self, &told, out).await?;
        }
    }
}

impl Source for Channel {
    fn name(&self) -> &str {
        &self.name
    }

    fn listen<'s>(
        &'s self,
        out: &'s mpsc::Sender<Forget>,
    ) -> BoxFuture<'s, Result<Infallible, String>> {
        Box::pin(self.hear(out))
    }
}
