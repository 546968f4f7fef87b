//! `trunkctl calls`, `call` and `flows`.

use std::fmt::Write as _;

use super::Number;
use super::Paper;
use super::Word;
use super::duration;
use super::incomplete;
use super::known;
use super::number;
use super::plural;
use crate::api::types::Call;
use crate::api::types::Calls;
use crate::api::types::Flow;
use crate::api::types::Flows;
use crate::api::types::Leg;

impl Paper {
    /// `trunkctl calls`
    #[must_use]
    pub fn calls(self, calls: &Calls) -> String {
        let columns = [
            Word("Call-ID"),
            Word("state"),
            Word("parties"),
            Word("trunks"),
            Number("worker"),
            Number("age"),
        ];
        let rows = calls.calls.iter().map(|call| {
            vec![
                call.id.clone(),
                call.state.clone(),
                format!("{} → {}", user(&call.from), user(&call.to)),
                trunks(call),
                call.worker.to_string(),
                duration(call.age_s),
            ]
        });
        let text = match calls.calls.len() {
            0 => "no calls\n".to_owned(),
            count => format!(
                "{}\n{}\n",
                self.table(&columns, rows),
                plural(count, "call")
            ),
        };
        text + incomplete(calls.complete)
    }

    /// `trunkctl calls --by-subscriber`
    #[must_use]
    pub fn callers(self, calls: &Calls) -> String {
        let columns = [Word("subscriber"), Number("calls"), Number("at most")];
        let rows = calls.subscribers.iter().map(|row| {
            vec![
                row.subscriber.clone(),
                number(row.calls as u64),
                row.calls_max
                    .map_or_else(|| "-".to_owned(), |most| number(most.into())),
            ]
        });
        let text = match calls.subscribers.is_empty() {
            true => "No subscriber has begun a call.\n".to_owned(),
            false => self.table(&columns, rows) + "\n",
        };
        text + incomplete(calls.complete)
    }

    /// `trunkctl call ID`
    #[must_use]
    pub fn call(self, call: &Call) -> String {
        let mut text = String::new();
        let talk = call
            .talk_s
            .map_or_else(|| "not answered".to_owned(), duration);
        for (name, value) in [
            ("Call-ID", call.id.clone()),
            ("state", call.state.clone()),
            ("from", call.from.clone()),
            ("to", call.to.clone()),
            ("trunks", trunks(call)),
            ("worker", call.worker.to_string()),
            ("age", duration(call.age_s)),
            ("answered for", talk),
        ] {
            let _ = writeln!(text, "{name:<13} {value}");
        }
        if let Some(subscriber) = &call.subscriber {
            let _ = writeln!(text, "{:<13} {subscriber}", "begun by");
        }
        if call.streams.is_empty() {
            text += "\nno media\n";
        }
        for (index, stream) in (1..).zip(&call.streams) {
            let _ = writeln!(text, "\nStream {index}");
            let columns = [
                Word("side"),
                Word("its media"),
                Word("our port"),
                Word("kind"),
                Number("packets in"),
                Number("forwarded"),
                Number("dropped"),
            ];
            let rows = legs("caller", &stream.caller)
                .into_iter()
                .chain(legs("callee", &stream.callee));
            text += &self.table(&columns, rows);
        }
        text
    }

    /// `trunkctl flows`: what fits 80 columns; who owns a flow and how much of it went on is
    /// in its JSON.
    #[must_use]
    pub fn flows(self, flows: &Flows) -> String {
        let columns = [
            Word("our port"),
            Word("kind"),
            Word("from"),
            Word("to"),
            Number("packets in"),
            Number("dropped"),
        ];
        let rows = flows.flows.iter().map(|flow| {
            vec![
                flow.local.clone(),
                flow.kind.clone(),
                known(flow.source.as_deref()),
                known(flow.destination.as_deref()),
                number(flow.packets_in),
                number(flow.packets_dropped),
            ]
        });
        let text = match flows.flows.len() {
            0 => "no flows\n".to_owned(),
            count => format!(
                "{}\n{}\n",
                self.table(&columns, rows),
                plural(count, "flow")
            ),
        };
        text + incomplete(flows.complete)
    }
}

/// A row for each flow of this side, or one without counts where there is none.
fn legs(side: &str, leg: &Leg) -> Vec<Vec<String>> {
    let row = |flow: &Flow| {
        vec![
            side.to_owned(),
            known(flow.source.as_deref()),
            flow.local.clone(),
            flow.kind.clone(),
            number(flow.packets_in),
            number(flow.packets_out),
            number(flow.packets_dropped),
        ]
    };
    if leg.flows.is_empty() {
        let none = || "-".to_owned();
        let peer = known(leg.peer.as_deref());
        let closed = "closed".to_owned();
        return vec![vec![
            side.to_owned(),
            peer,
            leg.relay.clone(),
            closed,
            none(),
            none(),
            none(),
        ]];
    }
    leg.flows.iter().map(row).collect()
}

/// The user of a SIP URI, or its host where it names no user: what fits a row.
fn user(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let end = rest.find(['@', ';', '?']).unwrap_or(rest.len());
    &rest[..end]
}

fn trunks(call: &Call) -> String {
    let name = |trunk: &Option<String>| trunk.clone().unwrap_or_else(|| "?".to_owned());
    format!("{} → {}", name(&call.caller), name(&call.callee))
}
