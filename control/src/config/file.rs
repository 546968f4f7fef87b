//! The shape of the configuration file: every key that there is.
//!
//! `config/default.toml` describes each of them for people; a test holds the two
//! together.

pub(super) mod location;
pub(super) mod remote;
pub(super) mod subscribers;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::ops::Range;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeTable;
use trunkline_bpf::ModeWish as XdpMode;
use trunkline_bpf::VIDS;
use trunkline_dataplane::frame::KeptConfig;
use trunkline_dataplane::media::ChecksumPolicy;
use trunkline_dataplane::ring::ModeWish as ZeroCopy;
use trunkline_dataplane::settings::Abuse;
use trunkline_dataplane::settings::Authentication;
use trunkline_dataplane::sip::registrar::Rules;
use trunkline_dataplane::sys::memory::Hugepages;
use trunkline_dataplane::wire::VlanStack;
use trunkline_dataplane::wire::vlan::TAGS_MAX;
use trunkline_dataplane::wire::vlan::TPID_8021AD;
use trunkline_dataplane::wire::vlan::TPID_8021Q;
use trunkline_dataplane::worker::Poll;

use super::BusyPollWish;
use super::problem::Problem;
use super::section::Section;
use crate::privileges::Wish;
use location::Location;
use subscribers::Domain;
use subscribers::Subscribers;

/// Most workers. Each has a mailbox from each other, so the memory for mail grows with
/// the square of this.
pub(super) const WORKERS_MAX: u32 = 32;

/// Most codes by which a target fails: each final response is compared with all of them.
const FAILOVER_CODES_MAX: usize = 16;

/// Most targets of a trunk, and trunks of a route.
pub(super) const TARGETS_MAX: usize = 8;

/// The file as it was read, each value with its place.
#[derive(Debug)]
pub(super) struct File {
    pub workers: Spanned<u32>,
    pub poll: Poll,
    pub confinement: Wish,
    pub cores: Option<Spanned<Vec<Spanned<u16>>>>,
    pub socket: Option<Spanned<PathBuf>>,
    pub group: Option<Spanned<Name>>,
    pub state: Option<Spanned<PathBuf>>,
    pub metrics: Option<Spanned<SocketAddr>>,
    /// 0 where the file does not say.
    pub umem_frames: Spanned<u32>,
    pub hugepages: Hugepages,
    pub ring_rx: Spanned<u32>,
    pub ring_tx: Spanned<u32>,
    pub transactions: u32,
    pub calls: Spanned<u32>,
    pub kept: KeptConfig,
    pub subscribers_capacity: u32,
    pub nonces: u32,
    pub tickets: u32,
    pub bindings: u32,
    pub interfaces: Vec<Interface>,
    pub listens: Vec<Listen>,
    pub media: Vec<Media>,
    pub trunks: Vec<Trunk>,
    pub domains: Vec<Domain>,
    pub authentication: Spanned<Authentication>,
    pub abuse: Abuse,
    pub registrar: Spanned<Rules>,
    /// Where `[registrar]` stands.
    pub registrar_at: Range<usize>,
    pub subscribers: Subscribers,
    pub location: Location,
    pub routes: Vec<Route>,
    pub session_expires: Spanned<u32>,
    pub session_min: Spanned<u32>,
    /// Where the file begins, for what is missing in all of it.
    pub top: Range<usize>,
}

/// `[[interface]]`
#[derive(Debug)]
pub(super) struct Interface {
    pub name: Spanned<Name>,
    pub device: Option<Spanned<Device>>,
    /// Its tags, outer first.
    pub vlan: Option<Spanned<Vec<u16>>>,
    /// The protocol of the outer of two.
    pub vlan_outer: Option<Spanned<OuterTag>>,
    pub mode: XdpMode,
    pub zero_copy: Spanned<ZeroCopy>,
    pub busy_poll: BusyPollWish,
    pub checksum: ChecksumPolicy,
}

