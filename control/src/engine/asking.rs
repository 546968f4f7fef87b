//! What the workers ask of the subscribers' store, until it has answered or the time is over.
//!
//! A subscriber is asked about once, whichever workers want to know. Each question has a task beside
//! the desk, there are so many and no more, and each ends by the deadline: a store that hangs keeps
//! nothing but these.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::sip::Id;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::guard::Source;
use trunkline_dataplane::sip::guard::Word;
use trunkline_dataplane::sip::subscriber::Said;
use trunkline_dataplane::sip::subscriber::Subscriber;

use crate::api::types::StoreStats;
use crate::api::types::StoreTrouble;
use crate::api::types::SubscribersStatus;
use crate::subscribers::Directory;
use crate::subscribers::Unavailable;

/// Subscribers who are asked about at once. A store that hangs for the default deadline of 5 s under
/// 1,000 new names a second takes 5,000; each costs a task of some hundred bytes. More are refused: they
/// would wait behind these.
const UNDER_WAY_MAX: usize = 8192;

/// Workers' questions about one subscriber: each worker has one, and another one if its first has lost
/// all who waited.
const ASKERS_MAX: usize = 64;

/// Mails that wait for room in a worker's mailbox. Only a worker that is stuck has as many.
const UNTOLD_MAX: usize = 65_536;

/// A store that gives no answer is logged so often: of a thousand questions a second each may fail.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

/// For so long the operator is told that a store gave no answer.
const TROUBLE_MAX: Duration = Duration::from_secs(300);

/// The questions under way, and the answers that no mailbox had room for.
#[derive(Debug)]
pub(super) struct Asking {
    directory: Arc<Directory>,
    deadline: Duration,
    under_way: HashMap<Subscriber, Question>,
    tasks: JoinSet<Answer>,
    /// By worker.
    untold: Vec<VecDeque<Mail>>,
    counts: StoreStats,
    /// What was logged of the stores that gave no answer, by their names.
    complaints: HashMap<String, Complaint>,
    /// Those that have given no good answer since the start, by their names.
    unwell: BTreeMap<String, Unwell>,
}

/// What is wrong with a server that has given no good answer since the start.
#[derive(Debug)]
struct Unwell {
    /// What of it was logged, and when.
    said: (String, Instant),
    /// When it was last asked.
    last: Instant,
    /// Why that was no good.
    reason: String,
}

#[derive(Debug, Default)]
struct Question {
    askers: Vec<Asker>,
    /// The subscriber was changed since the store was asked.
    is_stale: bool,
    /// When it was first asked.
    began: Option<Instant>,
}

/// What is logged of a store that gives no answer.
#[derive(Debug)]
struct Complaint {
    /// When it was last said.
    at: Instant,
    /// How many questions have failed there since.
    failed: u64,
    /// When the last one did.
    last: Instant,
    /// Why.
    reason: String,
}

/// A worker, and what it calls its question; nothing where it only wants to know.
type Asker = (WorkerId, Option<Id>);

/// What came of a question.
#[derive(Debug)]
pub(super) struct Answer {
    who: Subscriber,
    said: Result<Known, Unavailable>,
}

impl Asking {
    pub fn new(workers: usize) -> Asking {
        Asking {
            directory: Arc::default(),
            deadline: Duration::ZERO,
            under_way: HashMap::new(),
            tasks: JoinSet::new(),
            untold: (0..workers).map(|_| VecDeque::new()).collect(),
            counts: StoreStats::default(),
            complaints: HashMap::new(),
            unwell: BTreeMap::new(),
        }
    }

    /// With a store to ask, which may take so long.
    pub fn with(self, directory: Arc<Directory>, deadline: Duration) -> Asking {
        Asking {
            directory,
            deadline,
            ..self
        }
    }

    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// How it stands with the store; nothing where there is none.
    pub fn status(&self) -> Option<SubscribersStatus> {
        self.directory.store.as_ref()?;
        let began = self.under_way.values().filter_map(|open| open.began);
        let oldest = began.min().map_or(Duration::ZERO, |began| began.elapsed());
        let recent = self.complaints.iter().filter_map(|(store, complaint)| {
            let ago = complaint.last.elapsed();
            (ago < TROUBLE_MAX && !self.unwell.contains_key(store)).then(|| StoreTrouble {
                store: store.clone(),
                reason: complaint.reason.clone(),
                ago_s: ago.as_secs(),
                never: false,
            })
        });
        let never = self.unwell.iter().map(|(store, unwell)| StoreTrouble {
            store: store.clone(),
            reason: unwell.reason.clone(),
            ago_s: unwell.last.elapsed().as_secs(),
            never: true,
        });
        let mut troubles: Vec<_> = recent.chain(never).collect();
        troubles.sort_by(|a, b| a.store.cmp(&b.store));
        Some(SubscribersStatus {
            waiting: self.under_way.len() as u64,
            oldest_ms: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
            troubles,
        })
    }

