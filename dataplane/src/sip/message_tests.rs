use proptest::prelude::*;

use super::*;

const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKa\r\n\
    Via: SIP/2.0/UDP b.example.com;branch=z9hG4bKb, SIP/2.0/UDP c.example.com\r\n\
    Max-Forwards: 70\r\n\
    From: <sip:alice@example.com>;tag=f\r\n\
    To: <sip:bob@example.com>\r\n\
    Call-ID: id@example.com\r\n\
    CSeq: 1 INVITE\r\n\
    Route: <sip:r1;lr>, \"a, b\" <sip:r2;lr>;x=\"c, d\"\r\n\
    route:\r\n <sip:r3;lr>\r\n\
    Contact: <sip:alice@192.0.2.1>\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 4\r\n\
    \r\nv=0\n";

fn refused(text: &str) -> Malformed {
    Message::scan(text.as_bytes()).unwrap_err()
}

#[test]
fn an_invite_is_read() {
    let message = Message::scan(INVITE.as_bytes()).unwrap();
    assert_eq!(
        message.text(message.request_uri().unwrap()),
        b"sip:bob@example.com"
    );
    assert_eq!(message.method(), Method::Invite);
    assert_eq!(message.text(message.via().host), b"a.example.com");
    assert_eq!(
        message.text(message.second_via().unwrap().unwrap().host),
        b"b.example.com"
    );
    assert_eq!(message.from_tag(), Some(&b"f"[..]));
    assert_eq!(message.to_tag(), None);
    assert_eq!(message.call_id(), b"id@example.com");
    assert_eq!(message.cseq(), (1, &b"INVITE"[..], Method::Invite));
    assert_eq!(message.max_forwards(), Some(70));
    assert_eq!(message.content_type(), Some(&b"application/sdp"[..]));
    assert_eq!(message.body(), b"v=0\n");
    assert_eq!(message.headers().count(), 12);
}

#[test]
fn routes_come_in_order_across_lines_and_commas() {
    let message = Message::scan(INVITE.as_bytes()).unwrap();
    let routes: Vec<_> = message.routes().map(|route| route.unwrap()).collect();
    let uris: Vec<_> = routes
        .iter()
        .map(|route| message.text(route.address.uri))
        .collect();
    assert_eq!(uris, [b"sip:r1;lr", b"sip:r2;lr", b"sip:r3;lr"]);
    assert_eq!(
        routes.iter().map(|r| r.is_first()).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(message.record_routes().count(), 0);
}

#[test]
fn a_route_that_cannot_be_read_is_the_last() {
    let text = INVITE.replace("<sip:r1;lr>,", "<sip:r1;lr>,,");
    let message = Message::scan(text.as_bytes()).unwrap();
    let routes: Vec<_> = message.routes().collect();
    assert_eq!(routes.len(), 2);
    assert_eq!(routes[1], Err(Malformed::Route));
}

#[test]
fn line_ends_before_the_message_are_no_part_of_it() {
    let text = format!("\r\n\r\n{INVITE}");
    let message = Message::scan(text.as_bytes()).unwrap();
    assert_eq!(message.bytes(), INVITE.as_bytes());
}

#[test]
fn line_ends_are_found_wherever_they_stand() {
    // The scan looks at 64 bytes at a time: each line end comes to stand at the end of them once.
    for len in 0..140 {
        let with = |end: &str| {
            let line = format!("X: {}{end}Max-Forwards", "x".repeat(len));
            INVITE.replacen("Max-Forwards", &line, 1)
        };
        for (end, folded) in [("\r\n", 0), ("\r\n\ty\r\n", 4), ("\t\\\0\x0b\r\n", 4)] {
            let text = with(end);
            let message = Message::scan(text.as_bytes()).unwrap();
            let odd = message.headers().nth(2).unwrap();
            assert_eq!(usize::from(odd.line.len()), 5 + len + folded, "{text}");
            assert_eq!(message.headers().count(), 13);
            assert_eq!(message.max_forwards(), Some(70));
        }
        for end in ["\r", "\n", "\0", "\r\r\n", "\n\r\n", "\r\n\r"] {
            assert_eq!(refused(&with(end)), Malformed::LineEnd, "{end:?}");
        }
    }
}

#[test]
fn routes_are_the_same_whether_the_scan_has_read_them_or_not() {
    let lines = [
        "Route: <sip:1>\r\n",
        "Route: <sip:1>, <sip:2>\r\n",
        "Route: <sip:1>, <sip:2>, <sip:3>\r\n",
        "Route: <sip:1>\r\nX: y\r\nRoute: <sip:2>, <sip:3>\r\n",
        "Route: <sip:1>\r\nRoute: <sip:2>\r\nX: y\r\nRoute: <sip:3>, <sip:4>\r\nRoute: <sip:5>\r\n",
        "Route: <sip:1>, <sip:2>\r\nRoute: <sip:3>\r\nRoute: <sip:4>\r\n",
    ];
    let front = INVITE.split_once("Route:").unwrap().0;
    for lines in lines {
        let text = format!("{front}{lines}\r\n");
        let message = Message::scan(text.as_bytes()).unwrap();
        let count = lines.matches("sip:").count();
        let all: Vec<_> = (1..=count).map(|at| format!("sip:{at}")).collect();
        let read = |list: List<'_>, at| {
            let value = list.clone().nth(at).map(Result::unwrap);
            assert_eq!(value, list.map(Result::unwrap).nth(at));
            value
        };
        // Record-Route is read only where it is asked for.
        let recorded = text.replace("Route: <", "Record-Route: <");
        let recorded = Message::scan(recorded.as_bytes()).unwrap();
        for at in 0..=count {
            let known = read(message.routes(), at).map(|value| message.text(value.address.uri));
            let unread = read(recorded.record_routes(), at);
            let unread = unread.map(|value| recorded.text(value.address.uri));
            let expected = all.get(at).map(String::as_bytes);
            assert_eq!((known, unread), (expected, expected), "{lines}");
        }
    }
}

