//! What the operator sees of the engine.

pub(super) mod bans;
pub(super) mod calls;
pub(super) mod dossier;
pub(super) mod network;
pub(super) mod registrations;
pub(super) mod trunks;
pub(super) mod workers;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use trunkline_bpf::Action;
use trunkline_bpf::Verdicts;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::counters::Kind;
use trunkline_dataplane::counters::TABLE;
use trunkline_dataplane::ids::DeviceIndex;
use trunkline_dataplane::media::FlowKind;
use trunkline_dataplane::media::FlowReport;
use trunkline_dataplane::ring::BusyPoll;
use trunkline_dataplane::sip::proxy::memory::Table;

use super::Desk;
use super::Facts;
use super::pace::Pace;
use super::queries::Answers;
use crate::api::types::Confinement;
use crate::api::types::CounterRow;
use crate::api::types::Flow;
use crate::api::types::Flows;
use crate::api::types::InterfaceStatus;
use crate::api::types::Latency;
use crate::api::types::LocationStatus;
use crate::api::types::OperatorStats;
use crate::api::types::SocketStats;
use crate::api::types::Stats;
use crate::api::types::Status;
use crate::api::types::SubscribersStatus;
use crate::api::types::Sum;
use crate::api::types::TableRow;
use crate::api::types::VerdictRow;
use crate::api::types::WorkerStatus;
use crate::api::types::XdpStats;
use crate::config::BusyPollWish;
use crate::kernel::Count;
use crate::metrics::reference::action_name;

/// What the desk knows at one moment, to be told when the workers have answered.
pub(super) struct Snapshot {
    facts: Facts,
    uptime_s: u64,
    paces: Vec<Option<Pace>>,
    links: Vec<(bool, u32)>,
    /// By interface: its device is gone.
    gone: Vec<bool>,
    /// What keeps the devices from their whole work.
    devices: Vec<String>,
    counters: Vec<Counters>,
    /// By device; why not where they cannot be read.
    verdicts: Vec<Result<Verdicts, String>>,
    operator: OperatorStats,
    latency: Latency,
    location: Option<LocationStatus>,
    subscribers: Option<SubscribersStatus>,
}

impl Snapshot {
    pub fn of(desk: &Desk) -> Snapshot {
        Snapshot {
            facts: desk.facts.clone(),
            uptime_s: desk.started.elapsed().as_secs(),
            paces: desk.paces.last().to_vec(),
            links: desk.links.clone(),
            gone: (0..desk.facts.interfaces.len())
                .map(|interface| desk.devices.is_gone(interface))
                .collect(),
            devices: desk.devices.reasons(&desk.facts),
            // Before the XDP programs': what is seen later than it was redirected is
            // "under way", the other way round it would look invented.
            counters: desk.counters(),
            verdicts: desk
                .programs
                .iter()
                .map(|program| program.verdicts().map_err(|error| error.to_string()))
                .collect(),
            operator: OperatorStats {
                kernel: desk.kernel.counts(),
                store: desk.asking.counts(),
                location: desk.locating.counts(),
                ..desk.operator
            },
            latency: desk.sampling.latency(),
            location: desk.locating.status(),
            subscribers: desk.asking.status(),
        }
    }

