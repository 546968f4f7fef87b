//! Bindings that a store gives back.

use super::*;
use crate::sip::registrar::EVERY;
use crate::sip::registrar::Record;

/// All that is bound, as a store would keep it: each put into a registrar of its own.
fn moved_to(from: &mut Bench, to: &mut Bench) -> usize {
    let capacity = from.registrar.capacity();
    let records = (0..capacity).filter_map(|slot| {
        let record = from.registrar.tenant(slot)?;
        to.registrar.restore(&record, to.now)
    });
    records.count()
}

const LINES: &str = "Contact: <sip:a@h;transport=udp>;q=0.3, <sip:b@h>;x=1|\
    Path: <sip:p1;lr>, <sip:p2;lr>|Supported: path";

#[test]
fn a_binding_comes_back_as_it_was() {
    let mut bench = Bench::new();
    bench.send(5, LINES).unwrap();
    let flow = "Contact: <sip:c@h>;+sip.instance=\"<urn:1>\";reg-id=3";
    bench
        .take(&Sent::new(2, flow).of("flow").from("[2001:db8::9]:5060"))
        .unwrap();
    let mut after = Bench::new();
    assert_eq!(moved_to(&mut bench, &mut after), 3);
    assert_eq!(moved_to(&mut bench, &mut after), 0, "what is there already");
    let all = |bench: &mut Bench| {
        let mut all = Vec::new();
        let now = bench.now;
        let each = |_, record: Record<'_>| all.push(format!("{record:?}"));
        bench.registrar.targets(key("alice"), now, each);
        all
    };
    let known = all(&mut bench);
    assert_eq!(known.len(), 3);
    let mut restored = all(&mut after);
    restored.sort();
    let mut sorted = known.clone();
    sorted.sort();
    assert_eq!(restored, sorted);
    // The best is first here as there, a repetition is known, and so is what is late.
    assert_eq!(after.uris("alice").last().unwrap(), "sip:a@h;transport=udp");
    assert_eq!(after.send(5, LINES).unwrap().len(), 4);
    assert_eq!(after.changes, []);
    assert_eq!(after.send(4, LINES), Err(Refusal::OutOfOrder));
    let moved = flow.replace("c@h", "d@h");
    after.take(&Sent::new(3, &moved).of("flow")).unwrap();
    assert_eq!(after.changes, [(Happened::Moved, "sip:d@h".to_owned())]);
}

#[test]
fn what_is_newer_stays() {
    let mut old = Bench::new();
    old.send(1, "Contact: <sip:a@h>;x=old").unwrap();
    let mut new = Bench::new();
    new.now = old.now.plus_ms(1);
    new.send(2, "Contact: <sip:a@h>;x=new").unwrap();
    assert_eq!(moved_to(&mut old, &mut new), 0);
    assert_eq!(
        new.send(3, "").unwrap(),
        ["Contact: <sip:a@h>;x=new;expires=600"]
    );
    assert_eq!(moved_to(&mut new, &mut old), 1);
    assert_eq!(
        old.send(3, "").unwrap(),
        ["Contact: <sip:a@h>;x=new;expires=601"]
    );
    assert_eq!((old.registrar.count(), old.registrar.blocks().0), (1, 1));
}

#[test]
fn what_has_ended_or_finds_no_room_is_not_put_in() {
    let mut from = Bench::new();
    from.send(1, "Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>")
        .unwrap();
    let mut small = Bench::with(2, rules());
    assert_eq!(moved_to(&mut from, &mut small), 2);
    assert_eq!(
        (small.registrar.count(), small.registrar.blocks().0),
        (2, 2)
    );
    let mut late = Bench::new();
    late.now = from.now.plus_ms(600_000);
    assert_eq!(moved_to(&mut from, &mut late), 0);
    assert_eq!((late.registrar.count(), late.registrar.blocks().0), (0, 0));
}

#[test]
fn an_address_of_record_gets_no_more_contacts_back_than_it_may_have() {
    let mut to = Bench::new();
    for part in 0..3 {
        let mut from = Bench::with(
            64,
            Rules {
                contacts_max: 16,
                ..rules()
            },
        );
        let contacts = (0..8).map(|n| format!("<sip:{part}{n}@h>"));
        let lines = format!("Contact: {}", contacts.collect::<Vec<_>>().join(","));
        from.send(1, &lines).unwrap();
        assert_eq!(moved_to(&mut from, &mut to), if part < 2 { 8 } else { 0 });
    }
    assert_eq!(to.uris("alice").len(), 16);
}

