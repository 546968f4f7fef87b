//! The workers' rings: which sockets there are, and how frames cross to them.
//!
//! All sockets of a worker share one UMEM, and so one mode. Zero-copy holds where every
//! interface takes it, and else for none: the configuration of each says what to do then.

use trunkline_dataplane::ids::QueueId;
use trunkline_dataplane::ring::BusyPoll;
use trunkline_dataplane::ring::Mode;
use trunkline_dataplane::ring::ModeWish;
use trunkline_dataplane::ring::RingError;
use trunkline_dataplane::ring::RingLens;
use trunkline_dataplane::ring::SocketConfig;
use trunkline_dataplane::ring::Xsk;
use trunkline_dataplane::ring::XskConfig;
use trunkline_dataplane::ring::frames_needed;

use super::EngineError;
use super::interfaces::Device;
use crate::config::BusyPollWish;
use crate::config::Config;
use crate::config::Interface;

/// Frames of a worker's UMEM, where the configuration does not say and the rings need no
/// more: room for one queue of each of two interfaces.
pub(super) const FRAMES_MIN: u32 = 16_384;

/// Frames of 2,048 bytes in a hugepage of 2 MiB.
const FRAMES_A_HUGEPAGE: u32 = 1024;

/// Every worker's rings, open.
#[derive(Debug)]
pub(super) struct Opened {
    /// By worker.
    pub rings: Vec<Xsk>,
    /// Zero-copy or copy, for all of them.
    pub mode: Mode,
    /// Why it is copy, where an interface would have had it otherwise.
    pub copied_because: Option<String>,
}

/// Opens the rings of every worker in one mode.
///
/// # Errors
/// What stands in the way, and which interface wanted it.
pub(super) fn open(config: &Config, devices: &[Device]) -> Result<Opened, EngineError> {
    let wish = mode_wish(config);
    if wish == ModeWish::Auto {
        let opened = open_in(config, devices, wish)?;
        let refusal = opened.iter().find_map(Xsk::zero_copy_refusal);
        let Some(refusal) = refusal.map(str::to_owned) else {
            return Ok(Opened {
                rings: opened,
                mode: Mode::ZeroCopy,
                copied_because: None,
            });
        };
        let mixed = opened.iter().any(|rings| rings.mode() == Mode::ZeroCopy);
        // A driver may take some queues and not others. One mode for all is what an
        // operator can reckon with.
        let rings = if mixed {
            drop(opened);
            open_in(config, devices, ModeWish::Copy)?
        } else {
            opened
        };
        return Ok(Opened {
            rings,
            mode: Mode::Copy,
            copied_because: Some(refusal),
        });
    }
    let rings = open_in(config, devices, wish)?;
    Ok(Opened {
        rings,
        mode: match wish {
            ModeWish::ZeroCopy => Mode::ZeroCopy,
            _ => Mode::Copy,
        },
        copied_because: off_for_all(&config.interfaces),
    })
}

fn open_in(config: &Config, devices: &[Device], mode: ModeWish) -> Result<Vec<Xsk>, EngineError> {
    let open = |worker| {
        let opened = Xsk::open(&xsk_config(config, devices, worker, mode));
        opened.map_err(|error| explain(config, worker, error))
    };
    (0..config.workers).map(open).collect()
}

/// The one mode that the interfaces' wishes leave. "on" beside "off" was refused when the
/// configuration was read.
fn mode_wish(config: &Config) -> ModeWish {
    let wishes = |wish| {
        let mut interfaces = config.interfaces.iter();
        interfaces.any(|interface| interface.zero_copy == wish)
    };
    if wishes(ModeWish::Copy) {
        ModeWish::Copy
    } else if wishes(ModeWish::ZeroCopy) {
        ModeWish::ZeroCopy
    } else {
        ModeWish::Auto
    }
}

/// Where some interfaces turn zero-copy off, and so off for the others too: who did.
fn off_for_all(interfaces: &[Interface]) -> Option<String> {
    let (off, others): (Vec<_>, Vec<_>) = interfaces
        .iter()
        .partition(|interface| interface.zero_copy == ModeWish::Copy);
    if others.is_empty() {
        return None;
    }
    let off = off.first()?;
    Some(format!(
        "zero_copy = \"off\" of interface \"{}\" holds for all",
        off.name
    ))
}

