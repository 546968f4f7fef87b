//! A network namespace with a box in it, for one test: two veth pairs, a
//! configuration, and the daemon. Everything goes when the test ends, however it ends.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// How long anything may take before the test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Lab {
    pub box_: String,
    pub peer: String,
    room: tempfile::TempDir,
}

impl Lab {
    /// Two namespaces joined by two veth pairs with `queues` queues each: access and core
    /// on the box, caller0 and callee0 at the peer.
    pub fn new(queues: u32) -> Lab {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "tlc{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        // Programs run as another user look into it.
        let room = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let lab = Lab {
            box_: format!("{id}-box"),
            peer: format!("{id}-peer"),
            room,
        };
        let (near, far) = (&lab.box_, &lab.peer);
        for namespace in [near, far] {
            run(&format!("ip netns add {namespace}"));
            run(&format!("ip -n {namespace} link set lo up"));
        }
        for (device, other, net) in [("access", "caller0", 1), ("core", "callee0", 2)] {
            run(&format!(
                "ip -n {near} link add {device} numtxqueues {queues} numrxqueues {queues} type veth \
                 peer name {other} netns {far} numtxqueues {queues} numrxqueues {queues}"
            ));
            run(&format!(
                "ip -n {near} address add 10.77.{net}.1/24 dev {device}"
            ));
            run(&format!(
                "ip -n {far} address add 10.77.{net}.2/24 dev {other}"
            ));
            run(&format!("ip -n {near} link set {device} up"));
            run(&format!("ip -n {far} link set {other} up"));
        }
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/control.sock")
    }

    /// The default configuration with this room's paths, and `from` replaced by `to`.
    pub fn config(&self, changes: &[(&str, &str)]) -> PathBuf {
        let mut text = trunkline_control::config::DEFAULT.to_owned();
        let socket = format!("socket = \"{}\"", self.socket().display());
        let state = format!("state = \"{}\"", self.path("state").display());
        let own = [
            ("#socket = \"/run/trunkline/control.sock\"", socket.as_str()),
            ("#state = \"/var/lib/trunkline\"", state.as_str()),
        ];
        for (from, to) in own.iter().chain(changes) {
            assert!(text.contains(from), "{from:?} is not in the configuration");
            text = text.replace(from, to);
        }
        let path = self.path("trunkline.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// A command in the box's namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.box_, program]);
        command
    }

    /// Starts the daemon, which must refuse: what it said, and that nothing is left.
    pub fn refusal(&self, changes: &[(&str, &str)]) -> String {
        let config = self.config(changes);
        let mut command = self.command(env!("CARGO_BIN_EXE_trunklined"));
        let output = command.arg("--config").arg(&config).output().unwrap();
        self.refused(&output)
    }

    pub fn refused(&self, output: &Output) -> String {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        self.assert_untouched();
        said
    }

    /// No XDP program of ours, no socket file.
    pub fn assert_untouched(&self) {
        let links = run(&format!("ip -n {} -details link show", self.box_));
        assert!(
            !links.contains("trunkline_xdp"),
            "an XDP program is left:\n{links}"
        );
        assert!(!self.socket().exists(), "the socket file is left");
    }

    /// Starts the daemon, which must come up.
    pub fn daemon(&self, changes: &[(&str, &str)]) -> Daemon {
        self.daemon_by("env", &[], changes)
    }

    /// The same, started by `program`, which becomes it.
    pub fn daemon_by(&self, program: &str, arguments: &[&str], changes: &[(&str, &str)]) -> Daemon {
        let binary = Path::new(env!("CARGO_BIN_EXE_trunklined"));
        self.daemon_of(binary, program, arguments, changes)
    }

    /// The same, of a copy: others cannot look into a build's directory.
    pub fn daemon_of(
        &self,
        binary: &Path,
        program: &str,
        arguments: &[&str],
        changes: &[(&str, &str)],
    ) -> Daemon {
        let config = self.config(changes);
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.command(program);
        let child = command
            .args(arguments)
            .arg(binary)
            .arg("--config")
            .arg(config)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut daemon = Daemon {
            child,
            log: self.path("log"),
        };
        daemon.wait_for("ready;");
        daemon
    }

    pub fn trunkctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkctl"));
        command
            .arg("--socket")
            .arg(self.socket())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// What `trunkctl --json` says.
    pub fn ask(&self, command: &str) -> serde_json::Value {
        let output = self.trunkctl(&["--json", command]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.box_, &self.peer] {
            let _ = Command::new("ip")
                .args(["netns", "delete", namespace])
                .output();
        }
    }
}

pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// `ip netns exec` has become the daemon: it is the same process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        fs::File::open(&self.log)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    pub fn wait_for(&mut self, what: &str) {
        until(|| {
            let log = self.log();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("trunklined ended ({status}):\n{log}");
            }
            log.contains(what)
        });
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        // `ip netns exec` has become the daemon: it is the same process.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Sends `signal` and gives the exit code, none where the signal killed it.
    pub fn end(&mut self, signal: nix::sys::signal::Signal) -> Option<i32> {
        self.signal(signal);
        let mut status = None;
        until(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `done`; the test fails where that takes too long.
pub fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "it took too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a command that must succeed, and gives what it printed. The tests need root.
pub fn run(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`{line}` failed (this test needs root): {said}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
