//! PostgreSQL tells of changes on a channel: `NOTIFY trunkline_forget, 'alice@example.com'`, best from a
//! trigger of the table.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::AsyncMessage;
use tokio_postgres::Config;
use tokio_postgres::Connection;
use tokio_postgres::NoTls;
use tokio_postgres::Socket;
use tokio_postgres::tls::NoTlsStream;

use crate::subscribers::forget;
use crate::subscribers::forget::Forget;
use crate::subscribers::forget::Source;
use crate::subscribers::guarded::reason;
use crate::subscribers::guarded::within;

/// The longest name of a channel, in bytes: PostgreSQL cuts what is longer.
const CHANNEL_LEN_MAX: usize = 63;

/// A channel of a server.
pub struct Channel {
    name: String,
    config: Config,
    channel: String,
    patience: Duration,
}

impl fmt::Debug for Channel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)
    }
}

impl Channel {
    /// The channel of this name of the server at `url`.
    ///
    /// # Errors
    /// What is wrong with the URL, or with the name.
    pub fn new(url: &str, channel: &str, patience: Duration) -> Result<Channel, String> {
        if channel.is_empty()
            || channel.len() > CHANNEL_LEN_MAX
            || channel.contains(char::is_control)
        {
            return Err(format!(
                "{channel:?} is no channel: it has 1 to {CHANNEL_LEN_MAX} bytes, none of them a control character"
            ));
        }
        let (name, config) = super::read(url, patience)?;
        Ok(Channel {
            name,
            config,
            channel: channel.to_owned(),
            patience,
        })
    }

    /// Tells `out` what to forget, for as long as someone listens to it.
    pub async fn follow(self, out: mpsc::Sender<Forget>) {
        forget::follow(&self, &out).await;
    }

    async fn hear(&self, out: &mpsc::Sender<Forget>) -> Result<Infallible, String> {
        let connect = async { self.config.connect(NoTls).await.map_err(reason) };
        let (client, connection) = within(self.patience, connect).await?;
        let (heard, mut told) = mpsc::channel(64);
        // It ends with this function.
        let mut reader = JoinSet::new();
        reader.spawn(read(connection, heard));
        let ask = async |query: &str| {
            let asked = async { client.batch_execute(query).await.map_err(reason) };
            within(self.patience, asked).await
        };
        ask(&listen(&self.channel)).await?;
        forget::send(Forget::All, out).await?;
        loop {
            match timeout(forget::SILENCE, told.recv()).await {
                Ok(Some(told)) => forget::tell(self, &told, out).await?,
                Ok(None) => return Err("the connection has ended".to_owned()),
                Err(_) => ask("").await?,
            }
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

fn listen(channel: &str) -> String {
    format!("LISTEN \"{}\"", channel.replace('"', "\"\""))
}

/// Reads all that comes; what answers a question goes to who asked it, notifications to `heard`.
async fn read(mut connection: Connection<Socket, NoTlsStream>, heard: mpsc::Sender<String>) {
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(told))) => {
                if heard.send(told.payload().to_owned()).await.is_err() {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_channel_stays_a_name() {
        assert_eq!(listen("trunkline_forget"), "LISTEN \"trunkline_forget\"");
        assert_eq!(
            listen("a\"; DROP TABLE x"),
            "LISTEN \"a\"\"; DROP TABLE x\""
        );
        let channel = |name| Channel::new("postgres://h/d", name, Duration::from_secs(1));
        assert!(channel("it's \"mine\"").is_ok());
        for wrong in ["", "a\0b", "a\nb", &"a".repeat(64)] {
            assert!(channel(wrong).is_err(), "{wrong:?}");
        }
    }
}
