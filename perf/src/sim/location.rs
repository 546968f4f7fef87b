//! The location store, as control speaks for it: what the workers tell of contacts is written behind, what
//! it has is given back after a restart, a contact at a time, and looked for where a worker asks. How
//! soon depends on its mood. What is on its way is lost with the box.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use trunkline_dataplane::lab::DOMAIN;
use trunkline_dataplane::letters::Told;
use trunkline_dataplane::sip::effects::Locate;
use trunkline_dataplane::sip::registrar::Letter;
use trunkline_dataplane::sip::registrar::Record;
use trunkline_dataplane::sip::registrar::aor::AddressOfRecord;
use trunkline_dataplane::tick::Tick;

use super::random::Random;
use super::store::Mood;
use super::store::Moods;

/// How long control waits for an answer, in milliseconds: less than who calls does.
const PATIENCE_MS: u64 = 4_000;
/// Of a thousand questions, those to which control gives no answer.
const LOST: u16 = 20;
/// The longest that reading all of it takes, once begun.
const LOAD_MS: u64 = 6_000;

/// A contact of a user, with its texts.
#[derive(Clone, Debug)]
pub struct Kept {
    letter: Letter,
    texts: Vec<u8>,
}

impl Kept {
    /// What a worker has told; `None` where no worker can have.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Option<Kept> {
        Some(Kept {
            letter: Letter::of(record)?,
            texts: Letter::texts(record).concat(),
        })
    }

    /// The same as the workers know it.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        self.letter.record(&self.texts)
    }

    /// Whose it is, and its URI.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let record = self.record();
        (text(record.user), text(record.uri))
    }

    /// The worker that keeps it, of so many.
    #[must_use]
    pub fn keeper(&self, hash: &[u8; 16], workers: u8) -> usize {
        let aor = AddressOfRecord::keyed(self.record().user, DOMAIN.as_bytes(), hash);
        aor.map_or(0, |aor| aor.owner(workers).0.into())
    }
}

/// What is on its way, to the store or from it.
#[derive(Debug)]
enum Event {
    Write(Told, Kept),
    /// What there is by then of this contact is given back.
    Give((String, String)),
    /// A worker's question is answered, or not.
    Sought(usize, Locate, bool),
    Loaded,
}

/// What the workers are to be told.
#[derive(Clone, Debug)]
pub enum Word {
    /// A contact that the store has.
    Bound(Kept),
    /// That was all there is of a user, as a worker asked; or it cannot be said.
    Sought(usize, Locate, bool),
    /// That was all there is.
    Loaded,
}

/// The store.
#[derive(Debug)]
pub struct Location {
    moods: Moods,
    random: Random,
    written: BTreeMap<(String, String), Kept>,
    /// By when, and in which order they were begun.
    events: BTreeMap<(Tick, usize), Event>,
    count: usize,
    /// When the last of what is to be written will be: nothing overtakes.
    last_write: Tick,
    /// What waits for room, or for those before it.
    words: VecDeque<Word>,
}

impl Location {
    /// A store with these moods, in which there is nothing.
    #[must_use]
    pub fn new(moods: Moods, random: Random) -> Location {
        Location {
            moods,
            random,
            written: BTreeMap::new(),
            events: BTreeMap::new(),
            count: 0,
            last_write: Tick(0),
            words: VecDeque::new(),
        }
    }

