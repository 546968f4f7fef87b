//! Figures, not tests: `cargo test -p trunkline-bpf --test nanoseconds -- --ignored --nocapture`.

#![allow(clippy::expect_used, reason = "what a test expects, it says")]

mod support;

use support::frames::*;

fn paths() -> Vec<(&'static str, Vec<u8>)> {
    let media = |stack, address| tagged(&tags(stack), udp(address, MEDIA_MIN + 9));
    vec![
        ("media", udp(OURS, MEDIA_MIN + 9)),
        ("media, IPv6", udp(OURS6, MEDIA_MIN + 9)),
        ("media, one tag", tagged(&tags(ONE_TAG), udp(OURS, 30009))),
        ("media, IPv6, one tag", media(ONE_TAG, OURS6)),
        (
            "media, two tags",
            tagged(&tags(TWO_TAGS), udp(OURS, MEDIA_MIN)),
        ),
        ("media, IPv6, two tags", media(TWO_TAGS, OURS6)),
        ("SIP", udp(OURS, SIP_PORTS[0])),
        ("another port of ours", udp(OURS, 53)),
        ("TCP to us", tcp(OURS)),
        ("another address", udp(STRANGER, 5060)),
        ("another address, IPv6", udp(STRANGER6, 5060)),
        ("another VLAN", tagged(&[[0x8100, 8]], udp(OURS, 5060))),
        ("ARP", with_u16(udp(OURS, 53), 12, 0x0806)),
    ]
}

fn print_figures(with_worker: &Loaded) {
    for (name, frame) in paths() {
        let mut runs: Vec<u128> = (0..9)
            .map(|_| support::measure(&with_worker.program, &frame, 1_000_000).as_nanos())
            .collect();
        runs.sort_unstable();
        println!(
            "{name:24} {:4} ns a packet (median of 9, least {}, most {})",
            runs[4], runs[0], runs[8]
        );
    }
}

#[test]
#[ignore = "prints figures of this machine"]
fn nanoseconds_a_packet() {
    print_figures(&Loaded::new(true));
}

/// The verifier puts its Spectre barriers into the program of a loader without CAP_PERFMON.
#[test]
#[ignore = "prints figures of this machine"]
fn nanoseconds_a_packet_without_cap_perfmon() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let socket_needs = support::CAP_NET_RAW;
            support::keep_capabilities(&[support::CAP_BPF, support::CAP_NET_ADMIN, socket_needs]);
            print_figures(&Loaded::new(true));
        });
    });
}
