//! The ports that the configuration asks for, and who else may want them.
//!
//! XDP takes a media range's packets off the wire before the kernel sees them. A
//! socket of another process on such a port would starve, and the kernel must not
//! hand one out as an ephemeral port.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::ops::RangeInclusive;

use trunkline_dataplane::settings::Listen;
use trunkline_dataplane::settings::MediaRange;

use super::sockets;
use crate::kernel::ListenSocket;

/// Why a port cannot be ours.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// A listen's address and port are taken.
    #[error("listen \"{name}\": {address} is in use by {holder}. Stop it, or take another port")]
    Taken {
        /// The listen.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Who has it.
        holder: String,
    },
    /// A listen's address is not the box's.
    #[error("listen \"{name}\": {} is not an address of this box. See `ip -4 addr`, and add it first: ip addr add {}/32 dev lo", address.ip(), address.ip())]
    NotLocal {
        /// The listen.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// A listen's socket could not be made.
    #[error("listen \"{name}\": cannot bind {address}: {error}")]
    Io {
        /// The listen.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A port of a media range is taken.
    #[error("media \"{name}\": port {} of its range is in use by {holder}. Stop it, or leave the port out of the range", address.port())]
    MediaTaken {
        /// The range.
        name: String,
        /// Where the other socket is bound.
        address: SocketAddr,
        /// Who has it.
        holder: String,
    },
    /// The kernel may hand out ports of a media range.
    #[error(
        "media \"{name}\": its ports {}-{} overlap those that the kernel gives to any program ({}-{}). Reserve them: \
         sysctl -w net.ipv4.ip_local_reserved_ports={reserve}",
        ports.start(), ports.end(), ephemeral.start(), ephemeral.end()
    )]
    Ephemeral {
        /// The range.
        name: String,
        /// Its ports.
        ports: RangeInclusive<u16>,
        /// The kernel's.
        ephemeral: RangeInclusive<u16>,
        /// What the sysctl should say.
        reserve: String,
    },
}

/// Binds the kernel's socket of every listen.
///
/// # Errors
/// The first that cannot be bound, and why.
pub fn bind(listens: &[Listen]) -> Result<Vec<ListenSocket>, PortError> {
    listens.iter().map(bind_one).collect()
}

fn bind_one(listen: &Listen) -> Result<ListenSocket, PortError> {
    let (name, address) = (listen.name.clone(), listen.address);
    let bound = UdpSocket::bind(address).and_then(ListenSocket::new);
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let taken = |socket: &sockets::UdpSocket| {
                socket.local.port() == address.port() && socket.takes(address.ip())
            };
            let socket = sockets::udp_sockets().into_iter().find(taken);
            let holder = socket.map_or_else(
                || "another process".to_owned(),
                |found| sockets::holder(found.inode),
            );
            PortError::Taken {
                name,
                address,
                holder,
            }
        }
        io::ErrorKind::AddrNotAvailable => PortError::NotLocal { name, address },
        _ => PortError::Io {
            name,
            address,
            error,
        },
    })
}

/// Looks whether anyone else has or may get a port of the media ranges.
///
/// # Errors
/// The first port that is or may be taken, and what to do.
pub fn check_media(ranges: &[MediaRange]) -> Result<(), PortError> {
    let read =
        |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
    check_ephemeral(
        ranges,
        &read("ip_local_port_range"),
        &read("ip_local_reserved_ports"),
    )?;
    check_taken(ranges, &sockets::udp_sockets())
}

fn check_taken(ranges: &[MediaRange], sockets: &[sockets::UdpSocket]) -> Result<(), PortError> {
    for range in ranges {
        let meets = |socket: &&sockets::UdpSocket| {
            range.ports.contains(&socket.local.port()) && socket.takes(range.address)
        };
        if let Some(socket) = sockets.iter().find(meets) {
            let holder = sockets::holder(socket.inode);
            return Err(PortError::MediaTaken {
                name: range.name.clone(),
                address: socket.local,
                holder,
            });
        }
    }
    Ok(())
}

