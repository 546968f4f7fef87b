//! What the operator's socket says of one subscriber.

use trunkline_dataplane::sip::denials::Denial;
use trunkline_dataplane::sip::denials::Dossier;
use trunkline_dataplane::sip::denials::Why;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::cache::Look;

use super::subscribers::MD5;
use super::subscribers::bob;
use super::subscribers::stage;
use super::subscribers::wish;
use super::*;

/// Worker 1 knows Bob, and has denied him something from where there is a ban.
fn hear(worker: u8, post: &mut WorkerPost, mail: Mail) {
    let denial = Denial {
        who: bob(),
        source: "10.0.0.3:5070".parse().unwrap(),
        why: Why::Password,
        count: 7,
        first: clock::now(),
        last: clock::now(),
    };
    match mail {
        Mail::Query(query) if matches!(query.what, Ask::Subscriber { who, .. } if who == bob()) => {
            let known = Look {
                known: Known::Nobody,
                kept: clock::now(),
                expires: Tick::NEVER,
                proved: None,
            };
            let is_his = worker == 1;
            let dossier = Dossier {
                known: is_his.then_some(known),
                calls: u32::from(is_his) * 2,
                denial: is_his.then_some(denial),
            };
            let id = query.id;
            post.reports.send(Report::Dossier { id, dossier }).unwrap();
            post.reports.send(Report::End { id }).unwrap();
        }
        Mail::Query(query) if query.what == Ask::Denials => {
            let id = query.id;
            post.reports.send(Report::Denial { id, denial }).unwrap();
            post.reports.send(Report::End { id }).unwrap();
        }
        other => honest(worker, post, other),
    }
}

#[tokio::test]
async fn all_that_is_known_of_a_subscriber_is_told_at_once() {
    let (before, after, nobody) = stage()
        .run(hear, async |path, _| {
            let of = |who: &str| format!("/v1/subscribers/{who}");
            let path = path.as_path();
            let before: types::Dossier = client::get(path, &of("bob@example.org")).await.unwrap();
            let wish = wish("bob", "example.org", "MD5", MD5);
            let _: types::Changes = client::put(path, "/v1/subscribers", &wish).await.unwrap();
            let after: types::Dossier = client::get(path, &of("bob@EXAMPLE.org")).await.unwrap();
            let nobody = client::get::<types::Dossier>(path, &of("bob@example.net")).await;
            (before, after, nobody.unwrap_err().to_string())
        })
        .await;
    let stored = before.stored.unwrap();
    assert_eq!((stored.answer.as_str(), stored.error), ("unknown", None));
    let stored = after.stored.unwrap();
    assert_eq!(
        (stored.answer.as_str(), &stored.algorithms[..]),
        ("known", &["MD5".to_owned()][..])
    );
    assert!(stored.lacking.is_empty());
    let beliefs: Vec<_> = after
        .workers
        .iter()
        .map(|worker| worker.belief.as_str())
        .collect();
    assert_eq!(beliefs, ["nothing", "unknown"]);
    assert_eq!((after.calls, after.complete), (2, true));
    assert_eq!(after.denial.unwrap().reason, "password");
    assert_eq!(after.bans.len(), 1, "of where it was denied");
    assert!(
        nobody.contains("no [[domain]] is called \"example.net\"; there are: example.org"),
        "{nobody}"
    );
}

#[tokio::test]
async fn who_was_denied_what_is_told_over_all_workers() {
    let denials: types::Denials = stage()
        .run(hear, async |path, _| {
            client::get(&path, "/v1/denials").await.unwrap()
        })
        .await;
    assert!(denials.complete);
    let rows: Vec<_> = denials
        .denials
        .iter()
        .map(|row| (row.user.as_str(), row.count))
        .collect();
    assert_eq!(rows, [("bob", 14)]);
}
