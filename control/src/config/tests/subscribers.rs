//! Domains, and what is known of their users.

use super::*;
use trunkline_dataplane::sip::registrar::Rules;

const DOMAIN: &str = r#"
[[domain]]
name = "Example.ORG"
listen = "access"
media = "access"
"#;

#[test]
fn a_domain_is_a_party_after_the_trunks() {
    let source = GOOD.replace("to = \"caller\"", "from = \"example.org\"\nto = \"caller\"");
    let config =
        parse(&format!("{source}{DOMAIN}")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.domains[0].name, "example.org");
    assert_eq!(config.domains[0].trunk, TrunkIndex(1));
    assert_eq!(config.domains[0].algorithms, [Algorithm::Sha256]);
    assert_eq!(config.domains[0].calls, 50);
    let party = &config.trunks[1];
    assert_eq!(party.name, "example.org");
    assert!(party.sources.is_empty() && party.targets.is_empty());
    assert_eq!(config.routes[0].from, Some(TrunkIndex(1)));
    let secrets = Secrets {
        branch: [1; 16],
        cookie: [[2; 16]; 2],
        hash: [3; 16],
    };
    let settings = config.settings(1, secrets.clone());
    assert_eq!(settings.domains[0].trunk, TrunkIndex(1));
    assert_eq!(settings.trunks.len(), 2);
    assert_eq!(settings.capacity.tickets, 4096);
    // Where nobody authenticates no memory is taken for it.
    let without = parse(GOOD).expect("good").settings(1, secrets).capacity;
    assert_eq!(
        (without.subscribers, without.nonces, without.tickets),
        (1, 1, 1)
    );
}

#[test]
fn what_is_said_of_authentication_is_heard() {
    let config = parse(&format!(
        "state = \"/srv/box\"\n[authentication]\nnonce_s = 60\nknown_s = 5\nunknown_s = 7\ndeadline_ms = 31000\n\
         failure_grid_ms = 999\n[abuse]\nfailures = 3\nwithin_s = 4\nban_s = 5\nrequests_per_s = 6\nburst = 7\n[registrar]\nmin_expires = 61\nmax_expires = 62\ndefault_expires = 62\n\
         contacts = 3\nreplace_oldest = true\nservice_route = \"<sip:edge;lr>\"\nkeepalive_s = 25\nflow_timer_s = 120\n[capacity]\nbindings = 50\nsubscribers = 20\nnonces = 30\ntickets = 40\n{GOOD}{DOMAIN}algorithms = [\"sha-512-256\", \"MD5\"]\ncalls = 3\nregistrar = true\n"
    ));
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let authentication = config.authentication;
    assert_eq!(authentication.nonce_s, 60);
    let lifetimes = authentication.lifetimes;
    assert_eq!((lifetimes.known_ms, lifetimes.unknown_ms), (5_000, 7_000));
    assert_eq!(authentication.deadline_ms, 31_000);
    assert_eq!(authentication.failure_grid_ms, 999);
    let abuse = config.abuse;
    assert_eq!((abuse.failures, abuse.within_s, abuse.ban_s), (3, 4, 5));
    assert_eq!((abuse.requests_per_s, abuse.burst), (6, 7));
    assert_eq!(config.capacity.subscribers, 20);
    assert_eq!((config.capacity.nonces, config.capacity.tickets), (30, 40));
    assert!(config.domains[0].registrar);
    assert_eq!(config.domains[0].calls, 3);
    let rules = Rules {
        min_s: 61,
        max_s: 62,
        default_s: 62,
        contacts_max: 3,
        replaces_oldest: true,
        service_route: "<sip:edge;lr>".to_owned(),
        keepalive_s: 25,
        flow_timer_s: 120,
    };
    assert_eq!((config.registrar, config.capacity.bindings), (rules, 50));
    let preferred = [Algorithm::Sha512T256, Algorithm::Md5];
    assert_eq!(config.domains[0].algorithms, preferred);
    // Beside the state, wherever that is.
    let path = PathBuf::from("/srv/box/subscribers.db");
    assert_eq!(config.store, StoreConfig::Sqlite { path });
    let elsewhere =
        parse(&format!("[subscribers]\npath = \"/srv/users.db\"\n{GOOD}")).expect("good");
    let path = PathBuf::from("/srv/users.db");
    assert_eq!(elsewhere.store, StoreConfig::Sqlite { path });
}

#[test]
fn domains_that_cannot_be() {
    let mut refusals = String::new();
    for (from, to) in [
        ("Example.ORG", "-example.org"),
        ("Example.ORG", "sip:example.org"),
        ("Example.ORG", "Caller"),
        ("listen = \"access\"", "listen = \"acess\""),
        ("media = \"access\"", ""),
        (
            "media = \"access\"",
            "media = \"access\"\nalgorithms = [\"SHA-256\", \"SHA1\"]",
        ),
        (
            "media = \"access\"",
            "media = \"access\"\nalgorithms = [\"MD5\", \"md5\"]",
        ),
        ("media = \"access\"", "media = \"access\"\nalgorithms = []"),
    ] {
        refusals += &refusal(&format!("{GOOD}{}", DOMAIN.replacen(from, to, 1)));
        refusals += "\n\n";
    }
    let stateless = GOOD.replace(
        "5060\"\n\n[[media]]",
        "5060\"\nstateless = true\n\n[[media]]",
    );
    refusals += &refusal(&format!("{stateless}{DOMAIN}{DOMAIN}"));
    insta::assert_snapshot!(refusals);
}

