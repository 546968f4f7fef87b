use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use proptest::prelude::*;
use sdp_types::Session as Oracle;

use super::*;

const OFFER: &str = "v=0\r\n\
    o=alice 2890844526 2890844526 IN IP4 192.0.2.1\r\n\
    s=-\r\n\
    c=IN IP4 192.0.2.1\r\n\
    t=0 0\r\n\
    m=audio 49170 RTP/AVP 0 8 97\r\n\
    a=rtpmap:97 iLBC/8000\r\n\
    a=rtcp:53020 IN IP4 192.0.2.9\r\n\
    a=sendonly\r\n\
    m=video 51372 RTP/AVP 31\r\n\
    i=the picture\r\n\
    a=rtcp-mux\r\n";

fn relay(last: u8, rtp: u16, rtcp: u16) -> Option<Relay> {
    Some(Relay {
        address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)),
        rtp,
        rtcp,
    })
}

fn relay6(last: u16, rtp: u16, rtcp: u16) -> Option<Relay> {
    Some(Relay {
        address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xaa, last).into(),
        rtp,
        rtcp,
    })
}

fn rewritten(body: &str, relays: &[Option<Relay>]) -> String {
    let session = parse(body.as_bytes()).unwrap();
    let mut out = [0; 2_048];
    let len = rewrite(body.as_bytes(), &session, relays, &mut out).unwrap();
    crate::fuzz::sdp(body.as_bytes());
    String::from_utf8(out[..len].to_vec()).unwrap()
}

#[test]
fn an_offer_is_read() {
    let session = parse(OFFER.as_bytes()).unwrap();
    let streams: Vec<_> = session.streams().collect();
    assert_eq!(streams.len(), 2);
    assert_eq!(streams[0].payload_types, 1 | 1 << 8 | 1 << 97);
    assert_eq!(
        (streams[0].media, streams[1].media),
        (Media::Audio, Media::Video)
    );
    assert_eq!(session.direction_of(streams[0]), Direction::SendOnly);
    assert_eq!(session.direction_of(streams[1]), Direction::SendRecv);
    assert!(streams[1].rtcp_mux);
    let audio = session.endpoint(streams[0]).unwrap();
    assert_eq!(audio.rtp, "192.0.2.1:49170".parse().unwrap());
    assert_eq!(audio.rtcp, "192.0.2.9:53020".parse().unwrap());
    let video = session.endpoint(streams[1]).unwrap();
    assert_eq!(video.rtcp, "192.0.2.1:51373".parse().unwrap());
}

#[test]
fn both_streams_on_one_relay_address_change_the_session_line() {
    let relays = [relay(1, 30_000, 30_001), relay(1, 30_002, 30_002)];
    let expected = OFFER
        .replace("c=IN IP4 192.0.2.1", "c=IN IP4 203.0.113.1")
        .replace("49170", "30000")
        .replace("53020 IN IP4 192.0.2.9", "30001 IN IP4 203.0.113.1")
        .replace("51372", "30002");
    assert_eq!(rewritten(OFFER, &relays), expected);
}

#[test]
fn streams_on_two_relay_addresses_get_lines_of_their_own() {
    let relays = [relay(1, 30_000, 30_001), relay(2, 30_002, 30_002)];
    let expected = OFFER
        .replace(
            "49170 RTP/AVP 0 8 97\r\n",
            "30000 RTP/AVP 0 8 97\r\nc=IN IP4 203.0.113.1\r\n",
        )
        .replace("53020 IN IP4 192.0.2.9", "30001 IN IP4 203.0.113.1")
        .replace("51372", "30002")
        .replace("picture\r\n", "picture\r\nc=IN IP4 203.0.113.2\r\n");
    assert_eq!(rewritten(OFFER, &relays), expected);
    let one = OFFER
        .replace("51372", "30002")
        .replace("picture\r\n", "picture\r\nc=IN IP4 203.0.113.2\r\n");
    assert_eq!(rewritten(OFFER, &[None, relay(2, 30_002, 30_003)]), one);
}

#[test]
fn a_stream_with_a_line_of_its_own_has_it_changed() {
    let body = OFFER.replace("picture\r\n", "picture\r\nc=IN IP4 192.0.2.7\r\n");
    let changed = rewritten(&body, &[None, relay(2, 30_002, 30_003)]);
    assert_eq!(
        changed,
        body.replace("192.0.2.7", "203.0.113.2")
            .replace("51372", "30002")
    );
}

