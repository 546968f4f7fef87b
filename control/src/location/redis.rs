//! The store that several boxes share: Redis 7, one server or a cluster.
//!
//! A user's bindings are one hash, `location:{user@domain}`, a field a binding. A change is compared
//! and set by a script (`redis/write.lua`), so that an older one never replaces a later one, whichever
//! box comes first, and published on the channel `location`, so that every box hears of it. A store that
//! was emptied is known by the key `location:mark`, which is gone then. A field
//! says itself when its binding ends, and Redis forgets the hash when the last has. What orders the
//! REGISTERs of different Call-IDs is the boxes' time, which must agree: see the manual.

mod hearing;
mod link;
mod mark;
mod value;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::stream::BoxStream;
use redis::AsyncCommands as _;
use redis::RedisError;
use redis::RedisResult;
use redis::Script;

use self::link::Servers;
use super::record::Change;
use super::record::Key;
use super::record::Record;
use super::record::Removal;
use super::record::UnixMs;
use super::record::now_ms;
use super::record::whole_ms;
use super::store::Batch;
use super::store::Heard;
use super::store::Store;
use super::store::Unavailable;
use super::store::Written;
use crate::redis_link::Link;

/// Commands under way at once: as many as keep a server at work over a round trip.
const AT_ONCE: usize = 128;

/// Users of a page, about: Redis looks at so many keys at a time, and answers others in between.
const PAGE: usize = 256;

/// What has ended is kept so much longer, in case clocks differ: a binding must not end in Redis
/// before it ends in a box.
pub const SLACK: Duration = Duration::from_secs(60);

/// A user that there is nowhere (RFC 2606 §2).
const NOBODY: (&str, &[u8]) = ("nowhere.invalid", b"nobody");

/// Removals that are remembered of a user at most. A device has a few bindings; one that makes and
/// ends them without pause must not fill the memory.
pub const REMOVALS_MAX: usize = 16;

static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/write.lua")));

/// Where the servers are, and how they are used.
#[derive(Clone, Debug)]
pub struct Options {
    /// As `redis://[user:password@]host:port`. Of a cluster some nodes; else one, or several of which
    /// the first that answers is taken.
    pub servers: Vec<String>,
    /// They are a cluster.
    pub is_cluster: bool,
    /// What all keys begin with, and the channel's name. Registrars that share servers and not
    /// bindings have different ones.
    pub prefix: String,
    /// How long a removal is remembered, so that no write from before undoes it: the longest lifetime
    /// that is granted.
    pub remember: Duration,
}

/// Why the options make no sense.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// An address.
    #[error("the servers of the location store: {0}. Write each as redis://host:port")]
    Servers(RedisError),
    /// The prefix.
    #[error("the prefix {0:?} of the location store: use letters, digits, '.', ':', '_' and '-'")]
    Prefix(String),
    /// No randomness.
    #[error("the kernel gives no random bytes: {0}")]
    Random(String),
}

/// The store.
#[derive(Debug)]
pub struct Redis {
    servers: Arc<Servers>,
    names: Names,
    remember_ms: UnixMs,
}

/// What things are called there.
#[derive(Clone, Debug)]
struct Names {
    prefix: String,
    /// Ours, by which we know what we have published.
    origin: [u8; 8],
}

impl Names {
    /// The braces make the user, and nothing else, what a cluster places the key by.
    fn key(&self, domain: &str, user: &[u8]) -> Vec<u8> {
        let prefix = self.prefix.as_bytes();
        [prefix, b":{", user, b"@", domain.as_bytes(), b"}"].concat()
    }

    /// The domain and the user of a key.
    fn user_of<'k>(&self, key: &'k [u8]) -> Option<(&'k str, &'k [u8])> {
        let key = key.strip_prefix(self.prefix.as_bytes())?;
        let key = key.strip_prefix(b":{")?.strip_suffix(b"}")?;
        // No domain has an at sign.
        let at = key.iter().rposition(|&byte| byte == b'@')?;
        let (user, domain) = key.split_at(at);
        Some((std::str::from_utf8(&domain[1..]).ok()?, user))
    }

    fn channel(&self) -> &str {
        &self.prefix
    }
}

