//! The state file: what was found before it was changed, so that `undo` can put it
//! back.
//!
//! It is written before each change and replaced whole (written beside, synced,
//! renamed), so that a crash at any moment loses nothing: a record of a change that
//! was not made is seen to be one, because the setting still has what was found. What
//! was found first stays, however often `apply` runs.
//!
//! `undo` writes as root what it reads there. So the directory and the file must be nobody
//! else's, and a record of what no stage ever sets is refused.

use crate::host::Host;
use crate::private;
use crate::setting::Setting;
use crate::stage::Stage;
use serde::Deserialize;
use serde::Serialize;
use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::path::PathBuf;

/// The shape of the file. Another one is refused, not guessed at.
const VERSION: u32 = 1;

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Something failed that should not.
    #[error("cannot {what} {}: {error}. Run as root, or name another file with --state", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// Somebody else changes the host at this moment.
    #[error("another hugepage-setup is at work with {}: let it end, then try again", path.display())]
    Locked {
        /// The state file.
        path: PathBuf,
    },
    /// It is not what we wrote.
    #[error(
        "the state file {} is damaged ({why}): what was found before the changes is not known. Look into it; without it \
         (mv it away) undo has nothing to do",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// One setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The stage that changed it.
    pub stage: Stage,
    /// What was changed.
    pub setting: Setting,
    /// Its value before the first change.
    pub found: String,
    /// The value that the last change gave it.
    pub set: String,
    /// The kernel's boot_id at that time.
    pub boot: String,
    /// The network namespace, where the setting belongs to one.
    pub namespace: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    records: Vec<Record>,
}

/// The records, in the order of the changes.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    records: Vec<Record>,
    boot: String,
    namespace: String,
    /// Its directory, locked; only there where we may write.
    lock: Option<File>,
}

impl Book {
    /// Reads the file, or begins a new one, and keeps others out until it is dropped.
    ///
    /// # Errors
    /// What is wrong with the file or its directory, and what to do about it.
    pub fn open(host: &Host, path: &Path) -> Result<Book, BookError> {
        let directory = directory_of(path);
        // The file itself is replaced at each write: the lock is its directory's.
        let lock =
            private::make_directory(directory).map_err(failed("use the directory", directory))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(BookError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", directory)(error)),
        }
        let mut book = Book::look(host, path)?;
        book.lock = Some(lock);
        Ok(book)
    }

    /// Reads the file and locks nothing: for those who only look.
    ///
    /// # Errors
    /// As [`Book::open`].
    pub fn look(host: &Host, path: &Path) -> Result<Book, BookError> {
        let directory = directory_of(path);
        let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let records = match private::directory(directory).map(|_| private::read(path)) {
            Ok(Ok(text)) => parse(path, &text)?,
            Ok(Err(error)) | Err(error) if absent(&error) => Vec::new(),
            Ok(Err(error)) => return Err(failed("read", path)(error)),
            Err(error) => return Err(failed("use the directory", directory)(error)),
        };
        Ok(Book {
            path: path.to_owned(),
            records,
            boot: host
                .read("/proc/sys/kernel/random/boot_id")
                .unwrap_or_default(),
            namespace: host.read_link_name("/proc/self/ns/net").unwrap_or_default(),
            lock: None,
        })
    }

    /// The records that hold here and now.
    pub fn current(&self) -> impl Iterator<Item = &Record> {
        let records = self.records.iter();
        records.filter(|record| !self.is_stale(record) && !self.is_elsewhere(record))
    }

    /// What was changed, the first change first.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether the machine was restarted since, which undid the change.
    pub fn is_stale(&self, record: &Record) -> bool {
        record.boot != self.boot && !record.setting.survives_reboot()
    }

    /// Whether the setting is of a namespace other than ours.
    pub fn is_elsewhere(&self, record: &Record) -> bool {
        let elsewhere = |of: &String| *of != self.namespace;
        record.boot == self.boot && record.namespace.as_ref().is_some_and(elsewhere)
    }

    /// The record of a setting here, unless a restart has undone it.
    pub fn of(&self, setting: &Setting) -> Option<&Record> {
        self.current().find(|record| record.setting == *setting)
    }

