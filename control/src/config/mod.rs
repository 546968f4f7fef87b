//! The configuration: a TOML file in, everything the daemon needs to know out.
//!
//! `file` reads the keys, `check` compares them with each other, and both collect
//! all that is wrong instead of stopping at the first. Nothing here looks at the
//! machine, so that a file can be checked anywhere and by anyone; what the machine
//! must offer is asked at start.

mod check;
mod file;
mod problem;
mod section;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

pub use problem::Found;
pub use problem::Problem;
pub use problem::Problems;
pub(crate) use section::nearest;
use toml::de::DeTable;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::MediaIndex;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::media::ChecksumPolicy;
use trunkline_dataplane::settings::Abuse;
use trunkline_dataplane::settings::Authentication;
use trunkline_dataplane::settings::Capacity;
use trunkline_dataplane::settings::Choice;
use trunkline_dataplane::settings::DialRoute;
use trunkline_dataplane::settings::Domain;
use trunkline_dataplane::settings::Failover;
use trunkline_dataplane::settings::InterfaceSettings;
use trunkline_dataplane::settings::Listen;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::settings::MediaRange;
use trunkline_dataplane::settings::Secrets;
use trunkline_dataplane::settings::SessionTimer;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::settings::Trunk;
use trunkline_dataplane::settings::Upstream;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::registrar::Rules;
use trunkline_dataplane::sys::memory::Hugepages;
use trunkline_dataplane::wire::VlanStack;
use trunkline_dataplane::worker::Poll;

use crate::location;
use crate::privileges::Wish;
use crate::subscribers::remote::Remote;

/// The commented default configuration: the reference of every key.
pub const DEFAULT: &str = include_str!("../../config/default.toml");

/// Where the operator's socket is unless the configuration says otherwise.
pub const SOCKET: &str = "/run/trunkline/control.sock";

/// A configuration that has passed every check that needs no machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Worker threads.
    pub workers: u8,
    /// What a worker does when there is nothing to do.
    pub poll: Poll,
    /// The core of each worker; `None`: the first cores that the process may use.
    pub cores: Option<Vec<u16>>,
    /// The operator's socket.
    pub socket: PathBuf,
    /// The group whose members may use it, beside root.
    pub group: Option<String>,
    /// The directory of the state file.
    pub state: PathBuf,
    /// Where Prometheus and probes may ask; `None`: nowhere but on the operator's socket.
    pub metrics: Option<SocketAddr>,
    /// What the process gives up once it serves.
    pub confinement: Wish,
    /// Frames of each worker's UMEM; `None`: as many as its rings need.
    pub umem_frames: Option<u32>,
    /// Whether the UMEM lies in hugepages.
    pub hugepages: Hugepages,
    /// Descriptors of each receive ring.
    pub ring_rx: u32,
    /// Descriptors of each transmit ring.
    pub ring_tx: u32,
    /// How large each worker's tables are.
    pub capacity: Capacity,
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// The SIP listens.
    pub listens: Vec<Listen>,
    /// The media ranges.
    pub media: Vec<MediaRange>,
    /// The trunks, and after them a trunk for each domain.
    pub trunks: Vec<Trunk>,
    /// The domains.
    pub domains: Vec<Domain>,
    /// How their users are told from those who only say so.
    pub authentication: Authentication,
    /// What is done against those who try passwords.
    pub abuse: Abuse,
    /// What is granted to who registers.
    pub registrar: Rules,
    /// Where their users are kept.
    pub store: StoreConfig,
    /// Where the contacts of users are kept beside the workers' memory.
    pub location: LocationConfig,
    /// The routes, in the order in which they are tried.
    pub routes: Vec<DialRoute>,
    /// How long a session lasts without a refresh.
    pub session: SessionTimer,
}

/// A network device that the box drives, or a VLAN of one.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name in the configuration.
    pub name: String,
    /// The kernel's name for its device.
    pub device: String,
    /// Which of the devices that is: the first that is named is 0.
    pub device_index: DeviceIndex,
    /// The tags of its frames.
    pub vlan: VlanStack,
    /// How the XDP program is attached.
    pub mode: trunkline_bpf::ModeWish,
    /// Whether frames are shared with the driver.
    pub zero_copy: trunkline_dataplane::ring::ModeWish,
    /// Whether the workers drive the device's NAPIs.
    pub busy_poll: BusyPollWish,
    /// How the UDP checksum of a relayed packet is mended.
    pub checksum: ChecksumPolicy,
}

