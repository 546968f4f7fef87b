//! A daemon that is up: the host goes on working, changes are followed, and it ends in
//! order or in disorder.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use lab::Lab;
use lab::run;
use nix::sys::signal::Signal;

fn ping(lab: &Lab, address: &str) {
    run(&format!(
        "ip netns exec {} ping -q -c 1 -W 5 {address}",
        lab.peer
    ));
}

fn answers(lab: &Lab, what: impl Fn(&serde_json::Value) -> bool) {
    lab::until(|| what(&lab.ask("status")));
}

#[test]
fn it_comes_up_answers_and_ends_with_exact_sums() {
    let lab = Lab::new(2);
    let mut daemon = lab.daemon(&[]);
    let status = lab.ask("status");
    assert_eq!(status["interfaces"][0]["mode"], "native");
    assert_eq!(status["interfaces"][1]["queues"], 2);
    assert_eq!(status["workers"].as_array().unwrap().len(), 2);
    ping(&lab, "10.77.1.1");
    ping(&lab, "10.77.2.1");
    for command in ["status", "stats", "calls", "flows", "version"] {
        let output = lab.trunkctl(&[command]);
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{command}"
        );
    }
    let unknown = lab.trunkctl(&["call", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&unknown.stderr),
        "trunkctl: no call has the Call-ID nobody\n"
    );
    assert_eq!(
        fs::metadata(lab.socket()).unwrap().permissions().mode() & 0o777,
        0o660
    );
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    let log = daemon.log();
    let sums = status["sums"].as_array().unwrap().len();
    assert_eq!(log.matches(": exact").count(), sums, "{log}");
    assert!(log.contains("stopped"), "{log}");
    lab.assert_untouched();
}

#[test]
fn how_frames_cross_is_said_of_each_interface() {
    let lab = Lab::new(4);
    let defers = |value: &str| {
        for (file, value) in [("napi_defer_hard_irqs", "2"), ("gro_flush_timeout", value)] {
            let write = format!("echo {value} > /sys/class/net/core/{file}");
            assert!(
                lab.command("sh")
                    .args(["-c", &write])
                    .status()
                    .unwrap()
                    .success()
            );
        }
    };
    defers("200000");
    let mut daemon = lab.daemon(&[("zero_copy = \"auto\"", "zero_copy = \"off\"")]);
    let status = lab.ask("status");
    let [access, core] = [&status["interfaces"][0], &status["interfaces"][1]];
    let off = "zero_copy = \"off\" of interface \"access\" holds for all";
    assert_eq!(core["frames"], "copy");
    assert_eq!(core["frames_because"], off);
    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains("frames are copied: zero_copy"),
        "{warnings}"
    );
    // Nothing was asked of access, whose interrupts are not deferred; core was asked.
    assert_eq!(access["busy_poll"], "off");
    assert!(
        access["busy_poll_because"]
            .as_str()
            .unwrap()
            .contains("interrupts of access are not deferred")
    );
    assert_eq!(core["busy_poll"], "no effect");
    assert!(
        core["busy_poll_because"]
            .as_str()
            .unwrap()
            .starts_with("frames are copied")
    );
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0), "{}", daemon.log());
    assert!(
        daemon
            .log()
            .contains("interface core (core): XDP native, copy, 4 queues, no busy polling: "),
        "{}",
        daemon.log()
    );
}

#[test]
fn sigint_ends_it_in_order_too() {
    let lab = Lab::new(2);
    let mut daemon = lab.daemon(&[]);
    assert_eq!(daemon.end(Signal::SIGINT), Some(0));
    lab.assert_untouched();
}

#[test]
fn sighup_is_answered_in_the_log_and_ends_nothing() {
    let lab = Lab::new(2);
    let mut daemon = lab.daemon(&[]);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("there is no reload yet; restart to change the configuration");
    assert_eq!(lab.ask("status")["workers"].as_array().unwrap().len(), 2);
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    lab.assert_untouched();
}

#[test]
fn after_sigkill_the_host_is_reachable_and_a_restart_works_at_once() {
    let lab = Lab::new(2);
    let mut daemon = lab.daemon(&[]);
    assert_eq!(daemon.end(Signal::SIGKILL), None);
    ping(&lab, "10.77.1.1");
    assert!(lab.socket().exists(), "a killed daemon removes nothing");
    let mut daemon = lab.daemon(&[]);
    assert_eq!(lab.ask("status")["interfaces"][0]["mode"], "native");
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    lab.assert_untouched();
}

