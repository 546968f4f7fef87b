//! The torture messages of RFC 4475 and RFC 5118, each with the verdict that the RFC gives to
//! a proxy, through a whole worker: what is answered and how, what goes on, and that it goes on
//! as it came but for what a proxy must change.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::collections::BTreeSet;
use std::path::PathBuf;

use bench::Bench;
use bench::Left;
use bench::call::status;
use bench::invite;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::lab::Side;
use trunkline_dataplane::sip::header::HeaderName;
use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::method::Method;
use trunkline_dataplane::wire::VlanStack;

/// What a proxy makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The request goes on.
    Forwarded,
    /// The response goes back to who sent the request.
    Returned,
    /// The request is refused with this status.
    Answered(u16),
    /// Nothing leaves, and this counts it.
    Dropped(Counter),
}

use Verdict::Answered;
use Verdict::Dropped;
use Verdict::Forwarded;
use Verdict::Returned;

/// RFC 4475, in its order: name, section, verdict.
const RFC4475: [(&str, &str, Verdict); 50] = [
    // Folding, white space, compact names, two Vias in a line, an unknown header.
    ("wsinv", "3.1.1.1", Forwarded),
    // Every odd byte that the grammar allows, an escaped NUL too.
    ("intmeth", "3.1.1.2", Forwarded),
    // Escapes in URIs stay as they are.
    ("esc01", "3.1.1.3", Forwarded),
    // %00 is three bytes to a proxy.
    ("escnull", "3.1.1.4", Forwarded),
    // % in a method and in a header's name is no escape.
    ("esc02", "3.1.1.5", Forwarded),
    // No white space before <.
    ("lwsdisp", "3.1.1.6", Forwarded),
    // Long values, 34 Vias, names in every case.
    ("longreq", "3.1.1.7", Forwarded),
    // RFC 3261 §18.3: what follows the body is discarded.
    ("dblreq", "3.1.1.8", Forwarded),
    // A user part with ; in it.
    ("semiuri", "3.1.1.9", Forwarded),
    // Vias of transports that nobody knows.
    ("transports", "3.1.1.10", Forwarded),
    // A body of several parts, not all of it text.
    ("mpart01", "3.1.1.11", Forwarded),
    // A reason phrase in UTF-8.
    ("unreason", "3.1.1.12", Returned),
    // An empty reason phrase; the response is a 100.
    ("noreason", "3.1.1.13", Returned),
    // Empty parameters and values.
    ("badinv01", "3.1.2.1", Answered(400)),
    // A Content-Length that promises more than came.
    ("clerr", "3.1.2.2", Answered(400)),
    // -999: "should respond with an error".
    ("ncl", "3.1.2.3", Answered(400)),
    // A CSeq beyond 2^31.
    ("scalar02", "3.1.2.4", Answered(400)),
    // The same in a response: "will simply discard it".
    ("scalarlg", "3.1.2.5", Dropped(Counter::SipMalformed)),
    // A quote that never ends.
    ("quotbal", "3.1.2.6", Answered(400)),
    // A Request-URI in brackets.
    ("ltgtruri", "3.1.2.7", Answered(400)),
    // White space in the Request-URI.
    ("lwsruri", "3.1.2.8", Answered(400)),
    // More than one space between its parts.
    ("lwsstart", "3.1.2.9", Answered(400)),
    // Spaces at the end of the line.
    ("trws", "3.1.2.10", Answered(400)),
    // Headers in the Request-URI: a proxy must not let them pass.
    ("escruri", "3.1.2.11", Answered(400)),
    // A time zone that is none: no business of a proxy's.
    ("baddate", "3.1.2.12", Forwarded),
    // A Contact without brackets: the registrar's to refuse.
    ("regbadct", "3.1.2.13", Forwarded),
    // Spaces inside the brackets: "may ignore the spaces".
    ("badaspec", "3.1.2.14", Forwarded),
    // A comma in a display name without quotes: a proxy must not pass it on.
    ("baddn", "3.1.2.15", Answered(400)),
    // SIP/7.0.
    ("badvers", "3.1.2.16", Answered(505)),
    // OPTIONS against INVITE.
    ("mismatch01", "3.1.2.17", Answered(400)),
    // An unknown method against INVITE: "501 ... has better future-proof characteristics".
    ("mismatch02", "3.1.2.18", Answered(501)),
    // A status code beyond 699: "should simply drop it".
    ("bigcode", "3.1.2.19", Dropped(Counter::SipMalformed)),
    // The bare cookie: "fall back to the RFC 2543-style transaction identifier".
    ("badbranch", "3.2.1", Forwarded),
    // Neither From, To nor Call-ID: "ideally" a 400, but one that names nothing helps nobody.
    ("insuf", "3.3.1", Dropped(Counter::SipMalformed)),
    // An unknown scheme.
    ("unkscm", "3.3.2", Answered(416)),
    // soap.beep.
    ("novelsc", "3.3.3", Answered(416)),
    // Unknown schemes in To and Contact: "treat this message as they would any other".
    ("unksm2", "3.3.4", Forwarded),
    // Proxy-Require.
    ("bext01", "3.3.5", Answered(420)),
    // A Content-Type that nobody knows.
    ("invut", "3.3.6", Forwarded),
    // An Authorization that nobody knows.
    ("regaut01", "3.3.7", Forwarded),
    // Two of From, To, Call-ID and CSeq.
    ("multi01", "3.3.8", Answered(400)),
    // Two of Content-Length.
    ("mcl01", "3.3.9", Answered(400)),
    // A second Via that broadcasts: "proxies should drop such responses".
    ("bcast", "3.3.10", Dropped(Counter::SipBranchForged)),
    // No hops left.
    ("zeromf", "3.3.11", Answered(483)),
    // Unknown parameters of Contact and its URI, a Contact with an escaped Route in it.
    ("cparam01", "3.3.12", Forwarded),
    ("cparam02", "3.3.13", Forwarded),
    ("regescrt", "3.3.14", Forwarded),
    // Accept without SDP: for the end point.
    ("sdp01", "3.3.15", Forwarded),
    // An RFC 2543 INVITE: no branch, no From tag, no Content-Length, no Max-Forwards.
    ("inv2543", "3.4.1", Forwarded),
    // Not in the RFC's text, but in its archive: no version in the request line.
    ("test", "-", Dropped(Counter::SipMalformed)),
];