/// `[[listen]]`
#[derive(Debug)]
pub(super) struct Listen {
    pub name: Spanned<Name>,
    pub address: Option<Spanned<SocketAddr>>,
    pub advertise: Option<Spanned<SocketAddr>>,
    pub stateless: bool,
}

/// `[[media]]`
#[derive(Debug)]
pub(super) struct Media {
    pub name: Spanned<Name>,
    pub address: Option<Spanned<IpAddr>>,
    pub advertise: Option<Spanned<IpAddr>>,
    pub ports: Option<Spanned<Ports>>,
}

/// `[[trunk]]`
#[derive(Debug)]
pub(super) struct Trunk {
    pub name: Spanned<Name>,
    pub sources: Vec<Spanned<Subnet>>,
    pub targets: Vec<Spanned<SocketAddr>>,
    pub failover_codes: Option<Spanned<Vec<u16>>>,
    pub no_answer_ms: u32,
    pub listen: Option<Spanned<Name>>,
    pub media: Option<Spanned<Name>>,
}

/// `[[route]]`
#[derive(Debug)]
pub(super) struct Route {
    pub from: Option<Spanned<Name>>,
    pub prefix: Option<Spanned<String>>,
    pub to: Vec<Choice>,
    pub stateless: bool,
}

/// One of the trunks of a route.
#[derive(Debug)]
pub(super) struct Choice {
    pub trunk: Spanned<Name>,
    /// In thousandths.
    pub q: u16,
}

/// What a thing of the configuration is called: letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(pub String);

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Name, ()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = (1..=64).contains(&text.len()) && text.chars().all(plain);
        fits.then(|| Name(text.to_owned())).ok_or(())
    }
}

const NAME: &str = "a name of letters, digits, -, _ and ., as in \"access\"";

/// A network device, as the kernel would name one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device(pub String);

impl FromStr for Device {
    type Err = ();

    fn from_str(text: &str) -> Result<Device, ()> {
        // The kernel's dev_valid_name(): fewer than IFNAMSIZ bytes, no slash, colon or blank.
        let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        let fits =
            (1..16).contains(&text.len()) && !text.contains(odd) && text != "." && text != "..";
        fits.then(|| Device(text.to_owned())).ok_or(())
    }
}

impl Interface {
    /// The tags of its frames.
    pub fn stack(&self) -> VlanStack {
        match self.vlan.as_ref().map(|ids| ids.get_ref().as_slice()) {
            Some(&[id]) => VlanStack::one(id),
            Some(&[outer, inner]) => VlanStack::two(self.outer_tpid(), outer, inner),
            _ => VlanStack::NONE,
        }
    }

    fn outer_tpid(&self) -> u16 {
        let outer = self.vlan_outer.as_ref().map(Spanned::get_ref);
        outer.map_or(TPID_8021AD, |outer| outer.0)
    }
}

/// The tag protocol identifier of the outer of two tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OuterTag(pub u16);

impl FromStr for OuterTag {
    type Err = ();

    fn from_str(text: &str) -> Result<OuterTag, ()> {
        match text {
            "802.1ad" => Ok(OuterTag(TPID_8021AD)),
            "802.1q" => Ok(OuterTag(TPID_8021Q)),
            _ => Err(()),
        }
    }
}

/// First and last UDP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports(pub RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = ();

    fn from_str(text: &str) -> Result<Ports, ()> {
        let (first, last) = text.split_once('-').ok_or(())?;
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|&port| port > 0);
        let (first, last) = (port(first).ok_or(())?, port(last).ok_or(())?);
        if first < last {
            Ok(Ports(first..=last))
        } else {
            Err(())
        }
    }
}

/// An address and the length of the prefix that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    pub address: IpAddr,
    pub prefix_len: u8,
}

