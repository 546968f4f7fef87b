//! The engine: XDP programs, rings, workers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use tokio::task::yield_now;
use trunkline_bpf::AttachError;
use trunkline_bpf::LoadError;
use trunkline_bpf::MapError;
use trunkline_bpf::OuterTag;
use trunkline_bpf::Program;
use trunkline_bpf::VlanStack;
use trunkline_dataplane::ids::CoreId;
use trunkline_dataplane::ring::Mode;
use trunkline_dataplane::ring::RingError;
use trunkline_dataplane::ring::Xsk;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::settings::Domain;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::settings::Trunk;
use trunkline_dataplane::sip::proxy::memory;
use trunkline_dataplane::sys::affinity;
use trunkline_dataplane::sys::memory::Pages;
use trunkline_dataplane::wire::vlan::TPID_8021AD;
use trunkline_dataplane::worker::Poll;

use super::interfaces::Device;
use super::rings;
use super::rings::Opened;
use crate::config::Config;
use crate::config::Interface;
use crate::engine::Facts;
use crate::engine::InterfaceFacts;
use crate::engine::TrunkFacts;
use crate::engine::WorkerError;
use crate::engine::WorkerFacts;
use crate::engine::Workers;
use crate::privileges::ConfineError;
use crate::privileges::WorkerConfinement;

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // Each is the error of one step of `start`.
pub enum EngineError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("interface \"{name}\": {error}")]
    Attach { name: String, error: AttachError },
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("worker {worker}: {error}")]
    Rings { worker: u8, error: RingError },
    #[error(
        "interface \"{wanted_by}\" has zero_copy = \"on\", and {error}. All sockets of a worker share one mode"
    )]
    ZeroCopy { wanted_by: String, error: RingError },
    #[error(
        "interface \"{name}\": busy_poll = \"on\" takes no effect on {device}: {why}. Configure busy_poll = \"auto\""
    )]
    BusyPoll {
        name: String,
        device: String,
        why: &'static str,
    },
    #[error(
        "worker {worker} is to run on core {core}, and this process may use {allowed:?} only. Change `cores`, or the cpuset"
    )]
    Core {
        worker: u8,
        core: u16,
        allowed: Vec<u16>,
    },
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error(transparent)]
    Workers(#[from] WorkerError),
}

/// What has been started.
pub(super) struct Engine {
    pub facts: Facts,
    pub workers: Workers,
    pub programs: Vec<Program>,
}

/// Attaches, opens the rings, connects them and starts the workers. Between two steps it
/// yields: whoever waits for it may be told to end, and drops it.
pub(super) async fn start(
    config: &Config,
    settings: &Settings,
    devices: &mut [Device],
    network: &Network,
) -> Result<Engine, EngineError> {
    let mut warnings = Vec::new();
    let cores = choose_cores(config, &mut warnings)?;
    let mut programs = Vec::new();
    for (at, interface) in config.devices() {
        let Some(device) = devices.get_mut(at) else {
            continue;
        };
        yield_now().await;
        let mut program = Program::load(device.queues_max)?;
        let of_device = |other: &&Interface| other.device_index == interface.device_index;
        for sharing in config.interfaces.iter().filter(of_device) {
            for (address, (sip, media)) in addresses(config) {
                program.set_address(stack(sharing), address, &sip, &media)?;
            }
        }
        let name = interface.name.clone();
        let attached = program.attach(device.ifindex, interface.mode);
        attached.map_err(|error| EngineError::Attach { name, error })?;
        if let Some(refusal) = program.native_refusal() {
            warnings.push(format!(
                "{} runs XDP in generic mode, which is slow: {refusal}",
                interface.device
            ));
        }
        // virtio_net takes more queues into use for XDP, and delivers to them.
        if let Some(queues) = device.queues_now() {
            device.queues = queues.min(device.queues_max);
        }
        let queues = device.queues;
        for (sharing, device) in config.interfaces.iter().zip(&mut *devices) {
            if sharing.device_index == interface.device_index {
                device.queues = queues;
            }
        }
        programs.push(program);
    }
    yield_now().await;
    let opened = rings::open(config, devices)?;
    yield_now().await;
    for socket in opened.rings.iter().flat_map(Xsk::sockets) {
        if let Some(program) = programs.get(usize::from(socket.device.0)) {
            program.insert_socket(u32::from(socket.queue.0), socket.fd)?;
        }
    }
    let facts = facts(
        config, settings, devices, &programs, &opened, &cores, warnings,
    )?;
    let confinement = WorkerConfinement::new(config.confinement)?;
    let workers = Workers::start(
        settings,
        opened.rings,
        network,
        config.poll,
        &cores,
        &confinement,
    )?;
    Ok(Engine {
        facts,
        workers,
        programs,
    })
}

