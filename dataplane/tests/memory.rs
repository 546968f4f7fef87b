//! What the tables of the SIP core cost: said by `sip::proxy::memory`, and true.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;

use bench::CALLEE;
use bench::CALLER;
use bench::answer;
use bench::request;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::limits::IN_PROGRESS_PART;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::sip::effects::Effects;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::proxy::Arrival;
use trunkline_dataplane::sip::proxy::Proxy;
use trunkline_dataplane::sip::proxy::Step;
use trunkline_dataplane::sip::proxy::memory;
use trunkline_dataplane::sip::registrar::Register;
use trunkline_dataplane::sip::registrar::Registrar;
use trunkline_dataplane::sip::registrar::Rules;
use trunkline_dataplane::sip::registrar::aor::AddressOfRecord;
use trunkline_dataplane::sip::uri::Uri;
use trunkline_dataplane::text::Text;
use trunkline_dataplane::tick::Tick;
use trunkline_dataplane::timer::Wheel;

thread_local! {
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting the bytes that each thread asks for.
struct Counting;

#[allow(unsafe_code, reason = "a global allocator is unsafe by its trait")]
// SAFETY: every call goes to the system's allocator as it came; counting touches no heap,
// since the cell is const-initialised and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.with(|bytes| bytes.set(bytes.get() + layout.size() as u64));
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A core with these settings, and the bytes that it took.
fn proxy(settings: &Settings) -> (Proxy, u64) {
    let before = BYTES.with(Cell::get);
    let proxy = Proxy::new(WorkerId(0), settings);
    (proxy, BYTES.with(Cell::get) - before)
}

fn stated(settings: &Settings) -> u64 {
    memory::tables(settings)
        .iter()
        .map(memory::Table::bytes)
        .sum()
}

const CALLS: u32 = 100_000;
/// For the BYE of each, for some that begin, and for the part that these leave to the others.
const TRANSACTIONS: u32 = (CALLS + 4_096) / (IN_PROGRESS_PART - 1) * IN_PROGRESS_PART;

fn settings(calls: u32, transactions: u32) -> Settings {
    let mut settings = lab::settings(1);
    settings.capacity.calls = calls;
    settings.capacity.transactions = transactions;
    settings
}

#[test]
fn what_is_stated_is_what_is_taken() {
    for (calls, transactions) in [(1, 1), (CALLS, 1), (1, CALLS), (5_000, 20_000)] {
        let settings = settings(calls, transactions);
        let (_, taken) = proxy(&settings);
        let stated = stated(&settings);
        // Vectors of settings and the like are not tables, and what a call has is rounded.
        let rest = taken.abs_diff(stated);
        assert!(
            rest < 16_384 + u64::from(calls),
            "{calls} calls: {taken} taken, {stated} stated"
        );
    }
}

/// Everything that a core needs to be talked to.
struct Talk {
    proxy: Proxy,
    effects: Effects,
    counters: Counters,
    now: Tick,
}

impl Talk {
    /// Says it, and gives the messages that leave.
    fn say(&mut self, side: u8, text: &str) -> Vec<String> {
        let message = Message::scan(text.as_bytes()).unwrap();
        let arrival = Arrival {
            source: [CALLER, CALLEE][usize::from(side)],
            listen: ListenIndex(side),
        };
        let mut step = Step {
            now: self.now,
            effects: &mut self.effects,
            counters: &mut self.counters,
        };
        let outcome = self.proxy.receive(&message, arrival, &mut step);
        self.counters.count(outcome);
        self.drain()
    }

    fn drain(&mut self) -> Vec<String> {
        let texts = self
            .effects
            .sends()
            .iter()
            .map(|send| String::from_utf8_lossy(self.effects.bytes(send)).into_owned());
        let texts = texts.collect();
        self.effects.clear();
        texts
    }

    fn pass_ms(&mut self, ms: u64) -> Vec<String> {
        self.now = self.now.plus_ms(ms);
        let mut left = Vec::new();
        loop {
            let mut step = Step {
                now: self.now,
                effects: &mut self.effects,
                counters: &mut self.counters,
            };
            if !self.proxy.fire(&mut step) {
                return left;
            }
            left.extend(self.drain());
        }
    }
}

#[test]
fn a_hundred_thousand_established_calls_have_a_kibibyte_each() {
    let settings = settings(CALLS, TRANSACTIONS);
    let (proxy, taken) = proxy(&settings);
    let (_, without) = self::proxy(&self::settings(1, TRANSACTIONS));
    let tables = memory::tables(&settings);
    let row = |name: &str| tables.iter().find(|table| table.name == name).unwrap();
    let (calls, media, contexts) = (row("calls"), row("media of calls"), row("contexts"));
    let elsewhere = (media.bytes() + contexts.bytes()) / u64::from(CALLS);
    let per_call = (taken - without) / u64::from(CALLS - 1) - elsewhere;
    assert!(per_call <= 1024, "{per_call} bytes");
    assert!(
        calls.entry_bytes.abs_diff(per_call) <= 2,
        "{} stated, {per_call} taken",
        calls.entry_bytes
    );

    let mut talk = Talk {
        proxy,
        effects: Effects::default(),
        counters: Counters::default(),
        now: Tick::ms(1),
    };
    // Route sets of 300 bytes in all: two values on either side.
    let hop = |n: u8| {
        format!("<sip:edge-proxy-{n}.region-four.carrier.example;lr;dir=out;ix=1234567890abcd>")
    };
    assert_eq!(hop(1).len(), 75);
    let near = format!("Record-Route: {}, {}\r\n", hop(1), hop(2));
    let far = format!(
        "Record-Route: {}\r\nRecord-Route: {}\r\nRecord-Route: ",
        hop(3),
        hop(4)
    );
    let expires = "Contact: <sip:+15551230000@10.77.2.2:5060;transport=udp>\r\nSession-Expires: 86400;refresher=uac\r\n";
    for n in 0..CALLS {
        let call_id = format!("{n:08}-2f1c-4b7e-9c55-7a1d0e3b@10.77.1.2");
        let invite = request("INVITE", &call_id, "1", &format!("b{n}"), &near, "");
        let left = talk.say(0, &invite);
        let sent = left.iter().find(|text| text.starts_with("INVITE"));
        let sent = sent.unwrap_or_else(|| panic!("call {n}: {left:?}"));
        let ok = answer(sent, "200 OK", expires, "").replacen("Record-Route: ", &far, 1);
        assert_eq!(talk.say(1, &ok).len(), 1);
        // The transactions end in 64·T1.
        if n % 1_000 == 999 {
            talk.pass_ms(33_000);
        }
    }
    talk.proxy.gauge(&mut talk.counters);
    assert_eq!(talk.counters.get(Counter::CallsNow), u64::from(CALLS));
    assert_eq!(talk.counters.get(Counter::DialogsUnkept), 0);
    assert_eq!(talk.counters.get(Counter::CallsRefused), 0);
    // Every session expires at once: as many are ended as there is room for BYEs, the others a
    // little later.
    let left = talk.pass_ms(86_400_000);
    let byes = left.iter().filter(|text| text.starts_with("BYE ")).count();
    assert!(byes > 1_000, "{byes}");
    assert_eq!(talk.counters.get(Counter::ByesUnsent), 0);
    let routes = format!("Route: {}, {}\r\n", hop(4), hop(3));
    assert!(left.iter().any(|text| text.contains(&routes)), "{left:?}");
    assert!(talk.counters.get(Counter::TransactionsRefused) > 0);
    talk.pass_ms(33_000);
    assert_eq!(
        talk.pass_ms(33_000)
            .iter()
            .filter(|text| text.starts_with("BYE "))
            .count(),
        byes
    );
}

/// The bindings of phones with a contact of 80 bytes and no path: 400 bytes each, all told.
#[test]
fn a_hundred_thousand_bindings_cost_what_is_stated_and_registering_takes_no_more() {
    const BINDINGS: u32 = 100_000;
    let settings = settings(1, 1);
    let identity = Identity::new(WorkerId(0), 1, &settings.secrets, &[]);
    let rules = Rules {
        min_s: 60,
        max_s: 7_200,
        default_s: 3_600,
        contacts_max: 10,
        replaces_oldest: false,
        service_route: String::new(),
        keepalive_s: 0,
        flow_timer_s: 0,
    };
    let before = BYTES.with(Cell::get);
    let mut registrar = Registrar::new(BINDINGS, rules, identity.hash());
    let taken = BYTES.with(Cell::get) - before;
    // The timers are the proxy's.
    let each = (Registrar::BINDING_LEN - Wheel::TIMER_LEN) as u64;
    let stated = u64::from(BINDINGS) * each + Registrar::ONCE_LEN as u64;
    assert!(
        taken.abs_diff(stated) < 256,
        "{taken} taken, {stated} stated"
    );
    let with_timers = taken + u64::from(BINDINGS) * Wheel::TIMER_LEN as u64;
    assert!(with_timers - Registrar::ONCE_LEN as u64 <= 400 * u64::from(BINDINGS));
    let mut text = String::with_capacity(1_000);
    let mut room = [0; 1_000];
    let before = BYTES.with(Cell::get);
    for pass in 1..=2 {
        for n in 0..BINDINGS {
            register(&mut text, n, pass);
            let message = Message::scan(text.as_bytes()).unwrap();
            let uri = Uri::read(message.bytes(), message.to().uri).unwrap();
            let hash = identity.hash();
            let request = Register {
                message: &message,
                aor: &AddressOfRecord::of(message.bytes(), &uri, hash).unwrap(),
                domain: DomainIndex(0),
                received: CALLER,
                listen: ListenIndex(0),
                transaction: u64::from(pass),
            };
            let mut changes = 0;
            let registered = registrar
                .register(&request, Tick(0), |_| changes += 1)
                .unwrap();
            assert_eq!(changes, 1);
            let mut answer = Text::new(&mut room);
            registrar.answer(&request, registered, Tick(0), &mut answer);
            assert!(answer.finish().is_ok_and(|len| len > 80));
        }
    }
    assert_eq!(registrar.count(), BINDINGS as usize);
    assert_eq!(BYTES.with(Cell::get), before, "registering has allocated");
}

/// Writes the REGISTER of a phone, without allocating where there is room.
fn register(text: &mut String, n: u32, cseq: u32) {
    use std::fmt::Write as _;
    text.clear();
    let user = 4_989_000_000_u64 + u64::from(n);
    let contact = "192.168.178.21:49152;transport=udp;ob;line=0123456789abcd";
    let wrote = write!(
        text,
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.178.21;branch=z9hG4bK{n}-{cseq}\r\n\
         From: <sip:{user}@example.com>;tag=1\r\nTo: <sip:{user}@example.com>\r\n\
         Call-ID: {n}@phone\r\nCSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n\
         Contact: <sip:{user}x1@{contact}>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
    );
    wrote.unwrap();
}
