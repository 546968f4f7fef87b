//! The task that follows the kernel's tables.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::Instant;

use super::interfaces;
use super::mirrored;
use crate::config::Config;
use crate::engine::Request;
use crate::netlink;
use crate::netlink::Changes;
use crate::netlink::Dump;
use crate::netlink::NeighbourKey;
use crate::netlink::Place;
use crate::netlink::Watch;

/// How long the mirror waits after a question that failed. Lower, and a kernel that is
/// short of memory is pressed by it; higher, and the workers send by old tables for longer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// After routes were read for so long, they are left alone for so many times that: a full
/// table takes seconds and changes all the time, and control has more to do. Links and
/// neighbours are followed meanwhile.
const ROUTES_REST: u32 = 4;

/// They are left alone no longer than this. Lower, and a box with few cycles to spare does
/// little but read a full table; higher, and calls follow a route that is withdrawn for longer.
const ROUTES_REST_MAX: Duration = Duration::from_secs(30);

/// What follows the kernel's tables.
#[derive(Debug)]
pub(super) struct Mirror {
    pub watch: Watch,
    pub handle: rtnetlink::Handle,
    pub config: Config,
    /// By interface.
    pub places: Vec<Place>,
    /// The tables, as they were last seen.
    pub dump: Dump,
    /// Tells the keeper of neighbours which of them are an administrator's.
    pub fixed: watch::Sender<HashSet<NeighbourKey>>,
}

impl Mirror {
    /// Tells the desk of every change in the kernel's tables, and before that the keeper of
    /// neighbours which of them are fixed.
    pub async fn run(mut self, desk: mpsc::Sender<Request>) {
        let mut left = Changes::default();
        let mut routes_due = Instant::now();
        // A start succeeded with them: another may need every one of those that the box had.
        let ours = interfaces::addresses(&self.config);
        let had: Vec<_> = ours.filter(|at| self.dump.addresses.contains(at)).collect();
        loop {
            tokio::select! {
                changes = self.watch.changed() => left = left.and(changes),
                () = tokio::time::sleep_until(routes_due), if left.routes => {}
            }
            let mut due = left;
            due.routes &= Instant::now() >= routes_due;
            left.routes &= !due.routes;
            (left.links, left.neighbours) = (false, false);
            if !due.any() {
                continue;
            }
            let took = look_again(&mut self.handle, &mut self.dump, due).await;
            if due.routes {
                routes_due = Instant::now() + rest(took);
            }
            self.fixed.send_replace(self.dump.fixed());
            let fit =
                interfaces::check(&self.config, &self.dump).is_ok() && are_usable(&had, &self.dump);
            let mirrored = mirrored(&self.dump, &self.places, fit);
            if desk.send(Request::Mirror(mirrored)).await.is_err() {
                return;
            }
        }
    }
}

/// True where the box has every one of `addresses`, and may use it. A device comes back
/// before its addresses do, and a start without them is refused.
fn are_usable(addresses: &[IpAddr], dump: &Dump) -> bool {
    // Those that another host has are not among the box's.
    let usable = |at: &IpAddr| dump.addresses.contains(at) && !dump.tentative.contains(at);
    addresses.iter().all(usable)
}

/// How long the routes are left alone after reading the tables took so long.
fn rest(took: Duration) -> Duration {
    (took * ROUTES_REST).min(ROUTES_REST_MAX)
}

/// Asks for the tables that have changed until the kernel tells them: no later change may
/// come that would be an occasion to ask again. Gives how long the answer took, without the
/// questions that failed.
async fn look_again(
    handle: &mut rtnetlink::Handle,
    dump: &mut Dump,
    mut changes: Changes,
) -> Duration {
    let mut is_behind = false;
    loop {
        let began = Instant::now();
        match dump.update(handle, changes).await {
            Ok(()) => {
                if is_behind {
                    tracing::info!("the mirror of the kernel's tables has caught up");
                }
                return began.elapsed();
            }
            Err(error) if !is_behind => {
                is_behind = true;
                tracing::error!(
                    "the mirror of the kernel's tables is behind: {error}. It asks again every second"
                );
            }
            Err(error) => tracing::debug!("the mirror is still behind: {error}"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        // Much may have changed meanwhile, and the connection may be broken.
        changes = Changes::ALL;
        if let Ok(fresh) = netlink::connect() {
            *handle = fresh;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_mirror_recovers_from_a_dead_connection_without_another_change() {
        let (connection, mut handle, _) = rtnetlink::new_connection().unwrap();
        drop(connection);
        let mut dump = Dump::default();
        let neighbours = Changes {
            neighbours: true,
            ..Changes::default()
        };
        let took = look_again(&mut handle, &mut dump, neighbours).await;
        assert!(dump.link("lo").is_some());
        assert!(took < LOOK_AGAIN, "the wait is no part of it: {took:?}");
    }

    #[test]
    fn routes_rest_in_proportion_and_not_for_ever() {
        let seconds = Duration::from_secs;
        assert_eq!(rest(seconds(2)), seconds(8));
        assert_eq!(rest(seconds(600)), ROUTES_REST_MAX);
    }

    #[test]
    fn a_device_that_is_back_is_fit_when_its_addresses_may_be_used() {
        let at: IpAddr = "10.77.2.1".parse().unwrap();
        let mut dump = Dump {
            addresses: vec![at],
            ..Dump::default()
        };
        let had = [at];
        assert!(are_usable(&had, &dump));
        dump.tentative = vec![at];
        assert!(!are_usable(&had, &dump), "the kernel still asks for it");
        dump.tentative.clear();
        dump.addresses.clear();
        assert!(!are_usable(&had, &dump), "it is not there yet");
        assert!(are_usable(&[], &dump));
    }

    #[tokio::test]
    async fn only_what_has_changed_is_asked_for() {
        let handle = netlink::connect().unwrap();
        let mut dump = Dump::default();
        let only = Changes {
            routes: true,
            ..Changes::default()
        };
        dump.update(&handle, only).await.unwrap();
        assert!(dump.links.is_empty());
        dump.update(&handle, Changes::ALL).await.unwrap();
        assert!(dump.link("lo").is_some());
    }
}
