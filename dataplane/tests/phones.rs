//! What phones send and RFCs do not foresee, or leave to them: a registrar takes it all the same.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::ACCESS;
use bench::Bench;
use bench::answer;
use bench::call::only;
use bench::call::status;
use bench::call::to_callee;
use bench::header;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use bench::phone::to_user;
use std::net::SocketAddr;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::lab;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::HEX_LEN_MAX;
use trunkline_dataplane::sip::subscriber::Said;
use trunkline_dataplane::sip::subscriber::Subscriber;
use trunkline_dataplane::sip::subscriber::User;

const ALICE: (&str, &str) = ("alice", "wonderland");
const MD5: Algorithm = Algorithm::Md5;

/// A bench whose worker knows Alice, and the challenge to a REGISTER of hers.
fn with_alice() -> (Bench, String) {
    with_alice_at(1)
}

/// The same of several workers.
fn with_alice_at(workers: u8) -> (Bench, String) {
    let mut bench = Bench::of(&phone::settings(workers));
    let who = Subscriber {
        domain: DomainIndex(0),
        user: User::new(ALICE.0.as_bytes()).unwrap(),
    };
    for post in &mut bench.posts {
        let said = Mail::Said {
            question: None,
            who,
            said: Said::Known(ha1s(ALICE.0, ALICE.1)),
        };
        assert!(post.mail.post(said).is_ok());
    }
    bench.turn();
    let challenge = bench.phone_gets(0, &register(1, ""));
    assert_eq!(status(&challenge), "401");
    (bench, challenge)
}

fn register(cseq: u32, lines: &str) -> String {
    request("REGISTER", ALICE.0, "reg", cseq, lines)
}

fn authorization(challenge: &str, nc: u32) -> String {
    credentials(challenge, MD5, ALICE, "REGISTER", nc)
}

/// The value of a parameter in quotes.
fn quoted<'t>(line: &'t str, name: &str) -> &'t str {
    let from = line.find(&format!("{name}=\"")).unwrap() + name.len() + 2;
    line[from..].split('"').next().unwrap()
}

/// How a client of RFC 2069 answers, which knows of no `qop`.
fn without_qop(challenge: &str) -> String {
    let line = authorization(challenge, 1);
    let hash = |parts: &[&str]| {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        let mut room = [0; HEX_LEN_MAX];
        let hex = MD5.hash(&parts).hex(&mut room).to_vec();
        String::from_utf8(hex).unwrap()
    };
    let (nonce, uri) = (quoted(&line, "nonce"), quoted(&line, "uri"));
    let ha1 = hash(&[ALICE.0, lab::DOMAIN, ALICE.1]);
    let response = hash(&[&ha1, nonce, &hash(&["REGISTER", uri])]);
    format!(
        "Authorization: Digest username=\"alice\",realm=\"{}\",nonce=\"{nonce}\",uri=\"{uri}\",\
         response=\"{response}\"\r\n",
        lab::DOMAIN
    )
}

/// RFC 7616 §3.4.
#[test]
fn credentials_are_taken_however_they_are_spelled() {
    type Spell = fn(&str) -> String;
    let spellings: [(&str, Spell); 12] = [
        ("as they should be", |line| line.to_owned()),
        ("all in quotes", |line| {
            line.replace("qop=auth", "qop=\"auth\"")
                .replace("nc=00000001", "nc=\"00000001\"")
                .replace("algorithm=MD5", "algorithm=\"MD5\"")
        }),
        ("no algorithm", |line| line.replace("algorithm=MD5, ", "")),
        ("other cases", |line| {
            let response = quoted(line, "response");
            line.replace(response, &response.to_uppercase())
                .replace("Authorization: Digest", "AUTHORIZATION : digest")
                .replace("algorithm=MD5", "Algorithm=md5")
        }),
        ("spaces and folds", |line| {
            line.replace(", ", "\r\n\t, ").replace("realm=", "realm = ")
        }),
        ("no spaces", |line| line.replace(", ", ",")),
        ("a URI without quotes", |line| {
            line.replace("uri=\"sip:100@10.77.1.1\"", "uri=sip:100@10.77.1.1")
        }),
        ("a comma at the end", |line| line.replace("\r\n", ",\r\n")),
        ("opaque, and what nobody knows", |line| {
            line.replace("\r\n", ", opaque=\"\", auts=x, auth-param=\"y, z\"\r\n")
        }),
        ("others' credentials before", |line| {
            line.replace("example.com", "example.org") + line
        }),
        ("others' before, which only they can read", |line| {
            "Authorization: Digest realm=\"example.org\", x\r\n".to_owned() + line
        }),
        ("another scheme's before", |line| {
            "Authorization: Basic QWxhZGRpbjpvcGVu\r\n".to_owned() + line
        }),
    ];
    for (what, spell) in spellings {
        let (mut bench, challenge) = with_alice();
        let line = spell(&authorization(&challenge, 1));
        let ok = bench.phone_gets(0, &register(2, &line));
        assert_eq!(status(&ok), "200", "{what}: {line}");
        assert_eq!(bench.count(Counter::AuthGranted), 1);
    }
}

