//! Answers that are late, incomplete, refused or one too many.

use super::*;

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
