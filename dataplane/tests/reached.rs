//! Every counter that a frame can end in or a message can come to, reached on a whole worker
//! with its sums checked after each turn; and a look through the tree for counters that no
//! test names.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::fs;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::CALLER;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::rtp;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::frame;
use bench::invite;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Kind;
use trunkline_dataplane::counters::TABLE;
use trunkline_dataplane::frame::KeptConfig;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::InterfaceIndex;
use trunkline_dataplane::lab;
use trunkline_dataplane::limits;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::route::Link;
use trunkline_dataplane::route::Neighbour;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::route::Out;
use trunkline_dataplane::route::Route;
use trunkline_dataplane::settings::Capacity;

/// The counters of drops and unsent messages that grew while `act` was done.
fn grown(bench: &mut Bench, act: impl FnOnce(&mut Bench)) -> Vec<Counter> {
    let rows = TABLE.iter();
    let rows = rows.filter(|row| matches!(row.kind, Kind::Dropped | Kind::Unsent));
    let before: Vec<_> = rows
        .map(|row| (row.counter, bench.count(row.counter)))
        .collect();
    act(bench);
    let grown = before.into_iter();
    grown
        .filter(|(counter, count)| bench.count(*counter) > *count)
        .map(|(counter, _)| counter)
        .collect()
}

/// Sets the checksum of a frame's IPv4 header right.
fn mend(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let header = frame[14..34].chunks(2);
    let mut sum: u32 = header
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn a_frame_that_is_not_what_xdp_took_it_for_is_dropped_by_name() {
    type Damage = fn(&mut Vec<u8>);
    let cases: [(Counter, Damage); 10] = [
        (Counter::WireTooShort, |frame| frame.truncate(30)),
        (Counter::WireNotIp, |frame| {
            frame[12..14].copy_from_slice(&[8, 6])
        }),
        (Counter::WireIpVersion, |frame| frame[14] = 0x55),
        (Counter::WireIpHeaderLength, |frame| frame[14] = 0x46),
        (Counter::WireIpChecksum, |frame| frame[24] ^= 1),
        (Counter::WireIpLength, |frame| {
            frame[16] = 0x40;
            mend(frame);
        }),
        (Counter::WireFragment, |frame| {
            frame[20] = 0x20;
            mend(frame);
        }),
        (Counter::WireNotUdp, |frame| {
            frame[23] = 6;
            mend(frame);
        }),
        (Counter::WireUdpLength, |frame| frame[38] = 0x40),
        (Counter::WireSourceNotHost, |frame| {
            frame[26] = 224;
            mend(frame);
        }),
    ];
    for (counter, damage) in cases {
        let mut bench = Bench::new(1);
        let mut bytes = frame(CALLER, ACCESS, &[b'x'; 100]);
        damage(&mut bytes);
        let dropped = grown(&mut bench, |bench| {
            let device = DeviceIndex(0);
            assert!(bench.workers[0].rings_mut().inject(device, &bytes));
            bench.turn();
        });
        assert_eq!(dropped, [counter]);
    }
}

/// A call whose callee has not answered yet, or has: the relay port on the caller's side where
/// it has, and that on the callee's.
fn call(bench: &mut Bench, callee_media: Option<SocketAddr>) -> (Option<SocketAddr>, SocketAddr) {
    let sent = to_callee(&bench.caller(0, &invite("reached", &sdp(CALLER_MEDIA))));
    let at_core = media_in(&sent);
    let Some(media) = callee_media else {
        return (None, at_core);
    };
    let answered = to_caller(&bench.callee(0, &answer(&sent, "200 OK", CONTACT, &sdp(media))));
    let ack = in_dialog("ACK", "reached", "1", "b-ack", &answered);
    bench.caller(0, &ack);
    (Some(media_in(&answered)), at_core)
}

/// The counters that grew when this payload came from `source` to `port`.
fn media(bench: &mut Bench, source: SocketAddr, port: SocketAddr, payload: &[u8]) -> Vec<Counter> {
    grown(bench, |bench| {
        bench.arrives(0, source, port, payload);
        bench.turn();
    })
}

#[test]
fn media_that_is_no_media_is_dropped_by_name() {
    let mut bench = Bench::new(1);
    let (at_access, _) = call(&mut bench, Some(CALLEE_MEDIA));
    let at_access = at_access.unwrap();
    let first = |first: u8| [vec![first, 0xc8], vec![0; 30]].concat();
    for (counter, payload) in [
        (Counter::MediaTooShort, vec![0x80, 8, 0]),
        (Counter::MediaStun, first(1)),
        (Counter::MediaZrtp, first(16)),
        (Counter::MediaDtls, first(22)),
        (Counter::MediaTurnChannel, first(64)),
        (Counter::MediaNotRtp, first(200)),
        (Counter::MediaRtcpOnRtpPort, first(0x80)),
        (Counter::MediaPayloadType, rtp(99)),
    ] {
        let dropped = media(&mut bench, CALLER_MEDIA, at_access, &payload);
        assert_eq!(dropped, [counter]);
    }
    let above = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
    let dropped = media(&mut bench, above(CALLER_MEDIA), above(at_access), &rtp(8));
    assert_eq!(dropped, [Counter::MediaRtpOnRtcpPort]);
}

#[test]
fn media_before_the_answer_and_to_a_side_on_hold_is_dropped_by_name() {
    let mut bench = Bench::new(1);
    let (_, at_core) = call(&mut bench, None);
    let dropped = media(&mut bench, CALLEE_MEDIA, at_core, &rtp(8));
    assert_eq!(dropped, [Counter::MediaSourceUnset]);

    let mut bench = Bench::new(1);
    let held = sdp(CALLER_MEDIA).replace("c=IN IP4 10.77.1.2", "c=IN IP4 0.0.0.0");
    let sent = to_callee(&bench.caller(0, &invite("reached", &held)));
    bench.callee(0, &answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA)));
    // What the SDP says to the held side is 0.0.0.0; its port is where media comes.
    let at_core = SocketAddr::new(bench::CORE.ip(), media_in(&sent).port());
    let dropped = media(&mut bench, CALLEE_MEDIA, at_core, &rtp(8));
    assert_eq!(dropped, [Counter::MediaNoDestination]);
}