#[test]
fn without_cap_sys_admin_it_warns_and_refuses_to_replace_what_it_cannot_know() {
    let lab = Lab::new(2);
    let without = ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    let mut daemon = lab.daemon_by("setpriv", &without, &[]);
    let status = lab.ask("status");
    let warnings = status["warnings"].as_array().unwrap().iter();
    let warnings: Vec<_> = warnings.filter_map(|warning| warning.as_str()).collect();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.starts_with("without CAP_SYS_ADMIN")),
        "{warnings:?}"
    );
    assert_eq!(daemon.end(Signal::SIGKILL), None);
    let mut again = lab.command("setpriv");
    again.args(without).arg(env!("CARGO_BIN_EXE_trunklined"));
    let output = again.arg("--config").arg(lab.config(&[])).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("that takes CAP_SYS_ADMIN"), "{said}");
}

#[test]
fn changes_of_the_network_are_followed() {
    let lab = Lab::new(2);
    let mut daemon = lab.daemon(&[]);
    // The trunks' neighbours are resolved without a packet of theirs.
    let managed = |address: &str| {
        run(&format!("ip -n {} neighbour show {address}", lab.box_)).contains("managed REACHABLE")
    };
    lab::until(|| managed("10.77.1.2") && managed("10.77.2.2"));
    let networks = || lab.ask("stats")["operator"]["networks"].as_u64().unwrap();
    lab::until(|| networks() > 0);
    let before = networks();
    run(&format!(
        "ip -n {} route add 192.0.2.0/24 via 10.77.2.2",
        lab.box_
    ));
    lab::until(|| networks() > before);
    run(&format!("ip -n {} link set caller0 down", lab.peer));
    answers(&lab, |status| status["interfaces"][0]["link"] == "down");
    run(&format!("ip -n {} link set caller0 up", lab.peer));
    answers(&lab, |status| status["interfaces"][0]["link"] == "up");
    run(&format!("ip -n {} link set core mtu 1400", lab.box_));
    answers(&lab, |status| status["interfaces"][1]["mtu"] == 1400);
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    let kept = run(&format!("ip -n {} neighbour show", lab.box_));
    assert!(
        !kept.contains("managed"),
        "the kernel has its entries back:\n{kept}"
    );
}

/// Addresses, routes by a link-local router, and neighbours of IPv6 are followed, and the
/// trunk's next hop is kept resolved. At the start the address is still tentative.
#[test]
fn ipv6_is_mirrored_and_its_neighbours_are_kept() {
    let lab = Lab::new(2);
    let (near, far) = (&lab.box_, &lab.peer);
    run(&format!(
        "ip -n {far} address add 2001:db8:1::2/64 dev caller0 nodad"
    ));
    run(&format!(
        "ip -n {far} address add fe80::77/64 dev caller0 nodad"
    ));
    run(&format!(
        "ip -n {near} address add 2001:db8:1::1/64 dev access"
    ));
    let six = "[[listen]]\nname = \"six\"\naddress = \"[2001:db8:1::1]:5060\"\n\
               [[media]]\nname = \"six\"\naddress = \"2001:db8:1::1\"\nports = \"20000-24999\"\n\
               [[trunk]]\nname = \"six\"\nsources = [\"2001:db8:1::2\", \"2001:db8:9::9\"]\n\
               listen = \"six\"\nmedia = \"six\"\n# ---- Routes";
    let mut daemon = lab.daemon(&[("# ---- Routes", six)]);
    let managed = |address: &str| {
        run(&format!("ip -n {near} -6 neighbour show {address}")).contains("managed REACHABLE")
    };
    lab::until(|| managed("2001:db8:1::2"));
    // The other host of the trunk lies behind a router that has a link-local address only.
    run(&format!(
        "ip -n {near} -6 route add 2001:db8:9::/48 via fe80::77 dev access"
    ));
    lab::until(|| managed("fe80::77"));
    run(&format!(
        "ip -n {near} -6 route add blackhole 2001:db8:8::/48"
    ));
    let way = |address: &str| {
        let said = lab.trunkctl(&["--json", "routes", "get", address]);
        String::from_utf8(said.stdout).unwrap()
    };
    lab::until(|| way("2001:db8:9::9").contains("fe80::77"));
    assert!(!way("2001:db8:8::1").contains("2001:db8:8::1 via"));
    run(&format!("ip -n {near} -6 neighbour flush dev access"));
    lab::until(|| managed("2001:db8:1::2"));
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0), "{}", daemon.log());
    let kept = run(&format!("ip -n {near} -6 neighbour show"));
    assert!(!kept.contains("managed"), "{kept}");
}

