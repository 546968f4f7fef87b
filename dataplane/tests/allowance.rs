//! A subscriber has as many calls at once as its domain allows, and however a call ends its place is free
//! again.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::Left;
use bench::answer;
use bench::call::CONTACT;
use bench::call::status;
use bench::header;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::subscriber::Said;

const ALICE: (&str, &str) = ("alice", "wonderland");

fn settings(workers: u8, calls: u16) -> Settings {
    let mut settings = phone::settings(workers);
    settings.domains[0].calls = calls;
    settings
}

/// Alice at her phone.
struct Alice {
    bench: Bench,
    challenge: String,
    nc: u32,
    calls: usize,
    /// Whose worker her next calls are.
    owner: usize,
}

/// An INVITE of hers that was sent on.
struct Sent {
    call_id: String,
    /// As the callee got it.
    text: String,
}

impl Alice {
    fn new(settings: &Settings) -> Alice {
        let mut bench = Bench::of(settings);
        let challenge = bench.phone_gets(0, &request("MESSAGE", "alice", "first", 1, ""));
        Alice {
            bench,
            challenge,
            nc: 0,
            calls: 0,
            owner: 0,
        }
    }

    /// The store says what it is asked.
    fn say(&mut self, text: &str) -> Vec<Left> {
        let mut left = self.bench.phone(0, text);
        for asked in self.bench.asked() {
            left.extend(self.bench.said(asked, Said::Known(ha1s(ALICE.0, ALICE.1))));
        }
        left
    }

    fn authorized(&mut self, method: &str, call_id: &str, cseq: u32, more: &str) -> String {
        self.nc += 1;
        let line = credentials(&self.challenge, Algorithm::Sha256, ALICE, method, self.nc);
        request(method, "alice", call_id, cseq, &format!("{line}{more}"))
    }

    fn next_call_id(&mut self) -> String {
        let mut found = String::new();
        while found.is_empty() || self.bench.owner(&found) != self.owner {
            self.calls += 1;
            found = format!("call-{}", self.calls);
        }
        found
    }

    fn invites(&mut self) -> (String, Vec<Left>) {
        let call_id = self.next_call_id();
        let text = self.authorized("INVITE", &call_id, 1, "");
        let left = self.say(&text);
        (call_id, left)
    }

    /// A call of hers that is let through.
    fn calls(&mut self) -> Sent {
        let (call_id, left) = self.invites();
        let sent = left.iter().find(|left| left.destination == CALLEE);
        let text = sent
            .unwrap_or_else(|| panic!("not let through: {left:?}"))
            .text();
        assert!(text.starts_with("INVITE"), "{text}");
        Sent { call_id, text }
    }

    /// The same, answered; what she got.
    fn talks(&mut self) -> (Sent, String) {
        let sent = self.calls();
        let ok = self
            .bench
            .callee(0, &answer(&sent.text, "200 OK", CONTACT, ""));
        let ok = ok
            .iter()
            .find(|left| left.destination == PHONE)
            .unwrap()
            .text();
        let ack = request("ACK", "alice", &sent.call_id, 1, &within(&ok));
        self.bench.phone(0, &ack);
        (sent, ok)
    }

    /// Time passes, a second at a time.
    fn waits_ms(&mut self, ms: u64) {
        for _ in 0..ms / 1_000 {
            self.bench.now = self.bench.now.plus_ms(1_000);
            self.bench.turn();
        }
    }

    /// She has hung up, or was refused.
    fn is_alone(&mut self, how: &str) {
        self.bench.turn();
        assert_eq!(self.bench.count(Counter::PlacesNow), 0, "{how}");
    }

    fn acknowledges(&mut self, sent: &Sent, refused: &str) {
        let to = format!("To: {}\r\n", header(refused, "To"));
        let ack = request("ACK", "alice", &sent.call_id, 1, &to);
        let branch = |method: &str| format!("z9hG4bK{}{method}1", sent.call_id);
        self.bench
            .phone(0, &ack.replace(&branch("ACK"), &branch("INVITE")));
    }
}

/// Route and To of a request of hers within the dialog that `ok` made.
fn within(ok: &str) -> String {
    let mut routes: Vec<_> = ok
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    routes.reverse();
    format!("{}To: {}\r\n", routes.concat(), header(ok, "To"))
}

/// The callee's BYE.
fn bye_of_callee(sent: &Sent, ok: &str) -> String {
    let routes: String = sent
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    format!(
        "BYE sip:alice@10.77.1.66:5070 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.77.2.2;branch=z9hG4bKbye{0}\r\n{routes}From: {1}\r\nTo: {2}\r\n\
         Call-ID: {0}\r\nCSeq: 7 BYE\r\nContent-Length: 0\r\n\r\n",
        sent.call_id,
        header(ok, "To"),
        header(ok, "From"),
    )
}

