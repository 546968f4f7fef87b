//! Who used the CPU: a control group for each process that is watched.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use nix::mount::MsFlags;
use nix::mount::mount;
use nix::sched::CloneFlags;
use nix::sched::unshare;

/// The hierarchies that tell CPU time, the first that is there: cpuacct of version 1, in nanoseconds,
/// and version 2, in microseconds.
const HIERARCHIES: [(&str, Kind); 4] = [
    ("/sys/fs/cgroup", Kind::Cpuacct),
    ("/sys/fs/cgroup/cpuacct", Kind::Cpuacct),
    ("/sys/fs/cgroup/cpu,cpuacct", Kind::Cpuacct),
    ("/sys/fs/cgroup", Kind::Unified),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cpuacct,
    Unified,
}

impl Kind {
    const fn file(self) -> &'static str {
        match self {
            Kind::Cpuacct => "cpuacct.usage",
            Kind::Unified => "cpu.stat",
        }
    }

    fn read(self, group: &Path) -> anyhow::Result<Duration> {
        let path = group.join(self.file());
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let number = match self {
            Kind::Cpuacct => text.trim(),
            Kind::Unified => text
                .lines()
                .find_map(|line| line.strip_prefix("usage_usec "))
                .unwrap_or_default(),
        };
        let number = number
            .parse()
            .with_context(|| format!("{}: {text:?}", path.display()))?;
        Ok(match self {
            Kind::Cpuacct => Duration::from_nanos(number),
            Kind::Unified => Duration::from_micros(number),
        })
    }
}

/// The CPU time of a process, its threads, and its children from now on.
#[derive(Debug)]
pub struct Account {
    name: String,
    kind: Kind,
    group: PathBuf,
    root: PathBuf,
}

impl Account {
    /// Watches a process, and those that it has started, under a name.
    ///
    /// # Errors
    /// No hierarchy of control groups, no right to make a group, no such process.
    pub fn open(name: &str, pid: u32) -> anyhow::Result<Account> {
        let (root, kind) = hierarchy()?;
        let group = root.join(format!("trunkline-perf-{}-{name}", std::process::id()));
        fs::create_dir(&group)
            .with_context(|| format!("a control group {}: are you root?", group.display()))?;
        let account = Account {
            name: name.to_owned(),
            kind,
            group,
            root,
        };
        let procs = account.group.join("cgroup.procs");
        let mut family = vec![pid];
        while let Some(member) = family.pop() {
            fs::write(&procs, member.to_string())
                .with_context(|| format!("process {member} into the group of {name}"))?;
            family.extend(children(member));
        }
        Ok(account)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has used since it is watched.
    ///
    /// # Errors
    /// The kernel's file cannot be read.
    pub fn used(&self) -> anyhow::Result<Duration> {
        self.kind.read(&self.group)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Its processes go back where all begin; a group that still has some stays, and is empty of
        // meaning but harmless.
        let home = self.root.join("cgroup.procs");
        for pid in fs::read_to_string(self.group.join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
        {
            let _ = fs::write(&home, pid);
        }
        let _ = fs::remove_dir(&self.group);
    }
}

/// The processes that a process has started and that still run.
fn children(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes
        .filter(|&process: &u32| parent(process) == Some(pid))
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold any byte; state and parent follow.
    let (_, after) = stat.rsplit_once(") ")?;
    after.split(' ').nth(1)?.parse().ok()
}

/// What the whole machine has used since it started.
///
/// # Errors
/// No hierarchy of control groups.
pub fn whole_machine() -> anyhow::Result<Duration> {
    let (root, kind) = hierarchy()?;
    kind.read(&root)
}

fn hierarchy() -> anyhow::Result<(PathBuf, Kind)> {
    if let Some(found) = look() {
        return Ok(found);
    }
    // `ip netns exec` covers /sys with one of the namespace's own, without control groups.
    mount_own().context("no control groups at /sys/fs/cgroup, and none can be mounted")?;
    look().context("no control groups tell CPU time: neither cpuacct nor cgroup2")
}

fn look() -> Option<(PathBuf, Kind)> {
    HIERARCHIES
        .into_iter()
        .map(|(root, kind)| (PathBuf::from(root), kind))
        .find(|(root, kind)| root.join(kind.file()).exists())
}

/// Mounts the control groups where nobody but this process sees it.
fn mount_own() -> nix::Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_SLAVE | MsFlags::MS_REC, none)?;
    let at = "/sys/fs/cgroup";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let first = mount(Some("cgroup"), at, Some("cgroup"), flags, Some("cpuacct"));
    first.or_else(|_| mount(Some("cgroup2"), at, Some("cgroup2"), flags, none))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::process::Stdio;

    #[test]
    fn a_process_that_works_is_charged_and_its_group_goes() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: control groups need root");
            return;
        }
        let mut child = Command::new("sh")
            .args([
                "-c",
                "read go; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; read end",
            ])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let account = Account::open("worker", child.id()).unwrap();
        let before = (account.used().unwrap(), whole_machine().unwrap());
        let stdin = child.stdin.as_mut().unwrap();
        std::io::Write::write_all(stdin, b"go\n").unwrap();
        while account.used().unwrap() < before.0 + Duration::from_millis(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let machine = whole_machine().unwrap() - before.1;
        assert!(machine >= Duration::from_millis(20), "{machine:?}");
        assert_eq!(parent(child.id()), Some(std::process::id()));
        assert!(children(std::process::id()).contains(&child.id()));
        let group = account.group.clone();
        assert!(group.exists());
        drop(account);
        assert!(!group.exists());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