/// RFC 5118, in its order. The files are the RFC's with the line ends and lengths of messages on
/// the wire: its archive has bare LFs, lengths that fit neither, and two messages without their
/// empty line.
const RFC5118: [(&str, &str, Verdict); 12] = [
    ("ipv6-good", "4.1", Forwarded),
    // An address without its brackets: "should respond with a 400".
    ("ipv6-bad", "4.2", Answered(400)),
    // What the sender took for a port is part of the address.
    ("port-ambiguous", "4.3", Forwarded),
    ("port-unambiguous", "4.4", Forwarded),
    // A `received` in brackets: "must parse them successfully".
    ("via-received-param-with-delim", "4.5", Forwarded),
    ("via-received-param-no-delim", "4.5", Forwarded),
    ("ipv6-in-sdp", "4.6", Forwarded),
    // Vias of both families.
    ("mult-ip-in-header", "4.7", Forwarded),
    // Streams of both families: a relay port on a side has one of them.
    ("mult-ip-in-sdp", "4.8", Answered(488)),
    // The addresses of IPv4 in the clothes of IPv6.
    ("ipv4-mapped-ipv6", "4.9", Answered(488)),
    // A colon too many: "must tolerate both".
    ("ipv6-bug-abnf-3-colons", "4.10", Forwarded),
    ("ipv6-correct-abnf-2-colons", "4.10", Forwarded),
];

