//! HA1, the hash of user, realm and password: as the store has it, and as a worker keeps it.

use sha2::Sha256;
use sha2::digest::common::hazmat::SerializableState;
use sha2::digest::common::hazmat::SerializedState;

use super::Algorithm;
use super::Begun;
use super::HEX_LEN_MAX;
use super::Hash;

/// The HA1s of a subscriber, one for each algorithm that the store has one of.
#[derive(Clone, Copy, Default)]
pub struct Ha1s {
    md5: Option<[u8; 16]>,
    sha256: Option<[u8; 32]>,
    sha512t256: Option<[u8; 32]>,
}

impl Ha1s {
    /// Sets the HA1 of an algorithm; one that is not of its length is none.
    pub fn set(&mut self, algorithm: Algorithm, ha1: &[u8]) {
        match algorithm {
            Algorithm::Md5 => self.md5 = ha1.try_into().ok(),
            Algorithm::Sha256 => self.sha256 = ha1.try_into().ok(),
            Algorithm::Sha512T256 => self.sha512t256 = ha1.try_into().ok(),
        }
    }

    /// The HA1 of an algorithm.
    #[must_use]
    pub fn get(&self, algorithm: Algorithm) -> Option<Hash> {
        match algorithm {
            Algorithm::Md5 => self.md5.map(|ha1| Hash::new(&ha1)),
            Algorithm::Sha256 => self.sha256.map(|ha1| Hash::new(&ha1)),
            Algorithm::Sha512T256 => self.sha512t256.map(|ha1| Hash::new(&ha1)),
        }
    }
}

impl std::fmt::Debug for Ha1s {
    /// HA1 is as good as a password.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let there = Algorithm::ALL.map(|algorithm| self.get(algorithm));
        out.debug_tuple("Ha1s").field(&there).finish()
    }
}

/// The same, ready for responses to be hashed.
///
/// What is hashed for a response begins with HA1's digits, and those of a SHA-256 are a block of that function
/// whole. So of such an HA1 the function's state after this block is kept: it is as long as HA1, and a block less is hashed
/// for each response.
#[derive(Clone, Copy)]
pub struct Primed {
    ha1s: Ha1s,
}

impl Primed {
    /// Nobody's, of every algorithm: to compare with takes as long as with somebody's.
    pub const NOBODYS: Primed = Primed {
        ha1s: Ha1s {
            md5: Some([0; 16]),
            sha256: Some([0; 32]),
            sha512t256: Some([0; 32]),
        },
    };

    /// What was hashed of a response once HA1 has been.
    pub(super) fn begun(&self, algorithm: Algorithm) -> Option<Begun> {
        let mut hex = [0; HEX_LEN_MAX];
        Some(match algorithm {
            Algorithm::Sha256 => Begun::Sha256(after_a_block(&self.ha1s.sha256?)?),
            _ => Begun::with(algorithm, self.ha1s.get(algorithm)?.hex(&mut hex)),
        })
    }

    /// The HA1 of MD5.
    #[cfg(test)]
    pub(super) fn md5(&self) -> Option<[u8; 16]> {
        self.ha1s.md5
    }

    /// True where there is an HA1 of this algorithm.
    #[must_use]
    pub fn has(&self, algorithm: Algorithm) -> bool {
        self.ha1s.get(algorithm).is_some()
    }
}

impl From<Ha1s> for Primed {
    fn from(ha1s: Ha1s) -> Primed {
        let ha1 = ha1s.get(Algorithm::Sha256);
        let mut hex = [0; HEX_LEN_MAX];
        let state = ha1.map(|ha1| state_after(ha1.hex(&mut hex)));
        Primed {
            ha1s: Ha1s {
                sha256: state,
                ..ha1s
            },
        }
    }
}

impl std::fmt::Debug for Primed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ha1s.fmt(out)
    }
}

const STATE_LEN: usize = 32;

/// The state of SHA-256 after a block.
fn state_after(block: &[u8]) -> [u8; STATE_LEN] {
    use sha2::Digest as _;
    let serialized = Sha256::new_with_prefix(block).serialize();
    let mut state = [0; STATE_LEN];
    state.copy_from_slice(&serialized[..STATE_LEN]);
    state
}

/// SHA-256 as it goes on from there. Of its own it says: the state, how many blocks it has taken in, and a block
/// that is not full, of which there is none.
fn after_a_block(state: &[u8; STATE_LEN]) -> Option<Sha256> {
    let mut serialized = SerializedState::<Sha256>::default();
    serialized[..STATE_LEN].copy_from_slice(state);
    serialized[STATE_LEN] = 1;
    Sha256::deserialize(&serialized).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_primed_hashes_as_the_digits_do(
            ha1 in any::<[u8; 32]>(),
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            for algorithm in Algorithm::ALL {
                let ha1 = &ha1[..algorithm.hash_len()];
                let mut ha1s = Ha1s::default();
                ha1s.set(algorithm, ha1);
                let begun = Primed::from(ha1s).begun(algorithm).unwrap();
                let mut hex = [0; HEX_LEN_MAX];
                let whole = algorithm.hash(&[Hash::new(ha1).hex(&mut hex), &rest, b"x"]);
                prop_assert!(begun.hash(&[&rest, b"x"]).is(&whole));
                let other = Algorithm::ALL.into_iter().find(|other| *other != algorithm);
                prop_assert!(Primed::from(ha1s).begun(other.unwrap()).is_none());
            }
        }
    }

    #[test]
    fn it_takes_no_more_room_and_tells_nobody() {
        assert_eq!(size_of::<Primed>(), size_of::<Ha1s>());
        let mut ha1s = Ha1s::default();
        ha1s.set(Algorithm::Md5, &[77; 16]);
        let told = format!("{ha1s:?} {:?}", Primed::from(ha1s));
        assert!(!told.contains("77") && !told.contains("4d"), "{told}");
    }
}
