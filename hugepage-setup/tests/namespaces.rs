//! The binary in real network namespaces. Needs root and iproute2; says so and
//! does nothing where there are none.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

/// A namespace that is deleted with everything in it, also on failure.
struct Namespace {
    name: String,
}

impl Namespace {
    fn new(role: &str) -> Namespace {
        let namespace = Namespace {
            name: format!("tlh-{}-{role}", std::process::id()),
        };
        ip(&["netns", "add", &namespace.name]);
        namespace
    }

    /// The report of `hugepage-setup check --json` in here, and its exit code.
    fn check(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.run(&[&["check", "--json"], arguments].concat());
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (report, output.status.code())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.name,
                env!("CARGO_BIN_EXE_hugepage-setup"),
            ])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// What another program says in here.
    fn tell(&self, program: &[&str]) -> String {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .args(program)
            .output()
            .unwrap();
        assert!(output.status.success(), "{program:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {output:?}");
}

#[test]
fn the_default_frames_of_two_workers_want_32_hugepages() {
    if !has_root() {
        return;
    }
    let namespace = Namespace::new("pages");
    let (report, _) = namespace.check(&[]);
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["item"] == "hugepages").unwrap();
    assert_eq!(row["wanted"], "32 free (2 workers, 32 MiB each)");
}

fn has_root() -> bool {
    let has = nix::unistd::geteuid().is_root();
    if !has {
        eprintln!("skipped: network namespaces need root");
    }
    has
}

fn state<'a>(report: &'a Value, item: &str) -> &'a str {
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["item"] == item);
    row.unwrap_or_else(|| panic!("no row '{item}' in {report:#}"))["state"]
        .as_str()
        .unwrap()
}

/// A veth named access in `inside`, its peer named far in `outside`.
fn join(inside: &Namespace, outside: &Namespace, rx: &str, peer_tx: &str) {
    ip(&[
        "-n",
        &inside.name,
        "link",
        "add",
        "access",
        "numtxqueues",
        "2",
        "numrxqueues",
        rx,
        "type",
        "veth",
        "peer",
        "name",
        "far",
        "netns",
        &outside.name,
        "numtxqueues",
        peer_tx,
        "numrxqueues",
        "2",
    ]);
    ip(&["-n", &inside.name, "link", "set", "access", "up"]);
}

#[test]
fn a_pair_with_two_queues_each_is_ready_for_two_workers() {
    if !has_root() {
        return;
    }
    let (inside, outside) = (Namespace::new("a1"), Namespace::new("a2"));
    join(&inside, &outside, "2", "2");
    let (report, _) = inside.check(&["--interface", "access"]);
    assert_eq!(state(&report, "access: interface"), "ok");
    assert_eq!(state(&report, "access: XDP"), "ok");
    assert_eq!(state(&report, "access: zero-copy"), "n/a");
    assert_eq!(state(&report, "access: queues"), "ok");
    assert_eq!(state(&report, "access: veth peer"), "ok");
}

#[test]
fn too_few_receive_queues_are_seen_and_so_is_a_peer_in_another_namespace() {
    if !has_root() {
        return;
    }
    let (inside, outside) = (Namespace::new("b1"), Namespace::new("b2"));
    join(&inside, &outside, "1", "2");
    let (report, code) = inside.check(&["--interface", "access"]);
    assert_eq!(state(&report, "access: queues"), "bad");
    assert_eq!(state(&report, "access: veth peer"), "warn");
    assert_eq!(report["ready"], false);
    assert_eq!(code, Some(1));
}

#[test]
fn a_peer_in_the_same_namespace_is_judged_by_the_queues_in_use() {
    if !has_root() {
        return;
    }
    let inside = Namespace::new("c1");
    join(&inside, &inside, "1", "2");
    let (report, _) = inside.check(&["--interface", "access", "--workers", "1"]);
    assert_eq!(state(&report, "access: queues"), "ok");
    assert_eq!(state(&report, "access: veth peer"), "bad");
    let (report, _) = inside.check(&["--interface", "far", "--workers", "1"]);
    assert_eq!(state(&report, "far: veth peer"), "ok");
}

#[test]
fn an_unknown_interface_is_answered_with_those_there_are() {
    if !has_root() {
        return;
    }
    let (inside, outside) = (Namespace::new("d1"), Namespace::new("d2"));
    join(&inside, &outside, "2", "2");
    let (report, code) = inside.check(&["--interface", "eth7"]);
    assert_eq!(state(&report, "eth7: interface"), "bad");
    assert!(
        report.to_string().contains("there are: access"),
        "{report:#}"
    );
    assert_eq!(code, Some(1));
}

/// A state file of the test's own, gone with its directory.
struct State {
    directory: PathBuf,
}

