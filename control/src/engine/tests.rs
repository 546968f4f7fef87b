//! The desk and the operator's socket, with workers that the test plays: it reads
//! their mailboxes and writes their reports, over the real ones.

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
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::QueueId;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::kernel::Share;
use trunkline_dataplane::lab;
use trunkline_dataplane::limits::FLOW_MAILS_RESERVED;
use trunkline_dataplane::limits::MAILBOX_MAILS;
use trunkline_dataplane::mailbox::Ask;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Origin;
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
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::identity::Kind;
use trunkline_dataplane::sip::undelivered::Why;
use trunkline_dataplane::sys::wake::Wake;
use trunkline_dataplane::tick::Tick;

use super::Desk;
use super::Facts;
use super::InterfaceFacts;
use super::Kernel;
use super::Mirrored;
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
        Ask::Calls => {}
    }
    let mut counters = Counters::default();
    counters.add(Counter::Rx, 5);
    counters.add(Counter::RtpForwarded, 4);
    counters.set(Counter::CallsNow, u64::from(worker));
    post.published.publish(&counters);
    post.reports.send(Report::End { id }).unwrap();
}

#[tokio::test]
async fn a_call_is_found_by_any_call_id_with_its_flows_summed_over_the_workers() {
    let found: types::Call = Stage::new()
        .run(honest, async |path, _| {
            client::get(&path, &format!("/v1/calls/{}", client::encode(CALL_ID)))
                .await
                .unwrap()
        })
        .await;
    assert_eq!((found.id.as_str(), found.worker), (CALL_ID, 1));
    assert_eq!(
        (found.caller.as_deref(), found.callee),
        (Some("caller"), None)
    );
    assert_eq!(
        found.to, "sip:bob@10.0.0.2\u{fffd}\u{fffd}",
        "control characters never reach a terminal"
    );
    let flows = &found.streams[0].caller.flows;
    assert_eq!(
        (
            flows[0].packets_in,
            flows[0].packets_out,
            flows[0].packets_dropped
        ),
        (21, 19, 2)
    );
    assert_eq!(found.streams[0].callee.peer, None);
    assert!(found.streams[0].callee.flows.is_empty());
}

#[tokio::test]
async fn an_unknown_call_is_refused_by_its_id() {
    let refused = Stage::new()
        .run(honest, async |path, _| {
            client::get::<types::Call>(&path, "/v1/calls/nobody%40home").await
        })
        .await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "no call has the Call-ID nobody@home"
    );
}

#[tokio::test]
async fn lists_and_counters_are_told() {
    let (calls, flows, stats, status) = Stage::new()
        .run(honest, async |path, _| {
            let calls: types::Calls = client::get(&path, "/v1/calls").await.unwrap();
            let flows: types::Flows = client::get(&path, "/v1/flows").await.unwrap();
            let stats: types::Stats = client::get(&path, "/v1/stats").await.unwrap();
            let status: types::Status = client::get(&path, "/v1/status").await.unwrap();
            (calls, flows, stats, status)
        })
        .await;
    assert!(calls.complete && flows.complete && stats.complete && status.complete);
    assert!(status.unchecked.is_empty() && status.warnings.is_empty());
    assert_eq!((calls.calls.len(), flows.flows.len()), (1, 1));
    let rx = stats.counters.iter().find(|row| row.name == "rx").unwrap();
    assert_eq!((rx.total, &rx.workers), (10, &vec![5, 5]));
    assert_eq!(stats.sockets.len(), 2);
    assert_eq!(stats.sockets[1].rx_ring_full, 3);
    let sum = stats
        .sums
        .iter()
        .find(|sum| sum.name.starts_with("workers"))
        .unwrap();
    assert_eq!((sum.left, sum.right, sum.difference), (10, 8, 2));
    assert_eq!(status.workers[1].calls, 1);
    assert_eq!(status.interfaces[0].link, "up");
    assert_eq!(status.interfaces[0].busy_poll, "active on 1 of 2 queues");
    assert_eq!(
        status.interfaces[0].frames_because.as_deref(),
        Some("core queue 0 refuses zero-copy")
    );
}