/// Says who wanted what another interface refuses.
fn explain(config: &Config, worker: u8, error: RingError) -> EngineError {
    let RingError::ZeroCopyRefused { interface, .. } = &error else {
        return EngineError::Rings { worker, error };
    };
    let wants = |wanted: &&Interface| wanted.zero_copy == ModeWish::ZeroCopy;
    let mut wanting = config.interfaces.iter().filter(wants);
    if wanting.clone().any(|wanting| wanting.device == *interface) {
        return EngineError::Rings { worker, error };
    }
    match wanting.next() {
        Some(wanting) => EngineError::ZeroCopy {
            wanted_by: wanting.name.clone(),
            error,
        },
        None => EngineError::Rings { worker, error },
    }
}

/// The sockets of `worker`: the queues q with q mod workers = its number, on every
/// device.
fn xsk_config(config: &Config, devices: &[Device], worker: u8, mode: ModeWish) -> XskConfig {
    let mut sockets = Vec::new();
    for (at, interface) in config.devices() {
        let Some(device) = devices.get(at) else {
            continue;
        };
        let nic_rx = match mode {
            ModeWish::Copy => 0,
            ModeWish::Auto | ModeWish::ZeroCopy => device.nic_rx,
        };
        let lens = RingLens::new(config.ring_rx, config.ring_tx, nic_rx);
        let queues = u16::try_from(device.queues).unwrap_or(u16::MAX);
        for queue in (u16::from(worker)..queues).step_by(usize::from(config.workers)) {
            sockets.push(SocketConfig {
                device: interface.device_index,
                name: interface.device.clone(),
                ifindex: device.ifindex,
                queue: QueueId(queue),
                lens,
                busy_poll: asks_busy_poll(interface, device),
            });
        }
    }
    let lens: Vec<_> = sockets.iter().map(|socket| socket.lens).collect();
    let needed = frames_needed(&lens).next_multiple_of(FRAMES_A_HUGEPAGE);
    let frames = config.umem_frames.unwrap_or(needed.max(FRAMES_MIN));
    XskConfig {
        sockets,
        frames: Some(frames),
        hugepages: config.hugepages,
        mode,
    }
}

/// Without deferred interrupts busy polling only adds system calls: nobody is asked for it
/// unless the host is set up for it, or the operator insists.
fn asks_busy_poll(interface: &Interface, device: &Device) -> bool {
    match interface.busy_poll {
        BusyPollWish::Off => false,
        BusyPollWish::Auto => device.defers_interrupts,
        BusyPollWish::On => true,
    }
}

/// What is to be said of an interface's busy polling at start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BusyPolling {
    /// Why it is not active, where that is not plain.
    pub because: Option<String>,
    /// What the operator may want to change.
    pub warning: Option<String>,
}

