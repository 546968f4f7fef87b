//! Pages of 2 MiB for the packet memory: fewer TLB misses, and memory that is
//! there from the start.
//!
//! On a machine with several NUMA nodes each worker's pages are to lie at the node of
//! its core: the kernel's one pool for all nodes is filled from all of them alike.

use crate::cores;
use crate::host::Host;
use crate::links::Links;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;
use crate::wanted::Hugepages;
use crate::wanted::Wanted;

const POOLS: &str = "/sys/kernel/mm/hugepages";
const NODES: &str = "/sys/devices/system/node";
const SIZE: &str = "hugepages-2048kB";
const PAGE_LEN: u64 = 2 << 20;

/// The pages of one node, or of a machine with one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// The node; `None` on a machine with one.
    pub node: Option<u32>,
    /// Workers whose pages are to lie here.
    pub workers: u64,
    /// Pages in the pool.
    pub total: u64,
    /// Pages that nobody has touched.
    pub free: u64,
    /// Of the free ones, those promised to a mapping that exists.
    pub reserved: u64,
}

/// What the kernel has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The pools that workers need; none where the kernel has no such pages.
    pub pools: Vec<Pool>,
    /// Pages that a running trunklined holds already.
    pub held: u64,
}

/// Reads the pools.
pub fn facts(host: &Host, wanted: &Wanted, links: &Links) -> Facts {
    let nodes: Vec<u32> = host
        .list(NODES)
        .iter()
        .filter_map(|name| name.strip_prefix("node")?.parse().ok())
        .collect();
    let pools = if nodes.len() < 2 {
        vec![pool(host, None, POOLS, u64::from(wanted.workers))]
    } else {
        by_node(host, wanted, links, &nodes)
    };
    let held = host.processes("trunklined").filter_map(|process| {
        let status = host.read(&format!("/proc/{process}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("HugetlbPages:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    Facts {
        held: held.sum::<u64>() * 1024 / PAGE_LEN,
        pools: pools.into_iter().flatten().collect(),
    }
}

/// One pool for each node that has a worker: the node of its core, or where no core is
/// named that of the first NIC.
fn by_node(host: &Host, wanted: &Wanted, links: &Links, nodes: &[u32]) -> Vec<Option<Pool>> {
    let cores_of = |node: u32| {
        let list = host.read(&format!("{NODES}/node{node}/cpulist"));
        cores::list(&list.unwrap_or_default())
    };
    let nic = links
        .named(&wanted.interfaces)
        .find_map(|link| link.numa_node);
    let cores = wanted.cores_on(host);
    let node_of = |worker: usize| {
        let core = cores.get(worker)?;
        nodes
            .iter()
            .copied()
            .find(|node| cores_of(*node).contains(core))
    };
    let workers = usize::try_from(wanted.workers).unwrap_or(0);
    nodes
        .iter()
        .filter_map(|node| {
            let here = (0..workers).filter(|worker| {
                let named = if wanted.cores.is_empty() { nic } else { None };
                named.or_else(|| node_of(*worker)) == Some(*node)
            });
            let count = u64::try_from(here.count()).unwrap_or(0);
            let directory = format!("{NODES}/node{node}/hugepages");
            (count > 0).then(|| pool(host, Some(*node), &directory, count))
        })
        .collect()
}

fn pool(host: &Host, node: Option<u32>, directory: &str, workers: u64) -> Option<Pool> {
    let number = |name: &str| host.read_number(&format!("{directory}/{SIZE}/{name}"));
    Some(Pool {
        node,
        workers,
        total: number("nr_hugepages")?,
        free: number("free_hugepages")?,
        // A node does not tell: promises are made by the machine.
        reserved: number("resv_hugepages").unwrap_or(0),
    })
}

/// One row a pool. Too few pages is no more than a warning, unless the configuration
/// demands them: Trunkline then takes ordinary pages and says so.
pub fn judge(facts: &Facts, wanted: &Wanted) -> Vec<Row> {
    if wanted.hugepages == Hugepages::Off {
        let row = Row::not_applicable("hugepages", "hugepages = \"off\"", "none");
        return vec![row];
    }
    if facts.pools.is_empty() {
        let row = Row::ok("hugepages", "no 2 MiB pages on this kernel", "2 MiB pages");
        return vec![row.but(
            without(wanted),
            "ordinary pages are used, unless umem.hugepages = \"on\"",
        )];
    }
    let pages = wanted.worker_len().div_ceil(PAGE_LEN);
    let in_use = facts.held >= pages * u64::from(wanted.workers);
    facts
        .pools
        .iter()
        .map(|pool| judge_pool(pool, pages, in_use, wanted))
        .collect()
}

fn without(wanted: &Wanted) -> State {
    match wanted.hugepages {
        Hugepages::On => State::Bad,
        Hugepages::Auto | Hugepages::Off => State::Warn,
    }
}

fn judge_pool(pool: &Pool, pages: u64, in_use: bool, wanted: &Wanted) -> Row {
    let needed = pool.workers * pages;
    let mib = wanted.worker_len().div_ceil(1 << 20);
    let wish = format!("{needed} free ({} workers, {mib} MiB each)", pool.workers);
    let available = pool.free.saturating_sub(pool.reserved);
    let item = match pool.node {
        Some(node) => format!("hugepages, node {node}"),
        None => "hugepages".to_owned(),
    };
    let found = format!("{available} free of {} (2 MiB)", pool.total);
    if in_use {
        return Row::ok(&item, format!("{found}; trunklined has its own"), wish);
    }
    let row = Row::ok(&item, found, wish);
    if available >= needed {
        return row;
    }
    let directory = match pool.node {
        Some(node) => format!("{NODES}/node{node}/hugepages"),
        None => POOLS.to_owned(),
    };
    let total = pool.total + needed - available;
    let step = Step {
        setting: Setting::file(format!("{directory}/{SIZE}/nr_hugepages")),
        to: total.to_string(),
    };
    row.needs(without(wanted), vec![step])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;

    const GLOBAL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

    /// `frames` of 2,048 bytes: 512 of them are a MiB.
    fn wanted(workers: u32, umem_mib: u64) -> Wanted {
        Wanted {
            workers,
            frames: Some(umem_mib * 512),
            ..Wanted::default()
        }
    }

    fn row(total: u64, free: u64, reserved: u64, wanted: &Wanted) -> Row {
        let pool = Pool {
            node: None,
            workers: u64::from(wanted.workers),
            total,
            free,
            reserved,
        };
        let facts = Facts {
            pools: vec![pool],
            held: 0,
        };
        judge(&facts, wanted).remove(0)
    }

    #[test]
    fn the_pool_is_read_from_sysfs() {
        let tree = Tree::new(&[
            (&format!("{GLOBAL}/nr_hugepages"), "64\n"),
            (&format!("{GLOBAL}/free_hugepages"), "60\n"),
            (&format!("{GLOBAL}/resv_hugepages"), "2\n"),
            ("/proc/17/comm", "trunklined\n"),
            ("/proc/17/status", "HugetlbPages:\t    8192 kB\n"),
        ]);
        let facts = facts(&tree.host(), &wanted(2, 16), &Links::default());
        let pool = Pool {
            node: None,
            workers: 2,
            total: 64,
            free: 60,
            reserved: 2,
        };
        assert_eq!(
            facts,
            Facts {
                pools: vec![pool],
                held: 4
            }
        );
    }

    #[test]
    fn as_many_free_pages_as_needed_are_enough() {
        assert_eq!(row(16, 16, 0, &wanted(2, 16)).state, State::Ok);
        assert_eq!(row(16, 16, 1, &wanted(2, 16)).state, State::Warn);
        // Half a page is a page.
        assert_eq!(row(16, 16, 0, &wanted(2, 17)).state, State::Warn);
    }

    #[test]
    fn the_pages_of_others_are_kept() {
        let row = row(10, 4, 2, &wanted(2, 16));
        // 8 are in use or promised; 16 more are needed.
        assert_eq!(
            row.advice,
            "echo 24 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
        );
    }

    #[test]
    fn pages_that_trunklined_holds_are_not_asked_for_again() {
        let pool = Pool {
            workers: 2,
            total: 16,
            ..Pool::default()
        };
        let facts = Facts {
            pools: vec![pool],
            held: 16,
        };
        assert_eq!(judge(&facts, &wanted(2, 16))[0].state, State::Ok);
    }

    #[test]
    fn a_kernel_without_hugepages_is_bad_only_where_they_are_demanded() {
        let none = Facts::default();
        assert_eq!(judge(&none, &wanted(2, 16))[0].state, State::Warn);
        let demanded = Wanted {
            hugepages: Hugepages::On,
            ..wanted(2, 16)
        };
        assert_eq!(judge(&none, &demanded)[0].state, State::Bad);
    }

    #[test]
    fn each_worker_has_its_pages_at_the_node_of_its_core() {
        let node = |node: u32, file: &str| format!("{NODES}/node{node}/{file}");
        let tree = Tree::new(&[
            (&node(0, "cpulist"), "0-3\n"),
            (&node(1, "cpulist"), "4-7\n"),
            (&node(0, "hugepages/hugepages-2048kB/nr_hugepages"), "0\n"),
            (&node(0, "hugepages/hugepages-2048kB/free_hugepages"), "0\n"),
            (&node(1, "hugepages/hugepages-2048kB/nr_hugepages"), "5\n"),
            (&node(1, "hugepages/hugepages-2048kB/free_hugepages"), "5\n"),
        ]);
        let three = Wanted {
            cores: vec![2, 4, 5],
            ..wanted(3, 16)
        };
        let rows = judge(&facts(&tree.host(), &three, &Links::default()), &three);
        let advice: Vec<&str> = rows.iter().map(|row| row.advice.as_str()).collect();
        assert_eq!(
            advice,
            [
                "echo 8 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
                "echo 16 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"
            ]
        );
    }
}
