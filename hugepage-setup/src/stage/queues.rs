//! Queues of an interface against workers: worker w of n owns the queues q with
//! q mod n = w, so each interface needs at least as many as there are workers.
//!
//! Many more are no gain: each queue's fill ring keeps twice `rings.rx` of its worker's
//! frames, or more where the NIC's own ring is longer than that, and its transmit ring up to `rings.tx`, which then must be there.

use crate::ethtool::Channels;
use crate::links::Link;
use crate::links::Peer;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;
use crate::wanted::Wanted;

/// Frames that the rings of the busiest worker can hold, over all interfaces.
pub fn frames_needed<'a>(links: impl Iterator<Item = &'a Link>, wanted: &Wanted) -> u64 {
    links.map(|link| frames_of_link(link, wanted)).sum()
}

fn frames_of_link(link: &Link, wanted: &Wanted) -> u64 {
    let sockets = u64::from(link.rx_queues().div_ceil(wanted.workers.max(1)));
    let (rx, tx) = (u64::from(wanted.ring_rx), u64::from(wanted.ring_tx));
    let nic_rx = link.rings.map_or(0, |rings| u64::from(rings.rx));
    sockets * ((2 * rx).max((rx + nic_rx).next_power_of_two()) + tx)
}

/// One row, and for a veth another one about its far side. `frames` is
/// [`frames_needed`] of all interfaces.
pub fn judge(link: &Link, wanted: &Wanted, frames: u64) -> Vec<Row> {
    let mut rows = vec![judge_count(link, wanted, frames)];
    if let Some(peer) = link.peer {
        rows.push(judge_peer(link, peer));
    }
    rows
}

fn judge_count(link: &Link, wanted: &Wanted, frames: u64) -> Row {
    let workers = wanted.workers;
    let item = format!("{}: queues", link.name);
    let wish = format!("{workers} each way, one a worker");
    let Some(has) = link.channels else {
        let (rx, tx) = link.allocated;
        let found = format!("the driver does not tell; at most {rx} rx, {tx} tx");
        let row = Row::ok(&item, found, wish);
        if rx.min(tx) < workers {
            return row.but(State::Bad, fewer_workers(rx.min(tx)));
        }
        return row.but(
            State::NotApplicable,
            "start with one worker if Trunkline refuses more",
        );
    };
    let (rx, tx) = (has.rx + has.combined, has.tx + has.combined);
    let most = (has.rx_max + has.combined_max).min(has.tx_max + has.combined_max);
    let row = Row::ok(&item, format!("{rx} rx, {tx} tx of at most {most}"), wish);
    let change = |to: Channels| Step {
        setting: Setting::Channels {
            device: link.name.clone(),
        },
        to: to.to_string(),
    };
    if rx.min(tx) >= workers {
        let few = wanted.frames.filter(|has| frames > *has && rx > workers);
        let fewer = few.zip(with_queues(&has, workers));
        return match fewer {
            Some((few, to)) => Row {
                wanted: format!("{workers} each way, since {few} frames fill no more"),
                ..row
            }
            .needs(State::Warn, vec![change(to)]),
            None => row,
        };
    }
    match with_queues(&has, workers) {
        Some(to) => row.needs(State::Bad, vec![change(to)]),
        None if link.kind.as_deref() == Some("veth") => row.but(
            State::Bad,
            format!(
                "make the pair anew with numtxqueues {workers} numrxqueues {workers} on both sides"
            ),
        ),
        None => row.but(State::Bad, fewer_workers(rx.min(tx))),
    }
}

fn fewer_workers(queues: u32) -> String {
    format!(
        "the driver has no more queues: run with {} worker(s)",
        queues.max(1)
    )
}

/// The queues with one for each worker, if the driver can. A driver that has both
/// kinds counts those of one direction on top of the combined ones.
fn with_queues(has: &Channels, workers: u32) -> Option<Channels> {
    if has.combined_max >= workers {
        return Some(Channels {
            combined: workers,
            rx: 0,
            tx: 0,
            ..*has
        });
    }
    (has.rx_max >= workers && has.tx_max >= workers).then_some(Channels {
        rx: workers,
        tx: workers,
        ..*has
    })
}

