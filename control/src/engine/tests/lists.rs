//! What the desk lists: counters, workers, interfaces, frames, trunks, routes, neighbours.

use super::*;

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

/// Rows come by a ring of their own, and all of them are there when an answer is said to be whole.
#[tokio::test]
async fn registrations_are_told_all_of_them_or_of_one_user() {
    let hear = |worker: u8, post: &mut WorkerPost, mail: Mail| match mail {
        Mail::Query(Query {
            id,
            what: Ask::Bindings(of),
        }) => {
            for n in 0..3 {
                let (user, uri) = (format!("user{n}{worker}"), format!("sip:{n}@192.0.2.1"));
                let record = Record {
                    aor: 10 * u64::from(worker) + n,
                    domain: DomainIndex(0),
                    user: user.as_bytes(),
                    uri: uri.as_bytes(),
                    params: b"",
                    path: b"",
                    received: "192.0.2.1:5060".parse().unwrap(),
                    listen: ListenIndex(0),
                    expires: clock::now().plus_ms(60_500),
                    taken: clock::now(),
                    q: 500,
                    call_id: 1,
                    cseq: 1,
                    transaction: 1,
                    reg_id: None,
                };
                if of.is_none() {
                    assert!(post.letters.post(Told::Row(id), &record));
                }
            }
            post.reports.send(Report::End { id }).unwrap();
        }
        other => honest(worker, post, other),
    };
    let mut stage = Stage::new();
    let names = Names {
        domains: vec![("example.org".to_owned(), ListenIndex(0))],
        listens: vec!["access".to_owned()],
        ..Names::default()
    };
    stage.desk = stage.desk.with_location(names, None);
    let (all, one, refusals) = stage
        .run(hear, async |path, _| {
            let get = async |what: &str| {
                client::get::<types::Registrations>(&path, &format!("/v1/registrations{what}"))
                    .await
            };
            let mut refusals = String::new();
            for wrong in ["/bob", "/bob%40elsewhere.example"] {
                refusals += &format!("{}\n", get(wrong).await.unwrap_err());
            }
            let all = get("").await.unwrap();
            (all, get("/bob%40Example.org").await.unwrap(), refusals)
        })
        .await;
    assert!(all.complete && one.complete);
    let rows: Vec<_> = all
        .registrations
        .iter()
        .map(|row| (row.user.as_str(), row.worker))
        .collect();
    let expected = ["user00", "user01", "user10", "user11", "user20", "user21"];
    let expected: Vec<_> = expected
        .into_iter()
        .zip([0, 1].into_iter().cycle())
        .collect();
    assert_eq!(rows, expected);
    let row = &all.registrations[0];
    assert_eq!(
        (row.expires_s, row.q, row.listen.as_str()),
        (60, 0.5, "access")
    );
    assert_eq!(one.registrations, []);
    assert_eq!(
        refusals,
        "\"bob\" is no subscriber's address: write USER@DOMAIN, as in bob@example.org\n\
         no [[domain]] is called \"elsewhere.example\", and none is configured\n"
    );
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