#[test]
fn keepalives_are_told_from_messages() {
    for keepalive in [&b""[..], b"\r\n\r\n", b"\r\n", b"\0\0\0\0"] {
        assert!(scan::is_keepalive(keepalive));
        assert_eq!(Message::scan(keepalive).unwrap_err(), Malformed::Empty);
    }
    assert!(!scan::is_keepalive(INVITE.as_bytes()));
}

#[test]
fn each_header_field_that_must_be_there_is_missed_by_name() {
    for (line, reason) in [
        (
            "From: <sip:alice@example.com>;tag=f\r\n",
            Malformed::MissingFrom,
        ),
        ("To: <sip:bob@example.com>\r\n", Malformed::MissingTo),
        ("Call-ID: id@example.com\r\n", Malformed::MissingCallId),
        ("CSeq: 1 INVITE\r\n", Malformed::MissingCseq),
    ] {
        assert_eq!(refused(&INVITE.replace(line, "")), reason);
        assert_eq!(
            refused(&INVITE.replace(line, &line.repeat(2))),
            Malformed::Duplicate
        );
    }
    assert_eq!(
        refused(&INVITE.replace("Via:", "X:")),
        Malformed::MissingVia
    );
    assert!(Message::scan(INVITE.replace("Max-Forwards: 70\r\n", "").as_bytes()).is_ok());
}