/// The lab's network, and ways that lead astray: 198.51.100/24 out of another device,
/// 192.0.2/24 out of an interface that is down. `down` takes the core down as well.
fn astray(mtu: u16, down: bool) -> Network {
    let link = |index, up| Link {
        index: InterfaceIndex(index),
        mac: lab::box_mac(InterfaceIndex(index)),
        mtu,
        up,
    };
    let route = |prefix: [u8; 3], out| Route {
        prefix: IpAddr::V4(Ipv4Addr::new(prefix[0], prefix[1], prefix[2], 0)),
        length: 24,
        gateway: None,
        out,
        metric: 0,
    };
    let ours = |index| Out::Ours(InterfaceIndex(index));
    let neighbours = [(0, CALLER), (1, CALLEE)].map(|(index, peer)| Neighbour {
        interface: InterfaceIndex(index),
        address: peer.ip(),
        mac: lab::PEER_MAC,
    });
    Network::new(
        2,
        &[link(0, true), link(1, !down), link(2, false)],
        &[ACCESS.ip(), bench::CORE.ip()],
        &[
            route([10, 77, 1], ours(0)),
            route([10, 77, 2], ours(1)),
            route([198, 51, 100], Out::Other),
            route([192, 0, 2], ours(2)),
        ],
        &neighbours,
    )
}

fn hand_over(bench: &mut Bench, network: Network) {
    let mail = Mail::Network(Box::new(network));
    assert!(bench.posts[0].mail.post(mail).is_ok());
    bench.turn();
}

