//! Both ends on a wire, without a box: what they say, and what they do when it is lost.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use trunkline_dataplane::tick::Tick;

use super::call::Side;
use super::load::Load;
use super::load::Outbox;
use super::load::Plan;
use super::media::MediaOutbox;
use super::pace::Rate;
use super::pen::Pen;
use super::phones::Phones;
use super::script::Mix;
use super::script::Times;
use super::speech::media_port;
use super::tally::Failure;
use super::tally::Measure;

const CALLER: &str = "10.77.1.2:5060";
const CALLEE: &str = "10.77.2.2:5060";
/// Each way.
const DELAY_NS: u64 = 1_000_000;

/// What is on its way, by arrival.
type Flights = BTreeMap<(u64, u64), (Side, String)>;

/// A wire that takes a millisecond, and on which things are lost.
#[derive(Default)]
struct Wire {
    now: u64,
    sent: u64,
    flights: Flights,
    /// Says of each datagram, by its number, whether it is lost.
    loses: Option<fn(u64, &str) -> bool>,
    log: Vec<String>,
    rtp: VecDeque<(u64, Side, Vec<u8>)>,
}

impl Outbox for Wire {
    fn send(&mut self, side: Side, to: SocketAddr, write: &mut dyn FnMut(&mut Pen<'_>)) -> bool {
        let mut room = [0; 2048];
        let mut pen = Pen::new(&mut room);
        write(&mut pen);
        let len = pen.done().unwrap();
        let text = String::from_utf8(room[..len].to_vec()).unwrap();
        let (other, address) = match side {
            Side::Caller => (Side::Callee, CALLEE),
            Side::Callee => (Side::Caller, CALLER),
        };
        assert_eq!(to.to_string(), address, "{text}");
        self.sent += 1;
        let lost = self.loses.is_some_and(|loses| loses(self.sent, &text));
        self.log.push(text.lines().next().unwrap().to_owned());
        if !lost {
            let due = self.now + DELAY_NS;
            self.flights.insert((due, self.sent), (other, text));
        }
        true
    }
}

impl MediaOutbox for Wire {
    fn send_media(
        &mut self,
        side: Side,
        seat: u32,
        to: SocketAddr,
        write: &mut dyn FnMut(&mut Pen<'_>),
    ) -> bool {
        let mut room = [0; 2048];
        let mut pen = Pen::new(&mut room);
        write(&mut pen);
        let len = pen.done().unwrap();
        let other = match side {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        };
        assert_eq!(to.port(), media_port(seat));
        self.sent += 1;
        let due = self.now + DELAY_NS;
        self.rtp.push_back((due, other, room[..len].to_vec()));
        true
    }
}

fn plan(mix: &str, calls: u64) -> Plan {
    Plan {
        caller: CALLER.parse().unwrap(),
        callee: CALLEE.parse().unwrap(),
        // No box between: the callees are called as they are.
        target: CALLEE.parse().unwrap(),
        from: CALLER.parse().unwrap(),
        number: "15550100".to_owned(),
        run: 7,
        rate: Rate::steady(100.0),
        time: Duration::from_secs(600),
        calls: Some(calls),
        mix: mix.parse::<Mix>().unwrap(),
        times: Times {
            ring: Duration::from_millis(50),
            talk: Duration::from_millis(300),
        },
        seats: 10_000,
        outbound: false,
        sdp: true,
        media: false,
        users: 0,
        callers: 0,
        domain: "example.com".to_owned(),
    }
}

fn carry(plan: Plan, wire: &mut Wire) -> Load {
    let mut load = Load::new(plan, Tick(0));
    while !load.is_over() {
        while let Some((_, side, packet)) = wire.rtp.pop_front_if(|(due, ..)| *due <= wire.now) {
            load.media.receive(side, &packet, Tick(wire.now));
        }
        let flight = wire.flights.keys().next().copied();
        let due = load.next_due().0;
        match flight {
            Some(key) if key.0 <= due => {
                let (side, text) = wire.flights.remove(&key).unwrap();
                wire.now = wire.now.max(key.0);
                let source = match side {
                    Side::Caller => CALLEE,
                    Side::Callee => CALLER,
                };
                let now = Tick(wire.now);
                load.receive(side, source.parse().unwrap(), text.as_bytes(), now, wire);
            }
            _ => {
                assert!(due < 10_000_000_000_000, "nothing is due any more");
                wire.now = wire.now.max(due);
                load.fire(Tick(wire.now), wire);
            }
        }
    }
    load
}

#[test]
fn a_basic_call_is_six_messages_and_an_ack() {
    let mut wire = Wire::default();
    let load = carry(plan("basic", 1), &mut wire);
    assert_eq!(
        wire.log,
        [
            "INVITE sip:15550100@10.77.2.2:5060 SIP/2.0",
            "SIP/2.0 180 Ringing",
            "SIP/2.0 200 OK",
            "ACK sip:15550100@10.77.2.2:5060 SIP/2.0",
            "BYE sip:15550100@10.77.2.2:5060 SIP/2.0",
            "SIP/2.0 200 OK",
        ]
    );
    let counts = &load.tally.counts;
    assert_eq!((counts.completed(), counts.failed()), (1, 0));
    assert_eq!((counts.sent, counts.received), (6, 6));
    assert_eq!(
        (counts.stray, counts.heard_again, counts.repeated),
        (0, 0, 0)
    );
    let median = |measure| load.tally.quantile(measure, 0.5).as_micros();
    assert!((1_000..1_010).contains(&median(Measure::RequestTransit)));
    assert!((1_000..1_010).contains(&median(Measure::ResponseTransit)));
    assert!((2_000..2_010).contains(&median(Measure::Ringing)));
    assert!((52_000..58_000).contains(&median(Measure::Final)));
    assert!((2_000..2_010).contains(&median(Measure::Bye)));
}

#[test]
fn every_script_ends_as_it_says() {
    let mut wire = Wire::default();
    let load = carry(plan("basic=1,busy=1,cancel=1,hold=1", 40), &mut wire);
    let counts = &load.tally.counts;
    assert_eq!(counts.completed, [10, 10, 10, 10, 0]);
    assert_eq!((counts.failed(), counts.repeated, counts.stray), (0, 0, 0));
    let said = |start: &str| {
        wire.log
            .iter()
            .filter(|line| line.starts_with(start))
            .count()
    };
    assert_eq!(said("INVITE"), 40 + 20, "two re-INVITEs a held call");
    assert_eq!((said("CANCEL"), said("BYE")), (10, 20));
    assert_eq!(said("ACK"), 60, "one for each final response to an INVITE");
    assert_eq!((said("SIP/2.0 486"), said("SIP/2.0 487")), (10, 10));
}

/// Three of ten, by a number that looks like chance.
fn a_third(number: u64, _: &str) -> bool {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 1023 < 307
}

#[test]
fn what_is_lost_is_said_again_until_it_is_heard() {
    let mut wire = Wire {
        loses: Some(a_third),
        ..Wire::default()
    };
    let load = carry(plan("basic=1,busy=1,cancel=1,hold=1", 2_000), &mut wire);
    let counts = &load.tally.counts;
    assert_eq!(counts.open, 0);
    assert_eq!(counts.begun, 2_000);
    // Six or more in a row must be lost for a call to fail.
    assert!(counts.failed() < 40, "{counts:?}");
    assert_eq!(counts.completed() + counts.failed(), 2_000);
    assert!(
        counts.repeated > 1_000 && counts.heard_again > 100,
        "{counts:?}"
    );
}

#[test]
fn an_invite_that_nobody_answers_is_said_seven_times() {
    let mut wire = Wire {
        loses: Some(|_, _| true),
        ..Wire::default()
    };
    let load = carry(plan("basic", 1), &mut wire);
    let counts = &load.tally.counts;
    assert_eq!(counts.failed[Failure::InviteTimeout as usize], 1);
    assert_eq!(
        wire.sent, 7,
        "RFC 3261 §17.1.1.2: at 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s"
    );
    assert!((32_000..32_100).contains(&(wire.now / 1_000_000)));
}

#[test]
fn a_200_without_an_ack_is_said_until_64_t1() {
    let mut wire = Wire {
        loses: Some(|_, text| text.starts_with("ACK") || text.starts_with("BYE")),
        ..Wire::default()
    };
    let load = carry(plan("basic", 1), &mut wire);
    let counts = &load.tally.counts;
    assert_eq!(counts.failed[Failure::AckTimeout as usize], 1);
    let oks = wire.log.iter().filter(|line| line.contains("200 OK"));
    assert_eq!(
        oks.count(),
        11,
        "RFC 3261 §13.3.1.4: at 0, 0.5, 1.5, 3.5, then every 4 s"
    );
    assert_eq!(counts.open, 0, "and the entry is free again");
}

#[test]
fn calls_that_talk_send_a_packet_each_20_ms_each_way() {
    let mut wire = Wire::default();
    let media = Plan {
        media: true,
        ..plan("basic", 20)
    };
    let load = carry(media, &mut wire);
    let counts = load.media.counts;
    // 300 ms of talk, give or take a bucket of the timers.
    assert!((20 * 30..=20 * 32).contains(&counts.sent), "{counts:?}");
    assert_eq!(
        (counts.received, counts.lost, counts.stray),
        (counts.sent, 0, 0)
    );
    assert_eq!((counts.late, counts.twice, counts.behind), (0, 0, 0));
    assert_eq!(load.tally.counts.completed(), 20);
}

#[test]
fn a_user_registers_and_answers_the_challenge() {
    let register = Plan {
        users: 10,
        target: "10.77.1.1:5060".parse().unwrap(),
        ..plan("register", 1)
    };
    let mut said = Said::default();
    let mut load = Load::new(register, Tick(0));
    load.fire(Tick(0), &mut said);
    let first = said.0.pop().unwrap();
    assert!(
        first.starts_with("REGISTER sip:example.com SIP/2.0\r\n"),
        "{first}"
    );
    assert!(
        first.contains("From: <sip:user000000@example.com>;tag=c"),
        "{first}"
    );
    assert!(
        first.contains("To: <sip:user000000@example.com>\r\n"),
        "{first}"
    );
    let mut now = 0;
    let mut answer = |request: &str, status: &str, more: &str, said: &mut Said| {
        let lines: String = ["Via", "From", "To", "Call-ID", "CSeq"]
            .map(|name| {
                let line = request.lines().find(|line| line.starts_with(name)).unwrap();
                format!("{line}\r\n")
            })
            .concat();
        let text = format!("SIP/2.0 {status}\r\n{lines}{more}Content-Length: 0\r\n\r\n");
        let source = "10.77.1.1:5060".parse().unwrap();
        now += 1_000;
        load.receive(Side::Caller, source, text.as_bytes(), Tick(now), said);
        load.tally.counts.clone()
    };
    let challenge = "WWW-Authenticate: Digest realm=\"example.com\",nonce=\"n1\",qop=\"auth\"\r\n";
    answer(&first, "401 Unauthorized", challenge, &mut said);
    let second = said.0.pop().unwrap();
    assert!(second.contains("CSeq: 2 REGISTER"), "{second}");
    assert!(
        second.contains("Authorization: Digest username=\"user000000\""),
        "{second}"
    );
    assert_eq!(
        first.lines().nth(4),
        second.lines().nth(4),
        "the same Call-ID"
    );
    let counts = answer(&second, "200 OK", "", &mut said);
    assert_eq!(
        (counts.completed(), counts.challenged, counts.open),
        (1, 1, 0)
    );
    let whole = load.tally.times(Measure::Registration);
    assert_eq!((whole.len(), whole.max()), (1, 2_000), "both transactions");
    assert_eq!(load.phones.log(Duration::ZERO), "0.000002 user000000\n");
}

#[test]
fn a_phone_that_remembers_uses_its_nonce_again() {
    let register = Plan {
        users: 2,
        target: "10.77.1.1:5060".parse().unwrap(),
        ..plan("register", 2)
    };
    let mut said = Said::default();
    let mut load = Load::new(register, Tick(0));
    let known = "3 Digest realm=\"example.com\",nonce=\"n1\",qop=\"auth\"\n0 \n";
    load.phones = Phones::read(known, 2).unwrap();
    load.fire(Tick(1_000_000_000), &mut said);
    let [with, without] = &said.0[..] else {
        panic!("{said:?}");
    };
    assert!(
        with.contains("nonce=\"n1\"") && with.contains("nc=00000004"),
        "{with}"
    );
    assert!(!without.contains("Authorization"), "{without}");
}

#[test]
fn no_two_runs_have_a_branch_in_common() {
    let branch = |run| {
        let plan = Plan {
            run,
            ..plan("basic", 1)
        };
        let mut said = Said::default();
        Load::new(plan, Tick(0)).fire(Tick(0), &mut said);
        let invite = said.0.pop().unwrap();
        let (_, rest) = invite.split_once("branch=").unwrap();
        rest.lines().next().unwrap().to_owned()
    };
    assert_eq!(branch(7), branch(7));
    assert_ne!(branch(7), branch(8));
}

#[test]
fn who_calls_is_told_from_who_registers() {
    let mixed = Plan {
        users: 10,
        callers: 3,
        target: "10.77.1.1:5060".parse().unwrap(),
        ..plan("basic=1,register=1", 40)
    };
    let mut said = Said::default();
    let mut load = Load::new(mixed, Tick(0));
    load.fire(Tick(1_000_000_000), &mut said);
    let users = |method: &str| -> std::collections::BTreeSet<String> {
        let of = said.0.iter().filter(|text| text.starts_with(method));
        of.map(|text| text.split("From: <sip:").nth(1).unwrap()[..10].to_owned())
            .collect()
    };
    let all = |numbers: std::ops::Range<u32>| numbers.map(|n| format!("user{n:06}")).collect();
    assert_eq!(users("INVITE"), all(0..3));
    assert_eq!(users("REGISTER"), all(3..10));
}

/// Keeps what the callers say.
#[derive(Debug, Default)]
struct Said(Vec<String>);

impl MediaOutbox for Said {
    fn send_media(
        &mut self,
        _: Side,
        _: u32,
        _: SocketAddr,
        _: &mut dyn FnMut(&mut Pen<'_>),
    ) -> bool {
        false
    }
}

impl Outbox for Said {
    fn send(&mut self, _: Side, _: SocketAddr, write: &mut dyn FnMut(&mut Pen<'_>)) -> bool {
        let mut room = [0; 2048];
        let mut pen = Pen::new(&mut room);
        write(&mut pen);
        let len = pen.done().unwrap();
        self.0
            .push(String::from_utf8(room[..len].to_vec()).unwrap());
        true
    }
}

#[test]
fn strangers_and_noise_are_counted_and_nothing_else() {
    let mut wire = Wire::default();
    let mut load = Load::new(plan("basic", 1), Tick(0));
    let source = CALLEE.parse().unwrap();
    let mut hear = |side, text: &str| {
        load.receive(side, source, text.as_bytes(), Tick(1), &mut wire);
    };
    let ok = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\n\
              To: <sip:b@h>;tag=2\r\nCall-ID: 0000000000000000@x\r\nCSeq: 1 INVITE\r\n\r\n";
    hear(Side::Caller, "");
    hear(Side::Caller, "no SIP at all");
    hear(Side::Caller, ok);
    hear(Side::Callee, ok);
    hear(
        Side::Caller,
        &ok.replace("0000000000000000@x", "ffffffffffffffff@x"),
    );
    hear(Side::Caller, &ok.replace("0000000000000000@x", "short"));
    let counts = &load.tally.counts;
    assert_eq!((counts.unreadable, counts.stray), (2, 4));
    assert_eq!((counts.begun, counts.sent), (0, 0));
}
