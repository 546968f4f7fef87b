//! Loads of the SIP engine alone: no rings, no frames, no scripted agents that another
//! change could alter. The messages are of the size and kind that trunks send.

use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::settings::Abuse;
use trunkline_dataplane::settings::Capacity;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::sip::effects::Effects;
use trunkline_dataplane::sip::effects::Question;
use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::proxy::Arrival;
use trunkline_dataplane::sip::proxy::Owner;
use trunkline_dataplane::sip::proxy::Proxy;
use trunkline_dataplane::sip::proxy::Step;
use trunkline_dataplane::tick::Tick;

/// The caller's side and the callee's, by listen.
pub(super) const CALLER: usize = 0;
pub(super) const CALLEE: usize = 1;

const OFFER: &str = "v=0\r\no=- 3 3 IN IP4 10.77.1.2\r\ns=-\r\nc=IN IP4 10.77.1.2\r\n\
    t=0 0\r\nm=audio 6000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";
const ANSWER: &str = "v=0\r\no=- 5 5 IN IP4 10.77.2.2\r\ns=-\r\nc=IN IP4 10.77.2.2\r\n\
    t=0 0\r\nm=audio 7000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";

/// Scans `count` INVITEs of 700 bytes.
pub fn scan(count: u64) -> anyhow::Result<()> {
    let invite = invite(0, OFFER);
    anyhow::ensure!(invite.len() == 700, "the INVITE has {} bytes", invite.len());
    for _ in 0..count {
        anyhow::ensure!(measured_scan(invite.as_bytes()), "the INVITE is no message");
    }
    Ok(())
}

/// Carries `count` calls, one after the other, each with its timers to their end.
pub fn calls(count: u64) -> anyhow::Result<()> {
    let mut engine = Engine::new();
    (0..count).try_for_each(|number| engine.call(number))
}

/// The same; how long the engine was at it.
pub fn time_calls(count: u64) -> anyhow::Result<Duration> {
    let mut engine = Engine::new();
    (0..count).try_for_each(|number| engine.call(number))?;
    Ok(engine.busy)
}

/// Absorbs `count` retransmissions of one INVITE that has been answered with 100.
pub fn retransmissions(count: u64) -> anyhow::Result<()> {
    let mut engine = Engine::new();
    let invite = invite(0, OFFER);
    // The first one is not counted: the difference of two lengths leaves it out.
    engine.hear(CALLER, &invite, 2)?;
    for _ in 0..count {
        engine.hear(CALLER, &invite, 1)?;
    }
    Ok(())
}

/// A scan: all that is counted of [`scan`].
#[inline(never)]
fn measured_scan(bytes: &[u8]) -> bool {
    std::hint::black_box(Message::scan(std::hint::black_box(bytes))).is_ok()
}

/// An input: its source heard, scanned, its owner found, taken up. What only leads to what is measured calls `input` itself: a function
/// of the same instructions and another name would be merged with this one, and counted.
#[inline(never)]
fn measured_input(
    proxy: &mut Proxy,
    bytes: &[u8],
    arrival: Arrival,
    step: &mut Step<'_>,
) -> Counter {
    input(proxy, bytes, arrival, step)
}

#[inline(always)]
fn input(proxy: &mut Proxy, bytes: &[u8], arrival: Arrival, step: &mut Step<'_>) -> Counter {
    if let Some(outcome) = proxy.turned_away(arrival.source.ip(), step.now) {
        return outcome;
    }
    let scanned = Message::scan(bytes);
    let message = match &scanned {
        Ok(message) => message,
        Err(why) => return proxy.malformed(bytes, *why, arrival, step),
    };
    match proxy.owner(message, arrival) {
        Owner::Mine => proxy.receive(message, arrival, step),
        Owner::Nobody(outcome) => outcome,
        Owner::Other(_) => Counter::MailedToOwner,
    }
}

/// Fires one timer; false where none is due.
#[inline(never)]
fn measured_fire(proxy: &mut Proxy, step: &mut Step<'_>) -> bool {
    proxy.fire(step)
}

/// Drains the effects; whoever sends them has copied them.
#[inline(never)]
fn measured_drain(effects: &mut Effects) {
    effects.clear();
}

