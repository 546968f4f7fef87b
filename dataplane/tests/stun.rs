//! STUN on a SIP port, through a whole worker: the keepalive of a user agent behind a NAT
//! (RFC 5626 §4.4.2).
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLER;
use trunkline_dataplane::counters::Counter;

/// A message without attributes: type, length, magic cookie, transaction.
fn message(kind: u16) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend(b"\0\0\x21\x12\xa4\x42transaction!");
    bytes
}

#[test]
fn a_binding_request_of_a_trunk_gets_its_address_and_no_other_stun_an_answer() {
    let mut bench = Bench::new(2);
    let stranger = SocketAddr::from(([192, 0, 2, 99], 5060));
    let mut ask = |source, kind| {
        bench.left.clear();
        bench.arrives(1, source, ACCESS, &message(kind));
        bench.turn();
        bench.left.drain(..).collect::<Vec<_>>()
    };
    // From another port than that of SIP: behind a NAT they differ.
    let source = SocketAddr::new(CALLER.ip(), 40_000);
    let left = ask(source, 0x0001);
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].source, left[0].destination), (ACCESS, source));
    let answer = &left[0].payload;
    assert_eq!(answer[..8], *b"\x01\x01\x00\x0c\x21\x12\xa4\x42");
    assert_eq!(answer[8..20], message(1)[8..]);
    // XOR-MAPPED-ADDRESS, IPv4: 40,000 and 10.77.1.2 under the cookie.
    assert_eq!(
        answer[20..],
        *b"\x00\x20\x00\x08\x00\x01\xbd\x52\x2b\x5f\xa5\x40"
    );
    assert!(ask(source, 0x0011).is_empty());
    assert!(ask(source, 0x0101).is_empty());
    assert!(ask(stranger, 0x0001).is_empty());
    assert_eq!(bench.count(Counter::SipStunAnswered), 1);
    assert_eq!(bench.count(Counter::SipKeepalive), 1);
    assert_eq!(bench.count(Counter::SipStun), 2);
}
