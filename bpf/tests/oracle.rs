//! The program against a second opinion, over frames that nobody thought of.

#![allow(clippy::expect_used, reason = "what a test expects, it says")]

mod support;

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::fixtures;
use support::frames::*;
use trunkline_bpf::Action;
use trunkline_bpf::Verdict;
use trunkline_bpf::VlanStack;

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..offset + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The same judgement once more, from the help texts and with slices instead of pointers.
fn expected(frame: &[u8]) -> Verdict {
    let mut found_tags = Vec::new();
    let mut at = 12;
    let ethertype = loop {
        let Some(ethertype) = u16_at(frame, at) else {
            return Verdict::PassTruncated;
        };
        let service = ethertype == 0x88a8;
        if !service && ethertype != 0x8100 {
            break ethertype;
        }
        if found_tags.len() == 2 || (service && found_tags.len() == 1) {
            return Verdict::PassVlan;
        }
        let Some(control) = u16_at(frame, at + 2) else {
            return Verdict::PassTruncated;
        };
        found_tags.push([ethertype, control & 0x0fff]);
        at += 4;
    };
    let verdict = expected_inside(ethertype, &frame[at + 2..], &found_tags);
    let ours = found_tags.is_empty() || PLACES.iter().any(|place| tags(place.stack) == found_tags);
    if verdict.action() == Action::Redirect || ours {
        verdict
    } else {
        Verdict::PassVlan
    }
}

fn expected_inside(ethertype: u16, packet: &[u8], tags: &[[u16; 2]]) -> Verdict {
    match ethertype {
        0x0800 => expected_ipv4(packet, tags),
        0x86dd => expected_ipv6(packet, tags),
        0x0806 => Verdict::PassArp,
        _ => Verdict::PassOtherEthertype,
    }
}

fn find(address: IpAddr, found_tags: &[[u16; 2]]) -> Option<&'static Place> {
    static ALL: [Place; PLACES.len()] = PLACES;
    ALL.iter()
        .find(|place| place.address == address && tags(place.stack) == found_tags)
}

fn expected_ipv4(packet: &[u8], tags: &[[u16; 2]]) -> Verdict {
    let Some(header) = packet.first_chunk::<20>() else {
        return Verdict::PassTruncated;
    };
    let header_len = usize::from(header[0] & 15) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let datagram_fits = header_len <= total_len && total_len <= packet.len();
    if header[0] >> 4 != 4 || header_len < 20 || !datagram_fits {
        return Verdict::PassMalformed;
    }
    let destination: [u8; 4] = header[16..].try_into().expect("4 bytes");
    let Some(place) = find(destination.into(), tags) else {
        return Verdict::PassOtherAddress;
    };
    if header_len > 20 {
        return Verdict::PassIpOptions;
    }
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Verdict::PassFragment;
    }
    match header[9] {
        1 => Verdict::PassIcmp,
        6 => Verdict::PassTcp,
        17 => expected_udp(place, &packet[20..total_len]),
        _ => Verdict::PassOtherProtocol,
    }
}

fn expected_ipv6(packet: &[u8], tags: &[[u16; 2]]) -> Verdict {
    let Some((header, rest)) = packet.split_first_chunk::<40>() else {
        return Verdict::PassTruncated;
    };
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || payload_len == 0 || payload_len > rest.len() {
        return Verdict::PassMalformed;
    }
    let destination: [u8; 16] = header[24..].try_into().expect("16 bytes");
    let Some(place) = find(destination.into(), tags) else {
        return Verdict::PassOtherAddress;
    };
    match header[6] {
        6 => Verdict::PassTcp,
        17 => expected_udp(place, &rest[..payload_len]),
        44 => Verdict::PassFragment,
        58 => Verdict::PassIcmp,
        0 | 43 | 60 => Verdict::PassIpv6Extension,
        _ => Verdict::PassOtherProtocol,
    }
}

