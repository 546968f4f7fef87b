//! A bench for whole workers: fake rings, the lab's box, a hand-turned clock, and messages
//! as text. Every frame that leaves is read by etherparse and its sums are verified; after
//! every turn the frames are conserved and both sums hold.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod call;
pub mod carriers;
pub mod phone;
pub mod stored;
pub mod talk;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use etherparse::NetSlice;
use etherparse::PacketBuilder;
use etherparse::SlicedPacket;
use etherparse::TransportSlice;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::InterfaceIndex;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::QueueId;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::mailbox::Origin;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::mailbox::SipMail;
use trunkline_dataplane::post;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::ring::Fake;
use trunkline_dataplane::ring::FakeConfig;
use trunkline_dataplane::ring::Rings as _;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::sip::identity;
use trunkline_dataplane::sys::wake::Wake;
use trunkline_dataplane::tick::Tick;
use trunkline_dataplane::worker::Worker;

pub const CALLER: SocketAddr = lab::PEERS[0];
pub const CALLEE: SocketAddr = lab::PEERS[1];
pub const ACCESS: SocketAddr = lab::LISTENS[0];
pub const CORE: SocketAddr = lab::LISTENS[1];

/// A datagram that left.
#[derive(Clone, Debug)]
pub struct Left {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub payload: Vec<u8>,
    /// The worker that sent it.
    pub worker: usize,
}

impl Left {
    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).unwrap()
    }
}

pub struct Bench {
    pub workers: Vec<Worker<Fake>>,
    pub posts: Vec<ControlPost>,
    pub now: Tick,
    pub left: VecDeque<Left>,
    /// What stands around the box.
    pub lab: Lab,
    hash: [u8; 16],
    turns: usize,
}

/// Turns between two audits, which cost a hundred times more than a turn.
const AUDIT_EVERY: usize = 16;

impl Bench {
    pub fn new(workers: u8) -> Bench {
        Bench::of(&lab::settings(workers))
    }

    /// A bench with these settings, which knows everybody.
    pub fn of(settings: &Settings) -> Bench {
        let network = lab::network(1, 1500, &lab::everybody());
        Bench::with(settings, FakeConfig::default(), &network)
    }

    /// The box after a restart: another boot and branch key, and the cookie key has been rotated.
    pub fn restarted(workers: u8) -> Bench {
        let mut settings = lab::settings(workers);
        settings.boot += 1;
        settings.secrets.branch = [9; 16];
        settings.secrets.cookie = [[7; 16], settings.secrets.cookie[0]];
        let network = lab::network(1, 1500, &lab::everybody());
        Bench::with(&settings, FakeConfig::default(), &network)
    }

    /// A bench in another lab than the plain one.
    pub fn within(lab: Lab, workers: u8) -> Bench {
        let network = lab.network(1, 1500, &lab.everybody());
        let mut bench = Bench::with(&lab.settings(workers), FakeConfig::default(), &network);
        bench.lab = lab;
        bench
    }

    pub fn with(settings: &Settings, config: FakeConfig, network: &Network) -> Bench {
        let control = Arc::new(Wake::new().unwrap());
        let (worker_posts, posts) =
            post::connect(settings.workers, settings.trunks.len(), &control).unwrap();
        let workers = (0..settings.workers)
            .zip(worker_posts)
            .map(|(id, post)| {
                let rings = Fake::new(FakeConfig {
                    queue: QueueId(u16::from(id)),
                    ..config
                })
                .unwrap();
                let network = Box::new(network.clone());
                Worker::new(WorkerId(id), settings, rings, network, post).unwrap()
            })
            .collect();
        let hash = settings.secrets.hash;
        Bench {
            workers,
            posts,
            now: Tick::ms(1_000),
            left: VecDeque::new(),
            lab: Lab::PLAIN,
            hash,
            turns: 0,
        }
    }

