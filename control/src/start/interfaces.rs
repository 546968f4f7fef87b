//! The configured devices, as the kernel knows them.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;

use trunkline_bpf::ModeWish;
use trunkline_dataplane::ring::nic_rx_descriptors;
use trunkline_dataplane::ring::nic_strips_vlan_tags;

use crate::config::Config;
use crate::config::Interface;
use crate::netlink::Dump;
use crate::netlink::LinkFacts;

/// The largest MTU with which a native XDP program in one page takes every frame.
const NATIVE_MTU_MAX: u32 = 3498;

/// A device that is fit for use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The kernel's name for it.
    pub name: String,
    /// The kernel's number for it.
    pub ifindex: u32,
    /// The queues in use: each gets a socket.
    pub queues: u32,
    /// The queues that it can have at most.
    pub queues_max: u32,
    /// True where the host defers the interrupts of a NAPI that is polled.
    pub defers_interrupts: bool,
    /// The descriptors of a receive ring of the NIC's own; 0 where it does not tell.
    pub nic_rx: u32,
}

impl Device {
    /// The receive queues that are in use by now; none where /sys does not show the device.
    #[must_use]
    pub fn queues_now(&self) -> Option<u32> {
        count_queues(Path::new(SYS), &self.name, self.ifindex)
    }
}

/// Where the kernel shows its devices.
const SYS: &str = "/sys/class/net";

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// There is none of that name.
    #[error(
        "interface \"{name}\": there is no device {device} in this network namespace. There are: {there}"
    )]
    Unknown {
        /// The interface.
        name: String,
        /// The device.
        device: String,
        /// What there is.
        there: String,
    },
    /// It is down.
    #[error(
        "interface \"{name}\": {device} is down or has no carrier. Bring it up: ip link set {device} up"
    )]
    Down {
        /// The interface.
        name: String,
        /// The device.
        device: String,
    },
    /// It speaks no Ethernet.
    #[error("interface \"{name}\": {device} has no Ethernet address. Take an Ethernet device")]
    NoEthernet {
        /// The interface.
        name: String,
        /// The device.
        device: String,
    },
    /// It is a bond or a team.
    #[error(
        "interface \"{name}\": {device} is a {kind}, and AF_XDP works on its members alone, past it. Configure {members} \
         instead, one [[interface]] each, taken out of it (ip link set DEVICE nomaster), or mode = \"generic\", which is slow"
    )]
    Bond {
        /// The interface.
        name: String,
        /// The device.
        device: String,
        /// Its kind.
        kind: String,
        /// What it is made of.
        members: String,
    },
    /// It belongs to a bond, a bridge, a VRF ..
    #[error(
        "interface \"{name}\": {device} is a port of {master}{kind}, whose addresses, routes and neighbours are not the \
         device's. Take it out: ip link set {device} nomaster"
    )]
    Port {
        /// The interface.
        name: String,
        /// The device.
        device: String,
        /// Whose port it is.
        master: String,
        /// What that is, as in ` (bridge)`.
        kind: String,
    },
    /// It is a VLAN.
    #[error(
        "interface \"{name}\": {device} is VLAN {id} of {parent}, whose queues carry its frames. Configure device = \
         \"{parent}\" and vlan = {id}"
    )]
    Vlan {
        /// The interface.
        name: String,
        /// The device.
        device: String,
        /// The device below it.
        parent: String,
        /// The tag.
        id: u16,
    },
    /// Its NIC takes the tags out of the frames.
    #[error(
        "interface \"{name}\": {device} takes VLAN tags out of the frames before the XDP program sees them. Turn that \
         off: ethtool -K {device} rxvlan off"
    )]
    StripsTags {
        /// The interface.
        name: String,
        /// The device.
        device: String,
    },
    /// An address of ours is another host's.
    #[error(
        "the address {address} is another host's as well: duplicate address detection has failed. Find that host, or \
         take another address; `ip address show dadfailed` shows it"
    )]
    Duplicate {
        /// The address.
        address: IpAddr,
    },
    /// It has fewer queues than there are workers.
    #[error(
        "interface \"{name}\": {device} has {queues} {} for {workers} workers. Give it more: ethtool -L {device} combined \
         {workers} (a veth: ethtool -L {device} rx {workers} tx {workers}), or configure workers = {queues}",
        if *queues == 1 { "queue" } else { "queues" }
    )]
    Queues {
        /// The interface.
        name: String,
        /// The device.
        device: String,
        /// Its queues.
        queues: u32,
        /// The workers.
        workers: u8,
    },
    /// Its packets are too large.
    #[error(
        "interface \"{name}\": {device} has an MTU of {mtu}, and native XDP takes {NATIVE_MTU_MAX} at most. Lower it: \
         ip link set {device} mtu 1500, or configure mode = \"generic\""
    )]
    Mtu {
        /// The interface.
        name: String,
        /// The device.
        device: String,
        /// Its MTU.
        mtu: u32,
    },
}

