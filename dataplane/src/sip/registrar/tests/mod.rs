//! A registrar that is sent REGISTERs as text.

mod capacity;
mod flows;
mod granted;
mod model;
mod repetition;
mod restoring;
mod rules;
mod torture;

use std::net::SocketAddr;

use super::Change;
use super::Happened;
use super::Refusal;
use super::Register;
use super::Registrar;
use super::Rules;
use super::aor::AddressOfRecord;
use crate::ids::DomainIndex;
use crate::ids::ListenIndex;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::siphash::SipHash;
use crate::sip::uri::Uri;
use crate::text::Text;
use crate::tick::Tick;

const HASH: SipHash = SipHash::new(&[7; 16]);

fn rules() -> Rules {
    Rules {
        min_s: 60,
        max_s: 7_200,
        default_s: 600,
        contacts_max: 4,
        replaces_oldest: false,
        service_route: String::new(),
        keepalive_s: 0,
        flow_timer_s: 0,
    }
}

/// A REGISTER, but for its header fields.
#[derive(Clone, Debug)]
struct Sent {
    user: String,
    call_id: &'static str,
    cseq: u32,
    branch: String,
    source: &'static str,
    lines: String,
}

impl Sent {
    /// The next one of alice's phone.
    fn new(cseq: u32, lines: &str) -> Sent {
        Sent {
            user: "alice".to_owned(),
            call_id: "phone",
            cseq,
            branch: format!("{cseq}"),
            source: "198.51.100.7:5062",
            lines: lines.replace('|', "\r\n"),
        }
    }

    fn of(self, call_id: &'static str) -> Sent {
        Sent { call_id, ..self }
    }

    fn by(self, user: &str) -> Sent {
        let user = user.to_owned();
        Sent { user, ..self }
    }

    fn from(self, source: &'static str) -> Sent {
        Sent { source, ..self }
    }

    fn text(&self) -> String {
        let (user, branch, call_id) = (&self.user, &self.branch, self.call_id);
        let (cseq, lines) = (self.cseq, &self.lines);
        let end = if lines.is_empty() { "" } else { "\r\n" };
        format!(
            "REGISTER sip:example.com SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.168.1.7:5060;branch=z9hG4bK{call_id}{branch};rport\r\n\
             From: <sip:{user}@example.com>;tag=1\r\nTo: <sip:{user}@example.com>\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n\
             {lines}{end}Content-Length: 0\r\n\r\n"
        )
    }
}

struct Bench {
    registrar: Registrar,
    now: Tick,
    /// What the last one changed: what happened, and the URI.
    changes: Vec<(Happened, String)>,
    /// With which CSeq each of them was told.
    cseqs: Vec<u32>,
    /// What it was to remove that is not there: URI, parameters, CSeq.
    absent: Vec<(String, String, u32)>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(64, rules())
    }

    fn with(capacity: u32, rules: Rules) -> Bench {
        Bench {
            registrar: Registrar::new(capacity, rules, HASH),
            now: Tick::ms(1_000_000),
            changes: Vec::new(),
            cseqs: Vec::new(),
            absent: Vec::new(),
        }
    }

    /// The lines of the answer to a REGISTER of alice's phone.
    fn send(&mut self, cseq: u32, lines: &str) -> Result<Vec<String>, Refusal> {
        self.take(&Sent::new(cseq, lines))
    }

    fn take(&mut self, sent: &Sent) -> Result<Vec<String>, Refusal> {
        self.take_text(&sent.text(), sent.source)
    }

    fn take_text(&mut self, text: &str, source: &str) -> Result<Vec<String>, Refusal> {
        let message = Message::scan(text.as_bytes()).unwrap();
        let uri = Uri::read(message.bytes(), message.to().uri).unwrap();
        let aor = AddressOfRecord::of(message.bytes(), &uri, HASH).unwrap();
        let branch = message.text(message.via().branch.unwrap());
        let request = Register {
            message: &message,
            aor: &aor,
            domain: DomainIndex(0),
            received: source.parse().unwrap(),
            listen: ListenIndex(1),
            transaction: HASH.text(branch).finish(What::Transaction.with(0)),
        };
        self.changes.clear();
        self.cseqs.clear();
        self.absent.clear();
        let (changes, cseqs) = (&mut self.changes, &mut self.cseqs);
        let absent = &mut self.absent;
        let tell = |change: Change<'_>| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let (uri, params) = (text(change.record.uri), text(change.record.params));
            if change.id.is_none() {
                assert_eq!(change.happened, Happened::Removed);
                return absent.push((uri, params, change.record.cseq));
            }
            changes.push((change.happened, uri));
            cseqs.push(change.record.cseq);
        };
        let registered = self.registrar.register(&request, self.now, tell)?;
        let mut room = [0; 20_000];
        let mut text = Text::new(&mut room);
        self.registrar
            .answer(&request, registered, self.now, &mut text);
        let len = text.finish().unwrap();
        let lines = std::str::from_utf8(&room[..len]).unwrap();
        Ok(lines.split_terminator("\r\n").map(str::to_owned).collect())
    }

    fn pass_s(&mut self, seconds: u64) {
        self.now = self.now.plus_ms(seconds * 1_000);
    }

    /// The targets of a user: lane and URI.
    fn lanes(&mut self, user: &str) -> Vec<(u8, String)> {
        let mut lanes = Vec::new();
        self.registrar.targets(key(user), self.now, |lane, record| {
            lanes.push((lane, String::from_utf8(record.uri.to_vec()).unwrap()));
        });
        lanes
    }

    /// The targets of a user: q, URI, and where its REGISTER came from.
    fn targets(&mut self, user: &str) -> Vec<(u16, String, SocketAddr)> {
        let mut targets = Vec::new();
        self.registrar.targets(key(user), self.now, |_, record| {
            let uri = String::from_utf8(record.uri.to_vec()).unwrap();
            targets.push((record.q, uri, record.received));
        });
        targets
    }

    fn uris(&mut self, user: &str) -> Vec<String> {
        let targets = self.targets(user);
        targets.into_iter().map(|(_, uri, _)| uri).collect()
    }
}

fn key(user: &str) -> u64 {
    let text = format!("sip:{user}@example.com");
    let span = crate::span::Span::new(0, text.len());
    let uri = Uri::read(text.as_bytes(), span).unwrap();
    AddressOfRecord::of(text.as_bytes(), &uri, HASH)
        .unwrap()
        .key
}

const OK: Result<Vec<String>, Refusal> = Ok(Vec::new());
