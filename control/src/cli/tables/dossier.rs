//! `trunkctl subscriber show` and `trunkctl denials`.

use std::fmt::Write as _;

use super::Number;
use super::Paper;
use super::Text;
use super::Word;
use super::duration;
use super::incomplete;
use super::number;
use crate::api::types::Believed;
use crate::api::types::Denial;
use crate::api::types::Denials;
use crate::api::types::Dossier;
use crate::api::types::Registrations;
use crate::api::types::Stored;

impl Paper {
    /// `trunkctl subscriber show`
    #[must_use]
    pub fn dossier(self, dossier: &Dossier) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<13} {value}");
        };
        line(
            "subscriber",
            &format!("{}@{}", dossier.user, dossier.domain),
        );
        match &dossier.stored {
            Some(said) => {
                line("store", &stored(said));
                for worker in &dossier.workers {
                    line(&format!("worker {}", worker.worker), &believed(worker));
                }
            }
            None => line(
                "store",
                "none: its registrar, elsewhere, knows its password",
            ),
        }
        let calls = number(dossier.calls);
        line(
            "calls begun",
            &match dossier.calls_max {
                0 => "not counted: its domain has no limit".to_owned(),
                most => format!("{calls} of {}", number(most.into())),
            },
        );
        match &dossier.denial {
            Some(denial) => {
                line(
                    "last refused",
                    &format!("{} ago, from {}", ago(denial.last_s), denial.source),
                );
                line("", &denial.because);
                line("", &times(denial));
            }
            None => line("last refused", "never, as far as the workers remember"),
        }
        for ban in &dossier.bans {
            let left = ago(ban.expires_in_s.into());
            line(
                "banned",
                &format!(
                    "{}, for {left} more: `trunkctl bans remove {}`",
                    ban.source, ban.source
                ),
            );
        }
        text.push('\n');
        let registrations = Registrations {
            registrations: dossier.registrations.clone(),
            complete: true,
        };
        text += &match dossier.registrations.is_empty() {
            true => "It has not registered: calls to it find nobody.\n".to_owned(),
            false => self.registrations(&registrations, None),
        };
        text + incomplete(dossier.complete)
    }

    /// `trunkctl denials`
    #[must_use]
    pub fn denials(self, all: &Denials) -> String {
        let columns = [
            Word("subscriber"),
            Number("refused"),
            Number("last, ago"),
            Word("from"),
            Text("because"),
        ];
        let rows = all.denials.iter().map(|denial| {
            vec![
                format!("{}@{}", denial.user, denial.domain),
                number(denial.count),
                ago(denial.last_s),
                denial.source.to_string(),
                denial.because.clone(),
            ]
        });
        let text = match all.denials.is_empty() {
            true => {
                "No subscriber was refused anything, as far as the workers remember.\n".to_owned()
            }
            false => self.table(&columns, rows),
        };
        text + incomplete(all.complete)
    }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => duration(seconds as f64),
    }
}

fn times(denial: &Denial) -> String {
    match denial.count {
        1 => "once".to_owned(),
        count => format!("{} times in {}", number(count), ago(denial.since_s)),
    }
}

fn stored(said: &Stored) -> String {
    let took = format!("asked now, {} ms", number(said.took_ms));
    match (said.answer.as_str(), &said.error) {
        ("known", _) if said.lacking.is_empty() => {
            format!("knows it, by {} ({took})", said.algorithms.join(", "))
        }
        ("known", _) => {
            let lacking = said.lacking.join(" and ");
            format!(
                "knows it, without an HA1 for {lacking}, by which its domain challenges ({took})"
            )
        }
        ("unknown", _) => format!("knows no such subscriber ({took})"),
        (_, Some(error)) => error.clone(),
        (other, None) => other.to_owned(),
    }
}

fn believed(worker: &Believed) -> String {
    let (since, left) = (ago(worker.since_s), ago(worker.expires_in_s));
    let mut text = match worker.belief.as_str() {
        "known" => format!("told of it {since} ago, asks again in {left}"),
        "unknown" => format!("told {since} ago that there is none, asks again in {left}"),
        _ => "knows nothing of it: asks the store at its next request".to_owned(),
    };
    if let Some(proved) = worker.proved_s {
        let _ = write!(text, "; right password {} ago", ago(proved));
    }
    text
}
