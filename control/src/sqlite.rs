//! SQLite files: how one is opened, and the thread that has it.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::TrySendError;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::ErrorCode;
use rusqlite::OpenFlags;
use tokio::sync::oneshot;

use crate::subscribers::Unavailable;

/// What may wait for the thread. A disk that hangs fills it, and then each is told so at once.
const WAITING: usize = 8192;

/// Makes the file at `path` where there is none, for this user alone: SQLite would take the mode that
/// the umask leaves, and gives the files beside it the mode of this one.
///
/// # Errors
/// It cannot be made, or not be written.
pub fn make(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(drop)
}

/// Opens the file. Somebody else's lock on it, as that of a `sqlite3`, is waited for as long as
/// `patience`.
///
/// # Errors
/// What SQLite says.
pub fn connect(path: &Path, patience: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    // Who reads is not held up by who writes.
    connection.pragma_update(None, "journal_mode", "wal")?;
    // The log is synced with each commit: what was said to be written is there after a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    // The daemon may write in no other directory.
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

type Job<D> = Box<dyn FnOnce(&mut D) + Send>;

/// A thread that has a file, or what was made of it, and does what it is asked for, one job after the
/// other: a disk that hangs holds that thread up and nobody else. It ends when this is dropped.
#[derive(Debug)]
pub struct Thread<D> {
    path: PathBuf,
    jobs: SyncSender<Job<D>>,
}

impl<D: Send + 'static> Thread<D> {
    /// Starts it; it may do what the calling one may. `path` is what its errors call the store.
    ///
    /// # Errors
    /// No thread.
    pub fn start(name: &str, path: &Path, mut has: D) -> io::Result<Thread<D>> {
        let (jobs, to_do) = mpsc::sync_channel::<Job<D>>(WAITING);
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || {
            for job in to_do {
                job(&mut has);
            }
        })?;
        let path = path.to_owned();
        Ok(Thread { path, jobs })
    }

    /// What `job` gives.
    ///
    /// # Errors
    /// What SQLite says of it, or that it was not done.
    pub async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut D) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let job: Job<D> = Box::new(move |has| {
            // Who has given up waiting is passed over.
            if !reply.is_closed() {
                let _ = reply.send(job(has));
            }
        });
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => self.unavailable(&"too many wait for it already"),
            TrySendError::Disconnected(_) => self.unavailable(&"its thread has ended"),
        })?;
        let done = answer.await;
        let done = done.map_err(|_| self.unavailable(&"its thread has ended"))?;
        done.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                self.unavailable(&format_args!(
                    "{error}: the file is damaged. Stop the daemon, restore the file or move it away with its -wal and \
                     -shm, and start it again"
                ))
            }
            _ => self.unavailable(&error),
        })
    }

    fn unavailable(&self, reason: &dyn std::fmt::Display) -> Unavailable {
        Unavailable {
            store: self.path.display().to_string(),
            reason: reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_asks_a_thread_that_hangs_or_has_ended_is_told_so() {
        let path = Path::new("/var/lib/x.db");
        let thread = Thread::start("test", path, 1).unwrap();
        assert_eq!(thread.ask(|has| Ok(*has)).await.unwrap(), 1);
        let (go_on, hang) = mpsc::channel::<()>();
        let mut hanging = Box::pin(thread.ask(move |has| {
            let _ = hang.recv();
            *has += 1;
            Ok(())
        }));
        assert!((&mut hanging).now_or_never().is_none());
        // One that nobody waits for any more is not done.
        let mut given_up = Box::pin(thread.ask(|has| {
            *has += 10;
            Ok(())
        }));
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        let mut waiting = Vec::new();
        let full = loop {
            let mut asked = Box::pin(thread.ask(|has| Ok(*has)));
            match (&mut asked).now_or_never() {
                Some(refused) => break refused.unwrap_err(),
                None => waiting.push(asked),
            }
        };
        let said = "/var/lib/x.db gives no answer: too many wait for it already";
        assert_eq!(full.to_string(), said);
        assert!(waiting.len() >= WAITING - 2, "{}", waiting.len());
        go_on.send(()).unwrap();
        hanging.await.unwrap();
        for asked in waiting {
            assert_eq!(asked.await.unwrap(), 2);
        }
        let ended = thread.ask(|_| -> rusqlite::Result<()> { panic!("as a bug would") });
        assert!(ended.await.unwrap_err().reason.contains("has ended"));
    }
}
