//! The simulator's batch: many seeds of mixed calls in fair and in bad weather.

use trunkline_dataplane::counters::Counter;
use trunkline_perf::sim;
use trunkline_perf::sim::Options;
use trunkline_perf::sim::network::Weather;

const BAD: Weather = Weather {
    loss: 20,
    duplicate: 10,
    reorder: 30,
    damage: 5,
    delay_ms_max: 40,
};
const WORST: Weather = Weather { loss: 100, ..BAD };

/// Runs the seeds and fails with all that failed.
fn batch(seeds: std::ops::RangeInclusive<u64>, options: Options) -> Vec<sim::Summary> {
    let (mut summaries, mut failures) = (Vec::new(), String::new());
    for seed in seeds {
        match sim::run(Options { seed, ..options }, false) {
            Ok(summary) => summaries.push(summary),
            Err(failure) => failures.push_str(&failure.to_string()),
        }
    }
    assert!(failures.is_empty(), "{failures}");
    summaries
}

fn sum(summaries: &[sim::Summary], counter: Counter) -> u64 {
    summaries
        .iter()
        .map(|summary| summary.counters.get(counter))
        .sum()
}

#[test]
fn every_call_comes_to_what_it_should_in_fair_weather() {
    let summaries = batch(1..=200, Options::default());
    // The batch must be worth something: calls of all kinds, on both workers.
    assert!(sum(&summaries, Counter::CallsAnswered) > 2_000);
    assert!(sum(&summaries, Counter::MailIn) > 5_000);
    assert!(
        sum(&summaries, Counter::MediaSourceUnknown) > 2_000,
        "the strangers"
    );
    assert!(
        sum(&summaries, Counter::MediaPortClosed) > 1_000,
        "the stragglers"
    );
    assert_eq!(sum(&summaries, Counter::SipMalformed), 0);
}

#[test]
fn nothing_is_retransmitted_where_nothing_is_lost_and_somebody_answers() {
    for summary in batch(1..=20, Options::default()) {
        // Timer A sends six times more what nobody answers, until Timer B.
        let silent = summary.counters.get(Counter::TransactionTimeouts);
        assert_eq!(summary.counters.get(Counter::Retransmissions), 6 * silent);
    }
}

#[test]
fn the_box_holds_in_bad_weather() {
    let summaries = batch(
        1001..=1200,
        Options {
            weather: BAD,
            ..Options::default()
        },
    );
    assert!(sum(&summaries, Counter::RetransmissionsAbsorbed) > 100);
}

#[test]
fn the_box_holds_in_the_worst_weather() {
    let summaries = batch(
        2001..=2200,
        Options {
            weather: WORST,
            ..Options::default()
        },
    );
    assert!(sum(&summaries, Counter::RetransmissionsAbsorbed) > 1_000);
}

#[test]
fn calls_whose_messages_leave_by_the_kernel_come_to_the_same() {
    // Below an INVITE with a session description, above most else.
    let options = Options {
        mtu: 600,
        ..Options::default()
    };
    let fair = batch(4001..=4040, options);
    let bad = batch(
        4041..=4080,
        Options {
            weather: BAD,
            ..options
        },
    );
    for summaries in [&fair, &bad] {
        assert!(sum(summaries, Counter::SipOverMtu) > 500);
        assert!(sum(summaries, Counter::SipSent) > 500);
        assert!(sum(summaries, Counter::CallsAnswered) > 200);
    }
}

#[test]
fn one_worker_and_four_do_as_two_do() {
    for workers in [1, 4] {
        let _ = batch(
            3001..=3020,
            Options {
                workers,
                weather: BAD,
                ..Options::default()
            },
        );
    }
}

#[test]
fn many_calls_at_once_fill_the_tables_and_are_refused_by_name() {
    let options = Options {
        calls: 400,
        spread_ms: 300,
        crowded: true,
        ..Options::default()
    };
    let summaries = batch(1..=2, options);
    assert!(sum(&summaries, Counter::CallsRefused) > 50);
}

#[test]
fn full_tables_refuse_what_is_new_and_let_every_bye_pass() {
    let options = Options {
        calls: 700,
        spread_ms: 10_000,
        crowded: true,
        ..Options::default()
    };
    let summaries = batch(1..=2, options);
    assert!(sum(&summaries, Counter::TransactionsRefused) > 100);
}

#[test]
fn a_seed_replays() {
    let options = Options {
        seed: 77,
        weather: WORST,
        ..Options::default()
    };
    let runs = [0, 1].map(|_| sim::run(options, false).unwrap().trace);
    assert_eq!(runs[0], runs[1]);
    let other = sim::run(
        Options {
            seed: 78,
            ..options
        },
        false,
    )
    .unwrap();
    assert_ne!(other.trace, runs[0]);
}
