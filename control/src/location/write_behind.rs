//! Changes of bindings on their way to the store, behind the answers that the devices have had.
//!
//! ```text
//! put ──► waiting: the last change of each binding, the longest waiting first
//!            ▲  │ a batch: BATCH changes, or what there is after LINGER
//!   failed   │  ▼
//!            └─ write ──► the store
//! ```
//!
//! A change waits until the store has it, however long that takes. Several of one binding become the
//! last of them, so no more can wait than there are bindings; beyond [`Options::waiting_max`] those of
//! new ones are lost, and counted: the device's next refresh brings them again.
//!
//! What the store says meanwhile is of before: a removal that waits is asked for here, or a store that can be read and
//! takes nothing would bring back who has gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::record::Change;
use super::record::Key;
use super::record::Record;
use super::record::Removal;
use super::store::Batch;
use super::store::Store;
use super::store::Unavailable;
use super::store::Written;
use crate::backoff::Backoff;

/// Changes of a batch at most: SQLite writes so many in some 50 ms, and Redis answers so many in as
/// long.
const BATCH: usize = 2048;

/// So long a change waits for others to be written with. A store has the rest of the second within
/// which each is to be there; half of it would leave a slow disk none, and a tenth would sync it
/// for a few changes.
const LINGER: Duration = Duration::from_millis(200);

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bindings whose changes may wait; twice as many as there are leaves room for those that
    /// come and go.
    pub waiting_max: usize,
}

/// How it stands with the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Changes that wait, those that are just being written among them.
    pub waiting: usize,
    /// For how long the oldest of them has waited.
    pub oldest: Duration,
    /// Changes that the store has taken.
    pub written: u64,
    /// Changes that a later one of the same binding overtook while they waited.
    pub overtaken: u64,
    /// Changes that were older than what the store had of another box.
    pub stale: u64,
    /// Changes that the store will never take.
    pub refused: u64,
    /// Changes that found no room to wait.
    pub lost: u64,
    /// Batches that the store did not take.
    pub failures: u64,
    /// Why it did not take the last one; none when it has taken one since.
    pub gone: Option<String>,
}

