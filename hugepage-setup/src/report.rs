//! The findings for people (a table), for scripts (lines) and for programs (JSON).

use crate::change::Change;
use crate::change::all_well;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::stage::Stage;
use comfy_table::Cell;
use comfy_table::Color;
use comfy_table::ContentArrangement;
use comfy_table::Table;
use comfy_table::presets;
use serde::Serialize;
use std::fmt::Write;

/// A row and the stage that found it.
pub type Found = (Stage, Row);

/// Whether nothing is bad. Warnings do not stop Trunkline.
pub fn is_ready(rows: &[Found]) -> bool {
    rows.iter().all(|(_, row)| row.state != State::Bad)
}

/// Whether `apply` has nothing to do.
pub fn is_applied(rows: &[Found]) -> bool {
    rows.iter().all(|(_, row)| row.steps.is_empty())
}

/// The host's own rows first, then those of one interface after the other.
pub fn by_interface(rows: &mut [Found], interfaces: &[String]) {
    rows.sort_by_key(|(_, row)| {
        let of = row.item.split_once(": ").map(|(name, _)| name);
        of.and_then(|name| interfaces.iter().position(|other| other == name))
            .map_or(0, |position| position + 1)
    });
}

/// One table, a list of what to do, and a sentence. Commands stand below the table: there
/// they are whole, however narrow the terminal.
pub fn table(title: &str, rows: &[Found]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["item", "found", "wanted", "state"]);
    let mut to_do = Vec::new();
    for (_, row) in rows {
        let mut state = row.state.to_string();
        if !row.advice.is_empty() {
            to_do.push(row);
            let _ = write!(state, " {}", to_do.len());
        }
        let mut cell = Cell::new(state);
        if let Some(color) = color(row.state) {
            cell = cell.fg(color);
        }
        table.add_row(vec![
            Cell::new(&row.item),
            Cell::new(&row.found),
            Cell::new(&row.wanted),
            cell,
        ]);
    }
    let mut text = format!("{title}\n{table}\n");
    if !to_do.is_empty() {
        text +=
            "\nWhat to do, by the number in the last column; + is done by hugepage-setup apply:\n";
    }
    for (number, row) in to_do.iter().enumerate() {
        let _ = write!(text, "{}", advice(number + 1, row));
    }
    format!("{text}\n{}\n", verdict(rows))
}

fn color(state: State) -> Option<Color> {
    match state {
        State::Ok => Some(Color::Green),
        State::Warn => Some(Color::Yellow),
        State::Bad => Some(Color::Red),
        State::NotApplicable => None,
    }
}

/// A line for each command, or for the sentence.
fn advice(number: usize, row: &Row) -> String {
    if row.steps.is_empty() {
        return format!("{number:>3}   {}: {}\n", row.item, row.advice);
    }
    let commands: Vec<String> = row.steps.iter().map(Step::command).collect();
    format!("{number:>3} + {}\n", commands.join("\n    + "))
}

fn verdict(rows: &[Found]) -> String {
    let count = |state: State| rows.iter().filter(|(_, row)| row.state == state).count();
    match (count(State::Bad), count(State::Warn)) {
        (0, 0) => "Ready.".to_owned(),
        (0, warn) => format!("Ready, with {warn} to look at."),
        (bad, warn) => format!("Not ready: {bad} to put right, {warn} to look at."),
    }
}

/// One line a row, its six fields divided by tabs, the state first.
pub fn lines(rows: &[Found]) -> String {
    let line = |(stage, row): &Found| {
        format!(
            "{}\t{stage}\t{}\t{}\t{}\t{}\n",
            row.state, row.item, row.found, row.wanted, row.advice
        )
    };
    rows.iter().map(line).collect()
}

#[derive(Serialize)]
struct JsonRow<'a> {
    stage: Stage,
    item: &'a str,
    found: &'a str,
    wanted: &'a str,
    state: State,
    advice: &'a str,
    commands: Vec<String>,
}

fn json_rows(rows: &[Found]) -> Vec<JsonRow<'_>> {
    rows.iter().map(json_row).collect()
}