/// The kernel attaches XDP to a veth only if the peer cannot send on more
/// queues than we receive on.
fn judge_peer(link: &Link, peer: Peer) -> Row {
    let item = format!("{}: veth peer", link.name);
    let rx = link.rx_queues();
    let wish = format!("at most {rx} tx, our rx queues");
    let advice = format!("in the peer's namespace: ethtool -L PEER tx {rx}");
    match peer {
        Peer::Hidden => Row::ok(&item, "in a namespace that is not visible from here", wish)
            .but(State::NotApplicable, ""),
        Peer::Transmits(tx) if tx > rx => {
            Row::ok(&item, format!("{tx} tx"), wish).but(State::Bad, advice)
        }
        // The allocation is an upper bound; fewer may be in use.
        Peer::TransmitsAtMost(tx) if tx > rx => {
            Row::ok(&item, format!("up to {tx} tx"), wish).but(State::Warn, advice)
        }
        Peer::Transmits(tx) => Row::ok(&item, format!("{tx} tx"), wish),
        Peer::TransmitsAtMost(tx) => Row::ok(&item, format!("up to {tx} tx"), wish),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(workers: u32) -> Wanted {
        Wanted {
            workers,
            ..Wanted::default()
        }
    }

    fn nic(combined: u32, combined_max: u32) -> Link {
        let channels = Channels {
            combined,
            combined_max,
            ..Channels::default()
        };
        Link {
            name: "eth0".into(),
            channels: Some(channels),
            ..Link::default()
        }
    }

    fn veth(rx: u32, tx: u32, peer: Peer) -> Link {
        let channels = Channels {
            rx,
            tx,
            rx_max: 2,
            tx_max: 2,
            ..Channels::default()
        };
        Link {
            name: "access".into(),
            kind: Some("veth".into()),
            channels: Some(channels),
            peer: Some(peer),
            ..Link::default()
        }
    }

    #[test]
    fn as_many_queues_as_workers_or_more_are_right() {
        for (queues, workers) in [(2, 2), (8, 2), (1, 1)] {
            let rows = judge(&nic(queues, 8), &wanted(workers), 0);
            assert_eq!(rows.len(), 1);
            assert_eq!(
                rows[0].state,
                State::Ok,
                "{queues} queues, {workers} workers"
            );
        }
    }

    #[test]
    fn fewer_queues_than_workers_are_bad_with_the_command_to_have_more() {
        let row = judge(&nic(1, 8), &wanted(4), 0).remove(0);
        assert_eq!(
            (row.state, row.advice.as_str()),
            (State::Bad, "ethtool -L eth0 combined 4")
        );
        let row = judge(&nic(1, 2), &wanted(4), 0).remove(0);
        assert!(row.advice.contains("run with 1 worker"), "{}", row.advice);
    }

    #[test]
    fn the_scarcer_direction_decides() {
        let row = judge(&veth(2, 1, Peer::Transmits(2)), &wanted(2), 0).remove(0);
        assert_eq!(
            (row.state, row.advice.as_str()),
            (State::Bad, "ethtool -L access rx 2 tx 2")
        );
        let row = judge(&veth(2, 2, Peer::Transmits(2)), &wanted(4), 0).remove(0);
        assert!(
            row.advice.contains("numtxqueues 4 numrxqueues 4"),
            "{}",
            row.advice
        );
    }

    #[test]
    fn a_veth_peer_must_not_send_on_more_queues_than_we_receive_on() {
        for (peer, state) in [
            (Peer::Transmits(1), State::Ok),
            (Peer::Transmits(2), State::Bad),
            (Peer::TransmitsAtMost(1), State::Ok),
            (Peer::TransmitsAtMost(2), State::Warn),
            (Peer::Hidden, State::NotApplicable),
        ] {
            let rows = judge(&veth(1, 1, peer), &wanted(1), 0);
            assert_eq!(rows[1].state, state, "{peer:?}");
        }
    }

    #[test]
    fn a_driver_that_does_not_tell_is_judged_by_what_was_allocated() {
        let mut link = nic(0, 0);
        link.channels = None;
        link.allocated = (1, 1);
        assert_eq!(judge(&link, &wanted(1), 0)[0].state, State::NotApplicable);
        assert_eq!(judge(&link, &wanted(2), 0)[0].state, State::Bad);
    }

    #[test]
    fn more_queues_than_the_frames_can_fill_are_too_many() {
        let link = nic(64, 64);
        let two = wanted(2);
        let frames = frames_needed([&link, &link].into_iter(), &two);
        // 32 queues a worker on each of two interfaces, 6,144 frames each.
        assert_eq!(frames, 64 * 6144);
        let few = Wanted {
            frames: Some(16_384),
            ..wanted(2)
        };
        let row = judge(&link, &few, frames).remove(0);
        assert_eq!(
            (row.state, row.advice.as_str()),
            (State::Warn, "ethtool -L eth0 combined 2")
        );
        assert_eq!(judge(&link, &few, 16_384)[0].state, State::Ok);
        // Where nothing is said there are as many as that.
        let all = two.with_frames([&link, &link].into_iter());
        assert_eq!(all.frames, Some(385 * 1024));
        assert_eq!(judge(&link, &all, frames)[0].state, State::Ok);
    }
}
