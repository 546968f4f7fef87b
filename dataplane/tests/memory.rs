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
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::limits::IN_PROGRESS_PART;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::sip::effects::Effects;
use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::proxy::Arrival;
use trunkline_dataplane::sip::proxy::Proxy;
use trunkline_dataplane::sip::proxy::Step;
use trunkline_dataplane::sip::proxy::memory;
use trunkline_dataplane::tick::Tick;

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