impl Subnet {
    /// The first address of the network.
    pub fn base(self) -> IpAddr {
        let len = u32::from(self.prefix_len);
        match self.address {
            IpAddr::V4(address) => {
                let host_bits = u32::MAX.checked_shr(len).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) & !host_bits).into()
            }
            IpAddr::V6(address) => {
                let host_bits = u128::MAX.checked_shr(len).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) & !host_bits).into()
            }
        }
    }

    /// Bits of an address of its family.
    pub fn address_len(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

impl FromStr for Subnet {
    type Err = ();

    fn from_str(text: &str) -> Result<Subnet, ()> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let prefix_len_max = Subnet::address_len(address);
        let prefix_len = match len {
            Some(len) => len.parse().map_err(|_| ())?,
            None => prefix_len_max,
        };
        if prefix_len > prefix_len_max {
            return Err(());
        }
        // IPv4 in the clothes of IPv6 is IPv4, where the prefix reaches so far.
        Ok(match (address.to_canonical(), prefix_len) {
            (IpAddr::V4(mapped), 96..) if address.is_ipv6() => Subnet {
                address: mapped.into(),
                prefix_len: prefix_len - 96,
            },
            _ => Subnet {
                address,
                prefix_len,
            },
        })
    }
}

const SOCKET_ADDRESS: &str =
    "an IP address and a port, as in \"192.0.2.1:5060\" or \"[2001:db8::1]:5060\"";

/// IPv4 in the clothes of IPv6 is IPv4.
fn canonical(address: &Spanned<IpAddr>) -> Spanned<IpAddr> {
    Spanned::new(address.span(), address.get_ref().to_canonical())
}

/// The same, and nothing but address and port: a scope goes with link-local addresses, which
/// are refused.
fn canonical_socket(address: &Spanned<SocketAddr>) -> Spanned<SocketAddr> {
    let (ip, port) = (address.get_ref().ip(), address.get_ref().port());
    Spanned::new(address.span(), SocketAddr::new(ip.to_canonical(), port))
}

impl File {
    /// Whom a name means: the trunks are counted first, and then the domains.
    pub fn party(&self, name: &Name) -> Option<usize> {
        let trunk = self
            .trunks
            .iter()
            .position(|trunk| trunk.name.get_ref() == name);
        trunk.or_else(|| {
            let is = |domain: &Domain| domain.name.get_ref().is(&name.0);
            let at = self.domains.iter().position(is)?;
            Some(self.trunks.len() + at)
        })
    }

    /// Reads every key of `table`; what is wrong is added to `problems`.
    pub fn read(table: &DeTable<'_>, problems: &mut Vec<Problem>) -> File {
        let mut top = Section::new("the file", table, 0..0, problems);
        let wishes = [("on", Wish::On), ("log", Wish::Log), ("off", Wish::Off)];
        let polls = [
            ("adaptive", Poll::Adaptive),
            ("busy", Poll::Busy),
            ("interrupt", Poll::Interrupt),
        ];
        let mut file = File {
            workers: top.integer("workers", 1..=WORKERS_MAX, 2),
            poll: *top.choice("poll", &polls, Poll::Adaptive).get_ref(),
            confinement: *top.choice("confinement", &wishes, Wish::On).get_ref(),
            cores: top.integers("cores", 1023),
            socket: top.parsed("socket", "a path"),
            group: top.parsed("group", "the name of a group"),
            state: top.parsed("state", "the path of a directory"),
            metrics: None,
            umem_frames: Spanned::new(0..0, 0),
            hugepages: Hugepages::Auto,
            ring_rx: Spanned::new(0..0, 2048),
            ring_tx: Spanned::new(0..0, 2048),
            transactions: 131_072,
            calls: Spanned::new(0..0, 32_768),
            kept: KeptConfig::new(16_384, 64),
            subscribers_capacity: 65_536,
            nonces: 65_536,
            tickets: 4_096,
            bindings: 65_536,
            interfaces: Vec::new(),
            listens: Vec::new(),
            media: Vec::new(),
            trunks: Vec::new(),
            domains: Vec::new(),
            authentication: Spanned::new(0..0, Authentication::default()),
            abuse: Abuse::default(),
            registrar: Spanned::new(0..0, Rules::default()),
            registrar_at: 0..0,
            subscribers: Subscribers::default(),
            location: Location::default(),
            routes: Vec::new(),
            session_expires: Spanned::new(0..0, 1800),
            session_min: Spanned::new(0..0, 90),
            top: top.span(),
        };
        file.read_sizes(&mut top);
        file.read_subscribers(&mut top);
        file.read_location(&mut top);
        top.tables("interface", "[[interface]]", |s| {
            file.interfaces.extend(interface(s))
        });
        top.tables("listen", "[[listen]]", |s| file.listens.extend(listen(s)));
        top.tables("media", "[[media]]", |s| file.media.extend(media(s)));
        top.tables("trunk", "[[trunk]]", |s| file.trunks.extend(trunk(s)));
        top.tables("route", "[[route]]", |s| file.routes.push(route(s)));
        top.finish();
        file
    }