/// RFC 3261 §22.4: as by RFC 2069. A nonce that is not counted is good once.
#[test]
fn who_counts_no_uses_is_asked_anew_each_time() {
    let (mut bench, challenge) = with_alice();
    let first = register(2, &without_qop(&challenge));
    let ok = bench.phone_gets(0, &first);
    assert_eq!(status(&ok), "200");
    assert_eq!(bench.phone_gets(0, &first), ok, "its repetition");
    let again = bench.phone_gets(0, &register(3, &without_qop(&challenge)));
    assert_eq!(status(&again), "401");
    assert!(again.contains(",stale=true"), "{again}");
    let ok = bench.phone_gets(0, &register(4, &without_qop(&again)));
    assert_eq!(status(&ok), "200");
    // It is a proof all the same.
    let line = without_qop(&again);
    let response = quoted(&line, "response");
    let wrong: String = response.chars().rev().collect();
    bench.phone(0, &register(5, &line.replace(response, &wrong)));
    assert_eq!(bench.count(Counter::AuthFailures), 1);
    assert_eq!(bench.count(Counter::BindingsAdded), 1);
    assert_eq!(bench.count(Counter::BindingsRefreshed), 1);
}

/// They pick a new cnonce for each request and begin to count anew.
#[test]
fn who_begins_to_count_anew_is_asked_anew() {
    let (mut bench, challenge) = with_alice();
    let ok = bench.phone_gets(0, &register(2, &authorization(&challenge, 1)));
    assert_eq!(status(&ok), "200");
    let again = bench.phone_gets(0, &register(3, &authorization(&challenge, 1)));
    assert_eq!(status(&again), "401");
    assert!(again.contains(",stale=true"), "{again}");
    let ok = bench.phone_gets(0, &register(4, &authorization(&again, 1)));
    assert_eq!(status(&ok), "200");
}

/// RFC 8760 §2.7: the parameters are there before there is anything to say in them.
#[test]
fn who_has_seen_no_challenge_yet_gets_one() {
    let (mut bench, _) = with_alice();
    for more in [
        "",
        ", qop=auth, nc=00000001, cnonce=\"\"",
        ", algorithm=MD5",
    ] {
        let line = format!(
            "Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"\", \
             uri=\"sip:example.com\", response=\"\"{more}\r\n"
        );
        let challenge = bench.phone_gets(0, &register(2, &line));
        assert_eq!(status(&challenge), "401", "{line}");
        assert!(!challenge.contains("stale"), "{challenge}");
    }
    assert_eq!(bench.count(Counter::AuthFailures), 0);
}

/// What a REGISTER is told, which is the usual one but for what `change` does to it.
fn told(change: impl Fn(&str) -> String) -> String {
    let (mut bench, challenge) = with_alice();
    let line = authorization(&challenge, 1) + "Expires: 600\r\n";
    bench.phone_gets(0, &change(&register(2, &line)))
}

const CONTACT: &str = "Contact: <sip:alice@10.77.1.66:5070>";

