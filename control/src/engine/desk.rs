//! The one place that speaks to the workers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use trunkline_bpf::Program;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;
use trunkline_dataplane::counters::Published;
use trunkline_dataplane::ids::InterfaceIndex;
use trunkline_dataplane::mailbox::Ask;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::route::Unresolved;
use trunkline_dataplane::sys::clock;

use super::Devices;
use super::Facts;
use super::Kernel;
use super::Mirrored;
use super::Request;
use super::Turning;
use super::Workers;
use super::asking::Asking;
use super::captures::Capturing;
use super::locating::Locating;
use super::locating::Location;
use super::locating::Names;
use super::pace::Paces;
use super::queries::Answers;
use super::queries::Queries;
use super::sampling::Sampling;
use super::view;
use crate::api::types;
use crate::api::types::OperatorStats;
use crate::metrics::scrape::Scrape;
use crate::netlink::Tables;
use crate::subscribers::Directory;

/// How often reports are looked for even where no worker has rung, and how often
/// what found a full mailbox is tried again.
const TICK: Duration = Duration::from_millis(100);

/// Most warnings that are kept for the operator.
const WARNINGS_MAX: usize = 32;

/// How long the last frames may take to end after the XDP programs have been taken off.
const SETTLE_MAX: Duration = Duration::from_millis(500);

/// Control's desk: the workers' mailboxes and all that is known of them.
#[derive(Debug)]
pub struct Desk {
    pub(super) facts: Facts,
    pub(super) workers: Workers,
    /// By interface; none in a test without a kernel.
    pub(super) programs: Vec<Program>,
    pub(super) queries: Queries,
    pub(super) asking: Asking,
    pub(super) locating: Locating,
    pub(super) capturing: Capturing,
    pub(super) sampling: Sampling,
    pub(super) operator: OperatorStats,
    pub(super) kernel: Kernel,
    pub(super) links: Vec<(bool, u32)>,
    pub(super) started: Instant,
    pub(super) turning: Turning,
    pub(super) devices: Devices,
    /// The tasks beside the desk that have met a bug and ended.
    pub(super) failed: Vec<&'static str>,
    /// By interface: the kernel's number of its link.
    ifindexes: Vec<u32>,
    /// Why the daemon ends without having been told to.
    ended_by: Option<String>,
    pub(super) paces: Paces,
    pub(super) epoch: u32,
    pub(super) network: Network,
    pub(super) tables: Tables,
    /// By interface.
    pub(super) addresses: Vec<Vec<IpAddr>>,
    /// By worker: it has yet to be told of the present network.
    pub(super) untold: Vec<bool>,
    solicit: mpsc::Sender<(u32, IpAddr)>,
}

/// The sums at the end, and what did not hold.
#[derive(Debug)]
pub struct Final {
    /// Every sum that could be made.
    pub sums: Vec<types::Sum>,
    /// The names of the others.
    pub unchecked: Vec<String>,
    /// False where figures are missing.
    pub complete: bool,
    /// Why they are missing.
    pub missing: Vec<String>,
    /// Why the daemon ended without having been told to.
    pub ended_by: Option<String>,
}

impl Desk {
    /// A desk for running `workers` that know `network`, made of `mirrored`, already.
    /// Neighbours to be resolved go to `solicit` as (interface's number, address).
    #[must_use]
    pub fn new(
        facts: Facts,
        workers: Workers,
        programs: Vec<Program>,
        mirrored: Mirrored,
        network: Network,
        solicit: mpsc::Sender<(u32, IpAddr)>,
    ) -> Desk {
        let count = workers.posts.len();
        let now = Instant::now();
        let devices = Devices::new(facts.interfaces.len(), now);
        let mut desk = Desk {
            facts,
            workers,
            programs,
            queries: Queries::default(),
            asking: Asking::new(count),
            locating: Locating::new(count),
            capturing: Capturing::default(),
            sampling: Sampling::new(count),
            operator: OperatorStats::default(),
            kernel: Kernel::default(),
            links: mirrored.links,
            started: now,
            turning: Turning::new(count, now),
            devices,
            failed: Vec::new(),
            ifindexes: mirrored.ifindexes,
            ended_by: None,
            paces: Paces::new(count, now),
            epoch: network.epoch(),
            network,
            tables: mirrored.tables,
            addresses: mirrored.addresses,
            untold: vec![false; count],
            solicit,
        };
        desk.keep_peers();
        desk
    }

