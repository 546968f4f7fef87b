//! What phones and the registrar elsewhere say, damaged at random, on a whole worker: its sums hold
//! after each turn and all tables agree.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::CORE;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::PRIVATE;
use bench::sdp;
use proptest::prelude::*;
use trunkline_dataplane::counters::Counter;

/// What is done to a message: at which part of its length, and what.
#[derive(Clone, Debug)]
enum Damage {
    Set(f64, u8),
    Cut(f64, u8),
    Insert(f64, &'static str),
    Nothing,
}

/// What has a meaning where it does not belong.
const PIECES: [&str; 12] = [
    "\r\n",
    ";",
    ",",
    "<",
    "*",
    ";expires=0",
    ";expires=4294967295",
    ";reg-id=1",
    ";ob",
    "\r\nPath: <sip:a@10.77.2.1;lr>",
    "\r\nRequire: outbound",
    "\r\nContact: <sip:alice@192.168.0.2:5071>;expires=7",
];

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        2 => (0.0..1.0, any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        2 => (0.0..1.0, 1_u8..40).prop_map(|(at, len)| Damage::Cut(at, len)),
        3 => (0.0..1.0, 0..PIECES.len()).prop_map(|(at, n)| Damage::Insert(at, PIECES[n])),
        3 => Just(Damage::Nothing),
    ]
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a short text"
)]
fn damaged(text: &str, damage: &Damage) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let place = |part: f64| (part * bytes.len() as f64) as usize;
    match *damage {
        Damage::Set(at, byte) => {
            let at = place(at);
            bytes[at] = byte;
        }
        Damage::Cut(at, len) => {
            let at = place(at);
            let end = bytes.len().min(at + usize::from(len));
            bytes.drain(at..end);
        }
        Damage::Insert(at, piece) => {
            let at = place(at);
            bytes.splice(at..at, piece.bytes());
        }
        Damage::Nothing => {}
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn nothing_that_is_said_shakes_the_edge(
        damages in prop::collection::vec(damage(), 8),
        workers in 1_u8..3,
    ) {
        let mut bench = Bench::of(&phone::before_a_registrar(workers));
        let mut damages = damages.iter();
        let mut next = |text: &str| damaged(text, damages.next().unwrap());
        let mut path = "<sip:a@10.77.2.1;lr>".to_owned();
        for cseq in 1..3 {
            let register = phone::register(cseq, "Supported: outbound\r\n");
            bench.left.clear();
            bench.arrives(0, PHONE, ACCESS, &next(&register));
            bench.turn();
            let sent = bench.left.iter().find(|left| left.destination == CALLEE);
            let Some(sent) = sent.map(|sent| String::from_utf8_lossy(&sent.payload).into_owned()) else {
                continue;
            };
            path = bench::header(&sent, "Path");
            bench.arrives(0, CALLEE, CORE, &next(&phone::granted(&sent, PRIVATE, 600)));
            bench.turn();
        }
        let call = phone::to_phone("INVITE", "flow", &path, &sdp("10.77.2.2:7000".parse().unwrap()));
        bench.arrives(0, CALLEE, CORE, &next(&call));
        bench.turn();
        bench.arrives(0, PHONE, ACCESS, &next(&phone::request("MESSAGE", "alice", "out", 1, "")));
        bench.turn();
        for worker in &bench.workers {
            prop_assert!(worker.audit().is_ok(), "{:?}", worker.audit());
        }
        // No more is bound than two REGISTERs can ask for, with a contact more by damage.
        prop_assert!(bench.count(Counter::BindingsNow) <= 4);
        bench.now = bench.now.plus_ms(70_000);
        bench.turn();
    }
}
