//! What a run is told as: a summary for a person, and JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::run::Outcome;
use super::run::Window;
use super::script::Script;
use super::tally::Failure;
use super::tally::Measure;
use crate::measure::machine;

/// A generator that is busier than this is close to its own limit.
const BUSY_MOST: f64 = 0.9;
/// A generator whose calls begin later than this is not at the rate that was asked for.
const LATENESS_MOST: Duration = Duration::from_millis(2);

/// The shares of samples that are told.
const SHARES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p999", 0.999),
    ("max", 1.0),
];

/// Why the figures say more about the generator than about the box; empty if they do not.
#[must_use]
pub fn own_limits(outcome: &Outcome) -> Vec<String> {
    let mut limits = Vec::new();
    if outcome.busy > BUSY_MOST {
        limits.push(format!("busy {:.0} % of the time", outcome.busy * 100.0));
    }
    let late = outcome.tally.quantile(Measure::Lateness, 0.99);
    if late > LATENESS_MOST {
        limits.push(format!("1 % of the calls began more than {late:.1?} late"));
    }
    let counts = &outcome.tally.counts;
    for (count, what) in [
        (counts.no_seat, "calls had no seat: raise --open"),
        (counts.unsent, "datagrams found the transmit ring full"),
        (outcome.missed, "frames found the receive ring full"),
        (outcome.refused, "frames were refused by the driver"),
        (
            outcome.media.0.unsent,
            "RTP packets found the transmit ring full",
        ),
        (
            outcome.media.0.behind,
            "RTP packets left more than 5 ms late",
        ),
    ] {
        if count > 0 {
            limits.push(format!("{count} {what}"));
        }
    }
    limits
}

/// The summary for a person.
#[must_use]
pub fn summary(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let counts = &tally.counts;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "calls        {} begun, {} completed, {} failed, at most {} at once, in {:.1?}",
        counts.begun,
        counts.completed(),
        counts.failed(),
        counts.open_most,
        outcome.took,
    );
    if counts.open > 0 {
        let _ = writeln!(
            text,
            "unended      {} calls had not ended when the run did",
            counts.open
        );
    }
    let _ = writeln!(
        text,
        "messages     {} sent, {} of them again; {} received, {} of them again, {} stray, {} unreadable",
        counts.sent,
        counts.repeated,
        counts.received,
        counts.heard_again,
        counts.stray,
        counts.unreadable,
    );
    for failure in Failure::ALL {
        let count = counts.failed[failure as usize];
        if count > 0 {
            let _ = writeln!(text, "failed       {count} {}", failure.name());
        }
    }
    let _ = write!(text, "\n{:26} {:>9}", "time", "count");
    for (name, _) in SHARES {
        let _ = write!(text, " {name:>9}");
    }
    text.push('\n');
    for measure in Measure::ALL {
        let times = tally.times(measure);
        if times.is_empty() {
            continue;
        }
        let _ = write!(text, "{:26} {:>9}", measure.name(), times.len());
        for (_, share) in SHARES {
            let _ = write!(text, " {:>9}", short(tally.quantile(measure, share)));
        }
        text.push('\n');
    }
    let (media, transit) = &outcome.media;
    if media.sent > 0 {
        let _ = writeln!(
            text,
            "\nRTP          {} sent, {} received, {} lost, {} late, {} twice, {} stray",
            media.sent, media.received, media.lost, media.late, media.twice, media.stray,
        );
        let _ = write!(text, "{:26} {:>9}", "rtp_transit", transit.len());
        for (_, share) in SHARES {
            let time = Duration::from_nanos(transit.value_at_quantile(share));
            let _ = write!(text, " {:>9}", short(time));
        }
        text.push('\n');
    }
    let window = &outcome.window;
    let _ = writeln!(text, "\n{:26} {:>9} {:>9}", "CPU", "of a core", "a call");
    for (name, used) in &window.used {
        let _ = writeln!(
            text,
            "{name:26} {:>7.1} % {:>9}",
            used.as_secs_f64() / window.took.as_secs_f64().max(1e-9) * 100.0,
            short(a_call(*used, window)),
        );
    }
    let limits = own_limits(outcome);
    let _ = write!(
        text,
        "\ngenerator    busy {:.0} % of its core",
        outcome.busy * 100.0
    );
    match limits.is_empty() {
        true => text.push_str("; it was not the limit\n"),
        false => {
            let _ = writeln!(text, "; IT WAS THE LIMIT: {}", limits.join("; "));
        }
    }
    text
}

