//! A server on the network, and what it does to those who ask while it is dead: as little as can be.
//!
//! ```text
//!                 no answer, or none in time                the ping fails
//!   trusted ────────────────────────────► suspected ─────────────────────────► dead
//!      ▲                                      │                                 │ pinged after 0.1 s,
//!      └──────────────────────────────────────┴─────────────────────────────────┘ doubling to 10 s
//!                        the ping is answered
//! ```
//!
//! While it is dead all who ask are told so at once; nobody waits for a server that others have waited for
//! already. The ping decides, not the question that failed: a user about whom the server cannot answer must
//! not take it away from all others.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::BoxFuture;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::subscriber::User;

use super::Store;
use super::Unavailable;
use crate::backoff::Backoff;
use crate::notice::Notice;

/// A server, and how it is spoken to. Either way an error says why there is no answer.
pub trait Server: fmt::Debug + Send + Sync + 'static {
    /// What the operator knows it by; never with a password.
    fn name(&self) -> &str;

    /// Looks a user up.
    fn ask<'s>(&'s self, domain: &'s str, user: &'s str) -> BoxFuture<'s, Result<Known, String>>;

    /// Finds out whether it answers anything at all, by a new connection: those that there are may be dead.
    fn ping(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Whom a check asks for.
pub(super) const NOBODY: &str = "nobody";

/// A server as a store.
#[derive(Debug)]
pub struct Guarded<S> {
    inner: Arc<Inner<S>>,
}

#[derive(Debug)]
struct Inner<S> {
    server: S,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A task pings it.
    is_suspected: bool,
    /// Why it is dead.
    dead: Option<String>,
    notice: Notice,
}

impl<S: Server> Guarded<S> {
    /// Gives `server` no longer than `patience` for an answer.
    pub fn new(server: S, patience: Duration) -> Guarded<S> {
        let inner = Inner {
            server,
            patience,
            state: Mutex::default(),
        };
        Guarded {
            inner: Arc::new(inner),
        }
    }

    async fn look_up(&self, domain: &str, user: &str) -> Result<Known, String> {
        if let Some(reason) = &self.inner.state().dead {
            return Err(reason.clone());
        }
        let asked = within(self.inner.patience, self.inner.server.ask(domain, user)).await;
        if asked.is_err() {
            self.suspect();
        }
        asked
    }

    fn suspect(&self) {
        let mut state = self.inner.state();
        if !state.is_suspected {
            state.is_suspected = true;
            tokio::spawn(ping_until_answered(Arc::downgrade(&self.inner)));
        }
    }
}

impl<S: Server> Store for Guarded<S> {
    fn find<'s>(
        &'s self,
        domain: &'s str,
        user: &'s [u8],
    ) -> BoxFuture<'s, Result<Known, Unavailable>> {
        Box::pin(async move {
            let Some(user) = name(user) else {
                return Ok(Known::Nobody);
            };
            let looked_up = self.look_up(domain, user).await;
            looked_up.map_err(|reason| self.inner.unavailable(reason))
        })
    }

    /// It is asked as by a user, since a ping finds no table that is lacking; and whatever it answers, those who
    /// ask find out for themselves whether it is dead.
    fn check<'s>(&'s self, domain: &'s str) -> BoxFuture<'s, Vec<Unavailable>> {
        Box::pin(async move {
            let asked = self.inner.server.ask(domain, NOBODY);
            let asked = within(self.inner.patience, asked).await;
            let wrong = asked.map_err(|reason| self.inner.unavailable(reason));
            wrong.err().into_iter().collect()
        })
    }
}

impl<S: Server> Inner<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unavailable(&self, reason: String) -> Unavailable {
        Unavailable {
            store: self.server.name().to_owned(),
            reason,
        }
    }

    /// Whether the server answers; who asks it from now on knows.
    async fn is_alive(&self) -> bool {
        let answer = within(self.patience, self.server.ping()).await;
        let name = self.server.name();
        let mut state = self.state();
        let was_alive = state.dead.is_none();
        match &answer {
            Err(reason) => match state.notice.dead(was_alive, Instant::now()) {
                None => {}
                Some(0 | 1) => tracing::warn!(
                    "{name} gives no answer: {reason}. Its users are told to try later"
                ),
                Some(deaths) => tracing::warn!(
                    "{name} comes and goes, {deaths} times since this was last said: {reason}. Its users are told to try later"
                ),
            },
            Ok(()) if !was_alive && state.notice.back() => {
                tracing::info!("{name} answers again");
            }
            Ok(()) => {}
        }
        state.dead = answer.err();
        state.dead.is_none()
    }
}

async fn ping_until_answered<S: Server>(server: Weak<Inner<S>>) {
    let mut backoff = Backoff::default();
    loop {
        let Some(inner) = server.upgrade() else {
            return;
        };
        if inner.is_alive().await {
            break;
        }
        // Not held on to meanwhile, so that it ends with its store.
        drop(inner);
        tokio::time::sleep(backoff.wait()).await;
    }
    // A server that fails one question after the other and answers every ping is pinged ten times a second.
    tokio::time::sleep(Backoff::default().wait()).await;
    if let Some(inner) = server.upgrade() {
        inner.state().is_suspected = false;
    }
}

/// The name of a user as the servers take it. What has another name than that is nobody, in any of them.
fn name(user: &[u8]) -> Option<&str> {
    User::new(user)?;
    let name = std::str::from_utf8(user).ok()?;
    (!name.contains(char::is_control)).then_some(name)
}

/// What `answer` gives, if it does so within `patience`.
pub(super) async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let answer = tokio::time::timeout(patience, answer).await;
    answer.unwrap_or_else(|_| Err(format!("nothing within {} ms", patience.as_millis())))
}

/// Why something failed, with all that stands behind it.
#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn reason(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        let more = behind.to_string();
        // Some repeat what stands behind them.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = behind.source();
    }
    text
}

#[cfg(test)]
mod tests;
