//! The edge: one box before somebody else's registrar, with phones behind NATs on its one side and the
//! registrar on the other.
//!
//! ```text
//!   phone ──NAT── .100 ..  ──net 0── .1 box .1 ──net 1── .2 registrar
//! ```
//!
//! Phones register as they are told, move, unregister and begin anew; the registrar grants, refuses,
//! is busy, or says nothing, whether it has done what it was asked or not; and it calls the phones by
//! the Path of their contacts. A box that restarts forgets what it knew of them.
//!
//! - [`phone`], [`registrar`]: what the two do; [`oracle`]: what the box may do between them
//! - [`world`]: time, network, and the checks after every step

mod oracle;
mod phone;
mod registrar;
mod world;

use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::lab::DOMAIN;

use super::Failure;
use super::Options;
use super::Summary;
use super::oracle::Fault;

use self::world::World;

/// Runs one seed to its end: as many REGISTERs as there were to be calls.
///
/// # Errors
/// What was violated, with what was last said by the phone concerned.
pub fn run(options: Options) -> Result<Summary, Box<Failure>> {
    let failure = |why: String| Failure {
        seed: options.seed,
        profile: String::new(),
        step: 0,
        why,
        ladder: String::new(),
    };
    let mut world = World::new(options).map_err(|why| Box::new(failure(why)))?;
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| to_the_end(&mut world)));
    let ended = ended.unwrap_or_else(|_| Err(Fault::general("the box panicked, see above")));
    let counters = ended.map_err(|fault| Box::new(world.failure(&fault)))?;
    Ok(world.summary(counters))
}

fn to_the_end(world: &mut World) -> Result<Counters, Fault> {
    while world.step()? {}
    world.finish()
}
