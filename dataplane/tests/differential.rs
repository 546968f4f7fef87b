//! Our reading of messages against that of two other SIP libraries: where one of them takes a
//! message, or a part of it, we read the same there.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod oracles;

use std::path::Path;
use std::path::PathBuf;

use oracles::Comparison;
use oracles::View;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use trunkline_dataplane::sip::message::Message;

type Reader = fn(&[u8]) -> Option<View>;

const ORACLES: [(&str, Reader); 2] = [
    ("ezk-sip-types", oracles::ezk::view),
    ("rsip", oracles::rsip::view),
];

/// How many messages each library took whole, and how many things were compared.
#[derive(Debug, Default)]
struct Tally {
    whole: [usize; 2],
    compared: [usize; 2],
}

impl Tally {
    fn compare(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::scan(bytes) else {
            return;
        };
        for (index, (name, view)) in ORACLES.iter().enumerate() {
            // What stands before and behind the message is not theirs to see.
            let Some(view) = view(message.bytes()) else {
                continue;
            };
            let mut comparison = Comparison::new(&message, name);
            comparison.with(&view);
            self.compared[index] += comparison.compared;
            self.whole[index] += usize::from(view.is_whole());
        }
    }
}

fn each_file(folder: &str, mut with: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        // A failing one is named by the last line before the panic.
        println!("{}", file.display());
        with(&std::fs::read(file).unwrap());
    }
}

#[test]
fn of_the_torture_messages_the_same_is_read() {
    let mut tally = Tally::default();
    each_file("tests/torture/rfc4475", |bytes| tally.compare(bytes));
    each_file("tests/torture/rfc5118", |bytes| tally.compare(bytes));
    // Were they not to take anything, nothing would be compared.
    assert!(tally.whole[0] >= 30 && tally.whole[1] >= 1, "{tally:?}");
    assert!(
        tally.compared[0] >= 500 && tally.compared[1] >= 200,
        "{tally:?}"
    );
}

#[test]
fn of_the_scanners_corpus_the_same_is_read() {
    let mut tally = Tally::default();
    each_file("../fuzz/corpus/scan", |bytes| tally.compare(bytes));
    assert!(
        tally.compared.iter().all(|count| *count >= 100),
        "{tally:?}"
    );
}

// --- Generated messages -----------------------------------------------------------

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9]{1,12}"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
        any::<[u8; 16]>().prop_map(|octets| format!("[{}]", std::net::Ipv6Addr::from(octets))),
        "[a-zA-Z]([a-z0-9-]{0,8}[a-z0-9])?\\.[a-z]{2,6}",
    ]
}

