//! Start: every refusal before anything is touched, then the engine, then service.
//!
//! The order is that in which a refusal does the least harm. What has been made by
//! the time that a later step fails is undone by dropping it: sockets close, the
//! operator's socket file is removed, XDP programs are taken off, threads are
//! stopped. So there is never a half-configured host.

mod engine;
pub mod interfaces;
mod location;
pub mod lock;
mod mirror;
pub mod ports;
mod rings;
pub mod sockets;
pub mod state;
mod subscribers;

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::sync::watch;
use trunkline_bpf::AttachError;
use trunkline_bpf::LoadError;
use trunkline_dataplane::frame::CHUNK_LEN;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ring::RingError;

use crate::api::socket::OperatorSocket;
use crate::config::BusyPollWish;
use crate::config::Config;
use crate::config::Interface;
use crate::engine::Desk;
use crate::engine::Final;
use crate::engine::InterfaceFacts;
use crate::engine::Kernel;
use crate::engine::Mirrored;
use crate::engine::Names;
use crate::engine::Request;
use crate::kernel::ListenSocket;
use crate::kernel::hear::Hearer;
use crate::metrics::server::MetricsError;
use crate::metrics::server::MetricsSocket;
use crate::netlink;
use crate::netlink::Dump;
use crate::netlink::Neighbours;
use crate::netlink::Place;
use crate::netlink::Tables;
use crate::netlink::Watch;
use crate::privileges;
use crate::privileges::ConfineError;
use crate::privileges::diagnosis;
use crate::privileges::diagnosis::Findings;
use crate::privileges::diagnosis::Operation;
use crate::privileges::needed;
use crate::privileges::needed::MissingPrivileges;
use crate::service::Service;
pub use engine::EngineError;
use interfaces::Device;
use mirror::Mirror;

/// Requests that may wait at the desk.
const REQUESTS: usize = 256;

/// Neighbours that may wait to be asked for.
const SOLICITS: usize = 256;

/// How long a start waits for addresses that may not be used yet. The kernel asks for one
/// to two seconds whether another host has them.
const TENTATIVE_MAX: Duration = Duration::from_secs(5);

/// How long it waits between two looks.
const TENTATIVE_PAUSE: Duration = Duration::from_millis(100);

/// How often the devices' queues are counted: a directory listing each.
const LOOK_AT_QUEUES: Duration = Duration::from_secs(1);

/// Where it says 0, the kernel names a route's nexthop object and not where that leads.
const NEXTHOP_COMPAT: &str = "/proc/sys/net/ipv4/nexthop_compat_mode";

