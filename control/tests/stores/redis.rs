//! Redis, by itself and as a cluster.

use trunkline_control::subscribers::redis;

use super::*;
use crate::servers::Redis;
use crate::servers::redis_cluster;

fn options() -> redis::Options {
    redis::Options {
        key: redis::KEY.to_owned(),
        is_cluster: false,
        patience: PATIENCE,
    }
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn users_are_found_by_any_name_and_by_no_other() {
    let server = Redis::new(false);
    let store = redis::open(&[server.url()], &options()).unwrap();
    let fields = [
        ("md5", MD5),
        ("sha-256", SHA256),
        ("sha-512-256", SHA512T256),
    ];
    server.add("sub:example.com:alice", &fields);
    server.add("sub:example.com:bob", &[("md5", MD5), ("name", "Bob")]);
    server.add("sub:example.com:carol", &[("sha-256", "secret")]);
    server.add("sub:example.com:bob:bindings", &[("md5", MD5)]);
    assert_eq!(
        server.run(&["SET", "sub:example.com:dave", MD5]).trim(),
        "OK"
    );
    assert_eq!(ha1s(&store, "alice").await, all());
    assert_eq!(ha1s(&store, "bob").await, only_md5());
    assert_eq!(ha1s(&store, "bob:bindings").await, None);
    let (reason, _) = failure(&store, "carol").await;
    assert_eq!(reason, "its SHA-256 HA1 is not 64 hexadecimal digits");
    let (reason, _) = failure(&store, "dave").await;
    assert!(reason.contains("WRONGTYPE"), "{reason}");
    for name in strange_names() {
        assert_eq!(ha1s(&store, &name).await, None, "{name}");
        let name_in_key = name.replace('%', "%25").replace(':', "%3A");
        server.add(&format!("sub:example.com:{name_in_key}"), &[("md5", MD5)]);
        assert_eq!(ha1s(&store, &name).await, only_md5(), "{name}");
    }
    for name in NOBODYS {
        let found = store.find("example.com", name).await.unwrap();
        assert!(matches!(found, Known::Nobody), "{}", name.escape_ascii());
    }
    assert_eq!(ha1s(&store, "bob").await, only_md5(), "nobody deleted him");
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_server_that_stops_or_dies_comes_back_by_itself() {
    let mut server = Redis::new(false);
    let store = redis::open(&[server.url()], &options()).unwrap();
    server.add("sub:example.com:alice", &[("md5", MD5)]);
    assert_eq!(ha1s(&store, "alice").await, only_md5());
    server.process().stop();
    failure(&store, "alice").await;
    until_known_to_be_dead(&store, "alice").await;
    server.process().go_on();
    until_back(&store, "alice").await;
    server.end();
    until_known_to_be_dead(&store, "alice").await;
    server.start();
    until_back(&store, "alice").await;
    assert_eq!(ha1s(&store, "alice").await, only_md5());
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_cluster_is_asked_where_the_key_is_and_lives_as_long_as_any_node_does() {
    let mut nodes = redis_cluster();
    let options = redis::Options {
        is_cluster: true,
        ..options()
    };
    let urls = nodes.each_ref().map(Redis::url);
    let store = redis::open(&urls, &options).unwrap();
    // Spread over the nodes by their keys.
    let users: Vec<_> = (0..30).map(|number| format!("user{number}")).collect();
    for user in &users {
        nodes[0].add(&format!("sub:example.com:{user}"), &[("md5", MD5)]);
    }
    let counts = nodes.each_ref().map(|node| node.run(&["DBSIZE"]));
    assert!(counts.iter().all(|count| count.trim() != "0"), "{counts:?}");
    for user in &users {
        assert_eq!(ha1s(&store, user).await, only_md5(), "{user}");
    }
    assert_eq!(ha1s(&store, "nobody").await, None);
    // Without one of them the users of the others are found as before.
    let of_last = |user: &String| {
        let key = format!("sub:example.com:{user}");
        let slot: u32 = nodes[0]
            .run(&["CLUSTER", "KEYSLOT", &key])
            .trim()
            .parse()
            .unwrap();
        // As `redis-cli --cluster create` cuts the slots.
        slot > 10922
    };
    let (of_dead, of_living): (Vec<_>, Vec<_>) = users.iter().partition(|user| of_last(user));
    assert!(!of_dead.is_empty() && !of_living.is_empty());
    nodes[2].end();
    for user in &of_dead {
        failure(&store, user).await;
        for user in &of_living {
            assert_eq!(ha1s(&store, user).await, only_md5(), "{user}");
        }
    }
    nodes[2].start();
    until_back(&store, of_dead[0]).await;
    // All dead, and all back.
    nodes.iter_mut().for_each(Redis::end);
    until_known_to_be_dead(&store, "user0").await;
    nodes.iter_mut().for_each(Redis::start);
    until_back(&store, "user0").await;
    for user in &users {
        until_back(&store, user).await;
        assert_eq!(ha1s(&store, user).await, only_md5(), "{user}");
    }
}