fn hostport() -> impl Strategy<Value = String> {
    (host(), prop::option::of(1..=u16::MAX)).prop_map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

/// `tame` is what both libraries know, here and below.
fn uri(tame: bool) -> impl Strategy<Value = String> {
    let user = prop_oneof![
        "[a-zA-Z0-9_.!~*'()&=+$,;?/-]{1,12}",
        "\\+[0-9]{5,12}",
        "[a-z]{1,4}%[0-9][0-9A-F][a-z]{0,4}"
    ];
    let user = match tame {
        true => "[a-z0-9]{1,8}".boxed(),
        false => user.boxed(),
    };
    let password = prop::option::of(word()).prop_map(move |word| word.filter(|_| !tame));
    let user = (user, password).prop_map(|(user, password)| match password {
        Some(password) => format!("{user}:{password}@"),
        None => format!("{user}@"),
    });
    let param = prop_oneof![
        Just(";lr".to_owned()),
        Just(";transport=udp".to_owned()),
        Just(";user=phone".to_owned()),
        "[a-z]{4,8}".prop_map(|name| format!(";x{name}")),
        ("[a-z]{4,8}", word()).prop_map(|(name, value)| format!(";y{name}={value}")),
    ];
    let parts = (
        any::<bool>(),
        prop::option::of(user),
        hostport(),
        prop::option::of(param),
    );
    parts.prop_map(|(sips, user, hostport, param)| {
        let scheme = if sips { "sips" } else { "sip" };
        format!(
            "{scheme}:{}{hostport}{}",
            user.unwrap_or_default(),
            param.unwrap_or_default()
        )
    })
}

fn party(tame: bool) -> impl Strategy<Value = String> {
    let display = prop_oneof![
        Just(String::new()),
        "[a-zA-Z]{1,6}( [a-zA-Z]{1,6})? ",
        "\"[a-zA-Z ,.;<>]{0,12}(\\\\\")?\" ?",
    ];
    let more = prop_oneof![
        Just(String::new()),
        "[a-z]{4,8}".prop_map(|name| format!(";x{name}=\"a;b\""))
    ];
    let parts = (display, uri(tame), prop::option::of(word()), more);
    parts.prop_map(move |(display, uri, tag, more)| {
        let (display, more) = if tame {
            Default::default()
        } else {
            (display, more)
        };
        let tag = tag.map_or(String::new(), |tag| format!(";tag={tag}"));
        format!("{display}<{uri}>{tag}{more}")
    })
}

fn via() -> impl Strategy<Value = String> {
    let rport = prop_oneof![
        Just(String::new()),
        Just(";rport".to_owned()),
        Just(";rport=5062".to_owned())
    ];
    let received = prop_oneof![Just(String::new()), Just(";received=192.0.2.7".to_owned())];
    let transport = prop::sample::select(vec!["UDP", "TCP", "TLS", "SCTP"]);
    (transport, hostport(), word(), rport, received).prop_map(
        |(transport, at, branch, rport, received)| {
            format!("SIP/2.0/{transport} {at};branch=z9hG4bK{branch}{rport}{received}")
        },
    )
}

/// A header field in one of the ways that it may be written (RFC 3261 §7.3).
fn field(
    name: &'static str,
    compact: &'static str,
    value: String,
) -> impl Strategy<Value = String> {
    let names = vec![
        name.to_owned(),
        name.to_ascii_uppercase(),
        name.to_ascii_lowercase(),
        compact.to_owned(),
    ];
    let colon = prop::sample::select(vec![": ", ":", " : ", ":\r\n ", ":  \t"]);
    (prop::sample::select(names), colon)
        .prop_map(move |(name, colon)| format!("{name}{colon}{value}\r\n"))
}

#[derive(Clone, Debug)]
struct Parts {
    method: String,
    uri: String,
    status: Option<u16>,
    vias: Vec<String>,
    one_line: bool,
    from: String,
    to: String,
    call_id: String,
    cseq: u32,
    hops: Option<u8>,
    routes: Vec<String>,
    body: Vec<u8>,
}

fn parts(tame: bool) -> impl Strategy<Value = Parts> {
    let method = prop_oneof![
        prop::sample::select(vec![
            "INVITE", "OPTIONS", "BYE", "REGISTER", "MESSAGE", "UPDATE", "PRACK"
        ])
        .prop_map(str::to_owned),
        "[A-Z][A-Z.!%*_+`'~-]{1,6}",
    ];
    let method = match tame {
        true => Just("INVITE".to_owned()).boxed(),
        false => method.boxed(),
    };
    let route = uri(tame).prop_map(|uri| format!("<{uri}>"));
    let start = (method, uri(tame), prop::option::weighted(0.3, 100_u16..700));
    let transport = (
        prop::collection::vec(via(), 1..4),
        any::<bool>().prop_map(move |one| one && !tame),
    );
    let dialog = (
        party(tame),
        party(tame),
        "[a-zA-Z0-9.!%*_+`'~()<>:/?{}-]{1,20}(@[a-z]{1,8})?",
        0..1_u32 << 31,
    );
    let rest = (
        prop::option::of(any::<u8>()),
        prop::collection::vec(route, 0..4),
        prop::collection::vec(any::<u8>(), 0..40),
    );
    (start, transport, dialog, rest).prop_map(|(start, transport, dialog, rest)| {
        let (method, uri, status) = start;
        let (vias, one_line) = transport;
        let (from, to, call_id, cseq) = dialog;
        let (hops, routes, body) = rest;
        Parts {
            method,
            uri,
            status,
            vias,
            one_line,
            from,
            to,
            call_id,
            cseq,
            hops,
            routes,
            body,
        }
    })
}

impl Parts {
    /// The lines of the message, each as plainly as can be.
    fn fields(&self) -> Vec<(&'static str, &'static str, String)> {
        let mut fields = vec![
            ("From", "f", self.from.clone()),
            ("To", "t", self.to.clone()),
            ("Call-ID", "i", self.call_id.clone()),
            ("CSeq", "CSeq", format!("{} {}", self.cseq, self.method)),
            ("Content-Length", "l", self.body.len().to_string()),
            ("Subject", "s", "a \"subject".to_owned()),
        ];
        if let Some(hops) = self.hops {
            fields.push(("Max-Forwards", "Max-Forwards", hops.to_string()));
        }
        for (name, compact, values) in [("Via", "v", &self.vias), ("Route", "Route", &self.routes)]
        {
            if self.one_line && !values.is_empty() {
                fields.push((name, compact, values.join(", ")));
            } else {
                fields.extend(values.iter().map(|value| (name, compact, value.clone())));
            }
        }
        fields
    }

    fn start(&self) -> String {
        match self.status {
            Some(status) => format!("SIP/2.0 {status} Whatever\r\n"),
            None => format!("{} {} SIP/2.0\r\n", self.method, self.uri),
        }
    }

    fn message(&self, lines: &[String]) -> Vec<u8> {
        let mut bytes = self.start().into_bytes();
        bytes.extend(lines.concat().bytes());
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

/// As plain as can be, and in some of all the ways that it can be written.
fn messages(tame: bool) -> impl Strategy<Value = (Parts, [Vec<u8>; 2])> {
    parts(tame).prop_flat_map(|parts| {
        let plain: Vec<String> = parts
            .fields()
            .into_iter()
            .map(|(name, _, value)| format!("{name}: {value}\r\n"))
            .collect();
        let plain = parts.message(&plain);
        let fields = parts.fields().into_iter();
        let odd: Vec<_> = fields
            .map(|(name, compact, value)| field(name, compact, value))
            .collect();
        odd.prop_map(move |lines| (parts.clone(), [plain.clone(), parts.message(&lines)]))
    })
}

#[test]
fn of_generated_messages_the_same_is_read() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut tally = Tally::default();
    let cases: usize = 1_000;
    for case in 0..2 * cases {
        let tame = case >= cases;
        let (parts, both) = messages(tame).new_tree(&mut runner).unwrap().current();
        for bytes in &both {
            let text = String::from_utf8_lossy(bytes);
            let message = Message::scan(bytes);
            let message = message.unwrap_or_else(|why| panic!("{why}:\n{text}"));
            assert_eq!(message.vias().count(), parts.vias.len(), "{text}");
            let routes: Result<Vec<_>, _> = message.routes().collect();
            assert_eq!(routes.unwrap().len(), parts.routes.len(), "{text}");
            assert_eq!(message.body(), parts.body, "{text}");
            tally.compare(bytes);
        }
    }
    println!("{tally:?} of {}", 4 * cases);
    // The one takes nearly all that is valid, the other what is written plainly.
    assert!(
        tally.whole[0] >= 2 * cases && tally.whole[1] >= cases / 20,
        "{tally:?}"
    );
}
