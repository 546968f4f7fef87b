//! SDP and media packets, as simple as they can be.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use trunkline_dataplane::lab::Lab;

use super::ladder::Side;

/// What must become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The box must forward it.
    Passes,
    /// The box may forward it: the answer may still be under way.
    Perhaps,
    /// The box must not: a stranger's, or one after the call's end.
    Never,
}

/// What a packet of ours says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// What must become of it.
    pub fate: Fate,
    /// The call.
    pub call: usize,
    /// Who sent it.
    pub side: Side,
}

/// Where the party of call `number` on `side` takes its media.
#[must_use]
pub fn address_of(lab: &Lab, side: Side, number: usize) -> SocketAddr {
    let port = 40_000 + 2 * u16::try_from(number % 10_000).unwrap_or(0);
    SocketAddr::new(lab.host(side as usize, 2), port)
}

fn connection(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("IN IP4 {address}"),
        IpAddr::V6(address) => format!("IN IP6 {address}"),
    }
}

/// A session description of one G.711 stream.
#[must_use]
pub fn sdp(address: SocketAddr, version: u32, direction: &str) -> String {
    let (connection, port) = (connection(address.ip()), address.port());
    format!(
        "v=0\r\no=- 77 {version} {connection}\r\ns=-\r\nc={connection}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na={direction}\r\n"
    )
}

/// The address that a session description names.
///
/// # Errors
/// Where it names none.
pub fn address_in(body: &str) -> Result<SocketAddr, String> {
    let value = |start: &str| body.lines().find_map(|line| line.strip_prefix(start));
    let ip4 = || {
        value("c=IN IP4 ")?
            .parse::<Ipv4Addr>()
            .ok()
            .map(IpAddr::from)
    };
    let ip6 = || {
        value("c=IN IP6 ")?
            .parse::<Ipv6Addr>()
            .ok()
            .map(IpAddr::from)
    };
    let ip = ip4().or_else(ip6);
    let port = value("m=audio ").and_then(|m| m.split(' ').next()?.parse().ok());
    ip.zip(port)
        .map(|(ip, port)| SocketAddr::new(ip, port))
        .ok_or(format!("no media address in {body:?}"))
}

/// The session description as the box must pass it on: `came`, with the address in `left`
/// put in the places of the party's.
///
/// # Errors
/// Where `left` names no address.
pub fn rewritten(came: &str, left: &str) -> Result<String, String> {
    let (old, new) = (address_in(came)?, address_in(left)?);
    Ok(came
        .replace(
            &format!("c={}", connection(old.ip())),
            &format!("c={}", connection(new.ip())),
        )
        .replace(
            &format!("m=audio {} ", old.port()),
            &format!("m=audio {} ", new.port()),
        ))
}

fn label(fate: Fate, call: usize, side: Side, number: u16) -> String {
    let fate = match fate {
        Fate::Passes => 'P',
        Fate::Perhaps => '?',
        Fate::Never => 'X',
    };
    format!("{fate} {call} {} {number} ", ["a", "b"][side as usize])
}

/// An RTP packet.
#[must_use]
pub fn rtp(fate: Fate, call: usize, side: Side, number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(number.to_be_bytes());
    packet.extend((160 * u32::from(number)).to_be_bytes());
    packet.extend(b"ssrc");
    packet.extend(label(fate, call, side, number).bytes());
    packet.resize(172, 0xd5);
    packet
}

/// An RTCP sender report with one source description's worth of text behind it.
#[must_use]
pub fn rtcp(fate: Fate, call: usize, side: Side) -> Vec<u8> {
    // Version 2, SR, length in words less one.
    let mut packet = vec![0x80, 200, 0, 12];
    packet.extend(b"ssrc0000");
    packet.extend(label(fate, call, side, 0).bytes());
    packet.resize(52, b' ');
    packet
}

/// Reads the label of a media packet.
#[must_use]
pub fn read(payload: &[u8]) -> Option<Label> {
    let text = String::from_utf8_lossy(payload.get(12..)?);
    let mut words = text.split(' ');
    let fate = match words.next()? {
        "P" => Fate::Passes,
        "?" => Fate::Perhaps,
        "X" => Fate::Never,
        _ => return None,
    };
    let call = words.next()?.parse().ok()?;
    let side = if words.next()? == "a" {
        Side::Caller
    } else {
        Side::Callee
    };
    Some(Label { fate, call, side })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_whose_it_is() {
        let expected = Label {
            fate: Fate::Never,
            call: 12,
            side: Side::Callee,
        };
        assert_eq!(read(&rtp(Fate::Never, 12, Side::Callee, 3)), Some(expected));
        assert_eq!(read(&rtcp(Fate::Never, 12, Side::Callee)), Some(expected));
    }
}
