//! Attaching, living with other programs, and letting go, on interfaces of throw-away namespaces.

#![allow(clippy::expect_used, reason = "what a test expects, it says")]

mod support;

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use libbpf_rs::libbpf_sys::XDP_FLAGS_DRV_MODE;
use libbpf_rs::libbpf_sys::XDP_FLAGS_SKB_MODE;
use trunkline_bpf::AttachError;
use trunkline_bpf::DetachError;
use trunkline_bpf::LoadError;
use trunkline_bpf::Mode;
use trunkline_bpf::ModeWish;
use trunkline_bpf::OccupantMode;
use trunkline_bpf::Program;
use trunkline_bpf::Verdict;
use trunkline_bpf::VlanStack;

const NOTHING: (u32, u32) = (0, 0);

/// A program of ours that a daemon left behind when it was killed.
fn leave_predecessor(ifindex: u32, flags: u32) {
    let dead = support::load(1);
    support::attach_and_leave(dead.as_fd(), ifindex, flags);
    // It never learnt that it is attached, so dropping it takes nothing off.
}

#[test]
fn native_mode_is_taken_and_reported_and_nothing_stays() {
    support::in_namespace(|| {
        support::veth_pair();
        let near = support::ifindex("near");
        let mut program = support::load(2);
        assert_eq!(program.mode(), None);
        let mode = program.attach(near, ModeWish::Auto).expect("attaches");
        assert_eq!(mode, Mode::Native);
        assert_eq!(mode.to_string(), "native");
        assert_eq!(program.mode(), Some(Mode::Native));
        assert_eq!(program.native_refusal(), None);
        assert!(matches!(support::attached(near), (1.., 0)));

        assert_eq!(program.detach().expect("detaches"), Some(Mode::Native));
        assert_eq!(support::attached(near), NOTHING);
        assert_eq!(program.detach().expect("is no error"), None);
    });
}

#[test]
fn a_dropped_program_is_detached_from_either_mode() {
    support::in_namespace(|| {
        support::veth_pair();
        let near = support::ifindex("near");
        for wish in [ModeWish::Native, ModeWish::Generic] {
            let mut program = support::load(2);
            program.attach(near, wish).expect("attaches");
            assert_ne!(support::attached(near), NOTHING);
            drop(program);
            assert_eq!(support::attached(near), NOTHING, "{wish:?}");
        }
    });
}

