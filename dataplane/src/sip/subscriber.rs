//! Who a subscriber is, in so few bytes that it can be mailed.

use crate::ids::DomainIndex;
use crate::sip::digest::cache::Known;

/// The longest name of a user, in bytes. Nobody has a longer one: who says so is nobody.
pub const USER_LEN_MAX: usize = 62;

/// The name of a user: the user part of an address of record, and the username of its credentials.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct User {
    len: u8,
    bytes: [u8; USER_LEN_MAX],
}

impl User {
    /// The user of this name; `None` where it is empty or too long.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<User> {
        let mut bytes = [0; USER_LEN_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        let len = u8::try_from(name.len()).ok().filter(|&len| len > 0)?;
        Some(User { len, bytes })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "User({})", self.name().escape_ascii())
    }
}

/// A user of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subscriber {
    /// The domain.
    pub domain: DomainIndex,
    /// The user.
    pub user: User,
}

/// What the store said of a subscriber.
#[derive(Clone, Copy, Debug)]
pub enum Said {
    /// This.
    Known(Known),
    /// Nothing: it cannot be reached.
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_empty_or_too_long_is_nobodys() {
        assert!(User::new(b"").is_none());
        assert!(User::new(&[b'a'; USER_LEN_MAX + 1]).is_none());
        let name = [b'a'; USER_LEN_MAX];
        assert_eq!(User::new(&name).unwrap().name(), name);
    }
}
