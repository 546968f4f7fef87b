//! The binary in real network namespaces. Needs root and iproute2; says so and
//! does nothing where there are none.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use serde_json::Value;
use std::process::Command;

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
        let output = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.name,
                env!("CARGO_BIN_EXE_hugepage-setup"),
            ])
            .args(["check", "--json"])
            .args(arguments)
            .output()
            .unwrap();
        (
            serde_json::from_slice(&output.stdout).unwrap(),
            output.status.code(),
        )
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