    pub fn status(&self, sockets: &Answers) -> Status {
        let (sums, unchecked) = self.sums(sockets);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.uptime_s,
            workers: self.workers(),
            interfaces: self.interfaces(sockets),
            sums,
            unchecked,
            complete: self.is_complete(sockets),
            confinement: self.confinement(),
            location: registrations::status(self.location.as_ref(), &self.counters),
            subscribers: self.subscribers.clone(),
            warnings: [
                self.facts.warnings.clone(),
                self.devices.clone(),
                self.missing(sockets),
                self.without_busy_polling(sockets),
            ]
            .concat(),
        }
    }

    fn confinement(&self) -> Vec<Confinement> {
        let threads = self.facts.confinement.iter();
        threads
            .map(|thread| Confinement {
                thread: thread.kind.to_owned(),
                capabilities: thread.capabilities.clone(),
                no_new_privs: thread.no_new_privs,
                seccomp: thread.seccomp.to_owned(),
                files: thread.files.clone(),
            })
            .collect()
    }

    /// Who insisted on busy polling, and the first packets have shown that there is none.
    fn without_busy_polling(&self, sockets: &Answers) -> Vec<String> {
        let interfaces = self.facts.interfaces.iter();
        interfaces
            .filter(|facts| {
                let said = || busy_poll(sockets, facts.device_index);
                facts.busy_poll == BusyPollWish::On && said() == NO_EFFECT
            })
            .map(|facts| {
                format!(
                    "busy_poll = \"on\" of interface \"{}\" takes no effect: the kernel knows no NAPI of its queues",
                    facts.name
                )
            })
            .collect()
    }

    /// True where nothing is missing.
    pub fn is_complete(&self, sockets: &Answers) -> bool {
        sockets.complete && self.verdicts.iter().all(Result::is_ok)
    }

    /// What is missing at this moment, a sentence each.
    pub fn missing(&self, sockets: &Answers) -> Vec<String> {
        let silent = sockets.silent.iter();
        let mut warnings: Vec<_> = silent
            .map(|worker| format!("worker {} does not answer", worker.0))
            .collect();
        if !sockets.complete && sockets.silent.is_empty() {
            warnings.push("the workers could not be asked in time".to_owned());
        }
        for ((name, _), verdicts) in self.facts.devices().iter().zip(&self.verdicts) {
            if let Err(error) = verdicts {
                warnings.push(format!(
                    "the XDP program's counts on {name} cannot be read: {error}"
                ));
            }
        }
        warnings
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        let rows = self
            .facts
            .workers
            .iter()
            .zip(&self.counters)
            .zip(&self.paces);
        (0..)
            .zip(rows)
            .map(|(id, ((facts, counters), pace))| WorkerStatus {
                id,
                core: facts.core,
                poll: facts.poll.to_owned(),
                busy_percent: pace.map(|pace| (pace.busy_percent * 10.0).round() / 10.0),
                calls: counters.get(Counter::CallsNow),
                transactions: counters.get(Counter::TransactionsNow),
                flows: counters.get(Counter::FlowsNow),
                memory: facts.memory.clone(),
            })
            .collect()
    }

    fn interfaces(&self, sockets: &Answers) -> Vec<InterfaceStatus> {
        let rows = self.facts.interfaces.iter().zip(&self.links);
        let rows = rows.zip(&self.gone);
        rows.map(|((facts, (up, mtu)), gone)| InterfaceStatus {
            name: facts.name.clone(),
            device: facts.device.clone(),
            vlan: (!facts.vlan.is_empty()).then(|| facts.vlan.to_string()),
            link: match (gone, up) {
                (true, _) => "gone",
                (false, true) => "up",
                (false, false) => "down",
            }
            .to_owned(),
            mode: facts.mode.clone(),
            mode_because: facts.mode_because.clone(),
            frames: facts.frames.clone(),
            frames_because: facts.frames_because.clone(),
            busy_poll: busy_poll(sockets, facts.device_index),
            busy_poll_because: facts.busy_poll_because.clone(),
            queues: facts.queues,
            mtu: *mtu,
        })
        .collect()
    }

    pub fn stats(&self, sockets: &Answers) -> Stats {
        let counters = TABLE.iter().map(|row| {
            let workers: Vec<_> = self
                .counters
                .iter()
                .map(|counters| counters.get(row.counter))
                .collect();
            CounterRow {
                name: row.name.to_owned(),
                stage: row.stage().name().to_owned(),
                kind: row.kind.name().to_owned(),
                help: row.help.to_owned(),
                total: workers.iter().sum(),
                workers,
            }
        });
        let devices = self.facts.devices();
        let xdp = devices.iter().zip(&self.verdicts);
        let (sums, unchecked) = self.sums(sockets);
        Stats {
            counters: counters.collect(),
            xdp: xdp
                .filter_map(|((name, _), verdicts)| Some(xdp_stats(name, verdicts.as_ref().ok()?)))
                .collect(),
            sockets: self.sockets(sockets),
            operator: self.operator,
            latency: self.latency.clone(),
            memory: self.facts.tables.iter().map(table_row).collect(),
            sums,
            unchecked,
            complete: self.is_complete(sockets),
        }
    }

    fn sockets(&self, answers: &Answers) -> Vec<SocketStats> {
        let devices = self.facts.devices();
        let mut rows: Vec<_> = answers
            .sockets
            .iter()
            .map(|(worker, socket)| SocketStats {
                interface: devices
                    .get(usize::from(socket.device.0))
                    .map_or_else(String::new, |(names, _)| names.clone()),
                queue: socket.queue.0,
                worker: worker.0,
                rx_dropped: socket.kernel.rx_dropped,
                rx_invalid_descs: socket.kernel.rx_invalid_descs,
                tx_invalid_descs: socket.kernel.tx_invalid_descs,
                rx_ring_full: socket.kernel.rx_ring_full,
                rx_fill_ring_empty_descs: socket.kernel.rx_fill_ring_empty_descs,
                tx_ring_empty_descs: socket.kernel.tx_ring_empty_descs,
                received: socket.rx,
                sent: socket.tx,
                refused: socket.refused,
                kicks: socket.kicks,
                kick_errors: socket.kick_errors,
            })
            .collect();
        rows.sort_by(|a, b| (&a.interface, a.queue).cmp(&(&b.interface, b.queue)));
        rows
    }

    /// The sums of the design, each as a line: what went in on the left, what became of
    /// it on the right; and the names of those that cannot be made.
    pub fn sums(&self, sockets: &Answers) -> (Vec<Sum>, Vec<String>) {
        let mut all = Counters::default();
        self.counters
            .iter()
            .for_each(|counters| all.merge(counters));
        let mut sums = Vec::new();
        let mut unchecked = Vec::new();
        let mut redirected = 0;
        for ((names, _), verdicts) in self.facts.devices().iter().zip(&self.verdicts) {
            let name = format!("XDP on {names}: seen = pass + drop + redirect");
            let Ok(verdicts) = verdicts else {
                unchecked.push(name);
                continue;
            };
            let total = |action| verdicts.total(action);
            let ended = total(Action::Pass) + total(Action::Drop) + total(Action::Redirect);
            redirected += total(Action::Redirect);
            sums.push(Sum::new(name, verdicts.seen(), ended));
        }
        // None without programs: a test without a kernel.
        let rings = "rings: redirect = received + dropped by the kernel";
        if !self.is_complete(sockets) {
            unchecked.push(rings.to_owned());
        } else if !self.verdicts.is_empty() {
            // rx_fill_ring_empty_descs is left out: the same frame counts as rx_dropped.
            let lost = |kernel: &trunkline_dataplane::ring::KernelStatistics| {
                kernel.rx_dropped + kernel.rx_ring_full
            };
            let lost: u64 = sockets
                .sockets
                .iter()
                .map(|(_, socket)| lost(&socket.kernel))
                .sum();
            let received = all.get(Counter::Rx) + all.get(Counter::FramesRx);
            sums.push(Sum::new(rings, redirected, received + lost));
        }
        let sum = |kinds: &[Kind]| all.sum(|kind| kinds.contains(&kind));
        sums.push(Sum::new(
            "workers: in = Σ outcomes",
            sum(&[Kind::In]),
            all.sum(Kind::is_outcome),
        ));
        sums.push(Sum::new(
            "mailboxes: mailed to owner = mail in",
            all.get(Counter::MailedToOwner),
            all.get(Counter::MailIn),
        ));
        sums.push(Sum::new(
            "SIP: to send = sent + by kernel + not sent",
            sum(&[Kind::ToSend]),
            all.sum(Kind::is_disposal),
        ));
        sums.push(Sum::new(
            "kernel: handed to control = sent + refused",
            sum(&[Kind::ByKernel]),
            self.operator.kernel.disposed(),
        ));
        sums.push(Sum::new(
            "kernel: datagrams = kernel in + dropped",
            self.operator.kernel.get(Count::Datagrams),
            all.get(Counter::KernelIn) + self.operator.kernel.get(Count::Dropped),
        ));
        sums.push(Sum::new(
            "own listens: sent to own listen = own in",
            all.get(Counter::SipToOwnListen),
            all.get(Counter::OwnIn),
        ));
        let places = [
            Counter::FramesFree,
            Counter::FramesFill,
            Counter::FramesHeld,
            Counter::FramesRx,
            Counter::FramesTx,
            Counter::FramesCompletion,
        ];
        let found = places.into_iter().map(|place| all.get(place)).sum();
        sums.push(Sum::new(
            "frames: total = free + fill + held + rx + tx + completion",
            all.get(Counter::FramesTotal),
            found,
        ));
        (sums, unchecked)
    }
}

