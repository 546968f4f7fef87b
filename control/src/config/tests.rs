//! What a person sees of a broken file, and that the reference is complete.

use std::net::IpAddr;

use trunkline_dataplane::wire::vlan::TPID_8021AD;
use trunkline_dataplane::wire::vlan::TPID_8021Q;

use super::*;

mod location;
mod remote;
mod subscribers;

const GOOD: &str = r#"
[[interface]]
name = "access"
device = "access0"

[[listen]]
name = "access"
address = "10.77.1.1:5060"

[[media]]
name = "access"
address = "10.77.1.1"
ports = "20000-24999"

[[trunk]]
name = "caller"
sources = ["10.77.1.2"]
listen = "access"
media = "access"
target = "10.77.1.2:5060"

[[route]]
to = "caller"
"#;

fn parse(source: &str) -> Result<Config, Problems> {
    Config::parse(Path::new("trunkline.toml"), source)
}

/// What a person sees of `source`, which must be refused.
fn refusal(source: &str) -> String {
    parse(source)
        .expect_err("the file should be refused")
        .to_string()
}

/// What a person sees where one piece of the good file is replaced.
fn refusal_with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is not in the good file");
    refusal(&GOOD.replacen(from, to, 1))
}

#[test]
fn the_default_configuration_is_good() {
    let config = parse(DEFAULT).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.workers, 2);
    assert_eq!(config.interfaces.len(), 2);
    assert_eq!(
        config.trunks[1].sources[1],
        ("10.77.2.128".parse().unwrap(), 25)
    );
    assert_eq!(config.routes[0].to[0].trunk, TrunkIndex(1));
    assert_eq!(config.trunks[1].media, MediaIndex(1));
}

#[test]
fn what_the_default_configuration_says_of_a_default_is_so() {
    // The keys that the file comments out are put in force; nothing may change. These have no default.
    let is_example = |key: &str| {
        ["advertise", "service_route"]
            .iter()
            .any(|it| key.starts_with(it))
    };
    let uncommented = DEFAULT
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if is_key(rest) && !is_example(rest) => rest,
            Some(rest) if rest.starts_with('[') => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let full = parse(&uncommented).unwrap_or_else(|problems| panic!("{problems}"));
    let sparse = parse(GOOD).expect("good");
    assert_eq!(full.workers, sparse.workers);
    assert_eq!(full.poll, sparse.poll);
    assert_eq!(full.socket, sparse.socket);
    assert_eq!(full.state, sparse.state);
    assert_eq!((full.umem_frames, sparse.umem_frames), (Some(16_384), None));
    assert_eq!(full.hugepages, sparse.hugepages);
    assert_eq!(
        (full.ring_rx, full.ring_tx),
        (sparse.ring_rx, sparse.ring_tx)
    );
    assert_eq!(full.capacity.transactions, sparse.capacity.transactions);
    assert_eq!(full.capacity.calls, sparse.capacity.calls);
    assert_eq!(full.capacity.kept, sparse.capacity.kept);
    assert_eq!(full.interfaces[0].mode, full.interfaces[1].mode);
    assert_eq!(full.interfaces[0].zero_copy, full.interfaces[1].zero_copy);
    assert_eq!(full.cores, Some(vec![0, 1]));
    assert_eq!(full.group.as_deref(), Some("trunkline"));
    let trunk = |config: &Config| {
        let failover = &config.trunks[0].failover;
        (failover.codes.clone(), failover.no_answer_ms)
    };
    assert_eq!(full.trunks[1].failover.codes, trunk(&sparse).0);
    assert_eq!(full.trunks[1].failover.no_answer_ms, trunk(&sparse).1);
    assert_eq!(full.session, sparse.session);
    assert_eq!(full.listens[0].stateless, sparse.listens[0].stateless);
    assert_eq!(full.routes[0].stateless, sparse.routes[0].stateless);
    assert_eq!(full.domains[0].algorithms, [Algorithm::Sha256]);
    assert_eq!(full.store, sparse.store);
    assert_eq!(
        format!("{:?}", full.authentication),
        format!("{:?}", sparse.authentication)
    );
    assert_eq!(full.abuse, sparse.abuse);
    assert_eq!(full.registrar, sparse.registrar);
    assert_eq!(
        [
            full.capacity.subscribers,
            full.capacity.nonces,
            full.capacity.tickets
        ],
        [
            sparse.capacity.subscribers,
            sparse.capacity.nonces,
            sparse.capacity.tickets
        ]
    );
    let metrics = full.metrics.map(|address| address.to_string());
    assert_eq!(metrics.as_deref(), Some("127.0.0.1:9470"));
}

