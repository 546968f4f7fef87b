//! The desk and the operator's socket, with workers that the test plays: it reads
//! their mailboxes and writes their reports, over the real ones.

mod answers;
mod bans;
mod calls;
mod dossier;
mod health;
mod inputs;
mod lists;
mod scrapers;
mod subscribers;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::counters::trunks::TrunkCounter;
use trunkline_dataplane::counters::trunks::TrunkCounters;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::QueueId;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::kernel::Share;
use trunkline_dataplane::lab;
use trunkline_dataplane::letters::Told;
use trunkline_dataplane::limits::FLOW_MAILS_RESERVED;
use trunkline_dataplane::limits::MAILBOX_MAILS;
use trunkline_dataplane::mailbox::Ask;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Origin;
use trunkline_dataplane::mailbox::Query;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::media::CallRef;
use trunkline_dataplane::media::FlowKind;
use trunkline_dataplane::media::FlowReport;
use trunkline_dataplane::media::FlowSpec;
use trunkline_dataplane::post;
use trunkline_dataplane::post::WorkerPost;
use trunkline_dataplane::ring::BusyPoll;
use trunkline_dataplane::ring::SocketStatistics;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::sip::CallReport;
use trunkline_dataplane::sip::CallState;
use trunkline_dataplane::sip::LegReport;
use trunkline_dataplane::sip::ShortText;
use trunkline_dataplane::sip::guard::BanReport;
use trunkline_dataplane::sip::guard::Source;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::identity::Kind;
use trunkline_dataplane::sip::registrar::Record;
use trunkline_dataplane::sip::undelivered::Why;
use trunkline_dataplane::sys::clock;
use trunkline_dataplane::sys::wake::Wake;
use trunkline_dataplane::tick::Tick;

use super::Desk;
use super::Facts;
use super::InterfaceFacts;
use super::Kernel;
use super::Mirrored;
use super::Names;
use super::Request;
use super::TrunkFacts;
use super::WorkerFacts;
use super::Workers;
use crate::api::socket::OperatorSocket;
use crate::api::types;
use crate::cli::client;
use crate::cli::client::ClientError;
use crate::config::BusyPollWish;
use crate::kernel::Count;
use crate::kernel::socket::IcmpError;
use crate::metrics::server::MetricsSocket;
use crate::netlink::Hop;
use crate::netlink::LinkFacts;
use crate::netlink::NeighbourFacts;
use crate::netlink::RouteFacts;
use crate::netlink::Tables;

const CALL_ID: &str = "a/b c@10.0.0.1";

/// A desk with two played workers behind a real socket.
struct Stage {
    room: tempfile::TempDir,
    desk: Desk,
    requests_in: mpsc::Sender<Request>,
    requests: mpsc::Receiver<Request>,
    posts: Vec<WorkerPost>,
}

impl Stage {
    fn new() -> Stage {
        let wake = Arc::new(Wake::new().unwrap());
        let (posts, controls) = post::connect(2, 2, &wake).unwrap();
        let interface = InterfaceFacts {
            name: "access".to_owned(),
            device: "eth0".to_owned(),
            ifindex: 7,
            mode: "native".to_owned(),
            frames: "copy".to_owned(),
            frames_because: Some("core queue 0 refuses zero-copy".to_owned()),
            busy_poll: BusyPollWish::On,
            queues: 2,
            ..InterfaceFacts::default()
        };
        let worker = WorkerFacts {
            core: Some(0),
            poll: "adaptive",
            memory: "hugepages".to_owned(),
        };
        let facts = Facts {
            workers: vec![worker.clone(), worker],
            interfaces: vec![interface],
            trunks: ["caller", "callee"].map(trunk).to_vec(),
            ..Facts::default()
        };
        let mirrored = Mirrored {
            tables: Tables::default(),
            links: vec![(true, 1500)],
            addresses: vec![vec!["10.0.0.9".parse().unwrap()]],
            ..Mirrored::default()
        };
        let (solicit, _) = mpsc::channel(1);
        let network = Network::new(1, &[], &[], &[], &[]);
        let desk = Desk::new(
            facts,
            Workers::played(controls, wake),
            Vec::new(),
            mirrored,
            network,
            solicit,
        );
        let (requests_in, requests) = mpsc::channel(64);
        Stage {
            room: tempfile::tempdir().unwrap(),
            desk,
            requests_in,
            requests,
            posts,
        }
    }

    fn socket(&self) -> PathBuf {
        self.room.path().join("control.sock")
    }

