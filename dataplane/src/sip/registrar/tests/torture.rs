//! Contacts as nobody should send them, and some do.

use super::*;

#[test]
fn odd_spellings_are_read_and_told_in_one_form() {
    for (contact, told) in [
        ("sip:a@h", "<sip:a@h>"),
        ("sip:a@h;x=1", "<sip:a@h>;x=1"),
        ("<sip:a@h;x=1>", "<sip:a@h;x=1>"),
        ("\"A, \\\"B\\\" <sip:x@y>\" <sip:a@h>", "<sip:a@h>"),
        ("Bell (A.)<sip:a@h>", "<sip:a@h>"),
        ("< sip:a@h >\t;\r\n\tq\r\n = 0.4", "<sip:a@h>;q=0.4"),
        (
            "<sip:a%20b%2C@h>;t=\"a,\\\"b;c\"",
            "<sip:a%20b%2C@h>;t=\"a,\\\"b;c\"",
        ),
        ("<sip:a@h>;t=\"a\r\n  b\"", "<sip:a@h>;t=\"a    b\""),
        ("<sip:a@h>;Expires=900;EXPIRES=900", "<sip:a@h>"),
        ("<sip:a@h>;q=7;lr;audio", "<sip:a@h>;q=7;lr;audio"),
        ("<sip:a,b;c=d@h>", "<sip:a,b;c=d@h>"),
        ("<tel:+1-201-555>", "<tel:+1-201-555>"),
        ("<mailto:a@b>", "<mailto:a@b>"),
        ("<sip:\u{e9}@h>", "<sip:\u{e9}@h>"),
        (
            "<sip:a@h>;+sip.instance=\"<urn:uuid:x>\";reg-id=x",
            "<sip:a@h>;+sip.instance=\"<urn:uuid:x>\";reg-id=x",
        ),
    ] {
        let mut bench = Bench::new();
        let answer = bench.send(1, &format!("Contact: {contact}|Expires: 900"));
        let answer = answer.unwrap_or_else(|refusal| panic!("{contact}: {refusal:?}"));
        assert_eq!(
            answer,
            [format!("Contact: {told};expires=900")],
            "{contact}"
        );
        // It is known again by what was told.
        let again = bench.send(2, &answer[0]).unwrap();
        assert_eq!(again, answer);
        assert_eq!(bench.changes[0].0, Happened::Refreshed, "{contact}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    for contact in [
        "",
        ",",
        "<sip:a@h>,",
        "<sip:a@h>,,<sip:b@h>",
        "<sip:a@h",
        "sip:a@h>",
        "\"A <sip:a@h>",
        "<sip:a@h>;",
        "<sip:a@h>;;q=1",
        "<sip:a@h>;=1",
        "<sip:a@h> x",
        "<>",
        "<sip:>",
        "<sip:@h>",
        "<sip:a@b@c>",
        "<sip:a@h:0>",
        "<sip:a@h:99999>",
        "<sip:a@192.0.2.300>",
        "<a@h>",
        "a",
        "<sip:a@h>;x=\"1",
        "<sip:a@[::g]>",
    ] {
        let mut bench = Bench::new();
        let refused = bench.send(1, &format!("Contact: {contact}"));
        assert_eq!(refused, Err(Refusal::Unreadable), "{contact}");
        assert_eq!(
            (bench.registrar.count(), bench.registrar.blocks().0),
            (0, 0)
        );
    }
}

#[test]
fn sixty_contacts_over_many_lines_are_refused_whole() {
    let mut bench = Bench::new();
    let line = |n: usize| format!("m: <sip:{n}@h>,\r\n <sip:x{n}@h>\r\nUser-Agent: {n}\r\n");
    let lines: String = (0..30).map(line).collect();
    let refused = bench.send(1, lines.trim_end());
    assert_eq!(refused, Err(Refusal::TooManyContacts));
    assert_eq!(bench.registrar.count(), 0);
}

#[test]
fn what_is_too_long_to_be_kept_is_refused() {
    let mut bench = Bench::new();
    let most = "a".repeat(crate::limits::CONTACT_LEN_MAX - "sip:@h".len());
    bench.send(1, &format!("Contact: <sip:{most}@h>")).unwrap();
    let long = bench.send(2, &format!("Contact: <sip:{most}a@h>"));
    assert_eq!(long, Err(Refusal::TooLong));
    let long = bench.send(3, &format!("Contact: <sip:a@h>;x=\"{most}\""));
    assert_eq!(long, Err(Refusal::TooLong));
    assert_eq!(bench.registrar.count(), 1);
}

/// A few thousand header fields between two contacts.
#[test]
fn contacts_far_apart_are_found() {
    let mut bench = Bench::new();
    let between = "X: y\r\n".repeat(3_000);
    let lines =
        format!("Contact: <sip:a@h>\r\n{between}m: <sip:b@h>\r\n{between}CONTACT: <sip:c@h>");
    assert_eq!(bench.send(1, &lines).unwrap().len(), 3);
}
