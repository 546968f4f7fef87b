//! The slow paths: what leaves by the kernel and comes in by it, what ICMP says of it, and
//! what the box sends to itself.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::CALLER;
use bench::CORE;
use bench::answer;
use bench::branch;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::in_dialog;
use bench::call::media_in;
use bench::call::only;
use bench::call::rtp;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::header;
use bench::invite;
use bench::padded;
use bench::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::frame::KeptConfig;
use trunkline_dataplane::ids::InterfaceIndex;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::lab::Side;
use trunkline_dataplane::limits::KERNEL_MAILS;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::ring::FakeConfig;
use trunkline_dataplane::route::Link;
use trunkline_dataplane::route::Neighbour;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::route::Out;
use trunkline_dataplane::route::Route;
use trunkline_dataplane::settings::DialRoute;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::settings::Trunk;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::undelivered::Undelivered;
use trunkline_dataplane::sip::undelivered::Why;
use trunkline_dataplane::sip::undelivered::read_quote;
use trunkline_dataplane::wire::VlanStack;

fn bench_over(network: &Network) -> Bench {
    Bench::with(&lab::settings(1), FakeConfig::default(), network)
}

// --- Out by the kernel ---------------------------------------------------------

#[test]
fn a_message_over_the_mtu_leaves_by_the_kernel_and_so_do_its_repetitions() {
    let mut bench = bench_over(&lab::network(1, 600, &lab::everybody()));
    let left = bench.caller(0, &padded(&invite("long", ""), 1000));
    assert_eq!(left.len(), 1, "the 100 fits");
    let by_kernel = bench.by_kernel();
    let sent = to_callee(&by_kernel);
    assert!(sent.len() > 1000 && sent.starts_with("INVITE sip:100@10.77.2.2 SIP/2.0\r\n"));
    bench.pass_ms(600);
    assert_eq!(to_callee(&bench.by_kernel()), sent, "Timer A");
    assert_eq!(bench.count(Counter::SipOverMtu), 2);
    let ringing = answer(&sent, "180 Ringing", CONTACT, "");
    assert_eq!(status(&to_caller(&bench.callee(0, &ringing))), "180");
}

#[test]
fn what_fits_a_packet_of_ipv4_may_not_fit_one_of_ipv6() {
    let side = |ipv6| Side {
        ipv6,
        vlan: VlanStack::NONE,
    };
    for ipv6 in [false, true] {
        let mut bench = Bench::within(
            Lab {
                sides: [side(false), side(ipv6)],
                shared: false,
            },
            1,
        );
        let (core, callee) = (bench.lab.listen(1), bench.lab.peer(1));
        // 1,460 bytes leave: 1,488 or 1,508 with their headers.
        let grown = {
            let sent = bench.caller(0, &padded(&invite("short", ""), 1000));
            only(&sent, core, callee).len() - 1000
        };
        let text = padded(&invite("long", ""), 1460 - grown).replace("z9hG4bKb1", "z9hG4bKb2");
        let left = bench.caller(0, &text);
        let (by_ring, by_kernel) = (left.len() - 1, bench.by_kernel());
        assert_eq!(
            (by_ring, by_kernel.len()),
            if ipv6 { (0, 1) } else { (1, 0) }
        );
        if ipv6 {
            assert_eq!(only(&by_kernel, core, callee).len(), 1460);
        }
    }
}

#[test]
fn what_waits_for_a_neighbour_leaves_by_the_kernel_and_the_next_by_the_rings() {
    let mut bench = bench_over(&lab::network(1, 1500, &[CALLER.ip()]));
    assert_eq!(bench.caller(0, &invite("who", "")).len(), 1, "the 100");
    let sent = to_callee(&bench.by_kernel());
    let solicited = |bench: &mut Bench| -> Vec<_> {
        let reports = bench.reports().into_iter();
        reports
            .filter_map(|report| match report {
                Report::Solicit { interface, address } => Some((interface, address)),
                _ => None,
            })
            .collect()
    };
    assert_eq!(solicited(&mut bench), [(InterfaceIndex(1), CALLEE.ip())]);
    assert!(bench.pass_ms(900).is_empty());
    assert_eq!(to_callee(&bench.by_kernel()), sent, "Timer A");
    assert_eq!(solicited(&mut bench), [], "asked for once");
    assert_eq!(bench.count(Counter::SipNoNeighbour), 2);
    let known = Box::new(lab::network(2, 1500, &lab::everybody()));
    bench.posts[0].mail.post(Mail::Network(known)).unwrap();
    assert_eq!(to_callee(&bench.pass_ms(1_000)), sent);
    assert!(bench.by_kernel().is_empty());
    let returned = bench.reports();
    assert!(matches!(returned[..], [Report::Network(ref old)] if old.epoch() == 1));
}

