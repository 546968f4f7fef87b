//! The fake rings, and through them all that real rings share with them: the
//! ports, the pool and the ledger.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use super::*;

const A: DeviceIndex = DeviceIndex(0);
const B: DeviceIndex = DeviceIndex(1);
const NOWHERE: DeviceIndex = DeviceIndex(2);

/// Rings so short that everything fills up.
fn tiny() -> Fake {
    let lens = RingLens {
        rx: 4,
        fill: 8,
        tx: 4,
    };
    Fake::new(FakeConfig {
        lens,
        ..FakeConfig::default()
    })
    .unwrap()
}

fn receive(fake: &mut Fake) -> Vec<Received> {
    let mut batch = Vec::with_capacity(BATCH);
    fake.receive(&mut batch);
    batch
}

fn statistics(fake: &mut Fake, device: DeviceIndex) -> SocketStatistics {
    let mut found = SocketStatistics::default();
    fake.statistics(&mut |socket| {
        if socket.device == device {
            found = socket;
        }
    });
    found
}

#[test]
fn a_frame_goes_through_every_place_of_the_ledger() {
    let mut fake = tiny();
    let places = |fake: &Fake| {
        let ledger = fake.ledger();
        assert!(ledger.balanced(), "{ledger}");
        (
            ledger.fill,
            ledger.rx,
            ledger.held,
            ledger.tx,
            ledger.completion,
        )
    };
    assert_eq!(places(&fake), (16, 0, 0, 0, 0));
    assert!(fake.inject(A, b"INVITE"));
    assert_eq!(places(&fake), (15, 1, 0, 0, 0));
    assert!(!fake.idle());
    let received = receive(&mut fake).pop().unwrap();
    assert_eq!(places(&fake), (15, 0, 1, 0, 0));
    assert_eq!(
        (fake.bytes(&received.frame), received.device),
        (&b"INVITE"[..], A)
    );
    fake.transmit(B, Lane(0), received.frame).unwrap();
    fake.delay_completions(true);
    fake.take_sent(&mut |_, _| panic!("nothing was flushed"));
    fake.flush();
    assert_eq!(places(&fake), (16, 0, 0, 1, 0));
    let mut sent = Vec::new();
    fake.take_sent(&mut |device, bytes| sent.push((device, bytes.to_vec())));
    assert_eq!(sent, [(B, b"INVITE".to_vec())]);
    assert_eq!(places(&fake), (16, 0, 0, 1, 0), "sent, not completed");
    fake.delay_completions(false);
    assert_eq!(places(&fake), (16, 0, 0, 0, 1));
    fake.flush();
    assert!(fake.ledger().at_rest(), "{}", fake.ledger());
}

#[test]
fn what_the_kernel_would_drop_is_dropped_and_counted_by_its_names() {
    let mut fake = tiny();
    assert!(!fake.inject(NOWHERE, b"x"));
    assert!(!fake.inject(A, &[0; 1793]));
    for _ in 0..4 {
        assert!(fake.inject(A, &[0; 1792]));
    }
    assert!(!fake.inject(A, b"one more than the rx ring holds"));
    let mut held = receive(&mut fake);
    assert!(!fake.inject(A, b"what is in the worker's hands keeps its place"));
    // With all others taken the fill ring is not refilled: eight frames, then none.
    let mut taken = Vec::new();
    while let Some(frame) = fake.allocate(1) {
        taken.push(frame);
    }
    fake.flush();
    for _ in 0..4 {
        assert!(fake.inject(A, b"x"));
    }
    held.append(&mut receive(&mut fake));
    fake.flush();
    assert!(!fake.inject(A, b"nothing to receive into"));
    let kernel = statistics(&mut fake, A).kernel;
    assert_eq!(
        (
            kernel.rx_dropped,
            kernel.rx_ring_full,
            kernel.rx_fill_ring_empty_descs
        ),
        (1, 2, 1)
    );
    taken.into_iter().for_each(|frame| fake.free(frame));
    fake.flush();
    assert!(
        fake.inject(A, b"x"),
        "refilled though eight frames are held"
    );
    held.append(&mut receive(&mut fake));
    held.into_iter()
        .for_each(|received| fake.free(received.frame));
    fake.flush();
    assert!(fake.ledger().at_rest(), "{}", fake.ledger());
}

#[test]
fn a_full_tx_ring_gives_the_frame_back_and_leaves_frames_to_allocate() {
    let mut fake = tiny();
    for _ in 0..4 {
        let frame = fake.allocate(10).unwrap();
        fake.transmit(A, Lane(0), frame).unwrap();
    }
    fake.flush();
    let frame = fake.allocate(10).unwrap();
    let frame = fake.transmit(A, Lane(0), frame).unwrap_err();
    fake.transmit(B, Lane(0), frame)
        .expect("the other device's ring has room");
    fake.take_sent(&mut |_, _| {});
    let frame = fake.allocate(10).unwrap();
    let frame = fake.transmit(A, Lane(0), frame).unwrap_err();
    fake.flush();
    let frame = fake.transmit(NOWHERE, Lane(0), frame).unwrap_err();
    fake.transmit(A, Lane(0), frame).expect("reaped");
}