    /// Where the workers publish their counts.
    #[must_use]
    pub fn published(&self) -> Vec<Arc<Published>> {
        let posts = self.workers.posts.iter();
        posts.map(|post| Arc::clone(&post.published)).collect()
    }

    /// With the kernel's sockets of the listens.
    #[must_use]
    pub fn with_kernel(self, kernel: Kernel) -> Desk {
        Desk { kernel, ..self }
    }

    /// With the domains and the store of their subscribers, which may take so long to answer.
    #[must_use]
    pub fn with_subscribers(self, directory: Arc<Directory>, deadline: Duration) -> Desk {
        let asking = self.asking.with(directory, deadline);
        Desk { asking, ..self }
    }

    /// With what users and listens are called, and the store of the users' contacts, which is read from now on.
    #[must_use]
    pub fn with_location(self, names: Names, location: Option<Location>) -> Desk {
        let named = self.locating.named(names);
        let locating = match location {
            Some(location) => named.with(location),
            None => named,
        };
        Desk { locating, ..self }
    }

    /// What does not change, and the warnings so far.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Serves until `stop` is done or every asker is gone.
    ///
    /// # Errors
    /// The workers' wake-up cannot be watched.
    pub async fn serve(
        &mut self,
        mut requests: mpsc::Receiver<Request>,
        stop: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let bell = std::os::fd::AsFd::as_fd(&*self.workers.wake).try_clone_to_owned()?;
        // An eventfd reads like a pipe: eight bytes at a time.
        let bell = tokio::net::unix::pipe::Receiver::from_owned_fd_unchecked(bell)?;
        self.workers.wake.prepare();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                request = requests.recv() => match request {
                    Some(request) => self.take(request),
                    None => return Ok(()),
                },
                Some(answer) = self.asking.next() => {
                    self.asking.answered(answer, &mut self.workers.posts);
                }
                event = self.locating.next() => {
                    self.locating.act(event, &mut self.workers.posts);
                }
                ready = bell.readable() => {
                    ready?;
                    // Read before the reports are: whoever rings after this is heard again.
                    while bell.try_read(&mut [0; 8]).is_ok() {}
                    self.read_reports();
                }
                _ = tick.tick() => {
                    let now = Instant::now();
                    self.tick(now);
                    self.ended_by = self.devices.end(&self.facts, now);
                    if self.ended_by.is_some() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        self.read_reports();
        self.queries.expire(now, &mut self.workers.posts);
        self.tell_network();
        self.asking.tick(&mut self.workers.posts);
        self.locating.send(&mut self.workers.posts);
        let posts = self.workers.posts.iter();
        let turns = posts.map(|post| post.published.read().get(Counter::Turns));
        self.turning.look(turns, now);
        let relayed = |post: &ControlPost| {
            let counters = post.published.read();
            counters.get(Counter::RtpForwarded) + counters.get(Counter::RtcpForwarded)
        };
        self.devices
            .relayed(self.workers.posts.iter().map(relayed).sum(), now);
        if self.capturing.is_on() {
            self.capturing.tick(&mut self.workers.posts, now);
            self.operator.captures_lost = self.capturing.lost();
        }
        let posts = &self.workers.posts;
        let read = || posts.iter().map(|post| post.published.read()).collect();
        if self.paces.look(read, now) {
            self.seek_peers();
            self.sampling.ask(&mut self.workers.posts);
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            // Whoever asked may have gone; then no one hears the answer.
            Request::Status(reply) => {
                let sockets = self.ask(Ask::Sockets);
                let status = view::Snapshot::of(self);
                answer(sockets, reply, move |answers| status.status(&answers));
            }
            Request::Stats(reply) => {
                let sockets = self.ask(Ask::Sockets);
                let stats = view::Snapshot::of(self);
                answer(sockets, reply, move |answers| stats.stats(&answers));
            }
            Request::Calls(of, reply) => {
                let trunks = self.facts.trunks.clone();
                answer_apart(self.ask(Ask::Calls), reply, move |answers| {
                    view::calls::calls(&answers, &trunks, of.as_deref(), clock::now())
                });
            }
            Request::Flows(reply) => {
                answer_apart(self.ask(Ask::Flows), reply, |answers| view::flows(&answers));
            }
            Request::Bans(reply) => {
                let ban_s = self.facts.ban_s;
                answer(self.ask(Ask::Bans), reply, move |answers| {
                    view::bans::bans(&answers, ban_s, clock::now())
                });
            }
            // To all of them: its keeper takes it up.
            Request::Pardon(source) => self.asking.pardon(source, &mut self.workers.posts),
            Request::Call(id, reply) => {
                let (calls, flows) = (self.ask(Ask::Calls), self.ask(Ask::Flows));
                let trunks = self.facts.trunks.clone();
                tokio::spawn(async move {
                    let calls = calls.await.unwrap_or_default();
                    let flows = flows.await.unwrap_or_default();
                    tokio::task::spawn_blocking(move || {
                        let call = view::calls::call(&id, &calls, &flows, &trunks, clock::now());
                        let _ = reply.send(call);
                    });
                });
            }
            Request::Scrape(reply) => {
                let sockets = self.ask(Ask::Sockets);
                let snapshot = view::Snapshot::of(self);
                let trunks = view::trunks::trunks(self);
                let health = self.health(Instant::now());
                answer(sockets, reply, move |answers| {
                    Box::new(Scrape {
                        status: snapshot.status(&answers),
                        stats: snapshot.stats(&answers),
                        trunks,
                        health,
                    })
                });
            }
            Request::Scraper { admitted: true } => self.operator.scrapes += 1,
            Request::Scraper { admitted: false } => self.operator.scrapes_refused += 1,
            Request::Interfaces(reply) => {
                let sockets = self.ask(Ask::Sockets);
                let interfaces = view::network::Interfaces::of(self);
                answer(sockets, reply, move |answers| interfaces.tell(&answers));
            }
            Request::Workers(reply) => {
                drop(reply.send(view::workers::workers(self, Instant::now())));
            }
            Request::Frames(reply) => drop(reply.send(view::workers::frames(self))),
            Request::Trunks(reply) => drop(reply.send(view::trunks::trunks(self))),
            Request::Routes(reply) => self.tell_tables(reply, view::network::routes),
            Request::Neighbours(reply) => self.tell_tables(reply, view::network::neighbours),
            Request::Way(address, reply) => drop(reply.send(view::network::way(self, address))),
            Request::Health(reply) => drop(reply.send(self.health(Instant::now()))),
            Request::Capture(wish, reply) => {
                let begun = self
                    .capturing
                    .begin(&wish, &mut self.workers.posts, Instant::now());
                let _ = reply.send(begun);
            }
            Request::Latency(reply) => {
                let _ = reply.send(self.sampling.latency());
            }
            Request::Talkers(reply) => {
                let _ = reply.send(self.sampling.talkers());
            }
            Request::Registrations(of, reply) => {
                let aor = of.map(|(user, domain)| self.locating.aor(&user, &domain));
                if aor == Some(None) {
                    drop(reply.send(None));
                } else {
                    let registrations = self.ask(Ask::Bindings(aor.flatten()));
                    answer_apart(registrations, reply, |answers| {
                        Some(view::registrations::registrations(answers))
                    });
                }
            }
            Request::Dossier(who, reply) => {
                let names = self.locating.names();
                // Who has none can have no calls.
                let aor = self.locating.aor_of(&who).unwrap_or_default();
                let said = self.ask(Ask::Subscriber { who, aor });
                answer(said, reply, move |answers| {
                    view::dossier::said(&answers, &names, clock::now())
                });
            }
            Request::Denials(reply) => {
                let names = self.locating.names();
                answer(self.ask(Ask::Denials), reply, move |answers| {
                    view::dossier::denials(&answers, &names, clock::now())
                });
            }
            Request::Directory(reply) => drop(reply.send(self.asking.directory())),
            Request::Forget(subscribers) => {
                for who in subscribers {
                    self.asking.forget(who, &mut self.workers.posts);
                }
            }
            Request::Doubt => self.asking.doubt(&mut self.workers.posts),
            Request::Unwell(servers) => self.asking.unwell(servers, Instant::now()),
            Request::Visitor { admitted: true } => self.operator.connections += 1,
            Request::Visitor { admitted: false } => self.operator.refused += 1,
            Request::Mirror(mirrored) => self.mirror(mirrored),
            Request::Queues(queues) => {
                for reason in self.devices.count_queues(queues, &self.facts) {
                    tracing::warn!("{reason}");
                }
            }
            Request::Datagram {
                listen,
                source,
                bytes,
            } => self.hand_over(listen, source, &bytes),
            Request::Truncated => self.kernel.truncated(),
            Request::IcmpError { error, quoted } => self.tell_undelivered(&error, &quoted),
            Request::Warning(warning) => self.warn(warning),
            Request::TaskFailed(name) => {
                self.operator.tasks_failed += 1;
                self.warn(super::health::failed(name));
                if !self.failed.contains(&name) {
                    self.failed.push(name);
                }
            }
        }
    }

    /// Sends what `view` makes of the kernel's tables, apart from this thread: they may be
    /// large, and a message must not wait for them.
    fn tell_tables<T: Send + 'static>(
        &self,
        reply: oneshot::Sender<T>,
        view: fn(&Tables, &Facts, types::Snapshot) -> T,
    ) {
        let (tables, facts) = (self.tables.clone(), self.facts.clone());
        let snapshot = view::network::snapshot(self);
        tokio::task::spawn_blocking(move || {
            let _ = reply.send(view(&tables, &facts, snapshot));
        });
    }

