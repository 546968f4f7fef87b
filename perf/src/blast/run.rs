//! The loop: take what came, fire what is due, send; and tell how it goes.

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use trunkline_dataplane::limits::DATAGRAM_LEN_MAX;
use trunkline_dataplane::sys::clock;
use trunkline_dataplane::tick::Tick;

use super::load::Load;
use super::load::Plan;
use super::media::MediaCounts;
use super::phones::Phones;
use super::port::Port;
use super::speech::MEDIA_PORT_FIRST;
use super::tally::Counts;
use super::tally::Tally;
use crate::measure::account::Account;
use crate::measure::account::whole_machine;
use crate::stop::Stop;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Counts and times.
    pub tally: Tally,
    /// What was counted of RTP, and how long it took.
    pub media: (MediaCounts, Histogram<u64>),
    /// What the users' phones know at the end.
    pub phones: Phones,
    /// From the first call to the end of the last.
    pub took: Duration,
    /// The share of that time in which there was work.
    pub busy: f64,
    /// Frames that came faster than they were taken off the receive ring.
    pub missed: u64,
    /// Frames that the driver took and did not send.
    pub refused: u64,
    /// What was used while calls began, the warm-up left out.
    pub window: Window,
}

/// A stretch of the run, and who used the CPU in it.
#[derive(Debug, Default)]
pub struct Window {
    /// How long it was.
    pub took: Duration,
    /// Calls that began in it.
    pub begun: u64,
    /// By name: each process that is watched, the generator and the whole machine among them.
    pub used: Vec<(String, Duration)>,
}

/// How long the last calls may take to end after the last has begun: all timers, and their talk.
const PATIENCE: Duration = Duration::from_secs(70);

const LIVE_NS: u64 = 1_000_000_000;

/// Who is watched, and what they had used when the window began.
#[derive(Debug)]
pub struct Watch {
    accounts: Vec<Account>,
    before: Vec<Duration>,
    since: Option<Tick>,
    window: Window,
}

impl Watch {
    /// Watches these accounts and the whole machine.
    #[must_use]
    pub fn new(accounts: Vec<Account>) -> Watch {
        Watch {
            accounts,
            before: Vec::new(),
            since: None,
            window: Window::default(),
        }
    }

    fn used(&self) -> anyhow::Result<Vec<Duration>> {
        let accounts = self.accounts.iter().map(Account::used);
        accounts.chain([whole_machine()]).collect()
    }

    fn begin(&mut self, now: Tick) -> anyhow::Result<()> {
        self.before = self.used()?;
        self.since = Some(now);
        Ok(())
    }

    /// Ends the window, once.
    fn end(&mut self, begun: u64, now: Tick) -> anyhow::Result<()> {
        let Some(since) = self.since.take() else {
            return Ok(());
        };
        let names = self.accounts.iter().map(Account::name).chain(["machine"]);
        let used = self.used()?;
        let differences = used
            .iter()
            .zip(&self.before)
            .map(|(now, then)| *now - *then);
        self.window = Window {
            took: Duration::from_nanos(now.since(since)),
            begun,
            used: names.map(str::to_owned).zip(differences).collect(),
        };
        Ok(())
    }
}

/// Carries the load over the rings. What happens in the first `warm` is not in the figures.
///
/// # Errors
/// CPU time that cannot be read.
pub fn run(
    plan: Plan,
    phones: Phones,
    warm: Duration,
    mut port: Port,
    mut watch: Watch,
    quiet: bool,
) -> anyhow::Result<Outcome> {
    let stop = Stop::listen()?;
    let mut letter = vec![0; DATAGRAM_LEN_MAX];
    let start = Tick(clock::now().0 + 10_000_000);
    let most = plan.time + plan.times.ring + plan.times.talk + PATIENCE;
    let end = Tick(start.0 + nanos(most));
    let mut warm_end = Some(Tick(start.0 + nanos(warm)));
    let seconds = plan.time.as_secs_f64();
    let mut load = Load::new(plan, start);
    load.phones = phones;
    let mut live = Live::new(start, seconds, quiet);
    let mut busy_ns = 0;
    let mut since = start;
    let mut now = clock::now();
    while !load.is_over() && now < end && !stop.asked() {
        if warm_end.is_some_and(|warm_end| now >= warm_end) {
            warm_end = None;
            load.tally.reset();
            load.media.reset();
            live.last = Counts::default();
            port.lost();
            (busy_ns, since) = (0, now);
            watch.begin(now)?;
        }
        let mut worked = port.receive(&mut letter, |port, side, source, to, datagram| {
            if to.port() < MEDIA_PORT_FIRST {
                load.receive(side, source, datagram, clock::now(), port);
            } else {
                load.media.receive(side, datagram, clock::now());
            }
        });
        if load.next_due() <= now {
            load.fire(now, &mut port);
            worked = true;
        }
        port.flush();
        let after = clock::now();
        if worked {
            busy_ns += after.since(now);
        } else {
            std::hint::spin_loop();
        }
        if load.have_begun() {
            watch.end(load.tally.counts.begun, after)?;
        }
        live.tell(&load.tally.counts, after);
        now = after;
    }
    live.clear();
    watch.end(load.tally.counts.begun, now)?;
    let (missed, refused) = port.lost();
    let took = Duration::from_nanos(now.since(since));
    #[allow(clippy::cast_precision_loss, reason = "times far below 2^52")]
    let busy = busy_ns as f64 / took.as_nanos().max(1) as f64;
    Ok(Outcome {
        tally: load.tally,
        phones: load.phones,
        media: (load.media.counts, load.media.transit),
        took,
        busy,
        missed,
        refused,
        window: watch.window,
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// The line that says each second how it goes: on a terminal it stays in its place.
#[derive(Debug)]
struct Live {
    start: Tick,
    seconds: f64,
    next: Tick,
    last: Counts,
    terminal: bool,
    quiet: bool,
}

impl Live {
    fn new(start: Tick, seconds: f64, quiet: bool) -> Live {
        Live {
            start,
            seconds,
            next: Tick(start.0 + LIVE_NS),
            last: Counts::default(),
            terminal: std::io::stderr().is_terminal(),
            quiet,
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "times far below 2^52")]
    fn tell(&mut self, counts: &Counts, now: Tick) {
        if now < self.next || self.quiet {
            return;
        }
        self.next = Tick(self.next.0 + LIVE_NS);
        let elapsed = now.since(self.start) as f64 / 1e9;
        let line = format!(
            "{elapsed:5.0} s  {:>7} calls/s  {:>8} open  {:>6} failed  {:>6} said again  {:4.0} s left",
            counts.begun - self.last.begun,
            counts.open,
            counts.failed(),
            counts.repeated,
            (self.seconds - elapsed).max(0.0),
        );
        let end = if self.terminal { "\r" } else { "\n" };
        // Nobody listens: then there is nobody to tell.
        let _ = write!(std::io::stderr(), "{line}{end}");
        self.last = counts.clone();
    }

    fn clear(&self) {
        if self.terminal && !self.quiet {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
