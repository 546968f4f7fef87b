//! Alive and ready.

use super::*;

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
