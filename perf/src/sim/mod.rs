//! The simulator: the real workers on fake rings, two scripted user agents a call, a
//! network that misbehaves by chance from a seed, and time that jumps to whatever happens
//! next.
//!
//! ```text
//!   party ──► network ──► fake ring of the worker that RSS names ──► turn ──► oracle
//!     ▲                                                                          │
//!     └──────────────────────────────── network ◄────────────────────────────────┘
//! ```
//!
//! A *step* takes all that is due, hands it to the box and the parties, turns the workers
//! until none finds work, and then checks: both sums of each worker and its frames
//! ([`world`]); what left against what came in, message by message and packet by packet
//! ([`oracle`]); and that the parties could do what RFC 3261 lets them expect ([`party`]).
//! At the end the box must be as empty as at its start.
//!
//! Everything follows from the seed: the same one gives the same [`Summary::trace`].
//! A failure names seed and step and draws the ladder of the call concerned.

pub mod frame;
pub mod ladder;
pub mod media;
pub mod network;
pub mod oracle;
pub mod party;
pub mod plan;
pub mod random;
pub mod sip;
pub mod transaction;
pub mod world;

use std::panic::AssertUnwindSafe;

use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::lab::Lab;

use self::network::Weather;
use self::oracle::Fault;
use self::world::World;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where chance begins.
    pub seed: u64,
    /// How many calls there are.
    pub calls: usize,
    /// How many workers.
    pub workers: u8,
    /// What stands around the box; `None`: drawn from the seed.
    pub lab: Option<Lab>,
    /// All calls begin within so long.
    pub spread_ms: u64,
    /// The network.
    pub weather: Weather,
    /// The longest IP packet of both links, in bytes: what is larger leaves by the kernel.
    pub mtu: u16,
    /// More calls than the tables hold: a call may also end with the box's 503.
    pub crowded: bool,
    /// Steps after which the run is said not to end.
    pub steps_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            calls: 24,
            workers: 2,
            lab: None,
            spread_ms: 10_000,
            weather: Weather::FAIR,
            mtu: 1500,
            crowded: false,
            steps_max: 1_000_000,
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Steps taken.
    pub steps: u64,
    /// Virtual milliseconds that passed.
    pub virtual_ms: u64,
    /// SIP messages and media packets that the box sent.
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
            "{} steps, {} s, {} calls, {} answered, {} SIP and {} media packets sent, {} retransmitted, trace {:016x}",
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
    /// The step.
    pub step: u64,
    /// What was violated.
    pub why: String,
    /// The ladder of the call concerned, if it is of one.
    pub ladder: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "seed={} step={}: {}\n{}",
            self.seed, self.step, self.why, self.ladder
        )
    }
}

/// Runs one seed to its end.
///
/// # Errors
/// What was violated, with the ladder of the call concerned.
pub fn run(options: Options, ladders: bool) -> Result<Summary, Box<Failure>> {
    let mut world = World::new(options).map_err(|why| {
        Box::new(Failure {
            seed: options.seed,
            step: 0,
            why,
            ladder: String::new(),
        })
    })?;
    // A broken invariant of the box panics; it is a failure of this seed like any other.
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| to_the_end(&mut world, options)));
    let ended = ended.unwrap_or_else(|_| {
        Err(Fault {
            call: None,
            why: "the box panicked, see above".to_owned(),
        })
    });
    let counters = ended.map_err(|fault| Box::new(failure(&world, options.seed, &fault)))?;
    let mut drawn = String::new();
    for call in (0..options.calls).filter(|_| ladders) {
        drawn.push_str(&title(&world, call));
        drawn.push_str(&ladder::draw(world.rungs(call)));
    }
    Ok(Summary {
        steps: world.steps(),
        virtual_ms: world.now().as_ms(),
        sent: world.sent(),
        trace: world.trace().0,
        counters,
        ladders: drawn,
    })
}

fn to_the_end(world: &mut World, options: Options) -> Result<Counters, Fault> {
    while world.step()? {
        if world.steps() > options.steps_max {
            let why = format!("not at its end after {} steps", options.steps_max);
            return Err(Fault { call: None, why });
        }
    }
    world.finish()
}

fn title(world: &World, call: usize) -> String {
    world
        .plan(call)
        .map_or(String::new(), |plan| format!("call {call}: {plan:?}\n"))
}

fn failure(world: &World, seed: u64, fault: &Fault) -> Failure {
    let at = world.now().0 / 1_000;
    let ladder = fault.call.map_or(String::new(), |call| {
        format!("{}{}", title(world, call), ladder::draw(world.rungs(call)))
    });
    Failure {
        seed,
        step: world.steps(),
        why: format!("at {at} us: {}", fault.why),
        ladder,
    }
}