fn expected_udp(place: &Place, datagram: &[u8]) -> Verdict {
    if datagram.len() < 8 {
        return Verdict::PassTruncated;
    }
    let udp_len = u16_at(datagram, 4).expect("8 bytes");
    if udp_len < 8 || usize::from(udp_len) > datagram.len() {
        return Verdict::PassMalformed;
    }
    let port = u16_at(datagram, 2).expect("8 bytes");
    let in_a_range = |&(min, max): &(u16, u16)| (min..=max).contains(&port);
    if place.sip_ports.contains(&port) {
        Verdict::RedirectSip
    } else if place.media_ports.iter().any(in_a_range) {
        Verdict::RedirectMedia
    } else {
        Verdict::PassOtherPort
    }
}

/// Every fixture without tags, under each stack that the program knows and one that it does not.
fn in_every_stack() -> Vec<Vec<u8>> {
    let untagged: Vec<_> = fixtures::all()
        .into_iter()
        .map(|fixture| fixture.1)
        .filter(|frame| !matches!(u16_at(frame, 12), None | Some(0x8100 | 0x88a8)))
        .collect();
    let stacks = [ONE_TAG, TWO_TAGS, TWO_TAGS_8021Q, VlanStack::Single(8)];
    let tagged = |stack| {
        let tags = tags(stack);
        untagged
            .iter()
            .map(move |frame| tagged(&tags, frame.clone()))
    };
    stacks.into_iter().flat_map(tagged).collect()
}

#[test]
fn the_second_opinion_knows_the_fixtures() {
    for (name, frame, verdict) in fixtures::all() {
        assert_eq!(expected(&frame), verdict, "{name}");
    }
}

#[test]
fn what_holds_without_tags_holds_under_them() {
    let with_worker = Loaded::new(true);
    for frame in in_every_stack() {
        assert_eq!(with_worker.judge(&frame), expected(&frame), "{frame:02x?}");
    }
}

#[test]
fn frames_cut_at_every_byte_get_the_right_verdict() {
    let with_worker = Loaded::new(true);
    let whole = [OURS, OURS6]
        .map(|address| udp(address, SIP_PORTS[0]))
        .into_iter();
    let stacks = [VlanStack::Untagged, ONE_TAG, TWO_TAGS, TWO_TAGS_8021Q];
    for frame in whole.flat_map(|frame| stacks.map(|stack| tagged(&tags(stack), frame.clone()))) {
        for len in 0..=frame.len() {
            let frame = &frame[..len];
            assert_eq!(with_worker.judge(frame), expected(frame), "{frame:02x?}");
        }
    }
}

/// A failure prints the least frame that fails; it becomes a fixture, not a file of seeds.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    }
}

#[test]
fn random_bytes_get_one_verdict_each_and_the_right_one() {
    let with_worker = Loaded::new(true);
    let mut runner = TestRunner::new(cases(5_000));
    runner
        .run(&proptest::collection::vec(any::<u8>(), 0..200), |frame| {
            prop_assert_eq!(with_worker.judge(&frame), expected(&frame));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn mutated_fixtures_get_one_verdict_each_and_the_right_one() {
    let with_worker = Loaded::new(true);
    let mut frames: Vec<Vec<u8>> = fixtures::all()
        .into_iter()
        .map(|fixture| fixture.1)
        .collect();
    frames.extend(FULL_SIP_PORTS.map(|port| udp(FULL, port)));
    frames.extend(in_every_stack());
    // Up to three bytes of the headers changed, then cut or padded.
    let mutated = (
        proptest::sample::select(frames),
        proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        proptest::option::weighted(0.3, 0_usize..120),
    )
        .prop_map(|(mut frame, changes, len)| {
            let headers_len = frame.len().min(72);
            for (position, byte) in changes {
                if headers_len > 0 {
                    frame[usize::from(position) % headers_len] = byte;
                }
            }
            if let Some(len) = len {
                frame.resize(len, 0);
            }
            frame
        });
    let mut runner = TestRunner::new(cases(30_000));
    runner
        .run(&mutated, |frame| {
            prop_assert_eq!(with_worker.judge(&frame), expected(&frame));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