#[test]
fn media_without_a_way_is_dropped_by_name() {
    for (counter, destination) in [
        (Counter::MediaNoRoute, "203.0.113.9:7000"),
        (Counter::MediaOtherInterface, "198.51.100.9:7000"),
        (Counter::MediaLinkDown, "192.0.2.9:7000"),
        (Counter::MediaNoNeighbour, "10.77.2.9:7000"),
        (Counter::MediaOwnAddress, "10.77.2.1:7000"),
        (Counter::MediaNotUnicast, "127.0.0.9:7000"),
    ] {
        let mut bench = Bench::new(1);
        hand_over(&mut bench, astray(1500, false));
        let (at_access, _) = call(&mut bench, Some(destination.parse().unwrap()));
        let dropped = media(&mut bench, CALLER_MEDIA, at_access.unwrap(), &rtp(8));
        assert_eq!(dropped, [counter], "{destination}");
    }
    let mut bench = Bench::new(1);
    let (at_access, _) = call(&mut bench, Some(CALLEE_MEDIA));
    hand_over(&mut bench, astray(150, false));
    let dropped = media(&mut bench, CALLER_MEDIA, at_access.unwrap(), &rtp(8));
    assert_eq!(dropped, [Counter::MediaTooLarge]);
}

#[test]
fn sip_without_a_way_is_unsent_by_name() {
    let mut bench = Bench::new(1);
    hand_over(&mut bench, astray(1500, true));
    let unsent = grown(&mut bench, |bench| {
        bench.caller(0, &invite("down", &sdp(CALLER_MEDIA)));
    });
    assert_eq!(unsent, [Counter::SipLinkDown]);

    let mut settings = lab::settings(1);
    settings.trunks[1].targets = vec!["239.1.1.1:5060".parse().unwrap()];
    let mut bench = Bench::of(&settings);
    let unsent = grown(&mut bench, |bench| {
        bench.caller(0, &invite("multicast", &sdp(CALLER_MEDIA)));
    });
    assert_eq!(unsent, [Counter::SipNotUnicast]);
}

/// The INVITE of call number `n`.
fn another(n: usize) -> String {
    let text = invite(&format!("call-{n}"), &sdp(CALLER_MEDIA));
    text.replacen("branch=z9hG4bKb1", &format!("branch=z9hG4bKinvite{n}"), 1)
}

#[test]
fn messages_that_cannot_go_on_end_by_name() {
    let mut bench = Bench::new(1);
    let (sent, answered) = bench::call::establish(&mut bench, 0, "ends");
    assert!(!sent.is_empty());
    let ack = in_dialog("ACK", "ends", "1", "b-again", &answered);
    let dropped = grown(&mut bench, |bench| {
        bench.caller(0, &ack.replace("Max-Forwards: 70", "Max-Forwards: 0"));
    });
    assert_eq!(dropped, [Counter::SipNotRoutable]);

    // The answer has all its Via lines, and does not fit a datagram with the rest.
    let options = bench::request("OPTIONS", "long", "1", "b-long", "", "");
    let options = options.replacen("sip:100@10.77.1.1", "sip:10.77.1.1", 1);
    let room = 65_500 - options.len() - 40;
    let via = format!("Via: SIP/2.0/UDP 192.0.2.1;x={}\r\nMax-F", "x".repeat(room));
    let options = options.replacen("Max-F", &via, 1);
    let dropped = grown(&mut bench, |bench| {
        bench.by_socket(0, CALLER, 0, options.as_bytes());
    });
    assert_eq!(dropped, [Counter::SipTooLong]);
}

#[test]
fn flows_are_counted_from_their_opening_to_their_end() {
    let mut bench = Bench::new(1);
    let (_, answered) = bench::call::establish(&mut bench, 0, "flows");
    media(&mut bench, CALLER_MEDIA, media_in(&answered), &rtp(99));
    let opened = bench.count(Counter::FlowsOpened);
    assert!(opened > 0);
    assert_eq!(bench.count(Counter::FlowsClosed), 0);
    let bye = in_dialog("BYE", "flows", "2", "b-bye", &answered);
    let sent = to_callee(&bench.caller(0, &bye));
    bench.callee(0, &answer(&sent, "200 OK", "", ""));
    bench.pass_ms(1000);
    assert_eq!(bench.count(Counter::FlowsClosed), opened);
    assert_eq!(bench.count(Counter::FlowsClosedWithDrops), 1);
}

