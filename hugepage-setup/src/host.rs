//! The files of /proc and /sys, below a root that a test may choose.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

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
        let text = fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim_end().to_owned())
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