    /// The worker that owns a Call-ID.
    pub fn owner(&self, call_id: &str) -> usize {
        let workers = u8::try_from(self.workers.len()).unwrap();
        usize::from(identity::owner(&self.hash, call_id.as_bytes(), workers).0)
    }

    /// A Call-ID that `worker` owns.
    pub fn call_id_of(&self, worker: usize) -> String {
        (0..)
            .map(|n| format!("call-{n}"))
            .find(|call_id| self.owner(call_id) == worker)
            .unwrap()
    }

    /// A datagram arrives at a worker's rings, from the interface of its source.
    pub fn arrives(&mut self, worker: usize, source: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let side = usize::from(side_of(&self.lab, to.ip()).0);
        let device = self.lab.device(side);
        let frame = frame_in(&self.lab, source, to, payload);
        let taken = self.workers[worker].rings_mut().inject(device, &frame);
        assert!(taken, "the fake ring dropped it");
    }

    /// Turns all workers until none finds work, takes what they sent, and checks the sums.
    pub fn turn(&mut self) {
        for _ in 0..1_000 {
            let mut worked = false;
            for worker in 0..self.workers.len() {
                worked |= self.workers[worker].turn(self.now);
                self.take_sent(worker);
                self.check(worker);
            }
            if !worked {
                self.turns += 1;
                if self.turns.is_multiple_of(AUDIT_EVERY) {
                    self.audit();
                }
                return;
            }
        }
        panic!("the workers run in circles");
    }

    /// All tables agree.
    fn audit(&self) {
        for (number, worker) in self.workers.iter().enumerate() {
            if let Err(why) = worker.audit() {
                panic!("worker {number}: {why}");
            }
        }
    }

    fn take_sent(&mut self, worker: usize) {
        let (left, lab) = (&mut self.left, &self.lab);
        self.workers[worker]
            .rings_mut()
            .take_sent(&mut |device, bytes| {
                left.push_back(read(lab, device, bytes, worker));
            });
    }

    fn check(&mut self, worker: usize) {
        let ledger = self.workers[worker].rings_mut().ledger();
        assert!(ledger.balanced(), "{ledger}");
        assert_eq!(self.workers[worker].counters().unbalanced(), None);
    }

    /// A message from the caller, at `worker`; what leaves because of it.
    pub fn caller(&mut self, worker: usize, message: &str) -> Vec<Left> {
        self.say(worker, CALLER, ACCESS, message)
    }

    /// A message from the callee, at `worker`; what leaves because of it.
    pub fn callee(&mut self, worker: usize, message: &str) -> Vec<Left> {
        self.say(worker, CALLEE, CORE, message)
    }

    pub fn say(
        &mut self,
        worker: usize,
        source: SocketAddr,
        to: SocketAddr,
        message: &str,
    ) -> Vec<Left> {
        self.left.clear();
        self.arrives(worker, source, to, message.as_bytes());
        self.turn();
        self.left.drain(..).collect()
    }

    /// Lets time pass, a bucket of the timer wheel at a time; what leaves meanwhile.
    pub fn pass_ms(&mut self, ms: u64) -> Vec<Left> {
        self.left.clear();
        let end = self.now.plus_ms(ms);
        while self.now < end {
            self.now = end.min(self.now.plus_ms(4));
            self.turn();
        }
        self.left.drain(..).collect()
    }

    /// A count over all workers.
    pub fn count(&mut self, counter: Counter) -> u64 {
        self.workers
            .iter_mut()
            .map(|worker| worker.counters().get(counter))
            .sum()
    }

    /// What the workers have reported to control.
    pub fn reports(&mut self) -> Vec<Report> {
        let posts = self.posts.iter_mut();
        posts
            .flat_map(|post| std::iter::from_fn(|| post.reports.pop().ok()))
            .collect()
    }

