//! Bans over the operator's socket.

use std::sync::Mutex;

use trunkline_dataplane::sip::guard::Word;

use super::*;

#[tokio::test]
async fn a_ban_is_told_once_and_lifted_at_every_worker() {
    let pardoned = Arc::new(Mutex::new(Vec::new()));
    let hear = {
        let pardoned = Arc::clone(&pardoned);
        move |worker: u8, post: &mut WorkerPost, mail: Mail| match mail {
            Mail::Guard(word) => pardoned.lock().unwrap().push((worker, word)),
            other => honest(worker, post, other),
        }
    };
    let (bans, refusals) = Stage::new()
        .run(hear, async |path, _| {
            let bans: types::Bans = client::get(&path, "/v1/bans").await.unwrap();
            let told: types::Pardoned = client::delete(&path, "/v1/bans/10.0.0.3").await.unwrap();
            assert_eq!(told.source, "10.0.0.3");
            let mut refusals = Vec::new();
            for nobody in ["10.0.0.4", "nonsense"] {
                let of = format!("/v1/bans/{nobody}");
                let refused = client::delete::<types::Pardoned>(&path, &of).await;
                refusals.push(refused.unwrap_err().to_string());
            }
            (bans, refusals)
        })
        .await;
    assert!(bans.complete);
    assert_eq!(bans.bans.len(), 1);
    let ban = &bans.bans[0];
    assert_eq!((ban.source.as_str(), ban.failures), ("10.0.0.3", 10));
    assert_eq!(ban.dropped, 41, "of both workers");
    assert!(
        refusals[0].contains("10.0.0.4 is not banned"),
        "{refusals:?}"
    );
    assert!(
        refusals[1].contains("no IPv4 or IPv6 address"),
        "{refusals:?}"
    );
    let source = Source::of("10.0.0.3".parse().unwrap());
    let pardoned = pardoned.lock().unwrap();
    for worker in [0, 1] {
        assert!(
            pardoned.contains(&(worker, Word::Pardon(source))),
            "{pardoned:?}"
        );
    }
}