/// Where subscribers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// In a file of SQLite's.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// On servers elsewhere.
    Remote(Remote),
}

/// Where the contacts of users are kept beside the workers' memory.
#[derive(Clone, Debug)]
pub enum LocationConfig {
    /// Nowhere, or there are none.
    Nowhere,
    /// In a file of SQLite's.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
    /// In servers that other boxes use as well.
    Redis(location::redis::Options),
}

/// Whether a worker has the driver take frames off the NIC, instead of the interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BusyPollWish {
    /// Where it takes effect.
    #[default]
    Auto,
    /// Or refuse to start.
    On,
    /// Not at all.
    Off,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{0}")]
    Wrong(Problems),
}

impl Config {
    /// Reads the configuration file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or all that is wrong with it.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let unreadable = |error| ConfigError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let source = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            unreadable(std::io::Error::other(format!(
                "byte {at} is not UTF-8 text"
            )))
        })?;
        Config::parse(path, &source).map_err(ConfigError::Wrong)
    }

    /// Reads `source`, which stands in the file at `path`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(path: &Path, source: &str) -> Result<Config, Problems> {
        let mut problems = Vec::new();
        let (table, errors) = DeTable::parse_recoverable(source);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            problems.push(Problem {
                span,
                message: error.message().to_owned(),
                help: None,
            });
        }
        // A file that is not TOML has no keys that one could rightly complain about.
        if problems.is_empty() {
            let file = file::File::read(table.get_ref(), &mut problems);
            check::check(&file, &mut problems);
            if problems.is_empty() {
                return Ok(resolve(file));
            }
        }
        Err(Problems::new(path, source, problems))
    }

    /// The first interface of each device, by [`DeviceIndex`], and its place among all.
    pub fn devices(&self) -> impl Iterator<Item = (usize, &Interface)> {
        let first = |&(at, interface): &(usize, &Interface)| {
            let before = self.interfaces.get(..at).unwrap_or_default();
            before
                .iter()
                .all(|other| other.device_index != interface.device_index)
        };
        self.interfaces.iter().enumerate().filter(first)
    }

    /// Whether the users of any domain are known here, by their passwords.
    #[must_use]
    pub fn has_subscribers(&self) -> bool {
        self.domains.iter().any(|domain| domain.upstream.is_none())
    }

    /// What each worker is told at its start.
    #[must_use]
    pub fn settings(&self, boot: u16, secrets: Secrets) -> Settings {
        let interface = |interface: &Interface| InterfaceSettings {
            name: interface.name.clone(),
            device: interface.device_index,
            vlan: interface.vlan,
            checksum: interface.checksum,
        };
        Settings {
            workers: self.workers,
            boot,
            interfaces: self.interfaces.iter().map(interface).collect(),
            listens: self.listens.clone(),
            media: self.media.clone(),
            trunks: self.trunks.clone(),
            routes: self.routes.clone(),
            domains: self.domains.clone(),
            authentication: self.authentication,
            abuse: self.abuse,
            registrar: self.registrar.clone(),
            location: match self.location {
                LocationConfig::Nowhere => Location::Nowhere,
                LocationConfig::Sqlite { .. } => Location::Own,
                LocationConfig::Redis(_) => Location::Shared,
            },
            session: self.session,
            secrets,
            capacity: match (self.domains.is_empty(), self.has_subscribers()) {
                (false, true) => self.capacity,
                // Nobody authenticates here: nothing is to be known of anybody.
                (false, false) => Capacity {
                    subscribers: 1,
                    nonces: 1,
                    ..self.capacity
                },
                (true, _) => Capacity {
                    subscribers: 1,
                    nonces: 1,
                    tickets: 1,
                    bindings: 1,
                    ..self.capacity
                },
            },
        }
    }
}