fn is_key(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| {
        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[test]
fn every_key_of_the_code_stands_in_the_default_configuration() {
    // An unknown key in each table makes the reader name the keys that it knows.
    let mut probe = String::from("zzzzzzzzzz = 1\n");
    for table in [
        "[umem]",
        "[metrics]",
        "[rings]",
        "[capacity]",
        "[session]",
        "[authentication]",
        "[abuse]",
        "[registrar]",
        "[subscribers]",
        "[subscribers.postgres]",
        "[subscribers.redis]",
        "[subscribers.http]",
        "[location]",
        "[location.redis]",
    ] {
        probe += &format!("{table}\nzzzzzzzzzz = 1\n");
    }
    for table in ["interface", "listen", "media", "trunk", "domain", "route"] {
        probe += &format!("[[{table}]]\nzzzzzzzzzz = 1\n");
    }
    let refusal = refusal(&probe);
    let mut keys = 0;
    for line in refusal
        .lines()
        .filter_map(|line| line.split_once(" takes "))
    {
        for key in line.1.split(", ") {
            keys += 1;
            let stands = |line: &str| {
                let line = line.trim_start_matches('#');
                line.starts_with(&format!("{key} = "))
                    || line == format!("[{key}]")
                    || line == format!("[subscribers.{key}]")
                    || line == format!("[location.{key}]")
                    || line == format!("[[{key}]]")
            };
            assert!(
                DEFAULT.lines().any(stands),
                "`{key}` is missing from default.toml"
            );
        }
    }
    assert_eq!(
        keys,
        23 + 2 + 1 + 2 + 2 + 8 + 5 + 5 + 8 + (5 + 5 + 5 + 3) + (3 + 3) + 8 + 4 + 4 + 7 + 9 + 4,
        "a table was not probed:\n{refusal}"
    );
}

#[test]
fn values_and_names_are_resolved() {
    let source = GOOD
        .replace("\"10.77.1.2\"]", "\"10.77.1.2\", \"10.9.0.0/16\"]")
        .replace(
            "to = \"caller\"",
            "from = \"caller\"\nprefix = \"+44\"\nto = \"caller\"",
        );
    let config = parse(&source).expect("good");
    assert_eq!(
        config.trunks[0].sources[1],
        ("10.9.0.0".parse().unwrap(), 16)
    );
    assert_eq!(config.routes[0].from, Some(TrunkIndex(0)));
    assert_eq!(config.routes[0].prefix.as_deref(), Some("+44"));
    assert_eq!(config.listens[0].advertised, config.listens[0].address);
    assert_eq!(config.media[0].ports, 20000..=24999);
}

#[test]
fn a_file_that_is_not_toml() {
    insta::assert_snapshot!(refusal_with("name = \"access\"", "name = \"access"));
}

#[test]
fn an_unknown_key_with_a_near_miss() {
    insta::assert_snapshot!(refusal_with("address =", "adress ="));
}

#[test]
fn an_unknown_key_and_an_unknown_table() {
    insta::assert_snapshot!(refusal(&format!("colour = 1\n[trunks]\n[umems]\n{GOOD}")));
}

#[test]
fn values_of_the_wrong_type_and_out_of_range() {
    insta::assert_snapshot!(refusal(&format!(
        "workers = \"two\"\npoll = \"bussy\"\ncores = [0, \"1\"]\n[rings]\nrx = 1000\ntx = 7\n{GOOD}"
    )));
}

#[test]
fn addresses_that_are_none() {
    insta::assert_snapshot!(refusal_with("\"10.77.1.1:5060\"", "\"10.77.1.1\""));
    insta::assert_snapshot!(refusal_with("\"10.77.1.1:5060\"", "\"0.0.0.0:0\""));
    insta::assert_snapshot!(refusal_with(
        "\"10.77.1.2\"]",
        "\"10.77.1.2/33\", \"10.77.1.9/24\"]"
    ));
}

/// The good file in IPv6.
fn good6() -> String {
    GOOD.replace("10.77.1.1:5060", "[2001:db8::1]:5060")
        .replace("10.77.1.2:5060", "[2001:db8::2]:5060")
        .replace("10.77.1.1", "2001:db8::1")
        .replace("10.77.1.2", "2001:db8:9::/48")
}

#[test]
fn ipv6_addresses_are_read_and_ipv4_in_their_clothes_is_ipv4() {
    let config = parse(&good6()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(
        config.listens[0].address,
        "[2001:db8::1]:5060".parse().unwrap()
    );
    assert_eq!(
        config.media[0].advertised,
        "2001:db8::1".parse::<IpAddr>().unwrap()
    );
    assert_eq!(
        config.trunks[0].sources,
        [("2001:db8:9::".parse().unwrap(), 48)]
    );
    let mapped = GOOD
        .replace("10.77.1.1:5060", "[::ffff:10.77.1.1]:5060")
        .replace("\"10.77.1.1\"", "\"::ffff:10.77.1.1\"")
        .replace(
            "\"10.77.1.2\"",
            "\"::ffff:10.77.1.2\", \"::ffff:10.9.0.0/112\"",
        );
    let config = parse(&mapped).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.listens[0].address, "10.77.1.1:5060".parse().unwrap());
    assert_eq!(
        config.media[0].address,
        "10.77.1.1".parse::<IpAddr>().unwrap()
    );
    let sources = ["10.77.1.2", "10.9.0.0"].map(|ip| ip.parse::<IpAddr>().unwrap());
    assert_eq!(
        config.trunks[0].sources,
        [(sources[0], 32), (sources[1], 16)]
    );
}

#[test]
fn addresses_that_do_not_go_together_or_say_nothing() {
    let mut refusals = String::new();
    for (from, to) in [
        ("[2001:db8::2]:5060", "10.77.1.2:5060"),
        ("[2001:db8::2]:5060", "[fe80::2%3]:5060"),
        (
            "[2001:db8::1]:5060\"",
            "[2001:db8::1]:5060\"\nadvertise = \"192.0.2.1:5060\"",
        ),
        (
            "\"2001:db8::1\"",
            "\"2001:db8::1\"\nadvertise = \"192.0.2.1\"",
        ),
        ("2001:db8:9::/48", "fe80::/10"),
        ("2001:db8:9::/48", "2001:db8:9::1/48"),
        ("\"2001:db8::1\"", "\"ff02::1\""),
    ] {
        let good = good6();
        assert!(good.contains(from), "{from}");
        refusals += &refusal(&good.replacen(from, to, 1));
        refusals += "\n\n";
    }
    insta::assert_snapshot!(refusals);
}

/// One NIC, VLAN 10 for access and VLAN 20 for core.
const VLANS: &str = r#"
[[interface]]
name = "core"
device = "access0"
vlan = 20

[[interface]]
name = "far"
device = "far0"
vlan = [200, 100]
vlan_outer = "802.1q"
"#;

#[test]
fn interfaces_of_one_device_are_told_by_their_tags() {
    let good = GOOD.replace("device = \"access0\"", "device = \"access0\"\nvlan = 10") + VLANS;
    let config = parse(&good).unwrap_or_else(|problems| panic!("{problems}"));
    let of = |at: usize| {
        let interface = &config.interfaces[at];
        (interface.device_index.0, interface.vlan)
    };
    assert_eq!(of(0), (0, VlanStack::one(10)));
    assert_eq!(of(1), (0, VlanStack::one(20)));
    assert_eq!(of(2), (1, VlanStack::two(TPID_8021Q, 200, 100)));
    let devices: Vec<_> = config.devices().map(|(at, _)| at).collect();
    assert_eq!(devices, [0, 2]);
    let without = good.replace("vlan_outer = \"802.1q\"\n", "");
    let config = parse(&without).expect("good");
    assert_eq!(
        config.interfaces[2].vlan,
        VlanStack::two(TPID_8021AD, 200, 100)
    );

    let mut refusals = String::new();
    for (from, to) in [
        ("vlan = 20", "vlan = 10"),
        ("vlan = 20", "vlan = 0"),
        ("vlan = 20", "vlan = [1, 2, 3]"),
        ("vlan = 20", "vlan = \"20\""),
        ("vlan = 20", "vlan = 20\nvlan_outer = \"802.1ad\""),
        (
            "vlan = 20",
            "vlan = 20\nmode = \"native\"\nzero_copy = \"off\"",
        ),
        ("802.1q", "qinq"),
    ] {
        refusals += &refusal(&good.replacen(from, to, 1));
        refusals += "\n\n";
    }
    insta::assert_snapshot!(refusals);
}

#[test]
fn names_that_no_one_has() {
    insta::assert_snapshot!(refusal_with("listen = \"access\"", "listen = \"acess\""));
    insta::assert_snapshot!(refusal_with("to = \"caller\"", "to = \"carrier\""));
}

#[test]
fn a_route_to_a_trunk_without_target() {
    insta::assert_snapshot!(refusal_with("target = \"10.77.1.2:5060\"", ""));
}

#[test]
fn targets_and_trunks_are_read_in_the_order_in_which_they_are_tried() {
    let source = GOOD
        .replace(
            "target = \"10.77.1.2:5060\"",
            "target = [\"10.77.1.2:5060\", \"10.77.1.3:5060\"]\nfailover_codes = [500, 503]",
        )
        .replace(
            "to = \"caller\"",
            "to = [{ trunk = \"caller\", q = 0.25 }, \"second\"]",
        );
    let second = "\n[[trunk]]\nname = \"second\"\nsources = [\"10.77.1.9\"]\nlisten = \"access\"\n\
                  media = \"access\"\ntarget = \"10.77.1.9:5060\"\nno_answer_ms = 500\n";
    let config = parse(&(source + second)).unwrap_or_else(|problems| panic!("{problems}"));
    let targets: Vec<_> = config.trunks[0]
        .targets
        .iter()
        .map(|t| t.ip().to_string())
        .collect();
    assert_eq!(targets, ["10.77.1.2", "10.77.1.3"]);
    assert_eq!(config.trunks[0].failover.codes, [500, 503]);
    assert_eq!(config.trunks[1].failover.no_answer_ms, 500);
    let choices: Vec<_> = config.routes[0]
        .to
        .iter()
        .map(|c| (c.trunk.0, c.q))
        .collect();
    assert_eq!(choices, [(1, 1000), (0, 250)]);
}

#[test]
fn targets_and_trunks_that_cannot_be() {
    let target = "target = \"10.77.1.2:5060\"";
    insta::assert_snapshot!(refusal_with(
        target,
        "target = [\"10.77.1.2:5060\", \"[2001:db8::2]:5060\", \"10.77.1.2:5060\"]"
    ));
    insta::assert_snapshot!(refusal_with(
        target,
        "target = \"10.77.1.2:5060\"\nfailover_codes = [503, 407, 487]"
    ));
    insta::assert_snapshot!(refusal_with(
        "to = \"caller\"",
        "stateless = true\nto = [\"caller\", { trunk = \"calller\", q = 2 }, { name = \"x\" }]"
    ));
    let mut many = GOOD.replace("to = \"caller\"", "to = [\"caller\", \"b\", \"c\"]");
    for name in ["b", "c"] {
        let target = |n| format!("\"10.77.1.3:{n}\"");
        let targets: Vec<_> = (5060..5068).map(target).collect();
        many += &format!(
            "[[trunk]]\nname = \"{name}\"\nsources = [\"10.78.1.0/{}\"]\nlisten = \"access\"\n\
             media = \"access\"\ntarget = [{}]\n",
            if name == "b" { 24 } else { 25 },
            targets.join(", ")
        );
    }
    insta::assert_snapshot!(refusal(&many));
    let capacity = format!("[capacity]\ntransactions = 1000\ncalls = 875\n{GOOD}");
    insta::assert_snapshot!(refusal(&capacity));
    let session = format!("[session]\nexpires = 60\n{GOOD}");
    insta::assert_snapshot!(refusal(&session));
}

#[test]
fn media_ports_that_cannot_be() {
    insta::assert_snapshot!(refusal_with("20000-24999", "20001-24998"));
    insta::assert_snapshot!(refusal_with("20000-24999", "24999-20000"));
    insta::assert_snapshot!(refusal_with("20000-24999", "5000-5999"));
}

#[test]
fn things_given_twice() {
    insta::assert_snapshot!(refusal(&format!(
        "{GOOD}\n[[interface]]\nname = \"access\"\ndevice = \"access0\"\n\
         [[listen]]\nname = \"other\"\naddress = \"10.77.1.1:5060\"\n\
         [[media]]\nname = \"other\"\naddress = \"10.77.1.1\"\nports = \"24000-25999\"\n\
         [[trunk]]\nname = \"other\"\nsources = [\"10.77.1.2\"]\nlisten = \"access\"\nmedia = \"other\"\n"
    )));
}

#[test]
fn what_is_missing() {
    insta::assert_snapshot!(refusal(""));
    insta::assert_snapshot!(refusal_with("sources = [\"10.77.1.2\"]\n", ""));
}

#[test]
fn too_few_frames_and_cores() {
    insta::assert_snapshot!(refusal(&format!(
        "workers = 3\ncores = [0, 0]\n[umem]\nframes = 1000\n{GOOD}"
    )));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(source in ".{0,200}") {
        if let Err(problems) = parse(&source) {
            proptest::prop_assert!(problems.to_string().contains("error"));
        }
    }

    #[test]
    fn no_cut_or_overwritten_file_makes_the_reader_panic(
        cut in 0..GOOD.len(), byte in proptest::char::any(), len in 0..GOOD.len(),
    ) {
        let mut source: String = GOOD.chars().take(cut).collect();
        source.push(byte);
        source.extend(GOOD.chars().skip(len));
        if let Err(problems) = parse(&source) {
            proptest::prop_assert!(problems.to_string().contains("trunkline.toml:"));
        }
    }
}
