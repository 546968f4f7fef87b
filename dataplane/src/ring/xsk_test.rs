//! Real rings on veth pairs. Copy mode only: veth has no zero-copy.

use std::sync::Arc;
use std::thread;

use super::veth::Peer;
use super::veth::Program;
use super::veth::become_nobody;
use super::veth::in_own_namespace;
use super::veth::run;
use super::veth::udp_frame;
use super::veth::veth;
use super::*;
use crate::sys::memory::Hugepages;

const ACCESS: DeviceIndex = DeviceIndex(0);
const CORE: DeviceIndex = DeviceIndex(1);
const LENS: RingLens = RingLens {
    rx: 256,
    fill: 512,
    tx: 256,
};

/// A turn's wait: long enough to see an idle machine, so that a bounded number
/// of turns is a generous time.
const TURN_NS: u64 = 20_000_000;
const TURNS_MAX: usize = 500;

fn socket(device: DeviceIndex, name: &str, ifindex: u32, queue: u16) -> SocketConfig {
    SocketConfig {
        device,
        name: name.to_owned(),
        ifindex,
        queue: QueueId(queue),
        lens: LENS,
        busy_poll: false,
    }
}

fn config(sockets: Vec<SocketConfig>) -> XskConfig {
    XskConfig {
        sockets,
        frames: None,
        hugepages: Hugepages::Off,
        mode: ModeWish::Copy,
    }
}

/// Turns of the rings until `done` says so or patience ends: takes each frame
/// received to `each`, and waits when there is nothing.
fn turn_until(
    xsk: &mut Xsk,
    wake: &Wake,
    each: &mut dyn FnMut(&mut Xsk, Received),
    done: &mut dyn FnMut(&mut Xsk) -> bool,
) {
    let mut batch = Vec::with_capacity(BATCH);
    for _ in 0..TURNS_MAX {
        xsk.receive(&mut batch);
        for received in batch.drain(..) {
            each(xsk, received);
        }
        xsk.flush();
        assert!(xsk.ledger().balanced(), "{}", xsk.ledger());
        if done(xsk) {
            return;
        }
        wake.prepare();
        if xsk.idle() {
            xsk.wait(wake, TURN_NS);
        } else {
            wake.cancel();
        }
    }
    panic!("not done after {TURNS_MAX} turns: {}", xsk.ledger());
}

fn statistics(xsk: &mut Xsk) -> Vec<SocketStatistics> {
    let mut all = Vec::new();
    xsk.statistics(&mut |socket| all.push(socket));
    all
}

/// The arrangement of a worker: two interfaces, two queues each, one UMEM.
#[test]
fn every_frame_crosses_from_one_interface_to_the_other() {
    in_own_namespace(|| {
        const COUNT: u16 = 500;
        let (near_a, far_a) = veth("tla0", "tla1");
        let (near_b, far_b) = veth("tlb0", "tlb1");
        let sockets = vec![
            socket(ACCESS, "tla0", near_a, 0),
            socket(ACCESS, "tla0", near_a, 1),
            socket(CORE, "tlb0", near_b, 0),
            socket(CORE, "tlb0", near_b, 1),
        ];
        let mut xsk = Xsk::open(&config(sockets)).unwrap();
        assert_eq!(xsk.mode(), Mode::Copy);
        let program = Program::attach(near_a);
        xsk.sockets()
            .filter(|open| open.ifindex == near_a)
            .for_each(|open| program.redirect_to(&open));
        let (caller, callee) = (Peer::new(far_a), Peer::new(far_b));

        let mut forwarded = 0;
        let mut sent = 0;
        turn_until(
            &mut xsk,
            &Wake::new().unwrap(),
            &mut |xsk, mut received| {
                assert_eq!(received.device, ACCESS);
                let bytes = xsk.bytes_mut(&mut received.frame);
                bytes[0..6].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
                let lane = Lane(forwarded);
                xsk.transmit(CORE, lane, received.frame).unwrap();
                forwarded += 1;
            },
            &mut |xsk| {
                // In bursts shorter than the rx ring, so that none is lost.
                for port in (sent..COUNT).take(100) {
                    caller.send(&udp_frame(10_000 + port));
                    sent += 1;
                }
                sent == COUNT && xsk.idle() && xsk.ledger().at_rest()
            },
        );
        assert_eq!(forwarded, COUNT);

        let mut seen = vec![false; usize::from(COUNT)];
        for _ in 0..COUNT {
            let frame = callee.receive().expect("a frame was lost on the way out");
            assert_eq!(frame[0..6], [2, 9, 9, 9, 9, 9]);
            let payload = frame.last_chunk::<2>().unwrap();
            let port = u16::from_be_bytes(*payload);
            assert_eq!(frame[6..], udp_frame(port)[6..], "the rest is untouched");
            seen[usize::from(port - 10_000)] = true;
        }
        assert!(seen.iter().all(|&seen| seen));
        assert_eq!(callee.receive(), None);

        let all = statistics(&mut xsk);
        let rx: Vec<u64> = all.iter().map(|socket| socket.rx).collect();
        assert!(
            rx[0] > 0 && rx[1] > 0 && rx[0] + rx[1] == 500 && rx[2] + rx[3] == 0,
            "{rx:?}"
        );
        assert!(
            all[2].tx > 200 && all[3].tx > 200,
            "both sockets send: {all:?}"
        );
        assert_eq!(all[2].tx + all[3].tx, 500);
        assert_eq!(all[2].completed + all[3].completed, 500);
        for socket in all {
            assert_eq!((socket.refused, socket.kick_errors), (0, 0));
            assert_eq!(
                (socket.kernel.rx_dropped, socket.kernel.rx_ring_full),
                (0, 0)
            );
            assert_eq!(
                (
                    socket.kernel.rx_invalid_descs,
                    socket.kernel.tx_invalid_descs
                ),
                (0, 0)
            );
        }
    });
}