/// A core for each worker: as configured, or the first that the process may use.
fn choose_cores(config: &Config, warnings: &mut Vec<String>) -> Result<Vec<CoreId>, EngineError> {
    let allowed = affinity::cores();
    if let Some(cores) = &config.cores {
        for (worker, &core) in (0..).zip(cores) {
            if !allowed.contains(&CoreId(core)) {
                let allowed = allowed.iter().map(|core| core.0).collect();
                return Err(EngineError::Core {
                    worker,
                    core,
                    allowed,
                });
            }
        }
        return Ok(cores.iter().copied().map(CoreId).collect());
    }
    let workers = usize::from(config.workers);
    if allowed.len() < workers {
        warnings.push(format!(
            "{workers} workers share {} cores: configure fewer workers",
            allowed.len()
        ));
        return Ok(Vec::new());
    }
    if config.poll == Poll::Busy && allowed.len() == workers {
        warnings.push(format!(
            "{workers} busy workers leave no core to anything else: poll = \"adaptive\", or one worker fewer"
        ));
    }
    Ok(allowed.into_iter().take(workers).collect())
}

type Ports = (Vec<u16>, Vec<RangeInclusive<u16>>);

/// The tags of an interface as the XDP program wants to know them.
fn stack(interface: &Interface) -> VlanStack {
    let tag = match interface.vlan.outer_tpid() {
        TPID_8021AD => OuterTag::Dot1Ad,
        _ => OuterTag::Dot1Q,
    };
    match interface.vlan.ids().collect::<Vec<_>>()[..] {
        [vid] => VlanStack::Single(vid),
        [outer, inner] => VlanStack::Double { tag, outer, inner },
        _ => VlanStack::Untagged,
    }
}

/// What is ours at each address. Every program knows all of them, under the tags of each of
/// its interfaces: a packet may come in by any.
fn addresses(config: &Config) -> BTreeMap<IpAddr, Ports> {
    let mut addresses: BTreeMap<IpAddr, Ports> = BTreeMap::new();
    for listen in &config.listens {
        addresses
            .entry(listen.address.ip())
            .or_default()
            .0
            .push(listen.address.port());
    }
    for range in &config.media {
        addresses
            .entry(range.address)
            .or_default()
            .1
            .push(range.ports.clone());
    }
    addresses
}

fn facts(
    config: &Config,
    settings: &Settings,
    devices: &[Device],
    programs: &[Program],
    opened: &Opened,
    cores: &[CoreId],
    mut warnings: Vec<String>,
) -> Result<Facts, EngineError> {
    let workers = opened.rings.iter().enumerate().map(|(worker, rings)| {
        let memory = match rings.pages() {
            Pages::Huge => "hugepages",
            Pages::Ordinary | Pages::Fallback(_) => "ordinary pages",
        };
        WorkerFacts {
            core: cores.get(worker).map(|core| core.0),
            poll: match config.poll {
                Poll::Busy => "busy",
                Poll::Adaptive => "adaptive",
                Poll::Interrupt => "interrupt",
            },
            memory: memory.to_owned(),
        }
    });
    let workers = workers.collect();
    let frames = match opened.mode {
        Mode::ZeroCopy => "zero-copy",
        Mode::Copy => "copy",
    };
    let mut interfaces = Vec::new();
    for (interface, device) in config.interfaces.iter().zip(devices) {
        let Some(program) = programs.get(usize::from(interface.device_index.0)) else {
            continue;
        };
        let busy = rings::busy_polling(interface, device, opened)?;
        warnings.extend(busy.warning);
        interfaces.push(InterfaceFacts {
            name: interface.name.clone(),
            device: interface.device.clone(),
            device_index: interface.device_index,
            vlan: interface.vlan,
            ifindex: device.ifindex,
            mode: program
                .mode()
                .map_or_else(String::new, |mode| mode.to_string()),
            mode_because: program.native_refusal().map(str::to_owned),
            frames: frames.to_owned(),
            frames_because: opened.copied_because.clone(),
            busy_poll: interface.busy_poll,
            busy_poll_because: busy.because,
            queues: device.queues,
        });
    }
    if let Some(because) = &opened.copied_because {
        warnings.push(format!("frames are copied: {because}"));
    }
    let fallback = |rings: &Xsk| match rings.pages() {
        Pages::Fallback(reason) => Some(reason.clone()),
        _ => None,
    };
    for reason in opened.rings.iter().filter_map(fallback).take(1) {
        warnings.push(format!(
            "frames lie in ordinary pages: {reason}. See `hugepage-setup doctor`"
        ));
    }
    Ok(Facts {
        ban_s: config.abuse.ban_s,
        workers,
        interfaces,
        trunks: config
            .trunks
            .iter()
            .map(|trunk| trunk_facts(config, trunk))
            .collect(),
        peers: peers(config),
        confinement: Vec::new(),
        tables: memory::tables(settings).to_vec(),
        hash_key: settings.secrets.hash,
        warnings,
    })
}

