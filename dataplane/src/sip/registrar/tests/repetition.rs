//! A repetition changes nothing, though no server transaction absorbs it (RFC 3261 §17.2.2).

use super::*;

#[test]
fn a_repetition_is_answered_as_before() {
    let mut bench = Bench::new();
    let lines = "Contact: <sip:a@h>;expires=600, <sip:b@h>;expires=0";
    let first = bench.send(1, lines).unwrap();
    assert_eq!(bench.send(1, lines).unwrap(), first);
    assert_eq!(bench.changes, []);
    bench.pass_s(5);
    assert_eq!(
        bench.send(1, lines).unwrap(),
        ["Contact: <sip:a@h>;expires=595"]
    );
    // The same number on another branch is no repetition.
    let other = Sent {
        branch: "other".to_owned(),
        ..Sent::new(1, lines)
    };
    assert_eq!(bench.take(&other), Err(Refusal::OutOfOrder));
}

#[test]
fn a_repetition_does_not_bring_back_what_was_removed() {
    for removal in ["Contact: <sip:a@h>;expires=0", "Contact: *|Expires: 0"] {
        let mut bench = Bench::new();
        let add = "Contact: <sip:a@h>";
        bench.send(1, add).unwrap();
        assert_eq!(bench.send(2, removal), OK);
        assert_eq!(bench.send(2, removal), OK);
        assert_eq!(bench.send(1, add), Err(Refusal::OutOfOrder));
        assert_eq!(bench.registrar.count(), 0);
        bench.send(3, add).unwrap();
        assert_eq!(bench.send(2, removal), Err(Refusal::OutOfOrder));
        assert_eq!(bench.registrar.count(), 1);
    }
}

/// Of another Call-ID: another device, or the same one after it was started anew.
#[test]
fn a_repetition_does_not_undo_what_another_has_done() {
    let mut bench = Bench::new();
    let other = |cseq, lines| Sent::new(cseq, lines).of("other").from("203.0.113.9:1");
    let add = "Contact: <sip:a@h>";
    bench.send(9, add).unwrap();
    bench.take(&other(1, add)).unwrap();
    assert_eq!(bench.send(9, add).unwrap().len(), 1);
    assert_eq!(bench.changes, []);
    assert_eq!(
        bench.targets("alice")[0].2,
        "203.0.113.9:1".parse().unwrap()
    );
    assert_eq!(bench.send(8, add), Err(Refusal::OutOfOrder));
    // Removed by the other one: it is not made anew.
    bench.take(&other(2, "Contact: *|Expires: 0")).unwrap();
    assert_eq!(bench.send(9, add), OK);
    assert_eq!(bench.registrar.count(), 0);
    // And the removal does not remove what comes after it.
    bench.send(10, add).unwrap();
    assert_eq!(
        bench
            .take(&other(2, "Contact: *|Expires: 0"))
            .unwrap()
            .len(),
        1
    );
    assert_eq!(bench.registrar.count(), 1);
}

#[test]
fn a_removal_of_nothing_does_not_remove_what_comes_after_it() {
    let mut bench = Bench::new();
    let removal = "Contact: <sip:a@h>;expires=0";
    assert_eq!(bench.send(1, removal), OK);
    bench
        .take(&Sent::new(1, "Contact: <sip:a@h>").of("reboot"))
        .unwrap();
    assert_eq!(bench.send(1, removal).unwrap().len(), 1);
    assert_eq!(bench.registrar.count(), 1);
}

/// A later one of its Call-ID is remembered in its stead, and for as long as it would have been.
#[test]
fn a_removal_of_nothing_that_was_late_itself_does_not_remove_what_comes_after_it() {
    let mut bench = Bench::new();
    let removal = "Contact: <sip:a@h>;expires=0";
    assert_eq!(bench.send(3, "Contact: <sip:b@h>;expires=0"), OK);
    bench.pass_s(9);
    assert_eq!(bench.send(1, removal), OK);
    bench
        .take(&Sent::new(1, "Contact: <sip:a@h>").of("reboot"))
        .unwrap();
    bench.pass_s(23);
    assert_eq!(bench.send(1, removal), Err(Refusal::OutOfOrder));
    assert_eq!(bench.registrar.count(), 1);
}

#[test]
fn what_has_ended_is_not_made_anew_by_a_repetition() {
    let mut bench = Bench::with(
        4,
        Rules {
            min_s: 1,
            ..rules()
        },
    );
    bench.send(1, "Contact: <sip:a@h>;expires=2").unwrap();
    bench.pass_s(3);
    assert_eq!(bench.send(1, "Contact: <sip:a@h>;expires=2"), OK);
    assert_eq!(bench.registrar.count(), 0);
}

/// After 64·T1 nobody repeats it: it counts as the RFC says.
#[test]
fn after_64_t1_an_old_number_of_a_forgotten_call_id_counts_again() {
    let mut bench = Bench::new();
    bench.send(7, "Contact: <sip:a@h>").unwrap();
    bench.send(8, "Contact: <sip:a@h>;expires=0").unwrap();
    bench.pass_s(32);
    assert_eq!(bench.send(1, "Contact: <sip:a@h>").unwrap().len(), 1);
}
