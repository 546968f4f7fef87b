//! Several carriers behind the core interface, and a route to them with q values.

use std::net::IpAddr;
use std::net::SocketAddr;

use super::ACCESS;
use super::Bench;
use super::CALLER;
use super::CORE;
use super::Left;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::lab;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::ring::FakeConfig;
use trunkline_dataplane::settings::Choice;
use trunkline_dataplane::settings::Settings;

/// A host of the core network.
pub fn host(last: u8) -> SocketAddr {
    SocketAddr::new(Lab::PLAIN.host(1, last), 5060)
}

/// The lab, whose caller's calls go to these trunks: q, and the last bytes of the addresses of its
/// targets.
pub fn settings(workers: u8, carriers: &[(u16, &[u8])]) -> Settings {
    let mut settings = lab::settings(workers);
    let template = settings.trunks.remove(1);
    for (number, &(_, targets)) in carriers.iter().enumerate() {
        let mut trunk = template.clone();
        trunk.name = format!("carrier{number}");
        trunk.targets = targets.iter().map(|&last| host(last)).collect();
        trunk.sources = trunk.targets.iter().map(|to| (to.ip(), 32)).collect();
        settings.trunks.push(trunk);
    }
    let choices = (1..).zip(carriers).map(|(trunk, &(q, _))| Choice {
        trunk: TrunkIndex(trunk),
        q,
    });
    settings.routes[0].to = choices.collect();
    settings
}

pub fn bench_of(settings: &Settings) -> Bench {
    let mut knows: Vec<IpAddr> = (2..=30).map(|last| Lab::PLAIN.host(1, last)).collect();
    knows.extend(lab::everybody());
    Bench::with(
        settings,
        FakeConfig::default(),
        &lab::network(1, 1500, &knows),
    )
}

/// One worker in that lab.
pub fn bench(carriers: &[(u16, &[u8])]) -> Bench {
    bench_of(&settings(1, carriers))
}

/// What left for a host of the core.
pub fn to(left: &[Left], last: u8) -> Vec<String> {
    let found = left.iter().filter(|left| left.destination == host(last));
    found
        .map(|left| {
            assert_eq!(left.source, CORE);
            left.text()
        })
        .collect()
}

/// The one message that left for a host of the core.
pub fn one_to(left: &[Left], last: u8) -> String {
    let found = to(left, last);
    assert_eq!(found.len(), 1, "to {last}: {left:#?}");
    found[0].clone()
}

/// What left for the caller.
pub fn all_to_caller(left: &[Left]) -> Vec<String> {
    let found = left.iter().filter(|left| left.destination == CALLER);
    found
        .map(|left| {
            assert_eq!(left.source, ACCESS);
            left.text()
        })
        .collect()
}

/// The hosts of the core to which something left that begins so, in order.
pub fn hosts_that_got(left: &[Left], start: &str) -> Vec<u8> {
    let found = left.iter().filter(|left| left.text().starts_with(start));
    found
        .filter_map(|left| match left.destination.ip() {
            IpAddr::V4(ip) if ip.octets()[2] == 2 => Some(ip.octets()[3]),
            _ => None,
        })
        .collect()
}

/// A message of a host of the core to the box; what leaves because of it.
pub fn says(bench: &mut Bench, last: u8, message: &str) -> Vec<Left> {
    bench.say(0, host(last), CORE, message)
}

/// The response of the host `last` to what it got, with a To tag of its own.
pub fn answer_of(last: u8, request: &str, status: &str, lines: &str, body: &str) -> String {
    let contact = format!("Contact: <sip:callee@10.77.2.{last}>\r\n");
    super::answer(request, status, &format!("{contact}{lines}"), body)
        .replace(";tag=callee", &format!(";tag=at{last}"))
}

/// The ACK of the caller to a final response that is not 2xx.
pub fn ack_of_failure(failed: &str) -> String {
    let more = format!("To: {}\r\n", super::header(failed, "To"));
    let call_id = super::header(failed, "Call-ID");
    super::request("ACK", &call_id, "1", "b1", &more, "")
}