fn json_row((stage, row): &Found) -> JsonRow<'_> {
    JsonRow {
        stage: *stage,
        item: &row.item,
        found: &row.found,
        wanted: &row.wanted,
        state: row.state,
        advice: &row.advice,
        commands: row.steps.iter().map(Step::command).collect(),
    }
}

/// What `check` and `doctor` say: `{"ready": bool, "applied": bool, "rows": [{stage, item,
/// found, wanted, state, advice, commands}, ...]}`.
///
/// # Errors
/// None in practice: rows are strings.
pub fn json(rows: &[Found]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Report<'a> {
        ready: bool,
        applied: bool,
        rows: Vec<JsonRow<'a>>,
    }
    let report = Report {
        ready: is_ready(rows),
        applied: is_applied(rows),
        rows: json_rows(rows),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// What `apply` and `undo` say: `{"done": bool, "changes": [{stage, setting, from, to,
/// command, outcome, reason}, ...], "bad": [rows that are bad still]}`.
///
/// # Errors
/// None in practice: changes are strings.
pub fn json_changes(changes: &[Change], bad: &[Found]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Report<'a> {
        done: bool,
        changes: &'a [Change],
        bad: Vec<JsonRow<'a>>,
    }
    let report = Report {
        done: all_well(changes) && bad.is_empty(),
        changes,
        bad: json_rows(bad),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Setting;

    fn rows() -> Vec<Found> {
        let step = Step {
            setting: Setting::Channels {
                device: "eth0".to_owned(),
            },
            to: "combined 2".to_owned(),
        };
        vec![
            (Stage::Kernel, Row::ok("kernel", "6.1", "5.18 or newer")),
            (
                Stage::Cpu,
                Row::ok("cores: clock", "powersave", "performance")
                    .but(State::Warn, "cpupower -g performance"),
            ),
            (
                Stage::Queues,
                Row::ok("eth0: queues", "1 rx, 1 tx", "2 each way").needs(State::Bad, vec![step]),
            ),
        ]
    }

    #[test]
    fn only_a_bad_row_makes_a_host_not_ready() {
        assert!(is_ready(&rows()[..2]) && is_applied(&rows()[..2]));
        assert!(!is_ready(&rows()) && !is_applied(&rows()));
    }

    #[test]
    fn the_table_numbers_what_is_to_do_and_ends_with_a_verdict() {
        let text = table("Title", &rows());
        assert!(text.starts_with("Title\n"), "{text}");
        assert!(text.contains("warn 1") && text.contains("bad 2"), "{text}");
        assert!(
            text.contains("\n  1   cores: clock: cpupower -g performance\n"),
            "{text}"
        );
        assert!(
            text.contains("\n  2 + ethtool -L eth0 combined 2\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\nNot ready: 1 to put right, 1 to look at.\n"),
            "{text}"
        );
        assert!(table("", &rows()[..2]).ends_with("Ready, with 1 to look at.\n"));
        assert!(table("", &rows()[..1]).ends_with("\nReady.\n"));
    }

    #[test]
    fn rows_of_an_interface_stand_together_behind_those_of_the_host() {
        let items = ["eth1: queues", "kernel", "eth0: queues", "cores: clock"];
        let row = |item: &str| (Stage::Kernel, Row::ok(item, "", ""));
        let mut rows: Vec<Found> = items.map(row).to_vec();
        by_interface(&mut rows, &["eth0".to_owned(), "eth1".to_owned()]);
        let sorted: Vec<&str> = rows.iter().map(|(_, row)| row.item.as_str()).collect();
        assert_eq!(
            sorted,
            ["kernel", "cores: clock", "eth0: queues", "eth1: queues"]
        );
    }

    #[test]
    fn a_line_has_six_fields() {
        let text = lines(&rows());
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.split('\t').count() == 6));
        assert!(text.starts_with("ok\tkernel\tkernel\t6.1\t"));
    }

    #[test]
    fn json_says_the_same() {
        let value: serde_json::Value = serde_json::from_str(&json(&rows()).unwrap()).unwrap();
        assert_eq!(value["ready"], false);
        assert_eq!(value["rows"][1]["state"], "warn");
        assert_eq!(value["rows"][2]["stage"], "queues");
        assert_eq!(
            value["rows"][2]["commands"][0],
            "ethtool -L eth0 combined 2"
        );
    }
}
