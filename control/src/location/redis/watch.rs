//! What other boxes publish: a subscription that is made anew whenever it breaks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::Client;
use redis::ErrorKind;
use redis::RedisResult;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::MissedTickBehavior;

use super::Names;
use super::link::ANSWER;
use super::link::Servers;
use super::link::within;
use super::value;
use super::value::Reader;
use crate::backoff::Backoff;
use crate::location::record::Change;
use crate::location::store::Heard;

/// What may wait for the reader: two seconds of a storm.
const WAITING: usize = 4096;

/// How often the server is asked whether it is still there: a subscription that is dead looks like
/// one on which nobody speaks.
const PING: Duration = Duration::from_secs(5);

/// Begins to listen; what is heard comes out of the other end, and when that is dropped it ends.
pub(super) fn start(servers: Arc<Servers>, names: Names) -> mpsc::Receiver<Heard> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let listener = Listener {
        names,
        sender,
        missed: true,
    };
    tokio::spawn(listener.listen(servers));
    receiver
}

struct Listener {
    names: Names,
    sender: mpsc::Sender<Heard>,
    /// A gap is still to be told.
    missed: bool,
}

impl Listener {
    async fn listen(mut self, servers: Arc<Servers>) {
        let mut backoff = Backoff::default();
        // Any node of a cluster hears all.
        for client in servers.clients.iter().cycle() {
            let gone = self.sender.clone();
            tokio::select! {
                () = gone.closed() => return,
                ended = self.subscribe(client, &mut backoff) => if let Err(error) = ended {
                    tracing::debug!("{}: the subscription has ended: {error}", servers.name);
                },
            }
            self.missed = true;
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    async fn subscribe(&mut self, client: &Client, backoff: &mut Backoff) -> RedisResult<()> {
        let mut subscription = within(ANSWER, client.get_async_pubsub()).await?;
        within(ANSWER, subscription.subscribe(self.names.channel())).await?;
        // From here on nothing is missed.
        *backoff = Backoff::default();
        self.tell(None);
        let (mut asking, mut messages) = subscription.split();
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else {
                        return Err((ErrorKind::Io, "the server has closed it").into());
                    };
                    self.hear(message.get_payload_bytes());
                }
                _ = ping.tick() => {
                    within(ANSWER, asking.ping::<redis::Value>()).await?;
                    self.tell(None);
                }
            }
        }
    }

    fn hear(&mut self, message: &[u8]) {
        if message.starts_with(&self.names.origin) {
            return;
        }
        match published(&self.names, message) {
            Some(change) => self.tell(Some(Heard::Changed(Box::new(change)))),
            None => tracing::debug!(
                "{}: nothing of ours was published there",
                self.names.channel()
            ),
        }
    }

    /// Passes on what is still to be told, and `heard`. What finds no room is a gap.
    fn tell(&mut self, heard: Option<Heard>) {
        let gap = self.missed.then_some(Heard::Gap);
        for heard in gap.into_iter().chain(heard) {
            match self.sender.try_send(heard) {
                Ok(()) => self.missed = false,
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                    self.missed = true;
                    return;
                }
            }
        }
    }
}

/// What write.lua has published; none where it is not of its making.
fn published(names: &Names, message: &[u8]) -> Option<Change> {
    let mut rest = Reader(message);
    let _origin = rest.number::<8>()?;
    let (key, field) = (rest.text()?, rest.text()?);
    let (domain, user) = names.user_of(&key)?;
    value::decode(domain, user, &field, rest.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::record::Record;
    use crate::location::record::tests::binding;

    fn listener(room: usize) -> (Listener, mpsc::Receiver<Heard>) {
        let (sender, receiver) = mpsc::channel(room);
        let names = Names {
            prefix: "location".to_owned(),
            origin: [7; 8],
        };
        let missed = false;
        let listener = Listener {
            names,
            sender,
            missed,
        };
        (listener, receiver)
    }

    fn all(receiver: &mut mpsc::Receiver<Heard>) -> Vec<Heard> {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn what_others_say_is_heard_and_our_own_and_nonsense_are_not() {
        let (mut listener, mut receiver) = listener(8);
        let change = Change::Put(binding("sip:a@192.0.2.1"));
        let message = |origin: u8| {
            let mut message = vec![origin; 8];
            let key = listener.names.key(change.domain(), change.user());
            for text in [&key[..], change.key().bytes()] {
                message.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
                message.extend(text);
            }
            message.extend(value::encode(&change, 0).unwrap());
            message
        };
        let (ours, others) = (message(7), message(8));
        listener.hear(&ours);
        for len in 0..others.len() {
            listener.hear(&others[..len]);
        }
        listener.hear(&others);
        assert_eq!(all(&mut receiver), [Heard::Changed(Box::new(change))]);
    }

    #[test]
    fn a_reader_that_is_slow_is_told_of_a_gap() {
        let (mut listener, mut receiver) = listener(2);
        let change = |cseq| {
            let record = binding("sip:a@192.0.2.1");
            Heard::Changed(Box::new(Change::Put(Record { cseq, ..record })))
        };
        for cseq in 1..=3 {
            listener.tell(Some(change(cseq)));
        }
        let cseq = |heard: &Heard| match heard {
            Heard::Changed(change) => match &**change {
                Change::Put(record) => Some(record.cseq),
                Change::Remove(_) => None,
            },
            Heard::Gap => None,
        };
        let heard = all(&mut receiver);
        assert_eq!(
            heard.iter().map(cseq).collect::<Vec<_>>(),
            [Some(1), Some(2)]
        );
        listener.tell(Some(change(4)));
        let heard = all(&mut receiver);
        assert_eq!(heard[0], Heard::Gap, "the third was missed");
        assert_eq!(heard[1..].iter().map(cseq).collect::<Vec<_>>(), [Some(4)]);
    }
}