#[tokio::test]
async fn a_worker_that_does_not_answer_makes_the_answer_incomplete_and_no_more() {
    let half = |worker: u8, post: &mut WorkerPost, mail: Mail| {
        if worker == 0 {
            honest(worker, post, mail);
        }
    };
    let (flows, call, status, stats) = Stage::new()
        .run(half, async |path, _| {
            tokio::join!(
                client::get::<types::Flows>(&path, "/v1/flows"),
                client::get::<types::Call>(&path, "/v1/calls/x"),
                client::get::<types::Status>(&path, "/v1/status"),
                client::get::<types::Stats>(&path, "/v1/stats"),
            )
        })
        .await;
    let (flows, status, stats) = (flows.unwrap(), status.unwrap(), stats.unwrap());
    let rings = ["rings: redirect = received + dropped by the kernel".to_owned()];
    assert!(!status.complete && !stats.complete);
    assert_eq!(
        (&status.unchecked[..], &stats.unchecked[..]),
        (&rings[..], &rings[..])
    );
    assert_eq!(status.warnings, ["worker 1 does not answer"]);
    assert!(!flows.complete);
    assert_eq!(flows.flows.len(), 1, "what the other worker said is shown");
    assert!(
        call.unwrap_err()
            .to_string()
            .contains("did not answer in time")
    );
}

#[tokio::test]
async fn the_last_sums_say_what_could_not_be_checked() {
    let stage = Stage::new();
    // No one plays the workers.
    let last = stage.desk.stop().await;
    assert!(!last.complete);
    assert_eq!(last.unchecked.len(), 1);
    let expected = ["worker 0 does not answer", "worker 1 does not answer"];
    assert_eq!(last.missing, expected);
    assert!(last.broken().next().is_none());
}

#[tokio::test]
async fn more_questions_than_a_worker_remembers_are_all_answered() {
    let (statuses, flows) = Stage::new()
        .run(honest, async |path, _| {
            let mut statuses = tokio::task::JoinSet::new();
            // These have to wait for each other's turn.
            let mut flows = tokio::task::JoinSet::new();
            for _ in 0..20 {
                let (one, other) = (path.clone(), path.clone());
                statuses.spawn(async move {
                    let status = client::get::<types::Status>(&one, "/v1/status").await;
                    status.unwrap().complete
                });
                flows.spawn(async move {
                    let flows = client::get::<types::Flows>(&other, "/v1/flows").await;
                    flows.unwrap().complete
                });
            }
            (statuses.join_all().await, flows.join_all().await)
        })
        .await;
    assert_eq!((statuses.len(), flows.len()), (20, 20));
    assert!(statuses.into_iter().chain(flows).all(|complete| complete));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_json() {
    let (path_refused, raw) = Stage::new()
        .run(honest, async |path, _| {
            let refused = client::get::<types::Status>(&path, "/v2/status").await;
            let raw = post_raw(&path).await;
            (refused, raw)
        })
        .await;
    assert!(
        matches!(path_refused, Err(ClientError::Strange(text)) if text.starts_with("no such path"))
    );
    assert!(raw.starts_with("HTTP/1.1 405"), "{raw}");
    assert!(
        raw.ends_with(r#"{"error":"this path does not take that method"}"#),
        "{raw}"
    );
}

#[tokio::test]
async fn a_connection_for_which_there_is_no_room_is_told_so() {
    let (refused, after) = Stage::new()
        .run(honest, async |path, _| {
            let others: Vec<_> = (0..64)
                .map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap())
                .collect();
            let refused = client::get::<types::Version>(&path, "/v1/version").await;
            drop(others);
            // Their places are free again as soon as the daemon has seen them go.
            for _ in 0..1000 {
                let after = client::get::<types::Version>(&path, "/v1/version").await;
                if let Ok(after) = after {
                    return (refused, after);
                }
            }
            panic!("no place has become free");
        })
        .await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "64 connections are open already: close some, or ask again later"
    );
    assert_eq!(after.name, "trunklined");
}

