//! What the daemon may do, from outside: what it gives up, what it says where it may not
//! start, and that it serves as a user who is not root. These tests need root.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use nix::sys::signal::Signal;
use seccompiler::SeccompAction;
use seccompiler::SeccompFilter;

mod lab;

use lab::Lab;

/// `key` of the status of each thread of `pid`, with the thread's name.
fn of_each_thread(pid: u32, key: &str) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut found: Vec<_> = tasks
        .map(|task| {
            let path = task.unwrap().path();
            let name = fs::read_to_string(path.join("comm")).unwrap();
            let status = fs::read_to_string(path.join("status")).unwrap();
            let value = status.lines().find_map(|line| line.strip_prefix(key));
            let value = value.unwrap().trim_start_matches(':').trim().to_owned();
            (name.trim().to_owned(), value)
        })
        .collect();
    found.sort();
    found
}

/// The set of CAP_NET_ADMIN alone, as the kernel prints it.
const NET_ADMIN: &str = "0000000000001000";
const NONE: &str = "0000000000000000";

#[test]
fn each_thread_keeps_only_what_it_needs() {
    let lab = Lab::new(2);
    let mut daemon = lab.daemon(&[]);
    let pid = daemon.pid();
    for set in ["CapPrm", "CapEff"] {
        for (name, held) in of_each_thread(pid, set) {
            let wanted = if name.starts_with("worker-") {
                NONE
            } else {
                NET_ADMIN
            };
            assert_eq!(held, wanted, "{set} of {name}");
        }
    }
    for (key, wanted) in [
        ("CapInh", NONE),
        ("CapAmb", NONE),
        ("CapBnd", NONE),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let threads = of_each_thread(pid, key);
        assert!(threads.len() >= 3, "control and two workers: {threads:?}");
        assert!(
            threads.iter().all(|(_, is)| is == wanted),
            "{key}: {threads:?}"
        );
    }
    let status = lab.ask("status");
    let said = &status["confinement"];
    assert_eq!(said[0]["thread"], "control");
    assert_eq!(
        said[0]["capabilities"],
        serde_json::json!(["CAP_NET_ADMIN"])
    );
    assert_eq!(
        (&said[0]["seccomp"], &said[1]["seccomp"]),
        (&"on".into(), &"on".into())
    );
    let files = said[0]["files"].as_str().unwrap();
    assert!(files.starts_with("Landlock ABI "), "{files}");
    assert_eq!(said[1]["capabilities"], serde_json::json!([]));
    // Its counts are still read: the maps are open.
    assert_eq!(lab.ask("stats")["complete"], true);
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0), "{}", daemon.log());
    lab.assert_untouched();
}

#[test]
fn confinement_can_be_logged_and_turned_off() {
    for (wish, seccomp) in [("log", "log"), ("off", "off")] {
        let lab = Lab::new(2);
        let change = format!("confinement = \"{wish}\"");
        let mut daemon = lab.daemon(&[("confinement = \"on\"", &change)]);
        let said = &lab.ask("status")["confinement"];
        assert_eq!(said[0]["seccomp"], seccomp);
        assert_eq!(said[0]["files"], "open: by configuration");
        // Capabilities go in any case.
        let held = of_each_thread(daemon.pid(), "CapPrm");
        assert!(
            held.iter()
                .all(|(_, held)| held == NONE || held == NET_ADMIN),
            "{held:?}"
        );
        assert_eq!(daemon.end(Signal::SIGTERM), Some(0), "{}", daemon.log());
        lab.assert_untouched();
    }
}

#[test]
fn a_user_with_the_capabilities_that_are_named_can_run_it() {
    let lab = Lab::new(2);
    for room in ["run", "state"] {
        fs::create_dir(lab.path(room)).unwrap();
        std::os::unix::fs::chown(lab.path(room), Some(65534), Some(65534)).unwrap();
    }
    let binary = lab.path("trunklined");
    fs::copy(env!("CARGO_BIN_EXE_trunklined"), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    // What the unit gives.
    let capabilities = "+net_admin,+net_raw,+bpf,+ipc_lock";
    let user = [
        "--reuid=65534".to_owned(),
        "--regid=65534".to_owned(),
        "--clear-groups".to_owned(),
        format!("--inh-caps={capabilities}"),
        format!("--ambient-caps={capabilities}"),
    ];
    let user: Vec<_> = user.iter().map(String::as_str).collect();
    let mut daemon = lab.daemon_of(&binary, "setpriv", &user, &[]);
    let owner = of_each_thread(daemon.pid(), "Uid");
    assert!(
        owner.iter().all(|(_, uid)| uid.starts_with("65534\t65534")),
        "{owner:?}"
    );
    let status = lab.ask("status");
    assert_eq!(status["interfaces"][0]["mode"], "native");
    assert_eq!(
        status["confinement"][0]["capabilities"],
        serde_json::json!(["CAP_NET_ADMIN"])
    );
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0), "{}", daemon.log());
    lab.assert_untouched();
}

#[test]
fn a_missing_capability_is_told_with_its_reason() {
    let lab = Lab::new(2);
    let mut command = lab.command("setpriv");
    command.args(["--bounding-set=-net_raw", "--inh-caps=-net_raw"]);
    let output = command
        .arg(env!("CARGO_BIN_EXE_trunklined"))
        .arg("--config")
        .arg(lab.config(&[]))
        .output()
        .unwrap();
    let said = lab.refused(&output);
    assert!(
        said.contains("CAP_NET_RAW") && said.contains("to open AF_XDP sockets"),
        "{said}"
    );
}

#[test]
fn a_filter_that_refuses_bpf_is_found() {
    let lab = Lab::new(2);
    let mut command = lab.command(env!("CARGO_BIN_EXE_trunklined"));
    command.arg("--config").arg(lab.config(&[]));
    // Inherited by what this thread starts, and by nothing else.
    let output = std::thread::spawn(move || {
        let filter = SeccompFilter::new(
            [(libc::SYS_bpf, Vec::new())].into(),
            SeccompAction::Allow,
            SeccompAction::Errno(1),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
        command.output().unwrap()
    });
    let said = lab.refused(&output.join().unwrap());
    assert!(
        said.contains("does not let this process load the XDP program"),
        "{said}"
    );
    assert!(
        said.contains("1 seccomp filter stood on this process"),
        "{said}"
    );
}

#[test]
fn a_user_namespace_is_found() {
    let lab = Lab::new(2);
    // Root of a namespace of its own, as in a rootless container, with a network of its own.
    let config = lab.config(&[]);
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c"])
        .arg(
            "ip link add access numtxqueues 2 numrxqueues 2 type veth peer name a && \
             ip link add core numtxqueues 2 numrxqueues 2 type veth peer name c && \
             ip address add 10.77.1.1/24 dev access && ip address add 10.77.2.1/24 dev core && \
             for link in lo access core a c; do ip link set dev $link up; done && \
             exec \"$0\" --config \"$1\"",
        )
        .arg(env!("CARGO_BIN_EXE_trunklined"))
        .arg(&config)
        .output()
        .unwrap();
    let said = lab.refused(&output);
    assert!(said.contains("this is a user namespace"), "{said}");
}
