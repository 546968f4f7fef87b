//! RFC 3261 §10.3, step by step, and what other RFCs add to it.

use super::*;

const PHONE: &str = "Contact: <sip:alice@192.168.1.7>";

#[test]
fn a_contact_is_bound_and_all_are_told_with_what_is_left_of_their_time() {
    let mut bench = Bench::new();
    let answer = bench.send(1, "Contact: <sip:alice@192.168.1.7>;expires=3600;q=0.5");
    assert_eq!(
        answer.unwrap(),
        ["Contact: <sip:alice@192.168.1.7>;q=0.5;expires=3600"]
    );
    assert_eq!(
        bench.changes,
        [(Happened::Added, "sip:alice@192.168.1.7".to_owned())]
    );
    bench.now = bench.now.plus_ms(99_001);
    let other = Sent::new(
        1,
        "m: \"A. Phone\" <sip:a@[2001:db8::7]:5070;ob> ; x = \"a, b\"",
    )
    .of("pad");
    assert_eq!(
        bench.take(&other).unwrap(),
        [
            "Contact: <sip:a@[2001:db8::7]:5070;ob>;x=\"a, b\";expires=600",
            "Contact: <sip:alice@192.168.1.7>;q=0.5;expires=3501",
        ]
    );
    let received = "198.51.100.7:5062".parse().unwrap();
    assert_eq!(
        bench.targets("alice"),
        [
            (1_000, "sip:a@[2001:db8::7]:5070;ob".to_owned(), received),
            (500, "sip:alice@192.168.1.7".to_owned(), received),
        ]
    );
    assert_eq!(bench.targets("bob"), []);
}

/// RFC 3261 §10.2.3.
#[test]
fn without_a_contact_nothing_changes() {
    let mut bench = Bench::new();
    assert_eq!(bench.send(1, ""), OK);
    bench.send(2, PHONE).unwrap();
    let answer = bench.send(3, "Expires: 0").unwrap();
    assert_eq!(answer, ["Contact: <sip:alice@192.168.1.7>;expires=600"]);
    assert_eq!(bench.changes, []);
}

/// RFC 3261 §10.3 step 7: the parameter, else the header field, else the default.
#[test]
fn the_interval_is_the_contacts_own_or_that_of_all_or_the_default() {
    let mut bench = Bench::new();
    let answer = bench.send(
        1,
        "Expires: 900|Contact: <sip:a@h>;expires=1200, sip:b@h|Contact: sip:c@h;expires=\"x\"",
    );
    let mut answer = answer.unwrap();
    answer.sort();
    assert_eq!(
        answer,
        [
            "Contact: <sip:a@h>;expires=1200",
            "Contact: <sip:b@h>;expires=900",
            "Contact: <sip:c@h>;expires=3600",
        ]
    );
    let most = bench
        .send(2, "Contact: <sip:a@h>;expires=99999999999")
        .unwrap();
    assert!(most.contains(&"Contact: <sip:a@h>;expires=7200".to_owned()));
}

/// RFC 3261 §10.3 step 7: 423, but not for what lasts an hour or is to be removed.
#[test]
fn what_is_too_brief_is_refused_whole() {
    let mut bench = Bench::with(
        8,
        Rules {
            min_s: 4_000,
            ..rules()
        },
    );
    let brief = Refusal::TooBrief { min_s: 4_000 };
    let refused = Err(brief);
    assert_eq!(bench.send(1, "Contact: <sip:a@h>;expires=3599"), refused);
    assert_eq!(bench.send(2, "Contact: <sip:a@h>|Expires: 1"), refused);
    let mixed = "Contact: <sip:a@h>;expires=4000, <sip:b@h>;expires=60";
    assert_eq!(bench.send(3, mixed), refused);
    assert_eq!(bench.uris("alice"), [""; 0]);
    assert_eq!(bench.send(4, "Contact: <sip:a@h>;expires=0"), OK);
    let granted = bench.send(5, "Contact: <sip:a@h>;expires=3600").unwrap();
    assert_eq!(granted, ["Contact: <sip:a@h>;expires=3600"]);
    let text = Sent::new(6, "").text();
    let message = Message::scan(text.as_bytes()).unwrap();
    let mut room = [0; 100];
    let mut lines = Text::new(&mut room);
    brief.write(&message, &mut lines);
    let len = lines.finish().unwrap();
    assert_eq!(&room[..len], b"Min-Expires: 4000\r\n");
}

