//! The operator's socket: HTTP and JSON over a Unix socket, for `trunkctl` and for
//! anyone's `curl`:
//!
//! ```text
//! curl --unix-socket /run/trunkline/control.sock http://localhost/v1/status
//! ```

mod bans;
pub mod capture;
mod dossier;
mod health;
mod log;
pub mod peer;
pub mod socket;
pub mod subscribers;
pub mod types;

use axum::Json;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONNECTION;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::delete;
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::engine::NoCall;
use crate::engine::Request;
use crate::subscribers::name::Address;
use crate::subscribers::name::AddressError;
pub(crate) use health::probes;
use types::Refusal;

/// The way to the desk.
type Desk = mpsc::Sender<Request>;

/// How many large answers are made at a time, each on a thread of its own. Lower, and one
/// who asks for a million routes holds up all who ask for calls; higher, and so many such
/// tables lie in memory at once, and take the cores from the workers.
const LARGE_MAX: usize = 2;

/// The turns of those who ask for a large answer.
static LARGE: Semaphore = Semaphore::const_new(LARGE_MAX);

/// The longest body of a request, in bytes: a wish is a line.
const BODY_LEN_MAX: usize = 16 << 10;

/// Every path that the socket answers.
pub fn router(desk: Desk) -> Router {
    Router::new()
        .route("/v1/version", get(version))
        .route("/v1/status", get(status))
        .route("/v1/stats", get(stats))
        .route("/v1/calls", get(calls))
        .route("/v1/calls/{id}", get(call))
        .route("/v1/flows", get(flows))
        .route("/v1/interfaces", get(interfaces))
        .route("/v1/workers", get(workers))
        .route("/v1/frames", get(frames))
        .route("/v1/trunks", get(trunks))
        .route("/v1/routes", get(routes))
        .route("/v1/routes/{address}", get(way))
        .route("/v1/neighbours", get(neighbours))
        .route("/v1/health", get(health))
        .route("/v1/log", get(log::show).put(log::set))
        .route("/v1/latency", get(latency))
        .route("/v1/talkers", get(talkers))
        .route("/v1/capture", get(capture::capture))
        .route("/v1/bans", get(bans::list))
        .route("/v1/bans/{address}", delete(bans::remove))
        .route("/v1/domains", get(subscribers::domains))
        .route(
            "/v1/subscribers",
            get(subscribers::list)
                .put(subscribers::put)
                .layer(DefaultBodyLimit::max(subscribers::BODY_LEN_MAX)),
        )
        .route(
            "/v1/subscribers/{address}",
            get(dossier::show).delete(subscribers::remove),
        )
        .route("/v1/denials", get(dossier::denials))
        .route("/v1/registrations", get(registrations))
        .route("/v1/registrations/{address}", get(registrations_of))
        .route("/v1/auth", delete(subscribers::doubt))
        .route("/v1/auth/{address}", delete(subscribers::forget))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(desk.clone())
        .merge(crate::metrics::scrape::router(desk.clone()))
        .merge(health::probes(desk))
}

/// The answer to a connection for which there is no room, whatever it asks.
fn full(connections_max: usize) -> Router {
    Router::new().fallback(async move || {
        let error = format!(
            "{connections_max} connections are open already: close some, or ask again later"
        );
        let mut refusal = refuse(StatusCode::SERVICE_UNAVAILABLE, error);
        let close = axum::http::HeaderValue::from_static("close");
        refusal.headers_mut().insert(CONNECTION, close);
        refusal
    })
}

async fn version() -> Response {
    let version = types::Version {
        name: "trunklined".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
    };
    Json(version).into_response()
}

async fn status(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Status).await
}

async fn stats(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Stats).await
}

/// Whose calls are asked for.
#[derive(Deserialize)]
struct CallsOf {
    subscriber: Option<String>,
}

async fn calls(State(desk): State<Desk>, of: Query<CallsOf>) -> Response {
    let of = of.0.subscriber;
    ask_large(&desk, |reply| Request::Calls(of, reply)).await
}

async fn flows(State(desk): State<Desk>) -> Response {
    ask_large(&desk, Request::Flows).await
}

async fn interfaces(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Interfaces).await
}

async fn workers(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Workers).await
}

async fn frames(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Frames).await
}

async fn trunks(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Trunks).await
}

async fn routes(State(desk): State<Desk>) -> Response {
    ask_large(&desk, Request::Routes).await
}

async fn neighbours(State(desk): State<Desk>) -> Response {
    ask_large(&desk, Request::Neighbours).await
}

