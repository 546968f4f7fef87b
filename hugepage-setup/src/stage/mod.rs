//! The stages: what is looked at, one file each, in the order in which a person would
//! put things right. `queues` comes before what follows from it: memory, spread, interrupts.

use crate::book::Book;
use crate::host::Host;
use crate::links;
use crate::links::Link;
use crate::links::Links;
use crate::row::Row;
use crate::row::Step;
use crate::wanted::Wanted;
use serde::Deserialize;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

pub mod busy_poll;
pub mod capabilities;
pub mod cpu;
pub mod driver;
pub mod hugepages;
pub mod irq;
pub mod kernel;
pub mod known;
pub mod memlock;
pub mod numa;
pub mod offloads;
pub mod ports;
pub mod queues;
pub mod rings;
pub mod rss;
pub mod steering;

/// A part of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Version, BPF compiler, lockdown.
    Kernel,
    /// What this process may do.
    Capabilities,
    /// Is the interface there, what can its driver do?
    Driver,
    /// As many queues as workers.
    Queues,
    /// Memory for packets.
    Hugepages,
    /// The limit of locked memory.
    Memlock,
    /// Media ports kept from the host's own sockets.
    Ports,
    /// Sizes of the hardware's rings.
    Rings,
    /// Offloads that blind XDP.
    Offloads,
    /// Which queue a flow falls on.
    Rss,
    /// SIP to a known queue.
    Steering,
    /// Interrupts held back while a worker polls.
    BusyPoll,
    /// On which core interrupts are served.
    Irq,
    /// Isolation, idle states, siblings; a report.
    Cpu,
    /// Distance between NIC and cores; a report.
    Numa,
    /// Faults of drivers and kernels that are known; a report.
    Known,
}

/// Each stage, its name on the command line, and what it is for.
pub const ALL: [(Stage, &str, &str); 16] = [
    (
        Stage::Kernel,
        "kernel",
        "version, BPF compiler, lockdown (a report)",
    ),
    (
        Stage::Capabilities,
        "capabilities",
        "what this process may do (a report)",
    ),
    (
        Stage::Driver,
        "driver",
        "interface, XDP, zero-copy, MTU, program (a report)",
    ),
    (
        Stage::Queues,
        "queues",
        "a queue of each NIC for each worker",
    ),
    (
        Stage::Hugepages,
        "hugepages",
        "2 MiB pages for the packet memory",
    ),
    (
        Stage::Memlock,
        "memlock",
        "the limit of locked memory of the service",
    ),
    (
        Stage::Ports,
        "ports",
        "media ports kept from the host's own sockets",
    ),
    (Stage::Rings, "rings", "sizes of the NIC's rings"),
    (
        Stage::Offloads,
        "offloads",
        "offloads that blind XDP, switched off",
    ),
    (
        Stage::Rss,
        "rss",
        "flows spread over queues by addresses and ports",
    ),
    (
        Stage::Steering,
        "steering",
        "each SIP listen on a queue of its own choice",
    ),
    (
        Stage::BusyPoll,
        "busy-poll",
        "interrupts held back while a worker polls",
    ),
    (
        Stage::Irq,
        "irq",
        "each queue's interrupt on the right core",
    ),
    (
        Stage::Cpu,
        "cpu",
        "isolation, idle states, siblings (a report)",
    ),
    (
        Stage::Numa,
        "numa",
        "distance between NIC and cores (a report)",
    ),
    (
        Stage::Known,
        "known",
        "known faults of this driver and kernel (a report)",
    ),
];

impl Stage {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        ALL.iter()
            .find(|(stage, _, _)| *stage == self)
            .map_or("", |(_, name, _)| name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Stage, String> {
        let found = ALL.iter().find(|(_, name, _)| *name == text);
        found.map(|(stage, _, _)| *stage).ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|(_, name, _)| *name).collect();
            format!(
                "there is no stage '{text}'; there are: {}",
                names.join(", ")
            )
        })
    }
}

