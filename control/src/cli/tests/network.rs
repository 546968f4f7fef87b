//! The tables of workers, interfaces, trunks and the kernel's tables.

use super::*;

#[test]
fn interfaces() {
    let interfaces = read(
        r#"{"interfaces":[
          {"name":"access","device":"eth0","link":"up","mode":"native","frames":"zero-copy","queues":2,"mtu":1500,"busy_poll":"active",
           "mac":"02:00:00:00:00:01","addresses":["10.77.1.1","2001:db8::1","fe80::1"],
           "xdp":{"seen":1234567,"pass":67,"drop":500,"redirect":1234000}},
          {"name":"core","device":"enp129s0f0np0","link":"down","mode":"generic","frames":"copy","queues":16,"mtu":9000,
           "mode_because":"the driver bnxt_en has no native XDP with an MTU of 9000","busy_poll":"off",
           "mac":null,"addresses":[],"xdp":null}]}"#,
    );
    insta::assert_snapshot!(PAPER.interfaces(&interfaces));
}

#[test]
fn workers() {
    let workers = read(
        r#"{"workers":[
          {"id":0,"core":0,"poll":"adaptive","busy_percent":12.3,"calls":1000,"transactions":20,"flows":4000,"memory":"hugepages",
           "turns_per_s":1234567.0,"sleeps_per_s":9876.0,"mail_in":1000,"mail_out":2000,"kernel_in":3,"turned_s_ago":0.05},
          {"id":1,"core":null,"poll":"busy","busy_percent":null,"calls":0,"transactions":0,"flows":4000,"memory":"ordinary pages",
           "turns_per_s":null,"sleeps_per_s":null,"mail_in":0,"mail_out":0,"kernel_in":0,"turned_s_ago":75.0}]}"#,
    );
    insta::assert_snapshot!(PAPER.workers(&workers));
}

#[test]
fn frames() {
    let frames = read(
        r#"{"workers":[{"worker":0,
          "ledger":{"total":16384,"free":8190,"fill":8192,"held":0,"rx":1,"tx":0,"completion":0,"difference":1},
          "came_in":{"sum":1100,"by":[{"name":"rx","count":1000},{"name":"mail_in","count":100},{"name":"kernel_in","count":0}]},
          "ended":{"sum":2334,"by":[{"name":"forwarded","count":2132},{"name":"answered","count":102},{"name":"absorbed","count":0},
            {"name":"handed over","count":50},{"name":"dropped","count":50}]},
          "in_difference":-1234,"to_send":12000,
          "disposed":{"sum":12000,"by":[{"name":"sent","count":11990},{"name":"not sent","count":10}]},"out_difference":0}]}"#,
    );
    let shown = PAPER.frames(&frames);
    assert_eq!(shown.lines().find(|line| line.chars().count() > 80), None);
    insta::assert_snapshot!(shown);
}

#[test]
fn trunks() {
    let counts: String = [
        ("requests_in", 4000),
        ("requests_out", 0),
        ("failovers", 3),
        ("rejected", 12),
        ("calls_in", 1500),
        ("calls_in_answered", 1000),
        ("calls_out", 0),
        ("calls_out_answered", 0),
        ("calls_now", 42),
    ]
    .map(|(name, total)| format!(r#"{{"name":"{name}","help":"","total":{total}}}"#))
    .join(",");
    let trunks = read(&format!(
        r#"{{"trunks":[
          {{"name":"caller","sources":["10.77.1.2"],"targets":[],"listen":"access","media":"access","counts":[{counts}]}},
          {{"name":"a-carrier","sources":["192.0.2.0/25","198.51.100.0/24"],"targets":["192.0.2.7:5060"],"listen":"core",
            "media":"core","counts":[]}},
          {{"name":"example.org","is_domain":true,"sources":[],"targets":[],"listen":"access","media":"access","counts":[
            {{"name":"contacts_now","help":"","total":1200}},{{"name":"registered","help":"","total":35000}},
            {{"name":"registrations_refused","help":"","total":7}},{{"name":"auth_granted","help":"","total":41000}},
            {{"name":"auth_failures","help":"","total":123}}]}}]}}"#
    ));
    insta::assert_snapshot!(PAPER.trunks(&trunks));
}

#[test]
fn routes_and_neighbours() {
    let routes = read(
        r#"{"snapshot":{"epoch":7,"workers_behind":[]},"routes":[
          {"destination":"0.0.0.0/0","gateway":"10.77.2.254","interface":"core","leads":"interface","metric":100},
          {"destination":"10.77.1.0/24","gateway":null,"interface":"access","leads":"interface","metric":0},
          {"destination":"172.16.0.0/12","gateway":null,"interface":null,"leads":"other","metric":0},
          {"destination":"192.0.2.0/24","gateway":null,"interface":null,"leads":"nowhere","metric":0}]}"#,
    );
    insta::assert_snapshot!(PAPER.routes(&routes));
    let neighbours = read(
        r#"{"snapshot":{"epoch":7,"workers_behind":[1]},"neighbours":[
          {"interface":"access","address":"10.77.1.2","mac":"04:00:00:00:00:02"}]}"#,
    );
    insta::assert_snapshot!(PAPER.neighbours(&neighbours));
    let none = read(r#"{"snapshot":{"epoch":1,"workers_behind":[]},"neighbours":[]}"#);
    assert_eq!(
        PAPER.neighbours(&none),
        "0 neighbours; snapshot 1, which every worker has\n"
    );
}

#[test]
fn ways() {
    let way = read(
        r#"{"address":"192.0.2.9","snapshot":{"epoch":7,"workers_behind":[]},"reachable":true,"because":null,"reason":null,
          "interface":"core","next_hop":"10.77.2.254","mac":"04:00:00:00:00:fe","mtu":1500}"#,
    );
    insta::assert_snapshot!(PAPER.way(&way));
    let no_way = read(
        r#"{"address":"10.77.2.9","snapshot":{"epoch":7,"workers_behind":[]},"reachable":false,
          "because":"the link-layer address of 10.77.2.9 on core is not known; it is asked for when there is something to send: see `ip neigh show 10.77.2.9`",
          "reason":"no_neighbour","interface":"core","next_hop":"10.77.2.9","mac":null,"mtu":null}"#,
    );
    insta::assert_snapshot!(PAPER.way(&no_way));
}
