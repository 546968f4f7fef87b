//! Subscribers on servers elsewhere.

use std::time::Duration;

use super::*;
use crate::subscribers::http;
use crate::subscribers::postgres;
use crate::subscribers::redis;
use crate::subscribers::remote::Protocol;
use crate::subscribers::remote::Remote;

fn store(subscribers: &str) -> StoreConfig {
    let config = parse(&format!("{subscribers}\n{GOOD}"));
    config.unwrap_or_else(|problems| panic!("{problems}")).store
}

fn remote(servers: &[&str], protocol: Protocol, channel: Option<&str>) -> StoreConfig {
    StoreConfig::Remote(Remote {
        servers: servers.iter().map(|&url| url.to_owned()).collect(),
        protocol,
        channel: channel.map(str::to_owned),
    })
}

#[test]
fn a_store_elsewhere_has_all_that_is_not_said_from_the_default_configuration() {
    let patience = Duration::from_secs(2);
    let servers = ["postgres://sip@db1/sip", "postgres://sip@db2/sip"];
    assert_eq!(
        store(&format!(
            "[subscribers]\nstore = \"postgres\"\npostgres.servers = {servers:?}"
        )),
        remote(
            &servers,
            Protocol::Postgres(postgres::Options {
                query: postgres::QUERY.to_owned(),
                connections: 8,
                patience,
            }),
            Some("trunkline_forget")
        )
    );
    let servers = ["redis://cache"];
    assert_eq!(
        store(&format!(
            "[subscribers]\nstore = \"redis\"\nredis.servers = {servers:?}"
        )),
        remote(
            &servers,
            Protocol::Redis(redis::Options {
                key: "sub:{domain}:{user}".to_owned(),
                is_cluster: false,
                patience,
            }),
            Some("trunkline:forget")
        )
    );
    let servers = ["http://hss:8080/{domain}/{user}"];
    assert_eq!(
        store(&format!(
            "[subscribers]\nstore = \"http\"\nhttp.servers = {servers:?}"
        )),
        remote(
            &servers,
            Protocol::Http(http::Options {
                connections: 8,
                patience,
            }),
            None
        )
    );
}

#[test]
fn a_store_elsewhere_is_asked_as_is_said() {
    let patience = Duration::from_millis(300);
    let query = "SELECT ha1 FROM subscriber WHERE username = $1";
    let said = format!(
        "[subscribers]\nstore = \"postgres\"\n[subscribers.postgres]\nservers = [\"postgres://db/sip\"]\n\
         query = \"{query}\"\nconnections = 3\ntimeout_ms = 300\nchannel = \"\""
    );
    let options = postgres::Options {
        query: query.to_owned(),
        connections: 3,
        patience,
    };
    let asked = remote(&["postgres://db/sip"], Protocol::Postgres(options), None);
    assert_eq!(store(&said), asked);
    let said = "[subscribers]\nstore = \"redis\"\n[subscribers.redis]\nservers = [\"redis://a\", \"redis://b\"]\n\
                cluster = true\nkey = \"{user}\"\ntimeout_ms = 300\nchannel = \"changes\"";
    let options = redis::Options {
        key: "{user}".to_owned(),
        is_cluster: true,
        patience,
    };
    let servers = ["redis://a", "redis://b"];
    let asked = remote(&servers, Protocol::Redis(options), Some("changes"));
    assert_eq!(store(said), asked);
    // A table may stand there and not be asked.
    let said = said.replace("store = \"redis\"\n", "store = \"sqlite\"\n");
    assert!(matches!(store(&said), StoreConfig::Sqlite { .. }));
}

#[test]
fn stores_that_cannot_be_asked() {
    for (said, complaint) in [
        ("store = \"postgres\"", "there is no [subscribers.postgres]"),
        ("store = \"mysql\"", "mysql"),
        ("postgres.query = \"SELECT $1\"", "no `servers`"),
        (
            "postgres.query = \"SELECT ha1 FROM subscriber\"",
            "expected a query of SQL with the user in it, as $1",
        ),
        (
            "redis.servers = [\"redis://cache\"]",
            "[subscribers.redis], and [subscribers] does not say which `store` is asked",
        ),
        ("redis.servers = []", "`servers` is empty"),
        (
            "postgres.servers = [\"mysql://db/sip\"]",
            "this server cannot be asked: invalid connection string",
        ),
        (
            "postgres.servers = [\"postgres://db/sip?sslmode=require\"]",
            "TLS is not spoken here",
        ),
        (
            "redis.servers = [\"rediss://cache\"]",
            "this server cannot be asked: can't connect with TLS",
        ),
        (
            "http.servers = [\"http://192.0.2.1/{user}\"]",
            "192.0.2.1 is a public address",
        ),
        ("http.servers = [\"http://hss/users\"]", "has no {user}"),
        (
            "redis.servers = [\"redis://cache\"]\nredis.key = \"sub\"",
            "`key` cannot be \"sub\"",
        ),
        (
            "postgres.servers = [\"postgres://db/sip\"]\npostgres.channel = \"a\\u0000b\"",
            "is no channel",
        ),
        ("http.timeout_ms = 9", "`timeout_ms` is out of range"),
        ("http.channel = \"x\"", "unknown key `channel`"),
    ] {
        let refusal = refusal(&format!("[subscribers]\n{said}\n{GOOD}"));
        assert!(refusal.contains(complaint), "{said}: {refusal}");
    }
}