    fn begin(&mut self, at: Tick, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    /// When something begun now is done, at its best within so many milliseconds; a store that does not
    /// answer does so once its mood is better.
    fn done(&mut self, now: Tick, best_ms: u64) -> Tick {
        let took_ms = self.random.between(0, best_ms);
        let begun = match self.moods.at(now) {
            (Mood::Quick, _) => now,
            (Mood::Slow, _) => now.plus_ms(2_000),
            (Mood::Stopped | Mood::Unavailable, until) => until.unwrap_or(now),
        };
        begun.plus_ms(took_ms)
    }

    /// A box begins: all that is on its way is lost, and all that is written is given back.
    pub fn restarts(&mut self, now: Tick) {
        self.events.clear();
        self.words.clear();
        self.last_write = now;
        let begun = self.done(now, 500);
        let last_ms = self.random.between(0, LOAD_MS);
        let keys: Vec<_> = self.written.keys().cloned().collect();
        for key in keys {
            let at = begun.plus_ms(self.random.between(0, last_ms));
            self.begin(at, Event::Give(key));
        }
        self.begin(begun.plus_ms(last_ms), Event::Loaded);
    }

    /// What is written.
    pub fn written(&self) -> impl Iterator<Item = &Kept> {
        self.written.values()
    }

    /// A worker has told of a change, which is written within a second where the store does well.
    pub fn write(&mut self, now: Tick, told: Told, kept: Kept) {
        self.last_write = self.done(now, 900).max(self.last_write);
        self.begin(self.last_write, Event::Write(told, kept));
    }

    /// A worker asks for a user.
    pub fn seek(&mut self, now: Tick, worker: usize, of: Locate) {
        if self.random.happens(LOST) {
            return;
        }
        let patience = now.plus_ms(PATIENCE_MS);
        let at = match self.moods.at(now) {
            (Mood::Unavailable, _) => patience,
            _ => self.done(now, 50),
        };
        let is_answered = at < patience;
        self.begin(at.min(patience), Event::Sought(worker, of, is_answered));
    }

    /// When it does something next.
    #[must_use]
    pub fn due(&self) -> Tick {
        match self.words.is_empty() {
            true => self.events.keys().next().map_or(Tick::NEVER, |(at, _)| *at),
            false => Tick(0),
        }
    }

    /// What the workers are to be told next.
    pub fn take(&mut self, now: Tick) -> Option<Word> {
        while self.words.is_empty() {
            let next = self.events.first_entry().filter(|next| next.key().0 <= now);
            let event = next?.remove();
            self.carry_out(event);
        }
        self.words.pop_front()
    }

    /// It found no room.
    pub fn put_back(&mut self, word: Word) {
        self.words.push_front(word);
    }

    fn carry_out(&mut self, event: Event) {
        match event {
            Event::Write(Told::Removed, kept) => {
                self.written.remove(&kept.key());
            }
            Event::Write(_, kept) => {
                self.written.insert(kept.key(), kept);
            }
            Event::Give(key) => {
                let found = self.written.get(&key).cloned();
                self.words.extend(found.map(Word::Bound));
            }
            Event::Sought(worker, of, is_answered) => {
                let is_its = |kept: &&Kept| kept.record().user == of.who.user.name();
                let found = self.written.values().filter(|_| is_answered).filter(is_its);
                self.words.extend(found.cloned().map(Word::Bound));
                self.words.push_back(Word::Sought(worker, of, is_answered));
            }
            Event::Loaded => self.words.push_back(Word::Loaded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use trunkline_dataplane::ids::DomainIndex;
    use trunkline_dataplane::ids::ListenIndex;

    fn kept(uri: &str) -> Kept {
        let record = Record {
            aor: 1,
            domain: DomainIndex(0),
            user: b"u",
            uri: uri.as_bytes(),
            params: b"",
            path: b"",
            received: SocketAddr::from(([10, 77, 1, 100], 5060)),
            listen: ListenIndex(0),
            expires: Tick::ms(90_000),
            taken: Tick::ms(1_000),
            q: 1_000,
            call_id: 1,
            cseq: 1,
            transaction: 1,
            reg_id: None,
        };
        Kept::of(&record).unwrap()
    }

    #[test]
    fn what_is_written_is_given_back_and_what_is_on_its_way_is_lost() {
        let mut location = Location::new(Moods::default(), Random::new(7));
        let now = Tick::ms(1_000);
        location.write(now, Told::Bound, kept("sip:u@a"));
        location.write(now, Told::Bound, kept("sip:u@b"));
        location.write(now, Told::Removed, kept("sip:u@b"));
        assert!(location.take(now.plus_ms(1_000)).is_none());
        let written: Vec<_> = location.written().map(Kept::key).collect();
        assert_eq!(written, [("u".to_owned(), "sip:u@a".to_owned())]);
        let later = now.plus_ms(2_000);
        location.write(later, Told::Bound, kept("sip:u@c"));
        location.restarts(later);
        let end = later.plus_ms(500 + LOAD_MS);
        let words: Vec<_> = std::iter::from_fn(|| location.take(end)).collect();
        assert!(matches!(&words[..], [Word::Bound(a), Word::Loaded] if a.key().1 == "sip:u@a"));
        assert_eq!(location.due(), Tick::NEVER);
    }

    #[test]
    fn a_store_that_says_nothing_is_read_when_it_does_better() {
        let better = Tick::ms(40_000);
        let moods = Moods(vec![(Tick(0), Mood::Stopped), (better, Mood::Quick)]);
        let mut location = Location::new(moods, Random::new(7));
        location.restarts(Tick::ms(1_000));
        assert!(location.due() >= better);
    }
}