#[test]
fn a_whole_batch_leaves_with_few_kicks() {
    in_own_namespace(|| {
        let (near, far) = veth("tla0", "tla1");
        let mut xsk = Xsk::open(&config(vec![socket(ACCESS, "tla0", near, 0)])).unwrap();
        let peer = Peer::new(far);
        for port in 0..64 {
            let bytes = udp_frame(port);
            let mut frame = xsk.allocate(bytes.len()).unwrap();
            xsk.bytes_mut(&mut frame).copy_from_slice(&bytes);
            xsk.transmit(ACCESS, Lane(0), frame).unwrap();
        }
        xsk.flush();
        for port in 0..64 {
            assert_eq!(peer.receive(), Some(udp_frame(port)), "in order, none lost");
        }
        // One with XDP_MAX_TX_SKB_BUDGET, two of 32 without.
        let kicks = statistics(&mut xsk)[0].kicks;
        assert!((1..=2).contains(&kicks), "{kicks}");
        turn_until(
            &mut xsk,
            &Wake::new().unwrap(),
            &mut |_, _| {},
            &mut |xsk| xsk.ledger().at_rest(),
        );
    });
}

#[test]
fn no_socket_on_that_interface_and_a_full_ring_give_the_frame_back() {
    in_own_namespace(|| {
        let (near, _) = veth("tla0", "tla1");
        let mut xsk = Xsk::open(&config(vec![socket(ACCESS, "tla0", near, 0)])).unwrap();
        let frame = xsk.allocate(60).unwrap();
        let frame = xsk.transmit(CORE, Lane(0), frame).unwrap_err();
        xsk.free(frame);
        for _ in 0..LENS.tx {
            let frame = xsk.allocate(60).unwrap();
            xsk.transmit(ACCESS, Lane(0), frame).unwrap();
        }
        let frame = xsk
            .allocate(60)
            .expect("a full tx ring does not empty the pool");
        let frame = xsk.transmit(ACCESS, Lane(0), frame).unwrap_err();
        xsk.free(frame);
        assert!(xsk.ledger().balanced());
    });
}

#[test]
fn what_the_worker_does_not_take_in_time_is_counted_as_rx_ring_full() {
    in_own_namespace(|| {
        let (near, far) = veth("tla0", "tla1");
        let sockets = vec![
            socket(ACCESS, "tla0", near, 0),
            socket(ACCESS, "tla0", near, 1),
        ];
        let mut xsk = Xsk::open(&config(sockets)).unwrap();
        let program = Program::attach(near);
        xsk.sockets().for_each(|open| program.redirect_to(&open));
        let peer = Peer::new(far);
        for port in 0..1000 {
            peer.send(&udp_frame(port));
        }
        let mut received = 0;
        turn_until(
            &mut xsk,
            &Wake::new().unwrap(),
            &mut |xsk, frame| xsk.free(frame.frame),
            &mut |xsk| {
                let all = statistics(xsk);
                received = all.iter().map(|socket| socket.rx).sum();
                let full: u64 = all.iter().map(|socket| socket.kernel.rx_ring_full).sum();
                xsk.idle() && full > 0 && received + full == 1000
            },
        );
        assert_eq!(received, 2 * u64::from(LENS.rx), "two full rings");
        assert!(xsk.ledger().at_rest(), "{}", xsk.ledger());
    });
}