const NO_EFFECT: &str = "no effect";

/// What the sockets of one device say of busy polling, in a few words.
fn busy_poll(sockets: &Answers, device: DeviceIndex) -> String {
    let mut all = 0;
    let [mut active, mut waiting, mut vain] = [0; 3];
    for (_, socket) in &sockets.sockets {
        if socket.device != device {
            continue;
        }
        all += 1;
        match socket.busy_poll {
            BusyPoll::Off => {}
            BusyPoll::Waiting => waiting += 1,
            BusyPoll::Active => active += 1,
            BusyPoll::NoEffect => vain += 1,
        }
    }
    match (active, waiting, vain) {
        (0, 0, 0) => "off".to_owned(),
        (0, 0, _) => NO_EFFECT.to_owned(),
        (0, _, _) => "waits for a packet".to_owned(),
        _ if active == all => "active".to_owned(),
        _ => format!("active on {active} of {all} queues"),
    }
}

fn table_row(table: &Table) -> TableRow {
    TableRow {
        name: table.name.to_owned(),
        entries: table.entries,
        entry_bytes: table.entry_bytes,
        bytes: table.bytes(),
        help: table.help.to_owned(),
    }
}

fn xdp_stats(interface: &str, verdicts: &Verdicts) -> XdpStats {
    let rows = verdicts.iter().map(|(verdict, count)| VerdictRow {
        name: verdict.name().to_owned(),
        action: action_name(verdict.action()).to_owned(),
        help: verdict.explanation().help.to_owned(),
        count,
    });
    XdpStats {
        interface: interface.to_owned(),
        seen: verdicts.seen(),
        verdicts: rows.collect(),
    }
}

