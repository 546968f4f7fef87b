//! An HTTP endpoint: Python's server.

use trunkline_control::subscribers::http;

use super::*;
use crate::servers::endpoint;
use crate::servers::free_port;

fn store(port: u16) -> http::Store {
    let options = http::Options {
        connections: 4,
        patience: PATIENCE,
    };
    let url = format!("http://localhost:{port}/sip/{{domain}}/{{user}}");
    http::open(&[url], &options).unwrap()
}

#[tokio::test]
#[ignore = "needs python3: perf/e2e/stores.sh"]
async fn users_are_found_and_one_that_hangs_takes_nobody_along() {
    let port = free_port();
    let _endpoint = endpoint(port);
    let store = store(port);
    assert_eq!(ha1s(&store, "alice").await, all());
    assert_eq!(ha1s(&store, "bob").await, only_md5());
    assert_eq!(ha1s(&store, "carol").await, None);
    for name in strange_names() {
        assert_eq!(ha1s(&store, &name).await, None, "{name}");
    }
    for _ in 0..6 {
        let (reason, _) = failure(&store, "hangs").await;
        assert_eq!(reason, nothing_in_time());
        assert_eq!(ha1s(&store, "alice").await, all());
    }
}

#[tokio::test]
#[ignore = "needs python3: perf/e2e/stores.sh"]
async fn an_endpoint_that_stops_or_dies_comes_back_by_itself() {
    let port = free_port();
    let process = endpoint(port);
    let store = store(port);
    assert_eq!(ha1s(&store, "alice").await, all());
    process.stop();
    let (reason, _) = failure(&store, "alice").await;
    assert_eq!(reason, nothing_in_time());
    until_known_to_be_dead(&store, "alice").await;
    process.go_on();
    until_back(&store, "alice").await;
    drop(process);
    until_known_to_be_dead(&store, "alice").await;
    let _process = endpoint(port);
    until_back(&store, "alice").await;
    assert_eq!(ha1s(&store, "bob").await, only_md5());
}