#[test]
fn registers_are_taken_as_phones_write_them() {
    let bound = "<sip:alice@10.77.1.66:5070>;expires=600";
    type Write = fn(&str) -> String;
    let all: [(&str, Write, &str); 15] = [
        ("the usual", |text| text.to_owned(), bound),
        (
            "compact forms",
            |text| {
                text.replace("Via:", "v:")
                    .replace("From:", "f:")
                    .replace("To:", "t:")
                    .replace("Contact:", "m:")
                    .replace("Call-ID:", "i:")
                    .replace("Content-Length:", "l:")
            },
            bound,
        ),
        (
            "to the domain",
            |text| text.replacen("sip:100@10.77.1.1 ", "sip:example.com ", 1),
            bound,
        ),
        (
            "to the domain in capitals, at a port, over a transport",
            |text| {
                text.replacen(
                    "sip:100@10.77.1.1 ",
                    "sip:EXAMPLE.com:5060;transport=udp ",
                    1,
                )
            },
            bound,
        ),
        (
            "by us as an outbound proxy",
            |text| text.replace("From:", "Route: <sip:10.77.1.1:5060;lr>\r\nFrom:"),
            bound,
        ),
        (
            "from somebody else, for her",
            |text| text.replace("From: <sip:alice@", "From: \"PBX\" <sip:trunk@"),
            bound,
        ),
        (
            "an address of record with a port, in capitals",
            |text| {
                text.replace(
                    "To: <sip:alice@example.com>",
                    "To: Alice <sip:alice@Example.COM:5060>",
                )
            },
            bound,
        ),
        (
            "no brackets",
            |text| text.replace(CONTACT, "Contact: sip:alice@10.77.1.66:5070;expires=900"),
            "<sip:alice@10.77.1.66:5070>;expires=900",
        ),
        (
            "a display name with a comma",
            |text| {
                text.replace(
                    CONTACT,
                    "Contact: \"Liddell, Alice\" <sip:alice@10.77.1.66:5070>",
                )
            },
            bound,
        ),
        (
            "a q that is none",
            |text| text.replace(CONTACT, &format!("{CONTACT};q=\"0.5\"")),
            "<sip:alice@10.77.1.66:5070>;q=\"0.5\";expires=600",
        ),
        (
            "no port, and a transport",
            |text| text.replace(CONTACT, "Contact: <sip:alice@10.77.1.66;transport=UDP>"),
            "<sip:alice@10.77.1.66;transport=UDP>;expires=600",
        ),
        (
            "an instance, and no reg-id",
            |text| {
                let instance = "+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"";
                text.replace(CONTACT, &format!("{CONTACT};{instance}"))
            },
            "<sip:alice@10.77.1.66:5070>\
             ;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\";expires=600",
        ),
        (
            "rinstance",
            |text| {
                text.replace(
                    CONTACT,
                    "Contact: <sip:alice@10.77.1.66:5070;rinstance=203dc891>",
                )
            },
            "<sip:alice@10.77.1.66:5070;rinstance=203dc891>;expires=600",
        ),
        (
            "ob",
            |text| text.replace(CONTACT, "Contact: <sip:alice@10.77.1.66:5070;ob>"),
            "<sip:alice@10.77.1.66:5070;ob>;expires=600",
        ),
        (
            "a PBX's own parameters",
            |text| text.replace(CONTACT, "Contact: <sip:s@10.77.1.66:5070;line=fxdnyoq>"),
            "<sip:s@10.77.1.66:5070;line=fxdnyoq>;expires=600",
        ),
    ];
    for (what, write, contact) in all {
        let ok = told(write);
        assert_eq!(status(&ok), "200", "{what}: {ok}");
        assert_eq!(header(&ok, "Contact"), contact, "{what}");
    }
}

/// What RFC 2543 did not ask for, and what is asked for and left out.
#[test]
fn messages_are_taken_as_old_phones_write_them() {
    type Write = fn(&str) -> String;
    let all: [(&str, Write); 11] = [
        ("no tag in From", |text| text.replace(";tag=alice", "")),
        ("a tag in To", |text| {
            text.replace(
                "<sip:alice@example.com>\r\nAuth",
                "<sip:alice@example.com>;tag=x\r\nAuth",
            )
        }),
        ("no Max-Forwards", |text| {
            text.replace("Max-Forwards: 70\r\n", "")
        }),
        ("no branch", |text| {
            text.replace(";branch=z9hG4bKregREGISTER2", "")
        }),
        ("a branch of its own kind", |text| {
            text.replace("z9hG4bKregREGISTER2", "1234")
        }),
        ("no Content-Length", |text| {
            text.replace("Content-Length: 0\r\n", "")
        }),
        ("no brackets", |text| {
            let bare = "To: sip:alice@example.com\r\nAuth";
            text.replace("To: <sip:alice@example.com>\r\nAuth", bare)
        }),
        ("names in small letters", |text| {
            text.replace("Via:", "via:")
                .replace("CSeq: 2", "cseq : 0002")
        }),
        ("spaces in Via", |text| {
            text.replace("SIP/2.0/UDP ", "SIP / 2.0 / UDP  ")
        }),
        ("line ends around it", |text| {
            format!("\r\n\r\n{text}\r\n\0")
        }),
        ("a date in Expires", |text| {
            text.replace("Expires: 600", "Expires: Thu, 01 Dec 1994 16:00:00 GMT")
        }),
    ];
    for (what, write) in all {
        let usual = told(|text| text.to_owned());
        let ok = told(|text| {
            let changed = write(text);
            assert_ne!(changed, text, "{what}");
            changed
        });
        assert_eq!(status(&ok), "200", "{what}: {ok}");
        let usual = header(&usual, "Contact");
        let uri = usual.split(';').next().unwrap();
        assert!(header(&ok, "Contact").starts_with(uri), "{what}: {ok}");
    }
}

