//! The worker threads: started together, stopped together.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use trunkline_dataplane::ids::CoreId;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::media::table::RangeError;
use trunkline_dataplane::post;
use trunkline_dataplane::post::ControlPost;
use trunkline_dataplane::ring::Rings;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::sys::affinity;
use trunkline_dataplane::sys::wake::Wake;
use trunkline_dataplane::worker::Poll;
use trunkline_dataplane::worker::Worker;

use crate::privileges::ConfineError;
use crate::privileges::WorkerConfinement;

/// How long the workers together may take to end. They take milliseconds.
const STOP_MAX: Duration = Duration::from_secs(2);

/// Why the workers did not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No eventfd for a wake-up.
    #[error("cannot make a worker's wake-up: {0}. Raise the limit of open files (ulimit -n)")]
    Wake(std::io::Error),
    /// The media ranges do not fit the flow table.
    #[error(transparent)]
    Media(#[from] RangeError),
    /// No thread.
    #[error("cannot start a worker's thread: {0}. Raise the limit of threads (ulimit -u)")]
    Thread(std::io::Error),
    /// The thread cannot give up what it does not need.
    #[error("worker {worker}: {error}")]
    Confine {
        /// The worker's number.
        worker: u8,
        /// Why not.
        error: ConfineError,
    },
    /// The core is not to be had.
    #[error("worker {worker} cannot be pinned: {error}")]
    Pin {
        /// The worker's number.
        worker: u8,
        /// Which core, and why not.
        error: affinity::PinError,
    },
    /// The thread ended before it began.
    #[error("worker {worker} ended before it began")]
    Gone {
        /// The worker's number.
        worker: u8,
    },
}

/// The running workers. When this is dropped they are stopped.
#[derive(Debug)]
pub struct Workers {
    /// Control's ends of their mailboxes, by worker.
    pub posts: Vec<ControlPost>,
    /// By which they wake control.
    pub wake: Arc<Wake>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Workers {
    /// Makes every worker on this thread, then starts them, each on its core.
    ///
    /// # Errors
    /// Why one of them did not start; those that did are stopped.
    pub fn start<R: Rings + Send + 'static>(
        settings: &Settings,
        rings: Vec<R>,
        network: &Network,
        poll: Poll,
        cores: &[CoreId],
        confinement: &WorkerConfinement,
    ) -> Result<Workers, WorkerError> {
        let wake = Arc::new(Wake::new().map_err(WorkerError::Wake)?);
        let (ends, posts) = post::connect(settings.workers, settings.trunks.len(), &wake)
            .map_err(WorkerError::Wake)?;
        let mut made = Vec::new();
        for ((number, mut rings), end) in (0..).zip(rings).zip(ends) {
            rings.wait_for(&end.wake).map_err(WorkerError::Wake)?;
            let network = Box::new(network.clone());
            made.push(Worker::new(
                WorkerId(number),
                settings,
                rings,
                network,
                end,
            )?);
        }
        let mut workers = Workers {
            posts,
            wake,
            threads: Vec::new(),
        };
        let (started, starts) = mpsc::channel();
        for (number, worker) in (0..).zip(made) {
            let core = cores.get(usize::from(number)).copied();
            let confinement = confinement.clone();
            let thread = spawn(number, worker, poll, core, confinement, started.clone())?;
            workers.threads.push(thread);
        }
        drop(started);
        for number in 0..settings.workers {
            match starts.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(WorkerError::Gone { worker: number }),
            }
        }
        Ok(workers)
    }

    /// Workers that a test plays.
    #[cfg(test)]
    pub(crate) fn played(posts: Vec<ControlPost>, wake: Arc<Wake>) -> Workers {
        Workers {
            posts,
            wake,
            threads: Vec::new(),
        }
    }

    /// Has every worker leave its loop, and waits until it has. One that is stuck is left
    /// behind after [`STOP_MAX`]: it ends with the process, and the others' sums are told.
    pub fn stop(&mut self) {
        let deadline = Instant::now() + STOP_MAX;
        for post in &mut self.posts {
            let mut stop = Mail::Stop;
            // A full mailbox is mostly one that its worker is reading: there will be room.
            while let Err(back) = post.mail.post(stop) {
                stop = back;
                post.wake.ring();
                thread::yield_now();
                let all_gone = self.threads.iter().all(thread::JoinHandle::is_finished);
                if all_gone || Instant::now() >= deadline {
                    break;
                }
            }
            post.wake.ring();
        }
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                // A worker that panicked has taken the process with it.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stop();
        }
    }
}

