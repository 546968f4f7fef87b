//! What happened to one call, as people draw it.

use std::fmt::Write as _;

use trunkline_dataplane::tick::Tick;

use super::network::Sent;

/// Who takes part: a column of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// The caller.
    Caller,
    /// A box, in the order in which calls pass them.
    Box(u8),
    /// A callee.
    Callee(u8),
    /// Nobody: a dead address.
    Nobody,
}

impl Column {
    fn title(self) -> String {
        match self {
            Column::Caller => "caller".to_owned(),
            Column::Box(0) => "box A".to_owned(),
            Column::Box(_) => "box B".to_owned(),
            Column::Callee(number) => format!("callee {number}"),
            Column::Nobody => "nobody".to_owned(),
        }
    }
}

/// A message from one to another.
#[derive(Clone, Debug)]
pub struct Rung {
    /// When it was sent.
    pub at: Tick,
    /// By whom.
    pub from: Column,
    /// To whom.
    pub to: Column,
    /// What it was.
    pub name: String,
    /// What the network did to it.
    pub fate: Sent,
}

/// How wide a column is.
const WIDE: usize = 22;

/// Draws the rungs of a call.
#[must_use]
pub fn draw(rungs: &[Rung]) -> String {
    let mut columns: Vec<Column> = rungs.iter().flat_map(|rung| [rung.from, rung.to]).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut text = format!("{:>10}  ", "ms");
    for column in &columns {
        let _ = write!(text, "{:<WIDE$}", column.title());
    }
    text.push('\n');
    let place = |column| {
        columns
            .iter()
            .position(|known| *known == column)
            .unwrap_or(0)
    };
    for rung in rungs {
        let (from, to) = (place(rung.from), place(rung.to));
        let (left, right) = (from.min(to), from.max(to));
        let fate = match rung.fate {
            Sent::Once => "",
            Sent::Twice => " (twice)",
            Sent::Lost => " (lost)",
            Sent::Damaged => " (damaged)",
        };
        let label = format!("{}{fate}", rung.name);
        let tip = match (rung.fate, from < to) {
            (Sent::Lost, _) => 'x',
            (_, true) => '>',
            (_, false) => '<',
        };
        let room = (WIDE * (right - left)).saturating_sub(2);
        let arrow = if from < to {
            format!("{label:-^room$}{tip}")
        } else {
            format!("{tip}{label:-^room$}")
        };
        let whole = rung.at.0 / 1_000_000;
        let _ = write!(text, "{whole:>10}  ");
        for _ in 0..left {
            let _ = write!(text, "|{}", " ".repeat(WIDE - 1));
        }
        let _ = write!(text, "|{arrow}|");
        for _ in right + 1..columns.len() {
            let _ = write!(text, "{}|", " ".repeat(WIDE - 1));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_to_who_receives() {
        let rung = |from, to, fate| Rung {
            at: Tick::ms(5),
            from,
            to,
            name: "BYE".to_owned(),
            fate,
        };
        let text = draw(&[
            rung(Column::Caller, Column::Box(0), Sent::Once),
            rung(Column::Box(0), Column::Callee(1), Sent::Lost),
            rung(Column::Box(0), Column::Caller, Sent::Twice),
        ]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert!(lines[0].contains("BYE--------->|"), "{text}");
        assert!(lines[1].contains("x|"), "{text}");
        assert!(lines[2].contains("|<"), "{text}");
    }
}