/// A phone that has learnt of its NAT moves in one REGISTER: pjsip names the new contact first.
#[test]
fn a_contact_goes_and_another_comes_in_one_register() {
    let ok = told(|text| {
        let old = "Contact: <sip:alice@192.168.0.2:5071;ob>;expires=0";
        text.replace(CONTACT, &format!("{CONTACT}\r\n{old}"))
    });
    assert_eq!(status(&ok), "200");
    assert_eq!(
        header(&ok, "Contact"),
        "<sip:alice@10.77.1.66:5070>;expires=600"
    );
}

/// A phone that says nothing of `rport`, and its REGISTER, which it sends from another port than it
/// names.
fn mute_of_rport(via: &str) -> (Bench, SocketAddr, String) {
    let (bench, challenge) = with_alice();
    let text = register(2, &authorization(&challenge, 1));
    let text = text.replace("10.77.1.66:5070;rport;", &format!("{via};"));
    (bench, SocketAddr::new(PHONE.ip(), 50_123), text)
}

/// Some phones listen on 5060 alone and send from elsewhere.
#[test]
fn a_phone_is_reached_at_the_port_that_it_names_where_it_asks_for_no_other() {
    let (mut bench, source, text) = mute_of_rport("10.77.1.66:5070");
    let ok = only(&bench.say(0, source, ACCESS, &text), ACCESS, PHONE);
    assert_eq!(status(&ok), "200");
    let sent = only(
        &bench.caller(0, &to_user("MESSAGE", "alice", "there")),
        ACCESS,
        PHONE,
    );
    assert!(sent.starts_with("MESSAGE sip:alice@10.77.1.66:5070 "));
    // What it has begun comes back there as well.
    let open = |method: &str, cseq: u32, more: &str| {
        let text = request(method, "alice", "out", cseq, more);
        text.replace("10.77.1.66:5070;rport;", "10.77.1.66:5070;")
    };
    let challenge = only(
        &bench.say(0, source, ACCESS, &open("INVITE", 1, "")),
        ACCESS,
        PHONE,
    );
    let line = credentials(&challenge, MD5, ALICE, "INVITE", 1);
    let left = bench.say(0, source, ACCESS, &open("INVITE", 2, &line));
    let sent = to_callee(&left);
    let ok = answer(&sent, "200 OK", bench::call::CONTACT, "");
    let ok = only(&bench.callee(0, &ok), ACCESS, PHONE);
    assert_eq!(status(&ok), "200");
    let bye = bench::call::of_callee("BYE", "1", &ok)
        .replace("sip:caller@10.77.1.2 ", "sip:alice@10.77.1.66:5070 ")
        .replace("<sip:100@10.77.1.1>;tag=callee", &header(&ok, "To"))
        .replace("<sip:caller@10.77.1.2>;tag=caller", &header(&ok, "From"));
    let left = bench.callee(0, &bye);
    assert!(only(&left, ACCESS, PHONE).starts_with("BYE sip:alice@10.77.1.66:5070 "));
}

/// The port that it names is none of its NAT's.
#[test]
fn a_phone_behind_a_nat_is_answered_where_it_sends_from_though_it_does_not_ask_for_that() {
    let (mut bench, source, text) = mute_of_rport("192.168.0.2:5071");
    let text = text.replace(
        "<sip:alice@10.77.1.66:5070>",
        "<sip:alice@192.168.0.2:5071>",
    );
    let ok = only(&bench.say(0, source, ACCESS, &text), ACCESS, source);
    assert_eq!(status(&ok), "200");
    assert!(header(&ok, "Via").ends_with(";received=10.77.1.66"), "{ok}");
    let left = bench.caller(0, &to_user("MESSAGE", "alice", "there"));
    let sent = only(&left, ACCESS, source);
    assert!(sent.starts_with("MESSAGE sip:alice@192.168.0.2:5071 "));
}