#[test]
fn flows_that_wait_for_room_in_a_mailbox_are_counted_and_arrive() {
    const CALLS: usize = limits::MAILBOX_MAILS / 4 + 50;
    let mut settings = lab::settings(2);
    settings.capacity = Capacity {
        transactions: 8192,
        calls: 4096,
        kept: KeptConfig::new(4096, 4),
        ..Capacity::SMALL
    };
    for range in &mut settings.media {
        range.ports = 20_000..=39_999;
    }
    let mut bench = Bench::of(&settings);
    let mine = (0..).filter(|n| bench.owner(&format!("call-{n}")) == 0);
    let mine: Vec<usize> = mine.take(CALLS).collect();
    // The second worker does not turn meanwhile.
    for n in mine {
        bench.arrives(0, CALLER, ACCESS, another(n).as_bytes());
        let now = bench.now;
        let worker = &mut bench.workers[0];
        worker.turn(now);
        worker.rings_mut().take_sent(&mut |_, _| {});
    }
    let flows = 4 * CALLS as u64;
    let waited = flows - limits::MAILBOX_MAILS as u64;
    assert_eq!(bench.count(Counter::FlowsNow), flows);
    assert_eq!(bench.count(Counter::FlowMailsDelayed), waited);
    bench.turn();
    assert_eq!(bench.count(Counter::FlowsNow), 2 * flows);
    assert_eq!(bench.count(Counter::FlowMailsLost), 0);
}

#[test]
fn what_is_full_refuses_and_is_counted() {
    let mut settings = lab::settings(1);
    settings.media[1].ports = 30_000..=30_003;
    let mut bench = Bench::of(&settings);
    for n in 0..3 {
        bench.caller(0, &another(n));
    }
    assert_eq!(bench.count(Counter::MediaPortsExhausted), 1);

    let mut settings = lab::settings(1);
    settings.capacity.kept = KeptConfig::new(1, 1);
    let mut bench = Bench::of(&settings);
    for n in 0..4 {
        bench.caller(0, &another(n));
    }
    assert!(bench.count(Counter::KeptExhausted) > 0);
}

#[test]
fn an_offer_that_nobody_could_remember_is_refused() {
    let mut bench = Bench::new(1);
    let (_, answered) = bench::call::establish(&mut bench, 0, "offers");
    for n in 0..limits::OFFERS_PER_CALL {
        bench.caller(0, &update(n, &answered));
    }
    assert_eq!(bench.count(Counter::OffersRefused), 0);
    let refused = bench.caller(0, &update(limits::OFFERS_PER_CALL, &answered));
    assert!(
        to_caller(&refused).starts_with("SIP/2.0 500 "),
        "{refused:?}"
    );
    assert_eq!(bench.count(Counter::OffersRefused), 1);
}

/// An UPDATE with an offer: number `n` of the call.
fn update(n: usize, answered: &str) -> String {
    let message = in_dialog(
        "UPDATE",
        "offers",
        &format!("{}", n + 2),
        &format!("b-u{n}"),
        answered,
    );
    bench::with_sdp(&message, &sdp(CALLER_MEDIA))
}

#[test]
fn reports_that_find_no_room_are_counted() {
    let mut bench = Bench::new(1);
    // More neighbours than a worker remembers to have asked for.
    let ports: Vec<_> = (0..20)
        .map(|n| {
            let sent = to_callee(&bench.caller(0, &another(n)));
            let media: SocketAddr = format!("10.77.2.{}:7000", 100 + n).parse().unwrap();
            let ok = answer(&sent, "200 OK", CONTACT, &sdp(media));
            media_in(&to_caller(&bench.callee(0, &ok)))
        })
        .collect();
    for _ in 0..=limits::REPORTS / ports.len() {
        for port in &ports {
            bench.arrives(0, CALLER_MEDIA, *port, &rtp(8));
        }
        bench.turn();
    }
    assert!(bench.count(Counter::ReportsLost) > 0);
}