/// The way to a store. It is written to as long as this lives.
#[derive(Debug)]
pub struct WriteBehind {
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

impl WriteBehind {
    /// Begins to write to `store`, as a task of the runtime that it is called in.
    #[must_use]
    pub fn start(store: Arc<dyn Store>, options: Options) -> WriteBehind {
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting::new(options.waiting_max)),
            changed: Notify::new(),
        });
        let writer = tokio::spawn(write(store, Arc::clone(&shared)));
        WriteBehind { shared, writer }
    }

    /// Takes a change. It neither waits nor fails.
    pub fn put(&self, change: Change) {
        let mut waiting = self.shared.waiting();
        let before = waiting.queue.len();
        waiting.put(Arc::new(change), Instant::now());
        // The writer sleeps without a change, and until a batch is full.
        if before == 0 || waiting.queue.len() >= BATCH {
            self.shared.changed.notify_one();
        }
    }

    /// Whether a binding as the store has it was ended since: the store does not know yet.
    #[must_use]
    pub fn has_ended(&self, record: &Record) -> bool {
        let waiting = self.shared.waiting();
        waiting.removals > 0
            && waiting
                .removals_of(&record.domain, &record.user)
                .any(|removal| removal.ends(record))
    }

    /// The ends of a user's bindings that the store may not know yet.
    #[must_use]
    pub fn removals_of(&self, domain: &str, user: &[u8]) -> Vec<Removal> {
        let waiting = self.shared.waiting();
        if waiting.removals == 0 {
            return Vec::new();
        }
        waiting.removals_of(domain, user).cloned().collect()
    }

    /// Gives those of all users.
    pub fn removals(&self, mut each: impl FnMut(&Removal)) {
        let waiting = self.shared.waiting();
        if waiting.removals > 0 {
            waiting
                .all()
                .filter_map(Change::removal)
                .for_each(&mut each);
        }
    }

    /// How it stands with the store.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let waiting = self.shared.waiting();
        let now = Instant::now();
        Figures {
            waiting: waiting.queue.len() + waiting.being_written.len(),
            oldest: waiting.oldest().map_or(Duration::ZERO, |since| now - since),
            ..waiting.figures.clone()
        }
    }

    /// Writes what waits, for no longer than `within`. What is left then is lost with us, and stands
    /// in the figures.
    pub async fn stop(mut self, within: Duration) -> Figures {
        self.shared.waiting().stopping = true;
        self.shared.changed.notify_one();
        // It fails only by its end, and what it has not written the figures say.
        let _ = tokio::time::timeout(within, &mut self.writer).await;
        self.figures()
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

impl Shared {
    /// Held for a look at a map, by control's thread alone.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change's place in the queue: changes are numbered as they come.
type Number = u64;

/// Names a binding. Those of a user follow one another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    domain: Box<str>,
    user: Box<[u8]>,
    key: Key,
}

#[derive(Debug)]
struct Place {
    change: Arc<Change>,
    name: Arc<Name>,
    /// When the first change of this binding came that is not written.
    since: Instant,
}

#[derive(Debug)]
struct Waiting {
    queue: BTreeMap<Number, Place>,
    places: BTreeMap<Arc<Name>, Number>,
    last: Number,
    /// The batch that is being written, and since when the oldest of its changes has waited.
    being_written: BTreeMap<Arc<Name>, Arc<Change>>,
    being_written_since: Option<Instant>,
    /// How many of all these are removals.
    removals: usize,
    max: usize,
    stopping: bool,
    figures: Figures,
}

impl Waiting {
    fn new(max: usize) -> Waiting {
        Waiting {
            queue: BTreeMap::new(),
            places: BTreeMap::new(),
            last: 0,
            being_written: BTreeMap::new(),
            being_written_since: None,
            removals: 0,
            max,
            stopping: false,
            figures: Figures::default(),
        }
    }

    fn put(&mut self, change: Arc<Change>, now: Instant) {
        let name = Name {
            domain: change.domain().into(),
            user: change.user().into(),
            key: change.key().clone(),
        };
        let is_removal = usize::from(change.removal().is_some());
        let place = self.places.get(&name);
        if let Some(place) = place.and_then(|number| self.queue.get_mut(number)) {
            self.removals += is_removal;
            self.removals -= usize::from(place.change.removal().is_some());
            place.change = change;
            self.figures.overtaken += 1;
        } else if self.queue.len() + self.being_written.len() >= self.max {
            self.figures.lost += 1;
        } else {
            self.removals += is_removal;
            self.last += 1;
            let name = Arc::new(name);
            self.places.insert(Arc::clone(&name), self.last);
            let since = now;
            let place = Place {
                change,
                name,
                since,
            };
            self.queue.insert(self.last, place);
        }
    }

    /// All that the store may not have, in no order.
    fn all(&self) -> impl Iterator<Item = &Change> {
        let queued = self.queue.values().map(|place| &*place.change);
        queued.chain(self.being_written.values().map(|change| &**change))
    }

    /// The removals among those of a user's bindings.
    fn removals_of<'w>(
        &'w self,
        domain: &'w str,
        user: &'w [u8],
    ) -> impl Iterator<Item = &'w Removal> {
        let first = Name {
            domain: domain.into(),
            user: user.into(),
            key: Key::first(),
        };
        let is_its = move |name: &Name| *name.domain == *domain && *name.user == *user;
        let queued = self.places.range::<Name, _>(&first..);
        let queued = queued
            .take_while(move |(name, _)| is_its(name))
            .filter_map(|(_, number)| self.queue.get(number))
            .map(|place| &*place.change);
        let being_written = self.being_written.range::<Name, _>(&first..);
        let being_written = being_written
            .take_while(move |(name, _)| is_its(name))
            .map(|(_, change)| &**change);
        queued.chain(being_written).filter_map(Change::removal)
    }

    /// Since when the change has waited that has waited longest.
    fn oldest(&self) -> Option<Instant> {
        let first = self.queue.first_key_value();
        let first = first.map(|(_, place)| place.since);
        // What is being written came before what waits.
        self.being_written_since.or(first)
    }

    /// Takes the next batch; none before `full`, or the time of its first change.
    fn take(&mut self, now: Instant) -> Option<Vec<(Number, Place)>> {
        let oldest = self.oldest()?;
        let due = self.stopping || self.queue.len() >= BATCH || now >= oldest + LINGER;
        if !due || self.queue.is_empty() {
            return None;
        }
        let places = std::iter::from_fn(|| self.queue.pop_first());
        let batch: Vec<_> = places.take(BATCH).collect();
        for (_, place) in &batch {
            self.places.remove(&place.name);
        }
        let being_written = batch.iter();
        self.being_written = being_written
            .map(|(_, place)| (Arc::clone(&place.name), Arc::clone(&place.change)))
            .collect();
        self.being_written_since = Some(oldest);
        Some(batch)
    }

    fn written(&mut self, written: Written) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let not_taken = written.stale + written.refused;
        let being_written = std::mem::take(&mut self.being_written);
        let removals = being_written.values().filter(|it| it.removal().is_some());
        self.removals -= removals.count();
        let taken = being_written.len().saturating_sub(not_taken);
        self.figures.written += count(taken);
        self.figures.stale += count(written.stale);
        self.figures.refused += count(written.refused);
        self.being_written_since = None;
    }

    /// Puts a batch back where it was, but for changes that a later one has overtaken.
    fn put_back(&mut self, batch: Vec<(Number, Place)>) {
        for (number, mut place) in batch {
            let later = self.places.insert(Arc::clone(&place.name), number);
            if let Some(later) = later.and_then(|number| self.queue.remove(&number)) {
                self.removals -= usize::from(place.change.removal().is_some());
                place.change = later.change;
                self.figures.overtaken += 1;
            }
            self.queue.insert(number, place);
        }
        self.being_written.clear();
        self.being_written_since = None;
    }

    fn failed(&mut self, unavailable: &Unavailable) {
        self.figures.failures += 1;
        self.gone(unavailable);
    }

    fn gone(&mut self, unavailable: &Unavailable) {
        if self.figures.gone.is_none() {
            tracing::error!("{unavailable}. Registrations are kept in memory until it is back");
        }
        self.figures.gone = Some(unavailable.to_string());
    }

    fn back(&mut self) {
        if self.figures.gone.take().is_some() {
            let waiting = self.queue.len();
            tracing::info!("the location store is back; {waiting} changes are still to be written");
        }
    }
}