/// A bridge has no queues of its own drivers': generic mode on one worker works, and its
/// port is refused.
#[test]
fn a_bridge_runs_in_generic_mode_and_its_port_is_refused() {
    let lab = Lab::new(1);
    let near = &lab.box_;
    run(&format!("ip -n {near} link add br0 type bridge"));
    run(&format!("ip -n {near} link set core master br0"));
    let one = ("workers = 2", "workers = 1");
    let said = lab.refusal(&[one]);
    assert!(
        said.contains("core is a port of br0 (bridge)")
            && said.contains("ip link set core nomaster"),
        "{said}"
    );
    run(&format!("ip -n {near} address flush dev core"));
    run(&format!("ip -n {near} address add 10.77.2.1/24 dev br0"));
    run(&format!("ip -n {near} link set br0 up"));
    lab::until(|| run(&format!("ip -n {near} link show br0")).contains("LOWER_UP"));
    let mut daemon = lab.daemon(&[one, ("device = \"core\"", "device = \"br0\"")]);
    answers(&lab, |status| status["interfaces"][1]["mode"] == "generic");
    ping(&lab, "10.77.2.1");
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0), "{}", daemon.log());
}

#[test]
fn neighbours_that_an_administrator_has_set_are_left_alone() {
    let lab = Lab::new(2);
    let set = |address: &str, device: &str| {
        let mac = "02:00:00:00:00:77";
        run(&format!(
            "ip -n {} neighbour replace {address} lladdr {mac} dev {device} nud permanent",
            lab.box_
        ));
    };
    let shown = |address: &str| run(&format!("ip -n {} neighbour show {address}", lab.box_));
    let is_as_set = |address: &str| {
        let shown = shown(address);
        shown.contains("lladdr 02:00:00:00:00:77 PERMANENT") && !shown.contains("managed")
    };
    set("10.77.1.2", "access");
    let mut daemon = lab.daemon(&[]);
    // It is asked for after the other: that one has been passed over by then.
    lab::until(|| shown("10.77.2.2").contains("managed REACHABLE"));
    assert!(is_as_set("10.77.1.2"), "{}", shown("10.77.1.2"));
    set("10.77.2.2", "core");
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    for address in ["10.77.1.2", "10.77.2.2"] {
        assert!(is_as_set(address), "{}", shown(address));
    }
}

#[test]
fn what_reaches_the_kernels_socket_is_taken_up_by_a_worker() {
    let lab = Lab::new(2);
    let mut daemon = lab.daemon(&[]);
    // From the box itself: over the loopback, past XDP.
    let sender = "printf nonsense | nc -u -q 0 -s 10.77.1.1 10.77.1.1 5060";
    let sent = lab.command("sh").args(["-c", sender]).output().unwrap();
    assert!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    let counted = |name: &str| {
        let stats = lab.ask("stats");
        let rows = stats["counters"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["name"] == name).unwrap()["total"]
            .as_u64()
            .unwrap()
    };
    lab::until(|| counted("kernel_in") == 1 && counted("sip_malformed") == 1);
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0), "{}", daemon.log());
}

#[test]
fn a_stranger_is_refused_even_where_the_files_mode_lets_him_in() {
    let lab = Lab::new(2);
    let mut daemon = lab.daemon(&[]);
    fs::set_permissions(lab.socket(), fs::Permissions::from_mode(0o777)).unwrap();
    let trunkctl = lab.path("trunkctl");
    fs::copy(env!("CARGO_BIN_EXE_trunkctl"), &trunkctl).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let output = command
        .arg(&trunkctl)
        .arg("--socket")
        .arg(lab.socket())
        .arg("status")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("you may not use"), "{said}");
    assert_eq!(lab.ask("stats")["operator"]["refused"], 1);
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
}

#[test]
fn curl_works() {
    let lab = Lab::new(2);
    let _daemon = lab.daemon(&[]);
    let socket = lab.socket();
    let said = run(&format!(
        "curl -sS --unix-socket {} http://localhost/v1/version",
        socket.display()
    ));
    let version: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(version["name"], "trunklined");
}
