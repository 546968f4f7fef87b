//! One finding: what was found, what is wanted, and what to do about it.

use crate::setting::Setting;
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

/// One change that `apply` makes: a setting and the value it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is changed.
    pub setting: Setting,
    /// Its new value.
    pub to: String,
}

impl Step {
    /// The shell line that does the same.
    pub fn command(&self) -> String {
        self.setting.command(&self.to)
    }
}

/// A finding of one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was looked at, as `hugepages` or `access: queues`.
    pub item: String,
    /// What there is.
    pub found: String,
    /// What Trunkline needs.
    pub wanted: String,
    /// How the two compare.
    pub state: State,
    /// A sentence, or the command that puts it right; empty when there is nothing to do.
    pub advice: String,
    /// What `apply` does about it; empty where that is a person's to decide.
    pub steps: Vec<Step>,
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
            steps: Vec::new(),
        }
    }

    /// The same finding, but something is to be done about it by a person.
    pub fn but(self, state: State, advice: impl Into<String>) -> Row {
        Row {
            state,
            advice: advice.into(),
            ..self
        }
    }

    /// The same finding, but `apply` has something to do about it.
    pub fn needs(self, state: State, steps: Vec<Step>) -> Row {
        let commands: Vec<String> = steps.iter().map(Step::command).collect();
        Row {
            state,
            advice: commands.join("; "),
            steps,
            ..self
        }
    }

    /// Does not apply here; `found` says why.
    pub fn not_applicable(item: &str, found: impl Into<String>, wanted: impl Into<String>) -> Row {
        Row::ok(item, found, wanted).but(State::NotApplicable, "")
    }
}
