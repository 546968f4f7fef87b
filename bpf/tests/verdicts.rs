//! What the program does with each kind of frame, by BPF_PROG_TEST_RUN: no NIC, no traffic.

#![allow(clippy::expect_used, reason = "what a test expects, it says")]

mod support;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;

use support::fixtures;
use support::frames::*;
use trunkline_bpf::ADDRESSES_MAX;
use trunkline_bpf::Action;
use trunkline_bpf::MapError;
use trunkline_bpf::ModeWish;
use trunkline_bpf::TABLE;
use trunkline_bpf::Verdict;
use trunkline_bpf::VlanStack;

#[test]
fn each_fixture_gets_its_verdict() {
    let with_worker = Loaded::new(true);
    for (name, frame, verdict) in fixtures::all() {
        assert_eq!(with_worker.judge(&frame), verdict, "{name}");
    }
}

#[test]
fn without_a_worker_sip_goes_to_the_kernel_and_media_ends() {
    let without_worker = Loaded::new(false);
    for (name, frame, verdict) in fixtures::all() {
        let expected = match verdict {
            Verdict::RedirectSip => Verdict::PassNoWorkerSip,
            Verdict::RedirectMedia => Verdict::DropNoWorkerMedia,
            other => other,
        };
        assert_eq!(without_worker.judge(&frame), expected, "{name}");
    }
    let verdicts = without_worker.verdicts();
    assert_eq!(verdicts.total(Action::Redirect), 0);
    assert!(verdicts.total(Action::Drop) > 0);
}

#[test]
fn the_fixtures_reach_every_verdict() {
    let reached: Vec<Verdict> = fixtures::all()
        .into_iter()
        .map(|fixture| fixture.2)
        .collect();
    for row in &TABLE {
        let by_missing_worker = matches!(
            row.verdict,
            Verdict::PassNoWorkerSip | Verdict::DropNoWorkerMedia
        );
        assert!(
            by_missing_worker || reached.contains(&row.verdict),
            "no fixture for {}",
            row.name
        );
    }
}

#[test]
fn every_slot_of_an_address_is_compared() {
    let with_worker = Loaded::new(true);
    for full in [FULL, FULL6] {
        for port in FULL_SIP_PORTS {
            assert_eq!(with_worker.judge(&udp(full, port)), Verdict::RedirectSip);
        }
        for (min, max) in FULL_MEDIA_PORTS {
            assert_eq!(with_worker.judge(&udp(full, min)), Verdict::RedirectMedia);
            assert_eq!(with_worker.judge(&udp(full, max)), Verdict::RedirectMedia);
        }
        for port in [0, 8, 999, 1002, 1999, 2001, 4000, 59999] {
            assert_eq!(with_worker.judge(&udp(full, port)), Verdict::PassOtherPort);
        }
        // What is ours at one address is not ours at another.
        assert_eq!(
            with_worker.judge(&udp(full, SIP_PORTS[0])),
            Verdict::PassOtherPort
        );
    }
}

#[test]
fn setting_an_address_again_replaces_what_was_said() {
    let with_worker = Loaded::new(true);
    with_worker
        .program
        .set_address(VlanStack::Untagged, OURS, &[5070], &[])
        .expect("sets");
    assert_eq!(
        with_worker.judge(&udp(OURS, SIP_PORTS[0])),
        Verdict::PassOtherPort
    );
    assert_eq!(
        with_worker.judge(&udp(OURS, MEDIA_MIN)),
        Verdict::PassOtherPort
    );
    assert_eq!(with_worker.judge(&udp(OURS, 5070)), Verdict::RedirectSip);
}

#[test]
fn a_port_in_both_is_sip() {
    let with_worker = Loaded::new(true);
    with_worker
        .program
        .set_address(VlanStack::Untagged, OURS, &[5060], &[5000..=5100])
        .expect("sets");
    assert_eq!(with_worker.judge(&udp(OURS, 5060)), Verdict::RedirectSip);
    assert_eq!(with_worker.judge(&udp(OURS, 5061)), Verdict::RedirectMedia);
}

