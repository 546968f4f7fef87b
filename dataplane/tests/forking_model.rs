//! Requests to any set of targets that answer anything at any time, or nothing: what must hold of
//! what the caller and the targets see (RFC 3261 §16.7), and that nothing is left behind.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bench::Bench;
use bench::Left;
use bench::branch;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::in_dialog;
use bench::call::status;
use bench::carriers;
use bench::carriers::ack_of_failure;
use bench::carriers::answer_of;
use bench::carriers::host;
use bench::header;
use bench::request;
use bench::sdp;
use bench::stored::load;
use bench::stored::stored;
use proptest::prelude::*;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::lab;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::sip::registrar::Record;
use trunkline_dataplane::tick::Tick;

/// What may happen next.
#[derive(Clone, Debug)]
enum Event {
    /// A target that has the request says this.
    Says(prop::sample::Index, &'static str),
    /// A target repeats what it said last.
    Repeats(prop::sample::Index),
    /// The caller repeats its request.
    Again,
    /// The caller wants it no more.
    Cancel,
    /// Milliseconds go by.
    Passes(u64),
}

const ANSWERS: [&str; 16] = [
    "100 Trying",
    "180 Ringing",
    "183 Session Progress",
    "200 OK",
    "200 OK",
    "302 Moved Temporarily",
    "401 Unauthorized",
    "404 Not Found",
    "407 Proxy Authentication Required",
    "408 Request Timeout",
    "430 Flow Failed",
    "486 Busy Here",
    "487 Request Terminated",
    "500 Oops",
    "503 Service Unavailable",
    "603 Decline",
];

fn event() -> impl Strategy<Value = Event> {
    let says = (
        any::<prop::sample::Index>(),
        prop::sample::select(&ANSWERS[..]),
    );
    prop_oneof![
        8 => says.prop_map(|(who, what)| Event::Says(who, what)),
        1 => any::<prop::sample::Index>().prop_map(Event::Repeats),
        1 => Just(Event::Again),
        1 => Just(Event::Cancel),
        4 => prop::sample::select(&[10_u64, 700, 2_100, 5_000][..]).prop_map(Event::Passes),
    ]
}

/// Trunks with q and a number of targets each, the most preferred first.
fn route() -> impl Strategy<Value = Vec<(u16, usize)>> {
    let trunk = (prop::sample::select(&[1_u16, 500, 1000][..]), 1_usize..=3);
    prop::collection::vec(trunk, 1..=4).prop_map(|mut trunks| {
        trunks.sort_by_key(|&(q, _)| std::cmp::Reverse(q));
        trunks
    })
}

/// A target that has the request.
#[derive(Debug)]
struct Target {
    /// The request as it came.
    sent: String,
    /// From when on its transaction may be over, as long as it has not spoken or is cancelled.
    late: Tick,
    /// Its last response.
    last: Option<String>,
    /// It has answered finally: with this status.
    answered: Option<u16>,
    cancelled: bool,
    acknowledged: bool,
    ended: bool,
    rang: bool,
    /// Another flow of its device was tried before anything was heard of it.
    given_up: bool,
}

impl Default for Target {
    fn default() -> Target {
        Target {
            sent: String::new(),
            late: Tick::NEVER,
            last: None,
            answered: None,
            cancelled: false,
            acknowledged: false,
            ended: false,
            rang: false,
            given_up: false,
        }
    }
}

/// What everybody has seen.
#[derive(Debug, Default)]
struct Seen {
    targets: BTreeMap<u8, Target>,
    /// Final responses at the caller, each once.
    finals: BTreeSet<String>,
    provisionals: usize,
    /// No target may be tried from here on.
    closed: bool,
    /// A target was tried all the same.
    tried_late: bool,
    /// Which device's flow a target is.
    devices: BTreeMap<u8, usize>,
    /// A flow was tried though another one of its device was not dead.
    tried_beside: bool,
}

impl Seen {
    fn last_of(left: &Left) -> u8 {
        match left.destination.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => panic!("{left:?}"),
        }
    }

    /// A target is tried. RFC 5626 §7: no other flow of the same device may have been heard, or have answered with
    /// something else than that it is dead. One that was given up answers our own CANCEL with a 487.
    fn note_tried(&mut self, last: u8) {
        let Some(device) = self.devices.get(&last) else {
            return;
        };
        for (other, target) in &mut self.targets {
            if self.devices.get(other) != Some(device) {
                continue;
            }
            target.given_up |= target.last.is_none();
            self.tried_beside |= match target.answered {
                None => !target.given_up,
                Some(408 | 430) => target.rang && !target.given_up,
                Some(487) => !target.given_up,
                Some(_) => true,
            };
        }
    }

