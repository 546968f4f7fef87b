//! What the stores tell unasked: that what was believed of a subscriber may be wrong from now on.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::backoff::Backoff;
use crate::notice::Notice;

/// How long a source is silent before it is asked whether it is still there.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// A source that lasted so long was not one that fails at once: the next failure begins a new count.
const LASTED: Duration = Duration::from_secs(60);

/// What workers are to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forget {
    /// One subscriber.
    One {
        /// Its domain, in lower case.
        domain: String,
        /// Its user.
        user: String,
    },
    /// Everything: nobody knows what was missed.
    All,
}

impl Forget {
    /// Reads what a source told: `user@domain`, where the user may have an `@` of its own; or `*` for all.
    #[must_use]
    pub fn read(told: &str) -> Option<Forget> {
        if told == "*" {
            return Some(Forget::All);
        }
        let (user, domain) = told.rsplit_once('@')?;
        if user.is_empty() || domain.is_empty() {
            return None;
        }
        Some(Forget::One {
            domain: domain.to_ascii_lowercase(),
            user: user.to_owned(),
        })
    }
}

/// Where notifications come from.
pub(super) trait Source: fmt::Debug + Send + Sync {
    /// What the operator knows it by; never with a password.
    fn name(&self) -> &str;

    /// Connects, subscribes, and tells `out` all it hears for as long as it hears anything; why it does not
    /// any more, it gives. It tells [`Forget::All`] as soon as it has subscribed.
    fn listen<'s>(
        &'s self,
        out: &'s mpsc::Sender<Forget>,
    ) -> BoxFuture<'s, Result<Infallible, String>>;
}

/// Listens to `source` until nobody listens to `out` any more.
pub(super) async fn follow(source: &dyn Source, out: &mpsc::Sender<Forget>) {
    let (mut backoff, mut notice) = (Backoff::default(), Notice::default());
    while !out.is_closed() {
        let began = Instant::now();
        let Err(reason) = source.listen(out).await;
        if began.elapsed() >= LASTED {
            backoff = Backoff::default();
            notice.back();
        }
        if out.is_closed() {
            return;
        }
        if notice.dead(true, Instant::now()).is_some() {
            tracing::warn!(
                "{} tells no changes of subscribers: {reason}. What is known of them is believed for its \
                 lifetime until it does",
                source.name()
            );
        }
        tokio::time::sleep(backoff.wait()).await;
    }
}

/// Hands on what a source told.
///
/// # Errors
/// Nobody listens any more.
pub(super) async fn tell(
    source: &dyn Source,
    told: &str,
    out: &mpsc::Sender<Forget>,
) -> Result<(), String> {
    match Forget::read(told) {
        Some(forget) => send(forget, out).await,
        None => {
            let name = source.name();
            tracing::warn!("{name} tells {told:?}, which is neither user@domain nor *");
            Ok(())
        }
    }
}

/// Tells `out` what to forget.
///
/// # Errors
/// Nobody listens any more.
pub(super) async fn send(forget: Forget, out: &mpsc::Sender<Forget>) -> Result<(), String> {
    let sent = out.send(forget).await;
    sent.map_err(|_| "nobody listens".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_user_and_a_domain_are_read() {
        let one = |user: &str, domain: &str| {
            Some(Forget::One {
                domain: domain.to_owned(),
                user: user.to_owned(),
            })
        };
        assert_eq!(Forget::read("bob@Example.COM"), one("bob", "example.com"));
        assert_eq!(Forget::read("a@b@example.com"), one("a@b", "example.com"));
        assert_eq!(Forget::read("Bob@[::1]"), one("Bob", "[::1]"));
        assert_eq!(Forget::read("*"), Some(Forget::All));
        for told in ["", "bob", "@example.com", "bob@", "@"] {
            assert_eq!(Forget::read(told), None, "{told}");
        }
    }

    /// Tells one thing, then is gone.
    #[derive(Debug, Default)]
    struct Fickle(Mutex<Vec<Instant>>);

    impl Source for Fickle {
        fn name(&self) -> &str {
            "fickle"
        }

        fn listen<'s>(
            &'s self,
            out: &'s mpsc::Sender<Forget>,
        ) -> BoxFuture<'s, Result<Infallible, String>> {
            Box::pin(async {
                self.0.lock().unwrap().push(Instant::now());
                send(Forget::All, out).await?;
                tell(self, "nonsense", out).await?;
                tell(self, "bob@a.example", out).await?;
                Err("it is fickle".to_owned())
            })
        }
    }

    #[tokio::test]
    async fn a_source_that_goes_is_listened_to_again_after_a_wait_and_all_is_forgotten() {
        let (out, mut heard) = mpsc::channel(8);
        let source = Fickle::default();
        let listen = async {
            for _ in 0..3 {
                assert_eq!(heard.recv().await, Some(Forget::All));
                assert!(matches!(heard.recv().await, Some(Forget::One { .. })));
            }
            drop(heard);
        };
        // It ends because nobody listens any more.
        tokio::join!(follow(&source, &out), listen);
        let began = source.0.lock().unwrap();
        assert_eq!(began.len(), 3);
        assert!(began[1] - began[0] >= Duration::from_millis(100));
        assert!(began[2] - began[1] >= Duration::from_millis(200));
    }
}