    /// Tells the operator once, now and in every status from now on.
    fn warn(&mut self, warning: String) {
        let warnings = &mut self.facts.warnings;
        if warnings.len() < WARNINGS_MAX && !warnings.contains(&warning) {
            tracing::warn!("{warning}");
            warnings.push(warning);
        }
    }

    fn ask(&mut self, what: Ask) -> oneshot::Receiver<Answers> {
        self.queries
            .ask(what, &mut self.workers.posts, Instant::now())
    }

    /// Asks for a neighbour. Where the way is full it is asked for at the next occasion.
    pub(super) fn want(&self, interface: InterfaceIndex, address: IpAddr) {
        if let Some(ifindex) = self.ifindexes.get(usize::from(interface.0)) {
            let _ = self.solicit.try_send((*ifindex, address));
        }
    }

    /// Keeps the next hops of the trunks' hosts resolved.
    fn keep_peers(&mut self) {
        for peer in &self.facts.peers {
            match self.network.resolve(*peer) {
                Ok(hop) => self.want(hop.interface, hop.address),
                Err(Unresolved::NoNeighbour { interface, address }) => {
                    self.want(interface, address)
                }
                Err(_) => {}
            }
        }
    }

    /// Asks again for the peers whose next hop is not known: an entry can be lost with its
    /// link, and an answer with a packet.
    fn seek_peers(&self) {
        for peer in &self.facts.peers {
            if let Err(Unresolved::NoNeighbour { interface, address }) = self.network.resolve(*peer)
            {
                self.want(interface, address);
            }
        }
    }

