//! After its start a worker allocates nothing (design rule 2): every allocation on this
//! thread is counted while whole calls pass.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

mod bench;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::CALLER;
use bench::CORE;
use bench::answer;
use bench::call::only;
use bench::carriers;
use bench::device_of;
use bench::frame;
use bench::header;
use bench::invite;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::PRIVATE;
use bench::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::lab;
use trunkline_dataplane::mailbox::Ask;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Query;
use trunkline_dataplane::tick::Tick;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
struct Counting;

#[allow(unsafe_code, reason = "a global allocator is unsafe by its trait")]
// SAFETY: every call goes to the system's allocator as it came; counting touches no heap,
// since the cell is const-initialised and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is ours.
        unsafe { System.realloc(pointer, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `what` allocates or frees.
fn allocations(what: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    what();
    COUNT.with(Cell::get) - before
}

/// A step of a recorded run.
enum Step {
    /// A frame arrives at a worker.
    Frame {
        worker: usize,
        source: SocketAddr,
        frame: Vec<u8>,
    },
    /// So much time passes, a bucket at a time.
    Pass(u64),
    /// Control asks or tells.
    Mail(Option<Mail>),
}

/// Runs the steps and gives how often the workers allocated in them.
fn replay(bench: &mut Bench, steps: &mut [Step]) -> u64 {
    let mut sent = 0u64;
    let mut seen = |_, bytes: &[u8]| sent += bytes.len() as u64;
    let counted = allocations(|| {
        for step in steps {
            let end = match step {
                Step::Frame {
                    worker,
                    source,
                    frame,
                } => {
                    let device = device_of(source.ip());
                    assert!(bench.workers[*worker].rings_mut().inject(device, frame));
                    bench.now
                }
                Step::Pass(ms) => bench.now.plus_ms(*ms),
                Step::Mail(mail) => {
                    let mail = mail.take().unwrap();
                    assert!(bench.posts[0].mail.post(mail).is_ok());
                    bench.now
                }
            };
            loop {
                turn(bench, &mut seen);
                if bench.now >= end {
                    break;
                }
                bench.now = end.min(Tick(bench.now.0 + 4_000_000));
            }
        }
    });
    assert!(sent > 5_000, "the run did something");
    counted
}

fn turn(bench: &mut Bench, seen: &mut dyn FnMut(trunkline_dataplane::ids::DeviceIndex, &[u8])) {
    let mut worked = true;
    while worked {
        worked = false;
        for worker in &mut bench.workers {
            worked |= worker.turn(bench.now);
            worker.rings_mut().take_sent(seen);
            assert!(worker.counters().unbalanced().is_none());
        }
    }
}

const CALLER_MEDIA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2)), 6000);
const CALLEE_MEDIA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2)), 7000);

