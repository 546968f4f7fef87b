//! What a person sees: tables with units, and sentences where there is nothing.

mod bans;
mod calls;
mod dossier;
mod network;
mod reference;
mod registrations;
mod samples;
mod stats;
mod status;
mod subscribers;
mod trunks;
mod workers;

use comfy_table::Cell;
use comfy_table::CellAlignment;
use comfy_table::ColumnConstraint;
use comfy_table::ContentArrangement;
use comfy_table::Table;
use comfy_table::presets;

pub(super) use self::samples::media_rows;
use crate::api::types::Sum;

/// Where the tables go.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// True where they may be fitted to the terminal's width.
    pub fit: bool,
}

/// How a column stands.
#[derive(Clone, Copy)]
enum Column<'t> {
    /// Text that may be broken over lines where the terminal is narrow.
    Text(&'t str),
    /// A name or an address: broken it could not be copied.
    Word(&'t str),
    /// To the right, and never broken.
    Number(&'t str),
}
use Column::Number;
use Column::Text;
use Column::Word;

impl Paper {
    fn table(self, columns: &[Column<'_>], rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic);
        if !self.fit {
            table.force_no_tty();
        }
        // What a phone has sent stands there as well, and is nothing to do with the terminal.
        let shown = |text: String| text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
        let cell = |column: &Column<'_>, text: String| match column {
            Text(_) | Word(_) => Cell::new(text),
            Number(_) => Cell::new(text).set_alignment(CellAlignment::Right),
        };
        let title = |column: &Column<'_>| match column {
            Text(title) | Word(title) | Number(title) => cell(column, (*title).to_owned()),
        };
        table.set_header(columns.iter().map(title));
        for row in rows {
            table.add_row(
                columns
                    .iter()
                    .zip(row)
                    .map(|(column, text)| cell(column, shown(text))),
            );
        }
        for (index, column) in columns.iter().enumerate() {
            if let (Word(_) | Number(_), Some(shown)) = (column, table.column_mut(index)) {
                shown.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        // No blank at the end of a line: it would wrap in a narrow terminal.
        table.lines().fold(String::new(), |mut text, line| {
            text.push_str(line.trim_end());
            text.push('\n');
            text
        })
    }

    fn sums(self, sums: &[Sum], unchecked: &[String]) -> String {
        let rows = sums.iter().map(|sum| {
            vec![
                sum.name.clone(),
                number(sum.left),
                number(sum.right),
                verdict(sum.difference),
            ]
        });
        let rows = rows.chain(unchecked.iter().map(|name| {
            let none = || "-".to_owned();
            vec![name.clone(), none(), none(), "not checked".to_owned()]
        }));
        let columns = [
            Text("sum"),
            Number("left"),
            Number("right"),
            Word("verdict"),
        ];
        format!("\nSums\n{}", self.table(&columns, rows))
    }
}

/// What a person is told of the difference of two sides of a sum.
fn verdict(difference: i64) -> String {
    let off = number(difference.unsigned_abs());
    match difference {
        0 => "exact".to_owned(),
        1.. => format!("{off} under way"),
        _ => format!("{off} too many"),
    }
}

fn known(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

fn core(core: Option<u16>) -> String {
    core.map_or_else(|| "any".to_owned(), |core| core.to_string())
}

fn busy(percent: Option<f64>) -> String {
    percent.map_or_else(|| "-".to_owned(), |busy| format!("{busy:.1} %"))
}

fn incomplete(complete: bool) -> &'static str {
    if complete {
        ""
    } else {
        "A worker did not answer in time: there may be more.\n"
    }
}

fn missing(complete: bool) -> &'static str {
    if complete {
        ""
    } else {
        "Figures are missing: a worker did not answer, or an XDP program's counts could not be read.\n"
    }
}

fn plural(count: usize, what: &str) -> String {
    format!(
        "{} {what}{}",
        number(count as u64),
        if count == 1 { "" } else { "s" }
    )
}

/// 1234567 as 1,234,567.
pub(in crate::cli) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration that is known to the second.
fn seconds(whole: u32) -> String {
    match whole {
        0..60 => format!("{whole} s"),
        60.. => duration(whole.into()),
    }
}

pub(in crate::cli) fn duration(seconds: f64) -> String {
    // Negative and endless ones do not come; a cast saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {:02} h", whole / 86_400, whole / 3600 % 24),
    }
}
