//! Bindings that a location store gives back, whatever stands in them, to a registrar and to a whole worker.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::frame::Bench;
use super::input::Input;
use crate::counters::Counter;
use crate::ids::DomainIndex;
use crate::ids::ListenIndex;
use crate::lab;
use crate::lab::Lab;
use crate::mailbox::Mail;
use crate::settings::Location;
use crate::sip::build;
use crate::sip::build::Response;
use crate::sip::header::HeaderName;
use crate::sip::message::Message;
use crate::sip::registrar::Letter;
use crate::sip::registrar::Record;
use crate::sip::registrar::Register;
use crate::sip::registrar::Registered;
use crate::sip::registrar::Registrar;
use crate::sip::registrar::Rules;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::siphash::SipHash;
use crate::text::Text;
use crate::tick::Tick;

/// How many bindings of an input are given back.
const BINDINGS_MAX: usize = 8;
/// Room for the answer: a libFuzzer gives no longer texts.
const ANSWER_LEN_MAX: usize = 60_000;
const USER: &[u8] = b"alice";
const NOW: Tick = Tick::ms(1_000_000);

/// What a byte of flags says.
const REMOVED: u8 = 1;
const OTHER_USER: u8 = 2;

/// What the store says of a binding.
struct Given<'b> {
    is_removed: bool,
    record: Record<'b>,
}

/// Reads bindings and gives them back.
///
/// ```text
/// flags 1 | reg-id 1, 0: none | q 2 | age in s 2 | lifetime in s 2 | Call-ID 1 | CSeq 1 |
/// port 2, family 1, address 4 or 16 | URI | parameters | path | user, if the flags say so
/// ```
///
/// A text is its length in two bytes and so many bytes.
pub(super) fn stored(mut input: Input<'_>) {
    let mut all = Vec::new();
    while !input.0.is_empty() && all.len() < BINDINGS_MAX {
        all.extend(read(&mut input));
    }
    all.iter().for_each(|given| letter(&given.record));
    told(&all);
    called(&all);
}

fn read<'b>(input: &mut Input<'b>) -> Option<Given<'b>> {
    let flags = input.byte();
    let reg_id = NonZeroU32::new(input.byte().into());
    let q = input.number();
    let seconds = |number: u16| u64::from(number) * 1_000;
    let (age_ms, lifetime_ms) = (seconds(input.number()), seconds(input.number()));
    let (call_id, cseq) = (input.byte().into(), input.byte().into());
    let received = input.address();
    let [uri, params, path] = [(); 3].map(|()| input.text());
    let user = match flags & OTHER_USER {
        0 => USER,
        _ => input.text(),
    };
    let taken = Tick::ms((NOW.0 / 1_000_000).saturating_sub(age_ms));
    let record = Record {
        aor: aor_of(user)?.key,
        domain: DomainIndex(0),
        user,
        uri,
        params,
        path,
        received,
        listen: ListenIndex(flags >> 7),
        expires: taken.plus_ms(lifetime_ms),
        taken,
        q,
        call_id,
        cseq,
        transaction: 9,
        reg_id,
    };
    Some(Given {
        is_removed: flags & REMOVED != 0,
        record,
    })
}

fn aor_of(user: &[u8]) -> Option<AddressOfRecord> {
    AddressOfRecord::keyed(user, lab::DOMAIN.as_bytes(), &hash_key())
}

fn hash_key() -> [u8; 16] {
    Lab::PLAIN.settings(1).secrets.hash
}

/// On its way between threads a binding stays what it is.
fn letter(record: &Record<'_>) {
    if let Some(letter) = Letter::of(record) {
        let texts = Letter::texts(record).concat();
        assert_eq!(
            (letter.record(&texts), letter.len()),
            (*record, texts.len())
        );
    }
}