/// RFC 3261 §10.3 step 6.
#[test]
fn a_star_removes_all_and_stands_alone_with_expires_0() {
    let mut bench = Bench::new();
    bench.send(1, "Contact: <sip:a@h>, <sip:b@h>").unwrap();
    for (cseq, lines) in [
        "Contact: *",
        "Contact: *|Expires: 1",
        "Contact: *|Expires: x",
        "Contact: *|Contact: *|Expires: 0",
        "Contact: *|Contact: <sip:a@h>|Expires: 0",
    ]
    .into_iter()
    .enumerate()
    {
        let cseq = 2 + u32::try_from(cseq).unwrap();
        assert_eq!(bench.send(cseq, lines), Err(Refusal::Star), "{lines}");
    }
    for lines in [
        "Contact: <sip:a@h>|Contact: *|Expires: 0",
        "Contact: *, <sip:a@h>|Expires: 0",
        "Contact: *;expires=0|Expires: 0",
    ] {
        assert!(bench.send(10, lines).is_err(), "{lines}");
    }
    assert_eq!(bench.uris("alice").len(), 2);
    assert_eq!(bench.send(20, "m:  * |Expires: 0"), OK);
    assert_eq!(bench.changes.len(), 2);
    assert!(
        bench
            .changes
            .iter()
            .all(|(what, _)| *what == Happened::Removed)
    );
    assert_eq!(bench.registrar.count(), 0);
    assert_eq!(bench.registrar.blocks().0, 0);
}

/// RFC 3261 §10.3 step 6: in order, or all stay.
#[test]
fn a_star_that_is_late_for_one_binding_removes_none() {
    let mut bench = Bench::new();
    bench
        .take(&Sent::new(1, "Contact: <sip:a@h>").of("pad"))
        .unwrap();
    bench.send(5, "Contact: <sip:b@h>").unwrap();
    let late = bench.send(4, "Contact: *|Expires: 0");
    assert_eq!(late, Err(Refusal::OutOfOrder));
    assert_eq!(bench.uris("alice").len(), 2);
    assert_eq!(bench.send(6, "Contact: *|Expires: 0"), OK);
}

/// RFC 3261 §10.3 step 7: by Call-ID and CSeq.
#[test]
fn a_refresh_counts_in_its_order_and_all_of_it_or_nothing() {
    let mut bench = Bench::new();
    bench.send(5, "Contact: <sip:a@h>").unwrap();
    assert_eq!(
        bench.send(4, "Contact: <sip:a@h>;expires=0"),
        Err(Refusal::OutOfOrder)
    );
    let both = "Contact: <sip:new@h>, <sip:a@h>;q=0.1";
    assert_eq!(bench.send(4, both), Err(Refusal::OutOfOrder));
    assert_eq!(
        bench.registrar.blocks().0,
        1,
        "what was put away is given back"
    );
    assert_eq!(bench.uris("alice"), ["sip:a@h"]);
    // Another Call-ID has an order of its own.
    let other = Sent::new(1, "Contact: <sip:a@h>;expires=7200").of("pad");
    assert_eq!(
        bench.take(&other).unwrap(),
        ["Contact: <sip:a@h>;expires=7200"]
    );
    assert_eq!(bench.changes, [(Happened::Refreshed, "sip:a@h".to_owned())]);
    assert_eq!(bench.send(6, "Contact: <sip:a@h>;expires=0"), OK);
    assert_eq!(bench.registrar.blocks().0, 0);
}

