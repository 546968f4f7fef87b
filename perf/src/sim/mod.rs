//! The simulator: the real workers of one box or two on fake rings, scripted user agents, a
//! network that misbehaves by chance from a seed, and time that jumps to whatever happens
//! next.
//!
//! ```text
//!   agent ──► network ──► fake ring of the worker that RSS names ──► turn ──► oracle
//!     ▲                                                                          │
//!     └──────────────────────────────── network ◄────────────────────────────────┘
//! ```
//!
//! A *step* takes all that is due, hands it to boxes and agents, turns the workers until none
//! finds work, and then checks: the sums of each worker and its frames ([`boxes`]); what left
//! against what came in, message by message and packet by packet ([`oracle`]); and that the
//! agents could do what RFC 3261 lets them expect ([`agent`]). Every thousand steps, and at
//! the end, all tables are audited. A call is forgotten when nothing is said in it any more;
//! it must have come to its end then. At the end each box must be as empty as at its start.
//!
//! Everything follows from the seed: the same one gives the same [`Summary::trace`].
//! A failure names seed and step and draws the ladder of the call concerned.
//!
//! - [`profile`]: what is drawn for a seed; [`plan`]: what is drawn for a call
//! - [`site`]: where a box stands, whom it knows, how it routes
//! - [`phone`], [`store`]: subscribers, and who knows them; [`location`]: where they are
//! - [`network`], [`frame`], [`rings`]: what happens on the wire
//! - [`edge`]: another world, of a box before somebody else's registrar
//! - [`batch`]: many seeds

pub mod agent;
pub mod batch;
pub mod boxes;
pub mod edge;
pub mod frame;
pub mod ladder;
pub mod location;
pub mod media;
pub mod network;
pub mod oracle;
pub mod phone;
pub mod plan;
pub mod profile;
pub mod random;
pub mod rings;
pub mod sip;
pub mod site;
pub mod store;
pub mod world;

use std::panic::AssertUnwindSafe;

use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;

use self::network::Weather;
use self::oracle::Fault;
use self::plan::Scenarios;
use self::world::World;

/// What subscribers do where there is nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// Those whom the workers know call; others register, while the store answers late and then not at
    /// all.
    Storm,
    /// Each registers, and later does so again.
    Registers,
}

/// What to simulate. What is `None` is drawn from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where chance begins.
    pub seed: u64,
    /// How many calls there are.
    pub calls: usize,
    /// They begin evenly within so long.
    pub spread_ms: u64,
    /// How many boxes stand in a row: one or two.
    pub boxes: Option<u8>,
    /// How many workers each has.
    pub workers: Option<u8>,
    /// The network.
    pub weather: Option<Weather>,
    /// How often a box restarts.
    pub restarts: Option<u8>,
    /// The longest IP packet of both links, in bytes: what is larger leaves by the kernel.
    pub mtu: u16,
    /// More calls than the tables hold: a call may also end with the box's 503.
    pub crowded: bool,
    /// Subscribers alone.
    pub crowd: Option<Crowd>,
    /// The box stands before somebody else's registrar: see [`edge`].
    pub edge: bool,
    /// What may be drawn for a call.
    pub scenarios: Scenarios,
    /// Its ladder is shown with a failure that is of no call.
    pub follow: Option<usize>,
    /// Steps after which the run is said not to end.
    pub steps_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            calls: 200,
            spread_ms: 12_000,
            boxes: None,
            workers: None,
            weather: None,
            restarts: None,
            mtu: 1500,
            crowded: false,
            crowd: None,
            edge: false,
            scenarios: Scenarios::ALL,
            follow: None,
            steps_max: 100_000_000,
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What was drawn for the seed.
    pub profile: String,
    /// Steps taken.
    pub steps: u64,
    /// Virtual milliseconds that passed.
    pub virtual_ms: u64,
    /// SIP messages and media packets that the boxes sent.
    pub sent: (u64, u64),
    /// The hash over all that happened.
    pub trace: u64,
    /// What the workers counted, together.
    pub counters: Counters,
    /// The ladders of all calls, where they were asked for.
    pub ladders: String,
}

impl Summary {
    /// One line for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let count = |counter| self.counters.get(counter);
        format!(
            "{}: {} steps, {} s, {} calls, {} answered, {} SIP and {} media packets sent, {} retransmitted, trace {:016x}",
            self.profile,
            self.steps,
            self.virtual_ms / 1_000,
            count(Counter::CallsStarted),
            count(Counter::CallsAnswered),
            self.sent.0,
            self.sent.1,
            count(Counter::Retransmissions),
            self.trace
        )
    }
}

/// A run in which something was violated.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was drawn for it.
    pub profile: String,
    /// The step.
    pub step: u64,
    /// What was violated.
    pub why: String,
    /// The ladder of the call concerned, if it is of one.
    pub ladder: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(out, "seed={} step={}: {}", self.seed, self.step, self.why)?;
        writeln!(out, "{}", self.profile)?;
        out.write_str(&self.ladder)
    }
}

/// Runs one seed to its end.
///
/// # Errors
/// What was violated, with the ladder of the call concerned.
pub fn run(options: Options, ladders: bool) -> Result<Summary, Box<Failure>> {
    if options.edge {
        return edge::run(options);
    }
    let mut world = World::new(options, ladders).map_err(|why| {
        Box::new(Failure {
            seed: options.seed,
            profile: String::new(),
            step: 0,
            why,
            ladder: String::new(),
        })
    })?;
    // A broken invariant of the box panics; it is a failure of this seed like any other.
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| to_the_end(&mut world, options)));
    let ended = ended.unwrap_or_else(|_| Err(Fault::general("the box panicked, see above")));
    let counters = ended.map_err(|fault| Box::new(failure(&world, options.seed, &fault)))?;
    Ok(Summary {
        profile: world.profile().to_string(),
        steps: world.steps(),
        virtual_ms: world.now().as_ms(),
        sent: world.sent(),
        trace: world.trace().0,
        counters,
        ladders: world.ladders(),
    })
}

fn to_the_end(world: &mut World, options: Options) -> Result<Counters, Fault> {
    while world.step()? {
        if world.steps() > options.steps_max {
            let why = format!("not at its end after {} steps", options.steps_max);
            return Err(Fault::general(why));
        }
    }
    world.finish()
}

fn failure(world: &World, seed: u64, fault: &Fault) -> Failure {
    let at = world.now().0 / 1_000;
    Failure {
        seed,
        profile: world.profile().to_string(),
        step: world.steps(),
        why: format!("at {at} us: {}", fault.why),
        ladder: fault
            .call
            .map_or_else(|| world.followed().to_owned(), |call| world.describe(call)),
    }
}
