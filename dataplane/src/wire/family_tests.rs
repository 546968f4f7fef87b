//! IPv6 and tags, and IPv4 beside them, against another implementation.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::oracle;
use super::oracle::STACKS;
use super::*;

const STATIONS: Ethernet = Ethernet {
    destination: [2, 0, 0, 0, 0, 2],
    source: [2, 0, 0, 0, 0, 1],
};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn frame6(payload: &[u8]) -> Vec<u8> {
    let (src, dst) = (at("[2001:db8::2]:6000"), at("[2001:db8::1]:20000"));
    oracle::build(&STATIONS, &VlanStack::NONE, src, dst, payload)
}

fn changed(change: impl Fn(&mut Vec<u8>)) -> Result<Datagram, WireError> {
    let mut frame = frame6(b"payload");
    change(&mut frame);
    parse(&frame)
}

#[test]
fn an_ipv6_frame_is_read() {
    let frame = frame6(b"payload");
    let datagram = parse(&frame).unwrap();
    assert_eq!(datagram.src(), at("[2001:db8::2]:6000"));
    assert_eq!(datagram.dst(), at("[2001:db8::1]:20000"));
    assert_eq!((datagram.headers_len(), datagram.payload_len()), (62, 7));
    assert_eq!(datagram.payload(&frame), b"payload");
    assert!(udp_checksum_ok(&frame, &datagram));
}

#[test]
fn what_is_not_udp_over_ipv6_has_its_own_name() {
    assert_eq!(
        changed(|frame| frame.truncate(53)),
        Err(WireError::TooShort)
    );
    assert_eq!(
        changed(|frame| frame.truncate(41)),
        Err(WireError::TooShort)
    );
    assert_eq!(
        changed(|frame| frame.truncate(68)),
        Err(WireError::IpLength)
    );
    assert_eq!(changed(|frame| frame[14] = 0x45), Err(WireError::IpVersion));
    for extension in [0, 43, 50, 51, 60, 135] {
        let found = changed(|frame| frame[20] = extension);
        assert_eq!(found, Err(WireError::IpExtension), "{extension}");
    }
    assert_eq!(changed(|frame| frame[20] = 44), Err(WireError::Fragment));
    for other in [6, 58, 59, 132] {
        assert_eq!(changed(|frame| frame[20] = other), Err(WireError::NotUdp));
    }
    assert_eq!(changed(|frame| frame[19] = 7), Err(WireError::IpLength));
    assert_eq!(changed(|frame| frame[19] = 0), Err(WireError::IpLength));
    assert_eq!(changed(|frame| frame[59] = 7), Err(WireError::UdpLength));
    assert_eq!(changed(|frame| frame[59] = 16), Err(WireError::UdpLength));
    assert_eq!(
        changed(|frame| frame[60..62].fill(0)),
        Err(WireError::UdpNoChecksum)
    );
    for source in ["::", "::1", "ff02::1", "::ffff:192.0.2.1"] {
        let octets = source.parse::<std::net::Ipv6Addr>().unwrap().octets();
        let found = changed(|frame| frame[22..38].copy_from_slice(&octets));
        assert_eq!(found, Err(WireError::SourceNotHost), "{source}");
    }
    // A traffic class, a flow label and a hop limit are the sender's.
    assert!(changed(|frame| frame[14..18].copy_from_slice(&[0x6b, 0x8f, 1, 2])).is_ok());
    assert!(changed(|frame| frame[21] = 1).is_ok());
    // A UDP length below the packet's is sound, and the rest is cut.
    let cut = changed(|frame| frame[59] = 12).unwrap();
    assert_eq!((cut.payload_len(), cut.frame_len()), (4, 66));
}

#[test]
fn tags_are_told_by_protocol_and_identifier_alone() {
    let (src, dst) = (at("10.77.1.2:6000"), at("10.77.1.1:20000"));
    let mut frame = oracle::build(&STATIONS, &STACKS[2], src, dst, b"payload");
    frame[14] |= 0xf0; // priority and drop eligible
    assert_eq!(parse(&frame).unwrap().vlan, STACKS[2]);
    frame[12..14].copy_from_slice(&[0x81, 0]);
    let stacked = VlanStack::two(vlan::TPID_8021Q, 200, 4094);
    assert_eq!(parse(&frame).unwrap().vlan, stacked);
    assert_ne!(stacked, STACKS[2]);
    assert_ne!(VlanStack::one(0), VlanStack::NONE);
    // A third tag is none that anybody takes.
    let third = [&frame[..12], &[0x88, 0xa8, 0, 7], &frame[12..]].concat();
    assert_eq!(parse(&third), Err(WireError::NotIp));
    assert_eq!(
        STACKS.map(|stack| stack.to_string()),
        ["-", "100", "200.4094"]
    );
}

