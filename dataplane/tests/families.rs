//! Calls with media between every pair of {IPv4, IPv6} × {no tag, one, two}, through whole
//! workers: what each side sees is of its own family and behind its own tags.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::IpAddr;
use std::net::SocketAddr;

use bench::Bench;
use bench::answer;
use bench::call::only;
use bench::call::rtp;
use bench::call::status;
use bench::header;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::lab::MEDIA_PORTS;
use trunkline_dataplane::lab::Side;
use trunkline_dataplane::ring::FakeConfig;
use trunkline_dataplane::wire::VlanStack;
use trunkline_dataplane::wire::vlan::TPID_8021AD;
use trunkline_dataplane::wire::vlan::TPID_8021Q;

const STACKS: [VlanStack; 3] = [
    VlanStack::NONE,
    VlanStack::one(100),
    VlanStack::two(TPID_8021AD, 200, 100),
];

fn sides() -> impl Iterator<Item = Side> + Clone {
    let stacks = |ipv6| STACKS.into_iter().map(move |vlan| Side { ipv6, vlan });
    [false, true].into_iter().flat_map(stacks)
}

const PLAIN4: Side = Side {
    ipv6: false,
    vlan: VlanStack::NONE,
};
const PLAIN6: Side = Side {
    ipv6: true,
    vlan: VlanStack::NONE,
};

const fn within(sides: [Side; 2]) -> Lab {
    Lab {
        sides,
        shared: false,
    }
}

/// An address as a URI names it.
fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn connection(address: IpAddr) -> String {
    format!(
        "IN {} {address}",
        if address.is_ipv4() { "IP4" } else { "IP6" }
    )
}

fn sdp(address: SocketAddr) -> String {
    let connection = connection(address.ip());
    format!(
        "v=0\r\no=- 1 1 {connection}\r\ns=-\r\nc={connection}\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\n",
        address.port()
    )
}

/// Where the box says that media goes, and its family is that of the reader's side.
fn media_in(text: &str, relay: IpAddr) -> SocketAddr {
    let line = format!("c={}\r\n", connection(relay));
    assert!(text.contains(&line), "{line} not in {text}");
    let port = text.split("m=audio ").nth(1).unwrap();
    SocketAddr::new(relay, port.split(' ').next().unwrap().parse().unwrap())
}