impl Redis {
    /// Reads the options; nothing is connected before the first use.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn new(options: &Options) -> Result<Redis, OptionsError> {
        let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
        if options.prefix.is_empty() || !options.prefix.bytes().all(may_be) {
            return Err(OptionsError::Prefix(options.prefix.clone()));
        }
        let mut origin = [0; 8];
        getrandom::fill(&mut origin).map_err(|error| OptionsError::Random(error.to_string()))?;
        Ok(Redis {
            servers: Arc::new(Servers::new(options).map_err(OptionsError::Servers)?),
            names: Names {
                prefix: options.prefix.clone(),
                origin,
            },
            remember_ms: whole_ms(options.remember),
        })
    }

    /// What `result` says, and what is to be told of its error.
    async fn answer<T>(&self, result: RedisResult<T>) -> Result<T, Unavailable> {
        let result = self.servers.checked(result).await;
        result.map_err(|error| Unavailable {
            store: self.servers.name.clone(),
            reason: error.to_string(),
        })
    }

    /// Writes the changes of each user at once. Users come in any order: each has a key.
    async fn write_all(&self, batch: &Batch) -> RedisResult<Written> {
        let link = self.servers.link().await?;
        let mut all = Written::default();
        let mut users: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        for change in batch {
            let Some(value) = value::encode(change, self.remember_ms) else {
                all.refused += 1;
                continue;
            };
            let key = self.names.key(change.domain(), change.user());
            let fields = users.entry(key).or_default();
            fields.push(change.key().bytes().to_vec());
            fields.push(value);
        }
        let writes = users
            .into_iter()
            .map(|(key, fields)| self.write_user(link.clone(), key, fields));
        let mut writes = stream::iter(writes).buffer_unordered(AT_ONCE);
        while let Some(written) = writes.next().await {
            let written = written?;
            all.stale += written.stale;
            all.refused += written.refused;
        }
        Ok(all)
    }

    async fn write_user(
        &self,
        mut link: Link,
        key: Vec<u8>,
        fields: Vec<Vec<u8>>,
    ) -> RedisResult<Written> {
        let changes = fields.len() / 2;
        let mut write = WRITE.prepare_invoke();
        write
            .key(&key)
            .arg(now_ms())
            .arg(whole_ms(SLACK))
            .arg(REMOVALS_MAX);
        write.arg(self.names.channel()).arg(&self.names.origin[..]);
        for part in fields {
            write.arg(part);
        }
        match write.invoke_async(&mut link).await {
            Ok(stale) => Ok(Written { stale, refused: 0 }),
            // Something that is not ours has this key, and it would stay in the way for ever.
            Err(error) if error.code() == Some("WRONGTYPE") => {
                let key = key.escape_ascii();
                tracing::error!(
                    "{}: the key {key} holds something else: {error}",
                    self.servers.name
                );
                Ok(Written {
                    stale: 0,
                    refused: changes,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// The bindings of a key that have not ended, and the removals that are remembered.
    async fn read_user(&self, mut link: Link, key: Vec<u8>) -> RedisResult<Vec<Change>> {
        let Some((domain, user)) = self.names.user_of(&key) else {
            return Ok(Vec::new());
        };
        let fields: RedisResult<Vec<(Vec<u8>, Vec<u8>)>> = link.hgetall(&key).await;
        let fields = match fields {
            Err(error) if error.code() == Some("WRONGTYPE") => Vec::new(),
            fields => fields?,
        };
        let now = now_ms();
        let decoded = fields
            .into_iter()
            .filter_map(|(field, value)| value::decode(domain, user, &field, &value));
        let has_ended =
            |change: &Change| matches!(change, Change::Put(record) if record.expires_ms <= now);
        Ok(decoded.filter(|change| !has_ended(change)).collect())
    }

    /// The next page after `place`; none where there are no more.
    async fn page(&self, place: Place) -> RedisResult<Option<(Vec<Change>, Place)>> {
        let mut link = self.servers.link().await?;
        let mut place = match place {
            Place::Start => Place::At(0, link.masters().await?),
            place => place,
        };
        let Place::At(cursor, masters) = &mut place else {
            return Ok(None);
        };
        let Some(master) = masters.last() else {
            return Ok(None);
        };
        let mut scan = redis::cmd("SCAN");
        scan.arg(*cursor)
            .arg("MATCH")
            .arg(format!("{}:{{*", self.names.prefix));
        scan.arg("COUNT").arg(PAGE);
        let answer = link.ask(master.as_ref(), scan).await?;
        let (next, keys): (u64, Vec<Vec<u8>>) = redis::from_redis_value(answer)?;
        if next == 0 {
            masters.pop();
        }
        *cursor = next;
        let reads = keys
            .into_iter()
            .map(|key| self.read_user(link.clone(), key));
        let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        let mut page = Vec::new();
        while let Some(changes) = reads.next().await {
            page.extend(changes?);
        }
        drop(reads);
        Ok(Some((page, place)))
    }
}

/// How far a load has come.
enum Place {
    Start,
    /// At this cursor of the last of these masters.
    At(u64, Vec<Option<(String, u16)>>),
}

impl Store for Redis {
    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<Written, Unavailable>> {
        async move { self.answer(self.write_all(&batch).await).await }.boxed()
    }

    /// A removal that has long been forgotten: it takes every right that a change takes, and the script that writes
    /// it takes it away again.
    fn check(&self) -> BoxFuture<'_, Result<(), Unavailable>> {
        let removal = Removal {
            domain: NOBODY.0.to_owned(),
            user: NOBODY.1.to_vec(),
            key: Key::from_bytes(Vec::new()),
            cseq: 0,
            call_id: 0,
            granted_ms: 0,
        };
        let written = self.write(vec![Arc::new(Change::Remove(removal))]);
        async move { written.await.map(drop) }.boxed()
    }

    fn load(&self) -> BoxStream<'_, Result<Vec<Change>, Unavailable>> {
        let pages = stream::try_unfold(Place::Start, move |place| async move {
            self.answer(self.page(place).await).await
        });
        pages.boxed()
    }

    fn find<'s>(
        &'s self,
        domain: &'s str,
        user: &'s [u8],
    ) -> BoxFuture<'s, Result<Vec<Record>, Unavailable>> {
        let found = async move {
            let link = self.servers.link().await?;
            let changes = self.read_user(link, self.names.key(domain, user)).await?;
            Ok(changes.into_iter().filter_map(Change::put).collect())
        };
        async move { self.answer(found.await).await }.boxed()
    }

    fn watch(&self) -> BoxStream<'static, Heard> {
        let heard = watch::start(Arc::clone(&self.servers), self.names.clone());
        stream::unfold(heard, async |mut heard| Some((heard.recv().await?, heard))).boxed()
    }

    fn silent(&self) -> Option<String> {
        self.servers.hearing.silent()
    }
}

#[cfg(test)]
mod tests;
