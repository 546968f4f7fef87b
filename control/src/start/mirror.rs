//! The task that follows the kernel's tables.

use std::collections::HashSet;
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
            let began = Instant::now();
            look_again(&mut self.handle, &mut self.dump, due).await;
            if due.routes {
                routes_due = Instant::now() + began.elapsed() * ROUTES_REST;
            }
            self.fixed.send_replace(self.dump.fixed());
            let fit = interfaces::check(&self.config, &self.dump).is_ok();
            let mirrored = mirrored(&self.dump, &self.places, fit);
            if desk.send(Request::Mirror(mirrored)).await.is_err() {
                return;
            }
        }
    }
}

/// Asks for the tables that have changed until the kernel tells them: no later change may
/// come that would be an occasion to ask again.
async fn look_again(handle: &mut rtnetlink::Handle, dump: &mut Dump, mut changes: Changes) {
    let mut is_behind = false;
    loop {
        match dump.update(handle, changes).await {
            Ok(()) => {
                if is_behind {
                    tracing::info!("the mirror of the kernel's tables has caught up");
                }
                return;
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
        look_again(&mut handle, &mut dump, neighbours).await;
        assert!(dump.link("lo").is_some());
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
