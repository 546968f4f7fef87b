//! The messages of RFC 4475, each with the verdict that the scanner must give.
//!
//! The scanner is a proxy's: it refuses what cannot be routed or answered safely, and
//! takes what only an end point has to understand. What it takes here and a later stage
//! refuses (an unknown scheme, a required extension, no hops left) says so.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::PathBuf;

use trunkline_dataplane::sip::build;
use trunkline_dataplane::sip::malformed::Malformed;
use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::method::Method;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torture/rfc4475");
    std::fs::read(path.join(name).with_extension("dat")).unwrap()
}

const VERDICTS: [(&str, Result<(), Malformed>); 50] = [
    // §3.1.1: valid messages.
    ("wsinv", Ok(())),   // folding, white space, compact names, two Vias in a line
    ("intmeth", Ok(())), // every odd byte that the grammar allows, an escaped NUL too
    ("esc01", Ok(())),   // escapes in URIs stay as they are
    ("escnull", Ok(())), // %00 is three bytes to a proxy
    ("esc02", Ok(())),   // % in a method and in a header's name is no escape
    ("lwsdisp", Ok(())), // no white space before <
    ("longreq", Ok(())), // long values, 34 Vias, names in every case
    ("dblreq", Ok(())),  // §18.3: what follows the body is discarded
    ("semiuri", Ok(())), // a user part with ; in it
    ("transports", Ok(())), // Vias of transports that nobody knows
    ("mpart01", Ok(())), // a body of several parts, not all of it text
    ("unreason", Ok(())), // a reason phrase in UTF-8
    ("noreason", Ok(())), // an empty reason phrase
    // §3.1.2: invalid messages.
    ("badinv01", Err(Malformed::Via)), // empty parameters and values
    ("clerr", Err(Malformed::ContentLength)), // promises more than came
    ("ncl", Err(Malformed::ContentLength)), // -999
    ("scalar02", Err(Malformed::Cseq)), // beyond 2^31; Max-Forwards of 300 too
    ("scalarlg", Err(Malformed::Cseq)), // beyond 2^31, in a response
    ("quotbal", Err(Malformed::To)),   // a quote that never ends
    ("ltgtruri", Err(Malformed::StartLine)), // a Request-URI in brackets
    ("lwsruri", Err(Malformed::StartLine)), // white space in the Request-URI
    ("lwsstart", Err(Malformed::StartLine)), // more than one space between its parts
    ("trws", Err(Malformed::StartLine)), // spaces at the end of the line
    ("escruri", Ok(())),               // headers in the Request-URI: routing looks at it, not we
    ("baddate", Ok(())),               // no business of a proxy's
    ("regbadct", Ok(())),              // a Contact without brackets: the registrar's to refuse
    ("badaspec", Ok(())),              // spaces inside the brackets: sent, harmless, passed on
    ("baddn", Err(Malformed::Unended)), // as published it lacks the empty line
    ("badvers", Err(Malformed::Version)), // SIP/7.0: 505
    ("mismatch01", Err(Malformed::CseqMethod)), // OPTIONS against INVITE
    ("mismatch02", Err(Malformed::CseqMethod)), // an unknown method against INVITE
    ("bigcode", Err(Malformed::StartLine)), // a status code beyond 699
    // §3.2: the transaction layer.
    ("badbranch", Ok(())), // the bare cookie: matched as RFC 2543 would
    // §3.3: the application layer.
    ("insuf", Err(Malformed::MissingFrom)), // neither From, To nor Call-ID
    ("unkscm", Ok(())),                     // an unknown scheme: 416 in routing
    ("novelsc", Ok(())),                    // soap.beep: 416 in routing
    ("unksm2", Ok(())),                     // unknown schemes in To and Contact are passed on
    ("bext01", Ok(())),                     // Proxy-Require: 420 in the sanity checks
    ("invut", Ok(())),                      // a Content-Type that nobody knows
    ("regaut01", Ok(())),                   // an Authorization that nobody knows
    ("multi01", Err(Malformed::Duplicate)), // two of From, To, Call-ID and CSeq
    ("mcl01", Err(Malformed::Duplicate)),   // two of Content-Length
    ("bcast", Ok(())),                      // a second Via that broadcasts: not ours to send to
    ("zeromf", Ok(())),                     // no hops left: 483 in the sanity checks
    ("cparam01", Ok(())),                   // unknown parameters of Contact
    ("cparam02", Ok(())),
    ("regescrt", Ok(())), // a Contact with an escaped Route in it
    ("sdp01", Ok(())),    // Accept without SDP
    ("inv2543", Ok(())),  // an RFC 2543 INVITE: no branch, no Content-Length
    // Not in the RFC's text, but in its archive.
    ("test", Err(Malformed::StartLine)), // no version in the request line
];

#[test]
fn each_message_gets_its_verdict() {
    for (name, verdict) in VERDICTS {
        let bytes = fixture(name);
        assert_eq!(Message::scan(&bytes).map(|_| ()), verdict, "{name}");
    }
}

#[test]
fn the_table_names_every_message_once() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torture/rfc4475");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let mut named: Vec<_> = VERDICTS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    files.sort();
    named.sort();
    assert_eq!(files, named);
}

#[test]
fn the_tortuous_invite_is_read_as_the_rfc_reads_it() {
    let bytes = fixture("wsinv");
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
fn a_display_name_without_its_quotes_is_taken_once_the_message_is_whole() {
    let mut bytes = fixture("baddn");
    bytes.extend_from_slice(b"\r\n");
    let message = Message::scan(&bytes).unwrap();
    assert_eq!(
        message.text(message.from().uri),
        b"sip:a.g.bell@example.com"
    );
}

#[test]
fn what_follows_the_body_is_cut() {
    let bytes = fixture("dblreq");
    let message = Message::scan(&bytes).unwrap();
    assert_eq!(message.method(), Method::Register);
    assert!(message.bytes().len() < bytes.len());
    assert!(message.body().is_empty());
}

#[test]
fn refused_requests_that_name_their_transaction_can_be_answered() {
    for (name, status) in [("badvers", "505"), ("clerr", "400"), ("ltgtruri", "400")] {
        let bytes = fixture(name);
        let reason = Message::scan(&bytes).unwrap_err();
        let mut out = [0; 2_048];
        let len = build::refusal(&bytes, reason, &mut out).unwrap().unwrap();
        let answer = String::from_utf8(out[..len].to_vec()).unwrap();
        assert!(
            answer.starts_with(&format!("SIP/2.0 {status} ")),
            "{answer}"
        );
        assert!(
            answer.contains(&format!("\r\nCall-ID: {name}.")),
            "{answer}"
        );
        assert!(
            answer.ends_with("\r\nContent-Length: 0\r\n\r\n"),
            "{answer}"
        );
    }
    for name in ["insuf", "bigcode", "scalarlg"] {
        let bytes = fixture(name);
        let reason = Message::scan(&bytes).unwrap_err();
        assert_eq!(
            build::refusal(&bytes, reason, &mut [0; 2_048]),
            Ok(None),
            "{name}"
        );
    }
}
