//! What a service manager hears of the daemon, and when it hears no more. A worker is
//! stopped as a debugger would stop it, by ptrace(2): a signal would stop all threads.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use std::time::Instant;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

mod lab;

use lab::Lab;

/// The watchdog's limit: the daemon beats four times in it.
const LIMIT: Duration = Duration::from_secs(2);

struct Manager(UnixDatagram);

impl Manager {
    fn of(lab: &Lab) -> Manager {
        Manager(UnixDatagram::bind(lab.path("notify")).unwrap())
    }

    /// What comes first within `patience`.
    fn hear(&self, patience: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        let len = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    /// Hears on until one message has `what` in it.
    fn wait_for(&self, what: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            match self.hear(Duration::from_secs(1)) {
                Some(heard) if heard.contains(what) => return heard,
                _ => {}
            }
        }
        panic!("no {what} in 20 s");
    }

    /// Everything that waits already, and what comes within `time`.
    fn hear_for(&self, time: Duration) -> String {
        let deadline = Instant::now() + time;
        let mut all = String::new();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            all += &self
                .hear(left.max(Duration::from_millis(1)))
                .unwrap_or_default();
        }
        all
    }
}

/// A worker's thread.
fn worker(pid: u32, name: &str) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let found = tasks.flatten().find(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    });
    let id = found.unwrap().file_name().into_string().unwrap();
    Pid::from_raw(id.parse().unwrap())
}

#[test]
fn it_is_ready_when_it_answers_and_fed_while_every_worker_turns() {
    let lab = Lab::new(2);
    let manager = Manager::of(&lab);
    let environment = [
        format!("NOTIFY_SOCKET={}", lab.path("notify").display()),
        format!("WATCHDOG_USEC={}", LIMIT.as_micros()),
    ];
    let environment: Vec<_> = environment.iter().map(String::as_str).collect();
    let mut daemon = lab.daemon_by("env", &environment, &[]);
    let first = manager.hear(Duration::from_secs(20)).unwrap();
    assert_eq!(first, "READY=1\n");
    assert_eq!(lab.ask("status")["workers"].as_array().unwrap().len(), 2);
    let fed = manager.wait_for("WATCHDOG=1");
    assert!(fed.contains("STATUS=0 calls, 2 workers"), "{fed}");
    // Idle workers sleep, and are alive.
    let fed = manager.hear_for(LIMIT).matches("WATCHDOG=1").count();
    assert!(fed >= 3, "fed {fed} times in {LIMIT:?}");

    let stopped = worker(daemon.pid(), "worker-1");
    ptrace::seize(stopped, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(stopped).unwrap();
    waitpid(stopped, Some(WaitPidFlag::__WALL)).unwrap();
    // It may have turned in the beat in which it was stopped.
    manager.wait_for("STATUS=worker 1 has not turned for");
    let starved = manager.hear_for(LIMIT);
    assert!(!starved.contains("WATCHDOG=1"), "{starved}");
    assert!(starved.contains("worker 1 has not turned"), "{starved}");
    assert!(!starved.contains("worker 0"), "{starved}");
    daemon.wait_for("the watchdog is not fed");

    // As after a long suspension: it goes on, and is fed again.
    ptrace::detach(stopped, None).unwrap();
    manager.wait_for("WATCHDOG=1");
    daemon.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0), "{}", daemon.log());
    lab.assert_untouched();
}

#[test]
fn who_does_not_start_is_not_ready() {
    let lab = Lab::new(2);
    let manager = Manager::of(&lab);
    let mut command = lab.command("env");
    command.arg(format!("NOTIFY_SOCKET={}", lab.path("notify").display()));
    let config = lab.config(&[("device = \"core\"", "device = \"none\"")]);
    let output = command
        .arg(env!("CARGO_BIN_EXE_trunklined"))
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    lab.refused(&output);
    assert_eq!(manager.hear(Duration::from_millis(1)), None);
}
