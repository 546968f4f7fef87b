//! The frame path: bytes become frames at a whole worker with one open call.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::counters::Counter;
use crate::ids::DeviceIndex;
use crate::ids::WorkerId;
use crate::lab;
use crate::lab::Lab;
use crate::lab::Side;
use crate::mailbox::Mail;
use crate::post;
use crate::ring::Fake;
use crate::ring::FakeConfig;
use crate::ring::RingLens;
use crate::ring::Rings as _;
use crate::settings::Capacity;
use crate::settings::Settings;
use crate::sip::registrar::Letter;
use crate::sip::registrar::Record;
use crate::sys::wake::Wake;
use crate::tick::Tick;
use crate::wire;
use crate::wire::VlanStack;
use crate::wire::vlan::TPID_8021AD;
use crate::worker::Worker;

/// The labs that each input is tried in.
const LABS: [Lab; 2] = [
    Lab::PLAIN,
    Lab {
        sides: [
            Side {
                ipv6: true,
                vlan: VlanStack::NONE,
            },
            Side {
                ipv6: false,
                vlan: VlanStack::two(TPID_8021AD, 200, 100),
            },
        ],
        shared: true,
    },
];

/// What must hold whatever arrives: `bytes` is a row of records, each a byte that says what
/// it is, two bytes of length, and so many bytes.
///
/// ```text
/// 0, 1  a frame as it is, on interface 0 or 1
/// 2, 3  a SIP datagram of the caller, of the callee
/// 4, 5  a media packet of the caller, of the callee, to the relay port of the open call
/// 6, 7  the same to its RTCP port
/// other time passes: the length in tens of milliseconds; no bytes follow
/// ```
///
/// # Panics
/// If a frame is lost, a sum does not hold, or a frame that left is not sound.
pub fn frame(bytes: &[u8]) {
    for lab in LABS {
        let Some(mut bench) = Bench::with_an_open_call(lab) else {
            panic!("the bench cannot be made");
        };
        let mut rest = bytes;
        while let Some((&[kind, high, low], after)) = rest.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes([high, low]));
            let (own, others) = after.split_at(len.min(after.len()));
            rest = if kind < 8 { others } else { after };
            bench.take(kind, own, len);
        }
        bench.audited();
    }
}

/// A worker, and the relay ports of its call.
pub(super) struct Bench {
    lab: Lab,
    worker: Worker<Fake>,
    post: post::ControlPost,
    pub(super) now: Tick,
    relays: [SocketAddr; 2],
}

impl Bench {
    /// A worker of one, and nothing has arrived yet.
    pub(super) fn of(lab: Lab, settings: &Settings) -> Option<Bench> {
        let control = Arc::new(Wake::new().ok()?);
        let (mut posts, mut ends) = post::connect(1, settings.trunks.len(), &control).ok()?;
        let lens = RingLens {
            rx: 4,
            fill: 8,
            tx: 4,
        };
        let rings = Fake::new(FakeConfig {
            lens,
            ..FakeConfig::default()
        })
        .ok()?;
        let network = Box::new(lab.network(1, 1500, &lab.everybody()));
        let worker = Worker::new(WorkerId(0), settings, rings, network, posts.pop()?).ok()?;
        let relays =
            [0, 1].map(|side| SocketAddr::new(lab.listen(side).ip(), lab::MEDIA_PORTS[side].0));
        Some(Bench {
            lab,
            worker,
            post: ends.pop()?,
            now: Tick::ms(1_000),
            relays,
        })
    }

    fn with_an_open_call(lab: Lab) -> Option<Bench> {
        let mut settings = lab.settings(1);
        settings.capacity = Capacity {
            transactions: 6,
            calls: 2,
            kept: crate::frame::KeptConfig::new(6, 1),
            ..Capacity::SMALL
        };
        for (range, (first, _)) in settings.media.iter_mut().zip(lab::MEDIA_PORTS) {
            range.ports = first..=first + 7;
        }
        let mut bench = Bench::of(lab, &settings)?;
        bench.open_call()?;
        Some(bench)
    }

    /// An INVITE that is answered. The first port of each range is the call's.
    fn open_call(&mut self) -> Option<()> {
        let sent = self.sip(0, invite(&self.lab).as_bytes());
        let forwarded = sent.iter().find(|text| text.starts_with("INVITE "))?;
        let answer = answer(&self.lab, forwarded)?;
        let back = self.sip(1, answer.as_bytes());
        let port = self.relays[0].port();
        back.iter()
            .any(|text| text.contains(&format!("m=audio {port} ")))
            .then_some(())
    }

    /// Takes one record.
    fn take(&mut self, kind: u8, bytes: &[u8], len: usize) {
        match kind {
            0 | 1 => {
                self.inject(DeviceIndex(kind), bytes);
            }
            2 | 3 => {
                self.sip(usize::from(kind - 2), bytes);
            }
            4..=7 => {
                let side = usize::from(kind & 1);
                let source = media_of(&self.lab, side);
                let rtcp = u16::from(kind >= 6);
                let up = |a: SocketAddr| SocketAddr::new(a.ip(), a.port() + rtcp);
                self.datagram(side, up(source), up(self.relays[side]), bytes);
            }
            _ => {
                self.pass_ms(10 * len as u64);
            }
        }
    }

