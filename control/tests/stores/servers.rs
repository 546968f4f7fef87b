//! The servers: each of a test's own, in a directory of its own, dead when the test ends.

use std::fs;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use nix::unistd::User;
use nix::unistd::chown;
use tempfile::TempDir;

use crate::AT_LAST;

/// A process and its children; dropped, it is ended.
pub struct Process {
    child: Child,
    /// The signal that ends it at once.
    end: Signal,
}

impl Process {
    pub fn start(command: &mut Command, end: Signal) -> Process {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Process { child, end }
    }

    /// SIGSTOP to it and to all its children: connections stay, and nothing moves on them.
    pub fn stop(&self) {
        let deadline = Instant::now() + AT_LAST;
        loop {
            // Again each time: a child made while they were signalled has not heard of it.
            self.signal_all(Signal::SIGSTOP);
            // On another core a thread goes on until the signal has come there.
            if self.all().into_iter().all(is_stopped) {
                break;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// SIGCONT to all of them.
    pub fn go_on(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    /// A child that ends meanwhile needs no signal.
    fn signal_all(&self, signal: Signal) {
        for process in self.all() {
            let _ = kill(process, signal);
        }
    }

    fn all(&self) -> Vec<Pid> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().map(|child| child.parse());
        let own = Pid::from_raw(own.try_into().unwrap());
        let children = children.map(|child| Pid::from_raw(child.unwrap()));
        std::iter::once(own).chain(children).collect()
    }

    fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal);
    }
}

/// Whether every thread of a process stands still; one that is gone does, and one that has ended and that its
/// stopped parent does not take in.
fn is_stopped(process: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    threads.into_iter().flatten().flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // proc_pid_stat(5): the state stands after the name, which may have anything in it.
        stat.rsplit(") ")
            .next()
            .is_none_or(|rest| rest.is_empty() || rest.starts_with(['T', 'Z', 'X']))
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        self.go_on();
        self.signal(self.end);
        let _ = self.child.wait();
    }
}

/// One that nobody else is given, below those that the kernel gives to whoever connects: a server that ends and
/// begins again finds it free.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs a command that ends by itself, and well.
fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{complained}");
    said
}

fn until_connected(port: u16) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < AT_LAST, "nobody on {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A PostgreSQL server with the table of subscribers.
pub struct Postgres {
    directory: TempDir,
    pub port: u16,
    process: Option<Process>,
}

impl Postgres {
    pub async fn new() -> Postgres {
        let directory = tempfile::tempdir().unwrap();
        // It does not run as root.
        let postgres = User::from_name("postgres").unwrap().unwrap();
        chown(directory.path(), Some(postgres.uid), Some(postgres.gid)).unwrap();
        let mut initdb = as_postgres("initdb");
        initdb
            .args(["--username=postgres", "--auth=trust", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(directory.path().join("data"));
        run(&mut initdb);
        let mut server = Postgres {
            directory,
            port: free_port(),
            process: None,
        };
        server.start().await;
        let table = "CREATE TABLE subscriber (username text, domain text, ha1_md5 text, \
                     ha1_sha256 text, ha1_sha512_256 text, PRIMARY KEY (username, domain))";
        server.run(table).await;
        server
    }

    pub async fn start(&mut self) {
        let mut postgres = as_postgres("postgres");
        postgres
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .arg("-k")
            .arg(self.directory.path())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-c", "fsync=off", "-c", "max_connections=30"])
            .args(["-c", "log_min_messages=panic"]);
        self.process = Some(Process::start(
            postgres.stderr(Stdio::null()),
            // An immediate shutdown: it takes its children with it, and recovers at its next start.
            Signal::SIGQUIT,
        ));
        let began = Instant::now();
        while self.try_run("").await.is_err() {
            assert!(began.elapsed() < AT_LAST, "no PostgreSQL");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has it ask this user, and nobody else, for a password.
    pub async fn ask_for_password(&self, user: &str) {
        let rules = format!("host all {user} all scram-sha-256\nhost all all all trust\n");
        fs::write(self.directory.path().join("data/pg_hba.conf"), rules).unwrap();
        self.run("SELECT pg_reload_conf()").await;
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    pub fn end(&mut self) {
        self.process = None;
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The rows that a query gives, each as the text of its first column.
    async fn try_run(&self, query: &str) -> Result<Vec<String>, tokio_postgres::Error> {
        let (client, connection) =
            tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await?;
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(query).await?;
        connection.abort();
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0)?.to_owned()),
            _ => None,
        });
        Ok(rows.collect())
    }

    pub async fn run(&self, query: &str) -> Vec<String> {
        let ran = self.try_run(query).await;
        ran.unwrap_or_else(|error| panic!("{query}: {error:?}"))
    }

    pub async fn add(&self, user: &str, domain: &str, ha1s: [Option<&str>; 3]) {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let ha1s = ha1s.map(|ha1| ha1.map_or("NULL".to_owned(), quoted));
        let values = [quoted(user), quoted(domain)].into_iter().chain(ha1s);
        let values = values.collect::<Vec<_>>().join(", ");
        self.run(&format!("INSERT INTO subscriber VALUES ({values})"))
            .await;
    }
}

/// A program of PostgreSQL's, to be run as its user. Debian keeps them by version, out of the way.
fn as_postgres(program: &str) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap();
    let newest = versions.map(|version| version.unwrap().path()).max();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(newest.unwrap().join("bin").join(program))
        .current_dir("/");
    command
}

/// A Redis server, of a cluster or by itself.
pub struct Redis {
    directory: TempDir,
    pub port: u16,
    bus: Option<u16>,
    process: Option<Process>,
}

impl Redis {
    pub fn new(is_of_cluster: bool) -> Redis {
        let mut server = Redis {
            directory: tempfile::tempdir().unwrap(),
            port: free_port(),
            bus: is_of_cluster.then(free_port),
            process: None,
        };
        server.start();
        server
    }

    pub fn start(&mut self) {
        let mut redis = Command::new("redis-server");
        redis
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--appendonly", "yes", "--appendfsync", "no"])
            .args(["--save", "", "--dir"])
            .arg(self.directory.path());
        if let Some(bus) = self.bus {
            redis
                .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"])
                .args(["--cluster-require-full-coverage", "no"])
                .args(["--cluster-port", &bus.to_string()]);
        }
        self.process = Some(Process::start(&mut redis, Signal::SIGKILL));
        until_connected(self.port);
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    pub fn end(&mut self) {
        self.process = None;
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What redis-cli prints for a command, asked in a cluster of whoever has the key.
    pub fn run(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-c", "-p", &self.port.to_string()]);
        run(cli.args(command))
    }

    pub fn add(&self, key: &str, fields: &[(&str, &str)]) {
        let mut command = vec!["HSET", key];
        command.extend(fields.iter().flat_map(|(field, ha1)| [*field, *ha1]));
        assert_eq!(self.run(&command).trim(), fields.len().to_string());
    }
}

/// A cluster of three that share the keys.
pub fn redis_cluster() -> [Redis; 3] {
    let nodes = [(); 3].map(|()| Redis::new(true));
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]);
    create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
    run(create.arg("--cluster-yes"));
    let began = Instant::now();
    for node in &nodes {
        while !node.run(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            assert!(began.elapsed() < AT_LAST, "no cluster");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    nodes
}

/// Python's HTTP server with the answers of `endpoint.py`.
pub fn endpoint(port: u16) -> Process {
    let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/endpoint.py");
    let mut python = Command::new("python3");
    let process = Process::start(python.arg(script).arg(port.to_string()), Signal::SIGKILL);
    until_connected(port);
    process
}