fn request(lab: &Lab, side: usize, method: &str, target: &str, lines: &str, body: &str) -> String {
    let from = host(lab.host(side, 2));
    let kind = match body {
        "" => "",
        _ => "Content-Type: application/sdp\r\n",
    };
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bK{side}{method}\r\n\
         Max-Forwards: 70\r\n{lines}Call-ID: families\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:party@{from}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A call with media both ways, hung up by the callee.
fn call(lab: Lab) {
    let mut bench = Bench::within(lab, 2);
    let (caller, callee) = (lab.peer(0), lab.peer(1));
    let (access, core) = (lab.listen(0), lab.listen(1));
    let media = [0, 1].map(|side| SocketAddr::new(lab.host(side, 2), 6000));
    let ours = host(access.ip());

    let parties = format!("From: <sip:1@{ours}>;tag=caller\r\nTo: <sip:2@{ours}>\r\n");
    let target = format!("sip:100@{ours}");
    let invite = request(&lab, 0, "INVITE", &target, &parties, &sdp(media[0]));
    let left = bench.say(0, caller, access, &invite);
    let trying = only(&left, access, caller);
    assert_eq!(status(&trying), "100");
    // RFC 5118 §4.5: received has no brackets.
    let received = format!(";received={}", caller.ip());
    assert!(header(&trying, "Via").ends_with(&received), "{trying}");
    let sent = only(&left, core, callee);
    assert!(sent.starts_with(&format!("INVITE sip:100@{} SIP/2.0\r\n", host(callee.ip()))));
    let via = format!("SIP/2.0/UDP {};branch=", host(core.ip()));
    assert!(header(&sent, "Via").starts_with(&via), "{sent}");
    // RFC 5658 §5: a value for each side, so that each reaches its own.
    let recorded: Vec<_> = sent
        .lines()
        .filter(|line| line.starts_with("Record-Route"))
        .collect();
    assert_eq!(recorded.len(), 2, "{sent}");
    for (line, side) in recorded.iter().zip([core, access]) {
        let uri = format!("Record-Route: <sip:{};lr;tl=", host(side.ip()));
        assert!(line.starts_with(&uri), "{line}");
    }
    let to_callee = media_in(&sent, core.ip());

    let contact = format!("Contact: <sip:callee@{}>\r\n", host(callee.ip()));
    let ok = answer(&sent, "200 OK", &contact, &sdp(media[1]));
    let answered = only(&bench.say(0, callee, core, &ok), access, caller);
    let to_caller = media_in(&answered, access.ip());
    assert_eq!(header(&answered, "Via"), header(&trying, "Via"));

    let to = header(&answered, "To");
    let mut routes: Vec<_> = answered
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|uri| format!("Route: {uri}\r\n"))
        .collect();
    let from_callee = routes.concat();
    routes.reverse();
    let parties = format!(
        "{}From: <sip:1@{ours}>;tag=caller\r\nTo: {to}\r\n",
        routes.concat()
    );
    let contact = format!("sip:callee@{}", host(callee.ip()));
    let ack = request(&lab, 0, "ACK", &contact, &parties, "");
    let ack = only(&bench.say(0, caller, access, &ack), core, callee);
    assert!(!ack.contains("\r\nRoute:"), "{ack}");

    // Both packets of each way arrive at the other worker than the call's owner, too.
    for (from, relay, leaves, at) in [
        (media[0], to_caller, to_callee, media[1]),
        (media[1], to_callee, to_caller, media[0]),
    ] {
        for worker in 0..2 {
            bench.left.clear();
            bench.arrives(worker, from, relay, &rtp(8));
            bench.turn();
            let passed = bench.left.pop_front().unwrap();
            assert_eq!((passed.source, passed.destination), (leaves, at));
            assert_eq!(passed.payload, rtp(8));
        }
    }
    assert_eq!(bench.count(Counter::RtpForwarded), 4);

    let parties = format!("{from_callee}From: {to}\r\nTo: <sip:1@{ours}>;tag=caller\r\n");
    let contact = format!("sip:party@{}", host(caller.ip()));
    let bye = request(&lab, 1, "BYE", &contact, &parties, "");
    let sent = only(&bench.say(0, callee, core, &bye), access, caller);
    assert!(sent.starts_with(&format!("BYE {contact} ")) && !sent.contains("\r\nRoute:"));
    let ok = answer(&sent, "200 OK", "", "");
    assert_eq!(
        status(&only(&bench.say(0, caller, access, &ok), core, callee)),
        "200"
    );
    if lab.sides[0].vlan == lab.sides[1].vlan {
        bench.pass_ms(40_000);
        bench.assert_at_rest();
    }
}

#[test]
fn a_call_passes_between_every_pair_of_families_and_tags() {
    for access in sides() {
        for core in sides() {
            println!("{access:?} {core:?}");
            call(Lab {
                sides: [access, core],
                shared: false,
            });
        }
    }
}

/// One NIC, one VLAN of it for access and another for core.
#[test]
fn a_call_passes_between_two_interfaces_of_one_device() {
    let pairs = [
        [STACKS[0], STACKS[1]],
        [STACKS[1], STACKS[2]],
        [VlanStack::one(7), STACKS[1]],
    ];
    for [access, core] in pairs {
        for (from, to) in [(false, false), (false, true), (true, true)] {
            let side = |ipv6, vlan| Side { ipv6, vlan };
            call(Lab {
                sides: [side(from, access), side(to, core)],
                shared: true,
            });
        }
    }
}

