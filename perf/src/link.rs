//! A link of this network namespace: what there is to know of it, and rings on it.

use std::fs;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context as _;
use anyhow::bail;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::QueueId;
use trunkline_dataplane::ring::ModeWish;
use trunkline_dataplane::ring::RingLens;
use trunkline_dataplane::ring::SocketConfig;
use trunkline_dataplane::ring::Xsk;
use trunkline_dataplane::ring::XskConfig;
use trunkline_dataplane::sys::memory::Hugepages;
use trunkline_dataplane::wire::Ethernet;
use trunkline_dataplane::wire::MacAddress;

/// How long a neighbour may take to say its station address.
const NEIGHBOUR_WAIT: Duration = Duration::from_secs(5);

/// Entries of a ring: a stall of 80 ms at the highest rates, when the machine gives the core to others.
const RING_LEN: u32 = 16_384;

/// An interface.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its number.
    pub ifindex: u32,
    /// Its receive queues.
    pub queues: u16,
}

impl Link {
    /// Looks the interface up.
    ///
    /// # Errors
    /// There is none of that name here.
    pub fn find(name: &str) -> anyhow::Result<Link> {
        let ifindex = nix::net::if_::if_nametoindex(name)
            .with_context(|| format!("there is no interface {name} in this namespace"))?;
        let entries = fs::read_dir(format!("/sys/class/net/{name}/queues"))
            .with_context(|| format!("the queues of {name}"))?;
        let rx = entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-"));
        Ok(Link {
            name: name.to_owned(),
            ifindex,
            queues: u16::try_from(rx.count())?.max(1),
        })
    }

    /// The stations of frames from here to a neighbour, which is asked for its own.
    ///
    /// # Errors
    /// A neighbour that does not answer.
    pub fn stations(&self, neighbour: IpAddr) -> anyhow::Result<Ethernet> {
        let name = &self.name;
        let text = fs::read_to_string(format!("/sys/class/net/{name}/address"))?;
        let source = station(text.trim())
            .with_context(|| format!("the station address of {name}: {text:?}"))?;
        Ok(Ethernet {
            destination: self.neighbour(neighbour)?,
            source,
        })
    }

    /// Asks the kernel for a neighbour's station; a datagram to nobody's port has it find out.
    fn neighbour(&self, neighbour: IpAddr) -> anyhow::Result<MacAddress> {
        let name = &self.name;
        let any: IpAddr = match neighbour {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let deadline = Instant::now() + NEIGHBOUR_WAIT;
        loop {
            let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
            // It may be refused, and that is an answer as well.
            let _ = socket.send_to(b"", SocketAddr::new(neighbour, 9));
            let output = Command::new("ip")
                .args([
                    "neigh",
                    "show",
                    &neighbour.to_string(),
                    "dev",
                    name.as_str(),
                ])
                .output()
                .context("ip neigh, of iproute2")?;
            let text = String::from_utf8_lossy(&output.stdout);
            let mut words = text.split_whitespace();
            let found = words.find(|&word| word == "lladdr").and(words.next());
            if let Some(found) = found.and_then(station) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("nobody answers for {neighbour} on {name}: is it up, and on this link?");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Rings on every queue of each link, in copy mode, with one UMEM: the first link is device 0.
///
/// # Errors
/// What the kernel refuses.
pub fn rings(links: &[Link]) -> anyhow::Result<Xsk> {
    let mut sockets = Vec::new();
    for (device, link) in (0..).zip(links) {
        sockets.extend((0..link.queues).map(|queue| SocketConfig {
            device: DeviceIndex(device),
            name: link.name.clone(),
            ifindex: link.ifindex,
            queue: QueueId(queue),
            lens: RingLens::new(RING_LEN, RING_LEN, 0),
            busy_poll: false,
        }));
    }
    Ok(Xsk::open(&XskConfig {
        sockets,
        frames: None,
        hugepages: Hugepages::Off,
        mode: ModeWish::Copy,
    })?)
}

fn station(text: &str) -> Option<MacAddress> {
    let mut address = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut address {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_is_six_bytes() {
        assert_eq!(station("02:00:00:00:00:0a"), Some([2, 0, 0, 0, 0, 10]));
        for wrong in ["", "02:00", "02:00:00:00:00:0a:0b", "02:00:00:00:00:xy"] {
            assert_eq!(station(wrong), None);
        }
    }

    #[test]
    fn a_link_that_is_not_there_is_named() {
        let error = Link::find("no-such-link").unwrap_err();
        assert!(error.to_string().contains("no-such-link"), "{error}");
    }
}