/// Looks at every configured device.
///
/// # Errors
/// The first that cannot be used, and what to do about it.
pub fn check(config: &Config, dump: &Dump) -> Result<Vec<Device>, InterfaceError> {
    config
        .interfaces
        .iter()
        .map(|interface| check_one(interface, config.workers, dump))
        .collect()
}

fn check_one(interface: &Interface, workers: u8, dump: &Dump) -> Result<Device, InterfaceError> {
    let (name, device) = (interface.name.clone(), interface.device.clone());
    let Some(link) = dump.link(&device) else {
        let there: Vec<_> = dump.links.iter().map(|link| link.device.as_str()).collect();
        return Err(InterfaceError::Unknown {
            name,
            device,
            there: there.join(", "),
        });
    };
    check_kind(interface, link, dump)?;
    if link.mac.is_none_or(|mac| mac == [0; 6]) {
        return Err(InterfaceError::NoEthernet { name, device });
    }
    if !link.up {
        return Err(InterfaceError::Down { name, device });
    }
    let queues = queues_in_use(Path::new(SYS), link);
    if queues < u32::from(workers) {
        return Err(InterfaceError::Queues {
            name,
            device,
            queues,
            workers,
        });
    }
    if interface.mode == ModeWish::Native && link.mtu > NATIVE_MTU_MAX {
        return Err(InterfaceError::Mtu {
            name,
            device,
            mtu: link.mtu,
        });
    }
    Ok(Device {
        name: device,
        nic_rx: nic_rx_descriptors(&link.device).unwrap_or(0),
        ifindex: link.ifindex,
        queues,
        queues_max: link.rx_queues_max.max(queues),
        defers_interrupts: defers_interrupts(Path::new(SYS), link),
    })
}

/// Refuses what has its frames on other devices' queues, or its routes on another link.
fn check_kind(interface: &Interface, link: &LinkFacts, dump: &Dump) -> Result<(), InterfaceError> {
    let (name, device) = (interface.name.clone(), interface.device.clone());
    let named = |ifindex| {
        let mut links = dump.links.iter();
        links.find(|link: &&LinkFacts| link.ifindex == ifindex)
    };
    if let Some(vlan) = link.vlan {
        let parent = named(vlan.parent).map_or("the device below", |link| &link.device);
        return Err(InterfaceError::Vlan {
            name,
            device,
            parent: parent.to_owned(),
            id: vlan.id,
        });
    }
    if let Some(master) = link.master.and_then(named) {
        let kind = master.kind.as_deref();
        return Err(InterfaceError::Port {
            name,
            device,
            master: master.device.clone(),
            kind: kind.map_or_else(String::new, |kind| format!(" ({kind})")),
        });
    }
    // A veth hands on what its peer sends, whatever its flags say.
    let is_veth = link.kind.as_deref() == Some("veth");
    if !interface.vlan.is_empty() && !is_veth && nic_strips_vlan_tags(&device) {
        return Err(InterfaceError::StripsTags { name, device });
    }
    // A bond hands an XDP program on to its members, and the sockets on it would then get
    // nothing: the frames are its members'. In generic mode they are its own.
    let kind = link.kind.as_deref().unwrap_or_default();
    if matches!(kind, "bond" | "team") && interface.mode != ModeWish::Generic {
        let members = dump.links.iter();
        let members = members.filter(|member| member.master == Some(link.ifindex));
        let members: Vec<_> = members.map(|member| member.device.as_str()).collect();
        return Err(InterfaceError::Bond {
            name,
            device,
            kind: kind.to_owned(),
            members: match members.is_empty() {
                true => "its members".to_owned(),
                false => members.join(", "),
            },
        });
    }
    Ok(())
}

