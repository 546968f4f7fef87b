//! What the users' phones know between one REGISTER and the next, and when each was told that it is registered.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use trunkline_dataplane::tick::Tick;

use super::digest;
use super::digest::Credentials;

/// The challenge that a phone has answered last, and how often it has used its nonce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phone {
    /// The value of WWW-Authenticate; empty where there was none yet.
    challenge: String,
    /// The last nonce count (RFC 7616 §3.4).
    uses: u32,
}

/// The phones of all users, and their log.
#[derive(Debug, Default)]
pub struct Phones {
    /// By user; empty where phones remember nothing and each REGISTER begins without credentials.
    known: Vec<Phone>,
    /// Who was told 200, and when.
    registered: Vec<(Tick, u32)>,
}

impl Phones {
    /// Phones that know what [`Phones::text`] of an earlier run says; of users beyond it, nothing yet.
    ///
    /// # Errors
    /// A line that none of ours is.
    pub fn read(text: &str, users: u32) -> anyhow::Result<Phones> {
        let users = users as usize;
        let mut known = Vec::with_capacity(users);
        for (at, line) in text.lines().take(users).enumerate() {
            let phone = line.split_once(' ').and_then(|(uses, challenge)| {
                Some(Phone {
                    challenge: challenge.to_owned(),
                    uses: uses.parse().ok()?,
                })
            });
            known.push(phone.with_context(|| format!("line {} is no phone's", at + 1))?);
        }
        known.resize(users, Phone::default());
        Ok(Phones {
            known,
            registered: Vec::new(),
        })
    }

    /// What they know, a line a user.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Phone { challenge, uses } in &self.known {
            let _ = writeln!(text, "{uses} {challenge}");
        }
        text
    }

    /// Their log: seconds and the user, a line each. `offset` is what the log's clock had when that of the ticks had nothing.
    #[must_use]
    pub fn log(&self, offset: Duration) -> String {
        let mut text = String::new();
        for (at, user) in &self.registered {
            let at = offset + Duration::from_nanos(at.0);
            let (seconds, micros) = (at.as_secs(), at.subsec_micros());
            let _ = writeln!(text, "{seconds}.{micros:06} user{user:06}");
        }
        text
    }

    /// The credentials that a phone begins with: the nonce that it knows, once more.
    pub(super) fn authorize(
        &mut self,
        user: u32,
        (method, uri): (&str, &str),
        cnonce: u32,
    ) -> Option<String> {
        let phone = self.known.get_mut(user as usize)?;
        phone.uses += 1;
        let count = (phone.uses, cnonce);
        let who = Credentials::of(user);
        let value = digest::answer_to(&phone.challenge, &who, (method, uri), count)?;
        Some(format!("Authorization: {value}\r\n"))
    }

    /// A phone has answered a challenge for the first time.
    pub(super) fn challenged(&mut self, user: u32, challenge: &str) {
        if let Some(phone) = self.known.get_mut(user as usize) {
            phone.challenge.clear();
            phone.challenge.push_str(challenge);
            phone.uses = 1;
        }
    }

    /// A phone has been told that it is registered.
    pub(super) fn registered(&mut self, user: u32, now: Tick) {
        self.registered.push((now, user));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_phones_know_is_read_as_it_was_written() {
        let mut phones = Phones::read("", 2).unwrap();
        let register = ("REGISTER", "sip:r");
        assert_eq!(phones.authorize(1, register, 7), None);
        phones.challenged(1, "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"");
        let text = phones.text();
        let mut again = Phones::read(&text, 3).unwrap();
        assert_eq!(again.known[..2], phones.known[..]);
        let value = again.authorize(1, register, 7).unwrap();
        assert!(value.starts_with("Authorization: Digest username=\"user000001\""));
        assert!(value.contains("nc=00000002"), "{value}");
        assert_eq!(again.authorize(2, register, 7), None);
        assert_eq!(again.authorize(3, register, 7), None);
        let error = Phones::read("1 Digest\nnot of ours\n", 2).unwrap_err();
        assert_eq!(error.to_string(), "line 2 is no phone's");
    }

    #[test]
    fn the_log_is_by_the_clock_on_the_wall() {
        let mut phones = Phones::default();
        phones.registered(42, Tick(1_500_000_000));
        let log = phones.log(Duration::from_secs(1_000));
        assert_eq!(log, "1001.500000 user000042\n");
    }
}
