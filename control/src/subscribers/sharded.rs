//! Subscribers spread over several stores, each user in one of them.
//!
//! Whoever fills the stores must find the same one for a user, so how it is found is a promise. A user's key
//! is `user@domain` in UTF-8, the domain in lower case. Its FNV-1a hash of 64 bits (offset basis
//! `0xcbf29ce484222325`, prime `0x100000001b3`) goes into the jump consistent hash of Lamping and Veach
//! ("A Fast, Minimal Memory, Consistent Hash Algorithm", 2014) with the number of stores, which gives the
//! store's place in the list, from 0.
//!
//! So a store that is added at the end of n takes one user in n + 1 from the others and moves no other, and
//! one whose address changes but not its place moves none.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::future::join_all;
use trunkline_dataplane::sip::digest::cache::Known;

use super::Store;
use super::Unavailable;

/// Stores that are one together.
#[derive(Debug)]
pub struct Sharded<S> {
    shards: Vec<S>,
}

impl<S: Store> Sharded<S> {
    /// These, of which there is at least one.
    ///
    /// # Errors
    /// There is none.
    pub fn new(shards: Vec<S>) -> Result<Sharded<S>, String> {
        if shards.is_empty() {
            return Err("there is no server".to_owned());
        }
        Ok(Sharded { shards })
    }
}

impl<S: Store> Store for Sharded<S> {
    fn find<'s>(
        &'s self,
        domain: &'s str,
        user: &'s [u8],
    ) -> BoxFuture<'s, Result<Known, Unavailable>> {
        self.shards[shard(domain, user, self.shards.len())].find(domain, user)
    }

    fn check<'s>(&'s self, domain: &'s str) -> BoxFuture<'s, Vec<Unavailable>> {
        let all = join_all(self.shards.iter().map(|shard| shard.check(domain)));
        all.map(|wrong| wrong.concat()).boxed()
    }
}

/// The place of a user's store among so many.
fn shard(domain: &str, user: &[u8], count: usize) -> usize {
    let domain = domain.bytes().map(|byte| byte.to_ascii_lowercase());
    let key = user.iter().copied().chain([b'@']).chain(domain);
    jump(fnv1a(key), count)
}

fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The jump consistent hash, as its paper has it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a place below the number of stores, or the end of the loop"
)]
fn jump(mut key: u64, count: usize) -> usize {
    let mut place = 0;
    let mut next = 0;
    while next < count {
        place = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let scale = (1u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((place + 1) as f64 * scale) as usize;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that knows its place.
    #[derive(Debug)]
    struct Place(usize);

    impl Store for Place {
        fn find<'s>(
            &'s self,
            _: &'s str,
            _: &'s [u8],
        ) -> BoxFuture<'s, Result<Known, Unavailable>> {
            let store = self.0.to_string();
            Box::pin(async {
                Err(Unavailable {
                    store,
                    reason: String::new(),
                })
            })
        }
    }

    #[test]
    fn the_hashes_are_those_that_are_published() {
        assert_eq!(fnv1a("".bytes()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a".bytes()), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar".bytes()), 0x8594_4171_f739_67e8);
        for (key, count, place) in [
            (1, 1, 0),
            (42, 57, 43),
            (0xdead_10cc, 1, 0),
            (0xdead_10cc, 666, 361),
            (256, 1024, 520),
        ] {
            assert_eq!(jump(key, count), place, "{key} of {count}");
        }
    }

    #[test]
    fn a_user_stays_where_it_is_over_versions() {
        let of = |user: &str| shard("Example.com", user.as_bytes(), 8);
        let places: Vec<_> = ["alice", "bob", "carol", "+49301234567", "ü"]
            .map(of)
            .into();
        assert_eq!(places, [4, 3, 3, 4, 0]);
        assert_eq!(of("alice"), shard("example.COM", b"alice", 8));
        // What is no UTF-8 has a place as well.
        assert!(shard("example.com", b"\xff\xfe", 8) < 8);
    }

    #[test]
    fn users_are_spread_evenly_and_one_more_store_moves_no_more_than_its_share() {
        let user = |number: u32| number.to_string();
        let mut of_four = [0; 4];
        let mut moved = 0;
        for number in 0..10_000 {
            let four = shard("example.com", user(number).as_bytes(), 4);
            let five = shard("example.com", user(number).as_bytes(), 5);
            of_four[four] += 1;
            if four != five {
                assert_eq!(five, 4, "only to the new one");
                moved += 1;
            }
        }
        assert!(
            of_four.iter().all(|count| (2300..2700).contains(count)),
            "{of_four:?}"
        );
        assert!((1800..2200).contains(&moved), "{moved}");
    }

    #[tokio::test]
    async fn a_user_is_looked_for_in_its_own_store() {
        let sharded = Sharded::new((0..8).map(Place).collect()).unwrap();
        for user in ["alice", "bob", "carol"] {
            let said = sharded.find("example.com", user.as_bytes()).await;
            let place = shard("example.com", user.as_bytes(), 8);
            assert_eq!(said.unwrap_err().store, place.to_string());
        }
        assert!(Sharded::<Place>::new(Vec::new()).is_err());
    }
}
