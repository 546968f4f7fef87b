//! On which core a queue's interrupt is served.
//!
//! The interrupt runs the driver and the XDP program (and in copy mode the copy), some
//! hundred nanoseconds a packet. Where there is a core to spare it goes there, so that the
//! worker has its own to itself. Where a busy worker polls the NIC itself the interrupt
//! hardly comes, and belongs on the worker's core: the kernel then finds NAPI's data in its
//! cache. Without a spare core there is no choice either. irqbalance would move them again.

use crate::cores;
use crate::host::Host;
use crate::links::Link;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;
use crate::wanted::Wanted;

/// The service that moves interrupts about.
pub const BALANCER: &str = "irqbalance";

/// The interrupt of a receive queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Irq {
    /// The queue.
    pub queue: u32,
    /// The kernel's number of the interrupt.
    pub number: u32,
    /// The cores that it may be served on, as `0-3`.
    pub affinity: String,
}

/// The cores of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores {
    /// The core of each worker.
    pub workers: Vec<u32>,
    /// The others, by NUMA node.
    pub spare: Vec<(u32, Vec<u32>)>,
}

/// Which cores there are.
pub fn cores(host: &Host, wanted: &Wanted) -> Cores {
    let workers = wanted.cores_on(host);
    let online = host.read("/sys/devices/system/cpu/online");
    let online = cores::list(&online.unwrap_or_default());
    let nodes = super::numa::facts(host);
    let spare = nodes.into_iter().map(|(node, cores)| {
        let free = |core: &u32| online.contains(core) && !workers.contains(core);
        (node, cores.into_iter().filter(free).collect::<Vec<u32>>())
    });
    Cores {
        spare: spare.filter(|(_, cores)| !cores.is_empty()).collect(),
        workers,
    }
}

/// The interrupts of a NIC's receive queues: as the kernel tells since Linux 6.8, else by
/// their names.
pub fn facts(host: &Host, link: &Link) -> Vec<Irq> {
    let told = link
        .queues
        .iter()
        .filter_map(|queue| Some((queue.id, queue.irq?)));
    let mut pairs: Vec<(u32, u32)> = told.collect();
    if pairs.is_empty() && link.is_in_sysfs && !link.is_virtual() {
        pairs = by_name(host, link);
    }
    pairs.sort_unstable();
    pairs.dedup_by_key(|(queue, _)| *queue);
    pairs
        .into_iter()
        .filter_map(|(queue, number)| {
            let affinity = host.read(&affinity_path(number))?;
            Some(Irq {
                queue,
                number,
                affinity,
            })
        })
        .collect()
}

fn affinity_path(number: u32) -> String {
    format!("/proc/irq/{number}/smp_affinity_list")
}

fn by_name(host: &Host, link: &Link) -> Vec<(u32, u32)> {
    let device = format!("/sys/class/net/{}/device", link.name);
    let mut numbers = host.list(&format!("{device}/msi_irqs"));
    if numbers.is_empty() {
        // A virtio device sits on the PCI device that has the interrupts.
        numbers = host.list(&format!("{device}/../msi_irqs"));
    }
    numbers
        .iter()
        .filter_map(|number| {
            // An interrupt's handler has a directory with its name.
            let entries = host.list(&format!("/proc/irq/{number}"));
            let queue = entries.iter().find_map(|entry| queue_in(entry))?;
            Some((queue, number.parse().ok()?))
        })
        .collect()
}

/// The receive queue in the name of an interrupt's handler, as 3 in `ice-eth0-TxRx-3`,
/// `mlx5_comp3@pci:0000:3b:00.0` or `virtio0-input.3`.
fn queue_in(name: &str) -> Option<u32> {
    let name = name.split('@').next()?.to_lowercase();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let queue = name[stem.len()..].parse().ok()?;
    let stem = stem.trim_end_matches(['-', '.', '_']);
    let receives = ["txrx", "tx-rx", "rx", "input", "comp"];
    receives
        .iter()
        .any(|end| stem.ends_with(end))
        .then_some(queue)
}