pub(super) struct Engine {
    pub(super) proxy: Proxy,
    effects: Effects,
    counters: Counters,
    pub(super) now: Tick,
    /// What the last input sent: the listen it left from, and the message.
    sent: Vec<(usize, String)>,
    /// What the last input asked.
    pub(super) asked: Vec<Question>,
    /// What is done now is counted, not a preparation.
    pub(super) is_measured: bool,
    /// How long the engine was at what is measured.
    pub(super) busy: Duration,
}

impl Engine {
    fn new() -> Engine {
        Engine::with(Capacity::SMALL)
    }

    pub(super) fn with(capacity: Capacity) -> Engine {
        let mut settings = lab::settings(1);
        settings.abuse = Abuse::default();
        settings.capacity = capacity;
        Engine::of(&settings)
    }

    pub(super) fn of(settings: &Settings) -> Engine {
        Engine {
            proxy: Proxy::new(WorkerId(0), settings),
            effects: Effects::default(),
            counters: Counters::default(),
            now: Tick::ms(1_000),
            sent: Vec::new(),
            asked: Vec::new(),
            is_measured: true,
            busy: Duration::ZERO,
        }
    }

    /// Six messages in, seven out: INVITE 100 180 200 ACK BYE 200.
    fn call(&mut self, number: u64) -> anyhow::Result<()> {
        let ok = self.establish(number, &invite(number, OFFER), ANSWER)?;
        self.pass_to(self.now.plus_ms(20_000))?;
        self.hang_up(number, &ok)?;
        self.pass_to(self.now.plus_ms(60_000))?;
        let none = self.proxy.next_due() == Tick::NEVER;
        anyhow::ensure!(none, "a timer of call {number} is left");
        Ok(())
    }

    /// INVITE 100 180 200 ACK; gives the 200 as the caller has it.
    pub(super) fn establish(
        &mut self,
        number: u64,
        invite: &str,
        answer: &str,
    ) -> anyhow::Result<String> {
        self.hear(CALLER, invite, 2)?;
        let invite = self.sent_from(CALLEE)?;
        let ringing = response(&invite, "180 Ringing", "");
        self.hear(CALLEE, &ringing, 1)?;
        let ok = response(&invite, "200 OK", answer);
        self.hear(CALLEE, &ok, 1)?;
        let ok = self.sent_from(CALLER)?;
        self.hear(CALLER, &in_dialog("ACK", 1, number, &ok), 1)?;
        Ok(ok)
    }

    /// BYE 200.
    pub(super) fn hang_up(&mut self, number: u64, ok: &str) -> anyhow::Result<()> {
        self.hear(CALLER, &in_dialog("BYE", 2, number, ok), 1)?;
        let bye = self.sent_from(CALLEE)?;
        let ok = response(&bye, "200 OK", "");
        self.hear(CALLEE, &ok, 1)
    }

    /// Gives the engine a message from the peer of a listen; it must cause so many.
    pub(super) fn hear(&mut self, listen: usize, text: &str, causes: usize) -> anyhow::Result<()> {
        self.hear_from(lab::PEERS[listen], listen, text, causes)
    }

    /// The same from anybody on a listen's side.
    pub(super) fn hear_from(
        &mut self,
        source: SocketAddr,
        listen: usize,
        text: &str,
        causes: usize,
    ) -> anyhow::Result<()> {
        let arrival = Arrival {
            source,
            listen: ListenIndex(u8::try_from(listen)?),
        };
        let mut step = Step {
            now: self.now,
            effects: &mut self.effects,
            counters: &mut self.counters,
        };
        let began = Instant::now();
        let outcome = match self.is_measured {
            true => measured_input(&mut self.proxy, text.as_bytes(), arrival, &mut step),
            false => input(&mut self.proxy, text.as_bytes(), arrival, &mut step),
        };
        self.busy += began.elapsed();
        let count = self.take_sent();
        anyhow::ensure!(
            count == causes,
            "{count} messages and {} came of:\n{text}",
            outcome.info().name
        );
        Ok(())
    }

    /// Has one request go on that waited; gives how many messages that sent.
    pub(super) fn resume(&mut self) -> usize {
        let mut step = Step {
            now: self.now,
            effects: &mut self.effects,
            counters: &mut self.counters,
        };
        self.proxy.resume(&mut step);
        self.take_sent()
    }

