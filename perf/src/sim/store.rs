//! The store of subscribers, as control speaks for it: each question is answered once, and when
//! depends on the store's mood. Some answers come twice, and some when nobody waits any more.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::lab::DOMAIN;
use trunkline_dataplane::sip::Id;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::ha1::Ha1s;
use trunkline_dataplane::sip::subscriber::Said;
use trunkline_dataplane::sip::subscriber::Subscriber;
use trunkline_dataplane::sip::subscriber::User;
use trunkline_dataplane::tick::Tick;

use super::phone;
use super::random::Random;

/// Of a thousand answers, those that come twice.
const TWICE: u16 = 50;
/// Of a thousand questions to a store that has stopped, those that are lost with it.
const LOST: u16 = 300;

/// How the store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It answers within 50 ms.
    Quick,
    /// It answers after 2 s.
    Slow,
    /// It answers nothing; what was asked it answers once it does better, or never.
    Stopped,
    /// Control says at once that it cannot be asked.
    Unavailable,
}

/// Moods, and when each begins; before the first a store is quick.
#[derive(Clone, Debug, Default)]
pub struct Moods(pub Vec<(Tick, Mood)>);

impl Moods {
    /// How a store does, and when it next does otherwise.
    #[must_use]
    pub fn at(&self, now: Tick) -> (Mood, Option<Tick>) {
        let next = self.0.iter().position(|(at, _)| *at > now);
        let current = next.unwrap_or(self.0.len()).checked_sub(1);
        let mood = current.map_or(Mood::Quick, |at| self.0[at].1);
        (mood, next.map(|at| self.0[at].0))
    }
}

/// A question of a worker, and where it came from.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The worker.
    pub worker: usize,
    /// Names the answer; `None` where nobody waits for it.
    pub question: Option<Id>,
    /// Who is asked about.
    pub who: Subscriber,
}

impl Question {
    /// The user's name.
    #[must_use]
    pub fn user(&self) -> String {
        String::from_utf8_lossy(self.who.user.name()).into_owned()
    }
}

/// An answer to a worker.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// What it answers.
    pub to: Question,
    /// What is said.
    pub said: Said,
}

impl Answer {
    /// What the store has of a user, though nobody has asked.
    #[must_use]
    pub fn unasked(worker: usize, user: &str) -> Option<Answer> {
        let who = Subscriber {
            domain: DomainIndex(0),
            user: User::new(user.as_bytes())?,
        };
        let to = Question {
            worker,
            question: None,
            who,
        };
        let said = Said::Known(known(user));
        Some(Answer { to, said })
    }

    /// Whether the user exists; `None` where the store was not asked.
    #[must_use]
    pub const fn exists(&self) -> Option<bool> {
        match self.said {
            Said::Known(Known::Subscriber(_)) => Some(true),
            Said::Known(Known::Nobody) => Some(false),
            Said::Unavailable => None,
        }
    }
}

/// What the store has of a user.
fn known(user: &str) -> Known {
    let Some(password) = phone::password_of(user) else {
        return Known::Nobody;
    };
    let mut ha1s = Ha1s::default();
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let parts = [user.as_bytes(), DOMAIN.as_bytes(), password.as_bytes()];
        ha1s.set(algorithm, algorithm.hash(&parts).bytes());
    }
    Known::Subscriber(ha1s)
}

/// The store.
#[derive(Debug)]
pub struct Store {
    moods: Moods,
    random: Random,
    /// The answers to come, by when and in which order they were asked for.
    queue: BinaryHeap<Reverse<(Tick, usize)>>,
    /// By that order; those that were given are taken.
    answers: Vec<Option<Answer>>,
}

impl Store {
    /// A store with these moods.
    #[must_use]
    pub fn new(moods: Moods, random: Random) -> Store {
        Store {
            moods,
            random,
            queue: BinaryHeap::new(),
            answers: Vec::new(),
        }
    }

    /// A worker asks.
    pub fn ask(&mut self, now: Tick, question: Question) {
        let answer = |said| Answer { to: question, said };
        let truth = answer(Said::Known(known(&question.user())));
        let soon_ms = self.random.between(0, 50);
        let (at, answer) = match self.moods.at(now) {
            (Mood::Quick, _) => (now.plus_ms(soon_ms), truth),
            (Mood::Slow, _) => (now.plus_ms(2_000), truth),
            (Mood::Unavailable, _) => (now.plus_ms(soon_ms), answer(Said::Unavailable)),
            (Mood::Stopped, Some(until)) if !self.random.happens(LOST) => {
                (until.plus_ms(self.random.between(0, 1_000)), truth)
            }
            (Mood::Stopped, _) => return,
        };
        self.push(at, answer);
        if self.random.happens(TWICE) {
            let later_ms = self.random.between(0, 8_000);
            self.push(at.plus_ms(later_ms), answer);
        }
    }

    fn push(&mut self, at: Tick, answer: Answer) {
        self.queue.push(Reverse((at, self.answers.len())));
        self.answers.push(Some(answer));
    }

    /// When it answers next.
    #[must_use]
    pub fn due(&self) -> Tick {
        self.queue
            .peek()
            .map_or(Tick::NEVER, |Reverse((at, _))| *at)
    }

    /// The next answer that is due.
    pub fn take(&mut self, now: Tick) -> Option<Answer> {
        while self.due() <= now {
            let Reverse((_, at)) = self.queue.pop()?;
            if let Some(answer) = self.answers[at].take() {
                return Some(answer);
            }
        }
        None
    }

    /// An answer found no room: it is given a moment later.
    pub fn keep(&mut self, now: Tick, answer: Answer) {
        self.push(now.plus_ms(1), answer);
    }

    /// Those who asked have gone.
    pub fn forget(&mut self) {
        self.queue.clear();
        self.answers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_as_its_mood_is_and_says_the_truth() {
        let moods = Moods(vec![
            (Tick::ms(1_000), Mood::Slow),
            (Tick::ms(2_000), Mood::Unavailable),
            (Tick::ms(3_000), Mood::Stopped),
            (Tick::ms(40_000), Mood::Quick),
        ]);
        let ask = |at_ms, user: &str| {
            let mut store = Store::new(moods.clone(), Random::new(7));
            let to = Answer::unasked(0, user).unwrap().to;
            store.ask(Tick::ms(at_ms), to);
            let at = store.due();
            (at, store.take(at).map(|answer| answer.exists()))
        };
        let (at, said) = ask(500, "known1");
        assert!(at <= Tick::ms(550) && said == Some(Some(true)));
        assert_eq!(ask(1_500, "nobody1"), (Tick::ms(3_500), Some(Some(false))));
        assert_eq!(ask(2_500, "known1").1, Some(None));
        let (at, _) = ask(3_500, "known1");
        assert!(at >= Tick::ms(40_000));
        let mut lost = Store::new(Moods(vec![(Tick(0), Mood::Stopped)]), Random::new(7));
        lost.ask(Tick::ms(5), Answer::unasked(0, "known1").unwrap().to);
        assert_eq!(lost.due(), Tick::NEVER);
    }
}
