//! What is found out about a store before a user needs it.

use trunkline_control::location;
use trunkline_control::location::Store as _;
use trunkline_control::subscribers::http;
use trunkline_control::subscribers::postgres;
use trunkline_control::subscribers::redis;

use super::*;
use crate::servers::Postgres;
use crate::servers::Redis;
use crate::servers::endpoint;
use crate::servers::free_port;

/// What a check tells of a store's one server.
async fn wrong(store: &impl Store) -> String {
    match &store.check("example.com").await[..] {
        [wrong] => wrong.to_string(),
        other => panic!("{other:?}"),
    }
}

fn of_postgres(url: &str, query: &str) -> postgres::Store {
    let options = postgres::Options {
        query: query.to_owned(),
        connections: 1,
        patience: PATIENCE,
    };
    postgres::open(&[url.to_owned()], &options).unwrap()
}

#[tokio::test]
#[ignore = "needs PostgreSQL: perf/e2e/stores.sh"]
async fn what_is_wrong_with_a_database_is_told_by_its_own_words() {
    let mut server = Postgres::new().await;
    let check = async |url: &str, query: &str, why: &str| {
        let said = wrong(&of_postgres(url, query)).await;
        assert!(said.contains(why), "{said}");
        assert!(said.starts_with("PostgreSQL at 127.0.0.1:"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    };
    let url = server.url();
    let well = of_postgres(&url, postgres::QUERY);
    assert_eq!(well.check("example.com").await, []);
    for (query, why) in [
        (
            "SELECT ha1 FROM nowhere WHERE username = $1",
            "relation \"nowhere\" does not exist",
        ),
        (
            "SELECT ha1 FROM subscriber WHERE username = $1",
            "column \"ha1\" does not exist",
        ),
        // Without a row as well.
        (
            "SELECT length(domain) AS ha1 FROM subscriber WHERE username = $1",
            "the column \"ha1\" of the query is int4, which is neither text nor bytea",
        ),
        (
            "SELECT *, 1 FROM subscriber WHERE username = $1",
            "the query gives 6 columns",
        ),
    ] {
        check(&url, query, why).await;
    }
    server.run("CREATE ROLE sip LOGIN PASSWORD 's3cret'").await;
    server.ask_for_password("sip").await;
    let as_sip = |password: &str| url.replace("postgres@", &format!("sip:{password}@"));
    let refused = "password authentication failed for user \"sip\"";
    check(&as_sip("not-s3cret"), postgres::QUERY, refused).await;
    let denied = "permission denied for table subscriber";
    check(&as_sip("s3cret"), postgres::QUERY, denied).await;
    server.run("GRANT SELECT ON subscriber TO sip").await;
    let granted = of_postgres(&as_sip("s3cret"), postgres::QUERY);
    assert_eq!(granted.check("example.com").await, []);
    let elsewhere = format!("{}/sip", url.strip_suffix("/postgres").unwrap());
    check(&elsewhere, postgres::QUERY, "\"sip\" does not exist").await;
    server.process().stop();
    check(&url, postgres::QUERY, &nothing_in_time()).await;
    server.process().go_on();
    server.end();
    check(&url, postgres::QUERY, "Connection refused").await;
}

#[tokio::test]
#[ignore = "needs Redis and python3: perf/e2e/stores.sh"]
async fn what_is_wrong_with_one_server_of_several_is_told_of_that_one() {
    let server = Redis::new(false);
    let options = redis::Options {
        key: redis::KEY.to_owned(),
        is_cluster: false,
        patience: PATIENCE,
    };
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let two = redis::open(&[server.url(), nobody.clone()], &options).unwrap();
    let said = wrong(&two).await;
    let address = nobody.strip_prefix("redis://").unwrap();
    assert!(said.starts_with(&format!("Redis at {address} gives no answer")));
    assert!(said.contains("Connection refused"), "{said}");
    server.run(&["ACL", "SETUSER", "sip", "on", ">s3cret", "~sub:*", "+ping"]);
    for (user, why) in [
        ("sip:other", "Password authentication failed"),
        ("sip:s3cret", "permission"),
    ] {
        let url = server.url().replace("//", &format!("//{user}@"));
        let said = wrong(&redis::open(&[url], &options).unwrap()).await;
        assert!(said.contains(why) && !said.contains("s3cret"), "{said}");
    }
    server.run(&["ACL", "SETUSER", "sip", "+hmget"]);
    let url = server.url().replace("//", "//sip:s3cret@");
    let well = redis::open(&[url], &options).unwrap();
    assert_eq!(well.check("example.com").await, []);
    // Behind HTTP.
    let port = free_port();
    let _endpoint = endpoint(port);
    let at = |path: &str| {
        let options = http::Options {
            connections: 1,
            patience: PATIENCE,
        };
        let url = format!("http://127.0.0.1:{port}/{path}/{{domain}}/{{user}}");
        http::open(&[url], &options).unwrap()
    };
    assert_eq!(at("sip").check("example.com").await, []);
    let said = wrong(&at("gateway")).await;
    assert!(said.ends_with("it answers 502 Bad Gateway"), "{said}");
    let said = wrong(&at("page")).await;
    assert!(said.contains("something else than HA1s"), "{said}");
}

fn of_location(url: String) -> location::redis::Redis {
    let options = location::redis::Options {
        servers: vec![url],
        is_cluster: false,
        prefix: "location".to_owned(),
        remember: Duration::from_secs(7200),
    };
    location::redis::Redis::new(&options).unwrap()
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_location_store_that_takes_no_change_is_known_before_there_is_one() {
    let server = Redis::new(false);
    let wrong = async |url: String| of_location(url).check().await.unwrap_err().to_string();
    of_location(server.url()).check().await.unwrap();
    assert_eq!(server.run(&["KEYS", "*"]).trim(), "", "it leaves nothing");
    let rights = ["~location:*", "&location", "+@all", "-publish"];
    let mut user = vec!["ACL", "SETUSER", "box", "on", ">s3cret"];
    user.extend(rights);
    server.run(&user);
    let as_box = server.url().replace("//", "//box:s3cret@");
    let said = wrong(as_box.clone()).await;
    assert!(
        said.contains("can't run this command") && !said.contains("s3cret"),
        "{said}"
    );
    server.run(&["ACL", "SETUSER", "box", "+publish"]);
    of_location(as_box).check().await.unwrap();
    server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let said = wrong(server.url()).await;
    assert!(said.contains("OOM"), "{said}");
    server.run(&["CONFIG", "SET", "maxmemory", "0"]);
    let other = Redis::new(false);
    server.run(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]);
    let said = wrong(server.url()).await;
    assert!(said.to_lowercase().contains("read only"), "{said}");
    let said = wrong(format!("redis://127.0.0.1:{}", free_port())).await;
    assert!(said.contains("refused"), "{said}");
}
