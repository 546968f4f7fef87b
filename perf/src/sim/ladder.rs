//! What happened to one call, as people draw it.

use std::fmt::Write as _;

use trunkline_dataplane::ids::InterfaceIndex;
use trunkline_dataplane::tick::Tick;

/// A side of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where the call comes from.
    Caller = 0,
    /// Where it goes.
    Callee = 1,
}

impl Side {
    /// The other.
    #[must_use]
    pub const fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }

    /// The interface there.
    #[must_use]
    pub const fn interface(self) -> InterfaceIndex {
        InterfaceIndex(self as u8)
    }
}

/// A message between a party and the box.
#[derive(Clone, Debug)]
pub struct Rung {
    /// When it was sent.
    pub at: Tick,
    /// The party it came from or was for.
    pub side: Side,
    /// True where the box sent it.
    pub by_box: bool,
    /// What it was.
    pub name: String,
    /// What the network did to it: nothing, `lost`, `twice`.
    pub fate: &'static str,
}

/// Draws the rungs of a call.
#[must_use]
pub fn draw(rungs: &[Rung]) -> String {
    let mut text =
        "        ms  caller                        box                        callee\n".to_owned();
    for rung in rungs {
        let label = if rung.fate.is_empty() {
            rung.name.clone()
        } else {
            format!("{} ({})", rung.name, rung.fate)
        };
        let to_the_right = (rung.side == Side::Callee) == rung.by_box;
        let tip = if rung.fate == "lost" {
            "x"
        } else if to_the_right {
            ">"
        } else {
            "<"
        };
        let arrow = if to_the_right {
            format!("{label:-^26}{tip}")
        } else {
            format!("{tip}{label:-^26}")
        };
        let blank = " ".repeat(27);
        let (left, right) = match rung.side {
            Side::Caller => (arrow, blank),
            Side::Callee => (blank, arrow),
        };
        let whole = rung.at.0 / 1_000_000;
        let _ = writeln!(text, "{whole:>10}  |{left}|{right}|");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_to_who_receives() {
        let rung = |side, by_box, fate| Rung {
            at: Tick::ms(5),
            side,
            by_box,
            name: "BYE".to_owned(),
            fate,
        };
        let text = draw(&[
            rung(Side::Caller, false, ""),
            rung(Side::Callee, true, "lost"),
            rung(Side::Caller, true, ""),
        ]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert!(
            lines[0].contains("BYE------------>|") && lines[1].contains("x|"),
            "{text}"
        );
        assert!(lines[2].contains("|<"), "{text}");
    }
}
