//! `/healthz` and `/readyz`: for whoever restarts the daemon, and for whoever sends it
//! traffic. Both answer in a line of text, 200 or 503; `/v1/health` says the same in JSON.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::response::Response;
use axum::routing::get;
use tokio::sync::oneshot;

use super::Desk;
use super::types::Health;
use crate::engine::Request;

/// The paths for probes.
pub(crate) fn probes(desk: Desk) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(desk)
}

async fn healthz(State(desk): State<Desk>) -> Response {
    let health = ask(&desk).await;
    // A daemon that is stopping is alive: it must not be killed for that.
    said(health.as_ref().is_none_or(|health| health.healthy), health)
}

async fn readyz(State(desk): State<Desk>) -> Response {
    let health = ask(&desk).await;
    said(health.as_ref().is_some_and(|health| health.ready), health)
}

async fn ask(desk: &Desk) -> Option<Health> {
    let (reply, answer) = oneshot::channel();
    desk.send(Request::Health(reply)).await.ok()?;
    answer.await.ok()
}

fn said(good: bool, health: Option<Health>) -> Response {
    if good {
        return "ok\n".into_response();
    }
    let reasons = health.map_or_else(
        || vec!["trunklined is stopping".to_owned()],
        |health| health.reasons,
    );
    let text = reasons.join("\n") + "\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