#[test]
fn what_another_element_would_read_differently_is_refused() {
    for (from, to, reason) in [
        (
            "Max-Forwards: 70\r\n",
            "Max-Forwards: 70\n",
            Malformed::LineEnd,
        ),
        (
            "Max-Forwards: 70\r\n",
            "Max-Forwards: 70\rX: y\r\n",
            Malformed::LineEnd,
        ),
        (
            "Max-Forwards: 70",
            "Max-Forwards: 7\x000",
            Malformed::LineEnd,
        ),
        (
            "Max-Forwards: 70",
            "Max-Forwards: 256",
            Malformed::MaxForwards,
        ),
        (
            "Max-Forwards: 70",
            "Max-Forwards: +7",
            Malformed::MaxForwards,
        ),
        ("Max-Forwards: 70", "Max-Forwards 70", Malformed::HeaderLine),
        ("Max-Forwards: 70", ": 70", Malformed::HeaderLine),
        (
            "Content-Length: 4",
            "Content-Length: 5",
            Malformed::ContentLength,
        ),
        (
            "Content-Length: 4",
            "Content-Length: 4294967300",
            Malformed::ContentLength,
        ),
        (
            "Content-Length: 4",
            "Content-Length:",
            Malformed::ContentLength,
        ),
        (
            "Content-Length: 4",
            "Content-Length: 4\r\nl: 4",
            Malformed::Duplicate,
        ),
        ("CSeq: 1 INVITE", "CSeq: 1 BYE", Malformed::CseqMethod),
        ("CSeq: 1 INVITE", "CSeq: 1 invite", Malformed::CseqMethod),
        ("CSeq: 1 INVITE", "CSeq: 1INVITE", Malformed::Cseq),
        ("CSeq: 1 INVITE", "CSeq: 1 INVITE x", Malformed::Cseq),
        ("CSeq: 1 INVITE", "CSeq: 2147483648 INVITE", Malformed::Cseq),
        (
            "Call-ID: id@example.com",
            "Call-ID: id example",
            Malformed::CallId,
        ),
        ("Call-ID: id@example.com", "Call-ID: ", Malformed::CallId),
        ("tag=f", "tag=f;tag=g", Malformed::From),
        (
            "To: <sip:bob@example.com>",
            "To: \"<sip:bob@example.com>",
            Malformed::To,
        ),
        ("\r\n\r\nv=0\n", "\r\n", Malformed::Unended),
        ("\r\n\r\nv=0\n", "\r\n\r", Malformed::Unended),
        ("SIP/2.0\r\nVia", "SIP/3.0\r\nVia", Malformed::Version),
        ("SIP/2.0\r\nVia", "HTTP/1.1\r\nVia", Malformed::StartLine),
        ("INVITE sip:bob@", "INVITE  sip:bob@", Malformed::StartLine),
        ("INVITE sip:bob@", "INVITE bob@", Malformed::StartLine),
    ] {
        let text = INVITE.replacen(from, to, 1);
        assert_ne!(text, INVITE, "{from}");
        assert_eq!(refused(&text), reason, "{to:?}");
    }
}

#[test]
fn a_status_line_is_read_with_and_without_a_reason() {
    for (line, status, reason) in [
        ("SIP/2.0 200 OK", 200, "OK"),
        ("sip/2.0 183 Session  Progress", 183, "Session  Progress"),
        ("SIP/2.0 699 ", 699, ""),
        ("SIP/2.0 100", 100, ""),
    ] {
        let text = INVITE.replacen("INVITE sip:bob@example.com SIP/2.0", line, 1);
        let message = Message::scan(text.as_bytes()).unwrap();
        assert_eq!(message.status(), Some(status));
        let Start::Response { reason: span, .. } = message.start() else {
            panic!("a request")
        };
        assert_eq!(message.text(span), reason.as_bytes());
    }
    for line in [
        "SIP/2.0 099 x",
        "SIP/2.0 700 x",
        "SIP/2.0 20 x",
        "SIP/2.0 2000",
        "SIP/2.0",
    ] {
        let text = INVITE.replacen("INVITE sip:bob@example.com SIP/2.0", line, 1);
        assert_eq!(refused(&text), Malformed::StartLine, "{line}");
    }
}

#[test]
fn the_next_via_is_found_in_the_line_and_below_it() {
    let popped = INVITE.replacen("Via: SIP/2.0/UDP a.example.com;branch=z9hG4bKa\r\n", "", 1);
    let message = Message::scan(popped.as_bytes()).unwrap();
    assert_eq!(
        message.text(message.second_via().unwrap().unwrap().host),
        b"c.example.com"
    );
    let broken = INVITE.replacen("Via: SIP/2.0/UDP b", "Via: SIP/2.0/ b", 1);
    let message = Message::scan(broken.as_bytes()).unwrap();
    assert_eq!(message.second_via(), Err(Malformed::Via));
}

#[test]
fn a_message_fits_six_cache_lines() {
    assert!(
        size_of::<Message<'_>>() <= 384,
        "{}",
        size_of::<Message<'_>>()
    );
}

