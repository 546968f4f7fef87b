//! PostgreSQL.

use trunkline_control::subscribers::postgres;

use super::*;
use crate::servers::Postgres;

const CONNECTIONS: usize = 3;

fn store(servers: &[&Postgres], query: &str) -> postgres::Store {
    let options = postgres::Options {
        query: query.to_owned(),
        connections: CONNECTIONS,
        patience: PATIENCE,
    };
    let urls: Vec<_> = servers.iter().map(|server| server.url()).collect();
    postgres::open(&urls, &options).unwrap()
}

#[tokio::test]
#[ignore = "needs PostgreSQL: perf/e2e/stores.sh"]
async fn users_are_found_by_any_name_and_by_no_other() {
    let server = Postgres::new().await;
    let store = store(&[&server], postgres::QUERY);
    server
        .add(
            "alice",
            "example.com",
            [Some(MD5), Some(SHA256), Some(SHA512T256)],
        )
        .await;
    server
        .add("bob", "example.com", [Some(MD5), None, None])
        .await;
    server
        .add("carol", "example.com", [Some(""), Some("secret"), None])
        .await;
    server
        .add("dave", "other.example", [Some(MD5), None, None])
        .await;
    assert_eq!(ha1s(&store, "alice").await, all());
    assert_eq!(ha1s(&store, "bob").await, only_md5());
    assert_eq!(ha1s(&store, "dave").await, None, "of another domain");
    assert_eq!(ha1s(&store, "Alice").await, None);
    let (reason, _) = failure(&store, "carol").await;
    assert_eq!(reason, "its SHA-256 HA1 is not 64 hexadecimal digits");
    for name in strange_names() {
        assert_eq!(ha1s(&store, &name).await, None, "{name}");
        server
            .add(&name, "example.com", [Some(MD5), None, None])
            .await;
        assert_eq!(ha1s(&store, &name).await, only_md5(), "{name}");
    }
    for name in NOBODYS {
        let found = store.find("example.com", name).await.unwrap();
        assert!(matches!(found, Known::Nobody), "{}", name.escape_ascii());
    }
    let count = server.run("SELECT count(*) FROM subscriber").await;
    assert_eq!(count, [(4 + strange_names().len()).to_string()]);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: perf/e2e/stores.sh"]
async fn a_query_is_made_to_fit_the_table() {
    let server = Postgres::new().await;
    // As Kamailio has it.
    let table = "CREATE TABLE kamailio (username varchar(64), domain varchar(64), \
                 ha1 varchar(128) DEFAULT '' NOT NULL)";
    server.run(table).await;
    let row = format!(
        "INSERT INTO kamailio VALUES ('alice', 'example.com', '{MD5}'), ('bob', 'example.com', '')"
    );
    server.run(&row).await;
    let kamailio = "SELECT ha1 FROM kamailio WHERE username = $1 AND domain = $2";
    let kamailio = store(&[&server], kamailio);
    assert_eq!(ha1s(&kamailio, "alice").await, only_md5());
    assert_eq!(ha1s(&kamailio, "bob").await, Some([None, None, None]));
    // One domain, and bytes.
    let table = "CREATE TABLE bytes (username char(10), ha1_256 bytea, digits bytea)";
    server.run(table).await;
    let row = format!(
        "INSERT INTO bytes VALUES ('alice', '\\x{SHA256}', '{SHA512T256}'), ('bob', NULL, NULL)"
    );
    server.run(&row).await;
    let bytes = "SELECT NULL::bytea, ha1_256, digits FROM bytes WHERE username = $1";
    let bytes = store(&[&server], bytes);
    let [_, sha256, sha512t256] = all().unwrap();
    assert_eq!(
        ha1s(&bytes, "alice").await,
        Some([None, sha256, sha512t256])
    );
    assert_eq!(ha1s(&bytes, "bob").await, Some([None, None, None]));
    // What does not fit says why, and a mended table is asked without a restart.
    for (query, why) in [
        (
            "SELECT ha1 FROM nowhere WHERE username = $1",
            "\"nowhere\" does not exist",
        ),
        (
            "SELECT 1 AS one WHERE $1 = 'alice'",
            "the column \"one\" of the query is int4",
        ),
        ("SELECT '', '', '', '' WHERE $1 = 'alice'", "4 columns"),
        (
            "SELECT ha1 FROM kamailio WHERE $1 > ''",
            "unexpected number of rows",
        ),
        (
            "SELECT '' WHERE $1 || $2 || $3 = ''",
            "expected 3 parameters",
        ),
    ] {
        let (reason, _) = failure(&store(&[&server], query), "alice").await;
        assert!(reason.contains(why), "{query}: {reason}");
    }
    let late = store(&[&server], "SELECT ha1 FROM late WHERE username = $1");
    assert!(find(&late, "alice").await.is_err());
    server.run("ALTER TABLE kamailio RENAME TO late").await;
    assert_eq!(ha1s(&late, "alice").await, only_md5());
}

#[tokio::test]
#[ignore = "needs PostgreSQL: perf/e2e/stores.sh"]
async fn connections_are_bounded_and_one_user_that_hangs_takes_nobody_along() {
    let server = Postgres::new().await;
    let query = format!(
        "SELECT '{MD5}' FROM pg_sleep(CASE WHEN $1 = 'slow' THEN 0.05 WHEN $1 = 'hangs' THEN 60 ELSE 0 END)"
    );
    let store = std::sync::Arc::new(store(&[&server], &query));
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..3 * CONNECTIONS {
        let store = std::sync::Arc::clone(&store);
        asked.spawn(async move { ha1s(&*store, "slow").await });
    }
    for found in asked.join_all().await {
        assert_eq!(found, only_md5());
    }
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trunkline'";
    assert_eq!(server.run(ours).await, [CONNECTIONS.to_string()]);
    // More often than there are connections.
    for _ in 0..CONNECTIONS + 1 {
        let (reason, _) = failure(&*store, "hangs").await;
        assert_eq!(reason, nothing_in_time());
        assert_eq!(ha1s(&*store, "alice").await, only_md5());
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: perf/e2e/stores.sh"]
async fn a_server_that_stops_or_dies_comes_back_by_itself() {
    let mut server = Postgres::new().await;
    let store = store(&[&server], postgres::QUERY);
    server
        .add("alice", "example.com", [Some(MD5), None, None])
        .await;
    assert_eq!(ha1s(&store, "alice").await, only_md5());
    server.process().stop();
    let (reason, _) = failure(&store, "alice").await;
    assert_eq!(reason, nothing_in_time());
    until_known_to_be_dead(&store, "alice").await;
    server.process().go_on();
    until_back(&store, "alice").await;
    server.end();
    until_known_to_be_dead(&store, "alice").await;
    server.start().await;
    until_back(&store, "alice").await;
    assert_eq!(ha1s(&store, "alice").await, only_md5());
}

#[tokio::test]
#[ignore = "needs PostgreSQL: perf/e2e/stores.sh"]
async fn a_dead_shard_fails_its_users_and_no_other() {
    let mut servers = [Postgres::new().await, Postgres::new().await];
    let store = store(&[&servers[0], &servers[1]], postgres::QUERY);
    // Of the two places that the hash gives.
    let of_first = ["bob", "carol"];
    let of_second = ["dave", "erin"];
    for (server, users) in servers.iter().zip([of_first, of_second]) {
        for user in users {
            server
                .add(user, "example.com", [Some(MD5), None, None])
                .await;
        }
    }
    for user in of_first.iter().chain(&of_second) {
        assert_eq!(ha1s(&store, user).await, only_md5(), "{user}");
    }
    for round in 0..2 {
        if round == 0 {
            servers[0].process().stop();
        } else {
            servers[0].end();
        }
        until_known_to_be_dead(&store, "bob").await;
        for _ in 0..20 {
            let (reason, at_once) = failure(&store, "carol").await;
            assert!(at_once, "{reason}");
            for user in of_second {
                assert_eq!(ha1s(&store, user).await, only_md5(), "{user}");
            }
        }
        if round == 0 {
            servers[0].process().go_on();
        } else {
            servers[0].start().await;
        }
        until_back(&store, "carol").await;
        assert_eq!(ha1s(&store, "bob").await, only_md5());
    }
}
