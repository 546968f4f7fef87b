//! Subscribers over the operator's socket, and what the workers hear of it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use trunkline_dataplane::lab;
use trunkline_dataplane::settings::Domain;
use trunkline_dataplane::settings::Upstream;
use trunkline_dataplane::sip::Id;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::subscriber::Said;
use trunkline_dataplane::sip::subscriber::Subscriber;
use trunkline_dataplane::sip::subscriber::User;

use super::*;
use crate::subscribers::Directory;
use crate::subscribers::Store;
use crate::subscribers::sqlite::Opened;

pub(super) const MD5: &str = "00112233445566778899aabbccddeeff";

/// A stage with a domain and a real store.
pub(super) fn stage() -> Stage {
    let mut stage = Stage::new();
    let path = stage.room.path().join("subscribers.db");
    let store = Opened::open(&path).unwrap().serve().unwrap();
    let directory = Directory {
        domains: vec![Domain {
            name: "example.org".to_owned(),
            trunk: TrunkIndex(0),
            algorithms: vec![Algorithm::Md5],
            registrar: false,
            upstream: None,
            calls: 0,
            located: false,
        }],
        store: Some(Arc::new(store) as Arc<dyn Store>),
    };
    stage.desk = stage
        .desk
        .with_subscribers(Arc::new(directory), Duration::from_secs(5));
    stage
}

pub(super) fn wish(user: &str, domain: &str, algorithm: &str, ha1: &str) -> types::SubscribersWish {
    let ha1 = BTreeMap::from([(algorithm.to_owned(), ha1.to_owned())]);
    types::SubscribersWish {
        subscribers: vec![types::SubscriberWish {
            user: user.to_owned(),
            domain: domain.to_owned(),
            ha1,
        }],
    }
}

pub(super) fn bob() -> Subscriber {
    Subscriber {
        domain: DomainIndex(0),
        user: User::new(b"bob").unwrap(),
    }
}

#[tokio::test]
async fn what_an_operator_changes_is_kept_and_every_worker_forgets_what_it_knew() {
    let forgotten = Arc::new(Mutex::new(Vec::new()));
    let hear = {
        let forgotten = Arc::clone(&forgotten);
        move |worker: u8, post: &mut WorkerPost, mail: Mail| match mail {
            Mail::Forget(who) => forgotten.lock().unwrap().push((worker, Some(who))),
            Mail::Doubt => forgotten.lock().unwrap().push((worker, None)),
            other => honest(worker, post, other),
        }
    };
    stage()
        .run(hear, async |path, _| {
            let put = async |wish: types::SubscribersWish| {
                client::put::<_, types::Changes>(&path, "/v1/subscribers", &wish).await
            };
            let added = put(wish("bob", "Example.org", "md5", MD5)).await.unwrap();
            assert_eq!((added.added, added.changed, added.forgotten), (1, 0, 1));
            let changed = put(wish("bob", "example.org", "MD5", MD5)).await.unwrap();
            assert_eq!((changed.added, changed.changed), (0, 1));
            let all: types::Subscribers = client::get(&path, "/v1/subscribers").await.unwrap();
            assert_eq!(all.next, None);
            assert_eq!(all.subscribers.len(), 1);
            assert_eq!(all.subscribers[0].algorithms, ["MD5"]);
            let one = "/v1/subscribers/bob%40example.org";
            let removed: types::Changes = client::delete(&path, one).await.unwrap();
            assert_eq!(removed.removed, 1);
            let again = client::delete::<types::Changes>(&path, one)
                .await
                .unwrap_err();
            assert!(matches!(again, ClientError::Refused(_)), "{again}");
            let forget = "/v1/auth/bob%40example.org";
            let told: types::Changes = client::delete(&path, forget).await.unwrap();
            assert_eq!(told.forgotten, 1);
            let _: types::Changes = client::delete(&path, "/v1/auth").await.unwrap();
            let stats: types::Stats = client::get(&path, "/v1/stats").await.unwrap();
            // The one who was not there was forgotten as well.
            assert_eq!(stats.operator.store.forgotten, 5);
            assert_eq!(stats.operator.store.doubted, 1);
        })
        .await;
    let forgotten = forgotten.lock().unwrap();
    for worker in [0, 1] {
        let heard = forgotten.iter().filter(|(who, _)| *who == worker);
        let heard: Vec<_> = heard.map(|(_, what)| *what).collect();
        assert_eq!(heard[..5], [Some(bob()); 5]);
        assert_eq!(heard[5..], [None]);
    }
}