const IPV6: Lab = Lab {
    sides: [Side {
        ipv6: true,
        vlan: VlanStack::NONE,
    }; 2],
    shared: false,
};

fn folder(rfc: &str) -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    tests.join(rfc)
}

fn fixture(rfc: &str, name: &str) -> Vec<u8> {
    std::fs::read(folder(rfc).join(name).with_extension("dat")).unwrap()
}

/// What leaves, by a ring or by the kernel, because the caller sends `bytes`.
fn heard(bench: &mut Bench, side: usize, bytes: &[u8]) -> Vec<Left> {
    let source = bench.lab.peer(side);
    // What is too long for a frame comes in fragments, which the kernel puts together.
    let mut left = if bytes.len() > 1_400 {
        bench.by_socket(0, source, u8::try_from(side).unwrap(), bytes)
    } else {
        bench.left.clear();
        bench.arrives(0, source, bench.lab.listen(side), bytes);
        bench.turn();
        bench.left.drain(..).collect()
    };
    left.extend(bench.by_kernel());
    left
}

fn check(lab: Lab, rfc: &str, name: &str, verdict: Verdict) {
    let mut bench = Bench::within(lab, 1);
    let mut bytes = fixture(rfc, name);
    let [caller, callee] = [0, 1].map(|side| lab.peer(side));
    match verdict {
        Forwarded => {
            if let Some(outside) = outside_a_dialog(&bytes) {
                // It is of no dialog that ever passed here.
                let left = heard(&mut bench, 0, &bytes);
                let text = String::from_utf8_lossy(&left[0].payload).into_owned();
                assert_eq!(status(&text), "481", "{name}");
                bytes = outside;
            }
            let left = heard(&mut bench, 0, &bytes);
            let mut on = left.iter().filter(|left| left.destination == callee);
            let on = on.next().unwrap_or_else(|| panic!("{name}: {left:?}"));
            passes_unchanged(name, &bytes, &on.payload);
        }
        Answered(code) => {
            let left = heard(&mut bench, 0, &bytes);
            assert_eq!(left.len(), 1, "{name}: {left:?}");
            // RFC 3261 §18.2.2: to the port that Via names.
            assert_eq!(left[0].destination.ip(), caller.ip(), "{name}");
            let text = String::from_utf8_lossy(&left[0].payload).into_owned();
            assert_eq!(status(&text), code.to_string(), "{name}: {text}");
            answers(name, &bytes, &text);
        }
        Dropped(counter) => {
            let side = usize::from(bytes.starts_with(b"SIP/"));
            assert!(heard(&mut bench, side, &bytes).is_empty(), "{name}");
            assert_eq!(bench.count(counter), 1, "{name}");
        }
        Returned => returned(&mut bench, name, &bytes),
    }
}

/// The request without its To tag and with another branch, where it has a tag.
fn outside_a_dialog(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = Message::scan(bytes).ok()?;
    message.to_tag()?;
    let params = message.to().params.range();
    let outside = [&bytes[..params.start], &bytes[params.end..]].concat();
    let branch = message.via().branch?.end.into();
    let (front, back) = outside.split_at(if branch > params.start {
        branch - params.len()
    } else {
        branch
    });
    Some([front, b"x", back].concat())
}