#[test]
fn a_route_to_a_domain_is_refused_and_one_from_an_unknown_one_too() {
    let to = GOOD.replace("to = \"caller\"", "to = \"example.org\"");
    let from = GOOD.replace("to = \"caller\"", "from = \"example.com\"\nto = \"caller\"");
    insta::assert_snapshot!(format!(
        "{}\n\n{}",
        refusal(&format!("{to}{DOMAIN}")),
        refusal(&format!("{from}{DOMAIN}"))
    ));
}

#[test]
fn lifetimes_and_stores_that_cannot_be() {
    insta::assert_snapshot!(refusal(&format!(
        "[authentication]\nnonce_s = 0\ndeadline_ms = 30000\nfailure_grid_ms = 2000\n[abuse]\nban_s = 0\n[subscribers]\nstore = \"sqllite\"\n\
         path = \"users.db\"\n[capacity]\ntickets = 1\n{GOOD}"
    )));
}

#[test]
fn a_registrar_elsewhere_is_a_trunk() {
    let domain = DOMAIN.replace("media =", "registrar = \"caller\"\nmedia =");
    let config = parse(&format!("{GOOD}{domain}")).unwrap_or_else(|problems| panic!("{problems}"));
    let domain_of = |config: Config| {
        let domain = &config.domains[0];
        let upstream = domain.upstream.clone().expect("a registrar elsewhere");
        assert!(!domain.registrar);
        assert_eq!(upstream.route.from, Some(TrunkIndex(1)));
        assert_eq!(upstream.route.to[0].trunk, TrunkIndex(0));
        (upstream.nat_expires_s, upstream.passes_unregistered)
    };
    assert!(!config.has_subscribers());
    let secrets = Secrets {
        branch: [1; 16],
        cookie: [[2; 16]; 2],
        hash: [3; 16],
    };
    // Nobody authenticates here; whom the registrar knows is remembered.
    let capacity = config.settings(1, secrets).capacity;
    assert_eq!((capacity.subscribers, capacity.nonces), (1, 1));
    assert_eq!((capacity.tickets, capacity.bindings), (4096, 65_536));
    assert_eq!(domain_of(config), (60, false));
    let more = "nat_expires = 30\nunregistered = \"pass\"\n";
    let config = parse(&format!("{GOOD}{domain}{more}")).expect("good");
    assert_eq!(domain_of(config), (30, true));
}

#[test]
fn registrars_elsewhere_that_cannot_be() {
    let mut refusals = String::new();
    for (from, to) in [
        ("\"caller\"", "\"caler\""),
        ("\"caller\"", "1"),
        ("registrar", "algorithms = [\"MD5\"]\nregistrar"),
        ("registrar", "nat_expires = 5\nregistrar"),
        ("registrar", "unregistered = \"drop\"\nregistrar"),
        (
            "registrar = \"caller\"",
            "nat_expires = 30\nunregistered = \"pass\"\nregistrar = true",
        ),
    ] {
        let domain = format!("{DOMAIN}registrar = \"caller\"\n");
        refusals += &refusal(&format!("{GOOD}{}", domain.replacen(from, to, 1)));
        refusals += "\n\n";
    }
    refusals += &refusal(&format!(
        "[registrar]\nmin_expires = 600\nmax_expires = 300\n{GOOD}{DOMAIN}registrar = true\n"
    ));
    refusals += "\n\n";
    let alone = GOOD.replace("target = \"10.77.1.2:5060\"", "");
    let alone = alone.replace(
        "5060\"\n\n[[media]]",
        "5060\"\nstateless = true\n\n[[media]]",
    );
    refusals += &refusal(&format!("{alone}{DOMAIN}registrar = \"caller\"\n"));
    insta::assert_snapshot!(refusals);
}

#[test]
fn rules_for_who_registers_are_refused_where_nobody_can() {
    let rules = "[registrar]\nmin_expires = 120\n";
    insta::assert_snapshot!(format!(
        "{}\n\n{}",
        refusal(&format!("{rules}{GOOD}")),
        refusal(&format!("{rules}{GOOD}{DOMAIN}"))
    ));
    for registrar in ["true", "\"caller\""] {
        let source = format!("{rules}{GOOD}{DOMAIN}registrar = {registrar}\n");
        parse(&source).unwrap_or_else(|problems| panic!("{problems}"));
    }
    // As it is anyway.
    parse(&format!("[registrar]\nmin_expires = 60\n{GOOD}")).expect("good");
}