    pub const fn counts(&self) -> StoreStats {
        self.counts
    }

    /// Asks the store for a worker.
    pub fn ask(&mut self, asker: Asker, who: Subscriber, posts: &mut [ControlPost]) {
        self.counts.asked += 1;
        let is_known = self.under_way.contains_key(&who);
        if !is_known && self.under_way.len() >= UNDER_WAY_MAX {
            self.counts.refused += 1;
            return self.say(asker, who, Said::Unavailable, posts);
        }
        let open = self.under_way.entry(who).or_default();
        if open.askers.len() >= ASKERS_MAX {
            self.counts.refused += 1;
            return self.say(asker, who, Said::Unavailable, posts);
        }
        open.askers.push(asker);
        open.began.get_or_insert_with(Instant::now);
        if !is_known {
            self.begin(who);
        }
    }

    fn begin(&mut self, who: Subscriber) {
        let (directory, deadline) = (Arc::clone(&self.directory), self.deadline);
        self.tasks.spawn(async move {
            let found = tokio::time::timeout(deadline, find(&directory, &who));
            let said = AssertUnwindSafe(found).catch_unwind().await;
            let said = match said {
                Ok(Ok(said)) => said,
                Ok(Err(_)) => Err(no_answer("nothing was heard in time")),
                Err(_) => Err(no_answer("it met a bug: see above")),
            };
            Answer { who, said }
        });
    }

    /// The next answer, once there is one; `None` where nothing is under way.
    pub async fn next(&mut self) -> Option<Answer> {
        // A task panics nowhere but in the store, which is caught.
        self.tasks.join_next().await?.ok()
    }

    /// Tells an answer to whoever asked.
    pub fn answered(&mut self, answer: Answer, posts: &mut [ControlPost]) {
        let Answer { who, said: outcome } = answer;
        let Some(open) = self.under_way.get_mut(&who) else {
            return;
        };
        self.counts.looked_up += 1;
        if std::mem::take(&mut open.is_stale) && outcome.is_ok() {
            // What was read may be what it was before the change.
            return self.begin(who);
        }
        let took = open.began.map_or(Duration::ZERO, |began| began.elapsed());
        self.counts.looked_up_us += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let askers = std::mem::take(&mut open.askers);
        self.under_way.remove(&who);
        let told = match outcome {
            Ok(known) => {
                self.counts.answered += askers.len() as u64;
                Said::Known(known)
            }
            Err(error) => {
                self.counts.failed += askers.len() as u64;
                self.complain(&error, Instant::now());
                Said::Unavailable
            }
        };
        for asker in askers {
            self.say(asker, who, told, posts);
        }
    }

    /// Takes note of the servers of the store that give no good answer, of those that there are: what is wrong with
    /// one since the start is said before a user suffers by it, and again where it is another thing.
    pub fn unwell(&mut self, servers: Vec<Unavailable>, now: Instant) {
        let mut before = std::mem::take(&mut self.unwell);
        for Unavailable { store, reason } in servers {
            let said = before.remove(&store).map(|known| known.said);
            let is_said = |(what, at): &(String, Instant)| {
                *what == reason || now.duration_since(*at) < COMPLAINT_PAUSE
            };
            let said = said.filter(is_said).unwrap_or_else(|| {
                tracing::warn!(
                    "{store} was asked for a user and gives no good answer: {reason}. Nobody whom it has can register \
                     or call by a password until it does: look at [subscribers] in the configuration, and at the server"
                );
                (reason.clone(), now)
            });
            let last = now;
            self.unwell.insert(store, Unwell { said, last, reason });
        }
        for store in before.into_keys() {
            // What was lost there until now was for the same reason.
            self.complaints.remove(&store);
            tracing::info!("{store} answers");
        }
    }