/// RFC 3261 §16.6: what came goes on but for our Via and Record-Route, `received` in the top
/// Via, one hop less, and where media goes.
fn passes_unchanged(name: &str, came: &[u8], left: &[u8]) {
    let came = Message::scan(came).unwrap();
    let left = Message::scan(left).unwrap();
    let line = |message: &Message<'_>| {
        let end = usize::from(message.header_block().start);
        message.bytes()[..end].to_vec()
    };
    assert_eq!(line(&came), line(&left), "{name}");
    let hops = came.max_forwards().map_or(70, |hops| hops.min(71) - 1);
    assert_eq!(left.max_forwards(), Some(hops), "{name}");
    let lines = |message: &Message<'_>, skip: usize| -> Vec<String> {
        let changes = [HeaderName::MaxForwards, HeaderName::ContentLength];
        let kept = message
            .headers()
            .skip(skip)
            .filter(|header| !changes.contains(&header.kind))
            .map(|header| unstamped(message.text(header.line)));
        kept.filter(|line| !line.contains(";tl=") && !line.starts_with("Max-Breadth:"))
            .collect()
    };
    let (before, after) = (lines(&came, 0), lines(&left, 1));
    // The top Via need not be the first line: ours stands above it, wherever that is.
    assert_eq!(text(&left, left.via().value).matches("z9hG4bK").count(), 1);
    let sorted = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
    if came.headers().next().map(|header| header.kind) == Some(HeaderName::Via) {
        assert_eq!(before, after, "{name}");
    } else {
        let ours = left.via_line();
        let mut after = sorted(&lines(&left, 0));
        assert!(after.remove(&unstamped(left.text(ours))), "{name}");
        assert_eq!(sorted(&before), after, "{name}");
    }
    assert_eq!(body(&came), body(&left), "{name}");
}

/// The body, but for where media goes.
fn body(message: &Message<'_>) -> String {
    let text = String::from_utf8_lossy(message.body());
    let is_sdp = message.content_type() == Some(b"application/sdp");
    if message.method() != Method::Invite || !is_sdp {
        return text.into_owned();
    }
    let lines = text.split_inclusive('\n');
    let kept = lines.filter(|line| !line.starts_with("c=") && !line.starts_with("m="));
    kept.collect()
}

fn text(message: &Message<'_>, span: trunkline_dataplane::span::Span) -> String {
    String::from_utf8_lossy(message.text(span)).into_owned()
}

/// A line without what the box says in a Via: `received`, and the value of `rport`.
fn unstamped(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line).replace(";rport=5060", ";rport");
    let Some((front, back)) = line.split_once(";received=") else {
        return line;
    };
    let end = back.find([';', ',', '\r', ' ']).unwrap();
    format!("{front}{}", &back[end..])
}

/// RFC 3261 §8.2.6.2: the answer names the request, by the first of each line where there are
/// several.
fn answers(message: &str, request: &[u8], answer: &str) {
    let request = String::from_utf8_lossy(request);
    let head = request.split("\r\n\r\n").next().unwrap();
    for line in answer.split("\r\n") {
        let name = line.split(':').next().unwrap().trim();
        let copied = ["From", "f", "Call-ID", "i", "CSeq"];
        if copied
            .iter()
            .any(|copied| copied.eq_ignore_ascii_case(name))
        {
            assert!(head.contains(line), "{message}: {line}");
        }
    }
    if answer.starts_with("SIP/2.0 420") {
        // RFC 3261 §16.3 step 5.
        let unsupported = "Unsupported: noProxiesSupportThis, norDoAnyProxiesSupportThis\r\n";
        assert!(answer.contains(unsupported), "{message}: {answer}");
    }
}

/// The INVITE that a response repeats (RFC 3261 §8.2.6.2).
fn asked(response: &Message<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (cseq, ..) = response.cseq();
    let tag = response.from_tag().map_or(String::new(), text);
    invite(&text(response.call_id()), "")
        .replace(";tag=caller", &format!(";tag={tag}"))
        .replace("CSeq: 1 ", &format!("CSeq: {cseq} "))
}