/// The lab's network, but that the callee's side is not ours to drive.
fn network_with_other_interface() -> Network {
    let link = Link {
        index: InterfaceIndex(0),
        mac: lab::box_mac(InterfaceIndex(0)),
        mtu: 1500,
        up: true,
    };
    let route = |listen: SocketAddr, out| Route {
        prefix: listen.ip(),
        length: 24,
        gateway: None,
        out,
        metric: 0,
    };
    Network::new(
        1,
        &[link],
        &[ACCESS.ip(), CORE.ip()],
        &[
            route(ACCESS, Out::Ours(InterfaceIndex(0))),
            route(CORE, Out::Other),
        ],
        &[Neighbour {
            interface: InterfaceIndex(0),
            address: CALLER.ip(),
            mac: lab::PEER_MAC,
        }],
    )
}

#[test]
fn a_way_that_is_not_ours_and_a_program_of_this_host_are_reached_by_the_kernel() {
    let mut bench = bench_over(&network_with_other_interface());
    bench.caller(0, &invite("other", ""));
    let sent = to_callee(&bench.by_kernel());
    assert_eq!(bench.count(Counter::SipOtherInterface), 1);
    let left = bench.by_socket(
        0,
        CALLEE,
        1,
        answer(&sent, "180 Ringing", "", "").as_bytes(),
    );
    assert_eq!(status(&to_caller(&left)), "180");
    assert_eq!(bench.count(Counter::KernelIn), 1);

    let mut settings = lab::settings(1);
    let program = SocketAddr::new(CORE.ip(), 5080);
    settings.trunks[1].targets = vec![program];
    let mut bench = Bench::of(&settings);
    bench.caller(0, &invite("local", ""));
    only(&bench.by_kernel(), CORE, program);
    assert_eq!(bench.count(Counter::SipOwnAddress), 1);
}

#[test]
fn a_flood_to_a_silent_neighbour_leaves_room_to_others_and_is_counted() {
    let mut settings = lab::settings(1);
    settings.capacity.transactions = 4096;
    settings.capacity.kept.page_count = 2048;
    let network = lab::network(1, 600, &[CALLER.ip()]);
    let mut bench = Bench::with(&settings, FakeConfig::default(), &network);
    for n in 0..KERNEL_MAILS {
        let text = request("OPTIONS", "flood", "1", &format!("f{n}"), "", "");
        assert!(bench.caller(0, &text).is_empty());
    }
    let half = KERNEL_MAILS as u64 / 2;
    assert_eq!(bench.count(Counter::SipNoNeighbour), half);
    assert_eq!(bench.count(Counter::SipKernelFull), half);
    // What only is too large still finds a way: here the answer to an OPTIONS to the box.
    let long = request("OPTIONS", "long", "1", "long", "", "")
        .replace("sip:100@10.77.1.1 SIP", "sip:10.77.1.1 SIP")
        .replace(";tag=caller", &format!(";tag={}", "c".repeat(600)));
    assert!(bench.caller(0, &long).is_empty());
    assert_eq!(bench.count(Counter::SipOverMtu), 1);
    assert_eq!(bench.by_kernel().len(), KERNEL_MAILS / 2 + 1);
}

// --- What ICMP says -----------------------------------------------------------------

/// What control mails where ICMP quotes `sent`, which went to `destination`.
fn quoted(sent: &str, destination: SocketAddr, why: Why) -> Undelivered {
    let settings = lab::settings(1);
    let identity = Identity::new(WorkerId(0), settings.boot, &settings.secrets, &[]);
    let (method, branch) = read_quote(&sent.as_bytes()[..sent.len().min(520)]).unwrap();
    Undelivered {
        branch: identity.read_branch(branch).unwrap(),
        method,
        destination,
        why,
    }
}

