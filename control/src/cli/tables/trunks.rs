//! `trunkctl trunks`.

use super::Number;
use super::Paper;
use super::Text;
use super::Word;
use super::known;
use super::number;
use crate::api::types::Trunks;

impl Paper {
    /// `trunkctl trunks`
    #[must_use]
    pub fn trunks(self, trunks: &Trunks) -> String {
        let columns = [
            Word("trunk"),
            Text("requests come from"),
            Text("targets"),
            Word("listen"),
            Word("media"),
        ];
        let rows = trunks.trunks.iter().map(|trunk| {
            vec![
                trunk.name.clone(),
                match trunk.sources.is_empty() {
                    // A domain: they prove that they are of it.
                    true => "its subscribers".to_owned(),
                    false => trunk.sources.join(", "),
                },
                known(
                    Some(trunk.targets.join(", "))
                        .filter(|targets| !targets.is_empty())
                        .as_deref(),
                ),
                trunk.listen.clone(),
                trunk.media.clone(),
            ]
        });
        let mut text = self.table(&columns, rows);
        text += "\nCalls: those that it began are in, those that were sent to it are out\n";
        let columns = [
            Word("trunk"),
            Number("calls now"),
            Number("calls in"),
            Number("answered"),
            Number("share"),
            Number("calls out"),
            Number("answered"),
            Number("share"),
        ];
        let rows = trunks.trunks.iter().map(|trunk| {
            let count = |name| trunk.count(name);
            vec![
                trunk.name.clone(),
                number(count("calls_now")),
                number(count("calls_in")),
                number(count("calls_in_answered")),
                share(count("calls_in_answered"), count("calls_in")),
                number(count("calls_out")),
                number(count("calls_out_answered")),
                share(count("calls_out_answered"), count("calls_out")),
            ]
        });
        text += &self.table(&columns, rows);
        text += "\nRequests, without repeated ones, ACK and CANCEL\n";
        let columns = [
            Word("trunk"),
            Number("in"),
            Number("rejected by the box"),
            Number("out"),
            Number("failovers"),
        ];
        let rows = trunks.trunks.iter().map(|trunk| {
            let mut row = vec![trunk.name.clone()];
            let counts = ["requests_in", "rejected", "requests_out", "failovers"];
            row.extend(counts.map(|name| number(trunk.count(name))));
            row
        });
        text += &self.table(&columns, rows);
        let mut domains = trunks.trunks.iter().filter(|it| it.is_domain).peekable();
        if domains.peek().is_none() {
            return text;
        }
        text += "\nDomains\n";
        let columns = [
            Word("domain"),
            Number("contacts"),
            Number("REGISTERs done"),
            Number("refused"),
            Number("authenticated"),
            Number("failed"),
        ];
        let rows = domains.map(|domain| {
            let mut row = vec![domain.name.clone()];
            let counts = [
                "contacts_now",
                "registered",
                "registrations_refused",
                "auth_granted",
                "auth_failures",
            ];
            row.extend(counts.map(|name| number(domain.count(name))));
            row
        });
        text + &self.table(&columns, rows)
    }
}

/// The answer-seizure ratio: answered calls of all calls.
fn share(part: u64, all: u64) -> String {
    if all == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", part as f64 / all as f64 * 100.0)
}