#[test]
fn other_tags_than_the_interface_has_are_dropped_by_name() {
    let side = Side {
        ipv6: false,
        vlan: STACKS[2],
    };
    for (ours, theirs) in [
        (PLAIN4, side),
        (side, PLAIN4),
        (
            side,
            Side {
                vlan: VlanStack::one(200),
                ..side
            },
        ),
        (
            side,
            Side {
                vlan: VlanStack::two(TPID_8021Q, 200, 100),
                ..side
            },
        ),
        (
            side,
            Side {
                vlan: VlanStack::two(TPID_8021AD, 100, 200),
                ..side
            },
        ),
    ] {
        let mut bench = Bench::within(within([ours; 2]), 1);
        let lab = within([theirs; 2]);
        for to in [
            lab.listen(0),
            SocketAddr::new(lab.host(0, 1), MEDIA_PORTS[0].0),
        ] {
            let frame = bench::frame_in(&lab, lab.peer(0), to, b"x");
            let rings = bench.workers[0].rings_mut();
            assert!(rings.inject(DeviceIndex(0), &frame));
            bench.turn();
        }
        assert_eq!(bench.count(Counter::WireVlan), 2);
    }
}

#[test]
fn bad_ipv6_ends_by_its_name() {
    let lab = within([PLAIN6; 2]);
    let mut bench = Bench::within(lab, 1);
    let frame = bench::frame_in(&lab, lab.peer(0), lab.listen(0), b"x");
    type Damage = fn(&mut Vec<u8>);
    let cases: [(Counter, Damage); 4] = [
        (Counter::WireUdpNoChecksum, |frame| frame[60..62].fill(0)),
        (Counter::WireIpExtension, |frame| frame[20] = 0),
        (Counter::WireFragment, |frame| frame[20] = 44),
        (Counter::SipUdpChecksum, |frame| frame[62] ^= 1),
    ];
    for (counter, damage) in cases {
        let mut frame = frame.clone();
        damage(&mut frame);
        assert!(bench.workers[0].rings_mut().inject(DeviceIndex(0), &frame));
        bench.turn();
        assert_eq!(bench.count(counter), 1, "{}", counter.info().name);
    }
}

/// The offer names an address of the other family than the media range of the caller's side.
#[test]
fn media_that_our_relay_cannot_reach_is_refused() {
    for side in [PLAIN4, PLAIN6] {
        let lab = within([side; 2]);
        let other = within(
            [Side {
                ipv6: !side.ipv6,
                ..side
            }; 2],
        );
        let mut bench = Bench::within(lab, 1);
        let ours = host(lab.listen(0).ip());
        let parties = format!("From: <sip:1@{ours}>;tag=caller\r\nTo: <sip:2@{ours}>\r\n");
        let offer = sdp(SocketAddr::new(other.host(0, 2), 6000));
        let target = format!("sip:100@{ours}");
        let invite = request(&lab, 0, "INVITE", &target, &parties, &offer);
        let left = bench.say(0, lab.peer(0), lab.listen(0), &invite);
        assert_eq!(status(&only(&left, lab.listen(0), lab.peer(0))), "488");
        assert_eq!(bench.count(Counter::SdpUnusable), 1);
    }
}

#[test]
fn growth_from_ipv4_to_ipv6_counts_against_the_mtu() {
    let lab = within([PLAIN4, PLAIN6]);
    let network = lab.network(1, 600, &lab.everybody());
    let mut bench = Bench::with(&lab.settings(1), FakeConfig::default(), &network);
    bench.lab = lab;
    let ours = host(lab.listen(0).ip());
    let parties = format!("From: <sip:1@{ours}>;tag=caller\r\nTo: <sip:2@{ours}>\r\n");
    // OPTIONS grows by our Via, and what then is too long for IPv6 would fit IPv4.
    let options = |len: usize| {
        let target = format!("sip:100@{ours}");
        let lines = format!("{parties}Subject: {}\r\n", "x".repeat(len));
        request(&lab, 0, "OPTIONS", &target, &lines, "")
    };
    let mut longest = 0;
    for len in (0..300).rev() {
        let before = bench.count(Counter::SipOverMtu);
        let message = options(len).replace("0OPTIONS", &format!("o{len}"));
        let left = bench.say(0, lab.peer(0), lab.listen(0), &message);
        if bench.count(Counter::SipOverMtu) == before {
            let sent = left.iter().find(|left| left.destination == lab.peer(1));
            longest = sent.unwrap().payload.len();
            break;
        }
    }
    assert_eq!(longest, 600 - 48);
}