fn trunk_facts(config: &Config, trunk: &Trunk) -> TrunkFacts {
    let sources = trunk.sources.iter();
    let sources = sources.map(|(address, len)| match (address, len) {
        (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => address.to_string(),
        _ => format!("{address}/{len}"),
    });
    let is_its = |domain: &&Domain| domain.name == trunk.name;
    let domain = config.domains.iter().find(is_its);
    let listen = config.listens.get(usize::from(trunk.listen.0));
    let media = config.media.get(usize::from(trunk.media.0));
    TrunkFacts {
        name: trunk.name.clone(),
        sources: sources.collect(),
        targets: trunk.targets.iter().map(ToString::to_string).collect(),
        listen: listen.map_or_else(String::new, |listen| listen.name.clone()),
        media: media.map_or_else(String::new, |media| media.name.clone()),
        calls_of_each: domain.map(|domain| domain.calls),
    }
}

/// The addresses that we know we shall send to: the trunks' targets, and the hosts among
/// their sources.
fn peers(config: &Config) -> Vec<IpAddr> {
    let mut peers = Vec::new();
    for trunk in &config.trunks {
        peers.extend(trunk.targets.iter().map(SocketAddr::ip));
        peers.extend(
            trunk
                .sources
                .iter()
                .filter(|(address, len)| *len == if address.is_ipv4() { 32 } else { 128 })
                .map(|(address, _)| *address),
        );
    }
    peers.sort_unstable();
    peers.dedup();
    peers
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use trunkline_dataplane::wire::vlan::TPID_8021Q;

    use super::*;

    fn config() -> Config {
        Config::parse(std::path::Path::new("default.toml"), crate::config::DEFAULT).unwrap()
    }

    #[test]
    fn the_program_and_the_workers_mean_the_same_tags() {
        let mut interface = config().interfaces.remove(0);
        let mut as_program = |vlan| {
            interface.vlan = vlan;
            stack(&interface)
        };
        use trunkline_dataplane::wire::VlanStack as Tags;
        assert_eq!(as_program(Tags::NONE), VlanStack::Untagged);
        assert_eq!(as_program(Tags::one(100)), VlanStack::Single(100));
        for (tpid, tag) in [
            (TPID_8021AD, OuterTag::Dot1Ad),
            (TPID_8021Q, OuterTag::Dot1Q),
        ] {
            let (outer, inner) = (200, 100);
            let expected = VlanStack::Double { tag, outer, inner };
            assert_eq!(as_program(Tags::two(tpid, outer, inner)), expected);
        }
    }

    #[test]
    fn ports_are_gathered_by_address() {
        let addresses = addresses(&config());
        let access = &addresses[&IpAddr::V4(Ipv4Addr::new(10, 77, 1, 1))];
        assert_eq!(*access, (vec![5060], vec![20000..=24999]));
        assert_eq!(addresses.len(), 2);
    }
}