    fn note(&mut self, now: Tick, left: &[Left]) {
        for left in left {
            let text = left.text();
            if left.destination == lab::PEERS[0] {
                if header(&text, "CSeq").ends_with("CANCEL") {
                    continue;
                }
                match status(&text).as_bytes()[0] {
                    b'1' => self.provisionals += 1,
                    _ => drop(self.finals.insert(text)),
                }
                continue;
            }
            let last = Seen::last_of(left);
            if !self.targets.contains_key(&last) {
                self.note_tried(last);
            }
            let target = self.targets.entry(last).or_default();
            match text.split(' ').next().unwrap() {
                "ACK" => target.acknowledged = true,
                "BYE" => target.ended = true,
                "CANCEL" => {
                    target.late = now.plus_ms(30_000);
                    target.cancelled = true;
                }
                _ if target.sent.is_empty() => {
                    self.tried_late |= self.closed;
                    target.sent = text;
                    target.late = now.plus_ms(30_000);
                }
                _ => assert_eq!(target.sent, text, "a repetition is the same"),
            }
        }
    }
}

fn pass(bench: &mut Bench, seen: &mut Seen, ms: u64) {
    let end = bench.now.plus_ms(ms);
    while bench.now < end {
        bench.now = end.min(bench.now.plus_ms(if ms > 10_000 { 500 } else { 50 }));
        bench.left.clear();
        bench.turn();
        let left: Vec<Left> = bench.left.drain(..).collect();
        seen.note(bench.now, &left);
    }
}