#[test]
fn a_refused_frame_is_completed_counted_and_not_seen() {
    let mut fake = tiny();
    fake.drop_next(1);
    for byte in [1, 2] {
        let mut frame = fake.allocate(1).unwrap();
        fake.bytes_mut(&mut frame)[0] = byte;
        fake.transmit(A, Lane(0), frame).unwrap();
    }
    fake.flush();
    let mut seen = Vec::new();
    fake.take_sent(&mut |_, bytes| seen.push(bytes[0]));
    fake.flush();
    assert_eq!(seen, [2]);
    let counts = statistics(&mut fake, A);
    assert_eq!((counts.tx, counts.completed, counts.refused), (2, 2, 1));
    fake.refuse_transmit(true);
    let frame = fake.allocate(1).unwrap();
    let frame = fake.transmit(A, Lane(0), frame).unwrap_err();
    fake.free(frame);
    assert!(fake.ledger().at_rest());
}

#[test]
fn a_flooded_interface_does_not_starve_the_other() {
    let lens = RingLens {
        rx: 256,
        fill: 512,
        tx: 256,
    };
    let mut fake = Fake::new(FakeConfig {
        lens,
        ..FakeConfig::default()
    })
    .unwrap();
    for _ in 0..200 {
        assert!(fake.inject(A, b"flood"));
    }
    assert!(fake.inject(B, b"call"));
    let mut turns = 0;
    loop {
        let batch = receive(&mut fake);
        assert!(batch.len() <= BATCH);
        turns += 1;
        let done = batch.iter().any(|received| received.device == B);
        batch
            .into_iter()
            .for_each(|received| fake.free(received.frame));
        if done {
            break;
        }
    }
    assert!(turns <= 2, "{turns}");
}

/// Two queues: frames of one lane leave in their order, and a full ring is not got
/// round by way of the other.
#[test]
fn a_lane_keeps_to_its_socket_and_lanes_are_shared() {
    let mut fake = Fake::new(FakeConfig {
        devices: 1,
        queues: 2,
        lens: RingLens {
            rx: 4,
            fill: 8,
            tx: 4,
        },
        ..FakeConfig::default()
    })
    .unwrap();
    let one = Lane(1);
    let other = (2..)
        .map(Lane)
        .find(|lane| lane.of(2) != one.of(2))
        .unwrap();
    let send = |fake: &mut Fake, lane, byte| {
        let mut frame = fake.allocate(1).unwrap();
        fake.bytes_mut(&mut frame)[0] = byte;
        match fake.transmit(A, lane, frame) {
            Ok(()) => true,
            Err(frame) => {
                fake.free(frame);
                false
            }
        }
    };
    for byte in 0..4 {
        assert!(send(&mut fake, one, byte));
    }
    assert!(!send(&mut fake, one, 4), "its ring is full");
    assert!(send(&mut fake, other, 9), "the other's is not");
    fake.flush();
    let mut left = Vec::new();
    fake.take_sent(&mut |_, bytes| left.push(bytes[0]));
    left.retain(|&byte| byte != 9);
    assert_eq!(left, [0, 1, 2, 3]);
    let mut sent = Vec::new();
    fake.statistics(&mut |socket| sent.push((socket.queue.0, socket.tx)));
    sent.sort_by_key(|(_, tx)| *tx);
    assert_eq!(sent.iter().map(|(_, tx)| *tx).collect::<Vec<_>>(), [1, 4]);
    fake.flush();
    assert!(fake.ledger().at_rest());
}

#[test]
fn a_batch_is_never_grown() {
    let mut fake = tiny();
    for _ in 0..4 {
        assert!(fake.inject(A, b"x"));
    }
    let mut batch = Vec::with_capacity(3);
    let capacity = batch.capacity();
    fake.receive(&mut batch);
    assert_eq!((batch.len(), batch.capacity()), (capacity.min(4), capacity));
}

#[test]
fn the_wake_up_ends_a_sleep_on_fake_rings() {
    let mut fake = tiny();
    let wake = Arc::new(Wake::new().unwrap());
    fake.wait_for(&wake).unwrap();
    wake.prepare();
    let ringer = {
        let wake = Arc::clone(&wake);
        thread::spawn(move || wake.ring())
    };
    // A lost wake-up hangs here.
    fake.wait(&wake, u64::MAX);
    ringer.join().unwrap();
    assert!(fake.inject(A, b"x"));
    wake.prepare();
    fake.wait(&wake, u64::MAX);
}

#[test]
fn ring_lengths_that_do_not_go_together_are_refused() {
    let lens = RingLens {
        rx: 8,
        fill: 8,
        tx: 8,
    };
    assert!(
        Fake::new(FakeConfig {
            lens,
            ..FakeConfig::default()
        })
        .is_err()
    );
}

#[derive(Clone, Debug)]
enum Step {
    Inject(DeviceIndex, u8),
    Receive,
    Forward(DeviceIndex),
    Free,
    Originate(DeviceIndex, u8),
    Flush,
    TakeSent,
    Delay(bool),
    Refuse(bool),
    DropNext,
}

