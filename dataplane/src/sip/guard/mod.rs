//! Who is not heard for a while: sources that try passwords.
//!
//! ```text
//!   a failure ─► the source's keeper counts it ─► enough? ─► has anybody a live binding from there?
//!                                                                 │ every worker looks, a few a turn
//!                                               banned everywhere ◄─ nobody ┘ └ somebody ─► spared
//! ```
//!
//! Only a failure counts that answers a nonce which this box gave to that source: whoever can send
//! with another's address does not hear that nonce, and so bans nobody. Each source has a keeper among
//! the workers, by a hash: it alone counts, bans and lifts, so that all others hear of it in
//! one order. Told is by [`Word`]s. Time is an argument; all memory is taken at the start.

mod bans;
mod rates;
mod sets;
mod source;

pub use self::bans::BanReport;
pub use self::source::Source;

use self::bans::Bans;
use self::rates::Rates;
use self::sets::Sets;
use super::effects::Question;
use super::identity::What;
use super::proxy::Step;
use super::siphash::SipHash;
use crate::counters::Counter;
use crate::ids::WorkerId;
use crate::limits::BANS;
use crate::limits::FAILING_SOURCES;
use crate::limits::RATED_SOURCES;
use crate::settings::Abuse;
use crate::tick::Tick;

/// Sources that a keeper asks about at once, and that a worker looks for.
const POLLS: usize = 16;
/// A poll without all its answers is taken up again at a later failure.
const POLL_S: u32 = 2;
/// For so long after a look a binding that comes late is told: a ban may be on its way.
const DOUBTED_S: u32 = 10;

/// What workers tell each other of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// To its keeper: it has failed to authenticate.
    Failed(Source),
    /// From its keeper: has anybody a live binding from there?
    Ask {
        /// The source.
        source: Source,
        /// Which question of its keeper.
        round: u32,
    },
    /// To its keeper, in answer, or because there is one now.
    Lives {
        /// The source.
        source: Source,
        /// The question's.
        round: u32,
        /// There is one.
        lives: bool,
    },
    /// From its keeper: it is not heard.
    Ban {
        /// The source.
        source: Source,
        /// Until then, in seconds of the box's clock.
        until_s: u32,
        /// Its failures.
        failures: u16,
    },
    /// From its keeper: it is heard again.
    Lift(Source),
    /// From who keeps a binding from there: it is heard whatever it sends.
    Vouch {
        /// The source.
        source: Source,
        /// Until then, in seconds of the box's clock.
        until_s: u32,
    },
    /// To its keeper, from the operator: have it heard again.
    Pardon(Source),
}

/// The failures of a source.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    since_s: u32,
    count: u16,
}

/// A question to all workers that has not been answered by all of them.
#[derive(Clone, Copy, Debug)]
struct Poll {
    source: Source,
    round: u32,
    asked_s: u32,
    /// How many answers are to come.
    missing: u8,
    failures: u16,
}

/// A look through the bindings of this worker; remembered when it is over, in case one comes
/// late.
#[derive(Clone, Copy, Debug)]
struct Walk {
    source: Source,
    round: u32,
    began_s: u32,
    /// The slot to look at next.
    at: u32,
    is_over: bool,
}

/// What a worker knows of sources that abuse the box.
#[derive(Debug)]
pub struct Guard {
    worker: WorkerId,
    workers: u8,
    hash: SipHash,
    rules: Abuse,
    bans: Bans,
    rates: Rates,
    /// Of the sources that this worker keeps.
    failures: Sets<Failures>,
    polls: [Option<Poll>; POLLS],
    last_round: u32,
    walks: [Option<Walk>; POLLS],
    next_walk: usize,
    /// Not all of them are over, or that is not known yet.
    is_walking: bool,
}

impl Guard {
    /// Bytes of it, where there are domains.
    pub const LEN: usize = BANS as usize * Bans::BAN_LEN
        + FAILING_SOURCES as usize * Sets::<Failures>::ENTRY_LEN
        + 2 * RATED_SOURCES as usize * Rates::ENTRY_LEN;

    /// Without domains there is nobody who could fail, and hardly any memory is taken. `hash` is the
    /// beginning of a keyed hash, the same for all workers.
    #[must_use]
    pub fn new(worker: WorkerId, workers: u8, hash: SipHash, rules: Abuse, domains: bool) -> Guard {
        let of = |capacity| if domains { capacity } else { 1 };
        let per_s = if domains { rules.requests_per_s } else { 0 };
        Guard {
            worker,
            workers,
            hash,
            rules,
            bans: Bans::new(of(BANS), hash),
            rates: Rates::new(of(RATED_SOURCES), hash, per_s, rules.burst),
            failures: Sets::new(of(FAILING_SOURCES), hash),
            polls: [None; POLLS],
            last_round: 0,
            walks: [None; POLLS],
            next_walk: 0,
            is_walking: false,
        }
    }

    /// Whether a source is banned.
    #[inline]
    pub fn is_banned(&mut self, source: Source, now: Tick) -> bool {
        self.bans.count() > 0 && self.bans.has(source, seconds(now))
    }