/// How a call may end.
type End = fn(&mut Alice);

const ENDS: [(&str, End); 13] = [
    ("she hangs up", |alice| {
        let (sent, ok) = alice.talks();
        let bye = request("BYE", "alice", &sent.call_id, 2, &within(&ok));
        let left = alice.bench.phone(0, &bye);
        let bye = left
            .iter()
            .find(|left| left.destination == CALLEE)
            .unwrap()
            .text();
        alice.bench.callee(0, &answer(&bye, "200 OK", "", ""));
    }),
    ("the callee hangs up", |alice| {
        let (sent, ok) = alice.talks();
        let left = alice.bench.callee(0, &bye_of_callee(&sent, &ok));
        let bye = left
            .iter()
            .find(|left| left.destination == PHONE)
            .unwrap()
            .text();
        alice.bench.phone(0, &answer(&bye, "200 OK", "", ""));
    }),
    ("the callee is busy", |alice| {
        let sent = alice.calls();
        let left = alice
            .bench
            .callee(0, &answer(&sent.text, "486 Busy Here", "", ""));
        let told = left
            .iter()
            .find(|left| left.destination == PHONE)
            .unwrap()
            .text();
        alice.acknowledges(&sent, &told);
    }),
    ("the callee is elsewhere", |alice| {
        let sent = alice.calls();
        let left = alice
            .bench
            .callee(0, &answer(&sent.text, "302 Moved", CONTACT, ""));
        let told = left
            .iter()
            .find(|left| left.destination == PHONE)
            .unwrap()
            .text();
        alice.acknowledges(&sent, &told);
    }),
    ("she gives up while it rings", |alice| {
        let sent = alice.calls();
        alice
            .bench
            .callee(0, &answer(&sent.text, "180 Ringing", CONTACT, ""));
        let cancel = request("CANCEL", "alice", &sent.call_id, 1, "");
        let branch = |method: &str| format!("z9hG4bK{}{method}1", sent.call_id);
        let left = alice
            .bench
            .phone(0, &cancel.replace(&branch("CANCEL"), &branch("INVITE")));
        let cancel = left
            .iter()
            .find(|left| left.destination == CALLEE)
            .unwrap()
            .text();
        assert!(cancel.starts_with("CANCEL"), "{cancel}");
        alice.bench.callee(0, &answer(&cancel, "200 OK", "", ""));
        let left = alice
            .bench
            .callee(0, &answer(&sent.text, "487 Request Terminated", "", ""));
        let told = left
            .iter()
            .find(|left| left.destination == PHONE)
            .unwrap()
            .text();
        alice.acknowledges(&sent, &told);
    }),
    ("the callee says nothing", |alice| {
        alice.calls();
        alice.waits_ms(33_000);
    }),
    ("it rings for ever", |alice| {
        let sent = alice.calls();
        alice
            .bench
            .callee(0, &answer(&sent.text, "180 Ringing", CONTACT, ""));
        alice.bench.now = alice.bench.now.plus_ms(181_000);
        alice.waits_ms(70_000);
    }),
    ("it lasts as long as any call may", |alice| {
        alice.talks();
        alice.bench.now = alice.bench.now.plus_ms(12 * 3_600_000);
        alice.waits_ms(40_000);
    }),
    ("the callee has forgotten it", |alice| {
        let (sent, ok) = alice.talks();
        let again = request("INVITE", "alice", &sent.call_id, 2, &within(&ok));
        let left = alice.bench.phone(0, &again);
        let again = left
            .iter()
            .find(|left| left.destination == CALLEE)
            .unwrap()
            .text();
        alice.bench.callee(0, &answer(&again, "481 Gone", "", ""));
    }),
    ("whom she calls is nowhere", |alice| {
        let call_id = alice.next_call_id();
        let text = alice.authorized("INVITE", &call_id, 1, "");
        let ghost = text.replacen(
            "INVITE sip:100@10.77.1.1",
            "INVITE sip:ghost@example.com",
            1,
        );
        let left = alice.say(&ghost);
        let last = left
            .iter()
            .rev()
            .find(|left| left.destination == PHONE)
            .unwrap();
        assert_eq!(status(&last.text()), "480", "{}", last.text());
    }),
    ("it has gone too far", |alice| {
        let call_id = alice.next_call_id();
        let text = alice.authorized("INVITE", &call_id, 1, "");
        let text = text.replace(
            "Max-Forwards: 70\r\n",
            "Max-Forwards: 70\r\nMax-Breadth: 0\r\n",
        );
        let left = alice.say(&text);
        let last = left
            .iter()
            .rev()
            .find(|left| left.destination == PHONE)
            .unwrap();
        assert_eq!(status(&last.text()), "440", "{}", last.text());
    }),
    ("one of two phones answers", |alice| {
        for port in [5070, 5080] {
            let call_id = format!("reg{port}-{}", alice.calls);
            let text = alice.authorized("REGISTER", &call_id, 1, "");
            let text = text.replace("10.77.1.66:5070>", &format!("10.77.1.66:{port}>"));
            alice.say(&text);
        }
        let call_id = alice.next_call_id();
        let text = alice.authorized("INVITE", &call_id, 1, "");
        let text = text.replacen(
            "INVITE sip:100@10.77.1.1",
            "INVITE sip:alice@example.com",
            1,
        );
        let left = alice.say(&text);
        let rings: Vec<_> = left
            .iter()
            .filter(|left| left.payload.starts_with(b"INVITE"))
            .collect();
        assert_eq!(rings.len(), 2, "{left:?}");
        let texts: Vec<_> = rings.iter().map(|left| left.text()).collect();
        for text in &texts {
            alice
                .bench
                .phone(0, &answer(text, "180 Ringing", CONTACT, ""));
        }
        assert_eq!(
            alice.bench.count(Counter::PlacesNow),
            1,
            "a call, whatever it is split into"
        );
        let left = alice
            .bench
            .phone(0, &answer(&texts[0], "200 OK", CONTACT, ""));
        let ok = left
            .iter()
            .find(|left| left.payload.starts_with(b"SIP/2.0 200"))
            .unwrap()
            .text();
        let cancel = left
            .iter()
            .find(|left| left.payload.starts_with(b"CANCEL"))
            .unwrap()
            .text();
        alice.bench.phone(0, &answer(&cancel, "200 OK", "", ""));
        alice
            .bench
            .phone(0, &answer(&texts[1], "487 Request Terminated", "", ""));
        assert_eq!(alice.bench.count(Counter::PlacesNow), 1, "it is answered");
        let bye = request("BYE", "alice", &call_id, 2, &within(&ok));
        let left = alice.bench.phone(0, &bye);
        let bye = left
            .iter()
            .find(|left| left.payload.starts_with(b"BYE"))
            .unwrap()
            .text();
        alice.bench.phone(0, &answer(&bye, "200 OK", "", ""));
        let challenge = alice
            .bench
            .phone_gets(0, &request("REGISTER", "alice", "off", 9, ""));
        assert_eq!(status(&challenge), "401");
    }),
    ("the way there is gone", |alice| {
        let (sent, ok) = alice.talks();
        // A BYE that nobody answers ends it all the same.
        let bye = request("BYE", "alice", &sent.call_id, 2, &within(&ok));
        alice.bench.phone(0, &bye);
        alice.waits_ms(33_000);
    }),
];

