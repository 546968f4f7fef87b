//! The TCP address where Prometheus finds `/metrics`, and probes `/healthz` and `/readyz`.
//!
//! Anyone who can reach the address can ask, so whoever asks is bounded: in connections,
//! in connections from one source, and in how long each may take. One that is over the
//! bound is closed unheard; no one else notices.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::engine::Request;

/// Most connections at once: two scrapers and a few probes need a handful.
const CONNECTIONS_MAX: usize = 64;

/// Most from one source, so that one that hangs does not keep the others out.
const CONNECTIONS_FROM_ONE_MAX: usize = 16;

/// How long a connection may wait with its request.
const REQUEST_PATIENCE: Duration = Duration::from_secs(2);

/// How long a connection may last in all. An answer takes a few milliseconds; Prometheus
/// itself gives up after ten seconds.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(10);

/// The longest head of a request, in bytes; the least that hyper takes.
const HEAD_LEN_MAX: usize = 8192;

/// Why the metrics are not to be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for scrapers on {address}: {error}. Change `address` in [metrics], or end who has it: ss -ltnp sport = :{}",
    address.port()
)]
pub struct MetricsError {
    address: SocketAddr,
    error: io::Error,
}

/// The listening socket.
#[derive(Debug)]
pub struct MetricsSocket {
    listener: StdListener,
    address: SocketAddr,
}

impl MetricsSocket {
    /// Takes `address`.
    ///
    /// # Errors
    /// It is not to be had.
    pub fn bind(address: SocketAddr) -> Result<MetricsSocket, MetricsError> {
        let bound = StdListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(MetricsSocket { listener, address })
        });
        bound.map_err(|error| MetricsError { address, error })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers scrapers and probes until dropped.
    pub async fn serve(self, desk: mpsc::Sender<Request>) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("metrics on {}: {error}", self.address);
                return;
            }
        };
        let router = router(desk.clone());
        let guests = Guests::default();
        loop {
            let (stream, source) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!("metrics on {}: {error}", self.address);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let place = guests.enter(source.ip());
            // Where the desk is behind, the count is what can be spared.
            let _ = desk.try_send(Request::Scraper {
                admitted: place.is_some(),
            });
            if let Some(place) = place {
                let router = router.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(CONNECTION_PATIENCE, answer(stream, router)).await;
                    drop(place);
                });
            }
        }
    }
}

/// What the address answers: nothing that changes anything, and nothing of any call.
fn router(desk: mpsc::Sender<Request>) -> Router {
    let paths = "there are /metrics, /healthz and /readyz\n";
    super::scrape::router(desk.clone())
        .merge(crate::api::probes(desk))
        .fallback(async move || (axum::http::StatusCode::NOT_FOUND, paths))
}

/// Answers one request.
async fn answer(stream: TcpStream, router: Router) {
    let service = hyper_util::service::TowerToHyperService::new(router);
    let served = hyper::server::conn::http1::Builder::new()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(REQUEST_PATIENCE)
        .max_buf_size(HEAD_LEN_MAX)
        .keep_alive(false)
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("metrics: {error}");
    }
}

/// Who is connected, by source.
#[derive(Clone, Debug, Default)]
struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A guest's place; it is free again when this is dropped.
#[derive(Debug)]
struct Place {
    guests: Guests,
    source: IpAddr,
}

impl Guests {
    /// A place for a connection from `source`, if there is one.
    fn enter(&self, source: IpAddr) -> Option<Place> {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if guests.values().sum::<usize>() >= CONNECTIONS_MAX {
            return None;
        }
        let own = guests.entry(source).or_default();
        if *own >= CONNECTIONS_FROM_ONE_MAX {
            return None;
        }
        *own += 1;
        Some(Place {
            guests: self.clone(),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = guests.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                guests.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_leaves_room_for_others_and_all_together_have_a_bound() {
        let guests = Guests::default();
        let source = |last| IpAddr::from([127, 0, 0, last]);
        let own: Vec<_> = (0..20).filter_map(|_| guests.enter(source(1))).collect();
        assert_eq!(own.len(), CONNECTIONS_FROM_ONE_MAX);
        let all: Vec<_> = (2..100)
            .filter_map(|last| guests.enter(source(last)))
            .collect();
        assert_eq!(own.len() + all.len(), CONNECTIONS_MAX);
        drop(own);
        assert!(guests.enter(source(1)).is_some());
        drop(all);
        assert!(guests.0.lock().unwrap().is_empty());
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let taken = MetricsSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = MetricsSocket::bind(taken.address())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("sport = :{}", taken.address().port())),
            "{error}"
        );
    }
}