/// Writes to the store what waits, until all is written and no more is to come.
async fn write(store: Arc<dyn Store>, shared: Arc<Shared>) {
    check(&*store, &shared).await;
    let mut backoff = Backoff::default();
    loop {
        let taken = shared.waiting().take(Instant::now());
        let Some(places) = taken else {
            if !wait(&shared).await {
                return;
            }
            continue;
        };
        let batch: Batch = places
            .iter()
            .map(|(_, place)| Arc::clone(&place.change))
            .collect();
        match store.write(batch).await {
            Ok(written) => {
                backoff = Backoff::default();
                let mut waiting = shared.waiting();
                waiting.written(written);
                waiting.back();
            }
            Err(unavailable) => {
                {
                    let mut waiting = shared.waiting();
                    waiting.put_back(places);
                    waiting.failed(&unavailable);
                }
                tokio::time::sleep(backoff.wait()).await;
            }
        }
    }
}

/// Finds out whether the store takes changes while there are none: until it does, or one has come, which tells as
/// much.
async fn check(store: &dyn Store, shared: &Shared) {
    let mut backoff = Backoff::default();
    loop {
        match store.check().await {
            Ok(()) => return shared.waiting().back(),
            Err(unavailable) => shared.waiting().gone(&unavailable),
        }
        let changed = tokio::time::timeout(backoff.wait(), shared.changed.notified()).await;
        if changed.is_ok() {
            return;
        }
    }
}

/// Waits until there may be a batch; false where there will be none.
async fn wait(shared: &Shared) -> bool {
    let (oldest, stopping) = {
        let waiting = shared.waiting();
        (waiting.oldest(), waiting.stopping)
    };
    match oldest {
        None if stopping => return false,
        None => shared.changed.notified().await,
        Some(oldest) => {
            // Or a full batch, or the end.
            let _ = tokio::time::timeout_at(oldest + LINGER, shared.changed.notified()).await;
        }
    }
    true
}

#[cfg(test)]
mod tests;