/// White space as the grammar allows it between the parts of a value.
fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", " ", "\t", "  ", "\r\n ", " \r\n\t"])
}

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.!%*_+`'~-]{1,12}"
}

fn any_case(name: &'static str, compact: &'static str) -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        name.to_owned(),
        name.to_lowercase(),
        name.to_uppercase(),
        compact.to_owned(),
    ])
}

fn via() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec!["192.0.2.1", "[2001:db8::1]", "a-b.example.com"]);
    let port = prop::option::of(1_u16..);
    (host, port, token(), space(), space(), any::<bool>()).prop_map(
        |(host, port, branch, s1, s2, rport)| {
            let port = port.map_or(String::new(), |port| format!("{s1}:{s2}{port}"));
            let rport = if rport {
                format!("{s2};{s1}rport")
            } else {
                String::new()
            };
            format!("SIP{s1}/{s2}2.0/UDP {s2}{host}{port}{s1};branch{s2}={s1}{branch}{rport}")
        },
    )
}

fn party_value() -> impl Strategy<Value = (String, String)> {
    let display = prop::sample::select(vec!["", "Al ", "\"A, \\\"B;\\\" <x>\" ", "\"é\""]);
    (display, token(), token(), space(), space()).prop_map(|(display, user, tag, s1, s2)| {
        let value = format!("{display}<sip:{user}@example.com;x=y>{s1};{s2}tag{s1}={s2}{tag}");
        (value, tag)
    })
}

/// A valid request, with what must be read from it: Call-ID, CSeq, tags, body.
#[derive(Clone, Debug)]
struct Valid {
    text: String,
    call_id: String,
    cseq: u32,
    from_tag: String,
    to_tag: String,
    vias: usize,
    body: String,
}

fn valid() -> impl Strategy<Value = Valid> {
    let names = (
        any_case("From", "f"),
        any_case("Call-ID", "i"),
        any_case("Via", "v"),
    );
    let parties = (party_value(), party_value());
    let ids = (token(), 0_u32..1 << 31, token());
    let vias = prop::collection::vec((via(), any::<bool>()), 1..4);
    (
        names,
        parties,
        ids,
        vias,
        "[ -~\r\n]{0,40}",
        space(),
        any::<u64>(),
    )
        .prop_map(
            |(
                (f, i, v),
                ((from, from_tag), (to, to_tag)),
                (call_id, cseq, method),
                vias,
                body,
                s,
                shuffle,
            )| {
                let mut via_lines = String::new();
                for (index, (via, joined)) in vias.iter().enumerate() {
                    if index > 0 && *joined {
                        let joined = format!("{s},{s}{via}\r\n");
                        via_lines.truncate(via_lines.len() - 2);
                        via_lines.push_str(&joined);
                    } else {
                        via_lines.push_str(&format!("{v}:{s}{via}\r\n"));
                    }
                }
                let mut lines = [
                    via_lines,
                    format!("{f}:{s}{from}\r\n"),
                    format!("To: {to}{s}\r\n"),
                    format!("{i}: {call_id}\r\n"),
                    format!("CSeq:{s}{cseq} {s}{method}\r\n"),
                    format!("Content-Length: {}\r\n", body.len()),
                    "X-Other: ;;,\"\r\n".to_owned(),
                ];
                let by = usize::try_from(shuffle % 7).unwrap();
                lines.rotate_left(by);
                let text = format!(
                    "{method} sip:x@example.com SIP/2.0\r\n{}\r\n{body}",
                    lines.concat()
                );
                Valid {
                    text,
                    call_id,
                    cseq,
                    from_tag,
                    to_tag,
                    vias: vias.len(),
                    body,
                }
            },
        )
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz::scan(&bytes);
    }

    #[test]
    fn a_damaged_message_never_panics(
        at in 0..INVITE.len(),
        damage in prop::collection::vec(any::<u8>(), 0..4),
        cut in 0..4_usize,
    ) {
        let mut bytes = INVITE.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, damage);
        crate::fuzz::scan(&bytes);
    }

    #[test]
    fn a_valid_message_is_read_as_it_was_meant(valid in valid()) {
        let message = Message::scan(valid.text.as_bytes());
        let message = message.map_err(|reason| TestCaseError::fail(reason.to_string()))?;
        prop_assert_eq!(message.call_id(), valid.call_id.as_bytes());
        prop_assert_eq!(message.cseq().0, valid.cseq);
        prop_assert_eq!(message.from_tag(), Some(valid.from_tag.as_bytes()));
        prop_assert_eq!(message.to_tag(), Some(valid.to_tag.as_bytes()));
        prop_assert_eq!(message.body(), valid.body.as_bytes());
        prop_assert_eq!(message.second_via().unwrap().is_some(), valid.vias > 1);
        crate::fuzz::scan(valid.text.as_bytes());
    }
}