    fn read_sizes(&mut self, top: &mut Section<'_>) {
        if let Some(mut umem) = top.table("umem", "[umem]") {
            let words = [
                ("auto", Hugepages::Auto),
                ("on", Hugepages::On),
                ("off", Hugepages::Off),
            ];
            self.umem_frames = umem.integer("frames", 256..=1 << 20, 0);
            self.hugepages = *umem.choice("hugepages", &words, Hugepages::Auto).get_ref();
            umem.finish();
        }
        if let Some(mut metrics) = top.table("metrics", "[metrics]") {
            let expected = "an address and a port, as in \"127.0.0.1:9470\" or \"[::1]:9470\"";
            self.metrics = metrics.required("address", expected);
            metrics.finish();
        }
        if let Some(mut session) = top.table("session", "[session]") {
            self.session_expires = session.integer("expires", 0..=86_400, 1800);
            self.session_min = session.integer("min_se", 90..=86_400, 90);
            session.finish();
        }
        if let Some(mut rings) = top.table("rings", "[rings]") {
            self.ring_rx = rings.integer("rx", 64..=1 << 15, 2048);
            self.ring_tx = rings.integer("tx", 64..=1 << 15, 2048);
            rings.finish();
        }
        if let Some(mut capacity) = top.table("capacity", "[capacity]") {
            self.transactions = *capacity
                .integer("transactions", 16..=1 << 22, self.transactions)
                .get_ref();
            self.calls = capacity.integer("calls", 16..=1 << 20, 32_768);
            for (key, count, most) in [
                ("subscribers", &mut self.subscribers_capacity, 1 << 22),
                ("nonces", &mut self.nonces, 1 << 22),
                ("tickets", &mut self.tickets, 1 << 20),
                ("bindings", &mut self.bindings, 1 << 22),
            ] {
                *count = *capacity.integer(key, 16..=most, *count).get_ref();
            }
            let KeptConfig {
                page_count,
                large_count,
            } = self.kept;
            self.kept = KeptConfig::new(
                *capacity
                    .integer("kept_4k", 4..=1 << 19, page_count)
                    .get_ref(),
                *capacity
                    .integer("kept_64k", 1..=1 << 14, large_count)
                    .get_ref(),
            );
            capacity.finish();
        }
    }
}

