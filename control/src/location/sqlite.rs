//! The default store: one SQLite file in the state directory, for a box that shares its bindings with
//! no other. Whoever wants to know reads it with `sqlite3`, also while the daemon runs.
//!
//! A batch is one transaction, and synced ([`crate::sqlite`]). The changes of a binding come in their
//! order: nobody else writes.

use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::stream::BoxStream;
use rusqlite::Connection;
use rusqlite::OptionalExtension as _;
use rusqlite::Row;
use rusqlite::TransactionBehavior;
use rusqlite::params;

use super::record::Change;
use super::record::Key;
use super::record::Record;
use super::record::UnixMs;
use super::record::now_ms;
use super::store::Batch;
use super::store::Heard;
use super::store::Store;
use super::store::Unavailable;
use super::store::Written;
use crate::sqlite;
use crate::sqlite::Thread;

/// What the file is called.
pub const FILE: &str = "location.db";

/// Rows that are read at once, some 100 KiB, whether they have ended or not: nobody waits for longer than that.
const PAGE: u32 = 256;

/// Rows looked at for each that is written, to find those that have ended: at two for one the file
/// stays below twice what is alive.
const LOOKED_AT: usize = 2;

/// So many at least with each batch: after a night without power all have ended, and few are written at first.
const LOOKED_AT_MIN: usize = 256;

/// How long somebody else may lock the file before a batch is put off.
const PATIENCE: Duration = Duration::from_secs(1);

const SCHEMA: &str = "
    CREATE TABLE bindings (
        id INTEGER PRIMARY KEY,
        domain TEXT NOT NULL,
        user BLOB NOT NULL,
        key BLOB NOT NULL,
        contact BLOB NOT NULL,
        parameters BLOB NOT NULL,
        path BLOB NOT NULL,
        received TEXT NOT NULL,
        listen TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        q INTEGER NOT NULL,
        cseq INTEGER NOT NULL,
        call_id INTEGER NOT NULL,
        sip_transaction INTEGER NOT NULL,
        reg_id INTEGER,
        granted_ms INTEGER NOT NULL,
        UNIQUE (domain, user, key)
    ) STRICT;
    PRAGMA user_version = 1;";

const PUT: &str = "
    INSERT INTO bindings
        (domain, user, key, contact, parameters, path, received, listen, expires_ms, q, cseq, call_id,
         sip_transaction, reg_id, granted_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT (domain, user, key) DO UPDATE SET
        contact = excluded.contact, parameters = excluded.parameters, path = excluded.path,
        received = excluded.received, listen = excluded.listen, expires_ms = excluded.expires_ms, q = excluded.q,
        cseq = excluded.cseq, call_id = excluded.call_id, sip_transaction = excluded.sip_transaction,
        reg_id = excluded.reg_id, granted_ms = excluded.granted_ms";

/// Of every one those that were registered later stay: the queue of changes orders them by binding alone.
const REMOVE_EVERY: &str = "
    DELETE FROM bindings WHERE domain = ?1 AND user = ?2
        AND NOT (CASE WHEN call_id = ?3 THEN cseq > ?4 ELSE granted_ms >= ?5 END)";

const REMOVE: &str = "DELETE FROM bindings WHERE domain = ?1 AND user = ?2 AND key = ?3";

/// What [`record`] reads, in its order: to look each up by its name takes as long as all the rest.
const COLUMNS: &str = "id, expires_ms, domain, user, key, contact, parameters, path, received, listen, q, cseq, \
    call_id, sip_transaction, reg_id, granted_ms";

static READ_PAGE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {COLUMNS} FROM bindings WHERE id > ?1 ORDER BY id LIMIT ?2"));

static READ_USER: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {COLUMNS} FROM bindings WHERE domain = ?1 AND user = ?2 AND expires_ms > ?3")
});

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or opened.
    #[error("cannot open {}: {error}. Check the key `path` of [location], or `state` where there is none, and who owns the directory", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// SQLite cannot read it.
    #[error(
        "{} cannot be used ({error}). Restore it, or move it away with its -wal and -shm: users are found again when \
         their devices next register",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// A later release has written it.
    #[error("{} has version {version}, and this daemon knows 1: run the release that wrote it, or move the file away", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
}

