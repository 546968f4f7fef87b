//! The interfaces of this network namespace, as the kernel tells them by
//! netlink. sysfs shows another namespace's as soon as a process changed
//! namespace without mounting it anew, so of sysfs only the driver's name is
//! taken, and only if the index there is the same.

use crate::ethtool;
use crate::ethtool::Channels;
use crate::ethtool::Driver;
use crate::ethtool::Feature;
use crate::ethtool::Rings;
use crate::host::Host;
use crate::netdev;
use crate::netdev::Queue;
use crate::netlink::NLM_F_DUMP;
use crate::netlink::Netlink;
use crate::netlink::find;
use crate::netlink::put;
use crate::netlink::to_string;
use crate::netlink::to_u32;
use crate::row::Row;
use crate::row::State;
use crate::wanted::Wanted;
use libbpf_rs::ProgramHandle;
use nix::libc;
use nix::net::if_::if_indextoname;

const RTM_GETLINK: u16 = 18;
const LINK_HEADER_LEN: usize = 16;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
/// Inside IFLA_XDP.
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;

/// The largest MTU that the driver takes.
const IFLA_MAX_MTU: u16 = 51;

/// The other end of a veth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It has so many transmit queues in use.
    Transmits(u32),
    /// In another namespace: it has at most so many.
    TransmitsAtMost(u32),
    /// In a namespace that we may not look into.
    Hidden,
}

/// An attached XDP program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// 1 native, 2 generic, 3 in hardware, 4 several.
    pub mode: u8,
    /// The program's id, as `bpftool prog show id N` takes it.
    pub program: u32,
    /// What its author called it; `None` where we may not ask.
    pub name: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// As `ip link` has it.
    pub name: String,
    /// The kernel's number of it in this namespace.
    pub index: u32,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Set up by the operator; the carrier is another matter.
    pub up: bool,
    /// Not a real interface.
    pub loopback: bool,
    /// Kind of a virtual interface, as veth or bond.
    pub kind: Option<String>,
    /// Driver of a device, as ice.
    pub driver: Option<String>,
    /// What the driver says of itself.
    pub about: Option<Driver>,
    /// Largest MTU that the driver takes; 0 where it does not say.
    pub mtu_max: u32,
    /// Whether /sys/class/net shows this interface, and not one of the same name in
    /// another namespace.
    pub is_in_sysfs: bool,
    /// The NUMA node that the device is at; `None` for a virtual one, or on a machine
    /// with one node.
    pub numa_node: Option<u32>,
    /// Sizes of the hardware's rings; `None` where it has none.
    pub rings: Option<Rings>,
    /// Offloads and other switches.
    pub features: Vec<Feature>,
    /// Which fields of a UDP packet over IPv4 and IPv6 choose its queue, as `sdfn`;
    /// `None` where the driver cannot tell.
    pub udp_hash: [Option<String>; 2],
    /// Which queue each value of the hash goes to.
    pub spread: Option<Vec<u32>>,
    /// Whether the device takes steering rules.
    pub takes_rules: bool,
    /// Receive queues with their NAPI and interrupt; empty before Linux 6.8.
    pub queues: Vec<Queue>,
    /// `None` where the driver cannot tell.
    pub channels: Option<Channels>,
    /// Queues (receive, transmit) that were allocated; not all are in use.
    pub allocated: (u32, u32),
    /// Only of a veth.
    pub peer: Option<Peer>,
    /// The XDP program on it.
    pub attached: Option<Attached>,
    /// NETDEV_XDP_ACT_* bits; `None` on kernels before 6.3.
    pub xdp_features: Option<u64>,
}

impl Link {
    /// The driver's name, or the kind of a virtual interface.
    pub fn driver_name(&self) -> Option<&str> {
        self.driver.as_deref().or(self.kind.as_deref())
    }

    /// Made of software alone, as veth.
    pub fn is_virtual(&self) -> bool {
        self.driver.is_none() && self.kind.is_some()
    }

