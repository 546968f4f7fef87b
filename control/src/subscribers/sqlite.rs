//! The embedded store: a file of SQLite's on this box, into which `sqlite3` can look.
//!
//! One thread owns the connection and does what it is asked for, one job after the other: a disk that
//! hangs holds that thread up and nobody else. The queue to it is bounded, and who has given up
//! waiting is passed over.

mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::thread;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::TrySendError;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use trunkline_dataplane::sip::digest::cache::Known;

use self::table::Table;
use super::Entry;
use super::Page;
use super::Store;
use super::Unavailable;
use super::Writable;
use super::Written;
use super::name::Address;

/// Jobs that may wait for the thread. A look-up takes some 10 µs, so that the last of them is answered
/// within a tenth of a second; a disk that hangs fills it, and then each is told so at once.
const JOBS: usize = 8192;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// Something failed that should not.
    #[error(
        "cannot {what} the subscribers' file {}: {error}. Check the key `path` of [subscribers], and who owns the file and its directory",
        path.display()
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// Everybody can read the HA1s.
    #[error(
        "the subscribers' file {} has mode {mode:04o}: others may read its HA1s, which are as good as passwords. If you are sure that \
         nobody has: chmod o= it",
        path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// SQLite says no.
    #[error(
        "cannot use the subscribers' file {}: {error}. Restore it from a copy, or name another one with the key `path` of [subscribers]",
        path.display()
    )]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: rusqlite::Error,
    },
    /// Of a later version, or of another program.
    #[error(
        "the subscribers' file {} is of version {version}, and this daemon knows {known}: it is of a later Trunkline, or of another program",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: i64,
        /// What we know.
        known: i64,
    },
}

/// The file, opened and not yet served.
#[derive(Debug)]
pub struct Opened {
    table: Table,
    path: PathBuf,
}

impl Opened {
    /// Opens the file at `path`, or makes it, readable by this user alone.
    ///
    /// # Errors
    /// What is wrong with it, and what to do about it.
    pub fn open(path: &Path) -> Result<Opened, SqliteError> {
        let failed = |what| {
            move |error| SqliteError::Io {
                what,
                path: path.to_owned(),
                error,
            }
        };
        // SQLite would make it with the mode that the umask leaves, and gives its log the file's.
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        // Closed before SQLite opens it: a close takes all of a process's locks off the file, and whoever
        // looks into it then would take its log away.
        match made.map(drop) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make")(error));
            }
            _ => {}
        }
        let mode = fs::metadata(path).map_err(failed("look at"))?.mode() & 0o7777;
        if mode & 0o007 != 0 {
            return Err(SqliteError::Permissions {
                path: path.to_owned(),
                mode,
            });
        }
        Ok(Opened {
            table: Table::open(path)?,
            path: path.to_owned(),
        })
    }

    /// Starts the thread, which may do what the calling one may.
    ///
    /// # Errors
    /// No thread.
    pub fn serve(self) -> io::Result<Sqlite> {
        let Opened { table, path } = self;
        let (jobs, to_do) = crossbeam_channel::bounded(JOBS);
        let thread = thread::Builder::new().name("subscribers".to_owned());
        thread.spawn(move || work(table, &to_do))?;
        Ok(Sqlite { jobs, path })
    }
}

/// The store. Its thread ends when this is dropped.
#[derive(Debug)]
pub struct Sqlite {
    jobs: Sender<Job>,
    path: PathBuf,
}

type Reply<T> = oneshot::Sender<rusqlite::Result<T>>;

#[derive(Debug)]
enum Job {
    Find {
        domain: String,
        user: String,
        reply: Reply<Known>,
    },
    Put(Vec<Entry>, Reply<Written>),
    Remove(Address, Reply<bool>),
    List(Page, Reply<Vec<Entry>>),
}

fn work(mut table: Table, jobs: &Receiver<Job>) {
    // Whoever asked may have gone: then nobody waits for what is not done.
    for job in jobs {
        match job {
            Job::Find {
                domain,
                user,
                reply,
            } if !reply.is_closed() => drop(reply.send(table.find(&domain, &user))),
            Job::Put(entries, reply) if !reply.is_closed() => {
                drop(reply.send(table.put(&entries)));
            }
            Job::Remove(who, reply) if !reply.is_closed() => drop(reply.send(table.remove(&who))),
            Job::List(page, reply) if !reply.is_closed() => drop(reply.send(table.list(&page))),
            _ => {}
        }
    }
}

impl Sqlite {
    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(Reply<T>) -> Job,
    ) -> BoxFuture<'_, Result<T, Unavailable>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.try_send(job(reply));
        async move {
            sent.map_err(|error| match error {
                TrySendError::Full(_) => self.unavailable(&"too many wait for it already"),
                TrySendError::Disconnected(_) => self.unavailable(&"its thread has ended"),
            })?;
            let answered = answer.await;
            let answered = answered.map_err(|_| self.unavailable(&"its thread has ended"))?;
            answered.map_err(|error| self.unavailable(&error))
        }
        .boxed()
    }

    fn unavailable(&self, reason: &dyn std::fmt::Display) -> Unavailable {
        Unavailable {
            store: self.path.display().to_string(),
            reason: reason.to_string(),
        }
    }
}

impl Store for Sqlite {
    fn find<'s>(
        &'s self,
        domain: &'s str,
        user: &'s [u8],
    ) -> BoxFuture<'s, Result<Known, Unavailable>> {
        // Names are text here; what is none is nobody's.
        let Ok(user) = std::str::from_utf8(user) else {
            return std::future::ready(Ok(Known::Nobody)).boxed();
        };
        let (domain, user) = (domain.to_owned(), user.to_owned());
        self.ask(|reply| Job::Find {
            domain,
            user,
            reply,
        })
    }

    fn writable(&self) -> Option<&dyn Writable> {
        Some(self)
    }
}

impl Writable for Sqlite {
    fn put(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<Written, Unavailable>> {
        self.ask(|reply| Job::Put(entries, reply))
    }

    fn remove(&self, who: Address) -> BoxFuture<'_, Result<bool, Unavailable>> {
        self.ask(|reply| Job::Remove(who, reply))
    }

    fn list(&self, page: Page) -> BoxFuture<'_, Result<Vec<Entry>, Unavailable>> {
        self.ask(|reply| Job::List(page, reply))
    }
}