#[tokio::test]
async fn a_wish_that_cannot_be_changes_nothing_and_says_why() {
    let (refusals, all) = stage()
        .run(honest, async |path, _| {
            let mut refusals = String::new();
            let mut put = async |wish: types::SubscribersWish| {
                let put = client::put::<_, types::Changes>(&path, "/v1/subscribers", &wish).await;
                refusals += &format!("{}\n", put.unwrap_err());
            };
            put(wish("bob", "example.com", "MD5", MD5)).await;
            put(wish("sip:bob", "example.org", "MD5", MD5)).await;
            put(wish("bob", "example.org", "SHA1", MD5)).await;
            put(wish("bob", "example.org", "SHA-256", MD5)).await;
            put(wish("bob", "example.org", "SHA-256", &MD5.repeat(2))).await;
            let mut half = wish("al", "example.org", "MD5", MD5);
            half.subscribers
                .extend(wish("bob", "example.org", "MD5", "0").subscribers);
            put(half).await;
            let mut many = wish("al", "example.org", "MD5", MD5);
            many.subscribers = vec![many.subscribers[0].clone(); 1001];
            put(many).await;
            for path_ in ["/v1/auth/bob", "/v1/auth/bob%40example.com"] {
                let refused = client::delete::<types::Changes>(&path, path_).await;
                refusals += &format!("{}\n", refused.unwrap_err());
            }
            let all: types::Subscribers = client::get(&path, "/v1/subscribers").await.unwrap();
            (refusals, all)
        })
        .await;
    assert_eq!(all, types::Subscribers::default());
    insta::assert_snapshot!(refusals);
}

#[tokio::test]
async fn without_a_domain_there_are_no_subscribers() {
    Stage::new()
        .run(honest, async |path, _| {
            let domains: types::Domains = client::get(&path, "/v1/domains").await.unwrap();
            assert!(domains.domains.is_empty() && !domains.writable);
            let error = client::get::<types::Subscribers>(&path, "/v1/subscribers").await;
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with("no [[domain]] is configured"), "{error}");
        })
        .await;
}

#[tokio::test]
async fn whose_registrar_is_elsewhere_is_no_subscriber_here() {
    let mut stage = Stage::new();
    let path = stage.room.path().join("subscribers.db");
    let elsewhere = Domain {
        name: "example.net".to_owned(),
        trunk: TrunkIndex(1),
        algorithms: vec![Algorithm::Md5],
        registrar: false,
        located: false,
        upstream: Some(Upstream {
            route: lab::route(1, None, &[(0, 1000)]),
            nat_expires_s: 60,
            passes_unregistered: false,
        }),
        calls: 0,
    };
    let store = Opened::open(&path).unwrap().serve().unwrap();
    let directory = Directory {
        domains: vec![elsewhere],
        store: Some(Arc::new(store) as Arc<dyn Store>),
    };
    let mut alone = Stage::new();
    let without_store = Directory {
        domains: directory.domains.clone(),
        store: None,
    };
    let patience = Duration::from_secs(5);
    stage.desk = stage.desk.with_subscribers(Arc::new(directory), patience);
    alone.desk = alone
        .desk
        .with_subscribers(Arc::new(without_store), patience);
    let refused = async |path: PathBuf, _: mpsc::Sender<Request>| {
        let wish = wish("bob", "example.net", "MD5", MD5);
        let put = client::put::<_, types::Changes>(&path, "/v1/subscribers", &wish).await;
        put.unwrap_err().to_string()
    };
    let error = stage.run(honest, refused).await;
    assert!(
        error.contains("the registrar of example.net is elsewhere"),
        "{error}"
    );
    let error = alone.run(honest, refused).await;
    assert!(
        error.contains("the registrar of every [[domain]] is elsewhere"),
        "{error}"
    );
}

#[tokio::test]
async fn a_worker_that_asks_is_told() {
    let mut stage = stage();
    let question = Some(Id::new(3, 9));
    let ask = Report::Ask {
        question,
        who: bob(),
    };
    stage.posts[1].reports.send(ask).unwrap();
    stage.posts[1].flush();
    let (told, mut heard) = mpsc::unbounded_channel();
    let hear = move |worker: u8, post: &mut WorkerPost, mail: Mail| match mail {
        Mail::Said {
            question,
            who,
            said,
        } => {
            assert_eq!(who, bob());
            told.send((worker, question, said)).unwrap();
        }
        other => honest(worker, post, other),
    };
    let stats = stage
        .run(hear, async move |path, _| {
            let (worker, id, said) = heard.recv().await.unwrap();
            assert_eq!((worker, id), (1, question));
            assert!(matches!(said, Said::Known(Known::Nobody)), "{said:?}");
            client::get::<types::Stats>(&path, "/v1/stats")
                .await
                .unwrap()
        })
        .await;
    let store = stats.operator.store;
    assert_eq!((store.asked, store.looked_up, store.answered), (1, 1, 1));
}