/// One row.
pub fn judge(link: &Link, wanted: &Wanted, cores: &Cores, irqs: &[Irq]) -> Vec<Row> {
    let item = format!("{}: interrupts", link.name);
    if irqs.is_empty() {
        let found = if link.is_virtual() {
            format!("does not apply: {} has no interrupts", link.kind_name())
        } else {
            "not known which serves which queue".to_owned()
        };
        return vec![Row::not_applicable(&item, found, "")];
    }
    let linked = link.queues.iter().any(|queue| queue.napi.is_some());
    let polls = wanted.polls_nic(&link.name) && linked;
    let spare = spare_for(link, cores);
    let own = polls || spare.is_empty();
    let choice = if own { &cores.workers } else { &spare };
    if choice.is_empty() {
        return vec![Row::not_applicable(&item, "the cores are not known", "")];
    }
    let wish = if own {
        format!("on the workers' own cores, {}", cores::text(choice))
    } else {
        format!("beside the workers, on {}", cores::text(choice))
    };
    let found: Vec<String> = irqs
        .iter()
        .map(|irq| format!("queue {} on {}", irq.queue, irq.affinity))
        .collect();
    let row = Row::ok(&item, found.join(", "), wish);
    let steps: Vec<Step> = irqs
        .iter()
        .filter_map(|irq| Some((irq, core_of(irq.queue, choice, wanted.workers)?.to_string())))
        .filter(|(irq, core)| irq.affinity != *core)
        .map(|(irq, core)| Step {
            setting: Setting::file(affinity_path(irq.number)),
            to: core,
        })
        .collect();
    vec![if steps.is_empty() {
        row
    } else {
        row.needs(State::Warn, steps)
    }]
}

/// The spare cores at the NIC's node, or all where it has none or is not known.
fn spare_for(link: &Link, cores: &Cores) -> Vec<u32> {
    let near = cores
        .spare
        .iter()
        .find(|(node, _)| Some(*node) == link.numa_node);
    match near {
        Some((_, near)) => near.clone(),
        None => cores
            .spare
            .iter()
            .flat_map(|(_, cores)| cores)
            .copied()
            .collect(),
    }
}

/// Worker w's queues all to the same core: its own, or one of the spare ones.
fn core_of(queue: u32, choice: &[u32], workers: u32) -> Option<u32> {
    let worker = usize::try_from(queue % workers.max(1)).ok()?;
    choice.get(worker % choice.len().max(1)).copied()
}

/// Whether irqbalance runs, and whether systemd can stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balancer {
    /// There is such a process.
    pub runs: bool,
    /// It is a service.
    pub is_service: bool,
}

/// Looks for it.
pub fn balancer(host: &Host) -> Balancer {
    Balancer {
        runs: host.runs(BALANCER),
        is_service: host.runs_systemd(),
    }
}