/// The host at one moment, and what is wanted of it.
#[derive(Debug)]
pub struct View<'a> {
    /// Its files.
    pub host: &'a Host,
    /// What Trunkline is to run with, the number of frames filled in.
    pub wanted: Wanted,
    /// Its interfaces.
    pub links: Links,
}

impl<'a> View<'a> {
    /// Looks at the interfaces; the files are read when a stage asks for them.
    pub fn new(host: &'a Host, wanted: &Wanted) -> View<'a> {
        let links = Links::of_this_namespace(host, &wanted.interfaces);
        let wanted = wanted.clone();
        let names = wanted.interfaces.clone();
        View {
            host,
            wanted: wanted.with_frames(links.named(&names)),
            links,
        }
    }

    /// What a stage finds.
    pub fn look(&self, stage: Stage) -> Vec<Row> {
        let View {
            host,
            wanted,
            links,
        } = self;
        match stage {
            Stage::Kernel => kernel::judge(&kernel::facts(host)),
            Stage::Capabilities => capabilities::judge(&capabilities::facts(host)),
            Stage::Hugepages => hugepages::judge(&hugepages::facts(host, wanted, links), wanted),
            Stage::Memlock => {
                let capabilities = capabilities::facts(host);
                memlock::judge(&memlock::facts(host), &capabilities, wanted)
            }
            Stage::Ports => ports::judge(&ports::facts(host), wanted),
            Stage::Driver => {
                let mut rows = links::judge(links, wanted);
                rows.extend(self.each(driver::judge));
                rows
            }
            Stage::Queues => {
                let frames = queues::frames_needed(links.named(&wanted.interfaces), wanted);
                self.each(|link| queues::judge(link, wanted, frames))
            }
            Stage::Rings => self.each(|link| rings::judge(link, wanted)),
            Stage::Offloads => self.each(|link| offloads::judge(link, wanted)),
            Stage::Rss => self.each(rss::judge),
            Stage::Steering => {
                self.each(|link| steering::judge(link, wanted, &steering::facts(link, wanted)))
            }
            Stage::BusyPoll => {
                let kernel = known::facts(host);
                self.each(|link| {
                    let has = busy_poll::facts(host, link);
                    busy_poll::judge(link, wanted, &has, kernel)
                })
            }
            Stage::Irq => {
                let mut rows = irq::judge_balancer(&irq::balancer(host));
                let cores = irq::cores(host, wanted);
                rows.extend(
                    self.each(|link| irq::judge(link, wanted, &cores, &irq::facts(host, link))),
                );
                rows
            }
            Stage::Cpu => cpu::judge(&cpu::facts(host, wanted), wanted),
            Stage::Numa => {
                let nodes = numa::facts(host);
                let cores = wanted.cores_on(host);
                self.each(|link| numa::judge(link, &nodes, &cores))
            }
            Stage::Known => {
                let facts = known::facts(host);
                self.each(|link| known::judge(link, &facts))
            }
        }
    }

    /// What a stage takes back of its own, by the state file, before anything else.
    pub fn take_back(&self, stage: Stage, book: &Book) -> Vec<Step> {
        if stage != Stage::Steering {
            return Vec::new();
        }
        let links = self.links.named(&self.wanted.interfaces);
        let obsolete =
            links.flat_map(|link| steering::obsolete(link, &self.wanted, book.current()));
        // One that is gone already, as by hand, needs no step.
        let is_there = |step: &Step| step.setting.read(self.host).is_ok_and(|now| now != step.to);
        obsolete.filter(is_there).collect()
    }

    fn each(&self, judge: impl Fn(&Link) -> Vec<Row>) -> Vec<Row> {
        let links = self.links.named(&self.wanted.interfaces);
        links.flat_map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_known_by_its_name_and_in_the_state_file() {
        for (stage, name, about) in ALL {
            assert_eq!(name.parse(), Ok(stage));
            assert_eq!(serde_json::to_value(stage).unwrap(), name);
            assert!(!about.is_empty());
        }
        let error = "hugepage".parse::<Stage>().unwrap_err();
        assert!(error.contains("hugepages, memlock"), "{error}");
    }
}