#[test]
fn one_address_too_many_is_refused_with_a_sentence() {
    let program = support::load(1);
    let set = |stack, address: IpAddr| program.set_address(stack, address, &[5060], &[]);
    let hosts = u32::try_from(ADDRESSES_MAX).expect("a small number");
    for host in 0..hosts {
        set(ONE_TAG, Ipv4Addr::from(0x0a00_0000 + host).into()).expect("there is room");
        set(TWO_TAGS, Ipv6Addr::from(u128::from(host)).into()).expect("there is room");
    }
    let error = set(ONE_TAG, [10, 1, 0, 0].into()).expect_err("full");
    assert!(
        error.to_string().contains("no room for 10.1.0.0 in VLAN 7"),
        "{error}"
    );
    // The same address under other tags is one more.
    let error = set(ONE_TAG, [0; 8].into()).expect_err("full");
    assert!(error.to_string().contains("no room for ::"), "{error}");
    // One that is there can still be changed.
    set(ONE_TAG, [10, 0, 0, 9].into()).expect("replaces");
}

#[test]
fn a_stack_too_many_and_a_vid_that_cannot_be_are_refused_with_a_sentence() {
    let program = support::load(1);
    let set = |stack| program.set_address(stack, OURS, &[5060], &[]);
    for vid in 1..=256 {
        set(VlanStack::Single(vid)).expect("there is room for 256");
    }
    set(VlanStack::Untagged).expect("no tag is no stack");
    set(VlanStack::Single(9)).expect("replaces");
    let error = set(TWO_TAGS).expect_err("full");
    assert!(
        error
            .to_string()
            .contains("no room for addresses in VLAN 7 (802.1ad) and 4094"),
        "{error}"
    );
    for vid in [0, 4095] {
        let error = set(VlanStack::Single(vid)).expect_err("no VLAN");
        assert!(error.to_string().contains("from 1 to 4094"), "{error}");
    }
}

#[test]
fn an_outer_tag_of_802_1q_is_known_by_its_ethertype() {
    let program = Loaded::new(true);
    let frame = tagged(&tags(TWO_TAGS_8021Q), udp(OURS6, 5099));
    assert_eq!(program.judge(&frame), Verdict::PassVlan);
    program
        .program
        .set_address(TWO_TAGS_8021Q, OURS6, &[5099], &[])
        .expect("sets");
    assert_eq!(program.judge(&frame), Verdict::RedirectSip);
    let service_tag = tagged(&tags(TWO_TAGS), udp(OURS6, 5099));
    assert_eq!(program.judge(&service_tag), Verdict::PassOtherPort);
}

#[test]
fn a_removed_or_closed_socket_is_no_worker() {
    let with_worker = Loaded::new(true);
    assert_eq!(
        with_worker.judge(&udp(OURS, SIP_PORTS[0])),
        Verdict::RedirectSip
    );
    with_worker.program.remove_socket(0).expect("removes");
    assert_eq!(
        with_worker.judge(&udp(OURS, SIP_PORTS[0])),
        Verdict::PassNoWorkerSip
    );
    with_worker
        .program
        .remove_socket(0)
        .expect("removing nothing is no error");

    let socket = support::xdp_socket();
    with_worker
        .program
        .insert_socket(0, socket.as_fd())
        .expect("inserts");
    assert_eq!(
        with_worker.judge(&udp(OURS, SIP_PORTS[0])),
        Verdict::RedirectSip
    );
    drop(socket);
    assert_eq!(
        with_worker.judge(&udp(OURS, SIP_PORTS[0])),
        Verdict::PassNoWorkerSip
    );
}

#[test]
fn a_socket_serves_its_own_queue_only() {
    support::in_namespace(|| {
        support::veth_pair();
        let ifindex = support::ifindex("near");
        let mut program = support::load(2);
        program
            .set_address(VlanStack::Untagged, OURS, &SIP_PORTS, &[])
            .expect("sets");
        program.attach(ifindex, ModeWish::Native).expect("attaches");
        let socket = support::xdp_socket();
        program.insert_socket(1, socket.as_fd()).expect("inserts");
        let on_queue =
            |queue| support::run_on_queue(&program, &udp(OURS, SIP_PORTS[0]), ifindex, queue);
        assert_eq!(on_queue(0), Action::Pass);
        assert_eq!(on_queue(1), Action::Redirect);
    });
}

#[test]
fn a_queue_beyond_the_map_and_a_wrong_descriptor_are_errors() {
    let program = support::load(2);
    let socket = support::xdp_socket();
    program.insert_socket(1, socket.as_fd()).expect("inserts");
    assert!(matches!(
        program.insert_socket(2, socket.as_fd()),
        Err(MapError::NoQueue {
            queue: 2,
            queues: 2
        })
    ));
    assert!(program.remove_socket(2).is_err());
    let file = std::fs::File::open("/dev/null").expect("/dev/null");
    let error = program
        .insert_socket(0, file.as_fd())
        .expect_err("not a socket");
    assert!(error.to_string().contains("queue 0"), "{error}");
}