/// Turns names into indexes. The checks have passed: what is looked up is there, and
/// what is required was read.
fn resolve(file: file::File) -> Config {
    let listen_names: Vec<_> = file
        .listens
        .iter()
        .map(|l| l.name.get_ref().clone())
        .collect();
    let media_names: Vec<_> = file
        .media
        .iter()
        .map(|m| m.name.get_ref().clone())
        .collect();
    let routes = file.routes.iter();
    let routes = routes.filter_map(|entry| route(&file, entry)).collect();
    let algorithms: Vec<_> = file.domains.iter().map(algorithms).collect();
    let domains = file.domains.iter().zip(algorithms).enumerate();
    let domains = domains.map(|(at, (domain, algorithms))| Domain {
        name: domain.name.get_ref().0.clone(),
        trunk: trunk_index(file.trunks.len() + at),
        algorithms,
        registrar: domain.registrar,
        upstream: upstream(&file, domain, trunk_index(file.trunks.len() + at)),
        calls: domain.calls,
        located: domain.located,
    });
    let domains: Vec<Domain> = domains.collect();
    let path = |path: Option<toml::Spanned<PathBuf>>, default: &str| {
        path.map_or_else(|| PathBuf::from(default), toml::Spanned::into_inner)
    };
    let state = path(file.state, "/var/lib/trunkline");
    Config {
        workers: narrow(*file.workers.get_ref() as usize),
        poll: file.poll,
        confinement: file.confinement,
        cores: file.cores.map(|cores| {
            cores
                .into_inner()
                .into_iter()
                .map(toml::Spanned::into_inner)
                .collect()
        }),
        socket: path(file.socket, SOCKET),
        group: file.group.map(|group| group.into_inner().0),
        location: location_of(&file.location, &state, file.registrar.get_ref(), &domains),
        store: match file.subscribers.elsewhere() {
            Some(elsewhere) => StoreConfig::Remote(elsewhere.remote()),
            None => StoreConfig::Sqlite {
                path: file
                    .subscribers
                    .path
                    .map_or_else(|| state.join("subscribers.db"), toml::Spanned::into_inner),
            },
        },
        state,
        metrics: file.metrics.map(toml::Spanned::into_inner),
        umem_frames: Some(*file.umem_frames.get_ref()).filter(|frames| *frames > 0),
        hugepages: file.hugepages,
        ring_rx: *file.ring_rx.get_ref(),
        ring_tx: *file.ring_tx.get_ref(),
        capacity: Capacity {
            transactions: file.transactions,
            calls: *file.calls.get_ref(),
            kept: file.kept,
            subscribers: file.subscribers_capacity,
            nonces: file.nonces,
            tickets: file.tickets,
            bindings: file.bindings,
        },
        interfaces: interfaces(file.interfaces),
        listens: file.listens.into_iter().filter_map(listen).collect(),
        media: file.media.into_iter().filter_map(media).collect(),
        trunks: file
            .trunks
            .into_iter()
            .filter_map(|entry| trunk(entry, &listen_names, &media_names))
            .chain(
                file.domains
                    .into_iter()
                    .filter_map(|entry| subscribers_of(entry, &listen_names, &media_names)),
            )
            .collect(),
        domains,
        authentication: file.authentication.into_inner(),
        abuse: file.abuse,
        registrar: file.registrar.into_inner(),
        session: SessionTimer {
            expires_s: file.session_expires.into_inner(),
            min_s: file.session_min.into_inner(),
        },
        routes,
    }
}

/// Where contacts are kept, if there can be any.
fn location_of(
    said: &file::location::Location,
    state: &Path,
    rules: &Rules,
    domains: &[Domain],
) -> LocationConfig {
    use file::location::StoreKind;
    let there_are_any = domains
        .iter()
        .any(|domain| domain.registrar || domain.located || domain.upstream.is_some());
    match (said.store, &said.redis) {
        (StoreKind::Sqlite, _) if there_are_any => LocationConfig::Sqlite {
            path: said.path.as_ref().map_or_else(
                || state.join(location::sqlite::FILE),
                |path| path.get_ref().clone(),
            ),
        },
        (StoreKind::Redis, Some(redis)) => LocationConfig::Redis(redis.options(rules.max_s)),
        _ => LocationConfig::Nowhere,
    }
}

fn interfaces(entries: Vec<file::Interface>) -> Vec<Interface> {
    let mut devices: Vec<String> = Vec::new();
    let mut interfaces = Vec::new();
    for entry in entries {
        let Some(device) = entry.device.as_ref().map(|device| &device.get_ref().0) else {
            continue;
        };
        let known = devices.iter().position(|known| known == device);
        let at = known.unwrap_or_else(|| {
            devices.push(device.clone());
            devices.len() - 1
        });
        interfaces.extend(interface(entry, DeviceIndex(narrow(at))));
    }
    interfaces
}

fn interface(entry: file::Interface, device_index: DeviceIndex) -> Option<Interface> {
    let vlan = entry.stack();
    Some(Interface {
        name: entry.name.into_inner().0,
        device: entry.device?.into_inner().0,
        device_index,
        vlan,
        mode: entry.mode,
        zero_copy: entry.zero_copy.into_inner(),
        busy_poll: entry.busy_poll,
        checksum: entry.checksum,
    })
}

