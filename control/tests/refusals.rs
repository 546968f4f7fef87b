//! A daemon that cannot start says why and what to do, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use lab::Lab;
use lab::run;

/// Holds a UDP port in the box's namespace while it lives.
struct Holder(std::process::Child);

impl Holder {
    fn new(lab: &Lab, address: &str, port: u16) -> Holder {
        let child = lab
            .command("nc")
            .args(["-u", "-l", "-s", address, "-p", &port.to_string()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        lab::until(|| {
            run(&format!("ip netns exec {} ss -Huln", lab.box_)).contains(&format!(":{port} "))
        });
        Holder(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_unknown_interface() {
    let lab = Lab::new(2);
    let said = lab.refusal(&[("device = \"core\"", "device = \"kore\"")]);
    assert_eq!(
        said,
        "interface \"core\": there is no device kore in this network namespace. There are: lo, access, core\n"
    );
}

#[test]
fn an_interface_that_is_down() {
    let lab = Lab::new(2);
    run(&format!("ip -n {} link set core down", lab.box_));
    let said = lab.refusal(&[]);
    assert!(
        said.contains("core is down or has no carrier. Bring it up: ip link set core up"),
        "{said}"
    );
}

#[test]
fn fewer_queues_than_workers() {
    let lab = Lab::new(1);
    let said = lab.refusal(&[]);
    assert!(
        said.contains("access has 1 queue for 2 workers") && said.contains("workers = 1"),
        "{said}"
    );
}

#[test]
fn zero_copy_and_busy_polling_where_the_driver_has_neither() {
    let lab = Lab::new(2);
    let said = lab.refusal(&[("zero_copy = \"auto\"", "zero_copy = \"on\"")]);
    assert!(
        said.contains("access queue 0 refuses zero-copy")
            && said.contains("zero_copy = \"auto\" or \"off\""),
        "{said}"
    );
    let said = lab.refusal(&[("device = \"core\"", "device = \"core\"\nzero_copy = \"on\"")]);
    assert!(
        said.contains("interface \"core\" has zero_copy = \"on\", and access queue 0 refuses"),
        "{said}"
    );
    let said = lab.refusal(&[("busy_poll = \"auto\"", "busy_poll = \"on\"")]);
    assert!(
        said.contains(
            "interface \"access\": busy_poll = \"on\" takes no effect on access: frames are copied"
        ) && said.contains("Configure busy_poll = \"auto\""),
        "{said}"
    );
}

#[test]
fn an_mtu_that_native_xdp_does_not_take() {
    let lab = Lab::new(2);
    run(&format!("ip -n {} link set access mtu 9000", lab.box_));
    let said = lab.refusal(&[("mode = \"auto\"", "mode = \"native\"")]);
    assert!(
        said.contains("MTU of 9000") && said.contains("ip link set access mtu 1500"),
        "{said}"
    );
}

#[test]
fn an_address_that_is_not_local() {
    let lab = Lab::new(2);
    let said = lab.refusal(&[(
        "address = \"10.77.2.1:5060\"",
        "address = \"192.0.2.1:5060\"",
    )]);
    assert!(
        said.contains("listen \"core\": 192.0.2.1 is not an address of this box"),
        "{said}"
    );
}

#[test]
fn a_sip_port_in_use() {
    let lab = Lab::new(2);
    let holder = Holder::new(&lab, "10.77.1.1", 5060);
    let said = lab.refusal(&[]);
    let expected = format!(
        "listen \"access\": 10.77.1.1:5060 is in use by nc, process {}",
        holder.0.id()
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_media_port_in_use() {
    let lab = Lab::new(2);
    let holder = Holder::new(&lab, "0.0.0.0", 20_404);
    let said = lab.refusal(&[]);
    let expected = format!(
        "port 20404 of its range is in use by nc, process {}",
        holder.0.id()
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn media_ports_that_the_kernel_hands_out() {
    let lab = Lab::new(2);
    let change = ("ports = \"20000-24999\"", "ports = \"40000-44999\"");
    let said = lab.refusal(&[change]);
    assert!(
        said.contains("sysctl -w net.ipv4.ip_local_reserved_ports=40000-44999"),
        "{said}"
    );
    // What it says helps.
    run(&format!(
        "ip netns exec {} sysctl -qw net.ipv4.ip_local_reserved_ports=40000-44999",
        lab.box_
    ));
    lab.daemon(&[change]);
}

#[test]
fn another_xdp_program() {
    let lab = Lab::new(2);
    let source = lab.path("other.c");
    let object = lab.path("other.o");
    fs::write(
        &source,
        "__attribute__((section(\"xdp\"), used)) int other_prog(void *ctx) { return 2; }\n\
         __attribute__((section(\"license\"), used)) char _license[] = \"GPL\";\n",
    )
    .unwrap();
    run(&format!(
        "clang -O2 -g -target bpf -c {} -o {}",
        source.display(),
        object.display()
    ));
    run(&format!(
        "ip -n {} link set dev core xdpdrv obj {} sec xdp",
        lab.box_,
        object.display()
    ));
    let said = lab.refusal(&[]);
    assert!(
        said.contains("interface \"core\"") && said.contains("ip link set dev core xdp"),
        "{said}"
    );
    let links = run(&format!("ip -n {} -details link show core", lab.box_));
    assert!(links.contains("other_prog"), "theirs stays:\n{links}");
}

#[test]
fn rings_that_do_not_fit_after_the_programs_are_attached() {
    // One worker with both queues of both interfaces: more rings than the check of the
    // file can know of.
    let lab = Lab::new(2);
    let said = lab.refusal(&[
        ("workers = 2", "workers = 1"),
        ("#frames = 16384", "frames = 13000"),
    ]);
    assert!(
        said.contains("a UMEM of 13000 frames is too small"),
        "{said}"
    );
}

#[test]
fn no_privileges() {
    let lab = Lab::new(2);
    let config = lab.config(&[]);
    let mut command = lab.command("setpriv");
    command.args([
        "--bounding-set=-all",
        "--inh-caps=-all",
        env!("CARGO_BIN_EXE_trunklined"),
        "--config",
    ]);
    let said = lab.refused(&command.arg(config).output().unwrap());
    assert!(said.contains("Start it as root"), "{said}");
    for capability in ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"] {
        assert!(said.contains(capability), "{said}");
    }
}

#[test]
fn a_state_file_that_others_can_read_or_that_is_damaged() {
    let lab = Lab::new(2);
    fs::create_dir(lab.path("state")).unwrap();
    let file = lab.path("state/state.json");
    fs::write(&file, "{}").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let said = lab.refusal(&[]);
    assert!(
        said.contains("has mode 0644: others may have read its keys"),
        "{said}"
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let said = lab.refusal(&[]);
    assert!(said.contains("is damaged (missing field"), "{said}");
}

#[test]
fn a_core_that_the_process_may_not_use() {
    let lab = Lab::new(2);
    let said = lab.refusal(&[("#cores = [0, 1]", "cores = [0, 1000]")]);
    assert!(said.contains("worker 1 is to run on core 1000"), "{said}");
}

#[test]
fn a_second_daemon_on_the_same_interface_is_refused_and_the_first_goes_on() {
    let lab = Lab::new(2);
    let mut first = lab.daemon(&[]);
    let other = lab.path("other.sock");
    let config = lab.config(&[]);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace(
            &lab.socket().display().to_string(),
            &other.display().to_string(),
        ),
    )
    .unwrap();
    let mut command = lab.command(env!("CARGO_BIN_EXE_trunklined"));
    let output = command.arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("another trunklined drives access already (trunklined, process"),
        "{said}"
    );
    assert!(!other.exists());
    assert!(
        lab.trunkctl(&["status"]).status.success(),
        "the first still answers"
    );
    assert_eq!(first.end(nix::sys::signal::Signal::SIGTERM), Some(0));
}

#[test]
fn a_broken_configuration_is_shown_with_its_place() {
    let lab = Lab::new(2);
    let said = lab.refusal(&[("poll = \"adaptive\"", "pol = \"adaptive\"")]);
    assert!(
        said.contains("did you mean `poll`?") && said.contains("trunkline.toml:"),
        "{said}"
    );
    let file = lab.config(&[]);
    let checked = Command::new(env!("CARGO_BIN_EXE_trunklined"))
        .arg("--config")
        .arg(file)
        .arg("--check")
        .output()
        .unwrap();
    assert!(checked.status.success());
}
