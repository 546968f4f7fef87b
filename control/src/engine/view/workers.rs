//! The workers one by one, and the sums of each.

use std::time::Instant;

use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::counters::Kind;
use trunkline_dataplane::counters::TABLE;

use super::Snapshot;
use crate::api::types;
use crate::engine::Desk;

/// Every worker and what it has been doing.
pub(crate) fn workers(desk: &Desk, now: Instant) -> types::Workers {
    let snapshot = Snapshot::of(desk);
    let rows = snapshot.workers().into_iter().zip(&snapshot.counters);
    let workers = rows.enumerate().map(|(at, (status, counters))| {
        let pace = desk.paces.last().get(at).copied().flatten();
        types::WorkerDetail {
            turns_per_s: pace.map(|pace| pace.turns_per_s.round()),
            sleeps_per_s: pace.map(|pace| pace.sleeps_per_s.round()),
            mail_in: counters.get(Counter::MailIn),
            mail_out: counters.get(Counter::MailedToOwner),
            kernel_in: counters.get(Counter::KernelIn),
            turned_s_ago: desk.turning.since(at, now).as_secs_f64(),
            status,
        }
    });
    types::Workers {
        workers: workers.collect(),
    }
}

/// Where every worker's frames are, and its sums.
pub(crate) fn frames(desk: &Desk) -> types::Frames {
    let workers = (0..).zip(desk.counters());
    types::Frames {
        workers: workers
            .map(|(worker, counters)| of_worker(worker, &counters))
            .collect(),
    }
}

fn of_worker(worker: u8, counters: &Counters) -> types::WorkerFrames {
    let came_in = parts(counters, |kind| kind == Kind::In, true);
    let ended = parts(counters, Kind::is_outcome, false);
    let to_send = counters.sum(|kind| kind == Kind::ToSend);
    let disposed = parts(counters, Kind::is_disposal, false);
    types::WorkerFrames {
        worker,
        ledger: ledger(counters),
        in_difference: difference(came_in.sum, ended.sum),
        came_in,
        ended,
        to_send,
        out_difference: difference(to_send, disposed.sum),
        disposed,
    }
}

/// The counters of the kinds that `wanted` picks: each by its own name, or added up by kind.
fn parts(counters: &Counters, wanted: impl Fn(Kind) -> bool, each: bool) -> types::Parts {
    let mut by: Vec<types::Part> = Vec::new();
    for row in TABLE.iter().filter(|row| wanted(row.kind)) {
        let name = if each { row.name } else { row.kind.name() };
        let count = counters.get(row.counter);
        match by.iter_mut().find(|part| part.name == name) {
            Some(part) => part.count += count,
            None => by.push(types::Part {
                name: name.to_owned(),
                count,
            }),
        }
    }
    types::Parts {
        sum: by.iter().map(|part| part.count).sum(),
        by,
    }
}

fn ledger(counters: &Counters) -> types::Ledger {
    let mut ledger = types::Ledger {
        total: counters.get(Counter::FramesTotal),
        free: counters.get(Counter::FramesFree),
        fill: counters.get(Counter::FramesFill),
        held: counters.get(Counter::FramesHeld),
        rx: counters.get(Counter::FramesRx),
        tx: counters.get(Counter::FramesTx),
        completion: counters.get(Counter::FramesCompletion),
        difference: 0,
    };
    let found = ledger.free + ledger.fill + ledger.held + ledger.rx + ledger.tx + ledger.completion;
    ledger.difference = difference(ledger.total, found);
    ledger
}

fn difference(left: u64, right: u64) -> i64 {
    types::Sum::new("", left, right).difference
}