/// The file, opened and not yet served.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    database: Database,
}

impl Opened {
    /// Opens the file, or makes it, readable by this user alone.
    ///
    /// # Errors
    /// What is wrong with it, and what to do.
    pub fn open(path: &Path) -> Result<Opened, OpenError> {
        let database = Database::open(path)?;
        let path = path.to_owned();
        Ok(Opened { path, database })
    }

    /// Starts the thread, which may do what the calling one may.
    ///
    /// # Errors
    /// No thread.
    pub fn serve(self) -> io::Result<Sqlite> {
        let thread = Thread::start("location", &self.path, self.database)?;
        Ok(Sqlite { thread })
    }
}

/// The store. Its thread ends with it.
#[derive(Debug)]
pub struct Sqlite {
    thread: Thread<Database>,
}

impl Store for Sqlite {
    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<Written, Unavailable>> {
        let write = self
            .thread
            .ask(move |database| database.write(&batch, now_ms()));
        write.boxed()
    }

    fn load(&self) -> BoxStream<'_, Result<Vec<Change>, Unavailable>> {
        let pages = stream::try_unfold(0, move |after| async move {
            let page = self
                .thread
                .ask(move |database| database.page(after, now_ms()));
            let (records, last) = page.await?;
            let changes = records.into_iter().map(Change::Put).collect();
            Ok(last.map(|last| (changes, last)))
        });
        pages.boxed()
    }

    fn find<'s>(
        &'s self,
        domain: &'s str,
        user: &'s [u8],
    ) -> BoxFuture<'s, Result<Vec<Record>, Unavailable>> {
        let (domain, user) = (domain.to_owned(), user.to_vec());
        let find = self
            .thread
            .ask(move |database| database.find(&domain, &user, now_ms()));
        find.boxed()
    }

    fn watch(&self) -> BoxStream<'static, Heard> {
        stream::iter([Heard::Gap]).boxed()
    }
}

/// What the thread has.
#[derive(Debug)]
struct Database {
    connection: Connection,
    /// The row up to which was looked for bindings that have ended.
    looked_at: i64,
}

impl Database {
    fn open(path: &Path) -> Result<Database, OpenError> {
        sqlite::make(path).map_err(|error| OpenError::Io {
            path: path.to_owned(),
            error,
        })?;
        let damaged = |error| OpenError::Damaged {
            path: path.to_owned(),
            error,
        };
        let connection = sqlite::connect(path, PATIENCE).map_err(damaged)?;
        let version = Database::prepare(&connection).map_err(damaged)?;
        if version != 1 {
            return Err(OpenError::Version {
                path: path.to_owned(),
                version,
            });
        }
        Ok(Database {
            connection,
            looked_at: 0,
        })
    }

