use std::net::Ipv4Addr;
use std::net::SocketAddrV4;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

const SRC: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 1, 2), 6000);
const DST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 1, 1), 20_000);

/// A frame as another implementation builds it, checksums complete.
fn frame_of(src: SocketAddrV4, dst: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4(src.ip().octets(), dst.ip().octets(), 17)
        .udp(src.port(), dst.port());
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// Makes the header checksum right again after a change.
fn mend_ip_checksum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let sum = !checksum::sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

fn changed(change: impl Fn(&mut Vec<u8>)) -> Result<Datagram, WireError> {
    let mut frame = frame_of(SRC, DST, b"payload");
    change(&mut frame);
    mend_ip_checksum(&mut frame);
    parse(&frame)
}

#[test]
fn reads_a_sound_frame() {
    let frame = frame_of(SRC, DST, b"payload");
    let datagram = parse(&frame).unwrap();
    assert_eq!((datagram.src(), datagram.dst()), (SRC.into(), DST.into()));
    assert_eq!(datagram.payload(&frame), b"payload");
    assert_eq!(datagram.frame_len(), frame.len());
    assert!(udp_checksum_ok(&frame, &datagram));
}

#[test]
fn cuts_padding_behind_the_packet() {
    let mut frame = frame_of(SRC, DST, b"ab");
    frame.resize(60, 0xee);
    let datagram = parse(&frame).unwrap();
    assert_eq!(datagram.payload(&frame), b"ab");
    assert!(udp_checksum_ok(&frame, &datagram));
}

#[test]
fn cuts_what_follows_the_udp_length() {
    let datagram = changed(|frame| frame[39] -= 3).unwrap();
    assert_eq!(datagram.payload_len(), 4);
}

#[test]
fn names_each_fault() {
    assert_eq!(parse(&[]), Err(WireError::TooShort));
    assert_eq!(
        parse(&frame_of(SRC, DST, b"")[..41]),
        Err(WireError::TooShort)
    );
    assert_eq!(changed(|frame| frame[13] = 0x06), Err(WireError::NotIp));
    assert_eq!(changed(|frame| frame[14] = 0x65), Err(WireError::IpVersion));
    assert_eq!(
        changed(|frame| frame[14] = 0x46),
        Err(WireError::IpHeaderLength)
    );
    assert_eq!(
        changed(|frame| frame[14] = 0x44),
        Err(WireError::IpHeaderLength)
    );
    assert_eq!(changed(|frame| frame[17] += 1), Err(WireError::IpLength));
    assert_eq!(changed(|frame| frame[17] = 27), Err(WireError::IpLength));
    assert_eq!(changed(|frame| frame[20] = 0x20), Err(WireError::Fragment));
    assert_eq!(changed(|frame| frame[21] = 1), Err(WireError::Fragment));
    assert_eq!(changed(|frame| frame[23] = 6), Err(WireError::NotUdp));
    assert_eq!(changed(|frame| frame[39] += 1), Err(WireError::UdpLength));
    assert_eq!(changed(|frame| frame[39] = 7), Err(WireError::UdpLength));
    for first in [0, 127, 224, 239, 240, 255] {
        assert_eq!(
            changed(|frame| frame[26] = first),
            Err(WireError::SourceNotHost)
        );
    }
    let mut frame = frame_of(SRC, DST, b"payload");
    frame[22] ^= 1;
    assert_eq!(parse(&frame), Err(WireError::IpChecksum));
}

#[test]
fn accepts_no_checksum_and_a_partial_one() {
    let mut frame = frame_of(SRC, DST, b"payload");
    frame[40..42].fill(0);
    assert!(udp_checksum_ok(&frame, &parse(&frame).unwrap()));
    let partial = checksum::add(checksum::pseudo_header_sum(*SRC.ip(), *DST.ip()), 15);
    frame[40..42].copy_from_slice(&partial.to_be_bytes());
    assert!(udp_checksum_ok(&frame, &parse(&frame).unwrap()));
    frame[41] ^= 1;
    assert!(!udp_checksum_ok(&frame, &parse(&frame).unwrap()));
}

#[test]
fn refuses_a_payload_that_does_not_fit() {
    let mut frame = vec![0u8; 70_000];
    let ethernet = Ethernet::default();
    assert_eq!(
        write_headers(
            &mut frame[..50],
            &ethernet,
            &VlanStack::NONE,
            SRC.into(),
            DST.into(),
            9
        ),
        None
    );
    assert_eq!(
        write_headers(
            &mut frame,
            &ethernet,
            &VlanStack::NONE,
            SRC.into(),
            DST.into(),
            PAYLOAD_LEN_MAX + 1
        ),
        None
    );
    let longest = write_headers(
        &mut frame,
        &ethernet,
        &VlanStack::NONE,
        SRC.into(),
        DST.into(),
        PAYLOAD_LEN_MAX,
    );
    assert_eq!(longest, Some(HEADERS_LEN + PAYLOAD_LEN_MAX));
    assert!(parse(&frame).is_ok());
}

#[test]
fn names_are_unique_and_in_order() {
    let mut names: Vec<_> = WireError::ALL.iter().map(|error| error.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), WireError::ALL.len());
    assert!(
        WireError::ALL
            .iter()
            .enumerate()
            .all(|(at, error)| *error as usize == at)
    );
}

