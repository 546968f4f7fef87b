//! The figures over TCP.

use super::*;

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
    let mut stage = Stage::new();
    // One of the two stands for a domain.
    stage.desk.facts.trunks[1].calls_of_each = Some(50);
    let (metrics, health, calls, shut_out, other, after, stats) = stage
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
