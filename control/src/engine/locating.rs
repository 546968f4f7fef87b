//! The location store between the desk and the workers: what they tell is written behind, what it has is
//! told to them.
//!
//! ```text
//!   letters ─► a change ─► write_behind ─► the store ─┐ load, watch, find
//!   workers ◄─ room for half of a mailbox ◄─ untold ◄─┘
//! ```
//!
//! A worker that takes nothing holds up what is loaded, and nothing else: neither this thread nor memory.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::letters::Told;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::sip::effects::Locate;
use trunkline_dataplane::sip::registrar::LETTER_LEN_MAX;
use trunkline_dataplane::sip::subscriber::Subscriber;

mod names;
mod reader;

pub use self::names::Names;

use self::names::Moment;
use self::reader::News;
use self::reader::read;
use crate::api::types::LocationStats;
use crate::api::types::LocationStatus;
use crate::api::types::Registration;
use crate::location::Change;
use crate::location::Record;
use crate::location::Removal;
use crate::location::Store;
use crate::location::Unavailable;
use crate::location::WriteBehind;
use crate::location::write_behind::Options;

/// Users who are looked for at once. Beyond that who calls one is told to try later.
const UNDER_WAY_MAX: usize = 8192;

/// Requests that wait for one user.
const ASKERS_MAX: usize = 256;

/// What waits for room in a worker's mailbox. Above this nothing more is loaded.
const BACKLOG: usize = 1024;

/// Answers that may wait beside. Only a worker that is stuck has as many.
const UNTOLD_MAX: usize = 65_536;

/// A mailbox that was half full is tried again after this: 4,000 bindings in 2 ms are more than a worker takes.
const AGAIN: Duration = Duration::from_millis(2);

/// How long the last changes may take to be written when the daemon ends.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Bindings that may be on their way from the store to the desk.
const NEWS: usize = 256;

/// Where bindings are kept.
#[derive(Debug)]
pub struct Location {
    /// What `trunkctl status` calls it.
    pub name: String,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Bindings that there may be, over all workers.
    pub bindings: usize,
    /// How long a look for a user may take: less than who calls it waits.
    pub patience: Duration,
}

/// The store, what is under way to it and from it.
#[derive(Debug)]
pub(super) struct Locating {
    names: Names,
    kept: Option<Kept>,
    under_way: HashMap<Subscriber, Vec<Locate>>,
    finds: JoinSet<Found>,
    /// By worker.
    untold: Vec<VecDeque<Untold>>,
    counts: LocationStats,
}

#[derive(Debug)]
struct Kept {
    name: String,
    store: Arc<dyn Store>,
    patience: Duration,
    write_behind: WriteBehind,
    /// Reads the store; ends with this.
    _reader: JoinSet<()>,
    news: mpsc::Receiver<News>,
    is_loaded: bool,
    /// What was removed while the store tells all that it has, or before and was not written by then: it may be
    /// read all the same. `None` where it does not.
    removed: Option<Vec<Record>>,
}

/// What a worker is to be told.
#[derive(Debug)]
enum Untold {
    Bound(Record),
    Unbound(Record),
    Mail(Mail),
}

/// What has come of a look for a user.
#[derive(Debug)]
struct Found {
    who: Subscriber,
    /// Without those that had ended when it began.
    records: Result<Vec<Record>, Unavailable>,
}

/// What there is to be done.
#[derive(Debug)]
pub(super) struct Event(What);

#[derive(Debug)]
enum What {
    Found(Found),
    News(News),
    Again,
}

impl Locating {
    pub fn new(workers: usize) -> Locating {
        Locating {
            names: Names::default(),
            kept: None,
            under_way: HashMap::new(),
            finds: JoinSet::new(),
            untold: (0..workers).map(|_| VecDeque::new()).collect(),
            counts: LocationStats::default(),
        }
    }

    /// With what users and listens are called.
    pub fn named(self, names: Names) -> Locating {
        Locating { names, ..self }
    }

