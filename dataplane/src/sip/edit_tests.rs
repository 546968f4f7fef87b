use proptest::prelude::*;

use super::*;

const REQUEST: &str = "INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKa;rport\r\n\
    v: SIP/2.0/UDP b.example.com\r\n\
    Route: <sip:r1;lr>, <sip:r2;lr>\r\n\
    Route: <sip:r3;lr>\r\n\
    From: <sip:alice@example.com>;tag=f\r\n\
    To: <sip:bob@example.com>\r\n\
    Call-ID: id\r\n\
    CSeq: 1 INVITE\r\n\
    Max-Forwards: 70\r\n\
    l: 4\r\n\
    \r\nv=0\n";

/// The request with the change made.
fn changed_from(
    source: &str,
    change: impl FnOnce(&Message<'_>, &mut Splices) -> Result<(), Refused>,
) -> String {
    let message = Message::scan(source.as_bytes()).unwrap();
    let mut splices = Splices::new();
    change(&message, &mut splices).unwrap();
    let mut out = [0; 2_048];
    let len = splices.write(message.bytes(), &mut out).unwrap();
    String::from_utf8(out[..len].to_vec()).unwrap()
}

fn changed(change: impl FnOnce(&Message<'_>, &mut Splices) -> Result<(), Refused>) -> String {
    changed_from(REQUEST, change)
}

fn source(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn our_via_goes_on_top() {
    let ours = changed(|m, s| insert_via(m, s, b"192.0.2.1:5070", b"z9hG4bKo"));
    let line = "SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKo\r\nVia: ";
    assert_eq!(ours, REQUEST.replacen("SIP/2.0\r\nVia: ", line, 1));
}

#[test]
fn the_top_via_learns_where_the_request_came_from() {
    let stamped = changed(|m, s| stamp_via(m, s, source("198.51.100.7:5062")));
    assert_eq!(
        stamped,
        REQUEST.replacen(";rport", ";rport=5062;received=198.51.100.7", 1)
    );
    let stamped = changed(|m, s| stamp_via(m, s, source("[2001:db8::1]:5062")));
    assert_eq!(
        stamped,
        REQUEST.replacen(";rport", ";rport=5062;received=2001:db8::1", 1)
    );
}

#[test]
fn received_is_left_out_where_sent_by_says_it_already() {
    let plain = REQUEST.replacen("a.example.com;branch=z9hG4bKa;rport", "192.0.2.4:5062", 1);
    assert_eq!(
        changed_from(&plain, |m, s| stamp_via(m, s, source("192.0.2.4:5060"))),
        plain
    );
    let other = changed_from(&plain, |m, s| stamp_via(m, s, source("192.0.2.5:5060")));
    assert_eq!(
        other,
        plain.replacen(":5062", ":5062;received=192.0.2.5", 1)
    );
}

#[test]
fn a_received_and_an_rport_that_the_sender_wrote_are_not_believed() {
    let forged = ";received=10.0.0.1;rport = 99 ;branch=z9hG4bKa";
    let text = REQUEST.replacen(";branch=z9hG4bKa;rport", forged, 1);
    let stamped = changed_from(&text, |m, s| stamp_via(m, s, source("192.0.2.5:5060")));
    let truth = ";received=192.0.2.5;rport=5060 ;branch=z9hG4bKa";
    assert_eq!(stamped, text.replacen(forged, truth, 1));
}

#[test]
fn the_top_via_goes_with_its_line_or_out_of_it() {
    let alone = changed(pop_via);
    let line = "Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKa;rport\r\n";
    assert_eq!(alone, REQUEST.replacen(line, "", 1));
    let joined = REQUEST.replacen(";rport\r\nv: ", ";rport ,\r\n ", 1);
    let popped = changed_from(&joined, pop_via);
    let value = "SIP/2.0/UDP a.example.com;branch=z9hG4bKa;rport ,\r\n ";
    assert_eq!(popped, joined.replacen(value, "", 1));
}

#[test]
fn max_forwards_is_set_or_added_below_the_vias() {
    assert_eq!(
        changed(|m, s| set_max_forwards(m, s, 9)),
        REQUEST.replace(": 70", ": 9")
    );
    let without = REQUEST.replace("Max-Forwards: 70\r\n", "");
    let added = changed_from(&without, |m, s| set_max_forwards(m, s, 69));
    let below = "b.example.com\r\nMax-Forwards: 69\r\n";
    assert_eq!(added, without.replacen("b.example.com\r\n", below, 1));
}

#[test]
fn the_request_uri_is_replaced() {
    let uri = changed(|m, s| set_request_uri(m, s, &[b"tel:", b"+1"]));
    assert_eq!(
        uri,
        REQUEST.replacen("INVITE sip:bob@example.com", "INVITE tel:+1", 1)
    );
}

#[test]
fn record_routes_go_above_those_there_or_below_the_vias() {
    let uris: [[&[u8]; 2]; 2] = [[b"sip:x", b";lr"], [b"sip:y;lr", b""]];
    let lines = "Record-Route: <sip:x;lr>\r\nRecord-Route: <sip:y;lr>\r\n";
    let added = changed(|m, s| insert_record_routes(m, s, &uris));
    assert_eq!(
        added,
        REQUEST.replacen("Route: <sip:r1", &format!("{lines}Route: <sip:r1"), 1)
    );
    let with = REQUEST.replacen("From:", "record-route: <sip:z;lr>\r\nFrom:", 1);
    let added = changed_from(&with, |m, s| insert_record_routes(m, s, &uris));
    assert_eq!(
        added,
        with.replacen("record-route", &format!("{lines}record-route"), 1)
    );
}

#[test]
fn routes_go_one_by_one() {
    for (count, first, second) in [
        (
            0,
            "Route: <sip:r1;lr>, <sip:r2;lr>\r\n",
            "Route: <sip:r3;lr>\r\n",
        ),
        (1, "Route: <sip:r2;lr>\r\n", "Route: <sip:r3;lr>\r\n"),
        (2, "", "Route: <sip:r3;lr>\r\n"),
        (3, "", ""),
        (9, "", ""),
    ] {
        let removed = changed(|m, s| remove_routes(m, s, count));
        let expected = REQUEST
            .replacen("Route: <sip:r1;lr>, <sip:r2;lr>\r\n", first, 1)
            .replacen("Route: <sip:r3;lr>\r\n", second, 1);
        assert_eq!(removed, expected, "{count}");
    }
    let text = REQUEST.replacen("<sip:r1;lr>,", "<sip:r1;lr> x,", 1);
    let message = Message::scan(text.as_bytes()).unwrap();
    let refused = remove_routes(&message, &mut Splices::new(), 1);
    assert_eq!(refused, Err(Refused::Malformed(Malformed::Route)));
}

#[test]
fn a_new_body_comes_with_its_length() {
    let body = changed(|m, s| set_body(m, s, b"longer body"));
    assert_eq!(
        body,
        REQUEST.replacen("l: 4\r\n\r\nv=0\n", "l: 11\r\n\r\nlonger body", 1)
    );
    let without = REQUEST.replacen("l: 4\r\n", "", 1);
    let body = changed_from(&without, |m, s| set_body(m, s, b""));
    assert_eq!(
        body,
        without.replacen("\r\n\r\nv=0\n", "\r\nContent-Length: 0\r\n\r\n", 1)
    );
    let part = changed(|m, s| {
        let start = m.body_span().start + 2;
        set_body_part(
            m,
            s,
            Span {
                start,
                end: start + 1,
            },
            b"12",
        )
    });
    assert_eq!(
        part,
        REQUEST.replacen("l: 4\r\n\r\nv=0", "l: 5\r\n\r\nv=12", 1)
    );
}

#[test]
fn to_gets_a_tag_only_where_it_has_none() {
    let tagged = changed(|m, s| add_to_tag(m, s, b"t"));
    assert_eq!(
        tagged,
        REQUEST.replacen(
            "To: <sip:bob@example.com>",
            "To: <sip:bob@example.com>;tag=t",
            1
        )
    );
    assert_eq!(changed_from(&tagged, |m, s| add_to_tag(m, s, b"u")), tagged);
}

#[test]
fn changes_that_touch_the_same_bytes_are_refused() {
    let mut splices = Splices::new();
    splices.remove(Span { start: 5, end: 10 }).unwrap();
    for (start, end) in [(5, 6), (4, 6), (9, 11), (6, 6), (0, 20)] {
        assert_eq!(
            splices.remove(Span { start, end }),
            Err(Refused::Overlap),
            "{start}..{end}"
        );
    }
    for (start, end) in [(5, 5), (10, 10), (3, 5), (10, 12)] {
        assert_eq!(
            splices.remove(Span { start, end }),
            Ok(()),
            "{start}..{end}"
        );
    }
}

#[test]
fn too_many_changes_and_too_much_text_are_refused() {
    let mut splices = Splices::new();
    assert_eq!(
        splices.insert(0, &[b'x'; TEXT_LEN_MAX + 1]),
        Err(Refused::Full)
    );
    for _ in 0..SPLICES_MAX {
        splices.insert(0, b"x").unwrap();
    }
    assert_eq!(splices.insert(0, b"x"), Err(Refused::Full));
    let mut out = [0; SPLICES_MAX];
    assert_eq!(splices.write(b"", &mut out), Ok(SPLICES_MAX));
    assert_eq!(splices.write(b"y", &mut out), Err(TooLong));
    splices.clear();
    assert_eq!(splices.write(b"y", &mut out), Ok(1));
}

proptest! {
    #[test]
    fn splices_equal_the_same_changes_made_one_by_one(
        source in prop::collection::vec(any::<u8>(), 0..64),
        asked in prop::collection::vec((0..64_u16, 0..8_u16, ".{0,6}"), 0..12),
    ) {
        let mut splices = Splices::new();
        let mut taken = Vec::new();
        for (start, len, text) in asked {
            let span = Span { start, end: start + len };
            if usize::from(span.end) <= source.len() && splices.replace(span, text.as_bytes()).is_ok() {
                taken.push((span, text));
            }
        }
        // From the last place to the first, so that no place moves.
        taken.sort_by_key(|(span, _)| span.start);
        let mut naive = source.clone();
        let mut places: Vec<u16> = taken.iter().map(|(span, _)| span.start).collect();
        places.dedup();
        for place in places.into_iter().rev() {
            let here = taken.iter().filter(|(span, _)| span.start == place);
            let end = here.clone().map(|(span, _)| span.end).max().unwrap_or(place);
            let text: String = here.map(|(_, text)| text.as_str()).collect();
            naive.splice(usize::from(place)..usize::from(end), text.bytes());
        }
        let mut out = vec![0; 1_024];
        let len = splices.write(&source, &mut out).unwrap();
        prop_assert_eq!(&out[..len], &naive[..]);
    }
}

#[test]
fn max_breadth_is_set_where_it_stands_or_below_max_forwards() {
    // RFC 5393 §5.3.3.
    let set = |text: &str, to| changed_from(text, |m, s| set_max_breadth(m, s, to));
    let with = |value: &str| {
        let line = format!("Max-Forwards: 70\r\nMax-Breadth: {value}\r\n");
        REQUEST.replacen("Max-Forwards: 70\r\n", &line, 1)
    };
    assert_eq!(set(REQUEST, 60), with("60"));
    for old in ["61", "4294967296", "many", ""] {
        assert_eq!(set(&with(old), 60), with("60"), "{old}");
    }
    assert_eq!(set(&with("030"), 30), with("030"), "it says so already");
    let none = REQUEST.replacen("Max-Forwards: 70\r\n", "", 1);
    let below = none.replacen("\r\nRoute:", "\r\nMax-Breadth: 5\r\nRoute:", 1);
    assert_eq!(set(&none, 5), below);
}

#[test]
fn both_limits_are_set_as_each_is_alone() {
    let with = REQUEST.replacen(
        "Max-Forwards: 70\r\n",
        "Max-Breadth: 9\r\nMax-Forwards: 70\r\n",
        1,
    );
    let none = REQUEST.replacen("Max-Forwards: 70\r\n", "", 1);
    for text in [REQUEST, &with, &none] {
        let alone = changed_from(text, |m, s| {
            set_max_forwards(m, s, 69)?;
            set_max_breadth(m, s, 60)
        });
        assert_eq!(changed_from(text, |m, s| set_limits(m, s, 69, 60)), alone);
    }
    let spaced = REQUEST.replacen("Max-Forwards: 70", "Max-Forwards: 70 \t", 1);
    let set = changed_from(&spaced, |m, s| set_limits(m, s, 69, 60));
    assert!(
        set.contains("Max-Forwards: 69\r\nMax-Breadth: 60\r\nl: 4"),
        "{set}"
    );
}
