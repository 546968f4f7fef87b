//! `/v1/domains`, `/v1/subscribers` and `/v1/auth`: who is known by a password. HA1s go in, and none
//! comes out.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::oneshot;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::Hash;
use trunkline_dataplane::sip::digest::ha1::Ha1s;

use super::Desk;
use super::refuse;
use super::stopping;
use super::types;
use crate::engine::Request;
use crate::subscribers::Directory;
use crate::subscribers::Entry;
use crate::subscribers::Page;
use crate::subscribers::Unavailable;
use crate::subscribers::Writable;
use crate::subscribers::name::Address;

/// Most subscribers of a list or of a change: as many as are written between two look-ups.
pub const BATCH: u32 = 1000;

/// The longest body of a change: a batch of subscribers with three HA1s each.
pub const BODY_LEN_MAX: usize = 1 << 20;

/// How long the store may take for a change; `trunkctl` waits for 10 s.
const PATIENCE: Duration = Duration::from_secs(8);

/// Which part of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    domain: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// `GET /v1/domains`
pub(super) async fn domains(State(desk): State<Desk>) -> Response {
    let Some(directory) = directory(&desk).await else {
        return stopping();
    };
    let domains = directory.domains.iter().map(|domain| types::Domain {
        name: domain.name.clone(),
        algorithms: names(domain.algorithms.iter().copied()),
    });
    Json(types::Domains {
        domains: domains.collect(),
        writable: writable(&directory).is_ok(),
    })
    .into_response()
}

/// `GET /v1/subscribers`
pub(super) async fn list(State(desk): State<Desk>, asked: Query<Asked>) -> Response {
    let Query(Asked {
        domain,
        after,
        limit,
    }) = asked;
    let domain = domain.map(|domain| domain.to_ascii_lowercase());
    let Some(directory) = directory(&desk).await else {
        return stopping();
    };
    let after = match after.as_deref().map(str::parse::<Address>).transpose() {
        Ok(after) => after,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let page = Page {
        domain: domain.clone(),
        after,
        limit: limit.unwrap_or(BATCH).clamp(1, BATCH),
    };
    let limit = page.limit as usize;
    let listed = match writable(&directory) {
        Ok(store) => in_time(store.list(page)).await,
        Err(refusal) => return refusal,
    };
    let entries = match listed {
        Ok(entries) => entries,
        Err(refusal) => return refusal,
    };
    // Those of a domain that is configured no more are listed for as long as there are some.
    if let Some(domain) = domain.filter(|_| entries.is_empty())
        && directory.domain(&domain).is_none()
    {
        return refuse(StatusCode::NOT_FOUND, directory.unknown(&domain));
    }
    let next = entries.last().filter(|_| entries.len() == limit);
    let next = next.map(|entry| entry.who.to_string());
    let subscribers = entries.into_iter().map(|Entry { who, ha1s }| {
        let there = |algorithm: &Algorithm| ha1s.get(*algorithm).is_some();
        types::Subscriber {
            user: who.user,
            domain: who.domain,
            algorithms: names(Algorithm::ALL.into_iter().filter(there)),
        }
    });
    Json(types::Subscribers {
        subscribers: subscribers.collect(),
        next,
    })
    .into_response()
}

/// `PUT /v1/subscribers`
pub(super) async fn put(
    State(desk): State<Desk>,
    wish: Option<Json<types::SubscribersWish>>,
) -> Response {
    let Some(Json(wish)) = wish else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "send {\"subscribers\": [{\"user\": .., \"domain\": .., \"ha1\": {\"SHA-256\": \"..\"}}]} as application/json".to_owned(),
        );
    };
    let Some(directory) = directory(&desk).await else {
        return stopping();
    };
    let store = match writable(&directory) {
        Ok(store) => store,
        Err(refusal) => return refusal,
    };
    if wish.subscribers.len() > BATCH as usize {
        let error = format!("{BATCH} subscribers can be written at once");
        return refuse(StatusCode::BAD_REQUEST, error);
    }
    let entries = wish.subscribers.into_iter();
    let entries: Vec<_> = match entries.map(|wish| entry(&directory, wish)).collect() {
        Ok(entries) => entries,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error),
    };
    let changed = entries.iter().filter_map(|e| directory.subscriber(&e.who));
    let changed: Vec<_> = changed.collect();
    let forgotten = changed.len() as u64;
    let written = in_time(store.put(entries)).await;
    // Also where it is not known whether they were written.
    if desk.send(Request::Forget(changed)).await.is_err() {
        return stopping();
    }
    match written {
        Ok(written) => Json(types::Changes {
            added: written.added,
            changed: written.changed,
            forgotten,
            ..types::Changes::default()
        })
        .into_response(),
        Err(refusal) => refusal,
    }
}

