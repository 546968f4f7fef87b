use etherparse::PacketBuilder;

use super::*;

fn frame(source: &str, destination: &str, payload: &[u8]) -> Vec<u8> {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    let ethernet = PacketBuilder::ethernet2([0; 6], [0; 6]);
    let mut frame = Vec::new();
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet
            .single_vlan(etherparse::VlanId::try_new(7).unwrap())
            .ipv4(from.octets(), to.octets(), 64)
            .udp(source.port(), destination.port())
            .write(&mut frame, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet
            .ipv6(from.octets(), to.octets(), 64)
            .udp(source.port(), destination.port())
            .write(&mut frame, payload),
        _ => unreachable!(),
    }
    .unwrap();
    frame
}

fn said(start: &str, call: &str, method: &str, sdp: bool) -> Vec<u8> {
    let (kind, body) = match sdp {
        true => ("Content-Type: application/sdp\r\n", "v=0\r\n"),
        false => ("", ""),
    };
    format!(
        "{start}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\n\
         Call-ID: {call}\r\nCSeq: 1 {method}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A call from `parties[0]` over the box, `[1]` and `[2]`, to `[3]`.
fn call(parties: [&str; 4]) -> Vec<Frame> {
    let [a, access, core, b] = parties;
    let invite = said("INVITE sip:b@b SIP/2.0", "one", "INVITE", true);
    let trying = said("SIP/2.0 100 Trying", "one", "INVITE", false);
    let session = said("SIP/2.0 183 Session Progress", "one", "INVITE", true);
    let ok = said("SIP/2.0 200 OK", "one", "INVITE", true);
    let ack = said("ACK sip:b@b SIP/2.0", "one", "ACK", false);
    let rtp = |number: u8| vec![0x80, 8, 0, number, 0, 0, 0, 0, 1, 2, 3, 4, 0xd5];
    let bye = said("BYE sip:b@b SIP/2.0", "one", "BYE", false);
    let lines = [
        (0, a, access, invite.clone()),
        (1, access, a, trying),
        (2, core, b, invite.clone()),
        (500, core, b, invite),
        (700, b, core, session.clone()),
        (701, access, a, session),
        (1500, b, core, ok.clone()),
        (1501, access, a, ok),
        (1600, a, access, ack.clone()),
        (1601, core, b, ack),
        (1700, a, access, rtp(1)),
        (1740, a, access, rtp(3)),
        (61_234, b, core, bye),
    ];
    let since = |ms| Duration::from_secs(1_700_000_000) + Duration::from_millis(ms);
    let frames = lines.iter();
    frames
        .map(|(ms, from, to, payload)| (since(*ms), frame(from, to, payload)))
        .collect()
}

const V4: [&str; 4] = [
    "10.77.1.2:5060",
    "10.77.1.1:5060",
    "10.77.2.1:5060",
    "10.77.2.2:5060",
];

fn drawn(width: usize, frames: &[Frame]) -> String {
    let mut ladder = Ladder::new(width);
    let lines = ladder.draw(frames);
    lines + &ladder.end()
}

#[test]
fn a_call_is_a_ladder_of_four_columns() {
    insta::assert_snapshot!(drawn(80, &call(V4)));
}

#[test]
fn wide_addresses_have_letters() {
    let v6 = [
        "[2001:db8:1::2]:5060",
        "[2001:db8:1::1]:5060",
        "[2001:db8:2::1]:5060",
        "[2001:db8:2::2]:5060",
    ];
    insta::assert_snapshot!(drawn(80, &call(v6)));
}

#[test]
fn several_calls_have_numbers_and_new_parties_a_new_heading() {
    let mut ladder = Ladder::new(100);
    let mut text = ladder.draw(&call(V4)[..2]);
    let options = said("OPTIONS sip:b@b SIP/2.0", "evil\x1b[2J", "OPTIONS", false);
    let more = frame("10.77.3.3:5060", V4[1], &options);
    text += &ladder.draw(&[(Duration::from_secs(1_700_000_003), more)]);
    text += &ladder.end();
    assert!(
        !text.contains('\x1b'),
        "what strangers send must not reach the terminal"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn nothing_is_told_as_nothing() {
    assert_eq!(drawn(80, &[]), "Nothing was captured.\n");
    assert_eq!(
        drawn(80, &[(Duration::ZERO, vec![1, 2, 3])]),
        "Nothing was captured.\n"
    );
}