    /// What the workers have handed to control for the kernel to send, and from which listen.
    pub fn by_kernel(&mut self) -> Vec<Left> {
        let mut room = vec![0; 65_535];
        let mut sent = Vec::new();
        for (worker, post) in self.posts.iter_mut().enumerate() {
            while let Some((send, bytes)) = post.kernel.take(&mut room) {
                sent.push(Left {
                    source: self.lab.listen(usize::from(send.listen.0)),
                    destination: send.to,
                    payload: bytes.to_vec(),
                    worker,
                });
            }
        }
        sent
    }

    /// A datagram that reached the kernel's socket of `listen` is handed to `worker`; what
    /// leaves because of it.
    pub fn by_socket(
        &mut self,
        worker: usize,
        source: SocketAddr,
        listen: u8,
        message: &[u8],
    ) -> Vec<Left> {
        let mail = SipMail {
            source,
            listen: ListenIndex(listen),
            len: 0,
            origin: Origin::Kernel,
        };
        assert!(self.posts[worker].mail.post_sip(mail, message));
        self.left.clear();
        self.turn();
        self.left.drain(..).collect()
    }

    /// Nothing is left of any call: tables empty, frames at rest, ports free.
    pub fn assert_at_rest(&mut self) {
        for gauge in [
            Counter::TransactionsNow,
            Counter::CallsNow,
            Counter::ContextsNow,
            Counter::FlowsNow,
            Counter::KeptNow,
            Counter::TicketsNow,
        ] {
            assert_eq!(self.count(gauge), 0, "{}", gauge.info().name);
        }
        for worker in &mut self.workers {
            worker.turn(self.now);
            assert!(worker.rings_mut().ledger().at_rest());
            assert_eq!(worker.ports_in_use(), 0);
        }
        self.audit();
    }
}

/// The device of the plain lab on whose link an address is.
pub fn device_of(address: IpAddr) -> DeviceIndex {
    Lab::PLAIN.device(side_of(&Lab::PLAIN, address).0.into())
}

fn side_of(lab: &Lab, address: IpAddr) -> InterfaceIndex {
    InterfaceIndex(u8::from(lab.side_of(address) != Some(0)))
}

pub fn frame(source: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    frame_in(&Lab::PLAIN, source, to, payload)
}

/// The frame in which a host of `lab` sends to the box, with the tags of its side.
pub fn frame_in(lab: &Lab, source: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let interface = side_of(lab, to.ip());
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(lab::PEER_MAC, lab::box_mac(interface));
    match (source.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(to)) => builder.ipv4(source.octets(), to.octets(), 64),
        (IpAddr::V6(source), IpAddr::V6(to)) => builder.ipv6(source.octets(), to.octets(), 64),
        _ => panic!("from {source} to {to}"),
    }
    .udp(source.port(), to.port())
    .write(&mut frame, payload)
    .unwrap();
    let tags = tags_of(lab, interface);
    frame.splice(12..12, tags);
    frame
}

fn tags_of(lab: &Lab, interface: InterfaceIndex) -> Vec<u8> {
    let vlan = lab.sides[usize::from(interface.0)].vlan;
    vlan.bytes()[..vlan.len()].to_vec()
}

/// Reads a frame that left by `device`. Whose network its destination is of tells its side.
fn read(lab: &Lab, device: DeviceIndex, bytes: &[u8], worker: usize) -> Left {
    let left = [0, 1]
        .into_iter()
        .filter(|&side| lab.device(usize::from(side)) == device)
        .find_map(|side| read_of(lab, side, bytes, worker));
    left.unwrap_or_else(|| panic!("on no side of device {}: {bytes:02x?}", device.0))
}