/// `DELETE /v1/subscribers/{address}`
pub(super) async fn remove(State(desk): State<Desk>, Path(address): Path<String>) -> Response {
    let Some(directory) = directory(&desk).await else {
        return stopping();
    };
    let who: Address = match address.parse() {
        Ok(who) => who,
        Err(error) => return refuse_address(&error),
    };
    let removed = match writable(&directory) {
        Ok(store) => in_time(store.remove(who.clone())).await,
        Err(refusal) => return refusal,
    };
    // One whose domain is no longer configured can be removed, and no worker knows it.
    let known: Vec<_> = directory.subscriber(&who).into_iter().collect();
    let forgotten = known.len() as u64;
    if desk.send(Request::Forget(known)).await.is_err() {
        return stopping();
    }
    match removed {
        Ok(true) => Json(types::Changes {
            removed: 1,
            forgotten,
            ..types::Changes::default()
        })
        .into_response(),
        Ok(false) => refuse(
            StatusCode::NOT_FOUND,
            format!("there is no subscriber {who}"),
        ),
        Err(refusal) => refusal,
    }
}

/// `DELETE /v1/auth/{address}`
pub(super) async fn forget(State(desk): State<Desk>, Path(address): Path<String>) -> Response {
    let Some(directory) = directory(&desk).await else {
        return stopping();
    };
    let who: Address = match address.parse() {
        Ok(who) => who,
        Err(error) => return refuse_address(&error),
    };
    let Some(known) = directory.subscriber(&who) else {
        return refuse(StatusCode::NOT_FOUND, directory.unknown(&who.domain));
    };
    if desk.send(Request::Forget(vec![known])).await.is_err() {
        return stopping();
    }
    Json(types::Changes {
        forgotten: 1,
        ..types::Changes::default()
    })
    .into_response()
}

/// `DELETE /v1/auth`
pub(super) async fn doubt(State(desk): State<Desk>) -> Response {
    match desk.send(Request::Doubt).await {
        Ok(()) => Json(types::Changes::default()).into_response(),
        Err(_) => stopping(),
    }
}

pub(super) async fn directory(desk: &Desk) -> Option<Arc<Directory>> {
    let (reply, answer) = oneshot::channel();
    desk.send(Request::Directory(reply)).await.ok()?;
    answer.await.ok()
}

#[allow(clippy::result_large_err, reason = "a response, as all here")]
fn writable(directory: &Directory) -> Result<&dyn Writable, Response> {
    let Some(store) = &directory.store else {
        let error = match directory.domains.is_empty() {
            true => {
                "no [[domain]] is configured: add one, with the name that its users' addresses have, and restart"
            }
            false => {
                "the registrar of every [[domain]] is elsewhere: its subscribers are kept there"
            }
        };
        return Err(refuse(StatusCode::CONFLICT, error.to_owned()));
    };
    store.writable().ok_or_else(|| {
        let error =
            "the configured [subscribers] store is not trunkctl's to read or write: use its own tools";
        refuse(StatusCode::CONFLICT, error.to_owned())
    })
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Response> {
    let error = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            "the subscribers' store gives no answer: look at the disk that it is on, and ask again"
                .to_owned()
        }
    };
    Err(refuse(StatusCode::SERVICE_UNAVAILABLE, error))
}

fn entry(directory: &Directory, wish: types::SubscriberWish) -> Result<Entry, String> {
    let types::SubscriberWish { user, domain, ha1 } = wish;
    let who = Address::new(&user, &domain).map_err(|error| error.to_string())?;
    let mut ha1s = Ha1s::default();
    for (name, digits) in &ha1 {
        let Some(algorithm) = Algorithm::of(name.as_bytes()) else {
            return Err(format!("{who}: no algorithm is called \"{name}\""));
        };
        let Some(ha1) = Hash::read(algorithm, digits.as_bytes()) else {
            let len = 2 * algorithm.hash_len();
            return Err(format!(
                "{who}: the HA1 for {name} is not {len} hexadecimal digits"
            ));
        };
        ha1s.set(algorithm, ha1.bytes());
    }
    directory.admit(&who, &ha1s)?;
    Ok(Entry { who, ha1s })
}

fn refuse_address(error: &dyn std::error::Error) -> Response {
    refuse(StatusCode::BAD_REQUEST, error.to_string())
}

fn names(algorithms: impl Iterator<Item = Algorithm>) -> Vec<String> {
    algorithms
        .map(|algorithm| algorithm.name().to_owned())
        .collect()
}
