//! A call on the bench, step by step.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use super::ACCESS;
use super::Bench;
use super::CALLEE;
use super::CALLER;
use super::CORE;
use super::Left;
use super::answer;
use super::header;
use super::invite;
use super::request;
use super::sdp;

pub const CALLER_MEDIA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2)), 6000);
/// Where the caller's media is later.
pub const MOVED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2)), 6100);
pub const CALLEE_MEDIA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2)), 7000);
pub const CONTACT: &str = "Contact: <sip:callee@10.77.2.2>\r\n";

/// The one message that left, which went from `source` to `destination`.
pub fn only(left: &[Left], source: SocketAddr, destination: SocketAddr) -> String {
    let found: Vec<_> = left
        .iter()
        .filter(|left| left.destination == destination)
        .collect();
    assert_eq!(
        found.len(),
        1,
        "to {destination}: {:#?}",
        left.iter().map(Left::text).collect::<Vec<_>>()
    );
    assert_eq!(found[0].source, source);
    found[0].text()
}

pub fn to_caller(left: &[Left]) -> String {
    only(left, ACCESS, CALLER)
}

pub fn to_callee(left: &[Left]) -> String {
    only(left, CORE, CALLEE)
}

pub fn status(text: &str) -> &str {
    text.strip_prefix("SIP/2.0 ").map_or("", |rest| &rest[..3])
}

/// An established call with media, whose INVITE and 200 arrived at `worker`. What the box
/// sent to the callee and to the caller: the INVITE and the 200.
pub fn establish(bench: &mut Bench, worker: usize, call_id: &str) -> (String, String) {
    let sent = to_callee(&bench.caller(worker, &invite(call_id, &sdp(CALLER_MEDIA))));
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let answered = to_caller(&bench.callee(worker, &ok));
    let ack = in_dialog("ACK", call_id, "1", "b-ack", &answered);
    to_callee(&bench.caller(worker, &ack));
    (sent, answered)
}

/// A request of the caller in the dialog that `answered` made.
pub fn in_dialog(method: &str, call_id: &str, cseq: &str, branch: &str, answered: &str) -> String {
    let mut lines: Vec<String> = answered
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    lines.reverse();
    let more = format!("{}To: {}\r\n", lines.concat(), header(answered, "To"));
    let text = request(method, call_id, cseq, branch, &more, "");
    text.replacen("sip:100@10.77.1.1", "sip:callee@10.77.2.2", 1)
}

/// The relay address in a message's SDP.
pub fn media_in(text: &str) -> SocketAddr {
    let ip = text
        .lines()
        .find_map(|line| line.strip_prefix("c=IN IP4 "))
        .unwrap();
    let m = text
        .lines()
        .find_map(|line| line.strip_prefix("m=audio "))
        .unwrap();
    SocketAddr::new(
        ip.parse().unwrap(),
        m.split(' ').next().unwrap().parse().unwrap(),
    )
}

pub fn rtp(payload_type: u8) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
    packet.resize(172, 0xd5);
    packet
}

/// A request of the callee in the dialog that `answered` made.
pub fn of_callee(method: &str, cseq: &str, answered: &str) -> String {
    let routes: String = answered
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    format!(
        "{method} sip:caller@10.77.1.2 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 10.77.2.2;branch=z9hG4bKcallee{cseq}{method}\r\n{routes}\
         From: <sip:100@10.77.1.1>;tag=callee\r\nTo: <sip:caller@10.77.1.2>;tag=caller\r\n\
         Call-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:callee@10.77.2.2>\r\n\
         Content-Length: 0\r\n\r\n",
        header(answered, "Call-ID")
    )
}

/// Where an RTP packet of `source` to `port` leaves to, if it does.
pub fn relayed(bench: &mut Bench, source: SocketAddr, port: SocketAddr) -> Option<SocketAddr> {
    bench.left.clear();
    bench.arrives(0, source, port, &rtp(8));
    bench.turn();
    bench.left.pop_front().map(|left| left.destination)
}

/// The one message that left and begins so.
pub fn sole(left: &[Left], start: &str) -> String {
    let found: Vec<_> = left
        .iter()
        .map(Left::text)
        .filter(|text| text.starts_with(start))
        .collect();
    let [text] = &found[..] else {
        panic!("{start}: {found:#?}")
    };
    text.clone()
}