    pub(super) fn sip(&mut self, side: usize, bytes: &[u8]) -> Vec<String> {
        self.datagram(side, self.lab.peer(side), self.lab.listen(side), bytes)
    }

    /// Control says something; what leaves because of it.
    pub(super) fn mail(&mut self, mail: Mail) -> Vec<String> {
        assert!(self.post.mail.post(mail).is_ok());
        self.turn()
    }

    /// The location store has a binding, or the removal of one.
    pub(super) fn mail_binding(&mut self, mail: fn(Letter) -> Mail, record: &Record<'_>) {
        assert!(self.post.mail.post_binding(mail, record));
        self.turn();
    }

    pub(super) fn pass_ms(&mut self, ms: u64) -> Vec<String> {
        self.now = self.now.plus_ms(ms);
        self.turn()
    }

    /// The tables of the worker must agree with each other.
    pub(super) fn audited(&self) {
        let audit = self.worker.audit();
        assert!(audit.is_ok(), "{audit:?}");
    }

    pub(super) fn count(&mut self, counter: Counter) -> u64 {
        self.worker.counters().get(counter)
    }

    /// A datagram in a sound frame; what leaves because of it.
    fn datagram(
        &mut self,
        side: usize,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Vec<String> {
        let vlan = self.lab.sides[side].vlan;
        let mut frame = vec![0; wire::headers_len(&vlan, to.ip())];
        frame.extend_from_slice(bytes);
        let ethernet = wire::Ethernet::default();
        if wire::write_headers(&mut frame, &ethernet, &vlan, from, to, bytes.len()).is_none() {
            return Vec::new();
        }
        wire::fill_udp_checksum(&mut frame);
        self.inject(self.lab.device(side), &frame)
    }

    fn inject(&mut self, device: DeviceIndex, frame: &[u8]) -> Vec<String> {
        self.worker.rings_mut().inject(device, frame);
        self.turn()
    }

    /// Turns until there is nothing to do, and checks all that must hold.
    fn turn(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        let mut turns = 0;
        while self.worker.turn(self.now) {
            turns += 1;
            assert!(turns < 1_000, "the worker runs in circles");
            self.take_sent(&mut left);
        }
        self.take_sent(&mut left);
        let ledger = self.worker.rings_mut().ledger();
        assert!(ledger.balanced() && ledger.held == 0, "{ledger}");
        assert_eq!(self.worker.counters().unbalanced(), None);
        left
    }

    fn take_sent(&mut self, left: &mut Vec<String>) {
        self.worker.rings_mut().take_sent(&mut |_, bytes| {
            let Ok(datagram) = wire::parse(bytes) else {
                panic!("a frame left that does not parse");
            };
            // What came as damaged media leaves as that; what we made is right.
            if datagram.src().port() == 5060 {
                assert!(wire::udp_checksum_ok(bytes, &datagram));
            }
            left.push(String::from_utf8_lossy(datagram.payload(bytes)).into_owned());
        });
    }
}

/// Where the party on a side takes its media.
fn media_of(lab: &Lab, side: usize) -> SocketAddr {
    SocketAddr::new(lab.host(side, 2), [6000, 7000][side])
}

fn sdp(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"
    )
}

fn invite(lab: &Lab) -> String {
    let body = sdp(media_of(lab, 0));
    let [us, caller] = [1, 2].map(|last| host_text(lab.host(0, last)));
    format!(
        "INVITE sip:100@{us} SIP/2.0\r\nVia: SIP/2.0/UDP {caller};rport;branch=z9hG4bKopen\r\n\
         Max-Forwards: 70\r\nFrom: <sip:1@{caller}>;tag=caller\r\nTo: <sip:100@{us}>\r\n\
         Call-ID: open\r\nCSeq: 1 INVITE\r\nContact: <sip:1@{caller}>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn host_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// The callee's 200 to the INVITE that it got.
fn answer(lab: &Lab, invite: &str) -> Option<String> {
    let mut text = "SIP/2.0 200 OK\r\n".to_owned();
    for line in invite.split("\r\n\r\n").next()?.split("\r\n").skip(1) {
        match line.split(':').next()? {
            "To" => text.push_str(&format!("{line};tag=callee\r\n")),
            "Via" | "From" | "Call-ID" | "CSeq" | "Record-Route" => {
                text.push_str(&format!("{line}\r\n"));
            }
            _ => {}
        }
    }
    let body = sdp(media_of(lab, 1));
    let callee = host_text(lab.host(1, 2));
    Some(format!(
        "{text}Contact: <sip:100@{callee}>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_call_takes_media_and_a_bye() {
        let mut rtp = vec![0x80, 8, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
        rtp.resize(172, 0xd5);
        for lab in LABS {
            let mut bench = Bench::with_an_open_call(lab).unwrap();
            let relay = bench.relays[0];
            assert_eq!(bench.datagram(0, media_of(&lab, 0), relay, &rtp).len(), 1);
        }
    }
}