#[test]
fn a_frame_cut_in_its_headers_is_too_short_wherever() {
    for (src, dst) in [
        (at("10.77.1.2:6000"), at("10.77.1.1:20000")),
        (at("[2001:db8::2]:6000"), at("[2001:db8::1]:20000")),
    ] {
        for vlan in STACKS {
            let frame = oracle::build(&STATIONS, &vlan, src, dst, b"");
            assert_eq!(frame.len(), headers_len(&vlan, dst.ip()));
            for len in 0..frame.len() {
                let found = parse(&frame[..len]);
                let short = matches!(found, Err(WireError::TooShort | WireError::IpLength));
                assert!(short, "{len}: {found:?}");
            }
            assert!(parse(&frame).is_ok());
        }
    }
}

#[test]
fn nothing_is_written_between_two_families() {
    let mut frame = [7; 200];
    let (src, dst) = (at("10.77.1.1:5060"), at("[2001:db8::2]:5060"));
    for (src, dst) in [(src, dst), (dst, src)] {
        let written = write_headers(&mut frame, &STATIONS, &VlanStack::NONE, src, dst, 9);
        assert_eq!((written, frame), (None, [7; 200]));
    }
}

fn pair() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let four = (1u8..120, any::<[u8; 3]>(), any::<u16>())
        .prop_map(|(a, [b, c, d], port)| SocketAddr::new([a, b, c, d].into(), port));
    let six = (any::<[u8; 15]>(), any::<u16>()).prop_map(|(low, port)| {
        let mut octets = [0x20; 16];
        octets[1..].copy_from_slice(&low);
        SocketAddr::new(octets.into(), port)
    });
    prop_oneof![(four.clone(), four), (six.clone(), six)]
}

proptest! {
    #[test]
    fn written_headers_equal_another_implementation_s(
        (src, dst) in pair(), vlan in prop::sample::select(&STACKS[..]),
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut expected = oracle::build(&STATIONS, &vlan, src, dst, &payload);
        let start = headers_len(&vlan, dst.ip());
        let mut frame = vec![0x5a; start];
        frame.extend_from_slice(&payload);
        let written = write_headers(&mut frame, &STATIONS, &vlan, src, dst, payload.len());
        prop_assert_eq!(written, Some(frame.len()));
        fill_udp_checksum(&mut frame);
        let read = oracle::read(&frame);
        prop_assert!(read.right);
        prop_assert_eq!((read.src, read.dst, &read.payload), (src, dst, &payload));
        prop_assert_eq!(read.ethernet, STATIONS);
        prop_assert_eq!(read.vlan_ids, vlan.ids().collect::<Vec<_>>());
        if read.udp_checksum == 0xffff {
            // RFC 768: a sum of 0 is sent as 0xffff, whatever the other writes.
            expected[start - 2..start].fill(0xff);
        }
        prop_assert_eq!(&frame[start - 2..], &expected[start - 2..]);
        let datagram = parse(&expected).unwrap();
        prop_assert_eq!((datagram.src(), datagram.dst(), datagram.vlan), (src, dst, vlan));
        prop_assert_eq!(datagram.payload(&expected), &payload[..]);
        prop_assert!(udp_checksum_ok(&expected, &datagram));
    }

    #[test]
    fn damaged_frames_keep_their_bounds(
        (src, dst) in pair(), vlan in prop::sample::select(&STACKS[..]),
        at in 0usize..70, value in any::<u8>(), cut in 0usize..30,
    ) {
        let mut frame = oracle::build(&STATIONS, &vlan, src, dst, &[7; 30]);
        if let Some(byte) = frame.get_mut(at) {
            *byte = value;
        }
        frame.truncate(frame.len() - cut);
        if let Ok(datagram) = parse(&frame) {
            prop_assert!(datagram.frame_len() <= frame.len());
            prop_assert_eq!(datagram.payload(&frame).len(), usize::from(datagram.payload_len()));
            let _ = udp_checksum_ok(&frame, &datagram);
        }
    }

    #[test]
    fn a_pseudo_header_equals_its_bytes(src in any::<u128>(), dst in any::<u128>(), len in 8u16..) {
        let mut bytes = [0u8; 40];
        bytes[..16].copy_from_slice(&src.to_be_bytes());
        bytes[16..32].copy_from_slice(&dst.to_be_bytes());
        bytes[34..36].copy_from_slice(&len.to_be_bytes());
        bytes[39] = 17;
        let folded = checksum::pseudo_header_sum6(src.into(), dst.into());
        prop_assert_eq!(checksum::add(folded, len), checksum::sum(&bytes));
    }
}