/// RFC 3261 §18.2.2: of a name nobody can say whether it is behind a NAT.
#[test]
fn a_phone_that_names_itself_is_answered_at_the_port_that_it_names() {
    let (mut bench, source, text) = mute_of_rport("alices-phone:5070");
    let ok = only(&bench.say(0, source, ACCESS, &text), ACCESS, PHONE);
    assert_eq!(status(&ok), "200");
}

/// A PBX asks whether its registrar is there, as itself, which is of no domain of ours.
#[test]
fn who_has_registered_may_ask_whether_the_box_is_there() {
    for workers in [1, 2] {
        let (mut bench, challenge) = with_alice_at(workers);
        let ping = |uri: &str, call_id: &str| {
            let text = request("OPTIONS", "asterisk", call_id, 1, "");
            let text = text.replace("<sip:asterisk@example.com>", "<sip:asterisk@192.168.0.2>");
            text.replacen("sip:100@10.77.1.1 ", &format!("{uri} "), 1)
        };
        let ours = ["sip:10.77.1.1", "sip:example.com", "sip:Example.COM:5060"];
        for uri in ours {
            assert!(bench.phone(0, &ping(uri, "early")).is_empty());
        }
        bench.phone(0, &register(2, &authorization(&challenge, 1)));
        for (n, uri) in ours.into_iter().enumerate() {
            let ok = bench.phone_gets(0, &ping(uri, &format!("ping-{n}")));
            assert_eq!(status(&ok), "200", "{uri}");
        }
        // Of others it is asked in vain, and so is who has registered nothing.
        for uri in [
            "sip:example.org",
            "sip:100@10.77.1.1",
            "sip:bob@example.com",
        ] {
            assert!(bench.phone(0, &ping(uri, "other")).is_empty(), "{uri}");
        }
        let other = SocketAddr::new(PHONE.ip(), 50_123);
        let left = bench.say(0, other, ACCESS, &ping("sip:10.77.1.1", "stranger"));
        assert!(left.is_empty());
        assert_eq!(bench.count(Counter::SipSourceUnknown), 7);
    }
}

/// RFC 3261 §16.6 step 2: its contact is told as it said it, and called without what no Request-URI has.
#[test]
fn a_contact_with_a_method_and_headers_is_called_without_them() {
    for (contact, called) in [
        (
            "alice@10.77.1.66:5070;method=INVITE;ob?Subject=x&Priority=y",
            "alice@10.77.1.66:5070;ob",
        ),
        (
            "alice@10.77.1.66:5070;ob;METHOD=INVITE",
            "alice@10.77.1.66:5070;ob",
        ),
        ("alice@10.77.1.66:5070?Subject=x", "alice@10.77.1.66:5070"),
        ("10.77.1.66;method=x", "10.77.1.66"),
    ] {
        let (mut bench, challenge) = with_alice();
        let text = register(2, &authorization(&challenge, 1));
        let text = text.replace("sip:alice@10.77.1.66:5070", &format!("sip:{contact}"));
        let ok = bench.phone_gets(0, &text);
        assert!(header(&ok, "Contact").starts_with(&format!("<sip:{contact}>")));
        let left = bench.caller(0, &to_user("MESSAGE", "alice", "there"));
        let sent = only(&left, ACCESS, PHONE);
        assert!(
            sent.starts_with(&format!("MESSAGE sip:{called} SIP/2.0\r\n")),
            "{sent}"
        );
    }
}

/// RFC 3261 §10.3 step 5.
#[test]
fn who_registers_with_one_domain_for_another_is_not_found() {
    let mut settings = phone::settings(1);
    lab::add_domain(&mut settings);
    let other = &mut settings.domains[1];
    other.name = "example.org".to_owned();
    settings.trunks[usize::from(other.trunk.0)].name = other.name.clone();
    let mut bench = Bench::of(&settings);
    for (uri, expected) in [
        ("sip:example.com", "401"),
        ("sip:sip.example.com", "401"),
        ("sip:Example.ORG", "404"),
    ] {
        let text = register(1, "").replacen("sip:100@10.77.1.1 ", &format!("{uri} "), 1);
        assert_eq!(status(&bench.phone_gets(0, &text)), expected, "{uri}");
    }
}