#[test]
fn where_native_is_refused_auto_falls_back_and_says_why() {
    support::in_namespace(|| {
        let lo = support::ifindex("lo");
        let mut program = support::load(1);
        let error = program.attach(lo, ModeWish::Native).expect_err("no native");
        assert!(
            matches!(
                error,
                AttachError::Refused {
                    mode: Mode::Native,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("lo does not take"), "{error}");
        assert_eq!(support::attached(lo), NOTHING);

        let mode = program.attach(lo, ModeWish::Auto).expect("falls back");
        assert_eq!(mode.to_string(), "generic");
        let refusal = program.native_refusal().expect("a reason");
        assert!(refusal.contains("EOPNOTSUPP"), "{refusal}");
        assert!(matches!(support::attached(lo), (0, 1..)));
    });
}

#[test]
fn the_drivers_own_words_reach_the_operator() {
    support::in_namespace(|| {
        // Frames from the far end would not fit into a page: veth refuses, and explains.
        support::ip("link add name near type veth peer name far mtu 9000");
        let mut program = support::load(1);
        let error = program
            .attach(support::ifindex("near"), ModeWish::Native)
            .expect_err("frames too long");
        assert!(error.to_string().contains("MTU is too large"), "{error}");
        assert!(!error.to_string().contains("libbpf"), "{error}");
    });
}

#[test]
fn generic_is_taken_where_it_is_wished_for() {
    support::in_namespace(|| {
        support::veth_pair();
        let near = support::ifindex("near");
        let mut program = support::load(2);
        assert_eq!(
            program.attach(near, ModeWish::Generic).expect("attaches"),
            Mode::Generic
        );
        assert!(matches!(support::attached(near), (0, 1..)));
        assert_eq!(program.native_refusal(), None);
    });
}

#[test]
fn another_program_is_named_and_left_alone() {
    support::in_namespace(|| {
        support::veth_pair();
        let near = support::ifindex("near");
        let foreign = support::foreign_program();
        for (flags, expected_mode, word) in [
            (XDP_FLAGS_DRV_MODE, OccupantMode::Native, "xdpdrv"),
            (XDP_FLAGS_SKB_MODE, OccupantMode::Generic, "xdpgeneric"),
        ] {
            support::attach_and_leave(foreign.as_fd(), near, flags);
            let before = support::attached(near);
            for wish in [ModeWish::Auto, ModeWish::Native, ModeWish::Generic] {
                let error = support::load(2).attach(near, wish).expect_err("occupied");
                let AttachError::Occupied { name, mode, .. } = &error else {
                    panic!("{error:?}");
                };
                assert_eq!(name, "somebody_else");
                assert_eq!(*mode, expected_mode);
                let remedy = format!("ip link set dev near {word} off");
                assert!(error.to_string().contains(&remedy), "{error}");
            }
            assert_eq!(support::attached(near), before);
            support::ip(&format!("link set dev near {word} off"));
        }
    });
}

#[test]
fn a_predecessor_is_replaced_in_whatever_mode_it_sits() {
    support::in_namespace(|| {
        support::veth_pair();
        let near = support::ifindex("near");
        for flags in [XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE] {
            for (wish, expected) in [
                (ModeWish::Auto, Mode::Native),
                (ModeWish::Native, Mode::Native),
                (ModeWish::Generic, Mode::Generic),
            ] {
                leave_predecessor(near, flags);
                let before = support::attached(near);
                assert_ne!(before, NOTHING);
                let mut program = support::load(2);
                assert_eq!(program.attach(near, wish).expect("replaces"), expected);
                let after = support::attached(near);
                assert_ne!(after.0 + after.1, before.0 + before.1, "another id");
                assert_eq!(after.0 == 0, expected == Mode::Generic);
                program.detach().expect("detaches");
                assert_eq!(support::attached(near), NOTHING);
            }
        }
    });
}

#[test]
fn a_generic_predecessor_is_replaced_where_native_is_impossible() {
    support::in_namespace(|| {
        let lo = support::ifindex("lo");
        leave_predecessor(lo, XDP_FLAGS_SKB_MODE);
        let mut program = support::load(1);
        assert_eq!(
            program.attach(lo, ModeWish::Auto).expect("replaces"),
            Mode::Generic
        );
        program.detach().expect("detaches");
        assert_eq!(support::attached(lo), NOTHING);
    });
}

#[test]
fn one_program_has_one_interface() {
    support::in_namespace(|| {
        support::veth_pair();
        let mut program = support::load(2);
        let near = support::ifindex("near");
        program.attach(near, ModeWish::Auto).expect("attaches");
        let error = program
            .attach(support::ifindex("far"), ModeWish::Auto)
            .expect_err("already attached");
        assert!(matches!(&error, AttachError::Already { interface } if interface == "near"));
    });
}

#[test]
fn a_program_that_took_our_place_is_not_detached_with_us() {
    support::in_namespace(|| {
        support::veth_pair();
        let near = support::ifindex("near");
        let mut program = support::load(2);
        program.attach(near, ModeWish::Native).expect("attaches");
        let foreign = support::foreign_program();
        support::attach_and_leave(foreign.as_fd(), near, XDP_FLAGS_DRV_MODE);
        let before = support::attached(near);
        let error = program.detach().expect_err("not ours any more");
        assert!(matches!(error, DetachError::Replaced { .. }), "{error:?}");
        assert_eq!(support::attached(near), before);
    });
}

#[test]
fn an_interface_that_is_not_there_or_gone_is_told_apart() {
    support::in_namespace(|| {
        for ifindex in [0, 4242, u32::MAX] {
            let error = support::load(1)
                .attach(ifindex, ModeWish::Auto)
                .expect_err("no interface");
            assert!(
                matches!(error, AttachError::NoInterface { .. }),
                "{error:?}"
            );
        }
        support::veth_pair();
        let mut program = support::load(2);
        program
            .attach(support::ifindex("near"), ModeWish::Auto)
            .expect("attaches");
        support::ip("link del near");
        assert_eq!(
            program.detach().expect("nothing is left"),
            Some(Mode::Native)
        );
    });
}

#[test]
fn zero_or_absurdly_many_queues_are_refused() {
    support::require_root();
    for queues in [0, 4097, u32::MAX] {
        let error = Program::load(queues).expect_err("refused");
        assert!(matches!(error, LoadError::Queues { .. }), "{error:?}");
    }
}

#[test]
fn without_privileges_the_error_names_the_capabilities() {
    support::in_namespace(|| {
        support::veth_pair();
        let near = support::ifindex("near");
        let mut program = support::load(2);
        support::become_nobody();

        let error = Program::load(2).expect_err("load needs CAP_BPF");
        assert!(matches!(error, LoadError::NotPermitted { .. }), "{error:?}");
        for word in ["root", "CAP_BPF", "CAP_NET_ADMIN", "seccomp", "lockdown"] {
            assert!(error.to_string().contains(word), "{error}");
        }

        let error = program
            .attach(near, ModeWish::Auto)
            .expect_err("attach needs CAP_NET_ADMIN");
        assert!(
            matches!(&error, AttachError::NotPermitted { interface } if interface == "near"),
            "{error:?}"
        );
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}

#[test]
fn two_capabilities_suffice_but_not_to_identify_a_predecessor() {
    support::in_namespace(|| {
        support::veth_pair();
        let near = support::ifindex("near");
        let far = support::ifindex("far");
        leave_predecessor(far, XDP_FLAGS_DRV_MODE);
        let before = support::attached(far);
        support::keep_capabilities(&[support::CAP_BPF, support::CAP_NET_ADMIN]);

        let mut program = load_for_box();
        program.attach(near, ModeWish::Native).expect("attaches");
        assert!(program.verdicts().is_ok());
        program.detach().expect("detaches");

        let error = program
            .attach(far, ModeWish::Native)
            .expect_err("the kernel does not say whose it is");
        assert!(
            matches!(error, AttachError::Unidentified { .. }),
            "{error:?}"
        );
        for words in ["CAP_SYS_ADMIN", "ip link set dev far xdpdrv off"] {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(support::attached(far), before);
    });
}

/// The box (10.9.0.1 on `near`, this thread's namespace) and a peer (10.9.0.2) in a second one.
fn with_peer(test: impl FnOnce(u32, &support::Peer) + Send) {
    support::in_namespace(|| {
        let peer = support::Peer::new();
        support::veth_pair();
        support::ip(&format!("link set far netns {}", peer.path()));
        support::ip("addr add 10.9.0.1/24 dev near");
        peer.visit(|| {
            support::ip("addr add 10.9.0.2/24 dev far");
            support::ip("link set far up");
        });
        test(support::ifindex("near"), &peer);
    });
}

/// The box's program: SIP on 5060 and media on 10000 to 10009 of its address.
fn load_for_box() -> Program {
    let program = support::load(2);
    program
        .set_address(
            VlanStack::Untagged,
            [10, 9, 0, 1].into(),
            &[5060],
            &[10000..=10009],
        )
        .expect("sets");
    program
}

fn ping_box() {
    let output = Command::new("ping")
        .args(["-n", "-c", "2", "-i", "0.2", "-W", "5", "10.9.0.1"])
        .output()
        .expect("ping of the package iputils-ping");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Counters lag behind the sender. Waits until the box has counted, and gives up after 5 s.
fn wait_for(program: &Program, verdict: Verdict, count: u64) {
    for _ in 0..500 {
        if program.verdicts().expect("counters").get(verdict) >= count {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{verdict} never reached {count}: {:?}", program.verdicts());
}

#[test]
fn what_is_not_ours_goes_on_through_the_kernel() {
    with_peer(|near, peer| {
        for wish in [ModeWish::Native, ModeWish::Generic] {
            let mut program = load_for_box();
            program.attach(near, wish).expect("attaches");
            let tcp = TcpListener::bind("10.9.0.1:5060").expect("binds");
            let udp = UdpSocket::bind("10.9.0.1:5353").expect("binds");
            let timeout = Some(Duration::from_secs(5));
            udp.set_read_timeout(timeout).expect("sets");

            // A fresh neighbour entry, so that ARP is asked again.
            support::ip("neigh flush dev near");
            peer.visit(|| {
                support::ip("neigh flush dev far");
                ping_box();
                let mut stream = TcpStream::connect("10.9.0.1:5060").expect("TCP connects");
                stream.write_all(b"hello").expect("sends");
                let socket = UdpSocket::bind("10.9.0.2:0").expect("binds");
                socket.send_to(b"hello", "10.9.0.1:5353").expect("sends");
            });
            let (mut stream, _) = tcp.accept().expect("accepts");
            let mut bytes = [0; 5];
            stream.set_read_timeout(timeout).expect("sets");
            stream.read_exact(&mut bytes).expect("TCP arrives");
            assert_eq!(&bytes, b"hello");
            assert_eq!(udp.recv(&mut bytes).expect("UDP arrives"), 5);

            let verdicts = program.verdicts().expect("counters");
            for verdict in [
                Verdict::PassArp,
                Verdict::PassIcmp,
                Verdict::PassTcp,
                Verdict::PassOtherPort,
            ] {
                assert!(verdicts.get(verdict) > 0, "{wish:?} {verdict}");
            }
            // Unlink, so that the counters come to rest: every frame seen has its verdict.
            program.detach().expect("detaches");
            assert!(program.verdicts().expect("counters").balanced());
        }
    });
}

#[test]
fn tags_on_the_wire_are_seen_in_either_mode() {
    use support::frames::*;
    support::in_namespace(|| {
        support::veth_pair();
        let near = support::ifindex("near");
        for wish in [ModeWish::Native, ModeWish::Generic] {
            let Loaded { mut program, .. } = Loaded::new(false);
            program.attach(near, wish).expect("attaches");
            let send = |frame: Vec<u8>| support::send_frame(support::ifindex("far"), &frame);
            // These are SIP ports under these tags and under no others.
            send(tagged(&tags(ONE_TAG), udp(OURS, 5070)));
            send(tagged(&tags(TWO_TAGS), udp(OURS6, 5091)));
            wait_for(&program, Verdict::PassNoWorkerSip, 2);
            send(tagged(&tags(TWO_TAGS_8021Q), udp(OURS6, 5091)));
            wait_for(&program, Verdict::PassVlan, 1);
            program.detach().expect("detaches");
            assert!(program.verdicts().expect("counters").balanced(), "{wish:?}");
        }
    });
}

#[test]
fn with_no_worker_sip_reaches_the_kernel_and_media_does_not() {
    with_peer(|near, peer| {
        let mut program = load_for_box();
        program.attach(near, ModeWish::Native).expect("attaches");
        let sip = UdpSocket::bind("10.9.0.1:5060").expect("binds");
        let media = UdpSocket::bind("10.9.0.1:10009").expect("binds");
        sip.set_read_timeout(Some(Duration::from_secs(5)))
            .expect("sets");
        media.set_nonblocking(true).expect("sets");

        peer.visit(|| {
            let socket = UdpSocket::bind("10.9.0.2:0").expect("binds");
            socket.send_to(b"media", "10.9.0.1:10009").expect("sends");
            socket.send_to(b"SIP", "10.9.0.1:5060").expect("sends");
        });
        assert_eq!(sip.recv(&mut [0; 8]).expect("SIP arrives"), 3);
        wait_for(&program, Verdict::DropNoWorkerMedia, 1);
        let error = media.recv(&mut [0; 8]).expect_err("nothing arrives");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        let verdicts = program.verdicts().expect("counters");
        assert_eq!(verdicts.get(Verdict::PassNoWorkerSip), 1);
        assert_eq!(verdicts.get(Verdict::DropNoWorkerMedia), 1);
    });
}

#[test]
fn the_box_stays_reachable_when_the_daemon_was_killed() {
    with_peer(|near, peer| {
        let dead = load_for_box();
        support::attach_and_leave(dead.as_fd(), near, XDP_FLAGS_DRV_MODE);
        drop(dead);
        assert_ne!(support::attached(near), NOTHING);
        peer.visit(ping_box);
        // And the next daemon takes over at once.
        let mut program = load_for_box();
        program.attach(near, ModeWish::Auto).expect("replaces");
        peer.visit(ping_box);
        wait_for(&program, Verdict::PassIcmp, 2);
    });
}
