//! Subscribers behind an HTTP endpoint: `GET` of a URL that names the user, answered with
//! `{"md5": "…", "sha-256": "…", "sha-512-256": "…"}`, as many of these as there are, or with 404 where there
//! is no such user. Any other answer is none.
//!
//! HTTP without TLS: whoever can read along can log in as anyone. So only private and loopback addresses are
//! spoken to; what is further away belongs behind a proxy beside trunklined that speaks TLS.

mod connections;

use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::StatusCode;
use serde::Deserialize;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::ha1::Ha1s;

use self::connections::Connections;
use super::guarded::Guarded;
use super::guarded::NOBODY;
use super::guarded::Server;
use super::ha1s;
use super::pattern::Pattern;
use super::sharded::Sharded;
use crate::percent::encode;

/// The store: one endpoint, or several, each with its share of the users ([`super::sharded`]).
pub type Store = Sharded<Guarded<Endpoint>>;

/// How the endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The most connections, and so the most questions at once; others wait.
    pub connections: usize,
    /// The longest wait for an answer, that for a connection included.
    pub patience: Duration,
}

/// The store at these URLs (`http://host:port/path/{domain}/{user}`).
///
/// # Errors
/// What is wrong with which.
pub fn open(urls: &[String], options: &Options) -> Result<Store, String> {
    let endpoints = urls.iter().map(|url| {
        let endpoint = Endpoint::new(url, options.connections)?;
        Ok(Guarded::new(endpoint, options.patience))
    });
    Sharded::new(endpoints.collect::<Result<_, String>>()?)
}

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {
    name: String,
    path: Pattern,
    connections: Connections,
}

/// What it says of a user.
#[derive(Deserialize)]
struct Answer {
    md5: Option<String>,
    #[serde(rename = "sha-256")]
    sha256: Option<String>,
    #[serde(rename = "sha-512-256")]
    sha512t256: Option<String>,
}

/// A domain that there is nowhere (RFC 2606 §2), to be asked for by a ping.
const NOWHERE: &str = "nowhere.invalid";

impl Endpoint {
    fn new(url: &str, connections: usize) -> Result<Endpoint, String> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(
                "the URL does not begin with http://. TLS is not spoken here: let a proxy beside trunklined speak it"
                    .to_owned(),
            );
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = Pattern::new(path)?;
        let filled = path.fill(NOWHERE, NOBODY, encode);
        if !filled.starts_with('/') || filled.parse::<hyper::Uri>().is_err() {
            return Err("what follows the host is no path of a URL".to_owned());
        }
        Ok(Endpoint {
            name: format!("HTTP at {authority}"),
            path,
            connections: Connections::new(authority, connections)?,
        })
    }

    async fn look_up(&self, domain: &str, user: &str) -> Result<Known, String> {
        // These would be another path, encoded or not (RFC 3986 §6.2.2.3).
        if matches!(user, "." | "..") {
            return Ok(Known::Nobody);
        }
        let path = self.path.fill(domain, user, encode);
        let (status, body) = self.connections.get(&path).await?;
        match status {
            StatusCode::OK => Ok(Known::Subscriber(read(&body?)?)),
            StatusCode::NOT_FOUND => Ok(Known::Nobody),
            other => Err(format!("it answers {other}")),
        }
    }
}

fn read(body: &[u8]) -> Result<Ha1s, String> {
    // The library's own words would repeat a part of it, which may be an HA1.
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        let column = error.column();
        format!("it answers something else than HA1s in JSON, from byte {column} on")
    })?;
    let mut ha1s = Ha1s::default();
    let digits = [answer.md5, answer.sha256, answer.sha512t256];
    for (algorithm, digits) in Algorithm::ALL.into_iter().zip(digits) {
        ha1s::set(&mut ha1s, algorithm, digits.unwrap_or_default().as_bytes())?;
    }
    Ok(ha1s)
}

impl Server for Endpoint {
    fn name(&self) -> &str {
        &self.name
    }

    fn ask<'s>(&'s self, domain: &'s str, user: &'s str) -> BoxFuture<'s, Result<Known, String>> {
        Box::pin(self.look_up(domain, user))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let path = self.path.fill(NOWHERE, NOBODY, encode);
            // Whatever it answers, it answers.
            self.connections.get_anew(&path).await.map(drop)
        })
    }
}

#[cfg(test)]
mod tests;
