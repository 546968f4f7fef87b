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
    // Looked at before it is lifted: whoever is told that it is done has done it.
    let (reply, answer) = oneshot::channel();
    if desk.send(Request::Bans(reply)).await.is_err() {
        return stopping();
    }
    let Ok(bans) = answer.await else {
        return stopping();
    };
    let of = Source::of(address);
    let source = types::Ban::name_of(of);
    if !bans.bans.iter().any(|ban| ban.source == source) {
        return refuse(StatusCode::NOT_FOUND, format!("{address} is not banned"));
    }
    match desk.send(Request::Pardon(of)).await {
        Ok(()) => Json(types::Pardoned { source }).into_response(),
        Err(_) => stopping(),
    }
}