/// A target speaks, as far as a user agent may.
fn says(bench: &mut Bench, seen: &mut Seen, last: u8, what: &str) {
    let method = {
        let target = seen.targets.get_mut(&last).unwrap();
        if target.answered.is_some() || bench.now >= target.late {
            return;
        }
        header(&target.sent, "CSeq")
            .split(' ')
            .nth(1)
            .unwrap()
            .to_owned()
    };
    let code: u16 = what[..3].parse().unwrap();
    if method != "INVITE" && (101..200).contains(&code) {
        return;
    }
    let body = if method == "INVITE" && code == 200 {
        sdp(CALLEE_MEDIA)
    } else {
        String::new()
    };
    let target = seen.targets.get_mut(&last).unwrap();
    let text = answer_of(last, &target.sent, what, "", &body);
    target.last = Some(text.clone());
    target.rang |= (101..200).contains(&code);
    if code >= 200 {
        target.answered = Some(code);
    } else if method == "INVITE" && !target.cancelled {
        target.late = Tick::NEVER;
    }
    seen.closed |= code == 200 || code >= 600;
    let left = bench.say(0, host(last), lab::LISTENS[1], &text);
    seen.note(bench.now, &left);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(40)
    })]

    #[test]
    fn the_caller_gets_one_failure_or_every_2xx_and_nothing_is_left(
        route in route(),
        is_of_user in any::<bool>(),
        invite in prop::bool::weighted(0.8),
        events in prop::collection::vec(event(), 0..30),
    ) {
        let mut lasts = 3_u8..;
        let trunks: Vec<(u16, Vec<u8>)> = route
            .iter()
            .map(|&(q, count)| (q, lasts.by_ref().take(count).collect()))
            .collect();
        let carriers: Vec<(u16, &[u8])> = trunks.iter().map(|(q, t)| (*q, &t[..])).collect();
        let mut bench = if is_of_user { devices(&trunks) } else { carriers::bench(&carriers) };
        let method = if invite { "INVITE" } else { "OPTIONS" };
        let body = if invite { sdp(CALLER_MEDIA) } else { String::new() };
        let asked = request(method, "model", "1", "b1", "", &body);
        let user = format!("sip:alice@{} ", lab::DOMAIN);
        let asked = match is_of_user {
            true => asked.replacen("sip:100@10.77.1.1 ", &user, 1),
            false => asked,
        };
        let soon = bench.now.plus_ms(30_000);
        let mut seen = Seen::default();
        if is_of_user {
            let all = trunks.iter().enumerate();
            let all = all.flat_map(|(device, (_, lasts))| lasts.iter().map(move |&last| (last, device)));
            seen.devices = all.collect();
        }
        let left = bench.caller(0, &asked);
        seen.note(bench.now, &left);
        prop_assert!(!seen.targets.is_empty());

        for event in events {
            let known: Vec<u8> = seen.targets.keys().copied().collect();
            match event {
                Event::Says(who, what) => says(&mut bench, &mut seen, *who.get(&known), what),
                Event::Repeats(who) => {
                    let last = *who.get(&known);
                    if let Some(text) = seen.targets[&last].last.clone() {
                        let left = bench.say(0, host(last), lab::LISTENS[1], &text);
                        seen.note(bench.now, &left);
                    }
                }
                // Once the transaction is over a repetition would be another request.
                Event::Again if seen.finals.is_empty() && (invite || bench.now < soon) => {
                    let left = bench.caller(0, &asked);
                    prop_assert!(left.iter().all(|left| left.destination == lab::PEERS[0]));
                    seen.note(bench.now, &left);
                }
                Event::Cancel if invite => {
                    seen.closed = true;
                    let left = bench.caller(0, &request("CANCEL", "model", "1", "b1", "", ""));
                    seen.note(bench.now, &left);
                }
                Event::Again | Event::Cancel => {}
                Event::Passes(ms) => pass(&mut bench, &mut seen, ms),
            }
            for text in seen.finals.clone() {
                if invite && status(&text) > "299" {
                    let left = bench.caller(0, &ack_of_failure(&text));
                    seen.note(bench.now, &left);
                }
            }
            for worker in &bench.workers {
                prop_assert_eq!(worker.audit().map(|_| ()), Ok(()));
            }
        }
        // Whoever is left falls silent. Every timer runs out, Timer C of each group in turn.
        for _ in 0..6 {
            pass(&mut bench, &mut seen, 220_000);
            for text in seen.finals.clone() {
                if invite && status(&text) > "299" {
                    bench.caller(0, &ack_of_failure(&text));
                }
            }
        }

        let codes: Vec<&str> = seen.finals.iter().map(|text| status(text)).collect();
        let answers = codes.iter().filter(|code| code.starts_with('2')).count();
        prop_assert!(!seen.tried_late, "{seen:?}");
        prop_assert!(!seen.tried_beside, "{seen:?}");
        prop_assert!(!codes.contains(&"503"));
        if invite {
            prop_assert!(codes.len() == answers && answers > 0 || codes.len() == 1, "{codes:?}");
        } else {
            prop_assert!(codes.len() <= 1, "{codes:?}");
        }
        let mut answered = 0;
        for target in seen.targets.values().filter(|_| invite) {
            match target.answered {
                None => {}
                Some(200) if target.ended => prop_assert!(target.acknowledged),
                Some(200) => answered += 1,
                Some(_) => prop_assert!(target.acknowledged, "{target:?}"),
            }
        }
        if invite {
            prop_assert_eq!(answered, answers, "each 2xx goes upstream or is ended by us");
        }
        for text in seen.finals.iter().filter(|text| invite && status(text) == "200") {
            let bye = in_dialog("BYE", "model", "2", &branch_of(text), text);
            bench.caller(0, &bye);
        }
        pass(&mut bench, &mut seen, 70_000);
        bench.assert_at_rest();
    }
}

/// A box at which alice has registered devices: q, and where their flows end, that of the last REGISTER first.
fn devices(devices: &[(u16, Vec<u8>)]) -> Bench {
    let mut settings = carriers::settings(1, &[(1, &[2])]);
    lab::add_domain(&mut settings);
    settings.location = Location::Own;
    let mut bench = carriers::bench_of(&settings);
    for (device, (q, lasts)) in devices.iter().enumerate() {
        for (reg_id, &last) in (1_u64..).zip(lasts) {
            let params = format!(";+sip.instance=\"<urn:uuid:{device}>\";reg-id={reg_id}");
            let uri = format!("sip:alice@10.77.2.{last}");
            let plain = stored(&bench, "alice", &uri);
            let record = Record {
                params: params.as_bytes(),
                received: host(last),
                listen: ListenIndex(1),
                expires: plain.taken.plus_ms(600_000),
                taken: plain.taken.plus_ms(100 - reg_id),
                q: *q,
                reg_id: u32::try_from(reg_id).unwrap().try_into().ok(),
                ..plain
            };
            assert!(bench.posts[0].mail.post_binding(Mail::Bound, &record));
        }
    }
    load(&mut bench);
    bench
}

/// A branch for the BYE that ends the dialog of an answer.
fn branch_of(text: &str) -> String {
    let tag = header(text, "To").split("tag=").nth(1).unwrap().to_owned();
    format!("bye-{tag}-{}", branch(text).len())
}
