//! `trunkctl latency`, `trunkctl talkers`, and the media of a capture.

use super::Number;
use super::Paper;
use super::Text;
use super::Word;
use super::number;
use crate::api::types::Latency;
use crate::api::types::Percentiles;
use crate::api::types::Talkers;
use crate::cli::media::Stream;

impl Paper {
    /// The last seconds' latency, a part of `trunkctl stats`; nothing where nothing was sampled.
    #[must_use]
    pub fn recent(self, latency: &Latency) -> String {
        if latency.stages.iter().all(|of| of.recent.samples == 0) {
            return String::new();
        }
        let rows = latency
            .stages
            .iter()
            .map(|of| (of.stage.as_str(), of.recent));
        format!(
            "\nTime a stage takes, the last {} seconds\n{}",
            latency.recent_s,
            self.percentiles(rows)
        )
    }

    fn percentiles<'a>(self, rows: impl Iterator<Item = (&'a str, Percentiles)>) -> String {
        let columns = [
            Word("stage"),
            Number("samples"),
            Number("p50"),
            Number("p90"),
            Number("p99"),
            Number("p99.9"),
            Number("max"),
        ];
        let rows = rows.map(|(stage, of)| {
            let mut cells = vec![stage.to_owned(), number(of.samples)];
            let times = [of.p50_us, of.p90_us, of.p99_us, of.p999_us, of.max_us];
            cells.extend(times.iter().map(|us| match of.samples {
                0 => "-".to_owned(),
                _ => time(*us),
            }));
            cells
        });
        self.table(&columns, rows)
    }

    /// `trunkctl latency`
    #[must_use]
    pub fn latency(self, latency: &Latency) -> String {
        let stages = latency.stages.iter();
        let recent = stages.clone().map(|of| (of.stage.as_str(), of.recent));
        let all = stages.clone().map(|of| (of.stage.as_str(), of.since_start));
        let meaning = stages.map(|of| vec![of.stage.clone(), of.help.clone()]);
        format!(
            "The last {} seconds\n{}\nSince the start\n{}\n{}",
            latency.recent_s,
            self.percentiles(recent),
            self.percentiles(all),
            self.table(&[Word("stage"), Text("what is timed")], meaning)
        )
    }

    /// `trunkctl talkers`
    #[must_use]
    pub fn talkers(self, talkers: &Talkers) -> String {
        if talkers.talkers.is_empty() {
            return format!("No SIP in the last {} seconds\n", talkers.recent_s);
        }
        let columns = [
            Word("source"),
            Number("share"),
            Number("sampled messages"),
            Number("dropped"),
        ];
        let rows = talkers.talkers.iter().map(|talker| {
            vec![
                talker.address.clone(),
                format!("{:.1} %", talker.share_percent),
                number(talker.messages),
                number(talker.dropped),
            ]
        });
        format!(
            "Sources of SIP, the last {} seconds\n{}",
            talkers.recent_s,
            self.table(&columns, rows)
        )
    }
}

/// The streams of a capture.
#[must_use]
pub fn media_rows(paper: Paper, streams: &[Stream]) -> String {
    let columns = [
        Word("kind"),
        Word("from"),
        Word("to"),
        Number("packets"),
        Number("missing"),
        Number("seconds"),
    ];
    let rows = streams.iter().map(|stream| {
        let [first, last] = stream.between;
        let (kind, missing) = match stream.payload_type {
            Some(kind) => (format!("RTP {kind}"), number(stream.missing())),
            None => ("RTCP".to_owned(), "-".to_owned()),
        };
        vec![
            kind,
            stream.source.to_string(),
            stream.destination.to_string(),
            number(stream.packets),
            missing,
            format!("{:.1}", last.saturating_sub(first).as_secs_f64()),
        ]
    });
    paper.table(&columns, rows)
}

/// Microseconds for a person: 0.85 µs, 12.3 µs, 1.20 ms, 3.40 s.
fn time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1e3 => (us, "µs"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    match value {
        value if value < 10.0 => format!("{value:.2} {unit}"),
        value if value < 100.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}