fn interface(section: &mut Section<'_>) -> Option<Interface> {
    let modes = [
        ("auto", XdpMode::Auto),
        ("native", XdpMode::Native),
        ("generic", XdpMode::Generic),
    ];
    let copies = [
        ("auto", ZeroCopy::Auto),
        ("off", ZeroCopy::Copy),
        ("on", ZeroCopy::ZeroCopy),
    ];
    let busy_polls = [
        ("auto", BusyPollWish::Auto),
        ("on", BusyPollWish::On),
        ("off", BusyPollWish::Off),
    ];
    let checksums = [
        ("auto", ChecksumPolicy::Auto),
        ("incremental", ChecksumPolicy::Incremental),
        ("full", ChecksumPolicy::Full),
    ];
    let name = section.required("name", NAME);
    let interface = Interface {
        device: section.required("device", "the name of a network device, as in \"eth0\""),
        vlan: section.one_or_more("vlan", &VIDS, TAGS_MAX),
        vlan_outer: section.parsed("vlan_outer", "\"802.1ad\" or \"802.1q\""),
        mode: *section.choice("mode", &modes, XdpMode::Auto).get_ref(),
        zero_copy: section.choice("zero_copy", &copies, ZeroCopy::Auto),
        busy_poll: *section
            .choice("busy_poll", &busy_polls, BusyPollWish::Auto)
            .get_ref(),
        checksum: *section
            .choice("checksum", &checksums, ChecksumPolicy::Auto)
            .get_ref(),
        name: name?,
    };
    Some(interface)
}

fn listen(section: &mut Section<'_>) -> Option<Listen> {
    let name = section.required("name", NAME);
    let address = section.required("address", SOCKET_ADDRESS);
    let advertise = section.parsed("advertise", SOCKET_ADDRESS);
    let stateless = section.flag("stateless");
    Some(Listen {
        name: name?,
        address: address.as_ref().map(canonical_socket),
        advertise: advertise.as_ref().map(canonical_socket),
        stateless,
    })
}

fn media(section: &mut Section<'_>) -> Option<Media> {
    let expected = "an IP address, as in \"192.0.2.1\" or \"2001:db8::1\"";
    let name = section.required("name", NAME);
    let address = section.required("address", expected);
    let ports = section.required(
        "ports",
        "the first and the last port, as in \"20000-24999\"",
    );
    let advertise = section.parsed("advertise", expected);
    Some(Media {
        name: name?,
        address: address.as_ref().map(canonical),
        advertise: advertise.as_ref().map(canonical),
        ports,
    })
}

fn trunk(section: &mut Section<'_>) -> Option<Trunk> {
    let name = section.required("name", NAME);
    let subnet =
        "IP addresses or networks, as in \"192.0.2.7\", \"192.0.2.0/24\" or \"2001:db8::/64\"";
    let sources = section.required_list("sources", subnet);
    let targets = section.one_or_list("target", SOCKET_ADDRESS);
    let failover_codes = section.one_or_more("failover_codes", &(300..=599), FAILOVER_CODES_MAX);
    let no_answer_ms = section.integer("no_answer_ms", 100..=32_000, 2_000);
    let listen = section.required("listen", "the name of a [[listen]]");
    let media = section.required("media", "the name of a [[media]] range");
    Some(Trunk {
        name: name?,
        sources,
        targets: targets.iter().map(canonical_socket).collect(),
        failover_codes,
        no_answer_ms: *no_answer_ms.get_ref(),
        listen,
        media,
    })
}

fn route(section: &mut Section<'_>) -> Route {
    Route {
        from: section.parsed("from", "the name of a [[trunk]] or a [[domain]]"),
        prefix: section.parsed(
            "prefix",
            "the beginning of a Request-URI without its scheme, as in \"+44\"",
        ),
        to: section.texts_or_tables(
            "to",
            "`to` of [[route]]",
            "the name of a [[trunk]] with a target, or a list of such names and of tables as in { trunk = \"carrier\", q = 0.5 }",
            |trunk| Choice { trunk, q: 1000 },
            |choice| {
                let trunk = choice.required("trunk", "the name of a [[trunk]] with a target");
                let q = choice.thousandths("q", 1000);
                Some(Choice { trunk: trunk?, q })
            },
        ),
        stateless: section.flag("stateless"),
    }
}