async fn way(State(desk): State<Desk>, Path(address): Path<String>) -> Response {
    match address.parse() {
        Ok(address) => ask(&desk, |reply| Request::Way(address, reply)).await,
        Err(_) => refuse(
            StatusCode::BAD_REQUEST,
            format!("\"{address}\" is no address; ask for one as in /v1/routes/192.0.2.1"),
        ),
    }
}

async fn health(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Health).await
}

async fn registrations(State(desk): State<Desk>) -> Response {
    ask_large(&desk, |reply| Request::Registrations(None, reply)).await
}

async fn registrations_of(State(desk): State<Desk>, Path(address): Path<String>) -> Response {
    let Address { user, domain } = match address.parse() {
        Ok(address) => address,
        Err(error) => {
            let error: AddressError = error;
            return refuse(StatusCode::BAD_REQUEST, error.to_string());
        }
    };
    let of = Some((user, domain.clone()));
    let (reply, answer) = oneshot::channel();
    if desk.send(Request::Registrations(of, reply)).await.is_err() {
        return stopping();
    }
    match answer.await {
        Ok(Some(registrations)) => Json(registrations).into_response(),
        Ok(None) => match subscribers::directory(&desk).await {
            Some(directory) => refuse(StatusCode::NOT_FOUND, directory.unknown(&domain)),
            None => stopping(),
        },
        Err(_) => stopping(),
    }
}

async fn latency(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Latency).await
}

async fn talkers(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Talkers).await
}

async fn call(State(desk): State<Desk>, Path(id): Path<String>) -> Response {
    // The answer is small; it is looked for among all calls.
    let Ok(_turn) = LARGE.acquire().await else {
        return stopping();
    };
    let (reply, answer) = oneshot::channel();
    if desk.send(Request::Call(id.clone(), reply)).await.is_err() {
        return stopping();
    }
    match answer.await {
        Ok(Ok(call)) => Json(call).into_response(),
        Ok(Err(NoCall::Unknown)) => refuse(
            StatusCode::NOT_FOUND,
            format!("no call has the Call-ID {id}"),
        ),
        Ok(Err(NoCall::Incomplete)) => refuse(
            StatusCode::GATEWAY_TIMEOUT,
            format!("no call with the Call-ID {id} was found, and a worker did not answer in time"),
        ),
        Err(_) => stopping(),
    }
}

/// Puts a question to the desk and gives its answer as JSON.
async fn ask<T: serde::Serialize>(
    desk: &Desk,
    question: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Response {
    let (reply, answer) = oneshot::channel();
    if desk.send(question(reply)).await.is_err() {
        return stopping();
    }
    match answer.await {
        Ok(answer) => Json(answer).into_response(),
        Err(_) => stopping(),
    }
}

/// The same for an answer that may be large: it is turned into JSON apart from control's
/// thread, since a message must not wait for that.
async fn ask_large<T: serde::Serialize + Send + 'static>(
    desk: &Desk,
    question: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Response {
    let Ok(turn) = LARGE.acquire().await else {
        return stopping();
    };
    let (reply, answer) = oneshot::channel();
    if desk.send(question(reply)).await.is_err() {
        return stopping();
    }
    let Ok(answer) = answer.await else {
        return stopping();
    };
    let made = tokio::task::spawn_blocking(move || {
        let response = Json(answer).into_response();
        drop(turn);
        response
    });
    made.await.unwrap_or_else(|_| stopping())
}

async fn no_such_path() -> Response {
    let paths = "/v1/version, /v1/status, /v1/health, /v1/stats, /v1/interfaces, /v1/workers, /v1/frames, /v1/trunks, \
         /v1/routes, /v1/routes/{address}, /v1/neighbours, /v1/calls, /v1/calls/{id}, /v1/flows, /v1/latency, \
         /v1/talkers, /v1/capture, /v1/registrations, /v1/registrations/{address}, /v1/bans, /v1/bans/{address}, /v1/denials, /v1/domains, /v1/subscribers, /v1/subscribers/{address}, /v1/auth, /v1/auth/{address}, /v1/log, /metrics, /healthz, /readyz";
    let refusal = Refusal {
        error: format!("no such path; there are {paths}"),
        no_such_path: true,
    };
    (StatusCode::NOT_FOUND, Json(refusal)).into_response()
}

async fn no_such_method() -> Response {
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take that method".to_owned(),
    )
}

fn stopping() -> Response {
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        "trunklined is stopping".to_owned(),
    )
}

fn refuse(status: StatusCode, error: String) -> Response {
    (
        status,
        Json(Refusal {
            error,
            no_such_path: false,
        }),
    )
        .into_response()
}
