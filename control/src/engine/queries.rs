//! Questions to the workers, until each has answered.

use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::oneshot;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::mailbox::Ask;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Query;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::media::FlowReport;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::ring::SocketStatistics;
use trunkline_dataplane::sip::CallReport;
use trunkline_dataplane::sip::denials::Denial;
use trunkline_dataplane::sip::denials::Dossier;
use trunkline_dataplane::sip::guard::BanReport;

use crate::api::types::Registration;

/// How long a worker may take. A worker answers within milliseconds; one that does
/// not is stuck, and the operator must still get what the others say.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Most questions under way at once: a worker remembers eight, and does not answer more.
const OPEN_MAX: usize = 8;

/// What the workers said.
#[derive(Debug, Default)]
pub struct Answers {
    /// Calls, each from its owner.
    pub calls: Vec<CallReport>,
    /// Flows, each from every worker.
    pub flows: Vec<FlowReport>,
    /// Sockets, each from its owner.
    pub sockets: Vec<(WorkerId, SocketStatistics)>,
    /// Bans, each from every worker.
    pub bans: Vec<BanReport>,
    /// What each worker knows of the subscriber that was asked for.
    pub dossiers: Vec<(WorkerId, Dossier)>,
    /// What subscribers were denied, each from the workers that did.
    pub denials: Vec<Denial>,
    /// Contacts of users, each from the worker that keeps it.
    pub registrations: Vec<(WorkerId, Registration)>,
    /// False where a worker did not answer in time.
    pub complete: bool,
    /// Those workers.
    pub silent: Vec<WorkerId>,
}

#[derive(Debug)]
struct Open {
    answers: Answers,
    /// By worker: its answer is still to come.
    waiting: Vec<bool>,
    deadline: Instant,
    reply: oneshot::Sender<Answers>,
}

/// The questions under way.
#[derive(Debug, Default)]
pub struct Queries {
    open: HashMap<u32, Open>,
    /// Questions that wait for their turn.
    queue: std::collections::VecDeque<(Ask, Instant, oneshot::Sender<Answers>)>,
    last: u32,
}

impl Queries {
    /// Asks every worker; the answer comes when all have answered, or in [`PATIENCE`].
    pub fn ask(
        &mut self,
        what: Ask,
        posts: &mut [ControlPost],
        now: Instant,
    ) -> oneshot::Receiver<Answers> {
        let (reply, answer) = oneshot::channel();
        self.queue.push_back((what, now + PATIENCE, reply));
        self.advance(posts);
        answer
    }

    fn advance(&mut self, posts: &mut [ControlPost]) {
        while self.open.len() < OPEN_MAX {
            let Some((what, deadline, reply)) = self.queue.pop_front() else {
                return;
            };
            self.last = self.last.wrapping_add(1);
            let query = Query {
                id: self.last,
                what,
            };
            let waiting = posts.iter_mut().map(|post| {
                let posted = post.mail.post(Mail::Query(query)).is_ok();
                post.wake.ring();
                posted
            });
            let waiting: Vec<_> = waiting.collect();
            // A worker whose mailbox is full cannot be asked: the answer will lack it.
            let answers = Answers {
                complete: waiting.iter().all(|&posted| posted),
                silent: workers(&waiting, false),
                ..Answers::default()
            };
            self.open.insert(
                self.last,
                Open {
                    answers,
                    waiting,
                    deadline,
                    reply,
                },
            );
        }
    }

    /// Takes a contact of a user from `worker`.
    pub fn registration(&mut self, id: u32, worker: WorkerId, registration: Registration) {
        if let Some(open) = self.open.get_mut(&id) {
            open.answers.registrations.push((worker, registration));
        }
    }

    /// Takes a part of an answer from `worker`.
    pub fn report(&mut self, worker: WorkerId, report: &Report, posts: &mut [ControlPost]) {
        // What belongs to no open question came too late.
        match report {
            Report::Call { id, call } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.answers.calls.push(*call);
                }
            }
            Report::Flow { id, flow } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.answers.flows.push(*flow);
                }
            }
            Report::Socket { id, socket } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.answers.sockets.push((worker, *socket));
                }
            }
            Report::Ban { id, ban } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.answers.bans.push(*ban);
                }
            }
            Report::Dossier { id, dossier } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.answers.dossiers.push((worker, *dossier));
                }
            }
            Report::Denial { id, denial } => {
                if let Some(open) = self.open.get_mut(id) {
                    open.answers.denials.push(*denial);
                }
            }
            Report::End { id } => {
                let Some(open) = self.open.get_mut(id) else {
                    return;
                };
                if let Some(waiting) = open.waiting.get_mut(usize::from(worker.0)) {
                    *waiting = false;
                }
                if !open.waiting.contains(&true) {
                    self.close(*id);
                    self.advance(posts);
                }
            }
            Report::Network(_)
            | Report::Solicit { .. }
            | Report::Ask { .. }
            | Report::Seek(_)
            | Report::CaptureOver(_)
            | Report::Samples(_) => {}
        }
    }

    /// Answers what has waited too long with what there is.
    pub fn expire(&mut self, now: Instant, posts: &mut [ControlPost]) {
        let late: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| open.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(open) = self.open.get_mut(&id) {
                open.answers.complete = false;
                open.answers.silent.extend(workers(&open.waiting, true));
                open.answers.silent.sort_unstable();
            }
            self.close(id);
        }
        while self
            .queue
            .front()
            .is_some_and(|(_, deadline, _)| *deadline <= now)
        {
            if let Some((_, _, reply)) = self.queue.pop_front() {
                let _ = reply.send(Answers::default());
            }
        }
        self.advance(posts);
    }

    fn close(&mut self, id: u32) {
        if let Some(open) = self.open.remove(&id) {
            // Whoever asked may have gone.
            let _ = open.reply.send(open.answers);
        }
    }
}

/// The workers of which `flags` says `which`.
fn workers(flags: &[bool], which: bool) -> Vec<WorkerId> {
    (0..)
        .zip(flags)
        .filter(|(_, flag)| **flag == which)
        .map(|(worker, _)| WorkerId(worker))
        .collect()
}
