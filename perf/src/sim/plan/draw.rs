//! What is drawn of a plan, piece by piece.

use super::Ask;
use super::Callee;
use super::Caller;
use super::Route;
use super::Scenarios;
use crate::sim::random::Random;

pub(super) fn draw_route(random: &mut Random, scenarios: Scenarios) -> Route {
    match random.between(0, 99) {
        0..=7 if scenarios.forks => Route::Parallel,
        8..=14 if scenarios.forks => Route::Serial,
        15..=21 if scenarios.forks => Route::Failover,
        22..=27 if scenarios.forks => Route::Mixed,
        28..=31 if scenarios.forks => Route::Last,
        32..=36 => Route::Spiral,
        37 => Route::Loop,
        38..=40 if scenarios.stateless => Route::Stateless,
        41..=46 => Route::Up,
        47..=50 => Route::Across,
        _ => Route::Plain,
    }
}

pub(super) fn draw_caller(random: &mut Random, scenarios: Scenarios) -> Caller {
    match random.between(0, 99) {
        0..=3 => Caller::CancelsEarly,
        4..=14 => Caller::Cancels(u16::try_from(random.between(0, 2_500)).unwrap_or(0)),
        15..=24 => Caller::Listens,
        25..=29 => Caller::Races,
        30..=36 => Caller::Holds,
        37..=40 => Caller::OffersLate,
        41..=44 if scenarios.offers => Caller::Updates,
        45..=47 if scenarios.offers => Caller::Glares,
        48..=49 if scenarios.sessions => Caller::Dies,
        50 => Caller::Asks(Ask::Box),
        51..=52 => Caller::Asks(Ask::Options),
        53..=54 => Caller::Asks(Ask::Message),
        55 => Caller::Asks(Ask::Register),
        56 => Caller::Asks(Ask::Forged),
        57..=59 if scenarios.tricks => Caller::Leaves,
        60..=63 if scenarios.tricks => Caller::UpdatesEarly,
        64..=67 if scenarios.tricks => Caller::TriesAgain,
        _ => Caller::HangsUp,
    }
}

pub(super) fn draw_callee(
    random: &mut Random,
    route: Route,
    caller: Caller,
    scenarios: Scenarios,
) -> Callee {
    if matches!(caller, Caller::Leaves | Caller::UpdatesEarly) {
        return Callee::Forks(random.pick(&[2, 2, 3, 5, 7]));
    }
    let asks = matches!(caller, Caller::Asks(_));
    let alone = !route.forks();
    let mut ms = |low, high| u16::try_from(random.between(low, high)).unwrap_or(0);
    let (slow, late) = (ms(100, 6_000), ms(2_050, 6_000));
    match random.between(0, 99) {
        0..=4 => Callee::Refuses(486),
        5..=9 => Callee::Refuses(random.pick(&[302, 404, 480, 500, 401, 407, 603])),
        10..=12 if scenarios.forks => Callee::Refuses(503),
        13..=14 => Callee::IsDead,
        15..=17 => Callee::Rings,
        18..=19 => Callee::Insists,
        20..=22 => Callee::IsSlow(slow),
        23..=27 => Callee::SendsEarly,
        28..=30 if scenarios.offers => Callee::IsReliable,
        31..=33 if alone => Callee::Forks(2),
        34..=35 if alone && scenarios.forks => Callee::ForksTwice,
        // Where there are others to fall back on, failing is worth more.
        31..=40 if asks && scenarios.tricks => Callee::SendsBack,
        41..=50 if asks => Callee::IsDead,
        31..=35 => Callee::RingsLate(late),
        36..=38 if !alone && scenarios.tricks => Callee::IsSlowTwice(late),
        39..=60 if !alone => Callee::Refuses(random.pick(&[408, 503, 486, 404])),
        61..=63 => Callee::IsClosed(random.pick(&[300, 1_200, 5_000, u16::MAX])),
        64..=94 if route == Route::Across && scenarios.tricks => Callee::Steals,
        _ => Callee::Answers,
    }
}