/// RFC 3261 §10.3 step 7: by the rules of §19.1.4.
#[test]
fn a_contact_is_known_again_however_its_uri_is_spelled() {
    let mut bench = Bench::new();
    bench
        .send(1, "Contact: <sip:alice@h.example;transport=udp>")
        .unwrap();
    let answer = bench.send(2, "Contact: <sip:%61lice@H.example;transport=UDP;line=1>");
    assert_eq!(
        answer.unwrap(),
        ["Contact: <sip:%61lice@H.example;transport=UDP;line=1>;expires=600"]
    );
    assert_eq!(
        bench.changes,
        [
            (
                Happened::Removed,
                "sip:alice@h.example;transport=udp".to_owned()
            ),
            (
                Happened::Added,
                "sip:%61lice@H.example;transport=UDP;line=1".to_owned()
            ),
        ]
    );
    assert_eq!(
        bench
            .send(3, "Contact: <sip:alice@h.example>")
            .unwrap()
            .len(),
        2
    );
    assert_eq!(bench.registrar.count(), 2);
}

#[test]
fn a_contact_that_lasts_is_named_once() {
    let mut bench = Bench::new();
    let twice = bench.send(1, "Contact: <sip:a@h>, <sip:%61@H>;q=0.2");
    assert_eq!(twice, Err(Refusal::Twice));
    bench.send(2, "Contact: <sip:a@h>").unwrap();
    // Each of them is the same as the one that is there, though they differ.
    let twice = bench.send(3, "Contact: <sip:a@h;x=1>, <sip:a@h;x=2>");
    assert_eq!(twice, Err(Refusal::Twice));
    assert_eq!(bench.uris("alice"), ["sip:a@h"]);
    assert_eq!(bench.registrar.blocks().0, 1);
    // Unless but one of them lasts, wherever that stands.
    let lasting = bench.send(4, "Contact: <sip:a@h>;expires=0, <sip:%61@H>;q=0.2");
    assert_eq!(lasting.unwrap(), ["Contact: <sip:%61@H>;q=0.2;expires=600"]);
    let lasting = bench.send(5, "Contact: <sip:a@h>, <sip:%61@H>;expires=0");
    assert_eq!(lasting.unwrap(), ["Contact: <sip:a@h>;expires=600"]);
    let gone = bench.send(6, "Contact: <sip:a@h>;expires=0, <sip:a@H>;expires=0");
    assert_eq!(gone.unwrap(), [""; 0]);
}

#[test]
fn a_refresh_from_elsewhere_or_with_other_parameters_moves_the_binding() {
    let mut bench = Bench::new();
    bench.send(1, PHONE).unwrap();
    let happened = |bench: &Bench| bench.changes.iter().map(|it| it.0).collect::<Vec<_>>();
    bench.send(2, PHONE).unwrap();
    assert_eq!(happened(&bench), [Happened::Refreshed]);
    bench
        .take(&Sent::new(3, PHONE).from("198.51.100.7:40000"))
        .unwrap();
    assert_eq!(happened(&bench), [Happened::Moved]);
    assert_eq!(bench.targets("alice")[0].2.port(), 40_000);
    let renamed = Sent::new(4, &format!("{PHONE};audio")).from("198.51.100.7:40000");
    bench.take(&renamed).unwrap();
    assert_eq!(happened(&bench), [Happened::Moved]);
    let path = Sent::new(5, &format!("{PHONE};audio|Path: <sip:p.example;lr>"));
    bench.take(&path.from("198.51.100.7:40000")).unwrap();
    assert_eq!(happened(&bench), [Happened::Moved]);
    assert_eq!(bench.registrar.blocks().0, 1);
}