#[test]
fn an_interface_that_goes_down_loses_no_frame_and_kills_nobody() {
    in_own_namespace(|| {
        let (near, far) = veth("tla0", "tla1");
        let mut xsk = Xsk::open(&config(vec![socket(ACCESS, "tla0", near, 0)])).unwrap();
        run("ip link set tla0 down");
        let mut frame = xsk.allocate(60).unwrap();
        xsk.bytes_mut(&mut frame).fill(7);
        xsk.transmit(ACCESS, Lane(0), frame).unwrap();
        xsk.flush();
        let counts = statistics(&mut xsk)[0];
        assert_eq!((counts.kicks, counts.kick_errors), (1, 1));
        assert_eq!(xsk.ledger().tx, 1, "{}", xsk.ledger());
        run("ip link set tla0 up");
        let peer = Peer::new(far);
        let wake = Wake::new().unwrap();
        turn_until(&mut xsk, &wake, &mut |_, _| {}, &mut |xsk| {
            xsk.ledger().at_rest()
        });
        assert_eq!(peer.receive().map(|frame| frame.len()), Some(60));

        // Gone for good: still nobody dies, and the frame is accounted for.
        run("ip link del tla0");
        let frame = xsk.allocate(60).unwrap();
        xsk.transmit(ACCESS, Lane(0), frame).unwrap();
        xsk.flush();
        xsk.flush();
        assert_eq!(statistics(&mut xsk)[0].kick_errors, 2, "told once");
        // What is left in its ring wakes nobody any more.
        wake.prepare();
        let asleep = std::time::Instant::now();
        xsk.wait(&wake, 50_000_000);
        assert!(asleep.elapsed().as_millis() >= 50);
        let frame = xsk.allocate(60).unwrap();
        let frame = xsk.transmit(ACCESS, Lane(0), frame).unwrap_err();
        xsk.free(frame);
        assert!(
            xsk.ledger().balanced() && xsk.ledger().tx == 1,
            "{}",
            xsk.ledger()
        );
    });
}

#[test]
fn a_driver_that_drops_what_it_completes_is_counted() {
    in_own_namespace(|| {
        let (near, _) = veth("tla0", "tla1");
        // A peer that is down makes veth drop what it is given.
        run("ip link set tla1 down");
        let mut xsk = Xsk::open(&config(vec![socket(ACCESS, "tla0", near, 0)])).unwrap();
        for _ in 0..BATCH {
            let mut frame = xsk.allocate(60).unwrap();
            xsk.bytes_mut(&mut frame).fill(7);
            xsk.transmit(ACCESS, Lane(0), frame).unwrap();
        }
        xsk.flush();
        let wake = Wake::new().unwrap();
        turn_until(&mut xsk, &wake, &mut |_, _| {}, &mut |xsk| {
            xsk.ledger().at_rest()
        });
        let counts = statistics(&mut xsk)[0];
        assert_eq!((counts.completed, counts.refused), (64, 64), "{counts:?}");
    });
}

#[test]
fn the_wake_up_ends_a_sleep_without_a_packet() {
    in_own_namespace(|| {
        let (near, _) = veth("tla0", "tla1");
        let mut xsk = Xsk::open(&config(vec![socket(ACCESS, "tla0", near, 0)])).unwrap();
        let wake = Arc::new(Wake::new().unwrap());
        xsk.wait_for(&wake).unwrap();
        wake.prepare();
        let ringer = {
            let wake = Arc::clone(&wake);
            thread::spawn(move || wake.ring())
        };
        // A lost wake-up hangs here.
        xsk.wait(&wake, u64::MAX);
        ringer.join().unwrap();
    });
}

// --- What stands in the way of a start -------------------------------------

fn open_error(config: &XskConfig) -> String {
    Xsk::open(config).unwrap_err().to_string()
}