/// One row.
pub fn judge_balancer(balancer: &Balancer) -> Vec<Row> {
    let wish = "not running: it moves interrupts";
    if !balancer.runs {
        return vec![Row::ok("irqbalance", "not running", wish)];
    }
    let row = Row::ok("irqbalance", "running", wish);
    if !balancer.is_service {
        return vec![row.but(State::Warn, "kill it, and see what started it")];
    }
    let step = Step {
        setting: Setting::Service {
            name: BALANCER.to_owned(),
        },
        to: "stop".to_owned(),
    };
    vec![row.needs(State::Warn, vec![step])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;
    use crate::netdev::Queue;

    fn nic() -> Link {
        Link {
            name: "eth0".into(),
            driver: Some("ice".into()),
            is_in_sysfs: true,
            ..Link::default()
        }
    }

    fn irq(queue: u32, affinity: &str) -> Irq {
        Irq {
            queue,
            number: 40 + queue,
            affinity: affinity.to_owned(),
        }
    }

    fn cores(workers: &[u32], spare: &[u32]) -> Cores {
        Cores {
            workers: workers.to_vec(),
            spare: if spare.is_empty() {
                vec![]
            } else {
                vec![(0, spare.to_vec())]
            },
        }
    }

    fn places(row: &Row) -> Vec<(String, String)> {
        let place = |step: &Step| (step.setting.name(), step.to.clone());
        row.steps.iter().map(place).collect()
    }

    #[test]
    fn handlers_are_known_by_their_names() {
        for (name, queue) in [
            ("eth0-TxRx-3", Some(3)),
            ("ice-eth0-TxRx-11", Some(11)),
            ("eth0-Tx-Rx-2", Some(2)),
            ("mlx5_comp5@pci:0000:3b:00.0", Some(5)),
            ("virtio2-input.0", Some(0)),
            ("virtio2-output.0", None),
            ("eth0-rx-1", Some(1)),
            ("eth0-tx-1", None),
            ("mlx5_async0@pci:0000:3b:00.0", None),
            ("smp_affinity_list", None),
            ("eth0-TxRx-99999999999", None),
        ] {
            assert_eq!(queue_in(name), queue, "{name}");
        }
    }

    #[test]
    fn interrupts_are_found_by_name_where_the_kernel_does_not_tell() {
        let tree = Tree::new(&[
            ("/sys/class/net/eth0/device/msi_irqs/40", "msix"),
            ("/sys/class/net/eth0/device/msi_irqs/41", "msix"),
            ("/proc/irq/40/eth0-TxRx-0/x", ""),
            ("/proc/irq/40/smp_affinity_list", "0-3\n"),
            ("/proc/irq/41/eth0-TxRx-1/x", ""),
            ("/proc/irq/41/smp_affinity_list", "2\n"),
        ]);
        let found = facts(&tree.host(), &nic());
        assert_eq!(found, [irq(0, "0-3"), irq(1, "2")]);
        let told = Link {
            queues: vec![Queue {
                id: 5,
                napi: Some(900),
                irq: Some(41),
            }],
            ..nic()
        };
        let found = facts(&tree.host(), &told);
        assert_eq!((found[0].queue, found[0].number), (5, 41));
    }

    #[test]
    fn interrupts_go_beside_the_workers_where_there_is_room() {
        let irqs = [irq(0, "0-3"), irq(1, "1"), irq(2, "0")];
        let adaptive = Wanted::default();
        let row = judge(&nic(), &adaptive, &cores(&[2, 3], &[0, 1]), &irqs).remove(0);
        assert_eq!(
            places(&row),
            [("/proc/irq/40/smp_affinity_list".to_owned(), "0".to_owned())]
        );
        let tight = judge(&nic(), &adaptive, &cores(&[0, 1], &[]), &irqs).remove(0);
        assert_eq!(places(&tight).len(), 1);
        assert_eq!(tight.wanted, "on the workers' own cores, 0-1");
    }

    #[test]
    fn a_busy_worker_that_polls_the_nic_has_the_interrupt_on_its_own_core() {
        let linked = Link {
            queues: vec![Queue {
                id: 0,
                napi: Some(900),
                irq: Some(40),
            }],
            ..nic()
        };
        let busy = Wanted {
            busy: true,
            ..Wanted::default()
        };
        let row = judge(&linked, &busy, &cores(&[2, 3], &[0, 1]), &[irq(0, "0")]).remove(0);
        assert_eq!(places(&row)[0].1, "2");
    }

    #[test]
    fn the_nics_own_node_comes_first() {
        let far = Cores {
            workers: vec![1],
            spare: vec![(0, vec![0]), (1, vec![4, 5])],
        };
        let near = Link {
            numa_node: Some(1),
            ..nic()
        };
        let row = judge(&near, &Wanted::default(), &far, &[irq(0, "0-5")]).remove(0);
        assert_eq!(places(&row)[0].1, "4");
    }

    #[test]
    fn a_running_irqbalance_is_stopped_where_systemd_can() {
        let of = |runs, is_service| judge_balancer(&Balancer { runs, is_service }).remove(0);
        assert_eq!(of(false, true).state, State::Ok);
        assert_eq!(of(true, true).advice, "systemctl stop irqbalance");
        assert!(of(true, false).steps.is_empty());
        let tree = Tree::new(&[("/proc/9/comm", "irqbalance\n")]);
        assert!(balancer(&tree.host()).runs);
    }
}