/// Looks what came of the wish on an interface.
///
/// # Errors
/// `busy_poll = "on"`, and the kernel has said that it takes no effect.
pub(super) fn busy_polling(
    interface: &Interface,
    device: &Device,
    opened: &Opened,
) -> Result<BusyPolling, EngineError> {
    let name = &interface.device;
    let set_up = format!(
        "interrupts of {name} are not deferred: `hugepage-setup apply` sets napi_defer_hard_irqs and gro_flush_timeout"
    );
    let mut said = BusyPolling::default();
    match interface.busy_poll {
        BusyPollWish::Off => return Ok(said),
        BusyPollWish::Auto if !device.defers_interrupts => {
            said.because = Some(set_up);
            return Ok(said);
        }
        BusyPollWish::On if !device.defers_interrupts => {
            said.warning = Some(format!(
                "busy_poll = \"on\" of interface \"{}\" gains little: {set_up}",
                interface.name
            ));
        }
        BusyPollWish::Auto | BusyPollWish::On => {}
    }
    let sockets = opened.rings.iter().flat_map(Xsk::sockets);
    let mut own = sockets.filter(|socket| socket.device == interface.device_index);
    if own.any(|socket| socket.busy_poll == BusyPoll::NoEffect) {
        let why = match opened.mode {
            Mode::Copy => {
                "frames are copied, and from Linux 6.14 on only zero-copy sockets busy poll"
            }
            Mode::ZeroCopy => "its driver does not tell the kernel which NAPI serves a queue",
        };
        if interface.busy_poll == BusyPollWish::On {
            return Err(EngineError::BusyPoll {
                name: interface.name.clone(),
                device: name.clone(),
                why,
            });
        }
        said.because = Some(why.to_owned());
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use trunkline_dataplane::wire::VlanStack;

    use super::*;

    fn config() -> Config {
        Config::parse(std::path::Path::new("default.toml"), crate::config::DEFAULT).unwrap()
    }

    fn device(queues: u32) -> Device {
        Device {
            name: "eth0".to_owned(),
            ifindex: 1,
            queues,
            queues_max: queues,
            defers_interrupts: false,
            nic_rx: 0,
        }
    }

    #[test]
    fn every_queue_has_one_worker() {
        let mut config = config();
        config.workers = 3;
        let devices = [8, 4].map(device);
        let mut seen = Vec::new();
        for worker in 0..config.workers {
            for socket in xsk_config(&config, &devices, worker, ModeWish::Auto).sockets {
                assert_eq!(socket.queue.0 % 3, u16::from(worker));
                seen.push((socket.device.0, socket.queue.0));
            }
        }
        seen.sort_unstable();
        let all: Vec<_> = (0..8)
            .map(|queue| (0, queue))
            .chain((0..4).map(|queue| (1, queue)))
            .collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn interfaces_of_one_device_share_its_sockets() {
        let mut config = config();
        config.interfaces[1].device_index = config.interfaces[0].device_index;
        config.interfaces[0].vlan = VlanStack::one(10);
        config.interfaces[1].vlan = VlanStack::one(20);
        let sockets = xsk_config(&config, &[2, 2].map(device), 0, ModeWish::Auto).sockets;
        assert_eq!(sockets.len(), 1);
        assert_eq!(sockets[0].device.0, 0);
    }

    #[test]
    fn a_worker_with_more_queues_gets_more_frames() {
        let mut config = config();
        let frames = |config: &Config, queues: u32| {
            let devices = [queues, queues].map(device);
            xsk_config(config, &devices, 0, ModeWish::Auto).frames
        };
        assert_eq!(frames(&config, 2), Some(16_384));
        // Two queues on each of two interfaces: 4 · (4,096 + 2,048) and two batches.
        assert_eq!(frames(&config, 4), Some(25_600));
        config.umem_frames = Some(20_000);
        assert_eq!(frames(&config, 2), Some(20_000));
    }

    #[test]
    fn one_interface_decides_for_all_and_is_named() {
        let mut config = config();
        assert_eq!(mode_wish(&config), ModeWish::Auto);
        assert_eq!(off_for_all(&config.interfaces), None);
        config.interfaces[1].zero_copy = ModeWish::Copy;
        assert_eq!(mode_wish(&config), ModeWish::Copy);
        assert_eq!(
            off_for_all(&config.interfaces).as_deref(),
            Some("zero_copy = \"off\" of interface \"core\" holds for all")
        );
        config.interfaces[0].zero_copy = ModeWish::Copy;
        assert_eq!(off_for_all(&config.interfaces), None, "all wanted it so");
    }

    #[test]
    fn who_wants_zero_copy_and_who_refuses_are_both_named() {
        let mut config = config();
        config.interfaces[0].zero_copy = ModeWish::ZeroCopy;
        assert_eq!(mode_wish(&config), ModeWish::ZeroCopy);
        let refused = |device: &str| RingError::ZeroCopyRefused {
            interface: device.to_owned(),
            queue: 1,
            source: std::io::Error::from_raw_os_error(95),
        };
        let said = explain(&config, 0, refused("core")).to_string();
        assert!(
            said.starts_with(
                "interface \"access\" has zero_copy = \"on\", and core queue 1 refuses"
            ),
            "{said}"
        );
        let own = explain(&config, 0, refused("access")).to_string();
        assert!(own.starts_with("worker 0: access queue 1 refuses"), "{own}");
    }

    #[test]
    fn busy_polling_is_asked_for_where_it_can_help() {
        let mut interface = config().interfaces.remove(0);
        let mut device = device(2);
        let mut asks = |wish, deferred| {
            interface.busy_poll = wish;
            device.defers_interrupts = deferred;
            asks_busy_poll(&interface, &device)
        };
        assert!(!asks(BusyPollWish::Auto, false) && asks(BusyPollWish::Auto, true));
        assert!(asks(BusyPollWish::On, false) && !asks(BusyPollWish::Off, true));
    }
}
