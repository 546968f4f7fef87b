use std::net::SocketAddr;

use super::*;
use crate::ids::ListenIndex;
use crate::ids::MediaIndex;
use crate::settings::Choice;
use crate::settings::Failover;
use crate::settings::Trunk;
use crate::sip::slab::Slab;

/// Trunks with targets on these ports of one host.
fn dial(trunks: &[&[u16]]) -> Dial {
    let trunk = |ports: &&[u16]| Trunk {
        name: String::new(),
        sources: Vec::new(),
        targets: ports
            .iter()
            .map(|&port| SocketAddr::from(([10, 0, 0, 1], port)))
            .collect(),
        failover: Failover::default(),
        listen: ListenIndex(0),
        media: MediaIndex(0),
    };
    Dial::new(trunks.iter().map(trunk).collect(), vec![], &[])
}

/// A route to trunks 0, 1 and so on, with these q values.
fn route(qs: &[u16]) -> DialRoute {
    let choices = (0..).zip(qs).map(|(trunk, &q)| Choice {
        trunk: TrunkIndex(trunk),
        q,
    });
    DialRoute {
        from: None,
        prefix: None,
        to: choices.collect(),
        stateless: false,
    }
}

/// The client transaction that tries the target in place `n`.
fn client(n: usize) -> Id {
    let mut slab = Slab::new(64);
    (0..=n).map(|_| slab.insert(()).unwrap()).last().unwrap()
}

/// Tries all that can be tried now, and gives trunk and number of each.
fn try_all(targets: &mut Targets) -> Vec<(u16, u8)> {
    let mut tried = Vec::new();
    while let Some(at) = targets.next() {
        targets.tried(at, client(at), targets.share());
        let target = targets.get(at);
        tried.push((target.trunk.0, target.number));
    }
    tried
}

/// The place of the target with this trunk and number.
fn at(targets: &Targets, trunk: u16, number: u8) -> usize {
    let is = |&at: &usize| {
        let target = targets.get(at);
        (target.trunk.0, target.number) == (trunk, number)
    };
    (0..targets.count()).find(is).unwrap()
}

/// Everybody has been heard in time.
const fn never(_: Id) -> bool {
    false
}

#[test]
fn equal_q_in_parallel_lower_q_when_all_above_have_failed() {
    let mut targets = Targets::of(&dial(&[&[1], &[2], &[3]]), &route(&[900, 900, 100]), 60);
    assert_eq!((targets.count(), targets.width()), (3, 2));
    assert_eq!(try_all(&mut targets), [(0, 0), (1, 0)]);
    targets.end(at(&targets, 0, 0));
    assert_eq!(try_all(&mut targets), []);
    targets.end(at(&targets, 1, 0));
    assert_eq!(try_all(&mut targets), [(2, 0)]);
    assert!(targets.is_pending());
    targets.end(at(&targets, 2, 0));
    assert!(!targets.is_pending() && targets.next().is_none());
}

#[test]
fn the_targets_of_a_trunk_are_tried_in_series_until_one_has_answered() {
    let mut targets = Targets::of(&dial(&[&[1, 2, 3], &[4]]), &route(&[500, 400]), 60);
    assert_eq!(try_all(&mut targets), [(0, 0)]);
    assert!(targets.may_follow(at(&targets, 0, 0), never));
    targets.end(at(&targets, 0, 0));
    assert_eq!(try_all(&mut targets), [(0, 1)]);
    // It was busy there: that is the trunk's answer.
    targets.end(at(&targets, 0, 1));
    targets.end_lane(at(&targets, 0, 1));
    assert_eq!(try_all(&mut targets), [(1, 0)]);
    assert!(!targets.may_follow(at(&targets, 1, 0), never));
}

#[test]
fn nobody_is_given_up_for_a_lower_q_while_one_of_equal_q_may_yet_answer() {
    let mut targets = Targets::of(&dial(&[&[1], &[2, 4], &[3]]), &route(&[900, 900, 100]), 60);
    try_all(&mut targets);
    let (a, b) = (at(&targets, 0, 0), at(&targets, 1, 0));
    assert!(targets.is_followed(a) && !targets.may_follow(a, never));
    assert!(targets.may_follow(b, never), "by the next of its trunk");
    // Where that one waits, what is overdue waits for it.
    assert!(!targets.may_follow(a, |client_id| client_id == client(b)));
    targets.end(b);
    assert_eq!(try_all(&mut targets), [(1, 1)]);
    let b = at(&targets, 1, 1);
    assert!(!targets.may_follow(b, never));
    assert!(targets.may_follow(b, |client_id| client_id == client(a)));
    targets.end(b);
    assert!(targets.may_follow(a, never));
}

#[test]
fn an_abandoned_target_lets_the_next_one_be_tried_and_is_still_known() {
    let mut targets = Targets::of(&dial(&[&[1, 2]]), &route(&[1000]), 60);
    try_all(&mut targets);
    let first = at(&targets, 0, 0);
    targets.abandon(first);
    assert!(targets.is_abandoned(first) && !targets.is_pending());
    assert_eq!(try_all(&mut targets), [(0, 1)]);
    assert_eq!(targets.of_client(client(first)), Some(first));
    assert_eq!(targets.clients().iter().flatten().count(), 2);
    targets.end(first);
    assert_eq!(targets.of_client(client(first)), None);
}

