//! One finding: what was found, what is wanted, and what to do about it.

use serde::Serialize;
use std::fmt;

/// How a finding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing to do.
    Ok,
    /// It will run, but not as well as it could.
    Warn,
    /// It will not run, or will lose traffic.
    Bad,
    /// Does not apply here, or cannot be seen from here; `found` says which.
    #[serde(rename = "n/a")]
    NotApplicable,
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Bad => "bad",
            State::NotApplicable => "n/a",
        })
    }
}

/// A finding of one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was looked at, as `hugepages` or `access: queues`.
    pub item: String,
    /// What there is.
    pub found: String,
    /// What Trunkline needs.
    pub wanted: String,
    /// How the two compare.
    pub state: State,
    /// The command that puts it right, or a sentence; empty when there is nothing to do.
    pub advice: String,
}

impl Row {
    /// A row with nothing to do.
    pub fn ok(item: &str, found: impl Into<String>, wanted: impl Into<String>) -> Row {
        Row {
            item: item.to_owned(),
            found: found.into(),
            wanted: wanted.into(),
            state: State::Ok,
            advice: String::new(),
        }
    }

    /// The same finding, but something is to be done about it.
    pub fn but(self, state: State, advice: impl Into<String>) -> Row {
        Row {
            state,
            advice: advice.into(),
            ..self
        }
    }
}