/// RFC 3261 §16.6: the best first. A change of q brings a contact to its new place.
#[test]
fn targets_stand_in_the_order_of_q() {
    let mut bench = Bench::new();
    let four = "Contact: <sip:a@h>;q=0.2, <sip:b@h>;q=0.9, <sip:c@h>, <sip:d@h>;q=0.9";
    bench.send(1, four).unwrap();
    assert_eq!(
        bench.uris("alice"),
        ["sip:c@h", "sip:d@h", "sip:b@h", "sip:a@h"]
    );
    bench
        .send(2, "Contact: <sip:c@h>;q=0, <sip:a@h>;q=0.95")
        .unwrap();
    assert_eq!(
        bench.uris("alice"),
        ["sip:a@h", "sip:d@h", "sip:b@h", "sip:c@h"]
    );
    bench.send(3, "Contact: <sip:d@h>;expires=0").unwrap();
    assert_eq!(bench.uris("alice"), ["sip:a@h", "sip:b@h", "sip:c@h"]);
}

#[test]
fn what_has_ended_is_no_target_and_is_taken_out_by_its_timer_or_the_next_register() {
    let mut bench = Bench::new();
    bench
        .send(1, "Contact: <sip:a@h>;expires=60, <sip:b@h>;expires=120")
        .unwrap();
    let slots: Vec<_> = (0..64)
        .filter(|&slot| bench.registrar.due(slot).is_some())
        .collect();
    assert_eq!(slots.len(), 2);
    bench.pass_s(60);
    assert_eq!(bench.uris("alice"), ["sip:b@h"]);
    assert_eq!(bench.registrar.count(), 2);
    let mut expired = Vec::new();
    for slot in slots {
        let now = bench.now;
        let left = bench.registrar.expire(slot, now, |change| {
            expired.push((change.happened, change.record.uri.to_vec()));
        });
        assert_eq!(left, bench.registrar.due(slot));
    }
    assert_eq!(expired, [(Happened::Expired, b"sip:a@h".to_vec())]);
    bench.pass_s(60);
    assert_eq!(bench.send(2, ""), OK);
    assert_eq!(bench.changes, [(Happened::Expired, "sip:b@h".to_owned())]);
    assert_eq!(
        (bench.registrar.count(), bench.registrar.blocks().0),
        (0, 0)
    );
}

/// RFC 3327 §5.3.
#[test]
fn the_path_is_kept_in_order_and_told_to_who_knows_it() {
    let mut bench = Bench::new();
    let path = "Path: <sip:p1.example;lr>,\r\n <sip:p2.example;lr>|pAth: <sip:p3.example;lr>";
    let answer = bench.send(1, &format!("{PHONE}|{path}|Supported: gruu|k: PATH"));
    assert_eq!(
        answer.unwrap(),
        [
            "Contact: <sip:alice@192.168.1.7>;expires=600",
            "Path: <sip:p1.example;lr>,",
            " <sip:p2.example;lr>",
            "pAth: <sip:p3.example;lr>",
        ]
    );
    let mut paths = Vec::new();
    let now = bench.now;
    bench.registrar.targets(key("alice"), now, |_, record| {
        paths.push(record.path.to_vec())
    });
    let known = b"<sip:p1.example;lr>, <sip:p2.example;lr>, <sip:p3.example;lr>";
    assert_eq!(paths, [known.to_vec()]);
    let answer = bench.send(2, &format!("{PHONE}|{path}")).unwrap();
    assert_eq!(
        answer.len(),
        1,
        "who has not said that it knows Path is not told"
    );
    for path in ["<sip:p.example;lr", "sip:", ",", "<sip:@p>"] {
        let refused = bench.send(3, &format!("{PHONE}|Path: {path}"));
        assert_eq!(refused, Err(Refusal::Unreadable), "{path}");
    }
    let many = "<sip:p;lr>,".repeat(16) + "<sip:p;lr>";
    assert_eq!(
        bench.send(4, &format!("{PHONE}|Path: {many}")),
        Err(Refusal::TooLong)
    );
    let long = format!("<sip:{}@p;lr>", "p".repeat(1_024));
    assert_eq!(
        bench.send(5, &format!("{PHONE}|Path: {long}")),
        Err(Refusal::TooLong)
    );
}

/// RFC 3608 §6.3.
#[test]
fn a_service_route_is_told_where_there_is_one() {
    let service_route = "<sip:box.example;lr>".to_owned();
    let mut bench = Bench::with(
        4,
        Rules {
            service_route,
            ..rules()
        },
    );
    let answer = bench.send(1, PHONE).unwrap();
    assert_eq!(answer[1..], ["Service-Route: <sip:box.example;lr>"]);
}

