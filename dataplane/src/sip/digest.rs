//! Digest authentication (RFC 7616, RFC 8760): what a client answers a challenge with, and whether
//! that is right.
//!
//! - [`credentials`]: an Authorization or Proxy-Authorization, read
//! - [`nonce`]: nonces that say by themselves who made them, when and for whom
//! - [`window`]: which nonce counts have been used
//! - [`challenge`]: the challenges, written
//! - [`ha1`], [`ha2`]: what is known of a response before the request comes
//! - [`cache`]: what the store said of subscribers
//!
//! A password is never seen: who authenticates is known by HA1, the hash of user, realm and
//! password, one for each algorithm.

pub mod cache;
pub mod challenge;
pub mod credentials;
pub mod ha1;
pub mod ha2;
pub mod nonce;
pub mod window;

use md5::Digest;
use md5::Md5;
use sha2::Sha256;
use sha2::Sha512_256;

use self::credentials::Credentials;
use self::ha1::Primed;
use self::ha2::Ha2;

/// A hash function, as a challenge names it (RFC 7616 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Broken, and all that old phones know.
    Md5,
    /// What RFC 8760 asks every client to know.
    Sha256,
    /// SHA-512 cut to 256 bits.
    Sha512T256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512T256];

    /// Its name in a header field.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512T256 => "SHA-512-256",
        }
    }

    /// The algorithm of that name, in any case. None of the `-sess` kind: they are not offered.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Algorithm> {
        let is = |known: &Algorithm| name.eq_ignore_ascii_case(known.name().as_bytes());
        Algorithm::ALL.into_iter().find(is)
    }

    /// Bytes of its hash.
    #[must_use]
    pub const fn hash_len(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha256 | Algorithm::Sha512T256 => 32,
        }
    }

    /// Hashes texts with a colon between any two of them.
    #[must_use]
    pub fn hash(self, parts: &[&[u8]]) -> Hash {
        match parts {
            [] => Begun::with(self, &[]).hash(&[]),
            [first, rest @ ..] => Begun::with(self, first).hash(rest),
        }
    }
}

/// A hash of texts of which the first has been taken in.
enum Begun {
    Md5(Md5),
    Sha256(Sha256),
    Sha512T256(Sha512_256),
}

impl Begun {
    fn with(algorithm: Algorithm, first: &[u8]) -> Begun {
        match algorithm {
            Algorithm::Md5 => Begun::Md5(Md5::new_with_prefix(first)),
            Algorithm::Sha256 => Begun::Sha256(Sha256::new_with_prefix(first)),
            Algorithm::Sha512T256 => Begun::Sha512T256(Sha512_256::new_with_prefix(first)),
        }
    }

    /// Takes in the others, with a colon before each.
    fn hash(self, rest: &[&[u8]]) -> Hash {
        match self {
            Begun::Md5(begun) => joined(begun, rest),
            Begun::Sha256(begun) => joined(begun, rest),
            Begun::Sha512T256(begun) => joined(begun, rest),
        }
    }
}

fn joined<D: Digest>(mut digest: D, rest: &[&[u8]]) -> Hash {
    for part in rest {
        digest.update(b":");
        digest.update(part);
    }
    Hash::new(&digest.finalize())
}

/// The longest hash, in bytes.
pub const HASH_LEN_MAX: usize = 32;
/// The same as text.
pub const HEX_LEN_MAX: usize = 2 * HASH_LEN_MAX;

/// A hash of any of the algorithms: HA1, or a response.
#[derive(Clone, Copy)]
pub struct Hash {
    bytes: [u8; HASH_LEN_MAX],
    len: u8,
}

impl std::fmt::Debug for Hash {
    /// HA1 is as good as a password.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Hash of {} bytes", self.len)
    }
}

impl Hash {
    /// These bytes, of which there are as many as an algorithm gives.
    #[must_use]
    pub fn new(hash: &[u8]) -> Hash {
        let mut bytes = [0; HASH_LEN_MAX];
        let len = hash.len().min(HASH_LEN_MAX);
        bytes[..len].copy_from_slice(&hash[..len]);
        Hash {
            bytes,
            #[allow(clippy::cast_possible_truncation, reason = "at most 32")]
            len: len as u8,
        }
    }

