//! `/metrics`: what the engine knows at one moment, as Prometheus reads it.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::ACCEPT;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use axum::response::Response;
use axum::routing::get;
use tokio::sync::Mutex;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use trunkline_dataplane::counters::TABLE;
use trunkline_dataplane::counters::trunks;

use super::names;
use super::names::named;
use super::text::Families;
use super::text::Format;
use crate::api::types;
use crate::engine::Request;

/// How old the figures of an answer may be. Whoever scrapes more often gets the same
/// figures: each look at the workers' sockets costs them a system call.
const AGE_MAX: Duration = Duration::from_millis(500);

/// All that is exposed, of one moment.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// As `GET /v1/status`.
    pub status: types::Status,
    /// As `GET /v1/stats`.
    pub stats: types::Stats,
    /// As `GET /v1/trunks`.
    pub trunks: types::Trunks,
    /// As `GET /v1/health`.
    pub health: types::Health,
}

/// A look at the desk, and when it was.
type Look = (Instant, Arc<Scrape>);

/// The way to the desk, and the last look at it.
#[derive(Clone, Debug)]
struct Scrapes {
    desk: mpsc::Sender<Request>,
    last: Arc<Mutex<Option<Look>>>,
}

/// `/metrics`.
pub fn router(desk: mpsc::Sender<Request>) -> Router {
    let scrapes = Scrapes {
        desk,
        last: Arc::default(),
    };
    Router::new()
        .route("/metrics", get(metrics))
        .with_state(scrapes)
}

