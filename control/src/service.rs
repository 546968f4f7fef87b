//! What the service manager is told, over the socket that NOTIFY_SOCKET names (sd_notify(3)):
//! when the daemon is up, when it ends, how it fares, and, where a watchdog is set, that
//! every worker turns.
//!
//! The watchdog is fed only while every worker has turned since it was fed last. A worker
//! that is stuck is thus a daemon that is restarted, whatever the rest of it looks like. A
//! worker that sleeps turns at least every 100 ms ([`SLEEP_NS_MAX`]), so one that has nothing
//! to do is not taken for one that is stuck.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use sd_notify::NotifyState;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Published;
use trunkline_dataplane::limits::HOUSEKEEPING_NS;
use trunkline_dataplane::limits::SLEEP_NS_MAX;

/// Beats in the time within which the watchdog must be fed: three may be late or lost.
const BEATS: u32 = 4;

/// How often the status is told where there is no watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(5);

/// Between two beats every worker that lives has published a turn: it sleeps so long at
/// most, and publishes so often.
const BEAT_MIN: Duration = Duration::from_millis(250);

const _: () = assert!(BEAT_MIN.as_nanos() > (SLEEP_NS_MAX + HOUSEKEEPING_NS) as u128);

/// The way to the service manager; to nobody where there is none.
#[derive(Debug)]
pub struct Service {
    manager: Option<Manager>,
    watchdog: Option<Duration>,
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Service {
    /// What the environment says: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID.
    ///
    /// # Errors
    /// NOTIFY_SOCKET is no address, or there is no socket to be had.
    pub fn from_environment() -> io::Result<Service> {
        let manager = match env::var_os("NOTIFY_SOCKET") {
            None => None,
            Some(name) => Some(Manager::at(&name)?),
        };
        Ok(Service {
            manager,
            watchdog: sd_notify::watchdog_enabled(),
        })
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(manager) = &self.manager else { return };
        let text: String = states.iter().map(|state| format!("{state}\n")).collect();
        // It never waits: what finds no room is lost, and the next beat says it again.
        if let Err(error) = manager
            .socket
            .send_to_addr(text.as_bytes(), &manager.address)
        {
            tracing::debug!("the service manager cannot be told: {error}");
        }
    }

    /// The daemon is up.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// Tells how the workers fare, and feeds the watchdog while they turn, for ever.
    pub async fn beat(self: Arc<Self>, workers: Vec<Arc<Published>>) {
        if self.manager.is_none() {
            return;
        }
        let every = self
            .watchdog
            .map_or(STATUS_EVERY, |limit| (limit / BEATS).max(BEAT_MIN));
        let mut pulse = Pulse::new(workers.len(), Instant::now());
        let mut beat = tokio::time::interval(every);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first is now: nothing could be told from it.
        beat.tick().await;
        loop {
            beat.tick().await;
            let counters: Vec<_> = workers.iter().map(|worker| worker.read()).collect();
            let turns = counters.iter().map(|counters| counters.get(Counter::Turns));
            let calls = counters
                .iter()
                .map(|counters| counters.get(Counter::CallsNow))
                .sum();
            let stuck = pulse.stuck(turns, Instant::now());
            let status = status(&stuck, workers.len(), calls);
            if stuck.is_empty() {
                self.tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
            } else {
                tracing::error!("{status}; the watchdog is not fed");
                self.tell(&[NotifyState::Status(&status)]);
            }
        }
    }
}

impl Manager {
    /// `@name` is in the abstract namespace, all else a path.
    fn at(name: &OsString) -> io::Result<Manager> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Manager { socket, address })
    }
}

/// Who has turned since it was last looked.
#[derive(Debug)]
struct Pulse {
    /// By worker: its turns, and since when there were no more.
    seen: Vec<(u64, Instant)>,
}

impl Pulse {
    fn new(workers: usize, now: Instant) -> Pulse {
        Pulse {
            seen: vec![(0, now); workers],
        }
    }

    /// The workers that have not turned since this was last asked, and for how long.
    fn stuck(&mut self, turns: impl Iterator<Item = u64>, now: Instant) -> Vec<(usize, Duration)> {
        let mut stuck = Vec::new();
        for (worker, (turns, seen)) in turns.zip(&mut self.seen).enumerate() {
            if turns == seen.0 {
                stuck.push((worker, now.duration_since(seen.1)));
            } else {
                *seen = (turns, now);
            }
        }
        stuck
    }
}

fn status(stuck: &[(usize, Duration)], workers: usize, calls: u64) -> String {
    if stuck.is_empty() {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        return format!(
            "{calls} call{}, {workers} worker{}",
            plural(calls),
            plural(workers as u64)
        );
    }
    let stuck = stuck
        .iter()
        .map(|(worker, since)| format!("worker {worker} has not turned for {} s", since.as_secs()));
    stuck.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_not_turned_is_stuck() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(3, start);
        assert_eq!(pulse.stuck([5, 9, 1].into_iter(), later(2)), []);
        let stuck = pulse.stuck([6, 9, 2].into_iter(), later(4));
        assert_eq!(stuck, [(1, Duration::from_secs(2))]);
        let stuck = pulse.stuck([6, 9, 3].into_iter(), later(6));
        assert_eq!(
            stuck,
            [(0, Duration::from_secs(2)), (1, Duration::from_secs(4))]
        );
        assert_eq!(
            status(&stuck, 3, 7),
            "worker 0 has not turned for 2 s, worker 1 has not turned for 4 s"
        );
        // It turns again.
        assert_eq!(pulse.stuck([7, 10, 4].into_iter(), later(8)), []);
        assert_eq!(status(&[], 1, 7), "7 calls, 1 worker");
    }

    #[test]
    fn both_kinds_of_address_are_reached() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("notify");
        let name = format!("trunkline-test/notify/{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, address) in [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (
                UnixDatagram::bind_addr(&by_name).unwrap(),
                format!("@{name}").into(),
            ),
        ] {
            let service = Service {
                manager: Some(Manager::at(&address).unwrap()),
                watchdog: None,
            };
            service.ready();
            service.stopping();
            let mut heard = [0; 64];
            let len = socket.recv(&mut heard).unwrap();
            assert_eq!(&heard[..len], b"READY=1\n");
            let len = socket.recv(&mut heard).unwrap();
            assert_eq!(&heard[..len], b"STOPPING=1\nSTATUS=stopping\n");
        }
    }

    #[test]
    fn nobody_who_listens_is_no_error() {
        let room = tempfile::tempdir().unwrap();
        let nobody = room.path().join("none").into_os_string();
        let service = Service {
            manager: Some(Manager::at(&nobody).unwrap()),
            watchdog: None,
        };
        service.ready();
    }
}
