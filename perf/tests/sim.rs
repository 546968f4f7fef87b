//! The simulator's batch: many seeds of mixed calls in fair and in bad weather. The larger one
//! of `scripts/test` runs the release build.

use trunkline_dataplane::counters::Counter;
use trunkline_perf::sim;
use trunkline_perf::sim::Crowd;
use trunkline_perf::sim::Options;
use trunkline_perf::sim::batch;
use trunkline_perf::sim::batch::Total;
use trunkline_perf::sim::network::Weather;

/// Runs the seeds and fails with all that failed.
fn hold(seeds: std::ops::RangeInclusive<u64>, options: Options) -> Total {
    let total = batch::run(seeds, options, 2, &|_, _| {});
    let failures: String = total.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{failures}");
    total
}

fn in_weather(weather: Weather) -> Options {
    Options {
        weather: Some(weather),
        restarts: Some(0),
        ..Options::default()
    }
}

#[test]
fn every_call_comes_to_what_it_should_in_fair_weather() {
    let total = hold(1..=4, in_weather(Weather::FAIR));
    // The batch must be worth something: calls of all kinds, on several workers.
    let count = |counter| total.counters.get(counter);
    assert!(count(Counter::CallsAnswered) > 400);
    assert!(count(Counter::MailIn) > 500);
    assert!(count(Counter::MediaSourceUnknown) > 100, "the strangers");
    assert!(count(Counter::MediaPortClosed) > 30, "the stragglers");
    assert!(count(Counter::SipStrayResponse) > 5, "the strays");
    assert!(count(Counter::SipToOwnListen) > 100, "the spirals");
    assert!(count(Counter::StatelessRequests) > 20, "without state");
    assert!(count(Counter::TransportErrors) > 10, "closed ports");
    assert!(count(Counter::DialogsRefused) > 10, "many phones");
    assert_eq!(count(Counter::SipMalformed), 0);
}

#[test]
fn the_boxes_hold_in_bad_weather_and_in_the_worst() {
    for weather in [Weather::BAD, Weather::WORST] {
        let total = hold(11..=14, in_weather(weather));
        assert!(total.counters.get(Counter::RetransmissionsAbsorbed) > 20);
    }
}

#[test]
fn the_edge_tells_phones_what_is_true_at_the_registrar() {
    let options = Options {
        edge: true,
        calls: 600,
        ..Options::default()
    };
    let total = hold(1..=4, options);
    let count = |counter| total.counters.get(counter);
    assert!(count(Counter::RegistersSpared) > 200);
    assert!(count(Counter::RegistersForwarded) > 1_000);
    assert!(count(Counter::FlowsForged) > 50, "changed and foreign ones");
    assert_eq!(count(Counter::PathsIgnored), 0);
}

#[test]
fn the_boxes_hold_through_restarts() {
    let options = Options {
        restarts: Some(3),
        ..Options::default()
    };
    let total = hold(21..=26, options);
    assert!(total.counters.get(Counter::SipBranchStale) > 5);
}

#[test]
fn calls_whose_messages_leave_by_the_kernel_come_to_the_same() {
    // Below an INVITE with a session description, above most else.
    let options = Options {
        mtu: 600,
        ..Options::default()
    };
    let total = hold(31..=33, options);
    assert!(total.counters.get(Counter::SipOverMtu) > 300);
    assert!(total.counters.get(Counter::SipSent) > 300);
}

#[test]
fn full_tables_refuse_what_is_new_and_let_every_bye_pass() {
    let options = Options {
        calls: 500,
        spread_ms: 3_000,
        boxes: Some(1),
        workers: Some(1),
        weather: Some(Weather::FAIR),
        restarts: Some(0),
        crowded: true,
        ..Options::default()
    };
    let total = hold(41..=42, options);
    let refused = [Counter::CallsRefused, Counter::TransactionsRefused];
    assert!(
        refused
            .map(|counter| total.counters.get(counter))
            .iter()
            .sum::<u64>()
            > 100
    );
}

#[test]
fn subscribers_prove_who_they_are_and_wait_no_longer_than_they_must() {
    let total = hold(51..=60, Options::default());
    let count = |counter| total.counters.get(counter);
    for (counter, least) in [
        (Counter::AuthGranted, 100),
        (Counter::AuthChallenges, 200),
        (Counter::AuthStale, 20),
        (Counter::AuthReplays, 2),
        (Counter::AuthFailures, 20),
        (Counter::AuthUnavailable, 5),
        (Counter::TicketsLate, 5),
        (Counter::BindingsAdded, 20),
        (Counter::BindingsRefreshed, 5),
        (Counter::BindingsRemoved, 2),
        (Counter::BindingsMoved, 5),
        (Counter::BindingsExpired, 5),
        (Counter::LocationQuestions, 5),
    ] {
        let name = counter.info().name;
        assert!(count(counter) > least, "{name} is {}", count(counter));
    }
    assert_eq!(count(Counter::TicketsRefused), 0);
}

#[test]
fn who_is_known_waits_for_nobody_while_the_store_says_nothing() {
    let options = Options {
        calls: 2_050,
        spread_ms: 41_000,
        crowd: Some(Crowd::Storm),
        ..Options::default()
    };
    let total = hold(61..=62, options);
    let count = |counter| total.counters.get(counter);
    assert!(count(Counter::TicketsLate) > 600, "in 33 s of 41");
    assert!(
        count(Counter::CallsAnswered) > 1_600,
        "of those who are known"
    );
    assert!(
        count(Counter::BindingsAdded) > 100,
        "of those who are not, while the store says something"
    );
}

#[test]
fn everybody_registers_and_later_does_so_again() {
    const USERS: usize = 600;
    let options = Options {
        calls: 2 * USERS,
        spread_ms: 12_000,
        crowd: Some(Crowd::Registers),
        weather: Some(Weather::BAD),
        ..Options::default()
    };
    let total = hold(71..=72, options);
    let count = |counter| total.counters.get(counter);
    assert_eq!(count(Counter::BindingsAdded), 2 * USERS as u64);
    // From another port some of them.
    let again = count(Counter::BindingsRefreshed) + count(Counter::BindingsMoved);
    assert_eq!(again, 2 * USERS as u64);
}

#[test]
fn a_seed_replays() {
    let options = Options {
        seed: 77,
        calls: 60,
        weather: Some(Weather::WORST),
        restarts: Some(1),
        ..Options::default()
    };
    let runs = [0, 1].map(|_| sim::run(options, false).unwrap().trace);
    assert_eq!(runs[0], runs[1]);
    let other = Options {
        seed: 78,
        ..options
    };
    assert_ne!(sim::run(other, false).unwrap().trace, runs[0]);
}