async fn metrics(State(scrapes): State<Scrapes>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::wanted(accept);
    let Some(scrape) = scrapes.look().await else {
        let text = "trunklined is stopping\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    match families(&scrape).write(format) {
        Ok(text) => ([(CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

impl Scrapes {
    /// The figures, asked for by one at a time; none where the daemon is stopping.
    async fn look(&self) -> Option<Arc<Scrape>> {
        let mut last = self.last.lock().await;
        if let Some((at, scrape)) = &*last
            && at.elapsed() < AGE_MAX
        {
            return Some(Arc::clone(scrape));
        }
        let (reply, answer) = oneshot::channel();
        self.desk.send(Request::Scrape(reply)).await.ok()?;
        let scrape = Arc::new(*answer.await.ok()?);
        *last = Some((Instant::now(), Arc::clone(&scrape)));
        Some(scrape)
    }
}

/// Every metric there is.
fn families(scrape: &Scrape) -> Families {
    let mut families = Families::default();
    daemon(scrape, &mut families);
    interfaces(scrape, &mut families);
    workers(scrape, &mut families);
    for trunk in &scrape.trunks.trunks {
        let rows = trunks::TABLE.iter();
        for row in rows.filter(|row| trunk.is_domain || !row.is_of_domain) {
            let labels = [(names::whose(row), trunk.name.as_str())];
            families.add(&names::of_trunk(row), &labels, trunk.count(row.name));
        }
    }
    for row in scrape.stats.operator.rows() {
        families.add(&names::of_control(row.name, row.help), &[], row.count);
    }
    stores(scrape, &mut families);
    for sum in &scrape.stats.sums {
        let metric = named(
            "sum_difference",
            true,
            "How far the two sides of a sum are apart: 0 at rest, and more only while frames are under way.",
        );
        families.add_part(&metric, &[("sum", &sum.name)], sum.difference as f64);
    }
    families
}

/// What waits for the stores now.
fn stores(scrape: &Scrape, families: &mut Families) {
    if let Some(store) = &scrape.status.subscribers {
        let waiting = named(
            "subscribers_waiting",
            true,
            "Subscribers who are being looked up in their store.",
        );
        families.add(&waiting, &[], store.waiting);
        let unwell = named(
            "subscribers_unwell",
            true,
            "Servers of the subscribers' store that have given no good answer since the start.",
        );
        let never = store.troubles.iter().filter(|trouble| trouble.never);
        families.add(&unwell, &[], never.count() as u64);
    }
    if let Some(store) = &scrape.status.location {
        let waiting = named(
            "location_waiting",
            true,
            "Changes of contacts that are yet to be written to the location store.",
        );
        families.add(&waiting, &[], store.waiting);
        let silent = named(
            "location_gone",
            true,
            "1 while the location store takes no changes, or does not tell what it has.",
        );
        let is_gone = store.gone.is_some() || store.silent.is_some();
        families.add(&silent, &[], is_gone.into());
    }
}

fn daemon(scrape: &Scrape, families: &mut Families) {
    let status = &scrape.status;
    let info = named("build_info", true, "The daemon's version; always 1.");
    families.add(&info, &[("version", &status.version)], 1);
    let uptime = named("uptime_seconds", true, "Seconds since the daemon's start.");
    families.add(&uptime, &[], status.uptime_s);
    let healthy = named(
        "healthy",
        true,
        "1 while every worker turns, as /healthz says.",
    );
    families.add(&healthy, &[], scrape.health.healthy.into());
    let ready = named(
        "ready",
        true,
        "1 while traffic may be sent here, as /readyz says.",
    );
    families.add(&ready, &[], scrape.health.ready.into());
    let complete = named(
        "complete",
        true,
        "0 while figures are missing, since a worker or an XDP program does not answer.",
    );
    families.add(&complete, &[], status.complete.into());
    let warnings = named("warnings", true, "Warnings that `trunkctl status` shows.");
    families.add(&warnings, &[], status.warnings.len() as u64);
}

fn interfaces(scrape: &Scrape, families: &mut Families) {
    for interface in &scrape.status.interfaces {
        let own = ("interface", interface.name.as_str());
        let info = named(
            "interface_info",
            true,
            "How an interface is driven; always 1.",
        );
        let labels = [
            own,
            ("device", &interface.device),
            ("mode", &interface.mode),
            ("frames", &interface.frames),
        ];
        families.add(&info, &labels, 1);
        let up = named(
            "interface_up",
            true,
            "1 while the interface is up and has a carrier.",
        );
        families.add(&up, &[own], u64::from(interface.link == "up"));
        let mtu = named(
            "interface_mtu_bytes",
            true,
            "The longest IP packet that the interface takes.",
        );
        families.add(&mtu, &[own], interface.mtu.into());
    }
    for xdp in &scrape.stats.xdp {
        let own = ("interface", xdp.interface.as_str());
        let seen = named(
            "xdp_seen_frames",
            false,
            "Frames that the XDP program of an interface saw.",
        );
        families.add(&seen, &[own], xdp.seen);
        for row in trunkline_bpf::TABLE {
            let found = xdp.verdicts.iter().find(|verdict| verdict.name == row.name);
            if let Some(verdict) = found {
                let labels = [own, ("action", verdict.action.as_str())];
                families.add(&names::of_verdict(row.name), &labels, verdict.count);
            }
        }
    }
    for socket in &scrape.stats.sockets {
        let (queue, worker) = (socket.queue.to_string(), socket.worker.to_string());
        let labels = [
            ("interface", socket.interface.as_str()),
            ("queue", &queue),
            ("worker", &worker),
        ];
        for (name, count, help) in socket.rows() {
            families.add(&names::of_socket(name, help), &labels, count);
        }
    }
}

fn workers(scrape: &Scrape, families: &mut Families) {
    for worker in &scrape.status.workers {
        let id = worker.id.to_string();
        let core = worker
            .core
            .map_or_else(String::new, |core| core.to_string());
        let info = named("worker_info", true, "How a worker runs; always 1.");
        let labels = [
            ("worker", id.as_str()),
            ("core", &core),
            ("poll", &worker.poll),
            ("memory", &worker.memory),
        ];
        families.add(&info, &labels, 1);
    }
    // Both are in the order of the table.
    for (row, counts) in TABLE.iter().zip(&scrape.stats.counters) {
        let metric = names::of_counter(row);
        for (worker, &count) in counts.workers.iter().enumerate() {
            let worker = worker.to_string();
            families.add(&metric, &[("worker", &worker)], count);
        }
    }
}
