//! `GET /v1/subscribers/{address}` and `/v1/denials`: what the box knows of one subscriber, and who was
//! denied what.

use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::response::Response;
use tokio::sync::oneshot;
use trunkline_dataplane::settings::Domain;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::guard::Source;

use super::Desk;
use super::ask;
use super::refuse;
use super::stopping;
use super::subscribers::directory;
use super::types;
use crate::engine::Request;
use crate::subscribers::Store;
use crate::subscribers::lacking;
use crate::subscribers::name::Address;

/// How long the store may take. Who asks wants to know whether it answers, and most of the rest is known
/// without it.
const PATIENCE: Duration = Duration::from_secs(3);

/// `GET /v1/denials`
pub(super) async fn denials(State(desk): State<Desk>) -> Response {
    ask(&desk, Request::Denials).await
}

/// `GET /v1/subscribers/{address}`
pub(super) async fn show(State(desk): State<Desk>, Path(address): Path<String>) -> Response {
    let who: Address = match address.parse() {
        Ok(who) => who,
        Err(error) => {
            let error: crate::subscribers::name::AddressError = error;
            return refuse(StatusCode::BAD_REQUEST, error.to_string());
        }
    };
    let Some(directory) = directory(&desk).await else {
        return stopping();
    };
    let (Some(domain), Some(subscriber)) =
        (directory.domain(&who.domain), directory.subscriber(&who))
    else {
        return refuse(StatusCode::NOT_FOUND, directory.unknown(&who.domain));
    };
    let of = Some((who.user.clone(), who.domain.clone()));
    let asked = directory
        .store
        .as_deref()
        .filter(|_| domain.upstream.is_none());
    let (stored, said, registrations, bans) = tokio::join!(
        stored(asked, domain, &who),
        told(&desk, |reply| Request::Dossier(subscriber, reply)),
        told(&desk, |reply| Request::Registrations(of, reply)),
        told(&desk, Request::Bans),
    );
    let (Some(said), Some(registrations), Some(bans)) = (said, registrations, bans) else {
        return stopping();
    };
    // None where nobody's contacts are kept.
    let (registrations, is_whole) = registrations.map_or_else(
        || (Vec::new(), true),
        |all| (all.registrations, all.complete),
    );
    let contacts = registrations.iter().map(|contact| contact.received);
    let sources = contacts.chain(said.denial.as_ref().map(|denial| denial.source));
    let sources: Vec<_> = sources.map(|source| name_of(source.ip())).collect();
    let complete = said.complete && is_whole && bans.complete;
    Json(types::Dossier {
        stored,
        workers: said.workers,
        calls: said.calls,
        calls_max: domain.calls,
        denial: said.denial,
        registrations,
        bans: bans
            .bans
            .into_iter()
            .filter(|ban| sources.contains(&ban.source))
            .collect(),
        complete,
        user: who.user,
        domain: who.domain,
    })
    .into_response()
}

/// As a ban calls an address.
fn name_of(address: IpAddr) -> String {
    types::Ban::name_of(Source::of(address))
}

/// What the desk says; `None` where it is stopping.
async fn told<T>(desk: &Desk, question: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    desk.send(question(reply)).await.ok()?;
    answer.await.ok()
}

/// Asks the store, where there is one to ask.
async fn stored(
    store: Option<&dyn Store>,
    domain: &Domain,
    who: &Address,
) -> Option<types::Stored> {
    let began = Instant::now();
    let found = store?.find(&domain.name, who.user.as_bytes());
    let found = tokio::time::timeout(PATIENCE, found).await;
    let mut stored = types::Stored {
        answer: "no answer".to_owned(),
        algorithms: Vec::new(),
        lacking: Vec::new(),
        error: None,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    match found {
        Ok(Ok(Known::Subscriber(ha1s))) => {
            let there = |algorithm: &Algorithm| ha1s.get(*algorithm).is_some();
            let names = |all: Vec<Algorithm>| all.iter().map(|one| one.name().to_owned()).collect();
            stored.answer = "known".to_owned();
            stored.algorithms = names(Algorithm::ALL.into_iter().filter(there).collect());
            stored.lacking = names(lacking(domain, &ha1s).collect());
        }
        Ok(Ok(Known::Nobody)) => stored.answer = "unknown".to_owned(),
        Ok(Err(error)) => stored.error = Some(error.to_string()),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            stored.error = Some(format!(
                "the subscribers' store said nothing within {seconds} s"
            ));
        }
    }
    Some(stored)
}