fn host() -> impl Strategy<Value = SocketAddrV4> {
    (1u8..127, any::<[u8; 3]>(), any::<u16>())
        .prop_map(|(a, [b, c, d], port)| SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(datagram) = parse(&bytes) {
            let _ = udp_checksum_ok(&bytes, &datagram);
        }
    }

    #[test]
    fn damaged_frames_keep_their_bounds(
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        at in 0usize..42, value in any::<u8>(), cut in 0usize..20,
    ) {
        let mut frame = frame_of(SRC, DST, &payload);
        frame[at] = value;
        frame.truncate(frame.len() - cut);
        if frame.len() >= 34 {
            mend_ip_checksum(&mut frame);
        }
        if let Ok(datagram) = parse(&frame) {
            prop_assert!(datagram.frame_len() <= frame.len());
            prop_assert_eq!(datagram.payload(&frame).len(), usize::from(datagram.payload_len()));
        }
    }

    #[test]
    fn written_headers_equal_another_implementation_s(
        src in host(), dst in host(),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let expected = frame_of(src, dst, &payload);
        let mut frame = vec![0u8; HEADERS_LEN];
        frame.extend_from_slice(&payload);
        let ethernet = Ethernet { source: [2, 0, 0, 0, 0, 1], destination: [2, 0, 0, 0, 0, 2] };
        prop_assert_eq!(
            write_headers(&mut frame, &ethernet, &VlanStack::NONE, src.into(), dst.into(), payload.len()),
            Some(frame.len())
        );
        frame[41] = 0x5a; // what the field held before does not matter
        fill_udp_checksum(&mut frame);
        prop_assert_eq!(&frame[40..42], &expected[40..42]);
        let datagram = parse(&frame).unwrap();
        prop_assert!(udp_checksum_ok(&frame, &datagram));
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else {
            return Err(TestCaseError::fail("not IPv4"));
        };
        let header = ip.header().to_header();
        prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
        prop_assert_eq!((header.time_to_live, header.dont_fragment), (64, true));
        prop_assert_eq!(header.identification, 0);
    }
}

proptest! {
    #[test]
    fn ready_headers_equal_fresh_ones(
        src in host(), dst in host(), payload_len in 0usize..=PAYLOAD_LEN_MAX,
    ) {
        let ethernet = Ethernet { source: [2, 0, 0, 0, 0, 1], destination: [2, 0, 0, 0, 0, 2] };
        let mut fresh = vec![0u8; HEADERS_LEN + payload_len];
        let _ = write_headers(&mut fresh, &ethernet, &VlanStack::NONE, src.into(), dst.into(), payload_len).unwrap();
        let mut ready = ReadyHeaders::new(src, dst);
        ready.set_ethernet(&ethernet);
        prop_assert_eq!((ready.src(), ready.dst()), (src, dst));
        let mut copied = vec![0xffu8; HEADERS_LEN];
        prop_assert!(ready.write(&mut copied, payload_len.try_into().unwrap(), 0));
        prop_assert_eq!(&copied[..], &fresh[..HEADERS_LEN]);
        prop_assert!(!ready.write(&mut copied[..41], 0, 0));
    }
}
