//! A loaded program that knows our addresses, and frames to show it.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use etherparse::PacketBuilder;
use etherparse::PacketBuilderStep;
use trunkline_bpf::OuterTag;
use trunkline_bpf::Program;
use trunkline_bpf::Verdict;
use trunkline_bpf::Verdicts;
use trunkline_bpf::VlanStack;

pub const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub const OURS6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// Ours too, and in use to their last slot.
pub const FULL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
pub const FULL6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
pub const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
pub const STRANGER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 9, 9, 9, 9, 9));

pub const SIP_PORTS: [u16; 2] = [5060, 5080];
pub const MEDIA_MIN: u16 = 10000;
pub const MEDIA_MAX: u16 = 19999;
pub const FULL_SIP_PORTS: [u16; 8] = [1, 2, 3, 4, 5, 6, 7, 65535];
pub const FULL_MEDIA_PORTS: [(u16, u16); 4] =
    [(1000, 1001), (2000, 2000), (3000, 3999), (60000, 65534)];

pub const ONE_TAG: VlanStack = VlanStack::Single(7);
pub const TWO_TAGS: VlanStack = VlanStack::Double {
    tag: OuterTag::Dot1Ad,
    outer: 7,
    inner: 4094,
};
pub const TWO_TAGS_8021Q: VlanStack = VlanStack::Double {
    tag: OuterTag::Dot1Q,
    outer: 7,
    inner: 4094,
};

/// What is ours at one address under one stack of tags: SIP ports and media ranges.
pub struct Place {
    pub stack: VlanStack,
    pub address: IpAddr,
    pub sip_ports: &'static [u16],
    pub media_ports: &'static [(u16, u16)],
}

const fn place(
    stack: VlanStack,
    address: IpAddr,
    sip_ports: &'static [u16],
    media_ports: &'static [(u16, u16)],
) -> Place {
    Place {
        stack,
        address,
        sip_ports,
        media_ports,
    }
}

/// All that the program is told. The same addresses have other ports under other tags.
pub const PLACES: [Place; 8] = [
    place(
        VlanStack::Untagged,
        OURS,
        &SIP_PORTS,
        &[(MEDIA_MIN, MEDIA_MAX)],
    ),
    place(
        VlanStack::Untagged,
        OURS6,
        &SIP_PORTS,
        &[(MEDIA_MIN, MEDIA_MAX)],
    ),
    place(
        VlanStack::Untagged,
        FULL,
        &FULL_SIP_PORTS,
        &FULL_MEDIA_PORTS,
    ),
    place(
        VlanStack::Untagged,
        FULL6,
        &FULL_SIP_PORTS,
        &FULL_MEDIA_PORTS,
    ),
    place(ONE_TAG, OURS, &[5060, 5070], &[(30000, 30009)]),
    place(ONE_TAG, OURS6, &[5060, 5071], &[(MEDIA_MIN, 30019)]),
    place(TWO_TAGS, OURS, &[5060, 5090], &[(MEDIA_MIN, MEDIA_MIN)]),
    place(TWO_TAGS, OURS6, &[5060, 5091], &[(MEDIA_MIN, 10009)]),
];

/// A program that was told of [`PLACES`] and, if wanted, has a socket on queue 0.
pub struct Loaded {
    pub program: Program,
    _socket: Option<OwnedFd>,
}

impl Loaded {
    pub fn new(with_worker: bool) -> Loaded {
        let program = super::load(1);
        for place in &PLACES {
            let media: Vec<_> = place
                .media_ports
                .iter()
                .map(|&(min, max)| min..=max)
                .collect();
            program
                .set_address(place.stack, place.address, place.sip_ports, &media)
                .expect("sets");
        }
        let socket = with_worker.then(super::xdp_socket);
        if let Some(socket) = &socket {
            program.insert_socket(0, socket.as_fd()).expect("inserts");
        }
        Loaded {
            program,
            _socket: socket,
        }
    }

    pub fn verdicts(&self) -> Verdicts {
        self.program.verdicts().expect("counters")
    }

    /// The one verdict that a frame was counted under. Checks that it is one, that all packets are
    /// counted, and that what the program returned is the verdict's action.
    pub fn judge(&self, frame: &[u8]) -> Verdict {
        let before = self.verdicts();
        let action = super::run(&self.program, frame);
        let after = self.verdicts();
        assert!(after.balanced(), "{after:?}");
        assert_eq!(after.seen(), before.seen() + 1);
        let counted: Vec<Verdict> = after
            .iter()
            .filter(|&(verdict, count)| count != before.get(verdict))
            .map(|(verdict, _)| verdict)
            .collect();
        assert_eq!(counted.len(), 1, "{counted:?}");
        assert_eq!(counted[0].action(), action, "{}", counted[0]);
        counted[0]
    }
}

/// An untagged packet from a stranger of the same family.
fn to(destination: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    match (destination, STRANGER, STRANGER6) {
        (IpAddr::V4(ours), IpAddr::V4(stranger), _) => {
            ethernet.ipv4(stranger.octets(), ours.octets(), 64)
        }
        (IpAddr::V6(ours), _, IpAddr::V6(stranger)) => {
            ethernet.ipv6(stranger.octets(), ours.octets(), 64)
        }
        _ => unreachable!("the strangers have these families"),
    }
}

/// 32 bytes of payload over UDP, without tags.
pub fn udp(destination: IpAddr, port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    to(destination)
        .udp(4000, port)
        .write(&mut frame, &[0x80; 32])
        .expect("a frame");
    frame
}

pub fn tcp(destination: IpAddr) -> Vec<u8> {
    let mut frame = Vec::new();
    to(destination)
        .tcp(4000, SIP_PORTS[0], 1, 1024)
        .write(&mut frame, &[])
        .expect("a frame");
    frame
}

pub fn ping(destination: IpAddr) -> Vec<u8> {
    let mut frame = Vec::new();
    let step = to(destination);
    match destination {
        IpAddr::V4(_) => step
            .icmpv4_echo_request(1, 1)
            .write(&mut frame, &[0; 16])
            .expect("a frame"),
        IpAddr::V6(_) => step
            .icmpv6_echo_request(1, 1)
            .write(&mut frame, &[0; 16])
            .expect("a frame"),
    }
    frame
}

/// The tags of a stack as EtherType and tag control information.
pub fn tags(stack: VlanStack) -> Vec<[u16; 2]> {
    match stack {
        VlanStack::Untagged => Vec::new(),
        VlanStack::Single(vid) => vec![[0x8100, vid]],
        VlanStack::Double { tag, outer, inner } => {
            let ethertype = match tag {
                OuterTag::Dot1Ad => 0x88a8,
                OuterTag::Dot1Q => 0x8100,
            };
            vec![[ethertype, outer], [0x8100, inner]]
        }
    }
}

/// Puts tags, the outer one first, into an untagged frame.
pub fn tagged(tags: &[[u16; 2]], mut frame: Vec<u8>) -> Vec<u8> {
    let bytes = tags.as_flattened().iter().flat_map(|n| n.to_be_bytes());
    frame.splice(12..12, bytes);
    frame
}

pub fn with_u16(mut frame: Vec<u8>, offset: usize, value: u16) -> Vec<u8> {
    frame[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
    frame
}

pub fn with_u8(mut frame: Vec<u8>, offset: usize, value: u8) -> Vec<u8> {
    frame[offset] = value;
    frame
}

pub fn cut(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.truncate(len);
    frame
}

pub fn padded(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.resize(frame.len() + len, 0);
    frame
}
