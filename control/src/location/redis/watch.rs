//! What other boxes publish: a subscription that is made anew whenever it breaks.

use std::sync::Arc;

use redis::Client;
use redis::RedisResult;
use tokio::sync::mpsc;

use super::NOBODY;
use super::Names;
use super::link::ANSWER;
use super::link::Servers;
use super::mark;
use super::value;
use super::value::Reader;
use crate::backoff::Backoff;
use crate::location::record::Change;
use crate::location::store::Heard;
use crate::redis_link::Subscription;

/// What may wait for the reader: two seconds of a storm.
const WAITING: usize = 4096;

/// Begins to listen; what is heard comes out of the other end, and when that is dropped it ends.
pub(super) fn start(servers: Arc<Servers>, names: Names) -> mpsc::Receiver<Heard> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let marked = mark::watch(Arc::clone(&servers), names.clone(), sender.clone());
    tokio::spawn(marked);
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
                ended = self.subscribe(&servers, client, &mut backoff) => if let Err(error) = ended {
                    servers.hearing.lost(&servers.name, error.to_string());
                },
            }
            self.missed = true;
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    async fn subscribe(
        &mut self,
        servers: &Servers,
        client: &Client,
        backoff: &mut Backoff,
    ) -> RedisResult<()> {
        let mut subscription = Subscription::open(client, self.names.channel(), ANSWER).await?;
        // From here on nothing is missed.
        *backoff = Backoff::default();
        servers.hearing.found(&servers.name);
        let sender = self.sender.clone();
        loop {
            tokio::select! {
                message = subscription.next() => self.hear(message?.get_payload_bytes()),
                room = sender.reserve(), if self.missed => if let Ok(room) = room {
                    room.send(Heard::Gap);
                    self.missed = false;
                },
            }
        }
    }

    fn hear(&mut self, message: &[u8]) {
        if message.starts_with(&self.names.origin) {
            return;
        }
        match published(&self.names, message) {
            Some(change) => self.tell(Heard::Changed(Box::new(change))),
            None => tracing::debug!(
                "{}: nothing of ours was published there",
                self.names.channel()
            ),
        }
    }

    /// Passes it on; what finds no room, and what comes after it, is a gap.
    fn tell(&mut self, heard: Heard) {
        self.missed = self.missed || self.sender.try_send(heard).is_err();
    }
}

/// What write.lua has published; none where it is not of its making.
fn published(names: &Names, message: &[u8]) -> Option<Change> {
    let mut rest = Reader(message);
    let _origin = rest.number::<8>()?;
    let (key, field) = (rest.text()?, rest.text()?);
    let (domain, user) = names.user_of(&key)?;
    // Another box has found out whether it may write.
    if domain == NOBODY.0 {
        return None;
    }
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
    fn what_a_slow_reader_has_no_room_for_is_a_gap() {
        let (mut listener, mut receiver) = listener(2);
        let record = binding("sip:a@192.0.2.1");
        let change = |cseq| {
            let record = record.clone();
            Heard::Changed(Box::new(Change::Put(Record { cseq, ..record })))
        };
        for cseq in 1..=3 {
            listener.tell(change(cseq));
        }
        assert_eq!(all(&mut receiver), [change(1), change(2)]);
        assert!(listener.missed, "the third found no room");
        // The gap is told first, and stands for it too.
        listener.tell(change(4));
        assert_eq!(all(&mut receiver), []);
    }
}