/// The response comes back to a request that passed: it has that one's Vias, and all else of its
/// own.
fn returned(bench: &mut Bench, name: &str, bytes: &[u8]) {
    let left = heard(bench, 0, asked(&Message::scan(bytes).unwrap()).as_bytes());
    let callee = bench.lab.peer(1);
    let sent = left.iter().find(|left| left.destination == callee).unwrap();
    let vias: Vec<u8> = {
        let sent = Message::scan(&sent.payload).unwrap();
        let vias = sent
            .headers()
            .filter(|header| header.kind == HeaderName::Via);
        vias.flat_map(|via| sent.text(via.line)).copied().collect()
    };
    let came = {
        let message = Message::scan(bytes).unwrap();
        let line = message.via_line();
        let (before, after) = (usize::from(line.start), usize::from(line.end));
        [&bytes[..before], &vias, &bytes[after..]].concat()
    };
    let mut came = came;
    if came.starts_with(b"SIP/2.0 100 ") {
        // RFC 3261 §16.7 step 5: a 100 is for this hop.
        assert!(heard(bench, 1, &came).is_empty(), "{name}");
        assert_eq!(bench.count(Counter::SipAbsorbed), 1, "{name}");
        came[8..11].copy_from_slice(b"180");
    }
    let left = heard(bench, 1, &came);
    assert_eq!(left.len(), 1, "{name}: {left:?}");
    let (came, left) = (
        Message::scan(&came).unwrap(),
        Message::scan(&left[0].payload).unwrap(),
    );
    let start = usize::from(came.via_line().start);
    assert_eq!(came.bytes()[..start], left.bytes()[..start], "{name}");
    // RFC 3261 §16.7 step 3: our Via is gone, and nothing else is.
    let lines = |message: &Message<'_>, skip: usize| -> Vec<String> {
        let headers = message.headers().skip(skip);
        let kept = headers.filter(|header| header.kind != HeaderName::ContentLength);
        kept.map(|header| text(message, header.line)).collect()
    };
    assert_eq!(lines(&came, 1), lines(&left, 0), "{name}");
    assert_eq!(body(&came), body(&left), "{name}");
}

#[test]
fn each_message_of_rfc_4475_gets_its_verdict() {
    for (name, _, verdict) in RFC4475 {
        check(Lab::PLAIN, "rfc4475", name, verdict);
    }
}

#[test]
fn each_message_of_rfc_5118_gets_its_verdict() {
    for (name, _, verdict) in RFC5118 {
        check(IPV6, "rfc5118", name, verdict);
    }
}

#[test]
fn the_tables_name_every_message_once() {
    let tables = [
        ("rfc4475", RFC4475.map(|(name, ..)| name).to_vec()),
        ("rfc5118", RFC5118.map(|(name, ..)| name).to_vec()),
    ];
    for (rfc, mut named) in tables {
        let entries = std::fs::read_dir(folder(rfc)).unwrap();
        let mut files: Vec<String> = entries
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        named.sort_unstable();
        assert_eq!(files, named);
    }
}

#[test]
fn the_tortuous_invite_is_read_as_the_rfc_reads_it() {
    let bytes = fixture("rfc4475", "wsinv");
    let message = Message::scan(&bytes).unwrap();
    let text = |span| message.text(span);
    assert_eq!(message.to_tag(), Some(&b"1918181833n"[..]));
    assert_eq!(message.from_tag(), Some(&b"98asjd8"[..]));
    assert_eq!(message.max_forwards(), Some(68));
    assert_eq!(message.cseq(), (9, &b"INVITE"[..], Method::Invite));
    assert_eq!(text(message.via().host), b"192.0.2.2");
    let second = message.second_via().unwrap().unwrap();
    assert_eq!(text(second.host), b"spindle.example.com");
    assert_eq!(text(second.branch.unwrap()), b"z9hG4bK9ikj8");
    assert_eq!(message.routes().count(), 1);
    assert_eq!(
        text(message.contact_uri().unwrap()),
        b"sip:jdrosen@example.com"
    );
    assert_eq!(message.body().len(), 150);
}

#[test]
fn what_follows_the_body_is_cut() {
    let bytes = fixture("rfc4475", "dblreq");
    let message = Message::scan(&bytes).unwrap();
    assert_eq!(message.method(), Method::Register);
    assert!(message.bytes().len() < bytes.len());
    assert!(message.body().is_empty());
}