    /// What a virtual interface is called in "does not apply: veth has no ...".
    pub fn kind_name(&self) -> &str {
        self.driver_name().unwrap_or("the interface")
    }

    /// A feature by the kernel's name.
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.name == name)
    }

    /// Receive queues in use.
    pub fn rx_queues(&self) -> u32 {
        self.channels
            .map_or(self.allocated.0, |has| has.rx + has.combined)
    }
}

/// All interfaces of the namespace.
#[derive(Clone, Debug, Default)]
pub struct Links {
    links: Vec<Link>,
    /// Why there are none, in words.
    error: Option<String>,
}

impl Links {
    /// Asks the kernel; the drivers of those in `names` too. A refusal is kept for the
    /// report.
    pub fn of_this_namespace(host: &Host, names: &[String]) -> Links {
        match dump() {
            Ok(mut links) => {
                let named = |link: &&mut Link| names.contains(&link.name);
                links
                    .iter_mut()
                    .filter(named)
                    .for_each(|link| complete(host, link));
                Links { links, error: None }
            }
            Err(error) => Links {
                links: Vec::new(),
                error: Some(error.to_string()),
            },
        }
    }

    /// Those among `names` that exist, in that order, each once.
    pub fn named<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Link> {
        names.iter().enumerate().filter_map(|(position, name)| {
            let again = names[..position].contains(name);
            self.links.iter().find(|link| !again && link.name == *name)
        })
    }

    /// The names of all but the loopback, for a sentence.
    fn names(&self) -> String {
        let names: Vec<&str> = self
            .links
            .iter()
            .filter(|link| !link.loopback)
            .map(|link| link.name.as_str())
            .collect();
        if names.is_empty() {
            "none but the loopback".to_owned()
        } else {
            names.join(", ")
        }
    }
}

/// One row an interface that was asked for: is it there, is it up?
pub fn judge(links: &Links, wanted: &Wanted) -> Vec<Row> {
    if let Some(error) = &links.error {
        let row = Row::ok("interfaces", format!("not visible: {error}"), "netlink");
        return vec![row.but(State::NotApplicable, "")];
    }
    if wanted.interfaces.is_empty() {
        let row = Row::ok("interfaces", "none named", "the ones that carry calls");
        let advice = format!("name them with --interface; there are: {}", links.names());
        return vec![row.but(State::NotApplicable, advice)];
    }
    wanted
        .interfaces
        .iter()
        .map(|name| judge_one(links, name))
        .collect()
}

fn judge_one(links: &Links, name: &str) -> Row {
    let item = format!("{name}: interface");
    match links.links.iter().find(|link| link.name == name) {
        None => Row::ok(&item, "not in this network namespace", "present and up").but(
            State::Bad,
            format!(
                "there is no interface '{name}'; there are: {}",
                links.names()
            ),
        ),
        Some(link) if link.loopback => Row::ok(&item, "the loopback", "a network interface").but(
            State::Bad,
            format!("take another interface; there are: {}", links.names()),
        ),
        Some(link) if !link.up => Row::ok(&item, "down", "present and up")
            .but(State::Warn, format!("ip link set dev {name} up")),
        Some(_) => Row::ok(&item, "up", "present and up"),
    }
}

/// Whether an XDP program is on a device, whoever's.
pub fn has_program(device: &str) -> bool {
    let links = dump().unwrap_or_default();
    links
        .iter()
        .any(|link| link.name == device && link.attached.is_some())
}

/// Every link, with what one dump tells.
fn dump() -> nix::Result<Vec<Link>> {
    let answers = Netlink::route()?.ask(RTM_GETLINK, NLM_F_DUMP, &[0; LINK_HEADER_LEN])?;
    Ok(answers.iter().filter_map(|answer| parse(answer)).collect())
}