fn check_ephemeral(
    ranges: &[MediaRange],
    ephemeral: &str,
    reserved: &str,
) -> Result<(), PortError> {
    let mut bounds = ephemeral
        .split_whitespace()
        .filter_map(|port| port.parse::<u16>().ok());
    let (Some(first), Some(last)) = (bounds.next(), bounds.next()) else {
        return Ok(());
    };
    let taken = parse_ports(reserved);
    let is_reserved = |port: u16| taken.iter().any(|range| range.contains(&port));
    let exposed = |range: &MediaRange| {
        range
            .ports
            .clone()
            .any(|port| (first..=last).contains(&port) && !is_reserved(port))
    };
    let Some(range) = ranges.iter().find(|range| exposed(range)) else {
        return Ok(());
    };
    // One line that is right for all ranges at once, and keeps what is reserved.
    let mut reserve: Vec<_> = taken.iter().map(text).collect();
    for ports in ranges
        .iter()
        .filter(|range| exposed(range))
        .map(|range| text(&range.ports))
    {
        if !reserve.contains(&ports) {
            reserve.push(ports);
        }
    }
    Err(PortError::Ephemeral {
        name: range.name.clone(),
        ports: range.ports.clone(),
        ephemeral: first..=last,
        reserve: reserve.join(","),
    })
}

/// A list such as `20000-29999,30001`.
fn parse_ports(list: &str) -> Vec<RangeInclusive<u16>> {
    let parse = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(parse).collect()
}

fn text(ports: &RangeInclusive<u16>) -> String {
    if ports.start() == ports.end() {
        ports.start().to_string()
    } else {
        format!("{}-{}", ports.start(), ports.end())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;

    use super::*;

    fn range(name: &str, ports: RangeInclusive<u16>) -> MediaRange {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        MediaRange {
            name: name.to_owned(),
            address,
            advertised: address,
            ports,
        }
    }

    fn listen(address: SocketAddr) -> Listen {
        Listen {
            name: "access".to_owned(),
            address,
            advertised: address,
            stateless: false,
        }
    }

    #[test]
    fn ports_below_the_ephemeral_ones_are_fine() {
        assert!(check_ephemeral(&[range("a", 20000..=29999)], "32768\t60999\n", "\n").is_ok());
    }

    #[test]
    fn the_sysctl_line_keeps_what_is_reserved() {
        let ranges = [
            range("a", 30000..=39999),
            range("b", 30000..=39999),
            range("c", 40000..=40001),
        ];
        let error = check_ephemeral(&ranges, "32768\t60999\n", "8080,9000-9001\n").unwrap_err();
        insta::assert_snapshot!(error);
        assert!(
            check_ephemeral(
                &ranges,
                "32768 60999",
                "8080,9000-9001,30000-39999,40000-40001"
            )
            .is_ok()
        );
    }

    #[test]
    fn a_hole_in_the_reserved_ports_is_seen() {
        let ranges = [range("a", 40000..=40009)];
        assert!(check_ephemeral(&ranges, "32768 60999", "40000-40003,40005-40009").is_err());
        assert!(check_ephemeral(&ranges, "32768 60999", "40000-40003,40004-40009").is_ok());
    }

    #[test]
    fn a_port_in_use_is_refused_with_its_holder() {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(&[listen(address)]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        let taken = sockets::udp_sockets();
        let error =
            check_taken(&[range("a", address.port()..=address.port())], &taken).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("port {} of its range", address.port())),
            "{error}"
        );
    }

    #[test]
    fn a_foreign_address_is_refused() {
        let error = bind(&[listen("192.0.2.77:5060".parse().unwrap())]).unwrap_err();
        assert!(matches!(error, PortError::NotLocal { .. }), "{error}");
    }
}
