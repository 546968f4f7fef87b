//! The table in the file: a row a subscriber.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::OptionalExtension as _;
use rusqlite::Row;
use rusqlite::Transaction;
use rusqlite::named_params;
use rusqlite::params;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::ha1::Ha1s;

use super::SqliteError;
use crate::subscribers::Entry;
use crate::subscribers::Page;
use crate::subscribers::Written;
use crate::subscribers::name::Address;

/// What the file says it is (PRAGMA user_version).
const VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE subscribers (
        domain     TEXT NOT NULL,
        user       TEXT NOT NULL,
        md5        BLOB CHECK (length(md5) = 16),
        sha256     BLOB CHECK (length(sha256) = 32),
        sha512_256 BLOB CHECK (length(sha512_256) = 32),
        PRIMARY KEY (domain, user)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// How long somebody else's lock on the file, as that of a `sqlite3`, is waited for. Less than a worker
/// waits, so that it is told what is wrong.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Table {
    connection: Connection,
}

impl Table {
    /// Opens the file, which is there, and makes the table where it is empty.
    pub fn open(path: &Path) -> Result<Table, SqliteError> {
        let refused = |error| SqliteError::Sqlite {
            path: path.to_owned(),
            error,
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(refused)?;
        set_up(&connection).map_err(refused)?;
        match make(&mut connection).map_err(refused)? {
            VERSION => Ok(Table { connection }),
            version => Err(SqliteError::Version {
                path: path.to_owned(),
                version,
                known: VERSION,
            }),
        }
    }

    pub fn find(&self, domain: &str, user: &str) -> rusqlite::Result<Known> {
        let mut find = self.connection.prepare_cached(
            "SELECT md5, sha256, sha512_256 FROM subscribers WHERE domain = ?1 AND user = ?2",
        )?;
        let found = find.query_row(params![domain, user], |row| ha1s(row, 0));
        Ok(match found.optional()? {
            Some(ha1s) => Known::Subscriber(ha1s),
            None => Known::Nobody,
        })
    }

    /// Writes all of `entries`, or none.
    pub fn put(&mut self, entries: &[Entry]) -> rusqlite::Result<Written> {
        let transaction = self.connection.transaction()?;
        let mut written = Written::default();
        for entry in entries {
            match put(&transaction, entry)? {
                true => written.added += 1,
                false => written.changed += 1,
            }
        }
        transaction.commit()?;
        Ok(written)
    }

    pub fn remove(&self, who: &Address) -> rusqlite::Result<bool> {
        let mut remove = self
            .connection
            .prepare_cached("DELETE FROM subscribers WHERE domain = ?1 AND user = ?2")?;
        Ok(remove.execute(params![who.domain, who.user])? > 0)
    }

    pub fn list(&self, page: &Page) -> rusqlite::Result<Vec<Entry>> {
        // Behind nobody is behind the empty name, which nobody has.
        let (domain, user) = match (&page.after, &page.domain) {
            (Some(after), _) => (after.domain.as_str(), after.user.as_str()),
            (None, Some(domain)) => (domain.as_str(), ""),
            (None, None) => ("", ""),
        };
        let sql = match page.domain {
            Some(_) => {
                "SELECT domain, user, md5, sha256, sha512_256 FROM subscribers \
                 WHERE domain = ?1 AND user > ?2 ORDER BY domain, user LIMIT ?3"
            }
            None => {
                "SELECT domain, user, md5, sha256, sha512_256 FROM subscribers \
                 WHERE (domain, user) > (?1, ?2) ORDER BY domain, user LIMIT ?3"
            }
        };
        let mut list = self.connection.prepare_cached(sql)?;
        let rows = list.query_map(params![domain, user, page.limit], |row| {
            Ok(Entry {
                who: Address {
                    domain: row.get(0)?,
                    user: row.get(1)?,
                },
                ha1s: ha1s(row, 2)?,
            })
        })?;
        rows.collect()
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_PATIENCE)?;
    // Who looks is not held up by who writes.
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What was said to be written is there after a loss of power.
    connection.pragma_update(None, "synchronous", "full")?;
    // The daemon may write in no other directory.
    connection.pragma_update(None, "temp_store", "memory")
}

/// Makes the table where there is nothing yet, and gives the file's version.
fn make(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction()?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(SCHEMA)?;
    }
    let version = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    transaction.commit()?;
    Ok(version)
}

/// True where the subscriber is new.
fn put(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<bool> {
    let [md5, sha256, sha512t256] = Algorithm::ALL.map(|algorithm| entry.ha1s.get(algorithm));
    let [md5, sha256, sha512t256] =
        [&md5, &sha256, &sha512t256].map(|ha1| ha1.as_ref().map(|ha1| ha1.bytes()));
    let row = named_params! {
        ":domain": entry.who.domain,
        ":user": entry.who.user,
        ":md5": md5,
        ":sha256": sha256,
        ":sha512_256": sha512t256,
    };
    let mut add = transaction.prepare_cached(
        "INSERT INTO subscribers (domain, user, md5, sha256, sha512_256) \
         VALUES (:domain, :user, :md5, :sha256, :sha512_256) ON CONFLICT (domain, user) DO NOTHING",
    )?;
    if add.execute(row)? > 0 {
        return Ok(true);
    }
    let mut change = transaction.prepare_cached(
        "UPDATE subscribers SET md5 = :md5, sha256 = :sha256, sha512_256 = :sha512_256 \
         WHERE domain = :domain AND user = :user",
    )?;
    change.execute(row)?;
    Ok(false)
}

/// The three columns of HA1s from `first` on, in the order of [`Algorithm::ALL`].
fn ha1s(row: &Row<'_>, first: usize) -> rusqlite::Result<Ha1s> {
    let mut ha1s = Ha1s::default();
    for (column, algorithm) in (first..).zip(Algorithm::ALL) {
        if let Some(ha1) = row.get_ref(column)?.as_blob_or_null()? {
            ha1s.set(algorithm, ha1);
        }
    }
    Ok(ha1s)
}
