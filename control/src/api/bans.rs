//! Bans over the operator's socket.

use std::net::IpAddr;

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::response::Response;
use tokio::sync::oneshot;
use trunkline_dataplane::sip::guard::Source;

use super::Desk;
use super::ask;
use super::refuse;
use super::stopping;
use super::types;
use crate::engine::Request;

/// `GET /v1/bans`
pub(super) async fn list(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Bans).await
}

/// `DELETE /v1/bans/{address}`
pub(super) async fn remove(State(desk): State<Desk>, Path(address): Path<String>) -> Response {
    let Ok(address) = address.parse::<IpAddr>() else {
        let error = format!("\"{address}\" is no IPv4 or IPv6 address");
        return refuse(StatusCode::BAD_REQUEST, error);
    };
    let (reply, answer) = oneshot::channel();
    let request = Request::Pardon(Source::of(address), reply);
    if desk.send(request).await.is_err() {
        return stopping();
    }
    match answer.await {
        Ok(true) => Json(types::Pardoned {
            source: address.to_string(),
        })
        .into_response(),
        Ok(false) => refuse(StatusCode::NOT_FOUND, format!("{address} is not banned")),
        Err(_) => stopping(),
    }
}