#[test]
fn however_a_call_ends_its_place_is_free_again() {
    for (workers, owner) in [(1, 0), (2, 0), (2, 1), (4, 3)] {
        let mut alice = Alice::new(&settings(workers, 1));
        alice.owner = owner;
        for (how, end) in ENDS {
            println!("{workers} workers, {owner}: {how}");
            end(&mut alice);
            alice.is_alone(how);
            // Her nonce is good for a while.
            alice.waits_ms(33_000);
            let fresh = request("MESSAGE", "alice", &format!("fresh{}", alice.calls), 1, "");
            alice.challenge = alice.bench.phone_gets(0, &fresh);
            alice.nc = 0;
        }
        assert_eq!(alice.bench.count(Counter::CallsOverLimit), 0);
        alice.waits_ms(70_000);
    }
}

#[test]
fn one_call_too_many_is_refused_and_those_that_are_there_go_on() {
    let mut alice = Alice::new(&settings(2, 2));
    let (first, ok) = alice.talks();
    alice.owner = 1;
    let second = alice.calls();
    for worker in [0, 1] {
        alice.owner = worker;
        let (_, left) = alice.invites();
        let told = left
            .iter()
            .rev()
            .find(|left| left.destination == PHONE)
            .unwrap()
            .text();
        assert_eq!(status(&told), "403", "{told}");
        assert!(left.iter().all(|left| left.destination != CALLEE));
    }
    assert_eq!(alice.bench.count(Counter::CallsOverLimit), 2);
    assert_eq!(alice.bench.count(Counter::PlacesNow), 2);
    // Requests within her calls, and others than INVITE, begin none.
    let again = request("INVITE", "alice", &first.call_id, 2, &within(&ok));
    let left = alice.bench.phone(0, &again);
    assert!(left.iter().any(|left| left.destination == CALLEE));
    let message = alice.authorized("MESSAGE", "note", 1, "");
    assert!(
        alice
            .say(&message)
            .iter()
            .any(|left| left.destination == CALLEE)
    );
    let left = alice
        .bench
        .callee(0, &answer(&second.text, "486 Busy Here", "", ""));
    let told = left
        .iter()
        .find(|left| left.destination == PHONE)
        .unwrap()
        .text();
    alice.acknowledges(&second, &told);
    alice.calls();
}