#[test]
fn a_hold_of_the_old_kind_keeps_its_address() {
    let body = OFFER.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0");
    let changed = rewritten(&body, &[relay(1, 30_000, 30_001), relay(2, 30_002, 30_003)]);
    let expected = body
        .replace("49170", "30000")
        .replace("53020 IN IP4 192.0.2.9", "30001 IN IP4 203.0.113.1")
        .replace("51372", "30002");
    assert_eq!(changed, expected);
}

#[test]
fn the_family_changes_with_the_relay_and_a_hold_changes_with_it() {
    let relays = [relay6(1, 30_000, 30_001), relay6(1, 30_002, 30_002)];
    let ipv6 = OFFER
        .replace("c=IN IP4 192.0.2.1", "c=IN IP6 2001:db8::aa:1")
        .replace("49170", "30000")
        .replace("53020 IN IP4 192.0.2.9", "30001 IN IP6 2001:db8::aa:1")
        .replace("51372", "30002");
    assert_eq!(rewritten(OFFER, &relays), ipv6);
    let back = [relay(1, 30_000, 30_001), relay(1, 30_002, 30_002)];
    let ipv4 = ipv6.replace("IP6 2001:db8::aa:1", "IP4 203.0.113.1");
    assert_eq!(rewritten(&ipv6, &back), ipv4);
    let held = OFFER.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0");
    let changed = rewritten(&held, &relays);
    assert!(changed.contains("c=IN IP6 ::\r\n"), "{changed}");
    assert!(rewritten(&changed, &back).contains("c=IN IP4 0.0.0.0\r\n"));
}

#[test]
fn ipv6_addresses_are_read_and_ipv4_in_their_clothes_is_ipv4() {
    let read = |address: &str| {
        let body = OFFER.replace("c=IN IP4 192.0.2.1", &format!("c=IN {address}"));
        parse(body.as_bytes()).map(|session| session.connection.unwrap().address)
    };
    let ip = |text: &str| Ok(Address::Ip(text.parse().unwrap()));
    assert_eq!(read("IP6 2001:DB8::0:1"), ip("2001:db8::1"));
    assert_eq!(read("IP6 ::ffff:192.0.2.7"), ip("192.0.2.7"));
    assert_eq!(read("IP6 ::"), ip("::"));
    assert_eq!(read("IP6 ff02::1"), Ok(Address::Multicast));
    for wrong in [
        "IP6 192.0.2.1",
        "IP4 2001:db8::1",
        "IP6 [2001:db8::1]",
        "IP6 1:2",
        "IP6 fe80::1%eth0",
    ] {
        assert_eq!(read(wrong), Err(SdpError::Connection), "{wrong}");
    }
}

#[test]
fn a_rejected_stream_stays_rejected_and_does_not_count() {
    let body = OFFER.replace("51372", "0");
    let changed = rewritten(&body, &[relay(1, 30_000, 30_001), relay(2, 30_002, 30_003)]);
    assert!(changed.contains("c=IN IP4 203.0.113.1\r\n") && changed.contains("m=video 0 "));
    assert_eq!(changed.matches("c=").count(), 1);
}

#[test]
fn rtcp_on_another_port_than_the_next_is_said() {
    let body = "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=x\nm=audio 4002 RTP/AVP 0";
    assert_eq!(
        rewritten(body, &[relay(1, 30_000, 31_000), relay(2, 30_002, 31_002)]),
        "v=0\nc=IN IP4 192.0.2.1\n\
         m=audio 30000 RTP/AVP 0\nc=IN IP4 203.0.113.1\na=x\na=rtcp:31000\n\
         m=audio 30002 RTP/AVP 0\nc=IN IP4 203.0.113.2\na=rtcp:31002"
    );
}