    /// Sets what the connection is like, and makes the table where there is none. Gives the version.
    fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
        // 16 MiB of pages, and of log that is left lying after a storm.
        connection.pragma_update(None, "cache_size", -16_384)?;
        connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
        let version = |connection: &Connection| {
            connection.pragma_query_value(None, "user_version", |row| row.get(0))
        };
        if version(connection)? == 0 {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT;"))?;
        }
        version(connection)
    }

    fn write(&mut self, batch: &Batch, now: UnixMs) -> rusqlite::Result<Written> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare_cached(PUT)?;
            let mut remove = transaction.prepare_cached(REMOVE)?;
            let mut remove_every = transaction.prepare_cached(REMOVE_EVERY)?;
            for change in batch {
                match &**change {
                    Change::Put(record) => put.execute(params![
                        record.domain,
                        record.user,
                        record.key.bytes(),
                        record.contact,
                        record.parameters,
                        record.path,
                        record.received.to_string(),
                        record.listen,
                        signed(record.expires_ms),
                        record.q,
                        record.cseq,
                        record.call_id.cast_signed(),
                        record.transaction.cast_signed(),
                        record.reg_id.map(NonZeroU32::get),
                        signed(record.granted_ms),
                    ])?,
                    Change::Remove(removal) if removal.key.is_every() => {
                        remove_every.execute(params![
                            removal.domain,
                            removal.user,
                            removal.call_id.cast_signed(),
                            removal.cseq,
                            signed(removal.granted_ms),
                        ])?
                    }
                    Change::Remove(removal) => remove.execute(params![
                        removal.domain,
                        removal.user,
                        removal.key.bytes()
                    ])?,
                };
            }
        }
        let looked_at = prune(
            &transaction,
            self.looked_at,
            (batch.len() * LOOKED_AT + 1).max(LOOKED_AT_MIN),
            now,
        )?;
        transaction.commit()?;
        self.looked_at = looked_at;
        Ok(Written::default())
    }

    /// The bindings of some rows after `after`, and the last of these; none where there are no more.
    fn page(&self, after: i64, now: UnixMs) -> rusqlite::Result<(Vec<Record>, Option<i64>)> {
        let mut statement = self.connection.prepare_cached(&READ_PAGE)?;
        let mut last = None;
        let mut rows = statement.query(params![after, PAGE])?;
        let mut records = Vec::with_capacity(PAGE as usize);
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            // One that has no time makes no sense, which is seen below.
            if row.get(1).is_ok_and(|ends: i64| ends <= signed(now)) {
                continue;
            }
            records.push(record(row));
        }
        Ok((self.whole(records), last))
    }

    fn find(&self, domain: &str, user: &[u8], now: UnixMs) -> rusqlite::Result<Vec<Record>> {
        let mut statement = self.connection.prepare_cached(&READ_USER)?;
        let rows =
            statement.query_map(params![domain, user, signed(now)], |row| Ok(record(row)))?;
        let records = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(self.whole(records))
    }

    /// Those that make sense: somebody may have changed the file by hand.
    fn whole(&self, records: Vec<Option<Record>>) -> Vec<Record> {
        let all = records.len();
        let whole: Vec<_> = records.into_iter().flatten().collect();
        if whole.len() < all {
            let path = self.connection.path().unwrap_or(FILE);
            let odd = all - whole.len();
            tracing::warn!("{path}: {odd} bindings make no sense and are left out");
        }
        whole
    }
}

/// Takes away what has ended among the `count` rows after `after`. Gives the last of them; 0 at the
/// end, so that the next look begins anew.
fn prune(connection: &Connection, after: i64, count: usize, now: UnixMs) -> rusqlite::Result<i64> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last = "SELECT id FROM bindings WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2";
    let last: Option<i64> = connection
        .prepare_cached(last)?
        .query_row(params![after, count - 1], |row| row.get(0))
        .optional()?;
    let ended = "DELETE FROM bindings WHERE id > ?1 AND id <= ?2 AND expires_ms <= ?3";
    let upto = last.unwrap_or(i64::MAX);
    connection
        .prepare_cached(ended)?
        .execute(params![after, upto, signed(now)])?;
    Ok(last.unwrap_or(0))
}

/// A row's binding; none where it makes no sense.
fn record(row: &Row<'_>) -> Option<Record> {
    let text = |column| row.get::<_, String>(column).ok();
    let bytes = |column| row.get::<_, Vec<u8>>(column).ok();
    let integer = |column| row.get::<_, i64>(column).ok();
    let time = |column| UnixMs::try_from(integer(column)?).ok();
    let reg_id: Option<u32> = row.get(14).ok()?;
    let q: u16 = row.get(10).ok()?;
    Some(Record {
        expires_ms: time(1)?,
        domain: text(2)?,
        user: bytes(3)?,
        key: Key::from_bytes(bytes(4)?),
        contact: bytes(5)?,
        parameters: bytes(6)?,
        path: bytes(7)?,
        received: text(8)?.parse().ok()?,
        listen: text(9)?,
        q: q.min(1000),
        cseq: row.get(11).ok()?,
        call_id: integer(12)?.cast_unsigned(),
        transaction: integer(13)?.cast_unsigned(),
        reg_id: reg_id.and_then(NonZeroU32::new),
        granted_ms: time(15)?,
    })
}

/// SQLite's integers are signed.
fn signed(time: UnixMs) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