    /// Serves while `ask` asks; each worker does what `play` says of its mail.
    async fn run<T>(
        mut self,
        play: impl Fn(u8, &mut WorkerPost, Mail) + Clone + Send + 'static,
        ask: impl AsyncFnOnce(PathBuf, mpsc::Sender<Request>) -> T,
    ) -> T {
        let over = Arc::new(AtomicBool::new(false));
        let players: Vec<_> = (0..)
            .zip(std::mem::take(&mut self.posts))
            .map(|(number, mut post)| {
                let (over, play) = (Arc::clone(&over), play.clone());
                thread::spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let last = post.inboxes.len() - 1;
                        while let Some(mail) = post.inboxes[last].take() {
                            play(number, &mut post, mail);
                        }
                        post.flush();
                        thread::sleep(Duration::from_millis(1));
                    }
                })
            })
            .collect();
        let path = self.socket();
        let operator = OperatorSocket::bind(&path, None).unwrap();
        let asked = {
            let asking = ask(path, self.requests_in.clone());
            let stop = std::future::pending();
            tokio::select! {
                asked = asking => asked,
                _ = self.desk.serve(self.requests, stop) => panic!("the desk left"),
                _ = operator.serve(self.requests_in.clone()) => panic!("the socket closed"),
            }
        };
        over.store(true, Ordering::Relaxed);
        for player in players {
            player.join().unwrap();
        }
        asked
    }
}

fn trunk(name: &str) -> TrunkFacts {
    TrunkFacts {
        name: name.to_owned(),
        sources: vec!["10.0.0.0/24".to_owned()],
        targets: vec!["10.0.0.1:5060".to_owned()],
        listen: "access".to_owned(),
        media: "access".to_owned(),
        calls_of_each: None,
    }
}

fn leg(relay: &str, peer: Option<&str>) -> LegReport {
    LegReport {
        relay: relay.parse().unwrap(),
        peer: peer.map(|peer| peer.parse().unwrap()),
    }
}

fn call() -> CallReport {
    CallReport {
        call_id: ShortText::new(CALL_ID.as_bytes()),
        from: ShortText::new(b"sip:alice@10.0.0.1"),
        to: ShortText::new(b"sip:bob@10.0.0.2\r\n"),
        state: CallState::Established,
        started: Tick(1),
        answered: None,
        worker: WorkerId(1),
        caller: Some(TrunkIndex(0)),
        callee: None,
        legs: [
            Some([
                leg("10.0.0.9:20000", Some("10.0.0.1:4000")),
                leg("10.0.1.9:20000", None),
            ]),
            None,
            None,
            None,
        ],
    }
}

fn flow(packets_in: u64) -> FlowReport {
    FlowReport {
        spec: FlowSpec {
            local: "10.0.0.9:20000".parse().unwrap(),
            kind: FlowKind::Rtp,
            source: Some("10.0.0.1:4000".parse().unwrap()),
            destination: None,
            relay: "10.0.1.9:20000".parse().unwrap(),
            payload_types: 1,
            call: CallRef {
                owner: WorkerId(1),
                slot: 0,
                generation: 0,
            },
        },
        egress: None,
        packets_in,
        octets_in: packets_in * 172,
        packets_out: packets_in - 1,
        octets_out: (packets_in - 1) * 172,
        drops: 1,
    }
}

/// Answers as a worker would: worker 1 owns the call, both have the flow.
#[allow(clippy::needless_pass_by_value, reason = "a player takes its mail")]
fn honest(worker: u8, post: &mut WorkerPost, mail: Mail) {
    let Mail::Query(query) = mail else { return };
    let id = query.id;
    match query.what {
        Ask::Calls if worker == 1 => {
            post.reports
                .send(Report::Call { id, call: call() })
                .unwrap();
        }
        Ask::Flows => {
            let flow = flow(10 + u64::from(worker));
            post.reports.send(Report::Flow { id, flow }).unwrap();
        }
        Ask::Sockets => {
            let mut socket = SocketStatistics {
                device: DeviceIndex(0),
                queue: QueueId(u16::from(worker)),
                busy_poll: [BusyPoll::Active, BusyPoll::NoEffect][usize::from(worker)],
                ..SocketStatistics::default()
            };
            socket.kernel.rx_ring_full = 3;
            post.reports.send(Report::Socket { id, socket }).unwrap();
        }
        Ask::Bans => {
            let ban = BanReport {
                source: Source::of("10.0.0.3".parse().unwrap()),
                until_s: u32::MAX,
                failures: 10,
                dropped: 20 + u32::from(worker),
            };
            post.reports.send(Report::Ban { id, ban }).unwrap();
        }
        Ask::Calls | Ask::Bindings(_) | Ask::Subscriber { .. } | Ask::Denials => {}
    }
    let mut counters = Counters::default();
    counters.add(Counter::Rx, 5);
    counters.add(Counter::RtpForwarded, 4);
    counters.set(Counter::CallsNow, u64::from(worker));
    post.published.publish(&counters);
    post.reports.send(Report::End { id }).unwrap();
}

/// The answer to a request of this method and path, as it came.
async fn raw(path: &std::path::Path, request: &str) -> String {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    let request =
        format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