#[test]
fn streams_that_we_cannot_stand_between_say_why() {
    for (from, to, why) in [
        ("video 51372", "video 0", Unanchored::Rejected),
        ("RTP/AVP 31", "UDPTL t38", Unanchored::NotRtp),
        ("51372", "51372/2", Unanchored::PortCount),
        (
            "picture\r\n",
            "picture\r\nc=IN IP6 ff15::101/3\r\n",
            Unanchored::Multicast,
        ),
        (
            "picture\r\n",
            "picture\r\nc=IN IP4 media.example.com\r\n",
            Unanchored::Name,
        ),
        (
            "picture\r\n",
            "picture\r\nc=IN IP4 233.252.0.1/127\r\n",
            Unanchored::Multicast,
        ),
    ] {
        let body = OFFER.replace(from, to);
        let session = parse(body.as_bytes()).unwrap();
        let stream = session.streams().last().unwrap();
        assert_eq!(session.endpoint(stream), Err(why));
        let relays = [None, relay(1, 30_000, 30_001)];
        let changed = rewrite(body.as_bytes(), &session, &relays, &mut [0; 2_048]);
        match why {
            Unanchored::Rejected => assert_eq!(changed, Ok(body.len())),
            _ => assert_eq!(changed, Err(RewriteError::Unanchored(why))),
        }
    }
}

#[test]
fn a_stream_can_be_rejected_beside_others_that_are_relayed() {
    let relays = [relay(1, 30_000, 30_001), Some(Relay::REJECTED)];
    let changed = rewritten(OFFER, &relays);
    let session = parse(changed.as_bytes()).unwrap();
    let ports: Vec<_> = session.streams().map(|stream| stream.port).collect();
    assert_eq!(ports, [30_000, 0]);
    // Nothing but the port of the one that is rejected.
    let picture = |text: &str| text[text.find("m=video ").unwrap()..].to_owned();
    let as_it_was = picture(OFFER).replacen("m=video 51372", "m=video 0", 1);
    assert_eq!(picture(&changed), as_it_was);
}

#[test]
fn bodies_that_two_readers_would_read_differently_are_refused() {
    for (from, to, why) in [
        ("v=0", "v=1", SdpError::Version),
        ("v=0\r\n", "", SdpError::Version),
        ("s=-", "s:-", SdpError::Line),
        ("s=-\r\n", "s=-\r\n\r\n", SdpError::Line),
        ("s=-", "s=\rc=IN IP4 192.0.2.7", SdpError::Line),
        ("s=-", "s=\0", SdpError::Line),
        ("c=IN IP4 192.0.2.1\r\n", "", SdpError::Connection),
        (
            "c=IN IP4 192.0.2.1",
            "c=IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.2",
            SdpError::Connection,
        ),
        (
            "c=IN IP4 192.0.2.1",
            "c=IN IP4 192.0.2.256",
            SdpError::Connection,
        ),
        (
            "c=IN IP4 192.0.2.1",
            "c=IN IP4 192.0.2.1 x",
            SdpError::Connection,
        ),
        ("c=IN IP4 192.0.2.1", "c=IN IP4", SdpError::Connection),
        ("49170", "65536", SdpError::Media),
        ("49170", "-1", SdpError::Media),
        ("RTP/AVP 31", "RTP/AVP 128", SdpError::Media),
        ("RTP/AVP 31", "RTP/AVP", SdpError::Media),
        ("a=rtcp-mux", "a=rtcp:x", SdpError::Rtcp),
        ("a=rtcp-mux", "a=rtcp:1\r\na=rtcp:2", SdpError::Rtcp),
        (
            "a=rtcp-mux\r\n",
            &"m=audio 1 RTP/AVP 0\r\n".repeat(7),
            SdpError::TooMany,
        ),
    ] {
        let body = OFFER.replacen(from, to, 1);
        assert_ne!(body, OFFER);
        assert_eq!(parse(body.as_bytes()), Err(why), "{to:?}");
    }
}

#[test]
fn a_body_that_does_not_fit_is_refused() {
    let session = parse(OFFER.as_bytes()).unwrap();
    let mut out = [0; OFFER.len()];
    let relays = [relay(255, 30_000, 30_001), relay(254, 30_002, 30_003)];
    let changed = rewrite(OFFER.as_bytes(), &session, &relays, &mut out);
    assert_eq!(changed, Err(RewriteError::TooLong));
}

