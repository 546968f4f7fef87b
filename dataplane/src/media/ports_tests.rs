use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const QUARANTINE_MS: u64 = 5_000;

fn ports(pair_count: u16) -> Ports {
    Ports::new(
        Slice {
            first: 20_000,
            pair_count,
        },
        QUARANTINE_MS,
    )
}

#[test]
fn gives_even_and_odd_ports_in_order() {
    let mut ports = ports(2);
    let pairs: Vec<_> = std::iter::from_fn(|| ports.take(Tick(0))).collect();
    let numbers: Vec<_> = pairs.iter().map(|pair| (pair.rtp(), pair.rtcp())).collect();
    assert_eq!(numbers, [(20_000, 20_001), (20_002, 20_003)]);
}

#[test]
fn a_released_pair_rests_before_it_is_given_again() {
    let mut ports = ports(1);
    let pair = ports.take(Tick(0)).unwrap();
    ports.release(pair, Tick::ms(100)).unwrap();
    assert_eq!(ports.take(Tick::ms(100 + QUARANTINE_MS - 1)), None);
    assert!(ports.take(Tick::ms(100 + QUARANTINE_MS)).is_some());
}

#[test]
fn a_pair_of_another_slice_is_given_back() {
    let mut ours = ports(1);
    let mut others = Ports::new(
        Slice {
            first: 30_000,
            pair_count: 1,
        },
        0,
    );
    let pair = others.take(Tick(0)).unwrap();
    let pair = ours.release(pair, Tick(0)).unwrap_err();
    others.release(pair, Tick(0)).unwrap();
    assert_eq!(others.counts(Tick(0)).in_use, 0);
}

#[test]
fn slices_of_odd_edges_hold_whole_pairs_only() {
    let of = |range| slice(&range, WorkerId(0), 1);
    assert_eq!(
        of(20_001..=20_004),
        Slice {
            first: 20_002,
            pair_count: 1
        }
    );
    assert_eq!(of(20_001..=20_002).pair_count, 0);
    assert_eq!(of(0..=u16::MAX).pair_count, 32_768);
    assert_eq!(of(u16::MAX..=u16::MAX).pair_count, 0);
    let (high, low) = (9u16, 5u16);
    assert_eq!(of(high..=low).pair_count, 0);
    assert_eq!(slice(&(0..=99), WorkerId(0), 0).pair_count, 0);
    assert_eq!(slice(&(0..=99), WorkerId(2), 2).pair_count, 0);
}

proptest! {
    #[test]
    fn slices_are_disjoint_and_cover_every_pair(
        a in any::<u16>(), b in any::<u16>(), workers in 1u8..=64,
    ) {
        let range = a.min(b)..=a.max(b);
        let mut seen = BTreeSet::new();
        let mut sizes = BTreeSet::new();
        for worker in 0..workers {
            let slice = slice(&range, WorkerId(worker), workers);
            sizes.insert(slice.pair_count);
            for at in 0..slice.pair_count {
                let rtp = slice.first + 2 * at;
                prop_assert!(range.contains(&rtp) && range.contains(&(rtp + 1)) && rtp.is_multiple_of(2));
                prop_assert!(seen.insert(rtp), "{} given twice", rtp);
            }
        }
        let last_rtp = |rtp: &u16| rtp.is_multiple_of(2) && rtp < range.end();
        prop_assert_eq!(seen.len(), range.clone().filter(last_rtp).count());
        prop_assert!(sizes.last().unwrap_or(&0) - sizes.first().unwrap_or(&0) <= 1);
    }

    #[test]
    fn no_pair_is_given_twice_or_early_or_lost(
        steps in proptest::collection::vec((any::<bool>(), 0u64..4_000, any::<usize>()), 0..200),
    ) {
        let mut ports = ports(8);
        let mut held: Vec<PortPair> = Vec::new();
        let mut released_at = std::collections::BTreeMap::new();
        let mut now = Tick(0);
        for (take, pass_ms, which) in steps {
            now = now.plus_ms(pass_ms);
            if take {
                if let Some(pair) = ports.take(now) {
                    prop_assert!(held.iter().all(|other| other.rtp() != pair.rtp()));
                    if let Some(&at) = released_at.get(&pair.rtp()) {
                        prop_assert!(now.since(at) >= Tick::ms(QUARANTINE_MS).0);
                    }
                    held.push(pair);
                } else {
                    prop_assert_eq!(ports.counts(now).ready, 0);
                }
            } else if !held.is_empty() {
                let pair = held.swap_remove(which % held.len());
                released_at.insert(pair.rtp(), now);
                ports.release(pair, now).unwrap();
            }
            let counts = ports.counts(now);
            prop_assert_eq!(counts.in_use, held.len());
            prop_assert_eq!(counts.ready + counts.quarantined + counts.in_use, counts.total);
        }
    }
}
