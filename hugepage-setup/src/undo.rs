//! Putting back what was found, the last change first.
//!
//! Only what `apply` has set is put back. A value that is another one by now is
//! somebody else's, and so is everything after a restart of the machine, but for files
//! on disk: these are left as they are, and said.

use crate::book::Book;
use crate::book::BookError;
use crate::book::Record;
use crate::change::Change;
use crate::change::Outcome;
use crate::host::Host;
use crate::setting::Refusal;
use crate::stage::Stage;

/// Puts back what the named stages changed, or all where none is named. `say` hears each
/// command before it runs, and what was left.
///
/// # Errors
/// The state file could not be written.
pub fn undo(
    host: &Host,
    stages: &[Stage],
    book: &mut Book,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Change>, BookError> {
    let mut changes = Vec::new();
    for record in chosen(stages, book) {
        let (change, is_over) = put_back(host, &record, book, &mut |line| say(line));
        if is_over {
            book.strike(&record)?;
        }
        if let Some(line) = change.line() {
            say(&line);
        }
        changes.push(change);
    }
    Ok(changes)
}

/// What would be put back now; nothing is changed.
pub fn plan(host: &Host, stages: &[Stage], book: &Book) -> Vec<Change> {
    let change = |record: &Record| match judge(host, record, book) {
        Verdict::PutBack(now) => begin(record, &now).ended(Outcome::Planned, ""),
        Verdict::Over(change) | Verdict::Kept(change) => change,
    };
    chosen(stages, book).iter().map(change).collect()
}

fn chosen(stages: &[Stage], book: &Book) -> Vec<Record> {
    let is_chosen = |record: &&Record| stages.is_empty() || stages.contains(&record.stage);
    let records = book.records().iter().rev();
    records.filter(is_chosen).cloned().collect()
}

enum Verdict {
    /// It has what `apply` set: this value.
    PutBack(String),
    /// Nothing is to be done, now or later.
    Over(Change),
    /// Nothing can be done from here; the record stays.
    Kept(Change),
}

fn begin(record: &Record, now: &str) -> Change {
    Change::new(record.stage, &record.setting, now, &record.found)
}

fn judge(host: &Host, record: &Record, book: &Book) -> Verdict {
    if book.is_elsewhere(record) {
        let reason = "it belongs to another network namespace: run undo there";
        return Verdict::Kept(begin(record, "").ended(Outcome::Left, reason));
    }
    let now = match record.setting.read(host) {
        Ok(now) => now,
        Err(Refusal::NotHere(reason)) => {
            return Verdict::Over(begin(record, "").ended(Outcome::Left, reason));
        }
        Err(Refusal::Failed(reason)) => {
            return Verdict::Kept(begin(record, "").ended(Outcome::Failed, reason));
        }
    };
    let change = begin(record, &now);
    if now == record.found {
        return Verdict::Over(change);
    }
    let shown = |value: &str| {
        if value.is_empty() {
            "empty".to_owned()
        } else {
            value.to_owned()
        }
    };
    if book.is_stale(record) {
        let reason = format!(
            "the machine was restarted since: it is {} now, and was {} before",
            shown(&now),
            shown(&record.found)
        );
        return Verdict::Over(change.ended(Outcome::Left, reason));
    }
    if now != record.set {
        let reason = format!(
            "changed by somebody else: it is {} now; we had set {}, and found {}",
            shown(&now),
            shown(&record.set),
            shown(&record.found)
        );
        return Verdict::Over(change.ended(Outcome::Left, reason));
    }
    Verdict::PutBack(now)
}

/// The change, and whether its record is over.
fn put_back(
    host: &Host,
    record: &Record,
    book: &Book,
    say: &mut dyn FnMut(&str),
) -> (Change, bool) {
    let now = match judge(host, record, book) {
        Verdict::PutBack(now) => now,
        Verdict::Over(change) => return (change, true),
        Verdict::Kept(change) => return (change, false),
    };
    let change = begin(record, &now);
    say(&format!("RUN:  {}", change.command));
    let result = record.setting.write(host, &record.found);
    match (result, record.setting.read(host)) {
        (Ok(()), Ok(now)) if now == record.found => (change.ended(Outcome::Changed, ""), true),
        (Ok(()), now) => {
            let now = now.unwrap_or_default();
            let reason = format!("it is {now} after that: in use? Stop trunklined, and undo again");
            (change.ended(Outcome::Failed, reason), false)
        }
        (Err(refusal), _) => (change.ended(Outcome::Failed, refusal.reason()), false),
    }
}