    fn mirror(&mut self, mirrored: Mirrored) {
        for reason in self.devices.look(&mirrored, &self.facts) {
            tracing::error!("{reason}");
        }
        for (interface, (before, after)) in self
            .facts
            .interfaces
            .iter()
            .zip(self.links.iter().zip(&mirrored.links))
        {
            if before.0 != after.0 {
                tracing::warn!(
                    "link of {} is {}",
                    interface.device,
                    if after.0 { "up" } else { "down" }
                );
            }
        }
        self.links = mirrored.links;
        self.ifindexes = mirrored.ifindexes;
        self.addresses = mirrored.addresses;
        if mirrored.tables != self.tables {
            self.epoch = self.epoch.wrapping_add(1);
            self.network = mirrored.tables.network(self.epoch);
            self.tables = mirrored.tables;
            self.operator.networks += 1;
            self.untold.fill(true);
            self.tell_network();
            tracing::debug!("network snapshot {}", self.epoch);
        }
        self.keep_peers();
    }

    /// Hands the present network to every worker that has yet to hear of it.
    fn tell_network(&mut self) {
        for (post, untold) in self.workers.posts.iter_mut().zip(&mut self.untold) {
            if *untold && !post.mail.is_full() {
                *untold = post
                    .mail
                    .post(Mail::Network(Box::new(self.network.clone())))
                    .is_err();
                post.wake.ring();
            }
        }
    }