#[test]
fn forwarded_and_absorbed_messages_and_waiting_frames_are_counted() {
    let mut bench = Bench::new(1);
    call(&mut bench, Some(CALLEE_MEDIA));
    // INVITE, 200, ACK.
    assert_eq!(bench.count(Counter::SipForwarded), 3);
    let again = invite("reached", &sdp(CALLER_MEDIA));
    bench.caller(0, &again);
    assert_eq!(bench.count(Counter::SipAbsorbed), 1);
    bench.arrives(0, CALLER, ACCESS, b"\r\n\r\n");
    assert_eq!(bench.count(Counter::FramesRx), 1);
    bench.turn();
    assert_eq!(bench.count(Counter::FramesRx), 0);
}

/// Both parties name the relay ports that stand for them: a packet would go round for ever.
#[test]
fn media_between_relay_ports_alone_is_dropped_after_one_join() {
    let mut bench = Bench::new(1);
    let [access, core] =
        [0, 1].map(|side| SocketAddr::new(lab::LISTENS[side].ip(), lab::MEDIA_PORTS[side].0));
    let sent = to_callee(&bench.caller(0, &invite("reached", &sdp(access))));
    assert_eq!(media_in(&sent), core);
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(core));
    assert_eq!(media_in(&to_caller(&bench.callee(0, &ok))), access);
    let dropped = media(&mut bench, access, access, &rtp(8));
    assert_eq!(dropped, [Counter::MediaJoinedTwice]);
}

/// Counters that no test can or need name, and why.
const UNNAMED: [(Counter, &str); 4] = [
    (
        Counter::FlowMailsLost,
        "takes 16,000 flow changes to a worker that does not turn; `post` tests the loss itself",
    ),
    (
        Counter::FramesHeld,
        "0 between turns: the frames' sum, checked after each, holds it",
    ),
    (
        Counter::FramesTx,
        "in the frames' sum, which is checked after each turn",
    ),
    (
        Counter::FramesCompletion,
        "in the frames' sum, which is checked after each turn",
    ),
];

/// The text of everything that tests: test files whole, of others what stands in `cfg(test)`.
fn tests_of(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | "corpus" | "docs") && !name.starts_with('.') {
                tests_of(&path, text);
            }
            continue;
        }
        let whole = path.to_string_lossy().contains("/tests/")
            || path.to_string_lossy().contains("/e2e/")
            || path.to_string_lossy().contains("/sim/")
            || name.ends_with("tests.rs")
            || name.ends_with("_test.rs");
        if !(name.ends_with(".rs") || name.ends_with(".sh")) {
            continue;
        }
        let found = fs::read_to_string(&path).unwrap();
        if whole {
            // The list of the unnamed names them too.
            text.push_str(found.split("const UNNAMED").next().unwrap());
        } else if let Some(at) = found.find("#[cfg(test)]") {
            text.push_str(&found[at..]);
        }
    }
}

#[test]
fn every_counter_is_named_by_a_test() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut text = String::new();
    tests_of(top, &mut text);
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: std::collections::HashSet<&str> = text.split(|c| !is_part(c)).collect();
    let unnamed: Vec<_> = TABLE
        .iter()
        .filter(|row| !words.contains(format!("{:?}", row.counter).as_str()))
        .filter(|row| !words.contains(row.name))
        .filter(|row| UNNAMED.iter().all(|(counter, _)| *counter != row.counter))
        .map(|row| row.name)
        .collect();
    assert!(unnamed.is_empty(), "no test reaches {unnamed:?}");
}