/// Every flow, by its port.
pub(super) fn flows(answers: &Answers) -> Flows {
    Flows {
        flows: merged(answers).values().map(flow).collect(),
        complete: answers.complete,
    }
}

/// One report a port, with the counts of all workers.
fn merged(answers: &Answers) -> BTreeMap<SocketAddr, FlowReport> {
    let mut flows: BTreeMap<SocketAddr, FlowReport> = BTreeMap::new();
    for report in &answers.flows {
        match flows.get_mut(&report.spec.local) {
            None => {
                flows.insert(report.spec.local, *report);
            }
            Some(flow) => {
                flow.packets_in += report.packets_in;
                flow.octets_in += report.octets_in;
                flow.packets_out += report.packets_out;
                flow.octets_out += report.octets_out;
                flow.drops += report.drops;
            }
        }
    }
    flows
}

fn flow(report: &FlowReport) -> Flow {
    let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
    let kind = match report.spec.kind {
        FlowKind::Rtp => "rtp",
        FlowKind::Rtcp => "rtcp",
        FlowKind::RtpAndRtcp => "rtp+rtcp",
    };
    Flow {
        local: report.spec.local.to_string(),
        kind: kind.to_owned(),
        source: text(report.spec.source),
        destination: text(report.spec.destination),
        relay: report.spec.relay.to_string(),
        owner: report.spec.call.owner.0,
        packets_in: report.packets_in,
        packets_out: report.packets_out,
        packets_dropped: report.drops,
        octets_out: report.octets_out,
    }
}