#[test]
fn auto_falls_back_to_copy_and_names_who_refused() {
    in_own_namespace(|| {
        let (near, _) = veth("tla0", "tla1");
        let mut wish = config(vec![
            socket(ACCESS, "tla0", near, 0),
            socket(ACCESS, "tla0", near, 1),
        ]);
        wish.mode = ModeWish::Auto;
        let xsk = Xsk::open(&wish).unwrap();
        assert_eq!(xsk.mode(), Mode::Copy);
        let refusal = xsk.zero_copy_refusal().unwrap();
        assert!(
            refusal.contains("tla0 queue 0 refuses zero-copy"),
            "{refusal}"
        );
        drop(xsk);
        wish.mode = ModeWish::ZeroCopy;
        let error = open_error(&wish);
        assert!(error.contains("zero_copy = \"auto\""), "{error}");
    });
}

/// veth links no NAPI: the options are taken, do nothing, and that is known.
#[test]
fn busy_polling_without_effect_is_known_and_frames_still_arrive() {
    in_own_namespace(|| {
        let (near, far) = veth("tla0", "tla1");
        let mut wish = config(vec![
            socket(ACCESS, "tla0", near, 0),
            socket(ACCESS, "tla0", near, 1),
        ]);
        wish.sockets[0].busy_poll = true;
        let mut xsk = Xsk::open(&wish).unwrap();
        let program = Program::attach(near);
        xsk.sockets().for_each(|open| program.redirect_to(&open));
        let peer = Peer::new(far);
        for port in 0..100 {
            peer.send(&udp_frame(port));
        }
        let mut received = 0;
        turn_until(
            &mut xsk,
            &Wake::new().unwrap(),
            &mut |xsk, frame| {
                received += 1;
                xsk.free(frame.frame);
            },
            &mut |xsk| xsk.idle() && xsk.ledger().at_rest(),
        );
        assert_eq!(received, 100);
        let states: Vec<_> = xsk.sockets().map(|open| open.busy_poll).collect();
        assert_eq!(states, [BusyPoll::NoEffect, BusyPoll::Off]);
    });
}

#[test]
fn a_wrong_interface_or_queue_says_what_to_look_at() {
    in_own_namespace(|| {
        let (near, _) = veth("tla0", "tla1");
        let error = open_error(&config(vec![socket(ACCESS, "eth9", 4711, 0)]));
        assert!(
            error.contains("no interface eth9") && error.contains("ip link"),
            "{error}"
        );
        let error = open_error(&config(vec![socket(ACCESS, "tla0", near, 7)]));
        assert!(
            error.contains("no queue 7") && error.contains("ethtool -l tla0"),
            "{error}"
        );
        let error = open_error(&config(Vec::new()));
        assert!(error.contains("no more workers than"), "{error}");
    });
}

#[test]
fn a_queue_that_is_taken_says_so_and_is_free_again_at_once_when_released() {
    in_own_namespace(|| {
        let (near, _) = veth("tla0", "tla1");
        let wish = config(vec![socket(ACCESS, "tla0", near, 0)]);
        let first = Xsk::open(&wish).unwrap();
        let error = open_error(&wish);
        assert!(
            error.contains("another AF_XDP socket") && error.contains("ss --xdp"),
            "{error}"
        );
        drop(first);
        Xsk::open(&wish).unwrap();
    });
}

#[test]
fn without_privileges_it_names_the_capabilities() {
    in_own_namespace(|| {
        let (near, _) = veth("tla0", "tla1");
        become_nobody();
        let error = open_error(&config(vec![socket(ACCESS, "tla0", near, 0)]));
        assert!(error.contains("CAP_NET_RAW"), "{error}");
    });
}

#[test]
fn ring_lengths_and_frames_that_do_not_go_together_are_refused() {
    let mut wish = config(vec![socket(ACCESS, "tla0", 1, 0)]);
    wish.sockets[0].lens.fill = 256;
    assert!(open_error(&wish).contains("twice as long"));
    wish.sockets[0].lens.fill = 500;
    assert!(open_error(&wish).contains("power of two"));
    wish.sockets[0].lens.fill = 512;
    wish.frames = Some(700);
    let error = open_error(&wish);
    assert!(error.contains("700") && error.contains("896"), "{error}");
}

#[test]
fn the_rings_can_move_to_their_worker() {
    fn is_send<T: Send>() {}
    is_send::<Xsk>();
    is_send::<Fake>();
}