    /// The counts of all workers in one.
    pub(super) fn counters(&self) -> Vec<Counters> {
        self.workers
            .posts
            .iter()
            .map(|post| post.published.read())
            .collect()
    }

    /// Ends: takes the XDP programs off, lets what is in the rings end, stops the
    /// workers and works out the sums.
    pub async fn stop(mut self) -> Final {
        for (program, (_, interface)) in self.programs.iter_mut().zip(self.facts.devices()) {
            if let Err(error) = program.detach() {
                tracing::error!("{}: {error}", interface.device);
            }
        }
        let sockets = self.settle().await;
        self.workers.stop();
        self.send_by_kernel();
        for worker in 0..self.workers.posts.len() {
            self.read_letters(worker);
        }
        self.locating.stop().await;
        let last = view::Snapshot::of(&self);
        let (sums, unchecked) = last.sums(&sockets);
        Final {
            sums,
            unchecked,
            complete: last.is_complete(&sockets),
            missing: last.missing(&sockets),
            ended_by: self.ended_by.take(),
        }
    }

    /// Waits until the receive rings are empty and nothing has changed for a moment, and
    /// asks for the sockets' last counts. A worker that does not answer costs as long as
    /// every question does.
    async fn settle(&mut self) -> Answers {
        let deadline = Instant::now() + SETTLE_MAX;
        let mut answer = self.ask(Ask::Sockets);
        loop {
            // Longer than the workers' housekeeping, so that the counts are the latest.
            tokio::time::sleep(TICK).await;
            self.read_reports();
            let now = Instant::now();
            self.queries.expire(now, &mut self.workers.posts);
            let waiting: u64 = self
                .counters()
                .iter()
                .map(|counters| counters.get(Counter::FramesRx))
                .sum();
            match answer.try_recv() {
                Ok(answers) if waiting == 0 || !answers.complete || now >= deadline => {
                    return answers;
                }
                Ok(_) => answer = self.ask(Ask::Sockets),
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(oneshot::error::TryRecvError::Closed) => return Answers::default(),
            }
        }
    }
}

/// Sends what `view` makes of the workers' answers to whoever asked, once they are there.
fn answer<T: Send + 'static>(
    answers: oneshot::Receiver<Answers>,
    reply: oneshot::Sender<T>,
    view: impl FnOnce(Answers) -> T + Send + 'static,
) {
    tokio::spawn(async move {
        let _ = reply.send(view(answers.await.unwrap_or_default()));
    });
}

/// The same apart from this thread, where there may be much to look at.
fn answer_apart<T: Send + 'static>(
    answers: oneshot::Receiver<Answers>,
    reply: oneshot::Sender<T>,
    view: impl FnOnce(Answers) -> T + Send + 'static,
) {
    tokio::spawn(async move {
        let answers = answers.await.unwrap_or_default();
        tokio::task::spawn_blocking(move || {
            let _ = reply.send(view(answers));
        });
    });
}

impl Final {
    /// The sums that do not hold.
    pub fn broken(&self) -> impl Iterator<Item = &types::Sum> {
        self.sums.iter().filter(|sum| !sum.is_exact())
    }
}