/// A session with up to five streams of every sort.
fn body() -> impl Strategy<Value = String> {
    let address = || {
        prop::sample::select(vec![
            "IP4 192.0.2.1",
            "IP4 0.0.0.0",
            "IP4 198.51.100.255",
            "IP6 2001:db8::1",
            "IP6 ::",
            "ip6 2001:db8:0:0::9",
            "IP6 media.example.com",
            "IP4 media.example.com",
            "IP4 233.252.0.1/127",
        ])
    };
    let rtcp = prop::option::of((1_u16..65_000, prop::option::of(address())));
    let own = prop::option::of(address());
    let kind = prop::sample::select(vec![
        "audio RTP/AVP 0 8",
        "video UDP/TLS/RTP/SAVPF 96",
        "image udptl t38",
    ]);
    let port = prop_oneof![4 => 1_u16..65_000, 1 => Just(0)];
    let stream = (kind, port, own, rtcp, any::<[bool; 3]>()).prop_map(
        |(kind, port, own, rtcp, [title, mux, after])| {
            let (media, rest) = kind.split_once(' ').unwrap();
            let mut text = format!("m={media} {port} {rest}\r\n");
            text += if title { "i=a title\r\n" } else { "" };
            text += &own.map_or(String::new(), |own| format!("c=IN {own}\r\n"));
            text += if mux { "a=rtcp-mux\r\n" } else { "" };
            if let Some((port, address)) = rtcp {
                let address = address.map_or(String::new(), |address| format!(" IN {address}"));
                text += &format!("a=rtcp:{port}{address}\r\n");
            }
            text += if after { "a=inactive\r\n" } else { "" };
            text
        },
    );
    let streams = prop::collection::vec(stream, 0..5);
    (address(), streams, any::<[bool; 2]>()).prop_map(|(address, streams, [lf, cut])| {
        let mut text = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN {address}\r\nt=0 0\r\n{}",
            streams.concat()
        );
        if cut {
            text.truncate(text.len() - 2);
        }
        if lf { text.replace("\r\n", "\n") } else { text }
    })
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz::sdp(&bytes);
        crate::fuzz::sdp(&[b"v=0\r\n", &bytes[..]].concat());
    }

    #[test]
    fn every_session_is_rewritten_as_it_should_be(body in body()) {
        prop_assert!(parse(body.as_bytes()).is_ok(), "{:?}", parse(body.as_bytes()));
        crate::fuzz::sdp(body.as_bytes());
    }

    #[test]
    fn another_reader_finds_the_relays_too(
            body in body(), chosen in any::<[bool; 5]>(), ipv6 in any::<bool>(),
        ) {
            let hold = if ipv6 { "::" } else { "0.0.0.0" };
        let session = parse(body.as_bytes()).unwrap();
        let mut relays = Vec::new();
        for ((stream, chosen), rtp) in session.streams().zip(chosen).zip(30_000_u16..) {
            let taken = chosen && session.endpoint(stream).is_ok();
            let relay = if ipv6 { relay6(1, rtp, rtp + 1) } else { relay(1, rtp, rtp + 1) };
            relays.push(relay.filter(|_| taken));
        }
        let mut out = [0; 4_096];
        let len = rewrite(body.as_bytes(), &session, &relays, &mut out).unwrap();
        let before = Oracle::parse(body.as_bytes()).unwrap();
        let after = Oracle::parse(&out[..len]).unwrap();
        prop_assert_eq!(before.medias.len(), after.medias.len());
        for ((before_media, after_media), relay) in
            before.medias.iter().zip(&after.medias).zip(relays)
        {
            let old = before_media.connections.first().or(before.connection.as_ref()).unwrap();
            let new = after_media.connections.first().or(after.connection.as_ref()).unwrap();
            let (port, address) = match relay {
                Some(relay) if ["0.0.0.0", "::"].contains(&&*old.connection_address) => {
                    (relay.rtp, hold.to_owned())
                }
                Some(relay) => (relay.rtp, relay.address.to_string()),
                None => (before_media.port, old.connection_address.clone()),
            };
            prop_assert_eq!(after_media.port, port);
            if after_media.port != 0 {
                prop_assert_eq!(&new.connection_address, &address);
            }
            prop_assert_eq!(&after_media.fmt, &before_media.fmt);
            prop_assert_eq!(&after_media.media_title, &before_media.media_title);
        }
    }
}