async fn post_raw(path: &std::path::Path) -> String {
    raw(path, "POST /v1/status").await
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

#[tokio::test]
async fn workers_interfaces_frames_and_trunks_are_told() {
    let count_trunks = |worker: u8, post: &mut WorkerPost, mail: Mail| {
        let mut trunks = TrunkCounters::new(2);
        trunks.call_began([Some(TrunkIndex(0)), Some(TrunkIndex(1))]);
        trunks.count(TrunkIndex(0), TrunkCounter::CallsIn);
        post.published_trunks.publish(&mut trunks);
        honest(worker, post, mail);
    };
    let (workers, interfaces, frames, trunks) = Stage::new()
        .run(count_trunks, async |path, _| {
            // The players count when they are asked.
            let _: types::Calls = client::get(&path, "/v1/calls").await.unwrap();
            let workers: types::Workers = client::get(&path, "/v1/workers").await.unwrap();
            let interfaces: types::Interfaces = client::get(&path, "/v1/interfaces").await.unwrap();
            let frames: types::Frames = client::get(&path, "/v1/frames").await.unwrap();
            let trunks: types::Trunks = client::get(&path, "/v1/trunks").await.unwrap();
            (workers, interfaces, frames, trunks)
        })
        .await;
    assert_eq!(workers.workers[1].status.calls, 1);
    assert!(workers.workers[1].turned_s_ago < 5.0);
    let interface = &interfaces.interfaces[0];
    assert_eq!(interface.status.device, "eth0");
    assert_eq!(
        (&interface.addresses[..], interface.xdp),
        (&["10.0.0.9".to_owned()][..], None)
    );
    let worker = &frames.workers[1];
    assert_eq!(
        (worker.came_in.sum, worker.ended.sum, worker.in_difference),
        (5, 4, 1)
    );
    assert_eq!(worker.came_in.by[0].name, "rx");
    assert_eq!(worker.ended.by[0].name, "forwarded");
    let [caller, callee] = &trunks.trunks[..] else {
        panic!("{trunks:?}")
    };
    assert_eq!(
        (caller.count("calls_in"), caller.count("calls_out")),
        (2, 0)
    );
    assert_eq!(
        (callee.count("calls_in"), callee.count("calls_out")),
        (0, 2)
    );
    assert_eq!(caller.listen, "access");
}

/// The answer to a scraper or probe from `source` that asks for `path`; empty where it was
/// closed unheard.
async fn probe(source: &str, address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut answer = String::new();
    // One that is closed unheard may break off either.
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn scrapers_get_every_counter_and_a_hostile_one_keeps_no_other_out() {
    let (metrics, health, calls, shut_out, other, after, stats) = Stage::new()
        .run(honest, async |path, desk| {
            // The players count when they are asked.
            let _: types::Calls = client::get(&path, "/v1/calls").await.unwrap();
            let socket = MetricsSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = socket.address();
            let serving = tokio::spawn(socket.serve(desk));
            let metrics = probe("127.0.0.1", address, "/metrics").await;
            let health = probe("127.0.0.1", address, "/healthz").await;
            let calls = probe("127.0.0.1", address, "/v1/calls").await;
            let mut hostile = Vec::new();
            for _ in 0..1000 {
                hostile.push(tokio::net::TcpStream::connect(address).await.unwrap());
            }
            let shut_out = probe("127.0.0.1", address, "/metrics").await;
            let other = probe("127.0.0.2", address, "/metrics").await;
            // What sends no request is closed, and its place is free again.
            tokio::time::sleep(Duration::from_millis(2500)).await;
            let after = probe("127.0.0.1", address, "/readyz").await;
            let stats: types::Stats = client::get(&path, "/v1/stats").await.unwrap();
            serving.abort();
            (metrics, health, calls, shut_out, other, after, stats)
        })
        .await;
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    for row in crate::metrics::reference::entries() {
        let is_kernels = row.stage == "XDP";
        let name = row.metric.split('{').next().unwrap();
        assert!(
            is_kernels
                || metrics.contains(&format!("\n{name}{{"))
                || metrics.contains(&format!("\n{name} ")),
            "{name}"
        );
    }
    for line in [
        "trunkline_rx_total{worker=\"1\"} 5",
        "trunkline_calls{worker=\"1\"} 1",
        "trunkline_interface_up{interface=\"access\"} 1",
        "trunkline_socket_rx_ring_full_total{interface=\"access\",queue=\"1\",worker=\"1\"} 3",
        "# TYPE trunkline_dropped_total counter",
        "trunkline_trunk_calls{trunk=\"caller\"} 0",
        "trunkline_healthy 1",
    ] {
        assert!(
            metrics.contains(&format!("\n{line}\n")),
            "{line}: {metrics}"
        );
    }
    assert!(health.ends_with("\r\n\r\nok\n"));
    assert!(
        calls.starts_with("HTTP/1.1 404"),
        "no call is told of there"
    );
    assert_eq!(shut_out, "");
    assert!(other.starts_with("HTTP/1.1 200"));
    assert!(after.starts_with("HTTP/1.1 200"), "{after}");
    assert!(
        stats.operator.scrapes_refused >= 900,
        "{:?}",
        stats.operator
    );
}

#[tokio::test]
async fn routes_and_neighbours_are_told_as_the_workers_have_them() {
    let dump = crate::netlink::Dump {
        links: vec![LinkFacts {
            ifindex: 7,
            device: "eth0".to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
            rx_queues_max: 2,
            ..LinkFacts::default()
        }],
        routes: vec![RouteFacts {
            destination: "10.0.0.0".parse().unwrap(),
            prefix_len: 24,
            metric: 5,
            hop: Some(Hop {
                ifindex: 7,
                gateway: None,
            }),
        }],
        neighbours: vec![NeighbourFacts {
            ifindex: 7,
            address: "10.0.0.1".parse().unwrap(),
            mac: Some([4, 0, 0, 0, 0, 1]),
            fixed: false,
        }],
        ..crate::netlink::Dump::default()
    };
    let mirrored = Mirrored {
        tables: Tables::new(&dump, &[7]),
        links: vec![(true, 1500)],
        addresses: Vec::new(),
        ..Mirrored::default()
    };
    let (routes, neighbours, known, unknown, elsewhere, nonsense) = Stage::new()
        .run(honest, async move |path, desk| {
            desk.send(Request::Mirror(mirrored)).await.unwrap();
            let routes: types::Routes = client::get(&path, "/v1/routes").await.unwrap();
            let neighbours: types::Neighbours = client::get(&path, "/v1/neighbours").await.unwrap();
            let way = async |address: &str| {
                client::get::<types::Way>(&path, &format!("/v1/routes/{address}")).await
            };
            let known = way("10.0.0.1").await.unwrap();
            let unknown = way("10.0.0.2").await.unwrap();
            let elsewhere = way("192.0.2.1").await.unwrap();
            let nonsense = way("nowhere").await;
            (routes, neighbours, known, unknown, elsewhere, nonsense)
        })
        .await;
    assert_eq!(routes.snapshot.epoch, 2);
    let route = &routes.routes[0];
    assert_eq!(
        (
            route.destination.as_str(),
            route.interface.as_deref(),
            route.metric
        ),
        ("10.0.0.0/24", Some("access"), 5)
    );
    assert_eq!(neighbours.neighbours[0].mac, "04:00:00:00:00:01");
    assert!(known.reachable);
    assert_eq!(
        (known.mac.as_deref(), known.mtu),
        (Some("04:00:00:00:00:01"), Some(1500))
    );
    assert!(!unknown.reachable);
    assert_eq!(unknown.reason.as_deref(), Some("no_neighbour"));
    assert_eq!(unknown.next_hop.as_deref(), Some("10.0.0.2"));
    assert_eq!(elsewhere.reason.as_deref(), Some("no_route"));
    assert!(nonsense.unwrap_err().to_string().contains("is no address"));
}

#[tokio::test]
async fn a_box_whose_link_is_down_is_alive_and_not_ready() {
    let (before, healthy, ready, health) = Stage::new()
        .run(honest, async |path, desk| {
            let before = raw(&path, "GET /readyz").await;
            let down = Mirrored {
                tables: Tables::default(),
                links: vec![(false, 1500)],
                ..Mirrored::default()
            };
            desk.send(Request::Mirror(down)).await.unwrap();
            let healthy = raw(&path, "GET /healthz").await;
            let ready = raw(&path, "GET /readyz").await;
            let health: types::Health = client::get(&path, "/v1/health").await.unwrap();
            (before, healthy, ready, health)
        })
        .await;
    for good in [before, healthy] {
        assert!(good.starts_with("HTTP/1.1 200") && good.ends_with("\r\n\r\nok\n"));
    }
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(
        ready.ends_with("\r\n\r\nthe link of access (eth0) is down\n"),
        "{ready}"
    );
    assert!(health.healthy && !health.ready);
}

#[tokio::test]
async fn a_box_that_has_lost_a_task_is_alive_and_not_ready() {
    let (health, ready) = Stage::new()
        .run(honest, async |path, desk| {
            for name in ["mirror", "kernel socket", "kernel socket"] {
                desk.send(Request::TaskFailed(name)).await.unwrap();
            }
            let health: types::Health = client::get(&path, "/v1/health").await.unwrap();
            (health, raw(&path, "GET /readyz").await)
        })
        .await;
    assert!(health.healthy && !health.ready);
    let tasks = ["mirror", "kernel socket"];
    assert_eq!(health.reasons.len(), tasks.len(), "{:?}", health.reasons);
    for (reason, task) in health.reasons.iter().zip(tasks) {
        let said = format!("the task \"{task}\" has met a bug and ended");
        assert!(reason.starts_with(&said), "{reason}");
    }
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
}

#[tokio::test]
async fn a_new_network_reaches_every_worker_once_and_the_same_one_does_not() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hear = {
        let told = Arc::clone(&told);
        move |worker: u8, post: &mut WorkerPost, mail: Mail| match mail {
            Mail::Network(network) => {
                told.lock().unwrap().push((worker, network.epoch()));
                post.reports.send(Report::Network(network)).unwrap();
            }
            other => honest(worker, post, other),
        }
    };
    let dump = crate::netlink::Dump {
        addresses: vec!["10.0.0.9".parse().unwrap()],
        ..crate::netlink::Dump::default()
    };
    let mirrored = Mirrored {
        tables: Tables::new(&dump, &[7]),
        links: vec![(false, 1400)],
        ..Mirrored::default()
    };
    let (stats, status) = Stage::new()
        .run(hear, async move |path, desk| {
            desk.send(Request::Mirror(mirrored.clone())).await.unwrap();
            desk.send(Request::Mirror(mirrored)).await.unwrap();
            let stats: types::Stats = client::get(&path, "/v1/stats").await.unwrap();
            let status: types::Status = client::get(&path, "/v1/status").await.unwrap();
            (stats, status)
        })
        .await;
    let mut told = told.lock().unwrap().clone();
    told.sort_unstable();
    assert_eq!(told, [(0, 2), (1, 2)]);
    assert_eq!(stats.operator.networks, 1);
    assert_eq!(
        (status.interfaces[0].link.as_str(), status.interfaces[0].mtu),
        ("down", 1400)
    );
}

#[tokio::test]
async fn a_datagram_of_the_kernels_sockets_is_mailed_whole_to_one_worker() {
    let message = b"OPTIONS sip:x@10.0.0.9 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\n\
        From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: k\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\
        Content-Length: 0\r\n\r\n";
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let hear = {
        let heard = Arc::clone(&heard);
        move |worker: u8, post: &mut WorkerPost, mail: Mail| match mail {
            Mail::Sip(mail) => {
                let mut room = [0; 1000];
                let last = post.inboxes.len() - 1;
                let len = post.inboxes[last].take_bytes(&mail, &mut room);
                assert_eq!(mail.origin, Origin::Kernel);
                heard.lock().unwrap().push(room[..len].to_vec());
            }
            other => honest(worker, post, other),
        }
    };
    let stats: types::Stats = Stage::new()
        .run(hear, async move |path, desk| {
            for bytes in [message.to_vec(), b"no SIP".to_vec()] {
                let source = "10.0.0.1:5060".parse().unwrap();
                let listen = trunkline_dataplane::ids::ListenIndex(0);
                desk.send(Request::Datagram {
                    listen,
                    source,
                    bytes,
                })
                .await
                .unwrap();
            }
            client::get(&path, "/v1/stats").await.unwrap()
        })
        .await;
    assert_eq!(
        [Count::Datagrams, Count::Dropped].map(|count| stats.operator.kernel.get(count)),
        [2, 0]
    );
    let mut heard = heard.lock().unwrap().clone();
    heard.sort();
    assert_eq!(heard, [message.to_vec(), b"no SIP".to_vec()]);
}

#[test]
fn what_finds_a_full_mailbox_or_no_socket_is_counted() {
    let mut stage = Stage::new();
    let settings = lab::settings(2);
    stage.desk.kernel = Kernel::new(Vec::new(), &settings);
    let (listen, source) = (ListenIndex(0), "10.0.0.1:5060".parse().unwrap());
    for _ in 0..MAILBOX_MAILS {
        stage.desk.hand_over(listen, source, b"no SIP");
    }
    let identity = Identity::new(WorkerId(0), settings.boot, &settings.secrets, &[]);
    let id = trunkline_dataplane::sip::Id::new(1, 1);
    let branch = identity.branch(Kind::Stateful, id, 0);
    let branch = std::str::from_utf8(&branch).unwrap();
    let error = IcmpError {
        destination: source,
        why: Some(Why::Unreachable),
        len: 0,
    };
    let via =
        |branch: &str| format!("BYE sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch={branch}\r\nX");
    let quoted = via(branch).into_bytes();
    stage.desk.tell_undelivered(&error, &quoted);
    let forged = via(&branch.replace(|c: char| c.is_ascii_digit(), "a")).into_bytes();
    stage.desk.tell_undelivered(&error, &forged);
    let sent = stage.posts[1].send_by_kernel(source, listen, b"OPTIONS", Share::Whole);
    assert!(sent);
    stage.desk.send_by_kernel();
    let counts = stage.desk.kernel.counts();
    let told = [
        Count::Dropped,
        Count::IcmpDropped,
        Count::IcmpForged,
        Count::RefusedOther,
    ];
    assert_eq!(
        told.map(|count| counts.get(count)),
        [FLOW_MAILS_RESERVED as u64, 1, 1, 1]
    );
    assert_eq!((counts.get(Count::IcmpErrors), counts.disposed()), (2, 1));
}
