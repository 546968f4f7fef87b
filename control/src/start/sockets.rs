//! Who has which UDP port, from /proc: to tell an operator whom to ask.

use std::fs;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;

/// A UDP socket of this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpSocket {
    /// Where it is bound; the unspecified address takes every address.
    pub local: SocketAddr,
    /// The kernel's number for it.
    pub inode: u64,
}

impl UdpSocket {
    /// True where it takes what is sent to `address`.
    #[must_use]
    pub fn takes(&self, address: IpAddr) -> bool {
        match self.local.ip() {
            // One on every address of IPv6 takes IPv4 packets too, unless it was told not to,
            // which /proc does not show.
            IpAddr::V6(local) if local.is_unspecified() => true,
            IpAddr::V4(local) if local.is_unspecified() => address.is_ipv4(),
            local => local == address,
        }
    }
}

/// Every UDP socket.
#[must_use]
pub fn udp_sockets() -> Vec<UdpSocket> {
    // Where /proc cannot be read there is nothing to tell; bind(2) still refuses.
    let v4 = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/net/udp6").unwrap_or_default();
    v4.lines().chain(v6.lines()).filter_map(parse).collect()
}

/// A line such as `  12: 0101A8C0:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 31415 2 ...`.
fn parse(line: &str) -> Option<UdpSocket> {
    let mut fields = line.split_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    // The kernel prints the address as numbers of 32 bits in the machine's own byte order.
    let address = match address.len() {
        8 => IpAddr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes()),
        32 => ipv6(address)?.to_canonical(),
        _ => return None,
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    let inode = fields.nth(7)?.parse().ok()?;
    Some(UdpSocket {
        local: SocketAddr::new(address, port),
        inode,
    })
}

fn ipv6(text: &str) -> Option<IpAddr> {
    let mut octets = [0; 16];
    for (at, word) in octets.chunks_exact_mut(4).enumerate() {
        let digits = text.get(8 * at..8 * at + 8)?;
        word.copy_from_slice(&u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
    }
    Some(octets.into())
}

/// The process that holds the socket: "sipp, process 4711", as far as we may see.
#[must_use]
pub fn holder(inode: u64) -> String {
    process_of(Path::new("/proc"), inode).map_or_else(
        || "a process that cannot be seen from here".to_owned(),
        |(pid, name)| format!("{name}, process {pid}"),
    )
}

fn process_of(proc: &Path, inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir(proc).ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = |file: fs::DirEntry| {
            fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        };
        if files.flatten().any(holds) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim_end().to_owned()));
        }
    }
    None
}

/// The process that holds the abstract Unix socket `name`.
#[must_use]
pub fn holder_of_name(name: &str) -> Option<String> {
    let table = fs::read_to_string("/proc/net/unix").ok()?;
    let line = table
        .lines()
        .find(|line| line.ends_with(&format!(" @{name}")))?;
    Some(holder(line.split_whitespace().nth(6)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::os::linux::net::SocketAddrExt as _;

    use super::*;

    #[test]
    fn lines_are_read() {
        let line = " 1234: 0101A8C0:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 31415 2 ffff 0";
        let socket = parse(line).unwrap();
        assert_eq!(socket.local, "192.168.1.1:5060".parse().unwrap());
        assert_eq!(socket.inode, 31415);
        let any = " 1: 00000000000000000000000000000000:13C4 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 0 27 2";
        assert!(
            parse(any)
                .unwrap()
                .takes(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))
        );
        let one = " 2: B80D0120000000000000000001000000:13C4 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 0 28 2";
        let socket = parse(one).unwrap();
        assert_eq!(socket.local, "[2001:db8::1]:5060".parse().unwrap());
        assert!(socket.takes("2001:db8::1".parse().unwrap()));
        assert!(!socket.takes("10.0.0.1".parse().unwrap()));
        assert_eq!(
            parse("  sl  local_address rem_address   st tx_queue rx_queue"),
            None
        );
        assert_eq!(parse(""), None);
    }

    #[test]
    fn our_own_socket_is_found_and_so_are_we() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = udp_sockets()
            .into_iter()
            .find(|found| found.local.port() == port)
            .unwrap();
        assert!(found.takes(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert!(!found.takes(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
        assert!(holder(found.inode).ends_with(&format!("process {}", std::process::id())));
    }

    #[test]
    fn the_holder_of_a_name_is_found() {
        let name = format!("trunkline-test/{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let _socket = std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap();
        let holder = holder_of_name(&name).unwrap();
        assert!(
            holder.ends_with(&format!("process {}", std::process::id())),
            "{holder}"
        );
        assert_eq!(holder_of_name("trunkline-test/none"), None);
    }
}