    /// Notes a change that is about to be made. What was found first stays.
    ///
    /// # Errors
    /// The file could not be written: then the change must not be made.
    pub fn note(
        &mut self,
        stage: Stage,
        setting: &Setting,
        found: &str,
        to: &str,
    ) -> Result<(), BookError> {
        let found = self
            .of(setting)
            .map_or_else(|| found.to_owned(), |record| record.found.clone());
        let known = self
            .records
            .iter()
            .position(|record| record.setting == *setting && !self.is_elsewhere(record));
        let record = Record {
            stage,
            setting: setting.clone(),
            found,
            set: to.to_owned(),
            boot: self.boot.clone(),
            namespace: setting.is_of_namespace().then(|| self.namespace.clone()),
        };
        match known {
            Some(position) => self.records[position] = record,
            None => self.records.push(record),
        }
        self.save()
    }

    /// Strikes a record out: its setting is as it was found, or is no longer ours.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn strike(&mut self, record: &Record) -> Result<(), BookError> {
        self.records.retain(|other| other != record);
        self.save()
    }

    /// The same for the record of a setting here, if there is one.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn strike_setting(&mut self, setting: &Setting) -> Result<(), BookError> {
        match self.of(setting).cloned() {
            Some(record) => self.strike(&record),
            None => Ok(()),
        }
    }

    fn save(&self) -> Result<(), BookError> {
        if self.records.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(failed("remove", &self.path)(error))
                }
                _ => Ok(()),
            };
        }
        let content = Content {
            version: VERSION,
            records: self.records.clone(),
        };
        let write = || -> io::Result<()> {
            let text = serde_json::to_string_pretty(&content)? + "\n";
            match &self.lock {
                Some(directory) => private::replace(directory, &self.path, &text),
                None => Err(io::Error::other("it was opened to be looked at")),
            }
        };
        write().map_err(failed("write", &self.path))
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Record>, BookError> {
    let damaged = |why: String| BookError::Damaged {
        path: path.to_owned(),
        why,
    };
    let content: Content =
        serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    if content.version != VERSION {
        return Err(damaged(format!(
            "version {} where {VERSION} is known",
            content.version
        )));
    }
    for record in &content.records {
        if !record.setting.is_ours() || !record.setting.takes(&record.found) {
            return Err(damaged(format!(
                "no stage of ours sets {}, or sets it to '{}'",
                record.setting.name(),
                record.found
            )));
        }
    }
    Ok(content.records)
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BookError + 'a {
    move |error| BookError::Io {
        what,
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;
    use crate::stage::memlock::DROP_IN;
    use std::os::unix::fs::PermissionsExt;

    fn tree(boot: &str) -> Tree {
        let tree = Tree::new(&[("/proc/sys/kernel/random/boot_id", boot)]);
        tree.link("/proc/self/ns/net", "net:[1]");
        tree
    }

    fn setting() -> Setting {
        Setting::file("/sys/class/net/eth0/gro_flush_timeout")
    }

    #[test]
    fn what_was_found_first_stays() {
        let tree = tree("one\n");
        let path = tree.file("/var/lib/trunkline-host/host.json");
        let mut book = Book::open(&tree.host(), &path).unwrap();
        book.note(Stage::BusyPoll, &setting(), "0", "100").unwrap();
        book.note(Stage::BusyPoll, &setting(), "100", "200")
            .unwrap();
        drop(book);
        let book = Book::look(&tree.host(), &path).unwrap();
        assert_eq!(book.records().len(), 1);
        let record = book.of(&setting()).unwrap();
        assert_eq!((record.found.as_str(), record.set.as_str()), ("0", "200"));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_restart_makes_records_stale_but_not_those_of_files_on_disk() {
        let before = tree("one\n");
        let path = before.file("/state/host.json");
        let mut book = Book::open(&before.host(), &path).unwrap();
        let text = Setting::Text {
            path: DROP_IN.to_owned(),
        };
        book.note(Stage::BusyPoll, &setting(), "0", "200").unwrap();
        book.note(Stage::Memlock, &text, "", "x").unwrap();
        drop(book);
        let after = tree("two\n");
        let mut book = Book::open(&after.host(), &path).unwrap();
        assert!(book.is_stale(&book.records()[0]));
        assert!(book.of(&setting()).is_none());
        assert!(book.of(&text).is_some());
        // What is found after the restart is what to go back to.
        book.note(Stage::BusyPoll, &setting(), "7", "200").unwrap();
        assert_eq!(book.of(&setting()).unwrap().found, "7");
        assert_eq!(book.records().len(), 2);
    }

    #[test]
    fn another_namespace_has_records_of_its_own() {
        let here = tree("one\n");
        let path = here.file("/state/host.json");
        let mut book = Book::open(&here.host(), &path).unwrap();
        book.note(Stage::BusyPoll, &setting(), "0", "200").unwrap();
        drop(book);
        let there = Tree::new(&[("/proc/sys/kernel/random/boot_id", "one\n")]);
        there.link("/proc/self/ns/net", "net:[2]");
        let mut book = Book::open(&there.host(), &path).unwrap();
        assert!(book.is_elsewhere(&book.records()[0]));
        book.note(Stage::BusyPoll, &setting(), "5", "200").unwrap();
        assert_eq!(book.records().len(), 2);
        assert_eq!(book.of(&setting()).unwrap().found, "5");
    }

    #[test]
    fn an_empty_book_leaves_no_file() {
        let tree = tree("one\n");
        let path = tree.file("/state/host.json");
        let mut book = Book::open(&tree.host(), &path).unwrap();
        book.note(Stage::BusyPoll, &setting(), "0", "200").unwrap();
        let record = book.records()[0].clone();
        book.strike(&record).unwrap();
        drop(book);
        assert_eq!(tree.host().list("/state"), Vec::<String>::new());
    }

    #[test]
    fn two_at_once_and_damage_are_refused() {
        let tree = tree("one\n");
        let path = tree.file("/state/host.json");
        let book = Book::open(&tree.host(), &path).unwrap();
        let second = Book::open(&tree.host(), &path).unwrap_err();
        assert!(matches!(second, BookError::Locked { .. }), "{second}");
        drop(book);
        for text in ["", "{}", "{\"version\": 9, \"records\": []}"] {
            fs::write(&path, text).unwrap();
            let error = Book::open(&tree.host(), &path).unwrap_err();
            assert!(matches!(error, BookError::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn a_book_that_another_could_have_written_is_refused() {
        let tree = tree("one\n");
        let path = tree.file("/state/host.json");
        let mut book = Book::open(&tree.host(), &path).unwrap();
        book.note(Stage::BusyPoll, &setting(), "0", "200").unwrap();
        drop(book);
        for (changed, mode) in [(path.as_path(), 0o600), (directory_of(&path), 0o700)] {
            fs::set_permissions(changed, PermissionsExt::from_mode(mode | 0o022)).unwrap();
            for error in [
                Book::open(&tree.host(), &path).unwrap_err(),
                Book::look(&tree.host(), &path).unwrap_err(),
            ] {
                assert!(error.to_string().contains("others may write"), "{error}");
            }
            fs::set_permissions(changed, PermissionsExt::from_mode(mode)).unwrap();
        }
        assert!(Book::open(&tree.host(), &path).is_ok());
    }

    #[test]
    fn a_record_of_what_no_stage_sets_is_refused() {
        let tree = tree("one\n");
        let path = tree.file("/state/host.json");
        drop(Book::open(&tree.host(), &path).unwrap());
        let text = |path: &str| Setting::Text {
            path: path.to_owned(),
        };
        let service = |name: &str| Setting::Service {
            name: name.to_owned(),
        };
        let sysctl = |name: &str| Setting::Sysctl {
            name: name.to_owned(),
        };
        let of = |setting: Setting, found: &str| Record {
            stage: Stage::Memlock,
            setting,
            found: found.to_owned(),
            set: "x".to_owned(),
            boot: "one".to_owned(),
            namespace: None,
        };
        let parsed = |record: Record| {
            let content = Content {
                version: VERSION,
                records: vec![record],
            };
            fs::write(&path, serde_json::to_string(&content).unwrap()).unwrap();
            Book::look(&tree.host(), &path)
        };
        for record in [
            of(text("/etc/cron.d/x"), "* * * * * root sh"),
            of(Setting::file("/etc/passwd"), "x"),
            of(
                Setting::file("/sys/class/net/../../kernel/uevent_helper"),
                "/bin/x",
            ),
            of(Setting::file("/sys/kernel/uevent_helper"), "/bin/x"),
            of(sysctl("kernel.core_pattern"), "|/bin/x"),
            of(sysctl("net/../kernel/core_pattern"), "|/bin/x"),
            of(service("ssh"), "stop"),
            of(service("irqbalance"), "link"),
        ] {
            let name = record.setting.name();
            let error = parsed(record).unwrap_err();
            assert!(matches!(error, BookError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains(&name), "{error}");
        }
        for record in [
            of(text(DROP_IN), ""),
            of(setting(), "0"),
            of(sysctl("net.ipv4.ip_local_reserved_ports"), ""),
            of(service("irqbalance"), "start"),
        ] {
            assert!(parsed(record).is_ok());
        }
    }
}