/// The addresses of the listens and media ranges.
pub fn addresses(config: &Config) -> impl Iterator<Item = IpAddr> {
    let listens = config.listens.iter().map(|listen| listen.address.ip());
    listens.chain(config.media.iter().map(|range| range.address))
}

/// Refuses an address that another host has.
///
/// # Errors
/// The first such address.
pub fn check_addresses(config: &Config, dump: &Dump) -> Result<(), InterfaceError> {
    match addresses(config).find(|address| dump.duplicate.contains(address)) {
        Some(address) => Err(InterfaceError::Duplicate { address }),
        None => Ok(()),
    }
}

/// True where napi_defer_hard_irqs and gro_flush_timeout are both set: only then does the
/// interrupt stay off while a worker polls.
fn defers_interrupts(sys: &Path, link: &LinkFacts) -> bool {
    let Some(device) = its_directory(sys, &link.device, link.ifindex) else {
        return false;
    };
    ["napi_defer_hard_irqs", "gro_flush_timeout"]
        .iter()
        .all(|name| {
            let text = fs::read_to_string(device.join(name)).unwrap_or_default();
            text.trim().parse::<u64>().is_ok_and(|value| value > 0)
        })
}

/// The device's directory under /sys; none where /sys shows another network namespace.
fn its_directory(sys: &Path, name: &str, ifindex: u32) -> Option<PathBuf> {
    let device = sys.join(name);
    let said = fs::read_to_string(device.join("ifindex")).ok()?;
    (said.trim().parse() == Ok(ifindex)).then_some(device)
}

/// How many receive queues are in use, as `ethtool -l` would say. Where /sys shows another
/// network namespace, the most that the device can have is the best that is known.
fn queues_in_use(sys: &Path, link: &LinkFacts) -> u32 {
    count_queues(sys, &link.device, link.ifindex).unwrap_or(link.rx_queues_max)
}

