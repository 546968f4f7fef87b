//! Carrying out what the stages found to be done.
//!
//! Stage after stage, each with a fresh look, because one follows from another: queues
//! before what is spread over them. Each change is noted in the state file before it is
//! made. A change that fails is said and the rest goes on: no stage needs another to be
//! worth something. After its changes a stage is looked at again, since a driver
//! may take a value and do something else.

use crate::book::Book;
use crate::book::BookError;
use crate::change::Change;
use crate::change::Outcome;
use crate::host::Host;
use crate::row::Row;
use crate::row::Step;
use crate::setting::Refusal;
use crate::stage::Stage;
use crate::stage::View;
use crate::wanted::Wanted;

/// Brings the stages to what is wanted. `say` hears each command before it runs, and how
/// it ended where that is not plain.
///
/// # Errors
/// The state file could not be written: nothing was changed that is not in it.
pub fn apply(
    host: &Host,
    wanted: &Wanted,
    stages: &[Stage],
    book: &mut Book,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Change>, BookError> {
    let mut changes = Vec::new();
    for stage in stages {
        let mut done: Vec<(Step, Change)> = Vec::new();
        let view = View::new(host, wanted);
        let back = view.take_back(*stage, book);
        for step in back.into_iter().chain(steps(view.look(*stage))) {
            let change = carry_out(host, *stage, &step, book, say)?;
            if let Some(line) = change.line() {
                say(&line);
            }
            done.push((step, change));
        }
        if !done.is_empty() {
            let left = steps(View::new(host, wanted).look(*stage));
            look_again(host, &left, &mut done, say);
        }
        changes.extend(done.into_iter().map(|(_, change)| change));
    }
    Ok(changes)
}

/// What would be done now; nothing is changed.
pub fn plan(host: &Host, wanted: &Wanted, stages: &[Stage], book: &Book) -> Vec<Change> {
    let view = View::new(host, wanted);
    let of_stage = |stage: &Stage| -> Vec<Change> {
        let change = |step: Step| {
            let from = step.setting.read(host).unwrap_or_default();
            let change = Change::new(*stage, &step.setting, &from, &step.to);
            change.ended(Outcome::Planned, "")
        };
        let back = view.take_back(*stage, book).into_iter();
        back.chain(steps(view.look(*stage))).map(change).collect()
    };
    stages.iter().flat_map(of_stage).collect()
}

/// The steps of all rows, each once: two rows may ask for the same.
fn steps(rows: Vec<Row>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for step in rows.into_iter().flat_map(|row| row.steps) {
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

fn carry_out(
    host: &Host,
    stage: Stage,
    step: &Step,
    book: &mut Book,
    say: &mut dyn FnMut(&str),
) -> Result<Change, BookError> {
    let Step { setting, to } = step;
    let found = match setting.read(host) {
        Ok(found) => found,
        Err(refusal) => return Ok(refused(Change::new(stage, setting, "", to), &refusal)),
    };
    let change = Change::new(stage, setting, &found, to);
    if found == *to {
        return Ok(change);
    }
    say(&format!("RUN:  {}", change.command));
    let before = book.of(setting).cloned();
    book.note(stage, setting, &found, to)?;
    let result = setting.write(host, to);
    let now = setting.read(host).unwrap_or_else(|_| found.clone());
    match (&before, now == found) {
        // Nothing has changed, so there is nothing to put back.
        (None, true) => book.strike_setting(setting)?,
        (Some(before), true) => book.note(stage, setting, &found, &before.set)?,
        // As before the first change: then undo has nothing to do with it.
        (Some(before), false) if before.found == now => book.strike_setting(setting)?,
        // What it has now is what undo will look for, whatever was asked.
        (_, false) => book.note(stage, setting, &found, &now)?,
    }
    Ok(match result {
        Err(refusal) => refused(change, &refusal),
        Ok(()) if now == found => {
            change.ended(Outcome::Failed, "the kernel took it and kept the old value")
        }
        Ok(()) => change.ended(Outcome::Changed, ""),
    })
}

fn refused(change: Change, refusal: &Refusal) -> Change {
    let outcome = match refusal {
        Refusal::NotHere(_) => Outcome::DoesNotApply,
        Refusal::Failed(_) => Outcome::Failed,
    };
    change.ended(outcome, refusal.reason())
}

/// A change after which the stage still asks for the same setting has not done what it
/// was for.
fn look_again(host: &Host, left: &[Step], done: &mut [(Step, Change)], say: &mut dyn FnMut(&str)) {
    for (step, change) in done {
        let again = left.iter().any(|left| left.setting == step.setting);
        if change.outcome != Outcome::Changed || !again {
            continue;
        }
        let now = step.setting.read(host).unwrap_or_default();
        change.outcome = Outcome::Failed;
        change.reason = format!("{} was asked for, {now} came of it", step.to);
        if let Some(line) = change.line() {
            say(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::all_well;
    use crate::host::fixture::Tree;
    use crate::undo::undo;
    use std::path::PathBuf;

    const PAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

    fn tree() -> Tree {
        let tree = Tree::new(&[
            ("/proc/sys/kernel/random/boot_id", "one\n"),
            (&format!("{PAGES}/nr_hugepages"), "3\n"),
            (&format!("{PAGES}/free_hugepages"), "1\n"),
            (&format!("{PAGES}/resv_hugepages"), "0\n"),
            ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            (RESERVED, "8080\n"),
        ]);
        tree.link("/proc/self/ns/net", "net:[1]");
        tree
    }

    fn wanted() -> Wanted {
        Wanted {
            media_ports: vec!["20000-24999".parse().unwrap()],
            ..Wanted::default()
        }
    }

    fn state(tree: &Tree) -> PathBuf {
        tree.file("/var/lib/trunkline-host/host.json")
    }

    fn run(tree: &Tree, stages: &[Stage]) -> (Vec<Change>, Vec<String>) {
        let host = tree.host();
        let mut book = Book::open(&host, &state(tree)).unwrap();
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        let changes = apply(&host, &wanted(), stages, &mut book, &mut say).unwrap();
        (changes, said)
    }

    fn undo_all(tree: &Tree) -> (Vec<Change>, Vec<String>) {
        let host = tree.host();
        let mut book = Book::open(&host, &state(tree)).unwrap();
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        let changes = undo(&host, &[], &mut book, &mut say).unwrap();
        (changes, said)
    }

    #[test]
    fn applying_twice_changes_nothing_the_second_time_and_undo_restores_what_was_found() {
        let tree = tree();
        let (changes, said) = run(&tree, &[Stage::Ports]);
        assert_eq!(changes[0].outcome, Outcome::Changed);
        assert_eq!(
            said,
            ["RUN:  sysctl -w net.ipv4.ip_local_reserved_ports=8080,20000-24999"]
        );
        assert_eq!(tree.host().read(RESERVED).unwrap(), "8080,20000-24999");
        let (changes, said) = run(&tree, &[Stage::Ports]);
        assert!(changes.is_empty() && said.is_empty());
        let (changes, said) = undo_all(&tree);
        assert_eq!(changes[0].outcome, Outcome::Changed);
        assert_eq!(
            said,
            ["RUN:  sysctl -w net.ipv4.ip_local_reserved_ports=8080"]
        );
        assert_eq!(tree.host().read(RESERVED).unwrap(), "8080");
        assert!(!state(&tree).exists());
    }

    #[test]
    fn what_is_as_it_was_found_again_needs_no_record() {
        let tree = tree();
        run(&tree, &[Stage::Ports]);
        let host = tree.host();
        let mut book = Book::open(&host, &state(&tree)).unwrap();
        let step = Step {
            setting: book.records()[0].setting.clone(),
            to: "8080".to_owned(),
        };
        carry_out(&host, Stage::Ports, &step, &mut book, &mut |_| {}).unwrap();
        assert_eq!(host.read(RESERVED).unwrap(), "8080");
        assert!(book.records().is_empty());
    }

    #[test]
    fn what_did_not_come_of_it_is_a_failure_and_is_put_back_all_the_same() {
        // A file of sysfs whose counterpart does not follow: as if no memory came free.
        let tree = tree();
        let (changes, said) = run(&tree, &[Stage::Hugepages, Stage::Ports]);
        assert_eq!(changes[0].outcome, Outcome::Failed);
        assert_eq!(
            said[1],
            "FAIL: hugepages: /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages: 34 was asked for, 34 came of it"
        );
        // The rest went on.
        assert_eq!(changes[1].outcome, Outcome::Changed);
        assert!(!all_well(&changes));
        undo_all(&tree);
        let pages = tree.host().read(&format!("{PAGES}/nr_hugepages"));
        assert_eq!(pages.as_deref(), Some("3"));
    }

    #[test]
    fn a_value_that_somebody_else_has_changed_since_is_left() {
        let tree = tree();
        run(&tree, &[Stage::Ports]);
        tree.host().write(RESERVED, "9090").unwrap();
        let (changes, said) = undo_all(&tree);
        assert_eq!(changes[0].outcome, Outcome::Left);
        assert_eq!(tree.host().read(RESERVED).unwrap(), "9090");
        assert!(said[0].contains("it is 9090 now"), "{said:?}");
        assert!(all_well(&changes));
    }

    #[test]
    fn after_a_restart_nothing_is_put_back() {
        let tree = tree();
        run(&tree, &[Stage::Ports]);
        tree.host()
            .write("/proc/sys/kernel/random/boot_id", "two")
            .unwrap();
        let (changes, said) = undo_all(&tree);
        assert_eq!(changes[0].outcome, Outcome::Left);
        assert!(said[0].contains("restarted"), "{said:?}");
        assert!(!state(&tree).exists());
    }

    #[test]
    fn a_crash_between_note_and_change_loses_nothing() {
        let tree = tree();
        let host = tree.host();
        let step = View::new(&host, &wanted()).look(Stage::Ports)[0].steps[0].clone();
        let mut book = Book::open(&host, &state(&tree)).unwrap();
        book.note(Stage::Ports, &step.setting, "8080", &step.to)
            .unwrap();
        drop(book);
        let (changes, _) = undo_all(&tree);
        assert_eq!(changes[0].outcome, Outcome::Unchanged);
        assert_eq!(host.read(RESERVED).unwrap(), "8080");
    }

    #[test]
    fn a_plan_changes_nothing() {
        let tree = tree();
        let book = Book::look(&tree.host(), &state(&tree)).unwrap();
        let changes = plan(&tree.host(), &wanted(), &[Stage::Ports], &book);
        assert_eq!(changes[0].outcome, Outcome::Planned);
        assert_eq!(tree.host().read(RESERVED).unwrap(), "8080");
    }
}
