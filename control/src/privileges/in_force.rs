//! What the kernel says of each thread: /proc/self/task/*/status.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Wish;

/// What holds for a kind of thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// `control` or `worker`.
    pub kind: &'static str,
    /// How many there are of it.
    pub count: usize,
    /// What they may use; of several threads all that any of them may.
    pub capabilities: Vec<String>,
    /// Whether none of them can gain more by running another program.
    pub no_new_privs: bool,
    /// `on`, `log` or `off`.
    pub seccomp: &'static str,
    /// What keeps them from files.
    pub files: String,
}

/// A thread's lines that matter here.
#[derive(Clone, Copy, Default)]
struct Status {
    permitted: u64,
    no_new_privs: bool,
    is_filtered: bool,
}

/// Reads the threads in `tasks`, the kinds in the order of their names.
pub(super) fn read(tasks: &Path, wish: Wish, files: &str) -> Vec<Thread> {
    let mut kinds: BTreeMap<&'static str, Vec<Status>> = BTreeMap::new();
    for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let kind = if name.starts_with("worker-") {
            "worker"
        } else {
            "control"
        };
        // A helper thread may have ended since.
        if let Ok(text) = fs::read_to_string(task.path().join("status")) {
            kinds.entry(kind).or_default().push(parse(&text));
        }
    }
    let thread = |(kind, threads): (&'static str, Vec<Status>)| {
        let permitted = threads.iter().fold(0, |all, one| all | one.permitted);
        let files = match (kind, wish) {
            ("worker", Wish::On) => "opens none",
            ("worker", _) => "open: by configuration",
            _ => files,
        };
        Thread {
            kind,
            count: threads.len(),
            capabilities: names(permitted),
            no_new_privs: threads.iter().all(|thread| thread.no_new_privs),
            seccomp: match wish {
                _ if !threads.iter().all(|thread| thread.is_filtered) => "off",
                Wish::Log => "log",
                Wish::On | Wish::Off => "on",
            },
            files: files.to_owned(),
        }
    };
    kinds.into_iter().map(thread).collect()
}

fn parse(text: &str) -> Status {
    let mut status = Status::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match key {
            "CapPrm" => status.permitted = u64::from_str_radix(value, 16).unwrap_or(u64::MAX),
            "NoNewPrivs" => status.no_new_privs = value == "1",
            "Seccomp" => status.is_filtered = value == "2",
            _ => {}
        }
    }
    status
}

fn names(set: u64) -> Vec<String> {
    let mut held: Vec<_> = caps::all()
        .into_iter()
        .filter(|capability| set & capability.bitmask() != 0)
        .map(|capability| capability.to_string())
        .collect();
    held.sort();
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(room: &Path, id: u32, name: &str, status: &str) {
        let task = room.join(id.to_string());
        fs::create_dir(&task).unwrap();
        fs::write(task.join("comm"), format!("{name}\n")).unwrap();
        fs::write(task.join("status"), status).unwrap();
    }

    const BARE: &str = "CapPrm:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn the_weakest_thread_of_a_kind_is_told() {
        let room = tempfile::tempdir().unwrap();
        task(
            room.path(),
            1,
            "trunklined",
            &BARE.replace("0000\nNo", "1000\nNo"),
        );
        task(room.path(), 2, "worker-0", BARE);
        task(
            room.path(),
            3,
            "worker-1",
            &BARE.replace("Seccomp:\t2", "Seccomp:\t0"),
        );
        let threads = read(room.path(), Wish::On, "Landlock ABI 5");
        let control = &threads[0];
        assert_eq!((control.kind, control.count), ("control", 1));
        assert_eq!(control.capabilities, ["CAP_NET_ADMIN"]);
        assert_eq!(
            (control.seccomp, control.files.as_str()),
            ("on", "Landlock ABI 5")
        );
        let workers = &threads[1];
        assert_eq!((workers.kind, workers.count), ("worker", 2));
        assert!(workers.capabilities.is_empty() && workers.no_new_privs);
        assert_eq!(workers.seccomp, "off", "one of them is not filtered");
    }

    #[test]
    fn our_own_threads_are_read() {
        let threads = read(Path::new("/proc/self/task"), Wish::On, "");
        assert!(
            threads
                .iter()
                .any(|thread| thread.kind == "control" && thread.count > 0)
        );
    }
}
