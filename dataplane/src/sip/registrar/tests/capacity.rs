//! What is full refuses what is new and loses nothing.

use super::*;
use crate::sip::live::Live;
use crate::sip::registrar::journal::Journal;

#[test]
fn a_full_table_refuses_whole_registers_and_keeps_every_binding() {
    let mut bench = Bench::with(5, rules());
    bench
        .send(1, "Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>")
        .unwrap();
    let bob = |cseq, lines| Sent::new(cseq, lines).of("bob").by("bob");
    bench.take(&bob(1, "Contact: <sip:x@h>")).unwrap();
    let two = bob(2, "Contact: <sip:y@h>, <sip:z@h>");
    assert_eq!(bench.take(&two), Err(Refusal::Full));
    assert_eq!(bench.changes, []);
    assert_eq!((bench.uris("bob").len(), bench.uris("alice").len()), (1, 3));
    bench.take(&bob(3, "Contact: <sip:y@h>")).unwrap();
    assert_eq!(
        bench.take(&bob(4, "Contact: <sip:z@h>")),
        Err(Refusal::Full)
    );
    // Those that are there are refreshed, and one gives way to another of the same REGISTER.
    bench.send(2, "Contact: <sip:a@h>, <sip:b@h>").unwrap();
    let swap = bob(5, "Contact: <sip:z@h>, <sip:y@h>;expires=0, <sip:x@h>");
    assert_eq!(bench.take(&swap).unwrap().len(), 2);
    assert_eq!(bench.uris("bob"), ["sip:z@h", "sip:x@h"]);
    assert_eq!(bench.registrar.count(), 5);
}

#[test]
fn without_room_for_texts_a_register_is_refused_whole() {
    let mut bench = Bench::with(4, rules());
    assert_eq!(bench.registrar.blocks(), (0, 7));
    let long = "u".repeat(300);
    bench.send(1, &format!("Contact: <sip:{long}@h>")).unwrap();
    bench
        .take(&Sent::new(1, &format!("Contact: <sip:{long}@h>")).by("bob"))
        .unwrap();
    assert_eq!(bench.registrar.blocks().0, 6);
    let both = Sent::new(1, &format!("Contact: <sip:a@h>, <sip:{long}@h>")).by("carol");
    assert_eq!(bench.take(&both), Err(Refusal::Full));
    assert_eq!(bench.registrar.blocks().0, 6);
    assert_eq!(bench.uris("carol"), [""; 0]);
    bench
        .take(&Sent::new(2, "Contact: <sip:a@h>").by("carol"))
        .unwrap();
    assert_eq!(bench.registrar.blocks().0, 7);
    assert_eq!(bench.uris("alice").len(), 1);
}

#[test]
fn a_user_has_as_many_contacts_as_one_may_have() {
    let mut bench = Bench::new();
    bench
        .send(1, "Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>")
        .unwrap();
    let two = bench.send(2, "Contact: <sip:d@h>, <sip:e@h>");
    assert_eq!(two, Err(Refusal::TooManyContacts));
    let swap = "Contact: <sip:d@h>, <sip:e@h>, <sip:a@h>;expires=0";
    assert_eq!(bench.send(3, swap).unwrap().len(), 4);
    assert_eq!(
        bench.send(4, "Contact: <sip:f@h>"),
        Err(Refusal::TooManyContacts)
    );
    assert_eq!(bench.send(5, "Contact: <sip:b@h>;q=0.3").unwrap().len(), 4);
    bench.pass_s(601);
    assert_eq!(bench.send(6, "Contact: <sip:f@h>").unwrap().len(), 1);
}