fn told(bench: &mut Bench, what: Undelivered) -> Vec<bench::Left> {
    assert!(bench.posts[0].mail.post_undelivered(what));
    bench.left.clear();
    bench.turn();
    bench.left.drain(..).collect()
}

#[test]
fn an_unreachable_callee_gives_the_caller_a_500_at_once() {
    let mut bench = Bench::new(1);
    let offer = invite("dead", &sdp(CALLER_MEDIA));
    let sent = to_callee(&bench.caller(0, &offer));
    let failed = to_caller(&told(&mut bench, quoted(&sent, CALLEE, Why::Unreachable)));
    assert_eq!(status(&failed), "500");
    assert_eq!(
        header(&failed, "Via"),
        "SIP/2.0/UDP 10.77.1.2;rport=5060;branch=z9hG4bKb1;received=10.77.1.2"
    );
    let to = format!("To: {}\r\n", header(&failed, "To"));
    let ack = request("ACK", "dead", "1", "b1", &to, "");
    assert!(bench.caller(0, &ack).is_empty());
    assert!(bench.pass_ms(2_000).is_empty(), "no Timer A is left");
    assert_eq!(bench.count(Counter::TransportErrors), 1);
    assert_eq!(bench.count(Counter::CallsFailed), 1);
    // Another error for it, or an answer after all, is late.
    assert!(told(&mut bench, quoted(&sent, CALLEE, Why::Unreachable)).is_empty());
    assert_eq!(bench.count(Counter::IcmpLate), 1);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn an_error_for_what_was_answered_or_sent_elsewhere_does_nothing() {
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("late", "")));
    assert!(told(&mut bench, quoted(&sent, CALLER, Why::Unreachable)).is_empty());
    bench.callee(0, &answer(&sent, "180 Ringing", CONTACT, ""));
    assert!(told(&mut bench, quoted(&sent, CALLEE, Why::Unreachable)).is_empty());
    assert_eq!(bench.count(Counter::IcmpLate), 2);
    assert_eq!(bench.count(Counter::TransportErrors), 0);
    let ok = answer(&sent, "200 OK", CONTACT, "");
    assert_eq!(status(&to_caller(&bench.callee(0, &ok))), "200");
}

#[test]
fn other_requests_get_their_500_too_and_a_bye_ends_its_call() {
    let mut bench = Bench::new(1);
    let (_, answered) = bench::call::establish(&mut bench, 0, "bye");
    let options = to_callee(&bench.caller(0, &request("OPTIONS", "o", "1", "o", "", "")));
    let left = told(&mut bench, quoted(&options, CALLEE, Why::Unreachable));
    assert_eq!(status(&to_caller(&left)), "500");
    let bye = to_callee(&bench.caller(0, &in_dialog("BYE", "bye", "2", "b3", &answered)));
    let left = told(&mut bench, quoted(&bye, CALLEE, Why::Unreachable));
    assert_eq!(status(&to_caller(&left)), "500");
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_cancelled_invite_that_nobody_takes_ends_with_487() {
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("cancel", "")));
    bench.caller(0, &request("CANCEL", "cancel", "1", "b1", "", ""));
    let left = told(&mut bench, quoted(&sent, CALLEE, Why::Unreachable));
    assert_eq!(status(&to_caller(&left)), "487");
}

#[test]
fn a_request_too_large_for_the_path_is_sent_again_by_the_kernel() {
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &padded(&invite("path", ""), 1200)));
    assert!(told(&mut bench, quoted(&sent, CALLEE, Why::TooLarge)).is_empty());
    assert_eq!(to_callee(&bench.by_kernel()), sent);
    // Once only for the errors of all fragments; then Timer A.
    told(&mut bench, quoted(&sent, CALLEE, Why::TooLarge));
    assert!(bench.by_kernel().is_empty());
    assert!(bench.pass_ms(600).is_empty());
    assert_eq!(to_callee(&bench.by_kernel()), sent);
    assert_eq!(bench.count(Counter::PathMtuErrors), 1);
    assert_eq!(bench.count(Counter::SipPathMtu), 2);
    assert_eq!(bench.count(Counter::IcmpLate), 1);
    let ok = answer(&sent, "200 OK", CONTACT, "");
    assert_eq!(status(&to_caller(&bench.callee(0, &ok))), "200");
}