fn spawn<R: Rings + Send + 'static>(
    number: u8,
    worker: Worker<R>,
    poll: Poll,
    core: Option<CoreId>,
    confinement: WorkerConfinement,
    started: mpsc::Sender<Result<(), WorkerError>>,
) -> Result<thread::JoinHandle<()>, WorkerError> {
    let run = move || {
        if let Some(Err(error)) = core.map(affinity::pin) {
            let _ = started.send(Err(WorkerError::Pin {
                worker: number,
                error,
            }));
            return;
        }
        // Last: what came before takes calls that the worker then may not make.
        if let Err(error) = confinement.apply() {
            let _ = started.send(Err(WorkerError::Confine {
                worker: number,
                error,
            }));
            return;
        }
        let _ = started.send(Ok(()));
        drop(started);
        worker.run(poll);
    };
    let top = move || {
        // A broken invariant of ours must not leave a box that looks alive and is deaf.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            // Standard error may be a dead pipe, and `eprintln!` would panic on it.
            let _ = writeln!(
                std::io::stderr(),
                "worker {number} has met a broken invariant (see above); trunklined ends"
            );
            std::process::abort();
        }
    };
    let builder = thread::Builder::new().name(format!("worker-{number}"));
    builder.spawn(top).map_err(WorkerError::Thread)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;

    use trunkline_dataplane::counters::Counter;
    use trunkline_dataplane::frame::Frame;
    use trunkline_dataplane::frame::Ledger;
    use trunkline_dataplane::ids::DeviceIndex;
    use trunkline_dataplane::ids::Lane;
    use trunkline_dataplane::ring::Fake;
    use trunkline_dataplane::ring::FakeConfig;
    use trunkline_dataplane::ring::Received;
    use trunkline_dataplane::ring::SocketStatistics;
    use trunkline_dataplane::settings::Capacity;
    use trunkline_dataplane::settings::Secrets;

    use super::*;
    use crate::config::Config;
    use crate::privileges::Wish;

    /// Rings that break their worker's first turn.
    struct Broken;

    impl Rings for Broken {
        fn receive(&mut self, _: &mut Vec<Received>) {
            panic!("broken by the test");
        }
        fn bytes(&self, _: &Frame) -> &[u8] {
            unreachable!()
        }
        fn bytes_mut(&mut self, _: &mut Frame) -> &mut [u8] {
            unreachable!()
        }
        fn pair(&mut self, _: &Frame, _: &mut Frame) -> (&[u8], &mut [u8]) {
            unreachable!()
        }
        fn allocate(&mut self, _: usize) -> Option<Frame> {
            unreachable!()
        }
        fn free(&mut self, _: Frame) {}
        fn transmit(&mut self, _: DeviceIndex, _: Lane, _: Frame) -> Result<(), Frame> {
            unreachable!()
        }
        fn flush(&mut self) {}
        fn ledger(&self) -> Ledger {
            Ledger::default()
        }
        fn statistics(&mut self, _: &mut dyn FnMut(SocketStatistics)) {}
        fn idle(&self) -> bool {
            true
        }
        fn wait_for(&mut self, _: &Wake) -> std::io::Result<()> {
            Ok(())
        }

        fn wait(&mut self, _: &Wake, _: u64) {}
    }

    fn start(cores: &[CoreId]) -> Result<Workers, WorkerError> {
        let fake = |_| Fake::new(FakeConfig::default()).unwrap();
        start_over((0..2).map(fake).collect(), cores)
    }

    fn start_over<R: Rings + Send + 'static>(
        rings: Vec<R>,
        cores: &[CoreId],
    ) -> Result<Workers, WorkerError> {
        let mut config = Config::parse(Path::new("default.toml"), crate::config::DEFAULT).unwrap();
        config.capacity = Capacity::SMALL;
        let secrets = Secrets {
            branch: [1; 16],
            cookie: [[2; 16]; 2],
            hash: [3; 16],
        };
        let network = Network::new(1, &[], &[], &[], &[]);
        Workers::start(
            &config.settings(1, secrets),
            rings,
            &network,
            Poll::Adaptive,
            cores,
            &WorkerConfinement::new(Wish::On).unwrap(),
        )
    }

    /// How many worker threads this process has.
    fn threads() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let name = |task: &std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("comm")).unwrap_or_default()
        };
        tasks
            .filter(|task| name(task).starts_with("worker-"))
            .count()
    }

    /// A joined thread may stand in /proc for a moment more.
    fn none_is_left() -> bool {
        (0..5000).any(|_| {
            threads() == 0 || {
                thread::sleep(Duration::from_millis(1));
                false
            }
        })
    }

    /// In the child: what [`a_worker_that_panics_ends_the_process`] looks at from outside.
    const BREAK: &str = "TRUNKLINE_TEST_BREAK_A_WORKER";

    #[test]
    fn a_worker_that_panics_ends_the_process() {
        if std::env::var_os(BREAK).is_some() {
            let _workers = start_over(vec![Broken, Broken], &[]);
            thread::sleep(Duration::from_secs(10));
            return;
        }
        let name = "engine::workers::tests::a_worker_that_panics_ends_the_process";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(BREAK, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.signal(), Some(nix::libc::SIGABRT), "{said}");
        assert!(
            said.contains("broken by the test") && said.contains("trunklined ends"),
            "{said}"
        );
    }

    // One test: both count the threads of the process.
    #[test]
    fn workers_start_together_and_leave_no_thread() {
        let mut workers = start(&[]).unwrap();
        assert_eq!(threads(), 2);
        while workers
            .posts
            .iter()
            .any(|post| post.published.read().get(Counter::Turns) == 0)
        {
            thread::sleep(Duration::from_millis(1));
        }
        workers.stop();
        assert!(none_is_left());

        let workers = start(&[]).unwrap();
        drop(workers);
        assert!(none_is_left());

        // The second cannot be pinned: the first goes with it.
        let core = affinity::cores()[0];
        let refused = start(&[core, CoreId(1000)]).map(drop);
        assert!(
            matches!(refused, Err(WorkerError::Pin { worker: 1, .. })),
            "{refused:?}"
        );
        assert!(none_is_left());
    }

    #[test]
    fn a_worker_that_is_stuck_does_not_hold_the_others_up() {
        let wake = Arc::new(Wake::new().unwrap());
        let (_ends, posts) = post::connect(1, 0, &wake).unwrap();
        let mut workers = Workers::played(posts, wake);
        let (hold, held) = mpsc::channel::<()>();
        let (gone, left) = mpsc::channel();
        workers.threads.push(thread::spawn(move || {
            let _ = held.recv();
            gone.send(()).unwrap();
        }));
        workers.stop();
        assert!(left.try_recv().is_err(), "it was still there");
        drop(hold);
        left.recv().unwrap();
    }
}
