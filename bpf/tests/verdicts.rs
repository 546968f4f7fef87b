//! What the program does with each kind of frame, by BPF_PROG_TEST_RUN: no NIC, no traffic.

#![allow(clippy::expect_used, reason = "what a test expects, it says")]

mod support;

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use etherparse::PacketBuilder;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use trunkline_bpf::Action;
use trunkline_bpf::MapError;
use trunkline_bpf::ModeWish;
use trunkline_bpf::Program;
use trunkline_bpf::TABLE;
use trunkline_bpf::Verdict;
use trunkline_bpf::Verdicts;

const OURS: [u8; 4] = [192, 0, 2, 1];
/// Ours too, and in use to its last slot.
const FULL: [u8; 4] = [192, 0, 2, 2];
const STRANGER: [u8; 4] = [198, 51, 100, 7];

const SIP_PORTS: [u16; 2] = [5060, 5080];
const MEDIA_MIN: u16 = 10000;
const MEDIA_MAX: u16 = 19999;

const FULL_SIP_PORTS: [u16; 8] = [1, 2, 3, 4, 5, 6, 7, 65535];
const FULL_MEDIA_PORTS: [(u16, u16); 4] =
    [(1000, 1001), (2000, 2000), (3000, 3999), (60000, 65534)];

// Offsets of an untagged IPv4 frame's fields.
const ETHERTYPE: usize = 12;
const VERSION_IHL: usize = 14;
const TOTAL_LEN: usize = 16;
const FRAGMENT: usize = 20;
const PROTOCOL: usize = 23;
const UDP_LEN: usize = 38;

/// A program that knows our addresses and, if wanted, has a socket on queue 0.
struct Loaded {
    program: Program,
    _socket: Option<OwnedFd>,
}

impl Loaded {
    fn new(with_worker: bool) -> Loaded {
        let program = support::load(1);
        let media = [MEDIA_MIN..=MEDIA_MAX];
        program
            .set_address(OURS.into(), &SIP_PORTS, &media)
            .expect("sets");
        program
            .set_address(
                FULL.into(),
                &FULL_SIP_PORTS,
                &FULL_MEDIA_PORTS.map(|(min, max)| min..=max),
            )
            .expect("sets");
        let socket = with_worker.then(support::xdp_socket);
        if let Some(socket) = &socket {
            program.insert_socket(0, socket.as_fd()).expect("inserts");
        }
        Loaded {
            program,
            _socket: socket,
        }
    }

    fn verdicts(&self) -> Verdicts {
        self.program.verdicts().expect("counters")
    }

    /// The one verdict that a frame was counted under. Checks that it is one, that all packets are
    /// counted, and that what the program returned is the verdict's action.
    fn judge(&self, frame: &[u8]) -> Verdict {
        let before = self.verdicts();
        let action = support::run(&self.program, frame);
        let after = self.verdicts();
        assert!(after.balanced(), "{after:?}");
        assert_eq!(after.seen(), before.seen() + 1);
        let counted: Vec<Verdict> = after
            .iter()
            .filter(|&(verdict, count)| count != before.get(verdict))
            .map(|(verdict, _)| verdict)
            .collect();
        assert_eq!(counted.len(), 1, "{counted:?}");
        assert_eq!(counted[0].action(), action, "{}", counted[0]);
        counted[0]
    }
}

fn udp(destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(STRANGER, destination, 64)
        .udp(4000, port)
        .write(&mut frame, &[0x80; 32])
        .expect("a frame");
    frame
}

fn sip() -> Vec<u8> {
    udp(OURS, SIP_PORTS[0])
}

fn tcp(destination: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(STRANGER, destination, 64)
        .tcp(4000, SIP_PORTS[0], 1, 1024)
        .write(&mut frame, &[])
        .expect("a frame");
    frame
}

fn icmp() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(STRANGER, OURS, 64)
        .icmpv4_echo_request(1, 1)
        .write(&mut frame, &[0; 16])
        .expect("a frame");
    frame
}

fn ipv6() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv6([1; 16], [2; 16], 64)
        .udp(4000, SIP_PORTS[0])
        .write(&mut frame, &[])
        .expect("a frame");
    frame
}

