//! Where the contacts of users are kept.

use std::time::Duration;

use super::*;

const REGISTRAR: &str = r#"
[[domain]]
name = "example.org"
listen = "access"
media = "access"
registrar = true
"#;

fn location(said: &str, more: &str) -> LocationConfig {
    let config = parse(&format!(
        "state = \"/srv/box\"\n{said}\n{GOOD}{REGISTRAR}{more}"
    ));
    config
        .unwrap_or_else(|problems| panic!("{problems}"))
        .location
}

#[test]
fn contacts_are_kept_in_a_file_unless_it_is_said_otherwise() {
    let path = |location| match location {
        LocationConfig::Sqlite { path } => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(path(location("", "")), Path::new("/srv/box/location.db"));
    let said = "[location]\npath = \"/srv/where.db\"";
    assert_eq!(path(location(said, "")), Path::new("/srv/where.db"));
    let none = location("[location]\nstore = \"none\"", "");
    assert!(matches!(none, LocationConfig::Nowhere));
    // What registrars elsewhere have granted is no other box's business.
    let elsewhere = REGISTRAR.replace("true", "\"caller\"");
    let of = |said: &str| parse(&format!("state = \"/srv/box\"\n{said}\n{GOOD}{elsewhere}"));
    let kept = of("").expect("good").location;
    assert_eq!(path(kept), Path::new("/srv/box/location.db"));
    // Without a registrar there are none.
    let without = parse(GOOD).expect("good").location;
    assert!(matches!(without, LocationConfig::Nowhere));
}

#[test]
fn several_boxes_share_servers() {
    let said = "[registrar]\nmax_expires = 7000\n[location]\nstore = \"redis\"\n\
                redis.servers = [\"redis://a\", \"redis://b:7000\"]\nredis.cluster = true\nredis.prefix = \"x.y\"";
    let LocationConfig::Redis(options) = location(said, "located = true\n") else {
        panic!("redis");
    };
    assert_eq!(options.servers, ["redis://a", "redis://b:7000"]);
    assert!(options.is_cluster);
    assert_eq!(options.prefix, "x.y");
    assert_eq!(options.remember, Duration::from_secs(7000));
    let secrets = Secrets {
        branch: [1; 16],
        cookie: [[2; 16]; 2],
        hash: [3; 16],
    };
    let said = "[location]\nstore = \"redis\"\nredis.servers = [\"redis://a\"]\n";
    let domain = REGISTRAR.replace("registrar", "located");
    let config = parse(&format!("{said}{GOOD}{domain}")).expect("good");
    let settings = config.settings(1, secrets);
    assert_eq!(settings.location, Location::Shared);
    assert!(settings.domains[0].located && !settings.domains[0].registrar);
}

#[test]
fn stores_that_cannot_be_are_refused() {
    let mut refusals = String::new();
    for said in [
        "store = \"redis\"",
        "store = \"file\"",
        "path = \"where.db\"",
        "store = \"redis\"\nredis.servers = []",
        "store = \"redis\"\nredis.servers = [\"redis://a\", \"http://b\"]",
        "store = \"redis\"\nredis.servers = [\"redis://a\"]\nredis.prefix = \"a b\"",
        "redis.servers = [\"redis://a\"]",
    ] {
        refusals += &refusal(&format!("[location]\n{said}\n{GOOD}{REGISTRAR}"));
        refusals += "\n";
    }
    let domain = REGISTRAR.replace("registrar", "located");
    refusals += &refusal(&format!("{GOOD}{domain}"));
    insta::assert_snapshot!(refusals);
}

#[test]
fn a_place_where_nothing_would_be_kept_is_refused() {
    let redis = "[location]\nstore = \"redis\"\nredis.servers = [\"redis://a\"]\n";
    let edge = REGISTRAR.replace("true", "\"caller\"");
    let neither = REGISTRAR.replace("registrar = true", "");
    let mut refusals = String::new();
    for domain in [&edge, &neither] {
        refusals += &refusal(&format!("{redis}{GOOD}{domain}"));
        refusals += "\n";
    }
    insta::assert_snapshot!(refusals);
    // An edge that calls other users where other boxes have registered them keeps nothing there of its own.
    let located = REGISTRAR
        .replace("registrar", "located")
        .replace("example.org", "example.net");
    parse(&format!("{redis}{GOOD}{edge}{located}")).unwrap_or_else(|problems| panic!("{problems}"));
}
