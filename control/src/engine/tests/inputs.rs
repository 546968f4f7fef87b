//! What the desk hands to the workers.

use super::*;

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
                let len = post.inboxes[last].take_bytes(mail.len, &mut room);
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