fn read_of(lab: &Lab, side: u8, bytes: &[u8], worker: usize) -> Option<Left> {
    let interface = InterfaceIndex(side);
    let stations = [lab::PEER_MAC, lab::box_mac(interface)].concat();
    if bytes[..12] != stations[..] {
        return None;
    }
    let tags = tags_of(lab, interface);
    if bytes[12..12 + tags.len()] != tags[..] {
        return None;
    }
    let untagged = [&bytes[..12], &bytes[12 + tags.len()..]].concat();
    let packet = SlicedPacket::from_ethernet(&untagged).unwrap();
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        panic!("no UDP: {packet:?}")
    };
    let header = udp.to_header();
    let (source, destination, sum): (IpAddr, IpAddr, _) = match &packet.net {
        Some(NetSlice::Ipv4(net)) => {
            let ip = net.header().to_header();
            assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
            assert_eq!(untagged.len(), 14 + usize::from(ip.total_len));
            let sum = header.calc_checksum_ipv4(&ip, udp.payload());
            (ip.source.into(), ip.destination.into(), sum)
        }
        Some(NetSlice::Ipv6(net)) => {
            let ip = net.header().to_header();
            assert_eq!((ip.hop_limit, ip.flow_label.value()), (64, 0));
            assert_eq!(untagged.len(), 54 + usize::from(ip.payload_length));
            let sum = header.calc_checksum_ipv6(&ip, udp.payload());
            (ip.source.into(), ip.destination.into(), sum)
        }
        other => panic!("no IP: {other:?}"),
    };
    assert_eq!(sum.unwrap(), header.checksum);
    Some(Left {
        source: SocketAddr::new(source, header.source_port),
        destination: SocketAddr::new(destination, header.destination_port),
        payload: udp.payload().to_vec(),
        worker,
    })
}

/// The value of the first header line that begins with `name: `.
pub fn header(text: &str, name: &str) -> String {
    let start = format!("{name}: ");
    text.lines()
        .find_map(|line| line.strip_prefix(&start))
        .unwrap_or_default()
        .to_owned()
}

/// The branch of the top Via.
pub fn branch(text: &str) -> String {
    let via = header(text, "Via");
    via.split(";branch=")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned()
}

/// The response of a user agent to `request`, with its To tag and lines of its own.
pub fn answer(request: &str, status: &str, lines: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request
        .split("\r\n\r\n")
        .next()
        .unwrap()
        .split("\r\n")
        .skip(1)
    {
        let name = line.split(':').next().unwrap();
        if name == "To" && !line.contains(";tag=") && !status.starts_with("100") {
            text.push_str(&format!("{line};tag=callee\r\n"));
        } else if ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"].contains(&name) {
            text.push_str(&format!("{line}\r\n"));
        }
    }
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{text}{lines}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A session description of one G.711 stream.
pub fn sdp(address: SocketAddr) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n",
        ip = address.ip(),
        port = address.port()
    )
}

/// The INVITE of a new call, with branch `b1`.
pub fn invite(call_id: &str, body: &str) -> String {
    request("INVITE", call_id, "1", "b1", "", body)
}

/// A request of the caller outside a dialog, or inside where `more` says so by a To line.
pub fn request(
    method: &str,
    call_id: &str,
    cseq: &str,
    branch: &str,
    more: &str,
    body: &str,
) -> String {
    let to = if more.contains("To: ") {
        ""
    } else {
        "To: <sip:100@10.77.1.1>\r\n"
    };
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:100@10.77.1.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.77.1.2;rport;branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:caller@10.77.1.2>;tag=caller\r\n\
         {to}{more}Call-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\n\
         Contact: <sip:caller@10.77.1.2>\r\n\
         {kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// `message` with a body of SDP.
pub fn with_sdp(message: &str, body: &str) -> String {
    let head = message.replacen("Content-Length: 0\r\n", "", 1);
    let head = head.strip_suffix("\r\n").unwrap();
    let len = body.len();
    format!("{head}Content-Type: application/sdp\r\nContent-Length: {len}\r\n\r\n{body}")
}

/// `text` with a header line that makes it `len` bytes long.
pub fn padded(text: &str, len: usize) -> String {
    let line = "X-Long: \r\nCSeq:";
    let more = len - text.len() - (line.len() - "CSeq:".len());
    text.replacen(
        "CSeq:",
        &format!("X-Long: {}\r\nCSeq:", "x".repeat(more)),
        1,
    )
}
