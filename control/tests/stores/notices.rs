//! What the servers tell unasked.

use tokio::sync::mpsc;
use trunkline_control::subscribers::forget::Forget;
use trunkline_control::subscribers::postgres;
use trunkline_control::subscribers::redis;

use super::*;
use crate::servers::Postgres;
use crate::servers::Redis;
use crate::servers::redis_cluster;

async fn next(heard: &mut mpsc::Receiver<Forget>) -> Forget {
    let next = tokio::time::timeout(AT_LAST, heard.recv()).await;
    next.expect("nothing is told").expect("it ended")
}

fn one(user: &str) -> Forget {
    Forget::One {
        domain: "example.com".to_owned(),
        user: user.to_owned(),
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: perf/e2e/stores.sh"]
async fn postgres_tells_of_changes_and_after_a_restart_that_all_is_to_be_forgotten() {
    let mut server = Postgres::new().await;
    let name = "trunkline \"forget\"";
    let channel = postgres::Channel::new(&server.url(), name, PATIENCE).unwrap();
    let (out, mut heard) = mpsc::channel(8);
    let follow = tokio::spawn(channel.follow(out));
    assert_eq!(next(&mut heard).await, Forget::All);
    // As the manual has it, from a trigger.
    for statement in [
        "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM pg_notify('trunkline \"forget\"', OLD.username || '@' || OLD.domain); \
         RETURN NULL; END $$",
        "CREATE TRIGGER told AFTER UPDATE OR DELETE ON subscriber FOR EACH ROW EXECUTE FUNCTION told()",
    ] {
        server.run(statement).await;
    }
    server.add("alice", "Example.com", [None; 3]).await;
    server
        .run("UPDATE subscriber SET ha1_md5 = '' WHERE username = 'alice'")
        .await;
    assert_eq!(next(&mut heard).await, one("alice"));
    server
        .run("NOTIFY \"trunkline \"\"forget\"\"\", 'nonsense'")
        .await;
    server
        .run("NOTIFY \"trunkline \"\"forget\"\"\", 'a@b@example.com'")
        .await;
    assert_eq!(next(&mut heard).await, one("a@b"));
    server.end();
    server.start().await;
    assert_eq!(next(&mut heard).await, Forget::All);
    server.run("DELETE FROM subscriber").await;
    assert_eq!(next(&mut heard).await, one("alice"));
    drop(heard);
    server.end();
    let ended = tokio::time::timeout(AT_LAST, follow).await;
    ended.expect("it goes on for nobody").unwrap();
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn redis_tells_of_changes_and_after_a_restart_that_all_is_to_be_forgotten() {
    let mut server = Redis::new(false);
    let channel = redis::Channel::new(&[server.url()], redis::CHANNEL, PATIENCE).unwrap();
    let (out, mut heard) = mpsc::channel(8);
    tokio::spawn(channel.follow(out));
    assert_eq!(next(&mut heard).await, Forget::All);
    server.run(&["PUBLISH", "trunkline:forget", "alice@Example.com"]);
    assert_eq!(next(&mut heard).await, one("alice"));
    server.run(&["PUBLISH", "trunkline:forget", "*"]);
    assert_eq!(next(&mut heard).await, Forget::All);
    server.end();
    server.start();
    assert_eq!(next(&mut heard).await, Forget::All);
    server.run(&["PUBLISH", "trunkline:forget", "bob@example.com"]);
    assert_eq!(next(&mut heard).await, one("bob"));
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn any_node_of_a_cluster_tells_and_another_takes_over() {
    let mut nodes = redis_cluster();
    let urls = nodes.each_ref().map(Redis::url);
    let channel = redis::Channel::new(&urls, redis::CHANNEL, PATIENCE).unwrap();
    let (out, mut heard) = mpsc::channel(8);
    tokio::spawn(channel.follow(out));
    assert_eq!(next(&mut heard).await, Forget::All);
    nodes[2].run(&["PUBLISH", "trunkline:forget", "alice@example.com"]);
    assert_eq!(next(&mut heard).await, one("alice"));
    nodes[0].end();
    assert_eq!(next(&mut heard).await, Forget::All);
    nodes[2].run(&["PUBLISH", "trunkline:forget", "bob@example.com"]);
    assert_eq!(next(&mut heard).await, one("bob"));
}
