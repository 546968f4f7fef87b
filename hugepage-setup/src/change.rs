//! What became of one setting when it was to be changed or put back.

use crate::setting::Setting;
use crate::stage::Stage;
use serde::Serialize;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It has the new value.
    Changed,
    /// It had it already.
    Unchanged,
    /// It would be changed (`--dry-run`).
    Planned,
    /// The device or the kernel has no such thing.
    DoesNotApply,
    /// Somebody else has changed it since: it was left as it is.
    Left,
    /// It was tried, and did not work.
    Failed,
}

/// One setting, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The stage that it belongs to.
    pub stage: Stage,
    /// What was to be changed, in words.
    pub setting: String,
    /// Its value before.
    pub from: String,
    /// Its new value.
    pub to: String,
    /// The shell line that does the same.
    pub command: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where that is not plain.
    pub reason: String,
}

impl Change {
    /// A change that has not begun.
    pub fn new(stage: Stage, setting: &Setting, from: &str, to: &str) -> Change {
        Change {
            stage,
            setting: setting.name(),
            from: from.to_owned(),
            to: to.to_owned(),
            command: setting.command(to),
            outcome: Outcome::Unchanged,
            reason: String::new(),
        }
    }

    /// The same with its end.
    pub fn ended(self, outcome: Outcome, reason: impl Into<String>) -> Change {
        Change {
            outcome,
            reason: reason.into(),
            ..self
        }
    }

    /// A line for people. Nothing where nothing was done.
    pub fn line(&self) -> Option<String> {
        let Change {
            stage,
            setting,
            reason,
            ..
        } = self;
        match self.outcome {
            Outcome::Changed if reason.is_empty() => None,
            Outcome::Changed => Some(format!("      {stage}: {setting}: {reason}")),
            Outcome::Unchanged | Outcome::Planned => None,
            Outcome::DoesNotApply => Some(format!(
                "      {stage}: {setting}: does not apply here: {reason}"
            )),
            Outcome::Left => Some(format!("LEFT: {stage}: {setting}: {reason}")),
            Outcome::Failed => Some(format!("FAIL: {stage}: {setting}: {reason}")),
        }
    }
}

/// Whether nothing failed.
pub fn all_well(changes: &[Change]) -> bool {
    changes
        .iter()
        .all(|change| change.outcome != Outcome::Failed)
}
