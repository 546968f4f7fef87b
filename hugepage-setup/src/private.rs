//! Files that root reads back and obeys: nobody else may have written them.
//!
//! A directory that another user can write is as bad as a file that they can: they would
//! put a file or a link of their own in its place.

use nix::fcntl::OFlag;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a directory, and makes it (0700) if it is not there.
///
/// # Errors
/// As the system calls, and `PermissionDenied` if others may write it.
pub fn make_directory(path: &Path) -> io::Result<File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    directory(path)
}

/// Opens a directory that is there.
///
/// # Errors
/// As [`make_directory`].
pub fn directory(path: &Path) -> io::Result<File> {
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlag::O_DIRECTORY))
        .open(path)?;
    trust(&directory, "the directory")?;
    Ok(directory)
}

/// The text of a file in such a directory.
///
/// # Errors
/// As the system calls, and `PermissionDenied` if others may write the file.
pub fn read(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new()
        .read(true)
        // A pipe would wait for a writer.
        .custom_flags(flags(OFlag::O_NONBLOCK))
        .open(path)?;
    trust(&file, "the file")?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Replaces a file in such a directory whole (0600): after a crash it is the old one or the
/// new one.
///
/// # Errors
/// As the system calls.
pub fn replace(directory: &File, path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    // One that a crash has left; if it is a link, the link goes.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags(OFlag::empty()))
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    directory.sync_all()
}

/// A link is followed nowhere.
fn flags(more: OFlag) -> i32 {
    (OFlag::O_NOFOLLOW | more).bits()
}

/// Root's are good for everyone, and each user's for themselves.
fn trust(file: &File, what: &str) -> io::Result<()> {
    let status = file.metadata()?;
    let user = nix::unistd::geteuid().as_raw();
    let mode = status.mode() & 0o7777;
    let why = if status.uid() != 0 && status.uid() != user {
        format!(
            "{what} belongs to user {}, who could have written anything into it",
            status.uid()
        )
    } else if mode & 0o022 != 0 {
        format!("others may write {what} (mode {mode:04o}): chmod go-w, if you trust what is in it")
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;

    fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[test]
    fn what_others_may_write_is_not_read() {
        let tree = Tree::new(&[("/state/book", "text")]);
        let (state, book) = (tree.file("/state"), tree.file("/state/book"));
        for (path, is_file) in [(&book, true), (&state, false)] {
            let read = || {
                if is_file {
                    kind(read(path))
                } else {
                    kind(directory(path))
                }
            };
            let mode = |mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
            for good in [0o700, 0o755] {
                mode(good);
                assert_eq!(read(), None, "{good:o}");
            }
            for bad in [0o720, 0o702, 0o1777] {
                mode(bad);
                assert_eq!(read(), Some(io::ErrorKind::PermissionDenied), "{bad:o}");
            }
            mode(0o700);
            if nix::unistd::geteuid().is_root() {
                std::os::unix::fs::chown(path, Some(65534), None).unwrap();
                assert_eq!(read(), Some(io::ErrorKind::PermissionDenied));
                std::os::unix::fs::chown(path, Some(0), None).unwrap();
            }
        }
    }

    #[test]
    fn links_are_followed_nowhere() {
        let tree = Tree::new(&[("/state/victim", "victim"), ("/state/other/file", "")]);
        let state = make_directory(&tree.file("/state")).unwrap();
        let book = tree.file("/state/book.json");
        symlink(tree.file("/state/victim"), &book).unwrap();
        assert!(read(&book).is_err());
        // What an earlier run, or somebody, has left beside it.
        symlink(tree.file("/state/victim"), tree.file("/state/book.new")).unwrap();
        replace(&state, &book, "text").unwrap();
        assert_eq!(read(&book).unwrap(), "text");
        let mode = fs::symlink_metadata(&book).unwrap().permissions().mode();
        assert_eq!(mode, 0o100_600);
        assert_eq!(tree.host().read("/state/victim").unwrap(), "victim");
        assert!(!tree.file("/state/book.new").exists());
        symlink(tree.file("/state/other"), tree.file("/state/link")).unwrap();
        assert!(directory(&tree.file("/state/link")).is_err());
        assert!(make_directory(&tree.file("/state/link")).is_err());
    }
}