    /// Logs that a store gives no answer.
    fn complain(&mut self, error: &Unavailable, now: Instant) {
        let Some(failed) = self.complaint(error, now) else {
            return;
        };
        let more = match failed {
            0 => String::new(),
            failed => {
                format!(" ({failed} more questions have failed there since this was last said)")
            }
        };
        tracing::warn!(
            "{error}{more}; subscribers whom a worker does not know are told to try later"
        );
    }

    /// A store gave no answer: how many questions have failed there since that was logged, where it is to
    /// be again. One that is dead hides no other, and fills no log.
    fn complaint(&mut self, error: &Unavailable, now: Instant) -> Option<u64> {
        let before = self.complaints.get_mut(&error.store);
        let failed = match before {
            Some(last) if now.duration_since(last.at) < COMPLAINT_PAUSE => {
                last.failed += 1;
                last.last = now;
                last.reason.clone_from(&error.reason);
                return None;
            }
            before => before.map_or(0, |last| last.failed),
        };
        let complaint = Complaint {
            at: now,
            failed: 0,
            last: now,
            reason: error.reason.clone(),
        };
        self.complaints.insert(error.store.clone(), complaint);
        Some(failed)
    }

    /// Has every worker forget what it knows of somebody, and what it is about to be told.
    pub fn forget(&mut self, who: Subscriber, posts: &mut [ControlPost]) {
        self.counts.forgotten += 1;
        if let Some(open) = self.under_way.get_mut(&who) {
            open.is_stale = true;
        }
        for worker in (0..).take(self.untold.len()) {
            self.tell(WorkerId(worker), Mail::Forget(who), posts);
        }
    }

    /// Has a source be heard again.
    pub fn pardon(&mut self, source: Source, posts: &mut [ControlPost]) {
        for worker in (0..).take(self.untold.len()) {
            let mail = Mail::Guard(Word::Pardon(source));
            self.tell(WorkerId(worker), mail, posts);
        }
    }

    /// Has every worker doubt all that it knows, and what it is about to be told.
    pub fn doubt(&mut self, posts: &mut [ControlPost]) {
        self.counts.doubted += 1;
        for open in self.under_way.values_mut() {
            open.is_stale = true;
        }
        for worker in (0..).take(self.untold.len()) {
            self.tell(WorkerId(worker), Mail::Doubt, posts);
        }
    }

    fn say(
        &mut self,
        (worker, question): Asker,
        who: Subscriber,
        said: Said,
        posts: &mut [ControlPost],
    ) {
        let mail = Mail::Said {
            question,
            who,
            said,
        };
        self.tell(worker, mail, posts);
    }

    /// Sends behind what waits already, so that what is forgotten is not told afterwards.
    fn tell(&mut self, worker: WorkerId, mail: Mail, posts: &mut [ControlPost]) {
        let Some(untold) = self.untold.get_mut(usize::from(worker.0)) else {
            return;
        };
        if untold.len() < UNTOLD_MAX {
            untold.push_back(mail);
        } else {
            self.counts.untold += 1;
        }
        self.send(worker, posts);
    }

    /// Tries again what found a full mailbox.
    pub fn tick(&mut self, posts: &mut [ControlPost]) {
        for worker in (0..).take(self.untold.len()) {
            self.send(WorkerId(worker), posts);
        }
    }

    fn send(&mut self, worker: WorkerId, posts: &mut [ControlPost]) {
        let at = usize::from(worker.0);
        let (Some(untold), Some(post)) = (self.untold.get_mut(at), posts.get_mut(at)) else {
            return;
        };
        let waited = untold.len();
        while let Some(mail) = untold.pop_front() {
            if let Err(mail) = post.mail.post(mail) {
                untold.push_front(mail);
                break;
            }
        }
        if untold.len() < waited {
            post.wake.ring();
        }
    }
}

async fn find(directory: &Directory, who: &Subscriber) -> Result<Known, Unavailable> {
    let domain = directory.domains.get(usize::from(who.domain.0));
    match (domain, &directory.store) {
        (Some(domain), Some(store)) => store.find(&domain.name, who.user.name()).await,
        _ => Err(no_answer("there is none")),
    }
}

fn no_answer(reason: &str) -> Unavailable {
    Unavailable {
        store: "the subscribers' store".to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