    /// Whether sources are heard only so often.
    #[must_use]
    #[inline]
    pub const fn limits_rates(&self) -> bool {
        self.rates.are_limited()
    }

    /// A datagram has come from a source that is no trunk: whether it is one too many.
    pub fn is_over_rate(&mut self, source: Source, now: Tick) -> bool {
        self.rates.is_over(source, now)
    }

    /// Takes note of a datagram of a banned source that is dropped.
    pub fn note_drop(&mut self, source: Source) {
        self.bans.note_drop(source);
    }

    /// How many sources are banned: told by the first worker, for all have the same.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self.worker {
            WorkerId(0) => self.bans.count() as u64,
            _ => 0,
        }
    }

    /// The ban in a place.
    #[must_use]
    pub fn report(&self, place: usize) -> Option<BanReport> {
        self.bans.report(place)
    }

    /// How many places there are for bans.
    #[must_use]
    pub const fn places(&self) -> usize {
        self.bans.places()
    }

    /// Takes out bans that have ended, a bounded number.
    pub fn sweep(&mut self, now: Tick) -> u64 {
        let ended = self.bans.sweep(seconds(now));
        if self.worker == WorkerId(0) { ended } else { 0 }
    }

    /// Somebody at a source has answered our nonce with a wrong password, or as nobody.
    pub fn failed(&mut self, source: Source, step: &mut Step<'_>) {
        if self.rules.failures > 0 {
            self.tell_keeper(source, Word::Failed(source), step);
        }
    }

    /// A binding was made or refreshed from a source, until then: it is not banned, nor will be, and is
    /// heard whatever it sends: for as long again should the binding go before.
    pub fn vouch(&mut self, source: Source, until: Tick, step: &mut Step<'_>) {
        if self.rates.are_limited() && self.rates.vouched_until(source) < until {
            // Any worker may hear it. Others are told of twice as long, so that they need not be at each refresh.
            let longer = Tick(until.0.saturating_add(until.since(step.now)));
            self.rates.vouch(source, longer);
            if self.workers > 1 {
                let until_s = seconds(longer).saturating_add(1);
                tell_all(Word::Vouch { source, until_s }, step);
            }
        }
        let now_s = seconds(step.now);
        let is_recent = |walk: &Walk| now_s.saturating_sub(walk.began_s) <= DOUBTED_S;
        let mut walks = self.walks.iter().flatten();
        let is_doubted = walks.any(|walk| walk.source == source && is_recent(walk));
        if is_doubted || self.is_banned(source, step.now) {
            let word = Word::Lives {
                source,
                round: 0,
                lives: true,
            };
            self.tell_keeper(source, word, step);
        }
    }

    /// What another worker tells, or this one itself.
    pub fn hear(&mut self, word: Word, step: &mut Step<'_>) {
        match word {
            Word::Failed(source) => self.count_failure(source, step),
            Word::Ask { source, round } => self.begin_walk(source, round, step.now),
            Word::Lives {
                source,
                lives: true,
                ..
            } => self.spare(source, step),
            Word::Lives { source, round, .. } => self.one_less(source, round, step),
            Word::Ban {
                source,
                until_s,
                failures,
            } => self.ban(source, until_s, failures, step),
            Word::Lift(source) => {
                let _ = self.bans.lift(source);
            }
            Word::Vouch { source, until_s } => {
                self.rates
                    .vouch(source, Tick::ms(u64::from(until_s) * 1_000));
            }
            Word::Pardon(source) => {
                if self.keeper(source) == self.worker && self.forgive(source, step) {
                    step.counters.count(Counter::BansRemoved);
                }
            }
        }
    }

    fn count_failure(&mut self, source: Source, step: &mut Step<'_>) {
        let now_s = seconds(step.now);
        if self.bans.has(source, now_s) {
            return;
        }
        let within_s = self.rules.within_s;
        let mut failures = match self.failures.find(source) {
            Some((_, failures)) if now_s.saturating_sub(failures.since_s) < within_s => *failures,
            _ => Failures {
                since_s: now_s,
                count: 0,
            },
        };
        failures.count = failures.count.saturating_add(1);
        // Whoever began longest ago is forgotten first.
        let _ = self
            .failures
            .put(source, failures, |failures| failures.since_s.into());
        if failures.count >= self.rules.failures {
            self.poll(source, failures.count, step);
        }
    }

    /// Asks everybody for a live binding, unless that is under way.
    fn poll(&mut self, source: Source, failures: u16, step: &mut Step<'_>) {
        let now_s = seconds(step.now);
        let is_of = |poll: &Option<Poll>| poll.is_some_and(|poll| poll.source == source);
        let is_over = |poll: &Option<Poll>| {
            poll.is_none_or(|poll| now_s.saturating_sub(poll.asked_s) > POLL_S)
        };
        let place = match self.polls.iter().position(is_of) {
            Some(place) if is_over(&self.polls[place]) => Some(place),
            Some(_) => return,
            None => self.polls.iter().position(is_over),
        };
        // With so many under way a later failure asks.
        let Some(place) = place else { return };
        self.last_round = self.last_round.wrapping_add(1);
        let round = self.last_round;
        self.polls[place] = Some(Poll {
            source,
            round,
            asked_s: now_s,
            missing: self.workers,
            failures,
        });
        tell_all(Word::Ask { source, round }, step);
        self.begin_walk(source, round, step.now);
    }

    /// One worker more has no live binding from there; where it was the last, the source is banned.
    fn one_less(&mut self, source: Source, round: u32, step: &mut Step<'_>) {
        let is_it = |poll: &&mut Option<Poll>| {
            poll.is_some_and(|poll| poll.source == source && poll.round == round)
        };
        let Some(place) = self.polls.iter_mut().find(is_it) else {
            return;
        };
        let Some(poll) = place else { return };
        poll.missing = poll.missing.saturating_sub(1);
        if poll.missing > 0 {
            return;
        }
        let failures = poll.failures;
        *place = None;
        let _ = self.failures.remove(source);
        let until_s = seconds(step.now).saturating_add(self.rules.ban_s);
        let word = Word::Ban {
            source,
            until_s,
            failures,
        };
        tell_all(word, step);
        self.hear(word, step);
        step.counters.count(Counter::BansAdded);
    }

    /// There is a live binding from a source: whatever was held against it is forgotten.
    fn spare(&mut self, source: Source, step: &mut Step<'_>) {
        let was_asked = self
            .polls
            .iter()
            .flatten()
            .any(|poll| poll.source == source);
        if self.forgive(source, step) || was_asked {
            step.counters.count(Counter::BansSpared);
        }
    }

    /// Forgets what is held against a source; true where it was banned.
    fn forgive(&mut self, source: Source, step: &mut Step<'_>) -> bool {
        let _ = self.failures.remove(source);
        for poll in &mut self.polls {
            if poll.is_some_and(|poll| poll.source == source) {
                *poll = None;
            }
        }
        let was_banned = self.bans.has(source, seconds(step.now));
        if was_banned {
            self.bans.lift(source);
            tell_all(Word::Lift(source), step);
        }
        was_banned
    }

    fn ban(&mut self, source: Source, until_s: u32, failures: u16, step: &mut Step<'_>) {
        let displaced = self.bans.add(source, until_s, failures);
        if displaced.is_some() && self.worker == WorkerId(0) {
            step.counters.count(Counter::BansDisplaced);
        }
    }

    /// Looks for a binding from a source. One look too many takes the place of the eldest, whose keeper
    /// will ask again.
    fn begin_walk(&mut self, source: Source, round: u32, now: Tick) {
        let is_of = |walk: &Option<Walk>| walk.is_some_and(|walk| walk.source == source);
        let place = self.walks.iter().position(is_of).unwrap_or_else(|| {
            self.next_walk = (self.next_walk + 1) % POLLS;
            self.next_walk
        });
        self.is_walking = true;
        self.walks[place] = Some(Walk {
            source,
            round,
            began_s: seconds(now),
            at: 0,
            is_over: false,
        });
    }

    /// True while bindings are to be looked through. Each turn asks.
    #[inline]
    #[must_use]
    pub const fn has_walk(&self) -> bool {
        self.is_walking
    }

    /// Goes on with a look through the `slots` slots of bindings, a few of them: `from` says
    /// where the live binding in a slot is from.
    pub fn walk(
        &mut self,
        slots: u32,
        few: u32,
        from: impl Fn(u32) -> Option<Source>,
        step: &mut Step<'_>,
    ) {
        let is_under_way = |walk: &&mut Walk| !walk.is_over;
        let Some(walk) = self.walks.iter_mut().flatten().find(is_under_way) else {
            self.is_walking = false;
            return;
        };
        let end = slots.min(walk.at.saturating_add(few));
        let source = walk.source;
        let lives = (walk.at..end).any(|slot| from(slot) == Some(source));
        walk.at = end;
        walk.is_over = lives || end == slots;
        if walk.is_over {
            let round = walk.round;
            let word = Word::Lives {
                source,
                round,
                lives,
            };
            self.tell_keeper(source, word, step);
        }
    }

    /// The worker that counts the failures of a source.
    #[allow(clippy::cast_possible_truncation, reason = "less than the workers")]
    fn keeper(&self, source: Source) -> WorkerId {
        let hash = self.hash.word(source.key()).finish(What::Source.with(1));
        WorkerId(((u128::from(hash) * u128::from(self.workers)) >> 64) as u8)
    }

    fn tell_keeper(&mut self, source: Source, word: Word, step: &mut Step<'_>) {
        match self.keeper(source) {
            keeper if keeper == self.worker => self.hear(word, step),
            keeper => step.effects.ask(Question::Guard {
                to: Some(keeper),
                word,
            }),
        }
    }
}

fn tell_all(word: Word, step: &mut Step<'_>) {
    step.effects.ask(Question::Guard { to: None, word });
}

/// Seconds of the box's clock.
#[allow(clippy::cast_possible_truncation, reason = "136 years")]
const fn seconds(now: Tick) -> u32 {
    (now.0 / 1_000_000_000) as u32
}