fn step() -> impl Strategy<Value = Step> {
    let device = || (0_u8..3).prop_map(DeviceIndex);
    prop_oneof![
        8 => (device(), any::<u8>()).prop_map(|(device, byte)| Step::Inject(device, byte)),
        3 => Just(Step::Receive),
        6 => device().prop_map(Step::Forward),
        2 => Just(Step::Free),
        3 => (device(), any::<u8>()).prop_map(|(device, byte)| Step::Originate(device, byte)),
        4 => Just(Step::Flush),
        3 => Just(Step::TakeSent),
        1 => any::<bool>().prop_map(Step::Delay),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => Just(Step::DropNext),
    ]
}

proptest! {
    /// Whatever happens in whatever order: the ledger balances after each step,
    /// no byte of a frame is changed by anyone else, frames leave in the order
    /// they were transmitted, and at rest every frame is back.
    #[test]
    fn frames_are_conserved_and_intact(steps in proptest::collection::vec(step(), 1..300)) {
        let mut fake = tiny();
        let mut held: VecDeque<(Frame, Vec<u8>)> = VecDeque::new();
        let mut wire_in: [VecDeque<Vec<u8>>; 2] = [VecDeque::new(), VecDeque::new()];
        let mut wire_out: [VecDeque<Vec<u8>>; 2] = [VecDeque::new(), VecDeque::new()];
        let mut dropping = 0_u64;
        let mut sent_count = 0_u64;
        for step in steps {
            match step {
                Step::Inject(device, byte) => {
                    let bytes = vec![byte; usize::from(byte) + 1];
                    if fake.inject(device, &bytes) {
                        wire_in[usize::from(device.0)].push_back(bytes);
                    }
                }
                Step::Receive => {
                    for Received { frame, device } in receive(&mut fake) {
                        let expected = wire_in[usize::from(device.0)].pop_front();
                        prop_assert_eq!(Some(fake.bytes(&frame)), expected.as_deref());
                        held.push_back((frame, expected.unwrap()));
                    }
                }
                Step::Forward(device) => {
                    let Some((frame, bytes)) = held.pop_front() else { continue };
                    match fake.transmit(device, Lane(0), frame) {
                        Ok(()) => wire_out[usize::from(device.0)].push_back(bytes),
                        Err(frame) => held.push_back((frame, bytes)),
                    }
                }
                Step::Free => {
                    if let Some((frame, _)) = held.pop_back() {
                        fake.free(frame);
                    }
                }
                Step::Originate(device, byte) => {
                    let Some(mut frame) = fake.allocate(usize::from(byte)) else { continue };
                    fake.bytes_mut(&mut frame).fill(byte);
                    match fake.transmit(device, Lane(0), frame) {
                        Ok(()) => {
                            let bytes = vec![byte; usize::from(byte)];
                            wire_out[usize::from(device.0)].push_back(bytes);
                        }
                        Err(frame) => fake.free(frame),
                    }
                }
                Step::Flush => fake.flush(),
                Step::TakeSent => {
                    let mut sent = Vec::new();
                    fake.take_sent(&mut |device, bytes| sent.push((device, bytes.to_vec())));
                    sent_count += sent.len() as u64;
                    for (device, bytes) in sent {
                        // Frames that the driver was told to drop are missing.
                        let queue = &mut wire_out[usize::from(device.0)];
                        let at = queue.iter().position(|expected| *expected == bytes);
                        prop_assert!(at.is_some_and(|at| at as u64 <= dropping));
                        queue.drain(..=at.unwrap());
                    }
                }
                Step::Delay(delay) => fake.delay_completions(delay),
                Step::Refuse(refuse) => fake.refuse_transmit(refuse),
                Step::DropNext => {
                    fake.drop_next(1);
                    dropping += 1;
                }
            }
            let ledger = fake.ledger();
            prop_assert!(ledger.balanced(), "{}", ledger);
            prop_assert_eq!(ledger.held as usize, held.len());
            for (frame, bytes) in &held {
                prop_assert_eq!(fake.bytes(frame), bytes.as_slice());
            }
        }
        // At rest.
        held.into_iter().for_each(|(frame, _)| fake.free(frame));
        receive(&mut fake).into_iter().for_each(|received| fake.free(received.frame));
        fake.delay_completions(false);
        fake.flush();
        fake.take_sent(&mut |_, _| sent_count += 1);
        fake.flush();
        let ledger = fake.ledger();
        prop_assert!(ledger.at_rest(), "{}", ledger);
        prop_assert_eq!(ledger.free + ledger.fill, ledger.total);
        prop_assert_eq!(ledger.fill, 16, "the fill rings are full");
        let (a, b) = (statistics(&mut fake, A), statistics(&mut fake, B));
        prop_assert_eq!(a.tx + b.tx, a.completed + b.completed);
        prop_assert_eq!(a.tx + b.tx, sent_count + a.refused + b.refused);
    }
}