/// A box that has begun anew is told by its phone of a contact, and to remove it, before the store gives back what
/// another REGISTER had made of it: that does not bring it back.
#[test]
fn what_was_removed_under_another_call_id_does_not_come_back() {
    let flow = "Contact: <sip:c@h>;+sip.instance=\"<urn:1>\";reg-id=3";
    for contact in ["Contact: <sip:a@h>", flow] {
        let mut before = Bench::new();
        before.take(&Sent::new(1, contact).of("before")).unwrap();
        let written = before.registrar.tenant(0).unwrap();

        let mut after = Bench::new();
        after.now = before.now.plus_ms(40_000);
        after.take(&Sent::new(1, contact).of("after")).unwrap();
        let gone = format!("{contact};expires=0");
        after.take(&Sent::new(2, &gone).of("after")).unwrap();
        assert_eq!(after.registrar.restore(&written, after.now), None);

        // What another box has been told since does.
        let later = Record {
            taken: after.now.plus_ms(1),
            expires: after.now.plus_ms(60_000),
            ..written
        };
        assert!(after.registrar.restore(&later, after.now).is_some());
    }
}

/// Who can write into the store writes no lines into messages.
#[test]
fn what_cannot_stand_in_a_line_does_not_come_back() {
    let mut bench = Bench::new();
    bench.send(1, LINES).unwrap();
    let record = bench.registrar.tenant(0).unwrap();
    for odd in ["sip:x@h SIP/2.0\r\nX: y", "\n", "\r", "\0"] {
        let odd = odd.as_bytes();
        for record in [
            Record { uri: odd, ..record },
            Record {
                params: odd,
                ..record
            },
            Record {
                path: odd,
                ..record
            },
            Record {
                user: odd,
                ..record
            },
        ] {
            let mut after = Bench::new();
            assert_eq!(after.registrar.restore(&record, after.now), None);
        }
    }
    let mut after = Bench::new();
    assert!(after.registrar.restore(&record, after.now).is_some());
}

/// A store may have what is not here: what is to go is told by its name, each once.
#[test]
fn what_is_to_be_removed_and_is_not_here_is_told() {
    let mut bench = Bench::new();
    bench.send(1, "Contact: <sip:here@h>").unwrap();
    let lines = "Contact: <sip:here@h>, <sip:gone@h>;x=1, <sip:c@h>;+sip.instance=\"<urn:1>\";reg-id=3|Expires: 0";
    bench.send(2, lines).unwrap();
    let removed = (Happened::Removed, "sip:here@h".to_owned());
    assert_eq!(bench.changes, [removed]);
    let flow = ";+sip.instance=\"<urn:1>\";reg-id=3";
    let named = |uri: &str, params: &str, cseq| (uri.to_owned(), params.to_owned(), cseq);
    let absent = [named("sip:gone@h", ";x=1", 2), named("sip:c@h", flow, 2)];
    assert_eq!(bench.absent, absent);
    for late in [2, 1] {
        bench.send(late, lines).unwrap();
        assert_eq!(bench.absent, [], "it comes again, or late");
    }
    bench.send(3, "Contact: *|Expires: 0").unwrap();
    assert_eq!(bench.absent, [named("*", "", 3)]);
    bench.send(3, "Contact: *|Expires: 0").unwrap();
    assert_eq!((&bench.absent[..], &bench.changes[..]), (&[][..], &[][..]));
}

#[test]
fn what_was_to_be_removed_and_was_not_here_does_not_come_back() {
    for lines in ["Contact: <sip:a@h>|Expires: 0", "Contact: *|Expires: 0"] {
        let mut from = Bench::new();
        from.send(1, "Contact: <sip:a@h>").unwrap();
        let mut to = Bench::new();
        to.now = from.now.plus_ms(1_000);
        // By another Call-ID, which its CSeq says nothing of.
        to.take(&Sent::new(1, lines).of("other")).unwrap();
        assert_eq!(moved_to(&mut from, &mut to), 0, "{lines}");
        // What is registered after it does.
        from.now = to.now.plus_ms(1_000);
        from.send(2, "Contact: <sip:a@h>").unwrap();
        to.now = from.now;
        assert_eq!(moved_to(&mut from, &mut to), 1, "{lines}");
    }
}

#[test]
fn every_contact_of_a_user_is_withdrawn_but_those_of_later_registers() {
    let mut bench = Bench::new();
    bench.send(1, "Contact: <sip:a@h>, <sip:b@h>").unwrap();
    let mut by = {
        let record = bench.registrar.tenant(0).unwrap();
        Record {
            user: b"",
            uri: EVERY,
            params: &[],
            path: &[],
            cseq: 2,
            ..record
        }
    };
    bench.send(3, "Contact: <sip:c@h>").unwrap();
    by.cseq = 2;
    let mut slots = 0;
    bench.registrar.withdraw(&by, |_| slots += 1);
    assert_eq!(slots, 2);
    assert_eq!(bench.uris("alice"), ["sip:c@h"]);
    bench.registrar.withdraw(&by, |_| panic!("it is later"));
}
