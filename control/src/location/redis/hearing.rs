//! Whether the servers tell what other boxes write: the log is told when they stop and when they do again,
//! and `trunkctl status` as long as they do not.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use crate::notice::Notice;

/// That.
#[derive(Debug, Default)]
pub(super) struct Hearing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    silent: Option<String>,
    notice: Notice,
}

impl Hearing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is heard of `server`, for this reason.
    pub fn lost(&self, server: &str, reason: String) {
        let mut state = self.state();
        let was_heard = state.silent.is_none();
        if state.notice.dead(was_heard, Instant::now()).is_some() {
            tracing::warn!(
                "{server} does not tell where users are: {reason}. Calls to users whom this box does not know are refused until it does"
            );
        }
        state.silent = Some(reason);
    }

    /// It is heard.
    pub fn found(&self, server: &str) {
        let mut state = self.state();
        if state.silent.take().is_some() && state.notice.back() {
            tracing::info!("{server} tells where users are again");
        }
    }

    /// Why nothing is heard.
    pub fn silent(&self) -> Option<String> {
        self.state().silent.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_is_heard_is_told_until_something_is() {
        let hearing = Hearing::default();
        assert_eq!(hearing.silent(), None);
        for reason in ["refused", "wrong password"] {
            hearing.lost("redis", reason.to_owned());
            assert_eq!(hearing.silent().as_deref(), Some(reason));
        }
        hearing.found("redis");
        assert_eq!(hearing.silent(), None);
    }
}