#[test]
fn of_many_at_one_moment_as_many_as_allowed_are_let_through() {
    let mut alice = Alice::new(&settings(4, 3));
    let first = alice.calls();
    alice
        .bench
        .callee(0, &answer(&first.text, "486 Busy Here", "", ""));
    let mut all = Vec::new();
    for n in 0..20 {
        alice.owner = n % 4;
        let call_id = alice.next_call_id();
        all.push(alice.authorized("INVITE", &call_id, 1, ""));
    }
    alice.bench.left.clear();
    for (n, text) in all.iter().enumerate() {
        alice.bench.arrives(n % 4, PHONE, ACCESS, text.as_bytes());
    }
    alice.bench.turn();
    let mut left: Vec<_> = alice.bench.left.drain(..).collect();
    for asked in alice.bench.asked() {
        left.extend(alice.bench.said(asked, Said::Known(ha1s(ALICE.0, ALICE.1))));
    }
    let begins = |start: &[u8]| {
        left.iter()
            .filter(|left| left.payload.starts_with(start))
            .count()
    };
    assert_eq!(begins(b"INVITE"), 3);
    assert_eq!(begins(b"SIP/2.0 403"), 17);
    assert_eq!(alice.bench.count(Counter::PlacesNow), 3);
    alice.waits_ms(70_000);
    alice.is_alone("nobody has answered");
}

#[test]
fn a_place_that_comes_too_late_is_given_back() {
    for cancels in [true, false] {
        let mut alice = Alice::new(&settings(2, 1));
        // Both workers know her.
        for owner in [0, 1] {
            alice.owner = owner;
            let sent = alice.calls();
            let left = alice
                .bench
                .callee(0, &answer(&sent.text, "486 Busy Here", "", ""));
            let told = left
                .iter()
                .find(|left| left.destination == PHONE)
                .unwrap()
                .text();
            alice.acknowledges(&sent, &told);
        }
        // One of the two owners is not her keeper, which does not turn. Her nonce is the owner's, so that
        // it waits for nothing else.
        let mut waited = 0;
        for owner in [0, 1] {
            alice.owner = owner;
            let plain = request("MESSAGE", "alice", &alice.bench.call_id_of(owner), 50, "");
            alice.challenge = alice.bench.phone_gets(0, &plain);
            alice.nc = 0;
            let call_id = alice.next_call_id();
            let text = alice.authorized("INVITE", &call_id, 1, "");
            alice.bench.arrives(owner, PHONE, ACCESS, text.as_bytes());
            let worker = &mut alice.bench.workers[owner];
            while worker.turn(alice.bench.now) {}
            if worker.counters().get(Counter::TicketsNow) == 0 {
                alice.bench.turn();
                alice.waits_ms(70_000);
                continue;
            }
            waited += 1;
            if cancels {
                let cancel = request("CANCEL", "alice", &call_id, 1, "");
                let branch = |method: &str| format!("z9hG4bK{call_id}{method}1");
                let cancel = cancel.replace(&branch("CANCEL"), &branch("INVITE"));
                alice.bench.arrives(owner, PHONE, ACCESS, cancel.as_bytes());
            } else {
                alice.bench.now = alice.bench.now.plus_ms(5_010);
            }
            let worker = &mut alice.bench.workers[owner];
            while worker.turn(alice.bench.now) {}
            assert_eq!(worker.counters().get(Counter::TicketsNow), 0);
        }
        alice.bench.turn();
        alice.waits_ms(70_000);
        assert_eq!(waited, 1);
        alice.is_alone("too late");
    }
}

#[test]
fn a_restart_counts_anew_and_what_ends_of_before_takes_nothing_away() {
    let mut alice = Alice::new(&settings(2, 1));
    let (sent, ok) = alice.talks();
    let mut restarted = settings(2, 1);
    restarted.boot += 1;
    restarted.secrets.branch = [9; 16];
    let mut alice = Alice::new(&restarted);
    let bye = request("BYE", "alice", &sent.call_id, 2, &within(&ok));
    alice.bench.phone(0, &bye);
    assert_eq!(alice.bench.count(Counter::PlacesNow), 0);
    alice.calls();
    assert_eq!(alice.bench.count(Counter::PlacesNow), 1);
}