#[allow(clippy::cast_precision_loss, reason = "counts of calls")]
fn a_call(used: Duration, window: &Window) -> Duration {
    used.div_f64(window.begun.max(1) as f64)
}

/// A time in nine characters.
fn short(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..10.0 => format!("{micros:.2} µs"),
        ..1_000.0 => format!("{micros:.0} µs"),
        ..10_000.0 => format!("{:.2} ms", micros / 1e3),
        ..1_000_000.0 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}

/// The same, and all of it, for a program. Times are in nanoseconds.
#[must_use]
pub fn json(outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    let counts = &tally.counts;
    let by_name = |names: &[&str], counts: &[u64]| -> Value {
        let pairs = names.iter().zip(counts);
        pairs
            .map(|(&name, &count)| (name.to_owned(), count.into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let times: serde_json::Map<_, _> = Measure::ALL
        .into_iter()
        .filter(|&measure| !tally.times(measure).is_empty())
        .map(|measure| {
            let times = tally.times(measure);
            let mut values = serde_json::Map::new();
            values.insert("count".to_owned(), times.len().into());
            values.insert("mean".to_owned(), times.mean().into());
            for (name, share) in SHARES {
                values.insert(name.to_owned(), times.value_at_quantile(share).into());
            }
            (measure.name().to_owned(), values.into())
        })
        .collect();
    let window = &outcome.window;
    let used: serde_json::Map<_, _> = window
        .used
        .iter()
        .map(|(name, used)| {
            let figures = json!({
                "seconds": used.as_secs_f64(),
                "us_a_call": a_call(*used, window).as_secs_f64() * 1e6,
            });
            (name.clone(), figures)
        })
        .collect();
    json!({
        "machine": machine::facts(),
        "window": {
            "seconds": window.took.as_secs_f64(),
            "begun": window.begun,
            "cpu": used,
        },
        "seconds": outcome.took.as_secs_f64(),
        "calls": {
            "begun": counts.begun,
            "challenged": counts.challenged,
            "completed": by_name(&Script::ALL.map(Script::name), &counts.completed),
            "failed": by_name(&Failure::ALL.map(Failure::name), &counts.failed),
            "refused": by_name(&["3xx", "4xx", "5xx", "6xx"], &counts.refused),
            "open_at_end": counts.open,
            "open_most": counts.open_most,
        },
        "messages": {
            "sent": counts.sent,
            "repeated": counts.repeated,
            "repeated_in_calls": counts.repeated_in_calls,
            "received": counts.received,
            "heard_again": counts.heard_again,
            "stray": counts.stray,
            "unreadable": counts.unreadable,
        },
        "times_ns": times,
        "rtp": {
            "sent": outcome.media.0.sent,
            "received": outcome.media.0.received,
            "lost": outcome.media.0.lost,
            "late": outcome.media.0.late,
            "twice": outcome.media.0.twice,
            "stray": outcome.media.0.stray,
            "unsent": outcome.media.0.unsent,
            "behind": outcome.media.0.behind,
            "transit_ns": by_name(
                &SHARES.map(|(name, _)| name),
                &SHARES.map(|(_, share)| outcome.media.1.value_at_quantile(share)),
            ),
        },
        "generator": {
            "busy": outcome.busy,
            "no_seat": counts.no_seat,
            "tx_ring_full": counts.unsent,
            "rx_ring_full": outcome.missed,
            "driver_refused": outcome.refused,
            "was_the_limit": !own_limits(outcome).is_empty(),
            "why": own_limits(outcome),
        },
    })
}