/// RFC 3261 §10.3 step 2, §8.2.2.3.
#[test]
fn what_requires_more_than_is_known_is_refused_by_name() {
    let mut bench = Bench::new();
    bench
        .send(1, &format!("{PHONE}|Require: Path, outbound,|Require:"))
        .unwrap();
    let sent = Sent::new(2, &format!("{PHONE}|Require: gruu , path|Require: x"));
    assert_eq!(bench.take(&sent), Err(Refusal::Extension));
    let text = sent.text();
    let message = Message::scan(text.as_bytes()).unwrap();
    let mut room = [0; 100];
    let mut lines = Text::new(&mut room);
    Refusal::Extension.write(&message, &mut lines);
    let len = lines.finish().unwrap();
    assert_eq!(&room[..len], b"Unsupported: gruu\r\nUnsupported: x\r\n");
}

/// RFC 5627 §5.1: what only a registrar may say, and what would loop.
#[test]
fn a_phone_can_name_neither_its_gruu_nor_its_own_address_as_a_contact() {
    let mut bench = Bench::new();
    let gruu = "pub-gruu=\"sip:alice@example.com;gr=1\";temp-gruu=\"sip:t@example.com;gr\"";
    let answer = bench.send(
        1,
        &format!("Contact: <sip:a@h;gr=x>;{gruu};+sip.instance=\"<urn:x>\""),
    );
    assert_eq!(
        answer.unwrap(),
        ["Contact: <sip:a@h;gr=x>;+sip.instance=\"<urn:x>\";expires=600"]
    );
    let own = bench.send(2, "Contact: <sip:%61lice@EXAMPLE.com;x>");
    assert_eq!(own, Err(Refusal::Loops));
    assert_eq!(
        bench
            .send(3, "Contact: <sip:alice@example.com>;expires=0")
            .unwrap()
            .len(),
        1
    );
}

/// RFC 5630 §5.2.
#[test]
fn a_sips_contact_needs_sips_all_the_way() {
    let mut bench = Bench::new();
    let sips = Sent::new(1, "Contact: <SIPS:a@h>").text();
    assert_eq!(
        bench.take_text(&sips, "10.0.0.1:5060"),
        Err(Refusal::Insecure)
    );
    let secure = sips.replace("sip:example.com SIP", "sips:example.com SIP");
    assert_eq!(bench.take_text(&secure, "10.0.0.1:5060").unwrap().len(), 1);
    for lines in ["<sips:b@h>, <sip:c@h>", "<sips:b@h>\r\nPath: <sip:p;lr>"] {
        let text = secure
            .replace("<SIPS:a@h>", lines)
            .replace("CSeq: 1 ", "CSeq: 2 ");
        assert_eq!(
            bench.take_text(&text, "10.0.0.1:5060"),
            Err(Refusal::Insecure)
        );
    }
}

#[test]
fn each_refusal_has_the_status_of_its_rfc() {
    for (refusal, status) in [
        (Refusal::Extension, 420),
        (Refusal::Unreadable, 400),
        (Refusal::Star, 400),
        (Refusal::Twice, 400),
        (Refusal::SeveralFlows, 400),
        (Refusal::Insecure, 400),
        (Refusal::TooLong, 513),
        (Refusal::TooManyContacts, 403),
        (Refusal::Loops, 403),
        (Refusal::TooBrief { min_s: 1 }, 423),
        (Refusal::FirstHop, 439),
        (Refusal::OutOfOrder, 500),
        (Refusal::Full, 503),
    ] {
        assert_eq!(refusal.status(), status, "{refusal:?}");
        // RFC 3261 §10.3: no 6xx.
        assert!((400..600).contains(&refusal.status()));
        assert!(
            refusal
                .reason()
                .is_none_or(|reason| reason.is_ascii() && !reason.contains('\r'))
        );
    }
}