/// A softphone that has another port at each start is not locked out by what it left behind.
#[test]
fn one_more_contact_takes_the_place_of_the_oldest_where_that_is_said() {
    let replaces_oldest = true;
    let mut bench = Bench::with(
        4,
        Rules {
            contacts_max: 2,
            replaces_oldest,
            ..rules()
        },
    );
    bench.send(1, "Contact: <sip:a@h>").unwrap();
    bench.pass_s(1);
    bench.send(2, "Contact: <sip:b@h>").unwrap();
    bench.pass_s(1);
    bench.send(3, "Contact: <sip:a@h>").unwrap();
    bench.pass_s(1);
    let third = Sent::new(1, "Contact: <sip:c@h>").of("third");
    let told = bench.take(&third).unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(
        bench.changes,
        [
            (Happened::Removed, "sip:b@h".to_owned()),
            (Happened::Added, "sip:c@h".to_owned()),
        ]
    );
    // Neither its repetition nor that of who gave way changes anything.
    for sent in [third, Sent::new(2, "Contact: <sip:b@h>")] {
        assert_eq!(bench.take(&sent).unwrap(), told);
        assert_eq!(bench.changes, []);
    }
    // What a REGISTER names does not give way to it.
    let more = bench.send(4, "Contact: <sip:a@h>, <sip:d@h>, <sip:e@h>");
    assert_eq!(more, Err(Refusal::TooManyContacts));
    bench.send(5, "Contact: <sip:d@h>, <sip:e@h>").unwrap();
    assert_eq!(bench.registrar.count(), 2);
    assert_eq!(bench.registrar.blocks().0, 2);
}

/// The one that gives way may be of a later REGISTER of the same Call-ID: its repetition changes nothing
/// all the same, and whoever keeps bindings elsewhere is told a CSeq that they do not take for an old one.
#[test]
fn what_gave_way_to_an_earlier_register_does_not_come_back() {
    let rules = Rules {
        contacts_max: 1,
        replaces_oldest: true,
        ..rules()
    };
    let mut bench = Bench::with(4, rules);
    bench.send(3, "Contact: <sip:a@h>").unwrap();
    let overtaken = bench.send(1, "Contact: <sip:b@h>").unwrap();
    assert_eq!(
        bench.changes,
        [
            (Happened::Removed, "sip:a@h".to_owned()),
            (Happened::Added, "sip:b@h".to_owned()),
        ]
    );
    assert_eq!(bench.cseqs, [3, 1]);
    assert_eq!(bench.send(3, "Contact: <sip:a@h>").unwrap(), overtaken);
    assert_eq!(bench.changes, []);
}

/// Whatever is configured.
#[test]
fn sixteen_contacts_are_the_most_and_all_are_told() {
    let mut bench = Bench::with(
        64,
        Rules {
            contacts_max: 255,
            ..rules()
        },
    );
    let contacts = |from: usize, to: usize| {
        let all = (from..to).map(|n| format!("<sip:{n}@h>;q=0.{n:03}"));
        format!("Contact: {}", all.collect::<Vec<_>>().join(", "))
    };
    let answer = bench.send(1, &contacts(0, 16)).unwrap();
    assert_eq!(answer.len(), 16);
    assert_eq!(answer[0], "Contact: <sip:15@h>;q=0.015;expires=600");
    assert_eq!(
        bench.send(2, &contacts(16, 17)),
        Err(Refusal::TooManyContacts)
    );
    assert_eq!(
        bench.send(3, &contacts(0, 17)),
        Err(Refusal::TooManyContacts)
    );
    assert_eq!(
        bench.send(4, &contacts(0, 60)),
        Err(Refusal::TooManyContacts)
    );
    assert_eq!(bench.uris("alice").len(), 16);
    assert_eq!(bench.send(5, "Contact: *|Expires: 0"), OK);
    assert_eq!(bench.changes.len(), 16);
}

/// The contact of a telephone that is known by 80 bytes, with a user of 10.
#[test]
fn a_table_takes_as_many_typical_bindings_as_it_has_room_for_in_400_bytes_each() {
    const { assert!(Registrar::BINDING_LEN + Live::SOURCE_LEN + Journal::BINDING_LEN <= 400) };
    let mut bench = Bench::with(200, rules());
    for n in 0..200 {
        let contact = format!(
            "<sip:49891{n:05}@192.168.178.21:49152;transport=udp;ob;line=0123456789abcdefghij>"
        );
        assert_eq!(contact.len(), 80);
        let sent = Sent::new(1, &format!("Contact: {contact}")).by(&format!("49891{n:05}"));
        bench.take(&sent).unwrap();
    }
    assert_eq!(bench.registrar.count(), 200);
    let (used, all) = bench.registrar.blocks();
    assert_eq!((used, all), (200, 350));
}