// --- A next hop that is ourselves ------------------------------------------------------

/// A trunk of one source and one target, reached by the listen and the media range of `side`.
fn trunk(name: &str, source: SocketAddr, target: SocketAddr, side: u8) -> Trunk {
    lab::trunk(name, side, vec![(source.ip(), 32)], vec![target])
}

fn route(from: u16, to: TrunkIndex) -> DialRoute {
    lab::route(from, None, &[(to.0, 1000)])
}

/// The lab, but that the caller's requests go to our own core listen, and what comes from
/// there `then`.
fn settings_with_a_spiral(workers: u8, then: TrunkIndex) -> Settings {
    let mut settings = lab::settings(workers);
    settings.trunks.push(trunk("spiral", CORE, CORE, 1));
    settings.routes = vec![route(0, TrunkIndex(2)), route(2, then)];
    settings
}

#[test]
fn a_call_through_our_own_listen_passes_without_a_frame_to_ourselves() {
    let settings = settings_with_a_spiral(2, TrunkIndex(1));
    let mut bench = Bench::of(&settings);
    let call_id = bench.call_id_of(1);
    let left = bench.caller(0, &invite(&call_id, &sdp(CALLER_MEDIA)));
    let sent = to_callee(&left);
    assert_eq!(header(&sent, "Max-Forwards"), "68");
    assert_eq!(sent.matches("\r\nVia: ").count(), 3);
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(0, &ok));
    assert_eq!(answered.matches("\r\nVia: ").count(), 1);
    to_callee(&bench.caller(0, &in_dialog("ACK", &call_id, "1", "b2", &answered)));
    // Its media passes the flows of both calls, on every worker and in both directions.
    let (at_core, at_access) = (media_in(&sent), media_in(&answered));
    let rtcp = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
    let report = [&[0x80, 201, 0, 1][..], &[7; 4]].concat();
    for worker in [0, 1] {
        for (from, by, out, to, packet) in [
            (CALLER_MEDIA, at_access, at_core, CALLEE_MEDIA, rtp(8)),
            (CALLEE_MEDIA, at_core, at_access, CALLER_MEDIA, rtp(8)),
            (
                rtcp(CALLER_MEDIA),
                rtcp(at_access),
                rtcp(at_core),
                rtcp(CALLEE_MEDIA),
                report.clone(),
            ),
        ] {
            bench.left.clear();
            bench.arrives(worker, from, by, &packet);
            bench.turn();
            let left = bench.left.pop_front().unwrap();
            assert_eq!(
                (left.source, left.destination, left.payload),
                (out, to, packet)
            );
            assert!(bench.left.is_empty());
        }
    }
    assert_eq!(bench.count(Counter::RtpForwarded), 4);
    assert_eq!(bench.count(Counter::RtcpForwarded), 2);
    assert_eq!(
        bench.count(Counter::FlowsNow),
        16,
        "two calls on two workers"
    );
    let bye = to_callee(&bench.caller(0, &in_dialog("BYE", &call_id, "2", "b3", &answered)));
    assert!(!bye.contains("\r\nRoute: "));
    let left = bench.callee(0, &answer(&bye, "200 OK", "", ""));
    assert_eq!(status(&to_caller(&left)), "200");
    assert_eq!(bench.count(Counter::CallsStarted), 2);
    assert_eq!(bench.count(Counter::CallsEnded), 2);
    let own = bench.count(Counter::OwnIn);
    assert_eq!(bench.count(Counter::SipToOwnListen), own);
    assert!(own >= 6, "{own}");
    assert!(bench.by_kernel().is_empty());
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_loop_through_ourselves_ends() {
    let mut settings = settings_with_a_spiral(1, TrunkIndex(2));
    // It grows by a Via each time round.
    settings.capacity.kept = KeptConfig::new(256, 64);
    let mut bench = Bench::of(&settings);
    // RFC 3261 §16.3 step 4: once it comes round to where it was, whatever it may yet go.
    let endless = request("MESSAGE", "loop", "1", "m1", "", "").replace(": 70", ": 255");
    let left = bench.caller(0, &endless);
    assert_eq!(status(&to_caller(&left)), "482");
    assert_eq!(bench.count(Counter::Requests), 3);
    let left = bench.caller(0, &invite("round", ""));
    let finals: Vec<_> = left.iter().filter(|l| status(&l.text()) != "100").collect();
    assert_eq!(status(&finals[0].text()), "482");
    let to = format!("To: {}\r\n", header(&finals[0].text(), "To"));
    bench.caller(0, &request("ACK", "round", "1", "b1", &to, ""));
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_loop_by_way_of_two_listens_ends() {
    let mut settings = settings_with_a_spiral(1, TrunkIndex(3));
    settings.trunks.push(trunk("back", ACCESS, ACCESS, 0));
    settings.routes.push(route(3, TrunkIndex(2)));
    let mut bench = Bench::of(&settings);
    let left = bench.caller(0, &request("MESSAGE", "round", "1", "m1", "", ""));
    assert_eq!(status(&to_caller(&left)), "482");
    assert_eq!(bench.count(Counter::Requests), 4);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn media_through_three_calls_of_the_box_is_dropped_by_name() {
    let mut settings = settings_with_a_spiral(1, TrunkIndex(3));
    settings.trunks.push(trunk("again", ACCESS, CORE, 0));
    settings.routes.push(route(3, TrunkIndex(1)));
    let mut bench = Bench::of(&settings);
    let (_, answered) = bench::call::establish(&mut bench, 0, "three");
    assert_eq!(bench.count(Counter::CallsAnswered), 3);
    bench.arrives(0, CALLER_MEDIA, media_in(&answered), &rtp(8));
    bench.turn();
    assert_eq!(bench.count(Counter::MediaJoinedTwice), 1);
}

#[test]
fn a_spiral_whose_request_uri_stays_the_same_is_no_loop() {
    let settings = settings_with_a_spiral(1, TrunkIndex(1));
    let mut bench = Bench::of(&settings);
    let text = request("MESSAGE", "same", "1", "m1", "", "")
        .replace("sip:100@10.77.1.1 SIP", "sip:100@example.com SIP")
        .replace("Max-Forwards: 70", "Max-Forwards: 255");
    let sent = to_callee(&bench.caller(0, &text));
    assert!(sent.starts_with("MESSAGE sip:100@example.com SIP/2.0\r\n"));
    assert_eq!(header(&sent, "Max-Forwards"), "69", "70 and one less");
    let left = bench.callee(0, &answer(&sent, "200 OK", "", ""));
    assert_eq!(status(&to_caller(&left)), "200");
}

#[test]
fn a_call_through_our_own_listen_passes_though_the_world_knows_us_by_other_addresses() {
    let mut settings = settings_with_a_spiral(1, TrunkIndex(1));
    let public = |side: u8| IpAddr::V4(Ipv4Addr::new(203, 0, 113, side + 1));
    for side in [0, 1] {
        let at = usize::from(side);
        settings.listens[at].advertised = SocketAddr::new(public(side), 5070 + u16::from(side));
        settings.media[at].advertised = public(side);
    }
    let mut bench = Bench::of(&settings);
    let (sent, answered) = bench::call::establish(&mut bench, 0, "nat");
    let (at_core, at_access) = (media_in(&sent), media_in(&answered));
    assert_eq!((at_access.ip(), at_core.ip()), (public(0), public(1)));
    // What the NAT before us has made of it when it arrives.
    let inside = |ours: SocketAddr, port: SocketAddr| SocketAddr::new(ours.ip(), port.port());
    let (at_access, at_core) = (inside(ACCESS, at_access), inside(CORE, at_core));
    for (from, by, out, to) in [
        (CALLER_MEDIA, at_access, at_core, CALLEE_MEDIA),
        (CALLEE_MEDIA, at_core, at_access, CALLER_MEDIA),
    ] {
        bench.left.clear();
        bench.arrives(0, from, by, &rtp(8));
        bench.turn();
        let left = bench.left.pop_front().unwrap();
        assert_eq!((left.source, left.destination), (out, to));
    }
    assert_eq!(bench.count(Counter::RtpForwarded), 2);
    let bye = to_callee(&bench.caller(0, &in_dialog("BYE", "nat", "2", "b3", &answered)));
    let left = bench.callee(0, &answer(&bye, "200 OK", "", ""));
    assert_eq!(status(&to_caller(&left)), "200");
    assert_eq!(bench.count(Counter::CallsEnded), 2);
    assert!(bench.by_kernel().is_empty());
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn what_we_send_to_ourselves_says_nothing_of_where_a_party_is() {
    let mut settings = settings_with_a_spiral(1, TrunkIndex(1));
    // The caller's trunk takes in our own addresses, and calls the callee's directly.
    settings.trunks[0].sources = vec![("10.77.0.0".parse().unwrap(), 16)];
    settings.routes[0].to[0].trunk = TrunkIndex(1);
    let mut bench = Bench::of(&settings);
    let (sent, answered) = bench::call::establish(&mut bench, 0, "moved");
    // A party that puts our Route value twice has its request come round once.
    let info = in_dialog("INFO", "moved", "2", "b2", &answered);
    let last = header(&answered, "Record-Route");
    let round = format!("Route: {last}\r\nCall-ID:");
    let info = info.replacen("Call-ID:", &round, 1);
    let passed = to_callee(&bench.caller(0, &info));
    assert_eq!(bench.count(Counter::OwnIn), 1);
    bench.callee(0, &answer(&passed, "200 OK", "", ""));
    // The callee names its party by a name: it goes to where that spoke from.
    let routes: String = sent
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    let back = format!(
        "INFO sip:caller@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.77.2.2;branch=z9hG4bKback\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:100@10.77.1.1>;tag=callee\r\n\
         To: <sip:caller@10.77.1.2>;tag=caller\r\n\
         {routes}Call-ID: moved\r\nCSeq: 1 INFO\r\nContent-Length: 0\r\n\r\n"
    );
    let left = bench.callee(0, &back);
    assert!(to_caller(&left).starts_with("INFO sip:caller@example.com"));
}

#[test]
fn nobody_on_the_wire_speaks_in_our_name() {
    let other = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 77));
    let link = Link {
        index: InterfaceIndex(0),
        mac: lab::box_mac(InterfaceIndex(0)),
        mtu: 1500,
        up: true,
    };
    let addresses = [ACCESS.ip(), CORE.ip(), other];
    let network = Network::new(1, &[link], &addresses, &[], &[]);
    let settings = settings_with_a_spiral(1, TrunkIndex(1));
    let mut bench = Bench::with(&settings, FakeConfig::default(), &network);
    let text = request("MESSAGE", "forged", "1", "m1", "", "");
    // A listen, another port of its address, and an address that only the kernel knows.
    let ours = [
        CORE,
        SocketAddr::new(CORE.ip(), 9),
        SocketAddr::new(other, 5060),
    ];
    for (number, source) in (1..).zip(ours) {
        assert!(bench.say(0, source, ACCESS, &text).is_empty());
        assert_eq!(bench.count(Counter::SipSourceOurs), number);
    }
    assert_eq!(bench.count(Counter::Requests), 0);
    assert!(bench.by_kernel().is_empty());
}

#[test]
fn too_much_for_ourselves_is_counted() {
    let mut settings = settings_with_a_spiral(1, TrunkIndex(1));
    settings.capacity.kept.large_count = 64;
    let mut bench = Bench::of(&settings);
    // All of them are read in one turn, and each goes to ourselves: 1 MiB holds 16.
    for n in 0..20 {
        let text = padded(
            &request("OPTIONS", "big", "1", &format!("b{n}"), "", ""),
            65_000,
        );
        let mail = trunkline_dataplane::mailbox::SipMail {
            source: CALLER,
            listen: ListenIndex(0),
            len: 0,
            origin: trunkline_dataplane::mailbox::Origin::Kernel,
        };
        assert!(bench.posts[0].mail.post_sip(mail, text.as_bytes()));
    }
    bench.turn();
    assert_eq!(bench.count(Counter::SipOwnFull), 4);
    assert_eq!(bench.count(Counter::OwnIn), 16);
    let by_kernel = bench.by_kernel();
    assert!(by_kernel.iter().all(|sent| sent.destination == CALLEE));
    // They differ by the branch alone.
    let mut branches: Vec<_> = by_kernel.iter().map(|sent| branch(&sent.text())).collect();
    branches.dedup();
    assert_eq!(branches.len(), 16);
}
