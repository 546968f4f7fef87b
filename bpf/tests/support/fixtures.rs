//! Frames of every kind and the verdict that each must get.

use trunkline_bpf::OuterTag;
use trunkline_bpf::Verdict;
use trunkline_bpf::Verdict::*;
use trunkline_bpf::VlanStack;

use super::frames::*;

// Offsets of an untagged IPv4 frame's fields.
const ETHERTYPE: usize = 12;
const VERSION_IHL: usize = 14;
const TOTAL_LEN: usize = 16;
const FRAGMENT: usize = 20;
const PROTOCOL: usize = 23;
const UDP_LEN: usize = 38;

// Offsets of an untagged IPv6 frame's fields.
const VERSION6: usize = 14;
const PAYLOAD_LEN: usize = 18;
const NEXT_HEADER: usize = 20;
const UDP_LEN6: usize = 58;

/// A name, a frame, and its verdict on a queue that has a worker.
pub type Fixture = (&'static str, Vec<u8>, Verdict);

pub fn all() -> Vec<Fixture> {
    [
        link_fixtures(),
        ipv4_fixtures(),
        ipv6_fixtures(),
        udp_fixtures(),
        vlan_fixtures(),
    ]
    .concat()
}

fn sip() -> Vec<u8> {
    udp(OURS, SIP_PORTS[0])
}

fn sip6() -> Vec<u8> {
    udp(OURS6, SIP_PORTS[0])
}

/// SIP whose IPv4 header has one word of options (four no-operations).
fn with_options() -> Vec<u8> {
    let mut frame = sip();
    let ip_end = 34;
    frame.splice(ip_end..ip_end, [1, 1, 1, 1]);
    frame[VERSION_IHL] = 0x46;
    let total_len = u16::from_be_bytes([frame[TOTAL_LEN], frame[TOTAL_LEN + 1]]) + 4;
    with_u16(frame, TOTAL_LEN, total_len)
}

fn link_fixtures() -> Vec<Fixture> {
    vec![
        ("ARP", with_u16(sip(), ETHERTYPE, 0x0806), PassArp),
        (
            "LLDP",
            with_u16(sip(), ETHERTYPE, 0x88cc),
            PassOtherEthertype,
        ),
        (
            "802.3 length",
            with_u16(sip(), ETHERTYPE, 46),
            PassOtherEthertype,
        ),
        ("an empty frame", cut(sip(), 0), PassTruncated),
        ("13 bytes", cut(sip(), 13), PassTruncated),
        ("an Ethernet header alone", cut(sip(), 14), PassTruncated),
        ("19 bytes of IPv4", cut(sip(), 33), PassTruncated),
        (
            "broadcast MAC, our address",
            {
                let mut frame = sip();
                frame[..6].fill(0xff);
                frame
            },
            RedirectSip,
        ),
    ]
}

fn ipv4_fixtures() -> Vec<Fixture> {
    let total_len = 20 + 8 + 32;
    vec![
        (
            "version 6 in 0x0800",
            with_u8(sip(), VERSION_IHL, 0x65),
            PassMalformed,
        ),
        ("ihl 4", with_u8(sip(), VERSION_IHL, 0x44), PassMalformed),
        ("ihl 0", with_u8(sip(), VERSION_IHL, 0x40), PassMalformed),
        ("ihl 6", with_options(), PassIpOptions),
        (
            "ihl 15 beyond the total length",
            with_u16(with_u8(sip(), VERSION_IHL, 0x4f), TOTAL_LEN, 59),
            PassMalformed,
        ),
        (
            "ihl 15 within the total length",
            with_u8(sip(), VERSION_IHL, 0x4f),
            PassIpOptions,
        ),
        (
            "total length 0",
            with_u16(sip(), TOTAL_LEN, 0),
            PassMalformed,
        ),
        (
            "total length 19",
            with_u16(sip(), TOTAL_LEN, 19),
            PassMalformed,
        ),
        (
            "total length one beyond the frame",
            with_u16(sip(), TOTAL_LEN, total_len + 1),
            PassMalformed,
        ),
        (
            "total length 65535",
            with_u16(sip(), TOTAL_LEN, 65535),
            PassMalformed,
        ),
        ("one byte cut off", cut(sip(), 73), PassMalformed),
        ("padding after the datagram", padded(sip(), 18), RedirectSip),
        ("another host", udp(STRANGER, 5060), PassOtherAddress),
        (
            "an address one beyond ours",
            udp([192, 0, 2, 3].into(), 5060),
            PassOtherAddress,
        ),
        ("broadcast", udp([255; 4].into(), 5060), PassOtherAddress),
        (
            "multicast",
            udp([224, 0, 1, 75].into(), 5060),
            PassOtherAddress,
        ),
        ("TCP to another host", tcp(STRANGER), PassOtherAddress),
        (
            "first fragment",
            with_u16(sip(), FRAGMENT, 0x2000),
            PassFragment,
        ),
        (
            "last fragment",
            with_u16(sip(), FRAGMENT, 0x0001),
            PassFragment,
        ),
        (
            "largest offset",
            with_u16(sip(), FRAGMENT, 0x1fff),
            PassFragment,
        ),
        (
            "don't fragment",
            with_u16(sip(), FRAGMENT, 0x4000),
            RedirectSip,
        ),
        (
            "reserved bit",
            with_u16(sip(), FRAGMENT, 0x8000),
            RedirectSip,
        ),
        ("ICMP", ping(OURS), PassIcmp),
        ("TCP on the SIP port", tcp(OURS), PassTcp),
        (
            "ICMPv6 over IPv4",
            with_u8(sip(), PROTOCOL, 58),
            PassOtherProtocol,
        ),
        ("SCTP", with_u8(sip(), PROTOCOL, 132), PassOtherProtocol),
    ]
}

/// SIP over IPv6 with one extension header of 8 bytes before UDP.
fn with_extension(kind: u8) -> Vec<u8> {
    let mut frame = sip6();
    let ip_end = 54;
    frame.splice(ip_end..ip_end, [17, 0, 0, 0, 0, 0, 0, 0]);
    with_u8(with_u16(frame, PAYLOAD_LEN, 8 + 40), NEXT_HEADER, kind)
}

fn ipv6_fixtures() -> Vec<Fixture> {
    let payload_len = 8 + 32;
    vec![
        ("39 bytes of IPv6", cut(sip6(), 53), PassTruncated),
        (
            "version 4 in 0x86dd",
            with_u8(sip6(), VERSION6, 0x45),
            PassMalformed,
        ),
        (
            "a traffic class and a flow label",
            with_u16(sip6(), VERSION6, 0x6fff),
            RedirectSip,
        ),
        (
            "payload length 0, a jumbogram",
            with_u16(sip6(), PAYLOAD_LEN, 0),
            PassMalformed,
        ),
        (
            "payload length one beyond the frame",
            with_u16(sip6(), PAYLOAD_LEN, payload_len + 1),
            PassMalformed,
        ),
        (
            "payload length 65535",
            with_u16(sip6(), PAYLOAD_LEN, 65535),
            PassMalformed,
        ),
        ("one byte of IPv6 cut off", cut(sip6(), 93), PassMalformed),
        ("IPv6 and padding", padded(sip6(), 6), RedirectSip),
        ("another IPv6 host", udp(STRANGER6, 5060), PassOtherAddress),
        (
            "an address one beyond ours",
            udp([0x2001, 0xdb8, 0, 0, 0, 0, 0, 3].into(), 5060),
            PassOtherAddress,
        ),
        (
            "our IPv4 address, mapped",
            udp([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201].into(), 5060),
            PassOtherAddress,
        ),
        (
            "a neighbour solicitation, to the solicited-node address",
            ping([0xff02, 0, 0, 0, 0, 1, 0xff00, 1].into()),
            PassOtherAddress,
        ),
        ("hop-by-hop options", with_extension(0), PassIpv6Extension),
        ("a routing header", with_extension(43), PassIpv6Extension),
        ("destination options", with_extension(60), PassIpv6Extension),
        ("a fragment header", with_extension(44), PassFragment),
        (
            "an authentication header",
            with_extension(51),
            PassOtherProtocol,
        ),
        ("no next header", with_extension(59), PassOtherProtocol),
        (
            "ICMPv4 over IPv6",
            with_u8(sip6(), NEXT_HEADER, 1),
            PassOtherProtocol,
        ),
        ("ICMPv6, unicast", ping(OURS6), PassIcmp),
        ("TCP over IPv6", tcp(OURS6), PassTcp),
        (
            "payload length 7",
            with_u16(sip6(), PAYLOAD_LEN, 7),
            PassTruncated,
        ),
        (
            "UDP over IPv6, length 7",
            with_u16(sip6(), UDP_LEN6, 7),
            PassMalformed,
        ),
        (
            "UDP over IPv6, length 0",
            with_u16(sip6(), UDP_LEN6, 0),
            PassMalformed,
        ),
        (
            "UDP over IPv6, one beyond the payload",
            padded(with_u16(sip6(), UDP_LEN6, payload_len + 1), 18),
            PassMalformed,
        ),
        (
            "UDP over IPv6 without a checksum, which the worker sees",
            with_u16(sip6(), 60, 0),
            RedirectSip,
        ),
        ("port 0 over IPv6", udp(OURS6, 0), PassOtherPort),
        ("SIP over IPv6", sip6(), RedirectSip),
        ("second SIP port over IPv6", udp(OURS6, 5080), RedirectSip),
        ("media over IPv6", udp(OURS6, MEDIA_MIN), RedirectMedia),
        ("beyond media over IPv6", udp(OURS6, 20000), PassOtherPort),
    ]
}

fn udp_fixtures() -> Vec<Fixture> {
    let udp_len = 8 + 32;
    vec![
        (
            "total length leaves 7 bytes of UDP",
            with_u16(sip(), TOTAL_LEN, 27),
            PassTruncated,
        ),
        ("UDP length 7", with_u16(sip(), UDP_LEN, 7), PassMalformed),
        ("UDP length 0", with_u16(sip(), UDP_LEN, 0), PassMalformed),
        (
            "UDP length one beyond the datagram",
            with_u16(sip(), UDP_LEN, udp_len + 1),
            PassMalformed,
        ),
        (
            "UDP length into the padding",
            padded(with_u16(sip(), UDP_LEN, udp_len + 1), 18),
            PassMalformed,
        ),
        (
            "UDP length short of the datagram",
            with_u16(sip(), UDP_LEN, udp_len - 1),
            RedirectSip,
        ),
        ("UDP length 8", with_u16(sip(), UDP_LEN, 8), RedirectSip),
        ("port 0", udp(OURS, 0), PassOtherPort),
        ("first SIP port", udp(OURS, 5060), RedirectSip),
        ("second SIP port", udp(OURS, 5080), RedirectSip),
        ("below the SIP port", udp(OURS, 5059), PassOtherPort),
        ("above the SIP port", udp(OURS, 5061), PassOtherPort),
        (
            "SIP port in the wrong order",
            udp(OURS, 5060_u16.swap_bytes()),
            PassOtherPort,
        ),
        (
            "below the media range",
            udp(OURS, MEDIA_MIN - 1),
            PassOtherPort,
        ),
        ("first media port", udp(OURS, MEDIA_MIN), RedirectMedia),
        ("RTCP beside it", udp(OURS, MEDIA_MIN + 1), RedirectMedia),
        ("last media port", udp(OURS, MEDIA_MAX), RedirectMedia),
        (
            "above the media range",
            udp(OURS, MEDIA_MAX + 1),
            PassOtherPort,
        ),
        ("port 65535", udp(OURS, 65535), PassOtherPort),
    ]
}

/// A frame with tags that are no stack of ours, or at the edge of one.
fn vlan_fixtures() -> Vec<Fixture> {
    let in_stack = |stack, frame| tagged(&tags(stack), frame);
    let other_outer = VlanStack::Double {
        tag: OuterTag::Dot1Ad,
        outer: 8,
        inner: 4094,
    };
    let single_outer = [0x88a8, 7];
    vec![
        ("one tag", in_stack(ONE_TAG, udp(OURS, 5070)), RedirectSip),
        (
            "one tag, IPv6",
            in_stack(ONE_TAG, udp(OURS6, 5071)),
            RedirectSip,
        ),
        (
            "one tag, media",
            in_stack(ONE_TAG, udp(OURS, 30009)),
            RedirectMedia,
        ),
        ("two tags", in_stack(TWO_TAGS, udp(OURS, 5090)), RedirectSip),
        (
            "two tags, IPv6",
            in_stack(TWO_TAGS, udp(OURS6, 5091)),
            RedirectSip,
        ),
        (
            "two tags, media",
            in_stack(TWO_TAGS, udp(OURS6, 10009)),
            RedirectMedia,
        ),
        (
            "a port of ours, but only without a tag",
            in_stack(ONE_TAG, udp(OURS, 5080)),
            PassOtherPort,
        ),
        (
            "a port of ours, but only in a tag",
            udp(OURS, 5070),
            PassOtherPort,
        ),
        (
            "an address of ours, but only without a tag",
            in_stack(TWO_TAGS, udp(FULL, 1)),
            PassOtherAddress,
        ),
        (
            "priority and DEI",
            tagged(&[[0x8100, 0xf007]], udp(OURS, 5070)),
            RedirectSip,
        ),
        (
            "a priority tag",
            tagged(&[[0x8100, 0xe000]], sip()),
            PassVlan,
        ),
        (
            "a priority tag within ours",
            tagged(&[[0x8100, 7], [0x8100, 0xe000]], sip()),
            PassVlan,
        ),
        ("another VID", tagged(&[[0x8100, 8]], sip()), PassVlan),
        (
            "the inner VID alone",
            tagged(&[[0x8100, 4094]], sip()),
            PassVlan,
        ),
        (
            "one tag, but 802.1ad",
            tagged(&[single_outer], sip()),
            PassVlan,
        ),
        (
            "two tags, but the outer one 802.1Q",
            in_stack(TWO_TAGS_8021Q, sip()),
            PassVlan,
        ),
        (
            "two tags, both 802.1ad",
            tagged(&[single_outer, [0x88a8, 4094]], sip()),
            PassVlan,
        ),
        (
            "two tags, another outer",
            in_stack(other_outer, sip()),
            PassVlan,
        ),
        (
            "two tags, in the wrong order",
            tagged(&[[0x88a8, 4094], [0x8100, 7]], sip()),
            PassVlan,
        ),
        (
            "three tags",
            tagged(&[single_outer, [0x8100, 4094], [0x8100, 7]], sip()),
            PassVlan,
        ),
        (
            "ARP in our VLAN",
            in_stack(ONE_TAG, with_u16(sip(), ETHERTYPE, 0x0806)),
            PassArp,
        ),
        (
            "ARP in two tags",
            in_stack(TWO_TAGS, with_u16(sip(), ETHERTYPE, 0x0806)),
            PassArp,
        ),
        (
            "ARP in another VLAN",
            tagged(&[[0x8100, 8]], with_u16(sip(), ETHERTYPE, 0x0806)),
            PassVlan,
        ),
        (
            "LLDP in our VLAN",
            in_stack(ONE_TAG, with_u16(sip(), ETHERTYPE, 0x88cc)),
            PassOtherEthertype,
        ),
        (
            "a tag cut off",
            cut(in_stack(ONE_TAG, sip()), 17),
            PassTruncated,
        ),
        (
            "the second tag cut off",
            cut(in_stack(TWO_TAGS, sip()), 21),
            PassTruncated,
        ),
        (
            "nothing but tags",
            cut(in_stack(TWO_TAGS, sip()), 22),
            PassTruncated,
        ),
        (
            "a ping in our VLAN",
            in_stack(ONE_TAG, ping(OURS6)),
            PassIcmp,
        ),
        (
            "total length into a tag's place",
            in_stack(ONE_TAG, with_u16(sip(), TOTAL_LEN, 61)),
            PassMalformed,
        ),
    ]
}