    fn take_sent(&mut self) -> usize {
        let read = |send: &trunkline_dataplane::sip::effects::Send| {
            let text = String::from_utf8_lossy(self.effects.bytes(send)).into_owned();
            (usize::from(send.listen.0), text)
        };
        self.sent = self.effects.sends().iter().map(read).collect();
        self.asked = self.effects.questions().to_vec();
        match self.is_measured {
            true => measured_drain(&mut self.effects),
            false => self.effects.clear(),
        }
        self.sent.len()
    }

    /// The one message that the last input sent from a listen.
    pub(super) fn sent_from(&self, listen: usize) -> anyhow::Result<String> {
        let mut found = self.sent.iter().filter(|(from, _)| *from == listen);
        let (_, text) = found.next().context("nothing was sent there")?;
        Ok(text.clone())
    }

    /// Lets time pass; timers fire when they are due and send nothing.
    pub(super) fn pass_to(&mut self, end: Tick) -> anyhow::Result<()> {
        loop {
            // A bucket of the wheel may hold only timers of a later round: look at the next.
            let due = self.proxy.next_due().max(Tick(self.now.0 + 4_200_000));
            if due > end {
                self.now = end;
                return Ok(());
            }
            self.now = due;
            loop {
                let mut step = Step {
                    now: self.now,
                    effects: &mut self.effects,
                    counters: &mut self.counters,
                };
                let began = Instant::now();
                let fired = match self.is_measured {
                    true => measured_fire(&mut self.proxy, &mut step),
                    false => self.proxy.fire(&mut step),
                };
                self.busy += began.elapsed();
                if !fired {
                    break;
                }
                anyhow::ensure!(self.take_sent() == 0, "a timer has sent something");
            }
        }
    }
}

fn address(listen: usize) -> SocketAddr {
    lab::PEERS[listen]
}

/// An INVITE with an offer, or none if it is empty.
pub(super) fn invite(number: u64, offer: &str) -> String {
    let at = address(CALLER).ip();
    let host = lab::LISTENS[CALLER].ip();
    let content = match offer {
        "" => String::new(),
        _ => "Content-Type: application/sdp\r\n".to_owned(),
    };
    let len = offer.len();
    format!(
        "INVITE sip:+4930123456@{host} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {at}:5060;rport;branch=z9hG4bK-{number:08}-1\r\n\
         Max-Forwards: 70\r\n\
         From: \"A. Caller\" <sip:+4989654321@{at}>;tag=c{number:08}\r\n\
         To: <sip:+4930123456@{host}>\r\n\
         Call-ID: {number:08}-8f2a61c4@{at}\r\n\
         CSeq: 1 INVITE\r\n\
         Contact: <sip:+4989654321@{at}:5060>\r\n\
         User-Agent: Example Softswitch 11.4.2-50771\r\n\
         P-Asserted-Identity: <sip:+4989654321@{at}>\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE\r\n\
         Supported: timer\r\n\
         {content}\
         Content-Length: {len}\r\n\r\n{offer}"
    )
}

/// The header lines of that name, as they stand.
fn lines<'t>(text: &'t str, name: &str) -> impl Iterator<Item = &'t str> {
    let name = format!("{name}: ");
    text.split_inclusive("\r\n")
        .filter(move |line| line.starts_with(&name))
}

pub(super) fn response(request: &str, status: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route", "From"] {
        text.extend(lines(request, name));
    }
    for to in lines(request, "To") {
        text.push_str(to.trim_end());
        text.push_str(if to.contains("tag=") {
            "\r\n"
        } else {
            ";tag=callee\r\n"
        });
    }
    for name in ["Call-ID", "CSeq"] {
        text.extend(lines(request, name));
    }
    text.push_str("Contact: <sip:+4930123456@10.77.2.2:5060>\r\n");
    if !body.is_empty() {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text
}

/// A request of the caller in the dialog that `ok`, the 200 as it arrived, made.
fn in_dialog(method: &str, cseq: u32, number: u64, ok: &str) -> String {
    let at = address(CALLER).ip();
    let mut text = format!(
        "{method} sip:+4930123456@10.77.2.2:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {at}:5060;rport;branch=z9hG4bK-{number:08}-{method}\r\n"
    );
    let routes: Vec<&str> = lines(ok, "Record-Route").collect();
    for route in routes.iter().rev() {
        text.push_str(&route.replacen("Record-Route", "Route", 1));
    }
    text.push_str("Max-Forwards: 70\r\n");
    for name in ["From", "To", "Call-ID"] {
        text.extend(lines(ok, name));
    }
    text.push_str(&format!(
        "CSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    ));
    text
}