    /// Reads hexadecimal digits in either case; `None` where there are not as many as the
    /// algorithm gives.
    #[must_use]
    pub fn read(algorithm: Algorithm, text: &[u8]) -> Option<Hash> {
        let (pairs, rest) = text.as_chunks::<2>();
        if pairs.len() != algorithm.hash_len() || !rest.is_empty() {
            return None;
        }
        let mut bytes = [0; HASH_LEN_MAX];
        let mut all = 0;
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| VALUES[usize::from(digit)]);
            all |= high | low;
            *byte = high << 4 | low;
        }
        (all != NO_DIGIT).then(|| Hash::new(&bytes[..pairs.len()]))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// As digits in lower case (RFC 7616 §3.4: LHEX), in a buffer that is long enough for all.
    #[must_use]
    pub fn hex<'b>(&self, buffer: &'b mut [u8; HEX_LEN_MAX]) -> &'b [u8] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let (pairs, _) = buffer.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.bytes()) {
            *pair = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        }
        &buffer[..2 * usize::from(self.len)]
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    #[must_use]
    pub fn is(&self, other: &Hash) -> bool {
        let pairs = self.bytes.iter().zip(&other.bytes);
        let difference = pairs.fold(self.len ^ other.len, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// What stands in [`VALUES`] for what is no digit.
const NO_DIGIT: u8 = 0xff;
/// The values of hexadecimal digits.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value as usize];
        values[digit as usize] = value;
        values[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    values
};

/// Whether the credentials are of somebody who knows the password behind `ha1` (RFC 7616
/// §3.4.1). The nonce and its count are not looked at.
#[must_use]
pub fn is_right(credentials: &Credentials<'_>, ha1: &Primed, ha2: &Ha2) -> bool {
    let Some(begun) = ha1.begun(credentials.algorithm) else {
        return false;
    };
    let (nonce, ha2) = (credentials.nonce, ha2.digits());
    let expected = match credentials.count {
        Some(count) => begun.hash(&[nonce, count.text, count.cnonce, b"auth", ha2]),
        // RFC 2069 §2.1.2, which RFC 3261 §22.4 has every server know.
        None => begun.hash(&[nonce, ha2]),
    };
    expected.is(&credentials.response)
}

#[cfg(test)]
mod tests {
    use super::ha1::Ha1s;
    use super::*;
    use crate::span::Span;

    fn example(algorithm: &str, response: &str) -> String {
        // RFC 7616 §3.9.1.
        format!(
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
             algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
             nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
             response=\"{response}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        )
    }

    #[test]
    fn the_examples_of_the_rfc_are_right_and_others_are_not() {
        for (algorithm, response) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                Algorithm::Sha256,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let text = example(algorithm.name(), response);
            let value = Span::new(0, text.len());
            let credentials = Credentials::read(text.as_bytes(), value, b"http-auth@example.org");
            let credentials = credentials.unwrap().unwrap();
            assert_eq!(credentials.algorithm, algorithm);
            let is_right = |password: &[u8], method: &[u8]| {
                let ha1 = algorithm.hash(&[credentials.username, credentials.realm, password]);
                let mut ha1s = Ha1s::default();
                ha1s.set(algorithm, ha1.bytes());
                let ha2 = Ha2::of(algorithm, method, credentials.uri);
                is_right(&credentials, &ha1s.into(), &ha2)
            };
            assert!(is_right(b"Circle of Life", b"GET"));
            assert!(!is_right(b"Circle of life", b"GET"));
            assert!(!is_right(b"Circle of Life", b"PUT"));
        }
    }

    #[test]
    fn sha_512_256_is_no_sha_512_that_was_cut() {
        // FIPS 180-4's example: its initial values are its own.
        let mut hex = [0; HEX_LEN_MAX];
        assert_eq!(
            Algorithm::Sha512T256.hash(&[b"abc"]).hex(&mut hex),
            b"53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
    }

    #[test]
    fn a_hash_is_read_in_either_case_and_only_whole() {
        let text = b"8CA523f5e9506fed4657c9700eebdbeC";
        let hash = Hash::read(Algorithm::Md5, text).unwrap();
        let mut hex = [0; HEX_LEN_MAX];
        assert_eq!(hash.hex(&mut hex), text.to_ascii_lowercase());
        assert!(Hash::read(Algorithm::Sha256, text).is_none());
        assert!(Hash::read(Algorithm::Md5, &text[1..]).is_none());
        assert!(Hash::read(Algorithm::Md5, b"8ca523f5e9506fed4657c9700eebdbeg").is_none());
    }
}