/// Why the daemon does not start, each with what to do about it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // Each is the error of one step of `Started::start`.
pub enum StartError {
    #[error(transparent)]
    Privileges(#[from] MissingPrivileges),
    #[error("{error}\n{findings}")]
    NotPermitted {
        error: Box<StartError>,
        findings: Findings,
    },
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    #[error(transparent)]
    State(#[from] state::StateError),
    #[error(transparent)]
    Subscribers(#[from] subscribers::StoreError),
    #[error(transparent)]
    Location(#[from] location::LocationError),
    #[error(transparent)]
    Operator(#[from] crate::api::socket::SocketError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error(transparent)]
    Netlink(#[from] netlink::NetlinkError),
    #[error(transparent)]
    Interface(#[from] interfaces::InterfaceError),
    #[error(transparent)]
    Port(#[from] ports::PortError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot use NOTIFY_SOCKET, which the service manager sets: {0}. Unset it")]
    Service(std::io::Error),
    #[error("cannot watch a socket: {0}")]
    Runtime(std::io::Error),
}

/// A daemon that is up. Dropping it takes everything down again.
#[derive(Debug)]
pub struct Started {
    // In the order in which they go: first what takes traffic.
    desk: Desk,
    requests: mpsc::Receiver<Request>,
    requests_in: mpsc::Sender<Request>,
    operator: OperatorSocket,
    metrics: Option<MetricsSocket>,
    neighbours: Neighbours,
    solicits: mpsc::Receiver<(u32, IpAddr)>,
    changes: subscribers::Changes,
    mirror: Mirror,
    devices: Vec<Device>,
    kernel_sockets: Vec<Arc<ListenSocket>>,
    service: Arc<Service>,
    _locks: Vec<lock::DeviceLock>,
}

impl Started {
    /// Starts what `config` describes.
    ///
    /// # Errors
    /// Why not. Nothing is left behind.
    pub async fn start(config: &Config) -> Result<Started, StartError> {
        Started::make(config)
            .await
            .map_err(StartError::with_findings)
    }

    async fn make(config: &Config) -> Result<Started, StartError> {
        let service = Service::from_environment().map_err(StartError::Service)?;
        let warning = needed::check(needed(config))?;
        let locks = config
            .interfaces
            .iter()
            .map(|interface| lock::take(&interface.device));
        let locks = locks.collect::<Result<Vec<_>, _>>()?;
        let (boot, secrets) = state::load(&config.state)?;
        let prepared = subscribers::prepare(config)?;
        let located = location::prepare(config)?;
        let operator = OperatorSocket::bind(&config.socket, config.group.as_deref())?;
        let metrics = config.metrics.map(MetricsSocket::bind).transpose()?;
        // Subscribed before the first look, so that no change falls between.
        let watch = Watch::open().map_err(netlink::NetlinkError::from)?;
        let handle = netlink::connect()?;
        let dump = settled_dump(config, &handle).await?;
        let mut devices = interfaces::check(config, &dump)?;
        interfaces::check_addresses(config, &dump)?;
        let kernel_sockets = ports::bind(&config.listens)?;
        let kernel_sockets: Vec<_> = kernel_sockets.into_iter().map(Arc::new).collect();
        ports::check_media(&config.media)?;
        let places = places(config, &devices);
        let mirrored = mirrored(&dump, &places, true);
        let network = mirrored.tables.network(1);
        let settings = config.settings(boot, secrets);
        let mut engine = engine::start(config, &settings, &mut devices, &network).await?;
        engine
            .facts
            .warnings
            .extend(without_vlan(config, &places, &dump));
        engine.facts.warnings.extend(warning);
        engine
            .facts
            .warnings
            .extend(without_next_hops(Path::new(NEXTHOP_COMPAT)));
        // All that takes privileges has been done; nothing has been read from a stranger.
        let wish = config.confinement;
        let files =
            privileges::confine_control(wish, &subscribers::writes(config), &config.socket)?;
        engine.facts.confinement = privileges::in_force(wish, &files);
        let location = located.serve(config).map_err(StartError::Runtime)?;
        let (directory, changes) = prepared.serve(config).map_err(StartError::Runtime)?;
        let (fixed, fixed_seen) = watch::channel(dump.fixed());
        let mirror = Mirror {
            watch,
            handle: handle.clone(),
            config: config.clone(),
            places,
            dump,
            fixed,
        };
        let (solicit, solicits) = mpsc::channel(SOLICITS);
        let (requests_in, requests) = mpsc::channel(REQUESTS);
        let desk = Desk::new(
            engine.facts,
            engine.workers,
            engine.programs,
            mirrored,
            network,
            solicit,
        )
        .with_kernel(Kernel::new(kernel_sockets.clone(), &settings))
        .with_subscribers(
            directory,
            Duration::from_millis(config.authentication.deadline_ms),
        )
        .with_location(Names::new(config, settings.secrets.hash), location);
        Ok(Started {
            desk,
            requests,
            requests_in,
            operator,
            metrics,
            neighbours: Neighbours::new(handle, fixed_seen),
            solicits,
            changes,
            mirror,
            devices,
            kernel_sockets,
            service: Arc::new(service),
            _locks: locks,
        })
    }

    /// Logs what came of it: a line for each interface, and every warning.
    pub fn announce(&self) {
        let facts = self.desk.facts();
        for interface in &facts.interfaces {
            let InterfaceFacts {
                name,
                device,
                mode,
                frames,
                queues,
                ..
            } = interface;
            let busy_poll = match (interface.busy_poll, &interface.busy_poll_because) {
                (BusyPollWish::Off, _) => ", busy polling off".to_owned(),
                (_, Some(because)) => format!(", no busy polling: {because}"),
                (_, None) => ", busy polling".to_owned(),
            };
            tracing::info!(
                "interface {name} ({device}): XDP {mode}, {frames}, {queues} queues{busy_poll}"
            );
        }
        for (number, worker) in facts.workers.iter().enumerate() {
            let core = worker
                .core
                .map_or_else(|| "any core".to_owned(), |core| format!("core {core}"));
            tracing::info!(
                "worker {number}: {core}, poll {}, frames in {}",
                worker.poll,
                worker.memory
            );
        }
        for warning in &facts.warnings {
            tracing::warn!("{warning}");
        }
        if let Some(metrics) = &self.metrics {
            tracing::info!("metrics on http://{}/metrics", metrics.address());
        }
        tracing::info!(
            "ready; operator's socket {}",
            self.operator.path().display()
        );
    }

    /// Serves until `stop` is done, then takes everything down in order. Gives the sums at
    /// the end.
    ///
    /// # Errors
    /// A socket cannot be watched.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<Final, StartError> {
        let Started {
            mut desk,
            requests,
            requests_in,
            operator,
            metrics,
            neighbours,
            solicits,
            ..
        } = self;
        let mut tasks = Tasks::default();
        for (listen, socket) in (0..).zip(self.kernel_sockets) {
            let hear = Hearer::new(ListenIndex(listen), socket).map_err(StartError::Runtime)?;
            tasks.spawn("kernel socket", hear.run(requests_in.clone()));
        }
        if let Some(metrics) = metrics {
            tasks.spawn("metrics", metrics.serve(requests_in.clone()));
        }
        let directory = self.changes.directory();
        tasks.spawn("stores", subscribers::check(directory, requests_in.clone()));
        tasks.spawn("subscribers", self.changes.run(requests_in.clone()));
        tasks.spawn("mirror", self.mirror.run(requests_in.clone()));
        tasks.spawn("queues", watch_queues(self.devices, requests_in.clone()));
        let service = self.service;
        tasks.spawn("watchdog", Arc::clone(&service).beat(desk.published()));
        let (released, release) = tokio::sync::oneshot::channel();
        // Apart from the others, since it has something to put back when they have gone.
        let mut keeper = Tasks::default();
        let keep = keep_neighbours(neighbours, solicits, requests_in.clone(), release);
        keeper.spawn("neighbours", keep);
        let failures = requests_in.clone();
        service.ready();
        let served = {
            let answering = operator.serve(requests_in);
            let served = desk.serve(requests, stop);
            tokio::pin!(answering, served);
            loop {
                tokio::select! {
                    served = &mut served => break served,
                    answered = &mut answering => break answered,
                    // Caught and counted: calls go on without it.
                    name = tasks.failed() => tell_failed(name, &failures),
                    name = keeper.failed() => tell_failed(name, &failures),
                }
            }
        };
        service.stopping();
        drop(operator);
        tasks.running.shutdown().await;
        let sums = desk.stop().await;
        let _ = released.send(());
        // The kernel may be slow to take the entries back; they do no harm.
        let _ = tokio::time::timeout(Duration::from_secs(1), keeper.running.join_next()).await;
        served.map_err(StartError::Runtime)?;
        Ok(sums)
    }
}

/// Tells the desk of a task that has failed, also where it has much to do: it says so once.
fn tell_failed(name: &'static str, desk: &mpsc::Sender<Request>) {
    let desk = desk.clone();
    tokio::spawn(async move { desk.send(Request::TaskFailed(name)).await });
}

/// The tasks beside the desk.
#[derive(Default)]
struct Tasks {
    running: tokio::task::JoinSet<()>,
    names: HashMap<tokio::task::Id, &'static str>,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Returns when one of them has panicked, with its name.
    async fn failed(&mut self) -> &'static str {
        while let Some(ended) = self.running.join_next().await {
            if let Err(error) = ended {
                return self.names.get(&error.id()).copied().unwrap_or("unknown");
            }
        }
        std::future::pending().await
    }
}

impl StartError {
    /// Says why, where the kernel gave nothing but EPERM.
    fn with_findings(self) -> StartError {
        let operation = match &self {
            StartError::Engine(EngineError::Load(LoadError::NotPermitted { .. })) => {
                Operation::LoadBpf
            }
            StartError::Engine(EngineError::Attach {
                error: AttachError::NotPermitted { .. },
                ..
            }) => Operation::AttachXdp,
            StartError::Engine(EngineError::Rings {
                error: RingError::NoPermission,
                ..
            }) => Operation::OpenXsk,
            StartError::Port(ports::PortError::Io { error, .. })
                if error.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Operation::BindPort
            }
            _ => return self,
        };
        StartError::NotPermitted {
            findings: diagnosis::why(operation),
            error: Box::new(self),
        }
    }
}

fn needed(config: &Config) -> needed::Start {
    // As far as that is known before the queues are counted.
    let frames = config.umem_frames.unwrap_or(rings::FRAMES_MIN);
    let ports = config.listens.iter().map(|listen| listen.address.port());
    needed::Start {
        umem_len: u64::from(config.workers) * u64::from(frames) * u64::from(CHUNK_LEN),
        port_min: ports.min().unwrap_or(u16::MAX),
    }
}

/// Where each interface is.
fn places(config: &Config, devices: &[Device]) -> Vec<Place> {
    let interfaces = config.interfaces.iter();
    let place = |(interface, device): (&Interface, &Device)| {
        let shares = |other: &&Interface| other.device_index == interface.device_index;
        Place {
            ifindex: device.ifindex,
            tags: interface.vlan.tags().collect(),
            alone: config.interfaces.iter().filter(shares).count() == 1,
        }
    };
    interfaces.zip(devices).map(place).collect()
}

/// What is to be said of interfaces for whose tags the kernel has no VLAN.
fn without_vlan(config: &Config, places: &[Place], dump: &Dump) -> Vec<String> {
    let rows = config.interfaces.iter().zip(places);
    let missing = rows.filter(|(_, place)| !place.is_exact(dump));
    let said = missing.map(|(interface, place)| {
        let (name, device, vlan) = (&interface.name, &interface.device, interface.vlan);
        let then = match place.alone {
            true => format!("those of {device} itself are taken"),
            false => "nothing leaves by it".to_owned(),
        };
        format!(
            "interface \"{name}\": the kernel has no VLAN {vlan} on {device} whose addresses, routes and neighbours it \
             could have; {then}. As in: ip link add link {device} name {device}.{vlan} type vlan id {vlan}"
        )
    });
    said.collect()
}

/// What is to be said where the kernel does not tell where a route by a nexthop object leads.
fn without_next_hops(compat: &Path) -> Option<String> {
    let said = fs::read_to_string(compat).unwrap_or_default();
    (said.trim() == "0").then(|| {
        "routes by nexthop objects (ip route .. nhid) lead nowhere: the kernel names their objects alone. If there \
         are any: sysctl -w net.ipv4.nexthop_compat_mode=1"
            .to_owned()
    })
}

/// Asks for everything, and again for as long as an address of ours may not be used yet: at
/// boot the kernel still asks whether another host has it.
async fn settled_dump(config: &Config, handle: &rtnetlink::Handle) -> Result<Dump, StartError> {
    let deadline = Instant::now() + TENTATIVE_MAX;
    loop {
        let dump = Dump::take(handle).await?;
        let mut ours = interfaces::addresses(config);
        let waits = ours.any(|address| dump.tentative.contains(&address));
        if !waits || Instant::now() >= deadline {
            return Ok(dump);
        }
        tokio::time::sleep(TENTATIVE_PAUSE).await;
    }
}

fn mirrored(dump: &Dump, places: &[Place], fit: bool) -> Mirrored {
    // No link has the number 0.
    let ifindexes: Vec<_> = places
        .iter()
        .map(|place| place.link(dump).unwrap_or(0))
        .collect();
    let ifindexes = &ifindexes;
    let link = |ifindex: &u32| {
        let link = dump.links.iter().find(|link| link.ifindex == *ifindex);
        link.map_or((false, 0), |link| (link.up, link.mtu))
    };
    let addresses = |ifindex: &u32| {
        let ours = dump.addresses_of.iter().filter(|(at, _)| at == ifindex);
        ours.map(|(_, address)| *address).collect()
    };
    Mirrored {
        tables: Tables::new(dump, ifindexes),
        links: ifindexes.iter().map(link).collect(),
        addresses: ifindexes.iter().map(addresses).collect(),
        gone: places
            .iter()
            .map(|place| dump.links.iter().all(|link| link.ifindex != place.ifindex))
            .collect(),
        ifindexes: ifindexes.clone(),
        fit,
    }
}

/// Tells the desk when a device's number of queues changes. The kernel announces it to
/// nobody, so that one has to look.
async fn watch_queues(devices: Vec<Device>, desk: mpsc::Sender<Request>) {
    let mut second = tokio::time::interval(LOOK_AT_QUEUES);
    let mut before = Vec::new();
    loop {
        second.tick().await;
        let now: Vec<_> = devices.iter().map(Device::queues_now).collect();
        if now != before {
            before.clone_from(&now);
            if desk.send(Request::Queues(now)).await.is_err() {
                return;
            }
        }
    }
}

/// Has the kernel resolve what the desk asks for, until told to let go of it all.
async fn keep_neighbours(
    mut neighbours: Neighbours,
    mut solicits: mpsc::Receiver<(u32, IpAddr)>,
    desk: mpsc::Sender<Request>,
    mut release: tokio::sync::oneshot::Receiver<()>,
) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = &mut release => break,
            _ = second.tick() => neighbours.tick().await,
            solicit = solicits.recv() => {
                let Some((ifindex, address)) = solicit else { break };
                if let Some(warning) = neighbours.want(ifindex, address).await {
                    let _ = desk.try_send(Request::Warning(warning));
                }
            }
        }
    }
    neighbours.release().await;
}

#[cfg(test)]
mod tests {
    use trunkline_dataplane::wire::VlanStack;
    use trunkline_dataplane::wire::vlan::TPID_8021AD;

    use super::*;

    #[test]
    fn interfaces_are_placed_by_device_and_tags() {
        let mut config = Config::parse(Path::new("default.toml"), crate::config::DEFAULT).unwrap();
        let device = |ifindex| Device {
            ifindex,
            ..Device::default()
        };
        let alone = places(&config, &[device(3), device(5)]);
        assert!(
            alone
                .iter()
                .all(|place| place.alone && place.tags.is_empty())
        );
        config.interfaces[1].device_index = config.interfaces[0].device_index;
        config.interfaces[1].vlan = VlanStack::two(TPID_8021AD, 200, 100);
        let shared = places(&config, &[device(3), device(3)]);
        assert!(
            shared
                .iter()
                .all(|place| !place.alone && place.ifindex == 3)
        );
        assert_eq!(shared[1].tags, [(TPID_8021AD, 200), (0x8100, 100)]);
    }

    #[test]
    fn a_kernel_that_hides_next_hops_is_told_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let said = |text: &str| {
            fs::write(file.path(), text).unwrap();
            without_next_hops(file.path())
        };
        assert_eq!(said("1\n"), None);
        assert!(said("0\n").unwrap().contains("nexthop_compat_mode=1"));
        assert_eq!(without_next_hops(Path::new("/nonexistent")), None);
    }

    #[test]
    fn the_frames_of_all_workers_are_locked() {
        let mut config = Config::parse(Path::new("default.toml"), crate::config::DEFAULT).unwrap();
        config.workers = 2;
        assert_eq!(needed(&config).umem_len, 64 << 20);
        assert_eq!(needed(&config).port_min, 5060);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_named_and_the_others_go_on() {
        let mut tasks = Tasks::default();
        tasks.spawn("sound", std::future::pending());
        tasks.spawn("broken", async { panic!("on purpose") });
        assert_eq!(tasks.failed().await, "broken");
        assert_eq!(tasks.running.len(), 1);
    }
}