fn parse(body: &[u8]) -> Option<Link> {
    let (header, attributes) = body.split_at_checked(LINK_HEADER_LEN)?;
    let number = |kind: u16| find(attributes, kind).and_then(to_u32).unwrap_or(0);
    let flags = to_u32(&header[8..12])?;
    let kind = find(attributes, libc::IFLA_LINKINFO)
        .and_then(|info| find(info, libc::IFLA_INFO_KIND))
        .and_then(to_string);
    let attached = find(attributes, libc::IFLA_XDP).and_then(|xdp| {
        let mode = *find(xdp, IFLA_XDP_ATTACHED)?.first()?;
        let program = find(xdp, IFLA_XDP_PROG_ID).and_then(to_u32).unwrap_or(0);
        (mode != 0).then(|| Attached {
            mode,
            program,
            name: program_name(program),
        })
    });
    Some(Link {
        name: find(attributes, libc::IFLA_IFNAME).and_then(to_string)?,
        index: to_u32(&header[4..8])?,
        mtu: number(libc::IFLA_MTU),
        mtu_max: number(IFLA_MAX_MTU),
        up: flags & IFF_UP != 0,
        loopback: flags & IFF_LOOPBACK != 0,
        peer: (kind.as_deref() == Some("veth")).then(|| peer(attributes)),
        kind,
        allocated: (
            number(libc::IFLA_NUM_RX_QUEUES),
            number(libc::IFLA_NUM_TX_QUEUES),
        ),
        attached,
        ..Link::default()
    })
}

fn program_name(id: u32) -> Option<String> {
    let program = ProgramHandle::from_prog_id(id).ok()?;
    Some(program.name().to_string_lossy().into_owned())
}

/// The transmit queues of a veth's other end. The index of a peer in our own
/// namespace is looked up by ethtool; of one elsewhere only the kernel's
/// allocation can be asked, and only with CAP_NET_ADMIN there.
fn peer(attributes: &[u8]) -> Peer {
    let index = find(attributes, libc::IFLA_LINK).and_then(to_u32);
    let namespace = find(attributes, libc::IFLA_LINK_NETNSID);
    match (index, namespace) {
        (Some(index), Some(namespace)) => peer_elsewhere(index, namespace),
        (Some(index), None) => peer_here(index),
        (None, _) => Peer::Hidden,
    }
}

fn peer_here(index: u32) -> Peer {
    let name = if_indextoname(index)
        .ok()
        .and_then(|name| name.into_string().ok());
    let channels = name.and_then(|name| ethtool::channels(&name).ok());
    channels.map_or(Peer::Hidden, |has| Peer::Transmits(has.tx + has.combined))
}

fn peer_elsewhere(index: u32, namespace: &[u8]) -> Peer {
    let mut body = vec![0; LINK_HEADER_LEN];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    put(&mut body, libc::IFLA_TARGET_NETNSID, namespace);
    let answers = Netlink::route().and_then(|mut netlink| netlink.ask(RTM_GETLINK, 0, &body));
    let queues = answers.ok().and_then(|answers| {
        let attributes = answers.first()?.get(LINK_HEADER_LEN..)?;
        find(attributes, libc::IFLA_NUM_TX_QUEUES).and_then(to_u32)
    });
    queues.map_or(Peer::Hidden, Peer::TransmitsAtMost)
}

