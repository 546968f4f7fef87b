//! HA2, the hash of a request's method and digest URI; and those of REGISTER that were used last.
//!
//! All phones of a kind register with the same URI, that of their domain, so that a small table spares nearly
//! every REGISTER a hash. Only who has the right password puts something into it.

use super::Algorithm;
use super::HEX_LEN_MAX;

/// An HA2, as digits.
#[derive(Clone, Copy, Debug)]
pub struct Ha2 {
    digits: [u8; HEX_LEN_MAX],
    len: u8,
}

impl Ha2 {
    /// That of a request.
    #[must_use]
    pub fn of(algorithm: Algorithm, method: &[u8], uri: &[u8]) -> Ha2 {
        let mut digits = [0; HEX_LEN_MAX];
        let len = algorithm.hash(&[method, uri]).hex(&mut digits).len();
        #[allow(clippy::cast_possible_truncation, reason = "at most 64")]
        Ha2 {
            digits,
            len: len as u8,
        }
    }

    /// The digits, in lower case.
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        &self.digits[..usize::from(self.len)]
    }
}

/// The longest URI that is remembered.
const URI_LEN_MAX: usize = 61;
const PLACES: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Place {
    algorithm: Algorithm,
    uri_len: u8,
    uri: [u8; URI_LEN_MAX],
    ha2: Ha2,
}

/// HA2s of REGISTER.
#[derive(Debug)]
pub struct Ha2s([Option<Place>; PLACES]);

impl Default for Ha2s {
    fn default() -> Ha2s {
        Ha2s([None; PLACES])
    }
}

impl Ha2s {
    /// The HA2 of this URI, where it is known.
    #[must_use]
    pub fn get(&self, algorithm: Algorithm, uri: &[u8]) -> Option<Ha2> {
        let place = self.0[place_of(algorithm, uri)].as_ref()?;
        let there = place.uri.get(..usize::from(place.uri_len))?;
        (place.algorithm == algorithm && there == uri).then_some(place.ha2)
    }

    /// Remembers it, in place of another.
    pub fn keep(&mut self, algorithm: Algorithm, uri: &[u8], ha2: Ha2) {
        let mut text = [0; URI_LEN_MAX];
        let Some(room) = text.get_mut(..uri.len()) else {
            return;
        };
        room.copy_from_slice(uri);
        #[allow(clippy::cast_possible_truncation, reason = "at most 61")]
        let uri_len = uri.len() as u8;
        self.0[place_of(algorithm, uri)] = Some(Place {
            algorithm,
            uri_len,
            uri: text,
            ha2,
        });
    }
}

/// What kinds of phones add to a domain's name makes the URI longer, so that each kind has its place.
fn place_of(algorithm: Algorithm, uri: &[u8]) -> usize {
    let last = uri.last().map_or(0, |last| usize::from(*last));
    (uri.len() * 3 + algorithm as usize + last) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_would_be_hashed() {
        let mut known = Ha2s::default();
        let long = format!("sip:{}.example", "a".repeat(60));
        let uris = [
            "sip:example.com",
            "sip:example.org",
            "sip:example.com:5060",
            "",
            &long,
        ];
        for round in 0..3 {
            for uri in uris {
                for algorithm in Algorithm::ALL {
                    let ha2 = Ha2::of(algorithm, b"REGISTER", uri.as_bytes());
                    if let Some(there) = known.get(algorithm, uri.as_bytes()) {
                        assert!(round > 0, "{uri}");
                        assert_eq!(there.digits(), ha2.digits());
                    }
                    known.keep(algorithm, uri.as_bytes(), ha2);
                    let there = known.get(algorithm, uri.as_bytes());
                    assert_eq!(there.is_some(), uri != long, "{uri}");
                }
            }
        }
    }
}