    /// With a store, which is read from now on, in the runtime that this is called in.
    pub fn with(self, location: Location) -> Locating {
        let Location {
            name,
            store,
            bindings,
            patience,
        } = location;
        let (out, news) = mpsc::channel(NEWS);
        let mut reader = JoinSet::new();
        reader.spawn(read(Arc::clone(&store), out));
        let options = Options {
            waiting_max: bindings.saturating_mul(2),
        };
        let write_behind = WriteBehind::start(Arc::clone(&store), options);
        Locating {
            kept: Some(Kept {
                name,
                store,
                patience,
                write_behind,
                _reader: reader,
                news,
                is_loaded: false,
                removed: None,
            }),
            ..self
        }
    }

    pub fn counts(&self) -> LocationStats {
        let figures = self.kept.as_ref().map(|kept| kept.write_behind.figures());
        let figures = figures.unwrap_or_default();
        LocationStats {
            written: figures.written,
            overtaken: figures.overtaken,
            stale: figures.stale,
            refused: figures.refused,
            lost: figures.lost,
            failures: figures.failures,
            ..self.counts
        }
    }

    pub fn status(&self) -> Option<LocationStatus> {
        let kept = self.kept.as_ref()?;
        let figures = kept.write_behind.figures();
        Some(LocationStatus {
            store: kept.name.clone(),
            contacts: 0,
            loaded: kept.is_loaded,
            waiting: figures.waiting as u64,
            oldest_ms: u64::try_from(figures.oldest.as_millis()).unwrap_or(u64::MAX),
            gone: figures.gone,
            silent: kept.store.silent(),
        })
    }

    /// Reads what a worker has told of bindings, to the level seen now; rows of answers go to `rows`.
    pub fn read_letters(
        &mut self,
        post: &mut ControlPost,
        mut rows: impl FnMut(u32, Registration),
    ) {
        let now = Moment::now();
        let mut room = [0; LETTER_LEN_MAX];
        for _ in 0..post.letters.waiting() {
            let Some((told, bound)) = post.letters.take(&mut room) else {
                break;
            };
            if let Told::Row(query) = told {
                rows(query, self.names.registration(&bound, now));
            } else if let Some(kept) = &mut self.kept
                && let Some(change) = self.names.change(told, &bound, now)
            {
                if let (Change::Remove(removal), Some(removed)) = (&change, &mut kept.removed) {
                    remember(removed, Names::removed(removal.clone()), &mut self.counts);
                }
                kept.write_behind.put(change);
            }
        }
    }

    /// What users and listens are called.
    pub fn names(&self) -> Names {
        self.names.clone()
    }

    /// By which the workers know a subscriber.
    pub fn aor_of(&self, who: &Subscriber) -> Option<u64> {
        self.names.aor_of(who)
    }

    /// By which the workers know a user of a domain of ours.
    pub fn aor(&self, user: &str, domain: &str) -> Option<u64> {
        self.names.aor(user, domain)
    }

    /// Looks in the store for the contacts of a user.
    pub fn seek(&mut self, keeper: WorkerId, of: Locate, posts: &mut [ControlPost]) {
        self.counts.sought += 1;
        let is_full = self.under_way.len() >= UNDER_WAY_MAX;
        let domain = self.names.domain(of.who.domain);
        let (Some(kept), Some(domain)) = (&self.kept, domain) else {
            return self.sought(keeper, of, false, posts);
        };
        match self.under_way.entry(of.who) {
            Entry::Occupied(mut askers) if askers.get().len() < ASKERS_MAX => {
                askers.get_mut().push(of);
            }
            Entry::Vacant(place) if !is_full => {
                place.insert(vec![of]);
                let (store, patience) = (Arc::clone(&kept.store), kept.patience);
                let removals = kept.write_behind.removals_of(domain, of.who.user.name());
                let find = find(store, domain.to_owned(), of.who, removals, patience);
                self.finds.spawn(find);
            }
            Entry::Occupied(_) | Entry::Vacant(_) => {
                self.counts.not_sought += 1;
                self.sought(keeper, of, false, posts);
            }
        }
    }