/// Records a call with everything in it. The workers are deterministic: a fresh bench gives
/// the same branches, tags and ports to the same frames.
fn record() -> Vec<Step> {
    let mut bench = Bench::new(2);
    let mut steps = Vec::new();
    let call_id = bench.call_id_of(1);
    let mut say = |bench: &mut Bench, source: SocketAddr, to: SocketAddr, bytes: &[u8]| {
        steps.push(Step::Frame {
            worker: 0,
            source,
            frame: frame(source, to, bytes),
        });
        bench.left.clear();
        bench.arrives(0, source, to, bytes);
        bench.turn();
        bench
            .left
            .iter()
            .find(|left| left.destination.port() != source.port() || left.destination != source)
            .cloned()
    };
    let first = invite(&call_id, &sdp(CALLER_MEDIA));
    let sent = say(&mut bench, CALLER, ACCESS, first.as_bytes())
        .unwrap()
        .text();
    say(&mut bench, CALLER, ACCESS, first.as_bytes());
    let ringing = answer(
        &sent,
        "180 Ringing",
        "Contact: <sip:callee@10.77.2.2>\r\n",
        "",
    );
    say(&mut bench, CALLEE, CORE, ringing.as_bytes());
    let ok = answer(
        &sent,
        "200 OK",
        "Contact: <sip:callee@10.77.2.2>\r\n",
        &sdp(CALLEE_MEDIA),
    );
    let answered = say(&mut bench, CALLEE, CORE, ok.as_bytes()).unwrap().text();
    say(&mut bench, CALLEE, CORE, ok.as_bytes());
    let mut routes: Vec<String> = answered
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    routes.reverse();
    let more = format!("{}To: {}\r\n", routes.concat(), header(&answered, "To"));
    let in_dialog = |method: &str, cseq: &str, body: &str| {
        request(
            method,
            &call_id,
            cseq,
            &format!("d{cseq}{method}"),
            &more,
            body,
        )
        .replacen("sip:100@10.77.1.1", "sip:callee@10.77.2.2", 1)
    };
    say(
        &mut bench,
        CALLER,
        ACCESS,
        in_dialog("ACK", "1", "").as_bytes(),
    );
    let port = answered
        .split("m=audio ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let relay = SocketAddr::new(ACCESS.ip(), port);
    let mut rtp = vec![0x80, 8, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
    rtp.resize(172, 0xd5);
    for _ in 0..5 {
        assert!(say(&mut bench, CALLER_MEDIA, relay, &rtp).is_some());
    }
    assert!(
        say(
            &mut bench,
            SocketAddr::new(lab::STRANGERS[0], 9),
            relay,
            &rtp
        )
        .is_none()
    );
    let hold = in_dialog(
        "INVITE",
        "2",
        &format!("{}a=sendonly\r\n", sdp(CALLER_MEDIA)),
    );
    let held = say(&mut bench, CALLER, ACCESS, hold.as_bytes())
        .unwrap()
        .text();
    let ok = answer(
        &held,
        "200 OK",
        "Contact: <sip:callee@10.77.2.2>\r\n",
        &sdp(CALLEE_MEDIA),
    );
    say(&mut bench, CALLEE, CORE, ok.as_bytes());
    say(
        &mut bench,
        CALLER,
        ACCESS,
        in_dialog("ACK", "2", "").as_bytes(),
    );
    let bye = say(
        &mut bench,
        CALLER,
        ACCESS,
        in_dialog("BYE", "3", "").as_bytes(),
    )
    .unwrap()
    .text();
    say(
        &mut bench,
        CALLEE,
        CORE,
        answer(&bye, "200 OK", "", "").as_bytes(),
    );
    say(&mut bench, CALLER, ACCESS, b"INVITE broken SIP/2.0\r\n\r\n");
    // One that nobody answers, one that is cancelled, one from a stranger.
    for name in ["silent", "gone"] {
        let text = invite(name, "").replace("z9hG4bKb1", &format!("z9hG4bK{name}"));
        say(&mut bench, CALLER, ACCESS, text.as_bytes());
    }
    say(
        &mut bench,
        CALLER,
        ACCESS,
        request("CANCEL", "gone", "1", "gone", "", "").as_bytes(),
    );
    let stranger = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);
    let from_stranger = invite("stranger", "");
    let source = SocketAddr::new(stranger.ip(), 5060);
    steps.push(Step::Frame {
        worker: 0,
        source: CALLER,
        frame: frame(source, ACCESS, from_stranger.as_bytes()),
    });
    let query = |id, what| Step::Mail(Some(Mail::Query(Query { id, what })));
    steps.push(query(1, Ask::Calls));
    steps.push(query(2, Ask::Flows));
    steps.push(query(3, Ask::Sockets));
    let network = lab::network(2, 1500, &lab::everybody());
    steps.push(Step::Mail(Some(Mail::Network(Box::new(network)))));
    // Retransmissions, time-outs, ends, housekeeping.
    steps.push(Step::Pass(70_000));
    steps
}

#[test]
fn whole_calls_allocate_nothing() {
    let mut steps = record();
    let mut bench = Bench::new(2);
    assert_eq!(replay(&mut bench, &mut steps), 0);
    // The run was what it was meant to be.
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    assert_eq!(bench.count(Counter::TransactionTimeouts), 2);
    assert!(bench.count(Counter::RtpForwarded) == 5 && bench.count(Counter::Retransmissions) > 10);
    assert_eq!(bench.count(Counter::SipSourceUnknown), 1);
    assert!(bench.reports().len() >= 4);
    bench.assert_at_rest();
}

/// Two targets of a trunk beside another trunk, and one after all of them.
const CARRIERS: &[(u16, &[u8])] = &[(900, &[3, 4]), (900, &[5]), (100, &[6])];

/// Records a request that is forked, fails over, collects failures, and gets a late answer.
fn record_forks() -> Vec<Step> {
    let mut bench = carriers::bench(CARRIERS);
    let mut steps = Vec::new();
    let say = |steps: &mut Vec<Step>, bench: &mut Bench, from: Option<u8>, text: &str| {
        let (source, to) = from.map_or((CALLER, ACCESS), |last| (carriers::host(last), CORE));
        steps.push(Step::Frame {
            worker: 0,
            source,
            frame: frame(source, to, text.as_bytes()),
        });
        bench.say(0, source, to, text)
    };
    let left = say(
        &mut steps,
        &mut bench,
        None,
        &invite("forks", &sdp(CALLER_MEDIA)),
    );
    let (first, other) = (carriers::one_to(&left, 3), carriers::one_to(&left, 5));
    let challenge = "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\"\r\n";
    let denied = carriers::answer_of(5, &other, "401 Unauthorized", challenge, "");
    say(&mut steps, &mut bench, Some(5), &denied);
    let left = bench.pass_ms(2_010);
    steps.push(Step::Pass(2_010));
    let second = carriers::to(&left, 4)[0].clone();
    let denied = carriers::answer_of(4, &second, "407 Denied", challenge, "");
    let left = say(&mut steps, &mut bench, Some(4), &denied);
    let last = carriers::one_to(&left, 6);
    let busy = carriers::answer_of(6, &last, "486 Busy Here", "", "");
    let left = say(&mut steps, &mut bench, Some(6), &busy);
    let failed = carriers::all_to_caller(&left)[0].clone();
    assert!(failed.starts_with("SIP/2.0 401 "));
    say(
        &mut steps,
        &mut bench,
        None,
        &carriers::ack_of_failure(&failed),
    );
    let late = carriers::answer_of(3, &first, "200 OK", "", &sdp(CALLEE_MEDIA));
    say(&mut steps, &mut bench, Some(3), &late);
    steps.push(Step::Pass(70_000));
    steps
}

#[test]
fn forks_allocate_nothing() {
    let mut steps = record_forks();
    let mut bench = carriers::bench(CARRIERS);
    assert_eq!(replay(&mut bench, &mut steps), 0);
    assert_eq!(bench.count(Counter::LateAnswersEnded), 1);
    bench.assert_at_rest();
}

/// Records a phone that registers elsewhere, refreshes, is called by its flow, and calls.
fn record_edge() -> Vec<Step> {
    let mut bench = Bench::of(&phone::before_a_registrar(2));
    let mut steps = Vec::new();
    let mut say = |bench: &mut Bench, source: SocketAddr, to: SocketAddr, text: &str| {
        steps.push(Step::Frame {
            worker: 0,
            source,
            frame: frame(source, to, text.as_bytes()),
        });
        bench.say(0, source, to, text)
    };
    let left = say(&mut bench, PHONE, ACCESS, &phone::register(1, ""));
    let sent = only(&left, CORE, CALLEE);
    let path = header(&sent, "Path");
    say(
        &mut bench,
        CALLEE,
        CORE,
        &phone::granted(&sent, PRIVATE, 600),
    );
    say(&mut bench, PHONE, ACCESS, &phone::register(2, ""));
    for worker in [0, 1] {
        let call_id = bench.call_id_of(worker);
        let offer = phone::to_phone("INVITE", &call_id, &path, &sdp(CALLEE_MEDIA));
        let left = say(&mut bench, CALLEE, CORE, &offer);
        let ok = answer(
            &only(&left, ACCESS, PHONE),
            "200 OK",
            "Contact: <sip:a@b>\r\n",
            "",
        );
        say(&mut bench, PHONE, ACCESS, &ok);
        let call = phone::request("MESSAGE", "alice", &call_id, 1, "");
        let left = say(&mut bench, PHONE, ACCESS, &call);
        say(
            &mut bench,
            CALLEE,
            CORE,
            &answer(&only(&left, CORE, CALLEE), "200 OK", "", ""),
        );
    }
    let gone = phone::register(3, "Expires: 0\r\n");
    let left = say(&mut bench, PHONE, ACCESS, &gone);
    say(
        &mut bench,
        CALLEE,
        CORE,
        &answer(&only(&left, CORE, CALLEE), "200 OK", "", ""),
    );
    steps.push(Step::Pass(70_000));
    steps
}

#[test]
fn an_edge_allocates_nothing() {
    let mut steps = record_edge();
    let mut bench = Bench::of(&phone::before_a_registrar(2));
    assert_eq!(replay(&mut bench, &mut steps), 0);
    assert_eq!(bench.count(Counter::RegistersForwarded), 2);
    assert_eq!(bench.count(Counter::RegistersSpared), 1);
    assert_eq!(bench.count(Counter::CallsAnswered), 2);
    assert_eq!(bench.count(Counter::BindingsNow), 0);
    assert_eq!(bench.count(Counter::UnregisteredRefused), 0);
}

#[test]
fn the_count_would_show_an_allocation() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 2);
}
