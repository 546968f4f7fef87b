//! SDP and media packets, as simple as they can be.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

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
    /// Who sent it: the caller is 0, the callees follow.
    pub from: u8,
}

/// Where somebody of call `number` takes media on a host.
#[must_use]
pub fn address_of(host: IpAddr, number: usize) -> SocketAddr {
    let port = 40_000 + 2 * u16::try_from(number % 10_000).unwrap_or(0);
    SocketAddr::new(host, port)
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
        .ok_or_else(|| format!("no media address in {body:?}"))
}

/// True where `left` is the session description as the box must pass on `came`: all as it was,
/// but for another address in `c=` and `m=`.
#[must_use]
pub fn is_rewritten(came: &str, left: &str) -> bool {
    let mut pairs = came.split("\r\n").zip(left.split("\r\n"));
    came.matches("\r\n").count() == left.matches("\r\n").count()
        && pairs.all(|(came, left)| {
            came == left
                || came.starts_with("c=") && left.starts_with("c=")
                || without_port(came).is_some_and(|came| without_port(left) == Some(came))
        })
}

/// An m= line's media, and what follows its port.
fn without_port(line: &str) -> Option<(&str, &str)> {
    let (media, rest) = line.strip_prefix("m=")?.split_once(' ')?;
    Some((media, rest.split_once(' ')?.1))
}

fn label(fate: Fate, call: usize, from: u8, number: u16) -> String {
    let fate = match fate {
        Fate::Passes => 'P',
        Fate::Perhaps => '?',
        Fate::Never => 'X',
    };
    format!("{fate} {call} {from} {number} ")
}

/// An RTP packet.
#[must_use]
pub fn rtp(fate: Fate, call: usize, from: u8, number: u16) -> Vec<u8> {
    let mut packet = Vec::with_capacity(172);
    packet.extend([0x80, 8]);
    packet.extend(number.to_be_bytes());
    packet.extend((160 * u32::from(number)).to_be_bytes());
    packet.extend(b"ssrc");
    packet.extend(label(fate, call, from, number).bytes());
    packet.resize(172, 0xd5);
    packet
}

/// An RTCP sender report with one source description's worth of text behind it.
#[must_use]
pub fn rtcp(fate: Fate, call: usize, from: u8) -> Vec<u8> {
    // Version 2, SR, length in words less one.
    let mut packet = vec![0x80, 200, 0, 12];
    packet.extend(b"ssrc0000");
    packet.extend(label(fate, call, from, 0).bytes());
    packet.resize(52, b' ');
    packet
}

/// Reads the label of a media packet.
#[must_use]
pub fn read(payload: &[u8]) -> Option<Label> {
    let end = payload.len().min(44);
    let text = payload.get(12..end)?;
    let mut words = text
        .split(|&byte| byte == b' ')
        .map(|word| str::from_utf8(word).unwrap_or_default());
    let fate = match words.next()? {
        "P" => Fate::Passes,
        "?" => Fate::Perhaps,
        "X" => Fate::Never,
        _ => return None,
    };
    let call = words.next()?.parse().ok()?;
    let from = words.next()?.parse().ok()?;
    Some(Label { fate, call, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_whose_it_is() {
        let expected = Label {
            fate: Fate::Never,
            call: 12,
            from: 3,
        };
        assert_eq!(read(&rtp(Fate::Never, 12, 3, 3)), Some(expected));
        assert_eq!(read(&rtcp(Fate::Never, 12, 3)), Some(expected));
    }

    #[test]
    fn only_the_address_of_a_session_may_change() {
        let at = |text: &str| sdp(text.parse().unwrap(), 1, "sendrecv");
        let came = at("10.0.0.1:4000");
        let left = came
            .replace("c=IN IP4 10.0.0.1", "c=IN IP4 10.0.0.2")
            .replace("4000", "5000");
        assert!(is_rewritten(&came, &left));
        assert!(!is_rewritten(&came, &left.replace("- 77", "- 78")));
        assert!(!is_rewritten(&came, &left.replace("8 0\r\n", "8\r\n")));
    }
}