/// A phone that asks is told of each binding in a line of its own.
fn told(all: &[Given<'_>]) {
    let mut registrar = Registrar::new(12, Rules::default(), SipHash::new(&hash_key()));
    for Given { is_removed, record } in all {
        if *is_removed {
            registrar.withdraw(record, |_| {});
        } else {
            registrar.restore(record, NOW);
        }
    }
    let (Ok(message), Some(aor)) = (Message::scan(QUERY), aor_of(USER)) else {
        panic!("the query is none");
    };
    let request = Register {
        message: &message,
        aor: &aor,
        domain: DomainIndex(0),
        received: lab::PEERS[0],
        listen: ListenIndex(0),
        transaction: 1,
    };
    let mut room = vec![0; ANSWER_LEN_MAX];
    let mut lines = Text::new(&mut room);
    registrar.answer(&request, Registered::default(), NOW, &mut lines);
    let Ok(len) = lines.finish() else {
        panic!("an answer of more than {ANSWER_LEN_MAX} bytes");
    };
    let mut count = 0;
    registrar.targets(aor.key, NOW, |_, _| count += 1);
    let bound = (0..registrar.capacity()).filter(|&slot| {
        let record = registrar.tenant(slot);
        record.is_some_and(|record| record.aor == aor.key && record.expires > NOW)
    });
    let bound = bound.count();
    assert!(count <= bound);
    let answer = Response {
        to_tag: Some(b"ours"),
        lines: &room[..len],
        ..Response::new(200)
    };
    let mut out = vec![0; ANSWER_LEN_MAX];
    let Ok(len) = build::response(&message, &answer, &mut out) else {
        panic!("no response");
    };
    let scanned = Message::scan(&out[..len]);
    let Ok(answer) = scanned else {
        panic!("{:?} {}", scanned.err(), out[..len].escape_ascii());
    };
    assert_eq!(answer.all_of(HeaderName::Contact).count(), bound);
}

const QUERY: &[u8] = b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
    From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: query\r\n\
    CSeq: 1 REGISTER\r\n\r\n";

/// Who calls the user gets an answer, and whatever is sent is a message; in the end nothing is left.
fn called(all: &[Given<'_>]) {
    let mut settings = Lab::PLAIN.settings(1);
    lab::add_domain(&mut settings);
    settings.location = Location::Own;
    let Some(mut bench) = Bench::of(Lab::PLAIN, &settings) else {
        panic!("the bench cannot be made");
    };
    bench.now = NOW;
    bench.mail(Mail::Loading);
    for Given { is_removed, record } in all {
        let mail: fn(Letter) -> Mail = match is_removed {
            true => Mail::Unbound,
            false => Mail::Bound,
        };
        bench.mail_binding(mail, record);
    }
    bench.mail(Mail::Loaded);
    let left = bench.sip(0, &call());
    assert!(!left.is_empty());
    messages(&left);
    // Until nobody is called any more, and then until the last binding has ended.
    for _ in 0..20 {
        messages(&bench.pass_ms(10_000));
    }
    for _ in 0..3 {
        messages(&bench.pass_ms(u64::from(u16::MAX) * 1_000));
    }
    assert_eq!(bench.count(Counter::BindingsNow), 0);
    bench.audited();
}

fn messages(left: &[String]) {
    for text in left.iter().filter(|text| *text != "\r\n\r\n") {
        let scanned = Message::scan(text.as_bytes());
        assert!(
            scanned.is_ok(),
            "{:?} {}",
            scanned.err(),
            text.escape_debug()
        );
    }
}

/// An INVITE of the caller's trunk.
fn call() -> Vec<u8> {
    let caller: SocketAddr = lab::PEERS[0];
    let (user, domain) = (USER.escape_ascii(), lab::DOMAIN);
    let text = format!(
        "INVITE sip:{user}@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};rport;branch=z9hG4bKcall\r\n\
         Max-Forwards: 70\r\nFrom: <sip:caller@{caller}>;tag=caller\r\nTo: <sip:{user}@{domain}>\r\n\
         Call-ID: call\r\nCSeq: 1 INVITE\r\nContact: <sip:caller@{caller}>\r\nContent-Length: 0\r\n\r\n"
    );
    text.into_bytes()
}