    /// Tells a worker that it has been told all that there is of a user.
    fn sought(&mut self, keeper: WorkerId, of: Locate, answered: bool, posts: &mut [ControlPost]) {
        let mail = Mail::Sought { of, answered };
        self.tell(keeper, Untold::Mail(mail), UNTOLD_MAX);
        self.send(posts);
    }

    /// What is to be done next; without an end where there is nothing.
    pub async fn next(&mut self) -> Event {
        let waits = self.untold.iter().any(|untold| !untold.is_empty());
        let has_room = self.untold.iter().all(|untold| untold.len() < BACKLOG);
        let news = async {
            match &mut self.kept {
                Some(kept) => kept.news.recv().await,
                None => None,
            }
        };
        let what = tokio::select! {
            // A task panics nowhere but in the store, which is caught.
            Some(Ok(found)) = self.finds.join_next() => What::Found(found),
            Some(news) = news, if has_room => What::News(news),
            () = tokio::time::sleep(AGAIN), if waits => What::Again,
            else => std::future::pending().await,
        };
        Event(what)
    }

    /// Does that.
    pub fn act(&mut self, event: Event, posts: &mut [ControlPost]) {
        match event.0 {
            What::Found(found) => self.found(found, posts),
            What::News(News::Loading) => self.loading(),
            What::News(News::Has(change)) => self.changed(*change),
            What::News(News::Changed(change)) => {
                let removed = self.kept.as_mut().and_then(|kept| kept.removed.as_mut());
                if let (Change::Remove(removal), Some(removed)) = (&*change, removed) {
                    remember(removed, Names::removed(removal.clone()), &mut self.counts);
                }
                self.changed(*change);
            }
            What::News(News::Loaded(given)) => self.loaded(given),
            What::Again => {}
        }
        self.send(posts);
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::Put(record) => self.has(record),
            Change::Remove(removal) => self.bound(Names::removed(removal), Untold::Unbound),
        }
    }

    /// The store has a binding: as it was, where its end still waits to be written.
    fn has(&mut self, record: Record) {
        let kept = self.kept.as_ref();
        if !kept.is_some_and(|kept| kept.write_behind.has_ended(&record)) {
            self.bound(record, Untold::Bound);
        }
    }

    fn bound(&mut self, record: Record, what: fn(Record) -> Untold) {
        match self.names.bound(&record, Moment::now()) {
            Some((keeper, _)) => {
                self.counts.given_back += u64::from(record.expires_ms > 0);
                self.tell(keeper, what(record), usize::MAX);
            }
            // Of a domain that is not ours, or not ours any more.
            None => self.counts.not_ours += 1,
        }
    }

    /// Where it is begun anew what was removed meanwhile stays remembered: more of it does no harm.
    fn loading(&mut self) {
        let Some(kept) = &mut self.kept else { return };
        if kept.removed.is_none() {
            let removed = kept.removed.insert(Vec::new());
            kept.write_behind.removals(|removal| {
                remember(removed, Names::removed(removal.clone()), &mut self.counts);
            });
        }
        self.tell_all(|| Mail::Loading);
    }

    fn loaded(&mut self, given: u64) {
        let Some(kept) = &mut self.kept else { return };
        if std::mem::replace(&mut kept.is_loaded, true) {
            tracing::info!("{}: {given} contacts of users looked through", kept.name);
        } else {
            tracing::info!("{}: {given} contacts of users given back", kept.name);
        }
        for record in kept.removed.take().unwrap_or_default() {
            self.bound(record, Untold::Unbound);
        }
        self.tell_all(|| Mail::Loaded);
    }

    fn tell_all(&mut self, mail: fn() -> Mail) {
        for worker in (0..).take(self.untold.len()) {
            self.tell(WorkerId(worker), Untold::Mail(mail()), usize::MAX);
        }
    }

    fn found(&mut self, found: Found, posts: &mut [ControlPost]) {
        let Found { who, records } = found;
        let askers = self.under_way.remove(&who).unwrap_or_default();
        let Some(keeper) = self.names.keeper(&who) else {
            return;
        };
        let answered = records.is_ok();
        match records {
            Ok(records) => {
                self.counts.found += u64::from(!records.is_empty());
                for record in records {
                    self.has(record);
                }
            }
            // Who writes and who loads say so in the log.
            Err(error) => {
                self.counts.failed += 1;
                tracing::debug!("{error}");
            }
        }
        for of in askers {
            self.sought(keeper, of, answered, posts);
        }
    }

    /// Puts something behind what a worker is to be told before.
    fn tell(&mut self, worker: WorkerId, what: Untold, max: usize) {
        match self.untold.get_mut(usize::from(worker.0)) {
            Some(untold) if untold.len() < max => untold.push_back(what),
            _ => self.counts.untold += 1,
        }
    }

    /// Tells the workers what they have room for.
    pub fn send(&mut self, posts: &mut [ControlPost]) {
        let now = Moment::now();
        for (untold, post) in self.untold.iter_mut().zip(posts) {
            let waited = untold.len();
            while let Some(what) = untold.pop_front() {
                let mut post_binding = |mail, record: &Record| {
                    let bound = self.names.bound(record, now);
                    bound.is_none_or(|(_, bound)| post.mail.post_binding(mail, &bound))
                };
                let refused = match what {
                    Untold::Bound(record) => {
                        (!post_binding(Mail::Bound, &record)).then_some(Untold::Bound(record))
                    }
                    Untold::Unbound(record) => {
                        (!post_binding(Mail::Unbound, &record)).then_some(Untold::Unbound(record))
                    }
                    Untold::Mail(mail) => post.mail.post(mail).err().map(Untold::Mail),
                };
                if let Some(what) = refused {
                    untold.push_front(what);
                    break;
                }
            }
            if untold.len() < waited {
                post.wake.ring();
            }
        }
    }

    /// Writes what is still to be written.
    pub async fn stop(&mut self) {
        let Some(kept) = self.kept.take() else { return };
        let left = kept.write_behind.stop(STOP_MAX).await;
        if left.waiting > 0 {
            let reason = left.gone.unwrap_or_else(|| "it is slow".to_owned());
            tracing::error!(
                "{} changes of registrations are lost: they were not written within {} s ({reason})",
                left.waiting,
                STOP_MAX.as_secs()
            );
        }
    }
}

/// Looks for a user.
async fn find(
    store: Arc<dyn Store>,
    domain: String,
    who: Subscriber,
    removals: Vec<Removal>,
    patience: Duration,
) -> Found {
    let find = tokio::time::timeout(patience, store.find(&domain, who.user.name()));
    let no_answer = |reason: &str| Unavailable {
        store: "the location store".to_owned(),
        reason: reason.to_owned(),
    };
    // One that waited to be written when this began may have been written since, behind this.
    let has_ended = |record: &Record| removals.iter().any(|removal| removal.ends(record));
    let records = match AssertUnwindSafe(find).catch_unwind().await {
        Ok(Ok(records)) => records.map(|mut records| {
            records.retain(|record| !has_ended(record));
            records
        }),
        Ok(Err(_)) => Err(no_answer("nothing was heard in time")),
        Err(_) => Err(no_answer("it met a bug: see above")),
    };
    Found { who, records }
}

/// Keeps what is to be told again when all has been told.
fn remember(removed: &mut Vec<Record>, record: Record, counts: &mut LocationStats) {
    if removed.len() < UNTOLD_MAX {
        removed.push(record);
    } else {
        counts.untold += 1;
    }
}

#[cfg(test)]
mod tests;
