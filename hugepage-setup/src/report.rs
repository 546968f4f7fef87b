//! The findings for people (a table), for scripts (lines) and for programs (JSON).

use crate::row::Row;
use crate::row::State;
use comfy_table::ContentArrangement;
use comfy_table::Table;
use comfy_table::presets;
use serde::Serialize;

/// Whether nothing is bad. Warnings do not stop Trunkline.
pub fn is_ready(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.state != State::Bad)
}

/// One table and a sentence. Cells are not wrapped: a command must stay whole to
/// be copied.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["item", "found", "wanted", "state", "what to do"]);
    for row in rows {
        let state = row.state.to_string();
        table.add_row([&row.item, &row.found, &row.wanted, &state, &row.advice]);
    }
    let count = |state: State| rows.iter().filter(|row| row.state == state).count();
    let (bad, warn) = (count(State::Bad), count(State::Warn));
    let verdict = match (bad, warn) {
        (0, 0) => "Ready.".to_owned(),
        (0, _) => format!("Ready, with {warn} to look at."),
        _ => format!("Not ready: {bad} to put right, {warn} to look at."),
    };
    format!("{table}\n{verdict}\n")
}

/// One line a row, its five fields divided by tabs, the state first.
pub fn lines(rows: &[Row]) -> String {
    let line = |row: &Row| {
        format!(
            "{}\t{}\t{}\t{}\t{}\n",
            row.state, row.item, row.found, row.wanted, row.advice
        )
    };
    rows.iter().map(line).collect()
}

/// `{"ready": bool, "rows": [{item, found, wanted, state, advice}, ...]}`.
///
/// # Errors
/// None in practice: rows are strings.
pub fn json(rows: &[Row]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Report<'a> {
        ready: bool,
        rows: &'a [Row],
    }
    let report = Report {
        ready: is_ready(rows),
        rows,
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row::ok("kernel", "6.1", "5.18 or newer"),
            Row::ok("hugepages", "0 free", "16 free").but(State::Warn, "echo 16 > nr_hugepages"),
            Row::ok("eth0: queues", "1 rx, 1 tx", "2 each way").but(State::Bad, "ethtool -L"),
        ]
    }

    #[test]
    fn only_a_bad_row_makes_a_host_not_ready() {
        assert!(is_ready(&rows()[..2]));
        assert!(!is_ready(&rows()));
    }

    #[test]
    fn the_table_has_a_line_a_row_and_a_verdict() {
        let text = table(&rows());
        assert!(text.contains("echo 16 > nr_hugepages"), "{text}");
        assert!(
            text.ends_with("Not ready: 1 to put right, 1 to look at.\n"),
            "{text}"
        );
        assert!(table(&rows()[..2]).ends_with("Ready, with 1 to look at.\n"));
        assert!(table(&rows()[..1]).ends_with("Ready.\n"));
    }

    #[test]
    fn a_line_has_five_fields() {
        let text = lines(&rows());
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.split('\t').count() == 5));
        assert!(text.starts_with("ok\tkernel\t6.1\t"));
    }

    #[test]
    fn json_says_the_same() {
        let value: serde_json::Value = serde_json::from_str(&json(&rows()).unwrap()).unwrap();
        assert_eq!(value["ready"], false);
        assert_eq!(value["rows"][1]["state"], "warn");
        assert_eq!(value["rows"][2]["advice"], "ethtool -L");
    }
}
