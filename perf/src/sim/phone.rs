//! Subscribers: whom the store knows, and what their phones know of the box.
//!
//! A user's name says what is so of it, and so does its password: neither needs a table.

use trunkline_dataplane::lab::DOMAIN;

use super::sip::Sip;
use crate::blast::digest;
use crate::blast::digest::Credentials;

/// What is so of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The store knows it, and so does its phone.
    Known,
    /// The same, and the workers know it from their start on.
    Cached,
    /// Its phone has another password than the store.
    Mistaken,
    /// The store knows nobody of that name.
    Nobody,
    /// It is known, and is called where it has registered.
    Called,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Kind::Known => "known",
            Kind::Cached => "cached",
            Kind::Mistaken => "mistaken",
            Kind::Nobody => "nobody",
            Kind::Called => "called",
        }
    }
}

/// The name of user `number` of a kind.
#[must_use]
pub fn user(kind: Kind, number: usize) -> String {
    format!("{}{number}", kind.name())
}

/// The password that the store has of a user, if it has one.
#[must_use]
pub fn password_of(user: &str) -> Option<String> {
    let exists = !user.starts_with(Kind::Nobody.name());
    exists.then(|| format!("the secret of {user}"))
}

/// The credentials of a request for our domain, as its header field says them.
#[must_use]
pub fn credentials_in(request: &Sip) -> Option<&str> {
    let mut all = request.all(answer_name(request.method()));
    all.find(|value| is_ours(value))
}

/// True for a challenge of our domain, or credentials for it.
#[must_use]
pub fn is_ours(value: &str) -> bool {
    param(value, "realm") == Some(DOMAIN)
}

/// A parameter of a challenge or of credentials.
#[must_use]
pub fn param<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    digest::param(value.strip_prefix("Digest ")?, name)
}

/// A phone: it keeps the last nonce, and counts how often it has used it.
#[derive(Clone, Debug)]
pub struct Phone {
    /// Who it says it is.
    pub who: Credentials,
    algorithm: &'static str,
    /// The challenge that it answers until there is another.
    challenge: Option<String>,
    count: u32,
}

impl Phone {
    /// The phone of user `number` of a kind, which knows one algorithm.
    #[must_use]
    pub fn new(kind: Kind, number: usize, algorithm: &'static str) -> Phone {
        let user = user(kind, number);
        let password = match kind {
            Kind::Mistaken | Kind::Nobody => "a guess".to_owned(),
            Kind::Known | Kind::Cached | Kind::Called => password_of(&user).unwrap_or_default(),
        };
        Phone {
            who: Credentials { user, password },
            algorithm,
            challenge: None,
            count: 0,
        }
    }

    /// Takes the box's challenge from a response, to answer it from now on; false where there is
    /// none.
    pub fn learn(&mut self, response: &Sip) -> bool {
        let mut challenges = CHALLENGES.iter().flat_map(|name| response.all(name));
        let mine = challenges.find(|challenge| {
            is_ours(challenge) && param(challenge, "algorithm") == Some(self.algorithm)
        });
        if let Some(challenge) = mine {
            self.challenge = Some(challenge.to_owned());
            self.count = 0;
        }
        mine.is_some()
    }

    /// Credentials for one more request, where a challenge is known.
    pub fn prove(&mut self, method: &str, uri: &str) -> Option<String> {
        let challenge = self.challenge.as_ref()?;
        self.count += 1;
        let count = (self.count, 0x0a4f_113b);
        digest::answer_to(challenge, &self.who, (method, uri), count)
    }

    /// The same phone, which has forgotten the box.
    #[must_use]
    pub fn anew(&self) -> Phone {
        Phone {
            challenge: None,
            ..self.clone()
        }
    }
}

/// The header fields that challenge.
pub const CHALLENGES: [&str; 2] = ["Proxy-Authenticate", "WWW-Authenticate"];

/// The header field by which credentials for a method are given.
#[must_use]
pub fn answer_name(method: &str) -> &'static str {
    match method {
        "REGISTER" => "Authorization",
        _ => "Proxy-Authorization",
    }
}
