//! `/v1/log`: what is logged, and what is to be.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::response::Response;

use super::refuse;
use super::types;
use crate::log;
use crate::log::LogError;

/// `GET /v1/log`
pub(super) async fn show() -> Response {
    answer(log::filter())
}

/// `PUT /v1/log`
pub(super) async fn set(wish: Option<Json<types::LogWish>>) -> Response {
    match wish {
        Some(Json(wish)) => answer(log::set(&wish.filter)),
        None => refuse(
            StatusCode::BAD_REQUEST,
            "send {\"filter\": \"info\"} as application/json".to_owned(),
        ),
    }
}

fn answer(said: Result<types::Log, LogError>) -> Response {
    match said {
        Ok(log) => Json(log).into_response(),
        Err(error @ LogError::Nonsense { .. }) => {
            refuse(StatusCode::BAD_REQUEST, error.to_string())
        }
        Err(error @ LogError::None) => refuse(StatusCode::NOT_FOUND, error.to_string()),
    }
}
