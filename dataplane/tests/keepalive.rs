//! Keepalives of who has registered: those that are answered, and those that the box sends.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::collections::HashMap;
use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::Left;
use bench::call::status;
use bench::header;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::subscriber::Said;

/// A Binding request without attributes.
const STUN: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42transaction!";

/// A user registers from `source`; the 200.
fn register(bench: &mut Bench, source: SocketAddr, user: &str, lines: &str) -> String {
    let call_id = format!("reg-{user}");
    let to_phone = |left: Vec<Left>| {
        let mut left = left.into_iter().filter(|left| left.destination == source);
        left.next_back().map(|left| left.text()).unwrap_or_default()
    };
    let asked = request("REGISTER", user, &call_id, 1, "");
    let challenge = to_phone(bench.say(0, source, ACCESS, &asked));
    let line = credentials(
        &challenge,
        Algorithm::Sha256,
        (user, "secret"),
        "REGISTER",
        1,
    );
    let text = request("REGISTER", user, &call_id, 2, &line);
    let contact = format!("Contact: <sip:{user}@10.77.1.66:5070>");
    let text = text.replace(&contact, lines);
    let told = bench.say(0, source, ACCESS, &text);
    let asked = bench.asked();
    let told = match asked.first() {
        Some(asked) => bench.said(*asked, Said::Known(ha1s(user, "secret"))),
        None => told,
    };
    let ok = to_phone(told);
    assert_eq!(status(&ok), "200", "{ok}");
    ok
}

/// Another port of the phone's address, as its NAT may give to each.
fn port(port: u16) -> SocketAddr {
    SocketAddr::new(PHONE.ip(), port)
}

fn stun(bench: &mut Bench, worker: usize, source: SocketAddr) -> Vec<Left> {
    bench.left.clear();
    bench.arrives(worker, source, ACCESS, STUN);
    bench.turn();
    bench.left.drain(..).collect()
}

#[test]
fn stun_is_answered_where_a_user_has_registered_by_whichever_worker_it_comes() {
    let mut bench = Bench::of(&phone::settings(3));
    let sources = [40_000, 40_001, 40_002, 40_003, 40_004, 40_005].map(port);
    assert!(stun(&mut bench, 0, sources[0]).is_empty());
    for (nth, source) in sources.into_iter().enumerate() {
        let user = format!("user{nth}");
        let contact = format!("Contact: <sip:{user}@192.168.0.2>;expires=600");
        register(&mut bench, source, &user, &contact);
    }
    for worker in 0..3 {
        for source in sources {
            let left = stun(&mut bench, worker, source);
            assert_eq!(left.len(), 1, "{source} by worker {worker}");
            assert_eq!((left[0].source, left[0].destination), (ACCESS, source));
            assert!(left[0].payload.starts_with(&[1, 1]));
        }
        assert!(
            stun(&mut bench, worker, port(40_006)).is_empty(),
            "another's port"
        );
    }
    assert_eq!(bench.count(Counter::SipStunAnswered), 18);
    assert_eq!(bench.count(Counter::SipStun), 4);
    assert_eq!(bench.count(Counter::QuestionMailsLost), 0);
    bench.pass_ms(602_000);
    assert_eq!(bench.count(Counter::BindingsNow), 0);
    assert!(
        stun(&mut bench, 0, sources[0]).is_empty(),
        "its time is over"
    );
    bench.assert_at_rest();
}

#[test]
fn what_phones_send_to_keep_their_nat_open_is_counted_and_wants_no_answer() {
    let mut bench = Bench::of(&phone::settings(1));
    for datagram in [&b"\r\n\r\n"[..], b"\r\n", b"\0\0\0\0", b"\0", b""] {
        bench.arrives(0, PHONE, ACCESS, datagram);
        bench.turn();
    }
    assert!(bench.left.is_empty());
    assert_eq!(bench.count(Counter::SipKeepalive), 5);
    bench.arrives(0, PHONE, ACCESS, b"\r\nx");
    bench.turn();
    assert_eq!(bench.count(Counter::SipMalformed), 1);
}

#[test]
fn who_is_behind_a_nat_gets_keepalives_once_an_interval_and_never_all_at_once() {
    let mut settings = phone::settings(2);
    settings.registrar.keepalive_s = 30;
    let mut bench = Bench::of(&settings);
    // All register within the same moment.
    for nth in 0..60 {
        let user = format!("user{nth}");
        let contact = format!("Contact: <sip:{user}@192.168.0.2>;expires=600");
        register(&mut bench, port(40_000 + nth), &user, &contact);
    }
    let open = port(39_999);
    let contact = format!("Contact: <sip:open@{open}>;expires=600");
    register(&mut bench, open, "open", &contact);
    let (mut sent, mut busiest) = (HashMap::new(), 0);
    for _ in 0..300 {
        let left = bench.pass_ms(1_000);
        busiest = busiest.max(left.len());
        for left in left {
            assert_eq!((left.source, &left.payload[..]), (ACCESS, &b"\r\n\r\n"[..]));
            *sent.entry(left.destination).or_insert(0) += 1;
        }
    }
    assert_eq!(sent.len(), 60, "and none to who is where it says");
    assert!(!sent.contains_key(&open));
    assert!(sent.values().all(|&count| count == 10), "{sent:?}");
    assert!(busiest <= 5, "{busiest} in one second, of 2 on average");
    assert_eq!(bench.count(Counter::KeepalivesSent), 600);
    bench.pass_ms(301_000);
    assert_eq!(bench.count(Counter::BindingsNow), 0);
    let count = bench.count(Counter::KeepalivesSent);
    assert!(bench.pass_ms(60_000).is_empty(), "who is gone gets none");
    assert_eq!(bench.count(Counter::KeepalivesSent), count);
    bench.assert_at_rest();
}

#[test]
fn a_flow_is_told_how_often_to_keep_itself_open() {
    let mut settings = phone::settings(1);
    settings.registrar.flow_timer_s = 25;
    let mut bench = Bench::of(&settings);
    let flow = "Contact: <sip:alice@192.168.0.2>;reg-id=1;+sip.instance=\"<urn:uuid:a>\"\r\n\
                Supported: outbound, path";
    let ok = register(&mut bench, PHONE, "alice", flow);
    assert_eq!(header(&ok, "Flow-Timer"), "25");
    assert_eq!(header(&ok, "Require"), "outbound");
    let ok = register(&mut bench, PHONE, "bob", "Contact: <sip:bob@192.168.0.2>");
    assert!(!ok.contains("Flow-Timer"), "{ok}");
}
