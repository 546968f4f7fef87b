//! Calls of subscribers alone: see [`Crowd`].

#[cfg(doc)]
use crate::sim::Crowd;
use crate::sim::phone::Kind;
use crate::sim::plan::Ask;
use crate::sim::plan::Callee;
use crate::sim::plan::Caller;
use crate::sim::plan::Habits;
use crate::sim::plan::Plan;
use crate::sim::random::Random;

/// How many users the workers know from their start on.
pub(super) const CACHED: u64 = 100;

/// Of five calls two are of somebody whom the workers know, two are a REGISTER of somebody of whom they
/// have never heard, and one is something else of such a one.
pub(super) fn storm(number: usize, random: &mut Random) -> Plan {
    let registers = matches!(number % 5, 1 | 3);
    let (caller, kind) = match number % 5 {
        0 | 2 => {
            let caller = random.pick(&[
                Caller::HangsUp,
                Caller::HangsUp,
                Caller::Listens,
                Caller::Races,
                Caller::Holds,
                Caller::Updates,
                Caller::OffersLate,
            ]);
            (caller, Kind::Cached)
        }
        _ => {
            let caller = random.pick(&[
                Caller::HangsUp,
                Caller::Cancels(2_500),
                Caller::Asks(Ask::Options),
                Caller::Asks(Ask::Message),
                Caller::Asks(Ask::Message),
            ]);
            (caller, unknown(random))
        }
    };
    let habits = match kind {
        Kind::Cached => Habits::draw(random, kind, CACHED),
        _ => Habits {
            number,
            ..Habits::draw(random, kind, 1)
        },
    };
    subscriber(
        caller,
        Habits {
            registers,
            ..habits
        },
        random,
    )
}

/// Whom the store knows, or not.
fn unknown(random: &mut Random) -> Kind {
    let known = Kind::Known;
    random.pick(&[known, known, known, Kind::Mistaken, Kind::Nobody])
}

/// The first half of the calls is one REGISTER of each user, and so is the second.
pub(super) fn registers(number: usize, calls: usize, random: &mut Random) -> Plan {
    let number = number % calls.div_ceil(2);
    let habits = Habits::draw(random, Kind::Known, 1);
    let habits = Habits {
        number,
        registers: true,
        // Where it was the first time.
        host: Habits::host_of(number),
        ..habits
    };
    subscriber(Caller::HangsUp, habits, random)
}

fn subscriber(caller: Caller, habits: Habits, random: &mut Random) -> Plan {
    let callee = random.pick(&[Callee::Answers, Callee::Answers, Callee::SendsEarly]);
    // Once is enough, and nobody listens.
    let habits = Habits {
        refreshes: false,
        is_replayed: false,
        ..habits
    };
    let mut plan = Plan {
        caller,
        callees: [callee; 6],
        ..Plan::BARE
    };
    plan.subscribe(habits);
    plan
}
