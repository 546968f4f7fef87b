//! A subscriber's address as a person writes it: `bob@example.org`.

use std::fmt;
use std::str::FromStr;

use trunkline_dataplane::sip::subscriber::USER_LEN_MAX;

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The domain's name, in lower case.
    pub domain: String,
    /// The user: the part before the @, and the username of the credentials. Case counts.
    pub user: String,
}

/// Why a text is no address of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No @ in it, or nothing on a side of it.
    #[error("\"{0}\" is no subscriber's address: write USER@DOMAIN, as in bob@example.org")]
    Shape(String),
    /// Nobody can be called so.
    #[error("nobody can be called \"{user}\": {why}")]
    User {
        /// The user.
        user: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Address {
    /// The subscriber of this name in this domain.
    ///
    /// # Errors
    /// Why nobody can be called so.
    pub fn new(user: &str, domain: &str) -> Result<Address, AddressError> {
        let wrong = |why| {
            Err(AddressError::User {
                user: user.to_owned(),
                why,
            })
        };
        if user.is_empty() || domain.is_empty() {
            return Err(AddressError::Shape(format!("{user}@{domain}")));
        }
        if user.len() > USER_LEN_MAX {
            return wrong("a name has 62 bytes at most");
        }
        // RFC 7616 §3.4.2: a colon ends the name in what is hashed.
        if user.contains(':') {
            return wrong("a colon stands in no user's name; leave `sip:` out");
        }
        let odd = |c: char| c.is_whitespace() || c.is_control() || "\"\\<>@".contains(c);
        if user.contains(odd) {
            return wrong("blanks, quotes, backslashes, < > and @ stand in no user's name");
        }
        Ok(Address {
            domain: domain.to_ascii_lowercase(),
            user: user.to_owned(),
        })
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let shape = || AddressError::Shape(text.to_owned());
        let (user, domain) = text.rsplit_once('@').ok_or_else(shape)?;
        Address::new(user, domain)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.user, self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_user_and_a_domain_without_case() {
        let bob: Address = "Bob@Example.ORG".parse().unwrap();
        assert_eq!(
            (bob.user.as_str(), bob.domain.as_str()),
            ("Bob", "example.org")
        );
        assert_eq!(bob.to_string(), "Bob@example.org");
    }

    #[test]
    fn names_that_nobody_has_are_refused() {
        for text in ["", "bob", "@example.org", "bob@"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(matches!(error, AddressError::Shape(_)), "{text}: {error}");
        }
        let long = format!("{}@example.org", "b".repeat(63));
        for text in [
            "sip:bob@a",
            "b b@a",
            "b\"@a",
            "b\0@a",
            "b\\@a",
            "a@b@c",
            long.as_str(),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(
                matches!(error, AddressError::User { .. }),
                "{text}: {error}"
            );
        }
        assert!(Address::new(&"b".repeat(62), "a").is_ok());
    }
}