fn listen(entry: file::Listen) -> Option<Listen> {
    let address = entry.address?.into_inner();
    let advertised = entry.advertise.map_or(address, toml::Spanned::into_inner);
    Some(Listen {
        name: entry.name.into_inner().0,
        address,
        advertised,
        stateless: entry.stateless,
    })
}

fn media(entry: file::Media) -> Option<MediaRange> {
    let address = entry.address?.into_inner();
    let advertised = entry.advertise.map_or(address, toml::Spanned::into_inner);
    let ports = entry.ports?.into_inner().0;
    Some(MediaRange {
        name: entry.name.into_inner().0,
        address,
        advertised,
        ports,
    })
}

fn trunk(entry: file::Trunk, listens: &[file::Name], media: &[file::Name]) -> Option<Trunk> {
    let sources = entry.sources.iter().map(|source| {
        let subnet = source.get_ref();
        (subnet.address, subnet.prefix_len)
    });
    Some(Trunk {
        name: entry.name.into_inner().0,
        sources: sources.collect(),
        targets: entry
            .targets
            .into_iter()
            .map(toml::Spanned::into_inner)
            .collect(),
        failover: Failover {
            codes: entry
                .failover_codes
                .map_or_else(|| Failover::default().codes, toml::Spanned::into_inner),
            no_answer_ms: entry.no_answer_ms.into(),
        },
        listen: ListenIndex(narrow(position(listens, entry.listen?.get_ref())?)),
        media: MediaIndex(narrow(position(media, entry.media?.get_ref())?)),
    })
}

/// The users of a domain as a party to calls: they come from anywhere, and where each of them is
/// called nobody can write into a file.
fn subscribers_of(
    entry: file::subscribers::Domain,
    listens: &[file::Name],
    media: &[file::Name],
) -> Option<Trunk> {
    Some(Trunk {
        name: entry.name.into_inner().0,
        sources: Vec::new(),
        targets: Vec::new(),
        failover: Failover::default(),
        listen: ListenIndex(narrow(position(listens, entry.listen?.get_ref())?)),
        media: MediaIndex(narrow(position(media, entry.media?.get_ref())?)),
    })
}

/// Those of the challenge, in the order in which they are preferred (RFC 8760 §2.3). MD5 is broken: it
/// is there only for whoever names it.
fn algorithms(entry: &file::subscribers::Domain) -> Vec<Algorithm> {
    if entry.algorithms.is_empty() {
        return vec![Algorithm::Sha256];
    }
    let named = entry.algorithms.iter();
    named.map(|offered| offered.get_ref().0).collect()
}

/// The way to the registrar of a domain, whose users are `from`, where that is elsewhere.
fn upstream(
    file: &file::File,
    entry: &file::subscribers::Domain,
    from: TrunkIndex,
) -> Option<Upstream> {
    let name = entry.upstream.as_ref()?.get_ref();
    let trunk = trunk_index(file.party(name)?);
    let route = DialRoute {
        from: Some(from),
        prefix: None,
        to: vec![Choice { trunk, q: 1_000 }],
        stateless: false,
    };
    Some(Upstream {
        route,
        nat_expires_s: entry.nat_expires_s,
        passes_unregistered: entry.passes_unregistered,
    })
}

fn route(file: &file::File, entry: &file::Route) -> Option<DialRoute> {
    let index = |name: &toml::Spanned<file::Name>| Some(trunk_index(file.party(name.get_ref())?));
    let choice = |choice: &file::Choice| {
        let (trunk, q) = (index(&choice.trunk)?, choice.q);
        Some(Choice { trunk, q })
    };
    let mut to: Vec<Choice> = entry.to.iter().map(choice).collect::<Option<_>>()?;
    // Those of the same q stay in the order of the file.
    to.sort_by_key(|choice| std::cmp::Reverse(choice.q));
    Some(DialRoute {
        from: entry.from.as_ref().and_then(index),
        prefix: entry.prefix.as_ref().map(|prefix| prefix.get_ref().clone()),
        to,
        stateless: entry.stateless,
    })
}

fn position(names: &[file::Name], wanted: &file::Name) -> Option<usize> {
    names.iter().position(|name| name == wanted)
}

/// The checks keep every count within the index's type.
fn trunk_index(at: usize) -> TrunkIndex {
    TrunkIndex(u16::try_from(at).unwrap_or(u16::MAX))
}

/// The same.
fn narrow(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}
