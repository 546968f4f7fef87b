//! The files of a host, below a root that a test may choose.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// Where the host's files are read.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The host that we run on.
    pub fn here() -> Host {
        Host::at("/")
    }

    /// A tree that stands for a host: `root/proc/...`, `root/sys/...`.
    pub fn at(root: impl Into<PathBuf>) -> Host {
        Host { root: root.into() }
    }

    /// A small file without its last line's end; `None` if it is not there or
    /// may not be read.
    pub fn read(&self, path: &str) -> Option<String> {
        self.try_read(path).ok()
    }

    /// The same with the reason why it cannot be read.
    ///
    /// # Errors
    /// As open(2) and read(2).
    pub fn try_read(&self, path: &str) -> io::Result<String> {
        let text = fs::read_to_string(self.path(path))?;
        Ok(text.trim_end().to_owned())
    }

    /// A file that holds one decimal number.
    pub fn read_number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// The last part of what a symbolic link points to, as a driver's name.
    pub fn read_link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// The names in a directory, sorted; none if it is not there.
    pub fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Whether there is such a file or directory.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Writes a line into a file that is there, as the kernel's are.
    ///
    /// # Errors
    /// As write(2): the kernel's own word where it refuses the value.
    pub fn write(&self, path: &str, line: &str) -> io::Result<()> {
        // As the shell's >, which the kernel's own files do not mind.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.path(path))?;
        // In one piece: each write(2) is a value of its own to the kernel.
        io::Write::write_all(&mut file, format!("{line}\n").as_bytes())
    }

    /// Makes a file with its directories, whole or not at all.
    ///
    /// # Errors
    /// As the system calls.
    pub fn create(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.path(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let beside = path.with_extension("new");
        fs::write(&beside, text)?;
        fs::rename(beside, path)
    }

    /// Removes a file, and its directory if that is empty now.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        fs::remove_file(&path)?;
        if let Some(directory) = path.parent() {
            // Others may keep files there: then it stays.
            let _ = fs::remove_dir(directory);
        }
        Ok(())
    }

    /// Runs `systemctl`; what it says on standard output.
    ///
    /// # Errors
    /// What it says on standard error, or that there is none.
    pub fn systemctl(&self, arguments: &[&str]) -> Result<String, String> {
        let program = self.path("/usr/bin/systemctl");
        let output = Command::new(&program)
            .args(arguments)
            .output()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// Whether systemd is this host's init.
    pub fn runs_systemd(&self) -> bool {
        self.has("/run/systemd/system")
    }

    /// Whether a process has this name in /proc.
    pub fn runs(&self, name: &str) -> bool {
        self.processes(name).next().is_some()
    }

    /// The numbers of the processes that have this name (15 bytes at most).
    pub fn processes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        self.list("/proc").into_iter().filter(move |entry| {
            entry.bytes().all(|byte| byte.is_ascii_digit())
                && self.read(&format!("/proc/{entry}/comm")).as_deref() == Some(name)
        })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root
            .join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }
}

/// A host made of files in a temporary directory, gone when it is dropped.
#[cfg(test)]
pub(crate) mod fixture {
    use super::Host;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering;

    pub(crate) struct Tree {
        root: PathBuf,
    }

    impl Tree {
        /// Each file is a path from `/` and its text.
        pub(crate) fn new(files: &[(&str, &str)]) -> Tree {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("trunkline-host-{}-{number}", std::process::id());
            let tree = Tree {
                root: std::env::temp_dir().join(name),
            };
            for (path, text) in files {
                let file = tree.root.join(path.trim_start_matches('/'));
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            tree
        }

        /// Where a file of the tree is for everyone else.
        pub(crate) fn file(&self, path: &str) -> PathBuf {
            self.root.join(path.trim_start_matches('/'))
        }

        pub(crate) fn make_executable(&self, path: &str) {
            let file = self.file(path);
            fs::set_permissions(file, PermissionsExt::from_mode(0o755)).unwrap();
        }

        /// A symbolic link, as those below /sys.
        pub(crate) fn link(&self, path: &str, target: &str) {
            let file = self.file(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, file).unwrap();
        }

        pub(crate) fn host(&self) -> Host {
            Host::at(&self.root)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::Tree;

    #[test]
    fn files_are_read_below_the_root() {
        let tree = Tree::new(&[("/proc/sys/a", "17\n"), ("/proc/sys/b", "x y\n")]);
        let host = tree.host();
        assert_eq!(host.read_number("/proc/sys/a"), Some(17));
        assert_eq!(host.read("/proc/sys/b").as_deref(), Some("x y"));
        assert_eq!(host.read_number("/proc/sys/b"), None);
        assert_eq!(host.read("/proc/sys/c"), None);
    }
}
