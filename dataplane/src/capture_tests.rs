use super::*;
use crate::ids::WorkerId;

const INVITE: &[u8] = b"INVITE sip:100@192.0.2.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n\
    From: \"A\" <sip:alice@192.0.2.9>;tag=1\r\nTo: <tel:+44-20>\r\n\
    Call-ID: one@192.0.2.9\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";

fn order(id: u32, slot: u8, wanted: Wanted) -> Box<Order> {
    Box::new(Order {
        id,
        slot,
        wanted,
        media: true,
        until: Tick::ms(1000),
    })
}

fn call_id(text: &str) -> Wanted {
    Wanted::CallId(ShortText::new(text.as_bytes()))
}

fn user(text: &str) -> Wanted {
    Wanted::User(ShortText::new(text.as_bytes()))
}

fn call(slot: u32) -> CallRef {
    CallRef {
        owner: WorkerId(1),
        slot,
        generation: 0,
    }
}

#[test]
fn a_message_is_taken_by_call_id_and_by_each_of_its_users() {
    let message = Message::scan(INVITE).unwrap();
    for (wanted, takes) in [
        (call_id("one@192.0.2.9"), true),
        (call_id("one"), false),
        (call_id("ONE@192.0.2.9"), false),
        (user("alice"), true),
        (user("100"), true),
        (user("+44-20"), true),
        (user("10"), false),
        (user("Alice"), false),
        (user("192.0.2.9"), false),
    ] {
        let (mut tap, _reader) = tap();
        assert!(!tap.is_on() && tap.begin(order(1, 2, wanted)).is_none());
        assert!(tap.is_on() && tap.takes_media());
        let captures = tap.wanting(&message);
        assert_eq!(captures.has(2), takes, "{wanted:?}");
        assert_eq!(captures.is_empty(), !takes);
    }
}

#[test]
fn a_call_id_too_long_to_be_kept_is_compared_as_far_as_it_is() {
    let long = "x".repeat(300);
    let text = String::from_utf8(INVITE.to_vec()).unwrap();
    let text = text.replace("one@192.0.2.9", &long);
    let message = Message::scan(text.as_bytes()).unwrap();
    let (mut tap, _reader) = tap();
    tap.begin(order(1, 0, call_id(&long)));
    assert!(tap.wanting(&message).has(0));
}

#[test]
fn an_order_comes_back_when_it_ends_or_its_time_has_come() {
    let (mut tap, _reader) = tap();
    tap.begin(order(7, 0, user("a")));
    tap.begin(order(8, 3, user("b")));
    assert_eq!(tap.end(9).map(|order| order.id), None);
    assert_eq!(tap.end(7).map(|order| order.id), Some(7));
    assert!(tap.is_on());
    assert!(tap.expire(Tick::ms(999)).is_none());
    assert_eq!(tap.expire(Tick::ms(1000)).map(|order| order.id), Some(8));
    assert!(!tap.is_on() && !tap.takes_media());
    // What has no place comes back at once.
    let lost = tap.begin(order(9, CAPTURES as u8, user("c")));
    assert_eq!(lost.map(|order| order.id), Some(9));
}

#[test]
fn the_oldest_of_too_many_calls_gives_way() {
    let (mut tap, _reader) = tap();
    tap.begin(order(1, 0, user("a")));
    let captures = Captures(1);
    for slot in 0..=CAPTURE_CALLS as u32 {
        assert_eq!(tap.add_call(captures, 1, call(slot)), None, "another place");
        assert_eq!(tap.add_call(captures, 0, call(slot)), Some(1));
        assert_eq!(tap.add_call(captures, 0, call(slot)), None, "it is known");
    }
    assert!(tap.wanting_media(call(0)).is_empty());
    assert!(tap.wanting_media(call(1)).has(0));
    assert!(tap.wanting_media(call(CAPTURE_CALLS as u32)).has(0));
}

#[test]
fn a_call_is_learned_though_its_order_comes_later_and_only_for_that_order() {
    let (mut tap, _reader) = tap();
    tap.learn(5, call(1));
    tap.learn(6, call(2));
    tap.begin(order(6, 0, user("a")));
    assert!(tap.wanting_media(call(2)).has(0));
    assert!(tap.wanting_media(call(1)).is_empty());
    tap.end(6);
    tap.begin(order(5, 0, user("a")));
    assert!(tap.wanting_media(call(1)).has(0));
    assert!(tap.wanting_media(call(2)).is_empty());
}

#[test]
fn no_call_is_looked_at_for_a_capture_that_has_its_fill() {
    let (mut tap, _reader) = tap();
    tap.begin(order(1, 0, user("a")));
    assert_eq!(tap.walk(100), Some(0));
    for slot in 0..CAPTURE_CALLS as u32 {
        tap.learn(1, call(slot));
    }
    assert_eq!(tap.walk(100), None);
}

#[test]
fn each_call_is_looked_at_once_for_each_capture_that_wants_media() {
    let (mut tap, _reader) = tap();
    tap.begin(order(1, 0, user("a")));
    let mut quiet = order(2, 1, user("b"));
    quiet.media = false;
    tap.begin(quiet);
    let seen: Vec<_> = std::iter::from_fn(|| tap.walk(3)).collect();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn packets_come_out_as_they_went_in_and_a_full_ring_takes_none_by_halves() {
    let (mut tap, mut reader) = tap();
    let captures = Captures(5);
    let layer = Layer::Frame(InterfaceIndex(1));
    let packet = vec![7; 60_000];
    let mut taken = 0;
    while tap.copy(captures, Tick(taken), Direction::In, layer, &packet, 50_000) {
        taken += 1;
    }
    assert_eq!(taken, CAPTURE_BYTES as u64 / 50_000);
    assert_eq!(reader.waiting() as u64, taken);
    let mut bytes = Vec::new();
    for at in 0..taken {
        let captured = reader.take(&mut bytes).unwrap();
        assert_eq!(captured.at, Tick(at));
        assert_eq!((captured.captures, captured.wire_len), (captures, 60_000));
        assert_eq!(bytes, packet[..50_000]);
    }
    assert!(reader.take(&mut bytes).is_none());
    assert!(tap.copy(captures, Tick(0), Direction::Out, layer, &packet[..10], 96));
    reader.take(&mut bytes).unwrap();
    assert_eq!(bytes, packet[..10]);
}
