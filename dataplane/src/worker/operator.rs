//! Answers to the operator, a bounded number of rows a turn, and the memory of which
//! neighbours were asked for.

use std::net::IpAddr;

use super::Worker;
use crate::ids::InterfaceIndex;
use crate::letters::Told;
use crate::limits::SLOTS_PER_TURN;
use crate::mailbox::Ask;
use crate::mailbox::Query;
use crate::mailbox::Report;
use crate::ring::Rings;
use crate::tick::Tick;

/// Questions that may wait; control asks one at a time.
const QUERIES: usize = 8;
/// Neighbours that are remembered as asked for.
const SOLICITED: usize = 16;

/// What a look at one slot of a table gives.
#[allow(clippy::large_enum_variant)] // A worker has no box to put the large one in.
enum Row {
    Report(Report),
    Empty,
    End,
}

/// What the worker owes the operator.
#[derive(Debug, Default)]
pub(super) struct Operator {
    queries: [Option<Query>; QUERIES],
    /// Where the answer to the first query goes on.
    cursor: u32,
    /// Which neighbours were asked for, in which epoch of the network.
    solicited: [Option<(InterfaceIndex, IpAddr, u32)>; SOLICITED],
    solicited_next: usize,
}

impl Operator {
    /// Takes a query. One too many is not answered; control gives up on it in time.
    pub fn ask(&mut self, query: Query) {
        if let Some(free) = self.queries.iter_mut().find(|place| place.is_none()) {
            *free = Some(query);
        }
    }

    /// True while an answer is under way.
    pub fn is_busy(&self) -> bool {
        self.queries[0].is_some()
    }

    /// True where this neighbour was asked for in this epoch; it is remembered.
    pub fn solicited(&mut self, interface: InterfaceIndex, address: IpAddr, epoch: u32) -> bool {
        let asked = Some((interface, address, epoch));
        if self.solicited.contains(&asked) {
            return true;
        }
        self.solicited[self.solicited_next] = asked;
        self.solicited_next = (self.solicited_next + 1) % SOLICITED;
        false
    }

    fn done(&mut self) {
        self.queries.rotate_left(1);
        self.queries[QUERIES - 1] = None;
        self.cursor = 0;
    }
}

impl<R: Rings> Worker<R> {
    /// Writes the next rows of an answer, as many as there is room and patience for.
    pub(super) fn answer_operator(&mut self, now: Tick) -> bool {
        let Some(query) = self.operator.queries[0] else {
            return false;
        };
        for _ in 0..SLOTS_PER_TURN {
            // What has changed leaves no half of the letters to who only looks.
            if self.post.reports.room() == 0 || self.post.letters.is_half_full() {
                self.post.ring_control();
                break;
            }
            let (report, end) = match self.next_row(query, now) {
                Row::Report(report) => (report, false),
                Row::Empty => continue,
                Row::End => (Report::End { id: query.id }, true),
            };
            // There is room: it was looked at above.
            let _ = self.post.reports.send(report);
            if end {
                self.operator.done();
                break;
            }
        }
        true
    }

    /// What stands at the cursor, which moves on.
    fn next_row(&mut self, query: Query, now: Tick) -> Row {
        let id = query.id;
        let at = self.operator.cursor;
        self.operator.cursor += 1;
        let (slots, report) = match query.what {
            Ask::Calls => {
                let call = self.proxy.call_report(at);
                (
                    self.proxy.call_slots(),
                    call.map(|call| Report::Call { id, call }),
                )
            }
            Ask::Flows => {
                let flow = self.flows.reports(at as usize, 1).next();
                (
                    self.flows.slot_count(),
                    flow.map(|flow| Report::Flow { id, flow }),
                )
            }
            Ask::Bans => {
                let ban = self.proxy.ban_report(at);
                (
                    self.proxy.ban_slots(),
                    ban.map(|ban| Report::Ban { id, ban }),
                )
            }
            Ask::Sockets => match self.socket_report(id, at) {
                Some(report) => (usize::MAX, Some(report)),
                None => (0, None),
            },
            Ask::Subscriber { who, aor } => {
                let dossier = (at == 0).then(|| self.proxy.dossier(&who, aor, now));
                (0, dossier.map(|dossier| Report::Dossier { id, dossier }))
            }
            Ask::Denials => {
                let denial = self.proxy.denial_report(at);
                (
                    self.proxy.denial_slots(),
                    denial.map(|denial| Report::Denial { id, denial }),
                )
            }
            Ask::Bindings(aor) => {
                self.tell_row(id, aor, at);
                (self.proxy.binding_slots(), None)
            }
        };
        match report {
            Some(report) => Row::Report(report),
            None if (at as usize) < slots => Row::Empty,
            None => Row::End,
        }
    }

    /// Tells the binding in a slot, if there is one, and it is of the address of record that is asked for.
    fn tell_row(&mut self, id: u32, aor: Option<u64>, slot: u32) {
        let record = self.proxy.binding_in(slot);
        if let Some(record) = record.filter(|record| aor.is_none_or(|aor| record.aor == aor)) {
            // There is room: it was looked at before.
            let _ = self.post.letters.post(Told::Row(id), &record);
        }
    }

    /// The statistics of socket number `wanted`: a system call, made for the operator only.
    fn socket_report(&mut self, id: u32, wanted: u32) -> Option<Report> {
        let mut at = 0;
        let mut found = None;
        self.rings.statistics(&mut |socket| {
            if at == wanted {
                found = Some(Report::Socket { id, socket });
            }
            at += 1;
        });
        found
    }
}