fn count_queues(sys: &Path, name: &str, ifindex: u32) -> Option<u32> {
    let device = its_directory(sys, name, ifindex)?;
    let queues = fs::read_dir(device.join("queues")).ok()?.flatten();
    let rx = queues
        .filter(|queue| queue.file_name().to_string_lossy().starts_with("rx-"))
        .count();
    Some(u32::try_from(rx).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> LinkFacts {
        LinkFacts {
            ifindex: 7,
            device: "eth0".to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
            rx_queues_max: 8,
            ..LinkFacts::default()
        }
    }

    fn sentence(link: LinkFacts, mode: ModeWish, workers: u8) -> String {
        let mut config = Config::parse(Path::new("default.toml"), crate::config::DEFAULT).unwrap();
        config.interfaces.truncate(1);
        config.interfaces[0].device = "eth0".to_owned();
        config.interfaces[0].mode = mode;
        config.workers = workers;
        let dump = Dump {
            links: vec![link],
            ..Dump::default()
        };
        match check(&config, &dump) {
            Ok(mut devices) => {
                // That of this machine's eth0, if it has one.
                devices[0].nic_rx = 0;
                format!("{devices:?}")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_a_person_is_told_of_a_device() {
        let cases = [
            sentence(link(), ModeWish::Auto, 2),
            sentence(
                LinkFacts {
                    device: "eth1".to_owned(),
                    ..link()
                },
                ModeWish::Auto,
                2,
            ),
            sentence(
                LinkFacts {
                    up: false,
                    ..link()
                },
                ModeWish::Auto,
                2,
            ),
            sentence(
                LinkFacts {
                    mac: None,
                    ..link()
                },
                ModeWish::Auto,
                2,
            ),
            sentence(
                LinkFacts {
                    rx_queues_max: 1,
                    ..link()
                },
                ModeWish::Auto,
                2,
            ),
            sentence(
                LinkFacts {
                    mtu: 9000,
                    ..link()
                },
                ModeWish::Native,
                2,
            ),
        ];
        insta::assert_snapshot!(cases.join("\n\n"));
    }

    #[test]
    fn bonds_ports_and_vlans_are_refused_with_the_remedy() {
        let mut config = Config::parse(Path::new("default.toml"), crate::config::DEFAULT).unwrap();
        config.interfaces.truncate(1);
        let other = |ifindex, device: &str, kind: Option<&str>| LinkFacts {
            ifindex,
            device: device.to_owned(),
            kind: kind.map(str::to_owned),
            ..link()
        };
        let mut eth0 = link();
        eth0.master = Some(12);
        let vlan = crate::netlink::VlanFacts {
            parent: 8,
            tpid: 0x8100,
            id: 100,
        };
        let dump = Dump {
            links: vec![
                eth0,
                other(8, "eth1", None),
                other(12, "bond0", Some("bond")),
                LinkFacts {
                    vlan: Some(vlan),
                    ..other(13, "eth1.100", Some("vlan"))
                },
            ],
            ..Dump::default()
        };
        let mut said = |device: &str, mode| {
            config.interfaces[0].device = device.to_owned();
            config.interfaces[0].mode = mode;
            check(&config, &dump).map_err(|error| error.to_string())
        };
        let bond = said("bond0", ModeWish::Auto).unwrap_err();
        assert!(
            bond.contains("bond0 is a bond") && bond.contains("Configure eth0 instead"),
            "{bond}"
        );
        assert!(said("bond0", ModeWish::Generic).is_ok());
        let port = said("eth0", ModeWish::Generic).unwrap_err();
        assert!(
            port.contains("eth0 is a port of bond0 (bond)")
                && port.ends_with("ip link set eth0 nomaster"),
            "{port}"
        );
        let vlan = said("eth1.100", ModeWish::Auto).unwrap_err();
        assert!(
            vlan.contains("VLAN 100 of eth1") && vlan.ends_with("vlan = 100"),
            "{vlan}"
        );
    }

    #[test]
    fn an_address_of_another_host_is_refused() {
        let config = Config::parse(Path::new("default.toml"), crate::config::DEFAULT).unwrap();
        let mut dump = Dump::default();
        assert!(check_addresses(&config, &dump).is_ok());
        dump.duplicate = vec!["10.77.2.1".parse().unwrap()];
        let said = check_addresses(&config, &dump).unwrap_err().to_string();
        assert!(
            said.starts_with("the address 10.77.2.1 is another host's"),
            "{said}"
        );
    }

    #[test]
    fn queues_are_counted_where_sys_shows_this_device() {
        let sys = tempfile::tempdir().unwrap();
        let device = sys.path().join("eth0");
        for queue in ["rx-0", "rx-1", "tx-0", "tx-1"] {
            fs::create_dir_all(device.join("queues").join(queue)).unwrap();
        }
        fs::write(device.join("ifindex"), "7\n").unwrap();
        assert_eq!(queues_in_use(sys.path(), &link()), 2);
        fs::write(device.join("ifindex"), "9\n").unwrap();
        assert_eq!(queues_in_use(sys.path(), &link()), 8);
    }

    #[test]
    fn interrupts_are_deferred_where_both_values_are_set() {
        let sys = tempfile::tempdir().unwrap();
        let device = sys.path().join("eth0");
        fs::create_dir_all(&device).unwrap();
        let deferred = |irqs: &str, timeout: &str, ifindex: &str| {
            fs::write(device.join("napi_defer_hard_irqs"), irqs).unwrap();
            fs::write(device.join("gro_flush_timeout"), timeout).unwrap();
            fs::write(device.join("ifindex"), ifindex).unwrap();
            defers_interrupts(sys.path(), &link())
        };
        assert!(deferred("2\n", "200000\n", "7\n"));
        assert!(!deferred("0\n", "200000\n", "7\n"));
        assert!(!deferred("2\n", "0\n", "7\n"));
        assert!(!deferred("2\n", "200000\n", "9\n"), "another namespace's");
    }
}