/// Adds what takes a question an interface.
fn complete(host: &Host, link: &mut Link) {
    let directory = format!("/sys/class/net/{}", link.name);
    let index = host.read_number(&format!("{directory}/ifindex"));
    link.is_in_sysfs = index == Some(u64::from(link.index));
    if link.is_in_sysfs {
        link.driver = host.read_link_name(&format!("{directory}/device/driver"));
        // -1 on a machine with one node, which is no number here.
        let node = host.read_number(&format!("{directory}/device/numa_node"));
        link.numa_node = node.and_then(|node| node.try_into().ok());
    }
    link.about = ethtool::driver(&link.name).ok();
    if let (None, Some(about)) = (&link.driver, &link.about)
        && !about.bus.is_empty()
        && link.kind.is_none()
    {
        // A NIC whose sysfs is another namespace's.
        link.driver = Some(about.name.clone());
    }
    link.channels = ethtool::channels(&link.name).ok();
    link.rings = ethtool::rings(&link.name).ok();
    link.features = ethtool::features(&link.name).unwrap_or_default();
    link.udp_hash = ["udp4", "udp6"].map(|flow| ethtool::udp_hash(&link.name, flow).ok());
    link.spread = ethtool::spread(&link.name).ok();
    link.takes_rules = ethtool::takes_rules(&link.name);
    link.xdp_features = netdev::xdp_features(link.index).ok();
    link.queues = netdev::queues(link.index).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(names: &[(&str, bool)]) -> Links {
        let link = |(name, up): &(&str, bool)| Link {
            name: (*name).to_owned(),
            up: *up,
            loopback: *name == "lo",
            ..Link::default()
        };
        Links {
            links: names.iter().map(link).collect(),
            error: None,
        }
    }

    fn wanted(names: &[&str]) -> Wanted {
        let interfaces = names.iter().map(|name| (*name).to_owned()).collect();
        Wanted {
            interfaces,
            ..Wanted::default()
        }
    }

    #[test]
    fn an_unknown_interface_is_bad_and_the_known_ones_are_named() {
        let links = links(&[("lo", true), ("access", true), ("core", true)]);
        let row = judge(&links, &wanted(&["eth7"])).remove(0);
        assert_eq!(row.state, State::Bad);
        assert_eq!(
            row.advice,
            "there is no interface 'eth7'; there are: access, core"
        );
    }

    #[test]
    fn an_interface_must_be_up_and_not_the_loopback() {
        let links = links(&[("lo", true), ("access", true), ("core", false)]);
        let rows = judge(&links, &wanted(&["access", "core", "lo"]));
        let states: Vec<State> = rows.iter().map(|row| row.state).collect();
        assert_eq!(states, [State::Ok, State::Warn, State::Bad]);
    }

    #[test]
    fn without_a_name_the_row_says_which_there_are() {
        let row = judge(&links(&[("lo", true)]), &wanted(&[])).remove(0);
        assert_eq!(row.state, State::NotApplicable);
        assert!(
            row.advice.ends_with("none but the loopback"),
            "{}",
            row.advice
        );
    }

    #[test]
    fn an_interface_named_twice_is_examined_once() {
        let links = links(&[("access", true), ("core", true)]);
        let names = ["core", "access", "core", "eth7"].map(str::to_owned);
        let found: Vec<&str> = links.named(&names).map(|link| link.name.as_str()).collect();
        assert_eq!(found, ["core", "access"]);
    }

    #[test]
    fn a_link_message_is_read() {
        let mut body = vec![0; LINK_HEADER_LEN];
        body[4..8].copy_from_slice(&7u32.to_ne_bytes());
        body[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        put(&mut body, libc::IFLA_IFNAME, b"access\0");
        put(&mut body, libc::IFLA_MTU, &1500u32.to_ne_bytes());
        put(&mut body, libc::IFLA_NUM_RX_QUEUES, &2u32.to_ne_bytes());
        let mut info = Vec::new();
        put(&mut info, libc::IFLA_INFO_KIND, b"veth\0");
        put(&mut body, libc::IFLA_LINKINFO, &info);
        let mut xdp = Vec::new();
        put(&mut xdp, IFLA_XDP_ATTACHED, &[1]);
        put(&mut xdp, IFLA_XDP_PROG_ID, &u32::MAX.to_ne_bytes());
        put(
            &mut body,
            libc::IFLA_XDP | crate::netlink::NLA_F_NESTED,
            &xdp,
        );
        let link = parse(&body).unwrap();
        assert_eq!(
            (link.name.as_str(), link.index, link.mtu),
            ("access", 7, 1500)
        );
        assert!(link.up && !link.loopback);
        assert_eq!(link.driver_name(), Some("veth"));
        assert_eq!(link.allocated, (2, 0));
        assert_eq!(
            link.attached,
            Some(Attached {
                mode: 1,
                program: u32::MAX,
                name: None
            })
        );
        assert_eq!(link.peer, Some(Peer::Hidden));
        assert!(parse(&body[..10]).is_none());
    }
}
