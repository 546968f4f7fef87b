//! Distance between a NIC and the cores that serve it: a report. Each packet that crosses
//! from one NUMA node to another pays for it, and only the operator can choose cores, or
//! the slot of the NIC.

use crate::cores;
use crate::host::Host;
use crate::links::Link;
use crate::row::Row;
use crate::row::State;

/// Each node and its cores; one node 0 with all of them where the kernel does not tell.
pub fn facts(host: &Host) -> Vec<(u32, Vec<u32>)> {
    let directory = "/sys/devices/system/node";
    let mut nodes: Vec<(u32, Vec<u32>)> = host
        .list(directory)
        .iter()
        .filter_map(|name| {
            let node = name.strip_prefix("node")?.parse().ok()?;
            let list = host.read(&format!("{directory}/{name}/cpulist"))?;
            Some((node, cores::list(&list)))
        })
        .collect();
    if nodes.is_empty() {
        let online = host.read("/sys/devices/system/cpu/online");
        nodes.push((0, cores::list(&online.unwrap_or_default())));
    }
    nodes.sort_by_key(|(node, _)| *node);
    nodes
}

/// One row. `workers` has the core of each worker.
pub fn judge(link: &Link, nodes: &[(u32, Vec<u32>)], workers: &[u32]) -> Vec<Row> {
    let item = format!("{}: NUMA", link.name);
    let wish = "the workers' cores at the NIC's node";
    if nodes.len() < 2 {
        return vec![Row::ok(&item, "one node", wish)];
    }
    let Some(node) = link.numa_node else {
        let found = if link.is_virtual() {
            format!("does not apply: {} is at no node", link.kind_name())
        } else {
            "the node is not known".to_owned()
        };
        return vec![Row::not_applicable(&item, found, wish)];
    };
    let here = nodes.iter().find(|(number, _)| *number == node);
    let here = here.map(|(_, cores)| cores.as_slice()).unwrap_or_default();
    let far: Vec<u32> = workers
        .iter()
        .filter(|core| !here.contains(core))
        .copied()
        .collect();
    let found = format!("node {node}, workers on cores {}", cores::text(workers));
    let row = Row::ok(&item, found, wish);
    if far.is_empty() {
        return vec![row];
    }
    vec![row.but(
        State::Warn,
        format!(
            "take cores among {} (cores = [...] in the configuration), not {}",
            cores::text(here),
            cores::text(&far)
        ),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;

    fn nic(numa_node: Option<u32>) -> Link {
        Link {
            name: "eth0".into(),
            driver: Some("ice".into()),
            numa_node,
            ..Link::default()
        }
    }

    #[test]
    fn workers_far_from_the_nic_are_named_with_the_cores_to_take() {
        let tree = Tree::new(&[
            ("/sys/devices/system/node/node0/cpulist", "0-3\n"),
            ("/sys/devices/system/node/node1/cpulist", "4-7\n"),
        ]);
        let nodes = facts(&tree.host());
        let row = judge(&nic(Some(1)), &nodes, &[3, 4]).remove(0);
        assert_eq!(row.state, State::Warn);
        assert_eq!(
            row.advice,
            "take cores among 4-7 (cores = [...] in the configuration), not 3"
        );
        assert_eq!(judge(&nic(Some(1)), &nodes, &[5, 4])[0].state, State::Ok);
        assert_eq!(
            judge(&nic(None), &nodes, &[5])[0].state,
            State::NotApplicable
        );
    }

    #[test]
    fn one_node_is_always_right() {
        let tree = Tree::new(&[("/sys/devices/system/cpu/online", "0-1\n")]);
        let nodes = facts(&tree.host());
        assert_eq!(nodes, [(0, vec![0, 1])]);
        assert_eq!(judge(&nic(None), &nodes, &[0])[0].state, State::Ok);
    }
}