#[test]
fn a_target_that_is_there_twice_is_tried_once() {
    let mut targets = Targets::of(&dial(&[&[1, 2, 1], &[2]]), &route(&[1000, 1000]), 60);
    assert_eq!(targets.count(), 2);
    assert_eq!(try_all(&mut targets), [(0, 0)]);
}

#[test]
fn after_a_seal_nothing_is_tried() {
    let mut targets = Targets::of(&dial(&[&[1, 2], &[3]]), &route(&[1000, 500]), 60);
    try_all(&mut targets);
    targets.seal();
    let first = at(&targets, 0, 0);
    assert!(targets.is_pending() && !targets.may_follow(first, never));
    targets.end(first);
    assert_eq!(targets.next(), None);
}

#[test]
fn no_more_branches_at_once_than_there_may_be() {
    let ports: Vec<[u16; 1]> = (1..=10).map(|port| [port]).collect();
    let trunks: Vec<&[u16]> = ports.iter().map(|ports| &ports[..]).collect();
    let mut targets = Targets::of(&dial(&trunks), &route(&[7; 10]), 60);
    assert_eq!(targets.width(), BRANCHES_MAX);
    assert_eq!(try_all(&mut targets).len(), BRANCHES_MAX);
    targets.end(0);
    assert_eq!(try_all(&mut targets), [(8, 0)]);
    let many: Vec<u16> = (1..=40).collect();
    let targets = Targets::of(&dial(&[&many]), &route(&[1]), 60);
    assert_eq!(targets.count(), TARGETS_MAX);
}

#[test]
fn the_branches_never_have_more_breadth_than_the_request() {
    for breadth in 1..=61_u8 {
        let trunks: &[&[u16]] = &[&[1, 2], &[3], &[4], &[5, 6]];
        let mut targets = Targets::of(&dial(trunks), &route(&[9, 9, 9, 1]), breadth);
        let given = |targets: &Targets| -> u32 {
            let all = targets.all().iter();
            all.map(|target| u32::from(target.breadth)).sum()
        };
        for step in 0..30 {
            try_all(&mut targets);
            assert!(given(&targets) <= u32::from(breadth), "{breadth} at {step}");
            for at in 0..targets.count() {
                let tried = matches!(targets.list[at].state, State::Pending(_));
                assert!(!tried || targets.list[at].breadth > 0);
            }
            let Some(at) = (0..targets.count())
                .find(|&at| matches!(targets.list[at].state, State::Pending(_)))
            else {
                break;
            };
            if targets.may_follow(at, never) && step % 2 == 0 {
                targets.abandon(at);
            } else {
                targets.end(at);
            }
        }
        assert!(
            targets.all().iter().all(|t| t.state != State::Waiting),
            "{breadth}: {targets:?}"
        );
    }
}

/// Contacts of a user: the lane and the q of each.
fn of_contacts(contacts: &[(u8, u16)]) -> Targets {
    Targets::of_contacts(TrunkIndex(0), contacts.iter().copied(), 60)
}

#[test]
fn the_flows_of_a_device_are_tried_in_series_beside_other_devices() {
    // Two devices of equal q with a flow more each, whatever q that has, and one of lower q.
    let mut targets = of_contacts(&[(0, 900), (1, 900), (2, 100), (0, 1000), (1, 0)]);
    assert_eq!((targets.count(), targets.width()), (5, 2));
    assert_eq!(try_all(&mut targets), [(0, 0), (0, 1)]);
    assert!(targets.is_replaced(0) && targets.is_replaced(1));
    targets.end(0);
    assert_eq!(try_all(&mut targets), [(0, 3)]);
    targets.abandon(3);
    assert!(!targets.is_replaced(3), "none waits any more");
    targets.end(1);
    targets.end_lane(1);
    assert_eq!(try_all(&mut targets), [(0, 2)]);
}

#[test]
fn a_flow_that_was_given_up_is_replaced_by_the_next() {
    let mut targets = of_contacts(&[(0, 900), (1, 100), (0, 900)]);
    try_all(&mut targets);
    targets.abandon(0);
    assert_eq!(try_all(&mut targets), [(0, 2)]);
    assert!(targets.is_replaced(0) && !targets.is_replaced(2));
    // Not so where it was for another device.
    targets.abandon(2);
    assert_eq!(try_all(&mut targets), [(0, 1)]);
    assert!(!targets.is_replaced(2));
}

#[test]
fn contacts_without_other_flows_are_a_lane_each() {
    let mut targets = of_contacts(&[(0, 900), (1, 900), (2, 900), (3, 800)]);
    assert_eq!((targets.count(), targets.width()), (4, 3));
    assert_eq!(try_all(&mut targets), [(0, 0), (0, 1), (0, 2)]);
    // The first of its lane has found no room: it goes last.
    let targets = of_contacts(&[(0, 900), (1, 900), (7, 1000), (0, 900)]);
    assert_eq!((targets.count(), targets.width()), (4, 2));
}