fn single_vlan() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .single_vlan(etherparse::VlanId::try_new(7).expect("a VLAN"))
        .ipv4(STRANGER, OURS, 64)
        .udp(4000, SIP_PORTS[0])
        .write(&mut frame, &[])
        .expect("a frame");
    frame
}

fn double_vlan() -> Vec<u8> {
    let vlan = |number| etherparse::VlanId::try_new(number).expect("a VLAN");
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .double_vlan(vlan(7), vlan(8))
        .ipv4(STRANGER, OURS, 64)
        .udp(4000, SIP_PORTS[0])
        .write(&mut frame, &[])
        .expect("a frame");
    frame
}

/// SIP whose IPv4 header has one word of options (four no-operations).
fn with_options() -> Vec<u8> {
    let mut frame = sip();
    let ip_end = 34;
    frame.splice(ip_end..ip_end, [1, 1, 1, 1]);
    frame[VERSION_IHL] = 0x46;
    let total_len = u16::from_be_bytes([frame[TOTAL_LEN], frame[TOTAL_LEN + 1]]) + 4;
    with_u16(frame, TOTAL_LEN, total_len)
}

fn with_u16(mut frame: Vec<u8>, offset: usize, value: u16) -> Vec<u8> {
    frame[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
    frame
}

fn with_u8(mut frame: Vec<u8>, offset: usize, value: u8) -> Vec<u8> {
    frame[offset] = value;
    frame
}

fn cut(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.truncate(len);
    frame
}

fn padded(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.resize(frame.len() + len, 0);
    frame
}

/// A name, a frame, and its verdict on a queue that has a worker.
type Fixture = (&'static str, Vec<u8>, Verdict);

fn link_fixtures() -> Vec<Fixture> {
    use Verdict::*;
    vec![
        ("ARP", with_u16(sip(), ETHERTYPE, 0x0806), PassArp),
        ("IPv6", ipv6(), PassIpv6),
        ("802.1Q", single_vlan(), PassVlan),
        ("QinQ", double_vlan(), PassVlan),
        (
            "802.1ad outermost",
            with_u16(double_vlan(), ETHERTYPE, 0x88a8),
            PassVlan,
        ),
        (
            "LLDP",
            with_u16(sip(), ETHERTYPE, 0x88cc),
            PassOtherEthertype,
        ),
        (
            "802.3 length",
            with_u16(sip(), ETHERTYPE, 46),
            PassOtherEthertype,
        ),
        ("an empty frame", cut(sip(), 0), PassTruncated),
        ("13 bytes", cut(sip(), 13), PassTruncated),
        ("an Ethernet header alone", cut(sip(), 14), PassTruncated),
        ("19 bytes of IPv4", cut(sip(), 33), PassTruncated),
        (
            "broadcast MAC, our address",
            {
                let mut frame = sip();
                frame[..6].fill(0xff);
                frame
            },
            RedirectSip,
        ),
    ]
}

fn ipv4_fixtures() -> Vec<Fixture> {
    use Verdict::*;
    let total_len = 20 + 8 + 32;
    vec![
        (
            "version 6 in 0x0800",
            with_u8(sip(), VERSION_IHL, 0x65),
            PassMalformed,
        ),
        ("ihl 4", with_u8(sip(), VERSION_IHL, 0x44), PassMalformed),
        ("ihl 0", with_u8(sip(), VERSION_IHL, 0x40), PassMalformed),
        ("ihl 6", with_options(), PassIpOptions),
        (
            "ihl 15 beyond the total length",
            with_u16(with_u8(sip(), VERSION_IHL, 0x4f), TOTAL_LEN, 59),
            PassMalformed,
        ),
        (
            "ihl 15 within the total length",
            with_u8(sip(), VERSION_IHL, 0x4f),
            PassIpOptions,
        ),
        (
            "total length 0",
            with_u16(sip(), TOTAL_LEN, 0),
            PassMalformed,
        ),
        (
            "total length 19",
            with_u16(sip(), TOTAL_LEN, 19),
            PassMalformed,
        ),
        (
            "total length one beyond the frame",
            with_u16(sip(), TOTAL_LEN, total_len + 1),
            PassMalformed,
        ),
        (
            "total length 65535",
            with_u16(sip(), TOTAL_LEN, 65535),
            PassMalformed,
        ),
        ("one byte cut off", cut(sip(), 73), PassMalformed),
        ("padding after the datagram", padded(sip(), 18), RedirectSip),
        ("another host", udp(STRANGER, 5060), PassOtherAddress),
        (
            "an address one beyond ours",
            udp([192, 0, 2, 3], 5060),
            PassOtherAddress,
        ),
        ("broadcast", udp([255; 4], 5060), PassOtherAddress),
        ("multicast", udp([224, 0, 1, 75], 5060), PassOtherAddress),
        ("TCP to another host", tcp(STRANGER), PassOtherAddress),
        (
            "first fragment",
            with_u16(sip(), FRAGMENT, 0x2000),
            PassFragment,
        ),
        (
            "last fragment",
            with_u16(sip(), FRAGMENT, 0x0001),
            PassFragment,
        ),
        (
            "largest offset",
            with_u16(sip(), FRAGMENT, 0x1fff),
            PassFragment,
        ),
        (
            "don't fragment",
            with_u16(sip(), FRAGMENT, 0x4000),
            RedirectSip,
        ),
        (
            "reserved bit",
            with_u16(sip(), FRAGMENT, 0x8000),
            RedirectSip,
        ),
        ("ICMP", icmp(), PassIcmp),
        ("TCP on the SIP port", tcp(OURS), PassTcp),
        ("SCTP", with_u8(sip(), PROTOCOL, 132), PassOtherProtocol),
    ]
}

fn udp_fixtures() -> Vec<Fixture> {
    use Verdict::*;
    let udp_len = 8 + 32;
    vec![
        (
            "total length leaves 7 bytes of UDP",
            with_u16(sip(), TOTAL_LEN, 27),
            PassTruncated,
        ),
        ("UDP length 7", with_u16(sip(), UDP_LEN, 7), PassMalformed),
        ("UDP length 0", with_u16(sip(), UDP_LEN, 0), PassMalformed),
        (
            "UDP length one beyond the datagram",
            with_u16(sip(), UDP_LEN, udp_len + 1),
            PassMalformed,
        ),
        (
            "UDP length into the padding",
            padded(with_u16(sip(), UDP_LEN, udp_len + 1), 18),
            PassMalformed,
        ),
        (
            "UDP length short of the datagram",
            with_u16(sip(), UDP_LEN, udp_len - 1),
            RedirectSip,
        ),
        ("UDP length 8", with_u16(sip(), UDP_LEN, 8), RedirectSip),
        ("port 0", udp(OURS, 0), PassOtherPort),
        ("first SIP port", udp(OURS, 5060), RedirectSip),
        ("second SIP port", udp(OURS, 5080), RedirectSip),
        ("below the SIP port", udp(OURS, 5059), PassOtherPort),
        ("above the SIP port", udp(OURS, 5061), PassOtherPort),
        (
            "SIP port in the wrong order",
            udp(OURS, 5060_u16.swap_bytes()),
            PassOtherPort,
        ),
        (
            "below the media range",
            udp(OURS, MEDIA_MIN - 1),
            PassOtherPort,
        ),
        ("first media port", udp(OURS, MEDIA_MIN), RedirectMedia),
        ("RTCP beside it", udp(OURS, MEDIA_MIN + 1), RedirectMedia),
        ("last media port", udp(OURS, MEDIA_MAX), RedirectMedia),
        (
            "above the media range",
            udp(OURS, MEDIA_MAX + 1),
            PassOtherPort,
        ),
        ("port 65535", udp(OURS, 65535), PassOtherPort),
    ]
}

fn fixtures() -> Vec<Fixture> {
    let mut all = link_fixtures();
    all.extend(ipv4_fixtures());
    all.extend(udp_fixtures());
    all
}

#[test]
fn each_fixture_gets_its_verdict() {
    let with_worker = Loaded::new(true);
    for (name, frame, verdict) in fixtures() {
        assert_eq!(with_worker.judge(&frame), verdict, "{name}");
    }
}

#[test]
fn without_a_worker_sip_goes_to_the_kernel_and_media_ends() {
    let without_worker = Loaded::new(false);
    for (name, frame, verdict) in fixtures() {
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
    let reached: Vec<Verdict> = fixtures().into_iter().map(|fixture| fixture.2).collect();
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
    for port in FULL_SIP_PORTS {
        assert_eq!(with_worker.judge(&udp(FULL, port)), Verdict::RedirectSip);
    }
    for (min, max) in FULL_MEDIA_PORTS {
        assert_eq!(with_worker.judge(&udp(FULL, min)), Verdict::RedirectMedia);
        assert_eq!(with_worker.judge(&udp(FULL, max)), Verdict::RedirectMedia);
    }
    for port in [0, 8, 999, 1002, 1999, 2001, 4000, 59999] {
        assert_eq!(with_worker.judge(&udp(FULL, port)), Verdict::PassOtherPort);
    }
    // What is ours at one address is not ours at another.
    assert_eq!(
        with_worker.judge(&udp(FULL, SIP_PORTS[0])),
        Verdict::PassOtherPort
    );
}

#[test]
fn setting_an_address_again_replaces_what_was_said() {
    let with_worker = Loaded::new(true);
    with_worker
        .program
        .set_address(OURS.into(), &[5070], &[])
        .expect("sets");
    assert_eq!(with_worker.judge(&sip()), Verdict::PassOtherPort);
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
        .set_address(OURS.into(), &[5060], &[5000..=5100])
        .expect("sets");
    assert_eq!(with_worker.judge(&udp(OURS, 5060)), Verdict::RedirectSip);
    assert_eq!(with_worker.judge(&udp(OURS, 5061)), Verdict::RedirectMedia);
}

#[test]
fn the_257th_address_is_refused_with_a_sentence() {
    let program = support::load(1);
    for host in 0..=255 {
        program
            .set_address(Ipv4Addr::new(10, 0, 0, host), &[5060], &[])
            .expect("there is room for 256");
    }
    let error = program
        .set_address(Ipv4Addr::new(10, 0, 1, 0), &[5060], &[])
        .expect_err("full");
    assert!(
        error.to_string().contains("no room for 10.0.1.0"),
        "{error}"
    );
    // One that is there can still be changed.
    program
        .set_address(Ipv4Addr::new(10, 0, 0, 9), &[5062], &[])
        .expect("replaces");
}

#[test]
fn a_removed_or_closed_socket_is_no_worker() {
    let with_worker = Loaded::new(true);
    assert_eq!(with_worker.judge(&sip()), Verdict::RedirectSip);
    with_worker.program.remove_socket(0).expect("removes");
    assert_eq!(with_worker.judge(&sip()), Verdict::PassNoWorkerSip);
    with_worker
        .program
        .remove_socket(0)
        .expect("removing nothing is no error");

    let socket = support::xdp_socket();
    with_worker
        .program
        .insert_socket(0, socket.as_fd())
        .expect("inserts");
    assert_eq!(with_worker.judge(&sip()), Verdict::RedirectSip);
    drop(socket);
    assert_eq!(with_worker.judge(&sip()), Verdict::PassNoWorkerSip);
}

#[test]
fn a_socket_serves_its_own_queue_only() {
    support::in_namespace(|| {
        support::veth_pair();
        let ifindex = support::ifindex("near");
        let mut program = support::load(2);
        program
            .set_address(OURS.into(), &SIP_PORTS, &[])
            .expect("sets");
        program.attach(ifindex, ModeWish::Native).expect("attaches");
        let socket = support::xdp_socket();
        program.insert_socket(1, socket.as_fd()).expect("inserts");
        let on_queue = |queue| support::run_on_queue(&program, &sip(), ifindex, queue);
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

/// The same judgement once more, from the help texts and with slices instead of pointers.
fn expected(frame: &[u8]) -> Verdict {
    let u16_at = |offset: usize| -> Option<usize> {
        let bytes = frame.get(offset..offset + 2)?;
        Some(usize::from(bytes[0]) << 8 | usize::from(bytes[1]))
    };
    let Some(ethertype) = u16_at(12) else {
        return Verdict::PassTruncated;
    };
    match ethertype {
        0x0800 => {}
        0x0806 => return Verdict::PassArp,
        0x86dd => return Verdict::PassIpv6,
        0x8100 | 0x88a8 => return Verdict::PassVlan,
        _ => return Verdict::PassOtherEthertype,
    }
    if frame.len() < 34 {
        return Verdict::PassTruncated;
    }
    let header_len = usize::from(frame[14] & 15) * 4;
    let total_len = u16_at(16).expect("34 bytes");
    let datagram_fits = header_len <= total_len && total_len <= frame.len() - 14;
    if frame[14] >> 4 != 4 || header_len < 20 || !datagram_fits {
        return Verdict::PassMalformed;
    }
    let (sip_ports, media_ports): (&[u16], &[(u16, u16)]) = if frame[30..34] == OURS {
        (&SIP_PORTS, &[(MEDIA_MIN, MEDIA_MAX)])
    } else if frame[30..34] == FULL {
        (&FULL_SIP_PORTS, &FULL_MEDIA_PORTS)
    } else {
        return Verdict::PassOtherAddress;
    };
    if header_len > 20 {
        return Verdict::PassIpOptions;
    }
    if u16_at(20).expect("34 bytes") & 0x3fff != 0 {
        return Verdict::PassFragment;
    }
    match frame[23] {
        1 => return Verdict::PassIcmp,
        6 => return Verdict::PassTcp,
        17 => {}
        _ => return Verdict::PassOtherProtocol,
    }
    if total_len < 28 {
        return Verdict::PassTruncated;
    }
    let udp_len = u16_at(38).expect("42 bytes");
    if udp_len < 8 || udp_len > total_len - 20 {
        return Verdict::PassMalformed;
    }
    let port = u16::from_be_bytes([frame[36], frame[37]]);
    if sip_ports.contains(&port) {
        return Verdict::RedirectSip;
    }
    if media_ports
        .iter()
        .any(|&(min, max)| (min..=max).contains(&port))
    {
        return Verdict::RedirectMedia;
    }
    Verdict::PassOtherPort
}

/// A failure prints the least frame that fails; it becomes a fixture, not a file of seeds.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    }
}

#[test]
fn random_bytes_get_one_verdict_each_and_the_right_one() {
    let with_worker = Loaded::new(true);
    let mut runner = TestRunner::new(cases(5_000));
    runner
        .run(&proptest::collection::vec(any::<u8>(), 0..200), |frame| {
            prop_assert_eq!(with_worker.judge(&frame), expected(&frame));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn mutated_fixtures_get_one_verdict_each_and_the_right_one() {
    let with_worker = Loaded::new(true);
    let mut frames: Vec<Vec<u8>> = fixtures().into_iter().map(|fixture| fixture.1).collect();
    frames.extend(FULL_SIP_PORTS.map(|port| udp(FULL, port)));
    // Up to three bytes of the headers changed, then cut or padded.
    let mutated = (
        proptest::sample::select(frames),
        proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        proptest::option::weighted(0.3, 0_usize..120),
    )
        .prop_map(|(mut frame, changes, len)| {
            let headers_len = frame.len().min(44);
            for (position, byte) in changes {
                if headers_len > 0 {
                    frame[usize::from(position) % headers_len] = byte;
                }
            }
            if let Some(len) = len {
                frame.resize(len, 0);
            }
            frame
        });
    let mut runner = TestRunner::new(cases(20_000));
    runner
        .run(&mutated, |frame| {
            prop_assert_eq!(with_worker.judge(&frame), expected(&frame));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// Figures, not a test: `cargo test -p trunkline-bpf --test verdicts -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures of this machine"]
fn nanoseconds_a_packet() {
    let with_worker = Loaded::new(true);
    let paths = [
        ("redirect_media", udp(OURS, MEDIA_MIN + 100)),
        ("redirect_sip", sip()),
        ("pass_other_port", udp(OURS, 53)),
        ("pass_tcp", tcp(OURS)),
        ("pass_other_address", udp(STRANGER, 5060)),
        ("pass_arp", with_u16(sip(), ETHERTYPE, 0x0806)),
    ];
    for (name, frame) in paths {
        let mut runs: Vec<u128> = (0..9)
            .map(|_| support::measure(&with_worker.program, &frame, 1_000_000).as_nanos())
            .collect();
        runs.sort_unstable();
        println!(
            "{name:20} {:4} ns a packet (median of 9, least {}, most {})",
            runs[4], runs[0], runs[8]
        );
    }
}