impl State {
    fn new(role: &str) -> State {
        let name = format!("tlh-{}-{role}", std::process::id());
        State {
            directory: std::env::temp_dir().join(name),
        }
    }

    fn path(&self) -> String {
        let path = self.directory.join("host.json");
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The lines of `ethtool -k` and `-l` that the stages may change.
fn switches(namespace: &Namespace) -> String {
    let features = namespace.tell(&["ethtool", "-k", "access"]);
    let channels = namespace.tell(&["ethtool", "-l", "access"]);
    let reserved = namespace.tell(&["cat", RESERVED]);
    format!("{features}{channels}{reserved}")
}

#[test]
fn apply_changes_what_veth_lets_change_and_undo_puts_it_back() {
    if !has_root() {
        return;
    }
    let (inside, outside) = (Namespace::new("e1"), Namespace::new("e2"));
    join(&inside, &outside, "2", "2");
    inside.tell(&["ethtool", "-L", "access", "rx", "1", "tx", "1"]);
    inside.tell(&["sysctl", "-qw", "net.ipv4.ip_local_reserved_ports=8080"]);
    let state = State::new("e");
    let config = state.directory.join("trunkline.toml");
    std::fs::create_dir_all(&state.directory).unwrap();
    let wanted = "
        workers = 2
        [[interface]]
        device = \"access\"
        vlan = 100
        [[listen]]
        address = \"10.0.0.1:5060\"
        [[media]]
        ports = \"40000-44999\"
    ";
    std::fs::write(&config, wanted).unwrap();
    let config = config.to_str().unwrap();
    // Those that touch this namespace alone: hugepages and interrupts are the machine's.
    let stages = [
        "ports",
        "queues",
        "rings",
        "offloads",
        "rss",
        "steering",
        "busy-poll",
    ];
    let path = state.path();
    let apply = [
        &["apply"],
        &stages[..],
        &["--config", config, "--state", &path],
    ]
    .concat();

    let before = switches(&inside);
    let planned = inside.run(&[&apply[..], &["--dry-run"]].concat());
    assert_eq!(switches(&inside), before);
    let first = inside.run(&apply);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let commands = |output: &Output| -> Vec<String> {
        let lines = text(output);
        let lines = lines.lines().filter(|line| line.starts_with("RUN:  "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(commands(&planned), commands(&first));
    assert_eq!(
        commands(&first),
        [
            "RUN:  sysctl -w net.ipv4.ip_local_reserved_ports=8080,40000-44999",
            "RUN:  ethtool -L access rx 2 tx 2",
            "RUN:  ethtool -K access rx-vlan-hw-parse off",
            "RUN:  ethtool -K access rx-vlan-stag-hw-parse off",
        ]
    );
    assert_eq!(inside.tell(&["cat", RESERVED]), "8080,40000-44999\n");
    let offloads = inside.tell(&["ethtool", "-k", "access"]);
    assert!(offloads.contains("rx-vlan-offload: off"), "{offloads}");

    let second = inside.run(&apply);
    assert!(commands(&second).is_empty(), "{second:?}");
    assert_eq!(second.status.code(), Some(0));
    let check = [&["check"], &stages[..], &["--config", config]].concat();
    assert_eq!(inside.run(&check).status.code(), Some(0));

    // One stage alone, then the rest.
    let undo = inside.run(&["undo", "offloads", "--state", &path]);
    assert_eq!(commands(&undo).len(), 2, "{undo:?}");
    let undo = inside.run(&["undo", "--state", &path]);
    assert_eq!(undo.status.code(), Some(0), "{undo:?}");
    assert_eq!(switches(&inside), before);
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn the_commands_that_are_printed_do_the_same_as_apply() {
    if !has_root() {
        return;
    }
    let (inside, outside) = (Namespace::new("f1"), Namespace::new("f2"));
    join(&inside, &outside, "2", "2");
    inside.tell(&["ethtool", "-L", "access", "rx", "1", "tx", "1"]);
    let stages = ["apply", "ports", "queues", "--dry-run"];
    let asked = ["--interface", "access", "--media-ports", "40000-44999"];
    let planned = text(&inside.run(&[&stages[..], &asked].concat()));
    for line in planned.lines() {
        if let Some(command) = line.strip_prefix("RUN:  ") {
            inside.tell(&["sh", "-c", command]);
        }
    }
    let (report, _) = inside.check(&[&["ports", "queues"], &asked[..]].concat());
    assert_eq!(report["applied"], true, "{report:#}");
    assert_eq!(inside.tell(&["cat", RESERVED]), "40000-44999\n");
}

#[test]
fn an_interface_that_went_away_is_no_failure_of_undo() {
    if !has_root() {
        return;
    }
    let (inside, outside) = (Namespace::new("g1"), Namespace::new("g2"));
    join(&inside, &outside, "2", "2");
    inside.tell(&["ethtool", "-L", "access", "rx", "1", "tx", "1"]);
    let state = State::new("g");
    let path = state.path();
    let apply = ["apply", "queues", "--interface", "access", "--state", &path];
    assert_eq!(inside.run(&apply).status.code(), Some(0));
    // In another namespace it belongs to somebody else: it is left, and kept.
    let elsewhere = outside.run(&["undo", "--state", &path]);
    assert!(text(&elsewhere).contains("another network namespace"));
    assert!(std::path::Path::new(&path).exists());
    ip(&["-n", &inside.name, "link", "del", "access"]);
    let undo = inside.run(&["undo", "--json", "--state", &path]);
    let report: Value = serde_json::from_slice(&undo.stdout).unwrap();
    assert_eq!(report["changes"][0]["outcome"], "left");
    assert_eq!(report["changes"][0]["stage"], "queues");
    assert_eq!(undo.status.code(), Some(0));
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn on_veth_the_doctor_says_what_does_not_apply() {
    if !has_root() {
        return;
    }
    let (inside, outside) = (Namespace::new("h1"), Namespace::new("h2"));
    join(&inside, &outside, "2", "2");
    let doctor = inside.run(&["doctor", "--json", "--interface", "access"]);
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    for item in [
        "zero-copy",
        "busy polling",
        "rings",
        "RSS",
        "steering",
        "busy poll timers",
        "interrupts",
    ] {
        let item = format!("access: {item}");
        assert_eq!(state(&report, &item), "n/a", "{item}");
    }
    let rows = report["rows"].as_array().unwrap();
    let driver = rows.iter().find(|row| row["item"] == "access: driver");
    let driver = driver.unwrap()["found"].as_str().unwrap();
    assert!(driver.starts_with("veth"), "{driver}");
}

#[test]
fn another_stage_or_value_is_a_usage_error() {
    if !has_root() {
        return;
    }
    let namespace = Namespace::new("i1");
    for arguments in [
        &["apply", "hugepage"][..],
        &["check", "--workers", "0"],
        &["fix"],
    ] {
        let output = namespace.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let missing = namespace.run(&["check", "--config", "/no/such/file"]);
    assert_eq!(missing.status.code(), Some(1));
    let error = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(error.contains("/no/such/file"), "{error}");
}

/// Attaches an XDP program of this name that passes everything.
fn attach(namespace: &Namespace, directory: &std::path::Path, name: &str) {
    std::fs::create_dir_all(directory).unwrap();
    let source = directory.join("program.c");
    let object = directory.join("program.o");
    let text = format!(
        "__attribute__((section(\"xdp\"), used)) int {name}(void *context) {{ return 2; }}"
    );
    std::fs::write(&source, text).unwrap();
    let output = Command::new("clang")
        .args(["-O2", "-g", "-target", "bpf", "-c", "-o"])
        .args([&object, &source])
        .output()
        .unwrap();
    assert!(output.status.success(), "clang: {output:?}");
    let object = object.to_str().unwrap();
    namespace.tell(&[
        "ip", "link", "set", "dev", "access", "xdpdrv", "obj", object, "sec", "xdp",
    ]);
}

#[test]
fn a_strangers_program_is_told_from_ours_and_under_either_nothing_resets_the_link() {
    if !has_root() {
        return;
    }
    for (name, expected, role) in [("stranger", "bad", "j"), ("trunkline_xdp", "ok", "k")] {
        let inside = Namespace::new(&format!("{role}1"));
        let outside = Namespace::new(&format!("{role}2"));
        join(&inside, &outside, "2", "2");
        let temporary = State::new(role);
        let path = temporary.path();
        let channels = || inside.tell(&["ethtool", "-l", "access"]);
        inside.tell(&["ethtool", "-L", "access", "rx", "2", "tx", "1"]);
        let before = channels();
        attach(&inside, &temporary.directory, name);
        let (report, _) = inside.check(&["driver", "--interface", "access"]);
        assert_eq!(state(&report, "access: program"), expected, "{report:#}");
        assert!(expected == "ok" || report.to_string().contains(name));
        let apply = ["apply", "queues", "--interface", "access", "--state", &path];
        let output = inside.run(&apply);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            text(&output).contains("stop trunklined first"),
            "{output:?}"
        );
        assert_eq!(channels(), before);
        // Nothing was changed, so there is nothing to undo.
        assert!(!std::path::Path::new(&path).exists());
        inside.tell(&["ip", "link", "set", "dev", "access", "xdpdrv", "off"]);
        assert_eq!(inside.run(&apply).status.code(), Some(0));
        assert_ne!(channels(), before);
    }
}
